"""Converting: source run -> target plan -> file -> read back -> ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from ftmigrate import __version__, schema
from ftmigrate.conversion import ledger as ledgers
from ftmigrate.conversion import upgrade, write
from ftmigrate.conversion.ledger import Ledger
from ftmigrate.conversion.plan import Plan, plan
from ftmigrate.conversion.unknown import explained
from ftmigrate.document.edit import CannotEdit
from ftmigrate.document.model import Document, Launched, Unresolved, Value, format_path, from_tree
from ftmigrate.frameworks.reader import Context, Reader, read
from ftmigrate.frameworks.registry import Command, Framework
from ftmigrate.frameworks.table import CannotSay, Table
from ftmigrate.run import vocabulary
from ftmigrate.run.compare import losses
from ftmigrate.run.model import ClaimKind, Run, Symbol


class Conversion(Struct, frozen=True):
    """The files (name -> text), the ledger, both runs and the commands. No files where it was refused.

    keys and lines are the value and the line of each leaf of what was written.
    """

    files: Mapping[str, str]
    ledger: Ledger
    source: Run
    target: Run | None
    commands: tuple[Command, ...] = ()
    keys: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def refused(self) -> str | None:
        return self.ledger.refused


def convert(
    document: Document,
    source: tuple[Framework, str],
    target: tuple[Framework, str],
    context: Context,
    out: str,
    *,
    exact: bool = False,
) -> Conversion:
    """Convert a parsed config. `out` is the name the target file will have. Never raises for a config that parsed."""
    framework, version = source
    to, to_version = target
    run = explained(read(framework.table(version), document, context), document, framework, version, context)
    head: dict[str, object] = {"framework": framework.name, "version": version, "path": document.name}
    if document.launch is not None:
        head["command"] = _command(document.launch)
    for found in document.errors:
        return _refuse(document, run, head, target, f"line {found.position.line}: {found.message}")
    missing = to.table(to_version).lacks.get(str(run["method.name"]))
    if missing is not None:
        return _refuse(document, run, head, target, f"{run['method.name']}: {missing}")
    if not to.writes:
        return _refuse(document, run, head, target, f"{to.title} configs cannot be written yet")
    if to_version not in to.written:
        able = ", ".join(to.written)
        other = f"{to.title} {to_version} cannot be written yet, only {able}: other versions behave otherwise"
        return _refuse(document, run, head, target, other)
    table = to.table(to_version)
    known = replace(context, recipe=None, world_size=_number(run["parallel.world_size"]), stem=PurePath(out).stem,
                    nodes=nodes if isinstance(nodes := run["launch.nodes"], int | Symbol) else None)  # fmt: skip
    try:
        header = table.header(run)
    except CannotSay as why:
        return _refuse(document, run, head, target, f"{run['method.name']}: {why}")
    required = _required(to, table, header)
    if framework is to and to.edit is not None and upgrade.editable(document):
        return _edited(document, run, to, version, table, known, required, head, out, exact)
    own = _own(document, run, to, table)
    planned = plan(run, table, known, required, own, exact=exact, header=header)
    for path in vocabulary.ESSENTIAL:
        if path in planned.reasons:
            return _refuse(document, run, head, target, f"{_essential(run, path)}: {planned.reasons[path]}")
    text, back = _render(document, run, planned, to, to_version, head, out, known, header)
    reason = table.refuse(Reader(table, back, known))
    if reason is not None:
        return _refuse(document, run, head, target, f"{run['method.name']}: {reason}")
    written = read(table, back, replace(known, world_size=None, nodes=None))
    again = None if exact or not table.has_exact else plan(run, table, known, required, own, exact=True, header=header)
    kept = frozenset() if again is None else _kept(run, written, again, table, known, header)
    entries = ledgers.build(document, run, written, back, planned.reasons, kept)
    commands = _commands(to, written, out, back)
    files = {out: text, **_beside(to, back, out)}
    notes = (*_notes(document, run), *(f"{path} must stay beside {out}: it is needed to train and to merge" for path in files
             if path != out), *(f"to {command.purpose}: {command.line}" for command in commands))  # fmt: skip
    account = Ledger(head, _where(target, *files), entries, notes=notes)
    return _made(files, account, run, written, commands, back)


def _edited(
    document: Document,
    run: Run,
    to: Framework,
    version: str,
    table: Table,
    context: Context,
    required: Mapping[str, Any],
    head: Mapping[str, object],
    out: str,
    exact: bool,
) -> Conversion:
    """Between versions of one framework: the source's own text with as few edits as keep the run what it was."""
    target = (to, table.version)
    assert to.edit is not None
    removed = upgrade.gone(document, to, version, Reader(table, document, context))
    woken = upgrade.awakened(document, run, read(table, document, context))
    removed += [one for one in woken if one.path not in [other.path for other in removed]]
    moved = [one for one in upgrade.superseded(document, to, version, table.version)
             if one.path not in [other.path for other in removed]]  # fmt: skip
    while True:
        kept = upgrade.without(document.tree, [one.path for one in (*removed, *moved)])
        kept |= {str(one.to[0]): document.tree[str(one.path[0])] for one in moved if one.same}
        own = {key: value for key, value in kept.items() if value is not None}
        planned = plan(run, table, context, required, own, exact=exact, sparing=True)
        wanted = upgrade.merged(kept, planned, own)
        back = from_tree(wanted, document.name)
        draft = read(table, back, replace(context, world_size=None, nodes=None))
        held = [one for one in moved if upgrade.carried(one, run, draft, wanted)]
        if held == moved:
            break
        moved = held  # the others stay as they are: the newer version takes them still
    removed = [*removed, *moved]
    renamed = upgrade.renames(removed, run, draft, kept) | {one.path: one.to for one in moved}
    reason = table.refuse(Reader(table, back, context))
    if reason is not None:
        return _refuse(document, run, head, target, reason)
    try:
        text, edits = to.edit(document, wanted, renamed, upgrade.places(table, wanted))
    except CannotEdit as error:
        return _refuse(document, run, head, target, str(error))
    text = "\ufeff" + text if document.marked else text
    back = to.parse(text.encode(), out, ())
    written = read(table, back, context)
    entries = ledgers.build(document, run, written, back, planned.reasons | {
        setting: one.why for one in removed for setting in run.claims[one.path].settings
    })  # fmt: skip
    changes = tuple(upgrade.account(edits, removed, run, written))
    files = {out: text, **_beside(to, back, out)}
    account = Ledger(head, _where(target, *files), entries, notes=_notes(document, run), edits=changes)
    return _made(files, account, run, written, _commands(to, written, out, back), back)


