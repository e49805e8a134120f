"""A metric over runs: a series a model, in the order of time, with what keeps its points from being compared.

Pure functions of runs. A cell that is not ok is a gap with its status, never a zero.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from statistics import fmean

from harness.changes import Find
from harness.compare import repeats
from harness.errors import UnknownName, UsageError
from harness.labels import brief, called
from harness.metrics import Metric
from harness.record import Header, Record
from harness.selection import axes_of, items
from harness.store import Run

COMMIT = re.compile(r"[0-9a-f]{4,40}")
MACHINE = ("cpu", "affinity", "threads")  # of the environment: what times and memory hang on

Group = tuple[Record, ...]


@dataclass(frozen=True)
class Point:
    """A model in one run: the mean over its repeats."""

    run_id: str
    created: str  # UTC, ISO 8601
    commit: str | None  # of the working directory, `+dirty` where it had changes
    value: float | None
    status: str  # "ok", "p = 0", "not measured", "2/3 ok", or what happened to the cell
    reason: str | None
    repeats: int
    breaks: tuple[str, ...] = ()  # what keeps it from being compared with the point before
    changed: tuple[str, ...] = ()  # what else is compared: the plugin's code, the configuration behind a name
    level: bool = False  # a new level begins here


@dataclass(frozen=True)
class Series:
    """A model over time."""

    name: str
    points: tuple[Point, ...]

    @property
    def measured(self) -> list[Point]:
        """The points with a value."""
        return [point for point in self.points if point.value is not None]

    def stretches(self) -> list[list[int]]:
        """The places of points that may be compared with each other; a new one begins at each break."""
        found: list[list[int]] = []
        for place, point in enumerate(self.points):
            if point.breaks or not found:
                found.append([])
            found[-1].append(place)
        return found

    def levels(self) -> list[list[int]]:
        """The places of the measured points, level by level; a break begins a new one too."""
        found: list[list[int]] = []
        for stretch in self.stretches():
            found.append([])
            for place in stretch:
                if self.points[place].level:
                    found.append([])
                if self.points[place].value is not None:
                    found[-1].append(place)
        return [level for level in found if level]

    def moves(self) -> list[tuple[Point, float, float]]:
        """Where a new level begins: its first point, the mean of the level before, and its own."""
        levels = self.levels()
        return [
            (self.points[new[0]], self.mean(old), self.mean(new))
            for old, new in pairwise(levels)
            if self.points[new[0]].level
        ]

    def mean(self, places: Sequence[int]) -> float:
        """The mean of measured points."""
        return fmean(value for i in places if (value := self.points[i].value) is not None)


@dataclass(frozen=True)
class History:
    """A metric of several models over runs."""

    metric: Metric
    dataset: str
    split: str
    runs: tuple[Header, ...]  # those with a point, oldest first
    series: tuple[Series, ...]
    searched: bool  # whether change points were looked for
    left_out: tuple[tuple[str, str, int], ...] = ()  # other datasets and splits: cells with a value


def follow(
    runs: Sequence[Run],
    metric: Metric,
    models: Sequence[str] = (),
    dataset: str | None = None,
    split: str | None = None,
    since: str | None = None,
    find: Find | None = None,
) -> History:
    """The history of a metric; `UsageError` where nothing on record is asked for.

    models: selections; without any, all. dataset, split: as on record; by default those of the newest run
    with a value. since: a date or a commit on record. Searches are left out: their trials share no
    configuration with anything. find: tells where new levels begin (`changes.finder`).
    """
    ordered = sorted(runs, key=lambda run: (created(run.header), run.header.run_id))
    ordered = [run for run in beginning(ordered, since) if run.header.search is None]
    cells = [(run.header, group) for run in ordered for group in repeats(run.records)]
    cells = chosen(cells, models)
    data = [(group[0].dataset, group[0].split) for _, group in cells if value_of(metric, group) is not None]
    data = [pair for pair in data if dataset in (None, pair[0]) and split in (None, pair[1])]
    if not data:
        raise nothing(metric, cells, dataset, split)
    of = data[-1]
    found: dict[str, list[tuple[Point, Record, str]]] = {}
    for header, group in cells:
        if (group[0].dataset, group[0].split) == of:
            made = point(metric, header, group), group[0], header.contract
            found.setdefault(name_of(group[0]), []).append(made)
    series = tuple(linked(name, points, metric, find) for name, points in found.items())
    seen = {p.run_id for one in series for p in one.points}
    headers = tuple(run.header for run in ordered if run.header.run_id in seen)
    left = Counter(pair for pair in data if pair != of)
    return History(
        metric, *of, headers, series, find is not None, tuple((*pair, n) for pair, n in sorted(left.items()))
    )


# ---- what is asked for


def chosen(cells: list[tuple[Header, Group]], models: Sequence[str]) -> list[tuple[Header, Group]]:
    """The cells that some item of `--models` chooses; `UsageError` where an item chooses none."""
    wanted = [(item, chooses(item)) for item in items(models)]
    for item, test in wanted:
        if not any(test(group[0]) for _, group in cells):
            names = {name for _, group in cells for name in (group[0].model, name_of(group[0]))}
            there = {name.partition(", ")[0] for name in names}  # a budget is nothing that an item says
            raise UnknownName("model", item, there, where=" on record")
    return [cell for cell in cells if not wanted or any(test(cell[1][0]) for _, test in wanted)]


def chooses(item: str) -> Callable[[Record], bool]:
    """Whether a record is one of `mlp`, `mlp@torch`, `mlp:context=3/5`, `all`, `*@numpy`.

    An item says what a record must have, not all that it has: `mlp` is every MLP on record.
    """
    head, _, options = item.partition(":")
    name, _, backend = (word.strip() for word in head.partition("@"))
    axes = axes_of(name, options)

    def test(record: Record) -> bool:
        have = record.config | record.options  # the preset stands in the options alone
        return (
            name in ("all", "*", record.model)
            and backend in ("", "*", record.backend)
            and all(key in have and brief(have[key]) in values for key, values in axes.items())
        ) or item == name_of(record)

    return test


def beginning(runs: Sequence[Run], since: str | None) -> Sequence[Run]:
    """The runs from a date on (UTC where it names no zone), or from the first one of a commit on."""
    if since is None:
        return runs
    try:
        start = moment(since)
    except ValueError:
        pass
    else:
        return [run for run in runs if created(run.header) >= start]
    if COMMIT.fullmatch(since):
        for place, run in enumerate(runs):
            if (commit_of(run.header) or "").startswith(since):
                return runs[place:]
    raise UsageError(f"--since {since!a} is neither a date (2026-11-22) nor a commit of a run on record")


def nothing(
    metric: Metric, cells: Sequence[tuple[Header, Group]], dataset: str | None, split: str | None
) -> UsageError:
    """Why there is no history, and what there is."""
    on = [f"on {kind} {name!a}" for kind, name in (("dataset", dataset), ("split", split)) if name]
    there = dict.fromkeys(f"{group[0].dataset} / {group[0].split}" for _, group in cells)
    held = f"; on record: {', '.join(there)}" if there else ""
    return UsageError(" ".join([f"no run holds {metric.key}", *on]) + held)


def moment(text: str) -> datetime:
    """A time as ISO 8601 writes it, UTC where it names no zone; `ValueError` where it is none."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def created(header: Header) -> datetime:
    """When a run began; of a foreign file that does not tell it, before all others."""
    try:
        return moment(header.created)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


