"""The folder of runs, file by file: what is open, torn, damaged, foreign, of another schema, left over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import StoreError
from harness.record import SCHEMA, Record, briefly
from harness.run_file import (
    Finding,
    Run,
    age,
    checksum,
    is_plain,
    read,
    side_folder,
    unreadable,
)
from harness.store import run_files


@dataclass
class Report:
    """What was looked at, and what was found."""

    files: int = 0  # that claim to be run files
    cells: int = 0  # readable
    side_files: int = 0  # there, and as their checksum says
    unchecked: int = 0  # there and readable, of records that know no checksum
    not_kept: int = 0  # named, not there, and not required: parameters, or a run file without its folder
    findings: list[Finding] = field(default_factory=list)

    @property
    def damaged(self) -> bool:
        """Whether anything that was stored is lost or changed."""
        return any(finding.state == "damaged" for finding in self.findings)


def check(folder: Path) -> Report:
    """Every run file of a folder, oldest first. Runs no code of plugins, and writes nothing."""
    report = Report()
    paths = run_files(folder)
    for path in paths:
        check_file(path, report)
    for path in sorted(set(folder.glob("*.jsonl")) - set(paths)):
        report.findings.append(Finding("foreign", f"{path}: no file"))
    for orphan in sorted(folder.glob("*.jsonl.d")):
        if orphan.with_suffix("") not in paths:
            report.findings.append(Finding("left over", f"{orphan}: side files without their run file"))
    return report


def check_file(path: Path, report: Report) -> None:
    """One run file and its side files, into the report."""
    try:
        run = read(path)
    except StoreError as error:
        found = unreadable(path, str(error))
        report.files += found.state != "foreign"
        report.findings.append(found)
        return
    report.files += 1
    if run.header.run_id != path.stem:
        text = f"{path}: holds run {run.header.run_id}, and in a folder of runs a file is called by its run"
        report.findings.append(Finding("damaged", text))
    check_run(run, report)


def check_run(run: Run, report: Report) -> None:
    """A run that was read, into the report."""
    report.cells += len(run.records)
    report.findings += [*of_lines(run), *of_records(run)]
    for record in run.records:
        report.findings += of_side_files(run, record, report)
    report.findings += left_over(run)


def of_lines(run: Run) -> Iterator[Finding]:
    """What reading it has found, whether it is closed, and whose schema it has."""
    yield from run.findings
    planned = len(run.header.cells)
    if run.header.schema != SCHEMA:
        text = f"{run.path}: schema {run.header.schema} is read, not continued"
        yield Finding(age(run.header.schema), text)
    elif not run.closed:
        of = f" of {planned}" if planned else ""
        text = f"{run.path}: {len(run.records)}{of} cells, and the same command continues it"
        yield Finding("open", text)
    elif planned and planned != len(run.records) and not run.findings:
        yield Finding("damaged", f"{run.path}: closed with {len(run.records)} of {planned} cells")


def of_records(run: Run) -> Iterator[Finding]:
    """Cells that are whole, and not this run's."""
    planned = len(run.header.cells)
    if run.summary is not None and not run.damage and run.summary != briefly(run.records):
        yield Finding("damaged", f"{run.path}: its end line sums up other cells than it holds")
    for record in run.records:
        if record.run_id != run.header.run_id:
            text = f"{run.path}: cell {record.cell} is one of run {record.run_id!a}"
            yield Finding("damaged", text)
        elif planned and not 0 <= record.cell < planned:
            yield Finding("damaged", f"{run.path}: cell {record.cell}, where its header names {planned}")


def of_side_files(run: Run, record: Record, report: Report) -> Iterator[Finding]:
    """Those that a record names: in their folder, there, and unchanged."""
    folder = side_folder(run.path)
    for name in record.side_names:
        path = folder / name
        if not is_plain(name) or not path.resolve().is_relative_to(folder.resolve()):
            text = f"{run.path}: cell {record.cell} names {name!a}, which is outside of {folder.name}"
            yield Finding("damaged", text)
        elif not path.is_file():
            if name == record.params or not folder.is_dir():
                report.not_kept += 1
            else:
                yield Finding("damaged", f"{folder}: {name!a} is not there, and cell {record.cell} names it")
        elif name in record.side_files:
            if checksum(path.read_bytes()) != record.side_files[name]:
                yield Finding("damaged", f"{path}: the checksum does not hold")
            else:
                report.side_files += 1
        else:
            try:
                open_it(run, record, name)
                report.unchecked += 1
            except StoreError as error:
                yield Finding("damaged", str(error))


def open_it(run: Run, record: Record, name: str) -> None:
    """Read a side file whose checksum nobody knows; `StoreError` where that fails."""
    if name == record.samples:
        run.samples(record)
    if name == record.scores:
        run.scores(record)
    if name == record.params:
        run.params(record)


def left_over(run: Run) -> Iterator[Finding]:
    """Files beside those that a record names: of cells that were interrupted."""
    folder = side_folder(run.path)
    named = {name for record in run.records for name in record.side_names}
    found = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    spare = [name for name in found if name not in named]
    if spare and run.closed and not run.damage:
        yield Finding("left over", f"{folder}: {len(spare)} files that no cell names, {spare[0]!a} first")
