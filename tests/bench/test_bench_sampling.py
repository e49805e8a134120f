"""10,000 names in one go against the same model one name at a time, by processor time, in one run.

python -m pytest tests/bench/test_bench_sampling.py --benchmark-only -s
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from rows import CLOCK, Row, in_turns, product_rate

from harness import Corpus, Model, Trial, evaluate, runner, sample
from harness.instances import instance

NAMES = 10_000
LEAST, LEAST_OF_FLOOR = 100, 0.5
MODELS = [
    "uniform", "count-bigram", "nn-bigram", "nn-bigram@numba", "ngram", "ngram@numba", "mlp", "mlp@torch",
    "mlp@numba", "wavenet", "bow", "rnn", "gru", "lstm", "transformer", "transformer@numba", "microgpt",
    "microgpt@numba", "mixture",
]  # fmt: skip
STEPS = 30  # of training, where there are any: enough for names of usual length
TABLES = ("C", "embedding.weight", "wte.weight", "wpe.weight", "characters.weight", "positions.weight",
          "layers.0.weight_ih_l0")  # fmt: skip

Config = Mapping[str, Any]
# Of each network: functions of which numbers are taken for every history, as (function, how many of them).
CURVES: dict[str, Callable[[Config], list[tuple[str, int]]]] = {
    "mlp": lambda c: [("tanh", c["hidden"])],
    "wavenet": lambda c: [("tanh", c["hidden"] * (c["context"] - 1))],
    "bow": lambda c: [("tanh", c["hidden"])],
    "rnn": lambda c: [("tanh", c["hidden"])],
    "gru": lambda c: [("sigmoid", 2 * c["hidden"]), ("tanh", c["hidden"])],
    "lstm": lambda c: [("sigmoid", 3 * c["hidden"]), ("tanh", 2 * c["hidden"])],
    "transformer": lambda c: [("gelu", 4 * c["embedding"] * c["layers"])],
    "microgpt": lambda c: [],
}


def fitted(name: str) -> tuple[Model, Corpus]:
    """A model after a few steps on the embedded names, and its training part."""
    made = runner.plan(name, data="names")
    choice = made.cells[0].choice
    if choice.missing:
        pytest.skip(choice.missing)
    split = made.split_for(choice)
    v = split.train.alphabet.size
    model = instance(made.registry, choice.spec.name, choice.backend, choice.config, v, 1)
    dev = split.dev.corpus
    trial = Trial(
        steps=STEPS if model.default_steps or name == "mixture" else None,
        on_build=model.builder,
        on_checkpoint=lambda fitted: float(evaluate.score_targets(fitted, dev, None).mean()),
    )
    model.fit(split.train, dev, trial)
    return model, split.train


def least(function: Callable[[], Any], rounds: int = 50) -> float:
    """The least seconds of a call."""
    return in_turns(rounds, function)[0]


def rates() -> dict[str, float]:
    """Seconds an operation takes here, on numbers in the cache: in products, and functions of numbers."""
    import torch
    from torch.nn import functional as F

    a, x = np.random.default_rng(0).standard_normal((384, 384)), torch.randn(256, 128)
    y, operations = np.random.default_rng(0).standard_normal(2**15), 2 * 384**3
    return {
        "float64": least(lambda: a @ a, 5) / operations,
        "float32": 1 / product_rate(),
        "tanh": least(lambda: torch.tanh(x)) / x.numel(),
        "sigmoid": least(lambda: torch.sigmoid(x)) / x.numel(),
        "gelu": least(lambda: F.gelu(x, approximate="tanh")) / x.numel(),
        "tanh, float64": least(lambda: np.tanh(y)) / y.size,
        "exp, float64": least(lambda: np.exp(y)) / y.size,
    }


def floor(name: str, model: Model, histories: int) -> float:
    """Seconds for what cannot be left out: each history's products and functions, V exponentials to draw.

    Tables are looked up, also what a character gives the first recurrent layer.
    """
    cost, config = rates(), model.config
    kind = name.partition("@")[0]
    each = model.vocab_size * cost["exp, float64"]
    if kind in CURVES:
        exact = name == "mlp"  # the oracle, in float64
        for key, value in model.params.items():
            if value.ndim == 2 and key not in TABLES:
                level = int(key.split(".")[1]) if key.startswith("levels.") else None
                times = 1 if level is None else config["context"] >> (level + 1)
                each += 2 * value.size * times * cost["float64" if exact else "float32"]
        for function, count in CURVES[kind](config):
            each += count * cost[f"{function}, float64" if exact else function]
    return histories * each


def counted(model: Model, limit: int) -> int:
    """Histories that a sampler asks for, of 10,000 names."""
    asked = model.next_log_probs
    rows = []

    def counting(inputs: Any) -> Any:
        rows.append(len(inputs))
        return asked(inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "next_log_probs", counting)
        model.sample(NAMES, limit, np.random.default_rng(0))
    return sum(rows)


@pytest.mark.parametrize("name", MODELS)
def test_ten_thousand_names(benchmark: Any, name: str) -> None:
    """100 times as fast as one at a time, by the character, or half of what the machine can do."""
    model, train = fitted(name)
    limit = sample.longest(train)
    histories = counted(model, limit)

    def speed(names: int, at_once: int, seed: int) -> float:
        """Seconds a character, ends included."""
        before, characters = CLOCK(), 0
        for first in range(0, names, at_once):
            drawn = model.sample(at_once, limit, np.random.default_rng([seed, first]))
            characters += sum(min(len(document) + 1, limit) for document in drawn)
        return (CLOCK() - before) / characters

    alone, together = (
        min(times)
        for times in zip(*((speed(40, 1, s), speed(NAMES, NAMES, s)) for s in range(5)), strict=True)
    )
    drawn = benchmark.pedantic(lambda: model.sample(NAMES, limit, np.random.default_rng(0)), rounds=3)
    characters = sum(min(len(document) + 1, limit) for document in drawn)
    row = Row(
        row=f"sampling 10,000 names, {name}",
        peer="one name at a time",
        peer_value=alone * characters,
        ours=together * characters,
        unit="s",
        least=LEAST,
        floor=None if name == "mixture" else floor(name, model, histories),
        note=f"one at a time: 40 names, by the character; {histories:,} histories",
    )
    benchmark.extra_info["or_floor_share"] = LEAST_OF_FLOOR
    ratio = row.keep(benchmark)
    assert ratio >= LEAST or (row.floor_share or 0) >= LEAST_OF_FLOOR
