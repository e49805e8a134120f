"""`harness export`: runs in another tool's format."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import options
from harness.errors import HarnessError, StoreError, UnknownName, UsageError

if TYPE_CHECKING:
    from harness.contract import ExporterSpec
    from harness.registry import Registry
    from harness.store import Run


@click.command("export")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--to",
    required=True,
    metavar="FORMAT",
    help="csv, json, markdown, latex, pytest-benchmark, bencher, github-action-benchmark, or a plugin's.",
)
@click.option(
    "--output",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="The file, or the folder where a format makes several.  [default: standard output]",
)
@options.plugin
@options.results
def command(
    runs: tuple[str, ...], to: str, output: Path | None, plugins: tuple[Path, ...], results: Path | None
) -> int:
    """Write runs in another tool's format. RUN is a file, an id, its start or `latest` (the default)."""
    from harness import registry, store

    known = registry.discover(plugins)
    options.warn(known.problems)
    if to not in known.exporters:
        raise UnknownName("format", to, known.exporters, where=" of --to")
    spec, folder = known.exporters[to], options.folder(results)
    paths = dict.fromkeys(options.find(folder, name) for name in runs or ("latest",))
    found = [store.read(path) for path in paths]
    for run in found:
        options.warn(run.warnings)
    made = exported(known, spec, whole(spec, found))
    if isinstance(made, str):
        put(output, made)
    elif output is None:
        held = f"{len(made)} files ({', '.join(made)})"
        raise UsageError(f"--to {to} makes {held} of these runs: --output names a folder for them")
    elif output.is_file():
        raise UsageError(f"--output {output} is a file, and this format makes {len(made)}: name a folder")
    else:
        for name, text in made.items():
            write(output / name, text)
    return 6 if any(run.damage for run in found) else 0


def whole(spec: ExporterSpec, runs: Sequence[Run]) -> list[Run]:
    """What the format takes of the runs; what has no place in it is told of on stderr."""
    from harness.report import label

    if not spec.measured_only:
        if not any(run.records for run in runs):
            raise UsageError("no cell of these runs has finished: nothing to export")
        return list(runs)
    kept = [replace(run, records=[r for r in run.records if r.status == "ok"]) for run in runs]
    out = [f"{label(r)} ({r.status})" for run in runs for r in run.records if r.status != "ok"]
    if not any(run.records for run in kept):
        raise UsageError(f"no cell of these runs is ok: --to {spec.name} has no place for the others")
    if out:
        options.warn([f"{spec.name} has no place for cells that are not ok; left out: {', '.join(out)}"])
    return [run for run in kept if run.records]


def exported(known: Registry, spec: ExporterSpec, runs: Sequence[Run]) -> str | Mapping[str, str]:
    """What the exporter makes of the runs, checked; a plugin's failure is one line with its name."""
    try:
        made: str | Mapping[str, str] = resolved(spec)(runs)
    except HarnessError:
        raise
    except Exception as error:  # a plugin's code
        owner = next(plugin for plugin in known.plugins if spec.name in plugin.exporters)
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UsageError(f"--to {spec.name} of {owner.distribution}: {said}") from None
    texts = {"one": made} if isinstance(made, str) else made
    if not isinstance(texts, Mapping) or not all(isinstance(text, str) for text in texts.values()):
        raise UsageError(f"--to {spec.name} gave {type(made).__name__}, neither a text nor name -> text")
    for name in texts:
        if Path(name).name != name or name in ("", ".."):
            raise UsageError(f"--to {spec.name}: {name!a} is no name of a file")
    return made


def resolved(spec: ExporterSpec) -> Callable[[Sequence[Run]], Any]:
    """The function, imported now where it is named."""
    if not isinstance(spec.export, str):
        return spec.export
    module, _, name = spec.export.partition(":")
    function: Callable[[Sequence[Run]], Any] = getattr(importlib.import_module(module), name)
    return function


def put(output: Path | None, text: str) -> None:
    """One text to a file, or to standard output."""
    if output is None:
        click.echo(text, nl=False)
    elif output.is_dir():
        raise UsageError(f"--output {output} is a folder, and this format makes one file")
    else:
        write(output, text)


def write(path: Path, text: str) -> None:
    """A file in a folder that may not be there yet; it is written anew where it is."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from None
