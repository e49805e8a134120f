"""Intervals, paired tests, ranks with ties and what a test set can detect.

Documents are the unit, equal documents one unit. S: −ln p summed over a unit's targets; L: targets.
With m = ΣS / ΣL the squared standard error is G/(G−1) · Σ(S − m L)² / (ΣL)², the ratio estimator of
cluster sampling (Cochran, Sampling Techniques, ch. 6). Intervals are Student's with G−1 degrees.

Over R seeds the S are means over seeds. That says how these R checkpoints do on other documents; a
claim about the method adds the variance of the seeds' NLLs over R, with R−1 degrees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64s = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]

FEWEST = 20  # units below which no interval is given
METHOD = 5  # seeds of a model from which on a verdict speaks of the method
LEVEL = 0.95
DRAWS = 9_999  # sign flips of a test: p has steps of 1 in 10,000
SIGNS_AT_ONCE = 2**21  # bounds the memory of sign flips: 16 MB of float64
ROUNDING = 1e-12  # nats per character: scores that are nowhere further apart are equal
NEW_BEST = 3.3  # standard errors from which on a new best counts after many looks at one test part


@dataclass(frozen=True)
class Difference:
    """A paired difference A − B in nats per character."""

    nats: float
    se: float | None  # None below 20 units
    half: float | None  # half the 95 % interval
    p: float | None  # two-sided, Student's t
    units: int
    cases: int  # units, or seeds where they are part of the claim: Student's t has one degree less
    se_docs: float | None = None  # of the means over seeds, over units
    se_seeds: float | None = None  # of the seeds; None where a model has one, 0 where none moves

    @property
    def detectable(self) -> float | None:
        """The smallest true difference found with 80 % power at the 5 % level."""
        return None if self.se is None else detectable(self.se, self.cases)


@dataclass(frozen=True)
class Estimate:
    """An NLL in nats per character, the mean over seeds, with the two sources of its error apart."""

    nats: float
    se_docs: float | None  # of the mean over seeds, over units; None below 20 of them
    sd_seeds: float | None  # standard deviation of the seeds' NLLs; None for one seed
    se: float | None  # of the claim: of the documents, from five seeds on of documents and seeds
    half: float | None  # half the 95 % interval
    seeds: int


def clusters(sums: Float64s, lengths: Integers, units: Integers | None) -> tuple[Float64s, Float64s]:
    """Sums (U,) and lengths (U,) added up over the documents of one unit."""
    if units is None:
        return np.asarray(sums, np.float64), lengths.astype(np.float64)
    _, unit = np.unique(units, return_inverse=True)
    weights = np.bincount(unit, lengths.astype(np.float64))
    return np.bincount(unit, sums).astype(np.float64), weights.astype(np.float64)


def standard_error(sums: Float64s, lengths: Float64s) -> float | None:
    """Standard error of ΣS / ΣL over units; None below 20 units or where a sum is infinite."""
    g = len(sums)
    if g < FEWEST or not np.isfinite(sums).all():
        return None
    total = math.fsum(lengths.tolist())
    residual = sums - math.fsum(sums.tolist()) / total * lengths
    return math.sqrt(g / (g - 1) * math.fsum((residual**2).tolist())) / total


def student(level: float, degrees: int) -> float:
    """The two-sided quantile of Student's t: `student(0.95, 1000)` is 1.962."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.5 + level / 2))


def chi_squared_tail(value: float, degrees: int) -> float:
    """P(χ² ≥ value) with so many degrees of freedom."""
    from scipy.special import chdtrc

    return float(chdtrc(degrees, value))


def half_interval(se: float | None, cases: int, level: float = LEVEL) -> float | None:
    """Half the interval that belongs to a standard error with `cases` − 1 degrees of freedom."""
    return None if se is None else student(level, cases - 1) * se


def detectable(se: float, cases: int) -> float:
    """(t.975 + z.80) · se: what 80 % of repetitions would find at the 5 % level."""
    return (student(0.95, cases - 1) + 0.8416212335729143) * se


def with_seeds(se: float | None, units: int, *nlls: Sequence[float]) -> tuple[float | None, int]:
    """The standard error of a claim over documents and seeds, and its cases (degrees + 1).

    se: of the mean over seeds, over documents; nlls: the seeds' NLLs of each model in the claim.
    Below five seeds a model the claim is about these checkpoints, and `se` is all of its error. From
    five on the variances over R are added, models being independent, with the degrees of the fewest
    seeds. A model whose seeds all score the same has no such variance and lends no degrees.
    """
    if se is None or min(len(seeds) for seeds in nlls) < METHOD:
        return se, units
    moving = [seeds for seeds in nlls if min(seeds) != max(seeds)]
    if not moving:
        return se, units
    added = sum(variance(seeds) / len(seeds) for seeds in moving)
    return math.sqrt(se**2 + added), min(units, *(len(seeds) for seeds in moving))


def fold(nlls: Sequence[float], se_docs: float | None, units: int) -> Estimate:
    """The mean over seeds; se_docs: standard error of that mean over documents, `units` of them."""
    se, cases = with_seeds(se_docs, units, nlls)
    spread = stdev(nlls) if len(nlls) > 1 else None
    return Estimate(fmean(nlls), se_docs, spread, se, half_interval(se, cases), len(nlls))


def mean_of_seeds(sums: Float64s) -> Float64s:
    """(R, G) -> (G,); exact where all rows are equal."""
    mean: Float64s = sums[0] + (sums - sums[0]).mean(axis=0)
    return mean


