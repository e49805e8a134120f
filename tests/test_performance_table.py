"""`python tests/bench/table.py`: what a row says, and that the page in git is what was measured."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "tests" / "bench"
ROW: dict[str, Any] = {
    "row": "a step", "peer": "torch", "peer_value": 4.3e-4, "ours": 4.13e-5, "unit": "s", "ratio": 10.41,
    "least": 5, "aim": 10, "floor_share": 0.44, "note": "",
}  # fmt: skip
BENCHMARKS = """
import pytest

def row(benchmark, ratio):
    benchmark.extra_info |= {"row": f"one of {ratio}", "ratio": ratio}
    benchmark(lambda: None)

def test_kept(benchmark):
    row(benchmark, 3.0)

def test_missed(benchmark):
    row(benchmark, 0.5)
    assert 0.5 >= 2

def test_broken(benchmark):
    raise ValueError("no such peer")

def test_skipped(benchmark):
    pytest.skip("no torch")

def test_no_row(benchmark):
    benchmark(lambda: None)

@pytest.fixture
def absent():
    raise OSError("no data")

def test_not_set_up(benchmark, absent):
    pass
"""


@cache
def script(name: str) -> Any:
    """A module beside the benchmarks."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


# ---- verdicts and figures


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "aim met"),
        ({"ratio": 9.99}, "met"),
        ({"ratio": 5.0}, "met"),
        ({"ratio": 4.99}, "missed"),
        ({"ratio": 4.99, "error": "assert 4.99 >= 5"}, "missed"),
        ({"aim": None}, "met"),
        ({"ratio": None, "peer_value": None}, "failed: no peer was measured, and none is quoted"),
        ({"error": "dev is 2.2"}, "failed: dev is 2.2"),
        ({"ratio": 4.0, "floor_share": 0.49, "or_floor_share": 0.5}, "missed"),
        ({"ratio": 4.0, "floor_share": 0.5, "or_floor_share": 0.5}, "met"),
    ],
)
def test_verdicts(changed: dict[str, Any], expected: str) -> None:
    """By the ratio, or by the floor where a row says so; no peer and a test that broke are failures."""
    assert script("table").verdict(ROW | changed) == expected


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (4.13e-5, "s", "41.3 µs"),
        (0.0123, "s", "12.3 ms"),
        (0.9999, "s", "1.00 s"),
        (123.4, "s", "123 s"),
        (2345.0, "s", "2345 s"),
        (2.31e9, "B/s", "2.31 GB/s"),
        (434_000, " characters/s", "434 k characters/s"),
        (1.02e6, "/s", "1.02 M/s"),
        (None, "s", "–"),
    ],
)
def test_figures(value: float | None, unit: str, expected: str) -> None:
    """Three digits that count, seconds never in thousands."""
    assert script("table").figure(value, unit) == expected


def test_a_row_is_shown_whole() -> None:
    """Peer, ours, ratio, bounds, share of the floor and verdict; a quoted figure has its mark."""
    cells = script("table").cells
    expected = ["a step", "torch", "430 µs", "41.3 µs", "10.4×", "5×", "10×", "44 %", "aim met"]
    assert cells(ROW) == expected
    assert cells(ROW | {"measured": False})[2] == "430 µs°"
    assert cells(ROW | {"ratio": 3588.2, "floor_share": None, "aim": None})[4:8] == ["3,588×", "5×", "–", "–"]
    assert cells(ROW | {"least": 0.0})[5] == "–"


# ---- what benchmarks leave


def test_rows_and_failures_are_gathered(tmp_path: Path) -> None:
    """A row stands with why its test failed; a test without one is named where it failed or was skipped."""
    (tmp_path / "test_some.py").write_text(BENCHMARKS)
    code = "import json, table; found = table.collect(['.']); print(); print(json.dumps(vars(found)))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(BENCH), *sys.path])}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    found = json.loads(run.stdout.splitlines()[-1])
    assert [(row["ratio"], row["error"]) for row in found["rows"]] == [(3.0, None), (0.5, "assert 0.5 >= 2")]
    assert found["failed"] == [
        {"test": "test_some.py::test_broken", "reason": "ValueError: no such peer"},
        {"test": "test_some.py::test_skipped", "reason": "skipped: no torch"},
        {"test": "test_some.py::test_not_set_up", "reason": "OSError: no data"},
    ]


def test_a_run_that_is_cut_short_makes_no_table(tmp_path: Path) -> None:
    """What was measured until then would replace what was measured to the end."""
    (tmp_path / "test_some.py").write_text("def test_it(benchmark): raise KeyboardInterrupt\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(BENCH), *sys.path])}
    run = subprocess.run(
        [sys.executable, "-c", "import table; table.collect(['.'])"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "the benchmarks did not come to their end" in run.stderr


def test_ratio_and_share_of_the_floor() -> None:
    """In seconds less is better, in rates more; both say how many times."""
    pytest.importorskip("numba")
    kept = script("rows").Row
    quick = kept("a", "b", 10.0, 2.0, "s", least=1, floor=1.0)
    assert (quick.ratio, quick.floor_share) == (5.0, 0.5)
    rate = kept("a", "b", 10.0, 2.5, "B/s", least=1, floor=5.0)
    assert (rate.ratio, rate.floor_share) == (0.25, 0.5)
    assert kept("a", "b", 1.0, 1.0, "s", least=1).floor_share is None


# ---- what stands in git


@cache
def stored() -> dict[str, Any]:
    """The figures in git."""
    found: dict[str, Any] = json.loads((ROOT / "results" / "performance.json").read_text(encoding="utf-8"))
    return found


def test_the_page_is_what_was_measured() -> None:
    """results/performance.md is made of results/performance.json; `table.py --page` writes it."""
    page = (ROOT / "results" / "performance.md").read_text(encoding="utf-8")
    assert page == script("table").page(stored())


def test_figures_follow_from_what_was_measured() -> None:
    """Every stored ratio is its peer over ours, or ours over its peer, and has a bound to be held to."""
    for row in stored()["rows"]:
        assert set(script("table").KEYS) <= set(row)
        if row["ratio"] is not None:
            quotient = row["peer_value"] / row["ours"]
            assert row["ratio"] in (pytest.approx(quotient), pytest.approx(1 / quotient)), row["row"]
        assert row["least"] >= 0


def test_nothing_of_the_machine_is_told_but_what_explains_figures() -> None:
    """No path and no key beside those of a record's environment."""
    from harness import environment

    assert set(stored()["environment"]) == {*environment.describe(1), "load_after"}
    assert not re.search(r"/(?:home|tmp|work|root|Users)\b", json.dumps(stored()))
