"""The MLP on scalars: every number a `Value`, every gradient found by `backward`.

The same initial values, batches, rates and optimiser as the numpy oracle, whose hand-written backward
pass it replaces. Rows are computed by the oracle's forward pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Corpus, Trial
from harness.contract import Ints
from harness_plugins.micrograd import Value, dot, total
from harness_plugins.mlp import EPSILON, Array, Mlp, Weights
from harness_plugins.specs.windows import MLP_STEPS

PATIENCE = 10_000_000  # products of a forward pass: about five seconds of training

Row = list[Value]


class MlpScalar(Mlp):
    """As `Mlp`, several hundred times slower.

    The default number of steps would take an hour: without a budget of its own it stops after as many
    steps as make `PATIENCE` products, at least one. `steps=20`, `--budget 20steps` or `--budget 60s` is
    taken at its word.
    """

    def warm_up(self, train: Corpus, trial: Trial) -> None:
        """Nothing: there is nothing to compile, and two steps would take seconds."""

    def enough(self, trial: Trial, done: int) -> bool:
        """At the end of the budget, or of patience where the budget is the default."""
        config = self.config
        per_target = config["hidden"] * (config["context"] * config["embedding"] + self.vocab_size)
        default = trial.seconds is None and trial.steps in (None, MLP_STEPS) and config["steps"] == MLP_STEPS
        return trial.should_stop() or (default and done * per_target >= PATIENCE)

    def loss_and_gradients(
        self, weights: Weights, windows: Ints, targets: NDArray[Any]
    ) -> tuple[float, Weights, Weights]:
        """Mean NLL of the targets (N,) after the windows (N, context), its gradients, the batch's moments."""
        leaves = {name: values(array) for name, array in weights.items() if name not in ("mean", "variance")}
        moments: Weights = {}
        inputs = [[value for token in window for value in leaves["C"][token]] for window in windows.tolist()]
        raw = linear(inputs, leaves["W1"])  # N rows of H
        if "gain" in leaves:
            raw, moments = batch_norm(raw, leaves["gain"][0], leaves["bias"][0])
            hidden = [[value.tanh() for value in row] for row in raw]
        else:
            hidden = [[(a + b).tanh() for a, b in zip(row, leaves["b1"][0], strict=True)] for row in raw]
        logits = linear(hidden, leaves["W2"])  # N rows of V
        losses = [
            cross_entropy([a + b for a, b in zip(row, leaves["b2"][0], strict=True)], shares)
            for row, shares in zip(logits, shares_of(targets), strict=True)
        ]
        loss = total(losses)
        loss.backward()
        return loss.data, {name: gradient(leaves[name], weights[name]) for name in leaves}, moments


def values(array: Array) -> list[Row]:
    """The rows of a matrix as leaves of the graph; a vector is one row."""
    return [[Value(number) for number in row] for row in np.atleast_2d(array).tolist()]


def gradient(leaves: list[Row], like: Array) -> Array:
    """What `backward` left in the leaves of an array."""
    return np.array([[value.grad for value in row] for row in leaves]).reshape(like.shape)


def shares_of(targets: NDArray[Any]) -> list[dict[int, float]]:
    """Targets (N,), or shares (N, V) of the batch: for each row the characters wanted, and how much."""
    if targets.ndim == 1:
        return [{target: 1 / len(targets)} for target in targets.tolist()]
    return [{int(v): float(row[v]) for v in np.flatnonzero(row)} for row in targets]


def linear(rows: list[Row], weight: list[Row]) -> list[Row]:
    """N rows of n times a matrix (n, m) -> N rows of m."""
    columns = list(zip(*weight, strict=True))
    return [[dot(row, column) for column in columns] for row in rows]


def nll(logits: Row, target: int) -> Value:
    """−log softmax(logits)[target]."""
    return cross_entropy(logits, {target: 1.0})


def cross_entropy(logits: Row, shares: dict[int, float]) -> Value:
    """−Σ share·log softmax(logits); a constant taken off every logit keeps the exponentials small."""
    largest = max(value.data for value in logits)
    normaliser = total([(value - largest).exp() for value in logits]).log() + largest
    return total([(normaliser - logits[target]) * share for target, share in shares.items()])


def batch_norm(rows: list[Row], gain: Row, bias: Row) -> tuple[list[Row], Weights]:
    """N rows of H to mean 0 and variance 1 over the rows, times gain, plus bias; and both moments (H,)."""
    means, variances, columns = [], [], []
    for column, scale, shift in zip(zip(*rows, strict=True), gain, bias, strict=True):
        mean = total(column) / len(column)
        apart = [value - mean for value in column]
        variance = total([value**2 for value in apart]) / (len(column) - 1)
        factor = scale * (variance + EPSILON) ** -0.5
        columns.append([value * factor + shift for value in apart])
        means.append(mean.data)
        variances.append(variance.data)
    moments = {"mean": np.array(means), "variance": np.array(variances)}
    return [list(row) for row in zip(*columns, strict=True)], moments
