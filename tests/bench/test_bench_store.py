"""What reading the results folder costs, as a ratio to reading the same bytes and their SHA-256.

python -m pytest tests/bench --benchmark-only
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import store
from harness.cli import listing
from harness.record import End, Record, briefly

FROZEN = Path(__file__).parents[1] / "frozen" / "20260101T000000-000000-0001.jsonl"
RUNS, CELLS = 1000, 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 closed runs of 40 cells each, every record of the size that a run of names has."""
    made = tmp_path_factory.mktemp("runs")
    lines = [store.decode_line(line) for line in FROZEN.read_bytes().splitlines()]
    header, cell = (json.loads(payload) for _, payload in lines[:2])
    for run in range(RUNS):
        run_id = f"20260101T{run:06d}-000000-abcd"
        header |= {"run_id": run_id, "cells": [f"count-bigram@numpy:k={number}" for number in range(CELLS)]}
        content = [store.encode_line("header", json.dumps(header, separators=(",", ":")).encode())]
        records: list[Record] = []
        for number in range(CELLS):
            cell |= {"run_id": run_id, "cell": number, "options": {"k": number}}
            records.append(msgspec.convert(cell, Record))
            content.append(store.encode_line("cell", json.dumps(cell, separators=(",", ":")).encode()))
        end = End(cells=CELLS, brief=briefly(records))
        content.append(store.encode_line("end", msgspec.json.encode(end)))
        (made / f"{run_id}.jsonl").write_bytes(b"".join(content))
    return made


def seconds_each(*functions: Callable[[], object], rounds: int = 5) -> list[float]:
    """The least processor time of each, taken in turns: a busy machine slows them alike."""
    best = [float("inf")] * len(functions)
    for _ in range(rounds):
        for position, function in enumerate(functions):
            before = time.process_time()
            function()
            best[position] = min(best[position], time.process_time() - before)
    return best


def test_a_thousand_runs_are_listed(benchmark: Any, folder: Path) -> None:
    """The rows of `list runs`, all checksums compared: within 6× of reading and hashing the bytes."""
    benchmark.pedantic(lambda: listing.runs(folder), rounds=3, warmup_rounds=1)
    paths = store.run_files(folder)
    size = sum(path.stat().st_size for path in paths)
    plain, listed, full = seconds_each(
        lambda: [hashlib.sha256(path.read_bytes()).digest() for path in paths],
        lambda: listing.runs(folder),
        lambda: store.read_all(folder),
    )
    assert len(listing.runs(folder)) == RUNS
    benchmark.extra_info |= {"ratio": listed / plain, "MB": size / 1e6, "full": full / plain}
    print(  # noqa: T201
        f"\n{RUNS} runs, {RUNS * CELLS:,} cells, {size / 1e6:.0f} MB: read and hashed {plain:.2f} s, listed "
        f"{listed:.2f} s ({listed / plain:.1f}×), decoded in full {full:.2f} s ({full / plain:.1f}×)"
    )
    assert listed / plain < 6
    assert listed < 1


def test_the_whole_command_takes_under_a_second(benchmark: Any, folder: Path) -> None:
    """`harness list runs`, whole process, in processor time: what it takes where nothing else runs."""
    command = [sys.executable, "-m", "harness", "list", "runs", "--results", str(folder)]
    took = []

    def listed() -> None:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    benchmark.pedantic(listed, rounds=5)
    print(f"\nharness list runs: {min(took):.2f} s of processor time for {RUNS} runs")  # noqa: T201
    assert min(took) < 1
