"""Runs that stand in a git reference: `main`, `v0.2`, `origin/main:20261122T17`.

Run files and scores may be committed. They are read through `git show`, so that neither a checkout nor a
second working tree is needed; the rest of the side files is left where it is.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from harness import store
from harness.errors import StoreError, UsageError
from harness.record import Header
from harness.store import Run


def read(
    reference: str,
    folder: Path,
    into: Path,
    wanted: Callable[[Header], bool] = lambda header: True,
    passed_over: list[str] | None = None,
) -> Run:
    """The newest run that the reference's results folder holds and that is wanted, its scores with it.

    reference: what git knows, with `:RUN` behind it for the run whose id starts so. folder: the results
    folder of the working tree. into: an empty folder for copies. Imported times are passed over: they hold
    no scores; so are files that are none of ours, with a line in passed_over. `UsageError` where there is
    no such run.
    """
    ref, _, start = reference.partition(":")
    here = folder.absolute()
    place = next((parent for parent in here.parents if parent.is_dir()), here)  # it may be there in REF alone
    inside = f"./{here.relative_to(place).as_posix()}"
    if not known(ref, place):
        why = "" if in_repository(place) else f": {folder} is not inside a git repository"
        raise UsageError(f"{reference!r} is no file, no run and no git reference{why}")
    names = [Path(name).name for name in listed(place, ref, inside) if name.endswith(".jsonl")]
    for name in sorted(names, reverse=True):
        if not name.startswith(start) or store.IMPORTED in name:
            continue
        copy = into / name
        copy.write_bytes(shown(place, f"{ref}:{inside}/{name}"))
        try:
            run = store.read(copy)
        except StoreError as error:
            if store.unreadable(copy, str(error)).state == "damaged":
                raise
            if passed_over is not None:
                passed_over.append(f"{ref}:{name}: not a run file of harness; passed over")
            continue
        if wanted(run.header):
            with_scores(run, place, ref, f"{inside}/{store.side_folder(copy).name}")
            return run
    held = ", ".join(sorted(name.removesuffix(".jsonl") for name in names)) or "none"
    raise UsageError(f"{reference!r} holds no such run in {folder}: {held}")


def with_scores(run: Run, place: Path, ref: str, inside: str) -> None:
    """Copy the scores of its records beside the run file; what was not committed is absent."""
    there = set(listed(place, ref, inside))
    for record in run.records:
        if record.scores and f"{inside}/{record.scores}".removeprefix("./") in there:
            target = store.side_folder(run.path) / Path(record.scores).name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(shown(place, f"{ref}:{inside}/{record.scores}"))


def known(ref: str, place: Path) -> bool:
    """Whether git knows a commit of that name there."""
    return works(place, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")


def in_repository(place: Path) -> bool:
    """Whether a folder belongs to a repository, as far as git can say."""
    return works(place, "rev-parse", "--git-dir")


def works(place: Path, *words: str) -> bool:
    """Whether a command of git ends well."""
    try:
        git(place, *words)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def listed(place: Path, ref: str, inside: str) -> list[str]:
    """The files of a folder, seen from `place`."""
    found = git(place, "ls-tree", "-z", "--name-only", ref, f"{inside}/")
    return [name.decode(errors="surrogateescape") for name in found.split(b"\0") if name]


def shown(place: Path, what: str) -> bytes:
    """The bytes of a file in a commit."""
    return git(place, "show", what)


def git(place: Path, *words: str) -> bytes:
    """What a command of git prints."""
    done = subprocess.run(["git", "-C", str(place), *words], capture_output=True, timeout=60, check=True)
    return done.stdout
