"""Small cases for verify/inside_memory.py, run by a framework's interpreter: prints one JSON object of figures.

python memory_cases.py INSIDE_MEMORY            closed forms; fake against real tensors; torch's own profiler
python memory_cases.py INSIDE_MEMORY PROBE_MEMORY REQUEST    a config traced on fake and on real tensors
"""

import contextlib
import importlib.util
import json
import sys
from importlib import import_module
from typing import Any

torch: Any = import_module("torch")
nn = torch.nn
VOCABULARY, WIDTH, ROWS, LENGTH, BLOCKS = 512, 64, 2, 128, 4


def load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location(path.rsplit("/", 1)[-1].removesuffix(".py"), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Block(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.all = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, data: Any) -> Any:
        parts = self.all(self.norm(data)).view(*data.shape[:2], 4, 48).transpose(1, 2).chunk(3, -1)
        seen = nn.functional.scaled_dot_product_attention(*parts, is_causal=True)
        data = data + seen.transpose(1, 2).reshape(data.shape)
        return data + self.down(nn.functional.gelu(self.up(data)))


class Model(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self, checkpointed: bool) -> None:
        super().__init__()
        self.checkpointed = checkpointed
        self.table, self.head = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))

    def forward(self, ids: Any) -> Any:
        data = self.table(ids)
        if not self.table.weight.requires_grad:
            data.requires_grad_(True)
        for block in self.blocks:
            if self.checkpointed:
                data = torch.utils.checkpoint.checkpoint(block, data, use_reentrant=False)
            else:
                data = block(data)
        return self.head(data)


def parts(shared: Any, dtype: Any, checkpointed: bool, adapter: bool, optimizer: Any) -> tuple[Any, Any, Any]:
    torch.set_default_dtype(dtype)
    torch.manual_seed(1)
    model = Model(checkpointed)
    if adapter:  # only the small layers of one kind are trained
        for name, one in model.named_parameters():
            one.requires_grad_("all.weight" in name)
    chosen = optimizer(one for one in model.parameters() if one.requires_grad)
    ids = torch.zeros(ROWS, LENGTH, dtype=torch.long)

    def forward() -> Any:
        return nn.functional.cross_entropy(model(ids).float().view(-1, VOCABULARY), ids.view(-1))

    def step() -> None:
        chosen.step()
        chosen.zero_grad(set_to_none=True)

    return model, forward, step


def measured(shared: Any, fake: bool, **options: Any) -> Any:
    with shared.fake() if fake else contextlib.nullcontext():
        model, forward, step = parts(shared, **options)
        return shared.measure(model, forward, step, VOCABULARY)


def allocated(shared: Any, **options: Any) -> int:
    """The most that a step allocates beyond what is there before it, as torch's profiler sees it."""
    _, forward, step = parts(shared, **options)

    def one() -> None:
        forward().backward()
        step()

    one()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        one()
    now = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def cases(shared: Any) -> dict[str, Any]:
    adamw = torch.optim.AdamW
    full = {"dtype": torch.float32, "checkpointed": False, "adapter": False, "optimizer": adamw}
    tried = {
        "fp32": full,
        "fp32 together": full | {"optimizer": lambda some: adamw(some, foreach=True)},
        "bf16": full | {"dtype": torch.bfloat16},
        "adapter": full | {"adapter": True},
        "checkpointed": full | {"checkpointed": True},
        "8 bit": full | {"optimizer": shared.sized("AdamW8bit")},
        "paged": full | {"optimizer": shared.sized("PagedAdamW")},
        "sgd": full | {"optimizer": lambda some: torch.optim.SGD(some, lr=0.1)},
    }
    found: dict[str, Any] = {
        name: {"fake": measured(shared, True, **options), "real": measured(shared, False, **options)}
        for name, options in tried.items()
    }
    for name in ("fp32", "checkpointed", "adapter"):
        found[name]["allocated"] = allocated(shared, **tried[name])
    sizes = [one.numel() for one in Model(False).parameters()]
    return {"sizes": sizes, "cases": found}


def both(shared: Any, probe: Any, request: dict[str, Any]) -> dict[str, Any]:
    fake = probe.Traced(request, shared, None).trace()
    shared.fake = contextlib.nullcontext
    return {"fake": fake, "real": probe.Traced(request, shared, None).trace()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    inside_memory = load(sys.argv[1])
    answers = sys.stdout
    sys.stdout = sys.stderr
    told = (
        cases(inside_memory) if len(sys.argv) == 2 else both(inside_memory, load(sys.argv[2]), json.loads(sys.argv[3]))
    )
    print(json.dumps(told, default=str), file=answers)
