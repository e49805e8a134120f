"""`harness gate`: exit codes, baselines from files, runs and git, and what it prints."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import harness
from harness import environments, record, store
from harness.cli import main
from harness.environments import Environment

MODELS = "count-bigram,mlp:steps=20"

SLY = """
import numpy as np
from harness import Model, ModelSpec, hookimpl

class Sly(Model):
    def fit(self, train, dev, trial):
        counts = np.bincount(train.tokens[1:], minlength=self.vocab_size) + 1
        self.params["p"] = (1 - {epsilon}) * counts / counts.sum() + {epsilon} / self.vocab_size

    def log_probs(self, inputs):
        return np.broadcast_to(np.log(self.params["p"]), (*inputs.shape, self.vocab_size))

@hookimpl
def harness_models():
    return ModelSpec("sly", {{"numpy": Sly}}, context=0, stochastic=False)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run of two models, two seeds."""
    folder = tmp_path_factory.mktemp("made") / "results"
    harness.run(MODELS, seeds=2, results=folder, threads=1)
    return folder


@pytest.fixture
def results(made: Path) -> Path:
    """A copy of it in the working directory, as `results`."""
    shutil.copytree(made, "results")
    return Path("results").resolve()


def run_of(folder: Path) -> store.Run:
    """The only run of a folder."""
    (path,) = store.run_files(folder)
    return store.read(path)


def rewritten(run: store.Run, name: str, **fields: Any) -> Path:
    """The run again as a file of its own, its records changed."""
    path = Path(name)
    writer = store.Writer(path, run.header)
    for each in run.records:
        writer.cell(msgspec.structs.replace(each, **fields))
    writer.close()
    shutil.copytree(store.side_folder(run.path), store.side_folder(path), dirs_exist_ok=True)
    return path


def gated(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """The exit code, and what was printed as strict JSON."""
    capsys.readouterr()
    code = main(["gate", *arguments, "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out, parse_constant=lambda constant: pytest.fail(constant))


# ---- exit codes


def test_the_same_code_passes(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    """Without --head the baseline's cells are run with the same seeds and threads: equal bits, exit 0."""
    baseline = run_of(results)
    code, found = gated(capsys, "--baseline", "latest")
    assert code == found["exit_code"] == 0
    assert found["answer"] == "PASS"
    assert [(cell["name"], cell["seeds"]) for cell in found["cells"]] == [
        ("count-bigram@numpy", 1),
        ("mlp@numpy:steps=20", 2),
    ]
    assert [cell["metrics"][0]["reason"] for cell in found["cells"]] == ["equal to the bit"] * 2
    head = store.read(store.run_files(results)[-1])
    assert head.header.run_id in found["head"]
    assert [r.seed for r in head.records] == [r.seed for r in baseline.records]
    assert {r.environment["threads"] for r in head.records} == {1}


@pytest.mark.parametrize(("epsilon", "code"), [(0.0, 0), (0.3, 1)])
def test_a_plugin_that_became_worse_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, epsilon: float, code: int
) -> None:
    """The same command before and after a change of the plugin's file: exit 1 where it lost 0.05 nats."""
    plugin = Path("sly.py")
    plugin.write_text(SLY.format(epsilon=0.0))
    assert main(["run", "--plugin", "sly.py", "--models", "sly"]) == 0
    plugin.write_text(SLY.format(epsilon=epsilon))
    assert main(["gate", "--baseline", "latest", "--plugin", "sly.py"]) == code
    answer = capsys.readouterr().out.splitlines()
    assert "FAIL: 1 cell; head (run " in "\n".join(answer) if code else "PASS: 1 cell" in "\n".join(answer)


