"""`harness score`: any text under a stored model, by the protocol of the table."""

from __future__ import annotations

import io
import json
import math
import random
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness import Corpus, evaluate, plan, store
from harness.cli import main

MODELS = "count-bigram:k=0.5,mlp:steps=20"


def names(n: int) -> list[str]:
    """Names of 1 to 6 letters, some of them twice, some of two words."""
    rng = random.Random(4)
    return ["".join(rng.choices("abcd e", k=rng.randint(0, 5))) + "f" for _ in range(n)]


def prose(n: int) -> str:
    """Lines of running text."""
    rng = random.Random(5)
    return "".join(rng.choices("abc \n", k=n))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three runs: of running text, of names without smoothing, and, the latest, of names."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "names.txt").write_text("\n".join(names(600)) + "\n")
    (folder / "prose.txt").write_text(prose(300_000))
    for kind, file, models in (
        ("text", "prose", "count-bigram:k=0.5"),
        ("lines", "names", "count-bigram:k=0"),
        ("lines", "names", MODELS),
    ):
        harness.run(
            models,
            dataset=f"file:{folder}/{file}.txt",
            kind=kind,  # type: ignore[arg-type]
            results=folder / "results",
            in_process=True,
        )
    return folder


@pytest.fixture(autouse=True)
def runs(made: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The run files: running text, names without smoothing, names."""
    monkeypatch.setenv("HARNESS_RESULTS", str(made / "results"))
    return store.run_files(made / "results")


def held_out(path: Path) -> Corpus:
    """The test part of a run."""
    record = store.read(path).records[0]
    kind: Any = "text" if record.data.window else "lines"
    made = plan.plan("uniform", data=record.dataset, kind=kind)
    return made.split_for(made.cells[0].choice).test.corpus


def scored(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The JSON that `harness score` prints."""
    assert main(["score", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out, parse_constant=lambda constant: pytest.fail(constant))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a mistake."""
    assert main(["score", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"harness: [^\n]+\n", printed.err)
    return printed.err


# ---- the protocol


@pytest.mark.parametrize("which", [0, 2])
def test_the_test_documents_score_as_in_the_run(
    capsys: pytest.CaptureFixture[str], runs: list[Path], which: int
) -> None:
    """A file of the run's own test part has the record's test NLL, interval and units."""
    part = held_out(runs[which])
    Path("held.txt").write_text("\n".join(part.text(i) for i in range(len(part))))
    for record in store.read(runs[which]).records:
        total = scored(capsys, record.label, "held.txt", "--run", runs[which].stem)["total"]
        assert total["nats_per_character"] == pytest.approx(record.metrics.test_nll, abs=1e-12)
        assert total["half"] == pytest.approx(record.metrics.test_nll_half, abs=1e-12)
        assert total["targets"] == record.data.targets["test"]
        assert total["units"] == record.data.units
        assert record.metrics.test_nll is not None


def test_every_character_is_that_of_one_prefix_at_a_time(
    capsys: pytest.CaptureFixture[str], runs: list[Path]
) -> None:
    """−ln p of each character is what the model says after its prefix alone; documents sum them."""
    Path("mine.txt").write_text("abf\nd cab\nabf\n")
    found = scored(capsys, "mlp", "mine.txt", "--per-character")
    loaded = harness.load("latest")
    record = loaded.records[1]
    model = loaded.model(record)
    assert model is not None
    alphabet = harness.Alphabet(str(record.data.alphabet))
    for row, text in zip(found["documents"], ("abf", "d cab", "abf"), strict=True):
        tokens = [0, *alphabet.encode(text), 0]
        expected = [
            -float(model.log_probs(np.array([tokens[: i + 1]]))[0, -1, tokens[i + 1]])
            for i in range(len(tokens) - 1)
        ]
        assert row["text"] == text
        assert row["characters"] == pytest.approx(expected, abs=1e-5)  # rows are normalised once more
        assert row["nats"] == pytest.approx(math.fsum(row["characters"]), abs=1e-12)
        assert row["targets"] == len(text) + 1
        assert row["nats_per_character"] == pytest.approx(row["nats"] / row["targets"], abs=1e-12)
    assert found["total"]["nats"] == pytest.approx(sum(row["nats"] for row in found["documents"]), abs=1e-12)
    assert (found["total"]["documents"], found["total"]["units"]) == (3, 2)  # equal documents are one unit
    assert found["total"]["half"] is None


def test_running_text_is_scored_in_blocks(capsys: pytest.CaptureFixture[str], runs: list[Path]) -> None:
    """A row for each 1,000 characters, the rest in the last one; each character as by its window."""
    text = prose(3_500)
    Path("mine.txt").write_text(text)
    found = scored(capsys, "count-bigram:k=0.5", "mine.txt", "--run", str(runs[0]), "--per-character")
    assert [row["targets"] for row in found["documents"]] == [1000, 1000, 1500]
    assert "".join(row["text"] for row in found["documents"]) == text
    loaded = harness.load(runs[0])
    model = loaded.models["count-bigram k=0.5@numpy"]
    corpus = Corpus.from_documents([text], harness.Alphabet(str(loaded.records[0].data.alphabet)), "text")
    expected = -np.take_along_axis(
        model.log_probs(corpus.tokens[None, :-1].astype(np.int64))[0],
        corpus.tokens[1:, None].astype(np.int64),
        axis=1,
    )[:, 0]
    every = [nats for row in found["documents"] for nats in row["characters"]]
    assert every == pytest.approx(expected.tolist(), abs=1e-9)
    assert found["kind"] == "text"
    assert found["total"]["documents"] == 1


def test_an_impossible_character_is_infinite(capsys: pytest.CaptureFixture[str], runs: list[Path]) -> None:
    """p = 0 is shown as inf in its row and in the total, counted, and null in strict JSON."""
    Path("mine.txt").write_text("af\nf f\nfa\n")
    arguments = ["count-bigram", "mine.txt", "--run", runs[1].stem, "--per-character"]
    assert main(["score", *arguments]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^fa +3 +inf +inf$", printed, re.MULTILINE)
    assert re.search(r"^ +f \d\.\d{4}    a    inf  end    inf$", printed, re.MULTILINE)
    assert "count-bigram@numpy:k=0: inf nats per character over 10 targets of 3 documents" in printed
    found = scored(capsys, *arguments)
    zero = [nats for row in found["documents"] for nats in row["characters"]].count(None)
    assert found["total"]["zero_probability"] == zero > 0
    assert f"{zero} targets with p = 0" in printed
    assert found["total"]["nats"] is None
    assert found["total"]["nats_per_character"] is None


# ---- what is printed


def test_a_line_a_document_and_the_total(capsys: pytest.CaptureFixture[str]) -> None:
    """Text, targets, nats, nats per character; spaces are visible; the total stands last."""
    Path("mine.txt").write_text("abf\n" + "abc d" * 20 + "f\n")
    assert main(["score", "mlp", "mine.txt", "--per-character"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert re.fullmatch(r"text +targets +nats +nats/char", lines[0])
    assert re.fullmatch(r"abf +4 +(\d+\.\d{4}) +(\d\.\d{4})", lines[1])
    assert re.fullmatch(r" +a \d\.\d{4}    b \d\.\d{4}    f \d\.\d{4}  end \d\.\d{4}", lines[2])
    assert re.match(r"(abc d){7}abc … +102 ", lines[3])
    assert "  ␣ " in lines[4]
    assert max(map(len, lines[:-1])) <= 100
    assert len({len(line) for line in (lines[0], lines[1], lines[3])}) == 1
    assert re.fullmatch(
        r"mlp@numpy:steps=20: \d\.\d{4} nats per character over 106 targets of 2 documents; "
        "no interval below 20 distinct documents",
        lines[-1],
    )
    assert printed.err == ""


def test_an_interval_from_twenty_documents_on(capsys: pytest.CaptureFixture[str]) -> None:
    """The total has half its 95 % interval."""
    Path("mine.txt").write_text("\n".join(sorted(set(names(60)))[:20]))
    assert main(["score", "mlp", "mine.txt"]) == 0
    total = capsys.readouterr().out.splitlines()[-1]
    assert re.search(r": \d\.\d{4} ± 0\.\d{4} nats per character over \d+ targets of 20 documents", total)
    assert total.endswith("± is half a 95 % interval over 20 distinct documents")


def test_blank_lines_are_dropped_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines of white space are no documents, even where a tab is no character of the model."""
    Path("mine.txt").write_bytes(b"\xef\xbb\xbfabf\r\n\r\n \t\r\nbf\r\n")
    assert main(["score", "mlp", "mine.txt", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert [row["text"] for row in found["documents"]] == ["abf", "bf"]
    assert found["total"]["blank_lines"] == 2
    assert printed.err == "mine.txt: blank lines dropped: 2\n"


def test_a_dash_reads_stdin(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`harness score MODEL -` scores what comes in."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"abf\n")))
    found = scored(capsys, "mlp", "-")
    assert (found["file"], found["documents"][0]["text"]) == ("-", "abf")


# ---- mistakes


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("abf\n\nabc\nab\u00e9f\n", "mine.txt, line 4, column 3: 'é' (U+00E9)"),
        ("abf\nab\tf", r"mine.txt, line 2, column 3: '\t' (U+0009)"),
        ("\x1bf", r"mine.txt, line 1, column 1: '\x1b' (U+001B)"),
        ("", "mine.txt: no text in it"),
        ("\n \n", "mine.txt: no text in it"),
        ("abf\n\udcff", "mine.txt: not UTF-8 (byte 4"),
    ],
)
def test_a_text_that_the_model_cannot_read(
    capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    """One line that names the character with its line and column, or what else is wrong with the file."""
    Path("mine.txt").write_text(content, errors="surrogateescape")
    assert said in refused(capsys, "mlp", "mine.txt")


def test_a_file_that_is_absent(capsys: pytest.CaptureFixture[str]) -> None:
    """The file is named."""
    assert "absent.txt: No such file" in refused(capsys, "mlp", "absent.txt")
    assert "no model 'mpl'" in refused(capsys, "mpl", "absent.txt")


def test_lines_and_running_text_are_not_mixed_up(
    capsys: pytest.CaptureFixture[str], runs: list[Path]
) -> None:
    """A model of lines has no line break, and a model of running text has it as a character."""
    Path("mine.txt").write_text("ab\nc")
    assert r"line 1, column 3: '\n'" in refused(capsys, "mlp", "mine.txt", "--as", "text")
    assert "a line break is a character" in refused(
        capsys, "count-bigram", "mine.txt", "--as", "lines", "--run", runs[0].stem
    )
    Path("one.txt").write_text("abc d")
    found = scored(capsys, "mlp", "one.txt", "--as", "text")
    assert found["total"]["targets"] == 5  # no end


# ---- target by target


def test_scores_are_sums_of_targets(small: Corpus) -> None:
    """Blind scoring target by target has the same sums as document by document, to the bit."""
    from harness_plugins.count_bigram import CountBigram

    model = CountBigram(27, {"k": 1.0}, np.random.default_rng(0))
    model.fit(small, small, harness.Trial())
    each = evaluate.score_targets(model, small, None)
    assert evaluate.score(model, small, None).sums.tolist() == evaluate.blind(model, small).sums.tolist()
    for document in range(len(small)):
        first, last = small.offsets[document : document + 2]
        total = 0.0
        for nats in each[first:last].tolist():
            total += nats
        assert total == evaluate.blind(model, small).sums[document]
