"""A synthetic source: a random Markov chain over characters whose law is known exactly.

The context of a character is the `order` characters before it in its document, padded with the
boundary. After the start the boundary has p = 0, so that no document is empty; elsewhere it ends a
document with p between 0.04 and 0.12. Other characters share the rest by a Dirichlet draw.
"""

from __future__ import annotations

import string
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness import Corpus, Model, Trial
from harness.contract import Config, Floats, Ints, sliding
from harness.errors import UsageError

CHARACTERS = string.ascii_lowercase + string.ascii_uppercase + string.digits
MOST_CELLS = 2**24
CONCENTRATION = 0.3  # of the Dirichlet: below 1 gives rows with a few favourites


def alphabet(config: Config) -> str:
    """The first V − 1 characters."""
    if not 2 <= config["vocab"] <= len(CHARACTERS) + 1:
        raise UsageError(f"markov: vocab must be 2 to {len(CHARACTERS) + 1}, the boundary counted")
    return CHARACTERS[: config["vocab"] - 1]


@lru_cache(maxsize=4)
def law(order: int, vocab: int, seed: int) -> NDArray[np.float64]:
    """P (V**order, V): a row a context, its oldest character the most significant digit."""
    if order < 1 or vocab ** (order + 1) > MOST_CELLS:
        raise UsageError(f"markov: order must be at least 1 and vocab**(order+1) at most {MOST_CELLS:,}")
    rng = np.random.default_rng([seed, order, vocab])
    rows = rng.gamma(CONCENTRATION, size=(vocab**order, vocab - 1)) + 1e-4
    ends = rng.uniform(0.04, 0.12, (vocab**order, 1))
    ends[np.arange(vocab**order) % vocab == 0] = 0.0  # contexts that end in a boundary
    p = np.hstack([ends, (1 - ends) * rows / rows.sum(axis=1, keepdims=True)])
    p.setflags(write=False)
    return p


def documents(order: int, vocab: int, seed: int, documents: int) -> list[str]:
    """N documents drawn from the law, all advanced together."""
    if documents < 1 or seed < 0:
        raise UsageError("markov: documents must be at least 1 and seed not negative")
    characters = alphabet({"vocab": vocab})
    cumulative = np.cumsum(law(order, vocab, seed), axis=1)
    rng = np.random.default_rng([seed, order, vocab, 1])
    context = np.zeros(documents, np.int64)
    active = np.arange(documents)
    drawn: list[list[str]] = [[] for _ in range(documents)]
    while len(active):
        rows = cumulative[context[active]]  # (A, V)
        below = rng.random((len(active), 1)) * rows[:, -1:]
        token = (rows <= below).sum(axis=1)
        for document, t in zip(active, token, strict=True):
            if t:
                drawn[document].append(characters[t - 1])
        context[active] = (context[active] * vocab + token) % vocab**order
        active = active[token > 0]
    return ["".join(pieces) for pieces in drawn]


class MarkovSource(Model):
    """The true law as a model."""

    @classmethod
    def of(cls, config: Config) -> MarkovSource:
        """The source that drew the dataset of this configuration."""
        return cls(config["vocab"], config, np.random.default_rng(0))

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Nothing to learn."""

    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        v, order = self.vocab_size, self.config["order"]
        digits = v ** np.arange(order)[::-1]
        with np.errstate(divide="ignore"):
            rows = np.log(self.law)
        answer: Floats = rows[sliding(inputs, order) @ digits]
        return answer

    def next_log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, V) from the last inputs alone."""
        order = self.config["order"]
        missing = max(0, order - inputs.shape[1])
        last = np.pad(inputs[:, -order:], ((0, 0), (missing, 0)))  # (B, order)
        return self.log_probs(last)[:, -1]

    @property
    def law(self) -> NDArray[np.float64]:
        """The table p, (V**order, V)."""
        return law(self.config["order"], self.vocab_size, self.config["seed"])

    def entropy_rate(self) -> float:
        """Nats per target: row entropies weighted by the expected visits of one document."""
        return entropy_rate(self.config["order"], self.vocab_size, self.config["seed"])


@lru_cache(maxsize=4)
def entropy_rate(order: int, vocab: int, seed: int) -> float:
    """Nats per target of a source: row entropies weighted by a document's expected visits."""
    p, v = law(order, vocab, seed), vocab
    following = (np.arange(len(p))[:, None] * v + np.arange(v)) % len(p)  # (contexts, V)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(p > 0, p * np.log(p), 0.0).sum(axis=1)
    at = np.zeros(len(p))
    at[0] = 1.0
    visits = np.zeros(len(p))
    while at.sum() > 1e-14:
        visits += at
        moved = at[:, None] * p
        moved[:, 0] = 0.0  # the document has ended
        at = np.bincount(following.ravel(), moved.ravel(), len(p)).astype(np.float64)
    return float(visits @ entropy / visits.sum())
