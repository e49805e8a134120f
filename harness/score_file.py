"""Files of scores: what `harness score MODEL FILE --json` prints, or CSV with document, nats and targets.

Another tool's scores of the same documents can be compared with a model of a stored run, or with another
file. They are somebody's word: nothing in them was scored here, and a table says so.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from harness.errors import UsageError
from harness.formats import clean
from harness.pairs import Scored

RESTS_ON = "file of scores"
COLUMNS = ("document", "nats", "targets")
ROUNDING = 1e-5  # a target: how far below 0 the sum of −ln p may be


class _Document(msgspec.Struct):
    text: str
    targets: int
    nats: float | None  # null: p = 0 on a target


class _Scores(msgspec.Struct):
    documents: list[_Document]
    kind: Literal["lines", "text"] = "lines"


def is_run(path: Path) -> bool:
    """Whether a file is a run file and no file of scores; `UsageError` where it cannot be read."""
    return content(path).startswith('{"checksum"')


def content(path: Path) -> str:
    """Its text; `UsageError` where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 (byte {error.start}: {error.reason})") from None


def read(path: Path) -> Scored:
    """The scores that a file holds; a `UsageError` names the document that is wrong."""
    text = content(path)
    found = from_json(path, text) if text.lstrip().startswith("{") else from_csv(path, text)
    if not found.documents:
        raise UsageError(f"{path}: no documents in it")
    for number, row in enumerate(found.documents, start=1):
        if row.targets < 1:
            raise UsageError(f"{path}, document {number:,}: targets: {row.targets}; at least 1")
        if row.nats is not None and not row.nats >= -ROUNDING * row.targets:
            raise UsageError(f"{path}, document {number:,}: nats: {row.nats}; −ln p is never below 0")
    texts = [row.text for row in found.documents]
    return Scored(
        name=clean(path.name),
        source=clean(str(path)),
        rests_on=RESTS_ON,
        sums=np.array([[math.inf if row.nats is None else row.nats for row in found.documents]]),  # (1, G)
        lengths=np.array([row.targets for row in found.documents], np.int64),
        units=units_of(texts, found.kind),
        documents=texts,
        facts={"kind": found.kind},
    )


def units_of(texts: Sequence[str], kind: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(G,) equal documents have one number; a block of running text is its own unit."""
    numbers: dict[str, int] = {}
    units = [i if kind == "text" else numbers.setdefault(text, i) for i, text in enumerate(texts)]
    return np.array(units, np.int64)


def from_json(path: Path, text: str) -> _Scores:
    """What `harness score --json` prints; further keys are left alone."""
    try:
        return msgspec.json.decode(text.encode(), type=_Scores)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path}: not what harness score --json prints, nor a run file: {error}") from None


def from_csv(path: Path, text: str) -> _Scores:
    """A row a document, named by the header; `inf` is p = 0, further columns are left alone."""
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise UsageError(
                f"{path}: no column {missing[0]!r}: a file of scores is CSV with {', '.join(COLUMNS)}, "
                "or what harness score --json prints"
            )
        return _Scores([from_row(path, rows.line_num, row) for row in rows])
    except csv.Error as error:
        raise UsageError(f"{path}, line {rows.reader.line_num}: {error}") from None


def from_row(path: Path, line: int, row: dict[str, str | None]) -> _Document:
    """One document of a CSV file."""
    document, nats, targets = (row[name] for name in COLUMNS)
    try:
        if document is None or nats is None or targets is None:
            raise ValueError("a cell is missing")
        value = float(nats)
        if math.isnan(value):
            raise ValueError("nats: nan")
        return _Document(document, int(targets), None if value == math.inf else value)
    except ValueError as error:
        raise UsageError(f"{path}, line {line}: {error}") from None
