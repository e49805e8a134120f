"""The rows of a batch as compiled steps read them: contexts, and the counts of what follows each of them.

A position of the training text is a context that is followed once; a distinct context has its counts in
all of train. N rows, K tokens in a context, P counts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.contract import Ints
from harness_plugins.compiled import compiled
from harness_plugins.weighted_contexts import Contexts

Array = NDArray[np.float32]


class Batch(NamedTuple):
    """Contexts and what follows each of them, how often; entries of row i are first[i] … first[i + 1]."""

    windows: Ints  # (N, K)
    total: Array  # (N,) the sum of its counts
    first: Ints  # (N + 1,)
    following: Ints  # (P,)
    counts: Array  # (P,)


def room(rows: int, context: int, pairs: int) -> Batch:
    """A batch of so many rows, followed by so many characters, at first by one each."""
    return Batch(
        windows=np.zeros((rows, context), np.int64),
        total=np.ones(rows, np.float32),
        first=np.arange(rows + 1),
        following=np.zeros(pairs, np.int64),
        counts=np.ones(pairs, np.float32),
    )


def table(contexts: Contexts) -> Batch:
    """All contexts of train as the kernels read them."""
    return Batch(
        windows=contexts.windows,
        total=contexts.total.astype(np.float32),
        first=contexts.first,
        following=contexts.following,
        counts=contexts.counts.astype(np.float32),
    )


@compiled
def read_positions(tokens: Any, chosen: Any, outside: int, batch: Any) -> None:
    """A batch of positions in the training text; `outside`: the token left of a document's start."""
    for i in range(len(chosen)):
        at = chosen[i]
        batch.following[i] = tokens[at + 1]
        token = np.int64(tokens[at])
        for k in range(batch.windows.shape[1] - 1, -1, -1):
            batch.windows[i, k] = token
            if token == 0 or token == outside:
                token = np.int64(outside)
            else:
                at -= 1
                token = np.int64(tokens[at])


@compiled
def read_contexts(contexts: Any, drawn: Any, normalised: bool, batch: Any) -> int:
    """A batch of contexts, drawn in ascending order, each once with its weight; its rows.

    With batch normalisation a context is a row as often as it was drawn.
    """
    rows = pairs = 0
    for i in range(len(drawn)):
        u = drawn[i]
        if i > 0 and u == drawn[i - 1] and not normalised:
            batch.total[rows - 1] += 1
            continue
        for k in range(batch.windows.shape[1]):
            batch.windows[rows, k] = contexts.windows[u, k]
        batch.total[rows] = 1
        batch.first[rows] = pairs
        for p in range(contexts.first[u], contexts.first[u + 1]):
            batch.following[pairs] = contexts.following[p]
            batch.counts[pairs] = contexts.counts[p] / contexts.total[u]
            pairs += 1
        rows += 1
    batch.first[rows] = pairs
    for i in range(rows):
        for p in range(batch.first[i], batch.first[i + 1]):
            batch.counts[p] *= batch.total[i]
    return rows
