"""Ancestral sampling of many documents at once; what they have in common is asked for once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.corpus import BOUNDARY

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

PART = 2048  # documents whose probabilities stay in the cache
MOST_KEY = 2**62  # keys of contexts are packed into an int64


class Histories:
    """Which of n documents have the same history, as far as the next character depends on it.

    context: how far back it looks, None for all of the document.
    """

    def __init__(self, n: int, v: int, context: int | None) -> None:
        self.v = v
        self.packed = v**context if context is not None and v**context < MOST_KEY else None
        self.key = np.zeros(n, np.int64)

    def extend(self, documents: Ints, characters: Ints | int) -> None:
        """Another character of these documents."""
        key = self.key[documents] * self.v + characters
        self.key[documents] = key if self.packed is None else key % self.packed

    def distinct(self, documents: Ints) -> tuple[Ints, Ints]:
        """One document for each of the D distinct histories, and which of them each document has."""
        if len(documents) == 1:
            return documents, np.zeros(1, np.int64)
        key = self.key[documents]
        if self.packed is not None and self.packed <= len(key):  # few contexts: no need to sort
            one = np.full(self.packed, -1)
            one[key] = documents  # of each context any document that has it
            return one[one >= 0], (np.cumsum(one >= 0) - 1)[key]
        _, first, which = np.unique(key, return_index=True, return_inverse=True)
        if self.packed is None:
            self.key[documents] = which  # small again, so that it has room for another character
        return documents[first], which


def draw(
    next_log_probs: Callable[[Ints], Floats],
    v: int,
    context: int | None,
    n: int,
    max_length: int,
    rng: np.random.Generator,
    temperature: float,
    top_k: int | None,
    prompt: Sequence[int],
) -> list[Ints]:
    """As `Model.sample`. next_log_probs: (D, T) -> (D, V), asked for distinct histories alone."""
    if temperature < 0 or (top_k is not None and top_k < 1):
        raise ValueError("temperature must be 0 or more and top_k at least 1")
    rows = np.zeros((n, 1 + max(max_length, len(prompt))), np.int64)  # (n, 1 + T)
    rows[:, 1 : 1 + len(prompt)] = np.asarray(prompt, np.int64)
    length, active = np.full(n, len(prompt)), np.arange(n)
    histories = Histories(n, v, context)
    if context is not None:  # without a bound the prompt, which all have, tells nothing apart
        for token in prompt:
            histories.extend(active, int(token))
    for position in range(len(prompt), max_length):
        some, which = histories.distinct(active)
        logits = np.asarray(next_log_probs(rows[some, : position + 1]))  # (D, V)
        uniform = rng.random(n)[active]  # one a document, drawn or not: rows stay independent
        chosen = choose(logits, uniform, temperature, top_k, which)  # (A,)
        rows[active, position + 1] = chosen
        histories.extend(active, chosen)
        active = active[chosen != BOUNDARY]
        length[active] = position + 1
        if not len(active):
            break
    return [row[1:end] for row, end in zip(rows, (length + 1).tolist(), strict=True)]


def choose(
    logits: Floats, uniform: Floats, temperature: float, top_k: int | None, which: Ints | None = None
) -> Ints:
    """A character for each of A uniform numbers: logits (D, V), which of their rows each has -> (A,)."""
    if temperature == 0:
        greedy: Ints = np.argmax(logits, axis=1).astype(np.int64)
        return greedy if which is None else greedy[which]
    logits = logits - logits.max(axis=1, keepdims=True)
    if temperature != 1:
        with np.errstate(over="ignore"):  # a tiny temperature is argmax
            logits = np.divide(logits, temperature, dtype=np.float64)
    if top_k is not None and top_k < logits.shape[1]:
        dropped = np.argsort(-logits, axis=1, kind="stable")[:, top_k:]
        np.put_along_axis(logits, dropped, -np.inf, axis=1)
    weights = np.exp(logits, out=logits).astype(np.float64, copy=False)  # as exact as the rows
    cumulative = np.cumsum(weights, axis=1, out=weights)  # (D, V)
    which = np.arange(len(logits)) if which is None else which
    level = uniform * cumulative[which, -1]  # (A,) below the last sum, since uniform numbers are below 1
    chosen = np.empty(len(which), np.int64)
    for first in range(0, len(which), PART):
        some = slice(first, first + PART)
        chosen[some] = (cumulative.take(which[some], axis=0) > level[some, None]).argmax(axis=1)
    return chosen
