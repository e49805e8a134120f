"""Batches of contexts: what they hold, how they are drawn, and that they train as positions do."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import islice
from typing import Any

import numpy as np
import pytest

from harness import Corpus, Trial, registry, selection
from harness.contract import Config
from harness.errors import UsageError
from harness_plugins.mlp import Mlp, initial, loss_and_gradients, weighted
from harness_plugins.mlp_numba import MlpNumba
from harness_plugins.mlp_scalar import MlpScalar
from harness_plugins.weighted_contexts import SIZE, Contexts, context_batches, merged

SMALL = {"context": 3, "embedding": 4, "hidden": 8, "batch": 16, "batch_of": "contexts"}
OPTIONS = [
    {},
    {"batch": "weighted", "optimizer": "sgd"},
    {"normalize": "batch", "init": "jittered"},
    {"blank": "true", "context": 4},
]


def config_of(**options: Any) -> Config:
    """The complete configuration that a user's options make."""
    chosen = ",".join(f"{key}={value}" for key, value in (SMALL | options).items())
    return selection.choose(registry.discover(), [f"mlp:{chosen}"])[0].config


def fitted(kind: type[Any], corpus: Corpus, steps: int, **options: Any) -> dict[str, np.ndarray[Any, Any]]:
    """The parameters after some steps."""
    config = config_of(**options)
    model = kind(27, config, np.random.default_rng(7))
    model.context = config["context"]
    trial = Trial(steps=steps)
    model.fit(corpus, corpus, trial)
    assert trial.targets_consumed == steps * (SIZE if config["batch"] == "weighted" else config["batch"])
    params: dict[str, np.ndarray[Any, Any]] = model.params
    return params


def counted(corpus: Corpus, context: int) -> dict[tuple[int, ...], Counter[int]]:
    """What follows each context, counted one position at a time."""
    found: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for window, target in zip(*(part.tolist() for part in corpus.windows(context)), strict=True):
        found[tuple(window)][target] += 1
    return found


# ---- what a batch holds


def test_contexts_and_shares_against_counting(small: Corpus) -> None:
    """Each context once with its total; shares are its counts over the total, by how often it was drawn."""
    contexts, expected = Contexts.of(small, 2), counted(small, 2)
    assert {tuple(w): t for w, t in zip(contexts.windows.tolist(), contexts.total.tolist(), strict=True)} == {
        window: counts.total() for window, counts in expected.items()
    }
    chosen, times = np.array([0, 3, 4, 9]), np.array([5, 1, 1, 3])
    shares = contexts.shares(chosen, times, 27)
    for row, window, drawn in zip(shares, contexts.windows[chosen], times, strict=True):
        counts = expected[tuple(window.tolist())]
        assert row.tolist() == pytest.approx([drawn / 10 * counts[v] / counts.total() for v in range(27)])


def test_a_batch_of_all_is_the_loss_of_all_positions(small: Corpus) -> None:
    """Distinct contexts with their counts give the loss and the gradients that every position gives."""
    weights = initial(27, config_of(), np.random.default_rng(1))
    windows, targets = small.windows(3)
    contexts = Contexts.of(small, 3)
    (drawn,) = islice(context_batches(contexts, small.targets, np.random.default_rng(0)), 1)
    chosen, times = merged(drawn)
    assert times.tolist() == contexts.total.tolist()
    loss, gradients, _ = loss_and_gradients(
        weights, contexts.windows[chosen], contexts.shares(chosen, times, 27)
    )
    expected, theirs, _ = loss_and_gradients(weights, windows, targets)
    assert loss == pytest.approx(expected)
    for name, value in theirs.items():
        np.testing.assert_allclose(gradients[name], value, atol=1e-12)


# ---- how it is drawn


