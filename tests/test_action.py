"""The action for GitHub: its scripts are taken out of `action.yml` and run, GitHub's files made up.

The action as a whole was never executed on GitHub: what is not a script is only looked at.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import store

ROOT = Path(__file__).resolve().parents[1]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
SCRIPTS = {step["name"]: step for step in STEPS if "run" in step}
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
DATA = "markov:order=1,vocab=5,seed=1,documents=600"
MODEL = """
import numpy as np
from harness import Model, ModelSpec, hookimpl

class Bigram(Model):
    def fit(self, train, dev, trial):
        counts = np.ones((self.vocab_size, self.vocab_size))
        np.add.at(counts, (train.tokens[:-1], train.tokens[1:]), 1)
        p = counts / counts.sum(1, keepdims=True)
        self.params["p"] = (1 - WORSE) * p + WORSE / self.vocab_size

    def log_probs(self, inputs):
        return np.log(self.params["p"])[inputs]

@hookimpl
def harness_models():
    return ModelSpec("bigram", {"numpy": Bigram}, context=1)
"""


@dataclass(frozen=True)
class Job:
    """A repository, and the folder of what a runner lends."""

    runner: Path

    def script(self, text: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run as GitHub runs `shell: bash`."""
        names = ("STEP_SUMMARY", "OUTPUT")
        lent = {f"GITHUB_{name}": str(self.runner / name) for name in names}
        path = f"{self.runner / 'bin'}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, **lent, "RUNNER_TEMP": str(self.runner), "PATH": path, **variables}
        file = self.runner / "script.sh"
        file.write_text(text)
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(file)]
        return subprocess.run(command, env=env, capture_output=True, text=True)

    def step(self, name: str, **given: str) -> subprocess.CompletedProcess[str]:
        """One script of the action, its variables from inputs, defaults and outputs so far."""
        inputs = {key: each["default"] for key, each in ACTION["inputs"].items()} | given
        variables = {}
        for key, value in SCRIPTS[name]["env"].items():
            kind, wanted = re.fullmatch(
                r"\$\{\{ (inputs|steps\.harness\.outputs)\.([\w-]+) \}\}", value
            ).groups()
            variables[key] = inputs[wanted] if kind == "inputs" else self.outputs()[wanted]
        return self.script(SCRIPTS[name]["run"], **variables)

    def outputs(self) -> dict[str, str]:
        """What the steps have said so far; the last word counts."""
        file = self.runner / "OUTPUT"
        return dict(line.split("=", 1) for line in file.read_text().splitlines()) if file.exists() else {}

    def gate(self, **given: str) -> tuple[str, str, int]:
        """Answer, exit code and how the job ends."""
        done = self.step("Run models, or gate them", **given)
        assert done.returncode == 0, done.stdout + done.stderr
        ended = self.step("Fail where the answer says so", **given)
        return self.outputs()["answer"], self.outputs()["exit-code"], ended.returncode

    def summary(self) -> str:
        """What the job's page shows."""
        return (self.runner / "STEP_SUMMARY").read_text(encoding="utf-8")


def block(mark: str) -> str:
    """The fenced block of docs/ci.md after `<!-- mark -->`."""
    found = re.search(rf"<!-- {mark} -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


def commit(message: str) -> None:
    """All that git sees."""
    subprocess.run(["git", "add", "--all"], check=True)
    subprocess.run(["git", "commit", "-q", "-m", message], check=True)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """The working directory as a repository with a model, and a runner whose `harness` is this one."""
    runner = tmp_path / "run ner"
    (runner / "bin").mkdir(parents=True)
    program = runner / "bin" / "harness"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m harness "$@"\n')
    program.chmod(0o755)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "somebody@example.org")
    subprocess.run(["git", "init", "-q"], check=True)
    Path("bigram.py").write_text(MODEL.replace("WORSE", "0.0"))
    Path(".gitignore").write_text("/results/\n")
    commit("a model")
    return Job(runner)


# ---- as a file


def test_every_script_is_bash(job: Job) -> None:
    """`bash -n` has nothing to say about any script, nor about the recipes of docs/ci.md."""
    for text in [*(step["run"] for step in SCRIPTS.values()), *map(block, ("shell", "known", "baseline"))]:
        assert subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True).stderr == ""


def test_no_input_is_a_part_of_a_script() -> None:
    """`${{ }}` stands in no script: what somebody else may choose reaches the shell as a variable."""
    assert [name for name, step in SCRIPTS.items() if "${{" in step["run"] or step["shell"] != "bash"] == []


def test_every_variable_and_output_has_its_source() -> None:
    """Inputs, steps and their outputs that an expression names exist, and every input is used."""
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{\{ inputs\.([\w-]+) \}\}", text)) == set(ACTION["inputs"])
    said = {step["id"]: set(re.findall(r'echo "([\w-]+)=', step["run"])) for step in STEPS if "id" in step}
    for step, output in re.findall(r"steps\.([\w-]+)\.outputs\.([\w-]+)", text):
        assert output in said[step]


