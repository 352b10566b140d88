"""Axolotl's dataset entries as renderings, and the entries chosen for wanted ones.

That the renderings are those of the framework is checked in its own environment, by tools/check_axolotl_renderings.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from ftmigrate.document.model import Unresolved, Value
from ftmigrate.frameworks.axolotl import jinja
from ftmigrate.frameworks.axolotl.datasets import best, best_source, decode, propose
from ftmigrate.frameworks.axolotl.formats import formats
from ftmigrate.frameworks.axolotl.places import decode_place, entry_of
from ftmigrate.run.evaluation import evaluate
from ftmigrate.run.likeness import compare
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
    When,
)
from ftmigrate.run.sample_rows import UNREAD
from ftmigrate.run.source import Location

BOS, EOT = "<|begin_of_text|>", "<|eot_id|>"
LLAMA3 = {"bos": BOS, "eos": EOT}
QWEN = {"bos": "", "eos": "<|im_end|>"}
ROLES = ("system", "user", "assistant")
USER, REPLY = "<|start_header_id|>user<|end_header_id|>\n\n", "<|start_header_id|>assistant<|end_header_id|>\n\n"
LLAMA3_FORMAT = ChatFormat(
    {role: TurnFormat(f"<|start_header_id|>{role}<|end_header_id|>\n\n", EOT, True) for role in ROLES},
    BOS,
    "<|end_of_text|>",
)
QWEN_FORMAT = ChatFormat({role: TurnFormat(f"<|im_start|>{role}\n", "<|im_end|>\n") for role in ROLES})
MESSAGES = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": " hi \n"}]


def rendered(entry: dict[str, Value], config: dict[str, Value], row: dict[str, object], **tokens: str) -> list[Piece]:
    found = decode(entry, config, tokens=tokens)["text"].value
    assert isinstance(found, Rendering)
    return list(evaluate(found, row))


def chat(shape: ChatFormat, **more: Any) -> Rendering:
    return Rendering((Conversation(shape, Loss(), column="messages", **more),))


# --- what an entry means ----------------------------------------------------------------------------------------


def test_alpaca_masks_the_prompt_and_trains_the_eos() -> None:
    row: dict[str, object] = {"instruction": "Say a.", "output": " a "}
    prompt = (
        "{bos}Below is an instruction that describes a task. Write a response that appropriately completes the "
        "request.\n\n### Instruction:\nSay a.\n\n### Response:\n"
    )
    assert rendered({"type": "alpaca"}, {}, row) == [Piece(prompt, False), Piece(" a {eos}", True)]
    assert rendered({"type": "alpaca"}, {"train_on_inputs": True}, row) == [Piece(prompt + " a {eos}", True)]


def test_an_empty_reply_has_no_eos() -> None:
    assert rendered({"type": {"format": "{instruction}"}}, {}, {"instruction": "q", "output": ""}) == [
        Piece("{bos}q ", False)
    ]


def test_chat_template_trains_contents_and_their_end_only() -> None:
    entry: dict[str, Value] = {"type": "chat_template", "chat_template": "chatml"}
    assert rendered(entry, {}, {"messages": MESSAGES}, **QWEN) == [
        Piece("<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n", False),
        Piece(" hi \n<|im_end|>", True),
        Piece("\n", False),
    ]
    assert rendered(entry, {"train_on_inputs": True}, {"messages": MESSAGES}, **QWEN) == [
        Piece("<|im_start|>user\n", False),
        Piece("hello<|im_end|>", True),
        Piece("\n<|im_start|>assistant\n", False),
        Piece(" hi \n<|im_end|>", True),
        Piece("\n", False),
    ]


@pytest.mark.parametrize(
    ("entry", "config", "end_is_trained"),
    [
        ({}, {}, False),
        ({}, {"eot_tokens": [EOT]}, True),
        ({}, {"special_tokens": {"eos_token": EOT}}, True),
        ({"train_on_eos": "none"}, {"eot_tokens": [EOT]}, False),
        ({"train_on_eos": "none", "train_on_eot": "turn"}, {"eot_tokens": [EOT]}, True),
    ],
)
def test_an_end_token_is_trained_if_it_is_one(
    entry: dict[str, Value], config: dict[str, Value], end_is_trained: bool
) -> None:
    whole = {"type": "chat_template", "chat_template": "llama3", **entry}
    pieces = rendered(whole, config, {"messages": MESSAGES}, bos=BOS, eos="<|end_of_text|>")
    assert pieces[1] == Piece("hi" + EOT if end_is_trained else "hi", True)


def test_a_system_column_is_put_in() -> None:
    entry: dict[str, Value] = {"type": "chat_template", "chat_template": "chatml"}
    pieces = rendered(entry, {}, {"messages": MESSAGES, "system": "Be kind."}, **QWEN)
    assert pieces[0].text.startswith("<|im_start|>system\nBe kind.<|im_end|>\n")


@pytest.mark.parametrize(
    ("entry", "config", "reason"),
    [
        ({"type": "chat_template", "chat_template": "llama3", "message_field_training": "train"}, {}, "training"),
        ({"type": "my.module"}, {}, "type: my.module"),
        ({"type": "alpaca:nothing"}, {}, "no such prompt style"),
        ({"type": {"format": "{question}"}}, {}, "{question}"),
        ({"type": "alpaca"}, {"rl": "kto"}, "rl"),
        ({"type": "alpaca"}, {"rl": "dpo"}, "type: alpaca"),
    ],
)
def test_what_cannot_be_known_is_unresolved(entry: dict[str, Value], config: dict[str, Value], reason: str) -> None:
    found = decode(entry, config)["text"].value
    assert isinstance(found, Unresolved)
    assert reason in found.expression


def test_the_global_template_serves_an_entry_without_one() -> None:
    own, shared = {"type": "chat_template", "chat_template": "llama3"}, {"type": "chat_template"}
    expected = decode(own, {})["text"].value
    found = decode(shared, {"chat_template": "llama3"})["text"]
    assert isinstance(expected, Rendering)
    assert isinstance(found.value, Rendering)
    assert compare(expected, found.value) == []
    assert "/chat_template" in found.args
    ignored = decode({**shared, "chat_template_jinja": "{{ x }}"}, {"chat_template": "llama3"})["text"].value
    assert ignored == found.value


@pytest.mark.parametrize(("template", "counts"), [("qwen_25", True), ("chatml", False), ("tokenizer_default", True)])
def test_tools_count_where_the_template_writes_them(template: str, counts: bool) -> None:
    entry: dict[str, Value] = {
        "path": "d", "type": "chat_template", "chat_template": template, "field_tools": "functions"
    }  # fmt: skip
    found = decode(entry, {})["text"]
    assert ("field_tools" in found.args) is counts
    assert isinstance(found.value, Unresolved) is counts


def test_only_the_arguments_that_are_there_are_named() -> None:
    entry: dict[str, Value] = {"path": "d.json", "type": {"field_input": "ctx", "format": "{input}{instruction}"}}
    found = decode(entry, {"train_on_inputs": True, "chat_template": "llama3"})
    assert set(found["text"].args) == {"type.field_input", "type.format", "/train_on_inputs"}
    assert found["location"] == (Location("d.json", "json"), ("path",), "")


# --- where the rows are -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "location",
    [
        Location("org/name"),
        Location("data/train.jsonl", "json"),
        Location("train.csv", "csv"),
        Location("org/name", None, ("a.json", "b.json")),
        Location("json", "json", ("data/a.json", "data/b.json")),
        Location("parquet", "parquet", ("a.parquet", "b.parquet")),
    ],
)
def test_a_place_is_read_back_as_it_was(location: Location) -> None:
    source = {"location": location, "subset": "en", "split": "train[:5%]", "weight": 0.5}
    entry = entry_of(source)
    found = decode_place(entry, "datasets")
    assert {name: found[name].value for name in source} == source


# --- entries for wanted renderings ------------------------------------------------------------------------------


def test_alpaca_in_a_llama3_chat() -> None:
    ask = When("input", (Column("instruction"), Text("\n{"), Column("input"), Text("}")), (Column("instruction"),))
    talk = Conversation(
        LLAMA3_FORMAT,
        Loss(frozenset({"user", "assistant"})),
        turns=(Turn("user", (Text("Task: "), ask)), Turn("assistant", (Column("output"),))),
    )
    choice = best((Rendering((talk,)),), {"path": "d.json"}, LLAMA3)
    assert choice.entry == {
        "path": "d.json",
        "type": {
            "field_system": "",
            "format": f"{USER}Task: {{instruction}}\n{{{{{{input}}}}}}{EOT}{REPLY}",
            "no_input_format": f"{USER}Task: {{instruction}}{EOT}{REPLY}",
        },
    }
    assert choice.config == {"train_on_inputs": True}
    assert {difference.where for difference in choice.differences} <= {"outer blanks", "empty output"}
    other = best((Rendering((talk,)),), {}, {**LLAMA3, "eos": "<|end_of_text|>"})
    assert other.config == {"train_on_inputs": True, "special_tokens": {"eos_token": EOT}}


def test_openai_chat_in_qwens_format() -> None:
    choice = best((chat(QWEN_FORMAT),), {"path": "d.json"}, QWEN)
    assert choice.entry == {
        "path": "d.json",
        "type": "chat_template",
        "field_messages": "messages",
        "message_property_mappings": {"role": "role", "content": "content"},
        "chat_template": "chatml",
    }
    assert choice.config == {"train_on_inputs": False}
    assert {one.kind for one in choice.differences if not one.where.startswith(UNREAD)} == {"mask"}
    assert choice.exact is not None


@pytest.mark.parametrize(("shape", "tokens"), [(LLAMA3_FORMAT, LLAMA3), (QWEN_FORMAT, QWEN)])
def test_the_odd_template_trains_headers_too(shape: ChatFormat, tokens: dict[str, str]) -> None:
    choice = best((chat(shape),), {}, tokens, allow_odd=True)
    assert choice.odd
    assert "zzdummymessagezz" in str(choice.entry["chat_template_jinja"])
    if shape is LLAMA3_FORMAT:
        assert [one.where for one in choice.differences] == [f"{UNREAD} system"]
    assert len(choice.differences) < len(best((chat(shape),), {}, tokens).differences)


def test_sharegpt_with_a_system_message_of_its_own() -> None:
    wanted = Rendering(
        (
            Conversation(
                LLAMA3_FORMAT,
                Loss(header=False),
                column="conversations",
                role_key="from",
                content_key="value",
                roles={"system": "system", "human": "user", "gpt": "assistant"},
                system="Be brief.",
                replace_system=True,
            ),
        )
    )
    choice = best((wanted,), {}, LLAMA3)
    template = choice.entry.pop("chat_template_jinja")
    assert choice.entry == {
        "type": "chat_template",
        "field_messages": "conversations",
        "message_property_mappings": {"role": "from", "content": "value"},
        "drop_system_message": True,
        "chat_template": "jinja",
    }
    assert "Be brief." in str(template)
    assert choice.differences == ()


def test_raw_text() -> None:
    wanted = Rendering((Text(BOS, True), Column("body", True), Text("<|end_of_text|>", True)))
    choice = best((wanted,), {"path": "org/name"}, {"bos": BOS, "eos": "<|end_of_text|>"})
    assert choice.entry == {"path": "org/name", "type": "completion", "field": "body"}
    assert choice.config == {}
    assert [difference.where for difference in choice.differences] == ["empty body"]
    without = best((Rendering((Text(BOS, True), Column("text", True))),), {}, LLAMA3)
    assert without.entry == {
        "type": {
            "field_instruction": "text",
            "field_output": "",
            "format": "{instruction}",
            "no_input_format": "{instruction}",
        }
    }
    assert without.config == {"train_on_inputs": True}


def test_a_named_type_is_found_by_its_prompt() -> None:
    wanted = decode({"type": "alpaca_w_system.load_open_orca"}, {})["text"].value
    assert isinstance(wanted, Rendering)
    choice = best((wanted,), {}, {})
    assert (choice.entry, choice.differences) == ({"type": "alpaca_w_system.load_open_orca"}, ())


def test_what_is_said_already_holds_and_is_told() -> None:
    wanted = decode({"type": "alpaca"}, {"train_on_inputs": True})["text"].value
    source = {"text": wanted, "location": Location("org/name")}
    choice = best_source(source, {}, {"train_on_inputs": False})
    assert (choice.entry, choice.conflicts) == ({"path": "org/name", "type": "alpaca"}, ("train_on_inputs",))
    assert {difference.kind for difference in choice.differences} == {"mask"}
    assert best_source(source, {}, {"train_on_inputs": True}).differences == ()


def test_nothing_is_proposed_for_what_is_not_known() -> None:
    custom = Unresolved("custom")
    choice = best_source({"text": custom, "location": Location("org/name")}, {})
    assert choice.entry == {"path": "org/name", "type": custom}


@pytest.mark.parametrize("name", sorted(formats()))
def test_every_named_format_survives_being_written_out(name: str) -> None:
    shape = formats()[name].shape
    for marked in (False, True):
        text = jinja.write(shape, marked=marked)
        if text is None:
            assert shape.first or name in ("qwen3", "qwen3_5")
            continue
        found = jinja.read(text)
        assert found is not None
        assert found.marked is marked
        assert compare(chat(shape), chat(found.format)) == []


def test_another_template_is_not_taken_for_ours() -> None:
    text = jinja.write(QWEN_FORMAT)
    assert text is not None
    assert jinja.read(text.replace("+ m['content']", "+ m['content'] | upper", 1)) is None
    assert jinja.read(text + "\n") is None


def test_every_proposal_is_decoded() -> None:
    for wanted, tokens in ((chat(QWEN_FORMAT), QWEN), (chat(LLAMA3_FORMAT), LLAMA3)):
        found = list(propose(wanted, tokens))
        assert found
        for entry, config, _ in found:
            assert isinstance(decode(entry, config, tokens=tokens)["text"].value, Rendering)
