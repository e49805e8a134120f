"""Search on dev: what is varied, what is proposed, and what is told of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from harness import ModelSpec, lr_range, picture, plan, runner, selection, statistics, store, tune
from harness.errors import UsageError
from harness.record import Data, Metrics, Plugin, Record
from harness.selection import Choice
from harness.space import LENGTHS, Range, Space, default_space, parse, render_space

pytest.importorskip("optuna")

SPEC = ModelSpec(
    "toy",
    {"numpy": "nowhere:Toy"},
    config={
        "hidden": 100,
        "dropout": 0.1,
        "learning_rate": 0.01,
        "momentum": 0.9,
        "decay": 0.0,
        "bias": True,
        "order": "auto",
        "depth": 2,
        "steps": 1000,
        "file": "a.txt",
    },
    words={"order": ("auto", "one", "two"), "depth": ("auto",)},
)
TOY = Choice(SPEC, "numpy", SPEC.config)


def spaced(text: str) -> Space:
    """A space of the toy model."""
    return parse(text, TOY, set())


def record(cell: int, dev: float | None, status: str = "ok", **config: Any) -> Record:
    """A trial as it stands on record."""
    data = Data(dataset_sha256="", split_fingerprint="", vocabulary=27, documents={}, targets={}, overlap={})
    return Record(
        run_id="r", cell=cell, model="toy", backend="numpy", options={}, config=dict(SPEC.config) | config,
        dataset="names", split="lecture", repeat=0, seed=0, budget="default", status=status, data=data,
        metrics=Metrics(dev_nll=dev), plugin=Plugin(distribution="", version=""),
    )  # fmt: skip


# ---- the space


def test_a_space_has_the_types_of_the_defaults() -> None:
    """Ranges of integers and floats, choices of numbers, words and switches, in the order given."""
    space = spaced("hidden=128..512:log, dropout=0..0.5,depth=1/2/4,order=one/auto,bias=yes/no")
    assert space == {
        "hidden": Range(128, 512, log=True),
        "dropout": Range(0.0, 0.5),
        "depth": (1, 2, 4),
        "order": ("one", "auto"),
        "bias": (True, False),
    }
    assert isinstance(space["hidden"], Range)
    assert isinstance(space["hidden"].low, int)
    assert parse(render_space(space), TOY, set()) == space


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hiden=1..2", "did you mean 'hidden'"),
        ("hidden", "neither KEY=LOW..HIGH nor"),
        ("hidden=2..1", "2 is not below 1"),
        ("hidden=1.5..3", "is no int"),
        ("dropout=0..0.5:log", "begins above 0"),
        ("hidden=1..9:lin", "only `log`"),
        ("order=1..3", "is no number"),
        ("depth=2", "one value"),
        ("order=one/three", "'three'"),
        ("hidden=1..2,hidden=3..4", "given twice"),
        ("learning_rate=1..2", "given twice"),
    ],
)
def test_a_mistake_in_the_space_is_named(text: str, said: str) -> None:
    """One line that says what is wrong; what MODEL sets itself is not varied."""
    with pytest.raises(UsageError, match=said):
        parse(text, TOY, {"learning_rate"})


def test_the_default_space_is_around_the_defaults() -> None:
    """A factor of 4 on a log scale, words and switches, dropout to a half; not what has no such range."""
    assert "steps" in LENGTHS
    assert render_space(default_space(TOY, {"depth"})) == (
        "hidden=25..400:log,dropout=0..0.5,learning_rate=0.0025..0.04:log,bias=True/False,order=auto/one/two"
    )


# ---- the proposals


def test_proposals_are_a_function_of_seed_and_records() -> None:
    """The same seed and records give the same point, in the space and with three digits."""
    space = spaced("hidden=10..1000:log,learning_rate=0.00123..0.1:log,order=one/two")
    told = [({"hidden": 10 * i, "learning_rate": 0.01, "order": "one"}, 2.0 + i) for i in range(1, 13)]
    points = [tune.propose(space, told, seed) for seed in (1, 1, 2)]
    assert points[0] == points[1] != points[2]
    for point in points:
        assert isinstance(point["hidden"], int)
        assert isinstance(point["learning_rate"], float)
        assert 0.00123 <= point["learning_rate"] <= 0.1
        assert float(f"{point['learning_rate']:.3g}") == point["learning_rate"]


def test_the_search_goes_where_the_loss_is_low() -> None:
    """After ten random points TPE proposes nearer to the lowest of a parabola, also past broken trials."""
    space = spaced("learning_rate=1e-4..1:log")
    told: list[tuple[Mapping[str, Any], float]] = []
    distances = []
    for seed in range(30):
        point = tune.propose(space, told, seed)
        distance = abs(math.log10(float(point["learning_rate"])) + 3)  # lowest at 10^-3
        distances.append(distance)
        told.append((point, math.inf if distance > 2 else 2 + distance**2))
    assert np.mean(distances[-10:]) < 0.5 * np.mean(distances[:10])


def a_tuning(spec: ModelSpec, space: str, **kwargs: Any) -> tune.Tuning:
    """A search that is asked for its trials, and runs none."""
    choice = Choice(spec, "numpy", spec.config)
    made = plan.plan("uniform", data="names", in_process=True)
    return tune.Tuning(made, choice, parse(space, choice, set()), **kwargs)


def asked(tuning: tune.Tuning, score: Any, most: int = 100) -> list[Record]:
    """The trials of a search whose dev NLLs are a function of the configuration."""
    records: list[Record] = []
    while (cell := tuning.following(records)) is not None and len(records) < most:
        records.append(record(cell.index, score(cell.choice.config), **cell.choice.config))
    return records


def test_the_model_s_own_values_are_the_first_trial() -> None:
    """Where the space holds them: what is to be beaten."""
    inside = asked(a_tuning(SPEC, "hidden=50..200", trials=2), lambda config: 2.0)
    outside = asked(a_tuning(SPEC, "hidden=150..200", trials=2), lambda config: 2.0)
    assert inside[0].config["hidden"] == 100
    assert outside[0].config["hidden"] >= 150


def test_no_point_is_tried_twice_and_an_exhausted_space_ends() -> None:
    """A space of six points gives each once, then says so."""
    tuning = a_tuning(SPEC, "depth=1/2/4,bias=yes/no", trials=20)
    points = [(r.config["depth"], r.config["bias"]) for r in asked(tuning, lambda config: config["depth"])]
    assert sorted(points) == [(d, b) for d in (1, 2, 4) for b in (False, True)]
    assert tuning.ended == "the space holds no other legal configuration"


def test_members_follow_the_point() -> None:
    """A mixture whose members are varied holds those of its trial; one that is unknown is named at once."""

    def searched_mixture(space: str) -> tune.Tuning:
        made = plan.plan("mixture", data="names", in_process=True)
        return tune.prepare(made, "mixture", space, trials=2)

    tuning = searched_mixture("of=ngram+count-bigram/ngram+nn-bigram")
    choice = tuning.choice({"of": "ngram+nn-bigram"})
    assert [member.spec.name for member in choice.members] == ["ngram", "nn-bigram"]
    with pytest.raises(UsageError, match="no-such-model"):
        searched_mixture("of=ngram+count-bigram/ngram+no-such-model")


def test_what_the_spec_forbids_is_not_proposed() -> None:
    """`check` is asked before a trial begins."""

    def odd(config: Mapping[str, Any]) -> str | None:
        return "hidden must be even" if config["hidden"] % 2 else None

    spec = ModelSpec("toy", {"numpy": "nowhere:Toy"}, config=SPEC.config, check=odd)
    records = asked(a_tuning(spec, "hidden=1..99", trials=8), lambda config: config["hidden"])
    assert [r.config["hidden"] % 2 for r in records] == [0] * 8


def test_the_time_of_a_search_counts_what_is_on_record() -> None:
    """10 s: a trial of 6 s on record leaves 4, whoever ran it."""
    now = [100.0]
    tuning = a_tuning(SPEC, "hidden=1..999", trials=9, seconds=10, clock=lambda: now[0])
    before = record(0, 2.0, hidden=7)
    before.timings.train_s, before.timings.evaluate_s = 5.0, 1.0
    assert tuning.following([before]) is not None
    now[0] += 3.9
    assert tuning.following([before]) is not None
    now[0] += 0.2
    assert tuning.following([before]) is None
    assert tuning.ended == "10 s are over"


def test_what_cannot_run_here_is_not_tried_again() -> None:
    """A skipped trial ends the search; a broken one does not."""
    tuning = a_tuning(SPEC, "hidden=1..999", trials=9)
    assert tuning.following([record(0, None, "skipped", hidden=7)]) is None
    assert tuning.following([record(0, None, "failed", hidden=7)]) is not None


def test_a_lost_trial_is_done_again() -> None:
    """Where a damaged line left a gap, its number is the next."""
    cell = a_tuning(SPEC, "hidden=1..999", trials=9).following([record(0, 2.0), record(2, 2.0)])
    assert cell is not None
    assert cell.index == 1


# ---- the end


def test_places_are_paired_with_the_best() -> None:
    """Best first; behind it by the paired difference; a tie is what Holm does not tell apart."""
    rng = np.random.default_rng(0)
    lengths = np.full(200, 5)
    best = rng.uniform(9, 11, 200)
    sums = {2: best, 0: best + rng.normal(0.0, 0.5, 200) + 0.01, 1: best + 1.0 + rng.normal(0, 0.1, 200)}
    records = [record(i, float(sums[i].sum() / 1000)) for i in range(3)] + [record(3, None, "failed")]
    arrays = {
        i: {"dev_sums": s, "dev_lengths": lengths, "dev_units": np.arange(200)} for i, s in sums.items()
    }
    places = tune.places(records, lambda r: arrays[r.cell])
    order = sorted(range(3), key=lambda i: sums[i].sum())
    assert [place.record.cell for place in places] == order
    assert [place.tied for place in places] == [True, True, False]
    far = places[2].behind
    assert far is not None
    assert far.nats == pytest.approx((sums[1].sum() - sums[order[0]].sum()) / 1000)
    assert far.half == pytest.approx(statistics.paired(sums[1], sums[order[0]], lengths).half)


# ---- on the line: every trial is a cell

LINE_PLUGIN = """
import numpy as np
from harness import Diverged, Model, ModelSpec, hookimpl

