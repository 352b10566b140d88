"""Checks that plugins bring; each applies where its plugin is active."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

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
    off,
    on,
    put,
    test,
)

EXPERTS = ("scattermoe", "sonicmoe", "eager", "builtin")
GROUPED = ("auto", "marlin", "cutlass", "deepgemm")
NONEXPERT = ("none", "bf16", "fp8", "fp8_blockwise", "nf4", "nvfp4")
COMPOSITES = re.compile(r"(?:deep_ep|torch_ep)_(scattermoe|sonicmoe)")
SWANLAB = ("cloud", "local", "offline", "disabled")
DECISION = "diffusion_decision"


def _lower(key: str, *values: str) -> Condition:
    """The key is set and its text is none of the values, in any letter case."""
    return given(key) & test(lambda view: str(view.get(key)).lower() not in values, key)


def backend(view: View) -> str | None:
    """The experts' kernel that a config asks for by expert_backend, or by an old composite name."""
    value = view.get("expert_backend")
    if value is not None:
        return str(value).lower()
    match = COMPOSITES.fullmatch(str(view.get("experts_implementation")))
    return match.group(1) if match and not (view.get("use_scattermoe") or view.get("use_sonicmoe")) else None


def _scatter(view: View) -> bool:
    return bool(view.get("use_scattermoe")) or backend(view) == "scattermoe"


def _sonic(view: View) -> bool:
    return bool(view.get("use_sonicmoe")) or backend(view) == "sonicmoe"


def _contradicts(view: View) -> bool:
    chosen = view.get("expert_backend")
    if chosen is None or str(chosen).lower() not in EXPERTS:
        return False
    name = str(chosen).lower()
    return (view.get("use_scattermoe") is True and name != "scattermoe") or (
        view.get("use_sonicmoe") is True and name != "sonicmoe"
    )


def _bad_start(view: View) -> bool:
    start = view.get("nvfp4_merge_aware_start_step")
    if start is None or view.get("nvfp4_merge_aware") is False:
        return False
    if view.get("nvfp4_merge_aware") and view.get("adapter") not in ("lora", "multilora"):
        return False
    if isinstance(start, bool):
        return True
    return (isinstance(start, float) and not 0 < start < 1) or (isinstance(start, int) and start < 0)


def _bad_chunk(view: View) -> bool:
    value = view.get("moe_dequant_chunk_size")
    if value is None:
        return False
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        return True
    try:
        return int(value) <= 0
    except (TypeError, ValueError):
        return True


def _bad_gradient_chunk(view: View) -> bool:
    chunk = view.get("cut_cross_entropy_c_grad_chunk_size")
    return isinstance(chunk, int) and chunk != 0 and (chunk < 0 or chunk % 128 != 0)


def _finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _mapping(view: View, key: str) -> Mapping[str, Any]:
    value = view.get(f"{DECISION}.{key}" if key else DECISION)
    return value if isinstance(value, Mapping) else {}


def _bad_mixture(view: View) -> bool:
    mixture = _mapping(view, "mixture")
    weights, temperature = mixture.get("weights"), mixture.get("temperature")
    caps = mixture.get("max_examples_per_source")
    if weights is not None and temperature is not None:
        return True
    if not _finite(temperature):
        return True
    for shares in (weights, mixture.get("loss_weight")):
        if isinstance(shares, Mapping) and any(
            not name or (isinstance(share, int | float) and (not math.isfinite(share) or share <= 0))
            for name, share in shares.items()
        ):
            return True
    each = caps.items() if isinstance(caps, Mapping) else [("all", caps)] if caps is not None else []
    if any(not name or not isinstance(cap, int) or isinstance(cap, bool) or cap < 1 for name, cap in each):
        return True
    return bool(mixture.get("premixed")) and (
        weights is not None
        or temperature is not None
        or caps is not None
        or mixture.get("per_batch_stratified", True) is not False
    )


def _bad_labels(view: View) -> bool:
    labels = _mapping(view, "labels")
    if not _finite(labels.get("brier_weight")):
        return True
    return bool(labels.get("hard_label_smoothing")) and labels.get("full_ce_weighting") == "dft"


