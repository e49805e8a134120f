"""`harness decompress`: the text of a file that `harness compress` wrote."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import options, stored
from harness.cli.compress import SUFFIX, Progress, versions
from harness.errors import DataError, UsageError

if TYPE_CHECKING:
    from harness.cli.stored import Stored
    from harness.container import About


@click.command("decompress")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="The file to write.  [default: FILE without .nchz]",
)
@click.option("--force", is_flag=True, help="Overwrite OUT.")
@click.option("--run", metavar="RUN", help="A run that holds the same model.  [default: that of FILE]")
@click.option("--other-code", is_flag=True, help="Try also where the model's code has changed since.")
@options.plugin
@options.results
def command(
    file: Path,
    output: Path | None,
    force: bool,
    run: str | None,
    other_code: bool,
    plugins: tuple[Path, ...],
    results: Path | None,
) -> None:
    """Bring back the text of FILE, which names its model and its run.

    OUT is written only when its SHA-256 is that of the text that was compressed.
    """
    stored.one_thread()
    packed = stored.content(file)
    from harness import container

    about, code = container.unpack(packed, str(file))
    if output is None and file.suffix != SUFFIX:
        raise UsageError(f"{file}: its name does not end in {SUFFIX}: name the output with -o")
    target = output or file.with_suffix("")
    container.claim(target, force=force)
    found = stored.fetch(about.model, run or about.run_id, results, plugins)
    refuse_another(str(file), about, found, other_code=other_code)
    container.write(target, text(str(file), about, code, found), force=force)
    click.echo(f"{target}: {about.size:,} bytes, as they were (sha256 {about.sha256})")


def refuse_another(file: str, about: About, found: Stored, *, other_code: bool) -> None:
    """A `UsageError` that names what the model has otherwise than the one that wrote the file."""
    from harness.container import params_hash

    there = f"{found.name} of run {found.run.header.run_id}"
    if found.exact_name != about.model:
        raise UsageError(f"{file}: written by {about.model}, and this is {there}")
    if found.alphabet().characters != about.alphabet or found.kind != about.kind:
        raise UsageError(f"{file}: the alphabet of {there} is not that of the model that wrote it")
    ours = params_hash(found.model.params)
    if ours != about.params_hash:
        raise UsageError(
            f"{file}: the parameters of {there} are not those that wrote it: "
            f"sha256 {ours[:12]}…, not {about.params_hash[:12]}…"
        )
    if found.code_hash != about.code_hash and not other_code:
        raise UsageError(
            f"{file}: the code of {found.name} has changed since: sha256 {found.code_hash[:12]}…, "
            f"not {about.code_hash[:12]}…; --other-code tries it all the same"
        )


def text(file: str, about: About, code: bytes, found: Stored) -> bytes:
    """The text's bytes; `DataError` where they are not those that were compressed."""
    from harness import codec, container

    progress = Progress("decompress", about.targets)
    reason = "its sha256 is another"
    try:
        documents = codec.decode(found.model, found.alphabet(), about.schedule, code, progress.add)
        content = container.put_together(documents, about.kind, about.layout)
        if hashlib.sha256(content).hexdigest() == about.sha256:
            return content
    except DataError as error:
        reason = str(error)
    raise DataError(f"{file}: the text did not come back ({reason}): {differences(about)}")


def differences(about: About) -> str:
    """Which versions differ from those that wrote the file."""
    here = versions()
    names = sorted({*here, *about.made_with} - {"nextchar-harness"})
    found = [
        f"{name} {about.made_with.get(name, 'absent')} there, {here.get(name, 'absent')} here"
        for name in names
        if here.get(name) != about.made_with.get(name)
    ]
    if not found:
        return "the model does not answer equal calls with equal rows"
    return f"rows may differ with {'; '.join(found)}"
