"""Commands that do nothing, one after the other and many at a time, and small ones that echo."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from sshmux import Connection, ConnectionManager

from .contestants import Contestant, Coroutines
from .figures import ASYNCSSH, BARE, FLOOR, MUX, OURS, Figure, Goal
from .floor import Floor
from .measure import Contender, column
from .peers import FABRIC, NET_OPENSSH, PARALLEL, PARAMIKO
from .world import MAX_SESSIONS, World

_MASTERS = 4
_ANNOUNCED = "bare ssh + announcement"
_EVERYBODY = (ASYNCSSH, PARAMIKO, FABRIC, PARALLEL, NET_OPENSSH)
_MANY = (ASYNCSSH, PARAMIKO, NET_OPENSSH)
_ECHOERS = (ASYNCSSH, PARAMIKO, PARALLEL)  # fabric has only text, Net::OpenSSH one at a time
_AT_ONCE = 32
_SMALL = 4096  # bytes each way


# One after the other


async def sequential(world: World) -> AsyncIterator[Figure]:
    """run("true"), one after the other. The floor is on the master that the mux engine has."""
    async with world.lent() as lent, world.peers(_EVERYBODY, 1) as peers:
        floor = control_path(lent.get(MUX, lent[OURS]))
        bare = world.bare([control_path(lent[OURS])])
        contestants: dict[str, Contestant | Floor] = {
            **{who: Coroutines(partial(run_on, conn)) for who, conn in lent.items()},
            FLOOR: Floor(floor),
            BARE: bare,
            **peers,
        }
        # Short blocks, and many of them: the ratios here are the finest that goals are set for.
        count, rounds = world.plan.commands // 2, 2 * world.plan.rounds + 1
        turns: dict[str, Contender] = {
            who: partial(each.sequential, count, "true") for who, each in contestants.items()
        }
        turns[_ANNOUNCED] = partial(bare.sequential, count, "echo sshmux-0123456789ab $$ >&2; true")
        found = await world.race(turns, rounds=rounds)
    yield Figure(
        "run.time",
        'run("true"), one after the other, the median of a block',
        "ms",
        column(found, "p50"),
        (
            Goal(1.10, BARE),
            Goal(0.85, ASYNCSSH, MUX),
            Goal(0.30, BARE, MUX),
            Goal(1.12, FLOOR, MUX),
        ),
        note="the announcement is what makes a remote command endable",
    )
    yield Figure(
        "run.cpu",
        "processor time of the program itself for it",
        "ms",
        column(found, "own_cpu"),
        (Goal(0.40, ASYNCSSH, MUX),),
        note="without what it starts, and without masters",
    )
    with_clients = (OURS, BARE, _ANNOUNCED)
    clients = {who: found[who] for who in with_clients if who in found}
    yield Figure(
        "run.child_cpu", "processor time of the ssh client", "ms", column(clients, "child_cpu")
    )


def control_path(conn: Connection) -> Path:
    return Path(str(conn.get_extra_info("control_path")))


async def run_on(conn: Connection, _: int, command: str, data: bytes) -> bytes:
    """For `Coroutines`."""
    result = await conn.run(command, check=True, input=data or None, encoding=None)
    return result.stdout if isinstance(result.stdout, bytes) else b""


# Many at a time


async def parallel(world: World) -> AsyncIterator[Figure]:
    """8, 32 and 128 tasks that run commands over 4 connections."""
    plan = world.plan
    for tasks in (8, _AT_ONCE, 128) if plan.thorough else (_AT_ONCE,):
        count = max(plan.parallel, tasks) // tasks * tasks
        async with _contestants(world, _EVERYBODY if tasks <= _AT_ONCE else _MANY, tasks) as those:
            turns: dict[str, Contender] = {
                who: partial(each.crowd, tasks, count, "true") for who, each in those.items()
            }
            found = await world.race(turns, rounds=max(3, plan.rounds // 2))
        yield Figure(
            f"parallel.{tasks}",
            f'{tasks} tasks, each borrow + run("true") + return, {_MASTERS} connections',
            "commands/s",
            column(found, "seconds"),
            (Goal(1.25, ASYNCSSH, MUX), Goal(3.3, BARE, MUX)) if tasks == _AT_ONCE else (),
            amount=count,
            note=f"{PARALLEL} has a connection for each task: it cannot share them",
        )
        yield Figure(
            f"parallel.{tasks}.cpu",
            f"the program's own processor time a command, {tasks} tasks",
            "ms",
            column(found, "own_cpu"),
        )


async def small(world: World) -> AsyncIterator[Figure]:
    """Commands with little input and output, 32 at once over 4 connections."""
    count = world.plan.small // _AT_ONCE * _AT_ONCE
    async with _contestants(world, _ECHOERS, _AT_ONCE) as contestants:
        turns: dict[str, Contender] = {
            who: partial(each.crowd, _AT_ONCE, count, "cat", input=_SMALL, output=_SMALL)
            for who, each in contestants.items()
        }
        found = await world.race(turns, rounds=world.plan.rounds_of_seconds(), warm_up=0)
    title = f"{count} times cat, {_SMALL} bytes in and out, {_AT_ONCE} at once"
    yield Figure("small", title, "commands/s", column(found, "seconds"), amount=count)
    title = "the program's own processor time for each"
    yield Figure("small.cpu", title, "ms", column(found, "own_cpu"))


@contextlib.asynccontextmanager
async def _contestants(
    world: World, names: tuple[str, ...], tasks: int
) -> AsyncIterator[dict[str, Contestant]]:
    """Everybody with 4 connections, for that many tasks at once."""
    async with contextlib.AsyncExitStack() as stack:
        found: dict[str, Contestant] = {}
        for who in world.engines:
            sessions = max(1, tasks // _MASTERS)
            manager = world.manager(who, pool_size=_MASTERS, sessions_per_connection=sessions)
            await stack.enter_async_context(manager)
            world.server.register(manager, "pool", max_sessions=MAX_SESSIONS)
            await _fill(manager, tasks)
            found[who] = Coroutines(partial(_borrow_and_run, manager))
        found[BARE] = world.bare(await stack.enter_async_context(world.bare_masters(_MASTERS)))
        for name in names:
            connections = tasks if name == PARALLEL else _MASTERS
            found |= await stack.enter_async_context(world.peers((name,), connections))
        yield found


async def _fill(manager: ConnectionManager, tasks: int) -> None:
    """Dials all masters: that many borrowers at once need them."""
    everybody = asyncio.Barrier(tasks)

    async def hold() -> None:
        async with manager.get_connection("pool"):
            await everybody.wait()

    await asyncio.gather(*(hold() for _ in range(tasks)))
    metrics = await manager.get_connection_metrics("pool")
    if metrics["total_connections"] != _MASTERS:
        raise RuntimeError(f"{metrics['total_connections']} masters, not {_MASTERS}")


async def _borrow_and_run(
    manager: ConnectionManager, number: int, command: str, data: bytes
) -> bytes:
    async with manager.get_connection("pool") as conn:
        return await run_on(conn, number, command, data)
