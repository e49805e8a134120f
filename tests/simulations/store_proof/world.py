"""A small run whose every byte follows from its cells' numbers, and the judge of what is left of it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from harness import store, store_check
from harness.errors import StoreError, UsageError
from harness.record import Brief, Data, Header, Metrics, Plugin, Record

true_write, true_read = os.write, os.read
IDENTITY = "the plan"
Ack = Callable[[str, int | str], None]


Cases = Iterator[list[str]]  # an attack: case by case, which promises were broken


def header(run_id: str, cells: int, identity: str = IDENTITY) -> Header:
    """The header of a run of so many cells."""
    return Header(
        run_id=run_id,
        created="2026-01-01T00:00:00+00:00",
        version="0.1.0",
        dataset="names",
        split="lecture",
        budget="default",
        cells=[str(number) for number in range(cells)],
        identity=identity,
    )


def output(number: int) -> bytes:
    """What a cell printed: up to 20 kB."""
    return random.Random(number).randbytes(100 + 19_900 * (number % 7 == 3))


def samples(number: int) -> list[str]:
    """What it drew."""
    return [f"name {number}.{index}" for index in range(5 + number % 3)]


def record(run_id: str, number: int) -> Record:
    """A cell without its side files; one in seven is a line of 60 kB, which may be torn by a kill."""
    return Record(
        run_id=run_id,
        cell=number,
        model="model",
        backend="numpy",
        options={"k": number},
        config={"k": number, "text": "x" * (60_000 if number % 7 == 5 else 10)},
        dataset="names",
        split="lecture",
        repeat=0,
        seed=number,
        budget="default",
        status="ok",
        metrics=Metrics(test_nll=2 + number / 1000),
        data=Data(
            dataset_sha256="", split_fingerprint="", vocabulary=27, documents={}, targets={}, overlap={}
        ),
        plugin=Plugin(distribution="proof", version="1"),
    )


def append(writer: store.Writer, number: int) -> None:
    """One cell with two side files, as `runner` writes it."""
    one = record(writer.header.run_id, number)
    one.stdout = writer.save_output(f"{number}.stdout.txt", output(number))
    one.samples = writer.save_samples(f"{number}.samples.json", samples(number))
    writer.cell(one)


def work(folder: Path, cells: int, ack: Ack, opened: Callable[[], object] = bool) -> None:
    """What `harness run` does with the store; `ack` is told what the user would see as stored.

    After an error it tries one cell more, as the other of two cells side by side would. `opened` is
    called when the run file is open.
    """
    writer = store.resume(folder, IDENTITY)
    if writer is None:
        name = f"{len(store.run_files(folder)):06d}-{os.getpid()}"
        writer = store.Writer(folder / f"{name}.jsonl", header(name, cells))
    opened()
    complete = False
    try:
        done = {one.cell for one in writer.records}
        todo = [number for number in range(len(writer.header.cells)) if number not in done]
        for position, number in enumerate(todo):
            try:
                append(writer, number)
                ack(writer.path.name, number)
            except StoreError:
                for other in todo[position + 1 :][:1]:
                    append(writer, other)
                    ack(writer.path.name, other)
                raise
        complete = True
    finally:
        writer.close(complete=complete)
    ack(writer.path.name, "end")


# ---- processes


@dataclass
class Child:
    """A forked process that acknowledges through a pipe."""

    pid: int
    pipe: int

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> Result:
        """What it acknowledged, and how it ended."""
        content = b""
        while chunk := true_read(self.pipe, 65536):
            content += chunk
        os.close(self.pipe)
        os.waitpid(self.pid, 0)
        result = Result()
        for line in content.decode().split("\n")[:-1]:  # behind the last line end: torn, not said
            mark, _, text = line.partition(" ")
            if mark == "!":
                result.refused = text
            elif mark == "?":
                result.broken = text
            else:
                result.acks.append((mark, text))
        return result


@dataclass
class Result:
    """What a child said."""

    acks: list[tuple[str, str]] = field(default_factory=list)  # file, number or "end"
    refused: str | None = None  # an error of the store, or a mistake of the user: one line
    broken: str | None = None  # any other exception


def start(task: Callable[[Ack], None]) -> Child:
    """Run a task in a forked process."""
    ours, theirs = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside the threads of a library
        pid = os.fork()
    if pid:
        os.close(theirs)
        return Child(pid, ours)
    os.close(ours)
    try:
        task(lambda name, number: told(theirs, f"{name} {number}"))
    except (StoreError, UsageError) as error:
        told(theirs, f"! {error}")
    except BaseException as error:  # whatever it is, the parent must hear of it
        told(theirs, f"? {type(error).__name__}: {error}")
    finally:
        os._exit(0)


def told(pipe: int, line: str) -> None:
    """One line to the parent, past every patch of `os`."""
    true_write(pipe, f"{' '.join(line.splitlines())}\n".encode())


def ran(task: Callable[[Ack], None]) -> Result:
    """Run a task in a forked process, to its end."""
    return start(task).wait()


# ---- the judge


def judge(folder: Path, acks: list[tuple[str, str]], files: list[Path] | None = None) -> list[str]:
    """What is wrong: an acknowledged cell is gone, a cell stands twice, something was invented or torn."""
    found: list[str] = []
    held: dict[str, set[str]] = {}
    for path in store.run_files(folder) if files is None else files:
        try:
            run = store.read(path)
        except StoreError as error:
            if any(name == path.name for name, _ in acks):
                found.append(f"lost: {error}")
            continue
        held[path.name] = {str(one.cell) for one in run.records} | ({"end"} if run.closed else set())
        found += [f"damaged: {text.text}" for text in run.findings if text.state == "damaged"]
        found += of_cells(path, run)
    known = set(held) if files is not None else {name for name, _ in acks}
    found += [
        f"lost: cell {n} of {name}" for name, n in acks if name in known and n not in held.get(name, ())
    ]
    return found


def of_cells(path: Path, run: store.Run) -> list[str]:
    """Every cell is what was written, once, with its side files; what bears a final name is whole."""
    found = []
    for one in run.records:
        true = record(run.header.run_id, one.cell)
        true.stdout, true.samples, true.side_files = one.stdout, one.samples, one.side_files
        if one != true or set(one.side_files) != set(one.side_names) or len(one.side_names) != 2:
            found.append(f"invented: cell {one.cell} of {path.name}")
    report = store_check.Report()
    store_check.check_run(run, report)
    found += [f"side file: {text.text}" for text in report.findings if text.state == "damaged"]
    times = Counter(numbers(path))
    found += [f"twice: cell {number} of {path.name}" for number in times if times[number] > 1]
    folder = store.side_folder(path)
    for file in sorted(folder.glob("[0-9]*")) if folder.is_dir() else []:
        number = int(file.name.partition(".")[0])
        if file.name.endswith(".txt") and file.read_bytes() != output(number):
            found.append(f"torn: {file.name} of {path.name}")
    return found


def numbers(path: Path) -> Iterator[int]:
    """The cells whose lines are whole, as they stand there."""
    for line in path.read_bytes().split(b"\n")[:-1]:
        with contextlib.suppress(ValueError):  # damaged: `store.read` has said so
            kind, payload = store.decode_line(line)
            if kind == "cell":
                yield msgspec.json.decode(payload, type=Brief).cell
