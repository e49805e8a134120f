"""What a cell holds, and what the processes that it starts add to it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import harness
from harness import memory

SEEN = Path("/proc/self/smaps_rollup").exists()
pytestmark = pytest.mark.skipif(not SEEN, reason="the system does not tell")
MB = 10**6

FORKS = """
import os, sys, time
held = bytearray(os.urandom(1)) * 60_000_000  # shared with the fork, so the parent's alone
if os.fork() == 0:
    own = bytearray(os.urandom(1)) * 90_000_000
    print("ready", flush=True)
    sys.stdin.read()
else:
    os.wait()
"""

PLUGIN = """
import os, subprocess, sys, time
from harness import ModelSpec, hookimpl
from harness_plugins.count_bigram import CountBigram
HOLDS = "import time; held = bytearray(b'x') * 300_000_000; time.sleep(2.5)"
class Hires(CountBigram):
    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        if len(train) > 64:  # not in the warm-up
            subprocess.run([sys.executable, "-c", HOLDS], check=True)
@hookimpl
def harness_models():
    return ModelSpec("hires", {"numpy": Hires}, context=1, config={"k": 1.0})
"""


def test_one_process_as_the_system_sees_it() -> None:
    """Its peak is at least what it has now; a process that is none has nothing."""
    now, peak = (memory.held(os.getpid(), field) for field in ("VmRSS", "VmHWM"))
    assert now is not None
    assert peak is not None
    assert MB < now <= peak
    assert memory.held(2**22 + 1, "VmRSS") is None
    assert memory.private(2**22 + 1) is None
    assert memory.descendants(2**22 + 1) == []


def test_of_a_fork_what_it_shares_is_not_counted_twice() -> None:
    """A child that was forked beside 60 MB and then takes 90 MB adds 90, give or take an interpreter."""
    with subprocess.Popen(
        [sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        scales = memory.Scales(parent.pid)
        scales.look()
        (child,) = memory.descendants(parent.pid)
        own, added = memory.held(parent.pid, "VmRSS"), memory.private(child)
        scales.close()
        parent.communicate(b"")
    assert own is not None
    assert added is not None
    assert 90 * MB < added < 110 * MB
    assert scales.largest == pytest.approx(own + added, abs=5 * MB)
    assert scales.largest < 200 * MB


def test_a_process_alone_has_nothing_beside() -> None:
    """The scales stay empty, and stop at once."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as alone:
        scales = memory.Scales(alone.pid)
        scales.look()
        before = time.perf_counter()
        scales.close()
        assert time.perf_counter() - before < memory.EVERY
        alone.communicate(b"\n")
    assert scales.largest == 0


def test_what_a_model_starts_is_on_its_row(tmp_path: Path) -> None:
    """300 MB in a process of its own are 300 MB of the cell."""
    plugin = tmp_path / "hires.py"
    plugin.write_text(PLUGIN)
    result = harness.run(
        "hires,count-bigram",
        plugin=[plugin],
        dataset="markov:documents=300",
        results=tmp_path / "results",
    )
    hires, alone = (record.peak_rss_bytes or 0 for record in result.records)
    assert 300 * MB < hires < 400 * MB
    assert alone < 100 * MB
