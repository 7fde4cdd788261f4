"""Connections that callers open for themselves, outside the pools and their sizes."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable

from ..config import ConnectionConfig
from ..login.dialler import Dialler
from ..session.link import Link
from ..system.tasks import TaskGroup, run_to_end


class UnpooledConnections:
    """Those of one manager in one loop: being made, and open.

    Parameters:
        tasks: the background tasks that tidy up after lost ones.
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._links: set[Link] = set()
        self._dialling: set[asyncio.Task[Link]] = set()
        self._count = 0

    async def open(self, dialler: Dialler, listener: Callable[[bytes], object] | None) -> Link:
        """A link of the caller's own."""
        self._count += 1
        task = asyncio.ensure_future(dialler.dial(f"c{self._count}", listener, apart=True))
        self._dialling.add(task)
        try:
            link = await task
        except asyncio.CancelledError:
            if task.done() and not task.cancelled() and not task.exception():
                await run_to_end(task.result().close)  # cancelled in the turn in which it succeeded
            raise
        finally:
            self._dialling.discard(task)
        self._links = {other for other in self._links if not other.closed} | {link}
        ref = weakref.ref(self)
        link.master.on_lost(lambda: _lost(ref, link))
        return link

    def to(self, config: ConnectionConfig) -> list[Link]:
        """Those to one target."""
        return [link for link in self._links if link.config == config]

    async def cancel_dials(self) -> None:
        """Ends those that are being made, and waits for that."""
        for task in tuple(self._dialling):
            task.cancel()
        if self._dialling:
            await asyncio.wait(self._dialling)

    async def close(self, *, drain: float, error: Exception) -> None:
        """Closes all of them, with their commands after up to `drain` seconds."""
        links = tuple(self._links)
        await asyncio.gather(*(link.close(drain=drain, error=error, leave=None) for link in links))
        self._links.difference_update(links)

    def abandon(self, *, end: bool) -> None:
        """Lets go of them when their loop has ended."""
        for link in self._links:
            link.master.abandon(end=end)
        self._links.clear()
        self._dialling.clear()

    def _forget(self, link: Link) -> None:
        self._links.discard(link)
        self._tasks.start(link.close_lost())


def _lost(ref: weakref.ref[UnpooledConnections], link: Link) -> None:
    connections = ref()
    if connections is not None:
        connections._forget(link)
