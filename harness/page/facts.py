"""What the page shows, as plain data: gathered once, drawn without reading anything more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.compare import Standing
from harness.history import History
from harness.page.pairs import Table
from harness.page.profiles import Profiles
from harness.record import Header, SampleStatistics


@dataclass(frozen=True)
class Samples:
    """What a model drew: texts, and of each where it stands (`new`, `in train`, …; nothing where unknown)."""

    name: str
    texts: Sequence[str]
    marks: Sequence[Sequence[str]]
    statistics: SampleStatistics | None
    running: bool = False  # running text, not lines


@dataclass(frozen=True)
class Certificate:
    """What an audit has found of a model's code."""

    model: str
    date: str  # UTC
    checks: Sequence[tuple[str, str, str]]  # name; pass, fail or n/a; detail
    current: bool  # of the very code that the run used
    elsewhere: str = ""  # the data it was earned on, where they are not the run's


@dataclass(frozen=True, eq=False)
class Facts:
    """A page."""

    header: Header  # of the newest run
    others: Sequence[Header]  # runs whose cells stand in the same table
    rows: Sequence[Standing]
    looks: int
    samples: Sequence[Samples] = ()
    profiles: Profiles | None = None
    tables: Sequence[Table] = ()
    history: History | None = None
    certificates: Sequence[Certificate] = ()
    left_out: Sequence[str] = ()  # what could not be shown, and why
    damaged: bool = False  # whether a side file was left out
