"""What torchtune's recipes beyond supervised fine-tuning minimise, and their reference models and quantizers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftmigrate import schema
from ftmigrate.document.model import Unresolved, Value
from ftmigrate.frameworks.reader import Reader
from ftmigrate.frameworks.table import ABSENT, Keys
from ftmigrate.frameworks.torchtune.older import canonical
from ftmigrate.run.methods import PREFERENCE, SUPERVISED
from ftmigrate.run.source import Decoded

_CROSS_ENTROPY = ("torch.nn.CrossEntropyLoss", "torchtune.modules.loss.CEWithChunkedOutputLoss",
                  "torchtune.modules.loss.LinearCrossEntropyLoss", "torchtune.modules.loss.SFTLoss")  # fmt: skip

# name of the class -> the loss; IPO and SimPO were taken out in 0.5.0
_PREFERENCES = {
    "DPOLoss": "sigmoid",
    "RSOLoss": "hinge",
    "IPOLoss": "squared distance of summed log probabilities (IPO)",
    "SimPOLoss": "sigmoid of mean log probabilities with a margin (SimPO)",
}
_KINDS = {"sigmoid": _PREFERENCES["DPOLoss"], "hinge": _PREFERENCES["RSOLoss"], "ipo": _PREFERENCES["IPOLoss"]}
_PLACES = ("torchtune.rlhf.loss", "torchtune.modules.loss")


def loss(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    """The loss component: cross entropy of the trained tokens, or what is minimised over the pairs."""
    name = canonical(str(keys.get("loss._component_", ABSENT)), reader.version)
    method = reader.get("method.name")
    known: object = "cross entropy" if method not in (*SUPERVISED, *PREFERENCE) or name in _CROSS_ENTROPY else None
    if method in PREFERENCE and isinstance(name, str) and name.startswith(_PLACES):
        known = _PREFERENCES.get(name.rsplit(".", 1)[-1])
        kind = keys.get("loss.loss_type", ABSENT)  # of DPOLoss in 0.2
        if kind is not ABSENT:
            known = _KINDS.get(str(kind))
    return {"method.loss": Decoded(known or Unresolved(str(name)), ("loss._component_", "loss.loss_type"))}


def propose_loss(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    """The loss of the recipe's kind; of cross entropies the chunked one is what torchtune's own configs have."""
    if reader.get("method.name") in PREFERENCE:
        found = [name for name, meaning in _PREFERENCES.items() if meaning == wanted.get("method.loss")]
        for name in [*found, "DPOLoss"]:
            if schema.load("torchtune", reader.version).keys(f"component {_PLACES[0]}.{name}"):
                yield {"loss._component_": f"{_PLACES[0]}.{name}"}
        return
    plain, chunked = _CROSS_ENTROPY[:2]
    yield {"loss._component_": chunked if wanted.get("memory.chunked_loss") is not False else plain}


def reference(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    """LoRA recipes switch the adapter off; the full one loads a second checkpoint and freezes it."""
    if reader.recipe != "full_dpo_distributed":
        return {"method.reference": Decoded("the starting weights", ())}
    given = {part: keys.get(f"ref_checkpointer.{part}") for part in _IDENTITY}
    own = reader.value("checkpointer")
    if not any(key.startswith("ref_checkpointer.") for key in keys):
        return {"method.reference": Decoded(Unresolved("ref_checkpointer is missing"), tuple(keys))}
    args = tuple(key for key in keys if key != "ref_checkpointer")
    wanted = {part: own.get(part) if isinstance(own, dict) else None for part in _IDENTITY}
    if wanted == given:
        why = "the same files as the checkpointer's"
        return {"method.reference": Decoded("the starting weights", args, why)}
    place = given["checkpoint_dir"]
    found = place if place != wanted["checkpoint_dir"] else f"{place}, {given['checkpoint_files']}"
    return {"method.reference": Decoded(found, args)}


def propose_reference(_: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    """Where the recipe loads the reference model by itself: the starting weights once more."""
    section = reader.value("checkpointer")
    if isinstance(section, dict) and reader.recipe == "full_dpo_distributed":
        yield {f"ref_checkpointer.{name}": section.get(name) for name in (*_IDENTITY, "output_dir")}


_IDENTITY = ("_component_", "checkpoint_dir", "checkpoint_files", "model_type")
REFERENCE_KEYS = ("ref_checkpointer", *(f"ref_checkpointer.{name}" for name in _IDENTITY))


def quantizer(keys: Keys, reader: Reader) -> Mapping[str, Decoded]:
    """torchao's quantizers (quantization/qat/linear.py), prepared on the whole model or on its LoRA layers."""
    name = canonical(str(keys.get("quantizer._component_")), reader.version)
    kind = name.rsplit(".", 1)[-1].removesuffix("ModuleSwap")
    here = tuple(key for key in ("quantizer._component_",) if key in keys)
    adapted = reader.get("adapter.method") != "none"
    layers = "linear layers with an adapter" if adapted else "all linear layers"
    if not adapted and _tied(reader):
        layers += " but the output"
    if not name.startswith(("torchtune.training", "torchao.quantization")) or kind not in _QUANTIZERS:
        unknown = Decoded(Unresolved(name), here)
        return {setting: unknown if setting == "qat.weight_dtype" else Decoded(None) for setting in QAT_SETTINGS}
    activations, grid = _QUANTIZERS[kind]
    size = keys.get("quantizer.groupsize", reader.or_default("quantizer.groupsize"))
    sized = tuple(key for key in ("quantizer.groupsize",) if key in keys)
    return {
        "qat.weight_dtype": Decoded("int4", here),
        "qat.activation_dtype": Decoded(activations, here),
        "qat.group_size": Decoded(size, sized),
        "qat.grid": Decoded(grid, here),
        "qat.layers": Decoded(layers, here),
    }


def propose_quantizer(wanted: Mapping[str, Any], _: Reader) -> Iterator[Mapping[str, Value]]:
    size = wanted.get("qat.group_size")
    for name in _QUANTIZERS:
        given: dict[str, Value] = {"quantizer._component_": f"torchtune.training.quantization.{name}"}
        yield {**given, "quantizer.groupsize": size} if isinstance(size, int) else given


def _tied(reader: Reader) -> bool:
    """Whether the output layer's weights are the embedding's: then it is no linear layer of torchtune's."""
    facts = schema.load("torchtune", reader.version).keys(f"component {reader.value('model._component_')}")
    return bool(facts.get("", {}).get("architecture", {}).get("tie_word_embeddings"))


# name -> what activations are rounded to, and where the values lie that weights are rounded to
_QUANTIZERS: Mapping[str, tuple[str | None, str]] = {
    "Int8DynActInt4WeightQATQuantizer": ("int8", "around zero"),
    "Int4WeightOnlyQATQuantizer": (None, "between least and greatest"),
}
QUANTIZER_KEYS = ("quantizer._component_", "quantizer.groupsize")
QAT_SETTINGS = ("qat.weight_dtype", "qat.activation_dtype", "qat.group_size", "qat.grid", "qat.layers")


def starts(value: object) -> object:
    """Rounding is switched off at step 0 and on again at the step that is named: never, if that is 0."""
    return "never" if value == 0 else value
