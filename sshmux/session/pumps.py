"""What moves a process's data to and from objects: tasks, and what became of them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Protocol

from ..errors import Error
from ..text import logger
from .objects import PIECE, Inlet, Outlet, pieces
from .streams import StreamReader, StreamWriter

log = logger("sshmux.process")

_LAST_WORDS = 2.0  # seconds for an object to take what had come, when its process was given up
_NOBODY_READS = (BrokenPipeError, ConnectionResetError)


class CanFail(Protocol):
    """What an error of ours is told to."""

    def fail(self, error: Exception) -> None:
        """Ends it with that error."""


class Pumps:
    """The tasks of one process.

    What an object's `read` or `write` raises ends the process, and is raised to whoever waits for
    it. How a process at the other end of a stream ends is for its own caller to see.

    Parameters:
        at_work: gets the tasks that write to objects, as long as they run. See `let_go`.
    """

    def __init__(self, at_work: set[asyncio.Task[None]]) -> None:
        self._at_work = at_work
        self._outlets: set[asyncio.Task[None]] = set()
        self._others: set[asyncio.Task[None]] = set()  # nobody waits for those
        self._feeders: set[asyncio.Task[None]] = set()
        self._process: CanFail | None = None
        self._failure: Exception | None = None

    def serve(self, process: CanFail) -> None:
        """It has begun: it is what fails."""
        self._process = process
        if self._failure is not None:
            process.fail(self._failure)

    def to_object(self, stream: StreamReader[bytes], outlet: Outlet) -> None:
        """Writes all that comes; the process is not over for its caller before that is done."""
        task = self._start(self._outlets, self._to_object(stream, outlet))
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    def to_process(
        self, stream: StreamReader[Any], target: StreamWriter[Any], *, end: bool = True
    ) -> None:
        """Writes all that comes to another process."""
        self._start(self._others, _between(stream, target, end))

    def from_process(
        self, source: StreamReader[Any], stdin: StreamWriter[Any], *, end: bool
    ) -> None:
        """Feeds it with what another process writes."""
        self._start(self._feeders, _between(source, stdin, end))

    def from_object(
        self, source: Inlet, stdin: StreamWriter[Any], *, size: int = 0, end: bool
    ) -> None:
        """Feeds it with what an object has."""
        self._start(self._feeders, self._from_object(source, stdin, size or PIECE, end))

    async def finished(self) -> None:
        """Waits until the objects have taken everything. Raises what one of them raised."""
        while self._outlets:
            await asyncio.wait(set(self._outlets))
        if self._failure is not None:
            raise self._failure

    async def closed(self) -> None:
        """Waits until none is at work, once the process is over or was given up. Never raises."""
        while tasks := {*self._outlets, *self._feeders}:
            await asyncio.wait(tasks)

    def over(self, *, given_up: bool) -> None:
        """The process has ended: it reads no more, and what it wrote is on its way."""
        for task in self._feeders:
            task.cancel()
        if given_up:
            self.abandon()

    def abandon(self) -> None:
        """Whoever asked for it has gone: an object that takes nothing keeps nobody."""
        for task in self._outlets:
            task.get_loop().call_later(_LAST_WORDS, task.cancel)

    def _start(self, kind: set[asyncio.Task[None]], coroutine: Any) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        kind.add(task)
        task.add_done_callback(kind.discard)
        return task

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        if self._process is not None:
            self._process.fail(error)

    async def _to_object(self, stream: StreamReader[bytes], outlet: Outlet) -> None:
        try:
            while piece := await _next(stream):
                await outlet.write(piece)
            await outlet.end()
        except _NOBODY_READS as error:
            log.debug("nobody reads what a process writes any more: %s", error)
        except Exception as error:
            self._fail(error)
        finally:
            stream.close()

    async def _from_object(
        self, source: Inlet, stdin: StreamWriter[Any], size: int, end: bool
    ) -> None:
        try:
            async with contextlib.aclosing(pieces(source, size)) as found:
                async for piece in found:
                    if not await _taken(stdin, piece):
                        return
            if end:
                stdin.write_eof()
        except Exception as error:
            self._fail(error)


async def let_go(outlets: set[asyncio.Task[None]]) -> None:
    """Ends those that write to objects; what had come may still be taken, if that is soon."""
    if outlets:
        await asyncio.wait(set(outlets), timeout=_LAST_WORDS)
    for task in outlets:
        task.cancel()
    if outlets:
        await asyncio.wait(set(outlets))


async def _next(stream: StreamReader[bytes]) -> bytes:
    """The next piece; nothing at the end, however the process ended: its caller sees that."""
    try:
        return await stream.read(PIECE)
    except Error:
        return b""


async def _taken(stdin: StreamWriter[Any], piece: bytes | str) -> bool:
    """Whether the process takes it. Its end is no fault of what feeds it."""
    try:
        if isinstance(piece, str):
            stdin.write(piece)
        else:
            stdin.write_bytes(piece)
        await stdin.drain()
    except BrokenPipeError:
        return False
    return True


async def _between(source: StreamReader[Any], target: StreamWriter[Any], end: bool) -> None:
    """From one process to another."""
    source.become_bytes()
    try:
        while piece := await source.read(PIECE):
            target.write_bytes(piece)
            await target.drain()
    except (OSError, Error) as error:
        log.debug("what one process writes does not reach another any more: %s", error)
        target.write_eof()
    finally:
        source.close()
        if end:
            target.write_eof()
