"""Peak memory of training steps without weights and without a GPU. Probes load it by its file path, in a framework's
environment: standard library and torch only.

Every operation's results are looked at as they are made, and each storage is counted until it is freed. On fake tensors
(shapes only) that takes no memory, on real ones the figures are the same.
"""

import gc
import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

torch: Any = import_module("torch")
dispatch: Any = import_module("torch.utils._python_dispatch")
is_traceable_wrapper_subclass: Callable[[Any], bool] = dispatch.is_traceable_wrapper_subclass
tree_leaves: Callable[[Any], list[Any]] = import_module("torch.utils._pytree").tree_leaves

KINDS = ("weights", "gradients", "optimizer", "logits", "activations", "step", "paged")
"""weights: parameters and buffers. logits: what has the vocabulary as its last dimension, and gradients for it.
activations: all other results of forward and backward, with what operations need for a moment. step: the same while
the optimizer steps. paged: optimizer states that the host's memory may hold; no part of a peak."""
PHASES = ("forward", "backward", "optimizer")
STEPS = 2  # the optimizer's states are made in the first


class Tracker(dispatch.TorchDispatchMode):  # type: ignore[misc]
    """Counts the bytes of live storages by kind. `peaks`: for each phase the largest sum, split by kind."""

    def __init__(self, vocabulary: int | None = None) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.now = dict.fromkeys(KINDS, 0)
        self.peaks: dict[str, dict[str, int]] = {}
        self.phase = "forward"
        self.stepping = False
        self._live: dict[int, tuple[Any, int, str]] = {}  # by identity: weak reference, bytes, kind

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(one, torch.Tensor) and _wraps(one) for one in types):
            return NotImplemented  # its own operations on what it wraps are seen instead
        result = func(*args, **(kwargs or {}))
        for one in tree_leaves(result):
            if isinstance(one, torch.Tensor) and not is_traceable_wrapper_subclass(one):
                self._see(one)
        return result

    def _see(self, tensor: Any, kind: str | None = None) -> None:
        storage = tensor.untyped_storage()
        known = self._live.get(id(storage))
        if known is not None and known[0]() is storage:
            if kind is not None and known[2] != kind:
                self.now[known[2]] -= known[1]
                self.now[kind] += known[1]
                self._live[id(storage)] = (known[0], known[1], kind)
            return
        size = storage.nbytes()
        if not size:
            return
        chosen = kind or self._kind(tensor)
        number = id(storage)
        self._live[number] = (weakref.ref(storage, lambda gone: self._freed(number, gone)), size, chosen)
        self.now[chosen] += size
        self._note()

    def _note(self) -> None:
        if _total(self.now) > _total(self.peaks.get(self.phase, {})):
            self.peaks[self.phase] = dict(self.now)

    def enter(self, phase: str) -> None:
        self.phase = phase
        self._note()

    def _kind(self, tensor: Any) -> str:
        if self.stepping:
            return "step"
        if self.vocabulary and tensor.dim() > 1 and tensor.is_floating_point():
            if tensor.shape[-1] == self.vocabulary:
                return "logits"
            if tensor.shape[0] == self.vocabulary and self.phase == "backward":
                return "gradients"  # parts of a sum over chunks of logits
        return "activations"

    def _freed(self, number: int, reference: Any) -> None:
        known = self._live.get(number)
        if known is not None and known[0] is reference:
            del self._live[number]
            self.now[known[2]] -= known[1]

    def hold(self, tensors: Iterable[Any], kind: str) -> None:
        """Say what these tensors are; those not seen so far are counted from now on."""
        for tensor in tensors:
            for one in parts(tensor):
                self._see(one, kind)

    def restart(self) -> None:
        self.peaks = {}


def _total(split: Mapping[str, int]) -> int:
    return sum(size for kind, size in split.items() if kind != "paged")


def _wraps(kind: type) -> bool:
    return hasattr(kind, "__tensor_flatten__") and hasattr(kind, "__tensor_unflatten__")


def parts(tensor: Any) -> Iterator[Any]:
    """The plain tensors inside one that wraps others (quantised weights and states)."""
    if is_traceable_wrapper_subclass(tensor):
        for name in tensor.__tensor_flatten__()[0]:
            yield from parts(getattr(tensor, name))
    elif isinstance(tensor, torch.Tensor):
        yield tensor


