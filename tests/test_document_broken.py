"""Broken files: each gives one diagnostic with a stable code, at the right place, by either YAML parser."""

from __future__ import annotations

import re

import pytest

from ftmigrate.document import compose
from ftmigrate.document.codes import MEANING, Code
from ftmigrate.document.model import Diagnostic, DocumentError, Severity
from ftmigrate.document.yaml import OMEGACONF, PYYAML, Dialect, parse

BOTH = (OMEGACONF, PYYAML)
OC = (OMEGACONF,)
PY = (PYYAML,)
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 8)
)

# name, text, code, line, column, dialects
TABLE: list[tuple[str, str | bytes, str, int, int, tuple[Dialect, ...]]] = [
    # bytes
    ("bad UTF-8", b"a: 1\nb: caf\xe9\n", "encoding", 2, 7, BOTH),
    ("bad UTF-8 behind a mark and other characters", "\ufeffü: é ".encode() + b"\xff", "encoding", 1, 6, BOTH),
    ("truncated UTF-8", "a: ü".encode()[:-1], "encoding", 1, 4, BOTH),
    ("UTF-16 with a mark", "a: 1\n".encode("utf-16"), "encoding", 1, 1, BOTH),
    ("UTF-16 without a mark", "a: 1\n".encode("utf-16-le"), "control-character", 1, 2, BOTH),
    ("control character", "a: 1\nb: x\x07y\n", "control-character", 2, 5, BOTH),
    ("NUL", "\0", "control-character", 1, 1, BOTH),
    ("huge", b"a: 1\n" + b"#" * (4 * 1024 * 1024), "too-large", 1, 1, BOTH),
    # bounds
    ("flow nesting", "a: " + "[" * 500, "too-deep", 1, 102, BOTH),
    ("block nesting", "- " * 500, "too-deep", 1, 199, BOTH),
    ("mapping nesting", "".join(" " * n + "a:\n" for n in range(200)), "too-deep", 100, 100, BOTH),
    ("alias bomb", BOMB, "too-many-nodes", 5, 1, BOTH),
    ("recursive list", "a: 1\nb: &x [1, *x]\n", "recursive-alias", 2, 4, BOTH),
    ("recursive mapping", "b: &x\n  c: *x\n", "recursive-alias", 1, 4, BOTH),
    ("recursive merge", "b: &x\n  <<: *x\n", "recursive-alias", 1, 4, BOTH),
    # templates
    ("Jinja value", "lr: 1\nmodel: {{ model }}\n", "template", 2, 8, BOTH),
    ("Jinja value with a tail", "model: {{ base }}/final\nlr: 1\n", "template", 1, 8, BOTH),
    ("Jinja key", "a:\n  b: 1\n  {{ c }}: 1\n", "template", 3, 3, BOTH),
    ("Jinja statement", "lr: 1\n{% if x %}\nb: 1\n{% endif %}\n", "template", 2, 1, BOTH),
    ("Jinja comment", "a: {# note #}\n", "template", 1, 4, BOTH),
    ("first of several", "a: {{ a }}\nlr: 1\n{% if x %}\nb: 1\n{% endif %}\n", "template", 1, 4, BOTH),
    ("not the Jinja of a block scalar", "t: |\n  {% if x %}\n  {{ y }}\nb: {{ z }}/q\n", "template", 4, 4, BOTH),
    ("not the Jinja in quotes", "t: '{{ y }}'\nb: {{ z }}/q\n", "template", 2, 4, BOTH),
    ("Jinja in a list", "a: [1, {{ x }}]\n", "template", 1, 8, BOTH),
    ("only a placeholder", "{{ cookiecutter.all }}\n", "template", 1, 1, BOTH),
    ("shell variable on a line", "a: 1\n$EXTRA_ARGS\nb: 2\n", "template", 2, 1, BOTH),
    ("shell variable in a flow mapping", "a: {b: ${USER}}\n", "template", 1, 8, BOTH),
    ("only a shell variable", "$CONFIG\n", "template", 1, 1, BOTH),
    ("GitHub expression on a line", "lr: 1\n${{ inputs.x }}\nb: 1\n", "template", 2, 1, BOTH),
    ("GitHub expression as a value", "a: 1\nkey: ${{ secrets.KEY }}\n", "template", 2, 6, OC),
    ("merge conflict", "a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> x\n", "merge-conflict", 2, 1, BOTH),
    # layout
    ("tab as indentation", "a:\n\tb: 1\n", "tab", 2, 1, BOTH),
    ("tab behind a value", "a: 1\n\tb: 2\n", "tab", 2, 1, BOTH),
    ("tab in a block scalar", "a: >\n\tx\n", "tab", 2, 1, BOTH),
    ("tab after a colon", "a: 1\nb:\t2\n", "tab", 2, 3, PY),
    ("indented below a value", "a: 1\n  b: 2\n", "indentation", 2, 3, BOTH),
    ("half outdented", "a:\n    b: 1\n  c: 2\n", "indentation", 3, 3, BOTH),
    ("less than the first key", "  a: 1\n b: 2\n", "indentation", 2, 2, BOTH),
    ("list item among keys", "a: 1\n- b\n", "indentation", 2, 1, BOTH),
    ("key among list items", "a:\n  - b\n  c: 1\n", "indentation", 3, 3, BOTH),
    ("block scalar outdented", "a: |\n   x\n  y\n", "indentation", 3, 3, BOTH),
    # colons, quotes, brackets
    ("no colon at the end", "a: 1\nb\n", "colon", 2, 1, BOTH),
    ("no colon in the middle", "a: 1\nbatch_size 4\nc: 1\n", "colon", 2, 1, BOTH),
    ("no blank behind the colon", "lr:1\nc: 1\n", "colon", 1, 1, BOTH),
    ("second colon", "a: 1\nb: note: this\n", "colon", 2, 8, BOTH),
    ("no key", ": 1\n", "colon", 1, 1, BOTH),
    ("unclosed single quote", "a: 1\nb: 'x\nc: 2\n", "quote", 2, 4, BOTH),
    ("unclosed double quote", 'é: "x\n', "quote", 1, 4, BOTH),
    ("text behind a quote", "a: 'it's'\n", "quote", 1, 8, BOTH),
    ("unclosed list at the end", "a: 1\nb: [\n", "bracket", 2, 4, BOTH),
    ("unclosed list, then keys", "a: [x, y\nb: 1\nc: 2\n", "bracket", 1, 4, BOTH),
    ("unclosed mapping", "a: {b: 1\nc: 2\nd: 3\n", "bracket", 1, 4, BOTH),
    ("bracket too many", "a: [1]]\n", "bracket", 1, 7, BOTH),
    ("closing bracket alone", "a: 1\n}\n", "bracket", 2, 1, BOTH),
    ("comma missing", "a: {b: c: d}\n", "bracket", 1, 9, BOTH),
    ("interpolation in a flow mapping", "x: 1\na: {b: ${x}}\n", "bracket", 2, 8, BOTH),
    ("empty item", "a: [1,,2]\n", "syntax", 1, 7, BOTH),
    ("list on the key's line", "a: - b\n", "syntax", 1, 4, BOTH),
    ("text behind a block sign", "a: |x\n", "syntax", 1, 5, BOTH),
    # values
    ("reserved at", "a: @home\n", "character", 1, 4, BOTH),
    ("reserved backtick", "a: 1\nb: `x`\n", "character", 2, 4, BOTH),
    ("reserved percent", "a: %x\n", "character", 1, 4, BOTH),
    ("Windows path in double quotes", 'a: "C:\\Users"\n', "escape", 1, 7, BOTH),
    ("unknown escape", 'a: "\\q"\n', "escape", 1, 5, BOTH),
    ("glob", "files: *.json\n", "alias", 1, 8, BOTH),
    ("unknown alias", "a: &x 1\nb: *y\n", "alias", 2, 4, BOTH),
    ("repeated anchor", "a: &x 1\nb: &x 2\n", "alias", 2, 4, BOTH),
    ("unknown tag", "a: 1\nb: !foo 1\n", "unknown-tag", 2, 4, BOTH),
    ("Python tag", "a: !!python/object:os.system x\n", "unknown-tag", 1, 4, BOTH),
    ("tag that does not fit", "a: !!str [1]\n", "unknown-tag", 1, 4, BOTH),
    ("set", "a: !!set {x}\n", "unknown-tag", 1, 4, BOTH),
    ("lone merge sign", "a: <<\n", "unknown-tag", 1, 4, BOTH),
    ("no such date", "a: 2024-99-99\n", "bad-value", 1, 4, PY),
    ("number without digits", "a: 0b_\n", "bad-value", 1, 4, BOTH),
    ("tagged number that is none", "a: !!int x\n", "bad-value", 1, 4, BOTH),
    # structure
    ("empty", "", "empty", 1, 1, BOTH),
    ("only comments", "# a\n\n# b\n", "empty", 1, 1, BOTH),
    ("only a document mark", "---\n", "empty", 1, 1, BOTH),
    ("list", "# x\n- a\n- b\n", "not-a-mapping", 2, 1, BOTH),
    ("text", "import torch\ntorch.run()\n", "not-a-mapping", 1, 1, BOTH),
    ("ini", "a = 1\nb = 2\n", "not-a-mapping", 1, 1, BOTH),
    ("two documents", "a: 1\n---\nb: 2\n", "multiple-documents", 2, 1, BOTH),
    ("duplicate key", "a: 1\nb: 2\na: 3\n", "duplicate-key", 3, 1, OC),
    ("nested duplicate key", "m:\n  lr: 1\n  x: 2\n  'lr': 3\n", "duplicate-key", 4, 3, OC),
    ("list as key", "? [a]\n: 1\n", "complex-key", 1, 3, BOTH),
    ("mapping as key", "{a: 1}: 2\n", "complex-key", 1, 1, BOTH),
    ("null as key", "a: 1\nnull: 2\n", "null-key", 2, 1, BOTH),
    ("number and text as one key", "1: a\n'1': b\n", "non-string-key", 2, 1, BOTH),
    ("merge of a number", "a: 1\n<<: 1\n", "merge", 2, 5, BOTH),
    ("merge of a list of numbers", "<<: [1]\n", "merge", 1, 6, BOTH),
    # interpolation
    ("missing key", "output_dir: x\nlog: ${output_dirr}/logs\n", "interpolation-missing", 2, 6, OC),
    ("second of two missing", "a: 1\nb: x ${a} ${c}\n", "interpolation-missing", 2, 11, OC),
    ("missing in a list", "a: 1\nb: [1, '${zz}']\n", "interpolation-missing", 2, 9, OC),
    ("missing item", "m: [1]\nk: ${m[3]}\n", "interpolation-missing", 2, 4, OC),
    ("too many dots", "m:\n  k: ${...x}\n", "interpolation-missing", 2, 6, OC),
    ("self", "k: ${k}\n", "interpolation-cycle", 1, 4, OC),
    ("circle", "a: ${b}\nb: ${c}\nc: x${a}\n", "interpolation-cycle", 1, 4, OC),
    ("parent", "m:\n  k: ${m}\n", "interpolation-cycle", 2, 6, OC),
    ("not closed", "a: 1\nb: x${a\n", "interpolation-syntax", 2, 5, OC),
    ("blank in a key", "b: ${a b}\n", "interpolation-syntax", 1, 4, OC),
    ("into a scalar", "m: x\nk: a ${m.y}\n", "interpolation-type", 2, 6, OC),
    ("chain", "a0: 1\n" + "".join(f"a{n}: ${{a{n + 1}}}\n" for n in range(1, 300)) + "a300: 1", "too-deep", 102, 7, OC),
]
CASES = [
    pytest.param(text, code, line, column, dialect, id=f"{name}-{dialect.value}")
    for name, text, code, line, column, dialects in TABLE
    for dialect in dialects
]