def test_a_model_that_is_gone_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """Ok in base, unknown in head: FAIL that says so, and a warning that names --plugin."""
    Path("sly.py").write_text(SLY.format(epsilon=0))
    assert main(["run", "--plugin", "sly.py", "--models", "sly,uniform"]) == 0
    capsys.readouterr()
    assert main(["gate", "--baseline", "latest"]) == 1
    out, err = capsys.readouterr()
    assert "FAIL: sly@numpy, NLL: missing in head, ok in base" in out
    assert "--plugin" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no baseline: --baseline names a run file, a run or a git reference"),
        (["--baseline", "nothing"], "no baseline: 'nothing' is no file, no run and no git reference"),
        (
            ["--baseline", "latest", "--models", "gru"],
            "holds no such cell that is ok (count-bigram@numpy ok, ",
        ),
        (["--baseline", "latest", "--dataset", "other"], "holds no such cell that is ok"),
        (["--baseline", "latest", "--split", "lecture"], "holds no such cell that is ok"),
        (["--baseline", "broken.jsonl"], "holds no such cell that is ok (count-bigram@numpy failed, "),
        (["--baseline", "empty.jsonl"], "holds no such cell that is ok (none)"),
    ],
)
def test_without_a_baseline_nothing_passes(
    capsys: pytest.CaptureFixture[str], results: Path, arguments: list[str], said: str
) -> None:
    """Missing, empty, nothing ok, nothing asked for: exit 3 with the reason, and nothing is run."""
    run = run_of(results)
    rewritten(run, "broken.jsonl", status="failed", reason="x")
    store.Writer(Path("empty.jsonl"), run.header).close()
    assert main(["gate", *arguments]) == 3
    out = capsys.readouterr().out
    assert out.startswith("INCONCLUSIVE: nothing was compared\n")
    assert said in out
    assert len(store.run_files(results)) == 1


