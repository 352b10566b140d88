"""Linting one file: what it is, every check that is wanted, what is suppressed, and the fixes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ftmigrate.document.codes import Code
from ftmigrate.document.model import DocumentError, Position, Severity, Span
from ftmigrate.document.text import Lines, decode
from ftmigrate.frameworks import registry, versions
from ftmigrate.linter import edits, rules, suppression, textual
from ftmigrate.linter.diagnostic import RANK, Diagnostic, Edit, Fix
from ftmigrate.linter.rules import Finding, Rule
from ftmigrate.linter.subject import Subject

if TYPE_CHECKING:
    from ftmigrate.document.model import Document
    from ftmigrate.frameworks.reader import Context
    from ftmigrate.frameworks.registry import Framework

_OTHERS = (Code.EMPTY, Code.NOT_A_MAPPING, Code.MULTIPLE_DOCUMENTS)  # whole YAML, and no config of anybody's
_PASSES = 10
_BOM = "\ufeff"


class Job(NamedTuple):
    """What is wanted of every file. fix: "" for none, else "safe" or "unsafe". context: what describes the run besides.

    dry: findings are those of the file as it is, though its text after the fixes is wanted.
    """

    framework: str | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    fix: str = ""
    context: Context | None = None
    isolated: bool = False
    dry: bool = False


class Result(NamedTuple):
    """What was found in one file. fixed: the text after the fixes, None where nothing changed. faults: checks that died."""

    path: str
    diagnostics: list[Diagnostic]
    framework: str = ""
    version: str = ""
    fixed: str | None = None
    repaired: int = 0
    faults: tuple[str, ...] = ()
    unreadable: str = ""
    text: str = ""


def lint(data: bytes, name: str, job: Job | None = None, *, named: bool = True) -> Result | None:
    """Lint the bytes of a file. None: it is no config of a framework known here.

    `named`: the user named this very file, so text that is not YAML is told even where nothing says whose it is.
    Raises registry.UnknownFramework, schema.UnknownVersion, suppression.BadProject.
    """
    job = job or Job()
    project = None if job.isolated else _project(name)
    told = job.framework or (project.framework if project else None)
    if project is not None:
        below = project.ignored_at(Path(name))
        select = job.select or project.select
        job = job._replace(select=select, ignore=(*job.ignore, *project.ignore, *below))
    found = _once(data, name, job, told, named=named)
    if found is None or not job.fix:
        return found
    return _fixed(data, name, job, told, found)


def subject(data: bytes, name: str, job: Job | None = None, *, named: bool = True) -> Subject | None:
    """The config as the checks see it. None: no config of a framework known here. Raises DocumentError, and as `lint`."""
    job = job or Job()
    project = None if job.isolated else _project(name)
    return _subject(data, name, job.framework or (project.framework if project else None), job.context, named=named)


def forget() -> None:
    """Look anew at what stands beside the files: a program that stays open outlives changes of it."""
    _version.cache_clear()
    _project_below.cache_clear()
    suppression.project.cache_clear()


def _subject(data: bytes, name: str, told: str | None, context: Context | None, *, named: bool) -> Subject | None:
    opened = _open(data, name, told, named=named)
    if opened is None:
        return None
    framework, document = opened
    version = told.partition("@")[2] if told and "@" in told else _version(framework.name, _folder(name))
    return Subject(document, framework, version, context)


def _once(data: bytes, name: str, job: Job, told: str | None, *, named: bool) -> Result | None:
    try:
        subject = _subject(data, name, told, job.context, named=named)
    except DocumentError as error:
        if told is None and (error.diagnostic.code in _OTHERS or not (named or _marked(data))):
            return None
        return _broken(data, name, job, error)
    if subject is None:
        return None
    framework, version = subject.framework, subject.version
    faults: list[str] = []
    findings = list(_findings(subject, job, faults))
    known = rules.by_code(framework.name)
    diagnostics = list(_told(name, findings, known, subject.lines, job))
    return Result(name, diagnostics, framework.name, version, faults=tuple(faults), text=subject.document.text)


def _project(name: str) -> suppression.Project | None:
    place = os.path.realpath(name) if os.path.islink(name) else os.path.join(os.getcwd(), name)
    return _project_below(os.path.dirname(place))


@cache
def _project_below(folder: str) -> suppression.Project | None:
    return suppression.project(Path(folder).resolve())


def _folder(name: str) -> str | None:
    return None if name.startswith("<") else os.path.dirname(os.path.abspath(name))


@cache
def _version(framework: str, folder: str | None) -> str:
    """The version that is pinned beside a folder's files, else the newest; looked for once a folder."""
    found = registry.get(framework)
    pin = versions.pinned(found, Path(folder).resolve()) if folder is not None else None
    return pin[0] if pin is not None else found.newest


def _marked(data: bytes) -> list[str]:
    from ftmigrate.directory.walk import marked

    return marked(data)


def _open(data: bytes, name: str, told: str | None, *, named: bool) -> tuple[Framework, Document] | None:
    """The framework whose config this most surely is, and the document as it reads it. Raises DocumentError."""
    if told is not None:
        framework, _ = registry.resolve(told)
        if not named and framework.mark and not re.search(framework.mark, data.decode("utf-8", "replace")):
            return None  # a project's framework is that of its configs, not of all its YAML
        return framework, framework.parse(data, name, ())
    return registry.detect(data, name, _marked(data) or registry.names()[:1])


