"""`ngram` against plain-Python oracles and the published figures."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import harness
from harness import Alphabet, Corpus, Trial, evaluate
from harness.contract import Config
from harness_plugins.ngram import Ngram, adjusted, count_levels, distinct, formula

BASE: Config = {
    "order": 3, "smoothing": "kneser-ney", "count": "tokens", "discounts": "formula", "k": 0.1,
}  # fmt: skip
WORDS = ["abba", "abab", "baba", "cab", "a", "abba", "bacca", "caba", "b", "abcabc"]
START, END = "<", ">"


def fitted(corpus: Corpus, **options: object) -> Ngram:
    """The model with some options."""
    config = {**BASE, **options}
    model = Ngram(corpus.alphabet.size, config, np.random.default_rng(0))
    model.context = max(1, (10 if config["order"] == "auto" else int(str(config["order"]))) - 1)
    model.fit(corpus, corpus, Trial())
    return model


def corpus_of(words: Sequence[str]) -> Corpus:
    """Words over abc."""
    return Corpus.from_documents(words, Alphabet("abc"))


def counts_of(words: Sequence[str], k: int) -> dict[str, Counter[str]]:
    """Raw counts after contexts of k characters, the start symbol counted once."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for word in words:
        text = START + word + END
        for i in range(1, len(text)):
            if i >= k:
                found[text[i - k : i]][text[i]] += 1
    return found


def kneser_ney_oracle(words: Sequence[str], order: int, history: str, following: str) -> float:
    """Modified Kneser–Ney by dictionaries and recursion (Chen & Goodman 1999)."""
    raw = [counts_of(words, k) for k in range(order)]

    def count(k: int) -> dict[str, Counter[str]]:
        if k == order - 1:
            return raw[k]
        left: dict[str, Counter[str]] = defaultdict(Counter)
        for context, followers in raw[k + 1].items():
            for character in followers:
                left[context[1:]][character] += 1
        return left | {context: c for context, c in raw[k].items() if context.startswith(START)}

    def discounts(k: int) -> tuple[float, float, float]:
        n = Counter(c for followers in count(k).values() for c in followers.values())
        if not all(n[i] for i in (1, 2, 3, 4)):
            return (0.5, 1.0, 1.5)
        y = n[1] / (n[1] + 2 * n[2])
        found = (1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3])
        return found if all(0 <= d <= i for i, d in enumerate(found, 1)) else (0.5, 1.0, 1.5)

    def probability(context: str) -> float:
        lower = probability(context[1:]) if context else 1 / 4
        followers = count(len(context)).get(context)
        if not followers:
            return lower
        d = (0.0, *discounts(len(context)))
        total = sum(followers.values())
        own = followers[following]
        rest = sum(d[min(c, 3)] for c in followers.values()) / total
        return (own - d[min(own, 3)]) / total + rest * lower

    return probability((START + history)[-(order - 1) :] if order > 1 else "")


@pytest.mark.parametrize("order", [1, 2, 3, 4, 6])
def test_kneser_ney_against_dictionaries(order: int) -> None:
    """Every probability after seen and unseen histories equals that of a recursive dictionary model."""
    model = fitted(corpus_of(WORDS), order=order)
    for history in ("", "a", "ab", "abb", "bb", "cc", "ccc", "abca", "abcabca", "baccab"):
        inputs = np.array([[0, *("abc".index(c) + 1 for c in history)]])
        row = np.exp(model.next_log_probs(inputs)[0])
        for token, following in enumerate(END + "abc"):
            expected = kneser_ney_oracle(WORDS, order, history, following)
            assert row[token] == pytest.approx(expected, abs=1e-12), (history, following)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_witten_bell_against_dictionaries(order: int) -> None:
    """p = (c + T p_lower) / (total + T), T distinct followers, down to the uniform distribution."""

    def oracle(context: str, following: str) -> float:
        lower = oracle(context[1:], following) if context else 1 / 4
        followers = counts_of(WORDS, len(context)).get(context)
        if not followers:
            return lower
        types, total = len(followers), sum(followers.values())
        return (followers[following] + types * lower) / (total + types)

    model = fitted(corpus_of(WORDS), order=order, smoothing="witten-bell")
    for history in ("", "a", "ab", "bb", "abcabca"):
        inputs = np.array([[0, *("abc".index(c) + 1 for c in history)]])
        row = np.exp(model.next_log_probs(inputs)[0])
        for token, following in enumerate(END + "abc"):
            context = (START + history)[-(order - 1) :] if order > 1 else ""
            assert row[token] == pytest.approx(oracle(context, following), abs=1e-12)


