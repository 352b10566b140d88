"""What torchtune's dataset builders read, and how they turn a row into text and loss mask.

`BUILDERS` says what is fixed in each builder's code; defaults of arguments come from the pinned schema. `decode` is
generic over the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace

from ftmigrate import schema
from ftmigrate.document.model import Unresolved, Value, format_path, walk
from ftmigrate.frameworks.torchtune.chat_formats import (
    MAIN,
    TokenizerFormat,
    chat_format,
    drops_system,
    tokenizer_format,
)
from ftmigrate.frameworks.torchtune.older import before
from ftmigrate.memo import remember
from ftmigrate.run.display import to_text
from ftmigrate.run.rendering import Column, Conversation, Loss, Rendering, Segment, Text, Turn, When
from ftmigrate.run.source import Decoded, Location


class Kind(StrEnum):
    """How a row becomes messages or text."""

    ALPACA = "alpaca prompt"
    PAIR = "input and output"
    CHAT = "chat"  # of the style that an argument names
    SHAREGPT = "sharegpt chat"
    OPENAI = "openai chat"
    PLAIN = "plain text"
    PREFERENCE = "pairs of chats"
    PAIRED = "question and two answers"
    MULTIMODAL = "images and text"


class Builder(Struct, frozen=True):
    """What a builder's code fixes.

    columns: the names that column_map maps, with the columns they stand for without it (for plain text: the column).
    required: names that a column_map must have. load: arguments of load_dataset that the code gives. subset: the
    argument that becomes load_dataset's `name`. calls: the component that takes what the builder itself does not.
    packs: whether it packs, and whether a packed row may be cut (None: an argument says so).
    fails: why the builder cannot run at all.
    """

    kind: Kind
    columns: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    load: Mapping[str, Value] = field(default_factory=dict)
    subset: str = "name"
    calls: str = ""
    packs: bool = True
    split_across_pack: bool | None = False
    fails: str = ""


MASKED = -100
"""The label of a token that is not trained (torchtune/data/_common.py, CROSS_ENTROPY_IGNORE_IDX)."""
_HERE = "torchtune.datasets."
_KWARGS = "it hands its own max_seq_len to load_dataset, which does not take it"
_POSITION = "recipes hand the tokenizer over by position, which this class refuses"
_ALPACA = Builder(Kind.ALPACA, {"instruction": "instruction", "input": "input", "output": "output"})
_PAIR = Builder(Kind.PAIR, {"input": "input", "output": "output"}, ("input", "output"))
_PLAIN = Builder(Kind.PLAIN, split_across_pack=None)
_CHOSEN = Builder(Kind.PREFERENCE, {"chosen": "chosen", "rejected": "rejected"}, ("chosen", "rejected"), packs=False)
_MULTIMODAL = Builder(Kind.MULTIMODAL, packs=False)

BUILDERS: Mapping[str, Builder] = {
    _HERE + "alpaca_dataset": _ALPACA,
    _HERE + "alpaca_cleaned_dataset": _ALPACA,
    _HERE + "instruct_dataset": _PAIR,
    _HERE + "grammar_dataset": _PAIR,
    _HERE + "samsum_dataset": replace(_PAIR, columns={"input": "dialogue", "output": "summary"}),
    _HERE + "chat_dataset": Builder(Kind.CHAT),
    _HERE + "slimorca_dataset": Builder(Kind.SHAREGPT, {"conversations": "conversations"}, ("conversations",)),
    _HERE + "text_completion_dataset": _PLAIN,
    _HERE + "TextCompletionDataset": replace(_PLAIN, packs=False, split_across_pack=False),
    _HERE + "cnn_dailymail_articles_dataset": replace(
        _PLAIN,
        columns={"column": "article"},
        load={"name": "3.0.0"},
        calls=_HERE + "TextCompletionDataset",
        packs=False,
        split_across_pack=False,
        fails=_KWARGS,
    ),
    _HERE + "wikitext_dataset": replace(
        _PLAIN,
        columns={"column": "page"},
        subset="subset",
        calls=_HERE + "text_completion_dataset",
        fails=_KWARGS,
    ),
    _HERE + "preference_dataset": replace(_CHOSEN, packs=True, split_across_pack=False),
    _HERE + "hh_rlhf_helpful_dataset": _CHOSEN,
    _HERE + "stack_exchange_paired_dataset": Builder(
        Kind.PAIRED,
        {"prompt": "question", "chosen": "response_j", "rejected": "response_k"},
        load={"data_dir": "data/rl"},
        packs=False,
    ),
    _HERE + "multimodal.the_cauldron_dataset": replace(_MULTIMODAL, subset="subset"),
    _HERE + "multimodal.llava_instruct_dataset": _MULTIMODAL,
    _HERE + "multimodal.multimodal_chat_dataset": _MULTIMODAL,
    _HERE + "multimodal.vqa_dataset": _MULTIMODAL,
}

NOT_FROM_CONFIG: Mapping[str, str] = {
    _HERE + "SFTDataset": _POSITION,
    _HERE + "PreferenceDataset": _POSITION,
    _HERE + "ConcatDataset": "a config cannot hold the data sets it is made of",
    _HERE + "PackedDataset": "a config cannot hold the data set it is made of",
}

_NOT_RENDERED = {Kind.MULTIMODAL: "images are not rendered"}
_PAIRS = (Kind.PREFERENCE, Kind.PAIRED)
_SHARED = (
    "only what the two replies do not share changes the loss: whatever else is trained, in the header or before, gives "
    "both the same term, as long as the rows' two conversations differ in their last message only"
)
PROMPT_CANCELS = (
    "the trained prompt adds the same log probability to both replies, and the loss takes their difference "
    "(rlhf/loss/dpo.py): no effect as long as a row's two conversations differ in their last message only. Logged rewards "
    "and log probabilities count it"
)
_SHAREGPT = {"system": "system", "human": "user", "gpt": "assistant"}
_OPENAI = {role: role for role in ("system", "user", "assistant")}
_LOADERS = ("json", "csv", "text", "parquet", "arrow")
_SETTINGS = (
    "location", "subset", "split", "revision", "data_dir", "load_options", "filter", "weight", "text", "loss_mask",
)  # fmt: skip


def parameters(component: str, version: str) -> dict[str, Value]:
    """A builder's own parameters with their defaults (None where there is none), from the pinned schema."""
    facts = schema.load("torchtune", version).keys(f"component {component}")
    return {name: fact.get("default") for name, fact in facts.items() if name and not name.startswith("*")}


