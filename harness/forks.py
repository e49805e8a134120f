"""The server of cells as the harness holds it: a process that has loaded its libraries and forks children."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

PRELOADS = {"numpy": "numpy", "torch": "numpy,torch,torch._dynamo", "numba": "numpy,numba", "bare": ""}


class ServerDied(HarnessError):
    """The server of cells has gone; its cells are without anybody to ask for their status."""


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
