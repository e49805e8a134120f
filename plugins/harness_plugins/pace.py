"""How many compiled training steps are taken in one call."""

from __future__ import annotations

from harness import Trial

PARTS, MOST = 64, 1000  # a call takes this share of the steps, at most so many of them …
POSITIONS = 1 << 20  # … and so many positions
LEAST_S, MOST_S = 0.005, 0.02  # of a budget in seconds: how long a call should last


class Pace:
    """How many steps to take in one call.

    A budget in steps is cut into equal parts, so that the same budget takes the same steps between points of
    the learning curve. Of a budget in seconds a call takes about a hundredth of a second.
    """

    def __init__(self, trial: Trial, rows: int, parts: int = PARTS) -> None:
        self.trial = trial
        self.most = max(1, min(MOST, POSITIONS // max(rows, 1)))
        self.now = 1 if trial.steps is None else max(1, min(self.most, trial.steps // parts))
        self.before: float | None = None

    def steps(self) -> int:
        """Steps of the next call."""
        if self.trial.seconds is None:
            return self.now
        elapsed = self.trial.elapsed()
        if self.before is not None:
            lasted = elapsed - self.before
            if lasted < LEAST_S:
                self.now = min(self.most, 2 * self.now)
            elif lasted > MOST_S:
                self.now = max(1, self.now // 2)
        self.before = elapsed
        return self.now
