"""Commands in shell and Slurm scripts, Makefiles and notebooks, with what is known of their variables."""

from __future__ import annotations

from ftmigrate.scripts.files import is_script, read
from ftmigrate.scripts.shell import Argument, Command

__all__ = ["Argument", "Command", "is_script", "read"]
