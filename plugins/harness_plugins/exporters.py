"""The formats of `harness export`; their functions are imported when they are chosen."""

from __future__ import annotations

from harness import ExporterSpec

EXPORTERS = [
    ExporterSpec("csv", "harness.export:as_csv", suffix=".csv", description="a row a cell, every figure"),
    ExporterSpec("json", "harness.export:as_json", suffix=".json", description="the records themselves"),
    ExporterSpec("markdown", "harness.export:as_markdown", suffix=".md", description="the table of show"),
    ExporterSpec("latex", "harness.export:as_latex", suffix=".tex", description="the same for booktabs"),
    ExporterSpec(
        "pytest-benchmark",
        "harness.export:as_pytest_benchmark",
        suffix=".json",
        measured_only=True,
        description="times, for pytest-benchmark compare",
    ),
    ExporterSpec(
        "bencher",
        "harness.export:as_bencher",
        suffix=".json",
        measured_only=True,
        description="Bencher Metric Format",
    ),
    ExporterSpec(
        "github-action-benchmark",
        "harness.export:as_github_action_benchmark",
        suffix=".json",
        measured_only=True,
        description="two files: customSmallerIsBetter, customBiggerIsBetter",
    ),
]
