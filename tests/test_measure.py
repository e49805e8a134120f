"""The order in which a fitted model is measured."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness import Corpus, Model, Trial
from harness.measure import blank_record, measure
from harness.plan import plan


class Records(Model):
    """Uniform rows; remembers every request."""

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Nothing to learn."""

    def log_probs(self, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(B, T) -> (B, T, V)."""
        self.asked.append(("log_probs", inputs.copy()))
        return np.full((*inputs.shape, self.vocab_size), -np.log(self.vocab_size))

    def next_log_probs(self, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(B, T) -> (B, V)."""
        self.asked.append(("next_log_probs", inputs.copy()))
        return np.full((len(inputs), self.vocab_size), -np.log(self.vocab_size))


def test_no_test_document_is_sent_before_all_are_scored() -> None:
    """Until the last prefix of test is scored, no request holds a whole document of test."""
    made = plan("uniform", data="markov:documents=400", method="grouped")
    parts = made.split_for(made.cells[0].choice)
    model = Records(27, {}, np.random.default_rng(0))
    model.asked = []  # type: ignore[attr-defined]
    measure(made, model, parts, 1e-4, None, blank_record(made, made.cells[0], "run", parts))
    test = parts.test.corpus
    documents = {
        tuple(test.tokens[test.offsets[i] + 1 : test.offsets[i + 1]].tolist()) for i in range(len(test))
    }
    longest = int(test.lengths.max())
    asked = model.asked  # type: ignore[attr-defined]
    blind_calls = [i for i, (name, inputs) in enumerate(asked) if name == "next_log_probs"]
    sent = [
        i
        for i, (name, inputs) in enumerate(asked)
        if name == "log_probs" and any(tuple(row[1:][row[1:] > 0].tolist()) in documents for row in inputs)
    ]
    assert sent, "whole rows of test are compared at the end"
    scored = [i for i in blind_calls if i < min(sent)]
    assert sum(asked[i][1].shape[1] == 1 for i in scored) >= 2  # dev's first call, and test's
    lengths = [asked[i][1].shape[1] for i in scored]
    assert lengths[-longest:] == list(range(1, longest + 1))
