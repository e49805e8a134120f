"""All that a model's author reads: `Model`, `WindowModel`, `ModelSpec`, `DatasetSpec`, `Trial`.

B sequences, T positions, V characters; character 0 is the boundary, and V counts it.
"""

from __future__ import annotations

import abc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness import ancestral
from harness.corpus import BOUNDARY, Corpus, Kind
from harness.errors import Diverged, InvalidModel

if TYPE_CHECKING:
    from harness.store import Run

__all__ = ["DatasetSpec", "Diverged", "ExporterSpec", "Model", "ModelSpec", "Trial", "WindowModel", "sliding"]

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Config = Mapping[str, Any]
Context = int | None | Callable[[Config], "int | None"]


def sliding(inputs: Ints, context: int) -> Ints:
    """The last `context` inputs at every position: (B, T) -> (B, T, context), left-padded with 0."""
    padded = np.pad(inputs, ((0, 0), (context - 1, 0)), constant_values=BOUNDARY)
    return np.lib.stride_tricks.sliding_window_view(padded, context, axis=1).copy()


@dataclass
class Trial:
    """What one fit may spend, and its line to the harness.

    seconds, steps: the budget; `None` is no bound. `threads`: how many a model may use.
    """

    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    seconds: float | None = None
    steps: int | None = None
    on_progress: Callable[[int, int, Mapping[str, float]], None] | None = None
    on_checkpoint: Callable[[Model], float] | None = None
    on_build: Callable[[str, str], Model] | None = None
    clock: Callable[[], float] = time.perf_counter
    free: float = 0.1  # the share of a budget in seconds that checkpoints may last beside it
    started: float | None = field(default=None, init=False)
    stopped_clock: float = field(default=0.0, init=False)
    targets_consumed: int = field(default=0, init=False)
    _asked: int = field(default=0, init=False)

    def elapsed(self) -> float:
        """Seconds since the fit began without checkpoints, which may last a share `free` of a budget."""
        if self.started is None:
            self.started = self.clock()
        free = self.stopped_clock
        if self.seconds is not None:
            free = min(free, self.free * self.seconds)
        return self.clock() - self.started - free

    def should_stop(self) -> bool:
        """True from the budget on. Ask once before each step: with a budget of steps it counts."""
        seconds = self.elapsed()
        if self.seconds is not None and seconds >= self.seconds:
            return True
        self._asked += 1
        return self.steps is not None and self._asked > self.steps

    def shares(self, most: int) -> list[float]:
        """`should_stop` and `spent` before each of up to `most` steps, asked at once: for steps in one go.

        One share of the budget for each step that may be taken now; none is the end. Time is looked at
        once, so that with a budget in seconds the steps asked for should last a hundredth of it or less.
        """
        seconds = self.elapsed()
        if self.seconds is not None and seconds >= self.seconds:
            return []
        before = self._asked
        allowed = most if self.steps is None else max(0, min(most, self.steps - before))
        self._asked += max(1, allowed)
        of_time = seconds / self.seconds if self.seconds is not None else 0.0
        return [max(of_time, (before + i) / self.steps if self.steps else 0.0) for i in range(allowed)]

    def spent(self) -> float:
        """The share of the budget that is used, 0…1, for schedules; 0 where there is no budget."""
        shares = [0.0]
        if self.seconds is not None:
            shares.append(self.elapsed() / self.seconds if self.seconds > 0 else 1.0)
        if self.steps is not None:
            shares.append(max(0, self._asked - 1) / self.steps if self.steps > 0 else 1.0)
        return min(1.0, max(shares))

    def for_warm_up(self, vocab_size: int) -> Trial:
        """The trial of a warm-up: two steps; its checkpoints answer ln V, the NLL of knowing nothing."""
        return Trial(
            self.seed,
            self.device,
            self.threads,
            steps=2,
            on_checkpoint=lambda model: math.log(vocab_size),
            on_build=self.on_build,
        )

    def progress(self, done: int, total: int, **scalars: float) -> None:
        """Say how far the fit is. `done`: training targets consumed so far, repeats counted."""
        self.targets_consumed = int(done)  # numpy's integers are no JSON
        if self.on_progress is not None:
            self.on_progress(done, total, scalars)

    def checkpoint(self, model: Model) -> float:
        """Dev NLL of the model as it stands (nats per character), measured with the clock stopped."""
        if self.on_checkpoint is None:
            raise RuntimeError("this trial was given no dev measurement (on_checkpoint)")
        self.elapsed()
        before = self.clock()
        try:
            return self.on_checkpoint(model)
        finally:
            self.stopped_clock += self.clock() - before

    def build(self, selection: str, name: str) -> Model:
        """Another registered model inside this one, e.g. `build("gru:hidden=256", "a")`."""
        if self.on_build is None:
            raise RuntimeError("this trial cannot build other models (on_build)")
        return self.on_build(selection, name)


