"""Rendering: how one row of a dataset becomes text, and which of that text is trained.

A rendering is a tuple of segments. Special tokens are literal text here (`<|eot_id|>`); a tokenizer's own token whose
text no file says is written `{bos}` or `{eos}`. Renderings of different frameworks are compared by what they give on
sample rows (`compare`), never by how they are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple, TypeAlias

Row: TypeAlias = Mapping[str, object]


class Piece(NamedTuple):
    """A stretch of rendered text with one loss mask."""

    text: str
    trained: bool


class Unrenderable(Exception):
    """The framework itself would refuse or drop such a row (a role it does not know, a missing column)."""


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    trained: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A column's text. A missing column is an error unless `optional`, then it is empty."""

    name: str
    trained: bool = False
    strip: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class When:
    """One of two alternatives: `then` where the column is there and not empty, else `otherwise`.

    `missing`, where given, holds for a row without the column: the column is then an optional one.
    """

    column: str
    then: tuple[Segment, ...]
    otherwise: tuple[Segment, ...] = ()
    missing: tuple[Segment, ...] | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Where the framework refuses the row; the reason in words."""

    reason: str


@dataclass(frozen=True, slots=True)
class Labelled:
    """A list of mappings that hold a stretch of text each, and whether it is trained (`trained`: all are)."""

    column: str
    text_key: str
    label_key: str
    trained: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """The text of one message of a list column: the one at `index` (-1: the last), under `key`."""

    column: str
    index: int
    key: str = "content"
    trained: bool = False


@dataclass(frozen=True, slots=True)
class Tokens:
    """A row of tokens as they stand in a column; those are trained whose label is the token itself and not -100."""

    column: str
    labels: str


@dataclass(frozen=True, slots=True)
class Steps:
    """A list of texts, each followed by `separator`, whose end bears the step's label of the column `labels`.

    last_only: the last step's label alone counts.
    """

    column: str
    labels: str
    separator: str
    last_only: bool = False


@dataclass(frozen=True, slots=True)
class Stripped:
    """Segments whose joined text loses its outer white space (a framework that strips a message's whole content)."""

    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class TurnFormat:
    """What stands around one message's content. strip: True takes outer white space off the content, a string takes
    those characters off its end only. empty_footer: the footer behind an empty content, where it is another.

    thinking: what becomes of a thought, which a message holds apart or in its content up to `</think>`: `drop` leaves
    it out, `show` puts it, or an empty one, between `<think>` and `</think>` in front of the content.
    """

    header: str
    footer: str
    strip: bool | str = False
    empty_footer: str | None = None
    thinking: str = ""


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """A chat template's turn structure.

    prefix, suffix: text once around the conversation (BOS, EOS). roles: the turn format per role; a role not named is
    refused. default_system: a system turn's content that is added when the conversation has none.
    first: turn formats that hold for the conversation's first turn of a role where they differ (`{role: format}`).
    system_in_user: the system content stands inside the first user turn, between these two strings.
    system_strip: as TurnFormat.strip, for that content. system_in_every_user: it stands in each user turn, not only the
    first.
    last: turn formats that hold for the conversation's last turn.
    keep_prefix_per_exchange: prefix is repeated before each turn that follows an assistant turn, and the suffix ends
    each assistant turn (Llama 2 style).
    separate: header, content and footer are tokenised each on its own as sentencepiece does it: each loses the spaces
    at its end, and each that is not empty is led by this text (the tokenizer's dummy prefix, "" or " "), but not right
    after the prefix nor in a message that follows, in one exchange, a message that does not end with a space. A turn
    is then trained as a whole.
    skip_empty_system: an empty system message is as good as none.
    external: the template that stands elsewhere and could not be read, in words; the turns' texts stand in for its own,
    so that equal references are equal.
    """

    roles: Mapping[str, TurnFormat]
    prefix: str = ""
    suffix: str = ""
    default_system: str | None = None
    first: Mapping[str, TurnFormat] = field(default_factory=dict)
    system_in_user: tuple[str, str] | None = None
    keep_prefix_per_exchange: bool = False
    system_strip: bool | str = True
    system_in_every_user: bool = False
    last: Mapping[str, TurnFormat] = field(default_factory=dict)
    separate: str | None = None
    skip_empty_system: bool = False
    external: str = ""


class Ends(NamedTuple):
    """End tokens that a framework looks for behind a content, and behind which turns it trains them.

    turns: `turn` (the trained ones), `all`, `last` (the last one found), `none`. Only the first of the tokens counts.
    """

    tokens: tuple[str, ...]
    turns: str = "turn"


@dataclass(frozen=True, slots=True)
class Loss:
    """Which parts of a conversation are trained.

    roles: those whose turns are trained. header, footer: whether the text around a trained turn's content is trained
    too. last_only: only the last trained turn counts. prefix, suffix: whether BOS / EOS around all are trained;
    edges_as_turn: instead, BOS is trained with the turn it stands before and EOS with the one it stands after.
    contents: nothing but contents is trained (not the text around them, nor a turn without content), a folded system
    message by its own role; and behind them the single tokens that `ends` names, be they in the footer or the suffix.
    ends without contents: the tokens of the suffix that are trained. What a chat format itself adds is never trained.
    lead: spaces at the end of a header that is not trained are trained with the content.
    """

    roles: frozenset[str] = frozenset({"assistant"})
    header: bool = True
    footer: bool = True
    last_only: bool = False
    prefix: bool = False
    suffix: bool = False
    edges_as_turn: bool = False
    contents: bool = False
    ends: tuple[Ends, ...] = ()
    lead: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """A message that a dataset builder makes from the row's columns."""

    role: str
    content: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in a chat format.

    Either `turns` (built from columns), or the messages stand in the row under `column` as a list of mappings with
    `role_key` and `content_key`; `roles` maps the data's role names to system | user | assistant | tool (others are
    refused). `system`: a system message put in front; `replace_system`: in place of one that the data has, whose
    own are dropped. `skip_system`: system messages of the data are left out. `ordered`: refuses fewer than two
    messages, a system message that is not the first, two user messages in a row, an assistant message not after a
    user's. `system_column`: a column that, where the row has it, gives a system message to a conversation without one.
    `reply`: a column whose last message ends the conversation; `without_last`: the last one under `column` gives way to
    it. `or_text`: a column may hold a text instead of a list: `column` the user's, `reply` the assistant's.
    `every_user`: a column that, where the row has it, is the content of each user message. `thought_key`: where a
    message may hold its thought apart, for a turn format with `thinking`.
    """

    format: ChatFormat
    loss: Loss
    turns: tuple[Turn, ...] = ()
    column: str = ""
    role_key: str = "role"
    content_key: str = "content"
    roles: Mapping[str, str] = field(default_factory=lambda: {r: r for r in ("system", "user", "assistant", "tool")})
    system: str | None = None
    replace_system: bool = False
    skip_system: bool = False
    ordered: bool = False
    system_column: str = ""
    reply: str = ""
    without_last: bool = False
    or_text: bool = False
    every_user: str = ""
    thought_key: str = ""


Segment: TypeAlias = "Text | Column | When | Refused | Labelled | Item | Tokens | Steps | Stripped | Conversation"
Listed: TypeAlias = "Conversation | Labelled | Item | Tokens | Steps"


@dataclass(frozen=True, slots=True)
class Rendering:
    """segments in order; `note` names the construct in the user's words (`alpaca prompt in the llama3 chat format`)."""

    segments: tuple[Segment, ...]
    note: str = ""


