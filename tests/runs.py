"""Runs made by hand, for the tests of what reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import store
from harness.record import Data, Header, Metrics, Plugin, Record, Throughput, Timings
from harness.store import Run

ENVIRONMENT = {
    "python": "3.11.7",
    "system": "Linux x86_64",
    "cpu": "a processor",
    "cores": 4,
    "affinity": 2,
    "threads": 2,
    "commit": "0123456789ab",
}


def data(**changes: Any) -> Data:
    """The data of a small run of names."""
    fields: dict[str, Any] = {
        "dataset_sha256": "ab" * 32,
        "split_fingerprint": "cd" * 32,
        "vocabulary": 27,
        "documents": {"train": 800, "dev": 100, "test": 100},
        "targets": {"train": 5600, "dev": 700, "test": 700},
        "overlap": {"dev": 0, "test": 0},
        "units": 100,
    }
    return Data(**(fields | changes))


def record(model: str = "mlp", test_nll: float | None = 2.5, **changes: Any) -> Record:
    """One cell with a test NLL and a few times."""
    fields: dict[str, Any] = {
        "run_id": "run",
        "cell": 0,
        "model": model,
        "backend": "numpy",
        "options": {},
        "config": {},
        "dataset": "names",
        "split": "grouped:seed=0",
        "repeat": 0,
        "seed": 1,
        "budget": "default",
        "status": "ok",
        "metrics": Metrics(test_nll=test_nll, test_nll_half=0.02, dev_nll=2.4),
        "timings": Timings(train_s=1.5, evaluate_s=0.25),
        "throughput": Throughput(train_chars_per_s=4000.0, eval_chars_per_s=2800.0),
        "parameters": 1000,
        "peak_rss_bytes": 2_000_000,
        "data": data(),
        "environment": ENVIRONMENT,
        "plugin": Plugin(distribution="nextchar-harness", version="0.1.0", code_hash="c0de"),
    }
    return Record(**(fields | changes))


def failed(model: str = "mlp", status: str = "timeout", **changes: Any) -> Record:
    """A cell that came to nothing."""
    nothing: dict[str, Any] = {"metrics": Metrics(), "timings": Timings(), "throughput": Throughput()}
    nothing |= {"parameters": None, "peak_rss_bytes": None, "reason": "fit took longer than 5 s"}
    return record(model, status=status, **(nothing | changes))


def run(day: int, *records: Record, folder: Path = Path("results"), **changes: Any) -> Run:
    """A run of that day of November, as if it had been read."""
    run_id = changes.pop("run_id", f"202611{day:02}T120000-{day:04}")
    fields: dict[str, Any] = {
        "run_id": run_id,
        "created": f"2026-11-{day:02}T12:00:00+00:00",
        "version": "0.1.0",
        "dataset": "names",
        "split": "grouped:seed=0",
        "budget": "default",
        "cells": [],
        "environment": ENVIRONMENT | {"commit": f"{day:012x}"},
    }
    header = Header(**(fields | changes))
    for cell, each in enumerate(records):
        each.run_id, each.cell = run_id, cell
    return Run(folder / f"{run_id}.jsonl", header, list(records), closed=True)


def write(found: Run) -> Path:
    """The run as a file."""
    writer = store.Writer(found.path, found.header)
    for each in found.records:
        writer.cell(each)
    writer.close()
    return found.path
