"""Documents, cards and downloads: cutting by hand, SHA-256 by hashlib, pooch against a local server."""

from __future__ import annotations

import hashlib
import statistics
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness import DatasetSpec
from harness.dataset import Dataset, fetch, open_dataset, open_file, parse
from harness.errors import DataError
from harness_datasets import NAMES_SHA256, harness_datasets, languages

CONTENT = b"emma\nolivia\nava\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def spec_of(content: bytes | str | list[str], **options: object) -> DatasetSpec:
    """A dataset that loads this content."""
    given = {"alphabet": None, "licence": "CC0-1.0", "source": "this test"} | options
    return DatasetSpec("tiny", lambda: content, **given)


def builtin(name: str) -> DatasetSpec:
    """A registered dataset."""
    return next(spec for spec in harness_datasets() if spec.name == name)


def write(content: bytes) -> Path:
    """A file in the test's own working directory."""
    path = Path("poems.txt")
    path.write_bytes(content)
    return path


# ---- cutting


@pytest.mark.parametrize(
    ("content", "documents", "blank"),
    [
        (b"ab\nc\n", ("ab", "c"), 0),
        (b"ab\nc", ("ab", "c"), 0),
        (b"ab\r\nc\r\n", ("ab", "c"), 0),
        (b"ab\rc\r", ("ab", "c"), 0),
        (b"\xef\xbb\xbfab\nc\n", ("ab", "c"), 0),
        (b"\n\nab\n \t\n\nc\n\n", ("ab", "c"), 5),
        (b"\r\nab\r\n\r\nc", ("ab", "c"), 2),
        (b" ab \nc\n", (" ab ", "c"), 0),
        ("zoë\n界\u2028\x0b\n".encode(), ("zoë", "界\u2028\x0b"), 0),
    ],
)
def test_lines_are_cut_at_line_ends(content: bytes, documents: tuple[str, ...], blank: int) -> None:
    """A document is a line, whatever its end; blank lines are dropped and counted; a BOM is no character."""
    dataset = open_file(write(content))
    assert (dataset.documents, dataset.blank) == (documents, blank)
    assert dataset.alphabet.characters == "".join(sorted(set("".join(documents))))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"ab\n\nc\n", "ab\n\nc\n"),
        (b"ab\r\n\rc", "ab\n\nc"),
        (b"\xef\xbb\xbf ab", " ab"),
        (b"\n\n", "\n\n"),
    ],
)
def test_running_text_is_kept_whole(content: bytes, text: str) -> None:
    """Running text is one document with its blank lines; every line end is one character."""
    dataset = open_file(write(content), "text")
    assert (dataset.kind, dataset.documents, dataset.blank) == ("text", (text,), 0)
    assert dataset.alphabet.characters == "".join(sorted(set(text)))


@pytest.mark.parametrize(("kind", "split"), [("lines", "grouped"), ("text", "contiguous")])
def test_each_kind_has_its_default_split(kind: str, split: str) -> None:
    """Lines are grouped and running text is cut by characters, unless the dataset says otherwise."""
    assert open_dataset(spec_of("ab\n", kind=kind)).default_split == split
    assert open_dataset(spec_of("ab\n", kind=kind, default_split="all")).default_split == "all"


@pytest.mark.parametrize("kind", ["lines", "text"])
@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
def test_an_empty_file_is_an_error(content: bytes, kind: str) -> None:
    """A file without text names itself."""
    with pytest.raises(DataError, match=r"file:poems\.txt: no text in it"):
        open_file(write(content), kind)


def test_a_file_of_blank_lines_is_an_error() -> None:
    """Lines that are all blank are no documents."""
    with pytest.raises(DataError, match="no text in it"):
        open_file(write(b"\n  \r\n\n"))


def test_a_file_that_is_not_utf_8_names_the_byte() -> None:
    """The first byte that cannot be read is counted from 0."""
    with pytest.raises(DataError, match=r"file:poems\.txt: not UTF-8 \(byte 3: "):
        open_file(write(b"zo\n\xeb\n"))


def test_a_file_that_is_absent_is_an_error() -> None:
    """A path that leads nowhere is named with the reason."""
    with pytest.raises(DataError, match=r"file:nowhere\.txt: No such file or directory"):
        open_file(Path("nowhere.txt"))


