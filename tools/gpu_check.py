"""Runs `ftmigrate verify --device cuda` over a fixed list of configs and prints losses, memory and speed side by side.

    tools/gpu_check.sh            # builds the environments first; see there

The environments must be there (`ftmigrate env create NAME@VERSION --gpu`). With --device cpu the same code runs without
a GPU: that tries the check itself, and says nothing of a GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

import verified  # noqa: E402

from ftmigrate.cli.verify import has_gpu  # noqa: E402
from ftmigrate.verify.measure import TOLERANCE, Device  # noqa: E402
from ftmigrate.verify.pair import Options, compare  # noqa: E402
from ftmigrate.verify.results import Result, status  # noqa: E402
from ftmigrate.verify.train_level import relative  # noqa: E402

FIXTURES = ROOT / "fixtures" / "torchtune"
TARGET = ("axolotl", "0.21.0")
LEVELS = ("shapes", "train", "speed")


class Case(NamedTuple):
    """A config with its overrides; small: can also be tried on a CPU."""

    name: str
    config: Path
    recipe: str
    overrides: tuple[str, ...] = ()
    small: bool = False


_BF16 = ("dtype=bf16",)
_NO_ADAPTER = ("model=torchtune.models.llama3_2.llama3_2_1b", "~model.lora_attn_modules", "~model.apply_lora_to_mlp",
               "~model.lora_rank", "~model.lora_alpha", "optimizer_in_bwd=false")  # fmt: skip
CASES = (
    Case("tiny LoRA, bf16", FIXTURES / "parity" / "base.yaml", "lora_finetune_single_device", _BF16, small=True),
    Case("tiny LoRA, fp32", FIXTURES / "parity" / "base.yaml", "lora_finetune_single_device", small=True),
    Case("1B LoRA, bf16", FIXTURES / "llama_lora.yaml", "lora_finetune_single_device"),
    Case("1B LoRA, bf16, compiled", FIXTURES / "llama_lora.yaml", "lora_finetune_single_device", ("compile=true",)),
    Case("1B full, bf16", FIXTURES / "llama_lora.yaml", "full_finetune_single_device", _NO_ADAPTER),
)


def run(case: Case, device: Device) -> list[Result]:
    """The levels of one case."""
    size = 4 * device.steps
    source, target = verified.converted(case.config, None, "@".join(TARGET), case.overrides, case.recipe, size, True)
    return compare(source, target, LEVELS, Options(rows=size, say=_say, device=device))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def figures(results: Sequence[Result]) -> dict[str, Any]:
    """What is kept of a case."""
    by = {one.level: one for one in results}
    found: dict[str, Any] = {level: str(one.outcome) for level, one in by.items()}
    losses = [[step["loss"] for step in by["train"].data.get(side, ())] for side in ("source", "target")]
    found["losses"] = dict(zip(("source", "target"), losses, strict=True))
    pairs = [(a, b) for a, b in zip(*losses, strict=False) if a is not None and b is not None]
    found["apart"] = max((relative(a, b) for a, b in pairs), default=None)
    found["measured"] = dict(by["speed"].data)
    open_ = [detail for one in results if one.outcome == "could not run" for detail in one.details]
    return found | ({"open": open_} if open_ else {})


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures as text: source / target."""
    head = ("config", "train", "loss apart", "first loss", "last loss", "peak GiB", "tokens/s", "s/step")
    lines = [head, *(_line(name, one) for name, one in found.items())]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def _line(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    sides = [one["measured"].get(side) or {} for side in ("source", "target")]
    losses = [one["losses"][side] or [None] for side in ("source", "target")]
    apart = "-" if one["apart"] is None else f"{one['apart']:.1e}"
    return (
        name,
        one["train"],
        apart,
        _both([side[0] for side in losses], ".4f"),
        _both([side[-1] for side in losses], ".4f"),
        _both([side["memory"] / 2**30 if side.get("memory") else None for side in sides], ".2f"),
        _both([side.get("tokens_per_second") for side in sides], ",.0f"),
        _both([side.get("step_seconds") for side in sides], ".3f"),
    )


def _both(values: Sequence[float | None], form: str) -> str:
    return " / ".join("-" if value is None else format(value, form) for value in values)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("case", nargs="*", help=f"of {', '.join(case.name for case in CASES)} (default: all)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures (default: standard output)")
    told = parser.parse_args()
    if told.device == "cuda" and not has_gpu():
        print("there is no GPU that a CUDA driver sees on this machine: nothing was checked", file=sys.stderr)
        return 2
    device = Device(told.device, told.steps)
    cases = [one for one in CASES if (one.name in told.case or not told.case) and (told.device == "cuda" or one.small)]
    found: dict[str, Any] = {}
    worst = 0
    for case in cases:
        _say(f"--- {case.name}")
        results = run(case, device)
        for result in results:
            for detail in (*result.details, *(one.line() for one in result.differences)):
                _say(f"{result.level} {result.outcome}: {detail}")
        found[case.name] = figures(results)
        worst = max(worst, status(results))
    print(f"source / target, {told.steps} steps; losses are equal up to {TOLERANCE:.0e}")
    print(table(found))
    if told.device == "cpu":
        print("THIS WAS NO GPU CHECK: the same code ran on the CPU, with the small configs only")
    text = json.dumps({"device": told.device, "gpu_checked": told.device == "cuda", "cases": found}, indent=1)
    if told.json:
        told.json.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    return worst


if __name__ == "__main__":
    sys.exit(main())
