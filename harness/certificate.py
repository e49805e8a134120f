"""What an audit found, kept by what was audited and on which data: `RESULTS/certificates/HASH-DATA.json`.

HASH is over the model's code (that of its members too), model@backend, configuration, contract, version of
the checks and the harness's own code. When one of them changes the certificate is not found any more: it no
longer counts. DATA is over the dataset, its bytes and its split, so that an audit on one does not take the
place of an audit on another.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness import __version__
from harness.dataset import Dataset
from harness.errors import StoreError
from harness.record import CONTRACT, Audit
from harness.registry import code_hash
from harness.selection import Choice
from harness.store import write_whole

SCHEMA = "harness.certificate/1"
VERSION = 1  # of the checks: what an older version has found no longer counts
FOLDER = "certificates"
DIGITS = 16  # of the hash of the data, in a file's name

Outcome = Literal["pass", "fail", "n/a"]


@dataclass(frozen=True)
class Finding:
    """What one check found; text: figures, the smallest counter-example, or why it does not apply."""

    name: str
    outcome: Outcome
    text: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.outcome}" + (f" – {self.text}" if self.text else "")


class Certificate(msgspec.Struct, kw_only=True):
    """All checks of one audit of one model."""

    schema: str = SCHEMA
    contract: str = CONTRACT
    version: str = __version__  # of harness
    checks: int = VERSION
    created: str  # UTC, ISO 8601
    model: str
    backend: str
    config: dict[str, Any]
    code: list[str]  # SHA-256 of the model's sources, then of its members'
    harness: str = ""  # SHA-256 of the sources of harness, which hold the checks
    dataset: str
    dataset_sha256: str = ""
    split: str
    split_fingerprint: str = ""
    seed: int
    findings: list[Finding]

    @property
    def key(self) -> str:
        """The hash of what was audited and by which checks: a file's name begins with it."""
        checks = [self.contract, self.checks, self.harness]
        return hashed([*checks, self.model, self.backend, sorted(self.config.items()), self.code])

    @property
    def file(self) -> str:
        """Its file's name: the key, and what it was audited on."""
        data = hashed([self.dataset, self.dataset_sha256, self.split, self.split_fingerprint])
        return f"{self.key}-{data[:DIGITS]}.json"

    def on(self, data: Dataset) -> bool:
        """Whether it was earned on these data."""
        return (self.dataset, self.dataset_sha256) == (data.name, data.sha256)

    def audit_for(self, data: Dataset) -> Audit:
        """What the record of a run on some data says of it: where it was earned on others, on which."""
        audit = self.audit
        if not self.on(data):
            changed = self.dataset == data.name
            audit.elsewhere = f"an earlier {self.dataset}" if changed else self.dataset
        return audit

    @property
    def audit(self) -> Audit:
        """What a record and a table say of it."""
        of = {
            outcome: [f.name for f in self.findings if f.outcome == outcome] for outcome in ("pass", "fail")
        }
        return Audit(
            date=self.created[:10],
            passed=len(of["pass"]),
            failed=of["fail"],
            not_applicable=len(self.findings) - len(of["pass"]) - len(of["fail"]),
        )


def certify(
    choice: Choice,
    findings: Sequence[Finding],
    *,
    dataset: str = "",
    dataset_sha256: str = "",
    split: str = "",
    split_fingerprint: str = "",
    seed: int = 0,
) -> Certificate:
    """The certificate of a choice, of now."""
    return Certificate(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=choice.spec.name,
        backend=choice.backend,
        config=dict(choice.config),
        code=[part.code_hash for part in (choice, *members(choice))],
        harness=own_code(),
        dataset=dataset,
        dataset_sha256=dataset_sha256,
        split=split,
        split_fingerprint=split_fingerprint,
        seed=seed,
        findings=list(findings),
    )


@functools.cache
def own_code() -> str:
    """The hash of our own sources: what mended checks find may be something else."""
    return code_hash(__name__)


def hashed(facts: list[Any]) -> str:
    """SHA-256 of some facts, in hexadecimal."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def members(choice: Choice) -> list[Choice]:
    """What a choice builds inside, and what that builds."""
    return [part for each in choice.members for part in (each, *members(each))]


def write(results: Path, certificate: Certificate) -> Path:
    """Keep a certificate in the folder of runs, in place of an older one of the same on the same data."""
    content = msgspec.json.format(msgspec.json.encode(certificate), indent=1) + b"\n"
    return write_whole(results / FOLDER / certificate.file, content)


def find(results: Path, choice: Choice, data: Dataset | None = None) -> Certificate | None:
    """The newest certificate of a choice as its code is now; None where it was not audited.

    data: one that was earned on these comes first.
    Raises `StoreError` where there is one that cannot be read.
    """
    folder = results / FOLDER
    if not folder.is_dir():
        return None
    key = certify(choice, []).key
    found = [read(path, key) for path in folder.glob(f"{key}*.json")]
    if not found:
        return None
    return max(found, key=lambda one: (data is not None and one.on(data), one.created))


def read(path: Path, key: str) -> Certificate:
    """The certificate in a file, which must be of this key; raises `StoreError`."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Certificate)
    except (OSError, RecursionError, ValueError) as error:  # msgspec's errors are ValueErrors
        raise StoreError(
            f"{path}: a damaged certificate, ignored ({error}); harness audit makes a new one"
        ) from None
    if found.schema != SCHEMA or found.key != key:
        raise StoreError(f"{path}: a certificate of something else, ignored; harness audit makes a new one")
    return found
