"""The words of `--models` and `--dataset` -> what they choose (CONTRACT, "Selecting").

mlp@numba:context=8,hidden=300,count-bigram     two models; an item with `=` continues the first
count-bigram:k=0/0.1/1                          a grid of three
all · *@* · mlp@*                               every model · every backend · every backend of one
mixture:of=ngram+gru(hidden=256;layers=2)       brackets protect what stands inside, "…" does too
mine@exec:program=./mine,k=0.5                  an external program with an option of its own
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from harness import program
from harness.contract import ModelSpec
from harness.errors import UnknownName, UsageError
from harness.registry import NAME, Registry, code_hash, default_backend, missing


@dataclass(frozen=True)
class Choice:
    """One model as it was chosen: backend and complete configuration."""

    spec: ModelSpec
    backend: str
    config: Mapping[str, Any]
    preset: str | None = None
    axes: frozenset[str] = frozenset()  # options that a grid varies: shown at their default too
    members: tuple[Choice, ...] = ()  # what it builds inside

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two choices the same: model, backend, configuration."""
        return self.spec.name, self.backend, str(sorted(self.config.items()))

    @property
    def requires(self) -> set[str]:
        """Modules that it needs, those of its members included."""
        return set(self.spec.requires_of(self.backend)).union(*(each.requires for each in self.members))

    @property
    def cuda(self) -> bool:
        """Whether it, or something that it builds inside, runs on a GPU."""
        return self.backend == "cuda" or any(each.cuda for each in self.members)

    @property
    def external(self) -> bool:
        """Whether it is a program of its own, not a plugin's class."""
        return self.backend == program.BACKEND

    @property
    def runs_program(self) -> bool:
        """Whether it, or something that it builds inside, is one."""
        return self.external or any(each.runs_program for each in self.members)

    @property
    def code_hash(self) -> str:
        """Of the sources that hold its class, or of the program."""
        if self.external:
            return program.code_hash(self.config["program"])
        return code_hash(self.spec.backends[self.backend])

    @cached_property
    def missing(self) -> str | None:
        """Why it cannot run here, or None; told without importing it."""
        if self.external:
            return program.missing(self.config["program"])
        inside = (f"{each.spec.name}: {each.missing}" for each in self.members if each.missing)
        return missing(self.spec, self.backend) or next(inside, None)

    @property
    def given(self) -> dict[str, Any]:
        """What differs from the defaults (from the preset, where one was named), and a grid's axes.

        Of an external program all: it has no defaults that we know.
        """
        if self.external:
            return dict(self.config)
        base = dict(self.spec.config) | dict(self.spec.presets.get(self.preset or "", {}))
        given = {key: value for key, value in self.config.items() if key in self.axes or base[key] != value}
        return ({"preset": self.preset} if self.preset else {}) | given

    @property
    def label(self) -> str:
        """The selection that chooses exactly this: `mlp@numpy:context=8`."""
        spelt = {key: render(value) for key, value in self.given.items()}
        if self.external:
            spelt = {key: program.spell(key, value) for key, value in self.given.items()}
        options = ",".join(f"{key}={text}" for key, text in spelt.items())
        return f"{self.spec.name}@{self.backend}" + (f":{options}" if options else "")


def choose(registry: Registry, selections: Sequence[str], device: str | None = None) -> list[Choice]:
    """Every model that the selections name, in their order, each once."""
    chosen: dict[tuple[str, str, str], Choice] = {}
    for item in items(selections):
        for choice in expand(registry, item, device):
            chosen.setdefault(choice.key, choice)
    if not chosen:
        raise UsageError("--models names no model")
    return list(chosen.values())


def one(registry: Registry, text: str) -> Choice:
    """The single model that a selection names."""
    found = choose(registry, [text])
    if len(found) != 1:
        raise UsageError(f"{text!r} names {len(found)} models, not one")
    return found[0]


def items(selections: Sequence[str]) -> list[str]:
    """Selections cut at commas; an item with `=` and no `:` before it continues the one before."""
    result: list[str] = []
    for selection in selections:
        fresh = True  # a repeated --models starts anew
        for piece in cut(selection, ","):
            if not piece.strip():
                continue
            before_equals, equals, _ = piece.partition("=")
            if equals and ":" not in before_equals:
                if fresh:
                    raise UsageError(f"--models: {piece!r} configures no model (write MODEL:{piece})")
                result[-1] += ("," if ":" in result[-1] else ":") + piece.strip()
            else:
                result.append(piece.strip())
                fresh = False
    return result


def cut(text: str, separator: str) -> list[str]:
    """Split at a separator that stands neither in a bracket nor between double quotes."""
    pieces, depth, quoted = [""], 0, False
    for character in text:
        quoted ^= character == '"'
        depth += 0 if quoted else (character == "(") - (character == ")")
        if depth < 0:
            break
        if character == separator and depth == 0 and not quoted:
            pieces.append("")
        else:
            pieces[-1] += character
    if depth:
        raise UsageError(f"brackets do not match in {text!r}")
    if quoted:
        raise UsageError(f"double quotes do not match in {text!r}")
    return pieces


