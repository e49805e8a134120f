"""`harness compress` and `decompress`: a text there and back, and everything that is refused."""

from __future__ import annotations

import json
import lzma
import math
import os
import random
import re
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

import harness
from harness import codec, container, store
from harness.cli import compress, main
from harness.cli.stored import spellings
from harness.contract import Model
from harness.environment import thread_variables

MODELS = "count-bigram:k=0.5,mlp:steps=20"


def lines(n: int, seed: int = 4) -> list[str]:
    """Names of 1 to 6 letters, some of them twice, some of two words."""
    rng = random.Random(seed)
    return ["".join(rng.choices("abcd e", k=rng.randint(0, 5))) + "f" for _ in range(n)]


def prose(n: int) -> str:
    """Lines of running text."""
    rng = random.Random(5)
    return "".join(rng.choices("abc \n", k=n))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four runs: of running text, of names without smoothing, of other names, of names."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "names.txt").write_text("\n".join(lines(300)) + "\n")
    (folder / "others.txt").write_text("\n".join(lines(300, seed=8)) + "\n")
    (folder / "prose.txt").write_text(prose(3_000))
    for kind, file, models in (
        ("text", "prose", "count-bigram:k=0.5,ngram"),
        ("lines", "names", "count-bigram:k=0"),
        ("lines", "others", "mlp:steps=20"),
        ("lines", "names", MODELS),
    ):
        harness.run(
            models,
            dataset=f"file:{folder}/{file}.txt",
            kind=kind,  # type: ignore[arg-type]
            seeds=2 if models == MODELS else 1,
            results=folder / "results",
            in_process=True,
        )
    return folder


