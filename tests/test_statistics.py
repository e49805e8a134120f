"""Intervals, paired tests, ranks: against formulas in plain Python, scipy.stats, and simulation."""

from __future__ import annotations

import math
import tracemalloc
from itertools import combinations, product
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from harness import statistics
from harness.statistics import holm, paired, ranks, sign_flip, standard_error

Float64s = NDArray[np.float64]


def documents(rng: np.random.Generator, g: int) -> tuple[Float64s, NDArray[np.int64]]:
    """Sums (G,) and lengths (G,) of documents whose characters have a mean of their own."""
    lengths = 2 + rng.poisson(5, g)
    means = 2.2 + 0.4 * rng.standard_normal(g) + 0.05 * (lengths - 7)
    return means * lengths, lengths


def distinct(n: int) -> NDArray[np.int64]:
    """Every document its own unit."""
    return np.arange(n)


# ---- the standard error


def test_standard_error_is_the_ratio_estimators() -> None:
    """Se² = G/(G−1) Σ(S − m L)² / (ΣL)², computed one unit after the other."""
    sums, lengths = documents(np.random.default_rng(0), 50)
    total = math.fsum(float(n) for n in lengths)
    m = math.fsum(float(s) for s in sums) / total
    squares = math.fsum((float(s) - m * float(n)) ** 2 for s, n in zip(sums, lengths, strict=True))
    expected = math.sqrt(50 / 49 * squares / total**2)
    assert standard_error(sums, lengths.astype(float)) == pytest.approx(expected, rel=1e-12)


