"""Peak memory of an Axolotl config, traced on fake tensors. Loaded by the probe, without ftmigrate.

The model comes out of Axolotl's own ModelLoader, with the sizes of a config.json, fewer layers and no weights; around it
what the trainer does to a model: autocast, activation checkpointing, clipping, the optimizer. Trainer and data are not run.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from types import MethodType
from typing import Any

# keys of what spreads a run over devices (that is reckoned afterwards), or needs a GPU or weights
_DROPPED = (
    "base_model_config", "tokenizer_config", "revision_of_model", "deepspeed", "fsdp", "fsdp_config", "fsdp_version",
    "dp_shard_size", "dp_replicate_size", "flash_attention", "flash_attn_cross_entropy", "flash_attn_rms_norm",
    "flash_attn_fuse_mlp", "torch_compile", "torch_compile_backend", "torch_compile_mode", "tf32", "lora_model_dir",
    "resume_from_checkpoint", "use_ray", "hub_model_id", "push_dataset_to_hub", "ddp", "wandb_project", "use_wandb",
    "use_mlflow", "use_comet", "use_trackio", "use_tensorboard", "save_first_step", "gpu_memory_limit",
)  # fmt: skip
_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel")
_FLASH = ("flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention", "xformers", "sage")
_FUSED_LOSS = ("liger_fused_linear_cross_entropy", "cut_cross_entropy")
_OTHER = ("rl", "reward_model", "process_reward_model", "qat", "gptq", "trainer_cls", "relora", "layer_offloading")
_SIZES = {"load_in_4bit": 4, "load_in_8bit": 8}
_BLOCK, _SCALES = 64, 256  # weights that share a scale, and scales that share one of theirs


class Traced:
    """One config with a number of layers."""

    def __init__(self, request: dict[str, Any], inside: Any, shared: Any, layers: int | None) -> None:
        self.request, self.shared, self.layers = request, shared, layers
        self.trial = inside.beside(__file__, "probe_trial")
        self.torch = import_module("torch")
        self.config: dict[str, Any] = json.loads(json.dumps(request["config"]))
        self.sharded = any(self.config.get(key) for key in ("fsdp", "fsdp_config"))
        self.losses = [key for key in _FUSED_LOSS if self.config.get(key)]

    def trace(self) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            total, vocabulary = self._architecture()
            cfg = self._load()
            with self.shared.fake():
                model = self._model(cfg, vocabulary)
                step = self._step(model, cfg)
                result = self.shared.measure(model, self._forward(model, cfg), step, vocabulary)
            os.chdir("/")
        return {
            "layers": self.layers or total,
            "all": total,
            "notes": self._notes(cfg),
            "upcast": self._upcast(cfg),
            **result,
        }

    def _notes(self, cfg: Any) -> list[str]:
        """What is traced as something else."""
        given, notes = self.request["config"], []
        if given.get("attn_implementation") in _FLASH or given.get("flash_attention"):
            notes.append("flash attention is traced as torch's own, which keeps the same tensors")
        if self.request["packed"]:
            notes.append("packed rows are traced without a mask, as kernels for rows of several lengths take them")
        if given.get("adapter") and any(given.get(key) is not False for key in _KERNELS):
            notes.append("fused LoRA kernels are traced as plain layers, which keep more")
        if self.losses:
            notes.append(f"{self.losses[0]} is reckoned: no logits but those of one chunk")
        if any("liger" in key and key not in _FUSED_LOSS for key in given):
            notes.append("Liger's other kernels are traced as plain layers, which keep more")
        if self._upcast(cfg):
            notes.append("in mixed precision, accelerate keeps trained weights in fp32 once FSDP 1 has sharded them")
        if given.get("torch_compile"):
            notes.append("layers are traced as they are not compiled, which keeps more")
        if given.get("activation_offloading"):
            notes.append("offloaded activations come back one at a time")
        return notes

    def _upcast(self, cfg: Any) -> bool:
        """Whether sharded training keeps trained weights in fp32, as accelerate has it in mixed precision. Under FSDP 2
        it does not: Axolotl's own function takes the place of accelerate's (monkeypatch/accelerate/fsdp2.py).
        """
        first = str(cfg.fsdp_version or (1 if self._has_first() else 2)) == "1"
        return bool(self.sharded and first and (cfg.bf16 or cfg.bfloat16 or cfg.fp16) and not cfg.load_in_4bit)

    def _has_first(self) -> bool:
        """Whether this release has FSDP 1, which a config gets that names no version: up to 0.19."""
        release = import_module("importlib.metadata").version("axolotl").split(".")
        return (int(release[0]), int(release[1])) < (0, 20)

    def _architecture(self) -> tuple[int, int]:
        """The model's config.json with as many layers as wanted."""
        config = dict(self.request["architecture"])
        total = int(config["num_hidden_layers"])
        count = self.layers or total
        config["num_hidden_layers"] = count
        if isinstance(config.get("layer_types"), list):
            config["layer_types"] = config["layer_types"][:count]
        config.pop("quantization_config", None)
        os.makedirs("model")
        with open(os.path.join("model", "config.json"), "w", encoding="utf-8") as file:
            json.dump(config, file)
        return total, int(config["vocab_size"])

    def _load(self) -> Any:
        """The config through Axolotl's own loader, as for a GPU."""
        config = self.config
        other = [key for key in _OTHER if config.get(key)]
        if other:
            raise ValueError(f"memory with {', '.join(other)} is not traced")
        for key in list(config):
            if key in _DROPPED or "liger" in key or "cut_cross" in key:
                config.pop(key)
        config["plugins"] = self.trial.plugins(config)
        chosen = config.get("attn_implementation")
        if chosen in _FLASH or self.request["config"].get("flash_attention"):
            chosen = "sdpa"
        config["attn_implementation"] = chosen or "sdpa"
        config.update(dict.fromkeys(_KERNELS, False), base_model="model", output_dir="out", tf32=False)
        return self.trial.load_as_on_a_gpu(config, self.request.get("beside", {}))

    # --- the model ------------------------------------------------------------------------------------------------

    def _model(self, cfg: Any, vocabulary: int) -> Any:
        loading: Any = import_module("axolotl.loaders.model")
        bits = next((size for key, size in _SIZES.items() if cfg[key]), None)

        def made(loader: Any, model_loader_class: Any = None) -> Any:
            kind = model_loader_class or loader.auto_model_loader
            with _without_values():
                model = kind.from_config(loader.model_config, dtype=loader.model_kwargs.get("dtype"))
            if bits is not None:
                self._quantise(model, bits, loader.model_kwargs.get("dtype"))
            return model

        loading.ModelLoader._load_model_from_pretrained = made
        loading.ModelLoader._load_model_from_config = made
        chunked: Any = import_module("axolotl.monkeypatch.loss.chunked")
        chunked.CEWithChunkedOutputLoss.compute_cross_entropy = staticmethod(self.shared.compiled_cross_entropy)
        if self.sharded and cfg.adapter != "qlora":  # the loader is not told of FSDP, which it looks for here
            loading.should_convert_embedding_dtypes = lambda _: True
        adapter: Any = import_module("axolotl.loaders.adapter")
        adapter.reinit_lora_from_seed = lambda *_, **__: 0
        model, _ = loading.ModelLoader(cfg, _Tokenizer(vocabulary)).load()
        if cfg.unfrozen_parameters:
            import_module("axolotl.utils.freeze").freeze_layers_except(model, cfg.unfrozen_parameters)
        if cfg.gradient_checkpointing and not cfg.activation_offloading:
            model.gradient_checkpointing_enable(
                gradient_checkpointing_kwargs=cfg.gradient_checkpointing_kwargs or {"use_reentrant": False}
            )
        model.train()
        if self.losses:
            self._fuse(model)
        self._mixed(model, cfg)
        return model

    def _fuse(self, model: Any) -> None:
        """The output layer hands on what it gets, and the loss takes it with the layer's weight."""
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        head = base.get_output_embeddings()
        if type(head) is not self.torch.nn.Linear:
            raise ValueError(f"{self.losses[0]} with an adapter on the output layer is not traced")
        loss = self.shared.fused_loss(self.losses[0].startswith("liger"))
        head.forward = lambda hidden: hidden
        base.loss_function = lambda logits, labels, **_: loss(logits, head.weight)

    def _mixed(self, model: Any, cfg: Any) -> None:
        """What the trainer's accelerate does to a model in mixed precision."""
        dtype = self.torch.bfloat16 if cfg.bf16 or cfg.bfloat16 else self.torch.float16 if cfg.fp16 else None
        if dtype is None:
            return
        convert = import_module("accelerate.utils").convert_outputs_to_fp32
        wrapped = self.torch.autocast(device_type="cpu", dtype=dtype)(model.forward.__func__)
        model.forward = convert(MethodType(wrapped, model))

    def _quantise(self, model: Any, bits: int, dtype: Any) -> None:
        """Every linear layer but the output, with stored weights of the right size in place of bitsandbytes' own."""
        torch, bnb = self.torch, import_module("bitsandbytes")
        base = bnb.nn.Linear4bit if bits == 4 else bnb.nn.Linear8bitLt
        kind = _stored(torch, base, bits)
        head = model.get_output_embeddings()
        for name, one in list(model.named_modules()):
            if type(one) is torch.nn.Linear and one is not head:
                parent, _, last = name.rpartition(".")
                setattr(model.get_submodule(parent), last, kind(one, dtype))
        model.is_loaded_in_4bit, model.is_loaded_in_8bit, model.is_quantized = bits == 4, bits == 8, True

    # --- a step ---------------------------------------------------------------------------------------------------

    def _forward(self, model: Any, cfg: Any) -> Callable[[], Any]:
        torch, request = self.torch, self.request
        shape = (1, request["rows"] * request["length"]) if request["packed"] else (request["rows"], request["length"])
        ids, labels = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
        count = torch.ones((), dtype=torch.long)
        offload = self.shared.offloaded if cfg.activation_offloading else contextlib.nullcontext

        def forward() -> Any:
            with offload():
                return model(input_ids=ids, labels=labels, num_items_in_batch=count, use_cache=False)["loss"]

        return forward

    def _step(self, model: Any, cfg: Any) -> Callable[[], None]:
        torch = self.torch
        trainer: Any = import_module("transformers").Trainer
        arguments = import_module("transformers").TrainingArguments
        named = getattr(cfg.optimizer, "value", cfg.optimizer)
        kind, options = trainer.get_optimizer_cls_and_kwargs(
            arguments(output_dir="out", optim=str(named), learning_rate=1e-5, report_to="none"), model
        )
        trained = [one for one in model.parameters() if one.requires_grad]
        groups = [{"params": [one for one in trained if (one.dim() > 1) is large]} for large in (True, False)]
        groups = [group for group in groups if group["params"]]
        if kind.__module__.startswith("bitsandbytes"):
            optimizer = self.shared.sized_as(options.get("optim_bits", 32), options.get("is_paged", False))(groups)
        else:
            optimizer = kind(groups, **options)
        self.shared.as_on_gpu(optimizer)
        limit = 1.0 if cfg.max_grad_norm is None else float(cfg.max_grad_norm)

        def step() -> None:
            if limit > 0:
                torch.nn.utils.clip_grad_norm_(model.parameters(), limit, foreach=True)
            optimizer.step()
            model.zero_grad()

        return step


