"""Recurrent cells over a tree of prefixes, with gradients by hand.

`TreeRecursion` walks the levels of a `PrefixTree`; a cell says what one step does and how its gradient
flows back. Two things make it quicker than padded batches: the product with the recurrent weights is
made once for each prefix that others extend, and the gradient of those weights is one product at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

Tensor = torch.Tensor
Kept = tuple[Tensor, ...]


@dataclass(frozen=True)
class Cell:
    """One step of a recurrence, in torch's parametrisation.

    `gates`, `states`: widths of the gates and of the state in units of H. forward: gates from the input
    and from the state before, both (n, gates·H), and that state (n, states·H) -> the new state, and what
    backward needs. backward: the gradient of the new state -> the gradients of the three.
    """

    gates: int
    states: int
    forward: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Kept]]
    backward: Callable[[Tensor, Kept], tuple[Tensor, Tensor, Tensor]]


def rnn_forward(x: Tensor, s: Tensor, before: Tensor) -> tuple[Tensor, Kept]:
    """h = tanh(x + s) (Elman 1990)."""
    h = torch.tanh(x + s)
    return h, (h,)


def rnn_backward(d: Tensor, kept: Kept) -> tuple[Tensor, Tensor, Tensor]:
    """Through tanh."""
    (h,) = kept
    inside = d * (1 - h * h)
    return inside, inside, torch.zeros_like(d)


def gru_forward(x: Tensor, s: Tensor, before: Tensor) -> tuple[Tensor, Kept]:
    """r, z = σ(x + s); n = tanh(x + r s); h = (1 − z) n + z h' (Cho et al. 2014, torch's order)."""
    width = before.shape[1]
    rz = torch.sigmoid(x[:, : 2 * width] + s[:, : 2 * width])  # (n, 2H)
    r, z = rz[:, :width], rz[:, width:]
    n = torch.addcmul(x[:, 2 * width :], r, s[:, 2 * width :]).tanh_()  # (n, H)
    return torch.lerp(n, before, z), (rz, n, s[:, 2 * width :], before)


def gru_backward(d: Tensor, kept: Kept) -> tuple[Tensor, Tensor, Tensor]:
    """Through the blend, then through n and both gates."""
    rz, n, s_n, before = kept
    width = n.shape[1]
    r, z = rz[:, :width], rz[:, width:]
    d_before = d * z
    d_n = (d - d_before) * (1 - n * n)
    d_x = torch.empty(len(d), 3 * width, dtype=d.dtype, device=d.device)
    torch.mul(d_n, s_n, out=d_x[:, :width])
    torch.mul(d, before - n, out=d_x[:, width : 2 * width])
    d_x[:, : 2 * width] *= rz * (1 - rz)
    d_x[:, 2 * width :] = d_n
    d_s = d_x.clone()
    d_s[:, 2 * width :] *= r
    return d_x, d_s, d_before


def lstm_forward(x: Tensor, s: Tensor, before: Tensor) -> tuple[Tensor, Kept]:
    """i, f, o = σ, g = tanh of x + s; c = f c' + i g; h = o tanh c (Hochreiter & Schmidhuber 1997)."""
    width = before.shape[1] // 2
    gates = x + s
    i_f = torch.sigmoid(gates[:, : 2 * width])
    g = torch.tanh(gates[:, 2 * width : 3 * width])
    o = torch.sigmoid(gates[:, 3 * width :])
    c = torch.addcmul(i_f[:, width:] * before[:, width:], i_f[:, :width], g)
    t = torch.tanh(c)
    return torch.cat([o * t, c], dim=1), (i_f, g, o, t, before[:, width:])


def lstm_backward(d: Tensor, kept: Kept) -> tuple[Tensor, Tensor, Tensor]:
    """Through h, then c, then the four gates."""
    i_f, g, o, t, c_before = kept
    width = g.shape[1]
    i, f = i_f[:, :width], i_f[:, width:]
    d_h = d[:, :width]
    d_c = torch.addcmul(d[:, width:], d_h * o, 1 - t * t)
    d_gates = torch.empty(len(d), 4 * width, dtype=d.dtype, device=d.device)
    torch.mul(d_c, g, out=d_gates[:, :width])
    torch.mul(d_c, c_before, out=d_gates[:, width : 2 * width])
    d_gates[:, : 2 * width] *= i_f * (1 - i_f)
    torch.mul(d_c * i, 1 - g * g, out=d_gates[:, 2 * width : 3 * width])
    torch.mul(d_h * t, o * (1 - o), out=d_gates[:, 3 * width :])
    d_before = torch.cat([torch.zeros_like(d_h), d_c * f], dim=1)
    return d_gates, d_gates, d_before


