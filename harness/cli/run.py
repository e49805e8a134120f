"""`harness run`: train, score, time and tabulate."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import completion, options

if TYPE_CHECKING:
    from harness.plan import Cell, Plan
    from harness.record import Record
    from harness.selection import Choice


@click.command("run")
@click.option(
    "--models",
    multiple=True,
    default=("all",),
    show_default=True,
    metavar="SELECTION",
    shell_complete=completion.models,
    help="Names with backend and options: mlp@torch:hidden=300,count-bigram:k=0/1. "
    "`all` is every model, `*@*` every backend.",
)
@options.plugin
@click.option(
    "--dataset",
    default="names",
    show_default=True,
    metavar="NAME",
    shell_complete=completion.dataset,
    help="A registered dataset, markov:order=2 or file:PATH.",
)
@options.as_kind
@click.option(
    "--split",
    metavar="METHOD",
    shell_complete=completion.split,
    help="grouped:seed=0, lecture, makemore, contiguous:fractions=0.8,0.1,0.1 or all.",
)
@click.option(
    "--suite",
    metavar="NAME",
    shell_complete=completion.suite,
    help="Published cells in place of models and data: lecture, makemore or FILE.toml.",
)
@click.option("--short", is_flag=True, help="The short form of the suite: about a minute.")
@click.option(
    "--seeds",
    default=1,
    show_default=True,
    metavar="R",
    type=click.IntRange(1, 1000),
    help="Repeats of every model, each with its own seed.",
)
@click.option("--budget", metavar="B", help="2000steps (reproducible) or 30s (wall clock) a model.")
@click.option(
    "--target", type=float, metavar="NLL", help="Also time each training until its dev NLL is there: 2.0."
)
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), help="The default backend of models that have one for it."
)
@click.option("--timeout", metavar="T", help="Wall-clock limit of a cell: 90s, 5m.  [default: none]")
@click.option(
    "--memory",
    metavar="SIZE",
    help="Memory limit of a cell beyond its start: 2G.  [default: 80 % of the machine ÷ jobs]",
)
@click.option(
    "--jobs",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Cells side by side; their speed is measured alone all the same.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of a cell.  [default: cores ÷ jobs]")
@click.option("--in-process", is_flag=True, help="No process of its own for a cell: for debuggers.")
@click.option(
    "--solo",
    is_flag=True,
    help="Train each seed by itself, also where a model trains many as one problem.",
)
@click.option("--fresh", is_flag=True, help="Start anew, where an interrupted run would be continued.")
@options.as_view
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the run file here, its side files in FILE.d/.",
)
@options.results
@click.option("--dry-run", is_flag=True, help="Print the cells and what they will cost; run nothing.")
def command(
    models: tuple[str, ...],
    plugins: tuple[Path, ...],
    dataset: str,
    kind: Any,
    split: str | None,
    suite: str | None,
    short: bool,
    seeds: int,
    budget: str | None,
    target: float | None,
    device: str | None,
    timeout: str | None,
    memory: str | None,
    jobs: int,
    threads: int | None,
    in_process: bool,
    solo: bool,
    fresh: bool,
    form: str,
    as_json: bool,
    columns: str | None,
    each_seed: bool,
    output: Path | None,
    results: Path | None,
    dry_run: bool,
) -> int:
    """Train, score, time and tabulate models on equal terms.

    Dev chooses, test ranks; the table names what cannot be told apart. A model that breaks is a row
    with its reason, and the others finish.
    """
    if in_process and threads:  # before numpy is loaded
        from harness.environment import thread_variables

        os.environ.update(thread_variables(threads))
    from harness import notebook, plan, report, runner, store
    from harness.cli import suites

    folder = options.folder(results)
    how: dict[str, Any] = {
        "plugins": plugins,
        "device": device,
        "threads": threads,
        "jobs": jobs,
        "timeout": plan.parse_seconds(timeout) if timeout else None,
        "memory": plan.parse_size(memory) if memory else None,
        "in_process": in_process,
        "solo": solo,
    }
    if name := suites.asked(suite, short):
        return suites.run(
            name,
            short=short,
            seeds=seeds,
            how=how,
            fresh=fresh,
            form=form,
            as_json=as_json,
            columns=columns,
            output=output,
            folder=folder,
            dry_run=dry_run,
        )
    view = options.view(form, as_json, columns, each_seed)
    made = plan.plan(
        models, data=dataset, kind=kind, method=split, seeds=seeds, budget=budget, target=target, **how
    )
    options.warn(made.registry.problems)
    if dry_run:
        click.echo(report.simple(estimates(made, folder)))
        return 0
    if output is not None:
        store.claim(output)
    with watch(len(made.cells)) as watcher:
        done = runner.execute(made, notebook.new_path(folder), watcher, fresh=fresh)
    if output is not None:
        store.copy(done.path, output)
    result = notebook.finish(made, done, folder)
    click.echo(report.render(done.header, done.records, done.scores, done.samples, result.looks, view))
    options.say(f"stored: {output or done.path}")
    return exit_code(done.records)


def exit_code(records: list[Record]) -> int:
    """5 a cell is invalid; else 4 one broke; 3 none is ok; else 0 (CONTRACT, "Exit codes")."""
    statuses = {record.status for record in records}
    if "invalid" in statuses:
        return 5
    if statuses & {"failed", "timeout", "out-of-memory", "diverged"}:
        return 4
    return 0 if "ok" in statuses else 3


def own_budget(choice: Choice) -> str:
    """What a model without steps of its own does."""
    return "as its members" if choice.members else "one pass"


def estimates(made: Plan, folder: Path) -> list[dict[str, object]]:
    """One row a cell: what it is and what it cost the last time, if it is on record."""
    from harness import store

    runs, problems = store.read_all(folder)
    options.warn(problems)
    past: dict[tuple[str, str, str, str, str], float] = {}
    for run in runs:
        for r in run.records:
            if r.timings.train_s is not None:
                key = (r.model, r.backend, str(sorted(r.config.items())), r.dataset, r.budget)
                past[key] = sum(
                    t or 0.0
                    for t in (r.timings.warmup_s, r.timings.train_s, r.timings.evaluate_s, r.timings.sample_s)
                )
    rows: list[dict[str, object]] = []
    for cell in made.cells:
        choice = cell.choice
        steps = made.budget.steps or choice.spec.steps_of(choice.config)
        budget = (
            f"{made.budget.seconds:g} s"
            if made.budget.seconds
            else (f"{steps:,} steps" if steps is not None else own_budget(choice))
        )
        known = past.get((*choice.key, made.dataset.name, str(made.budget)))
        reason = choice.missing
        rows.append(
            {
                "cell": cell.label,
                "dataset": made.dataset.name,
                "split": str(made.method),
                "budget": budget,
                "cost": f"skipped: {reason}"
                if reason
                else (f"{known:.1f} s last time" if known is not None else "not yet measured here"),
            }
        )
    return rows


def watch(cells: int) -> Any:
    """Progress for a terminal, or one line a cell."""
    if sys.stderr.isatty():
        return bars(cells)
    return Lines(cells)


def outcome(record: Record) -> str:
    """`test NLL 2.4584` or the status with its reason."""
    from harness.report import clean

    if record.status != "ok":
        return clean(f"{record.status}: {record.reason}")
    nll = record.metrics.test_nll
    shown = "inf" if record.infinite else "–" if nll is None else f"{nll:.4f}"
    return f"test NLL {shown}"


class Lines:
    """One line a cell on stderr."""

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.began: dict[int, float] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def resumed(self, done: int, cells: int, path: Path) -> None:
        """Say that an open run is continued."""
        options.say(f"continuing {path}: {done} of {cells} cells are done (--fresh starts anew)")

    def started(self, cell: Cell) -> None:
        """Note the time."""
        self.began[cell.index] = time.perf_counter()

    def progressed(self, cell: Cell, done: int, total: int, scalars: Mapping[str, float]) -> None:
        """Nothing between a cell's start and its end."""

    def finished(self, cell: Cell, record: Record) -> None:
        """`[2/4] mlp@numpy  test NLL 2.1668  4.1 s`."""
        from harness.report import clean

        took = time.perf_counter() - self.began[cell.index]
        options.say(
            f"[{cell.index + 1}/{self.cells}] {clean(cell.label)}  {outcome(record)}  {took:.1f} s",
        )

    def warned(self, text: str) -> None:
        """A line of its own."""
        options.warn([text])


def bars(cells: int) -> Any:
    """A bar for the cell that is running, and a line for each that has finished (rich)."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    class Bars(Lines):
        def __init__(self) -> None:
            super().__init__(cells)
            self.shown = 0.0
            self.progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[said]}", markup=False),
                TimeElapsedColumn(),
                console=Console(stderr=True, highlight=False, markup=False),
                transient=True,
            )
            self.task = self.progress.add_task("", total=None, said="")

        def __enter__(self) -> Lines:
            self.progress.start()
            return self

        def __exit__(self, *_: object) -> None:
            self.progress.stop()

        def started(self, cell: Cell) -> None:
            from harness.report import clean

            super().started(cell)
            title = f"[{cell.index + 1}/{self.cells}] {clean(cell.label)}"
            self.progress.reset(self.task, description=title, total=None, said="")

        def progressed(self, cell: Cell, done: int, total: int, scalars: Mapping[str, float]) -> None:
            now = time.perf_counter()
            if now - self.shown > 0.1:  # a fast model reports thousands of times a second
                self.shown = now
                said = "  ".join(f"{name} {value:.4f}" for name, value in scalars.items())
                self.progress.update(self.task, completed=done, total=total or None, said=said)

    return Bars()
