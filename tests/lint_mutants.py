"""Ways to damage a config, fixed before the linter was measured on them. Each gives a mutant and the line of the damage.

An operator answers None where it does not apply: the config has nothing of the kind, or the run would stay the same.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import NamedTuple

from ftmigrate.document.model import Document, Leaf
from ftmigrate.document.text import Lines
from ftmigrate.frameworks import registry


class Mutant(NamedTuple):
    """lines: where the damage may be told. fixable: `--unsafe-fixes` should restore the run."""

    text: str
    lines: tuple[int, ...]


class Case:
    """A published config that is damaged."""

    def __init__(self, name: str, text: str, framework: str) -> None:
        self.name, self.text, self.framework = name, text, framework
        self.document: Document = registry.get(framework).parse(text.encode(), name, ())
        self.text = self.document.text
        self.lines = Lines(self.text)
        self.tree = self.document.tree

    @property
    def tune(self) -> bool:
        return self.framework == "torchtune"

    def pick(self, leaves: list[Leaf], salt: str) -> Leaf | None:
        """One of several, the same each time."""
        leaves = [leaf for leaf in leaves if leaf.key is not None and leaf.span is not None]
        return leaves[zlib.crc32(f"{self.name} {salt}".encode()) % len(leaves)] if leaves else None

    def leaf(self, *path: str | int) -> Leaf | None:
        found = self.document.leaves.get(path)
        return found if found is not None and found.span is not None and found.key is not None else None

    def at(self, leaf: Leaf, text: str, *, key: bool = False) -> Mutant:
        """Other text in the place of a leaf's value, or of its key."""
        span = leaf.key if key else leaf.span
        assert span is not None
        start, end = self.lines.offset(span.start), self.lines.offset(span.end)
        gap = " " if start == end and not key else ""
        return Mutant(self.text[:start] + gap + text + self.text[end:], (span.start.line,))

    def value(self, path: tuple[str | int, ...], text: str) -> Mutant | None:
        leaf = self.leaf(*path)
        return None if leaf is None or leaf.via else self.at(leaf, text)

    def add(self, text: str) -> Mutant:
        """A line at the end."""
        body = self.text if self.text.endswith("\n") else self.text + "\n"
        return Mutant(body + text + "\n", (len(Lines(body)),))

    def without(self, key: str, *, told: int | None = None) -> Mutant | None:
        """Without a top-level key that stands on one line; told at the first key, or on another line."""
        leaf = self.leaf(key)
        if leaf is None or leaf.span is None or leaf.key is None or leaf.span.end.line != leaf.key.start.line:
            return None
        if leaf.path[0] in {path[0] for other in self.document.leaves.values() for path in other.via}:
            return None
        at = leaf.key.start.line
        body = (
            self.text[: self.lines.starts[at - 1]]
            + self.text[self.lines.starts[at] if at < len(self.lines) else len(self.text) :]
        )
        return Mutant(body, (told,) if told else tuple(range(1, 60)))


Operator = Callable[[Case], Mutant | None]
OPERATORS: dict[str, Operator] = {}


def operator(function: Operator) -> Operator:
    OPERATORS[function.__name__] = function
    return function


def _known(case: Case, *, nested: bool = False) -> list[Leaf]:
    """Leaves with a value that counts, whose key is a word of some length."""
    used = {path[0] for leaf in case.document.leaves.values() for path in leaf.via}
    found = []
    for leaf in case.document.leaves.values():
        name = leaf.path[-1]
        if (
            leaf.value in (None, False, 0, "", 1)
            or leaf.value in ([], {})
            or not isinstance(name, str)
            or len(name) < 6
        ):
            continue
        if nested is (len(leaf.path) > 1) and leaf.path[0] not in used and leaf.span is not None:
            found.append(leaf)
    return [leaf for leaf in found if _counts(case, leaf)]


def _counts(case: Case, leaf: Leaf) -> bool:
    """Whether the framework knows the key, so that a damage to it changes something."""
    from ftmigrate import schema

    pinned = schema.load(case.framework, registry.get(case.framework).newest)
    if not case.tune:
        if len(leaf.path) == 1:
            return leaf.path[0] in pinned.keys("config")
        return leaf.path[0] == "datasets" and len(leaf.path) == 3 and leaf.path[2] in pinned.keys("SFTDataset")
    if len(leaf.path) == 1:
        return any(leaf.path[0] in pinned.keys(name) for name in ("recipe full_finetune_distributed",))
    if len(leaf.path) != 2 or leaf.path[0] in ("dataset", "profiler"):
        return False
    component = case.document.tree[str(leaf.path[0])]
    name = component.get("_component_") if isinstance(component, dict) else None
    return leaf.path[1] in pinned.keys(f"component {name}") and leaf.path[1] != "_component_"


