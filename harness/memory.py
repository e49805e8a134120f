"""What a cell holds in memory, as the system tells it: its process, and those that it has started.

Of processes that a cell forks only what is not shared with others is added: they begin with all pages of
their parent, and copy those that either of them writes. The system keeps a peak of one process alone, so
that these are looked at once a second; what comes and goes in between is not seen. All from /proc;
elsewhere there is nothing.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

FIRST, EVERY = 0.2, 1.0  # seconds to the first look, and between looks: one takes 1 to 4 ms a process


def held(pid: int, field: str) -> int | None:
    """`VmRSS`, `VmHWM` (its peak) or `VmSize` of a process in bytes; None where the system does not tell."""
    return bytes_of(f"/proc/{pid}/status", rf"{field}:\s+(\d+) kB")


def private(pid: int) -> int | None:
    """Resident bytes that no other process shares."""
    return bytes_of(f"/proc/{pid}/smaps_rollup", r"Private_(?:Clean|Dirty):\s+(\d+) kB")


def bytes_of(path: str, pattern: str) -> int | None:
    """The sum of the figures in kB that a file of the system states, in bytes."""
    try:
        found = re.findall(pattern, Path(path).read_text())
    except OSError:
        return None
    return 1024 * sum(map(int, found)) if found else None


def descendants(pid: int) -> list[int]:
    """The processes that one has started, and what those have."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        texts = [Path(f"/proc/{pid}/task/{thread}/children").read_text() for thread in threads]
    except OSError:
        return found
    for child in map(int, " ".join(texts).split()):
        found += [child, *descendants(child)]
    return found


class Scales:
    """Looks at a process from time to time: the largest sum of what it and its descendants held."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.largest = 0  # bytes; 0 while there was no other process than the one
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="memory of a cell", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Once, now."""
        if others := descendants(self.pid):
            own = held(self.pid, "VmRSS") or 0
            self.largest = max(self.largest, own + sum(private(other) or 0 for other in others))

    def close(self) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join()

    def _look_on(self) -> None:
        wait = FIRST
        while not self._over.wait(wait):
            self.look()
            wait = EVERY
