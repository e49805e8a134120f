"""The straight line over all cells: dataset → split → fit → evaluate → sample → record.

Each cell has a process of its own (`engine`), unless the plan says otherwise; its model is then a
proxy, and everything here is the same for both. Quality may be measured side by side; speed is
measured alone.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from harness import __version__, certificate, engine, environment, evaluate, registry, sample, store
from harness.contract import Model, Trial
from harness.errors import Diverged, HarnessError, InvalidModel, StoreError, Unavailable
from harness.fit import Fitted, fit, not_finite
from harness.instances import instance, opening
from harness.interrupts import Interrupts
from harness.measure import blank_record, dev_nll, measure, to_target
from harness.plan import Cell, Plan, plan
from harness.proxy import opened
from harness.record import Audit, Header, Record, Status, finite
from harness.seeds import derive
from harness.split import Split
from harness.turns import Turns

__all__ = ["Watcher", "execute", "plan"]


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
                    shift.work(following)
            elif made.how.jobs == 1:
                for cell in todo:
                    shift.work(cell)
            else:
                shift.work_side_by_side(todo)
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
    unfinished = None if fresh else store.find_open(path.parent, identity)
    if unfinished is not None:
        return store.Writer(unfinished, header, resume=True)
    return store.Writer(path, header)


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

    def work_side_by_side(self, cells: list[Cell]) -> None:
        """`jobs` cells at a time, each driven by a thread."""
        with ThreadPoolExecutor(self.made.how.jobs) as pool:
            running = [pool.submit(self.work, cell) for cell in cells]
            try:
                done, _ = wait(running, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            except BaseException:
                self.stopping.set()
                self.processes.kill()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def work(self, cell: Cell) -> None:
        """Run one cell and write its record."""
        if self.stopping.is_set():
            raise KeyboardInterrupt
        self.watcher.started(cell)
        record = self.run(cell)
        if self.stopping.is_set():
            raise KeyboardInterrupt  # its process was ended by us: no result
        record.environment = self.facts
        self.writer.cell(record)
        if self.stopping.is_set():
            raise KeyboardInterrupt
        for problem in registry.tell(self.made.registry, record):
            self.watcher.warned(problem)
        self.watcher.finished(cell, record)

    def run(self, cell: Cell) -> Record:
        """One cell, from fit to record, under a guard: what a plugin does becomes its status."""
        parts = self.made.split_for(cell.choice)
        record = blank_record(self.made, cell, self.writer.path.stem, parts)
        record.audit = self.audited(cell)
        phase = Phase()
        try:
            with self.housed(cell, parts, record) as make:
                self.follow(cell, parts, record, make, phase)
        except Unavailable as error:
            record.status, record.reason = "skipped", str(error)
        except StoreError:
            raise
        except (Exception, SystemExit) as error:
            record.status, record.reason = verdict(error, phase, self.made.how.timeout)
        if self.made.target is not None:
            record.target = to_target(record, self.made.target)
        return record

    def audited(self, cell: Cell) -> Audit | None:
        """What an audit has found of this cell's model, where it is kept beside the run."""
        try:
            found = certificate.find(self.writer.path.parent, cell.choice, self.made.dataset)
        except StoreError as error:
            self.watcher.warned(str(error))
            return None
        return None if found is None else found.audit_for(self.made.dataset)

    @contextlib.contextmanager
    def housed(self, cell: Cell, parts: Split, record: Record) -> Iterator[Callable[[], Model]]:
        """Where the cell's model lives: a function that makes a new instance there."""
        choice = cell.choice
        v = self.made.dataset.alphabet.size
        name, backend = choice.spec.name, choice.backend
        if choice.missing:
            raise Unavailable(choice.missing)
        if self.made.how.in_process:
            yield lambda: instance(self.made.registry, name, backend, choice.config, v, cell.seed)
            return
        how = self.made.how
        began = time.perf_counter()
        start = backend if choice.external else self.processes.kind_for(choice.requires, cuda=choice.cuda)
        waited = time.perf_counter() - began  # the first cell of its kind waits for its server
        with self.turns.shared():
            child, make = opened(
                self.processes,
                start,
                engine.Limits(how.timeout, how.memory, how.threads),
                opening(choice, how.plugins, v),
                {"train": parts.train, "dev": parts.dev.corpus},
            )
        record.timings.start_s = waited + child.start_s
        try:
            yield lambda: make(cell.seed)
        finally:
            record.peak_rss_bytes = child.peak()
            child.close()
            for name, output in child.outputs.items():
                if text := output.text():
                    side = self.writer.save_output(f"{cell.index}.{name}.txt", text)
                    setattr(record, name, side)

    def follow(
        self, cell: Cell, parts: Split, record: Record, make: Callable[[], Model], phase: Phase
    ) -> None:
        """The line: fit → evaluate → time → sample; each step fills the record."""
        made, choice = self.made, cell.choice
        context = choice.spec.context_of(choice.config)
        with self.turns.shared():
            phase.name = "fit"
            fitted = self.fit(cell, parts, make, context)
            model = phase.model = fitted.model
            note_fit(record, fitted, made.budget.seconds)
            phase.name = "evaluate"
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

    def fit(self, cell: Cell, parts: Split, make: Callable[[], Model], context: int | None) -> Fitted:
        """Fit under the plan's budget, or the spec's own."""
        made, choice = self.made, cell.choice
        own = None if made.budget.seconds else choice.spec.steps_of(choice.config)
        trial = Trial(
            cell.seed,
            "cuda" if choice.backend == "cuda" else "cpu",
            made.how.threads,
            seconds=made.budget.seconds,
            steps=made.budget.steps or own,
            on_progress=lambda done, total, scalars: self.watcher.progressed(cell, done, total, scalars),
        )
        return fit(
            make,
            parts.train,
            parts.dev.corpus,
            trial,
            lambda current: dev_nll(current, parts.dev, context),
        )


@dataclass
class Phase:
    """Where a cell is, for the reason that it is given when it breaks."""

    name: str = "start"
    model: Model | None = None


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


def verdict(error: BaseException, phase: Phase, timeout: float | None) -> tuple[Status, str]:
    """The status and the reason that an exception stands for."""
    text = " ".join(str(error).split())
    if isinstance(error, Diverged):
        return "diverged", text or "training diverged"
    if isinstance(error, InvalidModel):
        if phase.model is not None and (bad := not_finite(phase.model.params)):
            return "diverged", f"parameter {bad!r} is not finite"
        return "invalid", text
    if isinstance(error, engine.CellTimeout):
        return "timeout", f"{phase.name}: over the limit of {timeout:g} s" + (f": {text}" if text else "")
    if isinstance(error, MemoryError) or getattr(error, "out_of_memory", False):
        return "out-of-memory", f"{phase.name}: {text or 'not enough memory'}"
    if isinstance(error, HarnessError):
        return "failed", f"{phase.name}: {text}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return "failed", f"{phase.name}: {type(error).__name__}: {text}{where}"