@pytest.mark.parametrize(
    ("name", "head", "options"),
    [
        ("names", "names", ""),
        ("markov:order=2,seed=1", "markov", "order=2,seed=1"),
        ("file:C:/a b/poems:1.txt", "file", "C:/a b/poems:1.txt"),
    ],
)
def test_a_dataset_is_named_as_on_the_command_line(name: str, head: str, options: str) -> None:
    """The first colon ends the name; what follows, a path too, is kept whole."""
    assert parse(name) == (head, options)


# ---- a registered dataset


@pytest.mark.parametrize("content", [b"emma\nava\n", "emma\nava\n", ["emma", "ava"]])
def test_a_dataset_may_load_bytes_text_or_documents(content: bytes | str | list[str]) -> None:
    """The three forms are one dataset: the same documents, size and SHA-256 of the UTF-8 bytes."""
    dataset = open_dataset(spec_of(content, sha256=hashlib.sha256(b"emma\nava\n").hexdigest()))
    assert dataset.documents == ("emma", "ava")
    assert dataset.size == 9
    assert dataset.sha256 == hashlib.sha256(b"emma\nava\n").hexdigest()


def test_another_content_than_the_declared_one_is_an_error() -> None:
    """A SHA-256 that does not match names both sums."""
    with pytest.raises(DataError, match=f"dataset tiny: sha256 is {SHA256}, expected {'0' * 64}"):
        open_dataset(spec_of(CONTENT, sha256="0" * 64))


def test_the_sum_is_of_the_bytes_as_they_came() -> None:
    """Line ends and a BOM are part of the sum, though not of the documents."""
    content = b"\xef\xbb\xbfemma\r\nava"
    dataset = open_dataset(spec_of(content))
    assert (dataset.sha256, dataset.size) == (hashlib.sha256(content).hexdigest(), len(content))


def test_an_alphabet_may_be_given_or_follow_from_the_configuration() -> None:
    """A declared alphabet stands as it is declared, whether the text uses it or not."""
    assert open_dataset(spec_of("ba\n", alphabet="zab")).alphabet.characters == "zab"
    spec = DatasetSpec(
        "tiny",
        lambda n, word: [word] * n,
        alphabet=lambda config: "cab"[: config["n"]],
        licence="CC0-1.0",
        source="this test",
        config={"n": 3, "word": "a"},
    )
    assert open_dataset(spec).alphabet.characters == "cab"
    chosen = open_dataset(spec, {"n": 2})
    assert (chosen.alphabet.characters, chosen.documents) == ("ca", ("a", "a"))
    assert chosen.name == "tiny:n=2,word=a"


def test_a_text_outside_its_alphabet_names_the_characters() -> None:
    """Every character that the declared alphabet lacks is listed."""
    with pytest.raises(DataError, match="tiny: characters outside its alphabet: 'xy'"):
        open_dataset(spec_of("ayxa\n", alphabet="ab"))


# ---- files that are downloaded once


