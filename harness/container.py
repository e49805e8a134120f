"""The file that `harness compress` writes, to the byte.

    4 bytes   "nchz"
    2 bytes   version of the format, unsigned little-endian: 1
    4 bytes   length of the header, unsigned little-endian
    8 bytes   length of the code, unsigned little-endian
    header    JSON, UTF-8: `About`
    code      of the range coder (`codec`)
    32 bytes  SHA-256 of everything before

The code holds the characters of the documents. What is no character to a model of lines, blank lines say,
stands in the header (`Layout`), so that the text comes back byte for byte.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from numpy.typing import NDArray

from harness.codec import Schedule
from harness.corpus import Kind
from harness.errors import DataError, StoreError, UsageError

MAGIC, VERSION = b"nchz", 1
HEAD = struct.Struct("<4sHIQ")
CHECKSUM = 32  # bytes
MARK = "\ufeff"  # at the start of a UTF-8 file: its byte order mark

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]


class Layout(msgspec.Struct, kw_only=True, frozen=True):
    """What the bytes of a text have beside its documents."""

    mark: bool = False  # begins with a byte order mark
    newline: str = "\n"  # or "\r\n"
    closed: bool = True  # of lines: the last one ends in a line break
    blank: list[tuple[Count, Positive]] = []  # of lines: so many empty ones before that document


class About(msgspec.Struct, kw_only=True, frozen=True):
    """Which model, which calls, which text."""

    run_id: str
    model: str  # as `harness sample` names it: mlp@numpy:context=8 #1
    code_hash: str
    params_hash: str
    alphabet: str
    kind: Kind
    documents: Positive
    targets: Positive
    together: Positive
    overlap: Count = 0
    threads: Positive = 1
    sha256: str  # of the text's bytes
    size: Positive  # of the text in bytes
    layout: Layout
    made_with: dict[str, str] = {}  # versions; a text that does not come back may be due to others

    @property
    def schedule(self) -> Schedule:
        """The calls."""
        return Schedule(self.kind, self.documents, self.targets, self.together, self.overlap)


def params_hash(params: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(params):
        value = params[name]
        digest.update(f"{name}\0{value.dtype.str}\0{value.shape}\0".encode() + value.tobytes())
    return digest.hexdigest()


# ---- bytes


def pack(about: About, code: bytes) -> bytes:
    """The file's bytes."""
    header = msgspec.json.encode(about)
    body = HEAD.pack(MAGIC, VERSION, len(header), len(code)) + header + code
    return body + hashlib.sha256(body).digest()


def unpack(content: bytes, name: str) -> tuple[About, bytes]:
    """What `pack` was given; `DataError` names the file and what is wrong with it."""
    if content[:4] != MAGIC:
        raise DataError(f"{name}: not a file of harness compress")
    if len(content) < HEAD.size:
        raise DataError(f"{name}: truncated: {len(content)} bytes")
    _, version, of_header, of_code = HEAD.unpack_from(content)
    if version != VERSION:
        raise DataError(f"{name}: format {version}, and this harness reads format {VERSION}")
    whole = HEAD.size + of_header + of_code + CHECKSUM
    if len(content) < whole:
        raise DataError(f"{name}: truncated: {len(content):,} of {whole:,} bytes")
    if hashlib.sha256(content[:-CHECKSUM]).digest() != content[-CHECKSUM:] or len(content) > whole:
        raise DataError(f"{name}: damaged: its checksum is not that of its bytes")
    header, code = content[HEAD.size :][:of_header], content[HEAD.size + of_header : -CHECKSUM]
    try:
        about = msgspec.json.decode(header, type=About)
    except msgspec.MsgspecError as error:
        raise DataError(f"{name}: its header is not one of format {VERSION} ({error})") from None
    blank = sum(count for _, count in about.layout.blank)
    if about.documents > about.targets or max(about.targets - 1, blank) > about.size:
        raise DataError(f"{name}: its header contradicts itself: more characters than bytes")
    return about, code


# ---- texts


def taken_apart(content: bytes, kind: Kind, name: str) -> tuple[list[str], Layout]:
    """A text's documents and its layout; `UsageError` for what could not be brought back."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: not UTF-8 (byte {error.start}: {error.reason})") from None
    mark = text.startswith(MARK)
    text = text.removeprefix(MARK)
    newline = "\r\n" if "\r\n" in text else "\n"
    if newline == "\r\n":
        at = next((at for at, line in enumerate(text.split("\n")[:-1]) if not line.endswith("\r")), None)
        if at is not None:
            raise UsageError(f"{name}, line {at + 1}: ends in \\n, others in \\r\\n: make them alike")
        text = text.replace("\r\n", "\n")
    if kind == "text":
        if not text:
            raise UsageError(f"{name}: no text in it")
        return [text], Layout(mark=mark, newline=newline)
    lines = text.split("\n")
    closed = not lines[-1]
    documents: list[str] = []
    blank: list[tuple[int, int]] = []
    for number, line in enumerate(lines[: -1 if closed else None], start=1):
        if line.strip():
            documents.append(line)
        elif line:
            raise UsageError(f"{name}, line {number}: white space alone is no document: empty the line")
        elif blank and blank[-1][0] == len(documents):
            blank[-1] = (len(documents), blank[-1][1] + 1)
        else:
            blank.append((len(documents), 1))
    if not documents:
        raise UsageError(f"{name}: no text in it")
    return documents, Layout(mark=mark, newline=newline, closed=closed, blank=blank)


def put_together(documents: Sequence[str], kind: Kind, layout: Layout) -> bytes:
    """The bytes that `taken_apart` was given."""
    if kind == "lines":
        before = dict(layout.blank)
        lines = []
        for index in range(len(documents) + 1):
            lines += [""] * before.get(index, 0) + list(documents[index : index + 1])
        text = "\n".join(lines) + "\n" * layout.closed
    else:
        text = documents[0]
    return (MARK * layout.mark + text.replace("\n", layout.newline)).encode()


def line_of(document: int, layout: Layout) -> int:
    """Which line of the text a document is, both from 0."""
    return document + sum(count for index, count in layout.blank if index <= document)


# ---- files


def claim(path: Path, *, force: bool) -> None:
    """See that a file can be written there; nothing is overwritten without `force`."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder: -o names a file")
    if path.exists() and not force:
        raise UsageError(f"{path} exists: --force overwrites it, -o names another file")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}")


def write(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file under another name and move it: it is there whole or not at all."""
    claim(path, force=force)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)