@pytest.fixture(autouse=True)
def runs(made: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the runs: running text, names without smoothing, other names, names."""
    monkeypatch.setenv("HARNESS_RESULTS", str(made / "results"))
    for name in thread_variables(1):  # that the verbs set is taken back after each test
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    return [path.stem for path in store.run_files(made / "results")]


def compressed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The JSON that `harness compress` prints."""
    assert main(["compress", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out, parse_constant=lambda constant: pytest.fail(constant))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a mistake; no file has come."""
    before = set(Path().rglob("*"))
    assert main(list(arguments)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"harness: [^\n]+\n", printed.err)
    assert set(Path().rglob("*")) == before
    return printed.err


def rewritten(file: str, **changes: Any) -> str:
    """The same file with another header, its checksum right."""
    about, code = container.unpack(Path(file).read_bytes(), file)
    Path("changed.nchz").write_bytes(container.pack(msgspec.structs.replace(about, **changes), code))
    return "changed.nchz"


# ---- there and back


@pytest.mark.parametrize(
    "content",
    [
        b"abf\nd cab\nabf\n",
        b"f",
        b"\n\nabf\n\n\ncf",
        b"\xef\xbb\xbfabf\r\n\r\nbf\r\n",
        ("\n".join(lines(100, seed=1)) + "\n").encode(),
    ],
)
def test_lines_come_back_byte_for_byte(capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    """Line endings, marks, blank lines and an open end included; the second seed of a network."""
    Path("mine.txt").write_bytes(content)
    assert main(["compress", "mlp #2", "mine.txt"]) == 0
    Path("mine.txt").unlink()
    assert main(["decompress", "mine.txt.nchz"]) == 0
    assert Path("mine.txt").read_bytes() == content
    assert re.search(
        rf"^mine.txt: {len(content):,} bytes, as they were", capsys.readouterr().out, re.MULTILINE
    )
    assert sorted(path.name for path in Path().iterdir()) == ["mine.txt", "mine.txt.nchz"]


@pytest.mark.parametrize("pieces", ["1", "5"])
def test_running_text_comes_back(capsys: pytest.CaptureFixture[str], runs: list[str], pieces: str) -> None:
    """As one text with its line breaks and blank lines, whatever the number of pieces."""
    content = ("\n\n" + prose(397) + " \n").encode()
    Path("mine.txt").write_bytes(content)
    assert main(["compress", "ngram", "mine.txt", "--run", runs[0], "--pieces", pieces]) == 0
    assert main(["decompress", "mine.txt.nchz", "-o", "back.txt"]) == 0
    assert Path("back.txt").read_bytes() == content


def test_another_process_reads_it(capsys: pytest.CaptureFixture[str], made: Path) -> None:
    """All that the reader has is the file and the stored run."""
    Path("mine.txt").write_text("abf\n\nd cab\n")
    assert main(["compress", "mlp", "mine.txt"]) == 0
    command = [sys.executable, "-m", "harness", "decompress", "mine.txt.nchz", "-o", "back.txt"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path("back.txt").read_text() == "abf\n\nd cab\n"


# ---- what is printed


@pytest.mark.parametrize(("which", "model"), [(0, "ngram"), (3, "mlp")])
def test_the_figures(capsys: pytest.CaptureFixture[str], runs: list[str], which: int, model: str) -> None:
    """Bits of the code in the file, the protocol's NLL of the same text, HONESTY's bound, xz and zlib."""
    content = prose(300).encode() if which == 0 else ("\n".join(lines(150, seed=2)) + "\n").encode()
    Path("mine.txt").write_bytes(content)
    found = compressed(capsys, model, "mine.txt", "--run", runs[which])
    about, code = container.unpack(Path("mine.txt.nchz").read_bytes(), "")
    assert main(["score", model, "mine.txt", "--run", runs[which], "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)["total"]
    nll_bits = scored["nats"] / math.log(2)
    assert found["characters"] == scored["targets"] == about.targets
    assert found["bits"] == 8 * len(code)
    assert found["bits_per_character"] == pytest.approx(found["bits"] / scored["targets"])
    assert found["nll_bits"] == pytest.approx(nll_bits, abs=1e-9)
    assert found["difference"] == pytest.approx(found["bits"] - nll_bits, abs=1e-9)
    assert found["bound"] == pytest.approx(nll_bits + 64 + 0.002 * scored["targets"])
    assert found["within_bound"] is True
    assert abs(found["difference"]) < 12
    assert found["bytes"] == {
        "text": len(content),
        "file": Path("mine.txt.nchz").stat().st_size,
        "code": len(code),
        "xz": len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)),
        "zlib": len(zlib.compress(content, 9)),
    }


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Four rows of bits, in all and a character, and a line of sizes."""
    Path("mine.txt").write_text("abf\nd cab\n")
    assert main(["compress", "mlp", "mine.txt"]) == 0
    printed = capsys.readouterr()
    rows = printed.out.splitlines()
    number = r"-?\d+\.\d"
    for row, name in zip(rows[1:5], ["code", "NLL / ln 2", "difference", "bound"], strict=True):
        assert re.fullmatch(
            rf"{name} +{number} +{number}\d{{3}}" + ("  kept" if name == "bound" else ""), row
        )
    assert re.fullmatch(
        r"mine\.txt\.nchz: \d+ bytes \(\d+ code, \d+ header and checksum\) for 10 of text; xz \d+, zlib \d+",
        rows[-1],
    )
    assert printed.err == "mlp@numpy:steps=20: the first of 2 seeds ('… #2' names another)\n"


def test_a_bound_that_is_not_kept_says_so() -> None:
    """The same figures one bit above the bound, and on it."""
    figures = compress.Figures(10, 104, 39.9, 103.95, 1, 2, 3, 4, 5)
    assert figures.table().splitlines()[-1].endswith("EXCEEDED")
    assert figures.as_dict()["within_bound"] is False
    kept = compress.Figures(10, 104, 40.0, 104.0, 1, 2, 3, 4, 5)
    assert kept.as_dict()["within_bound"] is True
    endless = compress.Figures(10, 104, math.inf, math.inf, 1, 2, 3, 4, 5).as_dict()
    assert endless["nll_bits"] is endless["bound"] is endless["difference"] is None


def test_long_texts_show_their_progress(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines on stderr, on both ways; the last one has them all."""
    monkeypatch.setattr(compress, "BETWEEN", 0.0)
    Path("mine.txt").write_text("abf\nd cab\n")
    assert main(["compress", "mlp", "mine.txt"]) == 0
    assert main(["decompress", "mine.txt.nchz", "--force"]) == 0
    said = capsys.readouterr().err.splitlines()
    for verb in ("compress", "decompress"):
        lines = [line for line in said if line.startswith(f"{verb}: ")]
        assert len(lines) == 6
        assert re.fullmatch(rf"{verb}: 100% of 10 characters, \S+/s", lines[-1])


def test_one_thread_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says: sums must come out alike. torch, where it is loaded, is told itself."""
    told: list[int] = []
    seen: list[str] = []
    plain = codec.advance

    def spied(*arguments: Any) -> None:
        seen.append(os.environ["OMP_NUM_THREADS"])
        plain(*arguments)

    monkeypatch.setattr(codec, "advance", spied)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(set_num_threads=told.append))
    Path("mine.txt").write_text("abf\n")
    for words in (["compress", "mlp", "mine.txt"], ["decompress", "mine.txt.nchz", "--force"]):
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert main(words) == 0
    assert seen == ["1", "1"]
    assert told == [1, 1]


def test_the_exact_name_chooses_the_record(runs: list[str], made: Path) -> None:
    """What stands in a file names one record of its run, and is a spelling that all verbs know."""
    Path("mine.txt").write_text("abf\n")
    assert main(["compress", "mlp #2", "mine.txt"]) == 0
    about, _ = container.unpack(Path("mine.txt.nchz").read_bytes(), "")
    assert (about.run_id, about.model) == (runs[3], "mlp@numpy:steps=20 #2")
    record = next(r for r in harness.load(runs[3]).records if r.model == "mlp" and r.repeat == 1)
    assert about.model.removesuffix(" #2") in spellings(record)
    params = harness.load(runs[3]).run.params(record)
    assert params is not None
    assert about.params_hash == container.params_hash(params)
    assert about.code_hash == record.plugin.code_hash
    assert about.threads == 1
    assert about.made_with["numpy"] == np.__version__


# ---- texts that cannot be written


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("abf\n\nabc\nab\u00e9f\n", "mine.txt, line 4, column 3: 'é' (U+00E9) is not"),
        ("\ufeffabf\r\n\r\n\rf\r\n", r"mine.txt, line 3, column 1: '\r' (U+000D) is not"),
        ("abf\nab\tf", r"mine.txt, line 2, column 3: '\t' (U+0009) is not"),
        ("abf\n  \nf\n", "mine.txt, line 2: white space alone"),
        ("abf\nf\r\n", "mine.txt, line 1: ends in"),
        ("", "mine.txt: no text in it"),
        ("\udcff", "mine.txt: not UTF-8 (byte 0"),
    ],
)
def test_a_text_that_has_no_code(capsys: pytest.CaptureFixture[str], content: str, said: str) -> None:
    """One line that names the place, or what else is wrong with the file."""
    Path("mine.txt").write_bytes(content.encode(errors="surrogateescape"))
    assert said in refused(capsys, "compress", "mlp #1", "mine.txt")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("f\n\n\naf\nfa\n", "mine.txt, line 5, column 2 (document 3): 'a' has p = 0"),
        ("f\naa\n", "mine.txt, line 2, column 3 (document 2): the end of the document has p = 0"),
    ],
)
def test_p_0_names_document_character_and_place(
    capsys: pytest.CaptureFixture[str], runs: list[str], content: str, said: str
) -> None:
    """Names end in f, and nothing else does: a count without smoothing gives the rest no chance."""
    Path("mine.txt").write_text(content)
    err = refused(capsys, "compress", "count-bigram", "mine.txt", "--run", runs[1])
    assert said in err
    assert "under count-bigram@numpy:k=0: it has no code" in err


