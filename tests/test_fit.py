"""Fitting and its clock: a fake clock, a model that notes what is done to it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from harness import Alphabet, Corpus, Diverged, Model, Trial
from harness.contract import Floats, Ints
from harness.fit import Budget, Fitted, few, fit
from harness.seeds import seed_everything


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now

    def passes(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass
class Log:
    """What happened, in order, over all instances of one test."""

    clock: Clock = field(default_factory=Clock)
    made: list[Model] = field(default_factory=list)
    events: list[tuple[str, Model]] = field(default_factory=list)


class Noted(Model):
    """One second a step, five to construct, and a note of everything."""

    def __init__(self, log: Log) -> None:
        super().__init__(4, {}, np.random.default_rng(0))
        self.log = log
        log.made.append(self)
        log.clock.passes(5.0)
        self.given: tuple[Corpus, Corpus, Trial] | None = None
        self.steps = 0

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """As many steps as are allowed, at most 50."""
        self.log.events.append(("fit", self))
        self.given = train, dev, trial
        while self.steps < 50 and not trial.should_stop():
            self.step(trial)
            self.steps += 1
        self.params["weights"] = np.zeros(3)

    def step(self, trial: Trial) -> None:
        """One second."""
        self.log.clock.passes(1.0)

    def log_probs(self, inputs: Ints) -> Floats:
        """Uniform."""
        return np.full((*inputs.shape, 4), -np.log(4.0))


class Warmed(Noted):
    """Its warm-up takes seven seconds."""

    def warm_up(self, train: Corpus, trial: Trial) -> None:
        """Seven seconds."""
        self.log.events.append(("warm_up", self))
        self.given = train, train, trial
        self.log.clock.passes(7.0)


@pytest.fixture
def log() -> Log:
    """A fresh log with its own clock."""
    return Log()


@pytest.fixture
def train() -> Corpus:
    """Two hundred documents of 1 to 6 letters."""
    rng = np.random.default_rng(0)
    documents = ["".join(rng.choice(list("abc"), rng.integers(1, 7))) for _ in range(200)]
    return Corpus.from_documents(documents, Alphabet("abc"))


@pytest.fixture
def dev() -> Corpus:
    """Three documents."""
    return Corpus.from_documents(["ab", "c", "aab"], Alphabet("abc"))


def fitted(
    log: Log,
    make: Callable[[], Model],
    train: Corpus,
    dev: Corpus,
    trial: Trial | None = None,
    dev_nll: Callable[[Model], float] = lambda model: 1.5,
    **budget: Any,
) -> Fitted:
    """`fit` on the fake clock."""
    trial = trial or Trial(seed=3, clock=log.clock, **budget)
    return fit(make, train, dev, trial, dev_nll, log.clock)


# ---- warm-up


def test_fit_gets_a_new_instance(log: Log, train: Corpus, dev: Corpus) -> None:
    """The warmed-up instance is thrown away; the fitted one was never warmed up."""
    result = fitted(log, lambda: Warmed(log), train, dev, steps=2)
    assert len(log.made) == 2
    assert log.events == [("warm_up", log.made[0]), ("fit", log.made[1])]
    assert result.model is log.made[1]


def test_warm_up_sees_sixty_four_documents(log: Log, train: Corpus, dev: Corpus) -> None:
    """The warm-up is given the first 64 training documents, the fit all of them and dev."""
    fitted(log, lambda: Warmed(log), train, dev, steps=2)
    warmed, model = log.made
    assert isinstance(warmed, Noted)
    assert isinstance(model, Noted)
    assert warmed.given is not None
    assert model.given is not None
    few_documents = warmed.given[0]
    assert [few_documents.text(i) for i in range(len(few_documents))] == [train.text(i) for i in range(64)]
    assert model.given[0] is train
    assert model.given[1] is dev


def test_a_model_without_a_warm_up_is_fitted_for_two_steps(log: Log, train: Corpus, dev: Corpus) -> None:
    """By default the warm-up is a fit of two steps on the throw-away instance."""
    fitted(log, lambda: Noted(log), train, dev, steps=9)
    assert [model.steps for model in log.made if isinstance(model, Noted)] == [2, 9]
    assert [name for name, _ in log.events] == ["fit", "fit"]


class Checking(Noted):
    """A checkpoint is all that a step does."""

    def step(self, trial: Trial) -> None:
        """A checkpoint."""
        trial.checkpoint(self)


def test_a_warm_up_may_ask_for_a_checkpoint(log: Log, train: Corpus, dev: Corpus) -> None:
    """A fit that takes checkpoints also runs as a warm-up, and dev is not measured there."""
    measured: list[Model] = []

    def dev_nll(model: Model) -> float:
        measured.append(model)
        return 1.0

    result = fitted(log, lambda: Checking(log), train, dev, dev_nll=dev_nll, steps=3)
    assert measured == [result.model] * 3


def test_warm_up_of_few_documents_and_of_running_text(dev: Corpus) -> None:
    """Fewer than 64 documents are all taken; of running text the first 4,096 characters."""
    assert few(dev).tokens.tolist() == dev.tokens.tolist()
    text = Corpus.from_documents(["abc" * 3000], Alphabet("abc"), "text")
    cut = few(text)
    assert (cut.kind, cut.targets, len(cut)) == ("text", 4096, 1)
    assert cut.text(0) == ("abc" * 3000)[:4096]
    short = Corpus.from_documents(["abc"], Alphabet("abc"), "text")
    assert few(short).text(0) == "abc"


# ---- the clock


def test_warm_up_and_training_are_timed_apart(log: Log, train: Corpus, dev: Corpus) -> None:
    """`warmup_s` is the throw-away instance and its warm-up, `train_s` the fit and nothing else."""
    result = fitted(log, lambda: Warmed(log), train, dev, steps=4)
    assert result.warmup_s == 12.0
    assert result.train_s == 4.0
    assert result.checkpoint_s == 0.0


class EveryOther(Noted):
    """A checkpoint after every second step."""

    def step(self, trial: Trial) -> None:
        """One second, and every other time a checkpoint."""
        super().step(trial)
        if self.steps % 2:
            self.answers = [*getattr(self, "answers", []), trial.checkpoint(self)]


def test_checkpoints_stop_the_clock(log: Log, train: Corpus, dev: Corpus) -> None:
    """Measuring dev is no training time; it is in `checkpoint_s`, and in the curve at its second."""
    nll = iter([3.0, 2.5, 2.25])

    def dev_nll(model: Model) -> float:
        log.clock.passes(100.0)
        return next(nll)

    result = fitted(log, lambda: EveryOther(log), train, dev, dev_nll=dev_nll, steps=6)
    assert result.train_s == 6.0
    assert result.checkpoint_s == 300.0
    assert result.curve == [(2.0, 3.0), (4.0, 2.5), (6.0, 2.25)]
    assert isinstance(result.model, EveryOther)
    assert result.model.answers == [3.0, 2.5, 2.25]


class Quiet(Noted):
    """It has nothing to warm up."""

    def warm_up(self, train: Corpus, trial: Trial) -> None:
        """Nothing."""


class Catching(Quiet):
    """Its first step survives a checkpoint that fails."""

    def step(self, trial: Trial) -> None:
        """One second, and one failed checkpoint."""
        super().step(trial)
        if self.steps == 0:
            with pytest.raises(RuntimeError, match="no dev"):
                trial.checkpoint(self)


def test_a_checkpoint_that_fails_stops_the_clock_too(log: Log, train: Corpus, dev: Corpus) -> None:
    """A model that survives a failed checkpoint is not charged for it."""

    def dev_nll(model: Model) -> float:
        log.clock.passes(50.0)
        raise RuntimeError("no dev")

    result = fitted(log, lambda: Catching(log), train, dev, dev_nll=dev_nll, steps=3)
    assert (result.train_s, result.checkpoint_s, result.curve) == (3.0, 50.0, [])


# ---- budgets


def test_a_budget_of_steps_is_counted(log: Log, train: Corpus, dev: Corpus) -> None:
    """The fit takes exactly the steps it was given and is never over such a budget."""
    result = fitted(log, lambda: Quiet(log), train, dev, steps=7)
    assert (result.train_s, result.over_budget) == (7.0, False)


def test_a_budget_of_seconds_starts_with_the_fit(log: Log, train: Corpus, dev: Corpus) -> None:
    """Ten seconds are ten steps of one second: neither warm-up nor construction is charged."""
    result = fitted(log, lambda: Warmed(log), train, dev, seconds=10.0)
    assert (result.train_s, result.over_budget) == (10.0, False)


class SlowToAsk(Quiet):
    """Three seconds before it first asks whether it may go on."""

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Prepare, then as many steps as are allowed."""
        self.log.clock.passes(3.0)
        super().fit(train, dev, trial)


