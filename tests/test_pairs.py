"""Models two at a time: tests over a table of pairs, verdicts with their scope, where they differ most."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness import pairs, statistics
from harness.errors import UsageError
from harness.pairs import Pair, Scored

G = 60
LENGTHS = 3 + np.arange(G) % 5
SPREAD = 0.2 * np.random.default_rng(1).standard_normal((9, G))  # of models, document by document


def scored(name: str, behind: float = 0.0, *, seeds: int = 1, moves: float = 0.0, **changes: Any) -> Scored:
    """A model with so many nats per character behind 2.0; its seeds lie `moves` apart."""
    noise = SPREAD[sum(map(ord, name)) % len(SPREAD)]
    noise = noise - (noise * LENGTHS).sum() / LENGTHS.sum()  # adds nothing to the NLL
    rows = [LENGTHS * (2.0 + behind + noise + moves * (r - (seeds - 1) / 2)) for r in range(seeds)]
    fields: dict[str, Any] = {
        "source": "run 1",
        "rests_on": "scored live",
        "sums": np.stack(rows),
        "lengths": LENGTHS,
        "units": np.arange(G),
    }
    return Scored(name=name, **(fields | changes))


def compared(a: Scored, b: Scored) -> Pair:
    """The only pair of a table."""
    (pair,) = pairs.compare([(a, b)])
    return pair


def infinite(name: str, **changes: Any) -> Scored:
    """A model with p = 0 in its third document."""
    one = scored(name, **changes)
    sums = one.sums.copy()
    sums[0, 2] = np.inf
    return replace(one, sums=sums)


# ---- one pair


def test_the_difference_is_that_of_the_paired_formula() -> None:
    """A − B with its interval, as `statistics.paired` has it; p by sign flips of the documents."""
    a, b = scored("a"), scored("b", 0.03)
    pair = compared(a, b)
    expected = statistics.paired(a.sums, b.sums, LENGTHS, np.arange(G))
    assert pair.difference == expected
    assert expected.nats == pytest.approx(-0.03)
    flips = statistics.sign_flip((a.sums - b.sums)[0], np.random.default_rng(pairs.SEED))
    assert (pair.p, pair.p_flip) == (flips, flips)


def test_equal_documents_are_flipped_together() -> None:
    """Sixty documents of four kinds are four units, and no sign flip is then extreme at the 5 % level."""
    a, b = (scored(name, behind, units=np.arange(G) % 24) for name, behind in (("a", 0.0), ("b", 1.0)))
    by_kind = [(a.sums - b.sums)[0][np.arange(G) % 24 == kind].sum() for kind in range(24)]
    expected = statistics.sign_flip(np.array(by_kind), np.random.default_rng(pairs.SEED))
    assert compared(a, b).p == expected


@pytest.mark.parametrize(
    ("behind", "verdict", "better"),
    [(0.3, "A better", "a"), (-0.3, "B better", "b"), (1e-4, "not told apart", None)],
)
def test_the_verdict_names_the_better_one(behind: float, verdict: str, better: str | None) -> None:
    """Lower is better, and what is not significant is told of neither."""
    pair = compared(scored("a"), scored("b", behind))
    assert pair.verdict == verdict
    assert (pair.better.name if pair.better else None) == better


def test_equal_scores_are_called_equal() -> None:
    """The same bits are no near miss."""
    one = scored("a")
    pair = compared(one, replace(one, name="b"))
    assert (pair.verdict, pair.better, pair.p) == ("equal scores", None, 1.0)


def test_scores_that_differ_by_rounding_are_called_equal() -> None:
    """Two implementations of one model: no p and no verdict follows from the order of their sums."""
    a = scored("a")
    pair = compared(a, replace(a, name="b", sums=a.sums * (1 + 4e-16)))
    assert (pair.verdict, pair.p, pair.better) == ("equal scores", 1.0, None)


def test_p_of_zero_is_worse_than_any_number() -> None:
    """A model with p = 0 loses to any finite one, without a difference; two of them have no verdict."""
    won, lost, both = (
        compared(a, b)
        for a, b in (
            (scored("a", 5.0), infinite("b")),
            (infinite("a"), scored("b", 5.0)),
            (infinite("a"), infinite("b")),
        )
    )
    assert (won.verdict, lost.verdict, both.verdict) == (
        "A better: B is inf",
        "B better: A is inf",
        "none: both inf",
    )
    assert won.better is won.a
    assert lost.better is lost.b
    assert both.better is None
    assert (won.difference, won.p, won.p_holm, won.new_best_from) == (None,) * 4


def test_few_units_have_no_verdict() -> None:
    """Below twenty units nothing is claimed, however far the models are apart."""
    pair = compared(*(scored(n, b, units=np.arange(G) % 19) for n, b in (("a", 0.0), ("b", 3.0))))
    assert (pair.verdict, pair.better, pair.p) == ("none: below 20 units", None, None)
    assert pair.difference is not None
    assert pair.difference.half is None


def test_in_sample_scores_have_no_verdict() -> None:
    """Where train is test a difference says nothing of other documents, and is no test of the table."""
    far = compared(scored("a", in_sample=True), scored("b", 1.0, in_sample=True))
    assert (far.verdict, far.better, far.p_holm) == ("none: in-sample", None, None)
    assert far.difference is not None


def test_seen_and_unseen_documents_are_paired_apart() -> None:
    """Each kind alone, by the same formula; documents of one kind are not compared twice."""
    seen = np.arange(G) % 2 == 0
    a, b = scored("a", seen=seen), scored("b", 0.1, seen=seen)
    pair = compared(a, b)
    for found, some in ((pair.seen, seen), (pair.unseen, ~seen)):
        assert found == statistics.paired(a.sums[:, some], b.sums[:, some], LENGTHS[some], np.arange(G)[some])
    alike = compared(replace(a, seen=np.ones(G, bool)), replace(b, seen=np.ones(G, bool)))
    assert (alike.seen, alike.unseen) == (None, None)


def test_a_file_takes_over_which_documents_were_seen() -> None:
    """Where one of two knows it, whichever stands first, the documents being the same."""
    seen = np.arange(G) % 2 == 0
    for a, b in ((scored("a", seen=seen), scored("b")), (scored("a"), scored("b", seen=seen))):
        assert compared(a, b).unseen is not None


# ---- seeds


@pytest.mark.parametrize(
    ("a", "b", "scope"),
    [
        ({}, {}, "checkpoint"),
        ({"seeds": 3}, {"seeds": 3}, "3 checkpoints"),
        ({"seeds": 3}, {}, "3 and 1 checkpoints"),
        ({"seeds": 5}, {"seeds": 4}, "5 and 4 checkpoints"),
        ({"seeds": 5}, {"seeds": 6}, "method"),
        ({"seeds": 5}, {"steady": True}, "method"),
        ({"steady": True}, {"steady": True}, "method"),
        ({"seeds": 3}, {"steady": True}, "3 checkpoints"),
        ({}, {"steady": True}, "checkpoint"),
    ],
)
def test_the_scope_follows_from_the_seeds(a: dict[str, Any], b: dict[str, Any], scope: str) -> None:
    """Five seeds of each speak of the method; a model that draws nothing needs one."""
    pair = compared(scored("a", moves=0.01, **a), scored("b", moves=0.01, **b))
    assert pair.scope == scope
    assert pair.method is (scope == "method")


def test_documents_and_seeds_are_kept_apart() -> None:
    """se docs is that of the means over seeds; se seeds is √(s²A / R + s²B / R) of the seeds' NLLs."""
    a, b = scored("a", seeds=3, moves=0.02), scored("b", seeds=4, moves=0.05)
    found = compared(a, b).difference
    assert found is not None
    mean = statistics.paired(a.sums.mean(axis=0), b.sums.mean(axis=0), LENGTHS)
    assert found.se_docs == pytest.approx(mean.se)
    assert found.se == found.se_docs  # below five seeds a verdict is about these checkpoints
    spread = [np.array([row.sum() / LENGTHS.sum() for row in one.sums]).var(ddof=1) for one in (a, b)]
    assert found.se_seeds == pytest.approx(math.sqrt(spread[0] / 3 + spread[1] / 4))


