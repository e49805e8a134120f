"""`harness report`: one page about runs, to be looked at."""

from __future__ import annotations

import os
from pathlib import Path

import click

from harness.cli import options


@click.command("report")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--output",
    default="report.html",
    show_default=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page.",
)
@click.option(
    "--svg",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also every drawing as SVG.",
)
@click.option(
    "--png",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also every drawing as PNG; needs the extra `report`.",
)
@click.option(
    "--rescore",
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    help="Time for scoring models again by position and character; 0 leaves that out.",
)
@options.plugin
@options.results
def command(
    runs: tuple[str, ...],
    output: Path,
    svg: Path | None,
    png: Path | None,
    rescore: float,
    plugins: tuple[Path, ...],
    results: Path | None,
) -> int:
    """Write one self-contained page about the newest RUN: a file, an id, its start or `latest` (the default).

    Cells of the other RUNs join its table where they were scored on the same test part. The history goes
    through the named runs, through all of the folder where only one is named.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is loaded: see environment
    from harness import certificate, page, registry, settings, store
    from harness.page import pictures
    from harness.page.gather import gather

    pictures.claim(output)
    if png is not None:
        pictures.renderer()  # a missing extra is said before anything is read
    folder = options.folder(results)
    chosen = [
        store.read(path) for path in dict.fromkeys(store.find(folder, name) for name in runs or ("latest",))
    ]
    for run in chosen:
        options.warn(run.warnings)
    everything, problems = store.read_all(folder)
    options.warn(problems)
    known = registry.discover(plugins)
    options.warn(known.problems)
    facts = gather(
        chosen, everything, known, folder / certificate.FOLDER, settings.cache_dir() / "report", rescore
    )
    options.warn(list(facts.left_out) + list(facts.profiles.left_out if facts.profiles else ()))
    html, charts = page.page(facts)
    store.write_whole(output, html.encode())
    for directory, save in ((svg, pictures.save_svg), (png, pictures.save_png)):
        if directory is not None:
            for chart in charts:
                save(directory, chart)
    click.echo(f"{output}: {len(facts.rows)} rows, {len(charts)} drawings, {len(html.encode()) / 1e6:.2f} MB")
    return 6 if facts.damaged or any(run.damage for run in chosen) else 0
