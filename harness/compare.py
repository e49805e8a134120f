"""Which models can be told apart: pure functions of records and their per-document scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.record import Record
from harness.statistics import Difference, paired, ranks

Scores = Callable[[Record], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Standing:
    """One row of a table: its rank, and how far it is behind the best, paired on test."""

    record: Record
    rank: int | None = None
    behind: Difference | None = None  # None for the best itself and where nothing can be paired


def standings(records: Sequence[Record], scores: Scores) -> list[Standing]:
    """Rows in the order of a table: by test NLL, then p = 0, then those without a score.

    Rows of an in-sample split and rows whose scores were not kept get no rank.
    """
    finite = sorted(
        (r for r in records if r.status == "ok" and r.metrics.test_nll is not None),
        key=lambda r: (r.metrics.test_nll, r.cell),
    )
    unscored = [r for r in records if r.status == "ok" and r.metrics.test_nll is None]
    unscored.sort(key=lambda r: (not r.infinite, r.metrics.dev_nll or 0.0, r.cell))
    broken = [r for r in records if r.status != "ok"]
    rest = [Standing(record) for record in (*unscored, *broken)]
    if any(record.data.in_sample for record in finite):
        return [Standing(record) for record in finite] + rest
    kept = [scores(record) for record in finite]
    if not finite or any(arrays is None for arrays in kept):
        return [Standing(record) for record in finite] + rest
    arrays = [found for found in kept if found is not None]
    sums = [found["test_sums"] for found in arrays]
    lengths, units = arrays[0]["test_lengths"], arrays[0]["test_units"]
    places = ranks(sums, lengths, units)
    rows = [Standing(finite[0], places[0])]
    for record, place, own in zip(finite[1:], places[1:], sums[1:], strict=True):
        rows.append(Standing(record, place, paired(own, sums[0], lengths, units)))
    last = len(finite) + 1  # p = 0 on a target is infinitely bad: behind every finite row
    return rows + [Standing(s.record, last) if s.record.infinite else s for s in rest]
