"""The real frameworks as referees of our tables: what their own programs resolve, against what our reading says.

    python tools/referee.py            # compare, print the table, write tests/referee.json
    python tools/referee.py torchtune  # one framework

Each config is read by us and run by its framework on a tiny model with made rows (ftmigrate.verify.trial, level plan).
Every setting that the framework's own objects show is compared. Configs: fixtures/, the torchtune wheel's and the
corpus's where they are at hand, what we convert from them, and one-key changes of a base config, which must move both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from ftmigrate.conversion import convert  # noqa: E402
from ftmigrate.document.model import Document, DocumentError  # noqa: E402
from ftmigrate.frameworks import registry  # noqa: E402
from ftmigrate.frameworks.reader import Context  # noqa: E402
from ftmigrate.frameworks.reader import read as read_document  # noqa: E402
from ftmigrate.frameworks.table import Table, dotted  # noqa: E402
from ftmigrate.run.display import to_text  # noqa: E402
from ftmigrate.run.model import NOT_APPLICABLE, Run  # noqa: E402
from ftmigrate.verify import environments, rows, trial  # noqa: E402
from ftmigrate.verify.plan_level import referee  # noqa: E402
from ftmigrate.verify.probe import Probe, ProbeError  # noqa: E402
from tests.conftest import CORPUS, FIXTURES, WHEEL  # noqa: E402

OUT = ROOT / "tests" / "referee.json"
THEIRS = "framework's"
LEAST = 10
MUTATIONS = FIXTURES / "referee"
# keys without a setting that bend the learning rate (the ledger tells them by themselves): rates cannot be compared then
BENDING = ("lr_quadratic_warmup", "cosine_constant_lr_ratio", "jagged_restart_steps", "lr_groups", "embedding_lr")


class Config(NamedTuple):
    """A config with the name it is told by; `changed` are the keys in which a one-key change differs from the base."""

    name: str
    document: Document
    recipe: str | None
    changed: tuple[str, ...] | None = None


def torchtune() -> Iterator[Config]:
    framework = registry.get("torchtune")
    base = FIXTURES / "torchtune" / "parity" / "base.yaml"
    for change in yaml.safe_load((MUTATIONS / "torchtune.yaml").read_text(encoding="utf-8")):
        overrides = tuple(change["set"])
        document = framework.parse(base.read_bytes(), str(base), overrides)
        changed = tuple(one.removeprefix("~").split("=")[0] for one in overrides)
        yield Config(f"base with {' '.join(overrides)}", document,
                     change.get("recipe", "lora_finetune_single_device"), changed)  # fmt: skip
    places = [(FIXTURES / "torchtune", FIXTURES)]
    if WHEEL is not None:
        places.append((WHEEL, WHEEL))
    for place, head in places:
        for path in sorted(place.rglob("*.yaml")):
            if path.name != "cases.yaml":
                yield Config(str(path.relative_to(head)), framework.parse(path.read_bytes(), str(path), ()), None)


def axolotl() -> Iterator[Config]:
    framework, source = registry.get("axolotl"), registry.get("torchtune")
    base = FIXTURES / "torchtune" / "parity" / "base.yaml"
    context = Context("lora_finetune_single_device", 1, rows.COUNT)
    made = convert(
        source.parse(base.read_bytes(), str(base), ()), (source, "0.6.1"), (framework, "0.21.0"), context, "base"
    )
    (text,) = made.files.values()
    for change in yaml.safe_load((MUTATIONS / "axolotl.yaml").read_text(encoding="utf-8")):
        tree = yaml.safe_load(text)
        for key, value in change.items():
            tree.pop(key, None)
            if value is not None:
                tree[key] = value
        shown = ", ".join(f"{key}: {value}" for key, value in change.items())
        data = yaml.safe_dump(tree, sort_keys=False).encode()
        yield Config(f"base with {shown}", framework.parse(data, "base.yaml", ()), None, tuple(change))
    for config in torchtune():
        if config.changed is not None or not config.name.startswith("torchtune/"):
            continue
        run = read_document(source.table("0.6.1"), config.document, Context(config.recipe, 1, rows.COUNT))
        if run["method.name"] not in ("sft", "dpo"):
            continue
        done = convert(config.document, (source, "0.6.1"), (framework, "0.21.0"),
                       Context(config.recipe, 1, rows.COUNT), "made")  # fmt: skip
        if done.refused is None:
            (text,) = done.files.values()
            yield Config(f"converted {config.name}", framework.parse(text.encode(), "made.yaml", ()), None)
    newest = CORPUS / "axolotl-0.18" / "examples"
    for path in sorted(newest.rglob("*.y*ml")) if newest.is_dir() else []:
        try:
            yield Config(f"corpus {path.relative_to(newest)}", framework.parse(path.read_bytes(), str(path), ()), None)
        except DocumentError:
            continue


CONFIGS = {"torchtune": ("0.6.1", torchtune), "axolotl": ("0.21.0", axolotl)}


class Tally:
    """What was found for one framework."""

    def __init__(self) -> None:
        self.compared: Counter[str] = Counter()
        self.agreed: Counter[str] = Counter()
        self.values: dict[str, set[str]] = {}
        self.wrong: list[dict[str, str]] = []
        self.not_run: dict[str, str] = {}
        self.base: tuple[Run, dict[str, tuple[Any, Any, bool]]] | None = None
        self.moved: dict[str, dict[str, str]] = {}
        self.ran = 0

    def add(self, name: str, found: dict[str, tuple[Any, Any, bool]]) -> None:
        self.ran += 1
        for path, (ours, theirs, same) in found.items():
            self.compared[path] += 1
            self.agreed[path] += same
            self.values.setdefault(path, set()).add(to_text(ours))
            if not same:
                told = {"config": name, "setting": path, "ours": to_text(ours), THEIRS: to_text(theirs)}
                self.wrong.append(told)
                print(f"  {name}: {path}: ours {told['ours']}, the framework's {told[THEIRS]}",
                      flush=True)  # fmt: skip

    def move(self, config: Config, run: Run, found: dict[str, tuple[Any, Any, bool]]) -> None:
        """Which settings a change of keys moved in our reading and in the framework's plan alike."""
        if not config.changed:
            self.base = (run, found)
            return
        if self.base is None or not all(same for _, _, same in found.values()):
            return
        before, seen = self.base
        for path in found.keys() & seen.keys():
            if found[path][0] == seen[path][0]:
                continue
            leaves = {dotted(leaf) for one in (run, before) for leaf in one.settings[path].leaves}
            for key in config.changed:
                if any(leaf == key or leaf.startswith((f"{key}.", f"{key}[")) for leaf in leaves):
                    self.moved.setdefault(key, {}).setdefault(path, config.name)

    def json(self) -> dict[str, Any]:
        table = {
            path: {"compared": self.compared[path], "agreed": self.agreed[path], "values": len(self.values[path])}
            for path in sorted(self.compared)
        }
        reasons = Counter(self.not_run.values())
        return {"configs": self.ran, "settings": table, "disagreements": self.wrong,
                "moved": {key: dict(sorted(paths.items())) for key, paths in sorted(self.moved.items())},
                "could not run": dict(sorted(reasons.items(), key=lambda one: (-one[1], one[0])))}  # fmt: skip


