"""A forward that listens: its opening, its port, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace

from ..errors import ChannelListenError, ConnectionLost
from ..session.execution import Scope
from ..session.link import Link
from ..system.contexts import OwnContext
from ..system.ownership import check_loop
from ..system.tasks import run_to_end
from .addresses import addresses, free_port
from .endpoints import LOCAL, REMOTE, UNIX, Forward
from .opening import end_all, open_all, unused

_TRIES = 5  # at a free port of our choice that somebody else may take first


class Listener(OwnContext):
    """A forward, in the shape of asyncssh's `SSHListener`. Made by `Connection.forward_…`.

    It ends with its block, with `close()`, and with its connection. What goes through it at that
    time goes on to its end.
    """

    def __init__(
        self, link: Link, scope: Scope, forward: Forward, parts: tuple[Forward, ...]
    ) -> None:
        self.scope = scope
        self.parts = parts  # as the master was asked for them: one for each address
        self._link = link
        self._forward = forward
        self._closing: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        self._inode: tuple[int, int] | None = None  # of a Unix socket here
        if forward.kind != REMOTE and forward.listen_port == UNIX:
            self._inode = _inode(forward.listen_host)

    def __repr__(self) -> str:
        return f"<Listener {self._forward} {'closed' if self.is_closed() else 'open'}>"

    def get_port(self) -> int:
        """The port that it listens on; 0 for a Unix socket."""
        return 0 if self._forward.listen_port == UNIX else self._forward.listen_port

    def get_path(self) -> str:
        """The path of the Unix socket that it listens on; "" for a port."""
        return self._forward.listen_host if self._forward.listen_port == UNIX else ""

    def is_closed(self) -> bool:
        """Whether it was closed, or its connection is gone."""
        return self._closing is not None or not self._link.master.alive

    def close(self) -> None:
        """Ends it: nobody new gets in. See `wait_closed`."""
        if self._closing is None:
            check_loop(self._link.loop, repr(self))
            self._link.attachments.discard(self)
            self._closing = self._link.loop.create_task(self._close())

    async def wait_closed(self) -> None:
        """Waits until it has ended."""
        await self._closed.wait()

    async def end(self) -> None:
        """Ends it, and waits for that. Never raises."""
        self.close()
        await self.wait_closed()

    async def _close(self) -> None:
        ours = unused(self._link, self.parts)
        try:
            if self._link.master.alive:
                await end_all(self._link, ours)
        finally:
            if ours:
                self._unlink()
            self._closed.set()

    def _unlink(self) -> None:
        """The master leaves its Unix socket where it is."""
        path = self._forward.listen_host
        if self._inode is not None and self._inode == _inode(path):
            with contextlib.suppress(OSError):
                os.unlink(path)

    async def _leave(self, error: BaseException | None) -> None:
        await run_to_end(self.end)


async def listen(link: Link, scope: Scope, forward: Forward) -> Listener:
    """Opens a forward, on each address that its host means.

    Raises:
        ChannelListenError: the port is busy on one of them, the path is taken, or it is forbidden.
        ConnectionLost: the master is gone.
        sshmux.TimeoutError: the server did not answer within the connection's `timeout`.
    """
    local = forward.kind != REMOTE and forward.listen_port != UNIX
    scope.check()
    hosts = await addresses(forward.listen_host) if local else [forward.listen_host]
    for last in (*[False] * (_TRIES - 1), True):
        scope.check()
        chosen = forward
        if local and forward.listen_port == 0:
            chosen = replace(forward, listen_port=_free_port(forward, hosts))
        parts = tuple(replace(chosen, listen_host=host) for host in hosts)
        try:
            port = await open_all(link, scope, parts)
        except ChannelListenError:
            if chosen is not forward and not last:
                continue  # somebody else took the port
            raise
        listener = Listener(link, scope, replace(chosen, listen_port=port), parts)
        link.attach(listener)
        if scope.closed or link.closed:
            await listener.end()
            scope.check()
            raise ConnectionLost(f"the {forward}: the connection was closed meanwhile")
        return listener
    raise AssertionError  # the last try returns or raises


def _free_port(forward: Forward, hosts: Sequence[str]) -> int:
    try:
        return free_port(hosts)
    except OSError as error:
        why = str(error.strerror or error).lower()
        raised = ChannelListenError(f"the {forward}: no port is free there: {why}")
        raised.errno = error.errno
        raise raised from None


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


__all__ = ["LOCAL", "Listener", "listen"]
