"""The fields that SFTP messages are made of (draft-ietf-secsh-filexfer-02, RFC 4251 section 5)."""

from __future__ import annotations

import struct
from typing import Any

_U32, _U64 = struct.Struct(">I"), struct.Struct(">Q")


class Malformed(ValueError):
    """What came is not what the protocol says."""


def u32(number: int) -> bytes:
    """A number. Raises `ValueError` for one that is too large, below 0, or not whole."""
    try:
        return _U32.pack(number)
    except struct.error:
        raise ValueError(f"{number}: SFTP has whole numbers from 0 to {2**32 - 1} there") from None


def u64(number: int) -> bytes:
    """A long number. Raises `ValueError` for one that is too large, below 0, or not whole."""
    try:
        return _U64.pack(number)
    except struct.error:
        raise ValueError(f"{number}: SFTP has whole numbers from 0 to {2**64 - 1} there") from None


def string(data: bytes) -> bytes:
    """A string: its length, and the bytes."""
    return _U32.pack(len(data)) + data


class Unpacker:
    """Takes fields from the front of a message. Whatever is missing raises `Malformed`."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes | memoryview, at: int = 0) -> None:
        self._data = data
        self._at = at
        self._end = len(data)

    @property
    def left(self) -> int:
        """Bytes that were not taken yet."""
        return self._end - self._at

    def _advance(self, size: int) -> int:
        at = self._at
        if size > self._end - at:
            raise Malformed(f"{size} bytes are wanted where {self._end - at} are left")
        self._at = at + size
        return at

    def u32(self) -> int:
        """The next number."""
        return int(_U32.unpack_from(self._data, self._advance(4))[0])

    def peek_u32(self) -> int:
        """The next number, which is not taken yet."""
        at = self._advance(4)
        self._at = at
        return int(_U32.unpack_from(self._data, at)[0])

    def u64(self) -> int:
        """The next long number."""
        return int(_U64.unpack_from(self._data, self._advance(8))[0])

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        """Several at once."""
        return form.unpack_from(self._data, self._advance(form.size))

    def string(self) -> bytes:
        """The next string."""
        return bytes(self.view())

    def view(self) -> memoryview | bytes:
        """The next string, without a copy if the message is a memoryview."""
        size = self.u32()
        at = self._advance(size)
        return self._data[at : at + size]

    def count(self, *, least: int) -> int:
        """The number of things that follow, each of at least `least` bytes."""
        number = self.u32()
        if number * least > self.left:
            raise Malformed(f"{number} entries cannot be in {self.left} bytes")
        return number
