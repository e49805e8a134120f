"""One run in every format: the same figures in each, nothing foreign obeyed, nothing wider than asked."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import columns, formats, report, store
from harness.cli import main
from harness.compare import Standing, standings
from harness.errors import UsageError
from harness.record import Data, Header, Metrics, Plugin, Record, Throughput, Timings

HEADER = Header(run_id="run", created="", version="", dataset="names", split="lecture", budget="", cells=[])
DOCUMENTS = Path(__file__).parents[1] / "docs" / "tables.md"
G = 60

# Pieces that mean something to a terminal, a spreadsheet, a browser, Markdown, LaTeX, rich or CSV.
PIECES = [
    "\x1b[31m", "\x9b2J", "\r", "\n", "\t", "\x00", "\u202e", "\u2028", "\ufeff", "\ud800",
    "|", "\\|", "\\", "&#124;", "<script>", "</td>", "&lt;", "[bold]", "[/x]", "[a](b)", "![a](b)", "`", "**",
    "_", "~~", "# ", "$x$", "- ", "1. ", "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "＝1", "'",
    '"', "a,b", ";", "&", "%", "{", "}", "^", "\\input{x}", "\\\\", "--", "–", "±", "…", " ", "007", "1e5",
    "é", "名",
]  # fmt: skip
hostile = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), min_size=1, max_size=6).map("".join)


def record(cell: int = 0, **changes: Any) -> Record:
    """One cell with every figure."""
    fields: dict[str, Any] = {
        "model": "mlp",
        "backend": "numpy",
        "options": {},
        "config": {},
        "dataset": "names",
        "split": "lecture",
        "repeat": 0,
        "seed": 123_456_789_012_345_678,
        "budget": "default",
        "status": "ok",
        "metrics": Metrics(
            train_nll=2.05,
            dev_nll=2.123_456 + cell / 7,
            dev_nll_se=0.01,
            dev_nll_half=0.02,
            test_nll=2.134_567 + cell / 7,
            test_nll_se=0.0067,
            test_nll_half=0.013_14,
            test_nll_document=15.234_56,
            test_nll_unseen=2.2,
            excess=-0.0123,
            excess_half=0.0234,
        ),
        "timings": Timings(train_s=3.456, start_s=0.012, warmup_s=0.0001, evaluate_s=123.4),
        "throughput": Throughput(train_chars_per_s=1_234_567.0, eval_chars_per_s=45_678.0),
        "parameters": 123_456,
        "peak_rss_bytes": 95_944_704,
        "data": Data(
            dataset_sha256="",
            split_fingerprint="",
            vocabulary=27,
            documents={"train": 1_000, "dev": 100, "test": G},
            targets={"train": 7_000, "dev": 700, "test": 6 * G},
            overlap={"dev": 0, "test": 3},
            units=G,
        ),
        "plugin": Plugin(distribution="d", version="1"),
    }
    return Record(run_id="run", cell=cell, **(fields | changes))


def scores(record: Record) -> dict[str, Any]:
    """Per-document scores of a cell, 60 documents of six targets."""
    rng = np.random.default_rng(record.cell)
    sums = 6 * (record.metrics.test_nll or 0.0) + rng.standard_normal(G)
    return {"test_sums": sums, "test_lengths": np.full(G, 6), "test_units": np.arange(G)}


def nothing(record: Record) -> None:
    """No scores and no samples were kept."""


RECORDS = [
    record(0),
    record(1, model="count-bigram", backend="torch", options={"k": 0.5, "order": "auto"}),
    record(2, metrics=Metrics(dev_nll=2.5, zero_probability={"test": 3})),
    record(3, status="out-of-memory", reason="fit: 3 > 2 & so on", metrics=Metrics()),
]


def shown(form: str, records: Sequence[Record] = RECORDS, **view: Any) -> str:
    """What is printed in this format."""
    return report.render(HEADER, records, scores, nothing, 7, report.View(form, **view))


def harmless(text: str) -> bool:
    """Whether nothing in it moves a terminal but line breaks."""
    return not any(formats.invisible(character) for character in text.replace("\n", ""))


# ---- reading the formats back


def from_plain(text: str) -> list[list[str]]:
    """Titles and rows of a table that is not broken, cut at the columns of its rule."""
    lines = text.split("\n")
    rule = next(i for i, line in enumerate(lines) if re.fullmatch(r"-+(  -+)+", line))
    spans = [found.span() for found in re.finditer("-+", lines[rule])]
    start = max(i for i in range(rule) if not lines[i]) + 1
    stop = next((i for i in range(rule, len(lines)) if not lines[i]), len(lines))

    def cut(line: str) -> list[str]:
        return [line[first:last].strip() for first, last in spans]

    titles = [" ".join(words).strip() for words in zip(*map(cut, lines[start:rule]), strict=True)]
    return [titles, *map(cut, lines[rule + 1 : stop])]


def from_markdown(text: str) -> list[list[str]]:
    """Titles and rows, read by another implementation; nothing but text may stand in a cell."""
    markdown_it = pytest.importorskip("markdown_it")
    rows: list[list[str]] = []
    tokens = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    for before, token in itertools.pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        if before.type in ("th_open", "td_open"):
            assert {child.type for child in token.children} <= {"text"}
            rows[-1].append("".join(child.content for child in token.children))
    return rows


def from_latex(text: str) -> list[list[str]]:
    """Titles and rows with every command that a text may hold turned back."""
    body = re.search(r"\\toprule\n(.*)\n +\\bottomrule", text, re.DOTALL)
    assert body
    back = {command: character for character, command in formats.LATEX.items()} | {"$-$": "-"}
    known = re.compile("|".join(re.escape(command) for command in sorted(back, key=len, reverse=True)))
    rows = []
    for line in body[1].replace("    \\midrule\n", "").split("\n"):
        assert line.endswith(r" \\")
        cells = line.strip().removesuffix(r" \\").split(" & ")
        for cell in cells:
            assert not re.search(r"[\\{}$&#%^_~\[\]*]", known.sub("", cell))
        rows.append([known.sub(lambda found: back[found[0]], cell) for cell in cells])
    return rows


def from_csv(text: str) -> list[dict[str, str]]:
    """Rows by machine key."""
    return list(csv.DictReader(io.StringIO(text)))


# ---- the same figures


@pytest.mark.parametrize("chosen", [None, "all", "test,rank,model"])
def test_every_format_holds_the_same_texts(chosen: str | None) -> None:
    """Titles and cells of the table, of Markdown and of LaTeX are equal, row by row."""
    view = {"columns": columns.choose(chosen)}
    table = from_plain(shown("table", **view, width=10_000))
    assert len(table) == 5
    assert from_markdown(shown("markdown", **view)) == table
    assert from_latex(shown("latex", **view)) == table


def test_csv_has_the_figures_to_the_last_bit() -> None:
    """Machine keys, floats that read back exactly, `inf` for p = 0, nothing for what is absent."""
    best, _, impossible, broken = from_csv(shown("csv", columns=columns.choose("all")))
    assert float(best["test_nll"]) == RECORDS[0].metrics.test_nll
    assert float(best["test_nll_half"]) == 0.013_14
    assert float(best["train_chars_per_s"]) == 1_234_567.0
    assert (best["parameters"], best["peak_rss_bytes"], best["seed"]) == (
        "123456",
        "95944704",
        "123456789012345678",
    )
    assert (impossible["test_nll"], impossible["test_nll_half"]) == ("inf", "")
    assert (broken["test_nll"], broken["rank"], broken["status"]) == ("", "", "out-of-memory")
    assert broken["reason"] == "fit: 3 > 2 & so on"


def test_csv_and_table_agree() -> None:
    """A figure of the table is that of CSV, rounded; the rows stand in the same order."""
    keys = [column.key for column in columns.COLUMNS]
    for row, raw in zip(from_plain(whole("table"))[1:], from_csv(whole("csv")), strict=True):
        cells = dict(zip(keys, row, strict=True))
        assert cells["rank"] == (raw["rank"] or "–")
        for key, field, digits in (
            ("dev", "dev_nll", 4),
            ("bits", "test_bits", 3),
            ("train", "train_nll", 4),
        ):
            assert cells[key] == (f"{float(raw[field]):.{digits}f}" if raw[field] else "–")
        for key, field in (("behind", "behind"), ("excess", "excess")):
            if raw[f"{field}_half"]:
                expected = f"{float(raw[field]):.4f}±{float(raw[f'{field}_half']):.4f}"
                assert cells[key] == expected.replace("0.", ".")


def whole(form: str) -> str:
    """Every column."""
    return shown(form, columns=columns.choose("all"), width=10_000)


def test_markdown_and_latex_carry_the_notes() -> None:
    """What must be known to read the table goes with it, escaped; CSV is data alone."""
    for form in ("markdown", "latex"):
        text = shown(form)
        assert "Test scores on record for this split, this run included: 7." in text
        assert "60 distinct test documents" in text
    assert "fit: 3 &gt; 2 &amp; so on" in shown("markdown")
    assert r"fit: 3 \textgreater{} 2 \& so on" in shown("latex")
    assert len(shown("csv").split("\n")) == 5


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_an_empty_run_says_so(form: str) -> None:
    """No cell, no table; CSV keeps its titles."""
    assert shown(form, []) == "no cell has finished"
    assert shown("csv", []).startswith("rank,model,backend,")


# ---- hostile names


@settings(deadline=None, max_examples=150)
@given(hostile, hostile)
def test_no_format_obeys_a_hostile_name(model: str, backend: str) -> None:
    """Whatever a model and its backend are called, every format is one row that holds these names."""
    one = [record(0, model=model, backend=backend, reason=model, marks=[backend], absent={"x": model})]
    name = formats.clean(f"{model}@{backend}").strip()
    for form in ("table", "markdown", "latex", "csv", "json"):
        assert harmless(shown(form, one, width=10_000)), form
    assert from_plain(shown("table", one, width=10_000))[1][1] == name
    ((_, markdown, *_),) = from_markdown(shown("markdown", one))[1:]
    assert markdown.strip() == name
    ((_, latex, *_),) = from_latex(shown("latex", one))[1:]
    assert latex.replace("--", "–").strip() == name.replace("--", "–")
    (raw,) = from_csv(shown("csv", one))
    assert raw["model"] in (formats.clean(model), f"'{formats.clean(model)}")
    assert not re.match(r"\s*[=+\-@]", raw["model"])
    assert float(raw["test_nll"]) == one[0].metrics.test_nll
    assert json.loads(shown("json", one))["records"] == msgspec.to_builtins(one)


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv"])
def test_a_hostile_dataset_is_harmless(form: str) -> None:
    """A dataset may be a file of any name: it stands in the heading or in no place."""
    header = msgspec.structs.replace(HEADER, dataset="".join(PIECES), split="\x1b[0m")
    assert harmless(report.render(header, RECORDS, scores, nothing, None, report.View(form)))


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-cmd", "'-cmd"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\\t=1"),
        (" =1", "' =1"),
        ("a=1", "a=1"),
        (-1.5, -1.5),
        (None, None),
    ],
)
def test_formulas_get_an_apostrophe(text: object, cell: object) -> None:
    """Texts that a spreadsheet would compute are marked, numbers are left alone."""
    assert formats.in_csv(text) == cell


@settings(deadline=None, max_examples=100)
@given(st.lists(hostile, min_size=1, max_size=3))
def test_a_list_of_notes_is_a_flat_list_of_texts(texts: list[str]) -> None:
    """In Markdown a note is one item with one paragraph of plain text, however it begins."""
    markdown_it = pytest.importorskip("markdown_it")
    tokens = markdown_it.MarkdownIt("commonmark").parse(
        formats.markdown_list([f"{formats.clean(text)}." for text in texts])
    )
    inline = [token for token in tokens if token.type == "inline"]
    assert len(inline) == len(texts)
    assert {child.type for token in inline for child in token.children} <= {"text"}
    assert {token.type for token in tokens} <= {
        f"{name}_{end}" for name in ("bullet_list", "list_item", "paragraph") for end in ("open", "close")
    } | {"inline"}


# ---- width


def many(statuses: Sequence[str]) -> list[Record]:
    """Twelve rows with long and short names, large figures and these statuses in turn."""
    names = ("count-bigram", "mlp", "a-transformer-of-some-size", "x" * 40)
    return [
        record(
            i,
            model=names[i % 4],
            options={"context": 8, "hidden": 300} if i % 3 == 0 else {},
            status=statuses[i % len(statuses)],
            parameters=10 ** (i % 10),
        )
        for i in range(12)
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 140])
@pytest.mark.parametrize("chosen", [None, "all"])
@pytest.mark.parametrize("statuses", [("ok",), ("ok", "diverged", "out-of-memory", "skipped")])
def test_a_table_is_no_wider_than_asked(width: int, chosen: str | None, statuses: Sequence[str]) -> None:
    """Names are broken over lines, columns continued underneath, and every figure stays whole."""
    rows = standings(many(statuses), scores)
    found = columns.shown(columns.choose(chosen), rows)
    cells = [column.cells(rows) for column in found]
    lines = formats.plain(cells, width).split("\n")
    assert max(map(len, lines)) <= width
    words = set(" ".join(lines).split())
    assert {text for column in cells if not column.words for text in column.texts if " " not in text} <= words


def test_the_default_table_of_the_built_in_models_is_one_block_of_100() -> None:
    """Ten rows of names like count-bigram@numpy stand on a line each at 100 characters."""
    metrics = Metrics(dev_nll=2.5, test_nll=2.5, test_nll_half=0.0123)
    rows = [record(i, model="count-bigram", config={"k": i}, metrics=metrics) for i in range(10)]
    table = shown("table", rows).split("\n\n")[1].split("\n")
    assert len(table) == 2 + 1 + 10
    assert max(map(len, table)) <= report.WIDTH
    assert all("count-bigram@numpy" in line for line in table[3:])


@settings(deadline=None, max_examples=200)
@given(st.text("ab-@,: /", max_size=60), st.integers(5, 30))
def test_a_broken_name_can_be_put_together_again(name: str, width: int) -> None:
    """No line is too long, and the lines joined are the name, unless an ellipsis says what is left out."""
    lines = formats.wrapped(name, width)
    assert 1 <= len(lines) <= formats.LINES
    assert all(len(line.rstrip()) <= width for line in lines)
    assert "".join(lines) == name or "…" in "".join(lines)


@pytest.mark.parametrize(
    ("name", "width", "lines"),
    [
        ("count-bigram@numpy", 18, ["count-bigram@numpy"]),
        ("count-bigram@numpy", 17, ["count-bigram", "@numpy"]),
        ("mlp@numpy:context=8,hidden=300", 18, ["mlp@numpy:", "context=8,", "hidden=300"]),
        ("extraordinarily@torch", 12, ["extrao…arily", "@torch"]),
        ("out-of-memory", 8, ["out-of-", "memory"]),
    ],
)
def test_where_names_are_broken(name: str, width: int, lines: list[str]) -> None:
    """Before the backend, after a comma, a colon or a hyphen; else they are shortened in the middle."""
    assert formats.wrapped(name, width) == lines


# ---- choosing columns


def titles(chosen: str | None, rows: Sequence[Standing] = ()) -> list[str]:
    """The keys of the columns that a table would have."""
    return [column.key for column in columns.shown(columns.choose(chosen), rows)]


def test_columns_stand_in_the_order_asked_for() -> None:
    """By key or by the name of CSV, each once, with `default` and `all` for theirs."""
    assert titles("test,rank, model") == ["test", "rank", "model"]
    assert titles("test_nll_half,peak_rss_bytes,test") == ["test", "memory"]
    assert titles("all") == [column.key for column in columns.COLUMNS]
    default = [column.key for column in columns.COLUMNS if column.shown != "asked"]
    assert titles("default,se-docs") == [*default, "se-docs"]
    assert titles("se-docs,default") == ["se-docs", *default]


def test_the_default_leaves_out_what_no_row_has() -> None:
    """Without scores, excess and seen documents these columns are not there."""
    bare = record(metrics=Metrics(test_nll=2.0))
    assert not {"excess", "unseen", "behind"} & set(titles(None, standings([bare], nothing)))
    assert {"excess", "unseen", "behind"} <= set(titles(None, standings([record()], scores)))


@pytest.mark.parametrize(("wrong", "near"), [("tset", "test"), ("sd-seed", "sd-seeds"), ("", "known: all")])
def test_an_unknown_column_names_the_nearest(wrong: str, near: str) -> None:
    """Or, where none is near, all of them."""
    with pytest.raises(UsageError, match=f"unknown column '{wrong}' of --columns.*{near}"):
        columns.choose(f"rank,{wrong}")


def test_keys_and_fields_are_unambiguous() -> None:
    """No key is used twice, no field by two columns, and no key is another column's field."""
    keys = [column.key for column in columns.COLUMNS]
    fields = [field for column in columns.COLUMNS for field in column.raw]
    assert len(set(keys)) == len(keys)
    assert len(set(fields)) == len(fields)
    owner = {field: column.key for column in columns.COLUMNS for field in column.raw}
    assert all(owner.get(key, key) == key for key in keys)


