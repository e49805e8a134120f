"""The rule of the gate, and what it makes of records."""

from __future__ import annotations

import dataclasses
import math
import random
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace as changed
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy import stats

from harness import change, gate
from harness.change import Side
from harness.gate import Needed, Thresholds
from harness.record import CONTRACT, Data, Metrics, Plugin, Record, Throughput, Timings
from harness.statistics import paired

T = Thresholds()
RNG = np.random.default_rng(5)
LENGTHS = RNG.integers(3, 12, 400)
UNITS = np.arange(400)


def scores(seed: int = 0, repeats: int = 1) -> Any:
    """−ln p of 400 documents, (R, G)."""
    rng = np.random.default_rng(seed)
    return LENGTHS * 2.3 + rng.normal(0, 1, (repeats, 400)) * 0.1 * np.sqrt(LENGTHS)


# ---- one answer for all


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["PASS", "PASS"], "PASS"),
        (["PASS", None], "PASS"),
        (["PASS", "INCONCLUSIVE"], "INCONCLUSIVE"),
        (["INCONCLUSIVE", "FAIL", "PASS"], "FAIL"),
        ([None], "INCONCLUSIVE"),
        ([], "INCONCLUSIVE"),
    ],
)
def test_fail_goes_before_inconclusive_and_nothing_passes_unmeasured(
    answers: list[Any], expected: str
) -> None:
    """What was not compared has no effect, and where nothing was compared nothing passes."""
    assert gate.overall(answers) == expected


# ---- quality


def test_equal_bits_pass_at_once() -> None:
    """Even of three documents, of which no interval is known, in-sample, and with p = 0 on a target."""
    few = np.array([[1.0, 2.0, math.inf]])
    found = gate.quality(few, few.copy(), LENGTHS[:3], UNITS[:3], T, in_sample=True)
    assert (found.answer, found.reason) == ("PASS", "equal to the bit")


def test_the_bounds_are_those_of_student_on_the_paired_difference() -> None:
    """99.99 % below and 99.75 % above, over documents alone where nothing is drawn."""
    base = scores()
    head = base + 0.02 * LENGTHS + np.random.default_rng(1).normal(0, 0.2, 400)
    found = gate.quality(base, head, LENGTHS, UNITS, T, draws=False)
    d = (head - base)[0]
    m = d.sum() / LENGTHS.sum()
    se = math.sqrt(400 / 399 * sum((d - m * LENGTHS) ** 2)) / LENGTHS.sum()
    assert found.change == pytest.approx(m)
    assert found.low == pytest.approx(m - stats.t.ppf(0.9999, 399) * se)
    assert found.high == pytest.approx(m + stats.t.ppf(0.9975, 399) * se)
    assert (found.answer, found.used) == ("FAIL", 400)


@pytest.mark.parametrize(
    ("nats", "docs", "answer"),
    [
        (0.0, 0.003, "PASS"),
        (0.0, 0.004, "INCONCLUSIVE"),
        (-0.5, 0.1, "PASS"),
        (0.012, 0.003, "FAIL"),
        (0.012, 0.004, "INCONCLUSIVE"),
        (0.01, 0.0001, "FAIL"),
        (0.0099, 0.0001, "INCONCLUSIVE"),
        (0.009, 0.0001, "PASS"),  # surely worse, and surely by less than what is tolerated
    ],
)
def test_three_answers(nats: float, docs: float, answer: str) -> None:
    """FAIL from δ on and surely above 0; PASS surely below δ; else INCONCLUSIVE."""
    assert gate.judged(nats, docs, 0.0, 3000, 1, 0.01).answer == answer


@pytest.mark.parametrize(
    ("nats", "reason"),
    [
        (0.004, r"at most \.00[5-9]\d nats worse, below 0\.01"),
        (-0.0028075, r"at most \.0000 nats worse, below 0\.01"),
        (-0.02, r"better by \.01\d\d nats at least"),
    ],
)
def test_a_pass_is_told_without_a_minus(nats: float, reason: str) -> None:
    """What is surely better is not called so many nats worse, and a rounded bound of 0 has no sign."""
    found = gate.judged(nats, 0.001, 0.0, 1000, 1, 0.01)
    assert found.answer == "PASS"
    assert re.fullmatch(reason, found.reason), found.reason


