"""The MLP in torch (CPU and CUDA): same parameters, batches and rates as the numpy oracle."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from harness import Corpus, Diverged, Trial, WindowModel
from harness.contract import Config, Floats, Ints
from harness.torch_model import TorchModel
from harness_plugins.mlp import batch_indices, initial, learning_rate, shapes


class Network(nn.Module):
    """Windows (N, context) -> logits (N, V)."""

    def __init__(self, v: int, config: Config) -> None:
        super().__init__()
        shape = shapes(v, config)
        self.C, self.W1, self.b1, self.W2, self.b2 = (
            nn.Parameter(torch.zeros(shape[name])) for name in ("C", "W1", "b1", "W2", "b2")
        )

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """One tanh layer over the concatenated embeddings."""
        e = F.embedding(windows, self.C).flatten(1)  # (N, context·E)
        return torch.tanh(e @ self.W1 + self.b1) @ self.W2 + self.b2  # (N, V)


class MlpTorch(WindowModel, TorchModel):
    """As `Mlp`, in float32."""

    def build(self, vocab_size: int, config: Config) -> nn.Module:
        """The network; `fit` sets its initial weights."""
        return Network(vocab_size, config)

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Train on random windows that stay on the device."""
        config = self.config
        start = initial(self.vocab_size, config, self.rng)
        self.params = {name: value.astype(np.float32) for name, value in start.items()}
        module = self.module.train()
        windows, targets = (torch.from_numpy(a).to(self.device) for a in train.windows(config["context"]))
        if config["optimizer"] == "adamw":
            optimizer: torch.optim.Optimizer = torch.optim.AdamW(
                module.parameters(), weight_decay=config["weight_decay"], fused=True
            )
        else:
            optimizer = torch.optim.SGD(module.parameters())
        total = (trial.steps or 0) * config["batch"]
        done = 0
        for chosen in batch_indices(len(targets), config, self.rng):
            if trial.should_stop():
                break
            index = torch.from_numpy(chosen).to(self.device)
            loss = F.cross_entropy(module(windows[index]), targets[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, trial.spent())
            optimizer.step()
            done += len(chosen)
            if done % (100 * len(chosen)) == 0:  # reading the loss waits for the device
                if not math.isfinite(loss.item()):
                    raise Diverged(f"loss is {loss.item()} after {done // len(chosen)} steps")
                trial.progress(done, total, loss=loss.item())
        trial.progress(done, total)
        self.keep()

    def window_log_probs(self, windows: Ints) -> Floats:
        """(N, context) -> (N, V)."""
        return self.rows(windows)
