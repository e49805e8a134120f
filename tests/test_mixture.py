"""Mixtures: the grammar of `of`, weights against scipy's optimiser, budgets, and what a cell makes of it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import optimize

import harness
from harness import (
    Alphabet,
    Corpus,
    Diverged,
    Model,
    ModelSpec,
    Trial,
    environment,
    evaluate,
    registry,
    selection,
)
from harness.cli import main
from harness.errors import UsageError
from harness.fit import not_finite
from harness.instances import instance
from harness.plan import plan
from harness_plugins.count_bigram import pair_counts
from harness_plugins.held_out import hold_out
from harness_plugins.mixture import PRIOR, Mixture, log_weights, weights_by_age
from harness_plugins.specs.mixtures import members

DATA = "markov:documents=120"
GRU = "gru(embedding=4;hidden=6;steps=5;batch=8;early_stopping=false)"
LSTM = "lstm(embedding=4;hidden=6;steps=5;batch=8;dropout=0.2;early_stopping=false)"
COUNTING = "count-bigram(k=0.5)+ngram(order=3;smoothing=witten-bell)+uniform"


def chosen(of: str, options: str = "") -> selection.Choice:
    """The choice that `mixture:of=…` names."""
    return selection.one(registry.discover(), f"mixture:of={of}{options}")


def mixture(of: str, v: int = 27, seed: int = 3, options: str = "") -> Mixture:
    """The model as the harness makes it."""
    choice = chosen(of, options)
    made = instance(registry.discover(), "mixture", "numpy", choice.config, v, seed)
    assert isinstance(made, Mixture)
    return made


def fitted(of: str, train: Corpus, dev: Corpus, options: str = "", **trial: Any) -> Mixture:
    """The model after `fit`."""
    made = mixture(of, train.alphabet.size, options=options)
    made.fit(train, dev, Trial(on_build=made.builder, **trial))
    return made


# ---- the grammar of `of`


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ("ngram", ["ngram"]),
        ("ngram+gru", ["ngram", "gru"]),
        ("ngram+gru(hidden=256;layers=2)", ["ngram", "gru:hidden=256,layers=2"]),
        ("gru@torch(hidden=8)+gru@torch(hidden=9)", ["gru@torch:hidden=8", "gru@torch:hidden=9"]),
        ("gru(preset=makemore;steps=5)+uniform", ["gru:preset=makemore,steps=5", "uniform"]),
        ("ngram()+uniform", ["ngram:", "uniform"]),
        (" ngram + uniform ", ["ngram", "uniform"]),
        (
            "mixture(of=ngram(order=3;k=1)+uniform;positions=2)+uniform",
            ["mixture:of=ngram(order=3;k=1)+uniform,positions=2", "uniform"],
        ),
    ],
)
def test_members(of: str, expected: list[str]) -> None:
    """Cut at `+` outside brackets; brackets hold options, `;` between them; inner brackets are left alone."""
    assert members({"of": of}) == expected


def test_the_spec_of_the_plugin_page_names_its_members() -> None:
    """The example of docs/plugins.md passes validation, and its members are those of a configuration."""
    text = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- members -->\n```python\n(.*?)```", text, re.DOTALL)
    assert block
    spec = eval(block[1], {"ModelSpec": ModelSpec})
    registry.validate(spec)
    assert spec.members(spec.config | {"second": "mlp:hidden=5"}) == ["ngram", "mlp:hidden=5"]


def test_members_are_chosen_with_their_options() -> None:
    """A preset, a backend and a mixture inside: each member is a choice as `--models` makes it."""
    inner = "mixture(of=ngram(order=3)+uniform;positions=2)"
    choice = chosen(f"mlp@numpy(preset=lecture;steps=7)+{inner},positions=4")
    first, second = choice.members
    assert (first.spec.name, first.backend, first.preset) == ("mlp", "numpy", "lecture")
    assert (first.config["steps"], first.config["hidden"]) == (7, 200)
    assert [each.label for each in second.members] == ["ngram@numpy:order=3", "uniform@numpy"]
    assert (second.config["positions"], choice.config["positions"]) == (2, 4)


def test_a_label_chooses_the_same_again() -> None:
    """The label of the row is a selection with the same members."""
    choice = chosen("mlp@numpy(preset=lecture;steps=7)+mixture(of=ngram(order=3)+uniform)")
    again = selection.one(registry.discover(), choice.label)
    assert again.config == choice.config
    assert [each.label for each in again.members] == [each.label for each in choice.members]


def test_a_mixture_needs_what_its_members_need() -> None:
    """Modules of all members, so that the cell is started where they are at hand."""
    assert "torch" in chosen("uniform+gru").requires
    assert "torch" in chosen("uniform+mixture(of=gru+uniform)").requires
    assert "torch" not in chosen("uniform+ngram").requires


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ("ngramm+uniform", "unknown model 'ngramm'; did you mean 'ngram'"),
        ("ngram(ordr=3)+uniform", "unknown option 'ordr' of ngram; did you mean 'order'"),
        ("uniform+ngram(order=x)", "ngram: order='x' is no int"),
        ("uniform+gru(dropout=2)", "gru: dropout=2 must be"),
        ("gru(preset=lecture)+uniform", "unknown preset 'lecture' of gru"),
        ("uniform@torch+ngram", "unknown backend 'torch' of uniform"),
        ("mixture(of=uniform+ngramm)", "unknown model 'ngramm'"),
        ("ngram+", "of=ngram+ is not of the form NAME"),
        ("all", "'all' names"),
        ("count-bigram(k=0/1)+uniform", "'count-bigram:k=0/1' names 2 models, not one"),
        ("ngram(order=3", "brackets do not match"),
    ],
)
def test_a_wrong_member_is_one_line(capsys: pytest.CaptureFixture[str], of: str, said: str) -> None:
    """It names the member and what is wrong with it; exit 2, before anything runs."""
    assert main(["run", "--in-process", "--dataset", DATA, "--models", f"mixture:of={of}"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert said in printed.err
    assert "mixture" in printed.err
    assert not Path("results").exists()


def test_positions_are_at_least_one() -> None:
    """Weights stand for something."""
    with pytest.raises(UsageError, match="positions=0 must be at least 1"):
        chosen("ngram+uniform", ",positions=0")


# ---- weights


def scores_of(n: int, k: int, seed: int) -> Any:
    """Log-probabilities of n targets under k components, some of which know better now and then."""
    rng = np.random.default_rng(seed)
    return np.log(rng.beta(rng.uniform(0.3, 2, k), rng.uniform(0.5, 2, k), (n, k)))


def likelihood(scores: Any, weights: Any, held: Any) -> float:
    """Σ log Σ λ p + Σ held log λ."""
    prior = held[held > 0] @ np.log(weights[held > 0])
    return float(np.log(np.exp(scores) @ weights).sum() + prior)


def best(scores: Any, held: Any) -> Any:
    """The weights of the greatest likelihood by scipy, on the simplex."""
    k = scores.shape[1]
    p = np.exp(scores)

    def loss(weights: Any) -> tuple[float, Any]:
        gradient = -(p / (p @ weights)[:, None]).sum(axis=0) - held / weights
        return -likelihood(scores, weights, held), gradient

    minimize: Any = optimize.minimize  # its types do not know a gradient beside the loss
    found = minimize(
        loss, np.full(k, 1 / k), jac=True, method="SLSQP", bounds=[(1e-12, 1)] * k,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    return found.x / found.x.sum()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("k", [2, 4])
def test_weights_are_those_of_an_optimiser(k: int, seed: int) -> None:
    """On the simplex, as scipy finds them; the mixture is no less likely than any member."""
    scores = scores_of(300, k, seed)
    weights = np.exp(log_weights(scores))
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert (weights >= 0).all()
    none = np.zeros(k)
    theirs = best(scores, none)
    assert likelihood(scores, weights, none) >= likelihood(scores, theirs, none) - 1e-5
    np.testing.assert_allclose(weights, theirs, atol=2e-3)
    assert likelihood(scores, weights, none) >= scores.sum(axis=0).max() - 1e-5


def test_a_member_that_is_no_help_gets_nothing() -> None:
    """One that is always worse ends at weight zero; two that are alike share."""
    good = scores_of(200, 1, 0)
    np.testing.assert_allclose(np.exp(log_weights(np.hstack([good, good - 2]))), [1, 0], atol=1e-6)
    np.testing.assert_allclose(np.exp(log_weights(np.hstack([good, good]))), [0.5, 0.5])


def test_impossible_targets() -> None:
    """A target that one member excludes speaks for the others; one that all exclude says nothing."""
    scores = scores_of(200, 3, 1)
    scores[:40, 0] = -np.inf
    weights = np.exp(log_weights(scores))
    np.testing.assert_allclose(weights, best(scores, np.zeros(3)), atol=2e-3)
    nothing = np.full((5, 3), -np.inf)
    np.testing.assert_allclose(np.exp(log_weights(np.vstack([scores, nothing]))), weights, atol=1e-9)
    np.testing.assert_allclose(np.exp(log_weights(nothing)), np.full(3, 1 / 3))


def test_tiny_probabilities_do_not_vanish() -> None:
    """Weights depend on ratios: targets whose probabilities all underflow count like others."""
    scores = scores_of(200, 3, 2)
    np.testing.assert_allclose(log_weights(scores - 2000), log_weights(scores), atol=1e-9)


def test_weights_by_age() -> None:
    """Each position's weights are held to the common ones by `PRIOR` targets; the last is for all older."""
    scores = scores_of(400, 3, 3)
    age = np.random.default_rng(0).integers(0, 6, 400)
    common = np.exp(log_weights(scores))
    rows = np.exp(weights_by_age(scores, age, 4))
    assert rows.shape == (4, 3)
    for k, row in enumerate(rows):
        mine = scores[age == k] if k < 3 else scores[age >= 3]
        np.testing.assert_allclose(row, best(mine, PRIOR * common), atol=2e-3)


