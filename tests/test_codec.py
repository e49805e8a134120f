"""The range coder, and the calls that drive it: what is written is read again, in the bits of the NLL."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness import Alphabet, Corpus, Model, Trial, evaluate
from harness.codec import (
    TOTAL,
    Decoder,
    Encoder,
    NoCode,
    Schedule,
    bits_allowed,
    cumulated,
    decode,
    encode,
    frequencies,
)
from harness.errors import DataError

Array = NDArray[Any]


class Chaos(Model):
    """Rows that depend on every input and on their number, some of them extreme; it notes its calls."""

    def __init__(self, v: int, sharpness: float = 3.0, boundary: float = 0.0) -> None:
        super().__init__(v, {}, np.random.default_rng(0))
        self.sharpness, self.boundary = sharpness, boundary
        self.calls: list[list[list[int]]] = []

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Nothing to fit."""

    def log_probs(self, inputs: Array) -> Array:
        """(B, T) -> (B, T, V)."""
        return np.array([[self.row(row[: t + 1]) for t in range(len(row))] for row in inputs.tolist()])

    def next_log_probs(self, inputs: Array) -> Array:
        """(B, T) -> (B, V)."""
        self.calls.append(inputs.tolist())
        return np.array([self.row(row) for row in inputs.tolist()])

    def row(self, prefix: list[int]) -> Array:
        """(V,)."""
        logits = np.random.default_rng(prefix).normal(0, self.sharpness, self.vocab_size)
        logits[0] += self.boundary
        return logits - np.logaddexp.reduce(logits)  # type: ignore[no-any-return]


def normalised(logits: Array) -> Array:
    """Logits (P, V) -> log-probabilities."""
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)  # type: ignore[no-any-return]


def written(cumulative: Array, symbols: list[int], coder: Any = None) -> bytes:
    """Symbol k under row k % P."""
    coder = coder or Encoder()
    for k, symbol in enumerate(symbols):
        row = cumulative[k % len(cumulative)].tolist()
        coder.narrow(row[symbol], row[symbol + 1])
    return coder.finish()  # type: ignore[no-any-return]


def read(cumulative: Array, code: bytes, n: int) -> list[int]:
    """The first n symbols."""
    coder = Decoder(code)
    return [coder.symbol(cumulative[k % len(cumulative)]) for k in range(n)]


