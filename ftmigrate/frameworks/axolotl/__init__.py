"""Axolotl: YAML configs (as PyYAML loads them)."""

from __future__ import annotations

from collections.abc import Sequence

from ftmigrate.document.model import Document, Unresolved, Value
from ftmigrate.frameworks.registry import Command, Framework
from ftmigrate.frameworks.table import Table
from ftmigrate.run.model import Run, Symbol
from ftmigrate.schema import Layout

_TELLING = ("base_model", "micro_batch_size", "datasets", "sequence_len", "num_epochs", "gradient_accumulation_steps")


def _table(version: str) -> Table:
    from ftmigrate.frameworks.axolotl.table import table

    return table(version)


def _parse(data: bytes, name: str, overrides: Sequence[str]) -> Document:
    from ftmigrate.document.yaml import PYYAML, parse

    return parse(data, name, PYYAML, overrides)


def _detect(document: Document) -> int:
    return sum(key in document.tree for key in _TELLING) if "base_model" in document.tree else 0


def _commands(run: Run, path: str) -> tuple[Command, ...]:
    """axolotl/cli/main.py: the launcher's own arguments stand behind `--`."""
    world = run["parallel.world_size"]
    if run["parallel.strategy"] == "single":
        train = f"axolotl train {path} --launcher python"
    else:
        count = f"<number of GPUs: {world}>" if isinstance(world, Symbol) else str(world)
        train = f"axolotl train {path} --launcher accelerate -- --num-processes {count}"
    found = [Command("train", train)]
    if run["adapter.method"] != "none":
        found.append(Command("merge the adapter into the model afterwards", f"axolotl merge-lora {path}"))
    return tuple(found)


def _placeholder(key: str, value: Unresolved) -> Value:
    if key == "datasets":
        return [{"path": f"TODO: {value.expression}", "type": "completion"}]
    return f"TODO: {value.expression}"


FRAMEWORK = Framework(
    name="axolotl",
    title="Axolotl",
    table=_table,
    parse=_parse,
    detect=_detect,
    commands=_commands,
    placeholder=_placeholder,
    status="written and read at 0.21.0",
    writes=True,
    mark=r"""(?m)(?:^\s*|[{,]\s*)["']?base_model["']?\s*:""",
    layout=Layout(plugins="plugins", lax=True),
)
