"""`harness verify`: stored figures from stored scores again, or a row fitted again."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness import formats
from harness.cli import options, stored
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness import store_check
    from harness.rederive import Check
    from harness.rerun import Rerun
    from harness.store import Run
    from harness.verify import Row

EVERY = "all"
DAMAGED = 6


@click.command("verify")
@click.argument("run", required=False)
@click.option("--store", "whole_store", is_flag=True, help="Check every run file of the results folder.")
@click.option(
    "--rerun",
    "rerun",
    metavar="[MODEL]",
    is_flag=False,
    flag_value=EVERY,
    help="Also fit this row again and compare bits; without MODEL every row.",
)
@options.plugin
@options.results
@options.as_json
def command(
    run: str | None,
    whole_store: bool,
    rerun: str | None,
    plugins: tuple[Path, ...],
    results: Path | None,
    as_json: bool,
) -> int:
    """Derive every stored figure of RUN again from its scores, samples and data.

    RUN is a file, an id, the start of an id or `latest`, the newest that holds a cell. A figure that does
    not come out again is named, with both values, and the exit code is 6; what cannot be derived is named
    too, with the reason, and where that is a row's NLL the exit code is 3. `--rerun` goes after RUN.

    `--store` reads the whole folder instead: headers, checksums, end lines, side files. It names what is
    open, torn, damaged, foreign or of another version; damage is exit code 6.
    """
    if whole_store:
        if run is not None or rerun is not None:
            raise UsageError("--store checks the whole results folder: leave RUN and --rerun out")
        return check_store(options.folder(results), as_json)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is loaded: see environment
    from harness import registry, store, store_check, verify

    found = store.read(options.find(options.folder(results), "latest" if run is None else run))
    whole = store_check.Report()
    store_check.check_run(found, whole)
    options.warn([finding.text for finding in whole.findings if finding.state in ("damaged", "torn")])
    known = registry.discover(plugins)
    options.warn(known.problems)
    rows = verify.verify(found, known)
    reruns = [] if rerun is None else fit_again(found, rerun, plugins)
    if as_json:
        click.echo(json.dumps(document(found, rows, reruns), indent=2))
    else:
        click.echo(shown(found, rows, reruns))
    codes = {verify.verdict(rows), DAMAGED if whole.damaged else 0}
    if reruns:
        from harness.rerun import verdict

        codes.add(verdict(reruns))
    return max(codes)


def check_store(folder: Path, as_json: bool) -> int:
    """Every file of a folder of runs: a line for each that is not simply whole, and the sum of it."""
    from harness import store_check
    from harness.report import clean

    report = store_check.check(folder)
    if as_json:
        click.echo(formats.in_json(dataclasses.asdict(report)))
    else:
        for finding in report.findings:
            click.echo(clean(f"{finding.state:<9} {finding.text}"))
        click.echo(clean(sum_of(report, folder)))
    return DAMAGED if report.damaged else 0


def sum_of(report: store_check.Report, folder: Path) -> str:
    """`results: 12 run files, 480 cells, 1,440 side files as their checksums say; 1 torn, 2 open.`"""
    said = f"{folder}: {report.files:,} run files, {report.cells:,} cells, "
    said += f"{report.side_files:,} side files as their checksums say"
    if report.unchecked:
        said += f", {report.unchecked:,} readable without one"
    if report.not_kept:
        said += f", {report.not_kept:,} not kept"
    states = Counter(finding.state for finding in report.findings)
    return f"{said}; {', '.join(f'{n} {state}' for state, n in sorted(states.items())) or 'all whole'}."


def fit_again(found: Run, name: str, plugins: Sequence[Path]) -> list[Rerun]:
    """The rows of that name, or all that are ok, each fitted once more in a folder that is then gone."""
    from harness import registry
    from harness.rerun import rerun

    records = found.records if name == EVERY else [stored.pick(found, name)]
    again = []
    for record in records:
        options.say(f"fitting {stored.name_of(record)} again")
        with tempfile.TemporaryDirectory() as folder:
            files = tuple(str(plugin.resolve()) for plugin in plugins)
            again.append(rerun(found, record, registry.discover(plugins), files, Path(folder)))
    return again


# ---- showing


def shown(found: Run, rows: Sequence[Row], reruns: Sequence[Rerun]) -> str:
    """The table, what differs, what could not be derived, and the sum of it."""
    from harness import report
    from harness.verify import NEVER

    header = found.header
    table = [
        {
            "row": row.name,
            "rests on": row.rests_on,
            "derived again": row.agrees + len(row.differs),
            "differ": len(row.differs),
            "not verified": len(row.gaps),
        }
        for row in rows
    ]
    parts = [
        report.clean(f"run {header.run_id}: {header.dataset}, split {header.split}"),
        report.simple(table),
        "\n".join(line(row.name, each) for row in rows for each in row.differs),
        "\n".join(["Not verified", *gaps(rows), f"  {NEVER}"]),
        *(of_rerun(each) for each in reruns),
        summary(rows),
    ]
    return "\n\n".join(part for part in parts if part)


def line(name: str, each: Check) -> str:
    """`mlp@numpy: metrics.test_nll is stored as 2.1, scores give 2.2`."""
    from harness.report import clean

    return clean(
        f"{name}: {each.field} is stored as {said(each.stored)}; from {each.source}: {said(each.derived)}"
    )


def said(value: object) -> str:
    """A figure to its last bit; null is `nothing`."""
    return "nothing" if value is None else value if isinstance(value, str) else repr(value)


def gaps(rows: Iterable[Row]) -> list[str]:
    """What could not be derived, a line for all rows of which the same is true."""
    from harness.report import clean

    names: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for gap in row.gaps:
            names.setdefault((gap.field, gap.reason), []).append(row.name)
    return [
        clean(f"  {field} of {who[0] if len(who) == 1 else f'{len(who)} rows'}: {reason}")
        for (field, reason), who in names.items()
    ]


def of_rerun(each: Rerun) -> str:
    """A row fitted again: what agrees to the bit, what does not, and what excuses it."""
    from harness.report import clean

    if each.reason:
        return clean(f"{each.name} was not fitted again: {each.reason}")
    wrong = each.differs
    head = f"{each.name} fitted again: {len(each.checks) - len(wrong)} of {len(each.checks)} agree to the bit"
    lines = [f"  {check.field}: {said(check.stored)}; again: {said(check.derived)}" for check in wrong]
    return "\n".join(map(clean, [head, *lines, *(f"  note: {excuse}" for excuse in each.excuses)]))


def summary(rows: Sequence[Row]) -> str:
    """`312 figures of 3 rows come out again, none differs.`"""
    agree, differ = sum(row.agrees for row in rows), sum(len(row.differs) for row in rows)
    ok = [row for row in rows if row.ok]
    unread = sum(row.derived is None for row in ok)
    said = f"{agree:,} figures of {len(rows) - 1} rows come out again; "
    said += "none differs." if not differ else f"{differ:,} differ{'s' * (differ == 1)}."
    if unread:
        said += f" The scores of {unread} of {len(ok)} scored rows cannot be read: their NLL is not verified."
    if not all(row.exact for row in ok):
        said += " Made by another processor or library: exp, log and quantiles are compared to 1e-12."
    return said


def document(found: Run, rows: Sequence[Row], reruns: Sequence[Rerun]) -> dict[str, object]:
    """What `--json` prints."""
    from harness.verify import NEVER

    def differing(checks: Iterable[Check]) -> list[dict[str, object]]:
        return [
            {"field": c.field, "stored": c.stored, "derived": c.derived, "from": c.source} for c in checks
        ]

    return {
        "run_id": found.header.run_id,
        "rows": [
            {
                "row": row.name,
                "rests_on": row.rests_on if row.ok else None,
                "agree": row.agrees,
                "differ": differing(row.differs),
                "not_verified": [{"field": gap.field, "reason": gap.reason} for gap in row.gaps],
                "to_the_bit": row.exact,
            }
            for row in rows
        ],
        "never_verified": NEVER,
        "rerun": [
            {
                "row": each.name,
                "not_fitted": each.reason,
                "agree": len(each.checks) - len(each.differs),
                "differ": differing(each.differs),
                "notes": list(each.excuses),
            }
            for each in reruns
        ],
    }
