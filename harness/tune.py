"""A search on dev: each trial is a cell, and the next one follows from the records of those before.

The run file is all the memory that a search has. The sampler is made anew for every trial, from the
seed and the trial's number, and told what stands on record: a search that was interrupted proposes
what it would have proposed anyway. Test text is in no trial (`plan.Search`).
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.compare import Scores
from harness.errors import UsageError
from harness.plan import Cell, Plan, Search, seed_of
from harness.record import Record
from harness.seeds import derive
from harness.selection import Choice, cut, render, with_members
from harness.space import Range, Space, Value, default_space, parse, render_space, three_digits
from harness.statistics import LEVEL, Difference, holm, paired

Point = dict[str, Value]

GUIDED, ATTEMPTS = 10, 200  # proposals by TPE, then at random too, before a space counts as exhausted


@dataclass(eq=False)
class Tuning:
    """One search: what it varies, and when it ends."""

    made: Plan
    base: Choice
    space: Space
    trials: int
    seconds: float | None = None  # no trial begins after so many
    seed: int = 0
    clock: Callable[[], float] = time.monotonic
    ended: str | None = None  # why before all trials are done
    _until: float | None = field(default=None, init=False)

    def axes(self) -> list[dict[str, str]]:
        """One row an option that is varied."""
        own = self.base.config
        texts = {key: render_space({key: axis}).partition("=")[2] for key, axis in self.space.items()}
        return [{"option": key, "now": render(own[key]), "varied": text} for key, text in texts.items()]

    def following(self, records: Sequence[Record]) -> Cell | None:
        """The next trial, None at the end."""
        if len(records) >= self.trials:
            return None
        if records and all(record.status == "skipped" for record in records):
            self.ended = "this machine cannot run the model"
        elif self.over(records):
            self.ended = f"{self.seconds:g} s are over"
        elif (point := self.point(records)) is None:
            self.ended = "the space holds no other legal configuration"
        else:
            return self.cell(first_free(records), point)
        return None

    def over(self, records: Sequence[Record]) -> bool:
        """Whether the time of the search is used up; what is on record has used some of it."""
        if self.seconds is None:
            return False
        if self._until is None:
            self._until = self.clock() + self.seconds - sum(map(spent, records))
        return self.clock() >= self._until

    def point(self, records: Sequence[Record]) -> Point | None:
        """The model's own values first, where the space holds them: what is to be beaten. Then TPE's."""
        own = {key: self.base.config[key] for key in self.space}
        if not records and all(own[key] in axis for key, axis in self.space.items()):
            return own
        told = [({key: record.config[key] for key in self.space}, loss(record)) for record in records]
        tried = [point for point, _ in told]
        for attempt in range(ATTEMPTS):
            seed = derive("tune", self.seed, len(records), attempt) % 2**32
            point = propose(self.space, told, seed, guided=attempt < GUIDED)
            if point not in tried and self.illegal(point) is None:
                return point
        return None

    def illegal(self, point: Point) -> str | None:
        """What the model's spec says against a configuration."""
        check = self.base.spec.check
        return check(dict(self.base.config) | point) if check is not None else None

    def choice(self, point: Point) -> Choice:
        """The model at a point; where other models are its members, they may depend on it."""
        base, members = self.base, self.base.spec.members
        choice = replace(base, config=dict(base.config) | point, axes=base.axes | set(point))
        if members is None or members(choice.config) == members(base.config):
            return choice
        return with_members(self.made.registry, choice)

    def cell(self, index: int, point: Point) -> Cell:
        """The trial of a point, with the seed that `harness run` would give it."""
        choice = self.choice(point)
        return Cell(index, choice, 0, seed_of(self.made.dataset.name, self.made.method, choice, 0))


def prepare(
    made: Plan, model: str, space: str | None, *, trials: int, seconds: float | None = None, seed: int = 0
) -> Tuning:
    """A plan of one model, made into a search; a mistake is a `UsageError`."""
    if importlib.util.find_spec("optuna") is None:
        raise UsageError("tune needs optuna: pip install 'nextchar-harness[tune]'")
    base, fixed = chosen(made, model)
    axes = default_space(base, fixed) if space is None else parse(space, base, fixed)
    if not axes:
        raise UsageError(f"{base.label} has nothing that is tuned by default: name options with --space")
    tuning = Tuning(made, base, axes, trials, seconds, seed)
    for key, axis in axes.items():  # a member that does not exist is named now, not at its trial
        for value in axis if isinstance(axis, tuple) else ():
            tuning.choice({key: value})
    if tuning.point([]) is None:
        raise UsageError(f"--space {render_space(axes)} holds no configuration that {base.spec.name} accepts")
    made.search = Search(f"tune {base.label} over {render_space(axes)}, seed {seed}", tuning.following)
    made.split_for(base)  # anew, without test
    return tuning


