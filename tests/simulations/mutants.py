"""Real mutants through `harness gate` and its exit code.

    python tests/simulations/mutants.py              all of it: about an hour on a calm machine
    python tests/simulations/mutants.py quality      the mutants whose NLL is worse: a minute
    python tests/simulations/mutants.py work         those whose fit does 5 and 10 % more work
    python tests/simulations/mutants.py same         20 gates of the same against the same

Two virtual environments are made, each with a plugin installed: a bigram fitted by gradient descent. In
head its fit does so much more work, or its probabilities are mixed with so much of the uniform ones that
its test NLL rises by 0.01, 0.02 or 0.05 nats. The verb runs as its users run it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import harness

ROOT = Path(harness.__file__).resolve().parents[1]
STEPS = 1_500

PLUGIN = '''
"""A bigram by gradient descent: {steps} steps, {work} times their work, {epsilon} of uniform mixed in."""

import numpy as np
from harness import Model, ModelSpec, hookimpl


class Mutant(Model):
    def fit(self, train, dev, trial):
        v = self.vocab_size
        counts = np.bincount(train.tokens[:-1].astype(int) * v + train.tokens[1:], minlength=v * v) + 0.1
        shares = counts.reshape(v, v) / counts.sum()  # (V, V)
        logits = idle = np.zeros((v, v))
        for _ in range({steps}):
            logits = step(logits, shares)
        for _ in range({more}):
            idle = step(idle, shares)
        self.params["logits"] = logits

    def log_probs(self, inputs):  # (B, T) -> (B, T, V)
        p = softmax(self.params["logits"])
        return np.log((1 - {epsilon!r}) * p + {epsilon!r} / self.vocab_size)[inputs]


def softmax(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def step(logits, shares):
    for _ in range(10):
        logits = logits - 20 * (softmax(logits) * shares.sum(axis=1, keepdims=True) - shares)
    return logits


@hookimpl
def harness_models():
    return ModelSpec("mutant", {{"numpy": Mutant}}, context=1)
'''


@dataclass(frozen=True)
class Mutant:
    """What is different in head, and the exit codes that are right."""

    name: str
    right: frozenset[int]
    work: float = 1.0
    nats: float = 0.0

    @property
    def timed(self) -> bool:
        """Whether it takes both environments to see it."""
        return not self.nats


QUALITY = (
    Mutant("+0.01 nats", frozenset({1, 3}), nats=0.01),
    Mutant("+0.02 nats", frozenset({1}), nats=0.02),
    Mutant("+0.05 nats", frozenset({1}), nats=0.05),
)
WORK = (
    Mutant("+5 % work", frozenset({1, 3}), work=1.05),
    Mutant("+10 % work", frozenset({1}), work=1.10),
)
SAME = Mutant("the same", frozenset({0, 3}))


def environment(folder: Path, work: float = 1.0, epsilon: float = 0.0) -> Path:
    """A virtual environment whose Python finds this harness, what it needs, and the plugin."""
    venv.create(folder, symlinks=True)
    inside = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    packages = folder / inside
    code = PLUGIN.format(steps=STEPS, work=work, more=round((work - 1) * STEPS), epsilon=epsilon)
    (packages / "mutant_plugin.py").write_text(code)
    facts = packages / "mutant_plugin-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: mutant-plugin\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[harness]\nmutant = mutant_plugin\n")
    shelves = [ROOT, ROOT / "plugins", ROOT / "datasets", Path(sysconfig.get_paths()["purelib"])]
    (packages / "here.pth").write_text("".join(f"{shelf}\n" for shelf in shelves))
    return folder


def gate(base: Path, head: Path, folder: Path, *, timed: bool) -> tuple[int, str]:
    """The exit code of `harness gate` and what it printed."""
    command = [sys.executable, "-m", "harness", "gate", "--results", str(folder)]
    if timed:
        command += ["--base-env", str(base), "--head-env", str(head), "--models", "mutant"]
    else:
        command += ["--baseline", str(one_run(base, folder)), "--head", str(one_run(head, folder))]
    done = subprocess.run([*command, "--explain"], capture_output=True, text=True, check=False, env=environ())
    return done.returncode, done.stdout or done.stderr


def one_run(where: Path, folder: Path) -> Path:
    """The run file of the plugin in an environment; each of them is run once."""
    path = folder / f"{where.name}.jsonl"
    if not path.exists():
        command = [str(where / "bin/python"), "-m", "harness", "run", "--models", "mutant", "--threads", "1"]
        results = ["--results", str(folder / "runs"), "--output", str(path)]
        subprocess.run([*command, *results], check=True, capture_output=True, env=environ(), cwd=folder)
    return path


def environ() -> dict[str, str]:
    """Without what would let both environments import the same code."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "plugins", ROOT / "datasets")))
    }


def epsilon_for(nats: float, run: Path) -> float:
    """How much of uniform raises the test NLL of a stored run's model by so much, by bisection."""
    found = harness.load(run)
    record = found.records[0]
    logits = found.run.params(record)
    assert logits is not None
    rows = np.exp(logits["logits"] - logits["logits"].max(axis=1, keepdims=True))
    p = rows / rows.sum(axis=1, keepdims=True)  # (V, V)
    from harness import plan

    corpus = plan.plan("uniform").split_for(plan.plan("uniform").cells[0].choice).test.corpus
    right = p[corpus.tokens[:-1], corpus.tokens[1:]]  # (N,)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        mixed = -np.log((1 - middle) * right + middle / len(p)).mean()
        low, high = (middle, high) if mixed + np.log(right).mean() < nats else (low, middle)
    return high


@dataclass(frozen=True)
class Outcome:
    """One gate."""

    mutant: Mutant
    code: int
    said: str

    @property
    def kept(self) -> bool:
        """Whether the exit code is right."""
        return self.code in self.mutant.right

    def __str__(self) -> str:
        right = " or ".join(str(code) for code in sorted(self.mutant.right))
        verdict = "ok" if self.kept else "WRONG"
        return f"{self.mutant.name:12} exit {self.code}, expected {right}: {verdict}"


PARTS = {"quality": QUALITY, "work": WORK, "same": (SAME,) * 20}


def outcomes(folder: Path, mutants: Sequence[Mutant]) -> Iterator[Outcome]:
    """Every mutant through the gate, against the same base."""
    base = environment(folder / "base")
    for number, mutant in enumerate(mutants):
        epsilon = epsilon_for(mutant.nats, one_run(base, folder)) if mutant.nats else 0.0
        head = environment(folder / f"head{number}", mutant.work, epsilon)
        yield Outcome(mutant, *gate(base, head, folder, timed=mutant.timed))


def main() -> int:
    """Run and print; 1 where an exit code is wrong."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("parts", nargs="*", metavar="PART", help="quality, work, same; default: all")
    options.add_argument("--verbose", action="store_true", help="also what each gate printed")
    given = options.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        options.error(f"no such part: {', '.join(sorted(unknown))}")
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        mutants = [mutant for part in given.parts or PARTS for mutant in PARTS[part]]
        for outcome in outcomes(Path(folder), mutants):
            print(outcome, flush=True)  # noqa: T201 - a script of its own
            if given.verbose or not outcome.kept:
                print(outcome.said, flush=True)  # noqa: T201
            wrong += not outcome.kept
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
