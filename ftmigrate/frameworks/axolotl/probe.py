"""Answers what Axolotl makes of a config. Run by file path inside Axolotl's own environment, without ftmigrate.

One JSON object a line on standard input, one JSON line on standard output for each:

* `{"id": 1, "op": "load", "path": F | "text": T | "config": {...},
  "gpus": 1, "nodes": 1, "compute_capability": "sm_90", "beside": {NAME: TEXT}}`
  -> `{"id": 1, "ok": true, "resolved": {...}, "normalized": {...} | null, "notes": [...]}`
  or `{"id": 1, "ok": false, "error": {"stage", "type", "message"}}`
* `{"op": "trial", ...}`, `{"op": "family", ...}`: see probe_trial.py beside this file
* `{"op": "memory", ...}`: see probe_memory.py beside this file
* `{"op": "shapes", ...}`: see probe_shapes.py beside this file
* `{"op": "measure", ...}`: see probe_measure.py beside this file; only once a process. `{"op": "weights", ...}`
* `{"op": "version"}`, `{"op": "quit"}`

The steps are those of `axolotl.cli.config.load_cfg`: YAML, plugins, validation, and normalisation where the model's
config.json lies on this machine. Whatever the framework prints goes to standard error.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.getcwd()) != _HERE]

import contextlib  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from enum import Enum  # noqa: E402
from importlib import import_module  # noqa: E402
from importlib.metadata import version  # noqa: E402
from typing import Any  # noqa: E402

# Answers go to a private copy of standard output; everything else that is printed goes to standard error.
_ANSWERS = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
os.dup2(2, 1)
sys.stdout = sys.stderr

os.environ.update(
    AXOLOTL_DO_NOT_TRACK="1",
    DO_NOT_TRACK="1",
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    WANDB_MODE="offline",
)
if os.environ.get("FTMIGRATE_DEVICE") == "cuda":
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
else:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the GPUs are told, not found: the answer must not depend on the machine


class Refused(Exception):
    """The framework does not take the config; `stage` is the step that said so."""

    def __init__(self, stage: str, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.stage = stage
        self.cause = cause


class Axolotl:
    """The framework, imported once."""

    def __init__(self) -> None:
        started = time.monotonic()
        self.cli = import_module("axolotl.cli.config")
        self.config = import_module("axolotl.utils.config")
        self.yaml = import_module("yaml")
        self.plugins = import_module("axolotl.integrations.base").PluginManager
        self.mapping = import_module("axolotl.utils.dict").DictDefault
        self.torch_version = str(import_module("torch").__version__)
        self.import_seconds = round(time.monotonic() - started, 2)

    def version(self) -> dict[str, Any]:
        return {
            "framework": "axolotl",
            "version": version("axolotl"),
            "torch": self.torch_version,
            "python": ".".join(map(str, sys.version_info[:3])),
            "import_seconds": self.import_seconds,
        }

    def load(self, request: dict[str, Any]) -> dict[str, Any]:
        """One config through the framework's own loader. What it leaves behind in the process is undone."""
        environment = dict(os.environ)
        try:
            with modules(request.get("beside", {})):
                return self._load(request)
        finally:
            os.environ.clear()
            os.environ.update(environment)
            # The manager remembers every plugin it met, and would take its keys in later configs that do not name it.
            self.plugins.get_instance().plugins.clear()
            self.plugins._instance = None

    def _load(self, request: dict[str, Any]) -> dict[str, Any]:
        cfg = self._parse(request)
        try:
            self.cli.prepare_plugins(cfg)
        except Exception as error:
            raise Refused("plugins", error) from error
        try:
            validated = self.config.validate_config(
                cfg,
                capabilities=capabilities(request),
                env_capabilities={"torch_version": self.torch_version.split("+", maxsplit=1)[0]},
            )
        except Exception as error:
            self.plugins.get_instance().on_config_validation_error(cfg)
            raise Refused("validate", error) from error
        resolved = plain(validated)
        for told in ("capabilities", "env_capabilities"):
            resolved.pop(told, None)
        normalized, notes = self._normalize(validated)
        return {"resolved": resolved, "normalized": normalized, "notes": notes}

    def _parse(self, request: dict[str, Any]) -> Any:
        try:
            if "config" in request:
                data = request["config"]
            elif "text" in request:
                data = self.yaml.safe_load(request["text"])
            else:
                with open(request["path"], encoding="utf-8") as file:
                    data = self.yaml.safe_load(file)
            if data is not None and not isinstance(data, dict):
                raise TypeError(f"a config is a mapping, this is a {type(data).__name__}")
            cfg = self.mapping(data)
        except Exception as error:
            raise Refused("parse", error) from error
        if "path" in request:
            cfg.axolotl_config_path = request["path"]
        return cfg

    def _normalize(self, cfg: Any) -> tuple[dict[str, Any] | None, list[str]]:
        """The derived settings; only a model that lies here can be asked for its config without a network."""
        model = cfg.base_model_config or cfg.base_model
        if not os.path.isfile(os.path.join(str(model), "config.json")):
            return None, [f"not normalized: no config.json of {model} on this machine"]
        try:
            self.config.normalize_config(cfg)
            self.config.normalize_cfg_datasets(cfg)
        except Exception as error:
            raise Refused("normalize", error) from error
        return plain(cfg), []


