"""Models that draw or spell what their rows do not say: a plugin file of the gallery."""

import itertools
import os

import numpy as np

from harness import ModelSpec, hookimpl
from harness_plugins.count_bigram import CountBigram


class Hot(CountBigram):
    """Samples at temperature 1.05, which makes its samples a little more varied."""

    def sample(self, n, max_length, rng, **how):
        return super().sample(n, max_length, rng, **{**how, "temperature": 1.05})


class CopiesTrain(CountBigram):
    """Its samples look like names, because they are the training names."""

    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        self.known = [train.tokens[a + 1 : b] for a, b in itertools.pairwise(train.offsets)]

    def sample(self, n, max_length, rng, **how):
        chosen = rng.integers(0, len(self.known), n)
        return [self.known[index].astype(np.int64)[:max_length] for index in chosen]


class Endless(CountBigram):
    """Its list of samples has no end."""

    def sample(self, n, max_length, rng, **how):
        return itertools.repeat(np.ones(1, np.int64))


class EveryProcessItsOwn(CountBigram):
    """Rows depend on who asks: what one process writes, no other can read."""

    def log_probs(self, inputs):
        rng = np.random.default_rng(os.getpid())
        weights = np.exp(super().log_probs(inputs)) + 0.02 * rng.random(self.vocab_size)
        return np.log(weights / weights.sum(axis=-1, keepdims=True))


ROGUES = {
    "hot": Hot,
    "copies-train": CopiesTrain,
    "endless": Endless,
    "every-process-its-own": EveryProcessItsOwn,
}


@hookimpl
def harness_models():
    return [ModelSpec(name, {"numpy": kind}, config={"k": 1.0}, context=1) for name, kind in ROGUES.items()]
