"""The small models against oracles, and what holds for the specs of all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import harness
from harness import Corpus, Diverged, Trial, registry, selection
from harness.contract import Config
from harness.errors import UsageError
from harness_plugins.count_bigram import CountBigram
from harness_plugins.nn_bigram import NeuralBigram

NN: Config = {"steps": 50, "learning_rate": 10.0, "momentum": 0.0, "l2": 0.0, "init": "zeros"}


def fitted(model: Any, corpus: Corpus, steps: int | None = None) -> Any:
    """The model after `fit`."""
    model.fit(corpus, corpus, Trial(steps=steps))
    return model


def test_count_bigram_against_plain_counting(small: Corpus) -> None:
    """Every row equals (count + k) / (total + k V) counted in plain Python."""
    model = fitted(CountBigram(27, {"k": 0.5}, np.random.default_rng(0)), small)
    pairs = [(int(a), int(b)) for a, b in zip(small.tokens[:-1], small.tokens[1:], strict=True)]
    rows = model.log_probs(np.arange(27)[None])[0]  # (27, 27)
    for i in range(27):
        total = sum(a == i for a, _ in pairs)
        for j in range(27):
            expected = (pairs.count((i, j)) + 0.5) / (total + 0.5 * 27)
            assert rows[i, j] == pytest.approx(math.log(expected), abs=1e-12)


def test_count_bigram_without_smoothing(small: Corpus) -> None:
    """k = 0: an unseen pair has p = 0, a character never seen before anything a uniform row."""
    model = fitted(CountBigram(27, {"k": 0.0}, np.random.default_rng(0)), small)
    rows = model.log_probs(np.arange(27)[None])[0]
    q, e, z = (small.alphabet.encode(letter)[0] for letter in "qez")
    assert np.allclose(rows[q], -math.log(27))
    assert rows[e, z] == -math.inf


@pytest.mark.parametrize(
    ("selection_", "said"),
    [
        ("count-bigram:k=-1", "k=-1 must not be negative"),
        ("mlp:context=0", "context=0 must be at least 1"),
        ("mlp:hidden=0", "hidden=0 must be at least 1"),
        ("nn-bigram:steps=-5", "steps=-5 must be at least 0"),
    ],
)
def test_impossible_options_are_refused_before_anything_runs(selection_: str, said: str) -> None:
    """A value out of range is the user's mistake, said in one line that names the option."""
    with pytest.raises(UsageError, match=said):
        selection.choose(registry.discover(), [selection_])


def test_nn_bigram_learns_log_counts(small: Corpus) -> None:
    """Without penalty softmax(W) approaches the observed frequencies: W is log-counts up to a constant."""
    config = {**NN, "learning_rate": 7.0, "momentum": 0.9}
    model = fitted(NeuralBigram(27, config, np.random.default_rng(0)), small, steps=3000)
    counted = fitted(CountBigram(27, {"k": 0.0}, np.random.default_rng(0)), small)
    ours, oracle = (np.exp(m.log_probs(np.arange(27)[None])[0]) for m in (model, counted))
    a = small.alphabet.encode("a")[0]
    assert np.abs(ours[a] - oracle[a]).max() < 0.02


def test_nn_bigram_penalty_pulls_to_uniform(small: Corpus) -> None:
    """A stronger L2 term gives rows closer to 1/V, as a larger k does for counts."""

    def spread(l2: float) -> float:
        model = fitted(NeuralBigram(27, {**NN, "l2": l2}, np.random.default_rng(0)), small, steps=300)
        rows = np.exp(model.log_probs(np.arange(27)[None])[0])
        return float(np.abs(rows - 1 / 27).max())

    assert spread(10.0) < spread(1.0) < spread(0.0)


def test_nn_bigram_divergence_is_said(small: Corpus) -> None:
    """A rate that overflows raises `Diverged`, not a row of NaN."""
    with np.errstate(all="ignore"), pytest.raises(Diverged, match="lower learning_rate"):
        fitted(
            NeuralBigram(27, {**NN, "learning_rate": 1e300, "l2": 1.0}, np.random.default_rng(0)),
            small,
            steps=50,
        )


@pytest.mark.parametrize(
    "label", ["mlp@numpy", "mlp@torch", "mlp@scalar", "wavenet@torch", "nn-bigram@numpy"]
)
def test_every_preset_and_default_is_complete(label: str) -> None:
    """A spec's presets set known keys only, and every backend's class can be resolved."""
    found = registry.discover()
    for choice in selection.choose(found, [label]):
        if registry.missing(choice.spec, choice.backend) is None:
            assert registry.resolve(choice.spec, choice.backend).unavailable() is None
        for preset in choice.spec.presets:
            again = selection.choose(found, [f"{label}:preset={preset}"])[0]
            assert set(again.config) == set(choice.spec.config)


def test_a_hopeless_model_has_its_row() -> None:
    """An NLL whose perplexity is no number any more is an NLL all the same."""
    (record,) = harness.run(
        "mlp:optimizer=sgd,learning_rate=1000,steps=50", dataset="markov:documents=200", in_process=True
    ).records
    assert (record.status, record.reason) == ("ok", None)
    assert record.metrics.test_nll is not None
    assert record.metrics.test_nll > 709
    assert record.metrics.test_perplexity is None


@pytest.mark.parametrize("model", ["mlp", "wavenet", "nn-bigram", "gru"])
def test_a_negative_rate_is_refused(model: str) -> None:
    """Climbing the loss is nobody's wish."""
    with pytest.raises(UsageError, match="learning_rate=-1 must be at least 0"):
        selection.one(registry.discover(), f"{model}:learning_rate=-1")
