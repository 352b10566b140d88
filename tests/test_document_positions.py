"""Positions: the text at a leaf's span is the leaf's value, the text at its key's span is the key."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ftmigrate.document import compose
from ftmigrate.document.model import Document, DocumentError, Path, Span, is_leaf, walk
from ftmigrate.document.text import Lines
from ftmigrate.document.yaml import OMEGACONF, PYYAML, Dialect, comments_above, parse, value

_INDENTED = re.compile("[|>][-+]?[1-9]")  # a block scalar whose indentation counts from outside of it


def cut(document: Document, span: Span) -> str:
    lines = Lines(document.text)
    return document.text[lines.offset(span.start) : lines.offset(span.end)]


def same(left: object, right: object) -> bool:
    """Equality that tells 1 from True and 1.0, and takes NaN as equal to itself."""
    return repr(left) == repr(right)


def check(document: Document, dialect: Dialect) -> None:
    """Every leaf of a document without interpolations and aliases' keys stands where it says."""
    assert [path for path, _ in walk(document.tree)] == list(document.leaves)
    for path, leaf in document.leaves.items():
        assert leaf.key is not None
        assert leaf.span is not None
        text = cut(document, leaf.span)
        assert leaf.raw == text
        key = cut(document, leaf.key)
        if isinstance(path[-1], str) and not _INDENTED.search(key):
            assert str(value(key + "\n", dialect)) == path[-1]
        if not leaf.via and "*" not in text and not _INDENTED.search(text):
            alone = " " * (leaf.span.start.column - 1) + text + "\n"
            assert same(value(alone, dialect), leaf.value), (path, text)
    for path, span in document.sections.items():
        key = cut(document, span)
        if isinstance(path[-1], str) and not _INDENTED.search(key):
            assert str(value(key + "\n", dialect)) == path[-1]


def plain(dialect: Dialect, text: str, newline: str = "\n") -> Document:
    return parse(text.replace("\n", newline).encode(), "x", dialect)


KEYS = st.one_of(
    st.sampled_from(["a", "lr", "b c", "é", "x-y", "größe", "_component_", "#k", "'q", "k: v"]), st.text(max_size=4)
)
NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    st.text(max_size=12).filter(lambda text: text != "???"),
    st.sampled_from(["a # b", "#", "- x", "x: y", "", "1e-4"]),
)
TREES = st.recursive(
    SCALARS,
    lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(KEYS, below, max_size=4)),
    max_leaves=20,
)
DOCUMENTS = st.dictionaries(KEYS, TREES, min_size=1, max_size=5)
STYLES = st.fixed_dictionaries(
    {
        "default_flow_style": st.sampled_from([True, False, None]),
        "indent": st.sampled_from([2, 3, 4]),
        "width": st.sampled_from([10, 80]),
        "allow_unicode": st.booleans(),
        "default_style": st.sampled_from([None, None, "'", '"', "|"]),
    }
)


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS, STYLES, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_spans_of_generated_documents(tree: dict[str, Any], style: dict[str, Any], newline: str, marked: bool) -> None:
    text = yaml.safe_dump(tree, **style)
    if newline != "\n":
        text = text.replace("\n", newline)
    for dialect in Dialect:
        try:
            expected = yaml.safe_load(text)
            document = parse((b"\xef\xbb\xbf" if marked else b"") + text.encode(), "x", dialect)
        except (DocumentError, yaml.YAMLError):
            assert "${" in text or "\x7f" in text or "\ufeff" in text or "\t" in text
            continue
        if dialect is PYYAML:
            assert same(document.tree, expected)
        check(document, dialect)


def test_positions_count_characters() -> None:
    text = "größe: ü 😀 # ä\nm: {é: 'ö', x: 1}  # 日本\nl:\n- 日\n- 本 # z\nn:\n"
    for newline in ("\n", "\r\n", "\r"):
        document = plain(OMEGACONF, text, newline)
        leaves = document.leaves
        assert leaves[("größe",)].span == ((1, 8), (1, 11))
        assert leaves[("m", "é")].key == ((2, 5), (2, 6))
        assert leaves[("m", "é")].span == ((2, 8), (2, 11))
        assert leaves[("m", "x")].span == ((2, 16), (2, 17))
        assert leaves[("l",)].span == ((4, 1), (5, 4))
        assert leaves[("n",)].span == ((6, 3), (6, 3))
        assert [leaf.comment for leaf in leaves.values()] == ["ä", "日本", "日本", "z", None]
        check(document, OMEGACONF)


