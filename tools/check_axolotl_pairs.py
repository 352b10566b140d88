"""Compare our renderings of Axolotl's preference types with the tokens that Axolotl and TRL make of the same rows.

    PYTHONPATH=. PYTHON_OF_AXOLOTL tools/check_axolotl_pairs.py [-v] [NAME...]

Every entry goes through Axolotl's validators, tokenizer loader and `load_dpo`, and through TRL's own preparation of a
DPO data set. The ids of prompt and completions are turned back into text and compared with what `decode` says. Exit
status 1 on any disagreement.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from check_axolotl_renderings import BOS, EOS, MACHINE, Axolotl, Case, Pieces, expected, pieces, specials

from ftmigrate import schema
from ftmigrate.frameworks.axolotl import jinja, pairs
from ftmigrate.frameworks.axolotl.entries import decode
from ftmigrate.frameworks.axolotl.formats import formats
from ftmigrate.frameworks.torchtune.chat_formats import FORMATS
from ftmigrate.run.columns import outside
from ftmigrate.run.evaluation import merge
from ftmigrate.run.rendering import Piece, Rendering

REPLIES = {"text": "chosen", "rejected": "rejected"}
"""What a source's rendering is called -> the column of its reply."""
CHATS: Sequence[Sequence[str]] = (
    ("user", "assistant"),
    ("system", "user", "assistant"),
    ("user", "assistant", "user", "assistant"),
    ("system", "user", "assistant", "user", "assistant"),
)


def talk(roles: Sequence[str], last: str, padded: bool) -> list[dict[str, str]]:
    edge = "  \n" if padded else ""
    return [
        {"role": role, "content": f"{edge}{role} {last if at == len(roles) - 1 else at}{edge}"}
        for at, role in enumerate(roles)
    ]


def conversations() -> list[dict[str, Any]]:
    return [
        {"chosen": talk(roles, "yes", padded), "rejected": talk(roles, "no", padded)}
        for roles in CHATS
        for padded in (False, True)
    ]


def prompts() -> list[dict[str, Any]]:
    """Prompts as text and as messages; replies as text, as one message and as a list."""
    out: list[dict[str, Any]] = [
        {"messages": f"{edge}why?{edge}", "chosen": f"{edge}yes{edge}", "rejected": "no"} for edge in ("", " \n")
    ]
    out += [
        {"messages": talk(roles, "end", False)[:-1], "chosen": "yes", "rejected": talk(roles, "no", False)}
        for roles in CHATS
    ]
    return out


def exchanges(*names: str) -> list[dict[str, Any]]:
    rows = [{name: f"{edge}{name} text{edge}" for name in names} for edge in ("", " \n")]
    return [*rows, *({**row, "system": system} for row in rows for system in ("Be brief.", ""))]


def cases() -> Iterator[Case]:
    rl = {"rl": "dpo"}
    listed = schema.load("axolotl", schema.versions("axolotl")[-1]).keys("config")["chat_template"]["enum"]
    for name in (name for name in formats() if name in listed):
        for kind, rows in (("argilla_chat", conversations()), ("default", prompts())):
            yield Case(f"{name}, {kind}", {"type": f"chat_template.{kind}"}, {**rl, "chat_template": name}, rows)
    for path, found in FORMATS.items():
        for end in (EOS, found.eos):
            template = jinja.write(found.chat)
            if template is None or found.chat.suffix:
                continue
            config = {**rl, "chat_template": "jinja", "chat_template_jinja": template}
            yield Case(f"jinja of {path}", {"type": "chat_template.argilla_chat"}, config, conversations(), end)
    for style, written in pairs.STYLES.items():
        for name, columns in (
            ("default", ("prompt", "chosen", "rejected")),
            ("default", ("question", "chosen_response", "rejected_response")),
            ("icr", ("input", "chosen", "rejected")),
            ("intel", ("question", "chosen", "rejected")),
            ("prompt_pairs", ("prompt", "chosen", "rejected")),
        ):
            for end in (EOS, written.end):
                entry = {"type": f"{style}.{name}"}
                yield Case(f"{style}.{name} {columns[0]}", entry, rl, exchanges(*columns), end)
        yield Case(f"{style}.argilla_chat", {"type": f"{style}.argilla_chat"}, rl, conversations())
        rows = [{**row, "prompt": "why?"} for row in conversations()]
        yield Case(f"{style}.ultra", {"type": f"{style}.ultra"}, rl, rows)
    columns = ("prompt", "chosen", "rejected")
    custom = {
        "prompt_format": "<|u|>{prompt}<|a|>",
        "chosen_format": "{chosen}<|e|>",
        "rejected_format": "{rejected}<|e|>",
    }
    for name, made, rows in (
        ("formats", custom, exchanges(*columns)),
        ("system", {**custom, "prompt_format": "<|s|>{system}<|u|>{prompt}<|a|>"}, exchanges(*columns)),
        ("columns", {**custom, "field_prompt": "q", "field_chosen": "a"}, exchanges("q", "a", "rejected")),
        ("bare", {"field_prompt": "prompt"}, exchanges(*columns)),
    ):
        for end in (EOS, "<|e|>"):
            yield Case(f"type: {{}}, {name}", {"type": made}, rl, rows, end)
    yield Case("passthrough", {"type": "passthrough"}, rl, exchanges(*columns))


