"""What torchtune's tokenizers put around messages, as data.

A tokenizer's chat format is its own special tokens around each message; a prompt template adds plain text inside them.
Text is written as the token ids read, so what a sentencepiece model with a dummy prefix adds between parts is there
(`[INST] hello  [/INST] answer` has two spaces), but for the one right after BOS, which every tokenizer of such a family
adds by itself. That a family's sentencepiece model has a dummy prefix is a fact about the family's own model file.

Loss basis: a message is trained or masked as a whole, header and footer included. Where BOS and EOS stand once around
everything they are masked in the Llama 3 tokenizer; in all others they share the mask of the message beside them.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from ftmigrate import schema
from ftmigrate.document.model import Unresolved, Value
from ftmigrate.frameworks.torchtune.older import before
from ftmigrate.run.rendering import ChatFormat, Loss, TurnFormat

MAIN = "main"


class TokenizerFormat(Struct, frozen=True):
    """chat, loss: how messages become text without a prompt template, and how BOS and EOS are masked.

    item_strip: what each part of a message (a template's text, the content) loses; as TurnFormat.strip.
    bos: the text of the BOS that the family's hub tokenizer itself puts at the start, "" for none. eos: the text of
    torchtune's own EOS, which for some checkpoints of a family is not the hub tokenizer's (base against instruct).
    completion: BOS and EOS around plain text (`encode` with both); empty_completion: whether an empty text has them.
    refuses: prompt templates that the tokenizer does not run with, or that are not described with it, and why.
    names: what names of special tokens become that stand in a text: tiktoken is given none to look for
    (modules/transforms/tokenizers/_tiktoken.py, encode), a sentencepiece model takes its control pieces from no text,
    and Qwen's tokenizer splits texts at them (models/qwen2/_tokenizer.py, encode).
    """

    chat: ChatFormat
    loss: Loss
    bos: str
    eos: str
    completion: tuple[str, str]
    item_strip: bool | str = False
    empty_completion: bool = True
    names: str = "text"
    refuses: Mapping[str, str] = field(default_factory=dict)

    @property
    def tokens(self) -> dict[str, str]:
        """The text of `{bos}` and `{eos}`."""
        return {"bos": self.bos, "eos": self.eos}


class Template(Struct, frozen=True):
    """A prompt template: text before and after the content, by role; a role not named is left as it is.

    refused: roles that raise an error. system_in_every_user: the system message is no message of its own but stands,
    with its own text around it, in each user message. open_if_empty: the text after an assistant message is left out
    where that message is the last and empty.
    """

    roles: Mapping[str, tuple[str, str]]
    refused: frozenset[str] = frozenset()
    system_in_every_user: bool = False
    open_if_empty: bool = False


CHATML = "torchtune.data.ChatMLTemplate"
LLAMA2 = "torchtune.models.llama2.Llama2ChatTemplate"

TEMPLATES: Mapping[str, Template] = {
    CHATML: Template(
        {role: (f"<|im_start|>{role}\n", "<|im_end|>\n") for role in ("system", "user", "assistant")},
        open_if_empty=True,
    ),
    "torchtune.data.GrammarErrorCorrectionTemplate": Template(
        {"user": ("Correct this to standard English: ", "\n---\nCorrected: ")}
    ),
    "torchtune.data.SummarizeTemplate": Template({"user": ("Summarize this dialogue:\n", "\n---\nSummary:\n")}),
    "torchtune.data.QuestionAnswerTemplate": Template({"user": ("Question: ", "\n\nAnswer: ")}),
    LLAMA2: Template(
        {"system": ("<<SYS>>\n", "\n<</SYS>>\n\n"), "user": ("[INST] ", " [/INST] ")}, system_in_every_user=True
    ),
    "torchtune.models.mistral.MistralChatTemplate": Template(
        {"user": ("[INST] ", " [/INST] ")}, refused=frozenset({"system"})
    ),
}

_ROLES = ("system", "user", "assistant")
_AS_TURN = Loss(edges_as_turn=True)


def _turns(header: str, footer: str, strip: bool | str = False) -> dict[str, TurnFormat]:
    return {role: TurnFormat(header.format(role=role), footer, strip) for role in _ROLES}


def _sentencepiece(bos: str, eos: str, dummy_prefix: str) -> TokenizerFormat:
    """No turn markers at all: BOS, the messages' texts one after the other, EOS after each assistant message."""
    return TokenizerFormat(
        ChatFormat(_turns("", ""), bos, eos, keep_prefix_per_exchange=True, separate=dummy_prefix),
        _AS_TURN,
        bos,
        eos,
        (bos, eos),
    )


_IM_TURNS = _turns("<|im_start|>{role}\n", "<|im_end|>\n")
_QWEN = TokenizerFormat(
    ChatFormat(
        _IM_TURNS,
        suffix="<|im_end|>",
        last={"assistant": TurnFormat("<|im_start|>assistant\n", "")},
    ),
    _AS_TURN,
    bos="",
    eos="<|im_end|>",
    completion=("", "<|im_end|>"),
    names="tokens",
    refuses={CHATML: "the tokenizer adds the same markers itself and refuses the template"},
)
_QWEN2 = replace(
    _QWEN,
    # the tokenizer looks for the last message at its place before the template took the system message away
    refuses={**_QWEN.refuses, LLAMA2: "a row with a system message ends with <|im_end|> twice"},
)
_PHI4_TURNS = _turns("<|im_start|>{role}<|im_sep|>", "<|im_end|>", " ")
_PHI3 = TokenizerFormat(
    # "\n" is encoded on its own, so each newline of the format carries the dummy prefix's space
    ChatFormat(_turns("<|{role}|> \n", "<|end|> \n", " "), "<s>"),
    _AS_TURN,
    bos="",
    eos="<|endoftext|>",
    completion=("<s>", "</s>"),
    item_strip=" ",
)

FORMATS: Mapping[str, TokenizerFormat] = {
    "torchtune.models.llama2.llama2_tokenizer": _sentencepiece("<s>", "</s>", " "),
    "torchtune.models.mistral.mistral_tokenizer": _sentencepiece("<s>", "</s>", " "),
    "torchtune.models.gemma.gemma_tokenizer": _sentencepiece("<bos>", "<eos>", ""),
    "torchtune.models.gemma2.gemma_tokenizer": _sentencepiece("<bos>", "<eos>", ""),
    "torchtune.models.llama3.llama3_tokenizer": TokenizerFormat(
        ChatFormat(
            _turns("<|start_header_id|>{role}<|end_header_id|>\n\n", "<|eot_id|>", True),
            "<|begin_of_text|>",
            "<|end_of_text|>",
        ),
        Loss(),
        bos="<|begin_of_text|>",
        eos="<|end_of_text|>",
        completion=("<|begin_of_text|>", "<|end_of_text|>"),
        item_strip=True,
        empty_completion=False,
    ),
    "torchtune.models.phi3.phi3_mini_tokenizer": _PHI3,
    "torchtune.models.phi4.phi4_tokenizer": TokenizerFormat(
        # an assistant message has no end marker
        ChatFormat({**_PHI4_TURNS, "assistant": TurnFormat("<|im_start|>assistant<|im_sep|>", "", " ")}),
        _AS_TURN,
        bos="",
        eos="<|im_end|>",
        completion=("<|endoftext|>", "<|im_end|>"),
        item_strip=" ",
    ),
    "torchtune.models.qwen2.qwen2_tokenizer": _QWEN2,
    "torchtune.models.qwen2_5.qwen2_5_tokenizer": _QWEN,
}

CHANGED_ON_MAIN: Mapping[str, TokenizerFormat] = {
    "torchtune.models.phi3.phi3_mini_tokenizer": replace(
        _PHI3, chat=replace(_PHI3.chat, suffix="<|endoftext|>", keep_prefix_per_exchange=True)
    ),
    "torchtune.models.qwen3.qwen3_tokenizer": _QWEN,
}


# no markers of its own: the prompt template brings them, and <|endoftext|> ends each assistant message
_QWEN2_TEMPLATED = TokenizerFormat(
    ChatFormat(_turns("", ""), "", "<|endoftext|>", keep_prefix_per_exchange=True),
    _AS_TURN,
    bos="",
    eos="<|endoftext|>",
    completion=("", "<|endoftext|>"),
    names="tokens",
)


def _older(tokenizer: TokenizerFormat) -> TokenizerFormat:
    """Up to 0.5 the end token of the Qwen tokenizers was that of the base models."""
    end = "<|endoftext|>"
    return replace(tokenizer, chat=replace(tokenizer.chat, suffix=end), eos=end, completion=("", end))


# tokenizer -> formats, each with the release from which on it no longer held
OLDER: Mapping[str, tuple[tuple[str, TokenizerFormat], ...]] = {
    "torchtune.models.qwen2.qwen2_tokenizer": (("0.4.0", _QWEN2_TEMPLATED), ("0.6.0", _older(_QWEN2))),
    "torchtune.models.qwen2_5.qwen2_5_tokenizer": (("0.6.0", _older(_QWEN)),),
}
_DROPS_SYSTEM = {"torchtune.models.phi3.phi3_mini_tokenizer": "0.4.0"}


def drops_system(tokenizer: str, version: str) -> bool:
    """Whether the tokenizer leaves system messages out; Phi 3's did so before 0.4.0."""
    until = _DROPS_SYSTEM.get(tokenizer)
    return until is not None and before(version, until)


def tokenizer_format(tokenizer: str, version: str = "0.6.1") -> TokenizerFormat | None:
    """The format of a tokenizer builder; None for one that is not a text tokenizer of torchtune's."""
    changed = CHANGED_ON_MAIN.get(tokenizer) if version == MAIN else None
    older = next((shape for until, shape in OLDER.get(tokenizer, ()) if before(version, until)), None)
    return changed or older or FORMATS.get(tokenizer)


def default_template(tokenizer: str, version: str) -> Value:
    """The `prompt_template` that holds where the config names none."""
    facts = schema.load("torchtune", version).keys(f"component {tokenizer}").get("prompt_template", {})
    default: Value = facts.get("default")
    return default


def chat_format(tokenizer: str, prompt_template: Value, version: str = "0.6.1") -> tuple[ChatFormat, Loss] | Unresolved:
    """The chat format with `prompt_template` inside it (None for none), and how BOS and EOS are masked."""
    base = tokenizer_format(tokenizer, version)
    if base is None:
        return Unresolved(tokenizer)
    if prompt_template is None:
        return base.chat, base.loss
    if isinstance(prompt_template, str) and prompt_template in base.refuses:
        return Unresolved(f"{prompt_template}: {base.refuses[prompt_template]}")
    template = _template(prompt_template)
    if isinstance(template, Unresolved):
        return template
    return _inside(base, template), base.loss


def _template(value: Value) -> Template | Unresolved:
    if isinstance(value, Unresolved):
        return value
    if isinstance(value, str):
        return TEMPLATES.get(value, Unresolved(value))
    if not isinstance(value, dict):
        return Unresolved(f"prompt_template {value!r}")
    roles: dict[str, tuple[str, str]] = {}
    for role, tags in value.items():
        if isinstance(tags, Unresolved):
            return tags
        if not isinstance(tags, list) or len(tags) < 2:
            return Unresolved(f"prompt_template.{role} {tags!r}")
        # a tag that is no text is passed over
        before, after = (tag if isinstance(tag, str) else "" for tag in tags[:2])
        roles[role] = (before, after)
    return Template(roles)


def _inside(base: TokenizerFormat, template: Template) -> ChatFormat:
    def item(text: str) -> str:
        if base.item_strip is True:
            return text.strip()
        return text.rstrip(base.item_strip) if base.item_strip else text

    def wrapped(role: str, turn: TurnFormat) -> TurnFormat:
        before, after = template.roles.get(role, ("", ""))
        return replace(turn, header=turn.header + item(before), footer=item(after) + turn.footer)

    def closing(role: str, turn: TurnFormat) -> TurnFormat:
        end = turn.footer if template.open_if_empty and role == "assistant" else None
        return replace(wrapped(role, turn), empty_footer=end)

    out = template.refused | ({"system"} if template.system_in_every_user else frozenset())
    last = base.chat.last or ({"assistant": base.chat.roles["assistant"]} if template.open_if_empty else {})
    shape = replace(
        base.chat,
        roles={role: wrapped(role, turn) for role, turn in base.chat.roles.items() if role not in out},
        last={role: closing(role, turn) for role, turn in last.items() if role not in out},
    )
    if not template.system_in_every_user:
        return shape
    before, after = (item(text) for text in template.roles["system"])
    return replace(shape, system_in_user=(before, after), system_strip=base.item_strip, system_in_every_user=True)
