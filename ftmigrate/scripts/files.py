"""Where commands stand in a file: in a shell or Slurm script, in a Makefile's recipes, in a notebook's cells."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePath

from ftmigrate.document.text import Lines, decode
from ftmigrate.document.unknown import mark
from ftmigrate.scripts.shell import Command, Known, commands
from ftmigrate.scripts.text import Builder, Mapped

_SUFFIXES = (".sh", ".bash", ".zsh", ".ksh", ".slurm", ".sbatch", ".slrm", ".pbs", ".mk", ".ipynb")
_MAKE = re.compile(r"(?:GNU)?[Mm]akefile(?:\..+)?")
_SHEBANG = re.compile(rb"#!.*\b(?:ba|z|k|da)?sh\b")


def is_script(name: str, data: bytes = b"") -> bool:
    """Whether a file is a script by its name or its first line."""
    path = PurePath(name)
    return path.suffix in _SUFFIXES or _MAKE.fullmatch(path.name) is not None or _SHEBANG.match(data) is not None


def read(data: bytes, name: str) -> list[Command]:
    """Every command in a file, in the order of the text. Raises DocumentError where the bytes are no text."""
    text = decode(data)
    path = PurePath(name)
    whole = Mapped(text, None, Lines(text).position)
    if path.suffix == ".ipynb" or (not is_script(name, data) and text.lstrip().startswith("{")):
        return list(_notebook(whole))
    if path.suffix == ".mk" or _MAKE.fullmatch(path.name):
        return list(_makefile(whole))
    return list(commands(whole, _slurm(text)))


# --- Slurm --------------------------------------------------------------------------------------------------------

_SBATCH = re.compile(r"^#SBATCH[ \t]+(.*?)(?:[ \t]+#.*)?\r?$", re.MULTILINE)
_NODES = re.compile(r"(?:--nodes[= ]|-N[ ]?)(\d+)$")
_TASKS = re.compile(r"(?:--ntasks-per-node[= ])(\d+)$")
_GPUS = re.compile(r"(?:--gpus-per-node[= ](?:[\w.-]+:)?|--gres[= ]gpu:(?:[\w.-]+:)?)(\d+)$")


def _slurm(text: str) -> dict[str, Known]:
    """The variables that Slurm sets by the script's own directives."""
    found: dict[str, Known] = {}
    for line in _SBATCH.finditer(text):
        if (nodes := _NODES.match(line[1])) is not None:
            found |= dict.fromkeys(("SLURM_NNODES", "SLURM_JOB_NUM_NODES"), nodes[1])
        elif (gpus := _GPUS.match(line[1])) is not None:
            found |= dict.fromkeys(("SLURM_GPUS_ON_NODE", "SLURM_GPUS_PER_NODE"), gpus[1])
        elif (tasks := _TASKS.match(line[1])) is not None:
            found["SLURM_NTASKS_PER_NODE"] = tasks[1]
    return found


# --- Makefiles ----------------------------------------------------------------------------------------------------

_VARIABLE = re.compile(r"^(?:export[ ]+|override[ ]+)*([\w.-]+)[ \t]*(::?:?=|\?=|\+=|!=|=)[ \t]*(.*?)[ \t]*(?:#.*)?$")
_TARGETED = re.compile(r"^[^\t#=:][^=:]*:[ \t]*([\w.-]+)[ \t]*[:?+]?=")
_USE = re.compile(r"\$(?:\$|\(([^()]*(?:\([^()]*\)[^()]*)*)\)|\{([^{}]*)\}|(\S))")


def _makefile(source: Mapped) -> Iterator[Command]:
    values = _make_values(source.text)
    start, text = 0, source.text
    while start < len(text):
        end = start
        while True:
            stop = text.find("\n", end)
            stop = len(text) if stop < 0 else stop
            end = stop + 1
            if not text[start:stop].rstrip("\r").endswith("\\") or stop >= len(text):
                break
        if text[start] == "\t":
            begin = start
            while begin < stop and text[begin] in "\t @+-":
                begin += 1
            yield from commands(_substituted(source, begin, stop, _USE, partial(_make_use, values=values)))
        start = end


def _make_values(text: str) -> dict[str, str | None]:
    """The variables of a Makefile; None where the value is not the same on every way."""
    values: dict[str, str | None] = {}
    lines = re.sub(r"\\\r?\n[ \t]*", " ", text).splitlines()
    depth = 0
    for line in lines:
        if line.startswith(("ifeq", "ifneq", "ifdef", "ifndef", "define")):
            depth += 1
        elif line.startswith(("endif", "endef")):
            depth -= 1
        elif (found := _VARIABLE.match(line)) is not None:
            name, sign, value = found[1], found[2], found[3]
            if sign == "+=":
                values[name] = f"{known} {value}" if (known := values.get(name)) else None
            elif depth or sign in ("?=", "!=") or values.get(name, value) != value:
                values[name] = None
            else:
                values[name] = value
        elif (targeted := _TARGETED.match(line)) is not None:
            values[targeted[1]] = None
    return values


