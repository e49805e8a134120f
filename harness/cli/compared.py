"""What `harness compare` prints: the models in order, the pairs, the documents, and how to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness import formats
from harness.cli.verdicts import detects, notes
from harness.columns import distance, five, p_value
from harness.figures import ABSENT, fixed, interval
from harness.formats import Cells, clean

if TYPE_CHECKING:
    from harness.cli.differing import Document
    from harness.pairs import Pair, Scored

SHOWN = 40  # characters of a document in its row
END, SPACE = "end", "␣"  # as they are shown among single characters


@dataclass(frozen=True, eq=False)
class Result:
    """A comparison as it is printed."""

    places: Sequence[tuple[int | None, Scored]]
    pairs: Sequence[Pair]
    draws: int
    heading: str
    sources: Sequence[str]
    remarks: Sequence[str]
    looks: int | None
    documents: Sequence[Document] = field(default=())

    @property
    def tests(self) -> int:
        """How many pairs Holm's correction counts."""
        return sum(pair.p_holm is not None for pair in self.pairs)


@dataclass(frozen=True)
class Sheet:
    """One table."""

    title: str
    columns: Sequence[Cells]


def render(result: Result, form: str, width: int) -> str:
    """A comparison in one of the formats; CSV holds the pairs, JSON everything."""
    if form == "json":
        return formats.in_json(document(result))
    if form == "csv":
        rows = [raw(pair) for pair in result.pairs]
        return formats.comma_separated(rows, list(rows[0]))
    first, more = [models(result), table(result.pairs)], differing(result)
    below = [clean(note) for note in notes(result)]
    if form == "latex":
        sheets = [
            *((sheet, below if sheet is first[-1] else []) for sheet in first),
            *((s, []) for s in more),
        ]
        return "\n\n".join(formats.latex(sheet.columns, sheet.title, said) for sheet, said in sheets)
    if form == "markdown":
        before, after = (
            [f"{formats.in_markdown(s.title)}\n\n{formats.markdown(s.columns)}" for s in sheets]
            for sheets in (first, more)
        )
        return "\n\n".join([*before, formats.markdown_list(below), *after])
    before, after = (
        [f"{s.title}\n\n{formats.plain(s.columns, width)}" for s in sheets] for sheets in (first, more)
    )
    return "\n\n".join([*before, "\n".join(below), *after])


# ---- tables


def models(result: Result) -> Sheet:
    """Those that are compared, best first, with ranks that ties share."""
    scored = [one for _, one in result.places]
    estimates = [one.estimate for one in scored]
    nlls = ["inf" if e is None else interval(fixed(e.nats), e.half) for e in estimates]
    columns = [
        Cells("#", [ABSENT if rank is None else str(rank) for rank, _ in result.places]),
        Cells("model", [one.name for one in scored], words=True, name=True),
        Cells("NLL", nlls),
    ]
    if any(one.seeds > 1 for one in scored):
        columns += [
            Cells("seeds", [str(one.seeds) for one in scored]),
            Cells("sd seeds", [five(e.sd_seeds if e else None) for e in estimates]),
        ]
    columns.append(Cells("rests on", [one.rests_on for one in scored], words=True))
    return Sheet(result.heading, columns)


def table(pairs: Sequence[Pair]) -> Sheet:
    """A row a pair."""
    found = [pair.difference for pair in pairs]
    columns = [
        Cells("A", [pair.a.name for pair in pairs], words=True, name=True),
        Cells("B", [pair.b.name for pair in pairs], words=True, name=True),
        Cells("A − B", [distance(difference) for difference in found]),
    ]
    if any(one.seeds > 1 for pair in pairs for one in (pair.a, pair.b)):
        columns += [
            Cells("se docs", [five(d.se_docs if d else None) for d in found]),
            Cells("se seeds", [five(d.se_seeds if d else None) for d in found]),
        ]
    for which in ("unseen", "seen"):
        kind = [getattr(pair, which) for pair in pairs]
        if any(kind):
            columns.append(Cells(which, [distance(difference) for difference in kind]))
    return Sheet(
        "Pairs",
        [
            *columns,
            Cells("p", [p_value(pair.p) for pair in pairs]),
            Cells("Holm", [p_value(pair.p_holm) for pair in pairs]),
            Cells("detects", [detects(difference) for difference in found]),
            Cells("verdict", [pair.verdict for pair in pairs], words=True),
            Cells("scope", [pair.scope for pair in pairs], words=True),
        ],
    )


