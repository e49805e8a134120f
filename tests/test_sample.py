"""Sampling: the drawn documents obey the stated law, and what is no document is refused."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness import Alphabet, Corpus, Model, Trial, sample
from harness.ancestral import choose
from harness.contract import Floats, Ints
from harness.errors import InvalidModel

ABC = Alphabet("abc")
LAW = np.array(
    [
        # end  a    b    c
        [0.1, 0.5, 0.2, 0.2],  # at the start
        [0.3, 0.0, 0.6, 0.1],  # after a
        [0.5, 0.2, 0.2, 0.1],  # after b
        [0.2, 0.4, 0.4, 0.0],  # after c
    ]
)


class Bigram(Model):
    """The next character by `LAW`, from the last one."""

    def __init__(self, law: Any = LAW) -> None:
        super().__init__(len(law), {}, np.random.default_rng(0))
        with np.errstate(divide="ignore"):
            self.rows = np.log(np.asarray(law, float))

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Nothing to learn."""

    def log_probs(self, inputs: Ints) -> Floats:
        """(B, T) -> (B, T, V)."""
        return self.rows[inputs]


def probability(text: str, max_length: int) -> float:
    """P of a document, or of all that start with it where it is cut at `max_length`."""
    tokens = [0, *ABC.encode(text)]
    p = math.prod(LAW[a, b] for a, b in pairwise(tokens))
    return p if len(text) == max_length else p * float(LAW[tokens[-1], 0])


def texts(max_length: int) -> list[str]:
    """Every text up to a length."""
    found = [""]
    for _ in range(max_length):
        found += [text + c for text in found if len(text) == len(found[-1]) for c in "abc"]
    return found


# ---- the law


def test_samples_obey_the_law() -> None:
    """20,000 documents of at most 3 characters pass the chi-square test of their exact probabilities."""
    drawn = sample.draw(Bigram(), 20_000, ABC, 3, seed=1)
    counts = Counter(drawn.texts)
    expected = {text: p for text in texts(3) if (p := probability(text, 3)) > 0}
    assert math.fsum(expected.values()) == pytest.approx(1.0)
    assert set(counts) <= set(expected)  # nothing with p = 0 is ever drawn
    observed = [counts[text] for text in expected]
    assert stats.chisquare(observed, [20_000 * p for p in expected.values()]).pvalue > 0.01


def test_a_uniform_number_of_zero_draws_nothing_impossible() -> None:
    """The smallest number a generator gives takes the first character with p > 0."""
    with np.errstate(divide="ignore"):
        rows = np.log(np.array([[0.0, 0.0, 0.5, 0.5], [0.1, 0.4, 0.0, 0.5]]))
    assert choose(rows, np.zeros(2), 1.0, None).tolist() == [2, 0]


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_divides_logits(temperature: float) -> None:
    """First characters follow p^(1/T), renormalised."""
    drawn = sample.draw(Bigram(), 20_000, ABC, 1, seed=2, temperature=temperature)
    weights = LAW[0] ** (1 / temperature)
    counts = Counter(drawn.texts)
    observed = [counts[text] for text in ("", "a", "b", "c")]
    assert stats.chisquare(observed, 20_000 * weights / weights.sum()).pvalue > 0.01


def test_temperature_zero_takes_the_likeliest() -> None:
    """Greedy: a from the start, b after a, the end after b; ties go to the lower index."""
    assert sample.draw(Bigram(), 3, ABC, 9, seed=3, temperature=0.0).texts == ["ab"] * 3
    tied = Bigram([[0.0, 0.2, 0.4, 0.4], [0, 0, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0]])
    assert sample.draw(tied, 1, ABC, 9, seed=3, temperature=0.0).texts == ["b"]


@pytest.mark.parametrize(
    ("top_k", "kept"),
    [
        (1, [0.0, 0.5, 0.0, 0.0]),
        (2, [0.0, 0.5, 0.2, 0.0]),
        (3, [0.0, 0.5, 0.2, 0.2]),
        (9, [0.1, 0.5, 0.2, 0.2]),
    ],
)
def test_top_k_keeps_the_largest_and_renormalises(top_k: int, kept: list[float]) -> None:
    """All but the k likeliest are dropped, the boundary too; of a tie the lower index stays."""
    drawn = sample.draw(Bigram(), 5_000, ABC, 1, seed=4, top_k=top_k)
    counts = Counter(drawn.texts)
    observed = np.array([counts[text] for text in ("", "a", "b", "c")])
    p = np.array(kept) / sum(kept)
    assert (observed[p == 0] == 0).all()
    if top_k > 1:
        assert stats.chisquare(observed[p > 0], 5_000 * p[p > 0]).pvalue > 0.01


def test_top_k_acts_after_the_temperature() -> None:
    """Two survivors of p .5 and .2 at temperature 0.5 are drawn as .25 to .04."""
    drawn = sample.draw(Bigram(), 20_000, ABC, 1, seed=5, temperature=0.5, top_k=2)
    assert drawn.texts.count("a") / 20_000 == pytest.approx(0.25 / 0.29, abs=0.01)
    assert set(drawn.texts) == {"a", "b"}


def test_a_prompt_is_part_of_the_sample_and_conditions_it() -> None:
    """Every sample starts with the prompt, and what follows it has the law after its last character."""
    drawn = sample.draw(Bigram(), 10_000, ABC, 3, seed=6, prompt=ABC.encode("bc"))
    counts = Counter(drawn.texts)
    assert set(counts) == {"bc", "bca", "bcb"}
    observed = [counts["bc"], counts["bca"], counts["bcb"]]
    assert stats.chisquare(observed, [2_000, 4_000, 4_000]).pvalue > 0.01


