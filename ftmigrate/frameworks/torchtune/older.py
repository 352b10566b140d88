"""What older releases of torchtune say or do otherwise than 0.6.1, as data.

`RENAMED`: components that had another path. `dataset`: the dataset arguments of 0.2 in the terms of later builders.
The rest answers for one version what the recipes of the time did. Files named are those of the release spoken of.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from ftmigrate import schema
from ftmigrate.document.model import Unresolved, Value
from ftmigrate.run.source import Decoded

RENAMED: tuple[tuple[str, str, str], ...] = (
    # the old path, the first release without it, the path it has in 0.6.1
    ("torchtune.datasets.stack_exchanged_paired_dataset", "0.3.0", "torchtune.datasets.stack_exchange_paired_dataset"),
    ("torchtune.modules.get_cosine_schedule_with_warmup", "0.5.0",
     "torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup"),
    ("torchtune.modules.loss.DPOLoss", "0.3.0", "torchtune.rlhf.loss.DPOLoss"),
    ("torchtune.modules.rlhf.loss.", "0.3.1", "torchtune.rlhf.loss."),
    ("torchtune.utils.FullModel", "0.3.0", "torchtune.training.FullModel"),
    ("torchtune.utils.metric_logging.", "0.3.0", "torchtune.training.metric_logging."),
    ("torchtune.utils.quantization.", "0.3.0", "torchtune.training.quantization."),
    ("torchtune.utils.setup_torch_profiler", "0.3.0", "torchtune.training.setup_torch_profiler"),
    ("torchtune.utils.padded_collate", "0.3.0", "torchtune.data.padded_collate"),
)  # fmt: skip


def before(version: str, release: str) -> bool:
    """Whether a pinned version is older than a release."""
    order = schema.versions("torchtune")
    return order.index(version) < order.index(release)


def canonical(path: str, version: str) -> str:
    """The path that a component of `version` has in 0.6.1."""
    for old, until, new in RENAMED:
        whole = path == old or (old.endswith((".", "FullModel")) and path.startswith(old))
        if whole and before(version, until):
            return new + path[len(old) :]
    return path


# --- datasets of 0.2 --------------------------------------------------------------------------------------------

_HERE = "torchtune.datasets."
_DATA = "torchtune.data."
_ALPACA = _DATA + "AlpacaInstructTemplate"
# prompt texts around the one column, and the name that a column_map gives it (data/_instruct_templates.py)
_TEXTS: Mapping[str, tuple[str, tuple[str, str]]] = {
    _DATA + "GrammarErrorCorrectionTemplate": (
        "sentence",
        ("Correct this to standard English: ", "\n---\nCorrected: "),
    ),
    _DATA + "SummarizeTemplate": ("dialogue", ("Summarize this dialogue:\n", "\n---\nSummary:\n")),
}
_FIXED: Mapping[str, tuple[str, Mapping[str, str]]] = {
    _HERE + "grammar_dataset": (_DATA + "GrammarErrorCorrectionTemplate", {"sentence": "input"}),
    _HERE + "samsum_dataset": (_DATA + "SummarizeTemplate", {"output": "summary"}),
}
_SPLIT = ("alpaca_dataset", "alpaca_cleaned_dataset", "grammar_dataset", "samsum_dataset", "slimorca_dataset",
          "stack_exchanged_paired_dataset")  # fmt: skip
_CONVERSATIONS = {"sharegpt": "conversations", "openai": "messages"}


class Form(Struct, frozen=True):
    """A dataset as later builders put it.

    around: text before and after the input column. telling: arguments of the old form that feed the text besides.
    why_not: the reason why the text is not described.
    """

    component: str
    args: Mapping[str, Value]
    around: tuple[str, str] = ("", "")
    telling: tuple[str, ...] = ()
    why_not: str = ""
    given: Mapping[str, Value] = field(default_factory=dict)

    def told(self, decoded: Mapping[str, Decoded]) -> dict[str, Decoded]:
        """The decoded settings with the arguments that really stand in the file."""
        found = {name: replace_args(value, self.given) for name, value in decoded.items()}
        extra = tuple(name for name in self.telling if name in self.given)
        for name in ("text", "rejected"):
            if name in found:
                value = Unresolved(self.why_not) if self.why_not else found[name].value
                found[name] = Decoded(value, (*found[name].args, *extra), found[name].why)
        if self.why_not:
            found["loss_mask"] = found["loss_mask"]._replace(value=Unresolved(self.why_not))
        return found


def replace_args(decoded: Decoded, given: Mapping[str, Value]) -> Decoded:
    """Without the arguments that the file does not have."""
    return decoded._replace(args=tuple(arg for arg in decoded.args if arg.split(".")[0] in given))


def dataset(component: str, entry: Mapping[str, Value], version: str) -> Form:
    """An entry of `dataset` in the terms of later builders; the same entry from 0.3 on, but for its component's name."""
    path = canonical(component, version)
    if not before(version, "0.3.0"):
        return Form(path, entry, given=entry)
    args = {**defaults(component, version), **entry}
    if path.removeprefix(_HERE) in _SPLIT or component.removeprefix(_HERE) in _SPLIT:
        args.setdefault("split", "train")
    if path == _HERE + "text_completion_dataset":
        args["add_eos"] = True  # always
    form = Form(path, args, given=entry)
    if path == _HERE + "instruct_dataset" or path in _FIXED:
        return _instruct(form)
    if path in (_HERE + "chat_dataset", _HERE + "slimorca_dataset"):
        return _chat(form)
    return form


