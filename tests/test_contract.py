"""What a model's author reads: windows, the defaults of `Model`, its sampler, `Trial`, the specs."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from scipy import stats

from harness import Corpus, DatasetSpec, Model, ModelSpec, Trial, WindowModel
from harness.ancestral import choose
from harness.contract import sliding

LEAST_P = 0.001  # of a goodness-of-fit test; seeds are fixed, so a test that passes keeps passing


# ---- models with a known law


class Fixed(Model):
    """A law (3 states, 3 characters) whose state is the sum of all tokens and places so far, modulo 3."""

    table = np.array([[0.3, 0.7, 0.0], [0.2, 0.5, 0.3], [0.5, 0.1, 0.4]])

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Nothing to learn."""

    def log_probs(self, inputs: np.ndarray) -> np.ndarray:
        """(B, T) -> (B, T, 3)."""
        with np.errstate(divide="ignore"):
            return np.log(self.table)[np.cumsum(inputs + 1, axis=1) % 3]


class Flat(Fixed):
    """Every character equally likely."""

    table = np.full((3, 3), 1 / 3)


class ShortA(Model):
    """Like `Flat`, but a document that starts with character 1 ends there."""

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Nothing to learn."""

    def log_probs(self, inputs: np.ndarray) -> np.ndarray:
        """(B, T) -> (B, T, 3)."""
        rows = np.full((*inputs.shape, 3), -math.log(3))
        if inputs.shape[1] > 1:
            rows[inputs[:, 1] == 1] = [0.0, -np.inf, -np.inf]
        return rows


class Weighed(WindowModel):
    """Log-probabilities that depend on every place of the window."""

    context = 3

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Nothing to learn."""

    def window_log_probs(self, windows: np.ndarray) -> np.ndarray:
        """(N, context) -> (N, V)."""
        assert windows.shape[1] == self.context
        weights = np.cos(np.arange(self.context * self.vocab_size)).reshape(self.context, self.vocab_size)
        logits = windows @ weights
        return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def build(kind: type[Model], vocab_size: int = 3) -> Model:
    """A model as the harness makes it."""
    return kind(vocab_size, {}, np.random.default_rng(0))


def draw_words(
    model: Model, n: int, max_length: int, seed: int = 0, **options: object
) -> list[tuple[int, ...]]:
    """Samples that can be counted."""
    drawn = model.sample(n, max_length, np.random.default_rng(seed), **options)
    return [tuple(document.tolist()) for document in drawn]


class Whole(Weighed):
    """Says with `log_probs` alone what its rows are: it looks at all of the inputs."""

    def log_probs(self, inputs: np.ndarray) -> np.ndarray:
        """(B, T) -> (B, T, V): the character of the first input is certain from then on."""
        rows = np.full((*inputs.shape, self.vocab_size), -np.inf)
        first = inputs[:, min(1, inputs.shape[1] - 1)]  # after the boundary
        rows[np.arange(len(inputs)), :, np.maximum(first, 1)] = 0.0
        return rows


# ---- windows


@pytest.mark.parametrize("context", [1, 2, 5])
@pytest.mark.parametrize("length", [1, 2, 3, 6])
def test_sliding_gives_each_position_its_last_inputs(length: int, context: int) -> None:
    """Row t holds the last `context` inputs up to and with t, left-padded with 0 where there are fewer."""
    inputs = np.random.default_rng(1).integers(1, 9, (4, length))
    expected = [
        [([0] * context + row[: position + 1])[-context:] for position in range(length)]
        for row in inputs.tolist()
    ]
    assert sliding(inputs, context).tolist() == expected


def test_a_window_model_with_rows_of_its_own_is_asked_for_its_last_ones_through_them() -> None:
    """What is scored row by row and what is sampled is what `log_probs` says, however far it looks."""
    model = build(Whole)
    inputs = np.array([[0, 2, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1]])
    assert model.next_log_probs(inputs).tolist() == model.log_probs(inputs)[:, -1].tolist()
    rng = np.random.default_rng(0)
    assert [drawn.tolist() for drawn in model.sample(1, 6, rng, prompt=[2, 1, 1, 1])] == [[2, 1, 1, 1, 2, 2]]


