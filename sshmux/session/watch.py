"""Looks after masters in use: one that hangs takes what it is told, and says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

from ..errors import TimeoutError as Timeout
from ..openssh.control.master import Master
from ..system.tasks import TaskGroup
from .execution import Execution
from .health import LinkHealth, no_room

_SOON = 2.0  # seconds until the first look, and between looks while a command has not begun
_SELDOM = 10.0  # seconds between looks at the most; keepalive_interval if that is less
_PING = 5.0  # seconds for the master to answer

End = Callable[[Sequence[Execution], Exception], Awaitable[None]]


class Use(Protocol):
    """What a master is used for."""

    @property
    def executions(self) -> Collection[Execution]:
        """The commands that run."""

    @property
    def attachments(self) -> Collection[object]:
        """What else lives by it."""


class MasterWatch:
    """Pings one master over its lease while it is used: 0.1 ms, no process, no session.

    Parameters:
        use: what it is used for.
        end: ends some of the commands, with an error for whoever awaits them.
    """

    def __init__(self, master: Master, health: LinkHealth, use: Use, end: End) -> None:
        self._master = master
        self._health = health
        self._use = use
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._pause = min(master.config.keepalive_interval or _SELDOM, _SELDOM)
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._looks = TaskGroup()

    def begin(self) -> None:
        """Something uses it now."""
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(_SOON, self._due)

    def expect(self, execution: Execution) -> None:
        """Its input waits for its announcement: not longer than a log-in takes."""
        execution.expect(self._master.config.timeout, self._no_beginning)

    def _no_beginning(self) -> Timeout:
        return Timeout(
            f"no command began on {self._master.config.address} within "
            f"{self._master.config.timeout:g} s, and none of its input was sent. Does a start-up "
            "file of the account (.bashrc, .cshrc) hang, or start another shell (exec)? For a "
            'forced command, register the cluster with remote_shell="none"'
        )

    async def close(self) -> None:
        """Looks no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        await self._looks.cancel()

    def _due(self) -> None:
        self._timer = None
        if (self._use.executions or self._use.attachments) and not self._closed:
            self._looks.start(self._look())

    async def _look(self) -> None:
        if await self._master.ping(_PING):
            await self._look_for_room()
        elif self._master.alive:
            await self._hangs()
            return
        silent = any(each.silent for each in self._use.executions)
        if self._timer is None and not self._closed:
            pause = _SOON if silent else self._pause
            self._timer = self._loop.call_later(min(pause, self._pause), self._due)

    async def _look_for_room(self) -> None:
        """A master without descriptors answers, and lets its new clients wait for ever."""
        since = self._loop.time() - _SOON / 2
        silent = [each for each in self._use.executions if each.silent and each.began_at <= since]
        if silent and (why := no_room(self._master)):
            self._health.retire(why)
            await self._end(
                [each for each in silent if not each.over], self._health.lost(why, None)
            )

    async def _hangs(self) -> None:
        """Nothing more can be had from it: its commands are given up, and it is ended."""
        self._health.hung = True
        why = f"its master (pid {self._master.pid}) does not answer"
        self._health.retire(why)
        running = [each for each in self._use.executions if not each.over]
        begun = [each for each in running if each.preamble.pid is not None]
        rest = [each for each in running if each.preamble.pid is None]
        await asyncio.gather(
            self._end(begun, self._health.lost(why, True)),
            self._end(rest, self._health.lost(why, None)),
        )
        self._master.kill()  # whoever has a stream through it sees its end
