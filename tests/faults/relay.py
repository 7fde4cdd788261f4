"""A TCP relay between a master and its server that can be slow, silent, or gone."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Self

_PIECE = 64 * 1024


class Relay:
    """Leads to one port here.

    Attributes:
        rate: in bytes a second; 0 is as fast as it goes.
        delay: seconds that each piece takes.

    Parameters:
        port: where it leads to.
        listening: what it listens on; None for a port of this machine's own.
    """

    def __init__(self, port: int, listening: socket.socket | None = None) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.rate = 0
        self.delay = 0.0
        self._listening = listening
        self._target = port
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        listening = self._listening or socket.create_server((self.host, 0))
        self._server = await asyncio.start_server(self._serve, sock=listening)
        self.host, self.port = self._server.sockets[0].getsockname()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def hole(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self._flows.clear()

    def flow(self) -> None:
        """It passes again."""
        self._flows.set()

    def reset(self) -> None:
        """Every connection is reset (RST), on both sides."""
        for writer in tuple(self._writers):
            found = writer.get_extra_info("socket")
            linger = struct.pack("ii", 1, 0)
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        other: asyncio.StreamWriter | None = None
        try:
            there, other = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers |= {writer, other}
            await asyncio.gather(self._pass(reader, other), self._pass(there, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for each in (writer, other):
                if each is not None:
                    self._writers.discard(each)
                    each.transport.abort()
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_PIECE):
            await self._flows.wait()
            if self.delay:
                await asyncio.sleep(self.delay)
            writer.write(data)
            await writer.drain()
            if self.rate:
                await asyncio.sleep(len(data) / self.rate)
        writer.write_eof()
