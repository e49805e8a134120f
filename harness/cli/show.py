"""`harness show`: a stored run again."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import options


@click.command("show")
@click.argument("run", default="latest")
@options.results
@options.as_json
def command(run: str, results: Path | None, as_json: bool) -> None:
    """Print a stored run again: RUN is its file, its id, the start of its id or `latest`."""
    from harness import report, store

    folder = options.folder(results)
    found = store.read(store.find(folder, run))
    options.warn(found.warnings)
    if as_json:
        click.echo(report.as_json(found.header, found.records))
        return
    runs, problems = store.read_all(folder)
    options.warn(problems)
    fingerprints = {record.data.split_fingerprint for record in found.records}
    others = [other for other in runs if other.header.run_id != found.header.run_id]
    looks = sum(store.looks([*others, found], fingerprint) for fingerprint in fingerprints)
    click.echo(report.table(found.header, found.records, found.scores, looks))
    if drawn := report.samples(found.records, found.samples):
        click.echo(f"\n{drawn}")
    if not found.closed:
        options.warn([f"{found.path} is open: the run was interrupted or is still going on"])
