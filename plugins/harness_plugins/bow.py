"""The bag of words of makemore.py: the mean of what was seen so far, then a small network.

Each position's embedding (character and position) is added to the mean of all up to it; a tanh layer
beside a residual path and a linear head follow.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from harness.contract import Config
from harness_plugins.block import BlockModel
from harness_plugins.prefix_tree import PrefixTree
from harness_plugins.sequence import Dropout, Network, State, Tensor


class BagOfWords(Network):
    """Embeddings, causal mean, tanh layer, head."""

    def __init__(self, v: int, config: Config) -> None:
        super().__init__()
        e, hidden = config["embedding"], config["hidden"]
        self.wte = nn.Embedding(v, e)
        self.wpe = nn.Embedding(config["block"], e)
        self.up = nn.Linear(e, hidden)
        self.down = nn.Linear(hidden, e)
        self.dropout = Dropout(config["dropout"])
        self.head = nn.Linear(e, v)

    def decide(self, x: Tensor, mean: Tensor) -> Tensor:
        """Embeddings and means (…, E) -> logits (…, V)."""
        x = x + mean
        logits: Tensor = self.head(self.dropout(x + self.down(torch.tanh(self.up(x)))))
        return logits

    def forward(
        self, tokens: Tensor, state: State | None = None, *, last: bool = False
    ) -> tuple[Tensor, State]:
        """As `Network`; the state is the sum of the embeddings (B, E) and their number (B,)."""
        start = 0 if state is None else int(state[1][0])
        at = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        x = self.wte(tokens) + self.wpe(at)  # (B, T, E)
        total = x.cumsum(dim=1) + (0 if state is None else state[0][:, None])
        after = (total[:, -1], torch.full((len(tokens),), start + tokens.shape[1], device=tokens.device))
        mean = total / (at + 1)[:, None]
        return self.decide(x[:, -1:], mean[:, -1:]) if last else self.decide(x, mean), after

    def tree(self, tree: PrefixTree) -> Tensor:
        """Logits (N, V) from the means along each path."""
        device, kind = self.head.weight.device, self.head.weight.dtype
        prefixes = torch.from_numpy(tree.prefixes().astype(np.float32)).to(device, kind)  # (N, N)
        level = torch.from_numpy(tree.level).to(device)
        x = self.wte(torch.from_numpy(tree.tokens).to(device)) + self.wpe(level)  # (N, E)
        return self.decide(x, prefixes @ x / (level + 1)[:, None])


class Bow(BlockModel):
    """The bag of words as a model."""

    def build(self, vocab_size: int, config: Config) -> Network:
        """The network with its initial weights."""
        return BagOfWords(vocab_size, config)
