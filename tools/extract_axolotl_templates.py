"""Record the turn structure of Axolotl's named chat templates by rendering them on marked conversations.

    python tools/extract_axolotl_templates.py WHEEL_OR_DIRECTORY

Writes ftmigrate/frameworks/axolotl/chat_templates.json (the format is documented in chat_templates.py beside it).
Only hashes of the templates' text are kept. A structure is recorded as regular only if rebuilding from it gives
exactly what the template gives, on every probe conversation, with and without a generation prompt.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import jinja2
import jinja2.ext
import jinja2.sandbox
from package_source import Package

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ftmigrate.frameworks.axolotl.chat_templates import Message, SystemRefused, rebuild  # noqa: E402

Conversation: TypeAlias = list[Message]
Render: TypeAlias = Callable[[Conversation, bool], "str | None"]

TEMPLATES = "axolotl/utils/chat_templates/templates"
WITHOUT_TEXT = ("jinja", "tokenizer_default")  # names that stand for a text from elsewhere
REASONING = {"<think>": "<think>\nreason\n</think>\n\n", "<|channel>": "<|channel>thought\nreason<channel|>"}
DATE = "<DATE>"

S, U1, A1, U2, A2, U3, A3 = "QsysQ", "QuserOneQ", "QbotOneQ", "QuserTwoQ", "QbotTwoQ", "QuserThreeQ", "QbotThreeQ"
ONE: Conversation = [("user", U1), ("assistant", A1)]
TWO: Conversation = [*ONE, ("user", U2), ("assistant", A2)]
THREE: Conversation = [*TWO, ("user", U3), ("assistant", A3)]
SYSTEM: Message = ("system", S)
PROBES: dict[str, Conversation] = {
    "single turn": ONE,
    "system turn": [SYSTEM, *ONE],
    "two turns": TWO,
    "three turns": THREE,
    "system turn, three turns": [SYSTEM, *THREE],
    "outer whitespace": [(role, f" \n {text} \n ") for role, text in TWO],
    "outer whitespace in the system turn": [("system", f" \n {S} \n "), *ONE],
    "empty system turn": [("system", ""), *TWO],
    "ends on user": THREE[:-1],
    "system turn, ends on user": [SYSTEM, ("user", U1)],
}


class _Generation(jinja2.ext.Extension):
    """The `generation` block that transformers adds: its body is rendered as it is."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def renderer(text: str) -> Render:
    """Render as transformers does; None for a conversation that the template refuses."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda _format: DATE
    template = environment.from_string(text)

    @cache
    def rendered(conversation: tuple[Message, ...], generation_prompt: bool) -> str | None:
        messages = [{"role": role, "content": content} for role, content in conversation]
        try:
            out = template.render(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=generation_prompt,
                bos_token="<BOS>",
                eos_token="<EOS>",
            )
        except (jinja2.TemplateError, TypeError):
            return None
        return out.replace("<BOS>", "{bos}").replace("<EOS>", "{eos}")

    return lambda conversation, generation_prompt: rendered(tuple(conversation), generation_prompt)


def structures(render: Render) -> Iterator[dict[str, Any]]:
    """Structures that agree with the first few conversations; most natural first, to be tried on all of them."""
    one, two = render(ONE, False), render(TWO, False)
    user, prompted = render(ONE[:1], False), render(ONE[:1], True)
    if one is None or two is None or user is None or prompted is None:
        return
    if any(text.count(mark) != 1 for text in (one, two) for mark in (U1, A1)) or U1 not in user or U1 not in prompted:
        return
    bos = "{bos}" if one.startswith("{bos}") else ""
    start, after_u1 = one[len(bos) : one.index(U1)], two[two.index(U1) + len(U1) : two.index(A1)]
    after_a1 = two[two.index(A1) + len(A1) : two.index(U2)]
    user_end, bot_end = user[user.index(U1) + len(U1) :], one[one.index(A1) + len(A1) :]
    for suffix in _shared_ends(user_end, bot_end):
        user_footer, bot_footer = user_end.removesuffix(suffix), bot_end.removesuffix(suffix)
        if not after_u1.startswith(user_footer) or not after_a1.startswith(bot_footer):
            continue
        to_bot, to_user = after_u1[len(user_footer) :], after_a1[len(bot_footer) :]
        if not prompted[prompted.index(U1) + len(U1) :].startswith(user_footer):
            continue
        generation = prompted[prompted.index(U1) + len(U1) + len(user_footer) :]
        for separator in _shared_starts(to_bot, to_user):
            user_header, bot_header = to_user[len(separator) :], to_bot[len(separator) :]
            found: dict[str, Any] = {
                "bos": "start" if bos else "none",
                "roles": {
                    "user": {"header": user_header, "footer": user_footer},
                    "assistant": {"header": bot_header, "footer": bot_footer},
                },
                "generation_prompt": generation,
                "suffix": suffix,
            }
            if separator:
                found["separator"] = separator
            for system in _systems(render, bos, start, user_header, separator):
                yield {**found, **system, "roles": {**system.get("roles", {}), **found["roles"]}}


def _systems(render: Render, bos: str, start: str, user_header: str, separator: str) -> Iterator[dict[str, Any]]:
    """What may have become of the system turn, and what stands there where there is none."""
    given = render([SYSTEM, *ONE], False)
    if given is None:
        yield {"system_placement": "refused", "default_system": None}
        return
    if S not in given:
        yield {"system_placement": "dropped", "default_system": None}
        return
    before, after = given[len(bos) : given.index(S)], given[given.index(S) + len(S) : given.index(U1)]
    if after.endswith(separator + user_header):
        system = {"header": before, "footer": after.removesuffix(user_header).removesuffix(separator)}
        roles = {"roles": {"system": system}, "system_placement": "own turn"}
        tail = system["footer"] + separator + user_header
        if (
            start != user_header
            and len(start) >= len(before + tail)
            and start.startswith(before)
            and start.endswith(tail)
        ):
            yield {**roles, "default_system": start[len(before) : len(start) - len(tail)]}
        yield {**roles, "default_system": None}
    if before.startswith(user_header):
        system = {"header": before.removeprefix(user_header), "footer": after}
        yield {"roles": {"system": system}, "system_placement": "inside first user turn", "default_system": None}


def _shared_ends(a: str, b: str) -> list[str]:
    return [a[len(a) - n :] for n in range(min(len(a), len(b)) + 1) if a[len(a) - n :] == b[len(b) - n :]]


def _shared_starts(a: str, b: str) -> list[str]:
    return [a[:n] for n in range(min(len(a), len(b)) + 1) if a[:n] == b[:n]]


def disagreements(render: Render, structure: dict[str, Any]) -> list[str]:
    """The probes on which rebuilding from the structure does not give what the template gives."""
    wrong = []
    for (name, conversation), prompt in product(PROBES.items(), (False, True)):
        if prompt and conversation[-1][0] != "user":
            continue
        try:
            rebuilt: str | None = rebuild(structure, conversation, generation_prompt=prompt)
        except SystemRefused:
            rebuilt = None
        if rebuilt != render(conversation, prompt):
            wrong.append(f"{name}, with a generation prompt" if prompt else name)
    return wrong


def describe(text: str) -> dict[str, Any]:
    """The catalogue's entry for a template's text."""
    entry: dict[str, Any] = {"sha256": hashlib.sha256(text.encode()).hexdigest()}
    render = renderer(text)
    reason = _unfit(render)
    if reason is None:
        best: tuple[int, str] | None = None
        for found in structures(render):
            for variant in _variants(found):
                wrong = disagreements(render, variant)
                if not wrong:
                    return {**entry, **variant, "regular": True}
                close = (len(wrong), f"{variant['system_placement']}, but not for: {'; '.join(wrong)}")
                best = close if best is None or close[0] < best[0] else best
        reason = f"no one structure fits; nearest is system {best[1]}" if best else "no header and footer for each role"
    return {**entry, "regular": False, "reason": reason}


def _variants(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The structure with each way to treat outer whitespace and an empty system turn."""
    for user, assistant, system, empty in product((False, True), (False, True), (False, True), ("kept", "absent")):
        yield {**found, "strip": {"system": system, "user": user, "assistant": assistant}, "empty_system": empty}


