"""How fast `ftmigrate lint` is, beside what else reads or checks the same files: python benchmarks/lint.py [CONFIG …].

Whole processes: the bare interpreter that loads the file with libyaml; `ftmigrate lint`; and where they are installed
`yamllint`, `check-jsonschema` with our exported schema, `tune validate` (FTMIGRATE_PYTHON_TORCHTUNE) and Axolotl's own
validation (FTMIGRATE_PYTHON_AXOLOTL). Rounds are interleaved; the least of each counts. Then 10,000 files, copies
of those in FTMIGRATE_TORCHTUNE_CONFIGS: libyaml on all cores, and the linter, by the CPU time of both.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
ROUNDS = int(os.environ.get("FTMIGRATE_BENCHMARK_ROUNDS", "15"))
SLOW_ROUNDS = 2
MANY = 10_000
BARE = "import sys, yaml; yaml.load(open(sys.argv[1]), yaml.CSafeLoader)"
BARE_MANY = """
import multiprocessing, os, sys, yaml
def load(path):
    with open(path, "rb") as stream:
        yaml.load(stream.read(), yaml.CSafeLoader)
paths = [os.path.join(folder, name) for folder, _, names in os.walk(sys.argv[1]) for name in names]
with multiprocessing.Pool() as pool:
    pool.map(load, paths, 100)
"""
AXOLOTL = """
import sys, yaml
from axolotl.utils.config import validate_config
from axolotl.utils.dict import DictDefault
validate_config(DictDefault(yaml.safe_load(open(sys.argv[1]))),
    capabilities={"bf16": True, "fp8": False, "tf32": True, "n_gpu": 1, "n_node": 1, "compute_capability": "sm_90"},
    env_capabilities={"torch_version": "2.13.0"})
"""


def measure(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall and CPU seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, check=False)
    wall = time.perf_counter() - start
    if done.returncode > 1:
        raise SystemExit(f"{' '.join(command)[:200]} ended with {done.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def contenders(config: str, folder: Path) -> dict[str, tuple[list[str], int]]:
    """Each command with its number of rounds."""
    python = sys.executable
    found = {
        "bare libyaml load": ([python, "-c", BARE, config], ROUNDS),
        "ftmigrate lint": ([python, "-m", "ftmigrate", "lint", config], ROUNDS),
    }
    if shutil.which("yamllint"):
        found["yamllint"] = (["yamllint", config], ROUNDS)
    torchtune = "_component_" in Path(config).read_text(encoding="utf-8")
    if shutil.which("check-jsonschema"):
        schema = folder / f"{'torchtune' if torchtune else 'axolotl'}.json"
        with schema.open("w", encoding="utf-8") as stream:
            name = "torchtune" if torchtune else "axolotl"
            subprocess.run([python, "-m", "ftmigrate", "schema", name], stdout=stream, check=True, env=environment())
        found["check-jsonschema"] = (["check-jsonschema", "--schemafile", str(schema), config], SLOW_ROUNDS)
    own = os.environ.get("FTMIGRATE_PYTHON_TORCHTUNE" if torchtune else "FTMIGRATE_PYTHON_AXOLOTL")
    if own and torchtune:
        found["tune validate"] = ([str(Path(own).parent / "tune"), "validate", config], SLOW_ROUNDS)
    elif own:
        found["Axolotl's validation"] = ([own, "-c", AXOLOTL, config], SLOW_ROUNDS)
    return found


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT), "AXOLOTL_DO_NOT_TRACK": "1"}


def processes(config: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = contenders(config, Path(folder))
        best: dict[str, tuple[float, float]] = {}
        for number in range(ROUNDS):
            for name, (command, rounds) in found.items():
                if number < rounds:
                    wall, cpu = measure(command, environment())
                    known = best.get(name, (wall, cpu))
                    best[name] = (min(wall, known[0]), min(cpu, known[1]))
    base = best["bare libyaml load"]
    print(f"\n{config}: one file, whole process, least of {ROUNDS} rounds ({SLOW_ROUNDS} for the slow ones)")
    print(f"  {'':24} {'wall ms':>9} {'CPU ms':>9} {'wall ratio':>11} {'CPU ratio':>10}")
    for name, (wall, cpu) in best.items():
        print(f"  {name:24} {wall * 1000:9.1f} {cpu * 1000:9.1f} {wall / base[0]:11.2f} {cpu / base[1]:10.2f}")


def throughput(folder: Path) -> None:
    """Whole processes over a folder of many files, copies of the same ones."""
    found = sorted(folder.rglob("*.yaml"))
    with tempfile.TemporaryDirectory() as place:
        for number in range(-(-MANY // len(found))):
            for path in found:
                copy = Path(place) / str(number) / path.relative_to(folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
        commands = {
            "bare libyaml load": [sys.executable, "-c", BARE_MANY, place],
            "ftmigrate lint": [sys.executable, "-m", "ftmigrate", "lint", "--isolated", place],
        }
        best = dict.fromkeys(commands, (9e9, 9e9))
        for _ in range(3):
            for name, command in commands.items():
                best[name] = min(best[name], measure(command, environment()), key=lambda one: one[1])
        count = sum(1 for _ in Path(place).rglob("*.yaml"))
    base = best["bare libyaml load"][1]
    print(f"\n{count} files, whole process, least of 3 rounds, {os.cpu_count()} cores")
    print(f"  {'':24} {'wall s':>9} {'CPU s':>9} {'files/s of CPU':>15} {'ratio':>7}")
    for name, (wall, cpu) in best.items():
        print(f"  {name:24} {wall:9.2f} {cpu:9.2f} {count / cpu:15.0f} {base / cpu:7.2f}")


def main() -> None:
    configs = sys.argv[1:] or [str(ROOT / "fixtures" / "lint" / f"{name}.yaml") for name in ("torchtune", "axolotl")]
    for config in configs:
        processes(config)
    told = os.environ.get("FTMIGRATE_TORCHTUNE_CONFIGS")
    if told:
        throughput(Path(told))
    else:
        print("\nthroughput: not measured, FTMIGRATE_TORCHTUNE_CONFIGS names no directory")


if __name__ == "__main__":
    main()