# --- keys -------------------------------------------------------------------------------------------------------


def _misspell(case: Case, change: Callable[[str], str], *, nested: bool = False) -> Mutant | None:
    leaf = case.pick(_known(case, nested=nested), change.__name__ + str(nested))
    return case.at(leaf, change(str(leaf.path[-1])), key=True) if leaf is not None else None


def _swap(name: str) -> str:
    at = next((i for i in range(1, len(name) - 1) if name[i] != name[i + 1]), 1)
    return name[:at] + name[at + 1] + name[at] + name[at + 2 :]


def _drop(name: str) -> str:
    return name[:2] + name[3:]


def _double(name: str) -> str:
    return name[:3] + name[2] + name[3:]


def _upper(name: str) -> str:
    return name.upper()


def _hyphen(name: str) -> str:
    return name.replace("_", "-") if "_" in name else name + "-"


def _plural(name: str) -> str:
    return name + "s"


@operator
def top_key_letters_swapped(case: Case) -> Mutant | None:
    return _misspell(case, _swap)


@operator
def top_key_letter_missing(case: Case) -> Mutant | None:
    return _misspell(case, _drop)


@operator
def top_key_letter_twice(case: Case) -> Mutant | None:
    return _misspell(case, _double)


@operator
def top_key_in_capitals(case: Case) -> Mutant | None:
    return _misspell(case, _upper)


@operator
def top_key_with_hyphens(case: Case) -> Mutant | None:
    return _misspell(case, _hyphen)


@operator
def top_key_plural(case: Case) -> Mutant | None:
    return _misspell(case, _plural)


@operator
def nested_key_letters_swapped(case: Case) -> Mutant | None:
    return _misspell(case, _swap, nested=True)


@operator
def nested_key_letter_missing(case: Case) -> Mutant | None:
    return _misspell(case, _drop, nested=True)


@operator
def key_twice(case: Case) -> Mutant | None:
    leaf = case.pick([leaf for leaf in _known(case) if isinstance(leaf.value, int | float | bool)], "twice")
    return case.add(f"{leaf.path[0]}: 7") if leaf is not None else None


@operator
def required_key_missing(case: Case) -> Mutant | None:
    return case.without("batch_size" if case.tune else "learning_rate")


@operator
def key_of_another_framework(case: Case) -> Mutant | None:
    return case.add("learning_rate: 0.001" if case.tune else "max_steps_per_epoch: 10")


@operator
def key_on_another_level(case: Case) -> Mutant | None:
    return case.add("lr: 0.001" if case.tune else "field_messages: messages")


@operator
def removed_key(case: Case) -> Mutant | None:
    return case.add("memory_efficient_fsdp_wrap: true" if case.tune else "max_packed_sequence_len: 2048")


@operator
def invented_key(case: Case) -> Mutant | None:
    return case.add("my_very_own_switch: true")


# --- values -----------------------------------------------------------------------------------------------------


def _number(case: Case) -> tuple[str, ...]:
    return ("batch_size",) if case.tune else ("micro_batch_size",)


@operator
def number_as_word(case: Case) -> Mutant | None:
    return case.value(_number(case), "four")


@operator
def number_as_list(case: Case) -> Mutant | None:
    return case.value(_number(case), "[1, 2]")


@operator
def number_as_mapping(case: Case) -> Mutant | None:
    return case.value(_number(case), "{a: 1}")


@operator
def quoted_number(case: Case) -> Mutant | None:
    return case.value(("epochs",), '"1"') if case.tune else case.value(("sequence_len",), '"2k"')


@operator
def fraction_for_count(case: Case) -> Mutant | None:
    return case.value(("gradient_accumulation_steps",), "1.5")


@operator
def word_for_switch(case: Case) -> Mutant | None:
    return case.value(("enable_activation_checkpointing",) if case.tune else ("sample_packing",), "perhaps")


@operator
def python_none(case: Case) -> Mutant | None:
    return case.value(("max_steps_per_epoch",) if case.tune else ("val_set_size",), "None")