def test_p_0_in_running_text_names_line_and_column(
    capsys: pytest.CaptureFixture[str], runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the piece in which it is met."""
    Path("mine.txt").write_text("ab\nc a\nbc")

    class Never(Model):
        fit: Any = None

        def log_probs(self, inputs: Any) -> Any:
            return np.log(np.array([0.2, 0.2, 0.2, 0.2, 0.2, 0.0]) + (inputs == 999)[..., None])

    with np.errstate(divide="ignore"):
        monkeypatch.setattr(
            "harness.notebook.Result.model", lambda *_: Never(6, {}, np.random.default_rng(0))
        )
        err = refused(capsys, "compress", "count-bigram", "mine.txt", "--run", runs[0], "--pieces", "2")
    assert "mine.txt, line 2, column 1: 'c' has p = 0" in err


def test_options_that_do_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is absent, one that is there already, pieces of lines."""
    Path("mine.txt").write_text("abf\n")
    assert "absent.txt: No such file" in refused(capsys, "compress", "mlp #1", "absent.txt")
    for folder in (".", "/"):
        assert f"{folder}: Is a directory" in refused(capsys, "compress", "mlp #1", folder)
    assert "no model 'mpl'" in refused(capsys, "compress", "mpl", "mine.txt")
    assert "--pieces is for running text" in refused(
        capsys, "compress", "mlp #1", "mine.txt", "--pieces", "2"
    )
    assert main(["compress", "mlp", "mine.txt", "-o", "out"]) == 0
    before = Path("out").read_bytes()
    capsys.readouterr()
    assert "out exists: --force" in refused(capsys, "compress", "count-bigram", "mine.txt", "-o", "out")
    assert Path("out").read_bytes() == before
    assert main(["compress", "count-bigram", "mine.txt", "-o", "out", "--force"]) == 0
    assert Path("out").read_bytes() != before


# ---- files that cannot be read


@pytest.fixture
def packed(capsys: pytest.CaptureFixture[str]) -> str:
    """A file of the latest run's network."""
    Path("mine.txt").write_text("abf\nd cab\nabf\n")
    assert main(["compress", "mlp", "mine.txt", "-o", "mine.nchz"]) == 0
    capsys.readouterr()
    return "mine.nchz"


def test_damaged_files_are_refused(capsys: pytest.CaptureFixture[str], packed: str) -> None:
    """Truncated, with one bit turned, or of something else; the text's file does not come."""
    whole = Path(packed).read_bytes()
    turned = bytearray(whole)
    turned[-40] ^= 1
    for content, said in (
        (whole[:-1], "truncated"),
        (bytes(turned), "damaged"),
        (b"PK\3\4", "not a file of harness compress"),
    ):
        Path("bad.nchz").write_bytes(content)
        assert f"bad.nchz: {said}" in refused(capsys, "decompress", "bad.nchz")
    assert "absent.nchz: No such file" in refused(capsys, "decompress", "absent.nchz")


def test_another_model_is_refused(
    capsys: pytest.CaptureFixture[str], packed: str, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that names what differs: run, model, alphabet, parameters, code."""
    assert "no run starts with 'gone'" in refused(capsys, "decompress", rewritten(packed, run_id="gone"))
    for changes, said in (
        ({"model": "lstm@torch #1"}, "no model 'lstm@torch #1' in run"),
        ({"alphabet": "abc"}, "the alphabet of mlp@numpy:steps=20 of run"),
        ({"kind": "text"}, "the alphabet of"),
        ({"params_hash": "0" * 64}, "the parameters of mlp@numpy:steps=20 of run"),
        ({"code_hash": "0" * 64}, "the code of mlp@numpy:steps=20 has changed"),
    ):
        assert said in refused(capsys, "decompress", rewritten(packed, **changes), "-o", "back")
    err = refused(capsys, "decompress", packed, "--run", runs[2], "-o", "back")
    assert f"the parameters of mlp@numpy:steps=20 of run {runs[2]} are not those" in err
    err = refused(capsys, "decompress", rewritten(packed, model="mlp@numpy #1"), "-o", "back")
    assert "written by mlp@numpy #1, and this is mlp@numpy:steps=20" in err


def test_other_code_may_be_tried(capsys: pytest.CaptureFixture[str], packed: str) -> None:
    """`--other-code`: the text tells whether the code still says the same."""
    changed = rewritten(packed, code_hash="0" * 64)
    assert main(["decompress", changed, "-o", "back", "--other-code"]) == 0
    assert Path("back").read_text() == "abf\nd cab\nabf\n"


def test_another_run_of_the_same_model_will_do(
    capsys: pytest.CaptureFixture[str], packed: str, made: Path, tmp_path: Path
) -> None:
    """`--run`: the run of the file is gone, and a copy of it elsewhere has the same parameters."""
    source = store.run_files(made / "results")[-1]
    copy = tmp_path / "copy.jsonl"
    store.copy(source, copy)
    changed = rewritten(packed, run_id="gone")
    assert main(["decompress", changed, "-o", "back", "--run", str(copy)]) == 0
    assert Path("back").read_text() == "abf\nd cab\nabf\n"


def test_a_text_that_does_not_come_back_is_not_written(
    capsys: pytest.CaptureFixture[str], packed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are other ones here: the SHA-256 tells, and the line says which versions differ."""
    changed = rewritten(packed, sha256="0" * 64, made_with=compress.versions() | {"numpy": "1.0"})
    err = refused(capsys, "decompress", changed, "-o", "back")
    assert "changed.nchz: the text did not come back (its sha256 is another): rows may differ with" in err
    assert f" with numpy 1.0 there, {np.__version__} here" in err
    same = rewritten(packed, sha256="0" * 64)
    assert "does not answer equal calls with equal rows" in refused(capsys, "decompress", same, "-o", "back")
    fewer = rewritten(packed, targets=5)
    assert "(the code does not fit the model)" in refused(capsys, "decompress", fewer, "-o", "back")


def test_decompress_overwrites_nothing(capsys: pytest.CaptureFixture[str], packed: str) -> None:
    """Without --force what is there stays; a name that does not end in .nchz needs -o."""
    Path("mine").write_text("old")
    assert "mine exists: --force" in refused(capsys, "decompress", packed)
    assert Path("mine").read_text() == "old"
    assert main(["decompress", packed, "--force"]) == 0
    assert Path("mine").read_text() == "abf\nd cab\nabf\n"
    capsys.readouterr()
    Path("plain").write_bytes(Path(packed).read_bytes())
    assert "plain: its name does not end in .nchz" in refused(capsys, "decompress", "plain")
