"""Shells that stay open between borrowers: the next one pays neither session nor start-up files."""

from __future__ import annotations

import asyncio

from ..errors import ConnectionReleased
from ..system.tasks import TaskGroup
from .execution import Scope
from .link import Link
from .shell import RemoteShell
from .shell_session import ShellSession

MOST = 2  # shells kept on one connection, each of which takes one of the server's sessions
IDLE = 60.0  # seconds until an unused one is ended


class WarmShells:
    """The shells of one link that wait for the next borrower."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.scope = Scope()
        self._idle: list[tuple[ShellSession, asyncio.TimerHandle]] = []
        self._ending = TaskGroup()
        link.attachments.add(self)  # they are executions as well, which the link looks after
        link.before_close.append(self.end)
        link.gate.on_full = self.make_room

    @classmethod
    def of(cls, link: Link) -> WarmShells:
        """Those of a link."""
        found = next((each for each in link.attachments if isinstance(each, cls)), None)
        return found or cls(link)

    def lend(self) -> RemoteShell:
        """A shell that is warm if there is one; else it starts with its first command."""
        session = None
        while self._idle and session is None:
            candidate, timer = self._idle.pop()
            timer.cancel()
            session = candidate if candidate.usable else None
        return RemoteShell(self._link, self.scope, session)

    def give_back(self, shell: RemoteShell) -> None:
        """Keeps a shell for the next borrower, if nothing of this one can be left in it."""
        busy = shell.busy
        session = shell.detach("its block has ended")
        if session is None:
            return
        clean = session.usable and not session.stateful and not busy
        if clean and not self.scope.closed and len(self._idle) < MOST:
            timer = self._link.loop.call_later(IDLE, self._expire, session)
            self._idle.append((session, timer))
        else:
            self._ending.start(session.kill() if busy else session.close())

    def _expire(self, session: ShellSession) -> None:
        self._idle = [each for each in self._idle if each[0] is not session]
        self._ending.start(session.close())

    def make_room(self) -> None:
        """A command waits for a session: ends the shell that was unused for longest."""
        if self._idle:
            session, timer = self._idle.pop(0)
            timer.cancel()
            self._ending.start(session.close())

    async def end(self) -> None:
        """Ends all that are unused. Never raises."""
        self.scope.close(
            lambda: ConnectionReleased(
                f"the connection to {self._link.config.address} is being closed"
            )
        )
        while self._idle:
            self.make_room()
        await self._ending.wait()
        self._link.attachments.discard(self)
