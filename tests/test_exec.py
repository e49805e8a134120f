"""External programs as models: what one does, its row shows, and nothing else."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import program_child, registry
from harness.cli import main
from harness.cli.stored import ask_for
from harness.errors import UsageError
from harness.labels import called
from harness.notebook import Result
from harness.program import spec
from harness.record import Record
from harness.selection import Choice

ROOT = Path(__file__).parents[1]
UNIFORM = Path(__file__).parent / "programs" / "uniform.py"
DATA = "markov:documents=300"

EXITED = "its process exited with status"
ROGUES = {  # mode -> status, phase, what is said after the program's name
    "version": ("failed", "start", "says hello 2: this harness speaks version 1 of the wire"),
    "nohello": ("failed", "start", "says no hello: this harness speaks version 1"),
    "banner": ("failed", "start", "wrote b'Hi\\n' to its stdout, where frames alone may go: print to stderr"),
    "quits": ("failed", "start", f"{EXITED} 4 before its hello"),
    "prints": ("failed", "fit", "wrote b'epoch"),
    "raises": ("failed", "fit", f"{EXITED} 1 when asked 'fit': ValueError: no such option"),
    "exits": ("failed", "fit", f"{EXITED} 3 when asked 'fit'"),
    "segfaults": ("failed", "fit", "its process was ended by SIGSEGV when asked 'fit'"),
    "allocates": ("out-of-memory", "fit", f"{EXITED} 1 when asked 'fit': MemoryError"),
    "torn": ("failed", "fit", f"{EXITED} 0 inside a frame"),
    "oversized": ("failed", "fit", "a frame of 100 + 1,099,511,627,776 bytes is over the limit"),
    "unreadable": ("failed", "fit", "a frame with an unreadable header"),
    "short": ("failed", "fit", "array 'x' is longer than the frame"),
    "noanswer": ("failed", "fit", """{"done": true} is no answer to 'fit'"""),
    "untrained": ("failed", "fit", """{"ok": true, "targets_consumed": -5} is no answer to 'fit'"""),
    "twice": ("failed", "fit", "does not support 'new', which every program must"),
    "refuses": ("failed", "fit", "does not support 'fit', which every program must"),
    "error": ("failed", "fit", "ValueError: k must be positive"),
    "diverges": ("diverged", None, "loss is nan"),
}
BAD_ROWS = {"shape": "next_log_probs returned shape", "nan": "next_log_probs returned NaN"}
HONEST = ("honest", "minimal", "samples", "checks", "impossible", "logs")


def program(mode: str, file: Path = UNIFORM) -> str:
    """The command of the test program."""
    return f"{sys.executable} {file} {mode}"


def item(mode: str) -> str:
    """Its selection."""
    return f'{mode}@exec:program="{program(mode)}"'


def run(models: str, folder: Path, **options: Any) -> Result:
    """A run on a little data."""
    return harness.run(models, dataset=DATA, results=folder / "results", **options)


@pytest.fixture(scope="module")
def everyone(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """One run of every rogue and every honest program, and of the uniform model in Python."""
    models = ",".join([*map(item, (*ROGUES, *BAD_ROWS, *HONEST)), "uniform"])
    return run(models, tmp_path_factory.mktemp("everyone"), memory=2 * 2**30, timeout=120.0)


def record_of(result: Result, model: str) -> Record:
    """The record of one model."""
    (record,) = [record for record in result.records if record.model == model]
    return record


def stderr_of(result: Result, record: Record) -> str:
    """What it wrote to stderr."""
    assert record.stderr is not None
    return next(result.path.parent.rglob(record.stderr)).read_text()


# ---- what goes wrong


@pytest.mark.parametrize("mode", ROGUES)
def test_a_rogue_is_one_row(everyone: Result, mode: str) -> None:
    """The status, and one line that names the program and what it did."""
    status, phase, said = ROGUES[mode]
    record = record_of(everyone, mode)
    assert record.status == status, record.reason
    assert record.reason is not None
    assert record.reason.startswith(f"{phase}: " * bool(phase) + f"{program(mode)}: {said}")
    assert "\n" not in record.reason


@pytest.mark.parametrize("mode", BAD_ROWS)
def test_rows_of_a_program_are_checked_like_any(everyone: Result, mode: str) -> None:
    """Rows of a wrong shape, or that are no distribution, make its cell invalid."""
    record = record_of(everyone, mode)
    assert record.status == "invalid"
    assert BAD_ROWS[mode] in (record.reason or "")


def test_a_hung_program_is_ended(tmp_path: Path) -> None:
    """One that ignores TERM: the row names the request that it has not answered."""
    (record,) = run(item("hangs"), tmp_path, timeout=2.0).records
    assert record.status == "timeout"
    assert record.reason == f"fit: over the limit of 2 s: {program('hangs')} has not answered 'fit'"


def test_a_program_that_waits_for_us_is_told_to_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a time limit too: it must say hello first."""
    monkeypatch.setattr(program_child, "HELLO_SECONDS", 0.5)
    (record,) = run(item("silent"), tmp_path).records
    assert record.status == "failed"
    said = f"start: {program('silent')}: said no hello within 0.5 s: it must write one before it reads"
    assert record.reason == said