def test_a_position_that_dev_does_not_have_takes_the_common_weights() -> None:
    """And one position is the plain mixture."""
    scores = scores_of(100, 2, 4)
    rows = weights_by_age(scores, np.zeros(100, int), 3)
    np.testing.assert_allclose(rows[1:], np.tile(log_weights(scores), (2, 1)), atol=1e-8)
    np.testing.assert_array_equal(weights_by_age(scores, np.arange(100), 1), log_weights(scores)[None])


# ---- the model


@pytest.fixture
def dev(letters: Alphabet) -> Corpus:
    """Other names."""
    return Corpus.from_documents(["anna", "eva", "olga", "emil", "bob", "mona", "ava"], letters)


def test_rows_are_weighted_sums_of_the_members_rows(small: Corpus, dev: Corpus) -> None:
    """log Σ λ p, with the weights of each position; all members are rebuilt from the params `k/name`."""
    made = fitted(COUNTING, small, dev, ",positions=3")
    weights = np.exp(made.params["weights"])  # (3, K)
    found = registry.discover()
    inputs = np.array([[0, 5, 13, 13, 1], [0, 15, 12, 9, 22]])
    expected = np.zeros((2, 5, 27))
    for k, choice in enumerate(chosen(COUNTING).members):
        part = instance(found, choice.spec.name, choice.backend, choice.config, 27, 0)
        own = {name: value for name, value in made.params.items() if name.split("/")[0] == str(k)}
        part.params = {name.split("/", 1)[1]: value for name, value in own.items()}
        rows = np.exp(part.log_probs(inputs).astype(np.float64))
        expected += np.stack([weights[min(t, 2), k] * rows[:, t] for t in range(5)], axis=1)
    rows = made.log_probs(inputs)
    np.testing.assert_allclose(np.exp(rows), expected, atol=1e-12)
    for t in range(1, 6):
        np.testing.assert_allclose(made.next_log_probs(inputs[:, :t]), rows[:, t - 1], atol=1e-6)


