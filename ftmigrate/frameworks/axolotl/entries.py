"""What one entry of `datasets` (or `test_datasets`, `pretraining_dataset`) of an Axolotl config means.

How a row becomes tokens and labels in Axolotl 0.21:

* Types that build a prompt and a reply tokenise the two apart: the prompt with the tokenizer's BOS and no EOS, the
  reply without BOS and with the tokenizer's EOS, which is trained. An empty reply has no EOS. Nothing is stripped.
  `train_on_inputs` trains the prompt too.
* `chat_template` trains contents only, as the template renders them: never a header. Behind a trained content the
  next EOT token (`eot_tokens`, else the tokenizer's EOS) and the next EOS token are trained, if they are at most three
  tokens away: what else stands in the footer is masked. A turn without content trains nothing, not even its end.
  `train_on_inputs` means all roles.
* A row's `system` column, if there is one, is its system message, whatever the type says (`chat_template`, and
  `type: {...}` unless `field_system` names another).
* `chat_template` on a dataset wins over the global one; `tokenizer_default`, which is also the default, is the global
  one where there is one, for that is put into the tokenizer. `chat_template_jinja` on a dataset without
  `chat_template` is not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ftmigrate.document.model import Unresolved, Value
from ftmigrate.frameworks.axolotl import jinja, pairs
from ftmigrate.frameworks.axolotl.formats import formats, why_not
from ftmigrate.frameworks.axolotl.places import decode_place
from ftmigrate.frameworks.axolotl.prompts import TYPES
from ftmigrate.frameworks.axolotl.strategies import (
    CUSTOM,
    Undecodable,
    completion,
    custom_rendering,
    prompt_rendering,
    reflection_rendering,
)
from ftmigrate.run.rendering import (
    ChatFormat,
    Column,
    Conversation,
    Ends,
    Labelled,
    Loss,
    Rendering,
    Segment,
    Text,
    with_tokens,
)
from ftmigrate.run.source import Decoded

GLOBAL_KEYS: tuple[str, ...] = (
    "train_on_inputs",
    "chat_template",
    "chat_template_jinja",
    "chat_template_kwargs",
    "eot_tokens",
    "special_tokens",
    "tokenizer_use_mistral_common",
    "tokenizer_config",
    "base_model",
    "processor_type",
    "skip_prepare_dataset",
    "sample_packing",
    "pretraining_sample_concatenation",
    "rl",
    "reward_model",
    "process_reward_model",
)
"""The top-level keys that say something about every entry.

`default_system_message` is none of them: it replaces a sentence in the chatml template that 0.21's no longer has.
"""

SETTINGS = (
    "location",
    "subset",
    "split",
    "revision",
    "data_dir",
    "load_options",
    "filter",
    "weight",
    "text",
    "loss_mask",
)
ROLE_NAMES: Mapping[str, str] = {
    "human": "user",
    "user": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "system": "system",
    "tool": "tool",
}
TOKENIZER_TEMPLATE = "the tokenizer's own chat template"


class _Entry:
    """An entry with the global keys, noting which of them were read."""

    def __init__(self, entry: Mapping[str, Value], config: Mapping[str, Value]) -> None:
        self.entry, self.config = entry, config
        self.used: dict[str, None] = {}

    def own(self, *path: str) -> Value:
        return self._take(self.entry, path, "")

    def shared(self, *path: str) -> Value:
        return self._take(self.config, path, "/")

    def _take(self, tree: Mapping[str, Value], path: Sequence[str], lead: str) -> Value:
        found: Value = dict(tree)
        for key in path:
            if not isinstance(found, dict) or key not in found:
                return None
            found = found[key]
        self.used[lead + ".".join(path)] = None
        if isinstance(found, Unresolved):
            raise Undecodable(str(found))
        return found

    def text(self, *path: str) -> str | None:
        """A value of the entry that must be a string; null counts as absent."""
        value = self.own(*path)
        if value is None or isinstance(value, str):
            return value
        raise Undecodable(f"{'.'.join(path)} is no text")


def decode(
    entry: Mapping[str, Value],
    config: Mapping[str, Value],
    part: str = "datasets",
    tokens: Mapping[str, str] | None = None,
) -> dict[str, Decoded]:
    """The settings of one entry; `part` is the list that it stands in.

    `tokens` gives the hub tokenizer's own `bos` and `eos` where they are known; `special_tokens` goes before it.
    """
    if config.get("rl") in pairs.METHODS:
        return _pair(entry, config, part, tokens or {})
    out = decode_place(entry, part)
    read = _Entry(entry, config)
    value: Rendering | Unresolved
    try:
        value = _rendering(read, part)
        own = {name: config_token for name in ("bos", "eos") if (config_token := _special(read, name)) is not None}
        value = with_tokens(value, {**(tokens or {}), **own})
    except Undecodable as why:
        value = Unresolved(str(why))
    text = Decoded(value, tuple(read.used))
    return {**out, "text": text, "loss_mask": text}


def _pair(
    entry: Mapping[str, Value], config: Mapping[str, Value], part: str, tokens: Mapping[str, str]
) -> dict[str, Decoded]:
    """Preference rows: `text` is the chosen reply's."""
    entry = {key: value for key, value in entry.items() if key in pairs.KEYS}
    read = _Entry(entry, config)
    read.shared("rl")
    found: dict[str, Rendering | Unresolved] = {}
    for reply in pairs.REPLIES:
        try:
            segments = _reply(read, reply)
            own = {name: text for name in ("bos", "eos") if (text := _special(read, name)) is not None}
            known = {**tokens, **own}
            segments = pairs.ended(segments, known.get("eos"), pairs.closing(segments))
            found[reply] = with_tokens(Rendering(segments, f"the {reply} reply, {read.own('type')}"), known)
        except Undecodable as why:
            found[reply] = Unresolved(str(why))
    args = tuple(read.used)
    chosen = Decoded(found["chosen"], args)
    rejected = Decoded(found["rejected"], args)
    return {**decode_place(entry, part), "text": chosen, "loss_mask": chosen, "rejected": rejected}


