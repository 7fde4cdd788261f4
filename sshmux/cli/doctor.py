"""sshmux doctor"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import click

from .. import __version__
from ..config import ConnectionConfig
from ..connection import Connection
from ..errors import Error, ProcessTimeout
from ..login.credentials import Credentials, totp_entry
from ..login.keyrings import describe_keyring
from ..login.lookup import addresses
from ..manager import ConnectionManager
from ..openssh.control.probe import count_sessions
from ..openssh.resolve import Resolved, resolve
from ..openssh.trace import Trace
from ..openssh.version import ssh_version
from ..system.processes import capture
from . import completion, formatting, report, target

_ASK_DEADLINE = 20.0  # seconds for each thing that is tried on the remote
_AGENT_DEADLINE = 3.0
_MOST_TOLD = 4096  # characters of an answer

Facts = dict[str, Any]


@click.command("doctor")
@click.argument("host", shell_complete=completion.hosts)
@target.options
@click.option(
    "--sessions",
    default=32,
    show_default=True,
    metavar="N",
    help="Try up to N sessions at once to find the server's MaxSessions; 0: do not.",
)
@click.option("--json", "as_json", is_flag=True, help="One object; times in seconds.")
def command(host: str, sessions: int, as_json: bool, **settings: Any) -> None:
    """Find out how a log-in goes, stage by stage, and why it does not.

    Shows what ssh_config makes of HOST, what is set up on this machine (agent, keys, keyring,
    socket directory), and then logs in once, anew, asking on the terminal if need be: what the
    server offers and which method let us in, the time of each stage, the login shell, the clock,
    and how many sessions one connection may have. Nothing stays behind.

    Exit status: 0 when the log-in works, 1 when it does not.
    """
    config = target.config(host, settings)
    facts: Facts = {"sshmux": __version__, "host": host}
    status = target.until_signalled(_examine(config, facts, sessions))
    formatting.echo(json.dumps(facts, indent=2) if as_json else report.text(facts))
    sys.exit(status)


async def _examine(config: ConnectionConfig, facts: Facts, sessions: int) -> int:
    manager = ConnectionManager(pool_size=1, prompter=target.terminal(), dial_attempts=1)
    try:
        facts["ssh"] = ".".join(map(str, await ssh_version(config.ssh_program)))
        resolved = await resolve(config)
        facts["resolved"] = _resolved(resolved)
        facts["machine"] = await _machine(config, resolved, manager)
        return await _log_in(config, facts, manager, sessions)
    except (Error, OSError) as error:
        facts["error"] = str(error)
        return 1


def _resolved(resolved: Resolved) -> Facts:
    return {
        "user": resolved.user,
        "hostname": resolved.hostname,
        "port": resolved.port,
        "proxy_jump": resolved.proxy_jump,
        "control_path": resolved.control_path,
        "strict_host_key_checking": resolved.strict,
        "identity_files": list(resolved.existing_identity_files()),
    }


async def _machine(
    config: ConnectionConfig, resolved: Resolved, manager: ConnectionManager
) -> Facts:
    credentials = Credentials()
    names = addresses(config, resolved)
    found = await credentials.lookup_all([*names, *map(totp_entry, names)])
    manager.control_dir.prove()
    return {
        "control_directory": str(manager.control_dir.path),
        "agent": await _agent(),
        "keyring": await asyncio.to_thread(describe_keyring),
        "keyring_problem": credentials.problem,
        "password_stored": any(name in found for name in names),
        "one_time_secret_stored": any(totp_entry(name) in found for name in names),
    }


async def _agent() -> str:
    """What `ssh-add -l` says: 0 lists keys, 1 has none, 2 is no agent. (man ssh-add)"""
    try:
        listed = await capture(["ssh-add", "-l"], timeout=_AGENT_DEADLINE)
    except (Error, TimeoutError):
        return "does not answer"
    if listed.status == 2:
        return "none"
    count = len(listed.stdout.splitlines()) if listed.status == 0 else 0
    return f"{count} keys" if count != 1 else "1 key"


async def _log_in(
    config: ConnectionConfig, facts: Facts, manager: ConnectionManager, sessions: int
) -> int:
    loop = asyncio.get_running_loop()
    trace = Trace(loop.time())
    manager.register_cluster(config.host, config=config)
    async with manager:
        try:
            started = loop.time()
            connection = await manager.connect(
                config.host, listener=lambda data: trace.feed(data, loop.time())
            )
            total = loop.time() - started
        finally:
            facts["log_in"] = _log_in_facts(trace)
        async with connection:
            facts["log_in"]["seconds"]["total"] = total
            await _look_around(connection, facts, sessions)
    return 0


def _log_in_facts(trace: Trace) -> Facts:
    return {
        "server": trace.server,
        "host_key": trace.host_key,
        "key_exchange": trace.key_exchange,
        "offered": trace.offered,
        "tried": trace.tried,
        "used": trace.used,
        "key": trace.key or None,
        "through_jump_host": trace.proxied,
        "seconds": trace.stages(),
    }


async def _look_around(connection: Connection, facts: Facts, sessions: int) -> None:
    """What only a remote command can tell."""
    seconds = facts["log_in"]["seconds"]
    seconds["first_command"], _ = await _timed(connection, "true")
    seconds["next_command"], _ = await _timed(connection, "true")
    before = time.time()
    taken, said = await _timed(connection, "date +%s; echo $SHELL; uname -sr")
    lines = [*said.splitlines(), "", "", ""]
    there: Facts = {"login_shell": lines[1] or None, "system": lines[2] or None}
    if lines[0].isdigit():
        # Its clock was read somewhere in between, and cut to whole seconds.
        there["clock_ahead_seconds"] = round(int(lines[0]) + 0.5 - (before + taken / 2), 1)
        there["clock_uncertainty_seconds"] = round(0.5 + taken / 2, 1)
    if sessions > 0:
        master = connection.master
        there["sessions"] = await count_sessions(master, sessions, _ASK_DEADLINE)
        there["sessions_limited"] = there["sessions"] < sessions
    facts["over_there"] = there


async def _timed(connection: Connection, line: str) -> tuple[float, str]:
    started, told = time.monotonic(), ""
    try:
        async with asyncio.timeout(_ASK_DEADLINE), connection.create_process(line) as process:
            while piece := await process.stdout.read(_MOST_TOLD - len(told)):
                told += piece
    except TimeoutError:
        raise ProcessTimeout(f"{line!r} did not end within {_ASK_DEADLINE:g} s") from None
    return time.monotonic() - started, told