# --- evaluation -------------------------------------------------------------------------------------------------


def evaluate(rendering: Rendering, row: Row) -> tuple[Piece, ...]:
    """The row's text with its mask, adjacent pieces of one mask joined. Raises Unrenderable."""
    return merge(_segments(rendering.segments, row))


def merge(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    out: list[Piece] = []
    for piece in pieces:
        if not piece.text:
            continue
        if out and out[-1].trained == piece.trained:
            out[-1] = Piece(out[-1].text + piece.text, piece.trained)
        else:
            out.append(piece)
    return tuple(out)


def _segments(segments: Sequence[Segment], row: Row) -> Iterator[Piece]:
    for segment in segments:
        match segment:
            case Text(text, trained):
                yield Piece(text, trained)
            case Column(name, trained, strip, optional):
                if name not in row and not optional:
                    raise Unrenderable(f"the row has no column {name}")
                value = row.get(name)
                text = "" if value is None else str(value)
                yield Piece(text.strip() if strip else text, trained)
            case When(column, then, otherwise, missing):
                if column not in row and missing is not None:
                    otherwise = missing
                yield from _segments(then if row.get(column) else otherwise, row)
            case Refused(reason):
                raise Unrenderable(reason)
            case Labelled(column, text_key, label_key, trained):
                listed = row.get(column)
                if not isinstance(listed, list):
                    raise Unrenderable(f"the row has no list in column {column}")
                yield from (Piece(str(item[text_key]), trained or bool(item[label_key])) for item in listed)
            case Item(column, index, key, trained):
                messages = row.get(column)
                if not isinstance(messages, list) or not -len(messages) <= index < len(messages):
                    raise Unrenderable(f"the row has no message {index + 1} in column {column}")
                yield Piece(str(messages[index][key]), trained)
            case Tokens(column, labels):
                yield from _tokens(row, column, labels)
            case Steps():
                yield from _steps(segment, row)
            case Stripped(inner):
                yield from _strip(merge(_segments(inner, row)))
            case Conversation():
                yield from _conversation(segment, row)


def _tokens(row: Row, column: str, labels: str) -> Iterator[Piece]:
    ids, marks = row.get(column), row.get(labels)
    if not isinstance(ids, list) or not isinstance(marks, list) or len(ids) != len(marks):
        raise Unrenderable(f"the row has no lists of one length in the columns {column} and {labels}")
    yield from (Piece(f"⟨{token}⟩", mark != -100) for token, mark in zip(ids, marks, strict=True))


def _steps(steps: Steps, row: Row) -> Iterator[Piece]:
    texts, labels = row.get(steps.column), row.get(steps.labels)
    if not isinstance(texts, list) or not isinstance(labels, list):
        raise Unrenderable(f"the row has no lists in the columns {steps.column} and {steps.labels}")
    if len(labels) < len(texts):
        raise Unrenderable("steps without a label")
    for index, text in enumerate(texts):
        yield Piece(str(text) + steps.separator[:-1], False)
        yield Piece(steps.separator[-1:], not steps.last_only or index == len(labels) - 1)


def _strip(pieces: Sequence[Piece]) -> Iterator[Piece]:
    kept = list(pieces)
    while kept and not kept[0].text.lstrip():
        kept.pop(0)
    while kept and not kept[-1].text.rstrip():
        kept.pop()
    if kept:
        kept[0] = Piece(kept[0].text.lstrip(), kept[0].trained)
        kept[-1] = Piece(kept[-1].text.rstrip(), kept[-1].trained)
    yield from kept


class _Message(NamedTuple):
    role: str
    content: tuple[Piece, ...]
    added: bool = False
    thought: str | None = None

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.content)


