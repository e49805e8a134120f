"""Compiled n-grams against numpy's: counts number for number, rows, targets."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from harness import Alphabet, Corpus, Trial, registry, selection
from harness_plugins import ngram_kernels, ngram_states, ngram_tree
from harness_plugins.ngram import Ngram
from harness_plugins.ngram_counts import View, count_levels
from harness_plugins.ngram_kernels import count_packed, packed_bits
from harness_plugins.ngram_numba import NgramNumba

ARRAYS = ("keys", "starts", "rows", "next", "count", "parents")


def made(kind: type[Any], options: str, v: int) -> Any:
    """A model with its context set as the harness does."""
    choice = selection.choose(registry.discover(), [f"ngram:{options}"])[0]
    model = kind(v, choice.config, np.random.default_rng(0))
    model.context = max(1, choice.spec.context_of(choice.config) or 0)
    return model


def text_of(length: int, characters: int = 5, kind: str = "lines") -> Corpus:
    """A text that repeats itself, in lines of 1 to 8 characters or in one piece."""
    alphabet = Alphabet("".join(chr(0x100 + i) for i in range(characters)))
    rng = np.random.default_rng(length)
    text = "".join(alphabet.characters[i] for i in rng.geometric(0.4, length) % characters)
    if kind == "text":
        return Corpus.from_documents([text], alphabet, "text")
    cuts = np.cumsum(rng.integers(1, 9, length))
    lines = [text[a:b] for a, b in zip([0, *cuts], cuts, strict=False) if a < length]
    return Corpus.from_documents(lines, alphabet)


# ---- counts


@pytest.mark.parametrize("part", [7, 1000, ngram_kernels.PART])
@pytest.mark.parametrize(("kind", "depth"), [("lines", 0), ("text", 1), ("lines", 2), ("text", 9)])
def test_parts_of_a_text_are_one_text(
    monkeypatch: pytest.MonkeyPatch, part: int, kind: str, depth: int
) -> None:
    """However many targets are sorted at a time, n-grams are those that plain Python counts."""
    corpus = text_of(3000, 11, kind)
    bits = 4
    expected: Counter[int] = Counter()
    for document in range(len(corpus)):
        first, last = corpus.offsets[document : document + 2]
        tokens = corpus.tokens[first : last + 1].tolist()
        for i in range(len(tokens) - 1):
            nearest_first = [tokens[j] if j >= 0 else 0 for j in range(i, i - depth, -1)]
            ngram = [*nearest_first, tokens[i + 1]]
            expected[sum(token << (bits * place) for place, token in enumerate(reversed(ngram)))] += 1
    monkeypatch.setattr(ngram_kernels, "PART", part)
    found, times = ngram_kernels.ngrams_of(corpus.tokens, depth, bits)
    assert list(zip(found.tolist(), times.tolist(), strict=True)) == sorted(expected.items())


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 6, 9])
@pytest.mark.parametrize("kind", ["lines", "text"])
@pytest.mark.parametrize(("length", "characters"), [(1, 1), (60, 3), (3000, 26), (3000, 100)])
def test_counts_are_those_of_numpy(depth: int, kind: str, length: int, characters: int) -> None:
    """Every array of every level, in the same order; where n-grams do not fit, None says so."""
    corpus = text_of(length, characters, kind)
    bits = packed_bits(corpus.alphabet.size, depth)
    if bits is None:
        assert (characters, depth) == (100, 9)  # 7 bits, ten times
        return
    for expected, found in zip(
        count_levels(corpus, View(depth)), count_packed(corpus, depth, bits), strict=True
    ):
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
            assert getattr(found, name).dtype == getattr(expected, name).dtype


def test_no_targets_no_counts(letters: Alphabet) -> None:
    """An empty corpus has no contexts but the empty one, as numpy's counts have."""
    empty = Corpus.from_documents([], letters)
    sizes = [
        [len(level.rows) for level in levels]
        for levels in (count_levels(empty, View(2)), count_packed(empty, 2, 5))
    ]
    assert sizes == [[0, 0, 0]] * 2


@pytest.mark.parametrize(
    ("v", "depth", "bits"), [(2, 9, 1), (27, 9, 5), (32, 5, 5), (33, 5, 6), (129, 7, None), (65, 8, 7)]
)
def test_bits_of_a_character(v: int, depth: int, bits: int | None) -> None:
    """As few as hold V − 1; none where a context and one more need over 63."""
    assert packed_bits(v, depth) == bits


# ---- rows

