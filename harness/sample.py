"""Sampling: documents drawn from a model with a recorded seed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.contract import Model
from harness.corpus import Alphabet, Corpus
from harness.errors import InvalidModel

TEXT_LENGTH = 500


@dataclass(frozen=True)
class Drawn:
    """Samples as text, and what drawing them took."""

    texts: list[str]
    seed: int
    truncated: int  # stopped at `max_length`, not at the boundary
    seconds: float
    characters: int  # drawn, ends included

    @property
    def chars_per_s(self) -> float:
        """Characters drawn per second."""
        return self.characters / max(self.seconds, 1e-9)


def longest(train: Corpus) -> int:
    """The default limit: twice the longest training line; 500 characters of running text."""
    if train.kind == "text":
        return TEXT_LENGTH
    return 2 * max(1, int(train.lengths.max(initial=1)) - 1)


def draw(
    model: Model,
    n: int,
    alphabet: Alphabet,
    max_length: int,
    seed: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    prompt: Sequence[int] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> Drawn:
    """N samples; `InvalidModel` where the model's sampler returns what is no document."""
    before = clock()
    drawn = model.sample(
        n,
        max_length,
        np.random.default_rng(seed),
        temperature=temperature,
        top_k=top_k,
        prompt=prompt,
    )
    seconds = clock() - before
    if len(drawn) != n:
        raise InvalidModel(f"sample returned {len(drawn)} documents, not {n}")
    for document in drawn:
        tokens = np.asarray(document)
        if tokens.ndim != 1 or len(tokens) > max(max_length, len(prompt)):
            raise InvalidModel(f"sample returned an array of shape {tokens.shape}")
        if len(tokens) and tokens.dtype.kind not in "iu":
            raise InvalidModel(f"sample returned an array of {tokens.dtype}, not of integers")
        if tokens[: len(prompt)].tolist() != list(prompt):
            raise InvalidModel("sample returned a document without its prompt")
        if len(tokens) and not (tokens.min() >= 1 and tokens.max() < alphabet.size):
            raise InvalidModel("sample returned a token that is no character")
    truncated = sum(len(document) >= max_length for document in drawn)
    characters = sum(len(document) + 1 - len(prompt) for document in drawn) - truncated
    return Drawn([alphabet.decode(document) for document in drawn], seed, truncated, seconds, characters)
