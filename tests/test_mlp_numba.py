"""The compiled MLP against the numpy oracle, its products against numpy's, its calls against the budget."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from harness import Alphabet, Corpus, Diverged, Trial, registry, selection
from harness_plugins.compiled import entry
from harness_plugins.mlp import Mlp, initial
from harness_plugins.mlp_numba import MlpNumba
from harness_plugins.pace import Pace
from harness_plugins.small_products import COLUMNS, multiply, multiply_rows, multiply_turned, multiply_wide

SMALL = {"context": 3, "embedding": 4, "hidden": 8, "batch": 16}
BATCH_NORM = {"normalize": "batch", "init": "jittered"}
SHAPES = [
    {},
    {"context": 1, "embedding": 3},
    {"context": 4, "embedding": 7, "hidden": 33},
    {"blank": "true", "init": "torch"},
    BATCH_NORM,
]


def made(kind: type[Mlp], **options: Any) -> Any:
    """A model of 27 characters with its context set as the harness does."""
    chosen = ",".join(f"{key}={value}" for key, value in (SMALL | options).items())
    config = selection.choose(registry.discover(), [f"mlp:{chosen}"])[0].config
    model = kind(27, config, np.random.default_rng(7))
    model.context = config["context"]
    return model


def losses(model: Mlp, corpus: Corpus, steps: int = 50) -> list[float]:
    """The curve of a fit: the loss of every step."""
    seen: list[float] = []
    trial = Trial(steps=steps, on_progress=lambda done, total, said: seen.append(said["loss"]))
    model.fit(corpus, corpus, trial)
    assert len(seen) == steps
    return seen


# ---- products


@entry
def product(out: Any, a: Any, b: Any, rows: int, depth: int, keep: bool) -> None:
    """`multiply`, callable from here."""
    multiply(out, a, b, rows, depth, keep)


@entry
def product_of_rows(out: Any, x: Any, y: Any, rows: int) -> None:
    """`multiply_rows`, callable from here."""
    multiply_rows(out, x, y, rows)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 12])
@pytest.mark.parametrize("transposed", [False, True])
def test_products_are_those_of_numpy(rows: int, transposed: bool) -> None:
    """Any number of rows, tiles of 4, 2 and 1; the rows below stay; `keep` adds to what is there."""
    rng = np.random.default_rng(rows)
    a, b = rng.standard_normal((14, 5)).astype("f"), rng.standard_normal((5, 2 * COLUMNS)).astype("f")
    held = rng.standard_normal((14, 2 * COLUMNS)).astype("f")
    given = np.asfortranarray(a).T.copy().T if transposed else a
    for keep in (False, True):
        out = held.copy()
        product(out, given, b, rows, 5, keep)
        np.testing.assert_allclose(out[:rows], a[:rows] @ b + keep * held[:rows], rtol=1e-5, atol=1e-6)
        assert np.array_equal(out[rows:], held[rows:])


@entry
def product_by_panels(out: Any, a: Any, b: Any, rows: int, depth: int, keep: bool, panel: Any) -> None:
    """`multiply_wide`, callable from here."""
    multiply_wide(out, a, b, rows, depth, keep, panel)


@entry
def product_turned(out: Any, a: Any, b: Any, rows: int, panel: Any) -> None:
    """`multiply_turned`, callable from here."""
    multiply_turned(out, a, b, rows, panel)


@pytest.mark.parametrize("width", [COLUMNS, 2 * COLUMNS, 4 * COLUMNS])
def test_products_by_panels_are_those_of_numpy(width: int) -> None:
    """Wide ones, narrow ones, and those with a transposed matrix; rows below stay."""
    rng = np.random.default_rng(width)
    a, b = rng.standard_normal((14, 5)).astype("f"), rng.standard_normal((5, width)).astype("f")
    held, panel = rng.standard_normal((14, width)).astype("f"), np.zeros((9, COLUMNS), "f")
    for keep in (False, True):
        out = held.copy()
        product_by_panels(out, a, b, 7, 5, keep, panel)
        np.testing.assert_allclose(out[:7], a[:7] @ b + keep * held[:7], rtol=1e-5, atol=1e-6)
        assert np.array_equal(out[7:], held[7:])
    out = held.copy()
    product_turned(out, a, np.ascontiguousarray(b.T), 7, panel)
    np.testing.assert_allclose(out[:7], a[:7] @ b, rtol=1e-5, atol=1e-6)
    assert np.array_equal(out[7:], held[7:])


@pytest.mark.parametrize(("rows", "others"), [(1, 1), (2, 3), (5, 4), (4, 10), (7, 6)])
def test_products_of_rows_are_those_of_numpy(rows: int, others: int) -> None:
    """Odd numbers of rows too, and nothing is written beside them."""
    rng = np.random.default_rng(rows)
    x, y = rng.standard_normal((8, COLUMNS)).astype("f"), rng.standard_normal((others, COLUMNS)).astype("f")
    out = np.full((8, 12), 7, "f")
    product_of_rows(out, x, y, rows)
    np.testing.assert_allclose(out[:rows, :others], x[:rows] @ y.T, rtol=1e-5, atol=1e-6)
    assert (out[rows:] == 7).all()
    assert (out[:, others:] == 7).all()


# ---- gradients and training


@pytest.mark.parametrize("options", SHAPES)
@pytest.mark.parametrize("rows", [1, 2, 27, 150])
def test_gradients_are_the_oracle_s(small: Corpus, options: dict[str, Any], rows: int) -> None:
    """Loss, every gradient, the batch's moments to 1e-5 of their largest value; 150 rows are three blocks."""
    if options is BATCH_NORM:
        rows = max(
            rows, 5
        )  # two rows become ±1/√2 whatever they were, and all gradients before them rounding
    ours, oracle = made(MlpNumba, **options), made(Mlp, **options)
    weights = initial(27, oracle.config, np.random.default_rng(3))
    windows, targets = small.windows(oracle.context)
    chosen = np.random.default_rng(rows).integers(0, len(targets), rows)
    windows, targets = oracle.tokens(windows)[chosen], targets[chosen]
    loss, gradients, moments = ours.loss_and_gradients(weights, windows, targets)
    expected, theirs, their_moments = oracle.loss_and_gradients(weights, windows, targets)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert {**gradients, **moments}.keys() == {**theirs, **their_moments}.keys()
    for name, value in {**theirs, **their_moments}.items():
        found = {**gradients, **moments}[name]
        assert found.shape == value.shape
        assert np.abs(found - value).max() <= 1e-5 * np.abs(value).max(), name


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd", "learning_rate": 0.1, "schedule": "step"},
        {"optimizer": "adamw", "weight_decay": 0.1, "beta2": 0.99},
        {"normalize": "batch", "init": "jittered"},
        {"blank": "true", "batch_of": "documents", "batch": 3, "init": "torch"},
    ],
)
@pytest.mark.parametrize("kind", ["lines", "text"])
def test_training_is_the_oracle_s(small: Corpus, options: dict[str, Any], kind: str) -> None:
    """Same seed: the same loss at every step, the same parameters after 50; in running text too."""
    corpus = small
    if kind == "text":
        alphabet = Alphabet(" abcdefghijklmnopqrstuvwxy")
        corpus = Corpus.from_documents(["so we beat on boats"], alphabet, "text")
    ours, oracle = made(MlpNumba, **options), made(Mlp, **options)
    np.testing.assert_allclose(losses(ours, corpus), losses(oracle, corpus), rtol=2e-4)
    assert ours.params.keys() == oracle.params.keys()
    for name, value in oracle.params.items():
        assert ours.params[name].dtype == np.float32
        assert ours.params[name].flags.c_contiguous
        np.testing.assert_allclose(ours.params[name], value, atol=5e-4, err_msg=name)


