"""Many seeds of the MLP as one problem in torch: a leading axis R for seeds, gradients by hand.

A step of one small network is mostly the calling of its operations. Stacked, R networks need as many
calls as one, and each its own batch of its own text positions, so that every seed is its solo run.
Axes: R seeds, N rows of a batch, H hidden, E embedding, V characters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from harness import Corpus, Diverged, Trial, WindowModel
from harness.contract import Config, Ints
from harness_plugins import mlp
from harness_plugins.training import Curve, learning_rate
from harness_plugins.weighted_contexts import Contexts

Tensor = torch.Tensor
READ_EVERY = 100  # steps, as in the loop of one seed

tanh_backward = torch.ops.aten.tanh_backward


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
    ) -> None:
        """starts, batches: of each seed; windows (positions, context) and targets (positions,) of train.

        Batches of contexts are numbers of the distinct ones, whose windows (U, context) these are then.
        """
        self.config, self.windows, self.targets = config, windows, targets
        self.batches, self.r = batches, len(starts)
        self.weights = {
            name: torch.from_numpy(np.stack([start[name] for start in starts]).astype(np.float32))
            for name in starts[0]
        }
        rows = self.weights["C"].shape[1]
        self.row_of_seed = (torch.arange(self.r) * rows)[:, None, None]  # of C laid flat (R·V, E)
        learnt = {name: weight for name, weight in self.weights.items() if name not in ("mean", "variance")}
        self.slopes = {name: torch.zeros_like(weight) for name, weight in learnt.items()}
        for name, weight in learnt.items():
            weight.grad = self.slopes[name]
        self.optimizer = optimizer(list(learnt.values()), config)
        self.done = np.zeros(self.r, np.int64)  # targets

    def params(self) -> list[dict[str, NDArray[Any]]]:
        """Those of each seed."""
        arrays = {name: value.numpy() for name, value in self.weights.items()}
        return [{name: value[seed].copy() for name, value in arrays.items()} for seed in range(self.r)]

    @torch.inference_mode()
    def steps(self, spent: Sequence[float]) -> list[float]:
        """A step at each of these shares of the budget; the last batch's mean NLL of each seed."""
        losses = torch.zeros(self.r)
        for number, share in enumerate(spent, 1):
            chosen = [next(batch) for batch in self.batches]
            index, weight = side_by_side(chosen)  # (R, N), (R, N, 1)
            wanted = self.wanted(index)
            logits = self.gradients(self.windows[index], wanted, weight)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.config, share)
            self.optimizer.step()
            self.done += [len(batch) for batch in chosen]
            if number == len(spent):
                losses = -(F.log_softmax(logits, 2) * wanted * weight).sum(dim=(1, 2))
        return losses.tolist()

    def wanted(self, index: Tensor) -> Tensor:
        """What follows these rows (R, N) -> (R, N, V): one character each, or the shares of all that does."""
        v = self.weights["b2"].shape[1]
        if isinstance(self.targets, Tensor):
            targets = self.targets[index][:, :, None]  # (R, N, 1)
            return torch.zeros(*index.shape, v).scatter_(2, targets, 1.0)
        drawn = index.flatten().numpy()
        rows, following, share = self.targets.pairs(drawn, np.ones_like(drawn))
        shares = torch.zeros(len(drawn), v)
        shares[torch.from_numpy(rows), torch.from_numpy(following)] = torch.from_numpy(
            share * len(drawn)
        ).float()
        return shares.view(*index.shape, v)

    def gradients(self, windows: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
        """Set the gradients of the batch (R, N, context), (R, N, V); returns its logits (R, N, V).

        weight (R, N, 1): of each row in the mean, 0 for padding.
        """
        w, r = self.weights, self.r
        g = self.slopes
        where = (windows + self.row_of_seed).flatten()
        e = w["C"].flatten(0, 1).index_select(0, where).view(r, windows.shape[1], -1)  # (R, N, context·E)
        if "gain" in w:
            raw = torch.bmm(e, w["W1"])  # (R, N, H)
            n = raw.shape[1]  # no row is padding: batches of windows are all of one size
            variance, mean = torch.var_mean(raw, dim=1, keepdim=True)  # (R, 1, H)
            scale = torch.rsqrt(variance + mlp.EPSILON)
            unit = (raw - mean) * scale
            h = tanh_(torch.addcmul(w["bias"][:, None], w["gain"][:, None], unit))
            for name, moment in (("mean", mean), ("variance", variance)):
                w[name].lerp_(moment[:, 0], mlp.MOMENTUM)
        else:
            raw = torch.baddbmm(w["b1"][:, None], e, w["W1"])  # (R, N, H)
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
        else:
            torch.sum(d_raw, 1, out=g["b1"])
        torch.bmm(e.transpose(1, 2), d_raw, out=g["W1"])
        d_e = torch.bmm(d_raw, w["W1"].transpose(1, 2)).view(len(where), -1)  # (R·N·context, E)
        g["C"].zero_().flatten(0, 1).index_put_((where,), d_e, accumulate=True)
        return logits


def tanh_(x: Tensor) -> Tensor:
    """tanh x = 2σ(2x) − 1, in place: twice as quick here as torch's own, and as exact beside 1."""
    return x.mul_(2).sigmoid_().mul_(2).sub_(1)


def side_by_side(batches: Sequence[Ints]) -> tuple[Tensor, Tensor]:
    """Batches of each seed, right-padded with 0: (R, N), and what a row weighs in its mean (R, N, 1)."""
    lengths = np.array([len(batch) for batch in batches])
    if (lengths == lengths[0]).all():
        index = np.stack(batches)
        return torch.from_numpy(index), torch.full((len(index), index.shape[1], 1), 1 / lengths[0])
    real = np.arange(lengths.max()) < lengths[:, None]  # (R, N)
    index = np.zeros(real.shape, np.int64)
    index[real] = np.concatenate(batches)
    weight = (real / lengths[:, None]).astype(np.float32)
    return torch.from_numpy(index), torch.from_numpy(weight)[:, :, None]


def optimizer(weights: Sequence[Tensor], config: Config) -> torch.optim.Optimizer:
    """As for one seed: both kinds move each number by itself."""
    if config["optimizer"] == "adamw":
        betas, decay = (0.9, config["beta2"]), config["weight_decay"]
        return torch.optim.AdamW(weights, betas=betas, weight_decay=decay, fused=True)
    return torch.optim.SGD(weights, fused=True)


def train_seeds(
    stacks: Sequence[Stack], models: Sequence[WindowModel], dev: Corpus, trials: Sequence[Trial]
) -> list[dict[str, NDArray[Any]]]:
    """The loop: each stack in a thread of its own, all of them at the same step at a checkpoint.

    models: one a seed, to be measured there. A seed whose loss is no longer finite is carried along,
    and does not touch the others; `Diverged` where none is left.
    """
    first, curve = trials[0], Curve(trials[0], dev)
    taken, ahead, losses = 0, list[float](), list[float]()  # steps; shares of the budget at those to come

    def advance() -> None:
        nonlocal taken, ahead, losses
        shares, ahead = ahead, []
        taken += len(shares)
        losses = [loss for found in pool.map(lambda stack: stack.steps(shares), stacks) for loss in found]
        if not any(map(math.isfinite, losses)):
            raise Diverged(f"loss is {losses[0]} after {taken} steps, and so with every seed")

    def tell() -> None:
        done = np.concatenate([stack.done for stack in stacks])
        for trial, targets, loss in zip(trials, done, losses, strict=True):
            shown = {"loss": loss} if math.isfinite(loss) else {}
            trial.progress(targets, targets * (trial.steps or 0) // taken, **shown)

    def point() -> None:
        for model, params in zip(models, parameters(stacks), strict=True):
            model.params = params
        curve.point(models[0])
        for model, trial in zip(models[1:], trials[1:], strict=True):
            trial.checkpoint(model)

    with ThreadPoolExecutor(len(stacks)) as pool:
        while not first.should_stop():
            due = curve.due()
            if ahead and (due or (taken + len(ahead)) % READ_EVERY == 0):
                advance()
                if taken % READ_EVERY == 0:
                    tell()
            if due:
                point()
            ahead.append(first.spent())
        if ahead:
            advance()
    if taken:
        tell()
    if curve.due(finished=True):
        point()
    return parameters(stacks)


def parameters(stacks: Sequence[Stack]) -> list[dict[str, NDArray[Any]]]:
    """Those of every seed in turn."""
    return [params for stack in stacks for params in stack.params()]
