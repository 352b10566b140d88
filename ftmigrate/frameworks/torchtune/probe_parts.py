"""Makes the parts of a run that a config describes: dataset, tokenizer, optimizer, scheduler. Loaded by probe.py.

The model is not built: the optimizer gets one small parameter. Rows are those that come with the request, one list for
each dataset. A tokenizer whose files are not here is stood in for by one that counts bytes.
"""

import json
import os
import tempfile
from collections.abc import Callable
from importlib import import_module
from typing import Any

STEPS = 20
_LOADING = ("source", "data_files", "name", "subset", "split", "revision", "data_dir", "trust_remote_code")
_FILES = ("path", "vocab_path", "merges_file", "merges_path", "special_tokens_path", "tokenizer_json_path")


class Bytes:
    """A tokenizer by bytes, with the methods that torchtune's datasets call."""

    pad_id = 0
    eos_id = 1

    def __init__(self, longest: Any) -> None:
        self.max_seq_len = longest

    def encode(self, text: str, add_bos: bool = True, add_eos: bool = True, **_: Any) -> list[int]:
        return [2] * add_bos + [byte + 3 for byte in text.encode()] + [1] * add_eos

    def tokenize_messages(self, messages: Any, **_: Any) -> tuple[list[int], list[bool]]:
        tokens, mask = [2], [True]
        for message in messages:
            found = self.encode(message.text_content, add_bos=False, add_eos=message.role == "assistant")
            tokens += found
            mask += [message.masked] * len(found)
        return tokens[: self.max_seq_len], mask[: self.max_seq_len]

    def __call__(self, sample: dict[str, Any], inference: bool = False) -> dict[str, Any]:
        tokens, mask = self.tokenize_messages(sample.pop("messages"))
        return {**sample, "tokens": tokens, "mask": mask}


def make(config: dict[str, Any], rows: list[Any], component: Callable[[str], Any]) -> list[str]:
    """Make each part and use it once; what was made, in words. Raises what torchtune raises."""
    notes = []
    tokenizer, real = _tokenizer(config.get("tokenizer"), component)
    notes.append("tokenizer made from its files" if real else "tokenizer not made: its files are not here")
    notes += _datasets(config.get("dataset"), rows, tokenizer, component)
    optimizer = None
    torch = import_module("torch")
    if isinstance(config.get("optimizer"), dict):
        weights = [torch.nn.Parameter(torch.ones(2, 2))]
        optimizer = _made(config["optimizer"], component, weights)
        notes.append(f"optimizer made: {type(optimizer).__name__}")
    if optimizer is not None and isinstance(config.get("lr_scheduler"), dict):
        schedule = _made(config["lr_scheduler"], component, optimizer, num_training_steps=STEPS, last_epoch=-1)
        for _ in range(STEPS):
            optimizer.step()
            schedule.step()
        notes.append(f"scheduler made: {STEPS} steps")
    return notes


def _made(section: dict[str, Any], component: Callable[[str], Any], *first: Any, **more: Any) -> Any:
    given = {key: value for key, value in section.items() if key != "_component_"}
    return component(section["_component_"])(*first, **given, **more)


def _tokenizer(section: Any, component: Callable[[str], Any]) -> tuple[Any, bool]:
    if not isinstance(section, dict):
        return Bytes(None), False
    paths = [section[key] for key in _FILES if isinstance(section.get(key), str)]
    if paths and all(os.path.isfile(path) for path in paths):
        return _made(section, component), True
    return Bytes(section.get("max_seq_len")), False


def _datasets(listed: Any, rows: list[Any], tokenizer: Any, component: Callable[[str], Any]) -> list[str]:
    notes = []
    sections = listed if isinstance(listed, list) else [listed] if isinstance(listed, dict) else []
    for index, section in enumerate(sections):
        made = rows[index] if index < len(rows) else None
        if not made:
            notes.append(f"dataset {index + 1} not made: its rows are not known")
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "rows.jsonl")
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in made)
            given = {key: value for key, value in section.items() if key not in _LOADING}
            place = {"source": "json", "data_files": path, "split": "train", "cache_dir": folder}
            found = _made({**given, **place}, component, tokenizer)
            first = found[0]
            count = len(found)
        notes.append(
            f"dataset {index + 1} made of {count} generated rows, the first with keys {', '.join(sorted(first))}"
        )
    return notes
