"""The MLP's training steps compiled by numba: float32, in place, no allocation.

The gradients are the oracle's. Two things are done differently:

- The first layer is worked out by pairs (position, token), not by rows: e·W1 is a sum of products
  C[token]·W1[position], of which 32 rows of names have about 40 instead of 96, and all distinct contexts 81.
- A row is a context with the counts of what follows it (`mlp_rows`).

K tokens in a context, E embedding, H hidden (a multiple of 16: columns that are too many are 0 and stay so),
V characters, M distinct pairs of a batch, N rows of a batch, R rows of a block, P counts.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness_plugins.compiled import compiled, entry, part
from harness_plugins.descent import adamw, descend
from harness_plugins.exponentials import exp, tanh
from harness_plugins.mlp_rows import read_contexts, read_positions
from harness_plugins.small_products import multiply, multiply_rows

Array = NDArray[np.float32]
Ints = NDArray[np.int64]

EPSILON, MOMENTUM = np.float32(1e-5), np.float32(0.001)  # of batch normalisation
BLOCK = 64  # rows whose hidden layer stays in the cache


class Net(NamedTuple):
    """Parameters or their gradients: views of one flat vector. Unused ones have size 0."""

    C: Array  # (tokens, E)
    W1: Array  # (K·E, H)
    shift: Array  # (H,) b1, or the bias of batch normalisation
    gain: Array  # (H,) of batch normalisation
    W2: Array  # (V, H): transposed
    b2: Array  # (V,)


class Work(NamedTuple):
    """What a step writes to."""

    number: Ints  # (tokens,) which pair a token is at the position at hand; −1: none yet
    token: Ints  # (M,) of each pair
    begin: Ints  # (K + 1,) the pairs of each position
    pair: Ints  # (N, K) of each row
    embedded: Array  # (M, E)
    d_embedded: Array  # (M, E)
    product: Array  # (M, H)
    d_product: Array  # (M, H)
    hidden: Array  # (R, H)
    d_hidden: Array  # (R, H)
    unit: Array  # (R, H) before gain and bias; without batch normalisation (0, H)
    logits: Array  # (R, V rounded up to 16)
    mean: Array  # (H,) of the batch
    variance: Array  # (H,)


@compiled
def first_layer(net: Any, windows: Any, n: int, work: Any) -> None:
    """Number the pairs (position, token) of a batch; their products with W1 (M, H)."""
    m, e = 0, net.C.shape[1]
    for k in range(windows.shape[1]):
        begin = m
        work.begin[k] = m
        work.number[:] = -1
        for i in range(n):
            token = windows[i, k]
            if work.number[token] < 0:
                work.number[token] = m
                work.token[m] = token
                for j in range(e):
                    work.embedded[m, j] = net.C[token, j]
                m += 1
            work.pair[i, k] = work.number[token]
        part = net.W1[k * e : (k + 1) * e]
        multiply(work.product[begin:m], work.embedded[begin:m], part, m - begin, e, False)
    work.begin[windows.shape[1]] = m


@compiled
def add_products(net: Any, work: Any, start: int, rows: int) -> None:
    """The hidden layer of a block before tanh (R, H): each row's pairs, and b1."""
    normalised = len(net.gain) > 0
    for i in range(rows):
        row, pair = work.hidden[i], work.pair[start + i]
        one = work.product[pair[0]]
        for j in range(len(row)):
            row[j] = one[j]
        if not normalised:
            for j in range(len(row)):
                row[j] += net.shift[j]
        for k in range(1, len(pair)):
            one = work.product[pair[k]]
            for j in range(len(row)):
                row[j] += one[j]


@compiled
def normalise(net: Any, work: Any, rows: int) -> None:
    """Batch normalisation of a batch that is one block, by its unbiased variance."""
    work.mean[:] = 0
    work.variance[:] = 0
    columns = range(len(work.mean))
    for i in range(rows):
        for j in columns:
            work.mean[j] += work.hidden[i, j]
    for j in columns:
        work.mean[j] /= np.float32(rows)
    for i in range(rows):
        for j in columns:
            apart = work.hidden[i, j] - work.mean[j]
            work.variance[j] += apart * apart
    for j in columns:
        work.variance[j] /= np.float32(rows - 1)
    for i in range(rows):
        for j in columns:
            work.unit[i, j] = (work.hidden[i, j] - work.mean[j]) / np.sqrt(work.variance[j] + EPSILON)
            work.hidden[i, j] = net.gain[j] * work.unit[i, j] + net.shift[j]


@compiled
def softmax(net: Any, batch: Any, start: int, rows: int, scale: Any, work: Any) -> Any:
    """Logits without b2 become d loss / d logits = (total·p − count)·scale; the block's part of the loss."""
    loss, v_size, wide = 0.0, len(net.b2), work.logits.shape[1]
    for i in range(rows):
        row, at = work.logits[i], start + i
        largest = np.float32(-np.inf)
        for v in range(v_size):
            row[v] += net.b2[v]
            largest = max(largest, row[v])
        for v in range(v_size):
            row[v] -= largest
        for p in range(batch.first[at], batch.first[at + 1]):
            loss -= batch.counts[p] * row[batch.following[p]]
    flat = work.logits.reshape(-1)
    for j in range(rows * wide):
        flat[j] = exp(flat[j])
    for i in range(rows):
        row, at = work.logits[i], start + i
        normaliser = np.float32(0)
        for v in range(v_size):
            normaliser += row[v]
        loss += batch.total[at] * math.log(normaliser)
        factor = batch.total[at] * scale / normaliser
        for v in range(v_size):
            row[v] *= factor
        for p in range(batch.first[at], batch.first[at + 1]):
            row[batch.following[p]] -= batch.counts[p] * scale
    return loss * scale


