"""Models whose fit, or what it leaves, breaks one promise each: a plugin file of the gallery."""

import numpy as np

from harness import ModelSpec, hookimpl
from harness_plugins.count_bigram import CountBigram


class Jittered(CountBigram):
    """Counts with a little noise from a generator."""

    def noise(self):
        return self.rng

    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        self.params["counts"] = self.params["counts"] + self.noise().random(self.params["counts"].shape)


class Unseeded(Jittered):
    """Its generator is seeded by the system: no fit can be repeated."""

    def noise(self):
        return np.random.default_rng()


class HashSeeded(Jittered):
    """Seeded by the hash of a string, which another interpreter does not share."""

    def noise(self):
        return np.random.default_rng(abs(hash("seed")))


class IgnoresSeed(Jittered):
    """Says that its seed matters, and always takes 42."""

    def noise(self):
        return np.random.default_rng(42)


class SecretlyStochastic(Jittered):
    """Says that its seed does not matter, so that one cell would stand for all seeds."""


class Forgets(CountBigram):
    """What it has learned is an attribute, not a parameter."""

    counts = None

    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        self.counts = self.params.pop("counts")
        self.params["counts"] = np.zeros_like(self.counts)

    def log_probs(self, inputs):
        kept = self.params
        if self.counts is not None:
            self.params = {"counts": self.counts}
        try:
            return super().log_probs(inputs)
        finally:
            self.params = kept


class NeverEnds(CountBigram):
    """The boundary has p = 0 after every character."""

    def log_probs(self, inputs):
        p = np.exp(super().log_probs(inputs))
        p[..., 0] = 0.0
        with np.errstate(divide="ignore"):
            return np.log(p / p.sum(axis=-1, keepdims=True))


class Single(CountBigram):
    """Computes in float32 and says float64."""

    def log_probs(self, inputs):
        return super().log_probs(inputs).astype(np.float32).astype(np.float64)


class Sharper(CountBigram):
    """The fast backend, which smooths less."""

    def log_probs(self, inputs):
        kept = self.params
        self.params = {"counts": kept["counts"] + 0.1 * (kept["counts"] > 0)}
        try:
            return super().log_probs(inputs)
        finally:
            self.params = kept


def bigram(name, kind, **promises):
    backends = {"numpy": kind} if isinstance(kind, type) else kind
    return ModelSpec(name, backends, config={"k": 1.0}, context=1, **promises)


@hookimpl
def harness_models():
    return [
        bigram("unseeded", Unseeded),
        bigram("hash-seeded", HashSeeded),
        bigram("ignores-seed", IgnoresSeed, stochastic=True),
        bigram("secretly-stochastic", SecretlyStochastic, stochastic=False),
        bigram("forgets", Forgets),
        bigram("never-ends", NeverEnds),
        bigram("float32-as-float64", {"numpy": CountBigram, "fast": Single}, tolerance=1e-9),
        bigram("another-backend", {"numpy": CountBigram, "fast": Sharper}),
    ]
