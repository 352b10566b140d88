"""The shared checks, in the order in which they run."""

from __future__ import annotations

from ftmigrate.linter.checks import balance, keys, learning, steps, traps, words
from ftmigrate.linter.rules import Checks

CHECKS = Checks()
for module in (keys, traps, words, steps, learning, balance):
    CHECKS.found += module.CHECKS.found
