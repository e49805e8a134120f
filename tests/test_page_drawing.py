"""What the report draws: every sign stands where its figure says, and every colour can be read."""

from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Corpus
from harness.compare import Standing
from harness.history import History, Point, Series
from harness.metrics import metric
from harness.page import axes, canvas, contrast, curves, ladder, pairs, palette, parts, price, timeline
from harness.page.canvas import NARROW, WIDE, Chart
from harness.page.profiles import Profile, Profiles, fold
from harness.page.scales import Box, Scale, apart, beside, crowd, logarithmic, ticks
from harness.record import Data, Header, Metrics, Plugin, Record, Throughput, Timings
from harness.statistics import Difference, Estimate

SVG = "{http://www.w3.org/2000/svg}"


def data(**changes: Any) -> Data:
    """The data of a small run of names."""
    fields: dict[str, Any] = {
        "dataset_sha256": "ab" * 32,
        "split_fingerprint": "cd" * 32,
        "vocabulary": 27,
        "documents": {"train": 800, "dev": 100, "test": 100},
        "targets": {"train": 5600, "dev": 700, "test": 700},
        "overlap": {"dev": 20, "test": 0},
        "units": 90,
    }
    return Data(**(fields | changes))


def record(model: str = "mlp", nll: float | None = 2.1, **changes: Any) -> Record:
    """One cell."""
    fields: dict[str, Any] = {
        "cell": 0,
        "backend": "numpy",
        "options": {},
        "config": {},
        "dataset": "names",
        "split": "lecture",
        "repeat": 0,
        "seed": 1,
        "budget": "default",
        "status": "ok",
        "metrics": Metrics(dev_nll=nll, test_nll=nll, test_nll_half=0.02),
        "timings": Timings(train_s=2.0),
        "throughput": Throughput(eval_chars_per_s=1e5),
        "parameters": 1000,
        "data": data(),
        "plugin": Plugin(distribution="ours", version="1", code_hash="a"),
    }
    return Record(run_id="run", model=model, **(fields | changes))


def standing(model: str, nll: float | None, rank: int | None = None, **changes: Any) -> Standing:
    """A row of the table."""
    behind = None if rank in (None, 1) else Difference(0.1, 0.01, 0.02, 0.001, 90, 90)
    test = None if nll is None else Estimate(nll, 0.01, None, 0.01, 0.02, 1)
    return Standing((record(model, nll, **changes),), test, test, rank, behind)


ROWS = [
    standing("first", 2.0, 1, timings=Timings(train_s=10.0), parameters=50_000),
    standing("tied", 2.01, 1, timings=Timings(train_s=0.5), parameters=9_000),
    standing("third", 2.2, 3, timings=Timings(train_s=1.0), parameters=700),
    standing("naught", 2.3, 4, timings=Timings(train_s=0.001), parameters=0),
    standing("broken", None, status="failed", reason="it fell"),
]


def tree(chart: Chart, width: int) -> ET.Element:
    """A drawing, parsed strictly."""
    return ET.fromstring(chart.draw(width))


def tips(root: ET.Element) -> list[str]:
    """What the signs of a drawing say when a pointer rests on them."""
    return [found.text or "" for found in root.iter(f"{SVG}title")]


def over_runs(
    values: Sequence[float | None], breaks: dict[int, str], changed: int = 0, level: int = 0
) -> History:
    """A model, a run a value; where its data break, its code changes, a level begins (0: nowhere)."""
    found = tuple(
        Point(f"r{i}", "2026-01-02", None, value, "ok" if value else "failed", None, 1,
              tuple(what for place, what in breaks.items() if place == i),
              ("code",) if changed and i == changed else (), bool(level and i == level))
        for i, value in enumerate(values)
    )  # fmt: skip
    headers = tuple(
        Header(run_id=p.run_id, created=p.created, version="1", dataset="d", split="s", budget="b", cells=[])
        for p in found
    )
    return History(metric("test_nll"), "d", "s", headers, (Series("m", found),), True)


