"""N-gram models compiled by numba: the counts of `Ngram`, and rows from an automaton or a tree."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Corpus, Trial
from harness.contract import Floats, Ints
from harness_plugins.ngram import Ngram
from harness_plugins.ngram_counts import Counts, View
from harness_plugins.ngram_kernels import count_packed, packed_bits
from harness_plugins.ngram_states import States, build, fits, score, walk
from harness_plugins.ngram_tree import Tree, grow, look_up

PIECE = 1 << 16  # targets whose rows are in memory at a time


class NgramNumba(Ngram):
    """As `Ngram`, number for number.

    Rows are copied from the tables of an automaton. Where contexts are by classes too, or too many for
    tables, they are put together from a tree; where n-grams do not fit into 63 bits, `Ngram` counts.
    """

    _read: tuple[dict[str, NDArray[Any]], States | list[tuple[float, Tree]]] | None = None

    def warm_up(self, train: Corpus, trial: Trial) -> None:
        """Fit, and read a row in each way."""
        super().warm_up(train, trial)
        self.next_log_probs(np.zeros((1, 1), np.int64))
        self.target_log_probs(train)

    def count(self, part: Corpus, view: View) -> list[Counts]:
        """The counts of every level."""
        bits = packed_bits(part.alphabet.size, view.depth)
        if view.classes is not None or bits is None:
            return super().count(part, view)
        return list(count_packed(part, view.depth, bits))

    def readable(self) -> States | list[tuple[float, Tree]]:
        """What rows are read from, made once of `params`: an automaton, or weighted trees."""
        if self._read is None or self._read[0] is not self.params:
            views, v = list(self.views()), self.vocab_size
            if len(views) == 1 and fits(views[0][1], v):
                self._read = self.params, build(views[0][1], v)
            else:
                weights = self.params["weights"].tolist()
                trees = [grow(levels, view, v) for view, levels in views]
                self._read = self.params, list(zip(weights, trees, strict=True))
        return self._read[1]

    def rows(self, inputs: Ints, first: int) -> Floats:
        """Rows (B, T − first, V) after inputs[:, first:]."""
        source, inputs = self.readable(), np.array(inputs, np.int64)
        if isinstance(source, States):
            states = np.empty(inputs.shape, np.int32)
            walk(source.next, source.start, inputs, states)
            return source.rows.take(states[:, first:], axis=0)
        p = np.zeros((inputs.shape[0], inputs.shape[1] - first, self.vocab_size))
        for weight, tree in source:
            look_up(tree, weight, inputs, first, p)
        with np.errstate(divide="ignore"):
            return np.log(p, out=p)

    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        return self.rows(inputs, 0)

    def next_log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, V) after the last characters."""
        return self.window_log_probs(inputs[:, -max(1, self.context) :])

    def window_log_probs(self, windows: Ints) -> Floats:
        """(N, up to context) -> (N, V); what lies left of them is the start."""
        return self.rows(windows, windows.shape[1] - 1)[:, 0]

    def target_log_probs(self, corpus: Corpus) -> Floats:
        """Log-probabilities of a text's targets (N,) without the rows that they stand in."""
        source = self.readable()
        found = np.empty(corpus.targets)
        if isinstance(source, States):
            score(source.rows, source.next, source.start, self.context, corpus.tokens, found)
            return found
        windows, targets = corpus.windows(max(1, self.context))
        for first in range(0, len(targets), PIECE):
            piece = targets[first : first + PIECE]
            rows = self.window_log_probs(windows[first : first + PIECE])
            found[first : first + PIECE] = rows[np.arange(len(piece)), piece]
        return found
