"""Several seeds in one row: means, two variances kept apart, and what may be claimed from how many."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
import statistics as plain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness import columns, notes
from harness.cli import main
from harness.compare import Standing, repeats, standings
from harness.record import Data, Metrics, Plugin, Record, Timings
from harness.statistics import METHOD, clusters, fold, paired, ranks, standard_error

Float64s = NDArray[np.float64]
G = 40  # documents
LENGTHS = 2 + np.arange(G) % 7
T4 = 2.7764  # Student's t for 95 % with 4 degrees, from a printed table


def draw(rng: np.random.Generator, seeds: int, mean: float, spread: float) -> Float64s:
    """Sums (R, G): documents have a mean of their own, seeds a shift of theirs, and both some noise."""
    documents = 0.3 * rng.standard_normal(G)
    shifts = spread * rng.standard_normal((seeds, 1))
    noise = 0.05 * rng.standard_normal((seeds, G))
    return LENGTHS * (mean + documents + shifts + noise)


class Table:
    """Records of several models with several seeds each, and their scores."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.kept: dict[int, dict[str, Any]] = {}

    def add(self, model: str, sums: Float64s, **changes: Any) -> Table:
        """A record a row of sums (R, G)."""
        for repeat, row in enumerate(sums):
            cell = len(self.records)
            se = standard_error(*clusters(row, LENGTHS, None))
            nll = float(row.sum() / LENGTHS.sum())
            metrics = Metrics(test_nll=nll, test_nll_se=se, test_nll_half=se and 2.0227 * se, dev_nll=nll)
            fields: dict[str, Any] = {
                "model": model,
                "backend": "numpy",
                "options": {},
                "config": {},
                "dataset": "names",
                "split": "grouped",
                "repeat": repeat,
                "seed": cell,
                "budget": "default",
                "status": "ok",
                "metrics": metrics,
                "timings": Timings(train_s=1.0 + repeat),
                "data": Data(
                    dataset_sha256="",
                    split_fingerprint="",
                    vocabulary=27,
                    documents={"train": 9, "dev": G, "test": G},
                    targets={"train": 9, "dev": 9, "test": int(LENGTHS.sum())},
                    overlap={"dev": 0, "test": 0},
                    units=G,
                ),
                "plugin": Plugin(distribution="d", version="1"),
            }
            self.records.append(Record(run_id="run", cell=cell, **(fields | changes)))
            arrays = {"sums": row, "lengths": LENGTHS, "units": np.arange(G)}
            self.kept[cell] = {f"{part}_{k}": v for part in ("dev", "test") for k, v in arrays.items()}
        return self

    def scores(self, record: Record) -> dict[str, Any]:
        """What was kept of a cell."""
        return self.kept[record.cell]

    def rows(self, **how: Any) -> list[Standing]:
        """The rows of its table."""
        return standings(self.records, self.scores, **how)

    def notes(self) -> str:
        """What stands under it."""
        return "\n".join(notes.notes(self.rows()))


def cell(row: Standing, key: str) -> str:
    """The text of a column."""
    return next(column for column in columns.COLUMNS if column.key == key).text(row)


def by_hand(sums: Float64s) -> tuple[float, float, float]:
    """Mean over seeds, its standard error over documents, the seeds' standard deviation: loops and sums."""
    seeds, total = len(sums), float(LENGTHS.sum())
    means = [math.fsum(float(sums[r][i]) for r in range(seeds)) / seeds for i in range(G)]
    m = math.fsum(means) / total
    squares = math.fsum((means[i] - m * float(LENGTHS[i])) ** 2 for i in range(G))
    spread = plain.stdev([math.fsum(row.tolist()) / total for row in sums])
    return m, math.sqrt(G / (G - 1) * squares) / total, spread


# ---- which records are one row


