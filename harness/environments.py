"""Base and head side by side: two virtual environments, one process a sample, interleaved pairs.

A run of last week is another machine on another day. Here both are installed in one job, each pair is
measured in a random order, and what slows the machine for a while slows both of a pair.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness import store
from harness.errors import UsageError
from harness.record import Record

# Both would make the two environments import the same code: that of the working directory.
SHARED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


@dataclass(frozen=True)
class Environment:
    """A virtual environment with a harness installed in it."""

    python: Path
    arguments: tuple[str, ...]  # of `harness run`, besides models and seeds: data, budget, threads, plugins

    def run(self, models: Sequence[str], seeds: int, folder: Path) -> store.Run | str:
        """The run of these models, by a new process into a new folder; or the line that says why it broke."""
        place = Path(tempfile.mkdtemp(dir=folder))
        chosen = [word for model in models for word in ("--models", model)]
        command = [str(self.python), "-m", "harness", "run", *chosen, "--seeds", str(seeds), *self.arguments]
        kept = {name: value for name, value in os.environ.items() if name not in SHARED}
        done = subprocess.run(
            [*command, "--results", str(place), "--fresh", "--json"],
            capture_output=True,
            text=True,
            errors="replace",
            env=kept | {"PYTHONSAFEPATH": "1"},
            check=False,
        )
        files = store.run_files(place)
        if files:
            return store.read(files[-1])
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        return f"{self.python}: harness run ended with {done.returncode}: {last}"


def opened(folder: Path, arguments: Sequence[str]) -> Environment:
    """The environment of a folder; `UsageError` where it holds no Python."""
    for inside in ("bin/python", "Scripts/python.exe"):
        if (folder / inside).is_file():
            return Environment((folder / inside).absolute(), tuple(arguments))
    raise UsageError(f"{folder} is no virtual environment: it holds no bin/python")


def paired(
    base: Environment,
    head: Environment,
    models: Sequence[str],
    looks: Sequence[int],
    wanted: Callable[[Sequence[tuple[Record, Record]]], bool],
    seed: int = 0,
    watch: Callable[[str, int], None] = lambda name, pair: None,
) -> Mapping[str, list[tuple[Record, Record]]]:
    """(base, head) of each model and pair, in the order of measuring.

    All models take turns. At each of `looks` those leave of which `wanted` wants no more; after the last
    all do. watch: told of a model and the number of its pair, from 1.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[tuple[Record, Record]]] = {name: [] for name in models}
    todo = list(models)
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(1, max(looks) + 1):
            for name in rng.permutation(todo).tolist():
                watch(name, pair)
                first = bool(rng.integers(2))
                order = (base, head) if first else (head, base)
                samples = [sample(each, name, Path(folder)) for each in order]
                found[name].append((samples[0], samples[1]) if first else (samples[1], samples[0]))
            if pair in looks:
                todo = [name for name in todo if wanted(found[name])]
            if not todo:
                break
    return found


def sample(where: Environment, name: str, folder: Path) -> Record:
    """The record of one process; `UsageError` where it left none."""
    found = where.run([name], 1, folder)
    if isinstance(found, str):
        raise UsageError(found)
    if len(found.records) != 1:
        raise UsageError(f"{where.python}: {name} names {len(found.records)} cells, not one")
    return found.records[0]
