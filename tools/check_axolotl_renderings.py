"""Compare our renderings of Axolotl's dataset types with the tokens and labels that Axolotl itself makes.

    PYTHONPATH=. PYTHON_OF_AXOLOTL tools/check_axolotl_renderings.py [-v] [NAME...]

Every entry goes through Axolotl's own validators, tokenizer loader and dataset wrappers, one row at a time; the ids are
turned back into text piece by piece and compared with what `decode` says of the same entry and config. A row that
Axolotl refuses must be one that we cannot render. Exit status 1 on any disagreement.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

os.environ.setdefault("AXOLOTL_DO_NOT_TRACK", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ftmigrate.document.model import Unresolved
from ftmigrate.frameworks.axolotl import jinja
from ftmigrate.frameworks.axolotl.candidates import propose
from ftmigrate.frameworks.axolotl.entries import decode
from ftmigrate.frameworks.axolotl.formats import formats
from ftmigrate.frameworks.axolotl.prompts import REFLECTIONS, STYLES, TYPES
from ftmigrate.run.evaluation import evaluate, merge
from ftmigrate.run.rendering import (
    ChatFormat,
    Column,
    Conversation,
    Loss,
    Piece,
    Rendering,
    Text,
    Turn,
    TurnFormat,
    Unrenderable,
    When,
)

BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
SPECIAL = re.compile(r"<\|?[^<>\s]{1,40}\|?>|\[\|?[A-Za-z/_]+\|?\]|<[｜|][^<>]{1,30}[｜|]>")
Pieces = tuple[Piece, ...]
MACHINE: Mapping[str, Any] = {
    "capabilities": {
        "bf16": True, "fp8": False, "tf32": True, "n_gpu": 1, "n_node": 1, "compute_capability": "sm_90",
    },
    "env_capabilities": {"torch_version": "2.13.0"},
}  # fmt: skip
"""What Axolotl's validators are told of the machine."""


class Case(NamedTuple):
    """One entry with its config, on some rows. eos: the tokenizer's own EOS. model: its directory's name."""

    name: str
    entry: dict[str, Any]
    config: dict[str, Any]
    rows: Sequence[Mapping[str, Any]]
    eos: str = EOS
    part: str = "datasets"
    model: str = "model"


# --- cases ------------------------------------------------------------------------------------------------------

WRAPPED = {
    "format": "<|start_header_id|>user<|end_header_id|>\n\n{instruction}\n{input}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "no_input_format": "<|start_header_id|>user<|end_header_id|>\n\n{instruction}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
}
SYSTEM_PART = "<|start_header_id|>system<|end_header_id|>\n\n{system}<|eot_id|>"
CUSTOM: dict[str, dict[str, Any]] = {
    "no key but one": {"field_output": "output"},
    "llama3 wrapper": WRAPPED,
    "llama3 wrapper, system prompt": {**WRAPPED, "system_prompt": "Be brief.", "system_format": SYSTEM_PART},
    "other columns": {
        "field_instruction": "q",
        "field_input": "ctx",
        "field_output": "a",
        "format": "{input}|{instruction}>",
    },
    "other system column": {**WRAPPED, "field_system": "persona", "system_format": SYSTEM_PART},
    "no reply": {**WRAPPED, "field_output": ""},
    "input never": {**WRAPPED, "field_input": "", "field_system": ""},
    "empty formats": {"format": "", "no_input_format": "", "system_format": ""},
    "format without input": {"format": "{instruction}", "no_input_format": "{instruction}"},
    "braces": {"format": "{{{instruction}}} {input}:", "no_input_format": "{{}}{instruction}:"},
}


def texts(names: Sequence[str]) -> list[dict[str, Any]]:
    """Rows for text columns: full, padded, each one empty, each one missing."""
    full: dict[str, Any] = {name: f"{name} one\ntwo" for name in names}
    return [
        full,
        {name: f" \n {name} one \n " for name in names},
        *({**full, name: ""} for name in names),
        *({"other": "", **{key: text for key, text in full.items() if key != name}} for name in names),
    ]


