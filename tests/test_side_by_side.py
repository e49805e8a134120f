"""Jobs in forked processes: their results, reports and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import processes
from harness_plugins.side_by_side import Report, side_by_side

ON = pytest.mark.parametrize("fork", [True, False], ids=["processes", "threads"])
FORKED = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")


def silent(done: int, total: int, scalars: Any) -> None:
    """No report."""


def returning(value: Any) -> Callable[[Report], Any]:
    """A job that reports twice."""

    def job(report: Report) -> Any:
        report(1, 2, {"loss": 3.5})
        report(2, 2, {})
        return value, os.getpid()

    return job


@ON
def test_results_and_reports_are_each_job_s_own(fork: bool) -> None:
    """In the order of the jobs, however long each takes."""
    told: dict[int, list[Any]] = {0: [], 1: [], 2: []}
    reports = [lambda *progress, k=k: told[k].append(progress) for k in told]
    found = side_by_side([returning(name) for name in "abc"], reports, fork)
    assert [value for value, _ in found] == ["a", "b", "c"]
    assert told == {k: [(1, 2, {"loss": 3.5}), (2, 2, {})] for k in told}


@FORKED
def test_each_of_several_has_a_process(tmp_path: Path) -> None:
    """One alone has none, and changes what it was given."""
    pids = {pid for _, pid in side_by_side([returning(k) for k in range(3)], [silent] * 3)}
    assert len(pids | {os.getpid()}) == 4
    assert side_by_side([returning("alone")], [silent]) == [("alone", os.getpid())]


@ON
def test_what_one_raises_is_raised(fork: bool) -> None:
    """With its class and text."""

    def wrong(report: Report) -> None:
        raise ZeroDivisionError("by nothing")

    with pytest.raises(ZeroDivisionError, match="by nothing"):
        side_by_side([returning("a"), wrong], [silent] * 2, fork)


@FORKED
def test_an_exception_that_cannot_be_pickled_keeps_its_words() -> None:
    """As a RuntimeError that names its class."""

    class Odd(Exception):
        """Defined where nobody can import it."""

    def wrong(report: Report) -> None:
        raise Odd("words")

    with pytest.raises(RuntimeError, match=r"^Odd: words$"):
        side_by_side([returning("a"), wrong], [silent] * 2)


PARENT = r"""
import os, time
from harness_plugins.side_by_side import side_by_side
def long(report):
    os.write(1, b"%d\n" % os.getpid())  # in one piece
    time.sleep(600)
side_by_side([long, long], [print, print])
"""


@FORKED
def test_they_end_with_their_parent() -> None:
    """Killed outright, as for want of memory: they hold its sockets, and would keep others waiting."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        try:
            pids = [int(parent.stdout.readline()) for _ in range(2)]
        finally:
            parent.kill()
        assert parent.stdout.read() == b""  # the end of the pipe that they inherited
    until = time.monotonic() + 20
    while any(
        (seen := processes.status(pid)) and seen.state != "Z" for pid in pids
    ):  # nobody may wait for it
        assert time.monotonic() < until
        time.sleep(0.01)


@FORKED
def test_a_result_that_cannot_be_pickled_says_why() -> None:
    """And not only that a process ended."""
    with pytest.raises((AttributeError, RuntimeError, TypeError), match="pickle"):
        side_by_side([lambda report: lambda: None, returning("b")], [silent] * 2)


@FORKED
@pytest.mark.parametrize(
    ("end", "said"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "was ended by SIGKILL"),
        (lambda: os._exit(7), "exited with status 7"),
    ],
)
def test_a_process_that_ends_without_an_answer_is_named(
    tmp_path: Path, end: Callable[[], None], said: str
) -> None:
    """And the others do not go on."""

    def dies(report: Report) -> None:
        while not (tmp_path / "pid").exists():
            time.sleep(0.01)
        end()

    def stays(report: Report) -> None:
        (tmp_path / "half").write_text(str(os.getpid()))
        (tmp_path / "half").rename(tmp_path / "pid")
        while True:
            time.sleep(1)

    with pytest.raises(RuntimeError, match=said):
        side_by_side([dies, stays], [silent] * 2)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
