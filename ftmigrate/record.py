"""Classes of named values: what the standard library's dataclasses are, made several times as fast.

Half the time of a short command would go into making such classes: the library compiles six functions for each. Here a
class has an `__init__` of its own, and all share the other methods.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar, dataclass_transform, overload

T = TypeVar("T")
_REQUIRED: Any = object()


class _Made(NamedTuple):
    """A default that is made anew for each record."""

    make: Callable[[], Any]


def field(*, default_factory: Callable[[], Any]) -> Any:
    """The default of a record's field, made by calling this."""
    return _Made(default_factory)


@overload
def record(cls: type[T]) -> type[T]: ...
@overload
def record(*, frozen: bool) -> Callable[[type[T]], type[T]]: ...


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[Any] | None = None, *, frozen: bool = True) -> Any:
    """The class with a slot for each annotated name, as `@dataclass(frozen=True, slots=True)` makes it."""
    return _record(cls, frozen) if cls is not None else lambda cls: _record(cls, frozen)


def replace(value: T, **changes: Any) -> T:
    """The record with other values in some fields."""
    return type(value)(**{name: getattr(value, name) for name in names(value)} | changes)


def names(value: object) -> tuple[str, ...]:
    """The names of a record's fields."""
    found: tuple[str, ...] = type(value).__match_args__  # type: ignore[attr-defined]
    return found


def is_record(value: object) -> bool:
    return hasattr(type(value), "__record__")


def _record(cls: type[Any], frozen: bool) -> type[Any]:
    space = dict(vars(cls))
    own = tuple(vars(cls).get("__annotations__", ()))
    defaults: dict[str, Any] = {**getattr(cls, "__record__", {}), **{name: space.pop(name, _REQUIRED) for name in own}}
    for name in ("__dict__", "__weakref__"):
        space.pop(name, None)
    fields = tuple(defaults)
    space |= {
        "__slots__": own,
        "__match_args__": fields,
        "__record__": defaults,
        "__values__": attrgetter(*fields or ("__match_args__",)),
        "__reduce__": _reduce,
    }
    space.setdefault("__repr__", _repr)
    space.setdefault("__eq__", _eq)
    space["__hash__"] = _hash if frozen else None
    if frozen:
        space["__setattr__"] = _no_set
        space["__delattr__"] = _no_delete
    made: type[Any] = type(cls)(cls.__name__, cls.__bases__, space)  # type: ignore[misc]
    made.__qualname__ = cls.__qualname__
    made.__init__ = _init(made, defaults)
    return made


def _init(cls: type[Any], defaults: dict[str, Any]) -> Any:
    known = {f"_default_{name}": value for name, value in defaults.items() if value is not _REQUIRED}
    known |= {f"_set_{name}": getattr(cls, name).__set__ for name in defaults}
    takes = ["self", *(name if value is _REQUIRED else f"{name}=_default_{name}" for name, value in defaults.items())]
    lines = [f"def __init__({', '.join(takes)}):"]
    for name, value in defaults.items():
        given = f"_default_{name}.make() if {name} is _default_{name} else {name}" if isinstance(value, _Made) else name
        lines.append(f" _set_{name}(self, {given})")
    lines.append(" self.__post_init__()" if hasattr(cls, "__post_init__") else " pass")
    exec("\n".join(lines), known)
    return known["__init__"]


# --- what all records have in common ----------------------------------------------------------------------------


def _repr(self: Any) -> str:
    return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names(self))})"


def _eq(self: Any, other: Any) -> Any:
    get = self.__values__
    return get(self) == get(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(self.__values__(self))


def _reduce(self: Any) -> tuple[Any, ...]:
    return type(self), tuple(getattr(self, name) for name in names(self))


def _no_set(self: Any, name: str, value: object) -> None:
    raise AttributeError(f"{type(self).__name__}.{name} is not to be changed")


def _no_delete(self: Any, name: str) -> None:
    raise AttributeError(f"{type(self).__name__}.{name} is not to be deleted")
