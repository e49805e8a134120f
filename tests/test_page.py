"""The page: self-contained, foreign texts stay text, and headless Chromium draws it without a complaint."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import statistics
from harness.compare import Standing, standings
from harness.formats import clean
from harness.history import History, Point, Series
from harness.metrics import metric
from harness.notes import notes
from harness.page import page
from harness.page.facts import Certificate, Facts, Samples
from harness.page.pairs import Table
from harness.page.profiles import Profile, Profiles
from harness.page.sections import tiles
from harness.record import Data, Header, Metrics, Plugin, Record, Throughput, Timings
from harness.statistics import Difference, Estimate

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LARGEST = 1_500_000

HOSTILE = [
    "</script><script>document.title='pwned'</script>",
    "<script>document.title='pwned'</script>",
    "<img src=x onerror=\"document.title='pwned'\">",
    "<svg onload=document.title='pwned'>",
    "\"><script>document.title='pwned'</script>",
    "'><script>document.title='pwned'</script>",
    "\" onmouseover=\"document.title='pwned'",
    "' autofocus onfocus='document.title=1'",
    "</title><script>document.title='pwned'</script>",
    "</style><style>*{display:none!important}</style>",
    "</svg></div></figure><h1>taken over</h1>",
    "</text><foreignObject><iframe src=javascript:alert(1)>",
    "]]><script>document.title='pwned'</script>",
    "<!--", "-->", "<![CDATA[", "<?xml?>", "&lt;script&gt;", "&#60;b&#62;", "&amp;", "&",
    "<a href=javascript:document.title='pwned'>x</a>",
    "<base href=https://example.invalid/>",
    "<meta http-equiv=refresh content=0;url=https://example.invalid>",
    "<link rel=stylesheet href=https://example.invalid/x.css>",
    "<form action=https://example.invalid><button>go",
    "<iframe srcdoc='<script>parent.document.title=1</script>'>",
    "javascript:alert(1)",
    "url(https://example.invalid/x.png)",
    "{{7*7}}", "${7*7}", "%3Cscript%3E", "\\u003cscript\\u003e", "=cmd|' /C calc'!A0",
    "\x1b[31mred\x1b]0;title\x07", "a\x00b", "line\nbreak\r\ttab", "\u2028\u2029",
    "\u202eright to left\u202c", "\u2066isolated\u2069",
    "\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627",
    "\U0001f469\u200d\U0001f4bb emoji \U0001f525", "z\u0351\u034c\u0300alg\u0321o", "\ud800 lone",
    "../../etc/passwd", "x" * 300, "\u6f22" * 120, " ", "[bold]x[/bold]",
]  # fmt: skip


def header(number: int, text: str) -> Header:
    """Of a run in which every text is foreign."""
    return Header(
        run_id=f"run{number}{text}",
        created=f"2026-01-{number + 1:02}T00:00:00",
        version=f"1{text}",
        dataset=text,
        split=f"split {text}",
        budget=text,
        cells=[],
        environment={"commit": text, "packages": {text: text}, "cpu": text},
    )


def record(cell: int, text: str) -> Record:
    """A cell in which every text is foreign; every fourth has no score."""
    ok = cell % 4 != 3
    nll = 2 + cell / 100 if ok else None
    return Record(
        run_id="run",
        cell=cell,
        model=text,
        backend=text,
        options={text: text},
        config={},
        dataset=text,
        split=text,
        repeat=0,
        seed=1,
        budget=text,
        status="ok" if ok else "failed",
        reason=None if ok else text,
        marks=[text],
        absent={text: text},
        metrics=Metrics(dev_nll=nll, dev_nll_half=0.02, test_nll=nll, test_nll_half=0.02),
        timings=Timings(train_s=0.1 + cell),
        throughput=Throughput(eval_chars_per_s=1e3 + cell),
        parameters=10 + cell,
        curve=[(0.05 * (cell + 1), 3.0), (0.1 + cell, nll)],
        data=Data(
            dataset_sha256=text,
            split_fingerprint=text,
            vocabulary=27,
            alphabet=LETTERS,
            documents={"train": 800, "dev": 100, "test": 100},
            targets={"train": 5600, "dev": 700, "test": 700},
            overlap={"dev": 20, "test": 10},
            units=90,
        ),
        plugin=Plugin(distribution=text, version=text, code_hash="c"),
    )


def no_scores(_: Record) -> Mapping[str, Any] | None:
    """None were kept."""
    return None


@functools.cache
def hostile_facts() -> Facts:
    """A page in which every one of the 50 texts is a model, a sample, a check and more."""
    rng = np.random.default_rng(0)
    profiles = [Profile(text, rng.uniform(40, 120, 12), rng.uniform(40, 120, 27)) for text in HOSTILE[:16]]
    outcomes = ("pass", "fail", "n/a")
    return Facts(
        header(9, HOSTILE[0]),
        [header(8, HOSTILE[4])],
        standings([record(i, text) for i, text in enumerate(HOSTILE)], no_scores),
        7,
        [drawn(i) for i in range(30)],
        Profiles(profiles, np.full(12, 40), np.full(27, 40), LETTERS, HOSTILE),
        [
            Table(HOSTILE[0], rng.integers(0, 5000, (27, 27)).astype(float), LETTERS),
            Table(HOSTILE[1], rng.normal(0, 3, (27, 27)), LETTERS),
        ],
        hostile_history(),
        [Certificate(text, text, [(text, each, text) for each in outcomes], False) for text in HOSTILE],
        HOSTILE,
    )


def drawn(first: int) -> Samples:
    """18 samples, beginning with one of the texts; the second card is running text."""
    texts = [HOSTILE[(5 * first + i) % 50] for i in range(18)]
    return Samples(HOSTILE[first], texts, [["new"], ["in train", "in test"]] * 9, None, first == 1)


def hostile_history() -> History:
    """Twelve models in nine runs: every third differs, a new level in the fifth, no score in the last."""
    headers = tuple(header(i, HOSTILE[i]) for i in range(9))

    def point(model: int, run: int, text: str) -> Point:
        value = None if run == 8 else 2 + model / 50 + run / 9
        what = (text,) if run and run % 3 == 0 else ()
        status, level = ("ok", run == 4) if value else (text, False)
        return Point(headers[run].run_id, headers[run].created, text, value, status, text, 1, what, (), level)

    series = [
        Series(text, tuple(point(i, run, text) for run in range(9))) for i, text in enumerate(HOSTILE[:12])
    ]
    return History(metric("test_nll"), HOSTILE[0], HOSTILE[1], headers, tuple(series), True)


@functools.cache
def hostile_page() -> str:
    """Its HTML."""
    return page(hostile_facts())[0]


# ---- without a browser


class Walk(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember it."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        """Remember it."""
        self.text.append(data)


@functools.cache
def walked(html: str) -> Walk:
    """The page, parsed."""
    found = Walk()
    found.feed(html)
    return found


OURS = """
html head meta title style body a header div p button h1 h2 h3 nav ol ul li main section figure figcaption
details summary svg path circle rect text g table caption thead tbody tr th td fieldset legend input label
select option span bdi article pre dl dt dd footer strong script
"""


def test_there_are_fifty_hostile_texts() -> None:
    """As many as were asked for, all different."""
    assert len(set(HOSTILE)) == 50


def test_hostile_texts_add_no_element_and_no_handler() -> None:
    """Only elements of ours, one script, no handler, no inline style, no address but our anchors."""
    found = walked(hostile_page())
    assert set(found.tags) <= set(OURS.split())
    assert found.tags.count("script") == 1
    assert found.tags.count("style") == 1
    assert found.tags.count("h1") == 1
    for tag, name, value in found.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in ("style", "src", "srcdoc", "action", "formaction"), (tag, name)
        assert name != "href" or re.fullmatch(r"#[a-z]+-part", value), value


@pytest.mark.parametrize("text", HOSTILE, ids=range(50))
def test_a_hostile_text_is_shown_as_it_is(text: str) -> None:
    """With what is invisible in it as an escape."""
    shown = clean(text)
    assert any(shown in piece for piece in walked(hostile_page()).text)


def test_the_page_names_no_address() -> None:
    """Nothing to load: the only address that our own markup holds is the name of SVG."""
    facts = hostile_facts()
    calm = Facts(header(1, "names"), [], facts.rows[:0] or [Standing((record(0, "m"),))], 1)
    html = page(calm)[0]
    assert set(re.findall(r"\b\w+://[^\s\"'<>]+", html)) == {"http://www.w3.org/2000/svg"}


def test_the_page_stays_below_its_limit() -> None:
    """50 rows of names of up to 300 characters, 30 cards of 18 samples, 50 certificates: under 1.5 MB."""
    assert len(hostile_page().encode()) < LARGEST


def test_the_policy_allows_our_style_and_script_alone() -> None:
    """`default-src 'none'`, and one hash each; nothing unsafe, no address."""
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', hostile_page())
    (style,) = re.findall(r"<style>(.*?)</style>", hostile_page(), re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", hostile_page(), re.DOTALL)
    assert policy == (
        f"default-src 'none'; style-src {source(style)}; script-src {source(script)}; base-uri 'none'; "
        "form-action 'none'"
    )


def source(text: str) -> str:
    """The hash of an inline text, as a policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_every_drawing_has_its_table_and_every_figure_is_in_it() -> None:
    """A `details` with a table for each figure of the page, its region reachable by keyboard."""
    html = hostile_page()
    figures = re.findall(r'<figure id="([^"]+)">(.*?)</figure>', html, re.DOTALL)
    assert len(figures) == len(page(hostile_facts())[1])
    for name, inside in figures:
        assert (
            '<details><summary>The same as a table</summary><div class="scroll" tabindex="0" role="region"'
            in inside
        ), name
        assert inside.count("<svg") == 2, name


