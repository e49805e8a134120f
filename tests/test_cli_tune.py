"""`harness tune`: what is printed where, and the exit codes."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from harness import registry, store
from harness.cli import main

pytest.importorskip("optuna")

PLUGIN = """
import numpy as np
from harness import Diverged, Model, ModelSpec, hookimpl

class Bump(Model):
    \"\"\"Unigram counts sharpened by a power of 100 rates: the best rate is near 0.01.\"\"\"

    def fit(self, train, dev, trial):
        power = 100 * self.config["learning_rate"]
        if self.config["mood"] == "bad":
            raise RuntimeError("no luck")
        if power > 20:
            raise Diverged("too steep")
        counts = np.bincount(train.tokens[1:], minlength=self.vocab_size) + 1.0
        self.params["rows"] = power * np.log(counts * (1 + 0.01 * self.rng.random(self.vocab_size)))
        self.params["rows"] -= np.log(np.exp(self.params["rows"]).sum())

    def log_probs(self, inputs):
        return np.broadcast_to(self.params["rows"], (*inputs.shape, self.vocab_size)).copy()

@hookimpl
def harness_models():
    config = {"learning_rate": 0.003, "mood": "good", "steps": 40}
    return ModelSpec("bump", {"numpy": Bump}, config=config, words={"mood": ("good", "bad")}, context=0,
                     steps=40)
"""


@pytest.fixture(autouse=True)
def bump(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin file with one model, loaded at once: test_registry has the guard."""
    monkeypatch.setattr(registry, "probe", lambda path: None)
    monkeypatch.setenv("HARNESS_PLUGIN", "bump.py")
    Path("bump.py").write_text(PLUGIN)


def tune(*arguments: str) -> int:
    """`harness tune` with its trials in this process, which is quick."""
    return main(["tune", "--in-process", *arguments])


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    """The JSON on stdout."""
    return json.loads(capsys.readouterr().out)


def test_the_command_it_prints_gives_the_model_it_chose(capsys: pytest.CaptureFixture[str]) -> None:
    """`harness run` of the line at the end has the best trial's dev NLL to the bit, and a test NLL."""
    assert tune("bump", "--space", "learning_rate=1e-3..1e-1:log", "--trials", "4", "--json") == 0
    found = printed(capsys)
    best = found["trials"][0]
    assert best["dev_nll"] == min(trial["dev_nll"] for trial in found["trials"])
    assert main([*shlex.split(found["command"])[1:], "--in-process", "--json"]) == 0
    (record,) = printed(capsys)["records"]
    assert record["metrics"]["dev_nll"] == best["dev_nll"]
    assert record["metrics"]["test_nll"] is not None


def test_the_table_shows_the_best_trials(capsys: pytest.CaptureFixture[str]) -> None:
    """Best first with their intervals and options on stdout, how many are left out; progress on stderr."""
    assert tune("bump", "--trials", "5", "--top", "2", "--space", "learning_rate=1e-3..1e-1:log") == 0
    out, err = capsys.readouterr()
    (path,) = Path("results").glob("*.jsonl")
    records = sorted(store.read(path).records, key=lambda r: r.metrics.dev_nll or 9.0)
    lines = [line.split() for line in out.splitlines() if "±" in line and line[:5].strip().isdigit()]
    assert [int(line[0]) - 1 for line in lines] == [r.cell for r in records[:2]]
    assert lines[0][1].startswith(f"{records[0].metrics.dev_nll:.4f}±")
    assert lines[0][2] == "best"
    assert lines[1][-1] == f"{records[1].config['learning_rate']:g}"
    assert "3 more trials: --top 5" in out
    assert out.rstrip().splitlines()[-1].startswith("harness run --models bump@numpy:learning_rate=")
    assert [line for line in err.splitlines() if line.startswith("[5/5] dev NLL ")]


