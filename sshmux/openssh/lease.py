"""The lease: one idle connection to a master's control socket.

While it is held the master stays (an open control connection counts as an open channel, so
ControlPersist does not run down); when it ends the master is dead, and we know at once; when we
die, the kernel drops it and the master leaves by itself after its grace.

The lease also asks the master for its process id, by the protocol's alive check. (The socket's
peer credentials will not do: they name the process that called listen(), which is the one that
was launched and has exited since, not the master that it forked.)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections.abc import Callable

from ..errors import ConnectionLost
from . import muxproto

_HUNG_UP = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Lease(asyncio.Protocol):
    """Held by one owner; `on_lost` is called once if the master ends it."""

    def __init__(self, on_lost: Callable[[], object]) -> None:
        self._on_lost = on_lost
        self._frames = muxproto.Frames()
        self._transport: asyncio.Transport | None = None
        self._pings: dict[int, asyncio.Future[int]] = {}
        self._request = 0
        self.held = False

    @classmethod
    async def take(
        cls, path: os.PathLike[str], on_lost: Callable[[], object], timeout: float
    ) -> tuple[Lease, int]:
        """Connects to a control socket. Returns the lease and the master's pid.

        Raises `OSError` when nothing listens there and `TimeoutError` when the master does not
        answer within `timeout` seconds (a stopped one accepts, and says nothing).
        """
        loop = asyncio.get_running_loop()
        lease = cls(on_lost)
        async with asyncio.timeout(timeout):
            await loop.create_unix_connection(lambda: lease, os.fspath(path))
            try:
                return lease, await lease._ping()
            except BaseException:
                lease.close()
                raise

    @property
    def standing(self) -> bool:
        """Held, and not hung up at this moment: asks the kernel, ahead of the event loop."""
        if not self.held or self._transport is None:
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not any(event & _HUNG_UP for _, event in poll.poll(0))

    async def ping(self, timeout: float) -> int:
        """The master's pid, from its own mouth: 0.1 ms, no process started.

        Raises `ConnectionLost` when the master is gone, `TimeoutError` when it does not answer.
        """
        async with asyncio.timeout(timeout):
            return await self._ping()

    async def _ping(self) -> int:
        if not self.held or self._transport is None:
            raise ConnectionLost("the master is gone")
        self._request += 1
        request = self._request
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pings[request] = answer
        try:
            self._transport.write(muxproto.alive_check(request))
            return await answer
        finally:
            self._pings.pop(request, None)

    def close(self) -> None:
        """Drops the lease; `on_lost` is not called."""
        self._on_lost = _nothing
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a unix connection is one
        self._transport = transport
        self.held = True
        transport.write(muxproto.hello())

    def data_received(self, data: bytes) -> None:
        try:
            for kind, body in self._frames.feed(data):
                if kind == muxproto.IS_ALIVE:
                    request, pid = muxproto.numbers(body, 2)
                    answer = self._pings.get(request)
                    if answer is not None and not answer.done():
                        answer.set_result(pid)
        except muxproto.ProtocolError:
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.held = False
        for answer in self._pings.values():
            if not answer.done():
                answer.set_exception(ConnectionLost("the master is gone"))
        with contextlib.suppress(RuntimeError):  # the loop may be closing
            self._on_lost()


def _nothing() -> None:
    """In place of a callback that is not wanted any more."""
