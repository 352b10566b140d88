"""Lint rules on what of a recipe goes together: its method, data, loss, tokenizer and model (files on the rules' pages)."""

from __future__ import annotations

from collections.abc import Iterator

from ftmigrate.document.model import Path
from ftmigrate.frameworks.torchtune import datasets, recipes
from ftmigrate.frameworks.torchtune.datasets import Kind
from ftmigrate.linter import scopes
from ftmigrate.linter.checks import unknown
from ftmigrate.linter.rules import ERROR, WARNING, Checks, Finding, Rule
from ftmigrate.linter.subject import Subject

CHECKS = Checks()
RULES = (
    Rule("TT022", "unknown-load-option", ERROR),
    Rule("TT023", "part-of-another-method", ERROR),
    Rule("TT024", "template-in-template", WARNING),
    Rule("TT025", "adapter-on-tied-output", ERROR),
    Rule("TT026", "fused-and-foreach", ERROR, over=("FT115",)),
    Rule("TT027", "loss-beside-the-recipe", ERROR),
)
# fields of the builder configs of datasets/packaged_modules, by what load_dataset is told to read; csv has too many
_FORMATS = {
    "json": ("features", "encoding", "encoding_errors", "field", "use_threads", "block_size", "chunksize",
             "newlines_in_values", "on_mixed_types", "parse_agent_traces"),
    "text": ("features", "encoding", "encoding_errors", "chunksize", "keep_linebreaks", "sample_by"),
    "parquet": ("batch_size", "columns", "features", "filters", "fragment_scan_options", "on_bad_files"),
    "arrow": ("features",),
}  # fmt: skip
_CHAT_TEMPLATES = (
    "torchtune.data.ChatMLTemplate", "torchtune.models.llama2.Llama2ChatTemplate",
    "torchtune.models.mistral.MistralChatTemplate",
)  # fmt: skip
_PAIRS = (Kind.PREFERENCE, Kind.PAIRED)
_ON_TOKENS = ("torch.nn.", "torchtune.modules.loss.")
_DISTILLING = (
    "torchtune.modules.loss.ForwardKL",
    "torchtune.modules.loss.ReverseKL",
    "torchtune.modules.loss.Symmetric",
)


def data_paths(subject: Subject) -> list[Path]:
    """Where the components of `dataset` stand: one, or a list of them."""
    listed = subject.value("dataset")
    if isinstance(listed, list):
        return [("dataset", number) for number in range(len(listed))]
    return [("dataset",)] if isinstance(listed, dict) else []


@CHECKS("TT022")
def options(subject: Subject) -> Iterator[Finding]:
    for path in data_paths(subject):
        given = subject.value(*path)
        name = given.get("_component_") if isinstance(given, dict) else None
        if not isinstance(name, str):
            continue
        layout = subject.framework.layout
        joint = scopes.joint(subject.framework.name, subject.version, layout, name, subject.recipe, "dataset")
        if joint is None or "data_files" not in joint.scope.handed:
            continue
        taken = (*joint.keys, *joint.scope.handed)
        fields = _FORMATS.get(str(given.get("source")))
        for key in given:
            if key in taken or unknown.near(key, taken, given) is not None:
                continue  # one that nearly is an argument's name is told as misspelt
            if key not in fields if fields is not None else key in _of_others(subject):
                there = " It is an argument of `tokenizer`." if key in _tokenizer(subject) else ""
                message = (
                    f"`{key}` is no argument of {name.rpartition('.')[2]}, nor of load_dataset, which gets what is left: the run "
                    f"stops when the dataset is built, after the weights are loaded.{there}"
                )
                yield subject.finding("TT022", (*path, key), message, key=True)
        if given.get("streaming") is True:
            message = "The recipe counts its rows, which a stream does not allow: the run stops. Remove `streaming`."
            yield subject.finding("TT022", (*path, "streaming"), message, key=True)


def _tokenizer(subject: Subject) -> set[str]:
    return set(subject.schema.keys(f"component {subject.value('tokenizer', '_component_')}")) - {""}


def _of_others(subject: Subject) -> set[str]:
    """What other builders of data sets take, and tokenizers: no hub data set has an option of that name."""
    names = subject.schema.names(f"{scopes.COMPONENT}torchtune.datasets.")
    return {key for name in names for key in subject.schema.keys(name) if key} | _tokenizer(subject)


