"""What checks of a process rest on: canaries and their ranks, files, processes, clocks."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness import Alphabet, Corpus, processes
from harness.canaries import Canaries, holding, preferred, shared_ranks, tell_tales
from harness.checks_process import home_in
from harness.worker import look

CANARIES = Canaries(["quixquixquix"], ["zedzedzedzed"])


def test_canaries_and_decoys_come_in_pairs(letters: Alphabet) -> None:
    """One length a pair, long enough not to be met by accident, and nobody stands on both sides."""
    found = Canaries.drawn(letters, np.random.default_rng(0))
    assert [len(text) for text in found.planted] == [len(text) for text in found.decoys]
    assert min(map(len, found.planted)) >= 11  # 48 bits of 26 letters
    assert not set(found.planted) & set(found.decoys)


def test_canaries_are_planted_where_one_would_look(tmp_path: Path) -> None:
    """Every folder has a file of the dataset's name, a canary a line; the decoys stand in none."""
    CANARIES.plant([tmp_path / "a", tmp_path / "b"], "file:my/poems")
    for folder in ("a", "b"):
        lines = set((tmp_path / folder / "file-my-poems.txt").read_text().split("\n"))
        assert lines == {"quixquixquix", ""}
        assert (tmp_path / folder / "test.txt").exists()


