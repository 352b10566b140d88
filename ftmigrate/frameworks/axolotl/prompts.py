"""The prompts of Axolotl's named dataset types that build one prompt and one reply from columns, as data.

The prompt is a system part (a constant or a column, left out when empty) and a turn; the reply follows, then the
tokenizer's EOS. A prompt style given as `TYPE:STYLE` takes the place of the type's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace


class Style(NamedTuple):
    """Format strings: the turn with an input, without one, and the system part."""

    turn: str
    turn_no_input: str
    system: str


STYLES: Mapping[str, Style] = {
    "instruct": Style(
        "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n",
        "### Instruction:\n{instruction}\n\n### Response:\n",
        "{system}\n\n",
    ),
    "chat": Style(
        "USER: {instruction}\n{input}\nASSISTANT:",
        "USER: {instruction}\nASSISTANT:",
        "SYSTEM: {system}\n",
    ),
    "chatml": Style(
        "<|im_start|>user\n{instruction}\n{input}<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>user\n{instruction}<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>system\n{system}<|im_end|>\n",
    ),
    "phi": Style(
        "<|user|>\n{instruction}<|end|>{input}<|assistant|>",
        "<|user|>\n{instruction}<|end|>\n<|assistant|>\n",
        "<|system|>\n{system}<|end|>\n",
    ),
}
_ORCA: Mapping[str, Style] = {
    "instruct": Style(
        "### Human:\n{instruction}\n### Additional Context:\n{input}\n### Assistant:\n",
        "### Human:\n{instruction}\n### Assistant:\n",
        "### System:\n{system}\n",
    ),
    "chatml": STYLES["chatml"],
}
_TLDR = Style(
    "USER: Summarize the following article as a TL;DR.\n{instruction}\n{input}\nASSISTANT:",
    "USER: Summarize the following article as a TL;DR.\n{instruction}\nASSISTANT:",
    "{system}",
)
_ORCA_MINI = "### System:\n{system}\n\n### User:\n{instruction}\n\n### Response:\n"

_ALPACA = (
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request.",
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.",
)
_CONCISE = (
    "Below is an instruction from a USER that describes a task, paired with an input that provides further context. "
    "The ASSISTANT writes a response that concisely and appropriately completes the request.\n\n",
    "Below is an instruction from a USER that describes a task. The ASSISTANT writes a response that appropriately "
    "and concisely completes the request.\n\n",
)
_CONTEXT = "Use the following contextual information to concisely answer the question.\n"
_UNKNOWN = (
    "The context provided does not contain any information about your inquiry. Therefore, I'm unable to answer your "
    "question based on the given context."
)


class PromptType(Struct, frozen=True):
    """One named type.

    instruction, reply: format strings over columns. input, system_column: a column or "". input_required: whether a
    row without the input column is refused. system: the constant system part with an input, and without one.
    system_always: put in even when empty. styles: the styles that `:STYLE` may name. eos: how many EOS tokens end the
    row; with more than one, empty texts have BOS and EOS as well.
    """

    instruction: str = "{instruction}"
    input: str = "input"
    input_required: bool = False
    reply: str = "{output}"
    style: Style = STYLES["instruct"]
    system: tuple[str, str] = ("", "")
    system_column: str = ""
    system_always: bool = False
    styles: Mapping[str, Style] = field(default_factory=dict)
    eos: int = 1


_alpaca = PromptType(system=_ALPACA)
_chat = replace(_alpaca, style=STYLES["chat"])
_with_system = PromptType(system_column="system")
_orca = PromptType(
    instruction="{question}", input="", reply="{response}", style=_ORCA["instruct"], system_column="system_prompt"
)
_question = PromptType(instruction="{question}", input="", reply="{answer}", style=STYLES["chat"], system=_CONCISE)
_context = PromptType(
    instruction="{article}\n===\n{question}",
    input="",
    reply="{answer}",
    style=STYLES["chat"],
    system=(_CONTEXT, _CONTEXT),
)

TYPES: Mapping[str, PromptType] = {
    "alpaca": replace(_alpaca, styles=STYLES),
    "gpteacher": replace(_alpaca, reply="{response}", styles=STYLES),
    "jeopardy": replace(
        _alpaca,
        instruction="{question}",
        input="category",
        input_required=True,
        reply="what is {answer}",
        styles=STYLES,
    ),
    "oasst": replace(_alpaca, instruction="{INSTRUCTION}", input="", reply="{RESPONSE}", styles=STYLES),
    "summarizetldr": PromptType(
        instruction="{article}", input="", reply="{summary}", style=_TLDR, styles=dict.fromkeys(STYLES, _TLDR)
    ),
    "alpaca_chat": _chat,
    "alpaca_chat.load_concise": replace(_chat, system=_CONCISE),
    "alpaca_chat.load_qa": _question,
    "alpaca_chat.load_camel_ai": replace(_question, instruction="{message_1}", reply="{message_2}"),
    "alpaca_chat.load_no_prompt": PromptType(style=STYLES["chat"]),
    "alpaca_instruct": _alpaca,
    "alpaca_instruct.load_no_prompt": PromptType(),
    "alpaca_w_system": replace(_with_system, style=STYLES["chat"]),
    "alpaca_w_system.load_chat": replace(_with_system, style=STYLES["chat"]),
    "alpaca_w_system.load_instruct": _with_system,
    "alpaca_w_system.load_open_orca": _orca,
    "alpaca_w_system.load_open_orca_chatml": replace(_orca, style=_ORCA["chatml"]),
    "orcamini": replace(_orca, style=Style("", _ORCA_MINI, ""), system_always=True),
    "context_qa": _context,
    "context_qa.load_404": replace(_context, instruction="{article}\n===\n{unanswerable_question}", reply=_UNKNOWN),
    "context_qa.load_v2": PromptType(
        instruction="Context: {context}\nQuestion: {question}\n",
        input="",
        reply="Answer: {answer}",
        style=Style("{instruction}\n{input}", "{instruction}", "{system}"),
    ),
    "creative_acr.load_answer": PromptType(
        input="",
        reply="{revision}",
        style=Style("", "USER: {instruction}\nASSISTANT:", "{system}\n"),
        system=(
            "",
            "Answer the following question in a comprehensive, in-depth, and creative way. Additionally your response "
            "should be relevant, accurate, and free of any ambiguity.",
        ),
    ),
    "metharme": PromptType(
        instruction="{prompt}",
        input="",
        reply="{generation}",
        style=Style("{instruction}", "{instruction}", ""),
        eos=3,
    ),
}


class Reflection(Struct, frozen=True):
    """The `reflection` types: the prompts, and the reply where output, reflection and corrected are all filled."""

    prompt: Style
    reply: str
    system: tuple[str, str] = ("", "")


_THOUGHT = "### Thought:\n{output}\n\n### Agent Reflection:\n{reflection}\n\n### Final Response:\n{corrected}"
_PAPER = (
    "You, the Assistant, should generate a response as if it were an abstract for an academic or technical paper on "
    "the query along with a methodology. Then generate an Agent Reflection where you create a long form response as if "
    "from subject matter expert, be verbose, diligent, and creative in your application of knowledge, apply it through "
    "the lens of the response generated by the assistant. Look for flawed reasoning, faulty logic, or other mistakes "
    "in the method. Finally, generate a final response and method for the user with the Assistant abstract and "
    "Reflection analysis as augmentations to the generation\n\n"
)
_REFLECTION = (
    "Below is an instruction that describes a task, paired with an input that provides further context. " + _PAPER,
    "Below is an instruction that describes a task. " + _PAPER,
)

REFLECTIONS: Mapping[str, Reflection] = {
    "": Reflection(STYLES["instruct"], _THOUGHT),
    "instruct": Reflection(STYLES["instruct"], _THOUGHT, _REFLECTION),
    "chat": Reflection(
        STYLES["chat"], "\nTHOUGHT: {output}\nASSISTANT REFLECTION: {reflection}\nASSISTANT:", _REFLECTION
    ),
}
