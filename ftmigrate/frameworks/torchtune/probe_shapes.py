"""The real model of a config on the meta device: shapes without weights. Loaded by probe.py, without ftmigrate.

torchtune's own builder is called with the config's own arguments, and its own functions choose what is trained.
"""

import inspect
from importlib import import_module
from typing import Any


def shapes(request: dict[str, Any], inside: Any, trial: Any) -> dict[str, Any]:
    return inside.apart(lambda: _shapes(request, inside, trial))  # type: ignore[no-any-return]


def _shapes(request: dict[str, Any], inside: Any, trial: Any) -> dict[str, Any]:
    torch = import_module("torch")
    _store_as_it_is()
    section = import_module("omegaconf").OmegaConf.create(request["config"]["model"])
    with torch.device("meta"):
        model = import_module("torchtune.config").instantiate(section)
    if "get_adapter_params" in inspect.getsource(trial._recipe(request["recipe"])):
        peft = import_module("torchtune.modules.peft")
        peft.set_trainable_params(model, peft.get_adapter_params(model))
    gemma2 = trial.family(request)["family"] == "gemma2"
    return inside.shapes((trial.canonical(name, gemma2), one) for name, one in model.named_parameters())  # type: ignore[no-any-return]


def _store_as_it_is() -> None:
    """Storing a frozen weight in 4 bits changes neither its name nor what is trained, and needs its numbers."""
    for name in (
        "torchtune.modules.peft.lora",
        "torchtune.modules.peft.dora",
        "torchtune.modules.low_precision.nf4_linear",
    ):
        module: Any = import_module(name)
        if hasattr(module, "to_nf4"):
            module.to_nf4 = lambda tensor, *_, **__: tensor
