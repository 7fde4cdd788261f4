"""A forward that listens: its opening, its port, its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from functools import partial

from ..errors import ChannelListenError, ChannelOpenError, ConnectionLost, Error
from ..openssh.mux import operations
from ..session.execution import Scope
from ..session.link import Link
from ..system.contexts import OwnContext
from ..system.tasks import run_to_end
from .endpoints import LOCAL, REMOTE, UNIX, Forward

log = logging.getLogger("sshmux.forward")

_TRIES = 5  # at a free port of our choice that somebody else may take first
_CLOSING = 5.0  # seconds for the master to end a forward


class Listener(OwnContext):
    """A forward, in the shape of asyncssh's `SSHListener`. Made by `Connection.forward_…`.

    It ends with its block, with `close()`, and with its connection. What goes through it at that
    time goes on to its end.
    """

    def __init__(self, link: Link, scope: Scope, asked: Forward, port: int) -> None:
        self.scope = scope
        self.asked = asked
        self._link = link
        self._forward = forward = _with_port(asked, port)
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
        try:
            if self._link.master.alive and not self._shared():
                await _end_forward(self._link, self.asked)
        finally:
            if not self._shared():
                self._unlink()
            self._closed.set()

    def _shared(self) -> bool:
        """Whether somebody else asked for the very same: a master has it once (mux.c)."""
        others = self._link.attachments
        return any(isinstance(each, Listener) and each.asked == self.asked for each in others)

    def _unlink(self) -> None:
        """The master leaves its Unix socket where it is."""
        path = self._forward.listen_host
        if self._inode is not None and self._inode == _inode(path):
            with contextlib.suppress(OSError):
                os.unlink(path)

    async def _leave(self, error: BaseException | None) -> None:
        await run_to_end(self.end)


async def listen(link: Link, scope: Scope, forward: Forward) -> Listener:
    """Opens a forward.

    Raises:
        ChannelListenError: the port is busy, the path is taken, or it is forbidden.
        ConnectionLost: the master is gone.
        sshmux.TimeoutError: the server did not answer within the connection's `timeout`.
    """
    for last in (*[False] * (_TRIES - 1), True):
        scope.check()
        chosen = forward
        if forward.kind != REMOTE and forward.listen_port == 0:
            chosen = _with_port(forward, _free_port(forward))
        try:
            port = await _open(link, chosen)
        except ChannelOpenError as error:
            if chosen is not forward and not last:
                continue  # somebody else took the port
            raise _why(chosen, error) from None
        listener = Listener(link, scope, chosen, port)
        link.attachments.add(listener)
        if scope.closed or link.closed:
            await listener.end()
            scope.check()
            raise ConnectionLost(f"the {forward}: the connection was closed meanwhile")
        return listener
    raise AssertionError  # the last try returns or raises


async def _open(link: Link, forward: Forward) -> int:
    """Opens it. Cancelled, it is ended again before that is passed on."""
    link.check_usable()
    socket_path, timeout = link.master.entry.socket, link.config.timeout
    opening = asyncio.ensure_future(operations.open_forward(socket_path, forward, timeout))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await run_to_end(partial(_undo, link, forward, opening))
        raise


async def _undo(link: Link, forward: Forward, opening: asyncio.Future[int]) -> None:
    await asyncio.wait((opening,))
    if not opening.cancelled() and opening.exception() is None:
        await _end_forward(link, forward)
        if forward.kind != REMOTE and forward.listen_port == UNIX:
            with contextlib.suppress(OSError):
                os.unlink(forward.listen_host)


async def _end_forward(link: Link, forward: Forward) -> None:
    try:
        await operations.close_forward(link.master.entry.socket, forward, _CLOSING)
    except (Error, OSError) as error:
        if link.master.alive:
            log.warning("the %s of %s could not be ended: %s", forward, link.config.address, error)


def _with_port(forward: Forward, port: int) -> Forward:
    return Forward(
        *(forward.kind, forward.listen_host, port, forward.connect_host, forward.connect_port)
    )


def _free_port(forward: Forward) -> int:
    """A port that is free at this moment: a master refuses to choose one (mux.c)."""
    host = "" if forward.listen_host == "*" else forward.listen_host
    with contextlib.closing(_bound(host, 0)) as found:
        return int(found.getsockname()[1])


def _bound(host: str, port: int) -> socket.socket:
    """A socket bound there. Raises the `OSError` that tells why it cannot be."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ChannelListenError(f"cannot listen on {host}: {error.strerror}") from None
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        if port:
            found.listen(1)
    except BaseException:
        found.close()
        raise
    return found


def _why(forward: Forward, error: ChannelOpenError) -> ChannelListenError:
    """A better word than the master's, which tells no reason."""
    number, why = None, ""
    if forward.kind == REMOTE:
        why = (
            "it is busy on the remote, or the server forbids it (AllowTcpForwarding, "
            "AllowStreamLocalForwarding, PermitListen; ports below 1024 are root's)"
        )
    elif forward.listen_port == UNIX:
        if os.path.lexists(forward.listen_host):
            number, why = errno.EADDRINUSE, "there is a file of that name: remove it first"
        elif not os.access(os.path.dirname(forward.listen_host) or ".", os.W_OK):
            number, why = errno.EACCES, "its directory is missing, or not writable"
    else:
        host = "" if forward.listen_host == "*" else forward.listen_host
        try:
            _bound(host, forward.listen_port).close()
        except OSError as reason:
            number, why = reason.errno, str(reason.strerror or reason).lower()
    raised = ChannelListenError(f"{error}{f': {why}' if why else ''}")
    if number is not None:
        raised.errno = number
    return raised


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


__all__ = ["LOCAL", "Listener", "listen"]
