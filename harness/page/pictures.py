"""The page and its drawings as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.errors import UsageError
from harness.page import MARK
from harness.page.canvas import WIDE, Chart
from harness.page.palette import standalone
from harness.store import write_whole

SCALE = 2  # pixels of a PNG to one of the drawing


def claim(output: Path) -> None:
    """See that no foreign file is in the way: only an older page is written over."""
    try:
        with output.open("rb") as file:
            ours = file.read(len(MARK)) == MARK.encode()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"--output {output}: {error.strerror or error}") from None
    if not ours:
        raise UsageError(f"--output {output} exists and is no page of harness report: name another file")


def save_svg(folder: Path, chart: Chart) -> None:
    """A drawing as SVG, light, its style inside."""
    write_whole(folder / f"{chart.name}.svg", standalone(chart.draw(WIDE)).encode())


def save_png(folder: Path, chart: Chart) -> None:
    """A drawing as PNG, two pixels to one of the page."""
    write_whole(folder / f"{chart.name}.png", renderer()(standalone(chart.draw(WIDE))))


def renderer() -> Callable[[str], bytes]:
    """SVG -> PNG; a `UsageError` says what to install."""
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        raise UsageError("--png needs the extra report: pip install 'nextchar-harness[report]'") from None
    return lambda drawing: bytes(svg_to_bytes(svg_string=drawing, zoom=SCALE))
