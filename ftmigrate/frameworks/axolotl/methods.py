"""Methods of training: which Axolotl can say, and of the others why not and what comes nearest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftmigrate.document.model import Value
from ftmigrate.frameworks.axolotl.forms import METHOD_KEYS, method_of
from ftmigrate.frameworks.reader import Reader
from ftmigrate.frameworks.table import CannotSay, Codec, Keys
from ftmigrate.run.conditions import View
from ftmigrate.run.methods import PAIRED, POLICY, PREFERENCE
from ftmigrate.run.source import Decoded

WRITTEN: Mapping[str, Mapping[str, Value]] = {
    "sft": {},
    "dpo": {"rl": "dpo"},
    "qat": {"qat.weight_dtype": "int4"},
}
"""The methods that are written, with the keys that say them."""

NEAREST: Mapping[str, str] = {
    "distillation": "Axolotl's KD plugin (axolotl.integrations.kd.KDPlugin) learns from a teacher's few most probable "
    "tokens, written into the data beforehand (target_token_ids, target_logprobs, target_mask) or asked from a vLLM "
    "or SGLang server, not from a teacher model in the process over the whole vocabulary. Prepare such data, then set "
    "kd_trainer: true, kd_ce_alpha to 1 minus the share of the teacher, kd_alpha to that share, and kd_temperature; "
    "the sums differ, as the rest of the vocabulary is left out",
    "ppo": "Axolotl has no PPO: it trains no value model beside the policy. Its policy training from rewards is "
    "rl: grpo, another algorithm, with reward functions in Python (trl.reward_funcs); reward models are trained with "
    "reward_model: true, and rl: dpo learns from preference pairs without any reward model",
    "grpo": "Axolotl has GRPO (rl: grpo), but by TRL's trainer: rewards are Python functions of your own with another "
    "signature (trl.reward_funcs), samples come from vLLM (trl.use_vllm, a vllm block), and batches, sampling, "
    "clipping and the pull towards the reference model are set under trl (num_generations, max_completion_length, beta, …). "
    "Port the reward functions and the prompts by hand",
    "early exit training": "Axolotl neither skips layers at random (layer dropout) nor trains the outputs of early "
    "layers; nothing in it comes near. The same data and adapter settings without those two train an ordinary model: "
    "convert with --recipe and the plain fine-tuning recipe, if that is what you want",
    "sft with weighted streaming sources": "Axolotl mixes sources by taking a share of each before training (weight, "
    "at most 1, under datasets) and shuffles the rows together once; streams that are drawn from by weight for as long as "
    "the run lasts are not to be had. Take shares that give the same mixture and set "
    "num_epochs or max_steps",
    "generation (no training)": "there is nothing to train. Axolotl generates text with `axolotl inference CONFIG "
    "--lora-model-dir DIR` (or --prompter, --gradio) from the config of a training run; the prompt is typed in",
    "evaluation (no training)": "there is nothing to train. Axolotl runs benchmarks with `axolotl lm-eval CONFIG` and "
    "the plugin axolotl.integrations.lm_eval.LMEvalPlugin (lm_eval_tasks, lm_eval_model, lm_eval_batch_size), the loss "
    "on evaluation rows with `axolotl evaluate CONFIG`; both need the config of a training run",
    "quantisation (no training)": "there is nothing to train. Axolotl quantises a model with `axolotl quantize CONFIG` "
    "and a quantization block (weight_dtype, activation_dtype, group_size), or with the config of a QAT run",
}
"""Of methods that are not written: the reason and the nearest thing."""

_OTHERS = "ftmigrate does not write it for Axolotl; what it writes: " + ", ".join(WRITTEN)


# What TRL's trainers do, of whatever framework they are told by (trl 1.14; PRM: axolotl/core/trainers/prm).
ADAPTED_BY_TRL = ("dpo", "ipo", "kto")
WITHOUT_DROPOUT = (*PAIRED, "kto", "process reward")
NORMALISED: Mapping[str, str] = {"kto": "rows of the step", "orpo": "mean of micro batches"}
OVERLONG: Mapping[str, str] = {
    "reward": "truncate",
    "process reward": "truncate",
    **dict.fromkeys((*POLICY, "ebft"), "kept whole"),
}
LOSSES: Mapping[str, str] = {
    "kto": "KTO's, against the mean divergence of a micro batch",
    "orpo": "cross entropy of the whole chosen text, prompt included, and beta times the odds ratio of the replies",
    "reward": "sigmoid of the difference of the two scores",
    "process reward": "cross entropy of the steps' labels",
}
OR_ONE = Codec(lambda value, _: value or 1.0, lambda value, _: value)
LISTED = Codec(
    lambda value, _: tuple(value) if isinstance(value, list) else value,
    lambda value, _: list(value) if isinstance(value, tuple) else value,
)


def decode(keys: Keys, _: Reader) -> Mapping[str, Decoded]:
    """`rl` names the method, else a reward model's key; without them, a qat block makes the run one of that kind."""
    method = method_of(keys)
    if method is not None:
        said = next((key for key in ("rl", *METHOD_KEYS) if keys.get(key)), "rl")
        return {"method.name": Decoded(method, (said,))}
    rounded = tuple(key for key in keys if key.startswith("qat") and keys[key])
    return {"method.name": Decoded("qat" if rounded else "sft", rounded)}


