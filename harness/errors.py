"""Every exception that `harness` raises on purpose.

    HarnessError
    ├── UsageError (ValueError)          an option, a name or a file that the user can mend: exit 2
    │   └── UnknownName (LookupError)    a name that is not registered; the nearest one is suggested
    ├── DataError (ValueError)           a dataset that is absent, damaged or too small: exit 2
    ├── StoreError (OSError)             a results folder that is damaged or not writable: exit 6
    ├── Unavailable (RuntimeError)       this machine lacks what a model needs: the row is skipped
    ├── InvalidModel (ValueError)        rows that are no probability distribution: the cell is invalid
    └── Diverged (ArithmeticError)       training left the finite numbers: the cell is diverged

Only `harness.cli` turns one of these into an exit code, and only `harness.runner` into a status.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Root of the tree; its text is one line that names what is wrong and the way out."""


class UsageError(HarnessError, ValueError):
    """The user asked for something that cannot be done."""


class UnknownName(UsageError, LookupError):
    """A name that nobody registered."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        if near:
            hint = f"; did you mean {near[0]!r}?"
        elif known:
            hint = f"; known: {', '.join(known)}"
        else:
            hint = "; there are none"
        super().__init__(f"unknown {kind} {name!r}{where}{hint}")


class DataError(HarnessError, ValueError):
    """A dataset or a split that cannot be used."""


class StoreError(HarnessError, OSError):
    """A stored run that cannot be read or written."""


class Unavailable(HarnessError, RuntimeError):
    """The machine lacks something; the text says what to install or to do."""


class InvalidModel(HarnessError, ValueError):
    """The model's rows break the contract."""


class InvalidRows(InvalidModel):
    """What came is no distributions over the vocabulary: a wrong shape or type, NaN, a wrong sum."""


class Diverged(HarnessError, ArithmeticError):
    """Raise it from `fit` when the loss is no longer finite."""
