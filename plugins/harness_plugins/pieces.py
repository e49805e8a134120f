"""Longer inputs than a network has positions, in pieces that overlap by half.

Row t is read from the start of the first piece that holds it, so it has at least half a block of history,
or all there is, and depends on nothing further back than the block.
"""

from __future__ import annotations

import numpy as np

from harness import Corpus
from harness.contract import Ints


def start_of(length: int, block: int) -> int:
    """Where the piece begins that holds the last of `length` inputs."""
    step = max(1, block // 2)
    return max(0, -(-(length - block) // step)) * step


def pieces_of(length: int, block: int) -> list[tuple[int, int, int]]:
    """Start, first new position and end of the pieces in which `length` inputs are read."""
    found, have = [], 0
    while have < length:
        start = start_of(have + 1, block)
        end = min(start + block, length)
        found.append((start, have, end))
        have = end
    return found


def all_pieces(train: Corpus, block: int) -> Ints:
    """Start, first new position and end (3, P) of every piece of every document, as positions of inputs."""
    if train.lengths.max(initial=0) <= block:  # most often, and thousands of documents
        return np.stack([train.offsets[:-1], train.offsets[:-1], train.offsets[1:]])
    found = [
        (first + start, first + fresh, first + end)
        for first, length in zip(train.offsets[:-1], train.lengths, strict=True)
        for start, fresh, end in pieces_of(int(length), block)
    ]
    return np.array(found, np.int64).T
