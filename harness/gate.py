"""The rule of the gate, from figures alone: PASS, FAIL or INCONCLUSIVE.

Quality: d = NLL(head) − NLL(base), paired on the same documents. Equal bits pass. Else FAIL where the
lower bound of d is above 0 and d ≥ δ, PASS where its upper bound is below δ.

Speed and memory: x = ln(head / base) of interleaved pairs; 10 % trimmed mean with Yuen's standard error
(Biometrika 61, 1974) and Student's t. With a tolerated slow-down of τ: FAIL where the lower bound is above
τ/5 and the estimate at least 3τ/5, PASS where the upper bound is below τ; asked at 10 pairs and, where that
does not decide, at 20.

Levels are such that 20 cells raise a false alarm in at most 1 % of changes: docs/decisions/0014-gate.md has
the figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from harness.figures import short
from harness.statistics import FEWEST, METHOD, Difference, Float64s, Integers, paired

Answer = Literal["PASS", "FAIL", "INCONCLUSIVE"]

FAILS, PASSES = 0.9999, 0.9975  # one-sided levels of the bounds
LOOKS = {10: 0.9999, 20: 0.9996}  # pairs -> level of the bound that fails
TRIM = 0.1
MOST = 10_000  # pairs for which nobody would wait
POWER = 0.8416212335729143  # z of 80 %


@dataclass(frozen=True)
class Thresholds:
    """What is tolerated: nats per character, and shares of the base."""

    nll: float = 0.01
    seed_sd: float = (
        0.003  # standard deviation of the NLL over seeds, where the runs do not show a larger one
    )
    train: float = 0.05
    evaluate: float = 0.05
    sample: float = 0.05
    memory: float = 0.05


@dataclass(frozen=True)
class Needed:
    """How much of what would probably have decided."""

    count: int
    of: str  # "documents", "seeds", both or "pairs"

    def __str__(self) -> str:
        return f"about {self.count:,} {self.of}"


@dataclass(frozen=True)
class Finding:
    """An answer with its figures: nats per character, or shares of the base (0.05 is 5 % more)."""

    answer: Answer | None  # None: not compared, and without effect
    reason: str
    change: float | None = None
    low: float | None = None  # the bound that fails …
    high: float | None = None  # … and the one that passes
    detects: float | None = None  # the change that would FAIL with 80 % power
    used: int = 0  # units (distinct documents, blocks), or pairs
    needed: Needed | None = None  # where it is INCONCLUSIVE and more would help


def overall(answers: Iterable[Answer | None]) -> Answer:
    """One answer for all: FAIL goes before INCONCLUSIVE; where nothing was compared nothing passes."""
    found = {answer for answer in answers if answer is not None}
    if "FAIL" in found:
        return "FAIL"
    return "PASS" if found == {"PASS"} else "INCONCLUSIVE"


# ---- quality


def quality(
    base: Float64s,
    head: Float64s,
    lengths: Integers,
    units: Integers,
    thresholds: Thresholds,
    *,
    draws: bool = True,
    in_sample: bool = False,
) -> Finding:
    """Whether a model became worse.

    base, head: −ln p of each document, (R, G) with a row a seed; lengths, units (G,). draws: its fit
    draws random numbers, so that a fit that is not the same to the bit is like one with another seed.
    """
    if np.array_equal(base, head):
        return Finding("PASS", "equal to the bit", 0.0, used=len(np.unique(units)))
    if in_sample:
        return Finding("INCONCLUSIVE", "in-sample: no interval, and the scores are not equal to the bit")
    infinite = [bool(np.isinf(sums).any()) for sums in (base, head)]
    if infinite == [False, True]:
        return Finding("FAIL", "p = 0 on a target in head, on none in base")
    if infinite == [True, False]:
        return Finding("PASS", "p = 0 on a target in base, on none in head")
    if all(infinite):
        return Finding("INCONCLUSIVE", "p = 0 on a target in base and head: no difference to be had")
    found = paired(head, base, lengths, units)
    if found.se_docs is None:
        why = f"{found.units} distinct documents: below {FEWEST} there is no interval"
        return Finding("INCONCLUSIVE", why, found.nats, used=found.units, needed=Needed(FEWEST, "documents"))
    return of_difference(found, (len(base), len(head)), thresholds, draws=draws)


def of_difference(
    found: Difference, repeats: tuple[int, int], thresholds: Thresholds, *, draws: bool
) -> Finding:
    """The answer to head − base with an interval; repeats: seeds of base and head."""
    assert found.se_docs is not None
    seeds, degrees = seed_error(found, *repeats, thresholds.seed_sd) if draws else (0.0, None)
    return judged(found.nats, found.se_docs, seeds, found.units, repeats[1], thresholds.nll, degrees)


def seed_error(found: Difference, base: int, head: int, seed_sd: float) -> tuple[float, int | None]:
    """What the seeds add to the standard error: as measured, and no less than `seed_sd` would make it.

    From one seed nothing is measured, and from a handful often far too little. Five of each are enough to
    count with what they show alone, by their degrees of freedom; None where the setting counts.
    """
    measured, assumed = found.se_seeds or 0.0, seed_sd * math.sqrt(1 / base + 1 / head)
    if measured <= assumed or min(base, head) < METHOD:
        return max(measured, assumed), None
    return measured, base + head - 2


def judged(
    nats: float,
    docs: float,
    seeds: float,
    units: int,
    repeats: int,
    tolerated: float,
    degrees: int | None = None,
) -> Finding:
    """The answer to a difference of the means of so many seeds; docs, seeds: its two standard errors.

    degrees: of `seeds`, where it was estimated; the sum then has Satterthwaite's (Biometrics 2, 1946).
    """
    se = math.hypot(docs, seeds)
    whole = float(units - 1)
    if degrees is not None:
        whole = se**4 / (docs**4 / (units - 1) + seeds**4 / degrees)
    fails, passes = quantile(FAILS, whole), quantile(PASSES, whole)
    low, high = nats - fails * se, nats + passes * se
    detects = max(tolerated, fails * se) + POWER * se
    if low > 0 and nats >= tolerated:
        why = f"worse by {short(nats)} nats, at least {short(low)}"
        return Finding("FAIL", why, nats, low, high, detects, units)
    if high < tolerated:
        why = f"at most {short(max(high, 0.0))} nats worse, below {tolerated:g}"
        if round(high, 4) < 0:
            why = f"better by {short(-high)} nats at least"
        return Finding("PASS", why, nats, low, high, detects, units)
    room = nats / fails if nats >= tolerated else (tolerated - nats) / passes  # an error that would decide
    error = f"standard error {short(docs)} over documents" + (f", {short(seeds)} over seeds" * (seeds > 0))
    why = f"between {short(low)} and {short(high)} nats worse ({error})"
    needed = more_quality(room, docs, seeds, units, repeats)
    return Finding("INCONCLUSIVE", why, nats, low, high, detects, units, needed)


def more_quality(room: float, docs: float, seeds: float, units: int, repeats: int) -> Needed | None:
    """What makes the standard error as small as `room`: documents, else seeds, else more of both."""
    if room > seeds:
        return Needed(math.ceil(units * docs**2 / (room**2 - seeds**2)), "documents")
    if room > docs:
        return Needed(math.ceil(repeats * seeds**2 / (room**2 - docs**2)), "seeds")
    if room <= 0:
        return None
    times = (docs**2 + seeds**2) / room**2
    return Needed(math.ceil(units * times), f"documents and {math.ceil(repeats * times):,} seeds")


# ---- speed and memory


def slowdown(x: Sequence[float], tolerated: float) -> Finding:
    """Whether something became slower or larger; x: ln(head / base) of each pair, as they were measured."""
    pairs = np.asarray(x, np.float64)
    used = max((n for n in LOOKS if n <= len(pairs)), default=0)
    if not used:
        why = f"{len(pairs)} pairs, {min(LOOKS)} are needed"
        return Finding("INCONCLUSIVE", why, used=len(pairs), needed=Needed(min(LOOKS), "pairs"))
    for n, level in LOOKS.items():
        mean, se, degrees = (float(figure) for figure in trimmed(pairs[:n]))
        low, high = mean - quantile(level, degrees) * se, mean + quantile(PASSES, degrees) * se
        answer = decided(mean, low, high, tolerated)
        if answer != "INCONCLUSIVE" or n == used:
            break
    detects = max(math.log1p(0.6 * tolerated), math.log1p(0.2 * tolerated) + mean - low) + POWER * se
    share, least, most = (math.expm1(bound) for bound in (mean, low, high))
    why = f"{share:+.1%}, between {least:+.1%} and {most:+.1%}"
    needed = more_pairs(mean, se, n, tolerated) if answer == "INCONCLUSIVE" else None
    return Finding(answer, why, share, least, most, math.expm1(detects), n, needed)


def decided(mean: float, low: float, high: float, tolerated: float) -> Answer:
    """The answer to an estimate of ln(head / base) with its bounds."""
    if low > math.log1p(0.2 * tolerated) and mean >= math.log1p(0.6 * tolerated):
        return "FAIL"
    return "PASS" if high < math.log1p(tolerated) else "INCONCLUSIVE"


def trimmed(x: Float64s) -> tuple[Float64s, Float64s, int]:
    """Trimmed means (...,) of x (..., n), their standard errors (Yuen) and degrees of freedom."""
    n = x.shape[-1]
    cut = int(TRIM * n)
    ordered = np.sort(x, axis=-1)
    kept = ordered[..., cut : n - cut]  # (..., n - 2 cut)
    winsorised = np.clip(ordered, kept[..., :1], kept[..., -1:])  # (..., n)
    se = winsorised.std(axis=-1, ddof=1) / ((1 - 2 * cut / n) * math.sqrt(n))
    return kept.mean(axis=-1), se, kept.shape[-1] - 1


def quantile(level: float, degrees: float) -> float:
    """The one-sided quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, level))


def more_pairs(mean: float, se: float, n: int, tolerated: float) -> Needed | None:
    """How many pairs would decide, were they to scatter as these n did."""
    from scipy.special import stdtrit

    more: Any = np.unique(np.geomspace(n + 1, MOST, 300).astype(int))
    degrees = more - 2 * (TRIM * more).astype(int) - 1
    errors = se * math.sqrt(n) / np.sqrt(more)
    low = mean - stdtrit(degrees, LOOKS[max(LOOKS)]) * errors
    high = mean + stdtrit(degrees, PASSES) * errors
    fails = (low > math.log1p(0.2 * tolerated)) & (mean >= math.log1p(0.6 * tolerated))
    enough = more[fails | (high < math.log1p(tolerated))]
    return Needed(int(enough[0]), "pairs") if len(enough) else None