class Bump(Model):
    \"\"\"Unigram counts sharpened by a power: the best is near 1. Writes down what it is asked.\"\"\"

    def fit(self, train, dev, trial):
        if self.config["power"] > 3:
            raise Diverged("too steep")
        if self.config["mood"] == "bad":
            raise RuntimeError("no luck")
        counts = np.bincount(train.tokens[1:], minlength=self.vocab_size) + 1.0
        noise = 1 + 0.01 * self.rng.random(self.vocab_size)
        powered = (counts * noise) ** self.config["power"]
        self.params["rows"] = np.log(powered / powered.sum())

    def log_probs(self, inputs):
        with open("asked.txt", "a") as file:
            file.writelines(" ".join(map(str, row)) + "\\n" for row in inputs.tolist())
        return np.broadcast_to(self.params["rows"], (*inputs.shape, self.vocab_size)).copy()

@hookimpl
def harness_models():
    config = {"power": 0.5, "mood": "good"}
    return ModelSpec("bump", {"numpy": Bump}, config=config, words={"mood": ("good", "bad")}, context=0)
"""


@pytest.fixture
def bump(monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of a plugin with one model; it is loaded at once, test_registry has the guard."""
    from harness import registry

    monkeypatch.setattr(registry, "probe", lambda path: None)
    Path("bump.py").write_text(LINE_PLUGIN)
    return "bump.py"


