"""The multilayer perceptron of Bengio et al. (2003) as in makemore parts 2 to 4, in numpy.

float64 and gradients by hand: the oracle that the other backends are held against. What they share,
the parameters' names, shapes and initial values and the choice of batches, is here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Corpus, Diverged, Trial, WindowModel
from harness.contract import Config, Floats, Ints
from harness_plugins.training import Curve, learning_rate
from harness_plugins.weighted_contexts import SIZE, Contexts, context_batches, merged
from harness_plugins.window_batches import document_batches, window_batches

Array = NDArray[np.float64]
Weights = dict[str, Array]

MOMENTUM, EPSILON = 0.001, 1e-5  # of batch normalisation, as in the lecture
ROWS = 512  # of windows that are worked out together


def shapes(v: int, config: Config) -> dict[str, tuple[int, ...]]:
    """C (V, E), W1 (context·E, H), b1 (H,), W2 (H, V), b2 (V,).

    `blank`: C has a row more. Batch normalisation subtracts the mean, so a bias before it would do
    nothing: gain and bias (H,) replace b1, and the running mean and variance (H,) join them.
    """
    context, e, h = config["context"], config["embedding"], config["hidden"]
    found = {"C": (v + config["blank"], e), "W1": (context * e, h), "b1": (h,), "W2": (h, v), "b2": (v,)}
    if config["normalize"] == "batch":
        del found["b1"]
        found |= dict.fromkeys(("gain", "bias", "mean", "variance"), (h,))
    return found


def initial(v: int, config: Config, rng: np.random.Generator) -> Weights:
    """Parameters before training; embeddings are standard normal, gains 1, biases 0 unless said.

    normal: standard normals throughout, as the lecture first does (its loss starts near 27).
    kaiming: W1 by the tanh gain 5/3 over √fan-in (He et al. 2015), W2 by 0.01 (makemore part 3).
    scaled: the same with W2 by 0.1 over √fan-in.
    jittered: kaiming with W2 by 0.1 and 0.1 of noise on gains and biases (makemore part 4).
    torch: weights and biases uniform within 1/√fan-in, as `nn.Linear` (makemore.py).
    """
    init, shape = config["init"], shapes(v, config)
    weights = {name: rng.standard_normal(size) for name, size in shape.items()}
    root1, root2 = math.sqrt(shape["W1"][0]), math.sqrt(shape["W2"][0])
    if init == "torch":
        for name in [name for name in shape if name in ("W1", "b1", "W2", "b2")]:
            bound = 1 / (root1 if name.endswith("1") else root2)
            weights[name] = rng.uniform(-bound, bound, shape[name])
    first, second, noise = {
        "kaiming": (5 / 3 / root1, 0.01, 0.0),
        "scaled": (5 / 3 / root1, 0.1 / root2, 0.0),
        "jittered": (5 / 3 / root1, 0.1, 0.1),
    }.get(init, (1.0, 1.0, 1.0))
    weights["W1"] *= first
    weights["W2"] *= second
    weights["b2"] *= noise
    if config["normalize"] == "none":
        weights["b1"] *= noise
        return weights
    jitter = noise if init == "jittered" else 0.0
    start = {
        "gain": 1 + jitter * weights["gain"],
        "bias": jitter * weights["bias"],
        "mean": np.zeros(shape["mean"]),
        "variance": np.ones(shape["variance"]),
    }
    return weights | start


def with_blanks(windows: Ints, v: int) -> Ints:
    """Windows (N, context) in which what lies left of a document's start is token V, not the boundary."""
    outside = np.zeros(windows.shape, bool)
    outside[:, :-1] = (windows[:, :-1] == 0) & (windows[:, 1:] == 0)
    return np.where(outside, v, windows)


def batches(train: Corpus, config: Config, rng: np.random.Generator) -> Iterator[Ints]:
    """Endless batches of positions in the training text."""
    if config["batch_of"] == "documents":
        return document_batches(train, config["batch"], config["context"], rng)
    return window_batches(train, config["batch"], rng)


