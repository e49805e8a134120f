"""The built-in models against oracles: gradients, backends, and what the docs say of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from harness import Corpus, Diverged, Trial, registry, runner, selection
from harness.contract import Config
from harness.errors import UsageError
from harness_plugins.count_bigram import CountBigram
from harness_plugins.mlp import AdamW, Mlp, Sgd, initial, learning_rate, loss_and_gradients
from harness_plugins.nn_bigram import NeuralBigram

MLP: Config = {
    "context": 3,
    "embedding": 4,
    "hidden": 8,
    "steps": 50,
    "batch": 16,
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "weight_decay": 0.01,
    "schedule": "cosine",
    "init": "scaled",
}
NN: Config = {"steps": 50, "learning_rate": 10.0, "momentum": 0.0, "l2": 0.0, "init": "zeros"}


def fitted(model: Any, corpus: Corpus, steps: int | None = None) -> Any:
    """The model after `fit`, its context set as the harness does."""
    if isinstance(model, Mlp) or "context" in model.config:
        model.context = model.config["context"]
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


@pytest.mark.parametrize("init", ["scaled", "normal"])
def test_mlp_gradients_against_differences(small: Corpus, init: str) -> None:
    """Every gradient equals the central difference of the loss, in float64, to 1e-7."""
    config = {**MLP, "init": init}
    weights = initial(27, config, np.random.default_rng(3))
    windows, targets = small.windows(3)
    _, gradients = loss_and_gradients(weights, windows, targets)
    rng = np.random.default_rng(4)
    for name, value in weights.items():
        for _ in range(5):
            index = tuple(rng.integers(size) for size in value.shape)
            kept = value[index]
            value[index] = kept + 1e-5
            above, _ = loss_and_gradients(weights, windows, targets)
            value[index] = kept - 1e-5
            below, _ = loss_and_gradients(weights, windows, targets)
            value[index] = kept
            assert gradients[name][index] == pytest.approx((above - below) / 2e-5, abs=1e-7)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_optimizers_are_those_of_torch(optimizer: str) -> None:
    """Five updates by ours and by torch's optimiser leave the same weights."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = rng.standard_normal((3, 4))
    gradients = rng.standard_normal((5, 3, 4))
    ours = {"w": start.copy()}
    theirs = torch.tensor(start, requires_grad=True)
    config = {"weight_decay": 0.1}
    mine = AdamW(ours, config) if optimizer == "adamw" else Sgd(ours, config)
    other = (
        torch.optim.AdamW([theirs], lr=0.05, weight_decay=0.1)
        if optimizer == "adamw"
        else torch.optim.SGD([theirs], lr=0.05)
    )
    for gradient in gradients:
        mine.step({"w": gradient}, 0.05)
        theirs.grad = torch.tensor(gradient)
        other.step()
    assert np.allclose(ours["w"], theirs.detach().numpy(), atol=1e-12)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_numpy_and_torch_train_alike(small: Corpus, optimizer: str) -> None:
    """Same seed, same batches: the two backends end at the same loss and the same rows."""
    pytest.importorskip("torch")
    from harness_plugins.mlp_torch import MlpTorch

    config = {**MLP, "optimizer": optimizer}
    losses: list[dict[str, float]] = []

    def note(done: int, total: int, scalars: Mapping[str, float]) -> None:
        losses.append(dict(scalars))

    models = []
    for kind in (Mlp, MlpTorch):
        model = kind(27, config, np.random.default_rng(7))
        model.context = 3
        model.fit(small, small, Trial(steps=50, on_progress=note))
        models.append(model)
    inputs = np.array([[0, 5, 13, 13, 1]])
    assert np.allclose(models[0].log_probs(inputs), models[1].log_probs(inputs), atol=2e-4)


def test_the_same_parameters_give_the_same_rows(small: Corpus) -> None:
    """Parameters of one backend, given to the other, give rows within the tolerance."""
    pytest.importorskip("torch")
    from harness_plugins.mlp_torch import MlpTorch

    trained = fitted(Mlp(27, MLP, np.random.default_rng(1)), small, steps=50)
    other = MlpTorch(27, MLP, np.random.default_rng(2))
    other.context = 3
    other.params = {name: value.astype(np.float32) for name, value in trained.params.items()}
    inputs = np.array([[0, 1, 22, 1], [0, 2, 15, 3]])
    assert np.allclose(trained.log_probs(inputs), other.log_probs(inputs), atol=1e-4)


def test_learning_rates() -> None:
    """The lecture's step is a tenth from half the budget on; the cosine ends at a hundredth."""
    step = {**MLP, "schedule": "step", "learning_rate": 0.1}
    assert [learning_rate(step, spent) for spent in (0.0, 0.499, 0.5, 1.0)] == [0.1, 0.1, 0.01, 0.01]
    cosine = {**MLP, "schedule": "cosine", "learning_rate": 1.0}
    assert learning_rate(cosine, 0.0) == pytest.approx(1.0)
    assert learning_rate(cosine, 1.0) == pytest.approx(0.01)


@pytest.mark.parametrize("label", ["mlp@numpy", "mlp@torch", "nn-bigram@numpy"])
def test_every_preset_and_default_is_complete(label: str) -> None:
    """A spec's presets set known keys only, and every backend's class can be resolved."""
    found = registry.discover()
    for choice in selection.choose(found, [label]):
        if registry.missing(choice.spec, choice.backend) is None:
            assert registry.resolve(choice.spec, choice.backend).unavailable() is None
        for preset in choice.spec.presets:
            again = selection.choose(found, [f"{label}:preset={preset}"])[0]
            assert set(again.config) == set(choice.spec.config)


def test_two_runs_of_a_cell_are_equal_to_the_bit() -> None:
    """Same names, same seed, same parameters."""
    made = runner.plan("mlp:steps=30", data="markov:documents=200")
    cell = made.cells[0]
    train = made.split_for(cell.choice).train
    first, second = (
        fitted(Mlp(27, cell.choice.config, np.random.default_rng(cell.seed)), train, steps=30)
        for _ in range(2)
    )
    for name, value in first.params.items():
        assert np.array_equal(value, second.params[name])
