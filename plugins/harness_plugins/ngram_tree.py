"""An n-gram model as a tree, compiled by numba: contexts of any kind and number, and what each adds.

For models whose automaton would be too large, or whose contexts are by classes. S contexts of all levels,
the empty one first, then level by level; P entries; V characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.contract import Ints
from harness_plugins.compiled import compiled, entry
from harness_plugins.ngram import Level
from harness_plugins.ngram_counts import Array, View
from harness_plugins.ngram_states import arrays, fill_rows

DENSE = 1 << 22  # numbers of the whole rows that are kept, 32 MB: those of the shortest contexts
Indices = NDArray[np.int32]  # half of what Ints take: what is slow here is memory


class Tree(NamedTuple):
    """What `look_up` reads.

    symbols (S,): the last symbol of each context; kids (S + 1,): where those that are one symbol longer
    begin, sorted by it; offsets (S + 1,), next, own (P,), rest (S,): as in `Level`; dense (D, V):
    probabilities after the first D contexts, whole levels. classes (V,): of each character, none for
    plain contexts; many: how many classes there are; depth: symbols of the longest context.
    """

    symbols: Indices
    kids: Indices
    offsets: Indices
    next: Indices
    own: Array
    rest: Array
    dense: Array
    classes: Ints
    many: int
    depth: int


def grow(levels: Sequence[Level], view: View, v: int) -> Tree:
    """The tree of interpolated levels."""
    parts = [arrays(level) for level in levels]
    base = view.base(v)
    keys = [part[0] for part in parts]
    longer = [np.bincount(above // base, minlength=len(here)) for here, above in pairwise(keys)]
    kids = 1 + np.cumsum(np.concatenate([[0], *longer, np.zeros(len(keys[-1]))])).astype(np.int32)  # (S + 1,)
    sizes = np.concatenate([np.diff(part[1]) for part in parts])
    classes = np.zeros(0, np.int64) if view.classes is None else np.array(view.classes, np.int64)
    return Tree(
        np.concatenate([each % base for each in keys]).astype(np.int32),
        kids,
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32),
        np.concatenate([part[2] for part in parts]).astype(np.int32),
        np.concatenate([part[3] for part in parts]),
        np.concatenate([part[4] for part in parts]),
        dense_rows(parts, base, v),
        classes,
        int(classes.max(initial=0)) + 1,
        view.depth,
    )


def dense_rows(parts: Sequence[tuple[NDArray[Any], ...]], base: int, v: int) -> Array:
    """Probabilities (D, V) after the contexts of the first levels, the empty one at least."""
    ends = np.cumsum([len(part[0]) for part in parts])
    kept = max(1, int((ends * v <= DENSE).sum()))
    rows = np.empty((ends[kept - 1], v))
    for k, part in enumerate(parts[:kept]):
        fill_rows(rows, base, ends[k - 2] if k > 1 else 0, ends[k - 1] if k else 0, *part)
    return rows


@compiled
def symbol(tree: Any, k: int, row: Any, t: int) -> Any:
    """The k-th symbol of the context that ends at row[t]; the boundary before the row's first character."""
    back = k - 1
    if len(tree.classes):
        if k == 1:
            pattern = 0
            for j in range(tree.depth - 1):
                pattern = pattern * tree.many + tree.classes[row[t - j] if j <= t else 0]
            return pattern
        back = k - 2
    return row[t - back] if back <= t else 0


@compiled
def descend(tree: Any, row: Any, t: int, chain: Any) -> Any:
    """Contexts that are known and end at row[t], shortest first, into chain; how many."""
    chain[0] = 0
    length, age = 1, 0  # characters since the start, as far as they matter
    while length <= tree.depth:
        if length > 1:
            if age > t or row[t - age] == 0:
                break  # what holds the start is not longer
            age += 1
        wanted = symbol(tree, length, row, t)
        low, high = tree.kids[chain[length - 1]], tree.kids[chain[length - 1] + 1]
        end = high
        while low < high:
            middle = (low + high) >> 1
            if tree.symbols[middle] < wanted:
                low = middle + 1
            else:
                high = middle
        if low == end or tree.symbols[low] != wanted:
            break
        chain[length] = low
        length += 1
    return length


@entry
def look_up(tree: Any, weight: float, inputs: Any, first: int, out: Any) -> None:
    """Add weight times the probabilities after inputs[:, first:], (B, T), to out (B, T − first, V)."""
    chain = np.zeros(tree.depth + 1, np.int64)
    for b in range(inputs.shape[0]):
        row = inputs[b]
        for t in range(first, inputs.shape[1]):
            length = descend(tree, row, t, chain)
            p = out[b, t - first]
            share = weight
            while chain[length - 1] >= len(tree.dense):
                length -= 1
                context = chain[length]
                for at in range(tree.offsets[context], tree.offsets[context + 1]):
                    p[tree.next[at]] += share * tree.own[at]
                share *= tree.rest[context]
            whole = tree.dense[chain[length - 1]]
            for w in range(len(p)):
                p[w] += share * whole[w]
