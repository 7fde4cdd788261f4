"""What the diallers of one manager share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..config import ConnectionConfig, PoolConfig
from ..errors import DisconnectError
from ..openssh.control.directory import ControlDir
from ..system.deadline import Deadline
from .answers import PromptQueue
from .credentials import Credentials
from .totp import OneTimeCodes


class DialLimiter:
    """How many log-ins may be under way: to one server, whatever clusters it is, and in all."""

    def __init__(self, pool: PoolConfig) -> None:
        self._everybodys = asyncio.Semaphore(pool.max_total_dials)
        self._each = pool.max_parallel_dials
        self._servers: dict[tuple[str, int], asyncio.Semaphore] = {}

    async def take(self, config: ConnectionConfig, deadline: Deadline) -> Callable[[], None]:
        """Waits for a place, outside of the deadline; returns what gives it back.

        The places of a server are its own, not a cluster's: MaxStartups is a server's limit.
        """
        server = (config.host, config.port)
        own = self._servers.setdefault(server, asyncio.Semaphore(self._each))
        with deadline.stopped():
            await own.acquire()
            try:
                await self._everybodys.acquire()
            except BaseException:
                own.release()
                raise

        def give_back() -> None:
            self._everybodys.release()
            own.release()

        return give_back


class JumpHost(Protocol):
    """A jump host that is logged in to once, for all who go through it."""

    @property
    def refused(self) -> DisconnectError | None:
        """The error that keeps it from being tried again, if there is one."""

    def reset(self) -> None:
        """Somebody asked for another try."""

    async def hold(self) -> Path:
        """The control socket of its master, logged in to if need be. Counts one more user."""

    def release(self) -> None:
        """One user less."""

    async def verify(self) -> None:
        """Somebody got no answer through it: drops its master unless the link still works."""

    def watch(self, changed: Callable[[bool], object]) -> Callable[[], None]:
        """Tells when a user is asked for its log-in, and afterwards; returns what ends that."""


@dataclass
class LoginContext:
    """What the diallers of one manager share.

    Attributes:
        engine: how sessions are opened: a name in `link.ENGINES`.
        jump_host: the one of these settings, the same each time for the same host and user.
        before_dial: called before each log-in.
    """

    pool: PoolConfig
    directory: ControlDir
    credentials: Credentials
    codes: OneTimeCodes
    asking: PromptQueue
    places: DialLimiter
    jump_host: Callable[[ConnectionConfig], Awaitable[JumpHost]]
    before_dial: Callable[[], None]
    engine: str = "ssh"
