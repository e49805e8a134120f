"""The hierarchical network of makemore part 5, after WaveNet (van den Oord et al. 2016).

Characters are fused two by two until one vector is left of the window.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from harness.contract import Config
from harness_plugins.window_torch import Params, TorchWindowModel, batch_norm

MOMENTUM = 0.1  # of the running statistics, as in the lecture


class Level(nn.Module):
    """Neighbours side by side, a linear layer without bias, batch normalisation, tanh."""

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2 * width, hidden))
        self.gain = nn.Parameter(torch.ones(hidden))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.register_buffer("mean", torch.zeros(hidden))
        self.register_buffer("variance", torch.ones(hidden))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, C) -> (B, T/2, H); the statistics are those over batch and time."""
        b, t, c = x.shape
        raw = x.reshape(b * t // 2, 2 * c) @ self.weight  # (B·T/2, H)
        normed = batch_norm(
            raw, self.mean, self.variance, self.gain, self.bias, training=self.training, momentum=MOMENTUM
        )
        return torch.tanh(normed).view(b, t // 2, -1)


class Network(nn.Module):
    """Windows (N, context) -> logits (N, V), context = 2^levels."""

    def __init__(self, v: int, config: Config) -> None:
        super().__init__()
        e, h, depth = config["embedding"], config["hidden"], config["context"].bit_length() - 1
        self.C = nn.Parameter(torch.zeros(v, e))
        self.levels = nn.ModuleList(Level(h if level else e, h) for level in range(depth))
        self.W = nn.Parameter(torch.zeros(h, v))
        self.b = nn.Parameter(torch.zeros(v))
        self.dropout = nn.Dropout(config["dropout"])

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Fuse pairs until the window is one position."""
        # the gradient of this is quicker than that of F.embedding
        x = self.C.index_select(0, windows.flatten()).view(*windows.shape, -1)  # (N, context, E)
        for level in self.levels:
            x = level(x)  # (N, half as many, H)
        logits: torch.Tensor = self.dropout(x[:, 0]) @ self.W + self.b  # (N, V)
        return logits


class WaveNet(TorchWindowModel):
    """Levels of pairs; `schedule=step` falls at three quarters of the budget, as in the lecture."""

    falls_at = 0.75

    def build(self, vocab_size: int, config: Config) -> nn.Module:
        """The network; `fit` sets its initial weights."""
        return Network(vocab_size, config)

    def initial(self) -> Params:
        """Standard normal embeddings, weights by 1/√fan-in, of the last layer a tenth of that."""
        state = self.build(self.vocab_size, self.config).state_dict()
        start = {name: value.numpy() for name, value in state.items()}
        for name, value in start.items():
            if value.ndim == 2:
                scale = {"C": 1.0, "W": 0.1 / math.sqrt(len(value))}.get(name, 1 / math.sqrt(len(value)))
                start[name] = (scale * self.rng.standard_normal(value.shape)).astype(np.float32)
        return start
