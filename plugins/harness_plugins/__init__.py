"""The built-in models: ordinary plugins of the entry-point group `harness`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import ModelSpec, hookimpl


def at_least(config: Mapping[str, Any], **least: float) -> str | None:
    """The first option that is below its least value, as a reason."""
    for key, value in least.items():
        if config[key] < value:
            return f"{key}={config[key]:g} must be at least {value:g}"
    return None


def ngram_options(config: Mapping[str, Any]) -> str | None:
    """What is wrong with an n-gram's options, if anything."""
    if config["order"] != "auto" and not 1 <= config["order"] <= 10:
        return f"order={config['order']} must be 1 to 10, or auto"
    return at_least(config, k=0)


@hookimpl
def harness_models() -> list[ModelSpec]:
    """Every built-in model; a class is imported only when its backend is chosen."""
    return [
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
        ModelSpec(
            "mlp",
            {
                "numpy": "harness_plugins.mlp:Mlp",
                "torch": "harness_plugins.mlp_torch:MlpTorch",
                "cuda": "harness_plugins.mlp_torch:MlpTorch",
            },
            config={
                "context": 5,
                "embedding": 10,
                "hidden": 100,
                "steps": 6000,
                "batch": 64,
                "optimizer": "adamw",
                "learning_rate": 0.01,
                "weight_decay": 0.01,
                "schedule": "cosine",
                "init": "scaled",
            },
            presets={
                "lecture": {
                    "context": 3,
                    "embedding": 10,
                    "hidden": 200,
                    "steps": 200_000,
                    "batch": 32,
                    "optimizer": "sgd",
                    "learning_rate": 0.1,
                    "weight_decay": 0.0,
                    "schedule": "step",
                    "init": "normal",
                },
                "lecture-small": {
                    "context": 3,
                    "embedding": 2,
                    "hidden": 100,
                    "steps": 200_000,
                    "batch": 32,
                    "optimizer": "sgd",
                    "learning_rate": 0.1,
                    "weight_decay": 0.0,
                    "schedule": "step",
                    "init": "normal",
                },
            },
            words={
                "optimizer": ("sgd", "adamw"),
                "schedule": ("step", "cosine", "constant"),
                "init": ("normal", "scaled"),
            },
            context=lambda config: config["context"],
            stochastic=True,
            check=lambda config: at_least(config, context=1, embedding=1, hidden=1, batch=1, steps=0),
            steps=lambda config: config["steps"],
            requires={"torch": ("torch",), "cuda": ("torch",)},
            paper="Bengio et al. 2003, A Neural Probabilistic Language Model; Karpathy, makemore part 2",
            description="embeddings of the last characters, one tanh layer, softmax",
        ),
    ]
