"""The table: every figure at its precision, nothing foreign unescaped, the notes that it needs."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import figures, report
from harness import notes as under
from harness.columns import shown
from harness.compare import Standing, standings
from harness.record import Data, Header, Metrics, Plugin, Record, Throughput, Timings
from harness.statistics import paired

HEADER = Header(
    run_id="run",
    created="2026-01-01T00:00:00+00:00",
    version="0.1.0",
    dataset="makemore-names",
    split="lecture",
    budget="default",
    cells=[],
)
HOSTILE = "\x1b[31mred\x1b]0;title\x07 a\nb\r\tc \x00 \x7f \x9b2J \u202eback \u2028 \u200b [bold]x[/bold]"


def data(**changes: Any) -> Data:
    """The data of a small run of names."""
    fields: dict[str, Any] = {
        "dataset_sha256": "ab" * 32,
        "split_fingerprint": "cd" * 32,
        "vocabulary": 27,
        "documents": {"train": 25_626, "dev": 3_203, "test": 3_204},
        "targets": {"train": 182_625, "dev": 22_655, "test": 22_866},
        "overlap": {"dev": 0, "test": 0},
        "units": 3_050,
    }
    return Data(**(fields | changes))


def record(cell: int = 0, **changes: Any) -> Record:
    """One cell with every figure."""
    fields: dict[str, Any] = {
        "model": "mlp",
        "backend": "numpy",
        "options": {},
        "config": {},
        "dataset": "makemore-names",
        "split": "lecture",
        "repeat": 0,
        "seed": 1,
        "budget": "default",
        "status": "ok",
        "metrics": Metrics(
            train_nll=2.05,
            dev_nll=2.123_456,
            dev_nll_se=0.01,
            dev_nll_half=0.02,
            test_nll=2.134_567,
            test_nll_se=0.0067,
            test_nll_half=0.013_14,
            test_bits=3.079_53,
        ),
        "timings": Timings(train_s=3.456),
        "throughput": Throughput(train_chars_per_s=1_234_567.0, eval_chars_per_s=45_678.0),
        "parameters": 12_345,
        "data": data(),
        "plugin": Plugin(distribution="nextchar-harness", version="0.1.0"),
    }
    return Record(run_id="run", cell=cell, **(fields | changes))


def nothing(record: Record) -> Mapping[str, Any] | None:
    """No scores were kept."""
    return None


def columns(rows: Sequence[Standing]) -> dict[str, list[str]]:
    """The texts of the default columns by their title."""
    return {column.title: list(column.cells(rows).texts) for column in shown(None, rows)}


def row(one: Record) -> dict[str, str]:
    """The row of a lone record, by the column's title."""
    return {title: cells[0] for title, cells in columns(standings([one], nothing)).items()}


def notes(*records: Record, looks: int | None = None, scores: Any = nothing) -> str:
    """What stands under the table of these records."""
    return "\n".join(under.notes(standings(records, scores), looks))


# ---- figures


def test_every_figure_stands_at_its_precision() -> None:
    """NLLs to four digits with their interval, bits to three, counts in full."""
    assert row(record()) == {
        "#": "–",
        "model": "mlp@numpy",
        "params": "12,345",
        "dev NLL": "2.1235",
        "test NLL": "2.1346±.0131",
        "bits": "3.080",
        "train s": "3.46",
        "train ch/s": "1.2M",
        "eval ch/s": "46k",
        "status": "ok",
    }


def test_figures_that_some_rows_have_get_a_column() -> None:
    """Excess and unseen stand where a record has them, with a dash in the others."""
    full = record(
        0, metrics=Metrics(test_nll=2.0, excess=0.012_345, excess_half=0.001_26, test_nll_unseen=2.3)
    )
    cells = columns(standings([full, record(1)], nothing))
    assert cells["excess"] == [".0123±.0013", "–"]
    assert cells["unseen"] == ["2.3000", "–"]