@operator
def bad_choice(case: Case) -> Mutant | None:
    return case.value(("dtype",), "bfloat16") if case.tune else case.value(("bf16",), "full_precision")


@operator
def other_bad_choice(case: Case) -> Mutant | None:
    return case.value(("device",), "gpu0") if case.tune else case.value(("chat_template",), "chatmll")


@operator
def octal(case: Case) -> Mutant | None:
    leaf = case.leaf("seed")
    return case.at(leaf, "0123") if leaf is not None and not leaf.via else None


# --- text -------------------------------------------------------------------------------------------------------


@operator
def open_quote(case: Case) -> Mutant | None:
    leaf = case.pick([leaf for leaf in _known(case) if leaf.raw and leaf.raw[0].isalnum()], "quote")
    if leaf is None or leaf.span is None or "'" in case.text[case.lines.offset(leaf.span.end) :]:
        return None
    return case.at(leaf, "'" + leaf.raw)


@operator
def open_bracket(case: Case) -> Mutant | None:
    return case.value(_number(case), "[1, 2")


@operator
def tab(case: Case) -> Mutant | None:
    leaf = case.pick(
        [leaf for leaf in case.document.leaves.values() if len(leaf.path) == 2 and leaf.path[1] == "lr"], "tab"
    )
    if leaf is None or leaf.key is None:
        return None
    at = leaf.key.start.line
    start = case.lines.starts[at - 1]
    width = leaf.key.start.column - 1
    return Mutant(case.text[:start] + "\t" + case.text[start + width :], (at,)) if width else None


@operator
def merge_conflict(case: Case) -> Mutant | None:
    return case.add("<<<<<<< HEAD")


@operator
def template(case: Case) -> Mutant | None:
    return case.value(_number(case), "{{ size }}")


@operator
def secret(case: Case) -> Mutant | None:
    return case.add("hub_token: hf_" + "aB3dE6gH9" * 4)


@operator
def broken_interpolation(case: Case) -> Mutant | None:
    leaf = case.leaf("metric_logger", "log_dir")
    return case.at(leaf, "${outptu_dir}/logs") if case.tune and leaf is not None else None


# --- the run ----------------------------------------------------------------------------------------------------


@operator
def no_rows(case: Case) -> Mutant | None:
    return case.value(_number(case), "0")


@operator
def negative_accumulation(case: Case) -> Mutant | None:
    return case.value(("gradient_accumulation_steps",), "-2")


@operator
def no_epochs(case: Case) -> Mutant | None:
    return case.value(("epochs",) if case.tune else ("num_epochs",), "0")


@operator
def negative_rate(case: Case) -> Mutant | None:
    return case.value(("optimizer", "lr") if case.tune else ("learning_rate",), "-0.0001")


@operator
def rate_no_number(case: Case) -> Mutant | None:
    return case.value(("optimizer", "lr") if case.tune else ("learning_rate",), "3e-4x")


@operator
def alpha_of_zero(case: Case) -> Mutant | None:
    if not case.tune and case.tree.get("adapter") not in ("lora", "qlora"):
        return None
    return case.value(("model", "lora_alpha") if case.tune else ("lora_alpha",), "0")


@operator
def rank_of_zero(case: Case) -> Mutant | None:
    if not case.tune and case.tree.get("adapter") not in ("lora", "qlora"):
        return None
    return case.value(("model", "lora_rank") if case.tune else ("lora_r",), "0")


@operator
def dropout_of_five(case: Case) -> Mutant | None:
    if not case.tune and (case.tree.get("adapter") not in ("lora", "qlora") or case.tree.get("rl")):
        return None
    return case.value(("model", "lora_dropout") if case.tune else ("lora_dropout",), "5")


@operator
def misspelt_target(case: Case) -> Mutant | None:
    leaf = case.leaf("model", "lora_attn_modules") if case.tune else case.leaf("lora_target_modules")
    if leaf is None or not isinstance(leaf.value, list) or "q_proj" not in leaf.value or "'" in leaf.raw:
        return None
    if not case.tune and case.tree.get("adapter") not in ("lora", "qlora"):
        return None
    if case.tree.get("lora_target_linear"):
        return None
    made = case.at(leaf, re.sub(r"\bq_proj\b", "q_projj", leaf.raw))
    return made._replace(lines=tuple(n for n, line in enumerate(made.text.splitlines(), 1) if "q_projj" in line))


