"""The bigram as a network of one layer (Karpathy, makemore part 1).

A one-hot row times W (V, V) gives the logits. All rows with the same character give the same logits,
so the loss over N pairs is a sum over the V×V count matrix, and so are its gradients: the same
numbers as from N one-hot rows, at 1/300 of the work. At its minimum softmax(W) is the
count bigram: W holds log-counts up to a constant a row, and the L2 term pulls it to the uniform
distribution as add-k smoothing does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness import Corpus, Diverged, Trial, WindowModel
from harness.contract import Floats, Ints
from harness_plugins.count_bigram import pair_counts

Matrix = NDArray[np.float64]


def loss_and_gradient(weights: Matrix, counts: Matrix, l2: float) -> tuple[float, Matrix]:
    """Mean NLL plus l2·mean(W²), and its gradient (V, V), from the count matrix (V, V)."""
    total = counts.sum()
    row_share = counts.sum(axis=1, keepdims=True) / total  # (V, 1)
    shifted = weights - weights.max(axis=1, keepdims=True)
    exponential = np.exp(shifted)
    normaliser = exponential.sum(axis=1, keepdims=True)
    nll = -((shifted - np.log(normaliser)) * counts).sum() / total
    gradient = row_share * (exponential / normaliser) - counts / total
    penalty = l2 * float((weights**2).mean())
    return float(nll) + penalty, gradient + 2 * l2 / weights.size * weights


def torch_randn(seed: int, size: int) -> Matrix:
    """`torch.randn(size, generator=torch.Generator().manual_seed(seed))` on the CPU, without torch.

    torch takes 24 bits of an MT19937 word for a uniform number and turns blocks of 16 of them into
    normals by Box–Muller, 8 cosines and 8 sines; where `size` is no multiple of 16 the last 16 are
    drawn again. Equal to torch up to float32 rounding; size must be at least 16.
    """
    generator = np.random.MT19937()
    generator._legacy_seeding(seed)  # the 2002 init_genrand, as torch

    def uniform(n: int) -> Matrix:
        words: Matrix = (generator.random_raw(n) & 0xFFFFFF) / 2.0**24
        return words

    def box_muller(block: Matrix) -> Matrix:
        radius = np.sqrt(-2 * np.log(1 - block[:8]))
        angle = 2 * np.pi * block[8:]
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])

    drawn = uniform(size)
    for first in range(0, size - 15, 16):
        drawn[first : first + 16] = box_muller(drawn[first : first + 16])
    if size % 16:
        drawn[-16:] = box_muller(uniform(16))
    return drawn


class NeuralBigram(WindowModel):
    """softmax(one_hot(x) W), full-batch gradient descent with momentum, L2 pull to uniform."""

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Descend; `loss` in the progress is the penalised loss before each update."""
        counts = pair_counts(train)
        weights = self.initial()
        velocity = np.zeros_like(weights)
        rate, momentum, l2 = (self.config[key] for key in ("learning_rate", "momentum", "l2"))
        done = 0
        while not trial.should_stop():
            loss, gradient = loss_and_gradient(weights, counts, l2)
            if not np.isfinite(loss):
                raise Diverged(f"loss is {loss} after {done} steps: lower learning_rate")
            velocity = momentum * velocity - rate * gradient
            weights = weights + velocity
            done += 1
            trial.progress(done * train.targets, (trial.steps or 0) * train.targets, loss=loss)
        self.params["W"] = weights

    def initial(self) -> Matrix:
        """W (V, V) before training: zeros, normals, or the lecture's `torch.randn`."""
        v = self.vocab_size
        if self.config["init"] == "torch":
            return torch_randn(2147483647, v * v).reshape(v, v)
        if self.config["init"] == "normal":
            return self.rng.standard_normal((v, v))
        return np.zeros((v, v))

    def window_log_probs(self, windows: Ints) -> Floats:
        """(N, 1) -> (N, V)."""
        shifted = self.params["W"] - self.params["W"].max(axis=1, keepdims=True)
        rows: Matrix = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return rows[windows[:, 0]]
