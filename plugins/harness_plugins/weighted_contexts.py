"""Batches of contexts, each with all that follows it in train.

A minibatch of positions tells two things at random: which contexts there are, and which character
followed each of them this time. The second is known exactly: over all positions with one context it is the
counts of what follows it. So the gradient of a batch of contexts, drawn as often as they occur, is that of
positions with the noise of the targets taken out (its conditional expectation, after Rao 1945 and
Blackwell 1947).

U distinct contexts, K characters each, P distinct pairs of a context and what follows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import Corpus
from harness.contract import Ints
from harness_plugins.window_batches import DRAWN_AHEAD

Array = NDArray[np.float64]

SIZE = 512  # of a batch where its size is `weighted`


@dataclass(frozen=True, eq=False)
class Contexts:
    """The distinct contexts of a text; the pairs of context u are first[u] … first[u + 1]."""

    windows: Ints  # (U, K), sorted
    total: Ints  # (U,) how often each occurs
    first: Ints  # (U + 1,)
    following: Ints  # (P,)
    counts: Ints  # (P,)

    @classmethod
    def of(cls, train: Corpus, context: int) -> Contexts:
        """Those of the training text."""
        windows, rows, following, counts = train.weighted_windows(context)
        first = np.searchsorted(rows, np.arange(len(windows) + 1))
        total = np.diff(np.append(0, np.cumsum(counts))[first])
        return cls(windows, total, first, following, counts)

    def pairs(self, chosen: Ints, times: Ints) -> tuple[Ints, Ints, Array]:
        """What follows some contexts (N,), drawn so many times: row in 0 … N, character, share; (Q,) each.

        Shares sum to 1.
        """
        size = self.first[chosen + 1] - self.first[chosen]
        ends = np.cumsum(size)
        number = np.arange(ends[-1]) + np.repeat(self.first[chosen] - ends + size, size)
        rows = np.repeat(np.arange(len(chosen)), size)
        once = times / times.sum() / self.total[chosen]  # (N,) the share of one occurrence
        return rows, self.following[number], once[rows] * self.counts[number]

    def shares(self, chosen: Ints, times: Ints, v: int) -> Array:
        """The same as an array (N, V)."""
        rows, following, share = self.pairs(chosen, times)
        wanted = np.zeros((len(chosen), v))
        wanted[rows, following] = share
        return wanted


def stretches(targets: int, size: int, rng: np.random.Generator) -> Iterator[Array]:
    """Endless tables (DRAWN_AHEAD, size): rows of numbers of targets, from 0 to `targets`, ascending.

    All targets are cut into `size` equal stretches, of each of which a row has one. With as many stretches
    as targets a row is all of them.
    """
    while True:
        yield (np.arange(size) + rng.random((DRAWN_AHEAD, size))) * (targets / size)


def context_of(contexts: Contexts) -> NDArray[np.int32]:
    """The context of each target (N,), in the order of contexts."""
    return np.repeat(np.arange(len(contexts.total), dtype=np.int32), contexts.total)


def context_batches(contexts: Contexts, size: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Endless batches (size,) of contexts in ascending order, each as often as it was drawn.

    The targets of train, sorted by context, give the context of one target of each of their stretches: a
    context that makes up a hundredth of train makes up a hundredth of every batch.
    """
    of = context_of(contexts)
    for numbers in stretches(len(of), size, rng):
        yield from of[np.minimum(numbers.astype(np.int64), len(of) - 1)].astype(np.int64)


def merged(drawn: Ints) -> tuple[Ints, Ints]:
    """Contexts in ascending order, once each, and how often each was drawn."""
    starts = np.flatnonzero(np.diff(drawn, prepend=-1))
    return drawn[starts], np.diff(np.append(starts, len(drawn)))