def test_windows_are_the_callers_own() -> None:
    """What is written into a window stands in no other window and not in the inputs."""
    inputs = np.array([[0, 1, 2, 3]])
    windows = sliding(inputs, 2)
    windows[0, 1, 1] = 9
    assert windows.tolist() == [[[0, 0], [0, 9], [1, 2], [2, 3]]]
    assert inputs.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("context", [1, 2, 5])
@pytest.mark.parametrize("length", [1, 2, 3, 6])
def test_a_window_model_sees_the_window_of_each_position(length: int, context: int) -> None:
    """`log_probs` and `next_log_probs` are `window_log_probs` of the last inputs, for every T >= 1."""
    model = build(Weighed, 4)
    model.context = context
    inputs = np.random.default_rng(2).integers(1, 4, (3, length))
    rows = model.log_probs(inputs)
    assert rows.shape == (3, length, 4)
    for position in range(length):
        windows = [([0] * context + row[: position + 1])[-context:] for row in inputs.tolist()]
        expected = model.window_log_probs(np.array(windows))
        np.testing.assert_allclose(rows[:, position], expected, rtol=1e-12)
        np.testing.assert_allclose(model.next_log_probs(inputs[:, : position + 1]), expected, rtol=1e-12)


# ---- the defaults of Model


def test_a_model_needs_fit_and_log_probs() -> None:
    """A class without one of the two methods is no model."""

    class NoFit(Model):
        log_probs = Fixed.log_probs

    class NoLogProbs(Model):
        fit = Fixed.fit

    for incomplete, missing in ((NoFit, "fit"), (NoLogProbs, "log_probs")):
        with pytest.raises(TypeError, match=rf"abstract method '?{missing}'?$"):
            build(incomplete)


def test_a_new_model_has_what_the_contract_promises() -> None:
    """A new instance keeps what it was given, has no parameters, is on the CPU and available."""
    rng, config = np.random.default_rng(5), {"k": 1.0}
    model = Fixed(3, config, rng)
    assert (model.vocab_size, model.config, model.rng) == (3, config, rng)
    assert (model.params, model.device, Fixed.unavailable()) == ({}, "cpu", None)
    assert Fixed(3, config, rng).params is not model.params


def test_next_log_probs_is_the_last_row() -> None:
    """Without a fast path the next character's law is the last row of `log_probs`."""
    model, inputs = build(Fixed), np.array([[0, 1, 2], [0, 2, 2]])
    assert model.next_log_probs(inputs).tolist() == model.log_probs(inputs)[:, -1].tolist()


def test_warm_up_fits_two_steps(small: Corpus) -> None:
    """By default warming up is a fit on the few documents, two steps long, with the trial's settings."""
    calls = []

    class Recorder(Fixed):
        def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
            steps = 0
            while not trial.should_stop():
                steps += 1
            calls.append((train, dev, steps, trial.seed, trial.device, trial.threads))
            assert math.isfinite(trial.checkpoint(self))
            assert trial.build("gru", "a") is other

    other = build(Fixed)
    trial = Trial(3, "cuda", 2, steps=500, on_build=lambda selection, name: other)
    build(Recorder).warm_up(small, trial)
    assert calls == [(small, small, 2, 3, "cuda", 2)]


# ---- sampling


def law_of_documents(
    table: Sequence[Sequence[float]],
    max_length: int,
    temperature: float,
    top_k: int | None,
    prompt: Sequence[int],
) -> dict[tuple[int, ...], float]:
    """The probability of every document of `Fixed` under the sampling rules, by enumeration."""
    law = {}
    for size in range(len(prompt), max_length + 1):
        for rest in itertools.product((1, 2), repeat=size - len(prompt)):
            document = (*prompt, *rest)
            p = 1.0
            for position in range(len(prompt), min(size + 1, max_length)):
                row = [q ** (1 / temperature) for q in table[(sum(document[:position]) + position + 1) % 3]]
                kept = sorted(range(3), key=lambda character: (-row[character], character))[:top_k]
                token = document[position] if position < size else 0
                p *= row[token] / sum(row[c] for c in kept) if token in kept else 0.0
            law[document] = p
    assert sum(law.values()) == pytest.approx(1)
    return law


