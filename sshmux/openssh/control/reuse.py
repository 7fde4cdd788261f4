"""Masters that live already, and may be used instead of logging in."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from ...config import ConnectionConfig
from ...errors import Error
from ..resolve import Resolved
from .dial import HOLD_DEADLINE, digest
from .directory import ControlDir
from .entry import Entry
from .evidence import is_mine
from .holders import Hold
from .master import Master
from .record import Record
from .shared import SharedMaster

_PAUSE = 0.05  # seconds between tries for a lock that somebody has alone: there is no event
_TRIES = 160  # as long as it takes to end a master whose last holder leaves


async def adopt(
    config: ConnectionConfig, directory: ControlDir, resolved: Sequence[Resolved]
) -> Master | None:
    """Takes over a persistent master of the same target and options that nobody holds, if any.

    Its own persistence stays what it was: ControlPersist cannot be changed from outside.

    Parameters:
        resolved: see `digest`.
    """
    wanted = digest(config, resolved)
    for entry in directory.entries():
        record = entry.read()
        if record is None or record.digest != wanted or not _adoptable(record):
            continue
        if not is_mine(entry):
            continue
        claimed = entry.claim()
        if claimed is None:
            continue
        if not _adoptable(claimed):
            entry.write(claimed)
            continue
        try:
            return await Master.hold(config, entry, claimed, HOLD_DEADLINE)
        except (OSError, TimeoutError, Error):
            entry.write(claimed)
        except BaseException:
            entry.write(claimed)
            raise
    return None


def _adoptable(record: Record) -> bool:
    return (
        record.here
        and record.current
        and not record.shared
        and record.persist > 0
        and not record.owned
        and record.alive
    )


def shared_masters(
    config: ConnectionConfig, directory: ControlDir, besides: Collection[str] = ()
) -> list[Entry]:
    """The shared masters of one target that seem to live, the newest first.

    Parameters:
        besides: names that are of no interest.
    """
    found = []
    for entry in directory.entries():
        if entry.name in besides or not is_mine(entry):
            continue
        record = entry.read()
        if record is not None and record.address == config.address and _sharable(record):
            found.append((record.created_at, entry))
    return [entry for _, entry in sorted(found, key=lambda each: each[0], reverse=True)]


def _sharable(record: Record) -> bool:
    return record.here and record.current and record.shared and record.alive


async def join(config: ConnectionConfig, entry: Entry, wanted: str) -> SharedMaster | None:
    """Uses a shared master beside those who use it already; None when it cannot be used.

    Parameters:
        wanted: the `digest` that it must have.
    """
    hold = await _hold(entry)
    if hold is None:
        return None
    record = entry.read()
    if record is None or record.digest != wanted or not _sharable(record):
        hold.close()
        return None
    try:
        return await SharedMaster.share(config, entry, record, hold, HOLD_DEADLINE)
    except (OSError, TimeoutError, Error):
        return None


async def _hold(entry: Entry) -> Hold | None:
    """A hold on it, waited for while somebody looks whether it is wanted, or ends it."""
    for _ in range(_TRIES):
        try:
            return Hold.join(entry)
        except BlockingIOError:
            await asyncio.sleep(_PAUSE)
            record = entry.read()
            if record is None or not record.alive:
                return None
        except OSError:
            return None
    return None