def test_members_are_what_they_are_alone(small: Corpus, dev: Corpus) -> None:
    """A counting member has the parameters that its own fit gives."""
    made = fitted("ngram(order=3)+count-bigram(k=0.5)", small, dev)
    for k, choice in enumerate(chosen("ngram(order=3)+count-bigram(k=0.5)").members):
        alone = instance(registry.discover(), choice.spec.name, choice.backend, choice.config, 27, 0)
        alone.fit(small, dev, Trial())
        assert {f"{k}/{name}" for name in alone.params} <= set(made.params)
        for name, value in alone.params.items():
            np.testing.assert_array_equal(made.params[f"{k}/{name}"], value)


def test_weights_are_fitted_on_dev(small: Corpus, dev: Corpus) -> None:
    """As EM finds them on the members' scores of dev, by the position of each target."""
    made = fitted(COUNTING, small, dev, ",positions=3")
    scores = np.stack([-evaluate.score_targets(part, dev, None) for part in made.parts], axis=1)
    age = np.concatenate([np.arange(length) for length in dev.lengths])
    np.testing.assert_allclose(made.params["weights"], weights_by_age(scores, age, 3), atol=1e-9)


def test_dev_fits_nothing_but_the_weights(small: Corpus, dev: Corpus) -> None:
    """With another dev part the members are equal to the bit, and the weights are not."""
    ours, theirs = (fitted(COUNTING, small, other).params for other in (dev, small))
    assert [name for name in ours if not np.array_equal(ours[name], theirs[name])] == ["weights"]


