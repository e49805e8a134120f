"""Text as integers: the alphabet, the corpus and its sufficient statistics.

Character 0 is the boundary: the start and the end of every document. V counts it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

Kind = Literal["lines", "text"]
Ints = NDArray[np.int64]

BOUNDARY = 0
AT_ONCE = 1 << 20  # characters of a text that are encoded at a time: each takes about 20 bytes


def code_points(text: str) -> NDArray[np.uint32]:
    """The code point of each character (len(text),)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


@dataclass(frozen=True)
class Alphabet:
    """The characters of a dataset in order; character i of the text is token i + 1."""

    characters: str

    def __post_init__(self) -> None:
        if len(set(self.characters)) != len(self.characters):
            raise DataError("the alphabet names a character twice")
        if len(self.characters) > 65_534:
            raise DataError(f"{len(self.characters)} characters; a corpus holds at most 65,534")

    @property
    def size(self) -> int:
        """V: the characters and the boundary."""
        return len(self.characters) + 1

    @cached_property
    def _tokens(self) -> NDArray[np.int32]:
        """The token of each code point up to the highest; −1 of those that are not in the alphabet."""
        points = code_points(self.characters)
        tokens = np.full(int(points.max(initial=0)) + 1, -1, np.int32)
        tokens[points] = np.arange(1, self.size)
        return tokens

    def encode(self, text: str) -> Ints:
        """Tokens (len(text),) of a text without boundaries; `DataError` names a foreign character."""
        return self._encode(text, np.int64)

    def _encode(self, text: str, dtype: type[np.integer[Any]], closing: str | None = None) -> NDArray[Any]:
        """Tokens (len(text),); `closing` is the character that stands for the boundary, if any."""
        known = self._tokens
        if closing is not None:
            known = np.append(known, np.full(max(0, ord(closing) + 1 - len(known)), -1, np.int32))
            known[ord(closing)] = BOUNDARY
        result = np.empty(len(text), dtype)
        for first in range(0, len(text), AT_ONCE):
            points = code_points(text[first : first + AT_ONCE])
            tokens = known[np.minimum(points, len(known) - 1)]
            foreign = (tokens < 0) | (points >= len(known))
            if foreign.any():
                character = chr(points[foreign.argmax()])
                raise DataError(f"character {character!a} is not in the alphabet {self.characters!a}")
            result[first : first + AT_ONCE] = tokens
        return result

    def decode(self, tokens: Sequence[int] | NDArray[np.generic]) -> str:
        """The text of a sequence of tokens; boundaries are left out."""
        return "".join(self.characters[int(t) - 1] for t in tokens if t != BOUNDARY)