@pytest.mark.parametrize(
    ("temperature", "top_k", "prompt"),
    [
        (1.0, None, ()),
        (0.6, None, ()),
        (1.7, 2, ()),
        (1.0, 1, ()),
        (1.0, None, (2, 1)),
    ],
)
def test_samples_obey_the_stated_law(temperature: float, top_k: int | None, prompt: tuple[int, ...]) -> None:
    """Whole documents come as often as `log_probs` says: temperature, top-k, prompt, truncation (G-test)."""
    n, max_length = 20_000, 4
    law = law_of_documents(Fixed.table.tolist(), max_length, temperature, top_k, prompt)
    found = Counter(
        draw_words(build(Fixed), n, max_length, 11, temperature=temperature, top_k=top_k, prompt=prompt)
    )
    possible = {document: p for document, p in law.items() if p > 0}
    assert found.keys() <= possible.keys()
    if len(possible) > 1:
        observed = [found[document] for document in possible]
        expected = [n * p for p in possible.values()]
        assert stats.power_divergence(observed, expected, lambda_="log-likelihood").pvalue > LEAST_P


def test_temperature_zero_is_the_most_likely_character() -> None:
    """At temperature 0 every document is the greedy one, whatever the seed."""
    greedy: list[int] = []
    while len(greedy) < 7:
        row = Fixed.table[(sum(greedy) + len(greedy) + 1) % 3].tolist()
        if (token := row.index(max(row))) == 0:
            break
        greedy.append(token)
    assert draw_words(build(Fixed), 3, 7, 1, temperature=0) == [tuple(greedy)] * 3


def test_temperature_zero_breaks_ties_by_index() -> None:
    """Of equally likely characters the lowest is taken: here the boundary, so documents are empty."""
    assert draw_words(build(Flat), 3, 7, temperature=0) == [()] * 3


def test_top_k_breaks_ties_by_index() -> None:
    """Of three equally likely characters the two lowest stay: the boundary, a candidate, and 1."""
    words = draw_words(build(Flat), 400, 5, top_k=2)
    assert {character for word in words for character in word} == {1}
    assert {len(word) for word in words} == set(range(6))


def test_top_k_beyond_the_alphabet_drops_nothing() -> None:
    """A `top_k` of V or more changes no sample."""
    assert draw_words(build(Fixed), 50, 6, top_k=9) == draw_words(build(Fixed), 50, 6)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("top_k", [None, 3])
@pytest.mark.parametrize("uniform", [0.0, np.nextafter(1.0, 0.0)])
def test_what_has_no_probability_is_never_drawn(uniform: float, top_k: int | None, kind: type) -> None:
    """Characters of p = 0 are not drawn at either end of the unit interval."""
    with np.errstate(divide="ignore"):
        logits = np.log(np.array([[0.0, 0.3, 0.0, 0.7, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0]], kind))
    chosen = choose(logits, np.full(2, uniform), 1.0, top_k)
    assert chosen.tolist() == [1 if uniform == 0 else 3, 2]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [1e-300, 5e-324])
def test_a_tiny_temperature_takes_the_likeliest(temperature: float, kind: type) -> None:
    """Also one that is 0 in the precision of the model."""
    logits = np.log(np.array([[0.2, 0.5, 0.3]], kind))
    assert choose(logits, np.array([0.99]), temperature, None).tolist() == [1]


def test_a_prompt_starts_every_document() -> None:
    """The prompt is part of the document and of its length."""
    words = draw_words(build(Fixed), 200, 4, prompt=(2, 1, 1))
    assert {word[:3] for word in words} == {(2, 1, 1)}
    assert {len(word) for word in words} == {3, 4}


def test_a_prompt_as_long_as_the_limit_comes_back_alone() -> None:
    """Nothing is added to a prompt that fills the limit, and nothing cut from a longer one."""
    for limit in (3, 2, 0):
        assert draw_words(build(Fixed), 2, limit, prompt=(2, 1, 1)) == [(2, 1, 1)] * 2


