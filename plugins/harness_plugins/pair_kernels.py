"""Counting pairs of characters, and the network on their counts, compiled by numba."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Corpus
from harness_plugins.compiled import entry
from harness_plugins.count_bigram import pair_counts as plain_pair_counts

TABLES = 4  # of counts: a number that has just been written is not at once read again
NARROW = 5  # bits of a character where 32 are enough: pairs then stay in the first cache


@entry
def count_words(words: Any, bits: int, tables: Any) -> None:
    """Count the pairs that begin in all words but the last, 8 characters each.

    words (n,) uint64. bits: 5 or 8, of a character. tables (4, 4^bits): pair (i, j) stands at i + j·2^bits.
    Both lots of four pairs in a word lie in lanes of 16 bits, at even and at odd characters.
    """
    one, wide, lane = np.uint32(1), np.uint64(bits), np.uint64((1 << 2 * bits) - 1)
    low = np.uint64(0x0001000100010001) * np.uint64((1 << bits) - 1)
    high, back = low << wide, np.uint64(8) - wide
    two, four, six, last, rest = np.uint64(16), np.uint64(32), np.uint64(48), np.uint64(56), np.uint64(8)
    zero, first, second, third = tables[0], tables[1], tables[2], tables[3]
    for i in range(len(words) - 1):
        even = words[i]
        odd = (even >> rest) | (words[i + 1] << last)
        even = (even & low) | ((even >> back) & high)
        odd = (odd & low) | ((odd >> back) & high)
        zero[even & lane] += one
        first[odd & lane] += one
        second[(even >> two) & lane] += one
        third[(odd >> two) & lane] += one
        zero[(even >> four) & lane] += one
        first[(odd >> four) & lane] += one
        second[even >> six] += one
        third[odd >> six] += one


def pair_counts(corpus: Corpus) -> NDArray[np.float64]:
    """(V, V): how often the column's character follows the row's, boundaries counted."""
    v, tokens = corpus.alphabet.size, corpus.tokens
    if tokens.dtype != np.uint8:
        return plain_pair_counts(corpus)
    bits = NARROW if v <= 1 << NARROW else 8
    words = np.ascontiguousarray(tokens)[: len(tokens) // 8 * 8].view(np.uint64)
    total = np.zeros((v, v), np.int64)
    for first in range(0, max(len(words) - 1, 0), 1 << 29):  # so that 32 bits hold every count
        tables = np.zeros((TABLES, 1 << 2 * bits), np.uint32)
        count_words(words[first : first + (1 << 29) + 1], bits, tables)
        total += tables.sum(axis=0, dtype=np.int64).reshape(1 << bits, 1 << bits).T[:v, :v]
    done = 8 * max(len(words) - 1, 0)
    np.add.at(total, (tokens[done:-1], tokens[done + 1 :]), 1)
    return total.astype(np.float64)


@entry
def descend(weights: Any, velocity: Any, counts: Any, hyper: Any, losses: Any) -> None:
    """As many steps on counts (V, V) as there are losses; hyper: rate, momentum, λ. In place, float64.

    A loss is that before its step: Σ −count·ln softmax(W) / Σ count + λ·mean(W²).
    """
    v = len(weights)
    rate, momentum, penalty = hyper[0], hyper[1], hyper[2] / weights.size
    total = counts.sum()
    share = np.empty(v)
    for step in range(len(losses)):
        loss = squares = 0.0
        for i in range(v):
            largest, row = weights[i, 0], 0.0
            for j in range(v):
                largest = max(largest, weights[i, j])
                row += counts[i, j]
            normaliser = 0.0
            for j in range(v):
                share[j] = math.exp(weights[i, j] - largest)
                normaliser += share[j]
            loss += row * (math.log(normaliser) + largest)
            for j in range(v):
                w = weights[i, j]
                loss -= counts[i, j] * w
                squares += w * w
                slope = (row * share[j] / normaliser - counts[i, j]) / total + 2 * penalty * w
                velocity[i, j] = momentum * velocity[i, j] - rate * slope
                weights[i, j] = w + velocity[i, j]
        losses[step] = loss / total + penalty * squares
