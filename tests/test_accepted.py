"""What we write is accepted by the pinned schema, and by the target framework itself with every key kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ftmigrate import api
from ftmigrate.conversion import Conversion
from ftmigrate.frameworks import registry
from ftmigrate.run.compare import Verdict
from ftmigrate.verify import environments
from ftmigrate.verify.levels import Outcome, loaded, schema_level
from ftmigrate.verify.probe import Probe
from tests.conftest import FIXTURES, torchtune_configs
from tests.test_corpus import version

CONFIGS = [*torchtune_configs(), *sorted((FIXTURES / "torchtune").rglob("*.yaml"))]
TARGET, VERSION = "axolotl", "0.21.0"


@pytest.fixture(scope="session")
def probe() -> Iterator[Probe]:
    found = environments.find(TARGET, VERSION)
    if found is None:
        pytest.skip(f"NOT VERIFIED against {TARGET} {VERSION}: no environment; run `ftmigrate env create {TARGET}`")
    with Probe(found.python, TARGET) as running:
        yield running


def _version(config: Path) -> str:
    return "0.6.1" if config.is_relative_to(FIXTURES) else version(config)


def _outputs() -> Iterator[tuple[str, Conversion]]:
    """Conversions that were not refused and whose required keys are all known."""
    for config in CONFIGS:
        result = api.convert(str(config), TARGET, f"torchtune@{_version(config)}")
        required = ("base_model", "datasets", "learning_rate", "sequence_len")
        open_ = {
            path.split("[")[0].split(".")[0]
            for entry in result.ledger.entries
            if entry.verdict is Verdict.MANUAL
            for path in entry.target_paths
        }
        if result.refused is None and not open_ & set(required):
            yield str(config), result


def test_schema_accepts_every_output() -> None:
    framework = registry.get(TARGET)
    count, refused = 0, []
    for name, result in _outputs():
        (text,) = result.files.values()
        assert result.target is not None
        found = schema_level(framework.parse(text.encode(), name, ()), result.target, framework, VERSION)
        count += 1
        if found.outcome is not Outcome.PASSED:
            refused.append(f"{name}: {'; '.join(found.details)}")
    assert count
    assert not refused, "\n".join(refused)


def test_the_framework_accepts_every_output(probe: Probe) -> None:
    framework = registry.get(TARGET)
    count, refused = 0, []
    for name, result in _outputs():
        (text,) = result.files.values()
        assert result.target is not None
        gpus = 1 if result.target["parallel.strategy"] == "single" else 2
        found = loaded(probe, framework.parse(text.encode(), name, ()), gpus)
        count += 1
        if found.outcome is not Outcome.PASSED:
            refused.append(f"{name}: {'; '.join(found.details)}")
    print(f"{count} outputs accepted by {TARGET} {VERSION} itself" if not refused else "")
    assert count
    assert not refused, "\n".join(refused)
