"""`harness report`: from run files to a page, and what is left out with its reason."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

import harness
from harness import registry, store
from harness.cli import main
from harness.held import parts_of
from harness.notebook import Result
from harness.page import MARK, gather, profiles
from harness.page.certificates import certificates
from harness.page.facts import Facts
from harness.record import Header, Record

MODELS = "count-bigram,nn-bigram:steps=20,uniform"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run of three small models, with its parameters."""
    folder = tmp_path_factory.mktemp("runs")
    return harness.run(MODELS, dataset="markov:order=2,vocab=9,seed=1", in_process=True, results=folder)


@pytest.fixture
def results(finished: Result, tmp_path: Path) -> Path:
    """A copy of its folder."""
    return shutil.copytree(finished.path.parent, tmp_path / "results")


def facts(folder: Path, tmp_path: Path, seconds: float = 60, found: registry.Registry | None = None) -> Facts:
    """What the page of the newest run of a folder shows."""
    runs, _ = store.read_all(folder)
    found = found or registry.discover(())
    return gather.gather(runs[-1:], runs, found, folder / "certificates", tmp_path / "cache", seconds)


def rewritten(
    folder: Path, name: str, change: Callable[[Record], Record], created: str = "2099-01-01T00:00:00"
) -> Path:
    """The newest run once more under another name, its records changed; the side files are copied."""
    run = store.read(store.run_files(folder)[-1])
    path = folder / f"{name}.jsonl"
    header = msgspec.structs.replace(run.header, run_id=name, created=created)
    writer = store.Writer(path, header)
    for record in run.records:
        writer.cell(msgspec.structs.replace(change(record), run_id=name))
    writer.close()
    shutil.copytree(store.side_folder(run.path), store.side_folder(path))
    return path


# ---- the command


