"""Classes of characters, learned: the exchange algorithm.

Kneser & Ney, Improved Clustering Techniques for Class-Based Statistical Language Modelling (1993). With
two classes of the letters of names it finds vowels and consonants.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness import Corpus
from harness.contract import Ints

COMMON = 256  # rarer characters than these share one more class
SWEEPS = 10


def exchange(corpus: Corpus, classes: int) -> Ints:
    """The class (V,) of each character, 1 … classes; 0 is the boundary's own.

    Characters move, the most frequent first, to the class where the class bigram model of the corpus
    is most likely, until none wants to move.
    """
    v = corpus.alphabet.size
    often = np.bincount(corpus.tokens, minlength=v)[1:]
    order = 1 + np.argsort(-often, kind="stable")[: COMMON - 1]  # most frequent first
    members = np.concatenate([[0], order])  # (M,)
    small = np.full(v, -1)
    small[members] = np.arange(len(members))
    before, after = small[corpus.tokens[:-1]], small[corpus.tokens[1:]]
    common = (before >= 0) & (after >= 0)
    m = len(members)
    flat = np.bincount(before[common] * m + after[common], minlength=m * m)
    pairs = flat.reshape(m, m).astype(np.float64)  # (M, M) how often the one follows the other
    of = np.concatenate([[0], 1 + np.arange(m - 1) % classes])  # (M,)
    best = likelihood(pairs, of, classes)
    for _ in range(SWEEPS):
        before_sweep = best
        for member in range(1, m):
            home = of[member]
            for other in range(1, classes + 1):
                tried = of.copy()
                tried[member] = other
                if (value := likelihood(pairs, tried, classes)) > best + 1e-9:
                    best, home = value, other
            of[member] = home
        if best == before_sweep:
            break
    result = np.full(v, classes + 1 if v > m else 0)
    result[members] = of
    return result


def likelihood(pairs: NDArray[np.float64], of: Ints, classes: int) -> float:
    """Log-likelihood of a class bigram model, but for what no exchange changes."""
    member = np.eye(classes + 1)[of]  # (M, C + 1)
    both = member.T @ pairs @ member  # (C + 1, C + 1)
    return entropy(both.sum(axis=0)) + entropy(both.sum(axis=1)) - entropy(both)


def entropy(counts: NDArray[np.float64]) -> float:
    """−Σ n ln n."""
    return -float((counts * np.log(np.maximum(counts, 1))).sum())
