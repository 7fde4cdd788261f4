"""Finding out how many sessions a server takes on one connection, by trying."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from ...system.pipes import Reader
from ...system.processes import Child, spawn
from ...system.tasks import settle
from .. import argv
from .master import Master

_HELLO = "echo up; cat >/dev/null"  # says that it runs, and runs until its stdin ends


async def count_sessions(master: Master, most: int, timeout: float) -> int:
    """Opens sessions on a living master, one more at a time, until one is refused.

    Returns how many were open at once; `most` when that many were taken. Closes them all.

    Parameters:
        timeout: seconds for each to open.
    """
    with contextlib.ExitStack() as opened:
        stdin, writing = os.pipe()  # its end, when all is counted, ends them all
        opened.callback(os.close, stdin)
        clients: list[Child] = []
        try:
            while len(clients) < most:
                client, up = _open(master, stdin, opened.callback)
                clients.append(client)
                if not await _came_up(client, up, timeout):
                    clients.pop()
                    await client.end()
                    break
            return len(clients)
        finally:
            os.close(writing)
            await asyncio.gather(*(_leave(client) for client in clients))


def _open(
    master: Master, stdin: int, undo: Callable[[Callable[[], object]], object]
) -> tuple[Child, asyncio.Future[None]]:
    up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    reader, stdout = Reader.pipe(lambda _: settle(up))
    undo(reader.close)
    try:
        line = argv.session(master.config, master.entry.socket, _HELLO)
        return spawn(line, stdin=stdin, stdout=stdout), up
    finally:
        os.close(stdout)


async def _came_up(client: Child, up: asyncio.Future[None], timeout: float) -> bool:
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    client.on_exit(lambda: settle(ended))
    await asyncio.wait((up, ended), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    return up.done()


async def _leave(client: Child) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2.0):
            await client.wait()
    await client.end()
