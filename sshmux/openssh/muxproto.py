"""The frames of OpenSSH's multiplexing protocol, as far as the lease needs them. Pure.

Source: PROTOCOL.mux and mux.c of portable OpenSSH. A frame is `u32 length | u32 type | body`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

HELLO = 0x00000001
ALIVE_CHECK = 0x10000004
IS_ALIVE = 0x80000005

VERSION = 4
MAX_FRAME = 256 * 1024  # mux.c reads no longer packet


class ProtocolError(Exception):
    """The other side of the control socket does not speak the protocol as documented."""


def frame(kind: int, *numbers: int) -> bytes:
    """A frame whose body is 32-bit numbers only."""
    body = struct.pack(f">{1 + len(numbers)}I", kind, *numbers)
    return struct.pack(">I", len(body)) + body


def hello() -> bytes:
    """Our HELLO: protocol version 4, no extensions."""
    return frame(HELLO, VERSION)


def alive_check(request: int) -> bytes:
    """Asks the master for a sign of life, and its process id."""
    return frame(ALIVE_CHECK, request)


class Frames:
    """Cuts a byte stream into frames, whatever the pieces it arrives in."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yields (type, body) of each frame completed by `data`."""
        self._buffer += data
        while len(self._buffer) >= 4:
            (length,) = struct.unpack_from(">I", self._buffer)
            if not 4 <= length <= MAX_FRAME:
                raise ProtocolError(f"a frame of {length} bytes")
            if len(self._buffer) < 4 + length:
                return
            (kind,) = struct.unpack_from(">I", self._buffer, 4)
            body = bytes(self._buffer[8 : 4 + length])
            del self._buffer[: 4 + length]
            yield kind, body


def numbers(body: bytes, count: int) -> tuple[int, ...]:
    """The first `count` 32-bit numbers of a body."""
    if len(body) < 4 * count:
        raise ProtocolError(f"a body of {len(body)} bytes, too short for {count} numbers")
    return struct.unpack_from(f">{count}I", body)
