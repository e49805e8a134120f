"""One process per cell: starting it, bounding it, ending it.

A server per kind of backend loads numpy, or torch and `torch._dynamo`, once and forks a child for each
cell in a few milliseconds. CUDA cells are started afresh, since a device does not survive a fork.
The child gets no test text: what it is asked, it is asked by prefixes.
"""

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
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from harness import wire
from harness.environment import thread_variables
from harness.errors import Diverged, HarnessError, InvalidModel, Unavailable, UsageError

PRELOADS = {"numpy": "numpy", "torch": "numpy,torch,torch._dynamo", "numba": "numpy,numba", "bare": ""}
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


class ServerDied(HarnessError):
    """The server of cells has gone; its cells are without anybody to ask for their status."""


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


class Server:
    """A process that forks cells."""

    def __init__(self, kind: str, environment: Mapping[str, str], cwd: Path | None = None) -> None:
        ours, theirs = socket.socketpair()
        command = [
            sys.executable, "-m", "harness.server", PRELOADS[kind], str(theirs.fileno()),
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
        )
        theirs.close()
        self.control = ours
        self.reader = ours.makefile("rb")
        self.lock = threading.Lock()
        self._missing: dict[str, str] | None = None

    def missing(self) -> Mapping[str, str]:
        """What the server could not load, and why; waits until it has tried."""
        with self.lock:
            if self._missing is None:
                self._missing = self._read()["failed"]
            return self._missing

    def fork(self, descriptors: Sequence[int], memory: int | None) -> int:
        """A new child with these descriptors as wire, stdout and stderr; its process id."""
        self.missing()  # it listens when it has loaded
        request = json.dumps({"fork": {"memory": memory}}).encode() + b"\n"
        with self.lock:
            try:
                socket.send_fds(self.control, [request], list(descriptors))
            except OSError:
                raise ServerDied from None
            return int(self._read()["pid"])

    def status(self, pid: int) -> int | None:
        """The exit status of a child, None while it lives."""
        with self.lock:
            try:
                self.control.sendall(json.dumps({"status": pid}).encode() + b"\n")
            except OSError:
                raise ServerDied from None
            found = self._read()["status"]
            return None if found is None else int(found)

    def close(self) -> None:
        """End the server, and with it every child that is left."""
        self.reader.close()
        self.control.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _read(self) -> Any:
        try:
            line = self.reader.readline()
        except OSError:
            line = b""
        if not line:
            raise ServerDied
        return json.loads(line)


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
        self.channel = wire.Channel(stream)
        if limits.timeout is not None:
            self.channel.deadline = time.monotonic() + limits.timeout
        try:
            self.greet(limits)
        except BaseException:
            self.close()
            raise
        self.start_s = time.perf_counter() - began
        self.resident = self.memory("VmRSS")

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
                    self.exit_status = None if self.memory("VmRSS") else -signal.SIGKILL
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
        self.engine.children.discard(self)
        if self.process is not None:
            self.signal(signal.SIGKILL)  # what it left in its group; a server does it for its own

    def signal(self, number: signal.Signals) -> None:
        """A signal to the whole group."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return  # it has gone

    def memory(self, field: str) -> int | None:
        """`VmRSS` or `VmHWM` (peak) in bytes, as the system tells it; None where it does not."""
        try:
            text = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return None
        found = re.search(rf"{field}:\s+(\d+) kB", text)
        return int(found[1]) * 1024 if found else None

    def peak(self) -> int | None:
        """Peak minus the resident size at hello, in bytes."""
        peak = self.memory("VmHWM")
        return None if peak is None or self.resident is None else max(0, peak - self.resident)


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


def server_kind(requires: Collection[str], *, cuda: bool) -> str:
    """Which server makes cells that need these modules; `spawn`: none (CUDA does not survive a fork)."""
    if cuda:
        return "spawn"
    return next((kind for kind in ("torch", "numba") if kind in requires), "numpy")


class Engine:
    """The servers of one run; a context manager.

    environment, cwd: variables beside ours, and the working directory of all its processes.
    """

    def __init__(
        self, threads: int, environment: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.environment = {**os.environ, **thread_variables(threads), **(environment or {})}
        self.cwd = cwd
        if cwd is not None:  # what is found from here by a relative path is found from there too
            first = (environment or {}).get("PYTHONPATH", "").split(os.pathsep)
            places = [*filter(None, first), *map(os.path.abspath, sys.path)]
            self.environment["PYTHONPATH"] = os.pathsep.join(places)
        self.children: set[Child] = set()
        self._servers: dict[str, Server] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for server in self._servers.values():
            server.close()

    def server(self, kind: str) -> Server:
        """The server of that kind, started at its first use."""
        with self._lock:
            found = self._servers.get(kind)
            if found is not None and found.process.poll() is not None:
                found.close()
                found = None
            if found is None:
                self._servers[kind] = Server(kind, self.environment, self.cwd)
            return self._servers[kind]

    def kind_for(self, requires: Collection[str], *, cuda: bool) -> str:
        """How a cell is started: from the server that has loaded what it needs, or afresh."""
        kind = server_kind(requires, cuda=cuda)
        return kind if kind == "spawn" or not self.server(kind).missing() else "spawn"

    def start(self, kind: str, limits: Limits) -> Child:
        """A new process for one cell."""
        return Child(self, kind, limits)

    def kill(self) -> None:
        """End every cell at once."""
        for child in list(self.children):
            child.killed = True
            child.signal(signal.SIGKILL)
