"""The code-length proof: a range coder driven by a model writes a text in as many bits as its NLL says.

Arithmetic coding with whole bytes: Martin, "Range encoding" (1979), carries propagated into the bytes
that are out already, intervals cut exactly (Witten, Neal & Cleary 1987): a symbol with the cumulative
frequencies [a, b) of 2^16 gets [⌊r·a/2^16⌋, ⌊r·b/2^16⌋) of a range r. Why this one: Subbotin's carry-less
coder throws range away where a carry threatens, and Schindler's r' = ⌊r/2^16⌋ loses up to 0.0056 bits a
symbol; here nothing is lost but the rounding of an end, up in one symbol and down in the next.

Encoder and decoder are driven by the same function (`advance`): it asks the model for rows after
prefixes that are coded already, so both make the same calls in the same order, and it is all that they
know. `low` needs 40 bits of a 64-bit word, `range` 32.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness import evaluate
from harness.contract import Model
from harness.corpus import BOUNDARY, Alphabet, Corpus, Ints, Kind
from harness.errors import DataError, UsageError

BITS = 16
TOTAL = 1 << BITS  # a row's frequencies sum to it
LEAST = 1 << 24  # the range is widened by a byte where it falls below
WORD = (1 << 32) - 1
TOGETHER = 4096  # documents that advance side by side

# rows (P, V) log-probabilities; which of them belongs to each of the A pieces (A,); the pieces (A,); how
# many tokens each of them has already -> the next token of each (A,)
Step = Callable[[evaluate.Float64s, Ints, Ints, int], Ints]


class NoCode(UsageError):
    """A token with p = 0 cannot be written: `place` tokens of `piece` stand before it."""

    def __init__(self, piece: int, place: int, token: int) -> None:
        super().__init__(f"token {token} has p = 0 after {place} tokens of piece {piece}")
        self.piece, self.place, self.token = piece, place, token


# ---- the coder


class Encoder:
    """Narrows an interval symbol by symbol; its bytes are the first of every number in it."""

    def __init__(self) -> None:
        self.low, self.range = 0, WORD
        self.out = bytearray()

    def narrow(self, start: int, end: int) -> None:
        """Write the symbol with the cumulative frequencies [start, end) of 2^16."""
        first = self.range * start >> BITS
        self.range = (self.range * end >> BITS) - first
        self.low += first
        if self.low > WORD:
            self.carry()
        while self.range < LEAST:
            self.out.append(self.low >> 24)
            self.low = self.low << 8 & WORD
            self.range <<= 8

    def carry(self) -> None:
        """Add one to the number that is out. Some byte takes it: the whole never reaches 1."""
        self.low &= WORD
        at = len(self.out) - 1
        while self.out[at] == 0xFF:
            self.out[at] = 0
            at -= 1
        self.out[at] += 1

    def finish(self) -> bytes:
        """The code: one byte more, that of a multiple of 2^24 inside; zeros at the end are not written."""
        self.low += LEAST - 1
        if self.low > WORD:
            self.carry()
        self.out.append(self.low >> 24)
        return bytes(self.out).rstrip(b"\0")


class Decoder:
    """Reads what `Encoder` wrote, where it is told the same frequencies."""

    def __init__(self, code: bytes) -> None:
        self.bytes = iter(code)
        self.range = WORD
        self.offset = 0  # the code's number − low
        for _ in range(4):
            self.offset = self.offset << 8 | next(self.bytes, 0)

    def symbol(self, cumulative: Ints) -> int:
        """The next symbol under cumulative frequencies (V + 1,): 0, …, 2^16."""
        target = ((self.offset + 1 << BITS) - 1) // self.range
        if target >= TOTAL:
            raise DataError("the code does not fit the model")
        found = bisect_right(cumulative, target) - 1
        first = self.range * int(cumulative[found]) >> BITS
        self.range = (self.range * int(cumulative[found + 1]) >> BITS) - first
        self.offset -= first
        while self.range < LEAST:
            self.offset = self.offset << 8 | next(self.bytes, 0)
            self.range <<= 8
        return found


def frequencies(rows: evaluate.Float64s) -> Ints:
    """Log-probabilities (P, V) -> integers (P, V), each at least 1, each row summing to exactly 2^16.

    1 + ⌊p·(2^16 − V)⌋; what is left over goes to the largest, the first of equal ones. So a symbol costs
    at most −log2(1 − V/2^16) bits more than −log2 p: 0.0006 for V = 27, 0.002 for V = 90.
    """
    v = rows.shape[1]
    found: Ints = 1 + np.floor(np.exp(rows) * (TOTAL - v)).astype(np.int64)
    found[np.arange(len(found)), found.argmax(axis=1)] += TOTAL - found.sum(axis=1)
    return found


def cumulated(rows: evaluate.Float64s) -> Ints:
    """Log-probabilities (P, V) -> cumulative frequencies (P, V + 1), from 0 to 2^16."""
    found: Ints = np.pad(np.cumsum(frequencies(rows), axis=1), ((0, 0), (1, 0)))
    return found


# ---- the calls


@dataclass(frozen=True)
class Schedule:
    """What both sides know beforehand, and what fixes their calls.

    together: how many documents advance side by side; of running text, into how many pieces of equal
    length it is cut, each of which begins without history. overlap: of the protocol's windows.
    """

    kind: Kind
    documents: int
    targets: int
    together: int
    overlap: int = 0

    @classmethod
    def of(cls, corpus: Corpus, context: int | None, together: int | None = None) -> Schedule:
        """The default: up to 4,096 documents side by side, running text in one piece."""
        if corpus.kind == "lines":
            return cls("lines", len(corpus), corpus.targets, together or TOGETHER)
        pieces = max(1, min(together or 1, corpus.targets))
        return cls("text", pieces, corpus.targets, pieces, evaluate.overlap_for(context))

    def lengths(self) -> Ints:
        """Of running text: the tokens of each piece (B,), the longer ones first."""
        each, longer = divmod(self.targets, self.documents)
        found: Ints = np.repeat([each + 1, each], [longer, self.documents - longer])
        return found


def advance(model: Model, v: int, schedule: Schedule, step: Step) -> None:
    """Ask for the rows after what is known, and let `step` write or read the tokens that follow."""
    if schedule.kind == "text":
        running(model, v, schedule, step)
        return
    for first in range(0, schedule.documents, schedule.together):
        last = min(first + schedule.together, schedule.documents)
        lines(model, v, np.arange(first, last), step)


def lines(model: Model, v: int, documents: Ints, step: Step) -> None:
    """Documents side by side until each has met its end; the calls are those of blind scoring.

    The k-th asks for one row after each distinct prefix of k inputs.
    """
    prefixes = np.zeros((1, 1), np.int64)  # (P, k) distinct
    which = np.zeros(len(documents), np.int64)  # (A,) the prefix of each document
    while len(documents):
        place = prefixes.shape[1] - 1
        tokens = step(evaluate.ask(model.next_log_probs, prefixes, v), which, documents, place)
        longer = tokens != BOUNDARY
        documents = documents[longer]
        keys, which = np.unique(which[longer] * v + tokens[longer], return_inverse=True)
        prefixes = np.column_stack([prefixes[keys // v], keys % v])


def running(model: Model, v: int, schedule: Schedule, step: Step) -> None:
    """Pieces of running text side by side, each token after the inputs that its window would show."""
    lengths = schedule.lengths()
    tokens = np.zeros((len(lengths), int(lengths[0]) + 1), np.int64)  # (B, T), after a boundary
    for place in range(int(lengths[0])):
        alive = np.flatnonzero(lengths > place)  # the first ones
        seen = tokens[: len(alive), evaluate.window_start(place, schedule.overlap) : place + 1]
        rows = evaluate.ask(model.next_log_probs, seen, v)  # (A, V)
        tokens[: len(alive), place + 1] = step(rows, alive, alive, place)


# ---- texts


def encode(
    model: Model, corpus: Corpus, schedule: Schedule, progress: Callable[[int], None] = lambda done: None
) -> bytes:
    """A corpus as one code under a model; `NoCode` where a token has p = 0.

    progress: told after each call how many tokens it has written.
    """
    coder = Encoder()
    starts = piece_starts(corpus, schedule)  # (G,) of each piece's targets

    def step(rows: evaluate.Float64s, which: Ints, pieces: Ints, place: int) -> Ints:
        tokens = corpus.tokens[starts[pieces] + place + 1].astype(np.int64)  # (A,)
        impossible = np.flatnonzero(np.isneginf(rows[which, tokens]))
        if len(impossible):
            raise NoCode(int(pieces[impossible[0]]), place, int(tokens[impossible[0]]))
        cumulative = cumulated(rows)  # (P, V + 1)
        ends = zip(cumulative[which, tokens].tolist(), cumulative[which, tokens + 1].tolist(), strict=True)
        for start, end in ends:
            coder.narrow(start, end)
        progress(len(tokens))
        return tokens

    advance(model, corpus.alphabet.size, schedule, step)
    return coder.finish()


def piece_starts(corpus: Corpus, schedule: Schedule) -> Ints:
    """Where the targets of each document, or of each piece of running text, begin."""
    if corpus.kind == "lines":
        return corpus.offsets[:-1]
    lengths = schedule.lengths()
    return np.cumsum(lengths) - lengths


def decode(
    model: Model,
    alphabet: Alphabet,
    schedule: Schedule,
    code: bytes,
    progress: Callable[[int], None] = lambda done: None,
) -> list[str]:
    """The documents of a code, running text as one; `DataError` where it is not one of this model.

    A code of another model may also be read without a complaint, as another text: compare its sha256.
    """
    coder = Decoder(code)
    found: list[list[int]] = [[] for _ in range(schedule.documents)]
    done = 0

    def step(rows: evaluate.Float64s, which: Ints, pieces: Ints, place: int) -> Ints:
        nonlocal done
        done += len(pieces)
        if done > schedule.targets:  # documents without an end
            raise DataError("the code does not fit the model")
        cumulative = cumulated(rows)  # (P, V + 1)
        tokens = [coder.symbol(cumulative[row]) for row in which.tolist()]
        for piece, token in zip(pieces.tolist(), tokens, strict=True):
            found[piece].append(token)
        progress(len(pieces))
        return np.array(tokens)

    advance(model, alphabet.size, schedule, step)
    texts = [alphabet.decode(tokens) for tokens in found]
    return texts if schedule.kind == "lines" else ["".join(texts)]


def bits_allowed(nats: float, targets: int, v: int) -> float:
    """The bound on a code: NLL/ln 2 + 64 + 0.002 a character.

    From V = 91 on 16-bit frequencies cannot promise 0.002, and what they can takes its place.
    """
    return nats / math.log(2) + 64 + max(0.002, -math.log2(1 - v / TOTAL)) * targets