def test_a_document_is_cut_at_the_limit() -> None:
    """A document that has not ended stops at `max_length` characters."""

    class Endless(Fixed):
        table = np.array([[0.0, 0.5, 0.5]] * 3)

    assert {len(word) for word in draw_words(build(Endless), 50, 6)} == {6}


def test_samples_are_arrays_without_boundaries() -> None:
    """`sample` gives n int64 vectors of characters."""
    drawn = build(Fixed).sample(300, 5, np.random.default_rng(0))
    assert len(drawn) == 300
    assert {(document.dtype, document.ndim) for document in drawn} == {(np.dtype(np.int64), 1)}
    assert not any((document == 0).any() for document in drawn)


def test_a_seed_gives_its_samples_again() -> None:
    """Equal seeds draw equal documents, other seeds others; the global generators have no part in it."""
    np.random.seed(1)
    once = draw_words(build(Fixed), 30, 8, 4)
    np.random.seed(2)
    assert draw_words(build(Fixed), 30, 8, 4) == once
    assert draw_words(build(Fixed), 30, 8, 5) != once


def test_one_document_does_not_move_another() -> None:
    """Where some documents end early, the others are drawn as if they had not."""
    flat, short = (draw_words(build(kind), 200, 8, 3) for kind in (Flat, ShortA))
    others = [i for i, word in enumerate(flat) if word[:1] != (1,)]
    assert 50 < len(others) < 190
    assert [short[i] for i in others] == [flat[i] for i in others]


def test_documents_are_independent() -> None:
    """Neighbours in a batch share no luck: a chi-square test of their first two characters."""
    words = [(*word, 0, 0)[:2] for word in draw_words(build(Fixed), 20_000, 2, 8)]
    kinds = {word: i for i, word in enumerate(sorted(set(words)))}
    pairs = np.zeros((len(kinds), len(kinds)))
    for left, right in zip(words[::2], words[1::2], strict=True):
        pairs[kinds[left], kinds[right]] += 1
    assert stats.chi2_contingency(pairs).pvalue > LEAST_P


@pytest.mark.parametrize("options", [{"temperature": -0.1}, {"top_k": 0}])
def test_impossible_sampling_options_are_refused(options: Mapping[str, object]) -> None:
    """A negative temperature and a `top_k` below 1 are errors."""
    with pytest.raises(ValueError, match="temperature must be 0 or more and top_k at least 1"):
        draw_words(build(Fixed), 1, 3, **options)


# ---- Trial


@dataclasses.dataclass
class Clock:
    """A clock that stands still until it is told to move."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def stopped_trial(clock: Clock, seconds_a_checkpoint: float, **budget: float) -> Trial:
    """A trial whose checkpoints take some seconds of the clock and say 2.5 nats."""

    def measure(model: Model) -> float:
        clock.now += seconds_a_checkpoint
        return 2.5

    return Trial(clock=clock, on_checkpoint=measure, **budget)


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_a_budget_of_steps_is_spent_to_the_step(steps: int) -> None:
    """`should_stop` says no exactly `steps` times, then yes for good."""
    trial = Trial(steps=steps)
    assert [trial.should_stop() for _ in range(steps + 3)] == [False] * steps + [True] * 3


def test_a_budget_of_seconds_ends_on_the_second() -> None:
    """`should_stop` is true from the budget on, however often it was asked."""
    clock = Clock()
    trial = Trial(seconds=2.0, clock=clock)
    answers = []
    for now in (1000.0, 1000.5, 1001.999, 1002.0, 1003.0):
        clock.now = now
        answers.append(trial.should_stop())
    assert answers == [False, False, False, True, True]


def test_without_a_budget_nothing_stops() -> None:
    """No seconds and no steps are no bound."""
    clock = Clock()
    trial = Trial(clock=clock)
    trial.should_stop()
    clock.now += 1e9
    assert not any(trial.should_stop() for _ in range(1000))


def test_the_clock_starts_with_the_fit() -> None:
    """Time between the making of a trial and its first question is not the fit's."""
    clock = Clock()
    trial = Trial(seconds=1.0, clock=clock)
    clock.now += 60
    assert trial.elapsed() == 0
    clock.now += 0.25
    assert trial.elapsed() == 0.25


