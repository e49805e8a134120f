"""What a writer promises while the disk, the machine and other writers do what they like."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from harness import durable, store
from harness.errors import StoreError
from harness.record import Brief, Header, Record

FROZEN = Path(__file__).parent / "frozen" / "20260101T000000-000000-0001.jsonl"


def header(identity: str = "same") -> Header:
    """A header of three cells."""
    return msgspec.structs.replace(store.read(FROZEN).header, cells=["a", "b", "c"], identity=identity)


def cell(number: int) -> Record:
    """A record with that number."""
    return msgspec.structs.replace(store.read(FROZEN).records[0], cell=number, side_files={})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a run file may be written."""
    return tmp_path / "results" / "run.jsonl"


def test_a_record_holds_the_checksums_of_its_side_files(path: Path) -> None:
    """SHA-256 of the bytes on disk, for exactly the files that it names and the writer wrote."""
    writer = store.Writer(path, header())
    one = cell(0)
    one.scores = writer.save_arrays("0.scores.npz", {"a": np.arange(3)})
    one.samples = writer.save_samples("0.samples.json", ["x"])
    one.params = None
    writer.save_output("0.stdout.txt", b"not named")
    writer.cell(one)
    writer.close(complete=False)
    (found,) = store.read(path).records
    files = {
        name: (store.side_folder(path) / name).read_bytes() for name in ("0.scores.npz", "0.samples.json")
    }
    assert found.side_files == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def test_the_end_line_sums_up_the_cells(path: Path) -> None:
    """In the order of their numbers, whatever order they were finished in."""
    writer = store.Writer(path, header())
    for number in (2, 0, 1):
        writer.cell(cell(number))
    writer.close()
    (listed,), _ = store.brief(path.parent)
    whole = store.read(path)
    assert whole.summary == listed.records
    assert [one.cell for one in listed.records] == [0, 1, 2]
    assert {one.label for one in listed.records} == {one.label for one in whole.records}


def test_a_short_write_is_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that takes seven bytes at a time gets every line whole."""
    true = os.write
    monkeypatch.setattr(os, "write", lambda fd, content: true(fd, bytes(content[:7])))
    writer = store.Writer(path, header())
    writer.cell(cell(0))
    writer.close()
    monkeypatch.undo()
    run = store.read(path)
    assert (run.closed, run.warnings, [one.cell for one in run.records]) == (True, [], [0])


def test_a_write_that_takes_nothing_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not tried for ever."""
    monkeypatch.setattr(os, "write", lambda fd, content: 0)
    with pytest.raises(StoreError):
        store.Writer(path, header())


def failing(call: str, number: int) -> Callable[..., Any]:
    """That function of `os`, with an error of the disk from its n-th call on."""
    true, calls = getattr(os, call), iter(range(1, 10**6))

    def wrapped(*arguments: Any, **options: Any) -> Any:
        if next(calls) >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return true(*arguments, **options)

    return wrapped


def test_after_an_error_nothing_more_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is there by half stays the last one: later cells and the end line are refused."""
    writer = store.Writer(path, header())
    writer.cell(cell(0))
    true = os.write

    def half(fd: int, content: memoryview) -> int:
        true(fd, bytes(content[:50]))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(StoreError, match="No space left"):
            writer.cell(cell(1))
    with pytest.raises(StoreError, match="an earlier line could not be written"):
        writer.cell(cell(2))
    with pytest.raises(StoreError, match="an earlier line could not be written"):
        writer.close()
    run = store.read(path)
    assert ([one.cell for one in run.records], run.closed, run.damage) == ([0], False, [])
    again = store.Writer(path, header(), resume=True)
    assert [one.cell for one in again.records] == [0]
    again.cell(cell(1))
    again.close()
    assert store.read(path).warnings == []


def test_a_run_whose_first_line_cannot_be_written_leaves_no_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk does not leave an empty file that would be the latest run."""
    monkeypatch.setattr(os, "fsync", failing("fsync", 2))  # the first is of the new folder's name
    with pytest.raises(StoreError, match="No space left"):
        store.Writer(path, header())
    assert store.run_files(path.parent) == []


