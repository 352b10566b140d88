"""The pinned schema of Axolotl: facts known from elsewhere, and that it hangs together."""

from __future__ import annotations

import os
import re
from pathlib import Path

import extract_axolotl as extractor
import pydantic_source
import pytest
import schema_patch as patch
from package_source import Package

from ftmigrate import schema
from ftmigrate.schema import SECTION

VERSION = "0.21.0"
PINNED = schema.load("axolotl", VERSION)
TOOLS = Path(__file__).parent.parent / "tools"
CONFIG = PINNED.keys("config")
EVERY = [(section, key, facts) for section, keys in PINNED.sections.items() for key, facts in keys.items() if key]


@pytest.mark.parametrize(
    ("key", "type_", "default"),
    [
        ("warmup_steps", "int | None", None),
        ("warmup_ratio", "float | None", None),
        ("max_grad_norm", "float | None", None),
        ("sequence_len", "int", 512),
        ("bf16", "Literal['auto'] | bool | None", "auto"),
        ("val_set_size", "float | None", 0.0),
        ("lr_scheduler", "str | None", "cosine"),
        ("optimizer", "str | None", "adamw_torch_fused"),
        ("num_epochs", "float", 1.0),
        ("output_dir", "str", "./model-out"),
        ("lora_dropout", "float | None", 0.0),
        ("seed", "int | None", None),
        ("tokens", "list[str] | None", None),
        ("mixlora_num_experts", "int | None", 8),
        ("trl", "TRLConfig | None", {}),
    ],
)
def test_a_key_of_the_top_level(key: str, type_: str, default: object) -> None:
    assert (CONFIG[key]["type"], CONFIG[key]["default"]) == (type_, default)
    assert type(CONFIG[key]["default"]) is type(default)


def test_required_keys() -> None:
    assert {key for key, facts in CONFIG.items() if facts.get("required")} == {"base_model", "learning_rate"}
    assert {key for key, facts in CONFIG.items() if facts.get("supplied")} == {"capabilities", "env_capabilities"}


def test_enums() -> None:
    assert CONFIG["fsdp_version"]["enum"] == [2]
    assert CONFIG["adapter"]["enum"] == ["lora", "qlora", "llama-adapter"]
    assert CONFIG["adapter"]["open"]
    assert set(CONFIG["rl"]["enum"]) == {"dpo", "gdpo", "grpo", "ipo", "orpo", "kto", "simpo", "ebft"}
    assert "open" not in CONFIG["rl"]
    assert {"llama3", "chatml", "tokenizer_default"} <= set(CONFIG["chat_template"]["enum"])
    assert re.match(CONFIG["chat_template"]["pattern"], "tokenizer_default_fallback_chatml")
    assert PINNED.keys("QATConfig")["weight_dtype"]["default"] == "int8"


def test_keys_that_are_gone() -> None:
    assert CONFIG["fsdp"] == {"type": "any", "removed": "fsdp_config", "refused": "truthy"}
    assert CONFIG["max_packed_sequence_len"]["refused"] == "truthy"
    assert CONFIG["rpo_alpha"]["refused"] == "set"
    assert CONFIG["dpo_beta"]["deprecated"] == "rl_beta"
    assert CONFIG["flash_attention"]["deprecated"] == "attn_implementation"
    assert PINNED.keys("FSDPConfig")["sharding_strategy"]["removed"] == "reshard_after_forward"
    assert "refused" not in PINNED.keys("FSDPConfig")["use_orig_params"]


def test_other_spellings() -> None:
    assert CONFIG["model_type"]["field"] == "type_of_model"
    assert CONFIG["type_of_model"]["alias_of"] == "model_type"
    assert PINNED.keys("FSDPConfig")["version"]["alias_of"] == "fsdp_version"


def test_plugins() -> None:
    about = {name: PINNED.facts(name) for name in PINNED.sections if name.startswith("plugin ")}
    assert all(facts and name == f"plugin {facts['plugin']}" for name, facts in about.items())
    assert [facts["plugin"] for facts in about.values() if facts and facts.get("builtin")] == [
        "axolotl.integrations.context_parallel.ContextParallelPlugin",
        "axolotl.integrations.expert_parallel.ExpertParallelPlugin",
    ]
    assert "liger_rope" in PINNED.keys("plugin axolotl.integrations.liger.LigerPlugin")
    adapters = [adapter for facts in about.values() if facts for adapter in facts.get("adapters", [])]
    assert sorted(adapters) == ["mixlora", "mora"]


