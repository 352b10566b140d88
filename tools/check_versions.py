"""Check the stored schema of a version against the imported release, and keep the result in `schemas/checked.json`.

    python tools/check_versions.py torchtune 0.5.0=DIR --python PYTHON [--path DIR ...]
    python tools/check_versions.py axolotl 0.5.0 --impossible "why it cannot be imported here"

DIR is the unpacked release, PYTHON an interpreter whose environment has what the release needs; the release, and before
it every `--path`, are put in front of that environment, so that one environment with torch serves many versions. The
work is done by `check_<framework>.py`. `digest` tells which state of the stored schema was checked: when the schema of
a version changes, the check is to be run again (tests/test_versions.py says so).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import schema_store

ROOT = Path(__file__).resolve().parent.parent
CHECKED = ROOT / "schemas" / "checked.json"
PACKAGES = ("torch", "torchao", "transformers", "trl", "peft", "pydantic", "omegaconf")
_PLACE = re.compile(r" \(?[^ ]*/[^ ]*\)?$| \(/[^)]*\)")
_VERSIONS = """
import importlib.metadata as m, json, platform, sys
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def digest(sections: schema_store.Sections) -> str:
    """Which state of a version's schema this is."""
    return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()[:16]


def check(framework: str, version: str, release: Path, python: str, paths: Sequence[Path]) -> dict[str, Any]:
    """Run the framework's check tool against a release. Raises RuntimeError where it could not do its work."""
    source = release / "src" if (release / "src").is_dir() else release
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*paths, source])), "AXOLOTL_DO_NOT_TRACK": "1"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        tool = ROOT / "tools" / f"check_{framework}.py"
        command = [python, str(tool), version, "--json", str(out)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if not out.exists():
            raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no result")
        result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    ask = [python, "-c", _VERSIONS, *PACKAGES]
    asked = subprocess.run(ask, env=environment, capture_output=True, text=True, check=True)
    found: list[str] = result.pop("found")
    return {"environment": json.loads(asked.stdout), **result, **grouped(found)}


def grouped(found: Sequence[str]) -> dict[str, Any]:
    """The findings: what cannot be imported counted by its cause, everything else as it is."""
    causes: Counter[str] = Counter()
    rest: list[str] = []
    for line in found:
        kind, _, text = line.partition(": ")
        if kind == "not importable":
            causes[_PLACE.sub("", text.partition(": ")[2])] += 1
        else:
            rest.append(line)
    return {"not importable": dict(sorted(causes.items())), "findings": rest}


def store(framework: str, version: str, result: dict[str, Any]) -> None:
    """Put one version's result into the file, a line a version."""
    stored = json.loads(CHECKED.read_text(encoding="utf-8")) if CHECKED.exists() else {}
    stored.setdefault(framework, {})[version] = result
    lines = ["{"]
    for i, name in enumerate(sorted(stored)):
        versions = sorted(stored[name], key=schema_store.place)
        lines.append(f"{json.dumps(name)}: {{")
        lines += [
            f"{json.dumps(one)}: {json.dumps(stored[name][one], ensure_ascii=False)}{',' if j < len(versions) - 1 else ''}"
            for j, one in enumerate(versions)
        ]
        lines.append("}," if i < len(stored) - 1 else "}")
    CHECKED.write_text("\n".join([*lines, "}", ""]), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check stored schemas against imported releases; keep the results.")
    parser.add_argument("framework")
    parser.add_argument("versions", nargs="+", metavar="VERSION[=DIR]")
    parser.add_argument("--python", default=sys.executable, help="the interpreter to import the release with")
    parser.add_argument("--path", type=Path, action="append", default=[], help="a folder that goes before the release")
    parser.add_argument("--impossible", metavar="WHY", help="record that the versions cannot be imported here")
    parser.add_argument("--note", help="what was put in the place of packages that are not to be had")
    options = parser.parse_args(arguments)
    table = schema_store.read(ROOT / "schemas" / f"{options.framework}.json")
    if table is None:
        parser.error(f"no schema of {options.framework}")
    stored = schema_store.expand(table)
    status = 0
    for argument in options.versions:
        version, _, release = argument.partition("=")
        result: dict[str, Any]
        if options.impossible:
            result = {"impossible": options.impossible}
        else:
            try:
                result = check(options.framework, version, Path(release), options.python, options.path)
            except RuntimeError as problem:
                print(f"{version}: {problem}", file=sys.stderr)
                status = 2
                continue
        if options.note:
            result = {**result, "note": options.note}
        if version in stored:
            result = {"digest": digest(stored[version]), **result}
        store(options.framework, version, result)
        print(f"{options.framework} {version}: {json.dumps(result)[:400]}")
    return status


if __name__ == "__main__":
    sys.exit(main())
