"""The `ssh` engine: every session is a process, `ssh -S SOCKET`. The reference engine.

The client gets our descriptors, hands them to the master, and waits.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

from ...system.processes import UNKNOWN_STATUS, Child, spawn
from .. import argv
from ..control.master import Master
from .shape import NO_OPTIONS, End, SessionOptions


class SshSession:
    """One session: a client process."""

    def __init__(self, child: Child) -> None:
        self._child = child

    @property
    def end(self) -> End | None:
        """How the client ended. 255 has three meanings (man ssh, EXIT STATUS)."""
        status = self._child.status
        if status is None:
            return None
        if status == UNKNOWN_STATUS:
            return End(
                "failed",
                why="the exit status of its ssh client was taken by something else in this program "
                '(a wait for any child): use engine="mux", which needs none',
            )
        if status < 0:
            return End("failed", why=f"its ssh client was killed by signal {-status}")
        return End("unclear" if status == 255 else "exited", status)

    def on_end(self, callback: Callable[[], object]) -> None:
        """Calls back when the client has ended."""
        self._child.on_exit(callback)

    def outputs_ended(self) -> None:
        """The client is watched anyway."""

    async def stop(self) -> None:
        """Ends the client. The remote command is not ended by that."""
        await self._child.end()

    def close(self) -> None:
        """A client that has ended has nothing open."""


class SshEngine:
    """Uses a master through the ssh program."""

    def __init__(self, master: Master) -> None:
        self._master = master

    def open_session(
        self,
        command: str,
        *,
        stdin: int,
        stdout: int,
        stderr: int,
        options: SessionOptions = NO_OPTIONS,
    ) -> SshSession:
        """Starts a client. It never dials: see `argv.guard`."""
        line = argv.session(
            self._master.config,
            self._master.entry.socket,
            command,
            forward_agent=options.forward_agent,
            send_env=options.send_env,
            subsystem=options.subsystem,
            terminal=options.terminal is not None,
        )
        env = None if options.terminal is None else {**os.environ, "TERM": options.terminal}
        return SshSession(spawn(line, stdin=stdin, stdout=stdout, stderr=stderr, env=env))

    @property
    def usable(self) -> bool:
        """Whether the master lives and its socket is there.

        A client must not be started in vain: it may die without a word (its ProxyCommand=false can
        be gone before it has written one), and then nobody knows that nothing was started.
        """
        return self._master.usable

    async def check(self, timeout: float) -> None:
        """`ssh -O check`, with a deadline."""
        await self._master.check(timeout)

    async def ask(self, operation: Literal["stop", "exit"], timeout: float) -> bool:
        """`ssh -O stop` or `ssh -O exit`, with a deadline."""
        return await self._master.ask(operation, timeout)
