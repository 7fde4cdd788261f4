"""What a master can be asked for besides sessions, over its control socket. No process is started.

Each is a conversation of its own, with a deadline. The counterpart of `ssh -O`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...errors import ChannelOpenError, ConnectionLost
from ...errors import TimeoutError as Timeout
from .conversation import Conversation
from .protocol import (
    DYNAMIC,
    LOCAL,
    REMOTE,
    UNIX,
    Alive,
    AliveCheck,
    CloseForward,
    Denied,
    Failure,
    Hello,
    Message,
    Ok,
    OpenForward,
    RemotePort,
    SessionOpened,
    StdioForward,
    StopListening,
    Terminate,
)

_REQUEST = 1  # every conversation has one request


class _Exchange:
    """One request, and the wait for its answer."""

    def __init__(self, socket: os.PathLike[str], request: Message, descriptors: Sequence[int]):
        self._answer: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        self.conversation = Conversation(socket, self._heard, self._ended)
        try:
            self.conversation.send(request, descriptors)
            self.conversation.watch()
        except BaseException:
            self.conversation.close()
            raise

    async def answer(self) -> Message | None:
        """The answer; None when the master ended the conversation instead."""
        return await self._answer

    def _heard(self, message: Message) -> None:
        if not isinstance(message, Hello) and not self._answer.done():
            self._answer.set_result(message)

    def _ended(self, error: Exception | None) -> None:
        if not self._answer.done():
            self._answer.set_result(None)


async def request(
    socket: os.PathLike[str], message: Message, timeout: float, *, descriptors: Sequence[int] = ()
) -> Message | None:
    """One request and its answer; None when the master ended the conversation instead.

    Raises:
        OSError: nothing listens there.
        TimeoutError: no answer within `timeout` seconds.
    """
    exchange = _Exchange(socket, message, descriptors)
    try:
        async with asyncio.timeout(timeout):
            return await exchange.answer()
    finally:
        exchange.conversation.close()


async def ask(socket: os.PathLike[str], operation: Literal["stop", "exit"], timeout: float) -> bool:
    """Asks a master to stop listening, or to exit. Whether it agreed within `timeout` seconds.

    To be asked to exit, the end is an answer as well: the other one mostly never comes (mux.c).
    """
    message = StopListening(_REQUEST) if operation == "stop" else Terminate(_REQUEST)
    try:
        answer = await request(socket, message, timeout)
    except OSError:  # TimeoutError is one
        return False
    return isinstance(answer, Ok) or (answer is None and operation == "exit")


async def alive(socket: os.PathLike[str], timeout: float) -> int | None:
    """The process id of the master behind a socket; None when there is none that answers."""
    try:
        answer = await request(socket, AliveCheck(_REQUEST), timeout)
    except OSError:
        return None
    return answer.value if isinstance(answer, Alive) else None


@dataclass(frozen=True, slots=True)
class Forward:
    """A forward: what listens, and where it leads.

    Attributes:
        kind: LOCAL and DYNAMIC (SOCKS) listen here, REMOTE on the remote.
        listen_port, connect_port: a port, UNIX for a Unix socket (then the host is its path), or
            0 for one that the server chooses (REMOTE).
    """

    kind: int
    listen_host: str
    listen_port: int
    connect_host: str = ""
    connect_port: int = 0

    def __str__(self) -> str:
        name = {LOCAL: "local", REMOTE: "remote", DYNAMIC: "dynamic"}[self.kind]
        there = f" to {_place(self.connect_host, self.connect_port)}" if self.connect_host else ""
        return f"{name} forward from {_place(self.listen_host, self.listen_port)}{there}"


def _place(host: str, port: int) -> str:
    return host if port == UNIX else f"{host or 'localhost'}:{port}"


async def open_forward(socket: os.PathLike[str], forward: Forward, timeout: float) -> int:
    """Opens a forward; returns its listening port.

    A local forward whose port is 0 is refused by the master: choose one first.

    Raises:
        ChannelOpenError: a busy port, or the server forbids it; with the reason.
        ConnectionLost: the master is gone.
        sshmux.TimeoutError: it did not answer.
    """
    answer = await _forward(socket, OpenForward(_REQUEST, *_fields(forward)), forward, timeout)
    return answer.value if isinstance(answer, RemotePort) else forward.listen_port


async def close_forward(socket: os.PathLike[str], forward: Forward, timeout: float) -> None:
    """Ends a forward, named as it was opened. Raises what `open_forward` raises."""
    await _forward(socket, CloseForward(_REQUEST, *_fields(forward)), forward, timeout)


def _fields(forward: Forward) -> tuple[int, str, int, str, int]:
    listen = forward.listen_host, forward.listen_port
    if forward.kind == DYNAMIC:
        return (forward.kind, *listen, "socks", 0)  # masters refuse an empty name
    return (forward.kind, *listen, forward.connect_host, forward.connect_port)


async def _forward(
    socket: os.PathLike[str], message: Message, forward: Forward, timeout: float
) -> Message:
    answer = await _request_or_lost(socket, message, timeout, f"the {forward}")
    if not isinstance(answer, Ok | RemotePort):
        raise refused(f"the {forward}", answer)
    return answer


async def _request_or_lost(
    socket: os.PathLike[str], message: Message, timeout: float, what: str
) -> Message:
    try:
        answer = await request(socket, message, timeout)
    except TimeoutError:
        raise Timeout(f"{what}: the master did not answer within {timeout:g} s") from None
    except OSError as error:
        raise ConnectionLost(f"{what}: the master is gone ({error})") from error
    if answer is None:
        raise ConnectionLost(f"{what}: the master went away instead of answering")
    return answer


def refused(what: str, answer: Message) -> ChannelOpenError:
    """The error for an answer that is not the one that was wanted."""
    if isinstance(answer, Failure | Denied):
        return ChannelOpenError(f"{what} was refused: {answer.reason}")
    return ChannelOpenError(
        f"{what}: the master answered {answer}, which is no answer to that. It speaks another "
        'protocol than sshmux knows: use ConnectionManager(engine="ssh")'
    )


async def stdio_forward(
    socket: os.PathLike[str],
    host: str,
    port: int,
    *,
    stdin: int,
    stdout: int,
    timeout: float,
) -> Conversation:
    """Connects two descriptors with a host and port on the remote, or a Unix socket (port UNIX).

    Returns the conversation that it lives by: it ends with that, and so does the other side's end
    end it. The descriptors stay the caller's.

    Raises what `open_forward` raises.
    """
    what = f"the connection to {_place(host, port)}"
    try:
        exchange = _Exchange(socket, StdioForward(_REQUEST, host, port), (stdin, stdout))
    except OSError as error:
        raise ConnectionLost(f"{what}: the master is gone ({error})") from error
    try:
        async with asyncio.timeout(timeout):
            answer = await exchange.answer()
        if answer is None:
            raise ConnectionLost(f"{what}: the master went away instead of answering")
        if not isinstance(answer, SessionOpened):
            raise refused(what, answer)
    except BaseException as error:
        exchange.conversation.close()
        if isinstance(error, TimeoutError):
            raise Timeout(f"{what}: no answer within {timeout:g} s") from None
        raise
    return exchange.conversation