def test_a_run_whose_cells_have_no_score_has_a_page() -> None:
    """A leaderboard of statuses, no cost, no curves."""
    broken = standings([record(3, "m"), record(7, "n")], no_scores)
    html, charts = page(Facts(header(1, "names"), [], broken, 0))
    assert [chart.name for chart in charts] == ["leaderboard", "split"]
    assert "failed" in html


def test_the_tile_of_the_detectable_difference_is_the_note_s() -> None:
    """Both are over all rows behind the first; the tile shows their median, not the luckiest row's."""
    test = Estimate(2.1, 0.01, None, 0.01, 0.02, 1)
    rows = [Standing((record(1, f"m{i}"),), test, None, 1 + i,
                     Difference(0.1, se, None, se, 90, 90) if se else None)
            for i, se in enumerate((0.0, 0.004, 0.006, 0.01))]  # fmt: skip
    low, middle, high = (f"{statistics.detectable(se, 90):.4f}" for se in (0.004, 0.006, 0.01))
    title, figure, said = tiles(Facts(header(1, "names"), [], rows, 0))[1]
    assert (title, figure) == ("Smallest detectable difference", middle)
    assert said == f"nats to the best, with 80 % power; median of {low} to {high}"
    assert any(f"{low} to {high}, median {middle} nats" in line for line in notes(rows))


