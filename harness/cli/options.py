"""Options that several verbs share, and what is printed beside a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

plugin = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A Python file with hooks; may be given again. Loading it runs its code.",
)
results = click.option(
    "--results",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of runs.  [default: $HARNESS_RESULTS or results]",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
as_kind = click.option(
    "--as",
    "kind",
    type=click.Choice(["lines", "text"]),
    help="How file:PATH is read.  [default: lines]",
)


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, in their order."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def folder(given: Path | None) -> Path:
    """The folder of runs."""
    from harness import settings

    return given if given is not None else settings.results_dir()


def warn(lines: list[str]) -> None:
    """Warnings on stderr, one line each."""
    from harness.report import clean

    for line in lines:
        click.echo(f"harness: warning: {clean(line)}", err=True)
