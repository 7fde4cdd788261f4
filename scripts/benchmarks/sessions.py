"""Commands on open connections: one after the other, many at a time, and much output."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sshmux import Connection, ConnectionManager

from .figures import ASYNCSSH, BARE, OURS, Figure, Goal
from .measure import Contender, Samples, interleave, one_by_one
from .world import World

_MASTERS = 4
_BORROWERS = 8  # of one master: what sshd's MaxSessions of 10 leaves room for
_ANNOUNCED = "bare ssh + announcement"


async def sequential(world: World) -> AsyncIterator[Figure]:
    """run("true"), one after the other, on the same master."""
    plan = world.plan
    async with world.manager(pool_size=1) as manager, world.asyncssh_connections(1) as others:
        world.server.register(manager, "one")
        async with manager.get_connection("one") as conn:
            socket = Path(str(conn.get_extra_info("control_path")))
            work: dict[str, Callable[[], Awaitable[object]]] = {
                OURS: partial(conn.run, "true", check=True),
                BARE: partial(world.bare_run, socket, "true"),
                _ANNOUNCED: partial(
                    world.bare_run, socket, "echo sshmux-0123456789ab $$ >&2; true"
                ),
            }
            if others:
                work[ASYNCSSH] = partial(others[0].run, "true", check=True)
            turns: dict[str, Contender] = {
                who: partial(one_by_one, plan.commands, what) for who, what in work.items()
            }
            found = await interleave(plan.rounds, turns)
    yield Figure(
        "run.time",
        'run("true"), one after the other',
        "ms",
        _column(found, "p50"),
        Goal(1.10, BARE),
        note="the announcement is what makes a command over there endable",
    )
    yield Figure("run.cpu", "Python's processor time for it", "ms", _column(found, "own_cpu"))
    children = _column(found, "child_cpu")
    children.pop(ASYNCSSH, None)  # it has none
    yield Figure("run.child_cpu", "processor time of the ssh client", "ms", children)


async def parallel(world: World) -> AsyncIterator[Figure]:
    """8 and 32 tasks that run commands through a pool of 4 masters."""
    settings = {"pool_size": _MASTERS, "sessions_per_connection": _BORROWERS}
    async with (
        world.manager(**settings) as manager,
        world.bare_masters(_MASTERS) as sockets,
        world.asyncssh_connections(_MASTERS) as others,
    ):
        world.server.register(manager, "pool")
        await _fill(manager)
        for tasks in (8, 32):
            count = world.plan.parallel // tasks * tasks
            turns: dict[str, Contender] = {
                OURS: partial(_crowd, tasks, count, lambda _: _borrow_and_run(manager)),
                BARE: partial(
                    _crowd, tasks, count, lambda n: world.bare_run(sockets[n % _MASTERS], "true")
                ),
            }
            if others:
                turns[ASYNCSSH] = partial(
                    _crowd, tasks, count, lambda n: others[n % _MASTERS].run("true", check=True)
                )
            found = await interleave(world.plan.rounds, turns)
            yield Figure(
                f"parallel.{tasks}",
                f'{tasks} tasks, each borrow + run("true") + return, {_MASTERS} connections',
                "commands/s",
                _column(found, "seconds"),
                amount=count,
            )
            yield Figure(
                f"parallel.{tasks}.cpu",
                f"Python's processor time a command, {tasks} tasks",
                "ms",
                _column(found, "own_cpu"),
            )


async def _fill(manager: ConnectionManager) -> None:
    """Dials all masters: that many borrowers at once need them."""
    everybody = asyncio.Barrier(_MASTERS * _BORROWERS)

    async def hold() -> None:
        async with manager.get_connection("pool"):
            await everybody.wait()

    await asyncio.gather(*(hold() for _ in range(_MASTERS * _BORROWERS)))
    metrics = await manager.get_connection_metrics("pool")
    if metrics["total_connections"] != _MASTERS:
        raise RuntimeError(f"{metrics['total_connections']} masters, not {_MASTERS}")


async def _borrow_and_run(manager: ConnectionManager) -> None:
    async with manager.get_connection("pool") as conn:
        await conn.run("true", check=True)


async def _crowd(
    tasks: int, count: int, command: Callable[[int], Awaitable[object]]
) -> dict[str, float]:
    async def worker(number: int) -> None:
        for _ in range(count // tasks):
            await command(number)

    begun, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker(number) for number in range(tasks)))
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "own_cpu": (time.process_time() - cpu) / count}


async def bulk(world: World) -> AsyncIterator[Figure]:
    """Much output of one command into Python's memory, as one bytes object."""
    size = world.plan.megabytes * 1024 * 1024
    command = f"head -c {size} /dev/zero"
    async with world.manager(pool_size=1) as manager, world.asyncssh_connections(1) as others:
        world.server.register(manager, "bulk")
        async with manager.get_connection("bulk") as conn:
            socket = Path(str(conn.get_extra_info("control_path")))
            turns: dict[str, Contender] = {
                OURS: partial(_timed, size, lambda: _ours(conn, command)),
                BARE: partial(_timed, size, lambda: world.bare_run(socket, command)),
            }
            if others:
                turns[ASYNCSSH] = partial(_timed, size, lambda: _theirs(others[0], command))
            # A round takes seconds; a quarter of them will do, but not fewer than three.
            found = await interleave(max(3, world.plan.rounds // 2), turns)
    yield Figure(
        "bulk.time",
        f"{world.plan.megabytes} MiB of stdout into memory",
        "MiB/s",
        _column(found, "seconds"),
        amount=world.plan.megabytes,
        note="with the same cipher everywhere: chacha20-poly1305, both sides' first choice",
    )
    yield Figure("bulk.cpu", "Python's processor time for it", "s", _column(found, "own_cpu"))


async def _timed(size: int, work: Callable[[], Awaitable[bytes]]) -> dict[str, float]:
    begun, cpu = time.perf_counter(), time.process_time()
    data = await work()
    seconds = time.perf_counter() - begun
    if len(data) != size:
        raise RuntimeError(f"{len(data)} bytes came, not {size}")
    return {"seconds": seconds, "own_cpu": time.process_time() - cpu}


async def _ours(conn: Connection, command: str) -> bytes:
    result = await conn.run(command, encoding=None)
    return bytes(result.stdout) if not isinstance(result.stdout, str) else b""


async def _theirs(conn: Any, command: str) -> bytes:
    result = await conn.run(command, encoding=None)
    return bytes(result.stdout)


def _column(found: Mapping[str, Mapping[str, Samples]], key: str) -> dict[str, Samples]:
    return {who: values[key] for who, values in found.items()}
