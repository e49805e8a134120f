"""Checks of a fit and of what it leaves: seeds, parameters, alphabet, backends."""

from __future__ import annotations

import io
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.contract import Ints, Model
from harness.corpus import BOUNDARY, Alphabet
from harness.errors import DataError
from harness.evaluate import Float64s
from harness.moves import Mask, Moves, different, last_rows, numbers, some_inputs, whole_rows
from harness.registry import missing
from harness.seeds import derive
from harness.subject import Finding, Subject

ODD = {"é": "é", "an astral character": "\U0001d11e", "NUL": "\0", "a lone surrogate": "\ud800"}
SEEDS = 3


def check_deterministic(subject: Subject) -> Finding:
    """Two fits in processes of their own, of one seed: the same parameters and rows, bit for bit.

    The second is a new interpreter with another hash seed and another working directory. A spec that
    says `deterministic=False` is told what was seen; its rows speak from five seeds on.
    """
    name = "deterministic"
    inputs, mask = some_inputs(subject, name)
    first = subject.fitted
    rows, params = whole_rows(first, inputs, mask), first.fetch()
    with (
        tempfile.TemporaryDirectory(prefix="harness-audit-") as folder,
        subject.process(environment={"PYTHONHASHSEED": "4242"}, cwd=Path(folder), afresh=True) as make,
    ):
        second = subject.fit(make)
        problem = different(params, second.fetch()) or same_bits(rows, whole_rows(second, inputs, mask))
    if not subject.choice.spec.deterministic:
        seen = f"two fits differ in {problem}" if problem else "two fits are equal to the bit"
        return Finding(name, "n/a", f"declared deterministic=False (so five seeds a row); {seen}")
    if problem:
        return Finding(name, "fail", f"a second fit with the same seed differs in {problem}")
    return Finding(
        name, "pass", f"two fits of {subject.steps} steps: {numbers(params)} and all rows bit-equal"
    )


def same_bits(rows: Float64s, again: Float64s) -> str | None:
    """The first row that is not the same to the bit, or None."""
    unequal = np.argwhere(rows != again)
    if not len(unequal):
        return None
    b, t, token = unequal[0].tolist()
    values = float(again[b, t, token]), float(rows[b, t, token])
    return f"row {t}, ln p of character {token}: {values[0]!r}, was {values[1]!r}"


def check_seed_honoured(subject: Subject) -> Finding:
    """`stochastic=True`: three seeds give three models; `False`: three seeds give one.

    Not applicable where the spec does not say; the line says which was seen.
    """
    name, declared = "seed honoured", subject.choice.spec.stochastic
    inputs, mask = some_inputs(subject, name)
    seen = [(whole_rows(subject.fitted, inputs, mask), subject.fitted.fetch())]
    with subject.process() as make:
        for repeat in range(1, SEEDS):
            model = subject.fit(make, derive(subject.fit_seed, repeat))
            seen.append((whole_rows(model, inputs, mask), model.fetch()))
    pairs = [(i, j) for j in range(SEEDS) for i in range(j)]
    apart = {(i, j): different(seen[i][1], seen[j][1]) or same_bits(seen[i][0], seen[j][0]) for i, j in pairs}
    equal = [f"{i + 1} and {j + 1}" for (i, j), how in apart.items() if how is None]
    unequal = [f"{i + 1} and {j + 1} in {how}" for (i, j), how in apart.items() if how is not None]
    if declared is None:
        said = f"all {SEEDS} seeds differ" if not equal else f"seeds {equal[0]} are equal"
        said = f"all {SEEDS} seeds are equal" if not unequal else said
        return Finding(name, "n/a", f"stochastic is not declared; {said}")
    if declared and equal:
        return Finding(
            name, "fail", f"stochastic=True, but seeds {equal[0]} give the same model, bit for bit"
        )
    if not declared and unequal:
        return Finding(name, "fail", f"stochastic=False, but seeds {unequal[0]}")
    return Finding(name, "pass", f"{SEEDS} seeds {'differ' if declared else 'are equal'}")