def styles(version: str) -> dict[str, Kind]:
    """The conversation styles that chat_dataset takes; 0.3.0 called one of them otherwise."""
    openai = "json" if version == "0.3.0" else "openai"
    return {"sharegpt": Kind.SHAREGPT, openai: Kind.OPENAI}


def fails(component: str) -> str | None:
    """Why a builder cannot run, if it cannot."""
    builder = BUILDERS.get(component)
    return NOT_FROM_CONFIG.get(component) or (builder.fails or None if builder else None)


@remember(256)
def decode(
    component: str,
    args: Mapping[str, Value],
    tokenizer: str,
    prompt_template: Value,
    version: str,
    around: tuple[str, str] = ("", ""),
) -> dict[str, Decoded]:
    """The settings of one data source.

    args: as the config gives them. prompt_template: the one that holds (the tokenizer's default where none is given).
    around: text that the builder puts around the input of a pair.
    """
    args = {name: value for name, value in args.items() if name != "_component_"}
    builder = BUILDERS.get(component)
    if builder is None:
        reason = NOT_FROM_CONFIG.get(component)
        unknown = Unresolved(f"{component}: {reason}" if reason else component)
        given = ", ".join(f"{name}: {to_text(value)}" for name, value in args.items())
        told = Unresolved(f"{unknown.expression} ({given})") if given else unknown
        return {
            **{name: Decoded(None, ()) for name in _SETTINGS},
            "location": Decoded(unknown, ()),
            "load_options": Decoded({}, ()),
            "text": Decoded(told, _names(args, *args)),
            "loss_mask": Decoded(unknown, ()),
        }
    own = _parameters(component, builder, version)
    reader = _Reader(builder, args, {**own, **args}, tokenizer, prompt_template, version, around)
    return {**_loading(builder, args, own), **reader.rendering()}


