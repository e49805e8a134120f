"""`harness doctor`: why your number differs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import completion, options
from harness.errors import DataError, HarnessError, UsageError

if TYPE_CHECKING:
    from harness.author_file import Given
    from harness.causes import Cause, Scored
    from harness.doctor import Diagnosis, Figure, Scores
    from harness.reference import Reference


@click.command("doctor")
@click.argument("file", required=False, type=click.Path(path_type=str))
@click.option("--nll", metavar="X", help="Your number, with the digits that you printed.")
@click.option(
    "--targets", metavar="N", type=click.IntRange(min=1), help="How many targets it is the mean of."
)
@click.option(
    "--model",
    default="count-bigram",
    show_default=True,
    metavar="SELECTION",
    shell_complete=completion.models,
    help="The model that it is of, with its options: ngram:order=3.",
)
@click.option(
    "--dataset",
    default="makemore-names",
    show_default=True,
    metavar="NAME",
    shell_complete=completion.dataset,
    help="The data that it is of: a registered dataset, or file:PATH.",
)
@options.as_kind
@click.option(
    "--split",
    metavar="METHOD",
    shell_complete=completion.split,
    help="The split that it should be of.  [default: the dataset's]",
)
@click.option(
    "--batch",
    default=32,
    show_default=True,
    metavar="B",
    type=click.IntRange(min=1),
    help="Words, or targets, of a batch whose means may have been averaged.",
)
@click.option(
    "--within",
    metavar="W",
    type=options.Finite(min=0),
    help="How far an explanation may be away.  [default: half of your last digit]",
)
@options.plugin
@options.as_json
def command(
    file: str | None,
    nll: str | None,
    targets: int | None,
    model: str,
    dataset: str,
    kind: str | None,
    split: str | None,
    batch: int,
    within: float | None,
    plugins: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Try the usual causes on a number, and name those that explain it to the digits printed.

    FILE holds your −ln p (or ln p) of every character, as `harness score --per-character --json` prints
    them or a number a line with a blank line after each word; or it holds your own test words, one a line.
    Without FILE a model is fitted here as the protocol does and as others do. Without --nll: what each
    cause moves. --targets alone says whose documents they are.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is loaded: see environment
    from harness import author_file, causes, doctor

    claim = None if nll is None else doctor.read_claim(nll, within)
    given = None if file is None else author_file.read(file)
    arithmetic = causes.arithmetic(batch)
    scored = given.scored if given is not None else None
    reference: Reference | None = None
    try:
        reference = refer(model, dataset, kind, split, plugins, given)
    except HarnessError as error:
        if scored is None or not isinstance(error, DataError):
            raise
        options.warn([f"what causes move on {dataset} is left out: {error}"])
    notes = places(reference, given, targets)
    if targets is not None and claim is None and file is None:
        click.echo(json.dumps({"notes": notes}, indent=2) if as_json else "\n".join(notes))
        return
    name = title(file, given, reference, dataset)
    if scored is not None:
        case = Case(name, scored_alone(scored), arithmetic)
    elif reference is not None:
        case = Case(name, reference.scores, (*reference.causes, *arithmetic))
    if claim is None:
        own, moved = doctor.figure(case.scores, ()), list(doctor.figures(case.scores, case.causes, 1))
        result = Result(case, own, moved, notes, None)
    else:
        found = doctor.diagnose(claim, case.scores, case.causes)
        result = Result(case, found.protocol, list(found.found), notes, found)
    beside = None if reference is None or scored is None else (reference, dataset)
    click.echo(json.dumps(document(result), indent=2) if as_json else shown(result, beside))


# ---- what is examined


@dataclass(frozen=True, eq=False)
class Case:
    """Scores under every way of making them, and the causes that are tried."""

    title: str
    scores: Scores
    causes: Sequence[Cause]


@dataclass(frozen=True, eq=False)
class Result:
    """What is printed."""

    case: Case
    own: float | None  # by the protocol; None: infinite, a target has p = 0
    figures: Sequence[Figure]  # explanations, or without a claim every cause
    notes: Sequence[str]
    diagnosis: Diagnosis | None


def scored_alone(scored: Scored) -> Scores:
    """A file's scores: there is no other split or part of them."""
    return lambda split, part: None if split or part else scored


def refer(
    model: str,
    dataset: str,
    kind: str | None,
    method: str | None,
    plugins: Sequence[Path],
    given: Given | None,
) -> Reference:
    """The model on the data, cut as the protocol does or, where the file holds words, as its author did."""
    from harness import plan, reference, registry, selection
    from harness import split as splits

    found = registry.discover(plugins)
    options.warn(found.problems)
    choice = selection.one(found, model)
    if choice.missing:
        raise UsageError(f"--model {model}: {choice.missing}")
    opened = plan.open_data(found, dataset, kind)  # type: ignore[arg-type]
    parsed = splits.parse(method or opened.default_split)
    words = given.words if given is not None else None
    own, ways = reference.method_way(opened, parsed), reference.ways(opened, parsed)
    known = {f"split {parsed}": own} | ways
    if words is not None:
        if foreign := set("".join(words)) - set(opened.alphabet.characters):
            raise UsageError(f"your words hold {min(foreign)!r}, which is not in the alphabet of {dataset}")
        rest = reference.without(opened.documents, words)
        own, ways = (lambda: reference.Cut(rest, (), words)), reference.train_alone(known, words)
    return reference.Reference(found, choice, opened, str(parsed), own, ways, known, options.say)


