"""Do drawn documents obey a law? One pooled G statistic over what follows each context.

Each row is laid out on [0, 1), its likeliest character first, and a drawn character is a random place
within its own piece: uniform under the law, and independent of all before it, whatever the rows are
(Rosenblatt 1952, Annals of Mathematical Statistics 23). So every context has the same four equally
likely cells, and a sampler that is too bold or too timid moves all of them alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.contract import Floats, Ints, Model
from harness.corpus import Alphabet, Corpus
from harness.evaluate import CELLS_A_BATCH, FEW, blind_rows, window_rows
from harness.statistics import chi_squared_tail

QUARTERS = 4
LEAST = 5  # expected in a cell
SHARE = 128  # a context is looked at alone where it holds one character of so many


@dataclass(frozen=True)
class Goodness:
    """How well drawn documents agree with a law; worst: what deviates most."""

    characters: int
    g: float
    degrees: int
    p: float
    worst: str

    def __str__(self) -> str:
        return f"{self.characters:,} characters, G = {self.g:.0f} on {self.degrees} degrees, p = {self.p:.2g}"


def goodness(
    texts: list[str],
    model: Model,
    alphabet: Alphabet,
    limit: int,
    context: int | None,
    rng: np.random.Generator,
) -> Goodness:
    """Drawn documents against the model's own rows after each of their prefixes.

    A document of `limit` characters was cut: its end was not drawn and is left out. context: what the
    model promises; up to 16 its rows are asked for distinct contexts.
    """
    corpus = Corpus.from_lines(texts, alphabet)
    drawn = np.ones(corpus.targets, bool)  # (N,)
    drawn[corpus.offsets[1:][corpus.lengths > limit] - 1] = False
    places = np.zeros(corpus.targets)  # (N,)
    for where, rows in rows_of(model, corpus, context):
        chosen = corpus.tokens[where + 1].astype(np.int64)  # (A,)
        start, own = pieces(np.exp(rows), chosen)
        if (impossible := drawn[where] & (own == 0)).any():
            return refuted(corpus, int(where[impossible][0]))
        places[where] = np.minimum(start + rng.random(len(where)) * own, np.nextafter(1, 0))
    windows, _ = corpus.windows(2)
    return g_test(windows[drawn], places[drawn], alphabet)


def rows_of(model: Model, corpus: Corpus, context: int | None) -> Iterator[tuple[Ints, Floats]]:
    """Some targets (A,) and their rows (A, V), until all had their turn."""
    if context is None or context > FEW:
        for where, rows, row in blind_rows(model, corpus):
            yield where, rows[row]
        return
    rows, row = window_rows(model, corpus, context)  # (U, V), (N,)
    at_once = max(1, CELLS_A_BATCH // corpus.alphabet.size)
    for first in range(0, corpus.targets, at_once):
        where = np.arange(first, min(first + at_once, corpus.targets))
        yield where, rows[row[where]]


def pieces(p: Floats, chosen: Ints) -> tuple[Floats, Floats]:
    """Where the piece of each drawn character begins on [0, 1), and how long it is: rows (A, V) -> both (A,).

    Before it lie the likelier characters, and of equally likely ones those of lower index.
    """
    own = np.take_along_axis(p, chosen[:, None], axis=1)  # (A, 1)
    tied = (p == own) & (np.arange(p.shape[1]) < chosen[:, None])
    return np.where((p > own) | tied, p, 0.0).sum(axis=1), own[:, 0]


def refuted(corpus: Corpus, target: int) -> Goodness:
    """What needs no statistic: a character was drawn that cannot be."""
    begin = corpus.offsets[np.searchsorted(corpus.offsets, target, side="right") - 1]
    before = corpus.alphabet.decode(corpus.tokens[begin + 1 : target + 1])
    character = corpus.alphabet.decode(corpus.tokens[target + 1 : target + 2])
    what = ascii(character) if character else "the end"
    return Goodness(corpus.targets, np.inf, 1, 0.0, f"drew {what} after {before!a}, where p = 0")


def g_test(windows: Ints, places: Floats, alphabet: Alphabet) -> Goodness:
    """Quarters of [0, 1) after each frequent context: the sum of the contexts' G statistics.

    windows (N, 2): the characters before; places (N,). A context costs three degrees of freedom, and
    with them power, so that one of less than 1/128 of all characters is pooled with those that end
    alike, and these, where they are too few still, with each other. G of few observations is too
    large by a known factor, which is taken off (Williams 1976, Biometrika 63).
    """
    v, n = alphabet.size, len(places)
    least = max(LEAST * QUARTERS, n / SHARE)
    contexts = windows[:, 0] * v + windows[:, 1]  # (N,)
    for pooled in (v * v + windows[:, 1], np.full(n, v * v + v)):
        size = np.bincount(contexts, minlength=v * v + v + 1)
        contexts = np.where(size[contexts] < least, pooled, contexts)
    seen, which = np.unique(contexts, return_inverse=True)  # (C,), (N,)
    cells = which * QUARTERS + (places * QUARTERS).astype(np.int64)
    observed = np.bincount(cells, minlength=len(seen) * QUARTERS).reshape(-1, QUARTERS)  # (C, 4)
    size = observed.sum(axis=1)  # (C,)
    ratio = np.where(observed > 0, observed * QUARTERS / size[:, None], 1.0)
    g = 2 * (observed * np.log(ratio)).sum(axis=1) / (1 + (QUARTERS + 1) / (6 * size))  # (C,)
    degrees, total, first = len(seen) * (QUARTERS - 1), float(g.sum()), int(np.argmax(g))
    counts = ", ".join(f"{count:,}" for count in observed[first].tolist())
    worst = f"after {named(int(seen[first]), alphabet)} the quarters, likeliest first, hold {counts}"
    return Goodness(n, total, degrees, chi_squared_tail(total, degrees), worst)


def named(context: int, alphabet: Alphabet) -> str:
    """A context in words: `'an'`, `'a' at the start`, `… 'n'` where those before are rare ones."""
    v = alphabet.size
    if context == v * v + v:
        return "rare characters"
    before, last = divmod(context, v) if context < v * v else (0, context - v * v)
    if last == 0:
        return "the start"
    if context >= v * v:
        return f"… {alphabet.decode([last])!a}"
    return ascii(alphabet.decode([before, last])) + ("" if before else " at the start")
