"""Networks with a window in torch: the training loop, and batch normalisation as the lectures have it."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from harness import Corpus, Diverged, Trial, WindowModel
from harness.contract import Floats, Ints
from harness.torch_model import TorchModel
from harness_plugins.training import Curve, learning_rate
from harness_plugins.window_batches import window_batches

EPSILON = 1e-5
READ_EVERY = 100  # steps: reading the loss waits for the device

Params = Mapping[str, NDArray[Any]]


def batch_norm(
    x: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
    gain: torch.Tensor,
    bias: torch.Tensor,
    *,
    training: bool,
    momentum: float,
) -> torch.Tensor:
    """(N, H) -> (N, H): by the batch's statistics in training, which move the running ones, else by those.

    The lectures divide by the unbiased standard deviation, torch by the biased one: a gain and an ε
    that are smaller by what lies between them make torch's fused function do the same.
    """
    if not training:
        return F.batch_norm(x, mean, variance, gain, bias, training=False, eps=EPSILON)
    ratio = (len(x) - 1) / len(x)
    unbiased = gain * math.sqrt(ratio)
    return F.batch_norm(x, mean, variance, unbiased, bias, True, momentum, EPSILON * ratio)


class TorchWindowModel(WindowModel, TorchModel):
    """Write `build` and `initial`: the network (N, context) -> (N, V), and its state before training."""

    falls_at = 0.5  # share of the budget after which `schedule=step` takes a tenth of the rate

    @abc.abstractmethod
    def initial(self) -> Params:
        """The network's state before training, drawn from `self.rng`."""

    def tokens(self, windows: Ints) -> Ints:
        """Windows as the embedding sees them."""
        return windows

    def batches(self, train: Corpus) -> Iterator[Ints]:
        """Endless batches of positions in the training text."""
        return window_batches(train, self.config["batch"], self.rng)

    def losses(self, train: Corpus) -> Callable[[nn.Module, Ints], torch.Tensor]:
        """The mean NLL of a batch that `batches` made, as a function; the training text is on the device."""
        windows, targets = train.windows(self.config["context"])
        inputs = torch.from_numpy(self.tokens(windows)).to(self.device)  # (N, context)
        following = torch.from_numpy(targets).to(self.device)  # (N,)

        def loss(module: nn.Module, chosen: Ints) -> torch.Tensor:
            index = torch.from_numpy(chosen).to(self.device)
            return F.cross_entropy(module(inputs[index]), following[index])

        return loss

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW or plain gradient descent; the rate is set before each step."""
        config, parameters = self.config, self.module.parameters()
        if config["optimizer"] == "adamw":
            betas, decay = (0.9, config["beta2"]), config["weight_decay"]
            return torch.optim.AdamW(parameters, betas=betas, weight_decay=decay, fused=True)
        return torch.optim.SGD(parameters)

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Train on random batches of windows that stay on the device.

        `early_stopping`: of the points of the learning curve, the one with the least dev NLL is kept.
        """
        self.params = dict(self.initial())
        with self.few_threads(trial):
            self.train(train, dev, trial)

    def train(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """The loop."""
        loss_of = self.losses(train)
        module, optimizer, curve = self.module.train(), self.optimizer(), Curve(trial, dev)
        done = total = 0
        for steps, chosen in enumerate(self.batches(train)):
            if trial.should_stop():
                break
            if curve.due():
                self.keep()
                curve.point(self)
            loss = loss_of(module, chosen)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(self.config, trial.spent(), self.falls_at)
            optimizer.step()
            done += len(chosen)
            total = done * (trial.steps or 0) // (steps + 1)
            if (steps + 1) % READ_EVERY == 0:
                if not math.isfinite(loss.item()):
                    raise Diverged(f"loss is {loss.item()} after {steps + 1} steps")
                trial.progress(done, total, loss=loss.item())
        trial.progress(done, total)
        self.keep()
        if curve.due(finished=True):
            curve.point(self)
        if self.config.get("early_stopping") and curve.best[1]:
            self.params = dict(curve.best[1])

    def window_log_probs(self, windows: Ints) -> Floats:
        """(N, context) -> (N, V)."""
        return self.rows(self.tokens(windows))
