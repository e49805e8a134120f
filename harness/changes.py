"""Change points of a series: where a new level begins. For triage, never for judging a single change.

Least squares plus a penalty for each change (PELT's problem: Killick, Fearnhead & Eckley 2012), solved by
ruptures, after two steps for the noise of real machines: the scale is that of neighbouring differences,
and what stands apart from its neighbours is pulled towards them first, so that one slow run is no change.
docs/history.md has its rates of false alarms and of changes found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median

Find = Callable[[Sequence[float]], list[int]]

PENALTY = 5.0  # × variance × ln of the points, of at least FEW: docs/history.md
FEW = 20
APART = 2.0  # standard deviations from the median of five neighbours: further is pulled back to there
NOISY = 8  # points below which a series that never stands still says nothing of its scale
STILL = 1e-6  # of its size: what float32 arithmetic moves; below that a series stands still
MIDDLE = 0.9539  # the median |difference| of two unit normals: Φ⁻¹(.75) · √2


def finder() -> Find | None:
    """`change_points`; None where ruptures is not installed."""
    import importlib.util

    return change_points if importlib.util.find_spec("ruptures") else None


def change_points(values: Sequence[float]) -> list[int]:
    """The places at which a new level begins, ascending; none at 0.

    A series that mostly stands still (a deterministic model's NLL) changes where it moves at all, its last
    point included. Of a noisy one a level has two points at least, and the series `NOISY`.
    """
    if len(values) < 2:
        return []
    import numpy as np
    import ruptures

    scale = spread(values)
    still = STILL * max(abs(value) for value in values)
    noisy = scale > still
    if not (noisy or still) or (noisy and len(values) < NOISY):
        return []
    scale = max(scale, still)
    smooth = pulled(values, APART * scale) if noisy else list(values)
    signal = np.array(smooth)[:, None] / scale  # (n, 1)
    signal -= signal[0]  # of a still series: no digits are lost to its level
    search = ruptures.KernelCPD(kernel="linear", min_size=2 if noisy else 1).fit(signal)
    ends = search.predict(pen=PENALTY * math.log(max(len(values), FEW)))
    return [int(end) for end in ends[:-1]]  # the last is the end of the series


def spread(values: Sequence[float]) -> float:
    """The standard deviation of the noise, from the differences of neighbours: levels do not count."""
    return median(abs(b - a) for a, b in pairwise(values)) / MIDDLE


def pulled(values: Sequence[float], most: float) -> list[float]:
    """The values, none further than `most` from the median of the five around it."""
    around = [median(values[max(0, i - 2) : i + 3]) for i in range(len(values))]
    return [min(max(value, m - most), m + most) for value, m in zip(values, around, strict=True)]
