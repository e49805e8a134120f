"""N-gram models by counting: add-k, Witten–Bell and modified Kneser–Ney smoothing.

Chen & Goodman, An Empirical Study of Smoothing Techniques for Language Modeling (1999). All levels
are built and read by vectorised numpy: a context of length k is the pair (its suffix of length
k − 1, its oldest character), so that contexts are small integers at every order and alphabet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import Corpus, Trial, WindowModel
from harness.contract import Floats, Ints
from harness.errors import UsageError

Array = NDArray[np.float64]

MOST = 10
FALLBACK = (0.5, 1.0, 1.5)  # KenLM's discounts where the formula has no answer


@dataclass(eq=False)
class Counts:
    """All n-grams whose context has one length: what follows which context, how often.

    keys (U,): sorted suffix · V + oldest character of each context; starts (U,): begins at the
    document's start; rows, next, count (P,): entries sorted by (context, next); parents (P,): the entry
    of the level below with the same next character.
    """

    keys: Ints
    starts: NDArray[np.bool_]
    rows: Ints
    next: Ints
    count: Ints
    parents: Ints
    vocabulary: int


def count_levels(corpus: Corpus, order: int) -> Iterator[Counts]:
    """Counts for contexts of length 0 … order − 1, each from the one below."""
    v = corpus.alphabet.size
    tokens = corpus.tokens.astype(np.int64)
    here = np.arange(corpus.targets)  # (N,) targets whose context is long enough
    first = np.repeat(corpus.offsets[:-1], corpus.lengths)  # (N,) start of their document
    context = np.zeros(corpus.targets, np.int64)  # (N,) number of the context
    below = np.zeros(0, np.int64)  # entry keys of the level below
    for k in range(order):
        suffix = context
        if k == 0:
            keys = np.zeros(1, np.int64)
            starts = np.zeros(1, bool)
        else:
            keep = here - (k - 1) >= first
            here, first, suffix = here[keep], first[keep], context[keep]
            oldest = here - (k - 1)
            keys, context = np.unique(suffix * v + tokens[oldest], return_inverse=True)
            starts = keys % v == 0
        entries, count = np.unique(context * v + tokens[here + 1], return_counts=True)
        rows, following = entries // v, entries % v
        parents = np.searchsorted(below, (keys[rows] // v) * v + following)
        yield Counts(keys, starts, rows, following, count, parents, v)
        below = entries


def adjusted(levels: list[Counts]) -> list[Ints]:
    """Kneser–Ney's counts: raw at the top and after the start, else the number of left neighbours."""
    result = [levels[-1].count]
    for level, above in zip(reversed(levels[:-1]), reversed(levels[1:]), strict=True):
        neighbours = np.bincount(above.parents, minlength=len(level.count))
        result.append(np.where(level.starts[level.rows], level.count, neighbours))
    return result[::-1]


