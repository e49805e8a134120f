"""Simulated times of base and head, and what the gate and the rules of others say of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from gate_shares import CELLS, Float64s, Form, Rng, Share, T
from numpy.typing import NDArray
from published_rules import RULES

from harness import gate

PAIRS = max(gate.LOOKS)
REPETITIONS = 10  # of the published rules
PAST = 30  # changes that rustc-perf's rule looks back on
MACHINE = 0.0266
AT_ONCE = 100  # changes simulated together: bounds the memory

# ---- noise: ln of the time of each process of a job, (..., n), in the order in which they run


def hosted(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """Processes scatter so that the two of a pair differ by 2.66 %."""
    return normal(rng, shape, MACHINE / math.sqrt(2))


def independent(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """Every process scatters as much as machines do."""
    return normal(rng, shape, MACHINE)


def heavy(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """Student's t with 2 degrees: no variance."""
    return MACHINE / math.sqrt(2) * rng.standard_t(2, shape)


def drift(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """The machine becomes slower or faster all the time, by 20 % over the job (standard deviation)."""
    slope = normal(rng, (*shape[:-1], 1), 0.2)
    return hosted(rng, shape) + slope * np.linspace(0, 1, shape[-1])


def turbo(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """Two clock rates 10 % apart, each kept for some ten processes."""
    state = rng.integers(0, 2, (*shape[:-1], 1)) + np.cumsum(rng.random(shape) < 0.1, axis=-1)
    return 0.1 * (state % 2) + normal(rng, shape, 0.01)


def turbo_each(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """Two clock rates 10 % apart, drawn anew for each process."""
    return 0.1 * rng.integers(0, 2, shape) + normal(rng, shape, 0.01)


def autocorrelated(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """A neighbour's load, 5 %, that a process shares to 0.8 with the one before."""
    load = normal(rng, shape, 1.0)
    for i in range(1, shape[-1]):
        load[..., i] = 0.8 * load[..., i - 1] + 0.6 * load[..., i]
    return 0.05 * load + normal(rng, shape, 0.01)


def spikes(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """One process in ten is hit, by 50 % on average."""
    hit = rng.random(shape) < 0.1
    return hit * 0.5 * rng.exponential(1, shape) + normal(rng, shape, 0.01)


def busy(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """A machine with other work: 15 %, each process on its own."""
    return normal(rng, shape, 0.15)


def normal(rng: Rng, shape: tuple[int, ...], sd: float) -> Float64s:
    """Gaussian noise."""
    return sd * rng.standard_normal(shape)


KINDS: dict[str, Callable[[Rng, tuple[int, ...]], Float64s]] = {
    "hosted CI": hosted,
    "independent": independent,
    "heavy tails": heavy,
    "drift": drift,
    "turbo, kept": turbo,
    "turbo, each": turbo_each,
    "autocorrelated": autocorrelated,
    "spikes": spikes,
    "busy, 15 %": busy,
}
SLOWER = (0.02, 0.05, 0.10)


# ---- results


@dataclass(frozen=True)
class Noise:
    """One kind of noise: false alarms of a change and what is found of a slow-down, by rule."""

    kind: str
    alarms: dict[str, Share]
    found: dict[str, dict[float, Share]]
    passed: dict[float, Share]  # of the gate; 0: the same against the same


# ---- speed


def speed(form: Form) -> Iterator[Noise]:
    """Every kind of noise."""
    for number, (kind, noise) in enumerate(KINDS.items()):
        rng = np.random.default_rng([1, number])
        alarms = dict.fromkeys(["gate", *RULES], 0)
        found = {rule: dict.fromkeys(SLOWER, 0) for rule in alarms}
        passed = dict.fromkeys((0.0, *SLOWER), 0)  # 0: the same against the same
        for first in range(0, form.changes, AT_ONCE):
            some = min(AT_ONCE, form.changes - first)
            with_difference = slice(max(0, min(some, form.slower - first)))
            x = pairs(rng, noise, some)
            base, head, history = jobs(rng, noise, some)
            for share in passed:
                part = with_difference if share else slice(None)
                answers = gated(x[part] + math.log1p(share))
                passed[share] += int((answers == "PASS").sum())
                flagged = {"gate": answers == "FAIL"} | {
                    name: rule(base[part], head[part] * (1 + share), history[part])
                    for name, rule in RULES.items()
                }
                for rule, flags in flagged.items():
                    if share:
                        found[rule][share] += int(flags.sum())
                    else:
                        alarms[rule] += int(flags.any(axis=1).sum())
        cells = {share: (form.slower if share else form.changes) * CELLS for share in passed}
        yield Noise(
            kind,
            {
                r: Share("false alarm", k, form.changes, 0.01 if r == "gate" else None)
                for r, k in alarms.items()
            },
            {
                r: {s: Share(f"+{s:.0%} found", k, cells[s], low=needed(r, kind, s)) for s, k in by.items()}
                for r, by in found.items()
            },
            {s: Share("PASS", k, cells[s]) for s, k in passed.items()},
        )


def needed(rule: str, kind: str, share: float) -> float | None:
    """What is promised: +5 % in 95 % of cases, within 20 pairs on hosted CI."""
    return 0.95 if (rule, kind, share) == ("gate", "hosted CI", 0.05) else None


def pairs(rng: Rng, noise: Callable[[Rng, tuple[int, ...]], Float64s], changes: int) -> Float64s:
    """ln(head / base) of interleaved pairs in random order, same against same: (changes, 20, pairs)."""
    times = noise(rng, (changes, CELLS, 2 * PAIRS)).reshape(changes, CELLS, PAIRS, 2)
    first = rng.random((changes, CELLS, PAIRS)) < 0.5
    return np.where(first, 1, -1) * (times[..., 1] - times[..., 0])


def jobs(
    rng: Rng, noise: Callable[[Rng, tuple[int, ...]], Float64s], changes: int
) -> tuple[Float64s, Float64s, Float64s]:
    """Seconds of base and head in a job each (changes, 20, 10), and the relative changes of the past."""
    shape = (changes, CELLS, PAST + 2, REPETITIONS)
    seconds = np.exp(noise(rng, shape) + normal(rng, (*shape[:-1], 1), MACHINE))
    means = seconds[..., :-1, :].mean(axis=-1)  # all jobs before head
    return seconds[..., -2, :], seconds[..., -1, :], np.diff(means, axis=-1) / means[..., :-1]


def gated(x: Float64s) -> NDArray[np.str_]:
    """The gate's answers to pairs (..., n)."""
    rows = x.reshape(-1, x.shape[-1]).tolist()
    answers = [str(gate.slowdown(row, T.train).answer) for row in rows]
    return np.array(answers).reshape(x.shape[:-1])
