"""Small transformers compiled by numba: the law and the recipe of those in torch, in float32."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Corpus, Diverged, Model, Trial
from harness.contract import Config, Floats, Ints
from harness.errors import UsageError
from harness_plugins.microgpt_kernels import train
from harness_plugins.pace import Pace
from harness_plugins.pieces import all_pieces, pieces_of, start_of
from harness_plugins.prefix_tree import neighbour_batches, sorted_rows
from harness_plugins.training import Curve, learning_rate
from harness_plugins.transformer_reader import TransformerReader
from harness_plugins.transformer_room import Net, network, workspace

Array = NDArray[np.float32]
PARTS = 16  # a call takes this share of the steps: they are short, and a call has thirty arrays to hand over


def matrices(net: Net) -> int:
    """How many numbers stand in the matrices of linear layers: the last of the vector."""
    return sum(part.size for part in (net.qkv, net.project, net.up, net.down, net.head))


def views(net: Net, v: int, config: Config) -> dict[str, Any]:
    """The real part of each parameter by the name that torch has for it, shaped (out, in) as there."""
    e, c = config["embedding"], net.characters.shape[1]
    found = {"characters.weight": net.characters[:, :e], "positions.weight": net.positions[:, :e]}
    for i in range(config["layers"]):
        block = f"blocks.{i}"
        three = net.qkv[i].reshape(c, 3, c)[:e, :, :e]  # (in, 3, out)
        found |= {
            f"{block}.attention.qkv.weight": three.transpose(1, 2, 0),  # (3, out, in)
            f"{block}.attention.project.weight": net.project[i, :e, :e].T,
            f"{block}.up.weight": net.up[i, :e, : 4 * e].T,
            f"{block}.down.weight": net.down[i, : 4 * e, :e].T,
        }
        if config["qkv_bias"]:
            found[f"{block}.attention.qkv.bias"] = net.qkv_bias[i].reshape(3, c)[:, :e]
        if config["bias"]:
            found |= {
                f"{block}.attention.project.bias": net.project_bias[i, :e],
                f"{block}.up.bias": net.up_bias[i, : 4 * e],
                f"{block}.down.bias": net.down_bias[i, :e],
            }
    if config["norm"] == "layer":
        names = [f"blocks.{i}.norm{k}" for i in range(config["layers"]) for k in (1, 2)]
        for number, name in enumerate([*names, "last"]):
            found |= {f"{name}.gain": net.gain[number, :e], f"{name}.bias": net.shift[number, :e]}
    if config["head_bias"]:
        found["head.bias"] = net.head_bias[0, :v]
    return found | {"head.weight": net.head[:e, :v].T}


def taken(net: Net, v: int, config: Config) -> dict[str, Array]:
    """A network's parameters, or gradients, by torch's names: copies."""
    return {
        name: np.array(value.reshape(-1, *value.shape[2:]) if ".qkv." in name else value, order="C")
        for name, value in views(net, v, config).items()
    }


def put(net: Net, params: Mapping[str, Any], v: int, config: Config) -> None:
    """Write named parameters into a network."""
    for name, value in views(net, v, config).items():
        value[...] = params[name].reshape(value.shape)


def initial(v: int, config: Config, rng: np.random.Generator) -> dict[str, Any]:
    """Parameters before training, drawn by the laws of torch's backend (its `init`)."""
    _, net = network(v, config)
    drawn = taken(net, v, config)
    for name, value in drawn.items():
        if name.endswith(".gain"):
            value[...] = 1
        elif value.ndim == 1:  # biases, of which torch draws those of linear layers
            if config["init"] == "torch" and f"{name[:-4]}weight" in drawn:
                weight = drawn[f"{name[:-4]}weight"]
                value[...] = rng.uniform(-1, 1, value.shape) / math.sqrt(weight.shape[1])
        elif config["init"] != "torch":
            spread = 0.02 if config["init"] == "gpt" else 0.08
            if config["init"] == "gpt" and name.endswith(("project.weight", "down.weight")):
                spread /= math.sqrt(2 * config["layers"])
            value[...] = rng.normal(0, spread, value.shape)
        elif name in ("characters.weight", "positions.weight"):
            value[...] = rng.standard_normal(value.shape)
        else:
            value[...] = rng.uniform(-1, 1, value.shape) / math.sqrt(value.shape[1])
    return drawn


@dataclass(frozen=True, eq=False)
class Draw:
    """Batches of pieces of the text: found (3, P) start, first new position and end of each.

    chosen: a number of batches -> the pieces of each. size: what a batch's summed loss is divided by, None
    for its own targets.
    """

    found: Ints
    chosen: Callable[[int], Sequence[Ints] | Ints]
    size: float | None

    def __call__(self, n: int) -> tuple[Ints, Ints, Array, int]:
        """The pieces (3, ·) of n batches, where each begins (n + 1,), their sizes (n,), all their targets."""
        chosen = self.chosen(n)
        bounds = np.cumsum([0, *map(len, chosen)])
        pieces = self.found[:, np.concatenate(chosen)]
        targets = np.add.reduceat(pieces[2] - pieces[1], bounds[:-1])  # (n,)
        sizes = targets if self.size is None else np.full(n, self.size)
        return pieces, bounds, sizes.astype(np.float32), int(targets.sum())


