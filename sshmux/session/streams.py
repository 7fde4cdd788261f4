"""The streams of a running process: asyncssh's `SSHReader` and `SSHWriter`, over pipes.

Text or bytes, as the process was asked for. What is read ahead is bounded: a reader that is not
read from stops its pipe, and so the remote command.
"""

from __future__ import annotations

import asyncio
import codecs
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar, cast

from ..checks import as_bytes, check_int
from ..system.ownership import check_loop, running_loop
from ..system.tasks import settle

AnyStr = TypeVar("AnyStr", str, bytes)

LIMIT = 1024 * 1024  # characters or bytes read ahead, until the pipe is stopped
_LOW = LIMIT // 4  # and until it goes on


class PausableSource(Protocol):
    """What a stream is fed from."""

    def pause(self) -> None:
        """Stops it."""

    def resume(self) -> None:
        """Lets it go on."""

    def close(self) -> None:
        """Ends it."""


class StreamReader(Generic[AnyStr]):
    """Reads what a process writes.

    For one reader at a time, as asyncio's and asyncssh's.
    """

    def __init__(self, empty: AnyStr, encoding: str | None, errors: str) -> None:
        self._empty: Any = empty
        self._newline: Any = "\n" if isinstance(empty, str) else b"\n"
        self._encoding, self._errors = encoding, errors
        self._decoder: codecs.IncrementalDecoder | None = None
        self._decode: Callable[[bytes, bool], Any] = _as_it_is
        if encoding is not None:
            self._decoder = codecs.getincrementaldecoder(encoding)(errors)
            self._decode = self._decoder.decode
        self._lines: deque[Any] = deque()  # whole ones, ahead of the pieces
        self._pieces: list[Any] = []
        self._complete = False  # whether a newline is in the pieces
        self._size = 0
        self._ended = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._for_line = False
        self._loop = running_loop()
        self._tap: PausableSource | None = None
        self._left = False  # whoever read it, perhaps before it was known what to stop
        self._paused = False

    # From below

    def feed_from(self, tap: PausableSource) -> None:
        """Says what to stop when nobody reads."""
        self._tap = tap
        if self._left:
            tap.close()

    def feed_data(self, data: bytes) -> None:
        """More has come. What cannot be decoded ends the stream, with the error."""
        if self._ended:
            return
        try:
            self._add(self._decode(data, False))
        except UnicodeDecodeError as error:
            self._ended, self._error = True, error
            self._wake()

    def feed_eof(self, error: Exception | None = None) -> None:
        """Nothing more comes; `error` is raised to whoever reads past the end."""
        if self._ended:
            return
        try:
            self._add(self._decode(b"", True))
        except UnicodeDecodeError as undecoded:
            error = error or undecoded
        self._ended, self._error = True, error
        self._wake()

    def close(self) -> None:
        """Reads no more: the process's next write finds nobody."""
        self._left = True
        if self._tap is not None:
            self._tap.close()

    def discard(self) -> None:
        """Nobody can read it any more: what comes is thrown away. Not while somebody waits."""
        if self._waiter is None:
            self._pieces.clear()
            self._lines.clear()
            self._size, self._ended = 0, True
            self._go_on()

    def become_bytes(self) -> None:
        """From here on it is a stream of bytes, whatever it was."""
        if self._encoding is None:
            return
        text, pending = self._all(), self._pending()
        self._pieces = [text.encode(self._encoding, self._errors) + pending]
        self._size = len(self._pieces[0])
        self._empty, self._newline, self._encoding = b"", b"\n", None
        self._decode = _as_it_is
        self._complete = self._newline in self._pieces[0]

    def _pending(self) -> bytes:
        """The beginning of a character whose rest has not come."""
        return self._decoder.getstate()[0] if self._decoder is not None else b""

    def _add(self, piece: AnyStr) -> None:
        if not piece:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        newline = self._newline in piece
        self._complete = self._complete or newline
        if self._waiter is not None:
            if newline or not self._for_line:
                self._wake()
        elif self._size > LIMIT and not self._paused and self._tap is not None:
            self._paused = True
            self._tap.pause()

    def _wake(self) -> None:
        if self._waiter is not None:
            settle(self._waiter)
            self._waiter = None

    # From above

    def at_eof(self) -> bool:
        """Whether everything was read, and nothing more comes."""
        return self._ended and self._size == 0

    async def read(self, n: int = -1) -> AnyStr:
        """Reads up to `n` characters or bytes, as soon as there are any; -1: until the end."""
        if n == 0:
            return cast("AnyStr", self._empty)
        while not self._ended and (n < 0 or self._size == 0):
            await self._more()
        self._check()
        return cast("AnyStr", self._take(self._size if n < 0 else n))

    def take_all(self) -> AnyStr:
        """What is there at this moment."""
        return cast("AnyStr", self._take(self._size))

    async def readexactly(self, n: int) -> AnyStr:
        """Reads `n` characters or bytes. Raises `asyncio.IncompleteReadError` at the end."""
        check_int("n", n, 0, sys.maxsize)
        while self._size < n and not self._ended:
            await self._more()
        if self._size < n:
            self._check()
            raise _incomplete(self._take(self._size), n)
        return cast("AnyStr", self._take(n))

    async def readline(self) -> AnyStr:
        """Reads a line of any length, with its newline; what is left at the end; then nothing."""
        while not self._lines and not self._complete and not self._ended:
            await self._more(for_line=True)
        self._check()
        return cast("AnyStr", self._take_line())

    async def readuntil(
        self, separator: AnyStr | Iterable[AnyStr] | re.Pattern[AnyStr], max_separator_len: int = 0
    ) -> AnyStr:
        """Reads until a separator, or the first of several, or what a pattern fits; and with it.

        Parameters:
            max_separator_len: as long may what a pattern fits be; so much is looked at again
                when more has come. 0: everything is. A match that could go on with what comes
                later ends where it ends now, so let a pattern end with something certain.

        Raises `asyncio.IncompleteReadError` at the end.
        """
        check_int("max_separator_len", max_separator_len, 0, sys.maxsize)
        find, longest = _finder(separator, max_separator_len, self._empty)
        searched = 0
        while True:
            text = self._all()
            if (end := find(text, max(0, searched - longest) if longest else 0)) is not None:
                return cast("AnyStr", self._take(end))
            if self._ended:
                self._check()
                raise _incomplete(self._take(self._size), None)
            searched = len(text)
            await self._more()

    def __aiter__(self) -> StreamReader[AnyStr]:
        """Line by line."""
        return self

    async def __anext__(self) -> AnyStr:
        """The next line, with its newline."""
        line: Any = self._lines.popleft() if self._lines else None
        if line is not None:
            self._size -= len(line)
            return cast("AnyStr", line)
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return cast("AnyStr", line)

    async def _more(self, *, for_line: bool = False) -> None:
        check_loop(self._loop, "this stream")
        if self._waiter is not None:
            raise RuntimeError("another task is reading from this stream already")
        self._go_on()
        self._waiter = asyncio.get_running_loop().create_future()
        self._for_line = for_line
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _go_on(self) -> None:
        if self._paused and self._tap is not None:
            self._paused = False
            self._tap.resume()

    def _check(self) -> None:
        """Raises the error that ended the stream, once all before it was read."""
        if self._error is not None and self._size == 0:
            error, self._error = self._error, None
            raise error

    def _all(self) -> Any:
        """Everything that is there, as one piece."""
        if self._lines or len(self._pieces) != 1:
            self._pieces = [self._empty.join((*self._lines, *self._pieces))]
            self._complete = self._complete or bool(self._lines)
            self._lines.clear()
        return self._pieces[0]

    def _take(self, n: int) -> Any:
        text = self._all()
        taken, rest = text[:n], text[n:]
        self._pieces = [rest] if rest else []
        self._complete = self._complete and self._newline in rest
        self._taken(len(taken))
        return taken

    def _take_line(self) -> Any:
        if not self._lines:
            *lines, rest = self._all().split(self._newline)
            self._lines.extend([line + self._newline for line in lines])
            self._pieces = [rest] if rest else []
            self._complete = False
        if self._lines:
            line = self._lines.popleft()
        else:
            line, self._pieces = self._empty.join(self._pieces), []
        self._taken(len(line))
        return line

    def _taken(self, n: int) -> None:
        self._size -= n
        if self._paused and self._size < _LOW:
            self._go_on()


