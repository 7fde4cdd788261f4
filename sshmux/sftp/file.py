"""An open remote file, in the shape of asyncssh's `SFTPClientFile`."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from ..checks import as_bytes, check_int
from . import bulk
from .attrs import SFTPAttrs, SFTPVFSAttrs
from .changes import mode_of, owners, size_of, times_of, told_attrs
from .operations import concerning
from .text import Text

if TYPE_CHECKING:
    from .operations import Operations

AnyStr = TypeVar("AnyStr", str, bytes)

_AHEAD = 64 * 1024  # bytes read at once for lines
_LARGEST = 2**63 - 1  # offset or size


class SFTPClientFile(Generic[AnyStr]):
    """An open file. Made by `SFTPClient.open`; an async context manager, which closes it.

    Offsets and sizes are in bytes, of text files too, but for `read` of text, which never stops
    within a character. Iterating gives its lines.
    """

    def __init__(
        self,
        client: object,
        server: Operations,
        handle: bytes,
        path: bytes,
        *,
        appending: bool,
        encoding: str | None,
        errors: str,
        block_size: int | None,
        max_requests: int,
    ) -> None:
        self._client = client  # it lives as long as its files
        self._server = server
        self._handle: bytes | None = handle
        self._path = path  # as it was opened
        self._offset: int | None = None if appending else 0  # None: at the end, wherever that is
        self._appending = appending
        self._text = None if encoding is None else Text(encoding, errors)
        limits = server.limits
        self._read_size = bulk.block_of(block_size, limits.max_read_len)
        self._write_size = bulk.block_of(block_size, limits.max_write_len)
        self._most = max_requests
        self._ahead, self._ahead_at = b"", 0  # read for lines, and its offset

    @property
    def handle(self) -> bytes:
        """The server's name for it. Raises `ValueError` once it was closed."""
        if self._handle is None:
            raise ValueError("this file was closed")
        return self._handle

    # Reading and writing

    async def read(self, size: int = -1, offset: int | None = None) -> AnyStr:
        """Reads up to `size` bytes, or to the end, from the position or from `offset`.

        The position is then after what was read. At the end it reads nothing. Raises `SFTPError`,
        and `UnicodeDecodeError`.
        """
        at = await self._start(size, offset)
        start = at - self._ahead_at
        if offset is None and 0 <= start <= start + size <= len(self._ahead):
            data = self._ahead[start : start + size]
        else:
            data = await self._read(at, None if size < 0 else at + size)
        length, text = len(data), cast("Any", data)
        if self._text is not None:
            text, length = await self._decode(self._text, at, data, whole=size < 0)
        self._offset = at + length
        return cast("AnyStr", text)

    async def read_parallel(
        self, size: int = -1, offset: int | None = None
    ) -> AsyncIterator[tuple[int, bytes]]:
        """The same, piece by piece, in bytes: an iterator of pairs of an offset and a piece.

        They come in order. The position stays.
        """
        at = await self._start(size, offset)
        return self._pieces(at, None if size < 0 else at + size)

    async def _start(self, size: int, offset: int | None) -> int:
        """Where to read from. Raises `ValueError` for numbers that are none, and once closed."""
        check_int("size", size, -_LARGEST, _LARGEST)
        return await self._position() if offset is None else self._checked(offset)

    def _checked(self, offset: int) -> int:
        check_int("offset", offset, 0, _LARGEST)
        _ = self.handle
        return offset

    async def _read(self, start: int, end: int | None) -> bytes:
        async with contextlib.aclosing(self._pieces(start, end)) as pieces:
            return b"".join([data async for _, data in pieces])

    async def _pieces(self, start: int, end: int | None) -> AsyncGenerator[tuple[int, bytes], None]:
        most = self._most or bulk.requests_for(self._read_size)
        if end is None:
            # To its end: how far that is tells how many requests are worth making.
            end = (await self._server.fstat(self.handle)).size
            if not end or end <= start:
                end, most = None, 1
        found = bulk.read(self._server, self.handle, start, end, self._read_size, most)
        async with contextlib.aclosing(found):
            with concerning(self._path):
                async for at, data in found:
                    yield at, bytes(data)

    async def _decode(self, how: Text, at: int, data: bytes, *, whole: bool) -> tuple[str, int]:
        """The text, and its length in bytes: a character that was cut is read to its end.

        So is what shifts to other characters and back (ISO 2022). Nothing is the end of the file:
        a mark alone is not that.
        """
        await self._learn_mark(how, at)
        decoder = how.decoder(at_start=at == 0)
        begun = decoder.getstate()[1]
        text = decoder.decode(data, final=whole)
        while data and not whole and (not text or how.is_within(decoder, begun)):
            more = await self._read(at + len(data), at + len(data) + 1)
            data += more
            text += decoder.decode(more, final=not more)
            if not more:
                break
        return text, len(data)

    async def _learn_mark(self, how: Text, at: int) -> None:
        """Looks at the start of the file, where that says how the rest is to be read."""
        if how.mark_length and at and how.mark is None:
            how.mark = await self._read(0, how.mark_length)

    async def write(self, data: AnyStr, offset: int | None = None) -> int:
        """Writes at the position, or at `offset`; appending, at the end in any case.

        The position is then after what was written. Returns the number of bytes, of text too.
        Raises `SFTPError`.
        """
        at = (self._offset or 0) if offset is None else self._checked(offset)
        if isinstance(data, str):
            if self._text is None:
                raise TypeError("this file takes bytes: open it in a mode without 'b' for text")
            marked = self._text.mark_length and self._appending
            start = not (await self._end() if marked else at)
            raw = self._text.encode(data, at_start=start)
        elif self._text is not None:
            raise TypeError("this file takes str: open it with 'b' in the mode for bytes")
        else:
            raw = as_bytes(data)
        # What is appended goes to the end of that moment: one after the other keeps its order.
        most = 1 if self._appending else self._most or bulk.requests_for(self._write_size)
        with concerning(self._path):
            await bulk.write(self._server, self.handle, at, raw, self._write_size, most)
        self._ahead = b""
        self._offset = None if self._appending else at + len(raw)
        return len(raw)

    # Lines

    async def readline(self) -> AnyStr:
        """The next line, with its newline; at the end nothing."""
        at = await self._position()
        if self._text is not None:
            await self._learn_mark(self._text, at)
        ahead, start = self._ahead, at - self._ahead_at
        if not 0 <= start <= len(ahead):
            ahead, start = b"", 0
        searched = start
        while (end := self._line_end(ahead, start, searched)) < 0:
            left = len(ahead) - start
            # A long line is not copied again and again.
            more = await self._read(at + left, at + left + max(_AHEAD, left))
            if not more:
                end = len(ahead)
                break
            ahead, start, searched = ahead[start:] + more, 0, left
        line = ahead[start:end]
        self._ahead, self._ahead_at = ahead, at - start
        self._offset = at + len(line)
        text: Any = line
        if self._text is not None:
            text = self._text.decode(line, at_start=at == 0)
        return cast("AnyStr", text)

    def _line_end(self, data: bytes, start: int, searched: int) -> int:
        if self._text is not None:
            return self._text.line_end(data, start, searched)
        return data.find(b"\n", searched) + 1 or -1

    def __aiter__(self) -> Self:
        """Line by line."""
        return self

    async def __anext__(self) -> AnyStr:
        """The next line."""
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    # The position

    async def seek(self, offset: int, from_what: int = os.SEEK_SET) -> int:
        """Moves the position, from the start (0), from where it is (1) or from the end (2)."""
        check_int("offset", offset, -_LARGEST, _LARGEST)
        _ = self.handle
        if from_what == os.SEEK_SET:
            base = 0
        elif from_what == os.SEEK_CUR:
            base = await self._position()
        elif from_what == os.SEEK_END:
            base = await self._end()
        else:
            raise ValueError(f"from_what={from_what!r}: use 0, 1 or 2 (os.SEEK_SET, …)")
        if base + offset < 0:
            raise ValueError(f"offset {offset}: that is before the start of the file")
        self._offset = base + offset
        self._ahead = b""
        return base + offset

    async def tell(self) -> int:
        """The position."""
        return await self._position()

    async def _position(self) -> int:
        _ = self.handle  # a closed file has none
        if self._offset is None:
            self._offset = await self._end()
        return self._offset

    async def _end(self) -> int:
        return (await self._server.fstat(self.handle)).size or 0

    # What it is

    async def stat(self) -> SFTPAttrs:
        """Its attributes."""
        return await self._server.fstat(self.handle)

    async def setstat(self, attrs: SFTPAttrs) -> None:
        """Sets those that are not None."""
        with concerning(self._path):
            await self._server.fsetstat(self.handle, told_attrs(attrs))

    async def statvfs(self) -> SFTPVFSAttrs:
        """The file system it is on."""
        return await self._server.fstatvfs(self.handle)

    async def truncate(self, size: int | None = None) -> None:
        """Cuts it, or makes it longer: to `size` bytes, or to the position."""
        await self.setstat(size_of(await self._position() if size is None else size))
        self._ahead = b""

    async def chmod(self, mode: int) -> None:
        """Sets its permissions."""
        await self.setstat(mode_of(mode))

    async def chown(
        self,
        uid_or_owner: int | str | None = None,
        gid_or_group: int | str | None = None,
        uid: int | None = None,
        gid: int | None = None,
        owner: str | None = None,
        group: str | None = None,
    ) -> None:
        """Sets its owner and group, by number."""
        wanted = owners(uid_or_owner, gid_or_group, uid, gid, owner, group)
        await self.setstat(wanted.filled(await self.stat() if wanted.half else None))

    async def utime(
        self, times: tuple[float, float] | None = None, ns: tuple[int, int] | None = None
    ) -> None:
        """Sets the times of access and change: seconds, or nanoseconds; or both to now."""
        await self.setstat(times_of(times, ns, time.time()))

    async def fsync(self) -> None:
        """Sees to it that what was written is on the disk."""
        await self._server.fsync(self.handle)

    # Its end

    async def close(self) -> None:
        """Closes it. Safe to call twice."""
        self._server.channel.check_loop()
        handle, self._handle = self._handle, None
        self._ahead = b""
        if handle is not None:
            with concerning(self._path):
                await self._server.close(handle)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            await self.close()
            return
        # What was raised in the block is the error, and a server that hangs is not waited for.
        handle, self._handle = self._handle, None
        if handle is not None:
            self._server.drop(handle)
