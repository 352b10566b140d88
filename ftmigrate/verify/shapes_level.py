"""Level `shapes`: what is trained of the real model, by name and shape, on the meta device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftmigrate.run.compare import losses
from ftmigrate.run.model import Run
from ftmigrate.verify.plan_level import trained
from ftmigrate.verify.real_model import Real
from ftmigrate.verify.results import Difference, Outcome, Result

_BASE = "model.architecture"


def compare_shapes(source: Mapping[str, Any], target: Mapping[str, Any], before: Run, after: Run, real: Real) -> Result:
    """The level's result from both sides' answers."""
    told = {found.path for found in losses(before, after)}
    found = []
    different = trained(source["parameters"], target["parameters"], before, after, told)
    if different is not None:
        found.append(different)
    if source["base"] != target["base"]:
        text = f"the base model has {source['base']:,} parameters in the source, {target['base']:,} in the target"
        found.append(Difference(_BASE, text, _BASE in told))
    counts = [f"{side['trained']:,}" for side in (source, target)]
    details = (
        f"{len(source['parameters'])} trainable tensors, {counts[0]} of {source['base']:,} parameters"
        + ("" if counts[0] == counts[1] else f" in the source; {len(target['parameters'])}, {counts[1]} in the target"),
        f"shapes from {real.origin}",
    )
    data = {
        side: {"trained": one["trained"], "base": one["base"], "tensors": len(one["parameters"])}
        for side, one in (("source", source), ("target", target))
    }
    return Result("shapes", Outcome.DIFFERS if found else Outcome.PASSED, details, tuple(found), data)
