"""One round of health checks over 100 idle masters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from sshmux import ConnectionManager

from .figures import MUX, OURS, Figure, Goal
from .measure import Contender, column
from .sessions import control_path
from .world import World

_MASTERS = 100
_DIALS = 8
_PROCESSES = "ssh -O check"
_PATIENCE = 30.0  # seconds


async def sweep(world: World) -> AsyncIterator[Figure]:
    """The manager's own, and the same number of `ssh -O check`, all at once as it does it."""
    async with AsyncExitStack() as stack:
        whole: dict[str, Contender] = {}
        alive: dict[str, Contender] = {}
        engines = list(world.engines)
        if not world.plan.thorough:
            del engines[:-1]  # the masters of two take some time to dial
        for who in engines:
            manager = await stack.enter_async_context(
                world.manager(who, pool_size=_MASTERS, max_parallel_dials=_DIALS)
            )
            world.server.register(manager, "idle")
            pings, sockets = await _dial_all(manager)
            whole[who] = partial(_round, manager)
            if who == MUX or MUX not in world.engines:
                alive[MUX if MUX in world.engines else OURS] = partial(_timed, pings)
                processes = partial(_timed, partial(_checks, world, sockets))
        whole[_PROCESSES] = alive[_PROCESSES] = processes
        found = await world.race(whole)
        found_alive = await world.race(alive)
    yield Figure(
        "health.sweep",
        f"check_health() of {_MASTERS} idle masters: alive check, then true, each",
        "ms",
        column(found, "seconds"),
        (Goal(0.1, _PROCESSES, MUX),),
        note=f"{_PROCESSES}: as many processes, all at once, without any true",
    )
    yield Figure(
        "health.sweep.cpu",
        "the program's own processor time for it",
        "ms",
        column(found, "own_cpu"),
    )
    yield Figure(
        "health.alive",
        f"the alive check of {_MASTERS} idle masters alone",
        "ms",
        column(found_alive, "seconds"),
        (Goal(0.1, _PROCESSES, MUX),),
        note='what engine="mux" asks by the protocol, before its true',
    )


async def _dial_all(
    manager: ConnectionManager,
) -> tuple[Callable[[], Awaitable[object]], list[Path]]:
    """Returns what asks all masters for a sign of life, and their sockets."""
    everybody = asyncio.Barrier(_MASTERS)

    async def hold() -> tuple[Callable[[float], Awaitable[bool]], Path]:
        async with manager.get_connection("idle") as conn:
            await everybody.wait()
            return conn.master.ping, control_path(conn)

    found = await asyncio.gather(*(hold() for _ in range(_MASTERS)))
    pings = [ping for ping, _ in found]

    async def ask() -> None:
        if not all(await asyncio.gather(*(ping(_PATIENCE) for ping in pings))):
            raise RuntimeError("a master did not answer")

    return ask, [socket for _, socket in found]


async def _round(manager: ConnectionManager) -> dict[str, float]:
    took = await _timed(manager.check_health)
    metrics = await manager.get_connection_metrics("idle")
    if metrics["total_connections"] != _MASTERS:
        raise RuntimeError(f"{metrics['total_connections']} masters are left")
    return took


async def _checks(world: World, sockets: Sequence[Path]) -> None:
    if any(await asyncio.gather(*(world.bare_control(socket, "check") for socket in sockets))):
        raise RuntimeError("a master did not answer")


async def _timed(work: Callable[[], Awaitable[object]]) -> dict[str, float]:
    begun, cpu = time.perf_counter(), time.process_time()
    await work()
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "own_cpu": time.process_time() - cpu}
