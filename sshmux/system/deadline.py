"""A deadline that stands still while a user is asked."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager


class Deadline:
    """So many seconds from now on, less those that a user took.

    Parameters:
        seconds: how long it is; None for ever.
    """

    def __init__(self, seconds: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = math.inf if seconds is None else self._loop.time() + seconds
        self._stops = 0
        self._stopped_at = 0.0
        self._timeout: asyncio.Timeout | None = None

    @property
    def left(self) -> float:
        """Seconds that are left; below 0 when it has passed."""
        return self._end - (self._stopped_at if self._stops else self._loop.time())

    @asynccontextmanager
    async def enforced(self) -> AsyncIterator[None]:
        """Raises `TimeoutError` when the block is still running at the deadline."""
        endless = self._stops > 0 or self._end == math.inf
        async with asyncio.timeout_at(None if endless else self._end) as timeout:
            self._timeout = timeout
            try:
                yield
            finally:
                self._timeout = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The time that the block takes does not count. Blocks may overlap."""
        self.stop()
        try:
            yield
        finally:
            self.go_on()

    def stop(self) -> None:
        """From here on the time does not count, until as many `go_on()` as there were `stop()`."""
        if self._stops == 0:
            self._stopped_at = self._loop.time()
            self._reschedule(None)
        self._stops += 1

    def go_on(self) -> None:
        """The time counts again."""
        self._stops -= 1
        if self._stops == 0:
            self._end += self._loop.time() - self._stopped_at
            self._reschedule(self._end)

    def extend(self, seconds: float) -> None:
        """So many seconds more."""
        self._end += seconds
        if not self._stops:
            self._reschedule(self._end)

    def _reschedule(self, when: float | None) -> None:
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(None if when == math.inf else when)
