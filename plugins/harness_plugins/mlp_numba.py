"""The MLP compiled by numba: same parameters, batches and rates as the numpy oracle, in float32."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Corpus, Diverged, Trial
from harness.contract import Config, Ints
from harness_plugins import mlp
from harness_plugins.mlp import Mlp, Weights
from harness_plugins.mlp_kernels import BLOCK, Net, Work, gradients, train
from harness_plugins.mlp_rows import Batch, room, table
from harness_plugins.pace import Pace
from harness_plugins.small_products import COLUMNS
from harness_plugins.training import Curve, learning_rate
from harness_plugins.weighted_contexts import Contexts, context_batches

Array = NDArray[np.float32]


def wide(size: int) -> int:
    """The width of a hidden layer, rounded up to whole tiles."""
    return int(-(-size // COLUMNS) * COLUMNS)


def network(v: int, config: Config) -> tuple[Array, Net]:
    """Zeros (parameters,) and the views of them that are a network's parameters."""
    context, e, h = config["context"], config["embedding"], wide(config["hidden"])
    gain = h if config["normalize"] == "batch" else 0
    shapes = [(v + config["blank"], e), (context * e, h), (h,), (gain,), (v, h), (v,)]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    flat = np.zeros(ends[-1], np.float32)
    parts = np.split(flat, ends[:-1])
    return flat, Net(*(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)))


def workspace(v: int, config: Config, rows: int) -> Work:
    """What a step on at most so many rows writes to."""
    context, e, h = config["context"], config["embedding"], wide(config["hidden"])
    tokens = v + config["blank"]
    pairs = context * min(rows, tokens)
    normalised = config["normalize"] == "batch"
    block = rows if normalised else min(rows, BLOCK)

    def zeros(*shape: int) -> Array:
        return np.zeros(shape, np.float32)

    return Work(
        number=np.zeros(tokens, np.int64),
        token=np.zeros(pairs, np.int64),
        begin=np.zeros(context + 1, np.int64),
        pair=np.zeros((rows, context), np.int64),
        embedded=zeros(pairs, e),
        d_embedded=zeros(pairs, e),
        product=zeros(pairs, h),
        d_product=zeros(pairs, h),
        hidden=zeros(block, h),
        d_hidden=zeros(block, h),
        unit=zeros(block if normalised else 0, h),
        logits=zeros(block, wide(v)),
        mean=zeros(h),
        variance=zeros(h),
    )


def put(net: Net, weights: Weights) -> None:
    """Write named parameters into a network."""
    h = weights["W1"].shape[1]
    net.C[:] = weights["C"]
    net.W1[:, :h] = weights["W1"]
    net.shift[:h] = weights["bias" if "gain" in weights else "b1"]
    if "gain" in weights:
        net.gain[:h] = weights["gain"]
    net.W2[:, :h] = weights["W2"].T
    net.b2[:] = weights["b2"]


def taken(net: Net, h: int) -> dict[str, Array]:
    """A network's parameters, or gradients, by the oracle's names: copies."""
    found = {"C": net.C, "W1": net.W1[:, :h], "W2": net.W2[:, :h].T, "b2": net.b2}
    if len(net.gain):
        found |= {"gain": net.gain[:h], "bias": net.shift[:h]}
    else:
        found["b1"] = net.shift[:h]
    return {name: np.array(value, order="C") for name, value in found.items()}


class MlpNumba(Mlp):
    """As `Mlp`, in float32; steps are taken many at a time."""

    def loss_and_gradients(self, weights: Weights, windows: Ints, targets: Ints) -> tuple[float, Any, Any]:
        """The loss of a batch, its gradients and its moments, as the oracle's but in float32."""
        n, h = len(windows), self.config["hidden"]
        (_, net), (_, grad) = (network(self.vocab_size, self.config) for _ in range(2))
        put(net, weights)
        work = workspace(self.vocab_size, self.config, n)
        if targets.ndim == 1:
            batch, scale = room(n, self.config["context"], n), 1 / n
            batch.windows[:], batch.following[:] = windows, targets
        else:
            rows, following = np.nonzero(targets)
            total, share = targets.sum(axis=1).astype(np.float32), targets[rows, following].astype(np.float32)
            batch, scale = (
                Batch(windows, total, np.searchsorted(rows, np.arange(n + 1)), following, share),
                1.0,
            )
        loss = gradients(net, grad, batch, n, np.float32(scale), work)
        moments = {"mean": work.mean[:h], "variance": work.variance[:h]} if len(net.gain) else {}
        return loss, taken(grad, h), moments

    def fit(self, train_part: Corpus, dev: Corpus, trial: Trial) -> None:
        """Train on random batches; `loss` in the progress is that of the last one."""
        run = Run(self, train_part)
        curve, pace = Curve(trial, dev), Pace(trial, run.rows)
        while shares := trial.shares(pace.steps()):
            if curve.due():
                self.params = run.params()
                curve.point(self)
            run.advance(shares)
            if run.diverged:
                raise Diverged(run.diverged)
            run.tell(trial)
        self.params = run.params()
        if curve.due(finished=True):
            curve.point(self)

    def fit_seeds(
        self, train_part: Corpus, dev: Corpus, trials: Sequence[Trial]
    ) -> list[dict[str, NDArray[Any]]]:
        """Each seed as it is trained alone, to the bit: the threads take turns at whose steps come next.

        Kernels hold no lock, so that as many seeds as there are threads are at work at once. There is
        nothing to share but what is read of the text: a step's products have weights of their own.
        """
        ones = [type(self)(self.vocab_size, self.config, np.random.default_rng(t.seed)) for t in trials]
        for one in ones:
            one.context = self.context
        runs = [Run(one, train_part) for one in ones]
        first, curve, pace = trials[0], Curve(trials[0], dev), Pace(trials[0], runs[0].rows)

        def point() -> None:
            for one, run in zip(ones, runs, strict=True):
                one.params = run.params()
            curve.point(ones[0])
            for one, trial in zip(ones[1:], trials[1:], strict=True):
                trial.checkpoint(one)

        with ThreadPoolExecutor(min(first.threads, len(runs))) as pool:
            while shares := first.shares(pace.steps()):
                if curve.due():
                    point()
                list(pool.map(Run.advance, runs, repeat(shares)))
                if all(run.diverged for run in runs):
                    raise Diverged(f"{runs[0].diverged}, and so with every seed")
                for run, trial in zip(runs, trials, strict=True):
                    run.tell(trial)
        if curve.due(finished=True):
            point()
        return [run.params() for run in runs]


