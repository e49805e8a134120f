"""A history on the page: with change points, and a broken line where the figures cannot be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from harness import figures
from harness.formats import Cells, clean
from harness.history import History, Point, Series
from harness.page import axes, canvas
from harness.page.canvas import Chart
from harness.page.scales import Scale, apart, crowd, linear
from harness.record import Header

MOST = 12  # series that are drawn
LATEST = 60  # runs


def chart(history: History | None) -> Chart | None:
    """None where no model was run twice."""
    drawn = [one for one in history.series if len(one.measured) > 1] if history else []
    if history is None or not drawn:
        return None
    drawn = sorted(drawn, key=lambda one: -len(one.measured))[:MOST]
    changes = sum(len(one.moves()) for one in history.series)
    said = f"Test NLL of {len(drawn)} models over {len(history.runs)} runs; new levels: {changes}."
    rows = [(one.name, point) for one in history.series for point in one.points]
    table = [
        Cells("model", [clean(name) for name, _ in rows], words=True),
        Cells("run", [clean(point.run_id) for _, point in rows], words=True),
        Cells("commit", [clean(point.commit or "–") for _, point in rows], words=True),
        Cells("test NLL", [shown(point) for _, point in rows]),
        Cells("differs in", [", ".join(differs(point)) for _, point in rows], words=True),
        Cells("change", ["new level" if point.level else "" for _, point in rows], words=True),
    ]
    caption = (
        "A line is broken where the data, the split or the contract changed: what lies on both sides is not "
        "one measurement. It is faint where the model's code or its configuration did. A rule is a new level"
        + ("." if history.searched else ": none was looked for, ruptures is not installed.")
    )
    return Chart("history", "History", said, lambda width: draw(drawn, history, width, said), table, caption)


def shown(point: Point) -> str:
    """A point's figure, or what happened to the cell."""
    return figures.fixed(point.value) if point.value is not None else clean(point.status)


def differs(point: Point) -> tuple[str, ...]:
    """What is not as it was in the run before."""
    return (*point.breaks, *point.changed)


def joints(one: Series) -> Iterator[tuple[int, int, bool]]:
    """Neighbouring measured points that a line joins, and whether the model is still the same."""
    for stretch in one.stretches():
        measured = [place for place in stretch if one.points[place].value is not None]
        for i, j in pairwise(measured):
            yield i, j, not any(one.points[place].changed for place in range(i + 1, j + 1))


def dates(headers: Sequence[Header]) -> list[str]:
    """`01-31`, month and day; of a run on the day of the one before it `14:05`."""
    days = [header.created[:10] for header in headers]
    return [
        header.created[11:16] if i and days[i] == days[i - 1] and header.created[11:] else days[i][5:]
        for i, header in enumerate(headers)
    ]


def draw(found: Sequence[Series], history: History, width: int, said: str) -> str:
    """Lines over runs, oldest left."""
    headers, values = history.runs, [[p.value for p in one.points if p.value is not None] for one in found]
    column = {header.run_id: i for i, header in enumerate(headers)}
    wide = width >= canvas.WIDE
    plot = max(380, 19 * len(found) + 90) if wide else 300
    left, bottom = (64 if wide else 44), plot - axes.FOOT
    right = width - (250 if wide else 14)
    x = Scale(-0.5, len(headers) - 0.5, left, right)
    limit = crowd(value for own in values for value in own)
    y = linear([value for own in values for value in own if value <= limit], bottom, axes.TOP)
    room = max(1, round((64 if wide else 76) / ((right - left) / len(headers)) + 0.49))
    labels = dates(headers[::room])
    what = "day, then time, UTC" if any(":" in label for label in labels) else "month and day"
    parts = [
        *axes.rungs(y, left, right, "test NLL, nats per character"),
        *(canvas.text(x(i), bottom + 18, label, "t n", "middle", tip=headers[i].run_id)
          for i, label in zip(range(0, len(headers), room), labels, strict=True)),
        canvas.text((left + right) / 2, bottom + 42, f"runs, oldest first ({what})", "t", "middle"),
    ]  # fmt: skip
    places = apart([y(own[-1]) for own in values], 19, axes.TOP, bottom) if wide else []
    for index, one in enumerate(found):
        kind, shape = canvas.style(index)
        at = {i: (x(column[p.run_id]), y(p.value)) for i, p in enumerate(one.points) if p.value is not None}
        for i, j, same in joints(one):
            parts.append(canvas.path([at[i], at[j]], f"s {kind}" if same else f"s {kind} faint"))
        for i, (px, py) in at.items():
            point = one.points[i]
            if point.level:
                parts.append(canvas.line(px, py - 16, px, py + 16, "change"))
            beyond = point.value is not None and y.beyond(point.value)
            tip = f"{one.name}, {point.run_id}: {shown(point)}"
            parts.append(canvas.mark("up" if beyond else shape, px, py, 4, f"p {kind}", tip))
        if wide:
            last = at[max(at)]
            parts.append(
                canvas.path(
                    [(last[0] + 6, last[1]), (right + 14, places[index]), (right + 22, places[index])], "lead"
                )
            )
            parts += axes.key(right + 26, places[index], 216, one.name, index)
        else:
            parts += axes.key(8, plot + 8 + 22 * index, width - 40, one.name, index)
    return canvas.svg(width, plot + (0 if wide else 22 * len(found) + 10), said, parts)
