"""Requests and their answers, over the pipes of one session."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import SFTPBadMessage, SFTPError, fresh_copy
from ..system.ownership import check_loop
from ..system.pipes import Writer
from .fields import Malformed, Unpacker
from .messages import HELLO, STATUS, VERSION, Frames, error_of, packet

Reply = tuple[int, memoryview]  # its kind, and its body

_SMALL = 16 * 1024  # bytes of data that are not worth a write of their own


class Channel:
    """Many requests under way at once; answers find theirs by number.

    Parameters:
        on_odd: called once what the server says makes no sense, to end the session.
    """

    def __init__(self, on_odd: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self.hello: asyncio.Future[memoryview] = self._loop.create_future()
        self.closed: SFTPError | None = None  # why nothing can be asked any more
        self._over = False
        self._on_odd = on_odd
        self._frames = Frames()
        self._writer: Writer | None = None
        self._pending: dict[int, asyncio.Future[Reply]] = {}
        self._number = 0
        self._gathered: list[bytes | memoryview] = []  # sent at the end of this turn
        self._gathering = False
        self._ending = False  # once nothing is under way

    # What comes

    def feed(self, data: bytes) -> None:
        """More of what the server says."""
        if self._over:
            return
        try:
            for kind, number, body in self._frames.feed(data):
                if kind == HELLO:
                    self._greeted(number, body)
                elif (future := self._pending.pop(number, None)) is None:
                    raise Malformed(f"an answer to request {number}, which was not made")
                elif not future.done():
                    future.set_result((kind, body))
            self._end_if_idle()
        except Malformed as error:
            self.refuse(SFTPBadMessage(f"the server does not speak SFTP as it should: {error}"))

    def refuse(self, error: SFTPBadMessage) -> None:
        """What the server says makes no sense: the session is ended."""
        self.fail(error)
        self._on_odd()

    def _greeted(self, version: int, body: memoryview) -> None:
        if self.hello.done():
            raise Malformed("a second greeting")
        if version != VERSION:
            raise Malformed(f"version {version} of it, where version {VERSION} was asked for")
        self.hello.set_result(body)

    def fail(self, error: SFTPError) -> None:
        """The session is over: so is everything that waits."""
        self._over = True
        self.closed = self.closed or error
        waiting, self._pending = self._pending, {}
        _fail(self.hello, error)
        for future in waiting.values():
            _fail(future, error)
        self._gathered.clear()
        if self._writer is not None:
            self._writer.close()

    # What is asked

    def connect(self, writer: Writer) -> None:
        """From now on requests go there."""
        self._writer = writer

    def end(self, why: SFTPError) -> None:
        """Asks nothing more; the server's input ends when it has answered what was asked.

        (OpenSSH's server throws away what it has not answered by then.)
        """
        self.check_loop()
        self._flush()
        self.closed = self.closed or why
        self._ending = True
        self._end_if_idle()

    def check_loop(self) -> None:
        """Raises `WrongEventLoop` in another loop, and in a forked child."""
        check_loop(self._loop, "this SFTP client")

    def _end_if_idle(self) -> None:
        if self._ending and not self._pending and self._writer is not None:
            self._writer.end()

    def send(self, kind: int, body: bytes, data: bytes | memoryview = b"") -> asyncio.Future[Reply]:
        """Sends a request, without waiting: the future has the answer.

        Parameters:
            data: the end of the body, which is not copied when it is large.
        """
        self.check_loop()
        if self.closed is not None or self._writer is None:
            assert self.closed is not None  # noqa: S101 - it is connected before it is used
            raise fresh_copy(self.closed)
        self._number = number = (self._number + 1) & 0xFFFFFFFF
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._pending[number] = future
        message = packet(kind, number, body, len(data))
        if len(data) > _SMALL:
            self._flush()
            self._write(message, data)
        elif self._gathering:
            self._gathered += (message, data)
        else:
            # What is asked in the same turn goes together: the master makes fewer packets of it.
            self._gathering = True
            self._loop.call_soon(self._turned)
            self._write(message + data)
        return future

    async def ask(self, kind: int, body: bytes, data: bytes | memoryview = b"") -> Reply:
        """Sends a request, and waits for the answer. Raises the `SFTPError` that it may be."""
        return answer(await self.send(kind, body, data))

    async def drain(self) -> None:
        """Waits until not much is waiting to be sent."""
        if self._writer is not None:
            with contextlib.suppress(BrokenPipeError):  # the session's end tells why
                await self._writer.drained()

    def _turned(self) -> None:
        self._gathering = False
        self._flush()

    def _flush(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._write(b"".join(gathered))

    def _write(self, *pieces: bytes | memoryview) -> None:
        assert self._writer is not None  # noqa: S101 - looked at by `send`
        with contextlib.suppress(BrokenPipeError):  # the session's end tells why
            for piece in pieces:
                self._writer.write(piece)


def _fail(future: asyncio.Future[Any], error: SFTPError) -> None:
    if not future.done():
        future.set_exception(fresh_copy(error))
        future.exception()  # that nobody looks at it is no news


def answer(reply: Reply) -> Reply:
    """The answer itself. Raises the error that it may be."""
    kind, body = reply
    if kind == STATUS and (error := _error(body)) is not None:
        raise error
    return reply


def _error(body: memoryview) -> SFTPError | None:
    try:
        return error_of(body)
    except Malformed as error:
        return SFTPBadMessage(f"the server's answer makes no sense: {error}")


def expect(reply: Reply, kinds: Sequence[int]) -> Unpacker:
    """The body of an answer of that kind. Raises the error that it may be, or `SFTPBadMessage`."""
    kind, body = answer(reply)
    if kind not in kinds:
        raise SFTPBadMessage(f"the server answers with message {kind} where {kinds[0]} belongs")
    return Unpacker(body)
