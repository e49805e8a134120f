"""The command line: the only place that prints or exits. One file a verb, loaded when it is used."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from harness.errors import HarnessError, StoreError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

VERBS = {
    "run": "Train, score, time and tabulate models on equal terms.",
    "tune": "Search a model's options on dev; learning-rate range test.",
    "audit": "Check a model against its contract; keep a certificate.",
    "list": "Show models, datasets, suites, exporters, plugins or runs.",
    "show": "Print a stored run again.",
    "report": "Write a page about runs, to be looked at.",
    "sample": "Draw from a model of a stored run.",
    "score": "Score a text under a model of a stored run.",
    "compare": "Compare models, runs or files of scores, paired.",
    "gate": "PASS, FAIL or INCONCLUSIVE against a baseline.",
    "history": "Follow a metric over runs and commits.",
    "export": "Write runs in another tool's format.",
    "import": "Make a run of another tool's times.",
    "verify": "Derive the figures of a stored run again from its scores.",
    "doctor": "Tell why your number differs from ours.",
    "new": "Write a package with a model of your own to begin with.",
    "compress": "Write a text in the bits of a stored model's NLL.",
    "decompress": "Bring a compressed text back, byte for byte.",
    "data": "Describe or fetch a dataset.",
    "config": "Show what is set, and where each value came from.",
    "completion": "Print the script that lets a shell complete commands.",
}

MODULES = {"list": "listing", "import": "importing"}  # `list` would hide the built-in, `import` is a keyword

STORING = {"run", "tune"}  # whose cells are kept as they come

USAGE, DAMAGED_STORE, INTERNAL, INTERRUPTED = 2, 6, 70, 130
COMPLETE = "_HARNESS_COMPLETE"  # what a shell sets when it asks for completions


def verb_command(name: str) -> click.Command:
    """A verb's command, its module imported, its options open to the environment."""
    from harness.cli import defaults

    command: click.Command = importlib.import_module(f"harness.cli.{MODULES.get(name, name)}").command
    defaults.use_variables(name, command)
    return command


class Verbs(click.Group):
    """Verbs by name; help and completion need none of their modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of a first visit, not of the alphabet."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the verb's module."""
        return verb_command(name) if name in VERBS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest verb where there is none of that name; take what the file sets of its options."""
        if ctx.resilient_parsing:  # a shell asks for completions: it wants neither
            return super().resolve_command(ctx, args)
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from harness.errors import UnknownName

            raise UnknownName("command", args[0], VERBS)
        name, command, rest = super().resolve_command(ctx, args)
        if name and command and not set(ctx.help_option_names) & set(rest):  # help says the plain defaults
            from harness.cli import defaults

            ctx.default_map = {name: defaults.default_map(name, command)}
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; where it has asked the plugins for their names, keep them for completion."""
        result = super().invoke(ctx)
        if "harness.registry" in sys.modules:
            from harness.cli import completion

            completion.remember()
        return result

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """The verbs, and the options of `harness` itself."""
        from click.shell_completion import CompletionItem

        verbs = [
            CompletionItem(verb, help=text) for verb, text in VERBS.items() if verb.startswith(incomplete)
        ]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

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
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok; 1 the gate says FAIL; 2 wrong usage or input; 3 no cell ok, or the gate cannot "
    "tell; 4 a cell failed; 5 a cell is invalid or a check of an audit failed; 6 the store is damaged or not "
    "writable; 70 an error of harness itself; 130 interrupted.",
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
    if instruction := os.environ.get(COMPLETE):
        from harness.cli import completion

        return completion.answer(group, instruction)
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result: Any = group.main(given, prog_name="harness", standalone_mode=False)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.BadParameter as error:
        from harness.cli import defaults

        return fail(defaults.blame(error), USAGE)
    except click.ClickException as error:
        return fail(error.format_message(), USAGE)
    except StoreError as error:
        return fail(str(error), DAMAGED_STORE)
    except HarnessError as error:
        from harness.cli import defaults

        return fail(f"{error}{defaults.remark(given, str(error))}", USAGE)
    except (KeyboardInterrupt, click.Abort):
        stored = "; finished cells are stored" if given[:1] and given[0] in STORING else ""
        return fail(f"interrupted{stored}", INTERRUPTED)
    except ValueError:  # what `open` makes of it
        if not any("\0" in argument for argument in given):
            raise
        return fail("a path holds a NUL, which no path can", USAGE)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return fail(f"{error.filename}: {error.strerror}", USAGE)
        if error.errno != errno.ENOSPC:
            raise
        forget_stdout()
        return fail("the disk that the output goes to is full", DAMAGED_STORE)
    return result if isinstance(result, int) else 0


def forget_stdout() -> None:
    """Send what is still buffered nowhere, so that the end of the process does not try it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(text: str, code: int) -> int:
    """One line on stderr; whatever a name in it holds, a terminal obeys nothing."""
    from harness.formats import clean

    click.echo(clean(f"harness: {' '.join(text.split())}"), err=True)
    return code


def entry() -> None:
    """The console script. What `main` does not expect has an exit code of its own: 1 is the gate's FAIL."""
    from harness.cli import pipes

    pipes.open_streams()
    pipes.outlive_readers()  # click's answer to a broken pipe is exit 1, whatever the verb's would be
    try:
        code = main()
    except Exception:
        traceback.print_exc()
        code = fail("an error of harness itself: please report it with the lines above", INTERNAL)
    sys.exit(code)
