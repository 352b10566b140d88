"""`ftmigrate schema`: the exported JSON Schemas, what they accept, and what changed between versions."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ftmigrate import schema
from ftmigrate.cli import main
from ftmigrate.document.model import DocumentError, Unresolved
from ftmigrate.frameworks import registry
from ftmigrate.json_schema import export, recipes
from ftmigrate.json_schema.types import Types, one_of
from ftmigrate.schema import Layout, Schema
from ftmigrate.schema_changes import Kind, compare
from ftmigrate.verify import environments, schema_level
from ftmigrate.verify.probe import Probe
from ftmigrate.verify.schema_level import SchemaFinding, ValidatorMissing, check_schema

VALIDATORS: dict[str, Any] = {"2020-12": jsonschema.Draft202012Validator, "7": jsonschema.Draft7Validator}
PINNED = [(name, version) for name in registry.names() for version in registry.get(name).versions()]


# The documents themselves


def words(node: Any, *, names: bool = False) -> Iterator[tuple[str, Any]]:
    """Every keyword of a schema with its value; names of properties and definitions are no keywords."""
    if isinstance(node, dict):
        for key, value in node.items():
            if not names:
                yield key, value
            if names or key not in ("default", "enum", "const"):
                yield from words(value, names=not names and key in ("properties", "$defs", "definitions"))
    elif isinstance(node, list):
        for item in node:
            yield from words(item)


@pytest.mark.parametrize("draft", VALIDATORS)
@pytest.mark.parametrize(("name", "version"), PINNED)
def test_every_export_is_a_valid_schema(
    name: str, version: str, draft: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema", f"{name}@{version}", "--draft", draft]) == 0
    document = json.loads(capsys.readouterr().out)
    VALIDATORS[draft].check_schema(document)
    assert document["$schema"] == VALIDATORS[draft].META_SCHEMA["$id"]
    place = "definitions" if draft == "7" else "$defs"
    seen = dict(words(document))
    referred = {value for word, value in words(document) if word == "$ref"}
    assert referred == {f"#/{place}/{key}" for key in document[place]}  # all are there, and none is there for nothing
    allowed = {"$schema", "$ref", "title", "type", "properties", "required", "additionalProperties", "items", "anyOf",
               "allOf", "if", "then", "else", "not", "enum", "default", "description", "pattern", "contains",
               "minItems", "maxItems", "minLength", "minimum", "maximum", "exclusiveMinimum",
               "exclusiveMaximum"}  # fmt: skip
    assert set(seen) <= allowed | ({"definitions"} if draft == "7" else {"$defs", "deprecated", "prefixItems"})


@pytest.mark.parametrize("version", registry.get("torchtune").versions())
def test_every_recipe_alone_is_a_valid_schema(version: str) -> None:
    layout = registry.get("torchtune").layout
    pinned = schema.load("torchtune", version)
    names = recipes(pinned, layout)
    assert "lora_finetune_single_device" in names
    whole = export(pinned, layout)["$defs"]  # found valid above
    for name in names:
        document = export(pinned, layout, recipe=name)
        definitions = document.pop("$defs")
        assert all(whole[key] == found for key, found in definitions.items())
        jsonschema.Draft202012Validator.check_schema(document)
        assert {value for word, value in words(document) if word == "$ref"} <= {f"#/$defs/{key}" for key in definitions}
        read = {key for key in pinned.keys(f"recipe {name}") if key and "." not in key}
        assert set(document["properties"]) == read


def test_the_top_level_of_axolotl() -> None:
    pinned = schema.load("axolotl", "0.21.0")
    document = export(pinned, registry.get("axolotl").layout)
    assert document["required"] == ["base_model", "learning_rate"]
    sections = [keys for name, keys in pinned.sections.items() if name == "config" or name.startswith("plugin ")]
    every = {key for keys in sections for key, facts in keys.items() if key and not facts.get("supplied")}
    assert set(document["properties"]) == every
    old = document["properties"]["dpo_beta"]
    assert old["deprecated"]
    assert "`rl_beta`" in old["description"]
    assert document["properties"]["sequence_len"]["default"] == 512
    assert not {"capabilities", "env_capabilities"} & every


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["axolotl@9.9"], "0.21.0"),
        (["axolotle"], "did you mean axolotl?"),
        (["torchtune", "--recipe", "lora_finetune_single"], "did you mean lora_finetune_single_device?"),
        (["axolotl", "--recipe", "x"], "one schema for all configs"),
        (["torchtune", "--diff", "0.6.1", "9.9"], "9.9"),
        (["torchtune@main", "--diff", "0.6.1", "main"], "@VERSION"),
        (["torchtune", "--drift"], "--diff"),
        (["axolotl", "--draft", "4"], "invalid choice"),
    ],
)
def test_what_cannot_be_done(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err


# Types

VALUES: dict[str, Any] = {
    "null": None, "true": True, "one": 1, "negative": -1, "two": 2, "1.5": 1.5, "two as float": 2.0, "'2'": "2",
    "'2.0'": "2.0", "'1e-4'": "1e-4", "'.inf'": "inf", "'yes'": "yes", "'maybe'": "maybe", "'a'": "a", "empty": "",
    "list of int": [1], "list of str": ["a"], "pair": [1, 2], "mapping": {"a": 1}, "later": "${b}",
}  # fmt: skip
LAX = {
    "int": {"true", "one", "negative", "two", "two as float", "'2'", "'2.0'"},
    "float | None": {
        "null",
        "true",
        "one",
        "negative",
        "two",
        "1.5",
        "two as float",
        "'2'",
        "'2.0'",
        "'1e-4'",
        "'.inf'",
    },
    "bool": {"true", "one", "'yes'"},
    "str": {"'2'", "'2.0'", "'1e-4'", "'.inf'", "'yes'", "'maybe'", "'a'", "empty", "later"},
    "Literal['a', 2] | None": {"null", "'a'", "two", "two as float"},
    "list[str] | None": {"null", "list of str"},
    "list[int]": {"list of int", "pair"},
    "tuple[int, int]": {"pair"},
    "dict[str, int]": {"mapping"},
    "dict[str, str]": set(),
    "int | any": set(VALUES),
    "nn.Module": set(VALUES),
}
STRICT = {
    "int": {"one", "negative", "two", "two as float", "later"},
    "float | torch.Tensor": {"one", "negative", "two", "1.5", "two as float", "later"},
    "bool": {"true", "null", "later"},
    "list[int] | None": {"null", "list of int", "pair", "later"},
    "dict[str, any]": {"mapping", "later"},
}


@pytest.mark.parametrize(
    ("lax", "annotation", "expected"),
    [(True, *case) for case in LAX.items()] + [(False, *case) for case in STRICT.items()],
)
def test_an_annotation_takes(lax: bool, annotation: str, expected: set[str]) -> None:
    types = Types(Layout(lax=lax, interpolated=not lax), set(), lambda names: {"$ref": str(names)})
    validator = jsonschema.Draft202012Validator(types.of({"type": annotation}))
    assert {name for name, value in VALUES.items() if validator.is_valid(value)} == expected


@pytest.mark.parametrize(
    ("facts", "taken", "refused"),
    [
        ({"type": "int", "ge": 1}, [1, "1"], [0]),
        ({"type": "float", "gt": 0, "le": 1}, [0.5, 1], [0, 1.5]),
        ({"type": "int", "strict": True}, [1], ["1", True]),
        ({"type": "str", "enum": ["a", "b"]}, ["a"], ["c", 1, None]),
        ({"type": "str", "enum": ["a", "b"], "open": True}, ["a", "c"], [1]),
        ({"type": "str", "enum": ["a"], "pattern": "/"}, ["a", "x/y"], ["x"]),
        ({"type": "str", "enum": ["a"], "ignorecase": True}, ["a", "A"], ["b"]),
        ({"type": "str", "enum": ["cpu"], "indexed": True}, ["cpu", "cpu:0"], ["cpu:", "gpu:0"]),
        ({"type": "list[str]", "enum": ["q", "v"]}, [["q"], []], [["x"], "q"]),
        ({"type": "list[str]", "min_length": 1}, [["a"]], [[]]),
        ({"type": "list[str] | Literal['all']", "enum": ["all"]}, ["all", ["x"]], ["x"]),
        ({"type": "dict[str, any] | None", "nonnull": True}, [{}], [None]),
        ({"type": "bool | None", "removed": True, "refused": "set"}, [None], [False]),
        ({"type": "any", "removed": True, "refused": "truthy"}, [None, False, []], [True, ["x"], "x"]),
        ({"type": "any", "removed": True, "refused": "present"}, [], [None, 1]),
    ],
)
def test_facts_beside_the_type(facts: dict[str, Any], taken: list[Any], refused: list[Any]) -> None:
    found = Types(Layout(lax=True), set(), lambda names: {}).of(facts)
    validator = jsonschema.Draft202012Validator(found)
    assert [value for value in taken if not validator.is_valid(value)] == []
    assert [value for value in refused if validator.is_valid(value)] == []


def test_alternatives_become_one_schema() -> None:
    assert one_of([{"type": "integer"}, {"type": "number"}, {"type": "null"}]) == {"type": ["number", "null"]}
    assert one_of([{"type": "string", "pattern": "x"}, {"type": "string"}]) == {"type": "string"}


# Axolotl: single changes to a config that is right

RIGHT: dict[str, Any] = {
    "base_model": "owner/name",
    "learning_rate": "1e-4",
    "micro_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "datasets": [{"path": "rows.jsonl", "type": "alpaca"}],
}
LIGER = {"plugins": ["axolotl.integrations.liger.LigerPlugin"]}
DIFFUSION = {"plugins": ["axolotl.integrations.diffusion.DiffusionPlugin"]}
# a change, the path of what is found and its kind; nothing is found where the path is None
CHANGES: list[tuple[dict[str, Any], str | None, str]] = [
    ({}, None, ""),
    ({"micro_batch_size": "2"}, None, ""),
    ({"micro_batch_size": "2.5"}, "micro_batch_size", "value"),
    ({"micro_batch_size": "abc"}, "micro_batch_size", "value"),
    ({"sequence_len": None}, "sequence_len", "value"),
    ({"weight_decay": "1e-4"}, None, ""),
    ({"weight_decay": "0x10"}, "weight_decay", "value"),
    ({"group_by_length": "Off"}, None, ""),
    ({"group_by_length": 2}, "group_by_length", "value"),
    ({"group_by_length": " true"}, "group_by_length", "value"),
    ({"bf16": "full"}, "bf16", "value"),
    ({"bf16": "auto"}, None, ""),
    ({"rl": "dop"}, "rl", "value"),
    ({"optimizer": 3}, "optimizer", "value"),
    ({"chat_template": "lama3"}, "chat_template", "value"),
    ({"chat_template": "tokenizer_default_fallback_chatml"}, None, ""),
    ({"attn_implementation": "flash"}, "attn_implementation", "value"),
    ({"attn_implementation": "owner/kernel"}, None, ""),
    ({"large_head_attention": "SDPA"}, None, ""),
    ({"image_resize_algorithm": "BILINEAR"}, None, ""),
    ({"image_size": [1, 2, 3]}, "image_size", "value"),
    ({"warmup_steps": 0.1}, "warmup_steps", "value"),
    ({"warmup_steps": 0.1, **LIGER}, "warmup_steps", "value"),
    ({"warmup_steps": 0.1, **DIFFUSION}, None, ""),
    ({"liger_rope": True, **LIGER}, None, ""),
    ({"liger_rope": "abc", **LIGER}, "liger_rope", "value"),
    ({"liger_rope": "abc"}, "liger_rope", "unknown"),
    ({"output_dir": None}, "output_dir", "value"),
    ({"max_memory": {0: "20GB", "cpu": 5}}, None, ""),
    ({"max_memory": {0: [1]}}, "max_memory.0", "value"),
    ({"fsdp_version": 1}, "fsdp_version", "value"),
    ({"fsdp": ["full_shard"]}, "fsdp", "value"),
    ({"fsdp": []}, None, ""),
    ({"fsdp_config": {"fsdp_offload_params": True}}, None, ""),
    ({"fsdp_config": {"fsdp_offload_params": "abc"}}, "fsdp_config.fsdp_offload_params", "value"),
    ({"fsdp_config": {"sharding_strategy": "FULL_SHARD"}}, "fsdp_config.sharding_strategy", "value"),
    ({"rpo_alpha": 0.0}, "rpo_alpha", "value"),
    ({"special_tokens": {"pad_token": 3}}, "special_tokens.pad_token", "value"),
    ({"special_tokens": {"padding": "a"}}, "special_tokens.padding", "unknown"),
    ({"tokens": ["a", 1]}, "tokens[1]", "value"),
    ({"datasets": []}, "datasets", "value"),
    ({"datasets": [{"path": "a", "type": "alpaca", "shards": "abc"}]}, "datasets[0].shards", "value"),
    ({"datasets": [{"path": "a", "type": "alpaca", "shard": 3}]}, "datasets[0].shard", "unknown"),
    ({"datasets": [{"path": "a", "type": {"field_instruct": "x"}}]}, "datasets[0].type.field_instruct", "unknown"),
    ({"datasets": [{"path": 3, "type": "alpaca"}]}, "datasets[0].path", "value"),
    ({"context_parallel": {"size": 0}}, "context_parallel.size", "value"),
    ({"context_parallel": {"sizes": 2}}, "context_parallel.sizes", "value"),
    ({"trl": {"beta": "abc"}}, "trl.beta", "value"),
    ({"lr_groups": [{"name": "a", "modules": ["x"]}]}, "lr_groups[0].lr", "missing"),
    ({"quantization": {"weight_dtype": "INT4"}}, "quantization.weight_dtype", "value"),
    ({"export": {"quantize": "q8_0"}}, None, ""),
    ({"lora_target_module": ["q_proj"]}, "lora_target_module", "unknown"),
    ({"base_model": ...}, "base_model", "missing"),
    ({"learning_rate": ...}, "learning_rate", "missing"),
]


def changed(change: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**deepcopy(RIGHT), **change}.items() if value is not ...}


@pytest.mark.parametrize(("change", "path", "kind"), CHANGES, ids=[str(change) for change, *_ in CHANGES])
def test_a_change_to_an_axolotl_config(change: dict[str, Any], path: str | None, kind: str) -> None:
    found = check_schema(changed(change), "axolotl", "0.21.0")
    assert [(one.path, one.kind) for one in found] == ([] if path is None else [(path, kind)])


def test_both_drafts_judge_alike() -> None:
    pinned, layout = schema.load("axolotl", "0.21.0"), registry.get("axolotl").layout
    modern, seven = (VALIDATORS[draft](export(pinned, layout, draft)) for draft in VALIDATORS)
    for change, path, kind in CHANGES:
        if change.get("max_memory") is None:  # JSON has no keys that are numbers
            assert (
                modern.is_valid(changed(change))
                is seven.is_valid(changed(change))
                is (path is None or kind == "unknown")
            )


def test_messages_say_what_would_be_right() -> None:
    def told(**change: Any) -> str:
        (found,) = check_schema(changed(change), "axolotl", "0.21.0")
        return found.message

    assert told(micro_batch_size="abc") == "'abc' is not int | None"
    assert told(lora_target_module=1) == "is no key here; did you mean lora_target_modules?"
    assert told(chat_template="lama3").endswith("did you mean llama3?")
    assert told(fsdp_config={"fsdp_sharding_strategy": 1}) == "is no longer supported; use `reshard_after_forward`"
    assert "LigerPlugin only" in told(liger_rope=True)
    assert told(context_parallel={"size": 0}) == "0 is less than the minimum of 1"


def test_a_value_that_only_the_run_knows_is_right() -> None:
    assert check_schema({**RIGHT, "micro_batch_size": Unresolved("$BATCH")}, "axolotl") == []
    found = check_schema({**RIGHT, "micro_batch_size": "$BATCH"}, "axolotl")
    assert [one.path for one in found] == ["micro_batch_size"]


def test_without_the_validator_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    schema_level._checker.cache_clear()
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(ValidatorMissing, match=r"ftmigrate\[verify\]"):
        check_schema(RIGHT, "axolotl")


# Axolotl: the real loader


@pytest.fixture(scope="module")
def loader() -> Iterator[Probe]:
    found = environments.find("axolotl", "0.21.0")
    if found is None:
        pytest.skip("no interpreter with axolotl 0.21.0 (FTMIGRATE_PYTHON_AXOLOTL): NOT compared with its own loader")
    with Probe(found.python, "axolotl") as probe:
        yield probe


def test_the_real_loader_judges_the_changes_alike(loader: Probe) -> None:
    """It passes over keys of kind "unknown"; all else that we find, it refuses."""
    wrong = []
    for change, path, kind in CHANGES:
        accepted = loader.request("load", text=yaml.safe_dump(changed(change)))["ok"]
        if accepted is not (path is None or kind == "unknown"):
            wrong.append((change, accepted))
    assert wrong == []


def test_what_the_real_loader_accepts_the_schema_accepts(
    loader: Probe, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parse = registry.get("axolotl").parse
    counts = {(real, ours): 0 for real in (True, False) for ours in (True, False)}
    refused: list[tuple[str, list[SchemaFinding]]] = []
    files = sorted(file for file in (corpus / "axolotl-0.18").rglob("*") if file.suffix in (".yml", ".yaml"))
    assert files
    for file in files:
        real = bool(loader.request("load", text=file.read_text(encoding="utf-8"))["ok"])
        try:
            tree = parse(file.read_bytes(), file.name, ()).tree
        except DocumentError:
            counts[real, False] += 1
            continue
        found = [one for one in check_schema(tree, "axolotl", "0.21.0") if one.kind != "unknown"]
        counts[real, not found] += 1
        if real and found:
            refused.append((file.name, found))
    with capsys.disabled():
        print(f"\naxolotl corpus: both accept {counts[True, True]}, both refuse {counts[False, False]}, only the loader"
              f" refuses {counts[False, True]}, only the schema refuses {counts[True, False]}")  # fmt: skip
    assert refused == []
    assert counts[True, False] == 0
    assert counts[False, False] > counts[False, True]


# torchtune


def configs(version: str, root: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The shipped configs: name, recipe, tree."""
    for name, keys in schema.load("torchtune", version).sections.items():
        if name.startswith("config ") and (file := root / Path(*Path(keys[""]["file"]).parts[2:])).is_file():
            try:
                tree = registry.get("torchtune").parse(file.read_bytes(), file.name, ()).tree
            except DocumentError:  # one interpolates a key that it does not have
                continue
            for recipe in keys[""]["recipes"]:
                yield name, recipe, tree


