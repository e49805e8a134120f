"""A fit that is watched from outside: what happens while its clock stands, and what it leaves."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from harness import processes
from harness.agreement import moved
from harness.contract import Ints, Model, Trial
from harness.evaluate import Float64s
from harness.fit import few
from harness.proxy import Proxy
from harness.subject import Make, Subject

HALF = 0.5  # seconds
CLOCKS = {"perf_counter": 0.001, "monotonic": 0.001, "time": 1.0}  # seconds off; a date may be set


def answer(model: Model, inputs: Ints) -> Float64s:
    """(B, T) -> (B, T, V), as float64 to be compared."""
    return np.asarray(model.log_probs(inputs), np.float64)


def largest(a: Float64s, b: Float64s) -> float:
    """The largest difference of two arrays of log-probabilities, −inf being equal to −inf."""
    with np.errstate(invalid="ignore"):
        return float(np.max(np.where(a == b, 0.0, np.abs(a - b))))


@dataclass(eq=False)
class Untimed:
    """What is seen of a model while the clock of its fit stands: told before and after each checkpoint."""

    inputs: Ints
    tolerance: float
    seconds: float = 0.0
    checkpoints: int = 0
    problem: str | None = None
    before: tuple[dict[str, bytes], Float64s, float] | None = None

    def __call__(self, model: Model) -> None:
        """Parameters must not change by a byte during a checkpoint, nor rows beyond the tolerance."""
        assert isinstance(model, Proxy)
        now = time.perf_counter()
        params = {name: value.tobytes() for name, value in model.fetch().items()}
        rows = answer(model, self.inputs)
        if self.before is None:
            self.before = (params, rows, time.perf_counter())
            return
        old_params, old_rows, began = self.before
        self.before = None
        self.checkpoints += 1
        self.seconds += now - began
        if params != old_params:
            self.problem = self.problem or f"parameters changed during checkpoint {self.checkpoints}"
        elif moved(old_rows, rows, self.tolerance):
            far = largest(old_rows, rows)
            self.problem = self.problem or f"rows moved by {far:.3g} during checkpoint {self.checkpoints}"


@dataclass(frozen=True, eq=False)
class Watched:
    """A fit that was watched from outside."""

    problem: str | None
    busy: float | None  # CPU seconds between 0.5 and 1.0 s after it was done; None: it cannot be measured
    untimed: str  # what took time off the clock
    rows: Float64s


def watched_fit(subject: Subject, make: Make, inputs: Ints, *, python: bool) -> Watched:
    """Warm up, fit, wait; what is wrong with what is then there. python: the cell can look at itself."""
    warmed = make(subject.fit_seed)
    server = warmed.child.server.process.pid if warmed.child.server is not None else None
    before = processes.children(server) if server is not None else frozenset()
    began = time.perf_counter()
    warmed.warm_up(few(subject.parts.train), Trial(subject.fit_seed, threads=subject.threads))
    warm_up_s = time.perf_counter() - began
    untimed = Untimed(inputs, subject.tolerance)
    model = subject.fit(make, warm_up=False, on_checkpoint=untimed)
    pid = model.child.pid
    time.sleep(HALF)
    at_half = processes.cpu_seconds(pid)
    time.sleep(HALF)
    at_one = processes.cpu_seconds(pid)
    shown = f"{warm_up_s:.2f} s of warm-up, {untimed.seconds:.2f} s of {untimed.checkpoints} checkpoints"
    return Watched(
        untimed.problem
        or left_behind(pid, server, before)
        or (python and (dishonest_clock(model) or threads(model)))
        or None,
        None if at_half is None or at_one is None else at_one - at_half,
        shown,
        answer(model, inputs),
    )


def left_behind(pid: int, server: int | None, before: frozenset[int]) -> str | None:
    """The processes that a fit has left, in words."""
    names = processes.started_by(pid, server, before)
    return f"it left {len(names)} process(es): {', '.join(names)}" if names else None


def threads(model: Proxy) -> str | None:
    """The threads of Python that are alive beside the cell's own, in words."""
    alive = model.child.ask({"op": "look"})[0]["threads"]
    return f"it left {len(alive)} thread(s): {', '.join(alive)}" if alive else None


def dishonest_clock(model: Proxy) -> str | None:
    """A clock that a model can reach and that does not show what ours shows, in words.

    One system has one monotonic clock: what a child reads lies between what is read here before and after.
    """
    before = {name: getattr(time, name)() for name in CLOCKS}
    shown = model.child.ask({"op": "look"})[0]["clocks"]
    for name, slack in CLOCKS.items():
        if not before[name] - slack <= shown[name] <= getattr(time, name)() + slack:
            return f"time.{name}() says {shown[name]:.6g} where ours says {before[name]:.6g}"
    return None
