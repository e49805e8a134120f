"""N-gram models by counting: add-k, Witten–Bell and modified Kneser–Ney smoothing.

Chen & Goodman, An Empirical Study of Smoothing Techniques for Language Modeling (1999).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Corpus, Trial, WindowModel
from harness.contract import Floats, Ints
from harness.errors import UsageError
from harness_plugins.held_out import hold_out
from harness_plugins.ngram_classes import exchange
from harness_plugins.ngram_counts import (
    Array,
    Counts,
    View,
    adjusted,
    contexts,
    count_levels,
    distinct,
    formula,
    portions,
)
from harness_plugins.ngram_discounts import Discounts, Pairs, deadline, locate, terms, tune

MOST = 10  # characters of the longest n-gram
PATTERN = 6  # characters whose classes begin a context of the second view
ARRAYS = ("keys", "offsets", "next", "own", "rest")


@dataclass(eq=False)
class Level:
    """One level as it is read: p(w | h) = own(h, w) + rest(h) · p(w | h without its last symbol).

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


def kneser_ney(levels: Sequence[Counts], counts: Sequence[NDArray[Any]], discounts: Discounts) -> list[Level]:
    """Interpolated modified Kneser–Ney; unigrams interpolate with the uniform distribution."""
    result = []
    for level, count, three in zip(levels, counts, discounts, strict=True):
        total = np.bincount(level.rows, count, len(level.keys))  # (U,)
        off = np.minimum(count, np.asarray(three) @ portions(count))  # (P,)
        taken = np.bincount(level.rows, off, len(level.keys))
        result.append(read_level(level, (count - off) / total[level.rows], taken / total))
    return result


def witten_bell(levels: Sequence[Counts]) -> list[Level]:
    """Interpolated Witten–Bell: a context gives away as much as it has distinct followers."""
    result = []
    for level in levels:
        followers = np.bincount(level.rows, minlength=len(level.keys))  # (U,)
        both = np.bincount(level.rows, level.count, len(level.keys)) + followers
        result.append(read_level(level, level.count / both[level.rows], followers / both))
    return result


def add_k(levels: Sequence[Counts], k: float) -> list[Level]:
    """(c + k) / (total + k V) at the longest context there is: at the top, or from the start on."""
    result = []
    for depth, level in enumerate(levels):
        total = np.bincount(level.rows, level.count, len(level.keys))  # (U,)
        used = level.starts | (depth == len(levels) - 1)  # others pass their suffix through …
        mass = np.where(used, total + k * level.vocabulary, 1)
        own = np.where(used[level.rows], level.count / mass[level.rows], 0.0)
        result.append(read_level(level, own, np.where(used, k * level.vocabulary / mass, 1.0)))
    return result  # … down to the uniform distribution, which is what is interpolated with


