"""A master that the user has logged in with: used, and never ended."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ...config import ConnectionConfig
from ...errors import ConnectionLost, ControlDirError
from ...system.clock import now
from ...system.identity import ProcessId
from .entry import Entry
from .master import Ask, Master
from .place import unsafe_way
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

    def check_identity(self, process: ProcessId) -> None:
        """It is never sent a signal, and may have been started in any way."""

    @property
    def interactive_login(self) -> bool:
        """It is not ours to end."""
        return True

    async def stop(self, drain: float = 0, ask: Ask | None = None, *, broken: bool = False) -> None:
        """Lets go of it."""
        self._on_lost.clear()
        self._drop_lease()

    def kill(self) -> None:
        """Lets go of it."""
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
    if not _is_there_and_ours(path):
        return None
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


def _is_there_and_ours(path: Path) -> bool:
    """False when it is missing. Raises `ControlDirError` when it is, or may become, another's."""
    real = Path(os.path.realpath(path))
    for place in (path, real):
        try:
            owner = os.lstat(place).st_uid
        except OSError:
            return False
        reason = unsafe_way(place)
        if owner != os.geteuid():
            reason = f"belongs to user {owner}, not to you"
        if reason is not None:
            raise ControlDirError(f"the control socket {place} {reason}: do not use it")
    return True
