"""Peak memory of a torchtune config, traced on fake tensors. Loaded by the probe, without ftmigrate.

The model is built by the config's own builder, with its real sizes and fewer layers; optimizer, loss, activation
checkpointing and precision are those of the recipe. The recipe itself is not run: it needs weights and data.
"""

import inspect
import re
import sys
import types
from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from typing import Any

RECIPES = r"(full|lora)_finetune_(single_device|distributed)"
_OPTIMIZERS = {"bitsandbytes.optim": ("AdamW", "AdamW8bit", "PagedAdamW", "PagedAdamW8bit", "Adam8bit", "PagedAdam8bit"),
               "torchao.prototype.low_bit_optim": ("AdamW8bit", "Adam8bit")}  # fmt: skip


class Traced:
    """One config with a number of layers."""

    def __init__(self, request: dict[str, Any], shared: Any, layers: int | None) -> None:
        self.request, self.shared, self.layers = request, shared, layers
        self.config = import_module("torchtune.config")
        self.training: Any = import_module("torchtune.training")
        self.cfg = import_module("omegaconf").OmegaConf.create(request["config"])
        self.found: dict[str, int] = {}  # of the builder: layers, and the vocabulary
        self.adapted = request["recipe"].startswith("lora")

    def trace(self) -> dict[str, Any]:
        self._stand_ins()
        self._shorten()
        with self.shared.fake():
            model = self._model()
            step = self._step(model)
            result = self.shared.measure(model, self._forward(model), step, self.found["vocab_size"])
        count = self.found["num_layers"]
        return {"layers": self.layers or count, "all": count, "notes": self._notes(), **result}

    def _notes(self) -> list[str]:
        """What is traced as something else."""
        notes = []
        if self.request["packed"]:
            notes.append(
                "packed rows are traced without a mask, as with flex attention on a GPU (elsewhere a mask is made whole)"
            )
        if self.cfg.get("compile"):
            notes.append("layers are traced as they are not compiled, which keeps more")
        if self.cfg.get("enable_activation_offloading"):
            notes.append("offloaded activations come back one at a time")
        return notes

    def _model(self) -> Any:
        torch, training, modules = import_module("torch"), self.training, import_module("torchtune.modules")
        dtype = training.get_dtype(self.cfg.get("dtype", "fp32"), device=torch.device("cpu"))
        with training.set_default_dtype(dtype):
            model = self.config.instantiate(self.cfg.model)
        if self.adapted:
            peft = import_module("torchtune.modules.peft")
            peft.set_trainable_params(model, peft.get_adapter_params(model))
        if self.cfg.get("enable_activation_checkpointing"):
            training.set_activation_checkpointing(model, auto_wrap_policy={modules.TransformerSelfAttentionLayer})
        model.train()
        return model

    def _forward(self, model: Any) -> Callable[[], Any]:
        torch = import_module("torch")
        loss = self.config.instantiate(self.cfg.loss)
        if type(loss).__name__ == "CEWithChunkedOutputLoss":
            model.set_num_output_chunks(loss.num_output_chunks)
            if self.cfg.get("compile"):
                loss.compute_cross_entropy = self.shared.compiled_cross_entropy
        shape = (self.request["rows"], self.request["length"])
        tokens, labels, ignored = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
        batch = {"tokens": tokens, "input_pos": labels} if self.request["packed"] else {"tokens": tokens}
        offload = self.shared.offloaded if self.cfg.get("enable_activation_offloading") else nullcontext

        def forward() -> Any:
            with offload():
                logits = model(**batch)
            wanted = torch.hstack((labels[..., 1:], ignored[:, :1]))
            if not isinstance(logits, list):
                wanted, logits = wanted.reshape(-1), logits.reshape(-1, logits.size(-1))
            return loss(logits, wanted) * (wanted != loss.ignore_index).sum()

        return forward

    def _step(self, model: Any) -> Callable[[], None]:
        torch, cfg, shared = import_module("torch"), self.cfg, self.shared
        if cfg.get("optimizer_in_bwd"):
            each = {one: self.config.instantiate(cfg.optimizer, [one]) for one in model.parameters()}
            for one in each.values():
                shared.as_on_gpu(one)
            self.training.register_optim_in_bwd_hooks(model=model, optim_dict=each)
            return lambda: None
        optimizer = self.config.instantiate(cfg.optimizer, model.parameters())
        shared.as_on_gpu(optimizer)
        limit = cfg.get("clip_grad_norm")

        def step() -> None:
            self.training.scale_grads(model, torch.ones(()))
            if limit is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=float(limit), foreach=True)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return step

    def _shorten(self) -> None:
        """The config's builder makes as many layers as wanted; what it is told besides stays."""
        named = import_module("torchtune.config._utils")._get_component_from_path(self.cfg.model._component_)
        builder = getattr(named, "func", named)
        space = sys.modules[builder.__module__].__dict__
        if "num_layers" in inspect.signature(builder).parameters:
            setattr(sys.modules[builder.__module__], builder.__name__, self._shorter(builder))
            self.cfg.model._component_ = f"{builder.__module__}.{builder.__name__}"
            return
        for name, value in list(space.items()):
            if inspect.isfunction(value) and "num_layers" in inspect.signature(value).parameters:
                space[name] = self._shorter(value)

    def _shorter(self, builder: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(builder)

        def shorter(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind_partial(*args, **kwargs)
            bound.apply_defaults()
            for name in ("num_layers", "vocab_size"):
                self.found[name] = bound.arguments[name]
            if self.layers is not None:
                bound.arguments["num_layers"] = self.layers
            return builder(*bound.args, **bound.kwargs)

        shorter.__signature__ = signature  # type: ignore[attr-defined]
        return shorter

    def _stand_ins(self) -> None:
        """Optimizers by the size of their states; positions whose values, which do not matter, decide in Python."""
        for place, names in _OPTIMIZERS.items():
            parent, _, last = place.rpartition(".")
            module = types.ModuleType(place)
            for name in names:
                setattr(module, name, self.shared.sized(name))
            sys.modules[place] = module
            above = sys.modules.setdefault(parent, types.ModuleType(parent))
            setattr(above, last, module)
        positions: Any = import_module("torchtune.models.llama3_1._position_embeddings")
        positions.Llama3ScaledRoPE.apply_scaling = lambda _self, freqs, *_, **__: freqs
        frozen: Any = import_module("torchtune.modules.low_precision.nf4_linear")
        frozen.FrozenNF4Linear.__init__ = _frozen(frozen.to_nf4)


def _frozen(quantize: Callable[..., Any]) -> Callable[..., None]:
    """A frozen 4-bit layer, made without swapping tensors, which fake ones do not allow."""
    nn = import_module("torch").nn

    def made(self: Any, in_dim: int, out_dim: int, bias: bool = False, device: Any = None, dtype: Any = None,
             **options: Any) -> None:  # fmt: skip
        nn.Linear.__init__(self, in_dim, out_dim, bias=bias, device=device, dtype=dtype)
        weight = quantize(self.weight.detach(), **options)
        self.weight = nn.Parameter(weight, requires_grad=False)
        if self.bias is not None:
            self.bias.requires_grad_(False)

    return made


def memory(request: dict[str, Any], inside: Any, shared: Any) -> dict[str, Any]:
    """The traces for each number of layers (null: all)."""
    for name in ("config", "training", "modules.peft", "modules.loss", "models"):
        import_module(f"torchtune.{name}")
    recipe = str(request.get("recipe"))
    if not re.fullmatch(RECIPES, recipe):
        raise ValueError(f"memory of the recipe {recipe} is not traced: only of full and LoRA fine-tuning")
    found: dict[str, Any] = shared.traces(inside.apart, request["layers"], lambda n: Traced(request, shared, n).trace())
    return found
