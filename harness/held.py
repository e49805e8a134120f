"""The data that a record was made of, as it is here now."""

from __future__ import annotations

from dataclasses import dataclass

from harness import evaluate, plan, sample, split
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
    kind = "text" if record.data.window else "lines"
    is_file = record.dataset.startswith("file:")
    opened = plan.open_data(found, record.dataset, kind if is_file else None)  # type: ignore[arg-type]
    if opened.sha256 != record.data.dataset_sha256:
        raise DataError(f"{record.dataset} here is not the data of the run (its SHA-256 is another)")
    parts = split.divide(
        opened.documents,
        opened.alphabet,
        opened.kind,
        split.parse(record.split),
        uses_dev=record.data.dev_from_train,
    )
    if search:
        return Held(opened, split.without_test(parts, plan.DEV_CHOOSES), None, None)
    seed = derive(parts.fingerprint, "real documents")
    reference = sample.reference(
        parts.train, parts.dev.corpus, parts.test.corpus, seed, in_sample=parts.in_sample
    )
    source, test = opened.true_source, parts.test.corpus
    truth = evaluate.score(source, test, None) if source is not None and len(test) else None
    return Held(opened, parts, reference, truth)