def test_what_is_not_comparable_is_inconclusive(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    """Another budget: exit 3, the field and both values."""
    other = rewritten(run_of(results), "other.jsonl", budget="7steps")
    assert main(["gate", "--baseline", "latest", "--head", str(other)]) == 3
    assert "not comparable: budget: default in base, 7steps in head" in capsys.readouterr().out


@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("side", ["--baseline", "--head"])
def test_scores_that_were_changed_decide_nothing(
    capsys: pytest.CaptureFixture[str], results: Path, side: str, checksums: bool
) -> None:
    """Readable scores that are not those of the record, on either side: exit 6, and no answer.

    An old record knows no checksum: its scores must sum to its NLL.
    """
    run = run_of(results)
    altered = Path("altered.jsonl")
    if checksums:
        store.copy(run.path, altered)
    else:
        rewritten(run, altered.name)
    file = store.side_folder(altered) / "0.scores.npz"
    arrays = dict(np.load(file))
    np.savez(file, **arrays | {"test_sums": arrays["test_sums"] + 0.5})
    sides = {"--baseline": str(run.path), "--head": str(run.path), side: str(altered)}
    assert main(["gate", *(word for pair in sides.items() for word in pair)]) == 6
    out, err = capsys.readouterr()
    assert out == ""
    why = "the checksum does not hold" if checksums else "they do not sum to the test NLL of the record"
    assert err == f"harness: {file}: damaged ({why})\n"


def test_no_empty_results_folder_passes(capsys: pytest.CaptureFixture[str]) -> None:
    """`latest` of nothing is no baseline."""
    assert main(["gate", "--baseline", "latest"]) == 3
    assert "no runs in results" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--base-env", "x"], "--base-env and --head-env go together"),
        (["--head-env", "x"], "--base-env and --head-env go together"),
        (["--baseline", "latest", "--head", "no"], "'no' is no file, no run and no git reference"),
        (["--nll-worse", "0"], "0.0 is not in the range"),
    ],
)
def test_mistakes_are_exit_2(
    capsys: pytest.CaptureFixture[str], results: Path, arguments: list[str], said: str
) -> None:
    """One line; a head that is not there is a mistake, no answer."""
    assert main(["gate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


THRESHOLDS = ["nll-worse", "seed-sd", "train-slower", "evaluate-slower", "sample-slower", "memory-larger"]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("name", THRESHOLDS)
def test_a_threshold_is_a_finite_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, results: Path, name: str, value: str
) -> None:
    """As a flag, in harness.toml or in a variable: exit 2 and one line, before anything is run."""
    key = name.replace("-", "_")
    gate = ["gate", "--baseline", "latest"]
    assert main([*gate, f"--{name}", value]) == 2
    Path("harness.toml").write_text(f"[gate]\n{key} = {value}\n")
    assert main(gate) == 2
    Path("harness.toml").unlink()
    monkeypatch.setenv(f"HARNESS_GATE_{key.upper()}", value)
    assert main(gate) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    places = (f"'--{name}'", f"harness.toml: gate.{key}:", f"HARNESS_GATE_{key.upper()}:")
    assert all(place in line for place, line in zip(places, lines, strict=True))
    assert all("is no finite number" in line or "is not in the range" in line for line in lines)
    assert len(store.run_files(results)) == 1


def test_the_commands_of_the_readme(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    """The first one gates; the second one asks for two environments, and names the one that is missing."""
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- gate -->\n```sh\n(.*?)```", text, re.DOTALL)
    assert block
    first, second = (shlex.split(line, comments=True)[1:] for line in block[1].splitlines())
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "x")
    assert main([*first, "--models", "count-bigram"]) == 0
    capsys.readouterr()
    assert main(second) == 2
    assert ".head is no virtual environment" in capsys.readouterr().err


# ---- narrowing and thresholds


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ("mlp", ["mlp@numpy:steps=20"]),
        ("mlp@numpy", ["mlp@numpy:steps=20"]),
        ("mlp:steps=20", ["mlp@numpy:steps=20"]),
        ("count-bigram,mlp@numpy:steps=20", ["count-bigram@numpy", "mlp@numpy:steps=20"]),
        ("all", ["count-bigram@numpy", "mlp@numpy:steps=20"]),
    ],
)
def test_models_narrow_the_baseline(
    capsys: pytest.CaptureFixture[str], results: Path, chosen: str, names: list[str]
) -> None:
    """By name, backend or in full, on both sides; dataset and split in short or in full."""
    data = ["--dataset", "names", "--split", "grouped"]
    run = str(run_of(results).path)
    code, found = gated(capsys, "--baseline", run, "--head", run, "--models", chosen, *data)
    assert code == 0
    assert [cell["name"] for cell in found["cells"]] == names
    assert not [remark for remark in found["remarks"] if "new in head" in remark]


def test_thresholds_stand_in_the_file(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    """`[gate]` of harness.toml, for each metric its own."""
    Path("harness.toml").write_text(
        "[gate]\nnll_worse = 0.02\nseed_sd = 0\ntrain_slower = 0.1\nevaluate-slower = 0.2\n"
        "sample_slower = 0.3\nmemory_larger = 0.4\n"
    )
    code, found = gated(capsys, "--baseline", "latest", "--head", "latest")
    assert code == 0
    assert found["thresholds"] == {
        "nll": 0.02,
        "seed_sd": 0,
        "train": 0.1,
        "evaluate": 0.2,
        "sample": 0.3,
        "memory": 0.4,
    }


# ---- git


def git(*words: str) -> None:
    """A command of git in the working directory, as nobody in particular."""
    person = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *person, *words], check=True, capture_output=True)


