"""The ends of pipes that are ours: emptied, or fed, by the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from io import BytesIO

from .forking import forget_in_child
from .inherited import pipe_signal_kills, write_quietly
from .tasks import settle
from .watcher import watcher

_DEFAULT_PIPE = 64 * 1024
_MODEST = 32 * 1024  # bytes of a piece where there is no memory for more
_LITTLE = 4 * 1024  # bytes: so few are an answer that somebody waits for, not bulk data
_REST = 0.001  # seconds for bulk data to gather: far less than a pipe of 1 MiB takes to fill


class Reader:
    """The reading end of a pipe, emptied in large reads as data arrives.

    Without a `sink` the bytes are collected, up to `limit` if there is one (the rest is read
    and thrown away); with a sink, each piece goes to it. A `BytesIO` as sink is filled without a
    bytes object for each piece, and gives all of it away without another copy.
    """

    __slots__ = (
        *("_buffer", "_callbacks", "_fd", "_loop", "_on_error", "_paused", "_piece"),
        *("_resting", "_room", "_sink", "_size", "_store", "_watched", "_watcher", "chunks"),
    )

    CHUNK = 1024 * 1024

    def __init__(
        self,
        fd: int,
        sink: Callable[[bytes], object] | BytesIO | None = None,
        limit: int | None = None,
        *,
        blocking: bool = True,
        watched: bool = True,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self.chunks: list[bytes] = []
        self._room = limit
        self._piece = _DEFAULT_PIPE
        self._store: BytesIO | None = None
        self._buffer: memoryview | None = None
        if isinstance(sink, BytesIO):
            self._store, sink = sink, sink.write
        self._sink = sink or (self.chunks.append if limit is None else self._collect_some)
        self._callbacks: list[Callable[[], object]] = []
        self._on_error: Callable[[Exception], object] | None = None
        if blocking:
            os.set_blocking(fd, False)
        self._watcher = watcher(self._loop)
        self._watched = False
        self._resting: asyncio.TimerHandle | None = None
        self._paused = False
        self._size = 0  # of the last piece
        if watched:
            self.watch()

    @classmethod
    def pipe(
        cls,
        sink: Callable[[bytes], object] | BytesIO | None = None,
        limit: int | None = None,
        *,
        for_session: bool = False,
    ) -> tuple[Reader, int]:
        """A new pipe: its reader, and the writing end for a child.

        Parameters:
            for_session: the writing end is a master's, which never blocks on it either; and the
                reader is not watched yet.
        """
        reading, writing = _pipe() if for_session else os.pipe()
        try:
            reader = cls(reading, sink, limit, blocking=not for_session, watched=not for_session)
            return reader, writing
        except BaseException:
            os.close(reading)
            os.close(writing)
            raise

    def watch(self) -> None:
        """From now on it is emptied as data arrives."""
        idle = self._resting is None and not self._paused
        if not self._watched and self._fd >= 0 and idle:
            self._watched = True
            self._watcher.add(self._fd, self._ready)

    def watch_later(self) -> None:
        """Watched before long, for what is not urgent."""
        self._watcher.later(self.watch)

    def pause(self) -> None:
        """Stops reading: the pipe fills up, and whoever writes has to wait."""
        self._paused = True
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        if self._watched:
            self._watcher.remove(self._fd)
            self._watched = False

    def resume(self) -> None:
        """Goes on after `pause`."""
        self._paused = False
        self.watch()

    def tee(self, listener: Callable[[bytes], object]) -> None:
        """Lets somebody else hear each piece, too."""
        sink, self._store = self._sink, None

        def both(data: bytes) -> None:
            sink(data)
            listener(data)

        self._sink = both

    def _collect_some(self, data: bytes) -> None:
        assert self._room is not None  # noqa: S101 - only set as the sink when there is a limit
        if self._room > 0:
            self.chunks.append(data[: self._room])
            self._room -= len(data)

    def _grow(self) -> None:
        """A full default pipe (64 KiB) means bulk data: fewer, larger reads from now on."""
        try:
            if self._store is not None:
                self._buffer = memoryview(bytearray(self.CHUNK))
        except MemoryError:
            self._piece = _MODEST
            return
        self._piece = self.CHUNK
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # /proc/sys/fs/pipe-user-pages-soft
                fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, self.CHUNK)

    @property
    def heard(self) -> bool:
        """Whether anything was read."""
        return self._size > 0

    def on_error(self, callback: Callable[[Exception], object]) -> None:
        """Calls back with what the sink raises. It gets no more after that."""
        self._on_error = callback

    @property
    def closed(self) -> bool:
        """Whether the end was read, or `close()` called."""
        return self._fd < 0

    def _ready(self) -> None:
        """Reads once; bulk data is then left to gather, or each 32 KiB would be a turn of ours."""
        more = self._take() and self._watched
        if more and self._piece == self.CHUNK and _LITTLE <= self._size < self.CHUNK // 2:
            self._watcher.remove(self._fd)
            self._watched = False
            self._resting = self._loop.call_later(_REST, self._rested)

    def _rested(self) -> None:
        self._resting = None
        self.watch()
        self._ready()

    def _take(self) -> bool:
        """Reads once. Whether there may be more at this moment."""
        if self._fd < 0:
            return False
        if self._buffer is not None and self._store is not None:
            return self._take_much(self._buffer, self._store)
        try:
            data = os.read(self._fd, self._piece)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        except MemoryError as error:
            return self._no_room(error)
        if not data:
            self.close()
            return False
        self._size = len(data)
        try:
            self._sink(data)
        except Exception as error:
            self._failed(error)
        if len(data) == _DEFAULT_PIPE == self._piece:
            self._grow()
        return True

    def _take_much(self, buffer: memoryview, store: BytesIO) -> bool:
        try:
            size = os.readv(self._fd, (buffer,))
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            size = 0
        if size:
            self._size = size
            try:
                store.write(buffer[:size])
            except MemoryError as error:  # a part is lost: whoever waits for it must know
                self._failed(error)
        else:
            self.close()
        return size > 0

    def _no_room(self, error: MemoryError) -> bool:
        """Smaller pieces from now on, or none. Whether to try again."""
        if self._piece > _MODEST:
            self._piece = _MODEST
            return True
        try:
            self._failed(error)
        finally:
            self.close()  # it would be tried in each turn, for ever
        return False

    def _failed(self, error: Exception) -> None:
        """What came cannot be kept: it is said, and nothing more is kept."""
        self._sink, self._store, self._buffer = _nothing, None, None
        if self._on_error is None:
            raise error
        self._on_error(error)

    def drain(self) -> None:
        """Reads what is there now, without waiting for the loop."""
        while self._take():
            pass

    def on_end(self, callback: Callable[[], object]) -> None:
        """Calls back at the end of the stream; at once if it was reached."""
        if self.closed:
            callback()
        else:
            self._callbacks.append(callback)

    async def ended(self) -> None:
        """Waits for the end of the stream."""
        if not self.closed:
            end = self._loop.create_future()
            self.on_end(partial(settle, end))
            await end

    def close(self) -> None:
        """Lets go of the pipe; safe to call twice."""
        if self._fd >= 0:
            if self._watched:
                self._watcher.remove(self._fd)
            if self._resting is not None:
                self._resting.cancel()
                self._resting = None
            os.close(self._fd)
            self._fd = -1
            self._sink = _nothing
            self._store = self._buffer = None
            callbacks, self._callbacks = self._callbacks, []
            for callback in callbacks:
                callback()

    def forget(self) -> None:
        """In a forked child: closes its copy."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def bytes(self) -> bytes:
        """Everything collected."""
        return b"".join(self.chunks)

    def text(self) -> str:
        """Everything collected, decoded leniently."""
        return self.bytes().decode("utf-8", "replace")


