"""Lint a great many damaged and invented files: whatever the input, `ftmigrate lint` ends with 0, 1 or 2.

    python tools/fuzz_lint.py [--count 100000] [--seed 0] [--only NUMBER] [--limit SECONDS] [--jobs N] [--keep DIR] [FOLDER ...]

Configs of the fixtures, and below each FOLDER, are damaged; every fifth input is made by Hypothesis instead (bytes, text,
or a config of known keys with any values), or damaged from such. Each goes through the command itself, as it is, with fixes, or in another
format. A fault is a status other than these, an exception, something on standard error that is a traceback, or no end
within the limit; it is told with the input's number, kept below `--keep`, and repeated with `--seed` and `--only`.
The exit status is 1 where there were faults.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from ftmigrate import schema
from ftmigrate.cli import main as ftmigrate
from ftmigrate.frameworks import registry

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
CHUNK = 250
INVENTED = 50  # of a chunk, every fifth of them made by Hypothesis, the others damaged from it
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
STATUSES = (0, 1, 2)
PIECES = ("null", "true", "-1", "1e-4", "[]", "{}", "[1, {a: b}]", "'x'", '"', "*a", "&a 1", "!!int x", "${a}", "${", "???", "#",
          "- ", "  ", "\t", ":", "|\n  x", "None", "0x1F", "010", "1:30", "2026-01-01", "\u2028", "é", "<<: {a: 1}",
          ".inf", ".nan", "1e999", "9" * 400, "\ufeff", "\x00", "\x85", "? a", "---", "...", "%YAML 1.1", "{{ x }}", "!x",
          "[" * 60, "${oc.env:HOME}", "${..a}", "~", "''", "# ftmigrate: ignore", "# noqa", "\r", "<<<<<<< HEAD")  # fmt: skip
OPTIONS = (
    (), (), ("--unsafe-fixes", "--diff"), ("--fix",), ("--unsafe-fixes",), ("--format", "json"), ("--format", "sarif"),
    ("--statistics",), ("--framework", "axolotl"), ("--framework", "torchtune"),
)  # fmt: skip


class Hung(BaseException):
    """Past the limit; no `except Exception` takes it."""


class Fault(NamedTuple):
    number: int
    what: str
    data: bytes
    options: tuple[str, ...]


class Done(NamedTuple):
    """What became of a chunk."""

    statuses: Counter[int]
    faults: list[Fault]


# --- inputs -----------------------------------------------------------------------------------------------------


def damaged(text: str, chance: random.Random) -> str:
    """A few values, keys or characters replaced, lines moved, doubled or gone."""
    lines = text.split("\n")
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        line = lines[at]
        kind = chance.randrange(7)
        if kind == 0 and ":" in line:
            lines[at] = line.partition(":")[0] + ": " + chance.choice(PIECES)
        elif kind == 1:
            cut = chance.randrange(len(line) + 1)
            lines[at] = line[:cut] + chance.choice(PIECES) + line[cut:]
        elif kind == 2:
            del lines[at : at + chance.randint(1, 3)]
            lines = lines or [""]
        elif kind == 3:
            lines.insert(at, lines[chance.randrange(len(lines))])
        elif kind == 4 and ":" in line:
            other = lines[chance.randrange(len(lines))]
            lines[at] = line.partition(":")[0] + ":" + other.partition(":")[2]
        elif kind == 5 and len(line) > 1:
            cut = chance.randrange(len(line))
            lines[at] = line[:cut] + line[cut + 1 :]
        else:
            lines[at] = chance.choice(("", "  ", "\t")) + line
    return "\n".join(lines)


def bases(folders: Sequence[str]) -> list[Path]:
    own = [*(FIXTURES / "lint").glob("*.yaml"), *(FIXTURES / "torchtune").glob("*.yaml")]
    return sorted(own) + sorted(file for folder in folders for file in Path(folder).rglob("*.y*ml") if file.is_file())


@cache
def _known() -> tuple[list[str], list[str]]:
    """Keys and words that mean something to some framework."""
    keys: set[str] = set()
    words: set[str] = set()
    for name in registry.names():
        framework = registry.get(name)
        pinned = schema.load(name, framework.newest)
        for section in pinned.names(""):
            if section.startswith(schema.COMPONENT):
                words.add(section.removeprefix(schema.COMPONENT))
            for key, facts in pinned.keys(section).items():
                keys.update(part.removesuffix("[]") for part in key.split(".") if part)
                words.update(one for one in facts.get("enum", ()) if isinstance(one, str))
    return sorted(keys), sorted(words)


def invented() -> st.SearchStrategy[bytes]:
    keys, words = _known()
    key = st.sampled_from([*keys, *("_component_", "base_model", "datasets", "model", "optimizer") * 40])
    scalar = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(words), st.sampled_from(PIECES),
        st.text(max_size=12), st.dates(),
    )  # fmt: skip
    value = st.recursive(
        scalar,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(key | st.text(max_size=6), inner, max_size=5),
    )
    config = st.dictionaries(key, value, max_size=12)
    flow = st.sampled_from((None, True, False))
    dumped = st.builds(
        lambda tree, flow: yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True).encode("utf-8", "replace"),
        config, flow,
    )  # fmt: skip
    pieced = st.lists(st.sampled_from([*PIECES, "\n", "\n", "a", "model", ": "]), max_size=30).map(
        lambda parts: "".join(parts).encode()
    )
    return st.one_of(dumped, dumped, dumped, pieced, st.text(max_size=200).map(str.encode), st.binary(max_size=200))


def inputs(number: int, seed: int, files: Sequence[Path]) -> Iterator[bytes]:
    """The inputs of one chunk, the same for the same seed."""
    chance = random.Random(f"{seed} {number}")
    for _ in range(CHUNK - INVENTED):
        text = chance.choice(files).read_bytes().decode("utf-8", "replace")
        yield damaged(text, chance).encode("utf-8", "replace")
    made: list[bytes] = []

    @seeded(seed * 1_000_003 + number)
    @settings(
        max_examples=INVENTED // 5,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(invented())
    def gather(data: bytes) -> None:
        made.append(data)

    gather()
    for data in made:
        yield data
        for _ in range(4):
            yield damaged(data.decode("utf-8", "replace"), chance).encode("utf-8", "replace")


# --- the command on them ------------------------------------------------------------------------------------------


def once(data: bytes, options: Sequence[str], folder: Path, limit: float) -> tuple[int, str]:
    """The status, and what is at fault."""
    file = folder / "fuzz.yaml"
    file.write_bytes(data)
    out, err = io.StringIO(), io.StringIO()
    if limit:
        signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            status = ftmigrate(["lint", str(file), "--isolated", *options])
    except Hung:
        return -1, f"no end within {limit:g} s"
    except BaseException as error:
        return -1, f"{type(error).__name__}: {error}"
    finally:
        if limit:
            signal.setitimer(signal.ITIMER_REAL, 0)
    if status not in STATUSES or "Traceback" in err.getvalue():
        return status, f"status {status}: {err.getvalue().strip()[-400:]}"
    return status, ""


def _alarm(*_: Any) -> None:
    raise Hung


def chunk(number: int, seed: int, files: Sequence[Path], limit: float, only: int | None = None) -> Done:
    """All inputs of a chunk, or one of them. A limit of 0 is none."""
    if limit:
        signal.signal(signal.SIGALRM, _alarm)
    statuses: Counter[int] = Counter()
    faults = []
    gc.disable()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        for index, data in enumerate(inputs(number, seed, files), number * CHUNK):
            if only is not None and index != only:
                continue
            options = random.Random(f"{seed} {index} options").choice(OPTIONS)
            status, what = once(data, options, Path(folder), limit)
            statuses[status] += 1
            if what:
                faults.append(Fault(index, what, data, options))
    gc.enable()
    gc.collect()
    return Done(statuses, faults)


def _tell(fault: Fault, keep: Path | None) -> None:
    at = ""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{fault.number}.yaml").write_bytes(fault.data)
        at = f" ({keep / str(fault.number)}.yaml)"
    print(f"input {fault.number} with {' '.join(fault.options) or 'no option'}{at}: {fault.what}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fuzz ftmigrate lint.")
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="configs to damage besides the fixtures")
    parser.add_argument("--count", type=int, default=100_000, help="inputs at least (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this one input of the seed")
    parser.add_argument("--limit", type=float, default=60, help="seconds for one input (default: %(default)s)")
    parser.add_argument("--seconds", type=float, help="begin nothing after so long; what was not run is said")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where inputs at fault are kept")
    options = parser.parse_args(arguments)
    files = bases(options.folders)
    work = partial(chunk, seed=options.seed, files=files, limit=options.limit, only=options.only)
    wanted = [options.only // CHUNK] if options.only is not None else list(range(-(-options.count // CHUNK)))
    statuses: Counter[int] = Counter()
    faults = 0
    begun = time.monotonic()
    with ProcessPoolExecutor(options.jobs) as pool:
        pending = [pool.submit(work, number) for number in wanted]
        for done in as_completed(pending):
            if done.cancelled():
                continue
            found = done.result()
            statuses += found.statuses
            faults += len(found.faults)
            for fault in found.faults:
                _tell(fault, options.keep)
            spent = time.monotonic() - begun
            print(f"\r{statuses.total()} inputs, {faults} faults, {spent:.0f} s", end="", file=sys.stderr, flush=True)
            if options.seconds and spent > options.seconds:
                for one in pending:
                    one.cancel()
    print(file=sys.stderr)
    told = ", ".join(f"{count} with {status}" for status, count in sorted(statuses.items()))
    print(f"{statuses.total()} inputs from {len(files)} files, seed {options.seed}: {told}; {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