def test_a_reference_is_a_baseline(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    """The newest run that a commit's results folder holds, with its scores, whatever is checked out now."""
    run = run_of(results)
    path = rewritten(run, str(results / "20990101T000000-older-data.jsonl"), dataset="other")
    header = msgspec.structs.replace(run.header, dataset="other", run_id=path.stem)
    path.unlink()
    store.Writer(path, header).close()
    git("init", "-q", "-b", "main")
    Path(".gitignore").write_text("*.params.npz\n")
    git("add", ".")
    git("commit", "-qm", "x")
    git("tag", "v1")
    shutil.rmtree(results)
    head = rewritten(store.read(shutil.copy(*committed("v1", run, "head.jsonl"))), "again.jsonl")
    for reference in ("main", "v1", f"HEAD:{run.header.run_id[:15]}"):
        code, found = gated(capsys, "--baseline", reference, "--head", str(head), "--dataset", "names")
        assert (code, found["base"]) == (0, f"run {run.header.run_id}")
        assert {each["reason"] for cell in found["cells"] for each in cell["metrics"]} == {"equal to the bit"}
    code, found = gated(capsys, "--baseline", "main", "--head", str(head))
    assert code == 3  # the newest one holds no cell
    code, found = gated(capsys, "--baseline", "main:1999", "--head", str(head))
    assert code == 3
    assert "'main:1999' holds no such run" in found["remarks"][0]


def test_a_results_folder_outside_of_the_repository_is_said(
    capsys: pytest.CaptureFixture[str], results: Path, tmp_path: Path
) -> None:
    """The reference is one of the folder's own repository: where it has none, that is said."""
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "x")
    elsewhere = tmp_path / "elsewhere"
    code, found = gated(capsys, "--baseline", "main", "--results", str(elsewhere))
    assert code == 3
    no = "is no file, no run and no git reference"
    assert found["remarks"] == [f"no baseline: 'main' {no}: {elsewhere} is not inside a git repository"]
    code, found = gated(capsys, "--baseline", "mane")
    assert (code, found["remarks"]) == (3, [f"no baseline: 'mane' {no}"])


def test_foreign_files_do_not_hide_the_baseline(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    """A `.jsonl` that is none of ours, here and in a commit: a warning each, and the newest run counts."""
    run = run_of(results)
    (results / "events.jsonl").write_text('{"event":"x"}\n')
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "x")
    assert main(["gate", "--baseline", "main", "--head", "latest"]) == 0
    out, err = capsys.readouterr()
    assert f"head (run {run.header.run_id}) against base (run {run.header.run_id})" in out
    assert err.splitlines()[0] == (
        "harness: warning: main:events.jsonl: not a run file of harness; passed over"
    )
    assert err.splitlines()[1].startswith("harness: warning: results/events.jsonl: not a run file of harness")
    assert len(err.splitlines()) == 2


@pytest.mark.parametrize("lost", ["changed", "gone"])
def test_a_baseline_that_has_lost_a_line_is_exit_6(
    capsys: pytest.CaptureFixture[str], results: Path, lost: str
) -> None:
    """It would take its model out of the gate for ever; the list of runs says so, too."""
    (path,) = store.run_files(results)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"test_nll":2', b'"test_nll":1') if lost == "changed" else b""
    path.write_bytes(b"".join(lines))
    assert main(["gate", "--baseline", str(path), "--head", str(path)]) == 6
    error = capsys.readouterr().err
    assert "PASS" not in error
    assert f"{path} is damaged" in error
    assert main(["list", "runs", "--json"]) == 0
    listed = capsys.readouterr()
    assert json.loads(listed.out)[0]["state"] == "damaged"
    assert path.name in listed.err


def test_a_run_of_a_newer_harness_is_exit_6(capsys: pytest.CaptureFixture[str]) -> None:
    """What this one cannot read is neither missing nor worse."""
    frozen = sorted((Path(__file__).parent / "frozen").glob("*.jsonl"))
    assert main(["gate", "--baseline", str(frozen[1]), "--head", str(frozen[2])]) == 6
    assert "holds lines of another version of harness: compare with that" in capsys.readouterr().err


