"""What `harness history` prints: a row a model with its sparkline, what happened and when, the points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import formats
from harness.errors import StoreError
from harness.figures import ABSENT, bar
from harness.formats import Cells, clean
from harness.history import History, Point, Series

SPARKS = 40  # points of a sparkline, the newest


def render(found: History, form: str, width: int) -> str:
    """A history in one of the formats; CSV holds a row a point, JSON everything."""
    if form == "json":
        return formats.in_json(document(found))
    if form == "csv":
        rows = [raw(series, point) for series in found.series for point in series.points]
        return formats.comma_separated(rows, list(rows[0]))
    sheets = [overview(found)]
    if len(found.series) == 1:
        sheets.append(points(found, found.series[0]))
    title, below = heading(found), [clean(note) for note in notes(found)]
    if form == "latex":
        first, *more = sheets
        return "\n\n".join(
            [formats.latex(first, title, below), *(formats.latex(sheet, title, []) for sheet in more)]
        )
    if form == "markdown":
        tables = [formats.markdown(sheet) for sheet in sheets]
        return "\n\n".join([formats.in_markdown(title), *tables, formats.markdown_list(below)])
    tables = [formats.plain(sheet, width) for sheet in sheets]
    return "\n\n".join([title, *tables, "\n".join(below)])


def heading(found: History) -> str:
    """What is followed, on which data, over how many runs."""
    unit = f" ({found.metric.unit})" if found.metric.unit else ""
    days = dict.fromkeys((found.runs[0].created[:10], found.runs[-1].created[:10]))
    runs = "1 run" if len(found.runs) == 1 else f"{len(found.runs)} runs"
    return clean(
        f"{found.metric.key}{unit}, {found.dataset}, split {found.split}: {runs}, {' to '.join(days)}"
    )


def overview(found: History) -> list[Cells]:
    """A row a model: its sparkline, its latest value, and how far that is from the one before."""
    return [
        Cells("model", [clean(series.name) for series in found.series], words=True, name=True),
        Cells("history", [sparkline(series) for series in found.series]),
        Cells("runs", [f"{len(series.measured)}/{len(series.points)}" for series in found.series]),
        Cells("latest", [last_text(found, series) for series in found.series]),
        Cells("since before", [last_step(found, series) for series in found.series]),
        Cells("level since", [level_since(series) for series in found.series], words=True),
    ]


def last_step(found: History, series: Series) -> str:
    """From the last measured point but one to the last, if they may be compared."""
    values: list[float] = []
    for point in series.points:
        values = [] if point.breaks else values
        values += [] if point.value is None else [point.value]
    return found.metric.difference(values[-2], values[-1]) if len(values) > 1 else ABSENT


def last_text(found: History, series: Series) -> str:
    """The value of the last run, or what happened there."""
    last = series.points[-1]
    return found.metric.text(last.value) if last.value is not None else last.status


def level_since(series: Series) -> str:
    """Where the level of today begins, or what can be compared with it; of the first run a dash."""
    starts = [level[0] for level in series.levels()]
    return where(series.points[starts[-1]]) if len(starts) > 1 else ABSENT


def sparkline(series: Series) -> str:
    """A character a run: its height, × where there is no score, ∞ for p = 0; | where it is broken."""
    values = [point.value for point in series.measured if point.value is not None]
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    signs = ""
    for point in series.points[-SPARKS:]:
        signs += "|" if point.breaks and signs else ""
        empty = "∞" if point.status == "p = 0" else "×"
        signs += empty if point.value is None else bar(point.value, low, high)
    return signs


def where(point: Point) -> str:
    """A run by its commit and day, or by its day and hour."""
    if point.commit is None:
        return clean(point.created[:16].replace("T", " "))
    return clean(f"{point.commit} ({point.created[:10]})")


def points(found: History, series: Series) -> list[Cells]:
    """Every point of one model."""
    shown = series.points
    return [
        Cells("created", [clean(point.created[:16].replace("T", " ")) for point in shown], words=True),
        Cells("commit", [clean(point.commit or ABSENT) for point in shown], words=True),
        Cells("run", [clean(point.run_id) for point in shown], words=True),
        Cells(found.metric.key, [found.metric.text(point.value) for point in shown]),
        Cells("status", [clean(point.status) for point in shown], words=True),
        Cells("what differs from the one before", [differs(point) for point in shown], words=True),
    ]


def differs(point: Point) -> str:
    """`new level; code`, `broken: data`."""
    broken = [f"broken: {', '.join(point.breaks)}"] if point.breaks else []
    return "; ".join([*broken, *(["new level"] if point.level else []), *point.changed])


def notes(found: History) -> list[str]:
    """What happened, oldest first, and how to read it."""
    happened: dict[tuple[str, str], list[str]] = {}
    for series in found.series:
        for event in events(found, series):
            happened.setdefault(event, []).append(series.name)
    lines = []
    for (_, said), names in sorted(happened.items()):
        everyone = len(names) == len(found.series) > 1
        lines.append(f"{'All models' if everyone else ', '.join(names)}: {said}")
    lines.append("history: oldest left, each on its own scale; × no score, ∞ p = 0, | not comparable across.")
    if any(len(series.points) > SPARKS for series in found.series):
        lines.append(f"A sparkline holds the last {SPARKS} runs; --svg draws all, --format csv lists them.")
    if found.searched:
        lines.append("A new level is a reason to look, not a verdict: `harness compare` pairs two runs.")
    else:
        lines.append("New levels were not looked for: that takes ruptures.")
    lines += [
        f"Left out: {cells} cells on {dataset}, split {split} (--dataset, --split)."
        for dataset, split, cells in found.left_out
    ]
    return lines


def events(found: History, series: Series) -> list[tuple[str, str]]:
    """New levels, breaks, and the failure of the last run, each with its time."""
    text, happened = found.metric.text, []
    for point, old, new in series.moves():
        moved = f"{text(old)} → {text(new)} ({found.metric.difference(old, new)})"
        changed = f"; changed there: {', '.join(point.changed)}" if point.changed else ""
        happened.append((point.created, f"new level at {where(point)}: {moved}{changed}."))
    for point in series.points:
        if point.breaks:
            other = f"other {', '.join(point.breaks)}"
            happened.append((point.created, f"not comparable across {where(point)}: {other}."))
    last = series.points[-1]
    if last.value is None:
        why = f": {last.reason}" if last.reason else ""
        happened.append((last.created, f"{last.status} at {where(last)}{why}."))
    return happened


# ---- machines


def raw(series: Series, point: Point) -> dict[str, Any]:
    """A point to the last bit."""
    return {
        "model": series.name,
        "run": point.run_id,
        "created": point.created,
        "commit": point.commit,
        "value": point.value,
        "status": point.status,
        "reason": point.reason,
        "seeds": point.repeats,
        "breaks": ";".join(point.breaks),
        "changed": ";".join(point.changed),
        "new_level": int(point.level),
    }


def document(found: History) -> dict[str, Any]:
    """The history for a program."""
    return {
        "metric": found.metric.key,
        "unit": found.metric.unit,
        "better": found.metric.better,
        "dataset": found.dataset,
        "split": found.split,
        "change_points": found.searched,
        "series": [
            {
                "model": series.name,
                "points": [
                    raw(series, point)
                    | {"breaks": point.breaks, "changed": point.changed, "new_level": point.level}
                    for point in series.points
                ],
                "levels": [
                    {"run": point.run_id, "before": old, "after": new} for point, old, new in series.moves()
                ],
            }
            for series in found.series
        ],
        "left_out": [
            {"dataset": dataset, "split": split, "cells": cells} for dataset, split, cells in found.left_out
        ],
    }


# ---- the picture


def save(path: Path, found: History) -> None:
    """Draw it into a file."""
    from harness.history_picture import draw

    unit = f" ({found.metric.unit})" if found.metric.unit else ""
    picture = draw(found, f"History of {found.metric.key}{unit}", f"{found.dataset}, split {found.split}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from None
