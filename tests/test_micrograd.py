"""The scalar engine, and the MLP on it: the oracle of the hand-written and of torch's gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness import Corpus, Trial, registry, selection
from harness.contract import Config
from harness_plugins import mlp_scalar
from harness_plugins.micrograd import Value, dot, total
from harness_plugins.mlp import Mlp, initial, loss_and_gradients
from harness_plugins.mlp_scalar import MlpScalar
from harness_plugins.specs.windows import MLP_STEPS

SMALL = "context=2,embedding=2,hidden=4,steps=3"
VARIANTS = [
    "init=normal",
    "normalize=batch,init=jittered",
    "blank=true,batch_of=documents,batch=2,init=torch",
]


def config_of(options: str) -> Config:
    """A small network's configuration, completed."""
    given = SMALL if "batch=" in options.replace("normalize=batch", "") else f"{SMALL},batch=6"
    return selection.choose(registry.discover(), [f"mlp:{given},{options}"])[0].config


def tangle(a: Any, b: Any, exp: Any, log: Any, tanh: Any) -> Any:
    """An expression of all operations in which nodes are used again and again."""
    c = a * b + b**3
    c = c + c + 1
    c = c + 2 * c - tanh(b - a)
    d = exp(tanh(c / 10)) / (b * b)
    e = 3 - d
    f = log(e * e + 2.0) ** 0.5
    return f + 10.0 / f + a * f - (-d)


def by_value(a: Any, b: Any) -> Any:
    """`tangle` on Values."""
    return tangle(a, b, Value.exp, Value.log, Value.tanh)


OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda a, b: a + b + 1.5,
    "difference": lambda a, b: (a - b) - (2 - a),
    "product": lambda a, b: a * b * 3.0 * a,
    "quotient": lambda a, b: a / b + 2.0 / a,
    "power": lambda a, b: a**3 + b**-0.5 + a**0,
    "exponential": lambda a, b: (a * b).exp(),
    "logarithm": lambda a, b: (a + b).log(),
    "tangent": lambda a, b: (a - b).tanh(),
    "total": lambda a, b: total([a, b, a, a * b]),
    "dot": lambda a, b: dot([a, b, a], [b, b, a * b]),
    "tangle": by_value,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_derivatives_against_differences(name: str) -> None:
    """Of every operation, and of all together, by both operands, to 1e-6."""
    f = OPERATIONS[name]
    a, b = Value(0.7), Value(1.3)
    f(a, b).backward()
    step = 1e-6
    by_a = (f(Value(0.7 + step), b).data - f(Value(0.7 - step), b).data) / (2 * step)
    by_b = (f(a, Value(1.3 + step)).data - f(a, Value(1.3 - step)).data) / (2 * step)
    assert (a.grad, b.grad) == pytest.approx((by_a, by_b), rel=1e-6, abs=1e-6)


def test_a_tangle_is_that_of_torch() -> None:
    """Value and gradients of an expression that uses its nodes again equal torch's, in float64."""
    torch = pytest.importorskip("torch")
    a, b = Value(-0.8), Value(1.7)
    result = by_value(a, b)
    result.backward()
    x, y = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (-0.8, 1.7))
    expected = tangle(x, y, torch.exp, torch.log, torch.tanh)
    expected.backward()
    found = (result.data, a.grad, b.grad)
    assert found == pytest.approx((expected.item(), x.grad.item(), y.grad.item()), rel=1e-12)


def test_a_deep_graph_needs_no_recursion() -> None:
    """A chain of 50,000 nodes is walked, and let go, in a plain loop."""
    x = Value(1.0)
    y = x
    for _ in range(50_000):
        y = y + 1e-5
    y.backward()
    assert x.grad == 1.0


def test_backward_starts_anew() -> None:
    """A second `backward` does not add to the gradients of the first."""
    x = Value(3.0)
    y = x * x
    y.backward()
    y.backward()
    assert x.grad == 6.0


# ---- the MLP on it


@pytest.mark.parametrize("options", VARIANTS)
def test_gradients_of_numpy_are_those_of_scalars(small: Corpus, options: str) -> None:
    """Loss, every gradient of every parameter and the batch's moments, to 1e-9."""
    config = config_of(options)
    weights = initial(27, config, np.random.default_rng(0))
    model = MlpScalar(27, config, np.random.default_rng(0))
    windows, targets = small.windows(2)
    windows, targets = model.tokens(windows)[:12], targets[:12]
    for ours, oracle in zip(
        loss_and_gradients(weights, windows, targets),
        model.loss_and_gradients(weights, windows, targets),
        strict=True,
    ):
        if isinstance(ours, float):
            assert ours == pytest.approx(oracle, abs=1e-12)
            continue
        assert isinstance(oracle, dict)
        assert set(ours) == set(oracle)
        for name, value in ours.items():
            np.testing.assert_allclose(value, oracle[name], atol=1e-9, rtol=0, err_msg=name)


