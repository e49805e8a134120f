"""An author's own file: −ln p or ln p of every character, or the words of a split."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.causes import Scored
from harness.errors import UsageError


@dataclass(frozen=True, eq=False)
class Given:
    """What a file holds: scores, or words."""

    scored: Scored | None = None
    words: tuple[str, ...] | None = None
    documents_known: bool = True  # whether it says where documents end


def read(path: str) -> Given:
    """The file by what is in it.

    JSON as `harness score --per-character --json` prints it; or a number a line, a blank line after each
    document; or `document,number` a line, a new document where the first column changes (a heading is
    skipped); else a word a line. Numbers are −ln p, or ln p where none is above 0.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 (byte {error.start}: {error.reason})") from None
    if text.lstrip().startswith("{"):
        return of_json(path, text)
    lines = text.splitlines()
    filled = [line for line in lines if line.strip()]
    if not filled:
        raise UsageError(f"{path}: nothing in it")
    if sum(number(line) is None for line in filled) > len(filled) / 2:  # "nan" and "inf" are names too
        return Given(words=tuple(filled))
    return of_lines(path, lines)


def of_json(path: str, text: str) -> Given:
    """`{"kind": …, "documents": [{"text": …, "characters": [−ln p, …]}, …]}`; null is p = 0."""
    try:
        found = json.loads(text)
        documents = found["documents"]
        rows = [
            [math.inf if value is None else float(value) for value in one["characters"]] for one in documents
        ]
        texts = tuple(str(one["text"]) for one in documents)
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"{path}: not what `harness score MODEL FILE --per-character --json` prints"
        ) from None
    if not any(rows):
        raise UsageError(f"{path}: no scores in it")
    if found.get("kind") == "text":
        nats = signed(path, [value for row in rows for value in row])
        return Given(Scored(nats, np.array([len(nats)]), ends=False), documents_known=False)
    return Given(scored(path, rows, texts))


def of_lines(path: str, lines: list[str]) -> Given:
    """A number a line, with or without a column that names its document."""
    rows: list[list[float]] = [[]]
    before: str | None = None
    for place, line in enumerate(lines, start=1):
        if not line.strip():
            rows.append([])
            continue
        value = number(line)
        if value is None:
            if place == 1:
                continue  # a heading
            raise UsageError(f"{path}, line {place}: {line.strip()[:40]!r} is no number, as other lines are")
        document = line.rpartition(",")[0]
        if before is not None and document != before:
            rows.append([])
        before = document
        rows[-1].append(value)
    rows = [row for row in rows if row]
    if len(rows) == 1:  # running text, or documents that were not kept apart
        nats = signed(path, rows[0])
        return Given(Scored(nats, np.array([len(nats)]), ends=False), documents_known=False)
    return Given(scored(path, rows, None))


def scored(path: str, rows: list[list[float]], texts: tuple[str, ...] | None) -> Scored:
    """Documents, each a list of its targets."""
    lengths = np.array([len(row) for row in rows], np.int64)
    if not lengths.all():
        raise UsageError(f"{path}: document {int(np.argmin(lengths)) + 1} has no scores")
    return Scored(signed(path, [value for row in rows for value in row]), lengths, texts=texts)


def signed(path: str, values: list[float]) -> Any:
    """−ln p (N,), whichever sign the file has; both signs at once is no log-probability."""
    nats = np.array(values, np.float64)
    if np.isnan(nats).any():
        raise UsageError(f"{path}: number {int(np.isnan(nats).argmax()) + 1} is NaN")
    if (nats <= 0).all():
        nats = -nats
    if (nats < -1e-5).any():
        raise UsageError(f"{path}: numbers above and below 0: log-probabilities are all of one sign")
    return nats


def number(line: str) -> float | None:
    """The last column of a line where it is a number."""
    try:
        return float(line.rpartition(",")[2])
    except ValueError:
        return None
