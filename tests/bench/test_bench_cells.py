"""What a process per cell costs, each as a ratio within one run.

python -m pytest tests/bench --benchmark-only
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.child import Limits
from harness.engine import Engine


def test_a_torch_cell_starts_quickly(benchmark: Any) -> None:
    """Spawn to hello of a torch cell after the first, against 60 ms; the first beside it."""
    pytest.importorskip("torch")
    limits = Limits(threads=1)
    with Engine(threads=1) as processes:
        began = time.perf_counter()
        processes.start("torch", limits).close()
        first = time.perf_counter() - began
        starts = []

        def start() -> None:
            child = processes.start("torch", limits)
            starts.append(child.start_s)
            child.close()

        benchmark.pedantic(start, rounds=15)
    median = sorted(starts)[len(starts) // 2]
    benchmark.extra_info |= {"hello_ms": 1e3 * median, "first_s": first}
    print(f"\nspawn to hello {1e3 * median:.1f} ms, the first with its server {first:.2f} s")  # noqa: T201
    assert median < 0.060


def test_the_harness_costs_little_beside_its_cells(benchmark: Any, tmp_path: Path) -> None:
    """Wall time of a run of all default models outside what a cell itself does."""
    results = []
    took = benchmark.pedantic(
        lambda: results.append(harness.run("all", results=tmp_path)), rounds=1, warmup_rounds=0
    )
    del took
    wall = benchmark.stats.stats.median
    inside = sum(
        sum(
            value or 0.0
            for value in (
                r.timings.start_s, r.timings.warmup_s, r.timings.train_s, r.timings.checkpoint_s,
                r.timings.evaluate_s, r.timings.sample_s,
            )
        )
        for r in results[0].records
    )  # fmt: skip
    share = 1 - inside / wall
    benchmark.extra_info |= {"outside": share}
    print(f"\noutside the cells' own phases: {100 * share:.1f} % of {wall:.2f} s")  # noqa: T201
    assert share < 0.10
