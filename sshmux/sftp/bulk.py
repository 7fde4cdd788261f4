"""Many requests under way at once, for data of any size: in memory, or to and from files here.

The server answers in the order in which it was asked, so the oldest answer is always waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ..errors import SFTPBadMessage, SFTPEOFError, SFTPError, SFTPSourceChanged
from .attrs import SFTPAttrs, SFTPVFSAttrs
from .channel import Reply, answer
from .local_file import LocalFile
from .operations import Operations, data_of

WINDOW = 4 * 1024 * 1024  # bytes under way
_MOST = 128  # requests under way
_PAGE = 4096
_VECTOR = 1024  # pieces that go to a file here in one call (IOV_MAX)
_GATHER = 1024 * 1024  # bytes that go to a file here, or come from one, in one go
_UNTOLD = 64 * 1024 * 1024  # bytes of a file that says it has none, as those in /proc do

_ZEROS = bytes(256 * 1024)  # no piece is longer

Progress = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """An open file of the server.

    Attributes:
        empty: nothing of what it had is left in it.
    """

    handle: bytes
    path: bytes
    empty: bool = True


def block_of(given: int | None, most: int) -> int:
    """The size of a request: as the caller says, if he says, but never more than fits."""
    return min(given, most) if given is not None and given > 0 else most


def requests_for(block: int) -> int:
    """How many blocks may be under way."""
    return max(2, min(WINDOW // block, _MOST))


class Size:
    """How long a file is to be, and whether that is what came of it.

    Parameters:
        told: as it was looked at; None: whatever there is, up to its end. A file of 0 bytes may be
            one that does not know its size, as those in /proc: it is read to its end, too.
    """

    def __init__(self, told: int | None) -> None:
        self.told = told or None
        self._most = _UNTOLD if told == 0 else told

    def excess(self, size: int) -> int:
        """How many of so many bytes are too many."""
        return 0 if self._most is None else max(0, size - self._most)

    def check(self, size: int) -> None:
        """Raises `SFTPSourceChanged` for a file that became longer or shorter meanwhile."""
        if self.excess(size) or (self.told is not None and size != self.told):
            how = "longer" if self.excess(size) else "shorter"
            raise SFTPSourceChanged(
                f"it became {how} while it was copied: it had {self.told or 0} bytes, and "
                f'{"more" if self.excess(size) else size} came. on_change="accept" takes what '
                "is there"
            )


async def read(
    server: Operations,
    handle: bytes,
    start: int,
    end: int | None,
    block: int,
    most: int,
    *,
    beyond: bool = False,
) -> AsyncGenerator[tuple[int, memoryview | bytes], None]:
    """The pieces of a file from `start` to `end`, or to its own, in order, with their offsets.

    The end of the file is where the server says it is, also if `end` is beyond it.

    Parameters:
        beyond: also looks for a byte after `end`, in the same round trip.
    """
    pending: deque[tuple[int, int, asyncio.Future[Reply]]] = deque()
    ask_at, last = start, end
    if beyond and end is not None:
        last = end + 1
    try:
        while True:
            while len(pending) < most and (last is None or ask_at < last):
                size = block if last is None else min(block, last - ask_at)
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
            if len(data) > size:
                raise SFTPBadMessage(
                    f"the server gives {len(data)} bytes where {size} were asked for"
                )
            yield at, data
            if len(data) < size and not (beyond and end is not None and at + len(data) >= end):
                # It gives less than it is asked for, so from now on it is asked for that.
                block = min(block, max(len(data), _PAGE))
                rest = at + len(data), size - len(data)
                pending.appendleft((*rest, server.read(handle, *rest)))
    finally:
        for *_, future in pending:
            future.cancel()


class PipelinedWriter:
    """Writes to an open remote file, many pieces under way.

    Parameters:
        confirmed: called with the size of each piece, once it was written.
        look: tells how full the file system is, when a piece could not be written.
    """

    def __init__(
        self,
        server: Operations,
        handle: bytes,
        most: int,
        confirmed: Progress | None = None,
        *,
        look: Callable[[], Awaitable[SFTPVFSAttrs]] | None = None,
    ) -> None:
        self._server = server
        self._handle = handle
        self._look = look or partial(server.fstatvfs, handle)
        self._most = most
        self._confirmed = confirmed
        self._pending: deque[tuple[int, asyncio.Future[Reply]]] = deque()

    async def send(self, at: int, data: bytes | memoryview) -> None:
        """Sends a piece, once there is room for it."""
        while len(self._pending) >= self._most or (self._pending and self._pending[0][1].done()):
            await self._oldest()
        self._pending.append((len(data), self._server.write(self._handle, at, data)))

    async def finish(self) -> None:
        """Waits until all is confirmed."""
        while self._pending:
            await self._oldest()

    async def _oldest(self) -> None:
        size, future = self._pending.popleft()
        try:
            answer(await future)
        except SFTPError as error:
            raise await self._server.why_not_written(error, self._look) from None
        if self._confirmed is not None:
            self._confirmed(size)

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
            raise await server.why_not_written(error, partial(server.fstatvfs, handle)) from None
        return
    sending, view = PipelinedWriter(server, handle, most), memoryview(data)
    try:
        for at in range(0, len(data), block):
            await sending.send(start + at, view[at : at + block])
        await sending.finish()
    finally:
        sending.give_up()


async def download(
    server: Operations,
    handle: bytes,
    size: Size,
    target: LocalFile,
    *,
    block: int,
    most: int,
    sparse: bool,
    progress: Progress | None,
) -> None:
    """A whole file from there into an open file here.

    Parameters:
        sparse: what is all zeros is not written.
        progress: called with the bytes so far.
    """
    done = start = 0
    gathered: list[memoryview | bytes] = []
    write_some = _write_sparse if sparse else _write
    writing: asyncio.Future[None] | None = None
    found = read(server, handle, 0, size.told, block, most, beyond=True)
    async with contextlib.aclosing(found) as pieces:
        async for _, data in pieces:
            done += len(data)
            if excess := size.excess(done):
                if excess < len(data):
                    gathered.append(data[: len(data) - excess])
                break
            gathered.append(data)
            if progress is not None:
                progress(done)
            if done - start >= _GATHER:
                if writing is not None:
                    await asyncio.shield(writing)
                writing = target.begin(partial(write_some, gathered, start))
                gathered, start = [], done
    if writing is not None:
        await asyncio.shield(writing)  # what it raises counts, too
    if gathered:
        await target.do(partial(write_some, gathered, start))
    if sparse or (not target.empty and done < target.size):
        await target.do(partial(_cut, done - size.excess(done)))
    size.check(done)


async def upload(
    server: Operations,
    target: RemoteFile,
    size: Size,
    source: LocalFile,
    *,
    block: int,
    most: int,
    sparse: bool,
    progress: Progress | None,
) -> None:
    """A whole file from here into an open one on the remote, which is closed.

    It is closed in the same round trip as the last piece is written, so a full file system is asked
    for by the path.

    Parameters:
        sparse: holes are left out.
        progress: called with the bytes so far.
    """
    done = at = total = 0

    def confirmed(length: int) -> None:
        nonlocal done
        done += length
        if progress is not None:
            progress(done)

    handle, look = target.handle, partial(server.statvfs, target.path)
    sending = PipelinedWriter(server, handle, most, confirmed, look=look)
    closing: asyncio.Future[Reply] | None = None
    reading = source.begin(partial(_read, at, sparse))
    try:
        while True:
            found, data = await asyncio.shield(reading)
            total = found + len(data)
            if excess := size.excess(total):
                data = data[: max(0, len(data) - excess)]
            if not data:
                break
            done += found - at  # a hole
            at = found + len(data)
            if not excess:
                reading = source.begin(partial(_read, at, sparse))
            view = memoryview(data)
            for offset in range(0, len(data), block):
                await sending.send(found + offset, view[offset : offset + block])
            if excess:
                break
        if total > at and not size.excess(total):  # it ends with a hole
            await server.fsetstat(handle, SFTPAttrs(size=total))
            confirmed(total - at)
        elif not target.empty and total < source.size:  # it became shorter on the way
            await sending.finish()
            await server.fsetstat(handle, SFTPAttrs(size=total))
        closing = server.closing(handle)
        await sending.finish()
        answer(await closing)  # what closing says counts, too
    except BaseException:
        if closing is None:
            server.drop(handle)
        raise
    finally:
        sending.give_up()
    size.check(total)


async def through_local(
    server: Operations,
    handles: tuple[bytes, bytes],
    size: Size,
    *,
    block: int,
    most: int,
    progress: Progress | None,
) -> None:
    """A whole file of the remote into another, by way of this machine."""
    source, target = handles
    done = total = 0

    def confirmed(length: int) -> None:
        nonlocal done
        done += length
        if progress is not None:
            progress(done)

    sending = PipelinedWriter(server, target, most, confirmed)
    pieces = read(server, source, 0, size.told, block, most, beyond=True)
    try:
        async with contextlib.aclosing(pieces):
            async for at, data in pieces:
                total += len(data)
                excess = size.excess(total)
                if excess < len(data):
                    await sending.send(at, data[: len(data) - excess])
                if excess:
                    break
        await sending.finish()
    finally:
        sending.give_up()
    size.check(total)


def _cut(length: int, target: int) -> None:
    os.ftruncate(target, length)


def _write(pieces: Sequence[memoryview | bytes], at: int, target: int) -> None:
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


def _write_sparse(pieces: Sequence[memoryview | bytes], at: int, target: int) -> None:
    for piece in pieces:
        if piece[0] or piece[-1] or bytes(piece) != _ZEROS[: len(piece)]:
            _write((piece,), at, target)
        at += len(piece)


def _read(at: int, sparse: bool, source: int) -> tuple[int, bytes]:
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