class Unbounded:
    """The same coder without registers: `low` is one number of any size, which carries by itself."""

    def __init__(self) -> None:
        self.low, self.range, self.bytes = 0, 2**32 - 1, 0

    def narrow(self, start: int, end: int) -> None:
        """One symbol."""
        first, last = self.range * start // 2**16, self.range * end // 2**16
        self.low, self.range = self.low + first, last - first
        while self.range < 2**24:
            self.low, self.range, self.bytes = self.low * 256, self.range * 256, self.bytes + 1

    def finish(self) -> bytes:
        """The bytes down to a multiple of 2^24."""
        number = -(-self.low // 2**24)
        return number.to_bytes(self.bytes + 1, "big").rstrip(b"\0")


# ---- frequencies


def test_frequencies_are_those_of_the_formula() -> None:
    """1 + ⌊p·(2^16 − V)⌋ and the rest to the first of the largest, by fractions."""
    rng = np.random.default_rng(1)
    for v in (1, 2, 5, 27, 300):
        rows = normalised(rng.normal(0, 4, (20, v)))
        for row, found in zip(rows, frequencies(rows).tolist(), strict=True):
            expected = [1 + math.floor(Fraction(math.exp(x)) * (TOTAL - v)) for x in row.tolist()]
            expected[expected.index(max(expected))] += TOTAL - sum(expected)
            assert found == expected


def test_equal_probabilities_give_the_rest_to_the_first() -> None:
    """Ties go by index: what both sides compute is one thing."""
    assert frequencies(np.log([[0.1, 0.3, 0.3, 0.3]])).tolist() == [[6554, 19662, 19660, 19660]]


@given(st.integers(1, 400), st.integers(0, 2**32), st.sampled_from([0.0, 1.0, 30.0, 800.0]), st.booleans())
@settings(max_examples=200, deadline=None)
def test_every_symbol_has_a_frequency_and_all_sum_to_the_total(
    v: int, seed: int, sharpness: float, holes: bool
) -> None:
    """Also rows of one symbol, with p = 0 and p = 1; no symbol loses more than −log2(1 − V/2^16) bits."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, sharpness, (3, v))
    if holes:
        logits[rng.random((3, v)) < 0.5] = -np.inf
        logits[:, rng.integers(v)] = 0.0
    rows = normalised(logits)
    found = frequencies(rows)
    assert found.min() >= 1
    assert found.sum(axis=1).tolist() == [TOTAL] * 3
    assert (found >= np.exp(rows) * (TOTAL - v) * (1 - 1e-12)).all()


# ---- the coder


@given(st.integers(0, 2**32), st.integers(1, 40), st.floats(0, 60), st.integers(0, 300))
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read(seed: int, v: int, sharpness: float, n: int) -> None:
    """Any distributions, any symbols, also those that the rows think impossible: the same come back.

    And the code is that of a coder whose numbers have no end, and as long as the frequencies say: at most
    8 bits for its end and, a symbol of frequency f, −log2(1 − 1/(256 f)) bits for rounding.
    """
    rng = np.random.default_rng(seed)
    cumulative = cumulated(normalised(rng.normal(0, sharpness, (7, v))))
    symbols = rng.integers(0, v, n).tolist()
    code = written(cumulative, symbols)
    assert read(cumulative, code, n) == symbols
    assert code == written(cumulative, symbols, Unbounded())
    f = [int(np.diff(cumulative[k % 7])[symbol]) for k, symbol in enumerate(symbols)]
    ideal = math.fsum(math.log2(TOTAL / each) for each in f)
    rounding = math.fsum(-math.log2(1 - 1 / (256 * each)) for each in f)
    assert 8 * len(code) <= ideal + rounding + 8 + 1e-6


def test_carries_run_through_bytes_that_are_out() -> None:
    """Along the symbols of a number that ends in zeros 0xFF bytes pile up: a step above it carries through.

    In the middle and at the end; the code is that of the coder whose number carries by itself.
    """
    through: Counter[tuple[int, bool]] = Counter()

    class Spied(Encoder):
        ended = False

        def carry(self) -> None:
            through[len(self.out) - len(bytes(self.out).rstrip(b"\xff")), self.ended] += 1
            super().carry()

        def finish(self) -> bytes:
            self.ended = True
            return super().finish()

    cumulative = np.array([[0, 22000, 44000, TOTAL]])
    for number in (b"\x80", b"\x01", b"\x40\x00\x03"):
        for n in range(1, 60):
            for last in ([], [2], [2] * 8):
                symbols = read(cumulative, number, n) + last
                code = written(cumulative, symbols, Spied())
                assert code == written(cumulative, symbols, Unbounded())
                assert read(cumulative, code, len(symbols)) == symbols
    assert min(through[run, ended] for run in range(4) for ended in (False, True)) > 0


def test_one_symbol_costs_nothing() -> None:
    """An alphabet of one: no bits, and as many symbols as are asked for."""
    cumulative = cumulated(np.zeros((1, 1)))
    assert len(written(cumulative, [0] * 1000)) <= 1
    assert read(cumulative, written(cumulative, [0] * 1000), 1000) == [0] * 1000


def test_bytes_that_nobody_wrote_are_refused() -> None:
    """A number beyond the first range is no code."""
    with pytest.raises(DataError, match="does not fit"):
        read(cumulated(np.log([[0.5, 0.5]])), b"\xff" * 9, 1)


# ---- texts

LINES = ["ab", "", "abca", "ab", "c", "", "bbbbbbbbbbbb"]


@pytest.mark.parametrize("together", [1, 3, 4096])
def test_lines_come_back_by_the_same_calls(together: int) -> None:
    """Both sides make the same calls in the same order, whatever the batch; empty and equal ones included."""
    corpus = Corpus.from_documents(LINES, Alphabet("abc"))
    schedule = Schedule.of(corpus, None, together)
    writer, reader = Chaos(4), Chaos(4)
    code = encode(writer, corpus, schedule)
    assert decode(reader, corpus.alphabet, schedule, code) == LINES
    assert writer.calls == reader.calls


def test_calls_of_one_batch_are_those_of_blind_scoring() -> None:
    """Distinct prefixes by length: nothing is asked twice, and nothing that scoring does not ask."""
    corpus = Corpus.from_documents(LINES, Alphabet("abc"))
    coding, scoring = Chaos(4), Chaos(4)
    encode(coding, corpus, Schedule.of(corpus, None))
    evaluate.blind(scoring, corpus)
    assert coding.calls == scoring.calls
    assert [len(call) for call in coding.calls[:3]] == [1, 3, 2]  # "", {a, b, c}, {ab, bb}


@pytest.mark.parametrize("pieces", [1, 3, 7])
def test_running_text_comes_back_by_the_same_calls(pieces: int) -> None:
    """In one piece, or in several of equal length, the last ones a character shorter."""
    text = "".join(np.random.default_rng(2).choice(list("ab\n"), 410))
    corpus = Corpus.from_documents([text], Alphabet("ab\n"), "text")
    schedule = Schedule.of(corpus, 5, pieces)
    writer, reader = Chaos(4), Chaos(4)
    code = encode(writer, corpus, schedule)
    assert decode(reader, corpus.alphabet, schedule, code) == [text]
    assert writer.calls == reader.calls
    assert len(writer.calls) == math.ceil(410 / pieces)


def test_running_text_is_written_after_what_its_window_shows() -> None:
    """Rows that depend on every input: the bits are those of the protocol's windows, to a few."""
    text = "".join(np.random.default_rng(2).choice(list("ab"), 450))
    corpus = Corpus.from_documents([text], Alphabet("ab"), "text")
    for context in (None, 200):
        nats = math.fsum(evaluate.running_targets(Chaos(3, 1.0), corpus, context).tolist())
        bits = 8 * len(encode(Chaos(3, 1.0), corpus, Schedule.of(corpus, context)))
        assert -1 < bits - nats / math.log(2) < 9


@pytest.mark.parametrize(("targets", "overlap"), [(1, 128), (256, 128), (257, 128), (1000, 128), (999, 301)])
def test_the_window_of_a_target_is_the_one_that_scores_it(targets: int, overlap: int) -> None:
    """`window_start` is what `text_windows` says, target by target."""
    corpus = Corpus.from_documents(["a" * targets], Alphabet("a"), "text")
    start_of = {}
    for starts, width in evaluate.text_windows(corpus, overlap):
        for start in starts.tolist():
            for target in range(start + (overlap if start else 0), start + width):
                start_of[target] = start
    assert [evaluate.window_start(target, overlap) for target in range(targets)] == [
        start_of[target] for target in range(targets)
    ]


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 3.0])
def test_bits_keep_the_bound(sharpness: float) -> None:
    """At most 9 bits and −log2(1 − V/2^16) a character above the NLL, which is within HONESTY's bound."""
    rng = np.random.default_rng(5)
    lines = ["".join(rng.choice(list("abcdefgh"), rng.integers(0, 9))) for _ in range(150)]
    corpus = Corpus.from_documents(lines, Alphabet("abcdefgh"))
    model = Chaos(9, sharpness)
    nats = math.fsum(evaluate.blind_targets(model, corpus).tolist())
    bits = 8 * len(encode(model, corpus, Schedule.of(corpus, None)))
    surplus = bits - nats / math.log(2)
    assert surplus < 9 - math.log2(1 - 9 / TOTAL) * corpus.targets
    assert bits < bits_allowed(nats, corpus.targets, 9)


