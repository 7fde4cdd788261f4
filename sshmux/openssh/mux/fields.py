"""The multiplexing protocol's fields: numbers, strings and frames, read and written. Pure.

A frame is `u32 length | u32 type | body`, a string is `u32 length | bytes`, and what PROTOCOL.mux
calls a bool is a u32.
"""

from __future__ import annotations

import struct

MAX_FRAME = 256 * 1024  # neither side reads a longer one (channels.c: read_mux, mux.c)

U32 = struct.Struct(">I")
_HEAD = struct.Struct(">II")


class ProtocolError(Exception):
    """The other side of the control socket does not speak the protocol as documented."""


class Unsendable(ProtocolError):
    """A message that cannot be put into a frame.

    Too long, or with a NUL or half a character in a string, or a number of more than 32 bits.
    """


class Body:
    """Reads the fields of a body, one after the other. What comes after them is ignored."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def number(self) -> int:
        at = self._at
        if at + 4 > len(self._data):
            raise ProtocolError("a message ends within a number")
        self._at = at + 4
        return int(U32.unpack_from(self._data, at)[0])

    def raw(self) -> bytes:
        length = self.number()
        end = self._at + length
        if end > len(self._data):
            raise ProtocolError("a message ends within a string")
        value = bytes(self._data[self._at : end])
        self._at = end
        return value

    def text(self) -> str:
        """A string; what is not UTF-8 survives (surrogateescape)."""
        return self.raw().decode("utf-8", "surrogateescape")

    @property
    def more(self) -> bool:
        return self._at < len(self._data)


def number(value: int) -> bytes:
    if not 0 <= value <= 0xFFFFFFFF:
        raise Unsendable(f"{value} is no 32-bit number")
    return U32.pack(value)


def string(value: str) -> bytes:
    # Both read C strings (sshbuf_get_cstring): a NUL inside makes the message malformed.
    try:
        data = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise Unsendable("a string with half a character in it") from error
    if b"\0" in data:
        raise Unsendable("a string with a NUL character in it")
    return U32.pack(len(data)) + data


def frame(kind: int, *parts: bytes) -> bytes:
    length = 4 + sum(map(len, parts))
    if length > MAX_FRAME:
        raise Unsendable(f"a message of {length} bytes; a master reads {MAX_FRAME} at most")
    return b"".join((_HEAD.pack(length, kind), *parts))
