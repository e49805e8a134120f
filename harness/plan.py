"""What is to be run: models, data, split, seeds and limits, resolved before the first cell starts."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import dataset, environment, evaluate, registry, selection, split
from harness.corpus import Kind
from harness.errors import UnknownName, UsageError
from harness.fit import Budget
from harness.record import CONTRACT, Record
from harness.seeds import derive
from harness.selection import Choice

LEAST_MEMORY = 64 * 2**20
DEV_CHOOSES = "tune: dev chooses"


@dataclass(frozen=True)
class How:
    """How cells are run: what each may use, and whether each has a process of its own."""

    threads: int = 1
    jobs: int = 1
    timeout: float | None = None  # seconds a cell
    memory: int | None = None  # bytes a cell
    in_process: bool = False
    plugins: tuple[str, ...] = ()
    solo: bool = False  # every seed by itself, also where its model trains many as one problem


@dataclass(frozen=True, eq=False)
class Cell:
    """One row to come."""

    index: int
    choice: Choice
    repeat: int
    seed: int

    @property
    def label(self) -> str:
        """`mlp@numpy:context=8 #2`."""
        return self.choice.label + (f" #{self.repeat + 1}" if self.repeat else "")


@dataclass(frozen=True, eq=False)
class Search:
    """Cells that nobody knows before the run: each follows from the records of those before it.

    Only dev is scored: the plan's splits hold no test part. `name`: what is searched, for identity
    and header. `following`: the records so far -> the next cell; None ends the run.
    """

    name: str
    following: Callable[[Sequence[Record]], Cell | None]


@dataclass(eq=False)
class Plan:
    """Everything that a run needs, resolved and checked before the first cell starts."""

    registry: registry.Registry
    dataset: dataset.Dataset
    method: split.Method
    cells: list[Cell]
    budget: Budget
    how: How
    search: Search | None = None
    target: float | None = None  # a dev NLL whose first sight is timed
    _splits: dict[bool, split.Split] = field(default_factory=dict)
    _true_scores: dict[str, evaluate.Scores] = field(default_factory=dict)

    def split_for(self, choice: Choice) -> split.Split:
        """The parts; a model that needs dev gets one where the method has none. A search has no test."""
        needs = choice.spec.uses_dev_of(choice.config) and self.method.name == "makemore"
        if needs not in self._splits:
            self._splits[needs] = split.divide(
                self.dataset.documents,
                self.dataset.alphabet,
                self.dataset.kind,
                self.method,
                uses_dev=needs,
            )
        if self.search is not None and self._splits[needs].test.absent is None:
            self._splits[needs] = split.without_test(self._splits[needs], DEV_CHOOSES)
        return self._splits[needs]

    def together(self, cells: Sequence[Cell]) -> list[list[Cell]]:
        """The cells in their order, those in one list that are trained as one problem.

        They are seeds of one model whose spec says `vectorised`. Their budget is in steps: within so
        many seconds of all, each would come to another point than alone. Nor is a race one: `target`
        asks for the seconds of a fit.
        """
        groups: list[list[Cell]] = []
        steps_count = self.budget.seconds is None and self.target is None
        allowed = steps_count and self.search is None and not self.how.solo
        for cell in cells:
            choice = cell.choice
            if allowed and groups and groups[-1][0].choice is choice and self.vectorised(choice):
                groups[-1].append(cell)
            else:
                groups.append([cell])
        return groups

    def vectorised(self, choice: Choice) -> bool:
        """Whether a model's seeds can be trained as one problem here."""
        steps = self.budget.steps or choice.spec.steps_of(choice.config)
        return (
            choice.spec.vectorised_by(choice.backend, choice.config)
            and steps is not None
            and not choice.missing
        )

    @property
    def identity(self) -> str:
        """What makes two runs the same: cells, data, budget, threads, contract and code (SHA-256)."""
        facts = [
            CONTRACT,
            [(cell.label, cell.seed, sorted(cell.choice.config.items())) for cell in self.cells],
            self.dataset.sha256,
            sorted(parts.fingerprint for parts in self._splits.values()),
            str(self.budget),
            self.how.threads,
            [part.code_hash for cell in self.cells for part in (cell.choice, *cell.choice.members)],
            *([self.search.name] if self.search else []),
            *([f"target {self.target}"] if self.target is not None else []),
            *(f"batched {len(group)}" for group in self.together(self.cells) if len(group) > 1),
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def true_scores(self, parts: split.Split) -> evaluate.Scores | None:
        """The true source's own scores on test (synthetic data)."""
        source = self.dataset.true_source
        if source is None or not len(parts.test.corpus):
            return None
        if parts.method not in self._true_scores:
            self._true_scores[parts.method] = evaluate.score(source, parts.test.corpus, None)
        return self._true_scores[parts.method]


def plan(
    models: str | Sequence[str] = "all",
    *,
    plugins: Iterable[str | Path] = (),
    data: str = "names",
    kind: Kind | None = None,
    method: str | None = None,
    seeds: int = 1,
    budget: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    jobs: int = 1,
    timeout: float | None = None,
    memory: int | None = None,
    in_process: bool = False,
    solo: bool = False,
    target: float | None = None,
) -> Plan:
    """Resolve and check everything; a mistake is a `UsageError` before anything has run."""
    files = [Path(plugin) for plugin in plugins]
    found = registry.discover(files)
    choices = selection.choose(found, [models] if isinstance(models, str) else models, device)
    if not 1 <= seeds <= 1000:
        raise UsageError("--seeds must be between 1 and 1,000")
    opened = open_data(found, data, kind)
    parsed = split.parse(opened.default_split if method is None else method)
    cells: list[Cell] = []
    for choice in choices:
        # what draws nothing would only be repeated: one cell stands for all seeds
        for repeat in range(1 if choice.spec.stochastic is False else seeds):
            seed = seed_of(opened.name, parsed, choice, repeat)
            cells.append(Cell(len(cells), choice, repeat, seed))
    if memory is not None and memory < LEAST_MEMORY:
        raise UsageError(f"--memory {memory / 2**20:.0f}M is too little: a cell needs at least 64M")
    if in_process and (timeout is not None or memory is not None):
        raise UsageError("--in-process has no limits: leave --timeout and --memory away")
    if in_process and jobs > 1:
        raise UsageError("--in-process runs one cell after the other: leave --jobs at 1")
    how = How(
        threads=threads or max(1, environment.cores() // jobs),
        jobs=jobs,
        timeout=timeout,
        memory=memory if memory is not None else environment.spare_memory(min(jobs, len(cells))),
        in_process=in_process or not environment.can_isolate(),
        plugins=tuple(str(plugin.resolve()) for plugin in files),
        solo=solo,
    )
    if target is not None and not 0 < target < math.inf:
        raise UsageError(f"--target {target:g} is no NLL: nats per character, above 0")
    made = Plan(found, opened, parsed, cells, parse_budget(budget), how, target=target)
    for choice in choices:
        made.split_for(choice)
    return made


def seed_of(data: str, method: split.Method, choice: Choice, repeat: int) -> int:
    """A cell's seed, by names: the same model on the same data has it in every run and search."""
    config = sorted(choice.config.items())
    return derive(data, str(method), choice.spec.name, choice.backend, config, repeat)


def open_data(found: registry.Registry, name: str, kind: Kind | None = None) -> dataset.Dataset:
    """A dataset by its name on the command line."""
    head, options = dataset.parse(name)
    if head == "file":
        if not options:
            raise UsageError("--dataset file:PATH needs a path")
        return dataset.open_file(Path(options), kind)
    if kind is not None:
        raise UsageError(f"--as is for file:PATH; {head} has its own kind")
    if head not in found.datasets:
        raise UnknownName("dataset", head, [*found.datasets, "file:PATH"])
    spec = found.datasets[head]
    given = {}
    for option in selection.cut(options, ",") if options else []:
        key, equals, value = option.partition("=")
        if not equals:
            raise UsageError(f"dataset {head}: {option!r} is not KEY=VALUE")
        given[key.strip()] = value.strip()
    return dataset.open_dataset(spec, selection.read_options(head, given, spec.config, {}))


def parse_size(text: str) -> int:
    """`512M` or `2G` -> bytes."""
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise UsageError(f"{text!r} is no size: write it as 512M or 2G")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def parse_seconds(text: str) -> float:
    """`90`, `90s`, `5m` or `1h` -> seconds."""
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([smh]?)", text.strip())
    if not match or float(match[1]) <= 0:
        raise UsageError(f"{text!r} is no time: write it as 90s, 5m or 1h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def parse_budget(text: str | None) -> Budget:
    """`2000steps` or `30s`."""
    if text is None:
        return Budget()
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*(steps?|s|m)", text.strip())
    number = float(match[1]) if match else 0.0
    if not match or number <= 0 or (match[2].startswith("step") and number != int(number)):
        raise UsageError(f"--budget {text!r}: write it as 2000steps, 30s or 5m")
    if match[2].startswith("step"):
        return Budget(steps=int(number))
    return Budget(seconds=number * (60 if match[2] == "m" else 1))
