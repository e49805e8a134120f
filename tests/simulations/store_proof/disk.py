"""A disk that fails at the k-th call, and a machine that loses its power there."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness import store
from store_proof import world
from store_proof.world import Ack, Cases

CALLS = ("open", "write", "fsync", "replace", "mkdir", "ftruncate")
TRUE = {name: getattr(os, name) for name in CALLS}
Hook = Callable[[str, tuple[Any, ...]], None]


def patched(hook: Hook) -> None:
    """Let a hook see every call of `os` that the store makes, in this process and for good."""
    for name in CALLS:

        def call(*arguments: Any, name: str = name) -> Any:
            hook(name, arguments)
            return TRUE[name](*arguments)

        setattr(os, name, call)


# ---- failing calls


@dataclass(frozen=True)
class Fault:
    """The k-th call of a kind fails: once, or from then on; a write by half where it is `short`."""

    call: str
    k: int
    code: int  # of errno; 0: no error, a short write is all
    for_good: bool = False
    short: bool = False

    def __str__(self) -> str:
        code = errno.errorcode.get(self.code, "no error")
        return f"{self.call} {self.k} {code}{' short' * self.short}{' for good' * self.for_good}"

    def install(self) -> None:
        """Patch `os`."""
        calls = dict.fromkeys(CALLS, 0)

        def hook(name: str, arguments: tuple[Any, ...]) -> None:
            calls[name] += 1
            if name == self.call and (calls[name] == self.k or (self.for_good and calls[name] > self.k)):
                if self.short:
                    TRUE["write"](arguments[0], half(arguments[1]))
                raise OSError(self.code, os.strerror(self.code))

        def short_write(fd: int, content: memoryview) -> int:
            calls["write"] += 1
            taken: int = TRUE["write"](fd, half(content) if calls["write"] == self.k else content)
            return taken

        if self.code:
            patched(hook)
        else:
            os.write = short_write  # type: ignore[assignment]


def half(content: memoryview) -> bytes:
    """What a full disk still takes."""
    return bytes(content[: len(content) // 2])


def faults(counts: dict[str, int], codes: tuple[int, ...]) -> Iterator[Fault]:
    """Every call of every kind, with every error; writes by half too, with an error and without."""
    for call, count in counts.items():
        for k in range(1, count + 1):
            for code in codes:
                yield Fault(call, k, code)
                yield Fault(call, k, code, for_good=True)
                if call == "write":
                    yield Fault(call, k, code, short=True)
    for k in range(1, counts["write"] + 1):
        yield Fault("write", k, 0)


def count(task: Callable[[Ack], None]) -> dict[str, int]:
    """How often a task makes each call."""

    def counting(ack: Ack) -> None:
        calls = dict.fromkeys(CALLS, 0)

        def hook(name: str, arguments: tuple[Any, ...]) -> None:
            calls[name] += 1

        patched(hook)
        task(lambda name, number: None)
        for name, times in calls.items():
            ack(name, times)

    return {name: int(times) for name, times in world.ran(counting).acks}


def interrupted(folder: Path, cells: int) -> None:
    """An open run of which two cells are there and a third is torn."""
    done = store.Writer(folder / "000000-open.jsonl", world.header("000000-open", cells))
    for number in (1, 0):
        world.append(done, number)
    done.close(complete=False)
    with done.path.open("ab") as file:
        file.write(b'{"checksum":"0123')


def failing(folder: Path, cells: int, codes: tuple[int, ...]) -> Cases:
    """Each fault, in a new run and in one that is continued; then the same command on a sound disk."""
    for name in ("new", "continued"):
        start, counting, place = (folder / f"{name}-{what}" for what in ("start", "count", "results"))
        start.mkdir()
        if name == "continued":
            interrupted(start, cells)
        shutil.copytree(start, counting)
        counts = count(partial(world.work, counting, cells))
        for fault in faults(counts, codes):
            shutil.copytree(start, place)
            yield [f"{name} run, {fault}: {text}" for text in after(fault, place, cells)]
            shutil.rmtree(place)


def after(fault: Fault, place: Path, cells: int) -> list[str]:
    """What is wrong after a run with a fault, and after the same command without."""

    def task(ack: Ack) -> None:
        fault.install()
        world.work(place, cells, ack)

    first = world.ran(task)
    wrong = world.judge(place, first.acks)
    again = world.ran(partial(world.work, place, cells))
    wrong += world.judge(place, first.acks + again.acks)
    if odd := first.broken or again.broken or again.refused:
        wrong.append(f"said {odd}")
    if fault.code and not first.refused:
        wrong.append("the error was swallowed")
    if "end" not in {number for _, number in again.acks} or store.find_open(place, world.IDENTITY):
        wrong.append("the same command does not complete the run")
    return wrong


# ---- power cuts


class PowerCut(BaseException):
    """From here on nothing reaches the disk."""


@dataclass
class Machine:
    """What a disk surely holds: the content of files as they were last synced, names as their folder was.

    `eager`: names reach the disk at once, contents when they are synced, as a file system may well do.
    `torn`: so does half of what was not synced.
    """

    top: Path
    eager: bool = False
    torn: bool = False
    contents: dict[int, bytes] = field(default_factory=dict)  # by inode
    names: dict[int, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in [self.top, *self.top.rglob("*")]:
            self.sync(path)

    def sync(self, path: Path) -> None:
        """What stands there now is on the disk."""
        info = path.stat()
        if stat.S_ISDIR(info.st_mode):
            self.names[info.st_ino] = {each.name: each.stat().st_ino for each in path.iterdir()}
        else:
            self.contents[info.st_ino] = path.read_bytes()

    def before(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Remember what the call is about to make durable."""
        if name == "fsync":
            self.sync(Path(os.readlink(f"/proc/self/fd/{arguments[0]}")))

    def left(self, folder: Path, live: Path, inode: int | None = None) -> None:
        """Build what is found after the cut."""
        folder.mkdir()
        now = {each.name: each.stat().st_ino for each in live.iterdir()} if live.is_dir() else {}
        synced = self.names.get(live.stat().st_ino if inode is None else inode, {})
        for name, number in (now if self.eager else synced).items():
            path = live / name
            same = path.exists() and path.stat().st_ino == number
            if same and path.is_dir():
                self.left(folder / name, path)
                continue
            content = self.contents.get(number, b"")
            if self.torn and same:
                whole = path.read_bytes()
                if whole.startswith(content):
                    content = whole[: (len(content) + len(whole) + 1) // 2]
            (folder / name).write_bytes(content)


@dataclass(frozen=True)
class Cut:
    """The power goes before the k-th call."""

    k: int
    eager: bool
    torn: bool

    def __str__(self) -> str:
        how = "names at once, contents by half" if self.torn else "names at once" if self.eager else "strict"
        return f"power cut before call {self.k} ({how})"

    def work(self, place: Path, left: Path, cells: int, ack: Ack) -> None:
        """Work until the cut, then build what the disk holds."""
        machine, calls = Machine(place, self.eager, self.torn), 0

        def hook(name: str, arguments: tuple[Any, ...]) -> None:
            nonlocal calls
            calls += 1
            if calls == self.k:
                raise PowerCut
            machine.before(name, arguments)

        patched(hook)
        with contextlib.suppress(PowerCut):
            world.work(place / "results", cells, ack)
        for name, true in TRUE.items():
            setattr(os, name, true)
        machine.left(left, place)


def power(folder: Path, cells: int) -> Cases:
    """The power goes before the k-th call, for every k: in a new run, and in one that is continued."""
    for name in ("new", "continued"):
        start, counting, place, left = (
            folder / f"{name}-{what}" for what in ("start", "count", "disk", "left")
        )
        start.mkdir()
        if name == "continued":
            (start / "results").mkdir()
            interrupted(start / "results", cells)
        shutil.copytree(start, counting)
        calls = sum(count(partial(world.work, counting / "results", cells)).values())
        for k in range(1, calls + 2):
            for eager, torn in ((False, False), (True, False), (True, True)):
                shutil.copytree(start, place)
                cut = Cut(k, eager, torn)
                first = world.ran(partial(cut.work, place, left, cells))
                wrong = world.judge(left / "results", first.acks)
                again = world.ran(partial(world.work, left / "results", cells))
                wrong += world.judge(left / "results", first.acks + again.acks)
                if odd := first.broken or again.broken or again.refused:
                    wrong.append(f"said {odd}")
                yield [f"{name} run, {cut}: {text}" for text in wrong]
                shutil.rmtree(place)
                shutil.rmtree(left)
