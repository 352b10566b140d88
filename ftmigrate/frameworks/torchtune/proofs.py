"""Made by tools/referee.py: what the framework itself was seen to do. Not edited by hand."""

from __future__ import annotations

from collections.abc import Mapping

# key -> the settings that a change of it moved, in our reading and in the framework's own plan alike
MOVED: Mapping[str, tuple[str, ...]] = {}

# settings in which all of at least 10 configs agreed
SEEN: tuple[str, ...] = ()