def _messages(talk: Conversation, row: Row) -> list[_Message]:
    if talk.turns:
        found = [_Message(turn.role, merge(_segments(turn.content, row))) for turn in talk.turns]
    else:
        listed = row.get(talk.column)
        if talk.or_text and isinstance(listed, str):
            found = [_Message("user", (Piece(listed, False),))]
        elif isinstance(listed, list):
            found = [_message(talk, item) for item in (listed[:-1] if talk.without_last else listed)]
        else:
            raise Unrenderable(f"the row has no list in column {talk.column}")
    if talk.reply:
        reply = row.get(talk.reply)
        if talk.or_text and isinstance(reply, str):
            found.append(_Message("assistant", (Piece(reply, False),)))
        elif isinstance(reply, list) and reply:
            found.append(_message(talk, reply[-1]))
        else:
            raise Unrenderable(f"the row has no message in column {talk.reply}")
    if talk.every_user and talk.every_user in row:
        same = (Piece(str(row[talk.every_user]), False),)
        found = [_Message("user", same) if message.role == "user" else message for message in found]
    has_system = bool(found) and found[0].role == "system"
    if talk.system_column in row and not has_system:
        found.insert(0, _Message("system", (Piece(str(row[talk.system_column]), False),)))
        has_system = True
    if talk.skip_system or (talk.replace_system and talk.system is not None):
        found = [message for message in found if message.role != "system"]
        has_system = False
    if talk.system is not None and not has_system:
        found.insert(0, _Message("system", (Piece(talk.system, False),)))
        has_system = True
    if talk.format.skip_empty_system:
        found = [message for message in found if message.role != "system" or message.text]
    if talk.format.default_system is not None and not has_system:
        found.insert(0, _Message("system", (Piece(talk.format.default_system, False),), added=True))
    return found


