"""Honest models that look a little odd, none of which may be accused: a plugin file of the gallery."""

import math
import sys
import threading
import time
from pathlib import Path

import numpy as np

from harness import Model, ModelSpec, WindowModel, hookimpl
from harness_plugins.count_bigram import CountBigram, pair_counts


class Slow(CountBigram):
    """Takes its time for every call and every fit."""

    def fit(self, train, dev, trial):
        time.sleep(0.2)
        super().fit(train, dev, trial)

    def log_probs(self, inputs):
        time.sleep(0.003)
        return super().log_probs(inputs)


class NotRepeatable(CountBigram):
    """Draws on the system's entropy, and its spec says so."""

    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        noise = np.random.default_rng().random(self.params["counts"].shape)
        self.params["counts"] = self.params["counts"] + noise


class Seeded(CountBigram):
    """Draws on its own generator, and its spec says so."""

    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        self.params["counts"] = self.params["counts"] + self.rng.random(self.params["counts"].shape)


class EarlyStopping(CountBigram):
    """Chooses its smoothing on dev, at checkpoints; float32."""

    def fit(self, train, dev, trial):
        counts = pair_counts(train).astype(np.float32)
        scores = {}
        for k in (0.01, 0.1, 1.0, 10.0):
            self.params["counts"] = counts + np.float32(k)
            scores[k] = trial.checkpoint(self)
        self.params["counts"] = counts + np.float32(min(scores, key=lambda k: scores[k]))

    def log_probs(self, inputs):
        counts = self.params["counts"]
        return np.log(counts / counts.sum(axis=1, keepdims=True))[inputs]


class TwoThreads(CountBigram):
    """Counts the halves of the text in two threads, and waits for both; chatters."""

    def fit(self, train, dev, trial):
        middle = len(train) // 2
        halves = np.arange(middle), np.arange(middle, len(train))
        found = []
        workers = [
            threading.Thread(target=lambda half=half: found.append(pair_counts(train.take(half))))
            for half in halves
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        sys.stdout.write(f"counted {sum(each.sum() for each in found)} pairs\n")
        self.params["counts"] = found[0] + found[1]


class CachesTables(CountBigram):
    """Keeps a table that follows from nothing but its parameters, in memory and in the user's cache."""

    rows = None

    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        self.rows = None
        place = Path.home() / ".cache" / "caches-tables.npy"
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            np.save(place, np.arange(100))
        np.load(place)

    def log_probs(self, inputs):
        if self.rows is None:
            self.rows = super().log_probs(np.arange(self.vocab_size)[None])[0]  # (V, V)
        return self.rows[inputs]


class Trigram(WindowModel):
    """Two characters of context, interpolated with one and none; fed a window at a time."""

    def fit(self, train, dev, trial):
        windows, following = train.windows(2)
        v = self.vocab_size
        counts = np.zeros((v, v, v))
        np.add.at(counts, (windows[:, 0], windows[:, 1], following), 1.0)
        self.params["counts"] = counts

    def window_log_probs(self, windows):
        counts = self.params["counts"]
        one, two = counts.sum(axis=0)[windows[:, 1]], counts[windows[:, 0], windows[:, 1]]  # (N, V)
        none = counts.sum(axis=(0, 1)) + 1
        p = none / none.sum()
        for level in (one, two):
            p = (level + 5 * p) / (level.sum(axis=1, keepdims=True) + 5)
        return np.log(p)


class Lengths(Model):
    """A law of its own: the hazard of the end grows with the length, all characters are alike."""

    def fit(self, train, dev, trial):
        self.params["mean"] = np.array(float(train.lengths.mean()))

    def log_probs(self, inputs):
        v = self.vocab_size
        t = np.arange(1, inputs.shape[1] + 1)  # (T,)
        end = t / (t + float(self.params["mean"]))
        rows = np.repeat(np.log((1 - end) / (v - 1))[:, None], v, axis=1)  # (T, V)
        rows[:, 0] = np.log(end)
        return np.broadcast_to(rows, (*inputs.shape, v))


class Certain(Model):
    """Every document is the first character of the alphabet, three times: most of its rows are −inf."""

    def fit(self, train, dev, trial):
        """Nothing to learn."""

    def log_probs(self, inputs):
        rows = np.full((*inputs.shape, self.vocab_size), -math.inf)
        over = np.arange(inputs.shape[1]) >= 3
        rows[:, over, 0] = 0.0
        rows[:, ~over, 1] = 0.0
        return rows


def bigram(name, kind, **promises):
    return ModelSpec(name, {"numpy": kind}, config={"k": 1.0}, context=1, **promises)


@hookimpl
def harness_models():
    return [
        bigram("slow", Slow, stochastic=False),
        bigram("not-repeatable", NotRepeatable, stochastic=True, deterministic=False),
        bigram("seeded", Seeded, stochastic=True),
        bigram("early-stopping", EarlyStopping, stochastic=False, uses_dev=True),
        bigram("two-threads", TwoThreads, stochastic=False),
        bigram("caches-tables", CachesTables, stochastic=False),
        ModelSpec("trigram", {"numpy": Trigram}, context=2, stochastic=False),
        ModelSpec("lengths", {"numpy": Lengths}, stochastic=False),
        ModelSpec("certain", {"numpy": Certain}, stochastic=False),
    ]
