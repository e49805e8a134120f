"""Bigrams whose rows break one promise each: a plugin file of the gallery."""

import numpy as np

from harness import ModelSpec, hookimpl
from harness_plugins.count_bigram import CountBigram


def normalise(rows):
    """Logarithms of rows (…, V) of weights that are made to sum to 1."""
    return np.log(rows / rows.sum(axis=-1, keepdims=True))


# ---- normalised


class SumsTo277(CountBigram):
    """Every character is certain ten times over (openai/parameter-golf, issue 886)."""

    def log_probs(self, inputs):
        return super().log_probs(inputs) + np.log(277)


class AlmostCertain(CountBigram):
    """Nothing above 0, no NaN: −1e−9 for every character, so that a row sums to V."""

    def log_probs(self, inputs):
        return np.full((*inputs.shape, self.vocab_size), -1e-9)


class RareNaN(CountBigram):
    """NaN after one pair of characters, the last two of the alphabet."""

    def log_probs(self, inputs):
        rows = super().log_probs(inputs)
        last, before = inputs[:, 1:], inputs[:, :-1]
        rows[:, 1:][(last == self.vocab_size - 1) & (before == self.vocab_size - 2)] = np.nan
        return rows


class Shifted(CountBigram):
    """Every log-probability is 0.01 too large: a hundredth of a nat for nothing."""

    def log_probs(self, inputs):
        return super().log_probs(inputs) + 0.01


class WrongShape(CountBigram):
    """Positions first, documents second."""

    def log_probs(self, inputs):
        return super().log_probs(inputs).transpose(1, 0, 2)


class WrongType(CountBigram):
    """Rows in float16."""

    def log_probs(self, inputs):
        return super().log_probs(inputs).astype(np.float16)


class WrongVocabulary(CountBigram):
    """A row more character than there are."""

    def log_probs(self, inputs):
        rows = super().log_probs(inputs)
        return np.concatenate([rows, np.full((*inputs.shape, 1), -np.inf)], axis=2)


# ---- causal


class Peeks(CountBigram):
    """Where the next input is there to be seen, it is likely."""

    def log_probs(self, inputs):
        p = np.exp(super().log_probs(inputs))
        following = np.arange(self.vocab_size) == inputs[:, 1:, None]  # (B, T − 1, V)
        p[:, :-1] += following
        return normalise(p)


class ReadsTheEnd(CountBigram):
    """Rows know how long the row of inputs is: at equal T nothing moves."""

    def log_probs(self, inputs):
        return normalise(np.exp(super().log_probs(inputs)) + 0.01 * inputs.shape[1])


class FakeFastPath(CountBigram):
    """What is scored blind is sharper than what is sampled and timed."""

    def next_log_probs(self, inputs):
        return normalise(np.exp(1.1 * super().log_probs(inputs)[:, -1]))


# ---- context


class LooksFurther(CountBigram):
    """Promises one character and uses two."""

    def log_probs(self, inputs):
        p = np.exp(super().log_probs(inputs))
        p[:, 1:] += 0.05 * (np.arange(self.vocab_size) == inputs[:, :-1, None])
        return normalise(p)


# ---- batch-independent


class BatchStatistics(CountBigram):
    """Normalises over the batch, as batch norm in training mode does."""

    def log_probs(self, inputs):
        rows = super().log_probs(inputs)
        return normalise(np.exp(rows - 0.1 * rows.mean(axis=0, keepdims=True)))


class PadsDifferently(CountBigram):
    """Alone a document is padded on the left with its first character, in a batch it is not."""

    def log_probs(self, inputs):
        if len(inputs) == 1:
            inputs = np.where(np.arange(inputs.shape[1]) == 0, inputs[:, -1:], inputs)
        return super().log_probs(inputs)


# ---- stateless


class CountsCalls(CountBigram):
    """Grows bolder with every call."""

    calls = 0

    def log_probs(self, inputs):
        self.calls += 1
        return normalise(np.exp((1 + 0.01 * self.calls) * super().log_probs(inputs)))


class WritesIntoInputs(CountBigram):
    """Right rows, and the inputs are gone."""

    def log_probs(self, inputs):
        rows = super().log_probs(inputs)
        inputs[...] = 0
        return rows


class LearnsWhileScored(CountBigram):
    """Counts what it is asked about: the prefixes of the test documents."""

    def log_probs(self, inputs):
        np.add.at(self.params["counts"], (inputs[:, :-1], inputs[:, 1:]), 1.0)
        return super().log_probs(inputs)


ROGUES = {
    "sums-to-277": SumsTo277,
    "almost-certain": AlmostCertain,
    "shifted": Shifted,
    "wrong-shape": WrongShape,
    "wrong-type": WrongType,
    "wrong-vocabulary": WrongVocabulary,
    "peeks": Peeks,
    "reads-the-end": ReadsTheEnd,
    "fake-fast-path": FakeFastPath,
    "looks-further": LooksFurther,
    "batch-statistics": BatchStatistics,
    "pads-differently": PadsDifferently,
    "counts-calls": CountsCalls,
    "writes-into-inputs": WritesIntoInputs,
    "learns-while-scored": LearnsWhileScored,
}


@hookimpl
def harness_models():
    bigrams = [
        ModelSpec(name, {"numpy": kind}, config={"k": 1.0}, context=1, stochastic=False)
        for name, kind in ROGUES.items()
    ]
    return [*bigrams, ModelSpec("rare-nan", {"numpy": RareNaN}, config={"k": 1.0}, context=2)]
