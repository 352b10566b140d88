"""The pinned schema of torchtune: facts known from elsewhere, range tables, and the tool on a package of our own."""

from __future__ import annotations

import inspect
import itertools
import json
import re
from pathlib import Path
from typing import Any

import check_torchtune as checker
import extract_torchtune as extractor
import pytest
import schema_store as store
from hypothesis import given
from hypothesis import strategies as st

from ftmigrate import schema

ROOT = Path(__file__).parent.parent

OLD = schema.load("torchtune", "0.6.1")
MAIN = schema.load("torchtune", "main")
BOTH = pytest.mark.parametrize("pinned", [OLD, MAIN], ids=["0.6.1", "main"])


def top(pinned: schema.Schema, recipe: str) -> dict[str, schema.Facts]:
    """The top-level keys that a recipe reads."""
    return {key: facts for key, facts in pinned.keys(f"recipe {recipe}").items() if key and "." not in key}


def required(pinned: schema.Schema, recipe: str) -> set[str]:
    return {key for key, facts in top(pinned, recipe).items() if facts.get("required")}


# The stored schema


def test_versions() -> None:
    assert schema.versions("torchtune")[-2:] == ["0.6.1", "main"]
    assert re.fullmatch(r"[0-9a-f]{40}", schema.table("torchtune")["snapshots"]["main"])


def test_lora_single_device_keys() -> None:
    names = "output_dir model tokenizer checkpointer resume_from_checkpoint dataset seed shuffle batch_size optimizer"
    names += " lr_scheduler loss epochs max_steps_per_epoch gradient_accumulation_steps compile metric_logger device"
    names += " dtype"
    assert required(OLD, "lora_finetune_single_device") == set(names.split())
    keys = top(OLD, "lora_finetune_single_device")
    assert {key: facts["default"] for key, facts in keys.items() if not facts.get("required")} == {
        "save_adapter_weights_only": False,
        "clip_grad_norm": None,
        "log_every_n_steps": 1,
        "log_peak_memory_stats": False,
        "enable_activation_checkpointing": False,
        "enable_activation_offloading": False,
        "low_cpu_ram": False,
        "cudnn_deterministic_mode": None,
        "collate_fn": "torchtune.data.padded_collate_sft",
        "profiler": None,
    }


# configs, required top-level keys, top-level keys read: counted by another program, and the first two rows proved by
# deleting each key and running the recipe
COUNTS = {
    "lora_finetune_single_device": (41, 19, 29),
    "full_finetune_single_device": (17, 19, 28),
    "full_finetune_distributed": (27, 17, 36),
    "lora_finetune_distributed": (36, 18, 31),
    "lora_dpo_single_device": (2, 19, 25),
    "lora_dpo_distributed": (2, 19, 27),
    "full_dpo_distributed": (1, 19, 31),
    "ppo_full_finetune_single_device": (1, 37, 42),
    "qat_distributed": (2, 17, 34),
    "qat_lora_finetune_distributed": (4, 18, 31),
    "knowledge_distillation_single_device": (2, 23, 31),
    "knowledge_distillation_distributed": (2, 22, 32),
    "generate": (1, 12, 13),
    "dev/generate_v2": (2, 11, 12),
    "dev/generate_v2_distributed": (3, 12, 13),
    "dev/early_exit_finetune_distributed": (1, 17, 34),
    "dev/lora_finetune_distributed_multi_dataset": (1, 18, 30),
    "eleuther_eval": (10, 11, 15),
    "quantize": (1, 6, 7),
    "dev/grpo_full_finetune_distributed": (0, 24, 35),
}


@pytest.mark.parametrize("recipe", COUNTS)
def test_counts_of_keys(recipe: str) -> None:
    about = OLD.facts(f"recipe {recipe}")
    assert about is not None
    assert (len(about["configs"]), len(required(OLD, recipe)), len(top(OLD, recipe))) == COUNTS[recipe]


def test_recipes() -> None:
    old, new = ({name for name in pinned.sections if name.startswith("recipe ")} for pinned in (OLD, MAIN))
    assert {f"recipe {name}" for name in COUNTS} == old
    assert new - old == {"recipe qat_single_device", "recipe dev/async_grpo_full_finetune_distributed"}
    assert old <= new


@BOTH
def test_nested_keys_that_the_recipe_itself_reads(pinned: schema.Schema) -> None:
    keys = pinned.keys("recipe lora_finetune_single_device")
    for key in ("lora_rank", "lora_alpha", "lora_attn_modules", "apply_lora_to_mlp"):
        assert keys[f"model.{key}"].get("required"), key
    assert keys["model.apply_lora_to_output"]["default"] is False
    assert keys["dataset.packed"]["default"] is False
    assert keys["checkpointer.model_type"]["conditional"] == "enable_activation_checkpointing"


