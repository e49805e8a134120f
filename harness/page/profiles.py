"""Where a model loses its nats: NLL by position in the document and by character, rescored for the page.

A run stores one sum a document. Where its parameters and its data are here, the models score the test
part again, target by target; sums that differ from the stored ones are left out. Bounded in time, and
kept in the cache: an immutable run gives the same figures for ever.
"""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness import evaluate, program, selection
from harness.compare import Standing
from harness.corpus import Corpus
from harness.errors import HarnessError
from harness.labels import called_row
from harness.notebook import Result
from harness.record import Record

VERSION = 1  # of what is kept in the cache
MOST = 16  # models
CLOSE = 1e-3  # nats by which a document's sum may differ from the stored one: float32 in another batch
POSITIONS = 60  # of running text and of longer documents nothing further is drawn

Float64s = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Profile:
    """−ln p of one model, summed over the targets at a position, and over those that are a character."""

    name: str
    positions: Float64s = field(repr=False)  # (P,) the first character of a document is at 0
    characters: Float64s = field(repr=False)  # (V,) the end of a document is at 0


@dataclass(frozen=True, eq=False)
class Profiles:
    """Models that can be put side by side, and how many targets each sum is over."""

    models: Sequence[Profile]
    at: NDArray[np.int64] = field(repr=False)  # (P,) targets at a position; P = 0 for running text
    of: NDArray[np.int64] = field(repr=False)  # (V,) targets that are a character
    alphabet: str
    left_out: Sequence[str] = ()  # who, and why


def where(corpus: Corpus) -> NDArray[np.int64]:
    """The position of each target in its document (N,), from 0."""
    starts = np.repeat(corpus.offsets[:-1], corpus.lengths)
    found: NDArray[np.int64] = np.arange(corpus.targets) - starts
    return found


def fold(name: str, scored: Float64s, corpus: Corpus) -> Profile:
    """−ln p of every target (N,) -> its sums by position and by character."""
    v = corpus.alphabet.size
    positions: Float64s = np.zeros(0)
    if corpus.kind == "lines":
        positions = np.bincount(where(corpus), scored)[:POSITIONS].astype(np.float64)
    return Profile(name, positions, np.bincount(corpus.tokens[1:], scored, v).astype(np.float64))


def profiles(
    rows: Sequence[Standing],
    owner: Mapping[str, Result],
    test: Corpus,
    cache: Path,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Profiles:
    """The first repeat of each row; owner: run id -> the run that holds it.

    A model whose evaluation took longer than what is left of `seconds` when it was run is not begun.
    """
    found: list[Profile] = []
    left_out: list[str] = []
    began = clock()
    for row in [row for row in rows if row.record.status == "ok"][:MOST]:
        record, name = row.record, called_row(row)
        kept = cache / f"{key(record)}.npz"
        profile = load(kept, name)
        if profile is None:
            needed, left = record.timings.evaluate_s or 0.0, seconds - (clock() - began)
            if needed > left:
                left_out.append(
                    f"{name}: its evaluation took {needed:.3g} s, and {max(left, 0):.3g} s are left"
                )
                continue
            answer = rescored(owner[record.run_id], record, test)
            if isinstance(answer, str):
                left_out.append(f"{name}: {answer}")
                continue
            profile = fold(name, answer, test)
            save(kept, profile)
        found.append(profile)
    of = np.bincount(test.tokens[1:], minlength=test.alphabet.size)
    at = np.bincount(where(test))[:POSITIONS] if test.kind == "lines" else np.zeros(0, np.int64)
    return Profiles(found, at, of, test.alphabet.characters, left_out)


def rescored(run: Result, record: Record, test: Corpus) -> Float64s | str:
    """−ln p of every test target (N,) under the stored model, or why there is none."""
    if record.backend != program.BACKEND and record.model not in run.registry.models:
        return f"its plugin {record.plugin.distribution} is not here (--plugin names its file)"
    try:
        spec = run.registry.model(record.model, record.backend)
        choice = selection.with_members(run.registry, selection.Choice(spec, record.backend, record.config))
        if choice.runs_program:  # the run file may be a stranger's
            return "it is an external program, and a page starts none"
        model = run.model(record)
        stored = run.run.scores(record)
        if model is None or stored is None:
            return "its parameters or its scores were not kept"
        scored = evaluate.score_targets(model, test, spec.context_of(record.config))
    except HarnessError as error:
        return str(error)
    except Exception as error:  # code of a plugin, which may have changed since the run
        return f"{type(error).__name__}: {error}"
    sums = evaluate.gathered(scored, test).sums
    if sums.shape != stored["test_sums"].shape or not np.allclose(
        sums, stored["test_sums"], rtol=0, atol=CLOSE
    ):
        return "it scores otherwise than in the run: its code has changed"
    return scored


# ---- the cache


def key(record: Record) -> str:
    """What the figures depend on: the record holds config, data, seed and the hash of the code."""
    return hashlib.sha256(b"%d %s" % (VERSION, msgspec.json.encode(record))).hexdigest()


def load(path: Path, name: str) -> Profile | None:
    """What an earlier report has kept; None where there is nothing, or nothing readable."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Profile(name, arrays["positions"], arrays["characters"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def save(path: Path, profile: Profile) -> None:
    """Keep it for the next report; a cache that cannot be written is done without."""
    partial = path.with_suffix(".part")
    arrays: dict[str, Any] = {"positions": profile.positions, "characters": profile.characters}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        partial.replace(path)
    except OSError:
        return