def formula(count: Ints) -> tuple[float, float, float]:
    """Discounts of counts 1, 2 and 3+ from the counts of counts; the fallback where there are none."""
    n1, n2, n3, n4 = (int((count == i).sum()) for i in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    discounts = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    legal = all(0 <= discount <= i for i, discount in enumerate(discounts, start=1))
    return discounts if legal else FALLBACK


@dataclass(eq=False)
class Level:
    """One level as it is read: p(w | h) = own(h, w) + rest(h) · p(w | h without its oldest character).

    keys (U,) as in `Counts`; offsets (U + 1,): the entries of each context; next, own (P,); rest (U,).
    """

    keys: Ints
    offsets: Ints
    next: Ints
    own: Array
    rest: Array


def read_level(level: Counts, own: Array, rest: Array) -> Level:
    """Counts with what every entry and every context is worth."""
    size = np.bincount(level.rows, minlength=len(level.keys))
    return Level(level.keys, np.concatenate([[0], np.cumsum(size)]), level.next, own, rest)


def kneser_ney(levels: list[Counts], discounts: Sequence[Sequence[float]]) -> list[Level]:
    """Interpolated modified Kneser–Ney; unigrams interpolate with the uniform distribution."""
    result = []
    for level, count, three in zip(levels, adjusted(levels), discounts, strict=True):
        total = np.bincount(level.rows, count, len(level.keys))  # (U,)
        off = np.minimum(count, np.asarray([0.0, *three])[np.minimum(count, 3)])  # (P,)
        taken = np.bincount(level.rows, off, len(level.keys))
        safe = np.where(total > 0, total, 1)
        rest = np.where(total > 0, taken / safe, 1.0)
        result.append(read_level(level, (count - off) / safe[level.rows], rest))
    return result


def witten_bell(levels: list[Counts]) -> list[Level]:
    """Interpolated Witten–Bell: a context gives away as much as it has distinct followers."""
    result = []
    for level in levels:
        followers = np.bincount(level.rows, minlength=len(level.keys))  # (U,)
        both = np.bincount(level.rows, level.count, len(level.keys)) + followers
        both = np.where(both > 0, both, 1)
        result.append(read_level(level, level.count / both[level.rows], followers / both))
    return result


def add_k(levels: list[Counts], k: float) -> list[Level]:
    """(c + k) / (total + k V) at the longest context there is: at the top, or from the start on."""
    result = []
    for depth, level in enumerate(levels):
        total = np.bincount(level.rows, level.count, len(level.keys))  # (U,)
        used = level.starts | (depth == len(levels) - 1)  # others pass their suffix through …
        mass = np.where(used, total + k * level.vocabulary, 1)
        mass = np.where(mass > 0, mass, 1)
        own = np.where(used[level.rows], level.count / mass[level.rows], 0.0)
        result.append(read_level(level, own, np.where(used, k * level.vocabulary / mass, 1.0)))
    return result  # … down to the uniform distribution, which is what is interpolated with


def look_up(levels: Sequence[Level], windows: Ints, v: int) -> Array:
    """Probabilities (N, V) after windows (N, context), oldest first, left-padded with 0."""
    n, width = windows.shape
    p = np.full((n, v), 1 / v)
    alive, context = np.arange(n), np.zeros(n, np.int64)  # rows whose context is known so far
    for k, level in enumerate(levels):
        if k:
            if k > 1:  # a context that holds the start is not longer than that
                longer = windows[alive, width - (k - 1)] != 0
                alive, context = alive[longer], context[longer]
            if k > width:
                break
            key = context * v + windows[alive, width - k]
            at = np.minimum(np.searchsorted(level.keys, key), len(level.keys) - 1)
            known = level.keys[at] == key if len(level.keys) else np.zeros(len(key), bool)
            alive, context = alive[known], at[known]
        if not len(alive):
            break
        p[alive] *= level.rest[context][:, None]
        size = level.offsets[context + 1] - level.offsets[context]
        ends = np.cumsum(size)
        entry = np.repeat(level.offsets[context] - ends + size, size) + np.arange(ends[-1])
        p[np.repeat(alive, size), level.next[entry]] += level.own[entry]
    return p


class Ngram(WindowModel):
    """Counting the last order − 1 characters."""

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Count; `order=auto` and `discounts=tuned` look at dev."""
        config = self.config
        if not dev.targets and (config["order"] == "auto" or config["discounts"] == "tuned"):
            raise UsageError("order=auto and discounts=tuned need a dev part")
        if config["count"] == "types":
            train = distinct(train)
        top = MOST if config["order"] == "auto" else config["order"]
        counts = list(count_levels(train, top))
        orders = range(1, MOST + 1) if config["order"] == "auto" else [top]
        fitted = {order: self.smoothed(counts[:order], dev) for order in orders}
        best = min(fitted, key=lambda order: nll(fitted[order], dev)) if len(fitted) > 1 else top
        for k, level in enumerate(fitted[best]):
            for name, value in vars(level).items():
                self.params[f"{k}/{name}"] = value

    def smoothed(self, counts: list[Counts], dev: Corpus) -> list[Level]:
        """The levels under the configured smoothing."""
        if self.config["smoothing"] == "add-k":
            return add_k(counts, self.config["k"])
        if self.config["smoothing"] == "witten-bell":
            return witten_bell(counts)
        discounts = [formula(count) for count in adjusted(counts)]
        if self.config["discounts"] == "tuned":
            discounts = tune(counts, discounts, dev)
        return kneser_ney(counts, discounts)

    def window_log_probs(self, windows: Ints) -> Floats:
        """(N, context) -> (N, V)."""
        with np.errstate(divide="ignore"):
            rows: Floats = np.log(look_up(self.levels, windows, self.vocab_size))
        return rows

    @property
    def levels(self) -> list[Level]:
        """The levels that `params` hold."""
        depth = len({name.partition("/")[0] for name in self.params})
        names = ("keys", "offsets", "next", "own", "rest")
        return [Level(*(self.params[f"{k}/{name}"] for name in names)) for k in range(depth)]


def distinct(corpus: Corpus) -> Corpus:
    """Each distinct document once, in the order of their first appearance."""
    seen: dict[bytes, int] = {}
    for document in range(len(corpus)):
        text = corpus.tokens[corpus.offsets[document] + 1 : corpus.offsets[document + 1] + 1]
        seen.setdefault(text.tobytes(), document)
    return corpus.take(np.array(list(seen.values()), np.int64)) if corpus.kind == "lines" else corpus


def nll(levels: list[Level], corpus: Corpus) -> float:
    """Nats per character of a corpus, by its distinct contexts."""
    contexts, inverse = corpus.unique_windows(max(1, len(levels) - 1))
    p = look_up(levels, contexts, corpus.alphabet.size)[inverse, corpus.tokens[1:]]
    with np.errstate(divide="ignore"):
        return -float(np.log(p).mean())


def tune(
    counts: list[Counts], start: Sequence[Sequence[float]], dev: Corpus
) -> list[tuple[float, float, float]]:
    """Discounts that minimise the NLL of dev: Nelder–Mead on one order after the other, top first."""
    from scipy.optimize import minimize

    best = [(one, two, more) for one, two, more in start]
    for k in reversed(range(len(counts))):

        def loss(three: Array, k: int = k) -> float:
            clipped = np.clip(three, 0, (1, 2, 3))
            tried = [*best[:k], clipped.tolist(), *best[k + 1 :]]
            return nll(kneser_ney(counts, tried), dev) + float(np.abs(three - clipped).sum())

        found = minimize(loss, best[k], method="Nelder-Mead", options={"maxfev": 40})
        one, two, more = np.clip(found.x, 0, (1, 2, 3)).tolist()
        best[k] = (one, two, more)
    return best
