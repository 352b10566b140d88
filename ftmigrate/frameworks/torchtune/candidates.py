"""The dataset component for a wanted rendering: candidates are decoded as any config's are, the nearest is taken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ftmigrate.document.model import Unresolved, Value
from ftmigrate.frameworks.table import ABSENT, Wanted
from ftmigrate.frameworks.torchtune import datasets
from ftmigrate.frameworks.torchtune.chat_formats import TEMPLATES, default_template
from ftmigrate.memo import remember
from ftmigrate.run.closeness import edits, weight
from ftmigrate.run.columns import column_names, columns
from ftmigrate.run.evaluation import evaluate
from ftmigrate.run.likeness import compare
from ftmigrate.run.rendering import Conversation, Rendering, Unrenderable, When
from ftmigrate.run.source import Location

_HERE = "torchtune.datasets."
_SPECIAL = re.compile(r"\{[be]os\}|<\|?[^<>\s]{1,40}\|?>|\[/?INST\]")
_MARK = "\N{SYMBOL FOR NULL}"  # around the name of a column where its text would stand
Tokens = Mapping[str, str]


class Candidate(NamedTuple):
    """Arguments of a dataset component without those of its place; template: the tokenizer's (ABSENT: none is named)."""

    args: Mapping[str, Value]
    template: Any = ABSENT


def write(wanted: Sequence[Mapping[str, Any]], told: Wanted) -> Mapping[str, Value]:
    """Keys for the wanted sources. The tokenizer's prompt template, which all share, is the first source's."""
    tokenizer, version = str(told.reader.value("tokenizer._component_")), told.reader.version
    keys: dict[str, Value] = {}
    entries: list[Value] = []
    for index, source in enumerate(wanted):
        fixed = () if index == 0 else (keys.get("tokenizer.prompt_template", ABSENT),)
        chosen = best(source, tokenizer, version, dict(told.tokens), fixed)
        if chosen.template is not ABSENT:
            keys["tokenizer.prompt_template"] = chosen.template
        component = str(chosen.args["_component_"])
        known = datasets.parameters(component, version)
        entry = {**chosen.args, **_place(source, component, version)}
        if "packed" in known:
            entry["packed"] = bool(told.run["sequence.packing"])
            if entry["packed"] and known.get("split_across_pack") and told.run["sequence.split_across_packs"] is False:
                entry["split_across_pack"] = False
        entries.append({name: entry[name] for name in sorted(entry, key=lambda name: _RANK.get(name, 9))})
    return {**keys, "dataset": entries[0] if len(entries) == 1 else entries}


# the component first, then where the rows are, then how they are read
_RANK = {"_component_": 0, "source": 1, "name": 2, "subset": 2, "data_files": 2, "data_dir": 2, "split": 3}


def _place(source: Mapping[str, Any], component: str, version: str) -> dict[str, Value]:
    """The arguments that say where a source's rows are."""
    builder = datasets.BUILDERS[component]
    place: dict[str, Value] = {}
    location = source.get("location")
    if isinstance(location, Location):
        place["source"] = location.path if location.format is None else location.format
        files = [*location.files]
        if location.format is not None and not files:
            place["data_files"] = location.path
        elif files:
            place["data_files"] = files[0] if len(files) == 1 else [*files]
    elif isinstance(location, Unresolved):
        place["source"] = location
    own = datasets.parameters(component, version)
    for name, argument in (("subset", builder.subset), ("split", "split"), ("revision", "revision"),
                           ("data_dir", "data_dir")):  # fmt: skip
        if source.get(name) not in (None, own.get(argument)) and argument not in builder.load:
            value = source[name]
            place[argument] = [*value] if isinstance(value, tuple) else value
    options = source.get("load_options")
    if isinstance(options, Mapping) and options.get("trust_remote_code"):
        place["trust_remote_code"] = True
    return place


def best(source: Mapping[str, Any], tokenizer: str, version: str, tokens: Tokens, fixed: Sequence[Any]) -> Candidate:
    """The candidate whose text, then mask, differs least from what is wanted. fixed: the one template allowed, if any."""
    text, rejected = source.get("text"), source.get("rejected")
    if isinstance(text, Rendering) and isinstance(rejected, Rendering):
        return _best((text, rejected), tokenizer, version, tokens, fixed, source.get("data_dir"))
    if isinstance(text, Rendering) and not isinstance(rejected, Unresolved):
        return _best((text,), tokenizer, version, tokens, fixed, None)
    unknown: Any = text if isinstance(text, Unresolved) else rejected
    if isinstance(rejected, Unresolved):
        return _by_hand(unknown)
    return Candidate({"_component_": _HERE + "chat_dataset", "conversation_column": unknown,
                      "conversation_style": "openai"})  # fmt: skip


