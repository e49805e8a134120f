"""The scorer against brute force in plain Python, one prefix at a time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness import Alphabet, Corpus, Model, Trial, agreement, evaluate, split
from harness.contract import Floats, Ints, sliding
from harness.corpus import Batch
from harness.errors import InvalidModel
from harness_plugins.count_bigram import CountBigram

STATES = 101


def random_law(states: int, vocab_size: int, seed: int = 0) -> NDArray[np.float64]:
    """Log-probabilities (states, V) of random distributions."""
    return np.log(np.random.default_rng(seed).dirichlet(np.ones(vocab_size), states))


class Remembering(Model):
    """A law of the whole prefix: a hash of all characters so far picks one of 101 random rows.

    It keeps every array of inputs that it was given.
    """

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size, {}, np.random.default_rng(0))
        self.law = random_law(STATES, vocab_size)
        self.whole_calls: list[Ints] = []
        self.next_calls: list[Ints] = []

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Nothing to learn."""

    def rows(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        state = np.full(len(inputs), 7)
        states = np.zeros(inputs.shape, np.int64)
        for t in range(inputs.shape[1]):
            state = (state * 31 + inputs[:, t] + 1) % STATES
            states[:, t] = state
        return self.law[states]

    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        self.whole_calls.append(inputs.copy())
        return self.rows(inputs)

    def next_log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, V)."""
        self.next_calls.append(inputs.copy())
        return self.rows(inputs)[:, -1]


class Short(Remembering):
    """A law of the last `context` characters alone, younger documents left-padded."""

    def __init__(self, vocab_size: int, context: int) -> None:
        super().__init__(vocab_size)
        self.context = context

    def rows(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        powers = 37 ** np.arange(self.context) % STATES
        return self.law[(sliding(inputs, self.context) + 1) @ powers % STATES]


def brute(model: Model, corpus: Corpus) -> list[list[float]]:
    """−ln p of every target of every document, each asked for by its prefix alone."""
    model_rows = type(model).next_log_probs
    result = []
    for document in range(len(corpus)):
        first, last = int(corpus.offsets[document]), int(corpus.offsets[document + 1])
        scored = []
        for position in range(first, last):
            prefix = [0, *(int(t) for t in corpus.tokens[first + 1 : position + 1])]
            row = model_rows(model, np.array([prefix], np.int64))[0]
            scored.append(-float(row[int(corpus.tokens[position + 1])]))
        result.append(scored)
    return result


def prefixes(corpus: Corpus) -> set[tuple[int, ...]]:
    """Every prefix that somebody must be asked about, boundary included."""
    found = set()
    for document in range(len(corpus)):
        tokens = [0, *corpus.tokens[corpus.offsets[document] + 1 : corpus.offsets[document + 1]].tolist()]
        found |= {tuple(tokens[:k]) for k in range(1, len(tokens) + 1)}
    return found


def prose(n: int, characters: str = "ab ") -> Corpus:
    """N characters of running text."""
    drawn = np.random.default_rng(5).integers(0, len(characters), n)
    return Corpus.from_documents(
        ["".join(characters[i] for i in drawn)] if n else [], Alphabet(characters), "text"
    )


# ---- line data


@pytest.mark.parametrize("part", [evaluate.blind, evaluate.whole])
def test_scores_are_those_of_one_prefix_at_a_time(
    part: Callable[[Model, Corpus], evaluate.Scores], small: Corpus
) -> None:
    """Both ways of scoring lines give every document the sum that single prefixes give."""
    model = Remembering(27)
    expected = brute(model, small)
    scores = part(model, small)
    np.testing.assert_allclose(scores.sums, [math.fsum(document) for document in expected], rtol=1e-12)
    assert scores.lengths.tolist() == [len(document) for document in expected]
    assert scores.zero_probability == 0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text("abc", max_size=7), min_size=1, max_size=12))
def test_blind_and_whole_agree_on_any_documents(documents: list[str]) -> None:
    """Empty, equal, nested and lone documents are scored as single prefixes are."""
    corpus = Corpus.from_documents(documents, Alphabet("abc"))
    model = Remembering(4)
    expected = [math.fsum(document) for document in brute(model, corpus)]
    np.testing.assert_allclose(evaluate.blind(model, corpus).sums, expected, rtol=1e-12)
    np.testing.assert_allclose(evaluate.whole(model, corpus).sums, expected, rtol=1e-12)


def test_nll_divides_all_nats_by_all_targets(small: Corpus) -> None:
    """NLL is the sum over targets by their number, ends included, not a mean of documents' means."""
    model = Remembering(27)
    nats = [value for document in brute(model, small) for value in document]
    assert evaluate.blind(model, small).nll == pytest.approx(math.fsum(nats) / len(nats), rel=1e-14)


