"""What the system tells of a process from outside: its CPU time, and the processes that it started.

Both come from /proc; elsewhere they are None, and a check says that it could not look.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Status(NamedTuple):
    """One line of /proc/PID/stat, as far as it is used."""

    name: str
    state: str
    parent: int
    group: int
    session: int
    cpu: float  # seconds, user and system


def status(pid: int) -> Status | None:
    """A process as the system sees it now; None where it has gone, or where there is no /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    head, _, tail = text.rpartition(")")  # the name may hold spaces and brackets
    fields = tail.split()
    ticks = int(fields[11]) + int(fields[12])
    cpu = ticks / os.sysconf("SC_CLK_TCK")
    name = head.partition("(")[2]
    return Status(name, fields[0], int(fields[1]), int(fields[2]), int(fields[3]), cpu)


def cpu_seconds(pid: int) -> float | None:
    """CPU time of a process and all its threads, in steps of a clock tick (10 ms)."""
    found = status(pid)
    return None if found is None else found.cpu


def started_by(pid: int, server: int | None, known: frozenset[int] = frozenset()) -> list[str] | None:
    """Names of the living processes that a cell started; None where the system does not tell.

    Its descendants, its group and its session; and orphans that its server has inherited from it: children
    of the server beyond `known`, those that it had before.
    """
    everyone = snapshot()
    if everyone is None:
        return None
    family = {pid}
    grown = True
    while grown:
        more = {other for other, seen in everyone.items() if seen.parent in family} - family
        family |= more
        grown = bool(more)
    family |= {other for other, seen in everyone.items() if pid in (seen.group, seen.session)}
    if server is not None:
        family |= children(server) - known
    return sorted(everyone[other].name for other in family - {pid} if other in everyone)


def children(pid: int) -> frozenset[int]:
    """The processes whose parent it is."""
    return frozenset(other for other, seen in (snapshot() or {}).items() if seen.parent == pid)


def snapshot() -> dict[int, Status] | None:
    """Every process that is neither dead nor waited for; None where there is no /proc."""
    if not Path("/proc/self/stat").exists():
        return None
    pids = (int(folder.name) for folder in Path("/proc").glob("[0-9]*"))
    return {pid: found for pid in pids if (found := status(pid)) is not None and found.state not in "ZX"}
