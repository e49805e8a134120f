"""`harness verify --store`: what is not whole is named, what is whole is not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from harness import store, store_check
from harness.cli import main
from harness.record import End, Record, briefly

FROZEN = Path(__file__).parent / "frozen"
NAME = "20260101T000000-000000-0001"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A closed run of two cells with five side files, alone in its folder."""
    path = tmp_path / "results" / f"{NAME}.jsonl"
    shutil.copytree(FROZEN / f"{NAME}.jsonl.d", store.side_folder(path))
    shutil.copyfile(FROZEN / f"{NAME}.jsonl", path)
    return path


def lines_of(path: Path) -> list[bytes]:
    """Its lines, with their ends."""
    return path.read_bytes().splitlines(keepends=True)


def found(path: Path) -> list[tuple[str, str]]:
    """States and texts of a folder, the texts without the folder's path."""
    folder = path.parent
    return [(f.state, f.text.replace(f"{folder}/", "")) for f in store_check.check(folder).findings]


def edited(path: Path, change: Callable[[Record], None]) -> None:
    """Change the first cell as somebody would who knows the format: the line's checksum holds again."""
    header, first, *rest = lines_of(path)
    record = msgspec.json.decode(store.decode_line(first.rstrip())[1], type=Record)
    change(record)
    path.write_bytes(b"".join([header, store.encode_line("cell", msgspec.json.encode(record)), *rest]))


def summed_up(path: Path, change: Callable[[Record], None] = lambda record: None) -> None:
    """Close the run as this harness does, the cells of its end line perhaps changed."""
    run = store.read(path)
    for record in run.records:
        change(record)
    end = End(cells=len(run.records), brief=briefly(run.records))
    path.write_bytes(b"".join([*lines_of(path)[:-1], store.encode_line("end", msgspec.json.encode(end))]))


def test_a_run_is_listed_by_its_end_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without reading the cells; the same as of an older file, which is read line by line."""
    (older,), _ = store.brief(run.parent)
    summed_up(run)
    assert found(run) == []
    (newer,), problems = store.brief(run.parent)
    assert (newer.records, newer.closed, problems) == (older.records, True, [])
    assert older.summary is None

    def rename(record: Record) -> None:
        record.model = "renamed"

    summed_up(run, rename)
    assert main(["list", "runs", "--results", str(run.parent)]) == 0
    assert "renamed" in capsys.readouterr().out


def test_an_end_line_that_sums_up_others_is_damage(run: Path) -> None:
    """It is not the cells, and `verify --store` compares the two."""

    def improve(record: Record) -> None:
        record.metrics.test_nll = 0.5

    summed_up(run, improve)
    assert found(run) == [("damaged", f"{NAME}.jsonl: its end line sums up other cells than it holds")]


@pytest.mark.parametrize("lost", ["changed", "gone", "twice", "torn"])
def test_what_is_not_whole_is_read_line_by_line(run: Path, lost: str) -> None:
    """Whatever its end line sums up: what is found is what a reader of all lines finds."""
    summed_up(run)
    lines = lines_of(run)
    if lost == "changed":
        lines[2] = lines[2].replace(b'"ok"', b'"no"', 1)
    if lost == "gone":
        del lines[2]
    if lost == "twice":
        lines[2] = lines[1]
    if lost == "torn":
        lines[-1] = lines[-1][:-1]
    run.write_bytes(b"".join(lines))
    (listed,), _ = store.brief(run.parent)
    whole = store.read(run)
    assert listed.findings == whole.findings != []
    assert [one.cell for one in listed.records] == [one.cell for one in whole.records]


def test_a_copy_of_a_run_is_named_and_counts_once(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file is called by its run; of two with one run the first counts."""
    copy = run.with_name("20270101T000000-000000-0009.jsonl")
    shutil.copyfile(run, copy)
    shutil.copytree(store.side_folder(run), store.side_folder(copy))
    said = f"holds run {NAME}, and in a folder of runs a file is called by its run"
    assert found(run) == [("damaged", f"{copy.name}: {said}")]
    for listed, problems in (store.brief(run.parent), store.read_all(run.parent)):
        assert [one.path for one in listed] == [run]
        assert problems == [f"{copy}: holds run {NAME}, as {run.name} does; left out"]


