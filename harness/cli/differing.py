"""The documents on which two models differ most, character by character where the models were kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli import options, stored
from harness.errors import HarnessError, UsageError

if TYPE_CHECKING:
    from harness.pairs import Apart, Pair, Scored
    from harness.record import Record
    from harness.registry import Registry
    from harness.split import Split
    from harness.store import Run

STRONGEST = 2  # documents of a kind that are shown character by character
CHARACTERS = 40  # a longer document is not


@dataclass(frozen=True, eq=False)
class Side:
    """One of those that are compared."""

    scored: Scored
    run: Run | None = None  # None: a file of scores
    records: tuple[Record, ...] = ()  # its repeats


@dataclass(frozen=True)
class Document:
    """One on which they differ much."""

    which: str  # "unseen" or "seen" in train; "" where all are of one kind
    row: Apart
    text: str | None  # None where the data is not to be had
    characters: Sequence[tuple[str, float, float]] = ()  # each with both models' −ln p; "" is the end


@dataclass(eq=False)
class Known:
    """What is read only where it is needed: the plugins, and the data of runs."""

    plugins: Sequence[Path]

    @cached_property
    def registry(self) -> Registry:
        """The plugins."""
        from harness import registry

        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is loaded: see environment
        found = registry.discover(self.plugins)
        options.warn(found.problems)
        return found

    def data(self, record: Record) -> Split:
        """The parts of a record's data; `HarnessError` where they are not to be had."""
        return stored.data_of(record, self.registry)

    def with_documents(self, side: Side) -> Side:
        """A side with the texts of its documents, which a comparison with a file needs."""
        if side.run is None:
            return side
        try:
            texts = texts_of(self.data(side.records[0]), side.scored)
        except HarnessError as error:
            name, source = side.scored.name, side.scored.source
            raise UsageError(
                f"{name} ({source}) cannot be compared with a file of scores, its documents are not to be "
                f"had: {error}"
            ) from None
        return replace(side, scored=replace(side.scored, documents=texts))


def side_of(run: Run, records: Sequence[Record]) -> Side:
    """The test scores of a model's repeats; `UsageError` where they were not kept."""
    import numpy as np

    from harness.labels import called
    from harness.pairs import Scored
    from harness.report import clean

    first = records[0]
    name = clean(called(first, repeat=len(records) == 1))
    source = f"run {run.header.run_id}"
    found = [run.scores(record) for record in records]
    arrays = [each for each in found if each is not None and "test_sums" in each]
    if len(arrays) < len(records):
        why = first.absent.get("test_nll", "they were not kept; harness run scores it again")
        raise UsageError(f"{name} of {source} has no test scores: {why}")
    data = first.data
    facts = {
        "contract version": run.header.contract,
        "dataset sha256": data.dataset_sha256,
        "alphabet": None if data.alphabet is None else ascii(data.alphabet),
        "split fingerprint": data.split_fingerprint,
        "kind": "text" if data.window else "lines",
    }
    scored = Scored(
        name=name,
        source=source,
        rests_on="; ".join(dict.fromkeys(clean(record.rests_on) for record in records)),
        sums=np.stack([each["test_sums"] for each in arrays]),  # (R, G)
        lengths=arrays[0]["test_lengths"],
        units=arrays[0]["test_units"],
        seen=arrays[0].get("test_seen"),
        facts={what: value for what, value in facts.items() if value is not None},
        steady=first.stochastic is False,
        in_sample=data.in_sample,
    )
    return Side(scored, run, tuple(records))


def texts_of(parts: Split, scored: Scored) -> list[str]:
    """(G,) the texts of the test documents, or of its blocks of running text."""
    corpus = parts.test.corpus
    if corpus.kind == "lines":
        return [corpus.text(i) for i in range(len(corpus))]
    ends = scored.lengths.cumsum().tolist()
    pieces = zip([0, *ends], ends, strict=False)
    return [corpus.alphabet.decode(corpus.tokens[first + 1 : last + 1]) for first, last in pieces]


# ---- documents


