"""`harness compare`: models, runs or files of scores, paired on the same documents."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import completion, options, stored
from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.cli.differing import Side
    from harness.record import Record
    from harness.store import Run


@click.command("compare")
@click.argument("what", nargs=-1, required=True, metavar="A B [C]...", shell_complete=completion.models)
@stored.run
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    metavar="R",
    help="The first R seeds of each model.  [default: all on record]",
)
@click.option(
    "--documents",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    metavar="N",
    help="Of two models, the documents on which they differ most.",
)
@options.plugin
@options.results
@options.as_format
def command(
    what: tuple[str, ...],
    run: str,
    seeds: int | None,
    documents: int,
    plugins: tuple[Path, ...],
    results: Path | None,
    form: str,
    as_json: bool,
) -> int:
    """Compare models on the same documents: differences, intervals, p-values, verdicts.

    Each argument is a model of --run, named as in `harness sample`; RUN:MODEL; a file of scores (what
    `harness score --json` prints, or CSV with document, nats and targets); or a run. Of one run all
    models are compared with each other, of several runs the models that they share.
    """
    form = options.chosen_format(form, as_json)
    from harness import pairs
    from harness.cli import compared, differing

    reader = Reader(options.folder(results), run, seeds)
    sides, chosen = in_pairs([reader.read(text) for text in what])
    known = differing.Known(plugins)
    if 0 < sum(side.run is None for side in sides) < len(sides):  # a file's documents against a run's
        sides = [known.with_documents(side) for side in sides]
    pairs.refuse_unlike([side.scored for side in sides])
    sides, sources = numbered(sides)
    scored = [side.scored for side in sides]
    draws = pairs.draws_for(len(chosen))
    table = pairs.compare([(scored[i], scored[j]) for i, j in chosen], draws)
    result = compared.Result(
        places=pairs.in_order(scored),
        pairs=table,
        draws=draws,
        heading=heading(sides),
        sources=sources,
        remarks=reader.remarks + remarks(sides),
        looks=looks(sides, reader.folder),
    )
    if len(table) == 1 and documents:
        shown, why = differing.documents(table[0], (sides[0], sides[1]), documents, known)
        result = replace(result, documents=shown, remarks=[*result.remarks, *why])
    click.echo(compared.render(result, form, options.table_width()))
    return 6 if any(run.damage for run in reader.runs.values()) else 0


# ---- what the arguments stand for


@dataclass(frozen=True, eq=False)
class Argument:
    """What one argument stands for."""

    text: str
    sides: tuple[Side, ...]
    whole: bool = False  # a run with all its models


@dataclass(eq=False)
class Reader:
    """Reads arguments; a run that several of them name is read once."""

    folder: Path
    run: str
    seeds: int | None
    remarks: list[str] = field(default_factory=list)
    runs: dict[Path, Run] = field(default_factory=dict)

    def read(self, text: str) -> Argument:
        """A file, RUN:MODEL, a run, or a model of the run that `--run` names, in this order."""
        from harness import score_file
        from harness.cli.differing import Side

        if Path(text).is_file() and not score_file.is_run(Path(text)):
            return Argument(text, (Side(score_file.read(Path(text))),))
        for place in (i for i, character in enumerate(text) if character == ":"):
            if path := self.named(text[:place]):
                return self.model(text, path, text[place + 1 :])
        if path := self.named(text):
            return self.all_models(text, path)
        if Path(text).suffix in (".json", ".csv", ".jsonl"):
            raise UsageError(f"{text}: no such file")
        from harness import store

        return self.model(text, store.find(self.folder, self.run), text)

    def named(self, name: str) -> Path | None:
        """The run file of that path, id or start of an id; None where it names no run."""
        from harness import score_file, store

        if Path(name).is_file():
            return Path(name) if score_file.is_run(Path(name)) else None
        ids = (path.stem for path in store.run_files(self.folder))
        if name == "latest" or (name and any(each.startswith(name) for each in ids)):
            return store.find(self.folder, name)
        return None

    def opened(self, path: Path) -> Run:
        """A run, its warnings printed once."""
        from harness import store

        if path not in self.runs:
            self.runs[path] = store.read(path)
            options.warn(self.runs[path].warnings)
        return self.runs[path]

    def model(self, text: str, path: Path, name: str) -> Argument:
        """One model of a run, with its seeds."""
        run = self.opened(path)
        return Argument(text, (self.side(run, stored.pick_all(run, name)),))

    def all_models(self, text: str, path: Path) -> Argument:
        """The models of a run; those without test scores are left out with a remark."""
        from harness.compare import repeats

        run, sides = self.opened(path), []
        for records in repeats(run.records):
            try:
                sides.append(self.side(run, records))
            except UsageError as error:
                self.remarks.append(f"Left out: {error}")
        if not sides:
            raise UsageError(f"run {run.header.run_id} holds no model with test scores")
        return Argument(text, tuple(sides), whole=True)

    def side(self, run: Run, records: Sequence[Record]) -> Side:
        """The repeats of a model that are ok, the first `--seeds` of them; `UsageError` without scores."""
        from harness.cli.differing import side_of

        whole = [record for record in records if record.status == "ok"]
        name = f"{stored.name_of(records[0])} of run {run.header.run_id}"
        if not whole:
            raise UsageError(f"{name} has no scores: {records[0].status}, {records[0].reason}")
        side = side_of(run, whole[: self.seeds])
        wanted = self.seeds or len(records)
        if len(side.records) < wanted and not side.scored.steady:
            self.remarks.append(
                f"{name}: {len(side.records)} of {wanted} seeds are on record and ok; harness run --seeds "
                f"{wanted} makes more."
            )
        return side


def in_pairs(arguments: Sequence[Argument]) -> tuple[list[Side], list[tuple[int, int]]]:
    """All that is compared, and the pairs by their places in it."""
    wholes = [argument for argument in arguments if argument.whole]
    if wholes and len(wholes) < len(arguments):
        raise UsageError(
            f"{wholes[0].text} is a whole run: it is compared with runs; {wholes[0].text}:MODEL names one of "
            "its models"
        )
    if len(wholes) > 1:
        return shared(wholes)
    sides = [side for argument in arguments for side in argument.sides]
    if len(sides) < 2:
        raise UsageError("compare needs two at least: harness compare A B")
    return sides, distinct(sides, list(combinations(range(len(sides)), 2)))


def shared(runs: Sequence[Argument]) -> tuple[list[Side], list[tuple[int, int]]]:
    """The models that runs share: of each two runs each such model with itself."""
    sides: list[Side] = []
    place: dict[tuple[int, str], int] = {}
    for number, run in enumerate(runs):
        for side in run.sides:
            others = [other for other in runs if other is not run]
            if any(side.scored.name == each.scored.name for other in others for each in other.sides):
                place[number, side.scored.name] = len(sides)
                sides.append(side)
    names = dict.fromkeys(name for _, name in place)
    both = combinations(range(len(runs)), 2)
    chosen = [
        (place[a, n], place[b, n]) for a, b in both for n in names if (a, n) in place and (b, n) in place
    ]
    if not chosen:
        held = "; ".join(f"{run.text} holds {', '.join(s.scored.name for s in run.sides)}" for run in runs)
        raise UsageError(f"these runs share no model: {held}; RUN:MODEL names one of them")
    return sides, distinct(sides, chosen)


def distinct(sides: Sequence[Side], chosen: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The pairs as they are; `UsageError` where one is of something with itself."""
    what = [(side.run.path if side.run else side.scored.source, side.records) for side in sides]
    for i, j in chosen:
        if what[i] == what[j]:
            one = sides[i].scored
            raise UsageError(f"{one.name} of {one.source} stands twice: nothing to compare")
    return chosen