OPTIONS = [
    "",
    "order=1",
    "order=2",
    "order=10",
    "order=auto",
    "smoothing=witten-bell",
    "smoothing=add-k,k=0.5,order=3",
    "smoothing=add-k,k=0,order=3",
    "discounts=tuned,count=types",
    "preset=lines",
    "preset=text",
    "order=1,discounts=tuned,classes=2",
    "order=4,discounts=tuned,classes=3",
]


@pytest.mark.parametrize("options", OPTIONS)
def test_rows_are_those_of_numpy(options: str) -> None:
    """Whole rows, next rows and targets of another text, to 1e-11; also from a start that is no boundary."""
    train, dev = text_of(900), text_of(400, 5)
    ours, oracle = (made(kind, options, 6) for kind in (NgramNumba, Ngram))
    for model in (ours, oracle):
        model.fit(train, dev, Trial())
    assert ours.params.keys() == oracle.params.keys()
    for name, value in oracle.params.items():
        np.testing.assert_allclose(ours.params[name], value, atol=1e-12, err_msg=name)
    inputs = dev.batch(np.arange(40)).inputs
    inputs[::3, 0] = 2  # a window of running text
    expected = oracle.log_probs(inputs)
    np.testing.assert_allclose(ours.log_probs(inputs), expected, atol=1e-11)
    for length in (1, 2, inputs.shape[1]):
        np.testing.assert_allclose(
            ours.next_log_probs(inputs[:, :length]), expected[:, length - 1], atol=1e-11
        )
    windows, targets = dev.windows(oracle.context)
    rows = oracle.window_log_probs(windows)
    np.testing.assert_allclose(ours.window_log_probs(windows), rows, atol=1e-11)
    np.testing.assert_allclose(ours.target_log_probs(dev), rows[np.arange(len(targets)), targets], atol=1e-11)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 11, 50, 51, 52, 53])
@pytest.mark.parametrize("order", [1, 3, 6])
def test_targets_of_texts_of_any_length(length: int, order: int) -> None:
    """Four stretches are read at once, each from the characters before it."""
    train, text = text_of(900, kind="text"), text_of(length, kind="text")
    model = made(NgramNumba, f"order={order}", 6)
    model.fit(train, train, Trial())
    (row,) = text.batch(np.arange(1)).inputs
    expected = model.log_probs(row[None])[0][np.arange(length), text.tokens[1:]]
    np.testing.assert_array_equal(model.target_log_probs(text), expected)


def test_rows_sum_to_one() -> None:
    """Within 1e-12."""
    train = text_of(3000, 26)
    model = made(NgramNumba, "", 27)
    model.fit(train, train, Trial())
    rows = model.window_log_probs(text_of(500, 26).windows(5)[0])
    assert np.abs(np.log(np.exp(rows).sum(axis=1))).max() < 1e-12


@pytest.mark.parametrize("dense", [1, 500])
@pytest.mark.parametrize("options", ["", "order=1", "order=2", "smoothing=add-k,k=0,order=4"])
def test_without_tables_rows_are_looked_up(monkeypatch: pytest.MonkeyPatch, dense: int, options: str) -> None:
    """Where contexts are too many for an automaton, the tree gives the same rows."""
    train = text_of(900)
    ours, tree = (made(NgramNumba, options, 6) for _ in range(2))
    for model in (ours, tree):
        model.fit(train, train, Trial())
    inputs = text_of(300).batch(np.arange(20)).inputs
    inputs[::3, 0] = 2
    expected = ours.log_probs(inputs), ours.next_log_probs(inputs[:, :2]), ours.target_log_probs(train)
    monkeypatch.setattr(ngram_states, "MOST", 5)
    monkeypatch.setattr(ngram_tree, "DENSE", dense)
    found = tree.log_probs(inputs), tree.next_log_probs(inputs[:, :2]), tree.target_log_probs(train)
    assert isinstance(ours.readable(), ngram_states.States)
    assert isinstance(tree.readable(), list)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-11)


def test_new_parameters_are_a_new_automaton() -> None:
    """A model that is given other parameters gives their rows."""
    one, other = text_of(900), text_of(901)
    models = [made(NgramNumba, "order=3", 6) for _ in range(2)]
    for model, corpus in zip(models, (one, other), strict=True):
        model.fit(corpus, corpus, Trial())
    inputs = np.zeros((1, 1), np.int64)
    assert not np.array_equal(models[0].log_probs(inputs), models[1].log_probs(inputs))
    models[0].params = dict(models[1].params)
    assert np.array_equal(models[0].log_probs(inputs), models[1].log_probs(inputs))