def talks(
    roles: Mapping[str, str], key: str = "role", content: str = "content", column: str = "messages"
) -> list[dict[str, Any]]:
    system, user, reply = roles["system"], roles["user"], roles["assistant"]

    def row(*messages: tuple[str, str], **more: str) -> dict[str, Any]:
        return {column: [{key: role, content: text} for role, text in messages], **more}

    one = ((user, "question one\nline"), (reply, "answer one is long enough"))
    two = (*one, (user, "question two"), (reply, "answer two is long enough"))
    named = ((system, "system text"),)
    return [
        row(*one),
        row(*named, *one),
        row(*two),
        row(*named, *two),
        row(*((role, f" \n {text} \n ") for role, text in (*named, *two))),
        row(*two[:3]),
        row(*one, system="column text"),
        row(*named, *one, system="column text"),
    ]


def empty_replies() -> list[dict[str, Any]]:
    """Rows with a reply that is empty, where no trained turn stands so close before it that it trains its end."""
    user, more = {"role": "user", "content": "question"}, {"role": "assistant", "content": "an answer"}
    reply = {"role": "assistant", "content": ""}
    return [
        {"messages": [user, reply]},
        {"messages": [user, reply, user, more]},
        {"messages": [user, more, user, reply]},
    ]


def thoughts() -> list[dict[str, Any]]:
    """Conversations with thoughts in front of replies, in the content and apart."""

    def reply(content: str, **more: str) -> dict[str, str]:
        return {"role": "assistant", "content": content, **more}

    ask, again = {"role": "user", "content": "question one"}, {"role": "user", "content": "question two"}
    inside = reply("<think>\nreason one\n</think>\n\nanswer one")
    tight, empty = reply("<think>reason</think>answer"), reply("<think>\n\n</think>\n\nanswer")
    apart = reply("answer two", reasoning_content="\nreason two\n")
    plain = reply("answer three")
    return [
        {"messages": [ask, last] if first is None else [ask, first, again, last]}
        for first in (None, plain, inside, tight, empty, apart)
        for last in (plain, inside, tight, empty, apart)
    ]


PLAIN_ROLES = {"system": "system", "user": "user", "assistant": "assistant"}
SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt"}


def footer_token(shape: ChatFormat) -> str:
    found = SPECIAL.search(shape.roles["assistant"].footer)
    return found.group() if found else ""


def cases() -> Iterator[Case]:
    for trained in (False, True):
        config = {"train_on_inputs": trained}
        note = ", train_on_inputs" if trained else ""
        named = [*TYPES, *(f"{name}:{style}" for name, kind in TYPES.items() for style in kind.styles)]
        for name in named:
            kind = TYPES[name.partition(":")[0]]
            wanted = re.findall(r"{(\w+)}", kind.instruction + kind.reply)
            rows = texts([*wanted, *filter(None, (kind.input, kind.system_column))])
            yield Case(name + note, {"type": name}, config, rows)
        for style in STYLES:
            yield Case(
                f"alpaca_chat, conversation {style}{note}",
                {"type": "alpaca_chat", "conversation": style},
                config,
                texts(["instruction", "input", "output"])[:5],
            )
        for style in REFLECTIONS:
            name = f"reflection:{style}".rstrip(":")
            yield Case(
                name + note,
                {"type": name},
                config,
                texts(["instruction", "input", "output", "reflection", "corrected"])[:7],
            )
        for what, parts in CUSTOM.items():
            names = [parts.get(f"field_{x}", x) for x in ("instruction", "input", "output")]
            system = parts.get("field_system", "system")
            rows = texts([name for name in names if name])
            if parts.get("format") == "":  # reads no column, but wants the instruction's to be there
                rows = [row for row in rows if "instruction" in row]
            extra = [{**rows[0], system or "system": text} for text in ("", "Be kind. ")]
            yield Case(f"user-defined, {what}{note}", {"type": parts}, config, [*rows, *extra])
        yield Case(f"completion{note}", {"type": "completion"}, config, texts(["text"]))
        yield Case(f"completion, field{note}", {"type": "completion", "field": "body"}, config, texts(["body"]))
        segments = [{"label": False, "text": "<s>ask "}, {"label": True, "text": " reply</s>"}]
        yield Case(f"input_output{note}", {"type": "input_output"}, config, [{"segments": segments}, {"segments": []}])
    eos = {"special_tokens": {"eos_token": "<|eot_id|>"}}
    yield Case(
        "user-defined, llama3 wrapper, eos_token", {"type": WRAPPED}, eos, texts(["instruction", "input", "output"])
    )
    yield Case("completion, eos_token", {"type": "completion"}, eos, texts(["text"]))
    packings: list[dict[str, Any]] = [{}, {"sample_packing": True}, {"pretraining_sample_concatenation": True}]
    for packing in packings:
        bodies = [{"body": "some text"}, {"body": " \n padded \n "}]
        streamed = {"path": "d.jsonl", "type": "pretrain", "text_column": "body"}
        yield Case(f"pretrain {packing or ''}", streamed, packing, bodies, part="pretraining_dataset")
    yield from chats()


