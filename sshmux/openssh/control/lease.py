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
from collections.abc import Callable
from typing import Literal

from ...errors import ConnectionLost
from ..mux.conversation import Conversation
from ..mux.protocol import Alive, AliveCheck, Message, Ok, StopListening, Terminate


class Lease:
    """Held by one owner; `on_lost` is called once if the master ends it."""

    def __init__(self, path: os.PathLike[str], on_lost: Callable[[], object]) -> None:
        self._on_lost = on_lost
        self._pings: dict[int, asyncio.Future[int]] = {}
        self._request = 0
        self._conversation = Conversation(path, self._heard, self._ended)
        self._conversation.watch()

    @classmethod
    async def take(
        cls, path: os.PathLike[str], on_lost: Callable[[], object], timeout: float
    ) -> tuple[Lease, int]:
        """Connects to a control socket. Returns the lease and the master's pid.

        Raises `OSError` when nothing listens there and `TimeoutError` when the master does not
        answer within `timeout` seconds (a stopped one accepts, and says nothing).
        """
        lease = cls(path, on_lost)
        try:
            return lease, await lease.ping(timeout)
        except BaseException:
            lease.close()
            raise

    @property
    def held(self) -> bool:
        """Whether it stands, as far as the event loop has heard."""
        return not self._conversation.closed

    @property
    def standing(self) -> bool:
        """Held, and not hung up at this moment: asks the kernel, ahead of the event loop."""
        return self._conversation.standing

    async def ping(self, timeout: float) -> int:
        """The master's pid, from its own mouth: 0.1 ms, no process started.

        Raises `ConnectionLost` when the master is gone, `TimeoutError` when it does not answer.
        """
        if not self.held:
            raise ConnectionLost("the master is gone")
        self._request += 1
        request = self._request
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pings[request] = answer
        try:
            with contextlib.suppress(OSError):  # its end is an event, too
                self._conversation.send(AliveCheck(request))
            # Not `timeout()`: when this program was stopped for a while, the answer lies there.
            await asyncio.wait((answer,), timeout=timeout)
            if not answer.done():
                raise TimeoutError
            return answer.result()
        finally:
            self._pings.pop(request, None)

    async def ask(self, operation: Literal["stop", "exit"], timeout: float) -> bool:
        """Asks the master to take no new clients, or to exit. Whether it agreed, or has ended.

        For those who can have no other conversation with it (no descriptor is left).
        """
        if not self.held:
            return True
        self._request += 1
        request = self._request
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pings[request] = answer
        message = StopListening if operation == "stop" else Terminate
        with contextlib.suppress(OSError):
            self._conversation.send(message(request))
        await asyncio.wait((answer,), timeout=timeout)
        self._pings.pop(request, None)
        if not answer.done():
            return False
        return answer.exception() is None or operation == "exit"

    def close(self) -> None:
        """Drops the lease; `on_lost` is not called."""
        self._on_lost = _nothing
        self._conversation.close()
        self._lost()

    def _heard(self, message: Message) -> None:
        if isinstance(message, Alive | Ok):
            answer = self._pings.get(message.request)
            if answer is not None and not answer.done():
                answer.set_result(message.value if isinstance(message, Alive) else 0)

    def _ended(self, error: Exception | None) -> None:
        self._lost()
        self._on_lost()

    def _lost(self) -> None:
        for answer in self._pings.values():
            if not answer.done():
                answer.set_exception(ConnectionLost("the master is gone"))
                answer.exception()  # seen: whoever waits may be cancelled in this very turn


def _nothing() -> None:
    """In place of a callback that is not wanted any more."""
