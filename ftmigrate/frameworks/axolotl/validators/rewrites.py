"""What Axolotl's validators change in a config, as far as later ones look at it."""

from __future__ import annotations

from typing import Any

from ftmigrate.frameworks.axolotl.validators.model import LEGACY_ATTENTION
from ftmigrate.frameworks.axolotl.validators.training import KERNELS, kernels_by_themselves
from ftmigrate.frameworks.checks import Plain, Rewrite

Data = dict[str, Any]


def _within(data: Data, key: str) -> Data | None:
    """A nested mapping that may be changed, None where there is none."""
    value = data.get(key)
    if not isinstance(value, dict) or not value:
        return None
    data[key] = dict(value)
    return data[key]  # type: ignore[no-any-return]


def _eval_packing(data: Data) -> None:
    if not data.get("sample_packing"):
        return
    if data.get("eval_sample_packing") is None and not data.get("eval_table_size"):
        data["eval_sample_packing"] = True
    if data.get("eval_sample_packing") is False and data.get("remove_unused_columns") is None:
        data["remove_unused_columns"] = False


def _prepare(data: Data) -> None:
    if data.get("skip_prepare_dataset") and data.get("remove_unused_columns") is None:
        data["remove_unused_columns"] = False


def _eval_strategy(data: Data) -> None:
    if data.get("evaluation_strategy") is not None and data.get("eval_strategy") is None:
        data["eval_strategy"] = data["evaluation_strategy"]


def _bench(data: Data) -> None:
    if data.get("do_bench_eval") and not data.get("test_datasets") and not data.get("val_set_size"):
        data["test_datasets"] = [{"path": "empty"}]


def _neftune(data: Data) -> None:
    if data.get("noisy_embedding_alpha") and not data.get("neftune_noise_alpha"):
        data["neftune_noise_alpha"] = data.pop("noisy_embedding_alpha")


def _buffer(data: Data) -> None:
    old, new = "pretrain_multipack_buffer_size", "streaming_multipack_buffer_size"
    if data.get(old) and not data.get(new):
        data[new] = data.pop(old)


def _fsdp_prefix(data: Data) -> None:
    if options := _within(data, "fsdp_config"):
        data["fsdp_config"] = {
            key if key == "fsdp_version" else str(key).removeprefix("fsdp_"): value for key, value in options.items()
        }


def _fsdp_version(data: Data) -> None:
    if (options := _within(data, "fsdp_config")) is not None:
        said = data.get("fsdp_version") or options.pop("version", None) or options.get("fsdp_version") or 2
        data["fsdp_version"] = options["fsdp_version"] = said


def _compile(data: Data) -> None:
    if data.get("torch_compile") == "auto":
        data["torch_compile"] = True


def _attention(data: Data) -> None:
    named = data.get("attn_implementation")
    flags = [flag for flag in LEGACY_ATTENTION if data.get(flag)]
    if not named and data.get("gemma4_hybrid_attn_impl") and not flags:
        data["attn_implementation"] = "flash_attention_2"
    elif not named and flags:
        data["attn_implementation"] = LEGACY_ATTENTION[flags[0]]
    for flag in LEGACY_ATTENTION:
        data.pop(flag, None)


def _kernels(data: Data) -> None:
    if kernels_by_themselves(Plain(data)):
        for kernel in KERNELS:
            data[kernel] = True


def _dropout(data: Data) -> None:
    if data.get("adapter") is not None and data.get("lora_dropout") is None:
        data["lora_dropout"] = 0.0


def _padding(data: Data) -> None:
    if data.get("sample_packing") and data.get("pad_to_sequence_len") is None:
        data["pad_to_sequence_len"] = True


def _reward_padding(data: Data) -> None:
    if data.get("reward_model") and data.get("pad_to_sequence_len") is None:
        data["pad_to_sequence_len"] = True


def _template(data: Data) -> None:
    if data.get("chat_template_jinja") and not data.get("chat_template"):
        data["chat_template"] = "jinja"


