"""A torchtune run on a tiny model, watched. Loaded by the probe in torchtune's environment, without ftmigrate.

The recipe's own class is set up and trained. What is replaced: the model's sizes, weights, tokenizer files and rows
(made for the trial), the device, and what only writes or logs. `LEVELS` says what each level answers.
"""

import contextlib
import importlib.util
import inspect
import os
import re
import sys
import types
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

LEVELS = ("plan", "tokens", "train")
_SIZES = {"layers": "num_layers", "heads": "num_heads", "kv_heads": "num_kv_heads", "width": "embed_dim",
          "inner": "intermediate_dim", "vocabulary": "vocab_size", "head_width": "head_dim", "tied": "tie_word_embeddings",
          "score_scale": "query_pre_attn_scalar"}  # fmt: skip
_MODULES = {"output_proj": "o_proj", "w1": "gate_proj", "w2": "down_proj", "w3": "up_proj", "output": "lm_head"}
_METHODS = (("DPO", "dpo"), ("QAT", "qat"), ("KD", "distillation"), ("PPO", "ppo"))
_LOADING = ("source", "data_files", "data_dir", "name", "revision", "streaming", "subset")
_ONLY_BUILDER = ("q_proj_bias", "k_proj_bias", "attn_bias")


class Trial:
    """One config in one folder, which holds the tiny model and the rows."""

    def __init__(self, request: dict[str, Any], inside: Any) -> None:
        self.request, self.inside = request, inside
        self.level = request["level"]
        self.omegaconf = import_module("omegaconf").OmegaConf
        self.instances = import_module("torchtune.config._utils")
        self.watch = inside.Watch(request.get("steps", 1))
        self.names = inside.beside(__file__, "probe_names")
        self.recipe: Any = None

    def run(self) -> dict[str, Any]:
        import_module("torch").set_num_threads(1)
        os.chdir(self.request["folder"])
        self._stand_ins()
        cfg = self._config()
        self._shrink(cfg)
        recipe = self.set_up(cfg)
        if self.level == "tokens":
            return self._tokens()
        total, order = self._total(), self._order() if self.level == "plan" else None
        self.loss = recipe._loss_fn
        self.watch.install()
        self._watch_pairs()
        with contextlib.suppress(self.inside.Stop):
            recipe.train()
        if self.level == "train":
            return {"steps": self.watch.steps, "total": total}
        return self._plan(cfg, total, order)

    def set_up(self, cfg: Any) -> Any:
        """The recipe, ready to train: nothing is saved, and adapters start as told."""
        self.recipe = recipe = self._recipe_class()(cfg=cfg)
        recipe.setup(cfg=cfg)
        recipe.save_checkpoint = lambda *_, **__: None  # on a CPU, merging changes the weights that are being trained
        if "start" in self.request:
            self._load(self.request["start"])
        if "keep" in self.request:
            self.inside.keep_adapter(self._named(), self.request["keep"])
        return recipe

    # --- the config -----------------------------------------------------------------------------------------------

    def _config(self) -> Any:
        """The user's config with what the trial replaces."""
        tree = self.request["config"]
        tree["device"], tree["compile"], tree["output_dir"] = "cpu", False, "out"
        tree["resume_from_checkpoint"] = False
        tree["log_peak_memory_stats"] = False  # some recipes log them where no key says so
        for key in ("profiler", "enable_activation_offloading", "fsdp_cpu_offload",
                    "enable_async_checkpointing", "dataset_val"):  # fmt: skip
            tree.pop(key, None)
        tree["log_level"] = "INFO"
        tree["metric_logger"] = {
            "_component_": "torchtune.training.metric_logging.DiskLogger", "log_dir": "out/logs",
        }  # fmt: skip
        for key in ("checkpointer", "ref_checkpointer"):
            if key in tree:
                kept = tree[key].get("model_type", "LLAMA3")
                tree[key] = {
                    "_component_": "torchtune.training.FullModelHFCheckpointer", "checkpoint_dir": "model",
                    "checkpoint_files": ["model.safetensors"], "model_type": kept, "output_dir": "out",
                }  # fmt: skip
        self._tokenizer(tree["tokenizer"])
        files = iter(self.request["rows"])
        sections = tree["dataset"] if isinstance(tree["dataset"], list) else [tree["dataset"]]
        for section in sections:
            for key in _LOADING:
                section.pop(key, None)
            section.update(source="json", data_files=os.path.abspath(next(files)))
        if self.level != "plan":
            if self.request.get("precision") != "own":
                tree["dtype"] = "fp32"
            self._without_dropout(tree["model"])
            if self.request.get("order") != "own":
                tree["shuffle"] = False
        return self.omegaconf.create(tree)

    def _tokenizer(self, section: dict[str, Any]) -> None:
        """The files made for the trial in place of the named ones; special tokens have the ids of its vocabulary."""
        accepted = inspect.signature(self.instances._get_component_from_path(section["_component_"])).parameters
        files = {
            "path": "vocab.json" if "merges_file" in accepted else "tokenizer.model",
            "vocab_path": "vocab.json",
            "merges_file": "merges.txt",
            "merges_path": "merges.txt",
            "special_tokens_path": "special_tokens.json",
            "tokenizer_json_path": "tokenizer.json",
            "tokenizer_config_json_path": "tokenizer_config.json",
            "generation_config_path": "generation_config.json",
        }
        for key, name in files.items():
            if key in accepted and os.path.exists(os.path.join("model", name)):
                section[key] = os.path.join("model", name)

    def _without_dropout(self, section: dict[str, Any]) -> None:
        accepted = inspect.signature(self.instances._get_component_from_path(section["_component_"])).parameters
        for key in ("lora_dropout", "attn_dropout"):
            if key in accepted:
                section[key] = 0.0

    def _shrink(self, cfg: Any) -> None:
        """The builder that the config names builds with the tiny model's sizes."""
        sizes = {_SIZES[key]: value for key, value in self.request["sizes"].items() if key in _SIZES}
        named = self.instances._get_component_from_path(cfg.model._component_)
        builder = getattr(named, "func", named)
        accepted = inspect.signature(named).parameters
        if "embed_dim" in accepted:
            for key, value in sizes.items():
                if key in accepted:
                    cfg.model[key] = value
            return
        space = builder.__globals__
        for name, value in list(space.items()):
            if inspect.isfunction(value) and "embed_dim" in inspect.signature(value).parameters:
                space[name] = _resized(value, sizes)

    def _stand_ins(self) -> None:
        """Optimizers of packages that are not here, or need a GPU, in torch's own: the steps differ, the settings do not."""
        torch = import_module("torch")
        module = types.ModuleType("bitsandbytes")
        optim = types.ModuleType("bitsandbytes.optim")
        for name in ("AdamW", "AdamW8bit", "PagedAdamW", "PagedAdamW8bit"):
            made = type(name, (torch.optim.AdamW,), {})
            setattr(optim, name, made)
        stored: Any = _nf4_tensor()
        stored.from_tensor = _small_blocks(stored.from_tensor)
        training: Any = import_module("torchtune.training")
        training.get_memory_stats = lambda *_, **__: {}  # no CPU has them
        training.log_memory_stats = lambda *_, **__: None
        cpu: Any = torch.cpu
        cpu.empty_cache = cpu.reset_peak_memory_stats = lambda: None
        module.optim = optim  # type: ignore[attr-defined]
        sys.modules.update({"bitsandbytes": module, "bitsandbytes.optim": optim})

    def _recipe_class(self) -> Any:
        name = self.request["recipe"]
        if "distributed" in name:
            os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1",
                              MASTER_PORT=str(20000 + os.getpid() % 20000))  # fmt: skip
        module = _recipe(name)
        found = [
            one for one in vars(module).values()
            if inspect.isclass(one) and one.__module__ == module.__name__ and hasattr(one, "setup") and hasattr(one, "train")
        ]  # fmt: skip
        if not found:
            raise ValueError(f"the recipe {name} does not train")
        if "distributed" in name and "init_process_group" not in inspect.getsource(found[0]):
            import_module("torch").distributed.init_process_group("gloo")  # what the recipe's main function does
        return found[0]

    # --- adapter weights ------------------------------------------------------------------------------------------

    def _named(self) -> Iterator[tuple[str, Any]]:
        gemma2 = family(self.request)["family"] == "gemma2"
        for name, one in self.recipe._model.named_parameters():
            yield canonical(name, gemma2), one

    def _load(self, place: str) -> None:
        """An adapter's start; through the model's own load_state_dict."""
        given = import_module("safetensors.torch").load_file(place)
        own = {canonical(name): name for name, _ in self.recipe._model.named_parameters()}
        wanted = {own[name]: value for name, value in given.items() if name in own}
        self.recipe._model.load_state_dict(wanted, strict=False)

    # --- what is seen ---------------------------------------------------------------------------------------------

    def _loader(self) -> Any:
        return self.recipe._dataloader

    def _total(self) -> int:
        return int(self.recipe.total_epochs * self.recipe._steps_per_epoch)

    def _order(self) -> str:
        sampler = getattr(self.recipe, "_sampler", None) or self._loader().sampler
        seeds = {0, 42, int(self.recipe.seed)}
        found = []
        for epoch in (0, 1):
            sampler.set_epoch(epoch)
            found.append(self.inside.order_of(list(sampler), seeds, epoch))
        sampler.set_epoch(0)
        return found[0] if found[0] == found[1] else "unknown"

    def _tokens(self) -> dict[str, Any]:
        tokens = self.inside.beside(__file__, "probe_tokens")
        samples, batches = self.request.get("samples", 16), self.request.get("batches", 8)
        found: dict[str, Any] = tokens.answer(
            self._loader(), samples, batches, self.recipe._tokenizer.pad_id, self.inside
        )
        return found

    def _watch_pairs(self) -> None:
        """In preference training: what the recipe's own loss gives for each batch of pairs."""
        if not hasattr(self.recipe, "concatenated_forward"):
            return
        compute, self.watch.pairs = self.recipe._loss_fn, True

        def noted(*args: Any, **kwargs: Any) -> Any:
            found = compute(*args, **kwargs)
            self.watch.note(found[0].mean(), found[0].numel())
            return found

        self.recipe._loss_fn = noted

    def _plan(self, cfg: Any, total: int, order: str | None) -> dict[str, Any]:
        recipe, watch, inside = self.recipe, self.watch, self.inside
        named = dict(self._named())
        groups = watch.groups
        found = inside.parameters(named, groups)
        if family(self.request)["family"] in ("phi3", "phi4"):
            found = self.names.fused(found)
        loader = self._loader()
        observed: dict[str, Any] = {
            **inside.optimizer_settings(watch),
            "optimizer.weight_decay_scope": inside.decay_scope(found),
            "optimizer.in_backward": bool(getattr(recipe, "_optimizer_in_bwd", False)),
            "batch.micro_size": loader.batch_size,
            "batch.accumulation": recipe._gradient_accumulation_steps,
            "batch.effective": loader.batch_size * recipe._gradient_accumulation_steps,
            "gradient.max_norm": inside.finite(watch.clipped),
            "duration.epochs": recipe.total_epochs,
            "duration.partial_batch": "dropped" if loader.drop_last else "kept",
            "data.order": order,
            "data.shuffle": None if order is None else order != "as stored",
            "sequence.packing": all(
                type(one).__name__ == "PackedDataset" for one in getattr(loader.dataset, "_datasets", [loader.dataset])
            ),
            "precision.autocast": watch.autocast,
            "memory.activation_checkpointing": any(
                "CheckpointWrapper" in type(one).__name__ for one in recipe._model.modules()
            ),
            "logging.every": getattr(recipe, "_log_every_n_steps", None),
            "method.name": next((name for word, name in _METHODS if word in type(recipe).__name__), "sft"),
            "memory.chunked_loss": any(word in type(self.loss).__name__ for word in ("Chunked", "LinearCross")),
            **self._adapter(),
            **self._objective(),
        }
        seed = self.request["config"].get("seed")
        observed["seed.value"] = "random" if seed is None else int(recipe.seed)
        dtypes = {one["dtype"] for one in found.values()}
        frozen = {inside.dtype_name(one.dtype) for one in named.values() if not one.requires_grad}
        observed["precision.weights"] = _one(frozen or dtypes)
        if observed["adapter.method"] != "none":
            observed["adapter.dtype"] = _one(dtypes)
        first = watch.groups[0]["initial_lr"] if watch.groups and "initial_lr" in watch.groups[0] else None
        peak = first if first is not None else watch.groups[0]["lr"] if watch.groups else None
        observed["optimizer.learning_rate"] = peak
        return {
            "observed": {key: value for key, value in observed.items() if value is not None or key in _MAY_BE_NONE},
            "parameters": found,
            "frozen": len(named) - len(found),
            "optimizer": watch.optimizer,
            "groups": [
                {k: v for k, v in group.items() if k != "ids"} | {"count": len(group["ids"])} for group in groups
            ],
            "rates": inside.rates(getattr(recipe, "_lr_scheduler", None), total, float(peak or 0.0)),
            "total": total,
            "rows": len(loader.dataset),
            "first": watch.steps[0] if watch.steps else None,
        }

    def _objective(self) -> dict[str, Any]:
        """What the loss of preference training says of itself."""
        names = (("beta", "method.beta"), ("gamma", "method.beta"), ("label_smoothing", "method.label_smoothing"))
        if not self.watch.pairs:
            return {}
        found: dict[str, Any] = {path: float(getattr(self.loss, own)) for own, path in names if hasattr(self.loss, own)}
        loss = {"DPOLoss": "sigmoid", "RSOLoss": "hinge"}.get(type(self.loss).__name__)
        return found | ({"method.loss": loss} if loss else {})

    def _module(self, name: str) -> str:
        """A linear layer's name as the vocabulary has it: with the layer that holds it, where a family fuses several."""
        own = canonical(name).rsplit(".", 1)[-1]
        fused = family(self.request)["family"] in ("phi3", "phi4")
        return str(self.names.FUSED.get(own, own)) if fused else own

    def _adapter(self) -> dict[str, Any]:
        kinds = [(name, one) for name, one in self.recipe._model.named_modules()
                 if hasattr(one, "lora_a")]  # fmt: skip
        if not kinds:
            return {"adapter.method": "none", "model.quantization": "none", "model.trainable": "all"}
        one = kinds[0][1]
        quantized = any(getattr(module, "_quantize_base", False) for _, module in kinds)
        return {
            "adapter.method": "lora",
            "adapter.rank": one.lora_a.weight.shape[0],
            "adapter.alpha": one.alpha if hasattr(one, "alpha") else round(one.scaling * one.lora_a.weight.shape[0], 6),
            "adapter.dropout": float(getattr(one.dropout, "p", 0.0)),
            "adapter.use_dora": "DoRA" in type(one).__name__,
            "adapter.use_rslora": False,
            "adapter.target_modules": sorted({self._module(name) for name, _ in kinds}),
            "model.quantization": "nf4" if quantized else "none",
        }


