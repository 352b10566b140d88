"""Where torchtune's recipes refuse a config, as data: rows for what no other rule tells, and who tells the rest.

Which `raise` and `assert` statements there are: schemas/torchtune.checks.json, made by tools/torchtune_checks.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from ftmigrate import schema
from ftmigrate.document.model import Unresolved
from ftmigrate.frameworks.checks import (
    MAPPINGS,
    Check,
    Found,
    Undecided,
    View,
    below,
    find,
    gate,
    given,
    is_,
    is_not,
    names,
    numbers,
    off,
    on,
    put,
    test,
)

RECIPE = "the recipe"
"""A key that no config has: the recipe that reads it."""
PROFILER = "torchtune.training.setup_torch_profiler"
TORCHTUNE = "FullModelTorchTuneCheckpointer"
SINGLE_FILE = (TORCHTUNE, "FullModelMetaCheckpointer")
CHECKPOINTERS = ("checkpointer", "ref_checkpointer", "teacher_checkpointer", "ref_policy_checkpointer",
                 "value_checkpointer", "reward_checkpointer")  # fmt: skip
PPO = is_(RECIPE, "ppo_full_finetune_single_device")
QAT = is_(RECIPE, "qat_distributed", "qat_lora_finetune_distributed")
READING = is_(RECIPE, "generate", "eleuther_eval")
DISTILLING = is_(RECIPE, "knowledge_distillation_single_device", "knowledge_distillation_distributed")


def component(view: View, key: str) -> str:
    """The last name of a component's path."""
    return str(view.get(f"{key}._component_") or "").rpartition(".")[2]


def _several_files(view: View, key: str) -> bool:
    files = view.get(f"{key}.checkpoint_files")
    return component(view, key) in SINGLE_FILE and isinstance(files, list) and len(files) > 1


def _below_itself(view: View, key: str) -> bool:
    source, target = view.get(f"{key}.checkpoint_dir"), view.get(f"{key}.output_dir")
    if not isinstance(source, str) or not isinstance(target, str) or not component(view, key).startswith("FullModel"):
        return False
    inner, outer = _parts(target), _parts(source)
    return ".." not in (*inner, *outer) and inner[: len(outer)] == outer


def _parts(path: str) -> list[str]:
    """The root, where a path begins there, and the names in it."""
    root = ["/"] if path.startswith("/") else []
    return root + [name for name in path.split("/") if name not in ("", ".")]


def _placeholders(view: View, key: str) -> bool:
    name = view.get(f"{key}.checkpoint_files.filename_format")
    if not isinstance(name, str):
        return False
    try:
        from string import Formatter

        return sum(field is not None for _, field, _, _ in Formatter().parse(name)) != 2
    except ValueError:
        return True


def _not_text(view: View, key: str) -> bool:
    number = view.get(f"{key}.checkpoint_files.max_filename")
    return number is not None and not isinstance(number, str)


def _half_named(view: View, key: str) -> bool:
    files = view.get(f"{key}.checkpoint_files")
    return isinstance(files, Mapping) and not {"filename_format", "max_filename"} <= set(files)


def _chunks(view: View, key: str) -> Any:
    value = view.get(f"{key}.num_output_chunks")
    return 8 if value is None else value


def _half_packed(view: View) -> bool:
    listed = view.get("dataset")
    if not isinstance(listed, list):
        return False
    packed = {bool(one.get("packed")) for one in listed if isinstance(one, Mapping)}
    return len(packed) == 2


def _untransformed(view: View) -> bool:
    listed = view.get("datasets")
    return isinstance(listed, list) and any(isinstance(one, Mapping) and "transform" not in one for one in listed)


