"""Fitting, and its clock: warm-up, training, checkpoints, the learning curve."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.contract import Model, Trial
from harness.corpus import Corpus
from harness.errors import Diverged, InvalidModel
from harness.seeds import seed_everything

WARM_UP_DOCUMENTS = 64
WARM_UP_CHARACTERS = 4096  # of running text, which is one document


@dataclass(frozen=True)
class Budget:
    """What a fit may spend; both None is the spec's own default."""

    steps: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        if self.seconds is not None:
            return f"{self.seconds:g}s"
        return f"{self.steps}steps" if self.steps is not None else "default"


@dataclass(eq=False)
class Fitted:
    """A fitted model and what it took (seconds; the curve: train seconds, dev NLL)."""

    model: Model
    warmup_s: float
    train_s: float
    checkpoint_s: float
    targets_consumed: int
    claimed: bool  # whether `targets_consumed` rests on the plugin's word
    over_budget: bool
    curve: list[tuple[float, float]] = field(default_factory=list)


def fit(
    make: Callable[[], Model],
    train: Corpus,
    dev: Corpus,
    trial: Trial,
    dev_nll: Callable[[Model], float],
    clock: Callable[[], float] = time.perf_counter,
) -> Fitted:
    """Warm up a throw-away instance, then fit a new one; `dev_nll` answers its checkpoints.

    Raises `Diverged` where a parameter is not finite afterwards, and whatever the plugin raises.
    """
    seed_everything(trial.seed)
    before = clock()
    throw_away = make()
    trial.on_build = throw_away.builder
    throw_away.warm_up(few(train), trial.for_warm_up(train.alphabet.size))
    warmup_s = clock() - before

    seed_everything(trial.seed)
    model = make()
    trial.on_build = model.builder
    curve: list[tuple[float, float]] = []

    def checkpoint(current: Model) -> float:
        at = trial.elapsed()
        try:
            nll = dev_nll(current)
        except InvalidModel:
            must_be_finite(current.params, "at a checkpoint")  # rows of a fit that has diverged
            raise
        curve.append((at, nll))
        return nll

    trial.on_checkpoint = checkpoint
    trial.started = None
    before = clock()
    trial.elapsed()
    model.fit(train, dev, trial)
    train_s = clock() - before - trial.stopped_clock
    must_be_finite(model.params)
    over = trial.seconds is not None and train_s > 1.1 * trial.seconds
    return Fitted(
        model,
        warmup_s,
        train_s,
        trial.stopped_clock,
        trial.targets_consumed or train.targets,
        bool(trial.targets_consumed),
        over,
        curve,
    )


@dataclass(eq=False)
class FittedSeeds:
    """What R seeds took that were trained as one problem (seconds of all), and what each came to.

    curves: by seed, (train seconds ÷ R, dev NLL).
    """

    params: Sequence[dict[str, Any]]
    warmup_s: float
    train_s: float
    checkpoint_s: Sequence[float]
    targets_consumed: Sequence[int]
    claimed: bool
    curves: Sequence[list[tuple[float, float]]]

    def seed(self, number: int, model: Model) -> Fitted:
        """One of them as a fit of its own, on its share of the seconds; `model` gets its parameters.

        Raises `Diverged` where one is not finite.
        """
        model.params = self.params[number]
        must_be_finite(model.params)
        r = len(self.params)
        return Fitted(
            model,
            self.warmup_s / r,
            self.train_s / r,
            self.checkpoint_s[number],
            self.targets_consumed[number],
            self.claimed,
            False,
            self.curves[number],
        )


def fit_seeds(
    make: Callable[[], Model],
    train: Corpus,
    dev: Corpus,
    trials: Sequence[Trial],
    dev_nll: Callable[[Model], float],
    clock: Callable[[], float] = time.perf_counter,
) -> FittedSeeds:
    """As `fit`, for trials that differ in their seeds alone, trained as one problem (`Model.fit_seeds`).

    The clock stands still while any of them is at a checkpoint. `make` makes an instance of the first seed.
    """
    seed_everything(trials[0].seed)
    before = clock()
    throw_away = make()
    trials[0].on_build = throw_away.builder
    throw_away.warm_up(few(train), trials[0].for_warm_up(train.alphabet.size))
    warmup_s = clock() - before

    model = make()
    curves: list[list[tuple[float, float]]] = [[] for _ in trials]
    before = clock()

    def at_checkpoints(number: int) -> Callable[[Model], float]:
        def checkpoint(current: Model) -> float:
            at = (clock() - before - sum(trial.stopped_clock for trial in trials)) / len(trials)
            try:
                nll = dev_nll(current)
            except InvalidModel:
                if not_finite(current.params) is None:
                    raise
                nll = math.inf  # this seed has diverged: the others go on
            curves[number].append((at, nll))
            return nll

        return checkpoint

    for number, trial in enumerate(trials):
        trial.on_build = model.builder
        trial.on_checkpoint = at_checkpoints(number)
        trial.started = None
    params = model.fit_seeds(train, dev, trials)
    stopped = [trial.stopped_clock for trial in trials]
    train_s = clock() - before - sum(stopped)
    if len(params) != len(trials):
        raise InvalidModel(f"fit_seeds returned {len(params)} models for {len(trials)} seeds")
    consumed = [trial.targets_consumed for trial in trials]
    return FittedSeeds(
        params,
        warmup_s,
        train_s,
        stopped,
        [targets or train.targets for targets in consumed],
        all(consumed),
        curves,
    )


def must_be_finite(params: Mapping[str, Any], when: str = "after training") -> None:
    """Raise `Diverged` where a parameter is not finite."""
    if bad := not_finite(params):
        raise Diverged(f"parameter {bad!r} is not finite {when}")


def few(train: Corpus) -> Corpus:
    """The first 64 training documents (of running text, the first 4,096 characters)."""
    if train.kind == "lines":
        return train.take(np.arange(min(WARM_UP_DOCUMENTS, len(train))))
    tokens = train.tokens[: WARM_UP_CHARACTERS + 1]
    return Corpus(tokens, np.array([0, len(tokens) - 1]), train.alphabet, train.kind)


def not_finite(params: Mapping[str, Any]) -> str | None:
    """The first floating parameter that holds NaN or an infinity."""
    for name, value in params.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
            kind = getattr(value, "dtype", type(value).__name__)
            raise InvalidModel(f"params[{name!r}] is of {kind}, not a numpy array of bool, int or float")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return name
    return None