def documents(pair: Pair, sides: tuple[Side, Side], n: int, known: Known) -> tuple[list[Document], list[str]]:
    """The n documents of each kind on which a pair differs most, and what could not be told of them."""
    from harness.pairs import most_apart

    seen = pair.a.seen if pair.a.seen is not None else pair.b.seen
    kinds: dict[str, Callable[[int], bool]] = {"": lambda index: True}
    if seen is not None and 0 < seen.sum() < len(seen):
        kinds = {"unseen": lambda index: not seen[index], "seen": lambda index: bool(seen[index])}
    texts, remarks = known_texts(pair, sides, known)
    found: list[Document] = []
    for which, lets_through in kinds.items():
        rows = most_apart(pair, n, lets_through)
        found += [Document(which, row, None if texts is None else texts[row.index]) for row in rows]
    strongest = [
        document
        for which in kinds
        for document in [each for each in found if each.which == which][:STRONGEST]
        if document.text is not None and len(document.text) <= CHARACTERS
    ]
    if not strongest:
        return found, remarks
    by_character = contributions(strongest, sides, known)
    if isinstance(by_character, str):
        return found, [*remarks, f"Documents are not taken apart into characters: {by_character}."]
    return [by_character.get(id(document), document) for document in found], remarks


def known_texts(pair: Pair, sides: tuple[Side, Side], known: Known) -> tuple[Sequence[str] | None, list[str]]:
    """The texts of the documents; None and why, where the data of the run is not to be had."""
    for one in (pair.a, pair.b):
        if one.documents is not None:
            return one.documents, []
    try:
        return texts_of(known.data(sides[0].records[0]), pair.a), []
    except HarnessError as error:
        return None, [f"Documents are shown by their number in the test part: {error}."]


def contributions(
    strongest: Sequence[Document], sides: tuple[Side, Side], known: Known
) -> dict[int, Document] | str:
    """By id, the documents with both models' −ln p of every character; or why they cannot be had."""
    texts = [document.text or "" for document in strongest]
    both: list[list[Any]] = []
    for side, read in zip(sides, ("a", "b"), strict=True):
        found = rescored(side, texts, known)
        if isinstance(found, str):
            return found
        kept = [getattr(document.row, read) for document in strongest]
        if problem := moved(side, [each.sum() for each in found], kept, [len(each) for each in found], known):
            return problem
        both.append(found)
    return {
        id(document): replace(
            document,
            characters=list(zip([*text, ""], a.tolist(), b.tolist(), strict=True)),
        )
        for document, text, a, b in zip(strongest, texts, *both, strict=True)
    }


def rescored(side: Side, texts: Sequence[str], known: Known) -> list[Any] | str:
    """−ln p of every target of line documents, a (T,) each, the mean over seeds; or why not."""
    import numpy as np

    from harness import evaluate, notebook
    from harness.corpus import Corpus

    if side.run is None:
        return f"{side.scored.name} is a file of scores, so they are shown per document only"
    first = side.records[0]
    if first.data.window:
        return "they are blocks of running text"
    try:
        spec = known.registry.model(first.model)
        corpus = Corpus.from_documents(texts, known.data(first).train.alphabet, "lines")
        each = []
        for record in side.records:
            model = notebook.Result(side.run, known.registry).model(record)
            if model is None:
                return f"the parameters of {stored.name_of(record)} were not kept"
            each.append(evaluate.score_targets(model, corpus, spec.context_of(record.config)))
    except HarnessError as error:
        return f"{side.scored.name} cannot be scored again: {error}"
    except Exception as error:  # a plugin's own, whose code may have changed since the run
        return f"{side.scored.name} cannot be scored again: {type(error).__name__}: {error}"
    return np.split(np.mean(each, axis=0), corpus.offsets[1:-1])


def moved(
    side: Side, now: Sequence[float], then: Sequence[float], targets: Sequence[int], known: Known
) -> str | None:
    """That a model no longer scores as it did in its run, or None."""
    tolerance = known.registry.model(side.records[0].model).tolerance
    for a, b, n in zip(now, then, targets, strict=True):
        if a != b and not abs(a - b) <= tolerance * n * max(1.0, abs(b) / n):
            return f"{side.scored.name} now gives {a:.4f} nats where its run has {b:.4f}"
    return None