def reading(table: Table, config: Config, count: int | None) -> Run:
    """Our reading of a config on one device; count: how many rows there are."""
    return read_document(table, config.document, Context(config.recipe, 1, count))


def judge(
    name: str, version: str, configs: Iterator[Config], limit: int | None, only: str, seconds: float | None
) -> Tally:
    """All configs of a framework through its probe."""
    framework, tally, started = registry.get(name), Tally(), time.monotonic()
    found = environments.find(name, version)
    if found is None:
        raise SystemExit(f"no environment with {name} {version}: ftmigrate env create {name}")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        probe: Probe | None = None
        for number, config in enumerate(configs):
            if only not in config.name:
                continue
            if (limit is not None and tally.ran >= limit) or (
                seconds is not None and time.monotonic() > started + seconds
            ):
                break
            try:
                run = reading(framework.table(version), config, None)
                if "no training" in str(run["method.name"]) or run.sources == 0:
                    continue
                if probe is None:
                    probe = stack.enter_context(Probe(found.python, name))
                count = rows.needed([run])
                data = rows.sources([run], count)
                run = reading(framework.table(version), config, sum(map(len, data)))
                side = trial.Side(config.document, run, probe)
                family = trial.family_of([side])
                place = trial.workplace(Path(folder) / f"{family}-{number}", family, data)
                seen = side.trial("plan", place, steps=1)
                if not run["sequence.packing"] and "rows" in seen:  # rows longer than the maximum may be dropped
                    run = reading(framework.table(version), config, seen["rows"])
                found_here = referee(run, seen)
                tree = config.document.tree
                # packed, the made rows last for less than max_steps, and a share is taken of those steps
                short = run["sequence.packing"] and tree.get("max_steps") and tree.get("warmup_steps") is None
                if short or any(tree.get(key) for key in BENDING):
                    found_here = {path: one for path, one in found_here.items() if not path.startswith("schedule.")}
                if any(run[path] not in (1, NOT_APPLICABLE) for path in ("parallel.tensor", "parallel.context")):
                    found_here.pop("batch.effective", None)  # one process stands for several that share a batch
                if any("fsdp_config" in leaf for leaf in run.settings["memory.activation_checkpointing"].leaves):
                    found_here.pop("memory.activation_checkpointing", None)  # one process is not sharded
                tally.add(config.name, found_here)
                if config.changed is not None:
                    tally.move(config, run, found_here)
            except (trial.TrialFailed, rows.NoRows, ProbeError) as error:
                tally.not_run[config.name] = reason(str(error))
                print(f"  {config.name}: could not run: {reason(str(error))}", flush=True)
                if isinstance(error, ProbeError):
                    probe = None
    return tally


