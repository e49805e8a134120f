"""Run files: immutable JSON Lines with a checksum a line, and the side files beside them.

    {"checksum":"…","header":{…}}      one
    {"checksum":"…","cell":{…}}        one a cell, each on the disk before the next cell begins
    {"checksum":"…","end":{…}}         closes the file for good

The checksum is the SHA-256 of the value's bytes. Side files stand in `FILE.d/`; a cell names them with
theirs. A torn last line is dropped with a warning, a damaged line set aside with one; what remains is
readable. results/README.md describes the format key by key.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import msgspec

from harness.errors import StoreError
from harness.record import SCHEMA, Brief, End, Header, Record

START = b'{"checksum":"'
LINE = re.compile(rb'\{"checksum":"([0-9a-f]{64})","([a-z]+)":')
State = Literal["open", "torn", "damaged", "foreign", "older", "newer", "left over"]
R = TypeVar("R", Record, Brief)
CLOSE = 1e-9  # sums in another order, on another machine


@dataclass(frozen=True)
class Finding:
    """One line about what is not simply whole."""

    state: State
    text: str


@dataclass
class Scan(Generic[R]):
    """What stands in a run file, its cells decoded in full or in brief."""

    path: Path
    header: Header
    records: list[R]
    closed: bool
    summary: list[Brief] | None = None  # of the cells, as the end line has it
    findings: list[Finding] = field(default_factory=list)

    @property
    def damage(self) -> list[str]:
        """What was lost, in words: lines that were set aside, and cells that only the end line knows of."""
        return [finding.text for finding in self.findings if finding.state == "damaged"]

    @property
    def warnings(self) -> list[str]:
        """What was found, in words."""
        return [finding.text for finding in self.findings]


@dataclass
class Run(Scan[Record]):
    """A run as it was read."""

    records: list[Record]

    def side(self, name: str | None) -> Path | None:
        """The path of a record's side file, or None where it has none (or it was not kept)."""
        if name is None or not is_plain(name):
            return None
        folder = side_folder(self.path)
        path = folder / name
        return path if path.is_file() and path.resolve().is_relative_to(folder.resolve()) else None

    def miss(self, record: Record, name: str | None) -> None:
        """`StoreError` where a side file is named and gone, while the folder of side files is there."""
        folder = side_folder(self.path)
        if name is not None and self.side(name) is None and folder.is_dir():
            raise StoreError(f"{folder}: {name!a} is not there, and cell {record.cell} names it")

    def scores(self, record: Record, *, altered: bool = False) -> dict[str, Any] | None:
        """Per-document arrays: `dev_sums`, `test_sums`, `test_lengths`, `test_units`, …

        `StoreError` where they are not those that the record was made with: another checksum, or, of an
        older record that knows none, another NLL. altered: whatever they are, to say what differs.
        """
        if not altered:
            self.miss(record, record.scores)
        arrays = self._arrays(record, record.scores, altered)
        if arrays is not None and not altered and record.scores not in record.side_files:
            for part in ("dev", "test"):
                if not sums_to(arrays, part, record):
                    path = side_folder(self.path) / str(record.scores)
                    raise StoreError(f"{path}: damaged (they do not sum to the {part} NLL of the record)")
        return arrays

    def params(self, record: Record, *, altered: bool = False) -> dict[str, Any] | None:
        """The fitted parameters; `StoreError` where their checksum does not hold, unless `altered`."""
        return self._arrays(record, record.params, altered)

    def samples(self, record: Record, *, altered: bool = False) -> list[str] | None:
        """The drawn documents; `StoreError` where their checksum does not hold, unless `altered`."""
        if not altered:
            self.miss(record, record.samples)
        path = self.side(record.samples)
        if path is None:
            return None
        try:
            content = path.read_bytes()
            if not altered:
                expect(record.side_files.get(path.name), checksum(content))
            return msgspec.json.decode(content, type=list[str])
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise StoreError(f"{path}: damaged ({error})") from None

    def _arrays(self, record: Record, name: str | None, altered: bool) -> dict[str, Any] | None:
        path = self.side(name)
        if path is None:
            return None
        import numpy as np

        try:
            with path.open("rb") as file:
                if not altered and path.name in record.side_files:
                    expect(record.side_files[path.name], hashlib.file_digest(file, "sha256").hexdigest())
                    file.seek(0)
                with np.load(file, allow_pickle=False) as arrays:
                    return dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise StoreError(f"{path}: damaged ({error})") from None


