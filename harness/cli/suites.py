"""`harness run --suite`, and the rows of `harness list suites`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from harness import published
from harness.cli import options
from harness.errors import UsageError

CELLS = {
    "models": "--models",
    "dataset": "--dataset",
    "kind": "--as",
    "split": "--split",
    "budget": "--budget",
    "target": "--target",
}


def asked(suite: str | None, short: bool) -> str | None:
    """The suite that is to be run; `UsageError` where the command line also says what cells to run.

    A suite that only a setting names gives way to what the command line says.
    """
    if suite is None:
        if short and options.said("short"):
            raise UsageError("--short is the short form of a suite: name one with --suite")
        return None
    others = [flag for option, flag in CELLS.items() if options.said(option)]
    if others and options.said("suite"):
        raise UsageError(f"--suite names the cells that are run: leave {', '.join(others)} away")
    if options.said("each_seed"):
        raise UsageError("--each-seed is not for suites, whose rows are means: harness show RUN --each-seed")
    return None if others else suite


def run(
    name: str,
    *,
    short: bool,
    seeds: int,
    how: Mapping[str, Any],
    fresh: bool,
    form: str,
    as_json: bool,
    columns: str | None,
    output: Path | None,
    folder: Path,
    dry_run: bool,
) -> int:
    """Run a suite, print its table; the exit code is the worst of its cells, whatever the verdicts."""
    from harness import report, scorecard, store, suite
    from harness.cli.run import estimates, exit_code, watch

    view = options.view(form, as_json, None, each_seed=False)
    chosen = scorecard.choose(columns)
    source = click.get_current_context().get_parameter_source("seeds")
    own_seeds = source is click.core.ParameterSource.DEFAULT
    made = suite.make(published.find(name), short=short, seeds=None if own_seeds else seeds, **how)
    options.warn(made.parts[0].plan.registry.problems)
    if dry_run:
        click.echo(report.simple([row for part in made.parts for row in estimates(part.plan, folder)]))
        return 0
    targets = [] if output is None else copies(output, len(made.parts))
    for target in targets:
        store.claim(target)
    card = suite.execute(made, folder, lambda plan: watch(len(plan.cells)), fresh=fresh)
    for done, target in zip(card.runs, targets, strict=bool(targets)):
        store.copy(done.path, target)
    click.echo(scorecard.render(card, view.format, chosen, view.width))
    for path in targets or [done.path for done in card.runs]:
        options.say(f"stored: {path}")
    return exit_code([record for done in card.runs for record in done.records])


def copies(output: Path, parts: int) -> list[Path]:
    """Where the run files of `--output` go: `all.jsonl`, `all-2.jsonl`, …"""
    return [output, *(output.with_stem(f"{output.stem}-{part}") for part in range(2, parts + 1))]


def rows() -> list[dict[str, object]]:
    """One row a built-in suite."""
    found = [published.find(name) for name in published.names()]
    return [
        {
            "suite": each.name,
            "cells": len(each.recipes),
            "short": len(each.chosen(short=True)),
            "description": each.description,
            "file": str(each.path),
        }
        for each in found
    ]
