"""What counting costs beside copying the same bytes, by the processor time of one thread.

python -m pytest tests/bench --benchmark-only
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from harness import Alphabet, Corpus, Trial
from harness_plugins.nn_bigram import NeuralBigram
from harness_plugins.nn_bigram_numba import NeuralBigramNumba
from harness_plugins.pair_kernels import pair_counts

CLOCK = time.thread_time  # other jobs of the machine do not count
BYTES = 100_000_000


def seconds(function: Any) -> float:
    """How long a call takes."""
    before = CLOCK()
    function()
    return CLOCK() - before


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
    times = [
        (seconds(lambda: pair_counts(corpus)), seconds(lambda: np.copyto(into, tokens))) for _ in range(7)
    ]
    benchmark.pedantic(lambda: pair_counts(corpus), rounds=3)
    counting, copying = (min(each) for each in zip(*times, strict=True))
    share = copying / counting
    benchmark.extra_info |= {"share": share, "bytes_per_s": BYTES / counting, "copied_per_s": BYTES / copying}
    rates = [BYTES / each / 1e9 for each in (counting, copying)]
    print(f"\n{rates[0]:.2f} GB/s, {100 * share:.0f} % of a copy at {rates[1]:.1f} GB/s")  # noqa: T201
    assert share >= 0.1


def test_a_step_of_nn_bigram(benchmark: Any, small: Corpus) -> None:
    """The default's 5,000 steps are cheaper compiled than by numpy's calls."""
    config = {"steps": 5000, "learning_rate": 7.0, "momentum": 0.9, "l2": 0.0001, "init": "zeros"}

    def run(kind: type[NeuralBigram]) -> None:
        kind(27, config, np.random.default_rng(0)).fit(small, small, Trial(steps=5000))

    run(NeuralBigramNumba)
    pairs = [(seconds(lambda: run(NeuralBigramNumba)), seconds(lambda: run(NeuralBigram))) for _ in range(3)]
    benchmark.pedantic(lambda: run(NeuralBigramNumba), rounds=3)
    ours, theirs = (min(each) / 5000 for each in zip(*pairs, strict=True))
    print(f"\nnumpy {1e6 * theirs:.1f} µs, numba {1e6 * ours:.1f} µs a step: {theirs / ours:.1f}×")  # noqa: T201
    assert ours < theirs
