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


def test_a_preset_that_needs_a_word_says_it() -> None:
    """A spec's remark on a preset stands in the marks of its row, and in no other's."""
    models = "transformer:preset=makemore,transformer"
    made = plan(models, data="markov:documents=400", method="grouped")
    parts = made.split_for(made.cells[0].choice)
    remarked, plain = (blank_record(made, cell, "run", parts).marks for cell in made.cells)
    assert remarked == ["its steps were chosen on test by those who reported them"]
    assert plain == []


def test_scores_say_which_test_documents_stand_in_train() -> None:
    """As the split found them."""
    made = plan("uniform", data="markov:documents=400", method="lecture")
    parts = made.split_for(made.cells[0].choice)
    model = Records(27, {}, np.random.default_rng(0))
    model.asked = []  # type: ignore[attr-defined]
    _, arrays = measure(made, model, parts, 1e-4, None, blank_record(made, made.cells[0], "run", parts))
    train = {parts.train.text(i) for i in range(len(parts.train))}
    test = parts.test.corpus
    assert arrays["test_seen"].tolist() == [test.text(i) in train for i in range(len(test))]
