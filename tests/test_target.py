"""Time to a target: what counts as reached, and how it is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import registry
from harness.cli import main
from harness.measure import to_target
from harness.record import Data, Metrics, Plugin, Record, Target, Timings

PLUGIN = """
import numpy as np
from harness import Model, ModelSpec, hookimpl

class Unigram(Model):
    \"\"\"Uniform until its second checkpoint, then unigram counts.\"\"\"

    def fit(self, train, dev, trial):
        counts = np.bincount(train.tokens[1:], minlength=self.vocab_size) + 1.0
        flat = np.full(self.vocab_size, -np.log(self.vocab_size))
        for rows in (flat, np.log(counts / counts.sum())):
            self.params["rows"] = rows
            if self.config["looks"]:
                trial.checkpoint(self)

    def log_probs(self, inputs):
        return np.broadcast_to(self.params["rows"], (*inputs.shape, self.vocab_size)).copy()

@hookimpl
def harness_models():
    return ModelSpec("unigram", {"numpy": Unigram}, config={"looks": True}, context=0)
"""


def fitted(dev: float | None, curve: list[tuple[float, float | None]], **facts: Any) -> Record:
    """A record of a fit of 9 seconds."""
    data = Data(dataset_sha256="", split_fingerprint="", vocabulary=27, documents={}, targets={}, overlap={})
    return Record(
        run_id="r", cell=0, model="m", backend="numpy", options={}, config={}, dataset="names",
        split="lecture", repeat=0, seed=0, budget="default", **({"status": "ok"} | facts), data=data,
        metrics=Metrics(dev_nll=dev), timings=Timings(train_s=9.0), curve=curve,
        plugin=Plugin(distribution="", version=""),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("record", "found"),
    [
        # the first checkpoint at or below it: nothing is interpolated, and a later rise takes nothing back
        (fitted(2.3, [(1.0, 2.5), (2.0, 2.0), (3.0, 1.9), (4.0, 2.3)]), Target(nll=2.0, seconds=2.0)),
        (fitted(1.9, []), Target(nll=2.0, seconds=9.0, bound=True)),
        (fitted(1.9, [(1.0, 2.5)]), Target(nll=2.0, seconds=9.0, bound=True)),
        (fitted(2.2, [(1.0, None), (2.0, 2.1)]), Target(nll=2.0, reason="its best dev NLL is 2.1000")),
        (
            fitted(None, [], absent={"dev_nll": "the makemore split has no dev part"}),
            Target(nll=2.0, reason="the makemore split has no dev part"),
        ),
        (fitted(None, []), Target(nll=2.0, reason="targets of dev with p = 0")),
        (fitted(None, [(1.0, 1.5)], status="invalid"), Target(nll=2.0, reason="invalid")),
    ],
)
def test_when_a_target_counts_as_reached(record: Record, found: Target) -> None:
    """By a checkpoint, by the whole fit at most, or not, with the reason."""
    assert to_target(record, 2.0) == found


@pytest.fixture
def unigram(monkeypatch: pytest.MonkeyPatch) -> str:
    """A plugin file with one model, loaded at once: test_registry has the guard."""
    monkeypatch.setattr(registry, "probe", lambda path: None)
    Path("unigram.py").write_text(PLUGIN)
    return "unigram.py"


def test_the_column_of_a_target(unigram: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`s to 3`: seconds, `≤` seconds, or `–` with a note; the record holds the same."""
    models = "unigram,unigram:looks=false,uniform"
    arguments = ["run", "--plugin", unigram, "--models", models, "--in-process", "--target", "3"]
    assert main([*arguments, "--columns", "model,to-target"]) == 0
    out = capsys.readouterr().out
    assert "s to 3" in " ".join(out.split())
    cells = dict(line.split() for line in out.splitlines() if "@numpy" in line and len(line.split()) == 2)
    assert cells["unigram@numpy:looks=False"].startswith("≤")
    assert cells["uniform@numpy"] == "–"
    assert not set("≤–") & set(cells["unigram@numpy"])
    assert "uniform@numpy: did not reach the target: its best dev NLL is 3.2958." in out
    assert main(["show", "--json"]) == 0
    first, second, third = json.loads(capsys.readouterr().out)["records"]
    assert first["target"]["seconds"] == first["curve"][1][0]
    assert second["target"] == {
        "nll": 3.0,
        "seconds": second["timings"]["train_s"],
        "bound": True,
        "reason": None,
    }
    assert third["target"]["seconds"] is None


def test_without_a_target_there_is_no_column(unigram: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing in the table, null in the record."""
    assert main(["run", "--plugin", unigram, "--models", "unigram", "--in-process"]) == 0
    assert "s to" not in capsys.readouterr().out
    assert main(["show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"][0]["target"] is None


@pytest.mark.parametrize("nll", ["0", "-1", "nan", "inf"])
def test_a_target_is_above_zero(nll: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, one line that names it."""
    assert main(["run", "--models", "uniform", f"--target={nll}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("harness: --target")