def test_what_is_referred_to_is_there() -> None:
    sections = {name for name in PINNED.sections if not name.startswith("plugin ")}
    named = {ref for _, _, facts in EVERY for ref in [facts.get("ref"), *facts.get("refs", [])] if ref}
    assert named == sections - {"config"}


def test_every_section_says_what_becomes_of_other_keys() -> None:
    for section, keys in PINNED.sections.items():
        if set(keys) != {SECTION}:
            assert keys[SECTION]["extra"] in ("forbid", "ignore", "allow"), section


@pytest.mark.parametrize("section", sorted(PINNED.sections))
def test_facts_are_consistent(section: str) -> None:
    keys = PINNED.keys(section)
    for key in set(keys) - {SECTION}:
        facts = keys[key]
        kinds = sum(kind in facts for kind in ("default", "required", "supplied", "alias_of"))
        assert kinds == (0 if "removed" in facts and "default" not in facts else 1), key
        assert "expression" not in facts, key
        assert facts.get("enum", ["some"]), key
        if "alias_of" in facts:
            assert "alias_of" not in keys[facts["alias_of"]], key
        replacement, default = facts.get("removed", facts.get("deprecated")), facts.get("default")
        if isinstance(replacement, str):
            assert replacement.partition(".")[0] in keys, key
        if isinstance(default, str) and "enum" in facts and not facts.get("open"):
            assert default in facts["enum"], key


def test_extracting_again_gives_the_same() -> None:
    where = os.environ.get("FTMIGRATE_AXOLOTL_SOURCE")
    if not where:
        pytest.skip("FTMIGRATE_AXOLOTL_SOURCE (a wheel of Axolotl 0.21.0, or its directory) is not set: NOT extracted")
    sections = extractor.extract(Package(Path(where)))
    patch.apply(sections, patch.corrections(TOOLS.parent / "schemas" / "axolotl.patch.json", VERSION))
    assert sections == PINNED.sections


MODULE = """
from enum import Enum
from typing import Annotated, ClassVar, Literal, Optional
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

class Kind(str, Enum):
    FIRST = "first"
    second = "2nd"

class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = Field(1 << 4, ge=1, lt=100)

class Base(BaseModel):
    shared: Optional[int] = 1
    LIMIT: ClassVar[int] = 7

class Other(BaseModel):
    shared: int = 2
    only: str

class Top(Base, Other):
    kind: Kind = Kind.second
    loose: Kind | str | None = None
    inner: "list[Inner] | None" = Field(default_factory=list)
    renamed: int = Field(0, alias="written")
    either: int | None = Field(default=None, validation_alias=AliasChoices("either", "or_this"))
    old: int | None = Field(default=None, deprecated="Use `new_key` instead.")
    named: Annotated[Literal["a", "b"], Field(min_length=1)] = "a"
"""


def test_reading_a_model(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "models.py").write_text(MODULE, encoding="utf-8")
    package = Package(tmp_path)
    top = package.resolve("made.models", "Top")
    assert pydantic_source.section(package, top) == {
        "": {"extra": "ignore"},
        "shared": {"type": "int | None", "default": 1},
        "only": {"type": "str", "required": True},
        "kind": {"type": "str", "enum": ["first", "2nd"], "default": "2nd"},
        "loose": {"type": "str | None", "enum": ["first", "2nd"], "open": True, "default": None},
        "inner": {"type": "list[Inner] | None", "ref": "Inner", "list": True, "default": []},
        "written": {"type": "int", "default": 0, "field": "renamed"},
        "either": {"type": "int | None", "default": None},
        "or_this": {"type": "int | None", "alias_of": "either"},
        "old": {"type": "int | None", "default": None, "deprecated": "new_key"},
        "named": {"type": "Literal['a', 'b']", "enum": ["a", "b"], "min_length": 1, "default": "a"},
    }
    assert list(pydantic_source.models(package, top)) == ["Inner"]
    assert pydantic_source.section(package, package.resolve("made.models", "Inner")) == {
        "": {"extra": "forbid"},
        "size": {"type": "int", "default": 16, "ge": 1, "lt": 100},
    }
