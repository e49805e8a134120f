"""`harness compress`: a text in as many bits as a stored model's NLL says."""

from __future__ import annotations

import hashlib
import math
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness import formats
from harness.cli import completion, options, score, stored
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.cli.stored import Stored
    from harness.codec import NoCode, Schedule
    from harness.container import Layout
    from harness.corpus import Corpus

SUFFIX = ".nchz"
BETWEEN = 5.0  # seconds between two lines of progress


@click.command("compress")
@click.argument("model", shell_complete=completion.models)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="The file to write.  [default: FILE.nchz]",
)
@click.option("--force", is_flag=True, help="Overwrite OUT.")
@click.option(
    "--pieces",
    metavar="N",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Cut running text into N pieces that are written side by side: faster, and each begins anew.",
)
@stored.run
@options.plugin
@options.results
@options.as_json
def command(
    model: str,
    file: Path,
    output: Path | None,
    force: bool,
    pieces: int,
    run: str,
    plugins: tuple[Path, ...],
    results: Path | None,
    as_json: bool,
) -> None:
    """Write FILE in the code of a range coder that MODEL of a stored run drives.

    The proof that its NLL is real: the bits are those that the NLL says, and harness decompress brings
    the text back byte for byte. A line is a document; a model of running text takes FILE as one.
    """
    stored.one_thread()
    found = stored.fetch(model, run, results, plugins)
    from harness import codec, container

    content = stored.content(file)  # first: a folder may have no name to put the suffix to
    target = output or file.with_name(file.name + SUFFIX)
    container.claim(target, force=force)
    if pieces > 1 and found.kind == "lines":
        raise UsageError("--pieces is for running text: lines are written side by side anyway")
    corpus, layout = read(str(file), content, found)
    schedule = codec.Schedule.of(corpus, found.context, pieces if found.kind == "text" else None)
    progress = Progress("compress", corpus.targets)
    try:
        code = codec.encode(found.model, corpus, schedule, progress.add)
    except codec.NoCode as error:
        raise UsageError(impossible(str(file), error, corpus, schedule, layout, found)) from None
    about = container.About(
        run_id=found.run.header.run_id,
        model=found.exact_name,
        code_hash=found.code_hash,
        params_hash=container.params_hash(found.model.params),
        alphabet=corpus.alphabet.characters,
        kind=found.kind,
        documents=schedule.documents,
        targets=schedule.targets,
        together=schedule.together,
        overlap=schedule.overlap,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        layout=layout,
        made_with=versions(),
    )
    packed = container.pack(about, code)
    figures = measured(found, corpus, content, code, packed)
    container.write(target, packed, force=force)
    if as_json:
        where = {"run_id": about.run_id, "model": about.model, "file": str(file), "output": str(target)}
        click.echo(formats.in_json({**where, **figures.as_dict()}))
    else:
        click.echo(figures.table())
        click.echo(f"\n{target}: {figures.sizes()}")


def read(name: str, content: bytes, found: Stored) -> tuple[Corpus, Layout]:
    """The text as a corpus in the model's alphabet, and what its bytes have beside it."""
    from harness import container
    from harness.corpus import Corpus

    documents, layout = container.taken_apart(content, found.kind, name)
    alphabet = found.alphabet()
    plain = container.put_together(documents, found.kind, container.Layout(blank=layout.blank))
    score.refuse_foreign(name, plain.decode(), found.kind, alphabet)
    return Corpus.from_documents(documents, alphabet, found.kind), layout


def impossible(
    name: str, error: NoCode, corpus: Corpus, schedule: Schedule, layout: Layout, found: Stored
) -> str:
    """`names.txt, line 3, column 5: 'x' has p = 0 under count-bigram@numpy:k=0: it has no code`."""
    from harness import codec, container

    if corpus.kind == "lines":
        line, column = container.line_of(error.piece, layout), error.place
    else:
        at = int(codec.piece_starts(corpus, schedule)[error.piece]) + error.place
        before = corpus.text(0)[:at]
        line, column = before.count("\n"), at - (before.rfind("\n") + 1)
    what = repr(corpus.alphabet.decode([error.token])) if error.token else "the end of the document"
    where = f"{name}, line {line + 1}, column {column + 1}"
    if corpus.kind == "lines":
        where += f" (document {error.piece + 1:,})"
    return f"{where}: {what} has p = 0 under {found.name}: it has no code"