def test_what_main_changes() -> None:
    assert required(MAIN, "lora_finetune_single_device") - required(OLD, "lora_finetune_single_device") == {"log_level"}
    assert "save_every_n_steps" in top(MAIN, "full_finetune_distributed")
    loss = MAIN.facts("component torchtune.modules.loss.CEWithChunkedOutputLoss")
    assert loss is not None
    assert loss["deprecated"] == "torchtune.modules.loss.LinearCrossEntropyLoss"
    assert OLD.facts("component torchtune.modules.loss.LinearCrossEntropyLoss") is None
    assert MAIN.keys("component torchtune.modules.loss.CEWithChunkedOutputLoss")["num_output_chunks"]["default"] == 8


@BOTH
def test_what_a_recipe_adds_to_its_components(pinned: schema.Schema) -> None:
    keys = pinned.keys("recipe lora_finetune_single_device")
    assert keys["lr_scheduler"]["injects"] == {"positional": 1, "keywords": ["last_epoch", "num_training_steps"]}
    assert keys["dataset"]["list"] is True
    assert keys["collate_fn"]["dotted_path"] is True
    assert keys["dtype"]["enum"] == ["bf16", "fp32", "fp64"]
    assert pinned.keys("recipe generate")["dtype"]["enum"] == ["fp16", "bf16", "fp32", "fp64"]


@BOTH
def test_components(pinned: schema.Schema) -> None:
    lora = pinned.keys("component torchtune.models.llama3_1.lora_llama3_1_8b")
    assert lora["lora_attn_modules"] == {
        "type": "list[str]",
        "enum": ["q_proj", "k_proj", "v_proj", "output_proj"],
        "required": True,
    }
    defaults = {key: facts["default"] for key, facts in lora.items() if "default" in facts}
    assert defaults == {
        "apply_lora_to_mlp": False,
        "apply_lora_to_output": False,
        "lora_rank": 8,
        "lora_alpha": 16,
        "lora_dropout": 0.0,
        "use_dora": False,
        "quantize_base": False,
    }
    qlora = pinned.facts("component torchtune.models.llama3_1.qlora_llama3_1_8b")
    assert qlora is not None
    assert qlora["partial_of"] == "torchtune.models.llama3_1.lora_llama3_1_8b"
    assert qlora["fixed"] == {"quantize_base": True}
    assert pinned.keys("component torchtune.models.llama3_1.qlora_llama3_1_8b")["quantize_base"]["default"] is True
    cleaned = pinned.facts("component torchtune.datasets.alpaca_cleaned_dataset")
    assert cleaned is not None
    assert cleaned["kwargs"] == "torchtune.datasets.SFTDataset"
    assert (
        pinned.keys("component torchtune.datasets.alpaca_cleaned_dataset")["source"]["default"]
        == "yahma/alpaca-cleaned"
    )
    chat = pinned.keys("component torchtune.datasets.chat_dataset")
    assert chat["conversation_style"]["enum"] == ["sharegpt", "openai"]
    assert pinned.keys("component torch.optim.AdamW")["weight_decay"]["default"] == 0.01
    types = pinned.keys("component torchtune.training.FullModelHFCheckpointer")["model_type"]["enum"]
    names = "GEMMA GEMMA2 LLAMA2 LLAMA3 LLAMA3_2 LLAMA3_VISION MISTRAL PHI3_MINI PHI4 REWARD QWEN2 CLIP_TEXT T5_ENCODER"
    assert set(types) == {*names.split(), *(("LLAMA4", "QWEN3") if pinned is MAIN else ())}


@pytest.mark.parametrize(
    ("builder", "numbers"),
    [
        ("llama2.llama2_7b", {"embed_dim": 4096, "intermediate_dim": 11008, "rope_base": 10000, "max_seq_len": 4096}),
        ("llama2.lora_llama2_13b", {"embed_dim": 5120, "intermediate_dim": 13824, "num_layers": 40}),
        ("llama3.lora_llama3_8b", {"num_kv_heads": 8, "rope_base": 500000, "rope": "RotaryPositionalEmbeddings"}),
        ("llama3_1.qlora_llama3_1_70b", {"num_layers": 80, "scale_factor": 8, "rope": "Llama3ScaledRoPE"}),
        ("llama3_2.llama3_2_1b", {"num_layers": 16, "tie_word_embeddings": True, "scale_factor": 32}),
        ("gemma2.gemma2_9b", {"head_dim": 256, "tie_word_embeddings": True, "vocab_size": 256000}),
        ("qwen2.lora_qwen2_7b", {"attention_bias": True, "intermediate_dim": 18944, "rope_base": 1000000}),
        ("mistral.mistral_7b", {"attention_bias": False, "intermediate_dim": 14336, "vocab_size": 32000}),
        ("phi4.phi4_14b", {"builder": "torchtune.models.phi3.phi3", "num_layers": 40, "family": "phi4"}),
    ],
)
@BOTH
def test_architecture(pinned: schema.Schema, builder: str, numbers: dict[str, Any]) -> None:
    about = pinned.facts(f"component torchtune.models.{builder}")
    assert about is not None
    found = about["architecture"]
    assert {name: found[name] for name in numbers} == numbers


