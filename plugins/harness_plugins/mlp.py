"""The multilayer perceptron of Bengio et al. (2003) as in makemore part 2, in numpy.

float64 and gradients by hand: the oracle that the other backends are held against. What they share,
the parameters' names and initial values, the order of the batches and the learning rate, is here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness import Corpus, Diverged, Trial, WindowModel
from harness.contract import Config, Floats, Ints

Array = NDArray[np.float64]
Weights = dict[str, Array]

DRAWN_AHEAD = 1000  # batches whose indices are drawn at once


def shapes(v: int, config: Config) -> dict[str, tuple[int, ...]]:
    """The parameters: C (V, E), W1 (context·E, H), b1 (H,), W2 (H, V), b2 (V,)."""
    context, e, h = config["context"], config["embedding"], config["hidden"]
    return {"C": (v, e), "W1": (context * e, h), "b1": (h,), "W2": (h, v), "b2": (v,)}


def initial(v: int, config: Config, rng: np.random.Generator) -> Weights:
    """Parameters before training.

    `normal`: standard normals throughout, as the lecture first does (its loss starts near 27).
    `scaled`: W1 by the tanh gain over √fan-in (lecture 3, He et al. 2015), the output layer small,
    biases 0.
    """
    weights = {name: rng.standard_normal(shape) for name, shape in shapes(v, config).items()}
    if config["init"] == "scaled":
        weights["W1"] *= (5 / 3) / math.sqrt(len(weights["W1"]))
        weights["W2"] *= 0.1 / math.sqrt(len(weights["W2"]))
        weights["b1"] *= 0
        weights["b2"] *= 0
    return weights


def batch_indices(n: int, config: Config, rng: np.random.Generator) -> Iterator[Ints]:
    """Endless batches of positions in [0, n), with replacement as in the lecture."""
    while True:
        yield from rng.integers(0, n, (DRAWN_AHEAD, config["batch"]))


def learning_rate(config: Config, spent: float) -> float:
    """The rate after a share `spent` of the budget: the lecture's step (a tenth from half on)…"""
    rate: float = config["learning_rate"]
    if config["schedule"] == "step":
        return rate if spent < 0.5 else rate / 10
    if config["schedule"] == "cosine":  # … or half a cosine down to a hundredth
        return rate * (0.01 + 0.99 * (1 + math.cos(math.pi * spent)) / 2)
    return rate


def forward(weights: Weights, windows: Ints) -> tuple[Array, Array, Array]:
    """(N, context) -> embeddings (N, context·E), hidden (N, H), log-probabilities (N, V)."""
    e = weights["C"][windows].reshape(len(windows), -1)
    h = np.tanh(e @ weights["W1"] + weights["b1"])
    logits = h @ weights["W2"] + weights["b2"]
    logits -= logits.max(axis=1, keepdims=True)
    return e, h, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def loss_and_gradients(weights: Weights, windows: Ints, targets: Ints) -> tuple[float, Weights]:
    """Mean NLL of the targets (N,) after the windows (N, context), and its gradients."""
    n = len(windows)
    e, h, rows = forward(weights, windows)
    here = np.arange(n)
    loss = -float(rows[here, targets].mean())
    d_logits = np.exp(rows)  # (N, V)
    d_logits[here, targets] -= 1
    d_logits /= n
    d_hidden = (d_logits @ weights["W2"].T) * (1 - h * h)  # (N, H), through tanh
    d_e = (d_hidden @ weights["W1"].T).reshape(windows.size, -1)  # (N·context, E)
    one_hot = np.zeros((windows.size, len(weights["C"])))
    one_hot[np.arange(windows.size), windows.ravel()] = 1
    return loss, {
        "C": one_hot.T @ d_e,
        "W1": e.T @ d_hidden,
        "b1": d_hidden.sum(axis=0),
        "W2": h.T @ d_logits,
        "b2": d_logits.sum(axis=0),
    }


class Sgd:
    """Plain gradient descent."""

    def __init__(self, weights: Weights, config: Config) -> None:
        self.weights = weights

    def step(self, gradients: Weights, rate: float) -> None:
        """θ ← θ − rate·g, in place."""
        for name, gradient in gradients.items():
            self.weights[name] -= rate * gradient


class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), torch's defaults."""

    def __init__(self, weights: Weights, config: Config) -> None:
        self.weights = weights
        self.decay = config["weight_decay"]
        self.first = {name: np.zeros_like(value) for name, value in weights.items()}
        self.second = {name: np.zeros_like(value) for name, value in weights.items()}
        self.steps = 0

    def step(self, gradients: Weights, rate: float) -> None:
        """One update, in place; β = (0.9, 0.999), ε = 1e-8."""
        self.steps += 1
        scale = rate / (1 - 0.9**self.steps)
        root = 1 / math.sqrt(1 - 0.999**self.steps)
        for name, gradient in gradients.items():
            first, second, weight = self.first[name], self.second[name], self.weights[name]
            first *= 0.9
            first += 0.1 * gradient
            second *= 0.999
            second += 0.001 * gradient * gradient
            weight *= 1 - rate * self.decay
            weight -= scale * first / (np.sqrt(second) * root + 1e-8)


class Mlp(WindowModel):
    """C[x] → tanh(· W1 + b1) → softmax(· W2 + b2), minibatches."""

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Train on random windows; `loss` in the progress is that of the last batch."""
        config = self.config
        windows, targets = train.windows(config["context"])
        weights = initial(self.vocab_size, config, self.rng)
        optimizer = (AdamW if config["optimizer"] == "adamw" else Sgd)(weights, config)
        total = (trial.steps or 0) * config["batch"]
        done = 0
        for chosen in batch_indices(len(targets), config, self.rng):
            if trial.should_stop():
                break
            loss, gradients = loss_and_gradients(weights, windows[chosen], targets[chosen])
            if not math.isfinite(loss):
                raise Diverged(f"loss is {loss} after {done // config['batch']} steps")
            optimizer.step(gradients, learning_rate(config, trial.spent()))
            done += len(chosen)
            trial.progress(done, total, loss=loss)
        self.params = dict(weights)

    def window_log_probs(self, windows: Ints) -> Floats:
        """(N, context) -> (N, V)."""
        return forward(self.params, windows)[2]