@pytest.fixture
def no_data_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache alone."""
    monkeypatch.delenv("HARNESS_DATA_DIR", raising=False)


@pytest.fixture
def cache(no_data_dir: None, tmp_path: Path) -> Path:
    """The cache folder of this test, empty."""
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


class Site(ThreadingHTTPServer):
    """A site on this machine that has one file and counts who asks."""

    asked = 0

    @property
    def url(self) -> str:
        """The address of the file."""
        return f"http://127.0.0.1:{self.server_port}/tiny.txt"


class Page(BaseHTTPRequestHandler):
    """The file, and nothing else."""

    def do_GET(self) -> None:
        """Answer with the file, or with 404."""
        self.server.asked += 1  # type: ignore[attr-defined]
        self.send_response(200 if self.path == "/tiny.txt" else 404)
        self.end_headers()
        if self.path == "/tiny.txt":
            self.wfile.write(CONTENT)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A running site; downloads are allowed, and pooch does not wait between its attempts."""
    pytest.importorskip("pooch")
    monkeypatch.delenv("HARNESS_OFFLINE")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    with Site(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_file_is_downloaded_once(cache: Path, site: Site) -> None:
    """The first call downloads into the cache, the second reads the cache."""
    assert fetch("tiny.txt", site.url, SHA256) == CONTENT
    assert (cache / "tiny.txt").read_bytes() == CONTENT
    assert fetch("tiny.txt", site.url, SHA256) == CONTENT
    assert site.asked == 1


def test_a_cache_that_does_not_exist_is_made(cache: Path, site: Site) -> None:
    """The first download on a machine makes its folder."""
    cache.rmdir()
    assert fetch("tiny.txt", site.url, SHA256) == CONTENT
    assert (cache / "tiny.txt").is_file()


def test_a_damaged_copy_in_the_cache_is_downloaded_again(cache: Path, site: Site) -> None:
    """A cached file with another sum is replaced by the right one."""
    (cache / "tiny.txt").write_bytes(CONTENT[:-1])
    assert fetch("tiny.txt", site.url, SHA256) == CONTENT
    assert (cache / "tiny.txt").read_bytes() == CONTENT


def test_a_download_with_another_sum_is_an_error(cache: Path, site: Site) -> None:
    """A file that is not the pinned one is not kept; the error names the address and the way out."""
    with pytest.raises(
        DataError, match=rf"cannot download {site.url}: .*put it at HARNESS_DATA_DIR/tiny\.txt"
    ):
        fetch("tiny.txt", site.url, "0" * 64)
    assert site.asked > 0
    assert list(cache.iterdir()) == []


def test_a_download_that_is_not_there_is_an_error(cache: Path, site: Site) -> None:
    """An address that answers 404 is named with the answer."""
    with pytest.raises(DataError, match=r"cannot download .*/elsewhere: 404 .*HARNESS_DATA_DIR/tiny\.txt"):
        fetch("tiny.txt", site.url.replace("tiny.txt", "elsewhere"), SHA256)
    assert list(cache.iterdir()) == []


def test_a_cached_file_needs_no_network(cache: Path) -> None:
    """With HARNESS_OFFLINE set a good copy in the cache is enough."""
    (cache / "tiny.txt").write_bytes(CONTENT)
    assert fetch("tiny.txt", "http://127.0.0.1:9/tiny.txt", SHA256) == CONTENT


@pytest.mark.parametrize("damaged", [False, True])
def test_offline_says_what_is_missing(cache: Path, damaged: bool) -> None:
    """Offline, a file that is absent or damaged is an error with both ways out; nothing is asked."""
    if damaged:
        (cache / "tiny.txt").write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=r"tiny\.txt .*HARNESS_OFFLINE.*HARNESS_DATA_DIR/tiny\.txt"):
        fetch("tiny.txt", "http://127.0.0.1:9/tiny.txt", SHA256)