class Model(abc.ABC):
    """A probability distribution over the next character: `fit` and `log_probs`.

    A model is (vocab_size, config, params): a new instance given the same `params` gives the same
    rows, so everything that `fit` learns goes into `self.params`, a dict of numpy arrays. The harness
    sets `device`, `default_steps` (its spec's budget) and `builder` (what `Trial.build` asks, for a model
    that is rebuilt from `params`) before `fit` and after loading.
    """

    def __init__(self, vocab_size: int, config: Config, rng: np.random.Generator) -> None:
        self.vocab_size = vocab_size
        self.config = config
        self.rng = rng
        self.params: dict[str, NDArray[Any]] = {}
        self.device = "cpu"
        self.default_steps: int | None = None
        self.builder: Callable[[str, str], Model] | None = None

    @classmethod
    def unavailable(cls) -> str | None:
        """Why this machine cannot run the model, or None."""
        return None

    def warm_up(self, train: Corpus, trial: Trial) -> None:
        """Compile what is to be compiled; called on a throw-away instance with 64 documents."""
        self.fit(train, train, trial.for_warm_up(self.vocab_size))

    @abc.abstractmethod
    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Learn from `train`; `dev` may choose (early stopping, mixture weights)."""

    @abc.abstractmethod
    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) int64 -> (B, T, V): at [b, t] the log-probabilities after `inputs[b, :t + 1]`."""

    def next_log_probs(self, inputs: Ints) -> Floats:
        """(B, T) int64 -> (B, V): the last row only. Override it where that is cheaper."""
        rows = self.log_probs(inputs)
        if not isinstance(rows, np.ndarray) or rows.ndim != 3:
            got = f"shape {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
            raise InvalidModel(f"log_probs returned {got}, not an array (B, T, V)")
        last: Floats = rows[:, -1]
        return last

    def fit_seeds(self, train: Corpus, dev: Corpus, trials: Sequence[Trial]) -> list[dict[str, NDArray[Any]]]:
        """The `params` that `fit` would come to for each trial, all of them trained as one problem.

        Only where the spec says `vectorised`. Trials differ in their seeds alone, and count steps: a
        solo instance has `default_rng(trial.seed)`. Its rows and these agree within 1e-4 after 1,000
        steps. A seed that diverges leaves parameters that are not finite, and the others untouched.
        """
        raise NotImplementedError(f"{type(self).__name__} trains one seed at a time")

    def sample(
        self,
        n: int,
        max_length: int,
        rng: np.random.Generator,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        prompt: Sequence[int] = (),
    ) -> list[Ints]:
        """N documents without boundaries, prompt included, by ancestral sampling.

        Logits are divided by `temperature` (0 is argmax), all but the `top_k` largest dropped (the
        boundary is a candidate, ties go to the lower index), the rest renormalised. A document
        stops at the boundary or at `max_length` characters. Documents that are the same so far, as far
        back as the context, share a row: `next_log_probs` is asked for distinct ones.
        """
        whole = type(self).next_log_probs is Model.next_log_probs
        context = self.context if isinstance(self, WindowModel) and not whole else None
        return ancestral.draw(
            self.next_log_probs, self.vocab_size, context, n, max_length, rng, temperature, top_k, prompt
        )


class WindowModel(Model):
    """A model as the lectures write it: the last `context` characters in, log-probabilities out.

    The harness sets `context` from the spec before `fit` and after loading.
    """

    context: int = 1

    def __init_subclass__(cls) -> None:
        """Who says with `log_probs` alone what its rows are, is asked for its last rows through it, too."""
        super().__init_subclass__()
        if "log_probs" in vars(cls) and "next_log_probs" not in vars(cls):
            cls.next_log_probs = Model.next_log_probs  # type: ignore[method-assign]

    @abc.abstractmethod
    def window_log_probs(self, windows: Ints) -> Floats:
        """(N, context) int64, oldest first, left-padded with 0 -> (N, V) log-probabilities."""

    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V), each position from its own window."""
        b, t = inputs.shape
        windows = sliding(inputs, self.context).reshape(b * t, self.context)
        return self.window_log_probs(windows).reshape(b, t, -1)

    def next_log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, V) from the last window."""
        missing = max(0, self.context - inputs.shape[1])
        windows = np.pad(inputs[:, -self.context :], ((0, 0), (missing, 0)))  # (B, context)
        return self.window_log_probs(windows)


