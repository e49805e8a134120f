"""A small transformer compiled by numba: forward, gradients by hand and AdamW, in float32 and in place.

Documents lie one after the other without padding, and a batch is one matrix of their N positions. Products
are tiles in registers; widths are rounded up to whole tiles, and what is added is 0 and stays so. What a
network does not have (gains, biases, masks of dropout) is an array of size 0.

L layers, C width, F width inside the feed-forward part, V characters, N positions, P pairs of a position
and one up to it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from harness_plugins.attention_kernels import attend, attend_back, attend_last
from harness_plugins.compiled import compiled, entry, part
from harness_plugins.descent import clip, decayed_adamw
from harness_plugins.exponentials import exp
from harness_plugins.layer_kernels import (
    branch,
    draw_masks,
    drop,
    gelu,
    gelu_back,
    layer_norm,
    layer_norm_back,
    linear,
    linear_back,
    norm,
    norm_back,
)
from harness_plugins.transformer_room import lay_out


@compiled
def normalise(net: Any, k: int, x: Any, n: int, width: Any, work: Any) -> None:
    """Norm k of x (N, C) into work.normed[k]."""
    if len(net.gain) > 0:
        layer_norm(work.normed[k], work.unit[k], work.scale[k], x, net.gain[k], net.shift[k], n, width)
    else:
        norm(work.normed[k], work.scale[k], x, n, width)


@part
def forward(net: Any, n: int, width: Any, work: Any) -> None:
    """Logits (N, V) of the positions that are laid out."""
    dropping = len(work.masks) > 0
    layers, last, layered, panel = len(net.qkv), 2 * len(net.qkv), len(net.gain) > 0, work.panel
    embedded = work.x[0] if layered else work.embedded
    for i in range(n):
        to, character, position = embedded[i], net.characters[work.token[i]], net.positions[work.place[i]]
        for j in range(len(to)):
            to[j] = character[j] + position[j]
    if dropping:
        drop(embedded, embedded, work.masks[last], n)
    if not layered:
        norm(work.x[0], work.scale[last], embedded, n, width)
    for layer in range(layers):
        x, middle, after = work.x[layer], work.middle[layer], work.x[layer + 1]
        one, two, inside = 2 * layer, 2 * layer + 1, work.inside[layer]
        mask_one, mask_two = (work.masks[one], work.masks[two]) if dropping else (x, x)
        normalise(net, one, x, n, width, work)
        linear(work.qkv[layer], work.normed[one], net.qkv[layer], net.qkv_bias, layer, n, panel)
        if len(work.where) > 0:
            attend_last(
                work.mixed[layer], work.weight[layer], work.qkv[layer], work.past[layer], work.where,
                work.product, work.scores, work.gather, work.spread, work.spare,
            )  # fmt: skip
        else:
            attend(
                work.mixed[layer], work.weight[layer], work.qkv[layer], n, work.place, work.pair,
                work.product, work.sums, work.spare,
            )  # fmt: skip
        branch(
            middle,
            x,
            work.mixed[layer],
            net.project[layer],
            net.project_bias,
            layer,
            mask_one,
            dropping,
            n,
            panel,
        )
        normalise(net, two, middle, n, width, work)
        linear(inside, work.normed[two], net.up[layer], net.up_bias, layer, n, panel)
        active = work.active[layer] if len(work.active) > 0 else inside
        if len(work.active) > 0:
            gelu(active, inside, n)
        else:
            for i in range(n):
                row = inside[i]
                for j in range(len(row)):
                    row[j] = max(row[j], np.float32(0))
        branch(after, middle, active, net.down[layer], net.down_bias, layer, mask_two, dropping, n, panel)
    out = work.x[layers]
    if layered:
        layer_norm(
            work.last, work.unit[last], work.scale[last], out, net.gain[last], net.shift[last], n, width
        )
        out = work.last
    linear(work.logits, out, net.head, net.head_bias, np.int64(0), n, panel)


@part
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
def normalise_back(net: Any, grad: Any, k: int, n: int, width: Any, work: Any) -> None:
    """What norm k makes of d_normed is added to d_x."""
    if len(net.gain) > 0:
        layer_norm_back(
            work.d_x,
            work.d_normed,
            work.unit[k],
            work.scale[k],
            net.gain[k],
            grad.gain[k],
            grad.shift[k],
            n,
            width,
            np.bool_(True),
        )
    else:
        norm_back(work.d_x, work.d_normed, work.normed[k], work.scale[k], n, width, np.bool_(True))


@part
def backward(net: Any, grad: Any, n: int, width: Any, work: Any) -> None:
    """All gradients from d loss / d logits (N, V)."""
    dropping = len(work.masks) > 0
    layers, last, layered, panel = len(net.qkv), 2 * len(net.qkv), len(net.gain) > 0, work.panel
    gain, d_gain, d_shift = net.gain, grad.gain, grad.shift
    d_x, d_normed, d_branch = work.d_x, work.d_normed, work.d_branch if dropping else work.d_x
    only = np.int64(0)
    if layered:
        linear_back(grad.head, grad.head_bias, d_normed, work.logits, work.last, net.head, only, n, panel)
        layer_norm_back(
            d_x, d_normed, work.unit[last], work.scale[last], gain[last], d_gain[last], d_shift[last], n,
            width, np.bool_(False),
        )  # fmt: skip
    else:
        linear_back(grad.head, grad.head_bias, d_x, work.logits, work.x[layers], net.head, only, n, panel)
    for layer in range(layers - 1, -1, -1):
        one, two, inside, d_inside = 2 * layer, 2 * layer + 1, work.inside[layer], work.d_inside
        if dropping:
            drop(d_branch, d_x, work.masks[two], n)
        active = work.active[layer] if len(work.active) > 0 else inside
        linear_back(
            grad.down[layer], grad.down_bias, d_inside, d_branch, active, net.down[layer], layer, n, panel
        )
        if len(work.active) > 0:
            gelu_back(d_inside, inside, n)
        else:
            for i in range(n):
                slope, row = d_inside[i], inside[i]
                for j in range(len(row)):
                    slope[j] = slope[j] if row[j] > 0 else np.float32(0)
        read = work.normed[two]
        linear_back(grad.up[layer], grad.up_bias, d_normed, d_inside, read, net.up[layer], layer, n, panel)
        normalise_back(net, grad, two, n, width, work)
        if dropping:
            drop(d_branch, d_x, work.masks[one], n)
        into, read = grad.project[layer], work.mixed[layer]
        linear_back(
            into, grad.project_bias, work.d_mixed, d_branch, read, net.project[layer], layer, n, panel
        )
        attend_back(
            work.d_qkv, work.d_mixed, work.weight[layer], work.qkv[layer], n, work.place, work.pair,
            work.product, work.d_weight, work.sums, work.spare,
        )  # fmt: skip
        read = work.normed[one]
        linear_back(
            grad.qkv[layer], grad.qkv_bias, d_normed, work.d_qkv, read, net.qkv[layer], layer, n, panel
        )
        normalise_back(net, grad, one, n, width, work)
    d_embedded = work.d_x
    if not layered:
        d_embedded = work.d_normed
        norm_back(d_embedded, work.d_x, work.x[0], work.scale[last], n, width, np.bool_(False))
    if dropping:
        drop(d_embedded, d_embedded, work.masks[last], n)
    grad.characters[:] = 0
    grad.positions[:] = 0
    for i in range(n):
        slope = d_embedded[i]
        character, position = grad.characters[work.token[i]], grad.positions[work.place[i]]
        for j in range(len(slope)):
            character[j] += slope[j]
            position[j] += slope[j]


@part
def loss_and_gradients(
    net: Any, grad: Any, tokens: Any, start: Any, fresh: Any, end: Any, scale: Any, width: Any, work: Any
) -> Any:
    """The loss of a batch of pieces, and its gradients into `grad`."""
    n = lay_out(tokens, start, fresh, end, work)
    draw_masks(work.masks, work.random, n, work.rate[0])
    forward(net, n, width, work)
    loss = loss_of(len(net.characters), n, scale, work)
    backward(net, grad, n, width, work)
    return loss


@entry
def train(
    net: Any,
    flat: Any,
    grad: Any,
    slope: Any,
    moments: Any,
    tokens: Any,
    pieces: Any,
    bounds: Any,
    sizes: Any,
    rates: Any,
    betas: Any,
    decay: float,
    decayed: int,
    most: float,
    before: int,
    width: Any,
    work: Any,
    losses: Any,
) -> None:
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
def fill_logits(net: Any, tokens: Any, start: Any, end: Any, width: Any, work: Any) -> None:
    """Logits of all inputs start … end − 1, one piece after the other, into `work`.

    Where `work.where` (n, T) names keys and values that were kept: those after one more character (n,).
    """
    n, t = work.where.shape
    if n > 0:
        for i in range(n):
            work.token[i], work.place[i] = tokens[i], t - 1
    else:
        n = lay_out(tokens, start, end, end, work)
    forward(net, n, width, work)


@entry
def log_softmax(found: Any, logits: Any) -> None:
    """Log-probabilities (n, V) of the first n logits (·, V rounded up)."""
    n, v_size = found.shape
    for i in range(n):
        row, to, total, largest = logits[i], found[i], 0.0, np.float32(-np.inf)
        for v in range(v_size):
            largest = max(largest, row[v])
        for v in range(v_size):
            to[v] = exp(row[v] - largest)
        for v in range(v_size):
            total += to[v]
        off = np.float32(largest + math.log(total))
        for v in range(v_size):
            to[v] = row[v] - off
