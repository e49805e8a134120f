"""The straight line over all cells: dataset → split → fit → evaluate → sample → record.

`plan` decides what is run, `execute` runs it; `run` and `load` are the same for scripts.
"""

from __future__ import annotations

import math
import re
import secrets
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness import (
    __version__,
    dataset,
    environment,
    evaluate,
    registry,
    report,
    sample,
    selection,
    settings,
    split,
    statistics,
    store,
)
from harness.contract import Model, Trial, WindowModel
from harness.corpus import Kind
from harness.errors import Diverged, InvalidModel, StoreError, Unavailable, UnknownName, UsageError
from harness.fit import Budget, fit, not_finite
from harness.record import Data, Header, Metrics, Plugin, Record, Status, finite
from harness.seeds import derive
from harness.selection import Choice

SAMPLES = 20


@dataclass(frozen=True, eq=False)
class Cell:
    """One row to come."""

    index: int
    choice: Choice
    repeat: int
    seed: int

    @property
    def label(self) -> str:
        """`mlp@numpy:context=8 #2`."""
        return self.choice.label + (f" #{self.repeat + 1}" if self.repeat else "")


@dataclass(eq=False)
class Plan:
    """Everything that a run needs, resolved and checked before the first cell starts."""

    registry: registry.Registry
    dataset: dataset.Dataset
    method: split.Method
    cells: list[Cell]
    budget: Budget
    threads: int
    _splits: dict[bool, split.Split] = field(default_factory=dict)
    _true_scores: dict[str, evaluate.Scores] = field(default_factory=dict)

    def split_for(self, choice: Choice) -> split.Split:
        """The parts; a model that needs dev gets one where the method has none."""
        needs = choice.spec.uses_dev_of(choice.config) and self.method.name == "makemore"
        if needs not in self._splits:
            self._splits[needs] = split.divide(
                self.dataset.documents,
                self.dataset.alphabet,
                self.dataset.kind,
                self.method,
                uses_dev=needs,
            )
        return self._splits[needs]

    def true_scores(self, parts: split.Split) -> evaluate.Scores | None:
        """The true source's own scores on test (synthetic data)."""
        source = self.dataset.true_source
        if source is None or not len(parts.test.corpus):
            return None
        if parts.method not in self._true_scores:
            self._true_scores[parts.method] = evaluate.score(source, parts.test.corpus, None)
        return self._true_scores[parts.method]


class Watcher:
    """Told of a run's progress; does nothing by itself."""

    def started(self, cell: Cell) -> None:
        """A cell begins."""

    def progressed(self, cell: Cell, done: int, total: int, scalars: Mapping[str, float]) -> None:
        """Its fit has consumed `done` of `total` training targets."""

    def finished(self, cell: Cell, record: Record) -> None:
        """Its record is written."""

    def warned(self, text: str) -> None:
        """Something beside the cells went wrong, and the run goes on."""


def plan(
    models: str | Sequence[str] = "all",
    *,
    plugins: Iterable[str | Path] = (),
    data: str = "names",
    kind: Kind | None = None,
    method: str | None = None,
    seeds: int = 1,
    budget: str | None = None,
    device: str | None = None,
) -> Plan:
    """Resolve and check everything; a mistake is a `UsageError` before anything has run."""
    found = registry.discover(plugins)
    choices = selection.choose(found, [models] if isinstance(models, str) else models, device)
    if seeds < 1:
        raise UsageError("--seeds must be at least 1")
    opened = open_data(found, data, kind)
    parsed = split.parse(method or opened.default_split)
    cells: list[Cell] = []
    for choice in choices:
        for repeat in range(seeds):
            seed = derive(
                opened.name,
                str(parsed),
                choice.spec.name,
                choice.backend,
                sorted(choice.config.items()),
                repeat,
            )
            cells.append(Cell(len(cells), choice, repeat, seed))
    made = Plan(found, opened, parsed, cells, parse_budget(budget), environment.cores())
    made.split_for(choices[0])
    return made


