"""torchtune: recipe configs (YAML as OmegaConf loads it)."""

from __future__ import annotations

from collections.abc import Sequence

from ftmigrate.document.model import Document, Unresolved, Value
from ftmigrate.frameworks.launch import Launch
from ftmigrate.frameworks.registry import Command, Framework
from ftmigrate.frameworks.table import Table
from ftmigrate.run.model import Run
from ftmigrate.schema import Layout
from ftmigrate.scripts.shell import Command as ShellCommand


def _table(version: str) -> Table:
    from ftmigrate.frameworks.torchtune.table import table

    return table(version)


def _parse(data: bytes, name: str, overrides: Sequence[str]) -> Document:
    from ftmigrate.document.yaml import OMEGACONF, parse

    return parse(data, name, OMEGACONF, overrides, lenient=True)


def _detect(document: Document) -> int:
    """Components are what no other framework's config has."""
    return sum(isinstance(node, dict) and "_component_" in node for node in document.tree.values())


def _commands(run: Run, path: str) -> tuple[Command, ...]:
    world, nodes = run["parallel.world_size"], run["launch.nodes"]
    spread = f"--nproc_per_node {world} " if run["parallel.strategy"] != "single" else ""
    if spread and isinstance(nodes, int) and nodes > 1:
        each = world // nodes if isinstance(world, int) else f"<{world} / {nodes}>"
        meeting = "--rdzv_id 101 --rdzv_backend c10d --rdzv_endpoint <first machine>:29500"
        spread = f"--nnodes {nodes} --nproc_per_node {each} {meeting} "
    return (Command("train", f"tune run {spread}{run.recipe} --config {path}"),)


def _placeholder(key: str, value: Unresolved) -> Value:
    return f"TODO: {value.expression}"


def _launch(command: ShellCommand) -> Launch | None:
    from ftmigrate.frameworks.torchtune.launch import launch

    return launch(command)


def _shipped(name: str, version: str, overrides: Sequence[str]) -> Document | None:
    from ftmigrate.frameworks.torchtune.catalogue import shipped

    return shipped(name, version, overrides)


def _shipped_hint(name: str, version: str) -> str:
    from ftmigrate.frameworks.torchtune.catalogue import hint

    return hint(name, version)


FRAMEWORK = Framework(
    name="torchtune",
    title="torchtune",
    table=_table,
    parse=_parse,
    detect=_detect,
    commands=_commands,
    placeholder=_placeholder,
    status="reads every recipe config of 0.6.1 and main; in maintenance mode, its successor is paused",
    mark=r"_component_",
    launch=_launch,
    shipped=_shipped,
    shipped_hint=_shipped_hint,
    layout=Layout(root="recipe ", component="_component_", interpolated=True),
)