def test_what_comes_before_the_first_question_is_charged(log: Log, train: Corpus, dev: Corpus) -> None:
    """A budget of seconds runs from the first moment of the fit, not from the first `should_stop`."""
    result = fitted(log, lambda: SlowToAsk(log), train, dev, seconds=10.0)
    assert (result.train_s, result.over_budget) == (10.0, False)


def test_short_checkpoints_are_not_charged(log: Log, train: Corpus, dev: Corpus) -> None:
    """Checkpoints within 10 % of a wall-clock budget leave the whole of it for training."""

    def dev_nll(model: Model) -> float:
        log.clock.passes(0.125)
        return 1.0

    result = fitted(log, lambda: EveryOther(log), train, dev, dev_nll=dev_nll, seconds=10.0)
    assert (result.train_s, result.checkpoint_s) == (10.0, 0.625)


class Every(Quiet):
    """A checkpoint after every step."""

    def step(self, trial: Trial) -> None:
        """One second and a checkpoint."""
        super().step(trial)
        trial.checkpoint(self)


def test_long_checkpoints_count_against_a_wall_clock_budget(log: Log, train: Corpus, dev: Corpus) -> None:
    """Beyond 10 % of the budget their seconds are charged: 6 s of training, 6 − 1 of checkpoints."""

    def dev_nll(model: Model) -> float:
        log.clock.passes(1.0)
        return 1.0

    result = fitted(log, lambda: Every(log), train, dev, dev_nll=dev_nll, seconds=10.0)
    assert (result.train_s, result.checkpoint_s) == (6.0, 6.0)


