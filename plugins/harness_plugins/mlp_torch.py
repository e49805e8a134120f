"""The MLP in torch (CPU and CUDA): same parameters, batches and rates as the numpy oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from harness import Corpus, Trial
from harness.contract import Config, Ints
from harness_plugins import mlp, mlp_seeds
from harness_plugins.captured import Captured, equal, tables
from harness_plugins.steps_ahead import Stepper, train_ahead
from harness_plugins.training import Curve, learning_rate
from harness_plugins.weighted_contexts import Contexts, context_batches, context_of, merged, stretches
from harness_plugins.window_batches import document_tables, window_tables
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
        e = self.C[windows].flatten(1)  # (N, context·E); its gradient is quicker than that of F.embedding
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
        """Stacked: each seed with the start and the batches of its solo run.

        On the CPU in as many stacks as there are threads.
        """
        ones = [type(self)(self.vocab_size, self.config, np.random.default_rng(t.seed)) for t in trials]
        for one in ones:
            one.context, one.device = self.context, self.device
            one.params = dict(one.initial())  # before its batches: one generator draws both
        data = self.data(train)
        if self.device == "cpu":
            parts = min(trials[0].threads, len(ones))
            bounds = np.linspace(0, len(ones), parts + 1).round().astype(int)
            stacks: list[Stepper] = [stack(ones[a:b], train, *data) for a, b in pairwise(bounds)]
        elif self.capturable(train):
            stacks = [captured_stack(ones, train, *data)]
        else:
            stacks = [stack(ones, train, *data)]
        with self.few_threads(Trial()):  # one thread to each operation
            return train_ahead(stacks, ones, Curve(trials[0], dev), trials)

    def captured(self, train: Corpus) -> Captured:
        """A stack of this one seed."""
        return captured_stack([self], train, *self.data(train))

    def capturable(self, train: Corpus) -> bool:
        """Not where padding would change a batch's statistics, or with too many contexts for a table."""
        config = self.config
        if mlp.weighted(config) is None:
            return (config["normalize"], config["batch_of"]) != ("batch", "documents")
        return mlp_seeds.keeps(self.contexts(train), self.vocab_size, torch.device(self.device))

    def data(self, train: Corpus) -> tuple[torch.Tensor, torch.Tensor | Contexts]:
        """Windows and targets of train, as a `Stack` is given them, on the device."""
        if mlp.weighted(self.config) is None:
            windows, targets = train.windows(self.config["context"])
            following: torch.Tensor | Contexts = torch.from_numpy(targets).to(self.device)
        else:
            following = self.contexts(train)
            windows = following.windows
        return torch.from_numpy(self.tokens(windows)).to(self.device), following

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
        inputs, contexts = self.data(train)
        assert isinstance(contexts, Contexts)
        following = mlp_seeds.table(contexts, self.vocab_size, inputs.device)
        normalised = self.config["normalize"] == "batch"

        def loss(module: nn.Module, drawn: Ints) -> torch.Tensor:
            chosen, times = (drawn, np.ones_like(drawn)) if normalised else merged(drawn)
            index = torch.from_numpy(chosen).to(self.device)
            log_p = F.log_softmax(module(inputs.index_select(0, index)), -1)  # (N, V)
            if following is not None:
                weight = torch.from_numpy(times.astype(np.float32) / len(drawn)).to(self.device)
                return -(following.index_select(0, index).mul_(weight[:, None]) * log_p).sum()
            rows, character, share = (
                torch.from_numpy(part).to(self.device) for part in contexts.pairs(chosen, times)
            )
            return -(share.float() * log_p[rows, character]).sum()

        return loss


def stack(
    ones: Sequence[MlpTorch],
    train: Corpus,
    windows: torch.Tensor,
    targets: torch.Tensor | Contexts,
    *,
    plain: bool = False,
) -> mlp_seeds.Stack:
    """Models as they stand, as one problem."""
    batches = [one.batches(train) for one in ones]
    starts = [one.params for one in ones]
    return mlp_seeds.Stack(starts, batches, windows, targets, ones[0].config, plain=plain)


def captured_stack(
    ones: Sequence[MlpTorch], train: Corpus, windows: torch.Tensor, targets: torch.Tensor | Contexts
) -> Captured:
    """The same without the host, with the same batches."""
    config, whole = ones[0].config, stack(ones, train, windows, targets, plain=True)
    size, batch, step = mlp.weighted(config), config["batch"], whole.step_of_equals
    locate: Callable[[torch.Tensor], torch.Tensor] | None = None
    if isinstance(targets, Contexts) and size is not None:
        of = torch.from_numpy(context_of(targets)).to(windows.device)

        def locate(numbers: torch.Tensor) -> torch.Tensor:
            return of[numbers.long().clamp_(max=len(of) - 1)].long()

        drawn = [equal(stretches(len(of), size, one.rng)) for one in ones]
    elif config["batch_of"] == "documents":
        step = whole.step_of_padded
        drawn = [document_tables(train, batch, config["context"], one.rng) for one in ones]
    else:
        drawn = [equal(window_tables(train, batch, one.rng)) for one in ones]
    return Captured(
        tables(drawn, windows.device, locate),
        step,
        whole.loss,
        whole.rate,
        lambda share: learning_rate(config, share),
        whole.params,
    )
