"""Published cells run again: a suite's file → plans, one a dataset, split and budget → runs → verdicts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TypedDict, Unpack

import numpy as np

from harness import (
    compare,
    notebook,
    plan,
    published,
    registry,
    runner,
    selection,
    settings,
    split,
    store,
    values,
)
from harness.compare import Standing
from harness.errors import StoreError, UsageError
from harness.published import Recipe, Suite
from harness.record import Record
from harness.scorecard import Row, Scorecard
from harness.selection import Choice

Watch = Callable[[plan.Plan], AbstractContextManager[runner.Watcher]]


@dataclass(frozen=True, eq=False)
class Member:
    """A recipe with the model that it chooses here, and its budget."""

    recipe: Recipe
    choice: Choice
    budget: str | None


@dataclass(frozen=True, eq=False)
class Part:
    """The members that one run file holds: one dataset, split, budget and number of seeds."""

    plan: plan.Plan
    members: Sequence[Member]


@dataclass(frozen=True, eq=False)
class Made:
    """A suite, resolved and checked before its first cell starts."""

    suite: Suite
    short: bool
    parts: Sequence[Part]


class Options(TypedDict, total=False):
    """What goes through to every `plan.plan`; memory: bytes, timeout: seconds a cell."""

    plugins: Sequence[str | Path]
    device: str | None
    threads: int | None
    jobs: int
    timeout: float | None
    memory: int | None
    in_process: bool
    solo: bool


def run_suite(
    name: str,
    *,
    short: bool = False,
    seeds: int | None = None,
    fresh: bool = False,
    results: str | Path | None = None,
    **how: Unpack[Options],
) -> Scorecard:
    """`harness run --suite` for scripts: a built-in suite by its name or one's own by its path.

    seeds: for every cell, in place of its own.
    """
    made = make(published.find(name), short=short, seeds=seeds, **how)
    return execute(made, Path(results) if results is not None else settings.results_dir(), fresh=fresh)


def make(suite: Suite, *, short: bool = False, seeds: int | None = None, **how: Unpack[Options]) -> Made:
    """One plan for all members that can share a run file; a mistake is a `UsageError` and nothing has run."""
    groups: dict[tuple[object, ...], list[Member]] = {}
    found = registry.discover(how.get("plugins", ()))
    for member in resolve(suite, short, found, how.get("device")):
        recipe = member.recipe
        shared = (recipe.dataset, recipe.kind, recipe.split, member.budget, seeds or recipe.seeds)
        groups.setdefault(shared, []).append(member)
    parts = []
    for members in groups.values():
        first = members[0]
        planned = plan.plan(
            [member.recipe.model for member in members],
            data=first.recipe.dataset,
            kind=first.recipe.kind,
            method=first.recipe.split,
            seeds=seeds or first.recipe.seeds,
            budget=first.budget,
            **how,
        )
        parts.append(Part(planned, members))
    return Made(suite, short, parts)


def resolve(suite: Suite, short: bool, found: registry.Registry, device: str | None) -> list[Member]:
    """Every recipe with the one model that it names; an error says in which cell of which file."""
    recipes = suite.chosen(short=short)
    if not recipes:
        raise UsageError(f"{suite.path} has no short form: every cell says short = false")
    members, datasets = [], set()
    for recipe in recipes:
        with blamed(suite, recipe):
            choices = selection.choose(found, [recipe.model], device)
            if len(choices) != 1:
                raise UsageError(f"model = {recipe.model!r} names {len(choices)} models; a cell has one")
            budget = recipe.budget_on(choices[0].backend, short=short)
            plan.parse_budget(recipe.budget)
            plan.parse_budget(budget)
            if recipe.split is not None:
                split.parse(recipe.split)
            if (recipe.dataset, recipe.kind) not in datasets:
                plan.open_data(found, recipe.dataset, recipe.kind)
                datasets.add((recipe.dataset, recipe.kind))
        members.append(Member(recipe, choices[0], budget))
    return members


@contextlib.contextmanager
def blamed(suite: Suite, recipe: Recipe) -> Iterator[None]:
    """Say whose mistake a `UsageError` is."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{suite.path}, cell {recipe.name!r}: {error}") from None


