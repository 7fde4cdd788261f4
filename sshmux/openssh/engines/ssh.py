"""The `ssh` engine: every session is a process, `ssh -S SOCKET`. The reference engine.

A session is a command, three descriptors that we made, and an exit status to await. This engine
gives the descriptors to the client, which hands them to the master.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .. import argv
from ..master import Master
from ..processes import Child, spawn


class Session:
    """One session: a client process."""

    def __init__(self, child: Child) -> None:
        self._child = child

    @property
    def status(self) -> int | None:
        """The client's exit status once it ended. 255 has three meanings (man ssh, EXIT STATUS)."""
        return self._child.status

    def on_exit(self, callback: Callable[[], object]) -> None:
        """Calls back when the client has ended."""
        self._child.on_exit(callback)

    async def end(self) -> None:
        """Ends the client. The remote command is not ended by that."""
        await self._child.end()


def open_session(
    master: Master,
    command: str,
    *,
    stdin: int,
    stdout: int,
    stderr: int,
    forward_agent: bool = False,
    send_env: Iterable[str] = (),
) -> Session:
    """Starts a command on a living master. Never dials: see `argv.guard`."""
    line = argv.session(
        master.config,
        master.entry.socket,
        command,
        forward_agent=forward_agent,
        send_env=send_env,
    )
    return Session(spawn(line, stdin=stdin, stdout=stdout, stderr=stderr))
