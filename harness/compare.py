"""Which models can be told apart: pure functions of records and their per-document scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from harness.errors import StoreError
from harness.record import Record
from harness.statistics import (
    METHOD,
    Difference,
    Estimate,
    clusters,
    fold,
    mean_of_seeds,
    paired,
    ranks,
    standard_error,
    student,
)

Arrays = Mapping[str, Any]
Scores = Callable[[Record], Arrays | None]


@dataclass(frozen=True)
class Standing:
    """One row of a table: the repeats of a model, its rank, and how far it is behind the best."""

    records: tuple[Record, ...]
    test: Estimate | None = None  # None without a test part, and where p = 0 on a target of it
    dev: Estimate | None = None
    rank: int | None = None
    behind: Difference | None = None  # None for the best itself and where nothing can be paired
    behind_unseen: Difference | None = None  # the same on test documents that do not stand in train …
    behind_seen: Difference | None = None  # … and on those that do; None where all are of one kind

    @property
    def counted(self) -> tuple[Record, ...]:
        """The repeats that the figures are means of: those that are ok; all where none is."""
        return tuple(r for r in self.records if r.status == "ok") or self.records

    @property
    def record(self) -> Record:
        """The first repeat that counts."""
        return self.counted[0]

    @property
    def ok(self) -> int:
        """How many repeats are ok."""
        return sum(r.status == "ok" for r in self.records)

    @property
    def steady(self) -> bool:
        """Whether its model draws nothing, so that its one repeat stands for all seeds."""
        return len(self.records) == 1 and self.record.stochastic is False

    @property
    def infinite(self) -> bool:
        """Whether a test target had p = 0 in a repeat: the mean is then infinite too."""
        return any(r.infinite for r in self.counted)

    @property
    def excess(self) -> Estimate | None:
        """Behind the true source (synthetic data).

        Only the intervals of single seeds are on record. Over documents the standard error of a mean
        is never above the mean of the standard errors, which stands in for it.
        """
        found = [(r.metrics.excess, r.metrics.excess_half) for r in self.counted]
        values = [value for value, _ in found if value is not None]
        halves = [half for _, half in found if half is not None]
        if len(values) < len(found):
            return None
        if len(found) == 1:
            return Estimate(values[0], None, None, None, found[0][1], 1)
        units = self.record.data.units
        se = fmean(halves) / student(0.95, units - 1) if len(halves) == len(found) else None
        return fold(values, se, units)


def repeats(records: Iterable[Record]) -> list[tuple[Record, ...]]:
    """Records that differ only in their repeat, together; in the order of the first of each."""
    groups: dict[tuple[str, int], list[Record]] = {}
    seen: Counter[tuple[str, int]] = Counter()
    for r in records:
        options = (sorted(r.options.items()), sorted(r.config.items()))
        facts = repr((r.model, r.backend, options, r.dataset, r.split, r.data.split_fingerprint, r.budget))
        copy = seen[facts, r.repeat]  # the same repeat a second time begins a row of its own
        seen[facts, r.repeat] += 1
        groups.setdefault((facts, copy), []).append(r)
    return [tuple(sorted(group, key=lambda r: r.repeat)) for group in groups.values()]


def standings(records: Sequence[Record], scores: Scores, *, each_seed: bool = False) -> list[Standing]:
    """Rows in the order of a table: by test NLL, then p = 0, then those without a score.

    The repeats of a model are one row, unless `each_seed`. Rows of an in-sample split get no rank,
    and none does where the scores of one were not kept.
    """
    groups = [(record,) for record in records] if each_seed else repeats(records)
    finite: list[tuple[float, int, Standing, list[Arrays] | None]] = []
    unscored: list[Standing] = []
    broken: list[Standing] = []
    for group in groups:
        row = Standing(group)
        if not row.ok:
            broken.append(row)
            continue
        arrays = kept(row.counted, scores)
        test, dev = (estimate(part, row.counted, arrays) for part in ("test", "dev"))
        row = replace(row, test=test, dev=dev)
        if test is None:
            unscored.append(row)
        else:
            finite.append((test.nats, row.record.cell, row, arrays))
    finite.sort(key=lambda found: found[:2])
    unscored.sort(key=lambda row: (not row.infinite, row.dev.nats if row.dev else 0.0, row.record.cell))
    rows = [row for _, _, row, _ in finite]
    found = [arrays for _, _, _, arrays in finite if arrays is not None]
    if rows and len(found) == len(rows) and not any(row.record.data.in_sample for row in rows):
        rows = ranked(rows, found)
        last = len(rows) + 1  # p = 0 on a target is infinitely bad: behind every finite row
        unscored = [replace(row, rank=last) if row.infinite else row for row in unscored]
    return rows + unscored + broken


def ranked(rows: Sequence[Standing], arrays: Sequence[Sequence[Arrays]]) -> list[Standing]:
    """Rows, best first, with their ranks and distances; arrays: the scores of each row's repeats.

    A model that draws nothing is compared as one with many seeds that all score the same. `StoreError`
    where the rows hold scores of different numbers of documents.
    """
    refuse_unlike([one for found in arrays for one in found], "test")
    sums = [
        np.stack([one["test_sums"] for one in found] * (METHOD if row.steady else 1))  # (R, G)
        for row, found in zip(rows, arrays, strict=True)
    ]
    lengths, units = arrays[0][0]["test_lengths"], arrays[0][0]["test_units"]
    places = ranks(sums, lengths, units)
    rest = [
        replace(
            row,
            rank=place,
            behind=paired(own, sums[0], lengths, units),
            behind_unseen=among(own, sums[0], arrays[0][0], seen=False),
            behind_seen=among(own, sums[0], arrays[0][0], seen=True),
        )
        for row, place, own in zip(rows[1:], places[1:], sums[1:], strict=True)
    ]
    return [replace(rows[0], rank=places[0]), *rest]


def among(own: Any, best: Any, arrays: Arrays, *, seen: bool) -> Difference | None:
    """The paired difference on test documents that stand in train, or on those that do not.

    own, best (R, G). None where all documents are of one kind, or the run is too old to tell them.
    """
    kind = arrays.get("test_seen")
    if kind is None or not 0 < kind.sum() < len(kind):
        return None
    some = kind == seen
    return paired(own[:, some], best[:, some], arrays["test_lengths"][some], arrays["test_units"][some])


def refuse_unlike(arrays: Sequence[Arrays], part: str) -> None:
    """`StoreError` where the scores of a part are not of as many documents everywhere."""
    sizes = {len(one[f"{part}_sums"]) for one in arrays}
    if len(sizes) > 1:
        counts = " and ".join(f"{size:,}" for size in sorted(sizes))
        raise StoreError(f"stored scores of {part} are of {counts} documents: harness verify names the rows")


def kept(records: Sequence[Record], scores: Scores) -> list[Arrays] | None:
    """The scores of all these records; None where those of one were not kept."""
    found = [scores(record) for record in records]
    whole = [arrays for arrays in found if arrays is not None]
    return whole if len(whole) == len(found) else None


def estimate(part: str, records: Sequence[Record], arrays: Sequence[Arrays] | None) -> Estimate | None:
    """The NLL of `dev` or `test`, the mean over repeats; None where a repeat has none.

    A lone record has its interval on record. The interval of a mean needs the scores of all.
    """
    metrics = [record.metrics for record in records]
    nlls = [getattr(m, f"{part}_nll") for m in metrics]
    if None in nlls:
        return None
    if len(nlls) == 1:
        se, half = getattr(metrics[0], f"{part}_nll_se"), getattr(metrics[0], f"{part}_nll_half")
        return Estimate(nlls[0], se, None, se, half, 1)
    if arrays is None:
        return fold(nlls, None, 0)
    refuse_unlike(arrays, part)
    mean = mean_of_seeds(np.stack([one[f"{part}_sums"] for one in arrays]))  # (G,)
    sums, lengths = clusters(mean, arrays[0][f"{part}_lengths"], arrays[0][f"{part}_units"])
    return fold(nlls, standard_error(sums, lengths), len(sums))
