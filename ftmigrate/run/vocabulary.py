"""The vocabulary: every setting of a run, declared once. All frameworks' tables answer all of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from msgspec import Struct

from ftmigrate.run.conditions import Condition, is_, is_not
from ftmigrate.run.likeness import Difference, compare
from ftmigrate.run.methods import PAIRED, POLICY, PREFERENCE, REFERRED, SUPERVISED, WEIGHTED
from ftmigrate.run.model import ALL_LINEAR, NOT_APPLICABLE, AllLinear, External, Symbol
from ftmigrate.run.rendering import Rendering
from ftmigrate.run.sample_rows import PADDED, PLAIN, TRAILING, UNREAD

SOURCE_PREFIX = "data.sources[]."


class Spec(Struct, frozen=True):
    """One setting.

    type and unit describe its values, meaning says what it does. effect: what a difference changes: training (which
    weights come out), resources (memory, speed), files (what is written where), reporting. when: the setting applies
    only then. differs: tells how two values differ, None if they are the same to training (`==` by default).
    loss: what a difference means for the user, with its measured size where known (facts of ours, in our words).
    same_result: without it the same is done in another way, so that a run that leaves it out comes near.
    free: in a run that it does not apply to, every value comes to the same.
    """

    path: str
    type: str
    meaning: str
    unit: str = ""
    effect: str = "training"
    when: Condition | None = None
    differs: Callable[[object, object, Mapping[str, str]], str | None] | None = None
    loss: str = ""
    same_result: bool = False
    free: bool = False


def number_differs(wanted: object, got: object, _: Mapping[str, str]) -> str | None:
    """Numbers are equal by value (1 and 1.0); a symbol only to itself."""
    if isinstance(wanted, int | float) and isinstance(got, int | float) and not isinstance(wanted, Symbol):
        return None if float(wanted) == float(got) else f"{wanted} against {got}"
    return None if wanted == got else f"{wanted} against {got}"


def _set_differs(wanted: object, got: object, _: Mapping[str, str]) -> str | None:
    if isinstance(wanted, tuple) and isinstance(got, tuple):
        return None if set(wanted) == set(got) else f"{', '.join(wanted)} against {', '.join(got)}"
    if isinstance(wanted, External) and wanted.reference.startswith(ALL_LINEAR) and isinstance(got, AllLinear):
        more = wanted.reference.removeprefix(ALL_LINEAR).removeprefix(" and ")
        return None if set(more.split(", ") if more else ()) <= set(got) else f"{wanted} against {', '.join(got)}"
    return None if wanted == got else f"{wanted} against {got}"


def _modules_differ(wanted: object, got: object, tokens: Mapping[str, str]) -> str | None:
    """As sets; `layer.part` is a part of a layer in which several are fused, with an adapter of its own."""
    found = _set_differs(wanted, got, tokens)
    if found is None or not isinstance(wanted, tuple) or not isinstance(got, tuple):
        return found
    words = []
    for layer in dict.fromkeys(name.split(".")[0] for name in wanted if "." in name):
        if layer in got:
            parts = ", ".join(name.split(".")[1] for name in wanted if name.startswith(f"{layer}."))
            words.append(f"{layer}: an adapter each on its parts {parts} in the source, one on all of it in the target")
    others = {name for name in wanted if "." not in name} ^ {name for name in got if not _within(name, wanted)}
    if not words or others:
        return found
    return "; ".join(words) + (
        " (its parts then share one A matrix, so that the update of all together has the rank that each had in the source, and "
        "parts without an adapter in the source are trained too; not measured)"
    )


def _within(layer: str, names: tuple[str, ...]) -> bool:
    return any(name.startswith(f"{layer}.") for name in names)


def _weights_differ(wanted: object, got: object, _: Mapping[str, str]) -> str | None:
    """A whole checkpoint is a whole checkpoint, however many files it has."""
    same = all(isinstance(value, str) and value.startswith("all") for value in (wanted, got))
    return None if same or wanted == got else f"{wanted} against {got}"


def _rendering_differs(*kinds: str) -> Callable[[object, object, Mapping[str, str]], str | None]:
    def differs(wanted: object, got: object, tokens: Mapping[str, str]) -> str | None:
        if not isinstance(wanted, Rendering) or not isinstance(got, Rendering):
            return None if wanted == got else f"{wanted} against {got}"
        found = [d for d in compare(wanted, got, tokens) if d.kind in kinds]
        if kinds == ("mask",) and len(found) > 1:
            return f"{_words(found[0])}, and likewise in rows of other shapes"
        return "; ".join(_words(d) for d in found) or None

    return differs


def _words(difference: Difference) -> str:
    """A difference with its measured size: ten and more steps of a tiny Llama, largest difference of the loss."""
    where, detail = difference.where, difference.detail
    if difference.kind == "mask":
        known = "trained besides" not in detail and "<" not in _contents(detail)
        size = "measured 0.009" if "user" in detail else "measured 0.02 to 0.11"
        return f"{detail} ({size if known else 'not measured'})"
    if where == PADDED:
        return f"in rows with white space around a column {detail} (measured 8.8e-4 where 7 of 48 replies had some)"
    if where == TRAILING:
        return f"in rows with blanks at the end of a message {detail} (not measured)"
    if where.startswith("empty "):
        return f"in rows with an {where} {detail}"
    if where.startswith(UNREAD):
        return f"in rows with {where}, {detail} (not measured; rows without it are the same)"
    rows = "" if where == PLAIN else f" in rows with {where}"
    return f"{detail}{rows} (for comparison: 0.026 measured without the chat format around the prompt)"


def _contents(detail: str) -> str:
    """The quoted texts of a difference without special tokens: what is left of a sample's content has a `<`."""
    return re.sub(r"<\|[^|>]*\|>|</?\w+>", "", detail)


