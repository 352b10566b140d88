"""Keys that the source's framework does not know, told for what they are: misspelt, of another framework, newer, …"""

from __future__ import annotations

from msgspec.structs import replace

from ftmigrate.document.model import Document
from ftmigrate.frameworks.reader import Context
from ftmigrate.frameworks.registry import Framework
from ftmigrate.run.model import ClaimKind, Run

_TELLING = ("FT010", "FT011", "FT012", "FT013", "FT014", "FT015", "FT022")


def explained(run: Run, document: Document, framework: Framework, version: str, context: Context) -> Run:
    """The run with the linter's words for its unknown keys; what a variable or an override is keeps its own."""
    strange = [path for path, claim in run.claims.items() if claim.kind is ClaimKind.UNKNOWN]
    if not strange:
        return run
    from ftmigrate.linter.checks.keys import schema
    from ftmigrate.linter.subject import Subject

    found = schema(Subject(document, framework, version, context))
    told = {finding.span: finding.message for finding in found if finding.code in _TELLING}
    claims = dict(run.claims)
    for path in strange:
        span = document.sections.get(path[:1]) or document.leaves[path].key
        if span in told and document.leaves[path].said is None:
            claims[path] = replace(
                claims[path], why=told[span].replace("`", "").removesuffix(" Remove it.").rstrip(".")
            )
    return replace(run, claims=claims)
