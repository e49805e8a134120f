"""Causal attention over documents without padding, and its gradients, compiled by numba.

Heads are worked out side by side: of each of the P pairs (position, one up to it) the row q·k has all C
numbers, and `sums`, a matrix of ones in blocks, adds those of each head and leaves the sum at every one of
them. From there attention is arithmetic on rows of C. The other arrays are those of `Work`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness_plugins.compiled import compiled
from harness_plugins.exponentials import exp
from harness_plugins.small_products import LANES, multiply

FEW = 16  # documents whose pairs with their past are worked out together


@compiled
def attend(
    mixed: Any, weight: Any, qkv: Any, n: int, place: Any, pair: Any, product: Any, sums: Any, spare: Any
) -> None:
    """Causal attention: (N, 3·C) -> mixed (N, C); weight (P, C) holds each head's at all its numbers."""
    c = mixed.shape[1]
    for i in range(n):
        first, q = i - place[i], qkv[i]
        for s in range(place[i] + 1):
            to, k = product[pair[i] + s], qkv[first + s, c : 2 * c]
            for j in range(c):
                to[j] = q[j] * k[j]
    multiply(weight, product, sums, pair[n], c, np.bool_(False))
    largest, total = spare[0], spare[1]
    for i in range(n):
        first, begin, end, out = i - place[i], pair[i], pair[i + 1], mixed[i]
        for j in range(c):
            largest[j], total[j], out[j] = weight[begin, j], np.float32(0), np.float32(0)
        for at in range(begin + 1, end):
            row = weight[at]
            for j in range(c):
                largest[j] = max(largest[j], row[j])
        for at in range(begin, end):
            row, v = weight[at], qkv[first + at - begin, 2 * c :]
            for j in range(c):
                row[j] = exp(row[j] - largest[j])
                total[j] += row[j]
                out[j] += row[j] * v[j]
        for j in range(c):
            total[j] = np.float32(1) / total[j]
            out[j] *= total[j]
        for at in range(begin, end):
            row = weight[at]
            for j in range(c):
                row[j] *= total[j]


@compiled
def attend_last(
    mixed: Any, weight: Any, qkv: Any, past: Any, where: Any, product: Any, scores: Any, gather: Any,
    spread: Any, spare: Any,
) -> None:  # fmt: skip
    """Of the last position of each document, qkv (n, 3·C) -> mixed (n, C).

    Its keys and values join those of the others in past (·, 2·C), at the last of `where` (n, T). A few
    documents at a time: their pairs stay in the nearest cache.
    """
    c = mixed.shape[1]
    for i in range(len(where)):
        own, new = past[where[i, -1]], qkv[i]
        for j in range(2 * c):
            own[j] = new[c + j]
    for first in range(0, len(where), FEW):
        end = min(first + FEW, len(where))
        attend_few(
            mixed[first:end], weight, qkv[first:end], past, where[first:end], product, scores, gather,
            spread, spare,
        )  # fmt: skip


@compiled
def attend_few(
    mixed: Any, weight: Any, qkv: Any, past: Any, where: Any, product: Any, scores: Any, gather: Any,
    spread: Any, spare: Any,
) -> None:  # fmt: skip
    """Scores with a column a head, which is less than C; they are spread over its numbers to mix values."""
    n, size = where.shape
    c, heads = mixed.shape[1], len(spread)
    lanes = -(-heads // LANES) * LANES  # whole vectors: what is beyond the heads is not mixed
    for i in range(n):
        q = qkv[i]
        for s in range(size):
            to, k = product[i * size + s], past[where[i, s]]
            for j in range(c):
                to[j] = q[j] * k[j]
    multiply(scores, product, gather, n * size, c, np.bool_(False))
    largest, total = spare[0], spare[1]
    for i in range(n):
        begin, end = i * size, (i + 1) * size
        for j in range(lanes):
            largest[j], total[j] = scores[begin, j], np.float32(0)
        for at in range(begin + 1, end):
            row = scores[at]
            for j in range(lanes):
                largest[j] = max(largest[j], row[j])
        for at in range(begin, end):
            row = scores[at]
            for j in range(lanes):
                row[j] = exp(row[j] - largest[j])
                total[j] += row[j]
        for j in range(lanes):
            total[j] = np.float32(1) / total[j]
        for at in range(begin, end):
            row = scores[at]
            for j in range(lanes):
                row[j] *= total[j]
    multiply(weight, scores, spread, n * size, heads, np.bool_(False))
    for i in range(n):
        out = mixed[i]
        for j in range(c):
            out[j] = np.float32(0)
        for s in range(size):
            row, v = weight[i * size + s], past[where[i, s]]
            for j in range(c):
                out[j] += row[j] * v[c + j]


@compiled
def attend_back(
    d_qkv: Any, d_mixed: Any, weight: Any, qkv: Any, n: int, place: Any, pair: Any, product: Any,
    d_weight: Any, sums: Any, spare: Any,
) -> None:  # fmt: skip
    """The slopes of queries, keys and values (N, 3·C)."""
    c = d_mixed.shape[1]
    for i in range(n):
        for j in range(3 * c):
            d_qkv[i, j] = np.float32(0)
    for i in range(n):
        first, begin, slope = i - place[i], pair[i], d_mixed[i]
        for s in range(place[i] + 1):
            to, row = product[begin + s], weight[begin + s]
            v, d_v = qkv[first + s, 2 * c :], d_qkv[first + s, 2 * c :]
            for j in range(c):
                to[j] = slope[j] * v[j]
                d_v[j] += row[j] * slope[j]
    multiply(d_weight, product, sums, pair[n], c, np.bool_(False))  # holds the scores' root already
    along = spare[0]
    for i in range(n):
        first, begin, end = i - place[i], pair[i], pair[i + 1]
        q, d_q = qkv[i, :c], d_qkv[i, :c]
        for j in range(c):
            along[j] = np.float32(0)
        for at in range(begin, end):
            row, slope = weight[at], d_weight[at]
            for j in range(c):
                along[j] += row[j] * slope[j]
        for at in range(begin, end):
            row, slope, s = weight[at], d_weight[at], first + at - begin
            k, d_k = qkv[s, c : 2 * c], d_qkv[s, c : 2 * c]
            for j in range(c):
                score = row[j] * (slope[j] - along[j])
                d_q[j] += score * k[j]
                d_k[j] += score * q[j]
