"""The MLP: gradients, backends, initial values, batches, and the curve that it draws."""

from __future__ import annotations

import math
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest

from harness import Alphabet, Corpus, Model, Trial, registry, runner, selection
from harness.contract import Config
from harness.errors import UsageError
from harness_plugins.mlp import (
    ROWS,
    AdamW,
    Mlp,
    Sgd,
    batches,
    forward,
    initial,
    loss_and_gradients,
    shapes,
    with_blanks,
)
from harness_plugins.training import Curve, learning_rate
from harness_plugins.window_batches import document_batches

SMALL = "context=3,embedding=4,hidden=8,steps=50,batch=16"
NORMALIZED = "normalize=batch,init=jittered"
MAKEMORE = "blank=true,batch_of=documents,batch=3,init=torch,beta2=0.99,schedule=constant"


def config_of(options: str, model: str = "mlp") -> Config:
    """The complete configuration that a user's options make."""
    return selection.choose(registry.discover(), [f"{model}:{options}"])[0].config


def made(kind: type[Any], options: str, seed: int = 7) -> Any:
    """A model with its context set as the harness does."""
    small = SMALL.removesuffix(",batch=16") if ",batch=" in options else SMALL
    config = config_of(f"{small},{options}" if options else small)
    model = kind(27, config, np.random.default_rng(seed))
    model.context = config["context"]
    return model


def fitted(model: Any, corpus: Corpus, **trial: Any) -> Any:
    """The model after 50 steps."""
    model.fit(corpus, corpus, Trial(steps=50, **trial))
    return model


@pytest.mark.parametrize("count", [1, ROWS, ROWS + 1, 2 * ROWS + 5])
def test_rows_are_worked_out_in_parts(count: int) -> None:
    """However many windows there are, each has the row that it has alone."""
    model = made(Mlp, "")
    model.params = initial(27, model.config, model.rng)
    windows = np.random.default_rng(2).integers(0, 27, (count, 3))
    rows = model.window_log_probs(windows)
    assert rows.shape == (count, 27)
    for i in {0, ROWS - 1, ROWS, count - 1} & set(range(count)):
        np.testing.assert_allclose(rows[i], forward(model.params, windows[i : i + 1])[0], rtol=1e-12)


# ---- gradients and updates


@pytest.mark.parametrize("options", ["init=scaled", "init=normal", NORMALIZED])
def test_gradients_against_differences(small: Corpus, options: str) -> None:
    """Every gradient equals the central difference of the loss, in float64, to 1e-7."""
    weights = initial(27, config_of(f"{SMALL},{options}"), np.random.default_rng(3))
    windows, targets = small.windows(3)
    _, gradients, _ = loss_and_gradients(weights, windows, targets)
    assert set(weights) - set(gradients) <= {"mean", "variance"}
    rng = np.random.default_rng(4)
    for name, gradient in gradients.items():
        value = weights[name]
        for _ in range(5):
            index = tuple(rng.integers(size) for size in value.shape)
            kept = value[index]
            value[index] = kept + 1e-5
            above, *_ = loss_and_gradients(weights, windows, targets)
            value[index] = kept - 1e-5
            below, *_ = loss_and_gradients(weights, windows, targets)
            value[index] = kept
            assert gradient[index] == pytest.approx((above - below) / 2e-5, abs=1e-7)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_optimizers_are_those_of_torch(optimizer: str) -> None:
    """Five updates by ours and by torch's optimiser leave the same weights."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = rng.standard_normal((3, 4))
    gradients = rng.standard_normal((5, 3, 4))
    ours = {"w": start.copy()}
    theirs = torch.tensor(start, requires_grad=True)
    config = {"weight_decay": 0.1, "beta2": 0.99}
    mine = AdamW(ours, config) if optimizer == "adamw" else Sgd(ours, config)
    other = (
        torch.optim.AdamW([theirs], lr=0.05, weight_decay=0.1, betas=(0.9, 0.99))
        if optimizer == "adamw"
        else torch.optim.SGD([theirs], lr=0.05)
    )
    for gradient in gradients:
        mine.step({"w": gradient}, 0.05)
        theirs.grad = torch.tensor(gradient)
        other.step()
    assert np.allclose(ours["w"], theirs.detach().numpy(), atol=1e-12)


def test_learning_rates() -> None:
    """The lecture's step is a tenth from half the budget on; the cosine ends at a hundredth."""
    step = {"schedule": "step", "learning_rate": 0.1}
    assert [learning_rate(step, spent) for spent in (0.0, 0.499, 0.5, 1.0)] == [0.1, 0.1, 0.01, 0.01]
    assert [learning_rate(step, spent, 0.75) for spent in (0.749, 0.75)] == [0.1, 0.01]
    cosine = {"schedule": "cosine", "learning_rate": 1.0}
    assert learning_rate(cosine, 0.0) == pytest.approx(1.0)
    assert learning_rate(cosine, 1.0) == pytest.approx(0.01)


