"""Run files: what was written is read back, and what was damaged is said."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from harness import store
from harness.errors import StoreError, UsageError
from harness.record import Data, Header, Metrics, Plugin, Record


def header(run_id: str = "20260101T000000Z-abc123", **changes: Any) -> Header:
    """The header of a small run."""
    fields: dict[str, Any] = {
        "created": "2026-01-01T00:00:00+00:00",
        "version": "0.1.0",
        "dataset": "names",
        "split": "grouped:seed=0,fractions=0.8,0.1,0.1",
        "budget": "default",
        "cells": ["first", "second", "third"],
        "environment": {"cpu": "some CPU", "cores": 2},
    }
    return Header(run_id=run_id, **(fields | changes))


def record(cell: int = 0, **changes: Any) -> Record:
    """One cell with a score."""
    fields: dict[str, Any] = {
        "model": "mlp",
        "backend": "numpy",
        "options": {"context": 3},
        "config": {"context": 3, "rate": 0.1, "order": "auto", "tie": True},
        "dataset": "names",
        "split": "grouped",
        "repeat": 0,
        "seed": 2**62 + 1,
        "budget": "default",
        "status": "ok",
        "metrics": Metrics(test_nll=2.1668123456789, zero_probability={"dev": 0, "test": 0}),
        "data": Data(
            dataset_sha256="ab" * 32,
            split_fingerprint="cd" * 32,
            vocabulary=27,
            documents={"train": 80, "dev": 10, "test": 10},
            targets={"train": 560, "dev": 70, "test": 70},
            overlap={"dev": 0, "test": 1},
        ),
        "plugin": Plugin(distribution="nextchar-harness", version="0.1.0"),
    }
    return Record(run_id="20260101T000000Z-abc123", cell=cell, **(fields | changes))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a run file may be written."""
    return tmp_path / "results" / "20260101T000000Z-abc123.jsonl"


@pytest.fixture
def writer(path: Path) -> Iterator[store.Writer]:
    """A run file with its header written, closed at the end."""
    made = store.Writer(path, header())
    yield made
    made.close(complete=False)


def written(path: Path, *records: Record, complete: bool = True) -> bytes:
    """A run file of these cells (three, if none are given); returns its bytes."""
    writer = store.Writer(path, header(path.stem))
    for one in records or [record(cell) for cell in range(3)]:
        writer.cell(one)
    writer.close(complete=complete)
    return path.read_bytes()


# ---- round trip


def test_what_is_written_is_read_back(path: Path) -> None:
    """Header and records come back equal, floats to the last bit, and the run is closed."""
    records = [
        record(0, metrics=Metrics(test_nll=0.1 + 0.2, dev_nll=1e-300, zero_probability={"test": 0})),
        record(1, status="failed", reason='fit: ValueError: “no” \u2028 \n\x1b[31m \\ "'),
        record(2, curve=[(0.5, 2.5), (1.5, 2.25)], marks=["a", "b"], absent={"dev_nll": "no dev"}),
    ]
    written(path, *records)
    run = store.read(path)
    assert run.header == header(path.stem)
    assert run.records == records
    assert (run.path, run.closed, run.warnings) == (path, True, [])


def test_each_cell_is_readable_as_soon_as_it_is_written(path: Path, writer: store.Writer) -> None:
    """Another reader sees every finished cell of a run that is still open."""
    for cell in range(3):
        assert len(store.read(path).records) == cell
        writer.cell(record(cell))
    run = store.read(path)
    assert (len(run.records), run.closed, run.warnings) == (3, False, [])
    writer.close(complete=True)
    assert store.read(path).closed


def test_an_interrupted_run_stays_open(path: Path) -> None:
    """Without an end line a run is open, and its cells are there."""
    written(path, complete=False)
    run = store.read(path)
    assert (len(run.records), run.closed, run.warnings) == (3, False, [])


