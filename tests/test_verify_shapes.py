"""Level `shapes`: what is trained of the real model, on the meta device."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from ftmigrate import api
from ftmigrate.frameworks import registry
from ftmigrate.frameworks.reader import Context
from ftmigrate.frameworks.reader import read as read_document
from ftmigrate.frameworks.torchtune.model_sizes import sizes
from ftmigrate.verify import environments, real_model, tiny_model, trial
from ftmigrate.verify.pair import Config, compare
from ftmigrate.verify.plan_level import trained
from ftmigrate.verify.probe import Probe
from ftmigrate.verify.results import Outcome, Result
from tests.conftest import FIXTURES

LORA = FIXTURES / "torchtune" / "llama_lora.yaml"
BASE = FIXTURES / "torchtune" / "parity" / "base.yaml"
AXOLOTL, VERSION = "axolotl", "0.21.0"


def pair(
    path: Path = LORA, overrides: tuple[str, ...] = (), changes: Mapping[str, Any] | None = None
) -> tuple[Config, Config]:
    """A config and its conversion, some of whose keys are changed (None: taken away)."""
    loaded = api.load(str(path), None, overrides)
    before = loaded.run(Context(None, 1, 48))
    made = api.convert(str(path), f"{AXOLOTL}@{VERSION}", overrides=overrides, world_size=1, rows=48)
    (text,) = made.files.values()
    tree = {key: value for key, value in (yaml.safe_load(text) | (changes or {})).items() if value is not None}
    framework = registry.get(AXOLOTL)
    document = framework.parse(yaml.safe_dump(tree, sort_keys=False).encode(), "made.yaml", ())
    after = read_document(framework.table(VERSION), document, Context(None, 1, 48))
    source = Config(loaded.document, before, loaded.framework, loaded.version)
    return source, Config(document, after, framework, VERSION)


def known(source: Config, target: Config) -> real_model.Real:
    return real_model.of([(one.framework, one.version, one.document, one.run) for one in (source, target)])


def test_a_builder_s_sizes_make_a_config_json() -> None:
    real = known(*pair())
    assert (real.family, real.config["hidden_size"], real.config["num_hidden_layers"]) == ("llama3_2", 2048, 16)
    assert (real.config["num_key_value_heads"], real.config["vocab_size"]) == (8, 128256)
    assert real.config["tie_word_embeddings"] is True
    assert real.config["rope_scaling"]["factor"] == 32.0


def test_sizes_that_the_config_tells_count() -> None:
    (source, _) = pair(BASE)
    found = sizes(source.document, "0.6.1")
    assert found is not None
    assert (found["layers"], found["width"], found["head_width"]) == (2, 64, 16)


def test_a_local_config_json_comes_first(tmp_path: Path) -> None:
    tiny_model.make("qwen2", tmp_path / "base")
    real = known(
        *pair(
            overrides=(f"checkpointer.checkpoint_dir={tmp_path / 'base'}",),
            changes={"base_model": str(tmp_path / "base")},
        )
    )
    assert real.config["model_type"] == "qwen2"
    assert real.origin == str(tmp_path / "base" / "config.json")


def test_shapes_that_nobody_knows_are_said() -> None:
    _, target = pair()
    named = known(target, target)
    assert named.config["hidden_size"] == 2048
    assert named.origin == "what is known of meta-llama/Llama-3.2-1B-Instruct"
    _, other = pair(changes={"base_model": "nobody/secret"})
    with pytest.raises(trial.TrialFailed, match=r"the shapes of nobody/secret are not known.*config\.json"):
        known(other, other)


# --- the real frameworks ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def probes() -> Iterator[dict[str, Probe]]:
    with ExitStack() as stack:
        found = {}
        for name, version in (("torchtune", "0.6.1"), (AXOLOTL, VERSION)):
            environment = environments.find(name, version)
            if environment is None:
                pytest.skip(f"NOT VERIFIED against {name} {version}: run `ftmigrate env create {name}`")
            found[name] = stack.enter_context(Probe(environment.python, name))
        yield found


def judged(probes: dict[str, Probe], sides: tuple[Config, Config]) -> Result:
    (result,) = compare(*sides, ("shapes",), probes=probes)
    return result


def test_the_real_model_of_a_right_conversion_is_trained_alike(probes: dict[str, Probe]) -> None:
    found = judged(probes, pair())
    assert found.outcome is Outcome.PASSED, found.differences
    assert found.details[0] == "192 trainable tensors, 10,616,832 of 1,235,814,400 parameters"
    assert found.data["source"] == found.data["target"]


FAULTS: dict[str, tuple[Mapping[str, Any], str]] = {
    "wrong rank": ({"lora_r": 32}, "adapter.rank"),
    "a layer without an adapter": ({"lora_target_modules": ["q_proj", "v_proj"]}, "adapter.target_modules"),
    "a layer too many": ({"lora_target_linear": True}, "adapter.target_modules"),
    "DoRA": ({"peft_use_dora": True}, "adapter.use_dora"),
    "no adapter": (
        {"adapter": None, "lora_r": None, "lora_alpha": None, "lora_target_modules": None},
        "adapter.method",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught_on_the_real_shapes(name: str, probes: dict[str, Probe]) -> None:
    changes, setting = FAULTS[name]
    found = judged(probes, pair(changes=changes))
    assert found.outcome is Outcome.DIFFERS
    assert [one.setting for one in found.differences] == [setting]
    assert found.differences[0].told


def test_a_base_model_of_another_size_is_caught(probes: dict[str, Probe], tmp_path: Path) -> None:
    tiny = tiny_model.sizes("llama3_2") | {"width": 2048, "heads": 32, "head_width": 64, "kv_heads": 8, "inner": 8192,
                                           "layers": 16, "vocabulary": 1000}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(tiny_model.config_json("llama3_2", tiny)), encoding="utf-8")
    found = judged(probes, pair(changes={"base_model": str(tmp_path)}))
    assert found.outcome is Outcome.DIFFERS
    assert "the base model has 1,235,814,400 parameters in the source, 9" in found.differences[0].text
    assert found.differences[0].setting == "model.architecture"


def test_what_is_stored_in_4_bits_is_counted_whole(probes: dict[str, Probe]) -> None:
    qlora = ("model=torchtune.models.llama3_2.qlora_llama3_2_1b",)
    found = judged(probes, pair(overrides=qlora))
    assert found.outcome is Outcome.PASSED, (found.details, found.differences)
    assert "1,235,814,400" in found.details[0]


def test_layers_that_one_side_keeps_in_one_matrix_are_the_same() -> None:
    run = pair()[0].run
    parts = {f"layers.0.self_attn.{name}.weight": {"shape": [rows, 8]} for name, rows in
             (("q_proj", 8), ("k_proj", 4), ("v_proj", 4))}  # fmt: skip
    whole = {"layers.0.self_attn.qkv_proj.weight": {"shape": [16, 8]}}
    assert trained(parts, whole, run, run, set()) is None
    assert trained(whole, parts, run, run, set()) is None
    found = trained({**parts, "layers.0.self_attn.k_proj.weight": {"shape": [8, 8]}}, whole, run, run, set())
    assert found is not None
    assert "another shape" in found.text