# ---- backends


@pytest.mark.parametrize("options", ["optimizer=sgd", "optimizer=adamw", NORMALIZED, MAKEMORE])
def test_numpy_and_torch_train_alike(small: Corpus, options: str) -> None:
    """Same seed, same batches: after 50 steps the same parameters, running statistics among them."""
    pytest.importorskip("torch")
    from harness_plugins.mlp_torch import MlpTorch

    ours, theirs = (fitted(made(kind, options), small) for kind in (Mlp, MlpTorch))
    assert set(ours.params) == set(theirs.params)
    for name, value in ours.params.items():
        np.testing.assert_allclose(theirs.params[name], value, atol=5e-4, err_msg=name)


@pytest.mark.parametrize("options", ["", NORMALIZED, MAKEMORE])
def test_the_same_parameters_give_the_same_rows(small: Corpus, options: str) -> None:
    """Parameters of one backend, given to the other, give rows within the tolerance."""
    pytest.importorskip("torch")
    from harness_plugins.mlp_torch import MlpTorch

    trained, other = fitted(made(Mlp, options), small), made(MlpTorch, options)
    other.params = {name: value.astype(np.float32) for name, value in trained.params.items()}
    inputs = np.array([[0, 1, 22, 1], [0, 2, 15, 3]])
    np.testing.assert_allclose(other.log_probs(inputs), trained.log_probs(inputs), atol=1e-4)


def test_two_runs_of_a_cell_are_equal_to_the_bit() -> None:
    """Same names, same seed, same parameters."""
    plan = runner.plan("mlp:steps=30", data="markov:documents=200")
    cell = plan.cells[0]
    train = plan.split_for(cell.choice).train
    first, second = (
        fitted(Mlp(27, cell.choice.config, np.random.default_rng(cell.seed)), train) for _ in range(2)
    )
    for name, value in first.params.items():
        assert np.array_equal(value, second.params[name])


def test_batch_normalisation_learns(small: Corpus) -> None:
    """Rows by the running statistics fit the training names far better than 1/V, after 3,000 steps."""
    model = made(Mlp, f"{NORMALIZED},learning_rate=0.02,weight_decay=0.01")
    model.fit(small, small, Trial(steps=3000))
    windows, targets = small.windows(3)
    rows = model.window_log_probs(windows)
    assert -rows[np.arange(len(targets)), targets].mean() < 1.0


# ---- recipes


@pytest.mark.parametrize(
    ("preset", "trained"),
    [
        ("lecture", 11_897),
        ("lecture-small", 3_481),
        ("lecture-3", 12_097),
        ("lecture-4", 12_097),
        ("makemore", 69_147),
    ],
)
def test_presets_have_the_published_number_of_parameters(preset: str, trained: int) -> None:
    """Running statistics apart, and without the bias that batch normalisation makes void."""
    found = shapes(27, config_of(f"preset={preset}"))
    counted = {name: math.prod(size) for name, size in found.items() if name not in ("mean", "variance")}
    assert sum(counted.values()) == trained