def test_seeds_count_with_what_was_measured_and_no_less_than_the_setting() -> None:
    """One seed: √2 · seed_sd. Several: the larger of both. A model that draws nothing: not at all."""
    base, head = scores(0, 3), scores(1, 3)
    found = paired(head, base, LENGTHS, UNITS)
    assert gate.seed_error(found, 3, 3, 0.0) == (found.se_seeds, None)
    assert gate.seed_error(found, 3, 3, 1.0) == (pytest.approx(math.sqrt(2 / 3)), None)
    alone = paired(head[:1], base[:1], LENGTHS, UNITS)
    assert gate.seed_error(alone, 1, 1, 0.003) == (pytest.approx(0.003 * math.sqrt(2)), None)
    one, other = base[:1], base[:1] + 0.011 * LENGTHS
    answers = [gate.quality(one, other, LENGTHS, UNITS, T, draws=draws).answer for draws in (True, False)]
    assert answers == ["INCONCLUSIVE", "FAIL"]


def test_from_five_seeds_on_what_they_show_has_its_degrees() -> None:
    """Where it is more than the setting: Satterthwaite's degrees, between those of seeds and documents."""
    base, head = scores(0, 5), scores(1, 6)
    found = paired(head, base, LENGTHS, UNITS)
    assert found.se_docs is not None
    assert found.se_seeds is not None
    assert gate.seed_error(found, 5, 6, 0.0) == (found.se_seeds, 9)
    assert gate.seed_error(found, 5, 6, 1.0)[1] is None
    one = gate.quality(base, head, LENGTHS, UNITS, changed(T, seed_sd=0.0))
    se2 = found.se_docs**2 + found.se_seeds**2
    degrees = se2**2 / (found.se_docs**4 / 399 + found.se_seeds**4 / 9)
    assert 9 < degrees < 399
    assert one.low == pytest.approx(found.nats - stats.t.ppf(0.9999, degrees) * math.sqrt(se2))
    assert one.high == pytest.approx(found.nats + stats.t.ppf(0.9975, degrees) * math.sqrt(se2))


def test_an_infinite_score_is_worse_than_any_number() -> None:
    """p = 0 in head alone fails, in base alone passes, in both nobody knows."""
    fine = scores()
    broken = fine.copy()
    broken[0, 7] = math.inf
    worse = broken + 1
    pairs = [(fine, broken), (broken, fine), (broken, worse)]
    answers = [gate.quality(base, head, LENGTHS, UNITS, T).answer for base, head in pairs]
    assert answers == ["FAIL", "PASS", "INCONCLUSIVE"]


def test_without_an_interval_nothing_passes_or_fails() -> None:
    """Below 20 distinct documents, and in-sample, where the bits differ."""
    base, head = scores(), scores() + 5.0
    few = gate.quality(base[:, :19], head[:, :19], LENGTHS[:19], UNITS[:19], T)
    assert (few.answer, few.needed) == ("INCONCLUSIVE", Needed(20, "documents"))
    alike = gate.quality(base, head, LENGTHS, np.zeros(400, int), T)
    assert alike.answer == "INCONCLUSIVE"
    assert gate.quality(base, head, LENGTHS, UNITS, T, in_sample=True).answer == "INCONCLUSIVE"


def test_what_would_have_been_needed_decides() -> None:
    """With so many documents or seeds, the same difference and scatter, the answer is one; with fewer not."""
    cases = ((0.012, 0.006, 0.0), (0.002, 0.006, 0.0), (0.004, 0.001, 0.004), (0.012, 0.02, 0.03))
    for (nats, docs, seeds), kind in zip(cases, ("documents", "documents", "seeds", "both"), strict=True):
        found = gate.judged(nats, docs, seeds, 3000, 1, 0.01)
        assert found.answer == "INCONCLUSIVE"
        assert found.needed is not None
        more_seeds = re.fullmatch(r"documents and (\d+) seeds", found.needed.of)
        assert found.needed.of == kind or (kind == "both" and more_seeds)
        documents = 3000 if kind == "seeds" else found.needed.count
        repeats = int(more_seeds[1]) if more_seeds else found.needed.count if kind == "seeds" else 1
        for share, decides in ((1.02, True), (0.9, False)):
            fewer_seeds = repeats if kind == "documents" or decides else repeats - 1
            less = documents if kind == "seeds" else documents * share
            again = gate.judged(
                nats, docs * math.sqrt(3000 / less), seeds / math.sqrt(fewer_seeds), 3000, 1, 0.01
            )
            assert (again.answer != "INCONCLUSIVE") is decides
    assert gate.judged(math.nextafter(0.01, 0), 0.02, 0.0, 3000, 1, 0.01).needed is not None


