"""Chat formats as Jinja templates of our own, and back.

`write` gives one branch per role and nothing else, so `read` can invert it without a Jinja interpreter. The *marked*
variant renders the two placeholders by which Axolotl finds a turn as one foreign character each: the turn's whole
text, its header included, then counts as its content and is trained.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ftmigrate.run.rendering import ChatFormat, TurnFormat

PLACEHOLDERS = ("[[dummy_message]]", "zzdummymessagezz")
_TOKENS = {"{bos}": "bos_token", "{eos}": "eos_token"}
_FIRST, _EVERY = "(folded if loop.first else '')", "folded"
_GENERATION = "assistant"
_SKIPPED = "m['role'] == 'system' and not m['content']"
_REFUSED = "a role that this chat format has no turn for"


class Template(NamedTuple):
    format: ChatFormat
    marked: bool


def write(shape: ChatFormat, *, marked: bool = False) -> str | None:
    """The template, or None for a format that this form cannot say."""
    thinks = any(turn.thinking for turn in (*shape.roles.values(), *shape.last.values()))
    if shape.first or shape.separate is not None or shape.external or thinks:
        return None
    last = [
        (f"m['role'] == {_quote(role)} and loop.last", _turn(role, turn, shape)) for role, turn in shape.last.items()
    ]
    turns = [(f"m['role'] == {_quote(role)}", _turn(role, turn, shape)) for role, turn in shape.roles.items()]
    if shape.keep_prefix_per_exchange:
        opens, closes = "{%- if loop.first or loop.previtem['role'] == 'assistant' -%}", _out(shape.prefix)
        around = (
            opens + closes + "{%- endif -%}",
            "{%- if m['role'] == 'assistant' -%}" + _out(shape.suffix) + "{%- endif -%}",
        )
        whole = ("", "")
    else:
        around, whole = ("", ""), (_out(shape.prefix), _out(shape.suffix))
    branches = [
        f"m['content'] == {_quote(text)} -%}}" + f"{{{{- '{mark}' -}}}}"
        for text, mark in zip(PLACEHOLDERS, "@#", strict=True)
    ]
    skipped = [_SKIPPED + " -%}"] if shape.skip_empty_system else []
    branches = [*(branches if marked else ()), *skipped, *(f"{test} -%}}{turn}" for test, turn in (*last, *turns))]
    lines = [
        *_system(shape),
        whole[0],
        "{%- for m in turns -%}" if shape.system_in_user else "{%- for m in messages -%}",
        around[0],
        *(("{%- if " if index == 0 else "{%- elif ") + branch for index, branch in enumerate(branches)),
        f"{{%- else -%}}{{{{- raise_exception({_quote(_REFUSED)}) -}}}}",
        "{%- endif -%}",
        around[1],
        "{%- endfor -%}",
        whole[1],
        "{%- if add_generation_prompt -%}" + _out(_header(shape)) + "{%- endif -%}",
    ]
    return "\n".join(line for line in lines if line)


def _header(shape: ChatFormat) -> str:
    """A space at the end goes with the first word, as it does in training."""
    turn = shape.roles.get(_GENERATION)
    return turn.header.rstrip(" ") if turn else ""


def _turn(role: str, turn: TurnFormat, shape: ChatFormat) -> str:
    content = "m['content']" + _stripped(turn.strip)
    parts = [_text(turn.header), content, _text(turn.footer)]
    if role == "user" and shape.system_in_user is not None:
        parts.insert(1, _EVERY if shape.system_in_every_user else _FIRST)
    return "{{- " + " + ".join(part for part in parts if part) + " -}}"


def _stripped(strip: bool | str) -> str:
    if isinstance(strip, str) and strip:
        return f".rstrip({_quote(strip)})"
    return " | trim" if strip else ""


def _system(shape: ChatFormat) -> list[str]:
    lines = []
    if shape.default_system is not None:
        added = f"[{{'role': 'system', 'content': {_quote(shape.default_system)}}}] + messages"
        lines.append(f"{{%- if messages[0]['role'] != 'system' -%}}{{%- set messages = {added} -%}}{{%- endif -%}}")
    if shape.system_in_user is not None:
        before, after = shape.system_in_user
        content = "messages[0]['content']" + _stripped(shape.system_strip)
        folded = " + ".join(part for part in (_text(before), content, _text(after)) if part)
        lines += [
            "{%- set turns, folded = messages, '' -%}",
            f"{{%- if messages[0]['role'] == 'system' -%}}{{%- set turns, folded = messages[1:], {folded} -%}}"
            "{%- endif -%}",
        ]
    return lines


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t")
    return f"'{escaped}'"


def _text(text: str) -> str:
    """An expression for a text with `{bos}` and `{eos}`; "" for none."""
    parts = [part for part in re.split(r"(\{bos\}|\{eos\})", text) if part]
    return " + ".join(_TOKENS.get(part) or _quote(part) for part in parts)


def _out(text: str) -> str:
    return "{{- " + _text(text) + " -}}" if text else ""


# --- back -------------------------------------------------------------------------------------------------------

_STRING = r"'(?:[^'\\]|\\.)*'"
_BRANCH = re.compile(rf"\{{%- (?:el)?if m\['role'\] == ({_STRING})( and loop\.last)? -%\}}\{{\{{- (.*) -\}}\}}$", re.M)
_PART = re.compile(rf"bos_token|eos_token|{_STRING}")
_DEFAULT = re.compile(rf"\{{'role': 'system', 'content': ({_STRING})\}}\] \+ messages")
_FOLDED = re.compile(r"set turns, folded = messages\[1:\], (.*) -%\}\{%- endif -%\}$", re.M)


def read(template: str) -> Template | None:
    """The format of a template that `write` wrote; None for any other."""
    shape = _read(template)
    if shape is None:
        return None
    return next((Template(shape, marked) for marked in (False, True) if write(shape, marked=marked) == template), None)


def _read(template: str) -> ChatFormat | None:
    found = [(_unquote(role), bool(last), _read_turn(turn)) for role, last, turn in _BRANCH.findall(template)]
    roles = {role: turn for role, last, turn in found if not last}
    if not roles or "{%- for m in " not in template:
        return None
    head, _, rest = template.partition("{%- for m in ")
    per_exchange = "loop.previtem" in template
    if per_exchange:
        prefix = _between(rest, "== 'assistant' -%}", "{%- endif -%}")
        suffix = _between(rest, "{%- if m['role'] == 'assistant' -%}", "{%- endif -%}\n{%- endfor -%}")
    else:
        prefix, suffix = head.rpartition("\n")[2] if not head.endswith("\n") else head[:-1].rpartition("\n")[2], ""
        prefix = "" if prefix.startswith("{%-") else prefix
        suffix = _between(rest, "{%- endfor -%}\n", "{%- if add_generation_prompt -%}")
    default, folded = _DEFAULT.search(head), _FOLDED.search(head)
    around = None
    strip: bool | str = True
    if folded:
        before, _, after = folded.group(1).partition("messages[0]['content']")
        strip, after = _read_strip(after)
        around = (_join(before), _join(after))
    return ChatFormat(
        roles=roles,
        last={role: turn for role, last, turn in found if last},
        prefix=_join(prefix),
        suffix=_join(suffix),
        default_system=_unquote(default.group(1)) if default else None,
        system_in_user=around,
        system_strip=strip,
        system_in_every_user=around is not None and f"{_EVERY} + m['content']" in template.replace(_FIRST, ""),
        keep_prefix_per_exchange=per_exchange,
        skip_empty_system=_SKIPPED in template,
    )


def _between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]


def _read_turn(expression: str) -> TurnFormat:
    before, _, after = expression.replace(f"{_FIRST} + ", "").partition("m['content']")
    strip, after = _read_strip(after)
    return TurnFormat(_join(before.removesuffix(f"{_EVERY} + ")), _join(after), strip)


def _read_strip(text: str) -> tuple[bool | str, str]:
    """How a content is stripped, and what follows."""
    stripped = re.match(rf"\.rstrip\(({_STRING})\)", text)
    if stripped:
        return _unquote(stripped.group(1)), text[stripped.end() :]
    return text.startswith(" | trim"), text


def _join(expression: str) -> str:
    names = {name: text for text, name in _TOKENS.items()}
    return "".join(names.get(part) or _unquote(part) for part in _PART.findall(expression))


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), text[1:-1])
