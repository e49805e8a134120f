"""Jobs side by side, a forked process each: threads of one process would wait for each other's Python.

Two LSTMs of 256 at batch 64 do 1.2 times the work of one in two threads, 2.0 times in two processes
(docs/performance.md). A fork shares what is in memory and starts in milliseconds; a new interpreter would
load torch again.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar, cast

PR_SET_PDEATHSIG = 1  # of prctl(2)
R = TypeVar("R")
Report = Callable[[int, int, Mapping[str, float]], None]  # as `Trial.on_progress`
Job = Callable[[Report], R]


def side_by_side(jobs: Sequence[Job[R]], reports: Sequence[Report], fork: bool = True) -> list[R]:
    """What the jobs return, all of them at work at once; what each reports goes to its own of `reports`.

    In processes a result is pickled, and nothing else of what a job changes comes back. Threads do it where
    processes may not be forked: without `fork` (a device does not survive one), and on other systems than
    Linux. Raises what a job raises, and `RuntimeError` where a process ends without an answer; the others
    are then ended too.
    """
    if len(jobs) == 1:
        return [jobs[0](reports[0])]
    pairs = list(zip(jobs, reports, strict=True))
    if sys.platform != "linux" or not fork:
        with ThreadPoolExecutor(len(jobs)) as pool:
            waited = [pool.submit(job, report) for job, report in pairs]
            return [one.result() for one in waited]
    return forked(jobs, reports)


def forked(jobs: Sequence[Job[R]], reports: Sequence[Report]) -> list[R]:
    """The same in processes."""
    fork = multiprocessing.get_context("fork")
    number: dict[Connection, int] = {}
    processes, results = [], dict[int, R]()
    try:
        for k, job in enumerate(jobs):
            ours, theirs = fork.Pipe(duplex=False)
            process = fork.Process(target=work, args=(job, theirs, os.getpid()))
            process.start()
            theirs.close()  # so that the end of the process is the end of the pipe
            number[ours] = k
            processes.append(process)
        while len(results) < len(jobs):
            open_ones = [ours for ours, k in number.items() if k not in results]
            for ready in cast(list[Connection], wait(open_ones)):
                k = number[ready]
                try:
                    kind, content = ready.recv()
                except EOFError:
                    processes[k].join()
                    said = ended(processes[k].exitcode)
                    raise RuntimeError(f"process {k + 1} of {len(jobs)} {said}") from None
                if kind == "progress":
                    reports[k](*content)
                elif kind == "result":
                    results[k] = content
                else:
                    raise content
    finally:
        for process in processes:
            if len(results) < len(jobs):
                process.kill()
            process.join()
        for ours in number:
            ours.close()
    return [results[k] for k in range(len(jobs))]


def work(job: Job[Any], answers: Connection, parent: int) -> None:
    """In the new process: the job's reports, then its result or what it raised.

    It ends with its parent, whose sockets it has inherited: who waits for the parent would wait for it.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return  # it has gone already
    try:
        answers.send(("result", job(lambda *progress: answers.send(("progress", progress)))))
    except Exception as error:
        traceback.print_exc()  # into the cell's output: the place does not travel
        answers.send(("error", portable(error)))


def portable(error: Exception) -> Exception:
    """An exception that can be pickled: itself, or its class and text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def ended(status: int | None) -> str:
    """How a process ended, in words."""
    if status is not None and status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"exited with status {status}"
