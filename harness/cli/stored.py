"""A model of a stored run, found by name, and the data of that run: for `sample`, `score`, `compress`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import options
from harness.errors import HarnessError, UsageError

if TYPE_CHECKING:
    from harness.contract import Model
    from harness.corpus import Alphabet, Kind
    from harness.record import Record
    from harness.registry import Registry
    from harness.selection import Choice
    from harness.split import Split
    from harness.store import Run

run = click.option(
    "--run",
    "run",
    default="latest",
    show_default=True,
    metavar="RUN",
    help="A run file, an id or its start.",
)


@dataclass(frozen=True, eq=False)
class Stored:
    """A fitted model as a run holds it."""

    run: Run
    record: Record
    registry: Registry
    model: Model

    @property
    def name(self) -> str:
        """`mlp@numpy:context=8`."""
        return name_of(self.record)

    @property
    def exact_name(self) -> str:
        """The name that chooses this record and no other of its run: `mlp@numpy:context=8 #1`."""
        from harness.labels import called

        return f"{called(self.record, repeat=False)} #{self.record.repeat + 1}"

    @property
    def code_hash(self) -> str:
        """SHA-256 of the model's code as it is installed now."""
        from harness.selection import Choice

        record = self.record
        return Choice(
            self.registry.model(record.model, record.backend), record.backend, record.config
        ).code_hash

    @property
    def kind(self) -> Kind:
        """What the model was trained on: lines or running text."""
        return "text" if self.record.data.window else "lines"

    @property
    def context(self) -> int | None:
        """How far back the model looks."""
        spec = self.registry.model(self.record.model, self.record.backend)
        return spec.context_of(self.record.config)

    def data(self) -> Split:
        """The parts of the run's data; `HarnessError` where they are not to be had any more."""
        return data_of(self.record, self.registry)

    def alphabet(self) -> Alphabet:
        """The model's characters: from the record, or, where it is an old one, from the data."""
        from harness.corpus import Alphabet

        if self.record.data.alphabet is not None:
            return Alphabet(self.record.data.alphabet)
        try:
            return self.data().train.alphabet
        except HarnessError as error:
            raise UsageError(
                f"run {self.run.header.run_id} does not hold its alphabet, and its data is gone: {error}"
            ) from None


def data_of(record: Record, known: Registry) -> Split:
    """The parts of a record's data; `HarnessError` where they are not to be had any more."""
    from harness import held

    return held.parts_of(known, record)


def fetch(name: str, run: str, results: Path | None, plugins: Sequence[Path]) -> Stored:
    """The model of that name; a `UsageError` says what the run holds where it holds no such model."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is loaded: see environment
    from harness import notebook, program, registry, selection, store

    found = store.read(options.find(options.folder(results), run))
    options.warn(found.warnings)
    record = pick(found, name)
    known = registry.discover(plugins)
    options.warn(known.problems)
    if record.backend != program.BACKEND and record.model not in known.models:
        raise UsageError(
            f"model {record.model!a} of {record.plugin.distribution} is not installed: "
            "install it, or name its file with --plugin"
        )
    spec = known.model(record.model, record.backend)
    try:
        chosen = selection.with_members(known, selection.Choice(spec, record.backend, record.config))
    except UsageError as error:
        raise UsageError(f"{name_of(record)!a}: {error}; a plugin's file is named with --plugin") from None
    if chosen.runs_program:
        ask_for(known, chosen, name)
    model = notebook.Result(found, known).model(record)
    if model is None:
        raise UsageError(
            f"the parameters of {name_of(record)!a} were not kept with run {found.header.run_id}: "
            "harness run fits it again"
        )
    return Stored(found, record, known, model)


def ask_for(known: Registry, chosen: Choice, name: str) -> None:
    """Start no program that a run file alone names: the file may be a stranger's. `name` must choose it."""
    from harness import selection
    from harness.report import clean

    try:
        same = selection.one(known, " ".join(name.split()).partition(" #")[0]).key == chosen.key
    except UsageError:
        same = False  # a label of the table, or a model's name alone
    if not same:
        full = clean(chosen.label)
        raise UsageError(f"{name!a} starts an external program: name it in full, {full!a}")


def one_thread() -> None:
    """Let the libraries of this process use one thread: sums over several may differ in their last bit."""
    from harness.environment import thread_variables

    os.environ.update(thread_variables(1))  # for those that are not loaded yet
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def content(file: Path) -> bytes:
    """The bytes of a file of the user's."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from None


def pick(run: Run, name: str) -> Record:
    """The record that a name stands for, of several seeds the first."""
    found = pick_all(run, name)
    record = found[0]
    if record.status != "ok":
        raise UsageError(f"{name_of(record)!a} has no model in this run: {record.status}, {record.reason}")
    if len(found) > 1:
        click.echo(f"{name_of(record)}: the first of {len(found)} seeds ('… #2' names another)", err=True)
    return record


def pick_all(run: Run, name: str) -> list[Record]:
    """The repeats that a name stands for: a table's label, a selection, or a model that stands once."""
    wanted, _, repeat = " ".join(name.split()).partition(" #")
    found = [record for record in run.records if wanted in spellings(record)] or [
        record for record in run.records if wanted in (record.model, f"{record.model}@{record.backend}")
    ]
    found = [record for record in found if not repeat or repeat == str(record.repeat + 1)]
    cells = {(record.model, record.backend, str(sorted(record.config.items()))) for record in found}
    if len(cells) != 1:
        what = f"{name!a} names several models" if cells else f"no model {name!a}"
        held = ", ".join(f"{name_of(record)!a}" for record in found or run.records)
        raise UsageError(f"{what} in run {run.header.run_id}: {held or 'it holds none'}")
    return sorted(found, key=lambda record: record.repeat)


def name_of(record: Record) -> str:
    """A record's name as under the table: `mlp@numpy:context=8 #2`."""
    from harness.labels import called
    from harness.report import clean

    return clean(called(record))


def spellings(record: Record) -> set[str]:
    """The names of one configuration, its seed left out: as a table, or as `--models` spells it."""
    from harness import program
    from harness.labels import called

    bases = record.model, f"{record.model}@{record.backend}"
    chosen = called(record, repeat=False).removeprefix(bases[1])  # ":context=8"
    quoted = ",".join(f"{key}={program.spell(key, value)}" for key, value in record.options.items())
    tabled = record.label.removeprefix(record.model)  # " context=8"
    return {base + options for base in bases for options in (chosen, tabled)} | {
        f"{record.label}@{record.backend}",
        f"{bases[1]}:{quoted}",
    }
