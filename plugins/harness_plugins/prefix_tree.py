"""Documents as a tree of their prefixes, so that what they share is computed once.

Of the 182,625 training positions of the lecture's names only 50,705 prefixes are distinct, and only
31,799 are followed by another character. A recurrent network's state depends on the prefix alone, so a
batch needs one state a distinct prefix; the loss weighs each with the counts of what follows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import Corpus
from harness.contract import Ints


@dataclass(frozen=True, eq=False)
class PrefixTree:
    """The distinct prefixes of some documents, shortest first: N nodes, D levels, I inner nodes.

    tokens (N,): the last character of each prefix, 0 for the empty one, which is node 0.
    levels (D + 1,): nodes `levels[d]:levels[d + 1]` are prefixes of d characters.
    inner (I,): the nodes that some node extends, ascending; inner_levels (D + 1,): the same by level.
    parent (N,): the position in `inner` of the node that each one extends (0 for node 0, which has none).
    counts (N, V) float32: how often each character follows.
    """

    tokens: Ints
    levels: Ints
    inner: Ints
    inner_levels: Ints
    parent: Ints
    counts: NDArray[np.float32]

    @property
    def level(self) -> Ints:
        """How many characters each prefix has (N,)."""
        return np.repeat(np.arange(len(self.levels) - 1), np.diff(self.levels))

    def prefixes(self) -> NDArray[np.bool_]:
        """Which node is a prefix of which, itself included: [i, j], node j of node i (N, N)."""
        found = np.eye(len(self.tokens), dtype=bool)
        for d in range(1, len(self.levels) - 1):
            at = slice(self.levels[d], self.levels[d + 1])
            found[at] |= found[self.inner[self.parent[at]]]
        return found

    @classmethod
    def of(cls, rows: NDArray[np.integer], lengths: Ints, v: int) -> PrefixTree:
        """The tree of sorted documents: rows (B, T) of targets, padded with 0; lengths (B,)."""
        width = int(lengths.max())
        rows = rows[:, :width].astype(np.int64)  # (B, T)
        exists = np.arange(width) < lengths[:, None]  # (B, T): there is a prefix of d characters
        shared = np.zeros(rows.shape, bool)  # … and it is one of the document before too
        shared[1:, 0] = True
        shared[1:, 1:] = np.logical_and.accumulate(rows[1:, :-1] == rows[:-1, :-1], axis=1)
        fresh = (exists & ~shared).T  # (T, B): level by level
        node = np.cumsum(fresh).reshape(fresh.shape) - 1
        node = np.maximum.accumulate(np.where(fresh, node, 0), axis=1)  # (T, B)
        n = int(fresh.sum())
        pairs = node[exists.T] * v + rows.T[exists.T]
        counts = np.bincount(pairs, minlength=n * v).reshape(n, v).astype(np.float32)
        level, document = np.nonzero(fresh)  # (N,)
        before = np.maximum(level - 1, 0)
        tokens = np.where(level > 0, rows[document, before], 0)
        inner, parent = np.unique(node[before, document][1:], return_inverse=True)
        levels = np.concatenate([[0], np.cumsum(fresh.sum(axis=1))])
        return cls(
            tokens, levels, inner, np.searchsorted(inner, levels), np.concatenate([[0], parent]), counts
        )


def sorted_rows(corpus: Corpus) -> tuple[NDArray[np.integer], Ints, Ints]:
    """Every document's targets, padded with 0 (G, T), their number (G,), and the sorted order (G,)."""
    lengths = corpus.lengths
    rows = np.zeros((len(corpus), int(lengths.max(initial=1))), corpus.tokens.dtype)
    rows[np.arange(rows.shape[1]) < lengths[:, None]] = corpus.tokens[1:]
    return rows, lengths, np.lexsort(rows.T[::-1])


def in_order(corpus: Corpus) -> tuple[NDArray[np.integer], Ints]:
    """Every document's targets, padded with 0 (G, T), and their number (G,); sorted by their characters."""
    rows, lengths, order = sorted_rows(corpus)
    return rows[order], lengths[order]


def trees_of(corpus: Corpus, batches: Iterable[Ints]) -> Iterator[PrefixTree]:
    """The tree of the documents of each batch (B,), one that stands there twice counted twice."""
    rows, lengths, order = sorted_rows(corpus)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    for batch in batches:
        chosen = order[np.sort(place[batch])]
        yield PrefixTree.of(rows[chosen], lengths[chosen], corpus.alphabet.size)


def tree_batches(
    corpus: Corpus, batch: int, neighbours: int, rng: np.random.Generator
) -> Iterator[PrefixTree]:
    """Endless batches of `batch` documents: `neighbour_batches` as trees."""
    rows, lengths = in_order(corpus)
    for chosen in neighbour_batches(len(rows), batch, neighbours, rng):
        yield PrefixTree.of(rows[chosen], lengths[chosen], corpus.alphabet.size)


def neighbour_batches(n: int, batch: int, neighbours: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Endless batches of `batch` of n sorted documents: runs of `neighbours`, shuffled each epoch.

    Neighbours share long prefixes, so a batch of runs costs less than one of strangers, and is noisier.
    """
    neighbours = min(neighbours, batch, n)
    runs = max(1, batch // neighbours)
    while True:
        offset = int(rng.integers(neighbours))  # documents before it rest in this epoch
        order = rng.permutation((n - offset) // neighbours)
        for first in range(0, len(order), runs):
            start = np.sort(order[first : first + runs]) * neighbours + offset
            yield (start[:, None] + np.arange(neighbours)).ravel()
