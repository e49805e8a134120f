"""What is set outside the program: by the environment, else by the nearest configuration file.

HARNESS_DATA_DIR     data_dir     a folder that already holds the datasets' files; read before the cache
HARNESS_CACHE_DIR    cache_dir    where downloads are kept (default: the user's cache folder)
HARNESS_OFFLINE      offline      never download (variable: 1, true, yes or on)
HARNESS_RESULTS      results      the folder of runs (default: `results` in the working directory)

The file is the first `harness.toml` or `pyproject.toml` with a table `[tool.harness]` from the working
directory upwards; of two in one folder it is `harness.toml`. Paths in it start from its folder. Its other
keys are the verbs' options: `harness.cli.defaults`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import UsageError

PREFIX = "HARNESS_"
TRUE = ("1", "true", "t", "yes", "y", "on")
FALSE = ("0", "false", "f", "no", "n", "off")
KINDS = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}


def _user_cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("harness"))


DEFAULTS: dict[str, Callable[[], Path | bool | None]] = {
    "data_dir": lambda: None,
    "cache_dir": _user_cache,
    "offline": lambda: False,
    "results": lambda: Path("results"),
}


class Setting(NamedTuple):
    """A value and who set it: a variable, `FILE: KEY`, or `default`."""

    value: Any
    origin: str


@dataclass(frozen=True)
class File:
    """A configuration file, dashes in its keys turned into underscores."""

    path: Path
    table: Mapping[str, Any] = field(repr=False)
    prefix: str = ""  # where the table stands in the file: `tool.harness.` in pyproject.toml

    def origin(self, *keys: str) -> str:
        """`~/names/harness.toml: run.seeds`."""
        return f"{self.path}: {self.prefix}{'.'.join(keys)}"

    def locate(self, path: str) -> str:
        """A path of the file, which starts from the file's folder, as seen from the working directory."""
        expanded = os.path.expanduser(path)
        return expanded if os.path.isabs(expanded) else os.path.relpath(self.path.parent / expanded)


def data_dir() -> Path | None:
    """A folder that already holds the datasets' files, where one is set."""
    value: Path | None = look_up("data_dir").value
    return value


def cache_dir() -> Path:
    """Where downloads are kept."""
    value: Path = look_up("cache_dir").value
    return value


def machine_code_dir() -> Path:
    """Where numba keeps what it has compiled: NUMBA_CACHE_DIR, else a folder of the cache."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    return Path(named) if named else cache_dir() / "numba"


def offline() -> bool:
    """Whether downloads are forbidden."""
    value: bool = look_up("offline").value
    return value


def results_dir() -> Path:
    """The folder of runs."""
    value: Path = look_up("results").value
    return value


def look_up(key: str) -> Setting:
    """One of `DEFAULTS` with its origin; `UsageError` where the file holds no such value."""
    kind = bool if key == "offline" else str
    if text := os.environ.get(variable(key)):
        value = switch(text, variable(key)) if kind is bool else Path(text).expanduser()
        return Setting(value, variable(key))
    file = find()
    if file is not None and key in file.table:
        found, origin = file.table[key], file.origin(key)
        expect(kind, found, origin)
        return Setting(found if kind is bool else Path(file.locate(found)), origin)
    return Setting(DEFAULTS[key](), "default")


def switch(text: str, where: str) -> bool:
    """A switch as click reads one: 1, true, t, yes, y, on, and their opposites."""
    word = text.strip().lower()
    if word not in (*TRUE, *FALSE):
        raise UsageError(f"{where}={text!r} is neither on ({', '.join(TRUE)}) nor off ({', '.join(FALSE)})")
    return word in TRUE


def variable(*keys: str) -> str:
    """`run`, `seeds` -> `HARNESS_RUN_SEEDS`."""
    return PREFIX + "_".join(keys).upper()


def expect(kind: type, value: object, where: str) -> None:
    """Raise `UsageError` unless a TOML value is of a kind: bool, int, float (an int will do) or str."""
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise UsageError(f"{where} must be {KINDS[kind]}, not {render(value)}")


def render(value: object) -> str:
    """A value as TOML writes it, near enough for a message."""
    return json.dumps(value, default=str, ensure_ascii=False)


# ---- the file


def find() -> File | None:
    """The nearest configuration file; `UsageError` where it cannot be read."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # the working directory has been removed: nothing is near it
        return None
    for folder in (here, *here.parents):
        path = folder / "harness.toml"
        if os.path.isfile(path):
            return File(path, normal(read(path), path))
        path = folder / "pyproject.toml"
        if os.path.isfile(path):
            tools = read(path).get("tool", {})
            table = tools.get("harness") if isinstance(tools, dict) else None
            if table is not None:
                return File(path, normal(table, path), "tool.harness.")
    return None


def read(path: Path) -> dict[str, Any]:
    """A TOML file's tables."""
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None


def normal(table: object, path: Path) -> dict[str, Any]:
    """A table with underscores in the keys, those of the tables in it too."""
    if not isinstance(table, dict):
        raise UsageError(f"{path}: [tool.harness] must be a table, not {render(table)}")
    result: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name in result:
            raise UsageError(f"{path} sets {key!r} twice: with a dash and with an underscore")
        result[name] = normal(value, path) if isinstance(value, dict) else value
    return result
