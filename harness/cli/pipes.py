"""Standard streams that are closed, or whose reader goes away: a verb still ends with its own answer."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, BinaryIO, TextIO, cast


class Pipe(io.FileIO):
    """A stream's file. Once nobody reads it, what is written goes nowhere, and the verb works on."""

    def write(self, content: Any) -> int:
        """How many bytes of a buffer were written: all of them where the reader is gone."""
        try:
            return super().write(content)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return super().write(content)


def open_streams() -> None:
    """Let a standard stream that the caller has closed (`2>&-`) lead nowhere.

    Else the next file that is opened would be number 2, and what libraries say on stderr would stand in it.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)  # a program that we start has the same trouble
    os.close(number)
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115  (open as long as we are)


def outlive_readers() -> None:
    """Let stdout and stderr of this process know no broken pipe, up to its very end."""
    sys.stdout, sys.stderr = outliving(sys.stdout), outliving(sys.stderr)


def outliving(stream: TextIO) -> TextIO:
    """The stream on a `Pipe`; as it is where it is a terminal, a replacement in memory, or closed."""
    if not isinstance(stream, io.TextIOWrapper) or stream.isatty():
        return stream
    try:
        number = stream.fileno()
    except OSError:  # a wrapper of something in memory
        return stream
    stream.flush()
    pipe = Pipe(number, "w", closefd=False)
    return io.TextIOWrapper(
        cast(BinaryIO, pipe) if stream.write_through else io.BufferedWriter(pipe),  # as `python -u` has it
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