def test_a_test_part_too_small_for_profiles_is_told() -> None:
    """In place of the drawings and the choice of models stands why there are none."""
    few = Profiles([Profile("m", np.ones(2), np.ones(27))], np.full(2, 3), np.full(27, 1), LETTERS)
    rows = standings([record(1, "m")], no_scores)
    html, charts = page(Facts(header(1, "names"), [], rows, 0, profiles=few))
    assert not [chart for chart in charts if chart.name.startswith("by-")]
    assert "<p>Nothing is drawn by position: none has 20 test targets.</p>" in html
    assert "<select" not in html


# ---- in headless Chromium, the network blocked

PROBE = """
const visible = (e) => e.getBoundingClientRect().width > 0;
const drawn = [...document.querySelectorAll("figure")].map((f) => {
  const svg = [...f.querySelectorAll("svg")].filter(visible);
  const inside = svg.length ? svg[0].querySelectorAll("circle,path,rect,text").length : 0;
  return [f.id, svg.length, svg.length ? svg[0].getBoundingClientRect().width : 0, inside];
});
const paper = () => getComputedStyle(document.body).backgroundColor;
const before = paper();
document.getElementById("theme").click();
const after = paper();
document.getElementById("theme").click();
const radio = [...document.querySelectorAll("input[type=radio]")];
const second = document.getElementById("cost-parameters");
const seen = [visible(document.getElementById("cost-train")), visible(second)];
radio[1].click();
seen.push(visible(second));
const pick = document.getElementById("b-model");
pick.value = "5";
pick.dispatchEvent(new Event("change"));
const chosen = [...document.querySelectorAll("#by-position .wide g.model.b")].map((g) => g.dataset.model);
const mark = document.querySelector("#by-position .wide g.model.b circle");
const answer = JSON.stringify({
  drawn, before, after, seen, chosen, marked: mark ? mark.getBoundingClientRect().width : 0,
  wide: document.documentElement.scrollWidth, window: innerWidth, title: document.title,
  loaded: performance.getEntriesByType("resource").map((r) => r.name),
  focusable: [...document.querySelectorAll("summary,.scroll,select,input,button,nav a")]
    .every((e) => e.tabIndex >= 0),
});
document.body.dataset.probe = answer;
parent.postMessage(answer, "*");
"""

