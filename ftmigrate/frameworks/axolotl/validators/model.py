"""Checks of adapters, quantization, attention, tokenizers and the output."""

from __future__ import annotations

import re

from ftmigrate.frameworks.axolotl.validators.training import kernels_by_themselves
from ftmigrate.frameworks.checks import (
    Check,
    Condition,
    View,
    above,
    absent,
    any_on,
    drop,
    given,
    is_,
    is_not,
    numbers,
    off,
    on,
    put,
    test,
)

ADAPTERS = "plugin adapters"
"""A key that no config has: the adapters that the active plugins bring."""
LORA = ("lora", "qlora")
BUILT_IN = (*LORA, "llama-adapter")
PLAIN_INIT = (None, True, False, "gaussian")
LEGACY_ATTENTION = {
    "xformers_attention": "xformers",
    "sage_attention": "sage",
    "flex_attention": "flex_attention",
    "flash_attention": "flash_attention_2",
    "sdp_attention": "sdpa",
    "eager_attention": "eager",
}
PACKING_ATTENTION = (
    *("flash_attention_2", "flash_attention_3", "flash_attention_4", "flash_attention_torch", "flex_attention"),
    *("xformers", "sage", "kernels-community/flash-attn2", "kernels-community/flash-attn3"),
    "kernels-community/sage-attention",
)
FLASH_LIBRARY = (
    *("flash_attention_2", "flash_attention_3"),
    *("kernels-community/flash-attn2", "kernels-community/flash-attn3"),
)
OWN_ATTENTION_PATCHES = ("nemotron", "diffusion")
"""In the names of models whose attention Axolotl itself provides, with LoRA kernels although their code is remote."""


def attention(view: View) -> str:
    """The attention backend without a revision or the name of a kernel."""
    return str(view.get("attn_implementation") or "").partition(":")[0].partition("@")[0].strip()


def _adapter_unknown(view: View) -> bool:
    adapter = view.get("adapter")
    known = (*BUILT_IN, *(view.get(ADAPTERS) or ()))
    return bool(adapter) and adapter not in known


def _no_relora(view: View) -> bool:
    return view.get("adapter") not in (*LORA, *(["mora"] if "mora" in (view.get(ADAPTERS) or ()) else ()))


def _odd_init(view: View) -> bool:
    return view.get("peft_init_lora_weights") not in PLAIN_INIT or bool(view.get("peft.loftq_config"))


def _bad_regex(view: View) -> bool:
    targets = view.get("lora_target_modules")
    for pattern in targets if isinstance(targets, list) else ():
        if isinstance(pattern, str):
            try:
                re.compile(pattern)
            except re.error:
                return True
    return False


def _blocksize(view: View) -> object:
    return (view.get("bnb_config_kwargs") or {}).get("blocksize", 64)


def _torchao_options(view: View) -> bool:
    given_options = view.get("bnb_config_kwargs") or {}
    return _blocksize(view) != 64 or not given_options.get("bnb_4bit_use_double_quant", True)


