"""Runs -> other tools' formats: pure functions, each the `export` of an `ExporterSpec`.

CSV, JSON, Markdown and LaTeX hold every cell. The formats of benchmark tools have no place for a cell that
is not ok: it is in none of them, and never a zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import msgspec

from harness import benchmark_json, formats, report
from harness.compare import repeats
from harness.labels import options
from harness.metrics import METRICS, Metric
from harness.record import Record
from harness.store import Run

SCHEMA = "harness.export/1"
INFINITE = {  # what p = 0 on a target makes infinite, as in the CSV of `harness show`
    "train_nll",
    "dev_nll",
    "test_nll",
    "test_bits",
    "test_perplexity",
    "test_nll_document",
}
MEASURES = [  # what tools that draw figures over time are given
    METRICS[key]
    for key in (
        "dev_nll",
        "test_nll",
        "warmup_s",
        "train_s",
        "evaluate_s",
        "sample_s",
        "benchmark_s",
        "train_chars_per_s",
        "eval_chars_per_s",
        "sample_chars_per_s",
        "peak_rss_bytes",
    )
]
DIRECTIONS = {"lower": "customSmallerIsBetter", "higher": "customBiggerIsBetter"}

Repeats = tuple[Record, ...]


# ---- every cell


def as_csv(runs: Sequence[Run]) -> str:
    """A row a cell: floats to the last bit, `inf` where p = 0, nothing where there is no figure."""
    rows = [row(run, record) for run in runs for record in run.records]
    return formats.comma_separated(rows, list(rows[0])) + "\n"


def row(run: Run, record: Record) -> dict[str, object]:
    """A cell as one flat row; texts are made harmless where they are written."""
    environment = {**run.header.environment, **record.environment}
    return {
        "run": run.header.run_id,
        "created": run.header.created,
        "commit": environment.get("commit"),
        "model": record.model,
        "backend": record.backend,
        "options": options(record),
        "dataset": record.dataset,
        "split": record.split,
        "budget": record.budget,
        "repeat": record.repeat,
        "seed": record.seed,
        "status": record.status,
        "reason": record.reason,
        **{key: figure(metric, record) for key, metric in METRICS.items()},
        "marks": "; ".join(record.marks),
        "dataset_sha256": record.data.dataset_sha256,
        "split_fingerprint": record.data.split_fingerprint,
        "distribution": record.plugin.distribution,
        "version": record.plugin.version,
        "code_hash": record.plugin.code_hash,
        **{key: environment.get(key) for key in ("python", "system", "cpu", "affinity", "threads")},
    }


def figure(metric: Metric, record: Record) -> float | None:
    """A figure; infinite where p = 0 makes it so."""
    return math.inf if metric.key in INFINITE and metric.impossible(record) else metric.read(record)


def as_json(runs: Sequence[Run]) -> str:
    """Headers and records with every field."""
    found = [msgspec.to_builtins({"header": run.header, "records": run.records}) for run in runs]
    return text_of({"schema": SCHEMA, "runs": found})


def as_markdown(runs: Sequence[Run]) -> str:
    """The table of `harness show` with its notes, a section a run where there are several."""
    return tables(runs, "markdown", "## {}\n\n")


def as_latex(runs: Sequence[Run]) -> str:
    """The same as LaTeX, for booktabs."""
    return tables(runs, "latex", "% run {}\n")


def tables(runs: Sequence[Run], form: str, title: str) -> str:
    """One table a run."""
    view = report.View(form)
    made = [
        (title.format(formats.clean(run.header.run_id)) if len(runs) > 1 else "")
        + report.render(run.header, run.records, run.scores, run.samples, None, view)
        for run in runs
    ]
    return "\n\n".join(made) + "\n"


# ---- benchmark tools


def as_pytest_benchmark(runs: Sequence[Run]) -> str | Mapping[str, str]:
    """Times as pytest-benchmark saves them; a file a run, since a file has one commit and one machine."""
    return a_file_each(runs, benchmark_json.write)


def as_bencher(runs: Sequence[Run]) -> str | Mapping[str, str]:
    """Bencher Metric Format: benchmark -> measure -> value, with the bounds that there are."""

    def write(run: Run) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for group in repeats(run.records):
            measures = {m.key.replace("_", "-"): bounds(m, group) for m in MEASURES if known(m, group)}
            found[benchmark_json.full_name(group[0])] = measures
        return found

    return a_file_each(runs, write)


def as_github_action_benchmark(runs: Sequence[Run]) -> Mapping[str, str]:
    """One file for what should be small, one for what should be large: the action takes them apart."""
    return {
        f"{run.header.run_id}.{direction}.json" if len(runs) > 1 else f"{direction}.json": text_of(
            entries(run, better)
        )
        for run in runs
        for better, direction in DIRECTIONS.items()
    }


def entries(run: Run, better: str) -> list[dict[str, Any]]:
    """The measures of one direction, as the action reads them."""
    return [
        {
            "name": f"{benchmark_json.full_name(group[0])} {metric.key}",
            "unit": metric.unit,
            "value": mean(metric, group),
            "extra": f"run {run.header.run_id}",
        }
        | spread(metric, group)
        for group in repeats(run.records)
        for metric in MEASURES
        if metric.better == better and known(metric, group)
    ]


def a_file_each(runs: Sequence[Run], write: Callable[[Run], Any]) -> str | Mapping[str, str]:
    """The text of a run; of several, one each by its id."""
    texts = {f"{run.header.run_id}.json": text_of(write(run)) for run in runs}
    return texts if len(runs) > 1 else next(iter(texts.values()))


def text_of(document: Any) -> str:
    """A JSON file."""
    return formats.in_json(document) + "\n"


# ---- measures of repeats


def known(metric: Metric, group: Repeats) -> bool:
    """Whether every repeat has a value; of an infinite NLL no format has any."""
    return all(metric.read(record) is not None for record in group)


def values(metric: Metric, group: Repeats) -> list[float]:
    """A value a repeat."""
    return [value for record in group if (value := metric.read(record)) is not None]


def mean(metric: Metric, group: Repeats) -> float:
    """The mean over repeats."""
    return fmean(values(metric, group))


def half(metric: Metric, group: Repeats) -> float | None:
    """Half the 95 % interval over documents that is on record for an NLL of one repeat."""
    found = METRICS.get(f"{metric.key}_half")
    return found.read(group[0]) if found is not None and len(group) == 1 else None


def bounds(metric: Metric, group: Repeats) -> dict[str, float]:
    """The value; with an interval where one is on record, and of several repeats the range."""
    value, interval, all_of_it = mean(metric, group), half(metric, group), values(metric, group)
    if interval is not None:
        return {"value": value, "lower_value": value - interval, "upper_value": value + interval}
    if len(group) > 1:
        return {"value": value, "lower_value": min(all_of_it), "upper_value": max(all_of_it)}
    return {"value": value}


def spread(metric: Metric, group: Repeats) -> dict[str, str]:
    """The same in words, for `range`; nothing where nothing is known."""
    interval, all_of_it = half(metric, group), values(metric, group)
    if interval is not None:
        return {"range": f"± {interval:.4g}"}
    if len(group) > 1:
        return {"range": f"{min(all_of_it):.4g} to {max(all_of_it):.4g} over {len(group)} seeds"}
    return {}
