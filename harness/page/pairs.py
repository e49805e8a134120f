"""The bigram matrix as the lecture draws it (Karpathy, makemore part 1): a square a pair, its count in it.

A model is a bigram table when all that it has learned is one (V, V) array: counts, or weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.figures import scaled
from harness.formats import Cells, clean
from harness.page import canvas
from harness.page.canvas import Chart, signs
from harness.page.palette import LEVELS, SIGNED

READABLE = 30  # characters: with more there is no room for figures in the squares
MOST = 120  # characters: with more there are no squares


@dataclass(frozen=True, eq=False)
class Table:
    """What a model has learned of each pair."""

    model: str
    values: NDArray[np.float64] = field(repr=False)  # (V, V): row, then column
    letters: str  # V − 1 of them; 0 is the boundary

    @property
    def counts(self) -> bool:
        """Whether it holds counts, not weights."""
        return bool(
            (self.values >= 0).all() and (self.values == np.round(self.values)).all() and self.values.any()
        )


def table_of(model: str, params: Mapping[str, Any], letters: str) -> Table | None:
    """The model as a bigram table; None where it is none, or too large to draw."""
    v = len(letters) + 1
    if len(params) != 1 or v > MOST:
        return None
    (values,) = params.values()
    if values.shape != (v, v) or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        return None
    return Table(model, values.astype(np.float64), letters)


def chart(found: Table) -> Chart:
    """A grid of pairs."""
    kind = "counts" if found.counts else "weights"
    names = signs(found.letters)
    i, j = divmod(int(found.values.argmax()), len(names))
    said = (
        f"Bigram {kind} of {found.model}, {len(names)} by {len(names)} characters; the largest is "
        f"{figure(found, i, j)} at {names[i]}{names[j]}."
    )
    caption = (
        f"How often the second character follows the first in train; {names[0]} is start and end."
        if found.counts
        else f"The logit of the second character after the first; {names[0]} is start and end. "
        "The softmax of a row is what the model predicts: at its best, the row of counts divided by its sum."
    )
    columns = [Cells("first", [clean(name) for name in names], words=True)]
    for j, name in enumerate(names):
        columns.append(Cells(clean(name), [figure(found, i, j) for i in range(len(names))]))
    return Chart(
        f"bigram-{kind}",
        kind.capitalize(),
        said,
        lambda width: draw(found, names, width, said),
        columns,
        f"{caption} Model: {found.model}.",
    )


def figure(found: Table, i: int, j: int) -> str:
    """What stands in a square: `1,234` is `1234`, a weight has one decimal."""
    value = float(found.values[i, j])
    if not found.counts:
        return f"{value:.1f}".replace("-0.0", "0.0").replace("-", "−")
    return f"{value:.0f}" if value < 10_000 else scaled(value, 3)


def level(found: Table, value: float) -> str:
    """The step of the heat map: a figure by its share of the one farthest from 0."""
    most = float(np.abs(found.values).max()) or 1.0
    if found.counts:
        return f"q{math.ceil(value / most * (LEVELS - 1))}"
    return f"v{SIGNED + round(value / most * SIGNED)}"


def draw(found: Table, names: list[str], width: int, said: str) -> str:
    """Squares in rows of the first character; pair and figure inside, where they can be read."""
    v = len(names)
    margin = 22
    side = (width - margin) / v
    legible = width >= canvas.WIDE and v <= READABLE
    parts = []
    every = max(1, math.ceil(9 / side))
    for i, name in enumerate(names):
        middle = margin + side * (i + 0.5)
        if i % every == 0:
            parts += [
                canvas.text(10, middle + 4, name, "m", "middle"),
                canvas.text(middle, 14, name, "m", "middle"),
            ]
    shades: dict[str, list[tuple[int, int]]] = {}
    for i, j in np.ndindex(v, v):
        shades.setdefault(level(found, float(found.values[i, j])), []).append((i, j))
    for shade, squares in sorted(shades.items()):
        corners = [(margin + side * j, margin + side * i) for i, j in squares]
        inside = [canvas.squares(corners, side - 1)] if shade not in ("q0", f"v{SIGNED}") else []
        for (i, j), (x, y) in zip(squares, corners, strict=True) if legible else ():
            inside.append(canvas.text(x + side / 2, y + side * 0.42, names[i] + names[j], "c"))
            inside.append(canvas.text(x + side / 2, y + side * 0.8, figure(found, i, j), "u"))
        parts.append(f'<g class="{shade}">{"".join(inside)}</g>')
    return canvas.svg(width, width, said, parts)