def _nf4_tensor() -> Any:
    """torchao's 4-bit storage; later releases keep it elsewhere."""
    try:
        return import_module("torchao.dtypes.nf4tensor").NF4Tensor
    except ImportError:
        return import_module("torchao.quantization").NF4Tensor


def _small_blocks(store: Callable[..., Any]) -> Callable[..., Any]:
    """4-bit storage in blocks that divide the tiny model's weights."""

    def smaller(tensor: Any, *_: Any, **__: Any) -> Any:
        return store(tensor, 64, 16)

    return smaller


_MAY_BE_NONE = ("gradient.max_norm",)


def canonical(name: str, gemma2: bool = False) -> str:
    """A parameter's name as transformers' models have it, without their prefix `model.`."""
    name = (
        name.replace("_checkpoint_wrapped_module.", "").replace("_fsdp_wrapped_module.", "").replace("_orig_mod.", "")
    )
    name = name.replace("tok_embeddings", "embed_tokens").replace(".attn.", ".self_attn.").replace(".scale", ".weight")
    name = name.replace("lora_a.weight", "lora_A").replace("lora_b.weight", "lora_B")
    name = name.replace("sa_norm", "input_layernorm").replace("norm.rms_norm", "norm")
    if gemma2:
        name = name.replace("sa_scale", "post_attention_layernorm").replace("mlp_norm", "pre_feedforward_layernorm")
        name = name.replace("mlp_scale", "post_feedforward_layernorm")
    name = name.replace("mlp_norm", "post_attention_layernorm")
    return ".".join(_MODULES.get(part, part) for part in re.sub(r"^decoder\.", "", name).split("."))


