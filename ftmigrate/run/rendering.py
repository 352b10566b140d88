"""Rendering: how one row of a dataset becomes text, and which of that text is trained.

A rendering is a tuple of segments. Special tokens are literal text here (`<|eot_id|>`); a tokenizer's own token whose
text no file says is written `{bos}` or `{eos}`. Renderings of different frameworks are compared by what they give on
sample rows (`likeness.compare`), never by how they are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from msgspec import Struct, field

Row: TypeAlias = Mapping[str, object]
THOUGHT_OPENS, THOUGHT_CLOSES = "<think>", "</think>"


class Piece(NamedTuple):
    """A stretch of rendered text with one loss mask."""

    text: str
    trained: bool


class Unrenderable(Exception):
    """The framework itself would refuse or drop such a row (a role it does not know, a missing column)."""


class Text(Struct, frozen=True):
    text: str
    trained: bool = False


class Column(Struct, frozen=True):
    """A column's text. A missing column is an error unless `optional`, then it is empty."""

    name: str
    trained: bool = False
    strip: bool = False
    optional: bool = False


class When(Struct, frozen=True):
    """One of two alternatives: `then` where the column is there and not empty, else `otherwise`.

    `missing`, where given, holds for a row without the column: the column is then an optional one.
    """

    column: str
    then: tuple[Segment, ...]
    otherwise: tuple[Segment, ...] = ()
    missing: tuple[Segment, ...] | None = None


class Refused(Struct, frozen=True):
    """Where the framework refuses the row; the reason in words."""

    reason: str


class Labelled(Struct, frozen=True):
    """A list of mappings that hold a stretch of text each, and whether it is trained (`trained`: all are)."""

    column: str
    text_key: str
    label_key: str
    trained: bool = False


class Item(Struct, frozen=True):
    """The text of one message of a list column: the one at `index` (-1: the last), under `key`."""

    column: str
    index: int
    key: str = "content"
    trained: bool = False


class Tokens(Struct, frozen=True):
    """A row of tokens as they stand in a column; those are trained whose label is the token itself and not -100."""

    column: str
    labels: str


class Steps(Struct, frozen=True):
    """A list of texts, each followed by `separator`, whose end bears the step's label of the column `labels`.

    last_only: the last step's label alone counts.
    """

    column: str
    labels: str
    separator: str
    last_only: bool = False


class Stripped(Struct, frozen=True):
    """Segments whose joined text loses its outer white space (a framework that strips a message's whole content)."""

    segments: tuple[Segment, ...]


class TurnFormat(Struct, frozen=True):
    """What stands around one message's content. strip: True takes outer white space off the content, a string takes
    those characters off its end only. empty_footer: the footer behind an empty content, where it is another.

    thinking: what becomes of a thought, which a message holds apart or in its content up to `</think>`: `drop` leaves
    it out, `show` puts it, or an empty one, between `<think>` and `</think>` in front of the content.
    """

    header: str
    footer: str
    strip: bool | str = False
    empty_footer: str | None = None
    thinking: str = ""


class ChatFormat(Struct, frozen=True):
    """A chat template's turn structure.

    prefix, suffix: text once around the conversation (BOS, EOS). roles: the turn format per role; a role not named is
    refused. default_system: a system turn's content that is added when the conversation has none.
    first: turn formats that hold for the conversation's first turn of a role where they differ (`{role: format}`).
    system_in_user: the system content stands inside the first user turn, between these two strings.
    system_strip: as TurnFormat.strip, for that content. system_in_every_user: it stands in each user turn, not only the
    first.
    last: turn formats that hold for the conversation's last turn.
    keep_prefix_per_exchange: prefix is repeated before each turn that follows an assistant turn, and the suffix ends
    each assistant turn (Llama 2 style).
    separate: header, content and footer are tokenised each on its own as sentencepiece does it: each loses the spaces
    at its end, and each that is not empty is led by this text (the tokenizer's dummy prefix, "" or " "), but not right
    after the prefix nor in a message that follows, in one exchange, a message that does not end with a space. A turn
    is then trained as a whole.
    skip_empty_system: an empty system message is as good as none.
    external: the template that stands elsewhere and could not be read, in words; the turns' texts stand in for its own,
    so that equal references are equal.
    """

    roles: Mapping[str, TurnFormat]
    prefix: str = ""
    suffix: str = ""
    default_system: str | None = None
    first: Mapping[str, TurnFormat] = field(default_factory=dict)
    system_in_user: tuple[str, str] | None = None
    keep_prefix_per_exchange: bool = False
    system_strip: bool | str = True
    system_in_every_user: bool = False
    last: Mapping[str, TurnFormat] = field(default_factory=dict)
    separate: str | None = None
    skip_empty_system: bool = False
    external: str = ""


