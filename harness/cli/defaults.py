"""How options are set without flags: by variables, which click reads, and by the file, its default map.

An option `--dry-run` of the verb `run` has the key `dry_run`, the variables HARNESS_RUN_DRY_RUN and
HARNESS_DRY_RUN, and in the configuration file the places `[run] dry_run` and `dry_run`: the first that is
set counts, after the flag and before the default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

import click

from harness import settings
from harness.cli import VERBS, verb_command
from harness.errors import UnknownName, UsageError

Options = dict[str, click.Option]

# ---- what can be set


def options_of(command: click.Command) -> Options:
    """Key -> option, for all that a command (of a group: one of its commands) understands."""
    if isinstance(command, click.Group):
        return {key: option for each in command.commands.values() for key, option in options_of(each).items()}
    return {
        key_of(option): option
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden and not option.is_eager
    }


def key_of(option: click.Option) -> str:
    """`--dry-run` -> `dry_run`; of several names the longest."""
    return max(option.opts, key=len).lstrip("-").replace("-", "_")


def keys() -> dict[str, dict[str, click.Option]]:
    """Key -> verb -> option, over all verbs in their order."""
    found: dict[str, dict[str, click.Option]] = {}
    for verb in VERBS:
        for key, option in options_of(verb_command(verb)).items():
            found.setdefault(key, {})[verb] = option
    return found


def variables(verb: str, key: str) -> tuple[str, str]:
    """The variables that set an option, the stronger first."""
    return settings.variable(verb, key), settings.variable(key)


# ---- setting it


def use_variables(verb: str, command: click.Command) -> None:
    """Let click read the variables of a verb's options."""
    commands = command.commands.values() if isinstance(command, click.Group) else [command]
    for each in commands:
        for key, option in options_of(each).items():
            long, short = variables(verb, key)
            # what `harness.settings` reads too is left to it, so that notebooks and verbs agree
            option.envvar = [long] if key in settings.DEFAULTS else [long, short]


def default_map(verb: str, command: click.Command) -> dict[str, Any]:
    """click's default map of a verb: what the configuration file sets of its options.

    `UsageError` where the file has a key that no verb knows, or a value that the option does not take.
    """
    known = options_of(command)
    file = settings.find() if known else None
    if file is None:
        return {}
    check_keys(file, verb, known)
    return filled(file, verb, command)


def filled(file: settings.File, verb: str, command: click.Command) -> dict[str, Any]:
    """The same without the check; of a group, one map a command."""
    if isinstance(command, click.Group):
        return {name: filled(file, verb, each) for name, each in command.commands.items()}
    found = {}
    for key, option in options_of(command).items():
        if key in settings.DEFAULTS and os.environ.get(settings.variable(key)):
            continue  # the variable goes first, and click does not know it (`use_variables`)
        if setting := in_file(file, verb, key, option):
            found[option.name] = setting.value
    return found


def check_keys(file: settings.File, verb: str, known: Options) -> None:
    """Raise `UnknownName` for a key that means nothing at the top of the file or in the verb's table."""
    for key, value in file.table.items():
        if isinstance(value, dict):
            if key not in VERBS:
                raise UnknownName("table", f"{file.prefix}{key}", tables(file), where=f" in {file.path}")
        elif key in settings.DEFAULTS:
            settings.look_up(key)  # a wrong value is said now, not at the end of a run
        elif key not in known and key not in keys():
            raise UnknownName("key", key, {*keys(), *settings.DEFAULTS}, where=f" in {file.path}")
    for key in table_of(file, verb):
        if key not in known:
            raise UnknownName("key", key, known, where=f" of [{file.prefix}{verb}] in {file.path}")


def tables(file: settings.File) -> list[str]:
    """The tables that a file may have."""
    return [f"{file.prefix}{verb}" for verb in VERBS]


def table_of(file: settings.File, verb: str) -> dict[str, Any]:
    """A verb's table; `run = "latest"` is none, but the key of `--run`."""
    table = file.table.get(verb)
    return table if isinstance(table, dict) else {}