def expect(named: str | None, found: str) -> None:
    """`ValueError` where a side file has another checksum than its record names."""
    if named not in (None, found):
        raise ValueError("the checksum does not hold")


def sums_to(arrays: dict[str, Any], part: str, record: Record) -> bool:
    """Whether scores of a part are worth its NLL on record, as far as there are both."""
    import numpy as np

    zeros = record.metrics.zero_probability.get(part, 0)
    nll = math.inf if zeros else getattr(record.metrics, f"{part}_nll")
    sums, lengths = arrays.get(f"{part}_sums"), arrays.get(f"{part}_lengths")
    if nll is None or sums is None:
        return True
    if lengths is None or sums.shape != lengths.shape or sums.dtype.kind != "f":
        return False
    targets = int(lengths.sum())
    return targets > 0 and bool(np.isclose(sums.sum() / targets, nll, rtol=CLOSE, atol=CLOSE))


def side_folder(path: Path) -> Path:
    """Where the side files of a run file stand."""
    return path.with_name(path.name + ".d")


def is_plain(name: str) -> bool:
    """Whether a name is one of a file, in whatever folder: no way elsewhere, nothing that no system takes."""
    try:
        return Path(name).name == name != ".." and "\0" not in name and len(os.fsencode(name)) <= 255
    except UnicodeEncodeError:
        return False


def failure(path: Path, error: OSError) -> OSError:
    """What the system says about a path, as an error of the store; those of our own pass."""
    return error if isinstance(error, StoreError) else StoreError(f"{path}: {error.strerror or error}")


def checksum(content: bytes | memoryview) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def encode_line(kind: str, payload: bytes) -> bytes:
    """One line of a run file."""
    return b'{"checksum":"%s","%s":%s}\n' % (checksum(payload).encode(), kind.encode(), payload)


def decode_line(line: bytes) -> tuple[str, bytes]:
    """The kind and the payload of one line; `ValueError` where the checksum does not hold."""
    kind, payload = opened(line, 0, len(line))
    return kind, bytes(payload)


def opened(content: bytes, begin: int, end: int) -> tuple[str, memoryview]:
    """The same of a line from `begin` to `end`, without a copy: most of what reading runs would cost."""
    end -= content.endswith(b"\r", begin, end)  # git on Windows
    found = LINE.match(content, begin, end)
    if found is None or not content.endswith(b"}", begin, end):
        raise ValueError("not a line of a run file")
    payload = memoryview(content)[found.end() : end - 1]
    if hashlib.sha256(payload).hexdigest() != found[1].decode():
        raise ValueError("the checksum does not hold")
    return found[2].decode(), payload


def lines_of(content: bytes) -> Iterator[tuple[int, int]]:
    """Where each whole line begins and ends, its newline left out."""
    begin = 0
    while (end := content.find(b"\n", begin)) >= 0:
        yield begin, end
        begin = end + 1


def holds(line: bytes) -> bool:
    """Whether a line is as it was written, whatever stands in it."""
    try:
        opened(line, 0, len(line))
    except ValueError:
        return False
    return True


def read(path: Path) -> Run:
    """Read a run file; `StoreError` where not even its header can be read."""
    return Run(**vars(scan(path, Record)))