@pytest.mark.parametrize("value", ["1", "true", "YES", " on "])
def test_offline_may_be_said_in_words(
    cache: Path, site: Site, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """Every word that means yes keeps the harness off the network."""
    monkeypatch.setenv("HARNESS_OFFLINE", value)
    with pytest.raises(DataError, match="HARNESS_OFFLINE is set"):
        fetch("tiny.txt", site.url, SHA256)
    assert site.asked == 0


@pytest.mark.parametrize("value", ["0", "", "false", "no"])
def test_offline_may_be_denied_in_words(
    cache: Path, site: Site, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """Every other word allows downloads."""
    monkeypatch.setenv("HARNESS_OFFLINE", value)
    assert fetch("tiny.txt", site.url, SHA256) == CONTENT


def test_a_data_folder_is_read_before_the_cache(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HARNESS_DATA_DIR serves a file without a cache and without a network; it is not written to."""
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path))
    (tmp_path / "tiny.txt").write_bytes(CONTENT)
    (cache / "tiny.txt").write_bytes(b"an older file\n")
    assert fetch("tiny.txt", "http://127.0.0.1:9/tiny.txt", SHA256) == CONTENT


def test_a_damaged_file_in_the_data_folder_is_an_error(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that the user put there and that is another one is named, not silently replaced."""
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path))
    (tmp_path / "tiny.txt").write_bytes(CONTENT[:-1])
    (cache / "tiny.txt").write_bytes(CONTENT)
    found = hashlib.sha256(CONTENT[:-1]).hexdigest()
    with pytest.raises(DataError, match=rf"tiny\.txt: sha256 is {found}, expected {SHA256}"):
        fetch("tiny.txt", "http://127.0.0.1:9/tiny.txt", SHA256)


def test_a_data_folder_without_the_file_leaves_it_to_the_cache(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HARNESS_DATA_DIR need not hold everything."""
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path))
    (cache / "tiny.txt").write_bytes(CONTENT)
    assert fetch("tiny.txt", "http://127.0.0.1:9/tiny.txt", SHA256) == CONTENT


# ---- cards


def expected_figures(text: str) -> dict[str, str]:
    """The countable lines of a card of names, from the raw text."""
    lines = text.split()
    lengths = [len(line) for line in lines]
    return {
        "size": f"{len(text):,} bytes",
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "alphabet": "26 characters and the boundary: abcdefghijklmnopqrstuvwxyz",
        "documents": f"{len(lines):,}",
        "distinct": f"{len(set(lines)):,}",
        "duplicates": f"{len(lines) - len(set(lines)):,}",
        "blank lines dropped": "0",
        "lengths": f"shortest {min(lengths)}, median {statistics.median_high(lengths)}, "
        f"mean {statistics.fmean(lengths):.2f}, longest {max(lengths)}",
        "targets": f"{sum(lengths) + len(lines):,}, ends included",
        "default split": "grouped",
    }


def shown(dataset: Dataset, figures: dict[str, str]) -> dict[str, object]:
    """Those lines of the card that are counted."""
    return {key: dataset.card().get(key) for key in figures}


def test_the_card_of_makemore_names_has_the_published_figures(makemore_path: Path) -> None:
    """32,033 names, 29,494 distinct, 26 letters, 2 to 15 of them in a name, 228,146 targets."""
    dataset = open_dataset(builtin("makemore-names"))
    text = (makemore_path / "makemore-names.txt").read_text()
    assert shown(dataset, expected_figures(text)) == expected_figures(text)
    card = dataset.card()
    assert [card[key] for key in ("documents", "distinct", "duplicates", "targets")] == [
        "32,033",
        "29,494",
        "2,539",
        "228,146, ends included",
    ]
    assert card["lengths"] == "shortest 2, median 6, mean 6.12, longest 15"


def test_the_card_of_names_counts_its_names() -> None:
    """The card of the embedded list says what is in its files, and how many in each language."""
    dataset = open_dataset(builtin("names"))
    figures = expected_figures("".join(languages().values()))
    assert shown(dataset, figures) == figures
    counts = [f"{language.replace('_', ' ')} {len(text.split())}" for language, text in languages().items()]
    assert dataset.card()["languages"] == f"{len(counts)}: {', '.join(counts)}"


def test_the_card_of_running_text_counts_characters(makemore_path: Path) -> None:
    """Shakespeare is 1,115,394 characters of 65 kinds, each of them a target, cut by characters."""
    if not (makemore_path / "tinyshakespeare.txt").is_file():
        pytest.skip("HARNESS_DATA_DIR holds no tinyshakespeare.txt")
    card = open_dataset(builtin("tinyshakespeare")).card()
    assert (card["characters"], card["targets"]) == ("1,115,394", "1,115,394")
    assert str(card["alphabet"]).startswith(
        "65 characters and the boundary before the first: \\n !$&',-.3:;?ABC"
    )
    assert (card["default split"], "documents" in card) == ("contiguous", False)


# ---- the embedded names


def test_every_embedded_name_is_two_to_fifteen_letters() -> None:
    """Each line of each file is a name of 2 to 15 letters a–z, with a line end and nothing else."""
    for language, text in languages().items():
        assert text.endswith("\n"), language
        for name in text[:-1].split("\n"):
            assert 2 <= len(name) <= 15, (language, name)
            assert set(name) <= set("abcdefghijklmnopqrstuvwxyz"), (language, name)


def test_no_embedded_name_stands_twice_in_one_file() -> None:
    """A name stands once a language."""
    for language, text in languages().items():
        names = text.split()
        assert sorted(names) == sorted(set(names)), language


def test_the_embedded_names_are_enough_to_learn_from() -> None:
    """At least 10,000 distinct names, in alphabetical order of their languages."""
    assert len({name for text in languages().values() for name in text.split()}) >= 10_000
    assert list(languages()) == sorted(languages())


def test_the_embedded_names_are_pinned() -> None:
    """The files, one after the other, are the published list."""
    assert hashlib.sha256("".join(languages().values()).encode()).hexdigest() == NAMES_SHA256
    assert open_dataset(builtin("names")).sha256 == NAMES_SHA256