def _beside(to: Framework, document: Document, out: str) -> dict[str, str]:
    """What must stand beside the written file: path -> text."""
    return {str(PurePath(out).parent / name): text for name, text in to.beside(document).items()}


def _commands(to: Framework, run: Run, out: str, document: Document) -> tuple[Command, ...]:
    found = to.commands(run, out)
    if not to.beside(document):
        return found
    start = to.start_beside.format(folder=PurePath(out).parent)
    return tuple(replace(command, line=start + command.line) for command in found)


def _where(target: tuple[Framework, str], *paths: str) -> Mapping[str, object]:
    framework, version = target
    return {"framework": framework.name, "version": version, "paths": list(paths)}


def _made(
    files: Mapping[str, str],
    account: Ledger,
    run: Run,
    written: Run,
    commands: tuple[Command, ...],
    back: Document,
) -> Conversion:
    """The conversion, with the value and the line of each leaf of what was written, as it was read back."""
    keys = {format_path(path): leaf.value for path, leaf in back.leaves.items()}
    spans = {format_path(path): leaf.span or leaf.key for path, leaf in back.leaves.items()}
    lines = {path: span.start.line for path, span in spans.items() if span}
    return Conversion(files, account, run, written, commands, keys, lines)


def _kept(
    run: Run, written: Run, planned: Plan, table: Table, context: Context, header: tuple[str, ...]
) -> frozenset[str]:
    """The settings that are lost, and that the exact mode's plan keeps."""
    document = replace(from_tree(planned.tree()), header=header)
    other = read(table, document, replace(context, world_size=_number(written["parallel.world_size"]), nodes=None))
    return frozenset({found.path for found in losses(run, written)} - {found.path for found in losses(run, other)})


def _command(launch: Launched) -> Mapping[str, object]:
    place = launch.place
    return {"text": launch.command, "file": place.name, "line": place.position.line, "column": place.position.column}


