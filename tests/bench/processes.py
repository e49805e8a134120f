"""Whole processes as peers: what one takes from its start to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """What a process took: wall-clock seconds, processor seconds, bytes at most."""

    wall: float
    cpu: float
    memory: int


# Starts a command and tells what it took. In a small process of its own: the system's peak of a process
# begins with what its parent held when it was started, and a test may hold gigabytes.
STARTER = """
import json, os, subprocess, sys, time
before = time.perf_counter()
child = subprocess.Popen(sys.argv[2:])
_, status, used = os.wait4(child.pid, 0)
took = [time.perf_counter() - before, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024]
os.write(int(sys.argv[1]), json.dumps(took).encode())
sys.exit(0 if os.waitstatus_to_exitcode(status) == 0 else 1)
"""


def run(command: Sequence[str], source: Path | None = None, sink: Path | None = None) -> Process:
    """Run a process to its end, from a file and into one."""
    ours, theirs = os.pipe()
    with (
        open(source or os.devnull, "rb") as given,
        open(sink or os.devnull, "wb") as taken,
        open(ours, "rb") as told,
        subprocess.Popen(
            [sys.executable, "-c", STARTER, str(theirs), *command],
            stdin=given,
            stdout=taken,
            stderr=subprocess.PIPE,
            pass_fds=[theirs],
        ) as starter,
    ):
        os.close(theirs)
        assert starter.stderr
        said = starter.stderr.read().decode(errors="replace")
        found = told.read()
    assert starter.returncode == 0, said[-2000:]
    return Process(*json.loads(found))
