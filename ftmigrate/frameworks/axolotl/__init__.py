"""Axolotl: YAML configs (as PyYAML loads them)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ftmigrate.frameworks.registry import Command, Framework
from ftmigrate.schema import Layout

if TYPE_CHECKING:
    from ftmigrate.document.edit import Edit
    from ftmigrate.document.model import Document, Path, Unresolved, Value
    from ftmigrate.frameworks.table import Table
    from ftmigrate.linter.rules import RuleSet
    from ftmigrate.run.model import Run

_TELLING = ("base_model", "micro_batch_size", "datasets", "sequence_len", "num_epochs", "gradient_accumulation_steps")
_ENOUGH = 4
"""So many of them tell a config in which `base_model` was forgotten or misspelt."""


def _table(version: str) -> Table:
    from ftmigrate.frameworks.axolotl.table import table

    return table(version)


def _parse(data: bytes, name: str, overrides: Sequence[str]) -> Document:
    from ftmigrate.document.yaml import PYYAML, parse

    return parse(data, name, PYYAML, overrides)


def _detect(document: Document) -> int:
    found = sum(key in document.tree for key in _TELLING)
    return found if "base_model" in document.tree or found >= _ENOUGH else 0


def _commands(run: Run, path: str) -> tuple[Command, ...]:
    """axolotl/cli/main.py: the launcher's own arguments stand behind `--`."""
    from ftmigrate.run.model import Symbol

    world, nodes = run["parallel.world_size"], run["launch.nodes"]
    if run["parallel.strategy"] == "single":
        found = [Command("train", f"axolotl train {path} --launcher python")]
    elif nodes == 1:
        count = f"<number of GPUs: {world}>" if isinstance(world, Symbol) else str(world)
        found = [Command("train", f"axolotl train {path} --launcher accelerate -- --num-processes {count}")]
    else:
        found = _multi_node(world, nodes, path)
    if run["adapter.method"] != "none":
        result = f"{str(run['saving.output_dir']).rstrip('/')}/merged"
        found.append(Command(f"merge the adapter into the model afterwards, in {result}", f"axolotl merge-lora {path}"))
    return tuple(found)


def _multi_node(world: object, nodes: object, path: str) -> list[Command]:
    """Several machines: torchrun needs the same line on each, accelerate the machine's own rank.

    Without --rdzv_id Axolotl makes one up on each machine (cli/utils/train.py), and they would not find each other.
    accelerate counts the processes of all machines, torchrun those of one (accelerate/utils/launch.py).
    """
    machines = str(nodes) if isinstance(nodes, int) else f"<number of machines: {nodes}>"
    known = isinstance(world, int) and isinstance(nodes, int) and world % nodes == 0
    each = str(world // nodes) if known else "<number of GPUs of one machine>"  # type: ignore[operator]
    every = str(world) if isinstance(world, int) else f"<number of GPUs of all machines: {world}>"
    meeting = "--rdzv_id 101 --rdzv_backend c10d --rdzv_endpoint <first machine>:29500"
    shape = f"--nnodes {machines} --nproc_per_node {each} {meeting}"
    rank = "--machine_rank <rank of this machine, from 0> --main_process_ip <first machine> --main_process_port 29500"
    ranked = f"--num_machines {machines} --num_processes {every} {rank}"
    return [
        Command("train, the same on each machine", f"axolotl train {path} --launcher torchrun -- {shape}"),
        Command("train with Slurm, from a script with a task for each machine",
                f"srun torchrun {shape} -m axolotl.cli.train {path}"),
        Command("train with accelerate, on each machine", f"accelerate launch {ranked} -m axolotl.cli.train {path}"),
    ]  # fmt: skip


def _placeholder(key: str, value: Unresolved) -> Value:
    from ftmigrate.document.model import PLACEHOLDER

    if key == "datasets":
        return [{"path": f"{PLACEHOLDER}{value.expression}", "type": "completion"}]
    return f"{PLACEHOLDER}{value.expression}"


def _edit(
    document: Document, wanted: Mapping[str, Value], renamed: Mapping[Path, Path], after: Mapping[Path, Path]
) -> tuple[str, tuple[Edit, ...]]:
    from ftmigrate.document.edit import rewrite
    from ftmigrate.document.yaml import PYYAML

    return rewrite(document, PYYAML, wanted, renamed, after)


def _beside(document: Document) -> Mapping[str, str]:
    from ftmigrate.frameworks.axolotl.companion import beside

    return beside(document)


def _rules() -> RuleSet:
    from ftmigrate.frameworks.axolotl.rules import RULES

    return RULES


FRAMEWORK = Framework(
    name="axolotl",
    title="Axolotl",
    table=_table,
    parse=_parse,
    detect=_detect,
    commands=_commands,
    placeholder=_placeholder,
    status="read by version from 0.5.2 on, written for 0.19.0 to 0.21.0",
    writes=True,
    written=("0.19.0", "0.20.0", "0.21.0"),
    mark=r"""(?m)(?:^\s*|[{,]\s*)["']?base_model["']?\s*:""",
    mark_word="base_model",
    layout=Layout(plugins="plugins", beside=(("_exact.Rows", "exact_rows", "list[dict] | None"),), lax=True),
    edit=_edit,
    rules=_rules,
    beside=_beside,
    start_beside="PYTHONPATH={folder} ",
)