class Preference(Axolotl):
    """Both texts of a row, as the trainer gets them."""

    def both(self, case: Case) -> list[dict[str, Pieces] | Exception]:
        validate_config = import_module("axolotl.utils.config").validate_config
        normalize = import_module("axolotl.utils.config").normalize_cfg_datasets
        load_tokenizer = import_module("axolotl.loaders.tokenizer").load_tokenizer
        data = import_module("axolotl.utils.data.rl")
        mapping = import_module("axolotl.utils.dict").DictDefault
        dataset = import_module("datasets").Dataset
        trainer = import_module("trl").DPOTrainer

        model = self._model(case.eos, case.model)
        config = mapping(
            {
                "base_model": str(model),
                "datasets": [{**case.entry, "path": "rows.jsonl"}],
                "micro_batch_size": 1,
                "gradient_accumulation_steps": 1,
                "num_epochs": 1,
                "learning_rate": 1e-4,
                "sequence_len": 4096,
                **case.config,
            }
        )
        config = validate_config(config, **MACHINE)
        config.tokenizer_config = config.tokenizer_config or config.base_model
        config.dataset_num_proc = None
        normalize(config)
        tokenizer = load_tokenizer(config)
        kind = config.datasets[0]["type"]
        out: list[dict[str, Pieces] | Exception] = []
        for row in case.rows:
            try:
                loaded = data.load_dpo(
                    "user_defined.default" if isinstance(kind, Mapping) else kind, config, dataset_idx=0
                )
                function, options = loaded if isinstance(loaded, tuple) else (loaded, {})
                made = data._map_dataset(config, dataset.from_list([row]), function, tokenizer, **options)
                own = SimpleNamespace(_tokenizer=tokenizer)
                args = SimpleNamespace(dataset_num_proc=None, max_length=None, truncation_mode="keep_start")
                ready = trainer._prepare_dataset(own, made, tokenizer, args, "train")[0]
                out.append({name: self._pieces(tokenizer, ready, reply) for name, reply in REPLIES.items()})
            except Exception as error:  # whatever is raised for such a row
                out.append(error)
        return out

    def _pieces(self, tokenizer: Any, ready: Mapping[str, Any], reply: str) -> Pieces:
        prompt, completion = ready["prompt_ids"], ready[f"{reply}_ids"]
        return pieces(tokenizer, [*prompt, *completion], [*[-100] * len(prompt), *completion])


def unmarked(found: Pieces | None) -> Pieces | None:
    """Without the mark of a place where tokens may span; one that ends up masked differently is the mark's to say."""
    return None if found is None else merge(Piece(text.replace(pairs.SPANNED, ""), trained) for text, trained in found)


def chosen_of(arguments: Sequence[str], every: Sequence[Case]) -> tuple[list[Case], bool]:
    """The entries that the command line names, and whether it wants to hear of each."""
    names = [argument for argument in arguments if argument != "-v"]
    return [case for case in every if not names or any(name in case.name for name in names)], "-v" in arguments


def same(real: Pieces, ours: Pieces | None, whole: bool) -> bool:
    """Whether the two agree; where the whole text counts, what a template adds by itself need not be marked."""
    if ours is None or not whole:
        return real == ours
    return "".join(piece.text for piece in real) == "".join(piece.text for piece in ours)


def check(
    chosen: Sequence[Case],
    real_of: Callable[[Case], Sequence[Mapping[str, Pieces] | Exception]],
    whole: Callable[[Case], bool],
    verbose: bool,
) -> int:
    """Hold our renderings against what the framework makes of each row, and print what differs; the exit status."""
    wrong = agreed = refused = skipped = 0
    for case in chosen:
        decoded = decode(case.entry, case.config, case.part, {"bos": BOS, "eos": case.eos})
        ours = {name: decoded[name].value for name in REPLIES if name in decoded}
        renderings = {
            name: found for name, found in ours.items() if isinstance(found, Rendering) and not outside(found)
        }
        if len(renderings) < len(ours):  # some of it is said not to be known
            skipped += 1
            if verbose:
                print(f"NOT KNOWN    {case.name}: {ours}")
            continue
        bad: list[tuple[Any, object, Pieces | None]] = []
        for row, real in zip(case.rows, real_of(case), strict=True):
            for name, rendering in renderings.items():
                got = unmarked(expected(rendering, row))
                if isinstance(real, Exception):
                    refused += got is None
                    if got is not None:
                        bad.append((row, f"{type(real).__name__}: {real}", got))
                elif not same(real[name], got, whole(case)):
                    bad.append((row, real[name], got))
        count = len(renderings) * len(case.rows)
        agreed += count - len(bad)
        wrong += len(bad)
        if bad or verbose:
            print(f"{'WRONG' if bad else 'ok   '} {count - len(bad):3} {case.name} (EOS {case.eos})")
        for row, made, said in bad[: 99 if verbose else 1]:
            print(f"      row  {json.dumps(row)[:600]}\n      real {str(made)[:900]}\n      ours {str(said)[:900]}")
    print(
        f"{len(chosen)} entries ({skipped} not known in full), {agreed} texts agree ({refused} of them refused by both), {wrong} do not"
    )
    return 1 if wrong else 0


def main(arguments: Sequence[str]) -> int:
    chosen, verbose = chosen_of(arguments, list(cases()))
    logging.disable(logging.CRITICAL)
    import_module("datasets").disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        named = [
            repr(formats()[c.config["chat_template"]].shape)
            for c in chosen
            if c.config.get("chat_template") in formats()
        ]
        framework = Preference(Path(folder), specials([*chosen, Case("", {"all": named}, {}, ()), *_written()]))
        return check(chosen, framework.both, lambda _: False, verbose)


def _written() -> list[Case]:
    return [Case("", {"texts": [*written]}, {}, ()) for written in pairs.STYLES.values()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