def test_nll_keeps_small_scores_beside_a_large_one() -> None:
    """The sum over documents is exact where adding one after the other would lose the small ones."""
    sums = np.array([1e16] + [1.0] * 1000)
    assert evaluate.mean_nll(sums, np.ones(1001, np.int64)) == (10**16 + 1000) / 1001


def test_nothing_to_score_has_no_nll(letters: Alphabet) -> None:
    """An empty part has no NLL, and none of the ways to score it breaks."""
    model = Short(27, 3)
    lines, text = Corpus.from_documents([], letters), Corpus.from_documents([], letters, "text")
    assert evaluate.blind(model, lines).nll is None
    assert evaluate.whole(model, lines).nll is None
    assert evaluate.running(model, text).nll is None
    assert evaluate.throughput(model, lines) is None


def test_nothing_to_score_by_windows(letters: Alphabet) -> None:
    """An empty corpus has no distinct context and no NLL."""
    assert evaluate.by_windows(Short(27, 3), Corpus.from_documents([], letters), 3).nll is None


def test_blind_asks_each_distinct_prefix_once_by_length(small: Corpus) -> None:
    """Call k sends the distinct prefixes of k inputs, and there are as many calls as the longest line."""
    model = Remembering(27)
    evaluate.blind(model, small)
    assert not model.whole_calls
    assert [call.shape[1] for call in model.next_calls] == list(range(1, 8))
    sent = [tuple(row) for call in model.next_calls for row in call.tolist()]
    assert len(sent) == len(set(sent))
    assert set(sent) == prefixes(small)


def test_blind_never_sends_what_it_is_about_to_score(small: Corpus) -> None:
    """Up to the call that scores the target at k, nothing the model got reaches that far."""
    model = Remembering(27)
    evaluate.blind(model, small)
    for k, call in enumerate(model.next_calls, start=1):
        assert call.shape[1] == k  # so no row of this call or an earlier one holds a character k + 1
    inside = np.concatenate([call[:, 1:].ravel() for call in model.next_calls])
    assert (inside > 0).all()  # nor does any row say where a document ends
    assert all((call[:, 0] == 0).all() for call in model.next_calls)


def test_blind_on_the_lectures_names(makemore_names: tuple[str, ...], letters: Alphabet) -> None:
    """The lecture's test part takes 16 calls at most, of 10,177 distinct prefixes for 22,866 targets."""
    parts = split.divide(makemore_names, letters, "lines", split.parse("lecture"))
    corpus = parts.test.corpus
    model = Remembering(27)
    evaluate.blind(model, corpus)
    sizes = [len(call) for call in model.next_calls]
    assert len(sizes) <= 16
    assert sizes[:2] == [1, 26]
    assert (sum(sizes), corpus.targets) == (10_177, 22_866)
    sent = {tuple(row) for call in model.next_calls for row in call.tolist()}
    assert len(sent) == sum(sizes)
    assert sent == prefixes(corpus)


