"""The simulations of docs/compare.md in their short form: what is promised holds, and a fault would show."""

from __future__ import annotations

import importlib.util
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PATH = ROOT / "tests" / "simulations" / "comparisons.py"


@cache
def simulation() -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("comparisons", PATH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["comparisons"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@cache
def real() -> Any:
    """The scores of two fitted models."""
    return simulation().population()


def test_the_bounds_hold_as_far_as_a_short_form_can_tell() -> None:
    """Every figure lies within its bound, or no more than four simulation errors off; the table has it."""
    rows = simulation().simulate(simulation().SHORT, real())
    for row in rows:
        room = 4 * (row.error or 0.0)
        assert row.low is None or row.low - room <= row.value, row
        assert row.value <= row.high + room, row
    text = simulation().show(rows)
    assert all(row.what in text for row in rows)


@pytest.mark.parametrize(("factor", "low", "high"), [(0.7, 0.75, 0.90), (1.4, 0.975, 1.0)])
def test_a_wrong_interval_would_show(
    monkeypatch: pytest.MonkeyPatch, factor: float, low: float, high: float
) -> None:
    """An interval of 0.7 or 1.4 times its width is outside of the bound."""
    true = simulation().half_interval
    monkeypatch.setattr(simulation(), "half_interval", lambda se, cases: factor * true(se, cases))
    form = simulation().Form((100,), 500, 0, 0, 0, 0)
    for row in simulation().coverage(form, real()):
        assert low < row.value < high
        assert not row.kept


def test_a_true_difference_would_show() -> None:
    """Models that do differ are no null pair: far more than 6 % are told apart."""

    class Differing(simulation().Population):  # type: ignore[misc]
        def null(self) -> Any:
            return self.b + 0.1 * self.lengths

    one = real()
    form = simulation().Form((300,), 0, 50, 0, 0, 99)
    found = list(simulation().nulls(form, Differing(one.a, one.b, one.lengths)))
    assert {row.what: row.kept for row in found}["type I error, sign flips"] is False


def test_the_docs_hold_the_table_of_the_full_form() -> None:
    """docs/compare.md has a row a quantity, a figure a size, and names what is not kept."""
    text = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")
    sizes = simulation().FULL.sizes
    head = "| documents | " + " | ".join(f"{size:,}" for size in sizes) + " |"
    assert head in text
    for row in simulation().simulate(simulation().Form(sizes, 1, 1, 1, 20, 9), real()):
        (line,) = re.findall(rf"^\| {re.escape(row.what)} \|(.*)$", text, re.MULTILINE)
        figures = re.findall(r"\*{0,2}\d\.\d{4}\*{0,2}", line)
        for figure in figures[: len(sizes)]:
            value = float(figure.strip("*"))
            if row.low is not None:
                assert figure.startswith("**") is not (row.low <= value <= row.high), line
    assert "Not kept: the type I error at 20 documents" in text
