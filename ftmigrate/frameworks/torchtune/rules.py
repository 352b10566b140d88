"""Lint rules of torchtune's own, each grounded in its recipes (files named on the rules' pages)."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator
from typing import Any

from ftmigrate.document.model import Leaf, Span
from ftmigrate.frameworks.torchtune import lint_parts, lint_refusals, recipes
from ftmigrate.linter import edits
from ftmigrate.linter.checks import unknown
from ftmigrate.linter.diagnostic import Fix
from ftmigrate.linter.rules import ERROR, WARNING, Checks, Finding, Rule, RuleSet
from ftmigrate.linter.subject import Subject

CHECKS = Checks()
_TABLE = (
    Rule("TT001", "negative-step-limit", ERROR, "unsafe"),
    Rule("TT002", "model-type", ERROR, "unsafe"),
    Rule("TT003", "wrong-kind-of-component", ERROR),
    Rule("TT004", "offloading-without-checkpointing", ERROR),
    Rule("TT005", "tokenizer-of-another-model", WARNING),
    Rule("TT006", "longer-than-the-model", WARNING, over=("FT112",)),
    Rule("TT007", "recipe-and-model-differ", ERROR),
    Rule("TT008", "no-schedule-in-lora-recipe", ERROR),
    Rule("TT009", "offload-key-misplaced", WARNING, "unsafe"),
    Rule("TT010", "step-in-backward", ERROR),
    Rule("TT011", "half-precision-refused", ERROR, over=("FT018", "FT121")),
    Rule("TT012", "truth-of-text", ERROR, "unsafe", over=("FT017",)),
    Rule("TT013", "fused-under-tensor-parallel", ERROR),
    Rule("TT014", "flag-not-number", ERROR, over=("FT017",)),
    Rule("TT015", "checkpoint-file-count", ERROR),
    Rule("TT016", "config-key", ERROR),
    Rule("TT017", "packing-without-length", ERROR),
    Rule("TT018", "unknown-resolver", ERROR),
    Rule("TT019", "column-map-names", ERROR, "sometimes"),
    Rule("TT020", "schedule-without-steps", ERROR),
    Rule("TT021", "dora-not-prepared", ERROR),
)
_TYPES = {
    "llama2": ("LLAMA2",),
    "code_llama2": ("LLAMA2",),
    "llama3": ("LLAMA3", "LLAMA2"),
    "llama3_1": ("LLAMA3", "LLAMA2"),
    "llama3_3": ("LLAMA3", "LLAMA2"),
    "llama3_2": ("LLAMA3_2", "LLAMA3"),
    "llama3_2_vision": ("LLAMA3_VISION",),
    "mistral": ("MISTRAL",),
    "gemma": ("GEMMA",),
    "gemma2": ("GEMMA2",),
    "phi3": ("PHI3_MINI",),
    "phi4": ("PHI4", "PHI3_MINI"),
    "qwen2": ("QWEN2",),
    "qwen2_5": ("QWEN2",),
}
# families that read each other's tokenizers
_TOKENIZERS = (
    {"llama3", "llama3_1", "llama3_2", "llama3_3", "llama3_2_vision"},
    {"llama2", "code_llama2"},
    {"gemma", "gemma2"},
    {"qwen2", "qwen2_5"},
)
_RESOLVED = re.compile(r"\$\{([A-Za-z_][\w.]*):")
# omegaconf/resolvers/oc; torchtune registers none of its own, but for those of recipes of a later release
_REGISTERED = {"main": ("eval",)}
_RESOLVERS = ("oc.create", "oc.decode", "oc.deprecated", "oc.dict.keys", "oc.dict.values", "oc.env", "oc.select")
# keys whose text torchtune/config/_utils.py, `_get_component_from_path`, looks up
_LOOKED_UP = ("collate_fn", "prompt_template", "scale_fn", "curriculum")
_KINDS = {"model": "model", "tokenizer": "tokenizer", "optimizer": "optimizer", "loss": "loss", "dataset": "dataset"}


def _component(subject: Subject, key: str) -> str:
    value = subject.value(key, "_component_")
    return value if isinstance(value, str) else ""


def _about(subject: Subject, key: str) -> Any:
    return subject.schema.keys(f"component {_component(subject, key)}").get("", {})


def _family(subject: Subject) -> str:
    return str(_about(subject, "model").get("architecture", {}).get("family", ""))


@CHECKS("TT001")
def step_limit(subject: Subject) -> Iterator[Finding]:
    value = subject.value("max_steps_per_epoch")
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        message = (
            f'`max_steps_per_epoch: {value}` does not mean "all": the whole epoch is trained, but the schedule is made for '
            f"{value} steps an epoch, so the learning rate jumps between its peak and 0. Write null for all steps."
        )
        fix = subject.replace(("max_steps_per_epoch",), "null", safe=False)
        yield subject.finding("TT001", ("max_steps_per_epoch",), message, fix=fix)


@CHECKS("TT002")
def model_type(subject: Subject) -> Iterator[Finding]:
    for key in ("checkpointer", "ref_checkpointer"):
        told = subject.value(key, "model_type")
        family = _family(subject)
        wanted = _TYPES.get(family)
        if wanted is None or not isinstance(told, str) or told.upper() in wanted or told.upper() == "REWARD":
            continue
        known = {one for types in _TYPES.values() for one in types}
        if told.upper() not in known:
            continue  # no such type at all: the schema says so
        message = (
            f"`model_type: {told}` on a {family} model: the checkpoint loads, but its weights are put together as those of "
            f"another architecture. Write {wanted[0]}."
        )
        fix = subject.replace((key, "model_type"), wanted[0], safe=False)
        yield subject.finding("TT002", (key, "model_type"), message, fix=fix)


@CHECKS("TT003")
def kinds(subject: Subject) -> Iterator[Finding]:
    for key, wanted in _KINDS.items():
        if subject.recipe is None or not isinstance(subject.value(key), dict):
            continue
        kind = _about(subject, key).get("kind")
        if (
            kind is not None
            and kind != wanted
            and kind in (*_KINDS.values(), "checkpointer", "lr_scheduler", "metric_logger")
        ):
            message = f"`{_component(subject, key)}` is no {wanted}, but a {str(kind).replace('_', ' ')}: the run stops at it."
            yield subject.finding("TT003", (key, "_component_"), message)


@CHECKS("TT004")
def offloading(subject: Subject) -> Iterator[Finding]:
    if subject.value("enable_activation_offloading") is not True or not _reads(subject, "enable_activation_offloading"):
        return
    if not subject.value("enable_activation_checkpointing"):
        message = "Activations are offloaded only together with checkpointing: set `enable_activation_checkpointing: True`, or the run stops."
        yield subject.finding("TT004", ("enable_activation_offloading",), message)
    elif isinstance(device := subject.value("device"), str) and device == "cpu":
        message = "Activations are offloaded from a GPU only; on the CPU the run stops."
        yield subject.finding("TT004", ("enable_activation_offloading",), message)


def _reads(subject: Subject, key: str) -> bool:
    return key in subject.schema.keys(f"recipe {subject.recipe}")


@CHECKS("TT005")
def tokenizer(subject: Subject) -> Iterator[Finding]:
    family = _family(subject)
    parts = _component(subject, "tokenizer").split(".")
    if len(parts) < 4 or parts[:2] != ["torchtune", "models"] or not family or parts[2] not in _TYPES:
        return
    own = parts[2]
    if own == family or any({own, family} <= group for group in _TOKENIZERS):
        return
    message = f"The tokenizer is {own}'s, the model {family}'s: its token ids mean other tokens to the model."
    yield subject.finding("TT005", ("tokenizer", "_component_"), message)


@CHECKS("TT006")
def length(subject: Subject) -> Iterator[Finding]:
    longest = subject.value("tokenizer", "max_seq_len")
    own = subject.value("model", "max_seq_len") or _about(subject, "model").get("architecture", {}).get("max_seq_len")
    if isinstance(longest, int) and isinstance(own, int) and longest > own:
        message = f"Rows of {longest} tokens, but the model is built for {own}: the first longer row stops the run."
        yield subject.finding("TT006", ("tokenizer", "max_seq_len"), message)


@CHECKS("TT007")
def recipe(subject: Subject) -> Iterator[Finding]:
    name, component = subject.recipe or "", _component(subject, "model").rpartition(".")[2]
    if "finetune" not in name or not component or not _about(subject, "model"):
        return
    adapted = component.startswith(("lora_", "qlora_"))
    if adapted and name.startswith("full_"):
        message = (
            f"The recipe {name} trains all weights, but the model has adapters: name a recipe that begins with lora_."
        )
        yield subject.finding("TT007", ("model", "_component_"), message)
    elif not adapted and name.startswith("lora_"):
        message = f"The recipe {name} needs a model with adapters (lora_…): this one has none, and the run stops."
        yield subject.finding("TT007", ("model", "_component_"), message)


@CHECKS("TT008")
def schedule(subject: Subject) -> Iterator[Finding]:
    leaf = subject.leaf("lr_scheduler")
    if leaf is not None and leaf.value is None and (subject.recipe or "").startswith("lora_finetune"):
        message = f"The recipe {subject.recipe} stops without a schedule ('NoneType' has no 'step'). Name one."
        yield subject.finding("TT008", leaf, message, key=True)


@CHECKS("TT009")
def offload_key(subject: Subject) -> Iterator[Finding]:
    leaf = subject.leaf("fsdp", "cpu_offload")
    if leaf is not None and not _reads(subject, "fsdp"):
        message = "`fsdp.cpu_offload` is read by no recipe: the parameters stay on the GPU. Write `fsdp_cpu_offload` at the top level."
        yield subject.finding("TT009", leaf, message, key=True, fix=_moved_up(subject, leaf))


def _moved_up(subject: Subject, leaf: Leaf) -> Fix | None:
    """`fsdp:` with nothing else below becomes the one key."""
    section = subject.key_span(("fsdp",))
    if len(subject.document.tree["fsdp"]) > 1 or "fsdp_cpu_offload" in subject.document.tree or leaf.span is None:  # type: ignore[arg-type]
        return None
    whole = Span(section.start, leaf.span.end)
    if "#" in subject.text(whole) or "{" in subject.text(whole):
        return None
    return Fix((edits.replace(whole, f"fsdp_cpu_offload: {leaf.raw}"),), False, "write fsdp_cpu_offload")


@CHECKS("TT010")
def in_backward(subject: Subject) -> Iterator[Finding]:
    if subject.value("optimizer_in_bwd") is not True or not _reads(subject, "optimizer_in_bwd"):
        return
    steps = subject.value("gradient_accumulation_steps")
    if isinstance(steps, int) and steps > 1:
        message = f"With `optimizer_in_bwd` each batch is a step: `gradient_accumulation_steps` must be 1, not {steps}."
        yield subject.finding("TT010", ("gradient_accumulation_steps",), message)
    if subject.value("clip_grad_norm") is not None:
        message = "With `optimizer_in_bwd` there is no moment at which all gradients are there: `clip_grad_norm` must be null."
        yield subject.finding("TT010", ("clip_grad_norm",), message)


@CHECKS("TT011")
def half(subject: Subject) -> Iterator[Finding]:
    if subject.value("dtype") == "fp16" and _reads(subject, "dtype"):
        yield subject.finding("TT011", ("dtype",), "The recipe refuses fp16. Write bf16, or fp32.")


@CHECKS("TT012")
def truth(subject: Subject) -> Iterator[Finding]:
    """Text where true or false is asked for: any text is true to Python."""
    root = subject.schema.keys(f"recipe {subject.recipe}")
    for leaf in subject.document.leaves.values():
        if len(leaf.path) != 1 or not isinstance(leaf.value, str) or leaf.raw[:1] == "$":
            continue
        if root.get(str(leaf.path[0]), {}).get("type") == "bool" and leaf.value.lower() in ("no", "false", "off", "n"):
            message = f"`{leaf.path[0]}: {leaf.raw}` is text, and any text counts as true. Write false."
            fix = subject.replace(leaf.path, "false", safe=False)
            yield subject.finding("TT012", leaf, message, fix=fix)


@CHECKS("TT013")
def fused(subject: Subject) -> Iterator[Finding]:
    size = subject.value("tensor_parallel_dim")
    if not isinstance(size, int) or size < 2 or not _reads(subject, "tensor_parallel_dim"):
        return
    if subject.value("optimizer", "fused") is True and subject.version != "main":
        message = "A fused optimizer does not work with tensor parallelism: the run stops. Set `fused: False`."
        yield subject.finding("TT013", ("optimizer", "fused"), message)
    if subject.value("tensor_parallel_plan") is None:
        message = "`tensor_parallel_dim` needs a `tensor_parallel_plan` that says how layers are split: the run stops without."
        yield subject.finding("TT013", ("tensor_parallel_dim",), message)


@CHECKS("TT014")
def numbers(subject: Subject) -> Iterator[Finding]:
    """A switch where a number is asked for: true is 1 to Python, so the run starts."""
    root = subject.schema.keys(f"recipe {subject.recipe}")
    for leaf in subject.document.leaves.values():
        if len(leaf.path) == 1 and isinstance(leaf.value, bool):
            kind = str(root.get(str(leaf.path[0]), {}).get("type"))
            if kind.startswith(("int", "float")) and "bool" not in kind:
                message = f"`{leaf.path[0]}` is a number; {leaf.raw} counts as {int(leaf.value)}."
                yield subject.finding("TT014", leaf, message)


@CHECKS("TT015")
def files(subject: Subject) -> Iterator[Finding]:
    for key in ("checkpointer", "ref_checkpointer"):
        value = subject.value(key, "checkpoint_files")
        if isinstance(value, list) and not value:
            yield subject.finding("TT015", (key, "checkpoint_files"), "No file is named, so no weights are loaded.")
        elif isinstance(value, list) and len(set(map(str, value))) < len(value):
            message = "A checkpoint file is named twice: the run stops, because the same weights come again."
            yield subject.finding("TT015", (key, "checkpoint_files"), message)
        elif (
            isinstance(value, dict) and isinstance(number := value.get("max_filename"), str) and not number.isdecimal()
        ):
            message = f'`max_filename` is the number of the last file, such as "00004", not {number}.'
            yield subject.finding("TT015", (key, "checkpoint_files", "max_filename"), message)


@CHECKS("TT016")
def config(subject: Subject) -> Iterator[Finding]:
    if "config" in subject.document.tree:
        message = (
            "A top-level key `config` collides with the launcher's own --config: the run does not start. Rename it."
        )
        yield subject.finding("TT016", ("config",), message, key=True)


@CHECKS("TT017")
def packing(subject: Subject) -> Iterator[Finding]:
    if subject.value("tokenizer", "max_seq_len") is not None or not _component(subject, "tokenizer").startswith(
        "torchtune."
    ):
        return
    for path in lint_parts.data_paths(subject):
        if subject.value(*path, "packed") is True:
            message = "Packing needs a length: set `tokenizer.max_seq_len`, or the run stops when the dataset is built."
            yield subject.finding("TT017", (*path, "packed"), message)


@CHECKS("TT018")
def resolvers(subject: Subject) -> Iterator[Finding]:
    if not _RESOLVED.search(subject.document.text):
        return
    for leaf in subject.document.leaves.values():
        for name in _RESOLVED.findall(leaf.raw):
            if name not in (*_RESOLVERS, *_REGISTERED.get(subject.version, ())):
                hint = f" Write `${{oc.{name}:…}}`." if f"oc.{name}" in _RESOLVERS else ""
                message = f"There is no resolver `{name}`: the run stops when the value is read.{hint}"
                yield subject.finding("TT018", leaf, message)


@CHECKS("TT019")
def column_maps(subject: Subject) -> Iterator[Finding]:
    from ftmigrate.frameworks.torchtune import datasets

    for path in lint_parts.data_paths(subject):
        name, mapped = subject.value(*path, "_component_"), subject.value(*path, "column_map")
        if not isinstance(name, str) or not isinstance(mapped, dict) or not mapped:
            continue
        missing, unread, read = datasets.misnamed(name, mapped, subject.version)
        place = (*path, "column_map")
        names = ", ".join(f"`{one}`" for one in read)
        if missing:
            message = (
                f"`column_map` has no {' and no '.join(f'`{one}`' for one in missing)}: the run stops when the dataset is "
                f"built. Its keys are {name.rpartition('.')[2]}'s own names ({names}), its values your columns."
            )
            yield subject.finding("TT019", place, message, key=True)
        elif unread:
            message = (
                f"Nobody reads `{unread[0]}` in a `column_map` here, so it renames no column; what is read: {names}."
            )
            close = next((one for one in read if mapped[unread[0]] == one and one not in mapped), None)
            fix = subject.swap((*place, unread[0])) if close else None
            yield subject.finding("TT019", (*place, unread[0]), message, key=True, fix=fix, severity=WARNING)


@CHECKS("TT020")
def schedules(subject: Subject) -> Iterator[Finding]:
    name = _component(subject, "lr_scheduler")
    facts = subject.schema.keys(f"recipe {subject.recipe}").get("lr_scheduler", {})
    if name.startswith("torch.optim.") and "num_training_steps" in facts.get("injects", {}).get("keywords", ()):
        message = (
            f"The recipe hands `num_training_steps` to the schedule, which {name} does not take: the run stops. Use "
            "torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup, or a function of your own that takes it."
        )
        yield subject.finding("TT020", ("lr_scheduler", "_component_"), message)


@CHECKS("TT021")
def dora(subject: Subject) -> Iterator[Finding]:
    if subject.recipe == recipes.WITHOUT_DORA and subject.value("model", "use_dora") is True:
        what = recipes.DORA_UNPREPARED
        message = f"{what[0].upper()}{what[1:]}. Use lora_dpo_distributed, or plain LoRA."
        yield subject.finding("TT021", ("model", "use_dora"), message)


@CHECKS("FT021")
def looked_up(subject: Subject) -> Iterator[Finding]:
    """What is named by a dotted path, but at a key that is no `_component_`."""
    for leaf in subject.document.leaves.values():
        named = leaf.path[-1] in _LOOKED_UP and isinstance(leaf.value, str)
        if named and not subject.schema.keys(f"component {leaf.value}"):
            yield from unknown.component(subject, str(leaf.value), leaf.path)


def _moved(path: str) -> str:
    from ftmigrate.frameworks.torchtune.older import RENAMED

    for old, _, new in RENAMED:
        if path == old or (old.endswith((".", "FullModel")) and path.startswith(old)):
            return new + path[len(old) :]
    return ""


CHECKS.found += [*lint_parts.CHECKS.found, *lint_refusals.CHECKS.found]
RULES = RuleSet(
    (*_TABLE, *lint_parts.RULES, *lint_refusals.RULES),
    CHECKS,
    str(pathlib.Path(__file__).parent / "rules.md"),
    _moved,
    frozenset(("fsdp", "config")),
    (lint_refusals.PAGES,),
)
