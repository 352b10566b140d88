"""Checks of batches, schedules, precision, checkpointing, compilation, optimizers and losses."""

from __future__ import annotations

from fnmatch import fnmatchcase

from ftmigrate.frameworks.checks import (
    Check,
    View,
    above,
    absent,
    among,
    any_on,
    differ,
    drop,
    given,
    is_,
    is_not,
    names,
    numbers,
    off,
    on,
    put,
    starts,
    test,
)

INDUCTOR = (
    "coordinate_descent_tuning",
    "coordinate_descent_check_all_directions",
    "shape_padding",
    "epilogue_fusion",
    "max_autotune_gemm",
    "fx_graph_cache",
    "assume_aligned_inputs",
    "comprehensive_padding",
    "decompose_mem_bound_mm",
    "triton.cudagraphs",
)
LOSSES = ("cut_cross_entropy", "chunked_cross_entropy", "liger_cross_entropy", "liger_fused_linear_cross_entropy")
POLORA_UNTRAINED = (
    "lora_modules_to_save",
    "unfrozen_parameters",
    "peft_use_dora",
    "peft_trainable_token_indices",
    "lisa_step_interval",
    "reward_model",
    "process_reward_model",
)
POLORA_RATES = ("loraplus_lr_ratio", "lr_groups", "embedding_lr", "embedding_lr_scale")
KERNEL_MODULES = {
    "lora_mlp_kernel": (
        *("gate_proj", "up_proj", "down_proj", "mlp", "mixer", "shared_experts", "shared_expert", "feedforward"),
        *("experts", "gate_projs", "up_projs", "down_projs"),
    ),
    "lora_qkv_kernel": (
        *("q_proj", "k_proj", "v_proj", "in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "self_attn"),
        *("linear_attn", "mixer"),
    ),
    "lora_o_kernel": ("o_proj", "out_proj", "self_attn", "linear_attn", "mixer"),
    "flash_attn_fuse_mlp": ("gate_proj", "up_proj", "down_proj", "mlp"),
}
CONTAINERS = (
    *("model", "language_model", "text_model", "decoder", "transformer", "backbone", "layers", "layer", "h"),
    *("blocks", "block"),
)
KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel")
FUSED = KERNELS[:3]
MATMULS = ("aten::mm", "aten::addmm", "aten::matmul", "aten::bmm")


def kernel_on(view: View, flag: str) -> bool:
    """Whether a fused kernel runs: as said, else as Axolotl switches it on by itself."""
    value = view.get(flag)
    return bool(view.get("adapter")) and bool(value) if value is not None else kernels_by_themselves(view)


def kernels_by_themselves(view: View) -> bool:
    """lora_kernels_auto_enable in axolotl/utils/schemas/validation.py, but for models that it knows not to fit."""
    return (
        not view.get("rl")
        and not view.get("nvfp4_merge_aware")
        and view.get("adapter") in ("lora", "qlora")
        and all(view.get(flag) is None for flag in KERNELS)
        and not (view.get("adapter") == "lora" and view.get("load_in_8bit"))
        and not view.get("trust_remote_code")
    )


def _saves_fused_matmul(view: View) -> bool:
    saved = view.get("selective_checkpointing.save")
    return any(kernel_on(view, flag) for flag in FUSED) and any(
        isinstance(item, str) and item != "attention" and any(item in name for name in MATMULS) for item in saved or ()
    )


def _covers(entry: str, module: str) -> bool:
    last = entry.rpartition(".")[2]
    return fnmatchcase(module, last) if any(sign in last for sign in "*?[") else last == module


def _container(entry: str) -> bool:
    last = entry.rpartition(".")[2]
    if any(sign in last for sign in "*?["):
        return any(fnmatchcase(name, last) for name in (*CONTAINERS, *map(str, range(100))))
    return last.isdigit() or last in CONTAINERS


def _saves_fused_module(view: View) -> bool:
    entries = [entry.strip() for entry in view.get("selective_checkpointing.save_modules") or () if entry]
    for flag, modules in KERNEL_MODULES.items():
        lora = flag.startswith("lora_")
        if not (kernel_on(view, flag) if lora else view.get(flag)):
            continue
        if any(_covers(entry, module) for entry in entries for module in modules):
            return True
        if lora and any(_container(entry) for entry in entries):
            return True
    return False


def _strange_inductor(view: View) -> bool:
    value = view.get("torch_compile_options")
    return isinstance(value, dict) and any(key not in INDUCTOR for key in value)


SELECTIVE = on("selective_checkpointing")
CHECKPOINTING = ("gradient_checkpointing",)
REENTRANT = "gradient_checkpointing_kwargs.use_reentrant"
CUSTOM_LOSS = any_on("use_dft", "use_eaft")

CHECKS = (
    Check(
        "AX202",
        "check_batch_size_fields",
        on("batch_size") & off("micro_batch_size", "gradient_accumulation_steps"),
        "batch_size alone says too little: set micro_batch_size or gradient_accumulation_steps too.",
    ),
    Check(
        "AX201",
        "check_gas_bsz",
        on("gradient_accumulation_steps", "batch_size"),
        "gradient_accumulation_steps and batch_size are both set: the one follows from the other. Remove batch_size.",
        drop("batch_size"),
    ),
    Check(
        "AX201",
        "check_warmup",
        on("warmup_steps", "warmup_ratio"),
        "warmup_steps is {warmup_steps} and warmup_ratio is {warmup_ratio}: only one of them may be set. "
        "Remove the other.",
    ),
    Check(
        "AX201",
        "check_neftune",
        on("noisy_embedding_alpha", "neftune_noise_alpha"),
        "noisy_embedding_alpha is the old name of neftune_noise_alpha, and both are set. Remove the old one.",
        drop("noisy_embedding_alpha"),
    ),
    Check(
        "AX215",
        "validate_neftune_noise_alpha",
        given("neftune_noise_alpha") & numbers(lambda alpha: alpha <= 0, "neftune_noise_alpha"),
        "neftune_noise_alpha must be above 0; it is {neftune_noise_alpha}. Remove it to train without noise.",
        drop("neftune_noise_alpha"),
    ),
    Check(
        "AX201",
        "check_multipack_buffer_size",
        on("pretrain_multipack_buffer_size", "streaming_multipack_buffer_size"),
        "pretrain_multipack_buffer_size is the old name of streaming_multipack_buffer_size, and both are set. "
        "Remove the old one.",
        drop("pretrain_multipack_buffer_size"),
    ),
    Check(
        "AX202",
        "check_fp8_config",
        given("fp8_config") & off("fp8"),
        "fp8_config is set without `fp8: true`, which it needs.",
        put("fp8", True),
    ),
    Check(
        "AX201",
        "check_fp8_config",
        on("fp8_enable_fsdp_float8_all_gather")
        & given("fp8_config.recipe")
        & is_not("fp8_config.recipe", "tensorwise"),
        "fp8_enable_fsdp_float8_all_gather works with the fp8_config.recipe `tensorwise` only; it is "
        "{fp8_config.recipe}.",
        put("fp8_enable_fsdp_float8_all_gather", False),
    ),
    Check(
        "AX202",
        "check_fp8_config",
        on("fp8_enable_fsdp_float8_all_gather") & off("fsdp_config"),
        "fp8_enable_fsdp_float8_all_gather needs FSDP: give fsdp_config, or remove it.",
        drop("fp8_enable_fsdp_float8_all_gather"),
    ),
    Check(
        "AX211",
        "check_use_reentrant_mismatch",
        on("unfrozen_parameters") & is_(REENTRANT, True),
        "A partly frozen model (unfrozen_parameters) needs `use_reentrant: false` in gradient_checkpointing_kwargs.",
        put(REENTRANT, False),
    ),
    Check(
        "AX202",
        "check_activation_offloading_wo_gc",
        on("activation_offloading") & off("gradient_checkpointing"),
        "activation_offloading needs `gradient_checkpointing: true`.",
        put("gradient_checkpointing", True),
    ),
    Check(
        "AX202",
        "check_selective_checkpointing",
        SELECTIVE & off("gradient_checkpointing"),
        "selective_checkpointing needs `gradient_checkpointing: true`.",
        put("gradient_checkpointing", True),
    ),
    Check(
        "AX211",
        "check_selective_checkpointing",
        SELECTIVE & on("gradient_checkpointing", REENTRANT),
        "selective_checkpointing needs `use_reentrant: false` in gradient_checkpointing_kwargs.",
        put(REENTRANT, False),
    ),
    Check(
        "AX211",
        "check_selective_checkpointing",
        SELECTIVE
        & on("gradient_checkpointing", "activation_offloading")
        & is_not("activation_offloading", "hidden_states"),
        "selective_checkpointing works with `activation_offloading: hidden_states` or none; it is "
        "{activation_offloading}.",
        put("activation_offloading", "hidden_states"),
    ),
    Check(
        "AX211",
        "check_selective_checkpointing",
        SELECTIVE & on("gradient_checkpointing") & test(_saves_fused_matmul, "selective_checkpointing.save"),
        "selective_checkpointing.save names a matrix product that a fused LoRA kernel changes in place (the kernels "
        "switch themselves on with lora and qlora). Set lora_mlp_kernel, lora_qkv_kernel and lora_o_kernel to false, "
        "or save attention only.",
    ),
    Check(
        "AX211",
        "check_selective_checkpointing",
        SELECTIVE
        & on("gradient_checkpointing", "selective_checkpointing.save_matmul_min_k")
        & test(lambda view: any(kernel_on(view, flag) for flag in FUSED), *FUSED),
        "selective_checkpointing.save_matmul_min_k saves a product that a fused LoRA kernel changes in place (the "
        "kernels switch themselves on with lora and qlora). Set lora_mlp_kernel, lora_qkv_kernel and lora_o_kernel to "
        "false, or remove it.",
        drop("selective_checkpointing.save_matmul_min_k"),
        keys=("selective_checkpointing.save_matmul_min_k",),
    ),
    Check(
        "AX211",
        "check_selective_checkpointing",
        SELECTIVE & on("gradient_checkpointing") & test(_saves_fused_module, "selective_checkpointing.save_modules"),
        "selective_checkpointing.save_modules names a module that a fused kernel runs (LoRA's kernels switch "
        "themselves on), so that nothing of it would be saved. Set that kernel to false, or name another module.",
        keys=("selective_checkpointing.save_modules",),
    ),
    Check(
        "AX215",
        "normalize_save_modules",
        test(
            lambda view: any(
                isinstance(item, str) and not item.strip()
                for item in view.get("selective_checkpointing.save_modules") or ()
            ),
            "selective_checkpointing.save_modules",
        ),
        "selective_checkpointing.save_modules has an empty entry. Remove it.",
    ),
    Check(
        "AX211",
        "check_torch_compile_regional_with_gradient_checkpointing",
        on("torch_compile", "torch_compile_regional", "gradient_checkpointing"),
        "torch_compile_regional cannot be combined with gradient_checkpointing. Compile the whole model: remove "
        "torch_compile_regional.",
        drop("torch_compile_regional"),
        keys=("torch_compile_regional", "gradient_checkpointing"),
    ),
    Check(
        "AX211",
        "check_hidden_states_offloading",
        is_("activation_offloading", "hidden_states") & on(REENTRANT, "unfrozen_parameters"),
        "`activation_offloading: hidden_states` with a partly frozen model (unfrozen_parameters) needs "
        "`use_reentrant: false` in gradient_checkpointing_kwargs.",
        put(REENTRANT, False),
        keys=(REENTRANT, "unfrozen_parameters", "activation_offloading"),
    ),
    Check(
        "AX211",
        "check_mpt_checkpointing",
        names("base_model", "mpt") & on("gradient_checkpointing"),
        "gradient_checkpointing does not work with MPT models, and the base_model's name has `mpt` in it. "
        "Set `gradient_checkpointing: false`.",
        put("gradient_checkpointing", False),
        keys=("gradient_checkpointing", "base_model"),
    ),
    Check(
        "AX211",
        "check_better_transformers",
        is_("flash_optimum", True) & any_on("fp16", "bf16"),
        "flash_optimum does not work with mixed precision (bf16 is `auto` when it is not set). "
        "Set `bf16: false` and `fp16: false`, or remove flash_optimum.",
        drop("flash_optimum"),
    ),
    Check(
        "AX202",
        "check_torch_compile_options_requires_compile",
        given("torch_compile_options") & off("torch_compile"),
        "torch_compile_options is set and torch_compile is not. Set `torch_compile: true`.",
        put("torch_compile", True),
    ),
    Check(
        "AX215",
        "validate_torch_compile_options",
        test(_strange_inductor, "torch_compile_options"),
        f"torch_compile_options has a key that Axolotl does not hand on. It takes: {', '.join(INDUCTOR)}.",
    ),
    Check(
        "AX210",
        "check_muon_deepspeed_fsdp",
        is_("optimizer", "muon", "muon_8bit") & on("deepspeed"),
        "The optimizer {optimizer} does not work with DeepSpeed. Use FSDP, or another optimizer.",
    ),
    Check(
        "AX210",
        "check_polora",
        is_("optimizer", "polora") & is_not("adapter", "lora", "qlora"),
        "The optimizer polora updates LoRA's factors only: set `adapter: lora` or `adapter: qlora`.",
        put("adapter", "lora"),
    ),
    Check(
        "AX210",
        "check_polora",
        is_("optimizer", "polora")
        & is_("adapter", "lora", "qlora")
        & (on("deepspeed") | above("tensor_parallel_size", 1)),
        "The optimizer polora needs whole factors: it does not work with DeepSpeed or tensor parallelism.",
    ),
    Check(
        "AX210",
        "check_polora",
        is_("optimizer", "polora") & any_on(*POLORA_UNTRAINED),
        "The optimizer polora trains LoRA's factors only; what "
        f"{', '.join(POLORA_UNTRAINED[:-1])} or {POLORA_UNTRAINED[-1]} add would stay untrained. Remove it, or use "
        "another optimizer.",
    ),
    Check(
        "AX210",
        "check_polora",
        is_("optimizer", "polora") & any_on(*POLORA_RATES),
        f"The optimizer polora sets its own step sizes: {', '.join(POLORA_RATES)} have no effect with it. Remove them.",
    ),
    Check(
        "AX210",
        "check_polora",
        is_("optimizer", "polora") & on("relora_steps"),
        "The optimizer polora keeps its momentum through ReLoRA's restarts: relora_steps cannot be used with it.",
    ),
    Check(
        "AX302",
        "check_polora",
        is_("optimizer", "polora") & is_("adapter", "lora", "qlora") & on("weight_decay"),
        "weight_decay has no effect: the optimizer polora has none.",
        drop("weight_decay"),
    ),
    Check(
        "AX210",
        "check_qgalore",
        is_("optimizer", "q_galore_adamw8bit") & on("adapter"),
        "The optimizer q_galore_adamw8bit works on the whole model, not with `adapter: {adapter}`. Remove the adapter, "
        "or use another optimizer.",
    ),
    Check(
        "AX210",
        "check_qgalore",
        is_("optimizer", "q_galore_adamw8bit") & off("adapter") & on("deepspeed"),
        "The optimizer q_galore_adamw8bit does not work with DeepSpeed. Use FSDP, or another optimizer.",
    ),
    Check(
        "AX304",
        "check_qgalore",
        is_("optimizer", "q_galore_adamw8bit") & off("bf16", "bfloat16", "fp16"),
        "The optimizer q_galore_adamw8bit in full precision saves hardly any memory. Set `bf16: true`.",
        keys=("optimizer", "bf16"),
    ),
    Check(
        "AX210",
        "check_flashoptim_deepspeed_fsdp",
        starts("optimizer", "flash_") & on("deepspeed"),
        "The optimizer {optimizer} does not work with DeepSpeed. Use FSDP, or another optimizer.",
    ),
    Check(
        "AX212",
        "check_cross_entropy_conflicts",
        among(*LOSSES, more_than=1),
        f"Of {', '.join(LOSSES)} only one may be on. Keep one.",
    ),
    Check(
        "AX212",
        "check_custom_loss_conflicts",
        on("use_dft", "use_eaft"),
        "use_dft and use_eaft are two losses; only one may be on.",
    ),
    Check(
        "AX212",
        "check_custom_loss_conflicts",
        CUSTOM_LOSS
        & (
            any_on("rl", "reward_model", "process_reward_model", "cut_cross_entropy")
            | any_on("liger_fused_linear_cross_entropy", "chunked_cross_entropy")
            | above("context_parallel_size", 1)
            | (off("context_parallel_size") & above("sequence_parallel_degree", 1))
        ),
        "use_dft and use_eaft are losses of supervised fine-tuning that need the labels: they cannot be used with rl, "
        "reward models, fused or chunked cross entropy, or context parallelism. Remove one of the two.",
    ),
    Check(
        "AX303",
        "check_gradient_checkpointing_w_offload",
        is_("gradient_checkpointing", "offload"),
        "`gradient_checkpointing: offload` is read as `true` with `activation_offloading: true`. Write that.",
    ),
    Check(
        "AX303",
        "check_gradient_checkpointing_w_offload",
        is_("gradient_checkpointing", "offload_disk"),
        "`gradient_checkpointing: offload_disk` is read as `true` with `activation_offloading: disk`. Write that.",
    ),
    Check(
        "AX302",
        "check_adamw_optimizer_params",
        any_on("adam_beta1", "adam_beta2", "adam_epsilon")
        & test(lambda view: "adamw" not in str(view.get("optimizer") or "").lower(), "optimizer"),
        "adam_beta1, adam_beta2 and adam_epsilon are set, and the optimizer is {optimizer}, no AdamW.",
    ),
    Check(
        "AX303",
        "migrate_gc_steps",
        given("gc_steps") & absent("torch_empty_cache_steps") & absent("gc_collect_steps"),
        "gc_steps is read as torch_empty_cache_steps and gc_collect_steps. Write those.",
        told="FT016",
    ),
    Check(
        "AX302",
        "migrate_gc_steps",
        given("gc_steps") & (given("torch_empty_cache_steps") | given("gc_collect_steps")),
        "gc_steps has no effect beside torch_empty_cache_steps or gc_collect_steps. Remove it.",
        drop("gc_steps"),
        told="FT016",
    ),
    Check(
        "AX302",
        "default_dataset_num_proc",
        given("dataset_processes") & given("dataset_num_proc") & differ("dataset_processes", "dataset_num_proc"),
        "dataset_processes has no effect beside dataset_num_proc. Remove it.",
        drop("dataset_processes"),
        told="FT016",
    ),
    Check(
        "AX304",
        "check_cudagraphs_wo_static_shapes",
        on("sample_packing", "torch_compile_options")
        & test(
            lambda view: bool((view.get("torch_compile_options") or {}).get("triton.cudagraphs")),
            "torch_compile_options",
        ),
        "triton.cudagraphs needs rows of one length, and packed rows differ: it only costs time. Turn one of them off.",
    ),
    Check(
        "AX302",
        "check_fp32_norms",
        on("fp32_norm_classes") & off("fp32_norms"),
        "fp32_norm_classes has no effect without `fp32_norms: true`.",
    ),
    Check(
        "AX202",
        "check_fp32_norms",
        on("fp32_norms") & absent("fsdp_config"),
        "fp32_norms needs FSDP: give fsdp_config, or remove it.",
        drop("fp32_norms"),
    ),
    Check(
        "AX304",
        "check_fp8_config",
        on("fp8") & off("torch_compile"),
        "fp8 without `torch_compile: true` is hardly faster than bf16.",
        put("torch_compile", True),
    ),
)
