"""`SequenceModel`: how the models that read whole documents are trained and sampled from.

A network maps tokens (B, T) and a state to logits (B, T, V) and the state after them; where it can, it
also maps a `PrefixTree` to the logits (N, V) of its nodes. Everything else is here and shared.
"""

from __future__ import annotations

import abc
import contextlib
import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from harness import Corpus, Diverged, Trial
from harness.contract import Config, Floats, Ints
from harness.torch_model import TorchModel, as_array
from harness_plugins.captured import Captured, tables
from harness_plugins.continued import MOST_KEPT, rows_of
from harness_plugins.document_batches import Nodes, Rows, documents, text_starts, text_windows
from harness_plugins.fixed_rows import Pieces
from harness_plugins.optimizers import descent
from harness_plugins.prefix_tree import PrefixTree, neighbour_batches, sorted_rows, tree_batches
from harness_plugins.steps_ahead import kept, train_ahead
from harness_plugins.training import Curve, learning_rate

Tensor = torch.Tensor
State = tuple[Tensor, ...]  # each (B, …)

PARTS = 2**16  # of a number of dropout: 16 bits
AT_ONCE = 1024  # documents that go on together
GLOBAL_GENERATOR = threading.Lock()  # torch initialises from it; members of a mixture share it


class Network(nn.Module, abc.ABC):
    """What `SequenceModel` asks of a network."""

    @abc.abstractmethod
    def forward(
        self, tokens: Tensor, state: State | None = None, *, last: bool = False
    ) -> tuple[Tensor, State]:
        """(B, T) and the state before them -> logits (B, T, V), the state after them.

        `last`: only the last row (B, 1, V).
        """

    def tree(self, tree: PrefixTree) -> Tensor:
        """Logits (N, V) at the nodes of a tree."""
        raise NotImplementedError


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) from a generator of its own, so that threads do not mix.

    16 random bits a number: three times as quick as `bernoulli_`. The rate is that of 65,536 parts.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Zero a share `rate` of x while training, and scale up the rest."""
        if not self.training or self.rate == 0:
            return x
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
        bits.random_(-(2**63), None, generator=self.generator)
        parts = round(self.rate * PARTS)
        kept = bits.view(torch.int16)[: x.numel()].view(x.shape) >= parts - PARTS // 2
        return x * (kept * (PARTS / (PARTS - parts)))


@dataclass(frozen=True, eq=False)
class Kept:
    """The state after some inputs (B, T) under some parameters."""

    params: Mapping[str, Any]
    inputs: Ints
    state: State


class SequenceModel(TorchModel):
    """Whole documents in (of running text: windows of `block`), one loss over all their targets."""

    _kept: Kept | None = None

    @abc.abstractmethod
    def build(self, vocab_size: int, config: Config) -> Network:
        """The network with its initial weights."""

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """AdamW over batches of documents until the budget ends; dev may say which weights to keep."""
        module, curve = self.start(), Curve(trial, dev)
        with self.few_threads(trial):
            if self.device == "cpu" or not self.capturable(train):
                self.train(module, train, curve, trial)
            else:
                (self.params,) = train_ahead([self.captured(module, train)], [self], curve, [trial])
        if self.config["early_stopping"] and curve.best[1]:
            self.params = dict(curve.best[1])

    def train(self, module: Network, train: Corpus, curve: Curve, trial: Trial) -> None:
        """The loop, step by step."""
        rate = torch.zeros((), device=self.device)
        descend = descent(module, self.config, rate)
        total = round((trial.steps or 0) * self.targets_a_step(train))
        done = 0
        for count, (batch, size) in enumerate(self.batches(train)):
            if trial.should_stop():
                break
            if curve.due():
                self.keep()
                curve.point(self)
            loss = self.loss(module, batch) / size
            rate.fill_(learning_rate(self.config, trial.spent()))
            descend(loss)
            done += batch.targets
            if count % 20 == 0:  # reading the loss waits for the device
                value = loss.item()
                if not math.isfinite(value):
                    raise Diverged(f"loss is {value} after {count + 1} steps")
                trial.progress(done, total, loss=value)
        trial.progress(done, total)
        self.keep()
        if curve.due(finished=True):
            curve.point(self)

    def capturable(self, train: Corpus) -> bool:
        """Whether batches may be rows of one shape: a tree of prefixes has another shape each time.

        A batch of trees is one of rows with the same gradient, unless dropout falls on a prefix.
        """
        config = self.config
        dropped = sum(config.get(name, 0) for name in ("dropout", "input_dropout", "attention_dropout"))
        return train.kind == "text" or config["batches"] == "random" or dropped == 0 or self.cut(train)

    def longest(self, train: Corpus) -> int:
        """Characters of the longest piece in which the training text is read."""
        if train.kind == "text":
            return min(int(self.config["block"]), train.targets)
        return int(train.lengths.max(initial=1))

    def cut(self, train: Corpus) -> bool:
        """Whether documents are too long to be read as a tree, and drawn in pieces instead."""
        return False

    def captured(self, module: Network, train: Corpus) -> Captured:
        """The same steps without the host, on padded rows."""
        config, rate = self.config, torch.zeros((), device=self.device)
        descend, mean = descent(module, config, rate), None
        pieces = Pieces(train, self.longest(train), self.device)
        batch = config["windows" if train.kind == "text" else "batch"]
        if train.kind == "text":
            numbers = text_starts(train, pieces.width, batch, self.rng)
        elif config["batches"] == "random" or self.cut(train):
            numbers = documents(len(pieces.counts) - 1, batch, self.rng)
        else:
            mean, order = self.targets_a_step(train), sorted_rows(train)[2]
            numbers = map(order.take, neighbour_batches(len(train), batch, config["neighbours"], self.rng))

        def step(chosen: Tensor, count: Tensor) -> tuple[Tensor]:
            inputs, targets, mask = pieces.rows(chosen[0])  # (B, T)
            logits, _ = module(inputs)  # (B, T, V)
            nll = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
            loss = (nll * mask.flatten()).sum() / (count[0] if mean is None else mean)
            descend(loss)
            return (loss.detach()[None],)

        return Captured(
            tables([pieces.tables(numbers, batch)], rate.device),
            step,
            lambda loss: loss,
            rate,
            lambda share: learning_rate(config, share),
            lambda: kept(self),
            generators=[self.generator],
        )

    def start(self) -> Network:
        """A network with initial weights from this model's own generator."""
        self.params = {}
        with GLOBAL_GENERATOR:
            torch.manual_seed(int(self.rng.integers(2**62)))
            module = self.module
        generator = torch.Generator(self.device).manual_seed(int(self.rng.integers(2**62)))
        for part in module.modules():
            if isinstance(part, Dropout):
                part.generator = generator
        self.generator = generator
        assert isinstance(module, Network)
        return module.train()

    def targets_a_step(self, train: Corpus) -> float:
        """Targets of an average batch."""
        if train.kind == "text":
            return float(self.config["windows"] * min(self.config["block"], train.targets))
        return float(self.config["batch"] * train.targets / len(train))

    def batches(self, train: Corpus) -> Iterator[tuple[Any, float]]:
        """Endless batches, each with what its summed loss is divided by.

        A constant, so that a name's weight does not depend on the lengths of the others; `random`
        batches are a mean over their own targets, as in makemore.
        """
        config = self.config
        if train.kind == "text":
            windows = text_windows(train, config["block"], config["windows"], self.rng)
            yield from ((window, window.targets) for window in windows)
        elif config["batches"] == "random":
            for chosen in documents(len(train), config["batch"], self.rng):
                padded = Rows(*train.batch(chosen))
                yield padded, padded.targets
        else:
            mean = self.targets_a_step(train)
            for tree in tree_batches(train, config["batch"], config["neighbours"], self.rng):
                yield Nodes(tree), mean

    def loss(self, module: Network, batch: Rows | Nodes) -> Tensor:
        """Σ −ln p over the targets of a batch."""
        if isinstance(batch, Nodes):
            rows = torch.log_softmax(module.tree(batch.tree), dim=1)  # (N, V)
            return -(rows * torch.from_numpy(batch.tree.counts).to(self.device)).sum()
        inputs, targets, mask = (
            torch.from_numpy(a).to(self.device) for a in (batch.inputs, batch.targets_of, batch.mask)
        )
        logits, _ = module(inputs)  # (B, T, V)
        return F.cross_entropy(logits[mask], targets[mask], reduction="sum")

    def rows(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V): every row from the start of its document."""
        with self.reading() as module:
            logits, _ = module(self.tensor(inputs))  # (B, T, V)
            return as_array(torch.log_softmax(logits.float(), dim=-1))

    def next_log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, V).

        The state after the last call is kept. Inputs that extend those by one character, as in sampling
        and in blind scoring, go on from there: one step instead of T, and the same rows.
        """
        kept = self._kept
        at = None
        if kept is not None and kept.params is self.params:
            at = rows_of(kept.inputs, inputs[:, :-1])  # (B,)
        with self.reading() as module:
            if kept is None or at is None:
                logits, state = module(self.tensor(inputs), last=True)  # (B, 1, V)
            else:
                logits, state = self.go_on(module, self.tensor(inputs[:, -1:]), kept.state, self.tensor(at))
            rows = as_array(torch.log_softmax(logits[:, 0].float(), dim=-1))
        small = sum(part.numel() for part in state) <= MOST_KEPT
        self._kept = Kept(self.params, np.array(inputs), state) if small else None
        return rows

    def go_on(self, module: nn.Module, tokens: Tensor, state: State, at: Tensor) -> tuple[Tensor, State]:
        """Tokens (B, 1) after the states `at` (B,) -> logits (B, 1, V), the states after them.

        On the CPU in parts: states are read from memory once, and what is made of them stays in the cache.
        """
        size = AT_ONCE if tokens.device.type == "cpu" else len(tokens)
        parts = [
            module(some, tuple(each[where] for each in state), last=True)
            for some, where in zip(torch.split(tokens, size), torch.split(at, size), strict=True)
        ]
        if len(parts) == 1:
            only: tuple[Tensor, State] = parts[0]
            return only
        logits, states = zip(*parts, strict=True)
        return torch.cat(logits), tuple(map(torch.cat, zip(*states, strict=True)))

    @contextlib.contextmanager
    def reading(self) -> Iterator[nn.Module]:
        """The network, meanwhile without dropout and gradients."""
        module = self.module
        training = module.training
        if training:
            module.eval()
        try:
            with torch.inference_mode():
                yield module
        finally:
            if training:
                module.train()

    def tensor(self, array: Ints) -> Tensor:
        """A copy of it on the device."""
        return torch.from_numpy(np.array(array)).to(self.device)
