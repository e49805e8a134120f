"""`harness`: the fair, fast, pluggable benchmark for next-character language models.

    import harness
    run = harness.run("count-bigram,mlp")            # the table of `harness run`, as an object
    record = harness.score(my_torch_module, context=3)  # a model that you have already

Names are loaded when they are first used (PEP 562): `import harness` loads no numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.contract import DatasetSpec, ExporterSpec, Model, ModelSpec, Trial, WindowModel
    from harness.corpus import Alphabet, Batch, Corpus
    from harness.errors import Diverged
    from harness.hookspecs import hookimpl
    from harness.notebook import load, run, score

__version__ = "0.1.0"

_HOMES = {
    "Alphabet": "harness.corpus",
    "Batch": "harness.corpus",
    "Corpus": "harness.corpus",
    "DatasetSpec": "harness.contract",
    "Diverged": "harness.errors",
    "ExporterSpec": "harness.contract",
    "Model": "harness.contract",
    "ModelSpec": "harness.contract",
    "Trial": "harness.contract",
    "WindowModel": "harness.contract",
    "hookimpl": "harness.hookspecs",
    "load": "harness.notebook",
    "run": "harness.notebook",
    "score": "harness.notebook",
}

__all__ = [
    "Alphabet",
    "Batch",
    "Corpus",
    "DatasetSpec",
    "Diverged",
    "ExporterSpec",
    "Model",
    "ModelSpec",
    "Trial",
    "WindowModel",
    "hookimpl",
    "load",
    "run",
    "score",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