def chats() -> Iterator[Case]:
    own = {"type": "chat_template", "field_messages": "messages"}
    rows = talks(PLAIN_ROLES)
    all_roles = {"roles_to_train": ["system", "user", "assistant"]}
    for name, (shape, *_) in formats().items():
        token = footer_token(shape)
        entry = {**own, "chat_template": name}
        yield Case(f"{name}", entry, {}, rows, token or EOS)
        yield Case(f"{name}, train_on_inputs", entry, {"train_on_inputs": True}, rows, token or EOS)
        yield Case(f"{name}, all roles", {**entry, **all_roles}, {}, rows, token or EOS)
        yield Case(f"{name}, another eos", entry, {}, rows)
        if token:
            yield Case(f"{name}, eot_tokens", entry, {"eot_tokens": [token]}, rows)
            yield Case(f"{name}, eos_token", entry, {"special_tokens": {"eos_token": token}}, rows)
    for name in ("llama3", "chatml", "qwen_25", "gemma", "mistral_v1"):
        entry = {**own, "chat_template": name}
        shape = formats()[name].shape
        eos = footer_token(shape) or EOS
        for rule in ("all", "turn", "last", "none"):
            yield Case(f"{name}, train_on_eos {rule}", {**entry, "train_on_eos": rule}, {}, rows, eos)
            yield Case(f"{name}, train_on_eot {rule}", {**entry, "train_on_eot": rule}, {"eot_tokens": [eos]}, rows)
        yield Case(f"{name}, empty replies", entry, {}, empty_replies(), eos)
        yield Case(f"{name}, no roles", {**entry, "roles_to_train": []}, {}, rows, eos)
        yield Case(f"{name}, user only", {**entry, "roles_to_train": ["human"]}, {}, rows, eos)
        yield Case(f"{name}, drop system", {**entry, "drop_system_message": True}, {}, rows, eos)
        yield Case(f"{name}, global", own, {"chat_template": name}, rows, eos)
        yield Case(
            f"{name}, global, dataset says tokenizer_default",
            {**own, "chat_template": "tokenizer_default"},
            {"chat_template": name},
            rows,
            eos,
        )
        yield Case(
            f"{name}, fallback under global",
            {**own, "chat_template": "tokenizer_default_fallback_gemma"},
            {"chat_template": name},
            rows,
            eos,
        )
        yield Case(
            f"{name}, default_system_message",
            own,
            {"chat_template": name, "default_system_message": "Another."},
            rows,
            eos,
        )
        yield Case(
            f"{name}, jinja without chat_template",
            {**own, "chat_template_jinja": "nothing"},
            {"chat_template": name},
            rows,
            eos,
        )
    for name in ("llama3", "mistral_v1"):
        config = {"train_on_inputs": True, "base_model": "my-Mistral"}
        eos = footer_token(formats()[name].shape) or EOS
        named = {**own, "chat_template": name}
        yield Case(f"{name}, model named mistral", named, config, rows, eos, model="my-Mistral")
    for name in ("qwen3", "qwen3_5"):
        for trained in (False, True):
            note = f"{name}, thoughts{', train_on_inputs' if trained else ''}"
            chosen = {**own, "chat_template": name}
            yield Case(note, chosen, {"train_on_inputs": trained}, thoughts(), "<|im_end|>")
        spread = {**own, "chat_template": name, "train_on_eos": "last"}
        yield Case(f"{name}, thoughts, last eos", spread, {}, thoughts(), "<|im_end|>")
    sharegpt = {"type": "chat_template", "chat_template": "llama3", "field_messages": "conversations"}
    mapped = {"message_property_mappings": {"role": "from", "content": "value"}}
    legacy = {"message_field_role": "from", "message_field_content": "value"}
    shared_rows = talks(SHAREGPT, "from", "value", "conversations")
    yield Case("sharegpt", {**sharegpt, **mapped}, {}, shared_rows, "<|eot_id|>")
    yield Case("sharegpt, old keys", {**sharegpt, **legacy}, {}, shared_rows, "<|eot_id|>")
    odd_rows = talks({"system": "sys", "user": "prompter", "assistant": "bot"}, "from", "value", "conversations")
    renamed = {"roles": {"system": ["sys"], "user": ["prompter"], "assistant": ["bot"]}, "roles_to_train": ["bot"]}
    yield Case("roles of its own", {**sharegpt, **mapped, **renamed}, {}, odd_rows, "<|eot_id|>")
    yield from written()
    yield from proposed()


