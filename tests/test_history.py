"""A metric over runs: what makes a series, what breaks it, where its level changes, how it is shown."""

from __future__ import annotations

import csv
import importlib.util
import io
import itertools
import json
import math
import random
import re
import shlex
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec
import pytest
from runs import ENVIRONMENT, data, failed, record, run, write

from harness import changes, history, store
from harness.cli import main
from harness.errors import UnknownName, UsageError
from harness.history import History, Point, Series
from harness.history_picture import draw
from harness.metrics import METRICS, metric
from harness.record import DocumentStatistics, Metrics, Plugin, SampleStatistics, Target, Throughput, Timings
from harness.store import Run

ROOT = Path(__file__).parents[1]
SIMULATION = ROOT / "tests" / "simulations" / "changes.py"
NLL = metric("test_nll")
HOSTILE = "\x1b[31m</text><script>alert(1)</script>\u202e=cmd|x"


def values(found: History | Series) -> list[float | None]:
    """The values of the one series."""
    series = found if isinstance(found, Series) else found.series[0]
    return [point.value for point in series.points]


def statuses(found: History) -> list[str]:
    """The statuses of the one series."""
    return [point.status for point in found.series[0].points]


def names(found: History) -> list[str]:
    """The series' names."""
    return [series.name for series in found.series]


def level_at(*places: int) -> Any:
    """A finder that says these places, whatever it is given."""
    return lambda values: [place for place in places if place < len(values)]


# ---- metrics


def test_every_number_of_a_record_is_a_metric() -> None:
    """Each number in metrics, timings, throughput, target and samples has a key that reads just it."""

    def filled(struct: type[msgspec.Struct], start: int) -> Any:
        kinds = {f.name: f.type for f in msgspec.structs.fields(struct)}
        numbers = [name for name, kind in kinds.items() if kind in (float, int, float | None, int | None)]
        return struct(**{name: start + i for i, name in enumerate(numbers)})

    drawn = filled(DocumentStatistics, 300)
    one = record(
        metrics=filled(Metrics, 0),
        timings=filled(Timings, 100),
        throughput=filled(Throughput, 200),
        parameters=400,
        peak_rss_bytes=500,
        target=Target(nll=2.0, seconds=600.0),
        sample_statistics=SampleStatistics(max_length=20, drawn=drawn),
    )
    one.metrics.zero_probability = {"train": 701, "dev": 702, "test": 703}
    sources = [one.metrics, one.timings, one.throughput, drawn]
    expected = {
        value
        for source in sources
        for value in msgspec.to_builtins(source).values()
        if type(value) in (int, float)
    }
    read = [each.read(one) for each in METRICS.values()]
    assert sorted(read) == sorted(expected | {400, 500, 600.0, 701, 702, 703})  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("key", "better", "machine"),
    [
        ("test_nll", "lower", False),
        ("eval_chars_per_s", "higher", True),
        ("train_s", "lower", True),
        ("peak_rss_bytes", "lower", True),
        ("parameters", None, False),
        ("test_nll_half", None, False),
    ],
)
def test_a_metric_knows_which_way_is_better(key: str, better: str | None, machine: bool) -> None:
    """Losses and times should be small, rates large; what has no better side says so."""
    assert (metric(key).better, metric(key).machine) == (better, machine)


def test_an_unknown_metric_names_the_nearest() -> None:
    """And dashes are as good as underscores."""
    with pytest.raises(UnknownName, match="did you mean 'test_nll'"):
        metric("tset_nll")
    assert metric("train-s") is metric("train_s")


@pytest.mark.parametrize(
    ("key", "before", "after", "said"),
    [
        ("test_nll", 2.5, 2.4875, "-.0125"),
        ("train_s", 2.0, 2.5, "+25.0 %"),
        ("train_s", 0.0, 2.5, "+2.50"),
        ("parameters", 1000.0, 1250.0, "+250"),
        ("benchmark_s", 1.0e-5, 1.2e-5, "+20.0 %"),
    ],
)
def test_a_difference_is_in_its_unit_or_in_percent(key: str, before: float, after: float, said: str) -> None:
    """What hangs on the machine in percent; all else as it is."""
    assert metric(key).difference(before, after) == said


