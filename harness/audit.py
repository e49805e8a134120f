"""The executable contract: every promise of a model is a check with a name.

A check is a function `Subject -> Finding`. One that cannot be finished, because the model raises, dies or
hangs, has failed.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from harness.checks_rows import check_normalised
from harness.engine import CellTimeout
from harness.errors import HarnessError
from harness.subject import Finding, Subject

VERSION = 1  # of the checks: what an older version has found no longer counts

Check = Callable[[Subject], Finding]

# In the order of the certificate, which is that of docs/audit.md.
CHECKS: dict[str, Check] = {
    "normalised": check_normalised,
    # "causal", "context", "batch-independent", "stateless", "deterministic", "seed honoured"
    # "sampler obeys the law"
    # "code length is real"
    # "save, load"
    # "no test in fit"
    # "alphabet"
    # "cold and warm agree"
    # "nothing off the clock"
    # "backends agree"
}


def findings(
    subject: Subject, names: Iterable[str] | None = None, timeout: float | None = None
) -> Iterator[Finding]:
    """What the named checks find (all, where none is named), one after the other as they come.

    timeout: seconds a check.
    """
    for name in CHECKS if names is None else names:
        yield examine(subject, name, timeout)


def examine(subject: Subject, name: str, timeout: float | None = None) -> Finding:
    """One check; a model that raises, dies or hangs in it has failed it."""
    subject.allow(timeout)
    try:
        return CHECKS[name](subject)
    except CellTimeout:
        found = Finding(name, "fail", f"not done after {timeout:g} s")
    except (Exception, SystemExit) as error:
        found = Finding(name, "fail", reason(error))
    subject.forget()  # its process may be gone, or in the middle of an answer
    return found


def reason(error: BaseException) -> str:
    """What an exception says: the text of one of ours, else its class and place too."""
    text = " ".join(str(error).split())
    if isinstance(error, HarnessError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{where}"
