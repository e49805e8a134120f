"""Many seeds of the MLP as one problem in torch: a leading axis R for seeds, gradients by hand.

A step of one small network is mostly the calling of its operations. Stacked, R networks need as many
calls as one, and each its own batch of its own text positions, so that every seed is its solo run.
Axes: R seeds, N rows of a batch, H hidden, E embedding, V characters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from harness.contract import Config, Ints
from harness_plugins import mlp
from harness_plugins.optimizers import optimizer
from harness_plugins.training import learning_rate
from harness_plugins.weighted_contexts import Contexts

Tensor = torch.Tensor
AT_ONCE = 8  # steps whose batches are laid out in one go
COLUMNS = 16  # V is rounded up to a multiple: products of 32 columns take half the time of those of 27
MOST_KEPT = 2**24  # numbers in a table of what follows each context …
MOST_ON_DEVICE = 2**28  # … and there, where nothing else would do: a gigabyte
MINUS_ONE = torch.tensor(-1.0)

tanh_backward = torch.ops.aten.tanh_backward


class FirstLayer(NamedTuple):
    """What the first layer gives (R, N, H), and what sets its gradients from those of that."""

    raw: Tensor
    backward: Callable[[Tensor], None]


class Stack:
    """Some seeds' parameters (R, …), their gradients and the step that moves them.

    Each seed's numbers stay apart in every operation, so what one comes to does not reach another.
    """

    def __init__(
        self,
        starts: Sequence[mlp.Weights],
        batches: Sequence[Iterator[Ints]],
        windows: Tensor,
        targets: Tensor | Contexts,
        config: Config,
        *,
        plain: bool = False,
    ) -> None:
        """starts, batches: of each seed; windows (positions, context) and targets (positions,) of train.

        Batches of contexts are numbers of the distinct ones, whose windows (U, context) these are then.
        The stack is where the windows are. plain: nothing that saves work by looking at what was drawn.
        """
        device = windows.device
        self.config, self.windows, self.targets, self.plain = config, windows, targets, plain
        self.once = not isinstance(targets, Tensor) and config["normalize"] != "batch" and not plain
        self.batches, self.r, self.v = batches, len(starts), starts[0]["b2"].size
        wide = rounded(self.v)
        self.following = None if isinstance(targets, Tensor) else table(targets, wide, device)
        arrays = {
            name: torch.from_numpy(np.stack([start[name] for start in starts]).astype(np.float32)).to(device)
            for name in starts[0]
        }
        arrays["W2"] = F.pad(arrays["W2"], (0, wide - self.v))
        arrays["b2"] = F.pad(arrays["b2"], (0, wide - self.v), value=-math.inf)  # of no probability
        seeds, rows = torch.arange(self.r, device=device), arrays["C"].shape[1]
        self.row_of_seed = (seeds * rows)[:, None, None]  # of C laid flat (R·V, E)
        learnt = {name: value for name, value in arrays.items() if name not in ("mean", "variance")}
        flat = torch.cat([value.flatten() for value in learnt.values()])  # one tensor, one call to move it
        flat.grad = torch.zeros_like(flat)
        self.weights, self.slopes = arrays | views(flat, learnt), views(flat.grad, learnt)
        self.rate = torch.zeros((), device=device)
        self.optimizer = optimizer([flat], config, self.rate)
        self.done = np.zeros(self.r, np.int64)  # targets

    def params(self) -> list[dict[str, NDArray[Any]]]:
        """Those of each seed."""
        arrays = {
            name: (value[..., : self.v] if name in ("W2", "b2") else value).cpu().numpy()
            for name, value in self.weights.items()
        }
        return [{name: value[seed].copy() for name, value in arrays.items()} for seed in range(self.r)]

    def steps(self, spent: Sequence[float]) -> list[float]:
        """A step at each of these shares of the budget; the last batch's mean NLL of each seed."""
        for first in range(0, len(spent), AT_ONCE):
            shares = spent[first : first + AT_ONCE]
            chosen = [[next(batch) for batch in self.batches] for _ in shares]
            for share, (index, weight) in zip(shares, side_by_side(chosen, once=self.once), strict=True):
                self.rate.fill_(learning_rate(self.config, share))
                last = self.step(index.to(self.windows.device), weight.to(self.windows.device))
            self.done += [sum(map(len, batches)) for batches in zip(*chosen, strict=True)]
        losses: list[float] = self.loss(*last).tolist()
        return losses

    @torch.inference_mode()
    def step(self, index: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A step on rows index (R, N), weight (R, N, 1) of each in the mean; what `loss` is asked with."""
        wanted = self.wanted(index)
        logits = self.gradients(gathered(self.windows, index), wanted, weight)
        self.optimizer.step()
        return logits, wanted, weight

    def step_of_equals(self, index: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`step` where no row is padding."""
        return self.step(index, self.rate.new_full((self.r, index.shape[1], 1), 1 / index.shape[1]))

    def step_of_padded(self, index: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`step` where of each seed (R, N) the first `count` (R,) rows are real."""
        real = torch.arange(index.shape[1], device=index.device) < count[:, None]  # (R, N)
        return self.step(index, (real / count[:, None])[:, :, None])

    @torch.inference_mode()
    def loss(self, logits: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
        """The mean NLL of each seed (R,)."""
        rows = F.log_softmax(logits, 2)[:, :, : self.v]
        return -(rows * wanted[:, :, : self.v] * weight).sum(dim=(1, 2))

    def wanted(self, index: Tensor) -> Tensor:
        """What follows rows (R, N) -> (R, N, V rounded up): one character, or the shares of all that does."""
        v = self.weights["b2"].shape[1]
        if isinstance(self.targets, Tensor):
            targets = self.targets[index][:, :, None]  # (R, N, 1)
            return torch.zeros(*index.shape, v, device=index.device).scatter_(2, targets, 1.0)
        if self.following is not None:
            return gathered(self.following, index)
        drawn = index.flatten().cpu().numpy()
        rows, following, share = self.targets.pairs(drawn, np.ones_like(drawn))
        shares = torch.zeros(len(drawn), v)
        shares[torch.from_numpy(rows), torch.from_numpy(following)] = torch.from_numpy(
            share * len(drawn)
        ).float()
        return shares.view(*index.shape, v).to(index.device)

    def gradients(self, windows: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
        """Set the gradients of the batch (R, N, context), (R, N, V rounded up); returns its logits.

        weight (R, N, 1): of each row in the mean, 0 for padding.
        """
        w, g = self.weights, self.slopes
        # are there fewer pairs (position, token) than rows?
        by_pairs = windows.shape[1] > 2 * w["C"].shape[1] and not self.plain
        layer = (self.products if by_pairs else self.rows)(windows)
        raw = layer.raw  # (R, N, H)
        if "gain" in w:
            n = raw.shape[1]  # no row is padding: batches of windows are all of one size
            variance, mean = torch.var_mean(raw, dim=1, keepdim=True)  # (R, 1, H)
            scale = torch.rsqrt(variance + mlp.EPSILON)
            unit = (raw - mean) * scale
            h = tanh_(torch.addcmul(w["bias"][:, None], w["gain"][:, None], unit))
            for name, moment in (("mean", mean), ("variance", variance)):
                w[name].lerp_(moment[:, 0], mlp.MOMENTUM)
        else:
            h = tanh_(raw)
        logits = torch.baddbmm(w["b2"][:, None], h, w["W2"])  # (R, N, V)
        d_logits = torch.softmax(logits, dim=2)
        d_logits.sub_(wanted).mul_(weight)
        torch.bmm(h.transpose(1, 2), d_logits, out=g["W2"])
        torch.sum(d_logits, 1, out=g["b2"])
        d_raw = tanh_backward(torch.bmm(d_logits, w["W2"].transpose(1, 2)), h)  # (R, N, H)
        if "gain" in w:
            torch.sum(d_raw * unit, 1, out=g["gain"])
            torch.sum(d_raw, 1, out=g["bias"])
            d_unit = d_raw - g["bias"][:, None] / n - unit * (g["gain"][:, None] / (n - 1))
            d_raw = d_unit * (w["gain"][:, None] * scale)
        layer.backward(d_raw)
        return logits

    def bias(self) -> Tensor:
        """Of the first layer (R, 1, H); batch normalisation has its own."""
        shape = (self.r, 1, self.weights["W1"].shape[2])
        return self.weights["b1"][:, None] if "b1" in self.weights else self.rate.new_zeros(shape)

    def rows(self, windows: Tensor) -> FirstLayer:
        """The first layer row by row."""
        w, g, (r, n, _) = self.weights, self.slopes, windows.shape
        where = (windows + self.row_of_seed).flatten()
        e = w["C"].flatten(0, 1).index_select(0, where).view(r, n, -1)  # (R, N, context·E)

        def backward(d_raw: Tensor) -> None:
            if "b1" in g:
                torch.sum(d_raw, 1, out=g["b1"])
            torch.bmm(e.transpose(1, 2), d_raw, out=g["W1"])
            d_e = torch.bmm(d_raw, w["W1"].transpose(1, 2)).view(len(where), -1)  # (R·N·context, E)
            g["C"].zero_().flatten(0, 1).index_put_((where,), d_e, accumulate=True)

        return FirstLayer(torch.baddbmm(self.bias(), e, w["W1"]), backward)

    def products(self, windows: Tensor) -> FirstLayer:
        """The same by pairs (position, token), of which each has one product: rows are sums of those.

        Of 512 contexts of five names' letters there are 135 in place of 2,560.
        """
        w, g, (r, n, context) = self.weights, self.slopes, windows.shape
        tokens, size = w["C"].shape[1:]
        pairs = r * tokens * context  # numbered by seed, token, position
        first = w["W1"].view(r, context, size, -1).transpose(1, 2).flatten(2)  # (R, E, context·H)
        found = torch.bmm(w["C"], first).view(pairs, -1)  # (pairs, H)
        found.view(r, tokens, context, -1)[:, :, 0] += self.bias()
        where = ((windows + self.row_of_seed) * context + torch.arange(context)).view(r * n, context)
        raw = F.embedding_bag(where, found, mode="sum").view(r, n, -1)

        def backward(d_raw: Tensor) -> None:
            pair = where.flatten().numpy().astype(np.min_scalar_type(pairs))
            order = np.argsort(pair, kind="stable")  # by radix up to 2¹⁶
            ends = np.cumsum(np.bincount(pair, minlength=pairs))
            rows, begins = torch.from_numpy(order // context), torch.from_numpy(np.append(0, ends[:-1]))
            slope = F.embedding_bag(rows, d_raw.flatten(0, 1), begins, mode="sum")  # (pairs, H)
            if "b1" in g:
                torch.sum(slope.view(r, tokens, context, -1)[:, :, 0], 1, out=g["b1"])
            slope = slope.view(r, tokens, -1)  # (R, tokens, context·H)
            torch.bmm(slope, first.transpose(1, 2), out=g["C"])
            d_first = torch.bmm(w["C"].transpose(1, 2), slope).view(r, size, context, -1)
            g["W1"].view(r, context, size, -1).copy_(d_first.transpose(1, 2))

        return FirstLayer(raw, backward)


def tanh_(x: Tensor) -> Tensor:
    """tanh x = 2σ(2x) − 1, in place: on a CPU twice as quick as torch's own, and as exact beside 1."""
    return x.tanh_() if x.is_cuda else torch.add(MINUS_ONE, x.mul_(2).sigmoid_(), alpha=2, out=x)


def rounded(v: int) -> int:
    """V rounded up to whole vectors."""
    return -(-v // COLUMNS) * COLUMNS


def keeps(contexts: Contexts, v: int, device: torch.device) -> bool:
    """Whether there is room for a `table`."""
    return len(contexts.windows) * rounded(v) <= (MOST_KEPT if device.type == "cpu" else MOST_ON_DEVICE)


def table(contexts: Contexts, v: int, device: torch.device) -> Tensor | None:
    """The shares of what follows every context (U, V); None where that is too much to keep."""
    if not keeps(contexts, v, device):
        return None
    rows = np.repeat(np.arange(len(contexts.windows)), np.diff(contexts.first))
    found = np.zeros((len(contexts.windows), v), np.float32)
    found[rows, contexts.following] = contexts.counts / contexts.total[rows]
    return torch.from_numpy(found).to(device)


def side_by_side(drawn: Sequence[Sequence[Ints]], *, once: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
    """Steps' batches of each seed, right-padded with 0: (R, N), and what rows weigh in their mean (R, N, 1).

    `once`: batches are of one size, and what stands in one several times in a row is one row of that weight.
    """
    batches = [batch for step in drawn for batch in step]
    lengths = sizes = np.array([len(batch) for batch in batches])
    rows, times = np.concatenate(batches), np.ones(int(sizes.sum()), np.int64)
    if once:
        numbers = rows.reshape(len(batches), -1)  # (steps·R, size)
        fresh = np.ones(numbers.shape, bool)
        np.not_equal(numbers[:, 1:], numbers[:, :-1], out=fresh[:, 1:])
        starts = np.flatnonzero(fresh)
        rows, times, lengths = rows[starts], np.diff(starts, append=fresh.size), fresh.sum(axis=1)
    real = np.arange(lengths.max()) < lengths[:, None]  # (steps·R, N)
    index, weight = np.zeros(real.shape, np.int64), np.zeros(real.shape, np.float32)
    index[real], weight[real] = rows, times
    weight /= sizes[:, None]
    shape, longest = (len(drawn), -1, real.shape[1]), lengths.reshape(len(drawn), -1).max(axis=1)
    for found, share, n in zip(index.reshape(shape), weight.reshape(shape), longest, strict=True):
        yield torch.from_numpy(found[:, :n]), torch.from_numpy(share[:, :n, None])


def gathered(found: Tensor, index: Tensor) -> Tensor:
    """`found[index]`, (U, ·) at (R, N) -> (R, N, ·), in a fifth of the time: whole rows are copied."""
    return found.index_select(0, index.flatten()).view(*index.shape, -1)


def views(flat: Tensor, shaped: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parts of a vector, shaped as these are."""
    parts = torch.split(flat, [value.numel() for value in shaped.values()])
    return {name: part.view_as(shaped[name]) for name, part in zip(shaped, parts, strict=True)}