def test_units_of_one_length_have_the_standard_error_of_a_mean() -> None:
    """Where all lengths are equal the ratio estimator is the mean's: scipy.stats.sem."""
    sums = np.random.default_rng(1).gamma(3.0, 2.0, 40)
    assert standard_error(sums, np.full(40, 6.0)) == pytest.approx(stats.sem(sums / 6), rel=1e-12)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Of 4,000 simulated test parts of 150 documents about 95 % have the true NLL in their interval."""
    rng = np.random.default_rng(7)
    # E S / E L with L = 2 + Poisson(5): E L = 7, E L² = 54, E S = 1.85 E L + 0.05 E L²
    truth = (1.85 * 7 + 0.05 * 54) / 7
    inside = 0
    for _ in range(4000):
        sums, lengths = documents(rng, 150)
        half = statistics.half_interval(standard_error(sums, lengths.astype(float)), 150)
        assert half is not None
        inside += abs(sums.sum() / lengths.sum() - truth) <= half
    assert 0.94 < inside / 4000 < 0.96


@pytest.mark.parametrize(("units", "enough"), [(19, False), (20, True)])
def test_too_few_units_have_no_standard_error(units: int, enough: bool) -> None:
    """Below 20 units there is no standard error and no interval, and 20 are enough."""
    sums, lengths = documents(np.random.default_rng(2), units)
    se = standard_error(sums, lengths.astype(float))
    assert (se is not None) is enough
    assert (statistics.half_interval(se, units) is not None) is enough


def test_an_infinite_sum_has_no_standard_error() -> None:
    """A document with p = 0 leaves nothing to estimate."""
    sums, lengths = documents(np.random.default_rng(2), 30)
    sums[4] = np.inf
    assert standard_error(sums, lengths.astype(float)) is None


# ---- equal documents are one unit


def test_equal_documents_form_one_unit() -> None:
    """Sums and lengths are added up over the documents of one unit, wherever these stand."""
    sums, lengths = np.array([1.0, 2.0, 4.0, 8.0, 16.0]), np.array([1, 2, 3, 4, 5])
    grouped, weights = statistics.clusters(sums, lengths, np.array([9, 3, 9, 5, 3]))
    assert sorted(zip(grouped.tolist(), weights.tolist(), strict=True)) == [
        (5.0, 4.0),
        (8.0, 4.0),
        (18.0, 7.0),
    ]


def test_repeated_documents_make_no_interval_narrower() -> None:
    """A test part given four times over is no more certain than given once."""
    rng = np.random.default_rng(3)
    a, lengths = documents(rng, 60)
    b = a + 0.1 * rng.standard_normal(60)
    once = paired(a, b, lengths, distinct(60))
    four = paired(np.tile(a, 4), np.tile(b, 4), np.tile(lengths, 4), np.tile(distinct(60), 4))
    assert four.units == once.units == 60
    assert four.nats == pytest.approx(once.nats, rel=1e-12)
    assert four.se == pytest.approx(once.se, rel=1e-12)
    assert four.p == pytest.approx(once.p, rel=1e-9)
    blind_to_it = paired(np.tile(a, 4), np.tile(b, 4), np.tile(lengths, 4))
    assert blind_to_it.se is not None
    assert once.se is not None
    assert blind_to_it.se < 0.6 * once.se


def test_few_distinct_documents_have_no_interval() -> None:
    """A hundred documents of nineteen kinds are nineteen units."""
    a, lengths = documents(np.random.default_rng(4), 100)
    difference = paired(a, a * 1.01, lengths, np.arange(100) % 19)
    assert difference.units == 19
    assert (difference.se, difference.half, difference.p, difference.detectable) == (None,) * 4


# ---- Student's t


@pytest.mark.parametrize("degrees", [1, 2, 19, 100, 1000, 10**6])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_student_is_scipys_quantile(level: float, degrees: int) -> None:
    """The two-sided quantile is that of scipy.stats.t."""
    assert statistics.student(level, degrees) == pytest.approx(
        stats.t.ppf(0.5 + level / 2, degrees), rel=1e-9
    )


def test_half_interval_has_one_degree_less_than_units() -> None:
    """Half the interval over 25 units is the quantile at 24 degrees times the standard error."""
    assert statistics.half_interval(0.1, 25) == pytest.approx(0.1 * 2.0639, rel=1e-4)  # from a printed table


# ---- paired differences


def test_paired_is_the_paired_t_test_where_lengths_are_equal() -> None:
    """Difference, interval and p are those of scipy.stats.ttest_rel on documents of one length."""
    rng = np.random.default_rng(5)
    a = rng.gamma(4.0, 3.0, 45)
    b = a + rng.normal(0.3, 1.0, 45)
    ours = paired(a, b, np.full(45, 8))
    theirs = stats.ttest_rel(a / 8, b / 8)
    low, high = theirs.confidence_interval(0.95)
    assert ours.nats == pytest.approx((a - b).mean() / 8, rel=1e-12)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert ours.half == pytest.approx((high - low) / 2, rel=1e-9)
    assert ours.units == 45


def test_a_difference_is_per_character_and_signed() -> None:
    """A − B over all documents by all targets, and B − A is its opposite."""
    rng = np.random.default_rng(6)
    a, lengths = documents(rng, 30)
    b = a - 0.25 * lengths + rng.normal(0, 0.1, 30)
    forth, back = paired(a, b, lengths), paired(b, a, lengths)
    assert forth.nats == pytest.approx((a.sum() - b.sum()) / lengths.sum(), rel=1e-12)
    assert forth.nats == pytest.approx(0.25, abs=0.02)
    assert back.nats == -forth.nats
    assert (back.se, back.p) == (forth.se, forth.p)


def test_pairing_sees_what_two_intervals_cannot() -> None:
    """What all documents have in common drops out of a paired difference."""
    rng = np.random.default_rng(8)
    a, lengths = documents(rng, 200)
    b = a + 0.01 * lengths + rng.normal(0, 0.05, 200)
    apart = standard_error(a, lengths.astype(float))
    together = paired(b, a, lengths)
    assert together.se is not None
    assert apart is not None
    assert together.se < apart / 20
    assert together.p is not None
    assert together.p < 1e-6


def test_a_model_does_not_differ_from_itself() -> None:
    """Equal scores: no difference, p = 1."""
    a, lengths = documents(np.random.default_rng(9), 40)
    same = paired(a, a, lengths)
    assert (same.nats, same.se, same.p) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(("moves", "tie"), [(0.9e-12, True), (1.1e-12, False)])
def test_rounding_decides_nothing(moves: float, tie: bool) -> None:
    """Scores up to 1e-12 nats a character apart on every document are equal; beyond, they are not."""
    lengths = np.full(40, 8)
    sums = 0.25 * np.arange(40.0)
    other = sums + moves * 8 * np.linspace(0.99, 1.0, 40)
    found = paired(other, sums, lengths)
    assert (found.nats == 0, found.p == 1) == (tie, tie)
    assert ranks([sums, other], lengths) == ([1, 1] if tie else [1, 2])


def test_a_difference_without_any_spread_is_certain() -> None:
    """The same distance on every character has p = 0."""
    lengths = np.full(32, 4)
    assert paired(np.full(32, 9.0), np.full(32, 8.0), lengths).p == 0.0


def test_infinite_scores_cannot_be_paired() -> None:
    """A document with p = 0 under a model, or under both, has no finite difference."""
    a, lengths = documents(np.random.default_rng(10), 40)
    worse = a.copy()
    worse[3] = np.inf
    for left, right in ((worse, a), (a, worse), (worse, worse)):
        with pytest.raises(ValueError, match="finite"):
            paired(left, right, lengths)


@pytest.mark.parametrize("units", [20, 31, 500])
@pytest.mark.parametrize("nats", [-0.4, 0.0, 0.03, 2.0])
def test_p_value_is_two_sided_students(nats: float, units: int) -> None:
    """P is twice scipy's upper tail at |nats| / se with one degree less than units."""
    expected = 2 * stats.t.sf(abs(nats) / 0.2, units - 1)
    assert statistics.p_value(nats, 0.2, units) == pytest.approx(expected, rel=1e-9)


