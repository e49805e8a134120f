"""Counting n-grams of every order from one sort of packed n-grams, compiled by numba.

An n-gram is one integer: the characters of its context, nearest first, then what follows, `bits` each. Once
they are sorted, all that share a shorter context stand side by side: every level is one pass over them.

N targets, U distinct n-grams, V characters; level k has contexts of k characters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Corpus
from harness.contract import Ints
from harness_plugins.compiled import compiled, entry
from harness_plugins.ngram_counts import Counts

PART = 1 << 24  # targets that are sorted at a time: the pages of fresh memory cost more than sorting
DIGIT = 11  # bits of a pass of the sort: 2,048 counters stay in the first cache


def packed_bits(v: int, depth: int) -> int | None:
    """Bits of a character, where a context of `depth` and one more fit into 63; else None."""
    bits = max(1, (v - 1).bit_length())
    return bits if bits * (depth + 1) <= 63 else None


@compiled
def sort(keys: Any, other: Any, bits: int) -> Any:
    """Integers of so many bits, sorted by their digits, the last one first, and the room that they left.

    `other` is room for as many.
    """
    starts = np.zeros(1 << DIGIT, np.int64)
    for shift in range(0, bits, DIGIT):
        starts[:] = 0
        for i in range(len(keys)):
            starts[(keys[i] >> shift) & ((1 << DIGIT) - 1)] += 1
        at = 0
        for digit in range(len(starts)):
            size = starts[digit]
            starts[digit] = at
            at += size
        for i in range(len(keys)):
            digit = (keys[i] >> shift) & ((1 << DIGIT) - 1)
            other[starts[digit]] = keys[i]
            starts[digit] += 1
        keys, other = other, keys
    return keys, other


@entry
def distinct_ngrams(tokens: Any, first: int, last: int, depth: int, bits: int, keys: Any, other: Any) -> Any:
    """Distinct n-grams (U,) of the targets first … last − 1, sorted, and how often each occurs (U,).

    tokens (N + 1,); keys, other: room for last − first integers each.
    """
    n = last - first
    context = np.int64(0)
    for i in range(max(0, first - depth), last):
        nearest = np.int64(tokens[i])  # the start of a document ends its contexts: all beyond it are 0
        context = (nearest << (bits * (depth - 1))) | (context >> bits) if depth and nearest else np.int64(0)
        if i >= first:
            keys[i - first] = (context << bits) | np.int64(tokens[i + 1])
    keys, count = sort(keys[:n], other[:n], bits * (depth + 1))
    found = 0
    for i in range(n):
        if i == 0 or keys[i] != keys[i - 1]:
            keys[found], count[found] = keys[i], 0
            found += 1
        count[found - 1] += 1
    return keys[:found].copy(), count[:found].copy()


@entry
def merged(one: Any, times: Any, other: Any, other_times: Any) -> Any:
    """Two sorted lists of distinct n-grams, (U,) and (W,), as one, and how often each occurs in both."""
    keys, count = np.empty(len(one) + len(other), np.int64), np.empty(len(one) + len(other), np.int64)
    i = j = found = 0
    while i < len(one) or j < len(other):
        left = i < len(one) and (j == len(other) or one[i] <= other[j])
        right = j < len(other) and (i == len(one) or other[j] <= one[i])
        keys[found], count[found] = one[i] if left else other[j], 0
        if left:
            count[found] += times[i]
            i += 1
        if right:
            count[found] += other_times[j]
            j += 1
        found += 1
    return keys[:found].copy(), count[:found].copy()


def ngrams_of(tokens: NDArray[Any], depth: int, bits: int) -> tuple[Ints, Ints]:
    """Distinct n-grams (U,) of a text, sorted, and how often each occurs (U,): part by part."""
    n = len(tokens) - 1
    room = np.empty((2, min(n, PART)), np.int64)
    found, times = distinct_ngrams(tokens, 0, min(n, PART), depth, bits, room[0], room[1])
    for first in range(PART, n, PART):
        more = distinct_ngrams(tokens, first, min(n, first + PART), depth, bits, room[0], room[1])
        found, times = merged(found, times, *more)
    return found, times


@entry
def level_counts(ngrams: Any, times: Any, bits: int, depth: int, k: int, v: int, below: Any) -> Any:
    """`Counts` of level k as arrays, from sorted distinct n-grams.

    below: next (P,) and offsets (U + 1,) of the level below. Returns keys, starts, rows, next, count, parents
    and offsets.
    """
    size = len(ngrams)
    keys, starts, offsets = np.zeros(size, np.int64), np.zeros(size, np.bool_), np.zeros(size + 1, np.int64)
    rows, following, count = (np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.int64))
    parents = np.zeros(size, np.int64)
    tally, place = np.zeros(v, np.int64), np.zeros(v, np.int64)
    mask, here = (1 << bits) - 1, bits * (depth - k + 1)  # a context of k is what lies from bit `here` on
    contexts = entries = 0
    suffix, suffix_of_last, filled = -1, 0, -1
    last = last_suffix = np.int64(-1)
    for i in range(size + 1):
        ends = i == size
        if not ends:
            shorter = ngrams[i] >> (here + bits) if k else np.int64(0)
            if k > 2 and (ngrams[i] >> (here + 2 * bits)) & mask == 0:
                continue  # too short for the level below
            if shorter != last_suffix:
                last_suffix = shorter
                suffix += 1
            if k > 1 and shorter & mask == 0:
                continue  # a document's start is not followed by more
            context = ngrams[i] >> here
        if last >= 0 and (ends or context != last):  # all of a context has been seen
            keys[contexts] = suffix_of_last * v + (last & mask) if k else 0
            starts[contexts] = k > 0 and last & mask == 0
            if k and filled != suffix_of_last:
                filled = suffix_of_last
                for entry_below in range(below[1][filled], below[1][filled + 1]):
                    place[below[0][entry_below]] = entry_below
            for w in range(v):
                if tally[w]:
                    rows[entries], following[entries], count[entries] = contexts, w, tally[w]
                    if k:
                        parents[entries] = place[w]
                    tally[w] = 0
                    entries += 1
            contexts += 1
            offsets[contexts] = entries
        if not ends:
            last, suffix_of_last = context, suffix
            tally[ngrams[i] & mask] += times[i]
    return (
        keys[:contexts].copy(), starts[:contexts].copy(), rows[:entries].copy(), following[:entries].copy(),
        count[:entries].copy(), parents[:entries].copy(), offsets[: contexts + 1].copy(),
    )  # fmt: skip


def count_packed(corpus: Corpus, depth: int, bits: int) -> Iterator[Counts]:
    """What `count_levels` counts for plain contexts of length 0 … depth, number for number."""
    v = corpus.alphabet.size
    ngrams, times = ngrams_of(corpus.tokens, depth, bits)
    below: tuple[Ints, Ints] = (np.zeros(0, np.int64), np.zeros(1, np.int64))
    for k in range(depth + 1):
        keys, starts, rows, following, count, parents, offsets = level_counts(
            ngrams, times, bits, depth, k, v, below
        )
        yield Counts(keys, starts, rows, following, count, parents, v)
        below = following, offsets
