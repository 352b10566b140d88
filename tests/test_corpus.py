"""Every real torchtune config: parsed, recognised, accounted for, converted or refused with a reason."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import yaml

from ftmigrate import api
from ftmigrate.cli import main
from ftmigrate.conversion import Conversion
from ftmigrate.document.model import Unresolved, format_path, walk
from ftmigrate.frameworks import registry
from ftmigrate.frameworks.reader import Context
from ftmigrate.run.compare import LOSSES, Verdict, losses, private
from ftmigrate.run.model import NOT_APPLICABLE, ClaimKind
from tests.conftest import CORPUS, FIXTURES, WHEEL, torchtune_configs

CONFIGS = torchtune_configs()
CONVERTED = ("sft", "dpo", "qat")


def _id(path: Path) -> str:
    base = WHEEL if WHEEL and path.is_relative_to(WHEEL) else CORPUS
    return str(path.relative_to(base))


def version(path: Path) -> str:
    return "0.6.1" if WHEEL and path.is_relative_to(WHEEL) else "main"


@cache
def converted(path: Path) -> Conversion:
    """Each config is converted once for all tests of this module."""
    return api.convert(str(path), "axolotl", f"torchtune@{version(path)}")


def test_there_is_something_to_test() -> None:
    if not CONFIGS:
        pytest.skip("neither the torchtune wheel nor the corpus is here")
    assert len(CONFIGS) >= 156


@pytest.fixture(params=CONFIGS, ids=_id)
def config(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def _leaves(path: Path) -> set[str]:
    """The leaves as plain PyYAML sees them: independent of our parser but for what makes a leaf."""
    return {format_path(leaf) for leaf, _ in walk(yaml.safe_load(path.read_text(encoding="utf-8")))}


def test_ledger_accounts_for_every_leaf(config: Path) -> None:
    result = converted(config)
    paths = [entry.source_path for entry in result.ledger.entries if entry.source_path is not None]
    assert len(paths) == len(set(paths))
    assert set(paths) == _leaves(config)


def test_recipe_is_recognised(config: Path) -> None:
    run = api.read(str(config), f"torchtune@{version(config)}")
    assert run.recipe in {
        section.removeprefix("recipe ") for section in _sections(version(config)) if section.startswith("recipe ")
    }


def _sections(name: str) -> list[str]:
    from ftmigrate import schema

    return list(schema.load("torchtune", name).sections)


def test_converted_or_refused_with_a_reason(config: Path) -> None:
    result = converted(config)
    if result.refused and "leads nowhere" in result.refused:
        # the framework itself stops at this file: ${model_dir} is defined nowhere
        assert config.name == "maverick_17B_128E_full.yaml"
    elif result.source["method.name"] in CONVERTED:
        assert result.refused is None
        assert result.files
    else:
        assert result.refused
        assert str(result.source["method.name"]) in result.refused
        assert result.ledger.entries


def test_read_back_is_what_the_ledger_says(config: Path) -> None:
    result = converted(config)
    if result.refused:
        return
    (text,) = result.files.values()
    framework, target = registry.resolve("axolotl")
    document = framework.parse(text.encode(), "out.yaml", ())
    from ftmigrate.frameworks.reader import read

    back = read(framework.table(target), document, Context())
    source = api.load(str(config), f"torchtune@{version(config)}").run(Context())
    told = {effect.setting for entry in result.ledger.entries for effect in entry.effects if effect.verdict in LOSSES}
    assert {found.path for found in losses(source, back)} == told
    dropped = {e.source_path for e in result.ledger.entries if not e.effects and e.verdict in LOSSES}
    assert {path for path, _ in private(source)} == dropped
    assert private(back) == []
    for entry in result.ledger.entries:
        for effect in entry.effects:
            if effect.verdict in (Verdict.EXACT, Verdict.ADAPTED, Verdict.MADE_EXPLICIT):
                assert back[effect.setting] is not NOT_APPLICABLE
                assert not isinstance(back[effect.setting], Unresolved)


def test_no_key_is_unanswered(config: Path) -> None:
    run = api.read(str(config), f"torchtune@{version(config)}")
    assert [format_path(path) for path, claim in run.claims.items() if claim.kind is ClaimKind.PENDING] == []


def test_reading_what_we_wrote_leaves_nothing_unknown(config: Path) -> None:
    result = converted(config)
    if result.target is None:
        return
    odd = {
        format_path(p): c.kind for p, c in result.target.claims.items() if c.kind in ("unknown", "pending", "private")
    }
    assert not odd


def test_a_second_conversion_is_the_same(config: Path) -> None:
    first, second = converted(config), api.convert(str(config), "axolotl", f"torchtune@{version(config)}")
    assert first.files == second.files
    assert first.ledger.json() == second.ledger.json()


def test_refusal_exits_2_and_writes_the_ledger(wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = wheel / "mistral" / "7B_full_ppo_low_memory.yaml"
    report = tmp_path / "ledger.json"
    out = tmp_path / "out.yaml"
    assert main(["convert", str(config), "--to", "axolotl", "-o", str(out), "--report", str(report)]) == 2
    assert "ppo" in capsys.readouterr().err
    assert report.exists()
    assert not out.exists()


def test_a_version_whose_behaviour_is_not_known_is_not_written() -> None:
    result = api.convert(str(FIXTURES / "torchtune" / "llama_lora.yaml"), "axolotl@0.18.0", "torchtune")
    assert result.refused is not None
    assert "0.21.0" in result.refused
    assert not result.files
