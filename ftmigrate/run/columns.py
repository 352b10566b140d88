"""Which columns a rendering reads, and which of them hold messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ftmigrate.run.rendering import (
    Column,
    Conversation,
    Item,
    Labelled,
    Listed,
    Refused,
    Rendering,
    Segment,
    Steps,
    Stripped,
    Text,
    Tokens,
    When,
)


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


def column_names(rendering: Rendering) -> tuple[str, ...]:
    """The columns in the order of their use; a list of messages with its keys (`messages[].role`)."""
    found: list[str] = []
    for name, talk in columns(rendering.segments).items():
        found.append(name)
        if isinstance(talk, Conversation) and not talk.or_text:
            found += [f"{name}[].{talk.role_key}", f"{name}[].{talk.content_key}"]
    return tuple(found)