def check_save_load(subject: Subject) -> Finding:
    """Parameters through a file into a new instance in another process: the same rows.

    Bound: the spec's tolerance.
    """
    inputs, mask = some_inputs(subject, "save, load")
    params = subject.fitted.fetch()
    rows = whole_rows(subject.fitted, inputs, mask)
    file = io.BytesIO()
    np.savez(file, *params.values())
    size = file.tell()
    file.seek(0)
    with np.load(file, allow_pickle=False) as stored, subject.process() as make:
        model = make(derive(subject.fit_seed, "another seed"))
        model.params = {key: stored[f"arr_{i}"] for i, key in enumerate(params)}
        moves = compared(subject, model, inputs, mask, rows, "loaded")
    return moves.finding("save, load", f"{numbers(params)}, {size:,} bytes")


def compared(subject: Subject, model: Model, inputs: Ints, mask: Mask, rows: Float64s, how: str) -> Moves:
    """Rows (B, T, V) against those of another instance, by `log_probs` and `next_log_probs`."""
    moves = Moves(subject.tolerance)
    moves.compare(rows, whole_rows(model, inputs, mask), how, inputs.shape[1])
    moves.compare(rows[:, :1], last_rows(model, inputs[:, :1]), f"{how}, next_log_probs", 1)
    return moves


def check_alphabet(subject: Subject) -> Finding:
    """The declared alphabet holds all data; a document can end; odd characters are refused by name.

    End: the boundary has p > 0 after some held-out prefix (line data). Odd: é, an astral character,
    NUL and a lone surrogate, where the alphabet has them not.
    """
    name, alphabet = "alphabet", subject.alphabet
    parts = subject.parts
    for part, corpus in (("train", parts.train), ("dev", parts.dev.corpus), ("test", parts.test.corpus)):
        if int(corpus.tokens.max(initial=0)) >= alphabet.size or corpus.alphabet != alphabet:
            return Finding(name, "fail", f"{part} holds a character that the alphabet does not name")
    for what, character in ODD.items():
        if problem := unclear(alphabet, what, character):
            return Finding(name, "fail", problem)
    said = f"V = {alphabet.size} holds all data; odd characters are refused by name"
    if parts.train.kind != "lines":
        return Finding(name, "pass", f"{said}; running text has no end to reach")
    inputs, mask = some_inputs(subject, name)
    ends = whole_rows(subject.fitted, inputs, mask)[mask][:, BOUNDARY]  # (N,)
    if not np.isfinite(ends).any():
        return Finding(name, "fail", f"no document can end: p = 0 after each of {len(ends):,} prefixes")
    return Finding(name, "pass", f"{said}; the end has p up to {np.exp(ends.max()):.3g}")


def unclear(alphabet: Alphabet, what: str, character: str) -> str | None:
    """What is wrong with the answer to a character that is not in the alphabet, or None."""
    if character in alphabet.characters:
        return None
    try:
        alphabet.encode(character)
    except DataError as error:
        return None if ascii(character) in str(error) else f"the error does not name {what}: {error}"
    return f"{what} is taken for a character of the alphabet"


def check_backends_agree(subject: Subject) -> Finding:
    """The same parameters under every backend that can run here give the same rows.

    Bound: the spec's tolerance. Not applicable where there is one backend.
    """
    name, choice = "backends agree", subject.choice
    absent = {each: missing(choice.spec, each) for each in choice.spec.backends if each != choice.backend}
    others = [each for each, reason in absent.items() if reason is None]
    not_here = [f"{each}: {reason}" for each, reason in absent.items() if reason is not None]
    if not others:
        return Finding(name, "n/a", "; ".join(["no other backend can run here", *not_here]))
    inputs, mask = some_inputs(subject, name)
    rows = whole_rows(subject.fitted, inputs, mask)
    moves = Moves(subject.tolerance)
    for each in others:
        with subject.process(choice=replace(choice, backend=each)) as make:
            again = compared(subject, subject.loaded(make), inputs, mask, rows, each)
        moves.found += again.found
        moves.largest = max(moves.largest, again.largest)
        moves.ways += again.ways
    return moves.finding(name, "; ".join([f"{choice.backend} and {', '.join(others)}", *not_here]))