def _message(talk: Conversation, item: Mapping[str, object]) -> _Message:
    for key in (talk.role_key, talk.content_key):
        if key not in item:
            raise Unrenderable(f"a message has no {key}")
    name = item[talk.role_key]
    if not isinstance(name, str) or name not in talk.roles:
        raise Unrenderable(f"role {name} is not known")
    thought = item.get(talk.thought_key) if talk.thought_key else None
    content = (Piece(str(item[talk.content_key]), False),)
    return _Message(talk.roles[name], content, thought=thought if isinstance(thought, str) else None)


def _check_order(messages: Sequence[_Message]) -> None:
    if len(messages) < 2:
        raise Unrenderable("fewer than two messages")
    before = "assistant"
    for index, message in enumerate(messages):
        if message.role == "system" and index:
            raise Unrenderable("a system message that is not the first")
        if message.role == "user" and before == "user":
            raise Unrenderable("two user messages in a row")
        if message.role == "assistant" and before != "user":
            raise Unrenderable("an assistant message that follows no user message")
        before = message.role


def _trim(pieces: Iterable[Piece], strip: bool | str) -> tuple[Piece, ...]:
    if strip is True:
        return tuple(_strip(merge(pieces)))
    kept = list(merge(pieces))
    if isinstance(strip, str):
        while kept and not kept[-1].text.rstrip(strip):
            kept.pop()
        if kept:
            kept[-1] = Piece(kept[-1].text.rstrip(strip), kept[-1].trained)
    return tuple(kept)


_OPEN, _CLOSE = "<think>", "</think>"


def _thought(message: _Message, turn: TurnFormat) -> tuple[str, tuple[Piece, ...]]:
    """What opens an answer, and the answer with its thought: an empty thought belongs to the former."""
    if not turn.thinking:
        return "", message.content
    text, thought = message.text, message.thought or ""
    if message.thought is None and _CLOSE in text:
        thought = text.split(_CLOSE)[0].rstrip("\n").split(_OPEN)[-1].lstrip("\n")
        text = text.split(_CLOSE)[-1].lstrip("\n")
    if turn.thinking == "drop":
        return "", (Piece(text, False),)
    thought, closing = thought.strip("\n"), f"\n{_CLOSE}\n\n"
    opening = f"{_OPEN}\n" if thought else f"{_OPEN}\n{closing}"
    return opening, (Piece((thought + closing if thought else "") + text.lstrip("\n"), False),)


def _conversation(talk: Conversation, row: Row) -> Iterator[Piece]:
    shape, loss = talk.format, talk.loss
    messages = _messages(talk, row)
    if talk.ordered:
        _check_order(messages)
    folded: tuple[str, ...] = ()
    system_counts = False
    if shape.system_in_user is not None and messages and messages[0].role == "system":
        before, after = shape.system_in_user
        system_counts = _counts(messages[0], loss)
        content = messages.pop(0).content
        if shape.separate is None:
            content = _trim(content, shape.system_strip)
        folded = (before, "".join(piece.text for piece in content), after)
    trained_at = [i for i, message in enumerate(messages) if _counts(message, loss)]
    if loss.last_only:
        trained_at = trained_at[-1:]
    if not messages:
        yield Piece(shape.prefix + shape.suffix, False)
    last_trained = max(trained_at, default=-1)
    seen: set[str] = set()
    bare = True  # whether nothing stands behind the prefix yet
    spaced = False  # whether the message before, in the same exchange, ends with a space
    for index, message in enumerate(messages):
        is_last = index == len(messages) - 1
        turn = shape.first.get(message.role) if message.role not in seen else None
        turn = (shape.last.get(message.role) if is_last else None) or turn or shape.roles.get(message.role)
        if turn is None:
            raise Unrenderable(f"the chat format has no {message.role} turn")
        opening, content = _thought(message, turn)
        turn = replace(turn, header=turn.header + opening) if opening else turn
        footer = turn.footer if turn.empty_footer is None or message.text else turn.empty_footer
        trained = index in trained_at
        opens = index == 0 or (shape.keep_prefix_per_exchange and messages[index - 1].role == "assistant")
        if opens:
            yield Piece(shape.prefix, trained if loss.edges_as_turn else loss.prefix)
        inside: tuple[str, ...] = ()
        if message.role == "user" and ("user" not in seen or shape.system_in_every_user):
            inside = folded
        closes = message.role == "assistant" if shape.keep_prefix_per_exchange else is_last
        holds = {"turn": trained, "all": True, "last": index == last_trained}
        if loss.contents:
            yield Piece(turn.header, False)
            for at, text in enumerate(inside):
                yield Piece(text, system_counts and at == 1)
            yield from (Piece(piece.text, trained) for piece in _trim(content, turn.strip))
            behind = turn.footer + (shape.suffix if closes else "")
            blank = message.added or not message.text.strip()
            yield from _ends(behind, () if blank else loss.ends, holds)
            seen.add(message.role)
            continue
        if shape.separate is None:
            head = turn.header.rstrip(" ") if loss.lead else turn.header
            yield Piece(head, trained and loss.header)
            yield Piece(turn.header[len(head) :], trained)
            yield Piece("".join(inside), trained)
            for piece in _trim(content, turn.strip):
                yield Piece(piece.text, trained)
            yield Piece(footer, trained and loss.footer)
        else:
            items = [text for text in (turn.header, *inside, message.text, footer) if text]
            lead = shape.separate if opens or spaced else ""
            texts = [lead + text.rstrip(" ") for text in items if text.rstrip(" ")]
            joined = "".join(texts)
            bare = opens or bare
            yield Piece(joined.removeprefix(shape.separate) if bare else joined, trained)
            bare = bare and not joined
            spaced = (footer or message.text).endswith(" ")
        if closes and loss.ends:
            yield from _ends(shape.suffix, loss.ends, holds)
        elif closes:
            yield Piece(shape.suffix, trained if loss.edges_as_turn else loss.suffix)
        seen.add(message.role)