def test_a_broken_trial_is_a_row_and_the_search_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Its reason is told, the others are ranked, the exit code is 4."""
    assert tune("bump", "--space", "mood=good/bad", "--trials", "9") == 4
    out, err = capsys.readouterr()
    assert "(mood=bad): failed: fit: RuntimeError: no luck" in out
    assert "ended after 2 of 9: the space holds no other legal configuration" in err


def test_a_trial_that_diverges_is_an_answer() -> None:
    """Exit 0 where others have a score, 3 where none has."""
    assert tune("bump", "--space", "learning_rate=0.01/0.5", "--trials", "2") == 0
    assert tune("bump", "--space", "learning_rate=0.4/0.5", "--trials", "2") == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bump", "--split", "makemore"], "split makemore has no dev part"),
        (["bump", "--split", "all"], "split all is in-sample"),
        (["bump:learning_rate=0.1/0.2"], "tune takes one model"),
        (["uniform"], "nothing that is tuned by default"),
        (["bump", "--space", "rate=1..2"], "unknown option 'rate'"),
        (["bump", "--picture", "a.svg"], "--picture is for --lr-range"),
        (["bump", "--lr-range", "--trials", "2"], "at least 5 rates"),
        (["count-bigram", "--lr-range"], "trains by steps"),
    ],
)
def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    """Exit 2 before anything has run, and nothing is stored."""
    assert tune(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not list(Path("results").glob("*"))


def test_the_range_test_draws_its_picture(capsys: pytest.CaptureFixture[str]) -> None:
    """A character a rate, × where it diverged; the SVG is where it says; diverged rates are no errors."""
    space = "learning_rate=1e-4..1:log"
    assert tune("bump", "--lr-range", "--space", space, "--trials", "9", "--picture", "a/b.svg") == 0
    out = capsys.readouterr().out
    (bars,) = (line.strip() for line in out.splitlines() if "×" in line)
    assert len(bars) == 9
    assert bars.endswith("××")
    assert "picture: a/b.svg" in out
    ElementTree.parse("a/b.svg")
    suggested = float(out.split("Suggested: learning_rate=")[1].split()[0])
    assert 0.003 <= suggested <= 0.03


def test_the_range_test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """All fits in the order of their rates, and what is read off them; the picture beside the run file."""
    assert tune("bump", "--lr-range", "--trials", "6", "--json") == 0
    found = printed(capsys)
    rates = [trial["options"]["learning_rate"] for trial in found["trials"]]
    assert rates == sorted(rates)
    assert found["minimum"] in rates
    assert Path(found["picture"]).with_suffix(".jsonl") == Path(found["run"])


def test_a_range_test_without_a_single_score(capsys: pytest.CaptureFixture[str]) -> None:
    """Every fit diverged: said, no picture, exit 3."""
    assert tune("bump", "--lr-range", "--space", "learning_rate=1..9:log", "--trials", "5") == 3
    assert "No rate gave a model with a dev NLL." in capsys.readouterr().out
    assert not list(Path("results").glob("*.svg"))


def test_a_stored_search_is_shown_again(capsys: pytest.CaptureFixture[str]) -> None:
    """`harness show` and `list runs` know runs whose cells were not known before."""
    assert tune("bump", "--trials", "3", "--space", "learning_rate=1e-3..1e-1:log") == 0
    capsys.readouterr()
    assert main(["show", "latest"]) == 0
    assert "tune: dev chooses" in capsys.readouterr().out
    assert main(["list", "runs"]) == 0
    assert " 3/3 " in capsys.readouterr().out


def test_a_dry_run_prints_what_is_varied(capsys: pytest.CaptureFixture[str]) -> None:
    """The space with the model's own values, or the rates; nothing is run."""
    assert tune("bump", "--dry-run") == 0
    assert ["learning_rate", "0.003", "0.00075..0.012:log"] in rows(capsys.readouterr().out)
    assert tune("bump", "--lr-range", "--dry-run", "--space", "learning_rate=1..16:log", "--trials", "5") == 0
    assert ["learning_rate", "1", "2", "4", "8", "16"] in rows(capsys.readouterr().out)
    assert not Path("results").exists()


def rows(text: str) -> list[list[str]]:
    """The words of every line."""
    return [line.split() for line in text.splitlines()]


def test_without_optuna_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 before the first trial; the range test needs none of it."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert tune("bump") == 2
    assert "nextchar-harness[tune]" in capsys.readouterr().err
    assert tune("bump", "--lr-range", "--trials", "5") == 0


def test_trials_have_processes_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --in-process: `mlp` from its server, with its start on record and a limit in force."""
    space = "hidden=4/8"
    arguments = ["--budget", "20steps", "--timeout", "60", "--threads", "1", "--json"]
    assert main(["tune", "mlp", "--space", space, "--trials", "2", *arguments]) == 0
    found = printed(capsys)
    assert sorted(trial["options"]["hidden"] for trial in found["trials"]) == [4, 8]
    assert all((r.timings.start_s or 0) > 0 for r in store.read(Path(found["run"])).records)