def test_one_seed_says_nothing_of_seeds() -> None:
    """No figure stands where there is no second seed; a model that draws nothing adds none."""
    alone, none = (
        compared(scored("a"), scored("b")),
        compared(scored("a", steady=True), scored("b", steady=True)),
    )
    assert alone.difference is not None
    assert alone.difference.se_seeds is None
    assert none.difference is not None
    assert none.difference.se_seeds == 0


def test_the_p_of_a_method_knows_its_seeds() -> None:
    """Sign flips of documents know nothing of seeds: five seeds that scatter widely are Student's t's."""
    a, b = scored("a", seeds=5, moves=0.2), scored("b", 0.15, seeds=5, moves=0.2)
    pair = compared(a, b)
    found = pair.difference
    assert found is not None
    assert found.se is not None
    assert pair.p_flip is not None
    assert pair.p_flip <= 0.05 < (pair.p or 0.0)
    assert pair.p == pytest.approx(2 * stats.t.sf(abs(found.nats) / found.se, 4))
    assert pair.verdict == "not told apart"
    few = compared(scored("a", seeds=4, moves=0.2), scored("b", 0.15, seeds=4, moves=0.2))
    assert few.p == few.p_flip


# ---- a table of pairs


def test_holm_is_over_the_pairs_of_the_table() -> None:
    """Adjusted p-values are Holm's of all pairs that have one, and decide the verdicts."""
    models = [scored(name, behind) for name, behind in (("a", 0.0), ("b", 0.09), ("c", 0.045), ("d", 0.4))]
    table = pairs.compare([*combinations(models, 2), (models[0], infinite("e"))])
    p = [pair.p for pair in table[:-1]]
    assert [pair.p_holm for pair in table[:-1]] == statistics.holm([one for one in p if one is not None])
    assert table[-1].p_holm is None
    alone = [compared(pair.a, pair.b).better for pair in table[:-1]]
    assert sum(pair.better is not None for pair in table[:-1]) < sum(better is not None for better in alone)