def test_the_table_holds_every_cell() -> None:
    """What the columns say stands in the printed table, under their titles, a line a row."""
    rows = [record(0), record(1, model="gru", metrics=Metrics(test_nll=1.9, dev_nll=1.875))]
    lines = report.table(HEADER, rows, nothing).split("\n")
    rule = next(i for i, line in enumerate(lines) if line.startswith("-  ---"))
    ends = [match.end() for match in re.finditer("-+", lines[rule])]
    starts = [match.start() for match in re.finditer("-+", lines[rule])]

    def cut(line: str) -> list[str]:
        return [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]

    cells = columns(standings(rows, nothing))
    titles = zip(*(cut(line) for line in lines[rule - 2 : rule]), strict=True)
    assert [" ".join(words).strip() for words in titles] == list(cells)
    for offset in range(2):
        assert cut(lines[rule + 1 + offset]) == [texts[offset] for texts in cells.values()]
    assert "gru" in lines[rule + 1]  # the better one


def test_what_is_absent_is_a_dash() -> None:
    """No figure is shown as 0 or nan where there is none."""
    bare = row(record(metrics=Metrics(), timings=Timings(), throughput=Throughput(), parameters=None))
    for title in ("#", "params", "dev NLL", "test NLL", "bits", "train s", "train ch/s", "eval ch/s"):
        assert bare[title] == "–"


def test_zero_is_not_absent() -> None:
    """A model without parameters has 0 of them."""
    assert row(record(parameters=0))["params"] == "0"


def test_p_of_zero_is_inf() -> None:
    """A part with an impossible target shows `inf` without interval, and only that part."""
    shown = row(record(metrics=Metrics(dev_nll=2.5, zero_probability={"dev": 0, "test": 3})))
    assert (shown["dev NLL"], shown["test NLL"]) == ("2.5000", "inf")
    shown = row(record(metrics=Metrics(test_nll=2.5, zero_probability={"dev": 1, "test": 0})))
    assert (shown["dev NLL"], shown["test NLL"]) == ("inf", "2.5000")


def scores(*means: float) -> Any:
    """Per-document scores by cell, 100 documents of six targets."""
    rng = np.random.default_rng(0)
    kept = [
        {
            "test_sums": 6 * (mean + 0.1 * rng.standard_normal(100)),
            "test_lengths": np.full(100, 6),
            "test_units": np.arange(100),
        }
        for mean in means
    ]
    return lambda record: kept[record.cell]


def test_ranks_and_distances_stand_in_the_table() -> None:
    """The best is named so, the others show their signed distance and its interval."""
    kept = scores(2.0, 2.5)
    records = [record(0, metrics=Metrics(test_nll=2.0)), record(1, metrics=Metrics(test_nll=2.5))]
    cells = columns(standings(records, kept))
    apart = paired(
        kept(records[1])["test_sums"], kept(records[0])["test_sums"], np.full(100, 6), np.arange(100)
    )
    assert cells["#"] == ["1", "2"]
    assert cells["behind best"] == ["best", f"{apart.nats:.4f}±{apart.half:.4f}".replace("0.", ".")]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (7.4, "7"),
        (950.0, "950"),
        (1000.0, "1.0k"),
        (9_949.0, "9.9k"),
        (12_345.0, "12k"),
        (999_000.0, "999k"),
        (999_600.0, "1.0M"),
        (9_960.0, "10k"),
        (3_400_000.0, "3.4M"),
        (2.5e9, "2.5G"),
        (7.3e11, "730G"),
        (7.3e12, "7.3T"),
    ],
)
def test_rates_are_short(value: float | None, text: str) -> None:
    """Two or three digits and a unit."""
    assert figures.rate(value) == text


@settings(deadline=None, max_examples=50)
@given(st.floats(10, 1e12))
def test_a_rate_can_be_read_back(value: float) -> None:
    """What is printed is within 5 % of what was measured."""
    text = figures.rate(value)
    size = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.get(text[-1], 1.0)
    assert len(text) <= 4 or value > 1e14
    assert float(text.rstrip("kMGT")) * size == pytest.approx(value, rel=0.051)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "<.001"),
        (0.000_49, "<.001"),
        (0.000_51, "0.001"),
        (0.0123, "0.012"),
        (0.456, "0.456"),
        (0.9996, "1.00"),
        (9.876, "9.88"),
        (9.996, "10.0"),
        (12.34, "12.3"),
        (99.96, "100"),
        (123.46, "123"),
        (86_400.0, "86400"),
    ],
)
def test_seconds(value: float | None, text: str) -> None:
    """Three digits that count and at most five characters; nothing beyond a millisecond."""
    assert figures.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (8_097, "8,097"), (99_999, "99,999"), (100_000, "100k"), (1_234_567, "1.23M")],
)
def test_counts(value: int | None, text: str) -> None:
    """In full below 100,000, from there on three digits."""
    assert figures.whole(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0219, ".0219"),
        (-0.0219, "-.0219"),
        (1.5, "1.5000"),
        (10.25, "10.2500"),
        (0.0, ".0000"),
    ],
)
def test_short_figures(value: float | None, text: str) -> None:
    """Only a zero that stands alone before the point is left out."""
    assert figures.short(value) == text


