"""How much the gate's simulation simulates, and how often something was found in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from harness import gate

Float64s = NDArray[np.float64]
Rng = np.random.Generator
CELLS = 20
T = gate.Thresholds()


@dataclass(frozen=True)
class Form:
    """How much is simulated."""

    changes: int  # same against same, for each kind of noise
    slower: int  # with a true difference
    documents: int  # of a quality cell
    cases: int  # in which no PASS can be right, of each kind


FULL = Form(1_000, 100, 3_000, 50)
SHORT = Form(10, 5, 3_000, 5)


@dataclass(frozen=True)
class Share:
    """How often something was found."""

    what: str
    found: int
    of: int
    high: float | None = None  # a bound on the share …
    low: float | None = None

    @property
    def value(self) -> float:
        """The share."""
        return self.found / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper and Pearson's 95 %."""
        k, n = self.found, self.of
        return (
            float(betaincinv(k, n - k + 1, 0.025)) if k else 0.0,
            float(betaincinv(k + 1, n - k, 0.975)) if k < n else 1.0,
        )

    @property
    def kept(self) -> bool:
        """Whether the share keeps its bound."""
        return (self.high is None or self.value <= self.high) and (self.low is None or self.value >= self.low)
