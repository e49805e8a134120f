"""Discounts that minimise the NLL of held-out text, by its gradient.

With modified Kneser–Ney p_k = (c − d·portions + (d·N) p_{k−1}) / total: linear in the three discounts d of
a level and in the level below. What a held-out corpus needs of that, c, portions, total and N (the
portions of all followers of the context, added up), is looked up once, for each pair of a context and
a next character that it holds and at each level where the context is known. A value and its
gradient are then one sweep up and one down: about 12 multiplications a pair and level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from harness import Corpus, Trial
from harness.contract import Ints
from harness_plugins.ngram_counts import Array, Counts, View, contexts, find, portions

LEAST, MOST = 1e-3, (1.0, 2.0, 3.0)  # of a discount; above 0, so that nothing unseen has p = 0
ITERATIONS, PRECISION = 200, 1e-7  # steps of the search; gain of a step, relative, that ends it
Discounts = Sequence[tuple[float, float, float]]  # one triple a level


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs (context, next character) of some text at one level, where its context is known.

    targets (A,): the targets of the text that reach the level; pair (A,): the pair of each; context (Q,),
    entry (Q,): each pair's place in the counts, −1 where the character never followed; parent (Q,):
    the pair at the level below.
    """

    targets: Ints
    pair: Ints
    context: Ints
    entry: Ints
    parent: Ints


