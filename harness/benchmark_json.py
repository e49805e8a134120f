"""pytest-benchmark's JSON: times of a run written for it, and its benchmarks read as a run.

A benchmark is a model and one of its times; a round is one repeat (seed): each was timed once, so that the
spread over rounds is that of seeds and machine together. Without repeats there is one round and no spread:
pytest-benchmark itself writes a deviation of 0 then.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import fmean, median, stdev
from typing import Any

import msgspec

from harness import __version__
from harness.compare import repeats
from harness.errors import UsageError
from harness.labels import called, options
from harness.record import Data, Header, Plugin, Record, Timings
from harness.store import IMPORTED, Run

FORMAT = "5.3.1"  # the version of pytest-benchmark whose keys these are
TIMES = ("start_s", "warmup_s", "train_s", "evaluate_s", "sample_s", "benchmark_s")
TOOL = "pytest-benchmark"
ABSENT = "imported times: nothing was scored"


def full_name(record: Record) -> str:
    """What a tool knows a model by from run to run: `names/grouped:seed=0/mlp@numpy:context=8`."""
    budget = "" if record.budget == "default" else f"/{record.budget}"
    return f"{record.dataset}/{record.split}{budget}/{called(record, repeat=False)}"


# ---- writing


def write(run: Run) -> dict[str, Any]:
    """The times of a run as pytest-benchmark saves benchmarks."""
    environment = run.header.environment
    return {
        "machine_info": machine(environment),
        "commit_info": commit(environment.get("commit")),
        "benchmarks": [
            benchmark(run, group, field, rounds)
            for group in repeats(run.records)
            for field in TIMES
            if (rounds := [s for r in group if (s := getattr(r.timings, field)) is not None and s > 0])
            and len(rounds) == len(group)
        ],
        "datetime": run.header.created,
        "version": FORMAT,
    }


def benchmark(run: Run, group: Sequence[Record], field: str, rounds: Sequence[float]) -> dict[str, Any]:
    """One of its benchmarks; grouped by what was timed, so that its tables hold like with like."""
    record = group[0]
    return {
        "group": field,
        "name": f"{called(record, repeat=False)} {field}",
        "fullname": f"{full_name(record)} {field}",
        "params": {"model": record.model, "backend": record.backend, "options": options(record)},
        "param": None,
        "extra_info": {
            "harness": run.header.version,
            "run": run.header.run_id,
            "field": field,
            "rounds": "repeats (seeds), each timed once",
        },
        "options": {},
        "stats": statistics(rounds),
    }


def statistics(rounds: Sequence[float]) -> dict[str, Any]:
    """Seconds, summarised as pytest-benchmark does: quartiles by Hazen's rule, fences by Tukey's."""
    ordered = sorted(rounds)
    mean, deviation = fmean(ordered), stdev(ordered) if len(ordered) > 1 else 0
    q1, q3 = quartile(ordered), -quartile([-x for x in reversed(ordered)])
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    inside = [x for x in ordered if low <= x <= high]
    beyond = sum(not mean - deviation <= x <= mean + deviation for x in ordered)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": len(ordered),
        "median": median(ordered),
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": len(ordered) - len(inside),
        "stddev_outliers": beyond,
        "outliers": f"{beyond};{len(ordered) - len(inside)}",
        "ld15iqr": inside[0],
        "hd15iqr": inside[-1],
        "ops": len(ordered) / sum(ordered),
        "total": sum(ordered),
        "iterations": 1,
    }


def quartile(ordered: Sequence[float]) -> float:
    """The lower one, between the two values around the place (n − 2)/4."""
    place = max(0.0, (len(ordered) - 2) / 4)
    i, share = math.floor(place), place % 1
    return ordered[i] if not share else (1 - share) * ordered[i] + share * ordered[i + 1]


def machine(environment: dict[str, Any]) -> dict[str, Any]:
    """What is on record of the machine; its name in the network is not."""
    system, _, kind = str(environment.get("system", "")).partition(" ")
    return {
        "node": "",
        "machine": kind,
        "system": system,
        "python_version": environment.get("python"),
        "cpu": {"brand_raw": environment.get("cpu"), "count": environment.get("cores")},
    }


def commit(found: object) -> dict[str, Any]:
    """The commit of a record as pytest-benchmark writes one; without git it is `unversioned`."""
    name, _, dirty = str(found or "unversioned").partition("+")
    return {
        "id": name,
        "time": None,
        "author_time": None,
        "dirty": dirty == "dirty",
        "project": "harness",
        "branch": "(unknown)",
    }


# ---- reading


class _Statistics(msgspec.Struct):
    median: float
    rounds: int
    stddev: float


class _Benchmark(msgspec.Struct):
    fullname: str
    stats: _Statistics
    params: dict[str, Any] | None = None


class _Commit(msgspec.Struct):
    id: str
    dirty: bool = False


class _Cpu(msgspec.Struct):
    brand_raw: str | None = None
    count: int | None = None


class _Machine(msgspec.Struct):
    system: str | None = None
    machine: str | None = None
    python_version: str | None = None
    cpu: _Cpu = msgspec.field(default_factory=_Cpu)


class _File(msgspec.Struct):
    benchmarks: list[_Benchmark]
    datetime: str
    version: str
    commit_info: _Commit
    machine_info: _Machine = msgspec.field(default_factory=_Machine)


def read(content: bytes, name: str) -> tuple[Header, list[Record]]:
    """A file of pytest-benchmark as a run: a record a benchmark, with its time and nothing else.

    name: of the file, for errors. The id follows from the content, so that no file is imported twice.
    """
    try:
        found = msgspec.json.decode(content, type=_File)
        created = datetime.fromisoformat(found.datetime)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise UsageError(f"{name}: not what pytest-benchmark --benchmark-json writes ({error})") from None
    if not found.benchmarks:
        raise UsageError(f"{name}: it holds no benchmark")
    created = created.astimezone(UTC) if created.tzinfo else created.replace(tzinfo=UTC)
    run_id = f"{created:%Y%m%dT%H%M%S}{IMPORTED}{hashlib.sha256(content).hexdigest()[:8]}"
    environment = facts(found)
    for each in found.benchmarks:
        if not (math.isfinite(each.stats.median) and each.stats.median >= 0):
            raise UsageError(f"{name}: {each.fullname}: a median of {each.stats.median:g} s is no time")
    records = [record(run_id, cell, each, found, environment) for cell, each in enumerate(found.benchmarks)]
    header = Header(
        run_id=run_id,
        created=created.isoformat(timespec="seconds"),
        version=__version__,
        dataset=TOOL,
        split="none",
        budget="default",
        cells=[called(each) for each in records],
        environment=environment,
    )
    return header, records


def facts(found: _File) -> dict[str, Any]:
    """The environment by the names that our own records use; the machine's name is left behind."""
    known = found.commit_info.id not in ("unversioned", "unknown")
    dirty = "+dirty" if found.commit_info.dirty else ""
    described = {
        "python": found.machine_info.python_version,
        "system": " ".join(filter(None, [found.machine_info.system, found.machine_info.machine])) or None,
        "cpu": found.machine_info.cpu.brand_raw,
        "cores": found.machine_info.cpu.count,
        "commit": found.commit_info.id[:12] + dirty if known else None,
    }
    return {key: value for key, value in described.items() if value is not None}


