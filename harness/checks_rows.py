"""Checks of rows: what `log_probs` answers, and what it must not depend on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness import evaluate
from harness.contract import Model
from harness.corpus import BOUNDARY, Corpus, Ints
from harness.errors import InvalidModel
from harness.evaluate import Float64s, checked, normalised
from harness.moves import (
    LONGEST,
    Mask,
    Moves,
    different,
    how_many,
    last_rows,
    numbers,
    some_inputs,
    whole_rows,
)
from harness.subject import Finding, Subject

PREFIXES = 500
APPENDED = 16  # positions
FURTHER = (1, 2, 8)  # inputs that lie further back than promised
BATCHES = (7, 64)


# ---- normalised


def check_normalised(subject: Subject) -> Finding:
    """Every row of train, dev and test, blind and whole, and of 500 random prefixes is a distribution.

    Bounds: no NaN, nothing above 1e-5, |logsumexp| ≤ 1e-5.
    """
    model, v = subject.fitted, subject.alphabet.size
    count, largest = 0, 0.0
    for inputs, mask in looked_at(subject):
        answers = [("log_probs", checked(model.log_probs(inputs), (*inputs.shape, v)), mask)]  # (B, T, V)
        if mask.all():
            last = checked(model.next_log_probs(inputs), (len(inputs), v), "next_log_probs")  # (B, V)
            answers.append(("next_log_probs", last[:, None], mask[:, -1:]))
        for asked, rows, legal in answers:
            try:
                exact = normalised(rows[legal], (int(legal.sum()), v), asked)
            except InvalidModel:
                return Finding("normalised", "fail", smallest_fault(rows, legal, asked, inputs.shape[1]))
            count += len(exact)
            largest = max(largest, off(rows[legal], exact))
    return Finding("normalised", "pass", f"{count:,} rows, |logsumexp| at most {largest:.1e}")


def looked_at(subject: Subject) -> Iterator[tuple[Ints, Mask]]:
    """Inputs (B, T) and where they are no padding: random prefixes, then prefixes and documents."""
    yield from random_prefixes(subject)
    parts = subject.parts
    for held in (parts.dev.corpus, parts.test.corpus):
        yield from prefixes(held)
    for corpus in (parts.train, parts.dev.corpus, parts.test.corpus):
        yield from documents(corpus, subject.context)


def random_prefixes(subject: Subject) -> Iterator[tuple[Ints, Mask]]:
    """500 prefixes of 1…64 inputs, boundary first, shortest first."""
    rng, v = subject.rng("prefixes"), subject.alphabet.size
    lengths = rng.integers(1, LONGEST + 1, PREFIXES)
    for length in np.unique(lengths).tolist():
        inputs = rng.integers(1, v, (int((lengths == length).sum()), length))  # (B, T)
        inputs[:, 0] = BOUNDARY
        yield inputs, np.ones(inputs.shape, bool)


def prefixes(corpus: Corpus) -> Iterator[tuple[Ints, Mask]]:
    """The distinct prefixes of line data, as they are scored: one array (P, T) a length."""
    if corpus.kind != "lines":
        return
    inputs, _, mask = corpus.batch(np.arange(len(corpus)))
    for k in range(1, min(inputs.shape[1], LONGEST) + 1):
        distinct = np.unique(inputs[mask[:, k - 1], :k], axis=0)
        yield distinct, np.ones(distinct.shape, bool)


def documents(corpus: Corpus, context: int | None) -> Iterator[tuple[Ints, Mask]]:
    """Whole documents in padded batches, or the windows in which running text is scored."""
    if corpus.kind == "lines":
        for chosen in evaluate.batches(corpus):
            inputs, _, mask = corpus.batch(chosen)
            yield inputs, mask
        return
    overlap = max(evaluate.WINDOW - evaluate.STRIDE, context or 0)
    for starts, width in evaluate.text_windows(corpus, overlap):
        inputs = corpus.tokens[starts[:, None] + np.arange(width)].astype(np.int64)
        yield inputs, np.ones(inputs.shape, bool)


def smallest_fault(rows: Float64s, legal: Mask, asked: str, length: int) -> str:
    """What is wrong with the first wrong row, by position, of an answer (B, T', V) on T inputs."""
    first = length - rows.shape[1]
    for position, row in sorted((int(t), int(b)) for b, t in np.argwhere(legal)):
        try:
            normalised(rows[row, position], rows.shape[2:], asked)
        except InvalidModel as error:
            return f"T={length}, row {first + position}: {error}"
    return f"T={length}: {asked} returned rows that are no distributions"


def off(rows: Float64s, exact: Float64s) -> float:
    """The largest |logsumexp|: what was taken off the rows (N, V) to make them exact."""
    finite = np.isfinite(exact)
    return float(np.abs(rows[finite] - exact[finite]).max(initial=0.0))


# ---- what a row must not depend on


def check_causal(subject: Subject) -> Finding:
    """Rows do not move when the future is cut, random, made of boundaries, or longer by 1…16 positions.

    Cut to every shorter T (`log_probs` and `next_log_probs`), so that a model that reads the end of its
    row is seen: at equal T it would move by as much on both sides. Bound: the spec's tolerance.
    """
    model, rng, v = subject.fitted, subject.rng("futures"), subject.alphabet.size
    inputs, mask = some_inputs(subject, "causal")  # (B, T)
    rows = whole_rows(model, inputs, mask)
    moves, width = Moves(subject.tolerance), inputs.shape[1]
    for k in range(1, width + 1):
        alive = mask[:, k - 1]  # elsewhere a boundary would stand amid characters
        seen, kept = inputs[alive], rows[alive, :k]
        moves.compare(kept, whole_rows(model, seen[:, :k]), "cut", k)
        moves.compare(kept[:, -1:], last_rows(model, seen[:, :k]), "next_log_probs", k, k - 1)
        if k < width:
            future = len(seen), width - k
            for how, other in (("boundaries", np.zeros(future)), ("random", rng.integers(1, v, future))):
                changed = np.hstack([seen[:, :k], other.astype(np.int64)])
                moves.compare(kept, partly(model, changed, k), how, width)
    lengths = mask.sum(axis=1)
    for extra in range(1, APPENDED + 1):
        longer = np.pad(inputs, ((0, 0), (0, extra)))
        moves.compare(rows, partly(model, longer, width, mask), "boundaries appended", width + extra)
        column = np.arange(width + extra)
        appended = (column >= lengths[:, None]) & (column < lengths[:, None] + extra)
        longer[appended] = rng.integers(1, v, int(appended.sum()))
        moves.compare(rows, partly(model, longer, width, mask), "random appended", width + extra)
    return moves.finding("causal", how_many(subject, inputs))


def partly(model: Model, inputs: Ints, k: int, mask: Mask | None = None) -> Float64s:
    """The first k rows of inputs (B, T), normalised: (B, k, V); what the others hold is not looked at."""
    known = np.zeros(inputs.shape, bool)
    known[:, :k] = True if mask is None else mask
    return whole_rows(model, inputs, known)[:, :k]


def check_context(subject: Subject) -> Finding:
    """What lies further back than the promised context moves nothing: replaced, or cut away.

    Bound: the spec's tolerance. Not applicable where the context is unbounded.
    """
    name, context = "context", subject.context
    if context is None:
        return Finding(name, "n/a", "the promised context is unbounded (context=None)")
    model, rng, v = subject.fitted, subject.rng(name), subject.alphabet.size
    moves = Moves(subject.tolerance)
    for further in FURTHER:
        t = context + further
        inputs = rng.integers(1, v, (16, t))
        inputs[:, 0] = BOUNDARY
        replaced = inputs.copy()
        replaced[:, :further] = rng.integers(1, v, (16, further))
        rows = whole_rows(model, inputs)[:, -1:]
        moves.compare(rows, whole_rows(model, replaced)[:, -1:], "replaced", t, t - 1)
        moves.compare(rows, whole_rows(model, inputs[:, further:])[:, -1:], "cut away", t, t - 1)
        moves.compare(rows, last_rows(model, replaced), "replaced, next_log_probs", t, t - 1)
    return moves.finding(name, f"promised {context}")


def check_batch_independent(subject: Subject) -> Finding:
    """A document's rows are the same alone, shuffled, and in batches of 7 and 64.

    Bound: the spec's tolerance.
    """
    model = subject.fitted
    inputs, mask = some_inputs(subject, "batches", max(BATCHES))  # (B, T)
    lengths = mask.sum(axis=1)
    rows = whole_rows(model, inputs, mask)
    moves = Moves(subject.tolerance)
    for i, length in enumerate(lengths.tolist()):
        one, known = inputs[i : i + 1, :length], rows[i : i + 1, :length]
        moves.compare(known, whole_rows(model, one), "alone", length)
        moves.compare(known[:, -1:], last_rows(model, one), "alone, next_log_probs", length, length - 1)
    order = subject.rng("shuffled").permutation(len(inputs))
    shuffled = whole_rows(model, inputs[order], mask[order])
    moves.compare(rows[order], shuffled, "shuffled", inputs.shape[1])
    for first in range(0, len(inputs), BATCHES[0]):
        some = slice(first, first + BATCHES[0])
        t = int(lengths[some].max())
        seven = whole_rows(model, inputs[some, :t], mask[some, :t])
        moves.compare(rows[some, :t], seven, f"in batches of {BATCHES[0]}", t)
    for length in np.unique(lengths).tolist():
        same = lengths == length
        together = last_rows(model, inputs[same, :length])
        known = rows[same, length - 1 : length]
        moves.compare(known, together, "together, next_log_probs", length, length - 1)
    return moves.finding("batch-independent", how_many(subject, inputs))


def check_stateless(subject: Subject) -> Finding:
    """The same call twice gives the same rows; inputs and parameters are as they were before it.

    Between the calls other text is scored. Bounds: the spec's tolerance for rows, every byte for inputs
    and parameters.
    """
    name, model = "stateless", subject.fitted
    inputs, mask = some_inputs(subject, name)  # (B, T)
    other, other_mask = some_inputs(subject, "scored in between")
    moves, before = Moves(subject.tolerance), model.fetch()
    rows = whole_rows(model, inputs, mask)
    moves.compare(rows, whole_rows(model, inputs, mask), "the same call again", inputs.shape[1])
    last = last_rows(model, inputs[:, :1])
    moves.compare(last, last_rows(model, inputs[:, :1]), "the same call again, next_log_probs", 1)
    whole_rows(model, other, other_mask)
    moves.compare(rows, whole_rows(model, inputs, mask), "after other text", inputs.shape[1])
    last_rows(model, other[:, :1])
    moves.compare(last, last_rows(model, inputs[:, :1]), "after other text, next_log_probs", 1)
    _, left = model.echoed(inputs)
    if left is not None and not np.array_equal(left, inputs):
        b, t = np.argwhere(left != inputs)[0].tolist()
        values = f"position {t} is {left[b, t]}, was {inputs[b, t]}"
        return Finding(name, "fail", f"log_probs wrote into its inputs: T={inputs.shape[1]}, {values}")
    if changed := different(before, model.fetch()):
        return Finding(name, "fail", f"scoring changed {changed}")
    unchanged = numbers(before) + ("" if left is None else " and the inputs")  # a program may not show them
    return moves.finding(name, f"{unchanged} unchanged")