def test_records_that_differ_only_in_their_repeat_are_one_row() -> None:
    """Another backend, configuration or budget is another row, and a repeat that stands twice is."""
    one = np.ones((2, G))
    table = Table().add("a", one).add("b", one).add("a", one, backend="torch")
    table.add("a", one, config={"k": 1}).add("a", one[:1])
    groups = [[record.cell for record in group] for group in repeats(table.records)]
    assert groups == [[0, 1], [2, 3], [4, 5], [6, 7], [8]]
    assert [[r.cell for r in row] for row in repeats(reversed(table.records[:4]))] == [[2, 3], [0, 1]]


def test_each_seed_shows_them_apart() -> None:
    """With `each_seed` every record is a row with its number, its own interval and its own rank."""
    table = Table().add("a", draw(np.random.default_rng(0), 3, 2.0, 0.1))
    apart = table.rows(each_seed=True)
    assert sorted(cell(row, "model") for row in apart) == ["a@numpy", "a@numpy #2", "a@numpy #3"]
    assert all(row.test is not None and row.test.sd_seeds is None for row in apart)
    (folded,) = table.rows()
    assert cell(folded, "model") == "a@numpy"


# ---- means


def test_figures_are_means_over_seeds() -> None:
    """NLL, bits, perplexity and seconds of a row, against plain means."""
    table = Table().add("a", draw(np.random.default_rng(1), 4, 2.0, 0.1))
    (row,) = table.rows()
    m = plain.fmean(record.metrics.test_nll or 0.0 for record in table.records)
    raw = {field: read(row) for column in columns.COLUMNS for field, read in column.raw.items()}
    assert raw["test_nll"] == pytest.approx(m, rel=1e-14)
    assert raw["test_bits"] == pytest.approx(m / math.log(2))
    assert raw["test_perplexity"] == pytest.approx(math.exp(m))
    assert raw["train_s"] == 2.5
    assert raw["seeds"] == 4
    assert (raw["seed"], raw["repeat"]) == (None, None)


def test_a_lone_seed_is_what_its_record_says() -> None:
    """One repeat keeps its recorded interval, bit for bit."""
    table = Table().add("a", draw(np.random.default_rng(2), 1, 2.0, 0.1))
    (row,) = table.rows()
    metrics = table.records[0].metrics
    assert row.test is not None
    assert (row.test.nats, row.test.se, row.test.half) == (
        metrics.test_nll,
        metrics.test_nll_se,
        metrics.test_nll_half,
    )


def test_an_infinite_seed_makes_the_mean_infinite() -> None:
    """Where one repeat has p = 0 on a target the row shows `inf`, last and without interval."""
    sums = draw(np.random.default_rng(3), 3, 2.0, 0.1)
    table = Table().add("a", sums).add("b", sums + LENGTHS)
    table.records[1].metrics = Metrics(dev_nll=2.0, zero_probability={"test": 2})
    first, last = table.rows()
    assert (cell(first, "model"), first.rank) == ("b@numpy", 1)
    assert (cell(last, "model"), cell(last, "test"), last.rank) == ("a@numpy", "inf", 2)
    assert cell(last, "zero") == "2"
    assert "a@numpy #2: targets with p = 0: 2 in test." in table.notes()


# ---- failed repeats


def test_failed_repeats_are_counted() -> None:
    """The row is the mean of those that are ok, says how many of R they are, and names each reason."""
    table = Table().add("a", draw(np.random.default_rng(4), 5, 2.0, 0.1))
    table.records[2].status, table.records[2].reason = "failed", "fit: no luck"
    table.records[2].metrics = Metrics()
    (row,) = table.rows()
    assert cell(row, "status") == "4/5 ok"
    assert cell(row, "seeds") == "4"
    assert row.test is not None
    assert row.test.nats == pytest.approx(
        plain.fmean(r.metrics.test_nll for r in table.records if r.metrics.test_nll is not None)
    )
    said = table.notes()
    assert "a@numpy: 4 of 5 seeds are ok, the row is their mean; too few to speak of the method." in said
    assert "a@numpy #3: failed: fit: no luck" in said


def test_what_all_repeats_have_is_said_once() -> None:
    """A reason or a mark of every repeat stands once, under the name of the row; the status is theirs."""
    table = Table().add("a", np.ones((3, G)), status="skipped", reason="no CUDA", metrics=Metrics())
    (row,) = table.rows()
    assert cell(row, "status") == "skipped"
    assert table.notes().count("a@numpy: skipped: no CUDA") == 1


