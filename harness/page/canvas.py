"""SVG written by hand. Elements carry classes, `palette` gives the classes their colours.

The same markup thus serves the page, light and dark, and a file of its own (`standalone`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from harness.formats import Cells, clean, middle

WIDE, NARROW = 1080, 350  # pixels of a chart on a screen and on a telephone
SHAPES = ("circle", "square", "diamond", "triangle", "down", "cross")  # by series, beside their colours
UNSEEN = {" ": "␣", "\n": "↵", "\t": "⇥"}  # characters that would not be seen alone
COLOURS, DASHES = 6, 4  # classes k0 … k5, d0 … d3


@dataclass(frozen=True)
class Chart:
    """A drawing that can be made at any width, with the same figures as a table."""

    name: str  # of its file, and its id in the page
    title: str
    said: str  # what it shows, for those who cannot see it
    draw: Callable[[int], str]  # width in pixels -> <svg>
    table: Sequence[Cells]
    caption: str = ""  # how to read it, under the drawing


def safe(said: str) -> str:
    """A foreign text as markup shows it: nothing in it is a tag, an entity, or invisible."""
    return escape(clean(said))


def svg(width: float, height: float, said: str, parts: Iterable[str]) -> str:
    """A drawing."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {px(width)} {px(height)}" '
        f'width="{px(width)}" height="{px(height)}" role="img" aria-label="{safe(said)}">'
        + "".join(parts)
        + "</svg>"
    )


def px(value: float) -> str:
    """A coordinate to a tenth of a pixel: `12`, `12.5`."""
    return f"{value:.1f}".removesuffix(".0")


def text(x: float, y: float, said: str, kind: str = "", anchor: str = "start", tip: str = "") -> str:
    """A line of text."""
    at = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{px(x)}" y="{px(y)}"{named(kind)}{at}>{safe(said)}{hint(tip)}</text>'


def turned(x: float, y: float, said: str, kind: str = "") -> str:
    """A line of text that runs upwards, centred."""
    return (
        f'<text transform="translate({px(x)} {px(y)}) rotate(-90)"{named(kind)} text-anchor="middle">'
        f"{safe(said)}</text>"
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<path d="M{px(x1)} {px(y1)}L{px(x2)} {px(y2)}"{named(kind)}/>'


def path(points: Iterable[tuple[float, float]], kind: str, tip: str = "") -> str:
    """A line through points."""
    d = "M" + "L".join(f"{px(x)} {px(y)}" for x, y in points)
    return f'<path d="{d}"{named(kind)}/>' if not tip else f'<path d="{d}"{named(kind)}>{hint(tip)}</path>'


def box(x: float, y: float, width: float, height: float, kind: str, tip: str = "", radius: float = 0) -> str:
    """A rectangle."""
    round_ = f' rx="{px(radius)}"' if radius else ""
    size = f'x="{px(x)}" y="{px(y)}" width="{px(width)}" height="{px(height)}"{round_}{named(kind)}'
    return f"<rect {size}/>" if not tip else f"<rect {size}>{hint(tip)}</rect>"


def squares(corners: Iterable[tuple[float, float]], side: float) -> str:
    """Many squares of one size as one element, by their upper left corners."""
    rest = f"h{px(side)}v{px(side)}h{px(-side)}z"
    return f'<path d="{"".join(f"M{px(x)} {px(y)}{rest}" for x, y in corners)}"/>'


def mark(shape: str, x: float, y: float, size: float, kind: str, tip: str = "") -> str:
    """A sign at a point; `size` is half its width."""
    s = size
    if shape == "circle":
        return f'<circle cx="{px(x)}" cy="{px(y)}" r="{px(s)}"{named(kind)}>{hint(tip)}</circle>'
    corners = {
        "square": [(-s, -s), (s, -s), (s, s), (-s, s)],
        "diamond": [(0, -1.3 * s), (1.3 * s, 0), (0, 1.3 * s), (-1.3 * s, 0)],
        "triangle": [(0, -1.2 * s), (1.15 * s, 0.9 * s), (-1.15 * s, 0.9 * s)],
        "right": [(1.3 * s, 0), (-s, 1.1 * s), (-s, -1.1 * s)],
        "up": [(0, -1.3 * s), (1.1 * s, s), (-1.1 * s, s)],
        "down": [(0, 1.2 * s), (1.15 * s, -0.9 * s), (-1.15 * s, -0.9 * s)],
        "cross": [
            (-1.2 * s, -0.4 * s), (-0.4 * s, -0.4 * s), (-0.4 * s, -1.2 * s), (0.4 * s, -1.2 * s),
            (0.4 * s, -0.4 * s), (1.2 * s, -0.4 * s), (1.2 * s, 0.4 * s), (0.4 * s, 0.4 * s),
            (0.4 * s, 1.2 * s), (-0.4 * s, 1.2 * s), (-0.4 * s, 0.4 * s), (-1.2 * s, 0.4 * s),
        ],
    }[shape]  # fmt: skip
    d = "M" + "L".join(f"{px(x + dx)} {px(y + dy)}" for dx, dy in corners) + "Z"
    return f'<path d="{d}"{named(kind)}>{hint(tip)}</path>'


def hint(tip: str) -> str:
    """What a pointer that rests on an element is told."""
    return f"<title>{safe(tip)}</title>" if tip else ""


def named(kind: str) -> str:
    """The class of an element."""
    return f' class="{kind}"' if kind else ""


def style(index: int) -> tuple[str, str]:
    """The classes and the sign of a series: no two of the first 24 share both colour and dash."""
    colour, dash = index % COLOURS, index // COLOURS % DASHES
    return f"k{colour} d{dash}", SHAPES[colour]


def signs(letters: str) -> list[str]:
    """Every character as it is shown; the boundary first: `.`, as in the lecture, if no character is one."""
    boundary = next(sign for sign in (".", "∎", "□") if sign not in letters)
    return [boundary, *(UNSEEN.get(c, c) for c in letters)]


def fitted(said: str, room: float, size: float = 13, *, mono: bool = False) -> str:
    """A foreign text, shortened in its middle so that it fits into so many pixels."""
    shown = clean(said)
    wide = max(1.0, span(shown, size, mono=mono) / max(1, len(shown)))
    return middle(shown, max(3, int(room / wide)))


def span(said: str, size: float = 13, *, mono: bool = False) -> float:
    """About how many pixels a text is wide."""
    each = 0.602 if mono else 0.56
    return size * sum(1.0 if unicodedata.east_asian_width(c) in "WF" else each for c in said)
