"""What the tools that verify many cases share: a config with its conversion, and the running probes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent)]

from ftmigrate import api  # noqa: E402
from ftmigrate.frameworks import registry  # noqa: E402
from ftmigrate.frameworks.reader import Context  # noqa: E402
from ftmigrate.verify import environments  # noqa: E402
from ftmigrate.verify.pair import Config  # noqa: E402
from ftmigrate.verify.probe import Probe  # noqa: E402


def converted(
    config: Path, source: str | None, target: str, overrides: Sequence[str], recipe: str | None, rows: int, exact: bool
) -> tuple[Config, Config]:
    """A config and what we convert it into; source, target: NAME@VERSION. Raises ValueError where it is refused."""
    read = api.load(str(config), source, overrides)
    before = read.run(Context(recipe, 1, rows))
    made = api.convert(str(config), target, source, overrides=overrides, recipe=recipe, world_size=1, rows=rows,
                       exact=exact)  # fmt: skip
    if made.target is None:
        raise ValueError(f"{config} does not convert: {made.refused}")
    name, _, version = target.partition("@")
    framework = registry.get(name)
    document = framework.parse(next(iter(made.files.values())).encode(), "made.yaml", ())
    return (
        Config(read.document, before, read.framework, read.version),
        Config(document, made.target, framework, version),
    )


def probes(stack: ExitStack, versions: Mapping[str, str], kinds: Mapping[str, type[Probe]] = {}) -> dict[str, Probe]:
    """One running probe for each framework, of another kind where `kinds` says so."""
    found = {}
    for name, version in versions.items():
        environment = environments.find(name, version)
        if environment is None:
            raise SystemExit(f"no environment with {name} {version}: ftmigrate env create {name}@{version}")
        found[name] = stack.enter_context(kinds.get(name, Probe)(environment.python, name))
    return found
