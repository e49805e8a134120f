"""An n-gram model as an automaton, compiled by numba: states are contexts, a character leads to the next one.

The state after a text is its longest known suffix, so a step is one look-up however long contexts are, and
what follows is a row of a table. S states, the contexts of all levels, the empty one first; V characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness_plugins.compiled import entry
from harness_plugins.ngram import Level

MOST = 1 << 24  # numbers of a table: 128 MB for the rows, 64 for the steps


@dataclass(frozen=True, eq=False)
class States:
    """Log-probabilities (S, V), the state after each character (S, V), the one at a document's start."""

    rows: NDArray[np.float64]
    next: NDArray[np.int32]
    start: int


def fits(levels: Sequence[Level], v: int) -> bool:
    """Whether the tables are of a size that is worth it."""
    return sum(len(level.keys) for level in levels) * v <= MOST


def build(levels: Sequence[Level], v: int) -> States:
    """The automaton of interpolated levels, plain contexts only."""
    sizes = [0, *np.cumsum([len(level.keys) for level in levels]).tolist()]  # where each level's states begin
    rows, steps = np.empty((sizes[-1], v)), np.zeros((sizes[-1], v), np.int32)
    nearest, tail = np.zeros(sizes[-1], np.int32), np.zeros(sizes[-1], np.int32)
    older = np.zeros(0, np.int64)
    for k, level in enumerate(levels):
        keys, offsets, following, own, rest = arrays(level)
        before = sizes[max(k - 1, 0)]
        fill_rows(rows, v, before, sizes[k], keys, offsets, following, own, rest)
        if k:
            fill_steps(steps, nearest, tail, sizes[max(k - 2, 0)], before, sizes[k], keys, older)
        older = keys
    start = sizes[1] if len(levels) > 1 and levels[1].keys[0] == 0 else 0
    with np.errstate(divide="ignore"):
        np.log(rows, out=rows)
    return States(rows, steps, start)


def arrays(level: Level) -> tuple[NDArray[Any], ...]:
    """A level's arrays, as kernels are compiled for them."""
    whole = (np.array(part, np.int64) for part in (level.keys, level.offsets, level.next))
    return *whole, *(np.array(part, np.float64) for part in (level.own, level.rest))


@entry
def fill_rows(
    p: Any, base: int, before: int, first: int, keys: Any, offsets: Any, following: Any, own: Any, rest: Any
) -> None:
    """Probabilities of a level's states: own + rest · p of the context without its oldest character.

    keys: suffix · base + symbol. before, first: where the states of the level below and of this one begin;
    both 0 at the lowest, which rests on the uniform distribution.
    """
    v = p.shape[1]
    for i in range(len(keys)):
        row, share = p[first + i], rest[i]
        if first == 0:
            row[:] = share / v
        else:
            parent = p[before + keys[i] // base]
            for w in range(v):
                row[w] = share * parent[w]
        for at in range(offsets[i], offsets[i + 1]):
            row[following[at]] += own[at]


@entry
def fill_steps(
    steps: Any, nearest: Any, tail: Any, beneath: int, before: int, first: int, keys: Any, older: Any
) -> None:
    """The steps of a level's states, and those of the level below that lead to them.

    A context x₁x₂…x_k (nearest first) is where x₂…x_k, its tail, goes on reading x₁. The tail is known: in
    train x₁ followed it. What leads to no longer context goes where the context without its oldest
    character does.
    nearest, tail (S,): x₁ and the tail of each state. beneath, before, first: where the states of the levels
    k − 2, k − 1 and k begin. older: the keys of level k − 1.
    """
    v = steps.shape[1]
    for i in range(len(keys)):
        parent, oldest, state = before + keys[i] // v, keys[i] % v, first + i
        if first == 1:  # x₁ alone
            nearest[state], tail[state] = oldest, 0
        else:
            nearest[state] = nearest[parent]
            tail[state] = before + np.searchsorted(older, (tail[parent] - beneath) * v + oldest)
        steps[tail[state], nearest[state]] = state
    for i in range(len(keys)):
        steps[first + i] = steps[before + keys[i] // v]


@entry
def walk(steps: Any, start: int, inputs: Any, states: Any) -> None:
    """The state after every character: inputs (B, T) -> states (B, T).

    Row by row each step would wait for the one before it; column by column B of them are on their way.
    """
    here = np.full(inputs.shape[0], start, np.int32)
    for t in range(inputs.shape[1]):
        for b in range(inputs.shape[0]):
            here[b] = steps[here[b], inputs[b, t]]
            states[b, t] = here[b]


@entry
def score(rows: Any, steps: Any, start: int, depth: int, tokens: Any, out: Any) -> None:
    """Log-probabilities of all targets: tokens (N + 1,) -> out (N,).

    Four stretches of the text are read at a time, since each step waits for the one before it. The state
    in the midst of a text depends on the `depth` characters before it alone.
    """
    part = len(out) // 4
    one, two, three, four = start, start, start, start
    for back in range(depth, 0, -1):
        if part >= back:
            two = steps[two, tokens[part - back]]
        if 2 * part >= back:
            three = steps[three, tokens[2 * part - back]]
        if 3 * part >= back:
            four = steps[four, tokens[3 * part - back]]
    for i in range(part):
        one = steps[one, tokens[i]]
        two = steps[two, tokens[i + part]]
        three = steps[three, tokens[i + 2 * part]]
        four = steps[four, tokens[i + 3 * part]]
        out[i] = rows[one, tokens[i + 1]]
        out[i + part] = rows[two, tokens[i + part + 1]]
        out[i + 2 * part] = rows[three, tokens[i + 2 * part + 1]]
        out[i + 3 * part] = rows[four, tokens[i + 3 * part + 1]]
    for i in range(4 * part, len(out)):
        four = steps[four, tokens[i]]
        out[i] = rows[four, tokens[i + 1]]