def _counts(message: _Message, loss: Loss) -> bool:
    if message.added or (loss.contents and not message.text.strip()):
        return False
    return message.role in loss.roles


def _ends(text: str, rules: Sequence[Ends], holds: Mapping[str, bool]) -> Iterator[Piece]:
    marked = set()
    for tokens, turns in rules:
        found = [(text.index(token), token) for token in tokens if token and token in text]
        if found and holds.get(turns, False):
            at, token = min(found)
            marked.add((at, at + len(token)))
    at = 0
    for start, end in sorted(marked):
        yield Piece(text[at:start], False)
        yield Piece(text[start:end], True)
        at = end
    yield Piece(text[at:], False)


# --- comparison -------------------------------------------------------------------------------------------------


def columns(segments: Sequence[Segment]) -> dict[str, Listed | None]:
    """The columns a rendering needs: name -> the segment that reads it as a list of mappings, or None for text."""
    found: dict[str, Listed | None] = {}
    for segment in segments:
        match segment:
            case Column(name):
                found.setdefault(name, None)
            case When(column, then, otherwise, missing):
                inner = dict(columns((*then, *otherwise, *(missing or ()))))
                if missing is None:
                    found.setdefault(column, None)
                else:
                    inner.pop(column, None)
                found.update({k: v for k, v in inner.items() if k not in found})
            case Labelled(name) | Item(name):
                found[name] = segment
            case Tokens(name, labels) | Steps(name, labels):
                found[name] = found[labels] = segment
            case Stripped(segments):
                found.update({k: v for k, v in columns(segments).items() if k not in found})
            case Conversation(turns=turns, column=column, reply=reply):
                found.update({name: segment for name in (column, reply) if name})
                for turn in turns:
                    found.update({k: v for k, v in columns(turn.content).items() if k not in found})
            case Text() | Refused():
                pass
    return found


def outside(rendering: Rendering) -> str | None:
    """What stands outside the file and was not read, in words; None for a rendering that is known in full."""
    return next(iter(_outside(rendering.segments)), None)


def _outside(segments: Sequence[Segment]) -> Iterator[str]:
    for segment in segments:
        match segment:
            case Conversation(format=shape) if shape.external:
                yield shape.external
            case When(_, then, otherwise, missing):
                yield from _outside((*then, *otherwise, *(missing or ())))
            case _:
                pass


def optional_columns(segments: Sequence[Segment]) -> set[str]:
    """The columns a rendering reads only where a row has them."""
    found: set[str] = set()
    for segment in segments:
        match segment:
            case When(column, then, otherwise, missing):
                found |= {column} if missing is not None else set()
                found |= optional_columns((*then, *otherwise))
            case Stripped(segments):
                found |= optional_columns(segments)
            case Conversation(turns=turns, system_column=column):
                found |= {name for name in (column, segment.every_user) if name}
                found |= {name for turn in turns for name in optional_columns(turn.content)}
            case _:
                pass
    return found


