"""A torchtune run as configured, measured on a device. Loaded by probe.py, without ftmigrate.

As in a trial (probe_trial.py) model files, tokenizer and rows are replaced; precision, optimizer and compilation are
the config's own. On a CPU compilation is off, and optimizers that need a GPU are stood in for.
"""

import contextlib
import copy
import os
from importlib import import_module
from typing import Any


def measure(request: dict[str, Any], inside: Any, measuring: Any, trial: Any) -> dict[str, Any]:
    meter = measuring.Meter(request["steps"], request["device"], inside.Stop)
    one = trial.Trial({**request, "level": "train" if request["pinned"] else "plan"}, inside)
    return _run(one, request, meter, inside)


def _run(one: Any, request: dict[str, Any], meter: Any, inside: Any) -> dict[str, Any]:
    torch = import_module("torch")
    original = copy.deepcopy(request["config"])
    os.chdir(request["folder"])
    if request["device"] == "cpu":
        torch.set_num_threads(1)
        one._stand_ins()
        import_module("torch._dynamo").config.disable = True
    else:
        _join_groups_on_a_gpu()
    cfg = one._config()
    cfg.device, cfg.log_every_n_steps = request["device"], 1
    if "dtype" in original:
        cfg.dtype = original["dtype"]
    if request["device"] != "cpu":
        for key in ("compile", "enable_activation_offloading"):
            if key in original:
                cfg[key] = original[key]
    if request["sizes"]:
        one._shrink(cfg)
    recipe = one.set_up(cfg)
    write = recipe._metric_logger.log_dict

    def log_dict(payload: Any, step: int) -> None:
        meter.logged(payload)
        write(payload, step)

    recipe._metric_logger.log_dict = log_dict
    loader = one._loader()
    loader.collate_fn = meter.counting(loader.collate_fn)
    meter.begin()
    with contextlib.suppress(inside.Stop):
        recipe.train()
    return meter.answer(int(recipe._gradient_accumulation_steps), one._total())  # type: ignore[no-any-return]


def _join_groups_on_a_gpu() -> None:
    """Where a trial would join a group for the CPU, join one for both."""
    distributed: Any = import_module("torch").distributed
    join = distributed.init_process_group

    def joined(backend: str | None = None, **more: Any) -> Any:
        return join("cuda:nccl,cpu:gloo" if backend == "gloo" else backend, **more)

    distributed.init_process_group = joined
