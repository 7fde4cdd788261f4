"""Moves the bytes of one file, in the directions there are."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from functools import partial

from ..errors import SFTPError
from ..system.tasks import run_to_end
from . import bulk
from .attrs import SFTPAttrs
from .copying import CopyOptions
from .filesystems import close_quietly
from .messages import FXF_CREAT, FXF_READ, FXF_TRUNC, FXF_WRITE
from .operations import Operations

_PIECE = 64 * 1024 * 1024  # bytes that the server copies by itself between two words of progress
_WRITE = FXF_WRITE | FXF_CREAT | FXF_TRUNC

Progress = Callable[[int], object] | None


class SFTPFileCopier:
    """The directions, between files here and those of a server."""

    def __init__(self, server: Operations, how: CopyOptions) -> None:
        self._server = server
        self._sparse = how.sparse
        given, limits = how.block_size, server.limits
        self._read = bulk.block_of(given, limits.max_read_len)
        self._write = bulk.block_of(given, limits.max_write_len)
        self._most = how.max_requests

    def _requests(self, block: int) -> int:
        return self._most if self._most > 0 else bulk.requests_for(block)

    async def get(self, source: bytes, target: bytes, size: int, progress: Progress) -> None:
        """From there to here."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        async with self._there(source, FXF_READ) as handle, _here(target, flags) as file:
            await bulk.download(
                *(self._server, handle, size or None, file),
                block=self._read,
                most=self._requests(self._read) if size else 1,
                sparse=self._sparse,
                progress=progress,
            )

    async def put(self, source: bytes, target: bytes, size: int, progress: Progress) -> None:
        """From here to there."""
        async with _here(source, os.O_RDONLY) as file, self._there(target, _WRITE) as handle:
            await bulk.upload(
                *(self._server, handle, file),
                block=self._write,
                most=self._requests(self._write),
                sparse=self._sparse and size > self._write,
                progress=progress,
            )

    async def copy_on_remote(
        self, source: bytes, target: bytes, size: int, progress: Progress
    ) -> None:
        """By the server itself."""
        async with self._there(source, FXF_READ) as read, self._there(target, _WRITE) as written:
            if not size:  # it does not know its size, as those in /proc
                await self._server.copy_data(read, 0, 0, written, 0)
            for at in range(0, size, _PIECE):
                length = min(_PIECE, size - at)
                await self._server.copy_data(read, at, length, written, at)
                if progress is not None:
                    progress(at + length)

    async def copy_through_local(
        self, source: bytes, target: bytes, size: int, progress: Progress
    ) -> None:
        """By a server that cannot do it by itself."""
        block = min(self._read, self._write)
        most = self._requests(block)
        done = 0
        async with self._there(source, FXF_READ) as read, self._there(target, _WRITE) as written:
            sending = bulk.PipelinedWriter(self._server, written, most)
            pieces = bulk.read(self._server, read, 0, size or None, block, most if size else 1)
            try:
                async with contextlib.aclosing(pieces):
                    async for at, data in pieces:
                        done += await sending.send(at, data)
                        if progress is not None:
                            progress(done)
                async for confirmed in sending.finish():
                    done += confirmed
                    if progress is not None:
                        progress(done)
            finally:
                sending.give_up()

    @contextlib.asynccontextmanager
    async def _there(self, path: bytes, flags: int) -> AsyncIterator[bytes]:
        """A remote file, open in the block. What closing it says counts, too."""
        handle = await self._server.open(path, flags, SFTPAttrs())
        try:
            yield handle
        except BaseException:
            await run_to_end(partial(close_quietly, self._server, handle))
            raise
        await self._server.close(handle)


@contextlib.asynccontextmanager
async def _here(path: bytes, flags: int) -> AsyncIterator[int]:
    """A file here, open in the block; it never waits for the other end of a FIFO."""
    flags |= os.O_CLOEXEC | os.O_NONBLOCK
    opening = bulk.files.submit(partial(os.open, path, flags, 0o666))
    try:
        file = await asyncio.wrap_future(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_unwanted)
        raise
    try:
        yield file
    except OSError as error:
        # Reading and writing do not say of what; SFTPErrors are about the other side.
        if error.filename is None and not isinstance(error, SFTPError):
            error.filename = os.fsdecode(path)
        raise
    finally:
        os.close(file)


def _unwanted(opening: Future[int]) -> None:
    """Closes a file that was opened when nobody waited for it any more."""
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())
