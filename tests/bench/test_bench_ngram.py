"""What the search for an n-gram's discounts costs, as ratios within one run.

python -m pytest tests/bench --benchmark-only
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from harness import Trial, evaluate, runner
from harness_plugins.ngram import Ngram
from harness_plugins.ngram_counts import View, adjusted, count_levels, formula
from harness_plugins.ngram_discounts import locate, objective, terms, tune


def test_the_search_costs_a_few_countings(benchmark: Any, makemore_path: Path) -> None:
    """Tuning 24 discounts on 22,655 targets of dev against counting the 182,625 of train: within 5×.

    One value with its gradient stands beside the floor: 19 floats (of 8 bytes) read a pair, at 12 GB/s.
    """
    made = runner.plan("ngram:order=8", data="makemore-names", method="lecture")
    parts = made.split_for(made.cells[0].choice)
    train, dev = parts.train, parts.dev.corpus
    view = View(7)
    counted = benchmark.pedantic(lambda: list(count_levels(train, view)), rounds=9, warmup_rounds=1)
    counts = adjusted(counted)
    start = [formula(count) for count in counts]

    def search() -> list[list[Any]]:
        found = [terms(counted, counts, locate(counted, view, dev))]
        return [list(tune(found, [start], dev.targets, train.alphabet.size)[0][0])]

    searching = median_seconds(search)
    found = [terms(counted, counts, locate(counted, view, dev))]
    x = np.ravel(start).astype(np.float64)
    one = median_seconds(lambda: objective(found, x, dev.targets, train.alphabet.size), 25)
    pairs = sum(len(term.own) for term in found[0])
    ratio = searching / benchmark.stats.stats.median
    floor = 19 * 8 * pairs / 12e9
    benchmark.extra_info |= {"ratio": ratio, "evaluation_s": one, "pairs": pairs, "floor_s": floor}
    print(  # noqa: T201
        f"\nsearch {searching:.3f} s, {ratio:.1f} countings; an evaluation {1e3 * one:.2f} ms, "
        f"{pairs:,} pairs, floor {1e3 * floor:.2f} ms"
    )
    assert ratio < 5


def test_rows_are_read_at_the_harness_pace(benchmark: Any, makemore_path: Path) -> None:
    """Reading the rows of all distinct contexts of dev against what scoring does with them: within 8×."""
    made = runner.plan("ngram:order=8", data="makemore-names", method="lecture")
    choice = made.cells[0].choice
    parts = made.split_for(choice)
    model = Ngram(parts.train.alphabet.size, choice.config, np.random.default_rng(0))
    model.context = 7
    model.fit(parts.train, parts.dev.corpus, Trial())
    contexts = parts.dev.corpus.unique_windows(7)[0]  # (U, 7)
    rows = benchmark.pedantic(lambda: model.window_log_probs(contexts), rounds=15, warmup_rounds=2)
    checking = median_seconds(lambda: evaluate.normalised(rows, rows.shape), 15)
    ratio = benchmark.stats.stats.median / checking
    benchmark.extra_info |= {"ratio": ratio, "rows": len(contexts)}
    print(f"\n{len(contexts):,} rows, {ratio:.1f} times the harness's own checks")  # noqa: T201
    assert ratio < 8


def median_seconds(function: Any, repeats: int = 9) -> float:
    """The median of some timings."""
    times = []
    for _ in range(repeats):
        before = time.perf_counter()
        function()
        times.append(time.perf_counter() - before)
    return statistics.median(times)
