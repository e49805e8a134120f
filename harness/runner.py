"""The straight line over all cells: dataset → split → fit → evaluate → sample → record.

Each cell has a process of its own (`engine`), unless the plan says otherwise; its model is then a
proxy, and everything here is the same for both. Quality may be measured side by side; speed is
measured alone.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from harness import __version__, certificate, engine, environment, evaluate, registry, sample, store
from harness.child import Limits
from harness.contract import Model, Trial
from harness.errors import StoreError, Unavailable
from harness.fit import Fitted, FittedSeeds, fit, fit_seeds
from harness.instances import instance, opening
from harness.interrupts import Interrupts
from harness.measure import blank_record, dev_nll, measure, to_target
from harness.outcome import Phase, guarded
from harness.plan import Cell, Plan, plan
from harness.proxy import opened
from harness.record import Audit, Header, Record, finite
from harness.seeds import derive
from harness.split import Split
from harness.turns import Turns

__all__ = ["Watcher", "execute", "plan"]

TOGETHER = (
    "batched:{0}: its {0} seeds were trained as one problem in one process; start, warm-up and train seconds "
    "are that process's ÷ {0}, its memory is that of all"
)


class Watcher:
    """Told of a run's progress; does nothing by itself."""

    def resumed(self, done: int, cells: int, path: Path) -> None:
        """An open run of the same plan is continued."""

    def started(self, cell: Cell) -> None:
        """A cell begins."""

    def progressed(self, cell: Cell, done: int, total: int, scalars: Mapping[str, float]) -> None:
        """Its fit has consumed `done` of `total` training targets."""

    def finished(self, cell: Cell, record: Record) -> None:
        """Its record is written."""

    def warned(self, text: str) -> None:
        """Something beside the cells went wrong, and the run goes on."""


def execute(
    made: Plan, folder_path: Path, watcher: Watcher | None = None, *, fresh: bool = False
) -> store.Run:
    """Run every cell into one run file; a cell that breaks is a row, and the others go on.

    folder_path: the new run file. An open file of the same plan beside it is continued instead,
    unless `fresh`. Interrupted (SIGINT, SIGTERM), it leaves an open file: what was finished stays.
    """
    watcher = watcher or Watcher()
    with engine.Engine(made.how.threads) as processes:
        if not made.how.in_process and made.cells:  # its server loads while we look around
            first = made.cells[0].choice
            kind = engine.server_kind(first.requires, cuda=first.cuda)
            if kind != "spawn" and not first.external:
                processes.server(kind)
        return work(made, folder_path, watcher, processes, fresh=fresh)


def work(made: Plan, path: Path, watcher: Watcher, processes: engine.Engine, *, fresh: bool) -> store.Run:
    """Open the run file, and fill it."""
    facts = environment.describe(made.how.threads)
    writer = open_writer(made, path, facts, fresh=fresh)
    done = {record.cell for record in writer.records}
    if done:
        watcher.resumed(len(done), len(made.cells), writer.path)
    todo = [cell for cell in made.cells if cell.index not in done]
    complete = False
    with Interrupts(writer) as interrupts:
        shift = Shift(made, writer, watcher, processes, facts, interrupts.stopping)
        interrupts.at_once = processes.kill
        try:
            if made.search is not None:
                while (following := made.search.following(writer.records)) is not None:
                    shift.work([following])
            elif made.how.jobs == 1:
                for cells in made.together(todo):
                    shift.work(cells)
            else:
                shift.work_side_by_side(made.together(todo))
            complete = True
        finally:
            writer.close(complete=complete)
    return store.read(writer.path)


def open_writer(made: Plan, path: Path, facts: dict[str, object], *, fresh: bool) -> store.Writer:
    """The run file: an open one of the same plan, or a new one."""
    identity = made.identity
    header = Header(
        run_id=path.stem,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        dataset=made.dataset.name,
        split=str(made.method),
        budget=str(made.budget),
        cells=[] if made.search else [cell.label for cell in made.cells],
        search=made.search.name if made.search else None,
        identity=identity,
        environment=facts,
    )
    unfinished = None if fresh else store.resume(path.parent, identity)
    return unfinished or store.Writer(path, header)


