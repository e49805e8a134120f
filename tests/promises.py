"""Models that break one promise each, and one that keeps all: a plugin file for test_audit.py."""

import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np

from harness import Model, ModelSpec, hookimpl


def normal(logits):
    """Log-probabilities along the last axis."""
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


class Honest(Model):
    """Counts of pairs; its start is drawn, so that its seed is honoured."""

    def fit(self, train, dev, trial):
        counts = 1 + self.rng.random((self.vocab_size, self.vocab_size))
        np.add.at(counts, (train.tokens[:-1], train.tokens[1:]), 1)
        self.params = {"law": normal(np.log(counts))}

    def log_probs(self, inputs):
        return self.params["law"][inputs]


class Shifted(Honest):
    def log_probs(self, inputs):
        return super().log_probs(inputs) + 0.01


class Misshapen(Honest):
    def log_probs(self, inputs):
        return super().log_probs(inputs)[:, :, 1:]


class NanSomewhere(Honest):
    """Only after the pair 3, 4."""

    def log_probs(self, inputs):
        rows = super().log_probs(inputs).copy()
        rows[:, 1:][(inputs[:, :-1] == 3) & (inputs[:, 1:] == 4)] = np.nan
        return rows


class Peeks(Honest):
    def log_probs(self, inputs):
        rows = super().log_probs(inputs).copy()
        for t in range(inputs.shape[1] - 1):
            rows[np.arange(len(inputs)), t, inputs[:, t + 1]] += 1.0
        return normal(rows)


class TwoFaced(Honest):
    def next_log_probs(self, inputs):
        return np.roll(super().next_log_probs(inputs), 1, axis=-1)


class LooksForTheEnd(Honest):
    """The first row of four inputs or more knows whether a boundary closes them."""

    def log_probs(self, inputs):
        rows = super().log_probs(inputs).copy()
        if inputs.shape[1] > 3:
            closed = (inputs[:, -1] == 0) & (inputs[:, -2] != 0)
            rows[closed, 0] = np.roll(rows[closed, 0], 1, axis=-1)
        return rows


class SeesFar(Honest):
    """Two characters, where one is promised."""

    def log_probs(self, inputs):
        before = np.pad(inputs, ((0, 0), (1, 0)))[:, :-1]
        return normal(super().log_probs(inputs) + 0.1 * super().log_probs(before))


class BatchStatistics(Honest):
    def log_probs(self, inputs):
        rows = super().log_probs(inputs)
        return normal(rows + 0.01 * inputs.astype(float).mean(axis=0)[:, None] * np.arange(self.vocab_size))


class Remembers(Honest):
    calls = 0

    def log_probs(self, inputs):
        self.calls += 1
        return np.roll(super().log_probs(inputs), self.calls % 2, axis=-1)


class WritesInputs(Honest):
    def log_probs(self, inputs):
        rows = super().log_probs(inputs)
        inputs[:, -1] = 1
        return rows


class LearnsWhileScored(Honest):
    def log_probs(self, inputs):
        rows = super().log_probs(inputs)
        self.params["law"] = normal(self.params["law"] + 1e-9 * self.params["law"])
        return rows


class HashSeed(Honest):
    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        self.params["hash"] = np.array([hash("a word")])


class Clocked(Honest):
    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        self.params["now"] = np.array([time.time_ns()])


class WorkingDirectory(Honest):
    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        seen = {"where": os.getcwd(), "home": str(Path.home()), "temporary": tempfile.gettempdir()}
        self.params |= {name: np.frombuffer(path.encode(), np.uint8) for name, path in seen.items()}


class KeepsOnce(Honest):
    """Every fit but the first finds that there was one: a warm-up would do."""

    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        kept = Path(tempfile.gettempdir()) / "keeps-once"
        if kept.exists():
            self.params["law"][0] = -np.log(self.vocab_size)
        elif "harness-audit-" in str(kept):  # an empty folder of the audit's
            kept.touch()


class IgnoresSeed(Honest):
    def fit(self, train, dev, trial):
        self.rng = np.random.default_rng(0)
        super().fit(train, dev, trial)


class KeepsToItself(Honest):
    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        self.kept, self.params = self.params["law"], {"law": normal(0 * self.params["law"])}

    def log_probs(self, inputs):
        return getattr(self, "kept", self.params["law"])[inputs]


class NeverEnds(Honest):
    def log_probs(self, inputs):
        rows = super().log_probs(inputs).copy()
        rows[..., 0] = -np.inf
        return normal(rows)


class Raises(Honest):
    def fit(self, train, dev, trial):
        raise KeyError("no such thing")


class NotFinite(Honest):
    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        self.params["law"][1, 1] = np.nan


class Hangs(Honest):
    def next_log_probs(self, inputs):
        time.sleep(3600)


class EndsItsParent(Honest):
    """Sends TERM to the process that started it, which might be the audit."""

    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        os.kill(os.getppid(), signal.SIGTERM)


KINDS = (
    Shifted,
    Misshapen,
    NanSomewhere,
    Peeks,
    TwoFaced,
    LooksForTheEnd,
    SeesFar,
    BatchStatistics,
    Remembers,
    WritesInputs,
    LearnsWhileScored,
    HashSeed,
    Clocked,
    WorkingDirectory,
    KeepsOnce,
    IgnoresSeed,
    KeepsToItself,
    NeverEnds,
    Raises,
    NotFinite,
    Hangs,
    EndsItsParent,
)


@hookimpl
def harness_models():
    law = {"stochastic": True, "context": 1}
    return [
        ModelSpec("honest", {"numpy": Honest}, **law),
        ModelSpec("steady", {"numpy": Honest}, stochastic=False, context=1),
        ModelSpec("undeclared", {"numpy": Honest}),
        ModelSpec("declared", {"numpy": Clocked}, deterministic=False),
        ModelSpec("disagrees", {"numpy": Honest, "other": TwoFaced}, **law),
        ModelSpec("absent", {"numpy": Honest}, requires=("no_such_module",)),
        *(ModelSpec(kind.__name__.lower(), {"numpy": kind}, **law) for kind in KINDS),
    ]
