"""Tokenizer files over bytes, in the formats that frameworks read, with the same ids in all of them.

A family's real vocabulary is not needed to see which text is made of a row and which of it is trained.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """How a family's tokenizer works. `specials` have the ids behind the bytes."""

    form: str
    specials: tuple[str, ...]
    bos: str | None
    eos: str
    pad: str
    size: int
    dummy_prefix: bool = False
    adds_bos: bool = True
    swallows: bool = False
    """Whether transformers' tokenizer takes white space behind a special token away, as Phi 3's does."""


KINDS: Mapping[str, Kind] = {
    "llama3": Kind(
        "tiktoken",
        ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>",
         "<|python_tag|>", "<|finetune_right_pad_id|>", "<|step_id|>", "<|image|>"),
        "<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>", 320,
    ),
    "qwen2": Kind(
        "gpt2",
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
         "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
         "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>",
         "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>",
         "<think>", "</think>"),
        None, "<|im_end|>", "<|endoftext|>", 320,
    ),
    "phi4": Kind(
        "gpt2",
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
         "<|endofprompt|>", "<|dummy_85|>"),
        None, "<|im_end|>", "<|dummy_85|>", 320,
    ),
    "llama2": Kind("sentencepiece", (), "<s>", "</s>", "<unk>", 320, True),
    "gemma": Kind("sentencepiece", ("<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>", "<pad>", 320),
    "phi3": Kind(
        "sentencepiece",
        ("<|endoftext|>", "<|assistant|>", "<|placeholder1|>", "<|placeholder2|>", "<|placeholder3|>", "<|placeholder4|>",
         "<|system|>", "<|end|>", "<|placeholder5|>", "<|placeholder6|>", "<|user|>"),
        "<s>", "</s>", "<|endoftext|>", 320, True, False, True,
    ),
}  # fmt: skip


def vocabulary(name: str) -> int:
    return KINDS[name].size


def make(name: str, folder: Path) -> dict[str, int]:
    """Write the files; the ids that a model's config.json names."""
    kind = KINDS[name]
    ids = _sentencepiece(kind, folder) if kind.form == "sentencepiece" else _bytes(kind, folder)
    text = {"bos_token": kind.bos, "eos_token": kind.eos, "pad_token": kind.pad, "unk_token": None}
    if kind.form == "sentencepiece":
        text["unk_token"] = "<unk>"
    config = {
        **{key: value for key, value in text.items() if value},
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 1_000_000,
        "clean_up_tokenization_spaces": False,
        "add_bos_token": kind.bos is not None and kind.adds_bos,
        "chat_template": _TEMPLATES.get(name),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    found = {"eos_token_id": ids[kind.eos], "pad_token_id": ids[kind.pad]}
    return found | ({"bos_token_id": ids[kind.bos]} if kind.bos else {})


def text_of(name: str, number: int) -> str:
    """What an id stands for; single bytes of a longer character as their number."""
    kind = KINDS[name]
    if kind.form == "sentencepiece":
        heads = 4 if kind.pad == "<pad>" else 3
        at = number - heads
        known = ["<pad>", kind.eos, str(kind.bos), "<unk>"] if heads == 4 else ["<unk>", str(kind.bos), kind.eos]
        if at < 0:
            return known[number]
        if at == 256:
            return " "
        specials = at - 257
    else:
        at, specials = number, number - 256
    if at < 256:
        return chr(at) if at < 128 else f"<0x{at:02X}>"
    return kind.specials[specials] if specials < len(kind.specials) else f"<{number}>"


_TEMPLATES = {
    "llama3": "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
    "qwen2": "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
}


def _letters() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + index) for index, byte in enumerate(rest)}


def _bytes(kind: Kind, folder: Path) -> dict[str, int]:
    ids = {token: 256 + index for index, token in enumerate(kind.specials)}
    added = [{"id": number, "content": token} for token, number in ids.items()]
    vocabulary_ = {letter: byte for byte, letter in _letters().items()}
    if kind.form == "tiktoken":
        ranks = [f"{base64.b64encode(bytes([byte])).decode()} {byte}" for byte in range(256)]
        (folder / "tokenizer.model").write_text("\n".join(ranks) + "\n", encoding="ascii")
    else:
        (folder / "vocab.json").write_text(json.dumps(vocabulary_, ensure_ascii=False), encoding="utf-8")
        (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    (folder / "special_tokens.json").write_text(json.dumps({"added_tokens": added}), encoding="utf-8")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [_added(token, number) for token, number in ids.items()],
        "pre_tokenizer": byte_level,
        "post_processor": _start(kind, ids) if kind.bos else None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary_, "merges": []},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    return ids


