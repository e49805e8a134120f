"""What `harness gate` does on simulated histories, beside what it promises and what other tools' rules do.

    python tests/simulations/gate.py             the full form: under 5 minutes
    python tests/simulations/gate.py --short     seconds, as in the tests

A change has 20 cells. Speed: a process takes exp(noise) seconds. Within one job processes run one after
the other; each job is on another machine, and machines differ by 2.66 % (coefficient of variation between
runs on hosted runners: codspeed.io/blog/benchmarks-in-ci-without-noise). The gate sees 20 interleaved pairs
of one job; the published rules see 10 repetitions of base in one job and 10 of head in another, as when a
result of last week is kept. Quality: real names, scored by two fits of one model that differ in their seed
alone, drawn with replacement; their true difference is made what a row says.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from published_rules import RULES
from scipy.special import betaincinv

import harness
from harness import Corpus, Model, formats, gate
from harness.formats import Cells
from harness.plan import plan
from harness.statistics import Difference

Float64s = NDArray[np.float64]
Rng = np.random.Generator
CELLS = 20
PAIRS = max(gate.LOOKS)
REPETITIONS = 10  # of the published rules
PAST = 30  # changes that rustc-perf's rule looks back on
MACHINE = 0.0266
AT_ONCE = 100  # changes simulated together: bounds the memory
T = gate.Thresholds()


@dataclass(frozen=True)
class Form:
    """How much is simulated."""

    changes: int  # same against same, for each kind of noise
    slower: int  # with a true difference
    documents: int  # of a quality cell
    cases: int  # in which no PASS can be right, of each kind


FULL = Form(1_000, 100, 3_000, 50)
SHORT = Form(10, 5, 3_000, 5)


# ---- noise: ln of the time of each process of a job, (..., n), in the order in which they run


def hosted(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """Processes scatter so that the two of a pair differ by 2.66 %."""
    return normal(rng, shape, MACHINE / math.sqrt(2))


def independent(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """Every process scatters as much as machines do."""
    return normal(rng, shape, MACHINE)


def heavy(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """Student's t with 2 degrees: no variance."""
    return MACHINE / math.sqrt(2) * rng.standard_t(2, shape)


