"""An Axolotl run on a tiny model, watched. Loaded by the probe in Axolotl's environment, without ftmigrate.

What runs is `axolotl.cli.train.do_train`: the loader, the datasets, the trainer. What is replaced: the model, its
tokenizer and the rows (made for the trial), what needs a GPU, and what only writes or logs.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

LEVELS = ("plan", "tokens", "train")
# keys that name things which a trial replaces, need a GPU, or only write or log
_DROPPED = (
    "base_model_config", "tokenizer_config", "revision_of_model", "base_model_ignore_patterns", "test_datasets",
    "hub_model_id", "hub_strategy", "hub_private_repo", "hf_use_auth_token", "push_dataset_to_hub", "load_best_model_at_end",
    "deepspeed", "fsdp", "fsdp_config", "fsdp_version", "tensor_parallel_size", "context_parallel_size", "dp_shard_size",
    "dp_replicate_size", "flash_attention", "xformers_attention", "sdp_attention", "flex_attention", "eager_attention",
    "flash_attn_cross_entropy", "flash_attn_rms_norm", "flash_attn_fuse_qkv", "flash_attn_fuse_mlp", "s2_attention",
    "torch_compile", "torch_compile_backend", "torch_compile_mode", "tf32", "activation_offloading", "layer_offloading",
    "resume_from_checkpoint", "auto_resume_from_checkpoints", "early_stopping_patience", "use_ray", "ddp_timeout",
    "debug", "local_rank", "dataloader_num_workers", "dataset_processes", "dataloader_prefetch_factor",
    "dataloader_pin_memory", "eval_table_size", "unsloth_cross_entropy_loss", "save_first_step", "gpu_memory_limit",
)  # fmt: skip
_TRACKING = ("wandb", "mlflow", "comet", "trackio", "use_wandb", "use_mlflow", "use_comet", "use_trackio",
             "use_tensorboard", "gradio", "otel")  # fmt: skip
_PLACE = ("name", "data_files", "revision", "trust_remote_code", "data_dir", "shards", "preprocess_shards", "split_by")
_ATTENTIONS = ("sdpa", "eager")  # what a CPU has
_SWITCHES = ("flash_attention", "flex_attention", "xformers_attention", "s2_attention")
_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel")


def load_as_on_a_gpu(config: dict[str, Any], beside: dict[str, str]) -> Any:
    """A config through Axolotl's own loader in this folder, as on a machine with a GPU; beside: files that it names."""
    for name, text in beside.items():
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)
        sys.path.insert(0, os.getcwd())
    with open("config.yaml", "w", encoding="utf-8") as file:
        import_module("yaml").safe_dump(config, file, sort_keys=False)
    load: Any = import_module("axolotl.cli.config")
    for name in ("transformers.utils", "transformers.training_args", "axolotl.utils.config"):
        place: Any = import_module(name)  # the config is for a GPU, and `auto` means there what it means here
        place.is_torch_bf16_gpu_available = lambda: True
    load.gpu_capabilities = lambda: (
        {"bf16": True, "fp8": True, "tf32": True, "n_gpu": 1, "n_node": 1, "compute_capability": "sm_90"},
        {"torch_version": str(import_module("torch").__version__).split("+", maxsplit=1)[0]},
    )
    return load.load_cfg("config.yaml")


def plugins(config: dict[str, Any]) -> list[str]:
    """The plugins but those whose kernels need a GPU."""
    return [one for one in config.get("plugins") or () if "liger" not in one.lower() and "cut_cross" not in one]


