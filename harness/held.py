"""The data that a record was made of, as it is here now."""

from __future__ import annotations

from dataclasses import dataclass

from harness import evaluate, plan, sample, split
from harness.corpus import Kind
from harness.dataset import Dataset
from harness.errors import DataError
from harness.record import Record
from harness.registry import Registry
from harness.seeds import derive


@dataclass(frozen=True, eq=False)
class Held:
    """The data of a record as it is here."""

    dataset: Dataset
    parts: split.Split
    reference: sample.Reference | None  # None in a search, which draws no samples
    truth: evaluate.Scores | None  # the true source's own scores on test


def hold(found: Registry, record: Record, *, search: bool = False) -> Held:
    """Read and cut a record's data again; `HarnessError` where it is not to be had any more."""
    opened, parts = cut(found, record)
    if search:
        return Held(opened, split.without_test(parts, plan.DEV_CHOOSES), None, None)
    seed = derive(parts.fingerprint, "real documents")
    reference = sample.reference(
        parts.train, parts.dev.corpus, parts.test.corpus, seed, in_sample=parts.in_sample
    )
    source, test = opened.true_source, parts.test.corpus
    truth = evaluate.score(source, test, None) if source is not None and len(test) else None
    return Held(opened, parts, reference, truth)


def parts_of(found: Registry, record: Record) -> split.Split:
    """The very parts of a record's data; `HarnessError` where they are not to be had any more."""
    opened, parts = cut(found, record)
    if opened.sha256 != record.data.dataset_sha256:
        raise changed(record)
    if parts.fingerprint != record.data.split_fingerprint:
        raise DataError(f"split {record.split} of {record.dataset} has changed since the run")
    return parts


def cut(found: Registry, record: Record) -> tuple[Dataset, split.Split]:
    """The data that a record names, which must be what it was, and its parts as they are cut now.

    Of registered data a wrong hash alone passes here: `verify` says that the record is wrong.
    """
    kind: Kind | None = None
    if record.dataset.startswith("file:"):
        kind = "text" if record.data.window else "lines"
    opened = plan.open_data(found, record.dataset, kind)
    method, uses_dev = split.parse(record.split), record.data.dev_from_train
    parts = split.divide(opened.documents, opened.alphabet, opened.kind, method, uses_dev=uses_dev)
    # the bytes of a registered dataset do not move: where every document is the run's, the record is wrong
    forged = not record.dataset.startswith("file:") and parts.fingerprint == record.data.split_fingerprint
    if opened.sha256 != record.data.dataset_sha256 and not forged:
        raise changed(record)
    return opened, parts


def changed(record: Record) -> DataError:
    """What is said where the data are others."""
    what = "what is here is not the data of the run (its SHA-256 is another)"
    return DataError(f"{record.dataset} has changed since the run: {what}")
