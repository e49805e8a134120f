"""The bigram by counting (Karpathy, makemore part 1; add-k smoothing after Laplace)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness import Corpus, Trial, WindowModel
from harness.contract import Floats, Ints


def pair_counts(corpus: Corpus) -> NDArray[np.float64]:
    """(V, V): how often the column's character follows the row's, boundaries counted."""
    v = corpus.alphabet.size
    pairs = corpus.tokens[:-1].astype(np.int64) * v + corpus.tokens[1:]
    return np.bincount(pairs, minlength=v * v).reshape(v, v).astype(np.float64)


class CountBigram(WindowModel):
    """p(j | i) = (count(i, j) + k) / (count(i) + k V). With k = 0 an unseen pair has p = 0.

    A character that was never seen as a predecessor has a uniform row, whatever k.
    """

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Count."""
        self.params["counts"] = pair_counts(train)

    def window_log_probs(self, windows: Ints) -> Floats:
        """(N, 1) -> (N, V)."""
        seen, where = np.unique(windows[:, 0], return_inverse=True)  # only the rows that are asked for
        smoothed = self.params["counts"][seen] + self.config["k"]  # (U, V)
        total = smoothed.sum(axis=1, keepdims=True)
        uniform = 1 / self.vocab_size
        probabilities = np.where(total > 0, smoothed / np.where(total > 0, total, 1), uniform)
        with np.errstate(divide="ignore"):
            rows: Floats = np.log(probabilities)[where]
        return rows
