"""Quality against cost: which models no other beats in both (the Pareto front)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness import figures
from harness.compare import Standing
from harness.formats import Cells, clean
from harness.labels import called_row
from harness.page import axes, canvas
from harness.page.canvas import Chart
from harness.page.scales import Box, beside, crowd, linear, logarithmic
from harness.values import largest, speed, timing

MOST = 40  # models that are drawn


@dataclass(frozen=True)
class Cost:
    """What a model costs in one respect."""

    key: str
    title: str  # on the switch
    axis: str  # under the drawing
    value: Callable[[Standing], float | None]
    text: Callable[[float | None], str]
    more_is_better: bool = False


def whole(value: float | None) -> str:
    """A count that may have been averaged."""
    return figures.whole(None if value is None else round(value))


COSTS = (
    Cost("train", "Training time", "training time, seconds (log scale)", timing("train_s"), figures.seconds),
    Cost("parameters", "Parameters", "parameters (log scale)", largest(lambda r: r.parameters), whole),
    Cost(
        "throughput",
        "Throughput",
        "characters scored per second (log scale)",
        speed("eval_chars_per_s"),
        figures.rate,
        more_is_better=True,
    ),
)


@dataclass(frozen=True)
class Model:
    """A point."""

    name: str
    cost: float
    nats: float


def front(points: Sequence[Model], *, more_is_better: bool = False) -> list[int]:
    """Those that no other beats: none is as good in both and better in one. Cheapest first."""
    sign = -1 if more_is_better else 1
    order = sorted(range(len(points)), key=lambda i: (sign * points[i].cost, points[i].nats))
    found: list[int] = []
    for i in order:
        if not found or points[i].nats < points[found[-1]].nats or points[i] == points[found[-1]]:
            found.append(i)
    return [
        i
        for i in found
        if (points[i].cost, points[i].nats) in {(points[j].cost, points[j].nats) for j in found}
    ]


def charts(rows: Sequence[Standing]) -> list[Chart]:
    """A drawing for each cost that at least one scored model has."""
    return [made for cost in COSTS if (made := chart(rows, cost)) is not None]


def chart(rows: Sequence[Standing], cost: Cost) -> Chart | None:
    """The models by one cost."""
    known = [(row, value) for row in rows if row.test is not None and (value := cost.value(row)) is not None]
    points = [Model(called_row(row), value, row.test.nats) for row, value in known if row.test is not None]
    if not points:
        return None
    best = front(points, more_is_better=cost.more_is_better)
    names = ", ".join(points[i].name for i in best)
    said = f"Test NLL against {cost.title.lower()} of {len(points)} models. On the Pareto front: {names}."
    table = [
        Cells("model", [clean(point.name) for point in points], words=True),
        Cells(cost.title.lower(), [cost.text(point.cost) for point in points]),
        Cells("test NLL", [figures.fixed(point.nats) for point in points]),
        Cells("on the front", ["yes" if i in best else "" for i in range(len(points))], words=True),
    ]
    return Chart(
        f"cost-{cost.key}",
        cost.title,
        said,
        lambda width: draw(points[:MOST], [i for i in best if i < MOST], cost, width, said),
        table,
        "Filled: no other model is at once cheaper and better. Hollow: some other model is. A triangle "
        "on top lies beyond the scale.",
    )


def draw(points: Sequence[Model], best: Sequence[int], cost: Cost, width: int, said: str) -> str:
    """Points with their names; the front as a stair."""
    wide = width >= canvas.WIDE
    height = 470 if wide else 400
    left, right, top, bottom = (64 if wide else 44), width - 16, axes.TOP, height - axes.FOOT
    free = any(point.cost <= 0 for point in points)  # no place for it on a log scale
    x = logarithmic([point.cost for point in points], left + (52 if free else 0), right)
    limit = crowd(point.nats for point in points)
    y = linear([point.nats for point in points if point.nats <= limit], bottom, top)

    def at(point: Model) -> tuple[float, float]:
        return (left + 22 if point.cost <= 0 else x(point.cost)), y(point.nats)

    order = [*best, *(i for i in range(len(points)) if i not in best)]  # those on the front are named first
    points, best = [points[i] for i in order], range(len(best))
    where = [at(point) for point in points]
    names = [canvas.fitted(point.name, 200 if wide else 105, 12.5, mono=True) for point in points]
    widths = [canvas.span(name, 12.5, mono=True) for name in names]
    steps = stair([where[i] for i in best], left if cost.more_is_better else right)
    lines = [
        Box(min(a, c) - 2, min(b, d) - 2, max(a, c) + 2, max(b, d) + 2) for (a, b), (c, d) in pairwise(steps)
    ]
    labels = beside(where, widths, 16, Box(left, top - 24, right, bottom), lines)
    parts = [
        *axes.frame(x, y, cost.axis, "test NLL, nats per character", left, every_tick=wide),
        canvas.text(right, 12, "↘ better" if cost.more_is_better else "↙ better", "t", "end"),
        canvas.path(steps, "front"),
    ]
    if free:
        parts.append(canvas.text(left + 22, bottom + 18, "0", "t n", "middle"))
    for i, (point, (px, py), name, label) in enumerate(zip(points, where, names, labels, strict=True)):
        tip = f"{point.name}: {figures.fixed(point.nats)} nats, {cost.text(point.cost)}"
        if label is not None:
            near = (min(max(px, label.left), label.right), min(max(py, label.top), label.bottom))
            if abs(near[0] - px) + abs(near[1] - py) > 12:
                parts.append(canvas.line(px, py, *near, "lead"))
        shape = "up" if y.beyond(point.nats) else "circle"
        parts.append(canvas.mark(shape, px, py, 5.5, "first" if i in best else "off", tip))
        if label is not None:
            parts.append(canvas.text(label.left, label.top + 12, name, "m h b" if i in best else "m h g"))
    return canvas.svg(width, height, said, parts)


def stair(front: Sequence[tuple[float, float]], last: float) -> list[tuple[float, float]]:
    """What can be had for a cost: from model to model in steps, and on to the `last` pixel."""
    points: list[tuple[float, float]] = []
    for x, y in front:
        if points:
            points.append((x, points[-1][1]))
        points.append((x, y))
    return [*points, (last, points[-1][1])]