def test_rows_are_the_oracle_s(small: Corpus) -> None:
    """Parameters of the one give the other's rows, within the tolerance."""
    ours, oracle = made(MlpNumba), made(Mlp)
    losses(ours, small)
    oracle.params = {name: value.astype(np.float64) for name, value in ours.params.items()}
    inputs = np.array([[0, 1, 22, 1], [0, 2, 15, 3]])
    np.testing.assert_allclose(ours.log_probs(inputs), oracle.log_probs(inputs), atol=1e-5)


def test_two_bytes_a_character() -> None:
    """More than 256 characters are tokens of another type: the same curve as the oracle's."""
    letters = "".join(chr(0x4E00 + i) for i in range(300))
    corpus = Corpus.from_documents([letters[i : i + 7] for i in range(0, 280, 9)], Alphabet(letters))
    models = [kind(301, made(kind).config, np.random.default_rng(1)) for kind in (MlpNumba, Mlp)]
    ours, theirs = (losses(model, corpus, 10) for model in models)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_a_loss_that_is_not_finite_is_a_divergence(small: Corpus) -> None:
    """It is said at which step, though steps are taken many at a time."""
    model = made(MlpNumba, optimizer="sgd", learning_rate=1e30, schedule="constant")
    with pytest.raises(Diverged, match=r"loss is (nan|inf|-inf) after [1-9]\d* steps"):
        model.fit(small, small, Trial(steps=6400))


