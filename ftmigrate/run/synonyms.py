"""What settings are called elsewhere: the names that people bring along from programs whose configs are not read here."""

from __future__ import annotations

from collections.abc import Mapping

_CALLED: Mapping[str, tuple[str, ...]] = {
    "adapter.alpha": ("alpha", "lora_alpha"),
    "adapter.dropout": ("lora_dropout",),
    "adapter.rank": ("r", "rank", "lora_r", "lora_rank", "lora_dim"),
    "adapter.target_modules": ("lora_modules", "lora_target", "target_modules"),
    "batch.accumulation": ("accumulate_grad_batches", "grad_accum", "grad_accumulation_steps", "gradient_accumulation"),
    "batch.micro_size": ("micro_batch", "per_device_batch_size", "per_device_train_batch_size", "train_batch_size_per_gpu"),
    "duration.epochs": ("epochs", "max_epochs", "n_epochs", "num_epochs", "num_train_epochs"),
    "duration.max_steps": ("max_iters", "max_train_steps", "train_steps"),
    "evaluation.batch_size": ("per_device_eval_batch_size",),
    "gradient.max_norm": ("clip_grad", "clip_grad_norm", "grad_clip", "gradient_clip_val", "gradient_clipping",
                          "max_gradient_norm"),
    "logging.every": ("log_every", "log_interval", "log_steps"),
    "memory.activation_checkpointing": ("activation_checkpointing", "enable_gradient_checkpointing",
                                        "use_gradient_checkpointing"),
    "model.base": ("base_model_name", "model_id", "model_name", "model_name_or_path", "pretrained_model_name_or_path"),
    "optimizer.epsilon": ("adam_eps", "adam_epsilon"),
    "optimizer.learning_rate": ("learning_rate", "lr", "max_lr"),
    "optimizer.name": ("optim", "optimizer_type"),
    "optimizer.weight_decay": ("wd", "weight_decay"),
    "saving.every": ("save_interval", "save_steps"),
    "saving.keep": ("save_total_limit",),
    "saving.output_dir": ("out_dir", "output_path", "save_dir"),
    "schedule.name": ("lr_schedule", "lr_scheduler_type", "scheduler", "scheduler_type"),
    "schedule.warmup_steps": ("num_warmup_steps", "warmup", "warmup_iters", "warmup_ratio", "warmup_steps"),
    "seed.value": ("random_seed", "random_state"),
    "sequence.max_length": ("block_size", "cutoff_len", "max_length", "max_seq_len", "max_seq_length", "model_max_length",
                            "seq_len", "seq_length"),
    "sequence.packing": ("pack", "packed", "packing"),
}  # fmt: skip
SYNONYMS: Mapping[str, str] = {name: setting for setting, names in _CALLED.items() for name in names}
"""The setting that a name means."""