CELLS = {
    "rnn": Cell(1, 1, rnn_forward, rnn_backward),
    "gru": Cell(3, 1, gru_forward, gru_backward),
    "lstm": Cell(4, 2, lstm_forward, lstm_backward),
}


@dataclass(frozen=True, eq=False)
class Levels:
    """A `PrefixTree`'s shape as tensors: slices of nodes and of inner nodes, level by level."""

    nodes: list[slice]
    inner_nodes: list[slice]  # of level d − 1, at index d; of no use at 0
    inner: Tensor  # (I,)
    parent: list[Tensor]  # at index d: (nodes of level d,) positions in inner_nodes[d]

    @classmethod
    def of(cls, levels: Any, inner: Any, inner_levels: Any, parent: Any, device: str) -> Levels:
        """From the arrays of a `PrefixTree`."""
        nodes = [slice(int(a), int(b)) for a, b in pairwise(levels)]
        above = [slice(0, 0)] + [slice(int(a), int(b)) for a, b in pairwise(inner_levels[:-1])]
        position = torch.from_numpy(parent).to(device)
        return cls(
            nodes,
            above,
            torch.from_numpy(inner).to(device),
            [position[at] - up.start for at, up in zip(nodes, above, strict=True)],
        )


class TreeRecursion(torch.autograd.Function):
    """All states of a tree: x (N, gates·H), weights (gates·H, H), bias (gates·H,) -> h (N, H)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, bias: Tensor, cell: Cell, levels: Levels) -> Tensor:
        """Level by level; the state before the first character is 0."""
        width = weights.shape[1]
        states = torch.empty(len(x), cell.states * width, dtype=x.dtype, device=x.device)
        inner = torch.empty(len(levels.inner), cell.states * width, dtype=x.dtype, device=x.device)
        kept = []
        for depth, (at, up) in enumerate(zip(levels.nodes, levels.inner_nodes, strict=True)):
            if depth == 0:
                before, from_state = torch.zeros_like(states[:1]), bias[None]
            else:
                torch.index_select(states, 0, levels.inner[up], out=inner[up])
                products = torch.addmm(bias, inner[up, :width], weights.t())
                before = inner[up].index_select(0, levels.parent[depth])
                from_state = products.index_select(0, levels.parent[depth])
            states[at], saved = cell.forward(x[at], from_state, before)
            kept.append(saved)
        ctx.save_for_backward(weights, inner, *(part for saved in kept for part in saved))
        ctx.cell, ctx.levels, ctx.each, ctx.nodes = cell, levels, len(kept[0]), len(x)
        return states[:, :width].contiguous()

    @staticmethod
    def backward(ctx: Any, d_h: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """The same levels from the leaves to the root."""
        weights, inner, *flat = ctx.saved_tensors
        cell, levels, each = ctx.cell, ctx.levels, ctx.each
        width = weights.shape[1]
        d_states = d_h.new_zeros(ctx.nodes, cell.states * width)
        d_states[:, :width] = d_h
        d_x = d_h.new_empty(ctx.nodes, cell.gates * width)
        d_products = d_h.new_zeros(len(inner), cell.gates * width)
        d_root = weights.new_zeros(0)
        for depth in reversed(range(len(levels.nodes))):
            at, up = levels.nodes[depth], levels.inner_nodes[depth]
            saved = tuple(flat[depth * each : (depth + 1) * each])
            d_x[at], d_gates, d_before = cell.backward(d_states[at], saved)
            if depth == 0:
                d_root = d_gates[0]
                continue
            d_products[up].index_add_(0, levels.parent[depth], d_gates)
            d_up = d_h.new_zeros(up.stop - up.start, cell.states * width)
            d_up.index_add_(0, levels.parent[depth], d_before)
            d_up[:, :width].addmm_(d_products[up], weights)
            d_states.index_add_(0, levels.inner[up], d_up)
        d_weights = d_products.t() @ inner[:, :width]
        return d_x, d_weights, d_products.sum(dim=0) + d_root, None, None
