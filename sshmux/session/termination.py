"""Ending commands on the remote: through one session at a time, many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..errors import Error
from ..openssh import remote
from .execution import Execution

_DEADLINE = 4.0  # seconds for one round: SIGTERM, 2 s of patience, SIGKILL
_BY_ITSELF = 1.0  # seconds
_GATHER = 0.005  # seconds for those that are given up together to share one round
_GONE, _LEFT = 0, 1  # what the script ends with

Control = Callable[[str, float], Awaitable[int]]


class RemoteTerminator:
    """Ends process groups on the remote. Groups that come while a round runs share the next one.

    Only one place of the server's MaxSessions is kept for this, and fifty commands may run out
    of time together.
    """

    def __init__(self, control: Control) -> None:
        self._control = control
        self._next: dict[int, asyncio.Future[bool | None]] = {}
        self._terminals: set[int] = set()  # those of the next that have one
        self._working: asyncio.Task[None] | None = None

    async def end(self, pid: int, execution: Execution) -> bool:
        """Ends the group of `pid`. True once it is known to be gone.

        That its session is over is not enough: it is when the login shell has ended, and what that
        had started may be somebody else's to signal, or a job of its terminal.
        """
        gone = await asyncio.shield(self.start(pid, terminal=execution.pty is not None))
        if gone is not None:
            return gone
        # A full server has no place to end it from; it may be ending by itself, though.
        over = asyncio.ensure_future(execution.wait())
        try:
            await asyncio.wait((over,), timeout=_BY_ITSELF)
        finally:
            over.cancel()
        return execution.exited and execution.pty is None

    def start(self, pid: int, *, terminal: bool = False) -> asyncio.Future[bool | None]:
        """Ends the group of `pid`; the future tells whether it is gone, or None: not known.

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
            await asyncio.sleep(_GATHER)
            batch, self._next = self._next, {}
            terminals, self._terminals = self._terminals, set()
            gone = None
            try:
                status = await self._control(remote.end_groups(batch, terminals), _DEADLINE)
                gone = {_GONE: True, _LEFT: False}.get(status)
            except (Error, TimeoutError, OSError):
                pass
            finally:
                for future in batch.values():
                    if not future.done():
                        future.set_result(gone)
