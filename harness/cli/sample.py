"""`harness sample`: draw from the model of a stored run."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness import formats
from harness.cli import completion, options, stored
from harness.errors import HarnessError, UsageError

if TYPE_CHECKING:
    from harness.corpus import Alphabet
    from harness.sample import Drawn

Known = Mapping[str, Container[str]]
WIDEST = 40  # characters of a sample before its mark leaves the column


@click.command("sample")
@click.argument("model", shell_complete=completion.models)
@stored.run
@click.option("-n", default=20, show_default=True, metavar="N", type=click.IntRange(min=1), help="Samples.")
@click.option(
    "--temperature",
    default=1.0,
    show_default=True,
    metavar="T",
    type=click.FloatRange(min=0),
    help="Divides the logits; 0 takes the likeliest.",
)
@click.option("--top-k", metavar="K", type=click.IntRange(min=1), help="Only the K likeliest characters.")
@click.option("--prompt", default="", metavar="TEXT", help="What every sample begins with.")
@click.option(
    "--seed",
    metavar="S",
    type=click.IntRange(min=0),
    help="Seed of the samples.  [default: that of the run's own]",
)
@click.option(
    "--max-length",
    metavar="L",
    type=click.IntRange(min=1),
    help="Characters at which a sample is cut.  [default: as in the run]",
)
@options.plugin
@options.results
@options.as_json
def command(
    model: str,
    run: str,
    n: int,
    temperature: float,
    top_k: int | None,
    prompt: str,
    seed: int | None,
    max_length: int | None,
    plugins: tuple[Path, ...],
    results: Path | None,
    as_json: bool,
) -> None:
    """Draw from MODEL of a stored run, and tell what is new from what stands in the data.

    MODEL is a label as in the table ("mlp context=8"), a selection (mlp@torch:context=8) or a
    model's name, where the run holds only one of it.
    """
    if not math.isfinite(temperature):
        raise UsageError(f"--temperature {temperature}: a number from 0 on")
    found = stored.fetch(model, run, results, plugins)
    alphabet = found.alphabet()
    tokens = encoded(prompt, alphabet)
    from harness import sample

    known: Known = {}
    limit = found.record.sample_statistics.max_length if found.record.sample_statistics else None
    try:
        parts = found.data()
    except HarnessError as error:
        options.warn([f"samples are not marked, because the run's data is not here: {error}"])
    else:
        corpora = {"train": parts.train}
        if not parts.in_sample:
            corpora |= {"dev": parts.dev.corpus, "test": parts.test.corpus}
        known, limit = sample.known_texts(corpora), sample.longest(parts.train)
    limit = max_length or limit
    if limit is None:
        raise UsageError("--max-length is needed: this run does not say where samples are cut")
    if len(tokens) >= limit:
        raise UsageError(f"--prompt has {len(tokens)} characters: give a --max-length above, not {limit}")
    if seed is None:
        seed = found.record.sample_seed or 0
    drawn = sample.draw(
        found.model, n, alphabet, limit, seed, temperature=temperature, top_k=top_k, prompt=tokens
    )
    if as_json:
        asked = {"temperature": temperature, "top_k": top_k, "prompt": prompt, "max_length": limit}
        click.echo(formats.in_json(document(found, drawn, known, asked)))
    else:
        show(drawn.texts, known, lines=found.kind == "lines")
    click.echo(f"{found.name}, seed {seed}: {summary(drawn, known)}", err=True)


def encoded(prompt: str, alphabet: Alphabet) -> list[int]:
    """The prompt's tokens; a foreign character, as is any boundary, is the user's mistake."""
    for place, character in enumerate(prompt, start=1):
        if character not in alphabet.characters:
            raise UsageError(
                f"--prompt: its character {place}, {character!r}, is not one of the model's "
                f"{len(alphabet.characters)} characters"
            )
    return [int(token) for token in alphabet.encode(prompt)]


def show(texts: list[str], known: Known, *, lines: bool) -> None:
    """A line a sample and its mark; running text in paragraphs below it."""
    from harness.report import clean
    from harness.sample import marks

    if lines:
        shown = [clean(text) or "∅" for text in texts]
        width = min(WIDEST, max(map(len, shown)))
        for text, line in zip(texts, shown, strict=True):
            click.echo(f"{line:<{width}}  {', '.join(marks(text, known))}".rstrip())
        return
    for number, text in enumerate(texts, start=1):
        click.echo(f"[{number}] {', '.join(marks(text, known))}".rstrip())
        click.echo("\n".join(clean(line) for line in text.split("\n")) + "\n")


def shares(drawn: Drawn, known: Known) -> dict[str, float]:
    """Shares of the samples: new, in each part, duplicates, truncated."""
    from harness.sample import marks

    n = len(drawn.texts)
    found = [marks(text, known) for text in drawn.texts]
    names = ["new", *(f"in {part}" for part in known)] if known else []
    result = {name: sum(name in each for each in found) / n for name in names}
    return result | {"duplicates": (n - len(set(drawn.texts))) / n, "truncated": drawn.truncated / n}


def summary(drawn: Drawn, known: Known) -> str:
    """`20 samples: 85 % new, 15 % in train, 0 % in dev, 0 % in test, 5 % duplicates, 0 % truncated`."""
    said = ", ".join(f"{100 * share:.3g} % {what}" for what, share in shares(drawn, known).items())
    n = len(drawn.texts)
    return f"{n} sample{'s' if n > 1 else ''}: {said}"


def document(
    found: stored.Stored, drawn: Drawn, known: Known, asked: Mapping[str, object]
) -> dict[str, object]:
    """What `--json` prints; marks are null where the data is not here."""
    from harness.sample import marks

    return {
        "run_id": found.run.header.run_id,
        "model": found.record.model,
        "backend": found.record.backend,
        "config": found.record.config,
        "seed": drawn.seed,
        **asked,
        "samples": [{"text": text, "marks": marks(text, known) or None} for text in drawn.texts],
        "shares": {name.replace(" ", "_"): share for name, share in shares(drawn, known).items()},
    }