def open_data(found: registry.Registry, name: str, kind: Kind | None = None) -> dataset.Dataset:
    """A dataset by its name on the command line."""
    head, options = dataset.parse(name)
    if head == "file":
        if not options:
            raise UsageError("--dataset file:PATH needs a path")
        return dataset.open_file(Path(options), kind)
    if kind is not None:
        raise UsageError(f"--as is for file:PATH; {head} has its own kind")
    if head not in found.datasets:
        raise UnknownName("dataset", head, [*found.datasets, "file:PATH"])
    spec = found.datasets[head]
    given = {}
    for option in selection.cut(options, ",") if options else []:
        key, equals, value = option.partition("=")
        if not equals:
            raise UsageError(f"dataset {head}: {option!r} is not KEY=VALUE")
        given[key.strip()] = value.strip()
    return dataset.open_dataset(spec, selection.read_options(head, given, spec.config, {}))


def parse_budget(text: str | None) -> Budget:
    """`2000steps` or `30s`."""
    if text is None:
        return Budget()
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*(steps?|s|m)", text.strip())
    number = float(match[1]) if match else 0.0
    if not match or number <= 0 or (match[2].startswith("step") and number != int(number)):
        raise UsageError(f"--budget {text!r}: write it as 2000steps, 30s or 5m")
    if match[2].startswith("step"):
        return Budget(steps=int(number))
    return Budget(seconds=number * (60 if match[2] == "m" else 1))


# ---- running


def execute(made: Plan, path: Path, watcher: Watcher | None = None, *, params: bool = True) -> store.Run:
    """Run every cell into one run file; a cell that breaks is a row, and the others go on."""
    watcher = watcher or Watcher()
    facts = environment.describe(made.threads)
    header = Header(
        run_id=path.stem,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        dataset=made.dataset.name,
        split=str(made.method),
        budget=str(made.budget),
        cells=[cell.label for cell in made.cells],
        environment=facts,
    )
    writer = store.Writer(path, header)
    complete = False
    try:
        for cell in made.cells:
            watcher.started(cell)
            record = run_cell(made, cell, writer, watcher, params=params)
            record.environment = facts
            writer.cell(record)
            for problem in registry.tell(made.registry, record):
                watcher.warned(problem)
            watcher.finished(cell, record)
        complete = True
    finally:
        writer.close(complete=complete)
    return store.read(path)


def run_cell(
    made: Plan, cell: Cell, writer: store.Writer, watcher: Watcher, *, params: bool = True
) -> Record:
    """One cell, from fit to record, under a guard: what a plugin raises becomes its status."""
    choice, parts = cell.choice, made.split_for(cell.choice)
    record = blank_record(made, cell, writer.path.stem, parts)
    phase = "start"
    model: Model | None = None
    try:
        made_class = registry.resolve(choice.spec, choice.backend)
        record.plugin.code_hash = registry.code_hash(made_class)
        context = choice.spec.context_of(choice.config)
        device = "cuda" if choice.backend == "cuda" else "cpu"

        def make() -> Model:
            built = made_class(made.dataset.alphabet.size, choice.config, np.random.default_rng(cell.seed))
            return prepare(built, device, context)

        trial = Trial(
            cell.seed,
            device,
            made.threads,
            seconds=made.budget.seconds,
            steps=made.budget.steps or (None if made.budget.seconds else choice.spec.steps_of(choice.config)),
            on_progress=lambda done, total, scalars: watcher.progressed(cell, done, total, scalars),
        )
        phase = "fit"
        fitted = fit(
            make,
            parts.train,
            parts.dev.corpus,
            trial,
            lambda current: dev_nll(current, parts.dev, context),
        )
        model = fitted.model
        record.timings.warmup_s = fitted.warmup_s
        record.timings.train_s = fitted.train_s
        record.timings.checkpoint_s = fitted.checkpoint_s
        record.throughput.train_chars_per_s = fitted.targets_consumed / max(fitted.train_s, 1e-9)
        record.throughput.claimed = fitted.claimed
        record.curve = [(at, finite(nll)) for at, nll in fitted.curve]
        record.parameters = sum(value.size for value in model.params.values())
        if fitted.over_budget:
            record.marks.append(f"over its budget: {fitted.train_s:.2f} s of {made.budget.seconds:g} s")
        phase = "evaluate"
        before = time.perf_counter()
        metrics, arrays = measure(made, model, parts, choice.spec.tolerance, context, record)
        record.timings.evaluate_s = time.perf_counter() - before
        record.throughput.eval_chars_per_s = evaluate.throughput(model, parts.test.corpus, context)
        phase = "sample"
        record.sample_seed = derive(cell.seed, "sample")
        drawn = sample.draw(
            model, SAMPLES, made.dataset.alphabet, sample.longest(parts.train), record.sample_seed
        )
        record.timings.sample_s = drawn.seconds
        record.throughput.sample_chars_per_s = drawn.chars_per_s
        record.metrics = metrics  # only now: a cell that breaks anywhere has no score
        record.samples = writer.save_samples(f"{cell.index}.samples.json", drawn.texts)
        record.scores = writer.save_arrays(f"{cell.index}.scores.npz", arrays)
        if params and model.params:
            record.params = writer.save_arrays(f"{cell.index}.params.npz", model.params)
    except Unavailable as error:
        record.status, record.reason = "skipped", str(error)
    except StoreError:
        raise
    except (Exception, SystemExit) as error:
        record.status, record.reason = verdict(error, phase, model)
    return record