def test_without_a_standard_error_there_is_no_p() -> None:
    """Absent in, absent out."""
    assert statistics.p_value(0.5, None, 10) is None


# ---- what a test part can detect


@pytest.mark.parametrize("units", [25, 400])
def test_detectable_is_found_four_times_in_five(units: int) -> None:
    """A true difference of that size is significant in 80 % of simulated repetitions."""
    rng = np.random.default_rng(11)
    lengths = np.full(units, 5)
    size = statistics.detectable(1 / 5 / math.sqrt(units), units)  # the true se of a mean of noise / 5
    found = 0
    for _ in range(3000):
        p = paired(5 * size + rng.standard_normal(units), np.zeros(units), lengths).p
        found += p is not None and p < 0.05
    assert found / 3000 == pytest.approx(0.8, abs=0.025)


def test_detectable_is_the_sum_of_two_quantiles() -> None:
    """(t.975 + z.80) se, the second quantile from the standard library."""
    expected = (stats.t.ppf(0.975, 199) + NormalDist().inv_cdf(0.8)) * 0.013
    assert statistics.detectable(0.013, 200) == pytest.approx(expected, rel=1e-9)
    a, lengths = documents(np.random.default_rng(12), 200)
    difference = paired(a, a + np.random.default_rng(13).standard_normal(200), lengths)
    assert difference.se is not None
    assert difference.detectable == pytest.approx(statistics.detectable(difference.se, 200))


# ---- random signs


@pytest.mark.parametrize("shift", [0.0, 0.4, 0.9])
def test_sign_flip_is_the_exact_test_of_ten_units(shift: float) -> None:
    """The share of random flips is close to that of all 1,024 flips, counted."""
    differences = np.random.default_rng(14).standard_normal(10) + shift
    observed = abs(math.fsum(differences.tolist()))
    flips = [
        abs(math.fsum(s * d for s, d in zip(signs, differences.tolist(), strict=True)))
        for signs in product((-1, 1), repeat=10)
    ]
    exact = sum(flip >= observed - 1e-12 for flip in flips) / 1024
    error = math.sqrt(exact * (1 - exact) / 9_999)
    assert sign_flip(differences, np.random.default_rng(0)) == pytest.approx(exact, abs=4 * error + 1e-4)


def test_sign_flip_agrees_with_students_t_on_many_units() -> None:
    """On 300 units of one length the two tests give nearly one p."""
    differences = np.random.default_rng(15).standard_normal(300) + 0.12
    p = paired(differences, np.zeros(300), np.full(300, 5)).p
    assert sign_flip(differences, np.random.default_rng(0)) == pytest.approx(p, abs=0.012)


