"""Moves the bytes of one file, in the directions there are."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from ..errors import SFTPEOFError, SFTPError
from . import bulk
from .attrs import SFTPAttrs
from .copy_options import CopyOptions
from .copying import Item
from .local_file import LocalFile, take
from .local_tree import checked
from .messages import FXF_READ
from .operations import Operations

_PIECE = 64 * 1024 * 1024  # bytes that the server copies by itself between two words of progress

Progress = Callable[[int], object] | None
OpensLocal = Callable[[], Awaitable[LocalFile]]
OpensRemote = Callable[[], Awaitable[bulk.RemoteFile]]


class SFTPFileCopier:
    """The directions, between files here and those of a server."""

    def __init__(self, server: Operations, how: CopyOptions) -> None:
        self._server = server
        self._sparse = how.sparse
        self._accept = how.on_change == "accept"
        self._block = how.block_size
        self._most = how.max_requests

    # Asked once a file is open: by then the server has told its limits.

    @property
    def _read(self) -> int:
        return bulk.block_of(self._block, self._server.limits.max_read_len)

    @property
    def _write(self) -> int:
        return bulk.block_of(self._block, self._server.limits.max_write_len)

    def _requests(self, block: int, size: int | None = 1) -> int:
        if self._most > 0:
            return self._most
        return bulk.requests_for(block) if size else 1

    def _size(self, told: int | None) -> bulk.Size:
        # A server that does not tell it may send without end.
        return bulk.Size(None if self._accept else told or 0)

    async def get(self, source: Item, target: OpensLocal, progress: Progress) -> None:
        """From there to here."""
        size = source.attrs.size
        async with self._reading(source) as handle, _here(target) as file:
            await bulk.download(
                *(self._server, handle, self._size(size), file),
                block=self._read,
                most=self._requests(self._read, size),
                sparse=self._sparse and file.regular and file.empty,
                progress=progress,
            )

    async def put(self, source: Item, target: OpensRemote, progress: Progress) -> None:
        """From here to there."""
        opening = partial(_open_source, source.path, follow=source.follow)
        async with _here(opening) as file:
            written = await target()
            await bulk.upload(
                *(self._server, written, self._size(file.size), file),
                block=self._write,
                most=self._requests(self._write),
                sparse=self._sparse and written.empty and file.size > self._write,
                progress=progress,
            )

    async def copy_on_remote(self, source: Item, target: OpensRemote, progress: Progress) -> None:
        """By the server itself."""
        size, checked_size = source.attrs.size or 0, self._size(source.attrs.size)
        if self._accept:
            size = 0
        async with self._reading(source) as read, self._there(target) as written:
            if not size:  # up to its end: it may not know its size, as those in /proc
                await self._server.copy_data(read, 0, 0, written, 0)
            for at in range(0, size, _PIECE):
                length = min(_PIECE, size - at)
                # What it is now is asked in the same round trip.
                looking = self._server.fstat(read)
                copying = self._server.copy_data(read, at, length, written, at)
                ends = await asyncio.gather(copying, looking, return_exceptions=True)
                for end in ends:
                    if isinstance(end, BaseException) and not isinstance(end, SFTPEOFError):
                        raise end
                now = ends[1]
                if isinstance(now, SFTPAttrs) and now.size is not None:
                    checked_size.check(now.size)
                if isinstance(ends[0], SFTPEOFError):
                    checked_size.check(at)
                if progress is not None:
                    progress(at + length)

    async def copy_through_local(
        self, source: Item, target: OpensRemote, progress: Progress
    ) -> None:
        """By a server that cannot do it by itself."""
        size = source.attrs.size
        async with self._reading(source) as read, self._there(target) as written:
            block = min(self._read, self._write)
            await bulk.through_local(
                *(self._server, (read, written), self._size(size)),
                block=block,
                most=self._requests(block, size),
                progress=progress,
            )

    @contextlib.asynccontextmanager
    async def _reading(self, source: Item) -> AsyncIterator[bytes]:
        """A remote file that is read. Nothing depends on what closing it says: it costs no time."""
        handle = await self._server.open(source.path, FXF_READ, SFTPAttrs())
        try:
            yield handle
        finally:
            self._server.drop(handle)

    @contextlib.asynccontextmanager
    async def _there(self, opening: OpensRemote) -> AsyncIterator[bytes]:
        """A remote file that is written. What closing it says counts, too."""
        handle = (await opening()).handle
        try:
            yield handle
        except BaseException:
            self._server.drop(handle)
            raise
        await self._server.close(handle)


@contextlib.asynccontextmanager
async def _here(opening: OpensLocal) -> AsyncIterator[LocalFile]:
    """A file here, open in the block."""
    file = await opening()
    try:
        yield file
    except OSError as error:
        # Reading and writing do not say of what; SFTPErrors are about the other side.
        if error.filename is None and not isinstance(error, SFTPError):
            error.filename = os.fsdecode(file.path)
        raise
    finally:
        await file.close()


async def _open_source(path: bytes, *, follow: bool) -> LocalFile:
    """A file here, to be read; the other end of a FIFO is never waited for."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)

    def opened() -> LocalFile:
        return LocalFile(checked(os.open(path, flags), path, device=False), path)

    return await take(opened, LocalFile.close_now)
