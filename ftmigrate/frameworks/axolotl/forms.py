"""What an entry of `datasets` means where the run is no supervised one: preference, reward and policy training.

How a row becomes text in Axolotl 0.21 with TRL 1.14:

* `rl: dpo` and `ipo`: `pairs`. `simpo` has the same types, but like `orpo` the trainer puts the BOS only before a text
  that does not begin with it.
* `rl: orpo` has one type, `chat_template.argilla`: user and assistant take turns in `chosen`, a `prompt` column is the
  content of each user turn, a filled `system` column comes first. It knows the global chat template alone, and renders
  the prompt with the generation prompt. Odds are of the replies; the likelihood is of the whole chosen text.
* `rl: kto`: a prompt, a completion, and a label that says whether it is good. Types write out llama3 or chatml.
* `reward_model`: `bradley_terry.chat_template` with the columns system, input, chosen and rejected. What is learnt is
  the score of the whole text.
* `process_reward_model`: `stepwise_supervised` with prompt, completions and labels. Each step's separator bears its
  label. The separator and the other options of this type never reach it: the validated entry has lost them.
* `rl: grpo`, `gdpo` and `ebft`: rows are made by functions, most often the user's own.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from ftmigrate.document.model import Unresolved, Value
from ftmigrate.frameworks.axolotl import pairs
from ftmigrate.frameworks.axolotl.places import decode_place
from ftmigrate.frameworks.axolotl.reading import Entry
from ftmigrate.frameworks.axolotl.shapes import Shape, shape_of
from ftmigrate.frameworks.axolotl.strategies import Undecodable
from ftmigrate.run.likeness import with_tokens
from ftmigrate.run.rendering import (
    ChatFormat,
    Column,
    Conversation,
    Loss,
    Refused,
    Rendering,
    Segment,
    Steps,
    Text,
    Turn,
    TurnFormat,
    When,
)
from ftmigrate.run.source import Decoded

_SINGLE_KEYS = ("path", "split", "type", "data_files", "revision", "trust_remote_code")
_UNREAD_BY_ORPO = ("chat_template", "chat_template_jinja", "weight", "shards", "shards_idx")
_KTO_PROMPTS = {"argilla": "instruction", "intel": "question", "prompt_pairs": "prompt", "ultra": "prompt"}
_WHOLE = Loss(frozenset({"system", "user", "assistant", "tool"}), prefix=True, suffix=True)
_AXOLOTLS_OWN = ("chat_template", "chatml", "llama3", "zephyr", "passthrough", "user_defined", "ebft_")


METHOD_KEYS: Mapping[str, str] = {"reward_model": "reward", "process_reward_model": "process reward"}
_PAIRED = (*pairs.METHODS, "simpo", "orpo", "reward")


def method_of(config: Mapping[str, Value]) -> str | None:
    """The method that decides what a row is; None for a supervised run. `rl` goes before the reward models."""
    if config.get("rl"):
        return str(config["rl"])
    return next((name for key, name in METHOD_KEYS.items() if config.get(key)), None)


def decode(
    method: str, entry: Mapping[str, Value], config: Mapping[str, Value], part: str, tokens: Mapping[str, str]
) -> dict[str, Decoded]:
    """The settings of one entry; `text` is the chosen reply's where rows hold two."""
    entry = _kept(method, entry)
    read = Entry(entry, config)
    read.shared(next((key for key, name in METHOD_KEYS.items() if name == method), "rl"))
    found: dict[str, Rendering | Unresolved] = {}
    for reply in pairs.REPLIES if method in _PAIRED else ("chosen",):
        try:
            segments = _segments(method, read, reply)
            note = f"the {reply} reply, {read.own('type')}" if method in _PAIRED else f"type: {read.own('type')}"
            found[reply] = with_tokens(
                Rendering(_closed(method, segments, read.tokens(tokens)), note), read.tokens(tokens)
            )
        except Undecodable as why:
            found[reply] = Unresolved(str(why))
    args = tuple(read.used)
    text = Decoded(found["chosen"], args)
    out = {**decode_place(entry, part), "text": text, "loss_mask": text}
    if method in _PAIRED:
        out["rejected"] = Decoded(found["rejected"], args)
    if method == "kto":
        out["label"] = _label(entry)
    out["pieces"] = Decoded("each step apart" if method == "process reward" else "as one")
    out["special_names"] = Decoded("tokens")
    return out


