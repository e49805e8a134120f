"""The figures of a record again, from what they rest on: scores, samples, parameters and data.

Every function takes a record and what it rests on and yields a `Check` for each figure that it derives
again, and a `Gap` for what it cannot. Same code and same numbers give the same bits, so a stored figure
that is off by one unit in the last place differs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from harness import evaluate, measure, sample, statistics
from harness.held import Held
from harness.record import Metrics, Record
from harness.seeds import derive

PARTS = ("dev", "test")
CLOSE = 1e-12  # how far the last bits of exp, log and a t quantile may be apart on two machines


@dataclass(frozen=True)
class Check:
    """A figure as it is stored and as it comes out again."""

    field: str  # of the record, or of its row in the table
    stored: object
    derived: object
    source: str  # what it was derived from
    near: bool = False  # went through exp, log or a quantile

    def holds(self, *, exact: bool = True) -> bool:
        """Whether the two are equal; figures that are `near` may differ by 1e-12 where not `exact`."""
        if self.stored == self.derived:
            return True
        a, b = self.stored, self.derived
        if exact or not self.near or not isinstance(a, float) or not isinstance(b, float):
            return False
        return math.isclose(a, b, rel_tol=CLOSE, abs_tol=CLOSE)

    @property
    def empty(self) -> bool:
        """Whether there is nothing on either side."""
        return self.stored is None and self.derived is None


@dataclass(frozen=True)
class Gap:
    """What could not be derived, and why."""

    field: str
    reason: str


Outcomes = Iterator[Check | Gap]


# ---- from the scores


def odd(arrays: Mapping[str, Any], part: str) -> str | None:
    """What is wrong with the arrays of a part before anything is computed from them, or None."""
    sums = arrays[f"{part}_sums"]
    named = [f"{part}_lengths", f"{part}_units"] + [f"{part}_seen"] * (f"{part}_seen" in arrays)
    if any(name not in arrays or arrays[name].shape != sums.shape for name in named) or sums.ndim != 1:
        return "arrays of different lengths"
    if sums.dtype.kind != "f" or any(arrays[name].dtype.kind not in "iub" for name in named):
        return "arrays of another type"
    if np.isnan(sums).any() or (sums < -1e-6).any():
        return "a sum of −ln p that is negative or NaN"
    if len(sums) and arrays[f"{part}_lengths"].min() < 1:
        return "a document without targets"
    return None


def derived_metrics(arrays: Mapping[str, Any]) -> Metrics:
    """Every metric of dev and test that per-document scores hold. Zeros are counted once a document."""
    metrics = Metrics()
    for part in PARTS:
        if f"{part}_sums" not in arrays:
            continue
        sums, lengths, units = (arrays[f"{part}_{name}"] for name in ("sums", "lengths", "units"))
        scores = evaluate.Scores(sums, lengths, int(np.isinf(sums).sum()))
        measure.fill(metrics, part, scores, units, arrays.get(f"{part}_seen"))
    return metrics


def of_scores(record: Record, arrays: Mapping[str, Any], derived: Metrics) -> Outcomes:
    """NLL, standard errors, half intervals, bits, perplexity, seen and unseen, zeros, sizes."""
    lines = not record.data.window
    for name in Metrics.__struct_fields__:
        part = name.partition("_")[0]
        if part not in PARTS:
            continue
        old = lines and f"{part}_sums" in arrays and f"{part}_seen" not in arrays
        if old and name.endswith(("seen", "document")):
            yield Gap(f"metrics.{name}", "the run is too old to hold which documents stand in train")
            continue
        near = name.endswith(("half", "perplexity"))
        yield Check(f"metrics.{name}", getattr(record.metrics, name), getattr(derived, name), "scores", near)
    for part in PARTS:
        yield from of_zeros(record, arrays, part)
        if f"{part}_sums" in arrays:
            yield from of_sizes(record, arrays, part)
    reason = "scores of training documents are not kept: --rerun fits the row again"
    if record.metrics.train_nll is not None:
        yield Gap("metrics.train_nll", reason)
    if "train" in record.metrics.zero_probability:
        yield Gap("metrics.zero_probability.train", reason)


def of_zeros(record: Record, arrays: Mapping[str, Any], part: str) -> Outcomes:
    """The targets with p = 0: exact where there are none, else between two bounds."""
    name, stored = f"metrics.zero_probability.{part}", record.metrics.zero_probability.get(part)
    infinite = np.isinf(arrays.get(f"{part}_sums", np.zeros(0)))
    if not infinite.any():
        yield Check(name, stored, 0 if f"{part}_sums" in arrays else None, "scores")
        return
    least, most = int(infinite.sum()), int(arrays[f"{part}_lengths"][infinite].sum())
    if stored is not None and least <= stored <= most:
        yield Gap(name, f"the scores say {least:,} to {most:,}: --rerun counts them again")
    else:
        yield Check(name, stored, f"{least} to {most}", "scores")


def of_sizes(record: Record, arrays: Mapping[str, Any], part: str) -> Outcomes:
    """What the scores say of a part's size."""
    data = record.data
    yield Check(
        f"data.targets.{part}", data.targets.get(part), int(arrays[f"{part}_lengths"].sum()), "scores"
    )
    if not data.window:
        yield Check(f"data.documents.{part}", data.documents.get(part), len(arrays[f"{part}_sums"]), "scores")
        if f"{part}_seen" in arrays:
            seen = int(arrays[f"{part}_seen"].sum())
            yield Check(f"data.overlap.{part}", data.overlap.get(part), seen, "scores")
    if part == "test":
        yield Check("data.units", data.units, len(np.unique(arrays["test_units"])), "scores")


