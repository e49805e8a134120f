"""What a model, a cell and a row are called: as `--models` selects them."""

from __future__ import annotations

from harness.compare import Standing
from harness.record import Record


def called_row(row: Standing) -> str:
    """A row by the selection that chooses it; with its repeat where it is only one of them."""
    return called(row.record, repeat=len(row.records) == 1)


def called(record: Record, *, repeat: bool = True) -> str:
    """`mlp@numpy:context=8 #2`: as `--models` selects it, and the repeat where it is not the first."""
    chosen = f"{record.model}@{record.backend}" + (":" * bool(record.options)) + options(record)
    return chosen + (f" #{record.repeat + 1}" if repeat and record.repeat else "")


def options(record: Record) -> str:
    """`context=8,hidden=300`."""
    return ",".join(f"{key}={brief(value)}" for key, value in record.options.items())


def brief(value: object) -> str:
    """A value as a selection writes it: 0.10 is `0.1`, 1.0 is `1`."""
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