def _recipe(name: str) -> Any:
    """A recipe's file as a module: the folder is no package that can be imported."""
    found = importlib.util.find_spec("recipes")
    folder = next(iter(found.submodule_search_locations or ())) if found else None
    path = os.path.join(folder or "", *name.split("/")) + ".py"
    if not os.path.isfile(path):
        raise ValueError(f"this torchtune has no recipe {name}")
    spec = importlib.util.spec_from_file_location(os.path.basename(name), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _one(values: set[str]) -> str:
    return next(iter(values)) if len(values) == 1 else ", ".join(sorted(values))


def _resized(builder: Callable[..., Any], sizes: dict[str, int]) -> Callable[..., Any]:
    accepted = inspect.signature(builder).parameters

    def resized(*args: Any, **kwargs: Any) -> Any:
        bound = inspect.signature(builder).bind_partial(*args, **kwargs)
        bound.arguments.update({key: value for key, value in sizes.items() if key in accepted})
        return builder(**bound.arguments)

    resized.__signature__ = inspect.signature(builder)  # type: ignore[attr-defined]
    return resized


def family(request: dict[str, Any]) -> dict[str, Any]:
    """The family of the model builder and whether the run is preference training."""
    name = str(request["config"].get("model", {}).get("_component_", ""))
    found = re.match(r"torchtune\.models\.(\w+)\.", name)
    return {"family": found[1] if found else None}


def trial(request: dict[str, Any], inside: Any) -> dict[str, Any]:
    if request["level"] not in LEVELS:
        raise ValueError(f"no level {request['level']!r}")
    return inside.apart(lambda: Trial(request, inside).run())  # type: ignore[no-any-return]
