"""How long an audit of many files takes, and how much memory: `python benchmarks/audit.py [FILES] [--jobs N]`.

The files are the fixtures, over and over, each with a learning rate, a batch size and a seed of its own. A quarter of
them is audited first: memory that grows with the number of files shows in the difference.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).parent.parent
FIXTURES = sorted((ROOT / "fixtures" / "torchtune").glob("*.yaml"))
GOAL = 60.0
_CHILD = """
import json, resource, sys
from ftmigrate.cli import main
status = main(sys.argv[1:])
own, workers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
cpu = own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime
found = {"status": status, "cpu": cpu, "parent": own.ru_maxrss / 1024, "worker": workers.ru_maxrss / 1024}
print(json.dumps(found), file=sys.stderr)
"""


def fill(folder: Path, count: int) -> None:
    texts = [path.read_text(encoding="utf-8") for path in FIXTURES]
    for number in range(count):
        text = texts[number % len(texts)]
        text = re.sub(r"(?m)^(\s+lr:).*$", rf"\1 {(number % 97 + 1) * 1e-6:.6f}", text)
        text = re.sub(r"(?m)^(batch_size:).*$", rf"\1 {number % 31 + 1}", text)
        text = re.sub(r"(?m)^(seed:).*$", rf"\1 {number}", text)
        path = folder / f"team{number % 20}" / f"run{number}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def measure(count: int, options: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        fill(Path(name, "configs"), count)
        page = Path(name, "audit.html")
        command = ["audit", str(Path(name, "configs")), "--to", "axolotl", "--html", str(page), "--format", "json"]
        begin = perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, *command, *options], capture_output=True, text=True, check=True, cwd=ROOT
        )
        wall = perf_counter() - begin
        found = json.loads(done.stdout)
        memory = json.loads(done.stderr.strip().splitlines()[-1])
        if memory["status"] != 0 or found["summary"]["files"] != count:
            sys.exit(f"the audit went wrong: {done.stderr}")
        return {"files": count, "seconds": wall, **memory, "page": page.stat().st_size / 1e6}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="?", type=int, default=2000)
    parser.add_argument("--jobs", default=None, help="processes (default: all cores)")
    args = parser.parse_args()
    options = ["--jobs", args.jobs] if args.jobs else []
    print("  files  seconds  files/s  CPU s  parent MB  worker MB  page MB")
    for count in (args.files // 4, args.files):
        found = measure(count, options)
        took = f"{found['seconds']:8.1f} {count / found['seconds']:8.1f} {found['cpu']:6.1f}"
        print(f"{count:7} {took} {found['parent']:10.0f} {found['worker']:10.0f} {found['page']:8.1f}")
    return 0 if found["seconds"] < GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