def write_proofs(name: str, found: dict[str, Any]) -> None:
    """The module beside a framework's table that says which of its rows the referee has seen to hold."""
    moved = "".join(f"    {json.dumps(key)}: {tuple(paths)!r},\n" for key, paths in found["moved"].items())
    seen = sorted(
        path for path, one in found["settings"].items() if one["compared"] >= LEAST and one["agreed"] == one["compared"]
    )
    text = (
        '"""Made by tools/referee.py: what the framework itself was seen to do. Not edited by hand."""\n\n'
        "from __future__ import annotations\n\nfrom collections.abc import Mapping\n\n"
        "# key -> the settings that a change of it moved, in our reading and in the framework's own plan alike\n"
        f"MOVED: Mapping[str, tuple[str, ...]] = {{\n{moved}}}\n\n"
        f"# settings in which all of at least {LEAST} configs agreed\nSEEN: tuple[str, ...] = {tuple(seen)!r}\n"
    )
    place = ROOT / "ftmigrate" / "frameworks" / name / "proofs.py"
    place.write_text(text, encoding="utf-8")
    subprocess.run(["ruff", "format", "-q", str(place)], check=True)


def reason(text: str) -> str:
    """The first line of an error, shortened, without what only this machine has."""
    line = text.splitlines()[0]
    return " ".join(part if "/tmp" not in part and "/root" not in part else "…" for part in line.split(" "))[:160]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("framework", nargs="*", help=f"of {', '.join(CONFIGS)} (default: all)")
    parser.add_argument("--limit", type=int, help="so many configs only; nothing is written")
    parser.add_argument("--only", default="", help="configs whose name holds this text; nothing is written")
    parser.add_argument("--seconds", type=float, help="stop taking configs after so long")
    parser.add_argument("--proofs", action="store_true", help="only write proofs.py from what is in tests/referee.json")
    told = parser.parse_args()
    if told.proofs:
        for key, found_before in json.loads(OUT.read_text(encoding="utf-8")).items():
            write_proofs(key.split("@")[0], found_before)
        return 0
    for name in told.framework or CONFIGS:
        version, configs = CONFIGS[name]
        found = judge(name, version, configs(), told.limit, told.only, told.seconds)
        report = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
        report[f"{name}@{version}"] = found.json()
        print(f"{name} {version}: {found.ran} configs run, {len(found.not_run)} could not run")
        for path, one in found.json()["settings"].items():
            print(f"  {path:34} {one['compared']:4} compared {one['agreed']:4} agree  {one['values']} values")
        if told.limit is None and not told.only:
            OUT.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            write_proofs(name, report[f"{name}@{version}"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