def test_a_whole_store_is_counted(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is found; files, cells and side files are counted; exit 0; and as JSON."""
    assert found(run) == []
    assert main(["verify", "--store", "--results", str(run.parent)]) == 0
    said = "1 run files, 2 cells, 5 side files as their checksums say; all whole."
    assert capsys.readouterr().out == f"{run.parent}: {said}\n"
    assert main(["verify", "--store", "--results", str(run.parent), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["files"], document["cells"], document["side_files"]) == (1, 2, 5)
    assert document["findings"] == []


def test_an_empty_folder_is_whole(tmp_path: Path) -> None:
    """Nothing there, nothing found; the same for a folder that is not there."""
    assert store_check.check(tmp_path) == store_check.check(tmp_path / "none") == store_check.Report()


@pytest.mark.parametrize(
    ("content", "state", "said"),
    [
        (lambda lines: b"".join(lines[:2]), "open", "1 of 2 cells"),
        (lambda lines: b"".join(lines)[:-5], "torn", "the last line is torn"),
        (lambda lines: b"", "torn", "nothing was stored"),
        (lambda lines: lines[0][:9], "torn", "nothing was stored"),
        (lambda lines: lines[0][:300], "torn", "nothing was stored"),
        (lambda lines: b"".join([lines[0], lines[1].lower(), *lines[2:]]), "damaged", "line 2"),
        (lambda lines: lines[0] + lines[2] + lines[3], "damaged", "its end line counts 2 cells, 1"),
        (lambda lines: b"".join(lines) + lines[1], "damaged", "line 5"),
        (lambda lines: b"".join([*lines[:3], lines[2], lines[3]]), "damaged", "cell 1 stands twice"),
        (lambda lines: lines[0].replace(b"lecture", b"Lecture") + lines[1], "damaged", "the checksum"),
        (lambda lines: b"".join(lines[1:]), "damaged", "no header"),
        (lambda lines: b'{"loss": 2.4}\n', "foreign", "not a run file of harness"),
        (lambda lines: b"\x80\x04 binary", "foreign", "not a run file of harness"),
        (lambda lines: store.encode_line("header", b'{"schema":"other/1"}'), "foreign", "not a run file"),
        (lambda lines: lines[0] + store.encode_line("end", b'{"cells":0}'), "damaged", "closed with 0 of 2"),
    ],
)  # fmt: skip
def test_what_a_run_file_suffers_is_named(
    content: Callable[[list[bytes]], bytes], state: str, said: str, run: Path
) -> None:
    """Each kind of damage, and what is no damage, by its own word; damage alone is exit 6."""
    run.write_bytes(content(lines_of(run)))
    assert any(state == each and said in text for each, text in found(run)), found(run)
    worst = any(each == "damaged" for each, _ in found(run))
    assert worst is (state == "damaged")
    assert main(["verify", "--store", "--results", str(run.parent)]) == (6 if worst else 0)


def test_a_foreign_file_is_no_run_file(run: Path) -> None:
    """It is named, and not counted among them."""
    (run.parent / "other.jsonl").write_text('{"event": "x"}\n')
    report = store_check.check(run.parent)
    assert (report.files, [each.state for each in report.findings]) == (1, ["foreign"])


@pytest.mark.timeout(20)
def test_a_pipe_that_is_called_like_a_run_file_is_not_waited_for(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody writes into it: it is foreign to `verify`, and nothing to those who list, show and run."""
    os.mkfifo(run.parent / "x.jsonl")
    (run.parent / "folder.jsonl").mkdir()
    assert found(run) == [("foreign", "folder.jsonl: no file"), ("foreign", "x.jsonl: no file")]
    assert store.run_files(run.parent) == [run]
    assert store.find(run.parent, "latest") == run
    assert main(["list", "runs", "--results", str(run.parent)]) == 0
    (run.parent / "gone.jsonl").symlink_to("nowhere")
    assert [state for state, _ in found(run)] == ["damaged", "foreign", "foreign"]


@pytest.mark.parametrize("name", ["0.scores.npz", "1.samples.json", "0.params.npz"])
@pytest.mark.parametrize("position", [0, 100, -1])
def test_one_flipped_bit_of_a_side_file_is_damage(name: str, position: int, run: Path) -> None:
    """The file is named; the same in `verify RUN`."""
    file = store.side_folder(run) / name
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)
    assert found(run) == [("damaged", f"{run.name}.d/{name}: the checksum does not hold")]
    assert main(["verify", str(run)]) == 6


