"""Values that only a shell knows, carried inside of text until the text has been split and read as YAML.

`mark` hides an expression in characters of Unicode's private area: no white space, no quote, no sign of YAML or of an
override is among them. `unmark` makes values of it: a string with a marked part is `Unresolved` as a whole.
"""

from __future__ import annotations

import re

from .model import Unresolved, Value

_OPEN, _CLOSE, _BASE = "\uf8fe", "\uf8ff", 0xE000
_MARKED = re.compile(f"{_OPEN}([\ue000-\ue0ff]*){_CLOSE}")


def mark(expression: str) -> str:
    """The expression as a piece of text that nothing splits."""
    return _OPEN + "".join(chr(_BASE + byte) for byte in expression.encode("utf-8", "replace")) + _CLOSE


def is_marked(text: str) -> bool:
    return _MARKED.search(text) is not None


def plain(text: str) -> str:
    """The text with the expressions as they were written."""
    return _MARKED.sub(lambda found: _expression(found[1]), text)


def _expression(hidden: str) -> str:
    return bytes(ord(char) - _BASE for char in hidden).decode("utf-8", "replace")


def unmark(value: Value) -> Value:
    """The value with each marked text unresolved; marks in the keys of mappings become their expressions."""
    if isinstance(value, str):
        return Unresolved(plain(value)) if is_marked(value) else value
    if isinstance(value, list):
        return [unmark(item) for item in value]
    if isinstance(value, dict):
        return {plain(name): unmark(item) for name, item in value.items()}
    return value