def test_lost_scores_leave_no_interval_over_seeds() -> None:
    """Without the scores of every repeat there is a mean and a spread, no interval and no rank."""
    table = Table().add("a", draw(np.random.default_rng(5), 3, 2.0, 0.1))
    (row,) = standings(table.records, lambda r: None if r.cell == 1 else table.scores(r))
    assert row.rank is None
    assert row.test is not None
    assert (row.test.se_docs, row.test.half) == (None, None)
    assert row.test.sd_seeds is not None


# ---- two variances


@pytest.mark.parametrize("seeds", [2, 4, 5, 9])
def test_documents_and_seeds_are_kept_apart(seeds: int) -> None:
    """Both components against loops; the seeds enter the interval from five on, with R − 1 degrees."""
    sums = draw(np.random.default_rng(6), seeds, 2.0, 0.1)
    (row,) = Table().add("a", sums).rows()
    m, se_docs, spread = by_hand(sums)
    found = row.test
    assert found is not None
    assert (found.nats, found.se_docs, found.sd_seeds) == pytest.approx((m, se_docs, spread), rel=1e-9)
    if seeds < METHOD:
        assert found.se == found.se_docs
        assert found.half == pytest.approx(stats.t.ppf(0.975, G - 1) * se_docs)
    else:
        se = math.sqrt(se_docs**2 + spread**2 / seeds)
        assert found.se == pytest.approx(se)
        assert found.half == pytest.approx(stats.t.ppf(0.975, seeds - 1) * se)
    assert cell(row, "se-docs") == f"{se_docs:.5f}"[1:]
    assert cell(row, "sd-seeds") == f"{spread:.5f}"[1:]


def test_five_seeds_have_four_degrees() -> None:
    """The quantile of five seeds stands in printed tables."""
    nlls = [2.0, 2.1, 2.2, 2.3, 2.4]  # variance 0.025
    assert fold(nlls, 0.0, 1_000).half == pytest.approx(T4 * math.sqrt(0.025 / 5), rel=1e-4)


def test_equal_seeds_add_nothing() -> None:
    """What scores the same with every seed has the interval of one, with the degrees of its documents."""
    sums = np.repeat(draw(np.random.default_rng(7), 1, 2.0, 0.0), 6, axis=0)
    table = Table().add("a", sums)
    (row,) = table.rows()
    _, se_docs, _ = by_hand(sums)
    assert row.test is not None
    assert row.test.sd_seeds == 0.0
    assert row.test.half == pytest.approx(stats.t.ppf(0.975, G - 1) * se_docs)
    assert "The same with every seed: a@numpy." in table.notes()


@pytest.mark.parametrize(("r_a", "r_b"), [(5, 5), (5, 8), (4, 5), (1, 1)])
def test_a_comparison_adds_the_variances_of_both(r_a: int, r_b: int) -> None:
    """Seed means are paired by document; variances over R are added; degrees are of the fewer seeds."""
    rng = np.random.default_rng(8)
    a, b = draw(rng, r_a, 2.1, 0.1), draw(rng, r_b, 2.0, 0.05)
    found = paired(a, b, LENGTHS)
    total = float(LENGTHS.sum())
    d = a.mean(axis=0) - b.mean(axis=0)
    m = d.sum() / total
    se_docs = math.sqrt(G / (G - 1) * float(((d - m * LENGTHS) ** 2).sum())) / total
    assert found.nats == pytest.approx(m)
    if min(r_a, r_b) < METHOD:
        assert (found.se, found.cases) == (pytest.approx(se_docs), G)
        return
    added = sum(plain.variance((sums.sum(axis=1) / total).tolist()) / len(sums) for sums in (a, b))
    se = math.sqrt(se_docs**2 + added)
    assert found.se == pytest.approx(se)
    assert found.half == pytest.approx(stats.t.ppf(0.975, min(r_a, r_b) - 1) * se)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(m) / se, min(r_a, r_b) - 1))
    assert found.units == G


