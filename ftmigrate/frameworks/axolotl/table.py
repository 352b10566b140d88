"""Axolotl's table: what each key says, what holds without it, and what Axolotl does by itself.

Sources are files of the axolotl 0.21.0 release unless another version is named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import Any

from msgspec.structs import replace

from ftmigrate import schema
from ftmigrate.document.model import Path, Value
from ftmigrate.frameworks.axolotl import companion, deepspeed, exact, methods, older, proofs, sources
from ftmigrate.frameworks.axolotl.forms import METHOD_KEYS
from ftmigrate.frameworks.axolotl.other_keys import NOT_RL, OTHER, PLUGIN_KEYS
from ftmigrate.frameworks.reader import Reader
from ftmigrate.frameworks.table import (
    ABSENT,
    NUMBER,
    Always,
    Between,
    CannotSay,
    Codec,
    Derived,
    Entry,
    Field,
    Group,
    Heading,
    Keys,
    Missing,
    Private,
    Table,
    Unread,
    in_force,
    names,
    plain,
    proven,
    reading,
)
from ftmigrate.run.conditions import Condition, View, both, is_, is_not
from ftmigrate.run.methods import POLICY, PREFERENCE, SUPERVISED
from ftmigrate.run.model import ALL_LINEAR, NODES, WORLD_SIZE, Claim, ClaimKind, External, Share, Symbol
from ftmigrate.run.source import Decoded

_LORA = is_not("adapter.method", "none")
_PAIRS = is_("method.name", *PREFERENCE)
_SFT = is_("method.name", *SUPERVISED)
_SINGLE = is_("method.name", "kto")
_SIMPO = is_("method.name", "simpo")
_SAMPLED = is_("method.name", *POLICY)
_OWN_SAMPLER = is_not("method.name", *SUPERVISED, "kto")
_ADAPTED_BY_TRL = is_("method.name", *methods.ADAPTED_BY_TRL)
_ADAPTED_HERE = is_not("method.name", *methods.ADAPTED_BY_TRL)
_WITHOUT_DROPOUT = is_("method.name", *methods.WITHOUT_DROPOUT)
_WITH_DROPOUT = is_not("method.name", *methods.WITHOUT_DROPOUT)
_QAT = is_("method.name", "qat")
_FSDP = is_("parallel.strategy", "fsdp1", "fsdp2")

_DROPOUT_OFF = "TRL switches all dropout off in this method's trainer"
_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

# optimizers that no other framework here has: transformers' own (training_args.py, OptimizerNames) and Axolotl's
_OWN_OPTIMIZERS = (
    "adamw_torch_4bit", "adamw_torch_8bit", "adamw_apex_fused", "adamw_anyprecision", "ademamix", "ademamix_8bit",
    "paged_ademamix_32bit", "paged_ademamix_8bit", "paged_lion_32bit", "rmsprop_bnb", "rmsprop_bnb_8bit",
    "rmsprop_bnb_32bit", "galore_adamw", "galore_adamw_8bit", "galore_adafactor", "lomo", "adalomo", "grokadamw",
    "schedule_free_radam", "schedule_free_adamw", "schedule_free_sgd", "apollo_adamw", "stable_adamw", "optimi_adamw",
    "ao_adamw_4bit", "ao_adamw_8bit", "ao_adamw_fp8", "adopt_adamw", "adamc", "came_pytorch", "muon", "muon_8bit",
    "dion", "sinkgd", "polora", "flash_adamw", "flash_adam", "flash_sgd", "flash_sgdw", "flash_lion", "scao",
    "q_galore_adamw8bit",
)  # fmt: skip

_OLD_ADAMW = "adamw_hf"  # transformers' own, which decayed weights after the step; gone with transformers 5

# spelling -> (optimizer, fused kernel)
_OPTIMIZERS: Mapping[str, tuple[str, bool]] = {
    "adamw_torch_fused": ("adamw", True),
    "adamw_torch": ("adamw", False),
    "adamw_bnb_8bit": ("adamw_8bit", False),
    "adamw_8bit": ("adamw_8bit", False),
    "paged_adamw_32bit": ("paged_adamw", False),
    "paged_adamw_8bit": ("paged_adamw_8bit", False),
    "sgd": ("sgd", False),
    "adafactor": ("adafactor", False),
    "adagrad": ("adagrad", False),
    "rmsprop": ("rmsprop", False),
    "lion_32bit": ("lion", False),
    "lion_8bit": ("lion_8bit", False),
    "paged_lion_8bit": ("paged_lion_8bit", False),
    **{name: (name, False) for name in _OWN_OPTIMIZERS},
}


# --- model and adapter ------------------------------------------------------------------------------------------


def _adapter(keys: Keys, _: Reader) -> Mapping[str, Decoded]:
    adapter = keys.get("adapter")
    four, eight = bool(keys.get("load_in_4bit")), bool(keys.get("load_in_8bit"))
    stored = "nf4" if four else "int8" if eight else "none"
    method = "none" if adapter is None else "lora" if adapter == "qlora" else adapter
    named = tuple(key for key in ("load_in_4bit", "load_in_8bit") if key in keys)
    return {
        "adapter.method": Decoded(method, ("adapter",) if "adapter" in keys else ()),
        "model.quantization": Decoded(stored, named),
        "model.quantizer": Decoded(
            keys.get("nf4_backend", "bitsandbytes"), ("nf4_backend",) if four and "nf4_backend" in keys else ()
        ),
    }


def _propose_adapter(wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    if wanted.get("adapter.method") == "lora":
        yield {"adapter": "lora"}
        yield {"adapter": "qlora", "load_in_4bit": True}
        yield {"adapter": "lora", "load_in_8bit": True}


def _encode_modules(value: Any, _: View) -> Value:
    return list(dict.fromkeys(str(name).split(".", 1)[0] for name in value))


_MATCHING = "the modules that match "


def _targets(keys: Keys, _: Reader) -> Mapping[str, Decoded]:
    listed = keys.get("lora_target_modules")
    if isinstance(listed, str):
        found: object = External(f"{_MATCHING}{listed}")
    elif listed:
        found = tuple(str(name) for name in listed) if isinstance(listed, list) else ()
    else:
        found = ()
    if keys.get("lora_target_linear"):
        extra = found if isinstance(found, tuple) else ()
        found = External(ALL_LINEAR + (f" and {', '.join(extra)}" if extra else ""))
    return {"adapter.target_modules": Decoded(found, tuple(keys))}


def _propose_targets(wanted: Mapping[str, Any], view: Reader) -> Iterator[Mapping[str, Value]]:
    modules = wanted["adapter.target_modules"]
    if isinstance(modules, tuple):
        yield {"lora_target_modules": _encode_modules(modules, view)}
    elif isinstance(modules, External) and modules.reference.startswith(_MATCHING):
        yield {"lora_target_modules": modules.reference.removeprefix(_MATCHING)}
    elif isinstance(modules, External) and modules.reference.startswith(ALL_LINEAR):
        yield {"lora_target_linear": True}
        others = modules.reference.removeprefix(f"{ALL_LINEAR} and ").split(", ")
        yield {"lora_target_linear": True, "lora_target_modules": list(others)}


def _adapter_dtype(view: Any) -> object:
    return "fp32"


_ADAPTER_DTYPE = Codec(
    lambda value, view: view.get("precision.weights") if value is False else "fp32",
    lambda value, view: _say(value == view.get("precision.weights") and value != "fp32", False, True),
)


def _say(condition: bool, yes: Value, no: Value) -> Value:
    return yes if condition else no


_TRAINABLE = Codec(
    lambda value, _: tuple(value) if value else "all",
    lambda value, _: list(value) if isinstance(value, tuple) else None,
)


# --- optimizer, schedule, duration ------------------------------------------------------------------------------


def _optimizer(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    spelled = keys.get("optimizer", reader.or_default("optimizer"))
    name, fused = _OPTIMIZERS.get(str(spelled), (str(spelled), False))
    args = tuple(keys)
    return {"optimizer.name": Decoded(name, args), "optimizer.fused": Decoded(fused, args)}


def _propose_optimizer(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    sharded = reader.get("parallel.strategy") == "fsdp2"
    split = reader.get("parallel.tensor")
    split = isinstance(split, int) and split > 1
    if wanted.get("optimizer.name") == _OLD_ADAMW:
        yield {"optimizer": "adamw_torch"}
    if sharded and not split and wanted.get("optimizer.name") == "adamw_8bit":
        yield {"optimizer": "adamw_torch_8bit"}  # torchao's
    for spelled, (name, _) in _OPTIMIZERS.items():
        # FSDP2 refuses the bitsandbytes spellings (schemas/validation.py, check_fsdp2_w_8bit_optimizer)
        if name == wanted.get("optimizer.name") and not (
            (sharded and spelled in ("adamw_bnb_8bit", "adamw_8bit")) or (split and "8bit" in spelled)
        ):
            yield {"optimizer": spelled}


# what transformers' trainer_optimizer.py hands on of optim_args; optimizers that are not here are not judged
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "adamw_torch_8bit", _OLD_ADAMW), ()),
    "sgd": ("momentum", "dampening", "weight_decay", "nesterov"),
    "adagrad": ("lr_decay", "weight_decay", "eps"),
    "rmsprop": ("momentum", "alpha", "eps", "weight_decay", "centered"),
}


def _handed_on(options: Mapping[str, Any], view: View) -> dict[str, Any]:
    name = view.get("optimizer.name")
    read = _OPTIONS.get(name) if isinstance(name, str) else None
    return {key: value for key, value in options.items() if read is None or key in read}


def _decode_options(options: Any, view: View) -> object:
    return _handed_on(options, view) if isinstance(options, dict) else options


def _encode_options(options: Any, view: View) -> Value:
    if not isinstance(options, Mapping):
        raise CannotSay(f"{options} are no options by name")
    kept = _handed_on(options, view)
    lost = [name for name in options if name not in kept]
    if lost and not kept:
        raise CannotSay(f"the trainer hands {', '.join(lost)} on to no optimizer of this name")
    return kept


def _encode_alpha(value: Any, _: View) -> Value:
    if isinstance(value, float) and not value.is_integer():
        raise CannotSay(f"{value} is no whole number, and Axolotl takes no other")
    return int(value) if isinstance(value, float) else value


def _schedule(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    name = keys.get("lr_scheduler", reader.or_default("lr_scheduler"))
    return {"schedule.name": Decoded("constant" if name == "constant_with_warmup" else name, tuple(keys))}


def _propose_schedule(wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    """transformers' `constant` takes no warmup."""
    name = wanted.get("schedule.name")
    if not isinstance(name, str):
        raise CannotSay(f"{name} is no schedule that Axolotl has")
    warm = wanted.get("schedule.warmup_steps")
    yield {"lr_scheduler": "constant_with_warmup" if name == "constant" and warm else name}


