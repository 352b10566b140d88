"""`${...}` against OmegaConf itself, and what is kept of it in a document."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ftmigrate.document.model import Document, DocumentError, Path, Unresolved
from ftmigrate.document.references import split_key
from ftmigrate.document.yaml import OMEGACONF, PYYAML, parse


def read(text: str) -> Document:
    return parse(text.encode(), "x", OMEGACONF)


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): plain(below) for key, below in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def agree(text: str) -> bool | None:
    """Whether both read the same, or both refuse (None)."""
    try:
        expected = plain(OmegaConf.to_container(OmegaConf.create(text), resolve=True))
    except Exception:  # whatever it raises: it refuses
        with pytest.raises(DocumentError):
            read(text)
        return None
    return repr(read(text).tree) == repr(expected)


RESOLVES = [
    "a: 1\nb: ${a}",
    "a: 1\nb: ${ a }",
    "a: {b: [1, {c: 2}]}\nb: ${a.b[1].c}\nc: ${a.b.1.c}\nd: ${a[b][0]}\ne: ${a.b[-1].c}",
    "a: null\nb: ${a}\nc: x${a}",
    "a: true\nb: x${a}\nc: 1.0e-5\nd: x${c}",
    "a: [1, 2]\nb: x${a}",
    "a: {q: '1', r: null}\nb: x${a}",
    "a: ['${b}']\nb: 1\nc: 'x${a}'",
    "a: {b: '${.c}', c: 1, d: {e: '${..c}'}}",
    "a: [1, '${.0}', '${..q}']\nq: 5",
    "a: b\nb: 3\nc: ${${a}}\nd: ${x.${a}}\nx: {b: 4}",
    "a: '${${c}}'\nc: x.d\nx: {d: 3}",
    "a: '${x[${c}]}'\nc: 0\nx: [7]",
    "a: \\${b}",
    "a: \\\\${b}\nb: 1",
    "a: 'x\\\\\\${b}'\nb: 1",
    "a: '\\\\\\\\${b}'\nb: 1",
    "a: 'x\\y${b}'\nb: 1",
    "a: '${b}\\${c}'\nb: 1",
    "a: '$\\${b}'\nb: 1",
    "a: '\\$${b}'\nb: 1",
    "a: $b",
    "a: '${b}}'\nb: 1",
    "a: '{${b}}'\nb: 1",
    "a: 'x\\$y'",
    "a: '${b}\\\\'\nb: 1",
    "a: '${b}'\nb: '${c}'\nc: {x: '${d}'}\nd: 1",
    "a: ${b.c}\nb: ${d}\nd: {c: 1}",
    "a: '${b}'\nb: ['${c}']\nc: 3",
    "c: {x: '${..q}'}\nq: 5\nd: {e: '${c}', q: 6}",
    "c: '${.d}'\nd: {x: '${.y}', y: 3}\ne: {f: '${..d}', y: 4}",
    "a: {x: '${b}', z: 1}\nb: {y: '${a.z}'}",
    "1: x\nb: ${1}",
    "a: {b.c: 1}\nd: '${a.b\\.c}'",
    "a: '${b-c}'\nb-c: 1",
    "é: 1\nb: ${é}",
    "a: '\\${x}'\nb: '${a}'\nc: 'z${a}'",
    "a: '${b}${c}'\nb: 1\nc: 2",
    "a: .inf\nb: x${a}\nc: 1_000\nd: ${c}x",
    "a: [1, [2, '${a.0}']]",
    "e: ${d}\nd: {p: '${e.q}', q: 1}",
    "a: '${b$c}'\nb$c: 1",
    "a: '${$b}'\n$b: 1",
    "a: '${b,c}'\n'b,c': 1",
]
REFUSED = [
    "b: ${a}",
    "a: ${b}\nb: ${a}",
    "a: ${a}",
    "a: {b: '${..a}'}",
    "a: ['${a}']",
    "a: ['${a.0}']",
    "a: ${a.b}",
    "a: '${b}'\nb: '${a.c}'",
    "a: {b: 1, c: '${d}'}\nd: '${a}'",
    "a: {x: '${b}'}\nb: {y: '${a}'}",
    "a: ${",
    "a: '${}'",
    "a: '${a b}'",
    "a: '${b'\nb: 1",
    "a: '${.}'",
    "a: '${b.}'\nb: 1",
    "a: '${b..c}'\nb: {c: 1}",
    "a: '${b.[c]}'\nb: {c: 1}",
    "a: '${x.p${b}}'\nb: 1",
    "a: '${b${c}}'\nc: x",
    "a: ${b.c}\nb: x",
    "a: ${b.c}\nb: null",
    "a: '${b[5]}'\nb: [1]",
    "a: '${b.x}'\nb: [1]",
    "a: '${....b}'\nb: 1",
    "a: '${b[ 0 ]}'\nb: [1]",
    "a: '${x.${c}}'\nc: 1.5\nx: [7]",
    "a: '${\"b\"}'",
    "a: '${b(c}'",
    "a: '${b\\}'\nb: 1",
    "a: '${.b:1}'",
    "a: '${oc.env:\"}'",
    "a: '${oc.env:x{y}'",
]


@pytest.mark.parametrize("text", RESOLVES)
def test_resolved_as_omegaconf_resolves(text: str) -> None:
    assert agree(text) is True


@pytest.mark.parametrize("text", REFUSED)
def test_refused_as_omegaconf_refuses(text: str) -> None:
    assert agree(text) is None


NAMES = ["a", "b", "c"]
PIECES = st.one_of(
    st.sampled_from(
        [
            "${a}",
            "${b}",
            "${c}",
            "${a.b}",
            "${b.c}",
            "${c[0]}",
            "${.b}",
            "${..a}",
            "${...c}",
            "${a.${b}}",
            "${${c}}",
            "${b.a[1]}",
        ]
    ),
    st.sampled_from(["x", " ", "\\", "$", "{", "}", "\\${a}", "é"]),
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-9, 9),
    st.sampled_from(["a", "b", "c", 1.5, "0", ""]),
    st.lists(PIECES, min_size=1, max_size=3).map("".join),
)
TREES = st.recursive(
    VALUES,
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(st.sampled_from(NAMES), below, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), TREES, min_size=1, max_size=3))
def test_generated_documents(tree: dict[str, Any]) -> None:
    assert agree(yaml.safe_dump(tree)) is not False


KEYS = st.text(alphabet="ab.[]\\=0", max_size=8)


@settings(max_examples=300, deadline=None)
@given(KEYS)
def test_key_paths_split_as_omegaconf_splits(key: str) -> None:
    from omegaconf._utils import split_key as theirs

    assert split_key(key) == theirs(key)


@pytest.mark.parametrize(
    ("written", "expression"),
    [
        ("${oc.env:HOME}", "${oc.env:HOME}"),
        ("${oc.env:HOME,/x}", "${oc.env:HOME,/x}"),
        ("x/${oc.env:HOME}/${a}", "x/${oc.env:HOME}/${a}"),
        ("\"${eval:'${a} * {2: 3}[2]'}\"", "${eval:'${a} * {2: 3}[2]'}"),
        ("???", "???"),
        ("'${a.${oc.env:HOME}}'", "${a.${oc.env:HOME}}"),
        ("${u}", "${oc.env:HOME}"),
        ("${u}/x", "${u}/x"),
        ("${u.v}", "${u.v}"),
    ],
)
def test_resolvers_are_not_run(written: str, expression: str) -> None:
    listed = "" if "'" in written else f"l: [1, {written!r}]\n"
    document = read(f"a: 1\nu: ${{oc.env:HOME}}\nk: {written}\n{listed}")
    assert document.tree["k"] == Unresolved(expression)
    leaf = document.leaves[("k",)]
    assert leaf.raw == written
    if listed:
        assert document.tree["l"] == [1, Unresolved(expression)]


def via(text: str) -> dict[Path, tuple[Path, ...]]:
    return {path: leaf.via for path, leaf in read(text).leaves.items() if leaf.via}


def test_via_names_the_leaves_used() -> None:
    assert via("a: 1\nb: ${a}\nc: ${b}/${a}") == {("b",): (("a",),), ("c",): (("b",), ("a",))}
    assert via("x: {b: 4}\na: b\nd: ${x.${a}}") == {("d",): (("a",), ("x", "b"))}
    assert via("l: [1, 2]\na: ${l[0]}\nb: ${l}\nc: [x, '${a}']") == {
        ("a",): (("l",),),
        ("b",): (("l",),),
        ("c",): (("a",), ("l",)),
    }
    assert via("a: 1\nu: ${oc.env:X}\nb: x${a}${u}") == {("b",): (("a",), ("u",))}


def test_a_reference_to_a_mapping_has_its_leaves_under_the_new_path() -> None:
    document = read("m: {x: 1, y: '${z}'}\nz: 2\nn: ${m}  # why\n")
    assert document.tree["n"] == {"x": 1, "y": 2}
    leaf = document.leaves[("n", "x")]
    assert (leaf.value, leaf.raw, leaf.via, leaf.comment) == (1, "${m}", (("m", "x"),), "why")
    assert (leaf.key, leaf.span) == (((3, 1), (3, 2)), ((3, 4), (3, 8)))
    assert document.leaves[("n", "y")].via == (("m", "y"), ("z",))
    assert document.sections[("n",)] == ((3, 1), (3, 2))
    assert ("n",) not in document.leaves
    assert document.tree["n"] is not document.tree["m"]


def test_pyyaml_knows_no_interpolation() -> None:
    document = parse(b"a: 1\nb: ${a}\nc: ${\nd: ???\n", "x", PYYAML)
    assert document.tree == {"a": 1, "b": "${a}", "c": "${", "d": "???"}


def test_a_bomb_of_references_ends() -> None:
    text = "a0: [1, 2]\n" + "".join(
        f"a{n}: ['${{a{n - 1}}}', '${{a{n - 1}}}', '${{a{n - 1}}}']\n" for n in range(1, 30)
    )
    with pytest.raises(DocumentError) as raised:
        read(text)
    assert raised.value.diagnostic.code == "too-many-nodes"
