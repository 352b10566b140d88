"""OmegaConf's `${...}`: references are followed; resolvers (`${oc.env:X}`) are not run, their text is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from . import template
from .codes import Code, error
from .model import CONTAINERS, Diagnostic, DocumentError, Path, Position, Unresolved, Value, format_path
from .references import BadInterpolation, Reference, Resolver, parse, split_key

MAX_CHAIN = 100
MAX_VALUES = 100_000
MISSING = "???"

Where: TypeAlias = Callable[[Path, str], Position]


class _Found(NamedTuple):
    """Where a reference leads: the place of a value, and the leaves used on the way to it."""

    path: Path
    through: tuple[Path, ...] = ()


class _Answer(NamedTuple):
    """What a string came to: a plain value, or the container it stands for."""

    value: str | int | float | bool | Unresolved | _Found | None
    via: tuple[Path, ...] = ()


def _open(value: Value) -> bool:
    """Whether there is anything to resolve in a value."""
    return ("${" in value or value == MISSING) if isinstance(value, str) else isinstance(value, CONTAINERS)


class _Resolution:
    def __init__(self, tree: dict[str, Value], where: Where, missing: list[Diagnostic] | None = None) -> None:
        self.tree = tree
        self.where = where
        self.missing = missing
        self.via: dict[Path, tuple[Path, ...]] = {}
        self.answers: dict[Path, _Answer] = {}
        self.active: list[Path] = []
        self.count = 0

    def build(self, path: Path, out: Path, raw: Value) -> Value:
        """The resolved value at `path`, to stand at `out`."""
        self.count += 1
        if self.count > MAX_VALUES or len(out) > 2 * MAX_CHAIN:
            raise self._fail(
                Code.TOO_MANY_NODES, out, "", f"Interpolations expand to more than {MAX_VALUES:,} values. Is this data?"
            )
        if isinstance(raw, dict):
            if path is out:
                return {
                    name: self.build(at := (*path, name), at, below) if _open(below) else below
                    for name, below in raw.items()
                }
            return {name: self.build((*path, name), (*out, name), below) for name, below in raw.items()}
        if isinstance(raw, list):
            if path is out:
                return [
                    self.build(at := (*path, index), at, item) if _open(item) else item
                    for index, item in enumerate(raw)
                ]
            return [self.build((*path, index), (*out, index), item) for index, item in enumerate(raw)]
        used = () if path is out or path == out else (path,)
        if not isinstance(raw, str) or not ("${" in raw or raw == MISSING):
            if used:
                self.via[out] = used
            return raw
        answer = self.answer(path, raw)
        if isinstance(answer.value, _Found):
            target = answer.value.path
            if target == out[: len(target)] or path in self.active:
                raise self._cycle(path, raw)
            self.active.append(path)
            value = self.build(target, out, self.raw(target))
            self.active.pop()
            if answer.via:
                for below in [known for known in self.via if known[: len(out)] == out]:
                    self.via[below] = tuple(dict.fromkeys((*self.via[below], *answer.via)))
            return value
        if used or answer.via:
            self.via[out] = tuple(dict.fromkeys((*used, *answer.via)))
        return answer.value

    def answer(self, path: Path, raw: str) -> _Answer:
        """What the string at `path` stands for."""
        known = self.answers.get(path)
        if known is None:
            if path in self.active:
                raise self._cycle(path, raw)
            if len(self.active) >= MAX_CHAIN:
                message = f"More than {MAX_CHAIN} interpolations lead from one to the next."
                raise self._fail(Code.TOO_DEEP, path, raw, message)
            self.active.append(path)
            known = self.answers[path] = self._string(path, raw)
            self.active.pop()
        return known

    def _string(self, path: Path, raw: str) -> _Answer:
        if raw == MISSING:
            return _Answer(Unresolved(MISSING))
        try:
            parts = parse(raw)
        except BadInterpolation as cause:
            raise self._malformed(path, raw, cause) from None
        try:
            return self._joined(path, raw, parts)
        except DocumentError as cause:
            if self.missing is None or cause.diagnostic.code != Code.INTERPOLATION_MISSING:
                raise
            self.missing.append(cause.diagnostic)
            return _Answer(Unresolved(raw))

    def _joined(self, path: Path, raw: str, parts: Sequence[str | Reference | Resolver]) -> _Answer:
        if len(parts) == 1 and not isinstance(parts[0], str):
            return self._part(path, raw, parts[0])
        text = ""
        via: list[Path] = []
        unresolved = False
        for part in parts:
            if isinstance(part, str):
                text += part
                continue
            answer = self._part(path, raw, part)
            via += answer.via
            if isinstance(answer.value, Unresolved):
                unresolved = True
            elif isinstance(answer.value, _Found):
                via.append(answer.value.path)
                text += str(self.raw(answer.value.path))
            else:
                text += str(answer.value)
        return _Answer(Unresolved(raw) if unresolved else text, tuple(dict.fromkeys(via)))

    def _part(self, path: Path, raw: str, part: Reference | Resolver) -> _Answer:
        """The value of one interpolation in the string at `path`."""
        if isinstance(part, Resolver):
            return _Answer(Unresolved(raw))
        found = self._follow(path, raw, part)
        if isinstance(found, Unresolved):
            return _Answer(found)
        target = self.raw(found.path)
        if isinstance(target, dict | list):
            self._check_outside(path, raw, found.path)
            return _Answer(found, found.through)
        if isinstance(target, str) and ("${" in target or target == MISSING):
            answer = self.answer(found.path, target)
            here: tuple[Path, ...] = (found.path,)
            if isinstance(answer.value, _Found):
                self._check_outside(path, raw, answer.value.path)
                here = ()
            return _Answer(answer.value, (*found.through, *here, *answer.via))
        return _Answer(target, (*found.through, found.path))

    def _follow(self, path: Path, raw: str, reference: Reference) -> _Found | Unresolved:
        """The place that a reference in the string at `path` names."""
        dots = reference.dots
        keys: list[str] = []
        through: list[Path] = []
        for key in reference.keys:
            if isinstance(key, str):
                keys.append(key)
                continue
            answer = self._part(path, raw, key.inner)
            name = answer.value
            if isinstance(name, Unresolved):
                return Unresolved(raw)
            if isinstance(name, _Found | bool | float) or name is None:
                raise self._fail(
                    Code.INTERPOLATION_TYPE,
                    path,
                    key.inner.text,
                    f"`{key.inner.text}` is used as a key, but its value is no text and no whole number.",
                )
            through += answer.via
            if key.bracketed or isinstance(name, int):
                keys.append(str(name))
            else:
                if not keys:
                    dots += len(name) - len(name.lstrip("."))
                keys += split_key(name.lstrip(".") if not keys else name)
        at: Path = ()
        if dots:
            if dots > len(path):
                raise self._missing(path, reference, (), "", {})
            at = path[: len(path) - dots]
        for name in keys:
            node = self.raw(at)
            while isinstance(node, str) and ("${" in node or node == MISSING):
                answer = self.answer(at, node)
                if isinstance(answer.value, Unresolved):
                    return Unresolved(raw)
                through += answer.via
                if not isinstance(answer.value, _Found):
                    break
                at = answer.value.path
                node = self.raw(at)
            at = (*at, self._step(path, reference, at, node, name))
        return _Found(at, tuple(dict.fromkeys(through)))

    def _step(self, path: Path, reference: Reference, at: Path, node: Value, name: str) -> str | int:
        """The key that `name` stands for in the container at `at`."""
        if isinstance(node, dict):
            if name in node:
                return name
            raise self._missing(path, reference, at, name, node)
        if isinstance(node, list):
            try:
                index = int(name)
            except ValueError:
                raise self._fail(
                    Code.INTERPOLATION_TYPE,
                    path,
                    reference.text,
                    f"`{reference.text}`: `{format_path(at)}` is a list, and `{name}` is no number of an item.",
                ) from None
            if -len(node) <= index < len(node):
                return index % len(node)
            raise self._missing(path, reference, at, name, node)
        raise self._fail(
            Code.INTERPOLATION_TYPE,
            path,
            reference.text,
            f"`{reference.text}` looks for `{name}` in `{format_path(at)}`, which is a single value without parts.",
        )

    def raw(self, path: Path) -> Value:
        node: Value = self.tree
        for key in path:
            node = node[key]  # type: ignore[index]
        return node

    def _check_outside(self, path: Path, raw: str, target: Path) -> None:
        if target == path[: len(target)]:
            inside = f"`{format_path(path)}` refers to `{format_path(target)}`, which contains it. Write it out."
            raise self._fail(Code.INTERPOLATION_CYCLE, path, raw, inside)

    # errors

    def _fail(self, code: Code, path: Path, part: str, message: str) -> DocumentError:
        return error(code, message, self.where(path, part))

    def _cycle(self, path: Path, raw: str) -> DocumentError:
        start = self.active.index(path) if path in self.active else 0
        chain = [format_path(step) for step in [*self.active[start:], path]]
        if len(chain) == 1:
            chain.append(chain[0])
        return self._fail(
            Code.INTERPOLATION_CYCLE,
            path,
            raw,
            f"`{format_path(path)}` refers to itself: {' -> '.join(chain)}. Write one of them out.",
        )

    def _malformed(self, path: Path, raw: str, cause: BadInterpolation) -> DocumentError:
        shown = raw[cause.offset :].splitlines()[0]
        if shown.startswith("${{"):
            return self._fail(Code.TEMPLATE, path, shown, template.message(raw, cause.offset))
        return self._fail(
            Code.INTERPOLATION_SYNTAX,
            path,
            shown,
            f"`{shown[:40]}` is no interpolation: {cause}. Write `${{key}}`, or `\\${{` if text is meant.",
        )

    def _missing(
        self, path: Path, reference: Reference, at: Path, name: str, node: dict[str, Value] | list[Value]
    ) -> DocumentError:
        text = reference.text
        if isinstance(node, list):
            reason = f"the list `{format_path(at)}` has {len(node)} item{'' if len(node) == 1 else 's'}"
        elif not name:
            reason = "its dots lead out of the file"
        else:
            from difflib import get_close_matches

            near = get_close_matches(name, node, n=1) or get_close_matches(name, self.tree, n=1)
            place = f"in `{format_path(at)}`" if at else "in this file"
            reason = f"there is no key `{name}` {place}"
            if near:
                reason += f"; did you mean `{near[0]}`?"
        dot = "" if reason.endswith("?") else "."
        return self._fail(Code.INTERPOLATION_MISSING, path, text, f"`{text}` leads nowhere: {reason}{dot}")


def resolve(
    tree: dict[str, Value], where: Where, missing: list[Diagnostic] | None = None
) -> tuple[dict[str, Value], dict[Path, tuple[Path, ...]]]:
    """The tree with every reference followed, and for each value that used others, which. Raises DocumentError.

    `where` tells the place of a part of the string at a path. With `missing` a reference that leads nowhere is put
    there and its value left unresolved.
    """
    resolution = _Resolution(tree, where, missing)
    try:
        resolved = resolution.build((), (), tree)
    except RecursionError:
        raise error(Code.TOO_DEEP, "The interpolations lead too deep.", Position(1, 1)) from None
    assert isinstance(resolved, dict)
    return resolved, resolution.via


def container(tree: dict[str, Value], path: Path, text: str) -> dict[str, Value] | list[Value] | None:
    """The mapping or list that the string at `path` as a whole stands for, unresolved; None if for none."""
    resolution = _Resolution(tree, lambda _path, _part: Position(1, 1))
    try:
        answer = resolution.answer(path, text)
    except DocumentError:
        return None
    if not isinstance(answer.value, _Found):
        return None
    target = resolution.raw(answer.value.path)
    return target if isinstance(target, dict | list) else None
