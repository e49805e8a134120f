"""The certificates of audits that belong to the rows: `RESULTS/certificates/HASH.json`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness import certificate
from harness.labels import called
from harness.page.facts import Certificate
from harness.record import Record


def certificates(folder: Path, records: Sequence[Record], left_out: list[str]) -> list[Certificate]:
    """Of each record a certificate of its model, backend and configuration.

    One of the very code that was run comes first, then one of the very data, then the newest.
    """
    kept: list[certificate.Certificate] = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            kept.append(msgspec.json.decode(path.read_bytes(), type=certificate.Certificate))
        except (OSError, RecursionError, ValueError) as error:  # msgspec's errors are ValueErrors
            left_out.append(f"{path}: not a certificate that can be read ({error})")
    found = []
    for record in records:
        same = [
            one
            for one in kept
            if (one.model, one.backend, one.config) == (record.model, record.backend, record.config)
        ]
        if same:
            best = max(same, key=lambda one: (current(one, record), of_data(one, record), one.created))
            checks = [(check.name, check.outcome, check.text) for check in best.findings]
            name, on = called(record, repeat=False), "" if of_data(best, record) else best.dataset
            found.append(Certificate(name, best.created[:10], checks, current(best, record), on))
    return found


def current(one: certificate.Certificate, record: Record) -> bool:
    """Whether it speaks of the code that the run used."""
    return one.code[:1] == [record.plugin.code_hash]


def of_data(one: certificate.Certificate, record: Record) -> bool:
    """Whether it was earned on the data of the run."""
    return (one.dataset, one.dataset_sha256) == (record.dataset, record.data.dataset_sha256)
