"""Models two at a time on the same documents: differences, tests over a table of pairs, verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness import statistics
from harness.compare import among
from harness.errors import UsageError
from harness.statistics import (
    DRAWS,
    FEWEST,
    LEVEL,
    METHOD,
    NEW_BEST,
    Difference,
    Estimate,
    Float64s,
    Integers,
    clusters,
    fold,
    holm,
    mean_of_seeds,
    paired,
    ranks,
    sign_flips,
    standard_error,
)

SEED = 0  # of the sign flips


@dataclass(frozen=True, eq=False)
class Scored:
    """What is known of a model on some documents: of a stored run, or of a file."""

    name: str
    source: str  # `run 20261122T…`, or the file
    rests_on: str
    sums: Float64s = field(repr=False)  # (R, G) −ln p of each document, a row a seed; inf where p = 0
    lengths: Integers = field(repr=False)  # (G,) targets
    units: Integers = field(repr=False)  # (G,) equal documents have one number
    seen: Any = field(default=None, repr=False)  # (G,) stands in train; None where it is not known
    documents: Sequence[str] | None = field(default=None, repr=False)  # (G,) their texts, where known
    facts: Mapping[str, str] = field(default_factory=dict)  # what must agree -> its value here
    steady: bool = False  # its model draws nothing: one seed stands for all
    in_sample: bool = False

    @property
    def seeds(self) -> int:
        """How many repeats its figures are means of."""
        return len(self.sums)

    @property
    def infinite(self) -> bool:
        """Whether a target had p = 0."""
        return bool(np.isinf(self.sums).any())

    @property
    def repeated(self) -> Float64s:
        """Its sums (R, G); of a model that draws nothing as of one with many seeds that score the same."""
        return np.repeat(self.sums, METHOD, axis=0) if self.steady and self.seeds == 1 else self.sums

    @property
    def estimate(self) -> Estimate | None:
        """Its NLL, the mean over seeds; None where a target had p = 0."""
        if self.infinite:
            return None
        nlls = (self.sums.sum(axis=1) / self.lengths.sum()).tolist()
        grouped, weights = clusters(mean_of_seeds(self.sums), self.lengths, self.units)
        return fold(nlls, standard_error(grouped, weights), len(grouped))


@dataclass(frozen=True, eq=False)
class Pair:
    """A − B, with what may be said of it."""

    a: Scored
    b: Scored
    difference: Difference | None  # None where a target had p = 0
    unseen: Difference | None = None  # on documents that do not stand in train …
    seen: Difference | None = None  # … and on those that do; None where all are of one kind
    p_flip: float | None = None  # by sign flips of documents
    p_holm: float | None = None  # adjusted over the table

    @property
    def method(self) -> bool:
        """Whether the claim is about the methods: both draw nothing, or have five seeds or more."""
        return min(len(self.a.repeated), len(self.b.repeated)) >= METHOD

    @property
    def p(self) -> float | None:
        """The p that counts: sign flips; where seeds are part of the claim Student's t, which knows them."""
        found = self.difference
        if found is None:
            return None
        return found.p if self.method and found.se_seeds else self.p_flip

    @property
    def scope(self) -> str:
        """What the verdict speaks of: `checkpoint`, `2 and 3 checkpoints`, `method`."""
        if self.method:
            return "method"
        counts = dict.fromkeys(one.seeds for one in (self.a, self.b) if not one.steady)
        return "checkpoint" if set(counts) == {1} else f"{' and '.join(map(str, counts))} checkpoints"

    @property
    def better(self) -> Scored | None:
        """The one that is surely better on such documents; None where they cannot be told apart."""
        if self.a.in_sample:
            return None
        if self.difference is None:
            infinite = self.a.infinite, self.b.infinite
            return None if all(infinite) else self.b if infinite[0] else self.a
        if self.p_holm is None or self.p_holm > 1 - LEVEL:
            return None
        return self.a if self.difference.nats < 0 else self.b

    @property
    def verdict(self) -> str:
        """In words; A and B are the columns of a table."""
        if self.a.in_sample:
            return "none: in-sample"
        if self.difference is None:
            both = self.a.infinite and self.b.infinite
            return (
                "none: both inf"
                if both
                else "B better: A is inf"
                if self.a.infinite
                else "A better: B is inf"
            )
        if not apart(self).any():
            return "equal scores"
        if self.p_holm is None:
            return f"none: below {FEWEST} units"
        better = self.better
        return "not told apart" if better is None else "A better" if better is self.a else "B better"

    @property
    def new_best_from(self) -> float | None:
        """Nats from which on the difference makes a new best after many looks at the test part."""
        found = self.difference
        return None if found is None or found.se is None else NEW_BEST * found.se