def _notes(document: Document, run: Run) -> tuple[str, ...]:
    """What a reader must know of how the run was found: its recipe, strange keys, and what its command leaves open."""
    told = [f"recipe {run.recipe}: {run.recipe_from}"] if run.recipe else []
    unknown = [format_path(path) for path, claim in run.claims.items() if claim.kind is ClaimKind.UNKNOWN]
    if unknown:
        told.append(f"unknown to the framework, and without effect: {', '.join(unknown)}")
    return (*told, *(document.launch.notes if document.launch is not None else ()), *run.notes)


def _own(document: Document, run: Run, to: Framework, table: Table) -> dict[str, Value]:
    """Between versions of one framework: the keys that only it has, and those of the data, as they are."""
    if run.framework != to.name:
        return {}
    private = {
        ".".join(map(str, path)): document.leaves[path].value
        for path, claim in run.claims.items()
        if claim.kind is ClaimKind.PRIVATE and all(isinstance(part, str) for part in path)
    }
    return private | {key: document.tree[key] for key in table.sources.keys if document.tree.get(key) is not None}


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _essential(run: Run, path: str) -> object:
    value = run["model.base"] if path == "model.architecture" else run[path]
    return value.expression if isinstance(value, Unresolved) else value


def _required(to: Framework, table: Table, header: tuple[str, ...]) -> Mapping[str, Any]:
    """Placeholders for the keys that the target cannot do without."""
    recipe, _ = table.recipe_of(from_tree({}, header=header), None)
    root = to.layout.root + (recipe or "") if to.layout.root.endswith(" ") else to.layout.root
    keys = schema.load(to.name, table.version).keys(root)

    def placeholder(key: str) -> Any:
        return lambda value: to.placeholder(key, value)

    return {key: placeholder(key) for key, facts in keys.items() if facts.get("required")}


def _refuse(
    document: Document, run: Run, head: Mapping[str, object], target: tuple[Framework, str], reason: str
) -> Conversion:
    entries = ledgers.refusal(document, run, reason)
    return Conversion({}, Ledger(head, _where(target), entries, reason, _notes(document, run)), run, None)


def _render(
    document: Document,
    run: Run,
    planned: Plan,
    to: Framework,
    version: str,
    head: Mapping[str, object],
    out: str,
    context: Context,
    above: tuple[str, ...],
) -> tuple[str, Document]:
    """The text and what the target's own parser makes of it. The header holds the commands, so it is written last."""
    table = to.table(version)
    tree = planned.tree([key for key, _ in table.order()], to.layout.component)
    draft = write.render(tree, table, above, {}, planned.todo)
    back = to.parse(draft.encode(), out, ())
    target_run = read(table, back, context)
    comments = _comments(document, run, back, target_run)
    commands = _commands(to, target_run, out, back)
    above = (*_header(run, head, to, version, tuple(to.beside(back)), commands),)
    text = write.render(tree, table, above, comments, planned.todo)
    return text, to.parse(text.encode(), out, ())


def _header(
    run: Run,
    head: Mapping[str, object],
    to: Framework,
    version: str,
    beside: Sequence[str],
    commands: Sequence[Command],
) -> Sequence[str]:
    about = f"{head['framework']} {head['version']}"
    recipe = f", recipe {run.recipe}" if run.recipe else ""
    if about in str(head["path"]):
        about, recipe = "", recipe.removeprefix(", ")
    origin = f" ({about}{recipe})" if about or recipe else ""
    lines = [
        f"{to.title} {version} config, made by ftmigrate {__version__}",
        f"from {head['path']}{origin}",
        *([f"as started by: {command['text']}"] if isinstance(command := head.get("command"), Mapping) else ()),
    ]
    if beside:
        lines.append(f"needs {', '.join(beside)} beside it")
    for command in commands:
        lines += ["", f"To {command.purpose}:", f"  {command.line}"]
    return lines


def _comments(document: Document, run: Run, back: Document, target: Run) -> dict[str, str]:
    """The source's comments on keys that have exactly one counterpart."""
    found: dict[str, str] = {}
    for path, leaf in document.leaves.items():
        settings = run.claims[path].settings
        if not leaf.comment or len(settings) != 1:
            continue
        counterpart = target.settings.get(settings[0])
        if counterpart is None or len(counterpart.leaves) != 1 or len(run.settings[settings[0]].leaves) != 1:
            continue
        key = counterpart.leaves[0]
        if len(key) == 1 and len(target.claims[key].settings) == 1:
            found[str(key[0])] = leaf.comment
    return found


__all__ = ["Conversion", "Ledger", "convert"]
