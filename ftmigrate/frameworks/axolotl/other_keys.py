"""The keys of Axolotl's config that the main table does not turn into settings: what each does, and when it counts.

Places are files of the axolotl 0.21.0 release. A few old spellings of a setting are fields that are only read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from ftmigrate.frameworks.table import ABSENT, SAME, Entry, Field, Private, Unread, reading
from ftmigrate.run.conditions import Condition, View, both, is_, is_not, negate

if TYPE_CHECKING:
    from ftmigrate.frameworks.reader import Reader

# --- conditions on keys -----------------------------------------------------------------------------------------


def _value(view: View, key: str) -> Any:
    """The key's value in what is read, else its default; None where neither is there, or for a view without keys."""
    if not hasattr(view, "or_default"):
        return None
    return cast("Reader", view).or_default(key)


def key(name: str, *values: object) -> Condition:
    """The key has one of these values; without values: it holds something that counts as set."""
    if values:
        words = f"{name} is " + " or ".join(str(value).lower() for value in values)
        return Condition(words, lambda view: _value(view, name) in values)
    return Condition(f"{name} is set", lambda view: bool(_value(view, name)))


def plugin(name: str) -> Condition:
    """The plugin is loaded; `package:Class` and `package.Class` are the same (integrations/base.py)."""

    def holds(view: View) -> bool:
        listed = _value(view, "plugins")
        return isinstance(listed, list) and name in [str(item).replace(":", ".") for item in listed]

    return Condition(f"the plugin {name.rsplit('.', 1)[1]} is loaded", holds)


def _any(words: str, *conditions: Condition) -> Condition:
    settings = tuple(setting for condition in conditions for setting in condition.settings)
    return Condition(words, lambda view: any(condition.holds(view) for condition in conditions), settings)


def _optimizer(*names: str) -> Condition:
    return is_("optimizer.name", *names)


def _tracker(name: str) -> Condition:
    def holds(view: View) -> bool:
        used = view.get("logging.backends")
        return isinstance(used, tuple) and name in used

    return Condition(f"{name} is used", holds, ("logging.backends",))


NOT_RL = ("sft", "pretrain", "qat", "reward", "process reward")
"""The methods of the causal builder; all others are those of `rl`."""
_RL = Condition("rl is set", lambda view: view.get("method.name") not in NOT_RL, ("method.name",))
_SFT = Condition("rl is not set", lambda view: view.get("method.name") in NOT_RL, ("method.name",))
_DPO = is_("method.name", "dpo")
_DPO_IPO = is_("method.name", "dpo", "ipo")
_GRPO = is_("method.name", "grpo", "gdpo", "ebft")
_ADAPTER = is_not("adapter.method", "none")
_MIXLORA = is_("adapter.method", "mixlora")
_NF4 = is_("model.quantization", "nf4")
_PACKING = is_("sequence.packing", True)
_NO_PACKING = is_("sequence.packing", False)
_CHECKPOINTING = is_("memory.activation_checkpointing", True)
_COMPILE = is_("memory.compile", True)
_COSINE = is_("schedule.name", "cosine")
_EVALUATED = is_not("evaluation.data", None)
_DDP = both(_SFT, is_("parallel.strategy", "ddp"))
_FSDP = is_("parallel.strategy", "fsdp1", "fsdp2")
_DEEPSPEED = is_("parallel.strategy", "deepspeed")
_SINGLE = is_("parallel.strategy", "single")
_DION = _optimizer("dion")
_CAME = _optimizer("came_pytorch")
_QGALORE = _optimizer("q_galore_adamw8bit")
_REWARD = _any("reward_model or process_reward_model is set", key("reward_model"), key("process_reward_model"))
_PRETRAINING = key("pretraining_dataset")
_STREAMED = _any("rows are streamed", key("streaming"), _PRETRAINING)
_MULTIMODAL = key("processor_type")
_SAVES = _any("checkpoints are saved every so many steps", key("save_steps"), key("saves_per_epoch"))
_EVALUATES = _any("evaluation runs every so many steps", key("eval_steps"), key("evals_per_epoch"))
_BEST = both(_SFT, _EVALUATED, _SAVES, _EVALUATES)
_MIXLORA_PLUGIN = plugin("axolotl.integrations.mixlora.MixLoraPlugin")

# Old spellings of attn_implementation, the first one that is true wins (schemas/enums.py, LEGACY_ATTN_FLAG_TO_IMPL).
_ATTENTION_FLAGS = {
    "xformers_attention": "xformers",
    "sage_attention": "sage",
    "flex_attention": "flex_attention",
    "flash_attention": "flash_attention_2",
    "sdp_attention": "sdpa",
    "eager_attention": "eager",
}


def _means(value: object) -> Callable[[Any], object]:
    return lambda _: value


