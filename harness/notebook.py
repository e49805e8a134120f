"""The door for scripts and notebooks: `run`, `load`, and `score` for a model that exists already."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness import environment, registry, report, settings, store
from harness.contract import Floats, Ints, Model, Trial, WindowModel, sliding
from harness.corpus import Corpus, Kind
from harness.errors import UsageError
from harness.instances import instance
from harness.measure import blank_record, measure
from harness.plan import Plan, plan
from harness.record import Record
from harness.runner import execute


@dataclass(eq=False)
class Result:
    """A run with its records, its models and its table."""

    run: store.Run
    registry: registry.Registry = field(repr=False)
    looks: int | None = None

    @property
    def records(self) -> list[Record]:
        """One record a cell."""
        return self.run.records

    @property
    def path(self) -> Path:
        """The run file."""
        return self.run.path

    @cached_property
    def models(self) -> dict[str, Model]:
        """The fitted models by the label of their record, as far as their parameters were kept."""
        return {
            report.label(record) + f"@{record.backend}": model
            for record in self.records
            if (model := self.model(record)) is not None
        }

    def model(self, record: Record) -> Model | None:
        """The fitted model of a record, rebuilt from its parameters; None where they were not kept."""
        none_to_keep = record.parameters == 0 and record.params is None
        params = {} if none_to_keep else self.run.params(record)
        if params is None:
            return None
        model = instance(
            self.registry, record.model, record.backend, record.config, record.data.vocabulary, record.seed
        )
        model.params = params
        return model

    def __str__(self) -> str:
        table = report.table(self.run.header, self.records, self.run.scores, self.looks)
        drawn = report.samples(self.records, self.run.samples)
        return f"{table}\n\n{drawn}" if drawn else table

    def _repr_html_(self) -> str:
        import html

        return f"<pre>{html.escape(str(self))}</pre>"


def new_path(folder: Path) -> Path:
    """A new run file's path: its time, and a few random digits against two at once."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S-%f")
    return folder / f"{stamp}-{secrets.token_hex(2)}.jsonl"


def finish(made: Plan, done: store.Run, folder: Path) -> Result:
    """A finished run with the number of looks at its test part."""
    earlier, _ = store.brief(folder)
    earlier = [run for run in earlier if run.path.resolve() != done.path.resolve()]
    parts = made.split_for(made.cells[0].choice)
    return Result(done, made.registry, store.looks([*earlier, done], parts.fingerprint))


def run(
    models: str | Sequence[str] = "all",
    *,
    plugin: Iterable[str | Path] = (),
    dataset: str = "names",
    kind: Kind | None = None,
    split: str | None = None,
    seeds: int = 1,
    budget: str | None = None,
    target: float | None = None,
    device: str | None = None,
    threads: int | None = None,
    jobs: int = 1,
    timeout: float | None = None,
    memory: int | None = None,
    in_process: bool = False,
    solo: bool = False,
    fresh: bool = False,
    results: str | Path | None = None,
    output: str | Path | None = None,
) -> Result:
    """`harness run` for scripts: same arguments, same files; returns the run.

    timeout: seconds a cell; memory: bytes a cell. An interrupted run of the same plan is continued.
    """
    made = plan(
        models,
        plugins=plugin,
        data=dataset,
        kind=kind,
        method=split,
        seeds=seeds,
        budget=budget,
        target=target,
        device=device,
        threads=threads,
        jobs=jobs,
        timeout=timeout,
        memory=memory,
        in_process=in_process,
        solo=solo,
    )
    folder = Path(results) if results is not None else settings.results_dir()
    if output is not None:
        store.claim(Path(output))
    done = execute(made, new_path(folder), fresh=fresh)
    if output is not None:
        store.copy(done.path, Path(output))
    return finish(made, done, folder)


def load(run: str | Path, *, results: str | Path | None = None, plugin: Iterable[str | Path] = ()) -> Result:
    """A stored run by its path, its id or `latest`: records and, where kept, models."""
    folder = Path(results) if results is not None else settings.results_dir()
    path = store.find(folder, str(run))
    return Result(store.read(path), registry.discover(plugin))


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
    made = plan("uniform", data=dataset, method=split)
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
    record = blank_record(made, made.cells[0], "notebook", parts)
    record.model, record.backend, record.options, record.config = name, "notebook", {}, {}
    record.stochastic = None
    record.plugin.distribution, record.plugin.version = "notebook", ""
    record.environment = environment.describe(environment.cores())
    training = is_module(model) and bool(model.training)  # type: ignore[union-attr]
    if training:
        model.eval()  # type: ignore[union-attr]
    try:
        before = time.perf_counter()
        record.metrics, _ = measure(made, target, parts, 1e-4, context, record)
        record.timings.evaluate_s = time.perf_counter() - before
    finally:
        if training:
            model.train()  # type: ignore[union-attr]
    record.absent |= {"train_s": "fitted outside the harness"}
    return record
