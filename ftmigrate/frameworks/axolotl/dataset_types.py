"""Dataset types that not every release has, as data. Files named are those of the releases' sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ftmigrate.document.model import Value

_SHAREGPT = (
    "write type: chat_template, field_messages: conversations, message_property_mappings: {{role: from, content: value}} "
    "and chat_template: {template}. Up to 0.4 {difference}"
)
_DIFFERENCES: Mapping[str, str] = {
    # name of `conversation` -> what its text was, and what chat_template does otherwise (0.4.0, prompt_strategies/sharegpt.py
    # and monkeypatch/fastchat_conversation_turns.py)
    "chatml": "a row without a system message got `You are a helpful assistant.`, and the line break behind a reply's "
    "<|im_end|> was trained too",
    "": "conversation was vicuna_v1.1 where none was named: `USER: … ASSISTANT: …` behind a fixed system message, which is "
    "a Jinja template now",
}


class Type(NamedTuple):
    """A type by its first name, with the first release that has it and the first that has it no more."""

    name: str
    since: str | None = None
    until: str | None = None


TYPES: tuple[Type, ...] = (
    Type("sharegpt", until="0.5.0"),
    Type("sharegpt_jokes", until="0.5.0"),
    Type("instruct", until="0.5.0"),
    Type("stepwise_supervised", since="0.7.0"),
    Type("passthrough", since="0.7.0"),
    Type("ebft_pretrain", since="0.16.0"),
    Type("ebft_opencode", since="0.16.0"),
    Type("ebft_reasoning", since="0.16.0"),
    Type("ebft_chat_multiturn", since="0.16.0"),
    Type("ebft_strided_chat", since="0.16.0"),
    Type("ebft_strided_structured", since="0.16.0"),
    Type("_synthetic", since="0.16.0"),
)


def refused(entry: Mapping[str, Value], version: str) -> str | None:
    """Why a release does not take an entry's type, with what to write instead; None where it may."""
    kind = entry.get("type")
    if not isinstance(kind, str):
        return None
    name = kind.partition(".")[0].partition(":")[0]
    for known in TYPES:
        if known.name != name:
            continue
        if known.since is not None and _number(version) < _number(known.since):
            return f"type: {kind}: Axolotl has it since {known.since}, and this is {version}"
        if known.until is not None and _number(version) >= _number(known.until):
            return f"type: {kind}: Axolotl refuses it since {known.until}" + _instead(name, entry)
    return None


def _instead(name: str, entry: Mapping[str, Value]) -> str:
    if name != "sharegpt":
        return ""
    conversation = str(entry.get("conversation") or "")
    template = conversation if conversation in ("chatml", "llama3") else "the format that was meant"
    words = _DIFFERENCES.get(conversation, f"the text was that of FastChat's conversation {conversation}")
    return "; " + _SHAREGPT.format(template=template, difference=words)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3])