_TALKS: tuple[tuple[str, ...], ...] = (
    ("user", "assistant"),
    ("system", "user", "assistant"),
    ("user", "assistant", "user", "assistant"),
    ("system", "user", "assistant", "user", "assistant"),
)


def column_names(rendering: Rendering) -> tuple[str, ...]:
    """The columns in the order of their use; a list of messages with its keys (`messages[].role`)."""
    found: list[str] = []
    for name, talk in columns(rendering.segments).items():
        found.append(name)
        if isinstance(talk, Conversation) and not talk.or_text:
            found += [f"{name}[].{talk.role_key}", f"{name}[].{talk.content_key}"]
    return tuple(found)


PLAIN, PADDED, TRAILING = "plain", "outer blanks", "blanks at the end"


class Sample(NamedTuple):
    """A row to compare renderings on; `kind` is PLAIN, PADDED (outer white space), TRAILING (blanks only, at the end) or names
    what is special."""

    kind: str
    row: dict[str, object]


def samples(*renderings: Rendering) -> list[Sample]:
    """Rows that tell renderings apart: all columns filled, each one empty, outer white space, blanks at the end (some
    tokenizers take off no other white space), several turns.

    Columns that a rendering reads only where they are there are filled in rows of their own, for the first rendering.
    """
    names: dict[str, Listed | None] = {}
    for rendering in renderings:
        for name, talk in columns(rendering.segments).items():
            if name not in names or (names[name] is None and not _takes_text(talk, name)):
                names[name] = talk
            elif talk is None and _takes_text(names[name], name):
                names[name] = None
    text = [name for name, talk in names.items() if talk is None]
    full: dict[str, object] = {name: f"<{name} 1>\nline two" for name in text}
    talks = {name: talk for name, talk in names.items() if talk is not None}
    out: list[Sample] = []
    for turns in _TALKS if talks else ((),):
        row = dict(full)
        for name, talk in talks.items():
            row[name] = _talk(talk, name, turns, last=name if len(talks) > 1 else "")
        kind = PLAIN if turns in ((), _TALKS[0]) else "turns: " + ", ".join(turns)
        out.append(Sample(kind, row))
    for kind, before, after in ((PADDED, " ", " \n"), (TRAILING, "", "  ")):
        padded = {**out[0].row, **{name: f"{before * 2}<{name} 1>{after}" for name in text}}
        padded |= {
            name: _talk(talk, name, _TALKS[0], before, after, last=name if len(talks) > 1 else "")
            for name, talk in talks.items()
        }
        out.append(Sample(kind, padded))
    if any(_thinks(rendering.segments) for rendering in renderings):
        out += [Sample("thoughts", _thoughtful(sample.row, talks)) for sample in out[:3:2]]
    out += [Sample(f"empty {name}", {**out[0].row, name: ""}) for name in text]
    extra = optional_columns(renderings[0].segments) - set(names) if renderings else set()
    out += [Sample(f"with {name}", {**out[0].row, name: f"<{name} 1>\nline two"}) for name in sorted(extra)]
    return out


def _thinks(segments: Sequence[Segment]) -> bool:
    turns = [
        turn
        for segment in segments
        if isinstance(segment, Conversation)
        for turn in (*segment.format.roles.values(), *segment.format.last.values())
    ]
    return any(turn.thinking for turn in turns)


def _thoughtful(row: Row, talks: Mapping[str, Listed]) -> dict[str, object]:
    """The row with a thought in front of each message."""
    out = dict(row)
    for name, talk in talks.items():
        listed = row[name]
        if isinstance(talk, Conversation) and isinstance(listed, list):
            key = talk.content_key
            out[name] = [{**item, key: f"{_OPEN}\n<thought>\n{_CLOSE}\n\n{item[key]}"} for item in listed]
    return out


def _takes_text(talk: Listed | None, name: str) -> bool:
    """Whether a column that is read as messages may hold a text as well."""
    return talk is None or (isinstance(talk, Conversation) and talk.or_text and name in (talk.column, talk.reply))


