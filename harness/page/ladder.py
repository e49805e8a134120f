"""The leaderboard drawn: a row a model, its test NLL with its interval, ties on one ground."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from harness import figures
from harness.columns import COLUMNS, behind, shown
from harness.compare import Standing
from harness.labels import called_row
from harness.page import canvas
from harness.page.canvas import Chart
from harness.page.scales import Scale, crowd, linear
from harness.values import nll, status

SHOWN = 60  # rows that are drawn; the table holds all


def chart(rows: Sequence[Standing]) -> Chart:
    """The rows in their order."""
    best = next((row for row in rows if row.test is not None), None)
    said = "No model has a test NLL."
    if best is not None:
        tied = sum(row.rank == best.rank for row in rows) - 1 if best.rank else 0
        said = (
            f"Test NLL of {len(rows)} models with 95 % intervals, best first. "
            f"{called_row(best)} leads with {figures.fixed(nll('test')(best))}"
            + (f", and {tied} more cannot be told apart from it." if tied else ".")
        )
    left_out = f" The first {SHOWN} of {len(rows)} are drawn." if len(rows) > SHOWN else ""
    return Chart(
        "leaderboard",
        "Leaderboard",
        said,
        lambda width: draw(rows[:SHOWN], width, said),
        [column.cells(rows) for column in shown([c for c in COLUMNS if c.shown != "asked"], rows)],
        "Test NLL in nats per character, with its 95 % interval: further left is better. Models on one "
        "shaded ground share a rank: on these documents they cannot be told apart. An arrow stands for what "
        "lies beyond the scale." + left_out,
    )


def draw(rows: Sequence[Standing], width: int, said: str) -> str:
    """Wide: rank, name, plot, figures on one line. Narrow: the plot under name and figure."""
    wide = width >= canvas.WIDE
    high = 32 if wide else 50
    top = 46
    height = top + high * len(rows) + 8
    plot = (330, width - 290) if wide else (34, width - 12)
    tests = [row.test for row in rows if row.test is not None]
    limit = crowd(test.nats for test in tests) if tests else 0.0
    ends = [test.nats + sign * (test.half or 0) for test in tests if test.nats <= limit for sign in (-1, 1)]
    scale = linear(ends, *plot, room=0.04)
    parts = [*heads(width, wide), *grid(scale, top, height - 8)]
    first = 0
    grounds, drawn = [], []
    for rank, group in groupby(rows, key=lambda row: row.rank):
        found = list(group)
        if rank is not None and len(found) > 1:
            grounds.append(
                canvas.box(0, top + high * first + 1, width, high * len(found) - 2, "band", radius=5)
            )
        for i, row in enumerate(found):
            drawn += one(row, top + high * (first + i), width, scale, first_of_rank=not i)
        first += len(found)
    foot = top + high * len(tests)
    guide = [canvas.line(x, top, x, foot, "guide") for x in [scale(test.nats) for test in tests[:1]]]
    return canvas.svg(width, height, said, [*grounds, *parts, *guide, *drawn])


def heads(width: int, wide: bool) -> list[str]:
    """What stands over the columns."""
    if not wide:
        return [
            canvas.text(8, 14, "#", "t"),
            canvas.text(34, 14, "model", "t"),
            canvas.text(width - 8, 14, "test NLL", "t", "end"),
        ]
    return [
        canvas.text(10, 14, "#", "t"),
        canvas.text(40, 14, "model", "t"),
        canvas.text(width - 146, 14, "test NLL", "t", "end"),
        canvas.text(width - 8, 14, "behind best", "t", "end"),
    ]


def grid(scale: Scale, top: float, bottom: float) -> list[str]:
    """Ticks over the plot and their lines through it."""
    ticks = scale.ticks()
    return [
        *(canvas.line(scale(value), top - 6, scale(value), bottom, "r") for value, _ in ticks),
        *(canvas.text(scale(value), top - 12, name, "t n", "middle") for value, name in ticks),
    ]


def one(row: Standing, top: float, width: int, scale: Scale, *, first_of_rank: bool) -> list[str]:
    """One row."""
    wide = width >= canvas.WIDE
    base = top + 21
    middle = top + 16 if wide else top + 36
    name = called_row(row)
    room = 280 if wide else width - 34 - 112
    value, half = nll("test")(row), row.test.half if row.test else None
    parts = []
    if row.rank is not None and first_of_rank:
        parts.append(canvas.text(10 if wide else 8, base, str(row.rank), "b n"))
    parts.append(
        canvas.text(40 if wide else 34, base, canvas.fitted(name, room, 12.5, mono=True), "m h", tip=name)
    )
    if row.test is None:
        why = "p = 0 on a target: infinite" if row.infinite else status(row) if not row.ok else "no test part"
        x, y = (scale.start, base) if wide else (34, top + 40)
        return [*parts, canvas.text(x, y, why, "t h")]
    text = figures.interval(figures.fixed(value), half)
    tip = f"{name}: {text}"
    leads = row.behind is None and row.rank == 1
    x = scale(row.test.nats)
    if scale.beyond(row.test.nats):
        parts.append(canvas.mark("right", x - 6, middle, 5, "dot", f"{tip}, beyond the scale"))
    else:
        if half is not None:
            ends = scale(row.test.nats - half), scale(row.test.nats + half)
            parts.append(canvas.line(ends[0], middle, ends[1], middle, "firstbar" if leads else "bar"))
        parts.append(canvas.mark("circle", x, middle, 4.5, "first" if leads else "dot", tip))
    if wide:
        parts.append(canvas.text(width - 146, base, text, "n", "end"))
        parts.append(canvas.text(width - 8, base, behind(row), "n g", "end"))
    else:
        parts.append(canvas.text(width - 8, base, text, "n h", "end"))
    return parts
