"""Sample statistics: brute force, other implementations, and what is compared with what."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance
from scipy.stats import wasserstein_distance

import harness
from harness import Alphabet, Corpus, Model, Trial, sample, store
from harness.contract import Floats, Ints
from harness.record import DocumentStatistics, Record, SampleStatistics

ABC = Alphabet("abc")
DATA = "markov:documents=300"


def lines(*documents: str) -> Corpus:
    """A corpus of lines."""
    return Corpus.from_documents(documents, ABC)


def text(characters: str) -> Corpus:
    """A corpus of running text."""
    return Corpus.from_documents([characters] if characters else [], ABC, "text")


def drawn(*texts: str) -> sample.Drawn:
    """Samples, as if a model had drawn them."""
    return sample.Drawn(list(texts), 1, 0, 1.0, 1)


def prose(n: int, seed: int = 0) -> str:
    """N characters of no meaning."""
    return "".join("abc"[i] for i in np.random.default_rng(seed).integers(0, 3, n))


def words(n: int, seed: int = 0) -> list[str]:
    """N words of 0 to 6 characters."""
    sizes = np.random.default_rng(seed).integers(0, 7, n)
    return [prose(int(size), seed * 1000 + i) for i, size in enumerate(sizes)]


# ---- distances


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 30), min_size=1), st.lists(st.integers(0, 30), min_size=1))
def test_wasserstein_is_that_of_scipy(a: list[int], b: list[int]) -> None:
    """The distance of two samples of whole numbers equals scipy's."""
    found = sample.wasserstein(np.array(a), np.array(b))
    assert found == pytest.approx(wasserstein_distance(a, b), abs=1e-12)


def test_wasserstein_by_hand() -> None:
    """Every one of two documents is three characters longer: distance 3."""
    assert sample.wasserstein(np.array([1, 5]), np.array([8, 4])) == 3.0
    assert sample.wasserstein(np.array([0, 2, 2]), np.array([2, 0, 2])) == 0.0


counts = st.dictionaries(st.sampled_from("abcdefg"), st.integers(1, 50), min_size=1).map(Counter)


@settings(deadline=None, max_examples=50)
@given(counts, counts)
def test_jensen_shannon_is_that_of_scipy(a: Counter[str], b: Counter[str]) -> None:
    """The distance of two sets of counts, base 2, equals scipy's of their distributions."""
    p, q = ([each[gram] for gram in "abcdefg"] for each in (a, b))
    expected = float(np.nan_to_num(distance.jensenshannon(p, q, base=2)))  # it takes the root of −1e-17
    found = sample.jensen_shannon(a, b)
    assert found == pytest.approx(expected, abs=1e-7)
    assert found == sample.jensen_shannon(b, a)


def test_jensen_shannon_at_its_ends() -> None:
    """0 for the same distribution, whatever the sizes; 1 for disjoint ones; None for nothing."""
    assert sample.jensen_shannon(Counter("aab"), Counter("aaaabb")) == 0.0
    assert sample.jensen_shannon(Counter("aab"), Counter("cdd")) == 1.0
    assert sample.jensen_shannon(Counter("aab"), Counter()) is None
    half = sample.jensen_shannon(Counter("a"), Counter("ab"))
    assert half == pytest.approx(math.sqrt(0.5 * math.log2(4 / 3) + 0.25 * math.log2(2 / 3) + 0.25))


def test_ngrams_count_the_boundary() -> None:
    """n − 1 boundaries before the first character, one after the last where the document has its end."""
    assert sample.ngrams(["ab\n", "a"], 1, "\n") == Counter({"a": 2, "b": 1, "\n": 1})
    assert sample.ngrams(["ab\n", "a"], 2, "\n") == Counter({"\na": 2, "ab": 1, "b\n": 1})
    assert sample.ngrams(["ab\n"], 3, "\n") == Counter({"\n\na": 1, "\nab": 1, "ab\n": 1})
    assert sample.ngrams(["abab"], 2, "") == Counter({"ab": 2, "ba": 1})
    assert sample.ngrams(["\n"], 3, "\n") == Counter({"\n\n\n": 1})


# ---- the statistics of samples


