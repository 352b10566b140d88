"""Rows for the exact mode: settings that no key of Axolotl says, and a plugin in the module beside the config does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ftmigrate.document.model import Value
from ftmigrate.frameworks.axolotl import companion
from ftmigrate.frameworks.reader import Reader
from ftmigrate.frameworks.table import Group, Keys
from ftmigrate.run.methods import SUPERVISED
from ftmigrate.run.source import Decoded

SEEDED = "permutation of seed 0, anew each epoch"
CARRIED, NONE_LEFT = "carried over", "nothing is left over"
COUNTED = ", micro batches weighted with the first of each row"


def behaviour(
    name: str, keys: tuple[str, ...], says: Callable[[Keys, Reader], Mapping[str, object]], settings: tuple[str, ...],
    case: str, more: Mapping[str, Value] | None = None,
) -> Group:  # fmt: skip
    """A plugin of ours that, where it is loaded, makes settings what `says` gives.

    It is written where all of them are wanted so, together with the keys `more`. case: the one of tests/trained.json in
    which it was trained.
    """

    def decode(given: Keys, reader: Reader) -> Mapping[str, Decoded]:
        if name not in companion.of(given, reader):
            return {}
        said = tuple(key for key in (*keys, "plugins") if key in given)
        return {setting: Decoded(value, said) for setting, value in says(given, reader).items()}

    def propose(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
        keys = {"plugins": plugins(reader, name), **(more or {})}
        given = says(keys, reader)
        if given and all(wanted.get(setting) == value for setting, value in given.items()):
            yield keys

    return Group((*keys, "plugins"), settings, decode, propose, proof=f"trained: {case}", exact_only=True)


def plugins(reader: Reader, name: str) -> list[Value]:
    """What is planned under `plugins`, and one of ours."""
    return companion.with_plugin(reader.value("plugins"), reader.context.stem, name)


def _decay(_: Keys, __: Reader) -> Mapping[str, object]:
    return {"optimizer.weight_decay_scope": "all"}


def _warmup(keys: Keys, _: Reader) -> Mapping[str, object]:
    return {"schedule.warmup_steps": 1} if keys.get("warmup_steps") == 1 else {}


def _bf16(keys: Keys, reader: Reader) -> Mapping[str, object]:
    """Weights in 4 bits cannot be converted; on several devices it was not tried."""
    if reader.get("model.quantization") != "none" or reader.get("parallel.strategy") != "single":
        return {}
    return {"precision.weights": "bf16", "precision.autocast": "none"} if keys.get("bf16") is True else {}


DECAY = behaviour("DecayAll", (), _decay, ("optimizer.weight_decay_scope",), "c_decay")
WARMUP = behaviour(
    "WarmupAsWritten", ("warmup_steps",), _warmup, ("schedule.warmup_steps",), "warmup_of_one", {"warmup_steps": 1}
)
BF16 = behaviour("PureBf16", ("bf16",), _bf16, ("precision.weights", "precision.autocast"), "m_full", {"bf16": True})


# --- which rows a step sees -------------------------------------------------------------------------------------


def batches(order: Callable[[Reader], Mapping[str, Decoded]]) -> Group:
    """The two plugins that put a step's rows together; `order` tells the order of rows without them."""

    def decode(given: Keys, reader: Reader) -> Mapping[str, Decoded]:
        listed = companion.of(given, reader)
        if not {"CarriedSteps", "EvenEpochs"} & listed or reader.get("parallel.world_size") != 1:
            return {}
        _, *again = str(order(reader)["data.order"].value).partition(", of rows")
        found: dict[str, object] = {
            "data.order": "".join([SEEDED if reader.get("data.shuffle") else "as stored", *again]),
            "duration.partial_batch": "dropped",
            "duration.partial_step": NONE_LEFT if _whole(reader) else CARRIED,
            "sequence.packing_algorithm": "greedy in order",
        }
        if "EvenEpochs" in listed:
            total, epochs = reader.get("duration.max_steps"), reader.get("duration.epochs")
            known = isinstance(total, int) and isinstance(epochs, int) and epochs
            found["duration.epoch_steps"] = total // epochs if known else "all of the epoch"
            found["duration.partial_step"] = NONE_LEFT
        return {setting: Decoded(value, ("plugins", "shuffle_merged_datasets")) for setting, value in found.items()}

    def propose(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
        """Also for the order alone: of packs, and where there is a module anyway, so that `seed` can stay as it is."""
        ordered = wanted.get("data.order") == SEEDED != reader.get("data.order")
        ordered = ordered and bool(reader.get("sequence.packing") or companion.loaded(reader.value("plugins")))
        cut = isinstance(wanted.get("duration.epoch_steps"), int)
        if reader.get("parallel.world_size") != 1 or not (
            cut or ordered or wanted.get("duration.partial_step") == CARRIED
        ):
            return
        listed = plugins(reader, "EvenEpochs" if cut else "CarriedSteps")
        yield {"plugins": listed, **({"shuffle_merged_datasets": False} if reader.get("data.shuffle") else {})}

    settings = ("data.order", "duration.partial_batch", "duration.partial_step", "duration.epoch_steps")
    return Group(
        ("plugins",),
        (*settings, "sequence.packing_algorithm"),
        decode,
        propose,
        proof="trained: ragged_shuffled",
        exact_only=True,
    )


def _whole(reader: Reader) -> bool:
    """Whether an epoch's full batches make full steps."""
    rows, size, steps = reader.context.rows, reader.get("batch.micro_size"), reader.get("batch.accumulation")
    return rows is not None and not reader.get("sequence.packing") and rows // size % steps == 0


def counts(first: Callable[[Reader], bool]) -> Group:
    """The plugin that weights micro batches with first tokens; `first` tells whether those have a label."""

    def says(_: Keys, reader: Reader) -> Mapping[str, object]:
        alone = reader.get("parallel.strategy") == "single" and reader.get("method.name") in SUPERVISED
        return {"gradient.loss_normalisation": f"tokens of the step{COUNTED}"} if alone and first(reader) else {}

    return behaviour("CountFirstTokens", (), says, ("gradient.loss_normalisation",), "f_accumulated")