def test_blind_splits_a_call_that_would_not_fit_in_memory(
    small: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a length's prefixes do not fit in one call they go in several, with the same sums."""
    model = Remembering(27)
    expected = evaluate.blind(model, small).sums
    monkeypatch.setattr(evaluate, "CELLS_A_CALL", 27 * 6)
    model.next_calls.clear()
    assert evaluate.blind(model, small).sums.tolist() == expected.tolist()
    assert max(call.size for call in model.next_calls) <= 7
    assert len(model.next_calls) > 7


@pytest.mark.parametrize("score", [evaluate.blind, evaluate.whole])
def test_the_published_nll_of_the_lecture(
    score: Callable[[Model, Corpus], evaluate.Scores], makemore_names: tuple[str, ...], letters: Alphabet
) -> None:
    """The counted bigram on its own names has the exact NLL behind the 2.4541 that the lecture prints.

    The lecture adds up its 228,146 logarithms one by one in float32, which loses 8e-5.
    """
    pairs = [pair for name in makemore_names for pair in pairwise(f".{name}.")]
    count, before = Counter(pairs), Counter(first for first, _ in pairs)
    logs = [math.log(count[pair] / before[pair[0]]) for pair in pairs]
    lecture = -np.cumsum(np.array(logs, np.float32), dtype=np.float32)[-1] / len(logs)
    assert lecture == pytest.approx(2.454094171524048, rel=1e-6)
    corpus = Corpus.from_documents(makemore_names, letters)
    model = CountBigram(27, {"k": 0.0}, np.random.default_rng(0))
    model.fit(corpus, corpus, Trial())
    assert score(model, corpus).nll == pytest.approx(-math.fsum(logs) / len(logs), rel=1e-12)


def test_whole_batches_stay_small_and_hold_every_document_once(
    small: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole rows go out in batches under the limit, each document once, the sums in document order."""
    model = Remembering(27)
    expected = evaluate.whole(model, small).sums
    monkeypatch.setattr(evaluate, "CELLS_A_BATCH", 27 * 10)
    model.whole_calls.clear()
    np.testing.assert_allclose(evaluate.whole(model, small).sums, expected, rtol=1e-14)
    assert [call.shape for call in model.whole_calls] == [(2, 4), (2, 4), (1, 5), (1, 7)]


@pytest.mark.parametrize("few", [0, 3, 40])
def test_hardly_any_padding_is_computed(letters: Alphabet, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """Shortest first, a call a length; longer documents join while at most so many positions are padding."""
    rng = np.random.default_rng(3)
    lengths = [*([2] * 30), *([3] * 30), 4, 5, 9, *rng.integers(6, 8, 30).tolist()]
    corpus = Corpus.from_documents(["a" * (length - 1) for length in rng.permutation(lengths)], letters)
    monkeypatch.setattr(evaluate, "PADDED", few)
    calls = [corpus.lengths[documents].tolist() for documents in evaluate.batches(corpus)]
    assert [length for call in calls for length in call] == sorted(lengths)
    assert all(sum(call[-1] - length for length in call) <= few for call in calls)
    for call, following in pairwise(calls):  # none more than needed
        assert sum(following[0] - length for length in call) > few


class BlankPadding(Remembering):
    """Its rows on right padding are NaN."""

    def rows(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        padding = inputs == 0
        padding[:, 0] = False
        return np.where(padding[..., None], np.nan, super().rows(inputs))


def test_rows_on_padding_are_ignored(small: Corpus) -> None:
    """What a model says about right padding is not looked at, as the contract promises."""
    model = BlankPadding(27)
    expected = evaluate.blind(model, small)
    np.testing.assert_allclose(evaluate.whole(model, small).sums, expected.sums, rtol=1e-12)


# ---- distinct contexts


@pytest.mark.parametrize("context", [0, 1, 2, 3, 9])
def test_windows_score_lines_as_single_prefixes_do(context: int, small: Corpus) -> None:
    """One row a distinct context gives a model of that context the same sums, without whole rows."""
    model = Short(27, max(1, context))
    expected = [math.fsum(document) for document in brute(model, small)]
    model.next_calls.clear()
    scores = evaluate.by_windows(model, small, context)
    np.testing.assert_allclose(scores.sums, expected, rtol=1e-12)
    assert scores.lengths.tolist() == small.lengths.tolist()
    asked = np.concatenate(model.next_calls)
    assert len(np.unique(asked, axis=0)) == len(asked)


def test_windows_score_running_text_in_blocks() -> None:
    """Running text by distinct contexts gives the sums of single prefixes, in blocks of 1,000."""
    corpus, model = prose(2001), Short(4, 3)
    scored = brute(model, corpus)[0]
    scores = evaluate.by_windows(model, corpus, 3)
    assert scores.lengths.tolist() == [1000, 1001]
    np.testing.assert_allclose(scores.sums, [math.fsum(scored[:1000]), math.fsum(scored[1000:])], rtol=1e-12)


def test_training_nll_takes_the_cheaper_exact_way(small: Corpus) -> None:
    """A finite context is scored by distinct contexts, an unbounded one by whole rows; both agree."""
    model = Short(27, 2)
    by_context = evaluate.score_train(model, small, 2)
    assert model.next_calls
    assert not model.whole_calls
    model.next_calls.clear()
    by_rows = evaluate.score_train(model, small, None)
    assert model.whole_calls
    assert not model.next_calls
    np.testing.assert_allclose(by_context.sums, by_rows.sums, rtol=1e-12)


def test_held_out_lines_are_scored_blind_and_text_in_windows(small: Corpus) -> None:
    """The protocol of a held-out part sends prefixes of lines, and whole windows of running text."""
    model = Remembering(27)
    evaluate.score(model, small, None)
    assert model.next_calls
    assert not model.whole_calls
    model = Remembering(4)
    evaluate.score(model, prose(300), None)
    assert not model.next_calls
    assert [call.shape for call in model.whole_calls] == [(1, 256), (1, 172)]


# ---- running text


class Timekeeper(Model):
    """−ln p of the only character is a thousandth of the history that the model was shown."""

    def __init__(self) -> None:
        super().__init__(2, {}, np.random.default_rng(0))
        self.widest = 0

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Nothing to learn."""

    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        b, t = inputs.shape
        self.widest = max(self.widest, t)
        history = np.arange(1, t + 1) / 1000
        rows = np.stack([np.log(-np.expm1(-history)), -history], axis=1)  # (T, V)
        return np.broadcast_to(rows, (b, t, 2))


@pytest.mark.parametrize(("context", "overlap"), [(None, 128), (128, 128), (200, 200)])
def test_every_target_is_scored_once_with_enough_history(context: int | None, overlap: int) -> None:
    """For 1 … 700 targets each counts once, after overlap + 1 inputs at least or all there are."""
    model = Timekeeper()
    sums = [0.0]
    for n in range(1, 701):
        scores = evaluate.running(model, prose(n, "a"), context)
        assert scores.lengths.tolist() == [n]
        sums.append(float(scores.sums[0]))
    # a longer text moves no window, so what one more character adds is its own history
    history = [round(1000 * (after - before)) for before, after in pairwise(sums)]
    width = overlap + 128
    for target, shown in enumerate(history):
        start = 0 if target < width else (target - overlap) // 128 * 128
        assert shown == target - start + 1
        assert shown >= min(target, overlap) + 1
    assert model.widest == width


@pytest.mark.parametrize("n", [1, 2, 127, 128, 129, 255, 256, 257, 383, 384, 385, 512, 513, 700])
def test_running_text_is_scored_as_single_prefixes_are(n: int) -> None:
    """A model whose context fits in the overlap gets the sums of brute force at any length."""
    model, corpus = Short(4, 5), prose(n)
    expected = math.fsum(brute(model, corpus)[0])
    scores = evaluate.running(model, corpus, 5)
    np.testing.assert_allclose(scores.sums, [expected], rtol=1e-12)


def test_a_wide_context_is_exact_because_the_overlap_widens() -> None:
    """A model of 200 characters gets the sums of brute force, which 128 of overlap would change."""
    model, corpus = Short(4, 200), prose(600)
    expected = math.fsum(brute(model, corpus)[0])
    assert evaluate.running(model, corpus, 200).sums[0] == pytest.approx(expected, rel=1e-12)
    assert evaluate.running(model, corpus, None).sums[0] != pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("n", "shapes"),
    [
        (1, [(1, 1)]),
        (255, [(1, 255)]),
        (256, [(1, 256)]),
        (257, [(1, 256), (1, 129)]),
        (384, [(2, 256)]),
        (385, [(2, 256), (1, 129)]),
    ],
)
def test_no_window_is_sent_for_nothing(n: int, shapes: list[tuple[int, int]]) -> None:
    """Full windows go together, what is left in one more, and a text that fits has none over."""
    model = Short(4, 5)
    evaluate.running(model, prose(n))
    assert [call.shape for call in model.whole_calls] == shapes


def test_windows_are_sent_many_at_a_time_and_no_more_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full windows share a call up to the limit, and the sums do not depend on it."""
    corpus, model = prose(1500), Short(4, 5)
    together = evaluate.running(model, corpus)
    assert [call.shape for call in model.whole_calls] == [(10, 256), (1, 220)]
    monkeypatch.setattr(evaluate, "CELLS_A_BATCH", 4 * 256 * 4)
    model.whole_calls.clear()
    apart = evaluate.running(model, corpus)
    assert [len(call) for call in model.whole_calls] == [4, 4, 2, 1]
    np.testing.assert_allclose(apart.sums, together.sums, rtol=1e-14)


@pytest.mark.parametrize(
    ("n", "lengths"),
    [
        (0, []),
        (1, [1]),
        (999, [999]),
        (1000, [1000]),
        (1999, [1999]),
        (2000, [1000, 1000]),
        (2001, [1000, 1001]),
        (3999, [1000, 1000, 1999]),
    ],
)
def test_blocks_of_a_thousand_with_the_tail_in_the_last(n: int, lengths: list[int]) -> None:
    """Units of running text are 1,000 consecutive targets; a short tail joins the last block."""
    scored = np.random.default_rng(0).random(n)
    blocks = evaluate.in_blocks(scored)
    assert blocks.lengths.tolist() == lengths
    edges = [0, *np.cumsum(lengths, dtype=np.int64).tolist()]
    expected = [math.fsum(scored[first:last].tolist()) for first, last in pairwise(edges)]
    np.testing.assert_allclose(blocks.sums, expected, rtol=1e-12)


# ---- p = 0


def without(model: Remembering, token: int) -> Remembering:
    """The same law, but the character has p = 0 everywhere."""
    law = np.exp(model.law)
    law[:, token] = 0.0
    with np.errstate(divide="ignore"):
        model.law = np.log(law / law.sum(axis=1, keepdims=True))
    return model


@pytest.mark.parametrize("way", ["blind", "whole", "by_windows"])
def test_impossible_targets_are_counted_and_infinite(way: str, small: Corpus) -> None:
    """A target with p = 0 makes its document and the NLL infinite and is counted; others are not."""
    model = without(Short(27, 2), 1)  # no more "a"
    scores = {
        "blind": lambda: evaluate.blind(model, small),
        "whole": lambda: evaluate.whole(model, small),
        "by_windows": lambda: evaluate.by_windows(model, small, 2),
    }[way]()
    assert scores.zero_probability == 7  # emma, olivia, ava, mia, ava
    assert np.isinf(scores.sums).tolist() == [True] * 5 + [False]
    assert scores.nll == math.inf


def test_impossible_targets_of_running_text_are_counted_once() -> None:
    """Windows overlap, yet each target with p = 0 is counted once."""
    corpus, model = prose(700), without(Short(4, 2), 1)
    scores = evaluate.running(model, corpus)
    assert scores.zero_probability == int((corpus.tokens == 1).sum())
    assert scores.nll == math.inf


# ---- what counts as a distribution


def distribution(shape: tuple[int, ...], dtype: str = "float64") -> NDArray[np.floating]:
    """Random rows of log-probabilities."""
    return np.log(np.random.default_rng(1).dirichlet(np.ones(shape[-1]), shape[:-1])).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4", "longdouble"])
def test_float32_and_better_become_float64(dtype: str) -> None:
    """Rows in float32 or better are accepted and come back in float64, each summing to 1."""
    rows = distribution((3, 5, 7), dtype)
    result = evaluate.normalised(rows, (3, 5, 7))
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, rows.astype(np.float64), atol=1e-6)
    np.testing.assert_allclose(np.exp(result).sum(axis=-1), 1.0, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float16", "int64", "complex128", "bool", "object"])
def test_other_types_are_refused(dtype: str) -> None:
    """Half precision and everything that is no float is no answer."""
    rows = np.zeros((2, 1), dtype)  # as float64 it would be two distributions over one character
    with pytest.raises(InvalidModel, match=dtype):
        evaluate.normalised(rows, (2, 1))


def test_a_list_is_refused() -> None:
    """Only a numpy array is an answer, and the message names what came instead."""
    with pytest.raises(InvalidModel, match="list"):
        evaluate.normalised([[0.0]], (1, 1))


@pytest.mark.parametrize("shape", [(3, 7), (4, 8), (7, 4), (1, 4, 7), (28,), (4, 1)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    """Rows of another shape are refused even where they could be broadcast."""
    with pytest.raises(InvalidModel, match=r"expected \(4, 7\)"):
        evaluate.normalised(distribution(shape), (4, 7))


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "NaN"), (np.inf, "above 0"), (2e-5, "above 0"), (0.5, "above 0")]
)
def test_one_impossible_value_is_refused(value: float, message: str) -> None:
    """A single NaN, infinity or log-probability above 1e-5 among many rows is found."""
    rows = np.full((50, 3), -np.inf)
    rows[:, 0] = 0.0
    rows[37, 1] = value
    with pytest.raises(InvalidModel, match=message):
        evaluate.normalised(rows, (50, 3))


def test_a_rounding_above_zero_is_taken_off() -> None:
    """A certain character may stand up to 1e-5 above 0 and gains nothing by it."""
    rows = np.array([[8e-6, -np.inf]])
    assert evaluate.normalised(rows, (1, 2)).tolist() == [[0.0, -np.inf]]


@pytest.mark.parametrize("off", [1e-4, -1e-4, 2e-5, -2e-5, 0.5, -30.0])
def test_rows_that_do_not_sum_to_one_are_refused(off: float) -> None:
    """One row whose logsumexp is more than 1e-5 from 0 is enough."""
    rows = distribution((20, 9))
    rows[11] += off
    with pytest.raises(InvalidModel, match="sum to"):
        evaluate.normalised(rows, (20, 9))


def test_a_row_without_any_probability_is_refused() -> None:
    """A row of −inf alone sums to 0."""
    rows = distribution((4, 3))
    rows[2] = -np.inf
    with pytest.raises(InvalidModel, match="sum to 0, not 1"):
        evaluate.normalised(rows, (4, 3))


@pytest.mark.parametrize("off", [1e-7, -1e-7, 9e-6, -9e-6])
def test_a_small_excess_is_removed(off: float) -> None:
    """A sum that is off by rounding is accepted, and the score is that of the exact distribution."""
    rows = distribution((20, 9))
    np.testing.assert_allclose(evaluate.normalised(rows + off, (20, 9)), rows, rtol=0, atol=1e-13)


def test_minus_infinity_is_legal() -> None:
    """P = 0 is a legal value and stays −inf."""
    rows = np.log(np.array([[0.5, 0.25, 0.25]]))
    rows = np.insert(rows, 1, -np.inf, axis=1)
    assert evaluate.normalised(rows, (1, 4))[0, 1] == -np.inf


def test_the_model_keeps_its_own_rows() -> None:
    """The rows that the model handed out are not written to."""
    rows = distribution((4, 3)) + 1e-7
    before = rows.copy()
    evaluate.normalised(rows, (4, 3))
    assert (rows == before).all()


def test_a_bad_row_anywhere_stops_the_scoring(small: Corpus) -> None:
    """Both ways of scoring refuse a model one of whose rows is no distribution."""
    model = Remembering(27)
    model.law[:, :] += 1e-3
    with pytest.raises(InvalidModel, match="next_log_probs"):
        evaluate.blind(model, small)
    with pytest.raises(InvalidModel, match="log_probs"):
        evaluate.whole(model, small)


# ---- a model that contradicts itself


@pytest.fixture
def names(letters: Alphabet) -> Corpus:
    """Sixty documents of 1 to 9 letters."""
    rng = np.random.default_rng(3)
    drawn = ["".join(rng.choice(list("abcde"), rng.integers(1, 10))) for _ in range(60)]
    return Corpus.from_documents(drawn, letters)


def problem(model: Model, corpus: Corpus, context: int | None = None, tolerance: float = 1e-4) -> str | None:
    """What `disagreement` finds, always on the same documents."""
    return agreement.disagreement(model, corpus, context, tolerance, np.random.default_rng(0))


class Leaking(Remembering):
    """Whole rows move when the character after them does; prefixes alone are honest."""

    def rows(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        rows = super().rows(inputs).copy()
        for t in range(inputs.shape[1] - 1):
            following = inputs[:, t + 1]
            boost = rows[:, t].copy()
            boost[np.arange(len(inputs)), following] += 1.0
            rows[:, t] = boost - np.log(np.exp(boost).sum(axis=1, keepdims=True))
        return rows


class LooksAtTheEnd(Remembering):
    """Every row depends on the last input of its own row."""

    def rows(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        shifted = np.roll(super().rows(inputs), 1, axis=-1)
        ends_in_padding = (inputs[:, -1] == 0)[:, None, None]
        return np.where(ends_in_padding, super().rows(inputs), shifted)


class CountsItsColumns(Remembering):
    """Every row depends on how wide the batch is."""

    def rows(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        return np.roll(super().rows(inputs), inputs.shape[1], axis=-1)


class TwoFaced(Remembering):
    """The fast path is another law."""

    def next_log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, V)."""
        return np.roll(super().next_log_probs(inputs), 1, axis=-1)


@pytest.mark.parametrize("kind", [Leaking, LooksAtTheEnd, CountsItsColumns, TwoFaced])
def test_a_model_that_contradicts_itself_is_caught(kind: type[Remembering], names: Corpus) -> None:
    """Rows that know their future, their row's end, their width, or differ from the fast path."""
    assert "differs from next_log_probs on its prefix alone" in (problem(kind(27), names) or "")


def test_a_model_that_lies_about_its_context_is_caught(names: Corpus) -> None:
    """A model that sees three characters and promises two moves when the third is cut away."""
    assert "on the last 2 characters" in (problem(Short(27, 3), names, context=2) or "")
    assert problem(Short(27, 3), names, context=3) is None
    assert problem(Short(27, 3), names, context=None) is None


class Noisy(Remembering):
    """An honest law in float32 whose last bits depend on the call, as batched kernels' do."""

    size = 1e-6

    def rows(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        rows = super().rows(inputs)
        noise = self.size * self.rng.choice([-1.0, 1.0], rows.shape)
        return (rows * (1 + noise)).astype(np.float32)


def test_float32_noise_is_accepted(names: Corpus) -> None:
    """Rounding that differs from call to call is no contradiction."""
    assert problem(Noisy(27), names) is None


def test_the_tolerance_decides(names: Corpus) -> None:
    """Rows that move by 4e-4 break a promise of 1e-4 and keep one of 1e-3."""
    model = TwoFaced(27)
    weights = np.random.default_rng(2).choice([1.0, 1 + 4e-4], (STATES, 27)) / 27
    model.law = np.log(weights / weights.sum(axis=1, keepdims=True))
    assert problem(model, names, tolerance=1e-4) is not None
    assert problem(model, names, tolerance=1e-3) is None


def test_p_of_zero_agrees_with_itself(names: Corpus) -> None:
    """−inf in both answers is no difference, −inf in one of them is."""
    assert problem(without(Remembering(27), 2), names) is None
    assert problem(without(TwoFaced(27), 2), names) is not None


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        (-0.5, -0.5 - 9e-5, False),
        (-0.5, -0.5 - 2e-4, True),
        (-100.0, -100.005, False),  # relative beyond 1
        (-100.0, -100.02, True),
        (-np.inf, -np.inf, False),
        (-np.inf, -50.0, True),
        (-50.0, -np.inf, True),
    ],
)
def test_how_far_a_row_may_move(a: float, b: float, verdict: bool) -> None:
    """Tolerance times max(1, |value|), and never between −inf and a number."""
    assert agreement.moved(np.array([[a]]), np.array([[b]]), 1e-4) is verdict


