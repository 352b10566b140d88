"""Axolotl's dataset entries: what one means (`decode`), and which one says a wanted rendering (`propose`, `best`)."""

from ftmigrate.frameworks.axolotl.candidates import Proposal, propose
from ftmigrate.frameworks.axolotl.entries import GLOBAL_KEYS, SETTINGS, decode
from ftmigrate.frameworks.axolotl.proposals import Choice, best, best_source

__all__ = ["GLOBAL_KEYS", "SETTINGS", "Choice", "Proposal", "best", "best_source", "decode", "propose"]
