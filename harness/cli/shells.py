"""click's completion for bash, zsh and fish, made to hold for `--models=mlp@torch:hidden=3,uniform`."""

from __future__ import annotations

import os
from typing import Any

import click
from click import shell_completion
from click.shell_completion import CompletionItem

BREAKS = ":=@"  # bash cuts words at these too (COMP_WORDBREAKS)
CONTINUED = (*BREAKS, ",", "/")  # a word that ends so is not finished


def answer(group: click.Command, instruction: str, variable: str) -> int:
    """Print what a shell has asked for, say `bash_complete` or `bash_source`; the exit status."""
    return shell_completion.shell_complete(group, {}, "harness", variable, instruction)


@shell_completion.add_completion_class
class Bash(shell_completion.BashComplete):
    """Words that bash has cut are made whole; no space follows what is to be continued."""

    source_template = (
        shell_completion.BashComplete.source_template.replace("-o nosort", "-o nosort -o nospace")
        .replace("compopt -o dirnames", "compopt -o dirnames +o nospace")
        .replace("compopt -o default", "compopt -o default +o nospace")
    )
    kept = ""  # the beginning of the word, which bash does not replace

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor's, and that of the cursor."""
        position = int(os.environ["COMP_CWORD"])
        given = shell_completion.split_arg_string(os.environ["COMP_WORDS"])[: position + 1]
        whole: list[str] = []
        for index, word in enumerate(given):
            glue = index > 1 and (is_break(word) or is_break(given[index - 1]))
            whole[-1:] = [whole[-1] + word] if glue else [*whole[-1:], word]
        if position >= len(given):  # the cursor stands after a space
            return whole[1:], ""
        if whole[-1] != given[-1]:
            value = whole[-1].removeprefix(option(whole[-1]))
            last = max(value.rfind(mark) for mark in BREAKS)
            self.kept = value[:last] if value[last:].startswith("@") else value[: last + 1]  # `@` is replaced
        return whole[1:-1], whole[-1]

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """One line of the answer."""
        value = str(item.value).removeprefix(self.kept)
        space = " " if item.type == "plain" and not value.endswith(CONTINUED) else ""
        return f"{item.type},{value}{space}"


class Whole(shell_completion.ShellComplete):
    """For shells that replace the whole word: `--models=` stands before what is offered for it."""

    front = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor's, and that of the cursor."""
        arguments, incomplete = super().get_completion_args()
        self.front = option(incomplete)
        return arguments, incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """One line of the answer."""
        return super().format_completion(CompletionItem(f"{self.front}{item.value}", item.type, item.help))


@shell_completion.add_completion_class
class Zsh(Whole, shell_completion.ZshComplete):
    """`--option=value`."""


@shell_completion.add_completion_class
class Fish(Whole, shell_completion.FishComplete):
    """The same, and commas in what is offered."""

    source_template = shell_completion.FishComplete.source_template.replace(
        'string split ","', 'string split --max 1 ","'
    )


def option(word: str) -> str:
    """`--models=` of `--models=mlp`; else nothing."""
    name, equals, _ = word.partition("=")
    return name + equals if equals and word.startswith("-") else ""


def is_break(word: str) -> bool:
    """Whether a word is one of those at which bash cuts."""
    return set(word) <= set(BREAKS)