# ---- foreign texts


def harmless(text: str) -> bool:
    """Whether nothing in it moves a terminal but the line breaks of the table."""
    return not any(
        unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        for character in text.replace("\n", "")
    )


@pytest.mark.parametrize(
    "changes",
    [
        lambda text: {"model": text},
        lambda text: {"backend": text},
        lambda text: {"options": {text: text}},
        lambda text: {"status": "failed", "reason": text},
        lambda text: {"marks": [text, text]},
        lambda text: {"absent": {text: text}},
        lambda text: {"metrics": Metrics(zero_probability={text: 3})},
    ],
    ids=["model", "backend", "options", "reason", "marks", "absent", "part"],
)
def test_foreign_texts_are_harmless(changes: Callable[[str], dict[str, Any]]) -> None:
    """Escape sequences, line breaks and invisible characters are shown, not obeyed; markup stays text."""
    view = report.View(width=1_000)  # nothing is broken over lines
    text = report.table(HEADER, [record(**changes(HOSTILE))], nothing, view=view)
    assert harmless(text)
    assert text.count("\n") == report.table(HEADER, [record(**changes("x"))], nothing).count("\n")
    assert "[bold]x[/bold]" in text
    assert "\\x1b[31mred" in text


@pytest.mark.parametrize("field", ["dataset", "split"])
def test_a_foreign_heading_is_harmless(field: str) -> None:
    """A dataset may be a file of any name."""
    fields = {"dataset": "d", "split": "s"} | {field: HOSTILE}
    header = Header(run_id="r", created="", version="", budget="", cells=[], **fields)
    for one in (record(), record(data=data(window={"inputs": 256, "stride": 128}))):
        text = report.table(header, [one], nothing)
        assert harmless(text)
        assert "\\x1b[31mred" in text.split("\n")[0]


@pytest.mark.parametrize("name", ["007", "1e5", "0.10", "+1", "nan", "inf", "True", "1,000", "-0", "١٢"])
def test_names_that_look_like_numbers_survive(name: str) -> None:
    """A model called 007 is not printed as 7, in the table, in a list, nor beside its samples."""
    text = report.table(HEADER, [record(model=name)], nothing)
    line = next(line for line in text.split("\n") if "numpy" in line)
    assert f"{name}@numpy" in line.split()
    listed = report.simple([{"name": name, "value": "x"}]).split("\n")
    assert listed[-1].split() == [name, "x"]
    assert report.samples([record(model=name)], lambda record: [name]).split()[1:] == [f"{name}@numpy", name]


def test_options_and_repeats_tell_rows_apart() -> None:
    """A row is called by what differs from the defaults, and by its repeat from the second on."""
    one = record(options={"context": 8, "rate": 0.1, "order": "auto"}, repeat=2)
    assert row(one)["model"] == "mlp@numpy:context=8,rate=0.1,order=auto #3"
    assert row(record())["model"] == "mlp@numpy"


# ---- heading and notes


def test_the_heading_says_what_was_measured() -> None:
    """Dataset, split and V, then documents and targets of the parts."""
    assert report.table(HEADER, [record()], nothing).split("\n")[:2] == [
        "makemore-names, split lecture, V = 27",
        "train / dev / test: 25,626 / 3,203 / 3,204 documents, 182,625 / 22,655 / 22,866 characters",
    ]


def test_running_text_names_its_windows_and_blocks() -> None:
    """Windows stand in the heading, blocks are the units, and there is no overlap of documents."""
    text = report.table(HEADER, [record(data=data(window={"inputs": 256, "stride": 128}))], nothing)
    assert "windows of 256 moved by 128" in text.split("\n")[1]
    assert "3,050 blocks of 1,000 test characters" in text
    assert "Overlap" not in text