def look_up(levels: Sequence[Level], view: View, windows: Ints, v: int) -> Array:
    """Probabilities (N, V) after windows (N, width), oldest first, left-padded with 0.

    A level that has fewer contexts than there are windows is worked out for all of its contexts at
    once; above those only the characters that were seen are touched.
    """
    n = len(windows)
    found = list(contexts(levels, view, windows, v))
    whole = 1
    while whole < len(levels) and len(levels[whole].keys) <= n:
        whole += 1
    p = np.empty((n, v))
    table = np.full((1, v), 1 / v)  # (U, V) of the level below
    for k, level in enumerate(levels[:whole]):
        table = level.rest[:, None] * table[level.keys // view.base(v)]
        table[np.repeat(np.arange(len(level.keys)), np.diff(level.offsets)), level.next] += level.own
        alive, context = found[k]
        if k + 1 < whole:  # those that no further table holds
            stay = np.ones(len(alive), bool)
            stay[np.searchsorted(alive, found[k + 1][0])] = False
            alive, context = alive[stay], context[stay]
        p[alive] = table[context]

    weight = np.ones(n)  # how much of what lies below reaches the top
    for level, (alive, context) in reversed(list(zip(levels[whole:], found[whole:], strict=True))):
        weight[alive] *= level.rest[context]
    p *= weight[:, None]
    weight[:] = 1
    flat = p.reshape(-1)
    for level, (alive, context) in reversed(list(zip(levels[whole:], found[whole:], strict=True))):
        first = level.offsets[context]
        size = level.offsets[context + 1] - first
        ends = np.cumsum(size)
        entry = np.arange(size.sum()) + np.repeat(first - ends + size, size)
        cell = np.repeat(alive * v, size) + level.next[entry]
        flat[cell] += np.repeat(weight[alive], size) * level.own[entry]
        weight[alive] *= level.rest[context]
    return p


class Ngram(WindowModel):
    """Counting the last order − 1 characters."""

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Count; what is to be chosen is chosen on dev, or on a tenth of train."""
        config = self.config
        held_out = config["discounts"] == "held-out"
        part, judge = hold_out(train) if held_out else (train, dev)
        self.demand(part, judge)
        if config["count"] == "types":
            part = distinct(part)
        plain = View((MOST if config["order"] == "auto" else config["order"]) - 1)
        counts = self.count(part, plain)
        counting = trial.elapsed()  # what follows a search takes about as long
        if config["order"] == "auto":
            late = deadline(trial, counting)
            plain = View(self.best_order(counts, plain, judge, late) - 1)
            counts = counts[: plain.depth + 1]
        chosen = trial.elapsed()
        views, counted = [plain], [counts]
        if config["classes"] and plain.depth:
            views.append(View(1 + min(PATTERN, plain.depth), exchange(part, config["classes"])))
            counted.append(self.count(part, views[1]))
        pairs = [locate(c, view, judge) for c, view in zip(counted, views, strict=True)] if self.tuned else []
        late = deadline(trial, counting + trial.elapsed() - chosen)
        discounts, weights = self.discounts(counted, pairs, judge.targets, late)
        if held_out:
            everything = distinct(train) if config["count"] == "types" else train
            counted = [self.count(everything, view) for view in views]
        self.params = {"weights": weights}
        if len(views) > 1 and views[1].classes is not None:
            self.params["classes"] = views[1].classes
        for index, (levels, triples) in enumerate(zip(counted, discounts, strict=True)):
            for k, level in enumerate(self.smoothed(levels, triples)):
                self.params |= {f"{index}/{k}/{name}": getattr(level, name) for name in ARRAYS}

    def count(self, part: Corpus, view: View) -> list[Counts]:
        """The counts of every level."""
        return list(count_levels(part, view))

    @property
    def tuned(self) -> bool:
        """Whether discounts are searched for."""
        return bool(self.config["discounts"] != "formula")

    def demand(self, part: Corpus, judge: Corpus) -> None:
        """A `UsageError` where there is nothing to choose on."""
        if self.config["discounts"] == "held-out":
            if not (part.targets and judge.targets):
                raise UsageError("discounts=held-out needs ten training documents (or characters) at least")
        elif not judge.targets and (self.config["order"] == "auto" or self.tuned):
            raise UsageError(
                "order=auto and discounts=tuned need a dev part; discounts=held-out takes it from train"
            )

    def best_order(self, counts: list[Counts], view: View, judge: Corpus, late: Callable[[], bool]) -> int:
        """The order that held-out text prefers."""
        pairs = locate(counts, view, judge)
        scores: dict[int, float] = {}
        found: Discounts = []
        for order in range(1, MOST + 1):
            if scores and self.tuned and late():
                break  # the best of those that there was time for
            levels = counts[:order]
            ((found,), _) = self.discounts([levels], [pairs[:order]], judge.targets, late, found)
            scores[order] = nll(self.smoothed(levels, found), pairs, judge.targets, self.vocab_size)
        return min(scores, key=lambda order: scores[order])

    def discounts(
        self,
        counted: Sequence[list[Counts]],
        pairs: Sequence[list[Pairs]],
        targets: int,
        late: Callable[[], bool],
        known: Discounts = (),
    ) -> tuple[Sequence[Discounts], Array]:
        """The discounts of each view, and the weights of the views (M,).

        The search begins with those that are `known` for the first levels of the first view.
        """
        if self.config["smoothing"] != "kneser-ney":
            return [[]], np.ones(1)
        counts = [adjusted(levels, self.config["power"]) for levels in counted]
        start = [[formula(count) for count in view] for view in counts]
        if not self.tuned:
            return start, np.ones(1)
        start[0][: len(known)] = known
        if late():
            return start, np.full(len(start), 1 / len(start))
        views = [terms(*one) for one in zip(counted, counts, pairs, strict=True)]
        return tune(views, start, targets, self.vocab_size, late)

    def smoothed(self, counts: list[Counts], discounts: Discounts) -> list[Level]:
        """The levels under the configured smoothing."""
        if self.config["smoothing"] == "add-k":
            return add_k(counts, self.config["k"])
        if self.config["smoothing"] == "witten-bell":
            return witten_bell(counts)
        return kneser_ney(counts, adjusted(counts, self.config["power"]), discounts)

    def window_log_probs(self, windows: Ints) -> Floats:
        """(N, context) -> (N, V)."""
        p = sum(
            weight * look_up(levels, view, windows, self.vocab_size)
            for weight, (view, levels) in zip(self.params["weights"], self.views(), strict=True)
        )
        with np.errstate(divide="ignore"):
            rows: Floats = np.log(p)
        return rows

    def views(self) -> Iterator[tuple[View, list[Level]]]:
        """What `params` hold."""
        for index in range(len(self.params["weights"])):
            depth = sum(name.startswith(f"{index}/") for name in self.params) // len(ARRAYS)
            levels = [Level(*(self.params[f"{index}/{k}/{name}"] for name in ARRAYS)) for k in range(depth)]
            yield View(depth - 1, self.params["classes"] if index else None), levels


def nll(levels: Sequence[Level], pairs: Sequence[Pairs], targets: int, v: int) -> float:
    """Nats per character of a text whose pairs were located, at these levels and deeper ones."""
    each = np.zeros(targets)  # (N,) p, from the deepest level that knows the context
    p = np.full(1, 1 / v)
    for level, here in zip(levels, pairs, strict=False):
        own = np.where(here.entry >= 0, level.own[here.entry], 0.0)
        p = own + level.rest[here.context] * p[here.parent]  # (Q,)
        each[here.targets] = p[here.pair]
    with np.errstate(divide="ignore"):
        return -float(np.log(each).mean())