def by_hand(documents: Sequence[str], known: dict[str, Sequence[str]], test: Sequence[str]) -> dict[str, Any]:
    """Every figure of line documents in plain Python; none is cut."""
    n = len(documents)
    result: dict[str, Any] = {
        f"in_{part}": len([d for d in documents if d in list(those)]) / n for part, those in known.items()
    }
    result["novel"] = len([d for d in documents if d not in list(known["train"])]) / n
    result["duplicates"] = len([d for i, d in enumerate(documents) if d in documents[:i]]) / n
    result["mean_length"] = sum(len(d) for d in documents) / n
    result["length_distance"] = wasserstein_distance([len(d) for d in documents], [len(d) for d in test])
    for order, name in ((1, "unigram"), (2, "bigram"), (3, "trigram")):
        grams: list[list[str]] = [[], []]
        for side, those in enumerate((documents, test)):
            for document in those:
                padded = "." * (order - 1) + document + "."
                grams[side] += [padded[i : i + order] for i in range(len(document) + 1)]
        every = sorted({*grams[0], *grams[1]})
        p, q = ([side.count(gram) for gram in every] for side in grams)
        result[f"{name}_distance"] = distance.jensenshannon(p, q, base=2)
    return result


def test_the_figures_of_samples_by_brute_force() -> None:
    """Shares, lengths and distances are those of plain Python, for the samples and for the real ones."""
    train, dev, test = words(200), words(30, 1), words(40, 2)
    samples = words(30, 3)
    against = sample.reference(lines(*train), lines(*dev), lines(*test), 5)
    found = sample.statistics(drawn(*samples), against)
    expected = by_hand(samples, {"train": train, "dev": dev, "test": test}, test)
    for name, value in expected.items():
        assert getattr(found.drawn, name) == pytest.approx(value, abs=1e-9), name
    assert found.real is not None
    for name, value in by_hand(against.real, {"train": train, "test": test}, test).items():
        assert getattr(found.real, name) == pytest.approx(value, abs=1e-9), name
    assert 0 < found.drawn.duplicates < 1  # type: ignore[operator]
    assert 0 < found.drawn.in_train < 1  # type: ignore[operator]
    assert (found.drawn.documents, found.real.documents, found.max_length) == (30, 30, 12)
    assert (found.real_from, found.compared_with, found.real_seed) == ("dev", "test", 5)
    assert found.absent == {"real.in_dev": "they are of dev"}


def test_real_documents_as_samples_get_the_figures_of_the_real_ones() -> None:
    """What a perfect model would get: the real documents, taken for samples, differ in nothing."""
    against = sample.reference(lines(*words(90)), lines(*words(30, 1)), lines(*words(40, 2)), 5)
    found = sample.statistics(drawn(*against.real), against)
    assert found.real is not None
    in_dev = found.drawn.in_dev
    assert in_dev == 1.0
    assert msgspec.structs.replace(found.drawn, in_dev=None) == found.real


def test_a_cut_sample_has_no_end() -> None:
    """At the limit a sample is truncated and its n-grams hold no end."""
    against = sample.reference(lines("ab"), lines("ab"), lines("abcc", "abcc"), 0)
    assert against.max_length == 4
    found = sample.statistics(drawn("abcc"), against).drawn
    assert found.truncated == 1.0
    assert found.unigram_distance == sample.jensen_shannon(Counter("abcc"), Counter("abcc\n"))
    assert against.real == ["ab"]
    assert sample.reference(lines("a"), lines("abc"), lines("abc"), 0).real == ["ab"]  # cut as well


def test_running_text_is_compared_in_pieces() -> None:
    """A sample is in a part where it occurs in its text; real ones are pieces of 500 characters."""
    train, dev, test = prose(5_000), prose(4_000, 1), prose(1_700, 2)
    against = sample.reference(text(train), text(dev), text(test), 3)
    assert len(against.real) == len(set(against.real)) == 8
    assert all(dev.index(piece) % 500 == 0 for piece in against.real)
    assert against.compared == [test[:500], test[500:1000], test[1000:1500]]
    found = sample.statistics(
        drawn(train[77:577], "cab" * 60, *[prose(500, 9 + i) for i in range(8)]), against
    )
    assert found.drawn.documents == 8
    assert found.drawn.in_train == 1 / 8
    assert found.drawn.truncated == 7 / 8
    assert found.drawn.length_distance == (500 - 180) / 8
    assert found.real is not None
    assert (found.real.truncated, found.real.mean_length, found.real.length_distance) == (1.0, 500.0, 0.0)
    assert against.ngrams[0] == Counter(test[:1500])
    assert against.ngrams[2].total() == 3 * 498  # n-grams across a cut are none


