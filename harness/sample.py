"""Sampling: documents drawn from a model with a recorded seed, and how they differ from real ones."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.contract import Model
from harness.corpus import Alphabet, Corpus, Ints, Kind
from harness.errors import InvalidModel
from harness.record import DocumentStatistics, SampleStatistics

TEXT_LENGTH = 500
LINES, PIECES = 500, 10  # samples of line data and of running text that statistics rest on
CHARACTERS = 100_000  # of line data: all samples together, at most
CELLS_A_CALL = 2**23  # B·T·V of one call
BREAK = "\n"  # the boundary of a line, as a character
ORDERS = (1, 2, 3)  # of n-grams


@dataclass(frozen=True)
class Drawn:
    """Samples as text, and what drawing them took."""

    texts: list[str]
    seed: int
    truncated: int  # stopped at `max_length`, not at the boundary
    seconds: float
    characters: int  # drawn, ends included

    @property
    def chars_per_s(self) -> float:
        """Characters drawn per second."""
        return self.characters / max(self.seconds, 1e-9)


def longest(train: Corpus) -> int:
    """The default limit: twice the longest training line; 500 characters of running text."""
    if train.kind == "text":
        return TEXT_LENGTH
    return 2 * max(1, int(train.lengths.max(initial=1)) - 1)


def how_many(kind: Kind, max_length: int) -> int:
    """Samples that statistics rest on: 500 lines (fewer where they are long, 10 at least), 10 of text."""
    return PIECES if kind == "text" else min(LINES, max(10, CHARACTERS // max_length))


def draw(
    model: Model,
    n: int,
    alphabet: Alphabet,
    max_length: int,
    seed: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    prompt: Sequence[int] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> Drawn:
    """N samples; `InvalidModel` where the model's sampler returns what is no document.

    They are drawn in blocks that fit in memory, each from a generator of its own.
    """
    at_once = max(1, CELLS_A_CALL // ((max_length + 1) * alphabet.size))
    documents: list[Ints] = []
    seconds = 0.0
    for first in range(0, n, at_once):
        rng = np.random.default_rng([seed, first] if first else seed)
        asked = min(at_once, n - first)
        before = clock()
        drawn = model.sample(asked, max_length, rng, temperature=temperature, top_k=top_k, prompt=prompt)
        seconds += clock() - before
        if len(drawn) != asked:
            raise InvalidModel(f"sample returned {len(drawn)} documents, not {asked}")
        documents += [checked(document, alphabet, max_length, prompt) for document in drawn]
    truncated = sum(len(document) >= max_length for document in documents)
    characters = sum(len(document) + 1 - len(prompt) for document in documents) - truncated
    return Drawn([alphabet.decode(document) for document in documents], seed, truncated, seconds, characters)


def checked(document: object, alphabet: Alphabet, max_length: int, prompt: Sequence[int]) -> Ints:
    """One document as an array of tokens; `InvalidModel` where it is none."""
    tokens = np.asarray(document)
    if tokens.ndim != 1 or len(tokens) > max(max_length, len(prompt)):
        raise InvalidModel(f"sample returned an array of shape {tokens.shape}")
    if len(tokens) and tokens.dtype.kind not in "iu":
        raise InvalidModel(f"sample returned an array of {tokens.dtype}, not of integers")
    if tokens[: len(prompt)].tolist() != list(prompt):
        raise InvalidModel("sample returned a document without its prompt")
    if len(tokens) and not (tokens.min() >= 1 and tokens.max() < alphabet.size):
        raise InvalidModel("sample returned a token that is no character")
    return tokens


# ---- statistics: samples beside real documents


@dataclass(frozen=True, eq=False)
class Reference:
    """What samples are measured against: the data, and real documents that no model was fitted on."""

    kind: Kind
    max_length: int
    known: Mapping[str, Container[str]]  # part -> its documents, or its running text
    real: Sequence[str]
    real_from: str
    compared: Sequence[str]
    compared_with: str
    seed: int

    @cached_property
    def ngrams(self) -> list[Counter[str]]:
        """Of the documents that distances are measured to, n = 1, 2, 3."""
        end = BREAK if self.kind == "lines" else ""
        return [ngrams([text + end for text in self.compared], n, end) for n in ORDERS]

    @cached_property
    def described(self) -> DocumentStatistics:
        """The statistics of the real documents."""
        return describe(self.real, self, self.real_from)


def reference(train: Corpus, dev: Corpus, test: Corpus, seed: int, *, in_sample: bool = False) -> Reference:
    """Real documents of dev, to be compared with test.

    Where one of the two is empty, or both are train, the other is cut into random halves. Running
    text is cut into pieces as long as its samples. Real documents are cut as samples would be.
    """
    limit = longest(train)
    held = {name: texts(corpus) for name, corpus in (("dev", dev), ("test", test))}
    if train.kind == "text":
        held = {name: pieces(found, limit) for name, found in held.items()}
    rng = np.random.default_rng(seed)
    if held["dev"] and held["test"] and not in_sample:
        pool, compared, names = shuffled(held["dev"], rng), held["test"], ("dev", "test")
    else:
        name = "test" if held["test"] else "dev"
        mixed = shuffled(held[name], rng)
        pool, compared = mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]
        names = f"one half of {name}", f"the other half of {name}"
    real = [document[:limit] for document in pool[: how_many(train.kind, limit)]]
    known = known_texts({"train": train, "dev": dev, "test": test})
    return Reference(train.kind, limit, known, real, names[0], compared, names[1], seed)


def known_texts(parts: Mapping[str, Corpus]) -> dict[str, Container[str]]:
    """Part -> what a sample of it is `in`: its documents, or its running text; empty parts are left out."""
    return {
        name: texts(corpus)[0] if corpus.kind == "text" else frozenset(texts(corpus))
        for name, corpus in parts.items()
        if corpus.targets
    }


def marks(text: str, known: Mapping[str, Container[str]]) -> list[str]:
    """Where a sample stands: `in train`, `in dev`, `in test`, or else `new`; nothing where unknown."""
    found = [f"in {part}" for part, documents in known.items() if text in documents]
    return found or (["new"] if known else [])


def texts(corpus: Corpus) -> list[str]:
    """Every document's characters, decoded at once; running text is one document, or none."""
    letters = [BREAK, *corpus.alphabet.characters]
    whole = "".join(map(letters.__getitem__, corpus.tokens[1:].tolist()))
    if corpus.kind == "text":
        return [whole] if whole else []
    return whole.split(BREAK)[:-1]


