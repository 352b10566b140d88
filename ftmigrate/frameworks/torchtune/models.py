"""Which model builder, tokenizer and checkpoint files stand for a base model: by hub id, or by a local config.json.

Sizes of builders come from the pinned schema, tokenizers and checkpoint layouts from the configs that torchtune ships.
By hand: the names of hub repositories, each with its builder and the number of its weight files.
"""

from __future__ import annotations

import json
import os.path
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from ftmigrate import schema
from ftmigrate.document.model import Value
from ftmigrate.frameworks.table import CannotSay
from ftmigrate.frameworks.torchtune import catalogue

MODELS = "torchtune.models."
VERSION = "0.6.1"
_HF = "torchtune.training.FullModelHFCheckpointer"


class Layout(Struct, frozen=True):
    """What goes with the builders of one package: the tokenizer with its files below the checkpoint directory."""

    tokenizer: str
    files: Mapping[str, str]
    model_type: str


class Known(Struct, frozen=True):
    """A model that can be built.

    builder: `package.name` of the plain builder. sizes: what a general builder must be told. weights: the checkpoint's
    files as the checkpointer takes them. like: the repository that the model is taken for a copy of, by its name.
    """

    builder: str
    layout: Layout
    weights: Value
    sizes: Mapping[str, Value] = field(default_factory=dict)
    like: str = ""

    def named(self, prefix: str) -> str:
        package, _, name = self.builder.partition(".")
        return f"{MODELS}{package}.{prefix}{name}"


# organisation -> repository name -> (builder, number of safetensors files). Other organisations' copies keep the name.
_REPOSITORIES: Mapping[str, Mapping[str, tuple[str, int]]] = {
    "meta-llama": {
        **{f"Llama-2-7b{kind}-hf": ("llama2.llama2_7b", 2) for kind in ("", "-chat")},
        **{f"Llama-2-13b{kind}-hf": ("llama2.llama2_13b", 3) for kind in ("", "-chat")},
        **{f"Llama-2-70b{kind}-hf": ("llama2.llama2_70b", 15) for kind in ("", "-chat")},
        **{f"Meta-Llama-3-8B{kind}": ("llama3.llama3_8b", 4) for kind in ("", "-Instruct")},
        **{f"Meta-Llama-3-70B{kind}": ("llama3.llama3_70b", 30) for kind in ("", "-Instruct")},
        **{
            f"{lead}Llama-3.1-{size.upper()}{kind}": (f"llama3_1.llama3_1_{size}", files)
            for lead in ("Meta-", "")
            for size, files in (("8b", 4), ("70b", 30), ("405b", 191))
            for kind in ("", "-Instruct")
        },
        **{f"Llama-3.2-1B{kind}": ("llama3_2.llama3_2_1b", 1) for kind in ("", "-Instruct")},
        **{f"Llama-3.2-3B{kind}": ("llama3_2.llama3_2_3b", 2) for kind in ("", "-Instruct")},
        "Llama-3.3-70B-Instruct": ("llama3_3.llama3_3_70b", 30),
        "CodeLlama-7b-hf": ("code_llama2.code_llama2_7b", 2),
    },
    "codellama": {
        **{f"CodeLlama-7b{kind}-hf": ("code_llama2.code_llama2_7b", 2) for kind in ("", "-Instruct")},
        **{f"CodeLlama-13b{kind}-hf": ("code_llama2.code_llama2_13b", 3) for kind in ("", "-Instruct")},
    },
    "mistralai": {f"Mistral-7B{kind}-v0.1": ("mistral.mistral_7b", 2) for kind in ("", "-Instruct")},
    "google": {
        **{f"gemma-2b{kind}": ("gemma.gemma_2b", 2) for kind in ("", "-it")},
        **{f"gemma-7b{kind}": ("gemma.gemma_7b", 4) for kind in ("", "-it")},
        "gemma-2-2b": ("gemma2.gemma2_2b", 3),
        "gemma-2-2b-it": ("gemma2.gemma2_2b", 2),
        "gemma-2-9b": ("gemma2.gemma2_9b", 8),
        "gemma-2-9b-it": ("gemma2.gemma2_9b", 4),
        "gemma-2-27b": ("gemma2.gemma2_27b", 24),
        "gemma-2-27b-it": ("gemma2.gemma2_27b", 12),
    },
    "Qwen": {
        **{
            f"Qwen2-{size}{kind}": (f"qwen2.qwen2_{size.replace('.', '_').lower()}", files)
            for size, files in (("0.5B", 1), ("1.5B", 1), ("7B", 4))
            for kind in ("", "-Instruct")
        },
        **{
            f"Qwen2.5-{size}{kind}": (f"qwen2_5.qwen2_5_{size.replace('.', '_').lower()}", files)
            for size, files in (("0.5B", 1), ("3B", 2))
            for kind in ("", "-Instruct")
        },
        **{
            f"Qwen2.5-{size}{kind}": (
                f"qwen2_5.qwen2_5_{size.replace('.', '_').lower()}_{'instruct' if kind else 'base'}",
                files,
            )
            for size, files in (("1.5B", 1), ("7B", 4), ("14B", 8), ("32B", 17), ("72B", 37))
            for kind in ("", "-Instruct")
        },
    },
    "microsoft": {"Phi-3-mini-4k-instruct": ("phi3.phi3_mini", 2), "phi-4": ("phi4.phi4_14b", 6)},
}