def test_sign_flip_counts_the_observed_signs_too() -> None:
    """The smallest p of n draws is 1 / (n + 1), never 0, and equal models have p = 1."""
    certain = np.ones(60)
    assert sign_flip(certain, np.random.default_rng(0), draws=999) == 1 / 1000
    assert sign_flip(certain, np.random.default_rng(0), draws=1) == 1 / 2
    assert sign_flip(np.zeros(60), np.random.default_rng(0), draws=999) == 1.0


def test_sign_flip_depends_on_its_generator_alone() -> None:
    """The same generator gives the same p, whatever its state elsewhere."""
    differences = np.random.default_rng(16).standard_normal(30)
    first = sign_flip(differences, np.random.default_rng(1))
    np.random.seed(0)
    assert sign_flip(differences, np.random.default_rng(1)) == first
    assert sign_flip(differences, np.random.default_rng(2)) != first


def test_several_pairs_are_flipped_by_the_same_signs() -> None:
    """A row of a table has the p that it has alone with the same generator."""
    rng = np.random.default_rng(21)
    differences = rng.standard_normal((5, 40)) + np.linspace(0, 0.6, 5)[:, None]
    together = statistics.sign_flips(differences, np.random.default_rng(3), draws=999)
    alone = [sign_flip(row, np.random.default_rng(3), draws=999) for row in differences]
    assert together.tolist() == alone


def test_sign_flips_are_drawn_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Piece by piece the number of draws stays as it was asked, the last piece included."""
    monkeypatch.setattr(statistics, "SIGNS_AT_ONCE", 7 * 60)
    assert sign_flip(np.ones(60), np.random.default_rng(0), draws=99) == 1 / 100
    assert sign_flip(np.zeros(60), np.random.default_rng(0), draws=99) == 1.0


def test_sign_flips_of_many_units_need_little_memory() -> None:
    """399 flips of 100,000 units would be 319 MB of signs; no more than 100 MB are held at once."""
    tracemalloc.start()
    try:
        sign_flip(np.ones(100_000), np.random.default_rng(0), draws=399)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_ties_are_extreme_whatever_the_rounding() -> None:
    """Differences of ±0.1 tie often, and 0.1 is no binary fraction: the share is that of whole numbers."""
    whole = np.array([1.0] * 14 + [-1.0] * 6)
    expected = sign_flip(whole, np.random.default_rng(5))
    assert sign_flip(0.1 * whole, np.random.default_rng(5)) == expected
    exact = 2 * stats.binom.sf(13, 20, 0.5)
    assert expected == pytest.approx(exact, abs=4 * math.sqrt(exact / 9_999))


# ---- many comparisons


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_benjamini_hochberg_is_scipys(p_values: list[float]) -> None:
    """Adjusted as scipy.stats.false_discovery_control does."""
    assert statistics.benjamini_hochberg(p_values) == pytest.approx(stats.false_discovery_control(p_values))


def test_benjamini_hochberg_of_none_and_one() -> None:
    """No test stays none and one test stays as it is."""
    assert statistics.benjamini_hochberg([]) == []
    assert statistics.benjamini_hochberg([0.03]) == [0.03]


def test_holm_by_hand() -> None:
    """Sorted .005 .01 .03 .04 times 4 3 2 1 is .02 .03 .06 .04, made monotone .02 .03 .06 .06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_of_none_and_one() -> None:
    """No test stays none and one test stays as it is."""
    assert holm([]) == []
    assert holm([0.03]) == [0.03]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_bonferroni_closed(p_values: list[float]) -> None:
    """A claim survives if Bonferroni rejects every set of claims that it belongs to (closed testing)."""
    m = len(p_values)
    expected = [
        max(
            min(1.0, size * min(p_values[i] for i in chosen))
            for size in range(1, m + 1)
            for chosen in combinations(range(m), size)
            if claim in chosen
        )
        for claim in range(m)
    ]
    assert holm(p_values) == pytest.approx(expected)


# ---- ranks


def table(*behind: float, g: int = 200, noise: float = 0.2) -> tuple[list[Float64s], NDArray[np.int64]]:
    """Models that are so many nats per character behind the first, with noise of their own."""
    rng = np.random.default_rng(17)
    base, lengths = documents(rng, g)
    return [base + nats * lengths + noise * rng.standard_normal(g) for nats in behind], lengths


