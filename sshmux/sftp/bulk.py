"""Many requests under way at once, for data of any size: in memory, or to and from files here.

The server answers in the order in which it was asked, so the oldest answer is always waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from ..errors import SFTPEOFError, SFTPError
from ..system.tasks import Threads, run_to_end
from .attrs import SFTPAttrs
from .channel import Reply, answer
from .operations import Operations, data_of

WINDOW = 4 * 1024 * 1024  # bytes under way
_MOST = 128  # requests under way
_PAGE = 4096
_VECTOR = 1024  # pieces that go to a file here in one call (IOV_MAX)
_GATHER = 1024 * 1024  # bytes that go to a file here, or come from one, in one go

files = Threads(4, linger=5)  # what may block on a file here: never the event loop

_ZEROS = bytes(256 * 1024)  # no piece is longer

T = TypeVar("T")
Progress = Callable[[int], object]


def block_of(given: int, most: int) -> int:
    """The size of a request: as the caller says, if he says, but never more than fits."""
    return min(given, most) if given > 0 else most


def requests_for(block: int) -> int:
    """How many blocks may be under way."""
    return max(2, min(WINDOW // block, _MOST))


async def read(
    server: Operations, handle: bytes, start: int, end: int | None, block: int, most: int
) -> AsyncGenerator[tuple[int, memoryview | bytes], None]:
    """The pieces of a file from `start` to `end`, or to its own, in order, with their offsets.

    The end of the file is where the server says it is, also if `end` is beyond it.
    """
    pending: deque[tuple[int, int, asyncio.Future[Reply]]] = deque()
    ask_at = start
    try:
        while True:
            while len(pending) < most and (end is None or ask_at < end):
                size = block if end is None else min(block, end - ask_at)
                pending.append((ask_at, size, server.read(handle, ask_at, size)))
                ask_at += size
            if not pending:
                return
            at, size, future = pending.popleft()
            try:
                data = data_of(await future)
            except SFTPEOFError:
                return
            if not data:
                return  # a server that says the end so
            yield at, data
            if len(data) < size:
                # It gives less than it is asked for, so from now on it is asked for that.
                block = min(block, max(len(data), _PAGE))
                rest = at + len(data), size - len(data)
                pending.appendleft((*rest, server.read(handle, *rest)))
    finally:
        for *_, future in pending:
            future.cancel()


class PipelinedWriter:
    """Writes to an open remote file, many pieces under way."""

    def __init__(self, server: Operations, handle: bytes, most: int) -> None:
        self._server = server
        self._handle = handle
        self._most = most
        self._pending: deque[tuple[int, asyncio.Future[Reply]]] = deque()

    async def send(self, at: int, data: bytes | memoryview) -> int:
        """Sends a piece. The number of bytes whose writing was confirmed meanwhile."""
        confirmed = 0
        while len(self._pending) >= self._most or (self._pending and self._pending[0][1].done()):
            confirmed += await self._oldest()
        self._pending.append((len(data), self._server.write(self._handle, at, data)))
        return confirmed

    async def finish(self) -> AsyncIterator[int]:
        """Waits until all is confirmed; the bytes of each piece."""
        while self._pending:
            yield await self._oldest()

    async def _oldest(self) -> int:
        size, future = self._pending.popleft()
        try:
            answer(await future)
        except SFTPError as error:
            raise await self._server.why_not_written(self._handle, error) from None
        return size

    def give_up(self) -> None:
        """Waits for no more answers."""
        for _, future in self._pending:
            future.cancel()


async def write(
    server: Operations, handle: bytes, start: int, data: bytes, block: int, most: int
) -> None:
    """Writes bytes, from `start` on."""
    if len(data) <= block:
        try:
            answer(await server.write(handle, start, data))
        except SFTPError as error:
            raise await server.why_not_written(handle, error) from None
        return
    sending, view = PipelinedWriter(server, handle, most), memoryview(data)
    try:
        for at in range(0, len(data), block):
            await sending.send(start + at, view[at : at + block])
        async for _ in sending.finish():
            pass
    finally:
        sending.give_up()


async def download(
    server: Operations,
    handle: bytes,
    size: int | None,
    target: int,
    *,
    block: int,
    most: int,
    sparse: bool,
    progress: Progress | None,
) -> int:
    """A whole file from there into an open file here. The bytes that it had.

    Parameters:
        size: up to there; None: up to its end, for what does not know its size.
        target: a descriptor.
        sparse: what is all zeros is not written.
        progress: called with the bytes so far.
    """
    done = start = 0
    gathered: list[memoryview | bytes] = []
    write_some = _write_sparse if sparse else _write
    writing: asyncio.Future[None] | None = None
    try:
        async with contextlib.aclosing(read(server, handle, 0, size, block, most)) as pieces:
            async for _, data in pieces:
                gathered.append(data)
                done += len(data)
                if progress is not None:
                    progress(done)
                if done - start >= _GATHER:
                    if writing is not None:
                        await asyncio.shield(writing)
                    writing = _in_thread(partial(write_some, target, gathered, start))
                    gathered, start = [], done
        if writing is not None:
            await asyncio.shield(writing)  # what it raises counts, too
    finally:
        if writing is not None:
            await finish_thread(writing)
    if gathered:
        await on_file(partial(write_some, target, gathered, start))
    if sparse:
        await on_file(partial(os.ftruncate, target, done))
    return done


async def upload(
    server: Operations,
    handle: bytes,
    source: int,
    *,
    block: int,
    most: int,
    sparse: bool,
    progress: Progress | None,
) -> int:
    """A whole file from here into an open, empty one on the remote. The bytes that it had.

    Parameters:
        source: a descriptor.
        sparse: holes are left out.
        progress: called with the bytes so far.
    """
    sending = PipelinedWriter(server, handle, most)
    at = done = 0
    reading = _in_thread(partial(_read, source, at, sparse))
    try:
        while True:
            found, data = await asyncio.shield(reading)
            if not data:
                break
            done += found - at  # a hole
            at = found + len(data)
            reading = _in_thread(partial(_read, source, at, sparse))
            view = memoryview(data)
            for offset in range(0, len(data), block):
                done += await sending.send(found + offset, view[offset : offset + block])
                if progress is not None:
                    progress(done)
        async for confirmed in sending.finish():
            done += confirmed
            if progress is not None:
                progress(done)
        if found > at:  # it ends with a hole
            await server.fsetstat(handle, SFTPAttrs(size=found))
            done += found - at
    finally:
        sending.give_up()
        await finish_thread(reading)
    return done


def _in_thread(function: Callable[[], T]) -> asyncio.Future[T]:
    return asyncio.wrap_future(files.submit(function))


async def on_file(function: Callable[[], T]) -> T:
    """Does something with a descriptor of ours, in a thread; it is over when this returns.

    Cancelled, too: else the descriptor would be closed, and its number be another file's, while
    the thread still writes to it.
    """
    work = _in_thread(function)
    try:
        return await asyncio.shield(work)
    finally:
        await finish_thread(work)


async def finish_thread(work: asyncio.Future[Any]) -> None:
    """Waits for a thread, whatever cancellations come meanwhile: it uses a descriptor of ours."""
    try:
        if not work.done():
            await run_to_end(lambda: _settled(work))
    finally:
        if work.done() and not work.cancelled():
            work.exception()  # whoever waits for it sees it; that nobody does is no news


async def _settled(work: asyncio.Future[Any]) -> None:
    await asyncio.wait((work,))


def _write(target: int, pieces: Sequence[memoryview | bytes], at: int) -> None:
    """Writes them all; a file can take less than it is given (a full disk, a limit)."""
    for first in range(0, len(pieces), _VECTOR):
        some = pieces[first : first + _VECTOR]
        total = sum(map(len, some))
        written = os.pwritev(target, some, at)
        if written < total:
            rest = memoryview(b"".join(some))[written:]
            while rest:
                more = os.pwrite(target, rest, at + total - len(rest))
                rest = rest[more:]
        at += total


def _write_sparse(target: int, pieces: Sequence[memoryview | bytes], at: int) -> None:
    for piece in pieces:
        if piece[0] or piece[-1] or bytes(piece) != _ZEROS[: len(piece)]:
            _write(target, (piece,), at)
        at += len(piece)


def _read(source: int, at: int, sparse: bool) -> tuple[int, bytes]:
    """The next data at or after `at`, and where it is; none, at the end."""
    if sparse:
        try:
            found = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                return at, os.pread(source, _GATHER, at)  # no holes on this file system
            return max(at, os.fstat(source).st_size), b""
        end = os.lseek(source, found, os.SEEK_HOLE)
        return found, os.pread(source, min(_GATHER, end - found), found)
    return at, os.pread(source, _GATHER, at)