def diagnostic(text: str | bytes, dialect: Dialect) -> Diagnostic:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(DocumentError) as raised:
        parse(data, "config.yaml", dialect)
    return raised.value.diagnostic


@pytest.fixture(params=["libyaml", "pure python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pure python":
        monkeypatch.setattr(compose, "_FAST", None)
    elif compose._FAST is None:
        pytest.skip("this PyYAML was built without libyaml")
    return str(request.param)


@pytest.mark.parametrize(("text", "code", "line", "column", "dialect"), CASES)
def test_code_and_place(text: str | bytes, code: str, line: int, column: int, dialect: Dialect, parser: str) -> None:
    found = diagnostic(text, dialect)
    assert (found.code, *found.position) == (code, line, column), found.message
    assert found.severity is Severity.ERROR
    assert len(found.message) > 20
    assert found.message[-1] in ".?"


def test_every_error_code_has_a_case_and_a_meaning() -> None:
    covered = {code for _, _, code, _, _, _ in TABLE}
    assert {code.value for code in Code} - covered == {"timestamp", "override"}  # a warning; not about a file
    assert set(MEANING) == set(Code)


def test_crlf_changes_no_place() -> None:
    for name, text, code, line, column, dialects in TABLE:
        if isinstance(text, str) and code != "too-deep":
            found = diagnostic(text.replace("\n", "\r\n"), dialects[0])
            assert (found.code, *found.position) == (code, line, column), name


def test_duplicate_key_names_both_lines() -> None:
    found = diagnostic("a: 1\nb: 2\na: 3\n", OMEGACONF)
    assert found.related == (1, 1)
    assert "line 1" in found.message
    assert "line 3" in found.message
    assert "`a`" in found.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("output_dir: x\nlog: ${output_dirr}", ["`${output_dirr}`", "did you mean `output_dir`?"]),
        ("m: {lora_rank: 8}\na: ${m.lora_rnk}", ["`lora_rnk`", "in `m`", "did you mean `lora_rank`?"]),
        ("a: ${b}\nb: ${c}\nc: ${a}", ["a -> b -> c -> a"]),
        ("m: {k: '${m}'}", ["`m.k` refers to `m`"]),
        ("a: @x y", ["'@x y'"]),
        ("a: {{ b }}", ["`{{ b }}`", "template"]),
        ("a: 1\n$ARGS\nb: 1", ["`$ARGS`", "placeholder"]),
        ("key value", ["`key value`", "`key: value`"]),
        ("a: !foo 1", ["`!foo`"]),
    ],
)
def test_message_uses_the_users_words(text: str, words: list[str]) -> None:
    message = diagnostic(text, OMEGACONF).message
    for word in words:
        assert word in message