def searched(bump: str, space: str = "power=0.1..2", trials: int = 5, seed: int = 0) -> plan.Plan:
    """A plan to search the model of the plugin."""
    made = plan.plan("bump", plugins=[bump], data="names", in_process=True)
    tune.prepare(made, "bump", space, trials=trials, seed=seed)
    return made


def configs(records: Sequence[Record]) -> list[dict[str, Any]]:
    """What was tried, in order."""
    return [r.config for r in records]


def test_no_trial_sees_test(bump: str) -> None:
    """Test is in no part, no record and no question to the model; a look at it is not counted."""
    parts = plan.plan("uniform", data="names").split_for
    whole = parts(plan.plan("uniform", data="names").cells[0].choice)
    made = searched(bump, trials=2)
    run = runner.execute(made, Path("results/a.jsonl"))
    assert made.split_for(made.cells[0].choice).test.corpus.targets == 0
    for r in run.records:
        assert r.metrics.dev_nll is not None
        assert r.metrics.test_nll is None
        assert r.absent["test_nll"] == r.absent["train_nll"] == "tune: dev chooses"
        assert "test" not in r.metrics.zero_probability
        assert r.data.split_fingerprint == whole.fingerprint
        arrays = run.scores(r)
        assert arrays is not None
        assert not [name for name in arrays if "test" in name]
    assert store.looks([run], whole.fingerprint) == 0
    dev = whole.dev.corpus
    known = {
        tuple(dev.tokens[start : start + k].tolist())
        for start, length in zip(dev.offsets[:-1].tolist(), dev.lengths.tolist(), strict=True)
        for k in range(1, length + 1)
    }  # what is asked blindly of dev: every prefix of every document
    lines = Path("asked.txt").read_text().splitlines()
    asked_for = {tuple(map(int, line.split())) for line in lines}
    asked_for = {row[:1] + tuple(c for c in row[1:] if c) for row in asked_for}  # without right padding
    single = {row for row in asked_for if len(row) == 1}  # the last character alone: `disagreement`
    assert asked_for - single <= known
    assert known <= asked_for


