"""Measures a training loop that runs as configured. Probes load it by its file path, in a framework's environment.

Nothing in the forward and backward passes is touched, so that compiled code and kernels stay as they are: losses are
those that the framework logs, times are taken at the optimizer's steps, tokens are counted where batches are made.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

PEAK = "VmHWM:"


class Meter:
    """Notes each optimizer step's time, and ends the loop in front of step `steps` + 1 by raising `stop`."""

    def __init__(self, steps: int, device: str, stop: type[BaseException]) -> None:
        self.torch = import_module("torch")
        self.wanted, self.device, self.stop = steps, device, stop
        self.losses: list[float] = []
        self.batches: list[int] = []
        self.seconds: list[float] = []
        self.steps = 0
        self._stepped: set[int] = set()
        self._left = 0.0

    def begin(self) -> None:
        """Right before the loop: the peak is that of training, with what the model takes."""
        import_module("torch.optim.optimizer").register_optimizer_step_pre_hook(self._before_step)
        if self.device == "cpu":
            with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
                file.write("5")
        else:
            self.torch.cuda.reset_peak_memory_stats()

    def _before_step(self, optimizer: Any, *_: Any) -> None:
        """From behind this hook to the next step's: an optimizer step, and forward and backward passes."""
        if self._stepped and id(optimizer) not in self._stepped:
            self._stepped.add(id(optimizer))
            return
        if self.device != "cpu":
            self.torch.cuda.synchronize()
        now = time.perf_counter()
        if self.steps:
            self.seconds.append(now - self._left)
        if self.steps >= self.wanted:
            raise self.stop
        self.steps += 1
        self._stepped = {id(optimizer)}
        self._left = time.perf_counter()

    def logged(self, values: dict[str, Any]) -> None:
        loss = values.get("loss")
        if loss is not None and len(self.losses) < self.wanted:
            self.losses.append(float(loss))

    def count(self, batch: Any) -> None:
        """A batch that is trained on: its tokens with padding."""
        self.batches.append(sum(one.numel() for one in _ids(batch)))

    def counting(self, collate: Callable[..., Any]) -> Callable[..., Any]:
        """`collate`, whose batches are counted."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            batch = collate(*args, **kwargs)
            self.count(batch)
            return batch

        return counted

    def answer(self, accumulation: int, total: int) -> dict[str, Any]:
        tokens = [sum(self.batches[at * accumulation : (at + 1) * accumulation]) for at in range(self.steps)]
        return {
            "losses": [one if math.isfinite(one) else None for one in self.losses],
            "seconds": self.seconds,
            "tokens": tokens,
            "memory": self._peak(),
            "device": self._name(),
            "total": total,
        }

    def _peak(self) -> int | None:
        """Bytes: what torch had allocated on the GPU; on a CPU, what the process had in memory."""
        if self.device != "cpu":
            return int(self.torch.cuda.max_memory_allocated())
        with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith(PEAK)), None)
        return None

    def _name(self) -> str:
        return "cpu" if self.device == "cpu" else str(self.torch.cuda.get_device_name())


def _ids(batch: Any) -> Iterable[Any]:
    """The ids of a batch, as the frameworks name them."""
    if isinstance(batch, Mapping):
        names = [name for name in batch if name == "tokens" or name.endswith("input_ids")]
        return [batch[name] for name in names if hasattr(batch[name], "numel")]
    return [batch[0]] if isinstance(batch, tuple) else []


def write_weights(request: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint of random numbers: `tensors` are names, shapes, centres and spreads."""
    torch = import_module("torch")
    dtype = getattr(torch, request["dtype"])
    device = request["device"]
    draw = torch.Generator(device=device).manual_seed(1)
    made = {}
    for name, shape, centre, spread in request["tensors"]:
        values = torch.empty(shape, dtype=dtype, device=device).normal_(centre, spread, generator=draw)
        made[name] = values.cpu()
    import_module("safetensors.torch").save_file(made, request["path"], metadata={"format": "pt"})
    return {"tensors": len(made)}
