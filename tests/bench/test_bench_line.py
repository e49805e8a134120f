"""Speed of the line, each as a ratio within one run.

python -m pytest tests/bench --benchmark-only
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rows import in_turns

from harness import evaluate, runner
from harness_plugins.count_bigram import pair_counts
from harness_plugins.mlp import Mlp, initial
from harness_plugins.nn_bigram import loss_and_gradient

PEER_IMPORT = "import click, pluggy, msgspec, tabulate"


def median_seconds(function: Callable[[], object], repeats: int) -> float:
    """The median of some timings."""
    times = []
    for _ in range(repeats):
        before = time.perf_counter()
        function()
        times.append(time.perf_counter() - before)
    return statistics.median(times)


def note(benchmark: Any, ratio: float, **more: float) -> None:
    """Keep a ratio with the benchmark, and print it."""
    benchmark.extra_info |= {"ratio": ratio, **more}
    shown = ", ".join(f"{name} {value:.4g}" for name, value in {"ratio": ratio, **more}.items())
    print(f"\n{benchmark.name}: {shown}")  # noqa: T201


def test_help_answers_in_a_blink(benchmark: Any) -> None:
    """`harness --help`, whole process, against importing four of its libraries: within 3×."""
    peer = median_seconds(lambda: subprocess.run([sys.executable, "-c", PEER_IMPORT], check=True), 9)
    command = [sys.executable, "-m", "harness", "--help"]
    benchmark.pedantic(
        lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL), rounds=9, warmup_rounds=1
    )
    ratio = benchmark.stats.stats.median / peer
    note(benchmark, ratio, peer_s=peer)
    assert ratio < 3


def test_nn_bigram_step_on_counts(benchmark: Any, makemore_path: Path) -> None:
    """A step on the count matrix against one by one-hot rows of all 228,146 pairs, both float64."""
    torch = pytest.importorskip("torch")
    made = runner.plan("uniform", data="makemore-names", method="all")
    corpus = made.split_for(made.cells[0].choice).train
    counts = pair_counts(corpus)
    weights = np.random.default_rng(0).standard_normal((27, 27))
    xs, ys = (torch.from_numpy(a.astype(np.int64)) for a in (corpus.tokens[:-1], corpus.tokens[1:]))
    theirs = torch.tensor(weights, requires_grad=True)

    def one_hot_step() -> float:
        rows = torch.nn.functional.one_hot(xs, 27).double()
        logits = rows @ theirs
        exponential = logits.exp()
        probabilities = exponential / exponential.sum(1, keepdim=True)
        loss = -probabilities[torch.arange(len(ys)), ys].log().mean() + 0.01 * (theirs**2).mean()
        theirs.grad = None
        loss.backward()
        return float(loss.detach())

    def count_step() -> float:
        loss, gradient = loss_and_gradient(weights, counts, 0.01)
        weights - 50 * gradient
        return loss

    assert abs(one_hot_step() - count_step()) < 1e-6
    peer = median_seconds(one_hot_step, 5)
    benchmark.pedantic(count_step, rounds=200, iterations=10, warmup_rounds=2)
    ratio = peer / benchmark.stats.stats.median
    note(benchmark, ratio, peer_ms=1e3 * peer, ours_ms=1e3 * benchmark.stats.stats.median)
    assert ratio > 1000


def test_exact_nll_through_unique_contexts(benchmark: Any, makemore_path: Path) -> None:
    """Exact train NLL of a context-3 MLP by distinct contexts against all windows, last row only."""
    made = runner.plan("mlp:context=3,hidden=200", data="makemore-names", method="lecture")
    choice = made.cells[0].choice
    corpus = made.split_for(choice).train
    model = Mlp(27, choice.config, np.random.default_rng(0))
    model.context = 3
    model.params = initial(27, choice.config, np.random.default_rng(0))
    windows, targets = corpus.windows(3)

    def all_windows() -> float:
        total = 0.0
        for first in range(0, len(windows), 8192):
            rows = evaluate.normalised(
                model.next_log_probs(windows[first : first + 8192]), (len(windows[first : first + 8192]), 27)
            )
            total -= float(rows[np.arange(len(rows)), targets[first : first + 8192]].sum())
        return total / len(targets)

    began = time.perf_counter()
    corpus.unique_windows(3)
    finding = time.perf_counter() - began
    ours = benchmark.pedantic(lambda: evaluate.by_windows(model, corpus, 3).nll, rounds=5, warmup_rounds=2)
    assert abs(ours - all_windows()) < 1e-6
    peer, by_contexts = in_turns(5, all_windows, lambda: evaluate.by_windows(model, corpus, 3).nll)
    ratio = peer / by_contexts
    note(benchmark, ratio, peer_ms=1e3 * peer, finding_ms=1e3 * finding)
    assert ratio > 25


def test_all_models_on_the_default_dataset(benchmark: Any, tmp_path: Path) -> None:
    """`harness run --models all`, whole process, on the embedded names: under 90 s on 2 cores."""
    command = [sys.executable, "-m", "harness", "run", "--models", "all", "--results", str(tmp_path)]
    benchmark.pedantic(
        lambda: subprocess.run(command, check=True, capture_output=True), rounds=1, warmup_rounds=0
    )
    note(benchmark, 90 / benchmark.stats.stats.median)
    assert benchmark.stats.stats.median < 90
