"""Run files: immutable JSON Lines with a checksum a line, and the side files beside them.

    {"checksum": "…", "header": {…}}      one
    {"checksum": "…", "cell": {…}}        one a cell, each fsynced when it is written
    {"checksum": "…", "end": {…}}         closes the file for good

The checksum is the SHA-256 of the value's bytes. Side files stand in `FILE.d/`. A torn last line is
dropped with a warning, a damaged line set aside with one; what remains is readable.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import threading
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

try:
    import fcntl
except ImportError:  # Windows: one run at a time is up to the user
    fcntl = None  # type: ignore[assignment]

from harness.errors import StoreError, UsageError
from harness.record import SCHEMA, Header, Record

IMPORTED = "-import-"  # in the id of a run that `harness import` made


class _Line(msgspec.Struct):
    checksum: str
    header: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    cell: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    end: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _End(msgspec.Struct):
    cells: int


@dataclass
class Run:
    """A run as it was read."""

    path: Path
    header: Header
    records: list[Record]
    closed: bool
    warnings: list[str] = field(default_factory=list)
    damaged: int = 0  # lines that were set aside

    def side(self, name: str | None) -> Path | None:
        """The path of a record's side file, or None where it has none (or it was not kept)."""
        if name is None or Path(name).name != name:
            return None
        path = side_folder(self.path) / name
        return path if path.is_file() else None

    def scores(self, record: Record) -> dict[str, Any] | None:
        """Per-document arrays: `dev_sums`, `test_sums`, `test_lengths`, `test_units`, …"""
        return self._arrays(record.scores)

    def params(self, record: Record) -> dict[str, Any] | None:
        """The fitted parameters."""
        return self._arrays(record.params)

    def samples(self, record: Record) -> list[str] | None:
        """The drawn documents."""
        path = self.side(record.samples)
        if path is None:
            return None
        try:
            return msgspec.json.decode(path.read_bytes(), type=list[str])
        except (OSError, msgspec.MsgspecError) as error:
            raise StoreError(f"{path}: damaged ({error})") from None

    def _arrays(self, name: str | None) -> dict[str, Any] | None:
        path = self.side(name)
        if path is None:
            return None
        import numpy as np

        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise StoreError(f"{path}: damaged ({error})") from None


def side_folder(path: Path) -> Path:
    """Where the side files of a run file stand."""
    return path.with_name(path.name + ".d")


class Writer:
    """Writes one run file, line by line, and holds its lock.

    The file must not exist, except where an open one is continued (`resume`): then its torn tail is
    cut off, and `records` are the cells that it holds already.
    """

    def __init__(self, path: Path, header: Header, *, resume: bool = False) -> None:
        self.path = path
        self.header = header
        self.records: list[Record] = []
        self._file: IO[bytes]
        self.writing = False  # a line is on its way: it is not to be interrupted
        self._lines = threading.Lock()
        if resume:
            self._continue()
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path.parent}: {error.strerror or error}") from None
        try:
            self._file = path.open("xb")
        except FileExistsError:
            raise UsageError(f"{path} exists: a run file is never overwritten") from None
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror or error}") from None
        if not lock(self._file):
            raise StoreError(f"{path}: cannot be locked")
        self._write("header", header)

    def _continue(self) -> None:
        try:
            self._file = self.path.open("r+b")
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror or error}") from None
        if not lock(self._file):
            raise StoreError(f"{self.path}: another run is writing it")
        found = read(self.path)
        self.header, self.records = found.header, found.records
        content = self._file.read()
        self._file.truncate(content.rfind(b"\n") + 1)
        self._file.seek(0, os.SEEK_END)

    def cell(self, record: Record) -> None:
        """Append one cell."""
        self._write("cell", record)
        self.records.append(record)

    def close(self, *, complete: bool = True) -> None:
        """Close the file, for good where the run is complete."""
        if complete:
            self._write("end", _End(len(self.records)))
        self._file.close()

    def save_arrays(self, name: str, arrays: dict[str, Any]) -> str:
        """Write arrays into a side file; returns its name."""
        import numpy as np

        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:  # as np.savez, but any name is legal
            for key, value in arrays.items():
                with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(value), allow_pickle=False)
        return self._side(name, buffer.getvalue())

    def save_samples(self, name: str, samples: list[str]) -> str:
        """Write samples into a side file; returns its name."""
        return self._side(name, msgspec.json.format(msgspec.json.encode(samples), indent=0) + b"\n")

    def save_output(self, name: str, content: bytes) -> str:
        """Write what a cell printed into a side file; returns its name."""
        return self._side(name, content)

    def _side(self, name: str, content: bytes) -> str:
        if Path(name).name != name:
            raise StoreError(f"{name!a} is no name of a side file")
        write_whole(side_folder(self.path) / name, content)
        return name

    def _write(self, kind: str, value: msgspec.Struct) -> None:
        line = encode_line(kind, msgspec.json.encode(value))
        with self._lines:
            self.writing = True
            try:
                self._file.write(line)
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise StoreError(f"{self.path}: {error.strerror or error}") from None
            finally:
                self.writing = False


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file so that a reader finds all of it or nothing: beside its place, synced, then renamed."""
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from None
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
            shutil.copytree(side_folder(source), side_folder(target))
        shutil.copyfile(source, target)
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror or error}") from None


def encode_line(kind: str, payload: bytes) -> bytes:
    """One line of a run file."""
    checksum = hashlib.sha256(payload).hexdigest().encode()
    return b'{"checksum":"%s","%s":%s}\n' % (checksum, kind.encode(), payload)


def read(path: Path) -> Run:
    """Read a run file; `StoreError` where not even its header can be read."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from None
    warnings: list[str] = []
    if lines[-1]:
        warnings.append(f"{path}: the last line is torn and was left out")
    header: Header | None = None
    records: list[Record] = []
    closed = False
    damaged = 0
    for number, line in enumerate(lines[:-1], start=1):
        try:
            kind, payload = decode_line(line)
            if closed or (kind == "header" and header is not None):
                raise ValueError(f"a {kind} has no place here")
            if kind == "header":
                header = msgspec.json.decode(payload, type=Header)
                if header.schema.rpartition("/")[0] != SCHEMA.rpartition("/")[0]:
                    raise ValueError(f"schema {header.schema}, this harness reads {SCHEMA}")
            elif kind == "cell":
                records.append(msgspec.json.decode(payload, type=Record))
            else:
                closed = True
                cells = msgspec.json.decode(payload, type=_End).cells
                if cells != len(records) and not warnings:
                    warnings.append(f"{path}: its end line counts {cells} cells, {len(records)} are readable")
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            if number == 1:
                raise StoreError(f"{path}: not a run file of harness ({error})") from None
            warnings.append(f"{path}, line {number}: damaged and left out ({error})")
            damaged += 1
    if header is None:
        raise StoreError(f"{path}: not a run file of harness (no header)")
    last = {record.cell: record for record in records}  # a cell that was redone counts once
    return Run(path, header, [last[cell] for cell in sorted(last)], closed, warnings, damaged)