def record(run_id: str, cell: int, found: _Benchmark, file: _File, environment: dict[str, Any]) -> Record:
    """One benchmark: its median, with what was measured in a mark; of a score there is none."""
    stats = found.stats
    rounds = "1 round" if stats.rounds == 1 else f"median of {stats.rounds} rounds"
    spread = f", standard deviation {stats.stddev:.3g} s" if stats.rounds > 1 else ""
    return Record(
        run_id=run_id,
        cell=cell,
        model=found.fullname,
        backend=TOOL,
        options={},
        config=found.params or {},
        dataset=TOOL,
        split="none",
        repeat=0,
        seed=0,
        budget="default",
        status="ok",
        rests_on=f"no score: times of {TOOL} {file.version}",
        absent=dict.fromkeys(("train_nll", "dev_nll", "test_nll"), ABSENT),
        marks=[f"{rounds}{spread}"],
        timings=Timings(benchmark_s=stats.median),
        data=Data(  # none was read
            dataset_sha256="",
            split_fingerprint="",
            vocabulary=0,
            documents=dict.fromkeys(("train", "dev", "test"), 0),
            targets=dict.fromkeys(("train", "dev", "test"), 0),
            overlap=dict.fromkeys(("dev", "test"), 0),
        ),
        environment=environment,
        plugin=Plugin(distribution=TOOL, version=file.version),
    )