@pytest.mark.parametrize("size", [1, 5, 16, 100])
def test_contexts_are_drawn_as_often_as_they_occur(small: Corpus, size: int) -> None:
    """In ascending order; in each batch within two of the expected number, over many batches equal to it."""
    contexts = Contexts.of(small, 3)
    expected = size * contexts.total / small.targets
    seen = np.zeros(len(expected))
    for drawn in islice(context_batches(contexts, size, np.random.default_rng(0)), 3000):
        assert len(drawn) == size
        assert (np.diff(drawn) >= 0).all()
        times = np.bincount(drawn, minlength=len(expected))
        assert np.abs(times - expected).max() < 2
        seen += times
    assert np.abs(seen / 3000 - expected).max() < 0.05


def test_merged_counts_repeats() -> None:
    """Each context once, and how often it stood there."""
    chosen, times = merged(np.array([0, 0, 2, 5, 5, 5]))
    assert (chosen.tolist(), times.tolist()) == ([0, 2, 5], [2, 1, 3])


def test_the_word_is_a_size() -> None:
    """`batch=weighted` is 512 contexts, in a preset too; other batches are of positions."""
    assert weighted(config_of(batch="weighted", batch_of="windows")) == SIZE == 512
    assert weighted(config_of(batch=7)) == 7
    assert weighted(config_of(batch_of="windows")) is None
    assert weighted(config_of(batch_of="documents")) is None
    with pytest.raises(UsageError, match="batch='wieghted' is no int or one of weighted"):
        config_of(batch="wieghted")


# ---- training


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", ["numba", "torch"])
def test_backends_train_alike(small: Corpus, options: dict[str, Any], kind: str) -> None:
    """Same seed, same contexts: after 50 steps the parameters of the oracle."""
    if kind == "torch":
        pytest.importorskip("torch")
    theirs = registry.resolve(registry.discover().models["mlp"], kind)
    expected, found = fitted(Mlp, small, 50, **options), fitted(theirs, small, 50, **options)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=5e-4, err_msg=name)


@pytest.mark.parametrize("options", [{"batch": 6}, {"batch": 6, "normalize": "batch", "init": "jittered"}])
def test_scalars_train_alike(small: Corpus, options: dict[str, Any]) -> None:
    """Three steps on scalars are those of the oracle."""
    expected, found = (fitted(kind, small, 3, **options) for kind in (Mlp, MlpScalar))
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("options", [{}, {"normalize": "batch", "init": "jittered"}])
def test_compiled_gradients_of_shares(small: Corpus, options: dict[str, Any]) -> None:
    """Those of the oracle, to 1e-5 of their largest value."""
    config = config_of(**options)
    weights = initial(27, config, np.random.default_rng(1))
    contexts = Contexts.of(small, 3)
    chosen, times = np.arange(12), np.arange(1, 13)
    given = contexts.windows[chosen], contexts.shares(chosen, times, 27)
    loss, gradients, _ = MlpNumba(27, config, np.random.default_rng(0)).loss_and_gradients(weights, *given)
    expected, theirs, _ = loss_and_gradients(weights, *given)
    assert loss == pytest.approx(expected, rel=1e-5)
    for name, value in theirs.items():
        assert np.abs(gradients[name] - value).max() <= 1e-5 * np.abs(value).max(), name


def test_contexts_learn_more_than_positions(makemore_names: tuple[str, ...], letters: Any) -> None:
    """300 steps of 512: the loss of train is 0.05 nats lower than with 512 positions, which are as many."""
    train = Corpus.from_documents(makemore_names[::4], letters)
    windows, rows, following, counts = train.weighted_windows(3)
    nll = {}
    for kind in ("contexts", "windows"):
        config = config_of(batch=512, batch_of=kind, hidden=64)
        model = MlpNumba(27, config, np.random.default_rng(0))
        model.fit(train, train.take(np.arange(0)), Trial(steps=300))
        nll[kind] = -(model.window_log_probs(windows)[rows, following] * counts).sum() / train.targets
    assert nll["contexts"] < nll["windows"] - 0.05
