"""torchtune's table: what each key says, what holds without it, and what torchtune does by itself.

Sources are files of the torchtune 0.6.1 wheel unless another version is named; line numbers are not given, names are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ftmigrate import schema
from ftmigrate.document.model import Document, Path, Unresolved, Value
from ftmigrate.frameworks.reader import Reader
from ftmigrate.frameworks.table import (
    ABSENT,
    NUMBER,
    Always,
    CannotSay,
    Codec,
    Derived,
    Entry,
    Field,
    Group,
    Heading,
    Keys,
    Missing,
    Nearest,
    Private,
    Table,
    Unread,
    names,
    plain,
    proven,
)
from ftmigrate.frameworks.torchtune import (
    checkpoint,
    datasets,
    models,
    objectives,
    older,
    other_recipes,
    proofs,
    recipes,
    sources,
    writing,
)
from ftmigrate.frameworks.torchtune.chat_formats import MAIN, tokenizer_format
from ftmigrate.run.conditions import Condition, View, is_, is_not
from ftmigrate.run.display import to_text
from ftmigrate.run.methods import PREFERENCE
from ftmigrate.run.model import NODES, WORLD_SIZE, AllLinear, Claim, ClaimKind, External, Symbol
from ftmigrate.run.source import Decoded

_LORA = is_not("adapter.method", "none")
_FSDP = is_("parallel.strategy", "fsdp2")
_RESUMED = is_not("saving.resume", False)
_PAIRS = is_("method.name", *PREFERENCE)
_QAT = is_("method.name", "qat")
_GRPO = is_("method.name", "grpo")

_OPTIMIZERS = {
    "torch.optim.AdamW": "adamw",
    "torch.optim.Adam": "adam",
    "torch.optim.SGD": "sgd",
    "torch.optim.Adagrad": "adagrad",
    "torch.optim.RMSprop": "rmsprop",
    "bitsandbytes.optim.AdamW": "adamw",
    "bitsandbytes.optim.AdamW8bit": "adamw_8bit",
    "bitsandbytes.optim.PagedAdamW": "paged_adamw",
    "bitsandbytes.optim.PagedAdamW8bit": "paged_adamw_8bit",
}
_LOGGERS = {"DiskLogger": "disk", "StdoutLogger": "", "WandBLogger": "wandb", "TensorBoardLogger": "tensorboard",
            "CometLogger": "comet", "MLFlowLogger": "mlflow"}  # fmt: skip

# torchtune's module names -> the transformers model's, by family where its layers are fused
_MODULES = {"q_proj": "q_proj", "k_proj": "k_proj", "v_proj": "v_proj", "output_proj": "o_proj"}
_MLP = ("gate_proj", "up_proj", "down_proj")
_FUSED = {"q_proj": "qkv_proj.q", "k_proj": "qkv_proj.k", "v_proj": "qkv_proj.v", "gate_proj": "gate_up_proj.gate",
          "up_proj": "gate_up_proj.up"}  # fmt: skip
_FUSED_FAMILIES = ("phi3", "phi4")


# --- components -------------------------------------------------------------------------------------------------


def component(reader: Reader, key: str) -> str | None:
    """The dotted path of the component under a key; None where there is none."""
    value = reader.value(f"{key}._component_")
    return value if isinstance(value, str) else None


def _facts(reader: Reader, path: str | None) -> Mapping[str, schema.Facts]:
    return schema.load("torchtune", reader.version).keys(f"component {path}")


def family(reader: Reader) -> str:
    """The architecture family of the model builder, such as llama3_1; empty where unknown."""
    facts = _facts(reader, component(reader, "model")).get("", {})
    return str(facts.get("architecture", {}).get("family", ""))


def _architecture(reader: Reader) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _facts(reader, component(reader, "model")).get("", {}).get("architecture", {})
    return found


def default_of(key: str, reader: Reader) -> object:
    """The pinned default: of the component's parameter for `section.argument`, else of the recipe's key."""
    section, _, argument = key.partition(".")
    path = component(reader, section) if argument else None
    if path is not None:
        parameters = _facts(reader, path)
        if argument in parameters:
            return parameters[argument].get("default", ABSENT)
    read = recipes.recipes(reader.version).get(reader.recipe or "", {})
    return read.get(key, {}).get("default", ABSENT)


def unknown(path: Path, reader: Reader) -> Claim | None:
    """Why a leaf has no effect: the recipe never reads its key, or its component does not take the argument."""
    known = recipes.recipes(reader.version)
    read = known.get(reader.recipe or "")
    top = str(path[0])
    if read is None:
        return None
    if top not in read:
        elsewhere = sorted(name for name, keys in known.items() if top in keys)
        also = f"; {', '.join(elsewhere[:3])} would" if elsewhere else ""
        return Claim(ClaimKind.UNKNOWN, f"never read by the recipe {reader.recipe}{also}")
    if len(path) < 2 or not read[top].get("component"):
        return None
    part = path[: 2 if isinstance(path[1], int) else 1]
    try:
        node = reader.document.at(part)
    except KeyError:
        return None
    return _argument(path, part, node, reader)


def _argument(path: Path, part: Path, node: Value, reader: Reader) -> Claim | None:
    name = node.get("_component_") if isinstance(node, dict) else None
    if not isinstance(name, str):
        return None
    parameters = _facts(reader, name)
    argument = str(path[len(part)])
    if not parameters:
        return Claim(ClaimKind.CUSTOM, f"belongs to {name}, which is not part of torchtune: carry it over by hand")
    about = parameters.get("", {})
    if argument in parameters or argument == "_component_" or about.get("kwargs") or "parameters" in about:
        return None
    return Claim(ClaimKind.UNKNOWN, f"{name} takes no argument {argument}: torchtune refuses to run with it")


def _unscheduled(view: View) -> bool:
    return isinstance(view, Reader) and not view.present("lr_scheduler._component_")


def _profiled(view: View) -> bool:
    return isinstance(view, Reader) and view.value("profiler.enabled") is True


# --- model and adapter ------------------------------------------------------------------------------------------


def _model(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    name = keys.get("model._component_")
    parameters = _facts(reader, str(name))
    here = ("model._component_",) if name is not None else ()
    if name is not None and not parameters:
        custom = Unresolved(str(name))
        adapted = "lora" in str(name) or reader.present("model.lora_rank")
        return {
            "adapter.method": Decoded("lora" if adapted else "none", here),
            "model.quantization": Decoded("none"),
            "model.quantizer": Decoded("torchao"),
            "model.architecture": Decoded(custom, here),
        }
    quantized = keys.get("model.quantize_base", default_of("model.quantize_base", reader))
    said = ("model.quantize_base",) if "model.quantize_base" in keys else here if quantized is True else ()
    shape = tuple(key for key in _DIMENSIONS if key in keys)
    base = reader.get("model.base")
    sizes = "".join(f", {key.removeprefix('model.')} {keys[key]}" for key in shape)
    why = f"the layers are those of {name}{sizes}; config.json of {base} must say the same"
    read_as = keys.get("checkpointer.model_type")
    kin = _MODEL_TYPES.get(str(parameters.get("", {}).get("architecture", {}).get("family", "")), ())
    odd = f", its weights read as {read_as}" if read_as is not None and kin and read_as not in kin else ""
    base_of = _rope_base(str(name), reader)
    if base_of is not None:
        odd += ", positions turned with base {} instead of {}".format(*base_of)
    if family(reader) == "gemma2":
        odd += _gemma2(keys, reader)
    return {
        "adapter.method": Decoded("lora" if "lora_rank" in parameters else "none", here),
        "model.quantization": Decoded("nf4" if quantized is True else "none", said),
        "model.quantizer": Decoded("torchao", said),
        "model.architecture": Decoded(
            External(f"config.json of {base}{odd}"), (*here, *shape, "checkpointer.model_type"), why
        ),
    }


# family -> the checkpointer's model types that convert its weights rightly (training/checkpointing/_checkpointer.py)
_LLAMA = ("LLAMA2", "LLAMA3", "LLAMA3_2")
_MODEL_TYPES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("llama2", "code_llama2", "llama3", "llama3_1", "llama3_2", "llama3_3"), _LLAMA),
    "llama3_2_vision": ("LLAMA3_VISION",),
    "llama4": ("LLAMA4",),
    "mistral": ("MISTRAL", "REWARD"),
    "gemma": ("GEMMA",),
    "gemma2": ("GEMMA2",),
    "phi3": ("PHI3_MINI",),
    "phi4": ("PHI4", "PHI3_MINI"),
    **dict.fromkeys(("qwen2", "qwen2_5"), ("QWEN2",)),
    "qwen3": ("QWEN3",),
}

_DIMENSIONS = tuple(
    f"model.{name}"
    for name in ("vocab_size", "num_layers", "num_heads", "num_kv_heads", "embed_dim", "max_seq_len", "intermediate_dim",
                 "norm_eps", "rope_base", "scale_factor", "head_dim", "attn_bias", "tie_word_embeddings",
                 "old_context_len", "q_proj_bias", "k_proj_bias", "v_proj_bias", "q_norm", "k_norm",
                 # gemma2
                 "final_capping_value", "hidden_capping_value", "query_pre_attn_scalar", "sliding_window_size",
                 # llama4
                 "attention_chunk_size", "experts_per_token", "hidden_dim", "mlp_hidden_dim", "moe_every_n_layers",
                 "num_experts", "rope_high_freq_factor", "rope_low_freq_factor", "rope_scale_factor",
                 "skip_rope_interval", "use_qk_norm", "use_scaled_rope", "use_shared_expert",
                 # classifiers, and the parts of models for images
                 "num_classes", "base_model_path", "encoder_max_seq_len", "fusion_interval", "num_special_tokens",
                 "activation", "append_cls_token", "cls_output_dim", "in_channels", "max_num_tiles", "out_indices",
                 "output_cls_projection", "patch_size", "tile_size", "use_rope", "use_tile_pos_embed", "ch_base", "ch_in",
                 "ch_mults", "ch_out", "ch_z", "n_layers_per_resample_block", "resolution", "shift_factor", "intermediate_act",
                 "norm_embeddings")
)  # fmt: skip


def _rope_base(name: str, reader: Reader) -> tuple[object, object] | None:
    """What a builder with adapters turns positions by, and the plain one, where they differ."""
    package, _, short = name.rpartition(".")
    plain = f"{package}.{short.removeprefix('q').removeprefix('lora_')}" if "lora_" in short else name
    found, wanted = (_facts(reader, one).get("", {}).get("architecture", {}).get("rope_base") for one in (name, plain))
    return None if wanted is None or found is None or float(found) == float(wanted) else (found, wanted)


_GEMMA2_CAPS = ("model.hidden_capping_value", "model.final_capping_value")


def _gemma2(keys: Keys, reader: Reader) -> str:
    """What the builders of Gemma 2 compute that its checkpoints do not say (models/gemma2: _model_builders.py,
    Gemma2FinalNorm, _convert_weights.py). Told so, torchtune's logits are transformers' to 1e-6.
    """
    name = str(keys.get("model._component_"))
    own = ("50.0", "30.0") if name.rpartition(".")[2] in ("gemma2", "lora_gemma2") else ("30.0", "50.0")
    scores, last = (keys.get(key, value) for key, value in zip(_GEMMA2_CAPS, own, strict=True))
    caps = f"scores capped at {scores} and the last layer's output, not the logits, at {last}"
    if reader.version == MAIN:
        return f", {caps}"
    return f", the norms before and after each MLP exchanged, {caps}; a tiny model's loss differs by 0.2 %, its gradient by 12 %"


def _propose_model(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    known = models.identify(reader.get("model.base"), reader.document.name)
    quantize = {"model.quantize_base": True} if wanted.get("model.quantization") == "nf4" else {}
    wrong = _rope_base(known.named("lora_"), reader)
    if wrong is not None and wanted.get("adapter.method") != "none":
        raise CannotSay(
            f"torchtune's builders with adapters for it turn positions with base {wrong[0]}, where the model has "
            f"{wrong[1]}: the run would train another model. Nearest: all weights, without an adapter"
        )
    for prefix, more in (("", {}), ("lora_", {}), ("qlora_", {}), ("lora_", quantize)):
        name = known.named(prefix)
        if _facts(reader, name):
            sizes = {f"model.{key}": value for key, value in known.sizes.items()}
            yield {"model._component_": name, **more, **sizes, "checkpointer.model_type": known.layout.model_type}


def _targets(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    listed = keys.get("model.lora_attn_modules")
    if isinstance(listed, Unresolved):
        return {"adapter.target_modules": Decoded(listed, tuple(keys))}
    found = [_MODULES.get(str(name), str(name)) for name in listed] if isinstance(listed, list) else []
    if keys.get("model.apply_lora_to_mlp"):
        found += _MLP
    if keys.get("model.apply_lora_to_output"):
        found.append("lm_head")
    if family(reader) in _FUSED_FAMILIES:
        return {"adapter.target_modules": Decoded(tuple(_FUSED.get(name, name) for name in found), tuple(keys))}
    every = set(found) == {*_MODULES.values(), *_MLP}
    return {"adapter.target_modules": Decoded(AllLinear(found) if every else tuple(found), tuple(keys))}


def _propose_targets(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    """The layers named; those of the feed-forward part have adapters all or none. What cannot be found out is all."""
    modules = wanted.get("adapter.target_modules")
    inverse = {name: own for own, name in _MODULES.items()}
    if not isinstance(modules, tuple):
        modules = (*inverse, *_MLP)
    unfused = {fused: own for own, fused in _FUSED.items()}
    named = {part for name in modules for part in _PARTS.get(str(name), (unfused.get(str(name), str(name)),))}
    outputs = "lm_head" in named
    if "model.apply_lora_to_output" not in _arguments(reader) or _architecture(reader).get("tie_word_embeddings"):
        outputs = False  # the builders of tied models refuse it
    for mlp in (bool(named & set(_MLP)), False):
        yield {
            # without any attention layer the builders stop
            "model.lora_attn_modules": [own for own, name in _MODULES.items() if name in named] or ["q_proj"],
            "model.apply_lora_to_mlp": mlp,
            **({"model.apply_lora_to_output": outputs} if "model.apply_lora_to_output" in _arguments(reader) else {}),
        }


# layers that are one in transformers' model and several in torchtune's
_PARTS = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}


def _arguments(reader: Reader) -> set[str]:
    """What the model builder takes, as table keys."""
    return {f"model.{name}" for name in _facts(reader, component(reader, "model"))}


def _attention(reader: Reader) -> Mapping[str, Decoded]:
    """Gemma 2 caps the attention scores, which transformers' eager attention does and its sdpa leaves out."""
    return {"model.attention": Decoded("eager" if family(reader) == "gemma2" else "sdpa")}


