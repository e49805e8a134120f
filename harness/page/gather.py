"""Runs -> the facts of a page: side files, data and models are read here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import changes, history, sample, store
from harness.compare import Standing, standings
from harness.errors import HarnessError, StoreError, UsageError
from harness.held import parts_of
from harness.history import History
from harness.labels import called, called_row
from harness.metrics import metric
from harness.notebook import Result
from harness.page.certificates import certificates
from harness.page.facts import Facts, Samples
from harness.page.pairs import Table, table_of
from harness.page.profiles import Profiles, profiles
from harness.page.timeline import LATEST
from harness.record import Record
from harness.registry import Registry
from harness.split import Split
from harness.store import Run

SHOWN_SAMPLES = 18  # of a model
MODELS = 30  # whose samples are shown
LINE, PIECE = 120, 400  # characters of a sample that are shown: of a document, of running text


def gather(
    chosen: Sequence[Run], folder: Sequence[Run], found: Registry, audits: Path, cache: Path, seconds: float
) -> Facts:
    """The page of the newest of the chosen runs; cells of the others join it where the test part is the same.

    folder: all runs that are here, which the history goes through where one run is chosen. seconds: for
    rescoring models. What cannot be read is left out and said.
    """
    chosen = sorted(chosen, key=lambda run: (run.header.created, run.header.run_id))
    newest = chosen[-1]
    if not newest.records:
        raise UsageError(f"run {newest.header.run_id} has no finished cell: there is nothing to show")
    records = joined(chosen)
    owner = {run.header.run_id: Result(run, found) for run in chosen}
    left_out, lost = list[str](), list[str]()

    def whole(read: Callable[[Record], Any], record: Record) -> Any:
        """A side file's content; a damaged one is left out, and the figures stay readable."""
        try:
            return read(record)
        except StoreError as error:
            lost.append(str(error))
            return None

    rows = standings(records, lambda record: whole(owner[record.run_id].run.scores, record))
    fingerprint = newest.records[0].data.split_fingerprint
    everything = {run.header.run_id: run for run in [*folder, *chosen]}
    past = sorted(
        (run for run in (chosen if len(chosen) > 1 else everything.values()) if same_data(run, newest)),
        key=lambda run: (run.header.created, run.header.run_id),
    )[-LATEST:]
    parts = data_of(records, owner, left_out)
    tables = [
        table
        for row in rows
        if (params := whole(owner[row.record.run_id].run.params, row.record)) is not None
        and (table := table_of(called_row(row), params, row.record.data.alphabet or "")) is not None
    ]
    return Facts(
        newest.header,
        [run.header for run in chosen[:-1] if any(r.run_id == run.header.run_id for r in records)],
        rows,
        store.looks(list(everything.values()), fingerprint),
        [
            drawn
            for row in rows[:MODELS]
            if (drawn := samples(row, lambda r: whole(owner[r.run_id].run.samples, r), known(parts)))
            is not None
        ],
        rescored(rows, owner, parts, cache, seconds),
        one_of_each(tables),
        followed(past, records),
        certificates(audits, [row.record for row in rows], left_out),
        list(dict.fromkeys([*lost, *left_out])),
        bool(lost),
    )


def joined(runs: Sequence[Run]) -> list[Record]:
    """The cells of the newest run, and of older ones those that it lacks, on the same test documents."""
    fingerprint = runs[-1].records[0].data.split_fingerprint
    found: dict[tuple[str, str], Record] = {}
    for run in reversed(runs):
        for record in run.records:
            if record.data.split_fingerprint == fingerprint:
                found.setdefault((called(record), record.budget), record)
    return list(found.values())


def same_data(run: Run, newest: Run) -> bool:
    """Whether a run belongs to the history of another: dataset and method, whatever has changed in them."""
    return (run.header.dataset, run.header.split) == (newest.header.dataset, newest.header.split)


def followed(past: Sequence[Run], records: Sequence[Record]) -> History | None:
    """Test NLL of the page's models, in its order, over the runs; None where nothing is on record."""
    try:
        found = history.follow(past, metric("test_nll"), find=changes.finder())
    except UsageError:  # no run has a score
        return None
    of = {one.name: one for one in found.series}
    names = dict.fromkeys(history.name_of(record) for record in records)
    return replace(found, series=tuple(of[name] for name in names if name in of))


def data_of(records: Sequence[Record], owner: Mapping[str, Result], left_out: list[str]) -> Split | None:
    """The parts that all rows were scored on, or None and why."""
    record = next((r for r in records if not r.data.dev_from_train), records[0])
    try:
        return parts_of(owner[record.run_id].registry, record)
    except HarnessError as error:
        left_out.append(
            f"marks of samples, and NLL by position and character: the run's data is not here: {error}"
        )
        return None


def known(parts: Split | None) -> dict[str, Container[str]]:
    """Part -> its texts; in-sample there is only one part."""
    if parts is None:
        return {}
    corpora = {"train": parts.train}
    if not parts.in_sample:
        corpora |= {"dev": parts.dev.corpus, "test": parts.test.corpus}
    return sample.known_texts(corpora)


def samples(
    row: Standing, drawn: Callable[[Record], list[str] | None], texts: Mapping[str, Container[str]]
) -> Samples | None:
    """A few samples of the first repeat that has some."""
    record = next((r for r in row.counted if r.samples is not None), None)
    found = drawn(record) if record is not None else None
    if record is None or not found:
        return None
    running = bool(record.data.window)
    shown = found[: 2 if running else SHOWN_SAMPLES]
    return Samples(
        called_row(row),
        [text[: PIECE if running else LINE] for text in shown],
        [sample.marks(text, texts) for text in shown],
        record.sample_statistics,
        running,
    )


def rescored(
    rows: Sequence[Standing], owner: Mapping[str, Result], parts: Split | None, cache: Path, seconds: float
) -> Profiles | None:
    """NLL by position and character; None where the data is not here or the test part is empty."""
    if parts is None or not parts.test.corpus.targets or not seconds:
        return None
    return profiles(rows, owner, parts.test.corpus, cache, seconds)


def one_of_each(tables: Sequence[Table]) -> list[Table]:
    """The best model's counts and the best model's weights."""
    return [found for kind in (True, False) for found in [t for t in tables if t.counts == kind][:1]]
