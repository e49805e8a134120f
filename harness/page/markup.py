"""HTML written by hand: every foreign text goes through `safe` or `name`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.formats import Cells
from harness.page.canvas import NARROW, WIDE, Chart, safe


def name(text: str) -> str:
    """A foreign name: set apart, so that right-to-left letters in it do not move what stands beside it."""
    return f"<bdi>{safe(text)}</bdi>"


def section(anchor: str, title: str, inside: str) -> str:
    """A part of the page."""
    head = f'<h2 id="{anchor}-title">{title}</h2>'
    return f'<section id="{anchor}" aria-labelledby="{anchor}-title">{head}{inside}</section>'


def table(columns: Sequence[Cells], caption: str) -> str:
    """A table whose first column names its rows."""
    head = "".join(f'<th scope="col"{left(column)}>{cell(column.title)}</th>' for column in columns)
    body = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row"{left(column)}>{cell(column.texts[i])}</th>'
            if j == 0
            else f"<td{left(column)}>{cell(column.texts[i])}</td>"
            for j, column in enumerate(columns)
        )
        + "</tr>"
        for i in range(len(columns[0].texts))
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{safe(caption)}">'
        f"<table><caption>{safe(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def cell(text: str) -> str:
    """The inside of a cell: only texts of letters need to be set apart."""
    return safe(text) if text.isascii() else name(text)


def left(column: Cells) -> str:
    """Words stand left, figures right."""
    return ' class="w"' if column.words else ""


def details(summary: str, body: str) -> str:
    """What can be opened."""
    return f"<details><summary>{safe(summary)}</summary>{body}</details>"


def figure(chart: Chart) -> str:
    """A drawing for wide and one for narrow screens, how to read it, and its figures as a table."""
    caption = f"<figcaption>{safe(chart.caption)}</figcaption>" if chart.caption else ""
    figures = details("The same as a table", table(chart.table, f"{chart.title}: {chart.said}"))
    return (
        f'<figure id="{chart.name}"><div class="wide">{chart.draw(WIDE)}</div>'
        f'<div class="narrow">{chart.draw(NARROW)}</div>{caption}{figures}</figure>'
    )


def switch(group: str, label: str, charts: Sequence[Chart]) -> str:
    """One of several drawings at a time, by radio buttons; in print all of them."""
    if len(charts) < 2:
        return "".join(figure(chart) for chart in charts)
    buttons = "".join(
        f'<input type="radio" name="{group}" id="{group}-{i}"{" checked" if not i else ""}>'
        f'<label for="{group}-{i}">{safe(chart.title)}</label>'
        for i, chart in enumerate(charts)
    )
    panels = "".join(
        f'<div class="panel"><h3>{safe(chart.title)}</h3>{figure(chart)}</div>' for chart in charts
    )
    return f'<fieldset class="switch"><legend>{safe(label)}</legend>{buttons}{panels}</fieldset>'


def listed(items: Iterable[str]) -> str:
    """Sentences, one a line."""
    return f'<ul class="notes">{"".join(f"<li>{safe(item)}</li>" for item in items)}</ul>'


def terms(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values."""
    return (
        "<dl>"
        + "".join(f"<div><dt>{safe(key)}</dt><dd>{name(value)}</dd></div>" for key, value in pairs)
        + "</dl>"
    )
