"""Dataset entries that may say a wanted pair of a chosen and a rejected reply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from ftmigrate import schema
from ftmigrate.document.model import Value
from ftmigrate.frameworks.axolotl import jinja, pairs
from ftmigrate.frameworks.axolotl.candidates import Entry, Proposal, Tokens, _end_token, _flat, _format, _joined
from ftmigrate.frameworks.axolotl.entries import decode
from ftmigrate.frameworks.axolotl.formats import formats
from ftmigrate.run.columns import columns
from ftmigrate.run.rendering import ChatFormat, Column, Conversation, Rendering, Segment, Text

_NAMES = ("default", "argilla_chat", "icr", "intel", "prompt_pairs", "ultra")


def propose(chosen: Rendering, rejected: Rendering, tokens: Tokens) -> Iterator[Proposal]:
    """Candidates, the most natural first; each needs `rl` beside its global keys."""
    match chosen.segments, rejected.segments:
        case (Conversation() as first,), (Conversation() as second,):
            talks = first, second
        case _:
            return
    end = _end(first)
    config: Entry = {}
    if end and end not in ("{eos}", tokens.get("eos")):
        config["special_tokens"] = {"eos_token": end}
    wanted = set(columns(chosen.segments)) | set(columns(rejected.segments))
    for style in pairs.STYLES:
        for name in _NAMES:
            entry: Entry = {"type": f"{style}.{name}"}
            found = [decode(entry, {**config, "rl": "dpo"}, tokens=tokens)[part].value for part in ("text", "rejected")]
            if {c for got in found if isinstance(got, Rendering) for c in columns(got.segments)} == wanted:
                yield Proposal(entry, config)
    made = _chat_entry(talks)
    if made is not None:
        for choice in _templates(first, tokens):
            yield Proposal(made, {**config, **choice})
    custom = _custom(talks, tokens)
    if custom is not None:
        yield Proposal({"type": custom}, config)


def _end(talk: Conversation) -> str:
    """The token that ends the reply and is trained."""
    return _end_token(_footer(talk))


def _footer(talk: Conversation) -> str:
    turn = talk.format.last.get("assistant") or talk.format.roles.get("assistant")
    suffix = talk.format.suffix if talk.loss.suffix or talk.loss.edges_as_turn else ""
    return (turn.footer if turn else "") + suffix


def _chat_entry(talks: tuple[Conversation, Conversation]) -> Entry | None:
    """`chat_template.*` over the same columns; roles and keys cannot be named there."""
    chosen, rejected = talks
    if chosen.column:
        if (chosen.role_key, chosen.content_key) != ("role", "content"):
            return None
        return {"type": "chat_template.argilla_chat", **_fields(chosen.column, rejected.column)}
    match chosen.turns, rejected.turns:
        case (user, reply), (_, other) if user.role == "user":
            match user.content, reply.content, other.content:
                case (Column(prompt),), (Column(first),), (Column(second),):
                    names = {} if prompt == "messages" else {"field_messages": prompt}
                    return {"type": "chat_template.default", **names, **_fields(first, second)}
    return None


def _fields(chosen: str, rejected: str) -> Entry:
    named: Mapping[str, str] = {"chosen": chosen, "rejected": rejected}
    return {f"field_{name}": column for name, column in named.items() if column != name}


def _templates(talk: Conversation, tokens: Tokens) -> Iterator[Entry]:
    """Chat templates, as global keys: those with a name, then the format itself without its BOS."""
    listed = schema.load("axolotl", schema.versions("axolotl")[-1]).keys("config")["chat_template"].get("enum", ())
    for name in formats():
        if name in listed:  # a global key takes fewer names than a dataset's own
            yield {"chat_template": name}
    shape = _joined(talk.format)
    if talk.system is not None and (talk.replace_system or shape.default_system is None):
        shape = replace(shape, default_system=talk.system)
    bos = tokens.get("bos")
    prefix = "" if bos is None or shape.prefix in (bos, "{bos}") else shape.prefix
    footer = _footer(replace(talk, format=shape))
    turn = shape.roles["assistant"]
    whole = replace(turn, footer=footer if shape.keep_prefix_per_exchange else turn.footer)
    shape = replace(
        shape,
        prefix=prefix,
        suffix="",
        last={},
        keep_prefix_per_exchange=False,
        roles={**shape.roles, "assistant": whole},
    )
    for last in ({}, {"assistant": replace(turn, footer=footer)}):
        template = jinja.write(replace(shape, last=last))
        if template is not None:
            yield {"chat_template": "jinja", "chat_template_jinja": template}


def _custom(talks: tuple[Conversation, Conversation], tokens: Tokens) -> dict[str, Value] | None:
    """`type: {...}`: one exchange of columns written out."""
    texts: list[tuple[str, str, str, str]] = []
    for talk in talks:
        flat = _flat(replace(talk, format=_bare(talk.format, tokens))) if talk.turns else None
        fields = [segment for segment in flat or () if isinstance(segment, Column)]
        if flat is None or len(fields) != 2 or any(not isinstance(s, Column | Text) for s in flat):
            return None
        at = flat.index(fields[1])
        prompt = _format(flat[:at], {fields[0].name: "prompt"}, tokens)
        reply = _format(_until(flat[at:], _end(talk)), {fields[1].name: "reply"}, tokens)
        if prompt is None or reply is None:
            return None
        texts.append((fields[0].name, prompt, fields[1].name, reply))
    out: dict[str, Value] = {}
    (column, prompt, first, chosen), (_, _, second, rejected) = texts
    for key, value, default in (
        ("field_prompt", column, "prompt"),
        ("field_chosen", first, "chosen"),
        ("field_rejected", second, "rejected"),
        ("prompt_format", prompt, "{prompt}"),
        ("chosen_format", chosen.replace("{reply}", "{chosen}"), "{chosen}"),
        ("rejected_format", rejected.replace("{reply}", "{rejected}"), "{rejected}"),
    ):
        if value != default:
            out[key] = value
    return out or {"field_prompt": "prompt"}


def _bare(shape: ChatFormat, tokens: Tokens) -> ChatFormat:
    """Without the BOS that the tokenizer puts in front by itself."""
    own = tokens.get("bos") is None or shape.prefix in (tokens.get("bos"), "{bos}")
    return replace(shape, prefix="" if own else shape.prefix)


def _until(segments: tuple[Segment, ...], end: str) -> tuple[Segment, ...]:
    """Cut behind the token that ends the reply."""
    out: list[Segment] = []
    for segment in segments:
        if isinstance(segment, Text) and end and end in segment.text:
            out.append(Text(segment.text[: segment.text.index(end) + len(end)]))
            break
        out.append(segment)
    return tuple(out)