# ---- from the data


def of_data(record: Record, arrays: Mapping[str, Any], held: Held) -> Outcomes:
    """Sizes, overlap and fingerprint of the split; which documents the scores are of."""
    parts, data = held.parts, record.data
    corpora = {"train": parts.train, "dev": parts.dev.corpus, "test": parts.test.corpus}
    entropy = getattr(held.dataset.true_source, "entropy_rate", None)
    expected: dict[str, object] = {
        "dataset_sha256": held.dataset.sha256,
        "split_fingerprint": parts.fingerprint,
        "vocabulary": held.dataset.alphabet.size,
        "units": measure.units_in(parts.test),
        "in_sample": parts.in_sample,
    }
    if data.alphabet is not None:  # an old run
        expected["alphabet"] = held.dataset.alphabet.characters
    for name, value in expected.items():
        yield Check(f"data.{name}", getattr(data, name), value, "data")
    rate = None if entropy is None else entropy()
    yield Check("data.entropy_rate", data.entropy_rate, rate, "data", near=True)
    sizes = {
        "documents": {part: len(corpus) for part, corpus in corpora.items()},
        "targets": {part: corpus.targets for part, corpus in corpora.items()},
        "overlap": parts.overlap(),
    }
    for name, by_part in sizes.items():
        for part, value in by_part.items():
            yield Check(f"data.{name}.{part}", getattr(data, name).get(part), value, "data")
    for part, found in (("dev", parts.dev), ("test", parts.test)):
        if f"{part}_sums" not in arrays:
            continue
        text = found.corpus.kind == "text"
        lengths = evaluate.in_blocks(np.zeros(found.corpus.targets)).lengths if text else found.corpus.lengths
        yield same(f"scores.{part}_lengths", arrays[f"{part}_lengths"], lengths)
        units = np.arange(len(lengths)) if text else found.units
        yield same(f"scores.{part}_units", arrays[f"{part}_units"], units)
        if f"{part}_seen" in arrays:
            yield same(f"scores.{part}_seen", arrays[f"{part}_seen"], found.seen)


