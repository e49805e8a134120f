"""The figures of a row, read from its records: means over its repeats, None where one of them lacks it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean

from harness.compare import Standing
from harness.record import Record

Value = Callable[[Standing], float | None]


def mean(read: Callable[[Record], float | None]) -> Value:
    """The mean over repeats; None where one of them lacks it."""

    def value(row: Standing) -> float | None:
        found = [read(record) for record in row.counted]
        known = [figure for figure in found if figure is not None]
        return fmean(known) if len(known) == len(found) else None

    return value


def largest(read: Callable[[Record], int | None]) -> Callable[[Standing], int | None]:
    """The largest of the repeats."""

    def value(row: Standing) -> int | None:
        return max((n for record in row.counted if (n := read(record)) is not None), default=None)

    return value


def metric(name: str) -> Value:
    """A metric on record."""
    return mean(lambda record: getattr(record.metrics, name))


def nll(name: str) -> Value:
    """The NLL of train, dev or test; infinite where p = 0 on a target of it in any repeat."""
    finite = metric(f"{name}_nll")

    def value(row: Standing) -> float | None:
        impossible = any(r.metrics.zero_probability.get(name, 0) for r in row.counted)
        return math.inf if impossible and finite(row) is None else finite(row)

    return value


def part(of: str, name: str) -> Value:
    """What stands in an estimate or a difference of the row: `part("test", "half")`."""

    def value(row: Standing) -> float | None:
        found = getattr(row, of)
        return None if found is None else getattr(found, name)

    return value


def timing(name: str) -> Value:
    """Seconds of a phase."""
    return mean(lambda record: getattr(record.timings, name))


def speed(name: str) -> Value:
    """Characters per second of a phase."""
    return mean(lambda record: getattr(record.throughput, name))


def zero_probability(record: Record) -> int | None:
    """Targets of test with p = 0."""
    return record.metrics.zero_probability.get("test")


def statistic(side: str, name: str) -> Value:
    """A statistic of the samples (`drawn`) or of as many held-out documents (`real`)."""

    def read(record: Record) -> float | None:
        found = getattr(record.sample_statistics, side, None)
        return None if found is None else getattr(found, name)

    return mean(read)


def to_target(row: Standing) -> float | None:
    """Training seconds to the target; None where a repeat did not come to it."""
    return mean(lambda record: None if record.target is None else record.target.seconds)(row)


def at_most(row: Standing) -> bool:
    """Whether those seconds are an upper bound, of one repeat at least."""
    return any(record.target is not None and record.target.bound for record in row.counted)


def bound(row: Standing) -> int | None:
    """The same as 0 or 1; None where there are no seconds."""
    return None if to_target(row) is None else int(at_most(row))


def target_title(rows: Sequence[Standing]) -> str:
    """`s to 2`, where the rows have one target."""
    found = {record.target.nll for row in rows for record in row.records if record.target is not None}
    return f"s to {found.pop():g}" if len(found) == 1 else "s to target"


def bits(row: Standing) -> float | None:
    """Test NLL in bits per character."""
    nats = nll("test")(row)
    return None if nats is None else nats / math.log(2)


def perplexity(row: Standing) -> float | None:
    """Of the test NLL."""
    nats = nll("test")(row)
    return None if nats is None else math.exp(nats) if nats < 700 else math.inf


def status(row: Standing) -> str:
    """The status of all repeats, else how many of them are ok."""
    found = {record.status for record in row.records}
    return row.record.status if len(found) == 1 else f"{row.ok}/{len(row.records)} ok"


def reason(row: Standing) -> str | None:
    """Why repeats are not ok."""
    return "; ".join(dict.fromkeys(r.reason for r in row.records if r.reason)) or None


def rests_on(row: Standing) -> str | None:
    """What its NLL rests on: `scored live`, a file of scores, a code length; of none nothing."""
    return "; ".join(dict.fromkeys(r.rests_on for r in row.counted if r.status == "ok")) or None


def audited(row: Standing) -> str | None:
    """`13/13`, or the checks that failed; None where there is no certificate."""
    found = row.record.audit
    if found is None:
        return None
    if found.failed:
        return f"failed: {', '.join(found.failed)}"
    return f"{found.passed}/{found.passed}"


def audit_date(row: Standing) -> str | None:
    """The day of the certificate."""
    return None if row.record.audit is None else row.record.audit.date
