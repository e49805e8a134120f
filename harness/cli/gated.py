"""What `harness gate` prints: the answer, a row a cell and metric, and the reasons in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from harness import formats
from harness.figures import ABSENT, fixed, seconds, short
from harness.formats import Cells, clean

if TYPE_CHECKING:
    from harness.change import Judged, Result
    from harness.gate import Thresholds

CODES = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}
MISSING = "Speed and memory: not compared; that takes --base-env and --head-env in one job."
SAME = "Base and head are one and the same run: that says nothing about a change."
Row = tuple[str, "Judged"]  # the name of the cell, and one of its metrics


@dataclass(frozen=True)
class Outcome:
    """A gate as it is printed."""

    result: Result
    thresholds: Thresholds
    base: str | None = None
    head: str | None = None
    timed: bool = False


def render(outcome: Outcome, form: str, width: int, *, explain: bool = False) -> str:
    """In one of the formats; CSV holds the rows, JSON everything."""
    rows: list[Row] = [(cell.name, each) for cell in outcome.result.cells for each in cell.judged]
    if form == "json":
        return formats.in_json(document(outcome))
    if form == "csv":
        raws = [raw(row) for row in rows]
        return formats.comma_separated(raws, FIELDS)
    title = clean(heading(outcome))
    below = [clean(line) for line in [*reasons(rows), *notes(outcome)]]
    if explain:
        below += [clean(line) for line in explained(outcome, rows)]
    columns = table(rows)
    if form == "latex":
        return formats.latex(columns, title, below)
    if form == "markdown":
        sheet = formats.markdown(columns) if rows else ""
        parts = [f"**{formats.in_markdown(title)}**", sheet, formats.markdown_list(below)]
    else:
        sheet = formats.plain(columns, width) if rows else ""
        parts = [title, sheet, "\n".join(below)]
    return "\n\n".join(part for part in parts if part)


def heading(outcome: Outcome) -> str:
    """`FAIL: 1 of 13 cells; head run … against base run …`."""
    result = outcome.result
    if not result.cells:
        return f"{result.answer}: nothing was compared"
    like = [cell for cell in result.cells if cell.answer == result.answer]
    count = f"{len(like)} of {len(result.cells)} cells" if len(result.cells) > 1 else "1 cell"
    return f"{result.answer}: {count}; head ({outcome.head}) against base ({outcome.base})"


def table(rows: Sequence[Row]) -> list[Cells]:
    """A row a cell and metric."""
    return [
        Cells("cell", [clean(name) for name, _ in rows], words=True, name=True),
        Cells("metric", [METRICS[each.metric] for _, each in rows], words=True),
        Cells("base", [level(each.metric, each.base) for _, each in rows]),
        Cells("head", [level(each.metric, each.head) for _, each in rows]),
        Cells("change", [change(each, each.finding.change) for _, each in rows]),
        Cells("at least", [change(each, each.finding.low) for _, each in rows]),
        Cells("at most", [change(each, each.finding.high) for _, each in rows]),
        Cells("answer", [each.finding.answer or "not compared" for _, each in rows], words=True),
    ]


METRICS = {
    "nll": "NLL",
    "train": "train s",
    "evaluate": "eval µs/ch",
    "sample": "sample µs/ch",
    "memory": "memory MB",
}


def level(metric: str, value: float | None) -> str:
    """A value of base or head in the metric's unit."""
    if value is None:
        return ABSENT
    if metric == "nll":
        return fixed(value)
    if metric == "memory":
        return fixed(value / 1e6, 1)
    return seconds(value) if metric == "train" else fixed(value * 1e6, 2)


def change(each: Judged, value: float | None) -> str:
    """`+.0213` nats, or `+5.1%`."""
    if value is None:
        return ABSENT
    if each.metric == "nll":
        return ("+" if value > 0 else "") + short(value if round(value, 4) else 0.0)
    return f"{value:+.1%}"


# ---- in words


def reasons(rows: Sequence[Row]) -> list[str]:
    """Why rows did not pass, one line each; those that fail first."""
    found = []
    for answer in ("FAIL", "INCONCLUSIVE"):
        for name, each in rows:
            if each.finding.answer == answer:
                needed = f"; {each.finding.needed} would decide" if each.finding.needed else ""
                found.append(f"{answer}: {name}, {METRICS[each.metric]}: {each.finding.reason}{needed}")
    return found


def notes(outcome: Outcome) -> list[str]:
    """What else must be known."""
    cells = outcome.result.cells
    same = outcome.base == outcome.head and outcome.base is not None
    return [
        *([SAME] if same else []),
        *outcome.result.remarks,
        *(f"{cell.name}: {remark}" for cell in cells for remark in cell.remarks),
        *([MISSING] if cells and not outcome.timed else []),
    ]


def explained(outcome: Outcome, rows: Sequence[Row]) -> list[str]:
    """What was compared, with which power, and by which thresholds."""
    t = outcome.thresholds
    found = [
        f"NLL passes where at most {t.nll:g} nats worse is sure (99.75 %), and fails where it is at least "
        f"{t.nll:g} worse and surely worse (99.99 %). Where bits differ the seeds count with a standard "
        f"deviation of {t.seed_sd:g} at least."
    ]
    if outcome.timed:
        found.append(
            f"Tolerated: train {t.train:.0%}, evaluate {t.evaluate:.0%}, sample {t.sample:.0%}, memory "
            f"{t.memory:.0%}; a metric fails where at least a fifth of that is sure and three fifths are "
            "estimated, at 10 pairs or at 20."
        )
    for name, each in rows:
        one = each.finding
        what = "pairs" if each.metric != "nll" else "distinct documents or blocks"
        used = f"{one.used:,} {what}" if one.used else "no figures"
        power = "" if one.detects is None else f"; {change(each, one.detects)} would FAIL with 80 % power"
        found.append(f"{name}, {METRICS[each.metric]}: {one.reason} ({used}{power})")
    return found


# ---- for programs

FIELDS = [
    *("cell", "metric", "answer", "reason", "base", "head", "change", "low", "high"),
    *("detects", "used", "needed", "needed_of"),
]


def raw(row: Row) -> dict[str, Any]:
    """A row as CSV and JSON have it, floats to the last bit."""
    name, each = row
    one = each.finding
    return {
        "cell": name,
        "metric": each.metric,
        "answer": one.answer,
        "reason": one.reason,
        "base": each.base,
        "head": each.head,
        "change": one.change,
        "low": one.low,
        "high": one.high,
        "detects": one.detects,
        "used": one.used,
        "needed": one.needed and one.needed.count,
        "needed_of": one.needed and one.needed.of,
    }


def document(outcome: Outcome) -> dict[str, Any]:
    """Everything, for a program."""
    result = outcome.result
    return {
        "answer": result.answer,
        "exit_code": CODES[result.answer],
        "base": outcome.base,
        "head": outcome.head,
        "thresholds": asdict(outcome.thresholds),
        "cells": [
            {
                "name": cell.name,
                "answer": cell.answer,
                "seeds": cell.seeds,
                "remarks": list(cell.remarks),
                "metrics": [raw((cell.name, each)) for each in cell.judged],
            }
            for cell in result.cells
        ],
        "remarks": notes(outcome),
    }
