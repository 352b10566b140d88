"""YAML as this project writes it: block style, list items indented, a key's lines as they come."""

from __future__ import annotations

import yaml

from ftmigrate.document.model import Value


class BlockDumper(yaml.SafeDumper):
    """Block style, list items indented."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def spell(key: str, value: Value, dumper: type[BlockDumper] = BlockDumper) -> list[str]:
    """A key with its value."""
    text: str = yaml.dump({key: value}, Dumper=dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return text.removesuffix("...\n").rstrip("\n").split("\n")