def test_no_cell_has_no_table() -> None:
    """An empty run says so."""
    assert report.table(HEADER, [], nothing) == "no cell has finished"


def test_overlap_is_counted() -> None:
    """Documents of dev and test that stand in train are named with the size of their part."""
    text = notes(record(data=data(overlap={"dev": 1_234, "test": 56})))
    assert "Overlap: 1,234 of 3,203 dev and 56 of 3,204 test documents stand in train" in text
    assert "`unseen` leaves them out" in text
    assert "`unseen`" not in notes(record())
    assert "0 of 3,204 test documents" in notes(record())


def test_the_units_of_the_intervals_are_named() -> None:
    """How many distinct documents an interval rests on."""
    assert "over 3,050 distinct test documents" in notes(record())


def test_the_detectable_difference_is_printed() -> None:
    """Smallest, largest and median of what the comparisons with the best would show."""
    kept = scores(2.0, 2.5, 2.2, 2.9)
    records = [record(i, metrics=Metrics(test_nll=mean)) for i, mean in enumerate((2.0, 2.5, 2.2, 2.9))]
    rows = standings(records, kept)
    found = [r.behind.detectable for r in rows if r.behind is not None]
    known = [value for value in found if value is not None]
    assert len(known) == 3
    text = "\n".join(under.notes(rows))
    assert f"{min(known):.4f} to {max(known):.4f}, median {median(known):.4f} nats" in text
    assert f"80 % power: {known[1]:.4f} nats" in notes(*records[:2], scores=kept)
    assert "power" not in notes(record())


def test_looks_at_the_test_part_are_printed() -> None:
    """The count stands there where it is known, none where it is not."""
    assert "this run included: 1,234." in notes(record(), looks=1_234)
    assert "this run included" not in notes(record())


def test_in_sample_says_so() -> None:
    """In-sample runs claim no rank, no overlap and no look at a test part."""
    text = notes(record(data=data(in_sample=True)), looks=7)
    assert "In-sample" in text
    assert "Overlap" not in text
    assert "this run included" not in text
    assert "Holm" not in text


def test_few_units_are_said() -> None:
    """Below 20 units the note explains the missing intervals; from 20 on it explains ranks."""
    assert "Fewer than 20 distinct test documents" in notes(record(data=data(units=19)), scores=scores(2.0))
    assert "Holm" in notes(record(data=data(units=20)), scores=scores(2.0))


def test_missing_scores_are_said() -> None:
    """Where the scores of documents were not kept, the note says why there are no ranks."""
    assert "were not kept: no ranks" in notes(record())
    assert "were not kept" not in notes(record(status="failed", metrics=Metrics()))


@pytest.mark.parametrize(
    ("excess", "half", "warned"),
    [(-0.02, 0.01, True), (-0.02, 0.03, False), (0.02, 0.01, False), (-0.02, None, False)],
)
def test_below_the_true_source_is_a_warning(excess: float, half: float | None, warned: bool) -> None:
    """Only an excess whose upper bound is below zero is a leak or a bug."""
    metrics = Metrics(test_nll=2.0, excess=excess, excess_half=half)
    text = notes(record(metrics=metrics, data=data(entropy_rate=2.025_71)))
    assert ("WARNING mlp@numpy is surely below the true source" in text) is warned
    assert "entropy rate 2.0257 nats" in text


@pytest.mark.parametrize(
    ("dev", "in_sample", "said"), [(2.1, False, True), (2.09, True, False), (2.06, False, False)]
)
def test_dev_and_test_far_apart_are_flagged(dev: float, in_sample: bool, said: bool) -> None:
    """A gap beyond what both standard errors explain (0.0277 at 0.01 each twice) is pointed out."""
    metrics = Metrics(test_nll=2.04, test_nll_se=0.01, dev_nll=dev, dev_nll_se=0.01)
    text = notes(record(metrics=metrics, data=data(in_sample=in_sample)))
    assert ("test and dev differ by -0.0600" in text) is said
    assert ("differ by" in text) is said