OTHER: tuple[Entry, ...] = (
    # old spellings of a setting: read, never written
    *(
        Field(flag, "model.attention", reading(_means(name)), absent=ABSENT, when=key(flag, True), write=False)
        for flag, name in _ATTENTION_FLAGS.items()
    ),
    Field("model_config", "model.config_overrides", SAME, absent=ABSENT, write=False),
    Field("model_revision", "model.revision", SAME, absent=ABSENT, write=False),
    Field("evaluation_strategy", "evaluation.every", SAME, absent=ABSENT, write=False),
    Field("dpo_beta", "method.beta", SAME, absent=ABSENT, when=key("dpo_beta"), write=False),
    Field("sequence_parallel_degree", "parallel.context", SAME, absent=ABSENT, when=key("sequence_parallel_degree"),
          write=False),

    # computed by Axolotl itself, or of another command
    Unread("axolotl_config_path", "overwritten with the path of the file that is loaded (cli/config.py)"),
    Unread("capabilities", "overwritten with what the GPU can do (cli/config.py)"),
    Unread("env_capabilities", "overwritten with the versions found (cli/config.py)"),
    Unread("device", "overwritten with the device found (utils/config/__init__.py, choose_device)"),
    Unread("local_rank", "overwritten from the environment (utils/config/__init__.py, normalize_config)"),
    Unread("world_size", "overwritten from the environment (utils/config/__init__.py, normalize_config)"),
    Private("total_num_tokens", "taken for the number of tokens from which the number of steps is estimated",
            when=both(_PACKING, key("sample_packing_eff_est"))),
    Unread("total_supervised_tokens", "only counted and logged (utils/trainer.py)"),
    Unread("is_preprocess", "set by `axolotl preprocess`; in training, rows are only tokenised anew (utils/data)"),
    Unread("is_falcon_derived_model", "nothing reads it (only utils/config/__init__.py writes it)"),
    Private("is_llama_derived_model", "lets cross-entropy and xformers kernels for Llama apply to this model"),
    Private("is_mistral_derived_model", "pads on the left",
            when=both(_NO_PACKING, is_("model.attention", "flash_attention_2"))),
    Private("is_qwen_derived_model", "gives missing special tokens the id of Qwen's end of document"),
    Unread("strict", "only about overrides on the command line (cli/config.py)"),
    Unread("export", "only `axolotl export` reads it"),
    Unread("quantization", "only `axolotl quantize` reads it"),
    Unread("merge_method", "only `axolotl merge-lora` reads it"),
    Private("merge_lora", "meant for `axolotl merge-lora`: the adapter is loaded before TRL makes its own", when=_RL),
    *(
        Unread(f"gradio_{name}", "only `axolotl inference` reads it")
        for name in ("max_new_tokens", "server_name", "server_port", "share", "temperature", "title")
    ),

    # never read
    Unread("bench_split", "not handed to the trainer (core/builders/causal.py)"),
    Unread("dion_rank_fraction", "the optimizer is not given it (core/builders/base.py)"),
    Unread("dion_rank_multiple_of", "the optimizer is not given it (core/builders/base.py)"),
    Unread("fsdp_final_state_dict_type", "nothing reads it; fsdp_config.final_state_dict_type is read (train.py)"),
    Unread("heads_k_stride", "of a former context-parallel backend (schemas/validation.py)"),
    Unread("ring_attn_func", "of a former context-parallel backend (schemas/validation.py)"),
    Unread("default_system_message",
           "takes the place of a sentence that the chatml template does not have (loaders/tokenizer.py)"),
    Unread("lr_div_factor", "nothing reads it (only schemas/training.py names it)"),
    Unread("max_prompt_len", "nothing reads it (only schemas/config.py names it)"),
    Unread("preprocess_iterable", "nothing reads it (only schemas/config.py names it)"),
    Unread("float32", "does not decide the precision (utils/config/__init__.py, resolve_dtype): bf16 and fp16 do"),
    Unread("tokenizer_use_fast", "transformers 5 has fast tokenizers only and drops it (loaders/tokenizer.py)"),
    Unread("lora_fan_in_fan_out", "PEFT sets it to what the layer is (loaders/adapter.py)"),
    Unread("low_cpu_mem_usage", "only about memory while weights are loaded (loaders/model.py)"),
    Unread("experimental_skip_move_to_device", "only where the model waits before it is spread (loaders/model.py)"),

    # model and tokenizer
    Private("model_type", "names the transformers class that loads the model instead of the automatic one",
            off=(None, "AutoModelForCausalLM")),
    Private("type_of_model", "names the transformers class that loads the model instead of the automatic one",
            off=(None, "AutoModelForCausalLM")),
    Private("base_model_config", "config.json comes from here and not from base_model"),
    Private("cls_model_config", "names the class of the model's config"),
    Private("model_kwargs", "further arguments for loading the model", off=(None, {})),
    Private("overrides_of_model_kwargs", "further arguments for loading the model", off=(None, {})),
    Private("reinit_weights", "training starts from random weights"),
    Private("resize_token_embeddings_to_32x", "the vocabulary is padded to a multiple of 32"),
    Private("shrink_embeddings", "rows of the embeddings beyond the tokenizer's vocabulary are cut off"),
    Private("mean_resizing_embeddings", "new rows of the embeddings start at the mean of the others"),
    Private("fix_untrained_tokens", "embeddings of tokens that were never trained get the mean of the others",
            off=(None, False, [])),
    Private("use_onebitllms", "linear layers become ternary"),
    Private("llama4_linearized_experts", "experts of Llama 4 are loaded as plain linear layers"),
    Private("freeze_mm_modules", "the vision and audio parts are frozen"),
    Private("num_labels", "outputs of the classification head", when=_REWARD),
    Private("tokenizer_type", "names the tokenizer's class instead of the automatic one", off=(None, "AutoTokenizer")),
    Private("tokenizer_legacy", "handling of blanks behind special tokens", off=(None,)),
    Private("tokenizer_use_mistral_common", "the tokenizer of mistral-common"),
    Private("tokenizer_save_jinja_files", "how the chat template is stored: false puts it into tokenizer_config.json",
            off=(None, True), reporting=True),
    Private("added_tokens_overrides", "reserved tokens of the tokenizer get other names", off=(None, {})),
    Private("processor_type", "a multimodal processor prepares the rows"),
    Private("processor_kwargs", "further arguments of the multimodal processor", off=(None, {}), when=_MULTIMODAL),
    Private("image_size", "images are scaled to this size", when=_MULTIMODAL),
    Private("image_resize_algorithm", "how images are scaled", when=_MULTIMODAL),
    Private("role_boundaries", "where the turns of a role begin and end, for the loss mask of multimodal rows",
            off=(None, []), when=_MULTIMODAL),

    # quantised base weights
    Private("bnb_config_kwargs", "further arguments of bitsandbytes", off=(None, {}), when=_NF4),
    Private("qlora_sharded_model_loading", "memory while loading: 4-bit weights are quantised on one device and sent",
            off=(None, False), when=both(_NF4, _FSDP)),
    Private("quantize_moe_experts", "experts are quantised too", when=is_not("model.quantization", "none")),
    Private("gptq", "the base weights are GPTQ"),
    Private("model_quantization_config", "the base weights are loaded as MXFP4 or FP8"),
    Private("model_quantization_config_kwargs", "arguments for MXFP4 or FP8 weights", off=(None, {}),
            when=key("model_quantization_config")),
    Private("nvfp4_merge_aware", "adapters on NVFP4 weights are trained for a later merge",
            off=(None,), when=_ADAPTER),
    Private("embeddings_skip_upcast", "whether embeddings stay in low precision under an adapter", off=(None,),
            when=_ADAPTER),

    # adapters
    Private("peft", "LoftQ initialisation of the adapter", off=(None, {}), when=_ADAPTER),
    Private("peft_layers_pattern", "name of the list of layers that peft_layers_to_transform counts", off=(None, []),
            when=both(_ADAPTER, key("peft_layers_to_transform"))),
    Private("peft_layer_replication", "layers are repeated, each with adapters of its own", off=(None, []),
            when=_ADAPTER),
    Private("peft_trainable_token_indices", "embeddings of these tokens are trained too", off=(None, [], {}),
            when=_ADAPTER),
    Private("peft_ensure_weight_tying", "tied weights stay tied under the adapter", when=_ADAPTER),
    Private("lora_target_parameters", "weights that are no layers of their own (experts) get adapters",
            off=(None, [], ""), when=_ADAPTER),
    Private("lora_rank_pattern", "other ranks for some layers", off=(None, {}), when=_ADAPTER),
    Private("lora_alpha_pattern", "other alphas for some layers", off=(None, {}), when=_ADAPTER),
    Private("lora_fp32_gradients", "gradients of the adapters are summed in fp32", when=_ADAPTER),
    Private("lora_on_cpu", "memory while loading: the adapter and the embeddings are put on the CPU", when=_ADAPTER),
    Private("loraplus_lr_ratio", "the B matrices learn faster than the A matrices by this factor", off=(None,),
            when=_ADAPTER),
    Private("loraplus_lr_embedding", "learning rate of adapters on embeddings", off=(None,),
            when=both(_ADAPTER, key("loraplus_lr_ratio"))),
    Private("relora", "adapters are merged into the weights and restarted again and again", when=both(_SFT, _ADAPTER)),
    *(
        Private(f"relora_{name}", f"{effect} (up to 0.11)", off=(None,), when=_ADAPTER)
        for name, effect in (
            ("steps", "adapters are merged into the weights and restarted every so many steps"),
            ("warmup_steps", "warmup after each restart"),
            ("anneal_steps", "steps down before each restart"),
        )
    ),
    Private("relora_cpu_offload", "memory: merging happens on the CPU", when=key("relora")),
    Private("relora_prune_method", "what of the optimizer's state is thrown away at a restart", off=(None,),
            when=key("relora")),
    Private("relora_prune_ratio", "how much of the optimizer's state is thrown away at a restart", off=(None,),
            when=key("relora")),
    *(
        Private(f"mixlora_{name}", effect, off=(None,), when=both(_MIXLORA, _MIXLORA_PLUGIN))
        for name, effect in (
            ("num_experts", "number of experts"),
            ("top_k", "experts used for a token"),
            ("router_aux_loss_coef", "weight of the loss that spreads tokens over experts"),
            ("router_init_range", "spread of the router's first weights"),
            ("jitter_noise", "noise on the router's input"),
            ("expert_lora_r", "rank of the experts' adapters"),
            ("expert_lora_alpha", "alpha of the experts' adapters"),
            ("expert_lora_dropout", "dropout of the experts' adapters"),
        )
    ),

    # data
    Private("pretraining_dataset", "raw text is streamed for continued pretraining instead of datasets",
            off=(None, [], {})),
    Private("pretraining_sample_concatenation", "texts are joined and cut at the sequence length", when=_PRETRAINING),
    Private("pretrain_multipack_attn", "whether texts in one sequence are kept apart", off=(None, True),
            when=both(_PRETRAINING, _PACKING)),
    Private("pretrain_multipack_buffer_size", "rows that are shuffled and packed at a time", off=(None,),
            when=_STREAMED),
    Private("streaming_multipack_buffer_size", "rows that are shuffled and packed at a time", off=(None,),
            when=_STREAMED),
    Private("chat_template_kwargs", "further variables of the chat template", off=(None, {})),
    Private("skip_prepare_dataset", "rows go to the trainer as they are, neither tokenised nor filtered"),
    Private("shuffle_before_merging_datasets", "each source is shuffled by itself before they are joined"),
    Private("dataset_exact_deduplication", "equal rows are dropped"),
    Private("dataset_shard_num", "only one of so many parts of the rows is used", off=(None, False, 1),
            when=Condition("dataset_shard_idx is set", lambda view: _value(view, "dataset_shard_idx") is not None)),
    Private("dataset_shard_idx", "which part of the rows is used", off=(None,), when=key("dataset_shard_num")),
    Private("min_sample_len", "shorter rows are dropped", off=(None, 0, 1, 2)),
    Private("group_by_length", "rows of like length share a batch", when=both(_SFT, _NO_PACKING)),
    Private("push_dataset_to_hub", "prepared rows are pushed to the hub, and taken from there", off=(None, "")),
    Unread("hf_use_auth_token", "only lets private datasets be read (utils/data)"),
    Unread("dataset_num_proc", "processes that prepare rows; the rows are the same (utils/data)"),
    Unread("dataset_processes", "processes that prepare rows; the rows are the same (utils/data)"),
    Unread("dataset_keep_in_memory", "where rows are while they are prepared (utils/data/wrappers.py)"),
    Unread("num_dataset_shards_to_save", "number of files of the prepared rows (utils/data/shared.py)"),
    Unread("remove_unused_columns", "drops columns that no collator uses (core/builders)"),
    Private("dataloader_pin_memory", "speed only: batches wait in page-locked memory", off=(None, True)),
    Private("dataloader_prefetch_factor", "speed only: batches that each process loads ahead", off=(None,)),
    Private("accelerator_config", "how batches are dealt out to the devices", off=(None, {})),

    # packing and batches
    Private("sample_packing_bin_size", "most rows in a pack", off=(None,), when=_PACKING),
    Private("sample_packing_group_size", "rows that are packed at a time", off=(None,), when=_PACKING),
    Private("sample_packing_eff_est", "the number of steps is estimated from this instead of counted",
            when=_PACKING),
    Unread("sample_packing_mp_start_method", "how the packing processes start (utils/trainer.py)"),
    Private("multipack_real_batches", "whether a micro batch holds several packs or one of their joint length",
            off=(None,), when=_PACKING),
    Private("fa_varlen_kwargs_in_collator", "speed only: bounds of packed rows are computed once a batch",
            off=(None, True), when=_PACKING),
    Private("batch_flattening", "rows of a micro batch are laid end to end instead of padded",
            when=both(_NO_PACKING, is_not("batch.micro_size", 1))),
    Private("pad_to_multiple_of", "batches are padded to a multiple of this instead of 64", off=(None, 0, 64)),
    Private("balance_labels", "rows are dealt out so that batches have like numbers of trained tokens", when=_SFT),
    Private("label_balance_window_optim_steps", "steps over which trained tokens are balanced", off=(None, 1),
            when=key("balance_labels")),
    Private("auto_find_batch_size", "the batch size is halved until it fits into memory", when=_SFT),
    Private("use_pose", "positions skip ahead at random, for a longer context"),
    Private("pose_max_context_len", "context that positions are stretched to", off=(None,), when=key("use_pose")),
    Private("pose_num_chunks", "parts between which positions skip", off=(None,), when=key("use_pose")),
    Private("pose_split_on_token_ids", "tokens before which positions may skip", off=(None, []), when=key("use_pose")),

    # loss and method
    Private("neftune_noise_alpha", "noise on the embeddings in training", when=_SFT),
    Private("noisy_embedding_alpha", "noise on the embeddings in training (old name)", when=_SFT),
    Private("use_dft", "the loss of each token is weighted by its probability", when=_SFT),
    Private("use_eaft", "the loss of each token is weighted by its entropy", when=_SFT),
    Private("eaft_alpha", "strength of the weighting by entropy", off=(None,), when=key("use_eaft")),
    Private("eaft_k", "candidates from which entropy is estimated", off=(None,), when=key("use_eaft")),
    Private("chunked_cross_entropy_num_chunks", "memory: chunks in which the loss is computed", off=(None, 0, 8),
            when=is_("memory.chunked_loss", True)),
    Private("diffusion_lm", "a diffusion language model is trained", off=(None,)),
    Private("qat", "weights are rounded in training as they will be when quantised", off=(None, {})),
    *(
        Private(name, "refused: Axolotl takes it with rl: dpo only", off=(None,), when=negate(_DPO, "rl is not dpo"))
        for name in ("dpo_loss_type", "dpo_loss_weights")
    ),
    Private("dpo_ld_alpha", "weight of the tokens that a reply has more than the other", off=(None, 1.0),
            when=_DPO_IPO),
    Private("dpo_use_weighting", "pairs are weighted by how likely the model finds them", when=_DPO_IPO),
    Private("dpo_padding_free", "memory: pairs are laid end to end instead of padded", when=_DPO_IPO),
    Private("dpo_use_liger_kernel", "memory: a fused kernel computes the preference loss", when=_DPO_IPO),
    Private("precompute_ref_log_probs", "memory: the reference model runs once before training", when=_DPO_IPO),
    *(
        Unread(f"datasets[].{name}", "the validated entry has lost it (utils/config/__init__.py makes an SFTDataset of it)")
        for name in ("step_separator", "max_completion_length", "train_on_last_step_only")
    ),
    Private("ebft", "energy-based fine-tuning", off=(None,), when=is_("method.name", "ebft")),
    Private("trl", "rewards, generation and clipping of policy training", off=(None, False, {}), when=_GRPO),
    Private("vllm", "the server that generates replies", off=(None, {}), when=_GRPO),
    Private("trainer_cls", "a trainer class of one's own"),
    Private("plugins", "loads these extensions; their own keys say what they do", off=(None, [])),

    # optimizer and schedule
    Private("adam_beta3", "decay of the third moment", off=(None,), when=_CAME),
    Private("adam_epsilon2", "second epsilon", off=(None,), when=_CAME),
    Private("dion_lr", "learning rate of the matrices", off=(None,), when=_DION),
    Private("dion_momentum", "momentum of the matrices", off=(None,), when=_DION),
    Private("optim_target_modules", "the modules that a low-rank optimizer projects", off=(None, [])),
    *(
        Private(f"qgalore_{name}", effect, off=(None,), when=_QGALORE)
        for name, effect in (
            ("rank", "rank of the projection"),
            ("scale", "scale of the projected update"),
            ("update_proj_gap", "steps between new projections"),
            ("proj_type", "which side is projected"),
            ("proj_quant", "whether projections are quantised"),
            ("proj_bits", "bits of a projection"),
            ("proj_group_size", "group size of a quantised projection"),
            ("cos_threshold", "likeness from which projections are renewed less often"),
            ("gamma_proj", "factor by which renewals become rarer"),
            ("queue_size", "projections that are compared"),
        )
    ),
    Private("torchdistx_path", "where the any-precision optimizer is found", when=_optimizer("adamw_anyprecision")),
    Private("embedding_lr", "learning rate of the embeddings, which are not decayed then", off=(None,)),
    Private("embedding_lr_scale", "factor on the learning rate of the embeddings, which are not decayed then",
            off=(None,)),
    Private("lr_groups", "learning rates for groups of modules", off=(None,)),
    Private("lr_scheduler_kwargs", "further arguments of the schedule", off=(None, {})),
    Private("lr_quadratic_warmup", "the warmup is quadratic", when=both(_SFT, _COSINE)),
    Private("cosine_constant_lr_ratio", "share of the steps after which the learning rate stays at its minimum",
            when=both(_COSINE, key("cosine_min_lr_ratio"))),
    Private("jagged_restart_steps", "the learning rate restarts every so many steps", when=_SFT),
    Private("jagged_restart_warmup_steps", "warmup after each restart", off=(None, 0, 10),
            when=key("jagged_restart_steps")),
    Private("jagged_restart_anneal_steps", "steps down before each restart", off=(None, 0, 1),
            when=key("jagged_restart_steps")),
    Private("lisa_n_layers", "only so many layers, drawn anew again and again, are trained",
            when=both(_SFT, key("lisa_step_interval"))),
    Private("lisa_step_interval", "steps after which other layers are drawn",
            when=both(_SFT, key("lisa_n_layers"))),
    Private("lisa_layers_attribute", "where the layers to draw from are", off=(None, "model.layers"),
            when=both(key("lisa_n_layers"), key("lisa_step_interval"))),

    # precision
    Private("fp8", "matrix products are computed in FP8"),
    Private("fp8_config", "how values are scaled to FP8", off=(None, {}), when=key("fp8")),
    Private("fp8_enable_fsdp_float8_all_gather", "speed: weights are sent in FP8", when=both(key("fp8"), _FSDP)),
    Private("fp32_norms", "norms are computed in fp32"),
    Private("fp32_norm_classes", "which classes count as norms", off=(None, []), when=key("fp32_norms")),

    # attention and kernels
    Private("flash_optimum", "attention of BetterTransformer"),
    Private("flash_attn_cross_entropy", "speed: a fused kernel computes the loss of Llama models"),
    Private("flash_attn_fuse_mlp", "speed: fused MLP layers"),
    Private("flash_attn_fuse_qkv", "speed: the projections of queries, keys and values in one (up to 0.11)"),
    Private("large_head_attention", "speed: a kernel for attention heads wider than 256", off=(None, "sdpa")),
    Private("flash_attn_d512", "speed: a kernel for attention heads wider than 256 (old name)"),
    Private("gemma4_hybrid_attn_impl", "layers of Gemma 4 use two implementations of attention"),
    Private("flex_attn_compile_kwargs", "options of the attention kernel", off=(None, {}), when=key("diffusion_lm")),
    Private("sdpa_varlen", "speed: attention over packed rows without a mask", off=(None,),
            when=both(_PACKING, is_("model.attention", "sdpa"))),
    Private("scaling_softmax", "attention scores are scaled by the length of the row",
            when=is_("model.attention", "flex_attention")),
    Private("scaling_softmax_factor", "first value of the scale", off=(None, 0, 0.43), when=key("scaling_softmax")),
    Private("scaling_softmax_bias", "added to the scale", off=(None, 0), when=key("scaling_softmax")),
    Private("fused_attn_kernel", "speed: fused norms and rotary positions in Qwen 3 and Gemma 4"),
    Private("use_kernels", "speed: kernels from the hub"),
    Private("experts_implementation", "speed: how experts are computed", off=(None, "eager")),

    # memory and compilation
    Private("gradient_checkpointing_kwargs", "memory: which of torch's ways of checkpointing is used",
            off=(None, False, {}), when=_CHECKPOINTING),
    Private("selective_checkpointing", "memory: some activations are kept and not computed again", when=_CHECKPOINTING),
    Private("layer_offloading", "memory: frozen layers wait on the CPU"),
    Private("tiled_mlp", "memory: MLP layers are computed in pieces"),
    Private("tiled_mlp_num_shards", "memory: pieces of an MLP layer", off=(None,), when=key("tiled_mlp")),
    Private("tiled_mlp_use_original_mlp", "whether the model's own MLP computes the pieces", off=(None, True),
            when=key("tiled_mlp")),
    Private("ple_cpu_offload", "memory: tables of embeddings per layer stay on the CPU"),
    Private("gpu_memory_limit", "memory: how much of a GPU the weights may take", off=(None, "")),
    Private("max_memory", "memory: how much of each device the weights may take", off=(None, {})),
    Private("device_map", "which layers are on which device", off=(None, "auto"), when=_SINGLE),
    Private("torch_empty_cache_steps", "memory: steps after which the GPU's cache is emptied"),
    Private("gc_collect_steps", "memory: steps after which Python collects garbage"),
    Private("gc_steps", "memory: steps after which caches are emptied (old name)"),
    Private("torch_compile_backend", "speed: backend of torch.compile", off=(None, "inductor"), when=_COMPILE),
    Private("torch_compile_mode", "speed: mode of torch.compile", off=(None, "default"), when=_COMPILE),
    Private("torch_compile_options", "speed: options of torch.compile", off=(None, {}), when=_COMPILE),
    Private("torch_compile_regional", "speed: each layer is compiled by itself", when=_COMPILE),
    Private("deepcompile", "speed: DeepSpeed compiles the model", when=_DEEPSPEED),

    # devices and launch
    Private("ddp", "false: devices are not counted when the number of steps is computed", off=(None, True),
            when=is_not("parallel.strategy", "single")),
    Private("ddp_find_unused_parameters", "speed: weights without a gradient are looked for", when=_DDP),
    Private("ddp_bucket_cap_mb", "speed: size in which gradients are sent", when=_DDP),
    Private("ddp_broadcast_buffers", "buffers are made equal on all devices", off=(None,), when=_DDP),
    Unread("ddp_timeout", "only how long a device waits for the others (core/builders/causal.py)"),
    Private("use_ray", "the run is started through Ray"),
    Private("ray_num_workers", "number of devices", off=(None,), when=key("use_ray")),
    Private("resources_per_worker", "what Ray reserves for a device", off=(None,), when=key("use_ray")),
    Private("ray_run_name", "name of the run in Ray", when=key("use_ray"), reporting=True),

    # evaluation
    Private("eval_sample_packing", "rows are packed in evaluation", when=_EVALUATED, reporting=True),
    Private("eval_sequence_len", "longer rows of test_datasets are dropped", when=key("test_datasets"), reporting=True),
    Private("eval_on_start", "an evaluation before the first step", when=_EVALUATED, reporting=True),
    Private("eval_table_size", "predictions for so many rows are sent to the tracking service", reporting=True),
    Private("eval_max_new_tokens", "length of these predictions", when=key("eval_table_size"), reporting=True),
    Private("do_bench_eval", "a benchmark runs with each evaluation", reporting=True),
    Private("bench_dataset", "rows of the benchmark", when=key("do_bench_eval"), reporting=True),
    Private("do_causal_lm_eval", "generated replies are scored with each evaluation", reporting=True),
    Private("eval_causal_lm_metrics", "scores of generated replies", when=key("do_causal_lm_eval"), reporting=True),
    Private("generate_samples", "replies are generated with each evaluation", reporting=True),
    *(
        Private(name, f"{effect} of generated replies", when=key("generate_samples"), reporting=True)
        for name, effect in (
            ("num_generation_samples", "number"),
            ("generation_max_new_tokens", "length"),
            ("generation_temperature", "temperature"),
            ("generation_top_p", "top-p"),
            ("generation_top_k", "top-k"),
            ("generation_prompt_ratio", "share of the row that begins them,"),
            ("generation_do_sample", "sampling"),
        )
    ),

    # when training ends, what is saved
    Private("early_stopping_patience", "training ends after so many evaluations without progress", when=_BEST),
    Private("load_best_model_at_end", "the best checkpoint is what training returns", off=(False,), when=_BEST),
    Private("metric_for_best_model", "what the best checkpoint is judged by", when=_SFT),
    Private("greater_is_better", "a higher metric is better", when=both(_SFT, key("metric_for_best_model"))),
    Private("loss_watchdog_threshold", "training ends when the loss stays above this", off=(None,), when=_SFT),
    Private("loss_watchdog_patience", "how often the loss may be above the threshold", off=(None, 0, 3),
            when=Condition("loss_watchdog_threshold is set",
                           lambda view: _value(view, "loss_watchdog_threshold") is not None)),
    Private("save_first_step", "a checkpoint after the first step"),
    Private("save_only_model", "checkpoints hold weights only and cannot be gone on from"),
    Private("dynamic_checkpoint", "a checkpoint whenever a file or signal asks for it", off=(None, {}),
            when=key("dynamic_checkpoint.enabled")),
    Private("hub_strategy", "which checkpoints are pushed to the hub", off=(None,), when=key("hub_model_id")),
    Private("hub_revision", "branch that is pushed to", off=(None, "main"), when=key("hub_model_id")),

    # reporting
    Private("include_tkps", "logs tokens per second", reporting=True),
    Private("include_tokens_per_second", "logs the number of tokens", reporting=True),
    Private("logging_nan_inf_filter", "leaves infinite losses out of the log", reporting=True),
    Private("profiler_steps", "records so many steps with torch's profiler", reporting=True),
    Private("profiler_steps_start", "first step that is recorded", when=key("profiler_steps"), reporting=True),
    Private("sync_profiler_steps", "logs where the CPU waits for the GPU", reporting=True),
    Private("sync_profiler_start_step", "first step that is watched", when=key("sync_profiler_steps"), reporting=True),
    *(
        Private(f"wandb_{name}", f"option of Weights & Biases: {effect}", when=_tracker("wandb"), reporting=True)
        for name, effect in (
            ("mode", "online, offline or disabled"),
            ("run_id", "the run that is gone on with"),
            ("watch", "whether gradients are logged"),
            ("log_model", "whether weights are uploaded"),
        )
    ),
    Private("hf_mlflow_log_artifacts", "checkpoints are copied to MLflow", when=_tracker("mlflow"), reporting=True),
    *(
        Private(f"comet_{name}", f"option of Comet: {effect}", when=_tracker("comet"), reporting=True)
        for name, effect in (
            ("api_key", "the key to log in with"),
            ("experiment_config", "further options"),
            ("experiment_key", "the experiment that is gone on with"),
            ("mode", "whether a new experiment is made"),
            ("online", "whether anything is sent"),
        )
    ),
    *(
        Private(f"trackio_{name}", f"option of Trackio: {effect}", reporting=True)
        for name, effect in (("project_name", "project"), ("run_name", "run"), ("space_id", "where it is shown"))
    ),
    Private("use_otel_metrics", "metrics are offered to OpenTelemetry", reporting=True),
    Private("otel_metrics_host", "where OpenTelemetry listens", when=key("use_otel_metrics"), reporting=True),
    Private("otel_metrics_port", "where OpenTelemetry listens", when=key("use_otel_metrics"), reporting=True),
)  # fmt: skip
"""One row for each key of the config class that the main table leaves to this module."""

