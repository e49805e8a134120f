"""Which causes explain a number: one of them alone, or two of different stages together."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from harness.causes import Cause, Scored, Stage, protocol
from harness.errors import UsageError

STAGES: tuple[Stage, ...] = ("split", "part", "documents", "average", "unit")
SAME = 1e-12  # a cause that moves a figure by less does not act on it
SLACK = 1e-9  # of a window: its edges are decimal, figures are not

# the scores under a way of splitting and a part; None for a stage is the protocol's own
Scores = Callable[[Cause | None, Cause | None], Scored | None]


@dataclass(frozen=True)
class Claim:
    """A number as its author printed it."""

    nll: float
    within: float  # half the unit of its last digit, or what was asked for
    text: str = ""  # as it was printed

    @property
    def window(self) -> tuple[str, str]:
        """What rounds to it, from and to, in decimal: `2.46` -> `2.455`, `2.465`."""
        printed, half = Decimal(self.text or repr(self.nll)), Decimal(f"{self.within:.12g}")
        return f"{printed - half:f}", f"{printed + half:f}"

    def explained_by(self, figure: float) -> bool:
        """Whether a figure rounds to it."""
        return abs(figure - self.nll) <= self.within * (1 + SLACK) + SAME


@dataclass(frozen=True)
class Figure:
    """What comes out where some causes are at work."""

    causes: tuple[Cause, ...]
    value: float

    @property
    def name(self) -> str:
        """Its causes, in the order in which they act."""
        return " + ".join(cause.name for cause in self.causes) or "the protocol"


@dataclass(frozen=True)
class Diagnosis:
    """What explains a claim."""

    claim: Claim
    protocol: float | None  # None: infinite, a target has p = 0
    found: tuple[Figure, ...]  # of as few causes as possible, the most usual first
    nearest: Figure  # of all figures tried
    tried: int

    @property
    def agrees(self) -> bool:
        """Whether the protocol itself gives the number."""
        return self.protocol is not None and self.claim.explained_by(self.protocol)


def read_claim(text: str, within: float | None = None) -> Claim:
    """`2.36` -> 2.36 ± 0.005; `within` is said in place of the rounding."""
    text = text.strip()
    match = re.fullmatch(r"[+-]?[0-9]*\.?([0-9]*)(?:[eE]([+-]?[0-9]+))?", text)
    try:
        nll = float(text)
    except ValueError:
        match = None
    if not match or not math.isfinite(nll) or nll < 0:
        raise UsageError(f"--nll {text!r}: the number as you printed it, 0 or above: 2.36")
    decimals = len(match[1]) if "." in text else 0
    half = 0.5 * 10.0 ** (int(match[2] or 0) - decimals) if within is None else within
    return Claim(nll, half, text)


def figure(scores: Scores, causes: Sequence[Cause]) -> float | None:
    """The number that some causes, at most one a stage, give together; None where one does not apply."""
    by_stage = {cause.stage: cause for cause in causes}
    scored = scores(by_stage.get("split"), by_stage.get("part"))
    if scored is not None and "documents" in by_stage:
        scored = by_stage["documents"].apply(scored)
    if scored is None or not len(scored.nats):
        return None
    value: float | None = protocol(scored)
    if "average" in by_stage:
        value = by_stage["average"].apply(scored)
    if "unit" in by_stage and value is not None:
        value = by_stage["unit"].apply(value)
    return value if value is not None and math.isfinite(value) else None


def figures(scores: Scores, causes: Sequence[Cause], many: int) -> Iterator[Figure]:
    """The figures of so many causes, each of another stage; left out where one of them moves nothing."""
    ordered = sorted(causes, key=lambda cause: STAGES.index(cause.stage))
    for chosen in itertools.combinations(ordered, many):
        if len({cause.stage for cause in chosen}) < many:
            continue
        value = figure(scores, chosen)
        if value is None:
            continue
        fewer = (figure(scores, some) for some in itertools.combinations(chosen, many - 1))
        if all(other is None or abs(other - value) > SAME for other in fewer):
            yield Figure(chosen, value)


def diagnose(claim: Claim, scores: Scores, causes: Sequence[Cause], most: int = 2) -> Diagnosis:
    """Try the protocol, then every cause, then every two; stop where something explains the claim.

    causes: in each stage the most usual first. What explains a claim to its last digit explains it, and
    no nearer figure does it better: explanations are ranked by how usual their causes are.
    Raises `UsageError` where no figure is finite.
    """
    base = figure(scores, ())
    tried = [] if base is None else [Figure((), base)]
    found: list[Figure] = []
    if base is None or not claim.explained_by(base):
        for many in range(1, most + 1):
            tried += figures(scores, causes, many)
            found = [each for each in tried if claim.explained_by(each.value)]
            if found:
                break
    if not tried:
        raise UsageError("no figure is finite: a target has p = 0 whatever is done")
    found.sort(key=lambda each: usual(each, causes))
    nearest = min(tried, key=lambda each: abs(each.value - claim.nll))
    return Diagnosis(claim, base, tuple(found), nearest, len(tried))


def usual(found: Figure, causes: Sequence[Cause]) -> int:
    """How rare its causes are: the sum of their places, each in its stage."""
    return sum(
        [other for other in causes if other.stage == cause.stage].index(cause) for cause in found.causes
    )