def title(file: str | None, given: Given | None, reference: Reference | None, dataset: str) -> str:
    """What the first figure is of."""
    from harness.report import clean

    if given is not None and given.scored is not None:
        n, documents = len(given.scored.nats), len(given.scored.lengths)
        known = f" of {documents:,} documents" if given.documents_known else ", documents not kept apart"
        return clean(f"{file}: {n:,} targets{known}")
    assert reference is not None
    where = f"tested on {file}" if file else f"split {reference.method}"
    return clean(f"{reference.choice.label} on {dataset}, {where}")


def places(reference: Reference | None, given: Given | None, targets: int | None) -> list[str]:
    """Whose documents they are, told by their number, their lengths or themselves."""
    from harness.reference import identify

    if reference is None or reference.data.kind == "text":
        return []
    notes = []
    if targets is not None:
        where = identify(reference.known, targets=targets)
        said = "; ".join(where) if where else "no part of any way of cutting that is known here"
        notes.append(f"{targets:,} targets are those of {said}.")
    if given is not None and given.words is not None:
        where = identify(reference.known, words=given.words)
        said = "; ".join(where) if where else "no part of any way of cutting that is known here"
        notes.append(f"Your {len(given.words):,} words are {said}.")
    elif given is not None and given.scored is not None and given.documents_known:
        where = identify(reference.known, lengths=given.scored.lengths.tolist())
        notes += [f"By the lengths of its documents it is {'; '.join(where)}."] if where else []
    return notes


# ---- showing


def shown(result: Result, beside: tuple[Reference, str] | None) -> str:
    """The protocol's figure, what explains the claim, and what each cause moves."""
    own = "inf (a target has p = 0)" if result.own is None else f"{result.own:.5f}"
    parts = [f"{result.case.title}; by the protocol {own} nats per character", *result.notes]
    found = result.diagnosis
    if found is not None:
        parts.append(verdict(found))
    if result.figures:
        parts.append(table(result, beside))
    return "\n\n".join(parts)


def verdict(found: Diagnosis) -> str:
    """One explanation, several or none."""
    low, high = found.claim.window
    yours = f"Yours, {found.claim.text}, is {low} to {high}"
    if found.agrees:
        return f"{yours}: that is the protocol's figure, and there is nothing to explain."
    if not found.found:
        near = found.nearest
        return (
            f"{yours}. Nothing explains it: of {found.tried:,} figures, with up to two causes at a time, "
            f"the nearest is {near.value:.5f} ({near.name})."
        )
    if len(found.found) == 1:
        many = "two causes together" if len(found.found[0].causes) > 1 else "one cause"
        return f"{yours}. One of {found.tried:,} figures tried explains it, with {many}:"
    return (
        f"{yours}. {len(found.found)} of {found.tried:,} figures tried explain it, the most usual first; "
        "more digits, or a file of scores, would tell them apart:"
    )


def table(result: Result, beside: tuple[Reference, str] | None) -> str:
    """A row a figure: its causes, what comes out, what they move here and on the dataset."""
    from harness import report
    from harness.doctor import figure

    rows = []
    base = figure(beside[0].scores, ()) if beside else None
    for each in result.figures:
        row = {"cause": each.name, "figure": f"{each.value:.5f}", "moves": moved(each.value, result.own)}
        if beside:
            there = figure(beside[0].scores, each.causes)
            row[f"moves on {beside[1]} ({beside[0].choice.label})"] = moved(there, base)
        rows.append(row)
    return report.simple(rows)


def moved(value: float | None, own: float | None) -> str:
    """`+0.00755`; a dash where one of the two is not finite."""
    return "–" if value is None or own is None else f"{value - own:+.5f}"


def document(result: Result) -> dict[str, object]:
    """What `--json` prints."""
    found = result.diagnosis
    rows = [
        {
            "causes": [cause.name for cause in each.causes],
            "figure": each.value,
            "moves": None if result.own is None else each.value - result.own,
        }
        for each in result.figures
    ]
    return {
        "of": result.case.title,
        "protocol": result.own,
        "claim": None if found is None else {"nll": found.claim.nll, "within": found.claim.within},
        "agrees": None if found is None else found.agrees,
        "tried": None if found is None else found.tried,
        ("causes" if found is None else "explanations"): rows,
        "notes": list(result.notes),
    }
