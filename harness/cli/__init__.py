"""The command line: the only place that prints or exits. One file a verb, loaded when it is used."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from harness.errors import HarnessError, StoreError

VERBS = {
    "run": "Train, score, time and tabulate models on equal terms.",
    "list": "Show models, datasets, plugins or runs.",
    "show": "Print a stored run again.",
    "data": "Describe or fetch a dataset.",
}

MODULES = {"list": "listing"}  # a submodule `list` would hide the built-in in this package

USAGE, DAMAGED_STORE, INTERRUPTED = 2, 6, 130


class Verbs(click.Group):
    """Verbs by name; help needs none of their modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of a first visit, not of the alphabet."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the verb's module."""
        if name not in VERBS:
            return None
        module = MODULES.get(name, name)
        command: click.Command = importlib.import_module(f"harness.cli.{module}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest verb where there is none of that name."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from harness.errors import UnknownName

            raise UnknownName("command", args[0], VERBS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs with their one-line help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def show_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    """`--version`."""
    if asked:
        from harness import __version__

        click.echo(f"harness {__version__}")
        ctx.exit()


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "HARNESS"},
    epilog="Exit codes: 0 ok; 2 wrong usage or input; 3 no cell ok; 4 a cell failed; 5 a cell is "
    "invalid; 6 the store is damaged or not writable; 130 interrupted.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=show_version,
    help="Print the version.",
)
def group() -> None:
    """The fair, fast, pluggable benchmark for next-character language models."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; every error a user can make is one line on stderr."""
    try:
        result: Any = group.main(
            list(arguments) if arguments is not None else None,
            prog_name="harness",
            standalone_mode=False,
        )
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.ClickException as error:
        return fail(error.format_message(), USAGE)
    except StoreError as error:
        return fail(str(error), DAMAGED_STORE)
    except HarnessError as error:
        return fail(str(error), USAGE)
    except (KeyboardInterrupt, click.Abort):
        return fail("interrupted; finished cells are stored", INTERRUPTED)
    except SystemExit:  # click's answer to a reader that has gone: nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


def fail(text: str, code: int) -> int:
    """One line on stderr."""
    click.echo(f"harness: {' '.join(text.split())}", err=True)
    return code


def entry() -> None:
    """The console script."""
    sys.exit(main())
