"""Networks that see the last characters through a window."""

from __future__ import annotations

from harness import ModelSpec
from harness_plugins.specs.checks import at_least

SPECS = [
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
