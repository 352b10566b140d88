"""Properties of tables and conversions, on generated settings and configs."""

from __future__ import annotations

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from ftmigrate.conversion import Conversion, convert
from ftmigrate.document.model import Document
from ftmigrate.frameworks import registry
from ftmigrate.frameworks.reader import Context

pytest.importorskip("omegaconf")
from tests.torchtune_documents import Generated, configs, leaves

SOURCE, TARGET = registry.get("torchtune"), registry.get("axolotl")


def _parse(config: Generated) -> Document:
    return SOURCE.parse(config.text.encode(), "config.yaml", config.overrides)


def _convert(config: Generated, document: Document, version: str) -> Conversion:
    return convert(document, (SOURCE, version), (TARGET, TARGET.newest), Context(config.told), "out.yaml")


@given(configs(), st.sampled_from(SOURCE.versions()))
def test_every_leaf_has_exactly_one_entry(config: Generated, version: str) -> None:
    result = _convert(config, _parse(config), version)
    event("refused" if result.refused else "converted")
    paths = [entry.source_path for entry in result.ledger.entries if entry.source_path is not None]
    assert len(paths) == len(set(paths))
    assert sorted(paths) == sorted(leaves(config.tree()))
