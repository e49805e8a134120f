"""Every character equally likely."""

from __future__ import annotations

import numpy as np

from harness import Corpus, Trial, WindowModel
from harness.contract import Floats, Ints


class Uniform(WindowModel):
    """p = 1 / V at every position: ln V nats per character, whatever the text."""

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Nothing to learn."""

    def window_log_probs(self, windows: Ints) -> Floats:
        """(N, 1) -> (N, V)."""
        return np.full((len(windows), self.vocab_size), -np.log(self.vocab_size))