def _checkpointer(key: str) -> Iterator[Check]:
    yield Check(
        "TT210",
        "_checkpointer.__init__ ValueError (checkpoint_files)",
        test(lambda view: _several_files(view, key), f"{key}.checkpoint_files"),
        f"`{key}` reads a single file, and several are named. Use the FullModelHFCheckpointer, or name one file.",
    )
    yield Check(
        "TT210",
        "_utils.check_outdir_not_in_ckptdir ValueError (ckpt_dir, out_dir)",
        test(lambda view: _below_itself(view, key), f"{key}.output_dir", f"{key}.checkpoint_dir"),
        f"`{key}.output_dir` is the directory that the weights are read from, or lies in it: what is copied from there "
        "would be copied again. Write to a directory beside it.",
    )
    yield Check(
        "TT210",
        "_utils._validate_filename_format ValueError ()",
        test(lambda view: _placeholders(view, key), f"{key}.checkpoint_files.filename_format"),
        f"`{key}.checkpoint_files.filename_format` needs two places for numbers, as in "
        "model-{}-of-{}.safetensors: the file's and the last file's.",
    )
    yield Check(
        "TT210",
        "_utils.from_dict ValueError (d)",
        test(lambda view: _half_named(view, key) or _not_text(view, key), f"{key}.checkpoint_files"),
        f'`{key}.checkpoint_files` needs filename_format and max_filename, the latter as text: "00004".',
    )