def _make_use(use: re.Match[str], values: dict[str, str | None], depth: int = 0) -> str:
    if use[0] == "$$":
        return "$"
    value = values.get(use[1] or use[2] or use[3] or "")
    if value is None or depth > 20:
        return mark(use[0])
    return _USE.sub(lambda inner: _make_use(inner, values, depth + 1), value)


def _substituted(
    source: Mapped, start: int, end: int, pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str]
) -> Mapped:
    """A stretch of the source with other text for each match, at the place of what it stands for."""
    made = Builder(source)
    at = start
    for found in pattern.finditer(source.text, start, end):
        made.copy(at, found.start())
        made.put(replace(found), found.start())
        at = found.end()
    made.copy(at, end)
    return made.done(end)


# --- notebooks ----------------------------------------------------------------------------------------------------

_CELL_SHELL = re.compile(r"%%(?:bash|sh|shell|script\s+(?:ba|z)?sh)\b[^\n]*\n")
_LINE_SHELL = re.compile(r"^[ \t]*(?:!!?|%(?:sx|system)[ \t])", re.MULTILINE)
_ENVIRONMENT = re.compile(r"^[ \t]*%(?:env|set_env)[ \t]+(\w+)(?:=|[ \t]+)(.*?)[ \t]*$", re.MULTILINE)
_PYTHON_USE = re.compile(r"\$\$|\{\{|\}\}|(?<!\$)\{([A-Za-z_][^{}\n]*)\}|\$([A-Za-z_]\w*)")
_MAGIC = re.compile(r"^[ \t]*[!%].*$", re.MULTILINE)


def _notebook(source: Mapped) -> Iterator[Command]:
    try:
        cells = json.loads(source.text).get("cells", [])
    except (ValueError, AttributeError, RecursionError):
        return
    python: dict[str, Known] = {}
    environment: dict[str, Known] = {}
    for cell in _cells(source, cells):
        python |= _python_values(cell.text)
        environment |= {found[1]: found[2] for found in _ENVIRONMENT.finditer(cell.text)}
        head = _CELL_SHELL.match(cell.text)
        if head is not None:
            made = Builder(cell)
            made.copy(head.end(), len(cell.text))
            yield from commands(made.done(len(cell.text)), environment)
            continue
        for line in _LINE_SHELL.finditer(cell.text):
            end = line.end()
            while True:
                stop = cell.text.find("\n", end)
                stop = len(cell.text) if stop < 0 else stop
                if stop >= len(cell.text) or not cell.text[:stop].endswith("\\"):
                    break
                end = stop + 1
            shell = _substituted(cell, line.end(), stop, _PYTHON_USE, partial(_python_use, python=python))
            yield from commands(shell, environment)


def _python_use(use: re.Match[str], python: dict[str, Known]) -> str:
    if use[0] in ("$$", "{{", "}}"):
        return use[0][0]
    name = (use[1] or use[2] or "").strip()
    known = python.get(name)
    if isinstance(known, str):
        return known
    return use[0] if use[2] and name not in python else mark(use[0])


def _python_values(text: str) -> dict[str, Known]:
    """The names that a cell's own lines assign: literals by value, others None."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(_MAGIC.sub("", text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found: dict[str, Known] = {}
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name):
                value = getattr(node, "value", None)
                literal = isinstance(node, ast.Assign) and id(node) in top
                again = target.id in found
                found[target.id] = (
                    str(value.value) if literal and not again and isinstance(value, ast.Constant) else None
                )
    return found


def _cells(source: Mapped, cells: object) -> Iterator[Mapped]:
    """The code cells, each character at its place in the file where the cell's lines can be found there."""
    at = 0
    for cell in cells if isinstance(cells, list) else []:
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        lines = cell.get("source", "")
        lines = [lines] if isinstance(lines, str) else lines
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            continue
        offsets: list[int] = []
        for line in lines:
            offsets_of, at = _located(source.text, line, at)
            offsets += offsets_of
        offsets.append(at)
        yield Mapped("".join(lines), tuple(offsets), source.where)


def _located(text: str, line: str, start: int) -> tuple[list[int], int]:
    """The offset of each character of a JSON string that stands somewhere behind `start`, and where to go on."""
    for ascii_only in (False, True):
        written = json.dumps(line, ensure_ascii=ascii_only)
        at = text.find(written, start)
        if at >= 0:
            offsets, here = [], at + 1
            for char in line:
                offsets.append(here)
                here += len(json.dumps(char, ensure_ascii=ascii_only)) - 2
            return offsets, at + len(written)
    return [start] * len(line), start
