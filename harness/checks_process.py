"""Checks of a model's process: what it reads, what it keeps, and what it does when no clock runs."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from harness import settings
from harness.agreement import moved
from harness.canaries import Canaries, holding, preferred, tell_tales
from harness.contract import Ints, Model
from harness.corpus import Corpus
from harness.evaluate import blind
from harness.subject import Finding, Subject
from harness.watching import answer, largest, watched_fit

LEVEL = 1e-6  # of the rank test
REPETITIONS = 3  # of a check of times, in fresh processes: it fails where all do
ROWS, COLUMNS = 32, 16  # random documents whose rows are compared
TIMINGS = 5
LEAST = 0.02  # seconds of one timed call
MOST_CELLS = 2**20  # B·T·V of one timed call
IDLE = 0.02  # seconds of CPU time in the half second that follows the half second after the fit
CLOCKS = {
    "perf_counter": 0.001,
    "monotonic": 0.001,
    "time": 1.0,
}  # seconds off; the date may be set meanwhile

Environment = dict[str, str]


@contextmanager
def fresh_home() -> Iterator[tuple[Environment, Path]]:
    """Variables that put home, caches, data and temporary files into an empty folder, and that folder."""
    with tempfile.TemporaryDirectory(prefix="harness-audit-") as name:
        folder = Path(name)
        yield home_in(folder), folder


def home_in(folder: Path) -> Environment:
    """The variables that a program asks where home, caches, data and temporary files are."""
    places = {
        "HOME": "home",
        "USERPROFILE": "home",
        "XDG_CACHE_HOME": "home/.cache",
        "XDG_CONFIG_HOME": "home/.config",
        "XDG_DATA_HOME": "home/.local/share",
        "NUMBA_CACHE_DIR": "home/.cache/numba",
        "HARNESS_CACHE_DIR": "home/.cache/harness",
        "HARNESS_DATA_DIR": "data",
        "TMPDIR": "tmp",
    }
    for place in places.values():
        (folder / place).mkdir(parents=True, exist_ok=True)
    return {variable: str(folder / place) for variable, place in places.items()}


def in_python(subject: Subject) -> bool:
    """Whether the model lives in a cell of ours, which tells what it opened and what runs beside it."""
    return subject.choice.backend != "exec"


# ---- no test in fit


def check_no_test_in_fit(subject: Subject) -> Finding:
    """A fit reads no file that holds canaries or the test part, and does not know the canaries afterwards.

    A temporary data folder, home and working directory hold the canaries. What Python code opens is seen
    by an audit hook, the files of a data set of many files together; what native code or another program
    reads shows in the scores: by rank, canaries are no better than decoys, p > 1e-6.
    """
    name = "no test in fit"
    canaries = Canaries.drawn(subject.alphabet, subject.rng("canaries"))
    tales = tell_tales(subject.parts.test.corpus, subject.parts.train)
    with fresh_home() as (environment, folder):
        canaries.plant((Path(place) for place in {*environment.values(), str(folder)}), subject.dataset)
        environment["NUMBA_CACHE_DIR"] = str(settings.machine_code_dir().absolute())  # nothing but code
        with subject.process(environment=environment, cwd=folder, watch=in_python(subject)) as make:
            model = subject.fit(make)
            seen = model.child.ask({"op": "opened"})[0] if in_python(subject) else {}
            opened = seen.get("paths", [])
            if found := holding(opened, folder, canaries, tales):
                return Finding(name, "fail", f"it opened {found}")
            planted, decoys = (
                blind(model, Corpus.from_lines(documents, subject.alphabet)).sums
                for documents in (canaries.planted, canaries.decoys)
            )
    p = preferred(planted, decoys)
    files = f"{len(opened)} files opened" if in_python(subject) else "the files of a program cannot be seen"
    said = f"canaries against decoys: p = {p:.2g}; {files}"
    if programs := seen.get("programs"):
        said += f"; it started {', '.join(programs)}, whose files cannot be seen"
    return Finding(name, "pass" if p > LEVEL else "fail", said)


# ---- cold and warm agree


def check_cold_and_warm(subject: Subject) -> Finding:
    """The same numbers with an empty home and cache, and again with what the first fit left there.

    And a text that was scored already is not answered in under half the time of a fresh one: a model
    that keeps its answers would make `eval_chars_per_s` a figure of its memory.
    """
    name = "cold and warm agree"
    inputs = random_documents(subject, ROWS, subject.rng("rows to be compared"))
    with fresh_home() as (environment, folder):
        with subject.process(environment=environment, cwd=folder) as make:
            cold = answer(subject.fit(make, warm_up=False), inputs)  # no fit before it, however small
        with subject.process(environment=environment, cwd=folder) as make:
            model = subject.fit(make)
            warm = answer(model, inputs)
            times = [memory_of_answers(subject, model, 0)]
    if subject.choice.spec.deterministic:
        here = answer(subject.fitted, inputs)
        for what, rows in (("after an earlier run", warm), ("with your own home and cache", here)):
            if moved(cold, rows, subject.tolerance):
                far = largest(cold, rows)
                return Finding(name, "fail", f"{what} rows are {far:.3g} from those with an empty one")
    while times[-1][0] < times[-1][1] / 2:
        if len(times) == REPETITIONS:
            again, fresh = (1000 * seconds for seconds in times[-1])
            text = f"a text scored before takes {again:.2f} ms, a fresh one {fresh:.2f} ms"
            return Finding(name, "fail", text)
        with subject.process() as make:
            times.append(memory_of_answers(subject, subject.fit(make), len(times)))
    ratio = times[-1][0] / times[-1][1]
    numbers = "same rows" if subject.choice.spec.deterministic else "declared not to be deterministic"
    return Finding(name, "pass", f"{numbers}; a text scored before takes {ratio:.2f} of a fresh one's time")


def memory_of_answers(subject: Subject, model: Model, repetition: int) -> tuple[float, float]:
    """Median seconds of five calls on a text that was scored, and of five on fresh ones, in turns."""
    rng = subject.rng("texts to be timed", repetition)
    known, rows = timed_random_documents(subject, model, rng)
    for _ in range(3):
        model.log_probs(random_documents(subject, rows, rng))
    again, fresh = [], []
    for _ in range(TIMINGS):
        again.append(seconds(model, known))
        fresh.append(seconds(model, random_documents(subject, rows, rng)))
    return statistics.median(again), statistics.median(fresh)


def timed_random_documents(subject: Subject, model: Model, rng: np.random.Generator) -> tuple[Ints, int]:
    """A random text that has been scored, with rows enough for a call of 20 ms (or 2**20 numbers)."""
    rows = 16
    while True:
        model.log_probs(random_documents(subject, rows, rng))
        inputs = random_documents(subject, rows, rng)
        enough = seconds(model, inputs) >= LEAST or 2 * inputs.size * subject.alphabet.size > MOST_CELLS
        if enough:
            return inputs, rows
        rows *= 2


def random_documents(subject: Subject, rows: int, rng: np.random.Generator) -> Ints:
    """Random documents (rows, 16) that begin with the boundary."""
    inputs = rng.integers(1, subject.alphabet.size, (rows, COLUMNS))
    inputs[:, 0] = 0
    return inputs


def seconds(model: Model, inputs: Ints) -> float:
    """Wall time of one call."""
    before = time.perf_counter()
    model.log_probs(inputs)
    return time.perf_counter() - before


# ---- nothing off the clock


def check_nothing_off_the_clock(subject: Subject) -> Finding:
    """No work after "done", no thread or process left, no learning in warm-up or checkpoint, honest clocks.

    After the fit has answered, the process is left alone for a second: from 0.5 to 1.0 s its CPU time
    stays under 20 ms. That is a check of times: it fails where three fresh processes fail.
    """
    name = "nothing off the clock"
    inputs = random_documents(subject, ROWS, subject.rng("rows to be compared"))
    spent: list[str] = []
    while True:
        with subject.process() as make:
            fit = watched_fit(subject, make, inputs, python=in_python(subject))
        if fit.problem is not None:
            return Finding(name, "fail", fit.problem)
        if fit.busy is None or fit.busy < IDLE:
            break
        spent.append(f"{1000 * fit.busy:.0f}")
        if len(spent) == REPETITIONS:
            said = f"{', '.join(spent)} ms of CPU time from 0.5 to 1.0 s after the fit, in three processes"
            return Finding(name, "fail", said)
    with subject.process() as make:
        bare = answer(subject.fit(make, warm_up=False), inputs)
    if subject.choice.spec.deterministic and moved(fit.rows, bare, subject.tolerance):
        far = largest(fit.rows, bare)
        return Finding(name, "fail", f"without warm-up rows are {far:.3g} from those with it")
    idle = "no CPU time to be seen" if fit.busy is None else f"{1000 * fit.busy:.0f} ms of CPU when idle"
    return Finding(name, "pass", f"{idle}; untimed: {fit.untimed}")
