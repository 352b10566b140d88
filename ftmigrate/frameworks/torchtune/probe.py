"""Answers what torchtune makes of a config. Run by file path inside torchtune's own environment, without ftmigrate.

One JSON object a line on standard input, one JSON line on standard output for each:

* `{"id": 1, "op": "load", "path": F | "text": T | "config": {...}}`
  -> `{"id": 1, "ok": true, "resolved": {...}, "missing": {component path: [arguments]}, "notes": []}`
  or `{"id": 1, "ok": false, "error": {"stage", "type", "message"}}`
  With `"rows": [[{...}], ...]` (rows for each dataset) its parts are made too: see probe_parts.py beside this file.
* `{"op": "trial", ...}`, `{"op": "family", ...}`: see probe_trial.py beside this file
* `{"op": "memory", ...}`: see probe_memory.py beside this file
* `{"op": "shapes", ...}`: see probe_shapes.py beside this file
* `{"op": "measure", ...}`: see probe_measure.py beside this file; only once a process. `{"op": "weights", ...}`
* `{"op": "version"}`, `{"op": "quit"}`

The steps: OmegaConf's loader, `torchtune.config.validate` (what `tune validate` runs), then each component at any
depth, imported as torchtune imports it and bound to the arguments that the file gives it. `missing` names required
arguments that the file does not give: the recipe may supply them, so they are no refusal.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.getcwd()) != _HERE]
sys.path.append(os.getcwd())  # torchtune finds a user's own components from the working directory

import importlib.util  # noqa: E402
import inspect  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from importlib import import_module  # noqa: E402
from importlib.metadata import version  # noqa: E402
from typing import Any  # noqa: E402

# Answers go to a private copy of standard output; everything else that is printed goes to standard error.
_ANSWERS = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
os.dup2(2, 1)
sys.stdout = sys.stderr

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", DO_NOT_TRACK="1", WANDB_MODE="offline")
if os.environ.get("FTMIGRATE_DEVICE") == "cuda":
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
else:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


class Refused(Exception):
    """The framework does not take the config; `stage` is the step that said so."""

    def __init__(self, stage: str, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.stage = stage
        self.cause = cause


class Torchtune:
    """The framework, imported once."""

    def __init__(self) -> None:
        started = time.monotonic()
        for part in ("models", "training", "datasets", "modules.loss"):  # what every config names
            import_module(f"torchtune.{part}")
        self.validate = import_module("torchtune.config").validate
        self.component = import_module("torchtune.config._utils")._get_component_from_path
        omegaconf = import_module("omegaconf")
        self.omegaconf, self.mapping = omegaconf.OmegaConf, omegaconf.DictConfig
        self.torch_version = str(import_module("torch").__version__)
        self.import_seconds = round(time.monotonic() - started, 2)

    def version(self) -> dict[str, Any]:
        return {
            "framework": "torchtune",
            "version": version("torchtune"),
            "torch": self.torch_version,
            "python": ".".join(map(str, sys.version_info[:3])),
            "import_seconds": self.import_seconds,
        }

    def load(self, request: dict[str, Any]) -> dict[str, Any]:
        cfg = self._parse(request)
        try:
            self.validate(cfg)
        except TypeError as error:
            self._components(self.omegaconf.to_container(cfg))  # says the same with the component's path
            raise Refused("validate", error) from error
        except Exception as error:
            raise Refused("validate", error) from error
        try:
            resolved = self.omegaconf.to_container(cfg, resolve=True, throw_on_missing=True)
        except Exception as error:
            raise Refused("resolve", error) from error
        missing, notes = self._components(resolved), []
        if "rows" in request:
            try:
                notes = beside("probe_parts").make(resolved, request["rows"], self.component)
            except Exception as error:
                raise Refused("parts", error) from error
        return {"resolved": resolved, "missing": missing, "notes": notes}

    def _components(self, tree: Any) -> dict[str, list[str]]:
        missing = {}
        for path, node in components(tree, ""):
            try:
                absent = self._bind(node)
            except Exception as error:
                raise Refused("components", type(error)(f"{path}: {error}")) from error
            if absent:
                missing[path] = absent
        return missing

    def _parse(self, request: dict[str, Any]) -> Any:
        try:
            if "config" in request:
                cfg = self.omegaconf.create(request["config"])
            elif "text" in request:
                cfg = self.omegaconf.load(io.StringIO(request["text"]))
            else:
                cfg = self.omegaconf.load(request["path"])
            if not isinstance(cfg, self.mapping):
                raise TypeError("a config is a mapping, this is a list")
        except Exception as error:
            raise Refused("parse", error) from error
        return cfg

    def _bind(self, node: dict[str, Any]) -> list[str]:
        """The required arguments that `node` does not give. Raises when the component does not take what it gives."""
        target = self.component(node["_component_"])
        if not callable(target):
            raise TypeError(f"{node['_component_']} is not callable")
        try:
            signature = inspect.signature(target)
        except ValueError:  # written in C, without a signature
            return []
        given = {key: value for key, value in node.items() if key != "_component_"}
        signature.bind_partial(**given)
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return [
            name
            for name, parameter in signature.parameters.items()
            if parameter.default is parameter.empty and parameter.kind not in variadic and name not in given
        ]


def components(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping with a `_component_` in the tree, with its path."""
    if isinstance(node, dict):
        if isinstance(node.get("_component_"), str):
            yield path, node
        for key, item in node.items():
            yield from components(item, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from components(item, f"{path}[{index}]")


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
    _ANSWERS.write(json.dumps(answer, default=str) + "\n")
    _ANSWERS.flush()


def main() -> int:
    try:
        framework = Torchtune()
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