def test_a_checkpoint_stops_the_clock() -> None:
    """The seconds of a checkpoint are not the fit's; they are kept apart."""
    clock = Clock()
    trial = stopped_trial(clock, 0.5, steps=10)
    for _ in range(2):
        clock.now += 3
        trial.checkpoint(build(Fixed))
    assert (trial.elapsed(), trial.stopped_clock) == (3, 1)  # the first question starts the clock


def test_a_checkpoint_that_breaks_stops_the_clock_too() -> None:
    """The seconds of a measurement that raises are not the fit's either."""
    clock = Clock()

    def break_down(model: Model) -> float:
        clock.now += 5
        raise ZeroDivisionError

    trial = Trial(clock=clock, on_checkpoint=break_down)
    with pytest.raises(ZeroDivisionError):
        trial.checkpoint(build(Fixed))
    assert (trial.elapsed(), trial.stopped_clock) == (0, 5)


def test_checkpoints_beyond_a_tenth_count_against_seconds() -> None:
    """Of a wall-clock budget a tenth is free for checkpoints; what they take beyond it is spent."""
    clock = Clock()
    trial = stopped_trial(clock, 1.0, seconds=10.0)
    trial.should_stop()
    trial.checkpoint(build(Fixed))
    clock.now += 7.5
    assert not trial.should_stop()  # 7.5 s of fitting; 1 s of checkpoints is a tenth
    trial.checkpoint(build(Fixed))
    trial.checkpoint(build(Fixed))
    clock.now += 0.75
    assert trial.should_stop()  # 8.25 s of fitting and 2 s of checkpoints beyond the tenth


def test_a_checkpoint_measures_the_model_it_is_given() -> None:
    """`checkpoint` hands on the model and gives back its dev NLL."""
    seen = []

    def measure(model: Model) -> float:
        seen.append(model)
        return 2.5

    model = build(Fixed)
    assert Trial(on_checkpoint=measure).checkpoint(model) == 2.5
    assert seen == [model]


def test_a_bare_trial_can_neither_measure_nor_build() -> None:
    """Without their callbacks `checkpoint` and `build` say which one is missing."""
    with pytest.raises(RuntimeError, match="on_checkpoint"):
        Trial().checkpoint(build(Fixed))
    with pytest.raises(RuntimeError, match="on_build"):
        Trial().build("gru", "a")


def test_build_asks_the_harness() -> None:
    """`build` hands on the selection and the name."""
    asked = []

    def make(selection: str, name: str) -> Model:
        asked.append((selection, name))
        return model

    model = build(Fixed)
    assert Trial(on_build=make).build("gru:hidden=256", "a") is model
    assert asked == [("gru:hidden=256", "a")]


def test_spent_grows_with_the_steps() -> None:
    """During step i of n the share (i − 1) / n is spent, for schedules that end at 0."""
    trial = Trial(steps=4)
    shares = [trial.spent()]
    while not trial.should_stop():
        shares.append(trial.spent())
    assert [*shares, trial.spent()] == [0, 0, 0.25, 0.5, 0.75, 1]


def test_spent_grows_with_the_seconds() -> None:
    """Of a budget of seconds the share is the fit's own time, never above 1."""
    clock = Clock()
    trial = stopped_trial(clock, 0.4, seconds=4.0)
    shares = [trial.spent()]
    for passed in (1.0, 2.0, 7.0):
        clock.now += passed
        trial.checkpoint(build(Fixed))
        shares.append(trial.spent())
        if len(shares) == 2:
            trial.on_checkpoint = lambda model: 2.5
    assert shares == [0, 0.25, 0.75, 1]


def test_without_a_budget_nothing_is_spent() -> None:
    """No budget, no share."""
    trial = Trial()
    trial.should_stop()
    trial.should_stop()
    assert trial.spent() == 0