class Ends(NamedTuple):
    """End tokens that a framework looks for behind a content, and behind which turns it trains them.

    turns: `turn` (the trained ones), `all`, `last` (the last one found), `none`. Only the first of the tokens counts.
    """

    tokens: tuple[str, ...]
    turns: str = "turn"


class Loss(Struct, frozen=True):
    """Which parts of a conversation are trained.

    roles: those whose turns are trained. header, footer: whether the text around a trained turn's content is trained
    too. last_only: only the last trained turn counts. prefix, suffix: whether BOS / EOS around all are trained;
    edges_as_turn: instead, BOS is trained with the turn it stands before and EOS with the one it stands after.
    contents: nothing but contents is trained (not the text around them, nor a turn without content), a folded system
    message by its own role; and behind them the single tokens that `ends` names, be they in the footer or the suffix.
    ends without contents: the tokens of the suffix that are trained. What a chat format itself adds is never trained.
    lead: spaces at the end of a header that is not trained are trained with the content.
    """

    roles: frozenset[str] = frozenset({"assistant"})
    header: bool = True
    footer: bool = True
    last_only: bool = False
    prefix: bool = False
    suffix: bool = False
    edges_as_turn: bool = False
    contents: bool = False
    ends: tuple[Ends, ...] = ()
    lead: bool = False


class Turn(Struct, frozen=True):
    """A message that a dataset builder makes from the row's columns."""

    role: str
    content: tuple[Segment, ...]


class Conversation(Struct, frozen=True):
    """Messages in a chat format.

    Either `turns` (built from columns), or the messages stand in the row under `column` as a list of mappings with
    `role_key` and `content_key`; `roles` maps the data's role names to system | user | assistant | tool (others are
    refused). `system`: a system message put in front; `replace_system`: in place of one that the data has, whose
    own are dropped. `skip_system`: system messages of the data are left out. `ordered`: refuses fewer than two
    messages, a system message that is not the first, two user messages in a row, an assistant message not after a
    user's. `system_column`: a column that, where the row has it, gives a system message to a conversation without one.
    `reply`: a column whose last message ends the conversation; `without_last`: the last one under `column` gives way to
    it. `or_text`: a column may hold a text instead of a list: `column` the user's, `reply` the assistant's.
    `every_user`: a column that, where the row has it, is the content of each user message. `thought_key`: where a
    message may hold its thought apart, for a turn format with `thinking`.
    """

    format: ChatFormat
    loss: Loss
    turns: tuple[Turn, ...] = ()
    column: str = ""
    role_key: str = "role"
    content_key: str = "content"
    roles: Mapping[str, str] = field(default_factory=lambda: {r: r for r in ("system", "user", "assistant", "tool")})
    system: str | None = None
    replace_system: bool = False
    skip_system: bool = False
    ordered: bool = False
    system_column: str = ""
    reply: str = ""
    without_last: bool = False
    or_text: bool = False
    every_user: str = ""
    thought_key: str = ""


Segment: TypeAlias = "Text | Column | When | Refused | Labelled | Item | Tokens | Steps | Stripped | Conversation"


Listed: TypeAlias = "Conversation | Labelled | Item | Tokens | Steps"


class Rendering(Struct, frozen=True):
    """segments in order; `note` names the construct in the user's words (`alpaca prompt in the llama3 chat format`)."""

    segments: tuple[Segment, ...]
    note: str = ""
