"""The built-in models and exporters: ordinary plugins of the entry-point group `harness`."""

from __future__ import annotations

from harness import ExporterSpec, ModelSpec, hookimpl
from harness_plugins.exporters import EXPORTERS
from harness_plugins.specs import counting, mixtures, sequences, windows


@hookimpl
def harness_models() -> list[ModelSpec]:
    """Every built-in model; a class is imported only when its backend is chosen."""
    return [*counting.SPECS, *windows.SPECS, *sequences.SPECS, *mixtures.SPECS]


@hookimpl
def harness_exporters() -> list[ExporterSpec]:
    """Every built-in format of `harness export`."""
    return EXPORTERS
