"""A model fitted and scored as people do it: on other splits, on other parts, on an author's own words."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from harness import evaluate, sample, split
from harness.causes import Cause, Scored
from harness.contract import Model, Trial
from harness.corpus import Corpus
from harness.dataset import Dataset
from harness.errors import UsageError
from harness.fit import fit
from harness.instances import instance
from harness.registry import Registry
from harness.seeds import derive
from harness.selection import Choice

SHUFFLES = 5  # how often a list is shuffled in place before we stop to look
NUMBERS = {2: "twice", 3: "three times", 4: "four times", 5: "five times"}


class Cut(NamedTuple):
    """Documents as somebody has cut them."""

    train: Sequence[str]
    dev: Sequence[str]
    test: Sequence[str]


# ---- the ways of cutting: documents -> Cut


def at_80_and_90(documents: Sequence[str]) -> Cut:
    """The lecture's cuts of a list as it stands."""
    n = len(documents)
    return Cut(documents[: int(0.8 * n)], documents[int(0.8 * n) : int(0.9 * n)], documents[int(0.9 * n) :])


def shuffled(documents: Sequence[str], times: int) -> Cut:
    """The lecture's cell run so many times on one list: `random.seed(42)`, shuffle in place, cut."""
    words = list(documents)
    for _ in range(times):
        random.Random(42).shuffle(words)
    return at_80_and_90(words)


def distinct(documents: Sequence[str]) -> list[str]:
    """Each document once, where it first stands."""
    return list(dict.fromkeys(documents))


def by_method(documents: Sequence[str], data: Dataset, method: split.Method) -> Cut:
    """As one of our own splits has it."""
    parts = split.divide(documents, data.alphabet, data.kind, method)
    return Cut(*(sample.texts(part) for part in (parts.train, parts.dev.corpus, parts.test.corpus)))


def ways(data: Dataset, own: split.Method) -> dict[str, Callable[[], Cut]]:
    """Every other way of cutting than `own`, by the name of its cause, the most usual first."""
    documents = data.documents
    if data.kind == "text":
        named = {
            "trained and scored on the whole text": split.Method("all"),
            "cut at 90 %, as the GPT lecture": split.Method("contiguous", fractions=(0.9, 0.0, 0.1)),
        }
        found = {name: method_way(data, method) for name, method in named.items()}
    else:
        named = {
            "trained and scored on all documents": split.Method("all"),
            "split as in the lectures": split.Method("lecture"),
            "split as makemore.py (1,000 test words)": split.Method("makemore"),
            "split by hash (grouped)": split.Method("grouped"),
        }
        found = {name: method_way(data, method) for name, method in named.items() if method.name != own.name}
        if len(distinct(documents)) < len(documents):
            found["equal documents removed before the split"] = lambda: by_method(
                distinct(documents), data, own
            )
        for times in range(2, SHUFFLES + 1):
            name = f"the list shuffled {NUMBERS[times]} in place"
            found[name] = partial(shuffled, documents, times)
        found["the list not shuffled"] = partial(at_80_and_90, documents)
    return found


def method_way(data: Dataset, method: split.Method) -> Callable[[], Cut]:
    """One of our own splits as a way of cutting."""
    return partial(by_method, data.documents, data, method)


def without(documents: Sequence[str], words: Sequence[str]) -> list[str]:
    """The documents that are left for training where `words` are the test, each occurrence taken once."""
    taken = Counter(words)
    rest = []
    for document in documents:
        if taken[document]:
            taken[document] -= 1
        else:
            rest.append(document)
    return rest


def train_alone(known: Mapping[str, Callable[[], Cut]], words: Sequence[str]) -> dict[str, Callable[[], Cut]]:
    """For each way of cutting of which `words` are dev or test: they, after its train part alone."""
    found: dict[str, Callable[[], Cut]] = {}
    for way, make in known.items():
        cut = make()
        if any(sorted(words) == sorted(part) for part in (cut.dev, cut.test)):
            found[f"trained on the train part alone: {way}"] = partial(Cut, cut.train, cut.dev, words)
    return found


# ---- a model on them

PARTS = (Cause("in-sample: the training documents", "part"), Cause("dev, not test", "part"))
FIELD = {"dev, not test": "dev", "in-sample: the training documents": "train"}


