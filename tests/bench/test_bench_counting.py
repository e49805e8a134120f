"""What counting costs beside copying the same bytes, by the processor time of one thread.

python -m pytest tests/bench --benchmark-only
"""

from __future__ import annotations

from typing import Any

import numpy as np
from rows import Row, cycle_seconds, in_turns

from harness import Alphabet, Corpus, Trial
from harness_plugins.nn_bigram import NeuralBigram
from harness_plugins.nn_bigram_numba import NeuralBigramNumba
from harness_plugins.pair_kernels import pair_counts

BYTES = 100_000_000


def test_pairs_of_a_hundred_megabytes(
    benchmark: Any, makemore_names: tuple[str, ...], letters: Alphabet
) -> None:
    """Counting the pairs of names repeated to 100 MB runs at a tenth of the rate of a copy at least."""
    names = Corpus.from_documents(makemore_names, letters)
    tokens = np.resize(names.tokens[1:], BYTES + 1)
    tokens[0] = 0
    corpus = Corpus(tokens, np.array([0, BYTES]), letters, "text")
    into = np.empty_like(tokens)
    expected = np.bincount(tokens[:-1].astype(np.uint16) * np.uint16(27) + tokens[1:], minlength=729)
    assert pair_counts(corpus).ravel().tolist() == expected.tolist()
    counting, copying = in_turns(7, lambda: pair_counts(corpus), lambda: np.copyto(into, tokens))
    benchmark.pedantic(lambda: pair_counts(corpus), rounds=3)
    share = Row(
        "bigram counting of 100 MB, one thread", "a copy of the same bytes", BYTES / copying,
        BYTES / counting, "B/s", least=0.1, aim=0.25, floor=1 / (0.5 * cycle_seconds()),
        note="floor: two increments a cycle",
    ).keep(benchmark)  # fmt: skip
    assert share >= 0.1


def test_a_step_of_nn_bigram(benchmark: Any, small: Corpus) -> None:
    """The default's 5,000 steps are cheaper compiled than by numpy's calls."""
    config = {"steps": 5000, "learning_rate": 7.0, "momentum": 0.9, "l2": 0.0001, "init": "zeros"}

    def run(kind: type[NeuralBigram]) -> None:
        kind(27, config, np.random.default_rng(0)).fit(small, small, Trial(steps=5000))

    run(NeuralBigramNumba)
    ours, theirs = in_turns(3, lambda: run(NeuralBigramNumba), lambda: run(NeuralBigram))
    benchmark.pedantic(lambda: run(NeuralBigramNumba), rounds=3)
    print(f"\nnumpy {200 * theirs:.1f} µs, numba {200 * ours:.1f} µs a step: {theirs / ours:.1f}×")  # noqa: T201
    assert ours < theirs
