"""The picture of a learning-rate range test as SVG, written by hand: no library is needed to look at it."""

from __future__ import annotations

import math
from collections.abc import Callable

from harness.formats import middle
from harness.lr_range import Curve
from harness.svg import BLUE, GREEN, GREY, INK, ORANGE, RULE, drawing, line, path, text, ticks

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 76, 736, 104, 396  # the plot's edges


def draw(curve: Curve, title: str, subtitle: str, loss: str) -> str:
    """Points, the smoothed curve, and where it is steepest and lowest; a diverged fit is a cross on top."""
    x, y = scales(curve)
    decades = ticks_of_decades(float(curve.rates[0]), float(curve.rates[-1]))
    levels = ticks(float(curve.smooth.min()), curve.ceiling)
    said = f"{loss} over the learning rate. {' '.join(sentences(curve))}"
    parts = [
        text(LEFT, 28, middle(title, 68), INK, size=17, weight="bold"),
        text(LEFT, 48, middle(subtitle, 92), GREY),
        *(line(x(rate), TOP, x(rate), BOTTOM, RULE) for rate, _ in decades),
        *(text(x(rate), BOTTOM + 20, name, GREY, "middle") for rate, name in decades),
        *(line(LEFT, y(level), RIGHT, y(level), RULE) for level in levels),
        *(text(LEFT - 8, y(level) + 4, f"{level:g}", GREY, "end") for level in levels),
        line(LEFT, BOTTOM, RIGHT, BOTTOM, GREY),
        line(LEFT, TOP, LEFT, BOTTOM, GREY),
        text((LEFT + RIGHT) / 2, HEIGHT - 20, "learning rate (log scale)", INK, "middle"),
        text(RIGHT, HEIGHT - 20, legend(curve), GREY, "end"),
        f'<g transform="rotate(-90 20 {(TOP + BOTTOM) / 2})">'
        f"{text(20, (TOP + BOTTOM) / 2, loss, INK, 'middle')}</g>",
        *marks(curve, x),
        path(((x(rate), y(level)) for rate, level in zip(curve.rates, curve.smooth, strict=True)), BLUE),
        *(point(x(rate), nll, curve.ceiling, y) for rate, nll in zip(curve.rates, curve.nll, strict=True)),
    ]
    return drawing(WIDTH, HEIGHT, title, said, parts)


def scales(curve: Curve) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """Rate -> x on a log scale, NLL -> y; what is above the ceiling stands at the top edge."""
    low, high = (math.log10(rate) for rate in (curve.rates[0], curve.rates[-1]))
    least = min(float(curve.smooth.min()), float(curve.nll.min()))
    bottom = least - 0.05 * (curve.ceiling - least)

    def x(rate: float) -> float:
        return LEFT + 12 + (math.log10(rate) - low) / (high - low) * (RIGHT - LEFT - 24)

    def y(nll: float) -> float:
        return BOTTOM - (min(nll, curve.ceiling) - bottom) / (curve.ceiling - bottom) * (BOTTOM - TOP)

    return x, y


def sentences(curve: Curve) -> list[str]:
    """What is read off the curve, in words."""
    said = [f"Minimum of the smoothed curve at {curve.rates[curve.minimum]:.3g}."]
    if curve.steepest is not None:
        said.insert(0, f"Steepest descent at {curve.rates[curve.steepest]:.3g}.")
    return said


def legend(curve: Curve) -> str:
    """What the signs at the top edge mean, where there are any."""
    diverged = curve.nll == math.inf
    above = (curve.nll > curve.ceiling) & ~diverged
    return ", ".join(["hollow: above the scale"] * bool(above.any()) + ["×: diverged"] * bool(diverged.any()))


def marks(curve: Curve, x: Callable[[float], float]) -> list[str]:
    """Dashed lines at the steepest descent and at the minimum, each with its name and its rate."""
    found = [("minimum", curve.minimum, GREEN, TOP - 10)]
    if curve.steepest is not None:
        found.append(("steepest descent", curve.steepest, ORANGE, TOP - 26))  # a line higher: no overlap
    result = []
    for name, index, colour, height in found:
        rate = float(curve.rates[index])
        near_the_end = x(rate) > RIGHT - 180
        at = x(rate) + (-4 if near_the_end else 4)
        result += [
            line(x(rate), height - 10, x(rate), BOTTOM, colour, dash="5 4"),
            text(at, height, f"{name} {rate:.3g}", colour, "end" if near_the_end else "start"),
        ]
    return result


def point(x: float, nll: float, ceiling: float, y: Callable[[float], float]) -> str:
    """A measured fit: a dot; a cross on the top edge where it diverged, a hollow dot where it is above."""
    top = y(nll)
    if math.isinf(nll):
        return f'<path d="M{x - 5:.1f} {top - 5:.1f}l10 10m0 -10l-10 10" stroke="{INK}" stroke-width="2"/>'
    fill = "#ffffff" if nll > ceiling else BLUE
    return f'<circle cx="{x:.1f}" cy="{top:.1f}" r="3.5" fill="{fill}" stroke="{BLUE}"/>'


def ticks_of_decades(low: float, high: float) -> list[tuple[float, str]]:
    """1, 2 and 5 in every decade, or its 1 alone where that would be too many; each with its text."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(decades) <= 4 else (1,)
    rates = [step * 10.0**decade for decade in decades for step in steps]
    return [(rate, f"{rate:g}") for rate in rates if low * 0.999 <= rate <= high * 1.001]
