"""`harness import`: another tool's times as a run."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import options


@click.command("import")
@click.argument("form", metavar="FORMAT", type=click.Choice(["pytest-benchmark"]))
@click.argument("file", type=click.Path(path_type=Path))
@options.results
def command(form: str, file: Path, results: Path | None) -> None:
    """Make a run of another tool's times: FORMAT is pytest-benchmark, FILE what --benchmark-json wrote.

    Each benchmark becomes a record with its median time (benchmark_s) and no score: `harness history
    benchmark_s` follows it.
    """
    from harness import benchmark_json, store
    from harness.errors import UsageError
    from harness.report import clean

    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from None
    header, records = benchmark_json.read(content, str(file))
    path = options.folder(results) / f"{header.run_id}.jsonl"
    if path.exists():
        raise UsageError(f"{file} is imported already: {path}")
    writer = store.Writer(path, header)
    for record in records:
        writer.cell(record)
    writer.close()
    many = "1 benchmark" if len(records) == 1 else f"{len(records)} benchmarks"
    click.echo(clean(f"{path}: {many}, times alone"))