CHECKS: tuple[Check, ...] = (
    Check(
        "TT201",
        "__init__ ValueError (compile)",
        QAT & on("compile"),
        "Quantization-aware training cannot be compiled: the recipe stops. Set `compile: False`.",
        put("compile", False),
        keys=("compile",),
    ),
    Check(
        "TT202",
        "_setup_model ValueError (quantizer)",
        is_(RECIPE, "qat_distributed")
        & given("quantizer")
        & test(lambda view: bool(component(view, "quantizer")) and "QAT" not in component(view, "quantizer")),
        "{quantizer._component_} quantizes a finished model. Training needs a quantizer with QAT in its name, such as "
        "torchtune.training.quantization.Int8DynActInt4WeightQATQuantizer.",
        keys=("quantizer._component_",),
    ),
    Check(
        "TT202",
        "_convert_model_to_qat ValueError (quantizer)",
        is_(RECIPE, "qat_lora_finetune_distributed")
        & given("quantizer")
        & test(lambda view: bool(component(view, "quantizer")) and "QAT" not in component(view, "quantizer")),
        "{quantizer._component_} quantizes a finished model. Training needs a quantizer with QAT in its name, such as "
        "torchtune.training.quantization.Int8DynActInt4WeightQATQuantizer.",
        keys=("quantizer._component_",),
    ),
    Check(
        "TT202",
        "setup ValueError (checkpointer, quantizer)",
        READING
        & on("quantizer")
        & test(lambda view: bool(component(view, "quantizer")))
        & test(lambda view: component(view, "checkpointer") not in ("", TORCHTUNE)),
        "A quantized model is read by the FullModelTorchTuneCheckpointer, not by {checkpointer._component_}. Quantize "
        "it with `tune run quantize` first.",
        keys=("checkpointer._component_", "quantizer"),
    ),
    Check(
        "TT202",
        "setup ValueError (quantizer)",
        READING
        & test(lambda view: "QAT" in component(view, "quantizer"))
        & test(lambda view: component(view, "checkpointer") == TORCHTUNE),
        "{quantizer._component_} belongs to training. A finished model is read with the quantizer of that name without "
        "QAT.",
        keys=("quantizer._component_",),
    ),
    Check(
        "TT203",
        "_convert_model_to_qat ValueError ()",
        is_(RECIPE, "qat_lora_finetune_distributed") & on("quantizer") & is_("model.use_dora", True),
        "Quantization-aware training does not work with DoRA. Set `use_dora: False`.",
        put("model.use_dora", False),
        keys=("model.use_dora",),
    ),
    Check(
        "TT204",
        "_setup_profiler AssertionError (profiler)",
        given("profiler._component_") & is_not("profiler._component_", PROFILER),
        f"The recipe takes one profiler only: `_component_: {PROFILER}`; it is {{profiler._component_}}.",
        put("profiler._component_", PROFILER),
    ),
    Check(
        "TT205",
        "_setup_data RuntimeError (collate_fn)",
        names("collate_fn", "left_pad_sequence"),
        "left_pad_sequence pads for generating; the recipe refuses it. Use torchtune.data.padded_collate_sft.",
        put("collate_fn", "torchtune.data.padded_collate_sft"),
    ),
    Check(
        "TT206",
        "_setup_training_parameters ValueError (batch_size, forward_batch_size)",
        PPO & numbers(lambda whole, part: part != 0 and whole % part != 0, "batch_size", "forward_batch_size"),
        "batch_size {batch_size} must be a multiple of forward_batch_size {forward_batch_size}.",
        keys=("forward_batch_size", "batch_size"),
    ),
    Check(
        "TT206",
        "_setup_training_parameters ValueError (batch_size, ppo_batch_size)",
        PPO & numbers(lambda whole, part: part != 0 and whole % part != 0, "batch_size", "ppo_batch_size"),
        "batch_size {batch_size} must be a multiple of ppo_batch_size {ppo_batch_size}.",
        keys=("ppo_batch_size", "batch_size"),
    ),
    Check(
        "TT206",
        "_setup_training_parameters ValueError (gradient_accumulation_steps, ppo_batch_size)",
        PPO
        & numbers(lambda whole, part: part != 0 and whole % part != 0, "ppo_batch_size", "gradient_accumulation_steps"),
        "ppo_batch_size {ppo_batch_size} must be a multiple of gradient_accumulation_steps "
        "{gradient_accumulation_steps}.",
        keys=("gradient_accumulation_steps", "ppo_batch_size"),
    ),
    Check(
        "TT206",
        "_setup_training_parameters ValueError (batch_size, num_steps)",
        PPO & numbers(lambda steps, size: 0 <= steps < size, "num_steps", "batch_size"),
        "num_steps {num_steps} counts rows and must be at least batch_size {batch_size}, or nothing is trained.",
        keys=("num_steps", "batch_size"),
    ),
    Check(
        "TT207",
        "_setup_checkpointers AssertionError (policy, ref_policy, resume_from_checkpoint)",
        PPO
        & off("resume_from_checkpoint")
        & test(
            lambda view: any(
                view.get(f"checkpointer.{key}") != view.get(f"ref_policy_checkpointer.{key}")
                for key in ("checkpoint_dir", "checkpoint_files")
            ),
            "ref_policy_checkpointer",
            "checkpointer",
        ),
        "The policy and its reference must start from the same weights: checkpoint_dir and checkpoint_files of "
        "checkpointer and ref_policy_checkpointer must be equal.",
    ),
    Check(
        "TT208",
        "setup AssertionError (kd_loss, loss)",
        DISTILLING
        & test(
            lambda view: (
                component(view, "loss") == "CEWithChunkedOutputLoss"
                and component(view, "kd_loss").endswith("ChunkedOutputLoss")
                and _chunks(view, "loss") != _chunks(view, "kd_loss")
            ),
            "kd_loss.num_output_chunks",
            "loss.num_output_chunks",
        ),
        "num_output_chunks of loss and kd_loss must be equal (8 where it is not set).",
    ),
    Check(
        "TT209",
        "set_seed ValueError (seed)",
        test(
            lambda view: (
                isinstance(seed := view.get("seed"), int) and not isinstance(seed, bool) and not 0 <= seed < 2**32
            ),
            "seed",
        ),
        "seed must lie between 0 and 4294967295; it is {seed}.",
    ),
    *(check for key in CHECKPOINTERS for check in _checkpointer(key)),
    Check(
        "TT211",
        "checkpoint_wrapper ValueError (ac_mode, ac_style)",
        off("enable_activation_checkpointing") & is_("ac_mode", "selective") & below("ac_option", 0),
        "ac_option must be a number of layers from 1 on; it is {ac_option}.",
    ),
    Check(
        "TT212",
        "_concat.__init__ ValueError (datasets)",
        test(_half_packed, "dataset"),
        "Some of the data sets are packed and some are not. Set `packed` to the same value in all of them.",
    ),
    Check(
        "TT213",
        "_setup_data ValueError (dataloader)",
        is_(RECIPE, "dev/lora_finetune_distributed_multi_dataset") & on("dataloader.packed"),
        "This recipe does not pack. Set `dataloader.packed: False`.",
        put("dataloader.packed", False),
        keys=("dataloader.packed",),
    ),
    Check(
        "TT213",
        "_setup_data AssertionError ()",
        is_(RECIPE, "dev/lora_finetune_distributed_multi_dataset") & test(_untransformed, "datasets"),
        "This recipe needs a `transform` in each data set.",
    ),
)
_LOADED = "depends on the weights or the state that are loaded"
_MACHINE = "depends on the machine, its packages or how the run was started"
_DATA = "depends on the rows of the data"
_CODE = "depends on the code of the components, not on the config"
_LAUNCH = "is about the command line"
TOLD: Mapping[str, str] = {
    "__init__ ValueError (device, dtype)": "TT011",
    "__init__ ValueError (dtype)": "TT011",
    "__init__ RuntimeError (device, dtype)": "TT011",
    "__init__ RuntimeError (clip_grad_norm, optimizer_in_bwd)": "TT010",
    "__init__ RuntimeError (gradient_accumulation_steps, optimizer_in_bwd)": "TT010",
    "_setup_training_parameters RuntimeError (gradient_accumulation_steps, optimizer_in_bwd)": "TT010",
    "__init__ RuntimeError (device, enable_activation_offloading)": "TT004",
    "__init__ RuntimeError (enable_activation_checkpointing, enable_activation_offloading)": "TT004",
    "__init__ ValueError (tensor_parallel_dim, tensor_parallel_plan)": "TT013",
    "__init__ ValueError (optimizer, optimizer.fused, tensor_parallel_dim)": "TT013",
    "__init__ ValueError (tensor_parallel_dim)": _MACHINE,
    "get_dtype ValueError (dtype)": "FT018",
    "from_type ValueError ()": "FT018",
    "_instantiate_node InstantiationError (node)": "FT020",
    "validate ConfigError ()": "FT022",
    "_get_component_from_path ValueError (path)": "FT021",
    "_get_component_from_path InstantiationError ()": "FT021",
    "_get_component_from_path InstantiationError (path)": "FT021",
    "parse_known_args AssertionError ()": "TT016",
    "_update_recipe_state KeyError ()": _LOADED,
    "_setup_optimizer RuntimeError (opt_state_dict, optimizer_in_bwd)": _LOADED,
    "load_checkpoint ValueError (resume_from_checkpoint)": _LOADED,
    "_checkpointer.save_checkpoint ValueError (adapter_only, state_dict)": _LOADED,
    "_checkpointer.load_checkpoint ValueError ()": _LOADED,
    "_checkpointer.load_checkpoint ValueError (state_dict)": _LOADED,
    "_checkpointer.load_checkpoint ValueError (checkpoint_path)": _LOADED,
    "_utils.get_path ValueError (input_dir)": _LOADED,
    "_utils.get_path ValueError (filename, input_dir, missing_ok)": _LOADED,
    "_utils.safe_torch_load ValueError ()": _LOADED,
    "_utils.update_state_dict_for_classifier AssertionError (state_dict)": _LOADED,
    "_utils.update_state_dict_for_classifier AssertionError (model_named_parameters)": _LOADED,
    "_utils.get_recipe_checkpoint_path ValueError (output_dir, recipe_checkpoint)": _LOADED,
    "load_state_dict RuntimeError ()": _LOADED,
    "validate_no_params_on_meta_device RuntimeError ()": _LOADED,
    "load_from_full_model_state_dict NotImplementedError (model)": _LOADED,
    "validate_expected_param_dtype ValueError (dtype)": _LOADED,
    "recipe_main RuntimeError ()": _LAUNCH,
    "parse_known_args ValueError ()": _LAUNCH,
    "_merge_yaml_and_cli_args ValueError ()": _LAUNCH,
    "_remove_key_by_dotpath ValueError ()": _LAUNCH,
    "init_distributed RuntimeError ()": _LAUNCH,
    "__init__ RuntimeError ()": _MACHINE,
    "__init__ ValueError ()": _MACHINE,
    "setup ValueError (compile, device)": _MACHINE,
    "metric_logging.__init__ ImportError ()": _MACHINE,
    "get_dtype RuntimeError (device, dtype)": _MACHINE,
    "get_memory_stats ValueError (device)": _MACHINE,
    "_setup_device RuntimeError (device)": _MACHINE,
    "_setup_device AttributeError ()": _MACHINE,
    "_validate_device_from_env RuntimeError (device)": _MACHINE,
    "_validate_device_from_env RuntimeError ()": _MACHINE,
    "prepare_mha_for_tp ValueError (tp_mesh)": _MACHINE,
    "_activation_offloading.__init__ RuntimeError ()": _MACHINE,
    "_activation_offloading.__init__ e ()": _MACHINE,
    "_activation_offloading.__init__ ValueError (max_fwd_stash_size)": _CODE,
    "_activation_offloading.__init__ AssertionError ()": _CODE,
    "_activation_offloading.get_act_offloading_ctx_manager NotImplementedError (enable_activation_offloading, model)": _CODE,
    "shard_model ValueError ()": _CODE,
    "checkpoint_wrapper NotImplementedError (ac_mode)": _CODE,
    "get_lr RuntimeError (optimizer)": _CODE,
    "get_lr RuntimeError ()": _CODE,
    "step_lr_scheduler RuntimeError ()": _CODE,
    "get_last_lr RuntimeError ()": _CODE,
    "instantiate ValueError (config)": _CODE,
    "_setup_early_exit_loss AssertionError (early_exit_loss, loss)": _CODE,
    "_setup_data RuntimeError (dataloader, loss, tokenizer)": _DATA,
    "batch_to_device ValueError ()": _DATA,
    "_packed._pack ValueError ()": _DATA,
    "__call__ AssertionError ()": _DATA,
    "_model_multimodal_generate RuntimeError ()": _CODE,
    "_model_multimodal_generate ValueError ()": _CODE,
    "_model_generate RuntimeError ()": _CODE,
}
"""For statements without rows: the rule that tells, or why none can."""