class Stubborn(Quiet):
    """It does not ask whether it should stop."""

    extra = 0.0

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Eleven seconds and a bit."""
        self.log.clock.passes(11.0 + self.extra)


class MoreStubborn(Stubborn):
    """A quarter of a second more."""

    extra = 0.25


@pytest.mark.parametrize(
    ("kind", "seconds", "over"),
    [(Stubborn, 10.0, False), (MoreStubborn, 10.0, True), (MoreStubborn, None, False)],
)
def test_an_overrun_of_more_than_a_tenth_is_marked(
    kind: type[Noted], seconds: float | None, over: bool, log: Log, train: Corpus, dev: Corpus
) -> None:
    """Eleven seconds of ten are let pass, more are marked; without a wall clock nothing is."""
    assert fitted(log, lambda: kind(log), train, dev, seconds=seconds).over_budget is over


@pytest.mark.parametrize(
    ("budget", "text"),
    [(Budget(), "default"), (Budget(steps=2000), "2000steps"), (Budget(seconds=0.5), "0.5s")],
)
def test_a_budget_is_written_as_it_is_given(budget: Budget, text: str) -> None:
    """As on the command line."""
    assert str(budget) == text


# ---- what came of it


class Counting(Quiet):
    """It says how many targets it consumed."""

    def step(self, trial: Trial) -> None:
        """One second, 30 targets."""
        super().step(trial)
        trial.progress(30 * (self.steps + 1), 120, loss=2.0)


def test_targets_consumed_are_the_plugins_word_where_it_gives_one(
    log: Log, train: Corpus, dev: Corpus
) -> None:
    """With progress calls the last `done` counts, marked as claimed; without, the targets of train."""
    said = fitted(log, lambda: Counting(log), train, dev, steps=4)
    assert (said.targets_consumed, said.claimed) == (120, True)
    silent = fitted(log, lambda: Quiet(log), train, dev, steps=4)
    assert (silent.targets_consumed, silent.claimed) == (train.targets, False)


class Learns(Quiet):
    """Its parameters are what the test says."""

    learned: Any = None

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Take them."""
        self.params = {"good": np.ones(4), "second": self.learned}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_parameters_that_are_not_finite_are_a_divergence(
    value: float, dtype: str, log: Log, train: Corpus, dev: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One NaN or infinity in one parameter raises `Diverged`, which names it."""
    learned = np.zeros((5, 5), dtype)
    learned[3, 2] = value
    monkeypatch.setattr(Learns, "learned", learned)
    with pytest.raises(Diverged, match="'second'"):
        fitted(log, lambda: Learns(log), train, dev)


@pytest.mark.parametrize("learned", [np.arange(3), np.array([True, False]), np.zeros((0, 4)), np.array(1.5)])
def test_finite_parameters_of_any_kind_pass(
    learned: Any, log: Log, train: Corpus, dev: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Integers, booleans, empty arrays and scalars are finite."""
    monkeypatch.setattr(Learns, "learned", learned)
    assert fitted(log, lambda: Learns(log), train, dev).model.params["second"] is learned


class Breaks(Quiet):
    """Its fit raises."""

    error: Exception = Diverged("loss is nan at step 3")

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Raise."""
        raise self.error


@pytest.mark.parametrize("error", [Diverged("loss is nan"), ZeroDivisionError("oops")])
def test_what_a_plugin_raises_comes_through(
    error: Exception, log: Log, train: Corpus, dev: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither wrapped nor swallowed."""
    monkeypatch.setattr(Breaks, "error", error)
    with pytest.raises(type(error)) as caught:
        fitted(log, lambda: Breaks(log), train, dev)
    assert caught.value is error


# ---- seeds


def draws() -> list[float]:
    """A number from each global generator."""
    torch = pytest.importorskip("torch")
    return [random.random(), float(np.random.random()), float(torch.rand(1, dtype=torch.float64))]


def test_global_generators_are_seeded() -> None:
    """`random`, numpy's and torch's globals give what they give right after being seeded."""
    torch = pytest.importorskip("torch")
    seed = 2**62 + 12345
    seed_everything(seed)
    found = draws()
    generator = torch.Generator().manual_seed(seed)
    assert found == [
        random.Random(seed).random(),
        np.random.RandomState(seed % 2**32).random_sample(),
        float(torch.rand(1, dtype=torch.float64, generator=generator)),
    ]


class DrawsGlobally(Noted):
    """It initialises and trains from the global generators, and its warm-up draws more often."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self.drawn = draws()

    def warm_up(self, train: Corpus, trial: Trial) -> None:
        """Draw too."""
        self.drawn += draws() + draws()

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Draw."""
        self.drawn += draws()


def test_what_a_fit_draws_depends_on_its_seed_alone(log: Log, train: Corpus, dev: Corpus) -> None:
    """Neither earlier draws nor the warm-up move the global generators of a fit; it is seeded too."""

    def drawn(seed: int) -> tuple[list[float], list[float]]:
        fitted(log, lambda: DrawsGlobally(log), train, dev, Trial(seed=seed))
        warmed, model = log.made[-2:]
        assert isinstance(warmed, DrawsGlobally)
        assert isinstance(model, DrawsGlobally)
        return warmed.drawn, model.drawn

    first = drawn(3)
    draws()
    assert drawn(3) == first
    assert drawn(4) != first
    seed_everything(3)
    assert first[1] == draws() + draws()
