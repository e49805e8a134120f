"""What the host is: an allow-list of facts that explain a figure, and nothing that is secret."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
PACKAGES = ("nextchar-harness", "numpy", "scipy", "torch", "numba")


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_variables(threads: int) -> dict[str, str]:
    """What libraries must find in the environment, before they are loaded, to use so many threads."""
    return {"OMP_WAIT_POLICY": "passive", **dict.fromkeys(THREAD_VARIABLES, str(threads))}


@contextlib.contextmanager
def threads_here(threads: int) -> Iterator[None]:
    """Meanwhile this process computes with so many threads: the last bits of a sum depend on them.

    It holds for the BLAS and OpenMP libraries that are loaded by now, and for torch, which links its own.
    """
    from threadpoolctl import threadpool_limits

    torch: Any = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    with threadpool_limits(threads):
        if torch:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(before)


def can_isolate() -> bool:
    """Whether cells can have processes of their own here (forking and groups: not on Windows)."""
    return hasattr(os, "fork")


def spare_memory(jobs: int) -> int | None:
    """The default limit of one cell in bytes: four fifths of the machine, shared by `jobs`."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
    return int(0.8 * whole / jobs)


def noise() -> float:
    """How unsteady the host is: the spread of equal loops of about 1 ms, quartiles over median.

    Thirty of them, fewer (at least eight) where 50 ms are over first.
    """
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 8 or (len(times) < 30 and time.perf_counter() < began + 0.05):
        before = time.perf_counter()
        sum(range(40_000))
        times.append(time.perf_counter() - before)
    low, middle, high = (sorted(times)[len(times) * quarter // 4] for quarter in (1, 2, 3))
    return (high - low) / middle


def describe(threads: int) -> dict[str, object]:
    """The facts that stand in every record: processor, system, versions, threads, load."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "affinity": cores(),
        "threads": threads,
        "noise": round(noise(), 4),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "packages": {name: found for name in PACKAGES if (found := version(name))},
        "commit": commit(),
    }


def version(package: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "unknown")


def commit() -> str | None:
    """The git commit of the working directory, `+dirty` where it has changes; None outside git."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+dirty" if _git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=5, check=True)
    return done.stdout.strip()