_INTEGRATIONS = "axolotl.integrations"

# Loaded without being listed (integrations/base.py, BUILTIN_PLUGINS).
ALWAYS_LOADED = (
    f"{_INTEGRATIONS}.context_parallel.ContextParallelPlugin",
    f"{_INTEGRATIONS}.expert_parallel.ExpertParallelPlugin",
)

# plugin -> its keys -> (effect, values without effect); what only reports is in _REPORTING_PLUGINS
_PLUGIN_KEYS: dict[str, dict[str, tuple[str, tuple[object, ...]]]] = {
    "context_parallel.ContextParallelPlugin": {
        "context_parallel": ("how rows are cut over devices", (None, {})),
    },
    "expert_parallel.ExpertParallelPlugin": {
        "expert_parallel_size": ("experts are spread over so many devices", (None, 0, 1)),
        "expert_parallel_backend": ("speed: how tokens travel to their experts", (None, "auto")),
        "expert_parallel_dispatch_chunks": ("memory: tokens travel in so many parts", (None, 1)),
        "expert_parallel_fallback_on_unsupported": ("whether a slower way is taken where this one fails", (None, True)),
        "expert_parallel_num_nvl_bytes": ("memory: buffer between the GPUs of a machine", (None, 268435456)),
        "expert_parallel_num_rdma_bytes": ("memory: buffer between machines", (None, 0)),
        "expert_parallel_save_dispatch": ("memory: whether the routing is kept for the backward pass", (None, False)),
        "expert_parallel_token_capacity": ("most tokens that an expert takes", (None,)),
    },
    "coreweave.plugin.CoreWeavePlugin": {"coreweave": ("where the run is started", (None, {}))},
    "cut_cross_entropy.CutCrossEntropyPlugin": {
        "cut_cross_entropy": ("memory: the loss is computed without the whole logits", (None, False)),
        "cut_cross_entropy_accum_c_fp32": ("gradients of the output layer are summed in fp32", (None, False)),
        "cut_cross_entropy_c_grad_chunk_size": ("memory: chunks of the output layer's gradient", (None,)),
    },
    "densemixer.DenseMixerPlugin": {"dense_mixer": ("the router learns from all experts", (None, False))},
    "diffusion.DiffusionPlugin": {"diffusion": ("a diffusion language model is trained", (None,))},
    "diffusion_decision.plugin.DiffusionDecisionPlugin": {
        "diffusion_decision": ("a diffusion model for decisions is trained", (None,)),
    },
    "grokfast.GrokfastPlugin": {
        "grokfast_alpha": ("decay of the slow part of the gradients", (None,)),
        "grokfast_lamb": ("how much the slow part of the gradients is amplified", (None, 0)),
    },
    "hatchery.HatcheryPlugin": {"hatchery": ("training runs at a service", (None, {}))},
    "kd.KDPlugin": {
        "kd_trainer": ("a teacher's token probabilities are learnt", (None, False)),
        "kd_alpha": ("weight of the teacher", (None,)),
        "kd_ce_alpha": ("weight of the ordinary loss", (None,)),
        "kd_beta": ("mixes both directions of the divergence", (None,)),
        "kd_temperature": ("temperature of the teacher", (None, 1.0)),
        "kd_temperature_min": ("temperature at the end", (None,)),
        "kd_normalize_topk": ("whether the teacher's best tokens are made to sum to one", (None,)),
        "kd_online_server": ("kind of server that the teacher runs on", (None, "vllm")),
        "kd_online_server_base_url": ("where the teacher runs", (None, "")),
        "kd_online_timeout": ("how long the teacher may take", (None, 120)),
        "kd_online_topk": ("tokens that the teacher names", (None,)),
        "kd_top_k_before_softmax": ("whether the teacher's best tokens are taken before the softmax", (None, False)),
        "kd_zscore_base_temp": ("temperature of standardised logits", (None,)),
    },
    "kernels.KernelsPlugin": {
        "use_scattermoe": ("speed: kernels for experts", (None, False)),
        "use_sonicmoe": ("speed: kernels for experts", (None, False)),
        "use_dsv4_kernels": ("speed: kernels for DeepSeek V4", (None, False)),
        "use_glm_dsa_kernels": ("speed: kernels for sparse attention", (None, False)),
        "expert_backend": ("speed: how experts are computed", (None,)),
        "moe_grouped_backend": ("speed: how experts are computed", (None,)),
        "moe_bnb_fast": ("speed: kernels for quantised experts", (None, False)),
        "moe_dequant_chunk_size": ("memory: experts that are unpacked at a time", (None,)),
        "nonexpert_quantization": ("how layers beside the experts are stored", (None,)),
        "nvfp4_merge_aware_start_step": ("first step that is trained for a later merge", (None, 0)),
        "dsv4_bf16_all": ("all layers of DeepSeek V4 are bf16", (None, False)),
        "dsv4_fp4_grouped_mode": ("how FP4 experts are computed", (None,)),
        "dsv4_fp8_lora_kernel": ("speed: kernels for adapters on FP8 layers", (None, False)),
        "dsv4_fp8_nonexpert_mode": ("how FP8 layers are computed", (None,)),
        "dsv4_shared_mlp_lora_kernel": ("speed: kernels for adapters on shared experts", (None, False)),
        "gemma4_fp8_nonexpert": ("layers of Gemma 4 beside the experts are FP8", (None, False)),
        "gemma4_nf4_nonexpert": ("layers of Gemma 4 beside the experts are NF4", (None, False)),
        "autotune_cache_path": ("speed: where tuned kernels are kept", (None, "")),
        "autotune_neighborhood": ("speed: how kernels are tuned", (None,)),
        "autotune_profiles": ("speed: how kernels are tuned", (None,)),
    },
    "liger.LigerPlugin": {
        "liger_rope": ("speed: a fused kernel for rotary positions", (None, False)),
        "liger_rms_norm": ("speed: a fused kernel for norms", (None, False)),
        "liger_rms_norm_gated": ("speed: a fused kernel for gated norms", (None, False)),
        "liger_layer_norm": ("speed: a fused kernel for norms", (None, False)),
        "liger_glu_activation": ("memory: a fused kernel for MLP layers", (None, False)),
        "liger_swiglu": ("memory: a fused kernel for MLP layers (old name)", (None, False)),
        "liger_cross_entropy": ("memory: a fused kernel for the loss", (None, False)),
        "liger_fused_linear_cross_entropy": ("memory: the loss is computed without the whole logits", (None, False)),
        "liger_use_token_scaling": ("the loss of each token is weighted by its probability", (None, False)),
        "liger_kernel_impl": ("speed: which variant of the kernels", (None,)),
    },
    "llm_compressor.LLMCompressorPlugin": {"llmcompressor": ("weights are pruned or compressed", (None, {}))},
    "mora.MoraPlugin": {"mora": ("square matrices take the place of LoRA's", (None, {}))},
    "nemo_gym.NemoGymPlugin": {
        f"nemo_gym_{name}": ("rewards come from NeMo Gym", (None,))
        for name in ("auto_clone", "auto_start", "config_paths", "datasets", "dir", "enabled", "head_port", "max_turns",
                     "model_name", "multi_turn", "run_timeout", "server_timeout", "verify_timeout")
    },
    "spectrum.SpectrumPlugin": {
        "spectrum_top_fraction": ("only the layers with the best signal are trained", (None,)),
        "spectrum_model_name": ("the model whose measured layers are used", (None,)),
    },
}  # fmt: skip

