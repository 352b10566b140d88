"""Checks of preference training, reinforcement learning, and training on several GPUs."""

from __future__ import annotations

from ftmigrate.frameworks.checks import (
    Check,
    View,
    above,
    absent,
    any_on,
    below,
    drop,
    given,
    is_,
    is_not,
    names,
    numbers,
    off,
    on,
    put,
    test,
)

PREFERENCE = ("dpo", "kto", "orpo", "ipo")
STRIDED = is_("rl", "ebft") & is_("ebft.mode", "strided")
COLOCATED = on("trl.use_vllm") & is_("trl.vllm_mode", "colocate")
CONTEXT = above("context_parallel_size", 1)
DSA = on("use_glm_dsa_kernels")
DPO_LOSS = ("dpo_loss_type", "dpo_loss_weights")


def _lengths(view: View) -> bool:
    kinds, weights = view.get("dpo_loss_type"), view.get("dpo_loss_weights")
    return isinstance(kinds, list) and isinstance(weights, list) and len(kinds) != len(weights)


def _generations(view: View) -> bool:
    """The batch of one GPU without a number of generations that divides it; more GPUs may mend that."""
    count = view.get("trl.num_generations")
    batch = (view.get("micro_batch_size") or 1) * (view.get("gradient_accumulation_steps") or 1)
    return isinstance(count, int) and isinstance(batch, int) and count >= 2 and batch % count != 0


def _prefixed(view: View) -> bool:
    options = view.get("fsdp_config")
    return isinstance(options, dict) and any(str(key).startswith("fsdp_") and key != "fsdp_version" for key in options)


def _strided_size(view: View) -> bool:
    """The tokens of one strided step, as Axolotl counts them, with its defaults."""
    names = ("generate_max_len", "context_length", "stride", "n_samples_per_prompt")
    length = view.get("sequence_len") or 512
    made = [view.get(f"ebft.{name}") for name in names]
    made = [default if one is None else one for one, default in zip(made, (8, 8, 8, 4), strict=True)]
    if not all(isinstance(one, int) for one in (length, *made)) or made[2] <= 0:
        return False
    answer, context, stride, samples = made
    blocks = (length - answer - context) // stride + 1
    return bool((length + blocks * answer) * samples > 20_000)