@CHECKS("TT023")
def methods(subject: Subject) -> Iterator[Finding]:
    method = recipes.METHODS.get(subject.recipe or "")
    if method not in ("sft", "qat", "dpo"):
        return
    for path in data_paths(subject):
        name = subject.value(*path, "_component_")
        builder = datasets.BUILDERS.get(name) if isinstance(name, str) else None
        if builder is not None and (builder.kind in _PAIRS) != (method == "dpo"):
            rows, wanted = (
                ("single texts", "pairs of replies") if method == "dpo" else ("pairs of replies", "single texts")
            )
            message = f"{name} makes {rows}, and the recipe {subject.recipe} learns from {wanted}: it stops at the first batch."
            yield subject.finding("TT023", (*path, "_component_"), message)
    loss = str(subject.value("loss", "_component_"))
    if method == "dpo" and loss.startswith(_ON_TOKENS):
        message = f"{loss} is a loss on single texts; the recipe {subject.recipe} calls it with pairs, and stops. Use torchtune.rlhf.loss.DPOLoss."
        yield subject.finding("TT023", ("loss", "_component_"), message)
    elif method != "dpo" and loss.startswith(("torchtune.rlhf.", *_DISTILLING)):
        message = f"{loss} belongs to another kind of training; the recipe {subject.recipe} calls it with logits and labels, and stops."
        yield subject.finding("TT023", ("loss", "_component_"), message)


@CHECKS("TT024")
def templates(subject: Subject) -> Iterator[Finding]:
    told = subject.value("tokenizer", "prompt_template")
    if (
        subject.value("tokenizer", "_component_") == "torchtune.models.llama3.llama3_tokenizer"
        and told in _CHAT_TEMPLATES
    ):
        message = (
            f"llama3_tokenizer writes the headers of turns by itself; those of {told.rpartition('.')[2]} come inside of them, as "
            "plain text, and are trained as part of the reply. Remove it."
        )
        yield subject.finding("TT024", ("tokenizer", "prompt_template"), message)


@CHECKS("TT025")
def tied(subject: Subject) -> Iterator[Finding]:
    name = subject.value("model", "_component_")
    about = subject.schema.keys(f"component {name}").get("", {})
    if subject.value("model", "apply_lora_to_output") is True and about.get("architecture", {}).get(
        "tie_word_embeddings"
    ):
        message = f"{name} uses its embeddings as the output too, so that has no adapter of its own: the run stops. Set it to false."
        yield subject.finding("TT025", ("model", "apply_lora_to_output"), message)


@CHECKS("TT026")
def fused(subject: Subject) -> Iterator[Finding]:
    told = subject.value("optimizer")
    torchs = isinstance(told, dict) and str(told.get("_component_")).startswith("torch.optim.")
    if torchs and told.get("fused") is True and told.get("foreach") is True:
        for key in ("fused", "foreach"):
            message = "The optimizer takes `fused` or `foreach`, not both: the run stops. Remove one."
            yield subject.finding("TT026", ("optimizer", key), message)


@CHECKS("TT027")
def losses(subject: Subject) -> Iterator[Finding]:
    if recipes.METHODS.get(subject.recipe or "") not in ("sft", "qat"):
        return
    ignored, reduction = subject.value("loss", "ignore_index"), subject.value("loss", "reduction")
    if isinstance(ignored, int) and ignored != datasets.MASKED:
        message = f"What is not trained is marked {datasets.MASKED} in the labels, whatever the loss ignores: it stops at the first. Remove the key."
        yield subject.finding("TT027", ("loss", "ignore_index"), message, key=True)
    if reduction in ("sum", "none") and str(subject.value("loss", "_component_")).startswith("torch.nn."):
        what = (
            "multiplies the loss by the number of tokens and divides by it again: gradients grow with the tokens of a batch"
            if reduction == "sum"
            else "needs one number, and stops"
        )
        severity = WARNING if reduction == "sum" else None
        message = f"With `reduction: {reduction}` the recipe, which takes the loss for a mean, {what}. Remove the key."
        yield subject.finding("TT027", ("loss", "reduction"), message, key=True, severity=severity)