def refused_configs(version: str, root: Path) -> tuple[int, list[Any]]:
    found = [(n, r, check_schema(tree, "torchtune", version, r)) for n, r, tree in configs(version, root)]
    return len(found), [(n, r, one) for n, r, all_ in found for one in all_ if one.kind != "unknown"]


def test_every_config_of_the_wheel_is_accepted(wheel: Path) -> None:
    number, refused = refused_configs("0.6.1", wheel)
    assert number > 150
    assert refused == []


def test_every_config_of_main_is_accepted(corpus: Path) -> None:
    number, refused = refused_configs("main", corpus / "torchtune-main" / "recipes" / "configs")
    assert number > 180
    assert refused == []


LORA: dict[str, Any] = {
    "output_dir": "out",
    "tokenizer": {"_component_": "torchtune.models.llama3.llama3_tokenizer", "path": "m/tokenizer.model"},
    "dataset": {"_component_": "torchtune.datasets.alpaca_cleaned_dataset", "packed": False},
    "model": {
        "_component_": "torchtune.models.llama3_1.lora_llama3_1_8b",
        "lora_attn_modules": ["q_proj", "v_proj"],
        "apply_lora_to_mlp": True,
        "lora_rank": 8,
        "lora_alpha": 16,
    },
    "checkpointer": {
        "_component_": "torchtune.training.FullModelHFCheckpointer",
        "checkpoint_dir": "m",
        "checkpoint_files": ["model.safetensors"],
        "model_type": "LLAMA3",
        "output_dir": "${output_dir}",
    },
    "optimizer": {"_component_": "torch.optim.AdamW", "lr": 3e-4},
    "lr_scheduler": {"_component_": "torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup",
                     "num_warmup_steps": 100},
    "loss": {"_component_": "torchtune.modules.loss.CEWithChunkedOutputLoss"},
    "metric_logger": {"_component_": "torchtune.training.metric_logging.DiskLogger", "log_dir": "logs"},
    "batch_size": 2, "epochs": 1, "max_steps_per_epoch": None, "gradient_accumulation_steps": 1, "compile": False,
    "resume_from_checkpoint": False, "seed": None, "shuffle": True, "device": "cuda:1", "dtype": "bf16",
}  # fmt: skip
DAMAGE: list[tuple[str, Any, str, str]] = [
    ("", None, "", ""),
    ("epochs", "three", "epochs", "value"),
    ("epochs", "${rounds}", "", ""),
    ("epochs", ..., "epochs", "missing"),
    ("dtype", "fp16", "dtype", "value"),
    ("device", "gpu", "device", "value"),
    ("batchsize", 2, "batchsize", "unknown"),
    ("model.lora_attn_modules", ["q_proj", "o_proj"], "model.lora_attn_modules[1]", "value"),
    ("model.lora_rank", "many", "model.lora_rank", "value"),
    ("model.lora_rank", ..., "model.lora_rank", "missing"),
    ("model.lora_rankk", 8, "model.lora_rankk", "value"),
    ("model._component_", "mine.my_model", "", ""),
    ("model._component_", ..., "model._component_", "missing"),
    ("optimizer.lr", "fast", "optimizer.lr", "value"),
    ("checkpointer.model_type", "LAMA3", "checkpointer.model_type", "value"),
    ("checkpointer.checkpoint_dir", ..., "checkpointer.checkpoint_dir", "missing"),
    ("dataset", [LORA["dataset"], LORA["dataset"]], "", ""),
    ("dataset", [LORA["dataset"], {**LORA["dataset"], "packed": "maybe"}], "dataset[1].packed", "value"),
    ("dataset.load_dataset_argument", 1, "", ""),
    ("profiler", {"enabled": False}, "", ""),
    ("profiler", {"_component_": None, "enabled": False}, "", ""),
    ("profiler", {"enabled": "perhaps"}, "profiler.enabled", "value"),
]