def _kept(method: str, entry: Mapping[str, Value]) -> Mapping[str, Value]:
    """The keys that are looked at (utils/config/__init__.py, validate_config; utils/data/rl.py)."""
    if method in (*pairs.METHODS, "simpo"):
        return {key: value for key, value in entry.items() if key in pairs.KEYS}
    if method == "kto":
        return {key: value for key, value in entry.items() if key in _SINGLE_KEYS}
    if method == "orpo":
        return {key: value for key, value in entry.items() if key not in _UNREAD_BY_ORPO}
    return entry


def _segments(method: str, read: Entry, reply: str) -> tuple[Segment, ...]:
    if read.shared("processor_type"):
        raise Undecodable("rows that a processor renders (processor_type)")
    match method:
        case "dpo" | "ipo" | "simpo":
            return _reply(read, reply)
        case "orpo":
            return _odds(read, reply)
        case "kto":
            return _single(read)
        case "reward":
            return _scored(read, reply)
        case "process reward":
            return _stepwise(read)
        case _:
            return _made(method, read)


def _closed(method: str, segments: tuple[Segment, ...], tokens: Mapping[str, str]) -> tuple[Segment, ...]:
    """With what the trainer puts around a text."""
    if method in ("reward", "process reward"):
        return segments
    if method in ("orpo", "simpo"):
        segments = _one_bos(segments, tokens.get("bos"))
    return pairs.ended(segments, tokens.get("eos"), pairs.closing(segments))


def _one_bos(segments: tuple[Segment, ...], bos: str | None) -> tuple[Segment, ...]:
    """Without the BOS in front of a text that begins with it."""
    match segments:
        case (Text("{bos}"), (Conversation() | When()) as first, *_):
            talk = next(iter(first.otherwise), None) if isinstance(first, When) else first
            prefix = talk.format.prefix if isinstance(talk, Conversation) else ""
            begins = prefix.startswith("{bos}") or (bool(bos) and prefix.startswith(bos or ""))
            return segments[1:] if begins else segments
        case _:
            return segments


# --- pairs ------------------------------------------------------------------------------------------------------


def _reply(read: Entry, reply: str) -> tuple[Segment, ...]:
    kind = read.own("type")
    if isinstance(kind, dict):
        read.used.pop("type", None)
        return pairs.custom({str(key): read.text("type", str(key)) for key in kind}, reply)
    style, _, name = str(kind or "passthrough").partition(".")
    if style == "passthrough":
        return pairs.custom({}, reply)
    if style in pairs.STYLES:
        return pairs.written(style, name or "default", reply)
    if style != "chat_template" or name not in ("", "default", "argilla_chat"):
        raise Undecodable(f"type: {kind}")
    shape = shape_of(read, spliced=True)
    fields = {own: read.text(f"field_{own}") or own for own in pairs.REPLIES}
    talk = Conversation(shape.format, Loss())
    if name == "argilla_chat":
        column = fields["chosen"]
        talk = replace(talk, column=column)
        if reply == "rejected":
            talk = replace(talk, without_last=True, reply=fields[reply])
    else:
        talk = replace(talk, column=read.text("field_messages") or "messages", reply=fields[reply], or_text=True)
    return pairs.chat(shape.format, talk, shape.drops_system)


def _odds(read: Entry, reply: str) -> tuple[Segment, ...]:
    """prompt_strategies/orpo/chat_template.py, argilla."""
    kind = read.own("type")
    if not kind:
        return pairs.custom({}, reply)
    if kind != "chat_template.argilla":
        raise Undecodable(f"type: {kind} (with rl: orpo there is chat_template.argilla, or no type)")
    shape = _apart(shape_of(read, spliced=True))
    form = shape.format
    turn = form.roles.get("assistant")
    if turn is None:
        raise Undecodable("a chat template without an assistant's turn")
    final = form.last.get("assistant", turn)
    form = replace(
        form,
        roles={**form.roles, "assistant": replace(turn, footer=turn.footer + _repeated(form))},
        last={**form.last, "assistant": replace(final, footer=final.footer + form.suffix)},
        suffix="",
    )
    talk = Conversation(
        form,
        pairs.LOSS,
        column="chosen",
        roles={"user": "user", "assistant": "assistant"},
        ordered=True,
        every_user="prompt",
        skip_system=shape.drops_system,
    )
    if reply == "rejected":
        talk = replace(talk, without_last=True, reply="rejected")
    return (Text("{bos}"), When("system", (replace(talk, system_column="system"),), (talk,), (talk,)))