@pytest.mark.parametrize("most", [1, 2, 3, 4, 7, 50])
def test_shares_are_what_step_by_step_is_spent(most: int) -> None:
    """Asked at once, as many steps are allowed, with the same shares, as by `should_stop` and `spent`."""
    one, many = Trial(steps=7), Trial(steps=7)
    expected, found = [], []
    while not one.should_stop():
        expected.append(one.spent())
    while shares := many.shares(most):
        assert len(shares) <= most
        found += shares
    assert found == expected
    assert (many.spent(), many.shares(most), many.should_stop()) == (1, [], True)


def test_shares_of_seconds() -> None:
    """All steps of one question have the share of that moment; from the budget on there are none."""
    clock = Clock()
    trial = Trial(clock=clock, seconds=4.0)
    assert trial.shares(2) == [0, 0]
    clock.now += 1
    assert trial.shares(3) == [0.25, 0.25, 0.25]
    clock.now += 3
    assert trial.shares(3) == []


def test_shares_of_two_budgets_and_of_none() -> None:
    """The budget that is nearer to its end counts; without one every step is allowed."""
    clock = Clock()
    trial = Trial(clock=clock, seconds=4.0, steps=8)
    trial.shares(1)
    clock.now += 1
    assert trial.shares(3) == [0.25, 0.25, 0.375]
    assert Trial().shares(3) == [0, 0, 0]


@pytest.mark.parametrize(
    "budget", [{"steps": 0}, {"steps": 3}, {"seconds": 0.0}, {"seconds": 2.0}, {"steps": 3, "seconds": 100.0}]
)
def test_all_is_spent_when_the_fit_should_stop(budget: dict[str, float]) -> None:
    """Whichever budget ends the fit, a schedule has come to its end with it."""
    clock = Clock()
    trial = Trial(clock=clock, **budget)
    while not trial.should_stop():
        clock.now += 0.5
    assert trial.spent() == 1


def test_progress_is_kept_and_passed_on() -> None:
    """`progress` keeps the targets consumed and tells the harness, scalars and all."""
    told = []
    trial = Trial(on_progress=lambda done, total, scalars: told.append((done, total, dict(scalars))))
    trial.progress(64, 1000, loss=2.5)
    trial.progress(128, 1000)
    assert told == [(64, 1000, {"loss": 2.5}), (128, 1000, {})]
    assert trial.targets_consumed == 128


# ---- specs


def test_what_a_spec_says_may_depend_on_the_configuration() -> None:
    """Context, steps and the need for dev are values or functions of the configuration."""
    fixed = ModelSpec("a", {}, context=3, steps=200, uses_dev=True)
    free = ModelSpec(
        "b",
        {},
        context=lambda config: config["n"],
        steps=lambda config: 10 * config["n"],
        uses_dev=lambda config: config["n"] > 4,
    )
    for n in (4, 5):
        config = {"n": n}
        assert (fixed.context_of(config), fixed.steps_of(config), fixed.uses_dev_of(config)) == (3, 200, True)
        assert (free.context_of(config), free.steps_of(config), free.uses_dev_of(config)) == (
            n,
            10 * n,
            n > 4,
        )


def test_what_a_backend_requires() -> None:
    """Requirements hold for all backends, or for the one that they are named for."""
    assert ModelSpec("a", {}, requires=("scipy",)).requires_of("torch") == ("scipy",)
    by_backend = ModelSpec("a", {}, requires={"torch": ("torch",)})
    assert (by_backend.requires_of("torch"), by_backend.requires_of("numpy")) == (("torch",), ())


def test_the_defaults_of_a_spec_are_the_contracts() -> None:
    """A spec of a name and backends promises what CONTRACT 1 says it does."""
    spec = ModelSpec("a", {"numpy": Fixed})
    assert (spec.config, spec.presets, spec.words, spec.requires) == ({}, {}, {}, ())
    assert (spec.tolerance, spec.deterministic, spec.stochastic, spec.vectorised) == (1e-4, True, None, False)
    assert (spec.context_of({}), spec.steps_of({}), spec.uses_dev_of({})) == (None, None, False)


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec("a", {}),
        DatasetSpec("a", list, alphabet="ab", licence="CC0-1.0", source="here"),
    ],
)
def test_a_spec_cannot_be_changed(spec: ModelSpec | DatasetSpec) -> None:
    """What was registered stays as it was registered."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.name = "b"  # type: ignore[misc]