def test_pyyaml_lets_the_last_duplicate_win_and_says_so() -> None:
    document = parse(b"a: 1\nb: 2\na: 3\na: 4\n", "x", PYYAML)
    assert document.tree == {"a": 4, "b": 2}
    assert [(w.code, w.position, w.related, w.severity) for w in document.warnings] == [
        ("duplicate-key", (3, 1), (1, 1), Severity.WARNING),
        ("duplicate-key", (4, 1), (3, 1), Severity.WARNING),
    ]
    assert document.leaves[("a",)].span is not None
    assert document.leaves[("a",)].span.start == (4, 4)


def test_keys_that_are_no_text_are_read_as_text_with_a_warning() -> None:
    document = parse(b"1: x\non: y\n1.5: z\n", "x", OMEGACONF)
    assert document.tree == {"1": "x", "True": "y", "1.5": "z"}
    assert [w.code for w in document.warnings] == ["non-string-key"] * 3
    assert re.search("`on` .* bool True", document.warnings[1].message)


def test_dates_are_text_with_a_warning_for_pyyaml() -> None:
    document = parse(b"a: 2024-01-31\nb: 2001-12-14t21:59:43\n", "x", PYYAML)
    assert document.tree == {"a": "2024-01-31", "b": "2001-12-14 21:59:43"}
    assert [(w.code, w.position) for w in document.warnings] == [("timestamp", (1, 4)), ("timestamp", (2, 4))]
    assert parse(b"a: 2024-01-31\n", "x", OMEGACONF).warnings == ()
