"""The notebook's door: score a model that exists already, without refitting, on the same protocol."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from harness import environment, runner
from harness.contract import Floats, Ints, Model, Trial, WindowModel, sliding
from harness.corpus import Corpus
from harness.errors import UsageError
from harness.record import Record


class Existing(Model):
    """A torch module or a function as a `Model`: its logits, normalised here in float64.

    With a context it maps windows (N, context) -> (N, V) logits, else (B, T) -> (B, T, V).
    """

    def __init__(self, vocab_size: int, function: Callable[[Any], Any], context: int | None) -> None:
        super().__init__(vocab_size, {}, np.random.default_rng(0))
        self.function = function
        self.context = context
        self.takes_tensors: bool | None = True if is_module(function) else None

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Fitted already."""

    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        if self.context is None:
            return self.normalised(inputs)
        b, t = inputs.shape
        windows = sliding(inputs, self.context).reshape(b * t, self.context)
        return self.normalised(windows).reshape(b, t, -1)

    def next_log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, V)."""
        if self.context is None:
            return self.log_probs(inputs)[:, -1]
        missing = max(0, self.context - inputs.shape[1])
        return self.normalised(np.pad(inputs[:, -self.context :], ((0, 0), (missing, 0))))

    def normalised(self, inputs: Ints) -> Floats:
        """log_softmax of the function's logits."""
        logits = self.answer(np.ascontiguousarray(inputs))
        if logits.shape != (*inputs.shape[: 1 if self.context else 2], self.vocab_size):
            shape = "(N, context) -> (N, V)" if self.context else "(B, T) -> (B, T, V)"
            raise UsageError(
                f"score: the model maps {inputs.shape} to {logits.shape}; expected {shape} with "
                f"V = {self.vocab_size}" + ("" if self.context else " (for windows give context=…)")
            )
        shifted = logits - logits.max(axis=-1, keepdims=True)
        rows: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        return rows

    def answer(self, inputs: Ints) -> Floats:
        """The function's logits; a function that cannot take numpy is given tensors from then on."""
        torch: Any = sys.modules.get("torch")
        if self.takes_tensors is None:
            try:
                found = as_float64(self.function(inputs))
            except (TypeError, AttributeError):
                if torch is None:
                    raise
                self.takes_tensors = True
            else:
                self.takes_tensors = False
                return found
        if not self.takes_tensors:
            return as_float64(self.function(inputs))
        with torch.no_grad():
            tensor = torch.from_numpy(inputs)
            if is_module(self.function):
                first = next(iter(self.function.parameters()), None)  # type: ignore[attr-defined]
                tensor = tensor if first is None else tensor.to(first.device)
            return as_float64(self.function(tensor))


def is_module(model: object) -> bool:
    """Whether it is a torch module, asked without importing torch."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def as_float64(logits: Any) -> Floats:
    """A tensor or an array as float64."""
    if hasattr(logits, "detach"):
        logits = logits.detach().cpu().double().numpy()
    return np.asarray(logits, np.float64)


def score(
    model: Model | Callable[[Any], Any],
    *,
    context: int | None = None,
    dataset: str = "names",
    split: str | None = None,
) -> Record:
    """Score a model that is trained already; returns its record, and stores nothing.

    model: a `Model`, a torch module, or a function. `context` given: it maps windows (N, context),
    oldest character first, left-padded with 0, to logits (N, V); else (B, T) to (B, T, V).
    Character 0 is the boundary. A module is put into evaluation mode meanwhile.
    Raises `UsageError` on shapes that do not fit and `InvalidModel` on rows that are no distribution.
    """
    made = runner.plan("uniform", data=dataset, method=split)
    parts = made.split_for(made.cells[0].choice)
    v = made.dataset.alphabet.size
    name = getattr(model, "__name__", type(model).__name__)
    if context is not None and context < 1:
        raise UsageError(f"score: context must be at least 1, not {context}")
    if isinstance(model, Model):
        if model.vocab_size != v:
            raise UsageError(f"score: the model has V = {model.vocab_size}, {made.dataset.name} has {v}")
        target = model
        if context is None and isinstance(model, WindowModel):
            context = model.context
    elif callable(model):
        target = Existing(v, model, context)
    else:
        raise UsageError(f"score: {type(model).__name__} is no Model, torch module or function")
    record = runner.blank_record(made, made.cells[0], "notebook", parts)
    record.model, record.backend, record.options, record.config = name, "notebook", {}, {}
    record.plugin.distribution, record.plugin.version = "notebook", ""
    record.environment = environment.describe(environment.cores())
    training = is_module(model) and bool(model.training)  # type: ignore[union-attr]
    if training:
        model.eval()  # type: ignore[union-attr]
    try:
        before = time.perf_counter()
        record.metrics, _ = runner.measure(made, target, parts, 1e-4, context, record)
        record.timings.evaluate_s = time.perf_counter() - before
    finally:
        if training:
            model.train()  # type: ignore[union-attr]
    record.absent |= {"train_s": "fitted outside the harness"}
    return record
