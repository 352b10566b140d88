"""torchtune's builders and tokenizers as renderings. `tools/check_torchtune_renderings.py` is the referee."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from ftmigrate.document.model import Unresolved
from ftmigrate.frameworks.torchtune.chat_formats import FORMATS, chat_format, default_template, tokenizer_format
from ftmigrate.frameworks.torchtune.datasets import BUILDERS, NOT_FROM_CONFIG, Kind, decode, fails, packing
from ftmigrate.run.evaluation import evaluate
from ftmigrate.run.rendering import Rendering, Unrenderable
from ftmigrate.run.source import Decoded, Location

DATASETS = "torchtune.datasets."
LLAMA2 = "torchtune.models.llama2.llama2_tokenizer"
LLAMA3 = "torchtune.models.llama3.llama3_tokenizer"
GEMMA = "torchtune.models.gemma.gemma_tokenizer"
MISTRAL = "torchtune.models.mistral.mistral_tokenizer"
PHI3 = "torchtune.models.phi3.phi3_mini_tokenizer"
PHI4 = "torchtune.models.phi4.phi4_tokenizer"
QWEN = "torchtune.models.qwen2_5.qwen2_5_tokenizer"
CHAT = {"source": "org/talks", "conversation_column": "chat", "conversation_style": "openai"}
KEYS = {
    "location", "subset", "split", "revision", "data_dir", "load_options", "filter", "weight", "text", "loss_mask",
}  # fmt: skip

ROW = {"instruction": "Name a town.", "input": "", "output": " Cardiff. "}
INTRO = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    "\n\n### Instruction:\n"
)


def decoded(
    builder: str, args: dict[str, Any], tokenizer: str = LLAMA3, version: str = "0.6.1", **template: Any
) -> dict[str, Decoded]:
    used = template.get("template", default_template(tokenizer, version))
    return decode(DATASETS + builder, args, tokenizer, used, version)


def pieces(found: dict[str, Decoded], row: Mapping[str, object]) -> list[tuple[str, bool]]:
    used = found["text"].value
    assert isinstance(used, Rendering)
    assert found["loss_mask"].value is used
    return [(piece.text, piece.trained) for piece in evaluate(used, row)]


def talk(*contents: str, system: str | None = None) -> dict[str, object]:
    """A row of the openai style, user and assistant by turns."""
    said = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]
    return {"chat": ([{"role": "system", "content": system}] if system is not None else []) + said}


def test_alpaca_in_llama3_trains_the_prompt_by_default() -> None:
    found = decoded("alpaca_dataset", {})
    assert pieces(found, ROW) == [
        ("<|begin_of_text|>", False),
        (
            f"<|start_header_id|>user<|end_header_id|>\n\n{INTRO}Name a town.\n\n### Response:<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nCardiff.<|eot_id|>",
            True,
        ),
        ("<|end_of_text|>", False),
    ]
    assert found["location"] == Decoded(Location("tatsu-lab/alpaca"), ())
    assert found["split"] == Decoded("train", ())


def test_alpaca_masks_the_prompt_and_trains_the_assistant_header() -> None:
    found = decoded("alpaca_cleaned_dataset", {"train_on_input": False})
    row = {**ROW, "input": "in Wales"}
    (prompt, prompt_trained), (answer, answer_trained), _ = pieces(found, row)
    assert (prompt_trained, answer_trained) == (False, True)
    assert "paired with an input that provides further context." in prompt
    assert prompt.endswith("### Input:\nin Wales\n\n### Response:<|eot_id|>")
    assert answer == "<|start_header_id|>assistant<|end_header_id|>\n\nCardiff.<|eot_id|>"
    assert found["loss_mask"].args == ("train_on_input",)
    assert found["text"].args == ()
    assert found["location"].value == Location("yahma/alpaca-cleaned")


def test_alpaca_reads_mapped_columns() -> None:
    args = {"column_map": {"instruction": "ask", "output": "reply"}}
    found = decoded("alpaca_dataset", args)
    assert found["text"].args == ("column_map.instruction", "column_map.output")
    assert "Name a town." in pieces(found, {"ask": "Name a town.", "reply": "x"})[1][0]


def test_chat_in_qwen_keeps_white_space_and_ends_without_a_newline() -> None:
    found = decoded("chat_dataset", CHAT, QWEN)
    assert pieces(found, talk(" Hi ", "Yes\n", "Bye", "So long", system="Be brief.")) == [
        ("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n", False),
        ("<|im_start|>assistant\nYes\n<|im_end|>\n", True),
        ("<|im_start|>user\nBye<|im_end|>\n", False),
        ("<|im_start|>assistant\nSo long<|im_end|>", True),
    ]
    assert found["text"].args == ("conversation_column", "conversation_style")


def test_new_system_prompt_replaces_and_is_masked_even_when_prompts_are_trained() -> None:
    args = {**CHAT, "new_system_prompt": "Rhyme.", "train_on_input": True}
    row = talk("Hi", "Yes", system="Be brief.")
    assert pieces(decoded("chat_dataset", args, QWEN), row) == [
        ("<|im_start|>system\nRhyme.<|im_end|>\n", False),
        ("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>", True),
    ]


def test_a_system_message_of_the_data_is_trained_with_prompts_but_never_on_main() -> None:
    args, row = {**CHAT, "train_on_input": True}, talk("Hi", "Yes", system="Be brief.")
    assert pieces(decoded("chat_dataset", args, QWEN), row)[0][1] is True
    assert pieces(decoded("chat_dataset", args, QWEN, "main"), row)[0] == (
        "<|im_start|>system\nBe brief.<|im_end|>\n",
        False,
    )


@pytest.mark.parametrize(("version", "trained"), [("0.6.1", False), ("main", True)])
def test_a_null_train_on_input_is_false_until_main_takes_the_transforms_own_strategy(
    version: str, trained: bool
) -> None:
    user = pieces(decoded("alpaca_dataset", {"train_on_input": None}, QWEN, version), ROW)[0]
    assert user[1] is trained


def test_sharegpt_roles() -> None:
    found = decoded("slimorca_dataset", {}, PHI4)
    row = {"conversations": [{"from": "human", "value": "Hi "}, {"from": "gpt", "value": "Yes"}]}
    assert pieces(found, row) == [
        ("<|im_start|>user<|im_sep|>Hi<|im_end|>", False),
        ("<|im_start|>assistant<|im_sep|>Yes", True),  # no end marker
    ]
    with pytest.raises(Unrenderable, match="bing"):
        pieces(found, {"conversations": [{"from": "bing", "value": "Hi"}]})


def test_llama2_repeats_the_system_message_in_each_user_turn() -> None:
    found = decoded("chat_dataset", CHAT, LLAMA2)
    system = "<<SYS>>\n Be brief. \n<</SYS>>\n\n"
    assert pieces(found, talk("Hi", "Yes", "Bye", "So long", system="Be brief.")) == [
        (f"<s>[INST] {system} Hi  [/INST]", False),
        (" Yes</s>", True),
        (f"<s>[INST] {system} Bye  [/INST]", False),
        (" So long</s>", True),
    ]


def test_gemma_has_no_turn_markers_and_loses_spaces_at_ends() -> None:
    found = decoded("instruct_dataset", {"source": "x", "train_on_input": True}, GEMMA)
    assert pieces(found, {"input": "Hi ", "output": "Yes "}) == [("<bos>HiYes<eos>", True)]


def test_mistral_refuses_system_messages() -> None:
    found = decoded("chat_dataset", CHAT, MISTRAL)
    assert pieces(found, talk("Hi", "Yes")) == [("<s>[INST] Hi  [/INST]", False), (" Yes</s>", True)]
    with pytest.raises(Unrenderable, match="system"):
        pieces(found, talk("Hi", "Yes", system="Be brief."))


def test_phi3_has_no_end_of_text_until_main() -> None:
    row = {"dialogue": "Hi", "summary": "Yes"}
    answer = "<|assistant|> \nYes<|end|> \n"
    assert pieces(decoded("samsum_dataset", {}, PHI3), row)[-1] == (answer, True)
    assert pieces(decoded("samsum_dataset", {}, PHI3, "main"), row)[-1] == (answer + "<|endoftext|>", True)


def test_conversations_must_go_back_and_forth() -> None:
    found = decoded("chat_dataset", CHAT, QWEN)
    for roles in (["user"], ["assistant", "user"], ["user", "user", "assistant"], ["user", "system"]):
        with pytest.raises(Unrenderable):
            pieces(found, {"chat": [{"role": role, "content": "x"} for role in roles]})


@pytest.mark.parametrize(
    ("tokenizer", "args", "expected"),
    [
        (LLAMA3, {}, "<|begin_of_text|> Hi <|end_of_text|>"),
        (LLAMA3, {"add_eos": False}, "<|begin_of_text|> Hi "),
        (QWEN, {}, " Hi <|im_end|>"),
        (PHI3, {}, "<s> Hi </s>"),
        (PHI4, {}, "<|endoftext|> Hi <|im_end|>"),
    ],
)
def test_text_completion_trains_everything(tokenizer: str, args: dict[str, Any], expected: str) -> None:
    found = decoded("text_completion_dataset", {"source": "x", **args}, tokenizer)
    assert pieces(found, {"text": " Hi "}) == [(expected, True)]
    assert found["text"].args == tuple(args)


def test_text_completion_of_nothing_has_no_bos_in_llama3() -> None:
    args = {"source": "x", "column": "page"}
    assert pieces(decoded("text_completion_dataset", args), {"page": ""}) == []
    assert pieces(decoded("text_completion_dataset", args, QWEN), {"page": ""}) == [("<|im_end|>", True)]


def test_prompt_template_stands_inside_the_tokenizers_own_format() -> None:
    tags = {"user": ["Q: ", "\nA: "]}
    found = decoded("instruct_dataset", {"source": "x"}, template=tags)
    user = pieces(found, {"input": "Hi", "output": "Yes"})[0][0]
    assert user.endswith("user<|end_header_id|>\n\nQ:HiA:<|eot_id|>")  # each part is stripped on its own
    found = decoded("instruct_dataset", {"source": "x"}, QWEN, template=tags)
    assert pieces(found, {"input": "Hi", "output": "Yes"})[0][0] == "<|im_start|>user\nQ: Hi\nA: <|im_end|>\n"


@pytest.mark.parametrize(
    ("tokenizer", "template"),
    [
        (LLAMA3, "mine.Template"),
        (LLAMA3, Unresolved("${oc.env:T}")),
        (LLAMA3, {"user": Unresolved("${tags}")}),
        (LLAMA3, 3),
        (QWEN, "torchtune.data.ChatMLTemplate"),
        ("mine.tokenizer", None),
    ],
)
def test_what_cannot_be_known_is_unresolved(tokenizer: str, template: Any) -> None:
    assert isinstance(chat_format(tokenizer, template), Unresolved)
    found = decoded("alpaca_dataset", {"data_dir": "d"}, tokenizer, template=template)
    assert isinstance(found["text"].value, Unresolved)
    assert found["data_dir"] == Decoded("d", ("data_dir",))


def test_a_custom_component_is_unresolved_with_all_its_arguments() -> None:
    args: dict[str, Any] = {"_component_": "mine.data", "source": "x", "nested": {"a": 1, "b": [2]}}
    found = decode("mine.data", args, LLAMA3, None, "0.6.1")
    assert found.keys() == KEYS
    assert found["text"] == Decoded(
        Unresolved("mine.data (source: x, nested: a=1, b=2)"), ("source", "nested.a", "nested.b")
    )
    assert found["loss_mask"].value == found["location"].value == Unresolved("mine.data")
    assert packing("mine.data", {"packed": True})["packed"].value is False


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"source": "org/name"}, Location("org/name")),
        ({"source": "json", "data_files": "a.json"}, Location("a.json", "json")),
        ({"source": "csv", "data_files": ["a.csv"]}, Location("a.csv", "csv")),
        ({"source": "json", "data_files": ["a", "b"]}, Location("json", "json", ("a", "b"))),
        ({"source": "json", "data_files": {"train": "a", "test": "b"}}, Location("a", "json")),
        ({"source": "json", "data_files": {"train": "a", "test": "b"}, "split": "test[:9]"}, Location("b", "json")),
        ({"source": "org/name", "data_files": "a.json"}, Location("org/name", None, ("a.json",))),
        ({"source": "json", "data_files": {"test": "b"}}, Unresolved("data_files")),
        ({"source": Unresolved("${s}")}, Unresolved("${s}")),
        ({}, Unresolved("source")),
    ],
)
def test_location(args: dict[str, Any], expected: object) -> None:
    assert decoded("instruct_dataset", args)["location"].value == expected


def test_loading_arguments_are_told_apart() -> None:
    args: dict[str, Any] = {
        "source": "json",
        "data_files": {"train": "a"},
        "name": "sub",
        "revision": "r1",
        "streaming": True,
        "filter_fn": {"_component_": "mine.keep"},
        "packed": True,
    }
    found = decoded("instruct_dataset", args)
    assert found["location"].args == ("source", "data_files.train")
    assert found["subset"] == Decoded("sub", ("name",))
    assert found["revision"] == Decoded("r1", ("revision",))
    assert found["load_options"] == Decoded({"streaming": True}, ("streaming",))
    assert found["filter"] == Decoded("mine.keep", ("filter_fn._component_",))


def test_what_a_builder_fixes_in_its_code() -> None:
    assert decoded("wikitext_dataset", {})["subset"] == Decoded("wikitext-103-v1", ())
    assert decoded("wikitext_dataset", {"subset": "s"})["subset"] == Decoded("s", ("subset",))
    assert decoded("cnn_dailymail_articles_dataset", {})["subset"] == Decoded("3.0.0", ())
    article = {"article": "Hi", "text": "no"}
    assert pieces(decoded("cnn_dailymail_articles_dataset", {}, QWEN), article) == [("Hi<|im_end|>", True)]
    assert decoded("stack_exchange_paired_dataset", {})["data_dir"] == Decoded("data/rl", ())


@pytest.mark.parametrize(
    ("builder", "args", "reason"),
    [
        ("multimodal.the_cauldron_dataset", {}, "images"),
        ("SFTDataset", {"source": "x"}, "by position"),
        ("chat_dataset", {**CHAT, "conversation_style": "chatml"}, "chatml"),
        ("instruct_dataset", {"source": "x", "column_map": {"input": "a"}}, "output"),
        ("chat_dataset", {**CHAT, "train_on_input": Unresolved("${t}")}, r"\$\{t\}"),
    ],
)
def test_what_is_not_rendered_says_why(builder: str, args: dict[str, Any], reason: str) -> None:
    found = decoded(builder, args)
    for key in ("text", "loss_mask"):
        value = found[key].value
        assert isinstance(value, Unresolved)
        assert re.search(reason, value.expression)


def test_alpaca_on_main_wants_all_columns_mapped() -> None:
    args = {"column_map": {"instruction": "ask"}}
    assert isinstance(decoded("alpaca_dataset", args)["text"].value, Rendering)
    assert decoded("alpaca_dataset", args, version="main")["text"].value == Unresolved("column_map without output")


@pytest.mark.parametrize("version", ["0.6.1", "main"])
@pytest.mark.parametrize("path", [*BUILDERS, *NOT_FROM_CONFIG])
def test_every_builder_answers_every_setting(path: str, version: str) -> None:
    found = decode(path, {}, LLAMA3, None, version)
    pairs = path in BUILDERS and BUILDERS[path].kind in (Kind.PREFERENCE, Kind.PAIRED)
    assert found.keys() == (KEYS | {"rejected"} if pairs else KEYS)
    assert all(value.args == () for value in found.values())


def test_packing() -> None:
    def said(builder: str, **args: Any) -> tuple[object, object]:
        found = packing(DATASETS + builder, args)
        return found["packed"].value, found["split_across_pack"].value

    assert said("alpaca_dataset") == (False, False)
    assert said("alpaca_dataset", packed=True) == (True, False)
    assert said("text_completion_dataset", packed=True) == (True, True)
    assert said("text_completion_dataset", packed=True, split_across_pack=False) == (True, False)
    assert said("wikitext_dataset", packed=True) == (True, True)
    assert said("preference_dataset") == (False, False)
    unknown = packing(DATASETS + "alpaca_dataset", {"packed": Unresolved("${p}")})["packed"]
    assert unknown == Decoded(Unresolved("${p}"), ("packed",))


def test_builders_that_cannot_run_are_known() -> None:
    assert fails(DATASETS + "alpaca_dataset") is None
    assert fails(DATASETS + "wikitext_dataset")
    assert fails(DATASETS + "ConcatDataset")


def test_formats_and_tokens() -> None:
    assert tokenizer_format("torchtune.models.qwen3.qwen3_tokenizer") is None
    assert tokenizer_format("torchtune.models.qwen3.qwen3_tokenizer", "main") == FORMATS[QWEN]
    assert FORMATS[QWEN].tokens == {"bos": "", "eos": "<|im_end|>"}
    assert default_template(LLAMA2, "0.6.1") == "torchtune.models.llama2.Llama2ChatTemplate"