def scan(path: Path, form: type[R]) -> Scan[R]:
    """A run file with its cells in this form, ordered."""
    content = content_of(path)
    found: list[Finding] = []
    summary: list[Brief] | None = None
    if content and not content.endswith(b"\n"):
        found.append(Finding("torn", f"{path}: the last line is torn and was left out"))
    header: Header | None = None
    records: dict[int, R] = {}
    decoder = msgspec.json.Decoder(form)
    closed = False
    for number, (begin, end) in enumerate(lines_of(content), start=1):
        try:
            kind, payload = opened(content, begin, end)
            if closed or (kind == "header" and header is not None):
                raise ValueError(f"a {kind} has no place here")
            if kind == "header":
                header = decode_header(payload)
            elif kind == "cell":
                keep(records, decoder.decode(payload))
            elif kind == "end":
                closed = True
                last = msgspec.json.decode(payload, type=End)
                summary = last.brief
                if last.cells != len(records) and not found:
                    text = f"{path}: its end line counts {last.cells} cells, {len(records)} are readable"
                    found.append(Finding("damaged", text))
            else:
                raise ValueError("a line of no known kind")
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            if number == 1:
                raise StoreError(f"{path}: not a run file of harness ({error})") from None
            where = f"{path}, line {number}"
            if header is not None and header.schema != SCHEMA and holds(content[begin:end]):
                text = f"{where}: left out, this harness knows {SCHEMA} ({error})"
                found.append(Finding(age(header.schema), text))
                continue
            found.append(Finding("damaged", f"{where}: damaged and left out ({error})"))
    if header is None:
        raise StoreError(f"{path}: not a run file of harness (no header)")
    return Scan(path, header, [records[cell] for cell in sorted(records)], closed, summary, found)


def briefed(path: Path) -> Scan[Brief]:
    """A run file with its cells in brief, as its end line sums them up where everything is whole."""
    return by_its_end(path, content_of(path)) or scan(path, Brief)


def content_of(path: Path) -> bytes:
    """The bytes of a run file; `StoreError` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise failure(path, error) from None


def by_its_end(path: Path, content: bytes) -> Scan[Brief] | None:
    """A closed run whose lines are all as they were written, its cells as its end line sums them up.

    None where it sums up none, and for whatever is not whole: reading it line by line says what it is.
    """
    places = list(lines_of(content))
    checksums = {content[begin + len(START) : begin + len(START) + 64] for begin, _ in places}
    if not content.endswith(b"\n") or len(checksums) < len(places):  # torn, or a line that stands twice
        return None
    try:
        lines = [opened(content, begin, end) for begin, end in places]
        if [kind for kind, _ in lines] != ["header", *["cell"] * (len(lines) - 2), "end"]:
            return None
        header, last = decode_header(lines[0][1]), msgspec.json.decode(lines[-1][1], type=End)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None
    if header.schema != SCHEMA or len(last.brief or ()) != len(lines) - 2:
        return None
    return Scan(path, header, last.brief or [], True)


def unreadable(path: Path, error: str) -> Finding:
    """A file without a header that can be read: torn at its start, damaged, or never ours."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return Finding("damaged", error)
    if len(lines) == 1 and (START.startswith(lines[0]) or lines[0].startswith(START)):
        return Finding("torn", f"{path}: interrupted before its first line was whole; nothing was stored")
    if not any(LINE.match(line) for line in lines):
        return Finding("foreign", error)
    other_schema = holds(lines[0]) and decode_line(lines[0])[0] == "header"
    return Finding("foreign" if other_schema else "damaged", error)


def keep(records: dict[int, R], record: R) -> None:
    """A cell counts once, by its first line: a run file is only appended to."""
    if record.cell in records:
        raise ValueError(f"cell {record.cell} stands twice")
    records[record.cell] = record


def age(schema: str) -> State:
    """Whether a schema of another version is older or newer than ours."""
    theirs, ours = (version.rpartition("/")[2] for version in (schema, SCHEMA))
    return "older" if theirs.isdecimal() and int(theirs) < int(ours) else "newer"


def decode_header(payload: bytes | memoryview) -> Header:
    """A header of any version of our schema; `ValueError` for another's."""
    header = msgspec.json.decode(payload, type=Header)
    if header.schema.rpartition("/")[0] != SCHEMA.rpartition("/")[0]:
        raise ValueError(f"schema {header.schema}, this harness reads {SCHEMA}")
    return header
