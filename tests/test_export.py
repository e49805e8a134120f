"""Runs in other tools' formats, and another tool's times as a run.

The golden files stand in tests/golden; `python tests/test_export.py` writes them anew.
"""

from __future__ import annotations

import csv
import io
import json
import random
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.stats import Stats
from runs import failed, record, run, write

from harness import ExporterSpec, benchmark_json, export, registry, store
from harness.cli import main
from harness.metrics import METRICS
from harness.record import Metrics, Throughput, Timings
from harness.store import Run

GOLDEN = Path(__file__).parent / "golden"
PLUGINS = Path(__file__).parents[1] / "docs" / "plugins.md"
HOSTILE = ["=cmd|'/C calc'!A0", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1", "a\x1b[31m\u202e"]


def whole() -> Run:
    """A run with a model of three seeds, one of one, one with p = 0, one that failed, one hostile name."""
    seeds = [
        record(
            "gru",
            2.25 + 0.125 * i,
            backend="torch",
            repeat=i,
            seed=i,
            options={"hidden": 8},
            timings=Timings(warmup_s=0.5, train_s=2.0 + i, evaluate_s=0.5),
            throughput=Throughput(train_chars_per_s=4096.0 / (1 + i), eval_chars_per_s=1024.0),
        )
        for i in range(3)
    ]
    infinite = record("counts", metrics=Metrics(dev_nll=2.5, zero_probability={"test": 3}))
    return run(22, *seeds, record(), infinite, failed("slow", reason="=1+1 was too much"))


FORMATS = {
    "csv": (export.as_csv, "export.csv"),
    "json": (export.as_json, "export.json"),
    "markdown": (export.as_markdown, "export.md"),
    "latex": (export.as_latex, "export.tex"),
    "pytest-benchmark": (export.as_pytest_benchmark, "pytest-benchmark.json"),
    "bencher": (export.as_bencher, "bencher.json"),
    "github-action-benchmark": (export.as_github_action_benchmark, "{}"),
}


def ok(found: Run) -> Run:
    """The run as formats get it that have no place for the other cells."""
    return Run(found.path, found.header, [r for r in found.records if r.status == "ok"], closed=True)


def made(name: str) -> dict[str, str]:
    """The golden files of a format, as they are made now."""
    function, file = FORMATS[name]
    measured = registry.discover().exporters[name].measured_only
    texts: Any = function([ok(whole()) if measured else whole()])  # type: ignore[operator]
    return {file: texts} if isinstance(texts, str) else dict(texts)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_as_its_golden_file(name: str) -> None:
    """To the byte."""
    for file, text in made(name).items():
        assert (GOLDEN / file).read_text(encoding="utf-8") == text


def test_every_built_in_exporter_has_a_golden_file() -> None:
    """They come through the same hook as any others."""
    found = registry.discover()
    ours = next(plugin for plugin in found.plugins if plugin.name == "models")
    assert sorted(FORMATS) == sorted(found.exporters) == sorted(ours.exporters)


# ---- what the files hold, by other readers


def test_csv_holds_every_number_of_every_cell() -> None:
    """Floats to the last bit, `inf` where p = 0, nothing where there is none."""
    found = whole()
    rows = list(csv.DictReader(io.StringIO(export.as_csv([found]))))
    for row, each in zip(rows, found.records, strict=True):
        for key, metric in METRICS.items():
            value = metric.read(each)
            impossible = each.model == "counts" and key in export.INFINITE and key.startswith("test")
            assert row[key] == ("inf" if impossible else "" if value is None else str(value)), key
    assert [row["status"] for row in rows] == [each.status for each in found.records]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_of_csv_is_a_formula(text: str) -> None:
    """Whatever a model, an option, a reason or the environment says."""
    one = record(text, options={"key": text}, status="failed", reason=text, marks=[text], dataset=text)
    one.environment = {"cpu": text, "commit": text}
    rows = csv.reader(io.StringIO(export.as_csv([run(1, one, run_id="r", environment={})])))
    cells = [cell for row in rows for cell in row]
    assert not [cell for cell in cells if cell.lstrip()[:1] in ("=", "+", "-", "@", "＝") and cell.strip()]
    assert not [cell for cell in cells if set(cell) & set("\t\r\x1b\u202e")]


def test_json_holds_the_records() -> None:
    """Every field of each."""
    import msgspec

    found = whole()
    (read,) = json.loads(export.as_json([found]))["runs"]
    assert msgspec.convert(read["records"], list[store.Record]) == found.records
    assert msgspec.convert(read["header"], store.Header) == found.header


def test_several_runs_are_told_apart() -> None:
    """A heading in Markdown, a comment in LaTeX, rows of their own in CSV, a file each for the tools."""
    two = [run(1, record()), run(2, record())]
    ids = [each.header.run_id for each in two]
    assert all(f"## {run_id}" in export.as_markdown(two) for run_id in ids)
    assert all(f"% run {run_id}\n" in export.as_latex(two) for run_id in ids)
    assert [row["run"] for row in csv.DictReader(io.StringIO(export.as_csv(two)))] == ids
    assert list(export.as_bencher(two)) == [f"{run_id}.json" for run_id in ids]
    names = [
        name for run_id in ids for name in (f"{run_id}.custom{b}IsBetter.json" for b in ("Smaller", "Bigger"))
    ]
    assert list(export.as_github_action_benchmark(two)) == names


@pytest.mark.parametrize("rounds", range(1, 14))
def test_statistics_are_those_of_pytest_benchmark(rounds: int) -> None:
    """Of any number of rounds, an outlier among them."""
    rng = random.Random(rounds)
    seconds = [rng.lognormvariate(0, 1) for _ in range(rounds)]
    theirs = Stats()
    for each in seconds:
        theirs.update(each)
    ours, expected = benchmark_json.statistics(seconds), theirs.as_dict() | {"iterations": 1}
    assert ours.pop("outliers") == expected.pop("outliers")
    assert ours == pytest.approx(expected, rel=1e-12)


def compare(*files: Path) -> str:
    """What `pytest-benchmark compare` prints of files."""
    command = [sys.executable, "-m", "pytest_benchmark", "compare", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pytest_benchmark_compares_what_we_write() -> None:
    """Its own command reads the file: a table a kind of time, the seeds as rounds."""
    write(whole())
    write(run(23, record(), run_id="20261123T120000-0023"))
    assert main(shlex.split("export 202611 --to pytest-benchmark --output a")) == 2  # which of the two?
    assert main(shlex.split("export 20261122 20261123 --to pytest-benchmark --output a")) == 0
    files = sorted(Path("a").iterdir())
    assert [file.stem for file in files] == ["20261122T120000-0022", "20261123T120000-0023"]
    table = compare(*files)
    assert "benchmark 'train_s': 4 tests" in table
    assert "benchmark 'warmup_s': 1 tests" in table
    (row,) = [line.split() for line in table.splitlines() if "gru@torch:hidden=8 train_s" in line]
    assert row[-2:] == ["3", "1"]  # rounds, iterations
    assert "slow" not in table


def test_bencher_is_given_benchmark_measure_value() -> None:
    """By its schema: numbers alone, `value` always; bounds of documents, or of seeds."""
    found = json.loads(str(export.as_bencher([ok(whole())])))
    for measures in found.values():
        for measure, values in measures.items():
            assert set(values) <= {"value", "lower_value", "upper_value"}
            assert all(type(value) is float or type(value) is int for value in values.values())
            assert len(measure) <= 64
            assert measure == measure.lower().replace("_", "-")
    one, seeds = (found[f"names/grouped:seed=0/{name}"] for name in ("mlp@numpy", "gru@torch:hidden=8"))
    assert one["test-nll"] == {"value": 2.5, "lower_value": 2.48, "upper_value": 2.52}
    assert one["train-s"] == {"value": 1.5}
    assert seeds["train-s"] == {"value": 3.0, "lower_value": 2.0, "upper_value": 4.0}
    assert "test-nll" not in found["names/grouped:seed=0/counts@numpy"]  # infinite: not a number


def test_github_action_benchmark_has_a_file_a_direction() -> None:
    """A loss or a time is never where more is better."""
    files = export.as_github_action_benchmark([ok(whole())])
    found = {name: json.loads(text) for name, text in files.items()}
    kinds = {name: {each["name"].split()[-1] for each in entries} for name, entries in found.items()}
    smaller, bigger = kinds["customSmallerIsBetter.json"], kinds["customBiggerIsBetter.json"]
    assert smaller == {"dev_nll", "test_nll", "warmup_s", "train_s", "evaluate_s", "peak_rss_bytes"}
    assert bigger == {"train_chars_per_s", "eval_chars_per_s"}
    for entries in found.values():
        for each in entries:
            assert {"name", "unit", "value"} <= set(each)
            assert type(each["value"]) in (int, float)
            assert {type(text) for key, text in each.items() if key != "value"} == {str}


# ---- the command


def test_export_writes_a_file_or_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """The latest run by default; the folder of the file is made."""
    write(run(1, record("old")))
    write(whole())
    assert main(shlex.split("export --to csv")) == 0
    out = capsys.readouterr().out
    assert main(shlex.split("export --to csv --output a/b.csv")) == 0
    assert Path("a/b.csv").read_text(encoding="utf-8") == out == made("csv")["export.csv"]
    assert capsys.readouterr().out == ""


def test_what_is_left_out_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A format without a place for failures leaves them out, and says which."""
    write(whole())
    assert main(shlex.split("export --to bencher --output b.json")) == 0
    assert "left out: slow (timeout)" in capsys.readouterr().err
    assert "slow" not in Path("b.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--to cvs", "unknown format 'cvs' of --to; did you mean 'csv'"),
        (
            "20261103 --to github-action-benchmark",
            "2 files (customSmallerIsBetter.json, customBiggerIsBetter.json)",
        ),
        ("--to csv --output .", "--output . is a folder"),
        ("20261103 --to github-action-benchmark --output file", "--output file is a file"),
        ("nowhere --to csv", "no run starts with 'nowhere'"),
        ("20261101 --to bencher", "no cell of these runs is ok"),
        ("20261102 --to csv", "no cell of these runs has finished"),
        ("", "--to"),
    ],
)
def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], arguments: str, said: str) -> None:
    """Exit code 2 and the way out."""
    write(run(1, failed()))
    write(run(2))
    write(run(3, record()))
    Path("file").write_text("")
    assert main(["export", *shlex.split(arguments)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_folder_that_takes_no_file_is_exit_6(capsys: pytest.CaptureFixture[str]) -> None:
    """As for any file that cannot be written."""
    write(whole())
    Path("shut").write_text("a file")
    assert main(shlex.split("export --to csv --output shut/a.csv")) == 6
    assert "shut/a.csv" in capsys.readouterr().err


# ---- plugins


def marked(mark: str) -> str:
    """The block of docs/plugins.md after `<!-- mark -->`."""
    text = PLUGINS.read_text(encoding="utf-8")
    return text.split(f"<!-- {mark} -->\n```python\n")[1].split("```")[0]


def test_harness_exporters_of_the_plugin_page_work(capsys: pytest.CaptureFixture[str]) -> None:
    """The example of docs/plugins.md is a format like the built-in ones."""
    Path("prometheus.py").write_text(marked("file: prometheus.py"))
    write(whole())
    assert main(shlex.split("export --to prometheus --plugin prometheus.py")) == 0
    assert 'test_nll{model="mlp@numpy"} 2.5\n' in capsys.readouterr().out
    assert main(shlex.split("list exporters --plugin prometheus.py")) == 0
    assert "prometheus" in capsys.readouterr().out


PLUGIN = """
from harness import ExporterSpec, hookimpl

def export(runs):
    {body}

@hookimpl
def harness_exporters():
    return ExporterSpec("mine", export)
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise KeyError('x')", "KeyError: 'x'"),
        ("return 3", "gave int, neither a text nor name -> text"),
        ("return {'a': 3}", "gave dict"),
        ("return {'../a': 'x'}", "'../a' is no name of a file"),
        ("return {'..': 'x'}", "'..' is no name of a file"),
        ("return {'': 'x'}", "'' is no name of a file"),
    ],
)
def test_an_exporter_that_fails_is_one_line(capsys: pytest.CaptureFixture[str], body: str, said: str) -> None:
    """Its name is in it, and nothing is written."""
    Path("mine.py").write_text(PLUGIN.format(body=body))
    write(whole())
    assert main(shlex.split("export --to mine --plugin mine.py --output out")) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "mine" in err
    assert err.count("\n") == 1
    assert not Path("out").exists()


def test_harness_exporters_must_return_specs(capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is the plugin's mistake, named; so is a name that is taken."""
    Path("mine.py").write_text(
        PLUGIN.format(body="return ''").replace('ExporterSpec("mine", export)', '["x"]')
    )
    assert main(shlex.split("list exporters --plugin mine.py")) == 2
    assert "harness_exporters returned 'x', not a ExporterSpec" in capsys.readouterr().err
    Path("mine.py").write_text(PLUGIN.format(body="return ''").replace('"mine"', '"csv"'))
    assert main(shlex.split("list exporters --plugin mine.py")) == 2
    assert "exporter 'csv' is already registered" in capsys.readouterr().err


def test_an_exporter_is_given_the_runs_as_they_were_read() -> None:
    """A function of `Run`s: headers, records, scores."""
    seen: list[Sequence[Run]] = []

    def take(runs: Sequence[Run]) -> Mapping[str, str]:
        seen.append(runs)
        return {}

    spec = ExporterSpec("mine", take)
    from harness.cli.export import exported

    runs = [whole()]
    assert exported(registry.discover(), spec, runs) == {}
    assert seen == [runs]


# ---- the way back


BENCHMARKED = """
import pytest

@pytest.mark.parametrize("n", [10, 1000])
def test_sum(benchmark, n):
    benchmark.pedantic(sum, (range(n),), rounds=5)
"""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What pytest-benchmark itself writes of two benchmarks."""
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "test_sums.py").write_text(BENCHMARKED)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    command += ["--benchmark-json", "out.json", "--benchmark-disable-gc"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "out.json").read_bytes()


def test_import_makes_a_run_of_times_alone(theirs: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """A record a benchmark: its median, its rounds in a mark, no score and the reason."""
    Path("theirs.json").write_bytes(theirs)
    assert main(shlex.split("import pytest-benchmark theirs.json")) == 0
    assert "2 benchmarks, times alone" in capsys.readouterr().out
    (path,) = store.run_files(Path("results"))
    found = store.read(path)
    written = json.loads(theirs)
    assert found.closed
    assert found.header.created[:19] == written["datetime"][:19]
    for each, benchmark in zip(found.records, written["benchmarks"], strict=True):
        assert each.model == benchmark["fullname"]
        assert each.timings == Timings(benchmark_s=benchmark["stats"]["median"])
        assert each.marks[0].startswith("median of 5 rounds, standard deviation ")
        assert (each.status, each.metrics, each.throughput) == ("ok", Metrics(), Throughput())
        assert set(each.absent.values()) == {"imported times: nothing was scored"}
        assert each.rests_on.startswith("no score")
        assert each.config == benchmark["params"]
    assert path.stem.startswith(found.header.created[:10].replace("-", ""))


def test_import_leaves_the_name_of_the_machine_behind(theirs: bytes) -> None:
    """Of its machine a record holds what ours do, and no more."""
    document = json.loads(theirs)
    document["machine_info"]["node"] = "the-name-of-a-host"
    document["commit_info"] |= {"id": "f" * 40, "dirty": True, "branch": "a-branch"}
    header, _ = benchmark_json.read(json.dumps(document).encode(), "x")
    assert set(header.environment) <= {"python", "system", "cpu", "cores", "commit"}
    assert header.environment["commit"] == "f" * 12 + "+dirty"
    assert "the-name-of-a-host" not in str(header)


def test_no_file_is_imported_twice(theirs: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """The run's id follows from the content."""
    Path("theirs.json").write_bytes(theirs)
    assert main(shlex.split("import pytest-benchmark theirs.json")) == 0
    assert main(shlex.split("import pytest-benchmark theirs.json")) == 2
    assert "imported already" in capsys.readouterr().err
    assert len(store.run_files(Path("results"))) == 1


def test_an_imported_run_can_be_followed_and_shown(theirs: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """`harness history benchmark_s` has a series a benchmark; `show` has their times; `latest` is ours."""
    ours = write(run(1, record(), run_id="20200101T000000-0000"))
    Path("theirs.json").write_bytes(theirs)
    assert main(shlex.split("import pytest-benchmark theirs.json")) == 0
    imported = store.run_files(Path("results"))[-1]
    assert store.find(Path("results"), "latest") == ours
    capsys.readouterr()
    assert main(shlex.split("history benchmark_s --format csv")) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    medians = [each["stats"]["median"] for each in json.loads(theirs)["benchmarks"]]
    assert [float(row["value"]) for row in rows] == medians
    assert main(["show", str(imported), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert sorted(float(row["benchmark_s"]) for row in rows) == sorted(medians)
    assert main(["verify", str(imported), "--json"]) == 3  # no score to derive again, and nothing wrong
    assert [row["differ"] for row in json.loads(capsys.readouterr().out)["rows"]] == [[]] * 3


def test_an_imported_run_is_shown_without_words_on_scores(
    theirs: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing was scored, no document was split: its notes are its remarks and what is absent, no more."""
    Path("theirs.json").write_bytes(theirs)
    assert main(shlex.split("import pytest-benchmark theirs.json")) == 0
    capsys.readouterr()
    assert main(["show", str(store.run_files(Path("results"))[0])]) == 0
    *_, below = capsys.readouterr().out.strip().split("\n\n")
    assert "Not measured: test_nll: imported times: nothing was scored." in below
    for word in ("Scope", "seed", "Overlap", "ranked", "interval"):
        assert word not in below


def test_times_come_back() -> None:
    """Exported and imported: the median of the seeds, under the export's names."""
    found = ok(whole())
    _, records = benchmark_json.read(str(export.as_pytest_benchmark([found])).encode(), "x")
    back = {each.model: each.timings.benchmark_s for each in records}
    assert back["names/grouped:seed=0/gru@torch:hidden=8 train_s"] == 3.0
    assert back["names/grouped:seed=0/mlp@numpy evaluate_s"] == 0.25


FILE = {
    "machine_info": {},
    "commit_info": {"id": "unversioned"},
    "benchmarks": [{"fullname": "f", "stats": {"median": 1.0, "rounds": 1, "stddev": 0}}],
    "datetime": "2026-11-22T12:00:00+02:00",
    "version": "5.3.1",
}


def test_a_time_with_a_zone_is_turned_into_utc() -> None:
    """The run's id too, which sorts by it; without git there is no commit."""
    header, (one,) = benchmark_json.read(json.dumps(FILE).encode(), "x")
    assert header.created == "2026-11-22T10:00:00+00:00"
    assert header.run_id.startswith("20261122T100000-import-")
    assert header.environment == {}
    assert one.marks == ["1 round"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        json.dumps(FILE | {"benchmarks": []}).encode(),
        json.dumps(FILE | {"datetime": "noon"}).encode(),
        json.dumps(FILE | {"benchmarks": [{"fullname": "f"}]}).encode(),
        json.dumps(
            FILE | {"benchmarks": [{"fullname": "f", "stats": {"median": -1, "rounds": 1, "stddev": 0}}]}
        ).encode(),
    ],
)
def test_what_pytest_benchmark_does_not_write_is_refused(
    content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names the file, exit 2, and no run."""
    Path("odd.json").write_bytes(content)
    assert main(shlex.split("import pytest-benchmark odd.json")) == 2
    err = capsys.readouterr().err
    assert "odd.json" in err
    assert err.count("\n") == 1
    assert not Path("results").exists()


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """And why it cannot be read."""
    assert main(shlex.split("import pytest-benchmark none.json")) == 2
    assert "none.json: No such file" in capsys.readouterr().err


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for each in FORMATS:
        for file, text in made(each).items():
            (GOLDEN / file).write_text(text, encoding="utf-8", newline="")
