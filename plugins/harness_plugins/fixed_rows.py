"""Batches of documents that all have one shape, gathered on the device from the numbers of their pieces."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch

from harness import Corpus
from harness.contract import Ints
from harness_plugins.pieces import all_pieces

Tensor = torch.Tensor

AHEAD = 100  # batches in a table


class Pieces:
    """P pieces of the training text, of at most T characters each, and an empty one, number P.

    A piece is a document, or a part of a longer one, or a window of running text, which has one a character.
    """

    def __init__(self, train: Corpus, most: int, device: str) -> None:
        """most: characters of a piece."""
        self.text = train.kind == "text"
        self.width = most
        self.tokens = torch.from_numpy(train.tokens.astype(np.int64)).to(device)  # (N + 1,)
        self.column = torch.arange(most, device=device)  # (T,)
        if not self.text:
            bounds = np.pad(all_pieces(train, most), ((0, 0), (0, 1)))  # (3, P + 1)
            self.counts = bounds[2] - bounds[1]  # (P + 1,) targets
            self.width = int((bounds[2] - bounds[0]).max())
            self.column = self.column[: self.width]
            self.bounds = torch.from_numpy(bounds).to(device)

    def rows(self, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pieces (B,) -> inputs, targets (B, T), and where a target counts."""
        start = chosen if self.text else self.bounds[0][chosen]
        at = start[:, None] + self.column  # (B, T)
        if self.text:
            return self.tokens[at], self.tokens[at + 1], torch.ones_like(at, dtype=torch.bool)
        fresh, end = self.bounds[1][chosen, None], self.bounds[2][chosen, None]
        inside = at < end
        at = torch.where(inside, at, 0)
        # the next document's start closes this one: its first input is the boundary all the same
        inputs, targets = torch.where(inside, self.tokens[at], 0), torch.where(inside, self.tokens[at + 1], 0)
        return inputs, targets, inside & (at >= fresh)

    def tables(self, batches: Iterator[Ints], size: int) -> Iterator[tuple[Ints, Ints]]:
        """Batches of at most `size` pieces in tables (S, size), with the targets of each batch (S,)."""
        while True:
            some = list(islice(batches, AHEAD))
            if self.text:
                yield np.stack(some), np.full(len(some), size * self.width)
                continue
            table = np.full((len(some), size), len(self.counts) - 1)
            for row, batch in zip(table, some, strict=True):
                row[: len(batch)] = batch
            yield table, self.counts[table].sum(axis=1)
