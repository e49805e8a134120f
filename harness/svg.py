"""SVG written by hand: what our pictures share. No library is needed to look at one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

from harness.formats import clean

INK, GREY, RULE, BLUE, ORANGE, GREEN = "#1b1f24", "#57606a", "#e3e6ea", "#0b62c4", "#b35900", "#1a7f37"


def drawing(width: float, height: float, title: str, said: str, parts: Iterable[str]) -> str:
    """A file: its size in pixels, its name, what it shows in words, and its parts on white."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" font-family="system-ui, sans-serif" font-size="13">',
            f"<title>{safe(title)}</title>",
            f"<desc>{safe(said)}</desc>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, five or so: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
    return [round(i * step, 10) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def path(points: Iterable[tuple[float, float]], colour: str) -> str:
    """A curve through points."""
    d = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="{d}" fill="none" stroke="{colour}" stroke-width="2" stroke-opacity="0.5"/>'


def line(x1: float, y1: float, x2: float, y2: float, colour: str, dash: str = "") -> str:
    """A straight line."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}"{dashed}/>'


def text(
    x: float, y: float, said: str, colour: str, anchor: str = "start", size: int = 13, weight: str = "normal"
) -> str:
    """A text, its markup escaped."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}">{safe(said)}</text>'
    )


def safe(said: str) -> str:
    """A foreign text as SVG shows it."""
    return escape(clean(said))
