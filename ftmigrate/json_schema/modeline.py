"""The comment in which a config names its schema to the YAML language server."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ftmigrate.document.text import decode
from ftmigrate.files import write_atomically

_LINE = re.compile(r"^#[ \t]*yaml-language-server:[ \t]*\$schema=[^\r\n]*", re.MULTILINE)
_BOM = b"\xef\xbb\xbf"


def write(config: Path, schema: Path) -> bool:
    """Name a schema in a config, by the path from there; in the place of one that is named already. False: it was so.

    Raises OSError, DocumentError for bytes that are no text.
    """
    data = config.read_bytes()
    text = decode(data)
    line = f"# yaml-language-server: $schema={_from(config, schema)}"
    if _LINE.search(text):
        new = _LINE.sub(lambda _: line, text, count=1)
    else:
        new = line + ("\r\n" if "\r\n" in text else "\n") + text
    write_atomically(config, ("\ufeff" if data.startswith(_BOM) else "") + new)
    return new != text


def _from(config: Path, schema: Path) -> str:
    """The schema's path as seen from the config; whole where there is no way (another drive)."""
    try:
        way = os.path.relpath(schema.resolve(), config.resolve().parent)
    except ValueError:
        return schema.resolve().as_uri()
    way = Path(way).as_posix()
    return way if way.startswith(".") else f"./{way}"