def propose(wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    method = wanted["method.name"]
    if method not in WRITTEN:
        raise CannotSay(NEAREST.get(str(method), _OTHERS))
    yield WRITTEN[method]


def refused(reader: Reader) -> str | None:
    """What Axolotl's validators refuse though each key of it can be said."""
    if reader.get("method.name") not in PREFERENCE:
        return None
    stored = reader.get("model.quantization")
    if reader.get("parallel.strategy") == "fsdp2" and stored != "none":
        return (
            f"Axolotl refuses base weights stored as {stored} together with FSDP2 in preference training (check_fsdp2_"
            "base_model_quant_rl). Nearest: bf16 base weights (--set model.quantize_base=false or the builder without "
            "q), or one GPU (the single-device recipe), or DeepSpeed instead of FSDP by hand"
        )
    return None


def adapter_dtype(reader: Reader) -> Mapping[str, Decoded]:
    """In preference training: PEFT's default, fp32, but bf16 over quantised base weights."""
    return {"adapter.dtype": Decoded("fp32" if reader.get("model.quantization") == "none" else "bf16")}


# --- preference losses ------------------------------------------------------------------------------------------

LOSS_KEYS = ("dpo_loss_type", "dpo_label_smoothing", "dpo_loss_weights")
LOSS_SETTINGS = ("method.label_smoothing", "method.loss")
_SORTED = "aot"


def loss(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    """trl/trainer/dpo_trainer.py, _compute_loss. `aot` sorts within a micro batch: with one pair it is the smoothed
    sigmoid; `sigmoid` itself does not look at label_smoothing."""
    method = reader.get("method.name")
    if method not in PREFERENCE:
        return {"method.loss": Decoded("cross entropy", ()), "method.label_smoothing": Decoded(0.0)}
    listed = keys.get("dpo_loss_type")
    used = tuple(key for key in ("dpo_loss_type",) if key in keys)
    names = [str(name) for name in listed] if isinstance(listed, list) else ["ipo" if method == "ipo" else "sigmoid"]
    if method == "simpo":
        text = "sigmoid of mean log probabilities with a margin (SimPO)"
        return {"method.loss": Decoded(text), "method.label_smoothing": Decoded(0.0)}
    weights = keys.get("dpo_loss_weights")
    smoothing = keys.get("dpo_label_smoothing") or 0.0
    if len(names) > 1 or weights:
        shares = weights if isinstance(weights, list) else [1.0] * len(names)
        parts = " + ".join(f"{share} × {name}" for share, name in zip(shares, names, strict=False))
        return {"method.loss": Decoded(parts, (*used, *_weights(keys))), "method.label_smoothing": Decoded(0.0)}
    name = names[0]
    if name == _SORTED and keys.get("micro_batch_size", reader.get("batch.micro_size")) == 1:
        name = "sigmoid"
        why = "aot sorts the pairs of a micro batch; with one pair it is the sigmoid loss with label smoothing"
        return {
            "method.loss": Decoded(name, used, why),
            "method.label_smoothing": Decoded(smoothing, ("dpo_label_smoothing", "dpo_loss_type"), why),
        }
    counts = name not in ("sigmoid", "hinge", "ipo")
    return {
        "method.loss": Decoded(name, used),
        "method.label_smoothing": Decoded(smoothing if counts else 0.0, ("dpo_label_smoothing",) if counts else ()),
    }


def single_loss(reader: Reader) -> Mapping[str, Decoded]:
    """The loss of a method that has one only."""
    return {"method.loss": Decoded(LOSSES[str(reader.get("method.name"))])}


def _weights(keys: Keys) -> tuple[str, ...]:
    return tuple(key for key in ("dpo_loss_weights",) if key in keys)


def propose_loss(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    """What the default loss or a named one says without changing the batch."""
    name, smoothing = wanted.get("method.loss"), wanted.get("method.label_smoothing")
    if name == "sigmoid" and smoothing and reader.get("batch.micro_size") == 1:
        yield {"dpo_loss_type": [_SORTED], "dpo_label_smoothing": smoothing}
    if name == "sigmoid":
        yield {}
    elif name in ("hinge", "ipo"):
        yield {"dpo_loss_type": [name]}
    elif name is not None and "(IPO)" in str(name):
        yield {"dpo_loss_type": ["ipo"]}
    else:
        raise CannotSay(f"{name} is no loss that is written for rl: dpo; rl: simpo has a SimPO loss of its own")


def propose_smoothing(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    """One pair in a micro batch, the accumulation longer by as much: the mean over the step's pairs stays the same."""
    size, steps = reader.get("batch.micro_size"), reader.get("batch.accumulation")
    smoothing = wanted.get("method.label_smoothing")
    if (
        wanted.get("method.loss", "sigmoid") == "sigmoid"
        and smoothing
        and isinstance(size, int)
        and isinstance(steps, int)
    ):
        yield {
            "dpo_loss_type": [_SORTED],
            "dpo_label_smoothing": smoothing,
            "micro_batch_size": 1,
            "gradient_accumulation_steps": size * steps,
        }


# --- rounding in training ---------------------------------------------------------------------------------------

QAT_KEYS = ("qat.weight_dtype", "qat.activation_dtype")
QAT_SETTINGS = ("qat.weight_dtype", "qat.activation_dtype", "qat.grid")


def rounding(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    """utils/quantization.py, _make_qat_config, and torchao's Int4WeightFakeQuantizer."""
    weights = keys.get("qat.weight_dtype", reader.or_default("qat.weight_dtype"))
    activations = keys.get("qat.activation_dtype")
    args = tuple(keys)
    grid = "as torchao has it for this pair of types"
    if weights == "int4" and activations == "int8":
        grid = "between least and greatest"
    elif weights == "int4":
        grid = "around zero, of rows rounded to fp8 first"
    return {
        "qat.weight_dtype": Decoded(weights, args[:1] if "qat.weight_dtype" in keys else ()),
        "qat.activation_dtype": Decoded(activations, tuple(key for key in args if key == "qat.activation_dtype")),
        "qat.grid": Decoded(grid, args),
    }


def propose_rounding(wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    if "qat.weight_dtype" not in wanted:
        return
    found: dict[str, Value] = {"qat.weight_dtype": wanted["qat.weight_dtype"]}
    if wanted.get("qat.activation_dtype") is not None:
        found["qat.activation_dtype"] = wanted["qat.activation_dtype"]
    yield found


def _encode_after(value: Any, _: View) -> Value:
    if value == "never":
        raise CannotSay("rounding from the first step on; without it leave the qat block out")
    found: Value = value
    return found


AFTER = Codec(lambda value, _: value, _encode_after)