def every_chart() -> list[Chart]:
    """One of each kind."""
    counts = np.arange(16.0).reshape(4, 4)
    two = [Profile(name, np.array([50.0, 80.0]), np.full(4, 40.0)) for name in "ab"]
    profiles = Profiles(two, np.array([30, 30]), np.array([30, 30, 30, 30]), "abc")  # fmt: skip
    learnt = record("mlp", curve=[(0.5, 2.5), (1.0, 2.2), (2.0, 2.1)])
    found = [
        ladder.chart(ROWS),
        *price.charts(ROWS),
        curves.chart([*ROWS, Standing((learnt,))]),
        *contrast.charts(profiles),
        pairs.chart(pairs.Table("count", counts, "abc")),
        pairs.chart(pairs.Table("weights", counts - 7.3, "abc")),
        parts.chart(data()),
        timeline.chart(over_runs([2.0, 3.0, 4.0, None], {2: "data"}, level=2)),
    ]
    return [chart for chart in found if chart is not None]


CHARTS = every_chart()


# ---- all drawings


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_a_drawing_stays_inside_its_frame(chart: Chart, width: int) -> None:
    """Every coordinate of every sign, line and text lies in the view, and none is NaN."""
    root = tree(chart, width)
    _, _, wide, high = (float(x) for x in root.attrib["viewBox"].split())
    assert wide == width
    for element in root.iter():
        for name, limit in (("x", wide), ("cx", wide), ("y", high), ("cy", high)):
            if name in element.attrib:
                assert -1 <= float(element.attrib[name]) <= limit + 1
        points = re.findall(r"(-?[\d.]+|nan|inf) (-?[\d.]+|nan|inf)", element.attrib.get("d", ""))
        for x, y in points:
            assert -8 <= float(x) <= wide + 8
            assert -8 <= float(y) <= high + 8


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_no_text_is_cut_at_the_edge(chart: Chart, width: int) -> None:
    """From its anchor, each text has room on both sides for about as many pixels as it is wide."""
    for text in tree(chart, width).iter(f"{SVG}text"):
        if "x" not in text.attrib:
            continue  # turned
        wide = canvas.span(text.text or "", mono="m" in text.attrib.get("class", "").split())
        before = {"start": 0.0, "middle": 0.5, "end": 1.0}[text.attrib.get("text-anchor", "start")]
        left = float(text.attrib["x"]) - before * wide
        assert left >= -4, text.text
        assert left + wide <= width + 4, text.text


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_every_drawing_has_words_and_a_table(chart: Chart) -> None:
    """A label for those who do not see it, and columns of one length that are not empty."""
    assert tree(chart, WIDE).attrib["role"] == "img"
    assert tree(chart, WIDE).attrib["aria-label"] == chart.said != ""
    lengths = {len(column.texts) for column in chart.table}
    assert len(lengths) == 1
    assert lengths != {0}


def test_the_drawings_have_different_names() -> None:
    """Each is a file of its own."""
    assert len({chart.name for chart in CHARTS}) == len(CHARTS)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_a_drawing_alone_needs_no_page(chart: Chart, dark: bool) -> None:
    """Its style is inside, with colours written out; every class of a sign has a rule."""
    drawing = palette.standalone(chart.draw(WIDE), dark)
    root = ET.fromstring(drawing)
    style = root.find(f"{SVG}style")
    assert style is not None
    assert style.text
    assert "var(" not in drawing
    ruled = set(re.findall(r"\.([a-z]\w*)", style.text))
    for element in root.iter(f"{SVG}circle"):
        assert set(element.attrib["class"].split()) & ruled


# ---- colours


@pytest.mark.parametrize("dark", [False, True])
def test_texts_and_lines_stand_out(dark: bool) -> None:
    """WCAG 2.2: texts and signs have at least 4.5:1 on their ground."""
    colours = palette.variables(dark)
    for name in ("ink", "muted", "accent"):
        for ground in ("paper", "card", "band"):
            assert palette.contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    for i in range(canvas.COLOURS):
        assert palette.contrast(colours[f"k{i}"], colours["paper"]) >= 4.5
    for step in palette.steps_of_heat():
        assert palette.contrast(colours[f"on-{step}"], colours[step]) >= 4.5


def test_contrast_is_that_of_the_standard() -> None:
    """Black on white is 21:1, and #777777 on white 4.48:1, as WCAG's examples say."""
    assert palette.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert palette.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


def test_no_series_is_told_by_colour_alone() -> None:
    """Of the first 24 no two share both sign and dash; six colours have six signs."""
    found = {(shape, kind.split()[1]) for kind, shape in map(canvas.style, range(24))}
    assert len(found) == 24


@pytest.mark.parametrize("dark", [False, True])
def test_the_two_models_differ_for_the_colour_blind(dark: bool) -> None:
    """Blue and orange stay apart without red or without green (Viénot, Brettel & Mollon 1999)."""
    colours = palette.variables(dark)
    for protan in (True, False):
        a, b = (seen_by(colours[name], protan=protan) for name in ("k0", "k1"))
        assert np.linalg.norm(a - b) > 0.25


