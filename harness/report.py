"""Records -> what people and programs read: a table with its notes, in every format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from harness import formats
from harness.columns import Column, shown
from harness.compare import Scores, repeats, standings
from harness.formats import Cells, clean
from harness.labels import called
from harness.notes import heading, notes
from harness.record import Header, Record

__all__ = ["View", "as_json", "clean", "label", "render", "samples", "simple", "table"]

WIDTH = 100  # characters of a table where no terminal says otherwise
NARROWEST = 40  # below that a terminal breaks the lines
SHOWN_SAMPLES = 5
NOTHING = "no cell has finished"

Drawn = Callable[[Record], Sequence[str] | None]


@dataclass(frozen=True)
class View:
    """How a run is shown."""

    format: str = "table"  # or markdown, latex, csv, json
    columns: Sequence[Column] | None = None  # None: the default
    each_seed: bool = False  # a row a repeat
    width: int = WIDTH


def render(
    header: Header,
    records: Sequence[Record],
    scores: Scores,
    drawn: Drawn,
    looks: int | None = None,
    view: View | None = None,
) -> str:
    """A run in the format of the view. Every format holds the same figures; JSON is the records."""
    view = view or View()
    if view.format == "json":
        return as_json(header, records)
    if view.format == "table":
        text = table(header, records, scores, looks, view)
        below = samples(records, drawn, each_seed=view.each_seed, width=view.width)
        return f"{text}\n\n{below}" if below else text
    rows = standings(records, scores, each_seed=view.each_seed)
    columns = shown(view.columns, rows)
    if view.format == "csv":
        fields = {field: value for column in columns for field, value in column.raw.items()}
        raw = [{field: value(row) for field, value in fields.items()} for row in rows]
        return formats.comma_separated(raw, list(fields))
    if not rows:
        return NOTHING
    title, below_it = "; ".join(heading(header, rows)), notes(rows, looks)
    cells = [column.cells(rows) for column in columns]
    if view.format == "latex":
        return formats.latex(cells, title, below_it)
    parts = (formats.in_markdown(title), formats.markdown(cells), formats.markdown_list(below_it))
    return "\n\n".join(parts)


def table(
    header: Header,
    records: Sequence[Record],
    scores: Scores,
    looks: int | None = None,
    view: View | None = None,
) -> str:
    """The table for a terminal with what must be known to read it."""
    view = view or View()
    rows = standings(records, scores, each_seed=view.each_seed)
    if not rows:
        return NOTHING
    cells = [column.cells(rows) for column in shown(view.columns, rows)]
    parts = ("\n".join(heading(header, rows)), formats.plain(cells, view.width))
    return "\n\n".join([*parts, "\n".join(notes(rows, looks, view.width))])


def samples(records: Sequence[Record], drawn: Drawn, *, each_seed: bool = False, width: int = WIDTH) -> str:
    """A few samples of each row on one line; an empty document is shown as ∅."""
    rows = []
    for group in [(record,) for record in records] if each_seed else repeats(records):
        found = ((record, drawn(record)) for record in group)
        record, texts = next(((record, texts) for record, texts in found if texts), (group[0], None))
        if texts:
            few = [clean(text) or "∅" for text in texts[:SHOWN_SAMPLES]]
            if record.data.window or any("\n" in text for text in texts):
                few = [ascii(texts[0][:70])[1:-1] + "…"]
            rows.append((formats.middle(clean(called(record)), width // 3), ", ".join(few)))
    if not rows:
        return ""
    room = width - formats.GAP - formats.longest(name for name, _ in rows)
    lines = [(name, text if len(text) <= room else text[: room - 1] + "…") for name, text in rows]
    return f"Samples\n{tabulate(lines, tablefmt='plain', disable_numparse=True)}"


def label(record: Record) -> str:
    """Model and options, and the repeat where it is not the first."""
    return record.label + (f" #{record.repeat + 1}" if record.repeat else "")


def as_json(header: Header, records: Sequence[Record]) -> str:
    """Header and records as one JSON document."""
    import msgspec

    return formats.in_json({"header": msgspec.to_builtins(header), "records": msgspec.to_builtins(records)})


def simple(rows: Sequence[Mapping[str, Any]]) -> str:
    """A plain table of dictionaries, for lists and cards; the first row names the columns."""
    if not rows:
        return ""
    columns = [Cells(title, [clean(str(row[title])) for row in rows], words=True) for title in rows[0]]
    return formats.block(columns, [column.natural for column in columns])
