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
from harness_plugins.captured import Captured, equal, tables
from harness_plugins.optimizers import optimizer
from harness_plugins.steps_ahead import READ_EVERY, kept, train_ahead
from harness_plugins.training import Curve, learning_rate
from harness_plugins.window_batches import window_batches, window_tables

EPSILON = 1e-5
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
            return F.cross_entropy(module(inputs.index_select(0, index)), following[index])

        return loss

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Train on random batches of windows that stay on the device.

        `early_stopping`: of the points of the learning curve, the one with the least dev NLL is kept.
        """
        self.params = dict(self.initial())
        curve = Curve(trial, dev)
        with self.few_threads(trial):
            if self.device != "cpu" and self.capturable(train):
                (self.params,) = train_ahead([self.captured(train)], [self], curve, [trial])
            else:
                self.train(train, curve, trial)
        if self.config.get("early_stopping") and curve.best[1]:
            self.params = dict(curve.best[1])

    def train(self, train: Corpus, curve: Curve, trial: Trial) -> None:
        """The loop, step by step."""
        loss_of, module, rate = self.losses(train), self.module.train(), torch.zeros(())
        descent = optimizer(list(module.parameters()), self.config, rate)
        done = total = 0
        for steps, chosen in enumerate(self.batches(train)):
            if trial.should_stop():
                break
            if curve.due():
                self.keep()
                curve.point(self)
            loss = loss_of(module, chosen)
            descent.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
            rate.fill_(learning_rate(self.config, trial.spent(), self.falls_at))
            descent.step()
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

    def capturable(self, train: Corpus) -> bool:
        """Whether every step has the same shapes and all that it reads fits the device."""
        return True

    def captured(self, train: Corpus) -> Captured:
        """The same steps without the host."""
        module, config = self.module.train(), self.config
        windows, targets = train.windows(config["context"])
        inputs = torch.from_numpy(self.tokens(windows)).to(self.device)  # (N, context)
        following = torch.from_numpy(targets).to(self.device)  # (N,)
        rate = torch.zeros((), device=self.device)
        descent = optimizer(list(module.parameters()), config, rate)

        def step(index: torch.Tensor, count: torch.Tensor) -> tuple[torch.Tensor]:
            loss = F.cross_entropy(module(inputs[index[0]]), following[index[0]])
            descent.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
            descent.step()
            return (loss.detach()[None],)

        drawn = equal(window_tables(train, config["batch"], self.rng))
        return Captured(
            tables([drawn], rate.device),
            step,
            lambda loss: loss,
            rate,
            lambda share: learning_rate(config, share, self.falls_at),
            lambda: kept(self),
        )

    def window_log_probs(self, windows: Ints) -> Floats:
        """(N, context) -> (N, V)."""
        return self.rows(self.tokens(windows))
