"""The split drawn: train, dev and test to scale, and what of dev and test stands in train."""

from __future__ import annotations

from harness.formats import Cells
from harness.page import canvas
from harness.page.canvas import Chart
from harness.record import Data

PARTS = ("train", "dev", "test")


def chart(data: Data) -> Chart:
    """A bar a part."""
    text = bool(data.window)
    unit = "characters" if text else "documents"
    sizes = data.targets if text else data.documents
    overlap = {} if text or data.in_sample else data.overlap
    seen = ", ".join(f"{overlap[part]:,} of {part}" for part in ("dev", "test") if part in overlap)
    said = ", ".join(f"{sizes[part]:,} {unit} in {part}" for part in PARTS) + "."
    said += f" In train too: {seen}." if seen else ""
    table = [
        Cells("part", PARTS, words=True),
        Cells("documents", [f"{data.documents[part]:,}" for part in PARTS]),
        Cells("targets", [f"{data.targets[part]:,}" for part in PARTS]),
        Cells("in train too", ["–" if part not in overlap else f"{overlap[part]:,}" for part in PARTS]),
    ]
    caption = (
        ""
        if not any(overlap.values())
        else "Hatched: documents that stand in train too. A model may know them by heart."
    )
    return Chart(
        "split", "Split", said, lambda width: draw(sizes, overlap, unit, width, said), table, caption
    )


def draw(sizes: dict[str, int], overlap: dict[str, int], unit: str, width: int, said: str) -> str:
    """Three bars on one scale."""
    wide = width >= canvas.WIDE
    left, high = (64, 34) if wide else (48, 34)
    most = max(1, *(sizes[part] for part in PARTS))
    room = width - left - (250 if wide else 120)
    parts = []
    for i, part in enumerate(PARTS):
        y, long = 6 + high * i, room * sizes[part] / most
        parts.append(canvas.text(0, y + 17, part, "b"))
        parts.append(
            canvas.box(left, y + 2, max(long, 1 if sizes[part] else 0), high - 12, "k0" if i == 0 else "k5")
        )
        known = overlap.get(part, 0)
        if known:
            end = long * known / sizes[part]
            parts += [
                canvas.line(left + x, y + high - 10, left + min(x + 9, end), y + 2, "hatch")
                for x in range(0, int(end), 6)
            ]
        share = f"{sizes[part]:,} {unit}" if wide else f"{sizes[part]:,}"
        said_too = f", {known:,} in train too" if part in overlap and wide else ""
        parts.append(canvas.text(left + long + 10, y + 17, share + said_too, "n g"))
    return canvas.svg(width, 8 + high * 3, said, parts)