def seen_by(colour: str, *, protan: bool) -> Any:
    """A colour in linear light as a protanope or a deuteranope sees it."""
    light = (np.array(palette.rgb(colour)) / 255) ** 2.2
    lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    lost = (
        np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]])
        if protan
        else np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
    )
    return np.linalg.inv(lms) @ lost @ lms @ light


# ---- scales and places


@given(st.floats(-1e6, 1e6), st.floats(1e-4, 1e6))
def test_ticks_are_round_and_few(low: float, width: float) -> None:
    """Between four and eleven of them, evenly spaced, all inside."""
    found = ticks(low, low + width)
    assert 3 <= len(found) <= 11
    assert all(low - 1e-6 * width <= value <= low + width * (1 + 1e-6) for value in found)


@given(st.lists(st.floats(0, 400), min_size=1, max_size=12), st.floats(1, 30))
def test_labels_are_pushed_apart_as_little_as_can_be(wanted: list[float], gap: float) -> None:
    """Order and gaps hold, and no small shift that keeps them comes nearer (least squares)."""
    placed = apart(wanted, gap, -1e4, 1e4)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    assert all(placed[b] - placed[a] >= gap - 1e-6 for a, b in itertools.pairwise(order))
    error = sum((p - w) ** 2 for p, w in zip(placed, wanted, strict=True))
    for start in range(len(order)):
        for stop in range(start + 1, len(order) + 1):
            for shift in (-0.01, 0.01):
                moved = [p + shift * (i in order[start:stop]) for i, p in enumerate(placed)]
                if all(moved[b] - moved[a] >= gap - 1e-9 for a, b in itertools.pairwise(order)):
                    assert sum((p - w) ** 2 for p, w in zip(moved, wanted, strict=True)) >= error - 1e-6


def test_labels_stay_within_their_column() -> None:
    """Even where all of them want to stand at its foot."""
    placed = apart([100.0] * 5, 10, 0, 100)
    assert placed == [60, 70, 80, 90, 100]


def test_labels_beside_points_cover_nothing_where_there_is_room() -> None:
    """Neither each other nor a point."""
    points = [(100.0, 100.0), (112.0, 101.0), (300.0, 200.0), (306.0, 206.0)]
    found = [label for label in beside(points, [80] * 4, 16, Box(0, 0, 500, 400)) if label is not None]
    assert len(found) == 4
    marks = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    for a, b in itertools.combinations(found, 2):
        assert a.overlap(b) == 0
    assert all(label.overlap(mark) == 0 for label in found for mark in marks)


def test_a_label_without_a_free_place_is_left_out() -> None:
    """Of 40 points on one spot some have names, and none of those covers more than a tenth of another."""
    found = beside([(100.0, 100.0)] * 40, [80] * 40, 16, Box(0, 0, 200, 200))
    placed = [label for label in found if label is not None]
    assert found[0] is not None
    assert 1 < len(placed) < 40
    assert all(a.overlap(b) <= 0.1 * 80 * 16 for a, b in itertools.combinations(placed, 2))


def test_a_model_far_behind_does_not_press_the_others_together() -> None:
    """The scale ends before it; where the field is even, it ends with the last."""
    assert 2.5 < crowd([2.2, 2.3, 2.32, 2.4, 3.3]) < 3.3
    assert crowd([2.2, 2.3, 2.4, 2.5]) == 2.5
    assert crowd([2.0]) == 2.0


def test_a_logarithmic_scale_places_by_ratio() -> None:
    """The middle of 1 and 100 is 10; zeros are left out of its range."""
    scale = Scale(1, 100, 0, 200, log=True)
    assert scale(10) == pytest.approx(100)
    assert logarithmic([0, 1, 100], 0, 200).low > 0


def test_powers_of_ten_alone_are_named_where_it_is_narrow() -> None:
    """1, 2, 5, 10, 20, 50 -> 1, 10."""
    assert [t for _, t in axes.decades([(v, str(v)) for v in (1, 2, 5, 10, 20, 50)])] == ["1", "10"]


# ---- the leaderboard