_REPORTING_PLUGINS: dict[str, tuple[str, tuple[str, ...]]] = {
    "lm_eval.LMEvalPlugin": (
        "benchmarks run after training",
        ("lm_eval_batch_size", "lm_eval_model", "lm_eval_post_train", "lm_eval_tasks"),
    ),
    "swanlab.SwanLabPlugin": (
        "metrics are sent to SwanLab",
        ("use_swanlab", *(f"swanlab_{name}" for name in (
            "api_host", "api_key", "completion_log_interval", "completion_max_buffer", "description", "experiment_name",
            "lark_secret", "lark_webhook_url", "log_completions", "log_model", "mode", "project", "web_host",
            "workspace"))),
    ),
}  # fmt: skip


def _loaded(name: str) -> Condition | None:
    full = f"{_INTEGRATIONS}.{name}"
    return None if full in ALWAYS_LOADED else plugin(full)


PLUGIN_KEYS: tuple[Entry, ...] = (
    *(
        Private(name, effect, off=off, when=_loaded(owner))
        for owner, keys in _PLUGIN_KEYS.items()
        for name, (effect, off) in keys.items()
    ),
    *(
        Private(name, effect, when=_loaded(owner), reporting=True)
        for owner, (effect, names) in _REPORTING_PLUGINS.items()
        for name in names
    ),
)
"""One row for each key that a plugin adds to the config class (the schema's `plugin …` sections)."""
