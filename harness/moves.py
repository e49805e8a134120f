"""Rows that must not move: what is asked again, and the smallest counter-example where one moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.agreement import apart, fewer
from harness.contract import Model
from harness.corpus import Corpus, Ints
from harness.evaluate import Float64s, ask, checked, normalised
from harness.subject import Finding, Subject

LONGEST = 64  # inputs that are looked at: what follows is cut away
Mask = NDArray[np.bool_]
Params = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, order=True)
class Move:
    """A row that moved: row `position` of T inputs, ln p of one character, how it was asked again."""

    length: int  # T
    position: int  # from 0
    token: int
    before: float
    after: float
    how: str = field(compare=False)

    def __str__(self) -> str:
        values = f"{self.before:.6g}", f"{self.after:.6g}"
        if values[0] == values[1]:  # what six digits would hide
            values = repr(self.before), repr(self.after)
        where = f"T={self.length}, row {self.position}, ln p of character {self.token}"
        return f"{self.how}: {where} is {values[1]}, was {values[0]}"


@dataclass(eq=False)
class Moves:
    """What was found apart, beyond the tolerance, and how far the rest is."""

    tolerance: float
    found: list[Move] = field(default_factory=list)
    largest: float = 0.0  # relative to max(1, |value|)
    ways: list[str] = field(default_factory=list)

    def compare(self, rows: Float64s, again: Float64s, how: str, length: int, first: int = 0) -> None:
        """Rows (B, T', V) and the same asked in another way, of T inputs; the first is row `first`."""
        if how not in self.ways:
            self.ways.append(how)
        far = apart(rows, again)
        self.largest = max(self.largest, float(far.max(initial=0.0)))
        beyond = far > self.tolerance
        if beyond.any():
            position = int(beyond.any(axis=(0, 2)).argmax())
            row, token = np.argwhere(beyond[:, position])[0].tolist()
            before, after = float(rows[row, position, token]), float(again[row, position, token])
            self.found.append(Move(length, first + position, token, before, after, how))

    def finding(self, name: str, what: str) -> Finding:
        """A pass with what was looked at, or a failure with its smallest counter-example."""
        if not self.found:
            return Finding(name, "pass", f"{what}; rows at most {self.largest:.1g} apart")
        smallest = min(self.found)
        others = [how for how in self.ways if how != smallest.how and how in {m.how for m in self.found}]
        also = f" (also: {', '.join(others)})" if others else ""
        return Finding(name, "fail", f"{smallest}{also}")


def held_out(subject: Subject) -> Corpus:
    """Test, where there is one, else dev, else train."""
    parts = (subject.parts.test.corpus, subject.parts.dev.corpus, subject.parts.train)
    return next(corpus for corpus in parts if corpus.targets)


def some_inputs(subject: Subject, name: str, documents: int = 32) -> tuple[Ints, Mask]:
    """Inputs (B, T) of held-out documents, at most 64 of each, and where they are no padding.

    Of running text, windows that start anywhere.
    """
    corpus, rng = held_out(subject), subject.rng(name)
    if corpus.kind == "lines":
        chosen = np.sort(rng.choice(len(corpus), min(documents, len(corpus)), replace=False))
        inputs, _, mask = corpus.batch(chosen)
        inputs, mask = inputs[:, :LONGEST], mask[:, :LONGEST]
        kept = fewer(documents, inputs.shape[1])
        return inputs[:kept], mask[:kept]
    width = min(LONGEST, corpus.targets)
    starts = rng.integers(0, corpus.targets - width + 1, fewer(documents, width))
    inputs = corpus.tokens[starts[:, None] + np.arange(width)].astype(np.int64)
    return inputs, np.ones(inputs.shape, bool)


def how_many(subject: Subject, inputs: Ints) -> str:
    """`32 documents`, or windows of running text."""
    return f"{len(inputs)} {'documents' if subject.parts.train.kind == 'lines' else 'windows'}"


def whole_rows(model: Model, inputs: Ints, mask: Mask | None = None) -> Float64s:
    """`log_probs` of inputs (B, T), normalised: (B, T, V), 0 on padding."""
    v = model.vocab_size
    answer: Any = checked(model.log_probs(inputs), (*inputs.shape, v))
    if mask is None:
        return normalised(answer, answer.shape)
    rows = np.zeros(answer.shape)
    rows[mask] = normalised(answer[mask], (int(mask.sum()), v))
    return rows


def last_rows(model: Model, inputs: Ints) -> Float64s:
    """`next_log_probs` of inputs (B, T), normalised: (B, 1, V)."""
    return ask(model.next_log_probs, inputs, model.vocab_size)[:, None]


def different(before: Params, after: Params) -> str | None:
    """The first of two sets of parameters' arrays that is not the same to the bit, and where; or None."""
    for name in sorted({*before, *after}):
        if name not in before or name not in after:
            return f"parameter {name!r}, which is in one of the two only"
        a, b = before[name], after[name]
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"parameter {name!r}: {b.dtype} {b.shape}, was {a.dtype} {a.shape}"
        if a.tobytes() != b.tobytes():
            unequal = np.argwhere((a != b) & ~((a != a) & (b != b)))
            if not len(unequal):
                return f"parameter {name!r}: the bits of a zero or NaN"
            at = tuple(unequal[0].tolist())
            return f"parameter {name!r}{list(at)}: {b[at].item()!r}, was {a[at].item()!r}"
    return None


def numbers(params: Params) -> str:
    """`23 parameters`."""
    return f"{sum(value.size for value in params.values()):,} parameters"