def test_the_leaderboard_places_models_by_their_nll() -> None:
    """Dots from left to right in the order of the figures, each with its interval around it."""
    root = tree(ladder.chart(ROWS[:3]), WIDE)
    dots = [float(dot.attrib["cx"]) for dot in root.iter(f"{SVG}circle")]
    assert dots == sorted(dots)
    assert dots[1] - dots[0] == pytest.approx((dots[2] - dots[0]) / 20, abs=0.2)
    bars = [
        re.findall(r"[\d.]+", bar.attrib["d"])
        for bar in root.iter(f"{SVG}path")
        if bar.attrib["class"] in ("bar", "firstbar")
    ]
    for dot, (left, _, right, _) in zip(dots, bars, strict=True):
        assert float(left) < dot < float(right)
        assert dot - float(left) == pytest.approx(float(right) - dot, abs=0.2)


def test_ties_share_a_ground_and_one_rank() -> None:
    """Two rows of rank 1: one shaded ground, one figure 1; those alone have no ground."""
    root = tree(ladder.chart(ROWS[:4]), WIDE)
    grounds = [box for box in root.iter(f"{SVG}rect") if box.attrib["class"] == "band"]
    assert len(grounds) == 1
    assert float(grounds[0].attrib["height"]) == pytest.approx(62)
    ranks = [text.text for text in root.iter(f"{SVG}text") if text.attrib.get("class") == "b n"]
    assert ranks == ["1", "3", "4"]


def test_a_cell_without_score_stays_in_the_leaderboard() -> None:
    """With its status in place of a figure."""
    root = tree(ladder.chart(ROWS), WIDE)
    said = [text.text for text in root.iter(f"{SVG}text")]
    assert "failed" in said
    assert any("broken@numpy" in (text or "") for text in said)


# ---- quality against cost


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12), st.booleans())
def test_the_front_is_what_nobody_beats(points: list[tuple[int, int]], more: bool) -> None:
    """Brute force: a model is on it when no other is as good in both and better in one."""
    models = [price.Model(str(i), float(cost), float(nats)) for i, (cost, nats) in enumerate(points)]
    sign = -1 if more else 1

    def beaten(cost: int, nats: int) -> bool:
        return any(
            sign * c <= sign * cost and n <= nats and (sign * c < sign * cost or n < nats) for c, n in points
        )

    expected = {point for point in points if not beaten(*point)}
    found = price.front(models, more_is_better=more)
    assert {points[i] for i in found} == expected


def test_the_front_is_filled_and_the_others_hollow() -> None:
    """By training time `naught`, `tied`, `first`, cheapest first; `third` is slower and worse than `tied`."""
    chart = price.charts(ROWS)[0]
    root = tree(chart, WIDE)
    filled = [dot[0].text or "" for dot in root.iter(f"{SVG}circle") if dot.attrib["class"] == "first"]
    assert [text.partition("@")[0] for text in filled] == ["naught", "tied", "first"]
    marked = dict(zip(chart.table[0].texts, chart.table[3].texts, strict=True))
    assert marked["third@numpy"] == ""
    assert marked["tied@numpy"] == "yes"


def test_a_model_without_parameters_stands_at_zero() -> None:
    """A logarithmic axis has no 0: it gets a place of its own left of it."""
    root = tree(price.charts(ROWS)[1], WIDE)
    x = {dot[0].text.partition("@")[0]: float(dot.attrib["cx"]) for dot in root.iter(f"{SVG}circle")}  # type: ignore[union-attr]
    assert x["naught"] < x["third"] < x["tied"] < x["first"]
    assert "0" in [text.text for text in root.iter(f"{SVG}text")]


# ---- learning curves


def test_every_checkpoint_is_drawn_and_tabled() -> None:
    """Three points of a curve and one of a model that has none; what had p = 0 is left out."""
    learnt = record("gru", curve=[(0.5, 2.5), (1.0, None), (1.5, 2.2), (2.0, 2.1)])
    chart = curves.chart([Standing((learnt,)), standing("ngram", 2.05)])
    assert chart is not None
    found = tips(tree(chart, WIDE))
    assert sum("gru@numpy: 2." in tip for tip in found) == 3
    assert sum("ngram@numpy: 2." in tip for tip in found) == 1
    assert chart.table[2].texts == ["2.5000", "2.2000", "2.1000", "2.0500"]


# ---- bigrams


