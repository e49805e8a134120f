"""The parent's face of a cell: a `Model` whose every method is one request to the cell's process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Floats, Ints, Model, Trial
from harness.corpus import Corpus
from harness.engine import Child, Engine, Limits
from harness.errors import InvalidModel


class Proxy(Model):
    """A model that lives in a cell's process; every method is one request."""

    def __init__(self, child: Child, vocab_size: int, config: Mapping[str, Any]) -> None:
        super().__init__(vocab_size, config, np.random.default_rng(0))
        self.child = child
        self._params: dict[str, NDArray[Any]] | None = None

    @property
    def params(self) -> dict[str, NDArray[Any]]:
        """The model's parameters, fetched once after a fit."""
        if self._params is None:
            _, self._params = self.child.ask({"op": "params"})
        return self._params

    @params.setter
    def params(self, value: dict[str, NDArray[Any]]) -> None:
        self._params = value
        if value:
            self.child.ask({"op": "load"}, value)

    def warm_up(self, train: Corpus, trial: Trial) -> None:
        """Warm up in the child, on a few documents."""
        give(self.child, "few", train)
        self.child.ask({"op": "warm_up", "seed": trial.seed})

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Fit in the child, which has the corpora already; checkpoints are answered from here."""
        self._params = None
        self.child.send({"op": "fit", "seed": trial.seed, "seconds": trial.seconds, "steps": trial.steps})
        while True:
            message, _ = self.child.receive()
            if "progress" in message:
                done, total = message["progress"]
                trial.progress(done, total, **message["scalars"])
            elif "checkpoint" in message:
                nll = trial.checkpoint(self)
                self.child.send({"op": "checked", "nll": nll})
            else:
                trial.targets_consumed = message["targets_consumed"]
                return

    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        return self._rows("log_probs", inputs)

    def next_log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, V)."""
        return self._rows("next_log_probs", inputs)

    def _rows(self, op: str, inputs: Ints) -> Floats:
        _, arrays = self.child.ask({"op": op}, {"inputs": inputs})
        if set(arrays) != {"rows"}:
            raise InvalidModel(f"{op} returned no array")
        return arrays["rows"]

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
        """Sample in the child, from the generator's state."""
        _, arrays = self.child.ask(
            {
                "op": "sample",
                "n": n,
                "max_length": max_length,
                "rng": rng.bit_generator.state,
                "temperature": temperature,
                "top_k": top_k,
                "prompt": [int(token) for token in prompt],
            }
        )
        return np.split(arrays["tokens"], np.cumsum(arrays["lengths"])[:-1])


def give(child: Child, part: str, corpus: Corpus) -> None:
    """Send a corpus to a child: `train` and `dev` before a fit, `few` for a warm-up."""
    child.ask(
        {
            "op": "data",
            "part": part,
            "alphabet": corpus.alphabet.characters,
            "kind": corpus.kind,
        },
        {"tokens": corpus.tokens, "offsets": corpus.offsets},
    )


def opened(
    engine: Engine,
    kind: str,
    limits: Limits,
    request: Mapping[str, Any],
    corpora: Mapping[str, Corpus],
) -> tuple[Child, Callable[[int], Proxy]]:
    """A started cell that has its data, and a function that makes a new instance from a seed.

    request: plugins, model, backend, config, vocabulary, device, context.
    """
    child = engine.start(kind, limits)
    try:
        child.ask({"op": "open", "threads": limits.threads, **request})
        for part, corpus in corpora.items():
            give(child, part, corpus)
    except BaseException:
        child.close()
        raise

    def make(seed: int) -> Proxy:
        child.ask({"op": "new", "seed": seed})
        return Proxy(child, request["vocabulary"], request["config"])

    return child, make
