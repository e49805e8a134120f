"""The numeric fields of a record, by key: what a history follows and other tools' formats carry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import msgspec

from harness.errors import UnknownName
from harness.figures import ABSENT, fine_seconds, fixed, rate, scaled, short
from harness.record import DocumentStatistics, Metrics, Record, Throughput, Timings

Better = Literal["lower", "higher"]

UNITS = {  # by how a key ends; the first that fits
    "nll_document": "nats per document",
    "bits": "bits per character",
    "perplexity": "per character",
    "chars_per_s": "characters/s",
    "_s": "s",
    "bytes": "bytes",
    "parameters": "parameters",
    "mean_length": "characters",
    "length_distance": "characters",
    "_distance": "",
    "documents": "documents",
}
TEXTS: dict[str, Callable[[Any], str]] = {  # by unit
    "s": fine_seconds,
    "characters/s": rate,
    "bytes": lambda value: ABSENT if value is None else scaled(value, 4),
    "parameters": lambda value: ABSENT if value is None else f"{value:,.0f}",
    "targets": lambda value: ABSENT if value is None else f"{value:,.0f}",
    "documents": lambda value: ABSENT if value is None else f"{value:,.0f}",
}


@dataclass(frozen=True)
class Metric:
    """A numeric field: where it stands in a record, its unit, and which way is better, where one is."""

    key: str
    unit: str
    read: Callable[[Record], float | None]
    better: Better | None = None
    machine: bool = False  # it hangs on the machine: times, throughput, memory

    def text(self, value: float | None) -> str:
        """A value as a table prints it."""
        return TEXTS.get(self.unit, fixed)(value)

    def difference(self, before: float, after: float) -> str:
        """How far a value moved: what hangs on the machine in percent, all else in its own unit."""
        if self.machine and before > 0:
            return f"{100 * (after / before - 1):+.1f} %"
        size = abs(after - before)
        shown = TEXTS.get(self.unit, short)(size)
        return f"{'-' if after < before else '+'}{shown}"

    def impossible(self, record: Record) -> bool:
        """Whether it is infinite: of an NLL where a target of its part has p = 0."""
        impossible = record.metrics.zero_probability.get(self.key.partition("_")[0], 0) > 0
        return record.status == "ok" and impossible and self.read(record) is None


def unit_of(key: str, default: str) -> str:
    """The unit that a key's end says."""
    return next((unit for end, unit in UNITS.items() if key.endswith(end)), default)


def inside(part: str, name: str, record: Record) -> float | None:
    """A field of one of the record's structs."""
    value: float | None = getattr(getattr(record, part), name)
    return value


def drawn(name: str, record: Record) -> float | None:
    """A statistic of the samples."""
    found = record.sample_statistics
    return None if found is None else getattr(found.drawn, name)


def zero(part: str, record: Record) -> float | None:
    """Targets of a part with p = 0."""
    return record.metrics.zero_probability.get(part)


def to_target(record: Record) -> float | None:
    """Training seconds to the target; None where there is none, or it was not reached."""
    return None if record.target is None else record.target.seconds


def numbers(struct: type[msgspec.Struct]) -> list[str]:
    """The fields of a struct that hold a number or null, in its order."""
    kinds = {int, float, float | None, int | None}
    return [field.name for field in msgspec.structs.fields(struct) if field.type in kinds]


def known() -> Iterable[Metric]:
    """Every numeric field: a field that is added to a record is one more."""
    for name in numbers(Metrics):
        spread = name.endswith(("_se", "_half"))  # smaller is surer, not better
        unit = "nats per character" if spread else unit_of(name, "nats per character")
        yield Metric(name, unit, partial(inside, "metrics", name), None if spread else "lower")
    for part in ("train", "dev", "test"):
        yield Metric(f"zero_probability_{part}", "targets", partial(zero, part), "lower")
    for name in numbers(Timings):
        yield Metric(name, "s", partial(inside, "timings", name), "lower", machine=True)
    yield Metric("to_target_s", "s", to_target, "lower", machine=True)
    for name in numbers(Throughput):
        yield Metric(name, "characters/s", partial(inside, "throughput", name), "higher", machine=True)
    yield Metric("parameters", "parameters", lambda record: record.parameters)
    yield Metric("peak_rss_bytes", "bytes", lambda record: record.peak_rss_bytes, "lower", machine=True)
    for name in numbers(DocumentStatistics):
        yield Metric(f"sample_{name}", unit_of(name, "share"), partial(drawn, name))


METRICS = {metric.key: metric for metric in known()}


def metric(key: str) -> Metric:
    """The metric of that key, dashes as good as underscores; `UnknownName` with the nearest."""
    name = key.replace("-", "_")
    if name not in METRICS:
        raise UnknownName("metric", key, METRICS)
    return METRICS[name]