@pytest.mark.parametrize("options", VARIANTS)
def test_gradients_of_torch_are_those_of_scalars(small: Corpus, options: str) -> None:
    """Every gradient that torch finds by itself, to 1e-4."""
    torch = pytest.importorskip("torch")
    from harness_plugins.mlp_torch import MlpTorch

    config = config_of(options)
    weights = initial(27, config, np.random.default_rng(0))
    scalar = MlpScalar(27, config, np.random.default_rng(0))
    windows, targets = small.windows(2)
    windows, targets = scalar.tokens(windows)[:12], targets[:12]
    _, oracle, _ = scalar.loss_and_gradients(weights, windows, targets)
    other = MlpTorch(27, config, np.random.default_rng(0))
    other.params = {name: value.astype(np.float32) for name, value in weights.items()}
    module = other.module.train()
    logits = module(torch.from_numpy(windows))
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets)).backward()
    found = dict(module.named_parameters())
    assert set(found) == set(oracle)
    for name, parameter in found.items():
        np.testing.assert_allclose(parameter.grad.numpy(), oracle[name], atol=1e-4, err_msg=name)


@pytest.mark.parametrize("options", [*VARIANTS, "optimizer=sgd,learning_rate=0.5"])
def test_scalars_train_as_numpy_does(small: Corpus, options: str) -> None:
    """From one seed: after three steps parameters, running statistics and rows agree to 1e-10."""
    config = config_of(options)
    models = [kind(27, config, np.random.default_rng(5)) for kind in (Mlp, MlpScalar)]
    for model in models:
        model.context = 2
        model.fit(small, small, Trial(steps=3))
    ours, scalars = models
    assert set(ours.params) == set(scalars.params)
    for name, value in ours.params.items():
        np.testing.assert_allclose(scalars.params[name], value, atol=1e-10, err_msg=name)
    inputs = np.array([[0, 5, 13, 13, 1]])
    np.testing.assert_allclose(scalars.log_probs(inputs), ours.log_probs(inputs), atol=1e-10)


def test_large_logits_do_not_overflow() -> None:
    """The loss of logits of a thousand is finite, and right."""
    row = [Value(1000.0), Value(999.0)]
    loss = mlp_scalar.nll(row, 1)
    assert loss.data == pytest.approx(math.log(1 + math.e))


@pytest.mark.parametrize(
    ("trial", "asked", "steps"),
    [
        (Trial(steps=MLP_STEPS), MLP_STEPS, 2),  # the default: patience ends it
        (Trial(), MLP_STEPS, 2),
        (Trial(steps=5), MLP_STEPS, 5),  # a budget of its own is taken at its word
        (Trial(steps=1), MLP_STEPS, 1),
        (Trial(steps=7), 7, 7),  # and so are steps that were asked for as an option
    ],
)
def test_patience_ends_the_default_budget_only(
    small: Corpus, monkeypatch: pytest.MonkeyPatch, trial: Trial, asked: int, steps: int
) -> None:
    """`PATIENCE` counts products: a batch of 6 times 4 hidden units times (4 + 27)."""
    monkeypatch.setattr(mlp_scalar, "PATIENCE", 2 * 6 * 4 * 31)
    config = dict(config_of("init=normal")) | {"batch": 6, "steps": asked}
    model = MlpScalar(27, config, np.random.default_rng(0))
    model.fit(small, small, trial)
    assert trial.targets_consumed == 6 * steps


def test_its_warm_up_trains_nothing(small: Corpus) -> None:
    """A step of the default network takes half a second, and nothing is compiled by it."""
    trial = Trial(steps=2)
    MlpScalar(27, config_of("init=normal"), np.random.default_rng(0)).warm_up(small, trial)
    assert not trial.should_stop()
    assert trial.targets_consumed == 0


def test_a_budget_in_seconds_is_not_cut_short(small: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten seconds, a second a look at the clock, all are used."""
    monkeypatch.setattr(mlp_scalar, "PATIENCE", 1)
    ticks = iter(range(1000))
    trial = Trial(seconds=10.0, clock=lambda: float(next(ticks)))
    MlpScalar(27, config_of("init=normal"), np.random.default_rng(0)).fit(small, small, trial)
    assert trial.elapsed() >= 10
    assert trial.targets_consumed > 2 * 6
