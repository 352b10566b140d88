"""Axolotl's runs that are no plain supervised ones: what their rows become, what the method does, how they convert.

That the renderings are those of the framework is checked in its own environment, by tools/check_axolotl_forms.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ftmigrate import api
from ftmigrate.cli import main
from ftmigrate.document.model import Unresolved
from ftmigrate.frameworks.axolotl import jinja
from ftmigrate.frameworks.reader import Context
from ftmigrate.frameworks.torchtune.recipes import LACKS
from ftmigrate.run.columns import outside
from ftmigrate.run.compare import Verdict, losses
from ftmigrate.run.evaluation import evaluate
from ftmigrate.run.methods import METHODS
from ftmigrate.run.model import NOT_APPLICABLE, Run
from ftmigrate.run.rendering import ChatFormat, Piece, Rendering, TurnFormat, Unrenderable

NEWEST = "axolotl@0.21.0"
BASE: Mapping[str, Any] = {
    "base_model": "meta-llama/Llama-3.2-1B",
    "adapter": "lora",
    "lora_r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.05,
    "lora_target_linear": True,
    "sequence_len": 2048,
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 4,
    "num_epochs": 1,
    "learning_rate": 0.0002,
    "optimizer": "adamw_torch_fused",
    "lr_scheduler": "cosine",
    "output_dir": "./out",
}
TALK = [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "yes"}]
OTHER = [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "no"}]
SHAPE = ChatFormat({role: TurnFormat(f"<{role}>", "</s>") for role in ("system", "user", "assistant")})
FORMS: Mapping[str, Mapping[str, Any]] = {
    "kto": {
        "rl": "kto",
        "rl_beta": 0.5,
        "kto_desirable_weight": 0.2,
        "remove_unused_columns": False,
        "datasets": [{"path": "org/single", "type": "llama3.ultra", "split": "train"}],
    },
    "kto, own format": {
        "rl": "kto",
        "datasets": [{"path": "org/single", "type": {"field_label": "good", "prompt_format": "Q: {prompt}\n"}}],
    },
    "orpo": {
        "rl": "orpo",
        "orpo_alpha": 0.3,
        "chat_template": "chatml",
        "datasets": [{"path": "org/pairs", "type": "chat_template.argilla"}],
    },
    "simpo": {
        "rl": "simpo",
        "rl_beta": 2.0,
        "simpo_gamma": 0.7,
        "chat_template": "llama3",
        "datasets": [{"path": "org/pairs", "type": "chat_template.argilla_chat"}],
    },
    "reward": {
        "reward_model": True,
        "center_rewards_coefficient": 0.01,
        "chat_template": "llama3",
        "datasets": [{"path": "org/scored", "type": "bradley_terry.chat_template"}],
    },
    "process reward": {
        "process_reward_model": True,
        "datasets": [{"path": "org/steps", "type": "stepwise_supervised", "step_separator": "\n\n"}],
    },
    "grpo": {
        "rl": "grpo",
        "rl_beta": 0.9,
        "trl": {
            "beta": 0.001,
            "num_generations": 4,
            "max_completion_length": 128,
            "reward_funcs": ["rwd.format", "rwd.right"],
            "reward_weights": [1.0, 2.0],
            "use_vllm": False,
            "scale_rewards": "none",
        },
        "datasets": [{"path": "openai/gsm8k", "name": "main", "type": "rwd.transform"}],
    },
    "gdpo": {"rl": "gdpo", "datasets": [{"path": "openai/gsm8k", "type": "rwd.transform"}]},
    "ebft": {
        "rl": "ebft",
        "ebft": {"stride": 8},
        "datasets": [{"path": "org/code", "type": "ebft_pretrain.transform"}],
    },
    "tokens": {"datasets": [{"path": "org/tokens"}]},
    "segments": {"datasets": [{"path": "org/segments", "type": "input_output"}]},
    "tokenizer's template": {"datasets": [{"path": "org/chats", "type": "chat_template"}]},
    "reasoning template": {"chat_template": "gemma4", "datasets": [{"path": "org/chats", "type": "chat_template"}]},
    "mistral-common": {
        "tokenizer_use_mistral_common": True,
        "datasets": [{"path": "org/chats", "type": "chat_template"}],
    },
}


def _file(folder: Path, name: str = "run.yaml", **more: Any) -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump({**BASE, **more}, sort_keys=False), encoding="utf-8")
    return path


def _run(folder: Path, version: str = NEWEST, name: str = "run.yaml", **more: Any) -> Run:
    return api.load(str(_file(folder, name, **more)), version).run(Context())


def _pieces(run: Run, row: Mapping[str, Any], setting: str = "text") -> tuple[Piece, ...]:
    found = run[f"data.sources[0].{setting}"]
    assert isinstance(found, Rendering)
    return evaluate(found, row)


def _trained(pieces: tuple[Piece, ...]) -> list[str]:
    return [piece.text for piece in pieces if piece.trained]


# --- methods and rows -------------------------------------------------------------------------------------------


def test_kto(tmp_path: Path) -> None:
    run = _run(tmp_path, **FORMS["kto"])
    assert (run["method.name"], run["method.beta"]) == ("kto", 0.5)
    assert (run["method.desirable_weight"], run["method.undesirable_weight"]) == (0.2, 1.0)
    assert run["method.reference"] == "the starting weights"
    assert str(run["method.loss"]).startswith("KTO's")
    assert run["adapter.dropout"] == 0.0
    assert run["data.shuffle"] is False
    assert run["data.order"] == "as stored, of rows shuffled once before"
    assert run["memory.activation_checkpointing"] is True
    assert run["data.sources[0].label"] == "label"
    assert run["data.sources[0].rejected"] is NOT_APPLICABLE
    pieces = _pieces(run, {"prompt": "why?", "completion": "yes", "label": False})
    assert "".join(piece.text for piece in pieces).startswith("{bos}<|start_header_id|>user<|end_header_id|>\n\nwhy?")
    assert _trained(pieces) == ["yes<|eot_id|>{eos}"]
    own = _run(tmp_path, **FORMS["kto, own format"])
    assert own["data.sources[0].label"] == "good"
    assert _trained(_pieces(own, {"prompt": "why?", "completion": "yes"})) == ["yes{eos}"]


def test_kto_order_without_the_shuffle_before(tmp_path: Path) -> None:
    run = _run(tmp_path, **FORMS["kto"], curriculum_sampling=True)
    assert run["data.order"] == "as stored"


def test_orpo_learns_the_prompt_too(tmp_path: Path) -> None:
    run = _run(tmp_path, **FORMS["orpo"])
    assert (run["method.name"], run["method.beta"]) == ("orpo", 0.3)
    assert run["method.reference"] is NOT_APPLICABLE
    assert "prompt included" in str(run["method.loss"])
    assert run["gradient.loss_normalisation"] == "mean of micro batches"
    pair = {"chosen": TALK, "rejected": OTHER}
    assert _trained(_pieces(run, pair)) == ["yes<|im_end|>\n{eos}"]
    assert _trained(_pieces(run, pair, "rejected")) == ["no<|im_end|>\n{eos}"]
    asked = _pieces(run, {**pair, "prompt": "who?", "system": "Be brief."})
    assert asked[0].text == (
        "{bos}<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nwho?<|im_end|>\n<|im_start|>assistant\n"
    )
    with pytest.raises(Unrenderable):
        _pieces(run, {"chosen": [{"role": "system", "content": "s"}, *TALK], "rejected": OTHER})


def test_orpo_knows_the_global_template_only(tmp_path: Path) -> None:
    (entry,) = FORMS["orpo"]["datasets"]
    run = _run(tmp_path, **{**FORMS["orpo"], "datasets": [{**entry, "chat_template": "llama3"}]})
    assert "<|im_start|>" in _pieces(run, {"chosen": TALK, "rejected": OTHER})[0].text


def test_simpo_has_one_bos_and_a_likelihood(tmp_path: Path) -> None:
    run = _run(tmp_path, **FORMS["simpo"])
    text = "".join(piece.text for piece in _pieces(run, {"chosen": TALK, "rejected": OTHER}))
    assert text.count("{bos}") == 1
    assert (run["method.margin"], run["method.likelihood"]) == (0.7, 1.0)
    assert run["method.reference"] is NOT_APPLICABLE
    assert run["adapter.dtype"] == "fp32"
    assert _run(tmp_path, **FORMS["simpo"], cpo_alpha=0)["method.likelihood"] == 0


def test_reward_scores_the_whole_text(tmp_path: Path) -> None:
    run = _run(tmp_path, **FORMS["reward"])
    assert (run["method.name"], run["method.reward_centering"]) == ("reward", 0.01)
    assert run["sequence.overlong"] == "truncate"
    row = {"system": "Be brief.", "input": "why?", "chosen": "yes", "rejected": "no"}
    for setting, reply in (("text", "yes"), ("rejected", "no")):
        pieces = _pieces(run, row, setting)
        assert all(piece.trained for piece in pieces)
        assert reply in pieces[-1].text
    with pytest.raises(Unrenderable):
        _pieces(run, {key: text for key, text in row.items() if key != "system"})


def test_steps_bear_their_labels_behind_a_line_break(tmp_path: Path) -> None:
    run = _run(tmp_path, **FORMS["process reward"])
    assert run["method.name"] == "process reward"
    row = {"prompt": "q", "completions": ["one", "two"], "labels": [True, False]}
    assert _pieces(run, row) == (
        Piece("{bos}qone", False),
        Piece("\n", True),
        Piece("two", False),
        Piece("\n", True),
    )
    claim = next(claim for path, claim in run.claims.items() if path[-1] == "step_separator")
    assert "lost" in claim.why


def test_policy_training_names_its_functions(tmp_path: Path) -> None:
    run = _run(tmp_path, **FORMS["grpo"])
    assert run["method.beta"] == 0.001
    assert run["method.rewards"] == ("rwd.format", "rwd.right")
    assert run["method.reward_weights"] == (1.0, 2.0)
    assert (run["sampling.group_size"], run["sampling.max_tokens"], run["sampling.temperature"]) == (4, 128, 1.0)
    assert run["adapter.dropout"] == 0.05
    found = run["data.sources[0].text"]
    assert isinstance(found, Unresolved)
    assert "rwd.transform" in found.expression
    private = {path: claim.why for path, claim in run.claims.items() if path[0] == "trl" and not claim.settings}
    assert ("trl", "scale_rewards") in private
    plain = _run(tmp_path, **FORMS["gdpo"])
    assert (plain["method.beta"], plain["sampling.max_tokens"], plain["sampling.group_size"]) == (0.0, 512, 8)


def test_a_wrong_type_is_named(tmp_path: Path) -> None:
    for form, kind, words in (
        ("kto", "chat_template.argilla", "llama3.NAME"),
        ("orpo", "chat_template.default", "chat_template.argilla"),
        ("reward", "alpaca", "bradley_terry.chat_template"),
        ("process reward", "alpaca", "stepwise_supervised"),
    ):
        run = _run(tmp_path, **{**FORMS[form], "datasets": [{"path": "org/x", "type": kind}]})
        found = run["data.sources[0].text"]
        assert isinstance(found, Unresolved)
        assert words in found.expression


@pytest.mark.parametrize("form", ["orpo", "reward"])
def test_a_template_that_ends_the_prompt_is_not_passed_over(form: str, tmp_path: Path) -> None:
    template = jinja.write(ChatFormat(SHAPE.roles, suffix="<end>"))
    run = _run(tmp_path, **{**FORMS[form], "chat_template": "jinja", "chat_template_jinja": template})
    assert isinstance(run["data.sources[0].text"], Unresolved)


# --- rows and templates from elsewhere --------------------------------------------------------------------------


def test_token_rows_are_equal_to_themselves_only(tmp_path: Path) -> None:
    tokens = _run(tmp_path, **FORMS["tokens"])
    assert _pieces(tokens, {"input_ids": [1, 2], "labels": [-100, 2]}) == (Piece("⟨1⟩", False), Piece("⟨2⟩", True))
    assert losses(tokens, tokens) == []
    for other in ("segments", "tokenizer's template"):
        differing = {found.path for found in losses(tokens, _run(tmp_path, **FORMS[other]))}
        assert "data.sources[0].text" in differing


@pytest.mark.parametrize("form", ["tokenizer's template", "reasoning template", "mistral-common"])
def test_templates_from_elsewhere_are_references(form: str, tmp_path: Path) -> None:
    run = _run(tmp_path, **FORMS[form])
    text = run["data.sources[0].text"]
    assert isinstance(text, Rendering)
    assert outside(text)
    assert losses(run, _run(tmp_path, **FORMS[form])) == []
    assert run["data.sources[0].columns"] == ("messages", "messages[].role", "messages[].content")
    trained = _run(tmp_path, **FORMS[form], train_on_inputs=True)
    assert {found.path for found in losses(run, trained)} == {"data.sources[0].loss_mask"}


def test_another_tokenizer_is_another_template(tmp_path: Path) -> None:
    first = _run(tmp_path, **FORMS["tokenizer's template"])
    second = _run(tmp_path, **FORMS["tokenizer's template"], tokenizer_config="org/other")
    found = {item.path: item for item in losses(first, second)}
    assert found["data.sources[0].text"].loss is Verdict.MANUAL
    assert "Llama-3.2-1B" in found["data.sources[0].text"].note()


def test_a_fallback_is_told(tmp_path: Path) -> None:
    run = _run(tmp_path, **FORMS["tokenizer's template"], chat_template="tokenizer_default_fallback_chatml")
    text = run["data.sources[0].text"]
    assert isinstance(text, Rendering)
    assert "or chatml if it has none" in str(outside(text))


@pytest.mark.parametrize("stored", ["file", "config", "named"])
def test_a_tokenizer_at_hand_is_read(stored: str, tmp_path: Path) -> None:
    template = jinja.write(SHAPE)
    folder = tmp_path / "model"
    folder.mkdir()
    if stored == "file":
        (folder / "chat_template.jinja").write_text(str(template), encoding="utf-8")
    given = template if stored == "config" else [{"name": "default", "template": template}]
    config = {} if stored == "file" else {"chat_template": given}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    run = _run(tmp_path, **{**FORMS["tokenizer's template"], "base_model": str(folder)})
    assert _pieces(run, {"messages": TALK})[0].text == "<user>why?</s><assistant>"


def test_a_tokenizer_without_a_template_falls_back(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    more = {"base_model": str(folder), "chat_template": "tokenizer_default_fallback_chatml"}
    run = _run(tmp_path, **{**FORMS["tokenizer's template"], **more})
    assert "<|im_start|>" in _pieces(run, {"messages": TALK})[0].text


# --- releases ---------------------------------------------------------------------------------------------------


def test_removed_types_say_what_to_write(tmp_path: Path) -> None:
    entry = {"path": "org/chats", "type": "sharegpt", "conversation": "chatml"}
    text = _run(tmp_path, datasets=[entry])["data.sources[0].text"]
    assert isinstance(text, Unresolved)
    for words in ("since 0.5.0", "field_messages: conversations", "chat_template: chatml", "helpful assistant"):
        assert words in text.expression


@pytest.mark.parametrize(("version", "known"), [("0.6.0", False), ("0.7.0", True)])
def test_types_that_came_later(version: str, known: bool, tmp_path: Path) -> None:
    run = _run(tmp_path, f"axolotl@{version}", **FORMS["process reward"])
    assert isinstance(run["data.sources[0].text"], Rendering) is known


# --- conversion -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_axolotl_keeps_them_whole(form: str, tmp_path: Path) -> None:
    result = api.convert(str(_file(tmp_path, **FORMS[form])), NEWEST, NEWEST)
    assert result.refused is None
    assert result.target is not None
    assert losses(result.source, result.target) == []
    lost = (Verdict.APPROXIMATE, Verdict.DROPPED, Verdict.MANUAL)
    assert [entry.source_path for entry in result.ledger.entries if entry.verdict in lost] == []
    (text,) = result.files.values()
    assert yaml.safe_load(text)["datasets"] == FORMS[form]["datasets"]


def test_lacking_methods_have_the_names_of_the_vocabulary() -> None:
    assert set(LACKS) <= set(METHODS)


@pytest.mark.parametrize("form", ["kto", "orpo", "reward", "process reward", "gdpo", "ebft"])
def test_a_target_without_the_method_refuses(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out, report = _file(tmp_path, **FORMS[form]), tmp_path / "out.yaml", tmp_path / "ledger.json"
    arguments = ["convert", str(source), "--from", NEWEST, "--to", "torchtune", "-o", str(out), "--report", str(report)]
    assert main(arguments) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"not converted: {form}: " in said
    assert "Nearest" in said or "Nothing comes near" in said or "GRPO" in said
    assert not out.exists()
    ledger = json.loads(report.read_text(encoding="utf-8"))
    assert ledger["refused"].startswith(form)
    assert len(ledger["entries"]) == len(api.load(str(source), NEWEST).document.leaves)


def test_show_and_diff_tell_what_such_runs_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = _file(tmp_path, "a.yaml", **FORMS["kto"]), _file(tmp_path, "b.yaml", **FORMS["orpo"])
    assert main(["show", str(first), "--from", NEWEST]) == 0
    shown = capsys.readouterr().out
    for words in ("desirable_weight", "KTO's", "type: llama3.ultra"):
        assert words in shown
    assert main(["diff", str(first), str(second), "--format", "json"]) == 1
    differing = {item["setting"] for item in json.loads(capsys.readouterr().out)["differences"]}
    assert {"method.name", "method.loss", "method.desirable_weight", "data.sources[0].text"} <= differing
    assert main(["diff", str(first), str(first)]) == 0


@pytest.mark.parametrize("name", ["qwen3", "qwen3_5"])
def test_thoughts_are_dropped_but_from_the_last_reply(name: str, tmp_path: Path) -> None:
    run = _run(tmp_path, chat_template=name, datasets=[{"path": "org/chats", "type": "chat_template"}])
    inside = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nyes"}
    apart = {"role": "assistant", "content": "yes", "reasoning_content": "hm"}
    for reply in (inside, apart):
        pieces = _pieces(run, {"messages": [TALK[0], reply, TALK[0], reply]})
        assert _trained(pieces) == ["yes", "hm\n</think>\n\nyes"]
        assert pieces[0].text.endswith("<|im_start|>assistant\n")
        assert pieces[2].text.endswith("<|im_start|>assistant\n<think>\n")
    (empty, *_) = _pieces(run, {"messages": TALK})
    assert empty.text.endswith("assistant\n<think>\n\n</think>\n\n")
    chatml = _run(tmp_path, chat_template="chatml", datasets=[{"path": "org/chats", "type": "chat_template"}])
    assert {"data.sources[0].text", "data.sources[0].loss_mask"} & {found.path for found in losses(run, chatml)}