@contextmanager
def fake() -> Iterator[Any]:
    """Tensors made inside have shapes and no values."""
    mode = import_module("torch._subclasses.fake_tensor").FakeTensorMode(allow_non_fake_inputs=True)
    import_module("torch._dynamo").config.disable = True  # what would be compiled runs as written
    module: Any = torch.nn.Module
    kept, module._apply = module._apply, _converted({})
    try:
        with mode:
            yield mode
    finally:
        module._apply = kept


def _converted(known: dict[int, tuple[Any, Any]]) -> Callable[..., Any]:
    """In place of what `module.to` calls: fake tensors cannot be changed in place. A shared weight stays shared."""

    def apply(module: Any, change: Callable[[Any], Any], recurse: bool = True) -> Any:
        for child in module.children() if recurse else ():
            apply(child, change)
        for name, old in module._parameters.items():
            if old is not None:
                with torch.no_grad():
                    new = change(old)
                if known.get(id(old), (None, new))[1].dtype != new.dtype or id(old) not in known:
                    known[id(old)] = (old, torch.nn.Parameter(new, old.requires_grad))
                module._parameters[name] = old if new is old else known[id(old)][1]
        for name, old in module._buffers.items():
            module._buffers[name] = None if old is None else change(old)
        return module

    return apply


def measure(
    model: Any, forward: Callable[[], Any], step: Callable[[], None], vocabulary: int | None = None
) -> dict[str, Any]:
    """What `forward` (gives the loss), its backward pass and `step` (optimizer, and gradients let go) need at most.

    `peaks` are those of the last of `STEPS` steps, when the optimizer's states exist.
    """
    tracker = Tracker(vocabulary)
    tracker.hold([*model.parameters(), *model.buffers()], "weights")
    optim = import_module("torch.optim.optimizer")

    def before(*_: Any) -> None:
        tracker.stepping = True

    def after(optimizer: Any, *_: Any) -> None:
        for state in optimizer.state.values():
            tracker.hold(tree_leaves(state), "paged" if state.get("paged") else "optimizer")
        tracker.stepping = False

    with ExitStack() as stack:
        for hook in (
            optim.register_optimizer_step_pre_hook(before),
            optim.register_optimizer_step_post_hook(after),
            *(
                one.register_post_accumulate_grad_hook(lambda own: tracker.hold([own.grad], "gradients"))
                for one in model.parameters()
                if one.requires_grad
            ),
        ):
            stack.callback(hook.remove)
        with tracker:
            for _ in range(STEPS):
                gc.collect()
                tracker.restart()
                tracker.enter("forward")
                loss = forward()
                tracker.enter("backward")
                loss.backward()
                del loss
                tracker.enter("optimizer")
                step()
    trained = [one for one in model.parameters() if one.requires_grad]
    return {
        "peaks": {phase: tracker.peaks[phase] for phase in PHASES},
        "parameters": sum(one.numel() for one in model.parameters()),
        "trained": sum(one.numel() for one in trained),
        "weights": tracker.now["weights"],
        "trained_bytes": sum(one.numel() * one.element_size() for one in trained),
        "states": tracker.now["optimizer"],
    }


def traces(
    apart: Callable[..., Any], layers: Iterable[int | None], trace: Callable[[int | None], Any]
) -> dict[str, Any]:
    """`trace` for each number of layers (None: all), each in a process of its own, for it changes what it imports."""
    gc.collect()
    gc.freeze()  # what is imported is not looked through each time garbage is collected
    try:
        return {"traces": [apart(lambda n=n: trace(n)) for n in layers]}
    finally:
        gc.unfreeze()


# --- what is not traced as it is -----------------------------------------------------------------------------------

# optimizers of packages with kernels of their own: bits of a state, whether the host's memory may hold it
SIZED = {
    "AdamW": (32, False), "Adam": (32, False), "PagedAdamW": (32, True), "PagedAdam": (32, True),
    "AdamW32bit": (32, False), "PagedAdamW32bit": (32, True),
    "AdamW8bit": (8, False), "Adam8bit": (8, False), "PagedAdamW8bit": (8, True), "PagedAdam8bit": (8, True),
}  # fmt: skip
STATES, BLOCK, SMALLEST, PAGED_FROM = 2, 256, 4096, 100_000


