"""Ending commands on the remote: through one session at a time, many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..errors import Error
from ..openssh import remote
from .execution import Execution

_DEADLINE = 4.0  # seconds for one round: SIGTERM, 2 s of patience, SIGKILL

_BY_ITSELF = 1.0  # seconds
_PATIENCE = 2 * _DEADLINE + 1  # seconds: the round under way, and the next

Control = Callable[[str, float], Awaitable[int]]


class RemoteTerminator:
    """Ends process groups on the remote. Groups that come while a round runs share the next one.

    Only one place of the server's MaxSessions is kept for this, and fifty commands may run out
    of time together.
    """

    def __init__(self, control: Control) -> None:
        self._control = control
        self._next: dict[int, asyncio.Future[bool]] = {}
        self._terminals: set[int] = set()  # those of the next that have one
        self._working: asyncio.Task[None] | None = None

    async def end(self, pid: int, execution: Execution) -> bool:
        """Ends the group of `pid`. True once it is known to be gone, or its session is over."""
        gone = self.start(pid, terminal=execution.pty is not None)
        over = asyncio.ensure_future(execution.wait())
        # A session on a terminal is over when its shell has ended; there may be jobs yet.
        enough = (gone,) if execution.pty is not None else (gone, over)
        try:
            await asyncio.wait(enough, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() and not gone.result():
                # A full server has no place to end it from; it may be ending by itself, though.
                await asyncio.wait((over,), timeout=_BY_ITSELF)
            return execution.over or (gone.done() and gone.result())
        finally:
            over.cancel()

    def start(self, pid: int, *, terminal: bool = False) -> asyncio.Future[bool]:
        """Ends the group of `pid`; the future tells whether it is known to be gone.

        With `terminal`, all the groups on the terminal whose session it leads.
        """
        if terminal:
            self._terminals.add(pid)
        gone = self._next.setdefault(pid, asyncio.get_running_loop().create_future())
        self._go_on()
        return gone

    def _go_on(self, _: object = None) -> None:
        """Keeps somebody at work as long as there is work, also when that somebody is cancelled."""
        if self._next and (self._working is None or self._working.done()):
            self._working = asyncio.ensure_future(self._work())
            self._working.add_done_callback(self._go_on)

    async def idle(self) -> None:
        """Waits until no round is under way."""
        if self._working is not None:
            await asyncio.wait((self._working,))

    async def _work(self) -> None:
        while self._next:
            batch, self._next = self._next, {}
            terminals, self._terminals = self._terminals, set()
            gone = False
            try:
                gone = await self._control(remote.end_groups(batch, terminals), _DEADLINE) == 0
            except (Error, TimeoutError, OSError):
                pass
            finally:
                for future in batch.values():
                    if not future.done():
                        future.set_result(gone)
