"""What a rendering makes of a row: pieces of text, each trained or masked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from ftmigrate.run.rendering import (
    THOUGHT_CLOSES,
    THOUGHT_OPENS,
    Column,
    Conversation,
    Ends,
    Item,
    Labelled,
    Loss,
    Piece,
    Refused,
    Rendering,
    Row,
    Segment,
    Steps,
    Stripped,
    Text,
    Tokens,
    TurnFormat,
    Unrenderable,
    When,
)


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


def _thought(message: _Message, turn: TurnFormat) -> tuple[str, tuple[Piece, ...]]:
    """What opens an answer, and the answer with its thought: an empty thought belongs to the former."""
    if not turn.thinking:
        return "", message.content
    text, thought = message.text, message.thought or ""
    if message.thought is None and THOUGHT_CLOSES in text:
        thought = text.split(THOUGHT_CLOSES)[0].rstrip("\n").split(THOUGHT_OPENS)[-1].lstrip("\n")
        text = text.split(THOUGHT_CLOSES)[-1].lstrip("\n")
    if turn.thinking == "drop":
        return "", (Piece(text, False),)
    thought, closing = thought.strip("\n"), f"\n{THOUGHT_CLOSES}\n\n"
    opening = f"{THOUGHT_OPENS}\n" if thought else f"{THOUGHT_OPENS}\n{closing}"
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
