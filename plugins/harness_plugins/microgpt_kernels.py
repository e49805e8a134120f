"""A small transformer compiled by numba: forward, gradients by hand and AdamW, in float32 and in place.

RMS norms, ReLU, no biases, no dropout (Karpathy, microgpt). Documents lie one after the other without
padding, and a batch is one matrix of their N positions. Products are tiles in registers; widths are rounded
up to whole tiles, and what is added is 0 and stays so.

L layers, C width, F width inside the feed-forward part, V characters, N positions, P pairs of a position
and one up to it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness_plugins.attention_kernels import attend, attend_back, norm, norm_back
from harness_plugins.compiled import compiled, entry
from harness_plugins.descent import clip, decayed_adamw
from harness_plugins.exponentials import exp
from harness_plugins.small_products import multiply

Array = NDArray[np.float32]
Ints = NDArray[np.int64]


class Net(NamedTuple):
    """Parameters or their gradients: views of one flat vector, L layers; matrices as (in, out)."""

    characters: Array  # (V, C)
    positions: Array  # (block, C)
    qkv: Array  # (L, C, 3·C)
    project: Array  # (L, C, C)
    up: Array  # (L, C, F)
    down: Array  # (L, F, C)
    head: Array  # (C, V rounded up)


class Work(NamedTuple):
    """What a batch of at most N positions and P pairs writes to. Axes as in `Net`."""

    token: Ints  # (N,)
    place: Ints  # (N,) within the document
    following: Ints  # (N,) the target; −1: none that counts
    pair: Ints  # (N + 1,) where the pairs of a position begin
    sums: Array  # (C, C) ones within a head, over the root of its width
    embedded: Array  # (N, C)
    x: Array  # (L + 1, N, C) before each layer, and after the last
    middle: Array  # (L, N, C) between attention and the feed-forward part
    normed: Array  # (2·L, N, C)
    scale: Array  # (2·L + 1, N) what each norm multiplied with
    qkv: Array  # (L, N, 3·C)
    weight: Array  # (L, P, C) of attention
    mixed: Array  # (L, N, C)
    inside: Array  # (L, N, F)
    logits: Array  # (N, V rounded up)
    product: Array  # (P, C)
    d_weight: Array  # (P, C)
    d_x: Array  # (N, C)
    d_normed: Array  # (N, C)
    d_qkv: Array  # (N, 3·C)
    d_mixed: Array  # (N, C)
    d_inside: Array  # (N, F)
    turned: Array  # (room for the largest matrix of a layer,)
    row: Array  # (3, C)


@compiled
def lay_out(tokens: Any, start: Any, fresh: Any, end: Any, work: Any) -> Any:
    """Pieces of the text, inputs start … end − 1, become a batch of N; targets count from `fresh` on."""
    n = pairs = 0
    for piece in range(len(start)):
        for at in range(start[piece], end[piece]):
            work.token[n] = tokens[at]
            work.place[n] = at - start[piece]
            work.following[n] = tokens[at + 1] if at >= fresh[piece] else -1
            work.pair[n] = pairs
            pairs += work.place[n] + 1
            n += 1
    work.pair[n] = pairs
    return n


@compiled
def forward(net: Any, n: int, width: Any, work: Any) -> None:
    """Logits (N, V) of the positions that are laid out."""
    for i in range(n):
        to, character, position = (
            work.embedded[i],
            net.characters[work.token[i]],
            net.positions[work.place[i]],
        )
        for j in range(len(to)):
            to[j] = character[j] + position[j]
    layers, last = len(net.qkv), 2 * len(net.qkv)
    norm(work.x[0], work.scale[last], work.embedded, n, width)
    for layer in range(layers):
        x, middle, after = work.x[layer], work.middle[layer], work.x[layer + 1]
        normed, inside, c = work.normed[2 * layer], work.inside[layer], x.shape[1]
        norm(normed, work.scale[2 * layer], x, n, width)
        multiply(work.qkv[layer], normed, net.qkv[layer], n, c, False)
        attend(work.mixed[layer], work.weight[layer], work.qkv[layer], n, work)
        middle[:n] = x[:n]
        multiply(middle, work.mixed[layer], net.project[layer], n, c, True)
        normed = work.normed[2 * layer + 1]
        norm(normed, work.scale[2 * layer + 1], middle, n, width)
        multiply(inside, normed, net.up[layer], n, c, False)
        for i in range(n):
            row = inside[i]
            for j in range(len(row)):
                row[j] = max(row[j], np.float32(0))
        after[:n] = middle[:n]
        multiply(after, inside, net.down[layer], n, inside.shape[1], True)
    multiply(work.logits, work.x[layers], net.head, n, work.x.shape[2], False)


@compiled
def loss_of(v_size: int, n: int, scale: Any, work: Any) -> Any:
    """Logits become d loss / d logits; gives the loss, Σ −ln p of the targets that count, times `scale`."""
    loss = 0.0
    for i in range(n):
        row, target = work.logits[i], work.following[i]
        if target < 0:
            for v in range(len(row)):
                row[v] = np.float32(0)
            continue
        largest, total = np.float32(-np.inf), np.float32(0)
        for v in range(v_size):
            largest = max(largest, row[v])
        loss += largest - row[target]
        for v in range(len(row)):
            row[v] = exp(row[v] - largest)
        for v in range(v_size, len(row)):
            row[v] = np.float32(0)
        for v in range(v_size):
            total += row[v]
        loss += math.log(total)
        total = scale / total
        for v in range(v_size):
            row[v] *= total
        row[target] -= scale
    return loss * scale


@compiled
def turn(work: Any, matrix: Any) -> Any:
    """The transposed matrix, in its room."""
    down, along = matrix.shape
    to = work.turned[: down * along].reshape(along, down)
    for i in range(down):
        for j in range(along):
            to[j, i] = matrix[i, j]
    return to


@compiled
def backward(net: Any, grad: Any, n: int, width: Any, work: Any) -> None:
    """All gradients from d loss / d logits (N, V)."""
    layers, last, c = len(net.qkv), 2 * len(net.qkv), work.x.shape[2]
    multiply(grad.head, work.x[layers].T, work.logits, c, n, False)
    multiply(work.d_x, work.logits, turn(work, net.head), n, net.head.shape[1], False)
    for layer in range(layers - 1, -1, -1):
        inside, normed = work.inside[layer], work.normed[2 * layer + 1]
        multiply(grad.down[layer], inside.T, work.d_x, inside.shape[1], n, False)
        multiply(work.d_inside, work.d_x, turn(work, net.down[layer]), n, c, False)
        for i in range(n):
            slope, row = work.d_inside[i], inside[i]
            for j in range(len(row)):
                slope[j] = slope[j] if row[j] > 0 else np.float32(0)
        multiply(grad.up[layer], normed.T, work.d_inside, c, n, False)
        multiply(work.d_normed, work.d_inside, turn(work, net.up[layer]), n, inside.shape[1], False)
        norm_back(work.d_x, work.d_normed, normed, work.scale[2 * layer + 1], n, width, True)
        multiply(grad.project[layer], work.mixed[layer].T, work.d_x, c, n, False)
        multiply(work.d_mixed, work.d_x, turn(work, net.project[layer]), n, c, False)
        attend_back(work.d_qkv, work.d_mixed, work.weight[layer], work.qkv[layer], n, work)
        normed = work.normed[2 * layer]
        multiply(grad.qkv[layer], normed.T, work.d_qkv, c, n, False)
        multiply(work.d_normed, work.d_qkv, turn(work, net.qkv[layer]), n, 3 * c, False)
        norm_back(work.d_x, work.d_normed, normed, work.scale[2 * layer], n, width, True)
    norm_back(work.d_normed, work.d_x, work.x[0], work.scale[last], n, width, False)
    grad.characters[:] = 0
    grad.positions[:] = 0
    for i in range(n):
        slope = work.d_normed[i]
        character, position = grad.characters[work.token[i]], grad.positions[work.place[i]]
        for j in range(len(slope)):
            character[j] += slope[j]
            position[j] += slope[j]


@entry
def loss_and_gradients(
    net: Any, grad: Any, tokens: Any, start: Any, fresh: Any, end: Any, scale: Any, width: Any, work: Any
) -> Any:
    """The loss of a batch of pieces, and its gradients into `grad`."""
    n = lay_out(tokens, start, fresh, end, work)
    forward(net, n, width, work)
    loss = loss_of(len(net.characters), n, scale, work)
    backward(net, grad, n, width, work)
    return loss


@entry
def train(
    net: Any, flat: Any, grad: Any, slope: Any, moments: Any, tokens: Any, pieces: Any, bounds: Any,
    sizes: Any, rates: Any, betas: Any, decay: float, decayed: int, most: float, before: int, width: Any,
    work: Any, losses: Any,
) -> None:  # fmt: skip
    """A step for each rate: pieces (3, all) start, fresh, end; step i has those from bounds[i] on.

    sizes: what the summed loss of each step is divided by; before: steps taken earlier; losses: of each step.
    """
    for i in range(len(rates)):
        start, fresh, end = pieces[:, bounds[i] : bounds[i + 1]]
        scale = np.float32(1 / sizes[i])
        losses[i] = loss_and_gradients(net, grad, tokens, start, fresh, end, scale, width, work)
        clip(slope, most)
        decayed_adamw(flat, slope, moments, rates[i], betas, decay, decayed, before + i + 1)


@entry
def rows(net: Any, tokens: Any, start: Any, end: Any, width: Any, work: Any) -> Any:
    """Logits of all inputs start … end − 1, one piece after the other, into `work`. Gives their number."""
    n = lay_out(tokens, start, end, end, work)
    forward(net, n, width, work)
    return n