def _broken(data: bytes, name: str, job: Job, error: DocumentError) -> Result:
    """What is told of a text that cannot be read as a document: the one reason."""
    try:
        text = decode(data)
    except DocumentError:
        text = data.decode("utf-8", "replace")
    lines = Lines(text)
    known = {rule.code: rule for rule in rules.SHARED}
    found = [textual.finding(error.diagnostic, lines)]
    return Result(name, list(_told(name, found, known, lines, job)), text=text)


def _findings(subject: Subject, job: Job, faults: list[str]) -> Iterator[Finding]:
    for found in subject.document.warnings:
        yield textual.finding(found, subject.lines)
    framework = rules.of(subject.framework.name)
    for codes, check in (*rules.shared().checks, *framework.checks):
        if not _wanted(codes, job.select, job.ignore):
            continue
        try:
            yield from check(subject)
        except Exception as error:
            faults.append(_fault(codes[0], error))


@lru_cache(maxsize=1024)
def _wanted(codes: tuple[str, ...], select: tuple[str, ...], ignore: tuple[str, ...]) -> bool:
    return any(rules.selected(code, select, ignore) for code in codes)


def _fault(code: str, error: Exception) -> str:
    """A check that died ends neither the run nor the others; the command then exits with 3."""
    import traceback

    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"the check {code}: {type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"


def _told(
    name: str, findings: Iterable[Finding], known: dict[str, Rule], lines: Lines, job: Job
) -> Iterator[Diagnostic]:
    """The findings that are wanted and not suppressed, in the order of the text."""
    hidden = suppression.comments(lines.text)
    used: set[int] = set()
    out: dict[tuple[object, ...], Finding] = {}
    for finding in findings:
        rule = known[finding.code]
        first, last = finding.span.start.line, finding.span.end.line
        covering = [index for index, one in enumerate(hidden) if one.covers(rule.code, rule.name, first, last)]
        used.update(covering)
        if not covering and rules.selected(finding.code, job.select, job.ignore):
            out.setdefault((finding.span, finding.code, finding.message), finding)
    if not job.select and rules.selected("FT009", job.select, job.ignore):
        for index, one in enumerate(hidden):
            if index not in used:
                finding = _unused(one, lines)
                out[finding.span, finding.code, finding.message] = finding
    for finding in sorted(_told_once(out.values(), known), key=lambda one: (one.span, one.code)):
        rule = known[finding.code]
        start, end = finding.span
        severity: Severity = finding.severity or rule.severity
        yield Diagnostic(
            name, *start, *end, rule.code, rule.name, severity, finding.message, finding.fix, lines.line(start.line)
        )


def _told_once(findings: Iterable[Finding], known: dict[str, Rule]) -> list[Finding]:
    """Without what another rule says more precisely at the same place, which takes over the stronger severity."""
    found = list(findings)
    heirs = {(one.span.start, code): one for one in found for code in known[one.code].over}
    if not heirs:
        return found
    kept = {id(one): one for one in found if (one.span.start, one.code) not in heirs}
    for one in found:
        heir = heirs.get((one.span.start, one.code))
        if heir is not None and id(heir) in kept:
            said, own = (each.severity or known[each.code].severity for each in (one, kept[id(heir)]))
            if RANK[said] > RANK[own]:
                kept[id(heir)] = heir._replace(severity=said)
    return list(kept.values())


def _unused(comment: suppression.Comment, lines: Lines) -> Finding:
    line = lines.line(comment.line)
    before = line[: comment.column - 1]
    span = Span(Position(comment.line, comment.column), Position(comment.line, comment.end_column))
    start = len(before.rstrip()) + 1
    alone = start == 1
    after = (comment.line + 1, 1) if alone and comment.line < len(lines) else (comment.line, comment.end_column)
    edit = Edit(comment.line, 1 if alone else start, *after, "")
    told = "nothing" if comment.codes is None else ", ".join(comment.codes)
    what = "hides nothing" if comment.codes is None else f"hides nothing: there is no {told} to be told here"
    return Finding("FT009", span, f"This comment {what}. Remove it.", Fix((edit,), True, "remove the comment"))


def _fixed(data: bytes, name: str, job: Job, told: str | None, first: Result) -> Result:
    """The result after all fixes that are wanted: applied, linted again, until nothing changes."""
    bom = _BOM if data.startswith(b"\xef\xbb\xbf") else ""
    result, text, repaired = first, first.text, 0
    for _ in range(_PASSES):
        new, done = edits.apply(text, result.diagnostics, unsafe=job.fix == "unsafe")
        if not done or new == text:
            break
        again = _once((bom + new).encode(), name, job, told, named=True)
        if again is None or (_unreadable(again) and not _unreadable(result)):
            break  # a fix never makes a file worse
        text, result, repaired = new, again, repaired + len(done)
    told_of = first if job.dry else result
    return told_of._replace(
        text=first.text, fixed=bom + text if repaired else None, repaired=0 if job.dry else repaired
    )


def _unreadable(result: Result) -> bool:
    return not result.framework
