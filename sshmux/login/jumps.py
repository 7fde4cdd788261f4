"""Jump hosts: one authenticated master each, for every cluster behind it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from pathlib import Path

from ..config import ConnectionConfig
from ..errors import ConfigError, DisconnectError, Error, fresh_copy
from ..openssh.control.naming import JUMP_LABEL
from ..openssh.resolve import Resolved, resolve
from ..session.link import Link
from ..system.tasks import TaskGroup
from ..text import logger
from .context import LoginContext
from .dialler import Dialler

log = logger("sshmux.dial")

# The jump hosts that are being logged in to, one for the sake of the other.
_chain: ContextVar[tuple[SharedJumpHost, ...]] = ContextVar("sshmux_jump_chain", default=())


class SharedJumpHost:
    """One jump host. Its master stays while anybody goes through it, and `max_idle` longer.

    (If a user had to log in there, it stays until the manager stops or disconnects.)
    """

    def __init__(self, config: ConnectionConfig, context: LoginContext) -> None:
        self.dialler = Dialler(f"{JUMP_LABEL}{config.host}", None, config, context)
        self.users = 0
        self._max_idle = context.pool.max_idle
        self._patience = context.pool.health_timeout
        self._link: Link | None = None
        self._former: list[Link] = []  # whose sockets are gone
        self._lock = asyncio.Lock()
        self._failures = 0
        self._failure: Error | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._endings = TaskGroup()

    def __repr__(self) -> str:
        return f"<Jump {self.dialler.config.address} users={self.users} {self._link!r}>"

    @property
    def connected(self) -> bool:
        """Whether it has a master."""
        return self._link is not None

    @property
    def refused(self) -> DisconnectError | None:
        """Why it is not tried again, if so."""
        return self.dialler.refused

    def reset(self) -> None:
        """Somebody asked for another try."""
        self.dialler.reset()

    def watch(self, changed: Callable[[bool], object]) -> Callable[[], None]:
        """Tells when a user is asked for its log-in, and afterwards; returns what ends that."""
        return self.dialler.watch(changed)

    async def hold(self) -> Path:
        """The control socket of its master, logged in to if need be. Counts one more user.

        Whoever waits while somebody else's log-in fails gets that error: no second attempt.
        """
        chain = _chain.get()
        if self in chain:
            names = " → ".join(jump.dialler.config.address for jump in (*chain, self))
            raise ConfigError(f"the jump hosts lead in a circle: {names}. Mend ProxyJump")
        token = _chain.set((*chain, self))
        self.users += 1
        self._stay()
        try:
            failures = self._failures
            async with self._lock:
                link = self._usable()
                if link is None and self._failures != failures and self._failure is not None:
                    raise fresh_copy(self._failure)
                if link is None:
                    link = await self._log_in()
            return link.master.entry.socket
        except BaseException:
            self.release()
            raise
        finally:
            _chain.reset(token)

    def _usable(self) -> Link | None:
        return self._link if self._link is not None and self._link.usable else None

    async def _log_in(self) -> Link:
        try:
            link = await self.dialler.dial("1")
        except Error as error:
            self._failures += 1
            self._failure = fresh_copy(error)
            raise
        if self._link is not None:
            self._former.append(self._link)  # somebody may still go through it
        self._link = link
        link.master.on_lost(lambda: self._endings.start(link.close_lost()))
        return link

    def release(self) -> None:
        """One user less."""
        self.users -= 1
        if self.users == 0 and self._link is not None and not self._link.master.interactive_login:
            with contextlib.suppress(RuntimeError):  # the loop may be closing
                loop = asyncio.get_running_loop()
                self._idle = loop.call_later(self._max_idle, self._leave_idle)

    async def verify(self) -> None:
        """Somebody got no answer through it: drops its master unless the link still works.

        Any end that the server tells is an answer: an account for jumping may have no shell.
        """
        link = self._usable()
        if link is None:
            return
        try:
            await link.prove(self._patience)
        except (TimeoutError, Error) as error:
            log.warning("%s: the jump host does not answer (%s)", self, error)
            if self._link is link:
                self._link = None
            link.retire("the jump host does not answer")
            self._endings.start(link.close())

    def _stay(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _leave_idle(self) -> None:
        self._idle = None
        if self.users == 0:
            self._endings.start(self.close(leave=None))

    async def close(self, *, leave: bool | None = False) -> None:
        """Ends its master, or lets it live on to be adopted: see `Link.close`."""
        self._stay()
        link, self._link = self._link, None
        former, self._former = self._former, []
        if link is not None:
            await link.close(leave=leave)
        await asyncio.gather(*(each.close() for each in former))

    async def settled(self) -> None:
        """Waits for what is being tidied up."""
        await self._endings.wait()

    def abandon(self, *, end: bool) -> None:
        """Lets go without a loop to do it in: see `Master.abandon`."""
        for link in (*self._former, *((self._link,) if self._link else ())):
            link.master.abandon(end=end)
        self._link, self._former = None, []


class JumpHosts:
    """The jump hosts of one manager, by what they are: whatever names they are given."""

    def __init__(self) -> None:
        self._known: dict[Hashable, SharedJumpHost] = {}
        self._names: dict[ConnectionConfig, SharedJumpHost] = {}

    async def get(self, config: ConnectionConfig, context: LoginContext) -> SharedJumpHost:
        """The jump host of these settings: the same for the same user, host and way there.

        Raises `ConfigError` when ssh cannot make anything of them (jump hosts in a circle, say).
        """
        if config not in self._names:
            key = _identity(config, await resolve(config))
            jump = self._known.get(key)
            if jump is None:
                jump = self._known[key] = SharedJumpHost(config, context)
            jump.dialler.also.add(config.address)
            self._names[config] = jump
        return self._names[config]

    def reset(self) -> None:
        """Somebody asked for another try, or gave another secret."""
        for jump in self._known.values():
            jump.reset()

    async def close_unused(self) -> None:
        """Ends the masters that nobody goes through; those further up the chain as well."""
        while unused := [j for j in self._known.values() if j.users == 0 and j.connected]:
            await asyncio.gather(*(jump.close() for jump in unused))

    async def close(self, *, leave: bool | None) -> None:
        """Ends all masters, the nearest to the targets first, or lets them live on."""
        while open_ := [jump for jump in self._known.values() if jump.connected]:
            outer = [jump for jump in open_ if jump.users == 0] or open_
            await asyncio.gather(*(jump.close(leave=leave) for jump in outer))
        for jump in self._known.values():
            await jump.settled()

    def abandon(self, *, end: bool) -> None:
        """Lets go without a loop to do it in."""
        for jump in self._known.values():
            jump.abandon(end=end)
        self._known.clear()
        self._names.clear()


def _identity(config: ConnectionConfig, resolved: Resolved) -> Hashable:
    """What makes two masters on jump hosts interchangeable."""
    where = (resolved.user, resolved.hostname, resolved.port, resolved.host_key_alias)
    how = (resolved.proxy_jump, resolved.proxied, resolved.identity_files, config.use_agent)
    return (*where, *how, config.config_file, config.ssh_program)
