"""The language server protocol over standard input and output (pygls)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from lsprotocol import types as lsp
from pygls import uris
from pygls.lsp.server import LanguageServer

from ftmigrate import __version__
from ftmigrate.document.model import Severity, Span
from ftmigrate.frameworks.registry import UnknownFramework
from ftmigrate.linter import engine, suppression
from ftmigrate.linter.diagnostic import Diagnostic, Edit
from ftmigrate.linter.engine import Job
from ftmigrate.schema import UnknownVersion
from ftmigrate.server.completion import Item
from ftmigrate.server.positions import Point, Positions
from ftmigrate.server.session import Action, File

NAME = "ftmigrate"
DELAY = 0.2  # seconds without a keystroke until the text is linted
FIX_ALL = f"{lsp.CodeActionKind.SourceFixAll.value}.{NAME}"
_SEVERITIES = {
    Severity.ERROR: lsp.DiagnosticSeverity.Error,
    Severity.WARNING: lsp.DiagnosticSeverity.Warning,
    Severity.INFO: lsp.DiagnosticSeverity.Information,
}
_KINDS = {
    "key": lsp.CompletionItemKind.Property,
    "value": lsp.CompletionItemKind.EnumMember,
    "component": lsp.CompletionItemKind.Class,
}


_REFUSED = (UnknownFramework, UnknownVersion, suppression.BadProject)


class Server(LanguageServer):
    """The open files, and the lint of each that is about to come."""

    def __init__(self, job: Job) -> None:
        # whole texts: pygls applies partial changes to lines that it counts in another way than editors do
        super().__init__(NAME, __version__, text_document_sync_kind=lsp.TextDocumentSyncKind.Full)
        self.job = job
        self.files: dict[str, File] = {}
        self.waiting: dict[str, asyncio.TimerHandle] = {}
        self.refused = ""

    def file(self, uri: str) -> File:
        """The file in its present state."""
        document = self.workspace.get_text_document(uri)
        known = self.files.get(uri)
        if known is None or known.source != document.source:
            path = uris.to_fs_path(uri) if uri.startswith("file:") else None
            encoding = self.workspace.position_encoding or lsp.PositionEncodingKind.Utf16
            name = path or "<unsaved>"
            known = self.files[uri] = File(name, document.source, self.job, _value(encoding), known)
        return known

    def soon(self, uri: str) -> None:
        self.cancel(uri)
        self.waiting[uri] = asyncio.get_running_loop().call_later(DELAY, self.lint, uri)

    def cancel(self, uri: str) -> None:
        waiting = self.waiting.pop(uri, None)
        if waiting is not None:
            waiting.cancel()

    def lint(self, uri: str) -> None:
        """Publish what is wrong in the present state."""
        self.cancel(uri)
        file = self.file(uri)
        found: list[lsp.Diagnostic] = []
        try:
            result = file.result
        except _REFUSED as error:
            self.refuse(str(error))
        else:
            self.refused = ""
            found = [_diagnostic(one, file.positions) for one in file.diagnostics]
            for fault in result.faults if result is not None else ():
                self.window_log_message(lsp.LogMessageParams(lsp.MessageType.Error, f"a fault of ours: {fault}"))
        version = self.workspace.get_text_document(uri).version
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, found, version))

    def refuse(self, why: str) -> None:
        """What stands in the way is told once, not at each keystroke."""
        if why != self.refused:
            self.refused = why
            self.window_show_message(lsp.ShowMessageParams(lsp.MessageType.Error, f"ftmigrate: {why}"))


def serve(job: Job) -> None:
    """Run until the editor ends it. Nothing else may write to standard output meanwhile, and pygls closes what it gets."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as channel, contextlib.redirect_stdout(sys.stderr):
        server(job).start_io(sys.stdin.buffer, channel)


def server(job: Job) -> Server:
    made = Server(job)
    for name, handler, options in _FEATURES:
        made.feature(name, options)(handler)
    return made


# --- notifications ----------------------------------------------------------------------------------------------


def _opened(server: Server, params: lsp.DidOpenTextDocumentParams) -> None:
    engine.forget()
    server.lint(params.text_document.uri)


def _changed(server: Server, params: lsp.DidChangeTextDocumentParams) -> None:
    server.soon(params.text_document.uri)


def _saved(server: Server, params: lsp.DidSaveTextDocumentParams) -> None:
    """What stands beside the file counts as it is now: a version pinned, a rule switched off."""
    engine.forget()
    server.files.pop(params.text_document.uri, None)
    server.lint(params.text_document.uri)


def _closed(server: Server, params: lsp.DidCloseTextDocumentParams) -> None:
    uri = params.text_document.uri
    server.cancel(uri)
    server.files.pop(uri, None)
    server.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, []))


# --- requests ---------------------------------------------------------------------------------------------------


def _answered(handler: Callable[[Server, Any], Any]) -> Callable[[Server, Any], Any]:
    """Nothing is the answer where a project's settings are not understood; that was told when the file was linted."""

    @functools.wraps(handler)
    def answer(server: Server, params: Any) -> Any:
        try:
            return handler(server, params)
        except _REFUSED as error:
            server.refuse(str(error))
            return None

    return answer


