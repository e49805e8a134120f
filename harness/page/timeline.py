"""A metric over runs, with change points, and a broken line where the figures cannot be compared.

`series` is the one seam: whatever finds series and their change points, `chart` draws them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness import figures
from harness.columns import called
from harness.compare import repeats
from harness.formats import Cells, clean
from harness.page import axes, canvas
from harness.page.canvas import Chart
from harness.page.scales import Scale, apart, crowd, linear
from harness.record import Header, Record
from harness.store import Run

MOST = 12  # series that are drawn
LATEST = 60  # runs


@dataclass(frozen=True)
class Point:
    """A model's figure in one run."""

    run: int  # its place in the order of the runs
    value: float
    half: float | None
    facts: Mapping[str, str]  # what must be equal for two figures to be compared


@dataclass(frozen=True)
class Series:
    """A model over runs."""

    name: str
    points: Sequence[Point]
    changes: Sequence[int] = ()  # points at which a new level begins

    def broken(self, i: int) -> list[str]:
        """What differs between a point and the one before it: the line is broken there."""
        before, after = self.points[i - 1].facts, self.points[i].facts
        return [name for name in after if before.get(name) != after[name]]


def series(runs: Sequence[Run], names: Sequence[str]) -> list[Series]:
    """Test NLL of these models over the runs, oldest first; the mean over seeds where there are several."""
    found: dict[str, list[Point]] = {name: [] for name in names}
    for place, run in enumerate(runs):
        for group in repeats(run.records):
            point = measured(place, run.header, group)
            name = called_name(group)
            if point is not None and name in found and not any(p.run == place for p in found[name]):
                found[name].append(point)
    return [Series(name, points) for name, points in found.items() if points]


def called_name(group: Sequence[Record]) -> str:
    """A model by the selection that chooses it, its repeats left out."""
    return called(group[0], repeat=False)


def measured(place: int, header: Header, group: Sequence[Record]) -> Point | None:
    """The figure of one model in one run, or None."""
    values = [r.metrics.test_nll for r in group if r.status == "ok" and r.metrics.test_nll is not None]
    if not values:
        return None
    record = group[0]
    facts = {
        "data": record.data.dataset_sha256,
        "split": record.data.split_fingerprint,
        "contract": header.contract,
        "code": str(record.plugin.code_hash),
        "budget": record.budget,
    }
    half = group[0].metrics.test_nll_half if len(values) == 1 else None
    return Point(place, sum(values) / len(values), half, facts)


def chart(found: Sequence[Series], headers: Sequence[Header]) -> Chart | None:
    """None where no model was run twice."""
    drawn = sorted((one for one in found if len(one.points) > 1), key=lambda one: -len(one.points))[:MOST]
    if not drawn:
        return None
    changes = sum(len(one.changes) for one in found)
    said = f"Test NLL of {len(drawn)} models over {len(headers)} runs, with {changes} change points."
    rows = [
        (one.name, headers[point.run], point, one.broken(i) if i else [], i in one.changes)
        for one in found
        for i, point in enumerate(one.points)
    ]
    table = [
        Cells("model", [clean(name) for name, *_ in rows], words=True),
        Cells("run", [clean(header.run_id) for _, header, *_ in rows], words=True),
        Cells("commit", [clean(commit(header)) for _, header, *_ in rows], words=True),
        Cells("test NLL", [figures.interval(figures.fixed(p.value), p.half) for _, _, p, _, _ in rows]),
        Cells("differs in", [", ".join(what) for *_, what, _ in rows], words=True),
        Cells("change", ["new level" if change else "" for *_, change in rows], words=True),
    ]
    return Chart(
        "history",
        "History",
        said,
        lambda width: draw(drawn, headers, width, said),
        table,
        "A line is broken where the data, the split, the contract, the budget or the model's code changed: "
        "what lies on both sides is not one measurement.",
    )


def commit(header: Header) -> str:
    """The commit of a run, or what stands for it."""
    return str(header.environment.get("commit") or "–")


def draw(found: Sequence[Series], headers: Sequence[Header], width: int, said: str) -> str:
    """Lines over runs, oldest left."""
    wide = width >= canvas.WIDE
    plot = max(380, 19 * len(found) + 90) if wide else 300
    left, bottom = (64 if wide else 44), plot - axes.FOOT
    right = width - (250 if wide else 14)
    x = Scale(-0.5, len(headers) - 0.5, left, right)
    limit = crowd(point.value for one in found for point in one.points)
    y = linear([p.value for one in found for p in one.points if p.value <= limit], bottom, axes.TOP)
    room = max(1, round((64 if wide else 76) / ((right - left) / len(headers)) + 0.49))
    parts = [
        *axes.rungs(y, left, right, "test NLL, nats per character"),
        *(canvas.text(x(i), bottom + 18, header.created[5:10], "t n", "middle", tip=header.run_id)
          for i, header in enumerate(headers) if i % room == 0),
        canvas.text((left + right) / 2, bottom + 42, "runs, oldest first (month and day)", "t", "middle"),
    ]  # fmt: skip
    places = apart([y(one.points[-1].value) for one in found], 19, axes.TOP, bottom) if wide else []
    for index, one in enumerate(found):
        kind, shape = canvas.style(index)
        at = [(x(point.run), y(point.value)) for point in one.points]
        whole = [i for i in range(1, len(at)) if not one.broken(i)]
        parts += [canvas.path(at[i - 1 : i + 1], f"s {kind}") for i in whole]
        for i, ((px, py), point) in enumerate(zip(at, one.points, strict=True)):
            if i in one.changes:
                parts.append(canvas.line(px, py - 16, px, py + 16, "change"))
            measured = figures.interval(figures.fixed(point.value), point.half)
            tip = f"{one.name}, {headers[point.run].run_id}: {measured}"
            parts.append(canvas.mark("up" if y.beyond(point.value) else shape, px, py, 4, f"p {kind}", tip))
        if wide:
            last = at[-1]
            parts.append(
                canvas.path(
                    [(last[0] + 6, last[1]), (right + 14, places[index]), (right + 22, places[index])], "lead"
                )
            )
            parts += axes.key(right + 26, places[index], 216, one.name, index)
        else:
            parts += axes.key(8, plot + 8 + 22 * index, width - 40, one.name, index)
    return canvas.svg(width, plot + (0 if wide else 22 * len(found) + 10), said, parts)