def test_a_closed_run_is_not_continued(path: Path) -> None:
    """Whoever found it open a moment ago gets no writer once another process has closed it."""
    store.Writer(path, header()).close(complete=False)
    assert store.find_open(path.parent, "same") == path
    other = store.resume(path.parent, "same")
    assert other is not None
    other.cell(cell(0))
    other.close()
    before = path.read_bytes()
    assert store.resume(path.parent, "same") is None
    with pytest.raises(StoreError, match="it is closed, and a run file is never opened again"):
        store.Writer(path, header(), resume=True)
    assert path.read_bytes() == before


def test_a_run_that_is_being_written_is_not_continued(path: Path) -> None:
    """The second to come begins a run of its own."""
    first = store.Writer(path, header())
    with pytest.raises(StoreError, match="another run is writing it"):
        store.Writer(path, header(), resume=True)
    assert store.resume(path.parent, "same") is None
    assert store.find_open(path.parent, "same") is None
    first.close(complete=False)


def test_the_newest_run_of_a_plan_is_continued_or_none(path: Path) -> None:
    """An older open file of the same plan stays as it is once a newer one has been closed."""
    store.Writer(path.with_name("1.jsonl"), header()).close(complete=False)
    store.Writer(path.with_name("2.jsonl"), header()).close()
    store.Writer(path.with_name("3.jsonl"), header("another")).close(complete=False)
    (path.parent / "4.jsonl").write_text("not ours\n")
    assert store.resume(path.parent, "same") is None
    assert store.resume(path.parent, "unknown") is None


def test_a_cell_that_stands_twice_counts_once(path: Path) -> None:
    """The first line counts: a run file is only ever appended to."""
    writer = store.Writer(path, header())
    first, second = cell(0), cell(0)
    second.metrics.test_nll = 9.9
    for one in (first, second, cell(1)):
        writer.cell(one)
    writer.close(complete=False)
    run = store.read(path)
    assert run.records == [first, cell(1)]
    assert len(run.damage) == 1
    assert run.warnings == [f"{path}, line 3: damaged and left out (cell 0 stands twice)"]


def test_line_ends_of_windows_do_no_harm(path: Path) -> None:
    """git may have changed them: every line is still whole."""
    path.parent.mkdir()
    path.write_bytes(FROZEN.read_bytes().replace(b"\n", b"\r\n"))
    assert store.read(path).records == store.read(FROZEN).records


def test_a_brief_reading_agrees_with_the_full_one(tmp_path: Path) -> None:
    """Runs, problems, labels, statuses, scores, looks are the same, of damaged and foreign files too."""
    (tmp_path / "a.jsonl").write_bytes(FROZEN.read_bytes())
    first, *lines = FROZEN.read_bytes().splitlines(keepends=True)
    other = store.decode_line(first.rstrip())[1].replace(FROZEN.stem.encode(), b"b")
    header = store.encode_line("header", other)
    (tmp_path / "b.jsonl").write_bytes(b"".join([header, lines[0], lines[1].lower(), lines[2][:20]]))
    (tmp_path / "c.jsonl").write_text("hello\n")
    full, problems = store.read_all(tmp_path)
    short, same_problems = store.brief(tmp_path)
    assert problems == same_problems
    assert len(full) == len(short) == 2
    for run, brief in zip(full, short, strict=True):
        assert (run.header, run.closed, run.warnings) == (brief.header, brief.closed, brief.warnings)
        for record, row in zip(run.records, brief.records, strict=True):
            assert isinstance(row, Brief)
            for name in ("cell", "label", "status", "infinite"):
                assert getattr(record, name) == getattr(row, name)
            assert record.metrics.test_nll == row.metrics.test_nll
        fingerprint = run.records[0].data.split_fingerprint
        assert store.looks([run], fingerprint) == store.looks([brief], fingerprint) > 0


def test_a_file_system_that_syncs_no_folders_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EINVAL says that it cannot; any other error is one."""

    def refuse(code: int) -> Callable[[int], None]:
        def fsync(fd: int) -> None:
            raise OSError(code, os.strerror(code))

        return fsync

    monkeypatch.setattr(os, "fsync", refuse(errno.EINVAL))
    durable.sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        durable.sync_folder(tmp_path)


def test_a_copy_is_whole_or_not_there(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that breaks off leaves no run file that somebody could continue."""
    store.Writer(path, header()).close(complete=False)
    monkeypatch.setattr(os, "replace", failing("replace", 1))
    with pytest.raises(StoreError, match="No space left"):
        store.copy(path, tmp_path / "copy.jsonl")
    assert store.run_files(tmp_path) == []
