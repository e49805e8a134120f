"""Every character equally likely."""

from __future__ import annotations

import numpy as np

from harness import Corpus, Model, Trial
from harness.contract import Floats, Ints


class Uniform(Model):
    """p = 1 / V at every position: ln V nats per character, whatever the text."""

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Nothing to learn."""

    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        return np.full((*inputs.shape, self.vocab_size), -np.log(self.vocab_size))