LLAMA2 = ChatFormat(
    roles={"user": TurnFormat("[INST] ", " [/INST]", True), "assistant": TurnFormat(" ", "", " ")},
    prefix="{bos}",
    suffix=" {eos}",
    system_in_user=("<<SYS>>\n", "\n<</SYS>>\n\n"),
    keep_prefix_per_exchange=True,
)
EVERY = replace(LLAMA2, system_in_every_user=True, system_strip=" ")
LAST = ChatFormat(
    roles={role: TurnFormat(f"<|im_start|>{role}\n", "<|im_end|>\n") for role in PLAIN_ROLES},
    last={"assistant": TurnFormat("<|im_start|>assistant\n", "")},
    suffix="<|im_end|>",
)
QUOTES = ChatFormat(
    roles={role: TurnFormat(f"it's a \\ {role}:\t", "<|eot_id|>\n") for role in PLAIN_ROLES},
    prefix="{bos}",
    suffix="<|end_of_text|>",
    default_system="Say 'so'.",
)


def written() -> Iterator[Case]:
    """Templates of our own making, plain and marked."""
    own = {"type": "chat_template", "field_messages": "messages", "chat_template": "jinja"}
    shapes = {
        "llama2": LLAMA2,
        "every": EVERY,
        "last": LAST,
        "quotes": QUOTES,
        **{name: formats()[name].shape for name in ("llama3", "chatml", "gemma", "mistral_v1", "metharme")},
    }
    variants: dict[str, dict[str, Any]] = {
        "": {},
        ", all roles": {"roles_to_train": ["system", "user", "assistant"]},
        ", no eos": {"train_on_eos": "none"},
    }
    for name, shape in shapes.items():
        token = footer_token(shape) or EOS
        for marked in (False, True):
            text = jinja.write(shape, marked=marked)
            if text is None:
                raise ValueError(f"{name} cannot be written")
            for what, more in variants.items():
                if what == ", all roles" and shape.system_in_every_user:
                    continue  # not decoded
                note = f"written {name}{', marked' if marked else ''}{what}"
                yield Case(note, {**own, "chat_template_jinja": text, **more}, {}, talks(PLAIN_ROLES), token)


def proposed() -> Iterator[Case]:
    """Every entry that is proposed for some renderings that no Axolotl type has by itself."""
    llama3 = replace(formats()["llama3"].shape, prefix=BOS, suffix=EOS)
    ask = When("input", (Column("instruction"), Text("\n\n"), Column("input")), (Column("instruction"),))
    columns = (Turn("user", (ask,)), Turn("assistant", (Column("output"),)))
    raw = Rendering((Text(BOS, True), Column("body", True), Text(EOS, True)))
    talks_of = {
        "columns": (
            Conversation(llama3, Loss(), turns=columns, system="Be brief."),
            texts(["instruction", "input", "output"]),
        ),
        "chat, last turn of its own": (
            Conversation(LAST, Loss(edges_as_turn=True), column="messages"),
            talks(PLAIN_ROLES),
        ),
        "chat, system of its own": (
            Conversation(llama3, Loss(), column="messages", system="Be brief.", replace_system=True),
            talks(PLAIN_ROLES),
        ),
    }
    tokens = {"bos": BOS, "eos": EOS}
    for name, (talk, rows) in talks_of.items():
        for index, proposal in enumerate(propose(Rendering((talk,)), tokens)):
            yield Case(f"proposed for {name}, {index}", proposal.entry, proposal.config, rows)
    for index, proposal in enumerate(propose(raw, tokens)):
        yield Case(f"proposed for text, {index}", proposal.entry, proposal.config, texts(["body"]))


# --- Axolotl's side ---------------------------------------------------------------------------------------------