class Stops(runner.Watcher):
    """Ctrl-C after so many trials."""

    def __init__(self, after: int) -> None:
        self.after = after

    def finished(self, cell: plan.Cell, record: Record) -> None:
        self.after -= 1
        if self.after == 0:
            raise KeyboardInterrupt


def test_an_interrupted_search_is_continued_as_if_nothing_had_happened(bump: str) -> None:
    """The same command, also with more trials, goes on in the same file with the same proposals."""
    straight = runner.execute(searched(bump, trials=14), Path("straight/a.jsonl"))
    with pytest.raises(KeyboardInterrupt):
        runner.execute(searched(bump, trials=12), Path("broken/a.jsonl"), Stops(3))
    assert not store.read(Path("broken/a.jsonl")).closed
    with pytest.raises(KeyboardInterrupt):
        runner.execute(searched(bump, trials=12), Path("broken/b.jsonl"), Stops(8))
    done = runner.execute(searched(bump, trials=14), Path("broken/c.jsonl"))
    assert done.path.name == "a.jsonl"
    assert done.closed
    assert configs(done.records) == configs(straight.records)
    assert [r.metrics for r in done.records] == [r.metrics for r in straight.records]


def test_another_search_is_another_file(bump: str) -> None:
    """A search with another space or seed does not continue an open one."""
    with pytest.raises(KeyboardInterrupt):
        runner.execute(searched(bump), Path("r/a.jsonl"), Stops(1))
    assert runner.execute(searched(bump, "power=0.1..1.9", 2), Path("r/b.jsonl")).path.name == "b.jsonl"
    assert runner.execute(searched(bump, trials=2, seed=1), Path("r/c.jsonl")).path.name == "c.jsonl"


# ---- the learning-rate range test


def curve_of(nll: Any, rates: Any = None) -> lr_range.Curve:
    """The curve of a sweep with these dev NLLs; None is a fit that diverged."""
    rates = np.geomspace(1e-3, 1, len(nll)) if rates is None else rates
    pairs = enumerate(zip(rates, nll, strict=True))
    records = [
        record(i, value, "ok" if value else "diverged", learning_rate=float(rate))
        for i, (rate, value) in pairs
    ]
    return lr_range.read(records[::-1], 27)


def test_minimum_and_steepest_descent_of_a_known_curve() -> None:
    """Of 2 + (log10 r + 1)⁴/8 − …: a well with its bottom at 0.1 and its steepest wall at 0.01."""
    rates = np.geomspace(1e-3, 1, 31)
    depth = 1 / (1 + np.exp(6 * (np.log10(rates) + 2)))  # falls fastest at 10^-2
    rise = np.maximum(0, np.log10(rates) + 1) ** 2  # from 10^-1 on
    curve = curve_of((2 + depth + rise).tolist(), rates)
    assert curve.rates[curve.minimum] == pytest.approx(0.1, rel=0.3)
    assert curve.steepest is not None
    assert curve.rates[curve.steepest] == pytest.approx(0.01, rel=0.01)
    assert curve.at_edge is None


def test_few_rates_are_not_smoothed_away() -> None:
    """Three quarters of a decade apart each point speaks for itself, also beside an end."""
    curve = curve_of([3.0, 2.8, 2.64, 2.48, 2.52])
    assert curve.minimum == 3
    assert curve.smooth.tolist() == pytest.approx(curve.nll.tolist(), abs=1e-6)