def packing(component: str, args: Mapping[str, Value], version: str = "0.6.1") -> dict[str, Decoded]:
    """`packed`, and `split_across_pack`: whether a row may be cut at a pack's end. Custom components do not pack."""
    builder = BUILDERS.get(component)
    if builder is None or not builder.packs:
        return {"packed": Decoded(False, ()), "split_across_pack": Decoded(False, ())}
    given = {**_parameters(component, builder, version), **args}
    cut = builder.split_across_pack
    return {
        "packed": Decoded(_flag(given.get("packed")), _names(args, "packed")),
        "split_across_pack": Decoded(cut, ())
        if cut is not None
        else Decoded(_flag(given.get("split_across_pack")), _names(args, "split_across_pack")),
    }


def _parameters(component: str, builder: Builder, version: str) -> dict[str, Value]:
    below = parameters(builder.calls, version) if builder.calls else {}
    return {**below, **parameters(component, version)}


def misnamed(component: str, mapped: Mapping[str, Value], version: str) -> tuple[list[str], list[str], list[str]]:
    """Of a builder's column_map: the names that it must have and has not, those that nobody reads, all that are read."""
    builder = BUILDERS.get(component)
    if builder is None or not builder.columns or builder.kind is Kind.PLAIN or before(version, "0.3.0"):
        return [], [], []
    read = [*builder.columns, *(("image",) if builder.kind is Kind.PAIR else ())]
    return _missing(builder, mapped, version), [name for name in mapped if name not in read], list(builder.columns)


def _missing(builder: Builder, mapped: Mapping[str, Value], version: str) -> list[str]:
    required = ("instruction", "output") if builder.kind is Kind.ALPACA and version == MAIN else builder.required
    return [name for name in required if name not in mapped]


def _flag(value: Value) -> bool | Unresolved:
    return value if isinstance(value, Unresolved) else bool(value)


def _names(args: Mapping[str, Value], *wanted: str) -> tuple[str, ...]:
    """The leaves of those arguments that are there, dotted."""
    return tuple(format_path(path) for name in wanted if name in args for path, _ in walk(args[name], (name,)))


def _unresolved(value: Value) -> Iterator[Unresolved]:
    if isinstance(value, Unresolved):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _unresolved(item)


# --- loading ----------------------------------------------------------------------------------------------------


def _loading(builder: Builder, args: Mapping[str, Value], own: Mapping[str, Value]) -> dict[str, Decoded]:
    given = {**own, **args, **builder.load}

    def setting(name: str) -> Decoded:
        return Decoded(given.get(name), () if name in builder.load else _names(args, name))

    filter_fn = given.get("filter_fn")
    if isinstance(filter_fn, dict):
        filter_fn = filter_fn.get("_component_")
    known = {*own, *builder.load, builder.subset, "data_files", "data_dir", "revision", "split"}
    rest = [name for name in args if name not in known]
    return {
        "location": Decoded(_location(given), _names(args, "source", "data_files")),
        "subset": setting(builder.subset),
        "split": Decoded(_split(given), setting("split").args),
        "revision": setting("revision"),
        "data_dir": setting("data_dir"),
        "load_options": Decoded({name: args[name] for name in rest}, _names(args, *rest)),
        "filter": Decoded(filter_fn, _names(args, "filter_fn")),
        "weight": Decoded(None, ()),
    }


def _split(given: Mapping[str, Value]) -> Value:
    """Of files by split those of one are loaded, and are the split `train` for themselves; a slice of it stays one."""
    split = given.get("split")
    if not isinstance(given.get("data_files"), dict) or not isinstance(split, str):
        return split
    return re.sub(r"^\w*", "train", split)


