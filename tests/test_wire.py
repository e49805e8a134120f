"""Frames: the bytes of docs/wire.md, what is no frame, and the pipes of a program."""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import wire
from harness.program_child import Pipes

PAGE = (Path(__file__).parents[1] / "docs" / "wire.md").read_text(encoding="utf-8")
HELLO: tuple[dict[str, Any], dict[str, Any]] = ({"hello": 1}, {})
REQUEST = ({"op": "next_log_probs"}, {"inputs": np.array([[0, 2]])})
ANSWER = ({"ok": True}, {"rows": np.log([[0.5, 0.25, 0.25]])})
WORKED = {"hello": HELLO, "request": REQUEST, "answer": ANSWER}


def frame(message: Any, arrays: Any) -> bytes:
    """A frame as one string of bytes."""
    return b"".join(bytes(buffer) for buffer in wire.encode(message, arrays))


def dumped(name: str) -> tuple[bytes, str]:
    """A hex dump of the page: its bytes, and its right column."""
    found = re.search(rf"<!-- frame: {name} -->\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert found
    lines = found[1].splitlines()
    return bytes.fromhex("".join(line[:48] for line in lines)), "".join(line[49:] for line in lines)


@pytest.fixture
def ends() -> Iterator[tuple[wire.Channel, socket.socket]]:
    """A channel, and the plain socket at its other end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield wire.Channel(ours), theirs


# ---- the page


@pytest.mark.parametrize("name", WORKED)
def test_the_worked_example_is_what_is_sent(name: str) -> None:
    """The bytes of docs/wire.md are those of `wire.encode`, and its right column is their text."""
    data, shown = dumped(name)
    assert data == frame(*WORKED[name])
    assert shown == "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)


@pytest.mark.parametrize("name", WORKED)
def test_the_worked_example_is_read_back(name: str) -> None:
    """The bytes of the page mean what the page says."""
    data, _ = dumped(name)
    header, payload = wire.decode_head(data[:16])
    assert len(data) == 16 + header + payload
    message, arrays = wire.decode(data[16 : 16 + header], bytearray(data[16 + header :]))
    expected, values = WORKED[name]
    assert message == expected
    assert {key: value.tolist() for key, value in arrays.items()} == {
        key: value.tolist() for key, value in values.items()
    }


def test_the_limits_of_the_page() -> None:
    """The page names the version, the limits and every type."""
    assert f"at most {wire.MOST_HEADER:,}" in PAGE
    assert f"at most {wire.MOST_PAYLOAD:,}" in PAGE
    assert f"The number is the version of the wire, {wire.VERSION} on this page" in PAGE
    assert all(f"`{dtype}`" in PAGE for dtype in wire.DTYPES)


# ---- what is no frame


@pytest.mark.parametrize("size", [1, 3, 8, 40])
def test_what_begins_no_frame_is_told_at_once(ends: tuple[wire.Channel, socket.socket], size: int) -> None:
    """Fewer bytes than a head has are enough: nobody waits for more from a program that prints."""
    channel, other = ends
    other.sendall(b"Loading the model, please wait, it's big"[:size])
    with pytest.raises(
        wire.NoFrame, match=f"got the bytes b'{'Loading the model, please wait'[: min(size, 16)]}'"
    ):
        channel.receive()


@pytest.mark.parametrize(
    ("header", "payload", "said"),
    [
        (b"[1]", b"", "unreadable header: no JSON object$"),
        (b'{"ok":', b"", "unreadable header"),
        (b"\xff", b"", "unreadable header"),
        (b"[" * 100_000, b"", "unreadable header"),
        (b'{"arrays":[["x","<f8"]]}', b"", "unreadable header"),
        (b'{"arrays":[["x","<c8",[1]]]}', bytes(8), "not legal"),
        (b'{"arrays":[["x","<f8",[-1]]]}', bytes(8), "not legal"),
        (b'{"arrays":[["x","<f8",[2]]]}', bytes(8), "longer than the frame"),
        (b'{"arrays":[["x","<f8",[1]]]}', bytes(9), "no array claims"),
        (b'{"ok":true}', bytes(1), "no array claims"),
        (b'{"arrays":[["x","<f8",[1]],["x","<f8",[1]]]}', bytes(16), "'x' stands twice"),
    ],
)
def test_a_damaged_frame_is_refused(
    ends: tuple[wire.Channel, socket.socket], header: bytes, payload: bytes, said: str
) -> None:
    """A header that is no message, or arrays that do not fill the payload."""
    channel, other = ends
    head = struct.pack("<4sIQ", b"nch1", len(header), len(payload))
    sender = threading.Thread(target=other.sendall, args=[head + header + payload])
    sender.start()
    with pytest.raises(wire.WireError, match=said):
        channel.receive()
    sender.join()


def test_a_frame_may_have_no_list_of_arrays(ends: tuple[wire.Channel, socket.socket]) -> None:
    """`{"ok":true}` is enough."""
    channel, other = ends
    other.sendall(struct.pack("<4sIQ", b"nch1", 11, 0) + b'{"ok":true}')
    assert channel.receive() == ({"ok": True}, {})


@pytest.mark.parametrize("cut", [0, 7, 16, 30])
def test_an_end_inside_a_frame_is_known(ends: tuple[wire.Channel, socket.socket], cut: int) -> None:
    """Whether the other side closed between two frames or in one."""
    channel, other = ends
    other.sendall(frame(*HELLO)[:cut])
    other.close()
    with pytest.raises(wire.Closed) as caught:
        channel.receive()
    assert caught.value.inside is (cut > 0)


def test_a_head_that_lies_takes_no_memory(ends: tuple[wire.Channel, socket.socket]) -> None:
    """16 GiB are announced and none come: room is made for what has come only."""
    channel, other = ends
    other.sendall(struct.pack("<4sIQ", b"nch1", 11, wire.MOST_PAYLOAD) + b'{"ok":true}')
    other.close()
    tracemalloc.start()
    try:
        with pytest.raises(wire.Closed):
            channel.receive()
        assert tracemalloc.get_traced_memory()[1] < 3 * wire.AT_ONCE
    finally:
        tracemalloc.stop()


def test_what_is_longer_than_its_first_room(
    ends: tuple[wire.Channel, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame that outgrows the room made at first arrives whole."""
    monkeypatch.setattr(wire, "AT_ONCE", 5)
    channel, other = ends
    values = np.arange(1001)
    other.sendall(frame({"ok": True}, {"x": values}))
    _, arrays = channel.receive()
    assert arrays["x"].tolist() == values.tolist()


# ---- pipes


@pytest.fixture
def pipes() -> Iterator[tuple[Pipes, int, int]]:
    """The stream, and what its program holds: the end that it reads and the one that it writes."""
    reads, ours = os.pipe()
    theirs, writes = os.pipe()
    stream = Pipes(os.fdopen(theirs, "rb", 0), os.fdopen(ours, "wb", 0))
    yield stream, reads, writes
    stream.close()
    os.close(reads)
    os.close(writes)


def test_a_large_frame_goes_through_pipes_and_back(pipes: tuple[Pipes, int, int]) -> None:
    """More than pipes hold at once, sent by one side and returned by the other."""
    stream, reads, writes = pipes
    data = frame({"ok": True}, {"x": np.arange(300_000)})
    with os.fdopen(os.dup(reads), "rb") as file, os.fdopen(os.dup(writes), "wb") as back:
        echo = threading.Thread(target=lambda: back.write(file.read(len(data))) and back.flush())
        echo.start()
        channel = wire.Channel(stream)
        channel.send({"ok": True}, {"x": np.arange(300_000)})
        message, arrays = channel.receive()
        echo.join()
    assert message == {"ok": True}
    assert np.array_equal(arrays["x"], np.arange(300_000))


def test_who_writes_before_it_has_read_is_told_so(pipes: tuple[Pipes, int, int]) -> None:
    """A request that does not fit while the program talks: no waiting for each other."""
    stream, _, writes = pipes
    os.write(writes, b"progress: 1 %")
    with pytest.raises(wire.WireError, match="wrote b'progress: 1 %' before it had read its request"):
        stream.sendall(bytes(1 << 20))


def test_nobody_reads_is_a_timeout(pipes: tuple[Pipes, int, int]) -> None:
    """A program that neither reads nor writes, at the deadline."""
    stream, _, _ = pipes
    stream.settimeout(0.01)
    with pytest.raises(TimeoutError):
        stream.sendall(bytes(1 << 20))
    with pytest.raises(TimeoutError):
        stream.recv_into(memoryview(bytearray(1)))


def test_a_program_that_has_gone_is_closed() -> None:
    """Writing to it and reading from it end the conversation."""
    reads, ours = os.pipe()
    theirs, writes = os.pipe()
    stream = Pipes(os.fdopen(theirs, "rb", 0), os.fdopen(ours, "wb", 0))
    channel = wire.Channel(stream)
    os.close(reads)
    os.close(writes)
    with pytest.raises(wire.Closed):
        channel.send({"op": "bye"})
    with pytest.raises(wire.Closed):
        channel.receive()
    stream.close()
