"""What an n-gram model counts: contexts of every length, and what follows them.

A context of length k is the pair (its suffix of length k − 1, one more symbol), so that contexts are
small integers at every order and alphabet; everything is vectorised numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness import Corpus
from harness.contract import Ints
from harness.corpus import unique_rows
from harness_plugins.held_out import select

Array = NDArray[np.float64]

FALLBACK = (0.5, 1.0, 1.5)  # KenLM's discounts where the formula has no answer


@dataclass(frozen=True, eq=False)
class View:
    """What contexts are made of: `depth` symbols, each one tells more than those before it.

    Without classes: the last characters, nearest first. With the class of every character, classes
    (V,): first the classes of the last depth − 1 characters as one symbol, then these characters.
    """

    depth: int
    classes: Ints | None = None

    def base(self, v: int) -> int:
        """Symbols are smaller."""
        if self.classes is None or not self.depth:
            return v
        return int(max(v, (self.classes.max() + 1) ** (self.depth - 1)))

    def symbol(self, k: int, back: Callable[[int], Ints]) -> Ints:
        """The k-th symbol (1 … depth) of some contexts; back(j): their characters j before the last."""
        if self.classes is None:
            return back(k - 1)
        if k > 1:
            return back(k - 2)
        pattern = self.classes[back(0)] * 0
        for j in range(self.depth - 1):
            pattern = pattern * (self.classes.max() + 1) + self.classes[back(j)]
        return pattern


@dataclass(eq=False)
class Counts:
    """All n-grams whose context has one length: what follows which context, how often.

    keys (U,): sorted suffix · base + symbol of each context; starts (U,): holds the document's start;
    rows, next, count (P,): entries sorted by (context, next); parents (P,): the entry of the level
    below with the same next character.
    """

    keys: Ints
    starts: NDArray[np.bool_]
    rows: Ints
    next: Ints
    count: Ints
    parents: Ints
    vocabulary: int


def count_levels(corpus: Corpus, view: View) -> Iterator[Counts]:
    """Counts for contexts of length 0 … depth, each from the one below."""
    v = corpus.alphabet.size
    base = view.base(v)
    tokens = corpus.tokens.astype(np.int64)
    here = np.arange(corpus.targets)  # (N,) targets whose context is long enough
    first = np.repeat(corpus.offsets[:-1], corpus.lengths)  # (N,) start of their document
    context = np.zeros(corpus.targets, np.int64)  # (N,) number of the context
    keys, starts = np.zeros(1, np.int64), np.zeros(1, bool)
    below = np.zeros(0, np.int64)  # entry keys of the level below
    for k in range(view.depth + 1):
        if k:  # a context that holds the start is not longer than that
            keep = here - (k - 1) >= first
            here, first, suffix = here[keep], first[keep], context[keep]
            symbol = view.symbol(k, partial(in_corpus, tokens, here, first))
            keys, context = np.unique(suffix * base + symbol, return_inverse=True)
            starts = np.zeros(len(keys), bool)
            starts[context[here - (k - 1) == first]] = True
        entries, count = np.unique(context * v + tokens[here + 1], return_counts=True)
        rows, following = entries // v, entries % v
        parents = np.searchsorted(below, (keys[rows] // base) * v + following)
        yield Counts(keys, starts, rows, following, count, parents, v)
        below = entries


def in_corpus(tokens: Ints, here: Ints, first: Ints, j: int) -> Ints:
    """The characters j before those at `here`, the boundary where the document is younger."""
    characters: Ints = tokens[np.maximum(here - j, first)]
    return characters


def in_windows(windows: Ints, rows: Ints, j: int) -> Ints:
    """The characters j before the last of some windows."""
    characters: Ints = windows[rows, windows.shape[1] - 1 - j]
    return characters


class Keyed(Protocol):
    """A level, counted or smoothed."""

    @property
    def keys(self) -> Ints:
        """Sorted suffix · base + symbol of each context (U,)."""


def contexts(levels: Sequence[Keyed], view: View, windows: Ints, v: int) -> Iterator[tuple[Ints, Ints]]:
    """For each level: which of the windows (N, width) have a known context there, and its number.

    Windows are oldest first, left-padded with 0, and as wide as the view looks back.
    """
    alive, context = np.arange(len(windows)), np.zeros(len(windows), np.int64)
    age = (windows != 0).sum(axis=1)  # (N,) characters since the start
    for k, level in enumerate(levels):
        if k:
            longer = age[alive] >= k - 1
            alive, context = alive[longer], context[longer]
            symbol = view.symbol(k, partial(in_windows, windows, alive))
            key = context * view.base(v) + symbol
            known, context = find(level.keys, key)
            alive, context = alive[known], context[known]
        yield alive, context


def find(keys: Ints, wanted: Ints) -> tuple[NDArray[np.bool_], Ints]:
    """Which of the wanted are among the sorted keys, and where (anywhere for the others)."""
    if not len(keys):
        return np.zeros(len(wanted), bool), np.zeros(len(wanted), np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return keys[at] == wanted, at


def adjusted(levels: list[Counts], power: float = 0.0) -> list[NDArray[Any]]:
    """Kneser–Ney's counts: raw at the top and after the start, else the number of left neighbours.

    A neighbour that was seen c times counts c^power. With 0 this is Kneser–Ney, with 1 raw counts;
    between them lies the number of tables of a Pitman–Yor process (Teh 2006), about c^power.
    """
    result: list[NDArray[Any]] = [levels[-1].count]
    for level, above in zip(reversed(levels[:-1]), reversed(levels[1:]), strict=True):
        share = above.count**power if power else None
        neighbours = np.bincount(above.parents, share, len(level.count))
        result.append(np.where(level.starts[level.rows], level.count, neighbours))
    return result[::-1]


def formula(count: NDArray[Any]) -> tuple[float, float, float]:
    """Discounts of counts 1, 2 and 3+ from the counts of counts; the fallback where there are none."""
    rounded = np.rint(count)
    n1, n2, n3, n4 = (int((rounded == i).sum()) for i in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    discounts = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    legal = all(0 <= discount <= i for i, discount in enumerate(discounts, start=1))
    return discounts if legal else FALLBACK


def portions(count: NDArray[Any]) -> Array:
    """How much of each of the three discounts a count takes: (P,) -> (3, P).

    Counts 1, 2 and 3+ take their own; a count between two whole ones takes a part of both.
    """
    two = np.clip(count - 1, 0, 1) - np.clip(count - 2, 0, 1)
    return np.stack([np.clip(count, 0, 1) - np.clip(count - 1, 0, 1), two, np.clip(count - 2, 0, 1)])


def distinct(corpus: Corpus) -> Corpus:
    """Each distinct document once, in the order of their first appearance."""
    if corpus.kind == "text":
        return corpus
    keep = np.zeros(len(corpus), bool)
    for length in np.unique(corpus.lengths):
        documents = np.flatnonzero(corpus.lengths == length)
        _, which = unique_rows(corpus.batch(documents).targets, corpus.alphabet.size)
        keep[documents[np.unique(which, return_index=True)[1]]] = True
    return select(corpus, keep)