def weighted(config: Config) -> int | None:
    """How many contexts are drawn for a batch; None where batches are of positions."""
    if config["batch"] == "weighted":
        return SIZE
    return int(config["batch"]) if config["batch_of"] == "contexts" else None


def examples(
    train: Corpus, config: Config, rng: np.random.Generator
) -> Iterator[tuple[Ints, NDArray[Any], int]]:
    """Endless batches: windows (N, context); targets (N,) or shares (N, V); how many targets were drawn.

    Contexts that were drawn several times stand in a batch once. Where there are statistics of the batch
    they stand in it as often as they were drawn.
    """
    v, size = train.alphabet.size, weighted(config)
    if size is None:
        windows, targets = train.windows(config["context"])
        for chosen in batches(train, config, rng):
            yield windows[chosen], targets[chosen], len(chosen)
        return
    contexts = Contexts.of(train, config["context"])
    for drawn in context_batches(contexts, size, rng):
        chosen, times = (drawn, np.ones_like(drawn)) if config["normalize"] == "batch" else merged(drawn)
        yield contexts.windows[chosen], contexts.shares(chosen, times, v), size


def standardised(raw: Array, moments: Weights) -> Array:
    """(N, H) minus the mean, over the square root of the variance."""
    unit: Array = (raw - moments["mean"]) / np.sqrt(moments["variance"] + EPSILON)
    return unit


def log_softmax(logits: Array) -> Array:
    """(N, V) -> (N, V)."""
    logits = logits - logits.max(axis=1, keepdims=True)
    rows: Array = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return rows


def forward(weights: Weights, windows: Ints) -> Array:
    """(N, context) -> log-probabilities (N, V); batch normalisation by the running statistics."""
    hidden = weights["C"][windows].reshape(len(windows), -1) @ weights["W1"]  # (N, H)
    if "gain" in weights:
        hidden = weights["gain"] * standardised(hidden, weights) + weights["bias"]
    else:
        hidden += weights["b1"]
    np.tanh(hidden, out=hidden)
    return log_softmax(hidden @ weights["W2"] + weights["b2"])


def loss_and_gradients(
    weights: Weights, windows: Ints, targets: NDArray[Any]
) -> tuple[float, Weights, Weights]:
    """Mean NLL of the targets (N,) after the windows (N, context), its gradients, the batch's moments.

    Targets may be shares (N, V) of the batch that sum to 1: then the loss is −Σ share·ln p.

    The moments, mean and unbiased variance (H,), are those of batch normalisation: without it there
    are none. Its backward pass is the fused formula of makemore part 4.
    """
    n = len(windows)
    e = weights["C"][windows].reshape(n, -1)  # (N, context·E)
    raw = e @ weights["W1"]  # (N, H)
    moments: Weights = {}
    if "gain" in weights:
        moments = {"mean": raw.mean(axis=0), "variance": raw.var(axis=0, ddof=1)}
        unit = standardised(raw, moments)
        h = np.tanh(weights["gain"] * unit + weights["bias"])
    else:
        h = np.tanh(raw + weights["b1"])
    rows = log_softmax(h @ weights["W2"] + weights["b2"])  # (N, V)
    here = np.arange(n)
    if targets.ndim == 1:
        loss = -float(rows[here, targets].mean())
        d_logits = np.exp(rows)  # (N, V)
        d_logits[here, targets] -= 1
        d_logits /= n
    else:
        loss = -float((targets * rows).sum())
        d_logits = targets.sum(axis=1, keepdims=True) * np.exp(rows) - targets
    d_raw = d_active = (d_logits @ weights["W2"].T) * (1 - h * h)  # (N, H), through tanh
    gradients = {"W2": h.T @ d_logits, "b2": d_logits.sum(axis=0)}
    if "gain" in weights:
        d_gain, d_bias = (d_active * unit).sum(axis=0), d_active.sum(axis=0)
        gradients |= {"gain": d_gain, "bias": d_bias}
        scale = weights["gain"] / np.sqrt(moments["variance"] + EPSILON)
        d_raw = scale * (d_active - d_bias / n - unit * d_gain / (n - 1))
    else:
        gradients["b1"] = d_active.sum(axis=0)
    d_e = (d_raw @ weights["W1"].T).reshape(windows.size, -1)  # (N·context, E)
    one_hot = np.zeros((windows.size, len(weights["C"])))
    one_hot[np.arange(windows.size), windows.ravel()] = 1
    return loss, gradients | {"C": one_hot.T @ d_e, "W1": e.T @ d_raw}, moments


