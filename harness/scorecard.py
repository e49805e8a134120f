"""Published figures beside ours: difference, verdict, and the table of a suite in every format."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness import columns, figures, formats, notes, values
from harness.columns import Raw
from harness.compare import Standing
from harness.errors import UnknownName
from harness.formats import Cells, clean
from harness.published import Recipe, Suite
from harness.record import finite
from harness.store import Run

Verdict = Literal["reproduced", "differs", "not comparable", "reduced", "failed", "skipped"]

ROUNDING = 1e-9  # a difference of exactly the tolerance is within it


@dataclass(frozen=True)
class Row:
    """One published figure, and what became of it here. Nats per character."""

    recipe: Recipe
    metric: str
    standing: Standing
    ours: float | None  # the mean over seeds; None where it was not measured
    half: float | None  # of its 95 % interval
    budget: str  # what it was run under: `2000steps`
    full: str  # what the published figure had

    @property
    def published(self) -> float:
        """The figure as it was published."""
        return self.recipe.published[self.metric]

    @property
    def difference(self) -> float | None:
        """Ours − published."""
        return None if self.ours is None else self.ours - self.published

    @property
    def verdict(self) -> Verdict:
        """One word; the tolerance decides only where like is compared with like."""
        if not self.standing.ok:
            return "skipped" if all(r.status == "skipped" for r in self.standing.records) else "failed"
        if self.recipe.why or self.difference is None:
            return "not comparable"
        if self.budget != self.full:
            return "reduced"
        return "reproduced" if abs(self.difference) <= self.recipe.tolerance + ROUNDING else "differs"

    @property
    def reason(self) -> str | None:
        """Why there is no verdict by the tolerance."""
        if self.verdict in ("failed", "skipped"):
            return values.reason(self.standing)
        cut = f"{self.budget} instead of {self.full}" if self.budget != self.full else None
        if self.verdict == "not comparable":
            why = self.recipe.why or self.standing.record.absent.get(self.metric)
            return "; ".join(text for text in (why, cut) if text) or None
        return cut


@dataclass(frozen=True, eq=False)
class Scorecard:
    """A suite that was run."""

    suite: Suite
    short: bool
    rows: Sequence[Row]
    runs: Sequence[Run]
    looks: Mapping[str, int]  # dataset and split -> test scores on record

    def __str__(self) -> str:
        return render(self)


# ---- columns


@dataclass(frozen=True)
class Column:
    """One column of the table: as `columns.Column`, of a `Row`."""

    key: str
    title: str
    text: Callable[[Row], str]
    raw: Mapping[str, Callable[[Row], Raw]]
    default: bool = True
    words: bool = False
    name: bool = False


def word(key: str, read: Callable[[Row], str | None], *, default: bool = False) -> Column:
    """A column of words."""
    return Column(
        key,
        key,
        lambda row: read(row) or figures.ABSENT,
        {key: read},
        default,
        words=True,
        name=key == "cell",
    )


def signed(value: float | None) -> str:
    """`+0.0005`."""
    return figures.ABSENT if value is None else f"{value:+.4f}"


def called_metric(row: Row) -> str:
    """`train`, `dev unseen`."""
    return row.metric.replace("_nll", "").replace("_", " ")


def of_record(key: str, title: str) -> Column:
    """A column of `harness run`, asked for by the same key."""
    found = next(column for column in columns.COLUMNS if column.key == key)

    def behind(read: Callable[[Standing], Raw]) -> Callable[[Row], Raw]:
        return lambda row: read(row.standing)

    raw = {field: behind(read) for field, read in found.raw.items()}
    return Column(
        key, title, lambda row: found.text(row.standing), raw, default=key == "model", words=found.words
    )


COLUMNS = (
    word("cell", lambda row: row.recipe.name, default=True),
    of_record("model", "model"),
    Column("metric", "NLL", called_metric, {"metric": lambda row: row.metric}, words=True),
    Column(
        "published", "published", lambda row: f"{row.published:g}", {"published": lambda row: row.published}
    ),
    Column(
        "ours",
        "ours",
        lambda row: figures.interval(figures.fixed(row.ours), row.half),
        {"ours": lambda row: row.ours, "ours_half": lambda row: row.half},
    ),
    Column(
        "difference",
        "difference",
        lambda row: signed(row.difference),
        {"difference": lambda row: row.difference},
    ),
    Column(
        "tolerance",
        "tolerance",
        lambda row: f"{row.recipe.tolerance:g}",
        {"tolerance": lambda row: row.recipe.tolerance},
    ),
    word("verdict", lambda row: row.verdict, default=True),
    word("dataset", lambda row: row.standing.record.dataset),
    word("split", lambda row: row.standing.record.split),
    word("budget", lambda row: row.budget),
    word("reason", lambda row: row.reason),
    word("source", lambda row: row.recipe.source),
    word("note", lambda row: row.recipe.note),
    of_record("status", "status"),
    of_record("seeds", "seeds"),
    of_record("params", "params"),
    of_record("train-s", "train s"),
)


def choose(text: str | None) -> list[Column]:
    """The columns that `--columns` names by key, in its order; `all` and `default` stand for theirs."""
    keys = {column.key: [column] for column in COLUMNS}
    keys |= {"all": list(COLUMNS), "default": [column for column in COLUMNS if column.default]}
    chosen: dict[str, Column] = {}
    for key in ("default" if text is None else text).split(","):
        if key.strip() not in keys:
            raise UnknownName("column", key.strip(), keys, where=" of a suite")
        chosen |= {column.key: column for column in keys[key.strip()]}
    return list(chosen.values())


# ---- the table


def render(
    card: Scorecard, form: str = "table", chosen: Sequence[Column] | None = None, width: int = 100
) -> str:
    """A suite's table in one of the formats of `harness run`, with the same figures in each."""
    chosen = choose(None) if chosen is None else chosen
    if form == "json":
        return formats.in_json(as_document(card))
    if form == "csv":
        fields = {field: read for column in chosen for field, read in column.raw.items()}
        rows = [{field: read(row) for field, read in fields.items()} for row in card.rows]
        return formats.comma_separated(rows, list(fields))
    cells = [Cells(c.title, [clean(c.text(row)) for row in card.rows], c.words, c.name) for c in chosen]
    title, below = heading(card), remarks(card)
    if form == "latex":
        return formats.latex(cells, title, below)
    if form == "markdown":
        parts = (formats.in_markdown(title), formats.markdown(cells), formats.markdown_list(below))
        return "\n\n".join(parts)
    lines = [part for line in below for part in notes.filled(line, width)]
    return "\n\n".join(["\n".join(notes.filled(title, width)), formats.plain(cells, width), "\n".join(lines)])


