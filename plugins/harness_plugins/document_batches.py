"""Batches of whole documents, or of windows of running text, for the networks that read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from harness import Corpus
from harness.contract import Ints
from harness_plugins.prefix_tree import PrefixTree


class Rows:
    """Documents side by side: inputs, targets (B, T), and where there is a target."""

    def __init__(self, inputs: Ints, targets: Ints, mask: Any) -> None:
        self.inputs, self.targets_of, self.mask = inputs, targets, mask
        self.targets = int(mask.sum())


class Nodes:
    """Documents as a tree of prefixes."""

    def __init__(self, tree: PrefixTree) -> None:
        self.tree = tree
        self.targets = int(tree.counts.sum())


def documents(n: int, batch: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Endless batches of documents, drawn with replacement."""
    while True:
        yield rng.integers(0, n, batch)


def text_starts(train: Corpus, block: int, batch: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Endless batches (B,) of where windows of running text begin."""
    while True:
        yield rng.integers(0, train.targets - block + 1, batch)


def text_windows(train: Corpus, block: int, batch: int, rng: np.random.Generator) -> Iterator[Rows]:
    """Endless batches of windows of running text, all of whose targets count."""
    block = min(block, train.targets)
    for start in text_starts(train, block, batch, rng):
        at = start[:, None] + np.arange(block)  # (B, T)
        inputs, targets = train.tokens[at].astype(np.int64), train.tokens[at + 1].astype(np.int64)
        yield Rows(inputs, targets, np.ones(at.shape, bool))
