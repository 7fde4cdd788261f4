"""Python's own objects as a process's stdin, stdout or stderr: what is read from or written to.

Files in memory, files that are no plain ones (compressed, on another host), asyncio's streams,
asynchronous iterators: anything with a `read` or a `write`, plain or to be awaited.
"""

from __future__ import annotations

import asyncio
import codecs
import inspect
import io
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any, Protocol

from ..errors import ConfigError

PIECE = 64 * 1024  # what is moved at once, unless the caller says how much


class Readable(Protocol):
    """What has a `read`, perhaps one to be awaited."""

    def read(self, n: int = -1, /) -> Any:
        """Up to `n` characters or bytes; nothing at the end."""


class Writable(Protocol):
    """What has a `write`, perhaps one to be awaited."""

    def write(self, data: Any, /) -> Any:
        """Takes all of it."""


Inlet = Readable | AsyncIterable[Any]


def is_inlet(given: object) -> bool:
    """Whether it can be read from."""
    return callable(getattr(given, "read", None)) or isinstance(given, AsyncIterable)


def is_outlet(given: object) -> bool:
    """Whether it can be written to."""
    return callable(getattr(given, "write", None))


def is_text(given: object) -> bool:
    """Whether it is a file of text."""
    return isinstance(given, io.TextIOBase) or hasattr(given, "encoding")


def check_kind(given: object, name: str, encoding: str | None) -> None:
    """Raises `ConfigError` for a closed file, and for one of text where all streams are bytes."""
    if getattr(given, "closed", False) is True:
        raise ConfigError(f"{name}={given!r} is closed")
    if is_text(given) and encoding is None:
        raise ConfigError(
            f"{name}={given!r} is a file of text, and encoding=None makes the streams bytes: give "
            "create_process() an encoding=, or a file of bytes"
        )


async def pieces(source: Inlet, size: int) -> AsyncGenerator[bytes | str, None]:
    """What there is to be read, in pieces of `size` at most where the source lets us choose."""
    read = getattr(source, "read", None)
    if read is None:
        try:
            async for piece in source:  # type: ignore[union-attr]
                yield _checked(piece, source)
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()
        return
    while piece := read(size):
        if inspect.isawaitable(piece):
            piece = await piece
            if not piece:
                return
        else:
            await asyncio.sleep(0)  # others have something to do, too
        yield _checked(piece, source)


def _checked(piece: Any, source: object) -> bytes | str:
    if isinstance(piece, str | bytes):
        return piece
    if isinstance(piece, bytearray | memoryview):
        return bytes(piece)
    raise TypeError(f"{source!r} gave {piece!r} for a process's stdin: neither str nor bytes")


class Outlet:
    """What a process's output goes to, a piece at a time.

    Parameters:
        keep: it is not closed at the end. Files in memory never are: their content would be gone.
    """

    def __init__(self, target: Writable, encoding: str | None, errors: str, *, keep: bool) -> None:
        self._target = target
        self._keep = keep or isinstance(target, io.BytesIO | io.StringIO)
        self._decoder: codecs.IncrementalDecoder | None = None
        if encoding is not None and is_text(target):
            self._decoder = codecs.getincrementaldecoder(encoding)(errors)

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Writes a piece, and waits until there is room for more."""
        piece: Any = data if self._decoder is None else self._decoder.decode(data, last)
        if not piece:
            return
        await _perhaps(self._target.write(piece))
        if drain := getattr(self._target, "drain", None):
            await _perhaps(drain())

    async def end(self) -> None:
        """Nothing more comes. asyncio's streams stay the caller's to be closed."""
        await self.write(b"", last=True)
        if self._keep:
            return
        if isinstance(self._target, asyncio.StreamWriter):
            if self._target.can_write_eof():
                self._target.write_eof()
        elif close := getattr(self._target, "close", None):
            await _perhaps(close())


async def _perhaps(result: Any) -> None:
    if inspect.isawaitable(result):
        await result
