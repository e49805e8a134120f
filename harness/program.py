"""External programs as models: what `NAME@exec:program=./x,key=value` means.

NAME is the user's; nobody registers it. The program speaks the frames of `wire` on its stdin and
stdout (docs/wire.md); the other options are its own, each typed as it is spelt.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.contract import Config, ModelSpec
from harness.errors import UsageError

BACKEND = "exec"
KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
WHOLE = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
Value = bool | int | float | str


def spec(name: str, config: Config | None = None) -> ModelSpec:
    """The spec of an external program; `context=N` promises its context, `steps=N` its default budget."""
    return ModelSpec(
        name,
        {BACKEND: "harness.program_model:Program"},
        config=config or {},
        context=lambda config: config.get("context"),
        steps=lambda config: config.get("steps"),
        description="an external program",
    )


def configuration(name: str, given: Mapping[str, str]) -> dict[str, Value]:
    """The options of an external program, checked; a mistake is a `UsageError`."""
    config = {key: read(name, key, text) for key, text in given.items()}
    if not config.get("program"):
        raise UsageError(f"{name}@{BACKEND} needs its program: {name}@{BACKEND}:program=./{name}")
    words(str(config["program"]))
    for key, least in (("context", 0), ("steps", 1)):
        value = config.get(key, least)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UsageError(f"{name}: {key}={given[key]} must be a whole number from {least} on")
    return config


def read(name: str, key: str, text: str) -> Value:
    """One value, typed by its spelling: true, 3, 0.5 or a word; in double quotes it is a text.

    `program` is always a text.
    """
    if not KEY.fullmatch(key):
        raise UsageError(f"{name}: {key!r} is no name of an option")
    if is_quoted(text):
        return text[1:-1]
    if key == "program":
        return text
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if WHOLE.fullmatch(text):
        return int(text)
    if NUMBER.fullmatch(text):
        if not math.isfinite(float(text)):
            raise UsageError(f"{name}: {key}={text} is too large for a number")
        return float(text)
    return text


def is_quoted(text: str) -> bool:
    """Whether double quotes hold a whole value together."""
    return len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1]


def spell(key: str, value: Value) -> str:
    """A value so that `read` gives it back, and no separator in it cuts."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return repr(value)
    plain = not re.search(r'[,()"]' if key == "program" else r'[,()"/]', value) and value == value.strip()
    return value if plain and value and read("", key, value) == value else f'"{value}"'


def words(program: str) -> list[str]:
    """The program and its arguments, split as a shell splits them."""
    try:
        found = shlex.split(program)
    except ValueError as error:
        raise UsageError(f"program={program}: {error}") from None
    if not found:
        raise UsageError("program= names no program")
    return found


def located(word: str) -> Path | None:
    """The file that a program's first word names: a path where it holds a slash, else sought on PATH."""
    if os.sep in word:
        path = Path(word).expanduser()
        return path.absolute() if path.is_file() and os.access(path, os.X_OK) else None
    found = shutil.which(word)
    return Path(found).absolute() if found else None


def missing(program: str) -> str | None:
    """Why a program cannot be started here, and the way out; None where it can."""
    if not hasattr(os, "fork"):
        return f"{program}: external programs need Linux or macOS"
    word = words(program)[0]
    if located(word) is not None:
        return None
    path = Path(word).expanduser()
    if os.sep not in word:
        beside = f"write program=./{word}" if path.is_file() else "install it, or write its path"
        return f"{word} is not on PATH: {beside}"
    if not path.exists():
        return f"{word}: there is no such program here: build it, or mend its path"
    if path.is_dir():
        return f"{word} is a folder: name the program in it"
    return f"{word} is not executable: chmod +x {word}, or name its interpreter (program=python3 {word})"


def code_hash(program: str) -> str:
    """SHA-256 of the program's file; where arguments are files, of the digests of them all."""
    first, *arguments = words(program)
    files = [located(first), *(Path(word) for word in arguments if Path(word).is_file())]
    digests = [digest(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files if file]
    if not digests:
        return hashlib.sha256(program.encode("utf-8", "surrogatepass")).hexdigest()
    return digests[0] if len(digests) == 1 else hashlib.sha256(json.dumps(digests).encode()).hexdigest()


@lru_cache
def digest(file: str, mtime_ns: int, size: int) -> str:
    """SHA-256 of a file, read once while it stays as it is."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def command(program: str) -> tuple[str, list[str]]:
    """The executable file, and the words that it is started with."""
    found = words(program)
    return str(located(found[0]) or found[0]), found


def options(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the program itself is told of its configuration."""
    return {key: value for key, value in config.items() if key != "program"}
