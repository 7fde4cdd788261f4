"""A relay on loopback that makes every byte late, in a process of its own: a long way to a server.

    python -m scripts.benchmarks.delay TARGET_PORT SECONDS [BYTES_PER_SECOND]

prints its own port, and relays until its stdin ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque

_PIECE = 64 * 1024
_AHEAD = 64 * 1024 * 1024  # bytes under way: a line does not make its sender wait


class Direction:
    """Half of a connection: what comes in goes out `delay` seconds later, at `rate` at the most."""

    def __init__(self, delay: float, rate: float) -> None:
        self._delay = delay
        self._rate = rate
        self._queue: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._free_at = 0.0
        self._changed = asyncio.Event()

    async def read(self, reader: asyncio.StreamReader) -> None:
        loop = asyncio.get_running_loop()
        while True:
            data = await reader.read(_PIECE)
            sent_at = max(loop.time(), self._free_at)
            if self._rate:
                sent_at += len(data) / self._rate
            self._free_at = sent_at
            self._queue.append((sent_at + self._delay, data))
            self._size += len(data)
            self._changed.set()
            if not data:
                return
            while self._size > _AHEAD:
                self._changed.clear()
                await self._changed.wait()

    async def write(self, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._queue:
                self._changed.clear()
                await self._changed.wait()
            at, data = self._queue.popleft()
            if (wait := at - loop.time()) > 0:
                await asyncio.sleep(wait)
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()
            self._size -= len(data)
            self._changed.set()


async def relay(
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    port: int,
    delay: float,
    rate: float,
) -> None:
    server = await asyncio.open_connection("127.0.0.1", port)
    there, back = Direction(delay, rate), Direction(delay, rate)
    with contextlib.suppress(OSError):
        async with asyncio.TaskGroup() as group:
            group.create_task(there.read(client[0]))
            group.create_task(there.write(server[1]))
            group.create_task(back.read(server[0]))
            group.create_task(back.write(client[1]))
    for _, writer in (client, server):
        writer.close()


async def main(port: int, delay: float, rate: float) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ExceptionGroup, OSError):
            await relay((reader, writer), port, delay, rate)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    _, target, seconds, *rates = sys.argv
    asyncio.run(main(int(target), float(seconds), float(rates[0]) if rates else 0.0))