def test_a_checksum_is_the_sha256_of_the_value(path: Path) -> None:
    """Every line is JSON; its checksum is over the bytes of the value as they stand in the line."""
    for line in written(path).splitlines():
        parsed = json.loads(line)
        (kind,) = set(parsed) - {"checksum"}
        value = line[line.index(b'"%s":' % kind.encode()) + len(kind) + 3 : -1]
        assert json.loads(value) == parsed[kind]
        assert parsed["checksum"] == hashlib.sha256(value).hexdigest()


def test_a_run_file_is_never_overwritten(path: Path) -> None:
    """Neither a closed nor an open run file can be written again, and its bytes stay."""
    before = written(path, complete=False)
    with pytest.raises(UsageError, match="never overwritten"):
        store.Writer(path, header())
    assert path.read_bytes() == before


def forbid(constant: str) -> None:
    """No such thing in JSON."""
    raise AssertionError(f"{constant} is no JSON")


def test_no_nan_is_ever_written(path: Path) -> None:
    """NaN and infinities in a record become null, and every line stays strict JSON."""
    bad = Metrics(test_nll=math.nan, dev_nll=math.inf, excess=-math.inf)
    content = written(path, record(metrics=bad, config={"rate": math.nan}))
    for line in content.splitlines():
        json.loads(line, parse_constant=forbid)
    run = store.read(path)
    assert not run.warnings
    metrics = run.records[0].metrics
    assert (metrics.test_nll, metrics.dev_nll, metrics.excess) == (None, None, None)


def test_a_curve_that_met_an_infinity_is_kept(path: Path) -> None:
    """A checkpoint with p = 0 on a dev target does not make its record unreadable."""
    written(path, record(0, curve=[(0.5, math.inf), (1.5, 2.25)]), record(1))
    run = store.read(path)
    assert run.warnings == []
    assert [one.cell for one in run.records] == [0, 1]
    assert tuple(run.records[0].curve[1]) == (1.5, 2.25)


# ---- damage


@pytest.mark.parametrize("lost", [1, 40, 200])
def test_a_torn_last_line_is_left_out(lost: int, path: Path) -> None:
    """A line that was cut short is dropped with a warning, the cells before it are there."""
    content = written(path, complete=False)
    path.write_bytes(content[:-lost])
    run = store.read(path)
    assert [one.cell for one in run.records] == [0, 1]
    assert not run.closed
    assert len(run.warnings) == 1
    assert "torn" in run.warnings[0]
    assert str(path) in run.warnings[0]


@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_damaged_line_is_set_aside(line: int, path: Path) -> None:
    """A single changed digit anywhere in a cell is noticed; its line is named, the others stay."""
    lines = written(path).splitlines(keepends=True)
    damaged = lines[line].replace(b"2.1668123456789", b"2.1668123456788")
    assert damaged != lines[line]
    path.write_bytes(b"".join([*lines[:line], damaged, *lines[line + 1 :]]))
    run = store.read(path)
    assert [one.cell for one in run.records] == [cell for cell in range(3) if cell != line - 1]
    assert run.closed
    assert len(run.warnings) == 1
    assert f"line {line + 1}: damaged" in run.warnings[0]


def test_no_flipped_bit_goes_unnoticed(path: Path) -> None:
    """Whatever byte of a cell's line is changed, the cell is not read as if it were whole."""
    lines = written(path, record(0), record(1)).splitlines(keepends=True)
    expected = record(0)
    for position in range(0, len(lines[1]) - 1, 7):
        damaged = bytearray(lines[1])
        damaged[position] ^= 1
        path.write_bytes(b"".join([lines[0], bytes(damaged), *lines[2:]]))
        run = store.read(path)
        assert [one.cell for one in run.records] == [1], position
        assert run.warnings, position
    path.write_bytes(b"".join(lines))
    assert store.read(path).records[0] == expected


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\xfe\x00",
        b"null",
        b"{}",
        b'{"checksum":"00"}',
        b'{"checksum":"00","cell":' + b"[" * 20_000,
        b'{"checksum":"00","cell":{}}',
    ],
)
def test_garbage_between_cells_is_set_aside(garbage: bytes, path: Path) -> None:
    """A line that is no line of a run file costs nothing but a warning."""
    lines = written(path).splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], garbage + b"\n", *lines[2:]]))
    run = store.read(path)
    assert [one.cell for one in run.records] == [0, 1, 2]
    assert run.closed
    assert len(run.warnings) == 1
    assert "line 3" in run.warnings[0]