CHECKS = (
    Check(
        "AX306",
        "check_fsdp_config_kwargs_prefix",
        test(_prefixed, "fsdp_config"),
        "Keys inside of fsdp_config no longer begin with `fsdp_`. Write them without it, such as `offload_params` for "
        "`fsdp_offload_params`.",
    ),
    Check(
        "AX304",
        "check_ebft_strided_sequence_len",
        STRIDED & test(_strided_size, "sequence_len", "ebft.n_samples_per_prompt"),
        "A strided step makes more than 20000 tokens of sequence_len {sequence_len} and ebft's settings, too many for most "
        "GPUs. Take a smaller sequence_len or n_samples_per_prompt, or a larger stride.",
        keys=("sequence_len", "ebft.n_samples_per_prompt"),
    ),
    Check(
        "AX208",
        "check_sample_packing_w_rl",
        on("sample_packing", "rl"),
        "sample_packing does not work with `rl: {rl}`. Set `sample_packing: false`.",
        put("sample_packing", False),
        told="AX016",
    ),
    Check(
        "AX208",
        "check_kto_config",
        is_("rl", "kto") & any_on("sample_packing", "eval_sample_packing"),
        "Packing does not work with `rl: kto`. Set sample_packing and eval_sample_packing to false.",
        keys=("sample_packing", "eval_sample_packing", "rl"),
    ),
    Check(
        "AX208",
        "check_kto_config",
        is_("rl", "kto") & is_not("remove_unused_columns", False),
        "`rl: kto` needs `remove_unused_columns: false`, or the columns it reads are gone. Add it.",
        put("remove_unused_columns", False),
    ),
    Check(
        "AX208",
        "check_grpo_liger_context_parallel",
        is_("rl", "grpo") & on("trl.use_liger_loss") & CONTEXT,
        "`rl: grpo` with trl.use_liger_loss does not work with context parallelism. Remove one of them.",
        keys=("trl.use_liger_loss", "context_parallel_size"),
    ),
    Check(
        "AX208",
        "check_gdpo",
        is_("rl", "gdpo") & is_("trl.multi_objective_aggregation", "sum_then_normalize"),
        "`trl.multi_objective_aggregation: sum_then_normalize` makes GRPO of `rl: gdpo`. Remove it, or use `rl: grpo`.",
        drop("trl.multi_objective_aggregation"),
    ),
    Check(
        "AX202",
        "check_dpo",
        is_("rl", "dpo") & given("dpo_loss_weights") & absent("dpo_loss_type"),
        "dpo_loss_weights needs dpo_loss_type.",
    ),
    Check(
        "AX208",
        "check_dpo",
        is_("rl", "dpo") & test(_lengths, *DPO_LOSS),
        "dpo_loss_type and dpo_loss_weights must be equally long.",
    ),
    Check(
        "AX208",
        "check_dpo",
        is_not("rl", "dpo") & (given("dpo_loss_type") | given("dpo_loss_weights")),
        "dpo_loss_type and dpo_loss_weights belong to `rl: dpo`; rl is {rl}. Remove them.",
        keys=DPO_LOSS,
    ),
    Check(
        "AX303",
        "check_dpo",
        is_("rl", "ipo"),
        "`rl: ipo` is going away. Write `rl: dpo` with `dpo_loss_type: [ipo]`.",
    ),
    Check(
        "AX208",
        "check_grpo_batch_size_divisibility",
        is_("rl", "grpo") & below("trl.num_generations", 2),
        "trl.num_generations must be at least 2: with one answer a prompt there is nothing to compare.",
    ),
    Check(
        "AX208",
        "check_grpo_batch_size_divisibility",
        is_("rl", "grpo")
        & numbers(
            lambda size, count: count >= 2 and size % count != 0, "trl.generation_batch_size", "trl.num_generations"
        ),
        "trl.generation_batch_size {trl.generation_batch_size} is no multiple of trl.num_generations "
        "{trl.num_generations}.",
    ),
    Check(
        "AX304",
        "check_grpo_batch_size_divisibility",
        is_("rl", "grpo")
        & absent("trl.generation_batch_size")
        & test(_generations, "trl.num_generations", "micro_batch_size", "gradient_accumulation_steps"),
        "micro_batch_size times gradient_accumulation_steps times the number of GPUs must be a multiple of "
        "trl.num_generations {trl.num_generations}: on one GPU it is not, and Axolotl does not start.",
    ),
    Check(
        "AX208",
        "check_beta_and_trl_beta_match",
        numbers(lambda one, other: bool(one and other and one != other), "beta", "trl.beta"),
        "beta is {beta} and trl.beta is {trl.beta}: they must be equal, or one of them removed.",
    ),
    Check(
        "AX208",
        "check_simpo_warmup",
        is_("rl", "simpo") & on("warmup_ratio"),
        "warmup_ratio does not work with `rl: simpo`. Use warmup_steps.",
        keys=("warmup_ratio", "rl"),
    ),
    Check(
        "AX202",
        "check_ebft_config_required",
        is_("rl", "ebft") & off("ebft"),
        "`rl: ebft` needs a mapping ebft, with at least its mode.",
    ),
    Check(
        "AX208",
        "check_ebft_torch_compile",
        STRIDED & is_("torch_compile", True) & on("gradient_checkpointing"),
        "`ebft.mode: strided` with torch_compile and gradient_checkpointing fails in the backward pass. "
        "Remove torch_compile.",
        drop("torch_compile"),
        keys=("torch_compile", "gradient_checkpointing", "ebft.mode"),
    ),
    Check(
        "AX208",
        "check_ebft_activation_offloading",
        STRIDED & is_("activation_offloading", True) & is_("attn_implementation", "flex_attention"),
        "`ebft.mode: strided` with flex_attention does not work with activation_offloading. Remove it.",
        drop("activation_offloading"),
        keys=("activation_offloading", "attn_implementation", "ebft.mode"),
    ),
    Check(
        "AX304",
        "check_ebft_torch_compile",
        STRIDED & is_("torch_compile", True) & off("gradient_checkpointing"),
        "`ebft.mode: strided` compiles anew at every length. Remove torch_compile.",
        drop("torch_compile"),
        keys=("torch_compile", "ebft.mode"),
    ),
    Check(
        "AX305",
        "check_ebft_gradient_checkpointing_reentrant",
        STRIDED
        & is_("attn_implementation", "flex_attention")
        & on("gradient_checkpointing")
        & off("gradient_checkpointing_kwargs.use_reentrant"),
        "`ebft.mode: strided` with flex_attention is run with `use_reentrant: true`. Say so in "
        "gradient_checkpointing_kwargs.",
        put("gradient_checkpointing_kwargs.use_reentrant", True),
        keys=("gradient_checkpointing_kwargs.use_reentrant", "gradient_checkpointing"),
    ),
    Check(
        "AX208",
        "check_vllm_colocate_compat",
        COLOCATED & CONTEXT,
        "`trl.vllm_mode: colocate` does not work with context parallelism. Use `vllm_mode: server`.",
        put("trl.vllm_mode", "server"),
        keys=("trl.vllm_mode", "context_parallel_size"),
    ),
    Check(
        "AX208",
        "check_vllm_colocate_compat",
        COLOCATED & on("trl.vllm_lora_sync"),
        "trl.vllm_lora_sync needs `trl.vllm_mode: server`. Remove it: weights are merged where vLLM is colocated.",
        drop("trl.vllm_lora_sync"),
        keys=("trl.vllm_lora_sync", "trl.vllm_mode"),
    ),
    Check(
        "AX208",
        "check_vllm_colocate_compat",
        COLOCATED & any_on("trl.async_prefetch", "trl.use_data_producer") & on("adapter"),
        "trl.async_prefetch and trl.use_data_producer with an adapter need `trl.vllm_mode: server`.",
        put("trl.vllm_mode", "server"),
        keys=("trl.async_prefetch", "trl.use_data_producer", "trl.vllm_mode"),
    ),
    Check(
        "AX304",
        "check_vllm_colocate_compat",
        COLOCATED & off("vllm.max_model_len"),
        "vLLM on the training GPU reserves memory for the model's whole context. Set vllm.max_model_len.",
        keys=("trl.vllm_mode",),
    ),
    Check(
        "AX305",
        "check_vllm_mode_set",
        on("trl.use_vllm") & off("trl.vllm_mode"),
        "trl.use_vllm without trl.vllm_mode looks for a vLLM server. Say so: `vllm_mode: server`.",
        put("trl.vllm_mode", "server", safe=True),
        keys=("trl.use_vllm",),
    ),
    Check(
        "AX201",
        "check_mem_mismatch",
        given("max_memory") & given("gpu_memory_limit"),
        "max_memory and gpu_memory_limit both limit memory. Remove one of them.",
    ),
    Check(
        "AX201",
        "check_fsdp_deepspeed",
        on("deepspeed", "fsdp_config"),
        "deepspeed and fsdp_config are two ways to share a model among GPUs. Remove one of them.",
    ),
    Check(
        "AX209",
        "check_fsdp_version",
        any_on("fsdp", "fsdp_version", "fsdp_config"),
        "FSDP1 is gone: use fsdp_config with the options of version 2.",
        told="schema",
    ),
    Check(
        "AX202",
        "check_fsdp2_cpu_offload_pin_memory",
        is_("fsdp_config.cpu_offload_pin_memory", False) & off("fsdp_config.offload_params"),
        "`fsdp_config.cpu_offload_pin_memory: false` needs `fsdp_config.offload_params: true`.",
        drop("fsdp_config.cpu_offload_pin_memory"),
    ),
    Check(
        "AX209",
        "check_fsdp2_base_model_quant_rl",
        on("fsdp_config") & is_("rl", *PREFERENCE) & any_on("load_in_8bit", "load_in_4bit"),
        "FSDP with load_in_8bit or load_in_4bit does not work with `rl: {rl}`. Use DeepSpeed.",
        keys=("fsdp_config", "load_in_8bit", "load_in_4bit", "rl"),
    ),
    Check(
        "AX209",
        "check_fsdp2_w_8bit_optimizer",
        on("fsdp_config") & is_("optimizer", "adamw_8bit", "adamw_bnb_8bit"),
        "The optimizer {optimizer} does not work with FSDP. Use `optimizer: adamw_torch_8bit`.",
        put("optimizer", "adamw_torch_8bit"),
        keys=("optimizer", "fsdp_config"),
    ),
    Check(
        "AX209",
        "check_fsdp2_cpu_ram_efficient_loading_w_4bit",
        on("fsdp_config", "fsdp_config.cpu_ram_efficient_loading", "load_in_4bit")
        & (
            is_("qlora_sharded_model_loading", False)
            | (absent("qlora_sharded_model_loading") & is_not("adapter", "qlora"))
        ),
        "fsdp_config.cpu_ram_efficient_loading with load_in_4bit needs `qlora_sharded_model_loading: true`.",
        put("qlora_sharded_model_loading", True),
        keys=("fsdp_config.cpu_ram_efficient_loading", "load_in_4bit", "qlora_sharded_model_loading"),
    ),
    Check(
        "AX202",
        "validate_size_based_wrap",
        is_("fsdp_config.auto_wrap_policy", "SIZE_BASED_WRAP") & absent("fsdp_config.min_num_params"),
        "`fsdp_config.auto_wrap_policy: SIZE_BASED_WRAP` needs fsdp_config.min_num_params.",
    ),
    Check(
        "AX209",
        "check_falcon_fsdp",
        names("base_model", "falcon") & on("fsdp_config"),
        "FSDP does not work with Falcon models, and the base_model's name has `falcon` in it.",
        keys=("fsdp_config", "base_model"),
    ),
    Check(
        "AX209",
        "check_gpt_oss_fsdp_loading",
        is_("model_quantization_config", "Mxfp4Config") & is_("fsdp_config.cpu_ram_efficient_loading", True),
        "fsdp_config.cpu_ram_efficient_loading does not work with `model_quantization_config: Mxfp4Config`.",
        put("fsdp_config.cpu_ram_efficient_loading", False),
        keys=("fsdp_config.cpu_ram_efficient_loading", "model_quantization_config"),
    ),
    Check(
        "AX202",
        "check_deepcompile",
        on("deepcompile") & off("deepspeed"),
        "deepcompile needs deepspeed.",
        drop("deepcompile"),
    ),
    Check(
        "AX209",
        "check_tensor_parallel_optimizer",
        above("tensor_parallel_size", 1) & is_("optimizer", "paged_adamw_8bit", "adamw_8bit", "adamw_bnb_8bit"),
        "The optimizer {optimizer} does not work with tensor parallelism. Use adamw_torch_8bit or adamw_torch_fused.",
        put("optimizer", "adamw_torch_8bit"),
        keys=("optimizer", "tensor_parallel_size"),
    ),
    Check(
        "AX209",
        "check_tensor_parallel_expert_parallel",
        above("tensor_parallel_size", 1) & above("expert_parallel_size", 1),
        "tensor_parallel_size and expert_parallel_size cannot both be above 1. Share the rest with dp_shard_size.",
    ),
    Check(
        "AX209",
        "check_context_parallel_size",
        CONTEXT & any_on("sample_packing", "batch_flattening") & DSA,
        "Context parallelism with use_glm_dsa_kernels takes no packed rows. Turn off sample_packing and "
        "batch_flattening.",
        keys=("context_parallel_size", "sample_packing", "batch_flattening"),
    ),
    Check(
        "AX209",
        "check_context_parallel_size",
        CONTEXT & is_("attn_implementation", "eager") & ~DSA,
        "Context parallelism does not work with `attn_implementation: eager`. Use sdpa, flash_attention_2 or "
        "flex_attention.",
        put("attn_implementation", "flash_attention_2"),
        keys=("attn_implementation", "context_parallel_size"),
    ),
    Check(
        "AX209",
        "check_context_parallel_deepspeed",
        on("deepspeed") & CONTEXT & (DSA | on("rl")),
        "Context parallelism under DeepSpeed works neither with rl nor with use_glm_dsa_kernels. Use FSDP.",
        keys=("deepspeed", "context_parallel_size", "rl"),
    ),
    Check(
        "AX209",
        "check_context_parallel_deepspeed",
        on("deepspeed")
        & CONTEXT
        & (
            (given("context_parallel.backend") & is_not("context_parallel.backend", "auto", "ulysses"))
            | (given("context_parallel.ring_size") & is_not("context_parallel.ring_size", 1))
            | (
                given("context_parallel.ulysses_size")
                & numbers(lambda a, b: a != b, "context_parallel.ulysses_size", "context_parallel_size")
            )
        ),
        "Under DeepSpeed, context_parallel must be `backend: ulysses` over all GPUs of the group, without a ring.",
        keys=("context_parallel", "deepspeed"),
    ),
    Check(
        "AX303",
        "check_context_parallel_size",
        on("sequence_parallel_degree"),
        "sequence_parallel_degree is the old name of context_parallel_size.",
        told="FT016",
    ),
    Check(
        "AX302",
        "validate_ring_attn_func",
        given("ring_attn_func") | given("heads_k_stride"),
        "ring_attn_func and heads_k_stride have no effect any more. Remove them.",
        told="FT016",
    ),
    Check(
        "AX305",
        "check_tensor_parallel_cpu_ram_efficient_loading",
        above("tensor_parallel_size", 1)
        & on("fsdp_config.cpu_ram_efficient_loading")
        & is_not("nf4_backend", "torchao")
        & ~on("qlora_sharded_model_loading", "load_in_4bit"),
        "fsdp_config.cpu_ram_efficient_loading is switched off with tensor parallelism. Set it to false.",
        put("fsdp_config.cpu_ram_efficient_loading", False),
        keys=("fsdp_config.cpu_ram_efficient_loading",),
    ),
    Check(
        "AX304",
        "warn_qlora_zero3_w_use_reentrant",
        is_("adapter", "qlora")
        & is_("gradient_checkpointing_kwargs.use_reentrant", False)
        & names("deepspeed", "zero3"),
        "qlora under ZeRO-3 with `use_reentrant: false` may end in a checkpointing error. Set it to true.",
        put("gradient_checkpointing_kwargs.use_reentrant", True),
    ),
    Check(
        "AX209",
        "check_torch_expert_parallel_checkpointing",
        above("expert_parallel_size", 1)
        & is_("expert_parallel_backend", "torch")
        & on("gradient_checkpointing", "gradient_checkpointing_kwargs.use_reentrant"),
        "`expert_parallel_backend: torch` with gradient_checkpointing needs `use_reentrant: false`.",
        put("gradient_checkpointing_kwargs.use_reentrant", False),
        keys=("gradient_checkpointing_kwargs.use_reentrant", "expert_parallel_backend"),
    ),
    Check(
        "AX209",
        "check_torch_expert_parallel_checkpointing",
        above("expert_parallel_size", 1)
        & is_("expert_parallel_backend", "torch")
        & on("gradient_checkpointing")
        & is_("activation_offloading", True, "legacy", "disk"),
        "`expert_parallel_backend: torch` works with `activation_offloading: hidden_states` or none; it is "
        "{activation_offloading}.",
        put("activation_offloading", "hidden_states"),
        keys=("activation_offloading", "expert_parallel_backend"),
    ),
    Check(
        "AX209",
        "check_expert_parallel_dispatch_chunks",
        above("expert_parallel_dispatch_chunks", 1) & is_("expert_parallel_backend", "deep_ep"),
        "expert_parallel_dispatch_chunks above 1 needs `expert_parallel_backend: torch`.",
        put("expert_parallel_backend", "torch"),
    ),
    Check(
        "AX209",
        "ExpertParallelArgs._validate",
        below("expert_parallel_size", 1) | below("expert_parallel_token_capacity", 1),
        "expert_parallel_size must be at least 1, and expert_parallel_token_capacity too where it is set.",
    ),
    Check(
        "AX202",
        "_validate_topology",
        above("expert_parallel_size", 1) & off("fsdp_config"),
        "expert_parallel_size above 1 needs FSDP: give fsdp_config.",
        keys=("expert_parallel_size", "fsdp_config"),
    ),
    Check(
        "AX209",
        "_validate_topology",
        above("expert_parallel_size", 1)
        & on("fsdp_config")
        & (
            is_not("fsdp_config.state_dict_type", "FULL_STATE_DICT")
            | (
                given("fsdp_config.final_state_dict_type")
                & is_not("fsdp_config.final_state_dict_type", "FULL_STATE_DICT")
            )
        ),
        "expert_parallel_size above 1 needs `fsdp_config.state_dict_type: FULL_STATE_DICT` (and no other "
        "final_state_dict_type), or most experts are missing in the checkpoint.",
        put("fsdp_config.state_dict_type", "FULL_STATE_DICT"),
        keys=("fsdp_config.state_dict_type", "fsdp_config.final_state_dict_type", "expert_parallel_size"),
    ),
    Check(
        "AX209",
        "_validate_topology",
        above("expert_parallel_size", 1) & is_("optimizer", "adamw_torch_4bit", "ao_adamw_4bit", "ao_adamw_fp8"),
        "The optimizer {optimizer} does not work with expert parallelism. Use adamw_torch_8bit.",
        put("optimizer", "adamw_torch_8bit"),
        keys=("optimizer", "expert_parallel_size"),
    ),
    Check(
        "AX201",
        "sync_context_parallel_size",
        test(
            lambda view: (
                (size := view.get("context_parallel.size")) is not None
                and (flat := _flat(view)) is not None
                and size != flat
            ),
            "context_parallel.size",
            "context_parallel_size",
            "sequence_parallel_degree",
        ),
        "context_parallel.size is {context_parallel.size} and context_parallel_size says otherwise. Set one of them.",
    ),
    Check(
        "AX209",
        "ContextParallelConfig._validate",
        test(
            lambda view: isinstance(view.get("context_parallel"), dict) and not _fits(view),
            "context_parallel",
        ),
        "context_parallel does not add up: ulysses_size and ring_size must divide size, their product must be size, "
        "`backend: ulysses` takes no ring and `backend: ring` no ulysses_size.",
    ),
)


def _flat(view: View) -> object:
    flat = view.get("context_parallel_size")
    return view.get("sequence_parallel_degree") if flat is None else flat


def _fits(view: View) -> bool:
    size = view.get("context_parallel.size")
    ulysses, ring = view.get("context_parallel.ulysses_size"), view.get("context_parallel.ring_size")
    backend = view.get("context_parallel.backend")
    if not isinstance(size, int) or any(part and size % part for part in (ulysses, ring)):
        return False
    if backend == "ulysses" and (ring not in (None, 1) or ulysses not in (None, size)):
        return False
    if backend == "ring" and (ulysses not in (None, 1) or ring not in (None, size)):
        return False
    return not (ulysses and ring) or bool(ulysses * ring == size)
