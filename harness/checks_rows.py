"""Checks of rows: what `log_probs` answers, and what it must not depend on."""

from __future__ import annotations

import numpy as np

from harness.contract import Ints
from harness.evaluate import normalised
from harness.subject import Finding, Subject

PREFIXES = 500
LONGEST = 64  # inputs of a random prefix


def check_normalised(subject: Subject) -> Finding:
    """Every row of train, dev and test, and of 500 random prefixes, is a distribution.

    Bounds: no NaN, nothing above 1e-5, |logsumexp| ≤ 1e-5.
    """
    rows = 0
    for inputs in random_prefixes(subject):
        answer = subject.fitted.log_probs(inputs)
        normalised(answer, (*inputs.shape, subject.alphabet.size))
        rows += inputs.size
    return Finding("normalised", "pass", f"{rows:,} rows")


def random_prefixes(subject: Subject) -> list[Ints]:
    """500 prefixes of 1…64 inputs, boundary first, by length: arrays (B, T)."""
    rng, v = subject.rng("prefixes"), subject.alphabet.size
    lengths = rng.integers(1, LONGEST + 1, PREFIXES)
    found = []
    for length in np.unique(lengths).tolist():
        inputs = rng.integers(1, v, (int((lengths == length).sum()), length))  # (B, T)
        inputs[:, 0] = 0
        found.append(inputs)
    return found
