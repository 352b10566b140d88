"""What a plain scalar is: the two dialects of YAML 1.1 that training frameworks load their configs with."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from enum import Enum
from functools import lru_cache

import yaml

PREFIX = "tag:yaml.org,2002:"
STR = PREFIX + "str"
MAP = PREFIX + "map"
SEQ = PREFIX + "seq"
NULL = PREFIX + "null"
MERGE = PREFIX + "merge"
VALUE = PREFIX + "value"
TIMESTAMP = PREFIX + "timestamp"
_FLOAT = PREFIX + "float"


class Dialect(Enum):
    """Whose rules a file is read by: `OMEGACONF` (2.3 and newer) or `PYYAML` (`yaml.safe_load`)."""

    OMEGACONF = "OmegaConf"
    PYYAML = "PyYAML"


OMEGACONF = Dialect.OMEGACONF
PYYAML = Dialect.PYYAML

_Patterns = dict[str, list[tuple[str, re.Pattern[str]]]]

# OmegaConf tries this after all of YAML 1.1's own patterns; what it adds is an exponent without a dot (`3e-4`, `1E5`).
_DIGITS = "[0-9]+(?:_[0-9]+)*"
_OMEGACONF_FLOAT = re.compile(
    rf"[-+]?{_DIGITS}(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)\Z"
    rf"|[-+]?{_DIGITS}\.[0-9_]*\Z"
    rf"|\.{_DIGITS}(?:[eE][-+][0-9]+)?\Z"
    rf"|[-+]?{_DIGITS}(?::[0-5]?[0-9])+\.[0-9_]*\Z"
    r"|[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z"
)


def _patterns(dialect: Dialect) -> _Patterns:
    """Candidate tags by the scalar's first character ("" for the empty scalar), in the order they are tried."""
    base: _Patterns = yaml.resolver.Resolver.yaml_implicit_resolvers
    if dialect is PYYAML:
        return base
    table = {first: [(tag, match) for tag, match in found if tag != TIMESTAMP] for first, found in base.items()}
    for first in "-+0123456789.":
        table.setdefault(first, []).append((_FLOAT, _OMEGACONF_FLOAT))
    return table


def _resolver(dialect: Dialect) -> Callable[[str], str]:
    table = _patterns(dialect)
    anywhere = table.get(None, [])  # type: ignore[call-overload]

    @lru_cache(maxsize=4096)
    def resolve(text: str) -> str:
        for tag, pattern in table.get(text[:1], ()):
            if pattern.match(text):
                return tag
        for tag, pattern in anywhere:
            if pattern.match(text):
                return str(tag)
        return STR

    return resolve


_RESOLVERS = {dialect: _resolver(dialect) for dialect in Dialect}


def resolver(dialect: Dialect) -> Callable[[str], str]:
    """The function from a plain scalar's text to its tag."""
    return _RESOLVERS[dialect]


class NoValue(ValueError):
    """A scalar whose tag promises a value that its text does not hold."""


class UnknownTag(ValueError):
    """A tag for which the loader has no constructor."""


_construct = yaml.constructor.SafeConstructor()
_CONSTRUCTORS: dict[str, Callable[[yaml.ScalarNode], object]] = {
    NULL: _construct.construct_yaml_null,
    PREFIX + "bool": _construct.construct_yaml_bool,
    PREFIX + "int": _construct.construct_yaml_int,
    _FLOAT: _construct.construct_yaml_float,
    TIMESTAMP: _construct.construct_yaml_timestamp,
}


def construct(node: yaml.ScalarNode) -> str | int | float | bool | date | None:
    """The value of a scalar node by its tag. Raises NoValue or UnknownTag."""
    tag = node.tag
    return str(node.value) if tag == STR else _constructed(tag, node.value)


@lru_cache(maxsize=4096)
def _constructed(tag: str, text: str) -> str | int | float | bool | date | None:
    constructor = _CONSTRUCTORS.get(tag)
    if constructor is None:
        raise UnknownTag(tag)
    try:
        value = constructor(yaml.ScalarNode(tag, text))
    except (ValueError, KeyError, AttributeError, OverflowError, IndexError) as cause:
        # PyYAML lets these through: `2024-99-99`, `0b_`, `!!bool maybe`
        raise NoValue(tag.removeprefix(PREFIX)) from cause
    assert value is None or isinstance(value, str | int | float | date)
    return value


def scalar(text: str, dialect: Dialect = OMEGACONF) -> str | int | float | bool | None:
    """What an unquoted `text` means as a value; a date comes as its ISO text. Raises NoValue or UnknownTag."""
    node = yaml.ScalarNode(resolver(dialect)(text), text)
    return plain(construct(node))


def plain(value: str | int | float | bool | date | None) -> str | int | float | bool | None:
    """The value as the tree holds it: dates as text."""
    return str(value) if isinstance(value, date) else value
