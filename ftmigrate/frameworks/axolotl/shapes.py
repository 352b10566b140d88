"""The chat format that an entry's messages are rendered in.

A template that stands elsewhere (the tokenizer's own) or that has no chat format here becomes an external one: its
turns are stand-ins, and only the same reference is equal to it. A tokenizer in a local directory is read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ftmigrate.frameworks.axolotl import jinja
from ftmigrate.frameworks.axolotl.chat_templates import catalogue
from ftmigrate.frameworks.axolotl.formats import formats, why_not
from ftmigrate.frameworks.axolotl.reading import Entry
from ftmigrate.frameworks.axolotl.strategies import Undecodable
from ftmigrate.run.rendering import ChatFormat, TurnFormat

_OWN = "tokenizer_default"
_FALLBACK = "tokenizer_default_fallback_"
_ROLES = ("system", "user", "assistant", "tool")


class Shape(NamedTuple):
    """drops_system: system messages are left out. marked: headers count as contents.

    closes_prompt: what ends a conversation stands before the generation prompt too. template: its name among Axolotl's
    own, "" for one written out, None for one that is only referred to.
    """

    format: ChatFormat
    name: str
    drops_system: bool = False
    marked: bool = False
    closes_prompt: bool = False
    template: str | None = ""


def shape_of(read: Entry, spliced: bool = False) -> Shape:
    """`spliced`: the reply is what stands behind the prompt with its generation prompt."""
    choice, template = read.text("chat_template"), None
    if choice == "jinja":
        template = read.text("chat_template_jinja")
    elif choice is None or choice.startswith(_OWN):
        given, choice = choice, read.shared("chat_template")  # type: ignore[assignment]
        template = read.shared("chat_template_jinja") if choice in (None, "jinja") else None  # type: ignore[assignment]
        choice = choice if isinstance(choice, str) and choice else "jinja" if template else given or _OWN
    if choice.startswith(_OWN):
        return _of_tokenizer(read, choice.removeprefix(_FALLBACK).removeprefix(_OWN), spliced)
    if choice == "jinja":
        return _written(read, _text(template or ""), "the chat template written out in the file", spliced)
    return _named(read, choice, spliced)


def _named(read: Entry, choice: str, spliced: bool) -> Shape:
    known = formats().get(choice)
    if known is not None and spliced and known.opens:
        return external(read, f"the chat template {choice}, cut behind its generation prompt")
    if known is not None:
        return Shape(known.shape, f"the {choice} chat format", known.drops_system, template=choice)
    if choice not in catalogue():
        raise Undecodable(f"the chat template {choice}: Axolotl has none of this name")
    return external(read, f"the chat template {choice} ({why_not(choice)})")


def _text(template: str) -> str:
    """The template, or what stands in the file that it names."""
    if "\n" in template or "{" in template or not Path(template).is_file():
        return template
    return Path(template).read_text(encoding="utf-8")


def _written(read: Entry, template: str, what: str, spliced: bool) -> Shape:
    found = jinja.read(template)
    if found is not None:
        closes = bool(found.format.suffix) and not found.format.keep_prefix_per_exchange
        return Shape(found.format, "a chat format written out in Jinja", marked=found.marked, closes_prompt=closes)
    from hashlib import sha256

    mark = sha256(template.encode()).hexdigest()
    name = next((name for name, entry in catalogue().items() if entry["sha256"] == mark), None)
    return external(read, f"{what} (sha256 {mark[:12]}…)") if name is None else _named(read, name, spliced)


def _of_tokenizer(read: Entry, fallback: str, spliced: bool) -> Shape:
    place = str(read.config.get("tokenizer_config") or read.config.get("base_model") or "the model")
    template = local_template(place)
    if template:
        return _written(read, template, f"the tokenizer's own chat template, of {place}", spliced)
    if fallback and template is not None:
        return _named(read, fallback, spliced)
    otherwise = f", or {fallback} if it has none" if fallback else ""
    return external(read, f"the tokenizer's own chat template, of {place}{otherwise}")


def local_template(place: str) -> str | None:
    """The chat template of a tokenizer in a local directory, "" if it has none; None where no tokenizer is there."""
    folder = Path(place).expanduser()
    apart, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if apart.is_file():
        return apart.read_text(encoding="utf-8")
    if not config.is_file():
        return None
    found = json.loads(config.read_text(encoding="utf-8")).get("chat_template") or ""
    if isinstance(found, list):
        found = next((item["template"] for item in found if item.get("name") == "default"), "")
    return str(found)


def external(read: Entry, reference: str) -> Shape:
    """A format whose turns are stand-ins: `{eos}` or the tokens of `eot_tokens` are taken to end each turn."""
    ends = read.shared("eot_tokens")
    end = "".join(map(str, ends)) if isinstance(ends, list) else "{eos}"
    turns = {role: TurnFormat(f"⟨{role}⟩", f"⟨end of turn⟩{end}") for role in _ROLES}
    return Shape(ChatFormat(turns, prefix=f"⟨{reference}⟩", external=reference), reference, template=None)