@dataclass(eq=False)
class Reference:
    """A model that is fitted anew for every way of cutting, and scored target by target."""

    registry: Registry
    choice: Choice
    data: Dataset
    method: str  # as the protocol cuts
    own: Callable[[], Cut]
    ways: Mapping[str, Callable[[], Cut]]  # those that are tried
    known: Mapping[str, Callable[[], Cut]] = field(default_factory=dict)  # those that are recognised
    say: Callable[[str], None] = lambda text: None
    _fitted: dict[str, tuple[Cut, Model]] = field(default_factory=dict, repr=False)
    _scored: dict[tuple[str, str], Scored | None] = field(default_factory=dict, repr=False)

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The causes of split and part that apply here."""
        return (*(Cause(name, "split") for name in self.ways), *PARTS)

    def scores(self, how: Cause | None, part: Cause | None) -> Scored | None:
        """−ln p of every target of a part; None where it is empty, or nothing is left to train on."""
        cut, name = (how.name if how else ""), (FIELD[part.name] if part else "test")
        if (cut, name) not in self._scored:
            self._scored[cut, name] = self.score(cut, name)
        return self._scored[cut, name]

    def score(self, way: str, part: str) -> Scored | None:
        """The same, computed."""
        cut, model = self.fitted(way)
        documents = getattr(cut, part)
        if not any(documents):
            return None
        corpus = Corpus.from_documents(documents, self.data.alphabet, self.data.kind)
        context = self.choice.spec.context_of(self.choice.config)
        nats = evaluate.score_targets(model, corpus, context)
        if corpus.kind == "text":
            return Scored(nats, np.array([len(nats)]), ends=False)
        known = frozenset(cut.train)
        seen = np.array([document in known for document in documents], bool)
        return Scored(nats, corpus.lengths, texts=tuple(documents), seen=None if part == "train" else seen)

    def fitted(self, way: str) -> tuple[Cut, Model]:
        """The model fitted on the training documents of a way of cutting."""
        if way not in self._fitted:
            cut = self.ways[way]() if way else self.own()
            if not any(cut.train):
                raise UsageError("nothing is left to train on")
            self.say(f"fitting {self.choice.label}: {way or 'the protocol'}")
            self._fitted[way] = cut, self.fit(cut)
        return self._fitted[way]

    def fit(self, cut: Cut) -> Model:
        """By the spec's own budget, here and on one thread."""
        choice, data = self.choice, self.data
        seed = derive(data.name, "doctor", choice.spec.name, choice.backend, sorted(choice.config.items()))
        name, v = choice.spec.name, data.alphabet.size
        train, dev = (Corpus.from_documents(part, data.alphabet, data.kind) for part in (cut.train, cut.dev))
        context = choice.spec.context_of(choice.config)
        trial = Trial(seed, "cpu", 1, seconds=None, steps=choice.spec.steps_of(choice.config))

        def dev_nll(model: Model) -> float:
            nll = evaluate.score(model, dev, context).nll
            if nll is None:
                raise UsageError(f"{choice.label} needs a dev part, and this split has none")
            return nll

        def make() -> Model:
            return instance(self.registry, name, choice.backend, choice.config, v, seed)

        return fit(make, train, dev, trial, dev_nll).model


# ---- whose documents they are


def places(ways: Mapping[str, Callable[[], Cut]]) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Every part of every way of cutting: its way, its name, its documents."""
    for way, cut in ways.items():
        for name, documents in zip(Cut._fields, cut(), strict=True):
            if any(documents):
                yield way, name, documents


def identify(
    ways: Mapping[str, Callable[[], Cut]],
    *,
    targets: int | None = None,
    lengths: Sequence[int] | None = None,
    words: Sequence[str] | None = None,
) -> list[str]:
    """Which parts have so many targets (ends counted), these lengths in order, or exactly these words."""
    found = []
    for way, name, documents in places(ways):
        sizes = [len(document) + 1 for document in documents]
        if words is not None:
            if sorted(words) == sorted(documents):
                in_order = "" if list(words) == list(documents) else ", in another order"
                found.append(f"{name} of: {way}{in_order}")
        elif lengths is not None:
            if list(lengths) == sizes:
                found.append(f"{name} of: {way}")
        elif targets == sum(sizes):
            found.append(f"{name} of: {way}")
    return found