@contextlib.contextmanager
def modules(files: dict[str, str]) -> Iterator[None]:
    """Files that can be imported for a while, as those beside a config can."""
    with tempfile.TemporaryDirectory(prefix="ftmigrate-") as folder:
        for name, text in files.items():
            with open(os.path.join(folder, os.path.basename(name)), "w", encoding="utf-8") as file:
                file.write(text)
        before = set(sys.modules)
        sys.path.insert(0, folder)
        try:
            yield
        finally:
            sys.path.remove(folder)
            own = [name for name in set(sys.modules) - before if name.split(".")[0] + ".py" in files]
            for name in own:
                del sys.modules[name]


def capabilities(request: dict[str, Any]) -> dict[str, Any]:
    """What `axolotl.cli.config.gpu_capabilities` would find on the GPUs that the request names."""
    gpus = int(request.get("gpus", 1))
    name = request.get("compute_capability", "sm_90") if gpus else None
    number = int(name.split("_", 1)[1]) if name else 0
    return {
        "bf16": number >= 80,
        "tf32": number >= 80,
        "fp8": number >= 90,
        "n_gpu": max(gpus, 1),
        "n_node": int(request.get("nodes", 1)),
        "compute_capability": name,
    }


def plain(value: Any) -> Any:
    """`value` in JSON's types: enums by value (by name, where that is no JSON), models by their set fields, the rest as text."""
    if isinstance(value, Enum):
        return value.value if isinstance(value.value, str | int | float) else value.name
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=str)
    dump = getattr(value, "model_dump", None)
    return plain(dump(exclude_none=True)) if dump else str(value)


def beside(name: str) -> Any:
    """A file beside this one as a module; its folder is not on the path, for its names are those of other packages."""
    if name not in _BESIDE:
        path = os.path.normpath(os.path.join(_HERE, f"{name}.py"))
        spec = importlib.util.spec_from_file_location(f"ftmigrate_{os.path.basename(name)}", path)
        if spec is None or spec.loader is None:
            raise ValueError(f"{path} is missing")
        _BESIDE[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(_BESIDE[name])
    return _BESIDE[name]


_BESIDE: dict[str, Any] = {}


def fault(error: BaseException) -> dict[str, Any]:
    stage = "probe"
    if isinstance(error, Refused):
        stage, error = error.stage, error.cause
    return {"ok": False, "error": {"stage": stage, "type": type(error).__name__, "message": str(error)}}


def send(answer: dict[str, Any]) -> None:
    _ANSWERS.write(json.dumps(answer) + "\n")
    _ANSWERS.flush()


def main() -> int:
    try:
        framework = Axolotl()
    except Exception as error:
        traceback.print_exc()
        send({"id": None, **fault(error)})
        return 1
    for line in sys.stdin:
        if not line.strip():
            continue
        number = None
        try:
            request = json.loads(line)
            number, operation = request.get("id"), request["op"]
            if operation == "quit":
                send({"id": number, "ok": True})
                break
            if operation == "version":
                answer = framework.version()
            elif operation == "load":
                answer = framework.load(request)
            else:
                inside = beside("../../verify/inside")
                answer = inside.operate(operation, request, inside, __file__)
            send({"id": number, "ok": True, **answer})
        except (Exception, SystemExit) as error:
            send({"id": number, **fault(error)})
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # threads of the framework must not hold up, or speak after, the end