# ---- what is known beside the figures


def numbered(sides: Sequence[Side]) -> tuple[list[Side], list[str]]:
    """Names with the number of their source, where there are several, and the sources by number."""
    sources = list(dict.fromkeys(side.scored.source for side in sides))
    if len(sources) == 1 or all(side.run is None for side in sides):
        return list(sides), []
    numbers = {source: f"[{number}]" for number, source in enumerate(sources, start=1)}
    named = [
        replace(side, scored=replace(side.scored, name=f"{side.scored.name} {numbers[side.scored.source]}"))
        for side in sides
    ]
    return named, [f"{number} {source}" for source, number in numbers.items()]


def heading(sides: Sequence[Side]) -> str:
    """On what they are compared: dataset and split, documents and characters."""
    from harness.report import clean

    scored = sides[0].scored
    size = f"{len(scored.lengths):,} documents, {int(scored.lengths.sum()):,} characters"
    record = next((side.records[0] for side in sides if side.records), None)
    if record is None:
        return clean(f"{scored.source}: {size}")
    if record.data.window:
        size = size.replace("documents", "blocks")
    return clean(f"{record.dataset}, split {record.split}: test part of {size}")


def remarks(sides: Sequence[Side]) -> list[str]:
    """What a reader must know of the rows: the marks of their records."""
    found = (f"{side.scored.name}: {mark}" for side in sides for r in side.records for mark in r.marks)
    return list(dict.fromkeys(found))


def looks(sides: Sequence[Side], folder: Path) -> int | None:
    """How often the test part was scored, by the records on file; None where only files are compared."""
    from harness import store

    of_runs = {side.run.header.run_id: side.run for side in sides if side.run is not None}
    if not of_runs:
        return None
    kept, problems = store.brief(folder)
    options.warn(problems)
    others = [run for run in kept if run.header.run_id not in of_runs]
    record = next(side.records[0] for side in sides if side.records)
    return store.looks([*others, *of_runs.values()], record.data.split_fingerprint)
