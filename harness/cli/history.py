"""`harness history`: a metric over runs and commits."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import completion, options


@click.command("history")
@click.argument("metric")
@click.option(
    "--models",
    multiple=True,
    metavar="MODELS",
    shell_complete=completion.models,
    help="Those that have these: mlp, mlp@torch:hidden=300, mlp:context=3/5.  [default: all on record]",
)
@click.option(
    "--dataset",
    metavar="DATASET",
    help="A dataset, as on record.  [default: that of the newest run with the metric]",
)
@click.option(
    "--split", metavar="SPLIT", help="A split, as on record.  [default: that of the newest such run]"
)
@click.option("--since", metavar="WHEN", help="From a date (2026-11-22) or a commit of a run on.")
@click.option(
    "--svg",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also draw it, as an SVG file.",
)
@options.results
@options.as_format
def command(
    metric: str,
    models: tuple[str, ...],
    dataset: str | None,
    split: str | None,
    since: str | None,
    svg: Path | None,
    results: Path | None,
    form: str,
    as_json: bool,
) -> None:
    """Show a metric of each model over runs, oldest first, with the runs at which it changed.

    METRIC is a numeric field of the records: test_nll, dev_nll, train_s, eval_chars_per_s, …
    """
    form = options.chosen_format(form, as_json)
    from harness import changes, history, metrics, store
    from harness.cli import trends
    from harness.errors import UsageError

    wanted = metrics.metric(metric)
    folder = options.folder(results)
    runs, problems = store.read_all(folder)
    options.warn([*problems, *(line for run in runs for line in run.warnings)])
    if not runs:
        raise UsageError(f"no runs in {folder}: harness run makes one, --results names another folder")
    find = changes.finder()
    if find is None:
        options.say("harness: no change points: pip install 'nextchar-harness[stats]' (ruptures) finds them")
    found = history.follow(runs, wanted, models, dataset, split, since, find)
    click.echo(trends.render(found, form, options.table_width()))
    if svg is not None:
        trends.save(svg, found)