def _reply(read: _Entry, reply: str) -> tuple[Segment, ...]:
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
    shape = _shape(read)
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


# --- how they are rendered --------------------------------------------------------------------------------------


def _rendering(read: _Entry, part: str) -> Rendering:
    for key, what in (
        ("rl", "not a supervised run"),
        ("reward_model", "a reward model's rows"),
        ("process_reward_model", "a process reward model's rows"),
        ("skip_prepare_dataset", "rows that the collator renders"),
        ("processor_type", "rows that a processor renders"),
    ):
        if read.shared(key):
            raise Undecodable(f"{what} ({key})")
    if part == "pretraining_dataset":
        return _pretraining(read)
    kind = read.own("type")
    if isinstance(kind, dict):
        return _custom(read, kind)
    if kind is None:
        raise Undecodable("no type: rows that are tokens already")
    kind = str(kind)
    match kind.removesuffix(".load"):
        case "chat_template":
            return _chat(read)
        case "completion":
            return completion(read.text("field") or "text", "type: completion")
        case "input_output":
            return Rendering((Labelled("segments", "text", "label", _trains_inputs(read)),), "type: input_output")
        case "reflection" | "reflection:instruct" | "reflection:chat":
            return reflection_rendering(kind.partition(":")[2], _trains_inputs(read))
        case name:
            return _named(read, name)


def _special(read: _Entry, name: str) -> str | None:
    value = read.shared("special_tokens", f"{name}_token")
    return value if isinstance(value, str) else None


def _trains_inputs(read: _Entry) -> bool:
    return bool(read.shared("train_on_inputs"))


def _pretraining(read: _Entry) -> Rendering:
    column = read.text("text_column") or "text"
    kind = read.text("type") or "pretrain"
    if read.shared("sample_packing"):
        if kind not in ("pretrain", "completion"):
            raise Undecodable(f"pretraining_dataset of type {kind}")
        if kind == "completion":
            return completion(read.text("field") or "text", "type: completion, streamed")
        eos = True
    else:
        eos = read.shared("pretraining_sample_concatenation") is True
    end = (Text("{eos}", True),) if eos else ()
    return Rendering((Text("{bos}", True), Column(column, True), *end), "pretraining text")


def _named(read: _Entry, kind: str) -> Rendering:
    name, _, style = kind.partition(":")
    found = TYPES.get(name)
    if name.startswith("sharegpt"):
        raise Undecodable(
            f"type: {kind}, which Axolotl takes no more since 0.5; type: chat_template says it, with field_messages: "
            "conversations and message_property_mappings: {role: from, content: value}"
        )
    if found is None:
        raise Undecodable(f"type: {kind}")
    if name == "alpaca_chat" and read.own("conversation"):
        style, found = str(read.own("conversation")), replace(found, styles=TYPES["alpaca"].styles)
    if style:
        if style not in found.styles:
            raise Undecodable(f"type: {kind} (no such prompt style)")
        found = replace(found, style=found.styles[style])
    return prompt_rendering(found, _trains_inputs(read), f"type: {kind}")


