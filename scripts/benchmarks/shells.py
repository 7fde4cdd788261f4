"""A shell that stays open, against a session for each command."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from sshmux import RemoteShell
from sshmux.testing import PrivateServer, WrapperMissing

from .figures import ASYNCSSH, MUX, OURS, Figure, Goal
from .measure import Contender, column, one_by_one
from .peers import asyncssh
from .world import SHELL, World

_MUX_RUN = "sshmux mux, run()"
_SLOW = 0.3  # seconds that a login shell's start-up files take


async def open_shells(world: World) -> AsyncIterator[Figure]:
    """`shell.run("true")`, with a bare login shell, and with one whose start-up files take long."""
    async with _contenders(world, world.server) as turns:
        found = await world.race(turns(world.plan.commands), rounds=2 * world.plan.rounds + 1)
    yield _figure("shell.time", 'shell.run("true") on loopback, a bare account', found, 0.35)
    try:
        slow = PrivateServer(login_shell=SHELL, login_delay=_SLOW)
    except WrapperMissing:
        return
    async with slow, _contenders(world, slow) as turns:
        found = await world.race(turns(3), rounds=3)
    title = f"the same, with a login shell that takes {_SLOW * 1000:.0f} ms"
    yield _figure("shell.slow", title, found, 0.05)


def _figure(key: str, title: str, found: Any, limit: float) -> Figure:
    goals = tuple(Goal(limit, peer, who) for who in (OURS, MUX) for peer in (ASYNCSSH, _MUX_RUN))
    note = "asyncssh and the last: a session for each command"
    return Figure(key, title, "ms", column(found, "p50"), goals, note=note)


@contextlib.asynccontextmanager
async def _contenders(world: World, server: PrivateServer) -> AsyncIterator[Any]:
    """What makes turns of that many commands each."""
    async with contextlib.AsyncExitStack() as stack:
        works: dict[str, Any] = {}
        for who in world.engines:
            manager = await stack.enter_async_context(world.manager(who, pool_size=1))
            server.register(manager, "shells")
            conn = await stack.enter_async_context(manager.get_connection("shells"))
            shell: RemoteShell = await stack.enter_async_context(conn.create_shell())
            works[who] = partial(shell.run, "true", check=True)
            if who == MUX:
                works[_MUX_RUN] = partial(conn.run, "true", check=True)
        if world.has_asyncssh:
            account = {**world.account, **_address(server)}
            other = await stack.enter_async_context(asyncssh.connect(account))
            works[ASYNCSSH] = partial(other.run, "true", check=True)

        def turns(count: int) -> dict[str, Contender]:
            return {who: partial(one_by_one, count, work) for who, work in works.items()}

        yield turns


def _address(server: PrivateServer) -> dict[str, Any]:
    return {
        "port": server.port,
        "key_file": str(server.key_file),
        "known_hosts": str(server.known_hosts_file),
    }