def test_a_cell_that_is_no_record_is_set_aside(path: Path) -> None:
    """A line whose checksum holds but whose value lacks what a record has is damaged too."""
    lines = written(path).splitlines(keepends=True)
    lines[2] = store.encode_line("cell", b'{"cell":1}')
    path.write_bytes(b"".join(lines))
    run = store.read(path)
    assert [one.cell for one in run.records] == [0, 2]
    assert "line 3" in run.warnings[0]


def test_a_damaged_header_makes_a_file_unreadable(path: Path) -> None:
    """Without its header a run is not known; the error names the file and the checksum."""
    lines = written(path).splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0].replace(b'"names"', b'"games"'), *lines[1:]]))
    with pytest.raises(StoreError, match="checksum") as caught:
        store.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"emma\nolivia\n",
        b'{"loss": 2.4}\n{"loss": 2.3}\n',
        b"\x80\x04\x95\x00",
        b"\x00" * 500 + b"\n",
        b"[]\n",
        b'{"checksum":"0',
        store.encode_line("header", msgspec.json.encode(header(schema="other.record/1"))),
    ],
)
def test_a_foreign_file_is_refused(content: bytes, path: Path) -> None:
    """A file that is no run file is a `StoreError` that names it."""
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StoreError, match="not a run file of harness") as caught:
        store.read(path)
    assert str(path) in str(caught.value)


def test_a_file_that_lost_its_first_line_is_refused(path: Path) -> None:
    """Cells without a header belong to no run."""
    content = written(path)
    path.write_bytes(content[content.index(b"\n") + 1 :])
    with pytest.raises(StoreError, match="no header"):
        store.read(path)


def test_a_missing_file_and_a_folder_are_errors_of_the_store(tmp_path: Path) -> None:
    """What cannot be opened is a `StoreError` with the system's reason."""
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(StoreError, match=r"No such file|[Ii]s a directory"):
            store.read(path)


def test_a_newer_schema_is_readable(path: Path) -> None:
    """Fields that this version does not know are passed over, and what it knows is read (DESIGN, 6)."""
    newer_header = msgspec.to_builtins(header(schema="harness.record/2")) | {"mood": "good"}
    newer_record = msgspec.to_builtins(record(schema="harness.record/2")) | {"taste": [1, 2]}
    path.parent.mkdir()
    path.write_bytes(
        store.encode_line("header", msgspec.json.encode(newer_header))
        + store.encode_line("cell", msgspec.json.encode(newer_record))
        + store.encode_line("end", b'{"cells":1}')
    )
    run = store.read(path)
    assert run.header.schema == "harness.record/2"
    assert run.records[0].metrics.test_nll == 2.1668123456789
    assert run.closed


# ---- a folder of runs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three runs and what does not belong there."""
    found = tmp_path / "results"
    for name in ("20260103T000000Z-cc", "20260101T000000Z-aa", "20260102T000000Z-bb"):
        written(found / f"{name}.jsonl")
    (found / "notes.txt").write_text("mine")
    (found / "20260102T000000Z-bb.jsonl.d").mkdir()
    return found


def test_runs_are_listed_oldest_first(folder: Path, tmp_path: Path) -> None:
    """Only run files, by their time; a folder that is not there has none."""
    assert [path.stem[-2:] for path in store.run_files(folder)] == ["aa", "bb", "cc"]
    assert store.run_files(tmp_path / "none") == []


