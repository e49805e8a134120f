"""The rogues' gallery: every rogue is caught by the check that names it, no honest model is accused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from exhibits import FOLDER, HONEST, ROGUES, Honest, Rogue
from gallery import Log, examined, law, opened, table

from harness import audit, registry
from harness.checks_law import LEVEL
from harness.engine import Engine

AUDITED = [rogue for rogue in ROGUES if rogue.caught_by != "run"]
FEW = "markov:documents=300"  # quicker than names
SHORT = ("normalised", "causal", "context", "batch-independent", "stateless", "save, load", "alphabet")
LIMIT = 240.0  # seconds a check: what only hangs must end, and the first one of a kind compiles
WATCHED = ("no test in fit", "cold and warm agree", "nothing off the clock")


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The servers of all cells here, whose home is a temporary folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        with Engine(1) as engine:
            yield engine


@pytest.mark.parametrize("rogue", AUDITED, ids=lambda rogue: rogue.model)
def test_a_rogue_is_caught_by_the_check_that_names_it(rogue: Rogue, processes: Engine) -> None:
    """The check fails, says why, and the exit code of an audit is 5."""
    found, code = examined(rogue, 0, processes, "names" if rogue.file == "laws" else FEW)
    assert found.name == rogue.caught_by
    assert found.outcome == "fail", found
    assert rogue.said in found.text
    assert code == rogue.exit_code


@pytest.mark.parametrize("honest", HONEST, ids=lambda honest: honest.model)
def test_no_honest_model_is_accused(honest: Honest, processes: Engine) -> None:
    """A short audit of every model that is only slow, odd or random: nothing fails."""
    if honest.small.startswith(("mlp@torch", "bow", "rnn", "gru", "lstm", "trans", "micro", "wave")):
        pytest.importorskip("torch")
    with opened(honest.small or honest.model, honest.plugin, 0, processes, FEW) as made:
        found = [audit.examine(made, name, LIMIT) for name in SHORT]
    assert [str(finding) for finding in found if finding.outcome == "fail"] == []


@pytest.mark.parametrize("check", WATCHED)
@pytest.mark.parametrize("model", ["two-threads", "early-stopping", "caches-tables"])
def test_an_honest_process_is_not_accused(model: str, check: str, processes: Engine) -> None:
    """Threads that are joined, checkpoints and tables that are kept are no crimes."""
    with opened(model, FOLDER / "honest.py", 0, processes, FEW) as made:
        found = audit.examine(made, check, LIMIT)
    assert found.outcome == "pass", found


def test_work_left_for_the_exit_never_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: Engine
) -> None:
    """Neither a forked cell nor one of its own interpreter runs what a model registered with `atexit`."""
    mark = tmp_path / "written"
    with opened("works-at-exit", FOLDER / "processes.py", 0, processes, FEW) as made:
        for place in ({"environment": {"ROGUE_FILE": str(mark)}, "cwd": tmp_path}, {}):
            with made.process(**place) as make:
                child = made.fit(make).child
            assert child.poll() == 0
    assert not mark.exists()


def test_every_check_has_a_rogue() -> None:
    """Every check of an audit is the one that catches somebody, and there are enough of both kinds."""
    assert {rogue.caught_by for rogue in ROGUES} - {"run"} == set(audit.CHECKS)
    assert len({rogue.model for rogue in ROGUES}) == len(ROGUES) >= 24
    assert len(HONEST) >= 12


def test_every_model_of_a_plugin_file_hangs_in_the_gallery() -> None:
    """No rogue is written and then not shown; `fine` is what rogues of cells do beside their crime."""
    hung = {(exhibit.plugin, exhibit.model) for exhibit in (*ROGUES, *HONEST) if exhibit.plugin}
    there = {
        (file, model)
        for file in FOLDER.glob("*.py")
        for model in registry.discover([file], guard_files=False).plugins[-1].models
    }
    assert there - hung == {(FOLDER / "cells.py", "fine")}


def test_every_built_in_model_is_among_the_honest() -> None:
    """All models of the package are audited, the MLP on each of its backends."""
    built_in = {exhibit.model.partition(":")[0] for exhibit in HONEST if exhibit.file is None}
    assert {name.partition("@")[0] for name in built_in} == set(registry.discover().models)
    assert {"mlp@numpy", "mlp@torch", "mlp@scalar"} <= built_in


def test_a_known_law_is_accepted_and_one_at_another_temperature_is_not() -> None:
    """Of four `markov` sources, half the documents of an audit: all true samplers pass, none at 1.05."""
    documents = 10_000
    assert [run for run in range(4) if law(1.0, run, documents).p <= LEVEL] == []
    assert [run for run in range(4) if law(1.05, run, documents).p > LEVEL] == []


def test_the_command_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    """Lines that are there are not made again, and a line torn by the stop is taken off."""
    line = {"part": "law", "model": "hot", "check": "sampler obeys the law", "seed": 0, "rejected": True}
    (tmp_path / "gallery.jsonl").write_text(json.dumps(line) + '\n{"part": "la')
    log = Log(tmp_path)
    assert not log.wants(part="law", model="hot", check="sampler obeys the law", seed=0)
    assert log.wants(part="law", model="hot", check="sampler obeys the law", seed=1)
    log.write({**line, "seed": 1})
    assert [json.loads(text)["seed"] for text in log.path.read_text().splitlines()] == [0, 1]


def test_the_table_counts_what_was_found(tmp_path: Path) -> None:
    """A row an exhibit: seeds caught, exit code and words of a rogue; outcomes of an honest model."""
    log = Log(tmp_path)
    rogue = {"part": "rogues", "model": "peeks", "check": "causal", "exit": 5, "text": "a|b"}
    for seed, caught in enumerate((True, True, False)):
        log.write({**rogue, "seed": seed, "caught": caught})
    for seed, outcome in enumerate(("pass", "n/a", "pass")):
        log.write({"part": "honest", "model": "slow", "check": "x", "seed": seed, "outcome": outcome})
    lines = table(log).splitlines()
    crime = "Where the next input is there to be seen, it is likely."
    assert f"| `peeks` | {crime} | causal | 2 of 3 | 5 | a&#124;b |" in lines
    assert "| `slow` | Takes its time for every call and every fit. | 3 | 2 | 1 | 0 |" in lines