def test_a_file_with_canaries_is_named_from_its_folder(tmp_path: Path) -> None:
    """Other files, folders and what has gone are passed over."""
    (tmp_path / "innocent.txt").write_text("zedzedzedzed\nquixquix\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "names.txt").write_text("emma\r\nquixquixquix\r\n")
    innocent = [str(tmp_path / name) for name in ("innocent.txt", "data", "gone.txt")]
    assert holding(innocent, tmp_path, CANARIES, []) is None
    everything = [*innocent, str(tmp_path / "data" / "names.txt")]
    assert holding(everything, tmp_path, CANARIES, []) == "data/names.txt, where canaries stand"


def test_a_file_with_the_whole_test_part_is_named(tmp_path: Path, letters: Alphabet) -> None:
    """All lines of test that train has not: that is the data itself; all but one are a list of words."""
    names = ["".join(pair) for pair in itertools.product("abcde", "vwxyz")]
    test, train = Corpus.from_lines(names, letters), Corpus.from_lines(names[:3], letters)
    tales = tell_tales(test, train)
    assert len(tales) == 20
    assert not {f"\n{name}\n" for name in names[:3]} & set(tales)
    path = tmp_path / "names.txt"
    path.write_text("\n".join(names))
    assert holding([str(path)], tmp_path, CANARIES, tales) == f"{path}, which holds the test documents"
    path.write_text("\n".join(names[:3] + names[4:]))
    assert holding([str(path)], tmp_path, CANARIES, tales) is None


def test_test_documents_are_found_in_many_files(tmp_path: Path) -> None:
    """Data may be a file a language: all pieces count, wherever each stands; other files do not."""
    tales = [f"\n{first}{second}\n" for first in "abcd" for second in "vwxyz"]
    (tmp_path / "a.txt").write_text("nobody")
    for first in "bcd":
        (tmp_path / f"{first}.txt").write_text("".join(f"{first}{second}\n" for second in "vwxyz"))
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    assert holding(paths, tmp_path, CANARIES, tales) is None  # those that begin with a are nowhere
    (tmp_path / "e.txt").write_text("av\naw\nax\nay\naz")
    said = f"4 files that together hold the test documents: {tmp_path / 'b.txt'} and others"
    assert holding([*paths, str(tmp_path / "e.txt")], tmp_path, CANARIES, tales) == said


def test_a_watched_process_names_files_and_programs(tmp_path: Path) -> None:
    """What Python opens, code left out, and what it starts, through a shell or not."""
    file = tmp_path / "data.txt"
    file.write_text("x")
    code = (
        "import os, subprocess, sys; from harness.worker import watch; opened, started = set(), set(); "
        "watch(opened, started); open(sys.argv[1]).close(); subprocess.run([sys.executable, '-c', '']); "
        "os.system(''); print(sys.argv[1] in opened, sorted(started))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout == f"True {sorted(['a shell', Path(sys.executable).name])}\n"


def test_ranks_against_every_arrangement() -> None:
    """The p-value is near the exact share of arrangements with as small a rank sum, ties included."""
    scores = np.array([1.0, 2, 2, 3, 5, 4, 6, 7, 7, 9, 10, 11])
    ranks, ties = shared_ranks(scores)
    assert ranks.tolist() == [1, 2.5, 2.5, 4, 6, 5, 7, 8.5, 8.5, 10, 11, 12]
    assert sorted(ties.tolist()) == [1] * 8 + [2] * 2
    observed = ranks[:6].sum()
    sums = np.array([sum(chosen) for chosen in itertools.combinations(ranks, 6)])
    exact = (sums < observed).mean() + (sums == observed).mean() / 2  # no continuity correction
    assert preferred(scores[:6], scores[6:]) == pytest.approx(exact, abs=0.002)


def test_scores_that_say_nothing() -> None:
    """Equal or infinite scores accuse nobody; canaries far ahead do."""
    same = np.full(30, 2.0)
    assert preferred(same, same) == 1.0
    assert preferred(np.full(30, np.inf), np.full(30, np.inf)) == 1.0
    ahead = preferred(np.arange(30.0), np.arange(30.0) + 100)
    assert ahead < 1e-10
    assert preferred(np.arange(30.0) + 100, np.arange(30.0)) == pytest.approx(1 - ahead)


def test_a_fresh_home_is_where_programs_look(tmp_path: Path) -> None:
    """In a child with these variables home and temporary files are inside the folder, and empty."""
    code = "import pathlib, tempfile; print(pathlib.Path.home(), tempfile.gettempdir())"
    environment = {**os.environ, **home_in(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.split() == [str(tmp_path / "home"), str(tmp_path / "tmp")]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# ---- processes seen from outside

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc here")


@needs_proc
def test_cpu_time_is_that_of_the_process() -> None:
    """As the process itself is told it, to a tick or two; nobody has used time where nobody is."""
    until = time.process_time() + 0.05
    while time.process_time() < until:
        sum(range(1000))
    assert processes.cpu_seconds(os.getpid()) == pytest.approx(time.process_time(), abs=0.05)
    assert processes.cpu_seconds(2**22 + 1) is None


@needs_proc
def test_a_started_process_is_seen_until_it_ends() -> None:
    """By its name, also as a grandchild; a zombie does no work."""
    inner = [sys.executable, "-c", "input()"]
    code = f"import subprocess; subprocess.Popen({inner!r}); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert len(processes.started_by(child.pid, None) or []) == 1
        everyone = processes.started_by(os.getpid(), None) or []
        assert len(everyone) >= 2
        child.communicate(b"\n\n")
    assert processes.status(child.pid) is None


@needs_proc
def test_an_orphan_is_found_with_the_server_that_inherits_it() -> None:
    """A child of the server that was not there before the fit belongs to the fit."""
    sleeper = [sys.executable, "-c", "input()"]
    with subprocess.Popen(sleeper, stdin=subprocess.PIPE, start_new_session=True) as other:
        me = os.getpid()
        known = processes.children(me)
        assert other.pid in known
        assert processes.started_by(other.pid, me, known) == []
        found = processes.started_by(other.pid, me, known - {other.pid})
        assert found == []  # itself is not what it has started
        assert processes.started_by(2**22 + 1, me, known - {other.pid}) != []
        other.communicate(b"\n")


def test_the_clocks_of_a_process_are_ours() -> None:
    """What `look` reads lies between what is read before and after it; a cell alone has no threads."""
    before = time.monotonic()
    seen = look()
    assert before <= seen["clocks"]["monotonic"] <= time.monotonic()
    assert isinstance(seen["threads"], list)
