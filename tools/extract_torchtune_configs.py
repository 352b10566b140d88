"""Write `schemas/torchtune.configs.json`: what the configs say that torchtune ships, as data without its comments.

    python tools/extract_torchtune_configs.py 0.6.1=torchtune-0.6.1-py3-none-any.whl main=CHECKOUT

The table holds every config that the package registers and ships::

    {"framework": "torchtune", "versions": ["0.6.1", "main"],
     "blocks": [[key, value], ...],
     "configs": {NAME: [[since, until, {"blocks": [INDEX, ...], "downloads": [[REPOSITORY, DIRECTORY | null], ...]}], ...]}}

A block is a top-level key with its value (interpolations as written), stored once for all configs that have it, in the
order in which versions were added: a further release appends blocks and leaves the others as they were.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from extract_torchtune import SCHEMAS, _registry, unpacked
from torchtune_source import Package

from ftmigrate.document.yaml import OMEGACONF, value

Config: TypeAlias = dict[str, Any]
_DOWNLOAD = re.compile(r"tune download\s+(\S+/\S+)(.*)")


def extract(root: Path) -> dict[str, Config]:
    """The registered configs of one version: their `values` in the order of the file, and their `downloads`."""
    found: dict[str, Config] = {}
    for entry in _registry(Package(root)):
        for config in entry["configs"]:
            file = root / "recipes/configs" / config["file_path"]
            if file.exists():
                text = file.read_text(encoding="utf-8")
                found[config["name"]] = {"values": value(text, OMEGACONF), "downloads": list(_downloads(text))}
    return found


def _downloads(text: str) -> Iterator[list[str | None]]:
    """Repository and directory of each download command in the comments at the top."""
    for line in text.splitlines():
        if line and not line.startswith("#"):
            return
        command = _DOWNLOAD.search(line)
        if command is None:
            continue
        words = shlex.split(re.sub(r"<\S*>", "X", command[2]))
        told = [words[index + 1] for index, word in enumerate(words[:-1]) if word == "--output-dir"]
        yield [command[1], told[0] if told else None]


def merge(table: Mapping[str, Any] | None, found: Mapping[str, Mapping[str, Config]]) -> dict[str, Any]:
    """The table with these versions replaced or added; new ones follow those it has."""
    blocks: list[Any] = [] if table is None else list(table["blocks"])
    index = {json.dumps(block): number for number, block in enumerate(blocks)}
    by_version = expand(table) if table else {}
    for version, configs in found.items():
        by_version[version] = {}
        for name, config in sorted(configs.items()):
            numbers = []
            for block in config["values"].items():
                text = json.dumps(block)
                if text not in index:
                    index[text] = len(blocks)
                    blocks.append(list(block))
                numbers.append(index[text])
            facts: Config = {"blocks": numbers}
            if config["downloads"]:
                facts["downloads"] = config["downloads"]
            by_version[version][name] = facts
    versions = list(by_version)
    names = sorted({name for configs in by_version.values() for name in configs})
    ranges = {name: _ranges([by_version[version].get(name) for version in versions], versions) for name in names}
    return {"framework": "torchtune", "versions": versions, "blocks": blocks, "configs": ranges}


def _ranges(seen: Sequence[Config | None], versions: Sequence[str]) -> list[list[Any]]:
    ranges: list[list[Any]] = []
    before: Config | None = None
    for version, facts in zip(versions, seen, strict=True):
        if facts != before:
            if before is not None:
                ranges[-1][1] = version
            if facts is not None:
                ranges.append([version, None, facts])
        before = facts
    return ranges


def expand(table: Mapping[str, Any]) -> dict[str, dict[str, Config]]:
    """Every version of the table on its own."""
    versions: list[str] = table["versions"]
    found: dict[str, dict[str, Config]] = {version: {} for version in versions}
    for name, ranges in table["configs"].items():
        for since, until, facts in ranges:
            end = len(versions) if until is None else versions.index(until)
            for version in versions[versions.index(since) : end]:
                found[version][name] = facts
    return found


def dumps(table: Mapping[str, Any]) -> str:
    """The table as text, a line a block and a line a config."""
    lines = [f'{{"framework": {_json(table["framework"])},', f'"versions": {_json(table["versions"])},', '"blocks": [']
    lines += [_json(block) + "," for block in table["blocks"][:-1]] + [_json(block) for block in table["blocks"][-1:]]
    lines += ["],", '"configs": {']
    entries = [f"{_json(name)}: {_json(ranges)}" for name, ranges in table["configs"].items()]
    return "\n".join([*lines, ",\n".join(entries), "}}", ""])


def _json(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write schemas/torchtune.configs.json from releases of torchtune.")
    parser.add_argument("sources", nargs="+", metavar="VERSION=DIR_OR_WHEEL")
    parser.add_argument("--output", type=Path, default=SCHEMAS / "torchtune.configs.json")
    options = parser.parse_args(arguments)
    table = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else None
    found: dict[str, dict[str, Config]] = {}
    for argument in options.sources:
        version, _, source = argument.partition("=")
        if not source:
            parser.error(f"{argument}: VERSION=DIR_OR_WHEEL is needed")
        with unpacked(Path(source)) as root:
            found[version] = extract(root)
    merged = merge(table, found)
    text = dumps(merged)
    options.output.write_text(text, encoding="utf-8")
    for version, configs in found.items():
        print(f"{version}: {len(configs)} configs")
    print(f"{len(merged['blocks'])} blocks, {len(text.encode()):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
