"""`harness tune`: search a model's options on dev, or find its learning rate by a range test."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import completion, options, run, tuned

if TYPE_CHECKING:
    from harness.plan import Cell
    from harness.record import Record
    from harness.tune import Tuning

# options that say here what they say there
AS_IN_RUN = (
    "plugins", "dataset", "kind", "split", "budget", "device", "timeout", "memory", "threads", "in_process",
    "fresh",
)  # fmt: skip
TRIALS, RATES = 20, 25


@click.command("tune")
@click.argument("model", shell_complete=completion.models)
@click.option(
    "--space",
    metavar="SPACE",
    help="What is varied: hidden=128..512:log,dropout=0..0.5,layers=1/2.  "
    "[default: numbers within a factor of 4, words and switches]",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    metavar="N",
    help="Trials, or rates of --lr-range.  [default: 20; 25 rates]",
)
@click.option("--for", "during", metavar="T", help="No trial begins after so long: 90s, 5m.  [default: none]")
@click.option("--seed", default=0, show_default=True, type=int, help="Seed of the search.")
@click.option("--top", default=10, show_default=True, type=click.IntRange(min=1), help="Trials in the table.")
@click.option("--lr-range", is_flag=True, help="A short fit at each of many learning rates, and its picture.")
@click.option(
    "--picture",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where --lr-range draws its SVG.  [default: RUN.svg beside the run file]",
)
@options.as_json
@options.results
@click.option("--dry-run", is_flag=True, help="Print what would be varied; run nothing.")
def command(
    model: str,
    space: str | None,
    trials: int | None,
    during: str | None,
    seed: int,
    top: int,
    lr_range: bool,
    picture: Path | None,
    as_json: bool,
    results: Path | None,
    dry_run: bool,
    plugins: tuple[Path, ...],
    dataset: str,
    kind: Any,
    split: str | None,
    budget: str | None,
    device: str | None,
    timeout: str | None,
    memory: str | None,
    threads: int | None,
    in_process: bool,
    fresh: bool,
) -> int:
    """Search the options of MODEL on dev: `harness tune mlp:context=5 --trials 30 --budget 10s`.

    Every trial is a cell with its record; test is never scored. The same command continues an
    interrupted search. --lr-range draws the dev NLL of short fits over their learning rate.
    """
    if in_process and threads:  # before numpy is loaded
        from harness.environment import thread_variables

        os.environ.update(thread_variables(threads))
    from harness import lr_range as sweeping
    from harness import notebook, plan, report, runner, tune
    from harness.errors import UsageError

    if picture is not None and not lr_range:
        raise UsageError("--picture is for --lr-range")
    made = plan.plan(
        [model],
        plugins=plugins,
        data=dataset,
        kind=kind,
        method=split,
        budget=budget,
        device=device,
        threads=threads,
        timeout=plan.parse_seconds(timeout) if timeout else None,
        memory=plan.parse_size(memory) if memory else None,
        in_process=in_process,
    )
    options.warn(made.registry.problems)
    tuning = (sweeping if lr_range else tune).prepare(
        made,
        model,
        space,
        trials=trials or (RATES if lr_range else TRIALS),
        seconds=plan.parse_seconds(during) if during else None,
        seed=seed,
    )
    assert made.search is not None  # prepare() made it
    if dry_run:
        click.echo(report.simple(tuning.axes()))
        return 0
    options.say(f"{made.search.name}; budget {made.budget} a trial")
    with Trials(tuning) as watcher:
        done = runner.execute(made, notebook.new_path(options.folder(results)), watcher, fresh=fresh)
    if tuning.ended:
        options.say(f"ended after {len(done.records)} of {tuning.trials}: {tuning.ended}")
    if lr_range:
        tuned.show_curve(done, tuning, picture, as_json)
    else:
        tuned.show_search(done, tuning, top, as_json)
    options.say(f"stored: {done.path}")
    return exit_code(done.records)


def as_in_run() -> list[click.Parameter]:
    """The options that `run` has too, as copies: each verb has variables of its own."""
    found = {option.name: option for option in run.command.params}
    return [copy.copy(found[name]) for name in AS_IN_RUN]


command.params += as_in_run()


def exit_code(records: Sequence[Record]) -> int:
    """As of `run`; but a trial that diverged is an answer: that the model is not to be set so."""
    code = run.exit_code([record for record in records if record.status != "diverged"])
    return 3 if code == 0 and all(record.metrics.dev_nll is None for record in records) else code


class Trials:
    """Progress on stderr: the bar of `run` on a terminal, and a line for every trial."""

    def __init__(self, tuning: Tuning) -> None:
        self.tuning = tuning
        self.shown = run.watch(tuning.trials)
        self.began = 0.0
        self.best: float | None = None

    def __enter__(self) -> Any:
        self.shown.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.shown.__exit__(*error)

    def resumed(self, done: int, cells: int, path: Path) -> None:
        """Say that an open search is continued."""
        of = self.tuning.trials
        options.say(f"continuing {path}: {done} of {of} trials are done (--fresh starts anew)")

    def started(self, cell: Cell) -> None:
        """Note the time."""
        self.began = time.perf_counter()
        self.shown.started(cell)

    def progressed(self, cell: Cell, done: int, total: int, scalars: Mapping[str, float]) -> None:
        """Move the bar."""
        self.shown.progressed(cell, done, total, scalars)

    def finished(self, cell: Cell, record: Record) -> None:
        """`[2/20] dev NLL 2.1668  hidden=128,…  4.1 s`."""
        took = time.perf_counter() - self.began
        which = f"[{cell.index + 1}/{self.tuning.trials}]"
        options.say(f"{which} {tuned.outcome(record)}  {tuned.setting(record, self.tuning)}  {took:.1f} s")

    def warned(self, text: str) -> None:
        """A line of its own."""
        self.shown.warned(text)