def _added(token: str, number: int, swallows: bool = False) -> dict[str, Any]:
    return {"id": number, "content": token, "single_word": False, "lstrip": False, "rstrip": swallows, "normalized": False,
            "special": True}  # fmt: skip


def _start(kind: Kind, ids: Mapping[str, int]) -> dict[str, Any]:
    assert kind.bos is not None
    first = {"SpecialToken": {"id": kind.bos, "type_id": 0}}
    single = [first, {"Sequence": {"id": "A", "type_id": 0}}]
    pair = [*single, {"SpecialToken": {"id": kind.bos, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}]
    known = {kind.bos: {"id": kind.bos, "ids": [ids[kind.bos]], "tokens": [kind.bos]}}
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": known}


# --- sentencepiece ------------------------------------------------------------------------------------------------

_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
SPACE = "\u2581"


def _sentencepiece(kind: Kind, folder: Path) -> dict[str, int]:
    """Bytes, the space, and special tokens; what is no piece falls back to its bytes."""
    heads = ["<pad>", kind.eos, kind.bos, "<unk>"] if kind.pad == "<pad>" else ["<unk>", kind.bos, kind.eos]
    pieces = [(str(token), _UNKNOWN if token == "<unk>" else _CONTROL) for token in heads]
    pieces += [(f"<0x{byte:02X}>", _BYTE) for byte in range(256)]
    pieces.append((SPACE, _NORMAL))
    extra = {token: len(pieces) + index for index, token in enumerate(kind.specials)}
    if kind.pad != "<endoftext>" and "<|endoftext|>" not in kind.specials:
        pieces += [(token, _CONTROL) for token in kind.specials]
    ids = {token: index for index, (token, _) in enumerate(pieces)} | extra
    model = b"".join(_field(1, _text(1, piece) + b"\x15" + struct.pack("<f", 0.0) + _number(3, sort))
                     for piece, sort in pieces)  # fmt: skip
    model += _field(2, _number(3, 2) + _number(35, 1) + b"".join(
        _number(number, ids.get(str(token), -1))
        for number, token in ((40, "<unk>"), (41, kind.bos), (42, kind.eos), (43, "<pad>"))) + _text(46, str(kind.bos)) + _text(47, kind.eos))  # fmt: skip
    model += _field(3, _text(1, "identity") + _number(3, int(kind.dummy_prefix)) + _number(4, 0) + _number(5, 1))
    (folder / "tokenizer.model").write_bytes(model)
    added = [{"id": number, "content": token} for token, number in extra.items()]
    (folder / "special_tokens.json").write_text(json.dumps({"added_tokens": added}), encoding="utf-8")
    lead = [{"type": "Prepend", "prepend": SPACE}] if kind.dummy_prefix else []
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [
            _added(token, ids[token], kind.swallows and token in kind.specials and token != "<|endoftext|>")
            for token in (*map(str, heads), *kind.specials)
        ],
        "normalizer": {"type": "Sequence", "normalizers": [*lead, {"type": "Replace", "pattern": {"String": " "},
                                                                   "content": SPACE}]},
        "post_processor": _start(kind, ids) if kind.adds_bos else None,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        ]},
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True,
                  "vocab": {token: index for index, (token, _) in enumerate(pieces)}, "merges": []},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    return ids


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while True:
        low, value = value & 127, value >> 7
        out.append(low | (128 if value else 0))
        if not value:
            return bytes(out)


def _number(key: int, value: int) -> bytes:
    return _varint(key << 3) + _varint(value)


def _field(key: int, content: bytes) -> bytes:
    return _varint(key << 3 | 2) + _varint(len(content)) + content


def _text(key: int, text: str) -> bytes:
    return _field(key, text.encode())