# ---- running it


def unwatched(_: plan.Plan) -> AbstractContextManager[runner.Watcher]:
    """Nobody is told of the progress."""
    return contextlib.nullcontext(runner.Watcher())


def execute(made: Made, folder: Path, watch: Watch = unwatched, *, fresh: bool = False) -> Scorecard:
    """Run part after part into one run file each; an interrupted suite is continued, unless `fresh`."""
    before = {} if fresh else finished_before(made, folder)
    runs: list[store.Run] = []
    rows: list[Row] = []
    for part in made.parts:
        with watch(part.plan) as watcher:
            done = before.get(part.plan.identity)
            if done is not None:
                watcher.resumed(len(done.records), len(part.plan.cells), done.path)
            else:
                done = runner.execute(part.plan, notebook.new_path(folder), watcher, fresh=fresh)
        runs.append(done)
        rows += [row for member in part.members for row in rows_of(part.plan, member, done)]
    order = {recipe.name: position for position, recipe in enumerate(made.suite.recipes)}
    rows.sort(key=lambda row: order[row.recipe.name])
    return Scorecard(made.suite, made.short, rows, runs, looks(runs, folder))


def finished_before(made: Made, folder: Path) -> dict[str, store.Run]:
    """The parts of an interrupted suite that are complete: those before the one whose file is open.

    A closed file is never continued, so without this the suite would begin again at its first part.
    """
    identities = [part.plan.identity for part in made.parts]
    still_open = [store.find_open(folder, identity) is not None for identity in identities]
    if True not in still_open:
        return {}
    closed = {run.header.identity: run for run in store.read_all(folder)[0] if run.closed}  # the newest
    return {
        identity: closed[identity] for identity in identities[: still_open.index(True)] if identity in closed
    }


def looks(runs: Sequence[store.Run], folder: Path) -> dict[str, int]:
    """Dataset and split -> test scores on record, these included."""
    on_record, _ = store.brief(folder)
    tested = {
        f"{record.dataset}, split {record.split}": record.data.split_fingerprint
        for run in runs
        for record in run.records
        if record.data.units and not record.data.in_sample
    }
    return {where: store.looks(on_record, fingerprint) for where, fingerprint in tested.items()}


# ---- what came of it


def rows_of(made: plan.Plan, member: Member, run: store.Run) -> list[Row]:
    """One row a published figure of a member."""
    chosen = member.choice.key
    records = [record for record in run.records if made.cells[record.cell].choice.key == chosen]
    if not records:
        raise StoreError(f"{run.path}: the records of {member.choice.label} are damaged or missing")
    (standing,) = compare.standings(records, run.scores)
    steps = member.choice.spec.steps_of(member.choice.config)
    own = "one pass" if steps is None else f"{steps}steps"
    return [
        Row(
            member.recipe,
            metric,
            standing,
            measured(member.recipe, metric, standing, run),
            half(metric, standing),
            str(plan.parse_budget(member.budget)) if member.budget else own,
            str(plan.parse_budget(member.recipe.budget)) if member.recipe.budget else own,
        )
        for metric in member.recipe.published
    ]


def measured(recipe: Recipe, metric: str, standing: Standing, run: store.Run) -> float | None:
    """Our figure for a metric, with the penalty of the published loss where it has one."""
    part = metric.removesuffix("_nll")
    found = (values.nll(part) if part in ("train", "dev", "test") else values.metric(metric))(standing)
    if found is None or recipe.penalty is None:
        return found
    return found + recipe.penalty * fmean(mean_square(run, record) for record in standing.counted)


def mean_square(run: store.Run, record: Record) -> float:
    """The mean of all parameters squared."""
    params = run.params(record)
    if not params:
        raise UsageError(f"{run.path}: a penalty needs parameters, and {record.label} has none")
    squares = sum(float(np.square(array, dtype=np.float64).sum()) for array in params.values())
    numbers: int = sum(array.size for array in params.values())
    return squares / numbers


def half(metric: str, standing: Standing) -> float | None:
    """Half the 95 % interval of dev or test; the other metrics have none."""
    estimate = {"dev_nll": standing.dev, "test_nll": standing.test}.get(metric)
    return None if estimate is None else estimate.half