class Sgd:
    """Plain gradient descent."""

    def __init__(self, weights: Weights, config: Config) -> None:
        self.weights = weights

    def step(self, gradients: Weights, rate: float) -> None:
        """θ ← θ − rate·g, in place."""
        for name, gradient in gradients.items():
            self.weights[name] -= rate * gradient


class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), as torch has it."""

    def __init__(self, weights: Weights, config: Config) -> None:
        self.weights = weights
        self.decay, self.beta2 = config["weight_decay"], config["beta2"]
        self.first = {name: np.zeros_like(value) for name, value in weights.items()}
        self.second = {name: np.zeros_like(value) for name, value in weights.items()}
        self.steps = 0

    def step(self, gradients: Weights, rate: float) -> None:
        """One update, in place; β₁ = 0.9, ε = 1e-8."""
        self.steps += 1
        scale = rate / (1 - 0.9**self.steps)
        root = 1 / math.sqrt(1 - self.beta2**self.steps)
        for name, gradient in gradients.items():
            first, second, weight = self.first[name], self.second[name], self.weights[name]
            first *= 0.9
            first += 0.1 * gradient
            second *= self.beta2
            second += (1 - self.beta2) * gradient * gradient
            weight *= 1 - rate * self.decay
            weight -= scale * first / (np.sqrt(second) * root + 1e-8)


class Mlp(WindowModel):
    """C[x] → tanh(· W1 + b1) → softmax(· W2 + b2), minibatches."""

    def loss_and_gradients(
        self, weights: Weights, windows: Ints, targets: NDArray[Any]
    ) -> tuple[float, Weights, Weights]:
        """The loss of a batch, its gradients and its moments."""
        return loss_and_gradients(weights, windows, targets)

    def enough(self, trial: Trial, done: int) -> bool:
        """Whether training ends after so many targets."""
        return trial.should_stop()

    def tokens(self, windows: Ints) -> Ints:
        """Windows as the embedding sees them."""
        return with_blanks(windows, self.vocab_size) if self.config["blank"] else windows

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Train on random batches; `loss` in the progress is that of the last one."""
        config = self.config
        weights = self.params = initial(self.vocab_size, config, self.rng)
        optimizer = (AdamW if config["optimizer"] == "adamw" else Sgd)(weights, config)
        curve = Curve(trial, dev)
        done = 0
        for steps, (windows, targets, drawn) in enumerate(examples(train, config, self.rng)):
            if self.enough(trial, done):
                break
            if curve.due():
                curve.point(self)
            loss, gradients, moments = self.loss_and_gradients(weights, self.tokens(windows), targets)
            if not math.isfinite(loss):
                raise Diverged(f"loss is {loss} after {steps} steps")
            optimizer.step(gradients, learning_rate(config, trial.spent()))
            for name, value in moments.items():
                weights[name] += MOMENTUM * (value - weights[name])
            done += drawn
            trial.progress(done, done * (trial.steps or 0) // (steps + 1), loss=loss)
        if curve.due(finished=True):
            curve.point(self)

    def window_log_probs(self, windows: Ints) -> Floats:
        """(N, context) -> (N, V), in parts whose hidden layer stays in the cache."""
        parts = [windows[first : first + ROWS] for first in range(0, len(windows), ROWS)]
        return np.concatenate([forward(self.params, self.tokens(part)) for part in parts])
