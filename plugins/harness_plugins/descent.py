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


@compiled
def clip(slope: Any, most: float) -> None:
    """Scale the gradient down to a norm of `most`; 0 is no bound."""
    if most > 0:
        squares = np.float32(0)
        for i in range(len(slope)):
            squares += slope[i] * slope[i]
        factor = np.float32(most / (math.sqrt(squares) + 1e-6))
        if factor < 1:
            for i in range(len(slope)):
                slope[i] *= factor


@compiled
def decayed_adamw(
    flat: Any, slope: Any, moments: Any, rate: float, betas: Any, decay: float, decayed: int, step: int
) -> None:
    """AdamW (Loshchilov & Hutter 2019), as torch has it; what lies before `decayed` does not decay."""
    first, second = moments[0], moments[1]
    scale = np.float32(rate / (1 - betas[0] ** step))
    root = np.float32(1 / math.sqrt(1 - betas[1] ** step))
    keep = np.float32(1 - rate * decay)
    old1, new1 = np.float32(betas[0]), np.float32(1 - betas[0])
    old2, new2 = np.float32(betas[1]), np.float32(1 - betas[1])
    for i in range(decayed, len(flat)):
        flat[i] *= keep
    for i in range(len(flat)):
        g = slope[i]
        first[i] = old1 * first[i] + new1 * g
        second[i] = old2 * second[i] + new2 * g * g
        flat[i] -= scale * first[i] / (np.sqrt(second[i]) * root + np.float32(1e-8))
