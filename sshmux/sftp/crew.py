"""Many files at once, and not too many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Crew:
    """Copies files, so many at a time."""

    SIZE = 16

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._places = asyncio.Semaphore(self.SIZE)

    async def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Starts, once there is a place."""
        await self._places.acquire()
        self._group.create_task(self._do(work))

    async def _do(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        finally:
            self._places.release()