@cache
def layouts() -> Mapping[str, Layout]:
    """For each package of builders, what most of the shipped configs that use it have."""
    found: dict[str, Counter[tuple[str, tuple[tuple[str, str], ...], str]]] = {}
    for name in catalogue.configs(VERSION):
        tree = catalogue.tree(name, VERSION) or {}
        builder = str(tree.get("model", {}).get("_component_", ""))
        tokenizer, loader = tree.get("tokenizer", {}), tree.get("checkpointer", {})
        if not builder.startswith(MODELS) or loader.get("_component_") != _HF or "_component_" not in tokenizer:
            continue
        base = str(loader["checkpoint_dir"]).rstrip("/")
        files = {key: str(value)[len(base) + 1 :] for key, value in tokenizer.items() if str(value).startswith(base)}
        package = builder.removeprefix(MODELS).partition(".")[0]
        mark = (str(tokenizer["_component_"]), tuple(files.items()), str(loader.get("model_type")))
        found.setdefault(package, Counter())[mark] += 1
    # ties go to the configs that come first; builders for images have a tokenizer of another kind
    best = {package: counts.most_common(1)[0][0] for package, counts in found.items()}
    made = {package: Layout(kind, dict(files), model) for package, (kind, files, model) in best.items()}
    made.setdefault("llama3", made["llama3_1"])
    return {package: layout for package, layout in made.items() if "vision" not in package}


def is_hub_id(base: str, near: str) -> bool:
    """Whether a base model is a repository of the hub: `ORG/NAME`, and no directory of that name is here."""
    parts = base.split("/")
    looks = len(parts) == 2 and all(parts) and not base.startswith((".", "/", "~"))
    return looks and local(base, near) is None


def local(base: str, near: str) -> Path | None:
    """The base model's directory, seen from the config's place or the working directory, if it is here."""
    places = [Path(base).expanduser(), Path(near).parent / base]
    return next((place for place in places if (place / "config.json").is_file()), None)


def directory(base: str, near: str) -> str:
    """Where the checkpoint of a base model is: a hub model is downloaded below `models`."""
    return f"models/{base.rsplit('/', 1)[-1]}" if is_hub_id(base, near) else base


def identify(base: object, near: str) -> Known:
    """The builder of a base model. near: path of the config that names it. Raises CannotSay."""
    if not isinstance(base, str):
        raise CannotSay("the base model is not known")
    here = local(base, near)
    if here is not None:
        return _measured(here)
    name = base.rstrip("/").rsplit("/", 1)[-1].lower()
    owner = base.split("/", 1)[0]
    for organisation, repositories in sorted(_REPOSITORIES.items(), key=lambda item: item[0] != owner):
        for repository, (builder, files) in repositories.items():
            if repository.lower() == name:
                like = "" if owner == organisation else f"{organisation}/{repository}"
                return Known(builder, layouts()[builder.partition(".")[0]], _files(base, files), like=like)
    if "vision" in name:
        raise CannotSay("a model for images and text: torchtune has builders and datasets for some, which ftmigrate does "
                        "not write; its text-only sisters are written")  # fmt: skip
    raise CannotSay(
        "torchtune builds models from its own list of architectures and sizes, and which of them this is, is not known. "
        "Put the model's directory, or at least its config.json, where the config names it (a local base model): the "
        "builder is then found from its numbers, if torchtune has the architecture (Llama 2 to 3.3, Code Llama, "
        "Mistral 7B v0.1, Gemma, Gemma 2, Phi 3 mini 4k, Phi 4, Qwen 2 and 2.5; text only, no mixture of experts)"
    )


def _files(base: str, count: int) -> Value:
    """The shipped config's own list for its repository, else safetensors by number."""
    for name, about in catalogue.configs(VERSION).items():
        if [base] != [repository for repository, _ in about.get("downloads", ())]:
            continue
        loader = (catalogue.tree(name, VERSION) or {}).get("checkpointer", {})
        if loader.get("_component_") == _HF and loader["checkpoint_dir"].rstrip("/").endswith(base.split("/")[-1]):
            found: Value = loader["checkpoint_files"]
            return found
    return _numbered(count)


