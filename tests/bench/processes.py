"""Whole processes as peers: what one takes from its start to its end."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """What a process took: wall-clock seconds, processor seconds, bytes at most."""

    wall: float
    cpu: float
    memory: int


def run(command: Sequence[str], source: Path | None = None, sink: Path | None = None) -> Process:
    """Run a process to its end, from a file and into one."""
    before = time.perf_counter()
    with (
        open(source or os.devnull, "rb") as given,
        open(sink or os.devnull, "wb") as taken,
        subprocess.Popen(command, stdin=given, stdout=taken, stderr=subprocess.PIPE) as child,
    ):
        assert child.stderr
        said = child.stderr.read().decode(errors="replace")
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - before
    assert child.returncode == 0, said[-2000:]
    return Process(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