def test_params_are_the_whole_model(small: Corpus, dev: Corpus) -> None:
    """A new instance gives the same rows, and other ones after its `params` are replaced."""
    made = fitted(COUNTING, small, dev)
    inputs = np.array([[0, 5, 13, 13, 1]])
    again = mixture(COUNTING, seed=99)
    again.params = made.params
    np.testing.assert_array_equal(again.log_probs(inputs), made.log_probs(inputs))
    other = fitted(COUNTING, dev, small)
    again.params = other.params
    np.testing.assert_array_equal(again.log_probs(inputs), other.log_probs(inputs))


def test_without_dev_it_says_so(small: Corpus) -> None:
    """One line, raised as the user's mistake."""
    with pytest.raises(UsageError, match="mixture needs a dev part for its weights"):
        fitted("ngram+uniform", small, small.take(np.arange(0)))


# ---- training the members

Does = Callable[[Trial], Any]


class Spy(Model):
    """Uniform rows; notes its trial, and does in `fit` what it is told. No steps: it only counts.

    Its params say what it was given, since a trial of another process does not come back.
    """

    def __init__(self, steps: int | None, does: Does = lambda trial: None) -> None:
        super().__init__(27, {}, np.random.default_rng(0))
        self.default_steps = steps
        self.does = does
        self.trial = Trial()

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """What it is told."""
        self.trial = trial
        trial.elapsed()
        self.does(trial)
        self.params = {"seconds": np.array(trial.seconds or 0.0), "threads": np.array(trial.threads)}

    def log_probs(self, inputs: Any) -> Any:
        """(B, T) -> (B, T, V)."""
        return np.full((*inputs.shape, self.vocab_size), -np.log(self.vocab_size))


def watched(parts: Sequence[Model], corpus: Corpus, **trial: Any) -> Mixture:
    """A mixture of these very members, fitted."""
    made = Mixture(
        27, {"of": "+".join(["spy"] * len(parts)), "positions": 1, "weights": "dev"}, np.random.default_rng(0)
    )
    made.fit(corpus, corpus, Trial(on_build=lambda text, name: parts[int(name)], **trial))
    return made