@pytest.mark.parametrize("k", [0.0, 0.5])
def test_add_k_of_order_two_is_the_counting_bigram(small: Corpus, k: float) -> None:
    """Order 2 with add-k gives the rows of `count-bigram`, p = 0 included."""
    from harness_plugins.count_bigram import CountBigram

    ours = fitted(small, order=2, smoothing="add-k", k=k)
    other = CountBigram(27, {"k": k}, np.random.default_rng(0))
    other.fit(small, small, Trial())
    seen = np.unique(small.tokens)[None].astype(np.int64)
    expected = other.log_probs(seen)
    assert np.allclose(np.exp(ours.log_probs(seen))[0, 1:], np.exp(expected)[0, 1:], atol=1e-12)


def test_counts_of_types_count_each_document_once() -> None:
    """`count=types` is the model of the distinct words; `distinct` keeps their first order."""
    types = corpus_of(list(dict.fromkeys(WORDS)))
    assert [distinct(corpus_of(WORDS)).text(i) for i in range(len(types))] == list(dict.fromkeys(WORDS))
    inputs = np.array([[0, 1, 2]])
    ours = fitted(corpus_of(WORDS), count="types").log_probs(inputs)
    assert np.allclose(ours, fitted(types).log_probs(inputs), atol=1e-15)


def test_auto_takes_the_order_that_dev_prefers() -> None:
    """`order=auto` is the best of orders 1 to 10 on dev."""
    train, dev = corpus_of(WORDS * 3), corpus_of(["abcab", "cabba", "bab"])
    auto = Ngram(4, {**BASE, "order": "auto"}, np.random.default_rng(0))
    auto.context = 9
    auto.fit(train, dev, Trial())
    scores = []
    for order in range(1, 11):
        one = Ngram(4, {**BASE, "order": order}, np.random.default_rng(0))
        one.context = max(1, order - 1)
        one.fit(train, dev, Trial())
        scores.append(evaluate.blind(one, dev).nll)
    assert evaluate.blind(auto, dev).nll == pytest.approx(min(scores))


def test_formula_falls_back_where_a_count_is_missing() -> None:
    """Without singletons, doubletons, … the discounts are 0.5, 1, 1.5."""
    assert formula(np.array([2, 2, 3, 4])) == (0.5, 1.0, 1.5)
    assert formula(np.array([1, 1, 1, 2, 2, 3, 4]))[0] == pytest.approx(1 - 2 * (3 / 7) * 2 / 3)


def test_adjusted_counts_by_hand() -> None:
    """Below the top, an n-gram counts its left neighbours; one that begins a document its occurrences."""
    levels = list(count_levels(corpus_of(["ab", "ab", "b"]), 2))
    unigram = dict(zip(levels[0].next.tolist(), adjusted(levels)[0].tolist(), strict=True))
    assert unigram == {0: 1, 1: 1, 2: 2}  # the end after b; a after the start; b after the start and a


@pytest.mark.parametrize(
    ("options", "dev"),
    [
        ("order=2", 2.4528), ("order=3", 2.2185), ("order=4", 2.0564), ("order=5", 1.9841),
        ("order=6", 1.9746), ("count=types", 1.9715),
        ("order=5,smoothing=witten-bell", 2.0348), ("order=4,smoothing=add-k,k=0.1", 2.1018),
    ],
)  # fmt: skip
def test_figures(makemore_path: Path, tmp_path: Path, options: str, dev: float) -> None:
    """Modified Kneser–Ney is KenLM's (lmplz --discount_fallback); the others as published."""
    (record,) = harness.run(
        f"ngram:{options}", dataset="makemore-names", split="lecture", results=tmp_path
    ).records
    assert record.status == "ok", record.reason
    assert record.metrics.dev_nll == pytest.approx(dev, abs=5e-4)
    assert math.isfinite(record.metrics.test_nll or math.nan)
