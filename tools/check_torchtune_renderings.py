"""Compares our renderings of rows with what torchtune's own tokenizers and dataset builders make of them.

Run in an environment with torchtune 0.3.0 to 0.6.1, or with its main branch (0.2 has no tokenizer transforms)::

    python tools/check_torchtune_renderings.py

Tokenizers are real, over vocabularies made here: bytes for the tiktoken and GPT-2 ones, a sentencepiece model trained
here with the settings of each family's own (no normalisation, extra spaces kept, bytes for what is unknown; a dummy
prefix for Llama 2, Mistral and Phi 3, none for Gemma). Token ids are turned back into text one by one, special tokens
into their text, and a token counts as trained where its label is not -100 (main keeps labels one place earlier and
drops the first, which is taken from the mask there). Text and the places where the mask changes
must be equal to the character. Nothing is stripped before comparing, but for one artefact: where a sentencepiece model
has a dummy prefix, one space right after BOS is not text (any tokenizer of that family adds it by itself).
A row that torchtune refuses must be refused by the rendering too.
"""

from __future__ import annotations

import base64
import functools
import importlib.util
import inspect
import io
import itertools
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1", TQDM_DISABLE="1")

from ftmigrate import schema  # noqa: E402
from ftmigrate.document.model import Unresolved  # noqa: E402
from ftmigrate.frameworks.torchtune import chat_formats, older  # noqa: E402
from ftmigrate.frameworks.torchtune import datasets as ours  # noqa: E402
from ftmigrate.run.evaluation import evaluate, merge  # noqa: E402
from ftmigrate.run.rendering import Piece, Rendering, Unrenderable  # noqa: E402

MAIN = importlib.util.find_spec("torchtune.models.qwen3") is not None
VERSION = "main" if MAIN else str(importlib.import_module("torchtune").__version__).partition("+")[0]
IGNORED = -100
DATASETS = "torchtune.datasets."
MODELS = "torchtune.models."

# --- rows -------------------------------------------------------------------------------------------------------

WORDS = "Give the name of a town by the river, and say why: é <|eot_id|> </s> <|im_end|> {braces}"
PAIRS = [
    ("Name a town.", "in Wales", "Cardiff."),
    ("  Name a town. \n", " in  Wales \n", "\n Cardiff. "),
    ("Name a town. ", "", "Cardiff. "),
    ("Name a town.   ", None, "Cardiff."),
    ("Name a town.", "  ", ""),
    ("\n", "x", " "),
    (WORDS, WORDS, WORDS),
]
TALKS = [
    ["user", "assistant"],
    ["system", "user", "assistant"],
    ["user", "assistant", "user", "assistant"],
    ["system", "user", "assistant", "user", "assistant", "user", "assistant"],
    ["user", "assistant", "user"],
    ["system", "user"],
    ["user"],
    ["assistant", "user"],
    ["user", "user", "assistant"],
    ["user", "system", "assistant"],
    ["system", "assistant"],
]
CONTENTS: list[Callable[[str, int], str]] = [
    lambda role, index: f"{role} says {index}.\nAnd more.",
    lambda role, index: f"  {role} says {index}.  ",
    lambda role, index: f"{role} ends with a line. \n",
    lambda role, index: "" if index % 2 else f"{role} {index} ",
    lambda role, index: WORDS,
]
SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt"}


def chats(role_key: str, content_key: str, names: Mapping[str, str]) -> Iterator[list[dict[str, str]]]:
    for talk, content in itertools.product(TALKS, CONTENTS):
        yield [{role_key: names.get(role, role), content_key: content(role, index)} for index, role in enumerate(talk)]


def rows() -> dict[str, list[dict[str, Any]]]:
    sharegpt = list(chats("from", "value", SHAREGPT))
    sharegpt.append([{"from": "human", "value": "x"}, {"from": "bing", "value": "y"}])
    openai = list(chats("role", "content", {}))
    return {
        "alpaca": [{"instruction": a, "input": b, "output": c} for a, b, c in PAIRS],
        "no_input": [{"instruction": a, "output": c} for a, _, c in PAIRS],
        "renamed": [{"ask": a, "with": b, "reply": c} for a, b, c in PAIRS],
        "pair": [{"input": a, "output": c} for a, _, c in PAIRS],
        "samsum": [{"dialogue": a, "summary": c, "id": "1"} for a, _, c in PAIRS],
        "sharegpt": [{"conversations": talk} for talk in sharegpt],
        "openai": [{"chat": talk} for talk in openai],
        "text": [{"text": text, "other": text + "!"} for pair in PAIRS for text in pair if text is not None],
    }