@remember(256)
def _best(
    wanted: tuple[Rendering, ...],
    tokenizer: str,
    version: str,
    tokens: Tokens,
    fixed: Sequence[Any],
    folder: object,
) -> Candidate:
    ranked: list[tuple[tuple[int, ...], int, Candidate, set[str]]] = []
    proposals = _pairs(wanted, folder) if len(wanted) == 2 else _singles(wanted[0], tokens)
    for order, candidate in enumerate(proposals):
        if fixed and candidate.template != fixed[0]:
            candidate = candidate._replace(template=fixed[0])
        template = candidate.template
        if template is ABSENT:
            template = default_template(tokenizer, version)
        component = str(candidate.args["_component_"])
        decoded = datasets.decode(component, candidate.args, tokenizer, template, version)
        got = [decoded[name].value for name in ("text", "rejected") if name in decoded][: len(wanted)]
        pairs = [(one, other) for one, other in zip(wanted, got, strict=False) if isinstance(other, Rendering)]
        if len(pairs) < len(wanted):
            continue
        found = [difference for one, other in pairs for difference in compare(one, other, tokens)]
        apart = sum(edits(one, other, tokens) for one, other in pairs)
        lost = sum(len(set(column_names(one)) ^ set(column_names(other))) for one, other in pairs)
        texts, padded, masks, empty = weight(found)
        # the mask of a whole prompt outweighs white space at the ends of columns
        needed, read = ({name for pair in pairs for name in columns(pair[side].segments)} for side in (0, 1))
        ranked.append(((lost, apart, texts, masks, padded, empty), order, candidate, needed - read))
    if not ranked:
        return _no_column(f"a dataset for the {tokenizer.rsplit('.', 1)[-1]}")
    *_, candidate, unread = min(ranked, key=lambda item: item[:2])
    if len(wanted) == 2:
        return _unread(unread) if unread else candidate
    always = unread - _alternatives(wanted[0]) if _is_row(wanted[0]) else set()
    if not always:
        return candidate
    listed = ", ".join(sorted(always))
    return _no_column(f"rows without a message to hold {listed}: no data set here puts so many columns into one")


def _no_column(why: str) -> Candidate:
    return Candidate({"_component_": _HERE + "text_completion_dataset", "column": Unresolved(why)})


def _is_row(wanted: Rendering) -> bool:
    """Whether a text is made of a row's columns, and not of one column with messages."""
    return not any(isinstance(segment, Conversation) and segment.column for segment in wanted.segments)


def _unread(names: set[str]) -> Candidate:
    """Pairs whose prompt stands in columns of its own: data/_messages.py, ChosenRejectedToMessages, has whole conversations."""
    few = "the column" if len(names) == 1 else "the columns"
    why = f"rows in which both replies stand behind their whole conversation: {few} {', '.join(sorted(names))} cannot be read"
    return _by_hand(Unresolved(why))


def _by_hand(unknown: Value) -> Candidate:
    return Candidate(
        {"_component_": _HERE + "preference_dataset", "column_map": {"chosen": unknown, "rejected": unknown}}
    )


# --- candidates -------------------------------------------------------------------------------------------------


def _singles(wanted: Rendering, tokens: Tokens) -> Iterator[Candidate]:
    match wanted.segments:
        case (Conversation(column=column) as talk,) if column:
            made = _chats(talk)
        case _:
            made = _columns(wanted, tokens)
    for args, templates in made:
        toggles = [{}] if args["_component_"] == _HERE + "text_completion_dataset" else _MASKS
        for toggle in toggles:
            for template in (ABSENT, *templates, None):
                yield Candidate(_without_defaults({**args, **toggle}), template)


_MASKS: list[dict[str, Value]] = [{"train_on_input": False}, {"train_on_input": True}]
_Made = tuple[dict[str, Value], list[Any]]


def _without_defaults(args: dict[str, Value]) -> dict[str, Value]:
    own = datasets.parameters(str(args["_component_"]), "0.6.1")
    return {name: value for name, value in args.items() if name != "train_on_input" or own.get(name) != value}


def _chats(talk: Conversation) -> Iterator[_Made]:
    names = ("sharegpt", "openai") if talk.role_key == "from" else ("openai", "sharegpt")
    for style in names:
        args: dict[str, Value] = {
            "_component_": _HERE + "chat_dataset",
            "conversation_column": talk.column,
            "conversation_style": style,
        }
        if talk.system is not None:
            yield {**args, "new_system_prompt": talk.system}, []
        yield args, []


