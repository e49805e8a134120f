"""Batches of positions in the training text, for networks with a window."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

import numpy as np

from harness import Corpus
from harness.contract import Ints

DRAWN_AHEAD = 1000  # batches that are drawn at once
MOST_PADDED = 1 << 24  # positions in a table of padded batches


def window_tables(train: Corpus, size: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Endless tables (DRAWN_AHEAD, size) of positions in the training text, drawn as in the lecture."""
    while True:
        yield rng.integers(0, train.targets, (DRAWN_AHEAD, size))


def window_batches(train: Corpus, size: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Endless batches (size,): the rows of these tables."""
    return chain.from_iterable(window_tables(train, size, rng))


def document_batches(train: Corpus, size: int, context: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Endless batches of all positions of `size` documents, drawn with replacement as in makemore.py.

    Running text has one document: there, `context` positions in a row stand for one.
    """
    offsets = train.offsets
    if train.kind == "text":
        offsets = np.append(np.arange(0, train.targets, context), train.targets)
    while True:
        for chosen in rng.integers(0, len(offsets) - 1, (DRAWN_AHEAD, size)):
            first, length = offsets[chosen], offsets[chosen + 1] - offsets[chosen]
            before = np.cumsum(length) - length  # positions of the batch that come earlier
            yield np.arange(length.sum()) + np.repeat(first - before, length)


def document_tables(
    train: Corpus, size: int, context: int, rng: np.random.Generator
) -> Iterator[tuple[Ints, Ints]]:
    """Endless tables: as many of these batches as rows (S, N), right-padded with 0; their lengths (S,)."""
    longest = min(context, train.targets) if train.kind == "text" else int(train.lengths.max(initial=1))
    width = size * longest
    batches = document_batches(train, size, context, rng)
    while True:
        some = list(islice(batches, max(1, min(DRAWN_AHEAD, MOST_PADDED // width))))
        lengths = np.array([len(batch) for batch in some])
        table = np.zeros((len(some), width), np.int64)
        table[np.arange(width) < lengths[:, None]] = np.concatenate(some)
        yield table, lengths
