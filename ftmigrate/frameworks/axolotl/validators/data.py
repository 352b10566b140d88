"""Checks of data, packing, streaming, evaluation and saving."""

from __future__ import annotations

from ftmigrate.frameworks.checks import (
    Check,
    View,
    absent,
    any_on,
    below,
    differ,
    drop,
    each,
    given,
    is_,
    is_not,
    numbers,
    off,
    on,
    put,
    starts,
    test,
)

METRICS = ("sacrebleu", "comet", "ter", "chrf", "perplexity")
ENCODED = test(lambda view: view.get("type") != "_synthetic", "type")


def _roles_clash(old: str, role: str) -> Check:
    def holds(view: View) -> bool:
        said, mapped = view.get(old), view.get(f"message_property_mappings.{role}")
        return said is not None and mapped is not None and said != mapped

    return Check(
        "AX201",
        "handle_legacy_message_fields",
        is_not("rl", "dpo", "ipo", "simpo", "kto") & each("datasets", ENCODED & test(holds, old)),
        f"A dataset has {old} and another field for `{role}` in message_property_mappings: Axolotl does not start. "
        f"{old} is the old spelling; remove it and keep message_property_mappings.",
    )


def _unknown_metrics(view: View) -> bool:
    value = view.get("eval_causal_lm_metrics")
    return bool(value) and (not isinstance(value, list) or any(item not in METRICS for item in value))


def _few_turns(view: View) -> bool:
    low, high = view.get("min_turns") or 1, view.get("max_turns") or 1
    return isinstance(low, int) and isinstance(high, int) and low > 1 and high <= low


def _short_rows(view: View) -> bool:
    low, high, length = view.get("min_turns") or 1, view.get("max_turns") or 1, view.get("sequence_length")
    share = view.get("input_fraction")
    if share is None:
        share = 0.25 if high > 1 else 0
    if length is None or not (high > 1 or share > 0):
        return False
    shortest = view.get("min_turn_length")
    tokens = max(32 if shortest is None else shortest, 2 if share > 0 else 1)
    return bool(length < tokens * low)


