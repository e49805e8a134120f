"""An external program as a model in this process: for what needs no cell, and for models inside a model."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.child import Limits
from harness.contract import Config, Floats, Ints, Model, Trial
from harness.corpus import Corpus
from harness.engine import Engine
from harness.errors import Unavailable
from harness.program import BACKEND, missing
from harness.proxy import Proxy, give, opened


class Program(Model):
    """Started when it is first asked for something, ended with the model: making one runs nothing.

    A cell talks to its program itself (`program_child`); the numbers are the same.
    """

    def __init__(self, vocab_size: int, config: Config, rng: np.random.Generator) -> None:
        if reason := missing(config["program"]):
            raise Unavailable(reason)
        self.threads = 1
        super().__init__(vocab_size, config, rng)

    @cached_property
    def proxy(self) -> Proxy:
        """The started program, given the parameters that are known by now."""
        request = {
            "backend": BACKEND,
            "config": self.config,
            "vocabulary": self.vocab_size,
            "context": self.config.get("context"),
        }
        child, make = opened(Engine(self.threads), BACKEND, Limits(threads=self.threads), request, {})
        weakref.finalize(self, child.close)
        started = make(seed_of(self.rng))
        started.params = self._given
        return started

    @property
    def params(self) -> dict[str, NDArray[Any]]:
        """What it was given, or what it has learnt since."""
        return self.proxy.params if "proxy" in self.__dict__ else self._given

    @params.setter
    def params(self, value: dict[str, NDArray[Any]]) -> None:
        self._given = value
        if "proxy" in self.__dict__:
            self.proxy.params = value

    def warm_up(self, train: Corpus, trial: Trial) -> None:
        """Warm up, where the program can."""
        self.threads = trial.threads
        self.proxy.warm_up(train, trial)

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Send it both parts, and have it fit."""
        self.threads = trial.threads
        give(self.proxy.child, "train", train)
        give(self.proxy.child, "dev", dev)
        self.proxy.fit(train, dev, trial)

    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        return self.proxy.log_probs(inputs)

    def next_log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, V)."""
        return self.proxy.next_log_probs(inputs)

    def sample(
        self,
        n: int,
        max_length: int,
        rng: np.random.Generator,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        prompt: Sequence[int] = (),
    ) -> list[Ints]:
        """By the program's own sampler, where it has one."""
        return self.proxy.sample(n, max_length, rng, temperature=temperature, top_k=top_k, prompt=prompt)


def seed_of(rng: np.random.Generator) -> int:
    """The seed that a generator was made from: a program is given the same one as a cell's."""
    sequence: Any = rng.bit_generator.seed_seq
    return int(sequence.entropy)