def _location(given: Mapping[str, Value]) -> Location | Unresolved:
    source, files = given.get("source"), given.get("data_files")
    for unknown in _unresolved([source, files]):
        return unknown
    if not isinstance(source, str):
        return Unresolved("source")
    if isinstance(files, dict):
        split = re.match(r"\w*", str(given.get("split") or ""))
        files = files.get(split.group() if split else "")
        if files is None:
            return Unresolved("data_files")
    listed = [str(name) for name in (files if isinstance(files, list) else [files] if files is not None else [])]
    if source not in _LOADERS:
        return Location(source, None, tuple(listed))
    if len(listed) == 1:
        return Location(listed[0], source)
    return Location(source, source, tuple(listed))


# --- text and mask ----------------------------------------------------------------------------------------------

_INTRO = "Below is an instruction that describes a task"
_ASK = "Write a response that appropriately completes the request.\n\n### Instruction:\n"


def _alpaca_prompt(instruction: str, given: str) -> tuple[Segment, ...]:
    response = Text("\n\n### Response:\n")
    with_input = f"{_INTRO}, paired with an input that provides further context. {_ASK}"
    return (
        When(
            given,
            (Text(with_input), Column(instruction), Text("\n\n### Input:\n"), Column(given), response),
            (Text(f"{_INTRO}. {_ASK}"), Column(instruction), response),
        ),
    )


