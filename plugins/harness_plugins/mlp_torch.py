"""The MLP in torch (CPU and CUDA): same parameters, batches and rates as the numpy oracle."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from harness import Corpus
from harness.contract import Config, Ints
from harness_plugins import mlp
from harness_plugins.window_torch import Params, TorchWindowModel, batch_norm


class Network(nn.Module):
    """Windows (N, context) -> logits (N, V)."""

    C: torch.Tensor
    W1: torch.Tensor
    b1: torch.Tensor
    W2: torch.Tensor
    b2: torch.Tensor
    gain: torch.Tensor
    bias: torch.Tensor
    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, v: int, config: Config) -> None:
        super().__init__()
        for name, shape in mlp.shapes(v, config).items():
            if name in ("mean", "variance"):
                self.register_buffer(name, torch.zeros(shape))
            else:
                self.register_parameter(name, nn.Parameter(torch.zeros(shape)))
        self.normalize = config["normalize"] == "batch"

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """One tanh layer over the concatenated embeddings."""
        e = F.embedding(windows, self.C).flatten(1)  # (N, context·E)
        raw = e @ self.W1  # (N, H)
        if self.normalize:
            active = batch_norm(
                raw,
                self.mean,
                self.variance,
                self.gain,
                self.bias,
                training=self.training,
                momentum=mlp.MOMENTUM,
            )
        else:
            active = raw + self.b1
        logits: torch.Tensor = torch.tanh(active) @ self.W2 + self.b2  # (N, V)
        return logits


class MlpTorch(TorchWindowModel):
    """As `Mlp`, in float32."""

    def build(self, vocab_size: int, config: Config) -> nn.Module:
        """The network; `fit` sets its initial weights."""
        return Network(vocab_size, config)

    def initial(self) -> Params:
        """Those of the oracle, rounded."""
        start = mlp.initial(self.vocab_size, self.config, self.rng)
        return {name: value.astype(np.float32) for name, value in start.items()}

    def tokens(self, windows: Ints) -> Ints:
        """With `blank`, what lies left of the start is a token of its own."""
        return mlp.with_blanks(windows, self.vocab_size) if self.config["blank"] else windows

    def batches(self, train: Corpus) -> Iterator[Ints]:
        """Those of the oracle."""
        return mlp.batches(train, self.config, self.rng)
