"""The training loop of whatever takes many steps in a call, for one seed or several as one problem."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness import Diverged, Model, Trial
from harness.contract import Ints
from harness.torch_model import TorchModel
from harness_plugins.pace import Pace
from harness_plugins.training import Curve

READ_EVERY = 100  # steps: reading the loss waits for the device


class Stepper(Protocol):
    """R seeds in training."""

    done: Ints  # (R,) targets that each has consumed

    def steps(self, spent: Sequence[float]) -> list[float]:
        """A step at each of these shares of the budget; the last batch's mean NLL of each seed."""

    def params(self) -> list[dict[str, NDArray[Any]]]:
        """Those of each seed."""


def train_ahead(
    stacks: Sequence[Stepper], models: Sequence[Model], curve: Curve, trials: Sequence[Trial]
) -> list[dict[str, NDArray[Any]]]:
    """Parameters after the budget: each stack in a thread of its own, all at the same step at a checkpoint.

    models: one a seed, to be measured there. A seed whose loss is no longer finite is carried along,
    and does not touch the others; `Diverged` where none is left.
    """
    first, pace = trials[0], Pace(trials[0], 1)
    most = READ_EVERY if first.seconds is None else 1
    taken, ahead, losses = 0, list[float](), list[float]()  # steps; shares of the budget at those to come

    def advance() -> None:
        nonlocal taken, ahead, losses, most
        shares, ahead = ahead, []
        taken += len(shares)
        each = pool.map if len(stacks) > 1 else map
        losses = [loss for found in each(lambda stack: stack.steps(shares), stacks) for loss in found]
        if not any(map(math.isfinite, losses)):
            others = ", and so with every seed" if len(trials) > 1 else ""
            raise Diverged(f"loss is {losses[0]} after {taken} steps{others}")
        if first.seconds is not None:  # a schedule and the end by the clock: hundredths of a second at once
            most = min(READ_EVERY, pace.steps())

    def tell() -> None:
        done = np.concatenate([stack.done for stack in stacks])
        for trial, targets, loss in zip(trials, done, losses, strict=True):
            shown = {"loss": loss} if math.isfinite(loss) else {}
            trial.progress(targets, targets * (trial.steps or 0) // taken, **shown)

    def point() -> None:
        for model, params in zip(models, parameters(stacks), strict=True):
            model.params = params
        curve.point(models[0])
        for model, trial in zip(models[1:], trials[1:], strict=True):
            trial.checkpoint(model)

    with ThreadPoolExecutor(len(stacks)) as pool:
        while not first.should_stop():
            due = curve.due()
            if ahead and (due or len(ahead) >= most or (taken + len(ahead)) % READ_EVERY == 0):
                advance()
                if taken % READ_EVERY == 0 or first.seconds is not None:
                    tell()
            if due:
                point()
            ahead.append(first.spent())
        if ahead:
            advance()
    if taken:
        tell()
    if curve.due(finished=True):
        point()
    return parameters(stacks)


def parameters(stacks: Sequence[Stepper]) -> list[dict[str, NDArray[Any]]]:
    """Those of every seed in turn."""
    return [params for stack in stacks for params in stack.params()]


def kept(model: TorchModel) -> list[dict[str, NDArray[Any]]]:
    """The parameters of the one model that is trained, as they are now."""
    model.keep()
    return [model.params]
