"""`harness show`: a stored run again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.record import Record


@click.command("show")
@click.argument("run", default="latest")
@options.results
@options.as_view
def command(
    run: str, results: Path | None, form: str, as_json: bool, columns: str | None, each_seed: bool
) -> int:
    """Print a stored run again: RUN is a file, an id or its start, or `latest`, the newest with a cell."""
    from harness import report, store
    from harness.errors import StoreError

    view = options.view(form, as_json, columns, each_seed)
    folder = options.folder(results)
    found = store.read(store.find(folder, run))
    options.warn(found.warnings)
    runs, problems = store.brief(folder)
    options.warn(problems)
    fingerprints = {record.data.split_fingerprint for record in found.records}
    others = [other for other in runs if other.header.run_id != found.header.run_id]
    looks = sum(store.looks([*others, found], fingerprint) for fingerprint in fingerprints)

    def whole(read: Callable[[Record], Any], record: Record) -> Any:
        """A side file's content; a damaged one is a warning, and the figures stay readable."""
        try:
            return read(record)
        except StoreError as error:
            damaged.add(str(error))
            return None

    damaged: set[str] = set()
    scores, samples = partial(whole, found.scores), partial(whole, found.samples)
    click.echo(report.render(found.header, found.records, scores, samples, looks, view))
    options.warn(sorted(damaged))
    if not found.closed:
        options.warn([f"{found.path} is open: the run was interrupted or is still going on"])
    return 6 if found.damage or damaged else 0