def apart(a: Float64s, b: Float64s, lengths: Integers) -> Float64s:
    """A − B of each document (G,), the mean over seeds; a, b (R, G).

    All 0 where no document's sums are further apart than two orders of adding up may bring them: two
    implementations of one model are a tie, however surely their last bits differ.
    """
    with np.errstate(invalid="ignore"):
        d = mean_of_seeds(a) - mean_of_seeds(b)  # (G,)
    return np.zeros_like(d) if (np.abs(d) <= ROUNDING * lengths).all() else d


def paired(a: Float64s, b: Float64s, lengths: Integers, units: Integers | None = None) -> Difference:
    """A − B on the same documents; a, b: their sums (G,), or (R, G) with a row a seed.

    The means over seeds are paired; what seeds add is the business of `with_seeds`.
    """
    a, b = (np.atleast_2d(np.asarray(sums, np.float64)) for sums in (a, b))  # (R, G)
    d = apart(a, b, lengths)
    if not np.isfinite(d).all():
        raise ValueError("a paired difference needs finite scores")
    grouped, weights = clusters(d, lengths, units)
    total = math.fsum(weights.tolist())
    nats = math.fsum(grouped.tolist()) / total
    by_seed = [(sums.sum(axis=1) / total).tolist() for sums in (a, b)]  # (R,)
    se_docs = standard_error(grouped, weights)
    se, cases = with_seeds(se_docs, len(grouped), *by_seed)
    half, p = half_interval(se, cases), p_value(nats, se, cases)
    return Difference(nats, se, half, p, len(grouped), cases, se_docs, seed_error(*by_seed))


def seed_error(*nlls: Sequence[float]) -> float | None:
    """What seeds add to the standard error of a difference: √Σ variance / R; None below two of a model."""
    if min(len(seeds) for seeds in nlls) < 2:
        return None
    return math.sqrt(sum(variance(seeds) / len(seeds) for seeds in nlls))


def p_value(nats: float, se: float | None, cases: int) -> float | None:
    """Two-sided p of Student's t for "no difference", with `cases` − 1 degrees of freedom."""
    if se is None:
        return None
    if se == 0:
        return 1.0 if nats == 0 else 0.0
    from scipy.special import stdtr

    return float(2 * stdtr(cases - 1, -abs(nats) / se))


def sign_flip(differences: Float64s, rng: np.random.Generator, draws: int = DRAWS) -> float:
    """P of "no difference" by random signs (Fisher): the share of flips at least as extreme.

    differences (G,): D of each unit. The observed signs count as a draw, so that p is never 0.
    """
    return float(sign_flips(np.atleast_2d(differences), rng, draws)[0])


def sign_flips(differences: Float64s, rng: np.random.Generator, draws: int = DRAWS) -> Float64s:
    """The same for several pairs on the same units: (P, G) -> (P,); all are flipped by the same signs.

    The signs of a draw are random bits b: Σ ±D = 2 Σ b D − ΣD. Ties count as extreme, up to rounding.
    """
    pairs, units = differences.shape
    total = differences.sum(axis=1)  # (P,)
    observed = np.abs(total) - 1e-12 * np.abs(differences).sum(axis=1)
    extreme = np.zeros(pairs, np.int64)
    at_once = max(1, SIGNS_AT_ONCE // max(units, pairs, 1))
    for first in range(0, draws, at_once):
        n = min(at_once, draws - first)
        drawn = np.frombuffer(rng.bytes((n * units + 7) // 8), np.uint8)
        bits = np.unpackbits(drawn, count=n * units).reshape(n, units)  # (N, G)
        flipped = 2 * (bits.astype(np.float64) @ differences.T) - total  # (N, P)
        extreme += (np.abs(flipped) >= observed).sum(axis=0)
    p: Float64s = (extreme + 1) / (draws + 1)
    return p


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: reject where at most 0.05 and one false claim in 20 tables stays."""
    m = len(p_values)
    adjusted = [0.0] * m
    highest = 0.0
    for position, index in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (m - position) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's adjusted p-values (1995), for screening.

    Reject where at most 0.05, and on average one in 20 of what was rejected is false.
    """
    m = len(p_values)
    adjusted = [0.0] * m
    lowest = 1.0
    for position, index in reversed(list(enumerate(sorted(range(m), key=lambda i: p_values[i]), start=1))):
        lowest = min(lowest, m / position * p_values[index])
        adjusted[index] = lowest
    return adjusted


def ranks(scores: Sequence[Float64s], lengths: Integers, units: Integers | None = None) -> list[int]:
    """Ranks of models sorted by their NLL, best first; those not told apart share one.

    scores: of each model its sums (G,), or (R, G) with a row a seed.
    The best leads; every model is compared with it (paired, Holm over the comparisons), and all
    before the first that is surely worse share its rank. That one leads the next group.
    """
    result: list[int] = []
    while len(result) < len(scores):
        first = len(result)
        rest = range(first + 1, len(scores))
        tests = [paired(scores[i], scores[first], lengths, units).p for i in rest]
        if any(p is None for p in tests):
            adjusted = [1.0] * len(tests)  # too few units to tell anything apart
        else:
            adjusted = holm([p for p in tests if p is not None])
        group = 1
        for p in adjusted:
            if p <= 1 - LEVEL:
                break
            group += 1
        result += [first + 1] * group
    return result
