"""What networks with a window share in training: batches, the learning rate, the learning curve."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from harness import Corpus, Model, Trial
from harness.contract import Config, Ints

DRAWN_AHEAD = 1000  # batches that are drawn at once
POINTS = 8  # of a learning curve


def window_batches(train: Corpus, size: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Endless batches (size,) of positions in the training text, with replacement as in the lecture."""
    while True:
        yield from rng.integers(0, train.targets, (DRAWN_AHEAD, size))


def document_batches(train: Corpus, size: int, context: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Endless batches of all positions of `size` documents, drawn with replacement as in makemore.py.

    Running text has one document: there, `context` positions in a row stand for one.
    """
    offsets = train.offsets
    if train.kind == "text":
        offsets = np.append(np.arange(0, train.targets, context), train.targets)
    while True:
        for chosen in rng.integers(0, len(offsets) - 1, (DRAWN_AHEAD, size)):
            first, length = offsets[chosen], offsets[chosen + 1] - offsets[chosen]
            before = np.cumsum(length) - length  # positions of the batch that come earlier
            yield np.arange(length.sum()) + np.repeat(first - before, length)


def learning_rate(config: Config, spent: float, falls_at: float = 0.5) -> float:
    """The rate after a share `spent` of the budget: a tenth from `falls_at` on, as in the lectures…"""
    rate: float = config["learning_rate"]
    if config["schedule"] == "step":
        return rate if spent < falls_at else rate / 10
    if config["schedule"] == "cosine":  # … or half a cosine down to a hundredth
        return rate * (0.01 + 0.99 * (1 + math.cos(math.pi * spent)) / 2)
    return rate


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
        return nll