@pytest.mark.parametrize(
    ("init", "w1", "w2", "b2", "gain"),
    [
        ("normal", 1, 1, 1, 0),
        ("kaiming", 5 / 3 / math.sqrt(30), 0.01, 0, 0),
        ("scaled", 5 / 3 / math.sqrt(30), 0.1 / math.sqrt(2000), 0, 0),
        ("jittered", 5 / 3 / math.sqrt(30), 0.1, 0.1, 0.1),
        ("torch", 1 / math.sqrt(90), 1 / math.sqrt(6000), 1 / math.sqrt(6000), 0),
    ],
)
def test_initial_spreads(init: str, w1: float, w2: float, b2: float, gain: float) -> None:
    """The standard deviations of the initial values are those that the recipe states."""
    config = config_of(f"context=3,hidden=2000,normalize=batch,init={init}")
    weights = initial(4000, config, np.random.default_rng(0))
    found = [weights[name].std() for name in ("C", "W1", "W2", "b2", "gain")]
    assert found == pytest.approx([1, w1, w2, b2, gain], rel=0.05)
    assert weights["gain"].mean() == pytest.approx(1, abs=0.02)
    assert np.array_equal([weights["mean"].max(), weights["variance"].min()], [0, 1])


def test_the_network_of_makemore() -> None:
    """With `blank` rows equal those of makemore.py's `MLP` written out.

    There tokens are rolled to the right, a blank enters from the left, and the newest character is first.
    """
    torch = pytest.importorskip("torch")
    config = config_of("preset=makemore,embedding=5,hidden=6")
    model = Mlp(27, config, np.random.default_rng(1))
    model.context = 16
    model.params = initial(27, config, np.random.default_rng(2))
    c, w1, b1, w2, b2 = (torch.tensor(model.params[name]) for name in ("C", "W1", "b1", "W2", "b2"))
    newest_first = w1.view(16, 5, 6).flip(0).reshape(80, 6)
    tokens = torch.tensor([[0, 5, 13, 13, 1], [0, 0, 0, 0, 0], [0, 1, 22, 9, 19]])
    tokens[1, 1:] = torch.tensor([15, 12, 9, 22])
    rolled, parts = tokens, []
    for _ in range(16):
        parts.append(c[rolled])
        rolled = torch.roll(rolled, 1, 1)
        rolled[:, 0] = 27
    hidden = torch.tanh(torch.cat(parts, -1) @ newest_first + b1)
    expected = torch.log_softmax(hidden @ w2 + b2, -1)
    np.testing.assert_allclose(model.log_probs(tokens.numpy()), expected.numpy(), atol=1e-12)


def test_blanks_lie_left_of_the_start() -> None:
    """The boundary next to the first character stays, also where the window begins with it."""
    windows = np.array([[0, 0, 0], [0, 0, 4], [0, 4, 5], [4, 5, 6]])
    expected = [[9, 9, 0], [9, 0, 4], [0, 4, 5], [4, 5, 6]]
    assert with_blanks(windows, 9).tolist() == expected


def test_batches_of_documents(small: Corpus) -> None:
    """A batch holds every position of as many documents as asked for, each document whole."""
    config = config_of("batch_of=documents,batch=4")
    bounds = small.offsets.tolist()
    whole = {first: list(range(first, last)) for first, last in pairwise(bounds)}
    seen = set()
    for batch in islice(batches(small, config, np.random.default_rng(0)), 30):
        rest = batch.tolist()
        for _ in range(4):
            document = whole[rest[0]]
            assert rest[: len(document)] == document
            seen.add(document[0])
            rest = rest[len(document) :]
        assert rest == []
    assert seen == set(whole)


def test_documents_of_running_text_are_pieces() -> None:
    """`context` positions in a row; the last piece is what is left."""
    text = Corpus.from_documents(["abcabcabc"[:8]], Alphabet("abc"), kind="text")
    drawn = islice(document_batches(text, 1, 3, np.random.default_rng(0)), 50)
    assert {tuple(batch.tolist()) for batch in drawn} == {(0, 1, 2), (3, 4, 5), (6, 7)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("normalize=batch,batch=1", "batch=1 has no variance"),
        ("beta2=1", "beta2=1 must be at least 0 and below 1"),
        ("weight_decay=-1", "weight_decay=-1 must be at least 0"),
    ],
)
def test_impossible_options_are_refused(options: str, said: str) -> None:
    """In one line that names the option, before anything runs."""
    with pytest.raises(UsageError, match=said):
        config_of(options)


