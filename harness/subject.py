"""What is audited: one model on a small corpus, and the processes that its checks open for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness import split
from harness.certificate import Finding, Outcome
from harness.child import Limits
from harness.contract import Model, Trial
from harness.corpus import Alphabet
from harness.dataset import Dataset
from harness.engine import Engine
from harness.environment import can_isolate
from harness.errors import Diverged, InvalidModel, Unavailable, UsageError
from harness.evaluate import score
from harness.fit import few, not_finite
from harness.instances import opening
from harness.proxy import Proxy, opened
from harness.seeds import derive
from harness.selection import Choice

__all__ = ["Finding", "Make", "Outcome", "Subject", "subject"]

DOCUMENTS = 2_000  # all parts together
CHARACTERS = 100_000  # the same, where documents are long
STEPS = 200  # of every fit, or fewer where they are slow:
FEWER = (200, 100, 50, 20, 10)
SECONDS = 1.0  # what they may take

Make = Callable[[int], Proxy]


@dataclass(eq=False)
class Subject:
    """A chosen model, the few documents that it is fitted on, and its processes; a context manager."""

    choice: Choice
    parts: split.Split
    processes: Engine
    plugins: tuple[str, ...] = ()
    seed: int = 0
    threads: int = 1
    dataset: str = ""
    dataset_sha256: str = ""
    abnormal: bool = False  # rows were found to be no distributions
    _kept: Proxy | None = field(default=None, init=False, repr=False)
    _house: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, init=False, repr=False)
    _broken: Exception | None = field(default=None, init=False, repr=False)
    _until: float | None = field(default=None, init=False, repr=False)
    _steps: int | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> Subject:
        if not can_isolate():
            raise UsageError("an audit needs processes of its own for the model: not on this system")
        if self.choice.missing:
            raise Unavailable(self.choice.missing)
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()

    # ---- what the model promises, and what it is given

    @property
    def alphabet(self) -> Alphabet:
        """The dataset's; `alphabet.size` is V."""
        return self.parts.train.alphabet

    @property
    def context(self) -> int | None:
        """How far back the model promises to look; None is without bound."""
        promised = self.choice.spec.context_of(self.choice.config)
        return None if promised is None else max(1, promised)

    @property
    def tolerance(self) -> float:
        """How far a row may move that must not move, relative to max(1, |value|)."""
        return self.choice.spec.tolerance

    @property
    def steps(self) -> int:
        """The budget of every fit: the spec's own, at most 200 and as many as take about a second.

        The first to ask waits for a pilot of 10 steps, in a process of its own.
        """
        if self._steps is None:
            self._steps = min(STEPS, self.choice.spec.steps_of(self.choice.config) or STEPS)
            if self._steps > FEWER[-1]:
                a_step = self._pilot(FEWER[-1]) / FEWER[-1]
                affordable = next((n for n in FEWER if n * a_step <= SECONDS), FEWER[-1])
                self._steps = min(self._steps, affordable)
        return self._steps

    def _pilot(self, steps: int) -> float:
        """Seconds that a fit of so many steps takes, warm-up apart."""
        with self.process() as make:
            make(self.fit_seed).warm_up(few(self.parts.train), Trial(self.fit_seed))
            before = time.perf_counter()
            self.fit(make, warm_up=False, steps=steps)
            return time.perf_counter() - before

    @property
    def fit_seed(self) -> int:
        """The seed of the model that is kept; others derive from it by name."""
        return derive("audit", self.seed, *self.choice.key)

    def rng(self, *names: object) -> np.random.Generator:
        """The generator of a check: the same for every order in which checks are run."""
        return np.random.default_rng(derive("audit", self.seed, *self.choice.key, *names))

    # ---- processes

    @contextlib.contextmanager
    def process(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        afresh: bool = False,
        parts: split.Split | None = None,
        choice: Choice | None = None,
        watch: bool = False,
    ) -> Iterator[Make]:
        """A new process that holds the training and dev documents: `make(seed)` gives instances in it.

        Forked from a server that has loaded numpy or torch, so that the parent which a model can end is
        never the command itself; variables and a working directory it takes on before it loads the model.
        afresh: a new interpreter that is started with them and has loaded nothing. parts, choice: in place
        of the subject's. watch: it collects the files that Python code opens, for the request `opened`.
        """
        parts, choice = parts or self.parts, choice or self.choice
        with contextlib.ExitStack() as stack:
            processes, request = self.processes, opening(choice, self.plugins, self.alphabet.size)
            elsewhere = environment is not None or cwd is not None
            if afresh or (elsewhere and choice.external):  # a program gets its variables at its start
                processes = stack.enter_context(Engine(self.threads, environment, cwd))
                kind = "bare"
            else:
                # numba reads its variables when it is loaded
                requires = choice.requires - {"numba"} if elsewhere else choice.requires
                kind = processes.kind_for(requires, cuda=choice.cuda)
                kind = "bare" if kind == "spawn" else kind
                if elsewhere:
                    request |= {"environment": dict(environment or {}), "cwd": str(cwd or Path.cwd())}
            left = None if self._until is None else max(0.01, self._until - time.monotonic())
            child, make = opened(
                processes,
                kind,
                Limits(timeout=left, threads=self.threads),
                request | ({"watch": True} if watch else {}),
                {"train": parts.train, "dev": parts.dev.corpus},
            )
            stack.callback(child.close)
            yield make

    def fit(
        self,
        make: Make,
        seed: int | None = None,
        *,
        warm_up: bool = True,
        parts: split.Split | None = None,
        steps: int | None = None,
        on_checkpoint: Callable[[Model], None] | None = None,
    ) -> Proxy:
        """A new instance, fitted as `run` does it: a throw-away one is warmed up before.

        parts: those of the process. steps: in place of the subject's. on_checkpoint: told before and after
        each scoring of dev. Raises what the fit raises, `Diverged` for parameters that are not finite.
        """
        parts, steps = parts or self.parts, steps or self.steps
        seed = self.fit_seed if seed is None else seed
        device = "cuda" if self.choice.backend == "cuda" else "cpu"
        told = on_checkpoint or (lambda model: None)

        def dev_nll(model: Model) -> float:
            told(model)
            nll = score(model, parts.dev.corpus, self.context).nll
            told(model)
            if nll is None:
                raise UsageError(f"checkpoint: {parts.dev.absent}")
            return nll

        trial = Trial(seed, device, self.threads, steps=steps, on_checkpoint=dev_nll)
        if warm_up:
            make(seed).warm_up(few(parts.train), trial)
        model = make(seed)
        model.fit(parts.train, parts.dev.corpus, trial)
        if model.child.orphaned():
            raise InvalidModel("fit: the process that had started it was ended meanwhile")
        if bad := not_finite(model.params):
            raise Diverged(f"parameter {bad!r} is not finite after training")
        return model

    @property
    def fitted(self) -> Proxy:
        """The fitted model that checks share, in a process that is kept; what its fit raised, again."""
        if self._broken is not None:
            raise self._broken
        if self._kept is None:
            try:
                self._kept = self.fit(self._house.enter_context(self.process()))
            except (Exception, SystemExit) as error:
                self.forget()
                self._broken = error if isinstance(error, Exception) else InvalidModel(f"fit: {error!r}")
                raise
        return self._kept

    def loaded(self, make: Make) -> Proxy:
        """A new instance in some process that is given the fitted parameters."""
        model = make(derive(self.fit_seed, "loaded"))
        model.params = self.fitted.params
        return model

    def allow(self, seconds: float | None) -> None:
        """Give what follows so many seconds: then its processes end with `CellTimeout`."""
        self._until = None if seconds is None else time.monotonic() + seconds
        if self._kept is not None:
            self._kept.child.channel.deadline = self._until

    def forget(self) -> None:
        """End the kept process: who asks for `fitted` again gets a new one."""
        self._kept = None
        self._house.close()


def subject(
    data: Dataset,
    method: split.Method,
    choice: Choice,
    processes: Engine,
    *,
    plugins: tuple[str, ...] = (),
    seed: int = 0,
    threads: int = 1,
) -> Subject:
    """A model on at most 2,000 documents of a dataset, split as a run would split them."""
    documents = some(data.documents, data.kind, np.random.default_rng(derive("audit", "documents", seed)))
    parts = split.divide(
        documents, data.alphabet, data.kind, method, uses_dev=choice.spec.uses_dev_of(choice.config)
    )
    return Subject(choice, parts, processes, plugins, seed, threads, data.name, data.sha256)


def some(documents: tuple[str, ...], kind: str, rng: np.random.Generator) -> list[str]:
    """At most 2,000 documents drawn without return, in their order; of running text, its beginning."""
    if kind == "text":
        return [document[:CHARACTERS] for document in documents]
    drawn = np.sort(rng.choice(len(documents), min(DOCUMENTS, len(documents)), replace=False))
    lengths = [len(documents[index]) for index in drawn]
    enough = max(3, int(np.searchsorted(np.cumsum(lengths), CHARACTERS, side="right")))
    return [documents[index] for index in drawn[:enough]]
