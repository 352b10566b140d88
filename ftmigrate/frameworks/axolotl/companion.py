"""The module beside a config of the exact mode: the plugins and the dataset type that the config names.

Its pieces lie in `pieces/`, each tested by itself in Axolotl. The module holds those that its config names and no others,
so that it can be made anew from the config alone.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ftmigrate import __version__
from ftmigrate.document.model import Document, Value

PIECES: Mapping[str, str] = {
    "Rows": "rows",
    "CarriedSteps": "batches",
    "EvenEpochs": "batches",
    "DecayAll": "decay",
    "WarmupAsWritten": "warmup",
    "CountFirstTokens": "counts",
    "PureBf16": "precision",
}
"""The plugins by name, with the file that holds them."""
ROWS_KEY = "exact_rows"
SINCE = "0.21.0"
"""The release in which the pieces were tested. Before 0.20 Axolotl trains on without a plugin that it cannot import."""
_PLACE = Path(__file__).parent / "pieces"
_PLUGIN = re.compile(r"(\w+_exact)[.:](\w+)")
_TYPE = re.compile(r"(\w+_exact)\.rows")


def module(stem: str) -> str:
    """The name of the module beside a config whose file name is this but for the ending."""
    name = re.sub(r"\W", "_", stem) + "_exact"
    return f"_{name}" if name[0].isdigit() else name


def loaded(listed: object) -> frozenset[str]:
    """Our plugins among those that a config lists."""
    found = (_PLUGIN.fullmatch(one) for one in listed if isinstance(one, str)) if isinstance(listed, list) else ()
    return frozenset(one[2] for one in found if one is not None and one[2] in PIECES)


def with_plugin(listed: object, stem: str, name: str) -> list[Value]:
    """The list of plugins with one of ours besides."""
    kept = list(listed) if isinstance(listed, list) else []
    return kept if name in loaded(kept) else [*kept, f"{module(stem)}.{name}"]


def rows_type(stem: str) -> str:
    return f"{module(stem)}.rows"


def is_rows_type(kind: object) -> bool:
    return isinstance(kind, str) and _TYPE.fullmatch(kind) is not None


def beside(document: Document) -> Mapping[str, str]:
    """The files that a config needs beside it: name -> text."""
    named: dict[str, dict[str, None]] = {}
    listed = document.tree.get("plugins")
    for one in listed if isinstance(listed, list) else ():
        found = _PLUGIN.fullmatch(one) if isinstance(one, str) else None
        if found is not None and found[2] in PIECES:
            named.setdefault(found[1], {})[found[2]] = None
    about = posixpath.basename(document.name.replace("\\", "/"))
    return {f"{name}.py": text(about, tuple(names)) for name, names in named.items()}


def text(about: str, names: Iterable[str]) -> str:
    """The module with these plugins for the config of that name."""
    files = dict.fromkeys(PIECES[name] for name in PIECES if name in names)
    parts = [_part(file) for file in files]
    lines = sorted({line for _, imports, _ in parts for line in imports}, key=_rank)
    own = [line for line in lines if _rank(line)[0] == 0]
    others = [line for line in lines if _rank(line)[0] == 1]
    head = [
        f'"""What {about} needs that Axolotl has no key for. Made by ftmigrate {__version__}.',
        "",
        f"Axolotl imports it: the folder that holds it must be on PYTHONPATH, as in the command in {about}.",
        "",
        *(about for about, _, _ in parts),
        '"""',
    ]
    blocks = ["\n".join(head), "\n".join(own), "\n".join(others)]
    bodies = "\n\n\n".join(body for _, _, body in parts)
    gap = "\n\n\n" if bodies.startswith(("class ", "def ", "@")) else "\n\n"
    return "\n\n".join(block for block in blocks if block) + gap + bodies + "\n"


def _rank(line: str) -> tuple[int, bool, str]:
    """The order of imports: the standard library's first, `import` before `from`."""
    standard = line.split()[1].partition(".")[0] in ("collections", "itertools", "os", "sys", "typing")
    return (0 if standard else 1, line.startswith("from"), line)


@cache
def _part(file: str) -> tuple[str, tuple[str, ...], str]:
    """What a piece's file says of itself, its imports, and the rest."""
    source = (_PLACE / f"{file}.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    rest = "\n".join(source.split("\n")[imports[-1].end_lineno or 0 :]).strip("\n")
    return ast.get_docstring(tree) or "", tuple(ast.unparse(node) for node in imports), rest


def of(keys: Mapping[str, Any], reader: Any) -> frozenset[str]:
    """Our plugins, as a group's keys say, else as the document says."""
    return loaded(keys["plugins"] if "plugins" in keys else reader.value("plugins"))