def refuse_unlike(scored: Sequence[Scored]) -> None:
    """`UsageError` where two of them are not scores of the same documents: the field and both values."""
    first = scored[0]
    for other in scored[1:]:
        for what, value in first.facts.items():
            if what in other.facts and other.facts[what] != value:
                raise unlike(first, other, what, value, other.facts[what])
        if len(first.lengths) != len(other.lengths):
            raise unlike(first, other, "documents", f"{len(first.lengths):,}", f"{len(other.lengths):,}")
        if first.documents is not None and other.documents is not None:
            both = zip(first.documents, other.documents, strict=True)
            for i, (mine, theirs) in enumerate(both, start=1):
                if mine != theirs:
                    raise unlike(first, other, f"document {i:,}", ascii(mine), ascii(theirs))
        differing = np.flatnonzero(first.lengths != other.lengths)
        if len(differing):
            i = int(differing[0])
            mine, theirs = (str(one.lengths[i]) for one in (first, other))
            raise unlike(first, other, f"targets of document {i + 1:,}", mine, theirs)


def unlike(a: Scored, b: Scored, what: str, mine: str, theirs: str) -> UsageError:
    """The one line that names the differing field and both its values."""
    return UsageError(
        f"{a.name} ({a.source}) and {b.name} ({b.source}) cannot be compared: {what}: {mine} and {theirs}"
    )


def compare(pairs: Sequence[tuple[Scored, Scored]], draws: int = DRAWS) -> list[Pair]:
    """All pairs on the same documents, with Holm's correction over those that have a p.

    draws: sign flips; `draws_for` says how many a table needs.
    """
    found = [together(a, b) for a, b in pairs]
    tested = [i for i, pair in enumerate(found) if pair.difference and pair.difference.se is not None]
    if not tested:
        return found
    by_unit = [clusters(apart(found[i]), found[i].a.lengths, found[i].a.units)[0] for i in tested]
    flips = sign_flips(np.stack(by_unit), np.random.default_rng(SEED), draws).tolist()
    for i, p in zip(tested, flips, strict=True):
        found[i] = replace(found[i], p_flip=p)
    # an in-sample pair claims nothing, and so costs the others nothing
    tested = [i for i in tested if not found[i].a.in_sample]
    counting = [p for i in tested if (p := found[i].p) is not None]
    for i, p in zip(tested, holm(counting), strict=True):
        found[i] = replace(found[i], p_holm=p)
    return found


def draws_for(tests: int) -> int:
    """9,999 sign flips, and so many more in a large table that Holm's smallest p is at most 0.01."""
    return max(DRAWS, 100 * tests - 1)


def apart(pair: Pair) -> Float64s:
    """D of every document (G,), the mean over seeds."""
    return statistics.apart(pair.a.sums, pair.b.sums, pair.a.lengths)


def together(a: Scored, b: Scored) -> Pair:
    """One pair before it is tested."""
    if a.infinite or b.infinite:
        return Pair(a, b, None)
    kind = a.seen if a.seen is not None else b.seen
    arrays = {"test_lengths": a.lengths, "test_units": a.units, "test_seen": kind}
    unseen, seen = (among(a.repeated, b.repeated, arrays, seen=which) for which in (False, True))
    return Pair(a, b, paired(a.repeated, b.repeated, a.lengths, a.units), unseen, seen)


def in_order(scored: Sequence[Scored]) -> list[tuple[int | None, Scored]]:
    """By NLL with ranks, ties sharing one; what has p = 0 on a target last. In-sample: no ranks."""
    estimates = [(one, one.estimate) for one in scored]
    finite = sorted(((e.nats, i) for i, (_, e) in enumerate(estimates) if e is not None))
    rows = [scored[i] for _, i in finite]
    rest = [one for one, estimate in estimates if estimate is None]
    if any(one.in_sample for one in scored):
        return [(None, one) for one in rows + rest]
    places: Sequence[int | None] = ranks([one.repeated for one in rows], scored[0].lengths, scored[0].units)
    return [*zip(places, rows, strict=True), *((len(rows) + 1, one) for one in rest)]


# ---- the documents on which two differ most


@dataclass(frozen=True)
class Apart:
    """A document, or a block of running text, with both models' nats, means over seeds."""

    index: int  # among the documents of the part; of equal ones the first
    times: int  # how often it stands there
    targets: int
    a: float
    b: float

    @property
    def nats(self) -> float:
        """A − B; 0 where both are infinite."""
        return 0.0 if self.a == self.b else self.a - self.b


def most_apart(pair: Pair, n: int, which: Callable[[int], bool] = lambda index: True) -> list[Apart]:
    """The n documents on which two models differ most, of those that `which` lets through."""
    a, b = (one.sums.mean(axis=0) for one in (pair.a, pair.b))  # (G,)
    _, first, times = np.unique(pair.a.units, return_index=True, return_counts=True)
    rows = [
        Apart(int(i), int(count), int(pair.a.lengths[i]), float(a[i]), float(b[i]))
        for i, count in zip(first.tolist(), times.tolist(), strict=True)
        if which(i)
    ]
    return sorted(rows, key=lambda row: (-abs(row.nats), row.index))[:n]
