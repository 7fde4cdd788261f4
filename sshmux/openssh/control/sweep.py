"""Sweeping: removing what dead owners left in the control directory, and only that."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from ...config import ConnectionConfig
from ...errors import Error
from ...system.processes import capture
from ...text import logger
from .. import argv, remote
from .directory import ControlDir
from .entry import Entry
from .evidence import is_mine, recorded_master
from .holders import NobodysHold, is_held, is_locked, remove_dead_holders
from .master import end_process
from .record import Record

log = logger("sshmux.sweep")

_REMOTE_DEADLINE = 5.0  # seconds to end what still runs on the remote
_CODES_COUNT = 600.0  # seconds for which a used one-time code may still be taken for a new one
_YOUNG = 60.0  # seconds during which a file without a record may be somebody's half-made one


async def sweep(directory: ControlDir) -> int:
    """Ends masters whose owner is dead, with their running commands; removes stale files.

    Left alone: masters with a living owner or holder, persistent ones that live, other machines'
    records, living masters of other versions of sshmux, and sockets without a record that answer. A
    shared one that nobody holds, and whose log-in took a user or a code, is left to its grace,
    without the commands of its last holder. Returns how many names were removed.
    """
    entries = list(directory.entries())
    removed = 0
    for leads_on in (False, True):  # the way to others goes last
        these = [entry for entry in entries if entry.leads_on is leads_on]
        removed += sum(await asyncio.gather(*(_sweep_entry(directory, entry) for entry in these)))
    for path in _unwanted(directory):
        with contextlib.suppress(OSError):
            path.unlink()
    return removed


def _unwanted(directory: ControlDir) -> Iterator[Path]:
    """Files of nobody's."""
    yield from filter(_is_old_debris, directory.debris())
    for path in (*directory.turns(), *directory.loose()):
        if _is_old_debris(path) and not is_locked(path):
            yield path
    yield from (path for path in directory.codes() if _age(path) > _CODES_COUNT)


async def _sweep_entry(directory: ControlDir, entry: Entry) -> int:
    if not is_mine(entry):
        return 0
    record = entry.read()
    if record is None:
        return _sweep_unrecorded(entry)
    if not record.here:
        return 0
    if record.shared:
        return await _sweep_shared(directory, entry)
    if record.owned or (record.alive and not record.current):
        return 0
    if record.persist > 0 and record.alive:
        return 0
    # Somebody else may sweep, or adopt, at this moment: the claim has one winner.
    record = entry.claim()
    if record is None:
        return 0
    await remove_orphan(entry, record)
    return 1


async def _sweep_shared(directory: ControlDir, entry: Entry) -> int:
    remove_dead_holders(entry)
    hold = NobodysHold.take(entry)
    if hold is None and is_held(entry):
        return 0
    try:
        record = entry.read()
        if record is None or not record.shared:
            return 0
        if record.alive and (record.persist > 0 or directory.ways_through(entry)):
            return 0
        if record.alive and record.login_factor:
            if recorded_master(entry, record) is not None:
                await end_running(entry)
            return 0
        await remove_orphan(entry, record)
        return 1
    finally:
        if hold is not None:
            hold.close()


async def remove_orphan(entry: Entry, record: Record) -> None:
    """Ends a master that nobody holds, after the commands that run on it; removes its files."""
    log.info("%s: removing it, nobody holds it any more", entry.name)
    await _end_orphan(entry, record)
    entry.remove()


async def _end_orphan(entry: Entry, record: Record) -> None:
    """Nothing is said to whatever else may listen at its socket."""
    process = recorded_master(entry, record)
    if process is None:
        return
    await end_running(entry)
    with contextlib.suppress(TimeoutError):
        await capture(argv.control("ssh", entry.socket, "exit"), timeout=2.0)
    if not await process.wait_gone(0.5):
        await end_process(process)


async def end_running(entry: Entry) -> None:
    """Ends all commands that run over a master, through a session of its own."""
    config = ConnectionConfig(host="x")
    command = argv.session(config, entry.socket, remote.end_siblings())
    with contextlib.suppress(TimeoutError, Error):
        await capture(command, timeout=_REMOTE_DEADLINE)


def _sweep_unrecorded(entry: Entry) -> int:
    """A socket without a record: removed when it is old and refuses whoever connects.

    A file where its record should be is somebody else's, or of another version of sshmux.
    """
    if _age(entry.socket) < _YOUNG or not _refuses(entry.socket):
        return 0
    with contextlib.suppress(OSError):
        entry.socket.unlink()
    return 1


def _is_old_debris(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    if status.st_uid != os.geteuid() or time.time() - status.st_mtime < _YOUNG:
        return False
    return stat.S_ISREG(status.st_mode) or (stat.S_ISSOCK(status.st_mode) and _refuses(path))


def _refuses(path: Path) -> bool:
    """Whether it is a socket that nobody listens at. One of datagrams, say, has its own error."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return path.is_socket()
        except OSError:
            return False
        return False


def _age(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0