def _pipe() -> tuple[int, int]:
    """A pipe neither of whose ends blocks."""
    if hasattr(os, "pipe2"):
        return os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    return reading, writing


def _nothing(_: bytes) -> None:
    """In place of a sink that is not wanted any more."""


class Writer:
    """The writing end of a pipe, fed as fast as the other side takes it.

    Parameters:
        data: what is to be written, and then the end, if it is given.
    """

    PIECE = 1024 * 1024
    HIGH = 256 * 1024  # bytes that may wait before `drained` does

    def __init__(self, fd: int, data: bytes | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._waiting: deque[memoryview] = deque()
        self._size = 0
        self._ending = False
        self._watched = False
        self._broken = False
        self._put = write_quietly if pipe_signal_kills() else os.write
        self._drained: list[asyncio.Future[None]] = []
        self._closed: list[asyncio.Future[None]] = []
        self._moved: list[asyncio.Future[None]] = []  # when some of it was written
        os.set_blocking(fd, False)
        forget_in_child(self)
        if data is not None:
            self.write(data)
            self.end()

    def write(self, data: bytes | memoryview) -> None:
        """Takes data. Raises `BrokenPipeError` when nobody reads it any more."""
        if self._broken or self._fd < 0:
            raise BrokenPipeError("nobody reads that any more")
        if data:
            self._waiting.append(memoryview(data))
            self._size += len(data)
            if not self._watched:
                self._write()

    def end(self) -> None:
        """Nothing more comes: the reader sees the end after what was written."""
        self._ending = True
        if not self._waiting:
            self.close()

    async def drained(self) -> None:
        """Waits until little is waiting. Raises `BrokenPipeError` when nobody reads it any more."""
        if self._size > self.HIGH:
            await self._until(self._drained)
        if self._broken:
            raise BrokenPipeError("nobody reads that any more")

    async def ended(self) -> None:
        """Waits until everything was written, or nobody reads it any more."""
        if self._fd >= 0:
            await self._until(self._closed)

    async def flushed(self) -> None:
        """Waits until what was written so far has gone, or nobody reads it any more."""
        while self._waiting:
            await self._until(self._moved)

    @property
    def closed(self) -> bool:
        """Whether it was closed, by us or because nobody reads it."""
        return self._fd < 0

    async def _until(self, event: list[asyncio.Future[None]]) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        event.append(waiter)
        await waiter

    def _write(self) -> None:
        try:
            while self._waiting:
                piece = self._waiting[0]
                written = self._put(self._fd, piece[: self.PIECE])
                self._size -= written
                if written < len(piece):
                    self._waiting[0] = piece[written:]
                else:
                    self._waiting.popleft()
        except (BlockingIOError, InterruptedError):
            self._watch()
        except OSError:  # the reader is gone: what is left has nowhere to go
            self._broken = True
            self.close()
        else:
            self._unwatch()
            if self._ending:
                self.close()
        if self._size <= self.HIGH:
            _happened(self._drained)
        _happened(self._moved)

    def _watch(self) -> None:
        if not self._watched:
            self._watched = True
            self._loop.add_writer(self._fd, self._write)

    def _unwatch(self) -> None:
        if self._watched and not self._loop.is_closed():
            self._loop.remove_writer(self._fd)
        self._watched = False

    def forget(self) -> None:
        """In a forked child: closes its copy, or the reader would never see the end."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        self._waiting.clear()

    def close(self) -> None:
        """Closes the pipe: the reader sees the end. Safe to call twice."""
        if self._fd >= 0:
            self._unwatch()
            os.close(self._fd)
            self._fd = -1
            self._broken = self._broken or bool(self._waiting)
            self._waiting.clear()
            self._size = 0
            _happened(self._drained)
            _happened(self._moved)
            _happened(self._closed)


def _happened(event: list[asyncio.Future[None]]) -> None:
    for waiter in event:
        settle(waiter)
    event.clear()
