"""Recurrent networks: the simple one (Elman 1990; Mikolov et al. 2010), GRU, and LSTM.

`cell=standard` is torch's parametrisation, trained over trees of prefixes. `cell=makemore` is that of
makemore.py: gates on the concatenation of input and state, a GRU whose reset gate comes before the
product, and a state before the first character that is learned.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from harness.contract import Config
from harness_plugins.prefix_tree import PrefixTree
from harness_plugins.recurrent_tree import CELLS, Levels, TreeRecursion
from harness_plugins.sequence import Dropout, Network, SequenceModel, State, Tensor


class Recurrent(Network):
    """Embedding, one or more recurrent layers, dropout, a linear head."""

    def __init__(self, kind: str, v: int, config: Config) -> None:
        super().__init__()
        hidden, layers = config["hidden"], config["layers"]
        self.kind = kind
        self.embedding = nn.Embedding(v, config["embedding"])
        built = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[kind]
        widths = [config["embedding"]] + [hidden] * (layers - 1)
        self.layers = nn.ModuleList(built(width, hidden, batch_first=True) for width in widths)
        self.input_dropout = Dropout(config["input_dropout"])
        self.dropout = Dropout(config["dropout"])
        self.head = nn.Linear(hidden, v)
        for _, _, weights, bias in self.recurrences():
            for gate in torch.split(weights.data, hidden):
                nn.init.orthogonal_(gate)
            if kind == "lstm":  # remember at first (Jozefowicz et al. 2015)
                bias.data[hidden : 2 * hidden] += 1
        nn.init.zeros_(self.head.bias)

    def recurrences(self) -> Iterator[tuple[nn.Parameter, ...]]:
        """Each layer's weights and bias of the input, then of the state."""
        for layer in self.layers:
            yield layer.weight_ih_l0, layer.bias_ih_l0, layer.weight_hh_l0, layer.bias_hh_l0  # type: ignore[misc]  # parameters, says nn.RNNBase

    def forward(
        self, tokens: Tensor, state: State | None = None, *, last: bool = False
    ) -> tuple[Tensor, State]:
        """As `Network`; the state is each layer's (B, H), of an LSTM h and c side by side (B, 2H)."""
        if state is not None and tokens.shape[1] == 1 and not self.training:
            return self.step(tokens[:, 0], state)
        x = F.embedding(tokens, self.input_dropout(self.embedding.weight))  # (B, T, E)
        after: list[Tensor] = []
        each = CELLS[self.kind].states
        for i, layer in enumerate(self.layers):
            before: Any = None
            if state is not None:
                parts = [part[None].contiguous() for part in state[i].chunk(each, dim=1)]
                before = tuple(parts) if each == 2 else parts[0]
            x, left = layer(x, before)  # (B, T, H)
            after.append(torch.cat([part[0] for part in left], dim=1) if each == 2 else left[0])
            x = self.dropout(x)
        return self.head(x[:, -1:] if last else x), tuple(after)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One more character (B,), without dropout -> logits (B, 1, V), the state after it."""
        cell, width, v = CELLS[self.kind], self.head.in_features, len(self.embedding.weight)
        few = len(tokens) < v
        x = F.embedding(tokens, self.embedding.weight) if few else self.embedding.weight  # (B or V, E)
        after: list[Tensor] = []
        for before, (from_input, offset, weights, bias) in zip(state, self.recurrences(), strict=True):
            x = F.linear(x, from_input, offset)  # (B or V, gates·H)
            if not few and not after:  # V rows instead of B: what a character gives is the same in all
                x = F.embedding(tokens, x)
            left, _ = cell.forward(x, F.linear(before[:, :width], weights, bias), before)
            after.append(left)
            x = left[:, :width]  # (B, H)
        return self.head(x)[:, None], tuple(after)

    def tree(self, tree: PrefixTree) -> Tensor:
        """Logits (N, V): the same layers, one state a prefix."""
        device = str(self.head.weight.device)
        cell = CELLS[self.kind]
        levels = Levels.of(tree.levels, tree.inner, tree.inner_levels, tree.parent, device)
        tokens = torch.from_numpy(tree.tokens).to(device)
        table = self.input_dropout(self.embedding.weight)  # (V, E)
        x = table
        for i, (from_input, offset, weights, bias) in enumerate(self.recurrences()):
            x = F.linear(x, from_input, offset)  # (V or N, gates·H)
            if i == 0:  # V rows instead of N: what a character gives does not depend on the prefix
                x = F.embedding(tokens, x)
            x = TreeRecursion.apply(x, weights, bias, cell, levels)  # type: ignore[no-untyped-call]  # torch's own
            x = self.dropout(x)
        logits: Tensor = self.head(x)
        return logits


class MakemoreRecurrent(Network):
    """makemore.py's RNN and GRU."""

    def __init__(self, kind: str, v: int, config: Config) -> None:
        super().__init__()
        e, hidden = config["embedding"], config["hidden"]
        self.start = nn.Parameter(torch.zeros(1, hidden))
        self.wte = nn.Embedding(v, e)
        gates = ("h",) if kind == "rnn" else ("z", "r", "hbar")
        self.xh_to = nn.ModuleDict({gate: nn.Linear(e + hidden, hidden) for gate in gates})
        self.head = nn.Linear(hidden, v)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        """Inputs (B, E) and states (B, H) -> states (B, H)."""
        both = torch.cat([x, h], dim=1)
        if "h" in self.xh_to:
            return torch.tanh(self.xh_to["h"](both))
        r = torch.sigmoid(self.xh_to["r"](both))
        candidate = torch.tanh(self.xh_to["hbar"](torch.cat([x, r * h], dim=1)))
        z = torch.sigmoid(self.xh_to["z"](both))
        return (1 - z) * h + z * candidate

    def forward(
        self, tokens: Tensor, state: State | None = None, *, last: bool = False
    ) -> tuple[Tensor, State]:
        """As `Network`; the state is (B, H)."""
        x = self.wte(tokens)  # (B, T, E)
        h = self.start.expand(len(tokens), -1) if state is None else state[0]
        states = []
        for t in range(tokens.shape[1]):
            h = self.step(x[:, t], h)
            states.append(h)
        states = states[-1:] if last else states
        return self.head(torch.stack(states, dim=1)), (h,)


class RecurrentModel(SequenceModel):
    """A recurrent network as a model; the subclasses name the cell."""

    kind = ""

    def build(self, vocab_size: int, config: Config) -> Network:
        """The network with its initial weights."""
        if config["cell"] == "makemore":
            return MakemoreRecurrent(self.kind, vocab_size, config)
        return Recurrent(self.kind, vocab_size, config)


class Rnn(RecurrentModel):
    """h = tanh(W x + U h)."""

    kind = "rnn"


class Gru(RecurrentModel):
    """Gated recurrent units (Cho et al. 2014)."""

    kind = "gru"


class Lstm(RecurrentModel):
    """Long short-term memory (Hochreiter & Schmidhuber 1997)."""

    kind = "lstm"
