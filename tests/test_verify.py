"""A stored run is derived again; what was changed in it, by whatever little, is named."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from harness import notebook, plan, rederive, registry, rerun, store, verify
from harness.cli import main
from harness.errors import UsageError
from harness.record import DocumentStatistics, Metrics
from harness.runner import execute

NAMES = [f"{a}{b}{c}" for a in "abcdefgh" for b in "klmnp" for c in ("", "o", "on", "i", "in", "ka")]
LINES = NAMES + NAMES[::2] + NAMES[::3]  # a name stands up to three times, so that parts share some


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two runs: a file's lines (documents seen and unseen), and a source whose law is known (excess)."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "lines.txt").write_text("".join(f"{line}\n" for line in LINES))
    file = f"file:{folder / 'lines.txt'}"
    source = "markov:order=1,vocab=5,documents=300,seed=1"
    results: Any = {"results": folder / "results", "in_process": True, "threads": 1}
    return {
        "lines": notebook.run("count-bigram,uniform", dataset=file, split="lecture", **results).path,
        "source": notebook.run("count-bigram", dataset=source, split="grouped", **results).path,
        "source2": notebook.run("count-bigram,uniform", dataset=source, split="grouped", **results).path,
        "text": notebook.run("count-bigram,uniform", dataset=file, kind="text", **results).path,
        "all": notebook.run("count-bigram:k=0/1", dataset=file, split="all", **results).path,
        "makemore": notebook.run("count-bigram", dataset=file, split="makemore", **results).path,
        "seeds": notebook.run(
            "mlp@numpy:context=1/2,uniform", dataset=file, seeds=2, budget="3steps", **results
        ).path,
        "search": searched(file, folder / "searched.jsonl"),
    }


def searched(file: str, path: Path) -> Path:
    """A run of one trial, which holds no test part."""
    made = plan.plan("count-bigram", data=file, threads=1, in_process=True)
    (cell,) = made.cells
    trial = plan.Search("k", lambda records: None if records else cell)
    return execute(replace(made, cells=[], search=trial, _splits={}), path).path


@pytest.fixture
def copied(made: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a run that may be damaged."""

    def copy(name: str) -> Path:
        target = tmp_path / made[name].name
        shutil.copytree(store.side_folder(made[name]), store.side_folder(target))
        shutil.copyfile(made[name], target)
        return target

    return copy


def edit(path: Path, change: Callable[[Any], None], cell: int = 0) -> Path:
    """Change a cell's record as somebody would who knows the format: the checksum holds again."""
    lines = []
    for line in path.read_bytes().splitlines():
        kind, payload = store.decode_line(line)
        content = json.loads(payload)
        if kind == "cell" and content["cell"] == cell:
            change(content)
        lines.append(store.encode_line(kind, msgspec.json.encode(content)))
    path.write_bytes(b"".join(lines))
    return path


def differing(path: Path) -> list[tuple[str, str]]:
    """Row and field of all that does not come out again."""
    rows = verify.verify(store.read(path), registry.discover())
    return [(row.name, check.field) for row in rows for check in row.differs]


