"""Several writers at once: distinct runs, one plan, one path, and one who comes late."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from harness import store
from store_proof import world
from store_proof.world import Ack, Cases, Result

OTHER = "another plan"


class Meeting:
    """Where so many processes wait for each other, at most a second."""

    def __init__(self, count: int) -> None:
        self.barrier = multiprocessing.get_context("fork").Barrier(count)

    def __call__(self) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):  # somebody was refused, and does not come
            self.barrier.wait(1)


def together(count: int, task: Callable[[Ack, int], None]) -> list[Result]:
    """So many processes, let go at the same moment."""
    gate = Meeting(count)

    def held(number: int, ack: Ack) -> None:
        gate()
        task(ack, number)

    children = [world.start(partial(held, number)) for number in range(count)]
    return [child.wait() for child in children]


def at_once(folder: Path, rounds: int, count: int, cells: int) -> Cases:
    """Every acknowledged cell is there once, whoever wrote beside."""
    for number in range(rounds):
        for name, attack in (("distinct runs", distinct), ("one plan", one_plan), ("one path", one_path)):
            place = folder / f"{number:03d}-{name.replace(' ', '-')}"
            place.mkdir(parents=True)
            yield [f"{name}, round {number}: {text}" for text in attack(place, count, cells)]


def distinct(folder: Path, count: int, cells: int) -> list[str]:
    """Each writes a run of its own into the same folder."""

    def task(ack: Ack, number: int) -> None:
        path = folder / f"run-{number}.jsonl"
        writer = store.Writer(path, world.header(path.stem, cells, identity=path.stem))
        for cell in range(cells):
            world.append(writer, cell)
            ack(path.name, cell)
        writer.close()
        ack(path.name, "end")

    return judged(folder, together(count, task), refused=0, ends=count)


def one_plan(folder: Path, count: int, cells: int) -> list[str]:
    """All start the same command where an open run of it lies: one continues it, the others begin anew.

    A run of another plan lies beside, the newest of all; and one has found the open run and comes late.
    """
    unfinished = store.Writer(folder / "000000-open.jsonl", world.header("000000-open", cells))
    world.append(unfinished, 0)
    unfinished.close(complete=False)
    foreign = store.Writer(folder / "999999-other.jsonl", world.header("999999-other", cells, OTHER))
    world.append(foreign, 0)
    foreign.close(complete=False)
    before = foreign.path.read_bytes()
    opened = Meeting(count)
    results = together(count, lambda ack, number: world.work(folder, cells, ack, opened))
    late = world.ran(lambda ack: come_late(unfinished.path))
    wrong = judged(folder, results, refused=0, ends=count)
    if late.refused is None:
        wrong.append(f"a closed run was continued: {late.broken}")
    if foreign.path.read_bytes() != before:
        wrong.append("a run of another plan was written to")
    return wrong


def come_late(path: Path) -> None:
    """Continue a run that was open when it was found, and is closed by now."""
    writer = store.Writer(path, store.read(path).header, resume=True)
    world.append(writer, len(writer.header.cells))
    writer.close()


def one_path(folder: Path, count: int, cells: int) -> list[str]:
    """All want the same new file: one gets it."""

    def task(ack: Ack, number: int) -> None:
        path = folder / "run.jsonl"
        writer = store.Writer(path, world.header("run", cells))
        for cell in range(cells):
            world.append(writer, cell)
            ack(path.name, cell)
        writer.close()
        ack(path.name, "end")

    return judged(folder, together(count, task), refused=count - 1, ends=1)


def judged(folder: Path, results: list[Result], *, refused: int, ends: int) -> list[str]:
    """What is wrong with the folder and with what the writers were told."""
    wrong = world.judge(folder, [ack for result in results for ack in result.acks])
    wrong += [f"said {result.broken}" for result in results if result.broken]
    said = sum(result.refused is not None for result in results)
    if said != refused:
        wrong.append(f"{said} writers were refused, {refused} must be")
    done = sum(number == "end" for result in results for _, number in result.acks)
    if done != ends:
        wrong.append(f"{done} runs were closed, {ends} must be")
    return wrong
