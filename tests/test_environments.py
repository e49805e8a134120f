"""Base and head side by side: what a sample is, and the order of pairs."""

from __future__ import annotations

import re
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import environments, store
from harness.environments import Environment
from harness.errors import UsageError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> store.Run:
    """A run of one cell."""
    folder = tmp_path_factory.mktemp("made")
    return harness.run("uniform", results=folder, in_process=True).run


def fake(folder: Path, run: store.Run, then: str = "") -> Path:
    """A `python` that notes its arguments and environment, and leaves a run where it is told to."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        "#!/bin/sh\n"
        f'printf "%s\\n" "$@" > {folder}/arguments\n'
        f"env > {folder}/environment\n"
        'for word; do [ "$before" = --results ] && place=$word; before=$word; done\n'
        f"{then or f'cp {run.path} $place'}\n"
    )
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return folder


def test_a_sample_is_one_process_of_that_environment(
    tmp_path: Path, made: store.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`PATH/bin/python -m harness run` with the models, a new folder, and the record read from it."""
    where = environments.opened(fake(tmp_path / "base", made), ["--dataset", "names"])
    first, second = (where.run(["mlp@numpy:hidden=8", "ngram"], 3, tmp_path) for _ in range(2))
    assert isinstance(first, store.Run)
    assert isinstance(second, store.Run)
    assert first.records == made.records
    assert first.path.parent != second.path.parent
    words = (tmp_path / "base" / "arguments").read_text().split("\n")
    assert words[:9] == [
        *("-m", "harness", "run", "--models", "mlp@numpy:hidden=8", "--models", "ngram", "--seeds", "3")
    ]
    assert words[9:13] == ["--dataset", "names", "--results", str(second.path.parent)]


def test_no_environment_imports_the_working_directory(
    tmp_path: Path, made: store.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PYTHONPATH is taken away and the folder of `-m` is not searched: else both would be the same code."""
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("HARNESS_DATA_DIR", "/data")
    environments.opened(fake(tmp_path / "base", made), []).run(["uniform"], 1, tmp_path)
    lines = (tmp_path / "base" / "environment").read_text().splitlines()
    assert "PYTHONSAFEPATH=1" in lines
    assert "HARNESS_DATA_DIR=/data" in lines
    assert not [line for line in lines if line.startswith("PYTHONPATH=")]


def test_a_process_that_leaves_no_run_is_told_with_its_last_line(tmp_path: Path, made: store.Run) -> None:
    """Its exit code and what it said; as a sample it ends the gate."""
    folder = fake(tmp_path / "base", made, "echo some >&2; echo harness: unknown model >&2; exit 2")
    where = environments.opened(folder, [])
    said = where.run(["x"], 1, tmp_path)
    assert said == f"{folder}/bin/python: harness run ended with 2: harness: unknown model"
    with pytest.raises(UsageError, match="ended with 2: harness: unknown model"):
        environments.sample(where, "x", tmp_path)


def test_a_folder_without_python_is_no_environment(tmp_path: Path) -> None:
    """The line names the folder."""
    with pytest.raises(UsageError, match=rf"{re.escape(str(tmp_path))} is no virtual environment"):
        environments.opened(tmp_path, [])


class Measured:
    """Stands for processes: notes which environment ran which model, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, made: store.Run) -> None:
        self.calls: list[tuple[str, str]] = []
        self.base, self.head = (Environment(Path(name), ()) for name in ("base", "head"))

        def sample(where: Environment, name: str, folder: Path) -> Any:
            self.calls.append((where.python.name, name))
            return f"{where.python.name} {name}"

        monkeypatch.setattr(environments, "sample", sample)

    def pairs(self, models: Sequence[str], wanted: Any = lambda pairs: True, seed: int = 0) -> Any:
        """What `paired` gives, at looks of 4 and 8 pairs."""
        return environments.paired(self.base, self.head, models, [4, 8], wanted, seed)


def test_pairs_are_interleaved_in_random_order(monkeypatch: pytest.MonkeyPatch, made: store.Run) -> None:
    """The two of a pair run one after the other, models take turns, both orders occur; a seed repeats it."""
    measured = Measured(monkeypatch, made)
    found = measured.pairs(["a", "b"])
    assert {name: len(pairs) for name, pairs in found.items()} == {"a": 8, "b": 8}
    assert all(pair == ("base a", "head a") for pair in found["a"])
    twos = list(zip(measured.calls[::2], measured.calls[1::2], strict=True))
    assert all(one[1] == other[1] and {one[0], other[0]} == {"base", "head"} for one, other in twos)
    rounds = [{twos[i][0][1], twos[i + 1][0][1]} for i in range(0, len(twos), 2)]
    assert rounds == [{"a", "b"}] * 8
    assert {one[0] for one, _ in twos} == {"base", "head"}
    assert len({twos[i][0][1] for i in range(0, len(twos), 2)}) == 2
    calls, measured.calls = measured.calls, []
    measured.pairs(["a", "b"])
    assert measured.calls == calls
    measured.calls = []
    measured.pairs(["a", "b"], seed=1)
    assert measured.calls != calls


def test_a_model_leaves_at_a_look_that_decides(monkeypatch: pytest.MonkeyPatch, made: store.Run) -> None:
    """The others go on to the last look."""
    measured = Measured(monkeypatch, made)
    found = measured.pairs(["a", "b"], lambda pairs: pairs[0][0] == "base b")
    assert {name: len(pairs) for name, pairs in found.items()} == {"a": 4, "b": 8}


def test_a_name_that_stands_for_several_cells_is_refused(tmp_path: Path, made: store.Run) -> None:
    """A sample is one record."""
    two = store.read(shutil.copy(made.path, tmp_path / "two.jsonl"))
    two.records.append(two.records[0])
    where = Environment(Path("x"), ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environment, "run", lambda *_: two)
        with pytest.raises(UsageError, match="all names 2 cells, not one"):
            environments.sample(where, "all", tmp_path)