@pytest.mark.parametrize(("tests", "draws"), [(1, 9_999), (100, 9_999), (190, 18_999)])
def test_a_large_table_can_reject(tests: int, draws: int) -> None:
    """The smallest p that so many flips can have, times the number of tests, is at most 0.01."""
    assert pairs.draws_for(tests) == draws
    assert tests / (draws + 1) <= 0.01


def test_a_new_best_counts_from_three_standard_errors() -> None:
    """3.3 · se of the paired difference (HONESTY)."""
    pair = compared(scored("a"), scored("b", 0.1))
    assert pair.difference is not None
    assert pair.new_best_from == pytest.approx(3.3 * (pair.difference.se or 0.0))


def test_models_are_ranked_with_ties() -> None:
    """By NLL, those not told apart sharing a rank, p = 0 behind all."""
    models = [scored("a", 0.5), infinite("e"), scored("b"), scored("c", 1e-5)]
    assert [(rank, one.name) for rank, one in pairs.in_order(models)] == [
        (1, "b"),
        (1, "c"),
        (3, "a"),
        (4, "e"),
    ]


def test_in_sample_models_have_no_ranks() -> None:
    """They stand in their order all the same."""
    models = [scored("a", 0.5, in_sample=True), scored("b", in_sample=True)]
    assert [(rank, one.name) for rank, one in pairs.in_order(models)] == [(None, "b"), (None, "a")]


# ---- what cannot be compared


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"facts": {"split fingerprint": "def"}}, "split fingerprint: abc and def"),
        ({"lengths": LENGTHS[:-1], "units": np.arange(G - 1)}, "documents: 60 and 59"),
        ({"lengths": np.append(LENGTHS[:-1], 9)}, "targets of document 60: 7 and 9"),
        ({"documents": ["x"] * 4 + ["\x1b"] + ["x"] * 55}, r"document 5: 'x' and '\x1b'"),
    ],
)
def test_what_differs_is_named_with_both_values(changes: dict[str, Any], said: str) -> None:
    """The first field that differs, and what each side has."""
    a = scored("a", facts={"split fingerprint": "abc"}, documents=["x"] * G)
    with pytest.raises(UsageError) as caught:
        pairs.refuse_unlike([a, replace(a, name="b"), scored("c", **changes)])
    assert str(caught.value) == f"a (run 1) and c (run 1) cannot be compared: {said}"


def test_what_only_one_side_knows_does_not_part_them() -> None:
    """An old record without its alphabet, a file without a fingerprint."""
    pairs.refuse_unlike([scored("a", facts={"alphabet": "abc"}, documents=["x"] * G), scored("b")])


# ---- where they differ most


def test_the_documents_that_differ_most_stand_first() -> None:
    """By |A − B| whatever its sign, equal documents once with their number, ties in their order."""
    a, b = np.arange(6.0), np.arange(6.0)
    a[[1, 4]] += 2.0
    a[3] -= 3.0
    base: dict[str, Any] = {"source": "", "rests_on": "", "lengths": np.arange(6) + 1}
    units = np.array([0, 1, 2, 3, 1, 4])
    pair = Pair(
        Scored("a", sums=a[None], units=units, **base), Scored("b", sums=b[None], units=units, **base), None
    )
    rows = pairs.most_apart(pair, 3)
    assert [(row.index, row.times, row.targets, row.nats) for row in rows] == [
        (3, 1, 4, -3.0),
        (1, 2, 2, 2.0),
        (0, 1, 1, 0.0),
    ]
    assert [row.index for row in pairs.most_apart(pair, 1, lambda index: index != 3)] == [1]


def test_documents_are_means_over_seeds() -> None:
    """Each side's nats are the mean over its own seeds; infinite where one seed is, equal where both are."""
    a, b = scored("a", seeds=3, moves=0.1), scored("b", seeds=2, moves=0.3)
    (row,) = pairs.most_apart(compared(a, b), 1)
    assert row.a == pytest.approx(np.mean([sums[row.index] for sums in a.sums]))
    assert row.b == pytest.approx(np.mean([sums[row.index] for sums in b.sums]))
    first, *_ = pairs.most_apart(compared(infinite("a"), scored("b")), 2)
    assert (first.index, first.nats) == (2, math.inf)
    both = pairs.most_apart(compared(infinite("a"), infinite("b")), G)
    assert next(each.nats for each in both if each.index == 2) == 0