class Clock:
    """Seconds that pass when somebody takes them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def take(self, seconds: float) -> Does:
        """To do in a fit: let time pass."""

        def does(trial: Trial) -> None:
            self.now += seconds

        return does


def test_a_budget_in_seconds_is_shared(small: Corpus) -> None:
    """Counting goes first; of what is left, but for 4 % for dev, members that take turns get equal shares."""
    clock = Clock()
    parts = [Spy(100, clock.take(3.8)), Spy(None, clock.take(2.0)), Spy(100)]
    watched(parts, small, seconds=10.0, threads=1, clock=clock)
    first, counting, second = (part.trial for part in parts)
    assert counting.seconds == pytest.approx(9.6)
    assert first.seconds == pytest.approx((9.6 - 2.0) / 2)
    assert second.seconds == pytest.approx(9.6 - 2.0 - 3.8)
    assert [first.steps, second.steps] == [None, None]


@pytest.mark.parametrize("threads", [2, 5])
def test_members_side_by_side_have_the_whole_time(small: Corpus, threads: int) -> None:
    """Where there is a thread for each, all of the time and one thread."""
    parts = [Spy(100), Spy(100), Spy(None)]
    watched(parts, small, seconds=10.0, threads=threads, clock=Clock())
    assert [float(part.params["seconds"]) for part in parts] == pytest.approx([9.6] * 3)
    assert [int(part.params["threads"]) for part in parts] == [1, 1, threads]


def test_members_side_by_side_are_fitted_at_once(small: Corpus, tmp_path: Path) -> None:
    """Two that wait for each other both arrive; a third takes its turn after them."""

    def meet(name: str, others: Sequence[str]) -> Does:
        def does(trial: Trial) -> None:
            (tmp_path / name).touch()
            until = time.monotonic() + 20
            while not all((tmp_path / other).exists() for other in others):
                assert time.monotonic() < until
                time.sleep(0.01)

        return does

    parts = [Spy(100, meet("a", "b")), Spy(100, meet("b", "a")), Spy(100, meet("c", "ab"))]
    watched(parts, small, seconds=10.0, threads=2, clock=Clock())
    assert [float(part.params["seconds"]) for part in parts] == pytest.approx([4.8, 4.8, 9.6])


def test_networks_side_by_side_are_those_of_one_after_the_other(small: Corpus, dev: Corpus) -> None:
    """Each has one thread and generators of its own: parameters and weights are equal to the bit."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    try:
        ours, theirs = (fitted(f"{GRU}+{LSTM}", small, dev, threads=threads).params for threads in (1, 2))
    finally:
        torch.set_num_threads(before)
    assert set(ours) == set(theirs)
    assert [name for name in ours if not np.array_equal(ours[name], theirs[name])] == []


@pytest.mark.skipif(environment.cores() < 2, reason="one core has one thread")
def test_weights_do_not_depend_on_threads(tmp_path: Path) -> None:
    """Nor does anything else, to the bit: sums as long as here are cut up where BLAS has two threads."""
    of = "mixture:of=nn-bigram(steps=50)+mlp(steps=50)"
    ours, theirs = (
        harness.run(of, dataset="names", threads=threads, results=tmp_path / str(threads))
        for threads in (1, 2)
    )
    (one,), (two,) = ours.records, theirs.records
    assert one.metrics == two.metrics
    assert one.sample_statistics == two.sample_statistics


def test_torch_has_a_member_s_threads(small: Corpus, tmp_path: Path) -> None:
    """A member that counts has all, two side by side have one each, and all are back afterwards."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()

    def note(name: str) -> Does:
        return lambda trial: (tmp_path / name).write_text(str(torch.get_num_threads()))

    parts = [Spy(steps, note(name)) for name, steps in (("a", None), ("b", 100), ("c", 100))]
    try:
        watched(parts, small, threads=4)
        assert [(tmp_path / name).read_text() for name in "abc"] == ["4", "1", "1"]
        assert torch.get_num_threads() == before
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("device", "here"), [("cpu", False), ("cuda", True)])
def test_members_on_a_device_are_not_forked(small: Corpus, tmp_path: Path, device: str, here: bool) -> None:
    """It does not survive a fork: they are trained in threads of the cell's process."""
    parts = [
        Spy(100, lambda trial, name=name: (tmp_path / name).write_text(str(os.getpid()))) for name in "ab"
    ]
    parts[1].device = device
    watched(parts, small, threads=2)
    assert [(tmp_path / name).read_text() == str(os.getpid()) for name in "ab"] == [here] * 2