def _custom(read: _Entry, given: Mapping[str, Value]) -> Rendering:
    parts = {key: (text if (text := read.text("type", key)) is not None else kept) for key, kept in CUSTOM.items()}
    for key in given:
        read.used[f"type.{key}"] = None
    if given:
        read.used.pop("type", None)
    return custom_rendering(parts, _trains_inputs(read))


# --- chat templates ---------------------------------------------------------------------------------------------


class _Shape(NamedTuple):
    format: ChatFormat
    drops_system: bool
    marked: bool
    name: str


def _chat(read: _Entry) -> Rendering:
    for key, what in (
        ("message_field_training", "masks that the messages say"),
        ("message_field_training_detail", "masks that the messages say"),
        ("split_thinking", "replies that are cut at <think>"),
    ):
        if read.own(key):
            raise Undecodable(f"{what} ({key})")
    if read.shared("tokenizer_use_mistral_common"):
        raise Undecodable("the chat format of mistral-common's tokenizer")
    if read.shared("chat_template_kwargs"):
        raise Undecodable("a chat template with arguments (chat_template_kwargs)")
    shape = _shape(read)
    role_key, content_key = _message_keys(read)
    names = _role_names(read.own("roles"))
    talk = Conversation(
        format=shape.format,
        loss=_loss(read, shape, names),
        column=read.text("field_messages") or "messages",
        role_key=role_key,
        content_key=content_key,
        roles=names,
        skip_system=bool(read.own("drop_system_message")) or shape.drops_system,
        system_column="system",
    )
    return Rendering((talk,), f"chat messages in {shape.name}")


def _shape(read: _Entry) -> _Shape:
    choice, template = read.text("chat_template"), None
    if choice == "jinja":
        template = read.text("chat_template_jinja")
    elif choice is None or choice.startswith("tokenizer_default"):
        choice = read.shared("chat_template")  # type: ignore[assignment]
        template = read.shared("chat_template_jinja") if choice in (None, "jinja") else None  # type: ignore[assignment]
        choice = choice or ("jinja" if template else None)
    if choice is None or choice.startswith("tokenizer_default"):
        raise Undecodable(TOKENIZER_TEMPLATE)
    if choice == "jinja":
        own = jinja.read(template or "")
        if own is None:
            raise Undecodable("a Jinja chat template of its own")
        return _Shape(own.format, False, own.marked, "a chat format written out in Jinja")
    known = formats().get(choice)
    if known is None:
        raise Undecodable(f"the chat template {choice}: {why_not(choice) or 'Axolotl has none of this name'}")
    return _Shape(known.shape, known.drops_system, False, f"the {choice} chat format")


def _message_keys(read: _Entry) -> tuple[str, str]:
    mapped = read.own("message_property_mappings")
    given = {str(key): str(value) for key, value in mapped.items()} if isinstance(mapped, dict) else {}
    role = given.get("role") or read.text("message_field_role") or "role"
    content = given.get("content") or read.text("message_field_content") or "content"
    if not set(given) <= {"role", "content"}:
        raise Undecodable("message properties besides role and content (message_property_mappings)")
    return role, content


def _role_names(given: Value) -> Mapping[str, str]:
    if not isinstance(given, dict) or not given:
        return ROLE_NAMES
    names = {
        str(source): role
        for role, sources in given.items()
        for source in (sources if isinstance(sources, list) else [sources])
    }
    return {**names, **{role: role for role in ("system", "user", "assistant", "tool") if role not in names}}


def _loss(read: _Entry, shape: _Shape, names: Mapping[str, str]) -> Loss:
    listed = read.own("roles_to_train")
    roles = {names.get(str(name), str(name)) for name in listed} if isinstance(listed, list) else {"assistant"}
    if _trains_inputs(read):
        roles = {*roles, *ROLE_NAMES.values(), *shape.format.roles}
    if "mistral" in _tokenizer_name(read):
        roles.discard("system")
    eos_rule = read.text("train_on_eos") or "turn"
    eot_rule = read.text("train_on_eot") or eos_rule
    eot = read.shared("eot_tokens")
    tokens = tuple(map(str, eot)) if isinstance(eot, list) else ("{eos}",)
    ends = (Ends(tokens, eot_rule), Ends(("{eos}",), eos_rule))
    if shape.format.system_in_every_user and "system" in roles:
        raise Undecodable("a trained system message that is repeated: all between its places is trained as well")
    return Loss(frozenset(roles), contents=not shape.marked, ends=ends)


def _tokenizer_name(read: _Entry) -> str:
    for key in ("tokenizer_config", "base_model"):
        value = read.config.get(key)
        if value:
            name = str(value).lower()
            if "mistral" in name:
                read.used[f"/{key}"] = None
            return name
    return ""
