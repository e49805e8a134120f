"""Every hook that `harness` calls. A plugin implements any of them, with any subset of arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from harness.contract import DatasetSpec, ExporterSpec, ModelSpec
    from harness.record import Record

hookspec = pluggy.HookspecMarker("harness")
hookimpl = pluggy.HookimplMarker("harness")


@hookspec
def harness_models() -> Sequence[ModelSpec] | ModelSpec:  # type: ignore[empty-body]
    """The models that this plugin brings. Import nothing heavy here: backends may be strings."""


@hookspec
def harness_datasets() -> Sequence[DatasetSpec] | DatasetSpec:  # type: ignore[empty-body]
    """The datasets that this plugin brings; nothing is read before one is chosen."""


@hookspec
def harness_exporters() -> Sequence[ExporterSpec] | ExporterSpec:  # type: ignore[empty-body]
    """The formats that this plugin adds to `harness export --to`; functions may be strings."""


@hookspec
def harness_record(record: Record) -> None:
    """Called with each record when it has been written: for loggers and trackers."""
