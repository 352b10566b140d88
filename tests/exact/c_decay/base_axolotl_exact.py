"""What base.axolotl.yaml needs that Axolotl has no key for. Made by ftmigrate 0.1.0.

Axolotl imports it: the folder that holds it must be on PYTHONPATH, as in the command in base.axolotl.yaml.

Rows: a dataset type of its own, for which what rows become stands in the config, under `exact_rows`.
DecayAll: norms and biases are decayed too.
"""

import sys
from collections.abc import Iterator
from typing import Any

from axolotl.integrations.base import BasePlugin
from axolotl.prompt_tokenizers import PromptTokenizingStrategy
from pydantic import BaseModel

PLACE = ("path", "data_files", "name", "split", "revision", "data_dir")
sys.modules[f"{__name__}.rows"] = sys.modules[__name__]  # so Axolotl finds `load` under the dataset type's name


class Rows(BasePlugin):
    """Makes `exact_rows` known: one entry for each dataset of this type, or one for all."""

    def get_input_args(self) -> str:
        return f"{__name__}.RowsArgs"


class RowsArgs(BaseModel):
    exact_rows: list[dict[str, Any]] | None = None


def load(tokenizer: Any, cfg: Any, ds_cfg: Any) -> "RowStrategy":
    """The strategy of one dataset, called by Axolotl."""
    alike = [one for one in cfg.datasets if one.type == ds_cfg.type]
    at = next((n for n, one in enumerate(alike) if all(one.get(key) == ds_cfg.get(key) for key in PLACE)), 0)
    return RowStrategy(tokenizer, cfg.exact_rows[at if len(cfg.exact_rows) > 1 else 0], bool(cfg.sample_packing))


class RowStrategy(PromptTokenizingStrategy):
    """What stands around a content is special tokens and text, the content itself never a special token.

    A turn is trained as a whole, its header included, or not at all.
    """

    def __init__(self, tokenizer: Any, form: dict[str, Any], packed: bool) -> None:
        super().__init__(None, tokenizer)
        self.form, self.packed = form, packed

    def tokenize_prompt(self, row: dict[str, Any]) -> dict[str, list[int]]:
        ids: list[int] = []
        labels: list[int] = []
        for text, special, trained in pieces(self.form, row, self.packed):
            found = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=not special)
            ids += found
            labels += found if trained else [-100] * len(found)
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}


def pieces(form: dict[str, Any], row: dict[str, Any], packed: bool = False) -> Iterator[tuple[str, bool, bool]]:
    """Each stretch of text with whether its special tokens count as such, and whether it is trained."""
    start, end = form.get("start") or "", form.get("end") or ""
    if form.get("text"):
        text = joined(form["text"], row)
        there = bool(text)  # an empty one keeps its place in a batch, untrained, for Axolotl drops rows without tokens
        yield from ((start, True, there), (text, False, there), (end, True, there)) if there or not packed else ()
        return
    yield start, True, False
    trained = False
    found = messages(form, row)
    for number, (role, content) in enumerate(found, 1):
        last = form.get("last") if number == len(found) else None
        turn, trained = (last or {}).get(role) or form["turns"][role], role in form["train"]
        strip = turn.get("strip")
        yield turn.get("before") or "", True, trained
        yield content.strip() if strip is True else content.rstrip(strip) if strip else content, False, trained
        yield turn.get("after") or "", True, trained
    yield end, True, trained if form.get("train_end") == "as the turn before it" else bool(form.get("train_end"))


def messages(form: dict[str, Any], row: dict[str, Any]) -> list[tuple[str, str]]:
    """Role and content of each message: built from columns, or those of a column."""
    given = form["messages"]
    if isinstance(given, list):
        found = [(role, joined(parts, row)) for one in given for role, parts in one.items()]
    else:
        names = given.get("names") or {}
        found = [
            (names.get(one[given["role"]], one[given["role"]]), str(one[given["content"]]))
            for one in row[given["column"]]
        ]
    has_system = bool(found) and found[0][0] == "system"
    if form.get("drop_system"):
        found, has_system = [one for one in found if one[0] != "system"], False
    if form.get("system") is not None and not has_system:
        found.insert(0, ("system", form["system"]))
    return found


def joined(parts: list[Any], row: dict[str, Any]) -> str:
    """Text as it stands, `{column: NAME}`, and `{when: NAME, then: [...], else: [...]}`: whether NAME is not empty."""
    out = ""
    for part in parts:
        if isinstance(part, str):
            out += part
        elif part.get("column"):
            text = "" if row[part["column"]] is None else str(row[part["column"]])
            out += text.strip() if part.get("strip") else text
        else:
            out += joined((part.get("then") if row.get(part["when"]) else part.get("else")) or [], row)
    return out


class DecayAll(BasePlugin):
    """Weight decay on every trained tensor; the trainer by itself leaves norms and biases out."""

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        trainer.get_decay_parameter_names = lambda model: [name for name, _ in model.named_parameters()]