def _columns(wanted: Rendering, tokens: Tokens) -> Iterator[_Made]:
    """Prompts made of columns: a named prompt, or one column with text around it; then plain text of one column."""
    names = [name for name, listed in columns(wanted.segments).items() if listed is None]
    optional = _alternatives(wanted)
    if not names or len(names) < len(columns(wanted.segments)):
        return
    row = {name: f"{_MARK}{name}{_MARK}" for name in names}
    order = sorted(names, key=lambda name: _at(wanted, row, row[name]))
    reply, prompt = order[-1], order[:-1]
    if prompt and re.search(r"\w", _SPECIAL.sub("", _text(wanted, row).rpartition(row[reply])[2])):
        return  # the reply is no column: it stands behind the last one
    if len(order) == 1:
        for add_eos in (True, False):
            args: dict[str, Value] = {"_component_": _HERE + "text_completion_dataset", "column": reply}
            yield (args if add_eos else {**args, "add_eos": False}), []
        return
    first = next((name for name in prompt if name not in optional), prompt[0])
    given = next((name for name in prompt if name in optional), None)
    mapped: dict[str, Value] = {"instruction": first, "input": given or "input", "output": reply}
    own = {own: column for own, column in mapped.items() if own != column}
    yield {"_component_": _HERE + "alpaca_dataset", **({"column_map": mapped} if own else {})}, []
    without = {**row, **dict.fromkeys(optional - {first, reply}, "")}
    around = _around(wanted, without, row[first], row[reply], tokens)
    templates: list[Any] = [name for name, one in TEMPLATES.items() if "user" in one.roles]
    if around is not None and any(around):
        templates.insert(0, {"user": [*around]})
    yield {"_component_": _HERE + "instruct_dataset", "column_map": {"input": first, "output": reply}}, templates


def _alternatives(rendering: Rendering) -> set[str]:
    """Columns that may be empty or missing, with another text then."""
    found: set[str] = set()

    def walk(segments: Sequence[Any]) -> None:
        for segment in segments:
            match segment:
                case When(column, then, otherwise):
                    found.add(column)
                    walk((*then, *otherwise))
                case Conversation(turns=turns):
                    for turn in turns:
                        walk(turn.content)
                case _:
                    pass

    walk(rendering.segments)
    return found


def _text(rendering: Rendering, row: Mapping[str, str]) -> str:
    try:
        return "".join(piece.text for piece in evaluate(rendering, row))
    except Unrenderable:
        return ""


def _at(rendering: Rendering, row: Mapping[str, str], sign: str) -> int:
    return _text(rendering, row).find(sign)


def _around(
    wanted: Rendering, row: Mapping[str, str], first: str, reply: str, tokens: Tokens
) -> tuple[str, str] | None:
    """The text before and after the one prompt column; None where it has special tokens, which a template's text has not."""
    text = _text(wanted, row)
    if first not in text or reply not in text:
        return None
    before, rest = text.split(first, 1)
    for bos in ("{bos}", tokens.get("bos") or "{bos}"):
        before = before.removeprefix(bos)
    after = rest.split(reply, 1)[0]
    other = _MARK in before + after  # a column that would become text
    return None if other or _SPECIAL.search(before + after) else (before, after)


_PAIRED = _HERE + "stack_exchange_paired_dataset"


def _pairs(wanted: tuple[Rendering, ...], folder: object) -> Iterator[Candidate]:
    """A prompt and two replies, which one builder reads from a folder of its own; else two columns of messages."""
    prompts, replies = [], []
    for one in wanted:
        named = [*columns(one.segments)]
        talks = [segment for segment in one.segments if isinstance(segment, Conversation)]
        if talks and talks[0].reply:
            named = [talks[0].column, talks[0].reply]
        prompts.append(named[0])
        replies.append(named[-1])
    if prompts[0] == prompts[1] != replies[0] and folder == datasets.BUILDERS[_PAIRED].load["data_dir"]:
        asked: dict[str, Value] = {"prompt": prompts[0], "chosen": replies[0], "rejected": replies[1]}
        own = asked == dict(datasets.BUILDERS[_PAIRED].columns)
        for template in (ABSENT, None):
            yield Candidate({"_component_": _PAIRED, **({} if own else {"column_map": asked})}, template)
    mapped: dict[str, Value] = {"chosen": replies[0], "rejected": replies[1]}
    args: dict[str, Value] = {"_component_": _HERE + "preference_dataset"}
    if mapped != {"chosen": "chosen", "rejected": "rejected"}:
        args["column_map"] = mapped
    for template in (ABSENT, None):
        yield Candidate(args, template)