def test_counts_and_weights_are_told_apart() -> None:
    """Whole numbers from 0 on are counts; anything else of shape (V, V) are weights; the rest is no table."""
    counts = pairs.table_of("m", {"counts": np.array([[0.0, 3.0], [2.0, 0.0]])}, "a")
    weights = pairs.table_of("m", {"W": np.array([[0.5, -3.0], [2.0, 0.0]])}, "a")
    assert counts is not None
    assert counts.counts
    assert weights is not None
    assert not weights.counts
    assert pairs.table_of("m", {"W": np.zeros((3, 2))}, "ab") is None
    assert pairs.table_of("m", {"W": np.zeros((2, 2)), "b": np.zeros(2)}, "a") is None
    assert pairs.table_of("m", {"W": np.full((2, 2), np.nan)}, "a") is None


def test_every_square_holds_its_pair_and_its_count() -> None:
    """As in the lecture: 16 squares, `ab` above its count; none is paper, the largest is the darkest."""
    counts = np.array([[0, 5, 6, 7], [1, 2, 3, 4], [8, 9, 10, 11], [0, 13, 14, 1234]], float)
    chart = pairs.chart(pairs.Table("count", counts, "abc"))
    root = tree(chart, WIDE)
    said: dict[str, dict[tuple[float, float], str | None]] = {}
    for kind in "cu":
        said[kind] = {
            (float(text.attrib["y"]), float(text.attrib["x"])): text.text
            for text in root.iter(f"{SVG}text")
            if text.attrib["class"] == kind
        }
    assert [text for _, text in sorted(said["c"].items())] == [a + b for a in ".abc" for b in ".abc"]
    assert [text for _, text in sorted(said["u"].items())] == [f"{value:.0f}" for value in counts.ravel()]
    squares = {
        group.attrib["class"]: sum(path.attrib["d"].count("M") for path in group.iter(f"{SVG}path"))
        for group in root.iter(f"{SVG}g")
    }
    assert squares == {"q0": 0, "q1": 13, "q11": 1}
    assert [list(column.texts) for column in chart.table[1:]] == [
        [f"{value:.0f}" for value in column] for column in counts.T
    ]


def test_a_weight_is_blue_above_zero_and_orange_below() -> None:
    """The steps are symmetric around 0."""
    found = pairs.Table("w", np.array([[-2.0, 2.0], [0.0, 1.0]]), "a")
    assert [pairs.level(found, value) for value in (-2.0, 2.0, 0.0, 1.0)] == ["v0", "v12", "v6", "v9"]


def test_the_boundary_has_a_sign_that_no_character_has() -> None:
    """`.`, unless the text has full stops; blanks and line breaks are shown."""
    assert canvas.signs("ab") == [".", "a", "b"]
    assert canvas.signs(". \n") == ["∎", ".", "␣", "↵"]


# ---- two models side by side


def test_sums_by_position_and_character_are_those_of_a_loop(small: Corpus) -> None:
    """Against plain Python over every document."""
    scored = np.random.default_rng(0).uniform(0, 5, small.targets)
    positions: dict[int, list[float]] = {}
    characters: dict[int, list[float]] = {}
    at = 0
    for i in range(len(small)):
        for place, token in enumerate([*small.alphabet.encode(small.text(i)), 0]):
            positions.setdefault(place, []).append(scored[at])
            characters.setdefault(int(token), []).append(scored[at])
            at += 1
    found = fold("m", scored, small)
    assert found.positions.tolist() == pytest.approx([math.fsum(positions[p]) for p in sorted(positions)])
    expected = [math.fsum(characters.get(c, [])) for c in range(small.alphabet.size)]
    assert found.characters.tolist() == pytest.approx(expected)


def test_means_over_few_targets_are_not_drawn() -> None:
    """19 targets are too few; 20 are shown, divided by their number."""
    found = Profiles(
        [Profile("a", np.array([40.0, 57.0]), np.zeros(2))], np.array([20, 19]), np.array([20, 19]), "x"
    )
    chart = contrast.charts(found)[0]
    assert chart.table[0].texts == ["1"]
    assert chart.table[2].texts == ["2.000"]


def test_where_nothing_was_tested_often_enough_nothing_is_drawn() -> None:
    """Three documents: no position has 20 targets, one character has; a reader is told which is missing."""
    found = Profiles([Profile("a", np.array([9.0, 6.0]), np.array([5.0, 40.0]))],
                     np.array([3, 3]), np.array([3, 20]), "x")  # fmt: skip
    assert [(chart.name, chart.table[0].texts) for chart in contrast.charts(found)] == [
        ("by-character", ["x"])
    ]
    assert contrast.missing(found) == ["Nothing is drawn by position: none has 20 test targets."]
    nothing = Profiles(found.models, found.at, np.array([3, 0]), "x")
    assert contrast.charts(nothing) == []
    assert len(contrast.missing(nothing)) == 2
    running = Profiles(found.models, np.zeros(0, np.int64), found.of, "x")
    assert contrast.missing(running) == []  # running text has no positions


