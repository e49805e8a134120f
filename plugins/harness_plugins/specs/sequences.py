"""Networks that read whole documents: bag of words, recurrent networks, transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness import ModelSpec
from harness_plugins.specs.checks import at_least

Config = Mapping[str, Any]

TRAINING: dict[str, Any] = {
    "steps": 300,
    "batch": 128,
    "neighbours": 4,
    "batches": "tree",
    "block": 128,
    "windows": 16,
    "learning_rate": 0.01,
    "schedule": "cosine",
    "warmup": 0.05,
    "beta1": 0.9,
    "beta2": 0.99,
    "weight_decay": 0.1,
    "decay": "weights",
    "clip": 1.0,
    "dropout": 0.2,
    "early_stopping": True,
}

CHOSEN_ON_TEST = "its steps were chosen on test by those who reported them"

# makemore.py as it is since August 2022: batches of 32 words drawn with replacement, a constant rate
MAKEMORE: dict[str, Any] = {  # complete, as every preset: no recipe rests on a default
    "steps": 15_000,
    "batch": 32,
    "batches": "random",
    "learning_rate": 5e-4,
    "schedule": "constant",
    "warmup": 0.0,
    "beta1": 0.9,
    "beta2": 0.99,
    "weight_decay": 0.01,
    "decay": "all",
    "clip": 0.0,
    "dropout": 0.0,
    "early_stopping": False,
}

WORDS = {
    "batches": ("tree", "random"),
    "schedule": ("cosine", "linear", "constant"),
    "decay": ("weights", "all"),
}


def training_options(config: Config) -> str | None:
    """What is wrong with the options of training, if anything."""
    for key in ("dropout", "input_dropout", "attention_dropout", "warmup", "beta1", "beta2"):
        if key in config and not 0 <= config[key] < 1:
            return f"{key}={config[key]:g} must be at least 0 and below 1"
    return at_least(
        config, steps=0, batch=1, neighbours=1, block=1, windows=1, learning_rate=0, weight_decay=0, clip=0
    )


def recurrent_options(config: Config) -> str | None:
    """What is wrong with a recurrent network's options, if anything."""
    if config.get("cell") == "makemore" and (config["layers"] != 1 or config["batches"] != "random"):
        return "cell=makemore has layers=1 and batches=random"
    if config.get("cell") == "makemore" and config["dropout"] + config["input_dropout"] > 0:
        return "cell=makemore has no dropout: dropout=0,input_dropout=0"
    return training_options(config) or at_least(config, embedding=1, hidden=1, layers=1)


def transformer_options(config: Config) -> str | None:
    """What is wrong with a transformer's options, if anything."""
    if wrong := training_options(config) or at_least(config, embedding=1, heads=1, layers=1):
        return wrong
    if config["embedding"] % config["heads"]:
        return f"embedding={config['embedding']} must be a multiple of heads={config['heads']}"
    return None


def bow_options(config: Config) -> str | None:
    """What is wrong with a bag of words' options, if anything."""
    return training_options(config) or at_least(config, embedding=1, hidden=1)


def sequence(
    name: str,
    target: str,
    config: Config,
    *,
    check: Callable[[Config], str | None],
    presets: Mapping[str, Config] | None = None,
    words: Mapping[str, tuple[str, ...]] | None = None,
    numba: str | None = None,
    remarks: Mapping[str, str] | None = None,
    paper: str,
    description: str,
) -> ModelSpec:
    """What these models have in common: one class on the CPU and on CUDA, and dev where it chooses.

    numba: a class that is compiled.
    """
    backends, requires = {"torch": target, "cuda": target}, {"torch": ("torch",), "cuda": ("torch",)}
    if numba is not None:
        backends["numba"], requires["numba"] = numba, ("numba",)
    return ModelSpec(
        name,
        backends,
        config=config,
        presets=presets or {},
        words=WORDS | dict(words or {}),
        remarks=remarks or {},
        check=check,
        uses_dev=lambda config: config["early_stopping"],
        stochastic=True,
        steps=lambda config: config["steps"],
        requires=requires,
        paper=paper,
        description=description,
    )


