"""Why two people get two numbers for one model: the usual causes, each a small function.

A figure is made in five stages, and in each of them people do one of several things:

    split      which documents are train, dev and test
    part       which of them is scored
    documents  which documents of it count
    average    how −ln p of single targets becomes one figure
    unit       nats, bits or perplexity

The protocol is the first choice of every stage (docs/protocol.md); a `Cause` is any other. Causes of the
last three stages need nothing but −ln p of every target; those of the first two need a model to fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Stage = Literal["split", "part", "documents", "average", "unit"]
Float64s = NDArray[np.float64]
Ints = NDArray[np.int64]

BATCH = 32  # the lectures' and makemore.py's
THOUSAND = 1000  # makemore.py's test words


@dataclass(frozen=True, eq=False)
class Scored:
    """−ln p of every target, document after document."""

    nats: Float64s = field(repr=False)  # (N,)
    lengths: Ints = field(repr=False)  # (G,) targets of each document; they sum to N
    ends: bool = True  # the last target of each document is its end
    texts: tuple[str, ...] | None = field(default=None, repr=False)  # (G,) where they are known
    seen: NDArray[np.bool_] | None = field(default=None, repr=False)  # (G,) stands in train

    @property
    def sums(self) -> Float64s:
        """−ln p of each document (G,)."""
        return np.add.reduceat(self.nats, self.starts) if len(self.nats) else np.zeros(0)

    @property
    def starts(self) -> Ints:
        """Where each document begins (G,)."""
        return np.concatenate([[0], np.cumsum(self.lengths)[:-1]]).astype(np.int64)

    @property
    def last(self) -> Ints:
        """Where each document's last target stands (G,)."""
        return (np.cumsum(self.lengths) - 1).astype(np.int64)

    def some(self, keep: NDArray[np.bool_]) -> Scored:
        """Only the documents of a mask (G,)."""
        return Scored(
            self.nats[np.repeat(keep, self.lengths)],
            self.lengths[keep],
            self.ends,
            None
            if self.texts is None
            else tuple(t for t, kept in zip(self.texts, keep.tolist(), strict=True) if kept),
            None if self.seen is None else self.seen[keep],
        )


@dataclass(frozen=True, eq=False)
class Cause:
    """One thing that people do otherwise than the protocol."""

    name: str  # as it is printed
    stage: Stage
    apply: Callable[[Any], Any] = lambda given: given  # of split and part: a fitted model does it


# ---- which documents count: Scored -> Scored, None where it cannot be told or changes nothing


def each_once(scored: Scored) -> Scored | None:
    """Of equal documents only the first."""
    if scored.texts is None:
        return None
    first: dict[str, int] = {}
    for place, text in enumerate(scored.texts):
        first.setdefault(text, place)
    keep = np.isin(np.arange(len(scored.texts)), list(first.values()))
    return None if keep.all() else scored.some(keep)


def unseen(scored: Scored) -> Scored | None:
    """Documents that stand in train left out."""
    if scored.seen is None or not 0 < scored.seen.sum() < len(scored.seen):
        return None
    return scored.some(~scored.seen)


def first_thousand(scored: Scored) -> Scored | None:
    """The first 1,000 documents."""
    if len(scored.lengths) <= THOUSAND:
        return None
    return scored.some(np.arange(len(scored.lengths)) < THOUSAND)


# ---- how they are averaged: Scored -> a figure, None where documents are not known


def protocol(scored: Scored) -> float:
    """Σ −ln p over all targets, divided once by their number."""
    return math.fsum(scored.nats.tolist()) / len(scored.nats)


def ends_left_out(scored: Scored) -> float | None:
    """The mean over characters: ends neither scored nor counted."""
    inside = np.ones(len(scored.nats), bool)
    inside[scored.last] = False
    if not scored.ends or not inside.any():
        return None
    return math.fsum(scored.nats[inside].tolist()) / int(inside.sum())