def test_targets_with_p_of_zero_are_counted() -> None:
    """Each part with impossible targets is named, the others are not."""
    metrics = Metrics(zero_probability={"train": 0, "dev": 1_002, "test": 3})
    assert "mlp@numpy: targets with p = 0: 1,002 in dev, 3 in test." in notes(record(metrics=metrics))
    assert "p = 0" not in notes(record())


def test_reasons_and_marks_are_printed() -> None:
    """Why a cell broke, what a reader must know of it, and what could not be measured."""
    text = notes(
        record(0, status="failed", reason="fit: ValueError: oops", metrics=Metrics()),
        record(1, marks=["budget of 30s wall clock"], absent={"dev_nll": "no dev part"}),
        record(2, absent={"dev_nll": "no dev part"}),
    )
    assert "mlp@numpy: failed: fit: ValueError: oops" in text
    assert "mlp@numpy: budget of 30s wall clock" in text
    assert text.count("Not measured: dev_nll: no dev part.") == 1


# ---- samples


def drawn(*texts: str, **changes: Any) -> Sequence[str]:
    """The printed lines of one model's samples."""
    return report.samples([record(**changes)], lambda record: list(texts)).split("\n")


def test_samples_are_a_line_a_model() -> None:
    """Five of them, an empty document shown as ∅."""
    title, line = drawn("emma", "", "ava", "mia", "bo", "sixth")
    assert title == "Samples"
    assert line.split(maxsplit=1) == ["mlp@numpy", "emma, ∅, ava, mia, bo"]


@pytest.mark.parametrize("model", ["mlp", "m" * 200])
def test_long_samples_are_cut(model: str) -> None:
    """A line of samples fits into the width with its model's name, and a cut is marked."""
    (_, line) = drawn(*["a" * 40] * 5, model=model)
    assert len(line) == report.WIDTH
    assert line.endswith("…")


@pytest.mark.parametrize("changes", [{}, {"data": data(window={"inputs": 256, "stride": 128})}])
def test_samples_of_running_text_stay_on_one_line(changes: dict[str, Any]) -> None:
    """Line breaks of a text are shown as escapes."""
    (_, line) = drawn("To be,\nor not", "second", **changes)
    assert "To be,\\nor not…" in line
    assert "second" not in line


def test_foreign_samples_are_harmless() -> None:
    """What a model draws is shown, not obeyed; nor is its name."""
    lines = drawn("\x1b[31m", "[bold]", "a\u202eb", model=HOSTILE[:20])
    assert len(lines) == 2
    assert harmless(lines[1])
    assert "\\x1b[31m, [bold], a\\u202eb" in lines[1]


def test_no_samples_print_nothing() -> None:
    """Neither title nor empty line."""
    assert report.samples([record(status="failed")], lambda record: None) == ""
    assert report.samples([record()], lambda record: []) == ""


# ---- JSON


def forbid(constant: str) -> None:
    """No such thing in JSON."""
    raise AssertionError(f"{constant} is no JSON")


def test_json_is_strict_and_complete() -> None:
    """Header and every field of every record, floats to the last bit, absent as null, no NaN."""
    one = record(0, reason=HOSTILE, curve=[(0.1 + 0.2, 2.5)], metrics=Metrics(test_nll=1 / 3))
    document = json.loads(report.as_json(HEADER, [one, record(1)]), parse_constant=forbid)
    assert document["header"]["dataset"] == "makemore-names"
    first = document["records"][0]
    assert len(document["records"]) == 2
    assert set(first) == set(Record.__struct_fields__)
    assert first["metrics"]["test_nll"] == 1 / 3
    assert first["metrics"]["dev_nll"] is None
    assert first["curve"] == [[0.1 + 0.2, 2.5]]
    assert first["reason"] == HOSTILE


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_never_holds_nan(value: float) -> None:
    """A figure that should never have come here is an error, not a word that JSON does not know."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        report.as_json(HEADER, [record(metrics=Metrics(test_nll=value))])


# ---- lists


def test_a_list_has_its_first_rows_columns() -> None:
    """Titles in the order of the first row, a line a row, foreign texts harmless."""
    text = report.simple([{"name": "a", "size": 12}, {"name": HOSTILE, "size": None}])
    lines = text.split("\n")
    assert lines[0].split() == ["name", "size"]
    assert lines[2].split() == ["a", "12"]
    assert len(lines) == 4
    assert harmless(text)
    assert report.simple([]) == ""
