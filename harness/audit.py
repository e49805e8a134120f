"""The executable contract: every promise of a model is a check with a name.

A check is a function `Subject -> Finding`. One that cannot be finished, because the model raises, dies or
hangs, has failed.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from harness.checks_fit import (
    check_alphabet,
    check_backends_agree,
    check_deterministic,
    check_save_load,
    check_seed_honoured,
)
from harness.checks_law import check_code_length, check_sampler
from harness.checks_process import check_cold_and_warm, check_no_test_in_fit, check_nothing_off_the_clock
from harness.checks_rows import (
    check_batch_independent,
    check_causal,
    check_context,
    check_normalised,
    check_stateless,
)
from harness.child import CellTimeout
from harness.errors import HarnessError, InvalidRows, UnknownName
from harness.subject import Finding, Subject

Check = Callable[[Subject], Finding]

SEE = "see normalised"  # why a check does not apply

# In the order of the certificate, which is that of docs/audit.md.
CHECKS: dict[str, Check] = {
    "normalised": check_normalised,
    "causal": check_causal,
    "context": check_context,
    "batch-independent": check_batch_independent,
    "stateless": check_stateless,
    "deterministic": check_deterministic,
    "seed honoured": check_seed_honoured,
    "sampler obeys the law": check_sampler,
    "code length is real": check_code_length,
    "save, load": check_save_load,
    "no test in fit": check_no_test_in_fit,
    "alphabet": check_alphabet,
    "cold and warm agree": check_cold_and_warm,
    "nothing off the clock": check_nothing_off_the_clock,
    "backends agree": check_backends_agree,
}


def named(given: Iterable[str]) -> list[str]:
    """Checks by their names, or as they are typed more easily: `save-load`; all, where none is given.

    Raises `UnknownName`.
    """
    typed = {re.sub("[ ,]+", "-", name): name for name in CHECKS}
    for name in given:
        if name not in CHECKS and name not in typed:
            raise UnknownName("check", name, typed)
    return list(dict.fromkeys(typed.get(name, name) for name in given)) or list(CHECKS)


def findings(
    subject: Subject, names: Iterable[str] | None = None, timeout: float | None = None
) -> Iterator[Finding]:
    """What the named checks find (all, where none is named), one after the other as they come.

    timeout: seconds a check.
    """
    for name in CHECKS if names is None else names:
        yield examine(subject, name, timeout)


def examine(subject: Subject, name: str, timeout: float | None = None) -> Finding:
    """One check; a model that raises, dies or hangs in it has failed it.

    Rows that are no distributions are one broken promise: where `normalised` has failed, checks that
    cannot be made for them do not apply.
    """
    subject.allow(timeout)
    found = attempt(subject, name, timeout)
    subject.abnormal |= name == "normalised" and found.outcome == "fail"
    return found


def attempt(subject: Subject, name: str, timeout: float | None) -> Finding:
    """A check's finding, or what became of it."""
    try:
        return CHECKS[name](subject)
    except CellTimeout:
        found = Finding(name, "fail", f"not done after {timeout:g} s")
    except InvalidRows as error:
        abnormal = subject.abnormal and name != "normalised"
        found = Finding(name, "n/a" if abnormal else "fail", SEE if abnormal else reason(error))
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
