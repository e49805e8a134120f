"""How a figure is printed: short, at a fixed precision, `–` where there is none."""

from __future__ import annotations

ABSENT = "–"
BARS = "▁▂▃▄▅▆▇█"


def fixed(value: float | None, digits: int = 4) -> str:
    """Fixed digits; infinity is `inf`."""
    return ABSENT if value is None else f"{value:.{digits}f}"


def short(value: float | None, digits: int = 4) -> str:
    """What is mostly below 1, without the zero before its point: `.0219`."""
    text = fixed(value, digits)
    sign, zero, rest = text.rpartition("0.")
    return f"{sign}.{rest}" if zero and sign in ("", "-") else text


def tiny(value: float) -> str:
    """One digit that counts, of a figure that four decimals would hide: `2e-5`."""
    return f"{value:.0e}".replace("e-0", "e-")


def interval(value: str, half: float | None) -> str:
    """`2.1668±.0134`."""
    return value if half is None else f"{value}±{short(half)}"


def whole(value: int | None) -> str:
    """A count with thousands marked; from 100,000 on three digits: `123k`, `1.23M`."""
    if value is None:
        return ABSENT
    return f"{value:,}" if abs(value) < 100_000 else scaled(value, 3)


def rate(value: float | None) -> str:
    """Characters a second: `950`, `12k`, `3.4M`."""
    return ABSENT if value is None else scaled(value, 2)


def scaled(value: float, digits: int) -> str:
    """So many digits that count, and k, M, G or T."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:  # 999.6k is 1.0M
            places = digits - 1
            while places and round(value / size, places) >= 10 ** (digits - places):
                places -= 1
            return f"{value / size:.{places}f}{unit}"
    return f"{value:.0f}"


def seconds(value: float | None) -> str:
    """Three digits that count, none beyond a millisecond: `123`, `12.3`, `0.334`, `<.001`."""
    if value is None:
        return ABSENT
    if value < 0.0005:
        return "<.001"
    for below, digits in ((0.9995, 3), (9.995, 2), (99.95, 1)):
        if value < below:
            return f"{value:.{digits}f}"
    return f"{value:.0f}"


def fine_seconds(value: float | None) -> str:
    """The same, but what is under half a millisecond keeps its digits: `1.23e-05`."""
    return f"{value:.2e}" if value is not None and 0 < value < 0.0005 else seconds(value)


def megabytes(value: int | None) -> str:
    """Bytes as MB (10⁶)."""
    return ABSENT if value is None else f"{value / 1e6:,.1f}"


def bar(value: float, low: float, high: float) -> str:
    """A value between two others as one of eight heights: `▄`. Sparklines are made of them."""
    return BARS[round((value - low) / (high - low) * (len(BARS) - 1)) if high > low else 0]