class Run:
    """A network in training: its parameters, moments and batches, and the room that its steps need."""

    def __init__(self, model: MlpNumba, train_part: Corpus) -> None:
        config, v, rng = model.config, model.vocab_size, model.rng
        weights = mlp.initial(v, config, rng)
        (self.flat, self.net), (self.slope, self.grad) = network(v, config), network(v, config)
        put(self.net, weights)
        self.config, self.tokens, h = config, train_part.tokens, config["hidden"]
        self.running = np.zeros((2, wide(h) if len(self.net.gain) else 0), np.float32)
        self.running[1, :h] = 1
        self.moments = np.zeros((2, len(self.flat) if config["optimizer"] == "adamw" else 0), np.float32)
        self.outside, size = v if config["blank"] else 0, mlp.weighted(config)
        if size is not None:
            found = Contexts.of(train_part, config["context"])
            self.drawn, self.rows = context_batches(found, size, rng), size
            self.contexts = table(replace(found, windows=model.tokens(found.windows)))
            pairs = size * int(np.diff(found.first).max())
        else:
            self.drawn = mlp.batches(train_part, config, rng)
            documents = config["batch_of"] == "documents"
            self.rows = config["batch"] * (longest(train_part, config) if documents else 1)
            self.contexts, pairs = room(0, config["context"], 0), self.rows
        self.batch = room(self.rows, config["context"], pairs)
        self.work = workspace(v, config, self.rows)
        self.done = self.steps = 0  # targets, steps
        self.loss = math.nan  # of the last batch
        self.diverged = ""  # why, where it is; it takes no more steps then

    def advance(self, shares: Sequence[float]) -> None:
        """A step at each of these shares of the budget."""
        if self.diverged:
            return
        chosen = list(islice(self.drawn, len(shares)))
        losses = np.zeros(len(shares))
        rates = np.array([learning_rate(self.config, share) for share in shares])
        bounds = np.cumsum([0, *map(len, chosen)])
        train(
            self.net, self.flat, self.grad, self.slope, self.moments, self.running, self.tokens,
            self.outside, self.contexts, np.concatenate(chosen), bounds, rates, self.config["beta2"],
            self.config["weight_decay"], self.steps, self.batch, self.work, losses,
        )  # fmt: skip
        if not np.isfinite(losses).all():
            bad = int(np.argmin(np.isfinite(losses)))
            self.diverged = f"loss is {losses[bad]} after {self.steps + bad} steps"
            self.flat[:] = np.nan  # an infinite loss may leave parameters that are finite
            return
        self.steps += len(shares)
        self.done += int(bounds[-1])
        self.loss = losses[-1]

    def tell(self, trial: Trial) -> None:
        """How far it is; a run that has diverged has no loss."""
        shown = {} if self.diverged else {"loss": self.loss}
        total = self.done * (trial.steps or 0) // max(1, self.steps)
        trial.progress(self.done, total, **shown)

    def params(self) -> dict[str, Array]:
        """The parameters as they are now."""
        h = self.config["hidden"]
        found = taken(self.net, h)
        if len(self.net.gain):
            found |= {"mean": self.running[0, :h].copy(), "variance": self.running[1, :h].copy()}
        return found


def longest(train_part: Corpus, config: Config) -> int:
    """Positions of the longest document, or of a piece of running text."""
    if train_part.kind == "text":
        return min(int(config["context"]), train_part.targets)
    return int(train_part.lengths.max(initial=1))