class Axolotl:
    """The real framework, with byte-level tokenizers that hold every special token of the cases."""

    def __init__(self, folder: Path, specials: Sequence[str]) -> None:
        self.folder, self.specials = folder, specials
        self.tokenizers: dict[tuple[str, str], Path] = {}

    def _model(self, eos: str, name: str) -> Path:
        if (eos, name) in self.tokenizers:
            return self.tokenizers[eos, name]
        raw_tokenizer = import_module("tokenizers").Tokenizer
        decoders = import_module("tokenizers").decoders
        models = import_module("tokenizers").models
        pre_tokenizers = import_module("tokenizers").pre_tokenizers
        processors = import_module("tokenizers").processors
        fast_tokenizer = import_module("transformers").PreTrainedTokenizerFast

        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        raw = raw_tokenizer(models.BPE({char: index for index, char in enumerate(alphabet)}, []))
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        raw.decoder = decoders.ByteLevel()
        raw.add_special_tokens([*self.specials])
        raw.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", special_tokens=[(BOS, raw.token_to_id(BOS))]
        )
        tokenizer = fast_tokenizer(tokenizer_object=raw, bos_token=BOS, eos_token=eos, pad_token="<pad>")
        path = self.folder / f"{name}{len(self.tokenizers)}"
        tokenizer.save_pretrained(path)
        (path / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
        self.tokenizers[eos, name] = path
        return path

    def rows(self, case: Case) -> list[Pieces | Exception]:
        load_tokenizer = import_module("axolotl.loaders.tokenizer").load_tokenizer
        normalize_cfg_datasets = import_module("axolotl.utils.config").normalize_cfg_datasets
        validate_config = import_module("axolotl.utils.config").validate_config
        load_dataset = import_module("axolotl.utils.data.sft")._load_and_process_single_dataset
        parse_type = import_module("axolotl.utils.data.sft")._parse_dataset_type
        get_dataset_wrapper = import_module("axolotl.utils.data.wrappers").get_dataset_wrapper
        mapping = import_module("axolotl.utils.dict").DictDefault
        dataset = import_module("datasets").Dataset

        model = self._model(case.eos, case.model)
        path = self.folder / "row.jsonl"
        path.write_text(json.dumps(case.rows[0]) + "\n")
        if case.part == "pretraining_dataset":
            return self._streamed(case, model)
        config = mapping(
            {
                "base_model": str(model),
                "datasets": [{**case.entry, "path": str(path)}],
                "micro_batch_size": 1,
                "gradient_accumulation_steps": 1,
                "num_epochs": 1,
                "learning_rate": 1e-4,
                "sequence_len": 4096,
                "dataset_num_proc": 1,
                **{key: value for key, value in case.config.items() if key != "base_model"},
            }
        )
        config = validate_config(config, **MACHINE)
        config.tokenizer_config = config.tokenizer_config or config.base_model_config or config.base_model
        config.dataset_num_proc = None  # no process per row
        normalize_cfg_datasets(config)
        tokenizer = load_tokenizer(config)
        out: list[Pieces | Exception] = []
        entry = mapping(config.datasets[0])
        base, style = parse_type(entry.type)
        for index, row in enumerate(case.rows):
            try:
                if index == 0:  # all the way; for the others without writing and loading a file
                    made, _ = load_dataset(entry, config, tokenizer, "train", 42)
                else:
                    data = dataset.from_list([row])
                    made, _ = get_dataset_wrapper(entry, tokenizer, config, base, data, style)
                rows = list(made)
                out.append(pieces(tokenizer, rows[0]["input_ids"], rows[0]["labels"]) if rows else ())
            except Exception as error:  # whatever Axolotl raises for such a row
                out.append(error)
        return out

    def _streamed(self, case: Case, model: Path) -> list[Pieces | Exception]:
        load = import_module("axolotl.prompt_strategies.pretrain").load
        encode_streaming = import_module("axolotl.utils.data.streaming").encode_streaming
        mapping = import_module("axolotl.utils.dict").DictDefault
        auto_tokenizer = import_module("transformers").AutoTokenizer

        tokenizer = auto_tokenizer.from_pretrained(model)
        column = case.entry.get("text_column", "text")
        out: list[Pieces | Exception] = []
        for row in case.rows:
            rows = {name: [text] for name, text in row.items()}
            if case.config.get("sample_packing"):
                config = mapping({"sequence_len": 512, "pretraining_dataset": [{"text_column": column}]})
                made = load(tokenizer, config).tokenize_prompt(rows)
                ids = made["input_ids"][0]
                out.append(pieces(tokenizer, ids, ids))
                continue
            joined = case.config.get("pretraining_sample_concatenation") is True
            made = encode_streaming(rows, tokenizer, 512, column, joined)
            kept = [at for at, one in enumerate(made["attention_mask"][0]) if one]
            ids, labels = ([made[key][0][at] for at in kept] for key in ("input_ids", "labels"))
            out.append(pieces(tokenizer, ids, labels))
        return out


def _bytes() -> dict[str, int]:
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return {chr(b): b for b in kept} | {chr(256 + n): b for n, b in enumerate(b for b in range(256) if b not in kept)}


BYTES = _bytes()


def pieces(tokenizer: Any, ids: Sequence[int], labels: Sequence[int]) -> Pieces:
    """Text pieces of a tokenised row. Raises ValueError where a label is neither masked nor the token itself."""
    found: list[tuple[bytes, bool]] = []
    special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
    for token, label in zip(ids, labels, strict=True):
        if label not in (-100, token):
            raise ValueError(f"label {label} on token {token}")
        name = tokenizer.convert_ids_to_tokens(token)
        raw = name.encode() if token in special else bytes(BYTES[char] for char in name)
        trained = label != -100
        if found and found[-1][1] == trained:
            found[-1] = (found[-1][0] + raw, trained)
        else:
            found.append((raw, trained))
    return merge(Piece(raw.decode(), trained) for raw, trained in found)


# --- the comparison ---------------------------------------------------------------------------------------------


def expected(rendering: Rendering, row: Mapping[str, Any]) -> Pieces | None:
    try:
        return evaluate(rendering, row)
    except Unrenderable:
        return None


def specials(all_cases: Sequence[Case]) -> list[str]:
    found = {BOS: None, EOS: None, "<pad>": None}
    for case in all_cases:
        text = json.dumps([case.entry, case.eos, case.config], ensure_ascii=False)
        name = case.entry.get("chat_template")
        if isinstance(name, str) and name in formats():
            text += repr(formats()[name].shape)
        found.update(dict.fromkeys(SPECIAL.findall(text)))
    return list(found)


def main(arguments: Sequence[str]) -> int:
    verbose = "-v" in arguments
    names = [argument for argument in arguments if argument != "-v"]
    chosen = [case for case in cases() if not names or any(name in case.name for name in names)]
    logging.disable(logging.CRITICAL)
    import_module("datasets").disable_progress_bars()
    bad: list[tuple[Mapping[str, Any], object, Pieces | None]]
    wrong = agreed = refused = 0
    with tempfile.TemporaryDirectory() as folder:
        framework = Axolotl(Path(folder), specials(list(cases())))
        for case in chosen:
            config = {"base_model": "model", **case.config}
            rendering = decode(case.entry, config, case.part, {"bos": BOS, "eos": case.eos})["text"].value
            if isinstance(rendering, Unresolved):
                print(f"NOT DECODED  {case.name}: {rendering}")
                wrong += 1
                continue
            assert isinstance(rendering, Rendering)
            try:
                found = framework.rows(case)
            except Exception as error:
                print(f"NOT RUN      {case.name}: {type(error).__name__} {str(error)[:200]}")
                wrong += 1
                continue
            bad = []
            for row, real in zip(case.rows, found, strict=True):
                ours = expected(rendering, row)
                if isinstance(real, Exception):
                    refused += ours is None
                    if ours is not None:
                        bad.append((row, f"{type(real).__name__}: {real}", ours))
                elif real != ours:
                    bad.append((row, real, ours))
            agreed += len(case.rows) - len(bad)
            wrong += len(bad)
            print(f"{'ok   ' if not bad else 'WRONG'} {len(case.rows) - len(bad):3}/{len(case.rows):<3} {case.name}")
            for row, made, ours in bad[: 99 if verbose else 1]:
                for what, shown in (("row", json.dumps(row)), ("real", made), ("ours", ours)):
                    print(f"      {what:4} {str(shown)[:1500]}")
    print(f"{len(chosen)} entries, {agreed} rows agree ({refused} of them refused by both), {wrong} do not")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
