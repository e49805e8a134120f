"""The folder of runs: finding them, continuing one, copying one. `run_file` reads, `writer` writes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from harness import durable
from harness.errors import StoreError, UsageError
from harness.record import Brief, Header, Record
from harness.run_file import (
    Run,
    Scan,
    briefed,
    decode_header,
    decode_line,
    encode_line,
    failure,
    read,
    scan,
    side_folder,
    unreadable,
)
from harness.writer import NotContinued, Writer, closed_for

R = TypeVar("R", Run, Scan[Brief])
IMPORTED = "-import-"  # in the id of a run that `harness import` made
__all__ = [
    "IMPORTED",
    "Run",
    "Scan",
    "Writer",
    "brief",
    "claim",
    "copy",
    "decode_line",
    "encode_line",
    "find",
    "find_open",
    "looks",
    "read",
    "read_all",
    "resume",
    "run_files",
    "side_folder",
    "unreadable",
    "write_whole",
]


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file so that a reader finds all of it or nothing: beside its place, synced, then renamed."""
    try:
        durable.make_folder(path.parent)
        durable.put(path, content)
        durable.sync_folder(path.parent)
    except OSError as error:
        raise failure(path, error) from None
    return path


def claim(target: Path) -> None:
    """See that a run can be copied there later: nothing is in the way, and the folder takes files."""
    if target.exists() or side_folder(target).exists():
        raise UsageError(
            f"{target} exists, or its folder {side_folder(target).name}: a run file is never overwritten"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror or error}") from None


def copy(source: Path, target: Path) -> None:
    """Copy a run file and its side files to another place; nothing there is overwritten."""
    claim(target)
    try:
        if side_folder(source).is_dir():
            durable.make_folder(side_folder(target))
            for file in sorted(side_folder(source).iterdir()):
                durable.put(side_folder(target) / file.name, file.read_bytes())
            durable.sync_folder(side_folder(target))
        durable.put(target, source.read_bytes())
        durable.sync_folder(target.parent)
    except OSError as error:
        raise failure(target, error) from None


def run_files(folder: Path) -> list[Path]:
    """The run files of a folder, oldest first; whoever opened a pipe of that name would wait for ever."""
    found = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    return [path for path in found if path.is_file() or not path.exists()]  # a link to nothing is reported


def read_all(folder: Path) -> tuple[list[Run], list[str]]:
    """Every readable run of a folder, oldest first, and one line for each file that is not."""
    return each(folder, read)


def brief(folder: Path) -> tuple[list[Scan[Brief]], list[str]]:
    """The same with what a list of runs needs of each cell: a fifth of the time."""
    return each(folder, briefed)


def each(folder: Path, reads: Callable[[Path], R]) -> tuple[list[R], list[str]]:
    """Every readable run of a folder, and one line for each file that is not or that is a copy of another."""
    runs, problems = dict[str, R](), list[str]()
    for path in run_files(folder):
        try:
            run = reads(path)
        except StoreError as error:
            problems.append(str(error))
            continue
        if (first := runs.setdefault(run.header.run_id, run)) is not run:
            problems.append(f"{path}: holds run {run.header.run_id}, as {first.path.name} does; left out")
    return list(runs.values()), problems


def find(folder: Path, name: str, passed_over: list[str] | None = None) -> Path:
    """A run by its path, its id, the start of its id, or `latest`: the newest that holds a cell.

    passed_over: takes a line for each newer file that is none of ours, where `latest` is asked for.
    """
    if name != "latest" and Path(name).is_file():
        return Path(name)
    files = run_files(folder)
    path = latest(files, [] if passed_over is None else passed_over) if name == "latest" else None
    if path is not None:
        return path
    if not files or name == "latest":
        raise UsageError(f"no runs in {folder}: harness run makes one, --results names another folder")
    found = [path for path in files if path.stem == name] or [
        path for path in files if path.stem.startswith(name)
    ]
    if not name or (not found and Path(name).exists()):
        raise UsageError(f"{name!r} is no run file and no run's id; harness list runs shows them")
    if len(found) != 1:
        many = "several runs start" if found else "no run starts"
        raise UsageError(f"{many} with {name!r} in {folder}; harness list runs shows them")
    return found[0]


def latest(files: Sequence[Path], passed_over: list[str]) -> Path | None:
    """The newest run that holds a cell, else the newest, else the newest of the imported; None without one.

    A damaged one counts, so that reading it says what is wrong; what never was a run file does not.
    """
    spare = []
    for path in reversed([path for path in files if IMPORTED not in path.stem]):
        try:
            found = scan(path, Brief)
        except StoreError as error:
            finding = unreadable(path, str(error))
            if finding.state == "foreign":
                passed_over.append(f"{finding.text}; passed over")
                continue
            if finding.state == "damaged":
                return path
        else:
            if found.records or found.damage:
                return path
        spare.append(path)
    imported = [path for path in reversed(files) if IMPORTED in path.stem]  # no model to show or compare
    return next(iter([*spare, *imported]), None)


def newest(folder: Path, identity: str) -> tuple[Path, Header] | None:
    """The newest run file of a folder with this identity: what it replaced (--fresh) stays as it is."""
    for path in reversed(run_files(folder)):
        try:
            with path.open("rb") as file:
                kind, payload = decode_line(file.readline().rstrip(b"\n"))
            if kind == "header" and (header := decode_header(payload)).identity == identity:
                return path, header
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
            continue  # foreign or damaged: `harness verify --store` names it
    return None


def find_open(folder: Path, identity: str) -> Path | None:
    """The run that the same command would continue: open, of this identity, and written by nobody."""
    found = newest(folder, identity)
    if found is None:
        return None
    path, _ = found
    with path.open("rb") as file:
        return path if durable.lock(file.fileno()) and closed_for(read(path)) is None else None


def resume(folder: Path, identity: str) -> Writer | None:
    """Continue that run; None where there is none, or another process came first."""
    found = newest(folder, identity)
    try:
        return Writer(*found, resume=True) if found else None
    except NotContinued:
        return None


def looks(runs: Iterable[Scan[Record] | Scan[Brief]], fingerprint: str) -> int:
    """How often a test part has been scored: records with that fingerprint and a test score."""
    return sum(
        record.data.split_fingerprint == fingerprint
        and (record.metrics.test_nll is not None or record.infinite)
        for run in runs
        for record in run.records
    )