def chosen(made: Plan, model: str) -> tuple[Choice, set[str]]:
    """The one model of a plan, and the options that MODEL sets; `UsageError` where no dev may choose."""
    if len(made.cells) != 1:
        raise UsageError(
            f"tune takes one model, and {model!r} is {len(made.cells)}: --space holds what is varied"
        )
    base = made.cells[0].choice
    if base.external:
        raise UsageError(f"tune does not know what {model} takes: try a grid in run, key=0.1/1/10")
    parts = made.split_for(base)
    if parts.in_sample or parts.dev_from_train or parts.dev.absent is not None:
        why = "is in-sample" if parts.in_sample else "has no dev part"
        raise UsageError(f"split {made.method} {why}, and tune chooses on dev: name another with --split")
    options = model.partition(":")[2]
    return base, {item.partition("=")[0].strip() for item in cut(options, ",")}


def propose(
    space: Space, told: Sequence[tuple[Mapping[str, Any], float]], seed: int, *, guided: bool = True
) -> Point:
    """The next point after those told (point, loss), by the tree-structured Parzen estimator.

    Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization; optuna's, whose first ten points
    are random. A function of its arguments alone.
    """
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    axes: dict[str, Any] = {}
    for key, axis in space.items():
        if not isinstance(axis, Range):
            axes[key] = CategoricalDistribution(axis)
        elif isinstance(axis.low, int) and isinstance(axis.high, int):
            axes[key] = IntDistribution(axis.low, axis.high, log=axis.log)
        else:
            axes[key] = FloatDistribution(axis.low, axis.high, log=axis.log)
    samplers = optuna.samplers
    sampler = samplers.TPESampler(seed=seed) if guided else samplers.RandomSampler(seed=seed)
    study = optuna.create_study(sampler=sampler)
    for point, value in told:
        study.add_trial(optuna.trial.create_trial(params=dict(point), distributions=axes, value=value))
    found = study.ask(axes).params
    return {key: short(found[key], axis) for key, axis in space.items()}


def short(value: Any, axis: Any) -> Value:
    """A proposed value with three digits, still in its range."""
    if isinstance(value, float) and isinstance(axis, Range):
        return min(max(three_digits(value), axis.low), axis.high)
    kept: Value = value
    return kept


def loss(record: Record) -> float:
    """What the sampler is told of a trial: its dev NLL; infinite where it broke or had p = 0."""
    return float("inf") if record.metrics.dev_nll is None else record.metrics.dev_nll


def spent(record: Record) -> float:
    """Seconds that a trial on record took."""
    t = record.timings
    phases = (t.start_s, t.warmup_s, t.train_s, t.checkpoint_s, t.evaluate_s)
    return sum(seconds or 0.0 for seconds in phases)


def first_free(records: Sequence[Record]) -> int:
    """The number of the next trial: a gap, where a damaged line left one."""
    taken = {record.cell for record in records}
    return next(number for number in range(len(records) + 1) if number not in taken)


@dataclass(frozen=True)
class Place:
    """A trial that has a dev NLL, and how far it is behind the best of them, paired on dev."""

    record: Record
    behind: Difference | None = None  # None of the best, and where scores were not kept
    tied: bool = True  # with the best: not surely behind it (Holm over the trials)


def places(records: Sequence[Record], scores: Scores) -> list[Place]:
    """Trials with a dev NLL, the best first."""
    scored = [record for record in records if record.metrics.dev_nll is not None]
    order = sorted(scored, key=lambda record: (loss(record), record.cell))
    kept = [scores(record) for record in order]
    arrays = [found for found in kept if found is not None]
    if len(arrays) < len(kept) or len(kept) < 2:
        return [Place(record) for record in order]
    best, lengths, units = arrays[0]["dev_sums"], arrays[0]["dev_lengths"], arrays[0]["dev_units"]
    behind = [paired(found["dev_sums"], best, lengths, units) for found in arrays[1:]]
    tests = [difference.p for difference in behind]
    adjusted = holm([p for p in tests if p is not None]) if None not in tests else [1.0] * len(tests)
    rest = zip(order[1:], behind, adjusted, strict=True)
    return [Place(order[0]), *(Place(record, far, p > 1 - LEVEL) for record, far, p in rest)]
