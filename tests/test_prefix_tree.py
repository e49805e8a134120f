"""The tree of prefixes against plain Python: sets of prefixes, dictionaries of what follows them."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Alphabet, Corpus
from harness.split import divide, parse
from harness_plugins.prefix_tree import PrefixTree, in_order, tree_batches

DOCUMENTS = st.lists(st.text("abc", max_size=6), min_size=1, max_size=12)


def corpus_of(documents: list[str]) -> Corpus:
    """Documents over abc."""
    return Corpus.from_documents(documents, Alphabet("abc"))


def tree_of(corpus: Corpus) -> PrefixTree:
    """The tree of all documents."""
    return PrefixTree.of(*in_order(corpus), corpus.alphabet.size)


def prefixes(tree: PrefixTree) -> list[str]:
    """The prefix that each node stands for, by its chain of parents."""
    found = [""]
    for node in range(1, len(tree.tokens)):
        found.append(found[tree.inner[tree.parent[node]]] + " abc"[tree.tokens[node]])
    return found


def documents_of(tree: PrefixTree) -> list[str]:
    """The documents, sorted: each prefix as often as a boundary follows it."""
    ends = zip(prefixes(tree), tree.counts[:, 0].astype(int), strict=True)
    return sorted(text for text, times in ends for _ in range(times))


def expected(documents: list[str]) -> dict[str, Counter[int]]:
    """What follows each distinct prefix, and how often; 0 is the end."""
    following: dict[str, Counter[int]] = defaultdict(Counter)
    for document in documents:
        for d in range(len(document) + 1):
            following[document[:d]][" abc".index(document[d]) if d < len(document) else 0] += 1
    return following


# ---- one tree


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS)
def test_nodes_are_the_distinct_prefixes(documents: list[str]) -> None:
    """One node a prefix, shortest first, with the counts of what follows it."""
    tree, following = tree_of(corpus_of(documents)), expected(documents)
    texts = prefixes(tree)
    assert len(texts) == len(set(texts))
    counted = [{int(w): int(n) for w, n in enumerate(row) if n} for row in tree.counts]
    assert dict(zip(texts, counted, strict=True)) == following
    lengths = [len(text) for text in texts]
    assert tree.level.tolist() == lengths == sorted(lengths)
    assert [lengths.count(d) for d in range(max(lengths) + 1)] == np.diff(tree.levels).tolist()


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS)
def test_inner_nodes_are_those_that_others_extend(documents: list[str]) -> None:
    """Ascending, each once, and cut by level like the nodes."""
    tree = tree_of(corpus_of(documents))
    texts = prefixes(tree)
    extended = {text[:-1] for text in texts if text}
    assert tree.inner.tolist() == [node for node, text in enumerate(texts) if text in extended]
    by_level = [sum(len(text) == d for text in extended) for d in range(len(tree.levels) - 1)]
    assert np.diff(tree.inner_levels).tolist() == by_level


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS)
def test_which_node_is_a_prefix_of_which(documents: list[str]) -> None:
    """Entry [i, j] as Python's `startswith` says; every node is a prefix of itself."""
    tree = tree_of(corpus_of(documents))
    texts = prefixes(tree)
    assert tree.prefixes().tolist() == [[text.startswith(other) for other in texts] for text in texts]


@settings(max_examples=30, deadline=None)
@given(DOCUMENTS)
def test_in_order(documents: list[str]) -> None:
    """Documents as dictionaries sort them, padded with 0, with the number of their targets."""
    rows, lengths = in_order(corpus_of(documents))
    sorted_rows = [[" abc".index(c) for c in text] for text in sorted(documents)]
    width = max(map(len, documents)) + 1
    assert rows.tolist() == [row + [0] * (width - len(row)) for row in sorted_rows]
    assert lengths.tolist() == [len(row) + 1 for row in sorted_rows]


def test_the_lecture_s_names_share_their_prefixes(makemore_names: tuple[str, ...]) -> None:
    """Of 182,625 training positions 50,705 prefixes are distinct, and 31,799 are followed by a letter."""
    letters = Alphabet("abcdefghijklmnopqrstuvwxyz")
    train = divide(makemore_names, letters, "lines", parse("lecture")).train
    tree = tree_of(train)
    assert (train.targets, len(tree.tokens), len(tree.inner)) == (182_625, 50_705, 31_799)
    assert tree.counts.sum() == train.targets


# ---- batches

WORDS = ["abba", "abab", "baba", "cab", "a", "abba", "bacca", "caba", "b", "abcabc", "cc", "bb", "aa"]


@pytest.mark.parametrize(("batch", "neighbours"), [(6, 3), (4, 4), (5, 1), (3, 8), (100, 5)])
def test_a_batch_is_runs_of_neighbours(batch: int, neighbours: int) -> None:
    """A batch holds whole runs of neighbours in sorted order, and no more than `batch` documents."""
    run = min(neighbours, batch, len(WORDS))
    batches = tree_batches(corpus_of(WORDS), batch, neighbours, np.random.default_rng(0))
    everything = sorted(WORDS)
    runs = {tuple(everything[i : i + run]) for i in range(len(WORDS) - run + 1)}
    sizes = set()
    for tree in islice(batches, 30):
        drawn = documents_of(tree)
        sizes.add(len(drawn))
        assert len(drawn) % run == 0
        assert {tuple(drawn[i : i + run]) for i in range(0, len(drawn), run)} <= runs
    assert max(sizes) == min(batch, len(WORDS)) // run * run


@pytest.mark.parametrize("neighbours", [1, 3])
def test_an_epoch_has_every_document_once(neighbours: int) -> None:
    """Each once, but for fewer than `neighbours` at either end of the order, which rest."""
    batches = tree_batches(corpus_of(WORDS), 6, neighbours, np.random.default_rng(1))
    everything = sorted(WORDS)
    for _ in range(5):
        drawn: list[str] = []
        while len(drawn) < len(WORDS) - 2 * (neighbours - 1):
            drawn += documents_of(next(batches))
        span = len(drawn)
        assert sorted(drawn) in [everything[i : i + span] for i in range(neighbours)]


def test_batches_are_those_of_the_generator() -> None:
    """Equal seeds give equal batches, and the order of the documents in the corpus does not matter."""

    def drawn(words: list[str], seed: int) -> list[list[str]]:
        batches = tree_batches(corpus_of(words), 4, 2, np.random.default_rng(seed))
        return [documents_of(tree) for tree in islice(batches, 10)]

    assert drawn(WORDS, 3) == drawn(WORDS[::-1], 3)
    assert drawn(WORDS, 3) != drawn(WORDS, 4)
