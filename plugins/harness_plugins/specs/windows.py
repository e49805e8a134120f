"""Networks that see the last characters through a window."""

from __future__ import annotations

from harness import ModelSpec
from harness.contract import Config
from harness_plugins.specs.checks import at_least

# Bengio's network as makemore part 2 trains it; parts 3 and 4 add to it.
LECTURE: Config = {
    "context": 3,
    "embedding": 10,
    "hidden": 200,
    "steps": 200_000,
    "batch": 32,
    "batch_of": "windows",
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "weight_decay": 0.0,
    "schedule": "step",
    "init": "normal",
}


def wrong_for_mlp(config: Config) -> str | None:
    """What is wrong with a configuration of `mlp`."""
    drawn = 2 if config["batch"] == "weighted" else config["batch"]
    if config["normalize"] == "batch" and drawn < 2:
        return "batch=1 has no variance: with normalize=batch it must be at least 2"
    return at_least(
        {**config, "batch": drawn},
        context=1,
        embedding=1,
        hidden=1,
        batch=1,
        steps=0,
        learning_rate=0,
        weight_decay=0,
    ) or share(config, "beta2")


def many_seeds_of_mlp(backend: str, config: Config) -> bool:
    """Whether many seeds of `mlp` are trained as one problem, each equal to its solo run.

    In numba a seed's sums are those of its solo run. In torch they are added in another order, so not
    where rounding grows: from `init=normal`, and with the batch statistics of documents, two runs
    that are one rounding apart are 0.05 apart after 100 steps, with AdamW at 0.02 up to 0.002 after
    1,000: no other order of sums is the same run.
    """
    fast = config["optimizer"] == "adamw" and config["learning_rate"] > STEADY
    normalized = (config["normalize"], config["batch_of"]) == ("batch", "documents")
    grows = fast or normalized or config["init"] == "normal"
    return backend == "numba" or (backend in ("torch", "cuda") and not grows)


def wrong_for_wavenet(config: Config) -> str | None:
    """What is wrong with a configuration of `wavenet`."""
    context = config["context"]
    if context < 2 or context & (context - 1):
        return f"context={context} must be a power of two: 2, 4, 8, 16 …"
    return (
        at_least(config, embedding=1, hidden=1, batch=2, steps=0, learning_rate=0, weight_decay=0)
        or share(config, "beta2")
        or share(config, "dropout")
    )


def share(config: Config, key: str) -> str | None:
    """An option that must lie in [0, 1)."""
    return None if 0 <= config[key] < 1 else f"{key}={config[key]:g} must be at least 0 and below 1"


STEADY = 0.01  # the learning rate up to which AdamW does not magnify rounding
MLP_STEPS = 1000  # mlp@scalar stops before them unless they are asked for

SPECS = [
    ModelSpec(
        "mlp",
        {
            "numpy": "harness_plugins.mlp:Mlp",
            "torch": "harness_plugins.mlp_torch:MlpTorch",
            "cuda": "harness_plugins.mlp_torch:MlpTorch",
            "numba": "harness_plugins.mlp_numba:MlpNumba",
            "scalar": "harness_plugins.mlp_scalar:MlpScalar",
        },
        config={
            "context": 5,
            "embedding": 10,
            "hidden": 100,
            "normalize": "none",
            "blank": False,
            "steps": MLP_STEPS,
            "batch": 512,
            "batch_of": "contexts",
            "optimizer": "adamw",
            "learning_rate": 0.02,
            "beta2": 0.99,
            "weight_decay": 0.1,
            "schedule": "cosine",
            "init": "scaled",
        },
        presets={
            "lecture": LECTURE,
            "lecture-small": {**LECTURE, "embedding": 2, "hidden": 100},
            "lecture-3": {**LECTURE, "normalize": "batch", "init": "kaiming"},
            "lecture-4": {**LECTURE, "normalize": "batch", "init": "jittered"},
            "makemore": {
                "context": 16,
                "embedding": 64,
                "hidden": 64,
                "normalize": "none",
                "blank": True,
                "steps": 15_000,
                "batch": 32,
                "batch_of": "documents",
                "optimizer": "adamw",
                "learning_rate": 5e-4,
                "beta2": 0.99,
                "weight_decay": 0.01,
                "schedule": "constant",
                "init": "torch",
            },
        },
        words={
            "normalize": ("none", "batch"),
            "batch": ("weighted",),
            "batch_of": ("windows", "documents", "contexts"),
            "optimizer": ("sgd", "adamw"),
            "schedule": ("step", "cosine", "constant"),
            "init": ("normal", "scaled", "kaiming", "jittered", "torch"),
        },
        context=lambda config: config["context"],
        stochastic=True,
        vectorised=many_seeds_of_mlp,
        check=wrong_for_mlp,
        steps=lambda config: config["steps"],
        requires={"torch": ("torch",), "cuda": ("torch",), "numba": ("numba",)},
        paper="Bengio et al. 2003, A Neural Probabilistic Language Model; Karpathy, makemore parts 2 to 4",
        description="embeddings of the last characters, one tanh layer, softmax",
    ),
    ModelSpec(
        "wavenet",
        {"torch": "harness_plugins.wavenet:WaveNet", "cuda": "harness_plugins.wavenet:WaveNet"},
        config={
            "context": 8,
            "embedding": 24,
            "hidden": 64,
            "dropout": 0.0,
            "steps": 1500,
            "batch": 256,
            "optimizer": "adamw",
            "learning_rate": 0.01,
            "beta2": 0.99,
            "weight_decay": 0.01,
            "schedule": "cosine",
            "early_stopping": True,
        },
        presets={
            "lecture": {
                "context": 8,
                "embedding": 24,
                "hidden": 128,
                "dropout": 0.0,
                "steps": 200_000,
                "batch": 32,
                "optimizer": "sgd",
                "learning_rate": 0.1,
                "weight_decay": 0.0,
                "schedule": "step",
                "early_stopping": False,
            },
        },
        words={"optimizer": ("sgd", "adamw"), "schedule": ("step", "cosine", "constant")},
        context=lambda config: config["context"],
        stochastic=True,
        uses_dev=lambda config: config["early_stopping"],
        check=wrong_for_wavenet,
        steps=lambda config: config["steps"],
        requires=("torch",),
        paper="van den Oord et al. 2016, WaveNet; Karpathy, makemore part 5",
        description="pairs of characters fused level by level, with batch normalisation",
    ),
]