def test_random_numbers_are_a_member_s_own(small: Corpus) -> None:
    """They follow from the mixture's seed and the member's name, and its trial's seed from them."""

    def drawn(seed: int, name: str) -> int:
        made = mixture("uniform+uniform", seed=seed)
        assert made.builder is not None
        return int(made.builder("uniform", name).rng.integers(2**31))

    assert drawn(3, "0") == drawn(3, "0")
    assert len({drawn(3, "0"), drawn(3, "1"), drawn(4, "0")}) == 3
    parts = [Spy(100), Spy(None)]
    for seed, part in enumerate(parts):
        part.rng = np.random.default_rng(seed)
    watched(parts, small)
    assert [part.trial.seed for part in parts] == [
        int(np.random.default_rng(seed).integers(2**31)) for seed in (0, 1)
    ]


def test_a_spent_budget_is_no_budget_without_bound(small: Corpus) -> None:
    """Where counting used it all up, the others may not make a single step."""
    clock = Clock()
    parts = [Spy(None, clock.take(20.0)), Spy(100)]
    watched(parts, small, seconds=10.0, clock=clock)
    assert parts[1].trial.seconds == 0
    assert parts[1].trial.should_stop()
    assert parts[1].trial.spent() == 1


def test_a_budget_in_steps_is_given_to_each(small: Corpus) -> None:
    """Without one each has its own default."""
    parts = [Spy(100), Spy(None), Spy(70)]
    watched(parts, small, steps=7)
    assert [part.trial.steps for part in parts] == [7, 7, 7]
    watched(parts, small)
    assert [part.trial.steps for part in parts] == [100, None, 70]
    assert [part.trial.seconds for part in parts] == [None, None, None]


def test_measuring_dev_inside_costs_budget(small: Corpus) -> None:
    """A member's checkpoint answers its dev NLL; the mixture's clock does not stop for it."""
    clock = Clock()
    answers = []

    class Slow(Spy):
        def log_probs(self, inputs: Any) -> Any:
            clock.now += 0.5
            return super().log_probs(inputs)

    part = Slow(100)
    part.does = lambda trial: answers.append(trial.checkpoint(part))
    watched([part, Spy(None)], small, seconds=100.0, clock=clock)
    assert answers == [pytest.approx(np.log(27))]
    longest = 7  # calls, one a length
    assert part.trial.stopped_clock == pytest.approx(0.5 * longest)
    assert part.trial.elapsed() == clock.now


def test_progress_is_that_of_all_members(small: Corpus) -> None:
    """What they consumed and will consume is added up."""
    told = []

    def tell(*counts: tuple[int, int]) -> Does:
        def does(trial: Trial) -> None:
            for done, total in counts:
                trial.progress(done, total, loss=2.5)

        return does

    parts = [
        Spy(100, tell((10, 30), (30, 30))),
        Spy(100, tell((5, 50))),
    ]
    watched(parts, small, threads=1, on_progress=lambda *arguments: told.append(arguments))
    assert told == [(10, 30, {"loss": 2.5}), (30, 30, {"loss": 2.5}), (35, 80, {"loss": 2.5})]


def test_what_a_member_raises_is_raised(small: Corpus) -> None:
    """Divergence in a member's process is the mixture's."""

    def diverge(trial: Trial) -> None:
        raise Diverged("loss is nan")

    with pytest.raises(Diverged, match="loss is nan"):
        watched([Spy(100, diverge), Spy(100)], small, threads=2)


def test_a_member_without_any_chance_is_no_failure(small: Corpus) -> None:
    """Where one gives every dev target p = 0 its weight is zero, and the parameters are finite."""

    class Never(Spy):
        def log_probs(self, inputs: Any) -> Any:
            rows = np.full((*inputs.shape, 27), -np.inf)
            rows[..., 17] = 0.0  # q, which no name here has
            return rows

    made = watched([Never(None), Spy(None)], small)
    assert not_finite(made.params) is None
    np.testing.assert_allclose(made.log_probs(np.array([[0, 5]])), -np.log(27), atol=1e-12)


