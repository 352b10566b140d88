"""Trains a torchtune config and what we convert it to, from the same weights on the same rows, and compares the losses.

    FTMIGRATE_PYTHON_TORCHTUNE=... FTMIGRATE_PYTHON_AXOLOTL=... python tools/train_parity.py [CASE...]

Cases are those of fixtures/torchtune/parity/cases.yaml. Both sides are the frameworks' own programs on a CPU:
torchtune's recipe through `tune run`, Axolotl's `axolotl.cli.train` on the converted file. The model is a tiny Llama,
the tokenizer Llama 3's over single bytes, the rows are made here and have no outer white space. The converted file is
changed only in HARNESS, and in `lora_model_dir`: torchtune's first adapter weights, which no seed reproduces, are
handed over.

Three figures are compared at each optimizer step. loss: the mean over the step's trained tokens, added up from what
the framework hands to the cross entropy, so that it does not depend on how each divides. logged: what the framework
logs. norm: of the gradient, after clipping, as the optimizer gets it.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import re
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "fixtures" / "torchtune" / "parity"
TARGET = "axolotl@0.21.0"
ROWS = 48
HARNESS: Mapping[str, Any] = {"dataset_num_proc": 1}
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "AXOLOTL_DO_NOT_TRACK": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONNOUSERSITE": "1",
}
SPECIAL = (
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>",
    "<|python_tag|>", "<|finetune_right_pad_id|>", "<|step_id|>", "<|image|>",
)  # fmt: skip
WORDS = (
    "river", "town", "over", "small", "green", "why", "name", "they", "walk", "is", "a", "the", "of", "light", "stone",
    "paper", "rain", "seven", "slow",
)  # fmt: skip


class TrainingFailed(Exception):
    """A framework's program ended with an error; the text is the end of what it printed."""


class Case(NamedTuple):
    """An entry of cases.yaml."""

    name: str
    config: Path
    recipe: str
    rows: int
    overrides: tuple[str, ...]


class Steps(NamedTuple):
    """A run's figures, one of each per optimizer step."""

    loss: tuple[float, ...]
    norm: tuple[float, ...]
    logged: tuple[float, ...]


def cases() -> dict[str, Case]:
    """All cases by name."""
    listed = yaml.safe_load((FIXTURES / "cases.yaml").read_text(encoding="utf-8"))
    return {
        name: Case(
            name,
            FIXTURES / given.get("config", "base.yaml"),
            given.get("recipe", "lora_finetune_single_device"),
            given.get("rows", ROWS),
            (*given["set"], *given.get("more", ())),
        )
        for name, given in listed.items()
    }


# --- model, tokenizer, rows -------------------------------------------------------------------------------------


def make_model(folder: Path) -> None:
    """The tiny model with both tokenizers, drawn wide so that settings tell soon; runs in the Axolotl environment."""
    torch, transformers, tokenizers = map(import_module, ("torch", "transformers", "tokenizers"))
    folder.mkdir(parents=True)
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=320, hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=2048, rms_norm_eps=1e-5, rope_theta=500000.0,
        tie_word_embeddings=False, bos_token_id=256, eos_token_id=257, initializer_range=0.06,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)

    ranks = [f"{base64.b64encode(bytes([byte])).decode()} {byte}" for byte in range(256)]
    folder.joinpath("tokenizer.model").write_text("\n".join(ranks) + "\n", encoding="ascii")
    added = [{"id": 256 + index, "content": token} for index, token in enumerate(SPECIAL)]
    folder.joinpath("special_tokens.json").write_text(json.dumps({"added_tokens": added}), encoding="ascii")

    letters = import_module("transformers.convert_slow_tokenizer").bytes_to_unicode()
    core = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={letters[byte]: byte for byte in range(256)}, merges=[]))
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = tokenizers.decoders.ByteLevel()
    core.add_special_tokens(list(SPECIAL))
    core.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{SPECIAL[0]} $A", pair=f"{SPECIAL[0]} $A {SPECIAL[0]} $B", special_tokens=[(SPECIAL[0], 256)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=SPECIAL[0], eos_token=SPECIAL[1], pad_token="<|finetune_right_pad_id|>"
    ).save_pretrained(folder)