def heading(card: Scorecard) -> str:
    """The suite, and whether all of it was run."""
    form = ", short form" if card.short else ""
    return clean(f"suite {card.suite.name}{form}: {card.suite.description}")


def remarks(card: Scorecard) -> list[str]:
    """How to read it; reasons, marks and notes, once a cell; sources; looks at the test parts."""
    lines = [
        "Nats per character; difference: ours − published; ±: half a 95 % interval.",
        "reproduced: the difference is within the tolerance; differs: it is not.",
    ]
    sources: dict[str, list[str]] = {}
    for row in card.rows:
        name = row.recipe.name
        said = [f"{row.verdict}: {row.reason}."] if row.reason else []
        if 0 < row.standing.ok < len(row.standing.records):
            said.append(
                f"{row.standing.ok} of {len(row.standing.records)} seeds are ok, the row is their mean."
            )
        said += [f"{row.recipe.note}."] if row.recipe.note else []
        lines += [f"{name}: {text}" for text in said]
        lines += [f"{name}: {mark}." for record in row.standing.records for mark in record.marks]
        sources.setdefault(row.recipe.source, []).append(name)
    lines += [f"Source of {'; '.join(dict.fromkeys(names))}: {source}." for source, names in sources.items()]
    lines += [
        f"Test scores on record for {where}, this run included: {count:,}."
        for where, count in card.looks.items()
        if count
    ]
    return [clean(line) for line in dict.fromkeys(lines)]


def as_document(card: Scorecard) -> dict[str, Any]:
    """Every field of every row, and the runs behind them; what is infinite is null."""
    import msgspec

    raw = {field: read for column in COLUMNS for field, read in column.raw.items()}
    rows = [{field: strict(read(row)) for field, read in raw.items()} for row in card.rows]
    runs = [
        {"header": msgspec.to_builtins(run.header), "records": msgspec.to_builtins(run.records)}
        for run in card.runs
    ]
    suite = {"name": card.suite.name, "file": str(card.suite.path), "short": card.short}
    return {"suite": suite, "rows": rows, "runs": runs}


def strict(value: Raw) -> Raw:
    """A value as strict JSON has it."""
    return finite(value) if isinstance(value, float) and not math.isfinite(value) else value
