"""What many seeds of the MLP cost in one go, beside each of them by itself.

python -m pytest tests/bench --benchmark-only
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rows import ALL_THREADS, Row, in_turns, product_rate, seed_of

from harness import Trial
from harness.split import Split
from harness_plugins.weighted_contexts import SIZE, Contexts, context_batches, merged

SEEDS, STEPS, ROUNDS = 8, 1000, 7


def all_seeds(model: str) -> tuple[Callable[[], Any], Callable[[], Any], Split]:
    """Eight seeds on two threads, as `--seeds 8` trains them; two of them apart, at once; what they learn."""
    new, parts = seed_of(model)
    train, dev = parts.train, parts.dev.corpus

    def together() -> None:
        new(0).fit_seeds(train, dev, [Trial(seed, threads=2, steps=STEPS) for seed in range(SEEDS)])

    def fit(seed: int) -> None:
        new(seed).fit(train, dev, Trial(seed, threads=1, steps=STEPS))

    def apart() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(fit, range(2)))

    new(0).fit(train, dev, Trial(steps=2))  # compiles
    return together, apart, parts


def test_eight_seeds_of_torch(benchmark: Any, makemore_path: Path) -> None:
    """`--seeds 8` of mlp@torch on two threads against as many fits apart, two at a time: 2.5× at least.

    By the processor time of all threads: a clock on the wall would tell of other jobs.
    """
    together, apart, _ = all_seeds("mlp@torch:learning_rate=0.01")
    ours, two = in_turns(ROUNDS, together, apart, clock=ALL_THREADS)
    benchmark.pedantic(together, rounds=1)
    ratio = Row(
        "8 seeds of mlp@torch in one go", "8 solo runs, two at a time", SEEDS / 2 * two, ours, "s", least=2.5,
        aim=5, note=f"{STEPS} steps of {SIZE} contexts at 0.01; two solo runs are timed, for eight",
    ).keep(benchmark)  # fmt: skip
    assert ratio >= 2.5


def test_eight_seeds_of_numba(benchmark: Any, makemore_path: Path) -> None:
    """`fit_seeds` of mlp@numba on two threads, by their processor time, against products alone: 60 %.

    The bound is held to the products of every drawn row at the rate of a large one, as a floor was
    reckoned for a step of the lecture; the share of the floor is that of distinct rows and pairs.
    """
    together, _, parts = all_seeds("mlp@numba")
    config = seed_of("mlp@numba")[0](0).config
    context, e, h, v = config["context"], config["embedding"], config["hidden"], parts.train.alphabet.size
    drawn = context_batches(Contexts.of(parts.train, context), SIZE, np.random.default_rng(0))
    rows = np.mean([len(merged(next(drawn))[0]) for _ in range(64)])
    took = in_turns(ROUNDS, together, clock=ALL_THREADS)[0] / 2  # seconds of each of two threads
    benchmark.pedantic(together, rounds=1)
    rate = 2 * product_rate() / (3 * 2 * SEEDS * STEPS)  # of two threads: products of a matrix a second
    ratio = Row(
        "8 seeds of mlp@numba in one go", "the products of all rows, two threads",
        SIZE * (context * e + v) * h / rate, took, "s", least=0.6,
        floor=(rows * v + context * v * e) * h / rate,
        note=f"{rows:.0f} distinct rows of {SIZE}; the floor has these, and the first layer by pairs",
    ).keep(benchmark)  # fmt: skip
    assert ratio >= 0.6
