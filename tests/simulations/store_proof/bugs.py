"""Bugs planted on purpose: one protection of the store is off, and an attack must notice."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import durable, run_file, store, store_check, writer


@dataclass(frozen=True)
class Bug:
    """What is off, which attack must find it, and the patches: object, name, replacement."""

    what: str
    attack: str
    patches: tuple[tuple[Any, str, Any], ...]

    @contextlib.contextmanager
    def planted(self) -> Iterator[None]:
        """The store with this bug."""
        before = [(where, name, getattr(where, name, None)) for where, name, _ in self.patches]
        for where, name, value in self.patches:
            setattr(where, name, value)
        try:
            yield
        finally:
            for where, name, value in before:
                if value is None:
                    delattr(where, name)
                else:
                    setattr(where, name, value)


def put_with(*, sync: bool, rename: bool) -> Callable[[Path, bytes], None]:
    """`durable.put` without its sync, or without its rename."""

    def put(path: Path, content: bytes) -> None:
        target = path.with_name(f".{path.name}.part") if rename else path
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            durable.write(fd, content)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        if rename:
            os.replace(target, path)

    return put


def nothing(*_: Any) -> None:
    """Instead of a sync."""


def swallowing(fd: int) -> None:
    """A sync whose error nobody hears."""
    with contextlib.suppress(OSError):
        os.fsync(fd)


def create_anyway(path: Path) -> int:
    """Open a new file, or empty one that is there."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)


def write_once(fd: int, content: bytes) -> None:
    """Whatever the system takes."""
    os.write(fd, content)


def to_the_end(fd: int, path: Path) -> None:
    """Go on behind a torn tail."""
    os.lseek(fd, 0, os.SEEK_END)


def unchecked(content: bytes, begin: int, end: int) -> tuple[str, memoryview]:
    """A line, whatever its checksum says."""
    found = run_file.LINE.match(content, begin, end)
    if found is None or not content.endswith(b"}", begin, end):
        raise ValueError("not a line of a run file")
    return found[2].decode(), memoryview(content)[found.end() : end - 1]


class Everything:
    """A checksum that always holds."""

    def __ne__(self, other: object) -> bool:
        return False


def always(content: bytes) -> Everything:
    """The checksum of any content."""
    return Everything()


def keep_last(records: dict[int, Any], record: Any) -> None:
    """The later line of a cell replaces the first, and nobody says so."""
    records[record.cell] = record


def any_newest(folder: Path, identity: str) -> Any:
    """The newest run, of whatever plan."""
    path = store.run_files(folder)[-1]
    return path, store.read(path).header


def line_first() -> tuple[tuple[Any, str, Any], ...]:
    """Side files are written after the line that names them."""
    waiting: list[tuple[Path, bytes]] = []
    true_cell, true_put = writer.Writer.cell, durable.put

    def cell(self: Any, record: Any) -> None:
        true_cell(self, record)
        while waiting:
            true_put(*waiting.pop(0))
        durable.sync_folder(store.side_folder(self.path))

    return (durable, "put", lambda path, content: waiting.append((path, content))), (
        writer.Writer,
        "cell",
        cell,
    )


def bug(what: str, attack: str, where: Any, name: str, value: Any) -> Bug:
    """One function replaced."""
    return Bug(what, attack, ((where, name, value),))


SYNCED_PUT = (durable, "put", put_with(sync=True, rename=True))
NEVER_BROKEN = property(lambda self: False, nothing)
BUGS = (
    Bug("lines are not synced", "power", ((durable, "sync", nothing), SYNCED_PUT)),
    bug("side files are not synced", "power", durable, "put", put_with(sync=False, rename=True)),
    bug("folders are not synced", "power", durable, "sync_folder", nothing),
    Bug("side files are written after their line", "power", line_first()),
    bug("side files are written in place", "faults", durable, "put", put_with(sync=True, rename=False)),
    bug("a short write is taken for a whole one", "faults", durable, "write", write_once),
    bug("an error of a sync is swallowed", "faults", durable, "sync", swallowing),
    bug("writing goes on after an error", "faults", writer.Writer, "_broken", NEVER_BROKEN),
    bug("a torn tail is not cut off", "faults", writer, "cut_torn_tail", to_the_end),
    bug("checksums of lines are not compared", "mutations", run_file, "opened", unchecked),
    bug("checksums of side files are not compared", "mutations", store_check, "checksum", always),
    bug("a cell that stands twice is not named", "mutations", run_file, "keep", keep_last),
    bug("cells of other runs are let pass", "mutations", store_check, "of_records", lambda run: iter(())),
    bug("there is no lock", "writers", durable, "lock", lambda fd: True),
    bug("a new file may replace an old one", "writers", durable, "create", create_anyway),
    bug("a closed run is continued", "writers", writer, "closed_for", lambda run: None),
    bug("a run of another plan is continued", "writers", store, "newest", any_newest),
)
