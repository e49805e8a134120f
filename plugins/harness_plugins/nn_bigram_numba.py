"""The network of one layer compiled by numba: the same numbers, in float64."""

from __future__ import annotations

import numpy as np

from harness import Corpus, Diverged, Trial
from harness_plugins.nn_bigram import NeuralBigram
from harness_plugins.pace import Pace
from harness_plugins.pair_kernels import descend, pair_counts


class NeuralBigramNumba(NeuralBigram):
    """As `NeuralBigram`; steps are taken many at a time."""

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Descend; `loss` in the progress is the penalised loss before the last update."""
        counts = pair_counts(train)
        weights = self.initial()
        velocity = np.zeros_like(weights)
        hyper = np.array([self.config[key] for key in ("learning_rate", "momentum", "l2")])
        done, pace = 0, Pace(trial, self.vocab_size)
        while shares := trial.shares(pace.steps()):
            losses = np.zeros(len(shares))
            descend(weights, velocity, counts, hyper, losses)
            if not np.isfinite(losses).all():
                bad = int(np.argmin(np.isfinite(losses)))
                raise Diverged(f"loss is {losses[bad]} after {done + bad} steps: lower learning_rate")
            done += len(shares)
            trial.progress(done * train.targets, (trial.steps or 0) * train.targets, loss=losses[-1])
        self.params["W"] = weights