# ---- speed


def yuen(values: Sequence[float]) -> tuple[float, float]:
    """Trimmed mean and Yuen's standard error in plain Python."""
    n, cut = len(values), len(values) // 10
    ordered = sorted(values)
    kept = ordered[cut : n - cut]
    winsorised = [min(max(value, kept[0]), kept[-1]) for value in ordered]
    return statistics.fmean(kept), statistics.stdev(winsorised) / ((1 - 2 * cut / n) * math.sqrt(n))


@pytest.mark.parametrize("n", [10, 13, 20, 40])
def test_trimmed_means_are_yuen_s(n: int) -> None:
    """Mean, standard error and degrees, for one sample and for many; scipy has the same mean."""
    x = np.random.default_rng(n).standard_t(2, (3, n))
    mean, se, degrees = gate.trimmed(x)
    for i in range(3):
        assert (mean[i], se[i]) == pytest.approx(yuen(x[i].tolist()))
        assert mean[i] == pytest.approx(stats.trim_mean(x[i], 0.1))
    assert degrees == n - 2 * (n // 10) - 1


def spread(mean: float, sd: float, n: int) -> list[float]:
    """n values of that mean and standard deviation, the same in each half."""
    half = [mean + sd * stats.norm.ppf((i + 0.5) / 10) for i in range(10)]
    return (half * 2)[:n]


def test_a_slowdown_is_asked_at_ten_pairs_and_at_twenty() -> None:
    """What ten decide, later pairs cannot change; between the looks nothing is asked."""
    clear, open_ = spread(math.log(1.1), 0.01, 10), spread(math.log(1.05), 0.06, 20)
    assert gate.slowdown(clear, 0.05).answer == "FAIL"
    assert gate.slowdown(clear + [0.0] * 10, 0.05) == gate.slowdown(clear, 0.05)
    assert gate.slowdown(clear[:9], 0.05).answer == "INCONCLUSIVE"
    assert gate.slowdown(open_[:19], 0.05) == gate.slowdown(open_[:10], 0.05)
    assert gate.slowdown(open_, 0.05).used == 20


def test_the_bounds_of_a_slowdown_are_student_s() -> None:
    """At ten pairs 99.99 % below, at twenty 99.96 %; 99.75 % above; as shares of the base."""
    for n, level in ((10, 0.9999), (20, 0.9996)):
        x = spread(0.0, 0.2, n)
        mean, se = yuen(x)
        degrees = n - 2 * (n // 10) - 1
        found = gate.slowdown(x, 0.05)
        assert found.change == pytest.approx(math.expm1(mean))
        assert found.low == pytest.approx(math.expm1(mean - stats.t.ppf(level, degrees) * se))
        assert found.high == pytest.approx(math.expm1(mean + stats.t.ppf(0.9975, degrees) * se))


@pytest.mark.parametrize(
    ("share", "sd", "tolerated", "answer"),
    [
        (0.0, 0.02, 0.05, "PASS"),
        (0.10, 0.02, 0.05, "FAIL"),
        (0.10, 0.02, 0.25, "PASS"),
        (0.025, 0.001, 0.05, "PASS"),  # surely slower, and surely by less than what is tolerated
        (0.029, 0.05, 0.05, "INCONCLUSIVE"),
        (0.031, 0.001, 0.05, "FAIL"),  # above three fifths of it, surely above one
        (0.04, 0.05, 0.05, "INCONCLUSIVE"),
        (-0.30, 0.05, 0.05, "PASS"),
    ],
)
def test_answers_on_speed(share: float, sd: float, tolerated: float, answer: str) -> None:
    """FAIL from 3τ/5 on and surely above τ/5, PASS surely below τ."""
    assert gate.slowdown(spread(math.log1p(share), sd, 20), tolerated).answer == answer


def test_equal_pairs_decide_without_scatter() -> None:
    """Memory often does not scatter at all."""
    assert gate.slowdown([0.0] * 10, 0.05).answer == "PASS"
    assert gate.slowdown([math.log(1.06)] * 10, 0.05).answer == "FAIL"


def test_a_wild_pair_does_not_decide() -> None:
    """One of ten pairs that took five times as long moves neither estimate nor answer."""
    x = spread(0.0, 0.01, 10)
    wild = [*x[:9], math.log(5.0)]
    assert gate.slowdown(wild, 0.05).answer == gate.slowdown(x, 0.05).answer == "PASS"


def test_the_pairs_that_are_needed_decide() -> None:
    """As many pairs with the same scatter give an answer; few give the number of the first look."""
    x = spread(0.0, 0.3, 20)
    found = gate.slowdown(x, 0.05)
    assert found.answer == "INCONCLUSIVE"
    assert found.needed is not None
    assert found.needed.of == "pairs"
    mean, se = yuen(x)
    for n, decides in ((found.needed.count, True), (int(found.needed.count * 0.9), False)):
        error = se * math.sqrt(20 / n)
        high = mean + stats.t.ppf(0.9975, n - 2 * (n // 10) - 1) * error
        assert bool(high < math.log(1.05)) is decides
    assert gate.slowdown([0.0] * 3, 0.05).needed == Needed(10, "pairs")


# ---- records

Make = Callable[..., Record]


def record(model: str = "mlp", repeat: int = 0, **fields: Any) -> Record:
    """A cell that is ok."""
    made = Record(
        run_id="r",
        cell=repeat,
        model=model,
        backend="numpy",
        options={},
        config={"hidden": 8},
        dataset="names",
        split="lecture",
        repeat=repeat,
        seed=repeat,
        budget="default",
        status="ok",
        metrics=Metrics(test_nll=2.3),
        timings=Timings(train_s=2.0, sample_s=0.5),
        throughput=Throughput(eval_chars_per_s=1e5, sample_chars_per_s=1e4),
        peak_rss_bytes=40_000_000,
        scores=f"{model}.{repeat}",
        data=Data(
            dataset_sha256="d" * 64,
            split_fingerprint="f" * 64,
            vocabulary=27,
            alphabet="ab",
            documents={"test": 400},
            targets={"test": int(LENGTHS.sum())},
            overlap={},
        ),
        plugin=Plugin(distribution="x", version="1"),
    )
    return msgspec.structs.replace(made, **fields)


def side(records: Sequence[Record], add: float = 0.0, contract: str = CONTRACT) -> Side:
    """A side whose models all score the same, but for what is added to every character."""
    arrays = {"test_sums": scores()[0] + add * LENGTHS, "test_lengths": LENGTHS, "test_units": UNITS}
    return Side("run r", contract, records, lambda record: arrays if record.scores else None)


def only(result: change.Result) -> tuple[str, str]:
    """Answer and reason of the one metric of the one cell."""
    ((judged,),) = [cell.judged for cell in result.cells]
    return str(judged.finding.answer), judged.finding.reason


def test_a_cell_is_found_again_by_its_name() -> None:
    """Model, backend and options; each is judged by its own scores, in the order of the baseline."""
    base = side([record("mlp"), record("ngram", options={"order": 3})])
    head = side([record("ngram", options={"order": 3}), record("mlp")], add=0.1)
    result = change.judge(base, head, T)
    assert [(cell.name, cell.answer) for cell in result.cells] == [
        ("mlp@numpy", "FAIL"),
        ("ngram@numpy:order=3", "FAIL"),
    ]
    assert result.answer == "FAIL"
    assert change.judge(base, base, T).answer == "PASS"


def test_missing_and_broken_cells_fail_and_new_ones_are_mentioned() -> None:
    """Ok in base: absent in head is FAIL, and so is a seed that broke; what is new has no answer."""
    base = side([record("mlp"), record("gru"), record("rnn")])
    head = side([record("mlp"), record("gru", status="diverged", reason="NaN"), record("lstm")])
    result = change.judge(base, head, T)
    assert [(cell.name, cell.answer, cell.judged[0].finding.reason) for cell in result.cells] == [
        ("mlp@numpy", "PASS", "equal to the bit"),
        ("gru@numpy", "FAIL", "diverged in head, ok in base: NaN"),
        ("rnn@numpy", "FAIL", "missing in head, ok in base"),
    ]
    assert result.remarks == ("lstm@numpy: new in head, nothing to compare it with",)


def test_what_an_open_run_has_not_is_not_known() -> None:
    """The run was interrupted or goes on: its cell may still come."""
    head = dataclasses.replace(side([record("mlp")]), closed=False)
    result = change.judge(side([record("mlp"), record("rnn")]), head, T)
    assert [(cell.answer, cell.judged[0].finding.reason) for cell in result.cells] == [
        ("PASS", "equal to the bit"),
        ("INCONCLUSIVE", "not in head, whose run is open"),
    ]


def test_what_was_not_ok_in_base_is_no_cell() -> None:
    """It is mentioned; where there is nothing else nothing was measured."""
    base = side([record("gru", status="failed", reason="no luck")])
    result = change.judge(base, side([record("gru")]), T)
    assert result.answer == "INCONCLUSIVE"
    assert result.cells == ()
    assert result.remarks == ("gru@numpy: not compared, failed in base (no luck)",)


def test_skipped_in_head_is_not_known() -> None:
    """The machine lacks something: neither worse nor fine."""
    head = side([record(status="skipped", reason="no CUDA device")])
    assert only(change.judge(side([record()]), head, T)) == (
        "INCONCLUSIVE",
        "skipped in head: no CUDA device",
    )


@pytest.mark.parametrize(
    ("what", "field", "value"),
    [
        ("dataset", "dataset", "other"),
        ("split", "split", "makemore"),
        ("budget", "budget", "30s"),
        ("rests on", "rests_on", "file of scores"),
        ("dataset sha256", "dataset_sha256", "e" * 64),
        ("alphabet", "alphabet", "abc"),
        ("split fingerprint", "split_fingerprint", "0" * 64),
        ("window", "window", {"inputs": 256, "stride": 128}),
    ],
)
def test_what_is_not_comparable_names_the_field(what: str, field: str, value: object) -> None:
    """Other data, split, alphabet or budget: INCONCLUSIVE, never PASS, with both values."""
    other = record()
    if field in other.data.__struct_fields__:
        other = record(data=msgspec.structs.replace(other.data, **{field: value}))
    else:
        other = record(**{field: value})
    answer, reason = only(change.judge(side([record()]), side([other]), T))
    assert answer == "INCONCLUSIVE"
    assert reason.startswith(f"not comparable: {what}: ")
    assert change.brief(value) in reason


def test_another_contract_is_not_comparable() -> None:
    """The numbers may mean something else."""
    answer, reason = only(change.judge(side([record()]), side([record()], contract="harness.contract/2"), T))
    assert answer == "INCONCLUSIVE"
    assert reason == f"not comparable: contract version: {CONTRACT} in base, harness.contract/2 in head"


def test_the_same_cell_on_other_data_beside_it_is_no_hindrance() -> None:
    """Of several records of one name the one on the same dataset and split counts."""
    head = side([record(dataset="other"), record()])
    assert change.judge(side([record()]), head, T).answer == "PASS"


def test_scores_that_were_not_kept_are_not_known() -> None:
    """Equal means are not enough."""
    answer, reason = only(change.judge(side([record(scores=None)]), side([record()]), T))
    assert (answer, reason) == ("INCONCLUSIVE", "no test scores in run r: they were not kept")


def test_the_seeds_that_both_sides_have_are_compared() -> None:
    """A seed more or less is a remark."""
    base, head = side([record(repeat=i) for i in range(3)]), side([record(repeat=i) for i in range(2)])
    (cell,) = change.judge(base, head, T).cells
    assert (cell.seeds, cell.answer) == (2, "PASS")
    assert cell.remarks == ("2 of the baseline's 3 seeds were run in head",)
    assert change.judge(head, base, T).cells[0].remarks == ()


def test_a_default_that_has_changed_is_part_of_the_change() -> None:
    """The cell is still the same one, and the reader is told."""
    (cell,) = change.judge(side([record()]), side([record(config={"hidden": 16})]), T).cells
    assert cell.answer == "PASS"
    assert cell.remarks == ("default changed: hidden = 8 in base, 16 in head",)


# ---- pairs


@pytest.mark.parametrize(
    ("base", "head", "expected"),
    [(None, None, True), (None, False, True), (None, True, False), (False, False, False)],
)
def test_where_seeds_are_missing_an_undeclared_model_is_told_to_declare(
    base: bool | None, head: bool | None, expected: bool
) -> None:
    """A counting model has no 26 seeds; a model that draws, or one that says it does not, is not told."""
    before, after = side([record(stochastic=base)]), side([record(stochastic=head)], add=0.004)
    (cell,) = change.judge(before, after, T).cells
    assert any("stochastic=False" in remark for remark in cell.remarks) == expected


def timed(share: float, metric: str, n: int = 20, **fields: Any) -> list[tuple[Record, Record]]:
    """Pairs of which head takes so much more of one metric."""
    rng = random.Random(3)
    made = []
    for _ in range(n):
        f = (1 + share) * math.exp(rng.gauss(0, 0.01))
        head = record(
            timings=Timings(train_s=2.0 * (f if metric == "train" else 1), sample_s=0.5),
            throughput=Throughput(
                eval_chars_per_s=1e5 / (f if metric == "evaluate" else 1),
                sample_chars_per_s=1e4 / (f if metric == "sample" else 1),
            ),
            peak_rss_bytes=int(40_000_000 * (f if metric == "memory" else 1)),
            **fields,
        )
        made.append((record(**fields), head))
    return made


@pytest.mark.parametrize("metric", list(change.METRICS))
def test_each_metric_is_judged_by_its_own_pairs(metric: str) -> None:
    """10 % more of one fails that one alone, and the change with it; tolerated, it passes."""
    pairs = {"mlp@numpy": timed(0.10, metric)}
    (cell,) = change.judge(side([record()]), side([record()]), T, pairs).cells
    answers = {each.metric: each.finding.answer for each in cell.judged}
    assert answers == {"nll": "PASS"} | dict.fromkeys(change.METRICS, "PASS") | {metric: "FAIL"}
    assert cell.answer == "FAIL"
    lenient = changed(T, **{metric: 0.5})
    assert change.judge(side([record()]), side([record()]), lenient, pairs).answer == "PASS"


def test_what_is_too_small_to_compare_has_no_effect() -> None:
    """A fit of a millisecond, and one whose end is set by the clock."""
    short = Timings(train_s=0.001, sample_s=0.001)
    few = change.measured([(record(timings=short, peak_rss_bytes=100), record(timings=short))] * 10, T)
    assert {each.metric: each.finding.answer for each in few} == {
        "train": None,
        "evaluate": "PASS",
        "sample": None,
        "memory": "FAIL",  # head's 40 MB are large enough
    }
    clock = change.measured(timed(0.5, "train", budget="30s"), T)
    assert (clock[0].finding.answer, clock[0].finding.reason) == (
        None,
        "not compared: the budget is wall clock",
    )
    steps = change.measured(timed(0.5, "train", budget="30steps"), T)
    assert steps[0].finding.answer == "FAIL"


def test_a_sample_that_breaks_in_head_alone_fails() -> None:
    """Base fitted in the same minute."""
    pairs = timed(0.0, "train")
    pairs[3] = (pairs[3][0], record(status="timeout", reason="fit: over the limit"))
    (found,) = change.measured(pairs, T)
    assert found.finding.answer == "FAIL"
    assert found.finding.reason == "timeout in head, ok in base: fit: over the limit"


def test_pairs_go_on_while_they_could_decide() -> None:
    """Not where all is decided, nor after the last look."""
    assert not change.open_still(timed(0.0, "train", 10), T)
    assert not change.open_still(timed(0.10, "train", 10), T)
    noisy = [(record(), record(timings=Timings(train_s=2.0 * f))) for f in (0.7, 1.4) * 10]
    assert change.open_still(noisy[:10], T)
    assert not change.open_still(noisy, T)
