"""How often `harness history` sees a new level where there is none, and how often it finds one.

    python tests/simulations/changes.py             1,000 series a figure: about a minute
    python tests/simulations/changes.py --short     a few seconds, as in the tests

A series is a level of 100 with noise of standard deviation 1 (or what stands in its place). The product's
function is called on every one.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness import formats
from harness.changes import change_points
from harness.formats import Cells

Noise = Callable[[random.Random], float]

NOISES: dict[str, Noise] = {
    "normal": lambda rng: rng.gauss(0, 1),
    "Student's t, 3 degrees": lambda rng: rng.gauss(0, 1) / (rng.gammavariate(1.5, 2) / 3) ** 0.5,
    "normal, one in twenty 10 above": lambda rng: rng.gauss(0, 1) + 10 * (rng.random() < 0.05),
    "log-normal, σ = 0.5": lambda rng: rng.lognormvariate(0, 0.5) / 0.6,
}
LENGTHS = (8, 20, 50)
POINTS, NEAR = 30, 1  # of a series with a change; how far from the true place counts as found
TAILS = (15, 4, 2)  # points on the new level
SIZES = (2, 3, 5)  # standard deviations
FALSE = 0.08  # the bound of a false alarm on any of these series


@dataclass(frozen=True)
class Row:
    """A share of series, for each length or number of points."""

    what: str
    columns: tuple[int, ...]
    shares: tuple[float, ...]


def series(rng: random.Random, noise: Noise, length: int, tail: int = 0, size: float = 0.0) -> list[float]:
    """A level with noise; the last `tail` points stand `size` higher."""
    return [100 + noise(rng) + size * (i >= length - tail) for i in range(length)]


def false_alarms(count: int) -> Iterator[Row]:
    """Series without a change in which one is seen."""
    for name, noise in NOISES.items():
        shares = []
        for length in LENGTHS:
            rng = random.Random(length)
            shares.append(sum(bool(change_points(series(rng, noise, length))) for _ in range(count)) / count)
        yield Row(name, LENGTHS, tuple(shares))


def found(count: int) -> Iterator[Row]:
    """Series with a change that is seen where it is."""
    for size in SIZES:
        shares = []
        for tail in TAILS:
            rng, at, hits = random.Random(tail), POINTS - tail, 0
            for _ in range(count):
                places = change_points(series(rng, NOISES["normal"], POINTS, tail, size))
                hits += any(abs(place - at) <= NEAR for place in places)
            shares.append(hits / count)
        yield Row(f"{size} standard deviations", TAILS, tuple(shares))


def show(title: str, rows: list[Row]) -> str:
    """A table in Markdown."""
    columns = [Cells(title, [row.what for row in rows], words=True)]
    for i, size in enumerate(rows[0].columns):
        columns.append(Cells(f"{size}", [f"{row.shares[i]:.3f}" for row in rows]))
    return formats.markdown(columns)


def main() -> None:
    """Simulate and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--short", action="store_true", help="40 series a figure")
    count = 40 if options.parse_args().short else 1000
    print(show("no change; points:", list(false_alarms(count))))  # noqa: T201 - a script of its own
    print()  # noqa: T201
    print(show(f"of {POINTS} points on the new level:", list(found(count))))  # noqa: T201


if __name__ == "__main__":
    main()