def same(name: str, stored: Any, derived: Any, source: str = "data") -> Check:
    """Two arrays; the first place where they differ stands for the rest."""
    if stored.shape != derived.shape or stored.dtype.kind != derived.dtype.kind:
        return Check(name, f"{stored.dtype}{stored.shape}", f"{derived.dtype}{derived.shape}", source)
    a, b = np.ravel(stored), np.ravel(derived)
    apart = np.flatnonzero((a != b) & ~((a != a) & (b != b)))
    if not len(apart):
        return Check(name, "equal", "equal", source)
    where = int(apart[0])
    return Check(name, f"[{where}] = {a[where]}", f"{b[where]}, {len(apart):,} places differ", source)


def of_truth(record: Record, arrays: Mapping[str, Any], truth: evaluate.Scores | None) -> Outcomes:
    """The excess over the true source, paired with its own scores."""
    excess, half = None, None
    if truth is not None and "test_sums" in arrays and np.isfinite(arrays["test_sums"]).all():
        if len(truth.sums) != len(arrays["test_sums"]):
            return  # other documents: `of_data` says so
        found = statistics.paired(arrays["test_sums"], truth.sums, truth.lengths, arrays["test_units"])
        excess, half = found.nats, found.half
    yield Check("metrics.excess", record.metrics.excess, excess, "scores and the true source", near=True)
    yield Check(
        "metrics.excess_half", record.metrics.excess_half, half, "scores and the true source", near=True
    )


# ---- from samples and parameters


def of_samples(record: Record, texts: list[str], reference: sample.Reference) -> Outcomes:
    """Every statistic of the samples and of the real documents beside them."""
    if record.sample_statistics is None:
        yield Gap("sample_statistics", "the run is too old to hold them")
        return
    if not texts:
        yield Check("samples", "none", "at least one", "samples")
        return
    drawn = sample.Drawn(texts, record.sample_seed or 0, 0, 0.0, 0)
    derived = flat(sample.statistics(drawn, reference), "sample_statistics")
    stored = flat(record.sample_statistics, "sample_statistics")
    for name in [*derived, *(name for name in stored if name not in derived)]:
        near = name.endswith("gram_distance")
        yield Check(name, stored.get(name), derived.get(name), "samples and data", near)
    yield Check("sample_seed", record.sample_seed, derive(record.seed, "sample"), "seed")


def flat(struct: msgspec.Struct, prefix: str) -> dict[str, object]:
    """`a.b.c` -> value, for all that stands in a struct."""
    found: dict[str, object] = {}

    def walk(value: object, name: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{name}.{key}")
        else:
            found[name] = value

    walk(msgspec.to_builtins(struct), prefix)
    return found


def of_params(record: Record, params: Mapping[str, Any]) -> Outcomes:
    """How many numbers the parameters hold."""
    yield Check("parameters", record.parameters, sum(value.size for value in params.values()), "parameters")


# ---- from the record alone


def of_itself(record: Record) -> Outcomes:
    """What a record says twice, that no measure is below 0, and that a row which is not ok has no score."""
    measures = flat(record.timings, "timings") | flat(record.throughput, "throughput")
    measures |= {"parameters": record.parameters, "peak_rss_bytes": record.peak_rss_bytes}
    for name, measured in measures.items():
        if isinstance(measured, (int, float)) and not (math.isfinite(measured) and measured >= 0):
            yield Check(name, measured, "0 or above", "what a measure can be")
    if record.target is not None:
        derived = measure.to_target(record, record.target.nll)
        stored = flat(record.target, "target")
        for name, value in flat(derived, "target").items():
            yield Check(name, stored[name], value, "learning curve")
    if record.status == "ok":
        return
    stored = flat(record.metrics, "metrics") | {
        "samples": record.samples,
        "scores": record.scores,
        "sample_statistics": None if record.sample_statistics is None else "some",
    }
    for name, value in stored.items():
        yield Check(name, value, None, f"status {record.status}")


def findings(outcomes: Iterable[Check | Gap], *, exact: bool = True) -> list[Check]:
    """The figures that differ, each field once."""
    wrong = [each for each in outcomes if isinstance(each, Check) and not each.holds(exact=exact)]
    return list({each.field: each for each in reversed(wrong)}.values())[::-1]