RECURRENT = {"embedding": 32, "hidden": 256, "layers": 1, "input_dropout": 0.0}
RECURRENT_MAKEMORE = MAKEMORE | {
    "embedding": 64,
    "hidden": 64,
    "layers": 1,
    "cell": "makemore",
    "input_dropout": 0.0,
}
GPT = {
    "embedding": 64,
    "heads": 4,
    "layers": 4,
    "norm": "layer",
    "activation": "gelu",
    "qkv_bias": True,
    "bias": True,
    "head_bias": False,
    "attention_dropout": 0.0,
    "init": "torch",
}
GPT_WORDS = {
    "norm": ("layer", "rms"),
    "activation": ("gelu", "relu"),
    "init": ("torch", "gpt", "small"),
}
MAKEMORE_GPT = MAKEMORE | GPT | {"block": 16}  # GPT's sizes are makemore's
LECTURE_GPT = GPT | {  # Let's build GPT: 10.8 million parameters on tinyshakespeare, made for a GPU
    "embedding": 384,
    "heads": 6,
    "layers": 6,
    "activation": "relu",
    "qkv_bias": False,
    "head_bias": True,
    "init": "torch",
    "block": 256,
    "batch": 64,
    "windows": 64,
    "steps": 5000,
    "learning_rate": 3e-4,
    "schedule": "constant",
    "warmup": 0.0,
    "beta1": 0.9,
    "beta2": 0.999,
    "weight_decay": 0.01,
    "decay": "all",
    "clip": 0.0,
    "dropout": 0.2,
    "attention_dropout": 0.2,
    "early_stopping": False,
}
MICROGPT = GPT | {  # 4,192 parameters: one document a step, a linear rate, no decay
    "embedding": 16,
    "heads": 4,
    "layers": 1,
    "norm": "rms",
    "activation": "relu",
    "qkv_bias": False,
    "bias": False,
    "init": "small",
    "block": 16,
    "batch": 1,
    "batches": "random",
    "steps": 1000,
    "learning_rate": 0.01,
    "schedule": "linear",
    "warmup": 0.0,
    "beta1": 0.85,
    "beta2": 0.99,
    "weight_decay": 0.0,
    "decay": "weights",
    "clip": 0.0,
    "dropout": 0.0,
    "early_stopping": False,
}
CELL = {"cell": ("standard", "makemore")}

SPECS = [
    sequence(
        "rnn",
        "harness_plugins.recurrent:Rnn",
        TRAINING | RECURRENT | {"cell": "standard", "steps": 500, "learning_rate": 0.004},
        check=recurrent_options,
        presets={"makemore": RECURRENT_MAKEMORE},
        words=CELL,
        paper="Mikolov et al. 2010, Recurrent neural network based language model",
        description="a simple recurrent network",
    ),
    sequence(
        "gru",
        "harness_plugins.recurrent:Gru",
        TRAINING | RECURRENT | {"cell": "standard"},
        check=recurrent_options,
        presets={"makemore": RECURRENT_MAKEMORE},
        words=CELL,
        paper="Cho et al. 2014, On the Properties of Neural Machine Translation: Encoder–Decoder Approaches",
        description="gated recurrent units",
    ),
    sequence(
        "lstm",
        "harness_plugins.recurrent:Lstm",
        TRAINING | RECURRENT | {"cell": "standard", "steps": 250},
        check=recurrent_options,
        words={"cell": ("standard",)},
        paper="Hochreiter & Schmidhuber 1997, Long Short-Term Memory",
        description="long short-term memory",
    ),
    sequence(
        "bow",
        "harness_plugins.bow:Bow",
        TRAINING | {"embedding": 64, "hidden": 64, "steps": 1300, "dropout": 0.0},
        check=bow_options,
        presets={"makemore": MAKEMORE | {"embedding": 64, "hidden": 64, "block": 16}},
        paper="Karpathy, makemore.py",
        description="the mean of all embeddings so far, a tanh layer",
    ),
    sequence(
        "transformer",
        "harness_plugins.attention:TransformerModel",
        TRAINING | GPT | {"steps": 220, "batch": 64, "learning_rate": 0.004, "dropout": 0.1},
        check=transformer_options,
        presets={
            "makemore": MAKEMORE_GPT,
            "makemore-2022": MAKEMORE_GPT
            | {
                "init": "gpt",
                "steps": 49_500,
                "dropout": 0.1,
                "attention_dropout": 0.1,
                "clip": 1.0,
            },
            "lecture-gpt": LECTURE_GPT,
        },
        numba="harness_plugins.microgpt_numba:TransformerNumba",
        remarks={
            "makemore": CHOSEN_ON_TEST,
            "makemore-2022": CHOSEN_ON_TEST,
            "lecture-gpt": "unlike gpt.py: dropout after the embeddings too, scores scaled by a head's size",
        },
        words=GPT_WORDS,
        paper="Vaswani et al. 2017, Attention Is All You Need; Karpathy, Let's build GPT",
        description="pre-norm, causal multi-head attention, learned positions",
    ),
    sequence(
        "microgpt",
        "harness_plugins.attention:TransformerModel",
        TRAINING
        | GPT
        | {
            "embedding": 32,
            "layers": 1,
            "norm": "rms",
            "activation": "relu",
            "qkv_bias": False,
            "bias": False,
            "init": "small",
            "steps": 400,
            "learning_rate": 0.02,
            "dropout": 0.0,
        },
        check=transformer_options,
        presets={"karpathy": MICROGPT},
        numba="harness_plugins.microgpt_numba:TransformerNumba",
        words=GPT_WORDS,
        paper="Karpathy, microgpt",
        description="the smallest transformer: RMS norm, ReLU, no biases",
    ),
]
