"""What a search varies: the words of `--space` -> ranges and choices of a model's options.

hidden=128..512:log      every value between, on a log scale
dropout=0..0.5           every value between
layers=1/2/4             one of these
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from harness.contract import ModelSpec
from harness.errors import UnknownName, UsageError
from harness.selection import Choice, cut, read, read_options, render

Value = bool | int | float | str
FACTOR = 4  # either way of a default, where no space is given
# what says how long or how often, not which model: left out of the space that is made by default
LENGTHS = {"steps", "epochs", "warmup", "patience", "checkpoint", "checkpoints", "every"}


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included; `log`: evenly spread on a log scale."""

    low: int | float
    high: int | float
    log: bool = False

    def __str__(self) -> str:
        return f"{render(self.low)}..{render(self.high)}" + (":log" if self.log else "")

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


Axis = Range | tuple[Value, ...]
Space = Mapping[str, Axis]


def render_space(space: Space) -> str:
    """A space as `--space` writes it."""
    texts = {
        key: str(axis) if isinstance(axis, Range) else "/".join(render(value) for value in axis)
        for key, axis in space.items()
    }
    return ",".join(f"{key}={text}" for key, text in texts.items())


def parse(text: str, choice: Choice, fixed: Set[str]) -> Space:
    """The axes that `--space` names; a mistake is a `UsageError`. `fixed`: what MODEL sets itself."""
    spec, space = choice.spec, dict[str, Axis]()
    for item in cut(text, ","):
        key, equals, values = (word.strip() for word in item.partition("="))
        if not equals or not values:
            raise UsageError(f"--space: {item!r} is neither KEY=LOW..HIGH nor KEY=A/B/C")
        if key not in spec.config:
            raise UnknownName("option", key, spec.config, where=f" of {spec.name} in --space")
        if key in space or key in fixed:
            raise UsageError(f"{key} is given twice: {'in --space' if key in space else 'as MODEL too'}")
        space[key] = spread(spec, key, values) if ".." in values else choices(spec, key, values)
    return space


def spread(spec: ModelSpec, key: str, text: str) -> Range:
    """`128..512:log` as a range of the default's type."""
    default, (span, colon, scale) = spec.config[key], text.partition(":")
    if isinstance(default, bool) or not isinstance(default, int | float):
        raise UsageError(f"--space: {key} of {spec.name} is no number: write {key}=A/B/C")
    if colon and scale != "log":
        raise UsageError(f"--space: {key}={text} ends in {scale!r}, where only `log` may stand")
    low, high = (read(spec.name, key, end.strip(), default, ()) for end in span.split("..", 1))
    if not low < high:
        raise UsageError(f"--space: {key}={text} holds nothing: {render(low)} is not below {render(high)}")
    if colon and low <= 0:
        raise UsageError(f"--space: {key}={text}: a log scale begins above 0")
    return Range(low, high, bool(colon))


def choices(spec: ModelSpec, key: str, text: str) -> tuple[Value, ...]:
    """`1/2/4` as values of the default's type, or words of the option."""
    words = [word.strip() for word in cut(text, "/")]
    values = [read_options(spec.name, {key: word}, spec.config, spec.words)[key] for word in words]
    if len(set(values)) < 2:
        raise UsageError(
            f"--space: {key}={text} is one value: set it with the model, {spec.name}:{key}={text}"
        )
    return tuple(dict.fromkeys(values))


def default_space(choice: Choice, fixed: Set[str]) -> Space:
    """The space where none is given: what MODEL does not set, around the values that it has.

    Numbers within a factor of 4 either way on a log scale, words and switches as choices, dropout from
    0 to 0.5. Left out is what says how long (`LENGTHS`), and what has no such range: 0 and shares
    close to 1, such as a momentum of 0.9.
    """
    spec = choice.spec
    axes = {key: around(spec, key, choice.config[key]) for key in spec.config if key not in fixed}
    return {key: axis for key, axis in axes.items() if axis is not None}


def around(spec: ModelSpec, key: str, value: Any) -> Axis | None:
    """The axis of one option around the value that it has; None where nothing is obvious."""
    if key in LENGTHS:
        return None
    if isinstance(value, bool):
        return (value, not value)
    if isinstance(value, str):
        words = spec.words.get(key, ())
        is_word = isinstance(spec.config[key], str)  # `order=auto` stands among numbers
        return tuple(words) if is_word and len(words) > 1 else None
    if key == "dropout":
        return Range(0.0, 0.5)
    if isinstance(value, int):
        return Range(max(1, value // FACTOR), FACTOR * value, log=True) if value > 0 else None
    if isinstance(value, float) and value > 0 and not 0.5 < value < 1:
        return Range(three_digits(value / FACTOR), three_digits(value * FACTOR), log=True)
    return None


def three_digits(value: float) -> float:
    """A number that can be read and copied; more digits choose nothing."""
    return float(f"{value:.3g}")