def _numbered(count: int) -> Value:
    if count == 1:
        return ["model.safetensors"]
    if count <= 4:
        return [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    return {"filename_format": "model-{}-of-{}.safetensors", "max_filename": f"{count:05d}"}


# --- by config.json ---------------------------------------------------------------------------------------------

# what a transformers config calls the sizes of the builders
SIZES = {
    "vocab_size": "vocab_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "num_key_value_heads": "num_kv_heads",
    "hidden_size": "embed_dim",
    "intermediate_size": "intermediate_dim",
    "rms_norm_eps": "norm_eps",
    "rope_theta": "rope_base",
    "tie_word_embeddings": "tie_word_embeddings",
    "max_position_embeddings": "max_seq_len",
    "head_dim": "head_dim",
}
_SAME_LAYERS = ("vocab_size", "num_layers", "num_heads", "num_kv_heads", "embed_dim", "intermediate_dim", "norm_eps",
                "rope_base", "tie_word_embeddings", "scale_factor", "rope")  # fmt: skip
_SCALED = "Llama3ScaledRoPE"
# model_type of a config.json -> packages of builders, and what their rotary embedding is where nothing is scaled
_PACKAGES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "llama": (("llama2", "llama3", "llama3_1", "llama3_2", "llama3_3", "code_llama2"), "RotaryPositionalEmbeddings"),
    "mistral": (("mistral",), "RotaryPositionalEmbeddings"),
    "gemma": (("gemma",), "RotaryPositionalEmbeddings"),
    "gemma2": (("gemma2",), "RotaryPositionalEmbeddings"),
    "phi3": (("phi3", "phi4"), "Phi3RotaryPositionalEmbeddings"),
    "qwen2": (("qwen2", "qwen2_5"), "Qwen2RotaryPositionalEmbeddings"),
}
# what transformers takes where a config.json does not say it
_DEFAULTS: Mapping[str, Value] = {"rope_base": 10000.0, "tie_word_embeddings": False}


def _measured(place: Path) -> Known:
    """The builder whose sizes are those of a config.json, else a general builder that is told them."""
    try:
        config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CannotSay(f"{place / 'config.json'} cannot be read: {error}") from error
    kind = str(config.get("model_type"))
    if kind not in _PACKAGES:
        raise CannotSay(f"torchtune has no builder for models of type {kind} ({place / 'config.json'}); it has some "
                        f"for {', '.join(_PACKAGES)}")  # fmt: skip
    packages, rotary = _PACKAGES[kind]
    wanted = _sizes(config, rotary)
    for exact in (True, False):
        for builder, sizes in _builders(packages, wanted, exact):
            layout = layouts()[builder.partition(".")[0]]
            return Known(builder, _found(place, layout), _listed(place), sizes)
    raise CannotSay(f"no builder of torchtune gives the layers that {place / 'config.json'} describes")


def _sizes(config: Mapping[str, Any], rotary: str) -> dict[str, Value]:
    """The sizes in the builders' words."""
    found: dict[str, Value] = {own: config[name] for name, own in SIZES.items() if config.get(name) is not None}
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if "rope_theta" in rope:
        found["rope_base"] = rope["rope_theta"]
    found = {**_DEFAULTS, **found}
    scaled = rope.get("rope_type", rope.get("type", "default"))
    if scaled == "llama3":
        found["rope"], found["scale_factor"] = _SCALED, rope["factor"]
    elif scaled != "default":
        raise CannotSay(f"torchtune does not scale positions by {scaled}")
    else:
        found["rope"] = rotary
    found.setdefault("num_kv_heads", found["num_heads"])
    if config.get("attention_bias") or config.get("mlp_bias"):
        raise CannotSay("torchtune's builders have no bias in these layers")
    return found


def _builders(
    packages: tuple[str, ...], wanted: Mapping[str, Value], exact: bool
) -> Iterator[tuple[str, dict[str, Value]]]:
    """Builders of these sizes, or with what is to be told to a general one."""
    pinned = schema.load("torchtune", VERSION)
    for package in packages:
        for section in pinned.names(f"component {MODELS}{package}."):
            name = section.removeprefix(f"component {MODELS}{package}.")
            facts = pinned.keys(section)
            about = facts.get("", {}).get("architecture", {})
            if name.startswith(("lora_", "qlora_")) or "classifier" in name or "reward" in name or not about:
                continue
            general = "embed_dim" in facts
            if general == exact:
                continue
            # the builder with adapters may take less than the plain one
            adapted = pinned.keys(f"component {MODELS}{package}.lora_{name}")
            told = {key: value for key, value in wanted.items() if key in facts and key in adapted} if general else {}
            if any(fact.get("required") and key not in told for key, fact in facts.items() if key):
                continue
            both = [
                {**one.get("", {}).get("architecture", {}), **told} for one in (facts, adapted if general else facts)
            ]
            if all(_same(sizes.get(key), wanted.get(key)) for sizes in both for key in _SAME_LAYERS):
                yield f"{package}.{name}", told


def _same(one: object, other: object) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return float(one) == float(other)
    return one == other


def _found(place: Path, layout: Layout) -> Layout:
    """The layout with the tokenizer's files where they lie in this directory."""
    files = {
        key: name
        if (place / name).exists() or not (place / os.path.basename(name)).exists()
        else os.path.basename(name)
        for key, name in layout.files.items()
    }
    return Layout(layout.tokenizer, files, layout.model_type)


def _listed(place: Path) -> Value:
    names = sorted(path.name for path in place.glob("*.safetensors") if not path.name.startswith("adapter"))
    names = names or sorted(path.name for path in place.glob("pytorch_model*.bin"))
    return [*names] or ["model.safetensors"]