class Case(NamedTuple):
    """A builder with arguments, and the rows it reads."""

    builder: str
    rows: str
    args: dict[str, Any]

    @property
    def name(self) -> str:
        shown = ", ".join(f"{key}={value}" for key, value in self.args.items())
        return f"{self.builder}({shown}) on {self.rows}"


def cases() -> list[Case]:
    renamed = {"instruction": "ask", "input": "with", "output": "reply"}
    chat = {"conversation_column": "chat", "conversation_style": "openai"}
    shared = {"conversation_column": "conversations", "conversation_style": "sharegpt"}
    system = {"new_system_prompt": " Be brief. "}
    train, no_train = {"train_on_input": True}, {"train_on_input": False}
    listed = [
        Case("alpaca_dataset", "alpaca", {}),
        Case("alpaca_dataset", "alpaca", no_train),
        Case("alpaca_dataset", "no_input", {"train_on_input": None}),
        Case("alpaca_dataset", "renamed", {"column_map": renamed}),
        Case("alpaca_dataset", "renamed", {"column_map": {"instruction": "ask", "output": "reply"}}),
        Case("alpaca_cleaned_dataset", "alpaca", {}),
        Case("instruct_dataset", "pair", {}),
        Case("instruct_dataset", "renamed", {"column_map": {"input": "ask", "output": "reply"}, **train}),
        Case("instruct_dataset", "pair", {**system, **train}),
        Case("instruct_dataset", "pair", {"new_system_prompt": ""}),
        Case("grammar_dataset", "pair", system),
        Case("samsum_dataset", "samsum", {}),
        Case("samsum_dataset", "samsum", {"column_map": {}, **train}),
        Case("chat_dataset", "openai", chat),
        Case("chat_dataset", "openai", {**chat, **train}),
        Case("chat_dataset", "openai", {**chat, **system}),
        Case("chat_dataset", "openai", {**chat, **system, **train}),
        Case("chat_dataset", "sharegpt", shared),
        Case("chat_dataset", "sharegpt", {**shared, **system, **train}),
        Case("slimorca_dataset", "sharegpt", {}),
        Case("slimorca_dataset", "sharegpt", train),
        Case("text_completion_dataset", "text", {}),
        Case("text_completion_dataset", "text", {"column": "other", "add_eos": False}),
        Case("TextCompletionDataset", "text", {"split": "train"}),
    ]
    own = [{*ours.parameters(DATASETS + case.builder, VERSION), "split"} for case in listed]
    styles = ours.styles(VERSION)
    return [
        case
        for case, parameters in zip(listed, own, strict=True)
        if {*case.args} <= parameters and case.args.get("conversation_style", "sharegpt") in styles
    ]


# What torchtune refuses when the builder is called, and we answer with Unresolved
REFUSED = [
    Case("alpaca_dataset", "alpaca", {"column_map": {"instruction": "ask"}})
    if MAIN
    else Case("instruct_dataset", "pair", {"column_map": {} if not older.before(VERSION, "0.4.0") else {"input": "x"}}),
    Case("instruct_dataset", "pair", {"column_map": {"input": "ask"}}),
    Case("samsum_dataset", "samsum", {"column_map": {"input": "dialogue"}}),
    Case("slimorca_dataset", "sharegpt", {"column_map": {"messages": "conversations"}}),
    Case("chat_dataset", "openai", {"conversation_column": "chat", "conversation_style": "chatml"}),
]

# Torchtune runs these, but we do not describe them
UNDESCRIBED = {(MODELS + "qwen2.qwen2_tokenizer", MODELS + "llama2.Llama2ChatTemplate")}

# --- tokenizers -------------------------------------------------------------------------------------------------

CUSTOM = {"user": ["Q:  ", "\nA: "], "assistant": ["", " "], "system": ["", "\n"]}
NAMED = [
    "torchtune.data.GrammarErrorCorrectionTemplate",
    "torchtune.data.SummarizeTemplate",
    "torchtune.data.QuestionAnswerTemplate",
    MODELS + "llama2.Llama2ChatTemplate",
    MODELS + "mistral.MistralChatTemplate",
]
DEFAULT = "default"