def in_file(file: settings.File, verb: str, key: str, option: click.Option) -> settings.Setting | None:
    """What the file says of an option: in the verb's table, else at its top."""
    if key in (table := table_of(file, verb)):
        value, origin = table[key], file.origin(verb, key)
    elif key in file.table and not isinstance(file.table[key], dict):
        value, origin = file.table[key], file.origin(key)
    else:
        return None
    return settings.Setting(convert(option, natural(option, value, file, origin), origin), origin)


def natural(option: click.Option, value: object, file: settings.File, origin: str) -> Any:
    """A TOML value checked for the option's type, its paths made to start from the file's folder."""
    if option.multiple:
        items = value if isinstance(value, list) else [value]
        return [natural_item(option, item, file, origin) for item in items]
    return natural_item(option, value, file, origin)


def natural_item(option: click.Option, value: Any, file: settings.File, origin: str) -> Any:
    """The same of one item."""
    kind = kind_of(option)
    settings.expect(kind, value, origin)
    if isinstance(option.type, click.Path):
        return file.locate(value)
    if kind is str and value.startswith("file:"):  # a dataset
        return f"file:{file.locate(value.removeprefix('file:'))}"
    return value


def kind_of(option: click.Option) -> type:
    """The TOML type of an option's value: bool, int, float or str."""
    if option.is_flag:
        return bool
    if isinstance(option.type, click.types.IntParamType):
        return int
    return float if isinstance(option.type, click.types.FloatParamType) else str


def convert(option: click.Option, value: Any, origin: str) -> Any:
    """A value as the verb will get it; `UsageError` with its origin where it is out of range."""
    try:
        return option.type_cast_value(click.Context(click.Command("")), value)
    except click.BadParameter as error:
        raise UsageError(f"{origin}: {error.message}") from None


# ---- what is in force


def look_up(verb: str, key: str, option: click.Option, file: settings.File | None) -> settings.Setting:
    """The value of an option where no flag is given, and its origin."""
    for name in variables(verb, key):
        if os.environ.get(name):
            if key in settings.DEFAULTS and name == settings.variable(key):
                return settings.look_up(key)
            text = option.value_from_envvar(click.Context(click.Command("")))
            return settings.Setting(convert(option, text, name), name)
    if file is not None and (found := in_file(file, verb, key, option)):
        return found
    if key in settings.DEFAULTS:
        return settings.Setting(settings.DEFAULTS[key](), "default")
    return settings.Setting(default_of(option), "default")


def default_of(option: click.Option) -> Any:
    """An option's own default; None where the verb finds one itself."""
    return option.to_info_dict()["default"]


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def readable(value: Any) -> str:
    """A plain value in a table."""
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


# ---- whose mistake it is


def blame(error: click.BadParameter) -> str:
    """click's message, with the variable that holds the bad value where it was no flag."""
    option, context = error.param, error.ctx
    if isinstance(option, click.Option) and context is not None and option.name and option.envvar:
        source = context.get_parameter_source(option.name)
        if source is click.core.ParameterSource.ENVIRONMENT:
            return f"{next(name for name in option.envvar if os.environ.get(name))}: {error.message}"
    return error.format_message()


def remark(arguments: Sequence[str], text: str) -> str:
    """Where the value stands that an error quotes, if it is no argument: ` (HARNESS_DATASET)`."""
    given = " ".join(arguments)
    quoted = [word for word in re.findall(r"'([^']+)'", text)[:1] if word not in given]
    if not quoted or not arguments or arguments[0] not in VERBS:
        return ""
    try:
        file = settings.find()
        for key, option in options_of(verb_command(arguments[0])).items():
            value, origin = look_up(arguments[0], key, option, file)
            if origin != "default" and quoted[0] in readable(plain(value)):
                return f" ({origin})"
    except UsageError:  # the file itself is wrong, and `text` says so
        pass
    return ""
