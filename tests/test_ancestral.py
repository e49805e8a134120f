"""Sampling where documents with equal histories share a row: the same documents as by the plain loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness import Corpus, Model, Trial, WindowModel
from harness.ancestral import MOST_KEY

Ints = NDArray[np.int64]


class Whole(Model):
    """A law of the whole document; remembers what it was asked."""

    def __init__(self, v: int) -> None:
        super().__init__(v, {}, np.random.default_rng(0))
        self.asked: list[Ints] = []

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Nothing to learn."""

    def log_probs(self, inputs: Ints) -> NDArray[np.float64]:
        """(B, T) -> (B, T, V)."""
        return np.stack([self.rows(inputs[:, : t + 1]) for t in range(inputs.shape[1])], axis=1)

    def next_log_probs(self, inputs: Ints) -> NDArray[np.float64]:
        """(B, T) -> (B, V)."""
        self.asked.append(inputs.copy())
        return self.rows(inputs)

    def rows(self, inputs: Ints) -> NDArray[np.float64]:
        """(N, T) -> (N, V), row by row, so that equal inputs give equal bits."""
        made = np.empty((len(inputs), self.vocab_size))
        for row, tokens in zip(made, inputs.tolist(), strict=True):
            state = 1
            for token in tokens:
                state = (state * 31 + token + 7) % 1009
            row[:] = np.sin(np.arange(self.vocab_size) * (state + 1) * 0.37)
            row -= np.log(np.exp(row).sum())
        return made


class Windowed(WindowModel):
    """A law of the last characters; remembers what it was asked."""

    def __init__(self, v: int, context: int) -> None:
        super().__init__(v, {}, np.random.default_rng(0))
        self.context, self.law = context, Whole(v)

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Nothing to learn."""

    def window_log_probs(self, windows: Ints) -> NDArray[np.float64]:
        """(N, context) -> (N, V)."""
        return self.law.next_log_probs(windows)

    @property
    def asked(self) -> list[Ints]:
        """The windows of each call."""
        return self.law.asked


def plainly(
    model: Model, n: int, limit: int, seed: int, temperature: float = 1.0, top_k: int | None = None,
    prompt: tuple[int, ...] = (),
) -> list[list[int]]:  # fmt: skip
    """The oracle: a row for every document, its character chosen in plain Python from the same numbers."""
    rng = np.random.default_rng(seed)
    documents, open_ = [list(prompt) for _ in range(n)], set(range(n))
    for _ in range(len(prompt), limit):
        uniform = rng.random(n)
        for i in sorted(open_):
            logits = model.next_log_probs(np.array([[0, *documents[i]]]))[0]
            ranked = sorted(range(len(logits)), key=lambda token, row=logits: -row[token])  # type: ignore[misc]
            if temperature == 0:
                token = ranked[0]
            else:
                kept = set(ranked[:top_k])
                weights = [np.exp((logit - logits.max()) / temperature) for logit in logits]
                sums = np.cumsum([weight if t in kept else 0.0 for t, weight in enumerate(weights)])
                token = next(t for t, total in enumerate(sums) if total > uniform[i] * sums[-1])
            documents[i].append(token)
            if token == 0:
                documents[i].pop()
                open_.remove(i)
        if not open_:
            break
    return documents


MODELS: dict[str, Any] = {
    "whole documents": lambda: Whole(5),
    "context 1": lambda: Windowed(5, 1),
    "context 2": lambda: Windowed(5, 2),
    "context 4": lambda: Windowed(5, 4),
    "more contexts than an integer holds": lambda: Windowed(5, 40),
}


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0.5}, {"temperature": 0.0}, {"top_k": 2}, {"prompt": (3, 1, 4)}],
    ids=["plain", "cooler", "greedy", "top-k", "prompt"],
)
@pytest.mark.parametrize("name", MODELS)
def test_documents_are_those_of_the_plain_loop(name: str, options: dict[str, Any]) -> None:
    """Character by character, for every seed: sharing rows changes no document."""
    for seed in (1, 2):
        drawn = MODELS[name]().sample(30, 9, np.random.default_rng(seed), **options)
        assert [document.tolist() for document in drawn] == plainly(MODELS[name](), 30, 9, seed, **options)


@pytest.mark.parametrize("name", MODELS)
def test_no_history_is_asked_for_twice(name: str) -> None:
    """A call holds each history once; there are as many as the open documents have, and no others."""
    model = MODELS[name]()
    drawn = model.sample(300, 9, np.random.default_rng(3))
    context = model.context if isinstance(model, WindowModel) else 99
    for t, asked in enumerate(model.asked):
        known = {tuple([0] * context + [0, *d[:t]])[-context:] for d in map(list, drawn) if len(d) >= t}
        rows = [tuple([0] * context + row)[-context:] for row in asked.tolist()]
        assert len(rows) == len(set(rows))
        assert set(rows) == known
    assert 1 < len(model.asked[1]) < 6


def test_the_oddest_contexts_have_no_packed_key() -> None:
    """The last of the models above is one whose contexts are told apart by numbers given on the way."""
    assert 5**4 < MOST_KEY < 5**40


class Marked(Whole):
    """The first character is anything, all others are 1."""

    def rows(self, inputs: Ints) -> NDArray[np.float64]:
        """(N, T) -> (N, V)."""
        made = np.full((len(inputs), self.vocab_size), -np.log(self.vocab_size))
        if inputs.shape[1] > 1:
            made[:] = -np.inf
            made[:, 1] = 0
        return made


def test_histories_stay_apart_however_long_they_are() -> None:
    """Documents that differ in their first character alone are told apart beyond 64 bits of characters."""
    model = Marked(2**13)
    drawn = model.sample(40, 12, np.random.default_rng(6))
    first = {int(document[0]) for document in drawn}
    assert len(first) > 30
    assert [{row[1] for row in asked.tolist()} for asked in model.asked[1:]] == [first] * 11


@pytest.mark.parametrize("cells", [1, 2, 5])
def test_a_law_has_the_frequencies_that_it_states(cells: int) -> None:
    """Of 20,000 documents that share rows each character comes as often as its law says, within 5 sigma."""
    model = Windowed(4, cells)
    p = np.exp(model.window_log_probs(np.zeros((1, cells), np.int64))[0])
    drawn = model.sample(20_000, 1, np.random.default_rng(6))
    found = np.bincount([d[0] if len(d) else 0 for d in drawn], minlength=4)
    assert (np.abs(found - 20_000 * p) < 5 * np.sqrt(20_000 * p * (1 - p))).all()
