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
    for key, plain in (("discounts", "formula"), ("power", 0.0), ("classes", 0)):
        if config["smoothing"] != "kneser-ney" and config[key] != plain:
            return f"{key}={config[key]} needs smoothing=kneser-ney, not {config['smoothing']}"
    if config["classes"] and config["discounts"] == "formula":
        return f"classes={config['classes']} needs discounts=tuned or held-out: so are views weighted"
    if config["power"] > 1 or config["classes"] > 8:
        key, most = ("power", 1) if config["power"] > 1 else ("classes", 8)
        return f"{key}={config[key]} must be at most {most}"
    return at_least(config, k=0, power=0, classes=0)


def ngram_uses_dev(config: Mapping[str, Any]) -> bool:
    """Whether an n-gram chooses on dev: not with discounts=held-out, which chooses on train."""
    by_dev = ("tuned",) if config["order"] != "auto" else ("tuned", "formula")
    return config["discounts"] in by_dev


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
        {
            "numpy": "harness_plugins.nn_bigram:NeuralBigram",
            "numba": "harness_plugins.nn_bigram_numba:NeuralBigramNumba",
        },
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
        check=lambda config: at_least(config, steps=0, learning_rate=0, l2=0),
        context=1,
        steps=lambda config: config["steps"],
        requires={"numba": ("numba",)},
        paper="Karpathy, makemore part 1",
        description="one-hot row, softmax, full-batch gradient descent on the count matrix",
    ),
    ModelSpec(
        "ngram",
        {"numpy": "harness_plugins.ngram:Ngram", "numba": "harness_plugins.ngram_numba:NgramNumba"},
        config={
            "order": 6,
            "smoothing": "kneser-ney",
            "count": "tokens",
            "discounts": "formula",
            "power": 0.0,
            "classes": 0,
            "k": 0.1,
        },
        presets={  # power and classes were chosen on dev of makemore-names and on the tail of train of text
            "lines": {"order": 8, "count": "types", "discounts": "tuned", "power": 0.3, "classes": 2},
            "text": {"order": 10, "discounts": "held-out", "power": 0.3, "classes": 2},
        },
        words={
            "order": ("auto",),
            "smoothing": ("kneser-ney", "witten-bell", "add-k"),
            "count": ("tokens", "types"),
            "discounts": ("formula", "tuned", "held-out"),
        },
        context=lambda config: (10 if config["order"] == "auto" else config["order"]) - 1,
        uses_dev=ngram_uses_dev,
        stochastic=False,
        check=ngram_options,
        requires={"numba": ("numba",)},
        paper="Chen & Goodman 1999, An Empirical Study of Smoothing Techniques for Language Modeling; "
        "Teh 2006; Kneser & Ney 1993",
        description="counts of the last order − 1 characters, modified Kneser–Ney smoothing",
    ),
]