def _marked(listed: Tokens | Steps, name: str, turns: Sequence[str], before: str, after: str) -> list[object]:
    """Two tokens or one step a turn, or their labels."""
    if isinstance(listed, Steps):
        return [role == "assistant" if name == listed.labels else f"{before}<{role} step>{after}" for role in turns]
    ids = [(at, role) for at, role in enumerate(role for role in turns for _ in range(2))]
    return [101 + at if name == listed.column or role == "assistant" else -100 for at, role in ids]


def _talk(
    talk: Listed, name: str, turns: Sequence[str], before: str = "", after: str = "", last: str = ""
) -> Sequence[object]:
    """Messages for one column, each with white space before and after it; `last` marks the last one, so that columns
    that share a prompt differ."""
    if isinstance(talk, Item):
        talk = Conversation(ChatFormat({}), Loss(), column=talk.column, content_key=talk.key)
    if isinstance(talk, Tokens | Steps):
        return _marked(talk, name, turns, before, after)
    if isinstance(talk, Labelled):
        return [
            {
                talk.label_key: role == "assistant",
                talk.text_key: f"{before}<{role} {index}>{after}",
            }
            for index, role in enumerate(turns)
        ]
    names = {role: name for name, role in reversed(list(talk.roles.items()))}
    messages: list[object] = []
    for index, role in enumerate(turns):
        mark = f" of {last}" if last and index == len(turns) - 1 else ""
        content = f"<{role} {index}{mark}>\nline two"
        messages.append({talk.role_key: names.get(role, role), talk.content_key: before + content + after})
    return messages


class Difference(NamedTuple):
    """One way in which two renderings differ. kind: text | mask; where: the sample's kind; detail: in words."""

    kind: str
    where: str
    detail: str


def compare(wanted: Rendering, got: Rendering, tokens: Mapping[str, str] | None = None) -> list[Difference]:
    """How `got` differs from `wanted` on the sample rows; empty when they render alike.

    `tokens` gives the text of `{bos}` and `{eos}` where it is known, so that `{eos}` and `<|eot_id|>` can be equal.
    Trailing masked text (an EOS nobody is trained on) does not count, nor does the mask of a BOS, nor a row of one
    token: none changes the loss.
    """
    found: dict[tuple[str, str], Difference] = {}
    for kind, row in samples(wanted, got):
        first, second = outcomes(wanted, got, row, tokens)
        if first == second or first is None:
            continue
        if kind == TRAILING and any(where == PADDED for _, where, _ in found.values()):
            continue  # told already, with white space of all kinds
        difference = _difference(kind, first, second)
        found.setdefault((difference.kind, difference.detail), difference)
        besides = _contents_differ(kind, first, second) if difference.kind == "text" else None
        if besides is not None:
            found.setdefault((besides.kind, besides.detail), besides)
    return list(found.values())


def outcomes(
    wanted: Rendering, got: Rendering, row: Row, tokens: Mapping[str, str] | None = None
) -> tuple[tuple[Piece, ...] | None, tuple[Piece, ...] | None]:
    """What the two make of a row, each up to the last character that either trains; None where a row is refused."""
    bos, eos = ((tokens or {}).get(name) or "{" + name + "}" for name in ("bos", "eos"))
    found = [_outcome(with_tokens(rendering, tokens or {}), row, bos, eos) for rendering in (wanted, got)]
    end = max(_trained_length(pieces or ()) for pieces in found)
    first, second = (None if pieces is None else _head(pieces, end) for pieces in found)
    return first, second


def _outcome(rendering: Rendering, row: Row, bos: str, eos: str) -> tuple[Piece, ...] | None:
    try:
        pieces = list(evaluate(rendering, row))
    except Unrenderable:
        return None
    if "".join(piece.text for piece in pieces) in (bos, eos):
        return ()
    if pieces and pieces[0].trained and pieces[0].text.startswith(bos):
        pieces[:1] = [Piece(bos, False), Piece(pieces[0].text[len(bos) :], True)]
    return merge(pieces)


def _trained_length(pieces: tuple[Piece, ...]) -> int:
    kept = pieces if not pieces or pieces[-1].trained else pieces[:-1]
    return sum(len(piece.text) for piece in kept)


def _head(pieces: tuple[Piece, ...], length: int) -> tuple[Piece, ...]:
    out = []
    for text, trained in pieces:
        out.append(Piece(text[:length], trained))
        length -= len(out[-1].text)
    return merge(out)