@_answered
def _hover(server: Server, params: lsp.HoverParams) -> lsp.Hover | None:
    file = server.file(params.text_document.uri)
    found = file.hover(file.positions.position(_point(params.position)))
    if found is None:
        return None
    return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, found.markdown), _range(found.span, file.positions))


@_answered
def _complete(server: Server, params: lsp.CompletionParams) -> lsp.CompletionList:
    file = server.file(params.text_document.uri)
    found = file.complete(file.positions.position(_point(params.position)))
    return lsp.CompletionList(False, [_item(item, file.positions) for item in found])


@_answered
def _actions(server: Server, params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
    uri = params.text_document.uri
    file = server.file(uri)
    start, end = (file.positions.position(_point(at)).line for at in (params.range.start, params.range.end))
    only = params.context.only
    made: list[lsp.CodeAction] = []
    if _wanted(lsp.CodeActionKind.QuickFix.value, only):
        made += [_action(one, uri, file.positions) for one in file.actions(start, end)]
        made += [_action(one, uri, file.positions, last=True) for one in file.silence(start, end)]
    if _wanted(FIX_ALL, only) and (every := file.everything()) is not None:
        made.append(_action(every, uri, file.positions))
    return made


def _wanted(kind: str, only: Sequence[lsp.CodeActionKind | str] | None) -> bool:
    return only is None or any(kind == one or kind.startswith(f"{one}.") for one in map(_value, only))


# --- our words in theirs ----------------------------------------------------------------------------------------


def _diagnostic(one: Diagnostic, positions: Positions) -> lsp.Diagnostic:
    start, end = positions.point(one.line, one.column), positions.point(one.end_line, one.end_column)
    return lsp.Diagnostic(
        lsp.Range(_position(start), _position(end)),
        f"{one.message}",
        _SEVERITIES[one.severity],
        code=one.code,
        source=NAME,
        data={"name": one.name},
    )


def _action(one: Action, uri: str, positions: Positions, *, last: bool = False) -> lsp.CodeAction:
    kind = lsp.CodeActionKind.QuickFix if one.diagnostic is not None else FIX_ALL
    title = one.title if one.safe else f"{one.title} (may change the run: look at what it did)"
    if one.diagnostic is not None and not last:
        title = f"{one.diagnostic.code}: {title}"
    return lsp.CodeAction(
        f"ftmigrate: {title}",
        kind,
        [_diagnostic(one.diagnostic, positions)] if one.diagnostic is not None else None,
        is_preferred=one.safe and not last and one.diagnostic is not None,
        edit=lsp.WorkspaceEdit(changes={uri: [_edit(edit, positions) for edit in one.edits]}),
    )


def _edit(edit: Edit, positions: Positions) -> lsp.TextEdit:
    start, end = positions.point(edit.line, edit.column), positions.point(edit.end_line, edit.end_column)
    return lsp.TextEdit(lsp.Range(_position(start), _position(end)), edit.text)


def _item(item: Item, positions: Positions) -> lsp.CompletionItem:
    return lsp.CompletionItem(
        item.label,
        kind=_KINDS[item.kind],
        detail=item.detail or None,
        documentation=lsp.MarkupContent(lsp.MarkupKind.Markdown, item.about) if item.about else None,
        tags=[lsp.CompletionItemTag.Deprecated] if item.deprecated else None,
        sort_text=f"{item.rank} {item.label}",
        filter_text=item.label,
        insert_text_mode=lsp.InsertTextMode.AsIs,
        text_edit=lsp.TextEdit(_range(item.span, positions), item.text),
    )


def _range(span: Span, positions: Positions) -> lsp.Range:
    return lsp.Range(_position(positions.point(*span.start)), _position(positions.point(*span.end)))


def _position(point: Point) -> lsp.Position:
    return lsp.Position(point.line, point.character)


def _point(at: lsp.Position) -> Point:
    return Point(at.line, at.character)


def _value(kind: Any) -> str:
    """An enumeration's value: clients may send others than those that are listed."""
    return str(getattr(kind, "value", kind))


_FEATURES: tuple[tuple[str, Callable[..., Any], Any], ...] = (
    (lsp.TEXT_DOCUMENT_DID_OPEN, _opened, None),
    (lsp.TEXT_DOCUMENT_DID_CHANGE, _changed, None),
    (lsp.TEXT_DOCUMENT_DID_SAVE, _saved, None),
    (lsp.TEXT_DOCUMENT_DID_CLOSE, _closed, None),
    (lsp.TEXT_DOCUMENT_HOVER, _hover, None),
    (lsp.TEXT_DOCUMENT_COMPLETION, _complete, lsp.CompletionOptions(trigger_characters=[" ", ".", "-", "["])),
    (
        lsp.TEXT_DOCUMENT_CODE_ACTION,
        _actions,
        lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.QuickFix, FIX_ALL]),
    ),
)