# ---- points


def test_points_stand_in_the_order_of_time() -> None:
    """Not of their files, and each has its commit; one a run."""
    runs = [run(3, record(test_nll=2.3)), run(1, record(test_nll=2.1)), run(2, record(test_nll=2.2))]
    found = history.follow(runs, NLL)
    assert values(found) == [2.1, 2.2, 2.3]
    assert [point.commit for point in found.series[0].points] == [f"{day:012x}" for day in (1, 2, 3)]
    assert [header.run_id for header in found.runs] == [runs[i].header.run_id for i in (1, 2, 0)]


def test_a_point_is_the_mean_over_seeds() -> None:
    """Of those that are ok; it says how many are."""
    seeds = [record(test_nll=nll, repeat=i) for i, nll in enumerate((2.0, 2.5))]
    found = history.follow([run(1, *seeds), run(2, *seeds, failed(repeat=2))], NLL)
    assert values(found) == [fmean((2.0, 2.5))] * 2
    assert statuses(found) == ["ok", "2/3 ok"]


def test_what_has_no_value_is_a_gap_with_its_status() -> None:
    """Failed, p = 0, not measured: no zeros, and the reason with each."""
    infinite = record(metrics=Metrics(zero_probability={"test": 2}))
    unmeasured = record(metrics=Metrics(), absent={"test_nll": "no test part"})
    runs = [run(1, record()), run(2, failed()), run(3, infinite), run(4, unmeasured)]
    found = history.follow(runs, NLL)
    assert values(found) == [2.5, None, None, None]
    assert statuses(found) == ["ok", "timeout", "p = 0", "not measured"]
    reasons = [point.reason for point in found.series[0].points]
    assert reasons == [None, "fit took longer than 5 s", None, "no test part"]


def test_one_seed_without_a_value_is_no_mean_of_the_others() -> None:
    """A mean over the rest would be of other seeds than the run before."""
    seeds = [record(test_nll=2.5), record(repeat=1, metrics=Metrics(zero_probability={"test": 1}))]
    found = history.follow([run(1, record()), run(2, *seeds)], NLL)
    assert (values(found), statuses(found)) == ([2.5, None], ["ok", "p = 0"])


def test_what_is_selected_differently_is_another_series() -> None:
    """Model, backend, options and budget."""
    cells = [
        record(),
        record(backend="torch"),
        record(options={"context": 8}, config={"context": 8}),
        record(budget="10s"),
        record("gru"),
    ]
    found = history.follow([run(1, *cells)], NLL)
    assert names(found) == [
        "mlp@numpy",
        "mlp@torch",
        "mlp@numpy:context=8",
        "mlp@numpy, budget 10s",
        "gru@numpy",
    ]


def test_searches_are_left_out() -> None:
    """Their trials were chosen by one another."""
    runs = [run(1, record()), run(2, record(test_nll=1.0), search="hidden=1..9")]
    assert values(history.follow(runs, NLL)) == [2.5]


# ---- breaks


@pytest.mark.parametrize(
    ("key", "changed", "breaks"),
    [
        ("test_nll", {"data": data(dataset_sha256="11" * 32, split_fingerprint="22" * 32)}, ("data",)),
        ("test_nll", {"data": data(split_fingerprint="22" * 32)}, ("split",)),
        ("test_nll", {"environment": ENVIRONMENT | {"cpu": "another"}}, ()),
        ("train_s", {"environment": ENVIRONMENT | {"cpu": "another"}}, ("machine",)),
        ("train_s", {"environment": ENVIRONMENT | {"threads": 1}}, ("machine",)),
        ("train_s", {"environment": ENVIRONMENT | {"python": "3.12.0"}}, ()),
        ("peak_rss_bytes", {"environment": ENVIRONMENT | {"affinity": 8}}, ("machine",)),
    ],
)
def test_a_line_is_broken_where_values_cannot_be_compared(
    key: str, changed: dict[str, Any], breaks: tuple[str, ...]
) -> None:
    """Other data or another split; another machine for what hangs on it."""
    runs = [run(1, record()), run(2, record(**changed)), run(3, record(**changed))]
    points = history.follow(runs, metric(key)).series[0].points
    assert [point.breaks for point in points] == [(), breaks, ()]


