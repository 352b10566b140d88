"""`python -m ftmigrate`."""

from ftmigrate.cli import start

start()
