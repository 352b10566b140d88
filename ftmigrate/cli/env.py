"""`ftmigrate env`: isolated environments of the frameworks, for verify."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ftmigrate.verify import environments

app = typer.Typer(no_args_is_help=True, help="Isolated environments of the frameworks, for verify.")

Name = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="A framework, and the version wanted.")]


def _fail(error: Exception) -> typer.Exit:
    typer.echo(f"ftmigrate: {error}", err=True)
    return typer.Exit(2)


def _describe(one: environments.Environment) -> str:
    size = f"{one.megabytes} MB" if one.megabytes is not None else one.origin.value
    return f"{one.framework}@{one.version}\t{one.level}\t{size}\t{one.python}"


@app.command()
def create(
    name: Name,
    python: Annotated[
        Path | None,
        typer.Option("--python", metavar="PATH", help="An existing interpreter that has it; nothing is built."),
    ] = None,
) -> None:
    """Build the environment of a framework, or name an interpreter that has it. Prints its interpreter."""
    live = sys.stderr.isatty()

    def progress(line: str) -> None:
        text = line if not live else f"\r\x1b[K{line[:100]}"
        typer.echo(text, err=True, nl=not live)

    try:
        framework, version = environments.parse_name(name)
        made = environments.create(framework, version, python=python, progress=progress)
    except environments.EnvironmentProblem as error:
        if live:
            typer.echo("", err=True)
        raise _fail(error) from None
    if live:
        typer.echo("", err=True)
    typer.echo(_describe(made))


@app.command("list")
def list_() -> None:
    """The environments that are there: name, level, size, interpreter, separated by tabs."""
    for one in environments.list_():
        typer.echo(_describe(one))


@app.command()
def remove(name: Name) -> None:
    """Delete an environment, or all versions of a framework. A registered interpreter is only forgotten."""
    try:
        framework, version = environments.parse_name(name)
        gone = environments.remove(framework, version)
    except (environments.EnvironmentProblem, OSError) as error:
        raise _fail(error) from None
    if not gone:
        raise _fail(LookupError(f"there is no environment {name}"))
    for one in gone:
        typer.echo(f"removed {one.framework}@{one.version}\t{one.level}", err=True)
