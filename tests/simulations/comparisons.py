"""What intervals and tests of `harness compare` do on resampled real scores, beside what they promise.

    python tests/simulations/comparisons.py             the full form: some minutes
    python tests/simulations/comparisons.py --short     a few seconds, as in the tests

Population: the dev and test names of the embedded dataset, with the scores of `count-bigram` and `ngram`
fitted on its train part. A sample is G of these documents drawn with replacement, each a unit of its own.
The product's functions are called on every sample; what is true is known from the population.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

import harness
from harness import formats
from harness.figures import ABSENT
from harness.formats import Cells
from harness.pairs import draws_for
from harness.statistics import (
    Difference,
    benjamini_hochberg,
    half_interval,
    holm,
    paired,
    sign_flips,
    standard_error,
)

Float64s = NDArray[np.float64]
LEVEL = 0.05
MODELS = 20
SAMPLES_AT_ONCE = 500  # whose sign flips share one product


@dataclass(frozen=True)
class Form:
    """How much is simulated."""

    sizes: tuple[int, ...]  # documents G of a sample
    coverage: int  # samples a size, for each kind of interval
    nulls: int  # pairs without a difference, a size
    tables: int  # of 20 models
    documents: int  # in such a table
    flips: int  # sign flips


FULL = Form((20, 50, 100, 300, 1000, 3000), 10_000, 5_000, 1_000, 200, 9_999)
SHORT = Form((20, 300), 1_000, 400, 25, 100, 499)


@dataclass(frozen=True)
class Row:
    """One figure of the table beside its bound."""

    what: str
    size: int  # documents a sample
    value: float
    low: float | None
    high: float
    samples: int
    error: float | None = None  # standard error of the simulation

    @property
    def kept(self) -> bool:
        """Whether the bound holds."""
        return (self.low is None or self.low <= self.value) and self.value <= self.high


@dataclass(frozen=True, eq=False)
class Population:
    """Real documents with the scores of two models."""

    a: Float64s  # (N,) −ln p of a document under count-bigram
    b: Float64s  # (N,) under ngram
    lengths: Float64s  # (N,) targets

    def null(self) -> Float64s:
        """B's scores with A's differences to them, made to vanish on average: as good as B, no better."""
        return self.b + centred(self.a - self.b, self.lengths)


def centred(sums: Float64s, lengths: Float64s) -> Float64s:
    """Sums (N,) from which their NLL was taken, character by character: they add up to 0."""
    centre: Float64s = sums - sums.sum() / lengths.sum() * lengths
    return centre


def population() -> Population:
    """The dev and test names, scored by models that were fitted on train; equal names stand once."""
    with tempfile.TemporaryDirectory() as folder:
        done = harness.run("count-bigram,ngram", dataset="names", results=folder, in_process=True)
        kept = {record.model: done.run.scores(record) for record in done.records}
    a, b = kept["count-bigram"], kept["ngram"]
    assert a is not None
    assert b is not None
    units = np.concatenate([a["dev_units"], a["test_units"]])
    _, first = np.unique(units, return_index=True)
    sums_a, sums_b, lengths = (
        np.concatenate([arrays[f"{part}_{name}"] for part in ("dev", "test")])[first].astype(np.float64)
        for arrays, name in ((a, "sums"), (b, "sums"), (a, "lengths"))
    )
    return Population(sums_a, sums_b, lengths)


# ---- what is simulated


def coverage(form: Form, real: Population) -> Iterator[Row]:
    """How often a 95 % interval holds the truth: of an NLL, and of a paired difference."""
    for size in form.sizes:
        rng = np.random.default_rng([1, size])
        inside = dict.fromkeys(("count-bigram", "ngram", "difference"), 0)
        sums = {"count-bigram": real.a, "ngram": real.b, "difference": real.a - real.b}
        truth = {name: values.sum() / real.lengths.sum() for name, values in sums.items()}
        for _ in range(form.coverage):
            drawn = rng.integers(0, len(real.lengths), size)
            lengths = real.lengths[drawn]
            for name, values in sums.items():
                nll = values[drawn].sum() / lengths.sum()
                half = half_interval(standard_error(values[drawn], lengths), size)
                assert half is not None
                inside[name] += abs(nll - truth[name]) <= half
        for name, found in inside.items():
            yield share(f"coverage, {name}", size, found, form.coverage, 0.935, 0.965)


def share(what: str, size: int, found: int, of: int, low: float | None, high: float) -> Row:
    """A share with the standard error of the simulation."""
    value = float(found / of)
    return Row(what, size, value, low, high, of, math.sqrt(value * (1 - value) / of))


def nulls(form: Form, real: Population) -> Iterator[Row]:
    """Pairs without a difference: how often one is found; and what the printed effect is worth."""
    equal = real.null()
    for size in form.sizes:
        rng = np.random.default_rng([2, size])
        found: list[Difference] = []
        flipped: list[float] = []
        shifted: list[float] = []
        while len(found) < form.nulls:
            some = min(SAMPLES_AT_ONCE, form.nulls - len(found))
            drawn = rng.integers(0, len(real.lengths), (some, size))  # (S, G)
            a, b, lengths = equal[drawn], real.b[drawn], real.lengths[drawn]
            few = [paired(x, y, n) for x, y, n in zip(a, b, lengths, strict=True)]
            printed = np.array([one.detectable for one in few])
            found += few
            flipped += flips(a - b, form).tolist()
            shifted += flips(a - b + printed[:, None] * lengths, form).tolist()
        count = len(found)
        by_t = sum(one.p is not None and one.p <= LEVEL for one in found)
        yield share("type I error, t", size, by_t, count, 0.04, 0.06)
        yield share(
            "type I error, sign flips", size, int(sum(p <= LEVEL for p in flipped)), count, 0.04, 0.06
        )
        detectable = np.array([one.detectable for one in found])
        point = four_in_five(found)
        yield Row("printed effect ÷ 80 % point", size, float(np.median(detectable)) / point, 0.9, 1.1, count)
        power = int(sum(p <= LEVEL for p in shifted))
        yield share("power of sign flips there", size, power, count, None, 1.0)


def flips(differences: Float64s, form: Form) -> Float64s:
    """P of each row of differences (S, G), by sign flips that start anew, as in every comparison."""
    return sign_flips(differences, np.random.default_rng(0), form.flips)


def four_in_five(found: Sequence[Difference]) -> float:
    """The true difference that Student's t finds in 80 % of these samples.

    A difference of δ nats on every character moves d by δ and leaves its standard error as it is. So
    each sample says from which δ on it would be found, and the 80 % quantile is the answer.
    """
    needed = [(half_interval(d.se, d.cases) or 0.0) - d.nats for d in found]
    return float(np.quantile(needed, 0.8))


def tables(form: Form, real: Population) -> Iterator[Row]:
    """Twenty models on the same documents: false claims among all pairs, with Holm and with BH."""
    rng = np.random.default_rng(3)
    draws = max(form.flips, draws_for(math.comb(MODELS, 2)) if form is FULL else 0)
    scenes = {"20 equal": np.zeros(MODELS), "10 equal, 10 spread": steps()}
    for scene, shifts in scenes.items():
        models = many(real, shifts, rng)  # (20, N)
        pairs = list(combinations(range(MODELS), 2))
        any_false, false_share = 0, 0.0
        for _ in range(form.tables):
            drawn = rng.integers(0, len(real.lengths), form.documents)
            scores = models[:, drawn]  # (20, G)
            apart = np.stack([scores[i] - scores[j] for i, j in pairs])  # (190, G)
            p = sign_flips(apart, np.random.default_rng(0), draws).tolist()
            wrong = [
                shifts[i] == shifts[j] or (d.sum() < 0) != (shifts[i] < shifts[j])
                for (i, j), d in zip(pairs, apart, strict=True)
            ]
            any_false += claims(holm(p), wrong)[1] > 0
            screened = claims(benjamini_hochberg(p), wrong)
            false_share += screened[1] / max(1, screened[0])
        count, size = form.tables, form.documents
        yield share(f"{scene}: any false claim, Holm", size, any_false, count, None, 0.05)
        yield Row(f"{scene}: false share, BH", size, false_share / count, None, 0.05, count)


def claims(adjusted: Sequence[float], wrong: Sequence[bool]) -> tuple[int, int]:
    """How many pairs are claimed to differ, and how many of these claims are false."""
    claimed = [false for p, false in zip(adjusted, wrong, strict=True) if p <= LEVEL]
    return len(claimed), sum(claimed)


def steps() -> Float64s:
    """Ten models at 0 and ten from 0.01 to 0.1 nats behind."""
    return np.concatenate([np.zeros(MODELS // 2), np.linspace(0.01, 0.1, MODELS // 2)])


def many(real: Population, shifts: Float64s, rng: np.random.Generator) -> Float64s:
    """Models (M, N) whose true NLL is that of `ngram` plus a shift.

    Each has on every document its own error: per character half of what parts the two real models
    on a document drawn at random.
    """
    per_character = (real.a - real.b) / real.lengths  # (N,)
    models = []
    for shift in shifts:
        own = 0.5 * rng.permutation(per_character) * real.lengths
        models.append(real.b + centred(own, real.lengths) + shift * real.lengths)
    return np.stack(models)


# ---- the table

PARTS: tuple[Callable[[Form, Population], Iterator[Row]], ...] = (coverage, nulls, tables)


def simulate(form: Form, real: Population) -> list[Row]:
    """Every row."""
    return [row for part in PARTS for row in part(form, real)]


def show(rows: Sequence[Row], *, markdown: bool = False) -> str:
    """A line a quantity and a column a number of documents; what is not kept is named."""
    by_size: dict[tuple[int, ...], list[list[Row]]] = {}
    for what in dict.fromkeys(row.what for row in rows):
        line = [row for row in rows if row.what == what]
        by_size.setdefault(tuple(row.size for row in line), []).append(line)
    parts = []
    for sizes, lines in by_size.items():
        columns = [
            Cells("documents", [line[0].what for line in lines], words=True),
            *(Cells(f"{g:,}", [f"{line[i].value:.4f}" for line in lines]) for i, g in enumerate(sizes)),
            Cells("± se", [error(line) for line in lines]),
            Cells("bound", [bound(line[0]) for line in lines]),
            Cells("samples", [f"{line[0].samples:,}" for line in lines]),
        ]
        parts.append(formats.markdown(columns) if markdown else formats.plain(columns, 120))
    missed = [f"{row.what}, {row.size:,} documents: {row.value:.4f}" for row in rows if not row.kept]
    return "\n\n".join([*parts, f"Not kept: {'; '.join(missed)}." if missed else "All bounds are kept."])


def bound(row: Row) -> str:
    """`.9350 to .9650`."""
    if row.low is None:
        return ABSENT if row.high == 1 else f"≤ {row.high:.3f}"
    return f"{row.low:.3f} to {row.high:.3f}"


def error(line: Sequence[Row]) -> str:
    """The largest standard error of the simulation."""
    known = [row.error for row in line if row.error is not None]
    return f"{max(known):.4f}" if known else ABSENT


def main() -> None:
    """Simulate and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--short", action="store_true", help="fewer samples, sizes and flips")
    options.add_argument("--markdown", action="store_true", help="as the table of docs/compare.md")
    given = options.parse_args()
    rows = simulate(SHORT if given.short else FULL, population())
    print(show(rows, markdown=given.markdown))  # noqa: T201 - a script of its own


if __name__ == "__main__":
    main()
