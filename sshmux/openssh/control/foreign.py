"""A master that the user has logged in with: used, and never ended."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ...config import ConnectionConfig
from ...errors import ConnectionLost, ControlDirError
from ...system.clock import now
from .entry import Entry
from .master import Ask, Master
from .record import Record, node

_HOLD_DEADLINE = 5.0  # seconds for it to answer on its socket


@dataclass(frozen=True)
class ForeignEntry(Entry):
    """A control socket somewhere else. There is no record of ours beside it."""

    @property
    def socket(self) -> Path:
        """The user's control socket."""
        return self.directory / self.name

    def write(self, record: Record) -> None:
        """Nothing is written beside it."""

    def touch(self) -> None:
        """Nothing is written beside it."""

    def remove(self) -> None:
        """It is not ours to remove."""


class ForeignMaster(Master):
    """Somebody else's master. Every way to end it only lets go of it."""

    @property
    def interactive_login(self) -> bool:
        """It is not ours to end."""
        return True

    async def stop(self, drain: float = 0, ask: Ask | None = None) -> None:
        """Lets go of it."""
        self._on_lost.clear()
        self._drop_lease()

    def abandon(self, *, end: bool = False) -> None:
        """Lets go of it."""
        super().abandon(end=False)


async def hold_foreign(config: ConnectionConfig, path: Path) -> Master | None:
    """A lease on the master behind a socket of the user's own; None when there is none.

    The lease counts as a client of it: while it is held, its ControlPersist does not run down.

    Raises:
        ControlDirError: the socket belongs to somebody else.
    """
    try:
        owner = os.stat(path).st_uid
    except OSError:
        return None
    if owner != os.getuid():
        raise ControlDirError(
            f"the control socket {path} belongs to user {owner}, not to you: do not use it"
        )
    record = Record(
        name=path.name,
        cluster=config.host,
        slot="own",
        address=config.address,
        digest="",
        node=node(),
        created_at=now(),
        persist=0,
    )
    try:
        return await ForeignMaster.hold(
            config, ForeignEntry(path.parent, path.name), record, _HOLD_DEADLINE
        )
    except (OSError, TimeoutError, ConnectionLost):
        return None
