"""Canaries: documents that stand only in files which a fit has no business to read.

Decoys are drawn like them, of the same lengths, and stand nowhere. A model that knows neither scores
both alike; whoever has read the files prefers the canaries, which a rank test shows (Mann & Whitney 1947).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.contract import Ints
from harness.corpus import Alphabet, Corpus

DOCUMENTS = 30  # of each kind: were all canaries before all decoys, p would be 1e-11
BITS, SPREAD = 48, 8  # a document is long enough to be met nowhere by accident, and up to 7 longer
REPEATS = 20  # of each canary in a file, so that a model that counts them is moved
NAMES = ("names.txt", "makemore-names.txt", "tinyshakespeare.txt", "test.txt", "dev.txt", "data.csv")
MOST_BYTES = 2**26  # of a file that is searched
PIECES, PIECE = 20, 60  # of test text: documents, or so many characters each


@dataclass(frozen=True)
class Canaries:
    """Documents that are planted, and as many that are not."""

    planted: list[str]
    decoys: list[str]

    @classmethod
    def drawn(cls, alphabet: Alphabet, rng: np.random.Generator) -> Canaries:
        """Random characters; one pair has one length."""
        pairs = []
        least = math.ceil(BITS / math.log2(max(2, alphabet.size - 1)))
        for length in rng.integers(least, least + SPREAD, DOCUMENTS).tolist():
            tokens = rng.integers(1, alphabet.size, (2, length))
            pairs.append([alphabet.decode(row) for row in tokens])
        return cls([pair[0] for pair in pairs], [pair[1] for pair in pairs])

    def plant(self, folders: Iterable[Path], dataset: str) -> None:
        """Files of canaries, a document a line, under every name that one might look for."""
        own = "".join(c if c.isalnum() or c in "-_" else "-" for c in dataset) + ".txt"
        content = "".join(f"{document}\n" for document in self.planted * REPEATS)
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            for name in {*NAMES, own}:
                (folder / name).write_text(content, encoding="utf-8", errors="surrogatepass")


def tell_tales(test: Corpus, train: Corpus) -> list[str]:
    """Lines of test that do not stand in train (of running text, pieces): a file with them all holds test."""
    if test.kind == "text":
        whole = test.alphabet.decode(test.tokens)
        starts = np.linspace(0, max(0, len(whole) - PIECE), PIECES).astype(int).tolist()
        return [whole[start : start + PIECE] for start in starts] if len(whole) >= PIECE * PIECES else []
    known = {train.text(index) for index in range(len(train))}
    found = [text for index in range(len(test)) if (text := test.text(index)) not in known]
    return [f"\n{text}\n" for text in found[:PIECES]] if len(found) >= PIECES else []


def holding(paths: Iterable[str], planted: Path, canaries: Canaries, test: list[str]) -> str | None:
    """The first of some files that holds a canary, or those that hold all these pieces of test; in words.

    planted: the folder of canaries, from which their paths are told. Data may be many files, a language
    each: the pieces are looked for in all of them together.
    """
    left = set(test)
    holders = []
    for path in sorted(paths):
        file = Path(path)
        try:
            if not file.is_file() or file.stat().st_size > MOST_BYTES:
                continue
            content = b"\n" + file.read_bytes().replace(b"\r", b"") + b"\n"
        except OSError:
            continue  # it has gone, or nobody may read it
        if any(encoded(f"\n{document}\n") in content for document in canaries.planted):
            return f"{os.path.relpath(path, planted)}, where canaries stand"
        if here := {piece for piece in left if encoded(piece) in content}:
            left -= here
            holders.append(path)
    if left or not test:
        return None
    if len(holders) == 1:
        return f"{holders[0]}, which holds the test documents"
    return f"{len(holders)} files that together hold the test documents: {holders[0]} and others"


def encoded(document: str) -> bytes:
    """A document as it stands in a file."""
    return document.encode("utf-8", "surrogatepass")


def preferred(planted: NDArray[np.float64], decoys: NDArray[np.float64]) -> float:
    """One-sided p that canaries have no smaller scores −ln p than decoys, by ranks, ties shared.

    Mann & Whitney's U by its normal approximation, its variance reduced by ties.
    """
    both = np.concatenate([planted, decoys])
    ranks, ties = shared_ranks(both)
    n, m = len(planted), len(decoys)
    u = float(ranks[:n].sum()) - n * (n + 1) / 2  # small where canaries come first
    total = n + m
    tied = float((ties**3 - ties).sum()) / (total * (total - 1))
    variance = n * m / 12 * (total + 1 - tied)
    if variance <= 0:
        return 1.0  # all scores are equal
    return math.erfc(-(u - n * m / 2) / math.sqrt(2 * variance)) / 2


def shared_ranks(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], Ints]:
    """Ranks from 1 (N,), equal values sharing the mean of theirs, and how many values are equal (U,)."""
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)  # (U,)
    return (last - (count - 1) / 2)[which], count.astype(np.int64)
