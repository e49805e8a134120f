"""What several drawings share: a frame of two axes, and the key of a series."""

from __future__ import annotations

from collections.abc import Sequence

from harness.page import canvas
from harness.page.scales import Scale, brief

TOP, FOOT = 42, 52  # pixels over and under a plot


def frame(x: Scale, y: Scale, across: str, up: str, left: float, *, every_tick: bool = True) -> list[str]:
    """Axes with their ticks and titles; `left` is where the lines begin."""
    ticks = x.ticks(brief)
    return [
        *rungs(y, left, x.end, up),
        *(canvas.line(x(value), y.start, x(value), y.start + 5, "x") for value, _ in ticks),
        *(
            canvas.text(x(v), y.start + 18, name, "t n", "middle")
            for v, name in (ticks if every_tick else decades(ticks))
        ),
        canvas.text((left + x.end) / 2, y.start + 42, across, "t", "middle"),
    ]


def rungs(y: Scale, left: float, right: float, up: str) -> list[str]:
    """The upright axis: a line a tick, its values, its title on top, the ground line."""
    ticks = y.ticks()
    return [
        *(canvas.line(left, y(value), right, y(value), "r") for value, _ in ticks),
        *(canvas.text(left - 8, y(value) + 4, name, "t n", "end") for value, name in ticks),
        canvas.line(left, y.start, right, y.start, "x"),
        canvas.text(4, 12, up, "t"),
    ]


def decades(ticks: Sequence[tuple[float, str]]) -> Sequence[tuple[float, str]]:
    """Of the ticks of a logarithmic scale the powers of ten, where there are two at least."""
    found = [tick for tick in ticks if f"{tick[0]:.0e}"[0] == "1"]
    return found if len(found) > 1 else ticks[::2]


def key(x: float, y: float, room: float, name: str, index: int) -> list[str]:
    """The sign of a series and its name."""
    kind, shape = canvas.style(index)
    shown = canvas.fitted(name, room - 15, 12.5, mono=True)
    return [
        canvas.mark(shape, x + 5, y, 4, f"p {kind}"),
        canvas.text(x + 15, y + 4, shown, f"m {kind.split()[0]}", tip=name),
    ]
