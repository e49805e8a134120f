"""`harness gate`: PASS, FAIL or INCONCLUSIVE against a baseline."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from harness.cli import completion, options
from harness.errors import UsageError

share = options.Finite(0, 10, min_open=True)
nats = options.Finite(0, 100, min_open=True)


@click.command("gate")
@click.option(
    "--baseline",
    metavar="WHAT",
    help="A run file, a run, or a git reference (main, v0.2:20261122) whose results folder holds runs.",
)
@click.option("--head", metavar="WHAT", help="The same of head.  [default: the baseline's cells are run now]")
@click.option(
    "--base-env",
    metavar="PATH",
    type=click.Path(path_type=Path, file_okay=False),
    help="A virtual environment with base installed: with --head-env speed and memory are compared too.",
)
@click.option(
    "--head-env",
    metavar="PATH",
    type=click.Path(path_type=Path, file_okay=False),
    help="The same with head.",
)
@click.option(
    "--models",
    multiple=True,
    metavar="SELECTION",
    shell_complete=completion.models,
    help="Only these of the baseline's cells: mlp, mlp@torch, mlp:hidden=300.  [default: all]",
)
@click.option(
    "--dataset",
    metavar="NAME",
    shell_complete=completion.dataset,
    help="Only cells on this dataset.  [default: all]",
)
@click.option("--split", metavar="METHOD", shell_complete=completion.split, help="Only cells of this split.")
@click.option(
    "--seeds",
    default=1,
    show_default=True,
    metavar="R",
    type=click.IntRange(1, 1000),
    help="Repeats of every model where --base-env makes the baseline.",
)
@click.option("--nll-worse", default=0.01, show_default=True, type=nats, help="Nats that are tolerated.")
@click.option(
    "--seed-sd",
    default=0.003,
    show_default=True,
    type=options.Finite(0, 100),
    help="Standard deviation of the NLL over seeds, where the runs show no larger one.",
)
@click.option("--train-slower", default=0.05, show_default=True, type=share, help="Share that is tolerated.")
@click.option("--evaluate-slower", default=0.05, show_default=True, type=share, help="The same of scoring.")
@click.option("--sample-slower", default=0.05, show_default=True, type=share, help="The same of sampling.")
@click.option("--memory-larger", default=0.05, show_default=True, type=share, help="The same of memory.")
@click.option(
    "--explain", is_flag=True, help="Also what was compared, with which power, and what is missing."
)
@options.plugin
@options.results
@options.as_format
def command(
    baseline: str | None,
    head: str | None,
    base_env: Path | None,
    head_env: Path | None,
    models: tuple[str, ...],
    dataset: str | None,
    split: str | None,
    seeds: int,
    nll_worse: float,
    seed_sd: float,
    train_slower: float,
    evaluate_slower: float,
    sample_slower: float,
    memory_larger: float,
    explain: bool,
    plugins: tuple[Path, ...],
    results: Path | None,
    form: str,
    as_json: bool,
) -> int:
    """Say whether a change made models worse: exit 0 PASS, 1 FAIL, 3 INCONCLUSIVE.

    Quality is paired on the same documents, across machines and days. Speed and memory are compared only
    where base and head are installed side by side (--base-env, --head-env).
    """
    form = options.chosen_format(form, as_json)
    if (base_env is None) != (head_env is None):
        raise UsageError("--base-env and --head-env go together: one machine, one job, two environments")
    from harness import change
    from harness.cli import gated, sides
    from harness.gate import Thresholds

    thresholds = Thresholds(nll_worse, seed_sd, train_slower, evaluate_slower, sample_slower, memory_larger)
    with tempfile.TemporaryDirectory() as scratch:
        asked = sides.Asked(options.folder(results), plugins, models, dataset, split, Path(scratch))
        try:
            base = asked.baseline(baseline, base_env, seeds)
        except sides.NoBaselineError as error:
            outcome = gated.Outcome(change.Result((), (str(error),)), thresholds)
        else:
            other = asked.head(head, head_env, base)
            pairs = asked.pairs(base_env, head_env, base, other, thresholds)
            result = change.judge(base, other, thresholds, pairs)
            outcome = gated.Outcome(result, thresholds, base.source, other.source, timed=bool(pairs))
        click.echo(gated.render(outcome, form, options.table_width(), explain=explain))
    return gated.CODES[outcome.result.answer]