def differing(result: Result) -> list[Sheet]:
    """The documents on which two models differ most, and the strongest ones by character."""
    sheets = []
    for which in dict.fromkeys(document.which for document in result.documents):
        rows = [document for document in result.documents if document.which == which]
        told = {"unseen": ", unseen in train", "seen": ", seen in train"}.get(which, "")
        columns = [
            Cells("document", [named(document) for document in rows], words=True, name=True),
            Cells("targets", [f"{document.row.targets:,}" for document in rows]),
            Cells("A nats", [fixed(document.row.a) for document in rows]),
            Cells("B nats", [fixed(document.row.b) for document in rows]),
            Cells("A − B", [signed(document.row.nats) for document in rows]),
        ]
        if any(document.row.times > 1 for document in rows):
            columns.insert(1, Cells("times", [str(document.row.times) for document in rows]))
        sheets.append(Sheet(f"Documents that differ most{told}", columns))
        sheets += [by_character(document) for document in rows if document.characters]
    return sheets


def by_character(document: Document) -> Sheet:
    """−ln p of every character of a document, a column each."""
    columns = [Cells("nats", ["A", "B", "A − B"], words=True, name=True)]
    for character, a, b in document.characters:
        title = SPACE if character == " " else clean(character) or END
        apart = 0.0 if a == b else a - b
        columns.append(Cells(title, [fixed(a, 2), fixed(b, 2), signed(apart, 2)]))
    return Sheet(f"By character: {named(document)}", columns)


def named(document: Document) -> str:
    """A document's text, or its number where that is not known."""
    if document.text is None:
        return f"document {document.row.index + 1:,}"
    text = clean(document.text) or "∅"
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def signed(value: float, digits: int = 4) -> str:
    """A difference with its sign; what rounds to 0 has none."""
    return f"{value:+.{digits}f}" if round(value, digits) else fixed(0.0, digits)


# ---- for programs


def raw(pair: Pair) -> dict[str, Any]:
    """A pair as CSV and JSON have it, floats to the last bit."""
    found, better = pair.difference, pair.better
    row: dict[str, Any] = {
        "a": pair.a.name,
        "b": pair.b.name,
        "difference": None,
        "half": None,
        "se": None,
        "se_docs": None,
        "se_seeds": None,
        "units": None,
        "detectable": None,
        "p_t": None,
    }
    if found is not None:
        row |= {"difference": found.nats, "detectable": found.detectable, "p_t": found.p}
        row |= {name: getattr(found, name) for name in ("half", "se", "se_docs", "se_seeds", "units")}
    row |= {"p_sign_flip": pair.p_flip, "p": pair.p, "p_holm": pair.p_holm}
    for which in ("unseen", "seen"):
        kind = getattr(pair, which)
        row |= {which: kind and kind.nats, f"{which}_half": kind and kind.half}
    return row | {
        "new_best_from": pair.new_best_from,
        "verdict": pair.verdict,
        "better": None if better is None else better.name,
        "scope": pair.scope,
        "rests_on_a": pair.a.rests_on,
        "rests_on_b": pair.b.rests_on,
    }


def document(result: Result) -> dict[str, Any]:
    """Everything, for a program; infinite is null."""
    return {
        "heading": result.heading,
        "models": [place(rank, one) for rank, one in result.places],
        "tests": result.tests,
        "draws": result.draws,
        "looks": result.looks,
        "pairs": [raw(pair) for pair in result.pairs],
        "documents": [as_dict(each) for each in result.documents],
        "notes": notes(result),
    }


def place(rank: int | None, one: Scored) -> Mapping[str, Any]:
    """A model of a comparison."""
    found = one.estimate
    return {
        "rank": rank,
        "name": one.name,
        "source": one.source,
        "rests_on": one.rests_on,
        "seeds": one.seeds,
        "nll": None if found is None else found.nats,
        "half": None if found is None else found.half,
        "se_docs": None if found is None else found.se_docs,
        "sd_seeds": None if found is None else found.sd_seeds,
    }


def as_dict(each: Document) -> Mapping[str, Any]:
    """A document, its characters where they are known."""
    from harness.record import finite

    row = each.row
    return {
        "which": each.which or None,
        "index": row.index,
        "times": row.times,
        "text": each.text,
        "targets": row.targets,
        "a": finite(row.a),
        "b": finite(row.b),
        "difference": finite(row.nats),
        "characters": [
            {"character": character or None, "a": finite(a), "b": finite(b)}
            for character, a, b in each.characters
        ]
        or None,
    }