def locate(levels: Sequence[Counts], view: View, corpus: Corpus) -> list[Pairs]:
    """The pairs of a corpus at every level."""
    v = corpus.alphabet.size
    windows, following = corpus.windows(max(1, view.depth))  # (N, width), (N,)
    below = np.zeros(corpus.targets, np.int64)
    found = []
    for level, (targets, context) in zip(levels, contexts(levels, view, windows, v), strict=True):
        keys, first, pair = np.unique(
            context * v + following[targets], return_index=True, return_inverse=True
        )
        seen, at = find(level.rows * v + level.next, keys)
        entry = np.where(seen, at, -1)
        found.append(Pairs(targets, pair, keys // v, entry, below[targets[first]]))
        below[targets] = pair
    return found


@dataclass(frozen=True, eq=False)
class Term:
    """One level: p = own − d·off + (d·taken) p_below[parent]; ends (E,), pair (E,): targets that end here."""

    own: Array  # (Q,)
    off: Array  # (3, Q)
    taken: Array  # (3, Q)
    parent: Ints
    ends: Ints
    pair: Ints


def terms(
    levels: Sequence[Counts], counts: Sequence[NDArray[np.generic]], pairs: Sequence[Pairs]
) -> list[Term]:
    """What the objective needs of each level, every figure divided by its context's total."""
    result = []
    for k, (level, count, here) in enumerate(zip(levels, counts, pairs, strict=True)):
        share = portions(count)  # (3, P)
        size = len(level.keys)
        total = np.bincount(level.rows, count, size)[here.context]  # (Q,)
        taken = np.stack([np.bincount(level.rows, one, size)[here.context] for one in share])
        seen = here.entry >= 0
        ends = np.ones(len(here.targets), bool)
        if k + 1 < len(pairs):
            ends = ~np.isin(here.targets, pairs[k + 1].targets, assume_unique=True)
        result.append(
            Term(
                np.where(seen, count[here.entry], 0) / total,
                np.where(seen, share[:, here.entry], 0) / total,
                taken / total,
                here.parent,
                here.targets[ends],
                here.pair[ends],
            )
        )
    return result


def rise(level_terms: Sequence[Term], discounts: Array, v: int) -> list[Array]:
    """p of every pair at every level, the uniform distribution first: arrays (Q,) from discounts (L, 3)."""
    p = [np.full(1, 1 / v)]
    for term, d in zip(level_terms, discounts, strict=True):
        p.append(term.own - d @ term.off + (d @ term.taken) * p[-1][term.parent])
    return p


def at_targets(level_terms: Sequence[Term], p: Sequence[Array], n: int) -> Array:
    """p of every target (N,), from the deepest level that knows its context."""
    result = np.zeros(n)
    for term, values in zip(level_terms, p[1:], strict=True):
        result[term.ends] = values[term.pair]
    return result


def fall(level_terms: Sequence[Term], discounts: Array, p: Sequence[Array], slope: Array) -> Array:
    """Gradient (L, 3) of a loss whose derivative by the p of every target is slope (N,)."""
    gradient = np.zeros_like(discounts)
    above: Array = np.zeros(len(p[-1]))  # dL/dp of this level's pairs, as far as it comes from above
    for k in reversed(range(len(level_terms))):
        term, d = level_terms[k], discounts[k]
        here = above + np.bincount(term.pair, slope[term.ends], len(term.own))
        below = p[k][term.parent]  # (Q,)
        gradient[k] = term.taken @ (here * below) - term.off @ here
        above = np.bincount(term.parent, here * (d @ term.taken), len(p[k])).astype(np.float64)
    return gradient


def objective(views: Sequence[Sequence[Term]], x: Array, n: int, v: int) -> tuple[float, Array]:
    """NLL of n targets under a mixture of views, and its gradient.

    x: a logit for each view but the first, then the discounts of all levels of all views.
    """
    weights = softmax(x[: len(views) - 1])  # (M,)
    rest = x[len(views) - 1 :].reshape(-1, 3)
    edges = np.cumsum([0, *(len(view) for view in views)])
    discounts = [rest[a:b] for a, b in pairwise(edges)]
    p = [rise(view, d, v) for view, d in zip(views, discounts, strict=True)]
    each = np.stack([at_targets(view, q, n) for view, q in zip(views, p, strict=True)])  # (M, N)
    mixed = weights @ each  # (N,)
    slope = -1 / (n * mixed)
    by_logit = weights * (each @ slope + 1)  # the derivative of the softmax: Σ slope · mixed is −1
    falls = [fall(view, d, q, w * slope) for view, d, q, w in zip(views, discounts, p, weights, strict=True)]
    return -float(np.log(mixed).mean()), np.concatenate([by_logit[1:], *(g.ravel() for g in falls)])


def softmax(logits: Array) -> Array:
    """The weights of the views; the first has logit 0."""
    raised = np.exp(np.concatenate([[0.0], logits]))
    weights: Array = raised / raised.sum()
    return weights


def deadline(trial: Trial, reserve: float) -> Callable[[], bool]:
    """Whether a search must end so that what follows it, as many seconds, fits into the budget."""

    def late() -> bool:
        seconds = trial.seconds
        return trial.should_stop() or (seconds is not None and trial.elapsed() + reserve >= seconds)

    return late


def tune(
    views: Sequence[Sequence[Term]],
    start: Sequence[Discounts],
    n: int,
    v: int,
    late: Callable[[], bool] = lambda: False,
) -> tuple[list[Discounts], Array]:
    """The discounts of every view and the weights of the views (M,), as good as found until it is late."""
    from scipy.optimize import minimize

    free = len(views) - 1
    first = np.concatenate([np.zeros(free), *(np.clip(d, LEAST, MOST).ravel() for d in start)])
    bounds = [(-10.0, 10.0)] * free + [(LEAST, most) for d in start for _ in d for most in MOST]

    def loss(x: Array) -> tuple[float, Array]:
        return objective(views, x, n, v)

    def stop_in_time(xk: Array) -> None:
        if late():
            raise StopIteration  # what was reached stays

    x = minimize(
        loss, first.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, callback=stop_in_time,
        options={"maxiter": ITERATIONS, "ftol": PRECISION},
    ).x  # fmt: skip
    triples = [(one, two, more) for one, two, more in x[free:].reshape(-1, 3).tolist()]
    edges = np.cumsum([0, *(len(view) for view in views)])
    return [triples[a:b] for a, b in pairwise(edges)], softmax(x[:free])
