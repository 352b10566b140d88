"""Give configs to the validators of an installed Axolotl, and tell which of them refused or warned.

    AXOLOTL_PYTHON tools/ask_axolotl_validators.py < CONFIGS > ANSWERS

Runs in Axolotl's own environment. CONFIGS is a JSON list of configs; ANSWERS one of
`{"refused": message or null, "by": [functions], "warned": [functions], "about": [keys]}`: the functions of Axolotl that
the error went through, the innermost first, those that logged a warning, and the fields of the error.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

PROBE = Path(__file__).resolve().parent.parent / "ftmigrate" / "frameworks" / "axolotl" / "probe.py"


class Warnings(logging.Handler):
    """Collects the functions that log a warning."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.functions: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        frame = sys._getframe()
        while frame.f_back is not None:
            frame = frame.f_back
            if "axolotl" in frame.f_code.co_filename:
                self.functions.append(frame.f_code.co_qualname)


def probe() -> Any:
    """The probe program as a module: it holds the steps of Axolotl's own loader."""
    spec = importlib.util.spec_from_file_location("probe", PROBE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def through(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        code = trace.tb_frame.f_code
        if "axolotl" in code.co_filename:
            yield code.co_qualname
        trace = trace.tb_next


def causes(error: BaseException) -> Iterator[BaseException]:
    """The exceptions that validators raised: pydantic keeps them with what it tells."""
    errors = getattr(error, "errors", None)
    if callable(errors):
        for one in errors():
            inner = one.get("ctx", {}).get("error")
            if isinstance(inner, BaseException):
                yield inner
    else:
        yield error


def main() -> int:
    configs = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    module = probe()
    framework = module.Axolotl()
    handler = Warnings()
    once = importlib.import_module("axolotl.utils.logging").MultiProcessAdapter.warning_once
    logging.getLogger("axolotl").addHandler(handler)
    # it would fetch and start servers before anything is checked
    importlib.import_module("axolotl.integrations.nemo_gym.plugin").NemoGymPlugin.register = lambda plugin, cfg: None
    found = []
    for config in configs:
        handler.functions.clear()
        once.cache_clear()
        answer: dict[str, Any] = {"refused": None, "by": [], "about": []}
        try:
            framework.load({"config": config})
        except module.Refused as refused:
            cause = refused.cause
            names = [name for one in causes(cause) for name in reversed(list(through(one.__traceback__)))]
            fields = [one["loc"] for one in cause.errors()] if callable(getattr(cause, "errors", None)) else []
            answer |= {"refused": f"{refused.stage}: {cause}", "by": names, "about": fields}
        answer["warned"] = list(dict.fromkeys(handler.functions))
        found.append(answer)
    json.dump(found, answers)
    answers.flush()
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # threads of the framework must not hold up the end
