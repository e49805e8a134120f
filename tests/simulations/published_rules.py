"""What other tools call slower, each from its published description.

base, head: seconds (..., n), n repetitions in one job each; history: earlier changes. All -> (...) bool.

fixed 5 %         pytest-benchmark, `--benchmark-compare-fail=mean:5%` (its documentation, "Usage")
asv               `asv compare`: worse by the factor 1.1, and the U test at 0.002 (asv/_stats.py)
google-benchmark  tools/compare.py: Mann–Whitney's U test at 0.05, from 9 repetitions on (tools.md)
pyperf            `compare_to`: Student's two-sample t test, 95 % (pyperf/_utils.py, is_significant)
criterion-like    t test at 0.05, and the change beyond a noise threshold of 1 % (criterion.rs book, "Analysis
                  Process"); its bootstrap is replaced by Student's t
rustc-perf        beyond Q3 + 3 · IQR of the relative changes of the past (comparison-analysis.md)
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Float64s = NDArray[np.float64]
Bools = NDArray[np.bool_]


def fixed(base: Float64s, head: Float64s, history: Float64s) -> Bools:
    """The mean rose by more than 5 %."""
    return ratio(base, head) > 0.05


def asv(base: Float64s, head: Float64s, history: Float64s) -> Bools:
    """The median rose by more than 10 %, and the U test says different."""
    factor = np.median(head, axis=-1) / np.median(base, axis=-1)
    return (factor > 1.1) & (u_test(base, head) < 0.002)


def google_benchmark(base: Float64s, head: Float64s, history: Float64s) -> Bools:
    """The U test says different, and the median rose."""
    rose = np.median(head, axis=-1) > np.median(base, axis=-1)
    return rose & (u_test(base, head) < 0.05)


def pyperf(base: Float64s, head: Float64s, history: Float64s) -> Bools:
    """The t test says different, and the mean rose."""
    n = base.shape[-1]
    pooled = (base.var(axis=-1, ddof=1) + head.var(axis=-1, ddof=1)) / 2
    t = (head.mean(axis=-1) - base.mean(axis=-1)) / np.sqrt(2 * pooled / n)
    return t >= stdtrit(2 * n - 2, 0.975)


def criterion(base: Float64s, head: Float64s, history: Float64s) -> Bools:
    """The t test says different, and the interval of the change lies above 1 %."""
    n = base.shape[-1]
    se = np.sqrt((base.var(axis=-1, ddof=1) + head.var(axis=-1, ddof=1)) / n)
    apart = head.mean(axis=-1) - base.mean(axis=-1)
    p = 2 * stdtr(2 * n - 2, -np.abs(apart / se))
    low = ratio(base, head) - stdtrit(2 * n - 2, 0.975) * se / base.mean(axis=-1)
    return (p < 0.05) & (low > 0.01)


def rustc_perf(base: Float64s, head: Float64s, history: Float64s) -> Bools:
    """The change is an outlier among the past ones; history (..., k): their sizes, relative."""
    first, third = np.quantile(np.abs(history), (0.25, 0.75), axis=-1)
    return ratio(base, head) > third + 3 * (third - first)


RULES = {
    "fixed 5 %": fixed,
    "asv": asv,
    "google-benchmark": google_benchmark,
    "pyperf": pyperf,
    "criterion-like": criterion,
    "rustc-perf": rustc_perf,
}


def ratio(base: Float64s, head: Float64s) -> Float64s:
    """The relative change of the mean."""
    found: Float64s = head.mean(axis=-1) / base.mean(axis=-1) - 1
    return found


def u_test(a: Float64s, b: Float64s) -> Float64s:
    """Two-sided p of Mann–Whitney's U, exact; no ties, as seconds have none."""
    n, m = a.shape[-1], b.shape[-1]
    u = (a[..., :, None] > b[..., None, :]).sum(axis=(-1, -2))
    below: Any = np.cumsum(orderings(n, m)) / math.comb(n + m, n)  # P(U <= u)
    return np.minimum(1.0, 2 * below[np.minimum(u, n * m - u)])


@cache
def orderings(n: int, m: int) -> list[int]:
    """How many orderings of n and m values have U = 0 … nm: by which of them the largest is."""
    if n == 0 or m == 0:
        return [1]
    largest_a, largest_b = orderings(n - 1, m), orderings(n, m - 1)
    return [
        (largest_a[u - m] if 0 <= u - m < len(largest_a) else 0) + (largest_b[u] if u < len(largest_b) else 0)
        for u in range(n * m + 1)
    ]