_WARMUP_UNSAID = Share(0.03, 100)
_LOGGING_UNSAID = Share(0.005, 10)


def _warmup_set(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    """0.10.0 to 0.12.2: 0 counts as not set (core/builders/base.py)."""
    return _warmup({key: value for key, value in keys.items() if value}, reader)


def _pass(reader: Reader) -> int | None:
    """utils/trainer.py, calculate_total_num_steps, where the number of rows is told and none are packed or set apart."""
    effective, epochs, rows = reader.get("batch.effective"), reader.get("duration.epochs"), reader.context.rows
    apart = reader.get("sequence.packing") or reader.get("evaluation.data") is not None
    if rows is None or apart or not isinstance(effective, int) or not isinstance(epochs, int | float) or not effective:
        return None
    return math.ceil(rows * epochs / effective)


def _total(reader: Reader) -> int | None:
    """utils/data/sft.py: what shares are taken of. With max_steps it is the smaller one, though the run then repeats rows."""
    wanted, rows = reader.get("duration.max_steps"), _pass(reader)
    return min([one for one in (wanted, rows) if isinstance(one, int)], default=None)


def _warmup(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    """core/builders/base.py, _configure_warmup_and_logging: steps, else a share of all, else 3 %; 1 becomes 2."""
    if reader.value("lr_scheduler") == "constant":
        return {"schedule.warmup_steps": Decoded(0, ())}
    steps: Any = keys.get("warmup_steps")
    args: tuple[str, ...] = ("warmup_steps",)
    total = _total(reader)
    if steps is None:
        ratio = keys.get("warmup_ratio")
        args = () if ratio is None else ("warmup_ratio",)
        try:
            share = _WARMUP_UNSAID if ratio is None else Share(float(ratio))  # type: ignore[arg-type]
            steps = share if total is None and share.part else share.of(total or 0)
        except (ValueError, TypeError, OverflowError):  # no share, which Axolotl refuses
            steps = f"{ratio} times all steps"
    why = "a warmup of one step is run as two" if steps == 1 else ""
    if not why and "warmup_steps" not in args and isinstance(total, int) and _pass(reader) is None:
        why = "where the rows last for max_steps; with fewer it is a share of the steps that they last for"
    return {"schedule.warmup_steps": Decoded(2 if steps == 1 else steps, args, why)}


def _propose_warmup(wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    steps = wanted.get("schedule.warmup_steps")
    if isinstance(steps, int):
        yield {"warmup_steps": steps}
    elif isinstance(steps, Share) and steps.most is None:
        yield {"warmup_ratio": steps.part}


def _log_every(view: Any) -> object:
    total = _total(view)
    return max(_LOGGING_UNSAID.of(total), 1) if isinstance(total, int) else _LOGGING_UNSAID


def _effective(reader: Reader) -> Mapping[str, Decoded]:
    micro, steps = reader.get("batch.micro_size"), reader.get("batch.accumulation")
    world = reader.get("parallel.world_size")
    split = math.prod(
        n for n in (reader.get("parallel.tensor"), reader.get("parallel.context")) if isinstance(n, int) and n > 0
    )
    if not isinstance(micro, int) or not isinstance(steps, int):
        return {"batch.effective": Decoded(f"{micro} × {steps} × {world}")}
    if isinstance(world, Symbol):
        return {"batch.effective": Decoded(f"{micro * steps} × {world}" + (f" / {split}" if split > 1 else ""))}
    return {"batch.effective": Decoded(micro * steps * world // split)}


def _partial_step(reader: Reader) -> Mapping[str, Decoded]:
    rows, size, steps = reader.context.rows, reader.get("batch.micro_size"), reader.get("batch.accumulation")
    whole = False
    if rows is not None and reader.get("parallel.world_size") == 1 and not reader.get("sequence.packing"):
        batches = rows // size if reader.get("duration.partial_batch") == "dropped" else -(-rows // size)
        whole = batches % steps == 0
    return {"duration.partial_step": Decoded("nothing is left over" if whole else "short step")}


# --- data order, precision, saving ------------------------------------------------------------------------------


def _order(reader: Reader) -> Mapping[str, Decoded]:
    """core/builders/causal.py, core/trainers/base.py; the trainer's own seed is 42 where none is said.

    Several sources are shuffled when they are joined, whatever curriculum_sampling says; one is not (utils/data/shared.py).
    """
    listed = reader.value("datasets")
    several = isinstance(listed, list) and len(listed) > 1
    merged = reader.or_default("shuffle_merged_datasets") and (several or not reader.or_default("curriculum_sampling"))
    said = ("shuffle_merged_datasets",)
    if not reader.get("data.shuffle"):
        return {"data.order": Decoded("as stored" + (", of rows shuffled once before" if merged else ""), said)}
    if reader.get("sequence.packing"):
        return {"data.order": Decoded("packs of randomly drawn rows")}
    seed = reader.get("seed.value")
    text = f"permutation of seed {42 if seed == 'random' else seed}, anew each epoch"
    return {"data.order": Decoded(text + (", of rows shuffled once before" if merged else ""), said)}


def _propose_stored(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    if wanted.get("data.order") == "as stored" != reader.get("data.order"):
        yield {"shuffle_merged_datasets": False}


def _propose_order(wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    """Only this seed gives this permutation: the sampler's generator is seeded with it and the epoch's number."""
    if wanted.get("data.order") == "permutation of seed 0, anew each epoch":
        yield {"seed": 0, "shuffle_merged_datasets": False}


def _precision(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    """utils/config/__init__.py, resolve_dtype; `auto` is bf16 on a GPU that has it."""
    bf16 = keys.get("bf16", reader.or_default("bf16"))
    args = tuple(keys)
    if keys.get("fp16") and bf16 in ("auto", False, None):
        found = ("fp16", "fp16")
    elif bf16 or keys.get("bfloat16"):
        found = ("bf16", "bf16")
    elif keys.get("float16") or keys.get("fp16"):
        found = ("fp16", "none")
    else:
        found = ("fp32", "none")
    weights, why = found[0], ""
    pure = reader.get("adapter.method") != "none" or reader.get("parallel.strategy") in ("fsdp1", "fsdp2", "deepspeed")
    if weights == "bf16" and not pure and reader.get("model.attention") in ("auto", "sdpa", "eager"):
        # loaders/model.py, _set_attention_config and the upcast after loading
        weights = "bf16, embeddings and norms fp32"
        why = "attn_implementation: flash_attention_2 or flex_attention keeps all of them in bf16"
    return {"precision.weights": Decoded(weights, args, why), "precision.autocast": Decoded(found[1], args)}


def _propose_precision(wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    weights = wanted.get("precision.weights")
    if str(weights).startswith("bf16"):
        yield {"bf16": True}
    elif weights == "fp16":
        yield {"bf16": False, "fp16": True}
    elif weights == "fp32":
        yield {"bf16": False}
    else:
        raise CannotSay(f"Axolotl trains in fp32, bf16 or fp16, not in {weights}")


_TIMES = " times an epoch"
_SAVE_KEYS = ("save_steps", "save_strategy", "saves_per_epoch")


def _saving(keys: Keys, _: Reader) -> Mapping[str, Decoded]:
    """core/builders/base.py, _configure_save_and_eval_strategy."""
    args = tuple(keys)
    if keys.get("saves_per_epoch"):
        every = f"{keys['saves_per_epoch']}{_TIMES}"
        return {"saving.every": Decoded("epoch" if keys["saves_per_epoch"] == 1 else every, args)}
    if keys.get("save_steps"):
        return {"saving.every": Decoded(f"{keys['save_steps']} steps", args)}
    return {"saving.every": Decoded(keys.get("save_strategy") or "epoch", args)}


def _propose_saving(wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    every = str(wanted.get("saving.every"))
    if every.endswith(_TIMES):
        yield {"saves_per_epoch": int(every.split()[0])}
    if every.endswith(" steps") and every.split()[0].isdigit():
        yield {"save_steps": int(every.split()[0])}
    elif every in ("epoch", "no"):
        yield {"save_strategy": every}


_UNLIMITED = 1000


def _saves(view: View) -> int | None:
    """How many checkpoints a run writes, where that is known."""
    every, epochs, steps = view.get("saving.every"), view.get("duration.epochs"), view.get("duration.max_steps")
    if every == "epoch" and isinstance(epochs, int | float):
        return math.ceil(epochs)
    count = str(every).removesuffix(" steps")
    if count.isdigit() and int(count) and isinstance(steps, int):
        return math.ceil(steps / int(count))
    return None


def _kept(value: Any, view: View) -> object:
    """save_total_limit, absent or 0: 4. A limit that is never reached keeps all."""
    limit = value or 4
    return "all" if limit >= (_saves(view) or _UNLIMITED) else limit


def _keep(value: Any, view: View) -> Value:
    return int(value) if value != "all" else _saves(view) or _UNLIMITED


_EVAL_KEYS = ("eval_steps", "eval_strategy", "evals_per_epoch")


def _evaluation(keys: Keys, _: Reader, unsaid: str = "no") -> Mapping[str, Decoded]:
    if keys.get("evals_per_epoch"):
        return {"evaluation.every": Decoded(f"{keys['evals_per_epoch']}{_TIMES}", tuple(keys))}
    if keys.get("eval_steps"):
        return {"evaluation.every": Decoded(f"{keys['eval_steps']} steps", tuple(keys))}
    return {"evaluation.every": Decoded(keys.get("eval_strategy") or unsaid, tuple(keys))}


def _propose_evaluation(wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    every = str(wanted.get("evaluation.every"))
    if every.endswith(_TIMES):
        yield {"evals_per_epoch": int(every.split()[0])}
    if every.endswith(" steps") and every.split()[0].isdigit():
        yield {"eval_strategy": "steps", "eval_steps": int(every.split()[0])}
    elif every in ("epoch", "no"):
        yield {"eval_strategy": every}


_OF_ROWS = " of the training rows"


def _evaluated(keys: Keys, _: Reader) -> Mapping[str, Decoded]:
    if keys.get("test_datasets"):
        return {"evaluation.data": Decoded(External("test_datasets"), ("test_datasets",))}
    share = keys.get("val_set_size")
    args = tuple(key for key in keys if key == "val_set_size")
    return {"evaluation.data": Decoded(f"{share}{_OF_ROWS}" if share else None, args)}


def _propose_evaluated(wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    data = wanted.get("evaluation.data")
    if data is None:
        yield {"val_set_size": 0.0}
    elif str(data).endswith(_OF_ROWS):
        yield {"val_set_size": float(str(data).removesuffix(_OF_ROWS))}
    else:
        raise CannotSay("rows of their own for evaluation are not yet written; add them under test_datasets")


_FRESH = "fresh for this run"


def _encode_prepared(value: Any, view: View) -> Value:
    if value != _FRESH:
        return str(value)
    return f"{str(view.get('saving.output_dir')).rstrip('/')}/prepared"


_PREPARED = Codec(
    lambda value, view: (
        _FRESH if str(value).startswith(str(view.get("saving.output_dir")).rstrip("/") + "/") else value
    ),
    _encode_prepared,
)

_TRACKERS = {"use_wandb": "wandb", "use_mlflow": "mlflow", "use_comet": "comet", "use_tensorboard": "tensorboard",
             "use_trackio": "trackio"}  # fmt: skip


def _backends(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    """`use_wandb` follows from wandb_project (utils/wandb_.py), and so do the other trackers from theirs."""
    found = {name for key, name in _TRACKERS.items() if keys.get(key)}
    args = [key for key in _TRACKERS if keys.get(key)]
    for key, name in (("wandb_project", "wandb"), ("mlflow_tracking_uri", "mlflow"), ("comet_project_name", "comet")):
        flag = next(flag for flag, tracker in _TRACKERS.items() if tracker == name)
        if reader.present(key) and flag not in keys:
            found.add(name)
            args.append(key)
    return {"logging.backends": Decoded(tuple(sorted(found)), tuple(args))}


def _propose_backends(wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    names_ = wanted.get("logging.backends") or ()
    flags = {key: True for key, name in _TRACKERS.items() if name in names_}
    if flags:
        yield flags


def _tracker_is(name: str) -> Condition:
    def holds(view: View) -> bool:
        used = view.get("logging.backends")
        return isinstance(used, tuple) and name in used

    return Condition(f"{name} is used", holds, ("logging.backends",))


# --- parallelism and launch -------------------------------------------------------------------------------------


def _strategy(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    fsdp = [key for key in keys if key.startswith("fsdp_config")]
    if fsdp or reader.present("fsdp_config"):
        used = tuple(key for key in keys if key.startswith("fsdp"))
        policy = keys.get("fsdp_config.auto_wrap_policy", "TRANSFORMER_BASED_WRAP")
        wrapping = "transformer layers" if policy == "TRANSFORMER_BASED_WRAP" else "by size"
        return {
            "parallel.strategy": Decoded("fsdp2", used or ("fsdp_config",)),
            "parallel.wrapping": Decoded(wrapping, tuple(k for k in fsdp if k.endswith("auto_wrap_policy"))),
        }
    if "deepspeed" in keys:
        return {
            "parallel.strategy": Decoded("deepspeed", ("deepspeed",)),
            "parallel.wrapping": Decoded("transformer layers"),
        }
    world = launched(reader)
    alone = "single or ddp, as launched" if world is None else "single" if world == 1 else "ddp"
    return {"parallel.strategy": Decoded(alone), "parallel.wrapping": Decoded("transformer layers")}


def _propose_strategy(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    """FSDP1 is not written: where the version has it no more, FSDP2 shards the same."""
    if wanted.get("parallel.strategy") == "fsdp1" and reader.get("parallel.strategy") == "fsdp2":
        yield {"fsdp_version": 2}
    elif wanted.get("parallel.strategy") in ("fsdp1", "fsdp2"):
        yield {"fsdp_version": 2, "fsdp_config.auto_wrap_policy": "TRANSFORMER_BASED_WRAP"}


_COMMAND = re.compile(r"axolotl[ .](?:cli\.)?train\b")
_PROCESSES = re.compile(r"--num[-_]processes[= ]+(\w+)")
_EACH = re.compile(r"--nproc[-_]per[-_]node[= ]+(\w+)")
_NODES = re.compile(r"--(?:nnodes|num[-_]machines)[= ]+(\S+)")
_PYTHON = re.compile(r"--launcher[= ]python\b")


def launched(reader: Reader) -> int | None:
    """The number of processes: told, else from a launch command in the file's header; None where nothing tells."""
    if reader.context.world_size is not None:
        return reader.context.world_size
    command = _command(reader)
    if _PYTHON.search(command):
        return 1
    if (total := _PROCESSES.search(command)) is not None:
        return int(total[1]) if total[1].isdigit() else None
    each, nodes = _EACH.search(command), _NODES.search(command)
    count = "1" if nodes is None else nodes[1]
    return int(each[1]) * int(count) if each and each[1].isdigit() and count.isdigit() else None


def _command(reader: Reader) -> str:
    """The first launch command in the file's header."""
    return next((line for line in reader.document.header if _COMMAND.search(line)), "")


def _nodes(reader: Reader) -> Mapping[str, Decoded]:
    if reader.context.nodes is not None:
        return {"launch.nodes": Decoded(reader.context.nodes)}
    found = _NODES.search(_command(reader))
    return {"launch.nodes": Decoded(1 if found is None else int(found[1]) if found[1].isdigit() else NODES)}


def _world(reader: Reader) -> Mapping[str, Decoded]:
    return {"parallel.world_size": Decoded(launched(reader) or WORLD_SIZE)}


def _base(reader: Reader) -> str:
    return str(reader.get("model.base"))


def _architecture(reader: Reader) -> Mapping[str, Decoded]:
    return {"model.architecture": Decoded(External(f"config.json of {_base(reader)}"), ("base_model",))}


def _span(reader: Reader) -> Mapping[str, Decoded]:
    why = "sliding_window there; overrides_of_model_config: {sliding_window: N} with N from sequence_len on undoes it"
    return {"model.attention_span": Decoded(External(f"config.json of {_base(reader)}"), ("base_model",), why)}


_CHUNKED = ("chunked_cross_entropy",)
_MORE_COUNTED = ", and the first of each row"


def _normalisation(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    """With monkeypatch/loss/chunked.py in the loss's place, transformers' trainer counts labels before the shift."""
    chunked = bool(keys.get("chunked_cross_entropy"))
    found = {"memory.chunked_loss": Decoded(chunked, tuple(keys))}
    method = reader.get("method.name")
    if method not in SUPERVISED:
        other = methods.NORMALISED.get(str(method), "pairs of the step")
        return {**found, "gradient.loss_normalisation": Decoded(other)}
    alone = reader.get("parallel.strategy") == "single"
    text = "tokens of the step" if alone else "tokens of the step, each device by itself"
    if chunked and _trains_bos(reader):
        text += _MORE_COUNTED
    # core/builders/base.py sets average_tokens_across_devices to False
    return {**found, "gradient.loss_normalisation": Decoded(text)}


def _counted(reader: Reader) -> Mapping[str, Decoded]:
    return _normalisation({"chunked_cross_entropy": bool(reader.get("memory.chunked_loss"))}, reader)


def _propose_chunked(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    """Not where memory would be saved at the cost of other figures in the log."""
    if not wanted.get("memory.chunked_loss"):
        yield {}
    elif _trains_bos(reader) and not str(wanted.get("gradient.loss_normalisation")).endswith(_MORE_COUNTED):
        raise CannotSay(
            "chunked_cross_entropy: true is left out: it counts the first token of each row besides, so that logged loss "
            "and gradient norm would be smaller than the source's (by 0.3 % in rows of 350 tokens); add it if memory for "
            "the logits runs short"
        )
    else:
        yield {"chunked_cross_entropy": True}


def _trains_bos(reader: Reader) -> bool:
    """Whether BOS has a label: raw text, and prompts that are trained (prompt_tokenizers.py)."""
    listed = reader.value("datasets")
    kinds = [entry.get("type") for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    prompts = bool(reader.or_default("train_on_inputs"))
    forms = reader.value(companion.ROWS_KEY)
    if any(map(companion.is_rows_type, kinds)) and isinstance(forms, list):
        if any(isinstance(form, dict) and form.get("text") for form in forms):
            return True
        kinds = [kind for kind in kinds if not companion.is_rows_type(kind)]
    return any(kind == "completion" or (prompts and kind not in ("chat_template", "input_output")) for kind in kinds)


def _decay_scope(reader: Reader) -> Mapping[str, Decoded]:
    adapted = reader.get("adapter.method") != "none"
    return {"optimizer.weight_decay_scope": Decoded("all" if adapted else "no norms and biases")}


def _saved_weights(reader: Reader) -> Mapping[str, Decoded]:
    return {"saving.weights": Decoded("adapter" if reader.get("adapter.method") != "none" else "full")}


def _packing_algorithm(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    in_order = reader.or_default("sample_packing_sequentially") and not reader.get("data.shuffle")
    text = "greedy in order" if in_order else "first fit"
    return {"sequence.packing_algorithm": Decoded(text, tuple(keys))}


def _propose_packing_algorithm(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    if wanted.get("sequence.packing_algorithm") == "greedy in order" and not reader.get("data.shuffle"):
        yield {"sample_packing_sequentially": True}


_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel")


def _kernels(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    """schemas/validation.py, lora_kernels_auto_enable: all on unless one is named or foreign model code is run."""
    if keys:
        return {"memory.lora_kernels": Decoded(any(keys.values()), tuple(keys))}
    return {"memory.lora_kernels": Decoded(not reader.get("model.trust_remote_code"))}


def _kernels_named(keys: Keys, _: Reader) -> Mapping[str, Decoded]:
    """Before 0.9.1 none comes on by itself."""
    return {"memory.lora_kernels": Decoded(any(keys.values()), tuple(keys))}


_CHECKPOINTING_OF_FSDP = ("fsdp_config.activation_checkpointing", "fsdp_config.fsdp_activation_checkpointing")
_CHECKPOINTING = names({True: True, False: False, "offload": True, "offload_disk": True, "unsloth": True})


def _checkpointing(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    """Either FSDP's key or the trainer's own switches it on (monkeypatch/accelerate/fsdp2.py, fsdp2_apply_ac)."""
    counting = [key for key in keys if key not in _CHECKPOINTING_OF_FSDP or _FSDP.holds(reader)]
    said = [_CHECKPOINTING.decode(keys[key], reader) for key in counting]
    if "gradient_checkpointing" not in keys:
        said.append(reader.get("method.name") not in SUPERVISED)  # TRL's own default is true
    value = next((one for one in said if one is not False), False)
    return {"memory.activation_checkpointing": Decoded(value, tuple(counting))}


def _propose_checkpointing(wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    if isinstance(value := wanted["memory.activation_checkpointing"], bool):
        yield {"gradient_checkpointing": value}


def _propose_kernels(wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    yield dict.fromkeys(_KERNELS, bool(wanted["memory.lora_kernels"]))


def _encode_seed(value: Any, _: View) -> Value:
    if not isinstance(value, int):
        raise CannotSay("left out: weights are then drawn anew in each run")
    return value


_SEED = Codec(lambda value, _: value, _encode_seed)


def _special_tokens(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    given = keys.get("special_tokens", {})
    given = {**given} if isinstance(given, dict) else {}
    given |= {key.split(".")[1]: value for key, value in keys.items() if key.startswith("special_tokens.")}
    tokens: dict[str, Value] = {key: value for key, value in given.items() if value is not None}
    eos = tokens.pop("eos_token", "own")
    others = tuple(f"special_tokens.{key}" for key in tokens)
    if keys.get("tokens"):
        tokens["added"] = keys["tokens"]
    return {
        "tokenizer.eos_token": Decoded(eos, ("special_tokens.eos_token",)),
        "tokenizer.special_tokens": Decoded(tokens or "own", (*others, "tokens")),
    }


def _propose_special_tokens(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    tokens = wanted.get("tokenizer.special_tokens")
    if not isinstance(tokens, Mapping):
        return
    keys = {f"special_tokens.{name}": value for name, value in tokens.items() if name != "added"}
    if wanted.get("tokenizer.eos_token") != "own":
        keys["special_tokens.eos_token"] = wanted["tokenizer.eos_token"]
    if tokens.get("added"):
        keys["tokens"] = tokens["added"]
    yield keys


def _saved_template(reader: Reader) -> Mapping[str, Decoded]:
    """loaders/tokenizer.py; `tokenizer_default` leaves the tokenizer's own."""
    keys = ("chat_template", "chat_template_jinja")
    own = not reader.present("chat_template") or str(reader.value("chat_template")).startswith("tokenizer_default")
    return {"tokenizer.chat_template": Decoded("own" if own else "the training's", keys if not own else ())}


_CLIP = Codec(lambda value, _: value or None, lambda value, _: 0.0 if value is None else value)


def _encode_clip_set(value: Any, _: View) -> Value:
    if value is None:
        raise CannotSay("before 0.10.0 a norm of 0 counts as not set: gradients are always clipped")
    found: Value = value
    return found


_CLIP_SET = Codec(lambda value, _: value or 1.0, _encode_clip_set)


_OVERLONG = {"truncate": "truncate", "drop": "drop", "raise": "error"}


def _overlong(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    """Rows of type completion are cut into further rows before anything else (prompt_strategies/completion.py)."""
    listed = reader.value("datasets")
    kinds = [entry.get("type") for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    if "completion" in kinds:
        return {"sequence.overlong": Decoded("split into further rows", tuple(keys))}
    method = str(reader.get("method.name"))
    if method in methods.OVERLONG:  # whatever excess_length_strategy says
        return {"sequence.overlong": Decoded(methods.OVERLONG[method])}
    if method not in SUPERVISED and keys.get("excess_length_strategy") == "truncate":
        # utils/data/rl.py, _truncate_long_sequences_rl
        rows = "rows" if method == "kto" else "pairs"
        return {"sequence.overlong": Decoded(f"truncate, {rows} whose prompt alone fills it dropped", tuple(keys))}
    return {"sequence.overlong": Decoded(_OVERLONG.get(str(keys.get("excess_length_strategy", "drop"))), tuple(keys))}


def _propose_overlong(wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    for spelled, meaning in _OVERLONG.items():
        if str(wanted.get("sequence.overlong")).split(" ")[0] == meaning:
            yield {"excess_length_strategy": spelled}


_OFFLOAD: Mapping[Any, object] = {"hidden_states": "cpu", True: "cpu", "legacy": "cpu", "disk": "disk", False: "none"}


_OFFLOADING = names(_OFFLOAD)
_OFFLOADED_BY = {
    "offload": "cpu",
    "offload_disk": "disk",
}  # schemas/validation.py, check_gradient_checkpointing_w_offload


def _offloading(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    other = keys.get("gradient_checkpointing")
    if isinstance(other, str) and other in _OFFLOADED_BY:
        return {"memory.activation_offloading": Decoded(_OFFLOADED_BY[other], ("gradient_checkpointing",))}
    if "activation_offloading" not in keys:
        return {"memory.activation_offloading": Decoded("none")}
    said = _OFFLOADING.decode(keys["activation_offloading"], reader)
    return {"memory.activation_offloading": Decoded(said, ("activation_offloading",))}


def _propose_offloading(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    encoded = _OFFLOADING.encode(wanted["memory.activation_offloading"], reader)
    yield {"activation_offloading": plain(encoded)}


def _tracking_uri(options: Any) -> Value:
    if set(options) != {"tracking_uri"}:
        raise CannotSay("only a tracking URI can be said")
    found: Value = options["tracking_uri"]
    return found


_SHARDED = names({"FULL_STATE_DICT": False, "SHARDED_STATE_DICT": True})


def _with_prefix(*entries: Entry) -> Iterator[Entry]:
    """Options of fsdp_config may carry the prefix fsdp_ (schemas/validation.py, check_fsdp_config_kwargs_prefix)."""
    for entry in entries:
        yield entry
        if isinstance(entry, Private | Unread):
            yield replace(entry, key=entry.key.replace("fsdp_config.", "fsdp_config.fsdp_"))


def _encode_loading(value: Any, view: View) -> Value:
    """schemas/validation.py, STAGED_NF4_CONSTRAINTS: what 4-bit weights cannot be combined with."""
    sizes = ("parallel.tensor", "parallel.context", "parallel.replicate")
    several = any(view.get(size) not in (1, None) for size in sizes)
    if view.get("parallel.tensor") not in (1, None):
        raise CannotSay("with tensor parallelism each device loads its own part, and Axolotl switches the key off")
    beside = several or view.get("adapter.use_dora") or view.get("adapter.modules_to_save")
    if (
        value == "by parts"
        and view.get("model.quantization") == "nf4"
        and beside
        and older.at_least(view.version, "0.20.0")
    ):
        raise CannotSay(
            "Axolotl loads 4-bit weights by parts neither with DoRA or further trained modules nor with a "
            "second kind of parallelism"
        )
    return bool(value == "by parts")


_LOADING = Codec(lambda value, _: "by parts" if value else "whole on each device", _encode_loading)

_FSDP_OTHERS = (
    Field("fsdp_config.fsdp_offload_params", "parallel.cpu_offload", absent=ABSENT, when=_FSDP, write=False),
    Field("fsdp_config.fsdp_reshard_after_forward", "parallel.reshard_after_forward", absent=ABSENT, when=_FSDP, write=False),
    Field("fsdp_config.fsdp_state_dict_type", "saving.sharded", _SHARDED, absent=ABSENT, when=_FSDP, write=False),
    Field("fsdp_config.fsdp_cpu_ram_efficient_loading", "parallel.loading", _LOADING, absent=ABSENT, when=_FSDP,
          write=False),
    *_with_prefix(
        Private("fsdp_config.transformer_layer_cls_to_wrap", "which layers are sharded as a unit", off=(None,)),
        Private("fsdp_config.min_num_params", "the size from which a module is sharded as a unit", off=(None,)),
        Private("fsdp_config.mixed_precision_policy", "the precision of sharded computation", off=(None,)),
        Private("fsdp_config.final_state_dict_type", "whether the final weights are gathered", off=(None,)),
        Unread("fsdp_config.cpu_offload_pin_memory", "how offloaded weights are kept; no effect on training"),
    ),
    Unread("fsdp_config.fsdp_version", "the same as fsdp_version"),
    Unread("fsdp_config.version", "the same as fsdp_version"),
    Unread("fsdp_config.fsdp_auto_wrap_policy", "layers are sharded as units by default"),
    Unread("fsdp_config", "empty: no sharding"),
)  # fmt: skip


_BATCHES = exact.batches(_order)
_COUNTS = exact.counts(_trains_bos)

ENTRIES: tuple[Entry | Between, ...] = (
    Heading("Model"),
    Field("base_model", "model.base"),
    Field("revision_of_model", "model.revision", absent=None, quiet=True),
    Field("trust_remote_code", "model.trust_remote_code", absent=False, quiet=True),
    Field("tokenizer_config", "tokenizer.source", absent="model", quiet=True),
    Group(("special_tokens", "tokens"), ("tokenizer.eos_token", "tokenizer.special_tokens"), _special_tokens,
          _propose_special_tokens),
    Derived(("tokenizer.chat_template",), _saved_template, "a global chat_template is put into the tokenizer"),
    Field("attn_implementation", "model.attention", absent="auto"),
    Field("overrides_of_model_config", "model.config_overrides", absent={}, quiet=True),
    Field("unfrozen_parameters", "model.trainable", _TRAINABLE, absent="all", quiet=True),
    Derived(("model.architecture",), _architecture,
            "the architecture is what base_model's config.json says"),
    Derived(("model.attention_span",), _span, "the window is what base_model's config.json says"),
    Always("model.weights", "all", "transformers loads every weight file of the checkpoint"),
    Heading("Adapter"),
    Group(("adapter", "load_in_4bit", "load_in_8bit", "nf4_backend"),
          ("adapter.method", "model.quantization", "model.quantizer"), _adapter, _propose_adapter),
    Field("lora_r", "adapter.rank", when=_LORA, absent=ABSENT),
    Field("lora_alpha", "adapter.alpha", Codec(lambda value, _: value, _encode_alpha), when=_LORA, absent=ABSENT),
    Field("lora_dropout", "adapter.dropout", when=both(_LORA, _WITH_DROPOUT)),
    Always("adapter.dropout", 0.0, f"{_DROPOUT_OFF} (disable_dropout of DPOConfig and its like)",
           when=_WITHOUT_DROPOUT),
    Unread("lora_dropout", f"{_DROPOUT_OFF} (disable_dropout of DPOConfig and its like)", when=_WITHOUT_DROPOUT),
    Group(("lora_target_modules", "lora_target_linear"), ("adapter.target_modules",), _targets, _propose_targets,
          when=_LORA),
    Field("peft_layers_to_transform", "adapter.target_layers", absent="all", when=_LORA, quiet=True),
    Field("peft_use_dora", "adapter.use_dora", absent=False, when=_LORA, quiet=True),
    Field("peft_use_rslora", "adapter.use_rslora", absent=False, when=_LORA, quiet=True),
    Field("lora_modules_to_save", "adapter.modules_to_save",
          Codec(lambda value, _: tuple(value), lambda value, _: list(value)), absent=(), when=_LORA, quiet=True),
    Field("peft_init_lora_weights", "adapter.init", names({True: "kaiming"}), absent="kaiming", when=_LORA, quiet=True),
    Field("peft_autocast_adapter_dtype", "adapter.dtype", _ADAPTER_DTYPE, absent="fp32",
          when=both(_LORA, _ADAPTED_HERE), quiet=True),
    Derived(("adapter.dtype",), methods.adapter_dtype, "TRL's trainer makes the adapter (patch_manager.py, "
            "rl_trainer_builds_adapter)", when=_ADAPTED_BY_TRL),
    Field("lora_model_dir", "adapter.start", absent=None, when=both(_LORA, _ADAPTED_HERE), quiet=True),
    Missing("adapter.start", None, "the adapter is made anew (loaders/model.py, _build_adapters)",
            when=_ADAPTED_BY_TRL),
    *(
        Unread(key, "TRL's trainer makes the adapter and does not look at it", when=_ADAPTED_BY_TRL)
        for key in ("peft_autocast_adapter_dtype", "lora_model_dir")
    ),
    Always("adapter.bias", "none", "loaders/adapter.py passes bias=none to PEFT"),
    Heading("Data"),
    sources.ENTRY,
    Field("dataset_prepared_path", "data.prepared_path", _PREPARED, absent="last_run_prepared"),
    Field("curriculum_sampling", "data.shuffle", names({False: True, True: False}), absent=True, quiet=True,
          when=_SFT),
    Always("data.shuffle", False, "the KTO trainer goes through the rows in their order, as the KL term needs it",
           when=_SINGLE),
    Always("data.shuffle", True, "TRL's trainer has transformers' own sampler: random order", when=_OWN_SAMPLER),
    Private("curriculum_sampling", "a single source is not shuffled before; the trainer itself does not look at it",
            when=is_not("method.name", *SUPERVISED)),
    Between(companion.SINCE, None, (_BATCHES,)),
    Derived(("data.order",), _order, "core/builders/causal.py: rows are drawn by a sampler seeded with seed"),
    Group(("shuffle_merged_datasets",), ("data.order",), lambda _keys, reader: _order(reader), _propose_stored),
    Group(("seed", "shuffle_merged_datasets"), ("data.order",), lambda _keys, reader: _order(reader), _propose_order,
          exact_only=True),
    Field("streaming", "data.streaming", absent=False, quiet=True),
    Field("dataloader_num_workers", "data.workers", absent="auto", quiet=True),
    Always("data.collation", "pad right", "utils/collators/batching.py"),
    Heading("Sequence"),
    Field("sequence_len", "sequence.max_length"),
    Group(("excess_length_strategy",), ("sequence.overlong",), _overlong, _propose_overlong),
    Field("sample_packing", "sequence.packing", absent=False),
    Group(("sample_packing_sequentially",), ("sequence.packing_algorithm",), _packing_algorithm,
          _propose_packing_algorithm),
    Always("sequence.split_across_packs", False, "utils/samplers/multipack.py: rows stay whole"),
    Field("pad_to_sequence_len", "sequence.padding", names({False: "longest", True: "max_length"}),
          absent=lambda view: "max_length" if view.get("sequence.packing") else "longest", quiet=True),
    Heading("Batch and duration"),
    Field("micro_batch_size", "batch.micro_size"),
    Field("gradient_accumulation_steps", "batch.accumulation"),
    Derived(("batch.effective",), _effective, "micro batch size × accumulation × devices"),
    Unread("batch_size", "gradient_accumulation_steps always has a value, so this is never used "
                         "(utils/config/__init__.py, normalize_config)"),
    Field("num_epochs", "duration.epochs"),
    Field("max_steps", "duration.max_steps", absent=None, quiet=True),
    Field("dataloader_drop_last", "duration.partial_batch", names({True: "dropped", False: "kept"}), absent="kept",
          when=both(is_("sequence.packing", False), is_("method.name", *NOT_RL))),
    Always("duration.partial_batch", "kept", "core/builders/rl.py does not hand dataloader_drop_last on",
           when=both(is_("sequence.packing", False), is_not("method.name", *NOT_RL))),
    Always("duration.partial_batch", "dropped", "utils/samplers/multipack.py drops an incomplete batch of packs",
           when=is_("sequence.packing", True)),
    Derived(("duration.partial_step",), _partial_step, "transformers' trainer ends each epoch with a shorter step"),
    Missing("duration.epoch_steps", "all of the epoch", "max_steps ends the run, not an epoch"),
    Heading("Optimizer and schedule"),
    Group(("optimizer",), ("optimizer.name", "optimizer.fused"), _optimizer, _propose_optimizer),
    Field("learning_rate", "optimizer.learning_rate", NUMBER),
    Field("weight_decay", "optimizer.weight_decay"),
    Between(companion.SINCE, None, (exact.DECAY,)),
    Derived(("optimizer.weight_decay_scope",), _decay_scope,
            "transformers' trainer decays no norms and biases; adapters have none"),
    Field("adam_beta1", "optimizer.beta1", absent=0.9),
    Field("adam_beta2", "optimizer.beta2", absent=0.999),
    Field("adam_epsilon", "optimizer.epsilon", absent=1e-8),
    Field("optim_args", "optimizer.options", Codec(_decode_options, _encode_options), absent={}, quiet=True),
    Missing("optimizer.in_backward", False, "no optimizer step inside the backward pass"),
    Group(("lr_scheduler",), ("schedule.name",), _schedule, _propose_schedule),
    Between(companion.SINCE, None, (exact.WARMUP,)),
    Between("0.10.0", "0.13.1", (
        Group(("warmup_steps", "warmup_ratio"), ("schedule.warmup_steps",), _warmup_set, _propose_warmup),
    )),
    *(
        Between(since, until, (
            Group(("warmup_steps", "warmup_ratio"), ("schedule.warmup_steps",), _warmup, _propose_warmup),
        ))
        for since, until in ((None, "0.10.0"), ("0.13.1", None))
    ),
    Field("lr_scheduler_kwargs.num_cycles", "schedule.cycles", absent=0.5, quiet=True),
    Field("cosine_min_lr_ratio", "schedule.min_ratio", absent=0.0, quiet=True),
    Between(None, "0.10.0", (Field("max_grad_norm", "gradient.max_norm", _CLIP_SET, absent=1.0),)),
    Between("0.10.0", None, (Field("max_grad_norm", "gradient.max_norm", _CLIP, absent=1.0),)),
    Heading("Precision"),
    Between(companion.SINCE, None, (exact.BF16,)),
    Group(("bf16", "fp16", "bfloat16", "float16"), ("precision.weights", "precision.autocast"), _precision,
          _propose_precision),
    Between(None, "0.16.0", (Field("tf32", "precision.tf32", absent=False),)),
    Between("0.16.0", None, (Field("tf32", "precision.tf32", absent="auto"),)),
    Heading("Memory and speed"),
    Group(("gradient_checkpointing", *_CHECKPOINTING_OF_FSDP), ("memory.activation_checkpointing",), _checkpointing,
          _propose_checkpointing),
    Group(("activation_offloading", "gradient_checkpointing"), ("memory.activation_offloading",), _offloading,
          _propose_offloading),
    Field("torch_compile", "memory.compile", absent=False),
    Between("0.17.0", "0.20.0", (
        Field("chunked_cross_entropy", "memory.chunked_loss", absent=False, quiet=True),
        older.accumulated(_counted),
    )),
    Between(companion.SINCE, None, (_COUNTS,)),
    *(
        Between(since, until, (
            Group(_CHUNKED, ("memory.chunked_loss", "gradient.loss_normalisation"), _normalisation, _propose_chunked),
        ))
        for since, until in ((None, "0.17.0"), ("0.20.0", None))
    ),
    Between(None, "0.9.1", (
        Group(_KERNELS, ("memory.lora_kernels",), _kernels_named, _propose_kernels, when=_LORA),
    )),
    Between("0.9.1", None, (
        Group(_KERNELS, ("memory.lora_kernels",), _kernels, _propose_kernels, when=_LORA),
    )),
    Heading("Devices"),
    Between("0.20.0", None, (
        Group(("fsdp_version", "fsdp_config.auto_wrap_policy", "deepspeed"), ("parallel.strategy", "parallel.wrapping"),
              _strategy, _propose_strategy),
    )),
    *(
        Between(since, until, (
            Group(older.STRATEGY_KEYS, ("parallel.strategy", "parallel.wrapping"),
                  partial(older.strategy, launched=launched, alone=alone), _propose_strategy),
        ))
        for since, until, alone in ((None, "0.12.0", False), ("0.12.0", "0.20.0", True))
    ),
    *older.FSDP,
    Derived(deepspeed.SETTINGS, deepspeed.compute, "what the DeepSpeed config says",
            when=is_("parallel.strategy", "deepspeed"), keys=("deepspeed",)),
    Field("fsdp_config.offload_params", "parallel.cpu_offload", absent=False, when=_FSDP),
    Field("fsdp_config.reshard_after_forward", "parallel.reshard_after_forward", absent=True, when=_FSDP),
    Field("fsdp_config.cpu_ram_efficient_loading", "parallel.loading", _LOADING, absent="whole on each device",
          when=_FSDP, quiet=True),
    Field("fsdp_config.state_dict_type", "saving.sharded",
          _SHARDED, absent=True, when=_FSDP),
    *_FSDP_OTHERS,
    Private("dp_shard_size", "the size of the group that weights are sharded over", off=(None,)),
    Derived(("parallel.world_size",), _world, "the launch command decides it"),
    Field("tensor_parallel_size", "parallel.tensor", absent=1, quiet=True),
    Field("context_parallel_size", "parallel.context", absent=1, quiet=True),
    Field("dp_replicate_size", "parallel.replicate", absent=1, quiet=True),
    Always("launch.device", "cuda", "a GPU is used where there is one"),
    Derived(("launch.nodes",), _nodes, "the launch command decides it"),
    Heading("Evaluation"),
    Group(("val_set_size", "test_datasets"), ("evaluation.data",), _evaluated, _propose_evaluated),
    Between(None, "0.10.0", (
        Group(_EVAL_KEYS, ("evaluation.every",), partial(_evaluation, unsaid="epoch"), _propose_evaluation),
    )),
    Between("0.10.0", None, (Group(_EVAL_KEYS, ("evaluation.every",), _evaluation, _propose_evaluation),)),
    Field("eval_batch_size", "evaluation.batch_size", absent=lambda view: view.get("batch.micro_size"), quiet=True),
    Heading("Output"),
    Field("output_dir", "saving.output_dir"),
    Group(_SAVE_KEYS, ("saving.every",), _saving, _propose_saving),
    Field("save_total_limit", "saving.keep", Codec(_kept, _keep), absent=lambda view: _kept(None, view)),
    Derived(("saving.weights",), _saved_weights, "train.py saves the adapter alone where there is one"),
    Between("0.14.0", None, (Always("saving.safetensors", True, "transformers 5 writes nothing else"),)),
    Missing("saving.asynchronous", False),
    Field("resume_from_checkpoint", "saving.resume", absent=False, quiet=True),
    Field("auto_resume_from_checkpoints", "saving.resume", absent=ABSENT),
    Field("hub_model_id", "hub.push_to", absent=None, quiet=True),
    Heading("Logging"),
    Field("logging_steps", "logging.every", absent=_log_every),
    Group(tuple(_TRACKERS), ("logging.backends",), _backends, _propose_backends),
    Field("wandb_project", "logging.project", absent=ABSENT, when=_tracker_is("wandb")),
    Field("mlflow_experiment_name", "logging.project", absent=ABSENT, when=_tracker_is("mlflow")),
    Field("comet_project_name", "logging.project", absent=ABSENT, when=_tracker_is("comet")),
    Missing("logging.project", None, "no tracking service is used"),
    Field("wandb_name", "logging.run_name", absent=ABSENT, when=_tracker_is("wandb")),
    Field("mlflow_run_name", "logging.run_name", absent=ABSENT, when=_tracker_is("mlflow")),
    Missing("logging.run_name", None, "no tracking service is used"),
    Field("wandb_entity", "logging.entity", absent=ABSENT, when=_tracker_is("wandb")),
    Field("comet_workspace", "logging.entity", absent=ABSENT, when=_tracker_is("comet")),
    Missing("logging.entity", None, "no tracking service is used"),
    Missing("logging.directory", None, "the console only"),
    Field("mlflow_tracking_uri", "logging.options",
          Codec(lambda value, _: {"tracking_uri": value}, lambda value, _: _tracking_uri(value)), absent=ABSENT,
          when=_tracker_is("mlflow")),
    Missing("logging.options", {}, "no further options"),
    Heading("Seed"),
    Field("seed", "seed.value", _SEED, absent="random"),
    Field("full_determinism", "seed.deterministic",
          Codec(lambda value, _: "error" if value else "no", lambda value, _: value != "no"), absent="no", quiet=True),
    Heading("Method"),
    Group(("rl", *METHOD_KEYS, *methods.QAT_KEYS), ("method.name",), methods.decode, methods.propose),
    Field("trl.beta", "method.beta", absent=ABSENT, write=False),
    Field("rl_beta", "method.beta", absent=lambda view: 0.0 if view.get("method.name") in POLICY else 0.1),
    Field("orpo_alpha", "method.beta", absent=ABSENT, write=False),
    Field("kto_desirable_weight", "method.desirable_weight", methods.OR_ONE, absent=1.0, when=_SINGLE),
    Field("kto_undesirable_weight", "method.undesirable_weight", methods.OR_ONE, absent=1.0, when=_SINGLE),
    Field("simpo_gamma", "method.margin", absent=None, when=_SIMPO),
    Field("cpo_alpha", "method.likelihood", absent=1.0, when=_SIMPO),
    Field("center_rewards_coefficient", "method.reward_centering", absent=None, when=is_("method.name", "reward")),
    Field("trl.reward_funcs", "method.rewards", methods.LISTED, absent=(), when=_SAMPLED),
    Field("trl.reward_weights", "method.reward_weights", methods.LISTED, absent=None, when=_SAMPLED, quiet=True),
    Field("trl.num_generations", "sampling.group_size", absent=8, when=_SAMPLED),
    Field("trl.max_completion_length", "sampling.max_tokens",
          absent=lambda view: None if view.present("trl") else 512, when=_SAMPLED),
    Field("trl.temperature", "sampling.temperature", absent=1.0, when=_SAMPLED),
    Field("trl.top_p", "sampling.top_p", absent=1.0, when=_SAMPLED),
    Field("trl.top_k", "sampling.top_k", Codec(lambda value, _: value or None, lambda value, _: value or 0),
          absent=None, when=_SAMPLED),
    Field("trl.num_iterations", "sampling.updates", absent=1, when=_SAMPLED),
    Field("trl.epsilon", "method.clip", absent=0.2, when=_SAMPLED),
    Field("trl.loss_type", "method.loss", absent="dapo", when=_SAMPLED),
    Group((*methods.LOSS_KEYS, "micro_batch_size", "gradient_accumulation_steps"), methods.LOSS_SETTINGS, methods.loss,
          methods.propose_smoothing, when=_PAIRS, exact_only=True),
    Group(methods.LOSS_KEYS, methods.LOSS_SETTINGS, methods.loss, methods.propose_loss, when=_PAIRS),
    Derived(("method.loss",), methods.single_loss, "the trainer's compute_loss",
            when=is_("method.name", *methods.LOSSES)),
    Always("method.loss", "cross entropy", "transformers' ForCausalLMLoss", when=_SFT),
    Missing("method.loss", "that of the method", "a trainer of its own"),
    Always("method.reference", "the starting weights",
           "the base model without the adapter, or loaded a second time (train.py, setup_reference_model)"),
    Group(methods.QAT_KEYS, methods.QAT_SETTINGS, methods.rounding, methods.propose_rounding, when=_QAT),
    Field("qat.group_size", "qat.group_size", when=_QAT),
    Always("qat.layers", "all linear layers", "utils/quantization.py, prepare_model_for_qat", when=_QAT),
    Field("qat.fake_quant_after_n_steps", "qat.after_steps", methods.AFTER, absent=None, when=_QAT),
    Private("qat.quantize_embedding", "the embedding is rounded too"),
    *older.REFUSED,
    *OTHER,
    *PLUGIN_KEYS,
)  # fmt: skip


def _default_of(version: str) -> Any:
    pinned = schema.load("axolotl", version)

    def default(key: str, _: Reader) -> object:
        section, name = "config", key
        if key.startswith("fsdp_config."):
            section, name = "FSDPConfig", key.split(".", 1)[1]
        elif key.startswith("qat."):
            section, name = "QATConfig", key.split(".", 1)[1]
        elif key.startswith("trl."):
            section, name = "TRLConfig", key.split(".", 1)[1]
        facts = pinned.keys(section).get(name, {})
        return facts.get("default", ABSENT)

    return default


def _top(entry: Entry) -> Iterator[str]:
    return (key.split(".", 1)[0].split("[", 1)[0] for key in getattr(entry, "keys", ()))


@cache
def _entries(version: str) -> tuple[Entry, ...]:
    return proven(in_force(ENTRIES, version, schema.versions("axolotl")), proofs.MOVED, proofs.SEEN)


@cache
def _keys_of(version: str) -> frozenset[str]:
    pinned = schema.load("axolotl", version)
    return frozenset(pinned.keys("config")).union(*(pinned.keys(name) for name in pinned.names("plugin ")))


@cache
def _elsewhere() -> dict[str, list[Any]]:
    """The keys of all versions, each with the ranges of versions that have it."""
    sections = schema.table("axolotl")["sections"]
    tops = [keys for name, keys in sections.items() if name == "config" or name.startswith("plugin ")]
    return {key: ranges for keys in tops for key, ranges in keys.items() if key}


def _unknown(version: str) -> Any:
    """A key that a row names is known, unless it is one of other versions' schemas only."""
    known = _keys_of(version)

    def claim(path: Path, _: Reader) -> Claim | None:
        if path[0] in known:
            return None
        key = str(path[0])
        elsewhere = _elsewhere().get(key)
        if elsewhere is None:
            named = key in _named(version)
            return None if named else Claim(ClaimKind.UNKNOWN, "Axolotl does not know this key and ignores it")
        since, until = elsewhere[0][0], elsewhere[-1][1]
        has = f"{since} on" if until is None else f"{since} until before {until}"
        return Claim(
            ClaimKind.UNKNOWN, f"Axolotl {version} does not know this key and ignores it: it is one from {has}"
        )

    return claim


@cache
def _named(version: str) -> frozenset[str]:
    """The top-level keys that rows name."""
    return frozenset(key for entry in _entries(version) for key in _top(entry))


def _refuse(reader: Reader) -> str | None:
    return methods.refused(reader) or older.refused(reader)


@cache
def table(version: str) -> Table:
    """Axolotl's table at a version."""
    return Table("axolotl", version, _entries(version), _default_of(version), _unknown(version), null_is_absent=True,
                 notes=older.notes, refuse=_refuse, objects=older.objects)  # fmt: skip


__all__ = ["ENTRIES", "launched", "reading", "table"]
