"""The model that the two configs really train, as far as it is known without its weights: its config.json, or its sizes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from ftmigrate.document.model import Document
from ftmigrate.frameworks.registry import Framework
from ftmigrate.run.model import Run
from ftmigrate.verify import architectures, rows, tiny_model, tiny_tokenizer, trial

SECONDS = 900.0


class Real(Struct, frozen=True):
    """A config.json, the family whose tokenizer goes with it, where it is from, in the user's words, and its sizes by
    the names of `tiny_model.sizes` (None for an architecture of no such family).
    """

    config: Mapping[str, Any]
    family: str
    origin: str
    sizes: Mapping[str, Any] | None


def of(sides: Sequence[tuple[Framework, str, Document, Run]]) -> Real:
    """What the sides' base model is: a local config.json, else what a config's framework says of its own builder, else
    what is known of a model of that name. Raises TrialFailed where none is.
    """
    for _, _, document, run in sides:
        found = architectures.local(str(run["model.base"]), document.name)
        if found is not None:
            return _real(found[0], str(found[1]))
    for framework, version, document, _ in sides:
        sizes = framework.sizes(document, version) if framework.sizes else None
        if sizes is not None and sizes["family"] in tiny_model.FAMILIES:
            family = str(sizes["family"])
            origin = f"the sizes that {framework.title}'s builder has"
            return Real(tiny_model.config_json(family, sizes), family, origin, sizes)
    for _, _, document, run in sides:
        known = architectures.find(str(run["model.base"]), document.name)
        if known is not None:
            return _real(known, f"what is known of {run['model.base']}")
    base = sides[0][3]["model.base"]
    raise trial.TrialFailed(
        f"the shapes of {base} are not known: there is no config.json of it here, no builder in the files says them, and no catalogue has it. "
        "Put its config.json into a directory and name that as the base model"
    )


def _real(config: Mapping[str, Any], origin: str) -> Real:
    family = tiny_model.family_of_config(config)
    return Real(config, family or trial.FALLBACK, origin, _sizes(config) if family else None)


def _sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    width, heads = config["hidden_size"], config["num_attention_heads"]
    return {"layers": config["num_hidden_layers"], "heads": heads, "width": width, "inner": config["intermediate_size"],
            "kv_heads": config.get("num_key_value_heads") or heads, "vocabulary": config["vocab_size"],
            "head_width": config.get("head_dim") or width // heads,
            "tied": bool(config.get("tie_word_embeddings", False))}  # fmt: skip


def workplace(
    folder: Path, real: Real, data: Sequence[Sequence[Mapping[str, Any]]] = ()
) -> trial.Workplace:  # fmt: skip
    """A folder with the real config.json and, in place of its tokenizer, the small one of its family; with rows."""
    model = folder / "model"
    if not model.exists():
        model.mkdir(parents=True)
        tokens = tiny_tokenizer.make(tiny_model.FAMILIES[real.family].tokenizer, model)
        (model / "config.json").write_text(json.dumps({**real.config, **tokens}, indent=1), encoding="utf-8")
        (model / "generation_config.json").write_text(json.dumps(tokens), encoding="utf-8")
    for index, source in enumerate(data):
        rows.write(source, folder / f"rows{index}.jsonl")
    return trial.Workplace(folder.resolve(), real.family, {}, len(data))


def shapes(side: trial.Side, place: trial.Workplace) -> dict[str, Any]:
    """What a side trains of the real model. Raises TrialFailed, ProbeError."""
    return side.ask("shapes", place, "shapes", SECONDS, rows=trial.row_files(side.run.sources))