@pytest.mark.parametrize("models", ["cuont-bigram", "count-bigram,cuont-bigram"])
def test_a_model_that_nobody_knows_is_exit_2(
    capsys: pytest.CaptureFixture[str], results: Path, models: str
) -> None:
    """A name that is misspelt takes no model out of the gate; one that the baseline lacks is named."""
    run = str(store.run_files(results)[0])
    assert main(["gate", "--baseline", run, "--head", run, "--models", models]) == 2
    assert "did you mean 'count-bigram'?" in capsys.readouterr().err
    assert main(["gate", "--baseline", run, "--head", run, "--models", "count-bigram,ngram"]) == 0
    assert "ngram: run" in capsys.readouterr().err


def test_a_damaged_file_of_a_reference_is_exit_6(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    """The newest run of a commit whose header is not what was written is not passed over."""
    run = run_of(results)
    content = run.path.read_bytes().replace(b'"names"', b'"Names"', 1)
    (results / "20990101T000000-damaged.jsonl").write_bytes(content)
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "x")
    assert main(["gate", "--baseline", "main", "--head", str(run.path)]) == 6
    assert "the checksum does not hold" in capsys.readouterr().err


def imported(capsys: pytest.CaptureFixture[str]) -> str:
    """The id of a run that `harness import` made of one time, years after all others."""
    stats = {"min": 1.0, "max": 1.0, "mean": 1.0, "stddev": 0.0, "median": 1.0, "rounds": 1}
    file = {
        "machine_info": {"python_version": "3.11.7", "system": "Linux", "machine": "x86_64", "cpu": {}},
        "commit_info": {"id": "0" * 40, "dirty": False},
        "benchmarks": [{"name": "b", "fullname": "b", "params": None, "stats": stats}],
        "datetime": "2099-01-01T00:00:00+00:00",
        "version": "5.2.3",
    }
    Path("times.json").write_text(json.dumps(file))
    assert main(["import", "pytest-benchmark", "times.json"]) == 0
    return Path(capsys.readouterr().out.partition(":")[0]).stem


def test_imported_times_do_not_hide_the_baseline(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    """They are newer than the run and hold no scores: a reference and `latest` pass them over."""
    run = run_of(results)
    imported(capsys)
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "x")
    for what in ("main", "latest"):
        code, found = gated(capsys, "--baseline", what, "--head", str(run.path))
        assert (code, found["base"]) == (0, f"run {run.header.run_id}")


def test_imported_times_alone_are_no_baseline(capsys: pytest.CaptureFixture[str], made: Path) -> None:
    """Committed, the only run of the folder or named: exit 3 with the reason; as head they are a mistake."""
    run = imported(capsys)
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "x")
    for what, said in (
        ("main", f"'main' holds no such run in results: {run}"),
        (f"main:{run}", f"'main:{run}' holds no such run in results: {run}"),
        ("latest", f"run {run} is imported: it holds times alone, and no scores"),
        (run, f"run {run} is imported: it holds times alone, and no scores"),
        (f"results/{run}.jsonl", f"run {run} is imported: it holds times alone, and no scores"),
    ):
        code, found = gated(capsys, "--baseline", what)
        assert (code, found["remarks"]) == (3, [f"no baseline: {said}"])
    head = str(store.run_files(made)[0])
    assert main(["gate", "--baseline", head, "--head", run]) == 2
    assert "is imported" in capsys.readouterr().err


def committed(ref: str, run: store.Run, name: str) -> tuple[Path, Path]:
    """Source and target of a copy of a run that only a commit still holds, its side files beside it."""
    git("checkout", "-q", ref, "--", "results")
    shutil.copytree(store.side_folder(run.path), store.side_folder(Path(name)))
    return run.path, Path(name)