class _Tokenizer:
    """As many tokens as the model has rows for them: its embeddings keep their size."""

    eos_token_id = bos_token_id = pad_token_id = None
    chat_template = None

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size


@contextlib.contextmanager
def _without_values() -> Iterator[None]:
    """Weights are not initialised: they have no values."""
    model: Any = import_module("transformers").PreTrainedModel
    kept = model.init_weights
    model.init_weights = lambda self, *_, **__: self.tie_weights()
    try:
        yield
    finally:
        model.init_weights = kept


def _stored(torch: Any, base: Any, bits: int) -> Any:
    """A linear layer whose frozen weight is stored in few bits and made whole for each product."""

    class Product(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, data: Any, shape: tuple[int, int], dtype: Any) -> Any:
            ctx.shape, ctx.dtype = shape, dtype
            return torch.nn.functional.linear(data, torch.empty(shape, dtype=dtype))

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient @ torch.empty(ctx.shape, dtype=gradient.dtype), None, None

    class Stored(base):  # type: ignore[misc]
        def __init__(self, linear: Any, dtype: Any) -> None:
            torch.nn.Module.__init__(self)
            self.in_features, self.out_features, self.compute_dtype = linear.in_features, linear.out_features, dtype
            count = linear.weight.numel()
            packed = torch.empty((count * bits // 8, 1), dtype=torch.uint8 if bits == 4 else torch.int8)
            self.weight = torch.nn.Parameter(packed, requires_grad=False)
            self.weight.compress_statistics, self.weight.quant_type = True, "nf4"
            self.bias = linear.bias
            if bits == 4:
                self.register_buffer("scales", torch.empty(count // _BLOCK, dtype=torch.uint8))
                self.register_buffer("their_scales", torch.empty(-(-count // _BLOCK // _SCALES), dtype=torch.float32))
            else:
                self.register_buffer("scales", torch.empty(self.out_features, dtype=torch.float32))

        def forward(self, data: Any) -> Any:
            kept = data.dtype
            found = Product.apply(
                data.to(self.compute_dtype), (self.out_features, self.in_features), self.compute_dtype
            )
            found = found if self.bias is None else found + self.bias.to(found.dtype)
            return found.to(kept)

    return Stored


def memory(request: dict[str, Any], inside: Any, shared: Any) -> dict[str, Any]:
    """The traces for each number of layers (null: all)."""
    if request.get("architecture") is None:
        raise ValueError(
            f"the sizes of {request['config'].get('base_model')} are not known here: put its config.json into the directory "
            "that base_model names, or download it (hf download MODEL config.json)"
        )
    for name in ("axolotl.cli.config", "axolotl.loaders.model", "axolotl.loaders.adapter", "peft", "accelerate",
                 "bitsandbytes", "transformers.trainer", "transformers.models.llama.modeling_llama"):  # fmt: skip
        import_module(name)
    found: dict[str, Any] = shared.traces(
        inside.apart, request["layers"], lambda n: Traced(request, inside, shared, n).trace()
    )
    return found
