"""`--plugin FILE` on every verb that takes models: one file is enough."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from harness.cli import VERBS, defaults, main, verb_command

# Verbs that run and load no model.
WITHOUT = {"show", "history", "import", "new", "config", "completion"}

PLUGIN = """
import numpy as np
from harness import Model, ModelSpec, hookimpl

class Unigram(Model):
    def fit(self, train, dev, trial):
        counts = np.bincount(train.tokens[1:], minlength=self.vocab_size) + 1
        self.params["log_p"] = np.log(counts / counts.sum())
        while not trial.should_stop():
            trial.progress(train.targets, train.targets)

    def log_probs(self, inputs):
        return np.broadcast_to(self.params["log_p"], (*inputs.shape, self.vocab_size))

@hookimpl
def harness_models():
    return ModelSpec("unigram", {"numpy": Unigram}, context=0, config={"rate": 1.0}, steps=1)
"""


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> None:
    """unigram.py, 125 short names, and a file that is loaded at once: test_registry has the guard."""
    Path("unigram.py").write_text(PLUGIN)
    Path("names.txt").write_text("".join(f"{a}{b}{c}\n" for a in "abcde" for b in "abcde" for c in "abcde"))
    monkeypatch.setattr("harness.registry.probe", lambda path: None)


def test_every_verb_that_takes_models_takes_a_file() -> None:
    """A new verb has `--plugin`, or says above that it needs none."""
    with_option = {verb for verb in VERBS if "plugin" in defaults.options_of(verb_command(verb))}
    assert set(VERBS) - with_option == WITHOUT


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    "words",
    [
        "run --models unigram --dataset file:names.txt --in-process",
        "run --models unigram --dataset file:names.txt --dry-run",
        "tune unigram --space rate=1/2 --trials 2 --dataset file:names.txt --in-process",
        "list models",
        "list plugins",
    ],
)
def test_a_verb_knows_the_model_of_a_file(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--plugin` the model is there, without it is not."""
    if words.startswith("tune"):
        pytest.importorskip("optuna")
    assert main([*shlex.split(words), "--plugin", "unigram.py"]) == 0
    assert "unigram" in capsys.readouterr().out
    without = main(shlex.split(words))
    assert without == 2 or "unigram" not in capsys.readouterr().out


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("words", ["sample unigram -n 3", "score unigram names.txt"])
def test_a_stored_model_of_a_file_needs_the_file_again(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run holds parameters, no code: without the file it is one line that names the option."""
    run = "run --models unigram --dataset file:names.txt --in-process --plugin unigram.py"
    assert main(shlex.split(run)) == 0
    assert main([*shlex.split(words), "--plugin", "unigram.py"]) == 0
    capsys.readouterr()
    assert main(shlex.split(words)) == 2
    assert "name its file with --plugin" in capsys.readouterr().err