def _apart(shape: Shape) -> Shape:
    """The text is cut behind what the template makes of the prompt: that must be where it begins."""
    if shape.closes_prompt:
        raise Undecodable(
            "a chat template that ends the prompt as it ends a conversation: the reply is cut at a wrong place"
        )
    return shape


def _repeated(form: ChatFormat) -> str:
    return form.suffix if form.keep_prefix_per_exchange else ""


# --- single replies ---------------------------------------------------------------------------------------------


def _single(read: Entry) -> tuple[Segment, ...]:
    """prompt_strategies/kto."""
    kind = read.own("type")
    if isinstance(kind, dict):
        read.used.pop("type", None)
        return _filled({str(key): read.text("type", str(key)) for key in kind})
    if not kind:
        return _filled({})
    style, _, name = str(kind).partition(".")
    if style not in pairs.STYLES or name not in (*_KTO_PROMPTS, "argilla_chat"):
        raise Undecodable(f"type: {kind} (with rl: kto there are llama3.NAME and chatml.NAME)")
    if name == "argilla_chat":
        return (Text("{bos}"), _history(style))
    return pairs.exchange(style, (Column(_KTO_PROMPTS[name]),), (Column("completion", True),))


def _history(style: str) -> Conversation:
    texts = pairs.STYLES[style]
    before = texts.system.partition("{}")[0]
    after = texts.system.partition("{}")[2]
    turns = {role: TurnFormat(before.replace("system", role), after) for role in ("system", "user", "assistant")}
    last = {"assistant": replace(turns["assistant"], footer=texts.end)}
    return Conversation(ChatFormat(turns, last=last), pairs.LOSS, column="completion")


def _filled(parts: Mapping[str, str | None]) -> tuple[Segment, ...]:
    """`type: {...}`. A prompt format that wants a system message takes no row without one."""
    named = {name: Column(parts.get(f"field_{name}") or name) for name in ("system", "prompt")}
    prompt = pairs.filled(parts.get("prompt_format") or "{prompt}", named, False)
    reply = {"completion": Column(parts.get("field_completion") or "completion", True)}
    completion = pairs.filled(parts.get("completion_format") or "{completion}", reply, True)
    whole = (*prompt, *pairs.met(prompt, completion), *completion)
    if named["system"] in prompt:
        none = (Refused("the prompt's format wants a system message"),)
        whole = (When(named["system"].name, whole, none),)
    return (Text("{bos}"), *whole)


def _label(entry: Mapping[str, Value]) -> Decoded:
    kind = entry.get("type")
    named = kind.get("field_label") if isinstance(kind, dict) else None
    return Decoded(named or "label", ("type.field_label",) if named else ())


# --- rewards ----------------------------------------------------------------------------------------------------


def _scored(read: Entry, reply: str) -> tuple[Segment, ...]:
    """prompt_strategies/bradley_terry/chat_template.py."""
    kind = read.own("type")
    if kind != "bradley_terry.chat_template":
        raise Undecodable(f"type: {kind} (with reward_model there is bradley_terry.chat_template)")
    for key in ("message_property_mappings", "roles"):
        if read.own(key):
            raise Undecodable(f"messages with keys or roles of their own ({key})")
    shape = _apart(shape_of(read, spliced=True))
    turns = tuple(
        Turn(role, (Column(column),))
        for role, column in (("system", "system"), ("user", "input"), ("assistant", reply))
    )
    skips = bool(read.own("drop_system_message")) or shape.drops_system
    return (Conversation(shape.format, _WHOLE, turns=turns, skip_system=skips),)


def _stepwise(read: Entry) -> tuple[Segment, ...]:
    """prompt_strategies/stepwise_supervised.py."""
    kind = read.own("type")
    if not str(kind).startswith("stepwise_supervised"):
        raise Undecodable(f"type: {kind} (with process_reward_model there is stepwise_supervised)")
    return (Text("{bos}"), Column("prompt"), Steps("completions", "labels", "\n"))


# --- rows that functions make -----------------------------------------------------------------------------------


def _made(method: str, read: Entry) -> tuple[Segment, ...]:
    kind = read.own("type")
    if not kind:
        raise Undecodable(f"prompts as they stand in the column prompt, text or messages (rl: {method})")
    if isinstance(kind, dict) or str(kind).startswith(_AXOLOTLS_OWN):
        raise Undecodable(f"the prompts of type: {kind} (rl: {method})")
    raise Undecodable(f"prompts that your own function {kind} makes")