def _finder(
    separator: Any, longest: int, empty: str | bytes
) -> tuple[Callable[[Any, int], int | None], int]:
    """What tells where the first separator ends, looking from a place on; and how long it may be.

    Raises `ValueError` for an empty one, and `TypeError` for text in bytes or the reverse.
    """
    if isinstance(separator, re.Pattern):
        _check_same(separator.pattern, empty)

        def search(text: Any, start: int) -> int | None:
            found = separator.search(text, start)
            return None if found is None else found.end()

        return search, longest
    separators = [separator] if isinstance(separator, str | bytes) else list(separator)
    if not separators or not all(separators):
        raise ValueError("readuntil needs a separator that is not empty")
    for each in separators:
        _check_same(each, empty)

    def find(text: Any, start: int) -> int | None:
        found = [(text.find(each, start), len(each)) for each in separators]
        return min((at + size for at, size in found if at >= 0), default=None)

    return find, max(map(len, separators))


def _check_same(separator: object, empty: str | bytes) -> None:
    if not isinstance(separator, type(empty)):
        raise TypeError(
            f"separator {separator!r}: this stream is one of {type(empty).__name__} "
            "(see create_process(encoding=))"
        )


def _as_it_is(data: bytes, final: bool) -> bytes:
    return data


def _incomplete(partial: str | bytes, expected: int | None) -> asyncio.IncompleteReadError:
    return asyncio.IncompleteReadError(partial, expected)  # type: ignore[arg-type]