def defaults(component: str, version: str) -> dict[str, Value]:
    """The defaults of a component's parameters: what it is put as may have others."""
    facts = schema.load("torchtune", version).keys(f"component {component}")
    return {name: fact["default"] for name, fact in facts.items() if name and fact.get("default") is not None}


def _instruct(form: Form) -> Form:
    """The template gave the text, and the names that column_map maps."""
    template, columns = _FIXED.get(form.component, (form.args.get("template"), form.args.get("column_map") or {}))
    told = ("template", "column_map")
    if isinstance(template, Unresolved) or not isinstance(columns, Mapping):
        return replace(form, telling=told, why_not=f"template {template}, column_map {columns}")
    named: dict[str, Value] = {name: str(column) for name, column in columns.items()}
    args = {name: value for name, value in form.args.items() if name != "template"}
    if template == _ALPACA:
        return replace(
            form, component=_HERE + "alpaca_dataset", args={**args, "column_map": named or None}, telling=told
        )
    if template not in _TEXTS:
        return replace(form, telling=told, why_not=f"the prompt template {template}")
    name, around = _TEXTS[str(template)]
    mapped: dict[str, Value] = {"input": named.get(name, name), "output": named.get("output", "output")}
    return replace(
        form, component=_HERE + "instruct_dataset", args={**args, "column_map": mapped}, around=around, telling=told
    )


def _chat(form: Form) -> Form:
    """The columns are fixed by the style; a chat format put its text into the messages themselves."""
    style = form.args.get("conversation_style", "sharegpt")
    args = {name: value for name, value in form.args.items() if name != "chat_format"}
    if form.component == _HERE + "chat_dataset":
        args["conversation_column"] = _CONVERSATIONS.get(str(style), "")
    shape = form.args.get("chat_format")
    why_not = (
        "" if shape is None else f"the chat format {shape} of torchtune 0.2, which stands in the messages' own text"
    )
    return replace(form, args=args, telling=("chat_format",), why_not=why_not)


def row_limit(component: str, entry: Mapping[str, Value], version: str) -> tuple[Value, bool]:
    """The dataset's own max_seq_len up to 0.2 (None: nothing is cut), and whether the file says it."""
    own = schema.load("torchtune", version).keys(f"component {component}").get("max_seq_len", {})
    return entry.get("max_seq_len", own.get("default")), "max_seq_len" in entry


# --- recipes ----------------------------------------------------------------------------------------------------


def partial_batch(version: str) -> str:
    """No recipe's DataLoader had drop_last before 0.4.0."""
    return "kept" if before(version, "0.4.0") else "dropped"


def normalisation(version: str, distributed: bool, accumulates: bool) -> str | None:
    """What gradients were divided by, where that differs from 0.6.1.

    Up to 0.3.1 the loss of a micro batch was its mean, divided by the accumulation, and devices were averaged. In 0.4.0
    and 0.5.0 FSDP's mean over the devices was not made up for (`scale_grads(self._model, 1 / num_tokens)`).
    """
    if before(version, "0.4.0"):
        return "mean of micro batches" if distributed or accumulates else "tokens of the step"
    if before(version, "0.6.0") and distributed:
        return "tokens of the step, all devices, and once more by their number"
    return None
