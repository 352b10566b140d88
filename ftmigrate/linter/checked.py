"""What a framework's own checks find, as findings of its lint rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftmigrate.frameworks.checks import Found
    from ftmigrate.linter.diagnostic import Fix
    from ftmigrate.linter.rules import Finding
    from ftmigrate.linter.subject import Subject


def finding(subject: Subject, found: Found) -> Finding:
    """The finding at the first key that was asked for, with the repair as an edit where the key stands in the file."""
    at = found.paths[0] if found.paths else None
    return subject.finding(found.check.code, at, found.message, key=True, fix=_fix(subject, found))


def _fix(subject: Subject, found: Found) -> Fix | None:
    repair = found.check.repair
    if repair is None:
        return None
    path = tuple(repair.key.split("."))
    if repair.remove:
        return subject.remove(path, safe=repair.safe) if path in found.paths else None
    value = str(repair.value).lower() if isinstance(repair.value, bool) else str(repair.value)
    return subject.replace(path, value, safe=repair.safe)