# --- torchtune --------------------------------------------------------------------------------------------------


def _component(case: Case, key: str) -> Leaf | None:
    return case.leaf(key, "_component_") if case.tune else None


@operator
def misspelt_component(case: Case) -> Mutant | None:
    leaf = _component(case, "loss")
    return case.at(leaf, str(leaf.value)[:-1]) if leaf is not None else None


@operator
def missing_component(case: Case) -> Mutant | None:
    leaf = _component(case, "optimizer")
    return case.at(leaf, "component", key=True) if leaf is not None else None


@operator
def component_of_another_kind(case: Case) -> Mutant | None:
    leaf = _component(case, "loss")
    return case.at(leaf, "torchtune.models.llama3.llama3_tokenizer") if leaf is not None else None


@operator
def argument_of_nobody(case: Case) -> Mutant | None:
    leaf = case.leaf("optimizer", "lr") if case.tune else None
    return case.at(leaf, "learning_speed", key=True) if leaf is not None else None


@operator
def negative_step_limit(case: Case) -> Mutant | None:
    return case.value(("max_steps_per_epoch",), "-1") if case.tune else None


@operator
def model_type_of_another_family(case: Case) -> Mutant | None:
    leaf = case.leaf("checkpointer", "model_type") if case.tune else None
    if leaf is None or leaf.value not in ("LLAMA3", "LLAMA3_2", "LLAMA2", "GEMMA", "MISTRAL", "QWEN2"):
        return None
    return case.at(leaf, "PHI3_MINI")


@operator
def tokenizer_of_another_family(case: Case) -> Mutant | None:
    leaf = _component(case, "tokenizer")
    if leaf is None or "llama3_tokenizer" not in str(leaf.value) or "vision" in case.text:
        return None
    return case.at(leaf, "torchtune.models.mistral.mistral_tokenizer")


@operator
def offloading_alone(case: Case) -> Mutant | None:
    if not case.tune or case.tree.get("enable_activation_checkpointing") is not False:
        return None
    if "knowledge_distillation" in case.text:
        return None  # these recipes never read it
    return case.value(("enable_activation_offloading",), "True")


# --- Axolotl ----------------------------------------------------------------------------------------------------


@operator
def adapter_switched_off(case: Case) -> Mutant | None:
    if case.tune or case.tree.get("adapter") not in ("lora", "qlora") or case.tree.get("load_in_4bit"):
        return None
    leaf = case.leaf("lora_r")
    if leaf is None or leaf.key is None:
        return None
    line = leaf.key.start.line
    own = case.leaf("adapter")
    if own is None or own.key is None or own.key.start.line > line:
        return None
    first = min(
        (
            one.key.start.line
            for one in case.document.leaves.values()
            if str(one.path[0]).startswith("lora_") and one.key and one.value
        ),
        default=0,
    )
    return case.without("adapter", told=first - 1)


@operator
def quantised_without_adapter(case: Case) -> Mutant | None:
    if case.tune or case.tree.get("adapter") or case.tree.get("load_in_8bit") is not False:
        return None
    return case.value(("load_in_8bit",), "true")


@operator
def misspelt_dataset_type(case: Case) -> Mutant | None:
    leaf = None if case.tune else case.leaf("datasets", 0, "type")
    if leaf is None or not isinstance(leaf.value, str) or leaf.value not in ("alpaca", "chat_template", "completion"):
        return None
    return case.at(leaf, _double(leaf.value))


@operator
def misspelt_plugin(case: Case) -> Mutant | None:
    leaf = None if case.tune else case.leaf("plugins")
    if leaf is None or "Plugin" not in leaf.raw:
        return None
    return case.at(leaf, leaf.raw.replace("Plugin", "Plugn", 1))


@operator
def warmup_longer_than_the_run(case: Case) -> Mutant | None:
    leaf = None if case.tune else case.leaf("warmup_steps")
    if leaf is None or not isinstance(leaf.value, int) or leaf.value < 10 or "max_steps" in case.tree:
        return None
    mutant = case.add("max_steps: 5")
    assert leaf.span is not None
    return Mutant(mutant.text, (leaf.span.start.line,))


@operator
def validation_share_below_zero(case: Case) -> Mutant | None:
    return None if case.tune else case.value(("val_set_size",), "-0.1")