def test_disagreement_reads_some_documents_only(names: Corpus) -> None:
    """At most 32 line documents are looked at, all of them whole first; nothing of an empty part."""
    model = Remembering(27)
    assert problem(model, names) is None
    assert len(model.whole_calls[0]) == 32
    assert max(len(call) for call in model.whole_calls) == 32
    assert problem(model, Corpus.from_documents([], names.alphabet)) is None


class ShortInputs(Remembering):
    """Rows of fewer than five inputs follow another law; the fast path and whole documents do not."""

    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        rows = super().log_probs(inputs)
        return np.roll(rows, 1, axis=-1) if inputs.shape[1] < 5 else rows


def test_a_model_that_moves_when_its_inputs_are_cut_is_caught(names: Corpus) -> None:
    """Every shorter T is asked of `log_probs` itself, not only of the fast path."""
    assert problem(ShortInputs(27), names) == "log_probs moves when the inputs are cut after position 1"


def test_running_text_is_held_together_too() -> None:
    """Windows as they are scored: the fast path, cut windows, and boundaries in place of what follows."""
    assert problem(Remembering(4), prose(700)) is None
    assert "differs from next_log_probs" in (problem(Leaking(4), prose(700)) or "")
    assert "boundaries" in (problem(LooksAtTheEnd(4), prose(700)) or "")
    assert problem(Remembering(4), prose(1)) is None


