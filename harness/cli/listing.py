"""`harness list`: what there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness import formats
from harness.cli import options, suites

if TYPE_CHECKING:
    from harness.registry import Registry

Rows = list[dict[str, object]]


@click.command("list")
@click.argument("what", type=click.Choice(["models", "datasets", "suites", "exporters", "plugins", "runs"]))
@options.plugin
@options.results
@options.as_json
def command(what: str, plugins: tuple[Path, ...], results: Path | None, as_json: bool) -> None:
    """Show models, datasets, suites, exporters, plugins or runs, and why what cannot be used cannot."""
    if what == "runs":
        rows = runs(options.folder(results))
    elif what == "suites":
        rows = suites.rows()
    else:
        from harness import registry

        found = registry.discover(plugins)
        options.warn(found.problems)
        tables: dict[str, Callable[[Registry], Rows]] = {
            "models": lambda found: models(found, options.folder(results)),
            "datasets": datasets,
            "exporters": exporters,
            "plugins": plugins_table,
        }
        rows = tables[what](found)
    if as_json:
        click.echo(formats.in_json(rows))
        return
    from harness.report import simple

    click.echo(simple(rows) or f"no {what}")


def models(found: Registry, results: Path) -> Rows:
    """One row a backend: whether it can run, told without importing it, and its certificate."""
    from harness.registry import availability

    return [
        {
            "model": spec.name if position == 0 else "",
            "backend": backend,
            "available": "no: " + reason if reason else "yes",
            "audit": audited(found, f"{spec.name}@{backend}", results),
            "description": spec.description if position == 0 else "",
        }
        for spec in found.models.values()
        for position, (backend, reason) in enumerate(availability(spec).items())
    ]


def audited(found: Registry, model: str, results: Path) -> str:
    """`passed 13/13 2026-10-03 on names`, what failed, or `not audited`: of this code by default."""
    from harness import certificate, selection
    from harness.errors import StoreError, UsageError

    try:
        kept = certificate.find(results, selection.one(found, model))
    except StoreError as error:
        options.warn([str(error)])
        kept = None
    except UsageError:  # a default that cannot be: `harness run` says so
        kept = None
    if kept is None:
        return "not audited"
    audit = kept.audit
    if audit.failed:
        return f"failed {audit.date} on {kept.dataset}: {', '.join(audit.failed)}"
    return f"passed {audit.passed}/{audit.passed} {audit.date} on {kept.dataset}"


def datasets(found: Registry) -> Rows:
    """One row a dataset."""
    rows: Rows = [
        {
            "dataset": spec.name,
            "kind": spec.kind,
            "options": ",".join(f"{key}={value}" for key, value in spec.config.items()),
            "licence": spec.licence,
            "description": spec.description,
        }
        for spec in found.datasets.values()
    ]
    rows.append(
        {
            "dataset": "file:PATH",
            "kind": "lines or text",
            "options": "",
            "licence": "yours",
            "description": "any UTF-8 text of your own (--as lines|text)",
        }
    )
    return rows


def exporters(found: Registry) -> Rows:
    """One row a format of `harness export`."""
    return [
        {"exporter": spec.name, "suffix": spec.suffix, "description": spec.description}
        for spec in found.exporters.values()
    ]


def plugins_table(found: Registry) -> Rows:
    """One row a plugin, the broken ones with their error."""
    return [
        {
            "plugin": plugin.name,
            "distribution": f"{plugin.distribution} {plugin.version}".strip(),
            "models": ", ".join(plugin.models),
            "datasets": ", ".join(plugin.datasets),
            "exporters": ", ".join(plugin.exporters),
            "state": plugin.error or "ok",
        }
        for plugin in found.plugins
    ]


def runs(folder: Path) -> Rows:
    """One row a run, oldest first; unreadable files are warnings."""
    from harness import store

    found, problems = store.brief(folder)
    options.warn(problems)
    rows: Rows = []
    for run in found:
        options.warn(run.damage)
        ok = [r for r in run.records if r.status == "ok"]
        scored = [r for r in ok if r.metrics.test_nll is not None]
        best = min(scored, key=lambda r: r.metrics.test_nll or 0.0, default=None)
        rows.append(
            {
                "run": run.header.run_id,
                "created": run.header.created,
                "dataset": run.header.dataset,
                "split": run.header.split,
                "ok": f"{len(ok)}/{len(run.header.cells) or len(run.records)}",
                "best": f"{best.label} {best.metrics.test_nll:.4f}" if best else "–",
                "state": "damaged" if run.damage else "closed" if run.closed else "open",
            }
        )
    return rows
