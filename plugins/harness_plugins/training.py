"""What all networks share in training: the learning rate, the learning curve, which point to keep."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness import Corpus, Model, Trial
from harness.contract import Config

POINTS = 8  # of a learning curve

Params = Mapping[str, "NDArray[np.generic]"]


def learning_rate(config: Config, spent: float, falls_at: float = 0.5) -> float:
    """The rate after a share `spent` of the budget, 0 to 1.

    After a linear rise over the share `warmup`, where a model has one: `step`, a tenth from `falls_at`
    on, as in the lectures; `cosine`, half a cosine down to a hundredth; `linear`, down to zero; `constant`.
    """
    rate: float = config["learning_rate"]
    warmup, schedule = config.get("warmup", 0.0), config["schedule"]
    if spent < warmup:
        return float(rate * (0.02 + 0.98 * spent / warmup))
    if schedule == "step":
        return rate if spent < falls_at else rate / 10
    if schedule == "cosine":
        return float(rate * (0.01 + 0.99 * (1 + math.cos(math.pi * spent)) / 2))
    return rate * (1 - spent) if schedule == "linear" else rate


class Curve:
    """Dev NLL at equal shares of the budget and at the end, by `trial.checkpoint`.

    There is none without a budget or without dev. The clock stands still in a checkpoint only for
    a tenth of a budget in seconds: a point that would cost more than is left of that is left out. Before
    the first, scoring dev is taken to be as slow as training on it was. Of a budget in steps the points
    together score no more targets than training has read.
    """

    def __init__(self, trial: Trial, dev: Corpus) -> None:
        self.trial = trial
        bounded = trial.steps is not None or trial.seconds is not None
        self.wanted = bounded and dev.targets > 0 and trial.on_checkpoint is not None
        self.targets = dev.targets
        self.passed = 0  # shares of the budget that lie behind the last point
        self.made = 0  # points
        self.best: tuple[float, Params] = (math.inf, {})  # the least dev NLL, and the parameters that have it
        self.cost = 0.0  # of the last one, in seconds

    def due(self, *, finished: bool = False) -> bool:
        """Whether a point is to be set now; `finished`: after the last step."""
        trial = self.trial
        if not self.wanted:
            return False
        if finished:  # a curve of one point says no more than the final NLL
            return self.made > 0 or (trial.seconds is None and self.affordable())
        return trial.spent() * POINTS >= self.passed + 1 and self.affordable()

    def affordable(self) -> bool:
        """Whether one more point is within what a curve may cost; unknown is taken for nothing."""
        trial = self.trial
        cost, consumed = self.cost, trial.targets_consumed
        if trial.seconds is None:
            return not consumed or self.targets * (self.made + 1) <= consumed
        if not cost and consumed:
            cost = trial.elapsed() * self.targets / consumed
        return trial.stopped_clock + cost <= 0.1 * trial.seconds

    def point(self, model: Model) -> float:
        """Dev NLL of the model as it stands; its `params` must be current."""
        self.passed = int(self.trial.spent() * POINTS)
        self.made += 1
        before = self.trial.stopped_clock
        nll = self.trial.checkpoint(model)
        self.cost = self.trial.stopped_clock - before
        if nll <= self.best[0]:  # of equals the one that was trained longer
            self.best = nll, model.params
        return nll