def _difference(kind: str, wanted: tuple[Piece, ...], got: tuple[Piece, ...] | None) -> Difference:
    if got is None:
        return Difference("text", kind, "the target refuses such a row")
    before, after = ("".join(p.text for p in pieces) for pieces in (wanted, got))
    if before != after:
        shortest = min(len(before), len(after))
        at = next((i for i in range(shortest) if before[i] != after[i]), shortest)
        near = slice(max(0, at - 12), at + 24)
        return Difference("text", kind, f"{before[near]!r} becomes {after[near]!r}")
    lost = [text for text, old, new in _masks(wanted, got) if old and not new]
    added = [text for text, old, new in _masks(wanted, got) if new and not old]
    return Difference("mask", kind, _mask_words(lost, added))


_SIGN = re.compile(r"<[^<>|]+ \d+(?: of [^<>|]+)?>")
"""What `samples` writes for a column's or a message's content."""


def _contents_differ(kind: str, wanted: tuple[Piece, ...], got: tuple[Piece, ...] | None) -> Difference | None:
    """Where the texts differ: the contents that stand in both, but are trained in one only."""

    def trained(pieces: tuple[Piece, ...]) -> dict[str, bool]:
        return {sign: piece.trained for piece in pieces for sign in _SIGN.findall(piece.text)}

    before, after = trained(wanted), trained(got or ())
    lost = [sign for sign, old in before.items() if old and after.get(sign) is False]
    added = [sign for sign, old in before.items() if not old and after.get(sign) is True]
    return Difference("mask", kind, _mask_words(lost, added)) if lost or added else None


def _mask_words(lost: Sequence[str], added: Sequence[str]) -> str:
    words = []
    if lost:
        words.append("no longer trained: " + ", ".join(repr(text) for text in dict.fromkeys(lost)))
    if added:
        words.append("trained besides: " + ", ".join(repr(text) for text in dict.fromkeys(added)))
    return "; ".join(words)


def _masks(wanted: tuple[Piece, ...], got: tuple[Piece, ...]) -> Iterator[tuple[str, bool, bool]]:
    """The common text cut where either mask changes, with both masks."""

    def ends(pieces: tuple[Piece, ...]) -> dict[int, bool]:
        at, found = 0, {}
        for piece in pieces:
            at += len(piece.text)
            found[at] = piece.trained
        return found

    text = "".join(piece.text for piece in wanted)
    first, second = ends(wanted), ends(got)
    cuts = sorted({0, *first, *second})
    for start, end in pairwise(cuts):
        old = next(trained for at, trained in first.items() if at >= end)
        new = next(trained for at, trained in second.items() if at >= end)
        yield text[start:end], old, new


def with_tokens(rendering: Rendering, tokens: Mapping[str, str]) -> Rendering:
    """The rendering with `{bos}` / `{eos}` filled in where `tokens` has them."""
    if not tokens:
        return rendering

    def fill(text: str) -> str:
        for name, value in tokens.items():
            text = text.replace("{" + name + "}", value)
        return text

    def turn(found: TurnFormat) -> TurnFormat:
        return replace(found, header=fill(found.header), footer=fill(found.footer))

    def each(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
        return tuple(one(segment) for segment in segments)

    def one(segment: Segment) -> Segment:
        match segment:
            case Text(text):
                return replace(segment, text=fill(text))
            case When(_, then, otherwise, missing):
                absent = None if missing is None else each(missing)
                return replace(segment, then=each(then), otherwise=each(otherwise), missing=absent)
            case Stripped(inner):
                return Stripped(each(inner))
            case Conversation(shape, loss, turns):
                shape = replace(
                    shape,
                    roles={role: turn(found) for role, found in shape.roles.items()},
                    last={role: turn(found) for role, found in shape.last.items()},
                    first={role: turn(found) for role, found in shape.first.items()},
                    prefix=fill(shape.prefix),
                    suffix=fill(shape.suffix),
                )
                loss = replace(loss, ends=tuple(Ends(tuple(map(fill, names)), when) for names, when in loss.ends))
                turns = tuple(replace(found, content=each(found.content)) for found in turns)
                return replace(segment, format=shape, loss=loss, turns=turns)
            case _:
                return segment

    return replace(rendering, segments=each(rendering.segments))
