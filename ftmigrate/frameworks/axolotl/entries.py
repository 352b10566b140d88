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

from collections.abc import Mapping

from msgspec.structs import replace

from ftmigrate.document.model import Unresolved, Value
from ftmigrate.frameworks.axolotl import exact_rows, forms
from ftmigrate.frameworks.axolotl.companion import ROWS_KEY, is_rows_type
from ftmigrate.frameworks.axolotl.places import decode_place
from ftmigrate.frameworks.axolotl.prompts import TYPES
from ftmigrate.frameworks.axolotl.reading import Entry
from ftmigrate.frameworks.axolotl.shapes import Shape, external, shape_of
from ftmigrate.frameworks.axolotl.strategies import (
    CUSTOM,
    Undecodable,
    completion,
    custom_rendering,
    prompt_rendering,
    reflection_rendering,
)
from ftmigrate.run.likeness import with_tokens
from ftmigrate.run.model import NOT_APPLICABLE
from ftmigrate.run.rendering import Column, Conversation, Ends, Labelled, Loss, Rendering, Text, Tokens
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
    "exact_rows",
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
    "pieces",
    "special_names",
)
THOUGHT = "reasoning_content"
ROLE_NAMES: Mapping[str, str] = {
    "human": "user",
    "user": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "system": "system",
    "tool": "tool",
}


def decode(
    entry: Mapping[str, Value],
    config: Mapping[str, Value],
    part: str = "datasets",
    tokens: Mapping[str, str] | None = None,
) -> dict[str, Decoded]:
    """The settings of one entry; `part` is the list that it stands in.

    `tokens` gives the hub tokenizer's own `bos` and `eos` where they are known; `special_tokens` goes before it.
    """
    method = forms.method_of(config)
    if method is not None:
        return forms.decode(method, entry, config, part, tokens or {})
    out = decode_place(entry, part)
    read = Entry(entry, config)
    value: Rendering | Unresolved
    try:
        value = with_tokens(_rendering(read, part), read.tokens(tokens or {}))
    except Undecodable as why:
        value = Unresolved(str(why))
    text = Decoded(value, tuple(read.used))
    kind = entry.get("type")
    names = Decoded(_names(kind) if isinstance(value, Rendering) and kind is not None else NOT_APPLICABLE)
    return {**out, "text": text, "loss_mask": text, "pieces": Decoded(_pieces(kind)), "special_names": names}


def _names(kind: Value) -> str:
    """transformers' tokenizers look for their special tokens in every text (tokenization_utils_tokenizers.py)."""
    return "text" if is_rows_type(kind) else "tokens"


def _pieces(kind: Value) -> str:
    """prompt_tokenizers.py: prompt and reply are tokenised by themselves; a chat template's text as one."""
    if kind is None:
        return "tokens already"
    if is_rows_type(kind):
        return "each content apart"
    return "as one" if kind == "chat_template" else "prompt and reply apart"


# --- how they are rendered --------------------------------------------------------------------------------------


def _rendering(read: Entry, part: str) -> Rendering:
    for key, what in (
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
        return Rendering((Tokens("input_ids", "labels"),), "tokens as they stand in the rows")
    kind = str(kind)
    match kind.removesuffix(".load"):
        case "chat_template":
            return _chat(read)
        case "completion":
            return completion(read.text("field") or "text", "type: completion")
        case "input_output":
            return Rendering((Labelled("segments", "text", "label", read.trains_inputs),), "type: input_output")
        case "reflection" | "reflection:instruct" | "reflection:chat":
            return reflection_rendering(kind.partition(":")[2], read.trains_inputs)
        case name:
            return _named(read, name)


def _pretraining(read: Entry) -> Rendering:
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


def _named(read: Entry, kind: str) -> Rendering:
    name, _, style = kind.partition(":")
    found = TYPES.get(name)
    if name.startswith("sharegpt"):
        raise Undecodable(
            f"type: {kind}, which Axolotl takes no more since 0.5; type: chat_template says it, with field_messages: "
            "conversations and message_property_mappings: {role: from, content: value}"
        )
    if is_rows_type(kind):
        read.shared("plugins")
        return exact_rows.rendering(read.shared(ROWS_KEY), bool(read.config.get("sample_packing")))
    if found is None:
        raise Undecodable(f"type: {kind}")
    if name == "alpaca_chat" and read.own("conversation"):
        style, found = str(read.own("conversation")), replace(found, styles=TYPES["alpaca"].styles)
    if style:
        if style not in found.styles:
            raise Undecodable(f"type: {kind} (no such prompt style)")
        found = replace(found, style=found.styles[style])
    return prompt_rendering(found, read.trains_inputs, f"type: {kind}")


def _custom(read: Entry, given: Mapping[str, Value]) -> Rendering:
    parts = {key: (text if (text := read.text("type", key)) is not None else kept) for key, kept in CUSTOM.items()}
    for key in given:
        read.used[f"type.{key}"] = None
    if given:
        read.used.pop("type", None)
    return custom_rendering(parts, read.trains_inputs)


# --- chat templates ---------------------------------------------------------------------------------------------


# the described templates whose text writes a row's tools into the prompt (utils/chat_templates/templates)
_WITH_TOOLS = frozenset({"falcon_h1", "jamba", "llama4", "qwen3", "qwen3_5", "qwen_25"})


def _chat(read: Entry) -> Rendering:
    tools = read.text("field_tools")
    for key, what in (
        ("message_field_training", "masks that the messages say"),
        ("message_field_training_detail", "masks that the messages say"),
        ("split_thinking", "replies that are cut at <think>"),
    ):
        if read.own(key):
            raise Undecodable(f"{what} ({key})")
    if read.shared("chat_template_kwargs"):
        raise Undecodable("a chat template with arguments (chat_template_kwargs)")
    if read.shared("tokenizer_use_mistral_common"):
        place = read.config.get("tokenizer_config") or read.config.get("base_model")
        shape = external(read, f"the chat format of mistral-common's tokenizer, of {place}")
    else:
        shape = shape_of(read)
    if tools is not None and (shape.template is None or shape.template in _WITH_TOOLS):
        raise Undecodable(f"the tools of column {tools} in {shape.name} (field_tools)")
    read.used.pop("field_tools", None)
    role_key, content_key = _message_keys(read)
    names = _role_names(read.own("roles"))
    if (read.text("template_thinking_key") or THOUGHT) != THOUGHT:
        raise Undecodable("thoughts under another name (template_thinking_key)")
    talk = Conversation(
        format=shape.format,
        loss=_loss(read, shape, names),
        column=read.text("field_messages") or "messages",
        role_key=role_key,
        content_key=content_key,
        roles=names,
        skip_system=bool(read.own("drop_system_message")) or shape.drops_system,
        system_column="system",
        thought_key=THOUGHT if read.own("message_property_mappings") else read.text("field_thinking") or THOUGHT,
    )
    return Rendering((talk,), f"chat messages in {shape.name}")


def _message_keys(read: Entry) -> tuple[str, str]:
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


def _loss(read: Entry, shape: Shape, names: Mapping[str, str]) -> Loss:
    listed = read.own("roles_to_train")
    roles = {names.get(str(name), str(name)) for name in listed} if isinstance(listed, list) else {"assistant"}
    if read.trains_inputs:
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


def _tokenizer_name(read: Entry) -> str:
    for key in ("tokenizer_config", "base_model"):
        value = read.config.get(key)
        if value:
            name = str(value).lower()
            if "mistral" in name:
                read.used[f"/{key}"] = None
            return name
    return ""
