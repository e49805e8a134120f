"""A row fitted again by its own plan, and whether the bits agree.

Same configuration, seed, data, budget in steps and threads. Training that is deterministic then gives the
same parameters, scores and samples, to the last bit, by the same code on the same machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import environment, held, plan, runner, selection, split, store
from harness.errors import UsageError
from harness.labels import called
from harness.plan import Cell, How, Plan, Search
from harness.record import Header, Metrics, Record
from harness.rederive import Check
from harness.registry import Registry

LIVE = "scored live"


@dataclass(frozen=True)
class Rerun:
    """A row beside itself."""

    name: str
    checks: tuple[Check, ...]
    excuses: tuple[str, ...]  # why its bits may rightly differ
    reason: str | None = None  # why it was not fitted again

    @property
    def differs(self) -> list[Check]:
        """What is not the same to the bit."""
        return [each for each in self.checks if not each.holds()]


def rerun(run: store.Run, record: Record, found: Registry, plugins: tuple[str, ...], folder: Path) -> Rerun:
    """Fit a record's row again, into a new run file in `folder`, and compare."""
    name = called(record)
    if record.status != "ok":
        return Rerun(name, (), (), f"the row is {record.status}: {record.reason}")
    if record.rests_on != LIVE:
        return Rerun(name, (), (), f"its NLL rests on {record.rests_on}: there is no model to fit")
    budget = plan.parse_budget(None if record.budget == "default" else record.budget)
    if budget.seconds is not None and any("wall clock" in mark for mark in record.marks):
        return Rerun(name, (), (), f"a budget of {record.budget} wall clock is not reproducible to the bit")
    made = planned(run.header, record, found, plugins)
    again = runner.execute(made, folder / f"{record.cell}.jsonl", fresh=True)
    (other,) = again.records
    return Rerun(name, tuple(compared(run, record, again, other)), tuple(excuses(record, other, made)))


def planned(header: Header, record: Record, found: Registry, plugins: tuple[str, ...]) -> Plan:
    """The plan of this one cell; `UsageError` where its model or its data is another by now."""
    choice = selection.one(found, called(record, repeat=False))
    if dict(choice.config) != record.config:
        changed = [
            key
            for key in {**record.config, **choice.config}
            if record.config.get(key) != choice.config.get(key)
        ]
        raise UsageError(
            f"--rerun {called(record)}: the model's options have changed since the run: {', '.join(changed)}"
        )
    if choice.missing:
        raise UsageError(f"--rerun {called(record)}: it cannot run here: {choice.missing}")
    data = held.hold(found, record, search=header.search is not None)
    cell = Cell(record.cell, choice, record.repeat, record.seed)
    how = How(
        threads=record.environment.get("threads", 1),
        memory=environment.spare_memory(1),
        in_process=not environment.can_isolate(),
        plugins=plugins,
    )
    search = Search(header.search, lambda done: None if done else cell) if header.search else None
    budget = plan.parse_budget(None if record.budget == "default" else record.budget)
    return Plan(found, data.dataset, split.parse(record.split), [cell], budget, how, search)


def excuses(record: Record, other: Record, made: Plan) -> Iterator[str]:
    """What is not as it was when the run was made."""
    if record.plugin.code_hash != other.plugin.code_hash:
        yield "the model's code has changed since the run"
    if batched := next((mark for mark in record.marks if mark.startswith("batched:")), None):
        said = batched.split(": ")[0]
        yield f"its seeds were trained as one problem ({said}): alone it comes out the same to 1e-4 only"
    if not made.cells[0].choice.spec.deterministic:
        yield "the model does not promise to be deterministic"
    old, new = record.environment, other.environment
    for name in ("python", "system", "cpu", "threads"):
        if old.get(name) != new.get(name):
            yield f"{name} was {old.get(name)}, is {new.get(name)}"
    packages = old.get("packages", {}), new.get("packages", {})
    for name in sorted({*packages[0], *packages[1]}):
        if packages[0].get(name) != packages[1].get(name):
            yield f"{name} was {packages[0].get(name)}, is {packages[1].get(name)}"


def compared(run: store.Run, record: Record, again: store.Run, other: Record) -> Iterator[Check]:
    """Every stored NLL, score, sample and parameter beside that of the second fit."""
    yield Check("status", record.status, other.status if other.status == "ok" else other.reason, "fit")
    for name in Metrics.__struct_fields__:
        old, new = getattr(record.metrics, name), getattr(other.metrics, name)
        if old is not None or new is not None:
            yield Check(f"metrics.{name}", old, new, "fit")
    yield from arrays("scores", run.scores(record, altered=True), again.scores(other))
    old_texts, new_texts = run.samples(record, altered=True), again.samples(other)
    if old_texts is not None and new_texts is not None:
        differ = sum(a != b for a, b in itertools.zip_longest(old_texts, new_texts))
        yield Check("samples", "as stored", f"{differ} differ" if differ else "as stored", "fit")
    yield from arrays("params", run.params(record, altered=True), again.params(other))


def arrays(kind: str, stored: Mapping[str, Any] | None, again: Mapping[str, Any] | None) -> Iterator[Check]:
    """One check an array: the bytes, and where they differ by how much."""
    if stored is None or again is None:
        return  # not kept, or there are none
    for name in sorted({*stored, *again}):
        if name not in stored or name not in again:
            yield Check(f"{kind}.{name}", name in stored, name in again, "fit")
            continue
        a, b = stored[name], again[name]
        alike = a.dtype == b.dtype and a.shape == b.shape
        if alike and a.tobytes() == b.tobytes():
            yield Check(f"{kind}.{name}", "as stored", "as stored", "fit")
            continue
        if alike:
            with np.errstate(invalid="ignore"):  # inf − inf, where both have p = 0
                apart = np.nanmax(np.abs(a.astype(float) - b.astype(float)))
            yield Check(f"{kind}.{name}", "as stored", f"up to {apart:.3g} away", "fit")
        else:
            yield Check(f"{kind}.{name}", f"{a.dtype}{a.shape}", f"{b.dtype}{b.shape}", "fit")


def verdict(reruns: list[Rerun]) -> int:
    """6 where bits differ and nothing excuses them; 3 where a row was not fitted or has an excuse; else 0."""
    if any(each.differs and not each.excuses for each in reruns):
        return 6
    return 3 if any(each.reason or each.differs for each in reruns) else 0
