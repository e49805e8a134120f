"""The file of `harness compress`: its bytes, what is refused, and texts that come back byte for byte."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness import Alphabet, Corpus, Model, Trial, container
from harness.codec import Schedule, decode, encode
from harness.container import About, Layout, pack, put_together, taken_apart, unpack
from harness.errors import DataError, UsageError

TEXT = b"\xef\xbb\xbfab\r\nca\r\n\r\nbbb\r\nab"


class Turning(Model):
    """V = 4: the character before turns one distribution round."""

    def fit(self, train: Corpus, dev: Corpus, trial: Trial) -> None:
        """Nothing to fit."""

    def log_probs(self, inputs: Any) -> Any:
        """(B, T) -> (B, T, V)."""
        return np.log(np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.4, 0.3, 0.2]]))[inputs % 2]


def turning() -> Model:
    """The model of the golden file."""
    return Turning(4, {}, np.random.default_rng(0))


DOCUMENTS, LAYOUT = taken_apart(TEXT, "lines", "golden")
ABOUT = About(
    run_id="20260101T000000-000000-0000",
    model="turning@numpy #1",
    code_hash="c0",
    params_hash=container.params_hash({}),
    alphabet="abc",
    kind="lines",
    documents=4,
    targets=13,
    together=3,
    sha256=hashlib.sha256(TEXT).hexdigest(),
    size=len(TEXT),
    layout=LAYOUT,
    made_with={"numpy": "2.0"},
)
HEADER = (
    b'{"run_id":"20260101T000000-000000-0000","model":"turning@numpy #1","code_hash":"c0",'
    b'"params_hash":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","alphabet":"abc",'
    b'"kind":"lines","documents":4,"targets":13,"together":3,"overlap":0,"threads":1,'
    b'"sha256":"SHA","size":20,'
    b'"layout":{"mark":true,"newline":"\\r\\n","closed":false,"blank":[[2,1]]},"made_with":{"numpy":"2.0"}}'
).replace(b"SHA", hashlib.sha256(TEXT).hexdigest().encode())
CODE = bytes.fromhex("b1d6e155")  # of Turning, in batches of three documents


def golden() -> bytes:
    """A file of format 1, put together by hand."""
    body = b"nchz\x01\x00" + struct.pack("<IQ", len(HEADER), len(CODE)) + HEADER + CODE
    return body + hashlib.sha256(body).digest()


def test_a_file_of_format_1_is_read_for_ever() -> None:
    """These bytes are the text above; a change that breaks this is a new version of the format."""
    about, code = unpack(golden(), "golden")
    assert about == ABOUT
    documents = decode(turning(), Alphabet(about.alphabet), about.schedule, code)
    assert put_together(documents, about.kind, about.layout) == TEXT


def test_the_same_text_gives_the_same_bytes() -> None:
    """What is written today is the frozen file, to the bit."""
    corpus = Corpus.from_documents(DOCUMENTS, Alphabet("abc"))
    code = encode(turning(), corpus, Schedule.of(corpus, None, 3))
    assert code.hex() == CODE.hex()
    assert pack(ABOUT, code) == golden()


def test_every_truncation_is_refused() -> None:
    """Cut anywhere, a file is said to be truncated, or no such file at all."""
    whole = golden()
    for size in range(len(whole)):
        with pytest.raises(DataError, match=r"golden: (truncated|not a file of harness compress)") as found:
            unpack(whole[:size], "golden")
        assert ("truncated" in str(found.value)) == (size >= 4)


def test_every_damaged_byte_is_refused() -> None:
    """One bit anywhere, or a byte more: nothing is read from such a file."""
    whole = golden()
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(DataError, match=r"^golden: "):
            unpack(bytes(damaged), "golden")
    with pytest.raises(DataError, match="damaged"):
        unpack(whole + b"\0", "golden")


def test_a_newer_format_is_named() -> None:
    """What this harness cannot read says so, not that it is damaged."""
    with pytest.raises(DataError, match="format 2, and this harness reads format 1"):
        unpack(golden().replace(b"nchz\x01", b"nchz\x02"), "golden")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "verse"}, "header is not one of format 1"),
        ({"documents": 0}, "header is not one of format 1"),
        ({"documents": 14}, "contradicts itself"),
        ({"targets": 25}, "contradicts itself"),
        ({"layout": {"blank": [[0, 24]]}}, "contradicts itself"),
    ],
)
def test_a_header_that_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    """Before anything is made of its numbers."""
    header = msgspec.json.encode(msgspec.to_builtins(ABOUT) | changes)
    body = container.HEAD.pack(b"nchz", 1, len(header), 0) + header
    with pytest.raises(DataError, match=said):
        unpack(body + hashlib.sha256(body).digest(), "golden")


def test_parameters_are_told_apart() -> None:
    """By name, type, shape and value, in whatever order they stand."""
    base = {"a": np.zeros(4), "b": np.ones((2, 3))}
    others = [
        {"a": np.zeros(4), "c": np.ones((2, 3))},
        {"a": np.zeros(4, np.int64), "b": np.ones((2, 3))},
        {"a": np.zeros((2, 2)), "b": np.ones((2, 3))},
        {"a": np.array([0, 0, 0, 1e-300]), "b": np.ones((2, 3))},
    ]
    assert container.params_hash(dict(reversed(base.items()))) == container.params_hash(base)
    assert len({container.params_hash(each) for each in [base, *others]}) == 5


# ---- texts


@given(
    st.one_of(st.text("ab \n\r\ufeff"), st.lists(st.sampled_from(["a", "\r\n"])).map("".join)),
    st.sampled_from(["lines", "text"]),
)
@example("a\n\n\nb\n\n", "lines")
@example("\ufeff\r\na\r\n\r\nb", "lines")
@settings(max_examples=400, deadline=None)
def test_a_text_comes_back_byte_for_byte_or_is_refused(text: str, kind: Any) -> None:
    """Marks, line endings, blank lines, a last line that is open; documents hold none of them."""
    content = text.encode()
    try:
        documents, layout = taken_apart(content, kind, "mine")
    except UsageError:
        return
    assert put_together(documents, kind, layout) == content
    assert "\n" not in "".join(documents) or kind == "text"
    assert all(document.strip() for document in documents) or kind == "text"


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"", "lines", "mine: no text in it"),
        (b"", "text", "mine: no text in it"),
        (b"\xef\xbb\xbf", "text", "mine: no text in it"),
        (b"\n\n", "lines", "mine: no text in it"),
        (b"a\n \nb\n", "lines", "mine, line 2: white space alone"),
        (b"a\r\nb\nc\r\n", "lines", "mine, line 2: ends in"),
        (b"a\r\nb\nc\r\n", "text", "mine, line 2: ends in"),
        (b"ab\xff", "text", "mine: not UTF-8 (byte 2"),
    ],
)
def test_what_cannot_be_brought_back_is_refused(content: bytes, kind: Any, said: str) -> None:
    """One line that names the file, and the line where there is one."""
    with pytest.raises(UsageError) as found:
        taken_apart(content, kind, "mine")
    assert str(found.value).startswith(said)


def test_a_document_s_line_counts_blank_ones() -> None:
    """Those before it."""
    documents, layout = taken_apart(b"\n\na\nb\n\nc", "lines", "mine")
    assert documents == ["a", "b", "c"]
    assert [container.line_of(document, layout) for document in range(3)] == [2, 3, 5]


# ---- files


def test_nothing_is_overwritten() -> None:
    """Without `force` what is there stays; a folder always; nothing else is left behind."""
    there = Path("there")
    container.write(there, b"old", force=False)
    with pytest.raises(UsageError, match="--force"):
        container.write(there, b"new", force=False)
    assert there.read_bytes() == b"old"
    container.write(there, b"new", force=True)
    assert there.read_bytes() == b"new"
    with pytest.raises(UsageError, match="is a folder"):
        container.write(Path.cwd(), b"new", force=True)
    with pytest.raises(UsageError, match="no folder"):
        container.write(Path("absent/file"), b"new", force=False)
    assert list(Path().iterdir()) == [there]


def test_a_write_that_breaks_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes go to another name first; one that cannot be finished goes away."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    there = Path("there")
    there.write_bytes(b"old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        container.write(there, b"new", force=True)
    assert there.read_bytes() == b"old"
    assert list(Path().iterdir()) == [there]


def test_a_blank_line_is_no_document() -> None:
    """It stands in the layout, before the document that follows it."""
    assert Layout(mark=True, newline="\r\n", closed=False, blank=[(2, 1)]) == LAYOUT
    assert DOCUMENTS == ["ab", "ca", "bbb", "ab"]
