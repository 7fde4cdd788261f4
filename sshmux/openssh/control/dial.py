"""Dialling: the only place in the project that starts a connection.

`dial()` makes one try. It leaves either a `Master` that is held, or nothing at all: no process,
no socket, no record, whether it failed, ran out of time or was cancelled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from ...config import ConnectionConfig, Share
from ...errors import ConnectionLost, DisconnectError, Error, PermissionDenied
from ...system.deadline import Deadline
from ...system.identity import ProcessId
from ...system.tasks import run_to_end
from ...text import logger
from .. import argv
from ..askpass.dialogue import Answerer, launch_dialogue
from ..askpass.launch import Launch, Listener, launch
from ..diagnostics import closed_at_once, declined, diagnose, timed_out
from ..environment import client_environment
from ..private_keys import with_passphrase
from ..resolve import Resolved
from ..version import ssh_version
from . import naming
from .directory import ControlDir
from .entry import Entry
from .evidence import is_master, masters_of
from .holders import Hold
from .lease import Lease
from .master import Master, end_process
from .record import Record
from .shared import SharedMaster

log = logger("sshmux.dial")

# A master counts in whole seconds (clientloop.c: monotime): one that is to stay for a second could
# be gone before we hold it.
_ROUNDING = 1
HOLD_DEADLINE = 5.0  # seconds for a new master to answer on its socket
_UNDO_DEADLINE = 1.0  # seconds to learn the pid of a master that is not wanted any more


def digest(config: ConnectionConfig, resolved: Sequence[Resolved]) -> str:
    """What makes two masters interchangeable.

    That is everything on the command line, what ssh's configuration makes of it *now* (an edited
    ssh_config may lead to another machine), and the agent that is forwarded.

    Parameters:
        resolved: of the host and of all jump hosts before it.
    """
    forwards = config.agent_forwarding
    if forwards is None:
        forwards = any(each.forward_agent for each in resolved[:1])
    parts = [
        *(argv.resolve(config), config.use_agent, config.strict_host_key_checking),
        [each.text for each in resolved],
        os.environ.get("SSH_AUTH_SOCK") if forwards else None,
    ]
    line = json.dumps(parts)
    return hashlib.sha256(line.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class DialOptions:
    """How one log-in is made.

    Attributes:
        lifetime: seconds that the master outlives its last client (ControlPersist).
        persist: what of that was asked for by the program; goes into the record.
        answerer: who answers prompts; None for nobody: then ssh has no terminal.
        confirm: a user may confirm an unknown host key.
        via: the control socket of a master on the jump host.
        listener: hears what ssh writes to stderr as it comes, and makes it tell more.
        resolved: see `digest`; for masters that others may adopt or share.
        share: which log-ins make a master that other programs of this user may use as well.
    """

    lifetime: int
    persist: int = 0
    answerer: Answerer | None = None
    confirm: bool = False
    via: os.PathLike[str] | None = None
    listener: Listener | None = None
    resolved: Sequence[Resolved] = ()
    share: Share = "never"


async def dial(
    config: ConnectionConfig,
    directory: ControlDir,
    way: DialOptions,
    *,
    cluster: str,
    slot: str,
    deadline: Deadline | None = None,
) -> Master:
    """Logs in once and returns the master, held.

    Parameters:
        cluster, slot: what the connection is called in the control directory.
        deadline: of this try; None for the config's `timeout` from now on.

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
        cluster,
        slot,
        address=config.address,
        digest=digest(config, way.resolved),
        persist=way.persist,
    )
    command = argv.master(
        config,
        entry.socket,
        persist=way.lifetime + _ROUNDING,
        version=version,
        answers=_answers(way.answerer),
        confirm=way.confirm,
        via=way.via,
        verbose=way.listener is not None,
    )
    log.debug("%s: %s", entry.name, " ".join(command))
    try:
        started = _launch(command, config, way)
    except BaseException:
        entry.remove()
        raise
    connected: bool | None = None
    forked = False
    try:
        try:
            async with (deadline or Deadline(config.timeout)).enforced():
                status = await started.wait()
        except TimeoutError:
            connected = started.connected()
            raise
        forked = status == 0
        if not forked:
            raise _failure(config, way, status, started)
        try:
            record = replace(record, login_factor=_took(way.answerer), via=_shared_way(way))
            return await _hold(config, entry, record, _to_share(way, record))
        except (ConnectionLost, FileNotFoundError, ConnectionError) as error:
            raise closed_at_once(config, f"{started.log}{started.stderr}") from error
    except BaseException as error:
        # Cancelled or not, nothing may stay behind: the undoing is waited for.
        await run_to_end(partial(_undo, started, entry, config.ssh_program, forked))
        if isinstance(error, TimeoutError) and not isinstance(error, Error):
            words = f"{started.log}{started.stderr}"
            raise timed_out(config, words, connected, started.greeting) from None
        raise
    finally:
        started.close()