# ---- points


def name_of(record: Record) -> str:
    """What makes points one series: the selection that chooses the model, and a budget not its own."""
    return called(record, repeat=False) + ("" if record.budget == "default" else f", budget {record.budget}")


def value_of(metric: Metric, group: Group) -> float | None:
    """The mean over repeats; None where one of those that are ok lacks it, or none is ok."""
    found = [metric.read(record) for record in group if record.status == "ok"]
    values = [value for value in found if value is not None]
    return fmean(values) if values and len(values) == len(found) else None


def point(metric: Metric, header: Header, group: Group) -> Point:
    """What a run says of a model."""
    value = value_of(metric, group)
    statuses = [record.status for record in group]
    ok = statuses.count("ok")
    status: str = statuses[0] if len(set(statuses)) == 1 else f"{ok}/{len(group)} ok"
    reasons = [record.reason for record in group if record.reason]
    if ok and value is None:
        status = "p = 0" if any(metric.impossible(record) for record in group) else "not measured"
        reasons += [why for record in group if (why := record.absent.get(metric.key))]
    why = "; ".join(dict.fromkeys(reasons)) or None
    return Point(header.run_id, header.created, commit_of(header), value, status, why, len(group))


def commit_of(header: Header) -> str | None:
    """The commit of the working directory of a run, where it was in git."""
    found = header.environment.get("commit")
    return found if isinstance(found, str) else None


def linked(
    name: str, found: Sequence[tuple[Point, Record, str]], metric: Metric, find: Find | None
) -> Series:
    """The points as a series: each with what differs from the one before, and the levels."""
    points = [found[0][0]]
    for (_, old, old_contract), (new_point, new, contract) in pairwise(found):
        breaks = [*apart(old, new, metric), *(["contract"] if contract != old_contract else [])]
        points.append(replace(new_point, breaks=tuple(breaks), changed=tuple(altered(old, new))))
    series = Series(name, tuple(points))
    if find is None:
        return series
    for stretch in series.stretches():
        measured = [(i, value) for i in stretch if (value := points[i].value) is not None]
        for place in find([value for _, value in measured]):
            i = measured[place][0]
            points[i] = replace(points[i], level=True)
    return Series(name, tuple(points))


def apart(old: Record, new: Record, metric: Metric) -> Iterator[str]:
    """What makes two values two measurements."""
    if old.data.dataset_sha256 != new.data.dataset_sha256:
        yield "data"
    elif old.data.split_fingerprint != new.data.split_fingerprint:  # other data is another split, too
        yield "split"
    if metric.machine and any(old.environment.get(key) != new.environment.get(key) for key in MACHINE):
        yield "machine"


def altered(old: Record, new: Record) -> Iterator[str]:
    """What makes them values of two things: a history is kept to see what that did."""
    hashes = (old.plugin.code_hash, new.plugin.code_hash)
    if None not in hashes and hashes[0] != hashes[1]:
        yield "code"
    if old.config != new.config:  # under one name: a default has changed
        yield "configuration"