@BOTH
def test_every_model_tells_its_sizes_or_asks_for_them(pinned: schema.Schema) -> None:
    models = [name for name in pinned.sections if (pinned.facts(name) or {}).get("kind") == "model"]
    assert len(models) > 100
    silent = []
    for name in models:
        told = (pinned.facts(name) or {}).get("architecture", {})
        parts = told.get("parts", {"": told}).values()
        if not any("num_layers" in part for part in parts) and "num_layers" not in pinned.keys(name):
            silent.append(name.split(".")[-1])
    assert set(silent) <= {"flux_1_autoencoder", "classifier_model"}


@BOTH
def test_references_within_the_schema_hold(pinned: schema.Schema) -> None:
    for name, keys in pinned.sections.items():
        about = keys[""]
        for path in (about.get("alias_of"), about.get("partial_of")):
            assert path is None or f"component {path}" in pinned.sections, (name, path)
        for config in about.get("configs", ()):
            assert name.removeprefix("recipe ") in pinned.keys(f"config {config}")[""]["recipes"]
        for facts in keys.values():
            path = facts.get("default") if facts.get("dotted_path") else None
            unshipped = pinned is OLD and path is not None and path.startswith("torchtune.dev.")  # not in the wheel
            assert path is None or unshipped or f"component {path}" in pinned.sections, (name, path)
        for key, facts in keys.items():
            told = [facts.get("required"), "default" in facts, "expression" in facts, "default_key" in facts]
            assert sum(map(bool, told)) <= 1, (name, key)


@BOTH
def test_no_prose(pinned: schema.Schema) -> None:
    def strings(value: object) -> list[str]:
        if isinstance(value, dict):
            return [text for item in value.values() for text in strings(item)]
        if isinstance(value, list):
            return [text for item in value for text in strings(item)]
        return [value] if isinstance(value, str) else []

    for name, keys in pinned.sections.items():
        if name.endswith("Template"):
            continue  # the texts that a template puts around a message
        for key, facts in keys.items():
            for text in strings({fact: value for fact, value in facts.items() if fact != "type"}):
                assert len(text.split()) <= 2, (name, key, text)


# Range tables


def test_stored_table_is_what_its_versions_build() -> None:
    table = schema.table("torchtune")
    versions = store.expand(table)
    assert versions["0.6.1"] == OLD.sections
    assert versions["main"] == MAIN.sections
    again = store.build("torchtune", versions, table["versions"], {"snapshots": table["snapshots"]})
    assert store.dumps(again) == (ROOT / "schemas" / "torchtune.json").read_text(encoding="utf-8")


DEFAULTS = st.sampled_from([1, 1.0, True])
FACTS = st.fixed_dictionaries({"type": st.sampled_from(["int", "str"])}, optional={"default": DEFAULTS})
SECTIONS = st.dictionaries(
    st.sampled_from(["a", "b"]), st.dictionaries(st.sampled_from(["", "x", "y"]), FACTS, min_size=1), max_size=2
)
VERSIONS = st.lists(SECTIONS, min_size=1, max_size=5).map(lambda found: {f"v{i}": one for i, one in enumerate(found)})


def exact(value: object) -> str:
    """As JSON, in which 1, 1.0 and true differ."""
    return json.dumps(value, sort_keys=True)


@given(VERSIONS)
def test_every_version_is_reproduced_with_minimal_ranges(versions: dict[str, Any]) -> None:
    table = json.loads(store.dumps(store.build("f", versions, list(versions))))
    assert exact(store.expand(table)) == exact(versions)
    for keys in table["sections"].values():
        for ranges in keys.values():
            for (_, until, facts), (since, _, later) in itertools.pairwise(ranges):
                assert until is not None
                assert until != since or exact(facts) != exact(later)