def test_two_models_are_shown_and_all_are_there() -> None:
    """A file of its own shows the first two: classes `a` and `b`."""
    models = [Profile(name, np.array([40.0]), np.full(2, 40.0)) for name in "uvw"]
    root = tree(contrast.charts(Profiles(models, np.array([30]), np.array([30, 30]), "x"))[0], WIDE)
    assert [group.attrib["class"] for group in root.iter(f"{SVG}g")] == ["model a", "model b", "model"]


# ---- history


def pieces(chart: Chart) -> list[str]:
    """The classes of the pieces of the lines."""
    found = [line.attrib["class"] for line in tree(chart, WIDE).iter(f"{SVG}path")]
    return [kind for kind in found if kind.startswith("s ")]


def test_a_line_is_broken_where_data_changed_and_faint_where_the_code_did() -> None:
    """Of four pieces one is missing and one faint; the table names both, and the gap is bridged."""
    chart = timeline.chart(over_runs([2.0, 2.1, None, 2.2, 2.3, 2.4], {4: "data"}, changed=2))
    assert chart is not None
    assert ["faint" in kind for kind in pieces(chart)] == [False, True, False]
    assert chart.table[3].texts == ["2.0000", "2.1000", "failed", "2.2000", "2.3000", "2.4000"]
    assert chart.table[4].texts == ["", "", "code", "", "data", ""]


def test_a_new_level_is_marked_and_counted() -> None:
    """One rule in the drawing, one word in the table, one in the sentence for those who cannot see."""
    chart = timeline.chart(over_runs([2.0, 2.0, 2.5, 2.5], {}, level=2))
    assert chart is not None
    rules = [line for line in tree(chart, WIDE).iter(f"{SVG}path") if line.attrib["class"] == "change"]
    assert len(rules) == 1
    assert chart.table[5].texts == ["", "", "new level", ""]
    assert chart.said.endswith("new levels: 1.")


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_runs_of_one_day_are_told_apart(width: int) -> None:
    """The first label of a day is the day, those behind it their time; the axis says so where it is so."""
    history = over_runs([2.0, 2.1, 2.2], {})
    times = ("2026-01-02T09:30:00", "2026-01-02T14:05:00", "2026-01-03T14:05:00")
    headers = tuple(
        msgspec.structs.replace(header, created=at) for header, at in zip(history.runs, times, strict=True)
    )
    chart = timeline.chart(replace(history, runs=headers))
    assert chart is not None
    said = [text.text for text in tree(chart, width).iter(f"{SVG}text")]
    assert [text for text in said if text in ("01-02", "14:05", "01-03")] == ["01-02", "14:05", "01-03"]
    assert "runs, oldest first (day, then time, UTC)" in said
    assert timeline.dates([headers[0], headers[2]]) == ["01-02", "01-03"]


def test_a_single_run_has_no_history() -> None:
    """Nothing to draw, so nothing is drawn."""
    assert timeline.chart(over_runs([2.0], {})) is None
    assert timeline.chart(None) is None


# ---- the split


def test_overlap_is_hatched() -> None:
    """20 of 100 dev documents stand in train: dev has strokes, test has none."""
    root = tree(parts.chart(data()), WIDE)
    strokes = [line.attrib["d"] for line in root.iter(f"{SVG}path") if line.attrib["class"] == "hatch"]
    dev = list(root.iter(f"{SVG}rect"))[1]
    start, width = float(dev.attrib["x"]), float(dev.attrib["width"])
    assert strokes
    ends = [float(re.findall(r"[\d.]+", stroke)[2]) for stroke in strokes]
    assert max(ends) <= start + 0.2 * width + 0.1


@settings(max_examples=30)
@given(st.text(min_size=1, max_size=60))
def test_any_text_is_text_in_a_drawing(said: str) -> None:
    """Parsed strictly, a drawing says what `clean` makes of a foreign text."""
    from harness.formats import clean

    root = ET.fromstring(canvas.svg(10, 10, said, [canvas.text(1, 1, said, tip=said)]))
    assert root.attrib["aria-label"] == clean(said)
    assert root[0].text == clean(said)