def test_a_model_that_draws_nothing_lends_no_degrees() -> None:
    """Its one repeat stands for all seeds: the comparison is the other model's, with its degrees."""
    rng = np.random.default_rng(9)
    five, one = draw(rng, 5, 2.0, 0.1), draw(rng, 1, 2.3, 0.0)
    table = Table().add("drawn", five).add("steady", one, stochastic=False)
    first, last = table.rows()
    assert cell(last, "model") == "steady@numpy"
    expected = paired(np.repeat(one, 5, axis=0), five, LENGTHS)
    assert last.behind == expected
    assert expected.cases == 5
    assert first.behind is None
    assert "The same with every seed: steady@numpy." in table.notes()
    undeclared = Table().add("drawn", five).add("steady", one).rows()[1]
    assert undeclared.behind is not None
    assert undeclared.behind.cases == G  # one checkpoint against five: no claim about the methods


def test_ranks_are_those_of_the_folded_rows() -> None:
    """The table ranks seed means, and ranks them as `ranks` does with all seeds of each."""
    rng = np.random.default_rng(10)
    common = draw(rng, 1, 0.0, 0.0)
    models = {name: common + draw(rng, 5, mean, 0.02) for name, mean in (("c", 3.0), ("a", 2.0), ("b", 2.01))}
    table = Table()
    for name, sums in models.items():
        table.add(name, sums)
    rows = table.rows()
    ordered = [models[cell(row, "model")[0]] for row in rows]
    assert [sums.mean() for sums in ordered] == sorted(sums.mean() for sums in ordered)
    assert [row.rank for row in rows] == ranks(ordered, LENGTHS) == [1, 1, 3]
    for row, sums in zip(rows[1:], ordered[1:], strict=True):
        assert row.behind == paired(sums, ordered[0], LENGTHS)


# ---- do the intervals keep their word


def covered(spread: float, times: int = 1_500) -> tuple[float, float]:
    """How often the true NLL of the method lies in the interval of five seeds, and of documents alone."""
    rng = np.random.default_rng(11)
    inside = alone = 0
    for _ in range(times):
        sums = draw(rng, 5, 2.0, spread)
        nlls = (sums.sum(axis=1) / LENGTHS.sum()).tolist()
        se = standard_error(*clusters(sums.mean(axis=0), LENGTHS, None))
        found = fold(nlls, se, G)
        assert found.half is not None
        assert se is not None
        inside += abs(found.nats - 2.0) <= found.half
        alone += abs(found.nats - 2.0) <= 2.0227 * se
    return inside / times, alone / times


def test_intervals_over_seeds_cover_the_method() -> None:
    """About 95 % where seeds are most of the error, more where documents are; documents alone fall short."""
    inside, alone = covered(spread=0.3)
    assert 0.93 < inside < 0.985
    assert alone < 0.75
    inside, _ = covered(spread=0.01)
    assert inside > 0.97


def test_two_equal_methods_are_rarely_told_apart() -> None:
    """At most 5 % false claims (and some noise) over pairs of equal methods; documents alone make many."""
    rng = np.random.default_rng(12)
    false = alone = 0
    for _ in range(1_000):
        common = draw(rng, 1, 0.0, 0.0)
        a, b = (common + draw(rng, 5, 1.0, 0.1) for _ in "ab")
        p = paired(a, b, LENGTHS).p
        of_checkpoints = paired(a.mean(axis=0), b.mean(axis=0), LENGTHS).p
        assert p is not None
        assert of_checkpoints is not None
        false += p < 0.05
        alone += of_checkpoints < 0.05
    assert false / 1_000 < 0.065
    assert alone / 1_000 > 0.1