def test_unreadable_files_of_a_folder_are_told_apart(folder: Path) -> None:
    """One file that is no run file is one problem; the others are read."""
    (folder / "20260102T000000Z-bb.jsonl").write_bytes(b"hello\n")
    runs, problems = store.read_all(folder)
    assert [run.path.stem[-2:] for run in runs] == ["aa", "cc"]
    assert len(problems) == 1
    assert "bb.jsonl" in problems[0]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("latest", "20260103T000000Z-cc"),
        ("20260102", "20260102T000000Z-bb"),
        ("20260101T000000Z-aa", "20260101T000000Z-aa"),
    ],
)
def test_a_run_is_found_by_name(name: str, found: str, folder: Path) -> None:
    """`latest`, a whole id, or the start of one."""
    assert store.find(folder, name) == folder / f"{found}.jsonl"


@pytest.mark.parametrize("complete", [True, False])
def test_latest_passes_over_a_run_without_cells(complete: bool, folder: Path) -> None:
    """An interrupted run that holds nothing, or a torn first cell, is not shown, sampled or verified."""
    empty = folder / "20260104T000000Z-dd.jsonl"
    store.Writer(empty, header(empty.stem)).close(complete=complete)
    if not complete:
        torn = folder / "20260105T000000Z-ee.jsonl"
        torn.write_bytes(empty.read_bytes() + b'{"checksum":"')
    assert store.find(folder, "latest") == folder / "20260103T000000Z-cc.jsonl"


def test_latest_is_a_damaged_run_where_it_is_the_newest(folder: Path) -> None:
    """It is not passed over in silence: reading it says what is wrong."""
    damaged = folder / "20260104T000000Z-dd.jsonl"
    whole = (folder / "20260103T000000Z-cc.jsonl").read_bytes()
    for content in (whole.replace(b'"names"', b'"Names"', 1), whole[10:], whole.replace(b"mlp", b"mlq")):
        damaged.write_bytes(content)
        assert store.find(folder, "latest") == damaged


@pytest.mark.parametrize("content", [b'{"event":"x"}\n', b"nothing\n", b"\x80\x04 binary"])
def test_latest_passes_over_what_is_no_run_file(content: bytes, folder: Path) -> None:
    """A line for each says so; a file that was interrupted in its first line holds nothing to speak of."""
    (folder / "events.jsonl").write_bytes(content)
    (folder / "torn.jsonl").write_bytes(b'{"checksum":"')
    passed_over: list[str] = []
    assert store.find(folder, "latest", passed_over) == folder / "20260103T000000Z-cc.jsonl"
    (line,) = passed_over
    assert line.startswith(f"{folder / 'events.jsonl'}: not a run file of harness (")
    assert line.endswith("; passed over")


def test_foreign_files_alone_are_no_runs(tmp_path: Path) -> None:
    """`latest` of them is a mistake of the user's, as in an empty folder."""
    (tmp_path / "events.jsonl").write_bytes(b'{"event":"x"}\n')
    with pytest.raises(UsageError, match="no runs in"):
        store.find(tmp_path, "latest")


def test_latest_of_empty_runs_is_the_newest(tmp_path: Path) -> None:
    """Where no run holds a cell, the newest one says so."""
    for name in ("a", "b"):
        store.Writer(tmp_path / f"{name}.jsonl", header(name)).close(complete=False)
    assert store.find(tmp_path, "latest") == tmp_path / "b.jsonl"


@pytest.mark.parametrize("name", ["", ".", "/dev/null"])
def test_what_is_no_file_names_no_run(name: str, folder: Path) -> None:
    """Nothing, a folder and a device are not the start of every id."""
    with pytest.raises(UsageError, match=r"is no run file and no run's id"):
        store.find(folder, name)


def test_a_run_is_found_by_path(folder: Path, tmp_path: Path) -> None:
    """A path is taken as it is, wherever it is and whatever it is called."""
    elsewhere = tmp_path / "2026"
    elsewhere.write_bytes((folder / "20260101T000000Z-aa.jsonl").read_bytes())
    assert store.find(folder, str(elsewhere)) == elsewhere


