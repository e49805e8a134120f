"""What compiled transformers make of inputs, some documents at a time; keys and values are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.contract import Config, Ints
from harness_plugins.continued import MOST_KEPT, rows_of
from harness_plugins.microgpt_kernels import fill_logits, log_softmax
from harness_plugins.transformer_room import Net, Work, workspace

Array = NDArray[np.float32]

NO_PIECES = np.zeros(0, np.int64)  # where documents go on by one character
ROWS = 128  # documents that are read at once: their work stays in the cache


@dataclass(frozen=True, eq=False)
class Kept:
    """Inputs (B, T), and which rows of `TransformerReader.past` hold their keys and values (B, T)."""

    inputs: Ints
    where: Ints


class TransformerReader:
    """A network, room for its work, and what the last call for last rows has left."""

    def __init__(self, net: Net, v: int, config: Config) -> None:
        self.net, self.v, self.config = net, v, config
        self.width = np.float32(config["embedding"])
        self.work: Work | None = None
        self.kept: Kept | None = None
        layers, c = net.qkv.shape[:2]
        self.past, self.used = np.empty((layers, 0, 2 * c), np.float32), 0  # keys and values, rows in use

    def rows(self, inputs: Ints) -> Array:
        """(B, T ≤ block) -> log-probabilities (B, T, V)."""
        b, t = inputs.shape
        work = self.room(b, t)
        found = np.empty((b, t, self.v), np.float32)
        for first in range(0, b, ROWS):
            some = inputs[first : first + ROWS]
            self.read(some, work)
            log_softmax(found[first : first + ROWS].reshape(-1, self.v), work.logits)
        return found

    def last(self, inputs: Ints) -> Array:
        """(B, T ≤ block) -> log-probabilities after the last of them (B, V)."""
        b, t = inputs.shape
        work = self.room(b, t)
        kept, self.kept = self.kept, None  # whatever happens, `past` is another from here on
        at = None if kept is None else rows_of(kept.inputs, inputs[:, :-1])  # (B,)
        if kept is None or at is None:
            where = self.append(b * t, 0).reshape(b, t)
        else:
            where = np.column_stack([kept.where[at], self.append(b, self.used)])
        found, c = np.empty((b, self.v), np.float32), self.net.characters.shape[1]
        for first in range(0, b, ROWS):
            some = slice(first, first + ROWS)
            n = len(inputs[some])
            if at is None:
                self.read(inputs[some], work)
                self.past[:, where[some].ravel()] = work.qkv[:, : n * t, c:]
                work.logits[:n] = work.logits[t - 1 : n * t : t]
            else:
                here = work._replace(past=self.past, where=where[some])
                fill_logits(self.net, np.array(inputs[some, -1]), NO_PIECES, NO_PIECES, self.width, here)
            log_softmax(found[some], work.logits)
        self.kept = Kept(np.array(inputs), where) if self.past.size <= MOST_KEPT else None
        return found

    def append(self, rows: int, used: int) -> Ints:
        """Room in `past` for so many rows after those in use: their indices (rows,)."""
        layers, have, width = self.past.shape
        self.used = used + rows
        if self.used > have:
            grown = np.empty((layers, 2 * self.used, width), np.float32)
            grown[:, :used] = self.past[:, :used]
            self.past = grown
        return np.arange(used, self.used)

    def read(self, inputs: Ints, work: Work) -> None:
        """The logits of all inputs (n, T) into `work`."""
        n, t = inputs.shape
        start = np.arange(n) * t
        fill_logits(self.net, np.array(inputs).ravel(), start, start + t, self.width, work)

    def room(self, documents: int, longest: int) -> Work:
        """Room for so many documents, `ROWS` at a time; kept for the next call."""
        documents = min(documents, ROWS)
        pairs = documents * longest * (longest + 1) // 2
        work = self.work
        if work is None or len(work.token) < documents * longest or len(work.product) < pairs:
            work = self.work = workspace(self.v, self.config, documents, longest)
        return work