GGUF = frozenset(
    (
        *("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_0", "Q4_1"),
        *("Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "Q2_K_S", "IQ4_XS", "IQ4_NL", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS"),
        *("IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "TQ1_0", "TQ2_0", "MXFP4_MOE"),
    )
)


def _unknown_gguf(value: object) -> set[str]:
    items = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return {str(item).strip().upper() for item in items} - GGUF


def _untrained(view: View) -> set[object]:
    fixed, trained = view.get("fix_untrained_tokens"), view.get("peft_trainable_token_indices")
    if not fixed or not trained:
        return set()
    fixed = fixed if isinstance(fixed, list) else [fixed]
    if isinstance(trained, dict):
        known = {item for items in trained.values() if isinstance(items, list) for item in items}
    else:
        known = set(trained) if isinstance(trained, list) else {trained}
    return set(fixed) - known


MERGING = is_("adapter", "qlora") & on("merge_lora")
LOADING = is_("adapter", "qlora") & off("merge_lora")
STAGED = is_("nf4_backend", "torchao") | (
    on("qlora_sharded_model_loading", "load_in_4bit", "fsdp_config", "fsdp_config.cpu_ram_efficient_loading")
)
MISTRAL = on("tokenizer_use_mistral_common")


def _mistral(key: str) -> Check:
    return Check(
        "AX213",
        "check_mistral_common_incompatible_options",
        MISTRAL & on(key),
        f"{key} does not work with tokenizer_use_mistral_common: that tokenizer cannot be changed. Remove one of them.",
        keys=(key, "tokenizer_use_mistral_common"),
    )


def _staged(message: str, violated: Condition, *keys: str) -> Check:
    return Check("AX204", "check_staged_nf4", STAGED & violated, message, keys=keys)


def _ratios(key: str) -> Check:
    low, high = f"{key}.min_mask_ratio", f"{key}.max_mask_ratio"
    return Check(
        "AX215",
        "_validate_mask_ratios",
        numbers(lambda least, most: least > most, low, high),
        f"{low} {{{low}}} is above {high} {{{high}}}.",
    )


CHECKS = (
    Check(
        "AX204",
        "validate_adapter",
        off("adapter", "inference") & any_on("load_in_8bit", "load_in_4bit"),
        "load_in_8bit or load_in_4bit is set without an adapter: quantized weights cannot be trained. "
        "Set `adapter: qlora` (4 bit) or `adapter: lora` (8 bit), or remove it to train the whole model.",
        keys=("load_in_4bit", "load_in_8bit", "adapter"),
        told="FT129",
    ),
    Check(
        "AX205",
        "validate_adapter",
        test(_adapter_unknown, "adapter"),
        f"`adapter: {{adapter}}` is none of {', '.join(BUILT_IN)} (in small letters), and no listed plugin adds it. "
        "Write one of these, or list its plugin in plugins.",
    ),
    Check(
        "AX204",
        "validate_qlora",
        MERGING & any_on("load_in_8bit", "load_in_4bit", "gptq"),
        "With `merge_lora: true` a qlora model must be loaded whole. Set load_in_4bit, load_in_8bit and gptq to false.",
        keys=("load_in_4bit", "load_in_8bit", "gptq", "merge_lora"),
    ),
    Check(
        "AX204",
        "validate_qlora",
        LOADING & on("load_in_8bit"),
        "`adapter: qlora` works on 4 bit, not with load_in_8bit. Set `load_in_4bit: true` instead, or `adapter: lora`.",
        keys=("load_in_8bit", "adapter"),
    ),
    Check(
        "AX204",
        "validate_qlora",
        LOADING & on("gptq"),
        "`adapter: qlora` does not work with gptq. Use `adapter: lora`.",
        put("adapter", "lora"),
        keys=("gptq", "adapter"),
    ),
    Check(
        "AX204",
        "validate_qlora",
        LOADING & off("load_in_4bit"),
        "`adapter: qlora` needs `load_in_4bit: true`. Add it, or use `adapter: lora`.",
        put("load_in_4bit", True),
        keys=("adapter", "load_in_4bit"),
    ),
    Check(
        "AX205",
        "validate_lora_target_parameters_dropout",
        on("lora_target_parameters", "lora_dropout"),
        "lora_dropout must be 0 with lora_target_parameters; it is {lora_dropout}.",
        put("lora_dropout", 0),
        keys=("lora_dropout", "lora_target_parameters"),
    ),
    Check(
        "AX205",
        "validate_lora_target_parameters_init",
        on("lora_target_parameters") & test(_odd_init, "peft_init_lora_weights", "peft.loftq_config"),
        "With lora_target_parameters, peft_init_lora_weights must be left out or `gaussian`, and peft.loftq_config must "
        "not be set: the others read a weight that such parameters do not have.",
        drop("peft_init_lora_weights"),
        keys=("peft_init_lora_weights", "peft.loftq_config", "lora_target_parameters"),
    ),
    Check(
        "AX202",
        "validate_mixlora",
        is_("adapter", "mixlora") & (off("lora_r") | off("lora_alpha")),
        "`adapter: mixlora` needs lora_r and lora_alpha.",
    ),
    Check(
        "AX215",
        "validate_mixlora_top_k",
        numbers(lambda chosen, there: chosen > there, "mixlora_top_k", "mixlora_num_experts"),
        "mixlora_top_k {mixlora_top_k} is more than there are experts (mixlora_num_experts is {mixlora_num_experts}).",
    ),
    Check(
        "AX201",
        "check_lr_groups",
        on("lr_groups", "loraplus_lr_ratio"),
        "lr_groups and loraplus_lr_ratio both set learning rates of groups. Remove one of them.",
    ),
    Check(
        "AX201",
        "check_frozen",
        on("adapter", "peft_layers_to_transform", "unfrozen_parameters"),
        "unfrozen_parameters and peft_layers_to_transform both choose what is trained. Remove one of them.",
        keys=("unfrozen_parameters", "peft_layers_to_transform"),
    ),
    Check(
        "AX202",
        "check_peft_layers_pattern",
        on("peft_layers_pattern") & off("peft_layers_to_transform"),
        "peft_layers_pattern needs peft_layers_to_transform.",
    ),
    Check(
        "AX205",
        "check_fused_lora",
        is_("adapter", *LORA, "mixlora") & on("flash_attn_fuse_mlp"),
        "flash_attn_fuse_mlp does not work with `adapter: {adapter}`. Remove it.",
        drop("flash_attn_fuse_mlp"),
        keys=("flash_attn_fuse_mlp", "adapter"),
    ),
    Check(
        "AX205",
        "check_fused_lora",
        is_("adapter", "mixlora") & given("rl"),
        "`adapter: mixlora` does not work with rl. Use lora or qlora.",
        keys=("adapter", "rl"),
    ),
    Check(
        "AX205",
        "check_onebitllms_lora",
        on("use_onebitllms") & is_("adapter", *LORA),
        "use_onebitllms trains the whole model: it does not work with `adapter: {adapter}`. Remove one of them.",
    ),
    Check(
        "AX205",
        "check_lora_kernels_8bit",
        any_on("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel") & is_("adapter", "lora") & on("load_in_8bit"),
        "LoRA kernels (lora_mlp_kernel, lora_qkv_kernel, lora_o_kernel) do not work with load_in_8bit. "
        "Set them to false.",
    ),
    Check(
        "AX205",
        "check_lora_kernels_trust_remote_code",
        any_on("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel")
        & on("trust_remote_code")
        & absent("model_config_type")
        & ~test(lambda view: any(part in str(view.get("base_model")).lower() for part in OWN_ATTENTION_PATCHES)),
        "LoRA kernels (lora_mlp_kernel, lora_qkv_kernel, lora_o_kernel) do not work with trust_remote_code. "
        "Set them to false.",
    ),
    Check(
        "AX205",
        "check_lora_target_modules_regex",
        test(_bad_regex, "lora_target_modules"),
        "lora_target_modules has an entry that is no regular expression. Correct it: write a module's plain name, "
        "or a whole expression.",
    ),
    Check(
        "AX205",
        "check_lora_fp32_gradients",
        on("lora_fp32_gradients") & is_not("adapter", *LORA, "multilora"),
        "lora_fp32_gradients needs `adapter: lora` or `adapter: qlora`.",
        drop("lora_fp32_gradients"),
    ),
    Check(
        "AX205",
        "check_relora",
        on("relora") & off("jagged_restart_steps"),
        "relora needs jagged_restart_steps.",
    ),
    Check(
        "AX205",
        "check_relora",
        on("relora") & test(_no_relora, "adapter"),
        "relora needs `adapter: lora` or `adapter: qlora`.",
        keys=("relora", "adapter"),
    ),
    Check(
        "AX205",
        "check_relora",
        on("relora") & any_on("fsdp_config", "deepspeed"),
        "relora works neither with FSDP nor with DeepSpeed. Remove fsdp_config and deepspeed, or relora.",
    ),
    Check(
        "AX205",
        "check_relora",
        on("relora") & is_("lr_scheduler", "one_cycle"),
        "relora restarts the schedule: `lr_scheduler: one_cycle` does not work with it. Use cosine or linear.",
        keys=("lr_scheduler", "relora"),
    ),
    Check(
        "AX205",
        "check_relora",
        on("relora", "flash_attn_fuse_mlp"),
        "flash_attn_fuse_mlp does not work with relora. Remove it.",
        drop("flash_attn_fuse_mlp"),
    ),
    Check(
        "AX204",
        "check_quantize_moe_experts",
        on("quantize_moe_experts", "lora_target_linear"),
        "quantize_moe_experts does not work with lora_target_linear. Name the experts in lora_target_parameters.",
        drop("lora_target_linear"),
    ),
    Check(
        "AX204",
        "check_quantize_moe_experts",
        on("quantize_moe_experts") & (is_not("adapter", *LORA) | off("load_in_4bit", "load_in_8bit")),
        "quantize_moe_experts needs `adapter: lora` or `qlora` and load_in_4bit or load_in_8bit.",
    ),
    Check(
        "AX204",
        "check_qat_config",
        on("qat") & any_on("peft", "load_in_8bit", "load_in_4bit"),
        "qat trains the whole model for quantization: it does not work with peft, load_in_8bit or load_in_4bit.",
        keys=("qat", "peft", "load_in_8bit", "load_in_4bit"),
    ),
    Check(
        "AX204",
        "check_qat_config",
        is_("qat.weight_dtype", "ternary") & given("qat.activation_dtype") & is_not("qat.activation_dtype", "int8"),
        "With `qat.weight_dtype: ternary`, qat.activation_dtype must be int8; it is {qat.activation_dtype}.",
        put("qat.activation_dtype", "int8"),
        keys=("qat.activation_dtype", "qat.weight_dtype"),
    ),
    Check(
        "AX204",
        "check_model_quantization_config_vs_bnb",
        on("model_quantization_config") & any_on("load_in_8bit", "load_in_4bit"),
        "model_quantization_config and load_in_8bit or load_in_4bit are two ways to quantize. Remove one of them.",
    ),
    Check(
        "AX204",
        "check_gptq_w_revision",
        on("gptq", "revision_of_model"),
        "revision_of_model does not work with gptq. Download that revision and give its path as base_model.",
        drop("revision_of_model"),
    ),
    Check(
        "AX204",
        "check_bnb_blocksize",
        on("load_in_4bit")
        & is_not("nf4_backend", "torchao")
        & test(lambda view: _blocksize(view) != 64, "bnb_config_kwargs.blocksize"),
        "load_in_4bit always uses blocks of 64; bnb_config_kwargs.blocksize says otherwise. Remove it.",
        drop("bnb_config_kwargs.blocksize"),
        keys=("bnb_config_kwargs.blocksize",),
    ),
    _staged(
        "Loading 4-bit weights on the CPU first (nf4_backend: torchao, or qlora_sharded_model_loading) needs "
        "`adapter: qlora` and `load_in_4bit: true`.",
        off("load_in_4bit") | is_not("adapter", "qlora") | on("load_in_8bit"),
        *("nf4_backend", "qlora_sharded_model_loading", "adapter", "load_in_4bit"),
    ),
    _staged(
        "`nf4_backend: torchao` with fsdp_config needs fsdp_config.cpu_ram_efficient_loading, and "
        "qlora_sharded_model_loading not false.",
        on("fsdp_config") & ~on("fsdp_config.cpu_ram_efficient_loading", "qlora_sharded_model_loading"),
        *("nf4_backend", "fsdp_config.cpu_ram_efficient_loading", "qlora_sharded_model_loading", "fsdp_config"),
    ),
    _staged(
        "4-bit weights loaded on the CPU first work neither with DeepSpeed nor with tensor or context parallelism.",
        on("deepspeed") | above("tensor_parallel_size", 1) | above("context_parallel_size", 1),
        *("deepspeed", "tensor_parallel_size", "context_parallel_size"),
    ),
    _staged(
        "4-bit weights loaded on the CPU first need `dp_replicate_size: 1`; it is {dp_replicate_size}.",
        above("dp_replicate_size", 1),
        "dp_replicate_size",
    ),
    _staged(
        "4-bit weights loaded on the CPU first need `bnb_4bit_quant_type: nf4` in bnb_config_kwargs.",
        test(lambda view: (view.get("bnb_config_kwargs") or {}).get("bnb_4bit_quant_type", "nf4") != "nf4"),
        "bnb_config_kwargs.bnb_4bit_quant_type",
    ),
    _staged(
        "`nf4_backend: torchao` needs blocks of 64 and double quantization; bnb_config_kwargs says otherwise.",
        is_("nf4_backend", "torchao") & test(_torchao_options),
        "bnb_config_kwargs",
    ),
    _staged(
        "4-bit weights loaded on the CPU first work neither with peft_use_dora nor with lora_modules_to_save.",
        any_on("peft_use_dora", "lora_modules_to_save"),
        *("peft_use_dora", "lora_modules_to_save"),
    ),
    _staged(
        "4-bit weights loaded on the CPU first need peft_init_lora_weights left out or `gaussian`, and no "
        "peft.loftq_config: the others read weights that are not there yet.",
        test(_odd_init),
        *("peft_init_lora_weights", "peft.loftq_config"),
    ),
    Check(
        "AX202",
        "check_ple_cpu_offload",
        on("ple_cpu_offload") & (given("fsdp_config") | on("deepspeed")),
        "ple_cpu_offload works neither with FSDP nor with DeepSpeed, which place the weights themselves.",
        drop("ple_cpu_offload"),
    ),
    Check(
        "AX202",
        "check_ple_cpu_offload",
        on("ple_cpu_offload")
        & ~((is_("adapter", "qlora") & on("load_in_4bit")) | (is_("adapter", "lora") & on("load_in_8bit"))),
        "ple_cpu_offload needs `adapter: qlora` with load_in_4bit, or `adapter: lora` with load_in_8bit.",
    ),
    Check(
        "AX203",
        "check_scaling_softmax_requires_flex",
        on("scaling_softmax") & is_not("attn_implementation", "flex_attention"),
        "scaling_softmax needs `attn_implementation: flex_attention`.",
        put("attn_implementation", "flex_attention"),
        keys=("scaling_softmax", "attn_implementation"),
    ),
    Check(
        "AX203",
        "normalize_attn_implementation",
        on("gemma4_hybrid_attn_impl", "attn_implementation") & is_not("attn_implementation", "flash_attention_2"),
        "gemma4_hybrid_attn_impl needs `attn_implementation: flash_attention_2`; it is {attn_implementation}.",
        put("attn_implementation", "flash_attention_2"),
    ),
    Check(
        "AX203",
        "normalize_attn_implementation",
        on("attn_implementation") & any_on(*LEGACY_ATTENTION),
        f"attn_implementation and one of its old spellings ({', '.join(LEGACY_ATTENTION)}) are both set. "
        "Keep attn_implementation and remove the other.",
    ),
    Check(
        "AX203",
        "validate_attn_implementation",
        given("attn_implementation"),
        "attn_implementation is no backend that Axolotl knows.",
        told="schema",
    ),
    Check(
        "AX203",
        "validate_large_head_attention",
        given("large_head_attention"),
        "large_head_attention is none of auto, sdpa, triton_flash.",
        told="schema",
    ),
    Check(
        "AX203",
        "check_batch_flattening_fa",
        on("batch_flattening")
        & is_not("batch_flattening", "auto")
        & test(lambda view: attention(view) not in PACKING_ATTENTION and view.get("attn_implementation") != "varlen"),
        "batch_flattening needs attention over rows of different lengths: set `attn_implementation: "
        "flash_attention_2`, or `batch_flattening: auto`.",
        keys=("batch_flattening", "attn_implementation"),
    ),
    Check(
        "AX201",
        "check_batch_flattening_fa",
        on("batch_flattening", "sample_packing") & is_not("batch_flattening", "auto"),
        "batch_flattening and sample_packing are two ways to avoid padding. Remove one of them.",
    ),
    _mistral("added_tokens_overrides"),
    _mistral("special_tokens"),
    _mistral("tokens"),
    _mistral("chat_template"),
    _mistral("processor_kwargs"),
    Check(
        "AX213",
        "ChatTemplateValidationMixin.check_chat_template_config",
        is_("chat_template", "jinja") & off("chat_template_jinja"),
        "`chat_template: jinja` needs the template itself in chat_template_jinja.",
    ),
    Check(
        "AX213",
        "reject_reserved_processor_kwargs",
        test(
            lambda view: bool({"revision", "trust_remote_code"} & set(view.get("processor_kwargs") or ())),
            "processor_kwargs",
        ),
        "processor_kwargs must not have revision or trust_remote_code. Use revision_of_model and trust_remote_code "
        "at the top level.",
    ),
    Check(
        "AX215",
        "convert_image_resize_algorithm",
        given("image_resize_algorithm"),
        "image_resize_algorithm is none of bilinear, bicubic, lanczos.",
        told="schema",
    ),
    Check(
        "AX207",
        "validate_save_safetensors",
        is_("save_safetensors", False),
        "`save_safetensors: false` is not supported: models are always saved as safetensors. Remove it.",
        drop("save_safetensors"),
    ),
    Check(
        "AX215",
        "validate_quant_types",
        test(lambda view: bool(_unknown_gguf(view.get("export.quantize"))), "export.quantize"),
        "export.quantize has a type that GGUF does not know.",
    ),
    Check(
        "AX202",
        "validate_quantize",
        on("export.quantize") & is_("export.outtype", "q8_0", "tq1_0", "tq2_0"),
        "export.quantize needs export.outtype f16, bf16 or f32: it cannot start from {export.outtype}.",
        put("export.outtype", "f16"),
    ),
    Check(
        "AX202",
        "validate_quantize",
        on("export.quantize", "export.outfile")
        & test(lambda view: "{ftype}" not in str(view.get("export.outfile")), "export.outfile"),
        "export.outfile needs `{ftype}` in it when export.quantize is set, or all files would have one name.",
        keys=("export.outfile",),
    ),
    Check(
        "AX215",
        "QATConfig.validate_dtype",
        given("qat"),
        "qat.weight_dtype or qat.activation_dtype is no type that Axolotl takes.",
        told="schema",
    ),
    Check(
        "AX215",
        "PTQConfig.validate_dtype",
        given("quantization"),
        "quantization.weight_dtype or quantization.activation_dtype is no type that Axolotl takes.",
        told="schema",
    ),
    _ratios("diffusion"),
    _ratios("diffusion_lm"),
    Check(
        "AX215",
        "_eval_steps_within_k_max",
        numbers(lambda steps, most: steps > most, "diffusion_lm.unroll.eval_steps", "diffusion_lm.unroll.k_max"),
        "diffusion_lm.unroll.eval_steps {diffusion_lm.unroll.eval_steps} is above diffusion_lm.unroll.k_max "
        "{diffusion_lm.unroll.k_max}.",
    ),
    Check(
        "AX301",
        "check_sample_packing_without_attention",
        on("sample_packing")
        & (absent("diffusion_lm") | on("diffusion_lm.from_causal_lm"))
        & test(lambda view: attention(view) not in PACKING_ATTENTION)
        & is_not("attn_implementation", "sdpa", "eager"),
        "sample_packing puts several rows into one, and attention is not kept apart between them: a row attends to "
        "the others. Set `attn_implementation: flash_attention_2` (or sdpa, flex_attention).",
        put("attn_implementation", "flash_attention_2"),
        keys=("sample_packing", "attn_implementation"),
    ),
    Check(
        "AX302",
        "check_sdpa_varlen",
        on("sdpa_varlen") & off("sample_packing"),
        "sdpa_varlen has no effect without `sample_packing: true`.",
    ),
    Check(
        "AX304",
        "check_sageattn_wo_sample_packing",
        is_("attn_implementation", "sage") & off("sample_packing", "pad_to_sequence_len"),
        "With `attn_implementation: sage` and rows that are neither packed nor padded the loss has been seen to "
        "explode. Set `pad_to_sequence_len: true`.",
        put("pad_to_sequence_len", True),
    ),
    Check(
        "AX304",
        "check_sageattn_fft",
        is_("attn_implementation", "sage") & off("adapter"),
        "With `attn_implementation: sage` and no adapter the loss has been seen to fall to 0. Use another backend.",
    ),
    Check(
        "AX304",
        "check_fft_possible_bad_config",
        off("bf16", "bfloat16", "adapter")
        & any_on("fp16", "float16")
        & on("sample_packing")
        & test(lambda view: attention(view) not in FLASH_LIBRARY),
        "Training the whole packed model in fp16 without flash attention mostly ends in an error. Use bf16 or LoRA.",
        keys=("fp16", "float16", "sample_packing"),
    ),
    Check(
        "AX302",
        "check_batch_flattening_fa",
        on("batch_flattening") & is_not("batch_flattening", "auto") & is_("micro_batch_size", 1),
        "batch_flattening has no effect with `micro_batch_size: 1`.",
    ),
    Check(
        "AX304",
        "hint_sample_packing_padding",
        on("sample_packing") & is_("pad_to_sequence_len", False),
        "sample_packing with `pad_to_sequence_len: false` gives every batch another size: memory grows over the run.",
        put("pad_to_sequence_len", True),
    ),
    Check(
        "AX304",
        "hint_reward_model_pad",
        on("reward_model") & is_("pad_to_sequence_len", False),
        "A reward model wants `pad_to_sequence_len: true`.",
        put("pad_to_sequence_len", True),
    ),
    Check(
        "AX305",
        "check_tokenizer_use_mistral_common",
        absent("tokenizer_use_mistral_common")
        & test(
            lambda view: any(
                "magistral" in str(view.get(key) or "").lower()
                for key in ("base_model", "base_model_config", "tokenizer_config")
            ),
            "base_model",
            "base_model_config",
            "tokenizer_config",
        ),
        "For a Magistral model the mistral-common tokenizer is switched on. "
        "Say so: `tokenizer_use_mistral_common: true`.",
        put("tokenizer_use_mistral_common", True, safe=True),
    ),
    Check(
        "AX305",
        "check_auto_enable_lora_kernels",
        test(kernels_by_themselves, "adapter") & absent("model_config_type"),
        "Axolotl switches LoRA's Triton kernels on by itself, which need a GPU. Say what you want: set lora_mlp_kernel, "
        "lora_qkv_kernel, lora_o_kernel and lora_embedding_kernel.",
        told="AX002",
    ),
    Check(
        "AX304",
        "warn_peft_trainable_token_to_fix_untrained",
        test(lambda view: bool(_untrained(view)), "fix_untrained_tokens", "peft_trainable_token_indices"),
        "A token of fix_untrained_tokens is not in peft_trainable_token_indices and stays untrained. Add it there.",
    ),
    Check(
        "AX302",
        "check_staged_nf4",
        on("qlora_sharded_model_loading", "load_in_4bit")
        & is_not("nf4_backend", "torchao")
        & off("fsdp_config.cpu_ram_efficient_loading"),
        "qlora_sharded_model_loading has no effect without fsdp_config.cpu_ram_efficient_loading.",
        keys=("qlora_sharded_model_loading",),
    ),
)