def _bad_slots(view: View) -> bool:
    latent = _mapping(view, "latent")
    mode, count, tokens = latent.get("mode", "none"), latent.get("num_slots", 0), latent.get("token_ids") or []
    sampled, policy = latent.get("sample_num_slots"), latent.get("free_update_policy")
    return (
        any(isinstance(token, int) and token < 0 for token in tokens)
        or (mode == "none" and bool(count or tokens or sampled))
        or (bool(sampled) and count < 1)
        or (mode == "free") != (policy == "argmax")
    )


def _bad_read(view: View) -> bool:
    decision = _mapping(view, "")
    share, size = decision.get("read_fraction", 1.0), decision.get("max_image_size", 1400)
    return (
        not (isinstance(share, int | float) and math.isfinite(share) and 0 <= share <= 1)
        or (isinstance(size, int) and size % 28 != 0)
        or any(isinstance(token, int) and token < 0 for token in decision.get("canvas_prefix_ids") or ())
    )


CHECKS = (
    Check(
        "AX214",
        "check_dtype_is_half",
        on("cut_cross_entropy") & off("bf16", "fp16"),
        "cut_cross_entropy needs `bf16: true` (or auto) or `fp16: true`, written in the config.",
        put("bf16", "auto"),
    ),
    Check(
        "AX214",
        "check_chunked_cross_entropy_not_set",
        on("chunked_cross_entropy"),
        "chunked_cross_entropy does not work beside the plugin CutCrossEntropyPlugin. Remove one of them.",
        drop("chunked_cross_entropy"),
    ),
    Check(
        "AX214",
        "check_c_grad_chunk_size",
        test(_bad_gradient_chunk, "cut_cross_entropy_c_grad_chunk_size")
        | (on("cut_cross_entropy_c_grad_chunk_size") & off("cut_cross_entropy_accum_c_fp32")),
        "cut_cross_entropy_c_grad_chunk_size must be auto or a multiple of 128, and needs "
        "`cut_cross_entropy_accum_c_fp32: true`.",
    ),
    Check(
        "AX201",
        "check_deprecated_swiglu",
        given("liger_swiglu") & given("liger_glu_activation"),
        "liger_swiglu is the old name of liger_glu_activation, and both are set. Remove the old one.",
        drop("liger_swiglu"),
    ),
    Check(
        "AX214",
        "check_tiled_mlp_conflict",
        is_("liger_glu_activation", True) & is_("tiled_mlp", True) & off("tiled_mlp_use_original_mlp"),
        "liger_glu_activation and tiled_mlp replace the same layer. Set `tiled_mlp_use_original_mlp: true`, "
        "or remove one of them.",
        put("tiled_mlp_use_original_mlp", True),
        keys=("tiled_mlp", "liger_glu_activation"),
    ),
    Check(
        "AX214",
        "check_liger_rms_norm_tensor_parallel",
        on("liger_rms_norm") & above("tensor_parallel_size", 1),
        "liger_rms_norm does not work with tensor parallelism. Set it to false.",
        put("liger_rms_norm", False),
    ),
    Check(
        "AX202",
        "check_liger_use_token_scaling_flce",
        on("liger_use_token_scaling") & off("liger_fused_linear_cross_entropy"),
        "liger_use_token_scaling needs `liger_fused_linear_cross_entropy: true`.",
        put("liger_fused_linear_cross_entropy", True),
    ),
    Check(
        "AX214",
        "check_tensor_parallel_size_liger_fused_linear_cross_entropy",
        above("tensor_parallel_size", 1) & on("liger_fused_linear_cross_entropy"),
        "liger_fused_linear_cross_entropy does not work with tensor parallelism. Set it to false.",
        put("liger_fused_linear_cross_entropy", False),
        keys=("liger_fused_linear_cross_entropy", "tensor_parallel_size"),
    ),
    Check(
        "AX202",
        "check_nemo_gym_config",
        on("nemo_gym_enabled")
        & off("nemo_gym_config_paths")
        & ~(given("nemo_gym_auto_start") & off("nemo_gym_auto_start")),
        "nemo_gym_enabled needs nemo_gym_config_paths, unless `nemo_gym_auto_start: false`.",
    ),
    Check(
        "AX202",
        "check_nemo_gym_config",
        on("nemo_gym_enabled") & off("nemo_gym_datasets"),
        "nemo_gym_enabled needs nemo_gym_datasets: a list of data sets, each with path and server_name.",
    ),
    Check(
        "AX215",
        "validate_swanlab_mode",
        given("swanlab_mode") & is_not("swanlab_mode", *SWANLAB),
        f"swanlab_mode is {{swanlab_mode}}; it takes {', '.join(SWANLAB)}.",
    ),
    Check(
        "AX215",
        "validate_swanlab_project",
        test(
            lambda view: isinstance(value := view.get("swanlab_project"), str) and not value.strip(), "swanlab_project"
        ),
        "swanlab_project is empty. Give a name.",
    ),
    Check(
        "AX202",
        "validate_swanlab_enabled_requires_project",
        is_("use_swanlab", True) & off("swanlab_project"),
        "The plugin SwanLabPlugin needs swanlab_project, or `use_swanlab: false`.",
        keys=("use_swanlab", "swanlab_project", "plugins"),
    ),
    Check(
        "AX215",
        "disable_mlp_kernel",
        _lower("expert_backend", *EXPERTS),
        f"expert_backend is {{expert_backend}}; it takes {', '.join(EXPERTS)}.",
    ),
    Check(
        "AX201",
        "disable_mlp_kernel",
        test(_contradicts, "expert_backend", "use_scattermoe", "use_sonicmoe"),
        "expert_backend says one kernel and use_scattermoe or use_sonicmoe another. Keep expert_backend.",
    ),
    Check(
        "AX201",
        "check_mutually_exclusive",
        test(lambda view: _scatter(view) and _sonic(view), "use_scattermoe", "use_sonicmoe") & ~test(_contradicts),
        "use_scattermoe and use_sonicmoe are two kernels for the same layers. Keep one.",
    ),
    Check(
        "AX214",
        "check_nvfp4_merge_aware",
        test(_sonic, "use_sonicmoe", "expert_backend")
        & on("quantize_moe_experts")
        & ~(is_("nvfp4_merge_aware", False) & given("nvfp4_merge_aware_start_step")),
        "quantize_moe_experts does not work with the SonicMoE kernel. Use ScatterMoE: `use_scattermoe: true`.",
        keys=("use_sonicmoe", "expert_backend", "quantize_moe_experts"),
    ),
    Check(
        "AX214",
        "check_nvfp4_merge_aware",
        on("nvfp4_merge_aware") & test(_scatter, "use_scattermoe", "expert_backend"),
        "nvfp4_merge_aware needs the SonicMoE kernel: `use_sonicmoe: true`. With ScatterMoE it would be passed over.",
        keys=("nvfp4_merge_aware", "use_scattermoe", "expert_backend"),
    ),
    Check(
        "AX215",
        "check_nvfp4_merge_aware",
        test(_bad_start, "nvfp4_merge_aware_start_step"),
        "nvfp4_merge_aware_start_step must be a step from 0 on, or a share of the run between 0 and 1; it is "
        "{nvfp4_merge_aware_start_step}.",
    ),
    Check(
        "AX215",
        "check_dsv4_fp4_grouped_mode",
        _lower("dsv4_fp4_grouped_mode", "nvfp4"),
        "dsv4_fp4_grouped_mode takes nvfp4 only; it is {dsv4_fp4_grouped_mode}.",
        put("dsv4_fp4_grouped_mode", "nvfp4"),
    ),
    Check(
        "AX215",
        "check_dsv4_fp8_nonexpert_mode",
        _lower("dsv4_fp8_nonexpert_mode", "float8tensor", "bf16"),
        "dsv4_fp8_nonexpert_mode takes float8tensor or bf16; it is {dsv4_fp8_nonexpert_mode}.",
    ),
    Check(
        "AX215",
        "check_moe_dequant_chunk_size",
        test(_bad_chunk, "moe_dequant_chunk_size"),
        "moe_dequant_chunk_size must be a whole number above 0; it is {moe_dequant_chunk_size}.",
    ),
    Check(
        "AX215",
        "check_moe_grouped_backend",
        _lower("moe_grouped_backend", *GROUPED),
        f"moe_grouped_backend takes {', '.join(GROUPED)}; it is {{moe_grouped_backend}}.",
    ),
    Check(
        "AX215",
        "check_nonexpert_quantization",
        _lower("nonexpert_quantization", *NONEXPERT),
        f"nonexpert_quantization takes {', '.join(NONEXPERT)}; it is {{nonexpert_quantization}}.",
    ),
    Check(
        "AX214",
        "check_dsv4_attention_lora_unsupported",
        on("use_dsv4_kernels") & any_on("lora_target_modules", "lora_target_linear") & off("lora_exclude_modules"),
        "use_dsv4_kernels gives the attention's indexer no gradient: lora_target_modules and lora_target_linear cannot "
        "be used with it. Target the experts with lora_target_parameters, or exclude the indexer in "
        "lora_exclude_modules.",
        keys=("lora_target_modules", "lora_target_linear", "use_dsv4_kernels"),
    ),
    Check(
        "AX214",
        "check_experts_implementation",
        is_("experts_implementation", "deepgemm"),
        "`experts_implementation: deepgemm` has no backward pass: the experts would not be trained. Use grouped_mm, "
        "batched_mm or eager, or one of use_scattermoe and use_sonicmoe.",
        put("experts_implementation", "grouped_mm"),
    ),
    Check(
        "AX305",
        "check_use_kernels",
        absent("use_kernels"),
        "The kernels plugin switches use_kernels on. Say so: `use_kernels: true`; false leaves the hub's kernels alone.",
        put("use_kernels", True, safe=True),
        keys=("plugins",),
    ),
    Check(
        "AX302",
        "check_moe_grouped_backend",
        given("moe_grouped_backend") & off("dsv4_fp4_grouped_mode") & ~_lower("moe_grouped_backend", *GROUPED),
        "moe_grouped_backend has no effect without `dsv4_fp4_grouped_mode: nvfp4`.",
    ),
    Check(
        "AX302",
        "check_experts_implementation",
        (is_("experts_implementation", "scattermoe") & ~test(_scatter, "use_scattermoe"))
        | (is_("experts_implementation", "sonicmoe") & ~test(_sonic, "use_sonicmoe")),
        "`experts_implementation: {experts_implementation}` without use_scattermoe or use_sonicmoe becomes eager. "
        "Switch the kernel on.",
    ),
    Check(
        "AX302",
        "check_nvfp4_merge_aware",
        on("nvfp4_merge_aware") & is_not("adapter", "lora", "multilora") & ~test(_scatter),
        "nvfp4_merge_aware has no effect without `adapter: lora`.",
    ),
    Check(
        "AX304",
        "ExpertParallelArgs._validate",
        above("expert_parallel_size", 1) & on("expert_parallel_num_rdma_bytes"),
        "expert_parallel_num_rdma_bytes needs Hopper GPUs with InfiniBand that GPUs can start transfers on.",
    ),
    Check(
        "AX214",
        "validate_read_fraction",
        test(_bad_read, DECISION),
        "diffusion_decision: read_fraction must lie between 0 and 1, max_image_size be a multiple of 28, and "
        "canvas_prefix_ids not be negative.",
    ),
    Check(
        "AX214",
        "validate_weights",
        test(_bad_mixture, f"{DECISION}.mixture"),
        "diffusion_decision.mixture: give weights or temperature, not both; shares and caps must be above 0; "
        "`premixed: true` takes none of them and needs `per_batch_stratified: false`.",
    ),
    Check(
        "AX214",
        "validate_brier_weight",
        test(_bad_labels, f"{DECISION}.labels"),
        "diffusion_decision.labels: hard_label_smoothing needs `full_ce_weighting: ce`, and brier_weight a finite number.",
    ),
    Check(
        "AX214",
        "validate_slots",
        test(_bad_slots, f"{DECISION}.latent"),
        "diffusion_decision.latent does not fit together: `mode: none` takes no slots and no token_ids, "
        "sample_num_slots needs num_slots, and `free_update_policy: argmax` belongs to `mode: free`.",
    ),
    Check(
        "AX214",
        "reject_enabled",
        on(f"{DECISION}.carry.enabled"),
        "diffusion_decision.carry.enabled does not work in training. Set it to false.",
        put(f"{DECISION}.carry.enabled", False),
    ),
)