@compiled
def tanh_backward(grad: Any, work: Any, rows: int) -> None:
    """d_hidden before tanh, in place, and its sum: the gradient of the shift."""
    for i in range(rows):
        d, y = work.d_hidden[i], work.hidden[i]
        for j in range(len(d)):
            d[j] *= np.float32(1) - y[j] * y[j]
            grad.shift[j] += d[j]


@compiled
def normalise_backward(net: Any, grad: Any, work: Any, rows: int) -> None:
    """d_hidden before batch normalisation, in place (the fused formula of makemore part 4)."""
    n = np.float32(rows)
    columns = range(len(net.gain))
    for i in range(rows):
        for j in columns:
            grad.gain[j] += work.d_hidden[i, j] * work.unit[i, j]
    for i in range(rows):
        for j in columns:
            apart = work.d_hidden[i, j] - grad.shift[j] / n - work.unit[i, j] * grad.gain[j] / (n - 1)
            work.d_hidden[i, j] = net.gain[j] / np.sqrt(work.variance[j] + EPSILON) * apart


@compiled
def collect(work: Any, start: int, rows: int) -> None:
    """Each row's gradient belongs to the products of all its pairs."""
    for i in range(rows):
        d = work.d_hidden[i]
        for k in range(work.pair.shape[1]):
            out = work.d_product[work.pair[start + i, k]]
            for j in range(len(d)):
                out[j] += d[j]


@compiled
def first_backward(net: Any, grad: Any, work: Any) -> None:
    """Gradients of W1 and C from those of the products."""
    e = net.C.shape[1]
    for k in range(len(work.begin) - 1):
        begin, end = work.begin[k], work.begin[k + 1]
        d, own = work.d_product[begin:end], slice(k * e, (k + 1) * e)
        multiply(grad.W1[own], work.embedded[begin:end].T, d, e, end - begin, False)
        multiply_rows(work.d_embedded[begin:end], d, net.W1[own], end - begin)
    for m in range(work.begin[-1]):
        into = grad.C[work.token[m]]
        for j in range(e):
            into[j] += work.d_embedded[m, j]


@part
def gradients(net: Any, grad: Any, batch: Any, n: int, scale: Any, work: Any) -> Any:
    """The loss of n rows, Σ −count·ln p·scale, and its gradients, which replace what `grad` held."""
    grad.C[:] = 0
    grad.shift[:] = 0
    grad.gain[:] = 0
    grad.b2[:] = 0
    first_layer(net, batch.windows, n, work)
    work.d_product[: work.begin[-1]] = 0
    loss = 0.0
    v = len(net.b2)
    for start in range(0, n, len(work.hidden)):
        rows = min(len(work.hidden), n - start)
        add_products(net, work, start, rows)
        if len(net.gain):
            normalise(net, work, rows)
        tanh(work.hidden, rows)
        multiply_rows(work.logits, work.hidden, net.W2, rows)
        loss += softmax(net, batch, start, rows, scale, work)
        multiply(grad.W2, work.logits.T, work.hidden, v, rows, start > 0)
        for i in range(rows):
            for j in range(v):
                grad.b2[j] += work.logits[i, j]
        multiply(work.d_hidden, work.logits, net.W2, rows, v, False)
        tanh_backward(grad, work, rows)
        if len(net.gain):
            normalise_backward(net, grad, work, rows)
        collect(work, start, rows)
    first_backward(net, grad, work)
    return loss


@entry
def train(
    net: Any,
    flat: Any,
    grad: Any,
    slope: Any,
    moments: Any,
    running: Any,
    tokens: Any,
    outside: int,
    contexts: Any,
    chosen: Any,
    bounds: Any,
    rates: Any,
    beta2: float,
    decay: float,
    taken: int,
    batch: Any,
    work: Any,
    losses: Any,
) -> None:
    """As many steps as there are rates; step s reads the positions chosen[bounds[s] : bounds[s + 1]].

    Where `contexts` has any, a `Batch` of all of train, these are numbers of contexts in ascending order.
    flat and slope hold what `net` and `grad` view. moments (2, parameters) for AdamW, (2, 0) for plain
    descent. running (2, H): mean and variance, moved by a thousandth a step. taken: steps before.
    losses (steps,).
    """
    for s in range(len(rates)):
        here = chosen[bounds[s] : bounds[s + 1]]
        rows = len(here)
        if len(contexts.total):
            rows = read_contexts(contexts, here, len(net.gain) > 0, batch)
        else:
            read_positions(tokens, here, outside, batch)
        losses[s] = gradients(net, grad, batch, rows, np.float32(1 / len(here)), work)
        if moments.shape[1]:
            adamw(flat, slope, moments, rates[s], beta2, decay, taken + s + 1)
        else:
            descend(flat, slope, np.float32(rates[s]))
        for j in range(len(net.gain)):
            running[0, j] += MOMENTUM * (work.mean[j] - running[0, j])
            running[1, j] += MOMENTUM * (work.variance[j] - running[1, j])
