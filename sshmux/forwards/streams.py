"""Connections to what the remote can reach, as asyncio's streams: stdio forwards (`ssh -W`)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any

from ..errors import ChannelOpenError
from ..openssh.mux import operations
from ..openssh.mux.conversation import Conversation
from ..session.execution import Scope
from ..session.link import Link
from .endpoints import Endpoint
from .reader import Ending

_LEAVE = 10.0  # seconds for what was written to reach the other side, after `close()`


class _StreamTransport(asyncio.WriteTransport):
    """Both directions as one transport: closing it closes both, as with a socket."""

    def __init__(
        self, link: Link, scope: Scope, conversation: Conversation, place: Endpoint
    ) -> None:
        super().__init__({"peername": place})
        self.scope = scope
        self.ending = Ending(link, place)
        self._link = link
        self._conversation = conversation
        self._leaving: asyncio.TimerHandle | None = None
        self.reading: asyncio.ReadTransport | None = None
        self.writing: asyncio.WriteTransport | None = None

    def write(self, data: Any) -> None:
        """Sends data."""
        assert self.writing is not None  # noqa: S101 - connected before it is given away
        self.writing.write(data)

    def writelines(self, list_of_data: Any) -> None:
        """Sends data."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """The other side sees it."""
        return True

    def write_eof(self) -> None:
        """Ends this direction: a pipe's end is its closing."""
        assert self.writing is not None  # noqa: S101 - as above
        self.writing.close()

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._leaving is not None or self._conversation.closed

    def get_write_buffer_size(self) -> int:
        """Bytes that were not sent yet."""
        return 0 if self.writing is None else self.writing.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When `drain` waits."""
        if self.writing is not None:
            self.writing.set_write_buffer_limits(high, low)

    def close(self) -> None:
        """Ends both directions, once what was written is sent."""
        self.ending.expected = True
        if self.writing is not None:
            self.writing.close()
        if self.reading is not None:
            self.reading.close()
        if self._leaving is None:
            # Its end is the master's to tell: until then data may be under way.
            self._leaving = self._link.loop.call_later(_LEAVE, self.ended)

    def ended(self) -> None:
        """Nothing goes either way any more."""
        if self._leaving is not None:
            self._leaving.cancel()
        self._conversation.close()
        self._link.attachments.discard(self)

    def abort(self) -> None:
        """Ends both at once: the master lets go of the pipes, and what waits has nowhere to go."""
        self.close()
        self.ended()

    async def end(self) -> None:
        """Ends it with its connection, which its reader is told."""
        self.ending.cut_off()
        self.abort()


async def connect(
    link: Link, scope: Scope, place: Endpoint, limit: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects, and wraps two pipes.

    Pipes, one each way: with one socket for both the master could not pass on that the other
    side sends no more while it still reads (channels.c: it closes a descriptor, of two).
    """
    link.check_usable()
    with _Pipe() as there, _Pipe() as back:
        try:
            conversation = await operations.stdio_forward(
                link.master.entry.socket,
                *place,
                stdin=there.reading,
                stdout=back.writing,
                timeout=link.config.timeout,
            )
        except ChannelOpenError as error:
            raise ChannelOpenError(
                f"{error}. Nothing listens there, or the server forbids it (AllowTcpForwarding, "
                "AllowStreamLocalForwarding, PermitOpen, DisableForwarding)"
            ) from None
        way = _StreamTransport(link, scope, conversation, place)
        link.attach(way)
        try:
            streams = await _wrap(way, there, back, limit)
            conversation.listen(_nothing, lambda _: way.ended())
            conversation.watch()
            scope.check()
        except BaseException:
            way.abort()
            raise
        return streams


class _UnixStream:
    """A connection to a Unix socket of the master's, for as long as our connection lives."""

    def __init__(self, link: Link, scope: Scope, place: Endpoint) -> None:
        self.scope = scope
        self.ending = Ending(link, place)
        self.transport: asyncio.WriteTransport | None = None

    async def end(self) -> None:
        """Ends it with its connection, which its reader is told."""
        self.ending.cut_off()
        if self.transport is not None:
            self.transport.abort()


async def connect_path(
    link: Link, scope: Scope, here: str, place: Endpoint, limit: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects to a Unix socket here that the master leads to one of the remote."""
    stream = _UnixStream(link, scope, place)
    reader = stream.ending.reader(limit)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await link.loop.create_unix_connection(lambda: protocol, here)
    stream.transport = transport
    link.attach(stream)
    stream.ending.on_over = lambda: link.attachments.discard(stream)
    return reader, asyncio.StreamWriter(transport, protocol, reader, link.loop)


async def _wrap(
    way: _StreamTransport, there: _Pipe, back: _Pipe, limit: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = way.ending.reader(limit)
    reading = asyncio.StreamReaderProtocol(reader)
    file = os.fdopen(back.take_reading(), "rb", buffering=0)
    way.reading, _ = await _or_close(loop.connect_read_pipe(lambda: reading, file), file)
    # Of this protocol only the half that knows of pauses and of the end is used.
    writing = asyncio.StreamReaderProtocol(asyncio.StreamReader())
    file = os.fdopen(there.take_writing(), "wb", buffering=0)
    way.writing, _ = await _or_close(loop.connect_write_pipe(lambda: writing, file), file)
    return reader, asyncio.StreamWriter(way, writing, reader, loop)


async def _or_close(connecting: Coroutine[Any, Any, Any], file: Any) -> Any:
    """Connects, and does not let itself be cancelled meanwhile; that takes a turn of the loop.

    Cancelled in there, uvloop closes the descriptor below the file, whose own `close` may then
    close another's.
    """
    task = asyncio.ensure_future(connecting)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_close_transport)
        raise
    except BaseException:
        file.close()
        raise


def _close_transport(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result()[0].close()


class _Pipe:
    """A pipe whose ends are closed at the end of the block, unless they were taken."""

    def __enter__(self) -> _Pipe:
        self.reading, self.writing = os.pipe()
        return self

    def take_reading(self) -> int:
        """The reading end, for whoever closes it."""
        taken, self.reading = self.reading, -1
        return taken

    def take_writing(self) -> int:
        """The writing end, for whoever closes it."""
        taken, self.writing = self.writing, -1
        return taken

    def __exit__(self, *_: object) -> None:
        for end in (self.reading, self.writing):
            if end >= 0:
                os.close(end)


def _nothing(_: object) -> None:
    """It has said what it had to say."""