def test_every_column_is_documented() -> None:
    """docs/tables.md lists each key with its fields, in the order of `all`."""
    listed = re.findall(r"^\| `([a-z-]+)` \| (.+?) \|", DOCUMENTS.read_text(encoding="utf-8"), re.MULTILINE)
    assert listed == [
        (column.key, ", ".join(f"`{field}`" for field in column.raw)) for column in columns.COLUMNS
    ]


# ---- the command line


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one stored run."""
    place = tmp_path_factory.mktemp("formats")
    names = place / "few.txt"
    names.write_text("".join(f"{a}{b}{c}\n" for a, b, c in itertools.product("abcde", repeat=3)))
    run = ["run", "--in-process", "--models", "uniform,count-bigram:k=0/1", "--dataset", f"file:{names}"]
    assert main([*run, "--results", str(place / "results")]) == 0
    return place / "results"


def printed(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    """What `harness show` prints."""
    capsys.readouterr()
    assert main(["show", "--results", str(folder), *arguments]) == 0
    return capsys.readouterr().out


def test_show_has_every_format(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """Table by default, the others by name; `--json` is `--format json`."""
    table = from_plain(printed(capsys, folder))
    assert from_markdown(printed(capsys, folder, "--format", "markdown")) == table
    assert from_latex(printed(capsys, folder, "--format", "latex")) == table
    rows = from_csv(printed(capsys, folder, "--format", "csv"))
    assert [f"{row['model']}@{row['backend']}" for row in rows] == [
        row[1].partition(":")[0] for row in table[1:]
    ]
    document = printed(capsys, folder, "--format", "json")
    assert document == printed(capsys, folder, "--json")
    (path,) = store.run_files(folder)
    assert json.loads(document)["records"] == msgspec.to_builtins(store.read(path).records)


def test_show_takes_columns(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """In their order, in each format that has any."""
    assert from_plain(printed(capsys, folder, "--columns", "model,test"))[0] == ["model", "test NLL"]
    assert printed(
        capsys, folder, "--columns", "rank,se_docs".replace("_", "-"), "--format", "csv"
    ).startswith("rank,test_nll_se_docs\n1,")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--columns", "rnk"], "unknown column 'rnk' of --columns; did you mean 'rank'?"),
        (["--json", "--format", "csv"], "--json and --format csv contradict each other"),
        (["--columns", "test", "--format", "json"], "--columns is for tables"),
        (["--format", "tabel"], "'tabel' is not one of"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "show"])
def test_a_mistake_is_found_before_anything_runs(
    capsys: pytest.CaptureFixture[str], folder: Path, verb: str, arguments: list[str], said: str
) -> None:
    """Exit 2 and one line; no run is made, no table printed."""
    capsys.readouterr()
    before = store.run_files(folder)
    assert main([verb, "--results", str(folder), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
    assert store.run_files(folder) == before


def test_a_setting_gives_way_to_a_flag(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """HARNESS_SHOW_FORMAT and HARNESS_SHOW_COLUMNS hold until the command line says otherwise."""
    monkeypatch.setenv("HARNESS_SHOW_FORMAT", "csv")
    monkeypatch.setenv("HARNESS_SHOW_COLUMNS", "rank")
    assert printed(capsys, folder).startswith("rank\n1\n")
    assert printed(capsys, folder, "--json").startswith("{")
    monkeypatch.delenv("HARNESS_SHOW_FORMAT")
    monkeypatch.setenv("HARNESS_SHOW_JSON", "1")
    assert printed(capsys, folder, "--format", "csv").startswith("rank\n1\n")


@pytest.mark.parametrize("columns_wide", ["60", "200"])
def test_the_terminal_sets_the_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path, columns_wide: str
) -> None:
    """COLUMNS, as shells set it, bounds the table; it is one block where there is room."""
    monkeypatch.setenv("COLUMNS", columns_wide)
    grid = printed(capsys, folder).split("\nNLL:")[0].split("\n\n", 1)[1]
    assert max(map(len, grid.split("\n"))) <= int(columns_wide)
    assert ("\n\n" in grid.strip()) is (columns_wide == "60")


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv", "json"])
def test_results_have_no_colour(capsys: pytest.CaptureFixture[str], folder: Path, form: str) -> None:
    """No format prints an escape sequence, so that NO_COLOR has nothing to switch off."""
    assert "\x1b" not in printed(capsys, folder, "--format", form)