def test_nothing_is_a_leaf_of_its_own() -> None:
    document = plain(PYYAML, "lora_r:\nlora_alpha: ~\nx: null  # c\n")
    assert [(leaf.value, leaf.raw) for leaf in document.leaves.values()] == [(None, ""), (None, "~"), (None, "null")]
    assert document.leaves[("lora_r",)].span == ((1, 8), (1, 8))
    assert ("lora_r",) in document
    assert ("lora_dropout",) not in document


def test_leaf_rules_and_sections() -> None:
    document = plain(
        OMEGACONF, "e: {}\nf: []\nl: [1, [2]]\nd:\n  - k: 1\n    m: []\n  - 5\n  - {}\ns:\n  t:\n    u: 1\n"
    )
    assert list(document.leaves) == [
        ("e",),
        ("f",),
        ("l", 0),
        ("l", 1),
        ("d", 0, "k"),
        ("d", 0, "m"),
        ("d", 1),
        ("d", 2),
        ("s", "t", "u"),
    ]
    assert {path: span.start for path, span in document.sections.items()} == {
        ("l",): (3, 1),
        ("d",): (4, 1),
        ("d", 0): (5, 5),
        ("s",): (9, 1),
        ("s", "t"): (10, 3),
    }
    check(document, OMEGACONF)


def test_odd_forms_are_read() -> None:
    for text in (
        "  a: 1\n  b:\n  - x\n  - y\n  c: z",  # a whole file indented, items at key indent, no final newline
        "---\n\n\n# c\na:   1\nb:    \n      - x\n      - y   \nc : z\n...\n",
        "{a: 1, b: [x,\n y], c: z}",
        "\ufeff# é\r\na: 1\r\nb:\r\n- x\r\n-   y\r\nc: z\r\n",
        "a: 1 # \ttab in a comment\nb: [x, y]\nc: z\n",
    ):
        document = plain(OMEGACONF, text)
        assert document.tree == {"a": 1, "b": ["x", "y"], "c": "z"}
        check(document, OMEGACONF)


def test_block_scalars() -> None:
    text = "a: |  # why\n  x # no comment\n\n  y\n\n# real\nb: >-\n    folded\n    text\nc: |+\n  keep\n\n\nd: 1\n"
    document = plain(OMEGACONF, text)
    assert document.tree == {"a": "x # no comment\n\ny\n", "b": "folded text", "c": "keep\n\n\n", "d": 1}
    assert document.leaves[("a",)].span == ((1, 4), (4, 4))
    assert document.leaves[("b",)].span == ((7, 4), (9, 9))
    assert document.leaves[("a",)].comment == "why"
    assert comments_above(document, ("b",)) == ("real",)
    check(document, OMEGACONF)


def test_comments() -> None:
    text = (
        "# head\n#   --flag\n#\n\n# above\na: 'x # y' # one # two\nb: \"#\"#three\n\n# gone\n\n# b1\n#b2\n"
        "c:\n  # inner\n  d: x#y\n  e: [1, # first\n    2]  # last\n  f: |\n    # text\n  g: 1\n"
    )
    document = plain(OMEGACONF, text)
    assert document.header == ("head", "  --flag", "", "above")
    comment = {path[-1]: leaf.comment for path, leaf in document.leaves.items()}
    assert comment == {"a": "one # two", "b": "three", "d": None, "e": "last", "f": None, "g": None}
    above: dict[Path, tuple[str, ...]] = {
        ("a",): ("above",),
        ("b",): (),
        ("c",): ("b1", "b2"),
        ("c", "d"): ("inner",),
        ("c", "g"): (),
        ("zz",): (),
    }
    for path, expected in above.items():
        assert comments_above(document, path) == expected


