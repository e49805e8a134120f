"""What a change did: the cells of base and head, matched and judged by the rule of the gate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

import numpy as np

from harness import gate
from harness.compare import Arrays, Scores, kept, repeats
from harness.gate import Answer, Finding, Thresholds
from harness.labels import called
from harness.record import Record
from harness.statistics import Float64s

Pairs = Sequence[tuple[Record, Record]]  # (base, head) of each interleaved pair, in order


@dataclass(frozen=True)
class Metric:
    """What is read from a sample: less is better."""

    value: Callable[[Record], float | None]
    size: Callable[[Record], float | None]  # of what was measured: below `least` it is too small to compare
    least: float
    unit: str


def inverse(rate: float | None) -> float | None:
    """Characters a second -> seconds a character."""
    return 1 / rate if rate else None


def one_pass(record: Record) -> float | None:
    """Seconds that one pass over the test part takes: of some of them throughput is the median."""
    rate = record.throughput.eval_chars_per_s
    return record.data.targets.get("test", 0) / rate if rate else None


METRICS = {
    "train": Metric(lambda r: r.timings.train_s, lambda r: r.timings.train_s, 0.05, "s"),
    "evaluate": Metric(lambda r: inverse(r.throughput.eval_chars_per_s), one_pass, 0.001, "s"),
    "sample": Metric(
        lambda r: inverse(r.throughput.sample_chars_per_s), lambda r: r.timings.sample_s, 0.05, "s"
    ),
    "memory": Metric(lambda r: r.peak_rss_bytes, lambda r: r.peak_rss_bytes, 16e6, "bytes"),
}


@dataclass(frozen=True, eq=False)
class Side:
    """The records of one side, and how their scores are read."""

    source: str  # `run 20261122T…`
    contract: str
    records: Sequence[Record]
    scores: Scores = field(repr=False)
    closed: bool = True  # an open run may still get the cells that it lacks


@dataclass(frozen=True)
class Judged:
    """One metric of a cell: its values in base and head, and the answer."""

    metric: str  # "nll", or of METRICS
    finding: Finding
    base: float | None = None
    head: float | None = None


@dataclass(frozen=True)
class Cell:
    """A model that the baseline holds, all its seeds."""

    name: str
    seeds: int
    judged: tuple[Judged, ...]
    remarks: tuple[str, ...] = ()

    @property
    def answer(self) -> Answer:
        """Of all its metrics."""
        return gate.overall(each.finding.answer for each in self.judged)


@dataclass(frozen=True)
class Result:
    """Every cell of the baseline, and what else is worth a word."""

    cells: tuple[Cell, ...]
    remarks: tuple[str, ...] = ()

    @property
    def answer(self) -> Answer:
        """Of the whole change; INCONCLUSIVE where nothing was measured."""
        return gate.overall(cell.answer for cell in self.cells)


def judge(base: Side, head: Side, thresholds: Thresholds, pairs: Mapping[str, Pairs] | None = None) -> Result:
    """Each cell that is ok in base, beside the same in head; pairs: by the names of cells."""
    found: dict[str, list[tuple[Record, ...]]] = {}
    for group in repeats(head.records):
        found.setdefault(name_of(group[0]), []).append(group)
    cells, remarks, seen = [], [], set()
    for group in repeats(base.records):
        name = name_of(group[0])
        seen.add(name)
        good = tuple(record for record in group if record.status == "ok")
        if good:
            cells.append(
                cell(name, base, good, head, found.get(name, []), thresholds, (pairs or {}).get(name))
            )
        else:
            remarks.append(f"{name}: not compared, {group[0].status} in base ({group[0].reason})")
    remarks += [f"{name}: new in head, nothing to compare it with" for name in found if name not in seen]
    return Result(tuple(cells), tuple(remarks))


def name_of(record: Record) -> str:
    """What matches base and head: `mlp@numpy:context=8`; a default that has changed is part of the change."""
    return called(record, repeat=False)


def cell(
    name: str,
    base: Side,
    good: Sequence[Record],
    head: Side,
    found: Sequence[Sequence[Record]],
    thresholds: Thresholds,
    pairs: Pairs | None,
) -> Cell:
    """One cell; good: its seeds that are ok in base; found: what head has of that name."""
    first = good[0]
    same = [group for group in found if (group[0].dataset, group[0].split) == (first.dataset, first.split)]
    group = next(iter([*same, *found]), None)
    if group is None:
        missing = Finding("FAIL", "missing in head, ok in base")
        if not head.closed:
            missing = Finding("INCONCLUSIVE", "not in head, whose run is open")
        return Cell(name, len(good), (Judged("nll", missing),))
    if wrong := unlike(base, first, head, group[0]):
        return Cell(name, len(good), (Judged("nll", Finding("INCONCLUSIVE", f"not comparable: {wrong}")),))
    by_repeat = {record.repeat: record for record in group}
    both = [(record, by_repeat[record.repeat]) for record in good if record.repeat in by_repeat]
    judged = (quality(base, head, both, thresholds), *measured(pairs or (), thresholds))
    return Cell(name, len(both), judged, (*remarks_of(good, both), *undeclared(both, judged[0])))


def unlike(base: Side, b: Record, head: Side, h: Record) -> str | None:
    """The first field that must agree and does not, with both values."""
    for what, mine, theirs in (
        ("contract version", base.contract, head.contract),
        ("dataset", b.dataset, h.dataset),
        ("dataset sha256", b.data.dataset_sha256, h.data.dataset_sha256),
        ("alphabet", b.data.alphabet, h.data.alphabet),
        ("split", b.split, h.split),
        ("split fingerprint", b.data.split_fingerprint, h.data.split_fingerprint),
        ("window", b.data.window, h.data.window),
        ("budget", b.budget, h.budget),
        ("rests on", b.rests_on, h.rests_on),
    ):
        if mine != theirs and None not in (mine, theirs):
            return f"{what}: {brief(mine)} in base, {brief(theirs)} in head"
    return None


def brief(value: object) -> str:
    """A value in a line; of a long one its beginning."""
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"


def remarks_of(good: Sequence[Record], both: Sequence[tuple[Record, Record]]) -> list[str]:
    """What a reader must know beside the figures."""
    found = []
    if len(both) < len(good):
        found.append(f"{len(both)} of the baseline's {len(good)} seeds were run in head")
    for record, other in both[:1]:
        keys = dict.fromkeys([*record.config, *other.config])
        changed = [key for key in keys if record.config.get(key) != other.config.get(key)]
        found += [
            f"default changed: {key} = {record.config.get(key)} in base, {other.config.get(key)} in head"
            for key in changed
        ]
    return found


def undeclared(both: Sequence[tuple[Record, Record]], found: Judged) -> list[str]:
    """The way out where seeds are missing and no spec says whether there is anything to repeat."""
    needed = found.finding.needed
    if needed is None or "seeds" not in needed.of or any(each.stochastic for each in both[0]):
        return []
    return [
        "its spec does not say whether its fit draws random numbers, so seeds count; where it draws none, "
        "stochastic=False in the ModelSpec of base and head leaves them out"
    ]


# ---- quality


def quality(base: Side, head: Side, both: Sequence[tuple[Record, Record]], thresholds: Thresholds) -> Judged:
    """The paired rule on the seeds that both sides have."""
    if not both:
        return Judged("nll", Finding("INCONCLUSIVE", "no seed of the baseline was run in head"))
    for _, record in both:
        if record.status == "skipped":
            return Judged("nll", Finding("INCONCLUSIVE", f"skipped in head: {record.reason}"))
        if record.status != "ok":
            return Judged("nll", Finding("FAIL", f"{record.status} in head, ok in base: {record.reason}"))
    stacked: list[Float64s] = []
    found: list[Arrays] = []
    for side, place in ((base, 0), (head, 1)):
        records = [pair[place] for pair in both]
        arrays = kept(records, side.scores)
        if arrays is None or any("test_sums" not in one for one in arrays):
            why = records[0].absent.get("test_nll", "they were not kept")
            return Judged("nll", Finding("INCONCLUSIVE", f"no test scores in {side.source}: {why}"))
        found += arrays
        stacked.append(np.stack([one["test_sums"] for one in arrays]))  # (R, G)
    lengths = found[0]["test_lengths"]
    if any(not np.array_equal(one["test_lengths"], lengths) for one in found):
        return Judged("nll", Finding("INCONCLUSIVE", "not comparable: targets of the test documents differ"))
    finding = gate.quality(
        stacked[0],
        stacked[1],
        lengths,
        found[0]["test_units"],
        thresholds,
        draws=any(record.stochastic is not False for record in both[0]),
        in_sample=both[0][0].data.in_sample,
    )
    nlls = [[pair[place].metrics.test_nll for pair in both] for place in (0, 1)]
    means = [None if None in side else fmean(nll for nll in side if nll is not None) for side in nlls]
    return Judged("nll", finding, *means)


# ---- speed and memory


def measured(pairs: Pairs, thresholds: Thresholds) -> list[Judged]:
    """Every metric of METRICS, where there are pairs."""
    if not pairs:
        return []
    for b, h in pairs:
        if b.status == "ok" and h.status not in ("ok", "skipped"):
            return [Judged("train", Finding("FAIL", f"{h.status} in head, ok in base: {h.reason}"))]
    whole = [(b, h) for b, h in pairs if b.status == h.status == "ok"]
    return [one_metric(name, whole, getattr(thresholds, name)) for name in METRICS]


def one_metric(name: str, pairs: Pairs, tolerated: float) -> Judged:
    """One metric over all pairs; without an answer where it is too small or not comparable."""
    metric = METRICS[name]
    values = [(metric.value(b), metric.value(h)) for b, h in pairs]
    whole = [(b, h) for b, h in values if b is not None and h is not None and min(b, h) > 0]
    if not whole:
        return Judged(name, Finding(None, "not compared: not measured"))
    levels = median(b for b, _ in whole), median(h for _, h in whole)
    if name == "train" and pairs[0][0].budget.removesuffix("s").replace(".", "").isdigit():
        return Judged(name, Finding(None, "not compared: the budget is wall clock"), *levels)
    sizes = [metric.size(record) or 0.0 for pair in pairs for record in pair]
    if median(sizes) < metric.least:
        small = f"{metric.least:g} s" if metric.unit == "s" else f"{metric.least / 1e6:.0f} MB"
        return Judged(name, Finding(None, f"not compared: below {small}"), *levels)
    return Judged(name, gate.slowdown([math.log(h / b) for b, h in whole], tolerated), *levels)


def open_still(pairs: Pairs, thresholds: Thresholds) -> bool:
    """Whether more pairs could change an answer."""
    return any(
        each.finding.answer == "INCONCLUSIVE" and each.finding.used < max(gate.LOOKS)
        for each in measured(pairs, thresholds)
    )
