"""One cell's process as the harness sees it: asked and answered in frames, bounded, and ended."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from harness import memory, wire
from harness.errors import Diverged, HarnessError, InvalidModel, Unavailable, UsageError
from harness.forks import Server, ServerDied

if TYPE_CHECKING:
    from harness.engine import Engine

GRACE = 1.0  # seconds between TERM and KILL
SHOWN = 60  # characters of a message in a reason
KEPT = 512 * 1024  # bytes of a cell's output that are kept from its start, and from its end
MEMORY_WORDS = re.compile(
    r"not enough memory|cannot allocate memory|out of memory|bad_alloc|MemoryError|allocate|map segment",
    re.IGNORECASE,
)


class CellTimeout(HarnessError):
    """The cell's time is over."""


class CellDied(HarnessError):
    """The cell's process ended, or closed its connection."""

    out_of_memory = False


class CellError(HarnessError):
    """The model raised; the text is `Class: message (file:line)`."""

    out_of_memory = False


class Unsupported(CellError):
    """An external program does not answer this kind of request; some it need not."""


@dataclass(frozen=True)
class Limits:
    """What one cell may use; None is no bound."""

    timeout: float | None = None  # seconds, start to sample
    memory: int | None = None  # bytes beyond what the process has at its start
    threads: int = 1