def versions() -> dict[str, str]:
    """What the rows' last bits may depend on."""
    from harness.environment import version

    found = {name: version(name) for name in ("nextchar-harness", "numpy", "torch", "numba")}
    known = {name: text for name, text in found.items() if text}
    return {**known, "python": platform.python_version(), "machine": platform.machine()}


# ---- what is printed


@dataclass(frozen=True)
class Figures:
    """A code's length beside what the model's NLL says. Bits; sizes in bytes."""

    targets: int  # characters, ends included
    bits: int
    nll_bits: float  # NLL / ln 2 over the whole text
    bound: float
    size: int  # of the text
    file: int  # of the output, header included
    code: int
    xz: int
    zlib: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON, where infinite is null."""
        from harness.record import finite

        return {
            "characters": self.targets,
            "bits": self.bits,
            "bits_per_character": self.bits / self.targets,
            "nll_bits": finite(self.nll_bits),
            "difference": finite(self.bits - self.nll_bits),
            "bound": finite(self.bound),
            "within_bound": self.bits <= self.bound,
            "bytes": {
                "text": self.size,
                "file": self.file,
                "code": self.code,
                "xz": self.xz,
                "zlib": self.zlib,
            },
        }

    def table(self) -> str:
        """Four rows of bits, in all and a character."""
        n = self.targets
        rows = [
            ("code", float(self.bits), ""),
            ("NLL / ln 2", self.nll_bits, ""),
            ("difference", self.bits - self.nll_bits, ""),
            ("bound", self.bound, "kept" if self.bits <= self.bound else "EXCEEDED"),
        ]
        lines = [f"{'':<10}  {'bits':>14}  {'a character':>11}"]
        for name, bits, remark in rows:
            lines.append(f"{name:<10}  {bits:>14,.1f}  {bits / n:>11.4f}  {remark}".rstrip())
        return "\n".join(lines)

    def sizes(self) -> str:
        """`1,234 bytes (890 code, 344 header) for 4,321 of text; xz 2,000, zlib 2,100`."""
        return (
            f"{self.file:,} bytes ({self.code:,} code, {self.file - self.code:,} header and checksum) for "
            f"{self.size:,} of text; xz {self.xz:,}, zlib {self.zlib:,}"
        )


def measured(found: Stored, corpus: Corpus, content: bytes, code: bytes, packed: bytes) -> Figures:
    """The code beside the NLL of the protocol, and beside two compressors that know no model."""
    import lzma
    import zlib

    from harness import codec, evaluate

    scored = evaluate.score_targets(found.model, corpus, found.context)
    nats = math.fsum(scored.tolist())
    return Figures(
        targets=corpus.targets,
        bits=8 * len(code),
        nll_bits=nats / math.log(2),
        bound=codec.bits_allowed(nats, corpus.targets, corpus.alphabet.size),
        size=len(content),
        file=len(packed),
        code=len(code),
        xz=len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)),
        zlib=len(zlib.compress(content, 9)),
    )


class Progress:
    """A line on stderr every five seconds."""

    def __init__(self, verb: str, targets: int) -> None:
        self.verb, self.targets, self.done = verb, targets, 0
        self.began = self.said = time.perf_counter()

    def add(self, characters: int) -> None:
        """So many more are done."""
        self.done += characters
        now = time.perf_counter()
        if now - self.said >= BETWEEN:
            from harness.figures import rate

            self.said = now
            speed = rate(self.done / (now - self.began))
            options.say(
                f"{self.verb}: {self.done / self.targets:.0%} of {self.targets:,} characters, {speed}/s"
            )