@dataclass(eq=False)
class Shift:
    """What all cells of one run share."""

    made: Plan
    writer: store.Writer
    watcher: Watcher
    processes: engine.Engine
    facts: dict[str, object]
    stopping: threading.Event
    turns: Turns = field(default_factory=Turns)
    references: dict[Split, sample.Reference] = field(default_factory=dict)

    def work_side_by_side(self, groups: list[list[Cell]]) -> None:
        """`jobs` processes at a time, each driven by a thread."""
        with ThreadPoolExecutor(self.made.how.jobs) as pool:
            running = [pool.submit(self.work, cells) for cells in groups]
            try:
                done, _ = wait(running, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            except BaseException:
                self.stopping.set()
                self.processes.kill()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def work(self, cells: Sequence[Cell]) -> None:
        """Run one cell, or seeds that are trained as one problem, and write their records."""
        if self.stopping.is_set():
            raise KeyboardInterrupt
        for cell in reversed(cells):  # the first is shown
            self.watcher.started(cell)
        records = self.run(cells)
        for cell, record in zip(cells, records, strict=True):
            if self.stopping.is_set():
                raise KeyboardInterrupt  # its process was ended by us: no result
            record.environment = self.facts
            self.writer.cell(record)
            if self.stopping.is_set():
                raise KeyboardInterrupt
            for problem in registry.tell(self.made.registry, record):
                self.watcher.warned(problem)
            self.watcher.finished(cell, record)

    def run(self, cells: Sequence[Cell]) -> list[Record]:
        """From fit to record, under a guard: what a plugin does becomes the status of its row.

        What breaks before the fit has ended is every seed's; afterwards each stands for itself.
        """
        first, phase, timeout = cells[0], Phase(), self.timeout(cells)
        parts = self.made.split_for(first.choice)
        records = [blank_record(self.made, cell, self.writer.path.stem, parts) for cell in cells]
        for record in records:
            record.audit = self.audited(first)
            if len(cells) > 1:
                record.marks.append(TOGETHER.format(len(cells)))
        with guarded(records, phase, timeout), self.housed(cells, parts, records) as make:
            phase.name = "fit"
            with self.turns.shared():
                fits = self.fit(cells, parts, make)
            for cell, record, fitted in zip(cells, records, fits, strict=True):
                with guarded([record], phase, timeout):
                    phase.name, phase.model = "fit", None
                    self.follow(cell, parts, record, fitted(), phase)
        for record in records:
            if self.made.target is not None:
                record.target = to_target(record, self.made.target)
        return records

    def timeout(self, cells: Sequence[Cell]) -> float | None:
        """The limit of their process: each may last as long as alone."""
        limit = self.made.how.timeout
        return None if limit is None else limit * len(cells)

    def audited(self, cell: Cell) -> Audit | None:
        """What an audit has found of this cell's model, where it is kept beside the run."""
        try:
            found = certificate.find(self.writer.path.parent, cell.choice, self.made.dataset)
        except StoreError as error:
            self.watcher.warned(str(error))
            return None
        return None if found is None else found.audit_for(self.made.dataset)

    @contextlib.contextmanager
    def housed(
        self, cells: Sequence[Cell], parts: Split, records: Sequence[Record]
    ) -> Iterator[Callable[[Cell], Model]]:
        """Where the model of the cells lives: a function that makes a new instance there, of one's seed."""
        choice = cells[0].choice
        v = self.made.dataset.alphabet.size
        name, backend = choice.spec.name, choice.backend
        if choice.missing:
            raise Unavailable(choice.missing)
        if self.made.how.in_process:
            registry.resolve(choice.spec, backend)  # which loads the libraries it needs
            with environment.threads_here(self.made.how.threads):
                yield lambda cell: instance(self.made.registry, name, backend, choice.config, v, cell.seed)
            return
        how = self.made.how
        began = time.perf_counter()
        start = backend if choice.external else self.processes.kind_for(choice.requires, cuda=choice.cuda)
        waited = time.perf_counter() - began  # the first cell of its kind waits for its server
        with self.turns.shared():
            child, make = opened(
                self.processes,
                start,
                Limits(self.timeout(cells), how.memory, how.threads),
                opening(choice, how.plugins, v),
                {"train": parts.train, "dev": parts.dev.corpus},
            )
        for record in records:
            record.timings.start_s = (waited + child.start_s) / len(records)
        try:
            yield lambda cell: make(cell.seed)
        finally:
            peak = child.peak()
            child.close()
            kept = {name: text for name, output in child.outputs.items() if (text := output.text())}
            for record in records:
                record.peak_rss_bytes = peak
                for name, text in kept.items():
                    setattr(record, name, self.writer.save_output(f"{record.cell}.{name}.txt", text))

    def follow(self, cell: Cell, parts: Split, record: Record, fitted: Fitted, phase: Phase) -> None:
        """The line after the fit: evaluate → time → sample; each step fills the record."""
        made, choice = self.made, cell.choice
        context = choice.spec.context_of(choice.config)
        model = phase.model = fitted.model
        note_fit(record, fitted, made.budget.seconds)
        phase.name = "evaluate"
        with self.turns.shared():
            before = time.perf_counter()
            metrics, arrays = measure(made, model, parts, choice.spec.tolerance, context, record)
            record.timings.evaluate_s = time.perf_counter() - before
        if made.search is not None:  # a trial is fitted and scored on dev, and not kept
            record.metrics = metrics
            record.scores = self.writer.save_arrays(f"{cell.index}.scores.npz", arrays)
            return
        with self.turns.alone():
            before = time.perf_counter()
            record.throughput.eval_chars_per_s = evaluate.throughput(model, parts.test.corpus, context)
            record.timings.evaluate_s += time.perf_counter() - before
            phase.name = "sample"
            record.sample_seed = derive(cell.seed, "sample")
            longest = sample.longest(parts.train)
            n = sample.how_many(parts.train.kind, longest)
            drawn = sample.draw(model, n, made.dataset.alphabet, longest, record.sample_seed)
            record.timings.sample_s = drawn.seconds
            record.throughput.sample_chars_per_s = drawn.chars_per_s
        record.sample_statistics = sample.statistics(drawn, self.reference(parts))
        record.metrics = metrics  # only now: a cell that breaks anywhere has no score
        record.samples = self.writer.save_samples(f"{cell.index}.samples.json", drawn.texts)
        record.scores = self.writer.save_arrays(f"{cell.index}.scores.npz", arrays)
        if model.params:
            record.params = self.writer.save_arrays(f"{cell.index}.params.npz", model.params)

    def reference(self, parts: Split) -> sample.Reference:
        """What samples are measured against: the same for all cells of a split."""
        if parts not in self.references:
            self.references[parts] = sample.reference(
                parts.train,
                parts.dev.corpus,
                parts.test.corpus,
                derive(parts.fingerprint, "real documents"),
                in_sample=parts.in_sample,
            )
        return self.references[parts]

    def fit(
        self, cells: Sequence[Cell], parts: Split, make: Callable[[Cell], Model]
    ) -> list[Callable[[], Fitted]]:
        """Fit under the plan's budget, or the spec's own; each fitted model is made at its turn.

        (One process holds one model at a time.)
        """
        first = cells[0]
        context = first.choice.spec.context_of(first.choice.config)
        trials = [self.trial(cell) for cell in cells]

        def dev(current: Model) -> float:
            return dev_nll(current, parts.dev, context)

        def a_model() -> Model:
            return make(first)

        if len(cells) == 1:
            fitted = fit(a_model, parts.train, parts.dev.corpus, trials[0], dev)
            return [lambda: fitted]
        found = fit_seeds(a_model, parts.train, parts.dev.corpus, trials, dev)
        return [partial(one_of, found, number, make, cell) for number, cell in enumerate(cells)]

    def trial(self, cell: Cell) -> Trial:
        """What the fit of a cell may spend."""
        made, choice = self.made, cell.choice
        own = None if made.budget.seconds else choice.spec.steps_of(choice.config)
        return Trial(
            cell.seed,
            "cuda" if choice.backend == "cuda" else "cpu",
            made.how.threads,
            seconds=made.budget.seconds,
            steps=made.budget.steps or own,
            on_progress=lambda done, total, scalars: self.watcher.progressed(cell, done, total, scalars),
        )


def one_of(found: FittedSeeds, number: int, make: Callable[[Cell], Model], cell: Cell) -> Fitted:
    """One of the seeds that were trained together, as the model that is scored now."""
    return found.seed(number, make(cell))


def note_fit(record: Record, fitted: Fitted, seconds: float | None) -> None:
    """What a fit took, into its record."""
    record.timings.warmup_s = fitted.warmup_s
    record.timings.train_s = fitted.train_s
    record.timings.checkpoint_s = fitted.checkpoint_s
    record.throughput.train_chars_per_s = fitted.targets_consumed / max(fitted.train_s, 1e-9)
    record.throughput.claimed = fitted.claimed
    record.curve = [(at, finite(nll)) for at, nll in fitted.curve]
    record.parameters = sum(value.size for value in fitted.model.params.values())
    if fitted.over_budget:
        record.marks.append(f"over its budget: {fitted.train_s:.2f} s of {seconds:g} s")
