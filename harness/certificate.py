"""What an audit found, kept by the hash of what was audited: `RESULTS/certificates/HASH.json`.

The hash is over the model's code (that of its members too), model@backend, configuration, contract and
version of the checks. When one of them changes the certificate is not found any more: it no longer counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness import __version__
from harness.errors import StoreError
from harness.record import CONTRACT, Audit
from harness.selection import Choice
from harness.store import write_whole

SCHEMA = "harness.certificate/1"
VERSION = 1  # of the checks: what an older version has found no longer counts
FOLDER = "certificates"

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
    dataset: str
    split: str
    seed: int
    findings: list[Finding]

    @property
    def key(self) -> str:
        """The hash of what was audited, which names the file."""
        facts = [self.contract, self.checks, self.model, self.backend, sorted(self.config.items()), self.code]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

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
    choice: Choice, findings: Sequence[Finding], *, dataset: str = "", split: str = "", seed: int = 0
) -> Certificate:
    """The certificate of a choice, of now."""
    return Certificate(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=choice.spec.name,
        backend=choice.backend,
        config=dict(choice.config),
        code=[part.code_hash for part in (choice, *members(choice))],
        dataset=dataset,
        split=split,
        seed=seed,
        findings=list(findings),
    )


def members(choice: Choice) -> list[Choice]:
    """What a choice builds inside, and what that builds."""
    return [part for each in choice.members for part in (each, *members(each))]


def write(results: Path, certificate: Certificate) -> Path:
    """Keep a certificate in the folder of runs, in place of an older one."""
    content = msgspec.json.format(msgspec.json.encode(certificate), indent=1) + b"\n"
    return write_whole(results / FOLDER / f"{certificate.key}.json", content)


def find(results: Path, choice: Choice) -> Certificate | None:
    """The certificate of a choice as its code is now; None where it was not audited.

    Raises `StoreError` where there is one that cannot be read.
    """
    if not (results / FOLDER).is_dir():
        return None
    key = certify(choice, []).key
    path = results / FOLDER / f"{key}.json"
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Certificate)
    except FileNotFoundError:
        return None
    except (OSError, RecursionError, ValueError) as error:  # msgspec's errors are ValueErrors
        raise StoreError(
            f"{path}: a damaged certificate, ignored ({error}); harness audit makes a new one"
        ) from None
    if found.schema != SCHEMA or found.key != key:
        raise StoreError(f"{path}: a certificate of something else, ignored; harness audit makes a new one")
    return found
