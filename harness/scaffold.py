"""A model's package, written from the template: `harness new`.

The template mirrors what it becomes. `shared/` is in every package, one folder a kind of model beside it;
`dot-github` is `.github`, `package` is the package's name, and `$name` in a text is filled in.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import shutil
import unicodedata
from collections.abc import Container, Iterator, Mapping
from datetime import date
from pathlib import Path
from string import Template

from harness.errors import StoreError, UsageError

TEMPLATE = Path(__file__).parent / "template"
KINDS = ("numpy", "torch", "window")
NAME = re.compile(r"[a-z]([a-z0-9._-]*[a-z0-9])?")  # of a model, a distribution and, less dots, a module

# What differs between the kinds besides their models.
DEPENDENCY = {"numpy": "nextchar-harness", "window": "nextchar-harness", "torch": "nextchar-harness[torch]"}


def package_of(name: str) -> str:
    """The module that a name becomes: `my-model` -> `my_model`."""
    return re.sub(r"[._-]+", "_", name)


def legal(name: str) -> bool:
    """Whether a name can be that of a model, a distribution and a module alike."""
    return bool(NAME.fullmatch(name)) and not keyword.iskeyword(package_of(name))


def nearest(name: str) -> str:
    """The legal name closest to one that is not: `My Model!` -> `my-model`, `2-gram` -> `model-2-gram`."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    words = re.sub(r"[^a-z0-9._-]+", "-", plain).strip("._-")
    return words if legal(words) else f"model-{words}" if words else "my-model"


def check(name: str, folder: Path, registered: Container[str]) -> None:
    """Raise `UsageError` where a package of that name cannot be written there, or not be used then."""
    if not legal(name):
        raise UsageError(
            f"{name!a} cannot name a model and its package (a-z, 0-9, dashes, a letter first); "
            f"{nearest(name)} can"
        )
    if name in registered:
        raise UsageError(f"a model {name!a} is registered already: take another name (harness list models)")
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} is there and not empty: name another folder with --into")
    except OSError as error:
        raise UsageError(f"--into {folder}: {error.strerror or error}") from None
    module = package_of(name)
    if importlib.util.find_spec(module) is not None:
        raise UsageError(f"a module {module} is installed already, and would be hidden: take another name")


def files(name: str, kind: str, version: str) -> Iterator[tuple[Path, str]]:
    """Path in the package and text of every file of a kind (`KINDS`); version: the harness's own."""
    words = {
        "name": name,
        "package": package_of(name),
        "class_name": "".join(word.capitalize() for word in package_of(name).split("_")),
        "kind": kind,
        "dependency": f"{DEPENDENCY[kind]}>={version}",
        "year": str(date.today().year),
    }
    for shelf in (TEMPLATE / "shared", TEMPLATE / kind):
        for source in sorted(shelf.rglob("*.tmpl")):
            yield target(source.relative_to(shelf), words), filled(source, words)


def target(source: Path, words: Mapping[str, str]) -> Path:
    """Where a file of the template goes: `dot-gitignore.tmpl` -> `.gitignore`."""
    parts = [words["package"] if part == "package" else part for part in source.with_suffix("").parts]
    return Path(*(re.sub("^dot-", ".", part) for part in parts))


def filled(source: Path, words: Mapping[str, str]) -> str:
    """The text with its words in place; an unknown one is a `KeyError`."""
    return Template(source.read_text(encoding="utf-8")).substitute(words)


def write(name: str, kind: str, folder: Path, version: str) -> list[Path]:
    """Write the package into a folder that `check` has allowed; the paths that were written.

    Whole or not at all: where a file cannot be written, what was written is taken back. `UsageError` where
    the folder is not to be written to, `StoreError` where the disk is what fails.
    """
    written: list[Path] = []
    new = not folder.exists()
    for path, text in files(name, kind, version):
        try:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        except OSError as error:
            take_back(folder, new=new)
            refused = isinstance(error, (PermissionError, NotADirectoryError, FileExistsError))
            kind_of = UsageError if refused else StoreError
            raise kind_of(f"--into {folder}: {path}: {error.strerror or error}") from None
        written.append(path)
    return sorted(written)


def take_back(folder: Path, *, new: bool) -> None:
    """Empty a folder that was empty before, or remove it where it was not there."""
    if not folder.is_dir():
        return  # not even that was made
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if new:
        folder.rmdir()