def test_another_contract_breaks_the_line() -> None:
    """Its version stands in the header."""
    runs = [run(1, record()), run(2, record(), contract="harness.contract/2")]
    assert history.follow(runs, NLL).series[0].points[1].breaks == ("contract",)


def test_other_code_and_other_defaults_are_shown_and_break_nothing() -> None:
    """That is what a history is kept for; a hash that is not on record says nothing."""

    def by(code: str | None) -> Plugin:
        return Plugin(distribution="d", version="1", code_hash=code)

    cells = [
        record(plugin=by("a"), config={"hidden": 1}),
        record(plugin=by("b"), config={"hidden": 1}),
        record(plugin=by("b"), config={"hidden": 2}),
        record(plugin=by(None), config={"hidden": 2}),
    ]
    points = history.follow([run(i + 1, cell) for i, cell in enumerate(cells)], NLL).series[0].points
    assert [point.changed for point in points] == [(), ("code",), ("configuration",), ()]
    assert all(not point.breaks for point in points)


def test_levels_are_looked_for_between_breaks_and_without_gaps() -> None:
    """The finder is given what may be compared, and its places are those of the points."""
    new = data(dataset_sha256="11" * 32)
    cells = [
        record(test_nll=1.0),
        failed(),
        record(test_nll=2.0),
        record(test_nll=3.0, data=new),
        failed(data=new),
        record(test_nll=4.0, data=new),
    ]
    given: list[Sequence[float]] = []

    def find(values: Sequence[float]) -> list[int]:
        given.append(list(values))
        return [1]

    found = history.follow([run(i + 1, c) for i, c in enumerate(cells)], NLL, find=find)
    assert given == [[1.0, 2.0], [3.0, 4.0]]
    assert [point.level for point in found.series[0].points] == [False, False, True, False, False, True]
    assert found.series[0].levels() == [[0], [2], [3], [5]]
    assert [(old, new) for _, old, new in found.series[0].moves()] == [(1.0, 2.0), (3.0, 4.0)]


# ---- what is asked for


def test_the_newest_data_with_the_metric_is_the_default() -> None:
    """The others are counted; --dataset and --split choose."""
    runs = [
        run(1, record(dataset="text", split="contiguous")),
        run(2, record(), record(split="lecture")),
        run(3, record(split="lecture", test_nll=2.7)),
        run(4, failed(dataset="text", split="contiguous")),
    ]
    found = history.follow(runs, NLL)
    assert (found.dataset, found.split, values(found)) == ("names", "lecture", [2.5, 2.7])
    assert found.left_out == (("names", "grouped:seed=0", 1), ("text", "contiguous", 1))
    assert values(history.follow(runs, NLL, dataset="text")) == [2.5, None]
    assert values(history.follow(runs, NLL, split="grouped:seed=0")) == [2.5]
    with pytest.raises(
        UsageError, match="no run holds test_nll on dataset 'x'; on record: text / contiguous"
    ):
        history.follow(runs, NLL, dataset="x")


MODELS = [
    record(),
    record(backend="torch"),
    record(options={"context": 8}, config={"context": 8, "rate": 0.1}),
    record(options={"preset": "paper"}, config={"context": 5, "rate": 0.1}),
    record("gru"),
]


