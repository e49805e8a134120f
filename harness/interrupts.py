"""Ctrl-C and TERM while a run file is being written."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from harness.store import Writer


class Interrupts:
    """Ctrl-C and TERM: once, the line that is being written is finished; twice, at once."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.stopping = threading.Event()
        self.at_once: Callable[[], None] = lambda: None
        self.before: dict[int, object] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.before[number] = signal.signal(number, self.handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() gave us

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler, in the main thread."""
        if self.stopping.is_set():
            self.at_once()
            os._exit(130)
        self.stopping.set()
        if not self.writer.writing:
            raise KeyboardInterrupt