def drift(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """The machine becomes slower or faster all the time, by 20 % over the job (standard deviation)."""
    slope = normal(rng, (*shape[:-1], 1), 0.2)
    return hosted(rng, shape) + slope * np.linspace(0, 1, shape[-1])


def turbo(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """Two clock rates 10 % apart, each kept for some ten processes."""
    state = rng.integers(0, 2, (*shape[:-1], 1)) + np.cumsum(rng.random(shape) < 0.1, axis=-1)
    return 0.1 * (state % 2) + normal(rng, shape, 0.01)


def turbo_each(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """Two clock rates 10 % apart, drawn anew for each process."""
    return 0.1 * rng.integers(0, 2, shape) + normal(rng, shape, 0.01)


def autocorrelated(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """A neighbour's load, 5 %, that a process shares to 0.8 with the one before."""
    load = normal(rng, shape, 1.0)
    for i in range(1, shape[-1]):
        load[..., i] = 0.8 * load[..., i - 1] + 0.6 * load[..., i]
    return 0.05 * load + normal(rng, shape, 0.01)


def spikes(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """One process in ten is hit, by 50 % on average."""
    hit = rng.random(shape) < 0.1
    return hit * 0.5 * rng.exponential(1, shape) + normal(rng, shape, 0.01)


def busy(rng: Rng, shape: tuple[int, ...]) -> Float64s:
    """A machine with other work: 15 %, each process on its own."""
    return normal(rng, shape, 0.15)


def normal(rng: Rng, shape: tuple[int, ...], sd: float) -> Float64s:
    """Gaussian noise."""
    return sd * rng.standard_normal(shape)


KINDS: dict[str, Callable[[Rng, tuple[int, ...]], Float64s]] = {
    "hosted CI": hosted,
    "independent": independent,
    "heavy tails": heavy,
    "drift": drift,
    "turbo, kept": turbo,
    "turbo, each": turbo_each,
    "autocorrelated": autocorrelated,
    "spikes": spikes,
    "busy, 15 %": busy,
}
SLOWER = (0.02, 0.05, 0.10)


# ---- results


@dataclass(frozen=True)
class Share:
    """How often something was found."""

    what: str
    found: int
    of: int
    high: float | None = None  # a bound on the share …
    low: float | None = None

    @property
    def value(self) -> float:
        """The share."""
        return self.found / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper and Pearson's 95 %."""
        k, n = self.found, self.of
        return (
            float(betaincinv(k, n - k + 1, 0.025)) if k else 0.0,
            float(betaincinv(k + 1, n - k, 0.975)) if k < n else 1.0,
        )

    @property
    def kept(self) -> bool:
        """Whether the share keeps its bound."""
        return (self.high is None or self.value <= self.high) and (self.low is None or self.value >= self.low)


@dataclass(frozen=True)
class Noise:
    """One kind of noise: false alarms of a change and what is found of a slow-down, by rule."""

    kind: str
    alarms: dict[str, Share]
    found: dict[str, dict[float, Share]]
    passed: dict[float, Share]  # of the gate; 0: the same against the same


# ---- speed


def speed(form: Form) -> Iterator[Noise]:
    """Every kind of noise."""
    for number, (kind, noise) in enumerate(KINDS.items()):
        rng = np.random.default_rng([1, number])
        alarms = dict.fromkeys(["gate", *RULES], 0)
        found = {rule: dict.fromkeys(SLOWER, 0) for rule in alarms}
        passed = dict.fromkeys((0.0, *SLOWER), 0)  # 0: the same against the same
        for first in range(0, form.changes, AT_ONCE):
            some = min(AT_ONCE, form.changes - first)
            with_difference = slice(max(0, min(some, form.slower - first)))
            x = pairs(rng, noise, some)
            base, head, history = jobs(rng, noise, some)
            for share in passed:
                part = with_difference if share else slice(None)
                answers = gated(x[part] + math.log1p(share))
                passed[share] += int((answers == "PASS").sum())
                flagged = {"gate": answers == "FAIL"} | {
                    name: rule(base[part], head[part] * (1 + share), history[part])
                    for name, rule in RULES.items()
                }
                for rule, flags in flagged.items():
                    if share:
                        found[rule][share] += int(flags.sum())
                    else:
                        alarms[rule] += int(flags.any(axis=1).sum())
        cells = {share: (form.slower if share else form.changes) * CELLS for share in passed}
        yield Noise(
            kind,
            {
                r: Share("false alarm", k, form.changes, 0.01 if r == "gate" else None)
                for r, k in alarms.items()
            },
            {
                r: {s: Share(f"+{s:.0%} found", k, cells[s], low=needed(r, kind, s)) for s, k in by.items()}
                for r, by in found.items()
            },
            {s: Share("PASS", k, cells[s]) for s, k in passed.items()},
        )


def needed(rule: str, kind: str, share: float) -> float | None:
    """What is promised: +5 % in 95 % of cases, within 20 pairs on hosted CI."""
    return 0.95 if (rule, kind, share) == ("gate", "hosted CI", 0.05) else None


def pairs(rng: Rng, noise: Callable[[Rng, tuple[int, ...]], Float64s], changes: int) -> Float64s:
    """ln(head / base) of interleaved pairs in random order, same against same: (changes, 20, pairs)."""
    times = noise(rng, (changes, CELLS, 2 * PAIRS)).reshape(changes, CELLS, PAIRS, 2)
    first = rng.random((changes, CELLS, PAIRS)) < 0.5
    return np.where(first, 1, -1) * (times[..., 1] - times[..., 0])


def jobs(
    rng: Rng, noise: Callable[[Rng, tuple[int, ...]], Float64s], changes: int
) -> tuple[Float64s, Float64s, Float64s]:
    """Seconds of base and head in a job each (changes, 20, 10), and the relative changes of the past."""
    shape = (changes, CELLS, PAST + 2, REPETITIONS)
    seconds = np.exp(noise(rng, shape) + normal(rng, (*shape[:-1], 1), MACHINE))
    means = seconds[..., :-1, :].mean(axis=-1)  # all jobs before head
    return seconds[..., -2, :], seconds[..., -1, :], np.diff(means, axis=-1) / means[..., :-1]


def gated(x: Float64s) -> NDArray[np.str_]:
    """The gate's answers to pairs (..., n)."""
    rows = x.reshape(-1, x.shape[-1]).tolist()
    answers = [str(gate.slowdown(row, T.train).answer) for row in rows]
    return np.array(answers).reshape(x.shape[:-1])


# ---- quality


@dataclass(frozen=True, eq=False)
class Population:
    """Real documents: their scores under a model, and what another seed, or uniform mixed in, adds."""

    lengths: Float64s  # (N,) targets
    seeds: Float64s  # (N,) B − A, two seeds of an MLP, made to vanish on average
    models: Float64s  # (N,) the same of two very different models
    probabilities: Float64s  # (M,) of every target under a bigram
    document: NDArray[np.intp]  # (M,) the document in which it stands

    def mixed(self, nats: float) -> Float64s:
        """(N,) what ε of uniform adds to a document, ε such that the NLL rises by so much."""
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            enough = self.added(middle).sum() / self.lengths.sum() >= nats
            low, high = (low, middle) if enough else (middle, high)
        return self.added(high)

    def added(self, epsilon: float) -> Float64s:
        """(N,) −ln of the mixed probabilities, beyond that of the model."""
        p = self.probabilities
        rise = np.log(p) - np.log((1 - epsilon) * p + epsilon / 27)
        return np.bincount(self.document, rise)


def population() -> Population:
    """Dev and test names under models fitted on train; equal names stand once."""
    with tempfile.TemporaryDirectory() as folder:
        seeds = harness.run("mlp:steps=400", seeds=2, results=folder, in_process=True)
        others = harness.run("count-bigram,ngram", results=folder, in_process=True)
        found = [done.run.scores(record) for done in (seeds, others) for record in done.records]
        bigram = others.models["count-bigram@numpy"]
    scores = [arrays for arrays in found if arrays is not None]
    units, lengths, *sums = (
        np.concatenate([arrays[f"{part}_{name}"] for part in ("dev", "test")])
        for arrays, name in ((scores[0], "units"), (scores[0], "lengths"), *((one, "sums") for one in scores))
    )
    _, first = np.unique(units, return_index=True)
    made = plan("uniform")
    parts = made.split_for(made.cells[0].choice)
    probabilities = [
        np.exp(each) for part in (parts.dev, parts.test) for each in of_targets(bigram, part.corpus)
    ]
    chosen = [probabilities[i] for i in first]
    a, b, c, d = (one[first].astype(np.float64) for one in sums)
    n = lengths[first].astype(np.float64)
    assert np.allclose([-np.log(p).sum() for p in chosen], c)  # the same documents in the same order
    document = np.repeat(np.arange(len(first)), [len(p) for p in chosen])
    return Population(n, centred(b - a, n), centred(d - c, n), np.concatenate(chosen), document)


def of_targets(model: Model, corpus: Corpus) -> list[Float64s]:
    """Of a bigram, ln p of every target, an array a document."""
    inputs = corpus.tokens[:-1].astype(np.int64)
    rows = model.log_probs(inputs[None])[0]  # (N, V)
    right = rows[np.arange(len(inputs)), corpus.tokens[1:]]
    return np.split(right.astype(np.float64), corpus.offsets[1:-1])


def centred(sums: Float64s, lengths: Float64s) -> Float64s:
    """Differences (N,) less their mean per character: they add up to 0."""
    found: Float64s = sums - sums.sum() / lengths.sum() * lengths
    return found


@dataclass(frozen=True)
class Scene:
    """A row of the quality table."""

    what: str
    nats: float = 0.0  # the true difference
    kind: str = "seeds"  # how documents differ: `seeds`, `models` or `mixed`
    sd: float = 0.0  # of the NLL over seeds
    repeats: int = 1
    draws: bool = True


SCENES = (
    Scene("same, another seed's documents, no draws", draws=False),
    Scene("same, one seed, sd 0.002", sd=0.002),
    Scene("same, one seed, sd 0.003", sd=0.003),
    Scene("same, five seeds, sd 0.003", sd=0.003, repeats=5),
    Scene("same, five seeds, sd 0.005", sd=0.005, repeats=5),
    Scene("another model of equal NLL, no draws", kind="models", draws=False),
    Scene("+0.01 by a mixture", 0.01, "mixed"),
    Scene("+0.01 by a mixture, no draws", 0.01, "mixed", draws=False),
    Scene("+0.02 by a mixture", 0.02, "mixed"),
    Scene("+0.02 by a mixture, no draws", 0.02, "mixed", draws=False),
    Scene("+0.02, fitted anew, one seed, sd 0.003", 0.02, sd=0.003),
    Scene("+0.02, fitted anew, five seeds, sd 0.003", 0.02, sd=0.003, repeats=5),
)


@dataclass(frozen=True)
class Quality:
    """One scene."""

    scene: Scene
    alarms: Share  # changes of 20 cells with a FAIL
    answers: dict[str, Share]  # of cells


def quality(form: Form, real: Population) -> Iterator[Quality]:
    """Every scene."""
    for number, scene in enumerate(SCENES):
        rng = np.random.default_rng([2, number])
        answers = [answer_of(scene, drawn(scene, form, real, rng)) for _ in range(form.changes * CELLS)]
        by_change = np.array(answers).reshape(-1, CELLS)
        alarms = int((by_change == "FAIL").any(axis=1).sum())
        found = scene.what.startswith("+0.02") and not (scene.sd and scene.repeats == 1)
        yield Quality(
            scene,
            Share("false alarm", alarms, form.changes, None if scene.nats else 0.01),
            {
                answer: Share(answer, answers.count(answer), len(answers), low=low)
                for answer, low in (("FAIL", 0.95 if found else None), ("PASS", None), ("INCONCLUSIVE", None))
            },
        )


def drawn(scene: Scene, form: Form, real: Population, rng: Rng) -> Difference:
    """The difference of one cell, as `paired` would find it in scores (a test holds them equal)."""
    g = form.documents
    chosen = rng.integers(0, len(real.lengths), g)
    lengths = real.lengths[chosen]
    apart = mixture(real, scene.nats) if scene.kind == "mixed" else getattr(real, scene.kind)
    # seeds of one method differ in what they miss: the means of R of them by 1/√R as much
    differences = apart[chosen] / (math.sqrt(scene.repeats) if scene.kind == "seeds" else 1)
    nats, docs = ratio(differences, lengths)
    shifts = normal(rng, (2, scene.repeats), scene.sd)
    nats += float(shifts[1].mean() - shifts[0].mean()) + (0.0 if scene.kind == "mixed" else scene.nats)
    seeds = math.sqrt(shifts.var(axis=1, ddof=1).sum() / scene.repeats) if scene.repeats > 1 else None
    return Difference(nats, None, None, None, g, g, docs, seeds)


def ratio(differences: Float64s, lengths: Float64s) -> tuple[float, float]:
    """ΣD / ΣL and its standard error over documents."""
    g, total = len(lengths), float(lengths.sum())
    nats = float(differences.sum()) / total
    return nats, math.sqrt(g / (g - 1) * float(((differences - nats * lengths) ** 2).sum())) / total


def answer_of(scene: Scene, found: Difference) -> str:
    """The gate's answer."""
    return str(gate.of_difference(found, (scene.repeats,) * 2, T, draws=scene.draws).answer)


_MIXED: dict[float, Float64s] = {}


def mixture(real: Population, nats: float) -> Float64s:
    """`Population.mixed`, found once."""
    if nats not in _MIXED:
        _MIXED[nats] = real.mixed(nats)
    return _MIXED[nats]


# ---- where no PASS can be right


def unknowable(form: Form, real: Population) -> dict[str, Share]:
    """Cases in which too little is known, or the truth is exactly what is not tolerated: how many PASS."""
    rng = np.random.default_rng(3)
    found: dict[str, list[str]] = {
        "+0.01 nats exactly": [],
        "below 20 documents": [],
        "20 to 60 documents": [],
    }
    for _ in range(form.cases):
        scene = Scene("", 0.01, "mixed", draws=bool(rng.integers(2)))
        found["+0.01 nats exactly"].append(answer_of(scene, drawn(scene, form, real, rng)))
        for what, g in (
            ("below 20 documents", rng.integers(2, 20)),
            ("20 to 60 documents", rng.integers(20, 61)),
        ):
            chosen = rng.integers(0, len(real.lengths), g)
            base, head = np.zeros((1, g)), real.seeds[chosen][None]
            lengths = real.lengths[chosen].astype(int)
            found[what].append(str(gate.quality(base, head, lengths, np.arange(g), T).answer))
    found["below 10 pairs"] = [
        str(gate.slowdown(normal(rng, (int(rng.integers(0, 10)),), 0.001).tolist(), T.train).answer)
        for _ in range(form.cases // 2)
    ]
    kinds = list(KINDS.values())
    found["+5 % time exactly"] = [
        str(gated(pairs(rng, kinds[i % len(kinds)], 1)[:, :1] + math.log(1.05)).item())
        for i in range(form.cases - form.cases // 2)
    ]
    return {what: Share(what, answers.count("PASS"), len(answers), 0.0) for what, answers in found.items()}


# ---- tables


def tables(noises: Sequence[Noise], scenes: Sequence[Quality], cases: dict[str, Share]) -> list[list[Cells]]:
    """False alarms by rule, what is found by rule, the gate in full, quality, and the cases."""
    kinds = [noise.kind for noise in noises]
    rules = ["gate", *RULES]
    first = Cells("noise", kinds, words=True, name=True)
    return [
        [first, *(Cells(r, [f"{n.alarms[r].value:.3f}" for n in noises]) for r in rules)],
        [first, *(Cells(r, [f"{n.found[r][0.05].value:.3f}" for n in noises]) for r in rules)],
        [
            first,
            Cells("false alarm", [both(n.alarms["gate"]) for n in noises]),
            Cells("same: PASS", [f"{n.passed[0.0].value:.3f}" for n in noises]),
            *(
                Cells(
                    f"+{s:.0%}: FAIL / PASS",
                    [f"{n.found['gate'][s].value:.3f} / {n.passed[s].value:.3f}" for n in noises],
                )
                for s in SLOWER
            ),
        ],
        [
            Cells("documents: 3,000", [q.scene.what for q in scenes], words=True, name=True),
            Cells("a FAIL among 20", [both(q.alarms) for q in scenes]),
            *(
                Cells(a, [f"{q.answers[a].value:.3f}" for q in scenes])
                for a in ("FAIL", "PASS", "INCONCLUSIVE")
            ),
        ],
        [
            Cells("no PASS can be right", list(cases), words=True),
            Cells("PASS", [f"{share.found} of {share.of}" for share in cases.values()]),
        ],
    ]


TITLES = (
    "False alarms of a change with 20 cells, nothing changed",
    "+5 % time: found, by cell",
    "The gate: false alarms with 95 % intervals (Clopper–Pearson), answers by cell",
    "Quality",
    "Where nobody can know",
)


def both(share: Share) -> str:
    """`0.002 (0.000–0.007)`."""
    low, high = share.interval
    return f"{share.value:.3f} ({low:.3f}–{high:.3f})"


def shares(
    noises: Sequence[Noise], scenes: Sequence[Quality], cases: dict[str, Share]
) -> Iterator[tuple[str, Share]]:
    """Every share with a bound, and where it belongs."""
    for noise in noises:
        yield noise.kind, noise.alarms["gate"]
        yield from ((noise.kind, share) for share in noise.found["gate"].values())
    for each in scenes:
        yield each.scene.what, each.alarms
        yield from ((each.scene.what, share) for share in each.answers.values())
    yield from cases.items()


def main() -> None:
    """Simulate and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--short", action="store_true", help="fewer changes")
    options.add_argument("--markdown", action="store_true", help="as the tables of docs/gate.md")
    given = options.parse_args()
    form, real = SHORT if given.short else FULL, population()
    found = list(speed(form)), list(quality(form, real)), unknowable(form, real)
    for title, columns in zip(TITLES, tables(*found), strict=True):
        sheet = formats.markdown(columns) if given.markdown else formats.plain(columns, 120)
        print(f"{title}\n\n{sheet}\n")  # noqa: T201 - a script of its own
    missed = [
        f"{where}, {share.what}: {share.value:.4f}" for where, share in shares(*found) if not share.kept
    ]
    print(f"Not kept: {'; '.join(missed)}." if missed else "All bounds are kept.")  # noqa: T201


if __name__ == "__main__":
    main()
