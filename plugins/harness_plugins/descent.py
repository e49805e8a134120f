"""Updates of a flat vector of parameters, in float32 and in place, compiled by numba."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from harness_plugins.compiled import compiled


@compiled
def descend(flat: Any, slope: Any, rate: Any) -> None:
    """θ ← θ − rate·g."""
    for i in range(len(flat)):
        flat[i] -= rate * slope[i]


@compiled
def adamw(flat: Any, slope: Any, moments: Any, rate: float, beta2: float, decay: float, step: int) -> None:
    """AdamW as the oracle has it; moments (2, parameters); `step` counts from 1."""
    first, second = moments[0], moments[1]
    scale = np.float32(rate / (1 - 0.9**step))
    root = np.float32(1 / math.sqrt(1 - beta2**step))
    keep, old, new = np.float32(1 - rate * decay), np.float32(beta2), np.float32(1 - beta2)
    for i in range(len(flat)):
        g = slope[i]
        first[i] = np.float32(0.9) * first[i] + np.float32(0.1) * g
        second[i] = old * second[i] + new * g * g
        flat[i] = keep * flat[i] - scale * first[i] / (np.sqrt(second[i]) * root + np.float32(1e-8))
