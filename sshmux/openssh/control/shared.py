"""A master that all programs of a user may use at once: whoever is last to leave ends it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Self

from ...config import ConnectionConfig
from ...errors import Error
from ...system.identity import ProcessId, in_words
from ...text import logger
from .directory import ControlDir
from .entry import Entry
from .holders import Hold, NobodysHold
from .master import Ask, Master
from .naming import is_entry
from .record import Record
from .sweep import remove_orphan

log = logger("sshmux.master")


class SharedMaster(Master):
    """A master with other holders, perhaps. Ending it only lets go, unless nobody else is there."""

    _hold: Hold | None = None

    @classmethod
    async def share(
        cls, config: ConnectionConfig, entry: Entry, record: Record, hold: Hold, timeout: float
    ) -> Self:
        """Takes a lease on it beside a hold, which is closed with it. Raises as `hold`."""
        try:
            master = await cls.hold(config, entry, record, timeout)
        except BaseException:
            hold.close()
            raise
        master._hold = hold
        return master

    def write_down(self, process: ProcessId) -> None:
        """By who logs in. Who joins finds it written."""
        if self.record.master != process:
            super().write_down(process)

    @property
    def others(self) -> list[ProcessId]:
        """The other programs that use it at this moment, as they have said; ours may be one."""
        return self._hold.others() if self._hold is not None else []

    @property
    def outlives_us(self) -> bool:
        """Whoever logged in may have asked for it to stay."""
        return self.record.persist > 0

    def note_limit(self, sessions: int) -> None:
        """For the others, and for those who come."""
        record = self.entry.read()
        if record is not None and self._hold is not None:
            self.record = replace(record, max_sessions=sessions)
            with contextlib.suppress(Error):  # a full disk: they will see for themselves
                self.entry.write(self.record)

    async def stop(self, drain: float = 0, ask: Ask | None = None, *, broken: bool = False) -> None:
        """Lets go of it; ends it if nobody else holds it, nor goes through it."""
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._let_go(drain, ask or self.ask, broken))
        await asyncio.shield(self._stopping)

    async def _let_go(self, drain: float, ask: Ask, broken: bool) -> None:
        self._on_lost.clear()
        others = self.others
        try:
            if not self._alone():
                held_by = in_words(others) or "another program"
                log.info("%s stays: %s holds it, too", self.entry.name, held_by)
            elif broken or not self._leads_others():
                await self._end(drain, ask)
                await end_way(self.entry, self.record)
        finally:
            self._let_go_at_once()

    def _let_go_at_once(self) -> None:
        self._drop_lease()
        if self._hold is not None:
            self._hold.close()

    def _alone(self) -> bool:
        """Whether it is nobody else's; then nobody can join it any more, until the lease goes."""
        return self._hold is not None and self._hold.alone()

    def _leads_others(self) -> bool:
        through = ControlDir(self.entry.directory).ways_through(self.entry)
        if through:
            log.info("%s stays: %s go through it", self.entry.name, ", ".join(through))
        return bool(through)

    def leave(self) -> None:
        """Lets go of it; it is not ended, whoever else is there."""
        self._let_go_at_once()

    def kill(self) -> None:
        """Ends it, if it is nobody else's."""
        if self._alone():
            super().kill()
        else:
            self._died()  # for us

    async def gone(self, timeout: float) -> bool:
        """At once, as far as this program is concerned, when others go on with it."""
        return not self._alone() or await super().gone(timeout)

    def abandon(self, *, end: bool = False) -> None:
        """As `Master.abandon`; with `end` only if it is nobody else's."""
        super().abandon(end=end and self._alone() and not self._leads_others())
        if self._hold is not None:
            self._hold.close()


async def end_way(entry: Entry, record: Record) -> None:
    """Ends the jump host's master that one went through, if nobody needs it any more.

    Who logged in there may have left meanwhile, and could not end it.
    """
    if not is_entry(record.via):
        return
    way = Entry(entry.directory, record.via)
    hold = NobodysHold.take(way)
    if hold is None:
        return
    try:
        found = way.read()
        if found is None or not found.shared or found.persist > 0:
            return
        if ControlDir(entry.directory).ways_through(way):
            return
        await remove_orphan(way, found)
    finally:
        hold.close()
    await end_way(way, found)
