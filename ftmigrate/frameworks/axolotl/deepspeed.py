"""What a DeepSpeed config says of parallelism: the key holds it, or names a JSON file.

A file is read where it is at hand: its path stands for itself, or from the config's directory or one above it, as
`deepspeed_configs/` lies in the directory that Axolotl is started from. The ones that Axolotl hands out are known by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from ftmigrate.document.model import Unresolved
from ftmigrate.frameworks.reader import Reader
from ftmigrate.run.model import External
from ftmigrate.run.source import Decoded

SETTINGS = ("parallel.zero_stage", "parallel.cpu_offload")
_LIMIT = 100_000

# name -> (stage, what waits in CPU memory), of the directory deepspeed_configs in the source distribution of 0.6.0
SHIPPED: Mapping[str, tuple[int, object]] = {
    "zero1.json": (1, False),
    "zero2.json": (2, "optimizer state"),
    "zero3.json": (3, False),
    "zero3_bf16.json": (3, False),
    "zero3_bf16_cpuoffload_params.json": (3, "weights"),
    "zero3_bf16_cpuoffload_all.json": (3, True),
}


def compute(reader: Reader) -> Mapping[str, Decoded]:
    said = reader.value("deepspeed")
    if isinstance(said, Unresolved):
        return {setting: Decoded(said, ("deepspeed",)) for setting in SETTINGS}
    stage: object
    name, told = str(said), said if isinstance(said, dict) else _file(str(said), reader)
    if told is not None:
        stage, offload = _parts(told)
        why = "" if isinstance(said, dict) else f"read in {name}"
    elif PurePath(name).name in SHIPPED:
        stage, offload = SHIPPED[PurePath(name).name]
        why = f"{name} as Axolotl hands it out: it is not at hand here"
    else:
        stage, offload, why = External(name), External(name), f"{name} is not at hand here"
    args = ("deepspeed",)
    return {"parallel.zero_stage": Decoded(stage, args, why), "parallel.cpu_offload": Decoded(offload, args, why)}


def _parts(told: Mapping[str, Any]) -> tuple[object, object]:
    zero = told.get("zero_optimization")
    zero = zero if isinstance(zero, dict) else {}
    weights, state = (_device(zero.get(name)) for name in ("offload_param", "offload_optimizer"))
    offload = weights and state and True
    return zero.get("stage", 0), offload or (weights and "weights") or (state and "optimizer state") or False


def _device(part: object) -> bool:
    return isinstance(part, dict) and part.get("device") not in (None, "none")


def _file(name: str, reader: Reader) -> Mapping[str, Any] | None:
    for path in _candidates(name, reader.document.name):
        try:
            if path.is_file() and path.stat().st_size <= _LIMIT:
                found = json.loads(path.read_text(encoding="utf-8"))
                return found if isinstance(found, dict) else None
        except (OSError, ValueError):
            return None
    return None


def _candidates(name: str, config: str) -> Iterator[Path]:
    if PurePath(name).is_absolute():
        yield Path(name)
    elif config and Path(config).is_file():
        for folder in Path(config).resolve().parents:
            yield folder / name
            if (folder / ".git").exists():
                return
