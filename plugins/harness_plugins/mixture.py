"""Mixtures: p(w | h) = Σ λₖ(|h|) pₖ(w | h), the weights by EM on dev (Jelinek & Mercer 1980).

The weights depend on how long the history is, since members differ in how soon they know better. Members
are trained within the mixture's own budget: those without steps (counting) first, then the others, as
many side by side as there are threads, a process of one thread each. Dev fits the weights, and nothing
else here; with `weights=held-out` a tenth of train does (it stops the networks too), and counting then
counts all of train.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Corpus, Model, Trial, evaluate
from harness.contract import Floats, Ints
from harness.environment import threads_here
from harness.errors import UsageError
from harness_plugins.held_out import hold_out
from harness_plugins.side_by_side import Report, side_by_side
from harness_plugins.specs.mixtures import members

Array = NDArray[np.float64]
Params = dict[str, NDArray[Any]]

PRIOR = 20  # targets that the common weights count for at each position
RESERVED = 0.04  # of a budget in seconds: to score dev by each member and to fit the weights


class Mixture(Model):
    """Members, and the logarithms of their weights by position in `params["weights"]` (positions, K)."""

    _members: list[Model] | None = None
    _loaded: Mapping[str, NDArray[np.generic]] | None = None

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Train the members, then weigh them."""
        held_out = self.config["weights"] == "held-out"
        taught, judge = hold_out(train) if held_out else (train, dev)
        if held_out and not (taught.targets and judge.targets):
            raise UsageError("weights=held-out needs ten training documents (or characters) at least")
        if not judge.targets:
            raise UsageError("mixture needs a dev part for its weights; weights=held-out takes it from train")
        parts = [trial.build(text, str(k)) for k, text in enumerate(members(self.config))]
        progress = Together(trial)
        scores: dict[int, Array] = {}

        def fit(part: Model, corpora: tuple[Corpus, Corpus], seconds: float | None, report: Report) -> None:
            threads = trial.threads if part in counting or beside == 1 else 1
            own = Trial(
                int(part.rng.integers(2**31)),
                part.device,
                threads,
                seconds=seconds,
                steps=None if seconds else trial.steps or part.default_steps,
                on_progress=report,
                on_checkpoint=lambda model: float(evaluate.score_targets(model, judge, None).mean()),
                on_build=part.builder,
                clock=trial.clock,
                free=0.0,  # no clock stands still inside this one
            )
            with threads_here(threads):
                part.fit(*corpora, own)

        def learn(part: Model, seconds: float | None, report: Report) -> tuple[Params, Array]:
            fit(part, (taught, judge), seconds, report)
            return part.params, scored(part)

        def scored(part: Model) -> Array:
            with threads_here(1):  # the weights follow to the last bit, whatever the number of threads
                return -evaluate.score_targets(part, judge, None)

        counting = [part for part in parts if part.default_steps is None and not isinstance(part, Mixture)]
        stepping = [part for part in parts if part not in counting]
        beside = max(1, min(len(stepping), trial.threads))
        began = trial.elapsed()
        for part in counting:
            fit(part, (taught, judge), left(trial), progress.of(part))
        again = trial.elapsed() - began if held_out else 0.0
        rounds = [stepping[first : first + beside] for first in range(0, len(stepping), beside)]
        for index, some in enumerate(rounds):
            remaining = left(trial, again)
            share = None if remaining is None else remaining / (len(rounds) - index)
            with threads_here(trial.threads):  # of members in threads each puts back what another has set
                learned = side_by_side(
                    [partial(learn, part, share) for part in some],
                    [progress.of(part) for part in some],
                    all(part.device == "cpu" for part in some),
                )
            for part, (params, found) in zip(some, learned, strict=True):
                part.params, scores[id(part)] = params, found
        for part in counting:
            scores[id(part)] = scored(part)
        with threads_here(1):
            weights = weigh([scores[id(part)] for part in parts], judge, self.config["positions"])
        self.params = {"weights": weights}
        for part in counting if held_out else ():  # dev: for one that asks for it itself
            fit(part, (train, dev), left(trial), progress.of(part))
        for k, part in enumerate(parts):
            self.params |= {f"{k}/{name}": value for name, value in part.params.items()}
        self._members, self._loaded = parts, self.params

    @property
    def parts(self) -> list[Model]:
        """The members; rebuilt where `params` were replaced."""
        if self._members is None or self._loaded is not self.params:
            if self.builder is None:
                raise RuntimeError("a mixture is rebuilt by the harness, which sets its builder")
            self._members = [self.builder(text, str(k)) for k, text in enumerate(members(self.config))]
            for k, part in enumerate(self._members):
                prefix = f"{k}/"
                own = {name: value for name, value in self.params.items() if name.startswith(prefix)}
                part.params = {name.removeprefix(prefix): value for name, value in own.items()}
            self._loaded = self.params
        return self._members

    def mixed(self, rows: list[Floats], age: Ints) -> Floats:
        """log Σ λₖ pₖ of the members' rows (B, T, V); age (T,): characters before each position's target."""
        weights = self.params["weights"]
        at = np.minimum(age, len(weights) - 1)
        stacked = np.stack(rows, axis=-1).astype(np.float64)  # (B, T, V, K)
        stacked += weights[at][:, None, :]
        result: Floats = np.logaddexp.reduce(stacked, axis=-1)
        return result

    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        age = np.arange(inputs.shape[1])
        return self.mixed([part.log_probs(inputs) for part in self.parts], age)

    def next_log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, V)."""
        rows = [part.next_log_probs(inputs)[:, None] for part in self.parts]  # (B, 1, V) each
        return self.mixed(rows, np.array([inputs.shape[1] - 1]))[:, 0]


class Together:
    """The progress of several fits as one."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.lock = threading.Lock()
        self.done: dict[int, int] = {}
        self.total: dict[int, int] = {}

    def of(self, part: Model) -> Report:
        """What is told of one member's trial."""

        def progress(done: int, total: int, scalars: Mapping[str, float]) -> None:
            with self.lock:  # members in threads
                self.done[id(part)], self.total[id(part)] = done, total
                self.trial.progress(sum(self.done.values()), sum(self.total.values()), **scalars)

        return progress


