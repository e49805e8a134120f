"""Files that outlive a crash: whole writes, synced folders, renames, locks.

What is synced survives a power cut, what is written survives the process. Everything goes through `os`, so
that a proof may let any call fail (tests/simulations/store.py). Errors are plain `OSError`s.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: one run at a time is up to the user
    fcntl = None  # type: ignore[assignment]

BINARY = getattr(os, "O_BINARY", 0)  # Windows would translate line ends


def create(path: Path) -> int:
    """A new file's descriptor; `FileExistsError` where something is there."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | BINARY, 0o666)


def reopen(path: Path) -> int:
    """The descriptor of a file that is there."""
    return os.open(path, os.O_RDWR | BINARY)


def write(fd: int, content: bytes) -> None:
    """All of it: the system may take a part at a time, on a disk that fills up for one."""
    rest = memoryview(content)
    while rest:
        taken = os.write(fd, rest)
        if not taken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rest = rest[taken:]


def sync(fd: int) -> None:
    """What was written is on the disk when this returns."""
    os.fsync(fd)


def cut(fd: int, size: int) -> None:
    """Shorten a file to so many bytes, and go on writing there."""
    os.ftruncate(fd, size)
    os.lseek(fd, size, os.SEEK_SET)


def sync_folder(folder: Path) -> None:
    """The names in a folder are on the disk when this returns: a synced file without one is lost."""
    if fcntl is None:  # Windows opens no folders
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that syncs no folders says so
            raise
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each synced into the one that holds it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        os.mkdir(folder)
    except FileExistsError:
        if not folder.is_dir():
            raise
    sync_folder(folder.parent)


def put(path: Path, content: bytes) -> None:
    """A whole file under its name, or none: written beside, synced, renamed. `sync_folder` keeps the name."""
    partial = path.with_name(f".{path.name}.part")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | BINARY, 0o666)
    try:
        write(fd, content)
        sync(fd)
    finally:
        os.close(fd)
    os.replace(partial, path)


def lock(fd: int) -> bool:
    """Hold a file alone until it is closed; False where another holds it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