# ---- which real documents


def test_real_documents_are_drawn_without_replacement_by_a_seed() -> None:
    """500 of 1,000, each of dev once; another seed takes others."""
    dev = ["".join(letters) for letters in itertools.product("abc", repeat=7)][:1000]
    parts = lines(*words(20)), lines(*dev), lines(*words(20, 2))
    first, again, other = (sample.reference(*parts, seed).real for seed in (1, 1, 2))
    assert len(first) == len(set(first)) == 500
    assert set(first) <= set(dev)
    assert first == again != other


@pytest.mark.parametrize(
    ("dev", "test", "in_sample", "part"),
    [((), range(20), False, "test"), (range(20), (), False, "dev"), (range(20), range(20), True, "test")],
)
def test_without_two_parts_there_are_two_halves(
    dev: Sequence[int], test: Sequence[int], in_sample: bool, part: str
) -> None:
    """Where dev or test is empty, or both are train, one half stands beside the other."""
    documents = ["".join(letters) for letters in itertools.product("abc", repeat=3)]
    parts = lines(*documents), lines(*(documents[i] for i in dev)), lines(*(documents[i] for i in test))
    against = sample.reference(*parts, 0, in_sample=in_sample)
    assert len(against.real) == len(against.compared) == 10
    assert sorted([*against.real, *against.compared]) == sorted(documents[:20])
    assert against.real != documents[:10]
    found = sample.statistics(drawn(*documents[:27]), against)
    assert (found.real_from, found.compared_with) == (f"one half of {part}", f"the other half of {part}")
    assert found.absent[f"real.in_{part}"] == f"they are of {part}"
    if not in_sample:
        empty = "dev" if part == "test" else "test"
        assert found.absent[f"drawn.in_{empty}"] == f"{empty} is empty"


@pytest.mark.parametrize("held", [(), ("abc",)])
def test_without_real_documents_the_samples_stand_alone(held: Sequence[str]) -> None:
    """Nothing held out, or a single document: shares of all samples, and reasons for the rest."""
    against = sample.reference(lines("ab", "b"), lines(), lines(*held), 0)
    found = sample.statistics(drawn("ab", "c", "c", "a"), against)
    assert found.real is None
    assert (found.real_from, found.real_seed) == (None, None)
    assert "real" in found.absent
    assert (found.drawn.documents, found.drawn.novel, found.drawn.duplicates) == (4, 0.75, 0.25)
    assert (found.drawn.trigram_distance is None) == (not held)


def test_text_too_short_for_a_piece() -> None:
    """Held-out text of less than 500 characters holds no piece: null, with the reason."""
    against = sample.reference(text("abc" * 500), text("ab"), text("ba"), 0)
    found = sample.statistics(drawn("abc", ""), against)
    assert found.real is None
    assert found.drawn.in_test == 0.5  # the empty one occurs anywhere
    assert found.absent["drawn.length_distance"] == "no held-out document to compare with"


@pytest.mark.parametrize(
    "parts",
    [
        (lines("ab"), lines("a", "b"), lines("c")),
        (lines("ab"), lines(), lines()),
        (lines(""), lines(""), lines("", "")),
        (text("ab"), text("a"), text("")),
        (text("abc" * 200), text("ab" * 400), text("bc" * 400)),
    ],
)
@pytest.mark.parametrize("texts", [[""], ["a", "ab", "a"]])
def test_what_is_absent_has_a_reason(parts: tuple[Corpus, Corpus, Corpus], texts: list[str]) -> None:
    """Every field that is null has its reason, and no other field has one; nothing is NaN."""
    found = sample.statistics(drawn(*texts), sample.reference(*parts, 0))
    sides: dict[str, DocumentStatistics | None] = {"drawn": found.drawn, "real": found.real}
    null = set()
    for side, figures in sides.items():
        if figures is None:
            null.add(side)
            continue
        values = msgspec.structs.asdict(figures)
        null |= {f"{side}.{name}" for name, value in values.items() if value is None}
        assert all(math.isfinite(value) for value in values.values() if value is not None)
    assert set(found.absent) == null


# ---- how many samples, and in which blocks


def test_how_many_samples() -> None:
    """500 lines, of long ones so many that they have 100,000 characters, 10 at least; 10 pieces of text."""
    assert [sample.how_many("lines", length) for length in (2, 30, 200, 1000, 10**6)] == [500] * 3 + [100, 10]
    assert sample.how_many("text", 500) == 10


