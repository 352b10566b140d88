"""ftmigrate: read, convert and verify LLM fine-tuning configs.

`read(path)` gives the complete run of a config, `convert(path, to=...)` a conversion with its files and ledger,
`lint(path)` what is wrong in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ftmigrate.api import convert, lint, read

__all__ = ["__version__", "convert", "lint", "read"]


def __getattr__(name: str) -> object:
    """The API is imported when first used: `import ftmigrate` alone stays cheap."""
    if name in ("convert", "lint", "read"):
        from ftmigrate import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
