"""Learning curves: dev NLL against the seconds of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness import figures
from harness.compare import Standing
from harness.formats import Cells, clean
from harness.labels import called_row
from harness.page import axes, canvas
from harness.page.canvas import Chart
from harness.page.scales import Box, apart, beside, crowd, linear, logarithmic

MOST = 24  # models: as many as have a colour and a dash of their own


@dataclass(frozen=True)
class Curve:
    """One fit: its checkpoints, and where it ended."""

    name: str
    points: tuple[tuple[float, float], ...]  # train seconds, dev NLL
    end: tuple[float, float]  # of the whole fit: it may have kept an earlier point


def curves(rows: Sequence[Standing]) -> list[Curve]:
    """Of each row its first repeat that is ok, where it has a dev NLL."""
    found = []
    for row in rows:
        record = row.record
        seconds, dev = record.timings.train_s, record.metrics.dev_nll
        if record.status == "ok" and seconds is not None and dev is not None:
            points = tuple((at, nll) for at, nll in record.curve if nll is not None and at > 0)
            found.append(Curve(called_row(row), points, (seconds, dev)))
    return found


def chart(rows: Sequence[Standing]) -> Chart | None:
    """None where no model has a dev NLL."""
    found = curves(rows)
    if not found:
        return None
    learning = sum(bool(curve.points) for curve in found)
    said = f"Dev NLL against training seconds: {learning} learning curves and {len(found)} models in all."
    left_out = f" The first {MOST} of {len(found)} are drawn." if len(found) > MOST else ""
    points = [(curve.name, *point) for curve in found for point in (curve.points or (curve.end,))]
    return Chart(
        "curves",
        "Learning curves",
        said,
        lambda width: draw(found[:MOST], width, said),
        [
            Cells("model", [clean(name) for name, _, _ in points], words=True),
            Cells("train s", [figures.seconds(at) for _, at, _ in points]),
            Cells("dev NLL", [figures.fixed(nll) for _, _, nll in points]),
        ],
        "Each sign is a checkpoint; a lone one is a model that is fitted in one go, a triangle on top lies "
        "beyond the scale. The clock stands still while dev is scored." + left_out,
    )


def draw(found: Sequence[Curve], width: int, said: str) -> str:
    """Wide: a curve's name at its end, a lone point's beside it. Narrow: all names in a key underneath."""
    wide = width >= canvas.WIDE
    learning = [i for i, curve in enumerate(found) if curve.points]
    plot = max(470, 19 * len(learning) + 90) if wide else 330
    left, top, bottom = (64 if wide else 44), axes.TOP, plot - axes.FOOT
    right = width - (250 if wide and learning else 14)
    seen = [curve.points or (curve.end,) for curve in found]
    x = logarithmic([at for points in seen for at, _ in points], left, right)
    limit = crowd(points[-1][1] for points in seen)
    y = linear([nll for points in seen for _, nll in points if nll <= limit], bottom, top)
    parts = axes.frame(
        x, y, "training time, seconds (log scale)", "dev NLL, nats per character", left, every_tick=wide
    )
    at = [[(x(seconds), y(nll)) for seconds, nll in points] for points in seen]
    for i, (curve, points) in enumerate(zip(found, seen, strict=True)):
        kind, shape = canvas.style(i)
        if len(points) > 1:
            parts.append(canvas.path(at[i], f"s {kind}", curve.name))
        for (px, py), (seconds, nll) in zip(at[i], points, strict=True):
            tip = f"{curve.name}: {figures.fixed(nll)} after {figures.seconds(seconds)} s"
            parts.append(canvas.mark("up" if y.beyond(nll) else shape, px, py, 3.6, f"p {kind}", tip))
    if not wide:
        keys = (axes.key(8, plot + 8 + 22 * i, width - 16, curve.name, i) for i, curve in enumerate(found))
        return canvas.svg(
            width, plot + 22 * len(found) + 10, said, [*parts, *(part for key in keys for part in key)]
        )
    for i, place in zip(learning, apart([at[i][-1][1] for i in learning], 19, top, bottom), strict=True):
        px, py = at[i][-1]
        parts.append(canvas.path([(px + 6, py), (right + 14, place), (right + 22, place)], "lead"))
        parts += axes.key(right + 26, place, 220, found[i].name, i)
    return canvas.svg(width, plot, said, [*parts, *alone(found, at, Box(left, top - 24, right, bottom))])


def alone(found: Sequence[Curve], at: Sequence[Sequence[tuple[float, float]]], frame: Box) -> list[str]:
    """The names of lone points, where they cover no other point."""
    lone = [i for i, curve in enumerate(found) if not curve.points]
    taken = [Box(x - 5, y - 5, x + 5, y + 5) for points in at for x, y in points]
    names = [canvas.fitted(found[i].name, 200, 12.5, mono=True) for i in lone]
    widths = [canvas.span(name, 12.5, mono=True) for name in names]
    labels = beside([at[i][0] for i in lone], widths, 16, frame, taken)
    return [
        canvas.text(label.left, label.top + 12, name, f"m h {canvas.style(i)[0].split()[0]}")
        for i, name, label in zip(lone, names, labels, strict=True)
        if label is not None
    ]