def test_a_side_file_that_is_gone_is_damage_unless_it_may_be(run: Path) -> None:
    """Parameters are not committed, nor need be the whole folder; a single file of scores is lost."""
    folder = store.side_folder(run)
    (folder / "0.params.npz").unlink()
    assert found(run) == []
    assert store_check.check(run.parent).not_kept == 1
    (folder / "0.scores.npz").unlink()
    assert found(run) == [("damaged", f"{folder.name}: '0.scores.npz' is not there, and cell 0 names it")]
    shutil.rmtree(folder)
    assert found(run) == []
    assert store_check.check(run.parent).not_kept == 5


@pytest.mark.parametrize("name", ["../secret.npz", "sub/inside.npz", "..", "/etc/hostname", "\x1b[2J"])
def test_a_name_that_leaves_the_folder_is_damage(
    name: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record that names a file elsewhere is damaged, whether it is there or not; the name is escaped."""
    (run.parent / "secret.npz").write_bytes(b"")
    edited(run, lambda record: setattr(record, "scores", name))
    ((state, text),) = [each for each in found(run) if each[0] != "left over"]
    assert state == "damaged"
    assert ascii(name) in text
    main(["verify", "--store", "--results", str(run.parent)])
    assert "\x1b" not in capsys.readouterr().out


def test_a_link_that_leaves_the_folder_is_damage(run: Path, tmp_path: Path) -> None:
    """Even where the file that it leads to has the right content."""
    file = store.side_folder(run) / "0.scores.npz"
    shutil.move(file, tmp_path / "elsewhere.npz")
    file.symlink_to(tmp_path / "elsewhere.npz")
    ((state, text),) = found(run)
    assert state == "damaged"
    assert "'0.scores.npz', which is outside of" in text


def test_side_files_without_checksums_are_opened(run: Path) -> None:
    """Of an older record: readable is counted, unreadable is damage."""
    edited(run, lambda record: record.side_files.clear())
    assert found(run) == []
    assert store_check.check(run.parent).unchecked == 3
    (store.side_folder(run) / "0.samples.json").write_bytes(b'["a')
    ((state, text),) = found(run)
    assert state == "damaged"
    assert "0.samples.json: damaged" in text


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("run_id", "another\x1b", r"cell 0 is one of run 'another\x1b'"),
        ("cell", 7, "cell 7, where its header names 2"),
    ],
)
def test_a_cell_that_is_not_of_this_run_is_damage(field: str, value: object, said: str, run: Path) -> None:
    """A whole line from elsewhere is no cell of this run."""
    edited(run, lambda record: setattr(record, field, value))
    assert [text for state, text in found(run) if state == "damaged"] == [f"{run.name}: {said}"]


def test_what_is_left_over_is_named(run: Path) -> None:
    """Files that no cell names, and a folder whose run file is gone, are named and are no damage."""
    (store.side_folder(run) / ".9.scores.npz.part").write_bytes(b"half")
    shutil.copytree(store.side_folder(run), run.parent / "gone.jsonl.d")
    assert found(run) == [
        ("left over", f"{run.name}.d: 1 files that no cell names, '.9.scores.npz.part' first"),
        ("left over", "gone.jsonl.d: side files without their run file"),
    ]
    assert not store_check.check(run.parent).damaged


@pytest.mark.parametrize("words", [["latest"], ["--rerun"]])
def test_the_store_is_checked_as_a_whole(
    words: list[str], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--store` with RUN or `--rerun` is a mistake that says so."""
    assert main(["verify", "--store", "--results", str(run.parent), *words]) == 2
    assert "leave RUN and --rerun out" in capsys.readouterr().err