class Batch(NamedTuple):
    """Documents side by side, right-padded with 0."""

    inputs: Ints  # (B, T)
    targets: Ints  # (B, T)
    mask: NDArray[np.bool_]  # (B, T): where there is a target


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents as one array.

    `tokens[0]` is 0. Line data: every document ends in 0. Running text: one document, no closing 0.
    Document i has inputs `tokens[o[i]:o[i+1]]` and targets `tokens[o[i]+1:o[i+1]+1]`, o = `offsets`.
    """

    tokens: NDArray[np.uint8] | NDArray[np.uint16]  # (targets + 1,)
    offsets: Ints  # (G + 1,)
    alphabet: Alphabet
    kind: Kind = "lines"
    _cache: dict[tuple[str, int], tuple[NDArray[np.generic], ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def from_documents(cls, documents: Sequence[str], alphabet: Alphabet, kind: Kind = "lines") -> Corpus:
        """Encode documents; running text takes at most one."""
        if kind == "text" and len(documents) > 1:
            raise DataError("running text is one document")
        if kind == "lines" and any("\n" in text for text in (alphabet.characters, *documents)):
            raise DataError("a line cannot hold a line break")
        closing = "\n" if kind == "lines" else ""
        text = "".join(document + closing for document in documents)
        dtype = np.uint8 if alphabet.size <= 256 else np.uint16
        body = alphabet._encode(text, dtype, closing or None)
        lengths = [len(document) + len(closing) for document in documents]
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        tokens = np.concatenate([np.zeros(1, dtype), body])
        return cls(tokens, offsets, alphabet, kind)

    @classmethod
    def from_lines(cls, documents: Sequence[str], alphabet: Alphabet) -> Corpus:
        """Documents that were drawn or made up, as line data: they may hold line breaks where text does."""
        tokens = [np.append(alphabet.encode(document), BOUNDARY) for document in documents]
        offsets = np.cumsum([0, *(len(each) for each in tokens)], dtype=np.int64)
        whole = np.concatenate([np.zeros(1, np.int64), *tokens])
        kept = whole.astype(np.uint8) if alphabet.size <= 256 else whole.astype(np.uint16)
        return cls(kept, offsets, alphabet)

    def __len__(self) -> int:
        """G, the number of documents."""
        return len(self.offsets) - 1

    @property
    def targets(self) -> int:
        """The number of characters to predict, ends included."""
        return len(self.tokens) - 1

    @property
    def lengths(self) -> Ints:
        """Targets of each document (G,)."""
        return np.diff(self.offsets)

    def text(self, document: int) -> str:
        """The characters of one document."""
        return self.alphabet.decode(self.tokens[self.offsets[document] + 1 : self.offsets[document + 1] + 1])

    def take(self, documents: Ints) -> Corpus:
        """The corpus of some documents, in the order given (line data)."""
        pieces = [self.tokens[self.offsets[d] + 1 : self.offsets[d + 1] + 1] for d in documents]
        offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])])
        tokens = np.concatenate([self.tokens[:1], *pieces])
        return Corpus(tokens, offsets.astype(np.int64), self.alphabet, self.kind)

    # ---- windows: what a model with a finite context sees

    def windows(self, context: int) -> tuple[Ints, Ints]:
        """Every target with the `context` characters before it: (N, context) and (N,) int64.

        Oldest first, left-padded with 0 where the document is younger than the context.
        """
        here = np.arange(self.targets)
        start = np.repeat(self.offsets[:-1], self.lengths)  # (N,) of each target's document
        windows = np.zeros((self.targets, context), np.int64)  # (N, context)
        for back in range(min(context, self.targets)):
            inside = here - back >= start
            windows[inside, context - 1 - back] = self.tokens[here[inside] - back]
        return windows, self.tokens[1:].astype(np.int64)

    def unique_windows(self, context: int) -> tuple[Ints, Ints]:
        """Distinct contexts (U, context), sorted, and the context of each target, inverse (N,)."""
        if ("unique", context) not in self._cache:
            windows, _ = self.windows(context)
            self._cache["unique", context] = unique_rows(windows, self.alphabet.size)
        contexts, inverse = self._cache["unique", context]
        return contexts.astype(np.int64), inverse.astype(np.int64)

    def weighted_windows(self, context: int) -> tuple[Ints, Ints, Ints, Ints]:
        """Distinct contexts and the counts of what follows them, exact and sparse.

        contexts (U, context); and for each of P pairs rows (P,), which context, next (P,), the
        character after it, and count (P,), how often.
        """
        contexts, inverse = self.unique_windows(context)
        if ("weighted", context) not in self._cache:
            v = self.alphabet.size
            keys, count = np.unique(inverse * v + self.tokens[1:], return_counts=True)
            self._cache["weighted", context] = (keys // v, keys % v, count.astype(np.int64))
        rows, following, count = self._cache["weighted", context]
        return (
            contexts,
            rows.astype(np.int64),
            following.astype(np.int64),
            count.astype(np.int64),
        )

    # ---- batches: whole documents

    @cached_property
    def by_length(self) -> Ints:
        """Document indices (G,), shortest first, ties in document order: the order of `padded`."""
        return np.argsort(self.lengths, kind="stable")

    def padded(self, batch: int) -> Iterator[Batch]:
        """All documents, `batch` at a time in the order of `by_length`, never truncated."""
        for first in range(0, len(self), batch):
            yield self.batch(self.by_length[first : first + batch])

    def batch(self, documents: Ints) -> Batch:
        """Some documents side by side, (B, T), right-padded with 0."""
        lengths = self.lengths[documents]
        column = np.arange(int(lengths.max(initial=1)))  # (T,)
        mask = column < lengths[:, None]  # (B, T)
        where = np.where(mask, self.offsets[documents][:, None] + column, 0)  # (B, T)
        inputs = np.where(mask, self.tokens[where], BOUNDARY).astype(np.int64)
        targets = np.where(mask, self.tokens[where + mask], BOUNDARY).astype(np.int64)
        return Batch(inputs, targets, mask)


def unique_rows(rows: Ints, base: int) -> tuple[Ints, Ints]:
    """Distinct rows (U, n) of an array (N, n) with values in [0, base), and the inverse (N,).

    Rows are packed into integers of 63 bits, as many columns at a time as fit.
    """
    n, width = rows.shape
    per_key = max(1, int(62 // np.log2(max(base, 2))))
    inverse = np.zeros(n, np.int64)
    bound = 1  # `inverse` < bound
    first = np.zeros(min(n, 1), np.int64)
    column = 0
    while column < width:
        room = max(1, int((62 - np.log2(bound)) // np.log2(max(base, 2))))
        take = min(room, per_key, width - column)
        key = inverse
        for offset in range(take):
            key = key * base + rows[:, column + offset]
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        bound = max(1, len(first))
        column += take
    return rows[first], inverse.astype(np.int64).reshape(n)