def expand(registry: Registry, item: str, device: str | None) -> list[Choice]:
    """The choices of one item: its backends times its grid."""
    head, _, options = item.partition(":")
    name, at, backend = (word.strip() for word in head.partition("@"))
    if backend == program.BACKEND:
        return programs(name, options)
    if not at and name not in registry.models and options.startswith("program="):
        raise UsageError(f"{item}: an external program is written {name}@{program.BACKEND}:{options}")
    specs = list(registry.models.values()) if name in ("all", "*") else [registry.model(name)]
    known = {each for spec in specs for each in spec.backends}
    if at and backend != "*" and backend not in known:
        where = f" of {name}" if len(specs) == 1 else ""
        raise UnknownName("backend", backend, known, where=where)
    choices: list[Choice] = []
    for spec in specs:
        if not at:
            backends = [default_backend(spec, device)]
        elif backend == "*":
            backends = list(spec.backends)
        elif backend in spec.backends:
            backends = [backend]
        else:
            backends = []  # of `all`, those that have it
        for each in backends:
            choices += (with_members(registry, choice) for choice in grid(spec, each, options))
    return choices


def programs(name: str, options: str) -> list[Choice]:
    """The choices of an external program: one for every combination of its `a/b/c` values."""
    if not NAME.fullmatch(name) or name == "all":
        raise UsageError(f"{name}@{program.BACKEND}: give the program a name of its own, like my-model")
    axes = axes_of(name, options, whole=("program",))
    choices = []
    for values in itertools.product(*axes.values()):
        config = program.configuration(name, dict(zip(axes, values, strict=True)))
        choices.append(Choice(program.spec(name, config), program.BACKEND, config))
    return choices


def with_members(registry: Registry, choice: Choice) -> Choice:
    """The choice with the models that it builds inside; a wrong one is told as its own mistake.

    A member that names no backend takes its first one, whatever `--device` says.
    """
    if choice.spec.members is None:
        return choice
    try:
        members = tuple(one(registry, text) for text in choice.spec.members(choice.config))
    except UsageError as error:
        raise UsageError(f"{choice.spec.name}: {error}") from None
    return replace(choice, members=members)


def grid(spec: ModelSpec, backend: str, options: str) -> list[Choice]:
    """One choice for every combination of the `a/b/c` values."""
    axes = axes_of(spec.name, options)
    varied = frozenset(key for key, values in axes.items() if len(values) > 1 and key in spec.config)
    return [
        configure(spec, backend, dict(zip(axes, values, strict=True)), varied)
        for values in itertools.product(*axes.values())
    ]


def axes_of(owner: str, options: str, whole: Sequence[str] = ()) -> dict[str, list[str]]:
    """The options of an item, each with its values; those of the keys in `whole` are no grid."""
    axes: dict[str, list[str]] = {}
    for option in cut(options, ",") if options else []:
        key, equals, values = option.partition("=")
        key, values = key.strip(), values.strip()
        if not equals:
            raise UsageError(f"{owner}: {option!r} is not KEY=VALUE")
        if key in axes:
            raise UsageError(f"{owner}: {key} is given twice (a grid is {key}=a/b)")
        axes[key] = [values] if key in whole else cut(values, "/")
    return axes


def configure(
    spec: ModelSpec, backend: str, given: Mapping[str, str], axes: frozenset[str] = frozenset()
) -> Choice:
    """The complete configuration: defaults, then the preset, then the given keys."""
    preset = given.get("preset") if "preset" not in spec.config else None
    if preset is not None and preset not in spec.presets:
        raise UnknownName("preset", preset, spec.presets, where=f" of {spec.name}")
    config = dict(spec.config) | dict(spec.presets.get(preset or "", {}))
    config |= read_options(
        spec.name,
        {key: value for key, value in given.items() if not (preset and key == "preset")},
        spec.config,
        spec.words,
    )
    if spec.check is not None and (wrong := spec.check(config)):
        raise UsageError(f"{spec.name}: {wrong}")
    return Choice(spec, backend, config, preset, axes)


def read_options(
    owner: str,
    given: Mapping[str, str],
    defaults: Mapping[str, Any],
    words: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Texts -> values of the defaults' types; a wrong key or value is a `UsageError`."""
    result: dict[str, Any] = {}
    for key, text in given.items():
        if key not in defaults:
            raise UnknownName("option", key, defaults, where=f" of {owner}")
        legal = words.get(key, ())
        result[key] = text if text in legal else read(owner, key, text, defaults[key], legal)
    return result


def read(owner: str, key: str, text: str, default: object, words: Sequence[str]) -> Any:
    """One value of the default's type."""
    kind = type(default)
    also = f" or one of {', '.join(words)}" if words else ""
    problem = UsageError(f"{owner}: {key}={text!r} is no {kind.__name__}{also}")
    if isinstance(default, bool):
        flags = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in flags:
            raise problem
        return flags[text.lower()]
    try:
        if isinstance(default, int):
            number = float(text)
            if number != int(number):
                raise problem
            return int(text) if text.lstrip("+-").isdigit() else int(number)
        if isinstance(default, float):
            number = float(text)
            if number != number or number in (float("inf"), float("-inf")):
                raise problem
            return number
    except (ValueError, OverflowError):
        raise problem from None
    if words:  # a string whose legal values are listed
        near = UnknownName("value", text, words, where=f" of {owner}:{key}")
        raise near
    return text


def render(value: object) -> str:
    """A value as a selection writes it."""
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
