"""Two models side by side: NLL by position in the document and by character.

Every model is drawn once; the page shows the two that are chosen, a file of its own the first two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness import figures
from harness.formats import Cells, clean
from harness.page import canvas
from harness.page.axes import FOOT, rungs
from harness.page.canvas import Chart
from harness.page.profiles import Profile, Profiles
from harness.page.scales import Scale, linear

TOP = 28  # pixels over the plot
FEWEST = 20  # targets below which a mean is not drawn


def charts(found: Profiles) -> list[Chart]:
    """By position (line data) and by character; none without a model, or where `missing` says so."""
    if not found.models:
        return []
    made = []
    if enough(found.at):
        made.append(
            chart(
                found,
                "position",
                "NLL by position",
                "position in the document, from 1",
                [str(i + 1) for i in range(len(found.at))],
                [model.positions for model in found.models],
                found.at,
            )
        )
    if not enough(found.of):
        return made
    names = canvas.signs(found.alphabet)
    order = sorted(range(len(names)), key=lambda i: (i == 0, names[i]))
    made.append(
        chart(
            found,
            "character",
            "NLL by character",
            "character to be foretold" + f"; {names[0]} ends a document" * bool(found.of[0]),
            [names[i] for i in order],
            [model.characters[order] for model in found.models],
            found.of[order],
        )
    )
    return made


def enough(n: NDArray[np.int64]) -> bool:
    """Whether there is anything to draw of sums over so many targets each."""
    return bool((n >= FEWEST).any())


def missing(found: Profiles) -> list[str]:
    """Which of the drawings there is not, and why."""
    return [
        f"Nothing is drawn by {what}: none has {FEWEST} test targets."
        for what, n in (("position", found.at), ("character", found.of))
        if found.models and len(n) and not enough(n)
    ]


def chart(
    found: Profiles,
    key: str,
    title: str,
    across: str,
    names: Sequence[str],
    sums: Sequence[np.ndarray],
    n: NDArray[np.int64],
) -> Chart:
    """Means over targets, where there are enough of them."""
    kept = [i for i in range(len(names)) if n[i] >= FEWEST]
    means = [values[kept] / np.maximum(n[kept], 1) for values in sums]  # of each model (K,)
    shown = [names[i] for i in kept]
    models = [model.name for model in found.models]
    said = f"{title} of {len(models)} models, two of them at a time; all are in the table."
    table = [
        Cells(key, [clean(name) for name in shown], words=True),
        Cells("targets", [f"{n[i]:,}" for i in kept]),
        *(
            Cells(clean(name), [figures.fixed(float(value), 3) for value in values])
            for name, values in zip(models, means, strict=True)
        ),
    ]
    return Chart(
        f"by-{key}",
        title,
        said,
        lambda width: draw(found.models, shown, means, across, width, said, joined=key == "position"),
        table,
        f"Mean −ln p over test targets, in nats. Shown where there are at least {FEWEST} of them.",
    )


def draw(
    models: Sequence[Profile],
    names: Sequence[str],
    means: Sequence[np.ndarray],
    across: str,
    width: int,
    said: str,
    *,
    joined: bool,
) -> str:
    """Models in groups of class `model`; those of class `a` and `b` are seen."""
    wide = width >= canvas.WIDE
    height = 360 if wide else 300
    left, right, bottom = (64 if wide else 40), width - 12, height - FOOT
    finite = [float(value) for values in means for value in values if np.isfinite(value)]
    y = linear([0.0, *finite], bottom, TOP, room=0.03)
    y = Scale(max(0.0, y.low), y.high, y.start, y.end)
    step = (right - left) / len(names)
    places = [left + step * (i + 0.5) for i in range(len(names))]
    every = max(1, round((22 if joined else 11) / step + 0.49))
    parts = [
        *rungs(y, left, right, "nats"),
        *(canvas.line(x, TOP, x, bottom, "r") for x in places if not joined),
        *(
            canvas.text(x, bottom + 18, name, "t" if joined else "m", "middle")
            for i, (x, name) in enumerate(zip(places, names, strict=True))
            if i % every == 0
        ),
        canvas.text((left + right) / 2, bottom + 42, across, "t", "middle"),
    ]
    for i, (model, values) in enumerate(zip(models, means, strict=True)):
        at = [
            (x, y(float(v)), float(v), name)
            for x, v, name in zip(places, values, names, strict=True)
            if np.isfinite(v)
        ]
        inside = [canvas.path([(x, py) for x, py, _, _ in at], "line")] if joined and len(at) > 1 else []
        inside += [
            canvas.mark("circle", x, py, 4.2, "pa", f"{model.name}, {name}: {v:.3f}") for x, py, v, name in at
        ]
        chosen = {0: " a", 1: " b"}.get(i, "")
        parts.append(f'<g class="model{chosen}" data-model="{i}">{"".join(inside)}</g>')
    return canvas.svg(width, height, said, parts)
