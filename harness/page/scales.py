"""From values to pixels: linear and logarithmic axes, their ticks, and labels that do not overlap."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from harness.figures import scaled
from harness.picture import ticks_of_decades


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` -> pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value; what lies outside is on the edge: see `beyond`."""
        inside = min(max(value, self.low), self.high)
        a, b, v = (math.log(x) if self.log else x for x in (self.low, self.high, inside))
        return self.start + (v - a) / (b - a) * (self.end - self.start)

    def beyond(self, value: float) -> bool:
        """Whether a value is too large for the scale."""
        return value > self.high

    def ticks(self, text: Callable[[float], str] = "{:g}".format) -> list[tuple[float, str]]:
        """Round values with their texts, about five."""
        if self.log:
            return [(value, text(value)) for value, _ in ticks_of_decades(self.low, self.high)]
        return [(value, text(value)) for value in ticks(self.low, self.high)]


def ticks(low: float, high: float) -> list[float]:
    """Round values from low to high, four to nine: steps of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = max(size * power for size in (1, 2, 5) if (high - low) / (size * power) >= 4 * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def crowd(nats: Iterable[float]) -> float:
    """Where a scale of NLL may end, so that a model far behind all others does not press them together.

    Two and a half times as far behind the best as the third quarter of the models.
    """
    found = sorted(nats)
    quarter = found[(3 * (len(found) - 1) + 3) // 4]
    limit = found[0] + 2.5 * (quarter - found[0])
    return limit if found[0] < limit < found[-1] else found[-1]


def linear(values: Iterable[float], start: float, end: float, room: float = 0.06) -> Scale:
    """A linear scale around some values, with a share of free room at both ends."""
    low, high = extent(values)
    wider = room * (high - low) or max(abs(high), 1.0) * 0.05
    return Scale(low - wider, high + wider, start, end)


def logarithmic(values: Iterable[float], start: float, end: float) -> Scale:
    """A logarithmic scale around positive values, at least a factor of two wide."""
    low, high = extent(value for value in values if value > 0)
    wider = max(1.25, math.sqrt(2 * low / high))
    return Scale(low / wider, high * wider, start, end, log=True)


def extent(values: Iterable[float]) -> tuple[float, float]:
    """The least and the greatest; 1 and 1 of nothing."""
    found = list(values) or [1.0]
    return min(found), max(found)


def brief(value: float) -> str:
    """A tick's text: `0.01`, `30`, `10k`, `1M`."""
    if value < 1000:
        return f"{value:g}"
    return scaled(value, 1)


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions in the order of `wanted`, at least `gap` apart, as near to it as can be (least squares).

    Pool adjacent violators on wanted − rank · gap, then into [low, high] where they fit there.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    pools: list[tuple[float, int]] = []  # mean and size
    for rank, i in enumerate(order):
        pools.append((wanted[i] - rank * gap, 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (a, n), (b, m) = pools[-2:]
            pools[-2:] = [((a * n + b * m) / (n + m), n + m)]
    upper = high - gap * (len(wanted) - 1)
    level = [max(low, min(mean, upper)) for mean, size in pools for _ in range(size)]
    placed = [0.0] * len(wanted)
    for rank, i in enumerate(order):
        placed[i] = level[rank] + rank * gap
    return placed


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Square pixels that both cover."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, across) * max(0.0, down)


def beside(
    points: Sequence[tuple[float, float]],
    widths: Sequence[float],
    height: float,
    frame: Box,
    lines: Sequence[Box] = (),
) -> list[Box | None]:
    """A box for the label of each point, earlier ones first: the place around it that covers least of others.

    None where every place would cover more than a tenth of it.
    """
    taken = [*lines, *(Box(x - 7, y - 7, x + 7, y + 7) for x, y in points)]
    placed: list[Box | None] = []
    for (x, y), width in zip(points, widths, strict=True):
        places = [
            Box(left, top, left + width, top + height)
            for distance in (9, 20, 34, 50)
            for left, top in (
                (x + distance, y - height / 2),
                (x - distance - width, y - height / 2),
                (x - width / 2, y - distance - height),
                (x - width / 2, y + distance),
                (x + distance * 0.8, y - distance * 0.8 - height),
                (x + distance * 0.8, y + distance * 0.8),
                (x - distance * 0.8 - width, y - distance * 0.8 - height),
                (x - distance * 0.8 - width, y + distance * 0.8),
            )
        ]
        best = min(places, key=lambda box: cost(box, taken, frame))  # the first of equals: the nearest
        fits = cost(best, taken, frame) <= 0.1 * width * height
        placed.append(best if fits else None)
        taken += [best] * fits
    return placed


def cost(box: Box, taken: Sequence[Box], frame: Box) -> float:
    """What a label there would cover, and what of it would lie outside the frame."""
    area = (box.right - box.left) * (box.bottom - box.top)
    return sum(box.overlap(other) for other in taken) + 2 * (area - box.overlap(frame))