class TransformerNumba(Model):
    """As `TransformerModel`; steps are taken many at a time.

    Dropout falls on each document's positions, not on prefixes that documents share.
    """

    _read: tuple[Any, TransformerReader] | None = None

    def warm_up(self, train_part: Corpus, trial: Trial) -> None:
        """Compile training and reading."""
        super().warm_up(train_part, trial)
        self.next_log_probs(np.zeros((1, 1), np.int64))
        self.next_log_probs(np.zeros((1, 2), np.int64))  # goes on from there

    def fit(self, train_part: Corpus, dev: Corpus, trial: Trial) -> None:
        """AdamW over batches of documents until the budget ends; dev may say which weights to keep."""
        config, v = self.config, self.vocab_size
        if config["attention_dropout"]:
            raise UsageError(
                f"attention_dropout={config['attention_dropout']} is not for @numba: 0, or @torch"
            )
        (flat, net), (slope, grad) = network(v, config), network(v, config)
        put(net, initial(v, config, self.rng), v, config)
        longest = min(int(train_part.lengths.max(initial=1)), config["block"])
        most = config["windows"] if train_part.kind == "text" else config["batch"]
        state = int(self.rng.integers(1, 2**63)) if config["dropout"] else 0
        work, moments = workspace(v, config, most, longest, state), np.zeros((2, len(flat)), np.float32)
        decayed = 0 if config["decay"] == "all" else len(flat) - matrices(net)
        draw, average = self.batches(train_part)
        curve, pace = Curve(trial, dev), Pace(trial, most * longest, PARTS)
        total = round((trial.steps or 0) * average)
        done = steps = 0
        while shares := trial.shares(pace.steps()):
            if curve.due():
                self.params = taken(net, v, config)
                curve.point(self)
            pieces, bounds, sizes, targets = draw(len(shares))
            rates = np.array([learning_rate(config, share) for share in shares])
            losses = np.zeros(len(shares))
            train(
                net, flat, grad, slope, moments, train_part.tokens, pieces, bounds, sizes, rates,
                (config["beta1"], config["beta2"]), config["weight_decay"], decayed, config["clip"], steps,
                np.float32(config["embedding"]), work, losses,
            )  # fmt: skip
            if not np.isfinite(losses).all():
                bad = int(np.argmin(np.isfinite(losses)))
                raise Diverged(f"loss is {losses[bad]} after {steps + bad + 1} steps")
            steps += len(shares)
            done += targets
            trial.progress(done, total, loss=losses[-1])
        self.params = taken(net, v, config)
        if curve.due(finished=True):
            curve.point(self)
        if config["early_stopping"] and curve.best[1]:
            self.params = dict(curve.best[1])

    def batches(self, train_part: Corpus) -> tuple[Draw, float]:
        """What draws batches as the backend torch does, and the targets of an average one."""
        config, rng = self.config, self.rng
        block, size = config["block"], config["batch"]
        if train_part.kind == "text":
            block, windows = min(block, train_part.targets), config["windows"]
            places = np.arange(train_part.targets - block + 1)
            found = np.stack([places, places, places + block])
            return Draw(found, lambda n: rng.integers(0, len(places), (n, windows)), None), windows * block
        found = all_pieces(train_part, block)
        average = size * train_part.targets / len(train_part)
        if config["batches"] == "tree" and found.shape[1] == len(train_part):
            _, _, order = sorted_rows(train_part)
            near = neighbour_batches(len(order), size, config["neighbours"], rng)
            return Draw(found, lambda n: [order[chosen] for chosen in islice(near, n)], average), average
        return Draw(found, lambda n: rng.integers(0, found.shape[1], (n, size)), None), average

    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V), piece by piece."""
        found = []
        for start, fresh, end in pieces_of(inputs.shape[1], self.config["block"]):
            found.append(self.reader.rows(inputs[:, start:end])[:, fresh - start :])
        return np.concatenate(found, axis=1)

    def next_log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, V); where they extend the last call's by a character, one step instead of T."""
        return self.reader.last(inputs[:, start_of(inputs.shape[1], self.config["block"]) :])

    @property
    def reader(self) -> TransformerReader:
        """What reads with these parameters; kept until they are replaced."""
        if self._read is None or self._read[0] is not self.params:
            _, net = network(self.vocab_size, self.config)
            put(net, self.params, self.vocab_size, self.config)
            self._read = self.params, TransformerReader(net, self.vocab_size, self.config)
        return self._read[1]
