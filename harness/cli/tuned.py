"""What a search has found, as `harness tune` prints it: a table, or the curve of a range test."""

from __future__ import annotations

import math
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.errors import StoreError

if TYPE_CHECKING:
    from harness.lr_range import Curve
    from harness.plan import Plan
    from harness.record import Record
    from harness.store import Run
    from harness.tune import Place, Tuning


def outcome(record: Record) -> str:
    """`dev NLL 2.4584`, or the status with its reason."""
    from harness.report import clean

    if record.status != "ok":
        return clean(f"{record.status}: {record.reason}")
    return "dev NLL inf" if record.metrics.dev_nll is None else f"dev NLL {record.metrics.dev_nll:.4f}"


def setting(record: Record, tuning: Tuning) -> str:
    """`hidden=128,learning_rate=0.01`: what this trial has of the space."""
    from harness.labels import brief
    from harness.report import clean

    return clean(",".join(f"{key}={brief(record.config[key])}" for key in tuning.space))


# ---- a search


def show_search(done: Run, tuning: Tuning, top: int, as_json: bool) -> None:
    """The best trials, what cannot be told apart from the first, and the line that runs it."""
    from harness import formats, tune

    places = tune.places(done.records, done.scores)
    line = to_run(places[0].record, tuning.made) if places else None
    if as_json:
        click.echo(formats.in_json(document(done, tuning, places, line)))
        return
    records = done.records
    click.echo(f"{heading(tuning)}\n{len(records)} trials, {len(places)} with a dev NLL\n")
    for record in records:
        if record.metrics.dev_nll is None:
            click.echo(f"trial {record.cell + 1} ({setting(record, tuning)}): {outcome(record)}")
    if line is None:
        click.echo("No trial has a dev NLL: nothing to choose.")
        return
    if len(places) < len(records):
        click.echo()
    width = shutil.get_terminal_size((100, 24)).columns
    click.echo(formats.plain(table(places[:top], tuning), max(width, 40)))
    click.echo("\n" + "\n".join(notes(places, top)))
    click.echo(f"\n{line}")


def heading(tuning: Tuning) -> str:
    """What was varied, on which data."""
    from harness.report import clean

    made = tuning.made
    assert made.search is not None
    data = f"{made.dataset.name}, split {made.method}, budget {made.budget} a trial"
    return f"{clean(data)}\n{clean(made.search.name)}"


def table(places: Sequence[Place], tuning: Tuning) -> list[Any]:
    """The columns of the best trials."""
    from harness.figures import interval, seconds, short, whole
    from harness.formats import Cells, clean
    from harness.labels import brief

    records = [place.record for place in places]
    metrics = [record.metrics for record in records]
    behind = [
        "best" if number == 0 else interval(short(p.behind.nats), p.behind.half) if p.behind else "–"
        for number, p in enumerate(places)
    ]
    return [
        Cells("trial", [str(record.cell + 1) for record in records], name=True),
        Cells("dev NLL", [interval(f"{m.dev_nll:.4f}", m.dev_nll_half) for m in metrics]),
        Cells("behind best", behind),
        Cells("params", [whole(record.parameters) for record in records]),
        Cells("train s", [seconds(record.timings.train_s) for record in records]),
        *(
            Cells(key, [clean(brief(record.config[key])) for record in records], words=True)
            for key in tuning.space
        ),
    ]


def notes(places: Sequence[Place], top: int) -> list[str]:
    """How to read the table, and what it does not say."""
    tied = [place for place in places[1:] if place.tied]
    names = ", ".join(str(place.record.cell + 1) for place in tied)
    lines = [
        "NLL: nats per character on dev; ±: half a 95 % interval over its documents; `behind` is paired.",
    ]
    if tied and places[0].record.scores is not None:
        lines.append(f"Not surely behind the best on dev (95 %, Holm), so as good a choice: {names}.")
    if len(places) > top:
        lines.append(f"{len(places) - top} more trials: --top {len(places)}, or harness show.")
    return [*lines, "The best of many is flattered by the dev part that chose it. To score it on test:"]