def prepare(model: Model, device: str, context: int | None) -> Model:
    """Set what the harness sets before `fit` and after loading."""
    model.device = device
    if isinstance(model, WindowModel) and context is not None:
        model.context = max(1, context)
    return model


def verdict(error: BaseException, phase: str, model: Model | None) -> tuple[Status, str]:
    """The status and the reason that an exception stands for."""
    text = " ".join(str(error).split())
    if isinstance(error, Diverged):
        return "diverged", text or "training diverged"
    if isinstance(error, InvalidModel):
        if model is not None and (bad := not_finite(model.params)):
            return "diverged", f"parameter {bad!r} is not finite"
        return "invalid", text
    if isinstance(error, MemoryError):
        return "out-of-memory", f"{phase}: {text or 'not enough memory'}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return "failed", f"{phase}: {type(error).__name__}: {text}{where}"


def blank_record(made: Plan, cell: Cell, run_id: str, parts: split.Split) -> Record:
    """What is known of a cell before it runs."""
    choice, plugin = cell.choice, made.registry.plugin_of(cell.choice.spec.name)
    corpora = {"train": parts.train, "dev": parts.dev.corpus, "test": parts.test.corpus}
    source = made.dataset.true_source
    entropy = getattr(source, "entropy_rate", None)
    marks = []
    if parts.dev_from_train:
        marks.append("needs a dev part: the last 1,000 training words are its dev, the others its train")
    if made.budget.seconds is not None:
        marks.append(f"budget of {made.budget} wall clock: not reproducible to the bit")
    text = made.dataset.kind == "text"
    return Record(
        run_id=run_id,
        cell=cell.index,
        model=choice.spec.name,
        backend=choice.backend,
        options=choice.given,
        config=dict(choice.config),
        dataset=made.dataset.name,
        split=parts.method,
        repeat=cell.repeat,
        seed=cell.seed,
        budget=str(made.budget),
        status="ok",
        marks=marks,
        data=Data(
            dataset_sha256=made.dataset.sha256,
            split_fingerprint=parts.fingerprint,
            vocabulary=made.dataset.alphabet.size,
            documents={part: len(corpus) for part, corpus in corpora.items()},
            targets={part: corpus.targets for part, corpus in corpora.items()},
            overlap=parts.overlap(),
            units=units_in(parts.test),
            in_sample=parts.in_sample,
            dev_from_train=parts.dev_from_train,
            window=window_of(choice) if text else {},
            entropy_rate=None if entropy is None else entropy(),
        ),
        plugin=Plugin(distribution=plugin.distribution, version=plugin.version),
    )


def window_of(choice: Choice) -> dict[str, int]:
    """The windows in which running text is scored."""
    overlap = max(evaluate.WINDOW - evaluate.STRIDE, choice.spec.context_of(choice.config) or 0)
    return {"inputs": overlap + evaluate.STRIDE, "stride": evaluate.STRIDE}


def units_in(part: split.Part) -> int:
    """Units of uncertainty: distinct documents, or blocks of running text."""
    if part.corpus.kind == "text":
        return len(evaluate.in_blocks(np.zeros(part.corpus.targets)).lengths)
    return len(np.unique(part.units))