def test_the_bound_is_that_of_honesty_while_16_bits_can_keep_it() -> None:
    """0.002 bits a character up to 90 characters; beyond, what each may lose to the others' least share."""
    assert bits_allowed(1000 * math.log(2), 500, 90) == pytest.approx(1000 + 64 + 1)
    assert bits_allowed(0.0, 500, 91) == pytest.approx(64 - 500 * math.log2(1 - 91 / 65536))
    assert bits_allowed(0.0, 500, 91) > 65


def test_a_target_with_p_0_has_no_code() -> None:
    """It is named: document, place and token."""

    class Never(Chaos):
        def row(self, prefix: list[int]) -> Array:
            row = super().row(prefix)
            if prefix == [0, 1, 2]:
                row[1] = -np.inf
            return row - np.logaddexp.reduce(row)  # type: ignore[no-any-return]

    corpus = Corpus.from_documents(["b", "abb", "aba"], Alphabet("ab"))
    with pytest.raises(NoCode) as found:
        encode(Never(3), corpus, Schedule.of(corpus, None))
    assert (found.value.piece, found.value.place, found.value.token) == (2, 2, 1)


def test_documents_without_an_end_are_refused() -> None:
    """Read by a model that ends no document, a code stops at the number of characters that is known."""
    corpus = Corpus.from_documents(["ab", "ba"] * 20, Alphabet("ab"))
    schedule = Schedule.of(corpus, None)
    code = encode(Chaos(3, boundary=2.0), corpus, schedule)
    with pytest.raises(DataError, match="does not fit"):
        decode(Chaos(3, boundary=-30.0), corpus.alphabet, schedule, code)


def test_rows_that_are_no_distribution_are_refused() -> None:
    """The coder's rows go through the same check as those that are scored."""

    class Doubled(Chaos):
        def row(self, prefix: list[int]) -> Array:
            return super().row(prefix) - math.log(2)  # type: ignore[no-any-return]

    corpus = Corpus.from_documents(["ab"], Alphabet("ab"))
    with pytest.raises(ValueError, match=r"sum to 0\.5"):
        encode(Doubled(3), corpus, Schedule.of(corpus, None))


def test_progress_counts_every_character_once() -> None:
    """On both sides, as often as the model is asked."""
    corpus = Corpus.from_documents(LINES, Alphabet("abc"))
    schedule = Schedule.of(corpus, None, 3)
    wrote: list[int] = []
    was_read: list[int] = []
    code = encode(Chaos(4), corpus, schedule, wrote.append)
    decode(Chaos(4), corpus.alphabet, schedule, code, was_read.append)
    assert wrote == was_read
    assert sum(wrote) == corpus.targets
