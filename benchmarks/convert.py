"""What converting one file costs: `python benchmarks/convert.py [CONFIG] [--runs N]`.

README line: converting one config takes 0.25 s of CPU on one core, start included; Python that loads the YAML, 0.04 s.

Each command is a process of its own, run in turn so that a busy machine slows all alike. The CPU seconds are those of
the whole process, start and end included; bytecode is cached, as after the first run; medians are compared.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "fixtures" / "torchtune" / "llama_lora.yaml"
GOAL = 0.4


def commands(config: Path) -> dict[str, list[str]]:
    """What is compared, by name; the last is what the others are measured against."""
    convert = [sys.executable, "-m", "ftmigrate", "convert", str(config), "--to", "axolotl"]
    load = f"import yaml; yaml.load(open({str(config)!r}, encoding='utf-8'), yaml.SafeLoader)"
    return {
        "ftmigrate convert": convert,
        "ftmigrate convert --from torchtune": [*convert, "--from", "torchtune"],
        "ftmigrate --version": [sys.executable, "-m", "ftmigrate", "--version"],
        "python: import yaml; load": [sys.executable, "-c", load],
        "python: pass": [sys.executable, "-c", "pass"],
    }


def cpu(command: list[str], cache: str) -> float:
    """CPU seconds, user and system, of one run. Bytecode is cached, as it is for whoever has installed the package."""
    unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    environment["PYTHONPYCACHEPREFIX"] = cache
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", type=Path, default=CONFIG)
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    compared = commands(args.config.resolve())
    times: dict[str, list[float]] = {name: [] for name in compared}
    with tempfile.TemporaryDirectory() as cache:
        for command in compared.values():
            cpu(command, cache)
        for _ in range(args.runs):
            for name, command in compared.items():
                times[name].append(cpu(command, cache))
    medians = {name: statistics.median(found) for name, found in times.items()}
    bare = medians["python: pass"]
    print(f"{args.config}, {args.runs} runs, CPU seconds\n{'':36} {'median':>8} {'least':>8} {'of bare':>8}")
    for name, median in medians.items():
        print(f"{name:36} {median:8.3f} {min(times[name]):8.3f} {median / bare:8.1f}")
    reached = medians["ftmigrate convert"] < GOAL
    print(f"goal: under {GOAL} s: {'reached' if reached else 'NOT reached'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
