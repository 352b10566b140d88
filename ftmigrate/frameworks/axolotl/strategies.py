"""How Axolotl's prompt strategies turn columns into text and mask, from a type's data.

The prompt and the reply are tokenised apart: the prompt with the tokenizer's BOS and no EOS, the reply without BOS and
with EOS. An empty text has neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from string import Formatter

from ftmigrate.frameworks.axolotl.prompts import REFLECTIONS, PromptType
from ftmigrate.run.columns import columns
from ftmigrate.run.rendering import Column, Refused, Rendering, Segment, Text, When

SPECIAL = re.compile(r"\{eos\}|<\|?[^<>\s]{1,40}\|?>|\[\|[a-z]+\|\]")
"""The text of a special token, by its look."""
CUSTOM: Mapping[str, str] = {
    "format": "{instruction} {input} ",
    "no_input_format": "{instruction} ",
    "system_format": "{system}",
    "field_system": "system",
    "field_instruction": "instruction",
    "field_input": "input",
    "field_output": "output",
    "system_prompt": "",
}


class Undecodable(Exception):
    """The text or the mask cannot be said exactly; the reason in words."""


def completion(column: str, note: str) -> Rendering:
    """A text column between BOS and EOS, all of it trained; an empty text gives no row."""
    text = (Text("{bos}", True), Column(column, True), Text("{eos}", True))
    return Rendering((When(column, text, (Column(column),)),), note)


def prompt_rendering(kind: PromptType, trained: bool, note: str) -> Rendering:
    """A named type's rendering; `trained` says whether the prompt is trained too."""
    fill = _Filler(trained)
    instruction = fill.columns(kind.instruction)

    def turn(style: str, system: str, *texts: Segment) -> tuple[Segment, ...]:
        head = fill(kind.style.system, system=(Text(system, trained),)) if system else ()
        return (*head, *fill(style, instruction=instruction, input=texts))

    if kind.system_column:
        column = Column(kind.system_column, trained)
        if kind.system_always:
            return _joined(
                fill(kind.style.turn_no_input, instruction=instruction, system=(column,)), kind, note, trained
            )
        head: tuple[Segment, ...] = (When(kind.system_column, fill(kind.style.system, system=(column,)), (column,)),)
    else:
        head = ()
    without = turn(kind.style.turn_no_input, kind.system[1])
    if not kind.input:
        return _joined((*head, *without), kind, note, trained)
    if kind.input_required:
        without = (Column(kind.input), *without)
    given = turn(kind.style.turn, kind.system[0], Column(kind.input, trained))
    return _joined((*head, When(kind.input, given, without)), kind, note, trained)


def _joined(prompt: tuple[Segment, ...], kind: PromptType, note: str, trained: bool) -> Rendering:
    reply = _Filler(True).columns(kind.reply)
    if kind.eos > 1:  # this type tokenises empty texts as well
        return Rendering((Text("{bos}", trained), *prompt, *reply, Text("{eos}" * kind.eos, True)), note)
    return Rendering((*opened(prompt, trained), *ended(reply)), note)


def opened(prompt: tuple[Segment, ...], trained: bool) -> tuple[Segment, ...]:
    """A prompt after the tokenizer's BOS, which an empty prompt does not get."""
    bos: tuple[Segment, ...] = (Text("{bos}", trained),)
    if not _may_be_empty(prompt):
        return (*bos, *prompt)
    prompt = tuple(segment for segment in prompt if segment != Text("", trained))
    head: tuple[Segment, ...] = (Refused("an empty prompt cannot be trained"),) if trained else ()
    for name in columns(prompt):
        head = (When(name, bos, head),)
    return (*head, *prompt)


def _may_be_empty(segments: Iterable[Segment]) -> bool:
    for segment in segments:
        match segment:
            case Text(text) if text:
                return False
            case When(_, then, otherwise, missing):
                if not any(_may_be_empty(part) for part in (then, otherwise, missing) if part is not None):
                    return False
            case _:
                pass
    return True


def ended(reply: tuple[Segment, ...], required: bool = True) -> tuple[Segment, ...]:
    """A trained reply with EOS; an empty one has none. `required`: a row without the reply's column is refused."""
    whole = (*reply, Text("{eos}", True))
    names = list(columns(reply))
    if len(reply) == 1 and names:
        return (When(names[0], whole, reply if required else ()),)
    return whole


class _Filler:
    """Format strings as segments, all with one mask."""

    def __init__(self, trained: bool) -> None:
        self.trained = trained

    def __call__(self, text: str, **fields: tuple[Segment, ...]) -> tuple[Segment, ...]:
        out: list[Segment] = []
        try:
            for literal, name, spec, conversion in Formatter().parse(text):
                if literal:
                    out.append(Text(literal, self.trained))
                if name is None:
                    continue
                if spec or conversion or name not in fields:
                    raise Undecodable(f"the format {text!r} has a field that it cannot have")
                out += fields[name]
        except ValueError as why:
            raise Undecodable(f"the format {text!r} is none: {why}") from None
        return tuple(out)

    def columns(self, text: str) -> tuple[Segment, ...]:
        """A format string whose fields are columns."""
        names = [name for _, name, _, _ in Formatter().parse(text) if name]
        return self(text, **{name: (Column(name, self.trained),) for name in names})


def reflection_rendering(style: str, trained: bool) -> Rendering:
    kind = REFLECTIONS[style]
    fill = _Filler(trained)
    instruction = fill.columns("{instruction}")
    given = fill(kind.system[0] + kind.prompt.turn, instruction=instruction, input=fill.columns("{input}"))
    without = fill(kind.system[1] + kind.prompt.turn_no_input, instruction=instruction)
    reply: tuple[Segment, ...] = _Filler(True).columns(kind.reply)
    for column in ("output", "reflection", "corrected"):
        reply = (When(column, reply),)
    whole = (Text("{bos}", trained), When("input", given, without), *reply, Text("{eos}", True))
    return Rendering(whole, f"type: reflection{':' if style else ''}{style}")


def custom_rendering(parts: Mapping[str, str], trained: bool) -> Rendering:
    """A user-defined type: its keys, all given. A field named "" is one that no row has."""
    fill = _Filler(trained)
    instruction: tuple[Segment, ...] = (Column(parts["field_instruction"], trained),)
    absent = fill(parts["system_format"], system=(Text(parts["system_prompt"], trained),))
    head = absent if parts["system_prompt"] else ()
    if parts["system_format"] and (system := parts["field_system"]):
        there = fill(parts["system_format"], system=(Column(system, trained),))
        head = (When(system, there, (), head),)
    body = fill(parts["no_input_format"], instruction=instruction)
    if name := parts["field_input"]:
        given = fill(parts["format"], instruction=instruction, input=(Column(name, trained),))
        body = body if body == given else (When(name, given, body),)
    reply = (Column(parts["field_output"], True),) if parts["field_output"] else ()
    return Rendering(
        (*opened((*head, *body), trained), *(ended(reply, required=False) if reply else ())), "a format of its own"
    )