@given(VERSIONS, st.data())
def test_versions_are_merged_independently(versions: dict[str, Any], data: st.DataObject) -> None:
    whole = store.build("f", versions, list(versions))
    order = data.draw(st.permutations(list(versions)))
    table = None
    for done, version in enumerate(order, 1):
        known = [name for name in versions if name in order[:done]]
        table = store.merge(table, "f", {version: versions[version]}, known)
    assert exact(table) == exact(whole)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("Optional[List[str]]", "list[str] | None"),
        ("typing.Optional[int]", "int | None"),
        ("None | int", "int | None"),
        ("Union[int, None, 'str', int]", "int | str | None"),
        ("Optional[Union[int, str]]", "int | str | None"),
        ("<class 'int'>", "int"),
        ("Dict[str, Any]", "dict[str, any]"),
        ("Annotated[list[int] | None, 3]", "list[int] | None"),
        ("Literal['a|b', 'c'] | None", "Literal['a|b', 'c'] | None"),
        ("Optional[Any]", "any"),
        (None, "any"),
    ],
)
def test_types_have_one_spelling(written: str | None, normal: str) -> None:
    assert store.normalise_type(written) == normal
    assert store.normalise_type(normal) == normal


# The tool, on a package of our own

PACKAGE = {
    "torchtune/__init__.py": "",
    "torchtune/_recipe_registry.py": """
_ALL_RECIPES = [
    Recipe(name="train", file_path="train.py", configs=[Config(name="a/b", file_path="a/b.yaml")],
           supports_distributed=True),
]
""",
    "torchtune/config.py": "def instantiate(config, *args, **kwargs): ...",
    "torchtune/training/__init__.py": "from torchtune.training.precision import get_dtype",
    "torchtune/training/precision.py": """
PRECISION_STR_TO_DTYPE = {"fp16": 1, "bf16": 2}
def get_dtype(dtype=None): ...
def set_seed(seed: Optional[int] = None): ...
""",
    "torchtune/utils/__init__.py": "",
    "torchtune/utils/_device.py": "from enum import Enum\nclass DeviceSupport(Enum):\n    CPU = ('cpu', 'CPU')\n",
    "torchtune/models/__init__.py": "",
    "torchtune/models/tiny/__init__.py": "from ._builders import tiny, tiny_1b, lora_tiny_1b, qlora_tiny_1b",
    "torchtune/models/tiny/_builders.py": """
from functools import partial
from typing import List, Literal, Optional
NAMES = Literal["q", "k"]
def tiny(num_layers: int, num_heads: int, embed_dim: int, rope_base: int = 10_000) -> TransformerDecoder:
    tok_embeddings = nn.Embedding(1, embed_dim)
    return TransformerDecoder(TiedLinear(tok_embeddings))
def tiny_1b() -> TransformerDecoder:
    return tiny(num_layers=2 * 4, num_heads=4, embed_dim=64)
def lora_tiny_1b(names: List[NAMES], alpha: Optional[float] = None, quantize_base=False) -> TransformerDecoder:
    return tiny(num_layers=8, num_heads=4, embed_dim=64)
qlora_tiny_1b = partial(lora_tiny_1b, quantize_base=True)
""",
    "recipes/train.py": """
from torchtune import config, training
from torchtune.training.precision import set_seed
KEY = "profiler"
class Recipe:
    def __init__(self, cfg):
        self._cfg = cfg
        self._dtype = training.get_dtype(cfg.dtype)
        if self._dtype == torch.float16:
            raise ValueError
        set_seed(seed=cfg.seed)
        self._ac = cfg.get("checkpointing", False)
    def setup(self, cfg):
        self._model = self._setup_model(cfg_model=cfg.model)
        self._data = self._setup_data(cfg["dataset"])
        if self._ac:
            print(cfg.checkpointer.kind)
        if cfg.get("eval") is not None:
            config.instantiate(cfg.eval)
        size = cfg.get("eval_size", cfg.batch_size)
        self._later(cfg.get(KEY, None))
    def _setup_model(self, cfg_model):
        rank = cfg_model.rank
        out = getattr(cfg_model, "output", False)
        return config.instantiate(cfg_model)
    def _setup_data(self, cfg_dataset):
        if isinstance(cfg_dataset, ListConfig):
            return [config.instantiate(one, self._tokenizer) for one in cfg_dataset]
        return config.instantiate(cfg_dataset, self._tokenizer, shuffle=self._cfg.shuffle)
    def _later(self, cfg_profiler):
        if cfg_profiler is None:
            raise ValueError
        self.depth = cfg_profiler.depth
    def never_called(self):
        return self._cfg.lonely
def recipe_main(cfg):
    recipe = Recipe(cfg=cfg)
    recipe.setup(cfg=cfg)
""",
}


