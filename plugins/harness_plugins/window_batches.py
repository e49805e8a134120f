"""Batches of positions in the training text, for networks with a window."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness import Corpus
from harness.contract import Ints

DRAWN_AHEAD = 1000  # batches that are drawn at once


def window_batches(train: Corpus, size: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Endless batches (size,) of positions in the training text, with replacement as in the lecture."""
    while True:
        yield from rng.integers(0, train.targets, (DRAWN_AHEAD, size))


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