class ByteSink(Protocol):
    """What a stream writes to."""

    def write(self, data: bytes) -> None:
        """Takes data, to be written as soon as it can be."""

    async def drained(self) -> None:
        """Waits until not much is waiting. Raises `BrokenPipeError` when nobody reads it."""

    def end(self) -> None:
        """Nothing more comes."""

    async def ended(self) -> None:
        """Waits until everything was written, or cannot be."""


class StreamWriter(Generic[AnyStr]):
    """Writes to a process's stdin."""

    def __init__(self, drain: ByteSink, encoding: str | None, errors: str) -> None:
        self._drain = drain
        self._encoding = encoding
        self._encode: Callable[[str], bytes] = str.encode
        if encoding is not None:  # one for all of it: some encodings begin with a mark
            self._encode = codecs.getincrementalencoder(encoding)(errors).encode
        self._closing = False
        self._loop = running_loop()

    def write(self, data: AnyStr) -> None:
        """Writes, without waiting: see `drain`.

        Raises:
            TypeError: text for a stream of bytes, or bytes for one of text.
            BrokenPipeError: it was closed.
        """
        check_loop(self._loop, "this stream")
        if self._closing:
            raise BrokenPipeError("the process's stdin was closed")
        if isinstance(data, str):
            if self._encoding is None:
                raise TypeError("this stream takes bytes: give create_process() an encoding=")
            self._drain.write(self._encode(data))
        elif self._encoding is not None:
            raise TypeError("this stream takes str: give create_process() encoding=None for bytes")
        else:
            self._drain.write(as_bytes(data))

    def write_bytes(self, data: bytes) -> None:
        """Writes bytes, whatever the encoding."""
        if self._closing:
            raise BrokenPipeError("the process's stdin was closed")
        self._drain.write(data)

    def writelines(self, list_of_data: Iterable[AnyStr]) -> None:
        """Writes one after the other; no newline is added."""
        for data in list_of_data:
            self.write(data)

    async def drain(self) -> None:
        """Waits until there is room. Raises `BrokenPipeError` when the process reads no more."""
        await self._drain.drained()

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def write_eof(self) -> None:
        """Ends the process's input."""
        check_loop(self._loop, "this stream")
        if not self._closing:
            self._closing = True
            self._drain.end()

    def close(self) -> None:
        """Ends the process's input."""
        self.write_eof()

    def is_closing(self) -> bool:
        """Whether it was closed, or its end told."""
        return self._closing

    async def wait_closed(self) -> None:
        """Waits until everything was written, or nobody reads it any more."""
        await self._drain.ended()