@pytest.fixture
def extracted(tmp_path: Path) -> dict[str, Any]:
    for name, text in PACKAGE.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    sections: dict[str, Any] = extractor.extract(tmp_path, "1.0", tmp_path / "none.patch.json")
    return sections


def test_tool_follows_what_a_recipe_reads(extracted: dict[str, Any]) -> None:
    keys = extracted["recipe train"]
    assert keys.pop("") == {"distributed": True, "configs": ["a/b"], "file": "recipes/train.py"}
    one = "dict[str, any]"
    assert keys == {
        "dtype": {"type": "str", "required": True, "enum": ["bf16"]},
        "seed": {"type": "int | None", "required": True},
        "checkpointing": {"type": "bool", "default": False},
        "model": {
            "type": one,
            "required": True,
            "component": True,
            "injects": {"positional": 0, "keywords": []},
        },
        "model.rank": {"type": "any", "required": True},
        "model.output": {"type": "bool", "default": False},
        "dataset": {
            "type": f"{one} | list[{one}]",
            "required": True,
            "component": True,
            "list": True,
            "injects": {"positional": 1, "keywords": ["shuffle"]},
        },
        "shuffle": {"type": "any", "required": True},
        "checkpointer": {"type": one, "conditional": "checkpointing"},
        "checkpointer.kind": {"type": "any", "conditional": "checkpointing"},
        "eval": {
            "type": f"{one} | None",
            "default": None,
            "component": True,
            "injects": {"positional": 0, "keywords": []},
        },
        "eval_size": {"type": "any", "default_key": "batch_size"},
        "batch_size": {"type": "any", "required": True},
        "profiler": {"type": f"{one} | None", "default": None, "nonnull": True},
        "profiler.depth": {"type": "any", "required": True},
        "lonely": {"type": "any", "required": True},
    }
    assert extracted["config a/b"] == {"": {"recipes": ["train"], "file": "recipes/configs/a/b.yaml", "missing": True}}


def test_tool_reads_components(extracted: dict[str, Any]) -> None:
    about = extracted["component torchtune.models.tiny.tiny_1b"][""]
    numbers = {"num_layers": 8, "num_heads": 4, "embed_dim": 64, "rope_base": 10000, "tie_word_embeddings": True}
    assert about == {
        "kind": "model",
        "architecture": {"family": "tiny", "builder": "torchtune.models.tiny.tiny", **numbers},
    }
    lora = extracted["component torchtune.models.tiny.qlora_tiny_1b"]
    assert lora["names"] == {"type": "list[str]", "enum": ["q", "k"], "required": True}
    assert lora["alpha"] == {"type": "float | None", "default": None}
    assert lora["quantize_base"] == {"type": "bool", "default": True}
    assert lora[""]["partial_of"] == "torchtune.models.tiny.lora_tiny_1b"
    assert lora[""]["architecture"]["num_layers"] == 8
    assert [name for name in extracted if "set_seed" in name] == []


def test_check_finds_differences() -> None:
    def component(a: int, b: tuple[int, ...] = (1, 2), c: object = re, **kwargs: object) -> None: ...

    same: dict[str, dict[str, Any]] = {
        "": {"kwargs": True},
        "a": {"required": True},
        "b": {"default": [1, 2]},
        "c": {"expression": "re"},
    }
    assert checker.differences(same, inspect.signature(component)) == []
    changes: dict[str, dict[str, Any]] = {
        "": {},
        "a": {"default": 1},
        "b": {"default": [1, 3]},
        "d": {"required": True},
    }
    for key, facts in changes.items():
        assert len(checker.differences({**same, key: facts}, inspect.signature(component))) == 1, key


def test_check_holds_configs_against_the_schema() -> None:
    sections: dict[str, dict[str, dict[str, Any]]] = {
        "recipe r": {
            "": {},
            "a": {"required": True},
            "m": {"injects": {"positional": 0, "keywords": ["given"]}},
        },
        "component p.q": {"": {"kwargs": "p.r"}, "x": {"required": True}, "given": {"required": True}},
        "component p.r": {"": {}, "y": {}},
    }
    good = {"a": 1, "name": "n", "m": {"_component_": "p.q", "x": 1, "y": 2}}
    assert checker.check_config(sections, "r", good, "b: ${name}") == []
    bad = {"typo": 1, "m": {"_component_": "p.q", "z": {"_component_": "p.s"}}}
    assert set(checker.check_config(sections, "r", bad, "")) == {
        ("unread key", "typo"),
        ("required key missing", "a"),
        ("unknown argument", "p.q.z"),
        ("required argument missing", "p.q.x"),
        ("unknown component", "p.s"),
    }
