"""Samples as the page shows them: a card a model, a mark a sample, their statistics underneath."""

from __future__ import annotations

from collections.abc import Sequence

from harness import figures
from harness.formats import Cells, clean
from harness.page.canvas import safe
from harness.page.facts import Samples
from harness.page.markup import details, name, table
from harness.record import DocumentStatistics

FITS = 12  # characters of a sample that are surely seen in its column
SIGNS = {"new": "+", "in train": "●", "in dev": "◐", "in test": "○"}


def samples(drawn: Sequence[Samples]) -> str:
    """A card a model: what it drew, each with its mark, beside as many real documents."""
    if not drawn:
        return ""
    marks = [mark for mark in SIGNS if any(mark in found for one in drawn for found in one.marks)]
    legend = "".join(f'<li><span class="mark">{SIGNS[mark]}</span> {mark}</li>' for mark in marks)
    cards = "".join(card(one) for one in drawn)
    key = f'<ul class="legend" aria-label="Marks">{legend}</ul>' if legend else ""
    return f'{key}<div class="cards">{cards}</div>{statistics(drawn)}'


def card(one: Samples) -> str:
    """One model's samples."""
    kind, show = ("pieces", piece) if one.running else ("samples", line)
    items = "".join(show(text, marks) for text, marks in zip(one.texts, one.marks, strict=True))
    return f'<article class="card"><h3>{name(one.name)}</h3><ul class="{kind}">{items}</ul></article>'


def line(text: str, marks: Sequence[str]) -> str:
    """A document and where it stands; an empty one is shown as ∅."""
    tip = f' title="{safe(text)}"' if len(text) > FITS else ""
    shown = f'<span class="drawn"{tip}>{name(text or "∅")}</span>'
    known = ' class="known"' if any(mark != "new" for mark in marks) else ""
    return f"<li{known}>{sign(marks)}{shown}</li>"


def piece(text: str, marks: Sequence[str]) -> str:
    """A piece of running text and where it stands."""
    lines = "\n".join(map(safe, text.split("\n")))
    return f"<li>{sign(marks)}<pre>{lines}</pre></li>"


def sign(marks: Sequence[str]) -> str:
    """The marks as signs, and in words for those who cannot see them."""
    if not marks:
        return ""
    said = safe(", ".join(marks))
    signs = "".join(SIGNS[mark] for mark in marks)
    return f'<span class="mark" role="img" aria-label="{said}" title="{said}">{signs}</span>'


def statistics(found: Sequence[Samples]) -> str:
    """Shares and distances of all samples, beside those of as many real documents."""
    known = [(one.name, one.statistics) for one in found if one.statistics is not None]
    if not known:
        return ""
    of: list[tuple[str, DocumentStatistics]] = [(model, given.drawn) for model, given in known]
    real = next(((given.real, given.real_from) for _, given in known if given.real is not None), None)
    if real is not None and real[0] is not None:
        of.append((f"real documents of {real[1]}", real[0]))
    columns = [Cells("samples of", [clean(model) for model, _ in of], words=True)]
    for title, field, digits in (
        ("drawn", "documents", 0),
        ("new", "novel", 3),
        ("in train", "in_train", 3),
        ("in dev", "in_dev", 3),
        ("in test", "in_test", 3),
        ("duplicates", "duplicates", 3),
        ("mean length", "mean_length", 2),
        ("length distance", "length_distance", 3),
        ("1-gram distance", "unigram_distance", 3),
        ("2-gram distance", "bigram_distance", 3),
        ("3-gram distance", "trigram_distance", 3),
    ):
        columns.append(Cells(title, [figures.fixed(getattr(each, field), digits) for _, each in of]))
    return details(
        "Statistics of all samples, beside real documents",
        table(
            columns,
            "Shares (0 to 1), and distances to held-out documents: a perfect model is close to the last row.",
        ),
    )