def test_long_documents_are_looked_at_in_part(letters: Alphabet) -> None:
    """What a check reads does not grow with the square of a document's length."""
    documents = Corpus.from_documents(["ab" * 1000] * 40, letters)
    model = Remembering(27)
    assert problem(model, documents) is None
    assert sum(call.size for call in model.whole_calls + model.next_calls) < 120_000


def test_disagreement_ignores_rows_on_padding(names: Corpus) -> None:
    """What a model says about right padding is no contradiction."""
    assert problem(BlankPadding(27), names) is None


# ---- throughput


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@dataclass(frozen=True, eq=False)
class SlowCorpus(Corpus):
    """A corpus whose batches take a long time to make."""

    clock: Clock | None = None

    def batch(self, documents: Ints) -> Batch:
        """Some documents side by side, an hour later."""
        assert self.clock is not None
        self.clock.now += 3600.0
        return super().batch(documents)


class Timed(Remembering):
    """Each call takes the next duration."""

    def __init__(self, vocab_size: int, clock: Clock, durations: Iterator[float]) -> None:
        super().__init__(vocab_size)
        self.clock = clock
        self.durations = durations

    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        self.clock.now += next(self.durations)
        return super().log_probs(inputs)


def test_throughput_counts_only_the_models_calls(small: Corpus) -> None:
    """Making batches is off the clock, padding is no target, and the median pass decides."""
    clock = Clock()
    corpus = SlowCorpus(small.tokens, small.offsets, small.alphabet, clock=clock)
    model = Timed(27, clock, iter([0.15, 0.01, 0.05]))
    assert evaluate.throughput(model, corpus, clock=clock) == pytest.approx(small.targets / 0.05)


def test_throughput_of_running_text_counts_a_target_once() -> None:
    """Windows overlap, but a text of 700 targets is 700 targets."""
    clock = Clock()
    model = Timed(4, clock, iter([0.25, 0.25]))  # five windows: four full ones in a call, and the last
    assert evaluate.throughput(model, prose(700), clock=clock) == pytest.approx(700 / 0.5)


def test_throughput_of_a_fast_model_takes_25_passes(small: Corpus) -> None:
    """A model that a clock can hardly see is asked 25 times and no more."""
    clock = Clock()
    model = Timed(27, clock, iter([1e-6] * 25))
    assert evaluate.throughput(model, small, clock=clock) == pytest.approx(small.targets / 1e-6)
    assert len(model.whole_calls) == 25
