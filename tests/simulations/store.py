"""What the store promises, under attack; and the attacks themselves, with one protection off at a time.

    python tests/simulations/store.py             the full form: five minutes on two cores
    python tests/simulations/store.py --short     some twenty seconds, as in the tests

Promise: a cell that was acknowledged is on the disk, with its side files, once and as it was; what an
accident does to it later is named; the same command completes what was interrupted. Needs fork and /proc.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from errno import EIO, ENOSPC
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from store_proof import disk, kills, mutations, writers
from store_proof.bugs import BUGS, Bug
from store_proof.world import Cases

from harness.report import simple


@dataclass(frozen=True)
class Form:
    """How much is attacked."""

    kills: int  # of a loop that appends
    runs: int  # whole runs, killed and continued
    cells: int  # of a run on a failing disk
    errors: tuple[int, ...]
    mutations: int
    records: int  # of the run that is mutated, and of those that several write
    rounds: int  # of several writers, three attacks each
    writers: int


FULL = Form(300, 200, 6, (EIO, ENOSPC), 2000, 200, 7, 8)
SHORT = Form(8, 1, 2, (ENOSPC,), 120, 25, 1, 4)
PLANTED = Form(0, 0, 2, (EIO,), 200, 25, 3, 8)


@dataclass(frozen=True)
class Attack:
    """An attack: what it is called, and its cases in a folder."""

    what: str
    cases: Callable[[Path, Form], Cases]


ATTACKS = {
    "kills": Attack("SIGKILL in an append loop", lambda at, form: kills.appending(at, form.kills)),
    "runs": Attack("whole runs killed and continued", lambda at, form: kills.whole_runs(at, form.runs)),
    "faults": Attack("a call fails", lambda at, form: disk.failing(at, form.cells, form.errors)),
    "power": Attack("the power goes", lambda at, form: disk.power(at, form.cells)),
    "mutations": Attack(
        "bytes change", lambda at, form: mutations.mutations(at, form.mutations, form.records)
    ),
    "writers": Attack(
        "several writers", lambda at, form: writers.at_once(at, form.rounds, form.writers, form.records)
    ),
}
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # power cuts are simulated: a disk only waits


def attack(name: str, form: Form, *, enough: int | None = None) -> tuple[int, list[str]]:
    """Cases and broken promises of one attack, in a folder that is then gone; no more than `enough`."""
    cases, found = 0, []
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        for wrong in ATTACKS[name].cases(Path(folder), form):
            cases += 1
            found += wrong
            if enough is not None and len(found) >= enough:
                break
    return cases, found


def noticed(bug: Bug, form: Form = PLANTED) -> tuple[int, list[str]]:
    """The attack that must notice a planted bug: after how many cases, and what it says."""
    with bug.planted():
        return attack(bug.attack, form, enough=1)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    cases: int
    found: tuple[str, ...]
    seconds: float
    caught_by: str | None = None  # of a planted bug the attack

    @property
    def good(self) -> bool:
        """A promise is kept, a planted bug is caught."""
        return bool(self.found) is (self.caught_by is not None)

    def __str__(self) -> str:
        if self.caught_by is not None:
            return f"caught by {self.caught_by!r}" if self.found else "NOT CAUGHT"
        return f"{len(self.found)} broken promises" if self.found else "every promise kept"


def tried(task: str | int, form: Form) -> Row:
    """An attack by its name, or a planted bug by its number."""
    began = time.perf_counter()
    bug = BUGS[task] if isinstance(task, int) else None
    cases, found = attack(str(task), form) if bug is None else noticed(bug)
    what = ATTACKS[str(task)].what if bug is None else f"planted: {bug.what}"
    return Row(what, cases, tuple(found[:20]), time.perf_counter() - began, bug and ATTACKS[bug.attack].what)


def main() -> int:
    """Attack, two at a time, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="the short form, as in the tests")
    parser.add_argument("--only", choices=ATTACKS, action="append", help="this attack and its bugs")
    given = parser.parse_args()
    names = given.only or list(ATTACKS)
    tasks = [*names, *(number for number, bug in enumerate(BUGS) if bug.attack in names)]
    table: list[Row] = []
    began = time.perf_counter()
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        for row in pool.map(partial(tried, form=SHORT if given.short else FULL), tasks):
            lines = [f"{row.what}: {row}", *([] if row.good else row.found)]
            sys.stderr.write("".join(f"{line}\n" for line in lines))
            table.append(row)
    shown = [
        {"attack": row.what, "cases": row.cases, "found": str(row), "s": f"{row.seconds:.0f}"}
        for row in table
    ]
    sys.stdout.write(f"{simple(shown)}\n\n{time.perf_counter() - began:.0f} s\n")
    return 0 if all(row.good for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