def dev_nll(model: Model, dev: split.Part, context: int | None) -> float:
    """The answer to a checkpoint."""
    nll = evaluate.score(model, dev.corpus, context).nll
    if nll is None:
        raise UsageError(f"checkpoint: {dev.absent}")
    return nll


def measure(
    made: Plan,
    model: Model,
    parts: split.Split,
    tolerance: float,
    context: int | None,
    record: Record,
) -> tuple[Metrics, dict[str, Any]]:
    """Every NLL of a fitted model with its interval, and the per-document scores behind them."""
    metrics = Metrics()
    arrays: dict[str, Any] = {}
    for name, part in (("dev", parts.dev), ("test", parts.test)):
        if part.absent is not None:
            record.absent[f"{name}_nll"] = part.absent
            continue
        rng = np.random.default_rng(derive(record.seed, "agreement", name))
        if problem := evaluate.disagreement(model, part.corpus, context, tolerance, rng):
            raise InvalidModel(problem)
        scores = evaluate.score(model, part.corpus, context)
        text = part.corpus.kind == "text"
        units = np.arange(len(scores.sums)) if text else part.units
        arrays |= {
            f"{name}_sums": scores.sums,
            f"{name}_lengths": scores.lengths,
            f"{name}_units": units,
        }
        fill(metrics, name, scores, units, None if text else part.seen)
    truth = made.true_scores(parts)
    if truth is not None and metrics.test_nll is not None:
        excess = statistics.paired(arrays["test_sums"], truth.sums, truth.lengths, arrays["test_units"])
        metrics.excess, metrics.excess_half = excess.nats, excess.half
    train = evaluate.score_train(model, parts.train, context)
    metrics.train_nll = finite(train.nll)
    metrics.zero_probability["train"] = train.zero_probability
    return metrics, arrays


def fill(metrics: Metrics, part: str, scores: evaluate.Scores, units: Any, seen: Any) -> None:
    """The metrics of one held-out part; all null where a target had p = 0."""
    metrics.zero_probability[part] = scores.zero_probability
    nll = finite(scores.nll)
    if nll is None:
        return
    sums, lengths = statistics.clusters(scores.sums, scores.lengths, units)
    se = statistics.standard_error(sums, lengths)
    setattr(metrics, f"{part}_nll", nll)
    setattr(metrics, f"{part}_nll_se", se)
    setattr(metrics, f"{part}_nll_half", statistics.half_interval(se, len(sums)))
    if part == "test":
        metrics.test_bits = nll / math.log(2)
        metrics.test_perplexity = math.exp(nll)
        if seen is not None:
            metrics.test_nll_document = nll * int(scores.lengths.sum()) / len(scores.lengths)
    if seen is not None and seen.any():
        for side, mask in (("seen", seen), ("unseen", ~seen)):
            value = evaluate.mean_nll(scores.sums[mask], scores.lengths[mask])
            setattr(metrics, f"{part}_nll_{side}", value)


# ---- for scripts


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
        """The fitted model of a record, rebuilt from its parameters; None where none were kept."""
        params = self.run.params(record)
        if params is None:
            return None
        spec = self.registry.model(record.model)
        made_class = registry.resolve(spec, record.backend)
        model = made_class(record.data.vocabulary, record.config, np.random.default_rng(record.seed))
        model.params = params
        return prepare(model, "cuda" if record.backend == "cuda" else "cpu", spec.context_of(record.config))

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
    earlier, _ = store.read_all(folder)
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
    device: str | None = None,
    results: str | Path | None = None,
    output: str | Path | None = None,
) -> Result:
    """`harness run` for scripts: same arguments, same files; returns the run."""
    made = plan(
        models,
        plugins=plugin,
        data=dataset,
        kind=kind,
        method=split,
        seeds=seeds,
        budget=budget,
        device=device,
    )
    folder = Path(results) if results is not None else settings.results_dir()
    done = execute(made, new_path(folder))
    if output is not None:
        store.copy(done.path, Path(output))
    return finish(made, done, folder)


def load(run: str | Path, *, results: str | Path | None = None, plugin: Iterable[str | Path] = ()) -> Result:
    """A stored run by its path, its id or `latest`: records and, where kept, models."""
    folder = Path(results) if results is not None else settings.results_dir()
    path = store.find(folder, str(run))
    return Result(store.read(path), registry.discover(plugin))
