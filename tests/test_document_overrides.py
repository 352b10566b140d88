"""Command-line overrides. The expected results were obtained from torchtune 0.6.1's own merging of these arguments."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftmigrate.document.model import Document, DocumentError, Source, Unresolved
from ftmigrate.document.yaml import OMEGACONF, PYYAML, parse

TEXT = """\
a: 1
n: null
lst: [1, 2]
ds:
  - {_component_: x.y, k: 1}
  - {_component_: z}
model:
  _component_: m.n
  r: 8  # rank
  sub: {_component_: q, z: 1}
  d: {e: 1}
o: {p: {q: 1}}
ref: ${a}
refm: ${model}
s: txt
"""
BASE: dict[str, Any] = {
    "a": 1,
    "n": None,
    "lst": [1, 2],
    "ds": [{"_component_": "x.y", "k": 1}, {"_component_": "z"}],
    "model": {"_component_": "m.n", "r": 8, "sub": {"_component_": "q", "z": 1}, "d": {"e": 1}},
    "o": {"p": {"q": 1}},
    "ref": 1,
    "s": "txt",
}
MODEL = BASE["model"]
GONE = object()

# arguments, what differs from the file
APPLIED: list[tuple[list[str], dict[str, Any]]] = [
    (["a=2"], {"a": 2}),
    (["a=1e-4"], {"a": 1e-4}),
    (["a="], {"a": None}),
    (["a=None"], {"a": None}),
    (["a=null"], {"a": None}),
    (["a=none"], {"a": "none"}),
    (['a="None"'], {"a": "None"}),
    (["a=017"], {"a": 15}),
    (['a="017"'], {"a": "017"}),
    (["a=yes"], {"a": True}),
    (["a=True "], {"a": True}),
    (["a=2024-01-01"], {"a": "2024-01-01"}),
    (["a=[1,2]"], {"a": [1, 2]}),
    (["a=[q_proj, v_proj]"], {"a": ["q_proj", "v_proj"]}),
    (["a={x: 1}"], {"a": {"x": 1}}),
    (["a={x:1}"], {"a": {"x:1": None}}),
    (["a=hello: x"], {"a": {"hello": "x"}}),
    (["a=- 1"], {"a": [1]}),
    (["a=#c"], {"a": None}),
    (["a=x #c"], {"a": "x"}),
    (["a=!!str 5"], {"a": "5"}),
    (["a=???"], {}),
    (["a={<<: {b: 1}}"], {"a": {"b": 1}}),
    (["a=1", "a=2"], {"a": 2}),
    (["a =5"], {"a ": 5}),
    (["new=1"], {"new": 1}),
    (["new.x.y=2"], {"new": {"x": {"y": 2}}}),
    (["a.b=1"], {"a": {"b": 1}}),
    (["n.x=1"], {"n": {"x": 1}}),
    (["n=5", "n.x=1"], {"n": {"x": 1}}),
    (["nn=null", "nn.x=1"], {"nn": {"x": 1}}),
    (["lst=[3]"], {"lst": [3]}),
    (["lst="], {"lst": None}),
    (["lst=[[1]]"], {"lst": [[1]]}),
    (["lst=[]"], {"lst": []}),
    (["ds=foo.bar"], {"ds": "foo.bar"}),
    (["ds=[{_component_: u}]"], {"ds": [{"_component_": "u"}]}),
    (["model=new.m"], {"model": {**MODEL, "_component_": "new.m"}}),
    (["model=aa", "model=bb"], {"model": {**MODEL, "_component_": "bb"}}),
    (["model=None"], {"model": {**MODEL, "_component_": None}}),
    (["model={_component_: zz}"], {"model": {**MODEL, "_component_": {"_component_": "zz"}}}),
    (["model.r=16"], {"model": {**MODEL, "r": 16}}),
    (["model.sub=other"], {"model": {**MODEL, "sub": "other"}}),
    (["model.sub.z=5"], {"model": {**MODEL, "sub": {"_component_": "q", "z": 5}}}),
    (["model.sub={r: 1}"], {"model": {**MODEL, "sub": {"_component_": "q", "z": 1, "r": 1}}}),
    (["model.max_filename=5"], {"model": {**MODEL, "max_filename": "5"}}),
    (["c.checkpoint_files.max_filename=00004"], {"c": {"checkpoint_files": {"max_filename": "00004"}}}),
    (["o=3"], {"o": 3}),
    (["o={}"], {}),
    (["o={z: 1}"], {"o": {"p": {"q": 1}, "z": 1}}),
    (["o={p: {r: 1}}"], {"o": {"p": {"q": 1, "r": 1}}}),
    (["o.p=5"], {"o": {"p": 5}}),
    (["o.p.q.r=5"], {"o": {"p": {"q": {"r": 5}}}}),
    (["o.p=1", "o.p.x=2"], {"o": {"p": {"q": 1, "x": 2}}}),
    (["o={x: 1}", "o={y: 2}"], {"o": {"p": {"q": 1}, "x": 1, "y": 2}}),
    (["z=[1,2]", "z[0]=9"], {"z": [9, 2]}),
    (["z=[1,2]", "z.0=9"], {"z": [9, 2]}),
    (["z=[1]", "z[-1]=3"], {"z": [3]}),
    (["z={a: 1}", "z=3"], {"z": 3}),
    (["z={a: {b: 1}}", "z={a: {c: 2}}"], {"z": {"a": {"b": 1, "c": 2}}}),
    (["[a]=5"], {"a": 5}),
    (["a\\.b=5"], {"a.b": 5}),
    (["ref=5"], {"ref": 5}),
    (["ref.x=5"], {"ref": {"x": 5}}),
    (["refm.r=5"], {"refm": {**MODEL, "r": 5}}),
    (["refm=foo"], {"refm": "foo"}),
    (["~a=5", "ref=0"], {"a": GONE, "ref": 0}),
    (["~n"], {"n": GONE}),
    (["~model.r"], {"model": {k: v for k, v in MODEL.items() if k != "r"}}),
    (["~model.d.e"], {"model": {k: v for k, v in MODEL.items() if k != "d"}}),
    (["~model.d.e", "model.d.f=1"], {"model": {**MODEL, "d": {"f": 1}}}),
    (["~o.p.q"], {"o": GONE}),
    (["o.p.q=1", "~o.p.q"], {}),
    (["~o.p"], {"o": GONE}),
    (["~lst"], {"lst": GONE}),
]
REFUSED: list[tuple[list[str], str]] = [
    (["lst[0]=5"], "give the whole list"),
    (["ds[0].k=5"], "`ds[0].k=5`"),
    (["lst={a: 1}"], "give the whole list"),
    (["o=[1]"], "mapping"),
    (["refm=[1]"], "mapping"),
    (["z={a: 1}", "z=[1]"], "`z=[1]`"),
    (["z=[1,2]", "z.x=1"], "`x` is no number"),
    (["z=[1]", "z[4]=3"], "the list has 1 item"),
    (["z=${o}", "z.p=5"], "`${o}`"),
    (["~model"], "component"),
    (["~model._component_"], "model=..."),
    (["~model.sub"], "component"),
    (["~missing"], "no key `missing`"),
    (["~model.rr"], "did you mean `model.r`?"),
    (["~a.b"], "no key `a.b`"),
    (["~lst.0"], "no key `lst.0`"),
    (["~lst[0]"], "no key `lst[0]`"),
    (["~"], "no key"),
    (["x=a=b"], "further `=`"),
    (["a==5"], "further `=`"),
    (["novalue"], "no `=`"),
    (["--flag"], "flags"),
    (["a=[1"], "never closed"),
    (["a=@x"], "character 1"),
    (["a=a: b: c"], "character 5"),
    (["a=!foo 5"], "`!foo`"),
    (["a=*x"], "`*x`"),
    (["a={x: 1, x: 2}"], "twice"),
    (["a=<<"], "`<<`"),
    (["a=5\n---\n6"], "second document"),
]


def _name(case: object) -> str:
    return " ".join(case) if isinstance(case, list) else ""


def read(*overrides: str, text: str = TEXT) -> Document:
    return parse(text.encode(), "x", OMEGACONF, overrides)


@pytest.mark.parametrize(
    ("overrides", "difference"), APPLIED, ids=lambda case: " ".join(case) if isinstance(case, list) else ""
)
def test_applied(overrides: list[str], difference: dict[str, Any]) -> None:
    expected = copy.deepcopy(BASE)
    expected.update(difference)
    expected = {key: below for key, below in expected.items() if below is not GONE}
    if "refm" not in difference:
        expected["refm"] = expected.get("model")
    if "ref" not in difference:
        expected["ref"] = expected.get("a")
    tree = read(*overrides).tree
    assert tree == expected
    assert {key: repr(below) for key, below in tree.items()} == {key: repr(tree[key]) for key in expected}


@pytest.mark.parametrize(
    ("overrides", "words"), REFUSED, ids=lambda case: " ".join(case) if isinstance(case, list) else ""
)
def test_refused(overrides: list[str], words: str) -> None:
    with pytest.raises(DocumentError) as raised:
        read(*overrides)
    found = raised.value.diagnostic
    assert found.code == "override"
    assert words in found.message
    assert f"`{overrides[-1]}`" in found.message


def test_leaves_say_where_they_come_from() -> None:
    document = read("model.r=16", "model.new=[1, 2]", "lst=[3]", "model=other.builder", "x.y={z: 1, w: '2'}")
    leaves = document.leaves
    rank = leaves[("model", "r")]
    assert (rank.value, rank.raw, rank.source, rank.span, rank.comment) == (16, "16", Source.OVERRIDE, None, None)
    assert rank.key == ((9, 3), (9, 4))
    new = leaves[("model", "new")]
    assert (new.value, new.raw, new.source, new.key) == ([1, 2], "[1, 2]", Source.OVERRIDE, ((7, 1), (7, 6)))
    assert leaves[("model", "_component_")].raw == "other.builder"
    assert leaves[("model", "_component_")].key == ((8, 3), (8, 14))
    assert leaves[("x", "y", "z")].source is Source.OVERRIDE
    assert leaves[("x", "y", "z")].key is None
    assert leaves[("x", "y", "w")].raw == "{z: 1, w: '2'}"
    assert leaves[("model", "d", "e")].source is Source.FILE
    assert ("refm", "new") in leaves


def test_overrides_come_before_interpolation() -> None:
    document = read("a=7", "new=x${a}", "late=${oc.env:HOME}")
    assert (document.tree["ref"], document.tree["new"]) == (7, "x7")
    assert document.leaves[("ref",)].via == (("a",),)
    assert document.leaves[("ref",)].source is Source.FILE
    assert document.leaves[("new",)].via == (("a",),)
    assert document.tree["late"] == Unresolved("${oc.env:HOME}")
    with pytest.raises(DocumentError) as raised:
        read("~a")
    assert raised.value.diagnostic.code == "interpolation-missing"
    with pytest.raises(DocumentError) as raised:
        read("model.r=${zz}")
    assert raised.value.diagnostic.position == (9, 3)


def test_deleting_takes_the_leaves_along() -> None:
    leaves = read("~model.d.e").leaves
    assert ("model", "d", "e") not in leaves
    assert ("refm", "d", "e") not in leaves


def test_values_follow_the_dialect() -> None:
    assert parse(b"a: 1\n", "x", PYYAML, ["a=1e-4", "b=None"]).tree == {"a": "1e-4", "b": None}


ARGUMENTS = st.one_of(
    st.text(max_size=10),
    st.tuples(
        st.sampled_from(["~", ""]),
        st.lists(
            st.sampled_from(["a", "o", "p", "q", "lst", "ds", "model", "refm", "0", "z", "[0]", "_component_", ""]),
            max_size=3,
        ).map(".".join),
        st.sampled_from(["=", ""]),
        st.sampled_from(
            ["1", "[1]", "{a: 1}", "{}", "???", "${a}", "${o}", "${refm}", "", "None", "[", "[{a: {b: 1}}]"]
        ),
    ).map("".join),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(ARGUMENTS, max_size=4))
def test_any_arguments_are_applied_or_refused(arguments: list[str]) -> None:
    for dialect in (OMEGACONF, PYYAML):
        try:
            document = parse(TEXT.encode(), "x", dialect, arguments)
        except DocumentError:
            continue
        assert all((leaf.source is Source.OVERRIDE) == (leaf.span is None) for leaf in document.leaves.values())