class Sized(torch.optim.Optimizer):  # type: ignore[misc]
    """States of the sizes that an optimizer with a kernel of its own has: 32 bit, or 8 bit with a scale a block.

    Small tensors stay at 32 bit, and only large ones are paged. The kernel needs nothing besides.
    """

    bits, paged = 32, False

    def __init__(self, params: Any, lr: float = 1e-3, **options: Any) -> None:
        super().__init__(params, {"lr": lr, **options})

    def step(self, closure: Any = None) -> None:
        for one in (one for group in self.param_groups for one in group["params"] if one.grad is not None):
            state = self.state[one]
            if state:
                continue
            count = one.numel()
            state["paged"] = self.paged and count >= PAGED_FROM
            small = self.bits == 8 and count >= SMALLEST
            for name in map(str, range(STATES)):
                state[name] = torch.empty(count, dtype=torch.uint8 if small else torch.float32)
                if small:
                    state[f"scale {name}"] = torch.empty(math.ceil(count / BLOCK), dtype=torch.float32)
        return


def sized(name: str) -> type[Sized]:
    return sized_as(*SIZED[name])


def sized_as(bits: int, paged: bool) -> type[Sized]:
    return type("Sized", (Sized,), {"bits": bits, "paged": paged})


def as_on_gpu(optimizer: Any) -> None:
    """Where nothing says otherwise, torch's optimizers step all weights together on a GPU and one by one elsewhere."""
    for group in optimizer.param_groups:
        if "foreach" in group and group["foreach"] is None and not group.get("fused"):
            group["foreach"] = True


def fused_loss(logits_kept: bool) -> Callable[[Any, Any], Any]:
    """Output layer and cross entropy in one kernel: hidden states and the layer's weight to a loss.

    Gradients are all that such kernels keep. logits_kept: some of the logits at a time, in 16 and in 32 bit, in as many
    chunks as the vocabulary is larger than the width.
    """

    class Fused(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, hidden: Any, weight: Any) -> Any:
            ctx.save_for_backward(hidden, weight)
            made = [torch.empty_like(one) if one.requires_grad else None for one in (hidden, weight)]
            ctx.made = made if logits_kept else None
            if logits_kept:
                count, size = hidden.numel() // hidden.shape[-1], math.ceil(weight.shape[0] / weight.shape[1])
                rows = 1 << (math.ceil(count / size) - 1).bit_length()
                logits = torch.empty(min(rows, count), weight.shape[0], dtype=hidden.dtype)
                logits.float()
            return torch.zeros((), dtype=torch.float32)

        @staticmethod
        def backward(ctx: Any, _: Any) -> Any:
            kept = zip(ctx.saved_tensors, ctx.needs_input_grad, strict=True)
            return tuple(ctx.made or [torch.empty_like(one) if wanted else None for one, wanted in kept])

    return lambda hidden, weight: Fused.apply(hidden, weight)


class CompiledCrossEntropy(torch.autograd.Function):  # type: ignore[misc]
    """A compiled cross entropy: logits are read as they are, and only their gradient is made."""

    @staticmethod
    def forward(ctx: Any, logits: Any, _: Any) -> Any:
        ctx.save_for_backward(logits, torch.empty(logits.shape[0], dtype=torch.float32))
        return torch.zeros((), dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, _: Any) -> Any:
        return torch.empty_like(ctx.saved_tensors[0]), None


def compiled_cross_entropy(logits: Any, labels: Any, *_: Any, **__: Any) -> Any:
    return CompiledCrossEntropy.apply(logits, labels)


def offloaded() -> Any:
    """What the backward pass needs waits elsewhere; each tensor takes memory again when it is needed."""

    def pack(tensor: Any) -> Any:
        kept = isinstance(tensor, torch.nn.Parameter) or is_traceable_wrapper_subclass(tensor) or tensor.is_leaf
        return tensor if kept else (tensor.shape, tensor.stride(), tensor.dtype)

    def unpack(kept: Any) -> Any:
        return torch.empty_strided(kept[0], kept[1], dtype=kept[2]) if isinstance(kept, tuple) else kept

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)
