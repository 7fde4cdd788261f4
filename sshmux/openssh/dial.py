"""Dialling: the only place in the project that starts a connection.

`dial()` makes one try. It leaves either a `Master` that is held, or nothing at all: no process,
no socket, no record, whether it failed, ran out of time or was cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
from functools import partial

from ..config import ConnectionConfig
from ..errors import ConnectionLost, DisconnectError, Error
from ..tasks import finish
from . import argv
from .controldir import ControlDir, Entry, Record
from .diagnostics import diagnose, timed_out
from .identity import ProcessId
from .launch import Launch, Secret, launch
from .lease import Lease
from .master import Master, end_process
from .processes import client_environment
from .version import ssh_version

log = logging.getLogger("sshmux.dial")

_HOLD_DEADLINE = 5.0  # seconds for a new master to answer on its socket
_UNDO_DEADLINE = 1.0  # seconds to learn the pid of a master that is not wanted any more


def digest(config: ConnectionConfig) -> str:
    """What makes two masters interchangeable: everything on the command line, and the agent."""
    line = json.dumps([argv.resolve(config), config.use_agent])
    return hashlib.sha256(line.encode("utf-8", "surrogatepass")).hexdigest()[:16]


async def dial(
    config: ConnectionConfig,
    directory: ControlDir,
    *,
    cluster: str,
    slot: str,
    lifetime: int,
    persist: int = 0,
    secret: Secret | None = None,
    timeout: float | None = None,
) -> Master:
    """Logs in once and returns the master, held.

    Parameters:
        lifetime: seconds it outlives its last client (ControlPersist).
        persist: what of that was asked for by the program; goes into the record.
        secret: a password and whom it is for.
        timeout: seconds for this try; None for the config's.

    Raises:
        ConfigError: files are missing, or ssh cannot read its configuration.
        ControlDirError: the sockets cannot be made there.
        DisconnectError: see `diagnostics`; `transient` tells whether to try again.
    """
    config.check_files()
    if config.strict_host_key_checking is False:
        log.warning(
            "%s: strict_host_key_checking=False accepts any host key, an attacker's too",
            config.address,
        )
    version = await ssh_version(config.ssh_program)
    entry, record = directory.reserve(
        cluster, slot, address=config.address, digest=digest(config), persist=persist
    )
    command = argv.master(
        config, entry.socket, persist=lifetime, version=version, interactive=secret is not None
    )
    log.debug("%s: %s", entry.name, " ".join(command))
    try:
        started = launch(command, client_environment(config.use_agent), secret)
    except BaseException:
        entry.remove()
        raise
    try:
        async with asyncio.timeout(config.timeout if timeout is None else timeout):
            status = await started.wait()
        if status != 0:
            raise diagnose(
                config, status, started.stderr, asked=started.asked, answered=started.answered
            )
        return await _hold(config, entry, record)
    except BaseException as error:
        # Cancelled or not, nothing may stay behind: the undoing is waited for.
        await finish(partial(_undo, started, entry))
        if isinstance(error, TimeoutError) and not isinstance(error, Error):
            raise timed_out(config, started.stderr) from None
        raise
    finally:
        started.close()


async def _hold(config: ConnectionConfig, entry: Entry, record: Record) -> Master:
    try:
        return await Master.hold(config, entry, record, _HOLD_DEADLINE)
    except (OSError, TimeoutError) as error:
        if isinstance(error, Error):
            raise
        raise DisconnectError(
            f"{config.address}: logged in, but its control socket does not answer ({error})"
        ) from error


async def _undo(started: Launch, entry: Entry) -> None:
    """Ends ssh, and the master too in case it had just gone into the background."""
    await started.end()
    with contextlib.suppress(OSError, TimeoutError, ConnectionLost):
        lease, pid = await Lease.take(entry.socket, lambda: None, _UNDO_DEADLINE)
        lease.close()
        process = ProcessId.of(pid)
        if process is not None:
            await end_process(process)
    entry.remove()


async def adopt(config: ConnectionConfig, directory: ControlDir, *, persist: int) -> Master | None:
    """Takes over a persistent master of the same target and options that nobody holds, if any.

    Its own persistence stays what it was: ControlPersist cannot be changed from outside.
    """
    if persist <= 0:
        return None
    wanted = digest(config)
    for entry in directory.entries():
        record = entry.read()
        if record is None or record.digest != wanted or not _adoptable(record):
            continue
        claimed = entry.claim()
        if claimed is None:
            continue
        if not _adoptable(claimed):
            entry.write(claimed)
            continue
        try:
            return await Master.hold(config, entry, claimed, _HOLD_DEADLINE)
        except (OSError, TimeoutError, Error):
            entry.write(claimed)
        except BaseException:
            entry.write(claimed)
            raise
    return None


def _adoptable(record: Record) -> bool:
    return record.here and record.persist > 0 and not record.owned and record.alive