_ADAPTER = is_not("adapter.method", "none")
_PACKING = is_("sequence.packing", True)
_QAT = is_("method.name", "qat")
_PREFERENCE = is_("method.name", *PREFERENCE)
_COUNTED = is_("method.name", *SUPERVISED, *PAIRED, "kto")
_SAMPLED = is_("method.name", *POLICY)
_SINGLE = is_("method.name", "kto")
_SIMPO = is_("method.name", "simpo")
_FSDP = is_("parallel.strategy", "fsdp1", "fsdp2")
_DEEPSPEED = is_("parallel.strategy", "deepspeed")
_SHARDED = is_("parallel.strategy", "fsdp1", "fsdp2", "deepspeed")
_COSINE = is_("schedule.name", "cosine")
_SCHEDULED = is_not("schedule.name", "none")
_ADAM = is_("optimizer.name", "adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "adamw_torch_8bit", "adam")
_EVALUATED = is_not("evaluation.data", None)


def _s(path: str, type_: str, meaning: str, **more: object) -> Spec:
    return Spec(path, type_, meaning, **more)  # type: ignore[arg-type]


_SPECS: tuple[Spec, ...] = (
    _s("method.name", "sft | pretrain | dpo | qat | distillation | ppo | grpo | …", "the training objective"),
    _s(
        "method.beta",
        "float",
        "strength of the pull towards the reference model (ORPO: of the odds ratio's part, SimPO: of the margin)",
        when=is_("method.name", *WEIGHTED),
        differs=number_differs,
    ),
    _s(
        "method.reference",
        "the starting weights | path | none",
        "the frozen model that the trained one is compared with",
        when=is_("method.name", *REFERRED),
        loss="the trained model is pulled towards other weights",
    ),
    _s("method.desirable_weight", "float", "weight of good replies in the loss", when=_SINGLE, differs=number_differs),
    _s("method.undesirable_weight", "float", "weight of bad replies in the loss", when=_SINGLE, differs=number_differs),
    _s(
        "method.reward_centering",
        "float | None",
        "strength of the pull of rewards towards a mean of zero",
        when=is_("method.name", "reward"),
    ),
    _s("method.margin", "float", "how much likelier the chosen reply shall be", when=_SIMPO, differs=number_differs),
    _s(
        "method.likelihood",
        "float",
        "weight of the chosen reply's cross entropy beside the preference",
        when=_SIMPO,
        differs=number_differs,
    ),
    _s("method.rewards", "names", "the functions or models that score sampled replies", when=_SAMPLED),
    _s("method.reward_weights", "list of floats | None", "weights of the rewards in their sum", when=_SAMPLED),
    _s("sampling.group_size", "int", "replies sampled for a prompt", when=_SAMPLED, differs=number_differs),
    _s("sampling.max_tokens", "int", "longest sampled reply", unit="tokens", when=_SAMPLED, differs=number_differs),
    _s("sampling.temperature", "float", "how random sampled tokens are", when=_SAMPLED, differs=number_differs),
    _s("sampling.top_k", "int | None", "tokens that are sampled from", when=_SAMPLED),
    _s(
        "sampling.top_p",
        "float",
        "share of the probability that is sampled from",
        when=_SAMPLED,
        differs=number_differs,
    ),
    _s("sampling.updates", "int", "optimizer passes over each sampled batch", when=_SAMPLED, differs=number_differs),
    _s("method.clip", "float", "how far a token's probability ratio counts", when=_SAMPLED, differs=number_differs),
    _s("qat.weight_dtype", "int4 | int8 | …", "what weights are rounded to", when=_QAT),
    _s("qat.activation_dtype", "int8 | … | None", "what activations are rounded to", when=_QAT),
    _s("qat.group_size", "int | None", "weights in a row that share a scale", when=_QAT),
    _s(
        "qat.grid",
        "around zero | between least and greatest",
        "where the values that weights are rounded to lie",
        when=_QAT,
        loss="weights are rounded to other values: of normally distributed weights in groups of 256, int4 values around "
        "zero and between least and greatest differ by 16 % of their root mean square (rounding itself: 11 to 12 %)",
    ),
    _s(
        "qat.layers",
        "all linear layers | …",
        "the layers whose weights and activations are rounded",
        when=_QAT,
        loss="other layers are rounded in training",
    ),
    _s(
        "qat.after_steps",
        "int | None",
        "rounding sets in after so many steps",
        unit="optimizer steps",
        when=_QAT,
    ),
    # model
    _s("model.base", "hub id | directory", "the weights that training starts from"),
    _s(
        "model.architecture",
        "external | name",
        "layers and widths",
        loss="the weights would be put into another architecture",
    ),
    _s(
        "model.weights",
        "all | list of files",
        "which weight files of the checkpoint are loaded",
        differs=_weights_differ,
        loss="other weight files are loaded",
    ),
    _s("model.revision", "str | None", "git revision of a hub model"),
    _s("model.trust_remote_code", "bool", "whether code that comes with the model is run"),
    _s(
        "model.quantization",
        "none | nf4 | int8",
        "how the frozen base weights are stored",
        loss="the base weights are stored in another precision: memory and every activation change",
    ),
    _s(
        "model.quantizer",
        "torchao | bitsandbytes",
        "what rounds base weights to 4-bit values, in blocks of 64 with 8-bit scales",
        when=is_("model.quantization", "nf4"),
        loss="the same grid, blocks and layers (all linear ones but the output), but scales are rounded otherwise: of "
        "normally distributed weights 0.4 % get another value, 2.3 % of their root mean square (rounding itself: 9.2 %); "
        "the loss was not measured",
    ),
    _s(
        "model.attention_span",
        "every earlier token | external",
        "how far back a token sees",
        loss="only rows longer than the window differ: there a token sees the window's tokens, not all before it; not "
        "measured",
    ),
    _s(
        "model.config_overrides",
        "mapping",
        "architecture numbers that replace the checkpoint's own",
        loss="the model would be built with other numbers than the source says",
    ),
    _s(
        "model.attention",
        "sdpa | flash_attention_2 | eager | flex_attention | auto",
        "attention implementation",
        effect="resources",
        loss="speed and memory; losses agree to 4e-7 between sdpa and eager in a measured run",
    ),
    _s(
        "model.trainable",
        "all | list of patterns",
        "which weights are trained in a full fine-tune",
        when=is_("adapter.method", "none"),
        loss="other weights are trained",
    ),
    # adapter
    _s("adapter.method", "none | lora", "the parameter-efficient method"),
    _s("adapter.rank", "int", "LoRA rank", when=_ADAPTER),
    _s(
        "adapter.alpha",
        "float",
        "LoRA alpha; the update is scaled by alpha / rank (rsLoRA: alpha / sqrt(rank))",
        when=_ADAPTER,
        differs=number_differs,
    ),
    _s("adapter.dropout", "float", "dropout in front of the A matrix", when=_ADAPTER, differs=number_differs),
    _s(
        "adapter.target_modules",
        "set of module names",
        "the linear layers that get an adapter",
        when=_ADAPTER,
        differs=_modules_differ,
        loss="another set of layers is trained",
    ),
    _s("adapter.target_layers", "all | list of indices", "the transformer layers that get an adapter", when=_ADAPTER),
    _s("adapter.use_dora", "bool", "weight-decomposed LoRA", when=_ADAPTER),
    _s("adapter.use_rslora", "bool", "rank-stabilised scaling", when=_ADAPTER),
    _s("adapter.bias", "none | all | lora_only", "which biases are trained beside the adapters", when=_ADAPTER),
    _s(
        "adapter.modules_to_save",
        "set of module names",
        "layers trained in full beside the adapters",
        when=_ADAPTER,
        differs=_set_differs,
    ),
    _s("adapter.init", "kaiming | …", "how A and B start", when=_ADAPTER),
    _s(
        "adapter.dtype",
        "fp32 | bf16 | as the model",
        "precision of the adapter's weights and their optimizer state",
        when=_ADAPTER,
        loss="rounding of the adapter's updates: 4.5e-4 with bf16 adapters, 6.4e-3 with fp32 ones, measured against a pure bf16 run",
    ),
    _s("adapter.start", "path | None", "adapter weights that training goes on from", when=_ADAPTER),
    # tokenizer
    _s(
        "tokenizer.source",
        "model | path",
        "where the tokenizer comes from",
        loss="another tokenizer gives other token ids",
    ),
    _s(
        "tokenizer.eos_token",
        "own | token",
        "the end token that the saved tokenizer names",
        effect="files",
        loss="the saved tokenizer names this end token, whichever its own was, and generation with it stops there",
    ),
    _s(
        "tokenizer.chat_template",
        "own | the training's",
        "the chat template that the saved tokenizer holds",
        effect="files",
        loss="the saved tokenizer writes chats as in training: put the model's own chat template back before it is used",
    ),
    _s(
        "tokenizer.special_tokens",
        "own | mapping | path",
        "special tokens that replace or extend the tokenizer's own",
        loss="other ids for special tokens",
    ),
    # data
    _s("data.sources[].location", "location", "where the rows come from"),
    _s("data.sources[].subset", "str | None", "the dataset's configuration"),
    _s("data.sources[].split", "str", "the split, with slicing"),
    _s("data.sources[].revision", "str | None", "git revision of a hub dataset"),
    _s("data.sources[].data_dir", "str | None", "directory inside the dataset"),
    _s(
        "data.sources[].load_options",
        "mapping",
        "further options of the dataset's loader",
        loss="the rows may be loaded otherwise",
    ),
    _s("data.sources[].filter", "function | None", "which rows are kept"),
    _s("data.sources[].weight", "float | None", "how often the source is drawn, relative to the others"),
    _s(
        "data.sources[].columns",
        "names in the order of their use",
        "the columns a row is made of",
        differs=_set_differs,
        loss="other columns are trained on",
    ),
    _s("data.sources[].text", "rendering", "the text a row becomes", differs=_rendering_differs("text")),
    _s(
        "data.sources[].pieces",
        "text",
        "how a row's text is cut before it becomes tokens",
        free=True,
        loss="a reply's first token may differ where the tokenizer leads each piece with a space of its own: one token a "
        "row was seen to differ with Llama 2's and Mistral's kind of tokenizer; the loss was not measured",
    ),
    _s(
        "data.sources[].special_names",
        "text | tokens",
        "what the names of special tokens become that stand in a row's own text",
        free=True,
        loss="only rows that hold such a name (`<|eot_id|>` in a message) become other tokens: 0.016 in the loss where 12 of 48 "
        "rows did",
    ),
    _s(
        "data.sources[].loss_mask",
        "rendering",
        "the part of that text that is trained",
        differs=_rendering_differs("mask"),
    ),
    _s(
        "data.sources[].rejected",
        "rendering",
        "the text of a pair's rejected reply with its prompt, and the part of it that counts",
        differs=_rendering_differs("text", "mask"),
        when=is_("method.name", *PAIRED),
    ),
    _s("data.sources[].label", "column", "the column that says whether a reply is good", when=_SINGLE),
    _s("data.shuffle", "bool", "whether rows are drawn in random order", loss="rows come in another order"),
    _s(
        "data.order",
        "text",
        "what decides the order of rows",
        loss="the same rows in another order: the loss of single steps differs (0.026 in a measured run), not what is learnt on average",
    ),
    _s(
        "data.prepared_path",
        "path | None",
        "directory in which tokenised rows are kept between runs",
        effect="files",
        loss="tokenised rows are kept on disk and found again by a hash that does not cover every setting",
    ),
    _s("data.streaming", "bool", "rows are read as they are needed", effect="resources"),
    _s("data.workers", "int | auto", "processes that load batches", effect="resources"),
    _s("data.collation", "pad right | packed | custom", "how rows become a batch"),
    # sequence
    _s("sequence.max_length", "int | None", "longest row", unit="tokens", loss="rows are cut at another length"),
    _s(
        "sequence.overlong",
        "truncate | drop | split",
        "what happens to longer rows",
        when=is_not("sequence.max_length", None),
        loss="rows longer than the maximum are handled otherwise; in measured runs dropping them left 5 of 12 steps, "
        "cutting them into further rows made 16 of 12",
    ),
    _s("sequence.packing", "bool", "several rows share one sequence", loss="rows per step and steps per epoch change"),
    _s(
        "sequence.packing_algorithm",
        "greedy in order | first fit",
        "which rows share a sequence",
        when=_PACKING,
        loss="other rows share a sequence and the number of steps may change (7 against 8, 0.068 in a measured run)",
    ),
    _s(
        "sequence.split_across_packs",
        "bool",
        "a row may go on in the next sequence",
        when=_PACKING,
        loss="rows are kept whole where the source cuts them at a pack's end (6 steps for 5, 0.03 in a measured run)",
    ),
    _s("sequence.padding", "longest | max_length", "how far a batch is padded", effect="resources"),
    # optimizer
    _s("optimizer.name", "adamw | adamw_8bit | paged_adamw | paged_adamw_8bit | adam | sgd | …", "the optimizer"),
    _s("optimizer.learning_rate", "float", "peak learning rate", differs=number_differs),
    _s("optimizer.weight_decay", "float", "decoupled weight decay", differs=number_differs),
    _s(
        "optimizer.weight_decay_scope",
        "all | no norms and biases",
        "which trained weights are decayed",
        when=is_not("optimizer.weight_decay", 0, 0.0),
        loss="norm weights and biases are not decayed: 6e-5 at weight decay 0.01, 5.6e-4 at 0.1 over 12 steps of a full fine-tune",
    ),
    _s("optimizer.beta1", "float", "decay of the first moment", when=_ADAM, differs=number_differs),
    _s("optimizer.beta2", "float", "decay of the second moment", when=_ADAM, differs=number_differs),
    _s("optimizer.epsilon", "float", "added to the denominator", when=_ADAM, differs=number_differs),
    _s(
        "optimizer.fused",
        "bool",
        "one kernel for all weights",
        effect="resources",
        loss="speed only: no difference in a measured run",
    ),
    _s(
        "optimizer.in_backward",
        "bool",
        "each weight is updated as soon as its gradient is there",
        effect="resources",
        loss="more memory: gradients of all weights are held until the step",
    ),
    _s(
        "optimizer.options",
        "mapping",
        "further arguments of the optimizer",
        loss="the optimizer runs without these arguments",
    ),
    # schedule
    _s("schedule.name", "cosine | linear | constant | none | …", "how the learning rate moves"),
    _s(
        "schedule.warmup_steps",
        "int",
        "steps of linear warmup from 0",
        unit="optimizer steps",
        when=_SCHEDULED,
        differs=number_differs,
        loss="0.019 in the loss of single steps for a warmup of 2 instead of 1",
    ),
    _s(
        "schedule.cycles",
        "float",
        "cosine waves until the end (0.5: down to 0 once)",
        when=_COSINE,
        differs=number_differs,
        loss="the learning rate takes another path",
    ),
    _s(
        "schedule.min_ratio",
        "float",
        "lowest learning rate as a share of the peak",
        when=_COSINE,
        differs=number_differs,
    ),
    # batch, gradient, duration
    _s("batch.micro_size", "int", "rows (or packs) per device and forward pass", differs=number_differs),
    _s("batch.accumulation", "int", "forward passes per optimizer step", differs=number_differs),
    _s("batch.effective", "int | expression", "rows per optimizer step over all devices", differs=number_differs),
    # after the batch: how its losses are put together may ask for another
    _s(
        "method.loss",
        "cross entropy | sigmoid | hinge | …",
        "what is minimised over the trained tokens or the pairs",
        loss="another loss is minimised",
    ),
    _s(
        "method.label_smoothing",
        "float",
        "share of preference labels taken as flipped",
        when=_PREFERENCE,
        differs=number_differs,
        loss="0.063 in the loss for a share of 0.2 at beta 0.3 in a measured run",
    ),
    _s("gradient.max_norm", "float | None", "gradients are scaled down to this norm", differs=number_differs),
    _s(
        "gradient.loss_normalisation",
        "tokens of the step | pairs of the step | rows of the step | mean of micro batches | nothing",
        "what the summed loss of an optimizer step is divided by",
        when=_COUNTED,
        loss="3.9e-4 in loss and 7e-3 in gradient norm where micro batches are averaged (accumulation 2, measured), 3e-5 "
        "where they are weighted with first tokens too; where those are only counted, logged loss and gradient are smaller "
        "by their share (0.3 % in rows of 350 tokens), which Adam levels out (1e-6, in rows of 140 tokens 4e-5)",
    ),
    _s("duration.epochs", "float", "passes over the data", unit="epochs", differs=number_differs),
    _s("duration.max_steps", "int | None", "the run ends after so many steps", unit="optimizer steps"),
    _s(
        "duration.epoch_steps",
        "int | None",
        "each epoch ends after so many steps",
        unit="optimizer steps",
        loss="from the second epoch on other rows are trained: the target goes on through the data where the source starts again (0.021 in a measured run)",
    ),
    _s(
        "duration.partial_batch",
        "dropped | kept",
        "a last batch with fewer rows",
        loss="the number of steps changes by up to one an epoch",
    ),
    _s(
        "duration.partial_step",
        "carried over | short step | nothing is left over",
        "micro batches left over at the end of an epoch",
        when=is_not("batch.accumulation", 1),
        loss="0.007 in the loss of one step an epoch where rows / batch is no multiple of the accumulation; the target may "
        "also run one step more at the end, unless the number of rows is told (--rows)",
    ),
    # precision
    _s(
        "precision.weights",
        "fp32 | bf16 | fp16 | …",
        "precision of the weights",
        loss="rounding: 6e-3 in the loss of a measured full fine-tune in bf16",
    ),
    _s(
        "precision.autocast",
        "none | bf16 | fp16",
        "lower precision inside operations only",
        loss="operations are cast even though the weights are bf16 already: rounding-level, 4.5e-4 (LoRA, bf16 adapters) to 6e-3 (full fine-tune) in measured runs",
    ),
    _s("precision.tf32", "bool", "TF32 matrix products"),
    # memory
    _s(
        "memory.activation_checkpointing",
        "bool",
        "activations are computed again in the backward pass",
        effect="resources",
        loss="memory",
    ),
    _s(
        "memory.activation_offloading",
        "none | cpu | disk",
        "activations wait in other memory for the backward pass",
        effect="resources",
        loss="memory",
    ),
    _s("memory.compile", "bool", "torch.compile", effect="resources", loss="speed"),
    _s(
        "memory.chunked_loss",
        "bool",
        "the loss is computed in chunks",
        effect="resources",
        loss="the same loss, with more peak memory for the logits",
        same_result=True,
    ),
    _s(
        "memory.lora_kernels",
        "bool",
        "fused kernels for adapters",
        effect="resources",
        when=_ADAPTER,
        loss="speed; the kernels need a GPU",
    ),
    # parallel
    _s(
        "parallel.strategy",
        "single | fsdp1 | fsdp2 | ddp | deepspeed",
        "how the run is spread over devices",
        loss="fully sharded either way, the same sums are made in another order and rounded otherwise; or, where one of "
        "them is not sharded, memory",
    ),
    _s(
        "parallel.world_size",
        "int | W",
        "number of devices",
        differs=number_differs,
        loss="tell it with --world-size where the source does not",
    ),
    _s(
        "parallel.zero_stage",
        "int",
        "what DeepSpeed shards over the devices (1: optimizer state, 2: gradients too, 3: weights too)",
        effect="resources",
        when=_DEEPSPEED,
        loss="memory",
    ),
    _s(
        "parallel.cpu_offload",
        "bool | weights | optimizer state",
        "sharded weights, gradients and optimizer state wait in CPU memory",
        effect="resources",
        when=_SHARDED,
    ),
    _s(
        "parallel.reshard_after_forward",
        "bool",
        "weights are sharded again after the forward pass",
        effect="resources",
        when=_FSDP,
    ),
    _s(
        "parallel.wrapping",
        "transformer layers | list",
        "which modules are sharded as a unit",
        effect="resources",
        when=_FSDP,
        loss="memory: the large embedding and output layers are sharded with the rest",
    ),
    _s(
        "parallel.loading",
        "by parts | whole on each device",
        "how the weights get onto the devices",
        effect="resources",
        when=_FSDP,
        loss="memory: the model must fit on each single device before it is sharded",
    ),
    _s("parallel.tensor", "int", "tensor parallel size", differs=number_differs),
    _s("parallel.context", "int", "context parallel size", differs=number_differs),
    _s("parallel.replicate", "int", "data parallel replicas of the sharded group", differs=number_differs),
    # evaluation
    _s(
        "evaluation.data",
        "None | share of the training rows | source",
        "rows the loss is evaluated on",
        loss="the loss is not evaluated, or on other rows",
    ),
    _s("evaluation.every", "text | None", "when evaluation runs", effect="reporting", when=_EVALUATED),
    _s(
        "evaluation.batch_size",
        "int",
        "rows per device and forward pass in evaluation",
        effect="resources",
        when=_EVALUATED,
    ),
    # saving
    _s("saving.output_dir", "path", "where checkpoints go", effect="files"),
    _s("saving.every", "text", "when a checkpoint is written", effect="files", loss="checkpoints at other times"),
    _s("saving.keep", "int | all", "checkpoints kept", effect="files", loss="older checkpoints are deleted"),
    _s(
        "saving.weights",
        "merged | adapter | full",
        "what a checkpoint holds",
        effect="files",
        loss="merge the adapter into the model afterwards; the command, and where its result lies, stand in the file's "
        "header and in the notes below the ledger",
    ),
    _s("saving.safetensors", "bool", "format of the weights", effect="files"),
    _s(
        "saving.sharded",
        "bool",
        "each device writes its own part of the weights",
        effect="files",
        when=_FSDP,
        loss="the parts must be put together before the weights can be used",
    ),
    _s(
        "saving.asynchronous",
        "bool",
        "training goes on while a checkpoint is written",
        effect="resources",
        loss="training waits for each checkpoint",
    ),
    _s("saving.resume", "False | True | path", "training goes on from a checkpoint", loss="the run starts anew"),
    # logging
    _s("logging.every", "int", "a line every so many steps", unit="optimizer steps", effect="reporting"),
    _s(
        "logging.backends",
        "set of names",
        "where metrics go besides the console",
        effect="reporting",
        differs=_set_differs,
        loss="metrics are not sent there",
    ),
    _s("logging.project", "str | None", "project of the tracking service", effect="reporting"),
    _s("logging.run_name", "str | None", "run name at the tracking service", effect="reporting"),
    _s("logging.entity", "str | None", "team at the tracking service", effect="reporting"),
    _s("logging.directory", "path | None", "directory of log files", effect="reporting", loss="log files go elsewhere"),
    _s(
        "logging.options",
        "mapping",
        "further arguments of the tracking service",
        effect="reporting",
        loss="the tracking service is called without them; some it also takes from the environment (W&B's group: "
        "WANDB_RUN_GROUP)",
    ),
    _s("hub.push_to", "str | None", "hub repository that the result is pushed to", effect="files"),
    # seed, launch
    _s("seed.value", "int | random", "seed of weights, dropout and shuffling"),
    _s(
        "seed.deterministic",
        "no | warn | error",
        "kernels that give the same each time, and what happens where an operation has none",
        loss="an operation that has no such kernel stops the run on one side and only warns, or does nothing, on the other",
    ),
    _s("launch.device", "cuda | cpu | …", "kind of device"),
    _s("launch.nodes", "int", "number of machines"),
)

ESSENTIAL = ("method.name", "model.base", "model.architecture")
"""Settings without which there is no run: a framework that cannot say them cannot have it."""

SPECS: Mapping[str, Spec] = {spec.path: spec for spec in _SPECS}
SOURCE_SETTINGS: tuple[str, ...] = tuple(
    path.removeprefix(SOURCE_PREFIX) for path in SPECS if path.startswith(SOURCE_PREFIX)
)
GLOBAL_SETTINGS: tuple[str, ...] = tuple(path for path in SPECS if not path.startswith(SOURCE_PREFIX))


def spec(path: str) -> Spec:
    """The declaration of a setting, also of one source's (`data.sources[1].split`). Raises KeyError."""
    if path.startswith("data.sources["):
        path = SOURCE_PREFIX + path.split("].", 1)[1]
    return SPECS[path]


def difference(path: str, wanted: object, got: object, tokens: Mapping[str, str]) -> str | None:
    """How two values of a setting differ, in words; None if they mean the same."""
    if wanted is NOT_APPLICABLE or (got is NOT_APPLICABLE and spec(path).free):
        return None
    differs = spec(path).differs
    if differs is not None and got is not NOT_APPLICABLE:
        return differs(wanted, got, tokens)
    return None if wanted == got else f"{wanted} against {got}"
