"""The picture of a history as SVG: a panel a model, all over the same runs, oldest left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.figures import scaled
from harness.formats import clean, middle
from harness.history import History, Point, Series
from harness.svg import BLUE, GREY, INK, ORANGE, RULE, drawing, line, safe, text, ticks

WIDTH, LEFT, RIGHT = 900, 84, 876
TOP, STEP, HEAD, PLOT = 62, 146, 44, 86  # of the first panel; of a panel: its height, its name's, its plot's
FOOT = 74  # commits, dates, the key
MOST = 12  # panels
LABEL = 66  # pixels that a commit takes
KEY = "dashed: the plugin's code or configuration changed; orange: a new level; ×: no score; ∞: p = 0"


@dataclass(frozen=True)
class Panel:
    """One series and where its figures stand."""

    series: Series
    x: Callable[[Point], float]
    y: Callable[[float], float]
    top: float  # of its plot
    bottom: float
    levels: Sequence[float]  # of its axis
    radius: float  # of its points


@dataclass(frozen=True)
class Event:
    """A rule through a panel, and what it says over it."""

    x: float
    said: str
    colour: str
    dash: str


def draw(history: History, title: str, subtitle: str) -> str:
    """The first panels of a history; what is not drawn, its subtitle says."""
    shown = history.series[:MOST]
    if len(shown) < len(history.series):
        subtitle += f"; the first {MOST} of {len(history.series)} models"
    places = {header.run_id: place for place, header in enumerate(history.runs)}
    wide = (RIGHT - LEFT - 36) / max(1, len(places) - 1)

    def x(point: Point) -> float:
        return LEFT + 18 + places[point.run_id] * wide

    bottom = TOP + STEP * len(shown)
    every = max(1, -int(-LABEL // wide))  # so that labels do not touch
    dated = [point for point in first_of(history) if places[point.run_id] % every == 0]
    parts = [
        text(LEFT, 26, middle(clean(title), 80), INK, size=17, weight="bold"),
        text(LEFT, 46, middle(clean(subtitle), 100), GREY),
        *(line(x(point), TOP + HEAD, x(point), bottom, RULE) for point in dated),
        *(text(x(point), bottom + 18, (point.commit or "–")[:7], INK, "middle") for point in dated),
        *(text(x(point), bottom + 34, point.created[:10], GREY, "middle", size=11) for point in dated),
        text(RIGHT, bottom + 60, KEY, GREY, "end", size=12),
    ]
    for number, series in enumerate(shown):
        parts += panel(placed(series, x, TOP + STEP * number + HEAD, min(3.5, wide / 2)), history)
    return drawing(WIDTH, bottom + FOOT, title, described(history, subtitle), parts)


def first_of(history: History) -> list[Point]:
    """A point a run."""
    found = {point.run_id: point for series in history.series for point in reversed(series.points)}
    return list(found.values())


def placed(series: Series, x: Callable[[Point], float], top: float, radius: float) -> Panel:
    """A panel with an axis of its own: levels of models lie far apart, changes are small."""
    values = [value for point in series.points if (value := point.value) is not None] or [0.0]
    low, high = min(values), max(values)
    room = 0.15 * (high - low) or 0.01 * abs(high) or 1.0
    low, high, bottom = low - room, high + room, top + PLOT

    def y(value: float) -> float:
        return bottom - (value - low) / (high - low) * PLOT

    levels = ticks(low, high) if series.measured else []
    return Panel(series, x, y, top, bottom, levels[:: 2 if len(levels) > 4 else 1], max(radius, 1.5))


def panel(of: Panel, history: History) -> list[str]:
    """Name, axis, line, points, and what happened between them."""
    series, x, y = of.series, of.x, of.y
    measured = series.measured
    latest = history.metric.text(measured[-1].value) if measured else "no value"
    parts = [
        text(LEFT, of.top - 22, middle(clean(series.name), 70), INK, weight="bold"),
        text(RIGHT, of.top - 22, latest, INK, "end"),
        *(line(LEFT, y(level), RIGHT, y(level), RULE) for level in of.levels),
        *(text(LEFT - 8, y(level) + 4, tick(level), GREY, "end", size=11) for level in of.levels),
        line(LEFT, of.bottom, RIGHT, of.bottom, GREY),
        *(link for pair in pairwise(series.points) for link in joined(of, *pair)),
    ]
    moves = series.moves()
    for level in series.levels() if moves else []:
        height = y(series.mean(level))
        first, last = x(series.points[level[0]]), x(series.points[level[-1]])
        parts.append(line(first - 7, height, last + 7, height, ORANGE))
    return [*parts, *rules(of, history), *(sign(of, point, history) for point in series.points)]


def joined(of: Panel, old: Point, new: Point) -> list[str]:
    """The line between two measured points, dashed where the code changed, none where it is broken."""
    if new.breaks or old.value is None or new.value is None:
        return []
    dash = "4 4" if new.changed else ""
    return [line(of.x(old), of.y(old.value), of.x(new), of.y(new.value), BLUE, dash)]


def rules(of: Panel, history: History) -> list[str]:
    """New levels and breaks; where there is no room for what they say, the rule alone."""
    points = of.series.points
    events = [
        Event(of.x(point) - 2 * of.radius, history.metric.difference(old, new), ORANGE, "2 3")
        for point, old, new in of.series.moves()
    ]
    events += [
        Event((of.x(old) + of.x(new)) / 2, ", ".join(new.breaks), GREY, "6 3")
        for old, new in pairwise(points)
        if new.breaks
    ]
    parts: list[str] = []
    taken: list[tuple[float, float]] = []
    for event in events:
        parts.append(line(event.x, of.top, event.x, of.bottom, event.colour, event.dash))
        half = 3.5 * len(event.said) + 3
        left, right = event.x - half, event.x + half
        if right < RIGHT + 12 and all(right < start or end < left for start, end in taken):
            parts.append(text(event.x, of.top - 5, event.said, event.colour, "middle", size=11))
            taken.append((left, right))
    return parts


def sign(of: Panel, point: Point, history: History) -> str:
    """A dot; of a cell without a value × or ∞ on the ground. Each says what it is when pointed at."""
    x = of.x(point)
    said = f"{point.created[:16]} {point.commit or ''} {history.metric.text(point.value)} {point.status}"
    tip = f"<title>{safe(said)}</title>"
    if point.value is not None:
        y = of.y(point.value)
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{of.radius:.1f}" fill="{BLUE}">{tip}</circle>'
    mark = text(x, of.bottom - 4, "∞" if point.status == "p = 0" else "×", INK, "middle", 15)
    return mark.replace("</text>", f"{tip}</text>")


def tick(level: float) -> str:
    """A value on an axis: `2.34`, `250k`."""
    return f"{level:g}" if abs(level) < 1e5 else scaled(level, 4)


def described(history: History, subtitle: str) -> str:
    """The picture in words."""
    changes = sum(point.level for series in history.series for point in series.points)
    found = f", {changes} changes of level" if history.searched else ""
    return f"{subtitle}: {len(history.series)} models over {len(history.runs)} runs{found}."
