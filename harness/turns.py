"""Work that may be shared, and work that is done alone: quality side by side, speed by itself."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Turns:
    """Lets work be shared, or done alone; who waits to be alone goes first."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.sharing = 0
        self.waiting = 0
        self.taken = False

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Beside others who share."""
        with self.changed:
            self.changed.wait_for(lambda: not self.taken and not self.waiting)
            self.sharing += 1
        try:
            yield
        finally:
            with self.changed:
                self.sharing -= 1
                self.changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """With nobody beside."""
        with self.changed:
            self.waiting += 1
            self.changed.wait_for(lambda: not self.taken and not self.sharing)
            self.waiting -= 1
            self.taken = True
        try:
            yield
        finally:
            with self.changed:
                self.taken = False
                self.changed.notify_all()
