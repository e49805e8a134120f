"""The synthetic source: its law, its draws, and its entropy against linear algebra and Monte Carlo."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from harness import Alphabet, Corpus, DatasetSpec
from harness.dataset import open_dataset
from harness.errors import UsageError
from harness_datasets import harness_datasets, markov

LEAST_P = 0.001  # of a goodness-of-fit test; seeds are fixed, so a test that passes keeps passing


def source_of(order: int, vocab: int, seed: int) -> markov.MarkovSource:
    """The true source of a configuration."""
    return markov.MarkovSource.of({"order": order, "vocab": vocab, "seed": seed, "documents": 1})


def draw_tokens(order: int, vocab: int, seed: int, documents: int) -> list[list[int]]:
    """Drawn documents as tokens, without boundaries."""
    characters = markov.alphabet({"vocab": vocab})
    return [
        [characters.index(character) + 1 for character in document]
        for document in markov.documents(order, vocab, seed, documents)
    ]


def contexts_and_targets(tokens: list[list[int]], order: int) -> list[tuple[tuple[int, ...], int]]:
    """Every target with the `order` characters before it, boundaries before the first."""
    pairs = []
    for document in tokens:
        padded = [0] * order + document + [0]
        pairs += [(tuple(padded[i : i + order]), padded[i + order]) for i in range(len(document) + 1)]
    return pairs


def row_of(context: tuple[int, ...], vocab: int) -> int:
    """The row of a context: its oldest character is the most significant digit."""
    return sum(token * vocab**place for place, token in enumerate(reversed(context)))


@pytest.mark.parametrize(("order", "vocab"), [(1, 27), (2, 5), (3, 2)])
def test_every_row_of_the_law_is_a_distribution(order: int, vocab: int) -> None:
    """Each of V**order contexts has V probabilities that sum to 1."""
    p = markov.law(order, vocab, 3)
    assert p.shape == (vocab**order, vocab)
    assert (p >= 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize(("order", "vocab"), [(1, 27), (2, 5)])
def test_a_document_ends_anywhere_but_at_its_start(order: int, vocab: int) -> None:
    """The end has p = 0 after a boundary and p between 0.04 and 0.12 elsewhere; no character has p = 0."""
    p = markov.law(order, vocab, 3)
    for context in itertools.product(range(vocab), repeat=order):
        end = p[row_of(context, vocab), 0]
        assert end == 0 if context[-1] == 0 else 0.04 <= end <= 0.12
    assert (p[:, 1:] > 0).all()


def test_the_law_is_a_function_of_order_vocabulary_and_seed() -> None:
    """The same numbers give the same law, another seed another one; nobody can write into it."""
    p = markov.law(1, 6, 0).copy()
    markov.law.cache_clear()
    assert (markov.law(1, 6, 0) == p).all()
    assert not np.allclose(markov.law(1, 6, 1), p)
    with pytest.raises(ValueError, match="read-only"):
        markov.law(1, 6, 0)[0, 0] = 1.0


@pytest.mark.parametrize(("order", "vocab"), [(1, 27), (2, 5), (1, 2)])
def test_documents_are_as_many_as_asked_and_never_empty(order: int, vocab: int) -> None:
    """N documents come, each of at least one character of the alphabet."""
    documents = markov.documents(order, vocab, 0, 3000)
    assert len(documents) == 3000
    assert all(documents)
    assert set().union(*documents) <= set(markov.alphabet({"vocab": vocab}))


def test_documents_are_a_function_of_the_seed() -> None:
    """The same seed draws the same documents whatever else was drawn; another seed, others."""
    once = markov.documents(1, 27, 5, 200)
    np.random.seed(0)
    markov.documents(1, 27, 6, 10)
    assert markov.documents(1, 27, 5, 200) == once
    assert markov.documents(1, 27, 6, 200) != once


@pytest.mark.parametrize(("order", "vocab", "documents"), [(1, 6, 4000), (2, 4, 4000)])
def test_documents_obey_the_law(order: int, vocab: int, documents: int) -> None:
    """Each context is followed by the characters as often as its row says (chi-square over all rows)."""
    found = Counter(contexts_and_targets(draw_tokens(order, vocab, 2, documents), order))
    p = markov.law(order, vocab, 2)
    statistic, freedom = 0.0, 0
    for context in itertools.product(range(vocab), repeat=order):
        observed = np.array([found[context, target] for target in range(vocab)], float)
        expected = observed.sum() * p[row_of(context, vocab)]
        assert not observed[expected == 0].any()
        rare = expected < 5  # counted together: a chi-square needs cells that are not empty
        cells = [(o, e) for o, e in zip(observed[~rare], expected[~rare], strict=True)]
        if expected[rare].sum() >= 5:
            cells.append((observed[rare].sum(), expected[rare].sum()))
        statistic += sum((o - e) ** 2 / e for o, e in cells)
        freedom += max(0, len(cells) - 1)
    assert freedom >= 2 * vocab
    assert stats.chi2.sf(statistic, freedom) > LEAST_P


@pytest.mark.parametrize(("order", "vocab"), [(1, 5), (2, 4), (3, 3)])
def test_the_source_says_its_own_law(order: int, vocab: int) -> None:
    """`log_probs` gives at each place the logarithm of the row of the characters before it."""
    source, p = source_of(order, vocab, 1), markov.law(order, vocab, 1)
    inputs = np.zeros((6, 5), np.int64)
    inputs[:, 1:] = np.random.default_rng(0).integers(1, vocab, (6, 4))
    rows = source.log_probs(inputs)
    for b, t in itertools.product(range(6), range(5)):
        context = tuple(([0] * order + inputs[b, : t + 1].tolist())[-order:])
        np.testing.assert_allclose(np.exp(rows[b, t]), p[row_of(context, vocab)], rtol=1e-12)
    for t in range(5):
        np.testing.assert_array_equal(source.next_log_probs(inputs[:, : t + 1]), rows[:, t])


@pytest.mark.parametrize(("order", "vocab"), [(1, 27), (2, 5), (3, 3), (1, 2)])
def test_the_entropy_rate_is_that_of_the_chain(order: int, vocab: int) -> None:
    """Nats per target: expected visits of each context, solved as a linear system, times its entropy."""
    p, contexts = markov.law(order, vocab, 4), vocab**order
    transition = np.zeros((contexts, contexts))  # among contexts of a document that goes on
    for context in itertools.product(range(vocab), repeat=order):
        for target in range(1, vocab):
            here, there = row_of(context, vocab), row_of((*context, target)[1:], vocab)
            transition[here, there] += p[here, target]
    start = np.zeros(contexts)
    start[0] = 1
    visits = np.linalg.solve(np.eye(contexts) - transition.T, start)
    entropy = [-sum(q * math.log(q) for q in row if q > 0) for row in p.tolist()]
    assert source_of(order, vocab, 4).entropy_rate() == pytest.approx(
        visits @ entropy / visits.sum(), rel=1e-9
    )


@pytest.mark.parametrize(("order", "vocab"), [(1, 27), (2, 9)])
def test_the_source_scores_its_documents_at_the_entropy_rate(order: int, vocab: int) -> None:
    """The true source's own NLL on its draws is its entropy rate within four standard errors."""
    source = source_of(order, vocab, 0)
    alphabet = Alphabet(markov.alphabet({"vocab": vocab}))
    corpus = Corpus.from_documents(markov.documents(order, vocab, 0, 10_000), alphabet)
    sums, lengths = [], []
    for inputs, targets, mask in corpus.padded(1000):
        rows = -np.take_along_axis(source.log_probs(inputs), targets[:, :, None], axis=2)[:, :, 0]
        sums.append(np.where(mask, rows, 0.0).sum(axis=1))
        lengths.append(mask.sum(axis=1))
    s, n = np.concatenate(sums), np.concatenate(lengths)
    nll = s.sum() / n.sum()
    standard_error = math.sqrt(((s - nll * n) ** 2).sum()) / n.sum()
    assert standard_error < 0.005
    assert abs(nll - source.entropy_rate()) < 4 * standard_error


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"order": 0}, "order must be at least 1"),
        ({"order": 5}, "at most 16,777,216"),
        ({"vocab": 1}, "vocab must be 2 to 63"),
        ({"vocab": 64}, "vocab must be 2 to 63"),
        ({"documents": 0}, "documents must be at least 1"),
        ({"seed": -1}, "seed"),
    ],
)
def test_an_impossible_source_is_a_usage_error(change: dict[str, int], words: str) -> None:
    """Sizes that have no law, or one that fits no memory, are refused before anything is drawn."""
    with pytest.raises(UsageError, match=words):
        markov.documents(**({"order": 1, "vocab": 27, "seed": 0, "documents": 10} | change))


def test_the_dataset_carries_its_source() -> None:
    """The registered dataset has the drawn documents, the whole alphabet and the law that drew them."""
    spec = next(spec for spec in harness_datasets() if spec.name == "markov")
    assert isinstance(spec, DatasetSpec)
    dataset = open_dataset(spec, {"order": 2, "vocab": 5, "seed": 9, "documents": 300})
    assert dataset.documents == tuple(markov.documents(2, 5, 9, 300))
    assert dataset.name == "markov:order=2,vocab=5,seed=9,documents=300"
    assert (dataset.alphabet.characters, dataset.default_split) == ("abcd", "lecture")
    assert isinstance(dataset.true_source, markov.MarkovSource)
    assert (dataset.true_source.law == markov.law(2, 5, 9)).all()
    assert dataset.card()["entropy rate"] == (
        f"{source_of(2, 5, 9).entropy_rate():.6f} nats per target (of the true source)"
    )
