"""Looks after masters in use: one that hangs takes what it is told, and says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

from ..openssh.control.master import Master
from ..system.tasks import TaskGroup
from .execution import Execution
from .health import LinkHealth

_SILENCE = 10.0  # seconds without a sign of a command's beginning until its master is asked
_SILENT_PING = 5.0  # seconds for it to answer then

End = Callable[[Sequence[Execution], Exception], Awaitable[None]]


class MasterWatch:
    """Watches one master while commands run on it.

    Parameters:
        executions: what runs.
        end: ends some of it, with an error for whoever awaits it.
    """

    def __init__(
        self, master: Master, health: LinkHealth, executions: Collection[Execution], end: End
    ) -> None:
        self._master = master
        self._health = health
        self._executions = executions
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._suspicions = TaskGroup()

    def begin(self) -> None:
        """Something runs now."""
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(_SILENCE, self._look)

    async def close(self) -> None:
        """Looks no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        await self._suspicions.cancel()

    def _look(self) -> None:
        """Looks for commands that should have begun long ago."""
        self._timer = None
        since = self._loop.time() - _SILENCE
        silent = [each for each in self._executions if each.silent and each.began_at <= since]
        if silent:
            self._suspicions.start(self._suspect(silent))
        if self._executions:
            self.begin()

    async def _suspect(self, silent: Sequence[Execution]) -> None:
        if await self._master.ping(_SILENT_PING):
            return  # so it is the network, or the server: keepalives see to that
        self._health.hung = True
        why = f"its master (pid {self._master.pid}) does not answer"
        self._health.retire(why)
        lost = self._health.lost(why, None)
        await self._end([each for each in silent if not each.over], lost)
