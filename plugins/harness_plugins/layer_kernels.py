"""Linear layers, norms, GELU and dropout on rows of float32, and their gradients, compiled by numba.

N rows of C numbers, of which `width` are real: what is beyond them is 0 and stays so.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from harness_plugins.compiled import compiled
from harness_plugins.exponentials import exp
from harness_plugins.small_products import multiply_turned, multiply_wide

EPSILON = np.float32(1e-5)
ROOT, CUBE = np.float32(math.sqrt(2 / math.pi)), np.float32(0.044715)


@compiled
def norm(out: Any, scale: Any, x: Any, n: int, width: Any) -> None:
    """x (N, C) over the root of its mean square; `width` of the C are real (Zhang & Sennrich 2019)."""
    for i in range(n):
        row, to, squares = x[i], out[i], np.float32(0)
        for j in range(len(row)):
            squares += row[j] * row[j]
        scale[i] = np.float32(1) / np.sqrt(squares / width + EPSILON)
        for j in range(len(row)):
            to[j] = row[j] * scale[i]


@compiled
def norm_back(d_x: Any, d_y: Any, y: Any, scale: Any, n: int, width: Any, keep: bool) -> None:
    """d x = scale·(d y − y·mean(d y·y)), added to what d_x holds where `keep`."""
    for i in range(n):
        to, slope, row, along = d_x[i], d_y[i], y[i], np.float32(0)
        for j in range(len(row)):
            along += slope[j] * row[j]
        along /= width
        if keep:
            for j in range(len(row)):
                to[j] += scale[i] * (slope[j] - along * row[j])
        else:
            for j in range(len(row)):
                to[j] = scale[i] * (slope[j] - along * row[j])


@compiled
def layer_norm(out: Any, unit: Any, scale: Any, x: Any, gain: Any, shift: Any, n: int, width: Any) -> None:
    """x (N, C) less its mean, over its deviation: unit (N, C); times gain, plus shift (Ba et al. 2016)."""
    real = int(width)
    for i in range(n):
        row, to, one = x[i], out[i], unit[i]
        mean, squares = np.float32(0), np.float32(0)
        for j in range(len(row)):
            mean += row[j]
        mean /= width
        for j in range(real):
            squares += (row[j] - mean) * (row[j] - mean)
        scale[i] = np.float32(1) / np.sqrt(squares / width + EPSILON)
        for j in range(real):
            one[j] = (row[j] - mean) * scale[i]
            to[j] = one[j] * gain[j] + shift[j]


@compiled
def layer_norm_back(
    d_x: Any, d_y: Any, unit: Any, scale: Any, gain: Any, d_gain: Any, d_shift: Any, n: int, width: Any,
    keep: bool,
) -> None:  # fmt: skip
    """d x, added to what d_x holds where `keep`; d_gain and d_shift (C,). d_y becomes d unit."""
    real = int(width)
    d_gain[:] = 0
    d_shift[:] = 0
    for i in range(n):
        to, slope, one = d_x[i], d_y[i], unit[i]
        total, along = np.float32(0), np.float32(0)
        for j in range(real):
            d_shift[j] += slope[j]
            d_gain[j] += slope[j] * one[j]
            slope[j] *= gain[j]
            total += slope[j]
            along += slope[j] * one[j]
        total /= width
        along /= width
        if not keep:
            to[:] = 0
        for j in range(real):
            to[j] += scale[i] * (slope[j] - total - along * one[j])


@compiled
def gelu(out: Any, x: Any, n: int) -> None:
    """x·σ(2u) with u = √(2/π)·(x + 0.044715·x³): the tanh form of Hendrycks & Gimpel 2016."""
    along, to = x.reshape(-1), out.reshape(-1)
    for j in range(n * x.shape[1]):
        v = along[j]
        u = ROOT * (v + CUBE * v * v * v)
        to[j] = v / (np.float32(1) + exp(np.float32(-2) * u))


@compiled
def gelu_back(slope: Any, x: Any, n: int) -> None:
    """d out (N, F) becomes d x, in place."""
    along, to = x.reshape(-1), slope.reshape(-1)
    for j in range(n * x.shape[1]):
        v = along[j]
        u = ROOT * (v + CUBE * v * v * v)
        share = np.float32(1) / (np.float32(1) + exp(np.float32(-2) * u))
        steep = np.float32(2) * ROOT * (np.float32(1) + np.float32(3) * CUBE * v * v)
        to[j] *= share + v * share * (np.float32(1) - share) * steep


@compiled
def draw_masks(masks: Any, random: Any, n: int, rate: Any) -> None:
    """masks (…, N, C): 0 for a share `rate`, else what keeps the mean (Srivastava et al. 2014).

    random: the state of a 64-bit xorshift generator (Marsaglia 2003), which is moved.
    """
    state, kept = random[0], np.float32(1) / (np.float32(1) - rate)
    least = np.uint64(np.float64(rate) * 2.0**32)
    for k in range(len(masks)):
        for i in range(n):
            row = masks[k, i]
            for j in range(len(row)):
                state ^= state << np.uint64(13)
                state ^= state >> np.uint64(7)
                state ^= state << np.uint64(17)
                row[j] = kept if state >> np.uint64(32) >= least else np.float32(0)
    random[0] = state


@compiled
def drop(out: Any, x: Any, mask: Any, n: int) -> None:
    """X times its mask; `out` may be x."""
    for i in range(n):
        to, row, kept = out[i], x[i], mask[i]
        for j in range(len(row)):
            to[j] = row[j] * kept[j]


@compiled
def sum_rows(out: Any, x: Any, n: int) -> None:
    """The sum of n rows (C,)."""
    out[:] = 0
    for i in range(n):
        row = x[i]
        for j in range(len(row)):
            out[j] += row[j]


@compiled
def linear(out: Any, x: Any, matrix: Any, bias: Any, layer: int, n: int, panel: Any) -> None:
    """out ← x @ matrix + bias[layer], where there is one."""
    biased = len(bias) > 0
    if biased:
        for i in range(n):
            to, row = out[i], bias[layer]
            for j in range(len(row)):
                to[j] = row[j]
    multiply_wide(out, x, matrix, n, x.shape[1], biased, panel)


@compiled
def branch(
    out: Any,
    before: Any,
    x: Any,
    matrix: Any,
    bias: Any,
    layer: int,
    mask: Any,
    dropping: bool,
    n: int,
    panel: Any,
) -> None:
    """out ← before + a linear layer of x: a residual path, which training drops a share of by the mask."""
    if dropping:
        linear(out, x, matrix, bias, layer, n, panel)
        for i in range(n):
            to, row, kept = out[i], before[i], mask[i]
            for j in range(len(row)):
                to[j] = row[j] + to[j] * kept[j]
        return
    for i in range(n):
        to, row = out[i], before[i]
        for j in range(len(row)):
            to[j] = row[j]
        if len(bias) > 0:
            for j in range(len(row)):
                to[j] += bias[layer, j]
    multiply_wide(out, x, matrix, n, x.shape[1], np.bool_(True), panel)


@compiled
def linear_back(
    grad: Any, d_bias: Any, d_x: Any, d_out: Any, x: Any, matrix: Any, layer: int, n: int, panel: Any
) -> None:
    """The gradients of `linear`: of its matrix, of its bias where it has one, and of x."""
    multiply_wide(grad, x.T, d_out, x.shape[1], n, np.bool_(False), panel)
    if len(d_bias) > 0:
        sum_rows(d_bias[layer], d_out, n)
    multiply_turned(d_x, d_out, matrix, n, panel)