# ---- many seeds


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd", "init": "normal", "batch_of": "windows"},
        {"batch_of": "contexts"},
        {"batch_of": "documents", "batch": 3, **BATCH_NORM},
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_seed_among_others_is_its_solo_run(small: Corpus, options: dict[str, Any], threads: int) -> None:
    """Parameters to the bit, targets, the last loss and the learning curve, for any number of threads."""

    def watched(seed: int) -> tuple[Trial, list[float], list[float]]:
        told, curve = list[float](), list[float]()

        def checkpoint(model: Any) -> float:
            curve.append(float(np.square(model.log_probs(small.tokens[None, :9].astype(np.int64))).sum()))
            return curve[-1]

        trial = Trial(seed, threads=threads, steps=200, on_checkpoint=checkpoint)
        trial.on_progress = lambda done, total, said: told.extend([done, total, said["loss"]])
        return trial, told, curve

    seeds = [7, 3, 1]
    together = [watched(seed) for seed in seeds]
    found = made(MlpNumba, **options).fit_seeds(small, small, [trial for trial, _, _ in together])
    assert len(found) == 3
    for seed, params, (_, told, curve) in zip(seeds, found, together, strict=True):
        solo = made(MlpNumba, **options)
        solo.rng = np.random.default_rng(seed)
        trial, expected, points = watched(seed)
        solo.fit(small, small, trial)
        assert told == expected
        assert curve == points
        assert len(curve) > 4
        assert params.keys() == solo.params.keys()
        assert all((params[name] == solo.params[name]).all() for name in params)


def test_a_seed_that_diverges_touches_no_other(small: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes out as NaN and says no loss; the others are those of a fit without it."""
    trials = [Trial(seed, steps=100) for seed in (1, 2, 3)]
    fine = made(MlpNumba).fit_seeds(small, small, trials)
    drawn, told = iter([1.0, np.inf, 1.0]), list[dict[str, float]]()

    def start(*given: Any) -> Any:
        weights = initial(*given)
        return weights | {"C": weights["C"] * next(drawn)}

    monkeypatch.setattr("harness_plugins.mlp.initial", start)
    trials = [Trial(seed, steps=100) for seed in (1, 2, 3)]
    trials[1].on_progress = lambda done, total, said: told.append(said)
    other = made(MlpNumba).fit_seeds(small, small, trials)
    assert all(np.isnan(value).all() for value in other[1].values())
    assert told
    assert not any(told)
    for seed in (0, 2):
        assert all((fine[seed][name] == other[seed][name]).all() for name in fine[seed])


def test_where_no_seed_is_left_the_fit_ends(small: Corpus) -> None:
    """A rate at which every seed diverges ends it, before the budget does."""
    model = made(MlpNumba, optimizer="sgd", learning_rate=1e30, schedule="constant", batch_of="windows")
    trials = [Trial(seed, steps=10**6) for seed in (1, 2)]
    with pytest.raises(Diverged, match=r"loss is \S+ after \d+ steps, and so with every seed"):
        model.fit_seeds(small, small, trials)
    assert trials[0].targets_consumed < 10**6


# ---- how many steps a call takes


def test_a_budget_of_steps_is_cut_into_equal_calls(small: Corpus) -> None:
    """Of 6,405 steps each call takes 100, the last one what is left."""
    done: list[int] = []
    trial = Trial(steps=6405, on_progress=lambda now, total, said: done.append(now))
    made(MlpNumba).fit(small, small, trial)
    assert {after - before for before, after in pairwise([0, *done[:-1]])} == {1600}
    assert done[-1] == 16 * 6405


@pytest.mark.parametrize(
    ("a_step", "expected"),
    [(0.0001, [1, 2, 4, 8, 16, 32, 64, 64]), (0.01, [1, 1, 1]), (0.03, [1, 1, 1])],
)
def test_a_call_lasts_a_hundredth_of_a_second(a_step: float, expected: list[int]) -> None:
    """Under a budget in seconds calls grow until they last 5 ms, and are never shorter than a step."""
    now = 0.0
    trial = Trial(seconds=10.0, clock=lambda: now)
    pace, taken = Pace(trial, 16), []
    for _ in expected:
        taken.append(pace.steps())
        now += taken[-1] * a_step
    assert taken == expected


def test_calls_that_take_too_long_are_halved() -> None:
    """When steps become slower, by another job on the machine, a call takes fewer."""
    now = 0.0
    trial = Trial(seconds=10.0, clock=lambda: now)
    pace = Pace(trial, 16)
    for _ in range(8):
        now += 0.0001 * pace.steps()
    before = pace.steps()
    now += 0.001 * before
    assert pace.steps() == before // 2


def test_a_call_holds_a_million_positions_at_most() -> None:
    """So that the batches of one call fit into little memory."""
    assert Pace(Trial(steps=10**6), 2**18).steps() == 4
    assert Pace(Trial(steps=10**6), 2**21).steps() == 1
