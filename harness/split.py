"""Documents -> train, dev and test: pure functions, never in place.

grouped:seed=0,fractions=0.8/0.1/0.1   by hash of the content: equal documents on one side
lecture                                random.seed(42), one shuffle, cut at int(.8n), int(.9n)
makemore                               torch.manual_seed(3407), randperm, the last 1,000 are test
contiguous:fractions=0.8,0.1,0.1       running text, by characters
all                                    train = dev = test: in-sample, no ranks
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from harness.corpus import Alphabet, Corpus, Ints, Kind
from harness.errors import DataError, UnknownName, UsageError

METHODS = ("grouped", "lecture", "makemore", "contiguous", "all")
DEFAULT_FRACTIONS = (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class Method:
    """A parsed `--split`."""

    name: str
    seed: int = 0
    fractions: tuple[float, float, float] = DEFAULT_FRACTIONS

    def __str__(self) -> str:
        cut = ",".join(repr(fraction).removesuffix(".0") for fraction in self.fractions)
        return {
            "grouped": f"grouped:seed={self.seed},fractions={cut}",
            "contiguous": f"contiguous:fractions={cut}",
        }.get(self.name, self.name)


@dataclass(frozen=True, eq=False)
class Part:
    """One part: its corpus, what unit each document belongs to, and which stand in train too."""

    corpus: Corpus
    units: Ints = field(repr=False)  # (G,) equal documents have one number
    seen: NDArray[np.bool_] = field(repr=False)  # (G,) stands in train
    absent: str | None = None  # why the part is empty


@dataclass(frozen=True, eq=False)
class Split:
    """The three parts, and the fingerprint of what is in them."""

    method: str
    train: Corpus
    dev: Part
    test: Part
    fingerprint: str
    in_sample: bool = False
    dev_from_train: bool = False  # makemore, for a model that needs dev

    def overlap(self) -> dict[str, int]:
        """Documents of dev and test that stand in train."""
        return {"dev": int(self.dev.seen.sum()), "test": int(self.test.seen.sum())}


def parse(text: str) -> Method:
    """`grouped:seed=1,fractions=0.9,0.05,0.05` -> Method; a mistake is a `UsageError`."""
    name, _, options = text.partition(":")
    if name not in METHODS:
        raise UnknownName("split", name, METHODS)
    legal = {"grouped": ("seed", "fractions"), "contiguous": ("fractions",)}.get(name, ())
    values: dict[str, list[str]] = {}
    key = ""
    for piece in options.split(",") if options else []:
        before, equals, after = piece.partition("=")
        if equals:
            key = before.strip()
            if key not in legal:
                raise UnknownName("option", key, legal, where=f" of split {name}")
            values[key] = after.replace("/", ",").split(",")
        elif key:
            values[key].append(piece)
        else:
            raise UsageError(f"split {name}: {piece!r} is not KEY=VALUE")
    method = Method(name)
    try:
        if "seed" in values:
            method = replace(method, seed=int(",".join(values["seed"])))
        if "fractions" in values:
            train, dev, test = (float(value) for value in values["fractions"])
            method = replace(method, fractions=(train, dev, test))
    except ValueError:
        raise UsageError(f"split {text!r}: seed is an integer, fractions are three numbers") from None
    if min(method.fractions) < 0 or not 0 < sum(method.fractions) <= 1 + 1e-9:
        raise UsageError(f"split {text!r}: fractions must not be negative and sum to at most 1")
    if method.fractions[0] <= 0:
        raise UsageError(f"split {text!r}: nothing to train on")
    return method


def divide(
    documents: Sequence[str], alphabet: Alphabet, kind: Kind, method: Method, *, uses_dev: bool = False
) -> Split:
    """Cut the documents. `uses_dev`: a model that needs dev where the method has none (makemore)."""
    if kind == "text" and method.name in ("lecture", "makemore", "grouped"):
        raise UsageError(f"split {method.name} needs lines; running text: contiguous or all")
    if kind == "lines" and method.name == "contiguous":
        raise UsageError("split contiguous needs running text (--as text); lines: grouped")
    train: Sequence[str]
    dev: Sequence[str]
    test: Sequence[str]
    if kind == "text":
        train, dev, test = _contiguous(documents[0], method)
    else:
        indices = _choose(documents, method, uses_dev)
        train, dev, test = ([documents[i] for i in part] for part in indices)
    name, dev_from_train = str(method), uses_dev and method.name == "makemore"
    # a model that needs dev is compared on the same words, so the fingerprint is the same
    pieces = ([*train, *dev], [], test) if dev_from_train else (train, dev, test)
    if not train or not any(train):
        raise DataError(f"split {name}: no training document; use a larger train fraction or more data")
    numbers: dict[str, int] = {}
    in_train = set(train)
    no_dev = (
        "the makemore split has no dev part" if method.name == "makemore" else f"split {name} leaves it empty"
    )
    parts = []
    for piece, reason in ((dev, no_dev), (test, f"split {name} leaves it empty")):
        units = [numbers.setdefault(document, len(numbers)) for document in piece]
        parts.append(
            Part(
                Corpus.from_documents(piece, alphabet, kind),
                np.asarray(units, np.int64),
                np.asarray([document in in_train for document in piece], bool),
                None if piece else reason,
            )
        )
    return Split(
        name,
        Corpus.from_documents(train, alphabet, kind),
        parts[0],
        parts[1],
        fingerprint(name, alphabet, kind, pieces),
        in_sample=method.name == "all",
        dev_from_train=dev_from_train,
    )


def without_test(parts: Split, reason: str) -> Split:
    """The same parts with an empty test: what nobody holds, nobody can look at."""
    nothing = Corpus.from_documents([], parts.train.alphabet, parts.train.kind)
    empty = Part(nothing, np.zeros(0, np.int64), np.zeros(0, bool), reason)
    return replace(parts, test=empty)


def fingerprint(name: str, alphabet: Alphabet, kind: Kind, pieces: Sequence[Sequence[str]]) -> str:
    """SHA-256 over method, kind, alphabet and every document of every part in order."""
    digest = hashlib.sha256(f"{name}\n{kind}\n{alphabet.size}\n".encode())
    digest.update(alphabet.characters.encode("utf-8", "surrogatepass"))
    for piece in pieces:
        digest.update(f"\n{len(piece)}\n".encode())
        for document in piece:
            text = document.encode("utf-8", "surrogatepass")
            digest.update(len(text).to_bytes(8, "little") + text)
    return digest.hexdigest()


def _choose(
    documents: Sequence[str], method: Method, uses_dev: bool
) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """Indices of train, dev and test of line data."""
    n = len(documents)
    if method.name == "all":
        return range(n), range(n), range(n)
    if method.name == "lecture":
        order = list(range(n))
        random.Random(42).shuffle(order)
        return order[: int(0.8 * n)], order[int(0.8 * n) : int(0.9 * n)], order[int(0.9 * n) :]
    if method.name == "makemore":
        order = torch_randperm(n, 3407)
        held = min(1000, int(n * 0.1))  # as makemore.py cuts short lists
        train, test = order[: n - held], order[n - held :]
        if uses_dev:
            return train[: len(train) - held], train[len(train) - held :], test
        return train, [], test
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    upto_train, upto_dev, upto_test = np.cumsum(method.fractions)
    for index, document in enumerate(documents):
        place = hash_share(document, method.seed)
        if place < upto_train:
            parts[0].append(index)
        elif place < upto_dev:
            parts[1].append(index)
        elif place < upto_test or upto_test > 1 - 1e-9:
            parts[2].append(index)
    return parts


def hash_share(document: str, seed: int) -> float:
    """A number in [0, 1) that depends on the text and the seed alone."""
    text = f"{seed}\0{document}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") / 2**64


def _contiguous(text: str, method: Method) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """The pieces of running text, each a list of at most one document."""
    if method.name == "all":
        return [text], [text], [text]
    ends = [min(len(text), int(round(end * len(text), 6))) for end in np.cumsum(method.fractions)]
    cuts = (text[: ends[0]], text[ends[0] : ends[1]], text[ends[1] : ends[2]])
    train, dev, test = ([piece] if piece else [] for piece in cuts)
    return train, dev, test


def torch_randperm(n: int, seed: int) -> list[int]:
    """`torch.randperm(n)` under `torch.manual_seed(seed)` on the CPU, without torch.

    torch draws 32-bit words from MT19937 and runs the Fisher–Yates shuffle front to back.
    """
    state = np.random.MT19937()
    state._legacy_seeding(seed)
    draws = state.random_raw(max(n - 1, 1))
    order = list(range(n))
    for i in range(n - 1):
        j = i + int(draws[i]) % (n - i)
        order[i], order[j] = order[j], order[i]
    return order
