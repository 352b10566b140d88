"""The catalogue of Axolotl's chat templates: well formed, and what probing the templates gives again."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path
from typing import Any

import pytest

from ftmigrate import schema
from ftmigrate.frameworks.axolotl.chat_templates import SystemRefused, catalogue, rebuild

TOOLS = Path(__file__).parent.parent / "tools"
REGULAR = {name: entry for name, entry in catalogue().items() if entry["regular"]}
PLACEMENTS = {"own turn", "inside first user turn", "refused", "dropped"}


def test_there_are_regular_templates_and_others() -> None:
    assert {"chatml", "llama3", "alpaca", "gemma", "mistral_v1", "qwen_25", "phi_3"} <= set(REGULAR)
    assert 20 <= len(REGULAR) < len(catalogue())


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_an_entry_is_well_formed(name: str) -> None:
    entry = catalogue()[name]
    assert re.fullmatch(r"[0-9a-f]{64}", entry["sha256"])
    if not entry["regular"]:
        assert entry["reason"]
        assert "roles" not in entry
        return
    assert entry["bos"] in ("start", "none")
    assert entry["system_placement"] in PLACEMENTS
    assert entry["empty_system"] in ("kept", "absent")
    has_system = entry["system_placement"] in ("own turn", "inside first user turn")
    assert set(entry["roles"]) == {"user", "assistant"} | ({"system"} if has_system else set())
    assert all(set(parts) == {"header", "footer"} for parts in entry["roles"].values())
    assert set(entry["strip"]) == {"system", "user", "assistant"}
    assert entry["default_system"] is None or has_system
    assert not re.search(r"Q[a-z]+\w*Q|<BOS>|<EOS>", str(entry)), "a probe's marker is left"


def test_the_names_are_those_of_the_schema() -> None:
    allowed = set(schema.load("axolotl", "0.21.0").keys("config")["chat_template"]["enum"])
    named = {name for name, entry in catalogue().items() if not entry.get("dataset_only")}
    assert named == allowed - {"jinja", "tokenizer_default"}


def test_rebuilding_a_conversation() -> None:
    messages = [("system", " be brief "), ("user", "hi "), ("assistant", "yes")]
    assert rebuild(REGULAR["llama3"], messages) == (
        "{bos}<|start_header_id|>system<|end_header_id|>\n\nbe brief<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nyes<|eot_id|>"
    )
    assert rebuild(REGULAR["mistral_v1"], messages) == "{bos} [INST]  be brief \n\nhi  [/INST] yes{eos}"
    assert rebuild(REGULAR["alpaca"], messages[1:]) == "{bos}### Instruction:\nhi \n\n### Response:\nyes{eos}"
    assert rebuild(REGULAR["chatml"], messages[1:2], generation_prompt=True) == (
        "<|im_start|>user\nhi <|im_end|>\n<|im_start|>assistant\n"
    )
    with pytest.raises(SystemRefused):
        rebuild(REGULAR["gemma"], messages)


def test_a_default_system_turn_is_put_in_only_where_there_is_none() -> None:
    entry = REGULAR["qwen2_vl"]
    assert entry["default_system"] in rebuild(entry, [("user", "hi")])
    assert entry["default_system"] not in rebuild(entry, [("system", "be brief"), ("user", "hi")])


@pytest.fixture
def probe() -> Any:
    pytest.importorskip("jinja2", reason="jinja2 is needed to render templates")
    return importlib.import_module("extract_axolotl_templates")


def _describe(probe: Any, text: str) -> dict[str, Any]:
    found: dict[str, Any] = probe.describe(text)
    return found


def test_probing_finds_a_structure(probe: Any) -> None:
    entry = _describe(
        probe,
        "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}",
    )
    assert entry["regular"]
    assert entry["bos"] == "start"
    assert entry["roles"]["user"] == {"header": "[user]", "footer": "{eos}"}
    assert entry["strip"] == {"system": True, "user": True, "assistant": True}
    assert entry["generation_prompt"] == "[assistant]"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "{% for m in messages %}[{{ m.role }}]{{ '!' if loop.index > 4 }}{{ m.content }}{% endfor %}",
            "no one structure",
        ),
        ("{% for m in messages %}{{ strftime_now('%d') }}{{ m.content }};{% endfor %}", "date"),
        ("{% for m in messages %}[{{ m.role }}]{{ m.content.split('</think>')[-1] }};{% endfor %}", "reasoning"),
        ("{{ raise_exception('no') }}", "refuses a plain conversation"),
        ("{% for m in messages %}{{ m.content if m.role == 'user' }}{% endfor %}", "no header and footer"),
    ],
)
def test_probing_admits_what_has_no_structure(probe: Any, text: str, reason: str) -> None:
    entry = _describe(probe, text)
    assert not entry["regular"]
    assert reason in entry["reason"]


def test_probing_the_released_templates_again_gives_the_same(probe: Any) -> None:
    where = os.environ.get("FTMIGRATE_AXOLOTL_SOURCE")
    if not where:
        pytest.skip("FTMIGRATE_AXOLOTL_SOURCE (a wheel of Axolotl 0.21.0, or its directory) is not set: NOT re-probed")
    assert probe.describe_all(probe.Package(Path(where))) == catalogue()