def to_run(record: Record, made: Plan) -> str:
    """The command that scores a trial on test: the same model, data, budget and seed."""
    from harness.labels import called
    from harness.report import clean

    words = ["harness", "run", "--models", called(record, repeat=False)]
    for flag, value, default in (
        ("--dataset", made.dataset.name, "names"),
        ("--split", str(made.method), made.dataset.default_split),
        ("--budget", str(made.budget), "default"),
    ):
        if value != default:
            words += [flag, value]
    for plugin in made.how.plugins:
        words += ["--plugin", plugin]
    return clean(shlex.join(words))


def document(done: Run, tuning: Tuning, places: Sequence[Place], line: str | None) -> dict[str, Any]:
    """The search for a program: every trial, the scored ones first, the best at the top."""
    placed = {place.record.cell: place for place in places}
    rest = [record for record in done.records if record.cell not in placed]
    trials = [trial(place.record, tuning) | against(place) for place in places]
    return {
        "search": done.header.search,
        "run": str(done.path),
        "command": line,
        "trials": trials + [trial(record, tuning) for record in rest],
    }


def trial(record: Record, tuning: Tuning) -> dict[str, Any]:
    """What is told of any trial."""
    return {
        "trial": record.cell + 1,
        "options": {key: record.config[key] for key in tuning.space},
        "status": record.status,
        "reason": record.reason,
        "dev_nll": record.metrics.dev_nll,
        "dev_nll_half": record.metrics.dev_nll_half,
        "parameters": record.parameters,
        "train_s": record.timings.train_s,
    }


def against(place: Place) -> dict[str, Any]:
    """How it stands to the best."""
    far = place.behind
    return {
        "behind": None if far is None else far.nats,
        "behind_half": None if far is None else far.half,
        "told_apart": not place.tied,
    }


# ---- a learning-rate range test


def show_curve(done: Run, tuning: Tuning, picture: Path | None, as_json: bool) -> None:
    """The sparkline, what is read off it, and where its picture is."""
    from harness import formats, lr_range
    from harness.picture import draw, sentences

    made = tuning.made
    if not any(record.metrics.dev_nll is not None for record in done.records):
        click.echo("No rate gave a model with a dev NLL.")
        for record in done.records:
            click.echo(f"{setting(record, tuning)}: {outcome(record)}")
        return
    curve = lr_range.read(done.records, made.dataset.alphabet.size)
    loss = f"dev NLL after {made.budget}".replace("steps", " steps") + " (nats per character)"
    name, _, configuration = tuning.base.label.partition(":")
    title = f"Learning-rate range test of {name}"
    path = picture if picture is not None else done.path.with_suffix(".svg")
    data = ", ".join(filter(None, [configuration, made.dataset.name, f"split {made.method}"]))
    save(path, draw(curve, title, data, loss))
    if as_json:
        found = {
            "search": done.header.search,
            "run": str(done.path),
            "picture": str(path),
            "steepest": None if curve.steepest is None else float(curve.rates[curve.steepest]),
            "minimum": float(curve.rates[curve.minimum]),
            "suggested": curve.suggested,
            "trials": [trial(record, tuning) for record in done.records],
        }
        click.echo(formats.in_json(found))
        return
    click.echo(f"{formats.clean(title)}\n{formats.clean(data)}")
    click.echo(f"{loss}, rates {curve.rates[0]:g} to {curve.rates[-1]:g}\n")
    click.echo(sparkline(curve) + "\n")
    click.echo(" ".join(sentences(curve)))
    if curve.at_edge:
        click.echo(
            f"The minimum is at the {curve.at_edge} rate: --space learning_rate=LOW..HIGH looks further."
        )
    click.echo(f"Suggested: learning_rate={curve.suggested:g}\npicture: {path}")


def sparkline(curve: Curve) -> str:
    """A character a rate, × where the fit diverged; `s` under the steepest descent, `m` the minimum."""
    from harness.figures import bar

    top, fits = curve.ceiling, [float(nll) for nll in curve.nll]
    bars = ["×" if math.isinf(nll) else bar(min(nll, top), min(fits), top) for nll in fits]
    under = [" "] * len(bars)
    if curve.steepest is not None:
        under[curve.steepest] = "s"
    under[curve.minimum] = "m"
    return f"  {''.join(bars)}\n  {''.join(under).rstrip()}   s steepest descent, m minimum"


def save(path: Path, text: str) -> None:
    """Write the picture."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from None