UNSTARTABLE = {  # file -> its text, its mode; status and reason of its row
    "absent": (None, 0, "skipped", "./absent: there is no such program here: build it"),
    "plain": ("hello", 0o644, "skipped", "./plain is not executable: chmod +x ./plain"),
    "text": ("hello", 0o755, "failed", "start: ./text: cannot be started: Exec format error."),
    "lost": ("#!/no/such/sh\n", 0o755, "failed", "start: ./lost: cannot be started: No such file"),
    "reads": ("#!/bin/sh\ncat\n", 0o755, "failed", "start: ./reads: said no hello"),
    "tells": ("#!/bin/sh\necho oh no >&2; exit 9\n", 0o755, "failed",
              f"start: ./tells: {EXITED} 9 before its hello: oh no"),
}  # fmt: skip


@pytest.fixture(scope="module")
def unstartable(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """One run of programs that cannot be started, or not used, and of a model that can."""
    folder = tmp_path_factory.mktemp("unstartable")
    for name, (text, mode, _, _) in UNSTARTABLE.items():
        if text is not None:
            (folder / name).write_text(text)
            (folder / name).chmod(mode)
    models = ",".join([*(f"{name}@exec:program=./{name}" for name in UNSTARTABLE), "uniform"])
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setattr(program_child, "HELLO_SECONDS", 1.0)
        return run(models, folder)


@pytest.mark.parametrize("name", UNSTARTABLE)
def test_a_program_that_cannot_be_started_is_one_row(unstartable: Result, name: str) -> None:
    """The reason names the program and the way out; the model beside it has its row."""
    *_, status, said = UNSTARTABLE[name]
    record = record_of(unstartable, name)
    assert record.status == status
    assert (record.reason or "").startswith(said), record.reason
    assert record_of(unstartable, "uniform").status == "ok"


def test_nothing_of_a_program_outlives_its_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has started ends with it."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv("ROGUE_MARK", mark)
    (record,) = run(item("leaves"), tmp_path).records
    assert record.status == "ok"
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(mark.encode() in command for command in commands)


# ---- what goes right


@pytest.mark.parametrize("mode", ["honest", "minimal", "samples", "checks", "logs"])
def test_an_honest_program_has_the_row_of_its_python_twin(everyone: Result, mode: str) -> None:
    """Uniform rows by a program score as the registered uniform model does, up to rounding."""
    record, twin = record_of(everyone, mode), record_of(everyone, "uniform")
    assert record.status == "ok", record.reason
    for name in ("train_nll", "dev_nll", "test_nll", "test_nll_se"):
        value, expected = getattr(record.metrics, name), getattr(twin.metrics, name)
        assert value == pytest.approx(expected, abs=1e-12), name
    assert record.parameters == 0
    assert record.timings.start_s is not None
    assert record.timings.start_s > 0
    assert record.peak_rss_bytes is not None


def test_the_harness_samples_where_the_program_does_not(everyone: Result) -> None:
    """`unsupported`: drawn from its rows; with a sampler of its own the program's documents stand there."""
    drawn = everyone.run.samples(record_of(everyone, "samples"))
    assert len(set(drawn)) == 1
    (document,) = set(drawn)
    assert len(document) == 2
    assert len(set(everyone.run.samples(record_of(everyone, "honest")))) > 100


def test_checkpoints_and_progress_cross_the_boundary(everyone: Result) -> None:
    """The program is sent the dev NLL that the harness measures; what it reports is marked as claimed."""
    record = record_of(everyone, "checks")
    sent = [float(line.split()[1]) for line in stderr_of(everyone, record).splitlines()]
    assert sent == pytest.approx([record.metrics.dev_nll], abs=1e-12)
    assert [nll for _, nll in record.curve] == pytest.approx(sent, abs=1e-12)
    assert record.throughput.claimed
    assert not record_of(everyone, "honest").throughput.claimed


def test_an_infinite_dev_nll_is_sent_as_null(everyone: Result) -> None:
    """JSON has no infinity, and not every reader forgives one."""
    record = record_of(everyone, "impossible")
    assert stderr_of(everyone, record) == "checked null\n"
    assert record.infinite


def test_every_request_is_as_the_page_says(everyone: Result) -> None:
    """Keys and arrays of all that a run sends are those of the table in docs/wire.md."""
    page = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- requests -->\n(.*?)\n\n", page, re.DOTALL)
    assert found
    table = {}
    for line in found[1].splitlines()[2:]:
        op, keys, arrays, _ = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        named = " ".join(clause.partition(":")[0] for clause in keys.split(";"))
        table[op.strip("`")] = sorted(re.findall("`(\\w+)`", named)), arrays.replace("\\|", "|")
    lines = map(json.loads, stderr_of(everyone, record_of(everyone, "logs")).splitlines())
    seen = set()
    for op, keys, arrays in lines:
        seen.add(op)
        assert keys == table[op][0], op
        for name, dtype, shape in arrays:
            assert f"`{name}` (" in table[op][1], op
            assert dtype in table[op][1], op
            assert len(shape) == (1 if op == "data" else 2)
    assert seen == set(table) - {"load", "checked"}


def test_a_program_runs_in_this_process_too(everyone: Result, tmp_path: Path) -> None:
    """`--in-process` starts it from here, with the same seeds and the same numbers."""
    (record,) = run(item("honest"), tmp_path, in_process=True).records
    isolated = record_of(everyone, "honest")
    assert (record.metrics, record.seed) == (isolated.metrics, isolated.seed)
    assert record.sample_statistics == isolated.sample_statistics


def test_a_program_compresses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stored program drives the range coder like any model; the text comes back byte for byte."""
    result = run(item("honest"), tmp_path)
    (record,) = result.records
    alphabet = record.data.alphabet
    assert alphabet is not None
    text = f"{alphabet[0] * 3}\n{alphabet[-1]}\n".encode()
    (tmp_path / "mine.txt").write_bytes(text)
    packed, back = str(tmp_path / "mine.nchz"), tmp_path / "back.txt"
    where = ["--results", str(result.path.parent)]
    assert main(["compress", called(record), str(tmp_path / "mine.txt"), "-o", packed, *where]) == 0
    assert "kept" in capsys.readouterr().out
    assert main(["decompress", packed, "-o", str(back), *where]) == 0
    assert back.read_bytes() == text


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run of a mixture that has a program as a member."""
    of = f"uniform+honest@exec(program={program('honest')})"
    return run(f"mixture:of={of}", tmp_path_factory.mktemp("mixed"))


def test_a_program_inside_a_mixture(mixed: Result) -> None:
    """A program is a member like any other: uniform mixed with uniform is uniform."""
    (record,) = mixed.records
    assert record.status == "ok", record.reason
    assert record.metrics.test_nll == pytest.approx(math.log(record.data.vocabulary), abs=1e-9)


def test_a_stored_mixture_starts_no_program_unasked(
    mixed: Result, capsys: pytest.CaptureFixture[str]
) -> None:
    """`sample mixture` says which program it would start; named in full it draws."""
    (record,) = mixed.records
    folder = str(mixed.path.parent)
    assert main(["sample", "mixture", "-n", "3", "--results", folder]) == 2
    assert "'mixture' starts an external program: name it in full" in capsys.readouterr().err
    assert main(["sample", called(record), "-n", "3", "--results", folder]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize(
    "name", ["x", "x@exec", "x program=./x", "x@exec:program=./x", "x@exec:program=./y,k=2"]
)
def test_only_what_the_user_names_is_started(name: str) -> None:
    """The selection must choose what the run file holds, program and options: its label alone may lie."""
    known = registry.Registry()
    config = {"program": "./y", "k": 1}
    stored_one = Choice(spec("x", config), "exec", config)
    with pytest.raises(UsageError, match=r"name it in full, 'x@exec:program=\./y,k=1'"):
        ask_for(known, stored_one, name)
    ask_for(known, stored_one, "x@exec:k=1,program=./y #2")


def test_a_run_is_continued_until_the_program_changes(tmp_path: Path) -> None:
    """An open run goes on where it was; a program that was changed since is another one."""
    file = tmp_path / "model.py"
    shutil.copy(UNIFORM, file)
    models = f'mine@exec:program="{program("honest", file)}",uniform'
    first = run(models, tmp_path)
    assert first.records[0].plugin.code_hash != first.records[1].plugin.code_hash

    def opened() -> None:
        lines = first.path.read_bytes().splitlines(keepends=True)
        first.path.write_bytes(b"".join(lines[:2]))  # the header and the program's record

    opened()
    again = run(models, tmp_path)
    assert again.path == first.path
    assert again.records[0] == first.records[0]
    opened()
    file.write_text(file.read_text() + "# another\n")
    assert run(models, tmp_path).path != first.path