class Noise(Model):
    """Every character and the end equally likely; notes how many documents it was asked for."""

    def __init__(self) -> None:
        super().__init__(4, {}, np.random.default_rng(0))
        self.asked: list[int] = []

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Nothing to learn."""

    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        return np.full((*inputs.shape, 4), -math.log(4))

    def sample(self, n: int, *arguments: Any, **options: Any) -> list[Ints]:
        """As any model, counted."""
        self.asked.append(n)
        return super().sample(n, *arguments, **options)


def test_many_samples_are_drawn_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call is larger than B·T·V allows; blocks differ from each other and come again with the seed."""
    together = sample.draw(Noise(), 10, ABC, 9, seed=3)
    monkeypatch.setattr(sample, "CELLS_A_CALL", 4 * 10 * 4)
    model = Noise()
    apart = sample.draw(model, 10, ABC, 9, seed=3)
    assert model.asked == [4, 4, 2]
    assert len(apart.texts) == 10
    assert apart.texts[:4] != apart.texts[4:8]
    assert apart.texts == sample.draw(Noise(), 10, ABC, 9, seed=3).texts
    assert len(together.texts) == 10
    ends = sum(len(each) + 1 for each in apart.texts)
    assert apart.characters == ends - apart.truncated


# ---- in the record


def run(tmp_path: Path, **options: Any) -> tuple[store.Run, list[Record]]:
    """A run of quick models."""
    models = "count-bigram,nn-bigram:steps=20,mlp:steps=20,uniform"
    result = harness.run(models, dataset=DATA, results=tmp_path, threads=1, fresh=True, **options)
    return result.run, result.records


def test_statistics_do_not_depend_on_where_a_cell_runs(tmp_path: Path) -> None:
    """Isolated, in this process or side by side, samples and statistics are equal to the bit."""
    stored, records = run(tmp_path)
    for options in ({"in_process": True}, {"jobs": 2}):
        other, others = run(tmp_path, **options)
        assert [r.sample_statistics for r in others] == [r.sample_statistics for r in records]
        assert [other.samples(r) for r in others] == [stored.samples(r) for r in records]


def test_the_record_can_be_measured_again(tmp_path: Path) -> None:
    """All samples are kept; with them and the recorded seed the statistics come out again."""
    stored, records = run(tmp_path, in_process=True)
    made = harness.notebook.plan("uniform", data=DATA)  # type: ignore[attr-defined]
    parts = made.split_for(made.cells[0].choice)
    for record in records:
        figures, texts = record.sample_statistics, stored.samples(record)
        assert figures is not None
        assert texts is not None
        assert figures.real_seed is not None
        against = sample.reference(parts.train, parts.dev.corpus, parts.test.corpus, figures.real_seed)
        assert len(texts) == sample.how_many("lines", figures.max_length) == 500
        assert sample.statistics(drawn(*texts), against) == figures
        assert figures.drawn.documents == len(parts.dev.corpus)


def test_a_model_that_breaks_has_no_statistics(tmp_path: Path) -> None:
    """A failed cell has none, and a sampler that returns no document makes the cell invalid."""
    Path("bad.py").write_text(
        "from harness import ModelSpec, hookimpl\n"
        "from harness_plugins.uniform import Uniform\n"
        "class Bad(Uniform):\n"
        "    def sample(self, n, max_length, rng, **options): return [[99]] * n\n"
        "@hookimpl\n"
        "def harness_models(): return ModelSpec('bad', {'numpy': Bad}, context=0)\n"
    )
    (record,) = harness.run("bad", plugin=["bad.py"], dataset=DATA, results=tmp_path).records
    assert record.status == "invalid"
    assert record.sample_statistics is None
    assert record.samples is None


def test_old_records_are_read(tmp_path: Path) -> None:
    """A record without the fields of sample statistics and alphabet is read, with null there."""
    _, (record, *_) = run(tmp_path, in_process=True)
    plain = msgspec.to_builtins(record)
    assert plain["sample_statistics"]["drawn"]["documents"] > 0
    del plain["sample_statistics"], plain["data"]["alphabet"]
    old = msgspec.convert(plain, Record)
    assert old.sample_statistics is None
    assert old.data.alphabet is None
    kept = msgspec.json.decode(msgspec.json.encode(record.sample_statistics), type=SampleStatistics)
    assert kept == record.sample_statistics