class _Reader(Struct, frozen=True):
    builder: Builder
    args: Mapping[str, Value]
    given: Mapping[str, Value]
    tokenizer: str
    prompt_template: Value
    version: str
    around: tuple[str, str] = ("", "")

    def rendering(self) -> dict[str, Decoded]:
        fed, masked = self._fed_by()
        if self.builder.kind in _PAIRS:
            chosen, rejected = (self._rendering(fed + masked, reply) for reply in ("chosen", "rejected"))
            return {
                "text": Decoded(chosen, _names(self.args, *fed)),
                "rejected": Decoded(rejected, _names(self.args, *fed)),
                "loss_mask": Decoded(chosen, (), _SHARED),
            }
        used = self._rendering(fed + masked)
        return {
            "text": Decoded(used, _names(self.args, *fed)),
            "loss_mask": Decoded(used, _names(self.args, *masked)),
        }

    def _fed_by(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The arguments that the text, and those that the mask depends on."""
        match self.builder.kind:
            case Kind.PLAIN:
                return (("add_eos",) if self.builder.columns else ("column", "add_eos")), ()
            case Kind.CHAT:
                return ("conversation_column", "conversation_style", "new_system_prompt"), ("train_on_input",)
            case Kind.ALPACA | Kind.PAIRED:
                return ("column_map",), ("train_on_input",)
            case Kind.MULTIMODAL:
                return ("column_map", "new_system_prompt", "image_dir", "image_tag"), ()
            case _:
                return ("column_map", "new_system_prompt"), ("train_on_input",)

    def _rendering(self, feeding: tuple[str, ...], reply: str = "") -> Rendering | Unresolved:
        """`reply` names the one of a pair's two replies that is meant."""
        kind = self.builder.kind
        if kind in _NOT_RENDERED:
            return Unresolved(_NOT_RENDERED[kind])
        for name in feeding:
            for unknown in _unresolved(self.given.get(name)):
                return unknown
        family = self.tokenizer.split(".")[-1].removesuffix("_tokenizer")
        if kind is Kind.PLAIN:
            shape = tokenizer_format(self.tokenizer, self.version)
            if shape is None:
                return Unresolved(self.tokenizer)
            return Rendering(self._plain(shape), f"plain text with the {family} tokenizer's BOS and EOS")
        talk = self._conversation(reply)
        if isinstance(talk, Unresolved):
            return talk
        inside = "" if self.prompt_template is None else " and its prompt template"
        of = f", the {reply} reply," if reply else ""
        return Rendering((talk,), f"{self._kind()}{of} in the {family} chat format{inside}")

    def _kind(self) -> Kind:
        """The kind with the chat's style settled; CHAT for one that torchtune does not know."""
        if self.builder.kind is not Kind.CHAT:
            return self.builder.kind
        return styles(self.version).get(str(self.given.get("conversation_style")), Kind.CHAT)

    def _plain(self, shape: TokenizerFormat) -> tuple[Segment, ...]:
        name = self.builder.columns.get("column") or str(self.given.get("column"))
        bos, eos = shape.completion
        segments: tuple[Segment, ...] = (Text(bos, True), Column(name, True))
        if self.given.get("add_eos"):
            segments += (Text(eos, True),)
        return segments if shape.empty_completion else (When(name, segments, (Column(name),)),)

    def _conversation(self, reply: str) -> Conversation | Unresolved:
        shape = chat_format(self.tokenizer, self.prompt_template, self.version)
        if isinstance(shape, Unresolved):
            return shape
        columns = self._columns()
        if isinstance(columns, Unresolved):
            return columns
        system = self.given.get("new_system_prompt")
        if drops_system(self.tokenizer, self.version):
            templated = system is not None and self.prompt_template is not None  # which sees it first
            system = None
            if templated or self._kind() in (Kind.SHAREGPT, Kind.OPENAI, Kind.PREFERENCE):
                return Unresolved("the tokenizer of this version leaves system messages out")
        talk = Conversation(
            shape[0],
            self._loss(shape[1], system is not None),
            system=None if system is None else str(system),
            replace_system=system is not None,
            ordered=not reply,
        )
        if reply:
            talk = replace(talk, loss=replace(shape[1], header=False, last_only=True))
        match self._kind():
            case Kind.PREFERENCE:
                return replace(talk, column=columns[reply], roles=_OPENAI)
            case Kind.PAIRED:
                asked, answer = Column(columns["prompt"]), Column(columns[reply])
                return replace(talk, turns=(Turn("user", (asked,)), Turn("assistant", (answer,))))
            case Kind.ALPACA:
                prompt = _alpaca_prompt(columns["instruction"], columns["input"])
                return replace(talk, turns=(Turn("user", prompt), Turn("assistant", (Column(columns["output"]),))))
            case Kind.PAIR:
                before, after = self.around
                user: tuple[Segment, ...] = (Column(columns["input"]),)
                user = (Text(before), *user, Text(after)) if before or after else user
                return replace(talk, turns=(Turn("user", user), Turn("assistant", (Column(columns["output"]),))))
            case Kind.SHAREGPT:
                column = columns["conversations"]
                return replace(talk, column=column, role_key="from", content_key="value", roles=_SHAREGPT)
            case Kind.OPENAI:
                return replace(talk, column=columns["conversations"], roles=_OPENAI)
            case _:
                return Unresolved(f"conversation_style: {self.given.get('conversation_style')}")

    def _columns(self) -> Mapping[str, str] | Unresolved:
        """Which column stands for which of the builder's names."""
        if self.builder.kind is Kind.CHAT:
            return {"conversations": str(self.given.get("conversation_column"))}
        mapped = self.given.get("column_map")
        if not mapped:
            # 0.6.1 takes an empty map for a map without its keys, but samsum_dataset and chats for none
            strict = mapped is not None and self.builder.kind is Kind.PAIR and self.version != MAIN
            strict = strict and not before(self.version, "0.4.0")
            if strict and self.builder.columns == _PAIR.columns:
                return Unresolved("column_map without input and output")
            return self.builder.columns
        if not isinstance(mapped, dict):
            return Unresolved(f"column_map: {mapped}")
        missing = _missing(self.builder, mapped, self.version)
        if missing:
            return Unresolved("column_map without " + " and ".join(missing))
        # this builder's own names hold only where there is no map at all
        kept = (
            {name: name for name in self.builder.columns} if self.builder.kind is Kind.PAIRED else self.builder.columns
        )
        return {**kept, **{name: str(column) for name, column in mapped.items()}}

    def _loss(self, base: Loss, replaced: bool) -> Loss:
        """Trained roles. A system message is masked if it is the config's own, and on main always."""
        train_on_input = self.given.get("train_on_input")
        if train_on_input is None and self.version == MAIN:
            train_on_input = self.builder.kind is Kind.ALPACA
        if not train_on_input:
            return base
        prompt = {"user"} if replaced or self.version == MAIN else {"user", "system"}
        return replace(base, roles=base.roles | prompt)
