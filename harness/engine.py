"""One process per cell, and where it comes from.

A server per kind of backend loads numpy, or torch and `torch._dynamo`, once and forks a child for each
cell in a few milliseconds. CUDA cells are started afresh, since a device does not survive a fork.
The child gets no test text: what it is asked, it is asked by prefixes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Collection, Mapping
from pathlib import Path

from harness.child import Child, Limits
from harness.environment import thread_variables
from harness.forks import Server


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