def _context(data: Data) -> None:
    size = Plain(data).get("context_parallel.size")
    flat = data.get("context_parallel_size")
    flat = data.get("sequence_parallel_degree") if flat is None else flat
    size = flat if size is None else size
    if size is not None:
        data["context_parallel_size"] = size
        if isinstance(block := data.get("context_parallel") or {}, dict):
            data["context_parallel"] = {**block, "size": size}


def _context_late(data: Data) -> None:
    if data.get("sequence_parallel_degree") and not data.get("context_parallel_size"):
        data["context_parallel_size"] = data["sequence_parallel_degree"]


def _offload(data: Data) -> None:
    kind = data.get("gradient_checkpointing")
    if kind in ("offload", "offload_disk"):
        data["gradient_checkpointing"] = True
        data["activation_offloading"] = True if kind == "offload" else "disk"


def _tensor_loading(data: Data) -> None:
    staged = data.get("nf4_backend") == "torchao" or (
        data.get("qlora_sharded_model_loading") and data.get("load_in_4bit")
    )
    size, options = data.get("tensor_parallel_size"), _within(data, "fsdp_config")
    if isinstance(size, int) and size > 1 and options is not None and not staged:
        options["cpu_ram_efficient_loading"] = False


def _sharded(data: Data) -> None:
    if data.get("qlora_sharded_model_loading") is None and data.get("fsdp_config"):
        data["qlora_sharded_model_loading"] = (
            data.get("adapter") == "qlora"
            and bool(data.get("load_in_4bit"))
            and bool(Plain(data).get("fsdp_config.cpu_ram_efficient_loading"))
        )


def _reentrant(data: Data) -> None:
    view = Plain(data)
    if (
        data.get("rl") == "ebft"
        and view.get("ebft.mode") == "strided"
        and data.get("attn_implementation") == "flex_attention"
        and data.get("gradient_checkpointing")
    ):
        data["gradient_checkpointing_kwargs"] = {
            **(data.get("gradient_checkpointing_kwargs") or {}),
            "use_reentrant": True,
        }


def _best_of_diffusion(data: Data) -> None:
    """integrations/diffusion/plugin.py."""
    older = data.get("diffusion") is not None or data.get("diffusion_lm") is None
    if older and data.get("save_strategy") == "best" and data.get("metric_for_best_model") is None:
        data["metric_for_best_model"] = "eval_loss"


def _columns_of_hatchery(data: Data) -> None:
    """integrations/hatchery/plugin.py."""
    if data.get("remove_unused_columns") is None:
        data["remove_unused_columns"] = False


PREPARED = {"DiffusionPlugin": _best_of_diffusion, "HatcheryPlugin": _columns_of_hatchery}
"""What plugins change when they are loaded, before anything is checked."""
REWRITES = (
    Rewrite("check_eval_packing", _eval_packing),
    Rewrite("check_mm_prepare", _prepare),
    Rewrite("check_eval_strategy", _eval_strategy),
    Rewrite("check_test_datasets_bench", _bench),
    Rewrite("check_neftune", _neftune),
    Rewrite("check_multipack_buffer_size", _buffer),
    Rewrite("check_fsdp_config_kwargs_prefix", _fsdp_prefix),
    Rewrite("check_fsdp_version_in_fsdp_config", _fsdp_version),
    Rewrite("check_torch_compile_auto", _compile),
    Rewrite("normalize_attn_implementation", _attention),
    Rewrite("check_auto_enable_lora_kernels", _kernels),
    Rewrite("validate_lora_dropout", _dropout),
    Rewrite("hint_sample_packing_padding", _padding),
    Rewrite("hint_reward_model_pad", _reward_padding),
    Rewrite("ChatTemplateValidationMixin.check_chat_template_config", _template),
    Rewrite("sync_context_parallel_size", _context),
    Rewrite("check_context_parallel_size", _context_late),
    Rewrite("check_gradient_checkpointing_w_offload", _offload),
    Rewrite("check_tensor_parallel_cpu_ram_efficient_loading", _tensor_loading),
    Rewrite("check_fsdp2_cpu_ram_efficient_loading_w_4bit", _sharded),
    Rewrite("check_ebft_gradient_checkpointing_reentrant", _reentrant),
)
