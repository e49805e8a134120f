"""A part of train that nothing is learned from, for what is to be chosen without dev."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness import Corpus


def hold_out(train: Corpus) -> tuple[Corpus, Corpus]:
    """Nine tenths to learn from and one to choose on: every tenth document, or the end of running text."""
    if train.kind == "lines":
        tenth = np.arange(len(train)) % 10 == 9
        return select(train, ~tenth), select(train, tenth)
    cut = train.targets - train.targets // 10
    pieces = train.tokens[: cut + 1], np.concatenate([train.tokens[:1], train.tokens[cut + 1 :]])
    first, last = (
        Corpus(tokens, np.array([0, len(tokens) - 1]), train.alphabet, train.kind) for tokens in pieces
    )
    return first, last


def select(corpus: Corpus, keep: NDArray[np.bool_]) -> Corpus:
    """The documents of line data that are marked (G,), in their order."""
    body = corpus.tokens[1:][np.repeat(keep, corpus.lengths)]
    offsets = np.concatenate([[0], np.cumsum(corpus.lengths[keep])])
    return Corpus(np.concatenate([corpus.tokens[:1], body]), offsets, corpus.alphabet, corpus.kind)