def rewrite(path: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the arrays of a side file."""
    file = store.side_folder(path) / name
    with np.load(file) as found:
        arrays = dict(found)
    change(arrays)
    np.savez(file, **arrays)


def at(record: Any, field: str) -> tuple[Any, str]:
    """The dictionary that holds `a.b.c`, and `c`."""
    *way, last = field.split(".")
    for key in way:
        record = record[key]
    return record, last


def moved(value: Any) -> Any:
    """The nearest other value: one unit in the last place, one document, another letter."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return math.nextafter(value, math.inf)
    return value[:-1] + ("0" if value[-1] != "0" else "1")


# ---- nothing was changed


RUNS = {"lines": 60, "source": 60, "text": 40, "all": 50, "makemore": 50, "seeds": 60, "search": 15}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_as_it_was_written_comes_out_again(made: dict[str, Path], name: str) -> None:
    """Of no kind of run a figure differs, and every row has some dozens that were derived."""
    rows = verify.verify(store.read(made[name]), registry.discover())
    assert [check for row in rows for check in row.differs] == []
    assert min(row.agrees for row in rows if row.ok) > RUNS[name]
    assert verify.verdict(rows) == 0


def test_a_mean_over_seeds_is_derived_again(copied: Callable[[str], Path]) -> None:
    """One seed's NLL, changed by a hair: its own figure, and the mean and spread of its row."""

    def change(record: Any) -> None:
        record["metrics"]["test_nll"] += 1e-9

    fields = {field for _, field in differing(edit(copied("seeds"), change))}
    assert {"metrics.test_nll", "mean test.nats", "mean test.sd_seeds"} <= fields


def test_what_nothing_holds_is_said(made: dict[str, Path]) -> None:
    """The training NLL alone has no side file; each row says so."""
    rows = verify.verify(store.read(made["lines"]), registry.discover())
    assert [[gap.field for gap in row.gaps] for row in rows if row.ok] == [
        ["metrics.train_nll", "metrics.zero_probability.train"]
    ] * 2


# ---- the record was changed

SAMPLED = [
    f"sample_statistics.{side}.{name}"
    for side in ("drawn", "real")
    for name in DocumentStatistics.__struct_fields__
    if (side, name) != ("real", "in_dev")  # they are of dev
]
METRICS = [f"metrics.{name}" for name in Metrics.__struct_fields__ if name.startswith(("dev", "test"))]
SIZES = [
    "metrics.zero_probability.dev",
    "metrics.zero_probability.test",
    *(f"data.{what}.{part}" for what in ("documents", "targets") for part in ("train", "dev", "test")),
    "data.overlap.dev",
    "data.overlap.test",
    "data.units",
    "data.vocabulary",
    "data.alphabet",
    "data.split_fingerprint",
    "data.in_sample",
    "sample_statistics.max_length",
    "sample_statistics.real_from",
    "sample_statistics.real_seed",
    "sample_statistics.compared_with",
    "sample_seed",
    "parameters",
    "run_id",
    "budget",
]


@pytest.mark.parametrize("field", METRICS + SIZES + SAMPLED)
def test_the_least_change_of_a_figure_is_named(copied: Callable[[str], Path], field: str) -> None:
    """One unit in the last place or one document more, with the checksum made to hold."""

    def change(record: Any) -> None:
        place, key = at(record, field)
        place[key] = moved(place[key])

    found = differing(edit(copied("lines"), change))
    assert ("count-bigram@numpy", field) in found
    assert {row for row, _ in found} == {"count-bigram@numpy"}
    if field not in ("data.in_sample", "data.alphabet"):  # of these the table, and the parts, know too
        assert len(found) == 1


@pytest.mark.parametrize("field", ["metrics.excess", "metrics.excess_half", "data.entropy_rate"])
def test_a_figure_of_the_true_source_is_named(copied: Callable[[str], Path], field: str) -> None:
    """The excess is paired again with the source's own scores."""

    def change(record: Any) -> None:
        place, key = at(record, field)
        place[key] = moved(place[key])

    assert differing(edit(copied("source"), change)) == [("count-bigram@numpy", field)]


@pytest.mark.parametrize("cell", [0, 1])
def test_a_forged_hash_of_registered_data_is_named(copied: Callable[[str], Path], cell: int) -> None:
    """Every document is the run's, so its data is here, and that row's SHA-256 alone is wrong."""
    path = copied("source2")
    edit(path, lambda record: record["data"].update(dataset_sha256="00" * 32), cell=cell)
    name = ("count-bigram@numpy", "uniform@numpy")[cell]
    assert differing(path) == [(name, "data.dataset_sha256")]


def test_each_row_s_data_is_looked_at(copied: Callable[[str], Path]) -> None:
    """The second row of a run says that it was made of another file: that its data is not here."""
    path = edit(copied("lines"), lambda record: record["data"].update(dataset_sha256="00" * 32), cell=1)
    rows = verify.verify(store.read(path), registry.discover())
    assert [row.name for row in rows for gap in row.gaps if gap.field == "data"] == ["uniform@numpy"]


@pytest.mark.parametrize("field", ["timings.train_s", "throughput.eval_chars_per_s", "peak_rss_bytes"])
def test_a_measure_below_0_is_named(copied: Callable[[str], Path], field: str) -> None:
    """Nobody can measure it again, and nobody can have measured that."""

    def change(record: Any) -> None:
        place, key = at(record, field)
        place[key] = -1

    assert differing(edit(copied("lines"), change)) == [("count-bigram@numpy", field)]


@pytest.mark.parametrize("field", ["metrics.test_nll", "metrics.dev_nll_half", "sample_statistics.real"])
def test_a_figure_that_was_taken_out_is_named(copied: Callable[[str], Path], field: str) -> None:
    """Null where the scores give a figure differs like any other value."""

    def change(record: Any) -> None:
        place, key = at(record, field)
        place[key] = None

    assert any(name.startswith(field) for _, name in differing(edit(copied("lines"), change)))


def test_a_score_of_a_row_that_broke_is_named(copied: Callable[[str], Path]) -> None:
    """A row that is not ok has no score."""

    def change(record: Any) -> None:
        record["status"] = "failed"

    found = differing(edit(copied("lines"), change))
    assert ("count-bigram@numpy", "metrics.test_nll") in found
    assert ("count-bigram@numpy", "scores") in found


def test_a_forged_nll_changes_ranks_and_differences(copied: Callable[[str], Path]) -> None:
    """The loser's NLL made the better one: its own figure, and what the table says of both rows."""

    def change(record: Any) -> None:
        record["metrics"]["test_nll"] = 0.5

    found = differing(edit(copied("lines"), change, cell=1))
    assert ("uniform@numpy", "metrics.test_nll") in found
    assert {("uniform@numpy", "behind.nats"), ("count-bigram@numpy", "behind.nats")} <= set(found)
    assert ("uniform@numpy", "rank") in found


def test_seconds_to_a_target_follow_from_the_curve(made: dict[str, Path]) -> None:
    """`target` is said again by the record's own learning curve."""
    record = store.read(made["lines"]).records[0]
    target = {"nll": 9.0, "seconds": record.timings.train_s, "bound": True, "reason": None}
    honest = msgspec.convert(msgspec.to_builtins(record) | {"target": target}, type(record))
    forged = msgspec.convert(
        msgspec.to_builtins(record) | {"target": target | {"bound": False}}, type(record)
    )
    assert [check.field for check in rederive.findings(rederive.of_itself(honest))] == []
    assert [check.field for check in rederive.findings(rederive.of_itself(forged))] == ["target.bound"]


# ---- the side files were changed


@pytest.mark.parametrize("part", ["dev", "test"])
def test_a_changed_score_is_named(copied: Callable[[str], Path], part: str) -> None:
    """One document's sum a little lower: NLL and all that follows from it."""
    path = copied("lines")

    def change(arrays: dict[str, Any]) -> None:
        arrays[f"{part}_sums"][3] -= 1e-6

    rewrite(path, "0.scores.npz", change)
    fields = {field for _, field in differing(path)}
    assert {f"metrics.{part}_nll", f"metrics.{part}_nll_se"} <= fields


@pytest.mark.parametrize("array", ["lengths", "units", "seen"])
def test_scores_of_other_documents_are_named(copied: Callable[[str], Path], array: str) -> None:
    """Lengths, equal documents and their marks are compared with the data, place by place."""
    path = copied("lines")

    def change(arrays: dict[str, Any]) -> None:
        values = arrays[f"test_{array}"]
        values[0] = values[0] + 1 if values.dtype != bool else not values[0]

    rewrite(path, "0.scores.npz", change)
    assert ("count-bigram@numpy", f"scores.test_{array}") in differing(path)


@pytest.mark.parametrize(
    "value", [np.full(3, 1.0), np.zeros((2, 2)), np.full(44, math.nan), np.full(44, -1.0)]
)
def test_scores_that_are_none_are_named(copied: Callable[[str], Path], value: Any) -> None:
    """Too few, of another shape, NaN, or more probability than there is."""
    path = copied("lines")
    rewrite(path, "0.scores.npz", lambda arrays: arrays.update(test_sums=value))
    assert ("count-bigram@numpy", "scores.test") in differing(path)


def test_scores_that_lack_a_document_are_named(
    copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every array of one row a document short: the sizes and the ranks, in lines, and exit 6; `show` too."""
    path = copied("lines")

    def shorten(arrays: dict[str, Any]) -> None:
        arrays.update({name: values[:-1] for name, values in arrays.items()})

    rewrite(path, "1.scores.npz", shorten)
    found = differing(path)
    assert {("uniform@numpy", "data.documents.test"), ("uniform@numpy", "rank")} <= set(found)
    assert main(["verify", str(path)]) == 6
    content = (store.side_folder(path) / "1.scores.npz").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    edit(path, lambda record: record["side_files"].update({"1.scores.npz": digest}), cell=1)
    capsys.readouterr()
    assert main(["show", str(path)]) == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert "stored scores of test are of " in line


def test_scores_of_a_seed_that_lack_a_document_are_named(copied: Callable[[str], Path]) -> None:
    """The mean over seeds cannot be had either."""
    path = copied("seeds")

    def shorten(arrays: dict[str, Any]) -> None:
        arrays.update({name: values[:-1] for name, values in arrays.items()})

    rewrite(path, "1.scores.npz", shorten)
    assert ("mlp@numpy:context=1 #2", "data.documents.test") in differing(path)


def test_changed_samples_are_named(copied: Callable[[str], Path]) -> None:
    """A sample that was made prettier changes the statistics of the samples."""
    path = copied("lines")
    file = store.side_folder(path) / "0.samples.json"
    texts = json.loads(file.read_text())
    file.write_text(json.dumps(["emma", *texts[1:]]))
    fields = [field for _, field in differing(path)]
    assert fields
    assert all(field.startswith("sample_statistics.drawn") for field in fields)


def test_swapped_side_files_are_named(copied: Callable[[str], Path]) -> None:
    """The scores of two cells, exchanged."""
    path = copied("lines")
    first, second = (store.side_folder(path) / f"{cell}.scores.npz" for cell in (0, 1))
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    found = differing(path)
    assert ("count-bigram@numpy", "metrics.test_nll") in found
    assert ("uniform@numpy", "metrics.test_nll") in found


def test_swapped_cells_are_named(copied: Callable[[str], Path]) -> None:
    """Two records with their numbers exchanged are not the cells that the header names."""
    path = edit(copied("lines"), lambda record: record.update(model="uniform"), cell=0)
    edit(path, lambda record: record.update(model="count-bigram"), cell=1)
    assert [field for _, field in differing(path)] == ["cell", "cell"]


def test_a_cell_that_was_cut_out_is_named(copied: Callable[[str], Path]) -> None:
    """The header names two cells; one is there."""
    path = copied("lines")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    assert ("the run file", "cells") in differing(path)


def test_a_side_file_that_cannot_be_read_is_named(copied: Callable[[str], Path]) -> None:
    """A damaged one is a finding, and so is what would follow from it not passed."""
    path = copied("lines")
    (store.side_folder(path) / "0.scores.npz").write_bytes(b"PK\x03\x04 nothing")
    assert differing(path) == [("count-bigram@numpy", "scores")]


# ---- what cannot be verified


def test_scores_that_are_gone_are_not_passed(copied: Callable[[str], Path]) -> None:
    """The row is named with the reason, ranks too, and the exit code says that nothing was proved: 3."""
    path = copied("lines")
    (store.side_folder(path) / "1.scores.npz").unlink()
    rows = verify.verify(store.read(path), registry.discover())
    (row,) = (row for row in rows if row.name == "uniform@numpy")
    assert [(gap.field, gap.reason) for gap in row.gaps] == [
        ("scores", "1.scores.npz is not there"),
        ("rank", "ranks and differences need the scores of every row"),
    ]
    assert verify.verdict(rows) == 3


def test_data_that_is_gone_is_not_passed(copied: Callable[[str], Path], made: dict[str, Path]) -> None:
    """Sizes and sample statistics need the data; the NLL comes out again all the same."""
    path = copied("lines")
    edit(path, lambda record: record["data"].update(dataset_sha256="00" * 32))
    rows = verify.verify(store.read(path), registry.discover())
    gaps = [gap for row in rows if row.name == "count-bigram@numpy" for gap in row.gaps]
    assert {gap.field for gap in gaps} >= {"data", "sample_statistics"}
    assert all("not the data of the run" in gap.reason for gap in gaps if gap.field == "data")
    assert verify.verdict(rows) == 0


def test_another_machine_s_last_bits_are_no_forgery(copied: Callable[[str], Path]) -> None:
    """Made elsewhere, a t quantile may be one unit off; a mean may not."""

    def change(field: str) -> Callable[[Any], None]:
        def one(record: Any) -> None:
            record["environment"]["cpu"] = "another"
            record["metrics"][field] = moved(record["metrics"][field])

        return one

    assert differing(edit(copied("lines"), change("test_nll_half"))) == []


def test_another_machine_s_means_are_compared_exactly(copied: Callable[[str], Path]) -> None:
    """Sums and one division are the same everywhere."""

    def change(record: Any) -> None:
        record["environment"]["cpu"] = "another"
        record["metrics"]["test_nll"] = moved(record["metrics"]["test_nll"])

    assert differing(edit(copied("lines"), change)) == [("count-bigram@numpy", "metrics.test_nll")]


def test_p_0_is_counted_between_two_bounds(tmp_path: Path) -> None:
    """Infinite sums say how many targets at least and at most; a count outside is named."""
    letters = "cdefghijklmnopqrstuvwxyz"  # each stands once: those that are held out have p = 0
    Path("lines.txt").write_text("".join(f"a{letter}\n" for letter in letters) + "ab\nba\n" * 40)
    how: Any = {"dataset": "file:lines.txt", "in_process": True, "threads": 1, "results": tmp_path}
    path = notebook.run("count-bigram:k=0", split="lecture", **how).path
    infinite = store.read(path).records[0].metrics.zero_probability
    assert infinite["test"] > 0
    assert differing(path) == []
    (row,) = (row for row in verify.verify(store.read(path), registry.discover()) if row.ok)
    assert "metrics.zero_probability.test" in [gap.field for gap in row.gaps]
    edit(path, lambda record: record["metrics"]["zero_probability"].update(test=10**6))
    assert differing(path) == [("count-bigram@numpy:k=0", "metrics.zero_probability.test")]


# ---- fitted again


def test_a_row_fitted_again_agrees_to_the_bit(made: dict[str, Path], tmp_path: Path) -> None:
    """Metrics, training NLL among them, scores, samples and parameters."""
    run = store.read(made["lines"])
    again = rerun.rerun(run, run.records[0], registry.discover(), (), tmp_path)
    fields = {check.field for check in again.checks}
    assert {"metrics.train_nll", "scores.test_sums", "samples"} <= fields
    assert any(field.startswith("params.") for field in fields)
    assert again.differs == []
    assert rerun.verdict([again]) == 0


def test_a_trial_of_a_search_is_fitted_again(made: dict[str, Path], tmp_path: Path) -> None:
    """It has dev alone, then as now."""
    run = store.read(made["search"])
    again = rerun.rerun(run, run.records[0], registry.discover(), (), tmp_path)
    fields = {check.field for check in again.checks}
    assert {"metrics.dev_nll", "scores.dev_sums"} <= fields
    assert "metrics.test_nll" not in fields
    assert again.differs == []


def test_a_model_whose_options_have_changed_is_not_fitted_again(
    copied: Callable[[str], Path], tmp_path: Path
) -> None:
    """It would be another model: one line that names the option."""
    run = store.read(edit(copied("lines"), lambda record: record["config"].update(k=0.25)))
    with pytest.raises(UsageError, match="options have changed since the run: k"):
        rerun.rerun(run, run.records[0], registry.discover(), (), tmp_path)


@pytest.mark.parametrize("field", ["metrics.train_nll", "metrics.test_nll"])
def test_a_forged_nll_is_not_fitted_again(copied: Callable[[str], Path], tmp_path: Path, field: str) -> None:
    """A forger who changes what no side file holds is found by the second fit."""

    def change(record: Any) -> None:
        place, key = at(record, field)
        place[key] = moved(place[key])

    run = store.read(edit(copied("lines"), change))
    again = rerun.rerun(run, run.records[0], registry.discover(), (), tmp_path)
    assert [check.field for check in again.differs] == [field]
    assert rerun.verdict([again]) == 6


def test_other_code_excuses_other_bits(copied: Callable[[str], Path], tmp_path: Path) -> None:
    """The hash of the model's code is not that of the run: bits differ and nobody is accused, exit 3."""

    def change(record: Any) -> None:
        record["plugin"]["code_hash"] = "0" * 64
        record["metrics"]["train_nll"] += 0.1

    run = store.read(edit(copied("lines"), change))
    again = rerun.rerun(run, run.records[0], registry.discover(), (), tmp_path)
    assert again.excuses == ("the model's code has changed since the run",)
    assert rerun.verdict([again]) == 3


def test_a_file_of_scores_has_no_model_to_fit(copied: Callable[[str], Path], tmp_path: Path) -> None:
    """A row that was not scored live says what it rests on."""
    run = store.read(edit(copied("lines"), lambda record: record.update(rests_on="a file of scores")))
    again = rerun.rerun(run, run.records[0], registry.discover(), (), tmp_path)
    assert again.reason == "its NLL rests on a file of scores: there is no model to fit"


def test_wall_clock_is_not_reproducible(copied: Callable[[str], Path], tmp_path: Path) -> None:
    """It says so, and does not fit."""
    marks = ["budget of 3s wall clock: not reproducible to the bit"]
    path = edit(copied("lines"), lambda record: record.update(budget="3s", marks=marks))
    run = store.read(path)
    again = rerun.rerun(run, run.records[0], registry.discover(), (), tmp_path)
    assert again.reason == "a budget of 3s wall clock is not reproducible to the bit"
    assert not list(tmp_path.glob("0.jsonl"))


# ---- the verb


def test_the_verb_names_what_differs(
    copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Row, field, stored and derived value on one line, and exit 6."""
    path = copied("lines")
    stored = store.read(path).records[0].metrics.test_bits
    edit(path, lambda record: record["metrics"].update(test_bits=1.5))
    assert main(["verify", str(path)]) == 6
    out = capsys.readouterr().out
    assert f"count-bigram@numpy: metrics.test_bits is stored as 1.5; from scores: {stored!r}\n" in out
    assert "1 differs." in out
    assert "timings, throughput, memory" in out


def test_the_verb_passes_an_honest_run(made: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0, what each row rests on, and JSON with the same counts."""
    assert main(["verify", str(made["lines"])]) == 0
    assert "none differs." in capsys.readouterr().out
    assert main(["verify", str(made["lines"]), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["rests_on"] for row in found["rows"]] == [None, "scored live", "scored live"]
    assert all(row["differ"] == [] for row in found["rows"])


def test_the_verb_fits_a_row_again(made: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """`--rerun MODEL` refits that row alone, in a process of its own."""
    assert main(["verify", str(made["lines"]), "--rerun", "uniform"]) == 0
    out = capsys.readouterr().out
    assert "uniform@numpy fitted again: " in out
    assert "count-bigram@numpy fitted again" not in out
    assert main(["verify", str(made["lines"]), "--rerun", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["rerun"]
    assert [row["row"] for row in again] == ["count-bigram@numpy", "uniform@numpy"]
    assert all(row["agree"] > 20 and row["differ"] == [] for row in again)