class Output:
    """Reads a pipe to its end in a thread; keeps its start and its end."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.head, self.tail, self.total = b"", b"", 0
        self.thread = threading.Thread(target=self._drain, daemon=True)
        self.thread.start()

    def _drain(self) -> None:
        while piece := os.read(self.read_end, 1 << 16):
            self.total += len(piece)
            room = KEPT - len(self.head)
            self.head += piece[:room]
            self.tail = (self.tail + piece[room:])[-KEPT:] if len(piece) > room else self.tail
        os.close(self.read_end)

    def text(self) -> bytes:
        """What was kept, with a line where something was left out."""
        self.thread.join(GRACE)
        left_out = self.total - len(self.head) - len(self.tail)
        middle = f"\n[{left_out:,} bytes left out]\n".encode() if left_out else b""
        return self.head + middle + self.tail


class Child:
    """One cell's process, however it was started."""

    name: str | None = None  # of an external program: its reasons begin with it

    def __init__(self, engine: Engine, kind: str, limits: Limits) -> None:
        began = time.perf_counter()
        self.engine = engine
        self.outputs = {"stdout": Output(), "stderr": Output()}
        ends = [output.write_end for output in self.outputs.values()]
        self.server: Server | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.exit_status: int | None = None
        self.killed = False
        self.asked: Any = "hello"
        try:
            stream = self.launch(kind, limits, ends)
        finally:
            for end in ends:
                os.close(end)
        engine.children.add(self)
        self.scales = memory.Scales(self.pid)
        self.channel = wire.Channel(stream)
        if limits.timeout is not None:
            self.channel.deadline = time.monotonic() + limits.timeout
        try:
            self.greet(limits)
        except BaseException:
            self.close()
            raise
        self.start_s = time.perf_counter() - began
        self.resident = memory.held(self.pid, "VmRSS")

    def launch(self, kind: str, limits: Limits, ends: list[int]) -> wire.Stream:
        """Start the process with `ends` as its stdout and stderr; the stream of its frames."""
        ours, theirs = socket.socketpair()
        try:
            if kind == "spawn":
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "harness.worker", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=ends[0],
                    stderr=ends[1],
                    env=self.engine.environment,
                    cwd=self.engine.cwd,
                    start_new_session=True,
                )
                self.pid = self.process.pid
            else:
                try:
                    self.server = self.engine.server(kind)
                    self.pid = self.server.fork([theirs.fileno(), *ends], limits.memory)
                except ServerDied:  # killed since: the next one starts, and this cell in it
                    self.server = self.engine.server(kind)
                    self.pid = self.server.fork([theirs.fileno(), *ends], limits.memory)
        finally:
            theirs.close()
        return ours

    def greet(self, limits: Limits) -> None:
        """Wait for its hello."""
        message, _ = self.receive()
        if message.get("hello") != wire.VERSION:
            said = f"says hello {message['hello']!a}" if "hello" in message else "says no hello"
            raise CellError(self.told(f"{said}: this harness speaks version {wire.VERSION} of the wire"))

    def told(self, text: str) -> str:
        """A reason; of an external program with its name."""
        return f"{self.name}: {text}" if self.name else text

    def ask(
        self, message: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None
    ) -> tuple[wire.Message, dict[str, NDArray[Any]]]:
        """A request and its answer; `CellError` where what comes is none."""
        self.send(message, arrays)
        answer, found = self.receive()
        if "ok" not in answer:
            raise self.no_answer(answer)
        return answer, found

    def send(self, message: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
        """One frame; `CellTimeout` or `CellDied` where it cannot be."""
        self.asked = message.get("op")
        try:
            self.channel.send(message, arrays)
        except TimeoutError:
            raise self.late() from None
        except wire.Closed as closed:
            raise self.death(closed) from None

    def receive(self) -> tuple[wire.Message, dict[str, NDArray[Any]]]:
        """One frame; an `error` frame is raised as what it stands for."""
        try:
            message, arrays = self.channel.receive()
        except TimeoutError:
            raise self.late() from None
        except wire.Closed as closed:
            raise self.death(closed) from None
        except wire.NoFrame:
            raise
        except wire.WireError as error:
            raise CellError(self.told(str(error))) from None
        if message.get("error") == "unsupported":
            raise Unsupported(self.told(f"does not support {self.asked!a}, which every program must"))
        if "error" in message:
            raise as_exception(message, self.told)
        return message, arrays

    def no_answer(self, message: Mapping[str, Any]) -> CellError:
        """What came is a frame, but not what was asked for; as an exception."""
        text = json.dumps(message)
        text = text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
        return CellError(self.told(f"{text} is no answer to {self.asked!a}"))

    def late(self) -> HarnessError:
        """Its time is over, as an exception."""
        return CellTimeout()

    def death(self, closed: wire.Closed) -> CellDied:
        """Why the connection ended, as an exception."""
        status = self.wait(GRACE)
        if status is None:
            return CellDied("closed its connection to the harness and went on")
        if status < 0:
            name = signal.Signals(-status).name
            error = CellDied(f"its process was ended by {name}")
            said = self.outputs["stderr"].text()[-4096:].decode(errors="replace")
            killed = -status == signal.SIGKILL and not self.killed
            error.out_of_memory = killed or bool(MEMORY_WORDS.search(said))
            return error
        return CellDied(f"its process exited with status {status}")

    def wait(self, seconds: float) -> int | None:
        """The exit status, waited for at most so long."""
        until = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < until:
            time.sleep(0.002)
        return self.exit_status

    def poll(self) -> int | None:
        """The exit status, or None while the process lives."""
        if self.exit_status is None:
            if self.process is not None:
                self.exit_status = self.process.poll()
            elif self.server is not None:
                try:
                    self.exit_status = self.server.status(self.pid)
                except ServerDied:  # nobody can tell the status; a process that has gone was killed
                    self.exit_status = None if memory.held(self.pid, "VmRSS") else -signal.SIGKILL
        return self.exit_status

    def orphaned(self) -> bool:
        """Whether the server that forked it has gone: a cell can end its parent."""
        if self.server is None:
            return False
        try:
            self.server.status(self.pid)
        except ServerDied:
            return True
        return False

    def close(self) -> None:
        """Let the process go; what does not go by itself is ended by TERM, then KILL of its group."""
        if self.poll() is None:
            try:
                self.channel.deadline = time.monotonic() + 0.2
                self.channel.send({"op": "bye"})
            except (wire.WireError, TimeoutError, OSError):
                pass  # it does not listen: the signals below do not ask
            self.channel.sock.close()
            if self.wait(0.3) is None:
                self.killed = True
                self.signal(signal.SIGTERM)
                if self.wait(GRACE) is None:
                    self.signal(signal.SIGKILL)
                    self.wait(5 * GRACE)
        self.channel.sock.close()
        self.scales.close()
        self.engine.children.discard(self)
        if self.process is not None:
            self.signal(signal.SIGKILL)  # what it left in its group; a server does it for its own

    def signal(self, number: signal.Signals) -> None:
        """A signal to the whole group."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return  # it has gone

    def peak(self) -> int | None:
        """Peak of it and of what it has started, minus its resident size at hello, in bytes."""
        peak = memory.held(self.pid, "VmHWM")
        if peak is None or self.resident is None:
            return None
        return max(0, peak - self.resident, self.scales.largest - self.resident)


def as_exception(message: Mapping[str, Any], told: Callable[[str], str] = str) -> Exception:
    """An `error` frame as the exception that the same model would raise in this process.

    told: how a reason is given.
    """
    text, kinds = str(message.get("text", "")), message.get("kinds")
    kinds = kinds if isinstance(kinds, list) else [message["error"]]
    for kind in (Diverged, InvalidModel, Unavailable, UsageError):
        if kind.__name__ in kinds:
            return kind(told(text))
    where = f" ({message['where']})" if message.get("where") else ""
    error = CellError(told(f"{message['error']}: {text}{where}"))
    said_so = bool({"RuntimeError", "OSError", "ImportError"} & set(kinds) and MEMORY_WORDS.search(text))
    error.out_of_memory = "MemoryError" in kinds or said_so
    return error