# families whose hub models may see only so many tokens back, with the smallest such window of the family: Mistral-7B-v0.1
# and Phi-3-mini-4k-instruct (`sliding_window` in config.json; others of the family have a larger one or none)
_WINDOWS = {"mistral": 4096, "phi3": 2047}


def _span(reader: Reader) -> Mapping[str, Decoded]:
    """Attention is causal without a window, but in Gemma 2 (models/*/_component_builders.py)."""
    window, longest = _WINDOWS.get(family(reader)), reader.get("sequence.max_length")
    if window is None or (isinstance(longest, int) and longest <= window):
        as_told = External(f"config.json of {reader.get('model.base')}")
        why = "the builder has the family's own windows" if window is None else "no row is longer than a window of it"
        return {"model.attention_span": Decoded(as_told, ("model._component_",), why)}
    why = "whatever sliding_window the checkpoint's config.json has"
    args = ("model._component_", "tokenizer.max_seq_len")
    return {"model.attention_span": Decoded("every earlier token", args, why)}


def _base(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    directory = keys.get("checkpointer.checkpoint_dir", ABSENT)
    if directory is ABSENT:
        return {"model.base": Decoded(Unresolved("checkpointer.checkpoint_dir"), ())}
    found = checkpoint.hub_id(reader.document, directory)
    why = "downloaded into this directory by the `tune download` command in the file's comments" if found else ""
    return {"model.base": Decoded(found or directory, ("checkpointer.checkpoint_dir",), why)}


def _propose_checkpoint(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    """Every weight file of the checkpoint: none can be left out."""
    base, near = wanted.get("model.base"), reader.document.name
    yield {
        "checkpointer._component_": _CHECKPOINTER,
        "checkpointer.checkpoint_dir": models.directory(str(base), near),
        "checkpointer.checkpoint_files": models.identify(base, near).weights,
    }


_CHECKPOINTER = "torchtune.training.FullModelHFCheckpointer"


def _checkpoint(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    """Whether the files are in the Hugging Face or in Meta's layout, the weights are the same."""
    files = keys.get("checkpointer.checkpoint_files", Unresolved("checkpointer.checkpoint_files is missing"))
    name = str(keys.get("checkpointer._component_"))
    if not _facts(reader, name):
        files = Unresolved(name)
    named = tuple(key for key in keys if key != "checkpointer.checkpoint_dir")
    return {**_base(keys, reader), "model.weights": Decoded(checkpoint.weights(files), named)}


def _output(keys: Keys, _: Reader) -> Mapping[str, Decoded]:
    """Checkpoints go where the checkpointer says; the recipe's own output_dir holds what else a run writes."""
    own, general = keys.get("checkpointer.output_dir"), keys.get("output_dir")
    if own in (None, general, _SHARED_OUTPUT):
        found = general if general is not None else Unresolved("output_dir is missing")
        return {"saving.output_dir": Decoded(found, tuple(keys))}
    return {"saving.output_dir": Decoded(own, ("checkpointer.output_dir",))}


_SHARED_OUTPUT = "${output_dir}"


def _propose_output(wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    yield {"output_dir": wanted.get("saving.output_dir"), "checkpointer.output_dir": _SHARED_OUTPUT}


def _propose_tokenizer(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    """The family's own tokenizer, with its files in the model's directory or in the one that is wanted."""
    layout = models.identify(reader.get("model.base"), reader.document.name).layout
    model = reader.value("checkpointer.checkpoint_dir")
    own = {key: f"{str(model).rstrip('/')}/{name}" for key, name in layout.files.items()}
    source = str(wanted.get("tokenizer.source"))
    if source != "model" and not models.is_hub_id(source, reader.document.name):
        other = {key: f"{source.rstrip('/')}/{name.rsplit('/', 1)[-1]}" for key, name in layout.files.items()}
        yield {"tokenizer._component_": layout.tokenizer, **_below("tokenizer", other)}
    yield {"tokenizer._component_": layout.tokenizer, **_below("tokenizer", own)}


def _below(section: str, args: Mapping[str, Value]) -> dict[str, Value]:
    return {f"{section}.{name}": value for name, value in args.items()}


def _propose_length(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    """Some tokenizers count the end token that a cut row gets."""
    limit = wanted.get("sequence.max_length")
    if not isinstance(limit, int):
        yield {"tokenizer.max_seq_len": None}
        return
    yield {"tokenizer.max_seq_len": limit}
    yield {"tokenizer.max_seq_len": limit + 1}
    if wanted.get("sequence.overlong") == "error":
        yield {"tokenizer.max_seq_len": None}


def _tokenizer(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    directory = reader.value("checkpointer.checkpoint_dir")
    paths = [str(keys[key]) for key in _TOKENIZER_FILES if keys.get(key) is not None]
    hub = reader.get("model.base")
    local = next((place for name, place in checkpoint.downloads(reader.document) if name == hub), None)
    own = all(
        path.rsplit("/", 1)[-1] in _OWN_NAMES and (checkpoint.inside(path, directory) or checkpoint.inside(path, local))
        for path in paths
    )
    unresolved = next((value for value in keys.values() if isinstance(value, Unresolved)), None)
    args = tuple(keys)
    if unresolved is not None:
        return {"tokenizer.source": Decoded(unresolved, args)}
    why = "the tokenizer's files lie in the model's directory" if own else ""
    source = "model" if own else paths[0].rsplit("/", 1)[0] if "/" in paths[0] else paths[0]
    return {"tokenizer.source": Decoded(source, args, why)}


_OWN_NAMES = ("tokenizer.model", "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json",
              "special_tokens_map.json", "generation_config.json")  # fmt: skip
_TOKENIZER_FILES = ("tokenizer.path", "tokenizer.vocab_path", "tokenizer.merges_file", "tokenizer.merges_path",
                    "tokenizer.tokenizer_json_path",
                    "tokenizer.tokenizer_config_json_path", "tokenizer.generation_config_path",
                    "tokenizer.special_tokens_path")  # fmt: skip


def _max_length(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    """The tokenizer's max_seq_len counts the EOS that a cut row ends with; packs are filled up to it."""
    args = tuple(keys)
    limit = keys.get("tokenizer.max_seq_len")
    if older.before(reader.version, "0.3.0"):
        limit, args = sources.row_limit(reader)
    if isinstance(limit, Unresolved):
        return {"sequence.max_length": Decoded(limit, args), "sequence.overlong": Decoded("truncate", args)}
    if isinstance(limit, int):
        ends = _cut_end(reader)
        length = limit if ends == "" or reader.get("sequence.packing") else limit - 1
        why = "" if length == limit else f"of {limit} tokens the last is {ends}"
        overlong = f"truncate and end with {_TRAINED_EOS}" if ends == _TRAINED_EOS else "truncate"
        return {"sequence.max_length": Decoded(length, args, why), "sequence.overlong": Decoded(overlong, args)}
    own = reader.value("model.max_seq_len")
    unknown_model = Unresolved("the number of positions, which ftmigrate does not know for this model")
    positions = own if isinstance(own, int) else _architecture(reader).get("max_seq_len", unknown_model)
    why = "nothing is cut; a row longer than the model's positions stops the run"
    return {"sequence.max_length": Decoded(positions, args, why), "sequence.overlong": Decoded("error", args, why)}


_TRAINED_EOS = "an EOS that is trained if the text before it is"


def _cut_end(reader: Reader) -> str:
    """What the tokenizer puts at the end of a row that it cuts, in words; empty for nothing.

    models/*/_tokenizer.py and modules/transforms/tokenizers/_utils.py, calls of truncate.
    """
    if sources.plain_text(reader, all):
        return "left free for an EOS that is not put there"
    found = tokenizer_format(str(component(reader, "tokenizer")), reader.version)
    if found is None or (found.chat.suffix and found.chat.separate is None):
        return "an EOS that is never trained"
    return _TRAINED_EOS if found.chat.suffix else ""


# --- optimizer, schedule, duration ------------------------------------------------------------------------------

_EPSILON_IS_OPTION = ("rmsprop", "adagrad")  # whose epsilon is not that of Adam
_NOT_OPTIONS = ("_component_", "lr", "weight_decay", "betas", "eps", "fused", "foreach")


def _optimizer(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    name = keys.get("optimizer._component_")
    known = _OPTIMIZERS.get(str(name), Unresolved(str(name)))
    defaults = _facts(reader, str(name))
    section = reader.value("optimizer")
    given = section if isinstance(section, dict) else {}
    further = [key for key in given if key not in _NOT_OPTIONS or (key == "eps" and known in _EPSILON_IS_OPTION)]
    options = {key: given[key] for key in further if given[key] != defaults.get(key, {}).get("default", ABSENT)}
    betas = keys.get("optimizer.betas", defaults.get("betas", {}).get("default"))
    first, second = betas if isinstance(betas, list) and len(betas) == 2 else (betas, betas)
    told = ("optimizer.betas",) if "optimizer.betas" in keys else ()
    here = ("optimizer._component_",) if name is not None else ()
    return {
        "optimizer.name": Decoded(known, here),
        "optimizer.beta1": Decoded(first, told),
        "optimizer.beta2": Decoded(second, told),
        "optimizer.options": Decoded(options, tuple(f"optimizer.{key}" for key in further)),
    }


def _propose_optimizer(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    """The optimizer of that name; AdamW comes nearest to any other."""
    found = [path for path, name in _OPTIMIZERS.items() if name == wanted.get("optimizer.name")]
    for path in found or [_ADAMW]:
        given: dict[str, Value] = {"optimizer._component_": path}
        betas: list[Value] = [wanted.get("optimizer.beta1"), wanted.get("optimizer.beta2")]
        defaults = _facts(reader, path)
        if "betas" in defaults and None not in betas and betas != defaults["betas"].get("default"):
            given["optimizer.betas"] = betas
        options = wanted.get("optimizer.options")
        options = options if isinstance(options, Mapping) else {}
        yield {**given, **{f"optimizer.{key}": value for key, value in options.items() if key in defaults}}


_ADAMW = "torch.optim.AdamW"


_COSINE = "torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup"
_COSINES = (_COSINE, "torchtune.training.get_cosine_schedule_with_warmup",
            "torchtune.modules.get_cosine_schedule_with_warmup")  # fmt: skip


def _schedule(keys: Keys, _: Reader) -> Mapping[str, Decoded]:
    """A cosine of no wave at all stays at its peak."""
    name = keys.get("lr_scheduler._component_")
    known: object = "cosine" if name in _COSINES else "constant" if name is None else Unresolved(str(name))
    args = tuple(key for key in ("lr_scheduler._component_",) if key in keys) or ("lr_scheduler",)
    said = tuple(key for key in ("lr_scheduler.num_cycles",) if key in keys)
    waves = keys.get("lr_scheduler.num_cycles", _HALF)
    if known == "cosine" and waves == 0:
        return {"schedule.name": Decoded("constant", (*args, *said)), "schedule.cycles": Decoded(waves, said)}
    here = args if known != "constant" or "lr_scheduler" in keys else ()
    return {"schedule.name": Decoded(known, here), "schedule.cycles": Decoded(waves, said)}


_HALF = 0.5
"""Cosine waves where none are named."""


def _propose_schedule(wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    """torchtune has the cosine only."""
    waves = wanted.get("schedule.cycles", _HALF)
    yield {"lr_scheduler._component_": _COSINE, **({"lr_scheduler.num_cycles": waves} if waves != _HALF else {})}
    yield {"lr_scheduler._component_": _COSINE, "lr_scheduler.num_cycles": 0.0}


def _whole(nearest: Any) -> Codec:
    """A whole number as it is; of anything else the nearest that the key can hold."""
    return Codec(
        lambda value, _: value,
        lambda value, _: value if isinstance(value, int) and not isinstance(value, bool) else nearest(value),
    )


def _unknown_warmup(value: object) -> Nearest:
    """A share of a number of steps that is not known: no warmup is off by that share at most."""
    if isinstance(value, float):
        return Nearest(int(value), "a whole number of steps")
    return Nearest(
        0,
        "the number of all steps is not known: --rows N tells it where rows are not packed, and the warmup is computed",
    )


def _no_symbol(value: object) -> Value:
    raise CannotSay(f"{value}: the number of steps is not known (--rows tells it)")


def _duration(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    """Steps an epoch = batches // accumulation, at most max_steps_per_epoch; the run ends after epochs times that."""
    limit, epochs = keys.get("max_steps_per_epoch"), keys.get("epochs")
    if isinstance(limit, float) and limit.is_integer():
        limit = int(limit)  # the loop compares, and 10 is 10.0
    passes = Decoded(keys.get("epochs", Unresolved("epochs is missing")), tuple(k for k in ("epochs",) if k in keys))
    if isinstance(limit, Unresolved):
        return {
            "duration.epochs": passes,
            "duration.max_steps": Decoded(None),
            "duration.epoch_steps": Decoded(limit, ("max_steps_per_epoch",)),
        }
    natural = _steps_per_epoch(reader)
    steps = limit if isinstance(limit, int) else None
    if natural is not None:
        steps = natural if steps is None else min(natural, steps)
    total = steps * epochs if steps is not None and isinstance(epochs, int) else None
    cut = isinstance(limit, int) and epochs != 1 and (natural is None or limit < natural)
    told = ("max_steps_per_epoch",) if "max_steps_per_epoch" in keys else ()
    return {
        "duration.epochs": passes,
        "duration.max_steps": Decoded(total, told),
        "duration.epoch_steps": Decoded(limit if cut else "all of the epoch", told),
    }


def _steps_per_epoch(reader: Reader) -> int | None:
    rows, world = reader.context.rows, reader.get("parallel.world_size")
    size, steps = reader.get("batch.micro_size"), reader.get("batch.accumulation")
    if rows is None or reader.get("sequence.packing") or isinstance(world, Symbol):
        return None
    if not all(isinstance(n, int) and n > 0 for n in (size, steps, world)):
        return None
    return int(-(-rows // world) // size // steps)


def _partial_step(reader: Reader) -> Mapping[str, Decoded]:
    rows, size, steps = reader.context.rows, reader.get("batch.micro_size"), reader.get("batch.accumulation")
    whole = False
    if rows is not None and reader.get("parallel.world_size") == 1 and not reader.get("sequence.packing"):
        whole = isinstance(size, int) and isinstance(steps, int) and rows // size % steps == 0
    whole = whole or isinstance(reader.get("duration.epoch_steps"), int)  # the epoch ends with its last full step
    return {"duration.partial_step": Decoded("nothing is left over" if whole else "carried over")}


def _propose_duration(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    """Whole epochs, each of so many steps: those of all are their product."""
    given = wanted.get("duration.epochs")
    epochs = max(1, math.ceil(given)) if isinstance(given, int | float) else 1
    if isinstance(wanted.get("duration.epoch_steps"), int):
        yield {"epochs": epochs, "max_steps_per_epoch": wanted["duration.epoch_steps"]}
    steps = wanted.get("duration.max_steps")
    if not isinstance(steps, int):
        yield {"epochs": epochs, "max_steps_per_epoch": None}
        return
    if steps % epochs == 0:
        yield {"epochs": epochs, "max_steps_per_epoch": steps // epochs}
    yield {"epochs": 1, "max_steps_per_epoch": steps}


def _effective(reader: Reader) -> Mapping[str, Decoded]:
    size, steps = reader.get("batch.micro_size"), reader.get("batch.accumulation")
    world = reader.get("parallel.world_size")
    if not isinstance(size, int) or not isinstance(steps, int):
        return {"batch.effective": Decoded(f"{size} × {steps} × {world}")}
    split = math.prod(
        n for n in (reader.get("parallel.tensor"), reader.get("parallel.context")) if isinstance(n, int) and n > 0
    )
    if isinstance(world, Symbol):
        return {"batch.effective": Decoded(f"{size * steps} × {world}" + (f" / {split}" if split > 1 else ""))}
    return {"batch.effective": Decoded(size * steps * world // split)}


def _packing(reader: Reader) -> Mapping[str, Decoded]:
    found = sources.packing(reader)
    return {
        "sequence.packing": found["packed"],
        "sequence.split_across_packs": found["split_across_pack"],
    }


# --- the rest ---------------------------------------------------------------------------------------------------


def _world(reader: Reader) -> Mapping[str, Decoded]:
    told = reader.context.world_size
    if not recipes.distributed(reader.recipe, reader.version):
        return {"parallel.world_size": Decoded(1)}
    return {"parallel.world_size": Decoded(told or recipes.launched(reader.document)[0] or WORLD_SIZE)}


def _nodes(reader: Reader) -> Mapping[str, Decoded]:
    if reader.context.nodes is not None:
        return {"launch.nodes": Decoded(reader.context.nodes)}
    found = recipes.launched(reader.document)[1]
    return {"launch.nodes": Decoded(NODES if found is None else found)}


def _strategy(reader: Reader) -> Mapping[str, Decoded]:
    spread = recipes.distributed(reader.recipe, reader.version)
    return {"parallel.strategy": Decoded("fsdp2" if spread else "single")}


def _wrapping(keys: Keys, _: Reader) -> Mapping[str, Decoded]:
    layers = keys.get("custom_sharded_layers")
    if not layers:
        return {"parallel.wrapping": Decoded("transformer layers", tuple(keys))}
    listed = ", ".join(str(name) for name in layers) if isinstance(layers, list) else str(layers)
    return {"parallel.wrapping": Decoded(f"transformer layers, {listed}", tuple(keys))}


def _normalisation(reader: Reader) -> Mapping[str, Decoded]:
    if reader.get("method.name") in PREFERENCE:
        return {"gradient.loss_normalisation": Decoded("pairs of the step")}
    alone = not recipes.distributed(reader.recipe, reader.version)
    former = older.normalisation(reader.version, not alone, reader.get("batch.accumulation") != 1)
    if former is not None:
        return {"gradient.loss_normalisation": Decoded(former)}
    if alone and reader.version != MAIN and reader.get("optimizer.in_backward") is True:
        # full_finetune_single_device.py: the loss is multiplied by the tokens, and the gradient is never divided by them
        return {"gradient.loss_normalisation": Decoded("nothing: a sum over tokens", ("optimizer_in_bwd",))}
    text = "tokens of the step" if alone else "tokens of the step, all devices"
    if reader.get("batch.accumulation") != 1 and sources.plain_text(reader):
        text += ", micro batches weighted with the first of each row"
    return {"gradient.loss_normalisation": Decoded(text)}


def _order(reader: Reader) -> Mapping[str, Decoded]:
    text = "permutation of seed 0, anew each epoch" if reader.get("data.shuffle") else "as stored"
    return {"data.order": Decoded(text, ("shuffle",))}


def _same_as_weights(setting: str) -> Any:
    return lambda reader: {setting: Decoded(reader.get("precision.weights"), ("dtype",))}


def _logger(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    name = str(keys.get("metric_logger._component_", ""))
    backend = _LOGGERS.get(name.rsplit(".", 1)[-1])
    here = ("metric_logger._component_",) if name else ()
    if name and backend is None:
        return {
            **{setting: Decoded(None) for setting in _LOGGING},
            "logging.backends": Decoded(Unresolved(name), here),
            "logging.options": Decoded({}),
        }
    found: dict[str, Decoded] = {"logging.backends": Decoded((backend,) if backend else (), here)}
    section = reader.value("metric_logger")
    given = {key: value for key, value in section.items() if key != "_component_"} if isinstance(section, dict) else {}
    for setting, arguments in _LOGGING.items():
        said = next((argument for argument in arguments if given.get(argument) is not None), None)
        default = next((d for a in arguments if (d := default_of(f"metric_logger.{a}", reader)) is not ABSENT), None)
        value = given.pop(said) if said else default
        found[setting] = Decoded(value, (f"metric_logger.{said}",) if said else ())
    rest = {key: value for key, value in given.items() if value is not None}
    found["logging.options"] = Decoded(rest, tuple(f"metric_logger.{key}" for key in given))
    return found


def _propose_logger(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    """One logger of those that are wanted, with what it takes; without any, a file in the output directory."""
    used = wanted.get("logging.backends")
    names = used if isinstance(used, tuple) and used else ("disk",)
    place = wanted.get("logging.directory") or f"{_SHARED_OUTPUT}/logs"
    for kind, backend in _LOGGERS.items():
        name = f"torchtune.training.metric_logging.{kind}"
        takes = _facts(reader, name)
        if backend not in names:
            continue
        given: dict[str, Value] = {"metric_logger._component_": name}
        for setting, arguments in _LOGGING.items():
            argument = next((name for name in arguments if name in takes or name in _HANDED_ON.get(kind, ())), None)
            value = place if setting == "logging.directory" else wanted.get(setting)
            if argument is not None and value is not None:
                given[f"metric_logger.{argument}"] = value
        options = wanted.get("logging.options")
        options = options if isinstance(options, Mapping) else {}
        yield {**given, **{f"metric_logger.{key}": value for key, value in options.items() if key in takes}}
    if names != ("disk",):
        yield {"metric_logger._component_": _DISK, "metric_logger.log_dir": place}


_HANDED_ON = {"WandBLogger": ("name",)}
"""What a logger takes besides its own parameters and hands on to the service."""
_DISK = "torchtune.training.metric_logging.DiskLogger"
_LOGGING = {
    "logging.project": ("project", "experiment_name"),
    "logging.run_name": ("name", "run_name", "experiment_key"),
    "logging.entity": ("entity", "workspace"),
    "logging.directory": ("log_dir",),
}


def _saved(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    if reader.get("adapter.method") == "none":
        return {"saving.weights": Decoded("full")}
    only = keys.get("save_adapter_weights_only")
    return {"saving.weights": Decoded("adapter" if only else "merged", tuple(keys))}


def _propose_saved(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    if reader.get("adapter.method") != "none":
        yield {"save_adapter_weights_only": wanted.get("saving.weights") == "adapter"}


def _propose_resume(_wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    """No other framework's training state can be gone on from."""
    yield {"resume_from_checkpoint": False}


def _resume(keys: Keys, _: Reader) -> Mapping[str, Decoded]:
    state = keys.get("checkpointer.recipe_checkpoint") or "recipe_state.pt"
    if keys.get("resume_from_checkpoint"):
        used = tuple(key for key in keys if keys[key])
        return {"saving.resume": Decoded(External(f"torchtune's training state {state}"), used)}
    return {"saving.resume": Decoded(False, ("resume_from_checkpoint",))}


def _clip(value: Any, _: View) -> object:
    """`inf` (as text or number) only logs the norm; other text is no number and stops the run."""
    found = _number(value) if isinstance(value, str) else value
    if isinstance(found, str):
        return Unresolved(f"clip_grad_norm: {found}")
    return None if found == math.inf else found


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


_MODES = {
    "default": "no",
    "warn": "warn",
    "error": "error",
    0: "no",
    1: "warn",
    2: "error",
}
_DETERMINISTIC = Codec(
    lambda value, _: _MODES.get(value, "no") if isinstance(value, str | int) else "no",
    lambda value, _: {"warn": 1, "error": 2}.get(value),
)
"""training/seed.py, set_seed: the modes of torch.set_deterministic_debug_mode."""


_SEED = Codec(lambda value, _: "random" if value is None else value,
              lambda value, _: None if value == "random" else value)  # fmt: skip


def _compiled(value: Any, _: View) -> object:
    return bool(value.get("model", True)) if isinstance(value, dict) else bool(value)


def _loss(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    name = str(keys.get("loss._component_", ""))
    chunked = any(word in name for word in ("Chunked", "LinearCrossEntropy"))
    return {"memory.chunked_loss": Decoded(chunked, ("loss._component_",)), **objectives.loss(keys, reader)}


_DTYPES = Codec(
    lambda value, _: value,
    lambda value, _: (
        Nearest("bf16", "torchtune refuses to train in fp16; bf16 has the same size")
        if str(value).startswith("fp16")
        else "bf16"
        if str(value).startswith("bf16")
        else value
    ),
)


def _encode_offloading(value: Any, view: View) -> Value:
    """The recipes refuse to run with the one and without the other."""
    if value == "disk":
        raise CannotSay("activations can wait in the CPU's memory, not on disk")
    if value == "cpu" and not view.get("memory.activation_checkpointing"):
        raise CannotSay("torchtune offloads activations only together with activation checkpointing")
    return bool(value == "cpu")


_OFFLOADING = Codec(
    lambda value, _: "cpu" if value is True else "none" if value is False else value, _encode_offloading
)

_NO_TOKENS = Codec(
    lambda value, _: value,
    lambda value, _: _refuse(f"{to_text(value)}: torchtune's tokenizers have their families' own special tokens"),
)


def _refuse(reason: str) -> Value:
    raise CannotSay(reason)


def _short(section: Value) -> str:
    given = section.items() if isinstance(section, dict) else enumerate(section) if isinstance(section, list) else ()
    return ", ".join(str(value) if key == "_component_" else f"{key}: {value}" for key, value in given)


def _evaluated(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    every = keys.get("run_val_every_n_steps")
    if keys.get("dataset_val") and every is not None:
        return {
            "evaluation.data": Decoded(
                External(f"the rows of dataset_val ({_short(keys['dataset_val'])})"), ("dataset_val",)
            ),
            "evaluation.every": Decoded(f"{every} steps", ("run_val_every_n_steps",)),
        }
    why = "nothing is evaluated unless run_val_every_n_steps is set and dataset_val names rows"
    said = ("run_val_every_n_steps",) if "run_val_every_n_steps" in keys else ()
    return {"evaluation.data": Decoded(None, said, why), "evaluation.every": Decoded("no")}


def _kept(value: Any, view: View) -> object:
    """A limit that is never reached keeps all: one checkpoint is saved an epoch unless save_every_n_steps says more."""
    epochs = view.get("duration.epochs")
    never = (
        view.get("saving.every") == "epoch" and isinstance(epochs, int) and isinstance(value, int) and epochs <= value
    )
    return "all" if value is None or never else value


def _keep(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    limit = keys.get("checkpointer.keep_last_n_checkpoints")
    kept = limit if isinstance(limit, Unresolved) else _kept(limit, reader)
    why = f"a limit of {limit} is never reached" if kept == "all" and limit is not None else ""
    return {"saving.keep": Decoded(kept, tuple(keys), why)}


def _saved_every(view: View) -> object:
    """Each epoch, which max_steps_per_epoch may cut short."""
    steps = view.get("duration.epoch_steps")
    return f"{steps} steps" if isinstance(steps, int) else "epoch"


def _encode_dora(value: Any, view: View) -> Value:
    if value and view.get("method.name") in PREFERENCE and view.get("parallel.strategy") == "single":
        raise CannotSay(recipes.DORA_UNPREPARED)
    return bool(value)


def notes(reader: Reader) -> tuple[str, ...]:
    """What is wrong with a run though nothing in its config is lost."""
    unprepared = reader.recipe == recipes.WITHOUT_DORA and reader.value("model.use_dora") is True
    return (f"{recipes.DORA_UNPREPARED}: no other framework trains the same",) if unprepared else ()


_PLANS = dict.fromkeys(("llama3", "llama3_1", "llama3_2", "llama3_3"), "torchtune.models.llama3.base_llama_tp_plan")
"""How layers are split over devices, for the families that torchtune has a plan of (recipes/full_finetune_distributed.py)."""


def _tensor(keys: Keys, _: Reader) -> Mapping[str, Decoded]:
    size = keys.get("tensor_parallel_dim", 1)
    return {"parallel.tensor": Decoded(size, tuple(keys if size != 1 else [key for key in keys if "plan" not in key]))}


def _propose_tensor(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    size = wanted["parallel.tensor"]
    plan = _PLANS.get(family(reader))
    if size == 1:
        yield {"tensor_parallel_dim": 1}
    elif plan is None:
        raise CannotSay("torchtune has no plan of how the layers of this model are split")
    else:
        yield {"tensor_parallel_dim": size, "tensor_parallel_plan._component_": plan}


_FUSED_SAID = names({True: True, False: False, None: False})


def _encode_fused(value: Any, view: View) -> Value:
    if value is True and view.get("parallel.tensor") not in (1, None):
        raise CannotSay("the recipe refuses it together with tensor parallelism")
    return plain(_FUSED_SAID.encode(value, view))


def _steps_said(every: str) -> int | None:
    count = every.removesuffix(" steps")
    if count.isdigit():
        return int(count)
    if count != every:
        raise CannotSay(f"every {every}: no whole number of steps")
    return None


_SAVES = Codec(lambda value, view: _saved_every(view) if value is None else f"{value} steps",
               lambda value, _: _steps_said(str(value)))  # fmt: skip

_ENTRIES: tuple[Entry, ...] = (
    Heading("Model"),
    Group(("model._component_", "model.quantize_base", *_DIMENSIONS, "checkpointer.model_type"),
          ("adapter.method", "model.quantization", "model.quantizer", "model.architecture"), _model, _propose_model),
    Group(("model.lora_attn_modules", "model.apply_lora_to_mlp", "model.apply_lora_to_output"),
          ("adapter.target_modules",), _targets, _propose_targets, when=_LORA),
    Field("model.lora_rank", "adapter.rank", when=_LORA),
    Field("model.lora_alpha", "adapter.alpha", NUMBER, when=_LORA),
    Field("model.lora_dropout", "adapter.dropout", NUMBER, when=_LORA),
    Missing("adapter.dropout", 0.0, "the builder takes no lora_dropout"),
    Field("model.use_dora", "adapter.use_dora", Codec(lambda value, _: value, _encode_dora), when=_LORA),
    Missing("adapter.use_dora", False, "the builder takes no use_dora"),
    Field("model.attn_dropout", "model.config_overrides",
          Codec(lambda v, _: {"attention_dropout": v} if v else {}, lambda v, _: v.get("attention_dropout", 0.0)),
          absent={}),
    Private("model.scaler_block_size", "rows of the 4-bit base weights that share a scale", off=(None,)),
    *(
        Private(f"model.{part}_lora", f"whether the {part} of a multimodal model gets adapters", off=())
        for part in ("decoder", "fusion")
    ),
    Unread("model.image_size", "the image size of the vision model, which its own config.json holds"),
    Private("model.decoder_trainable", "which part of a multimodal model's decoder is trained", off=()),
    Private("model.encoder_trainable", "which part of a multimodal model's encoder is trained", off=()),
    Private("model.fusion_trainable", "which part of a multimodal model's fusion layers is trained", off=()),
    Missing("adapter.target_layers", "all", "every transformer layer gets an adapter"),
    Missing("adapter.use_rslora", False),
    Missing("adapter.bias", "none"),
    Missing("adapter.modules_to_save", ()),
    Always("adapter.init", "kaiming", "torchtune/modules/peft/lora.py: A Kaiming uniform with a = sqrt(5), B zero"),
    Derived(("adapter.dtype",), _same_as_weights("adapter.dtype"), "adapters have the model's dtype"),
    Missing("adapter.start", None, "adapters start anew unless a run is resumed"),
    Missing("model.revision"),
    Missing("model.trust_remote_code", False),
    Derived(("model.attention",), _attention, "modules/attention.py, models/gemma2/_attention.py"),
    Derived(("model.attention_span",), _span, "models/*/_component_builders.py"),
    Missing("model.trainable", "all"),
    Heading("Tokenizer"),
    Group(_TOKENIZER_FILES, ("tokenizer.source",), _tokenizer, _propose_tokenizer),
    Group(("tokenizer.max_seq_len",), ("sequence.max_length", "sequence.overlong"), _max_length, _propose_length),
    Field("tokenizer.special_tokens", "tokenizer.special_tokens", _NO_TOKENS, absent="own"),
    Always("tokenizer.chat_template", "own", "the tokenizer's files are copied beside the weights unchanged"),
    Always("tokenizer.eos_token", "own", "the tokenizer's files are copied beside the weights unchanged"),
    Private("tokenizer.image_size", "the size images are scaled to", off=()),
    Private("tokenizer.max_num_tiles", "the number of tiles an image is cut into", off=()),
    *(
        Private(f"tokenizer.{name}", f"how images are prepared: {effect}", off=(None,))
        for name, effect in (
            ("image_mean", "the mean that is taken off"),
            ("image_std", "the deviation that is divided by"),
            ("tile_size", "the size of a tile"),
            ("patch_size", "the size of a patch"),
            ("pixel_shuffle_scaling_factor", "how far patches are put together"),
            ("dtype", "their precision"),
            ("encoder_max_seq_len", "the number of patches"),
        )
    ),
    *(
        Private(f"tokenizer.{name}", f"the {name.split('_')[0]} token", off=(None, own))
        for name, own in (("bos_token", None), ("eos_token", "<|im_end|>"), ("pad_token", "<|endoftext|>"),
                          ("unk_token", None))
    ),
    Private("tokenizer.truncate", "whether long rows are cut off", off=(True,)),
    Unread("tokenizer.bpe_cache_size", "speed only: how many words are remembered with their tokens"),
    Unread("tokenizer.errors", "only about turning tokens into text"),
    Private("tokenizer.truncation_type", "which end of a long row is cut off", off=("right", None)),
    Heading("Checkpoint and output"),
    Group(("checkpointer._component_", "checkpointer.checkpoint_dir", "checkpointer.checkpoint_files"),
          ("model.base", "model.weights"), _checkpoint, _propose_checkpoint),
    Group(("output_dir", "checkpointer.output_dir"), ("saving.output_dir",), _output, _propose_output),
    Unread("checkpointer.adapter_checkpoint", "read only when a run is resumed", when=is_("saving.resume", False)),
    Private("checkpointer.adapter_checkpoint", "adapter weights a resumed run goes on from", when=_RESUMED),
    Field("checkpointer.safe_serialization", "saving.safetensors"),
    Missing("saving.safetensors", False, "this checkpointer writes torch files"),
    Group(("checkpointer.keep_last_n_checkpoints",), ("saving.keep",), _keep, lambda wanted, _: [
        {"checkpointer.keep_last_n_checkpoints": None if wanted["saving.keep"] == "all" else wanted["saving.keep"]}]),
    Private("checkpointer.resume_from_checkpoint",
            "the checkpointer looks for a training state even where the run itself starts anew"),
    Unread("checkpointer.process_group", "which processes save together; no file can name one"),
    Private("checkpointer.enable_dcp", "checkpoints are written in torch's distributed format"),
    Group(("resume_from_checkpoint", "checkpointer.recipe_checkpoint"), ("saving.resume",), _resume,
          _propose_resume),
    Group(("save_adapter_weights_only",), ("saving.weights",), _saved, _propose_saved),
    Field("save_every_n_steps", "saving.every", _SAVES, absent=_saved_every),
    Missing("saving.sharded", False, "one whole state dict is gathered (torchtune/training/_distributed.py)"),
    Field("enable_async_checkpointing", "saving.asynchronous", absent=False),
    Missing("hub.push_to"),
    Heading("Data"),
    sources.ENTRY,
    *(Unread(f"{place}.train_on_input", datasets.PROMPT_CANCELS, when=_PAIRS) for place in ("dataset", "dataset[]")),
    Field("shuffle", "data.shuffle"),
    Derived(("data.order",), _order, "the sampler's seed is fixed at 0 in every recipe, whatever `seed` says"),
    Always("data.prepared_path", "fresh for this run", "rows are tokenised as they are needed; nothing is kept"),
    Missing("data.streaming", False),
    Always("data.workers", "auto", "the recipe's own process loads the batches"),
    Field("collate_fn", "data.collation", names({"torchtune.data.padded_collate_sft": "pad right"}),
          absent="pad right"),
    Derived(("sequence.packing", "sequence.split_across_packs"), _packing, "the dataset's packed argument"),
    Always("sequence.packing_algorithm", "greedy in order", "torchtune/datasets/_packed.py"),
    Derived(("sequence.padding",), lambda r: {"sequence.padding": Decoded(
        "max_length" if r.get("sequence.packing") else "longest")}, "torchtune/data/_collate.py"),
    Heading("Batch and duration"),
    Field("batch_size", "batch.micro_size"),
    Field("gradient_accumulation_steps", "batch.accumulation"),
    Derived(("batch.effective",), _effective, "batch size × accumulation × devices"),
    Group(("epochs", "max_steps_per_epoch"), ("duration.epochs", "duration.max_steps", "duration.epoch_steps"),
          _duration, _propose_duration),
    Derived(("duration.partial_batch",),
            lambda r: {"duration.partial_batch": Decoded(older.partial_batch(r.version))},
            "every recipe's DataLoader has drop_last=True from 0.4.0 on"),
    Derived(("duration.partial_step",), _partial_step,
            "gradients of left-over micro batches stay until the next epoch's first step"),
    Heading("Optimizer and schedule"),
    Group(("optimizer._component_", "optimizer.betas"),
          ("optimizer.name", "optimizer.beta1", "optimizer.beta2", "optimizer.options"), _optimizer,
          _propose_optimizer),
    Field("optimizer.fused", "optimizer.fused", Codec(_FUSED_SAID.decode, _encode_fused)),
    Missing("optimizer.fused", False, "the optimizer takes no fused"),
    Field("optimizer.foreach", "optimizer.fused", absent=ABSENT, write=False,
          codec=Codec(lambda _value, _view: False, lambda value, _: value)),
    Field("optimizer.lr", "optimizer.learning_rate", NUMBER),
    Field("optimizer.weight_decay", "optimizer.weight_decay", NUMBER),
    Missing("optimizer.weight_decay", 0.0, "the optimizer takes no weight_decay"),
    Always("optimizer.weight_decay_scope", "all", "all parameters are handed to the optimizer in one group"),
    Field("optimizer.eps", "optimizer.epsilon", NUMBER),
    Field("optimizer_in_bwd", "optimizer.in_backward", absent=False),
    Group(("lr_scheduler._component_", "lr_scheduler.num_cycles", "lr_scheduler"),
          ("schedule.name", "schedule.cycles"), _schedule, _propose_schedule),
    Field("lr_scheduler.num_warmup_steps", "schedule.warmup_steps", _whole(_unknown_warmup)),
    Missing("schedule.warmup_steps", 0, "no scheduler", when=Condition("no scheduler is named", _unscheduled)),
    Missing("schedule.min_ratio", 0.0, "the cosine goes down to 0"),
    Group(("loss._component_", "loss.loss_type"), ("method.loss", "memory.chunked_loss"), _loss,
          objectives.propose_loss),
    Private("loss.num_output_chunks", "number of chunks the loss is computed in", off=(8,)),
    Private("loss.ignore_index", "tokens with this label are not trained", off=(-100,)),
    Private("loss.weight", "weights of the tokens of the vocabulary", off=(None,)),
    Private("loss.reduction", "how the losses of single tokens are put together", off=("mean",)),
    Private("loss.reduce", "how the losses of single tokens are put together (old spelling)", off=(None,)),
    Private("loss.size_average", "how the losses of single tokens are put together (old spelling)", off=(None,)),
    Unread("loss.mask_ignored_tokens", "memory only: whether tokens that are not trained get logits"),
    Private("loss.tp_enabled", "the output layer is spread over the tensor parallel group"),
    *(
        Private(f"loss.{name}", f"{effect}, in another method's loss", off=())
        for name, effect in (
            ("sym_kd_ratio", "mixture of both directions of the divergence"),
            ("epsilon", "how far the policy may move in a step"),
            ("kl_coeff", "strength of the pull towards the reference model"),
            ("mask_pre_projection", "whether tokens that are not trained get logits"),
            ("value_clip_range", "how far the value function may move in a step"),
            ("value_coeff", "weight of the value function"),
        )
    ),
    Field("clip_grad_norm", "gradient.max_norm", Codec(_clip, lambda value, _: value), absent=None),
    Derived(("gradient.loss_normalisation",), _normalisation,
            "gradients are divided by the number of trained tokens of the whole step"),
    Heading("Precision and memory"),
    Field("dtype", "precision.weights", _DTYPES),
    Derived(("precision.autocast",), lambda _: {"precision.autocast": Decoded("none", ("dtype",))},
            "weights, activations and optimizer state all have the one dtype"),
    Always("precision.tf32", False, "torch's default: matrix products in full fp32"),
    Field("enable_activation_checkpointing", "memory.activation_checkpointing", absent=False),
    Private("ac_mode", "selective activation checkpointing", off=(None, "full")),
    Private("ac_option", "selective activation checkpointing", off=(None,)),
    Field("enable_activation_offloading", "memory.activation_offloading", _OFFLOADING, absent="none"),
    Unread("activation_offloading_use_streams", "how activations are copied; no effect on training"),
    Field("compile", "memory.compile", Codec(_compiled, lambda value, _: bool(value))),
    Missing("memory.compile", False, "the recipe does not compile"),
    Unread("low_cpu_ram", "how weights are moved while loading; no effect on training"),
    Missing("memory.lora_kernels", False),
    Heading("Devices"),
    Field("device", "launch.device"),
    Derived(("parallel.strategy",), _strategy, "distributed recipes shard with FSDP2 (training/_distributed.py)"),
    Derived(("parallel.world_size",), _world, "--world-size, the launch command in the comments, or the recipe"),
    Derived(("launch.nodes",), _nodes, "the launch command"),
    Unread("memory_efficient_fsdp_wrap", "which layers are sharded as a unit in torchtune 0.2; no effect on training"),
    Field("fsdp_cpu_offload", "parallel.cpu_offload", absent=False, when=_FSDP),
    Field("fsdp_reshard_after_forward", "parallel.reshard_after_forward", absent=True, when=_FSDP),
    Missing("parallel.zero_stage", None, "no DeepSpeed"),
    Group(("custom_sharded_layers",), ("parallel.wrapping",), _wrapping, when=_FSDP),
    Field("fsdp.cpu_offload", "parallel.cpu_offload", absent=ABSENT, write=False, when=_FSDP),
    Always("parallel.loading", "by parts", "training/_distributed.py, load_from_full_model_state_dict", when=_FSDP),
    Group(("tensor_parallel_dim", "tensor_parallel_plan._component_"), ("parallel.tensor",), _tensor, _propose_tensor),
    Unread("tensor_parallel_plan", "how weights are split over the tensor parallel group; no effect on training"),
    Field("context_parallel_dim", "parallel.context", absent=1),
    Unread("context_parallel_rotate_method", "how context parallel ranks exchange; no effect on training"),
    Field("data_parallel_replicate_dim", "parallel.replicate", absent=1),
    Private("data_parallel_shard_dim", "the size of the sharded group", off=(-1, None)),
    Private("enable_fp8_training", "matrix products in fp8"),
    Private("fp8_recipe_name", "how fp8 values are scaled", off=(None,)),
    Private("resize_token_embeddings", "the vocabulary is resized before training", off=(None, False)),
    Heading("Evaluation"),
    Group(("dataset_val", "run_val_every_n_steps"), ("evaluation.data", "evaluation.every"), _evaluated),
    Field("batch_size_val", "evaluation.batch_size", absent=lambda view: view.get("batch.micro_size")),
    Heading("Logging"),
    Group(("metric_logger._component_",), ("logging.backends", *_LOGGING, "logging.options"), _logger,
          _propose_logger),
    Field("log_every_n_steps", "logging.every", _whole(_no_symbol), absent=1),
    Private("log_peak_memory_stats", "memory figures in the log", reporting=True),
    Private("log_level", "how much is logged", reporting=True, off=(None,)),
    Private("profiler", "traces of the run's speed and memory", off=(None,), when=Condition(
        "profiler.enabled is true", _profiled),
        reporting=True),
    Heading("Seed"),
    Field("seed", "seed.value", _SEED),
    Field("cudnn_deterministic_mode", "seed.deterministic", _DETERMINISTIC, absent="no"),
    Derived(("method.name",), lambda r: {"method.name": Decoded(recipes.method(r.recipe))}, "the recipe"),
    Field("loss.beta", "method.beta", when=_PAIRS),
    Field("loss.gamma", "method.beta", when=_PAIRS),
    Field("loss.kl_coeff", "method.beta", when=_GRPO),
    Missing("method.beta", 0.1),
    Field("loss.label_smoothing", "method.label_smoothing", when=_PAIRS),
    Private("loss.loss_type", "which preference loss is used in torchtune 0.2", off=("sigmoid",)),
    Missing("method.label_smoothing", 0.0),
    Private("loss.beta", "strength of the pull, in another method's loss", off=()),
    Private("loss.gamma", "steepness, in another method's loss", off=()),
    Private("loss.label_smoothing", "weight that is spread over all other tokens", off=(0, 0.0)),
    Group(objectives.REFERENCE_KEYS, ("method.reference",), objectives.reference, objectives.propose_reference,
          when=_PAIRS),
    *(
        Unread(f"ref_checkpointer.{name}", f"the reference model is only loaded: {what}", when=_PAIRS)
        for name, what in (
            ("output_dir", "nothing of it is written"),
            ("safe_serialization", "nothing of it is written"),
            ("recipe_checkpoint", "it has no training state"),
            ("adapter_checkpoint", "it has no adapter"),
        )
    ),
    Group(objectives.QUANTIZER_KEYS, objectives.QAT_SETTINGS, objectives.quantizer, objectives.propose_quantizer,
          when=_QAT),
    *(
        Unread(f"quantizer.{name}", why, when=_QAT)
        for name, why in (("precision", "replaced by dtype"), ("scales_precision", "scales are fp32 all the same"))
    ),
    Private("quantizer.padding_allowed",
            "layers whose width is no multiple of the group size are padded and rounded too", when=_QAT),
    Field("fake_quant_after_n_steps", "qat.after_steps", Codec(lambda v, _: objectives.starts(v), lambda v, _: v),
          absent=None),
    Field("loss.epsilon", "method.clip", when=_GRPO),
    *other_recipes.ENTRIES,
)  # fmt: skip
ENTRIES = proven(_ENTRIES, proofs.MOVED, proofs.SEEN)


# families whose hub tokenizers, base and instruction-tuned, all name torchtune's own end token
_ONE_EOS = ("llama2", "mistral", "gemma", "gemma2")


def tokens(reader: Reader) -> Mapping[str, str]:
    """What `{bos}` and `{eos}` mean to this run's tokenizer; `{eos}` only where every hub tokenizer agrees."""
    name = str(component(reader, "tokenizer"))
    found = tokenizer_format(name, reader.version)
    if found is None:
        return {}
    return found.tokens if name.split(".")[-2] in _ONE_EOS else {"bos": found.bos}


def table(version: str) -> Table:
    """torchtune's table at a version."""

    def recipe_of(document: Document, told: str | None) -> tuple[str | None, str]:
        return recipes.recognise(document, told, version)

    return Table("torchtune", version, ENTRIES, default_of, unknown, null_is_absent=False, recipe_of=recipe_of,
                 tokens=tokens, notes=notes, lacks=recipes.LACKS, header=lambda run: writing.header(run, version))  # fmt: skip