@pytest.mark.parametrize(
    ("chosen", "cells"),
    [
        ([], [0, 1, 2, 3, 4]),
        (["all"], [0, 1, 2, 3, 4]),
        (["mlp"], [0, 1, 2, 3]),
        (["mlp@torch"], [1]),
        (["*@torch"], [1]),
        (["mlp@*:context=5/8,gru"], [2, 3, 4]),
        (["mlp:context=8,rate=0.1"], [2]),
        (["mlp:preset=paper", "gru"], [3, 4]),
        (["mlp@numpy:context=8"], [2]),
    ],
)
def test_models_are_chosen_by_what_they_have(chosen: list[str], cells: list[int]) -> None:
    """An item says what a model must have, in the words of --models."""
    found = history.follow([run(1, *MODELS)], NLL, chosen)
    assert names(found) == [history.name_of(MODELS[cell]) for cell in cells]


def test_a_model_that_is_not_on_record_names_the_nearest() -> None:
    """Of the series there are."""
    with pytest.raises(UnknownName, match="unknown model 'grv' on record; did you mean 'gru'"):
        history.follow([run(1, record("gru"))], NLL, ["grv"])
    with pytest.raises(UnknownName, match=r"known: gru, gru@numpy$"):  # names that --models can say
        history.follow([run(1, record("gru", budget="10s"))], NLL, ["nothing"])


@pytest.mark.parametrize(
    ("since", "days"),
    [
        ("2026-11-03", [3, 4]),
        ("2026-11-03T12:00:00+00:00", [3, 4]),
        ("2026-11-03T12:00:00-05:00", [4]),
        ("000000000002", [2, 3, 4]),
        ("0000000000", [1, 2, 3, 4]),
    ],
)
def test_a_history_begins_at_a_date_or_a_commit(since: str, days: list[int]) -> None:
    """A date names its own zone or UTC; of a commit the first run counts."""
    runs = [run(day, record()) for day in (1, 2, 3, 4)]
    found = history.follow(runs, NLL, since=since)
    assert [int(point.created[8:10]) for point in found.series[0].points] == days


@pytest.mark.parametrize("since", ["yesterday", "abc", "fffffff"])
def test_a_beginning_that_is_neither_is_a_mistake(since: str) -> None:
    """The message says what would do."""
    with pytest.raises(UsageError, match="neither a date"):
        history.follow([run(1, record())], NLL, since=since)


def test_a_foreign_file_without_a_date_comes_first() -> None:
    """It harms no other."""
    runs = [run(2, record(test_nll=2.2)), run(1, record(test_nll=2.1), created="long ago")]
    assert values(history.follow(runs, NLL)) == [2.1, 2.2]


# ---- change points


def cost(values: Sequence[float], ends: Sequence[int], penalty: float) -> float:
    """Squares around the means of the pieces, and a penalty for each change."""
    pieces = [values[a:b] for a, b in itertools.pairwise([0, *ends, len(values)])]
    return sum(sum((x - fmean(piece)) ** 2 for x in piece) for piece in pieces) + penalty * len(ends)


@pytest.mark.parametrize("seed", range(6))
def test_change_points_are_the_best_of_all_partitions(seed: int) -> None:
    """Against every way to cut ten points into levels of two and more."""
    pytest.importorskip("ruptures")
    rng = random.Random(seed)
    noisy = [100 + rng.gauss(0, 1) + (8 if i >= 3 + seed % 4 else 0) for i in range(10)]
    scale = changes.spread(noisy)
    smooth = [x / scale for x in changes.pulled(noisy, changes.APART * scale)]
    penalty = changes.PENALTY * math.log(changes.FEW)
    every = (ends for k in range(5) for ends in itertools.combinations(range(2, 9), k))
    legal = [ends for ends in every if all(b - a >= 2 for a, b in itertools.pairwise(ends))]
    best = min(legal, key=lambda ends: cost(smooth, ends, penalty))
    assert changes.change_points(noisy) == list(best)


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ([], []),
        ([2.3], []),
        ([2.3, 2.4], []),
        ([2.3] * 6, []),
        ([0.0] * 6, []),
        ([2.3] * 5 + [2.301], [5]),  # at once: a deterministic model does not move by itself
        ([2.3] * 3 + [2.4] * 2 + [2.3] * 3, [3, 5]),
        ([2.3] * 5 + [2.3 + 1e-8], []),  # what float32 moves
        ([1.0, 2.0, 3.0, 1.0, 5.0, 2.0, 4.0], []),  # too few to know their noise
        ([10.0, 10.1, 9.9, 10.2, 30.0, 10.0, 9.9, 10.1, 10.0, 9.8], []),  # one slow run
    ],
)
def test_change_points_of_plain_cases(values: list[float], places: list[int]) -> None:
    """A still series changes where it moves; a noisy one needs points and two of a level."""
    pytest.importorskip("ruptures")
    assert changes.change_points(values) == places


