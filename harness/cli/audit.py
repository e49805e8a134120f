"""`harness audit`: check a model against its contract, and keep what was found as a certificate."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import completion, options

if TYPE_CHECKING:
    from harness.selection import Choice
    from harness.subject import Finding, Subject

Row = dict[str, Any]


@click.command("audit")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", shell_complete=completion.models)
@options.plugin
@click.option(
    "--dataset",
    default="names",
    show_default=True,
    metavar="NAME",
    shell_complete=completion.dataset,
    help="A registered dataset, markov:order=2 or file:PATH.",
)
@options.as_kind
@click.option(
    "--split",
    metavar="METHOD",
    shell_complete=completion.split,
    help="grouped:seed=0, lecture, makemore, contiguous:fractions=0.8,0.1,0.1 or all.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    metavar="S",
    type=click.IntRange(min=0),
    help="Seed of the audit: its documents, its fits, what it puts in place of what must not matter.",
)
@click.option(
    "--check",
    "checks",
    multiple=True,
    metavar="NAME",
    help="Only this check: causal, save-load; may be given again. No certificate is kept then.",
)
@click.option(
    "--timeout",
    default="5m",
    show_default=True,
    metavar="T",
    help="Wall-clock limit of a check: 90s, 5m.",
)
@options.as_format
@options.results
def command(
    models: tuple[str, ...],
    plugins: tuple[Path, ...],
    dataset: str,
    kind: Any,
    split: str | None,
    seed: int,
    checks: tuple[str, ...],
    timeout: str,
    form: str,
    as_json: bool,
    results: Path | None,
) -> int:
    """Check models against their contract: `harness audit --plugin my.py my-model`.

    Each is fitted on at most 2,000 documents with at most 200 steps. Exit code 5 where a check fails.
    """
    from harness import audit, plan, registry, selection
    from harness import split as splits
    from harness.engine import Engine
    from harness.subject import subject

    form = options.chosen_format(form, as_json)
    names = audit.named(checks)
    seconds = plan.parse_seconds(timeout)
    found = registry.discover(plugins)
    options.warn(found.problems)
    choices = selection.choose(found, models)
    data = plan.open_data(found, dataset, kind)
    method = splits.parse(data.default_split if split is None else split)
    files = tuple(str(plugin.resolve()) for plugin in plugins)
    rows: list[Row] = []
    for choice in choices:
        if form == "table" and len(choices) > 1:
            click.echo(("\n" if rows else "") + clean(choice.label))
        with Engine(1) as processes:
            made = subject(data, method, choice, processes, plugins=files, seed=seed)
            row = one(made, names, seconds, live=form == "table")
        if row["reason"] is None and not checks:
            row["certificate"] = str(keep(made, row["findings"], options.folder(results)))
        rows.append(row)
        options.say(f"{clean(choice.label)}: {summary(row)}")
    if form != "table":
        click.echo(printed(rows, form))
    return exit_code(rows)


def one(subject: Subject, names: Sequence[str], timeout: float, *, live: bool) -> Row:
    """The checks of one model, each printed as it comes (live), with progress on stderr."""
    from harness.errors import Unavailable

    row: Row = {"choice": subject.choice, "findings": [], "reason": None, "certificate": None}
    try:
        with subject:
            for finding in watched(subject, names, timeout):
                row["findings"].append(finding)
                if live:
                    click.echo(clean(str(finding)))
    except Unavailable as error:
        row["reason"] = str(error)
        if live:
            click.echo(clean(f"skipped: {error}"))
    return row


def watched(subject: Subject, names: Sequence[str], timeout: float) -> Iterator[Finding]:
    """What the checks find; on stderr which one is being made, or how long each took."""
    from harness import audit

    for number, name in enumerate(names, start=1):
        which, began = f"[{number}/{len(names)}] {name}", time.perf_counter()
        with spinner(which):
            finding = audit.examine(subject, name, timeout)
        if not sys.stderr.isatty():
            options.say(f"{which}  {time.perf_counter() - began:.1f} s")
        yield finding


def spinner(text: str) -> Any:
    """Something that turns while a check is made, on a terminal (rich)."""
    if not sys.stderr.isatty():
        return contextlib.nullcontext()
    from rich.console import Console
    from rich.text import Text

    return Console(stderr=True).status(Text(text))


def keep(subject: Subject, findings: Sequence[Finding], folder: Path) -> Path:
    """Write the certificate."""
    from harness import certificate

    made = certificate.certify(
        subject.choice,
        findings,
        dataset=subject.dataset,
        dataset_sha256=subject.dataset_sha256,
        split=subject.parts.method,
        split_fingerprint=subject.parts.fingerprint,
        seed=subject.seed,
    )
    return certificate.write(folder, made)


def summary(row: Row) -> str:
    """`12 of 13 checks passed; failed: causal; certificate: results/certificates/….json`."""
    if row["reason"] is not None:
        return clean(f"skipped: {row['reason']}")
    outcomes = [finding.outcome for finding in row["findings"]]
    idle = outcomes.count("n/a")
    said = f"{outcomes.count('pass')} of {len(outcomes) - idle} checks passed"
    said += f", {idle} not applicable" if idle else ""
    failed = [finding.name for finding in row["findings"] if finding.outcome == "fail"]
    said += f"; failed: {', '.join(failed)}" if failed else ""
    where = row["certificate"] or "not kept, only some checks were made"
    return f"{said}; certificate: {where}"


def printed(rows: Sequence[Row], form: str) -> str:
    """All findings as one table, or as JSON."""
    from harness import formats

    if form == "json":
        return formats.in_json({"audits": [document(row) for row in rows]})
    cells = [
        {
            "model": row["choice"].label,
            "check": finding.name,
            "outcome": finding.outcome,
            "text": finding.text,
        }
        for row in rows
        for finding in row["findings"]
    ] + [
        {"model": row["choice"].label, "check": "", "outcome": "skipped", "text": row["reason"]}
        for row in rows
        if row["reason"] is not None
    ]
    fields = ["model", "check", "outcome", "text"]
    if form == "csv":
        return formats.comma_separated(cells, fields)
    columns = [formats.Cells(title, [clean(cell[title]) for cell in cells], words=True) for title in fields]
    return formats.latex(columns, "Audit", []) if form == "latex" else formats.markdown(columns)


def document(row: Row) -> dict[str, object]:
    """One audit as JSON has it."""
    choice: Choice = row["choice"]
    return {
        "model": choice.spec.name,
        "backend": choice.backend,
        "config": dict(choice.config),
        "skipped": row["reason"],
        "findings": [
            {"check": finding.name, "outcome": finding.outcome, "text": finding.text}
            for finding in row["findings"]
        ],
        "certificate": row["certificate"],
    }


def exit_code(rows: Sequence[Row]) -> int:
    """5 where a check failed; else 3 where no model could be audited; else 0."""
    if any(finding.outcome == "fail" for row in rows for finding in row["findings"]):
        return 5
    return 3 if all(row["reason"] is not None for row in rows) else 0


def clean(text: str) -> str:
    """A foreign text made harmless."""
    from harness.formats import clean as harmless

    return harmless(text)
