"""`harness data`: describe and fetch datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness import formats
from harness.cli import completion, options

shared = options.together(
    click.argument("name", shell_complete=completion.dataset), options.as_kind, options.plugin
)


@click.group("data")
def command() -> None:
    """Describe or fetch a dataset."""


@command.command("describe")
@shared
@options.as_json
def describe(name: str, kind: Any, plugins: tuple[Path, ...], as_json: bool) -> None:
    """Print the card of a dataset: source, licence, size, sha256, alphabet, duplicates, lengths."""
    from harness import plan, registry
    from harness.errors import DataError
    from harness.report import clean

    found = registry.discover(plugins)
    try:
        card = plan.open_data(found, name, kind).card()
    except DataError:
        spec = found.datasets.get(name.partition(":")[0])
        if spec is None or spec.sha256 is None:
            raise
        declared = (("name", spec.name), ("source", spec.source), ("licence", spec.licence))
        for key, text in (*declared, ("sha256", spec.sha256)):  # what is known without the text
            click.echo(f"{key:<8}{clean(text)}")
        raise
    if as_json:
        click.echo(formats.in_json(card))
        return
    width = max(len(key) for key in card)
    for key, value in card.items():
        click.echo(f"{key:<{width}}  {clean(str(value))}")


@command.command("fetch")
@shared
def fetch(name: str, kind: Any, plugins: tuple[Path, ...]) -> None:
    """Download a dataset, verify it and keep it, so that later runs work offline."""
    from harness import plan, registry

    found = plan.open_data(registry.discover(plugins), name, kind)
    click.echo(f"{found.name}: {found.size:,} bytes, sha256 {found.sha256}")
