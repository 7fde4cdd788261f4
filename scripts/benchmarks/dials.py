"""Log-ins: one after the other, and many at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from sshmux import ConnectionManager

from .figures import ASYNCSSH, BARE, MUX, OURS, Figure, Goal
from .measure import Contender, column
from .peers import FABRIC, NET_OPENSSH, PARALLEL, PARAMIKO, asyncssh
from .world import World

_CURVE = "bare ssh, curve25519"
_KEX = """ssh agrees on sntrup761 with curve25519, against quantum computers; the libraries may not
parallel-ssh looks at no known_hosts"""
_PEERS = (PARAMIKO, FABRIC, PARALLEL, NET_OPENSSH)
_MANY = 50
_AT_A_TIME = 8  # of the bare peer and of sshmux, where everybody may choose

Dial = Callable[[], Awaitable[tuple[float, float]]]  # seconds to open, seconds to close


async def dialling(world: World) -> AsyncIterator[Figure]:
    """A log-in, and its end, which is timed apart; then 50 at once."""
    numbers = count()
    async with contextlib.AsyncExitStack() as stack:
        dials: dict[str, Dial] = {}
        for who in world.engines:
            manager = await stack.enter_async_context(world.manager(who))
            world.server.register(manager, "dial")
            dials[who] = partial(_own_dial, manager)
        dials[BARE] = lambda: _bare_dial(world, next(numbers))
        options = ("-o", "KexAlgorithms=curve25519-sha256")
        dials[_CURVE] = lambda: _bare_dial(world, next(numbers), *options)
        if world.has_asyncssh:
            dials[ASYNCSSH] = partial(_asyncssh_dial, world)
        workers = await stack.enter_async_context(world.workers(_PEERS, 1))
        turns: dict[str, Contender] = {
            **{who: partial(_dials, world.plan.dials, dial) for who, dial in dials.items()},
            **{who: partial(each.dial, world.plan.dials, 1) for who, each in workers.items()},
        }
        found = await world.race(turns)
    title = "dial: from the call to a usable connection"
    goals = (Goal(1.05, BARE), Goal(1.05, BARE, MUX))
    yield Figure("dial.open", title, "ms", column(found, "open"), goals, note=_KEX)
    closing = {who: found[who] for who in (*world.engines, BARE) if who in found}
    yield Figure("dial.close", "close: until nothing of it is left", "ms", column(closing, "close"))
    title = "the program's own processor time for a dial, and mostly its end"
    yield Figure("dial.cpu", title, "ms", column(found, "cpu"), note="workers: without the end")
    yield await _first(world, dials[BARE])
    if world.plan.thorough:
        yield await _at_once(world)


async def _dials(times: int, dial: Dial) -> dict[str, float]:
    cpu = time.process_time()
    took = [await dial() for _ in range(times)]
    cpu = time.process_time() - cpu
    opening, closing = zip(*took, strict=True)
    return {"open": median(opening), "close": median(closing), "cpu": cpu / times}


async def _own_dial(manager: ConnectionManager) -> tuple[float, float]:
    begun = time.perf_counter()
    conn = await manager.connect("dial")
    opened = time.perf_counter()
    conn.close()
    await conn.wait_closed()
    return opened - begun, time.perf_counter() - opened


async def _bare_dial(world: World, number: int, *options: str) -> tuple[float, float]:
    begun = time.perf_counter()
    socket = await world.bare_dial(f"dial{number}", *options)
    opened = time.perf_counter()
    await world.bare_leave(socket)
    return opened - begun, time.perf_counter() - opened


async def _asyncssh_dial(world: World) -> tuple[float, float]:
    begun = time.perf_counter()
    conn = await asyncssh.connect(world.account)
    opened = time.perf_counter()
    conn.close()
    await conn.wait_closed()
    return opened - begun, time.perf_counter() - opened


# The first


async def _first(world: World, bare: Dial) -> Figure:
    turns: dict[str, Contender] = {
        OURS: partial(_dials, 1, partial(_first_dial, world)),
        BARE: partial(_dials, 1, bare),
    }
    return Figure(
        "dial.first",
        "the first dial of a new manager",
        "ms",
        column(await world.race(turns), "open"),
        note="which also starts the guardian and asks ssh -G",
    )


async def _first_dial(world: World) -> tuple[float, float]:
    async with world.manager() as manager:
        world.server.register(manager, "dial")
        return await _own_dial(manager)


# Many at once


async def _at_once(world: World) -> Figure:
    async with world.workers((PARAMIKO, PARALLEL), 1) as workers:
        turns: dict[str, Contender] = {
            **{who: partial(_own_many, world, who) for who in world.engines},
            BARE: partial(_bare_many, world),
        }
        if world.has_asyncssh:
            turns[ASYNCSSH] = partial(_asyncssh_many, world)
        turns |= {who: partial(each.dial, _MANY, _MANY) for who, each in workers.items()}
        found = await world.race(turns, rounds=world.plan.rounds_of_seconds(), warm_up=0)
    return Figure(
        "dial.many",
        f"{_MANY} dials at once, until the last of them is usable",
        "s",
        column(found, "seconds"),
        note=f"sshmux and {BARE}: {_AT_A_TIME} under way at a time; libraries: all of them",
    )


async def _own_many(world: World, who: str) -> dict[str, float]:
    settings = {"pool_size": _MANY, "max_parallel_dials": _AT_A_TIME}
    async with world.manager(who, **settings) as manager:
        world.server.register(manager, "many")
        everybody = asyncio.Barrier(_MANY)

        async def hold() -> float:
            async with manager.get_connection("many"):
                usable = time.perf_counter()
                await everybody.wait()
                return usable

        begun = time.perf_counter()
        usable = await asyncio.gather(*(hold() for _ in range(_MANY)))
        return {"seconds": max(usable) - begun}


async def _bare_many(world: World) -> dict[str, float]:
    places = asyncio.Semaphore(_AT_A_TIME)

    async def dial(number: int) -> Path:
        async with places:
            return await world.bare_dial(f"many{number}")

    begun = time.perf_counter()
    sockets = await asyncio.gather(*(dial(number) for number in range(_MANY)))
    seconds = time.perf_counter() - begun
    await asyncio.gather(*(world.bare_leave(socket) for socket in sockets))
    return {"seconds": seconds}


async def _asyncssh_many(world: World) -> dict[str, float]:
    async def dial() -> Any:
        return await asyncssh.connect(world.account)

    begun = time.perf_counter()
    opened = await asyncio.gather(*(dial() for _ in range(_MANY)))
    seconds = time.perf_counter() - begun
    for conn in opened:
        conn.close()
    await asyncio.gather(*(conn.wait_closed() for conn in opened))
    return {"seconds": seconds}
