"""SIGKILL at random moments: in a loop that appends, and in whole runs."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
from harness import store, store_check
from store_proof import world
from store_proof.world import Ack, Cases

CELLS = 25
MODELS = "count-bigram:k=0.5,uniform,nn-bigram:steps=20"
DATA = "markov:documents=60,vocab=5"


def appending(folder: Path, kills: int, seed: int = 0) -> Cases:
    """A process appends cells, run after run, and is killed; the next one goes on where it was."""
    moments = random.Random(seed)
    acks: list[tuple[str, str]] = []

    def forever(ack: Ack) -> None:
        while True:
            world.work(folder, CELLS, ack)

    for _ in range(kills):
        child = world.start(forever)
        time.sleep(moments.uniform(0, 0.08))
        child.kill()
        acks += child.wait().acks
        yield world.judge(folder, acks, store.run_files(folder)[-2:])
    few = [f"only {len(acks)} cells were acknowledged: nothing was shown"] if len(acks) < kills / 4 else []
    yield world.judge(folder, acks) + few


def running(folder: Path) -> Callable[[Ack], None]:
    """A whole run, its cells in processes of their own, silent."""

    def task(ack: Ack) -> None:
        silent = os.open(os.devnull, os.O_WRONLY)  # its server may find its parent gone, and say so
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        harness.run(MODELS, dataset=DATA, results=folder, threads=1)

    return task


def lasting(found: store.Run) -> list[dict[str, Any]]:
    """Every column but times, throughput and memory; the content of side files by their checksums."""
    passing = ("run_id", "timings", "throughput", "peak_rss_bytes", "environment", "curve")
    return [
        {name: getattr(one, name) for name in one.__struct_fields__ if name not in passing}
        for one in found.records
    ]


def whole_runs(folder: Path, kills: int, seed: int = 0) -> Cases:
    """A run is killed and started again until it is complete: equal to one that nobody disturbed."""
    moments = random.Random(seed)
    world.ran(running(folder / "warm"))
    began = time.perf_counter()
    first = world.ran(running(folder / "undisturbed"))
    lasted = time.perf_counter() - began
    (path,) = store.run_files(folder / "undisturbed")
    expected = lasting(store.read(path))
    if first.broken or len(expected) != 3:
        yield [f"the undisturbed run: {first.broken}, {len(expected)} cells"]
    partial = 0
    for number in range(kills):
        place = folder / f"{number:03d}"
        child = world.start(running(place))
        time.sleep(moments.uniform(0, lasted))
        child.kill()
        child.wait()
        before = {path: path.read_bytes() for path in store.run_files(place)}
        partial += any(0 < len(each.records) < len(expected) for each in store.brief(place)[0])
        result = world.ran(running(place))
        said = result.broken or result.refused
        wrong = [f"the same command: {said}"] if said else continued(place, before, expected)
        yield [f"kill {number}: {text}" for text in wrong]
    if kills >= 20 and not partial:
        yield ["no kill came between the first and the last cell: nothing was shown"]


def continued(place: Path, before: dict[Path, bytes], expected: list[dict[str, Any]]) -> list[str]:
    """What is wrong after the same command has run again: every readable run must be the undisturbed one."""
    runs, _ = store.read_all(place)
    found = [finding.text for finding in store_check.check(place).findings if finding.state == "damaged"]
    found += [f"{run.path.name} is still open" for run in runs if not run.closed]
    found += [f"{run.path.name} differs" for run in runs if run.closed and lasting(run) != expected]
    for path, content in before.items():
        whole = content[: content.rfind(b"\n") + 1]
        if not path.read_bytes().startswith(whole):
            found.append(f"{path.name}: what was stored has changed")
    return found if runs else ["no run is left"]
