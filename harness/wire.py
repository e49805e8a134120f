"""Frames between the harness and the process of a cell: length, JSON header, raw arrays. No pickle.

4 bytes   "nch1"
4 bytes   length of the header, unsigned little-endian
8 bytes   length of the payload, unsigned little-endian
header    JSON, UTF-8: the message; `arrays` lists [name, dtype, shape] in payload order
payload   the arrays, C order, little-endian, one after the other

docs/wire.md says which messages there are.
"""

from __future__ import annotations

import json
import math
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError

VERSION = 1
MAGIC = b"nch1"
HEAD = struct.Struct("<4sIQ")
MOST_HEADER = 1 << 20
MOST_PAYLOAD = 1 << 34
AT_ONCE = 1 << 26  # bytes that are made room for before they have come: a head may lie
DTYPES = frozenset(("|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8"))

Message = dict[str, Any]
Arrays = Mapping[str, NDArray[Any]]


class WireError(HarnessError, ConnectionError):
    """What came is no frame."""


class NoFrame(WireError):
    """Bytes that begin no frame: something else was written where frames are read."""

    def __init__(self, begins: bytes) -> None:
        super().__init__(f"expected a frame, got the bytes {begins!a}")
        self.begins = begins


class Closed(WireError):
    """The other side has gone; `inside` a frame, where it had begun one."""

    def __init__(self, *, inside: bool = False) -> None:
        super().__init__("the other side has closed its connection" + " inside a frame" * inside)
        self.inside = inside


class Stream(Protocol):
    """What frames go over: a connected stream socket, or what behaves like one."""

    def settimeout(self, seconds: float | None, /) -> None:
        """How long each of the following may wait."""

    def recv_into(self, buffer: memoryview, /) -> int:
        """Read what is there, at most the buffer; 0 at the end. `TimeoutError` where nothing comes."""

    def sendall(self, buffer: bytes | memoryview, /) -> None:
        """Write all of it; `BrokenPipeError` where nobody reads, `TimeoutError` where nobody does in time."""

    def close(self) -> None:
        """Close it; again is harmless."""


def encode(message: Mapping[str, Any], arrays: Arrays) -> list[bytes | memoryview]:
    """A frame as buffers to be sent one after the other."""
    listed, buffers = [], []
    for name, value in arrays.items():
        array = np.ascontiguousarray(value)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if array.dtype.str not in DTYPES:
            raise WireError(f"an array of {array.dtype} cannot be sent (bool, int or float can)")
        listed.append([name, array.dtype.str, list(value.shape)])
        buffers.append(array.reshape(-1).view(np.uint8).data)
    header = json.dumps({**message, "arrays": listed}, separators=(",", ":")).encode()
    if len(header) > MOST_HEADER:
        raise WireError(f"a header of {len(header):,} bytes; at most {MOST_HEADER:,}")
    size = sum(buffer.nbytes for buffer in buffers)
    return [HEAD.pack(MAGIC, len(header), size) + header, *buffers]


def decode_head(head: bytes) -> tuple[int, int]:
    """Lengths of header and payload; `WireError` where the bytes begin no frame."""
    magic, header, payload = HEAD.unpack(head)
    if magic != MAGIC:
        raise NoFrame(head)
    if header > MOST_HEADER or payload > MOST_PAYLOAD:
        limit = f"{MOST_HEADER:,} + {MOST_PAYLOAD:,}"
        raise WireError(f"a frame of {header:,} + {payload:,} bytes is over the limit, {limit}")
    return header, payload


def decode(header: bytes, payload: bytearray) -> tuple[Message, dict[str, NDArray[Any]]]:
    """The message and its arrays (views of the payload, writable)."""
    try:
        message = json.loads(header)
        if not isinstance(message, dict):
            raise WireError("a frame with an unreadable header: no JSON object")
        listed = message.pop("arrays", ())
        arrays, first = {}, 0
        for name, dtype, shape in listed:
            if dtype not in DTYPES or any(not isinstance(n, int) or n < 0 for n in shape):
                raise WireError(f"array {name!a} of {dtype!a} {shape!a} is not legal")
            size = math.prod(shape) * np.dtype(dtype).itemsize
            if first + size > len(payload):
                raise WireError(f"array {name!a} is longer than the frame")
            piece = np.frombuffer(payload, np.dtype(dtype), math.prod(shape), first)
            if str(name) in arrays:
                raise WireError(f"array {name!a} stands twice")
            arrays[str(name)] = piece.reshape(shape)
            first += size
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise WireError(f"a frame with an unreadable header: {error}") from None
    if first != len(payload):
        raise WireError("a frame with bytes that no array claims")
    return message, arrays


class Channel:
    """Frames over a stream. Times out at `deadline` (of `clock`), where there is one."""

    def __init__(self, sock: Stream, clock: Callable[[], float] = time.monotonic) -> None:
        self.sock = sock
        self.clock = clock
        self.deadline: float | None = None

    def send(self, message: Mapping[str, Any], arrays: Arrays | None = None) -> None:
        """Send one frame; `Closed` where nobody listens, `TimeoutError` at the deadline."""
        try:
            for buffer in encode(message, arrays or {}):
                self._wait()
                self.sock.sendall(buffer)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None

    def receive(self) -> tuple[Message, dict[str, NDArray[Any]]]:
        """The next frame; `Closed` at its end, `TimeoutError` at the deadline."""
        header, payload = decode_head(bytes(self._exactly(HEAD.size, begins=MAGIC)))
        return decode(bytes(self._exactly(header)), self._exactly(payload))

    def _exactly(self, size: int, begins: bytes = b"") -> bytearray:
        """So many bytes; `NoFrame` as soon as they do not begin as they must.

        begins: the start of a head. Without it they stand inside a frame.
        """
        buffer, got = bytearray(min(size, AT_ONCE)), 0
        while got < size:
            if got == len(buffer):  # what was announced does come: twice the room
                buffer.extend(bytes(min(got, size - got)))
            self._wait()
            with memoryview(buffer) as view:
                try:
                    n = self.sock.recv_into(view[got:])
                except ConnectionResetError:
                    n = 0
            if n == 0:
                raise Closed(inside=got > 0 or not begins)
            got += n
            shown = min(got, len(begins))  # all of what came would be a copy of it at every read
            if buffer[:shown] != begins[:shown]:
                raise NoFrame(bytes(buffer[:got]))
        return buffer

    def _wait(self) -> None:
        """Arm the stream's timeout with what is left until the deadline."""
        if self.deadline is None:
            self.sock.settimeout(None)
            return
        left = self.deadline - self.clock()
        if left <= 0:
            raise TimeoutError("deadline")
        self.sock.settimeout(left)