class Tokenizer(NamedTuple):
    """A real tokenizer, how one id reads, and whether its vocabulary has a dummy prefix."""

    component: str
    template: Any
    real: Any
    read: Callable[[int], bytes]
    bos: int | None
    dummy_prefix: bool

    @property
    def name(self) -> str:
        return self.component.removeprefix(MODELS)

    @property
    def shown(self) -> str:
        if isinstance(self.template, dict):
            return "own tags"
        return str(self.template).rpartition(".")[2]


def there(path: str) -> bool:
    """Whether this version has a component."""
    return bool(schema.load("torchtune", VERSION).keys(f"component {path}"))


def component(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def special(real: Any) -> dict[int, bytes]:
    return {number: text.encode() for text, number in real.special_tokens.items()}


def sentencepiece_file(directory: Path, name: str, dummy_prefix: bool, bos: str, eos: str) -> str:
    train = component("sentencepiece.SentencePieceTrainer").train
    text = [f"{WORDS} {number} says user assistant system [INST] [/INST] Cardiff Wales." for number in range(300)]
    model = io.BytesIO()
    train(
        sentence_iterator=iter(text),
        model_writer=model,
        model_type="bpe",
        vocab_size=420,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        add_dummy_prefix=dummy_prefix,
        bos_piece=bos,
        eos_piece=eos,
        minloglevel=2,
    )
    path = directory / f"{name}.model"
    path.write_bytes(model.getvalue())
    return str(path)


def sentencepiece_reader(real: Any) -> Callable[[int], bytes]:
    model = real._spm_model.spm_model
    own = special(real) if hasattr(real, "special_tokens") else {}

    def read(number: int) -> bytes:
        if number in own:
            return own[number]
        piece: str = model.id_to_piece(number)
        if model.is_byte(number):
            return bytes([int(piece[1:-1], 16)])
        return piece.replace("\u2581", " ").encode()

    return read


def bytes_reader(real: Any, inner: Any) -> Callable[[int], bytes]:
    own = special(real)

    def read(number: int) -> bytes:
        return own.get(number) or bytes(inner.byte_decoder[char] for char in inner.decoder[number])

    return read


def tokenizers(directory: Path) -> Iterator[Tokenizer]:
    shared = importlib.util.find_spec("torchtune.modules.transforms.tokenizers")
    gpt2 = shared and importlib.util.find_spec("torchtune.modules.transforms.tokenizers._gpt2")
    bytes_to_unicode = component(f"{gpt2.name if gpt2 else 'torchtune.models.qwen2._tokenizer'}.bytes_to_unicode")
    tiktoken = directory / "tiktoken.model"
    lines = (f"{base64.b64encode(bytes([n])).decode()} {n}" for n in range(256))
    tiktoken.write_text("\n".join(lines) + "\n")
    vocabulary, merges = directory / "vocab.json", directory / "merges.txt"
    vocabulary.write_text(json.dumps({char: n for n, char in enumerate(bytes_to_unicode().values())}))
    merges.write_text("#version: 0.2\n")
    llama = sentencepiece_file(directory, "llama", True, "<s>", "</s>")
    gemma = sentencepiece_file(directory, "gemma", False, "<bos>", "<eos>")
    vocab = {"path": str(vocabulary), "merges_file": str(merges)}
    phi4 = {"vocab_path": str(vocabulary), "merges_path": str(merges)}
    files: dict[str, tuple[dict[str, str], bool]] = {
        "llama2.llama2_tokenizer": ({"path": llama}, True),
        "mistral.mistral_tokenizer": ({"path": llama}, True),
        "gemma.gemma_tokenizer": ({"path": gemma}, False),
        "gemma2.gemma_tokenizer": ({"path": gemma}, False),
        "llama3.llama3_tokenizer": ({"path": str(tiktoken)}, False),
        "phi3.phi3_mini_tokenizer": ({"path": llama}, True),
        "phi4.phi4_tokenizer": (phi4, False),
        "qwen2.qwen2_tokenizer": (vocab, False),
        "qwen2_5.qwen2_5_tokenizer": (vocab, False),
    }
    if MAIN:
        files["qwen3.qwen3_tokenizer"] = (vocab, False)
    assert {MODELS + name for name in files} == {*chat_formats.FORMATS, *(chat_formats.CHANGED_ON_MAIN if MAIN else ())}
    for name, (paths, dummy_prefix) in files.items():
        if not there(MODELS + name):
            continue
        build = component(MODELS + name)
        for template in (DEFAULT, None, CUSTOM, *NAMED, "torchtune.data.ChatMLTemplate"):
            real = build(**paths) if template == DEFAULT else build(**paths, prompt_template=template)
            if hasattr(real, "_spm_model"):
                yield Tokenizer(MODELS + name, template, real, sentencepiece_reader(real), real.bos_id, dummy_prefix)
            elif hasattr(real, "tt_model"):
                own, inner = special(real), real.tt_model.tt_model
                read = functools.partial(lambda o, i, n: o.get(n) or i.decode_single_token_bytes(n), own, inner)
                yield Tokenizer(MODELS + name, template, real, read, None, False)
            else:
                inner = getattr(real, "tokenizer_model", real)
                yield Tokenizer(MODELS + name, template, real, bytes_reader(real, inner), None, False)


# --- comparison -------------------------------------------------------------------------------------------------


def read_back(tokenizer: Tokenizer, sample: Mapping[str, Any]) -> tuple[Piece, ...]:
    """A torchtune sample's text, with its mask."""
    runs: list[tuple[bytes, bool]] = []
    before = None
    labels = sample["labels"]
    if MAIN and not sample["tokens"]:
        return ()  # though it has one label
    if MAIN:
        first = IGNORED if sample.get("mask", [False])[0] else sample["tokens"][0]
        labels = [first, *labels[:-1]]
    for number, label in zip(sample["tokens"], labels, strict=True):
        text = tokenizer.read(number)
        if tokenizer.dummy_prefix and before is not None and before == tokenizer.bos:
            text = text.removeprefix(b" ")
        before = number
        trained = bool(label != IGNORED)
        if runs and runs[-1][1] == trained:
            runs[-1] = (runs[-1][0] + text, trained)
        else:
            runs.append((text, trained))
    return merge(Piece(text.decode(), trained) for text, trained in runs)


def signature(path: str) -> dict[str, Any]:
    """A builder's parameters with their defaults, from the builder itself."""
    found = inspect.signature(component(path)).parameters.values()
    return {
        p.name: None if p.default is p.empty else p.default
        for p in found
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    }


def loading(case: Case, sources: Mapping[str, str]) -> dict[str, Any]:
    """A case's arguments with where its rows are; the split too, which load_dataset else leaves open (up to 0.3)."""
    split = {} if "split" in ours.parameters(DATASETS + case.builder, VERSION) else {"split": "train"}
    return {"source": "json", "data_files": sources[case.rows], **split, **case.args}


def ours_pieces(used: Rendering, row: Mapping[str, Any]) -> tuple[Piece, ...] | None:
    try:
        return evaluate(used, row)
    except Unrenderable:
        return None


class Score(NamedTuple):
    agreed: int
    refused: int
    wrong: list[str]


def compare(tokenizer: Tokenizer, case: Case, built: Any, used: Rendering) -> Score:
    agreed = refused = 0
    wrong: list[str] = []
    for index in range(len(built)):
        row = built._data[index]
        try:
            theirs = read_back(tokenizer, built[index])
        except (ValueError, KeyError, RuntimeError) as error:
            theirs, failure = None, f"{type(error).__name__}: {error}"
        mine = ours_pieces(used, row)
        if theirs == mine:
            agreed += 1
            refused += theirs is None
        else:
            seen = failure if theirs is None else theirs
            wrong.append(
                f"{tokenizer.name} [{tokenizer.shown}] {case.name} row {index} {row}\n  is   {seen}\n  ours {mine}"
            )
    return Score(agreed, refused, wrong)


def check_defaults() -> list[str]:
    """The pinned schema's parameters against the builders' own."""
    wrong = []
    for path in filter(there, [*ours.BUILDERS, *chat_formats.FORMATS]):
        pinned, real = ours.parameters(path, VERSION), signature(path)
        real = {name: pinned.get(name) if name in ("tokenizer", "model_transform") else real[name] for name in real}
        if {k: v for k, v in pinned.items() if k in real} != real:
            wrong.append(f"{path}: the schema says {pinned}, the builder {real}")
    return wrong


def check_rest(tokenizer: Tokenizer, sources: Mapping[str, str]) -> list[str]:
    """Packing, builders that cannot run, arguments that are refused."""
    packed_dataset = component(DATASETS + "PackedDataset")
    wrong = []
    tokenizer.real.max_seq_len = 4096
    try:
        for case in cases():
            path = DATASETS + case.builder
            args = {**loading(case, sources), "packed": True}
            said = {name: value.value for name, value in ours.packing(path, args, VERSION).items()}
            if case.builder == "TextCompletionDataset" or case.rows in ("openai", "sharegpt"):
                continue
            real = component(path)(tokenizer.real, **args)
            cut = isinstance(real, packed_dataset) and real.split_across_pack
            if said != {"packed": isinstance(real, packed_dataset), "split_across_pack": cut}:
                wrong.append(f"packing of {case.name}: {said}")
    finally:
        tokenizer.real.max_seq_len = None
    for path, builder in ours.BUILDERS.items():
        if not builder.fails or not there(path):
            continue
        try:
            component(path)(tokenizer.real, source="json", data_files=sources["text"])
        except (TypeError, ValueError):
            continue
        wrong.append(f"{path} runs, though it is said that {builder.fails}")
    for case in REFUSED:
        args = loading(case, sources)
        answer = ours.decode(DATASETS + case.builder, args, tokenizer.component, None, VERSION)["text"].value
        try:
            component(DATASETS + case.builder)(tokenizer.real, **args)
        except ValueError:
            if not isinstance(answer, Unresolved):
                wrong.append(f"{case.name} is refused, but we render it")
            continue
        wrong.append(f"{case.name} is not refused")
    return wrong


def main() -> int:
    readers = [importlib.import_module(DATASETS + name) for name in ("_sft", "_text_completion")]
    wrong = check_defaults()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        sources = {}
        for kind, listed in rows().items():
            path = directory / f"{kind}.json"
            path.write_text(json.dumps(listed))
            sources[kind] = str(path)
        loaded: dict[str, Any] = {}
        load = component("datasets.load_dataset")

        def load_once(source: str, **options: Any) -> Any:
            key = repr((source, options))
            if key not in loaded:
                loaded[key] = load(source, cache_dir=str(directory / "cache"), **options)
            return loaded[key]

        for reader in readers:
            reader.__dict__["load_dataset"] = load_once
        table: list[tuple[str, ...]] = [("tokenizer", "template", "builders", "rows", "refused", "disagree")]
        for tokenizer in tokenizers(directory):
            template = tokenizer.template
            if template == DEFAULT:
                template = signature(tokenizer.component)["prompt_template"]
            total: Counter[str] = Counter()
            for case in cases():
                args = loading(case, sources)
                built = component(DATASETS + case.builder)(tokenizer.real, **args)
                decoded = ours.decode(DATASETS + case.builder, args, tokenizer.component, template, VERSION)
                used = decoded["text"].value
                if isinstance(used, Unresolved):
                    undescribed = isinstance(template, str) and (tokenizer.component, template) in UNDESCRIBED
                    if undescribed or chat_formats.drops_system(tokenizer.component, VERSION):
                        total["unresolved"] += 1
                        continue
                    # a template that the tokenizer refuses
                    try:
                        built[0]
                    except AssertionError:
                        total["unresolved"] += 1
                        continue
                    wrong.append(f"{tokenizer.name} {case.name}: {used} though torchtune runs it")
                    continue
                assert isinstance(used, Rendering)
                score = compare(tokenizer, case, built, used)
                total.update(builders=1, rows=score.agreed, refused=score.refused, wrong=len(score.wrong))
                wrong += score.wrong
            counts = [str(total[key]) for key in ("builders", "rows", "refused", "wrong")]
            if total["unresolved"]:
                counts[0] += f" +{total['unresolved']} unresolved"
            table.append((tokenizer.name, tokenizer.shown, *counts))
            if tokenizer.name.startswith("llama3.") and tokenizer.template == DEFAULT:
                wrong += check_rest(tokenizer, sources)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for text in wrong[:20]:
        print(text, file=sys.stderr)
    print(f"{len(wrong)} disagreements")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