def test_an_id_that_begins_another_is_found(tmp_path: Path) -> None:
    """A whole id names its run even where a longer id starts with it."""
    for name in ("base", "base-2"):
        written(tmp_path / f"{name}.jsonl")
    assert store.find(tmp_path, "base") == tmp_path / "base.jsonl"


@pytest.mark.parametrize(
    ("name", "message"), [("2026", "several runs start with '2026'"), ("1999", "no run starts with '1999'")]
)
def test_a_name_that_fits_no_run_or_several_is_an_error(name: str, message: str, folder: Path) -> None:
    """The mistake is the user's, and the message shows the way out."""
    with pytest.raises(UsageError, match=message) as caught:
        store.find(folder, name)
    assert "harness list runs" in str(caught.value)


@pytest.mark.parametrize("name", ["latest", "2026"])
def test_an_empty_folder_has_no_run(name: str, tmp_path: Path) -> None:
    """The message says how to make one."""
    with pytest.raises(UsageError, match=r"no runs in .*harness run makes one"):
        store.find(tmp_path, name)


def test_looks_are_scores_of_one_test_part(tmp_path: Path) -> None:
    """Finite and infinite test scores with that fingerprint count; others do not."""
    other = msgspec.structs.replace(record().data, split_fingerprint="ee" * 32)
    infinite = Metrics(zero_probability={"test": 2})
    written(
        tmp_path / "a.jsonl",
        record(0),
        record(1, metrics=infinite),
        record(2, data=other),
        record(3, metrics=Metrics()),
        record(4, status="failed", metrics=infinite),
    )
    written(tmp_path / "b.jsonl", record(0))
    runs, _ = store.read_all(tmp_path)
    assert store.looks(runs, "cd" * 32) == 3
    assert store.looks(runs, "ee" * 32) == 1
    assert store.looks(runs, "00" * 32) == 0


# ---- side files


def test_arrays_come_back_as_they_were(path: Path, writer: store.Writer) -> None:
    """Values, types and shapes survive, for non-contiguous, empty, scalar and big-endian arrays too."""
    grid = np.arange(24.0).reshape(4, 6)
    arrays = {
        "strided": grid[::2, ::3],
        "transposed": grid.T,
        "reversed": grid[::-1],
        "broadcast": np.broadcast_to(np.float32(1.5), (3, 2)),
        "empty": np.zeros((0, 5), np.int64),
        "scalar": np.array(7, np.int16),
        "foreign": np.array([1.0, 2.0], ">f4"),
        "flags": np.array([True, False]),
        "special": np.array([np.nan, np.inf, -np.inf, -0.0]),
        "mixture/weight.bias": np.array([1.0]),
    }
    name = writer.save_arrays("0.params.npz", arrays)
    writer.cell(record(params=name, scores=name))
    run = store.read(path)
    for found in (run.params(run.records[0]), run.scores(run.records[0])):
        assert found is not None
        assert set(found) == set(arrays)
        for key, array in arrays.items():
            assert found[key].dtype == array.dtype
            np.testing.assert_array_equal(found[key], array, strict=True)


@pytest.mark.parametrize("name", ["file", "args", "kwds", "allow_pickle", "arr_0", "self"])
def test_a_parameter_may_have_any_name(name: str, path: Path, writer: store.Writer) -> None:
    """Names that numpy's own functions use for their arguments are names like others."""
    saved = writer.save_arrays("0.params.npz", {name: np.arange(3)})
    writer.cell(record(params=saved))
    run = store.read(path)
    found = run.params(run.records[0])
    assert found is not None
    assert found[name].tolist() == [0, 1, 2]


def test_objects_are_not_stored(writer: store.Writer) -> None:
    """No pickle is ever written."""
    with pytest.raises(ValueError, match="pickle"):
        writer.save_arrays("0.params.npz", {"a": np.array([{}], object)})