def test_scores_that_were_not_committed_are_absent(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    """Run files alone hold no documents: INCONCLUSIVE, and the reason says so."""
    git("init", "-q", "-b", "main")
    Path(".gitignore").write_text("*.d/\n")
    git("add", ".")
    git("commit", "-qm", "x")
    code, found = gated(capsys, "--baseline", "main", "--head", "latest")
    assert code == 3
    reasons = {each["reason"] for cell in found["cells"] for each in cell["metrics"]}
    assert reasons == {f"no test scores in run {run_of(results).header.run_id}: they were not kept"}


def test_a_reference_is_no_option(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    """What begins with a dash is not handed to git as a word of its own."""
    git("init", "-q", "-b", "main")
    assert main(["gate", "--baseline=--help"]) == 3
    assert "'--help' is no file, no run and no git reference" in capsys.readouterr().out


def test_a_run_against_itself_is_told(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    """By whatever names: equal bits of one run are no news. Another run of the same is not told."""
    run = run_of(results)
    _, found = gated(capsys, "--baseline", "latest", "--head", str(run.path))
    assert found["remarks"][0] == "Base and head are one and the same run: that says nothing about a change."
    other = msgspec.structs.replace(run.header, run_id="another")
    path = rewritten(store.Run(run.path, other, run.records, True), "other.jsonl", run_id="another")
    _, found = gated(capsys, "--baseline", "latest", "--head", str(path))
    assert not [remark for remark in found["remarks"] if "same run" in remark]


# ---- environments


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch, made: Path) -> dict[str, Any]:
    """Two environments whose processes answer at once: head's fit takes `share` more, its NLL stays."""
    facts: dict[str, Any] = {"share": 0.0, "calls": []}
    run = run_of(made)
    for name in ("base", "head"):
        python = Path(name, "bin", "python")
        python.parent.mkdir(parents=True)
        python.touch()

    def answer(where: Environment, models: Any, seeds: int, folder: Path) -> store.Run | str:
        name = where.python.parts[-3]
        facts["calls"].append((name, list(models), seeds, where.arguments))
        if name == "head" and facts.get("gone") in models:
            return "harness run ended with 2: harness: unknown model"
        number = len(facts["calls"]) % 5
        factor = (1 + facts["share"] * (name == "head")) * (1 + 0.002 * number)
        chosen = [r for r in run.records if {"all", r.model, f"{r.model}@numpy{tail(r)}"} & set(models)]
        timings = record.Timings(train_s=2.0 * factor, sample_s=1.0)
        run_id = f"20270101T0000{len(facts['calls']):02}"
        again = [
            msgspec.structs.replace(r, run_id=run_id, timings=timings) for r in chosen if r.repeat < seeds
        ]
        header = msgspec.structs.replace(run.header, run_id=run_id)
        source = store.Run(run.path, header, again, True)
        return store.read(rewritten(source, str(folder / f"{run_id}.jsonl")))

    monkeypatch.setattr(environments.Environment, "run", answer)
    return facts


def tail(r: record.Record) -> str:
    """`:steps=20`."""
    return "".join(f":{key}={value}" for key, value in r.options.items())


@pytest.mark.parametrize(("share", "code"), [(0.0, 0), (0.10, 1)])
def test_speed_is_compared_where_both_are_installed(
    capsys: pytest.CaptureFixture[str], two: dict[str, Any], share: float, code: int
) -> None:
    """Base makes the baseline; head and 10 interleaved pairs of each model follow on the same data."""
    two["share"] = share
    arguments = ["--base-env", "base", "--head-env", "head", "--models", "mlp", "--seeds", "2"]
    found_code, found = gated(capsys, *arguments)
    assert found_code == code
    (cell,) = found["cells"]
    by_metric = {each["metric"]: each for each in cell["metrics"]}
    assert by_metric["nll"]["answer"] == "PASS"
    assert by_metric["train"]["answer"] == ("FAIL" if code else "PASS")
    assert by_metric["train"]["used"] == 10
    assert by_metric["evaluate"]["answer"] == "PASS"
    assert not [remark for remark in found["remarks"] if "not compared" in remark]
    calls = two["calls"]
    assert calls[0][:3] == ("base", ["mlp"], 2)
    assert calls[1][:3] == ("head", ["mlp@numpy:steps=20"], 2)
    assert sorted(name for name, *_ in calls[2:]) == ["base"] * 10 + ["head"] * 10
    words = list(calls[2][3])
    for flag, value in (("--dataset", "names"), ("--threads", "1")):
        assert words[words.index(flag) + 1] == value


def test_runs_of_environments_are_kept(capsys: pytest.CaptureFixture[str], two: dict[str, Any]) -> None:
    """Both that the heading names stand in the folder with their scores, head's newest; no sample does."""
    code, found = gated(capsys, "--base-env", "base", "--head-env", "head", "--seeds", "2")
    assert code == 0
    runs, problems = store.read_all(Path("results"))
    assert not problems
    assert [f"run {run.header.run_id}" for run in runs] == [found["base"], found["head"]]
    for run in runs:
        assert len(run.records) == 3  # the counting model has no second seed
        assert all(run.scores(each) is not None for each in run.records)
    assert len(two["calls"]) > 20
    assert gated(capsys, "--baseline", found["base"][4:], "--head", "latest")[1]["head"] == found["head"]


def test_a_model_that_is_gone_in_heads_environment_fails(
    capsys: pytest.CaptureFixture[str], two: dict[str, Any]
) -> None:
    """The others are compared all the same."""
    two["gone"] = "count-bigram@numpy"
    code, found = gated(capsys, "--base-env", "base", "--head-env", "head", "--seeds", "2")
    assert code == 1
    assert [cell["metrics"][0]["reason"] for cell in found["cells"]] == [
        "missing in head, ok in base",
        "equal to the bit",
    ]


def test_a_folder_that_is_no_environment_is_named(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    """Exit 2 before anything runs."""
    Path("empty").mkdir()
    assert main(["gate", "--baseline", "latest", "--base-env", "empty", "--head-env", "empty"]) == 2
    assert "empty is no virtual environment" in capsys.readouterr().err


# ---- what is printed


def test_every_format_holds_the_answer(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    """Table, Markdown for summaries of CI, LaTeX; CSV has a row a metric."""
    run = run_of(results)
    arguments = ["gate", "--baseline", str(run.path), "--head", str(run.path)]
    for form in ("table", "markdown", "latex"):
        assert main([*arguments, "--format", form]) == 0
        out = capsys.readouterr().out
        assert "PASS: 2 of 2 cells" in out
        assert "mlp@numpy:steps=20" in out
        assert "--base-env" in out.replace(r"\-", "-")
    assert main([*arguments, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["cell"], row["metric"], row["answer"]) for row in rows] == [
        ("count-bigram@numpy", "nll", "PASS"),
        ("mlp@numpy:steps=20", "nll", "PASS"),
    ]


def test_explain_says_what_was_compared_and_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """Thresholds, units, the power, and what would decide; without it only reasons."""
    Path("sly.py").write_text(SLY.format(epsilon=0.0))
    assert main(["run", "--plugin", "sly.py", "--models", "sly"]) == 0
    Path("sly.py").write_text(SLY.format(epsilon=0.07).replace("stochastic=False", "stochastic=None"))
    capsys.readouterr()
    code = main(["gate", "--baseline", "latest", "--plugin", "sly.py", "--explain"])
    out = capsys.readouterr().out
    assert code == 3
    assert re.search(
        r"INCONCLUSIVE: sly@numpy, NLL: between -?\.\d{4} and \.\d{4} nats worse .*would decide", out
    )
    assert re.search(
        r"sly@numpy, NLL: .* \(1,477 distinct documents or blocks; \+\.\d{4} would FAIL with 80 %", out
    )
    assert "0.01 nats worse is sure (99.75 %)" in out


def test_hostile_names_are_harmless(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    """Names of models and reasons of a foreign run file."""
    bad = "\x1b[2J| <b>"
    other = rewritten(run_of(results), "other.jsonl", model=bad)
    for form in ("table", "markdown"):
        assert main(["gate", "--baseline", "latest", "--head", str(other), "--format", form]) == 1
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert form == "table" or "<b>" not in out
