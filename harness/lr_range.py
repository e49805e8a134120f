"""The learning-rate range test (Smith 2015; makemore part 2), measured by short fits.

The lecture raises the rate at every step of one run and plots the loss of each batch. Here every rate
has a short fit of its own, from one seed, and the harness measures its dev NLL: docs/decisions/0010.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.fit import Budget
from harness.plan import Cell, Plan, Search
from harness.record import Record
from harness.seeds import derive
from harness.space import Range, parse, three_digits
from harness.tune import Tuning, chosen, first_free

KEY = "learning_rate"
BELOW, ABOVE = 100, 10  # the lecture's three decades around its rate of 0.1: 10^-3 to 10^0
FEWEST = 5  # rates below which there is no curve
SHARE, LEAST, MOST = 20, 20, 1000  # steps of a fit: a twentieth of the model's own, 20 to 1,000
WIDTH = 0.1  # decades: standard deviation of the smoothing
Floats = NDArray[np.float64]


@dataclass(eq=False)
class Sweep(Tuning):
    """A search whose points are known before: one rate after the other, all from one seed."""

    rates: Sequence[float] = ()

    def axes(self) -> list[dict[str, str]]:
        """One row: the rates."""
        return [{"option": KEY, "rates": " ".join(f"{rate:g}" for rate in self.rates)}]

    def following(self, records: Sequence[Record]) -> Cell | None:
        """The fit at the next rate; None at the end."""
        if len(records) < len(self.rates) and self.over(records):
            self.ended = f"{self.seconds:g} s are over"
            return None
        return super().following(records)

    def point(self, records: Sequence[Record]) -> dict[str, bool | int | float | str] | None:
        """The rate of the next trial."""
        return {KEY: self.rates[first_free(records)]}

    def cell(self, index: int, point: dict[str, bool | int | float | str]) -> Cell:
        """The trial, with the seed that all share: the rates differ in nothing else."""
        return replace(super().cell(index, point), seed=derive("lr-range", self.base.label, self.seed))


def prepare(
    made: Plan, model: str, space: str | None, *, trials: int, seconds: float | None = None, seed: int = 0
) -> Sweep:
    """A plan of one model, made into a sweep over its learning rate; a mistake is a `UsageError`."""
    base, fixed = chosen(made, model)
    spec, rate = base.spec, base.config.get(KEY)
    steps = spec.steps_of(base.config)
    if not isinstance(rate, float) or steps is None:
        raise UsageError(f"--lr-range needs a model that trains by steps at a {KEY}; {spec.name} does not")
    axes = {KEY: whole_range(rate)} if space is None else parse(space, base, fixed - {KEY})
    axis = axes.get(KEY)
    if len(axes) > 1 or not isinstance(axis, Range) or axis.low <= 0:
        raise UsageError(f"--lr-range varies the rate alone, from above 0: --space {KEY}=1e-3..1e0")
    if trials < FEWEST:
        raise UsageError(f"--lr-range needs at least {FEWEST} rates, not --trials {trials}")
    if "constant" in spec.words.get("schedule", ()):
        base = replace(base, config=dict(base.config) | {"schedule": "constant"})
    if made.budget == Budget():
        made.budget = Budget(steps=min(max(steps // SHARE, LEAST), MOST))
    found = [three_digits(x) for x in np.geomspace(axis.low, axis.high, trials).tolist()]
    sweep = Sweep(made, base, {KEY: axis}, trials, seconds, seed, rates=found)
    made.search = Search(
        f"learning-rate range of {base.label}: {axis} in {trials}, seed {seed}", sweep.following
    )
    made.split_for(base)  # anew, without test
    return sweep


def whole_range(rate: float) -> Range:
    """From a hundredth to ten times the model's own rate."""
    return Range(three_digits(rate / BELOW), three_digits(rate * ABOVE), log=True)


@dataclass(frozen=True, eq=False)
class Curve:
    """Dev NLL over learning rates, and what is to be read off it."""

    rates: Floats  # (N,) ascending
    nll: Floats  # (N,) nats per character; inf where the fit diverged
    ceiling: float  # what is above it is drawn, and smoothed, as standing there
    smooth: Floats  # (N,)
    minimum: int  # of the smoothed curve
    steepest: int | None  # where it falls fastest; None where it does not fall

    @property
    def suggested(self) -> float:
        """The rate of the minimum, to two digits."""
        return float(f"{self.rates[self.minimum]:.2g}")

    @property
    def at_edge(self) -> str | None:
        """Which end of the range the minimum is at, if it is: the best rate may lie beyond."""
        return {0: "lowest", len(self.rates) - 1: "highest"}.get(self.minimum)


def read(records: Sequence[Record], vocabulary: int) -> Curve:
    """The curve of a sweep; `UsageError` where not a single fit has a dev NLL."""
    order = sorted(records, key=lambda record: float(record.config[KEY]))
    rates = np.array([float(record.config[KEY]) for record in order])
    found = [record.metrics.dev_nll for record in order]
    nll = np.array([math.inf if value is None else value for value in found])
    finite = nll[np.isfinite(nll)]
    if not len(finite):
        raise UsageError(f"no rate gave a model with a dev NLL: {order[0].status}, {order[0].reason}")
    # worse than knowing nothing, and than where the lowest rate has come, is all one
    ceiling = 1.1 * max(math.log(vocabulary), float(finite[0]))
    smooth = smoothed(np.minimum(nll, ceiling), np.log10(rates))
    minimum = int(smooth.argmin())
    slope = np.gradient(smooth, np.log10(rates))[: minimum + 1]  # nats per decade
    steepest = int(slope.argmin()) if slope.min() < 0 else None
    return Curve(rates, nll, ceiling, smooth, minimum, steepest)


def smoothed(values: Floats, decades: Floats) -> Floats:
    """Means over a Gaussian of a tenth of a decade, (N,) at (N,): neighbours that are far count little."""
    apart = (decades[:, None] - decades) / WIDTH  # (N, N)
    weights = np.exp(-0.5 * apart**2)
    result: Floats = weights @ values / weights.sum(axis=1)
    return result
