"""Options that several verbs share, and what is printed beside a result."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from harness.report import View


class Finite(click.FloatRange):
    """A number of a range that holds neither `nan`, which every comparison lets pass, nor `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A float; click's error where it is none of the range."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is no finite number.", param, ctx)
        return number


plugin = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A Python file with hooks; may be given again. Loading it runs its code.",
)
results = click.option(
    "--results",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of runs.  [default: $HARNESS_RESULTS or results]",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
as_kind = click.option(
    "--as",
    "kind",
    type=click.Choice(["lines", "text"]),
    help="How file:PATH is read.  [default: lines]",
)


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, in their order."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


# in what a result is printed; `chosen_format` makes one of the two
as_format = together(
    click.option(
        "--format",
        "form",
        default="table",
        show_default=True,
        type=click.Choice(["table", "markdown", "latex", "csv", "json"]),
        help="How the result is printed.",
    ),
    click.option("--json", "as_json", is_flag=True, help="The same as --format json."),
)
# how `run` and `show` print a run; `view` makes one of the four
as_view = together(
    as_format,
    click.option(
        "--columns",
        metavar="KEYS",
        help="Columns by key, in this order: rank,model,test,sd-seeds; also `default` and `all`.",
    ),
    click.option("--each-seed", is_flag=True, help="A row for every seed, not their mean."),
)


def chosen_format(form: str, as_json: bool) -> str:
    """The format that `--format` and `--json` ask for; a `UsageError` where they contradict each other."""
    from harness.errors import UsageError

    if as_json and said("form") and form != "json":
        if said("as_json"):
            raise UsageError(f"--json and --format {form} contradict each other: leave one out")
        return form  # --format goes before a setting
    return "json" if as_json else form


def view(form: str, as_json: bool, columns: str | None, each_seed: bool) -> View:
    """How a run is to be printed; contradictions and unknown columns are `UsageError`s."""
    from harness.columns import choose
    from harness.errors import UsageError
    from harness.report import View

    form = chosen_format(form, as_json)
    if form == "json" and columns is not None and said("columns"):
        raise UsageError("--columns is for tables: JSON holds every field, CSV has --columns all")
    return View(form, choose(columns), each_seed, table_width())


def table_width() -> int:
    """Characters that a table may be wide: the terminal's, 100 where there is none."""
    from harness.report import NARROWEST, WIDTH

    return max(shutil.get_terminal_size((WIDTH, 24)).columns, NARROWEST)


def said(option: str) -> bool:
    """Whether an option stands on the command line, not only in a setting."""
    source = click.get_current_context().get_parameter_source(option)
    return source is click.core.ParameterSource.COMMANDLINE


def folder(given: Path | None) -> Path:
    """The folder of runs."""
    from harness import settings

    return given if given is not None else settings.results_dir()


def find(folder: Path, name: str) -> Path:
    """The run of that name; files that `latest` passes over are warnings."""
    from harness import store

    passed_over: list[str] = []
    path = store.find(folder, name, passed_over)
    warn(passed_over)
    return path


def warn(lines: list[str]) -> None:
    """Warnings on stderr, one line each."""
    for line in lines:
        say(f"harness: warning: {line}")


def say(line: str) -> None:
    """A line on stderr. Where nobody can read it, a full disk say, the work goes on without it."""
    from harness.formats import clean

    try:
        click.echo(clean(line), err=True)
    except OSError:
        return