def make_rows(folder: Path, count: int) -> None:
    """The same rows in each layout that a case reads; `more.json` holds what is above ROWS."""
    draw = random.Random(7)

    def words(least: int, most: int) -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(least, most))).capitalize() + "."

    pairs = [(words(3, 12), words(2, 8) if draw.random() < 0.5 else "", words(2, 40)) for _ in range(count)]
    alpaca = [{"instruction": ask, "input": given, "output": reply} for ask, given, reply in pairs]
    talks = [[("user", ask), ("assistant", given or "Yes."), ("user", "Go on."), ("assistant", reply)]
             for ask, given, reply in pairs]  # fmt: skip
    talks = [[("system", "Be brief."), *talk] if index % 3 == 0 else talk for index, talk in enumerate(talks)]
    human = {"user": "human", "assistant": "gpt", "system": "system"}
    layouts: dict[str, Sequence[Mapping[str, object]]] = {
        "alpaca": alpaca[:ROWS],
        "more": alpaca[ROWS:],
        "pairs": [{"question": ask, "answer": reply} for ask, _, reply in pairs],
        "text": [{"text": f"{ask} {reply}"} for ask, _, reply in pairs],
        "openai": [{"messages": [{"role": role, "content": text} for role, text in talk]} for talk in talks],
        "sharegpt": [
            {"conversations": [{"from": human[role], "value": text} for role, text in talk]} for talk in talks
        ],
    }
    for name, rows in layouts.items():
        if rows:
            folder.joinpath(f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")


def make_adapter(trained: Path, model: Path, config: Path, folder: Path) -> None:
    """torchtune's first adapter in PEFT's format, described by the converted file; runs in the Axolotl environment.

    With DoRA torchtune writes the magnitudes of q and k in its own order of rows: they are computed from the weights.
    """
    files = import_module("safetensors.torch")
    keys = yaml.safe_load(config.read_text(encoding="utf-8"))
    weights, base = files.load_file(trained), files.load_file(model / "model.safetensors")
    for name in weights:
        if "lora_magnitude_vector" in name:
            layer = name.removeprefix("base_model.model.").split(".lora_magnitude_vector")[0]
            weights[name] = base[f"{layer}.weight"].norm(dim=1)
    folder.mkdir()
    files.save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    described = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": keys["lora_r"], "lora_alpha": keys["lora_alpha"],
        "lora_dropout": keys["lora_dropout"], "target_modules": keys["lora_target_modules"],
        "use_dora": keys.get("peft_use_dora", False), "bias": "none",
    }  # fmt: skip
    folder.joinpath("adapter_config.json").write_text(json.dumps(described), encoding="utf-8")


# --- training ---------------------------------------------------------------------------------------------------


def record(out: Path, module: str, arguments: Sequence[str]) -> None:
    """Run a module as the main program and note loss and gradient norm at each optimizer step; in its environment."""
    torch = import_module("torch")
    compute, hook = torch.nn.functional.cross_entropy, import_module("torch.optim.optimizer")
    total, count = 0.0, 0

    def cross_entropy(logits: Any, labels: Any, *more: Any, **options: Any) -> Any:
        nonlocal total, count
        trained = labels != -100
        with torch.no_grad():
            total += float(compute(logits[trained].float(), labels[trained], reduction="sum").double())
        count += int(trained.sum())
        return compute(logits, labels, *more, **options)

    def before_step(optimizer: Any, *_: Any) -> None:
        nonlocal total, count
        grads = [one.grad for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
        norm = float(torch.stack([grad.double().norm() for grad in grads]).norm())
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"loss": total / max(count, 1), "norm": norm}) + "\n")
        total, count = 0.0, 0

    torch.nn.functional.cross_entropy = cross_entropy
    hook.register_optimizer_step_pre_hook(before_step)
    sys.argv[:] = [module, *arguments]
    sys.path.pop(0)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def run(python: str, arguments: Sequence[str], folder: Path) -> None:
    """This file in a framework's environment. Raises TrainingFailed."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    command = [python, str(Path(__file__).resolve()), *arguments]
    printed = folder / "printed.txt"
    with printed.open("w", encoding="utf-8") as file:
        code = subprocess.run(command, cwd=folder, env=kept | QUIET, stdout=file, stderr=subprocess.STDOUT).returncode
    if code:
        raise TrainingFailed("\n".join(printed.read_text(encoding="utf-8").splitlines()[-25:]))


def place(folder: Path, case: Case, model: Path) -> None:
    """The rows and the model, where the config looks for them."""
    folder.mkdir(parents=True)
    make_rows(folder, case.rows)
    folder.joinpath("model").symlink_to(model)


def recorded(folder: Path, logged: Sequence[float]) -> Steps:
    lines = [json.loads(line) for line in folder.joinpath("steps.jsonl").read_text(encoding="utf-8").splitlines()]
    return Steps(tuple(line["loss"] for line in lines), tuple(line["norm"] for line in lines), tuple(logged))


def torchtune(python: str, case: Case, folder: Path, model: Path, more: Sequence[str] = ()) -> Steps:
    """`tune run` on the case."""
    place(folder, case, model)
    folder.joinpath("config.yaml").write_bytes(case.config.read_bytes())
    arguments = ["run", case.recipe, "--config", "config.yaml", *case.overrides, *more]
    run(python, ["--record", "steps.jsonl", "torchtune._cli.tune", *arguments], folder)
    log = next(folder.joinpath("out", "logs").glob("log_*.txt")).read_text(encoding="utf-8")
    return recorded(folder, [float(value) for value in re.findall(r"\bloss:(\S+)", log)])


def axolotl(python: str, config: Mapping[str, Any], case: Case, folder: Path, model: Path) -> Steps:
    """Axolotl's trainer on the converted config."""
    place(folder, case, model)
    folder.joinpath("config.yaml").write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
    run(python, ["--record", "steps.jsonl", "axolotl.cli.train", "config.yaml"], folder)
    states = sorted(folder.joinpath("out").rglob("trainer_state.json"), key=lambda path: path.stat().st_mtime)
    history = json.loads(states[-1].read_text(encoding="utf-8"))["log_history"]
    return recorded(folder, [entry["loss"] for entry in history if "loss" in entry])