def _launch(command: list[str], config: ConnectionConfig, way: DialOptions) -> Launch:
    env = client_environment(config.use_agent)
    if way.answerer is None:
        return launch(command, env, way.listener)
    return launch_dialogue(command, env, way.answerer, way.listener)


def _answers(answerer: Answerer | None) -> Literal["none", "stored", "user"]:
    if answerer is None:
        return "none"
    return "user" if answerer.somebody else "stored"


def _took(answerer: Answerer | None) -> str:
    """What a log-in took that cannot be had again for nothing."""
    given = answerer.given if answerer is not None else ()
    return next((source for source in ("user", "code") if source in given), "")


def _failure(config: ConnectionConfig, way: DialOptions, status: int, started: Launch) -> Error:
    answerer, log, told = way.answerer, started.log, started.stderr
    explain = partial(
        diagnose,
        config,
        status,
        log,
        told=told,
        greeting=started.greeting,
        known=next(iter(way.resolved), None),
    )
    if answerer is None:
        error = explain()
        if isinstance(error, PermissionDenied):
            error = explain(locked=with_passphrase(_keys(config, way)))
        return error
    if answerer.unanswered is None:
        error = explain(given=answerer.given)
        if answerer.given:
            # Some servers hang up on a wrong password: trying by ourselves could lock an account.
            error.transient = False
        return error
    error = declined(config, answerer.unanswered, answerer.why, f"{log}{told}")
    error.__cause__ = answerer.trouble
    if isinstance(error, DisconnectError):
        error.final = True  # a user was asked, and asking again is up to the program
    return error


def _keys(config: ConnectionConfig, way: DialOptions) -> list[str]:
    """The private keys that ssh may use."""
    named = [] if config.key_file is None else [str(config.key_file)]
    return named + [key for each in way.resolved[:1] for key in each.existing_identity_files()]


def _to_share(way: DialOptions, record: Record) -> bool:
    return way.share == "always" or (way.share == "interactive" and record.login_factor != "")


def _shared_way(way: DialOptions) -> str:
    """The entry of the jump host's master, if that is one of ours."""
    name = naming.entry_of(os.path.basename(way.via)) if way.via is not None else None
    return name or ""


async def _hold(config: ConnectionConfig, entry: Entry, record: Record, share: bool) -> Master:
    hold = _share(entry) if share else None
    try:
        if hold is None:
            return await Master.hold(config, entry, record, HOLD_DEADLINE)
        record = replace(record, shared=True)
        return await SharedMaster.share(config, entry, record, hold, HOLD_DEADLINE)
    except (OSError, TimeoutError) as error:
        if isinstance(error, Error | FileNotFoundError | ConnectionError):
            raise
        raise DisconnectError(
            f"{config.address}: logged in, but its control socket does not answer ({error})"
        ) from error


def _share(entry: Entry) -> Hold | None:
    try:
        return Hold.create(entry)
    except OSError as error:
        log.warning("%s cannot be shared: no lock can be had (%s)", entry.name, error.strerror)
        return None


async def _undo(started: Launch, entry: Entry, program: str, forked: bool) -> None:
    """Ends ssh, and the master too in case it had just gone into the background."""
    await started.end()
    try:
        lease, pid = await Lease.take(entry.socket, lambda: None, _UNDO_DEADLINE)
        lease.close()
        process = ProcessId.of(pid)
        found = [process] if process and is_master(process, entry.socket, program) else []
    except (OSError, TimeoutError, ConnectionLost):
        # Nobody says its pid: it hangs, or its socket was taken away.
        found = masters_of(entry.socket, program) if forked or entry.socket.exists() else []
    for each in found:
        await end_process(each)
    entry.remove()
