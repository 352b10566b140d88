"""Text to YAML nodes: libyaml's parser where it is installed, PyYAML's own where it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from .codes import Code, error
from .model import DocumentError, Position
from .scalars import MAP, PYYAML, SEQ, STR, Dialect, resolver
from .text import Lines

MAX_DEPTH = 100


class _Hooks:
    """What a composer asks for: the tag of a node without one; and a count of the levels, as libyaml has no limit."""

    plain: Callable[[str], str]
    depth = 0

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return self.plain(value) if implicit[0] else STR
        return SEQ if kind is yaml.SequenceNode else MAP

    def descend_resolver(self, parent: yaml.Node | None, index: object) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH and parent is not None:
            raise too_deep(position(parent.start_mark))

    def ascend_resolver(self) -> None:
        self.depth -= 1


class _PurePython(_Hooks, yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser, yaml.composer.Composer):
    def __init__(self, text: str) -> None:
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)
        yaml.composer.Composer.__init__(self)


def _fast() -> type[Any] | None:
    """A composer on libyaml; None where PyYAML was built without it."""
    if not yaml.__with_libyaml__:
        return None
    parser: Any = yaml.cyaml.CParser  # type: ignore[attr-defined]

    class WithLibyaml(_Hooks, parser):  # type: ignore[misc]
        pass

    return WithLibyaml


_FAST = _fast()


def composer(text: str, dialect: Dialect) -> type[Any]:
    """The class to compose this text with.

    `yaml.safe_load` runs PyYAML's own scanner, and OmegaConf libyaml's; they differ on tabs between tokens.
    """
    return _PurePython if _FAST is None or (dialect is PYYAML and "\t" in text) else _FAST


def compose(text: str, dialect: Dialect, lines: Lines) -> yaml.Node | None:
    """The root node of the text's one document; None for a text without any. Raises DocumentError."""
    kind = composer(text, dialect)
    machine = kind(text)
    machine.plain = resolver(dialect)
    try:
        root: yaml.Node | None = machine.get_single_node()
    except yaml.YAMLError as cause:
        from .syntax import syntax_error

        raise syntax_error(cause, lines, kind) from None
    except RecursionError:
        raise too_deep(Position(1, 1)) from None
    finally:
        machine.dispose()
    return root


def position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)


def too_deep(at: Position) -> DocumentError:
    message = f"From here on the nesting is deeper than {MAX_DEPTH} levels; no config is. Is this data?"
    return error(Code.TOO_DEEP, message, at)