def pieces(documents: Sequence[str], length: int) -> list[str]:
    """Running text in consecutive pieces of so many characters; a shorter rest is left out."""
    return [
        text[first : first + length]
        for text in documents
        for first in range(0, len(text) - length + 1, length)
    ]


def shuffled(documents: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The documents in random order."""
    return [documents[i] for i in rng.permutation(len(documents))]


def statistics(drawn: Drawn, against: Reference) -> SampleStatistics:
    """Samples beside as many real documents (all samples, where there are no real ones)."""
    found = describe(drawn.texts[: len(against.real) or None], against)
    absent = reasons("drawn", found, against)
    if against.real:
        absent |= reasons("real", against.described, against)
    else:
        absent["real"] = f"{against.real_from} holds no document"
    return SampleStatistics(
        max_length=against.max_length,
        drawn=found,
        real=against.described if against.real else None,
        real_from=against.real_from if against.real else None,
        real_seed=against.seed if against.real else None,
        compared_with=against.compared_with if against.compared else None,
        absent=absent,
    )


def describe(documents: Sequence[str], against: Reference, own: str = "") -> DocumentStatistics:
    """The statistics of some documents; `own` says of which part they are: "dev", "one half of test"."""
    n = len(documents)
    shares = {
        part: sum(document in known for document in documents) / n
        for part, known in against.known.items()
        if part not in own.split()
    }
    found = DocumentStatistics(
        documents=n,
        novel=sum(document not in against.known["train"] for document in documents) / n,
        in_train=shares["train"],
        in_dev=shares.get("dev"),
        in_test=shares.get("test"),
        duplicates=(n - len(set(documents))) / n,
        truncated=sum(len(document) >= against.max_length for document in documents) / n,
        mean_length=sum(map(len, documents)) / n,
    )
    if against.compared:
        found.length_distance = wasserstein(lengths(documents), lengths(against.compared))
    begin = BREAK if against.kind == "lines" else ""
    marked = [text if len(text) >= against.max_length else text + begin for text in documents]
    found.unigram_distance, found.bigram_distance, found.trigram_distance = (
        jensen_shannon(ngrams(marked, order, begin), other)
        for order, other in zip(ORDERS, against.ngrams, strict=True)
    )
    return found


def reasons(side: str, found: DocumentStatistics, against: Reference) -> dict[str, str]:
    """Why fields are null: `drawn.in_dev` -> "dev is empty"."""
    absent = {}
    for name in found.__struct_fields__:
        if getattr(found, name) is not None:
            continue
        if name.startswith("in_"):
            part = name.removeprefix("in_")
            why = f"they are of {part}" if part in against.known else f"{part} is empty"
        elif against.compared:
            why = "the documents are too short"
        else:
            why = "no held-out document to compare with"
        absent[f"{side}.{name}"] = why
    return absent


def lengths(documents: Sequence[str]) -> Ints:
    """Characters of each document (G,), the end not counted."""
    return np.array([len(document) for document in documents], np.int64)


def wasserstein(a: Ints, b: Ints) -> float:
    """1-Wasserstein distance of two samples of whole numbers from 0: the area between their CDFs."""
    size = 1 + int(max(a.max(), b.max()))
    below_a, below_b = (np.cumsum(np.bincount(each, minlength=size)) for each in (a, b))
    return int(np.abs(below_a * len(b) - below_b * len(a)).sum()) / (len(a) * len(b))


def ngrams(documents: Sequence[str], n: int, begin: str) -> Counter[str]:
    """How often n characters stand together; `begin`, the boundary, stands n − 1 times before each."""
    counts: Counter[str] = Counter()
    for document in documents:
        padded = begin * (n - 1) + document
        counts.update(padded[i : i + n] for i in range(len(padded) - n + 1))
    return counts


def jensen_shannon(a: Counter[str], b: Counter[str]) -> float | None:
    """Jensen–Shannon distance of two distributions by their counts, base 2: from 0, equal, to 1, disjoint.

    The root of the divergence, which makes it a metric (Endres & Schindelin 2003). None for no counts.
    """
    if not a or not b:
        return None
    size_a, size_b = a.total(), b.total()
    terms = []
    for gram in a.keys() | b.keys():
        p, q = a[gram] / size_a, b[gram] / size_b
        middle = (p + q) / 2
        terms += [share * math.log2(share / middle) / 2 for share in (p, q) if share]
    return math.sqrt(max(0.0, math.fsum(terms)))