class Trial:
    """One config in one folder, which holds the tiny model and the rows."""

    def __init__(self, request: dict[str, Any], inside: Any) -> None:
        self.request, self.inside = request, inside
        self.level = request["level"]
        self.watch = inside.Watch(request.get("steps", 1))
        self.trainer: Any = None
        self.answer: dict[str, Any] = {}
        self.shuffled = self.sharded = self.swapped = False

    def run(self) -> dict[str, Any]:
        import_module("torch").set_num_threads(1)
        os.chdir(self.request["folder"])
        cli: Any = import_module("axolotl.cli.train")
        train: Any = import_module("axolotl.train")
        self.load()
        self._watch_shuffling()
        train.execute_training = self._train
        for writes in ("save_initial_configs", "save_trained_model", "setup_model_card", "create_model_card"):
            setattr(train, writes, lambda *_, **__: None)
        with contextlib.suppress(self.inside.Stop):
            cli.do_train(self.cfg, import_module("axolotl.cli.args").TrainerCliArgs())
        return self.answer

    def load(self) -> None:
        """The config through Axolotl's own loader: `cfg`."""
        self.cfg = load_as_on_a_gpu(self._config(), self.request.get("beside", {}))

    def _train(self, cfg: Any, trainer: Any, resume: Any) -> None:
        """In place of the function that starts the trainer: what can be seen is seen, then it is started."""
        self.make_ready(cfg, trainer)
        if self.level == "tokens":
            self.answer = self._tokens()
            raise self.inside.Stop
        order = self._order() if self.level == "plan" else None
        self.watch.install()
        self._watch_pairs()
        stopped = False
        try:
            trainer.train(resume_from_checkpoint=None)
        except self.inside.Stop:
            stopped = True
        if self.level == "train":
            self.answer = {"steps": self.watch.steps, "total": int(trainer.state.max_steps)}
        else:
            self.answer = self._plan(order)
        if stopped:
            raise self.inside.Stop

    def make_ready(self, cfg: Any, trainer: Any) -> None:
        """Nothing is saved, adapters start as told, and rows come as they are stored where that is wanted."""
        self.trainer = trainer
        trainer._save_checkpoint = lambda *_, **__: None
        if "start" in self.request:
            self._load(self.request["start"])
        if "keep" in self.request:
            self.inside.keep_adapter(self._named(), self.request["keep"])
        own = "_get_train_sampler" in vars(trainer)  # a plugin's
        if self._pins_order() and not cfg.sample_packing and not own:
            sampler = import_module("torch").utils.data.SequentialSampler
            trainer._get_train_sampler = lambda dataset=None: sampler(
                trainer.train_dataset if dataset is None else dataset
            )

    # --- the config -----------------------------------------------------------------------------------------------

    def _config(self) -> dict[str, Any]:
        """The user's config with what the trial replaces."""
        config: dict[str, Any] = self.request["config"]
        self.sharded = any(config.get(key) for key in ("fsdp", "fsdp_config", "deepspeed"))
        self.swapped = config.get("attn_implementation") not in (None, *_ATTENTIONS) or any(map(config.get, _SWITCHES))
        for key in list(config):
            if (
                key in _DROPPED
                or key.split("_")[0] in _TRACKING
                or key in _TRACKING
                or "liger" in key
                or "cut_cross" in key
            ):
                config.pop(key)
        config["plugins"] = plugins(config)
        config.update(base_model="model", output_dir="out", dataset_prepared_path="prepared", dataset_num_proc=1,
                      tf32=False)  # fmt: skip
        config["attn_implementation"] = "eager" if config.get("attn_implementation") == "eager" else "sdpa"
        config.update(dict.fromkeys(_KERNELS, False))
        if config.get("pretraining_dataset"):
            raise ValueError("a trial of pretraining_dataset is not supported")
        files = iter(self.request["rows"])
        listed = config.get("datasets")
        for entry in listed if isinstance(listed, list) else []:
            for key in _PLACE:
                entry.pop(key, None)
            entry.update(path=next(files), ds_type="json")
        if self.level != "plan":
            config.update(tf32=False, lora_dropout=0.0 if config.get("adapter") else None)
            if self.request.get("precision") != "own":
                config.update(bf16=False, fp16=False)
                for key in ("bfloat16", "float16"):
                    config.pop(key, None)
            config.update(val_set_size=0.0)
            if self._pins_order():
                config.update(shuffle_merged_datasets=False, curriculum_sampling=True)
            if config.get("rl"):
                config.pop("curriculum_sampling", None)
            config = {key: value for key, value in config.items() if value is not None}
        if config.get("optimizer") in ("paged_adamw_8bit", "adamw_bnb_8bit", "adamw_8bit") and self.level != "plan":
            config["optimizer"] = "adamw_torch"
        return config

    def _pins_order(self) -> bool:
        """Whether rows come as they are stored, whatever the config says."""
        return self.level != "plan" and self.request.get("order") != "own"

    # --- adapter weights ------------------------------------------------------------------------------------------

    def _named(self) -> Iterator[tuple[str, Any]]:
        for name, one in self.trainer.model.named_parameters():
            yield canonical(name), one

    def _load(self, place: str) -> None:
        """An adapter's start; through PEFT's own loader."""
        given = import_module("safetensors.torch").load_file(place)
        names = {canonical(name): name for name, _ in self.trainer.model.named_parameters()}
        state = {names[name].replace(".default", ""): value for name, value in given.items() if name in names}
        import_module("peft").set_peft_model_state_dict(self.trainer.model, state)

    # --- what is seen ---------------------------------------------------------------------------------------------

    def _order(self) -> str | None:
        if self.cfg.sample_packing:
            return None
        trainer = self.trainer
        loader = trainer.get_train_dataloader()
        seeds = {0, 42, int(trainer.args.seed)}
        found = []
        sampler = loader.batch_sampler
        while hasattr(sampler, "batch_sampler"):
            sampler = sampler.batch_sampler
        if not hasattr(sampler, "sampler"):  # a plugin's own, that gives whole batches
            found = self._batched(sampler, seeds)
        for epoch in (0, 1) if not found else ():
            inner = sampler.sampler
            if hasattr(inner, "set_epoch"):
                inner.set_epoch(epoch)
            found.append(self.inside.order_of([int(one) for one in inner], seeds, epoch))
        order = found[0] if found[0] == found[1] else "unknown"
        return order + (", of rows shuffled once before" if self.shuffled else "")

    def _batched(self, sampler: Any, seeds: set[int]) -> list[str]:
        """The order of two epochs whose batches are full ones, the second of which may begin with what the first left."""
        epochs = []
        for epoch in (0, 1):
            sampler.set_epoch(epoch)
            epochs.append([int(row) for batch in sampler for row in batch])
        count = len(self.trainer.train_dataset)
        left = count - len(epochs[0])
        first = self.inside.order_of(epochs[0], seeds, 0, count)
        tried = (self.inside.order_of(epochs[1][skipped:], seeds, 1, count) for skipped in range(left + 1))
        return [first, next((order for order in tried if order == first), "unknown")]

    def _watch_shuffling(self) -> None:
        """Notes whether rows are shuffled while the datasets are made."""
        dataset = import_module("datasets").Dataset
        shuffle = dataset.shuffle

        def noted(own: Any, *args: Any, **kwargs: Any) -> Any:
            self.shuffled = True
            return shuffle(own, *args, **kwargs)

        dataset.shuffle = noted

    def _tokens(self) -> dict[str, Any]:
        tokens = self.inside.beside(__file__, "probe_tokens")
        samples, batches = self.request.get("samples", 16), self.request.get("batches", 8)
        packed = bool(self.cfg.sample_packing)
        found: dict[str, Any] = tokens.answer(self.trainer, packed, samples, batches, self.inside)
        return found

    def _watch_pairs(self) -> None:
        """In preference training: what the trainer's own loss gives for each batch of pairs."""
        if not self.cfg.rl:
            return
        compute, self.watch.pairs = self.trainer.compute_loss, True

        def noted(model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
            found = compute(model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch)
            self.watch.note(found[0] if return_outputs else found, max(len(inputs["input_ids"]) // 2, 1))
            return found

        self.trainer.compute_loss = noted

    def _plan(self, order: str | None) -> dict[str, Any]:
        trainer, watch, inside, cfg = self.trainer, self.watch, self.inside, self.cfg
        args, total = trainer.args, int(trainer.state.max_steps)
        named = dict(self._named())
        found = inside.parameters(named, watch.groups)
        size = args.per_device_train_batch_size
        model = trainer.accelerator.unwrap_model(trainer.model)
        packed = bool(cfg.sample_packing)
        observed: dict[str, Any] = {
            **inside.optimizer_settings(watch),
            "optimizer.weight_decay_scope": inside.decay_scope(found),
            "optimizer.in_backward": False,
            "batch.micro_size": int(cfg.micro_batch_size) if packed else size,
            "batch.accumulation": args.gradient_accumulation_steps,
            "batch.effective": (int(cfg.micro_batch_size) if packed else size) * args.gradient_accumulation_steps,
            "duration.epochs": args.num_train_epochs,
            "data.order": order,
            "data.shuffle": None if order is None else not order.startswith("as stored"),
            "sequence.packing": packed,
            "precision.autocast": None if args.fp16 else watch.autocast,  # a CPU has no autocast to fp16
            "memory.activation_checkpointing": bool(getattr(model, "is_gradient_checkpointing", False)),
            "logging.every": int(args.logging_steps),
            "method.name": self._method(),
            "seed.value": args.seed if self.request["config"].get("seed") is not None else None,
            **self._adapter(),
            **self._objective(),
        }
        if watch.groups:  # a step was taken
            observed["gradient.max_norm"] = inside.finite(watch.clipped) or None
        if not packed:
            whole = args.dataloader_drop_last or "_get_train_sampler" in vars(trainer)
            observed["duration.partial_batch"] = "dropped" if whole else "kept"
        if not self.sharded and (cfg.adapter or not self.swapped):  # which layers stay in fp32 depends on the attention
            observed["precision.weights"] = _precision(named, inside)
        if observed["adapter.method"] != "none":  # what modules_to_save trains besides has the model's own
            own = sorted({one["dtype"] for name, one in found.items() if "lora_" in name})
            observed["adapter.dtype"] = ", ".join(own) or None
        group = watch.groups[0] if watch.groups else {}
        peak = group.get("initial_lr", group.get("lr"))
        observed["optimizer.learning_rate"] = peak
        return {
            "observed": {key: value for key, value in observed.items() if value is not None or key in _MAY_BE_NONE},
            "parameters": found,
            "frozen": len(named) - len(found),
            "optimizer": watch.optimizer,
            "groups": [
                {k: v for k, v in one.items() if k != "ids"} | {"count": len(one["ids"])} for one in watch.groups
            ],
            "rates": inside.rates(trainer.lr_scheduler, total, float(peak or 0.0)),
            "total": total,
            "rows": len(trainer.train_dataset),
            "first": watch.steps[0] if watch.steps else None,
        }

    def _method(self) -> str:
        rl = self.cfg.rl
        if rl:
            return str(getattr(rl, "value", rl))
        bases = {base.__name__ for base in type(self.trainer).__mro__}
        rewards = {"RewardTrainer": "reward", "PRMTrainer": "process reward"}
        usual = "qat" if self.cfg.qat else "sft"
        return next((method for name, method in rewards.items() if name in bases), usual)

    def _objective(self) -> dict[str, Any]:
        """What the trainer of preference training says of its loss."""
        trainer = self.trainer
        found: dict[str, Any] = {}
        if self.watch.pairs and hasattr(trainer, "beta"):
            found["method.beta"] = float(trainer.beta)
        names: list[str] = list(getattr(trainer, "loss_types", ()))
        if self.watch.pairs and len(names) == 1:
            sorts = names[0] == "aot" and trainer.args.per_device_train_batch_size == 1  # one pair has one order
            found["method.loss"] = "sigmoid" if sorts else names[0]
            counts = names[0] not in ("sigmoid", "hinge", "ipo")
            found["method.label_smoothing"] = float(trainer.label_smoothing) if counts else 0.0
        return found

    def _adapter(self) -> dict[str, Any]:
        model = self.trainer.model
        kinds = [
            (name, one) for name, one in model.named_modules() if hasattr(one, "lora_A") and "default" in one.scaling
        ]
        loaded = (
            "nf4"
            if getattr(model, "is_loaded_in_4bit", False)
            else "int8"
            if getattr(model, "is_loaded_in_8bit", False)
            else "none"
        )
        if not kinds:
            return {"adapter.method": "none", "model.quantization": loaded}
        one = kinds[0][1]
        config = model.peft_config["default"]
        found = sorted({name.rsplit(".", 1)[-1] for name, _ in kinds})
        asked = self.cfg.lora_target_modules
        # a tiny model of another family does not have all that is asked for
        partly = isinstance(asked, list) and not all(name.rsplit(".", 1)[-1] in found for name in asked)
        dropout = one.lora_dropout["default"]
        rank = one.r["default"]
        return {
            "adapter.method": "lora",
            "adapter.rank": rank,
            "adapter.alpha": round(one.scaling["default"] * (rank**0.5 if config.use_rslora else rank), 6),
            "adapter.dropout": float(getattr(dropout, "p", 0.0)),
            "adapter.use_dora": bool(config.use_dora),
            "adapter.use_rslora": bool(config.use_rslora),
            "adapter.bias": config.bias,
            "adapter.target_modules": None if partly else found,
            "model.quantization": loaded,
        }


_MAY_BE_NONE = ("gradient.max_norm",)


def canonical(name: str) -> str:
    """A parameter's name as in transformers' model, without the prefixes that wrappers put in front."""
    name = name.replace("base_model.model.", "").replace("base_layer.", "").replace(".default", "")
    for letter in "AB":
        name = name.replace(f"lora_{letter}.weight", f"lora_{letter}")
    name = name.replace("lora_magnitude_vector.weight", "magnitude")
    return name.removeprefix("module.").removeprefix("model.")


def _precision(named: dict[str, Any], inside: Any) -> str:
    """The types of the frozen weights, of all where none is frozen; the adapter's own and quantized layers aside."""
    types: dict[str, str] = {name: inside.dtype_name(one.dtype) for name, one in named.items() if not _quantized(one)}
    base = {name: kind for name, kind in types.items() if "lora_" not in name}
    dtypes = {kind for name, kind in base.items() if not named[name].requires_grad}
    dtypes = dtypes or {kind for name, kind in types.items() if named[name].requires_grad}
    if len(dtypes) == 1:
        return next(iter(dtypes))
    full = [name for name, kind in base.items() if kind == "fp32"]
    if dtypes == {"bf16", "fp32"} and all("norm" in name or "embed" in name or "lm_head" in name for name in full):
        return "bf16, embeddings and norms fp32"
    return ", ".join(sorted(dtypes))


def _quantized(weight: Any) -> bool:
    """A layer in 8 or 4 bits; the latter may lie in bf16."""
    return hasattr(weight, "quant_state") or not bool(weight.is_floating_point())


def family(request: dict[str, Any]) -> dict[str, Any]:
    """Not known from the keys: base_model's config.json says it."""
    return {"family": None}


def trial(request: dict[str, Any], inside: Any) -> dict[str, Any]:
    if request["level"] not in LEVELS:
        raise ValueError(f"no level {request['level']!r}")
    for name in ("axolotl.cli.train", "axolotl.train", "axolotl.common.datasets", "axolotl.utils.trainer",
                 "axolotl.core.builders", "peft", "trl", "transformers.models.llama.modeling_llama"):  # fmt: skip
        import_module(name)
    return inside.apart(lambda: Trial(request, inside).run())  # type: ignore[no-any-return]
