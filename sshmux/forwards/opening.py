"""Opening and ending what a master listens on, also when whoever asked for it is gone already."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Sequence

from ..errors import ChannelListenError, ChannelOpenError, Error
from ..openssh.mux import operations
from ..session.execution import Scope
from ..session.link import Link
from ..system.tasks import run_to_end
from ..text import logger
from .addresses import why_not
from .endpoints import REMOTE, UNIX, Forward

log = logger("sshmux.forward")

_CLOSING = 4.0  # seconds for the master to end a forward
_ANSWER = 4.0  # seconds for it to answer a request that was given up, and to end it
_UNDOING = 1.0  # seconds for it to end what was opened before


async def open_all(link: Link, scope: Scope, parts: Sequence[Forward]) -> int:
    """Opens all of them, or none: the port that the last one listens on.

    Raises:
        ChannelListenError: a port is busy, a path is taken, or it is forbidden.
        ConnectionLost: the master is gone.
        sshmux.TimeoutError: the server did not answer within the connection's `timeout`.
    """
    port, opened = 0, list[Forward]()
    try:
        for part in parts:
            try:
                port = await _open(link, scope, part)
            except ChannelOpenError as error:
                raise _why(part, error) from None
            opened.append(part)
    except BaseException:
        if opened:
            await run_to_end(lambda: end_all(link, unused(link, opened), _UNDOING))
        raise
    return port


def unused(link: Link, parts: Sequence[Forward]) -> list[Forward]:
    """Those that nobody else asked for: a master has each once (mux.c)."""
    used = {part for each in link.attachments for part in getattr(each, "parts", ())}
    return [part for part in parts if part not in used]


async def end_all(link: Link, parts: Sequence[Forward], timeout: float = _CLOSING) -> None:
    """Ends forwards, named as they were opened. Never raises."""
    await asyncio.gather(*(_end(link, part, timeout) for part in parts))


async def _end(link: Link, forward: Forward, timeout: float) -> None:
    try:
        await operations.close_forward(link.master.entry.socket, forward, timeout)
    except (Error, OSError) as error:
        if link.master.alive:
            log.warning("the %s of %s could not be ended: %s", forward, link.config.address, error)


async def _open(link: Link, scope: Scope, forward: Forward) -> int:
    """Opens it. Cancelled, it is ended again: before that is passed on, or when the answer comes.

    What is asked for cannot be taken back: the master may still open it for nobody.
    """
    link.check_usable()
    socket_path, timeout = link.master.entry.socket, link.config.timeout
    opening = asyncio.ensure_future(operations.open_forward(socket_path, forward, timeout))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        unwanted = _Unwanted(link, scope, forward, opening)
        await run_to_end(unwanted.wait)
        raise
    except TimeoutError:
        link.retire(f"the {forward} got no answer")
        raise


class _Unwanted:
    """A forward that nobody waits for any more, and that may yet be opened."""

    def __init__(
        self, link: Link, scope: Scope, forward: Forward, opening: asyncio.Future[int]
    ) -> None:
        self.scope = scope
        self._link = link
        self._forward = forward
        self._opening = opening
        self._task = asyncio.ensure_future(self._undo())
        link.attach(self)

    async def wait(self) -> None:
        """Waits a moment: mostly it is undone by then."""
        await asyncio.wait((self._task,), timeout=_ANSWER)

    async def _undo(self) -> None:
        try:
            await asyncio.wait((self._opening,))
            if self._opening.cancelled():
                return
            if (error := self._opening.exception()) is None:
                await end_all(self._link, unused(self._link, [self._forward]))
                if self._forward.kind != REMOTE and self._forward.listen_port == UNIX:
                    with contextlib.suppress(OSError):
                        os.unlink(self._forward.listen_host)
            elif isinstance(error, TimeoutError):
                self._link.retire(f"the {self._forward} got no answer")
        finally:
            self._link.attachments.discard(self)

    async def end(self) -> None:
        """Its connection ends: the next borrower gets another one."""
        if not self._task.done():
            self._link.retire(f"the {self._forward}, given up, got no answer")
            self._opening.cancel()
            await asyncio.wait((self._task,), timeout=_CLOSING)


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
    elif (reason := why_not(forward.listen_host, forward.listen_port)) is not None:
        number, why = reason.errno, str(reason.strerror or reason).lower()
    raised = ChannelListenError(f"{error}{f': {why}' if why else ''}")
    if number is not None:
        raised.errno = number
    return raised