def decode_line(line: bytes) -> tuple[str, bytes]:
    """The kind and the payload of one line; `ValueError` where the checksum does not hold."""
    parsed = msgspec.json.decode(line, type=_Line)
    for kind in ("header", "cell", "end"):
        raw = getattr(parsed, kind)
        if raw is not msgspec.UNSET:
            payload = bytes(raw)
            if hashlib.sha256(payload).hexdigest() != parsed.checksum:
                raise ValueError("the checksum does not hold")
            return kind, payload
    raise ValueError("a line of no known kind")


def run_files(folder: Path) -> list[Path]:
    """The run files of a folder, oldest first."""
    return sorted(folder.glob("*.jsonl")) if folder.is_dir() else []


def read_all(folder: Path) -> tuple[list[Run], list[str]]:
    """Every readable run of a folder, oldest first, and one line for each file that is not."""
    runs, problems = [], []
    for path in run_files(folder):
        try:
            runs.append(read(path))
        except StoreError as error:
            problems.append(str(error))
    return runs, problems


def find(folder: Path, name: str) -> Path:
    """A run by its path, its id, the start of its id, or `latest`: the newest that holds a cell."""
    if name != "latest" and Path(name).is_file():
        return Path(name)
    files = run_files(folder)
    if not files:
        raise UsageError(f"no runs in {folder}: harness run makes one, --results names another folder")
    if name == "latest":  # of what we ran: imported times hold no model to show, sample or compare
        ours = [path for path in reversed(files) if IMPORTED not in path.stem]
        return next((path for path in ours if holds_a_cell(path)), (ours or files[::-1])[0])
    found = [path for path in files if path.stem == name] or [
        path for path in files if path.stem.startswith(name)
    ]
    if not name or (not found and Path(name).exists()):
        raise UsageError(f"{name!r} is no run file and no run's id; harness list runs shows them")
    if len(found) != 1:
        many = "several runs start" if found else "no run starts"
        raise UsageError(f"{many} with {name!r} in {folder}; harness list runs shows them")
    return found[0]


def holds_a_cell(path: Path) -> bool:
    """Whether a run file holds a cell, by its second line; a damaged one counts, so that it is reported."""
    try:
        with path.open("rb") as file:
            header, line = file.readline(), file.readline()
        decode_line(header.rstrip(b"\n"))
        return line.endswith(b"\n") and decode_line(line.rstrip(b"\n"))[0] == "cell"
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
        return True


def lock(file: IO[bytes]) -> bool:
    """Hold a file alone until it is closed; False where another process holds it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def find_open(folder: Path, identity: str) -> Path | None:
    """The newest run of a folder that is open, has this identity and is written by nobody."""
    for path in reversed(run_files(folder)):
        try:
            with path.open("rb") as file:
                kind, payload = decode_line(file.readline().rstrip(b"\n"))
                same = kind == "header" and msgspec.json.decode(payload, type=Header).identity == identity
                if same:  # the newest counts: what it replaced (--fresh) stays as it is
                    return path if lock(file) and not read(path).closed else None
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
            continue  # foreign or damaged: `harness list runs` names it
    return None


def looks(runs: list[Run], fingerprint: str) -> int:
    """How often a test part has been scored: records with that fingerprint and a test score."""
    return sum(
        record.data.split_fingerprint == fingerprint
        and (record.metrics.test_nll is not None or record.infinite)
        for run in runs
        for record in run.records
    )
