"""A model's instance as the harness makes it, and the models that it may build inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness import registry, selection
from harness.contract import Model, WindowModel
from harness.errors import UsageError
from harness.registry import Registry
from harness.seeds import derive
from harness.selection import Choice


def instance(found: Registry, name: str, backend: str, config: Mapping[str, Any], v: int, seed: int) -> Model:
    """A new instance of a registered model, with all that is set before `fit` and after loading.

    Raises `Unavailable` where this machine cannot run the backend.
    """
    spec = found.model(name, backend)
    kind = registry.resolve(spec, backend)
    model = kind(v, config, np.random.default_rng(seed))
    model.device = "cuda" if backend == "cuda" else "cpu"
    context = spec.context_of(config)
    if isinstance(model, WindowModel) and context is not None:
        model.context = max(1, context)
    model.default_steps = spec.steps_of(config)

    def builder(text: str, part: str) -> Model:
        choice = selection.one(found, text)
        if reason := choice.missing:
            raise UsageError(f"{name}: {text} cannot run here: {reason}")
        return instance(found, choice.spec.name, choice.backend, choice.config, v, derive(seed, part))

    model.builder = builder
    return model


def opening(choice: Choice, plugins: Sequence[str], v: int) -> dict[str, Any]:
    """What a cell's process is told to open: the model as it was chosen, and V."""
    return {
        "plugins": list(plugins),
        "model": choice.spec.name,
        "backend": choice.backend,
        "config": dict(choice.config),
        "vocabulary": v,
        "device": "cuda" if choice.backend == "cuda" else "cpu",
        "context": choice.spec.context_of(choice.config),
    }