def test_the_latest_run_is_written_to_report_html(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file that holds the run's names; a second report takes the place of the first."""
    for _ in range(2):
        assert main(["report", "--results", str(results)]) == 0
        assert capsys.readouterr().out.startswith("report.html: 3 rows, ")
    html = Path("report.html").read_text(encoding="utf-8")
    assert html.startswith(MARK)
    for name in ("count-bigram@numpy", "nn-bigram@numpy:steps=20", "uniform@numpy"):
        assert name in html
    assert [path.name for path in Path().iterdir()] == ["report.html"]


def test_a_file_that_is_no_report_is_not_written_over(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run file, say: exit 2, one line, and the file as it was."""
    run = store.run_files(results)[0]
    before = run.read_bytes()
    assert main(["report", "--results", str(results), "--output", str(run)]) == 2
    assert "is no page of harness report: name another file" in capsys.readouterr().err
    assert run.read_bytes() == before


def test_without_a_run_the_way_out_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 and one line, and no file."""
    assert main(["report"]) == 2
    assert "harness run makes one" in capsys.readouterr().err
    assert not Path("report.html").exists()


def test_every_drawing_can_be_had_as_svg(results: Path) -> None:
    """`--svg DIR`: a file a drawing, without the page's variables."""
    assert main(["report", "--results", str(results), "--rescore", "0", "--svg", "drawings"]) == 0
    found = {path.stem for path in Path("drawings").glob("*.svg")}
    assert found == {
        "leaderboard", "cost-train", "cost-parameters", "cost-throughput", "curves", "bigram-counts",
        "bigram-weights", "split",
    }  # fmt: skip
    assert all("var(" not in path.read_text(encoding="utf-8") for path in Path("drawings").iterdir())


def test_every_drawing_can_be_had_as_png(results: Path) -> None:
    """`--png DIR`: two pixels to one of the page."""
    pytest.importorskip("resvg_py")
    assert main(["report", "--results", str(results), "--rescore", "0", "--png", "drawings"]) == 0
    content = Path("drawings/leaderboard.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert int.from_bytes(content[16:20], "big") == 2160


def test_png_without_its_library_says_what_to_install(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 before anything is written."""
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    assert main(["report", "--results", str(results), "--png", "drawings"]) == 2
    assert "nextchar-harness[report]" in capsys.readouterr().err
    assert not Path("report.html").exists()


def test_a_damaged_line_is_exit_6_and_the_page_is_there(results: Path) -> None:
    """What remains is readable."""
    path = store.run_files(results)[0]
    lines = path.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b"ok", b"xx", 1)
    path.write_bytes(b"\n".join(lines))
    assert main(["report", "--results", str(results), "--rescore", "0"]) == 6
    assert "uniform@numpy" in Path("report.html").read_text(encoding="utf-8")


# ---- what is gathered


def test_sums_over_positions_give_the_nll_of_the_table(results: Path, tmp_path: Path) -> None:
    """By character, and by position where no document is longer than is drawn: Σ / Σ is the test NLL."""
    found = facts(results, tmp_path)
    assert found.profiles is not None
    assert [model.name.partition("@")[0] for model in found.profiles.models] == [
        row.record.model for row in found.rows
    ]
    for model, row in zip(found.profiles.models, found.rows, strict=True):
        nll = row.record.metrics.test_nll
        assert model.characters.sum() / found.profiles.of.sum() == pytest.approx(nll, abs=1e-9)
        if found.profiles.at.sum() == found.profiles.of.sum():
            assert model.positions.sum() / found.profiles.at.sum() == pytest.approx(nll, abs=1e-9)


def test_rescoring_is_done_once(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second report reads the cache, and asks no model."""
    first = facts(results, tmp_path).profiles
    monkeypatch.setattr(profiles, "rescored", lambda *_: pytest.fail("a model was asked"))
    second = facts(results, tmp_path).profiles
    assert first is not None
    assert second is not None
    for a, b in zip(first.models, second.models, strict=True):
        assert np.array_equal(a.positions, b.positions)
        assert np.array_equal(a.characters, b.characters)


def test_a_model_that_would_take_too_long_is_left_out(results: Path, tmp_path: Path) -> None:
    """By what its evaluation took in the run: it is not begun, and the reason has both figures."""

    def slow(record: Record) -> Record:
        if record.model == "uniform":
            record.timings.evaluate_s = 1000.0
        return record

    rewritten(results, "slow", slow)
    found = facts(results, tmp_path).profiles
    assert found is not None
    assert len(found.models) == 2
    assert len(found.left_out) == 1
    assert found.left_out[0].startswith("uniform@numpy: its evaluation took 1e+03 s, and ")


def test_a_model_whose_code_has_changed_is_left_out(results: Path, tmp_path: Path) -> None:
    """Its sums are not those of the run, so nothing is drawn for it."""
    path = rewritten(results, "changed", lambda record: record)  # names no checksums
    params = store.side_folder(path) / "0.params.npz"
    np.savez(params, counts=np.load(params)["counts"][::-1])
    found = facts(results, tmp_path).profiles
    assert found is not None
    assert found.left_out == ["count-bigram@numpy: it scores otherwise than in the run: its code has changed"]


def test_scores_that_were_changed_are_left_out_and_said(results: Path, tmp_path: Path) -> None:
    """Readable, but not what the record names by its checksum: no rank rests on them."""
    path = store.run_files(results)[0]
    file = store.side_folder(path) / "0.scores.npz"
    arrays = dict(np.load(file))
    np.savez(file, **arrays | {"test_sums": arrays["test_sums"] * 0.9})
    page = facts(results, tmp_path)
    assert page.left_out == [f"{file}: damaged (the checksum does not hold)"]
    assert page.damaged
    assert [row.rank for row in page.rows] == [None] * 3
    assert main(["report", "--results", str(results), "--output", str(tmp_path / "page.html")]) == 6
    assert (tmp_path / "page.html").is_file()


def test_a_plugin_that_is_not_here_is_left_out(results: Path, tmp_path: Path) -> None:
    """The page is made without it, and names its distribution."""
    found = registry.discover(())
    del found.models["uniform"]
    page = facts(results, tmp_path, found=found)
    assert page.profiles is not None
    assert page.profiles.left_out == [
        "uniform@numpy: its plugin nextchar-harness is not here (--plugin names its file)"
    ]
    assert len(page.rows) == 3


def test_a_page_starts_no_external_program(results: Path, tmp_path: Path) -> None:
    """A run file may come from a stranger: what it names is not run, and stays in the table."""

    def foreign(record: Record) -> Record:
        if record.cell:
            return record
        config = {"program": f"touch {tmp_path / 'started'}"}
        return msgspec.structs.replace(record, backend="exec", config=config)

    rewritten(results, "foreign", foreign)
    found = facts(results, tmp_path)
    assert found.profiles is not None
    assert len(found.profiles.left_out) == 1
    assert "external program" in found.profiles.left_out[0]
    assert not (tmp_path / "started").exists()


def test_data_that_has_changed_leaves_out_marks_and_profiles(results: Path, tmp_path: Path) -> None:
    """Samples have no marks then, and the page says why."""

    def other(record: Record) -> Record:
        record.data.dataset_sha256 = "00"
        return record

    rewritten(results, "other", other)
    found = facts(results, tmp_path)
    assert found.profiles is None
    assert all(not marks for drawn in found.samples for marks in drawn.marks)
    assert any("has changed since the run" in reason for reason in found.left_out)


def test_samples_have_the_marks_of_harness_sample(results: Path, tmp_path: Path) -> None:
    """`in train` where the text is one of train's documents, `new` where it is in no part."""
    found = facts(results, tmp_path)
    run = harness.load("latest", results=results)
    parts = parts_of(run.registry, run.records[0])
    train = {parts.train.text(i) for i in range(len(parts.train))}
    for drawn in found.samples:
        assert len(drawn.texts) == gather.SHOWN_SAMPLES
        for text, marks in zip(drawn.texts, drawn.marks, strict=True):
            assert ("in train" in marks) == (text in train)
            assert ("new" in marks) == (len(marks) == 1 and "in" not in marks[0])


def test_cells_of_several_runs_stand_in_one_table(results: Path, tmp_path: Path) -> None:
    """Of a cell that stands in two runs the newer counts; runs on other documents do not join."""

    def renamed(record: Record) -> Record:
        return msgspec.structs.replace(record, options={"k": 2}) if record.cell == 0 else record

    rewritten(results, "second", renamed)

    def elsewhere(record: Record) -> Record:
        record.data.split_fingerprint = "other"
        return record

    rewritten(results, "third", elsewhere, created="2001-01-01T00:00:00")
    runs, _ = store.read_all(results)
    found = gather.gather(runs, runs, registry.discover(()), results / "none", tmp_path / "cache", 0)
    assert found.header.run_id == "second"
    assert len(found.rows) == 4
    assert [row.record.run_id for row in found.rows].count("second") == 3
    assert len(found.others) == 1
    assert found.history is not None
    assert len(found.history.runs) == 3


def test_history_breaks_where_the_code_changed(results: Path, tmp_path: Path) -> None:
    """Two runs of equal code are one line; a third with another hash stands apart."""

    def recoded(record: Record) -> Record:
        record.plugin.code_hash = "other"
        return record

    rewritten(results, "second", lambda record: record, created="2098-01-01T00:00:00")
    rewritten(results, "third", recoded)
    found = facts(results, tmp_path, 0).history
    assert found is not None
    for series in found.series:
        assert [point.breaks for point in series.points] == [()] * 3
        assert [point.changed for point in series.points] == [(), (), ("code",)]


def test_a_certificate_belongs_to_its_code(results: Path, tmp_path: Path) -> None:
    """Model, backend and configuration must fit; of other code it is shown as such, damaged it is named."""
    folder = results / "certificates"
    folder.mkdir()
    record = store.read(store.run_files(results)[0]).records[0]
    kept = {
        "created": "2026-01-01T00:00:00",
        "model": record.model,
        "backend": record.backend,
        "config": record.config,
        "dataset": "names",
        "split": "all",
        "seed": 1,
        "findings": [{"name": "causal", "outcome": "pass", "text": ""}],
    }
    (folder / "a.json").write_text(json.dumps({**kept, "code": [record.plugin.code_hash]}))
    (folder / "b.json").write_text(json.dumps({**kept, "created": "2027-01-01", "code": ["other"]}))
    (folder / "c.json").write_text(json.dumps({**kept, "model": "another", "code": ["x"]}))
    (folder / "d.json").write_text("{")
    left_out: list[str] = []
    found = certificates(folder, [record], left_out)
    assert [(one.date, one.current, one.checks) for one in found] == [
        ("2026-01-01", True, [("causal", "pass", "")])
    ]
    assert len(left_out) == 1
    assert "d.json" in left_out[0]


def test_a_certificate_of_the_very_data_comes_first(results: Path, tmp_path: Path) -> None:
    """An older one on the run's data before a newer one on others; the page names others."""
    folder = results / "certificates"
    folder.mkdir()
    record = store.read(store.run_files(results)[0]).records[0]
    kept = {
        "created": "2026-01-01T00:00:00",
        "model": record.model,
        "backend": record.backend,
        "config": record.config,
        "code": [record.plugin.code_hash],
        "dataset": record.dataset,
        "dataset_sha256": record.data.dataset_sha256,
        "split": "all",
        "seed": 1,
        "findings": [],
    }
    (folder / "b.json").write_text(json.dumps({**kept, "created": "2027-01-01", "dataset": "others"}))
    assert [one.elsewhere for one in certificates(folder, [record], [])] == ["others"]
    (folder / "a.json").write_text(json.dumps(kept))
    assert [(one.date, one.elsewhere) for one in certificates(folder, [record], [])] == [("2026-01-01", "")]


def test_a_run_without_a_cell_is_refused(tmp_path: Path) -> None:
    """One line that says so."""
    header = Header(run_id="r", created="c", version="1", dataset="d", split="s", budget="b", cells=[])
    writer = store.Writer(tmp_path / "r.jsonl", header)
    writer.close()
    with pytest.raises(harness.errors.UsageError, match="nothing to show"):  # type: ignore[attr-defined]
        facts(tmp_path, tmp_path)
