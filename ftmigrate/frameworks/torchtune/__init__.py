"""torchtune: recipe configs (YAML as OmegaConf loads it)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftmigrate.frameworks.registry import Command, Framework
from ftmigrate.schema import Layout

if TYPE_CHECKING:
    from ftmigrate.document.model import Document, Unresolved, Value
    from ftmigrate.frameworks.launch import Launch
    from ftmigrate.frameworks.table import Table
    from ftmigrate.linter.rules import RuleSet
    from ftmigrate.run.model import Run
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
    """A hub model is downloaded first, and the reader finds its id in that command."""
    from ftmigrate.frameworks.torchtune import models, writing

    line = writing.launch(run.recipe, run["parallel.world_size"], run["launch.nodes"], path, run.version)
    train = Command("train", line)
    base = run["model.base"]
    if not isinstance(base, str) or not models.is_hub_id(base, path):
        return (train,)
    return (Command(f"download the model first{writing.likeness(base, path)}", writing.download(base, path)), train)


def _placeholder(key: str, value: Unresolved) -> Value:
    from ftmigrate.document.model import PLACEHOLDER

    return f"{PLACEHOLDER}{value.expression}"


def _launch(command: ShellCommand) -> Launch | None:
    from ftmigrate.frameworks.torchtune.launch import launch

    return launch(command)


def _shipped(name: str, version: str, overrides: Sequence[str]) -> Document | None:
    from ftmigrate.frameworks.torchtune.catalogue import shipped

    return shipped(name, version, overrides)


def _shipped_hint(name: str, version: str) -> str:
    from ftmigrate.frameworks.torchtune.catalogue import hint

    return hint(name, version)


def _sizes(document: Document, version: str) -> Mapping[str, Value] | None:
    from ftmigrate.frameworks.torchtune.model_sizes import sizes

    return sizes(document, version)


def _rules() -> RuleSet:
    from ftmigrate.frameworks.torchtune.rules import RULES

    return RULES


def _architecture(base: str, near: str) -> Mapping[str, Any] | None:
    from ftmigrate.frameworks.torchtune.architecture import architecture

    return architecture(base, near)


# _setup_profiler of every recipe that reads the key, 0.2.1 to main: filled in where it is absent or null
_SUPPLIED = (
    ("profiler", "torchtune.training.setup_torch_profiler"),
    ("profiler", "torchtune.utils.setup_torch_profiler"),
)

# datasets.load_dataset; further arguments of it are options of the file format
_LOAD = ("name", "data_dir", "data_files", "split", "cache_dir", "features", "download_config", "download_mode",
         "verification_mode", "keep_in_memory", "save_infos", "revision", "token", "streaming", "num_proc",
         "storage_options", "trust_remote_code")  # fmt: skip
_LAYOUT = Layout(root="recipe ", component="_component_", supplied=_SUPPLIED, interpolated=True,
                 called=(("datasets.load_dataset", _LOAD),))  # fmt: skip

FRAMEWORK = Framework(
    name="torchtune",
    title="torchtune",
    table=_table,
    parse=_parse,
    detect=_detect,
    commands=_commands,
    placeholder=_placeholder,
    status="read at 0.2.1 to 0.6.1 and main, written at 0.6.1; in maintenance mode, its successor is paused",
    writes=True,
    written=("0.6.1",),
    mark=r"_component_",
    mark_word="_component_",
    launch=_launch,
    shipped=_shipped,
    shipped_hint=_shipped_hint,
    layout=_LAYOUT,
    rules=_rules,
    architecture=_architecture,
    sizes=_sizes,
)
