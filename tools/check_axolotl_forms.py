"""Compare our renderings of Axolotl's rows for ORPO, SimPO, KTO and reward models with what the trainers get.

    PYTHONPATH=. PYTHON_OF_AXOLOTL tools/check_axolotl_forms.py [-v] [NAME...]

Every entry goes through Axolotl's validators, tokenizer loader and dataset functions, and through the trainer's own
preparation of the rows. The ids are turned back into text and compared with what `decode` says. Exit status 1 on any
disagreement.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from check_axolotl_pairs import CHATS, REPLIES, check, chosen_of, conversations, exchanges, prompts, talk
from check_axolotl_renderings import EOS, MACHINE, Axolotl, Case, Pieces, pieces, specials

from ftmigrate import schema
from ftmigrate.frameworks.axolotl import forms, jinja, pairs
from ftmigrate.frameworks.axolotl.formats import formats
from ftmigrate.frameworks.torchtune.chat_formats import FORMATS
from ftmigrate.run.evaluation import merge
from ftmigrate.run.rendering import Piece


def odds() -> list[dict[str, Any]]:
    """Pairs of conversations, with and without a system column and a prompt column."""
    rows = conversations()
    return [
        *rows,
        *({**row, "system": system} for row in rows for system in ("Be brief.", "")),
        *({**row, "prompt": "why?"} for row in rows),
        *({**row, "prompt": "why?", "system": "Be brief."} for row in rows),
    ]


def labelled(*names: str) -> list[dict[str, Any]]:
    return [{**row, "label": index % 2 == 0} for index, row in enumerate(exchanges(*names))]


def histories() -> list[dict[str, Any]]:
    return [{"completion": talk(roles, "yes", padded), "label": True} for roles in CHATS for padded in (False, True)]


def scored() -> list[dict[str, Any]]:
    rows = [
        {"system": "Be brief.", "input": "why?", "chosen": "yes", "rejected": "no"},
        {"system": " Be brief. \n", "input": " why? \n", "chosen": " yes \n", "rejected": "no\n"},
        {"system": "Be brief.", "input": "", "chosen": "yes", "rejected": ""},
        {"system": "", "input": "why?", "chosen": "yes", "rejected": "no"},
    ]
    return [*rows, {key: text for key, text in rows[0].items() if key != "system"}]


def stepped() -> list[dict[str, Any]]:
    return [
        {"prompt": "What is 2 + 2?", "completions": ["First, 2.", "Then 4."], "labels": [True, False]},
        {"prompt": " padded \n", "completions": [" one \n", "two"], "labels": [False, False]},
        {"prompt": "", "completions": ["only"], "labels": [True]},
        {"prompt": "q", "completions": ["a", ""], "labels": [True, True]},
    ]


def cases() -> Iterator[Case]:
    listed = schema.load("axolotl", schema.versions("axolotl")[-1]).keys("config")["chat_template"]["enum"]
    reward = {"type": "bradley_terry.chat_template"}
    for name in (name for name in formats() if name in listed):
        chat = {"chat_template": name}
        yield Case(f"orpo, {name}", {"type": "chat_template.argilla"}, {"rl": "orpo", **chat}, odds())
        yield Case(f"simpo, {name}", {"type": "chat_template.argilla_chat"}, {"rl": "simpo", **chat}, conversations())
        yield Case(f"simpo, {name}, prompts", {"type": "chat_template.default"}, {"rl": "simpo", **chat}, prompts())
        yield Case(f"reward, {name}", reward, {"reward_model": True, **chat}, scored())
    for path, found in FORMATS.items():
        template = jinja.write(found.chat)
        if template is None:
            continue
        own = {"chat_template": "jinja", "chat_template_jinja": template}
        for end in (EOS, found.eos):
            yield Case(f"orpo, jinja of {path}", {"type": "chat_template.argilla"}, {"rl": "orpo", **own}, odds(), end)
            yield Case(f"reward, jinja of {path}", reward, {"reward_model": True, **own}, scored(), end)
    dropped = {**reward, "drop_system_message": True}
    yield Case("reward, system dropped", dropped, {"reward_model": True, "chat_template": "llama3"}, scored())
    columns = ("prompt", "chosen", "rejected")
    for rl in ("orpo", "simpo"):
        yield Case(f"{rl}, as they stand", {}, {"rl": rl}, exchanges(*columns))
    for style in pairs.STYLES:
        for end in (EOS, pairs.STYLES[style].end):
            for kind in ("icr", "prompt_pairs"):
                names = ("input" if kind == "icr" else "prompt", "chosen", "rejected")
                yield Case(
                    f"simpo, {style}.{kind}", {"type": f"{style}.{kind}"}, {"rl": "simpo"}, exchanges(*names), end
                )
            for kind, column in (
                ("argilla", "instruction"),
                ("intel", "question"),
                ("prompt_pairs", "prompt"),
                ("ultra", "prompt"),
            ):
                rows = labelled(column, "completion")
                yield Case(f"kto, {style}.{kind}", {"type": f"{style}.{kind}"}, {"rl": "kto"}, rows, end)
            yield Case(f"kto, {style}.argilla_chat", {"type": f"{style}.argilla_chat"}, {"rl": "kto"}, histories(), end)
    custom = {"prompt_format": "<|u|>{prompt}<|a|>", "completion_format": "{completion}<|e|>"}
    for name, made, rows in (
        ("formats", custom, labelled("prompt", "completion")),
        ("system", {**custom, "prompt_format": "<|s|>{system}<|u|>{prompt}<|a|>"}, labelled("prompt", "completion")),
        (
            "columns",
            {**custom, "field_prompt": "q", "field_completion": "a", "field_label": "good"},
            [{**row, "good": False} for row in exchanges("q", "a")],
        ),
        ("bare", {"field_prompt": "prompt"}, labelled("prompt", "completion")),
    ):
        for end in (EOS, "<|e|>"):
            yield Case(f"kto, type: {{}}, {name}", {"type": made}, {"rl": "kto"}, rows, end)
    yield Case("kto, as they stand", {}, {"rl": "kto"}, labelled("prompt", "completion"))
    steps = {"type": "stepwise_supervised"}
    yield Case("steps", steps, {"process_reward_model": True}, stepped())
    options = {"step_separator": "\n\n", "train_on_last_step_only": True, "max_completion_length": 3}
    yield Case("steps, with options", {**steps, **options}, {"process_reward_model": True}, stepped())
    tokens = [{"input_ids": [5, 6, 7, 8], "labels": [-100, 6, -100, 8], "attention_mask": [1, 1, 1, 1]}]
    yield Case("tokens", {}, {}, tokens)


class Trainers(Axolotl):
    """The texts of a row, as the trainer gets them."""

    def texts(self, case: Case) -> list[dict[str, Pieces] | Exception]:
        config, tokenizer = self._config(case)
        method = forms.method_of(case.config)
        out: list[dict[str, Pieces] | Exception] = []
        for row in case.rows:
            try:
                if method in ("orpo", "simpo", "kto"):
                    out.append(self._trl(method, config, tokenizer, row))
                else:
                    out.append(self._wrapped(method, config, tokenizer, row))
            except Exception as error:  # whatever is raised for such a row
                out.append(error)
        return out

    def _config(self, case: Case) -> tuple[Any, Any]:
        validate_config = import_module("axolotl.utils.config").validate_config
        normalize = import_module("axolotl.utils.config").normalize_cfg_datasets
        mapping = import_module("axolotl.utils.dict").DictDefault
        model = self._model(case.eos, case.model)
        given = {
            "base_model": str(model),
            "datasets": [{**case.entry, "path": "rows.jsonl"}],
            "micro_batch_size": 1,
            "gradient_accumulation_steps": 1,
            "num_epochs": 1,
            "learning_rate": 1e-4,
            "sequence_len": 4096,
            "remove_unused_columns": False,
            **case.config,
        }
        config = validate_config(mapping(given), **MACHINE)
        config.tokenizer_config = config.tokenizer_config or config.base_model
        config.dataset_num_proc = None
        normalize(config)
        return config, import_module("axolotl.loaders.tokenizer").load_tokenizer(config)

    def _trl(self, method: str, config: Any, tokenizer: Any, row: Mapping[str, Any]) -> dict[str, Pieces]:
        data = import_module("axolotl.utils.data.rl")
        kind = config.datasets[0]["type"]
        made = import_module("datasets").Dataset.from_list([dict(row)])
        if kind:
            load = {"orpo": data.load_orpo, "kto": data.load_kto}.get(method, data.load_dpo)
            loaded = load("user_defined.default" if isinstance(kind, Mapping) else kind, config, dataset_idx=0)
            function, options = loaded if isinstance(loaded, tuple) else (loaded, {})
            made = data._map_dataset(config, made, function, tokenizer, **options)
        data._drop_long_sequences(made[0], config.rl, tokenizer, 4096)  # refuses rows without a text
        if method == "kto":
            trainer = import_module("trl").KTOTrainer
            own = SimpleNamespace(_tokenizer=tokenizer, calculate_KL=False)
            args = SimpleNamespace(dataset_num_proc=None, max_length=None)
            ready = trainer._prepare_dataset(own, made, tokenizer, args, "eval")[0]
            if ready["label"] != row[(kind.get("field_label") if isinstance(kind, Mapping) else None) or "label"]:
                raise AssertionError("another label")
            return {"text": _joined(tokenizer, ready["prompt_ids"], ready["completion_ids"])}
        name = "orpo" if method == "orpo" else "cpo"
        module = import_module(f"trl.experimental.{name}.{name}_trainer")
        trainer = getattr(module, f"{name.upper()}Trainer")
        own = SimpleNamespace(
            processing_class=tokenizer, is_encoder_decoder=False, max_length=4096, max_completion_length=None
        )
        own.build_tokenized_answer = lambda *texts: trainer.build_tokenized_answer(own, *texts)
        ready = trainer.tokenize_row(own, made[0])
        return {
            name: pieces(tokenizer, ready[f"{reply}_input_ids"], ready[f"{reply}_labels"])
            for name, reply in REPLIES.items()
        }

    def _wrapped(self, method: str | None, config: Any, tokenizer: Any, row: Mapping[str, Any]) -> dict[str, Pieces]:
        sft = import_module("axolotl.utils.data.sft")
        wrap = import_module("axolotl.utils.data.wrappers").get_dataset_wrapper
        entry = import_module("axolotl.utils.dict").DictDefault(config.datasets[0])
        base, style = sft._parse_dataset_type(entry.type)
        data = import_module("datasets").Dataset.from_list([dict(row)])
        made = next(iter(wrap(entry, tokenizer, config, base, data, style)[0]))
        if method == "reward":
            return {name: _joined(tokenizer, (), made[f"{reply}_ids"]) for name, reply in REPLIES.items()}
        ids, labels = made["input_ids"], made["labels"]
        if method is None:
            marked = (Piece(f"⟨{token}⟩", label != -100) for token, label in zip(ids, labels, strict=True))
            return {"text": merge(marked)}
        if [label for label in labels if label != -100] != [int(label) for label in row["labels"]]:
            raise AssertionError("other labels")
        marks = [-100 if label == -100 else token for token, label in zip(ids, labels, strict=True)]
        return {"text": pieces(tokenizer, ids, marks)}


def _joined(tokenizer: Any, prompt: Sequence[int], completion: Sequence[int]) -> Pieces:
    return pieces(tokenizer, [*prompt, *completion], [*[-100] * len(prompt), *completion])


def main(arguments: Sequence[str]) -> int:
    chosen, verbose = chosen_of(arguments, list(cases()))
    logging.disable(logging.CRITICAL)
    import_module("datasets").disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        shapes = [repr(found.shape) for found in formats().values()]
        written = [Case("", {"texts": [*texts]}, {}, ()) for texts in pairs.STYLES.values()]
        framework = Trainers(Path(folder), specials([*chosen, Case("", {"all": shapes}, {}, ()), *written]))
        return check(chosen, framework.texts, lambda case: bool(case.config.get("reward_model")), verbose)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
