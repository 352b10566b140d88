"""What the probes share. Probes load it by its file path, in a framework's environment: standard library and torch only.

A framework's own program runs in a process of its own, watched: each optimizer step is noted, and it is stopped after
as many as are wanted.
"""

import importlib.util
import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

IGNORED = -100


class Stop(BaseException):
    """Ends the framework's training loop; nothing catches it but who started the loop."""


def apart(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """`work` in a forked process, so that whatever it leaves behind ends with it. Its failure is raised here."""
    if not hasattr(os, "fork"):
        return work()
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            try:
                told: dict[str, Any] = {"answer": work()}
            except BaseException as error:
                traceback.print_exc()
                told = {"type": type(error).__name__, "message": f"{str(error)[:2000]} ({where(error)})"}
            with os.fdopen(writing, "w", encoding="utf-8") as pipe:
                pipe.write(json.dumps(told, default=str))
            sys.stderr.flush()
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    if not text:
        raise RuntimeError("the framework's process ended without an answer")
    told = json.loads(text)
    if "answer" not in told:
        raise RuntimeError(f"{told['type']}: {told['message']}")
    answer: dict[str, Any] = told["answer"]
    return answer


def beside(file: str, name: str) -> Any:
    """The module `name` from the folder of `file`, which is not on the path."""
    if name not in _BESIDE:
        path = os.path.join(os.path.dirname(os.path.abspath(file)), f"{name}.py")
        spec = importlib.util.spec_from_file_location(f"ftmigrate_{name}", path)
        assert spec is not None
        assert spec.loader is not None
        _BESIDE[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(_BESIDE[name])
    return _BESIDE[name]


_BESIDE: dict[str, Any] = {}


def operate(operation: str, request: dict[str, Any], inside: Any, file: str) -> Any:
    """What the modules beside the probe `file` answer; inside: this module. Raises ValueError for no such operation."""
    if operation == "trial":
        return beside(file, "probe_trial").trial(request, inside)
    if operation == "family":
        return beside(file, "probe_trial").family(request)
    if operation == "shapes":
        return beside(file, "probe_shapes").shapes(request, inside, beside(file, "probe_trial"))
    if operation == "memory":
        return beside(file, "probe_memory").memory(request, inside, beside(__file__, "inside_memory"))
    if operation == "measure":
        measuring = beside(__file__, "measuring")
        return beside(file, "probe_measure").measure(request, inside, measuring, beside(file, "probe_trial"))
    if operation == "weights":
        return beside(__file__, "measuring").write_weights(request)
    known = "load, trial, memory, shapes, measure, weights, family, version, quit"
    raise ValueError(f"no operation {operation!r}: {known}")


def where(error: BaseException) -> str:
    """The last frame of an error's traceback: file and line, without the directories."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{os.path.basename(frames[-1].filename)}, line {frames[-1].lineno}" if frames else "no place known"


class Watch:
    """Notes what a training loop does at each optimizer step, and stops it in front of step `steps` + 1.

    loss: the mean over the step's trained tokens, added up from what is handed to the cross entropy, so that it does
    not depend on how a framework divides; in preference training (`pairs`) the mean over the step's pairs of what the
    framework's own loss gives (`note`); None where neither is computed. norm: of the gradient, after clipping, as the
    optimizer gets it.
    """

    def __init__(self, steps: int) -> None:
        self.torch = import_module("torch")
        self.wanted = steps
        self.steps: list[dict[str, Any]] = []
        self.groups: list[dict[str, Any]] = []
        self.optimizer = ""
        self.clipped: float | None = None
        self.autocast: str | None = None
        self.calls = self.backward = 0
        self._total, self._count = 0.0, 0
        self._stepped: set[int] = set()
        self.bits: int | None = None
        self.pairs = self.paged = False

    def note(self, loss: Any, count: int) -> None:
        """The framework's own loss of one forward pass, the mean over `count` pairs."""
        self._total += float(loss.detach().double()) * count
        self._count += count

    def install(self) -> None:
        torch = self.torch
        import_module("torch._dynamo").config.disable = True  # compiling takes longer than a trial
        compute = torch.nn.functional.cross_entropy
        clip = torch.nn.utils.clip_grad_norm_

        def cross_entropy(logits: Any, labels: Any, *more: Any, **options: Any) -> Any:
            if logits.dim() == 2 and labels.dim() == 1 and not self.pairs:
                trained = labels != IGNORED
                with torch.no_grad():
                    self._total += float(compute(logits[trained].float(), labels[trained], reduction="sum").double())
                self._count += int(trained.sum())
            self.calls += 1
            return compute(logits, labels, *more, **options)

        multiply = torch.nn.functional.linear

        def linear(*given: Any, **named: Any) -> Any:
            self.autocast = self.autocast or "none"
            for device in ("cpu", "cuda"):
                if torch.is_autocast_enabled(device):
                    self.autocast = dtype_name(torch.get_autocast_dtype(device))
            return multiply(*given, **named)

        def clip_grad_norm_(parameters: Any, max_norm: float, *more: Any, **options: Any) -> Any:
            self.clipped = float(max_norm)
            return clip(parameters, max_norm, *more, **options)

        torch.nn.functional.cross_entropy = cross_entropy
        torch.nn.functional.linear = linear
        torch.nn.utils.clip_grad_norm_ = clip_grad_norm_
        import_module("torch.optim.optimizer").register_optimizer_step_pre_hook(self._before_step)

    def _before_step(self, optimizer: Any, *_: Any) -> None:
        """A step begins with the first optimizer that has stepped in it already (one for each weight, or one for all)."""
        if not self._stepped or id(optimizer) in self._stepped:
            if len(self.steps) >= self.wanted:
                raise Stop
            self._stepped = set()
            loss = self._total / self._count if self._count else None
            rate = float(optimizer.param_groups[0]["lr"])
            self.steps.append({"loss": loss, "norm": 0.0, "rate": rate, "tokens": self._count, "pairs": self.pairs})
            self._total, self._count = 0.0, 0
        self._stepped.add(id(optimizer))
        if len(self.steps) == 1:
            self.optimizer = f"{type(optimizer).__module__}.{type(optimizer).__qualname__}"
            self.bits = getattr(getattr(optimizer, "args", None), "optim_bits", None)
            self.paged = bool(getattr(optimizer, "is_paged", False))
            self.groups += [
                {key: value for key, value in group.items() if key != "params"}
                | {"ids": [id(one) for one in group["params"]]}
                for group in optimizer.param_groups
            ]
        grads = [one.grad for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
        squares = sum(float(grad.detach().double().norm()) ** 2 for grad in grads)
        self.steps[-1]["norm"] = math.sqrt(self.steps[-1]["norm"] ** 2 + squares)


def dtype_name(dtype: Any) -> str:
    short = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "float64": "fp64"}
    name = str(dtype).removeprefix("torch.")
    return short.get(name, name)


def rates(scheduler: Any, total: int, first: float) -> list[float]:
    """The learning rate of each step, from the framework's own scheduler as it stands before the first step."""
    torch = import_module("torch")
    inner = getattr(scheduler, "scheduler", scheduler)
    if inner is None:
        return [first] * total
    if isinstance(inner, torch.optim.lr_scheduler.LambdaLR):
        return [inner.base_lrs[0] * inner.lr_lambdas[0](step) for step in range(total)]
    found = []
    for _ in range(total):
        found.append(float(inner.optimizer.param_groups[0]["lr"]))
        inner.step()
    return found


def order_of(indices: list[int], seeds: Iterable[int], epoch: int, count: int | None = None) -> str:
    """What decided this order of rows, in the vocabulary's words; `unknown` where it is none of the tried.

    count: how many rows there are, of which these are the first.
    """
    torch = import_module("torch")
    if indices == sorted(indices):
        return "as stored"
    for seed in seeds:
        generator = torch.Generator()
        generator.manual_seed(seed + epoch)
        if torch.randperm(count or len(indices), generator=generator).tolist()[: len(indices)] == indices:
            return f"permutation of seed {seed}, anew each epoch"
    return "unknown"


def decay_scope(parameters: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Which trained weights are decayed, in the vocabulary's words; None where the trained ones cannot show it."""
    decayed = {name for name, one in parameters.items() if one["decay"]}
    small = {name for name, one in parameters.items() if len(one["shape"]) == 1 or name.endswith("bias")}
    if not decayed:
        return None
    if len(decayed) == len(parameters):
        return "all" if small or any("lora_" in name for name in parameters) else None
    return "no norms and biases" if decayed == set(parameters) - small else "another choice"


def parameters(named: Mapping[str, Any], groups: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The trainable parameters by name: shape, dtype, weight decay as the optimizer's groups say."""
    decay = {number: group.get("weight_decay", 0) for group in groups for number in group["ids"]}
    return {
        name: {"shape": list(one.shape), "dtype": dtype_name(one.dtype), "decay": decay.get(id(one), 0)}
        for name, one in named.items()
        if one.requires_grad
    }


def shapes(named: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The trainable parameters by name with their shapes; how many numbers are trained, and how many the base has."""
    found, trained, base = {}, 0, 0
    for name, one in named:
        if one.requires_grad:
            found[name] = {"shape": list(one.shape)}
            trained += one.numel()
        if "lora_" not in name and not name.endswith("magnitude"):
            base += one.numel()
    return {"parameters": found, "trained": trained, "base": base}


def keep_adapter(named: Iterable[tuple[str, Any]], place: str) -> None:
    """Write the starting adapter under names that both sides know."""
    save = import_module("safetensors.torch").save_file
    save({name: one.detach().float().contiguous() for name, one in named if ".lora_A" in name}, place)


def optimizer_settings(watch: Watch) -> dict[str, Any]:
    """The settings that the first group of the live optimizer shows."""
    if not watch.groups:
        return {}
    names = {
        "AdamW": "adamw", "Adam": "adam", "SGD": "sgd", "Adagrad": "adagrad", "RMSprop": "rmsprop",
        "Adafactor": "adafactor", "AdamW8bit": "adamw_8bit", "PagedAdamW": "paged_adamw",
        "PagedAdamW8bit": "paged_adamw_8bit",
    }  # fmt: skip
    group = watch.groups[0]
    kind = watch.optimizer.rsplit(".", 1)[-1] + ("8bit" if watch.bits == 8 else "")
    if watch.paged and not kind.startswith("Paged"):
        kind = f"Paged{kind}"
    found: dict[str, Any] = {"optimizer.name": names.get(kind, kind)}
    if "betas" in group:
        found["optimizer.beta1"], found["optimizer.beta2"] = group["betas"][:2]
    if "eps" in group and isinstance(group["eps"], int | float):
        found["optimizer.epsilon"] = group["eps"]
    if "fused" in group:
        found["optimizer.fused"] = bool(group["fused"])
    found["optimizer.weight_decay"] = max(float(one.get("weight_decay") or 0) for one in watch.groups)
    return found


def finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else value


def trimmed(ids: list[int], labels: list[int]) -> dict[str, list[int]]:
    """A sample; `labels` say which ids are trained (in place, unshifted)."""
    return {"ids": [int(one) for one in ids], "labels": [int(one) for one in labels]}


Segment = dict[str, Any]


def segment(ids: list[int], labels: list[int], starts_at: int = 0) -> Segment:
    """A row as it lies in a batch; starts_at: the position that its first token is told to have."""
    return {**trimmed(ids, labels), "starts_at": int(starts_at)}


def pack(ids: list[int], labels: list[int], positions: list[int], begins: list[int]) -> list[Segment]:
    """The rows of one packed sequence, which begin where `begins` says."""
    ends = [*begins[1:], len(ids)]
    return [segment(ids[a:b], labels[a:b], positions[a]) for a, b in zip(begins, ends, strict=True)]
