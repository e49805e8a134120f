"""`harness config`: every setting, its value and its origin."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from harness import formats, settings
from harness.cli import VERBS, defaults, options, verb_command

# The keys of `harness.settings` that are no verb's option.
GENERAL = {
    "data_dir": "A folder that already holds the datasets' files; read before the cache.",
    "cache_dir": "Where downloads are kept.  [default: the user's cache folder]",
    "offline": "Never download.",
}


def rows(file: settings.File | None) -> Iterator[dict[str, Any]]:
    """One row a setting, more where verbs differ."""
    every = defaults.keys()
    for key in GENERAL:
        value, origin = settings.look_up(key)
        yield {"setting": key, "verbs": list(VERBS), "value": defaults.plain(value), "from": origin}
    for key, found in every.items():
        groups: dict[str, dict[str, Any]] = {}
        for verb, option in found.items():
            value, origin = defaults.look_up(verb, key, option, file)
            row = {"setting": key, "verbs": [], "value": defaults.plain(value), "from": origin}
            groups.setdefault(json.dumps(row), row)["verbs"].append(verb)
        yield from groups.values()


def misspelt(known: Iterable[str], environment: Mapping[str, str]) -> list[str]:
    """One line for every variable that is nearly one of ours; others belong to other programs."""
    import difflib

    return [
        f"{name} sets nothing; did you mean {near[0]}?"
        for name in sorted(environment)
        if name.startswith(settings.PREFIX) and name not in known
        if (near := difflib.get_close_matches(name, known, n=1, cutoff=0.85))
    ]


# ---- the verb


@click.group("config")
def command() -> None:
    """Show what is set, and where each value came from."""


@command.command("show")
@options.as_json
def show(as_json: bool) -> None:
    """Print every setting, its value and its origin: a variable, a key of the file, or the default."""
    from harness.report import simple

    file = settings.find()
    if file is not None:
        for verb in VERBS:
            defaults.check_keys(file, verb, defaults.options_of(verb_command(verb)))
    found = list(rows(file))
    known = {
        name
        for key, verbs in defaults.keys().items()
        for verb in verbs
        for name in defaults.variables(verb, key)
    }
    options.warn(misspelt(known | {settings.variable(key) for key in settings.DEFAULTS}, os.environ))
    if as_json:
        document = {"file": str(file.path) if file else None, "settings": found}
        click.echo(formats.in_json(document))
        return
    names = [row["setting"] for row in found]
    lines = [
        {
            "setting": row["setting"],
            "verbs": ", ".join(row["verbs"]) if names.count(row["setting"]) > 1 else "",
            "value": "–" if row["value"] in (None, []) else defaults.readable(row["value"]),
            "from": row["from"],
        }
        for row in found
    ]
    click.echo(simple(lines))
    click.echo(f"\nfile: {file.path if file else 'none from the working directory upwards'}")


@command.command("keys")
def show_keys() -> None:
    """Print every key of the configuration file, as the Markdown table of docs/configuration.md."""
    click.echo("| key | verbs | value | meaning |\n|---|---|---|---|")
    for key, meaning in GENERAL.items():
        kind = settings.KINDS[bool] if key == "offline" else "a path"
        click.echo(f"| `{key}` | all | {kind} | {safe(meaning)} |")
    for key, found in defaults.keys().items():
        meanings: dict[tuple[str, str], list[str]] = {}
        for verb, option in found.items():
            meanings.setdefault((value_of(option), meaning_of(option)), []).append(verb)
        for (value, meaning), verbs in meanings.items():
            click.echo(f"| `{key}` | {', '.join(verbs)} | {value} | {meaning} |")


def value_of(option: click.Option) -> str:
    """What may stand in the file: `an integer`, `a string, or a list of them`, `"cpu"` or `"cuda"`."""
    if isinstance(option.type, click.Choice):
        return " or ".join(f'`"{choice}"`' for choice in option.type.choices)
    kind = "a path" if isinstance(option.type, click.Path) else settings.KINDS[defaults.kind_of(option)]
    return f"{kind}, or a list of them" if option.multiple else kind


def meaning_of(option: click.Option) -> str:
    """The option's help with its default."""
    text, default = option.help or "", defaults.plain(defaults.default_of(option))
    if default not in (None, "") and not option.is_flag and "[default:" not in text:
        text += f"  [default: {defaults.readable(default)}]"
    return safe(text)


def safe(text: str) -> str:
    """A text in a Markdown table."""
    return re.sub(r"\s+", " ", text).replace("|", "&#124;")