def train(case: Case, work: Path, exact: bool = False, changes: Mapping[str, Any] | None = None) -> tuple[Steps, Steps]:
    """Both runs of a case in a new folder of `work`. `changes` are put into the converted file."""
    from ftmigrate import api

    ours, theirs = (os.environ[f"FTMIGRATE_PYTHON_{name}"] for name in ("TORCHTUNE", "AXOLOTL"))
    model, folder = work / "model", work / case.name
    if not model.exists():
        run(theirs, ["--make-model", str(model)], work)
    made = api.convert(
        str(case.config), TARGET, "torchtune", overrides=case.overrides, recipe=case.recipe, rows=case.rows, exact=exact
    )
    wanted = torchtune(ours, case, folder / "torchtune", model)
    config = yaml.safe_load(next(iter(made.files.values()))) | HARNESS | (changes or {})
    folder.joinpath("converted.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    if "adapter" in config:
        start = ("optimizer.lr=0", "max_steps_per_epoch=1", "epochs=1")
        torchtune(ours, case, folder / "start", model, start)
        trained = next(folder.joinpath("start", "out").rglob("adapter_model.safetensors"))
        arguments = (trained, model, folder / "converted.yaml", folder / "adapter")
        run(theirs, ["--make-adapter", *map(str, arguments)], folder)
        config["lora_model_dir"] = str(folder / "adapter")
    return wanted, axolotl(theirs, config, case, folder / "axolotl", model)


def report(case: Case, wanted: Steps, got: Steps) -> str:
    """Losses side by side and the largest differences."""
    steps = zip(wanted.loss, got.loss, strict=False)
    lines = [f"{case.name}: {len(wanted.loss)} steps in torchtune, {len(got.loss)} in Axolotl"]
    lines += [f"  {index:3} {a:.7f} {b:.7f} {b - a:+.1e}" for index, (a, b) in enumerate(steps, 1)]
    pairs = zip(Steps._fields, wanted, got, strict=True)
    figures = (f"{name} {largest(first, second):.1e}" for name, first, second in pairs)
    return "\n".join([*lines, f"  largest difference: {', '.join(figures)}"])


def largest(first: Sequence[float], second: Sequence[float]) -> float:
    """The largest difference over the steps that both runs have."""
    return max((abs(a - b) for a, b in zip(first, second, strict=False)), default=float("nan"))


def main() -> int:
    if sys.argv[1:2] == ["--make-model"]:
        make_model(Path(sys.argv[2]))
        return 0
    if sys.argv[1:2] == ["--make-adapter"]:
        make_adapter(*map(Path, sys.argv[2:6]))
        return 0
    if sys.argv[1:2] == ["--record"]:
        record(Path(sys.argv[2]).resolve(), sys.argv[3], sys.argv[4:])
        return 0
    known = cases()
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("case", nargs="*", help=f"of {', '.join(known)} (default: all)")
    parser.add_argument("--exact", action="store_true", help="convert with --exact")
    parser.add_argument("--change", action="append", default=[], metavar="KEY=VALUE", help="of the converted file")
    parser.add_argument("--work", type=Path, help="a folder to keep (default: a temporary one)")
    told = parser.parse_args()
    changes = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in told.change)}
    with tempfile.TemporaryDirectory() as temporary:
        work = (told.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        failed = False
        for name in told.case or known:
            try:
                print(report(known[name], *train(known[name], work, told.exact, changes)), flush=True)
            except TrainingFailed as error:
                failed = True
                print(f"{name}: failed\n{error}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
