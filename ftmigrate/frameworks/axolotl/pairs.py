"""What an entry of `datasets` means in preference training (`rl: dpo` and its kin).

Of the entry itself nothing is read but KEYS, whatever else stands there (utils/config/__init__.py, validate_config).

Axolotl makes a prompt and two completions of a row; TRL appends the tokenizer's EOS to a completion that does not end
with it, tokenises prompt and completion together (the tokenizer adds its BOS in front, also where the text has one) and
counts what lies behind the prompt's own tokens. How the text is made (prompt_strategies/dpo):

* `chat_template.*` renders the prompt with the generation prompt behind it. A completion is what the template makes of
  a user turn and the reply, without what it makes of the user turn alone, its end stripped of white space.
  `default` takes the prompt from a list of messages or from one text, `argilla_chat` from the chosen conversation.
* `llama3.*` and `chatml.*` write out one exchange of fixed columns, and strip nothing.
* `type: {...}` fills formats; without `type` the columns prompt, chosen and rejected hold the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import NamedTuple

from msgspec.structs import replace

from ftmigrate.frameworks.axolotl.strategies import Undecodable
from ftmigrate.run.rendering import ChatFormat, Column, Conversation, Item, Loss, Segment, Text, TurnFormat, When

KEYS = ("path", "split", "type", "data_files", "revision", "field_messages", "field_chosen", "field_rejected")
METHODS = ("dpo", "ipo")
"""Values of `rl` whose rows are read so; `simpo` has the same types, but a trainer that tokenises otherwise."""
REPLIES = ("chosen", "rejected")
SPANNED = "⟨may be one token with⟩"
"""Stands where a prompt and a completion meet with nothing between them that keeps their tokens apart."""
_BLANKS = " \t\r\n"
LOSS = Loss(header=False, last_only=True, suffix=True, lead=True)


class Written(NamedTuple):
    """The three texts of a `TYPE.NAME` that writes out one exchange; a system column goes before it where filled."""

    user: str
    system: str
    end: str


STYLES: Mapping[str, Written] = {
    "llama3": Written(
        "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>",
        "<|eot_id|>",
    ),
    "chatml": Written(
        "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n", "<|im_start|>system\n{}<|im_end|>\n", "<|im_end|>"
    ),
}
# the name behind the style -> the prompt's column
_PROMPTS = {"icr": "input", "intel": "question", "prompt_pairs": "prompt", "ultra": "prompt"}


def _plain(name: str, reply: str) -> tuple[tuple[Segment, ...], tuple[Segment, ...]]:
    """The prompt's and the completion's own segments of `TYPE.NAME`."""
    item: tuple[Segment, ...] = (Item(reply, 1, trained=True),)
    if name == "default":
        prompt: tuple[Segment, ...] = (Column("instruction"),)
        for column in ("question", "input", "prompt"):
            prompt = (When(column, (Column(column),), (Column(column),), prompt),)
        return prompt, (_either(reply, f"{reply}_response"),)
    if name == "argilla_chat":
        return (Item("chosen", 0),), item
    if name == "ultra":
        return (Column("prompt"),), item
    if name in _PROMPTS:
        return (Column(_PROMPTS[name]),), (Column(reply, True),)
    raise Undecodable(f"a preference type of the name {name}")


def _either(first: str, second: str) -> Segment:
    return When(first, (Column(first, True),), (Column(first, True),), (Column(second, True),))


def written(style: str, name: str, reply: str) -> tuple[Segment, ...]:
    """`llama3.NAME` or `chatml.NAME`."""
    prompt, completion = _plain(name, reply)
    return exchange(style, prompt, completion, system=name != "argilla_chat")


def exchange(
    style: str, prompt: tuple[Segment, ...], completion: tuple[Segment, ...], system: bool = True
) -> tuple[Segment, ...]:
    """One exchange written out; a filled system column goes before it."""
    texts = STYLES[style]
    before, after = texts.user.split("{}")
    head: tuple[Segment, ...] = ()
    if system:
        opens, closes = texts.system.split("{}")
        head = (When("system", (Text(opens), Column("system"), Text(closes)), (), ()),)
    return (Text("{bos}"), *head, Text(before), *prompt, Text(after), *completion, Text(texts.end, True))


def custom(parts: Mapping[str, str | None], reply: str) -> tuple[Segment, ...]:
    """`type: {...}` (user_defined.py)."""
    fields = {
        "system": Column(parts.get("field_system") or "system", optional=True),
        "prompt": Column(parts.get("field_prompt") or "prompt"),
    }
    prompt = filled(parts.get("prompt_format") or "{prompt}", fields, False)
    own = {reply: Column(parts.get(f"field_{reply}") or reply, True)}
    completion = filled(parts.get(f"{reply}_format") or f"{{{reply}}}", own, True)
    return (Text("{bos}"), *prompt, *met(prompt, completion), *completion)


def filled(text: str, fields: Mapping[str, Column], trained: bool) -> tuple[Segment, ...]:
    out: list[Segment] = []
    try:
        for literal, name, spec, conversion in Formatter().parse(text):
            if literal:
                out.append(Text(literal, trained))
            if name is None:
                continue
            if spec or conversion or name not in fields:
                raise Undecodable(f"the format {text!r} has a field that it cannot have")
            out.append(fields[name])
    except ValueError as why:
        raise Undecodable(f"the format {text!r} is none: {why}") from None
    return tuple(out)


def met(prompt: tuple[Segment, ...], completion: tuple[Segment, ...]) -> tuple[Segment, ...]:
    before = prompt[-1].text if prompt and isinstance(prompt[-1], Text) else ""
    after = completion[0].text if completion and isinstance(completion[0], Text) else ""
    return () if _apart(before, after) else (Text(SPANNED, True),)


def _apart(before: str, after: str) -> bool:
    """Whether no token reaches over from one text into the other: a special token or white space parts them."""
    return before.endswith((">", "\n", "]")) or after.startswith(("<", " ", "\n", "["))


def chat(shape: ChatFormat, talk: Conversation, drops_system: bool) -> tuple[Segment, ...]:
    """`chat_template.*`: the format as the completion shows it, behind the tokenizer's own BOS.

    No template's generation prompt ends with a space: one in the header goes with the completion.
    """
    if shape.suffix and not shape.keep_prefix_per_exchange:
        raise Undecodable("a chat template that ends the prompt as it ends a conversation")
    turn = shape.roles.get("assistant")
    if turn is None:
        raise Undecodable("a chat template without an assistant's turn")
    final = shape.last.get("assistant", turn)
    end = (final.footer + shape.suffix).rstrip()
    before = turn.header or shape.roles.get("user", turn).footer
    header = final.header if _apart(before, "") or before.endswith(" ") else final.header + SPANNED
    reply = TurnFormat(header, end, final.strip if end or final.strip is True else _BLANKS)
    shape = replace(
        shape,
        roles={**shape.roles, "assistant": replace(turn, footer=turn.footer + shape.suffix)},
        last={"assistant": reply},
        suffix="",
    )
    return (Text("{bos}"), replace(talk, format=shape, loss=LOSS, skip_system=drops_system))


def ended(segments: tuple[Segment, ...], eos: str | None, end: str) -> tuple[Segment, ...]:
    """With the EOS that is appended to a completion that does not end with it (`end`: what surely ends it)."""
    if end and (end.endswith("{eos}") or (eos is not None and eos and end.endswith(eos))):
        return segments
    return (*segments, Text("{eos}", True))


def closing(segments: tuple[Segment, ...]) -> str:
    """The constant text that ends the completion."""
    match segments[-1]:
        case Text(text):
            return text
        case Conversation(format=shape):
            turn = shape.last.get("assistant")
            return turn.footer if turn else ""
        case When(_, then) if then:
            return closing(then)
        case _:
            return ""
