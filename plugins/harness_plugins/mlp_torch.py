"""The MLP in torch (CPU and CUDA): same parameters, batches and rates as the numpy oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from harness import Corpus, Trial
from harness.contract import Config, Ints
from harness_plugins import mlp, mlp_seeds
from harness_plugins.weighted_contexts import Contexts, context_batches, merged
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

    def fit_seeds(self, train: Corpus, dev: Corpus, trials: Sequence[Trial]) -> list[dict[str, NDArray[Any]]]:
        """Stacked, as many stacks as threads: each seed with the start and the batches of its solo run."""
        ones = [type(self)(self.vocab_size, self.config, np.random.default_rng(t.seed)) for t in trials]
        if mlp.weighted(self.config) is None:
            windows, targets = train.windows(self.config["context"])
            following: torch.Tensor | Contexts = torch.from_numpy(targets)
        else:
            following = Contexts.of(train, self.config["context"])
            windows = following.windows
        inputs = torch.from_numpy(self.tokens(windows))
        starts = [one.initial() for one in ones]  # before their batches: one generator draws both
        batches = [one.batches(train) for one in ones]
        stacks = [
            mlp_seeds.Stack(
                [starts[i] for i in seeds], [batches[i] for i in seeds], inputs, following, self.config
            )
            for seeds in np.array_split(np.arange(len(ones)), min(trials[0].threads, len(ones)))
        ]
        for one in ones:
            one.context = self.context
        with self.few_threads(Trial()):  # one thread to each operation
            return mlp_seeds.train_seeds(stacks, ones, dev, trials)

    def tokens(self, windows: Ints) -> Ints:
        """With `blank`, what lies left of the start is a token of its own."""
        return mlp.with_blanks(windows, self.vocab_size) if self.config["blank"] else windows

    def batches(self, train: Corpus) -> Iterator[Ints]:
        """Those of the oracle: positions, or contexts as often as they were drawn."""
        size = mlp.weighted(self.config)
        if size is None:
            return mlp.batches(train, self.config, self.rng)
        return context_batches(self.contexts(train), size, self.rng)

    def contexts(self, train: Corpus) -> Contexts:
        """The distinct contexts of the training text."""
        return Contexts.of(train, self.config["context"])

    def losses(self, train: Corpus) -> Callable[[nn.Module, Ints], torch.Tensor]:
        """Of positions, or of contexts with all that follows them."""
        if mlp.weighted(self.config) is None:
            return super().losses(train)
        contexts = self.contexts(train)
        inputs = torch.from_numpy(self.tokens(contexts.windows)).to(self.device)  # (U, context)
        normalised = self.config["normalize"] == "batch"

        def loss(module: nn.Module, drawn: Ints) -> torch.Tensor:
            chosen, times = (drawn, np.ones_like(drawn)) if normalised else merged(drawn)
            index, rows, following, share = (
                torch.from_numpy(part).to(self.device) for part in (chosen, *contexts.pairs(chosen, times))
            )
            log_p = F.log_softmax(module(inputs[index]), -1)  # (N, V)
            return -(share.float() * log_p[rows, following]).sum()

        return loss
