"""A stored run, row by row: which figures come out again, which differ, and which nobody can derive."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import msgspec

from harness import compare, environment, rederive
from harness.compare import Standing
from harness.errors import HarnessError, StoreError
from harness.held import Held, hold
from harness.labels import called
from harness.record import Header, Metrics, Record
from harness.rederive import Check, Gap
from harness.registry import Registry
from harness.store import Run

NEVER = (
    "timings, throughput, memory and learning curves: measured once, nothing holds them a second time; "
    "config, plugin, environment, stochastic, rests_on, marks and audit: what the record says of itself"
)


@dataclass(frozen=True)
class Row:
    """One record, and what came of it."""

    name: str
    record: Record | None  # None: the header
    outcomes: tuple[Check | Gap, ...] = field(repr=False)
    exact: bool  # made with this arithmetic: equal to the last bit, or else it differs
    derived: Record | None = None  # with its metrics derived again; None where scores cannot be read

    @property
    def ok(self) -> bool:
        """Whether it has a score."""
        return self.record is not None and self.record.status == "ok"

    @property
    def differs(self) -> list[Check]:
        """The figures that do not come out again."""
        return rederive.findings(self.outcomes, exact=self.exact)

    @property
    def agrees(self) -> int:
        """How many fields hold what was derived."""
        held = {each.field for each in self.outcomes if isinstance(each, Check) and not each.empty}
        return len(held - {each.field for each in self.differs})

    @property
    def gaps(self) -> list[Gap]:
        """What could not be derived."""
        return [each for each in self.outcomes if isinstance(each, Gap)]

    @property
    def rests_on(self) -> str:
        """What its NLL rests on."""
        return self.record.rests_on if self.record is not None and self.ok else "–"


def verify(run: Run, found: Registry) -> list[Row]:
    """Every row of a run, after one for its header. Reads side files and data; runs no model's code."""
    data: dict[tuple[object, ...], Held | HarnessError] = {}

    def held(record: Record) -> Held | HarnessError:
        of = record.data
        key = record.dataset, record.split, of.dev_from_train, of.dataset_sha256, of.split_fingerprint
        if key not in data:
            try:
                data[key] = hold(found, record, search=run.header.search is not None)
            except HarnessError as error:
                data[key] = error
        return data[key]

    rows = [row(run, record, held(record)) for record in run.records]
    return [header_row(run), *with_table(run, rows)]


def row(run: Run, record: Record, held: Held | HarnessError) -> Row:
    """One record against its side files and its data."""
    outcomes: list[Check | Gap] = [*rederive.of_itself(record), *of_header(run.header, record)]
    derived = None
    if record.status == "ok":
        arrays = side(partial(run.scores, altered=True), record, "scores", outcomes)
        if arrays is not None:
            derived = of_arrays(record, arrays, held, outcomes)
        if isinstance(held, HarnessError):
            reason = f"its data is not here: {held}"
            outcomes += [Gap("data", reason), Gap("sample_statistics", reason)]
        elif held.reference is not None:
            texts = side(partial(run.samples, altered=True), record, "samples", outcomes)
            if texts is not None:
                outcomes += rederive.of_samples(record, texts, held.reference)
        if record.parameters and not run.header.search:
            params = side(partial(run.params, altered=True), record, "params", outcomes)
            if params is not None:
                outcomes += rederive.of_params(record, params)
    return Row(called(record), record, tuple(outcomes), same_arithmetic(record), derived)


def of_arrays(
    record: Record, arrays: dict[str, Any], held: Held | HarnessError, outcomes: list[Check | Gap]
) -> Record | None:
    """What the scores say; returns the record with the metrics that they give."""
    for part in rederive.PARTS:
        if f"{part}_sums" in arrays and (wrong := rederive.odd(arrays, part)):
            outcomes.append(Check(f"scores.{part}", wrong, "sums of −ln p, document by document", "scores"))
            return None
    metrics = rederive.derived_metrics(arrays)
    outcomes += rederive.of_scores(record, arrays, metrics)
    if isinstance(held, HarnessError):
        if record.metrics.excess is not None:
            outcomes.append(Gap("metrics.excess", f"its data is not here: {held}"))
    else:
        outcomes += rederive.of_data(record, arrays, held)
        outcomes += rederive.of_truth(record, arrays, held.truth)
    kept = Metrics(excess=record.metrics.excess, excess_half=record.metrics.excess_half)
    for name in Metrics.__struct_fields__:
        if name.startswith(("dev", "test")):
            setattr(kept, name, getattr(metrics, name))
    kept.zero_probability = {**record.metrics.zero_probability, **metrics.zero_probability}
    return msgspec.structs.replace(record, metrics=kept)


