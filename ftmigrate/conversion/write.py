"""Writing a plan as YAML that a person reads: grouped, headed, commented only where a human must look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import yaml

from ftmigrate.document.blocks import BlockDumper, spell
from ftmigrate.document.model import Value
from ftmigrate.frameworks.table import Table
from ftmigrate.memo import remember


class _Dumper(BlockDumper):
    """Long text as literal blocks."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    """Lines as a literal block, unless white space at their ends counts: that would be lost to the eye."""
    plain = value == value.strip() and not any(line != line.rstrip() for line in value.split("\n"))
    style = None if "\n" not in value else "|" if plain else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def dump(key: str, value: Value) -> list[str]:
    """One top-level key as lines."""
    return list(_dump(key, value))


@remember(1024)
def _dump(key: str, value: Value) -> tuple[str, ...]:
    return tuple(spell(key, value, _Dumper))


def render(
    tree: Mapping[str, Value],
    table: Table,
    header: Sequence[str],
    comments: Mapping[str, str],
    todo: Mapping[str, str],
) -> str:
    """The whole file. comments: by top-level key, put at the end of its line. todo: by table key, put above it."""
    lines = [f"# {line}".rstrip() for line in header]
    known = dict(table.order())
    order: dict[str, str] = {}
    for key, title in known.items():
        order.setdefault(key.split(".", 1)[0], title)
    written: set[str] = set()
    missing = {key: text for key, text in todo.items() if key.split(".", 1)[0] not in tree}
    titles: list[str] = []
    for title in order.values():
        if title not in titles:
            titles.append(title)
    for title in [*titles, ""]:
        keys = [key for key, of in order.items() if of == title and key in tree and key not in written]
        keys += [key for key in tree if title == "" and key not in order and key not in written]
        open_ = [key for key in missing if known.get(key, "") == title]
        if not keys and not open_:
            continue
        lines += ["", f"# {title}"] if title else [""]
        lines += [f"# TODO {key}: {missing[key]}" for key in open_]
        for key in keys:
            written.add(key)
            lines += [f"# TODO {name}: {text}" for name, text in todo.items() if name.split(".", 1)[0] == key]
            block = dump(key, tree[key])
            if key in comments and len(block) == 1:
                block[0] += f"  # {comments[key]}"
            lines += block
    return "\n".join(lines).lstrip("\n") + "\n"
