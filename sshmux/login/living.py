"""Masters that live already: looked for before anybody logs in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from weakref import WeakSet

from ..config import ConnectionConfig
from ..openssh.control.dial import digest
from ..openssh.control.foreign import hold_foreign
from ..openssh.control.master import Master
from ..openssh.control.reuse import adopt, join, shared_masters
from ..session.facts import ClusterFacts
from ..session.link import Link
from .adoption import resolved_now, still_works
from .context import LoginContext


class LivingMasters:
    """Those to one target that can be used without a log-in.

    Parameters:
        link: makes a link to a master.

    Attributes:
        adopted: how many were used so far, but for the user's own.
    """

    def __init__(
        self,
        config: ConnectionConfig,
        context: LoginContext,
        facts: ClusterFacts,
        link: Callable[[Master], Link],
    ) -> None:
        self.adopted = 0
        self._config = config
        self._context = context
        self._facts = facts
        self._link = link
        self._used: WeakSet[Link] = WeakSet()  # by those who must not get one twice
        self._looking = asyncio.Lock()

    def note(self, link: Link) -> None:
        """One that is used from now on."""
        self._used.add(link)

    async def find(self, apart: bool) -> Link | None:
        """A link to a master that needs no log-in: the user's own, a shared one, one left behind.

        Parameters:
            apart: see `Dialler.dial`.
        """
        path = await self.own_path()
        if path is not None:
            master = await hold_foreign(self._config, path)
            if master is not None:
                return self._link(master)
        if link := await self.shared(apart):
            return link
        if self._context.pool.persist == 0 and self._config.dial != "never":
            return None
        resolved = await resolved_now(self._config)
        while (master := await adopt(self._config, self._context.directory, resolved)) is not None:
            if link := await self._that_works(master):
                self.adopted += 1
                return link
        return None

    async def shared(self, apart: bool) -> Link | None:
        """A link to a master that another program uses, or one of ours in another place."""
        if self._context.pool.share == "never":
            return None
        async with self._looking:  # two of ours must not get the same one
            return await self._join(apart)

    async def _join(self, apart: bool) -> Link | None:
        used = {link.master.entry.name for link in self._used if not link.closed}
        entries = shared_masters(self._config, self._context.directory, () if apart else used)
        if not entries:
            return None
        self._context.before_dial()
        wanted = digest(self._config, await resolved_now(self._config))
        for entry in entries:
            master = await join(self._config, entry, wanted)
            if master is not None and (link := await self._that_works(master)):
                self.adopted += 1
                return link
        return None

    async def _that_works(self, master: Master) -> Link | None:
        link = self._link(master)
        try:
            works = await still_works(link, self._context.pool.health_timeout)
        except BaseException:
            master.leave()
            raise
        if works:
            return link
        await link.close()
        return None

    async def own_path(self) -> Path | None:
        """The control socket of the user's own master, where that is wanted."""
        if self._config.control_path != "config":
            return self._config.control_path
        resolved = await self._facts.resolved(self._config)
        return Path(resolved.control_path) if resolved.control_path else None