TELEPHONE = """<!doctype html><iframe src="inner.html" width="390" height="800"></iframe>
<script>addEventListener("message", (e) => { document.body.dataset.probe = e.data; });</script>"""


def chromium() -> str:
    """The browser; skips where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium here: the page is not looked at")


def opened(html: str, folder: Path) -> tuple[str, list[str]]:
    """The document after its scripts have run, and what was written to the console."""
    path = folder / "page.html"
    path.write_text(html, encoding="utf-8")
    command = [
        chromium(),
        "--headless=new",
        "--no-sandbox",
        "--no-first-run",
        "--disable-gpu",
        "--hide-scrollbars",
        "--proxy-server=127.0.0.1:9",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}",
        "--window-size=1400,1000",
        "--dump-dom",
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    return done.stdout, re.findall(r"CONSOLE[^\]]*\] (.*)", done.stderr)


def with_probe(html: str) -> str:
    """The page with a script of the test's, which its policy is made to allow."""
    allowed = html.replace("; base-uri", f" {source(PROBE)}; base-uri", 1)
    return allowed.replace("</body>", f"<script>{PROBE}</script></body>")


def answer(document: str) -> dict[str, Any]:
    """What the probe has found."""
    (found,) = [value for _, name, value in walked(document).attributes if name == "data-probe"]
    result: dict[str, Any] = json.loads(found)
    return result


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[str]]:
    """The hostile page at 1400 pixels: what the probe found, and the console."""
    document, console = opened(with_probe(hostile_page()), tmp_path_factory.mktemp("wide"))
    return answer(document), console


def test_the_browser_draws_every_chart(wide: tuple[dict[str, Any], list[str]]) -> None:
    """One drawing a figure, as wide as its place and not empty; hidden panels of a switch apart."""
    found, _ = wide
    hidden = {"cost-parameters", "cost-throughput", "bigram-weights"}
    names = {name for name, *_ in found["drawn"]}
    assert names >= {
        "leaderboard",
        "cost-train",
        "curves",
        "by-position",
        "by-character",
        "bigram-counts",
        "history",
    }
    for name, count, width, inside in found["drawn"]:
        if name not in hidden:
            assert (count, width) == (1, 1080), name
            assert inside > 5, name


def test_nothing_is_said_on_the_console(wide: tuple[dict[str, Any], list[str]]) -> None:
    """No error, no refused style, script or address; nothing was loaded, and no text has run."""
    found, console = wide
    assert console == []
    assert found["loaded"] == []
    assert "pwned" not in found["title"].replace(clean(HOSTILE[0]), "")


def test_the_page_answers_its_reader(wide: tuple[dict[str, Any], list[str]]) -> None:
    """The button changes the colours, a radio button the drawing, a choice the second model."""
    found, _ = wide
    assert found["before"] == "rgb(253, 253, 252)"
    assert found["after"] == "rgb(21, 23, 26)"
    assert found["seen"] == [True, False, True]
    assert found["chosen"] == ["5"]
    assert found["marked"] > 5
    assert found["focusable"]


def test_a_telephone_need_not_scroll_sideways(tmp_path: Path) -> None:
    """At 390 pixels, with names of 300 characters: the narrow drawings, and nothing wider than the window."""
    (tmp_path / "inner.html").write_text(with_probe(hostile_page()), encoding="utf-8")
    document, console = opened(TELEPHONE, tmp_path)
    found = answer(document)
    assert found["window"] == 390
    assert found["wide"] <= found["window"]
    assert [(n, round(w)) for name, n, w, _ in found["drawn"] if name in ("curves", "history")] == [
        (1, 354)
    ] * 2
    assert console == []


def test_the_policy_holds(tmp_path: Path) -> None:
    """A script, a handler, a style and a picture that got into the page all the same are refused."""
    planted = (
        "<script>document.title='pwned'</script><p id=s style='color:red'>x</p>"
        "<img src=https://example.invalid/x.png onerror=\"document.title='pwned'\">"
    )
    document, console = opened(hostile_page().replace("<main>", f"<main>{planted}", 1), tmp_path)
    assert document.count("<title>") == hostile_page().count("<title>")
    title = document[document.index("<title>") : document.index("</title>")]
    assert title.endswith("– harness")
    refused = [line for line in console if "Content Security Policy" in line]
    for kind in ("script", "style", "image"):
        assert any(kind in line for line in refused), kind
