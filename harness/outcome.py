"""What becomes of a cell that breaks: the status and the reason that an exception stands for."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.child import CellTimeout
from harness.contract import Model
from harness.errors import Diverged, HarnessError, InvalidModel, StoreError, Unavailable
from harness.fit import not_finite
from harness.record import Record, Status


@dataclass
class Phase:
    """Where a cell is, for the reason that it is given when it breaks."""

    name: str = "start"
    model: Model | None = None


@contextlib.contextmanager
def guarded(records: Sequence[Record], phase: Phase, timeout: float | None) -> Iterator[None]:
    """What a plugin raises becomes the status of these records; what the store raises goes on."""
    try:
        yield
    except Unavailable as error:
        found: tuple[Status, str] = "skipped", str(error)
    except StoreError:
        raise
    except (Exception, SystemExit) as error:
        found = verdict(error, phase, timeout)
    else:
        return
    for record in records:
        record.status, record.reason = found


def verdict(error: BaseException, phase: Phase, timeout: float | None) -> tuple[Status, str]:
    """The status and the reason that an exception stands for."""
    text = " ".join(str(error).split())
    if isinstance(error, Diverged):
        return "diverged", text or "training diverged"
    if isinstance(error, InvalidModel):
        if phase.model is not None and (bad := not_finite(phase.model.params)):
            return "diverged", f"parameter {bad!r} is not finite"
        return "invalid", text
    if isinstance(error, CellTimeout):
        return "timeout", f"{phase.name}: over the limit of {timeout:g} s" + (f": {text}" if text else "")
    if isinstance(error, MemoryError) or getattr(error, "out_of_memory", False):
        return "out-of-memory", f"{phase.name}: {text or 'not enough memory'}"
    if isinstance(error, HarnessError):
        return "failed", f"{phase.name}: {text}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return "failed", f"{phase.name}: {type(error).__name__}: {text}{where}"