@pytest.mark.parametrize(("key", "value", "path", "kind"), DAMAGE, ids=[f"{k}={v!s:.20}" for k, v, *_ in DAMAGE])
def test_damage_to_a_torchtune_config(key: str, value: Any, path: str, kind: str) -> None:
    tree = deepcopy(LORA)
    *parents, last = key.split(".")
    node = tree
    for parent in parents:
        node = node[parent]
    if value is ...:
        del node[last]
    elif key:
        node[last] = value
    found = check_schema(tree, "torchtune", "0.6.1", "lora_finetune_single_device")
    assert {(one.path, one.kind) for one in found} == ({(path, kind)} if path else set())


def test_without_a_recipe_the_one_that_fits_counts() -> None:
    assert check_schema(LORA, "torchtune", "0.6.1") == []
    assert [one.path for one in check_schema({**LORA, "log_levels": 1}, "torchtune", "0.6.1")] == ["log_levels"]


# Changes between versions


def changes_of(capsys: pytest.CaptureFixture[str], *more: str) -> list[dict[str, Any]]:
    assert main(["schema", "torchtune", "--diff", "0.6.1", "main", "--format", "json", *more]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["changes"]
    return found


def test_diff_of_torchtune(capsys: pytest.CaptureFixture[str]) -> None:
    found = changes_of(capsys)
    level = [one for one in found if one["key"] == "log_level"]
    assert {one["kind"] for one in level} == {"added"}
    assert all(one["after"]["required"] for one in level)
    assert "recipe lora_finetune_single_device" in {one["section"] for one in level}
    wholly = {one["section"] for one in found if one["key"] is None and one["kind"] == "added"}
    assert "recipe qat_single_device" in wholly
    devices = [one for one in found if one["kind"] == "values" and one["key"] == "device"]
    assert devices
    assert {"hpu"} == set(devices[0]["after"]) - set(devices[0]["before"])


def test_diff_as_text_tells_a_change_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "torchtune", "--diff", "0.6.1", "main"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("  log_level: str | None, required") == 1
    assert "added" in lines
    place = lines[lines.index("  log_level: str | None, required") + 1]
    assert place.startswith("      in recipe full_dpo_distributed, ")
    assert place.endswith(" more")


def test_drift_is_the_changed_defaults_only(capsys: pytest.CaptureFixture[str]) -> None:
    found = changes_of(capsys, "--drift")
    assert {one["kind"] for one in found} == {"default"}
    keyed = {(one["section"], one["key"]): (one["before"], one["after"]) for one in found}
    change = keyed["component torchtune.data.AlpacaToMessages", "train_on_input"]
    assert change == ({"default": True}, {"default": None})
    assert all(before != after for before, after in keyed.values())


@pytest.mark.parametrize(("name", "version"), PINNED)
def test_a_version_does_not_differ_from_itself(name: str, version: str) -> None:
    assert compare(schema.load(name, version), schema.load(name, version)) == []


def test_every_kind_of_change() -> None:
    before: dict[str, dict[str, Any]] = {
        "kept": {"type": "int", "default": 1},
        "gone": {"type": "int"},
        "moved": {"type": "int", "deprecated": "place"},
        "old": {"type": "str", "default": "a"},
        "spelt": {"type": "str"},
        "fading": {"type": "int"},
        "switched_off": {"type": "bool"},
        "drifted": {"type": "bool", "default": True},
        "one": {"type": "float", "default": 1},
        "retyped": {"type": "int"},
        "chosen": {"type": "str", "enum": ["a", "b"]},
        "limited": {"type": "int", "ge": 0},
        "needed": {"type": "int", "default": 1},
    }
    after: dict[str, dict[str, Any]] = {
        "kept": {"type": "int", "default": 1},
        "place": {"type": "int"},
        "fresh": {"type": "str", "deprecated": True},
        "old": {"type": "str", "default": "a", "deprecated": "new"},
        "new": {"type": "str"},
        "spelt": {"type": "str", "alias_of": "spelled"},
        "spelled": {"type": "str"},
        "fading": {"type": "int", "deprecated": "kept"},
        "switched_off": {"type": "bool", "removed": True},
        "drifted": {"type": "bool", "default": False},
        "one": {"type": "float", "default": 1.0},
        "retyped": {"type": "int | None"},
        "chosen": {"type": "str", "enum": ["b", "c"]},
        "limited": {"type": "int", "ge": 1},
        "needed": {"type": "int", "required": True},
    }
    found = compare(Schema("x", "1", {"s": before, "left": {}}), Schema("x", "2", {"s": after, "came": {}}))
    assert {(one.kind, one.section, one.key, one.replacement) for one in found} == {
        (Kind.ADDED, "came", "", None),
        (Kind.REMOVED, "left", "", None),
        (Kind.ADDED, "s", "fresh", None),
        (Kind.REMOVED, "s", "gone", None),
        (Kind.REMOVED, "s", "switched_off", None),
        (Kind.RENAMED, "s", "moved", "place"),
        (Kind.RENAMED, "s", "old", "new"),
        (Kind.RENAMED, "s", "spelt", "spelled"),
        (Kind.DEPRECATED, "s", "fading", "kept"),
        (Kind.DEFAULT, "s", "drifted", None),
        (Kind.DEFAULT, "s", "one", None),
        (Kind.TYPE, "s", "retyped", None),
        (Kind.VALUES, "s", "chosen", None),
        (Kind.LIMITS, "s", "limited", None),
        (Kind.REQUIRED, "s", "needed", None),
    }


# The comment for the YAML language server


def test_a_modeline_names_the_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, config = tmp_path / "schemas" / "axolotl.json", tmp_path / "configs" / "a.yaml"
    config.parent.mkdir()
    config.write_bytes(b"\xef\xbb\xbf# mine\r\nbase_model: x  # y\r\n")
    command = ["schema", "axolotl@0.21.0", "--draft", "7", "--output-file", str(file), "--modeline", str(config)]
    assert main(command) == 0
    line = b"# yaml-language-server: $schema=../schemas/axolotl.json\r\n"
    expected = b"\xef\xbb\xbf" + line + b"# mine\r\nbase_model: x  # y\r\n"
    assert config.read_bytes() == expected
    jsonschema.Draft7Validator.check_schema(json.loads(file.read_text(encoding="utf-8")))
    assert main(command) == 0
    assert config.read_bytes() == expected
    config.write_bytes(b"# a\n#yaml-language-server: $schema=https://x/y.json\nbase_model: x\n")
    assert main(command) == 0
    assert config.read_bytes() == b"# a\n" + line.replace(b"\r", b"") + b"base_model: x\n"
    assert capsys.readouterr().out == ""


def test_a_modeline_needs_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "axolotl", "--modeline", "a.yaml"]) == 2
    assert "--output-file" in capsys.readouterr().err
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\0")
    command = ["schema", "axolotl", "--output-file", str(tmp_path / "s.json"), "--modeline", str(tmp_path / "a.yaml")]
    assert main(command) == 2
    assert "UTF-16" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "nowhere.yaml")]) == 2