CHECKS = (
    Check(
        "AX206",
        "check_dataset_or_pretraining_dataset",
        absent("datasets") & absent("pretraining_dataset"),
        "Neither datasets nor pretraining_dataset is there: Axolotl has nothing to train on and does not start. "
        "Give one of them.",
    ),
    Check(
        "AX206",
        "deprecate_sharegpt_datasets",
        each("datasets", starts("type", "sharegpt")),
        "A dataset has `type: sharegpt`, which is gone. Use `type: chat_template` with "
        "`field_messages: conversations` and `message_property_mappings: {role: from, content: value}`.",
        told="AX011",
    ),
    _roles_clash("message_field_role", "role"),
    _roles_clash("message_field_content", "content"),
    Check(
        "AX213",
        "SFTDataset.check_chat_template_config",
        is_not("rl", "dpo", "ipo", "simpo", "kto")
        & each("datasets", ENCODED & is_("chat_template", "jinja") & off("chat_template_jinja")),
        "A dataset has `chat_template: jinja` without the template itself. Give it in chat_template_jinja, beside it.",
    ),
    Check(
        "AX206",
        "validate_turns",
        is_not("rl", "dpo", "ipo", "simpo", "kto")
        & each("datasets", is_("type", "_synthetic") & test(_few_turns, "max_turns")),
        "A synthetic dataset with several turns has max_turns that is not above min_turns. Raise max_turns.",
    ),
    Check(
        "AX206",
        "validate_turns",
        is_not("rl", "dpo", "ipo", "simpo", "kto")
        & each("datasets", is_("type", "_synthetic") & test(_short_rows, "sequence_length")),
        "A synthetic dataset's sequence_length is too short for its min_turns. Raise sequence_length.",
    ),
    Check(
        "AX202",
        "check_push_ds_auth",
        on("push_dataset_to_hub") & is_not("hf_use_auth_token", True),
        "push_dataset_to_hub is set without `hf_use_auth_token: true`, which it needs. Add it.",
        put("hf_use_auth_token", True),
    ),
    Check(
        "AX201",
        "check_val_w_test_datasets",
        on("test_datasets", "val_set_size"),
        "test_datasets and val_set_size are both set: evaluation data comes from one of them. "
        "Remove val_set_size to keep test_datasets.",
        drop("val_set_size"),
    ),
    Check(
        "AX206",
        "check_eval_packing",
        on("sample_packing", "eval_table_size") & is_not("eval_sample_packing", False),
        "eval_table_size does not work on packed evaluation rows. Set `eval_sample_packing: false`.",
        put("eval_sample_packing", False),
    ),
    Check(
        "AX206",
        "check_deduplication_with_streaming",
        on("dataset_exact_deduplication") & any_on("streaming", "pretraining_dataset"),
        "dataset_exact_deduplication needs the whole data set and cannot be used with streaming. "
        "Remove it, or load the data whole.",
        drop("dataset_exact_deduplication"),
    ),
    Check(
        "AX206",
        "check_deduplication_with_skip_prepare",
        on("dataset_exact_deduplication", "skip_prepare_dataset"),
        "dataset_exact_deduplication is done while the data is prepared, which skip_prepare_dataset leaves out. "
        "Remove one of them.",
    ),
    Check(
        "AX202",
        "check_pretraining_w_max_steps",
        on("pretraining_dataset") & off("max_steps"),
        "pretraining_dataset is streamed, so nobody knows how long an epoch is: max_steps must be set.",
    ),
    Check(
        "AX202",
        "check_streaming_w_max_steps",
        on("streaming") & off("max_steps"),
        "With `streaming: true` nobody knows how long an epoch is: max_steps must be set.",
    ),
    Check(
        "AX201",
        "check_pretraining_w_val_set_size",
        on("pretraining_dataset", "val_set_size"),
        "val_set_size cannot split a streamed pretraining_dataset. Name evaluation data in test_datasets, "
        "or remove val_set_size.",
        drop("val_set_size"),
    ),
    Check(
        "AX201",
        "check_streaming_w_val_set_size",
        on("streaming", "val_set_size"),
        "val_set_size cannot split streamed data. Name evaluation data in test_datasets, or remove val_set_size.",
        drop("val_set_size"),
    ),
    Check(
        "AX206",
        "check_streaming_w_multiple_datasets",
        on("streaming", "sample_packing") & test(lambda view: len(view.get("datasets") or ()) > 1, "datasets"),
        "Packing streamed rows works with a single dataset only; there are several. "
        "Set `sample_packing: false`, or do not stream.",
    ),
    Check(
        "AX206",
        "pretrain_with_tps",
        on("pretraining_dataset", "include_tokens_per_second"),
        "include_tokens_per_second counts all tokens beforehand, which a streamed pretraining_dataset does not allow. "
        "Remove it.",
        drop("include_tokens_per_second"),
    ),
    Check(
        "AX206",
        "check_label_balanced_packing",
        on("balance_labels")
        & (
            (off("sample_packing") & any_on("streaming", "pretraining_dataset", "group_by_length"))
            | any_on("sample_packing_sequentially", "curriculum_sampling", "diffusion_lm")
            | any_on("rl", "reward_model", "process_reward_model")
        ),
        "balance_labels reorders rows of supervised fine-tuning; it cannot be used with streaming or group_by_length "
        "unless packed, nor with sequential packing, curriculum_sampling, diffusion_lm, rl or reward models. "
        "Remove balance_labels or the other.",
    ),
    Check(
        "AX202",
        "check_label_balanced_packing",
        numbers(lambda window: window > 1, "label_balance_window_optim_steps") & off("balance_labels"),
        "label_balance_window_optim_steps is {label_balance_window_optim_steps} without balance_labels, which it needs.",
        put("balance_labels", True),
    ),
    Check(
        "AX206",
        "check_label_balanced_packing",
        numbers(lambda window: window > 1, "label_balance_window_optim_steps")
        & on("balance_labels")
        & any_on("streaming", "pretraining_dataset"),
        "label_balance_window_optim_steps above 1 needs data that is not streamed.",
    ),
    Check(
        "AX206",
        "check_label_balanced_packing",
        on("balance_labels", "accelerator_config.split_batches"),
        "balance_labels needs `split_batches: false` in accelerator_config.",
        put("accelerator_config.split_batches", False),
    ),
    Check(
        "AX201",
        "check_saves",
        on("save_strategy", "save_steps") & is_not("save_strategy", "steps"),
        "save_steps is {save_steps} and save_strategy is {save_strategy}: saving by steps needs "
        "`save_strategy: steps`. Set that, or remove save_steps.",
        drop("save_steps"),
    ),
    Check(
        "AX201",
        "check_saves",
        on("saves_per_epoch", "save_steps"),
        "saves_per_epoch and save_steps are both set: one of them says how often to save. Remove the other.",
    ),
    Check(
        "AX202",
        "check_save_strategy_best_requires_metric",
        is_("save_strategy", "best") & off("metric_for_best_model"),
        "`save_strategy: best` needs to know what is best: set metric_for_best_model, such as eval_loss.",
        put("metric_for_best_model", "eval_loss"),
    ),
    Check(
        "AX201",
        "check_evals",
        on("eval_strategy", "eval_steps") & is_not("eval_strategy", "steps"),
        "eval_steps is {eval_steps} and eval_strategy is {eval_strategy}: evaluating by steps needs "
        "`eval_strategy: steps`. Set that, or remove eval_steps.",
        drop("eval_steps"),
    ),
    Check(
        "AX207",
        "check_evals",
        test(lambda view: (size := view.get("val_set_size")) is not None and size == 0, "val_set_size")
        & any_on("eval_steps", "eval_strategy")
        & off("test_datasets")
        & is_not("eval_strategy", "no"),
        "Evaluation is asked for and val_set_size is 0: there is nothing to evaluate on. "
        "Set val_set_size or test_datasets, or remove eval_steps and eval_strategy.",
        keys=("val_set_size", "eval_steps", "eval_strategy"),
    ),
    Check(
        "AX201",
        "check_evals",
        on("evals_per_epoch", "eval_steps"),
        "evals_per_epoch and eval_steps are both set: one of them says how often to evaluate. Remove the other.",
    ),
    Check(
        "AX201",
        "check_evals",
        on("evals_per_epoch", "eval_strategy") & is_not("eval_strategy", "steps"),
        "evals_per_epoch needs `eval_strategy: steps` or no eval_strategy; it is {eval_strategy}.",
        drop("eval_strategy"),
    ),
    Check(
        "AX202",
        "check_evals",
        on("do_bench_eval") & off("evals_per_epoch", "eval_steps"),
        "do_bench_eval needs evals_per_epoch or eval_steps, to know when.",
    ),
    Check(
        "AX201",
        "check_causal_lm_evals",
        on("do_causal_lm_eval", "eval_sample_packing"),
        "do_causal_lm_eval does not work on packed evaluation rows (eval_sample_packing follows sample_packing when it "
        "is not set). Set `eval_sample_packing: false`.",
        put("eval_sample_packing", False),
    ),
    Check(
        "AX215",
        "check_causal_lm_evals",
        test(_unknown_metrics, "eval_causal_lm_metrics"),
        f"eval_causal_lm_metrics must be a list of {', '.join(METRICS)}.",
    ),
    Check(
        "AX202",
        "check_early_stopping",
        on("early_stopping_patience") & (off("save_steps") | off("eval_steps")),
        "early_stopping_patience needs save_steps and eval_steps (saves_per_epoch and evals_per_epoch do not count).",
    ),
    Check(
        "AX207",
        "check_early_stopping",
        on("early_stopping_patience", "save_steps", "eval_steps")
        & numbers(lambda save, evaluate: save % evaluate != 0, "save_steps", "eval_steps"),
        "With early_stopping_patience each save must be at an evaluation: save_steps {save_steps} is no multiple of "
        "eval_steps {eval_steps}.",
        keys=("save_steps", "eval_steps", "early_stopping_patience"),
    ),
    Check(
        "AX302",
        "check_streaming_w_dataset_weight",
        on("streaming") & each("datasets", below("weight", 1)),
        "A dataset's weight has no effect on streamed data: rows come as they are. Do not stream to mix by weight.",
    ),
    Check(
        "AX302",
        "check_push_save",
        on("hub_model_id") & given("save_strategy") & is_not("save_strategy", "steps", "epoch"),
        "hub_model_id is set and save_strategy is {save_strategy}: nothing is uploaded while training. "
        "Use steps or epoch to upload checkpoints.",
    ),
    Check(
        "AX304",
        "check_pretraining_w_group_by_length",
        on("pretraining_dataset", "group_by_length"),
        "group_by_length downloads the whole of a streamed pretraining_dataset first. Remove it.",
        drop("group_by_length"),
    ),
    Check(
        "AX303",
        "check_pretraining_streaming_deprecation",
        on("pretraining_dataset") & off("streaming"),
        "pretraining_dataset streams without saying so; a later release will not. Set `streaming: true` to keep it.",
        put("streaming", True, safe=True),
    ),
    Check(
        "AX303",
        "hint_batch_size_set",
        on("batch_size"),
        "batch_size {batch_size} is shared among the GPUs, so that the steps depend on their number. Set "
        "gradient_accumulation_steps instead.",
        keys=("batch_size",),
    ),
    Check(
        "AX305",
        "check_wandb_run",
        on("wandb_run_id") & off("wandb_name"),
        "wandb_run_id is the id of the run, and becomes its name too. Set wandb_name to name it.",
        keys=("wandb_run_id",),
    ),
    Check(
        "AX304",
        "hint_eval_train_mbsz",
        on("eval_batch_size", "micro_batch_size") & differ("eval_batch_size", "micro_batch_size"),
        "eval_batch_size {eval_batch_size} is not micro_batch_size {micro_batch_size}: memory use jumps at evaluations.",
    ),
    Check(
        "AX305",
        "check_test_datasets_bench",
        on("do_bench_eval") & off("test_datasets", "val_set_size"),
        "do_bench_eval without evaluation data makes Axolotl add an empty data set from the hub. "
        "Name evaluation data in test_datasets to say what is used.",
    ),
)
