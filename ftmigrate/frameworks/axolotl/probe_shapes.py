"""The real model of a config on the meta device: shapes without weights. Loaded by probe.py, without ftmigrate.

Axolotl's own loader builds the model of the config.json in the folder and puts the adapter in; it only reads no weights.
"""

import os
from importlib import import_module
from typing import Any


def shapes(request: dict[str, Any], inside: Any, trial: Any) -> dict[str, Any]:
    return inside.apart(lambda: _shapes(request, inside, trial))  # type: ignore[no-any-return]


def _shapes(request: dict[str, Any], inside: Any, trial: Any) -> dict[str, Any]:
    torch = import_module("torch")
    os.chdir(request["folder"])
    one = trial.Trial({**request, "level": "plan"}, inside)
    one.load()
    loader: Any = import_module("axolotl.loaders.model").ModelLoader
    build = loader._build_model

    def without_weights(self: Any, kind: Any = None) -> Any:
        with torch.device("meta"):
            return self._load_model_from_config(kind)

    def stays(self: Any) -> bool:
        build(self)
        return True  # what has no weights is not moved to a device

    loader._load_model_from_pretrained, loader._build_model = without_weights, stays
    model, _, adapter, _ = import_module("axolotl.train").setup_model_and_tokenizer(one.cfg)
    if adapter is not None and not hasattr(model, "peft_config"):
        model = import_module("peft").get_peft_model(model, adapter)  # as the preference trainers do
    return inside.shapes((trial.canonical(name), value) for name, value in model.named_parameters())  # type: ignore[no-any-return]
