"""Models that read, keep or do what they should not, where no clock runs: a plugin file of the gallery."""

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from harness import Corpus, ModelSpec, hookimpl
from harness_plugins.count_bigram import CountBigram, pair_counts

# ---- no test in fit


class ReadsData(CountBigram):
    """Counts what it finds in the folder of data."""

    def found(self):
        for path in sorted(Path(os.environ.get("HARNESS_DATA_DIR", ".")).glob("*.txt")):
            yield path.read_text(encoding="utf-8")

    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        for text in self.found():
            lines = [
                line for line in text.split("\n") if line and set(line) <= set(train.alphabet.characters)
            ]
            self.params["counts"] += pair_counts(Corpus.from_lines(lines, train.alphabet))


class ReadsByAnother(ReadsData):
    """The same through another program, which no audit hook sees."""

    def found(self):
        folder = os.environ.get("HARNESS_DATA_DIR", ".")
        files = sorted(str(Path(folder) / name) for name in os.listdir(folder))
        yield subprocess.run(["cat", *files], capture_output=True, text=True).stdout


# ---- cold and warm agree


class KeepsCounts(CountBigram):
    """Goes on from what an earlier run has left in the user's cache."""

    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        kept = Path.home() / ".cache" / "keeps-counts.npy"
        if kept.exists():
            self.params["counts"] += np.load(kept)
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, self.params["counts"])


class RemembersAnswers(CountBigram):
    """Answers at once what it was asked before: a pass that is timed twice is timed wrongly."""

    def __init__(self, vocab_size, config, rng):
        super().__init__(vocab_size, config, rng)
        self.answers = {}

    def log_probs(self, inputs):
        key = inputs.shape, inputs.tobytes()
        if key not in self.answers:
            for _ in range(100):  # it is slow, or there would be nothing to be gained
                self.answers[key] = super().log_probs(inputs)
        return self.answers[key]


# ---- nothing off the clock


class WorksOn(CountBigram):
    """Returns at once, and learns in a thread."""

    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        threading.Thread(target=self.work, name="worker", daemon=True).start()

    def work(self):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            sum(range(10_000))


class WorksByAlarm(CountBigram):
    """The same without a thread: a timer interrupts the waiting process."""

    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        signal.signal(signal.SIGALRM, lambda *_: self.work())
        self.work()

    def work(self):
        until = time.thread_time() + 0.01
        while time.thread_time() < until:
            sum(range(1000))
        signal.setitimer(signal.ITIMER_REAL, 0.01)


class LeavesProcesses(CountBigram):
    """One child in its own group, one in a session of its own that nobody seems to have started."""

    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
        subprocess.Popen(sleeper)
        twice = f"import subprocess; subprocess.Popen({sleeper!r}, start_new_session=True)"
        subprocess.run([sys.executable, "-c", twice], check=True)


class SlowClock(CountBigram):
    """Time passes ten times as slowly."""

    def fit(self, train, dev, trial):
        real, began = time.perf_counter, time.perf_counter()
        time.perf_counter = lambda: began + (real() - began) / 10
        super().fit(train, dev, trial)


class TrainsInWarmUp(CountBigram):
    """The throw-away instance hands over what it has learned."""

    learned = None

    def warm_up(self, train, trial):
        type(self).learned = pair_counts(train)

    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        if self.learned is not None:
            self.params["counts"] += self.learned


class TrainsInCheckpoint(CountBigram):
    """Learns while the clock is stopped: what is asked at a checkpoint is dev."""

    training = False

    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        self.training = True
        trial.checkpoint(self)
        self.training = False

    def log_probs(self, inputs):
        if self.training:
            np.add.at(self.params["counts"], (inputs[:, :-1], inputs[:, 1:]), 1.0)
        return super().log_probs(inputs)


class WorksAtExit(CountBigram):
    """Leaves work for the interpreter's end: a file whose name a variable gives."""

    def fit(self, train, dev, trial):
        super().fit(train, dev, trial)
        atexit.register(lambda: Path(os.environ["ROGUE_FILE"]).write_text("done"))


ROGUES = {
    "reads-data": ReadsData,
    "reads-by-another": ReadsByAnother,
    "keeps-counts": KeepsCounts,
    "remembers-answers": RemembersAnswers,
    "works-on": WorksOn,
    "works-by-alarm": WorksByAlarm,
    "leaves-processes": LeavesProcesses,
    "slow-clock": SlowClock,
    "trains-in-warm-up": TrainsInWarmUp,
    "trains-in-checkpoint": TrainsInCheckpoint,
    "works-at-exit": WorksAtExit,
}


@hookimpl
def harness_models():
    return [ModelSpec(name, {"numpy": kind}, config={"k": 1.0}, context=1) for name, kind in ROGUES.items()]