# ---- the learning curve


@pytest.fixture(params=["numpy", "torch", "numba"])
def kind(request: pytest.FixtureRequest) -> type[Model]:
    """The class of each fast backend."""
    if request.param == "torch":
        pytest.importorskip("torch")
    return registry.resolve(registry.discover().models["mlp"], request.param)


def test_checkpoints_do_not_change_training(small: Corpus, kind: type[Model]) -> None:
    """Parameters are equal to the bit with eight checkpoints and without."""
    without = fitted(made(kind, NORMALIZED), small)
    with_them = fitted(made(kind, NORMALIZED), small, on_checkpoint=lambda model: 2.0)
    for name, value in without.params.items():
        np.testing.assert_array_equal(with_them.params[name], value)


def test_a_checkpoint_sees_the_model_as_it_stands(small: Corpus, kind: type[Model]) -> None:
    """Eight points at equal shares of the budget, whose rows get better; the last is the fitted model."""
    windows, targets = small.windows(3)
    seen: list[float] = []

    def nll(model: Any) -> float:
        rows = model.window_log_probs(windows)
        seen.append(-rows[np.arange(len(targets)), targets].mean())
        return seen[-1]

    model = fitted(made(kind, "learning_rate=0.02"), small, on_checkpoint=nll)
    assert len(seen) == 8
    assert seen == sorted(seen, reverse=True)
    assert nll(model) == seen[-2]


@pytest.mark.parametrize("missing", ["budget", "dev", "measurement"])
def test_no_curve_without(small: Corpus, missing: str) -> None:
    """Where there is no budget, no dev part or nobody to measure, no point is ever due."""
    trial = Trial(steps=None if missing == "budget" else 10)
    if missing != "measurement":
        trial.on_checkpoint = lambda model: 2.0
    dev = small.take(np.arange(0)) if missing == "dev" else small
    curve = Curve(trial, dev)
    assert not any(curve.due() for _ in range(20) if not trial.should_stop())
    assert not curve.due(finished=True)


@pytest.mark.parametrize(("share", "due"), [(0.9, False), (1.1, True)])
def test_the_first_point_is_taken_to_cost_what_training_did(small: Corpus, share: float, due: bool) -> None:
    """There is none where training has read less than dev in the second that is free."""
    clock = iter([0.0, *[5.0] * 9])
    trial = Trial(seconds=10.0, on_checkpoint=lambda model: 2.0, clock=lambda: next(clock))
    trial.elapsed()
    trial.progress(round(5.0 * share * small.targets), 0)
    curve = Curve(trial, small)
    assert curve.due() is due
    assert not curve.due(finished=True)


def test_points_score_no_more_than_training_has_read(small: Corpus) -> None:
    """Training that reads dev twice over has a point at half and one at the end, whatever the clock says."""
    trial = Trial(steps=100, on_checkpoint=lambda model: 2.0)
    curve, made_at, model = Curve(trial, small), [], made(Mlp, "")
    for step in range(100):
        assert not trial.should_stop()
        if curve.due():
            made_at.append(step)
            curve.point(model)
        trial.progress((step + 1) * small.targets // 50, 0)
    assert made_at == [50]
    assert curve.due(finished=True)


def test_dear_points_are_left_out(small: Corpus) -> None:
    """Of 10 s a second of checkpoints is free: with points of 0.4 s two are made, and the last one."""
    now = 0.0

    def slow(model: Model) -> float:
        nonlocal now
        now += 0.4
        return 2.0

    trial = Trial(seconds=10.0, on_checkpoint=slow, clock=lambda: now)
    curve, made_at, model = Curve(trial, small), [], made(Mlp, "")
    while not trial.should_stop():
        if curve.due():
            made_at.append(round(trial.elapsed(), 3))
            curve.point(model)
        now += 0.5
    assert made_at == [1.5, 2.5]
    assert curve.due(finished=True)
