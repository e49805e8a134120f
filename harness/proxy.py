"""The parent's face of a cell: a `Model` whose every method is one request to the cell's process."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from harness.child import Child, Limits, Unsupported
from harness.contract import Floats, Ints, Model, Trial
from harness.corpus import Corpus
from harness.engine import Engine
from harness.errors import InvalidModel
from harness.program import BACKEND
from harness.program_child import ProgramChild, opening

MOST_SEED = 2**53  # every JSON reader holds whole numbers below it exactly


class Proxy(Model):
    """A model that lives in a cell's process; every method is one request.

    Where an external program does not support one that it need not, the contract's default is used.
    """

    def __init__(self, child: Child, vocab_size: int, config: Mapping[str, Any]) -> None:
        super().__init__(vocab_size, config, np.random.default_rng(0))
        self.child = child
        self._params: dict[str, NDArray[Any]] | None = None
        self._without: set[str] = set()  # requests that it does not support

    @property
    def params(self) -> dict[str, NDArray[Any]]:
        """The model's parameters, fetched once after a fit."""
        if self._params is None:
            self._params = self.fetch()
        return self._params

    @params.setter
    def params(self, value: dict[str, NDArray[Any]]) -> None:
        self._params = value
        if value:
            self.child.ask({"op": "load"}, value)

    def fetch(self) -> dict[str, NDArray[Any]]:
        """The parameters as they are in the child now."""
        _, found = self.child.ask({"op": "params"})
        return found

    def warm_up(self, train: Corpus, trial: Trial) -> None:
        """Warm up in the child, on a few documents."""
        give(self.child, "few", train)
        self._offered({"op": "warm_up", "seed": trial.seed})

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Fit in the child, which has the corpora already; checkpoints are answered from here."""
        self._params = None
        self.child.send({"op": "fit", "seed": trial.seed, "seconds": trial.seconds, "steps": trial.steps})
        while True:
            message, _ = self.child.receive()
            if "progress" in message:
                done, total, scalars = progress_in(self.child, message)
                trial.progress(done, total, **scalars)
            elif "checkpoint" in message:
                nll = trial.checkpoint(self)
                self._params = None  # the next ones are others
                self.child.send({"op": "checked", "nll": finite(nll)})
            elif "ok" in message and is_count(consumed := message.get("targets_consumed", 0)):
                trial.targets_consumed = consumed
                return
            else:
                raise self.child.no_answer(message)

    def fit_seeds(self, train: Corpus, dev: Corpus, trials: Sequence[Trial]) -> list[dict[str, NDArray[Any]]]:
        """Fit them as one problem in the child; the progress that it tells of is the first one's."""
        self._params = None
        seeds = [trial.seed for trial in trials]
        self.child.send({"op": "fit_seeds", "seeds": seeds, "steps": trials[0].steps})
        while True:
            message, arrays = self.child.receive()
            if "progress" in message:
                done, total, scalars = progress_in(self.child, message)
                trials[0].progress(done, total, **scalars)
            elif "checkpoint" in message:
                nll = trials[message["checkpoint"]].checkpoint(self)
                self._params = None  # the next ones are others
                self.child.send({"op": "checked", "nll": finite(nll)})
            elif "ok" in message:
                for trial, consumed in zip(trials, message["targets_consumed"], strict=True):
                    trial.targets_consumed = consumed
                return by_seed(arrays, len(trials))
            else:
                raise self.child.no_answer(message)

    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        return the_rows("log_probs", self.child.ask({"op": "log_probs"}, {"inputs": inputs})[1])

    def next_log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, V)."""
        rows = self._offered({"op": "next_log_probs"}, {"inputs": inputs})
        return super().next_log_probs(inputs) if rows is None else the_rows("next_log_probs", rows)

    def _offered(
        self, request: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None
    ) -> dict[str, NDArray[Any]] | None:
        """The arrays that answer a request which a program need not support; None where it does not."""
        if request["op"] in self._without:
            return None
        try:
            return self.child.ask(request, arrays)[1]
        except Unsupported:
            self._without.add(request["op"])
            return None

    def echoed(self, inputs: Ints) -> tuple[Floats, Ints | None]:
        """`log_probs`, and the inputs as the model has left them; None where the cell does not tell."""
        _, arrays = self.child.ask({"op": "log_probs", "echo": True}, {"inputs": inputs})
        left = arrays.pop("inputs", None)
        return the_rows("log_probs", arrays), left

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
        arrays = self._offered(
            {
                "op": "sample",
                "n": n,
                "max_length": max_length,
                "rng": rng.bit_generator.state,
                "seed": int(deepcopy(rng).integers(MOST_SEED)),
                "temperature": temperature,
                "top_k": top_k,
                "prompt": [int(token) for token in prompt],
            }
        )
        if arrays is None:
            return super().sample(n, max_length, rng, temperature=temperature, top_k=top_k, prompt=prompt)
        return documents(arrays)


def is_count(found: object) -> TypeGuard[int]:
    """Whether an answer holds a number of targets."""
    return isinstance(found, int) and found >= 0


def finite(nll: float) -> float | None:
    """An NLL as JSON can hold it."""
    return nll if math.isfinite(nll) else None


def the_rows(op: str, arrays: Mapping[str, NDArray[Any]]) -> Floats:
    """The one array that answers a request for rows."""
    if set(arrays) != {"rows"}:
        raise InvalidModel(f"{op} returned no array")
    return arrays["rows"]


def by_seed(arrays: Mapping[str, NDArray[Any]], seeds: int) -> list[dict[str, NDArray[Any]]]:
    """The parameters of each seed, which stand as `seed/name` in one mapping."""
    found: list[dict[str, NDArray[Any]]] = [{} for _ in range(seeds)]
    for name, value in arrays.items():
        seed, _, own = name.partition("/")
        found[int(seed)][own] = value
    return found


def documents(arrays: Mapping[str, NDArray[Any]]) -> list[Ints]:
    """The sampled documents that stand one after the other in `tokens`, `lengths` of them each."""
    if set(arrays) != {"tokens", "lengths"}:
        raise InvalidModel(f"sample returned the arrays {sorted(arrays)}, not tokens and lengths")
    tokens, lengths = arrays["tokens"], arrays["lengths"]
    counted = lengths.ndim == 1 and lengths.dtype.kind in "iu" and not (lengths < 0).any()
    if not counted or tokens.shape != (lengths.sum(),):
        raise InvalidModel(f"sample returned tokens of shape {tokens.shape}; its lengths say otherwise")
    return np.split(tokens, np.cumsum(lengths)[:-1])[: len(lengths)]


def progress_in(child: Child, message: Mapping[str, Any]) -> tuple[int, int, dict[str, float]]:
    """Targets done, targets in total and the scalars of a progress frame."""
    try:
        done, total = message["progress"]
        scalars = message.get("scalars", {}).items()
        return int(done), int(total), {str(name): float(value) for name, value in scalars}
    except (TypeError, ValueError, AttributeError):
        raise child.no_answer(message) from None


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

    request: plugins, model, backend, config, vocabulary, device, context. An external program is
    started itself, whatever `kind` says, and told what concerns it.
    """
    external = request["backend"] == BACKEND
    child: Child
    if external:
        child = ProgramChild(engine, request["config"]["program"], limits)
    else:
        child = engine.start(kind, limits)
    try:
        told = opening(request) if external else request
        child.ask({"op": "open", "threads": limits.threads, **told})
        for part, corpus in corpora.items():
            give(child, part, corpus)
    except BaseException:
        child.close()
        raise

    def make(seed: int) -> Proxy:
        child.ask({"op": "new", "seed": seed})
        return Proxy(child, request["vocabulary"], request["config"])

    return child, make