def test_a_pickle_is_not_read(path: Path) -> None:
    """A side file that holds objects is refused, whoever wrote it."""
    written(path, record(params="0.params.npz"))
    store.side_folder(path).mkdir()
    np.savez(store.side_folder(path) / "0.params.npz", a=np.array([{}], object), allow_pickle=True)
    run = store.read(path)
    with pytest.raises(StoreError, match=r"0\.params\.npz"):
        run.params(run.records[0])


def test_samples_come_back_as_they_were(path: Path, writer: store.Writer) -> None:
    """Texts with line breaks, quotes and controls survive."""
    texts = ["emma", "", "a\nb\r\t", '"\\', "\x1b[1m\u2028", "名前"]
    name = writer.save_samples("0.samples.json", texts)
    writer.cell(record(samples=name))
    run = store.read(path)
    assert run.samples(run.records[0]) == texts


def test_side_files_stand_beside_the_run_file(path: Path, writer: store.Writer) -> None:
    """They are in FILE.d/, and nothing unfinished is left there."""
    assert writer.save_arrays("0.scores.npz", {"a": np.zeros(2)}) == "0.scores.npz"
    writer.save_samples("0.samples.json", ["x"])
    folder = path.parent / "20260101T000000Z-abc123.jsonl.d"
    assert store.side_folder(path) == folder
    assert sorted(file.name for file in folder.iterdir()) == ["0.samples.json", "0.scores.npz"]


def test_side_files_that_were_not_kept_are_absent(path: Path) -> None:
    """No name and no file are both None, not an error."""
    written(
        path, record(0), record(1, scores="1.scores.npz", params="1.params.npz", samples="1.samples.json")
    )
    run = store.read(path)
    for one in run.records:
        assert run.scores(one) is None
        assert run.params(one) is None
        assert run.samples(one) is None


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text"])
def test_a_damaged_array_file_is_an_error_of_the_store(damage: str, path: Path, writer: store.Writer) -> None:
    """An array file that was emptied, cut short, changed or replaced is named, without a traceback."""
    name = writer.save_arrays("0.scores.npz", {"a": np.arange(500.0)})
    writer.cell(record(scores=name))
    file = store.side_folder(path) / name
    content = bytearray(file.read_bytes())
    content[2000] ^= 255
    file.write_bytes(
        {"empty": b"", "cut": file.read_bytes()[:1500], "flipped": bytes(content), "text": b"hello"}[damage]
    )
    run = store.read(path)
    with pytest.raises(StoreError, match=r"0\.scores\.npz"):
        run.scores(run.records[0])


@pytest.mark.parametrize("content", [b"", b'["a", "b', b"{}", b"[1]", b"\xff"])
def test_a_damaged_samples_file_is_an_error_of_the_store(
    content: bytes, path: Path, writer: store.Writer
) -> None:
    """A samples file that is no list of texts is named, without a traceback."""
    name = writer.save_samples("0.samples.json", ["x"])
    writer.cell(record(samples=name))
    (store.side_folder(path) / name).write_bytes(content)
    run = store.read(path)
    with pytest.raises(StoreError, match=r"0\.samples\.json"):
        run.samples(run.records[0])


@pytest.mark.parametrize("kind", ["scores", "samples", "params"])
def test_a_side_file_that_was_changed_is_no_content(kind: str, path: Path, writer: store.Writer) -> None:
    """One that can be read and is not what the record names: an error, except where it is asked for."""
    changed = path.with_name("changed")
    if kind == "samples":
        name = writer.save_samples("0.samples.json", ["x"])
        changed.write_text('["y"]')
    else:
        name = writer.save_arrays(f"0.{kind}.npz", {"a": np.zeros(1)})
        with changed.open("wb") as file:
            np.savez(file, a=np.ones(1))
    fields: dict[str, Any] = {kind: name}
    writer.cell(record(**fields))
    run = store.read(path)
    read = getattr(run, kind)
    assert read(run.records[0]) is not None
    changed.replace(store.side_folder(path) / name)
    with pytest.raises(StoreError, match=rf"{name}: damaged \(the checksum does not hold\)"):
        read(run.records[0])
    assert read(run.records[0], altered=True) == (["y"] if kind == "samples" else {"a": np.ones(1)})


