"""Do drawn documents obey a law: places on [0, 1), contexts pooled, one G statistic."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness import Alphabet
from harness.contract import Ints, Model
from harness.goodness import g_test, goodness, named, pieces, rows_of
from harness.statistics import chi_squared_tail

AB = Alphabet("ab")


class Fixed(Model):
    """The same row everywhere, (0.5, 0.3, 0.2) for the boundary, a and b."""

    row = np.array([0.5, 0.3, 0.2])

    def fit(self, train, dev, trial) -> None:  # type: ignore[no-untyped-def]
        """Nothing to learn."""

    def log_probs(self, inputs: Ints) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.broadcast_to(np.log(self.row), (*inputs.shape, 3))


class OnlyB(Fixed):
    """After the start there is nothing but b."""

    row = np.array([0.5, 0.0, 0.5])


def a_fixed(kind: type[Fixed] = Fixed) -> Fixed:
    return kind(3, {}, np.random.default_rng(0))


def drawn(n: int, seed: int) -> list[str]:
    """N documents from `Fixed`, each character by itself in plain Python."""
    rng = np.random.default_rng(seed)
    documents = []
    for _ in range(n):
        text = ""
        while (u := rng.random()) >= 0.5:
            text += "a" if u < 0.8 else "b"
        documents.append(text)
    return documents


def test_pieces_lie_side_by_side_the_likeliest_first() -> None:
    """The pieces of a row are its probabilities in falling order, ties by index, from 0 to 1."""
    p = np.array([0.2, 0.4, 0.2, 0.2])
    start, own = pieces(np.tile(p, (4, 1)), np.arange(4))
    assert own.tolist() == p.tolist()
    assert start == pytest.approx([0.4, 0.0, 0.6, 0.8])


@pytest.mark.parametrize("context", [None, 0, 2])
def test_every_target_has_its_own_row(context: int | None) -> None:
    """By prefixes or by distinct contexts, each target comes once, with the row after what precedes it."""

    class Last(Fixed):
        def log_probs(self, inputs: Ints) -> np.ndarray:
            p = 0.1 + 0.7 * (np.arange(3) == inputs[..., None])
            return np.log(p)

    from harness import Corpus

    corpus = Corpus.from_lines(["ab", "", "bba"], AB)
    seen = {}
    for where, rows in rows_of(a_fixed(Last), corpus, None if context is None else max(1, context)):
        seen |= {int(at): int(row.argmax()) for at, row in zip(where, rows, strict=True)}
    assert [seen[at] for at in range(corpus.targets)] == corpus.tokens[:-1].tolist()


def by_hand(contexts: list[str], quarters: list[int]) -> tuple[float, int]:
    """G with Williams' correction, context by context."""
    total = 0.0
    for context in set(contexts):
        own = [q for c, q in zip(contexts, quarters, strict=True) if c == context]
        g = 2 * sum(own.count(q) * math.log(own.count(q) / (len(own) / 4)) for q in set(own))
        k = 4
        total += g / (1 + (k * k - 1) / (6 * len(own) * (k - 1)))
    return total, 3 * len(set(contexts))


def test_g_is_the_sum_over_contexts() -> None:
    """The statistic and its degrees against plain Python, where every context is frequent."""
    rng = np.random.default_rng(1)
    windows = rng.integers(0, 3, (600, 2))
    places = rng.random(600)
    found = g_test(windows, places, AB)
    g, degrees = by_hand([f"{a}{b}" for a, b in windows], [int(4 * place) for place in places])
    assert found.g == pytest.approx(g)
    assert found.degrees == degrees == 27
    assert found.characters == 600


def test_contexts_are_named_as_they_are_read() -> None:
    """Two characters, the first of a document, the start itself, and what was pooled."""
    names = {5: "'ab'", 4: "'aa'", 2: "'b' at the start", 0: "the start", 11: "… 'b'", 12: "rare characters"}
    assert {context: named(context, AB) for context in names} == names


def test_rare_contexts_are_pooled_by_their_last_character() -> None:
    """Below 20 observations a context joins those that end alike, and these at last each other."""
    windows = np.array([[1, 1]] * 40 + [[1, 2]] * 15 + [[2, 2]] * 15 + [[2, 1]] * 10 + [[0, 0]] * 12)
    rng = np.random.default_rng(2)
    places = rng.random(len(windows))
    names = ["aa"] * 40 + ["b"] * 30 + ["rare"] * 22
    g, degrees = by_hand(names, [int(4 * place) for place in places])
    found = g_test(windows, places, AB)
    assert (found.g, found.degrees) == (pytest.approx(g), degrees)


def test_the_p_value_is_uniform_under_the_law() -> None:
    """Of 200 small samples from the law about a twentieth have p under 0.05, half under 0.5."""
    p = [
        goodness(drawn(300, seed), a_fixed(), AB, 100, 1, np.random.default_rng([seed, 1])).p
        for seed in range(200)
    ]
    assert 2 <= sum(value < 0.05 for value in p) <= 21  # binomial(200, 0.05), 1 in 10,000 each side
    assert 72 <= sum(value < 0.5 for value in p) <= 128


def test_documents_of_another_law_are_refused() -> None:
    """a and b exchanged: p is far below the level, and the worst context is named."""
    swapped = [text.translate({97: 98, 98: 97}) for text in drawn(3000, 1)]
    found = goodness(swapped, a_fixed(), AB, 100, 1, np.random.default_rng(0))
    assert found.p < 1e-20
    assert "quarters, likeliest first" in found.worst


def test_the_end_of_a_cut_document_was_not_drawn() -> None:
    """Documents cut at the limit obey the law all the same; taken for whole they would not."""
    cut = [text[:2] for text in drawn(3000, 1)]
    assert goodness(cut, a_fixed(), AB, 2, 1, np.random.default_rng(0)).p > 1e-6
    assert goodness(cut, a_fixed(), AB, 3, 1, np.random.default_rng(0)).p < 1e-6


def test_what_cannot_be_drawn_is_named() -> None:
    """A character of p = 0 needs no statistic."""
    found = goodness(["b", "ba", "b"], a_fixed(OnlyB), AB, 100, 1, np.random.default_rng(0))
    assert found.p == 0
    assert found.worst == "drew 'a' after 'b', where p = 0"


@pytest.mark.parametrize(
    ("value", "degrees", "p"), [(3.841, 1, 0.05), (18.307, 10, 0.05), (29.588, 10, 0.001)]
)
def test_the_tail_of_chi_squared(value: float, degrees: int, p: float) -> None:
    """Against the quantiles that are printed in every table."""
    assert chi_squared_tail(value, degrees) == pytest.approx(p, rel=1e-3)
