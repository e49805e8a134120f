"""`harness new`: a package of one's own to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from harness import scaffold


@click.command("new")
@click.argument("name")
@click.option(
    "--backend",
    default="numpy",
    show_default=True,
    type=click.Choice(scaffold.KINDS),
    help="What the model is written in: numpy (whole rows), torch (a module), window (the last characters).",
)
@click.option(
    "--into",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder that it is written to, which is new or empty.  [default: NAME]",
)
def command(name: str, backend: str, into: Path | None) -> None:
    """Write an installable package with a model NAME that works, its tests, a README and a CI workflow."""
    from harness import __version__, registry
    from harness.cli import options
    from harness.report import clean

    folder = into if into is not None else Path(name)
    found = registry.discover()
    options.warn(found.problems)
    scaffold.check(name, folder, found.models)
    for path in scaffold.write(name, backend, folder, __version__):
        click.echo(clean((folder / path).as_posix()))
    place = shlex.quote(folder.as_posix() if folder.is_absolute() else f"./{folder.as_posix()}")
    click.echo(
        f"\npip install -e {shlex.quote(f'{clean(place)}[test]')}"
        f"\npytest {clean(place)}"
        f"\nharness run --models {name},count-bigram"
    )