def _unfit(render: Render) -> str | None:
    """Why no structure can describe the template, where that is plain."""
    rendered = render(TWO, False)
    if rendered is None:
        return "refuses a plain conversation"
    if any(DATE in (render(conversation, False) or "") for conversation in PROBES.values()):
        return "contains the day's date"
    if render(THREE[:-1], False) is None:
        return "refuses a conversation that ends on user"
    for (tag, thought), conversation in product(REASONING.items(), (ONE, TWO)):
        expected = render(conversation, False) or ""
        for text in (A1, A2):
            expected = expected.replace(text, thought + text)
        thoughtful = [(role, thought + text if role == "assistant" else text) for role, text in conversation]
        if render(thoughtful, False) != expected:
            return f"reasoning: rewrites what stands in {tag}"
    return None


def describe_all(package: Package) -> dict[str, dict[str, Any]]:
    """The whole catalogue. Raises ValueError for a name without a file."""
    enum = package.resolve("axolotl.utils.schemas.enums", "ChatTemplate")
    assert isinstance(enum.node, ast.ClassDef)
    listed = [name for name in package.members(enum) if name not in WITHOUT_TEXT]
    texts = dict(package.texts(TEMPLATES, ".jinja"))
    if absent := [name for name in listed if name not in texts]:
        raise ValueError(f"no template file for {', '.join(absent)}")
    return {
        name: {**describe(text), **({} if name in listed else {"dataset_only": True})} for name, text in texts.items()
    }


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        print("usage: extract_axolotl_templates.py WHEEL_OR_DIRECTORY", file=sys.stderr)
        return 2
    found = describe_all(Package(Path(arguments[0])))
    lines = [f"{json.dumps(name)}: {json.dumps(entry, ensure_ascii=False)}" for name, entry in sorted(found.items())]
    target = ROOT / "ftmigrate" / "frameworks" / "axolotl" / "chat_templates.json"
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    regular = sum(entry["regular"] for entry in found.values())
    print(f"{regular} regular templates, {len(found) - regular} others")
    for name, entry in found.items():
        if not entry["regular"]:
            print(f"{name}: {entry['reason']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