@pytest.mark.parametrize(
    ("change", "whole"),
    [
        ({}, True),
        ({"test_sums": np.array([2.0, 1.0])}, True),  # 3 nats of 3 targets, in whatever order
        ({"test_sums": np.array([1.0, 2.1])}, False),
        ({"test_sums": np.array([1.0, np.inf])}, False),
        ({"test_sums": np.array([1.0, np.nan])}, False),
        ({"test_sums": np.array([1, 2])}, False),
        ({"test_sums": np.array([3.0])}, False),
        ({"test_lengths": np.array([1, 1])}, False),
        ({"test_lengths": np.array([0, 0])}, False),
        ({"dev_sums": np.array([4.0])}, False),
        ({"dev_sums": np.array([np.inf])}, True),  # p = 0 on a target of dev, as the record says
    ],
)
def test_scores_without_a_checksum_sum_to_their_nll(
    path: Path, writer: store.Writer, change: dict[str, Any], whole: bool
) -> None:
    """A record of an older version knows none: Σ −ln p over the targets is what it has on record."""
    arrays = {"test_sums": np.array([1.0, 2.0]), "test_lengths": np.array([1, 2])}
    arrays |= {"dev_sums": np.array([np.inf]), "dev_lengths": np.array([3])}
    name = writer.save_arrays("0.scores.npz", arrays | change)
    writer._checksums.clear()  # as they were before records named them
    metrics = Metrics(test_nll=1.0, zero_probability={"dev": 1, "test": 0})
    writer.cell(record(scores=name, metrics=metrics))
    run = store.read(path)
    if whole:
        assert run.scores(run.records[0]) is not None
        return
    with pytest.raises(StoreError, match=r"damaged \(they do not sum to the (dev|test) NLL"):
        run.scores(run.records[0])
    assert run.scores(run.records[0], altered=True) is not None


@pytest.mark.parametrize("escape", ["../secret.npz", "sub/../../secret.npz", "..", ".", "", "sub/inside.npz"])
def test_a_record_cannot_name_a_file_outside(escape: str, path: Path, tmp_path: Path) -> None:
    """A side file is a plain name in the run's own folder; anything else is as if it were not there."""
    written(path, record(scores=escape, params=escape, samples=escape))
    (store.side_folder(path) / "sub").mkdir(parents=True)
    for place in (path.parent, tmp_path, store.side_folder(path) / "sub"):
        np.savez(place / "secret.npz", a=np.zeros(1))
        np.savez(place / "inside.npz", a=np.zeros(1))
    run = store.read(path)
    assert run.params(run.records[0]) is None
    for read in (run.scores, run.samples):
        with pytest.raises(StoreError, match="is not there, and cell 0 names it"):
            read(run.records[0])
        assert read(run.records[0], altered=True) is None


def test_a_link_that_leaves_the_folder_is_not_followed(path: Path, tmp_path: Path) -> None:
    """To nobody who reads: what `verify --store` calls damage is no score elsewhere."""
    written(path, record(scores="0.scores.npz", params=None, samples=None))
    store.side_folder(path).mkdir(parents=True, exist_ok=True)
    np.savez(tmp_path / "elsewhere.npz", a=np.zeros(1))
    (store.side_folder(path) / "0.scores.npz").symlink_to(tmp_path / "elsewhere.npz")
    run = store.read(path)
    with pytest.raises(StoreError, match="is not there"):
        run.scores(run.records[0])


def test_a_record_cannot_name_an_absolute_path(path: Path, tmp_path: Path) -> None:
    """Not even one that exists."""
    np.savez(tmp_path / "secret.npz", a=np.zeros(1))
    written(path, record(scores=str(tmp_path / "secret.npz")))
    run = store.read(path)
    assert run.scores(run.records[0]) is None


