"""What the rows of docs/performance.md share: what a benchmark keeps of its row, clocks, measured ceilings.

Ceilings are measured beside the row, in the same process: machines differ, busy ones from minute to minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from harness import Model, Trial, instances, registry, runner
from harness.fit import Fitted, fit
from harness.split import Split

CLOCK = time.thread_time  # other jobs of the machine do not count
ALL_THREADS = time.process_time  # for what runs on several threads, and for products that BLAS may divide
LARGE, COPIED, WAITING = 384, 1 << 24, 1_000_000


@dataclass(frozen=True)
class Row:
    """One row of the table: a peer's figure, ours, and what their ratio must be.

    ratio is how many times better ours is: peer ÷ ours in seconds, ours ÷ peer in rates. floor is in the
    unit of ours: the seconds that cannot be avoided, or the rate that cannot be passed. measured: False where
    the peer's figure is quoted from elsewhere; note says where from.
    """

    row: str
    peer: str
    peer_value: float
    ours: float
    unit: str
    least: float
    aim: float | None = None
    floor: float | None = None
    measured: bool = True
    note: str = ""

    @property
    def seconds(self) -> bool:
        """Whether less is better."""
        return not self.unit.endswith("/s")

    @property
    def ratio(self) -> float:
        """How many times better than the peer."""
        return self.peer_value / self.ours if self.seconds else self.ours / self.peer_value

    @property
    def floor_share(self) -> float | None:
        """How much of what the machine can do is done, 0 to 1."""
        if self.floor is None:
            return None
        return self.floor / self.ours if self.seconds else self.ours / self.floor

    def keep(self, benchmark: Any) -> float:
        """Leave the row with its benchmark, for `table.py`, and print it; returns the ratio."""
        names = ("row", "peer", "peer_value", "ours", "unit", "ratio", "least", "aim", "floor_share", "note")
        benchmark.extra_info |= {name: getattr(self, name) for name in names} | {"measured": self.measured}
        share = "" if self.floor_share is None else f", {100 * self.floor_share:.0f} % of the floor"
        print(  # noqa: T201
            f"\n{self.row}: {self.peer} {self.peer_value:.4g}, ours {self.ours:.4g} {self.unit}: "
            f"{self.ratio:.3g}×{share}"
        )
        return self.ratio


def seconds(function: Callable[[], object], clock: Callable[[], float] = CLOCK) -> float:
    """How long a call takes."""
    before = clock()
    function()
    return clock() - before


def in_turns(
    rounds: int, *functions: Callable[[], object], clock: Callable[[], float] = CLOCK
) -> list[float]:
    """The least seconds of each, taken in turns: what slows the machine slows them alike."""
    times = [[seconds(function, clock) for function in functions] for _ in range(rounds)]
    return [min(each) for each in zip(*times, strict=True)]


def product_rate(rounds: int = 9) -> float:
    """FLOP/s of one core in a large float32 product by BLAS."""
    large = np.random.default_rng(0).random((LARGE, LARGE)).astype(np.float32)
    took = in_turns(rounds, lambda: large @ large, clock=ALL_THREADS)[0]
    return 2 * LARGE**3 / took


def copy_rate(rounds: int = 9) -> float:
    """Bytes/s at which one core copies memory."""
    source = np.ones(COPIED, np.uint8)
    into = np.empty_like(source)
    return COPIED / in_turns(rounds, lambda: np.copyto(into, source))[0]


@njit(nogil=True)
def wait(n: int) -> int:
    """N rounds of six operations on an integer, each of which waits for the one before (xorshift)."""
    x = np.uint64(88172645463325252)
    for _ in range(n):
        x ^= x << np.uint64(13)
        x ^= x >> np.uint64(7)
        x ^= x << np.uint64(17)
    return int(x)


def cycle_seconds(rounds: int = 9) -> float:
    """A cycle of the processor: shifts and exclusive ors that wait for each other take one each."""
    wait(1)
    return in_turns(rounds, lambda: wait(WAITING))[0] / (6 * WAITING)


def seed_of(model: str, method: str = "lecture") -> tuple[Callable[[int], Model], Split]:
    """What makes a seed of a model for makemore's names as the harness does, and the parts."""
    made = runner.plan(model, data="makemore-names", method=method)
    choice, found = made.cells[0].choice, registry.discover()
    parts = made.split_for(choice)
    what = (choice.spec.name, choice.backend, choice.config, parts.train.alphabet.size)
    return lambda seed: instances.instance(found, *what, seed), parts


def fitting(model: str, method: str = "lecture") -> tuple[Callable[[int], Fitted], Split]:
    """What fits a model on makemore's names for so many steps, all of `train_s` on our clock; the parts."""
    new, parts = seed_of(model, method)

    def fitted(steps: int) -> Fitted:
        trial = Trial(steps=steps, threads=1, clock=CLOCK)
        return fit(lambda: new(0), parts.train, parts.dev.corpus, trial, lambda model: 2.0, CLOCK)

    return fitted, parts