def test_the_page_lists_the_inputs_with_their_defaults() -> None:
    """docs/ci.md and `action.yml` name the same inputs and defaults."""
    rows = PAGE[PAGE.index("<!-- inputs -->") :].split("\n\n")[0]
    listed = dict(re.findall(r"^\| `([\w-]+)` \|(?: `([^`]*)`)? \|", rows, re.MULTILINE))
    assert listed == {key: each["default"] for key, each in ACTION["inputs"].items()}


def test_our_own_workflow_uses_it() -> None:
    """The workflow of this repository gates with `./`, by inputs that there are."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    used = [step for job in workflow["jobs"].values() for step in job["steps"] if step.get("uses") == "./"]
    assert used
    assert all(set(step["with"]) <= set(ACTION["inputs"]) for step in used)


# ---- as it runs


def test_a_change_is_measured_passes_and_fails(job: Job) -> None:
    """A run without a baseline; its committed file as baseline: the same code PASSes, a worse model FAILs."""
    given = {"models": "bigram", "dataset": DATA, "split": "grouped:seed=3", "plugin": "bigram.py\n"}
    assert job.gate(**given, seeds="2") == ("MEASURED", "0", 0)
    assert "| bigram" in job.summary()
    (made,) = Path("results").glob("*.jsonl")
    records = store.read(made).records
    assert [(record.model, record.repeat) for record in records] == [("bigram", 0), ("bigram", 1)]
    assert records[0].dataset.startswith("markov:order=1,vocab=5")
    assert records[0].split.startswith("grouped:seed=3")

    subprocess.run(["git", "add", "--force", "results"], check=True)
    commit("a baseline")
    assert job.gate(**given, baseline="HEAD") == ("PASS", "0", 0)
    assert "**PASS" in job.summary()
    for name, other in (("models", "uniform"), ("dataset", "names"), ("split", "all")):
        assert job.gate(**given | {name: other}, baseline="HEAD")[0] == "INCONCLUSIVE", name

    Path("bigram.py").write_text(MODEL.replace("WORSE", "0.9"))
    assert job.gate(**given, baseline="HEAD") == ("FAIL", "1", 1)
    assert "**FAIL" in job.summary()
    done = job.step("Make the page", plugin="bigram.py")
    page = Path(job.outputs()["report"])
    assert done.returncode == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_missing_baseline_is_inconclusive(job: Job) -> None:
    """No such baseline: exit 3 with the reason, which fails the job only where that is asked for."""
    assert job.gate(baseline="nothing") == ("INCONCLUSIVE", "3", 0)
    assert "nothing" in job.summary()
    assert job.gate(baseline="nothing", **{"fail-on": "inconclusive"}) == ("INCONCLUSIVE", "3", 3)
    done = job.step("Make the page")
    assert done.returncode == 0
    assert "::warning::" in done.stdout
    assert "report" not in job.outputs()


def test_an_error_fails_the_job_whatever_fails_it(job: Job) -> None:
    """A usage error is no answer: the job ends with harness's exit code. Words are one word to the shell."""
    assert job.gate(models="$(touch here);no-such-model") == ("ERROR", "2", 2)
    assert not Path("here").exists()
    done = job.step("Run models, or gate them", **{"fail-on": "never"})
    assert done.returncode == 2
    assert "fail-on" in done.stdout


def test_the_recipe_for_a_plain_shell(job: Job) -> None:
    """docs/ci.md: the baseline is made and committed by its block, gated by the other, and a change fails."""
    Path("harness.toml").write_text(f'[run]\ndataset = "{DATA}"\n')
    done = job.script(block("baseline"))
    assert done.returncode == 0, done.stderr
    held = subprocess.run(["git", "ls-files", "results"], capture_output=True, text=True, check=True).stdout
    assert "params" not in held
    assert "scores" in held
    assert job.script(block("shell"), BASELINE="HEAD").returncode == 0
    assert "**PASS" in Path("gate.md").read_text(encoding="utf-8")
    assert Path("report.html").is_file()
    Path("bigram.py").write_text(MODEL.replace("WORSE", "0.9"))
    assert job.script(block("shell"), BASELINE="HEAD").returncode == 1


@pytest.mark.parametrize(("baseline", "code"), [("HEAD", 0), ("haed", 2), ("", 2), ("--help", 2)])
def test_a_misspelt_baseline_is_an_error_where_that_is_asked_for(job: Job, baseline: str, code: int) -> None:
    """docs/ci.md: the line that finds a reference which git does not know, and none."""
    done = job.script(block("known"), BASELINE=baseline)
    assert (done.returncode, done.stdout) == (code, f"no baseline: '{baseline}'\n" if code else "")
