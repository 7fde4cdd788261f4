"""The dialler of one cluster: passwords, adoption, retries, and when not to try at all."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from .clock import now
from .config import ConnectionConfig, PoolConfig
from .credentials import Credentials
from .errors import DisconnectError, PermissionDenied, again
from .link import Knowledge, Link
from .openssh.controldir import ControlDir
from .openssh.dial import adopt, dial
from .openssh.launch import Secret
from .openssh.master import Master
from .openssh.prompts import NAMES_WHO_ASKS, expected_who
from .openssh.version import ssh_version

log = logging.getLogger("sshmux.dial")


class Places:
    """How many log-ins may be under way: to one server, whatever clusters it is, and in all."""

    def __init__(self, pool: PoolConfig) -> None:
        self.everybodys = asyncio.Semaphore(pool.max_total_dials)
        self._each = pool.max_parallel_dials
        self._servers: dict[tuple[str, int], asyncio.Semaphore] = {}

    def of(self, config: ConnectionConfig) -> asyncio.Semaphore:
        """The places of one server. (MaxStartups is a server's limit, not a cluster's.)"""
        server = (config.host, config.port)
        return self._servers.setdefault(server, asyncio.Semaphore(self._each))


class Dialler:
    """Makes links to one cluster.

    A refused log-in is not repeated behind anybody's back: after a `PermissionDenied` every dial
    raises it again, without trying, until `reset()`. And as long as a password has not been seen
    to work, only one log-in tries it at a time: a wrong one costs one attempt, whoever waits.
    """

    def __init__(
        self,
        cluster: str,
        config: ConnectionConfig,
        pool: PoolConfig,
        directory: ControlDir,
        credentials: Credentials,
        places: Places,
        before_dial: Callable[[], None],
    ) -> None:
        self.config = config
        self.knowledge = Knowledge.of(config)
        self.refused: PermissionDenied | None = None
        self.adopted = 0
        self._cluster = cluster
        self._pool = pool
        self._directory = directory
        self._credentials = credentials
        self._before_dial = before_dial
        self._places = places
        self._trial = asyncio.Lock()
        self._proved = False

    def reset(self) -> None:
        """Somebody asked for another try, or gave another password."""
        self.refused = None
        self._proved = False

    def refusal(self) -> PermissionDenied | None:
        """The error to raise instead of dialling, for one more who asks."""
        return again(self.refused) if self.refused is not None else None

    async def dial(self, slot: str) -> Link:
        """A new link, held; or an adopted one. Retries passing trouble, within `timeout` in all."""
        async with self._places.of(self.config), self._places.everybodys:
            master = await adopt(self.config, self._directory, persist=self._pool.persist)
            if master is not None:
                self.adopted += 1
            else:
                master = await self._dial(slot)
        return Link(master, self.knowledge)

    async def _dial(self, slot: str) -> Master:
        deadline = now() + self.config.timeout
        secret = await self._secret()
        if secret is None or self._proved:
            return await self._persevere(slot, secret, deadline)
        async with self._trial:
            master = await self._persevere(slot, secret, deadline)
            self._proved = True
            return master

    async def _persevere(self, slot: str, secret: Secret | None, deadline: float) -> Master:
        for attempt in range(1, self._pool.dial_attempts + 1):
            if error := self.refusal():
                raise error
            try:
                return await self._once(slot, secret, max(0.001, deadline - now()))
            except PermissionDenied as refused:
                self.refused = again(refused)
                raise
            except DisconnectError as error:
                pause = self._pool.dial_backoff * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311
                final = attempt == self._pool.dial_attempts or now() + pause >= deadline
                if final or not error.transient:
                    raise
                log.info("%s; trying again in %.1f s", error, pause)
                await asyncio.sleep(pause)  # a pause is the point: there is no event to await
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _once(self, slot: str, secret: Secret | None, timeout: float) -> Master:
        self._before_dial()
        self.knowledge.resolve(self.config)
        return await dial(
            self.config,
            self._directory,
            cluster=self._cluster,
            slot=slot,
            lifetime=self._pool.persist or self._pool.grace,
            persist=self._pool.persist,
            secret=secret,
            timeout=timeout,
        )

    async def _secret(self) -> Secret | None:
        password = await self._credentials.lookup(self.config.address)
        if password is None:
            return None
        resolved = await self.knowledge.resolved(self.config)
        version = await ssh_version(self.config.ssh_program)
        if resolved.proxied and version < NAMES_WHO_ASKS:
            log.warning(
                "%s: this ssh (%d.%d) does not say which host asks for a password, and there is a "
                "jump host: the password is not given. Use a key, or OpenSSH 8.5 or later",
                self.config.address,
                *version,
            )
            return None
        return Secret(password, expected_who(resolved.user, resolved.prompt_host))
