"""Small networks of every kind that torch has, and something for them to read."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from harness import Alphabet, Corpus, registry, selection
from harness_plugins.captured import Captured

ELSEWHERE = "cpu:0"  # the CPU by a name under which models take the path of CUDA
MLP = "context=3,embedding=4,hidden=12"
GPT = "embedding=8,heads=2,layers=1"
STILL = "dropout=0,batch=8"
WINDOWS = [
    f"mlp:{MLP},batch=16",
    f"mlp:{MLP},batch=16,batch_of=windows",
    f"mlp:{MLP},batch=16,normalize=batch,init=jittered",
    f"mlp:{MLP},batch=4,batch_of=documents,blank=true,init=torch",
    f"mlp:{MLP},batch=16,optimizer=sgd,schedule=step",
    "wavenet:embedding=4,hidden=6,context=4,batch=16",
]
DOCUMENTS = [
    f"bow:embedding=6,hidden=6,{STILL}",
    f"gru:embedding=4,hidden=6,{STILL}",
    "gru:preset=makemore,embedding=4,hidden=6,batch=3",
    f"transformer:{GPT},{STILL}",
    f"transformer:preset=makemore,{GPT},batch=8",
    f"microgpt:{GPT},batch=8,block=4",
]
V = 4  # three letters and the boundary
TEXT = [
    "lstm:embedding=4,hidden=6,dropout=0,windows=4,block=12",
    "bow:embedding=6,hidden=6,windows=4,block=12",
]
DROPPED = [
    "gru:embedding=4,hidden=6,dropout=0.3,windows=4,block=12",
    f"transformer:{GPT},batches=random,batch=8,dropout=0.2,attention_dropout=0.1",
]


@cache
def lines() -> Corpus:
    """Documents of one to eight of three letters."""
    rng = np.random.default_rng(0)
    drawn = [
        rng.choice(list("abc"), length, p=[0.5, 0.3, 0.2]) for length in rng.integers(1, 9, 303)
    ]  # an epoch ends in half a batch
    return Corpus.from_documents(["".join(one) for one in drawn], Alphabet("abc"))


@cache
def text() -> Corpus:
    """Running text of the same letters."""
    drawn = np.random.default_rng(0).choice(list("abc"), 2000, p=[0.5, 0.3, 0.2])
    return Corpus.from_documents(["".join(drawn)], Alphabet("abc"), kind="text")


def read_by(selected: str) -> Corpus:
    """What a network is trained on here."""
    return text() if "windows=" in selected else lines()


def new(selected: str, device: str, seed: int) -> Any:
    """A model as the harness makes it."""
    choice = selection.one(registry.discover(), selected)
    model = registry.resolve(choice.spec, "torch")(V, choice.config, np.random.default_rng(seed))
    model.context = choice.config.get("context")
    model.device = device
    return model


def training(selected: str, device: str = ELSEWHERE, seed: int = 5) -> Captured:
    """A model's steps without the host, from its start."""
    train = read_by(selected)
    model = new(selected, device, seed)
    if hasattr(model, "start"):
        model_steps: Captured = model.captured(model.start(), train)
    else:
        model.params = dict(model.initial())
        model_steps = model.captured(train)
    return model_steps