def test_aliases_keep_both_places() -> None:
    text = "base: &b\n  lr: 1e-4\n  wd: 0\nx: *b\ny:\n  <<: *b\n  wd: 1\nl: &l [1, 2]\nm: *l\ns: &s 5\nt: *s\n"
    document = plain(OMEGACONF, text)
    assert document.tree["y"] == {"lr": 1e-4, "wd": 1}
    leaves = document.leaves
    assert leaves[("x", "lr")].span == leaves[("y", "lr")].span == leaves[("base", "lr")].span == ((2, 7), (2, 11))
    assert leaves[("y", "wd")].span == ((7, 7), (7, 8))
    assert leaves[("m",)].key == ((9, 1), (9, 2))
    assert leaves[("m",)].span == leaves[("l",)].span == ((8, 7), (8, 13))
    assert leaves[("t",)].raw == "5"
    assert document.sections[("x",)].start == (4, 1)
    check(document, OMEGACONF)


@pytest.mark.parametrize(
    "text", ["a: &x\n- 1\n- 2\nb: [1, 2]\n", "a:\n- &x 1\n- *x\n# c\nb: 2\n", "a: [&x 1, *x]\nb: !!str 2\n"]
)
def test_anchors_stand_outside_of_the_span(text: str) -> None:
    document = plain(PYYAML, text)
    leaf = document.leaves[("a",)]
    assert isinstance(leaf.value, list)
    assert leaf.raw[-1] in "2x]"
    assert not leaf.raw.startswith("&")


def test_merges_agree_with_the_loader() -> None:
    """As YAML's merge type says, and PyYAML does but for 6.0.4, where the last of several wins or a nested key is lost."""
    text = (
        "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  z: 3\n  <<: [*a, *b]\n"
        "d:\n  <<: *b\n  <<: *a\ne: {<<: {<<: *a, y: 9}, w: 0}\n"
    )
    merged = {"c": {"y": 1, "z": 3, "x": 1}, "d": {"y": 1, "z": 2, "x": 1}, "e": {"x": 1, "y": 9, "w": 0}}
    for dialect in Dialect:
        tree = plain(dialect, text).tree
        assert repr({name: tree[name] for name in merged}) == repr(merged)
        if yaml.__version__ != "6.0.4":
            assert repr(tree) == repr(yaml.safe_load(text))


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.text(alphabet="ab:- \n\t#'\"[]{},&*!|>%@`${}?<=~1.", max_size=40),
        st.binary(max_size=40),
    )
)
def test_any_input_is_read_or_refused(data: str | bytes) -> None:
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    for dialect in Dialect:
        try:
            document = parse(raw, "x", dialect)
        except DocumentError as refused:
            line, column = refused.diagnostic.position
            assert line >= 1
            assert column >= 1
            assert line <= len(Lines(raw.decode("utf-8", "replace")))
            continue
        assert [path for path, _ in walk(document.tree)] == list(document.leaves)
        assert all(is_leaf(leaf.value) for leaf in document.leaves.values())


SLICES = st.sampled_from(
    [
        "a: ",
        "b:\n",
        "  c: 1\n",
        "- x\n",
        "# n\n",
        "{",
        "}",
        "[",
        "]",
        "'",
        '"',
        "{{ x }}",
        "${a}",
        "\n",
        "*a ",
        "&a ",
        "|\n",
        "  ",
        "\t",
        "1",
        "<<: ",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(SLICES, max_size=14).map("".join))
def test_both_parsers_agree(text: str) -> None:
    """What is read is read alike with and without libyaml (tabs apart, where the loaders themselves differ)."""
    fast = compose._FAST
    outcomes = []
    for machine in (fast, None):
        compose._FAST = machine
        try:
            document = parse(text.encode(), "x", PYYAML)
            outcomes.append(repr((document.tree, document.leaves, document.header)))
        except DocumentError:
            outcomes.append("refused")
        finally:
            compose._FAST = fast
    assert outcomes[0] == outcomes[1]


def test_reading_yaml_imports_no_heavy_module() -> None:
    code = (
        "import sys\nfrom ftmigrate.document.yaml import OMEGACONF, parse\n"
        "parse(b'a: 1\\nb: ${a}\\n', 'x', OMEGACONF, ['a=2'])\n"
        "heavy = {'omegaconf', 'ruamel', 'typer', 'jsonschema', 'libcst', 'difflib', 'json'}\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules} & heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
