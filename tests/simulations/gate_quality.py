"""Simulated differences of the NLL, from the scores of real documents, and what the gate says of them."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from gate_shares import CELLS, Float64s, Form, Rng, Share, T
from gate_speed import KINDS, gated, normal, pairs
from numpy.typing import NDArray

import harness
from harness import Corpus, Model, gate
from harness.plan import plan
from harness.statistics import Difference


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
