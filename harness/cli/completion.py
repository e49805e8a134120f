"""`harness completion`: the script of a shell, and what it asks for.

The names of models and datasets come from a small file in the cache folder, so that a key press imports no
plugin. Every command that has asked the plugins writes it anew; it counts for the plugins that were installed
then. Without it, `all` is the only model.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from harness import settings
from harness.cli import COMPLETE
from harness.errors import UsageError

Values = Mapping[str, Sequence[str]]  # an option's key -> the words that are legal, where they are few

# Of `harness.split`, which would import numpy.
SPLITS: dict[str, Values] = {
    "grouped": {"seed": (), "fractions": ()},
    "lecture": {},
    "makemore": {},
    "contiguous": {"fractions": ()},
    "all": {},
}
WORD = re.compile(r"[\w.+-]+", re.ASCII)  # a plugin's names go to a shell: nothing else does


@dataclass(frozen=True)
class Names:
    """What plugins have registered: backends and options of models, options of datasets."""

    backends: Mapping[str, Sequence[str]] = field(default_factory=dict)
    models: Mapping[str, Values] = field(default_factory=dict)
    datasets: Mapping[str, Values] = field(default_factory=dict)


# ---- the names on disk


def cache_file() -> Path:
    """Where the names are kept."""
    return settings.cache_dir() / "completion.json"


def installed() -> str:
    """SHA-256 over the plugins that are installed, of which none is imported."""
    import hashlib
    import importlib.metadata  # with it 0.05 s, which `--help` need not wait for

    points = importlib.metadata.entry_points(group="harness")
    lines = sorted(f"{p.dist and (p.dist.name, p.dist.version)} {p.name} {p.value}" for p in points)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def remember() -> None:
    """Write the names of the installed plugins; a cache that cannot be written is left as it is."""
    from harness import registry

    found = registry.discover()
    document = {
        "plugins": installed(),
        "backends": {name: words(spec.backends) for name, spec in found.models.items()},
        "models": {
            name: legal(spec.config, spec.words) | ({"preset": words(spec.presets)} if spec.presets else {})
            for name, spec in found.models.items()
        },
        "datasets": {name: legal(spec.config, {}) for name, spec in found.datasets.items()},
    }
    path, content = cache_file(), json.dumps(document).encode()
    new = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        if path.is_file() and path.read_bytes() == content:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(content)
        new.replace(path)
    except OSError:  # no completion is no reason to fail a run
        return


def words(names: Mapping[str, object] | Sequence[str]) -> list[str]:
    """Those names that a shell may see."""
    return [name for name in names if WORD.fullmatch(name)]


def legal(config: Mapping[str, object], special: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Key -> the words that are legal for it."""
    flags = ("false", "true")
    return {
        key: words([*(flags if isinstance(config[key], bool) else ()), *special.get(key, ())])
        for key in words(config)
    }


def names() -> Names:
    """The names that were kept for the plugins of now; none where there are none."""
    try:
        document = json.loads(cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, UsageError):  # UsageError: a configuration file that is being edited
        return Names()
    if not isinstance(document, dict) or document.pop("plugins", None) != installed():
        return Names()
    return Names(**document)


# ---- what is offered


def models(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """The last item of `mlp@numba:context=8,hidden=300,count-bigram`."""
    if incomplete.count("(") > incomplete.count(")"):  # inside a mixture
        return []
    known = names()
    *before, last = incomplete.split(",")
    front = "".join(f"{piece}," for piece in before)
    found = model(known, last) if begins_model(last) else []
    owner = next((piece for piece in reversed(before) if begins_model(piece)), "")
    if ":" in owner and not {":", "@"} & set(last.partition("=")[0]):
        found += options(known.models.get(re.split("[@:]", owner)[0], {}), last)
    return [front + item for item in found]


def begins_model(piece: str) -> bool:
    """Whether a piece between commas is a model, and no further option of the one before."""
    return "=" not in piece or ":" in piece.partition("=")[0]


def model(known: Names, text: str) -> list[str]:
    """`ml` -> mlp; `mlp@n` -> mlp@numpy; `mlp:hid` -> mlp:hidden=."""
    head, colon, rest = text.partition(":")
    name, at, backend = head.partition("@")
    if colon:
        return [f"{head}:{item}" for item in options(known.models.get(name, {}), rest)]
    if at:
        every = {each for backends in known.backends.values() for each in backends}
        backends = known.backends.get(name, sorted(every) if name in ("all", "*") else ())
        return [f"{name}@{each}" for each in backends if each.startswith(backend)]
    return [each for each in ("all", *known.models) if each.startswith(name)]


def options(known: Values, text: str) -> list[str]:
    """`hid` -> hidden=; `init=no` -> init=normal; of a grid `a/b` the last value."""
    key, equals, value = text.partition("=")
    if not equals:
        return [f"{each}=" for each in known if each.startswith(key)]
    done, slash, last = value.rpartition("/")
    return [f"{key}={done}{slash}{word}" for word in known.get(key, ()) if word.startswith(last)]


def named(known: Mapping[str, Values], text: str) -> list[str]:
    """A name with options: `grou` -> grouped; `grouped:seed=1,fr` -> grouped:seed=1,fractions=."""
    name, colon, rest = text.partition(":")
    if not colon:
        return [each for each in known if each.startswith(name)]
    done, comma, last = rest.rpartition(",")
    return [f"{name}:{done}{comma}{item}" for item in options(known.get(name, {}), last)]


def dataset(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """A registered dataset with its options, or `file:` and a path."""
    if incomplete.startswith("file:"):
        return [f"file:{path}" for path in paths(incomplete.removeprefix("file:"))]
    found = named(names().datasets, incomplete)
    return found + (["file:"] if "file:".startswith(incomplete) else [])


def paths(text: str) -> list[str]:
    """The files and folders whose path begins with a text; folders end in a slash."""
    folder, name = os.path.split(text)
    try:
        entries = sorted(os.scandir(folder or "."), key=lambda entry: entry.name)
    except OSError:  # there is no such folder yet
        return []
    shown = [entry for entry in entries if entry.name.startswith(name) and entry.name.isprintable()]
    return [os.path.join(folder, entry.name) + "/" * entry.is_dir() for entry in shown]


def split(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """A method of splitting with its options."""
    return named(SPLITS, incomplete)


def suite(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """A built-in suite, or the path of a file of one's own."""
    from harness import published

    files = [path for path in paths(incomplete) if path.endswith(("/", ".toml"))]
    return [name for name in published.names() if name.startswith(incomplete)] + files


# ---- the verb


def answer(group: click.Command, instruction: str) -> int:
    """Print what a shell has asked for: `bash_complete` or `bash_source`."""
    from harness.cli import shells

    return shells.answer(group, instruction, COMPLETE)


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that lets a shell complete verbs, options and names.

    Add one line to the shell's start file:

    \b
      bash  ~/.bashrc                    eval "$(harness completion bash)"
      zsh   ~/.zshrc                     eval "$(harness completion zsh)"
      fish  ~/.config/fish/config.fish   harness completion fish | source

    Names of models and datasets are known after the first `harness list models`.
    """  # noqa: D301 - the backspace tells click to keep the lines below it
    group = click.get_current_context().find_root().command
    answer(group, f"{shell}_source")
