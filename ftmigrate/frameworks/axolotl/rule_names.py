"""Names that are any text to Axolotl's schema, and that its lint rules know."""

from __future__ import annotations

# prompt_strategies/ of 0.21.0, with the types of preference data
TYPES = (
    "alpaca", "alpaca_chat", "alpaca_w_system", "bradley_terry", "chat_template", "chatml", "completion", "context_qa",
    "creative_acr", "explainchoice", "gpteacher", "input_output", "jeopardy", "llama2_chat", "llama3", "metharme",
    "oasst", "orcamini", "pretrain", "pygmalion", "reflection", "stepwise_supervised", "summarizetldr",
    "user_defined", "zephyr", "passthrough",
)  # fmt: skip
PREFERENCE_TYPES = ("chatml", "llama3", "zephyr", "passthrough", "user_defined", "bradley_terry")
# the modules of prompt_strategies/dpo, kto and orpo (utils/data/rl.py)
_OF_PAIRS = ("chat_template", "chatml", "llama3", "passthrough", "user_defined", "zephyr")
TYPES_OF = {"dpo": _OF_PAIRS, "ipo": _OF_PAIRS, "simpo": _OF_PAIRS, "kto": ("chatml", "llama3", "user_defined"),
            "orpo": ("chat_template",)}  # fmt: skip
# transformers' training_args.py (OptimizerNames) and trainer_utils.py (SchedulerType), as 0.21.0 is installed with; the
# first line of each is older releases' or Axolotl's own (core/builders/base.py), beside those that the schema names
OPTIMIZERS = (
    "adamw_hf", "adamw_apex_fused", "lion_pytorch",
    "adafactor", "adagrad", "adalomo", "adamw_8bit", "adamw_anyprecision", "adamw_bnb_8bit", "adamw_torch",
    "adamw_torch_4bit", "adamw_torch_8bit", "adamw_torch_fused", "adamw_torch_npu_fused", "adamw_torch_xla", "ademamix",
    "ademamix_8bit", "apollo_adamw", "apollo_adamw_layerwise", "galore_adafactor", "galore_adafactor_layerwise",
    "galore_adamw", "galore_adamw_8bit", "galore_adamw_8bit_layerwise", "galore_adamw_layerwise", "grokadamw",
    "lion_32bit", "lion_8bit", "lomo", "paged_adamw_32bit", "paged_adamw_8bit", "paged_ademamix_32bit",
    "paged_ademamix_8bit", "paged_lion_32bit", "paged_lion_8bit", "rmsprop", "rmsprop_bnb", "rmsprop_bnb_32bit",
    "rmsprop_bnb_8bit", "schedule_free_adamw", "schedule_free_radam", "schedule_free_sgd", "sgd", "stable_adamw",
)  # fmt: skip
SCHEDULERS = (
    "rex", "one_cycle",
    "constant", "constant_with_warmup", "cosine", "cosine_warmup_with_min_lr", "cosine_with_min_lr",
    "cosine_with_restarts", "greedy", "inverse_sqrt", "linear", "polynomial", "reduce_lr_on_plateau",
    "warmup_stable_decay",
)  # fmt: skip
# transformers' names of the layers of models whose own names tell which they are
LAYERS = (
    (r"(?i)qwen-?2", "Qwen2DecoderLayer"),
    (r"(?i)qwen-?3-\d+(\.\d)?b(?!-a\d)", "Qwen3DecoderLayer"),
    (r"(?i)llama-?[23]|tinyllama", "LlamaDecoderLayer"),
    (r"(?i)mixtral", "MixtralDecoderLayer"),
    (r"(?i)mistral-7b", "MistralDecoderLayer"),
    (r"(?i)gemma-2-", "Gemma2DecoderLayer"),
    (r"(?i)phi-3-(mini|medium)", "Phi3DecoderLayer"),
)
# the end of text of models that are not tuned to chat, in their own tokenizers' configs
ENDS = (
    (r"(?i)llama-3(\.\d)?-\d+b$", "<|end_of_text|>"),
    (r"(?i)qwen2(\.5)?-[\d.]+b$|qwen3-[\d.]+b-base$", "<|endoftext|>"),
    (r"(?i)gemma-2-\d+b$|gemma-3-\d+[bm]-pt$", "<eos>"),
    (r"(?i)llama-2-\d+b(-hf)?$|mistral-7b-v\d|mixtral-8x\d+b-v\d", "</s>"),
)
# what the names of transformers' classes of models end with, behind `For`; rarer ones are not judged
HEADS = ("CausalLM", "ConditionalGeneration", "SequenceClassification", "TokenClassification", "ImageTextToText")
# instruction-tuned models by name, with the templates that are theirs or that take the tokenizer's own
TEMPLATES = (
    (r"(?i)llama-3(\.\d)?-.*instruct", ("llama3", "llama3_2_vision")),
    (r"(?i)llama-2-.*chat", ()),
    (r"(?i)mistral.*instruct|mixtral.*instruct", ("mistral_v1", "mistral_v2v3", "mistral_v3_tekken", "mistral_v7_tekken")),
    (r"(?i)qwen2.*instruct", ("qwen_25", "chatml", "qwen2_vl")),
    (r"(?i)gemma-(2-)?\d+b-it", ("gemma",)),
    (r"(?i)phi-3-.*instruct", ("phi_3",)),
)  # fmt: skip