def ends_not_counted(scored: Scored) -> float | None:
    """Ends scored, but only characters counted."""
    characters = len(scored.nats) - len(scored.lengths)
    if not scored.ends or not characters:
        return None
    return math.fsum(scored.nats.tolist()) / characters


def mean_of_documents(scored: Scored) -> float | None:
    """The mean of every document's own mean: short ones count as much as long ones."""
    if len(scored.lengths) < 2:
        return None
    return math.fsum((scored.sums / scored.lengths).tolist()) / len(scored.lengths)


def per_document(scored: Scored) -> float | None:
    """Nats per document."""
    if len(scored.lengths) < 2:
        return None
    return math.fsum(scored.nats.tolist()) / len(scored.lengths)


def batches_of_documents(scored: Scored, batch: int) -> float | None:
    """The mean of the means of batches of so many documents, in their order; the last may be smaller."""
    if len(scored.lengths) < 2:
        return None
    first = np.arange(0, len(scored.lengths), batch)
    means = np.add.reduceat(scored.sums, first) / np.add.reduceat(scored.lengths, first)
    return math.fsum(means.tolist()) / len(means)


def batches_of_targets(scored: Scored, batch: int) -> float:
    """The same with batches of so many targets."""
    first = np.arange(0, len(scored.nats), batch)
    sizes = np.diff(np.append(first, len(scored.nats)))
    return math.fsum((np.add.reduceat(scored.nats, first) / sizes).tolist()) / len(first)


def padding_counted(scored: Scored) -> float | None:
    """Documents padded to the longest, and the padding counted as targets with −ln p = 0."""
    if len(scored.lengths) < 2:
        return None
    return math.fsum(scored.nats.tolist()) / (len(scored.lengths) * int(scored.lengths.max()))


def padding_in_batches(scored: Scored, batch: int) -> float | None:
    """The same with each batch of documents padded to its own longest, and the mean of the batches."""
    if len(scored.lengths) < 2:
        return None
    first = np.arange(0, len(scored.lengths), batch)
    sizes = np.diff(np.append(first, len(scored.lengths))) * np.maximum.reduceat(scored.lengths, first)
    return math.fsum((np.add.reduceat(scored.sums, first) / sizes).tolist()) / len(first)


def in_single_precision(scored: Scored) -> float:
    """Added one by one in float32, as the bigram lecture adds them: large sums swallow small figures."""
    return float(np.cumsum(scored.nats.astype(np.float32), dtype=np.float32)[-1]) / len(scored.nats)


# ---- in which unit: nats per character -> a figure


def bits(nats: float) -> float:
    """Divided by ln 2."""
    return nats / math.log(2)


def perplexity(nats: float) -> float | None:
    """exp of it; None beyond the floating-point numbers."""
    return math.exp(nats) if nats < 700 else None


def arithmetic(batch: int = BATCH) -> tuple[Cause, ...]:
    """The causes that need nothing but the scores, in each stage the most usual first.

    batch: how many words or targets are averaged at a time.
    """
    return (
        Cause("bits, not nats", "unit", bits),
        Cause("perplexity, not nats", "unit", perplexity),
        Cause("end token left out", "average", ends_left_out),
        Cause(
            f"mean of batch means, {batch} words each", "average", partial(batches_of_documents, batch=batch)
        ),
        Cause(
            f"mean of batch means, {batch} targets each", "average", partial(batches_of_targets, batch=batch)
        ),
        Cause("mean of every word's own mean", "average", mean_of_documents),
        Cause("nats per word, not per character", "average", per_document),
        Cause("padding counted, to the longest word", "average", padding_counted),
        Cause(
            f"padding counted, in batches of {batch} words",
            "average",
            partial(padding_in_batches, batch=batch),
        ),
        Cause("end token scored, not counted", "average", ends_not_counted),
        Cause("summed one by one in float32", "average", in_single_precision),
        Cause("the first 1,000 documents only", "documents", first_thousand),
        Cause("equal documents counted once", "documents", each_once),
        Cause("documents that stand in train left out", "documents", unseen),
    )
