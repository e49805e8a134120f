"""The rows of docs/performance.md, measured in one run: ours beside a peer's, and how near the floor.

python tests/bench/table.py               all of tests/bench; writes results/performance.json and .md
python tests/bench/table.py -k mlp        some, by pytest's own options: printed, nothing written
python tests/bench/table.py --page        the page again, from the figures

Exit 1 if a row is missed or failed. The lectures' names must be in HARNESS_DATA_DIR.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import environment, formats

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER.parents[1] / "results"
KEYS = ("row", "peer", "peer_value", "ours", "unit", "ratio", "least", "aim", "floor_share", "note")
GOOD = ("met", "aim met")


class Found:
    """A plugin of pytest that gathers what the benchmarks leave: rows, and what came to none.

    rows: `extra_info` of each benchmark that has a row, with `error`, why its test failed, or None.
    failed: tests that failed or were skipped before they had a row, with the reason.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.failed: list[dict[str, str]] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Of every phase of every test: those that run, and those that set up and break."""
        kept = dict(report.user_properties).get("extra_info", {}) if report.when == "call" else {}
        why = None if report.passed else reason(report)
        if "row" in kept:
            self.rows.append(kept | {"error": why})
        elif why:
            self.failed.append({"test": report.nodeid.rpartition("/")[2], "reason": why})

    def pytest_runtest_call(self, item: Any) -> None:
        """Before a test runs: its benchmark's notes, still empty, are tied to its report."""
        if "benchmark" in item.funcargs:
            item.user_properties.append(("extra_info", item.funcargs["benchmark"].extra_info))


def reason(report: Any) -> str:
    """The line that says why a test failed or was skipped."""
    if report.skipped:
        return f"skipped: {report.longrepr[2].removeprefix('Skipped: ')}"
    crash = getattr(report.longrepr, "reprcrash", None)
    line = str(crash.message if crash else report.longrepr).partition("\n")[0]
    return line.replace(f"{FOLDER.parents[1]}{os.sep}", "")


def collect(arguments: Sequence[str]) -> Found:
    """Run benchmarks, one thread a library, as pytest's arguments say; exits where they were cut short."""
    os.environ.update(environment.thread_variables(1))
    import pytest

    found = Found()
    status = pytest.main(["-q", "--benchmark-only", "-p", "no:cacheprovider", *arguments], plugins=[found])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        sys.exit(f"the benchmarks did not come to their end ({status!s}): nothing is written")
    return found


def verdict(row: Mapping[str, Any]) -> str:
    """`aim met`, `met`, `missed` or `failed`, with the reason.

    A peer that was not measured is held to its quoted figure, which then is `peer_value`; where there is
    neither there is no ratio, and the row has failed. `or_floor_share`: what may be reached instead of
    the bound, where the floor is reached first.
    """
    if row["ratio"] is None:
        return f"failed: {row.get('error') or 'no peer was measured, and none is quoted'}"
    if row["aim"] is not None and row["ratio"] >= row["aim"]:
        best = "aim met"
    elif row["ratio"] >= row["least"] or (row["floor_share"] or 0) >= row.get("or_floor_share", float("inf")):
        best = "met"
    else:
        return "missed"
    return f"failed: {row['error']}" if row.get("error") else best


def figure(value: float | None, unit: str) -> str:
    """Three digits that count: `41.2 µs`, `2.31 GB/s`."""
    if value is None:
        return "–"
    sizes = [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ")]
    size, prefix = next((each for each in sizes if abs(value) >= 0.9995 * each[0]), sizes[-1])
    if unit == "s" and size > 1:
        size, prefix = 1.0, ""
    scaled = value / size
    places = max(0, 3 - len(str(int(abs(scaled)))))
    space = "" if not prefix and unit.startswith("/") else " "
    return f"{scaled:.{places}f}{space}{prefix}{unit}"


def times(ratio: float | None) -> str:
    """`10.4×`, `3,588×`."""
    if ratio is None:
        return "–"
    return f"{ratio:,.0f}×" if ratio >= 99.5 else f"{ratio:.3g}×"


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row of the table; ° marks a peer's figure that is quoted."""
    quoted = "" if row.get("measured", True) else "°"
    share = "–" if row["floor_share"] is None else f"{100 * row['floor_share']:.0f} %"
    return [
        row["row"], row["peer"], figure(row["peer_value"], row["unit"]) + quoted,
        figure(row["ours"], row["unit"]), times(row["ratio"]), times(row["least"] or None), times(row["aim"]),
        share, verdict(row),
    ]  # fmt: skip


HEADERS = ("row", "peer", "peer's", "ours", "ratio", "at least", "aim", "of the floor", "verdict")
WORDS = ("row", "peer", "verdict")


def table(found: Mapping[str, Any]) -> str:
    """The rows in Markdown, what came to no row, notes, and where it was measured."""
    rows = [cells(row) for row in found["rows"]]
    rows += [[each["test"], *["–"] * 7, f"failed: {each['reason']}"] for each in found["failed"]]
    columns = [[row[number] for row in rows] for number in range(len(HEADERS))]
    lines = [
        formats.markdown(
            [
                formats.Cells(title, texts, words=title in WORDS)
                for title, texts in zip(HEADERS, columns, strict=True)
            ]
        ),
        "",
        formats.markdown_list([f"{row['row']}: {row['note']}" for row in found["rows"] if row["note"]]),
    ]
    host = found["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in host["packages"].items())
    load = f"load {host['load']} at the start and {host['load_after']} at the end"
    busy = max(host["load"] or 0, host["load_after"] or 0) >= host["cores"]
    lines += [
        "",
        "Ratio: how many times better. °: quoted, not measured here. Seconds are the processor's; of whole "
        "processes those of the clock on the wall.",
        "",
        f"{host['cpu']}, {host['affinity']} of {host['cores']} cores, {load}"
        f"{': other jobs held the cores' if busy else ''}. Python {host['python']}, {versions}. "
        f"{found['date']}, commit {host['commit']}, {found['seconds']:.0f} s in all.",
    ]  # fmt: skip
    return "\n".join(lines)


def page(found: Mapping[str, Any]) -> str:
    """The table as a page under results/."""
    return (
        "# Performance, measured\n\nMade by `python tests/bench/table.py`. What the rows are, their floors "
        f"and what was tried: [docs/performance.md](../docs/performance.md).\n\n{table(found)}\n"
    )


def measure(arguments: Sequence[str]) -> dict[str, Any]:
    """What a run of benchmarks found, and on what machine."""
    host, began = environment.describe(1), time.monotonic()
    gathered = collect([str(FOLDER), *arguments])
    host["load_after"] = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    rows = [{name: row.get(name) for name in KEYS} | row for row in gathered.rows]
    return {
        "schema": "harness.performance/1",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "seconds": round(time.monotonic() - began, 1),
        "environment": host,
        "rows": rows,
        "failed": gathered.failed,
    }


def main(arguments: Sequence[str]) -> int:
    """The command."""
    figures, shown = RESULTS / "performance.json", RESULTS / "performance.md"
    if list(arguments) == ["--page"]:
        shown.write_text(page(json.loads(figures.read_text(encoding="utf-8"))), encoding="utf-8")
        return 0
    os.chdir(FOLDER)  # whose commit is told
    found = measure(arguments)
    print(f"\n{table(found)}")  # noqa: T201
    if not arguments:
        text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
        figures.write_text(f"{text}\n", encoding="utf-8")
        shown.write_text(page(found), encoding="utf-8")
    return int(bool(found["failed"]) or any(verdict(row) not in GOOD for row in found["rows"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