def test_diverged_and_huge_losses_stand_at_the_ceiling() -> None:
    """They are neither errors nor do they flatten the rest; the ceiling is a tenth over ln V."""
    curve = curve_of([3.2, 3.0, 2.5, 2.2, 2.4, 50.0, None])
    assert curve.ceiling == pytest.approx(1.1 * math.log(27))
    assert curve.smooth.tolist()[-1] == pytest.approx(curve.ceiling)
    assert np.isinf(curve.nll).tolist() == [False] * 6 + [True]
    assert curve.minimum == 3


def test_a_curve_that_only_rises_says_so() -> None:
    """No steepest descent, and the minimum is at the lowest rate."""
    curve = curve_of([2.0, 2.1, 2.3, 2.6, 3.0])
    assert curve.steepest is None
    assert curve.at_edge == "lowest"


def test_the_range_is_the_lecture_s_for_its_rate() -> None:
    """Part 2 looks from 10^-3 to 10^0 and settles at 0.1."""
    axis = lr_range.whole_range(0.1)
    assert (axis.low, axis.high, axis.log) == (0.001, 1.0, True)


def prepared(model: str = "mlp", space: str | None = None, trials: int = 7, **options: Any) -> lr_range.Sweep:
    """A sweep over a built-in model."""
    made = plan.plan(model, data="names", in_process=True, **options)
    return lr_range.prepare(made, model, space, trials=trials)


def test_the_rates_differ_in_nothing_else() -> None:
    """One seed, a constant schedule where there is one, a twentieth of the steps; evenly on a log scale."""
    sweep = prepared(space="learning_rate=1e-3..1:log")
    cells = [sweep.cell(i, {"learning_rate": rate}) for i, rate in enumerate(sweep.rates)]
    assert list(sweep.rates) == [0.001, 0.00316, 0.01, 0.0316, 0.1, 0.316, 1.0]
    assert len({cell.seed for cell in cells}) == 1
    assert {cell.choice.config["schedule"] for cell in cells} == {"constant"}
    steps = selection.choose(sweep.made.registry, ["mlp"])[0].config["steps"]
    assert sweep.made.budget.steps == min(1000, max(20, steps // 20))


@pytest.mark.parametrize(
    ("model", "space", "said"),
    [
        ("ngram", None, "trains by steps"),
        ("mlp", "hidden=1..9", "varies the rate alone"),
        ("mlp", "learning_rate=0..1", "varies the rate alone"),
        ("mlp", "learning_rate=0.1/0.2", "varies the rate alone"),
    ],
)
def test_a_sweep_is_over_the_learning_rate(model: str, space: str | None, said: str) -> None:
    """Of a model that has one; nothing else is varied."""
    with pytest.raises(UsageError, match=said):
        prepared(model, space)


def test_the_picture_is_svg_that_says_what_it_shows() -> None:
    """It parses, has a dot a fit, a cross a diverged one, axis labels, both marks, and escapes its texts."""
    curve = curve_of([3.2, 3.1, 2.5, 2.2, 2.4, 50.0, None])
    drawn = picture.draw(curve, "a<b & \x1b", "data", "dev NLL")
    root = ElementTree.fromstring(drawn)
    space = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in root.iter(f"{space}text")]
    assert texts[0] == "a<b & \\x1b"
    assert {"learning rate (log scale)", "dev NLL", "minimum 0.0316", "steepest descent 0.01"} <= set(texts)
    assert "hollow: above the scale, ×: diverged" in texts
    circles = list(root.iter(f"{space}circle"))
    assert [circle.get("fill") for circle in circles].count("#ffffff") == 1  # above the scale
    assert len(circles) == 6
    assert drawn.count("l10 10m0 -10l-10 10") == 1
    heights = [float(circle.get("cy", "0")) for circle in circles]
    assert min(range(6), key=lambda i: -heights[i]) == 3  # the lowest loss is drawn lowest


@pytest.mark.parametrize(("low", "high"), [(1e-3, 1.0), (5e-6, 5.0), (0.013, 0.9)])
def test_ticks_lie_in_the_picture(low: float, high: float) -> None:
    """At least two decades' marks, all inside; levels are round numbers inside."""
    rates = [rate for rate, _ in picture.ticks_of_decades(low, high)]
    assert len(rates) >= 2
    assert low * 0.999 <= min(rates) <= max(rates) <= high * 1.001
    assert picture.ticks(2.13, 3.61) == [2.5, 3.0, 3.5]
