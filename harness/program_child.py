"""A cell whose process is an external program: frames on its stdin and stdout, stderr kept."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Mapping
from typing import IO, Any

from numpy.typing import NDArray

from harness import wire
from harness.child import MEMORY_WORDS, CellDied, CellError, CellTimeout, Child, Limits
from harness.engine import Engine
from harness.errors import HarnessError
from harness.memory import held
from harness.program import command, options
from harness.wire import Message

HELLO_SECONDS = 60.0  # from its start, also where a cell has no time limit
SAYS_WHY = re.compile(r"error|exception|panic|fatal|cannot|killed", re.IGNORECASE)
SHOWN = 160  # characters of what it wrote to stderr


class Pipes:
    """The two pipes of a program as the one stream that a `Channel` uses."""

    def __init__(self, reading: IO[bytes], writing: IO[bytes]) -> None:
        self.reading, self.writing = reading, writing
        os.set_blocking(writing.fileno(), False)
        self.timeout: float | None = None

    def settimeout(self, seconds: float | None, /) -> None:
        """How long each of the following may wait."""
        self.timeout = seconds

    def recv_into(self, buffer: memoryview, /) -> int:
        """Read what is there; 0 at the end."""
        self._ready({self.reading: select.POLLIN}, self.timeout)
        return os.readv(self.reading.fileno(), [buffer])

    def sendall(self, buffer: bytes | memoryview, /) -> None:
        """Write all of it. A program that writes when it should read would hold us up for ever: refused."""
        until = None if self.timeout is None else time.monotonic() + self.timeout
        rest = memoryview(buffer).cast("B")
        while rest.nbytes:
            left = None if until is None else max(0.0, until - time.monotonic())
            ready = self._ready({self.writing: select.POLLOUT, self.reading: select.POLLIN}, left)
            if self.writing in ready:
                try:
                    rest = rest[os.write(self.writing.fileno(), rest) :]
                except BlockingIOError:
                    continue  # less room than there was
            elif early := os.read(self.reading.fileno(), wire.HEAD.size):
                raise wire.WireError(f"wrote {early!a} before it had read its request")
            else:
                raise BrokenPipeError

    def _ready(self, wanted: Mapping[IO[bytes], int], seconds: float | None) -> set[IO[bytes]]:
        """Those that can be used, or have ended; `TimeoutError` where none can in time."""
        poller = select.poll()
        for file, events in wanted.items():
            poller.register(file, events)
        found = {descriptor for descriptor, _ in poller.poll(None if seconds is None else seconds * 1000)}
        if not found:
            raise TimeoutError("deadline")
        return {file for file in wanted if file.fileno() in found}

    def close(self) -> None:
        """Close both; the program reads its end of input."""
        self.writing.close()
        self.reading.close()


class ProgramChild(Child):
    """The process of an external program, in a session of its own."""

    def __init__(self, engine: Engine, program: str, limits: Limits) -> None:
        self.program = self.name = program
        self.patience = False  # whether the deadline is that of its hello
        super().__init__(engine, "exec", limits)

    def launch(self, kind: str, limits: Limits, ends: list[int]) -> Pipes:
        """Start it with pipes as its stdin and stdout; `CellError` where it cannot be started."""
        path, words = command(self.program)
        try:
            self.process = subprocess.Popen(
                words,
                executable=path,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=ends[1],
                env=self.engine.environment,
                start_new_session=True,
            )
        except OSError as error:
            raise CellError(
                self.told(
                    f"cannot be started: {error.strerror}. The first line of a script names its interpreter "
                    f"(#!/usr/bin/env python3), or write it in front: program=python3 {words[0]}"
                )
            ) from None
        self.pid = self.process.pid
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        return Pipes(self.process.stdout, self.process.stdin)

    def greet(self, limits: Limits) -> None:
        """Wait for its hello, a minute at most, and bound its memory from there on."""
        own, latest = self.channel.deadline, time.monotonic() + HELLO_SECONDS
        self.patience = own is None or latest < own
        self.channel.deadline = latest if self.patience else own
        super().greet(limits)
        self.channel.deadline, self.patience = own, False
        if limits.memory is not None:
            self.bound(limits.memory)

    def bound(self, extra: int) -> None:
        """Bound its address space to what it has and `extra` bytes, where the system can (Linux)."""
        import resource

        present = held(self.pid, "VmSize")
        if present is None or not hasattr(resource, "prlimit"):
            return
        try:
            _, hard = resource.prlimit(self.pid, resource.RLIMIT_AS)
            soft = present + extra if hard == resource.RLIM_INFINITY else min(present + extra, hard)
            resource.prlimit(self.pid, resource.RLIMIT_AS, (soft, hard))
        except ProcessLookupError:
            return  # it has ended: the next request tells

    def receive(self) -> tuple[Message, dict[str, NDArray[Any]]]:
        """One frame; `CellError` where something else was written to stdout."""
        try:
            return super().receive()
        except wire.NoFrame as error:
            text = f"wrote {error.begins!a} to its stdout, where frames alone may go: print to stderr"
            raise CellError(self.told(text)) from None

    def late(self) -> HarnessError:
        """Its time is over, or our patience with its hello."""
        if self.patience:
            text = f"said no hello within {HELLO_SECONDS:g} s: it must write one before it reads"
            return CellError(self.told(text))
        return CellTimeout(f"{self.program} has not answered {self.asked!a}")

    def death(self, closed: wire.Closed) -> CellDied:
        """Why the connection ended, with what it said last on stderr."""
        error = super().death(closed)
        said = self.outputs["stderr"].text().decode(errors="replace") if self.exit_status is not None else ""
        where = " before its hello" if self.asked == "hello" else f" when asked {self.asked!a}"
        where = " inside a frame" if closed.inside else where
        died = CellDied(self.told(f"{error}{where}" + (f": {why(said)}" if said.strip() else "")))
        died.out_of_memory = error.out_of_memory or bool(MEMORY_WORDS.search(said[-4096:]))
        return died


def why(said: str) -> str:
    """The line of an output that most likely says why its writer ended: the last that speaks of an error."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if SAYS_WHY.search(line)]
    line = (telling or lines)[-1]
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"


def opening(request: Mapping[str, Any]) -> dict[str, Any]:
    """What a program is told when it is opened, of what a worker of ours would be."""
    return {
        "wire": wire.VERSION,
        "vocabulary": request["vocabulary"],
        "config": options(request["config"]),
        "context": request["context"],
    }
