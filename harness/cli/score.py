"""`harness score`: any text under the model of a stored run."""

from __future__ import annotations

import io
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness import formats
from harness.cli import completion, options, stored
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.corpus import Alphabet, Corpus, Kind
    from harness.evaluate import Float64s, Scores

SHOWN = 40  # characters of a document in its row
A_LINE = 8  # characters with their −ln p on one line
END, SPACE = "end", "␣"  # as they are shown among single characters


@click.command("score")
@click.argument("model", shell_complete=completion.models)
@click.argument("file", type=click.Path(path_type=str, allow_dash=True))
@stored.run
@click.option(
    "--as",
    "kind",
    type=click.Choice(["lines", "text"]),
    help="How FILE is read.  [default: as what the model was trained on]",
)
@click.option("--per-character", is_flag=True, help="Also −ln p of every character.")
@options.plugin
@options.results
@options.as_json
def command(
    model: str,
    file: str,
    run: str,
    kind: Any,
    per_character: bool,
    plugins: tuple[Path, ...],
    results: Path | None,
    as_json: bool,
) -> None:
    """Score FILE (`-` is stdin) under MODEL of a stored run, by the protocol of the table.

    A line is a document, its end a target; running text is scored in windows, in blocks of 1,000
    characters. MODEL is named as in `harness sample`.
    """
    found = stored.fetch(model, run, results, plugins)
    kind = kind or found.kind
    corpus, blank = read(file, kind, found.alphabet())
    from harness import evaluate

    scored = evaluate.score_targets(found.model, corpus, found.context)  # (N,)
    scores = evaluate.gathered(scored, corpus)
    rows = rows_of(corpus, scored, scores)
    total = total_of(corpus, scores, blank)
    if blank:
        click.echo(f"{file}: blank lines dropped: {blank:,}", err=True)
    if as_json:
        about: dict[str, Any] = {
            "run_id": found.run.header.run_id,
            "model": found.record.model,
            "backend": found.record.backend,
            "config": found.record.config,
            "file": file,
            "kind": kind,
        }
        documents = [row.as_dict(per_character) for row in rows]
        click.echo(formats.in_json({**about, "documents": documents, "total": total}))
        return
    show(rows, per_character)
    click.echo(f"\n{found.name}: {sentence(total, kind)}")


# ---- reading


def read(file: str, kind: Kind, alphabet: Alphabet) -> tuple[Corpus, int]:
    """The file as a corpus in the model's alphabet, and how many blank lines were dropped."""
    from harness.corpus import Corpus
    from harness.dataset import cut_documents

    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 (byte {error.start}: {error.reason})") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if kind == "lines" and "\n" in alphabet.characters:
        raise UsageError(
            "--as lines: this model was trained on running text, where a line break is a character"
        )
    documents, blank = cut_documents(text, kind)
    if not documents:
        raise UsageError(f"{file}: no text in it")
    refuse_foreign(file, text, kind, alphabet)
    return Corpus.from_documents(documents, alphabet, kind), blank


def refuse_foreign(file: str, text: str, kind: Kind, alphabet: Alphabet) -> None:
    """A `UsageError` that names the first character outside the alphabet, and its place."""
    known = set(alphabet.characters) | ({"\n"} if kind == "lines" else set())
    if not set(text) - known:
        return
    for number, line in enumerate(io.StringIO(text, newline="\n"), start=1):
        if kind == "lines" and not line.strip():
            continue  # dropped
        for column, character in enumerate(line, start=1):
            if character not in known:
                raise UsageError(
                    f"{file}, line {number}, column {column}: {character!r} (U+{ord(character):04X}) is not "
                    f"one of the model's {len(alphabet.characters)} characters"
                )


# ---- figures


@dataclass(frozen=True)
class Row:
    """A document, or a block of running text."""

    text: str
    nats: float  # inf where a target had p = 0
    scored: list[float]  # −ln p of each target

    def as_dict(self, per_character: bool) -> dict[str, object]:
        """For JSON, where infinite is null."""
        from harness.record import finite

        row: dict[str, object] = {
            "text": self.text,
            "targets": len(self.scored),
            "nats": finite(self.nats),
            "nats_per_character": finite(self.nats / len(self.scored)),
        }
        if per_character:
            row["characters"] = [finite(nats) for nats in self.scored]
        return row


def rows_of(corpus: Corpus, scored: Float64s, scores: Scores) -> list[Row]:
    """A row a document, or a block of 1,000 targets."""
    rows, first = [], 0
    for nats, length in zip(scores.sums.tolist(), scores.lengths.tolist(), strict=True):
        last = first + length
        text = corpus.alphabet.decode(corpus.tokens[first + 1 : last + 1])
        rows.append(Row(text, nats, scored[first:last].tolist()))
        first = last
    return rows


def total_of(corpus: Corpus, scores: Scores, blank: int) -> dict[str, Any]:
    """All documents together, with half a 95 % interval (equal documents are one unit)."""
    import numpy as np

    from harness import statistics
    from harness.record import finite

    units = np.arange(len(scores.sums))
    if corpus.kind == "lines":
        numbers: dict[str, int] = {}
        units = np.array([numbers.setdefault(corpus.text(i), i) for i in units.tolist()])
    sums, lengths = statistics.clusters(scores.sums, scores.lengths, units)
    half = statistics.half_interval(statistics.standard_error(sums, lengths), len(sums))
    return {
        "documents": len(corpus),
        "targets": corpus.targets,
        "blank_lines": blank,
        "zero_probability": scores.zero_probability,
        "nats": finite(math.fsum(scores.sums.tolist())),
        "nats_per_character": finite(scores.nll),
        "half": half,
        "units": len(sums),
    }


# ---- showing


def show(rows: list[Row], per_character: bool) -> None:
    """A line a document, and where asked its characters below it."""
    from harness.report import clean

    shown = [clean(row.text) or "∅" for row in rows]
    shown = [text if len(text) <= SHOWN else text[: SHOWN - 1] + "…" for text in shown]
    width = max(4, *map(len, shown))
    click.echo(f"{'text':<{width}}  targets        nats  nats/char")
    for row, text in zip(rows, shown, strict=True):
        n = len(row.scored)
        click.echo(f"{text:<{width}}  {n:>7,}  {row.nats:>10.4f}  {row.nats / n:>9.4f}")
        if per_character:
            glyphs = [SPACE if character == " " else clean(character) for character in row.text]
            glyphs += [END] * (n - len(glyphs))
            cells = [f"{glyph:>3} {nats:>6.4f}" for glyph, nats in zip(glyphs, row.scored, strict=True)]
            for first in range(0, n, A_LINE):
                click.echo("  " + "  ".join(cells[first : first + A_LINE]))


def sentence(total: dict[str, Any], kind: Kind) -> str:
    """`2.4571 ± 0.0213 nats per character over 17 targets of 3 documents`."""
    from harness.statistics import FEWEST

    nll, half = total["nats_per_character"], total["half"]
    said = "inf" if nll is None else f"{nll:.4f}" + ("" if half is None else f" ± {half:.4f}")
    said += f" nats per character over {total['targets']:,} targets"
    unit = "distinct documents" if kind == "lines" else "blocks of 1,000 characters"
    if kind == "lines":
        said += f" of {total['documents']:,} documents"
    if total["zero_probability"]:
        return f"{said}; {total['zero_probability']:,} targets with p = 0"
    if half is None:
        return f"{said}; no interval below {FEWEST} {unit}"
    return f"{said}; ± is half a 95 % interval over {total['units']:,} {unit}"
