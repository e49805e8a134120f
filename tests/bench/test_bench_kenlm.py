"""N-grams against KenLM (Heafield 2011), and reading their rows against a copy of as many floats.

HARNESS_LMPLZ, HARNESS_KENLM_QUERY: its programs; HARNESS_KENLM_PYTHON: an interpreter with its module. What
is not given is held to the figures of 2026 on two x86 cores, and the row's note says so.

python -m pytest tests/bench/test_bench_kenlm.py --benchmark-only -s
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import run

from harness import Corpus, Trial, evaluate, runner
from harness_plugins.ngram_numba import NgramNumba
from harness_plugins.ngram_states import States

QUOTED_FIT = 0.134  # s, `lmplz -o 6` on the lecture's training names
QUOTED_QUERY, QUOTED_SCORE = 15e6, 8e6  # characters a second, without reading the model
CHARACTERS, STREAMS = 100_000_000, 20_000
OPTIONS = ("-o", "6", "--discount_fallback")
SMALL, BIG = ("-S", "64M"), ("-S", "1G")  # where lmplz is fastest: by default it touches most of the memory
ENDS = {" ": "_", "\n": "|"}  # words of KenLM hold no white space; neither stands in the text


def keep(benchmark: Any, **row: Any) -> None:
    """The row of the table, from the figures of both sides."""
    better = (row["peer_value"], row["ours"]) if row["unit"] == "s" else (row["ours"], row["peer_value"])
    benchmark.extra_info |= row | {"ratio": better[0] / better[1]}
    share = "" if row["floor_share"] is None else f", {100 * row['floor_share']:.0f} % of the floor"
    print(  # noqa: T201
        f"\n{row['row']}: ours {row['ours']:.4g}, {row['peer']} {row['peer_value']:.4g} {row['unit']}: "
        f"{better[0] / better[1]:.2f}×{share}; {row['note']}"
    )
    assert better[0] / better[1] >= row["least"]


def spaced(text: str) -> str:
    """Characters as words."""
    return " ".join(ENDS.get(character, character) for character in text)


def model_of(data: str, method: str) -> tuple[NgramNumba, Corpus, Corpus]:
    """`ngram@numba:order=6` as the harness makes it, train and dev."""
    made = runner.plan("ngram@numba:order=6", data=data, method=method)
    choice = made.cells[0].choice
    parts = made.split_for(choice)
    model = NgramNumba(parts.train.alphabet.size, choice.config, np.random.default_rng(0))
    model.context = 5
    return model, parts.train, parts.dev.corpus


def least(function: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    """The least seconds of some calls."""
    times = []
    for _ in range(repeats):
        before = clock()
        function()
        times.append(clock() - before)
    return min(times)


def moved_a_second(numbers: int = 1 << 22) -> float:
    """Bytes read and written a second in a copy of 32 MB."""
    source = np.ones(numbers)
    into = np.empty_like(source)
    return 16 * numbers / least(lambda: np.copyto(into, source), 9, time.thread_time)


def floor_of(targets: int, v: int, parameters: int) -> float:
    """Seconds for what must be moved, at the rate of a copy.

    Every n-gram is written once, and read twice and written once by each pass of the sort; parameters (bytes)
    are written once, the counts that they are made of as well.
    """
    passes = -(-(6 * max(1, (v - 1).bit_length())) // 11)
    return (8 * targets * (1 + 3 * passes) + 2 * parameters) / moved_a_second()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place for hundreds of megabytes that goes with the test."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_order_six_on_names(benchmark: Any, makemore_path: Path, folder: Path) -> None:
    """A fit after warm-up, by the wall clock, is not slower than the whole process of `lmplz`."""
    model, train, dev = model_of("makemore-names", "lecture")
    model.warm_up(train.take(np.arange(64)), Trial())
    (folder / "names").write_text("".join(f"{spaced(train.text(i))}\n" for i in range(len(train))))
    lmplz = os.environ.get("HARNESS_LMPLZ")
    command = [str(lmplz), *OPTIONS, *SMALL, "-T", str(folder)]
    theirs, ours = [], []
    for _ in range(9):  # in turns
        if lmplz:
            theirs.append(run(command, folder / "names", folder / "arpa").wall)
        ours.append(least(lambda: model.fit(train, dev, Trial()), 3, time.perf_counter))
    benchmark.pedantic(lambda: model.fit(train, dev, Trial()), rounds=9)
    size = sum(array.nbytes for array in model.params.values())
    keep(
        benchmark,
        row="ngram modified KN, order 6, fit on makemore-names after warm-up",
        peer="lmplz -o 6, whole process",
        peer_value=min(theirs, default=QUOTED_FIT),
        ours=min(ours),
        unit="s",
        least=1.0,
        aim=3.0,
        floor_share=floor_of(train.targets, train.alphabet.size, size) / min(ours),
        note="measured in turns, lmplz with -S 64M, its fastest"
        if lmplz
        else "HARNESS_LMPLZ is not set: held to the quoted figure",
    )


def write_text(words: Path, text: Path) -> None:
    """100 MB drawn from order 6 on tinyshakespeare, seeded; and its characters as words, on one line."""
    model, train, _ = model_of("tinyshakespeare", "contiguous")
    model.fit(train, train, Trial())
    states = model.readable()
    assert isinstance(states, States)
    upper = np.cumsum(np.exp(states.rows[:, 1:]), axis=1)  # (S, V − 1) of characters, the boundary left out
    upper = (upper / upper[:, -1:]).astype(np.float32)
    rng = np.random.default_rng(0)
    state = np.full(STREAMS, states.start)
    drawn = np.empty((CHARACTERS // STREAMS, STREAMS), np.uint8)
    for step in range(len(drawn)):
        below = upper[state] < rng.random(STREAMS, np.float32)[:, None]
        drawn[step] = 1 + np.minimum(below.sum(axis=1), upper.shape[1] - 1)
        state = states.next[state, drawn[step]]
    points = np.frombuffer(f"?{train.alphabet.characters}".encode("ascii"), np.uint8)
    characters = points[drawn.T.ravel()]
    text.write_bytes(characters.tobytes())
    for old, new in ENDS.items():
        characters[characters == ord(old)] = ord(new)
    between = np.full((len(characters), 2), ord(" "), np.uint8)
    between[:, 0] = characters
    between[-1, 1] = ord("\n")
    words.write_bytes(between.tobytes())


@pytest.fixture
def lmplz() -> str:
    """The program: what is compared with no quoted figure fails without it."""
    program = os.environ.get("HARNESS_LMPLZ")
    if not program:
        pytest.fail("HARNESS_LMPLZ is not set, and no figure for 100 MB is quoted")
    return program


@pytest.mark.timeout(900)
def test_a_hundred_megabytes_cold(lmplz: str, benchmark: Any, makemore_path: Path, folder: Path) -> None:
    """Whole processes on both sides, ours with nothing compiled: at most twice the seconds of `lmplz`."""
    words, text, parameters = folder / "words", folder / "text", folder / "parameters.npz"
    write_text(words, text)
    theirs = run([lmplz, *OPTIONS, *BIG, "-T", str(folder)], words, folder / "arpa")
    program = str(Path(__file__).with_name("fit_text.py"))
    command = [sys.executable, program, "ngram@numba:order=6", str(text), str(parameters)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMBA_CACHE_DIR", str(folder / "numba"))
        cold = run(command)
        again = benchmark.pedantic(lambda: run(command), rounds=1)
    keep(
        benchmark,
        row="… on a 100 MB text, cold, whole process on both sides",
        peer="lmplz -o 6, whole process",
        peer_value=theirs.wall,
        ours=cold.wall,
        unit="s",
        least=0.5,
        aim=1.5,
        floor_share=floor_of(CHARACTERS, 66, parameters.stat().st_size) / cold.wall,
        note=f"nothing compiled before, lmplz with -S 1G; with machine code kept {again.wall:.1f} s. "
        f"Processor seconds: ours {cold.cpu:.1f} and {again.cpu:.1f}, lmplz {theirs.cpu:.1f}. "
        f"Memory at most: ours {cold.memory / 1e9:.1f} GB, lmplz {theirs.memory / 1e9:.1f}",
    )


SCORE = """
import sys, time, kenlm
model, lines = kenlm.Model(sys.argv[1]), open(sys.argv[2]).read().splitlines()
before = time.process_time()
total = sum(model.score(line) for line in lines)
print(time.process_time() - before)
"""


def test_target_probabilities(benchmark: Any, makemore_path: Path, folder: Path) -> None:
    """Characters a second inside the model: as many as KenLM's Python `score()`; aim: twice its `query`.

    dev's names 200 times over. Theirs reads words, ours tokens; reading the model is left out on both sides.
    """
    model, train, dev = model_of("makemore-names", "lecture")
    model.fit(train, dev, Trial())
    many = 200
    tokens = np.concatenate([dev.tokens[:1], np.tile(dev.tokens[1:], many)])
    offsets = np.concatenate([[0], np.cumsum(np.tile(dev.lengths, many))])
    text = Corpus(tokens, offsets, dev.alphabet)
    seconds = least(lambda: model.target_log_probs(text), 9, time.thread_time)
    benchmark.pedantic(lambda: model.target_log_probs(text), rounds=9)
    names = "".join(f"{spaced(dev.text(i))}\n" for i in range(len(dev)))
    (folder / "one").write_text(names)
    (folder / "many").write_text(names * many)
    (folder / "train").write_text("".join(f"{spaced(train.text(i))}\n" for i in range(len(train))))
    lmplz, query, python = (
        os.environ.get(f"HARNESS_{name}") for name in ("LMPLZ", "KENLM_QUERY", "KENLM_PYTHON")
    )
    rate, scored = QUOTED_QUERY, QUOTED_SCORE
    if lmplz and (query or python):
        run([lmplz, *OPTIONS, *SMALL, "-T", str(folder)], folder / "train", folder / "arpa")
    if lmplz and query:
        command = [query, "-v", "summary", str(folder / "arpa")]
        one, more = (
            min(run(command, folder / name, folder / "said").cpu for _ in range(5))
            for name in ("one", "many")
        )
        rate = dev.targets * (many - 1) / (more - one)
        found = re.search(r"Perplexity including OOVs:\s*(\S+)", (folder / "said").read_text())
        assert found
        assert float(found[1]) == pytest.approx(np.exp(-model.target_log_probs(dev).mean()), rel=1e-4)
    if lmplz and python:
        asked = [python, "-c", SCORE, str(folder / "arpa"), str(folder / "many")]
        scored = dev.targets * many / min(float(subprocess.check_output(asked)) for _ in range(3))
    keep(
        benchmark,
        row="… scoring inside the model, target probabilities only",
        peer="KenLM's command line, query",
        peer_value=rate,
        ours=text.targets / seconds,
        unit="characters/s",
        least=scored / rate,
        aim=2.0,
        floor_share=None,
        note=f"least: Python score(), {scored / 1e6:.1f} M/s; "
        f"{'measured' if lmplz and query else 'quoted'} and {'measured' if lmplz and python else 'quoted'}; "
        "processor seconds",
    )


def test_rows_through_the_contract(benchmark: Any, makemore_path: Path) -> None:
    """`log_probs` of dev's names, as the harness asks for them, against copying as many floats."""
    model, train, dev = model_of("makemore-names", "lecture")
    model.fit(train, dev, Trial())
    asked = [dev.batch(documents).inputs for documents in evaluate.batches(dev)]
    count = sum(inputs.size for inputs in asked)
    floats = [np.ones((inputs.size, dev.alphabet.size)) for inputs in asked]
    into = [np.empty_like(each) for each in floats]

    def read() -> None:
        for inputs in asked:
            model.log_probs(inputs)

    def copy() -> None:
        for one, other in zip(into, floats, strict=True):
            np.copyto(one, other)

    pairs = [
        (least(read, 3, time.thread_time), least(copy, 3, time.thread_time)) for _ in range(30)
    ]  # in turns
    benchmark.pedantic(read, rounds=9)
    reading, copying = (min(each) for each in zip(*pairs, strict=True))
    keep(
        benchmark,
        row="… and through the contract",
        peer="its own floor: a copy of V floats a row",
        peer_value=count / copying,
        ours=count / reading,
        unit="rows/s",
        least=0.0,
        aim=0.5,
        floor_share=copying / reading,
        note=f"float64, V = 27; {count / dev.targets:.2f} rows a target, padding included; at least: stated",
    )