# ---- in cells

SUFFIX = """
import numpy as np
from harness import Model, ModelSpec, hookimpl

class Suffix(Model):
    def fit(self, train, dev, trial):
        counts = np.bincount(train.tokens[1:], minlength=self.vocab_size) + self.config["k"]
        self.params["log_p"] = np.log(counts / counts.sum())

    def log_probs(self, inputs):
        return np.broadcast_to(self.params["log_p"], (*inputs.shape, self.vocab_size))

@hookimpl
def harness_models():
    return [
        ModelSpec("suffix", {"numpy": Suffix}, config={"k": 1.0}, context=0),
        ModelSpec("gone", {"numpy": Suffix}, config={"k": 1.0}, requires=("no_such_module_anywhere",)),
    ]
"""


@pytest.fixture
def plugin() -> str:
    """A file with two models of somebody else's, one of which cannot run here."""
    Path("suffix.py").write_text(SUFFIX)
    return "suffix.py"


def figures(result: Any) -> list[Any]:
    """What must not depend on where a cell runs."""
    return [
        (r.model, r.status, r.reason, r.metrics, r.parameters, r.sample_statistics) for r in result.records
    ]


def test_of_somebody_else_s_models_isolated_or_not(plugin: str) -> None:
    """A model of a `--plugin` file is a member in a process of its own too, with the same figures."""
    of = "mixture:of=suffix(k=0.5)+ngram(order=2)+nn-bigram(steps=10)"
    isolated, here = (
        harness.run(of, plugin=[plugin], dataset=DATA, in_process=where, threads=1) for where in (False, True)
    )
    assert isolated.records[0].status == "ok", isolated.records[0].reason
    assert figures(isolated) == figures(here)


def test_with_a_network_isolated_or_not() -> None:
    """A member that needs torch finds it in the cell's process, and gives the same figures there."""
    pytest.importorskip("torch")
    of = f"mixture:of={GRU}+uniform"
    isolated, here = (
        harness.run(of, dataset="markov:documents=60", in_process=where, threads=1) for where in (False, True)
    )
    assert isolated.records[0].status == "ok", isolated.records[0].reason
    assert figures(isolated) == figures(here)


def test_a_loaded_mixture_scores_the_same(plugin: str) -> None:
    """`harness.load` rebuilds it with its members from the stored parameters."""
    of = "mixture:of=suffix+ngram(order=3),positions=3"
    harness.run(of, plugin=[plugin], dataset=DATA, in_process=True)
    stored = harness.load("latest", plugin=[plugin])
    (record,) = stored.records
    loaded = stored.model(record)
    assert loaded is not None
    assert {name.split("/")[0] for name in loaded.params} == {"weights", "0", "1"}
    test = plan("uniform", data=DATA).split_for(selection.one(registry.discover(), "uniform")).test.corpus
    assert record.metrics.test_nll is not None
    assert evaluate.score(loaded, test, None).nll == pytest.approx(record.metrics.test_nll, abs=1e-12)


def test_it_is_no_worse_than_its_members() -> None:
    """On the dev part that its weights were fitted on."""
    members_ = "ngram@numpy:order=2,smoothing=add-k,ngram@numpy:order=3"
    of = "mixture:of=ngram(order=2;smoothing=add-k)+ngram(order=3),positions=1"
    result = harness.run(f"{members_},{of}", dataset=DATA, in_process=True)
    *alone, mixed = (record.metrics.dev_nll for record in result.records)
    assert mixed is not None
    assert mixed <= min(each or 0 for each in alone) + 1e-9


def test_a_changed_member_is_another_run(plugin: str) -> None:
    """A run is continued only with the same code, that of the members included."""

    def identity() -> str:
        return plan("mixture:of=suffix+uniform", plugins=[plugin], data=DATA).identity

    before = identity()
    assert identity() == before
    Path(plugin).write_text(SUFFIX.replace('self.config["k"]', '2 * self.config["k"]'))
    assert identity() != before


