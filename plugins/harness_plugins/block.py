"""`BlockModel`: networks that know a number of positions read longer inputs piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from harness import Corpus
from harness.contract import Floats, Ints
from harness_plugins.document_batches import Nodes, Rows, documents
from harness_plugins.pieces import all_pieces, pieces_of, start_of
from harness_plugins.prefix_tree import trees_of
from harness_plugins.sequence import SequenceModel

SHORT = 32  # characters of the longest document for which nodes of a tree attend to each other


class BlockModel(SequenceModel):
    """A network that knows `block` positions: longer inputs are read in pieces that overlap by half.

    How is said in `pieces`.
    """

    def rows(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V), piece by piece."""
        found = []
        for start, fresh, end in pieces_of(inputs.shape[1], self.config["block"]):
            found.append(super().rows(inputs[:, start:end])[:, fresh - start :])
        return np.concatenate(found, axis=1)

    def next_log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, V)."""
        return super().next_log_probs(inputs[:, start_of(inputs.shape[1], self.config["block"]) :])

    def batches(self, train: Corpus) -> Iterator[tuple[Any, float]]:
        """As `SequenceModel` where documents are short; others are cut into the pieces they are read in.

        (Here a tree costs as much as all pairs of its nodes.)
        """
        longest = int(train.lengths.max(initial=0))
        block = self.config["block"]
        short = longest <= (block if self.config["batches"] == "random" else min(block, SHORT))
        if train.kind == "text" or short:
            if longest <= SHORT and self.may_share(train):
                drawn = documents(len(train), self.config["batch"], self.rng)
                yield from ((batch, batch.targets) for batch in map(Nodes, trees_of(train, drawn)))
            yield from super().batches(train)
            return
        start, fresh, end = all_pieces(train, block)
        while True:
            chosen = self.rng.integers(0, len(start), self.config["batch"])
            column = np.arange(int((end - start)[chosen].max()))  # (T,)
            at = start[chosen, None] + column  # (B, T)
            inside = at < end[chosen, None]
            at = np.where(inside, at, 0)
            # the next document's start closes this one: its first input is the boundary all the same
            inputs = np.where(inside, train.tokens[at], 0).astype(np.int64)
            targets = np.where(inside, train.tokens[at + 1], 0).astype(np.int64)
            batch = Rows(inputs, targets, inside & (at >= fresh[chosen, None]))
            yield batch, batch.targets

    def longest(self, train: Corpus) -> int:
        """`block`: longer documents are cut."""
        return min(super().longest(train), int(self.config["block"]))

    def cut(self, train: Corpus) -> bool:
        """As in `batches`: where nodes of a tree would be too many."""
        return int(train.lengths.max(initial=0)) > min(int(self.config["block"]), SHORT)

    def may_share(self, train: Corpus) -> bool:
        """Whether a random batch may be read as a tree: loss and gradients are those of its padded rows.

        Of makemore's 32 names it has 174 nodes in place of 512 positions. Dropout would fall on a prefix, not
        on a document, which is another law; one document shares nothing.
        """
        config = self.config
        still = config["dropout"] == 0 == config.get("attention_dropout", 0)
        return train.kind == "lines" and config["batches"] == "random" and still and config["batch"] > 1
