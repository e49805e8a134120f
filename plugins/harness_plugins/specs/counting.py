"""Models that count: no gradient, or one that leads back to counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import ModelSpec
from harness_plugins.specs.checks import at_least


def ngram_options(config: Mapping[str, Any]) -> str | None:
    """What is wrong with an n-gram's options, if anything."""
    if config["order"] != "auto" and not 1 <= config["order"] <= 10:
        return f"order={config['order']} must be 1 to 10, or auto"
    return at_least(config, k=0)


SPECS = [
    ModelSpec(
        "uniform",
        {"numpy": "harness_plugins.uniform:Uniform"},
        context=0,
        stochastic=False,
        description="every character equally likely: the floor of any table, ln V nats",
    ),
    ModelSpec(
        "count-bigram",
        {"numpy": "harness_plugins.count_bigram:CountBigram"},
        config={"k": 1.0},
        check=lambda config: None if config["k"] >= 0 else f"k={config['k']:g} must not be negative",
        context=1,
        stochastic=False,
        paper="Karpathy, makemore part 1; Jurafsky & Martin, Speech and Language Processing, ch. 3",
        description="counts of character pairs with add-k smoothing",
    ),
    ModelSpec(
        "nn-bigram",
        {"numpy": "harness_plugins.nn_bigram:NeuralBigram"},
        # learning_rate 7 with momentum 0.9 is stable on any counts: curvature is at most 0.5
        config={"steps": 5000, "learning_rate": 7.0, "momentum": 0.9, "l2": 0.0001, "init": "zeros"},
        presets={
            "lecture": {
                "steps": 200,
                "learning_rate": 50.0,
                "momentum": 0.0,
                "l2": 0.01,
                "init": "torch",
            }
        },
        words={"init": ("zeros", "normal", "torch")},
        check=lambda config: at_least(config, steps=0, l2=0),
        context=1,
        steps=lambda config: config["steps"],
        paper="Karpathy, makemore part 1",
        description="one-hot row, softmax, full-batch gradient descent on the count matrix",
    ),
    ModelSpec(
        "ngram",
        {"numpy": "harness_plugins.ngram:Ngram"},
        config={
            "order": 6,
            "smoothing": "kneser-ney",
            "count": "tokens",
            "discounts": "formula",
            "k": 0.1,
        },
        words={
            "order": ("auto",),
            "smoothing": ("kneser-ney", "witten-bell", "add-k"),
            "count": ("tokens", "types"),
            "discounts": ("formula", "tuned"),
        },
        context=lambda config: (10 if config["order"] == "auto" else config["order"]) - 1,
        uses_dev=lambda config: config["order"] == "auto" or config["discounts"] == "tuned",
        stochastic=False,
        check=ngram_options,
        paper="Chen & Goodman 1999, An Empirical Study of Smoothing Techniques for Language Modeling",
        description="counts of the last order − 1 characters, modified Kneser–Ney smoothing",
    ),
]