def identity(row: Mapping[str, Any]) -> str:
    """What a row calls a statement."""
    file = str(row["file"]).rpartition("/")[2].removesuffix(".py")
    several = file in ("_checkpointer", "_concat", "_packed", "metric_logging", "_activation_offloading") or (
        file == "_utils" and "checkpointing" in row["file"]
    )
    return f"{file + '.' if several else ''}{row['function']} {row['error']} ({', '.join(row['keys'])})"


@cache
def inventory() -> Mapping[str, Mapping[str, Any]]:
    """The statements of the last release, by what rows call them."""
    return {identity(row): row for row in schema.companion("torchtune", "checks")["checks"]}


class Seen:
    """A config as a recipe sees it: what it does not say is the recipe's own default."""

    def __init__(self, tree: Mapping[str, Any], recipe: str, keys: Mapping[str, schema.Facts]) -> None:
        self.tree, self.recipe, self.keys = tree, recipe, keys

    def get(self, key: str) -> Any:
        if key == RECIPE:
            return self.recipe
        head, *rest = key.split(".")
        facts = self.keys.get(head)
        if facts is None:
            return None  # the recipe does not read it
        node: Any = self.tree.get(head, facts.get("default"))
        for part in rest:
            if isinstance(node, Unresolved):
                raise Undecided
            node = node.get(part) if isinstance(node, MAPPINGS) else None
        if isinstance(node, Unresolved):
            raise Undecided
        return node


def check(tree: Mapping[str, Any], version: str, recipe: str | None) -> Iterator[Found]:
    """What a recipe of a version refuses in a config, by the rows."""
    keys = schema.load("torchtune", version).keys(f"recipe {recipe}")
    if recipe is None or not keys:
        return
    view = Seen(tree, recipe, keys)
    for one, needed in _gated(version, recipe):
        if (needed is None or not needed.isdisjoint(tree)) and (found := find(one, view, tree)):
            yield found


@cache
def _gated(version: str, recipe: str) -> list[tuple[Check, frozenset[str] | None]]:
    """The rows of the checks that a version has, each with the keys without which it need not be asked."""
    empty = Seen({}, recipe, schema.load("torchtune", version).keys(f"recipe {recipe}"))
    order = {name: index for index, name in enumerate(schema.versions("torchtune"))}
    rows = [(one, inventory()[one.source]) for one in CHECKS]
    return [
        (one, gate(one.when, empty))
        for one, row in rows
        if order[row["since"]] <= order[version] and (row["until"] is None or order[version] < order[row["until"]])
    ]