def side(read: Callable[[Record], Any], record: Record, kind: str, outcomes: list[Check | Gap]) -> Any:
    """A side file's content, or None with an outcome that says why there is none."""
    try:
        content = read(record)
    except StoreError as error:
        outcomes.append(Check(kind, str(error), "a side file that can be read", "store"))
        return None
    if content is None:
        name = getattr(record, kind)
        outcomes.append(Gap(kind, f"{name} is not there" if name else "none were kept"))
    return content


# ---- the run as a whole


def header_row(run: Run) -> Row:
    """What a run file says of itself: every cell that it names is there, and no line is lost."""
    header = run.header
    outcomes: list[Check | Gap] = [Check("damage", len(run.damage), 0, "checksums")]
    if header.cells and run.closed:
        outcomes.append(Check("cells", len(run.records), len(header.cells), "header"))
    if not run.closed:
        outcomes.append(Gap("cells", "the run is open: interrupted, or still going on"))
    return Row("the run file", None, tuple(outcomes), exact=True)


def of_header(header: Header, record: Record) -> Iterator[Check]:
    """What a record repeats of its header, and that it is the cell that the header names at its place."""
    for name in ("run_id", "dataset", "split", "budget"):
        yield Check(name, getattr(record, name), getattr(header, name), "header")
    if header.cells:
        planned = header.cells[record.cell] if 0 <= record.cell < len(header.cells) else None
        yield Check("cell", called(record), planned, "header")
    for kind, name in (("scores", "scores.npz"), ("samples", "samples.json"), ("params", "params.npz")):
        stored = getattr(record, kind)
        if stored is not None:
            yield Check(kind, stored, f"{record.cell}.{name}", "cell")


def with_table(run: Run, rows: list[Row]) -> list[Row]:
    """Ranks and differences as `harness show` prints them, beside those of the derived metrics.

    rows: one a record, in their order.
    """
    ok = [each for each in rows if each.ok]
    if not ok:
        return rows
    if any(each.derived is None for each in ok):
        gap = Gap("rank", "ranks and differences need the scores of every row")
        return [replace(each, outcomes=(*each.outcomes, gap)) if each in ok else each for each in rows]
    again = [each.derived or record for each, record in zip(rows, run.records, strict=True)]
    scores = partial(run.scores, altered=True)
    try:
        shown, derived = (
            {standing.record.cell: figures(standing) for standing in compare.standings(records, scores)}
            for records in (run.records, again)
        )
    except StoreError as error:
        wrong = Check("rank", str(error), "scores of the same documents", "all rows")
        return [replace(each, outcomes=(*each.outcomes, wrong)) if each in ok else each for each in rows]
    result = []
    for each, record in zip(rows, run.records, strict=True):
        old, new = shown.get(record.cell), derived.get(record.cell)
        checks = [
            Check(name, (old or {}).get(name), (new or {}).get(name), "all rows", near=True)
            for name in (old or new or {})
        ]
        result.append(replace(each, outcomes=(*each.outcomes, *checks)))
    return result


def figures(standing: Standing) -> dict[str, object]:
    """What a table prints of a row: ranks, differences, means over seeds."""
    found: dict[str, object] = {"rank": standing.rank}
    for name in ("behind", "behind_unseen", "behind_seen"):
        difference = getattr(standing, name)
        for part in ("nats", "half", "p"):
            found[f"{name}.{part}"] = None if difference is None else getattr(difference, part)
    if len(standing.counted) > 1:
        for name in ("dev", "test"):
            estimate = getattr(standing, name)
            for part in ("nats", "half", "sd_seeds"):
                found[f"mean {name}.{part}"] = None if estimate is None else getattr(estimate, part)
    return found


def same_arithmetic(record: Record) -> bool:
    """Whether exp, log and quantiles gave the record's figures by the code that is used here."""
    made = record.environment
    packages = made.get("packages", {})
    here = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": environment.cpu(),
    }
    return all(made.get(name) == value for name, value in here.items()) and all(
        packages.get(name) == environment.version(name) for name in ("numpy", "scipy")
    )


def verdict(rows: list[Row]) -> int:
    """6 where a figure differs; 3 where a row's NLL could not be derived, or there is none; else 0."""
    if any(row.differs for row in rows):
        return 6
    ok = [row for row in rows if row.ok]
    return 0 if ok and all(row.derived is not None for row in ok) else 3