def test_models_that_can_be_told_apart_have_ranks_of_their_own() -> None:
    """Three models far from each other rank 1, 2, 3."""
    scores, lengths = table(0.0, 0.2, 0.4)
    assert ranks(scores, lengths) == [1, 2, 3]


def test_models_that_cannot_be_told_apart_share_a_rank() -> None:
    """A tie takes the places it fills: two first, then a third."""
    scores, lengths = table(0.0, 0.0, 0.5)
    scores[:2] = sorted(scores[:2], key=np.sum)
    assert ranks(scores, lengths) == [1, 1, 3]


def test_three_groups() -> None:
    """Two first, three third, one sixth."""
    scores, lengths = table(0.0, 0.0, 0.3, 0.3, 0.3, 0.7)
    scores.sort(key=np.sum)
    assert ranks(scores, lengths) == [1, 1, 3, 3, 3, 6]


def test_a_group_is_led_by_its_own_best() -> None:
    """What is surely worse than the best leads the next group, and is what that group is compared with.

    Steps of 0.005, standard errors of about 0.003: two steps are told apart, one is not.
    """
    base, lengths = documents(np.random.default_rng(17), 400)
    rng = np.random.default_rng(18)
    scores = [base + i * 0.005 * lengths + 0.3 * centred(rng.standard_normal(400), lengths) for i in range(4)]
    p = [[paired(scores[i], scores[j], lengths).p or 0.0 for j in range(4)] for i in range(4)]
    assert p[1][0] > 0.05  # so the first two share a rank,
    assert 2 * p[2][0] < 0.05  # the third is surely behind the first,
    assert p[3][2] > 0.05  # and the fourth is not surely behind the third
    assert ranks(scores, lengths) == [1, 1, 3, 3]


def test_no_model_stands_above_its_group() -> None:
    """A worse model whose scores are too noisy to tell does not overtake one that is surely worse."""
    base, lengths = documents(np.random.default_rng(20), 400)
    noise = centred(np.random.default_rng(21).standard_normal(400), lengths)
    close, noisy = base + 0.01 * lengths + 0.1 * noise, base + 0.012 * lengths + 8 * noise
    assert (paired(close, base, lengths).p or 0.0) < 0.01
    assert (paired(noisy, base, lengths).p or 0.0) > 0.5
    assert ranks([base, close, noisy], lengths) == [1, 2, 2]


def centred(noise: Float64s, lengths: NDArray[np.int64]) -> Float64s:
    """Noise that adds nothing to a mean per character."""
    return noise - noise.sum() / lengths.sum() * lengths


def test_ranks_pay_for_the_number_of_comparisons() -> None:
    """A p of 0.03 separates two models, but not one of twenty-one: Holm."""
    g = 400
    rng = np.random.default_rng(19)
    lengths = np.full(g, 5)
    base = 10 + rng.standard_normal(g)
    spread = centred(rng.standard_normal(g), lengths)
    se = standard_error(spread, lengths.astype(float)) or 0.0
    rival = base + spread + 5 * stats.t.ppf(1 - 0.03 / 2, g - 1) * se
    assert paired(rival, base, lengths).p == pytest.approx(0.03, rel=1e-6)
    assert ranks([base, rival], lengths) == [1, 2]
    assert ranks([base, *[rival] * 20], lengths) == [1] * 21


def test_too_few_units_share_the_first_rank() -> None:
    """Below 20 units nothing is told apart, however far the models are from each other."""
    scores, lengths = table(0.0, 1.0, 5.0, g=19)
    assert ranks(scores, lengths) == [1, 1, 1]


def test_ranks_look_at_units_not_documents() -> None:
    """Ten documents thirty times over are ten units, so nothing is told apart."""
    scores, lengths = table(0.0, 0.3, g=300)
    assert ranks(scores, lengths, distinct(300)) == [1, 2]
    assert ranks(scores, lengths, distinct(300) % 10) == [1, 1]


def test_ranks_of_none_and_one() -> None:
    """No model has no rank, a lone one is first."""
    scores, lengths = table(0.0)
    assert ranks([], lengths) == []
    assert ranks(scores, lengths) == [1]
