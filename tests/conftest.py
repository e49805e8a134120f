"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import environment

os.environ.update({**environment.thread_variables(1), **os.environ})  # before anything loads numpy

from harness import Alphabet, Corpus

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has its own working directory, cache and results, and no network."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_OFFLINE", "1")
    monkeypatch.delenv("HARNESS_RESULTS", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)  # tables are as wide as where there is no terminal


@pytest.fixture(autouse=True, scope="session")
def machine_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What numba compiles is kept for the session, since every test has a cache of its own.

    A process of the test that runs pytest itself is not told that it has a neighbour.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # workers have folders of their own
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
            patch.delenv(name)
        if "NUMBA_CACHE_DIR" not in os.environ:
            patch.setenv("NUMBA_CACHE_DIR", str(shared / "numba"))
        yield


@pytest.fixture
def makemore_path() -> Path:
    """The folder that holds the lectures' data; skips where it is not given."""
    folder = os.environ.get("HARNESS_DATA_DIR")
    if not folder or not (Path(folder) / "makemore-names.txt").is_file():
        pytest.skip("HARNESS_DATA_DIR holds no makemore-names.txt")
    return Path(folder)


@pytest.fixture
def makemore_names(makemore_path: Path) -> tuple[str, ...]:
    """The names of the lectures in their order."""
    return tuple((makemore_path / "makemore-names.txt").read_text().split())


@pytest.fixture
def letters() -> Alphabet:
    """a–z."""
    return Alphabet(LETTERS)


@pytest.fixture
def small(letters: Alphabet) -> Corpus:
    """Six short names, one of them twice."""
    return Corpus.from_documents(["emma", "olivia", "ava", "mia", "ava", "bo"], letters)