@pytest.mark.parametrize("setting", [{"temperature": -0.5}, {"top_k": 0}])
def test_senseless_settings_are_refused(setting: dict[str, Any]) -> None:
    """A negative temperature and a top-k of none are errors."""
    with pytest.raises(ValueError, match="temperature must be 0 or more and top_k at least 1"):
        sample.draw(Bigram(), 3, ABC, 5, seed=0, **setting)


# ---- reproducible


def test_a_seed_gives_the_same_samples() -> None:
    """The recorded seed draws the same documents again, another seed others, the global state none."""
    first = sample.draw(Bigram(), 30, ABC, 20, seed=7)
    np.random.seed(5)
    assert sample.draw(Bigram(), 30, ABC, 20, seed=7).texts == first.texts
    assert sample.draw(Bigram(), 30, ABC, 20, seed=8).texts != first.texts
    assert first.seed == 7


# ---- figures


@pytest.mark.parametrize(("documents", "limit"), [(["ab", "abcab", ""], 10), (["a"], 2), ([""], 2), ([], 2)])
def test_the_limit_is_twice_the_longest_line(documents: list[str], limit: int) -> None:
    """Twice the characters of the longest training line, its end not counted, and at least 2."""
    assert sample.longest(Corpus.from_documents(documents, ABC)) == limit


def test_the_limit_of_running_text() -> None:
    """Running text is drawn to 500 characters."""
    assert sample.longest(Corpus.from_documents(["abc" * 9], ABC, "text")) == 500


class Says(Bigram):
    """Its sampler returns what the test says, on a clock of its own."""

    now = 0.0

    def __init__(self, documents: Any) -> None:
        super().__init__()
        self.documents = documents

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
        """Two seconds."""
        self.now += 2.0
        answer: list[Ints] = self.documents
        return answer

    def clock(self) -> float:
        """Seconds."""
        return self.now


def drawn_from(documents: Any, n: int, max_length: int = 4, prompt: Sequence[int] = ()) -> sample.Drawn:
    """What `draw` makes of a sampler's answer."""
    model = Says(documents)
    return sample.draw(model, n, ABC, max_length, seed=0, prompt=prompt, clock=model.clock)


def test_samples_that_stop_at_the_limit_are_counted() -> None:
    """A document of full length was truncated; shorter ones drew their end as well."""
    drawn = drawn_from([np.array([1, 2, 3, 1]), np.array([2]), np.zeros(0, np.int64), np.array([3] * 4)], 4)
    assert drawn.texts == ["abca", "b", "", "cccc"]
    assert drawn.truncated == 2
    assert drawn.characters == 4 + 2 + 1 + 4
    assert drawn.seconds == 2.0
    assert drawn.chars_per_s == 11 / 2


def test_a_prompt_is_not_counted_as_drawn() -> None:
    """Only what follows the prompt was drawn."""
    drawn = drawn_from([np.array([1, 2, 3, 1]), np.array([1, 2])], 2, prompt=[1, 2])
    assert (drawn.characters, drawn.truncated) == (2 + 1, 1)


def test_the_default_sampler_truncates_at_the_limit() -> None:
    """A model that never ends a document is cut at the limit, and every sample is counted."""
    endless = Bigram([[0.0, 1.0, 0.0, 0.0]] * 4)
    drawn = sample.draw(endless, 6, ABC, 25, seed=0)
    assert drawn.texts == ["a" * 25] * 6
    assert (drawn.truncated, drawn.characters) == (6, 150)


def test_instant_sampling_has_a_rate_all_the_same() -> None:
    """A clock too coarse to see the sampler does not divide by zero."""
    drawn = sample.draw(Bigram(), 2, ABC, 3, seed=0, clock=lambda: 5.0)
    assert drawn.seconds == 0.0
    assert math.isfinite(drawn.chars_per_s)


# ---- what is no document


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([np.array([1])], "1 documents, not 2"),
        ([np.array([1])] * 3, "3 documents, not 2"),
        ([np.array([1]), np.array([[1, 2]])], "shape"),
        ([np.array([1]), np.array(1)], "shape"),
        ([np.array([1]), np.array([1, 2, 3, 1, 2])], "shape"),
        ([np.array([1]), np.array([1, 0])], "no character"),
        ([np.array([1]), np.array([0, 1])], "no character"),
        ([np.array([1]), np.array([1, 4])], "no character"),
        ([np.array([1]), np.array([-1, 2])], "no character"),
        ([np.array([1]), np.array([1.5, 2.0])], "sample returned"),
        ([np.array([1]), np.array([np.nan, 2.0])], "sample returned"),
    ],
    ids=["few", "many", "matrix", "scalar", "long", "end", "start", "beyond", "negative", "fraction", "nan"],
)
def test_what_is_no_document_is_refused(answer: Any, message: str) -> None:
    """Too few or many, too long, boundaries inside, tokens outside the alphabet or between integers."""
    with pytest.raises(InvalidModel, match=message):
        drawn_from(answer, 2)


def test_a_sample_without_its_prompt_is_refused() -> None:
    """A sample starts with the prompt that was given, whole."""
    with pytest.raises(InvalidModel):
        drawn_from([np.array([3, 3, 1])], 1, prompt=[1, 2])


def test_empty_documents_are_documents() -> None:
    """A boundary at once is a sample, as an array of any type or an empty list."""
    assert drawn_from([np.zeros(0), [], np.zeros(0, np.uint8)], 3).texts == ["", "", ""]