@pytest.mark.parametrize("escape", ["../outside.npz", "sub/outside.npz", "sub/../../outside.npz"])
def test_a_side_file_cannot_be_written_outside(
    escape: str, path: Path, writer: store.Writer, tmp_path: Path
) -> None:
    """A name that would leave the run's own folder is refused, and nothing is written."""
    (store.side_folder(path) / ".sub").mkdir(parents=True)
    with pytest.raises(StoreError):
        writer.save_arrays(escape, {"a": np.zeros(1)})
    assert not list(tmp_path.rglob("*outside*"))


# ---- copies


@pytest.fixture
def pair(path: Path) -> Path:
    """A closed run with a side file."""
    writer = store.Writer(path, header())
    writer.cell(record(scores=writer.save_arrays("0.scores.npz", {"a": np.arange(4)})))
    writer.close()
    return path


def test_a_copy_is_the_pair(pair: Path, tmp_path: Path) -> None:
    """Run file and side files stand under the new name, readable, and the old ones stay."""
    target = tmp_path / "deep" / "down" / "baseline.jsonl"
    store.copy(pair, target)
    assert target.read_bytes() == pair.read_bytes()
    for run in (store.read(target), store.read(pair)):
        scores = run.scores(run.records[0])
        assert scores is not None
        assert scores["a"].tolist() == [0, 1, 2, 3]
    assert store.side_folder(target) == tmp_path / "deep" / "down" / "baseline.jsonl.d"


def test_a_run_without_side_files_can_be_copied(path: Path, tmp_path: Path) -> None:
    """No empty folder is made for it."""
    written(path)
    store.copy(path, tmp_path / "copy.jsonl")
    assert len(store.read(tmp_path / "copy.jsonl").records) == 3
    assert not store.side_folder(tmp_path / "copy.jsonl").exists()


@pytest.mark.parametrize("taken", ["copy.jsonl", "copy.jsonl.d"])
def test_a_copy_overwrites_nothing(taken: str, pair: Path, tmp_path: Path) -> None:
    """Where the file or its folder exists, neither is touched."""
    (tmp_path / taken).write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists"):
        store.copy(pair, tmp_path / "copy.jsonl")
    assert (tmp_path / taken).read_bytes() == b"precious"
    assert len([file for file in tmp_path.iterdir() if file.name.startswith("copy")]) == 1


def test_a_run_cannot_be_copied_onto_itself(pair: Path) -> None:
    """That is a file which exists."""
    with pytest.raises(UsageError, match="exists"):
        store.copy(pair, pair)


# ---- places that cannot be written (a path below a regular file, for tests may run as root)


@pytest.mark.parametrize("below", ["run.jsonl", "sub/run.jsonl"])
def test_a_folder_that_cannot_be_made_is_an_error_of_the_store(below: str, tmp_path: Path) -> None:
    """Where the results folder, or one above it, is a regular file, the error names the path."""
    (tmp_path / "results").write_text("a file")
    with pytest.raises(StoreError, match="results"):
        store.Writer(tmp_path / "results" / below, header())
    assert (tmp_path / "results").read_text() == "a file"


@pytest.mark.parametrize("below", ["run.jsonl", "sub/run.jsonl"])
def test_a_copy_to_a_place_that_cannot_be_written(below: str, pair: Path, tmp_path: Path) -> None:
    """It is an error of the store too."""
    (tmp_path / "blocked").write_text("a file")
    with pytest.raises(StoreError, match="blocked"):
        store.copy(pair, tmp_path / "blocked" / below)


def test_a_side_folder_that_cannot_be_made_is_an_error_of_the_store(path: Path, writer: store.Writer) -> None:
    """Where FILE.d is a regular file, neither arrays nor samples can be stored."""
    store.side_folder(path).write_text("a file")
    with pytest.raises(StoreError, match=r"\.jsonl\.d"):
        writer.save_arrays("0.scores.npz", {"a": np.zeros(1)})
    with pytest.raises(StoreError, match=r"\.jsonl\.d"):
        writer.save_samples("0.samples.json", ["a"])
