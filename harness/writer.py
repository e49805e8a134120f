"""Writing a run file: line by line, each on the disk before it counts; side files first."""

from __future__ import annotations

import contextlib
import io
import threading
import zipfile
from pathlib import Path
from typing import Any

import msgspec

from harness import durable
from harness.errors import StoreError, UsageError
from harness.record import SCHEMA, End, Header, Record, briefly
from harness.run_file import Run, checksum, encode_line, failure, is_plain, read, side_folder


class Writer:
    """Writes one run file, line by line, and holds its lock.

    The file must not exist, except where an open one is continued (`resume`): then its torn tail is
    cut off, and `records` are the cells that it holds already. After an error it writes nothing more:
    a line that is there by half must stay the last one.
    """

    def __init__(self, path: Path, header: Header, *, resume: bool = False) -> None:
        self.path = path
        self.header = header
        self.records: list[Record] = []
        self.writing = False  # a line is on its way: it is not to be interrupted
        self._broken = False
        self._lines = threading.Lock()
        self._checksums: dict[str, str] = {}  # of side files, by name
        if resume:
            self._continue()
            return
        try:
            durable.make_folder(path.parent)
        except OSError as error:
            raise failure(path.parent, error) from None
        try:
            self._file = open_unbuffered(durable.create(path))
        except FileExistsError:
            raise UsageError(f"{path} exists: a run file is never overwritten") from None
        except OSError as error:
            raise failure(path, error) from None
        try:
            if not durable.lock(self._file.fileno()):
                raise StoreError(f"{path}: cannot be locked")
            self._write("header", header)
            durable.sync_folder(path.parent)
        except OSError as error:
            self._file.close()
            with contextlib.suppress(OSError):  # the first error is the one to tell
                path.unlink()  # nothing stands in it
            raise failure(path, error) from None

    def _continue(self) -> None:
        try:
            self._file = open_unbuffered(durable.reopen(self.path))
        except OSError as error:
            raise failure(self.path, error) from None
        try:
            if not durable.lock(self._file.fileno()):
                raise NotContinued(f"{self.path}: another run is writing it")
            found = read(self.path)
            if why := closed_for(found):
                raise NotContinued(f"{self.path}: {why}")
            self.header, self.records = found.header, found.records
            cut_torn_tail(self._file.fileno(), self.path)
            durable.sync(self._file.fileno())  # who was killed had not come so far
            durable.sync_folder(self.path.parent)
        except OSError as error:
            self._file.close()
            raise failure(self.path, error) from None

    def cell(self, record: Record) -> None:
        """Append one cell: its side files are on the disk before its line names them."""
        named = [name for name in record.side_names if name in self._checksums]
        record.side_files = {name: self._checksums[name] for name in named}
        try:
            if named:
                durable.sync_folder(side_folder(self.path))
        except OSError as error:
            raise failure(side_folder(self.path), error) from None
        self._write("cell", record)
        self.records.append(record)

    def close(self, *, complete: bool = True) -> None:
        """Close the file, for good where the run is complete."""
        try:
            if complete:
                self._write("end", End(cells=len(self.records), brief=briefly(self.records)))
        finally:
            self._file.close()

    def save_arrays(self, name: str, arrays: dict[str, Any]) -> str:
        """Write arrays into a side file; returns its name."""
        import numpy as np

        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:  # as np.savez, but any name is legal
            for key, value in arrays.items():
                entry = zipfile.ZipInfo(f"{key}.npy")  # without the time: equal arrays, equal checksums
                with archive.open(entry, "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(value), allow_pickle=False)
        return self._side(name, buffer.getvalue())

    def save_samples(self, name: str, samples: list[str]) -> str:
        """Write samples into a side file; returns its name."""
        return self._side(name, msgspec.json.format(msgspec.json.encode(samples), indent=0) + b"\n")

    def save_output(self, name: str, content: bytes) -> str:
        """Write what a cell printed into a side file; returns its name."""
        return self._side(name, content)

    def _side(self, name: str, content: bytes) -> str:
        folder = side_folder(self.path)
        if not is_plain(name):
            raise StoreError(f"{name!a} is no name of a side file")
        try:
            durable.make_folder(folder)
            durable.put(folder / name, content)
        except OSError as error:
            raise failure(folder / name, error) from None
        self._checksums[name] = checksum(content)
        return name

    def _write(self, kind: str, value: msgspec.Struct) -> None:
        line = encode_line(kind, msgspec.json.encode(value))
        with self._lines:
            if self._broken:
                raise StoreError(f"{self.path}: an earlier line could not be written")
            self.writing = True
            try:
                durable.write(self._file.fileno(), line)
                durable.sync(self._file.fileno())
            except OSError as error:
                self._broken = True
                raise failure(self.path, error) from None
            finally:
                self.writing = False


class NotContinued(StoreError):
    """A run file that takes no more cells, or not from us."""


def closed_for(found: Run) -> str | None:
    """Why a run takes no more cells; None where it does."""
    if found.closed:
        return "it is closed, and a run file is never opened again"
    if found.header.schema != SCHEMA:
        return f"schema {found.header.schema} is read, not continued: this harness writes {SCHEMA}"
    return None


def cut_torn_tail(fd: int, path: Path) -> None:
    """Drop what stands behind the last whole line."""
    durable.cut(fd, path.read_bytes().rfind(b"\n") + 1)


def open_unbuffered(fd: int) -> io.FileIO:
    """A file object that closes the descriptor when it goes, and keeps nothing to write later."""
    return io.FileIO(fd, "r+")