def left(trial: Trial, kept: float = 0.0) -> float | None:
    """Seconds of the budget that members may still use when some are kept for later."""
    if trial.seconds is None:
        return None
    return max(0.0, trial.seconds * (1 - RESERVED) - trial.elapsed() - kept)


def weigh(found: list[Array], judge: Corpus, positions: int) -> Array:
    """Log-weights (positions, K) that suit a corpus which no member has learned; found: each one's scores."""
    scores = np.stack(found, axis=1)  # (N, K)
    start = np.repeat(judge.offsets[:-1], judge.lengths)
    age = np.arange(judge.targets) - start  # (N,) characters before each target
    return weights_by_age(scores, age, positions)


def weights_by_age(scores: Array, age: Ints, positions: int) -> Array:
    """Log-weights (positions, K) of components with log-probabilities (N, K) after `age` (N,) characters.

    The last row is for all that are older. Each is held to the weights of the whole by as much as
    `PRIOR` targets would, so that a position that dev hardly has takes the common ones.
    """
    common = log_weights(scores)
    at = np.minimum(age, positions - 1)
    rows = [log_weights(scores[at == k], np.exp(common)) for k in range(positions)]
    return np.stack(rows) if positions > 1 else common[None]


def log_weights(scores: Array, prior: Array | None = None, iterations: int = 1000) -> Array:
    """EM for the weights of fixed components: log-probabilities of targets (N, K) -> log-weights (K,).

    Each round gives a component the mean share that it has in the targets' probability; the likelihood
    never falls, and it is concave in the weights, so the end is the best there is. `prior`: weights that
    count as much as `PRIOR` targets.
    """
    best = scores.max(axis=1, keepdims=True)
    p = np.exp(scores[best[:, 0] > -np.inf] - best[best[:, 0] > -np.inf])  # (N, K)
    count = scores.shape[1]
    weights = np.full(count, 1 / count) if prior is None else prior
    held = np.zeros(count) if prior is None else PRIOR * prior
    if not len(p):
        return np.log(weights)  # no member gives any target a chance: all weights are alike
    for _ in range(iterations):
        new = weights * (p.T @ (1 / (p @ weights))) + held  # Σ over targets of each one's share
        new /= new.sum()
        moved = np.abs(new - weights).max()
        weights = new
        if moved < 1e-9:
            break
    return np.log(np.maximum(weights, 1e-300))  # parameters are finite