def test_a_part_that_is_missing_skips_the_row(plugin: str) -> None:
    """With the member's name and what to install."""
    (record,) = harness.run("mixture:of=gone+uniform", plugin=[plugin], dataset=DATA).records
    assert record.status == "skipped"
    assert record.reason == (
        "gone: no_such_module_anywhere is not installed: pip install no_such_module_anywhere"
    )


def test_without_torch_the_default_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install; nothing is imported for that."""
    installed = registry.installed
    monkeypatch.setattr(registry, "installed", lambda module: module != "torch" and installed(module))
    (record,) = harness.run("mixture", dataset=DATA, in_process=True).records
    assert record.status == "skipped"
    assert re.fullmatch(r"\w+: torch is not installed: pip install torch", record.reason or "")


def test_a_split_without_dev_is_one_line() -> None:
    """The row has no score, and its reason says what is missing."""
    (record,) = harness.run(
        "mixture:of=uniform+count-bigram", dataset=DATA, split="grouped:fractions=0.9,0,0.1", in_process=True
    ).records
    way_out = "mixture needs a dev part for its weights; weights=held-out takes it from train"
    assert (record.status, record.reason) == ("failed", f"fit: {way_out}")
    assert record.metrics.test_nll is None


def test_the_makemore_split_lends_it_dev(makemore_path: Path) -> None:
    """Where a split has none, training words are set apart for the weights."""
    choice = selection.one(registry.discover(), "mixture:of=uniform+count-bigram")
    parts = plan("uniform", data="makemore-names", method="makemore").split_for(choice)
    assert len(parts.dev.corpus) == 1000


def test_members_of_a_rebuilt_mixture_that_cannot_run_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stored mixture whose member's module is gone says which, in one line."""
    made = mixture("uniform+gru")
    installed = registry.installed
    monkeypatch.setattr(registry, "installed", lambda module: module != "torch" and installed(module))
    assert made.builder is not None
    with pytest.raises(UsageError, match="mixture: gru cannot run here: torch is not installed"):
        made.builder("gru", "1")


# ---- weights from a tenth of train


def markov_parts() -> tuple[Corpus, Corpus]:
    """Train and dev of the synthetic source."""
    parts = plan("uniform", data=DATA).split_for(selection.one(registry.discover(), "uniform"))
    return parts.train, parts.dev.corpus


def test_held_out_weights_need_no_dev() -> None:
    """With weights=held-out whatever dev holds, even nothing, moves no parameter."""
    train, dev = markov_parts()
    with_dev = fitted(COUNTING, train, dev, ",weights=held-out").params
    without = fitted(COUNTING, train, dev.take(np.zeros(0, np.int64)), ",weights=held-out").params
    assert with_dev.keys() == without.keys()
    assert all(np.array_equal(with_dev[name], without[name]) for name in with_dev)


def test_held_out_weights_are_those_of_the_tenth() -> None:
    """The weights are what EM gives members of nine tenths of train on the tenth that they have not seen."""
    train, dev = markov_parts()
    nine, tenth = hold_out(train)
    expected = fitted(COUNTING, nine, tenth).params["weights"]
    assert np.array_equal(fitted(COUNTING, train, dev, ",weights=held-out").params["weights"], expected)


def test_counting_members_count_all_of_train_in_the_end() -> None:
    """The tenth that set the weights is not lost to the members that only count."""
    train, dev = markov_parts()
    params = fitted("count-bigram+uniform", train, dev, ",weights=held-out").params
    assert np.array_equal(params["0/counts"], pair_counts(train))


def test_networks_never_see_the_tenth() -> None:
    """A network of a mixture with held-out weights is the one that nine tenths of train make."""
    train, dev = markov_parts()
    nine, tenth = hold_out(train)
    inside = fitted(f"uniform+{GRU}", train, dev, ",weights=held-out").params
    alone = fitted(f"uniform+{GRU}", nine, tenth).params
    assert all(np.array_equal(inside[name], alone[name]) for name in alone)
