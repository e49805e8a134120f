"""The simulations of docs/gate.md in their short form, and the mutants whose NLL is worse."""

from __future__ import annotations

import importlib.util
import itertools
import math
import re
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness import gate as rule
from harness.statistics import paired

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "simulations"
DOCS = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")


@cache
def script(name: str) -> Any:
    """A script of that folder as a module."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec
    assert spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


PARTS = ("published_rules", "gate_shares", "gate_speed", "gate_quality", "gate")


@cache
def simulation() -> Any:
    """Everything that its parts hold; they import each other, so they are loaded in this order."""
    return SimpleNamespace(**{name: thing for part in PARTS for name, thing in vars(script(part)).items()})


@cache
def real() -> Any:
    """Names under fitted models."""
    return simulation().population()


# ---- the simulation


def test_the_bounds_hold_as_far_as_a_short_form_can_tell() -> None:
    """No bound is missed by what Clopper and Pearson's interval excludes; each is in the tables."""
    sim = simulation()
    found = (
        list(sim.speed(sim.SHORT)),
        list(sim.quality(sim.SHORT, real())),
        sim.unknowable(sim.SHORT, real()),
    )
    checked = 0
    for where, share in sim.shares(*found):
        low, high = share.interval
        assert share.high is None or low <= share.high, (where, share)
        assert share.low is None or high >= share.low, (where, share)
        checked += share.high is not None or share.low is not None
    assert checked == len(sim.KINDS) + 1 + 6 + 3 + 5
    text = "\n".join(sim.formats.plain(columns, 120) for columns in sim.tables(*found))
    assert all(kind in text for kind in sim.KINDS)


def test_a_rule_that_cries_wolf_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one-sided 90 % bounds a busy machine raises alarms far beyond 1 %."""
    sim = simulation()
    monkeypatch.setattr(rule, "LOOKS", {10: 0.9, 20: 0.9})
    monkeypatch.setattr(script("gate_speed"), "KINDS", {"busy, 15 %": sim.busy})
    (noise,) = sim.speed(sim.Form(20, 1, 0, 0))
    assert noise.alarms["gate"].interval[0] > 0.01
    assert not noise.alarms["gate"].kept


def test_differences_are_drawn_as_the_product_finds_them() -> None:
    """The shortcut of the simulation is `statistics.paired` on scores that differ so."""
    sim, rng = simulation(), np.random.default_rng(4)
    chosen = rng.integers(0, len(real().lengths), 300)
    lengths, differences = real().lengths[chosen], real().seeds[chosen]
    found = paired(differences, np.zeros(300), lengths.astype(int))
    assert sim.ratio(differences, lengths) == pytest.approx((found.nats, found.se_docs))


@pytest.mark.parametrize("nats", [0.01, 0.02])
def test_a_mixture_raises_the_nll_by_what_it_is_asked_to(nats: float) -> None:
    """ε of uniform, over the whole population; each name is worse or better by what its characters are."""
    added = simulation().mixture(real(), nats)
    assert added.sum() / real().lengths.sum() == pytest.approx(nats)
    assert added.min() < 0 < added.max()


def test_intervals_are_clopper_and_pearson_s() -> None:
    """As scipy has them."""
    for k, n in ((0, 50), (3, 50), (50, 50)):
        expected = stats.binomtest(k, n).proportion_ci(0.95, "exact")
        assert simulation().Share("", k, n).interval == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("kind", ["hosted", "independent"])
def test_noise_is_as_wide_as_it_says(kind: str) -> None:
    """The two of a pair differ by 2.66 %, or by √2 of it where processes scatter as machines do."""
    sim = simulation()
    x = sim.pairs(np.random.default_rng(1), getattr(sim, kind), 100)
    assert x.std() == pytest.approx(0.0266 * (1 if kind == "hosted" else math.sqrt(2)), rel=0.02)


def test_the_docs_hold_the_tables_of_the_full_form() -> None:
    """A row a noise and a scene, a column a rule, and no bound missed."""
    sim = simulation()
    for name in [*sim.KINDS, *(scene.what for scene in sim.SCENES)]:
        assert re.search(rf"^\| {re.escape(name)} +\|", DOCS, re.MULTILINE), name
    for name in script("published_rules").RULES:
        assert f" {name} |" in DOCS
    assert "All bounds are kept." in DOCS


# ---- the rules of others


def test_the_u_test_is_exact() -> None:
    """As scipy's, and as counting all orderings of few."""
    rules, rng = script("published_rules"), np.random.default_rng(2)
    a, b = rng.normal(0, 1, (6, 10)), rng.normal(0.8, 1, (6, 10))
    expected = stats.mannwhitneyu(a, b, axis=1, method="exact").pvalue
    assert rules.u_test(a, b) == pytest.approx(expected)
    counted = np.zeros(10, int)
    for places in itertools.combinations(range(6), 3):
        counted[sum(place - i for i, place in enumerate(places))] += 1
    assert rules.orderings(3, 3) == counted.tolist()


def test_the_t_tests_are_student_s() -> None:
    """pyperf's rule is scipy's two-sided test at 0.05, told only where head is slower."""
    rules, rng = script("published_rules"), np.random.default_rng(3)
    base, head = rng.normal(10, 1, (200, 10)), rng.normal(10.5, 1, (200, 10))
    found = stats.ttest_ind(head, base, axis=1)
    expected = (found.pvalue <= 0.05) & (found.statistic > 0)
    assert (rules.pyperf(base, head, base) == expected).all()
    assert (rules.criterion(base, head, base) <= expected).all()  # and beyond 1 % besides


def test_fixed_factor_and_fence() -> None:
    """5 % of the mean; 10 % of the median and different; beyond Q3 + 3 · IQR of the past."""
    rules = script("published_rules")
    base = np.linspace(0.99, 1.01, 10)
    history = np.linspace(-0.04, 0.04, 9)  # sizes: quartiles 0.01 and 0.03, the fence at 0.09
    answers = {
        share: [
            bool(function(base, base * (1 + share), history))
            for function in (rules.fixed, rules.asv, rules.rustc_perf)
        ]
        for share in (0.04, 0.055, 0.095, 0.11)
    }
    assert answers == {
        0.04: [False, False, False],
        0.055: [True, False, False],
        0.095: [True, False, True],
        0.11: [True, True, True],
    }


# ---- mutants


def test_a_worse_nll_ends_with_the_right_exit_code(tmp_path: Path) -> None:
    """Plugins in virtual environments of their own, run and gated by the verbs: 1 from +0.02 nats on."""
    mutants = script("mutants")
    found = list(mutants.outcomes(tmp_path, [m for m in mutants.QUALITY if m.nats in (0.01, 0.02)]))
    assert [outcome.mutant.name for outcome in found] == ["+0.01 nats", "+0.02 nats"]
    assert all(outcome.kept for outcome in found), [str(outcome) for outcome in found]