# ---- scope


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (1, "Scope: a row speaks of one checkpoint (one seed), not of its method: that takes 5 seeds."),
        (2, "2 seeds are too few to speak of the method: that takes 5."),
        (4, "Scope: a row speaks of 4 checkpoints, their mean over seeds; ± holds documents alone."),
        (5, "Scope: a row speaks of the method, by the mean over 5 seeds; ± holds documents and seeds."),
    ],
)
def test_the_scope_stands_under_the_table(seeds: int, said: str) -> None:
    """What a row may claim follows from its number of seeds."""
    text = Table().add("a", draw(np.random.default_rng(13), seeds, 2.0, 0.1)).notes()
    assert said in text
    assert ("too few" in text) is (1 < seeds < METHOD)
    assert ("Standard deviation of test NLL over seeds: a@numpy ." in text) is (seeds > 1)


def test_models_that_draw_nothing_speak_of_their_method() -> None:
    """A table of such models needs no second seed."""
    table = Table().add("a", draw(np.random.default_rng(14), 1, 2.0, 0.0), stochastic=False)
    assert "these models draw nothing" in table.notes()


def test_the_excess_of_a_row_is_the_mean() -> None:
    """Half its interval is never below what the mean's own would be: the mean of the single ones."""
    table = Table().add("a", draw(np.random.default_rng(15), 3, 2.0, 0.1))
    for record, excess, half in zip(table.records, (0.1, 0.2, 0.3), (0.01, 0.02, 0.03), strict=True):
        record.metrics.excess, record.metrics.excess_half = excess, half
    (row,) = table.rows()
    assert row.excess is not None
    assert (row.excess.nats, row.excess.half) == (pytest.approx(0.2), pytest.approx(0.02))
    table.records[1].metrics.excess = None
    assert table.rows()[0].excess is None


# ---- the command line

PLUGIN = """
import numpy as np
from harness import Model, ModelSpec, hookimpl

class Noisy(Model):
    def fit(self, train, dev, trial):
        logits = 0.1 * self.rng.standard_normal(self.vocab_size)
        self.params["log_p"] = logits - np.log(np.exp(logits).sum())
    def log_probs(self, inputs):
        return np.broadcast_to(self.params["log_p"], (*inputs.shape, self.vocab_size))

class Unlucky(Noisy):
    def fit(self, train, dev, trial):
        if trial.seed % 2:
            raise RuntimeError("odd seed")
        super().fit(train, dev, trial)

@hookimpl
def harness_models():
    return [ModelSpec("noisy", {"numpy": Noisy}), ModelSpec("unlucky", {"numpy": Unlucky})]
"""


def test_run_folds_and_show_unfolds(capsys: pytest.CaptureFixture[str]) -> None:
    """`--seeds 5`: one row a model and one record a repeat; `--each-seed` gives a row a repeat."""
    Path("noisy.py").write_text(PLUGIN)
    Path("few.txt").write_text("".join(f"{a}{b}{c}\n" for a, b, c in itertools.product("abcde", repeat=3)))
    run = ["run", "--in-process", "--plugin", "noisy.py", "--models", "noisy,unlucky,uniform"]
    code = main(
        [*run, "--dataset", "file:few.txt", "--split", "grouped:fractions=0.4,0.2,0.4", "--seeds", "5"]
    )
    table = capsys.readouterr().out
    assert code == 4  # some seeds of `unlucky` are odd
    assert len(re.findall(r"^\d  \w+@numpy ", table, re.MULTILINE)) == 3
    assert re.search(r"unlucky@numpy .* [1-4]/5 ok$", table, re.MULTILINE)
    assert "Scope: a row speaks of the method, by the mean over 5 seeds" in table
    assert main(["show", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)["records"]
    noisy = [record for record in records if record["model"] == "noisy"]
    assert [record["repeat"] for record in noisy] == [0, 1, 2, 3, 4]
    assert main(["show", "--format", "csv", "--columns", "model,test,se-docs,sd-seeds,seeds"]) == 0
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    nlls = [record["metrics"]["test_nll"] for record in noisy]
    assert float(rows["noisy"]["test_nll"]) == pytest.approx(plain.fmean(nlls), rel=1e-14)
    assert float(rows["noisy"]["test_nll_sd_seeds"]) == pytest.approx(plain.stdev(nlls), rel=1e-12)
    assert main(["show", "--each-seed", "--format", "csv"]) == 0
    apart = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(apart) == len(records)