# ---- the command


@pytest.fixture
def stored() -> list[Run]:
    """Nine runs on file: mlp gets worse at the seventh, gru fails in the fourth and last, p = 0 once."""
    made = []
    for day in range(1, 10):
        gru = failed("gru") if day in (4, 9) else record("gru", test_nll=2.4)
        if day == 6:
            gru = record("gru", metrics=Metrics(zero_probability={"test": 1}))
        new = {"data": data(split_fingerprint="ee" * 32)} if day >= 3 else {}
        for each in (mlp := record(test_nll=2.5 + 0.0125 * (day >= 7), **new), gru):
            each.data = mlp.data
        made.append(run(day, mlp, gru))
        write(made[-1])
    return made


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `harness history` prints."""
    assert main(["history", *arguments]) == 0
    return capsys.readouterr().out


def test_the_table_shows_gaps_breaks_and_levels(
    stored: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    """A sparkline a model, its latest value, how far it moved, since when; below, what happened."""
    pytest.importorskip("ruptures")
    out = told(capsys, "test_nll")
    lines = out.splitlines()
    assert lines[0] == (
        "test_nll (nats per character), names, split grouped:seed=0: 9 runs, 2026-11-01 to 2026-11-09"
    )
    rows = {line.split()[0]: line.split()[1:] for line in lines if "@numpy " in line and ":" not in line}
    assert rows["mlp@numpy"] == [*["▁▁|▁▁▁▁███", "9/9", "2.5125", "+.0000", "000000000007", "(2026-11-07)"]]
    assert rows["gru@numpy"] == [*["▁▁|▁×▁∞▁▁×", "6/9", "timeout", "+.0000", "000000000003", "(2026-11-03)"]]
    assert "All models: not comparable across 000000000003 (2026-11-03): other split." in lines
    assert "mlp@numpy: new level at 000000000007 (2026-11-07): 2.5000 → 2.5125 (+.0125)." in lines
    assert "gru@numpy: timeout at 000000000009 (2026-11-09): fit took longer than 5 s." in lines


def test_of_one_model_the_points_follow(stored: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    """A row a run."""
    lines = told(capsys, "test_nll", "--models", "gru").splitlines()
    rows = [line.split() for line in lines if line.startswith("2026-11-")]
    assert [row[4] for row in rows] == ["2.4000"] * 3 + ["–", "2.4000", "–"] + ["2.4000"] * 2 + ["–"]
    assert rows[2][-2:] == ["broken:", "split"]


def test_csv_and_json_hold_every_point(stored: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    """To the last bit, with what broke and what changed."""
    pytest.importorskip("ruptures")
    rows = list(csv.DictReader(io.StringIO(told(capsys, "test_nll", "--format", "csv"))))
    found = json.loads(told(capsys, "test_nll", "--json"))
    points = [point for series in found["series"] for point in series["points"]]
    assert [row["value"] for row in rows] == ["" if p["value"] is None else str(p["value"]) for p in points]
    assert len(rows) == 18
    assert [row["run"] for row in rows if row["new_level"] == "1"] == [stored[6].header.run_id]
    assert [point["breaks"] for point in points if point["breaks"]] == [["split"]] * 2
    level = {"run": stored[6].header.run_id, "before": 2.5, "after": 2.5125}
    assert [series["levels"] for series in found["series"]] == [[level], []]


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_documents_hold_the_same_figures(
    stored: list[Run], capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """The rows and the notes."""
    out = told(capsys, "test_nll", "--format", form)
    assert "2.5125" in out
    assert "timeout at 000000000009" in out


def test_without_ruptures_a_line_says_so(
    stored: list[Run], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The history is shown all the same, without new levels."""
    monkeypatch.setattr(changes, "finder", lambda: None)
    assert main(["history", "test_nll"]) == 0
    shown = capsys.readouterr()
    assert "nextchar-harness[stats]" in shown.err
    assert shown.err.count("\n") == 1
    assert "2.5125" in shown.out
    assert "new level" not in shown.out.lower().replace("new levels were not looked for", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tset_nll"], "did you mean 'test_nll'"),
        (["test_nll", "--models", "mlq"], "did you mean 'mlp'"),
        (["test_nll", "--since", "soon"], "neither a date"),
        (["test_nll", "--results", "nowhere"], "no runs in nowhere"),
        (["excess"], "no run holds excess; on record: names / grouped:seed=0"),
    ],
)
def test_a_mistake_is_one_line(
    stored: list[Run], capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """With exit code 2 and the way out."""
    assert main(["history", *arguments]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "change points" not in line]
    assert said in line


def test_hostile_names_are_made_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    """In the table, in CSV, in the picture."""
    for day in (1, 2):
        write(run(day, record(HOSTILE, dataset=HOSTILE), dataset=HOSTILE))
    assert "\x1b" not in (out := told(capsys, "test_nll", "--svg", "a.svg"))
    assert "\u202e" not in out
    assert "<script" not in Path("a.svg").read_text()
    ElementTree.parse("a.svg")


# ---- the picture


def drawn(found: History) -> list[ElementTree.Element]:
    """The elements of its picture."""
    return list(ElementTree.fromstring(draw(found, "title", "subtitle")).iter())


def texts(found: History) -> list[str]:
    """What is written in it."""
    return [element.text or "" for element in drawn(found) if element.tag.endswith("}text")]


def lines(found: History, colour: str = "#0b62c4") -> list[str]:
    """The dashes of its straight lines of a colour (of the series)."""
    paths = [e for e in drawn(found) if e.tag.endswith("}path") and e.get("stroke") == colour]
    return [path.get("stroke-dasharray", "") for path in paths]


def test_the_picture_has_a_dot_a_value_and_a_sign_a_gap() -> None:
    """× where a cell failed, ∞ where p = 0; no line goes through either."""
    infinite = record(metrics=Metrics(zero_probability={"test": 2}))
    found = history.follow(
        [run(i + 1, c) for i, c in enumerate([record(), record(), failed(), infinite])], NLL
    )
    dots = [e for e in drawn(found) if e.tag.endswith("}circle")]
    assert len(dots) == 2
    assert [text for text in texts(found) if text in "×∞"] == ["×", "∞"]
    assert lines(found) == [""]


def test_the_line_is_broken_or_dashed() -> None:
    """Broken, with its reason, where data changed; dashed where code did."""
    new = data(dataset_sha256="11" * 32)
    other = Plugin(distribution="d", version="1", code_hash="other")
    cells = [record(), record(data=new), record(data=new, plugin=other), record(data=new, plugin=other)]
    found = history.follow([run(i + 1, c) for i, c in enumerate(cells)], NLL)
    assert lines(found) == ["4 4", ""]
    assert "data" in texts(found)


def test_a_new_level_stands_in_the_picture() -> None:
    """A rule with the difference, and the means of both levels."""
    runs = [run(i + 1, record(test_nll=nll)) for i, nll in enumerate([2.5, 2.5, 2.75, 2.75])]
    found = history.follow(runs, NLL, find=level_at(2))
    assert "+.2500" in texts(found)
    assert sorted(lines(found, "#b35900")) == ["", "", "2 3"]


@pytest.mark.parametrize("count", [1, 2, 300])
def test_everything_stands_inside_the_picture(count: int) -> None:
    """Of one run, and of very many; commits do not overlap."""
    runs = [
        run(
            1,
            record(test_nll=2.5 + i % 7),
            run_id=f"{i:04}",
            created=f"2026-{1 + i // 28 % 12:02}-{1 + i % 28:02}",
        )
        for i in range(count)
    ]
    found = history.follow(runs, NLL)
    dots = [e for e in drawn(found) if e.tag.endswith("}circle")]
    assert len(dots) == count
    assert all(84 <= float(dot.get("cx", 0)) <= 876 for dot in dots)
    commits = [e for e in drawn(found) if e.tag.endswith("}text") and (e.text or "").startswith("0000000")]
    places = sorted(float(e.get("x", 0)) for e in commits)
    assert places
    assert all(b - a >= 60 for a, b in itertools.pairwise(places))


def test_a_history_of_nothing_but_failures_in_a_panel_is_drawn() -> None:
    """A model that never had a value stands beside one that has."""
    found = history.follow([run(1, record(), failed("gru")), run(2, record(), failed("gru"))], NLL)
    assert "no value" in texts(found)


def test_points_are_plain_data() -> None:
    """A point says of itself all that is shown of it."""
    point = history.follow([run(1, record())], NLL).series[0].points[0]
    assert point == Point(
        "20261101T120000-0001", "2026-11-01T12:00:00+00:00", "000000000001", 2.5, "ok", None, 1
    )


def test_a_damaged_file_is_a_warning(stored: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    """The others are shown."""
    Path("results/zzz.jsonl").write_text("no run\n")
    assert main(["history", "test_nll"]) == 0
    shown = capsys.readouterr()
    assert "zzz.jsonl" in shown.err
    assert "9 runs" in shown.out
    assert len(store.run_files(Path("results"))) == 10


# ---- what the docs promise


def simulation() -> Any:
    """tests/simulations/changes.py as a module."""
    spec = importlib.util.spec_from_file_location("simulated_changes", SIMULATION)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulated_changes"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_false_alarms_are_as_rare_as_the_docs_say() -> None:
    """In the short form: within four errors of the bound, and big changes are found."""
    pytest.importorskip("ruptures")
    count, module = 40, simulation()
    bound = module.FALSE + 4 * (module.FALSE * (1 - module.FALSE) / count) ** 0.5
    assert all(share <= bound for row in module.false_alarms(count) for share in row.shares)
    *_, biggest = module.found(count)
    assert min(biggest.shares[:2]) >= 0.9


def test_the_docs_hold_the_table_of_the_full_form() -> None:
    """A row a noise and a size, every false alarm within the bound that is promised."""
    module, text = simulation(), (ROOT / "docs" / "history.md").read_text(encoding="utf-8")
    for name in module.NOISES:
        (row,) = re.findall(rf"^\| {re.escape(name)} +\|(.*)\|$", text, re.MULTILINE)
        assert all(float(share) <= module.FALSE for share in row.split("|")), name
    for size in module.SIZES:
        assert f"| {size} standard deviations" in text


def test_the_commands_of_the_readme_run(stored: list[Run]) -> None:
    """README's block, on the stored runs."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text.split("<!-- history -->\n```sh\n")[1].split("```")[0]
    stats = {"median": 1.0, "rounds": 1, "stddev": 0}
    theirs = {"benchmarks": [{"fullname": "f", "stats": stats}], "datetime": "2026-11-22", "version": "5.3.1"}
    Path("bench.json").write_text(json.dumps(theirs | {"commit_info": {"id": "unversioned"}}))
    for line in block.splitlines():
        assert main(shlex.split(line, comments=True)[1:]) == 0, line
    assert all(Path(name).is_file() for name in ("history.svg", "cells.csv"))
