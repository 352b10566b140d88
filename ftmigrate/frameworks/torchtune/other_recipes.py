"""The keys of torchtune's recipes that are no supervised or preference training: what each does, and when it counts."""

from __future__ import annotations

from ftmigrate.frameworks.table import Entry, Field, Missing, Private
from ftmigrate.run.conditions import Condition, is_

_DISTILLED = is_("method.name", "distillation")
_PPO = is_("method.name", "ppo")
_GRPO = is_("method.name", "grpo")
_STREAMS = is_("method.name", "sft with weighted streaming sources")
_EARLY = is_("method.name", "early exit training")
_GENERATES = is_("method.name", "generation (no training)", "ppo", "grpo", "evaluation (no training)")
_UNTRAINED = is_("method.name", "generation (no training)", "evaluation (no training)", "quantisation (no training)")


def _keys(when: Condition, **effects: str) -> list[Entry]:
    return [Private(key, effect, off=(), when=when) for key, effect in effects.items()]


ENTRIES: tuple[Entry, ...] = (
    Field("grpo_samples", "sampling.group_size", when=_GRPO),
    Field("max_generated_tokens", "sampling.max_tokens", when=_GRPO),
    Field("temperature", "sampling.temperature", when=_GRPO),
    Field("top_k", "sampling.top_k", when=_GRPO),
    Field("ppo_epochs", "sampling.updates", when=_GRPO),
    Field("reward_functions", "method.rewards", absent="those that the recipe names", when=_GRPO),
    Missing("sampling.top_p", 1.0),
    Missing("method.reward_weights", None, "rewards are summed as they are"),
    Missing("method.margin", None),
    Missing("method.likelihood", 0.0),
    Missing("method.desirable_weight", 1.0),
    Missing("method.undesirable_weight", 1.0),
    Missing("method.reward_centering", None),
    *_keys(
        _DISTILLED,
        teacher_model="the model that is learnt from",
        teacher_checkpointer="the teacher's weights",
        kd_loss="how far the model's token probabilities are from the teacher's",
        kd_ratio="the teacher's share in the loss",
    ),
    *_keys(
        _PPO,
        policy_model="the model that is trained",
        reward_and_value_model="the reward model, which is also where the value model starts",
        ref_policy_checkpointer="weights of the reference model",
        reward_checkpointer="weights of the reward model",
        value_checkpointer="weights that the value model starts from",
        ppo_batch_size="sampled replies per update",
        gamma="discount of later rewards",
        lmbda="how far advantages look ahead",
        kl_coeff="strength of the pull towards the reference model",
        whiten_rewards="rewards are normalised over the batch",
        min_response_length="shorter replies get the penalty",
        penalise_no_eos="replies without an end token get the penalty",
        reward_penalty="the reward of a reply that is penalised",
        stop_token_ids="tokens that end a reply",
    ),
    *(
        entry
        for when in (_PPO, _GRPO)
        for entry in _keys(
            when,
            forward_batch_size="replies that are sampled at a time",
            num_steps="sampled batches until the end",
            ppo_epochs="updates on each sampled batch",
        )
    ),
    *_keys(
        _GRPO,
        ref_checkpointer="weights of the reference model",
        grpo_samples="replies sampled for a prompt",
        save_every_n_epochs="when a checkpoint is written",
        reward_functions="what replies are rewarded for",
        training="the workers that update the model: optimizer, loss, checkpoints, batches",
        inference="the workers that sample replies: model, engine, batches, sampling",
        postprocessing="the workers that score replies against the reference model",
        orchestration="how many workers of each kind, and the queue between them",
        debug_logging_enabled="further figures in the log",
        debug_num_samples_per_step="sampled replies in the log",
    ),
    *_keys(
        _STREAMS,
        datasets="streams of rows, each with its weight",
        dataloader="packing, shuffling and workers of the mixed stream",
    ),
    *_keys(
        _EARLY,
        layer_dropout="layers are skipped at random",
        early_exit_loss="the outputs of early layers are trained as well",
    ),
    *_keys(
        _GENERATES,
        temperature="how random sampled tokens are",
        top_k="tokens that are sampled from",
        max_generated_tokens="longest reply that is sampled",
        max_new_tokens="longest text that is generated",
        enable_kv_cache="speed: keys and values of earlier tokens are kept",
    ),
    *_keys(
        _UNTRAINED,
        prompt="what text is generated for",
        use_distributed_state_dict="how weights are loaded",
        use_flex="the attention implementation",
        tasks="the benchmarks",
        limit="rows of each benchmark",
        max_seq_length="longest row of a benchmark",
        chat_template="benchmarks are asked as chats",
        instruct_template="text that the prompt is put into (up to 0.3)",
        chat_format="text around the messages (up to 0.3)",
        include_path="where further benchmarks are defined",
        quantizer="how weights are quantised",
    ),
)
