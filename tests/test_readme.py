"""What README and the docs promise is run."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import registry, store
from harness.cli import main
from harness.columns import COLUMNS
from harness.report import WIDTH

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PLUGINS = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")


def marked(text: str, mark: str) -> str:
    """The fenced block after `<!-- mark -->`."""
    found = re.search(rf"<!-- {re.escape(mark)} -->\n```\w*\n(.*?)```", text, re.DOTALL)
    assert found, f"no block marked {mark}"
    return found[1]


def test_two_commands_of_one_line_stand_first() -> None:
    """The run and the test command are one line each, in the first 25 lines, and set up everything."""
    for mark in ("run", "test"):
        command = marked(README, mark).strip()
        assert "\n" not in command
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install")
        assert "-c constraints.txt" in command
        assert README.index(command) < len("\n".join(README.splitlines()[:25]))
    assert marked(README, "run").strip().endswith("harness run --models all")
    assert marked(README, "test").strip().endswith("-m pytest -n auto --dist worksteal")


def test_ci_runs_the_test_command_of_the_readme() -> None:
    """`.ci/run` reads the command out of README, and finds it."""
    script = (ROOT / ".ci" / "run").read_text()
    extract = next(line for line in script.splitlines() if line.startswith("command=$("))
    shell = f'cd {shlex.quote(str(ROOT))}; {extract}; printf %s "$command"'
    found = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert found.stdout == marked(README, "test").strip()


def test_the_model_of_sixteen_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """README's model is 16 lines, and its command prints its row."""
    code = marked(README, "file: unigram.py")
    assert len(code.splitlines()) == 16
    Path("unigram.py").write_text(code)
    command = "harness run --plugin unigram.py --models unigram,count-bigram"
    assert command in README
    assert main(shlex.split(command)[1:]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["2", "unigram@numpy", "27"] in [row[:3] for row in rows]


def test_the_notebook_cell() -> None:
    """README's cell runs as it stands, and its last expression is a record with a score."""
    pytest.importorskip("torch")
    *body, last = marked(README, "cell").strip().splitlines()
    names: dict[str, object] = {}
    exec("\n".join(body), names)
    record = eval(last, names)
    assert isinstance(record, harness.notebook.Record)  # type: ignore[attr-defined]
    assert record.metrics.test_nll is not None
    assert "test NLL" in record._repr_html_()


def test_more_to_try_is_valid() -> None:
    """Each further command of README is understood: its dry run, list or describe ends with 0 or no data."""
    block = re.search(r"More to try:\n\n```sh\n(.*?)```", README, re.DOTALL)
    assert block
    Path("poems.txt").write_text("roses are red\nviolets are blue\n" * 100)
    for line in block[1].splitlines():
        words = shlex.split(line, comments=True)
        assert words[0] == "harness"
        words += ["--dry-run"] if words[1] in ("run", "tune") else []
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
            code = main(words[1:])
        needs_data = "makemore-names" in line or "tinyshakespeare" in line
        assert code == 0 or needs_data, line
        assert said.getvalue().strip() or needs_data, line


def test_the_tree_has_one_line_a_file() -> None:
    """README's tree names every file of the packages, and no file that is not there."""
    tree = README[README.index("## The tree") :]
    block = re.search(r"```text\n(.*?)```", tree, re.DOTALL)
    assert block
    listed: set[str] = set()
    folders: list[str] = []
    for line in block[1].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        folders = [*folders[:depth], name.rstrip("/")]
        if not name.endswith("/"):
            listed.add("/".join(folders))
    shelves = ("harness", "plugins/harness_plugins", "datasets/harness_datasets")
    there = {path.relative_to(ROOT).as_posix() for shelf in shelves for path in (ROOT / shelf).rglob("*.py")}
    in_tree = {path for path in listed if path.endswith(".py") and path.startswith(shelves)}
    assert in_tree == there
    for path in listed:
        assert (ROOT / path).exists(), path


def test_the_table_of_the_readme_is_one_that_harness_prints() -> None:
    """The shown table names every registered model and the columns that a run prints."""
    table = marked(README, "table: harness run --models all")
    for model in registry.discover().models:
        assert re.search(rf"^ *\d+  {re.escape(model)}[@ ]", table, re.MULTILINE), model
    titles = set(re.split(r"\n-+  ---", table)[0].split())
    for column in COLUMNS:
        assert set(column.title.split()) <= titles or column.shown != "always", column.title
    assert max(map(len, table.splitlines())) <= WIDTH


def test_the_files_of_the_plugin_page(capsys: pytest.CaptureFixture[str]) -> None:
    """The logger and the dataset of docs/plugins.md work together in one run."""
    for name in ("logger.py", "vowels.py"):
        Path(name).write_text(marked(PLUGINS, f"file: {name}"))
    code = main(
        shlex.split("run --plugin logger.py --plugin vowels.py --dataset vowels --split all --models uniform")
    )
    assert code == 0
    assert '"model": "uniform"' in Path("log.jsonl").read_text()
    assert "vowels" in capsys.readouterr().out


def test_the_spec_of_the_plugin_page_is_valid() -> None:
    """The example spec of docs/plugins.md passes the registry's validation."""
    spec = eval(marked(PLUGINS, "spec"), {"ModelSpec": harness.ModelSpec})
    registry.validate(spec)
    assert spec.context_of({"context": 4}) == 4


# ---- our own history


@pytest.fixture
def update() -> Any:
    """`results/update.py` as a module."""
    spec = importlib.util.spec_from_file_location("update", ROOT / "results" / "update.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_made_of_the_committed_runs(update: Any) -> None:
    """README's two tables are what `results/update.py --tables` makes of the runs that they name."""
    runs = {name: update.named(README, name) for name in update.RUNS}
    assert update.rewritten(README, runs) == README


def test_the_committed_runs_are_whole(update: Any) -> None:
    """Closed, undamaged, of every built-in model, all ok, each with its scores and samples."""
    for name in update.RUNS:
        run = store.read(update.named(README, name))
        assert run.closed
        assert (run.warnings, run.damage) == ([], [])
        assert [record.status for record in run.records] == ["ok"] * len(registry.discover().models)
        for record in run.records:
            scores, drawn = run.scores(record), run.samples(record)
            assert scores is not None
            assert drawn
            sums = scores["test_sums"].sum() / scores["test_lengths"].sum()
            assert sums == pytest.approx(record.metrics.test_nll, abs=1e-12)


def test_what_is_committed_of_results_is_what_may_be(update: Any) -> None:
    """Run files, scores and samples, under 4 MB: no parameters, no path and no name of a machine."""
    listing = subprocess.run(["git", "ls-files", "-z", "results"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a checkout")
    files = [ROOT / name for name in listing.stdout.split("\0") if name]
    runs = [path for path in files if path.suffix == ".jsonl"]
    assert {update.named(README, name) for name in update.RUNS} <= set(runs)
    sides = [path for path in files if path.parent.suffix == ".d"]
    assert {"".join(path.suffixes) for path in sides} == {".scores.npz", ".samples.json"}
    assert {path.parent for path in sides} == {store.side_folder(path) for path in runs}
    assert sum(path.stat().st_size for path in files) < 4e6
    facts = {"python", "system", "cpu", "cores", "affinity", "threads", "noise", "load", "packages", "commit"}
    for path in runs:
        run = store.read(path)
        assert set(run.header.environment) <= facts
        assert all(record.environment == run.header.environment for record in run.records)
        assert not re.search(r'"(/|~|[A-Za-z]:\\)', path.read_text(encoding="utf-8"))