@dataclass(frozen=True)
class ModelSpec:
    """What the registry knows of a model before it imports it.

    backends: name -> class or "pkg.module:Class", the default first. config: every key with its
    default. presets: name -> overrides. context: how far back the model looks (an int, None for
    unbounded, or a function of the config). tolerance: how far a row may move that must not move,
    relative to max(1, |value|). steps: the default budget (an int, None, or a function of the
    config). words: key -> words legal in place of a value. requires: modules that must be
    installed, for all backends or as a mapping by backend. uses_dev: `fit` needs a dev part. check: the
    config -> what is wrong with it, or None; the user is told before anything runs. members: the config
    -> selections of the models that it builds inside (`Trial.build`), so that they are checked before.
    remarks: preset -> what a reader must know of its row. vectorised: whether `fit_seeds`
    is offered: by all backends, or a function of backend and config.
    """

    name: str
    backends: Mapping[str, type[Model] | str]
    config: Config = field(default_factory=dict, kw_only=True)
    presets: Mapping[str, Config] = field(default_factory=dict, kw_only=True)
    context: Context = field(default=None, kw_only=True)
    tolerance: float = field(default=1e-4, kw_only=True)
    deterministic: bool = field(default=True, kw_only=True)
    stochastic: bool | None = field(default=None, kw_only=True)
    vectorised: bool | Callable[[str, Config], bool] = field(default=False, kw_only=True)
    uses_dev: bool | Callable[[Config], bool] = field(default=False, kw_only=True)
    steps: int | Callable[[Config], int | None] | None = field(default=None, kw_only=True)
    words: Mapping[str, Sequence[str]] = field(default_factory=dict, kw_only=True)
    requires: Sequence[str] | Mapping[str, Sequence[str]] = field(default=(), kw_only=True)
    check: Callable[[Config], str | None] | None = field(default=None, kw_only=True)
    members: Callable[[Config], Sequence[str]] | None = field(default=None, kw_only=True)
    remarks: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    paper: str = field(default="", kw_only=True)
    description: str = field(default="", kw_only=True)

    def context_of(self, config: Config) -> int | None:
        """The promised context under this configuration."""
        return self.context(config) if callable(self.context) else self.context

    def steps_of(self, config: Config) -> int | None:
        """The default budget in steps under this configuration."""
        return self.steps(config) if callable(self.steps) else self.steps

    def uses_dev_of(self, config: Config) -> bool:
        """Whether `fit` needs a dev part under this configuration."""
        return self.uses_dev(config) if callable(self.uses_dev) else self.uses_dev

    def vectorised_by(self, backend: str, config: Config) -> bool:
        """Whether the backend trains many seeds as one problem under this configuration."""
        return self.vectorised(backend, config) if callable(self.vectorised) else self.vectorised

    def requires_of(self, backend: str) -> Sequence[str]:
        """Modules that the backend needs."""
        if isinstance(self.requires, Mapping):
            return self.requires.get(backend, ())
        return self.requires


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset as its author declares it.

    load: keyword arguments of `config` -> the raw text (bytes or str) or a sequence of documents.
    alphabet: the characters in order, None for "those of the text, sorted", or a function of the
    config. kind: "lines" (a document is a line) or "text" (running text). sha256: of the UTF-8
    bytes. true_source: the config -> a Model that is the true law (synthetic data).
    """

    name: str
    load: Callable[..., bytes | str | Sequence[str]]
    alphabet: str | Callable[[Config], str] | None = field(kw_only=True)
    kind: Kind = field(default="lines", kw_only=True)
    licence: str = field(kw_only=True)
    source: str = field(kw_only=True)
    sha256: str | None = field(default=None, kw_only=True)
    default_split: str | None = field(default=None, kw_only=True)
    true_source: Callable[[Config], Model] | None = field(default=None, kw_only=True)
    config: Config = field(default_factory=dict, kw_only=True)
    facts: Callable[[], Mapping[str, object]] | None = field(default=None, kw_only=True)
    description: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class ExporterSpec:
    """Another tool's format, as its author declares it.

    export: runs -> the text of the file, or of several files name -> text; a function, or
    "pkg.module:function", imported only when it is chosen. It reads `run.header` and `run.records` (and
    `run.scores(record)`, where it needs them) and writes nothing. suffix: of the file's name. measured_only:
    the format has no place for a cell that is not ok; it is given none, and the user is told of those.
    """

    name: str
    export: Callable[[Sequence[Run]], str | Mapping[str, str]] | str
    suffix: str = field(default=".txt", kw_only=True)
    measured_only: bool = field(default=False, kw_only=True)
    description: str = field(default="", kw_only=True)
