"""A pool of masters: lending, and many tasks or clusters at a time."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import psutil

from sshmux import ConnectionManager, DisconnectError, Event, State

from .figures import BARE, MUX, OURS, Figure, Goal
from .measure import STARTS, Contender, column
from .world import World, open_world

_DEFAULT_POOL = 5  # pool_size, unless it is given
_TASKS = 200
_POOL = 3
_CLUSTERS = 100
_STARTUPS = "10:30:100"  # sshd's own
_AT_A_TIME = 8  # log-ins of the bare peer in the fan-out

# Lending


async def lending(world: World) -> AsyncIterator[Figure]:
    """Borrow and return, one at a time, while all masters are idle: no process may be started."""
    for masters in (_DEFAULT_POOL, 20) if world.plan.thorough else (_DEFAULT_POOL,):
        facts: dict[str, bool] = {}
        async with AsyncExitStack() as stack:
            turns: dict[str, Contender] = {}
            managers = []
            for who in world.engines:
                manager = await stack.enter_async_context(world.manager(who, pool_size=masters))
                world.server.register(manager, "warm")
                await _dial_all(manager, "warm", masters)
                turns[who] = partial(_borrows, manager, world.plan.borrows)
                managers.append(manager)
            found = await world.race(turns, warm_up=2)
            for manager in managers:
                started = await _started_by(_borrows(manager, 1000))
                _fact(facts, "no process was started in 1000 of them", not started)
        yield Figure(
            f"borrow.{masters}",
            f"borrow and return, warm, {masters} masters",
            "µs",
            column(found, "each"),
            (Goal(30), Goal(30, who=MUX)) if masters == _DEFAULT_POOL else (),
            facts=facts,
        )


async def _dial_all(manager: ConnectionManager, cluster: str, masters: int) -> None:
    """That many borrowers at once need that many masters."""
    everybody = asyncio.Barrier(masters)

    async def hold() -> None:
        async with manager.get_connection(cluster) as conn:
            await conn.run("true", check=True)
            await everybody.wait()

    await asyncio.gather(*(hold() for _ in range(masters)))


async def _borrows(manager: ConnectionManager, times: int) -> dict[str, float]:
    begun = time.perf_counter()
    for _ in range(times):
        async with manager.get_connection("warm"):
            pass
    return {"each": (time.perf_counter() - begun) / times}


async def _started_by(work: Awaitable[object]) -> bool:
    """Whether a process was started: seen by the interpreter, reaped, or still there."""
    STARTS.watch()
    before = _children()
    known = len(STARTS.lines)
    await work
    return len(STARTS.lines) != known or _children() != before


def _children() -> tuple[int, frozenset[int]]:
    """The page faults of all children that were ever reaped, and the living ones."""
    reaped = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    return reaped, frozenset(child.pid for child in psutil.Process().children())


# Many tasks on few masters


async def queueing(world: World) -> AsyncIterator[Figure]:
    """200 tasks at once on pool_size=3."""
    facts: dict[str, bool] = {}
    turns: dict[str, Contender] = {
        **{who: partial(_queue, world, who, facts) for who in world.engines},
        BARE: partial(_bare_queue, world),
    }
    found = await world.race(turns, rounds=world.plan.rounds_of_seconds())
    yield Figure(
        "queue",
        f'{_TASKS} tasks at once on pool_size={_POOL}: borrow, run("true"), return',
        "s",
        column(found, "seconds"),
        facts=facts,
        note="dials and the end of the masters included; the peer: 3 masters and a semaphore",
    )


async def _queue(world: World, who: str, facts: dict[str, bool]) -> dict[str, float]:
    served: list[int] = []
    alive = _Alive()
    logins = world.server.logins
    begun = time.perf_counter()
    async with world.manager(who, pool_size=_POOL) as manager:
        manager.subscribe(alive)
        world.server.register(manager, "few")

        async def task(number: int) -> None:
            async with manager.get_connection("few") as conn:
                served.append(number)
                await conn.run("true", check=True)

        await asyncio.gather(*(task(number) for number in range(_TASKS)))
    seconds = time.perf_counter() - begun
    await world.server.wait_for_log(r"^Accepted \S+ for ", count=logins + _POOL)
    _fact(facts, f"never more than {_POOL} masters", alive.most == _POOL)
    _fact(facts, f"{_POOL} log-ins, by sshd's own log", world.server.logins - logins == _POOL)
    _fact(facts, "served in the order in which they asked", served == sorted(served))
    return {"seconds": seconds}


class _Alive:
    """Counts the masters of a pool, from its events."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def __call__(self, event: Event) -> None:
        if event.new is State.CREATED:
            self.now += 1
            self.most = max(self.most, self.now)
        elif event.new is State.CLOSED:
            self.now -= 1


def _fact(facts: dict[str, bool], what: str, true: bool) -> None:
    """True only if it was true in every round."""
    facts[what] = facts.get(what, True) and true


async def _bare_queue(world: World) -> dict[str, float]:
    free: asyncio.Queue[Path] = asyncio.Queue()

    async def task() -> None:
        socket = await free.get()
        await world.bare_run(socket, "true")
        free.put_nowait(socket)

    begun = time.perf_counter()
    sockets = await asyncio.gather(*(world.bare_dial(f"queue{n}") for n in range(_POOL)))
    for socket in sockets:
        free.put_nowait(socket)
    await asyncio.gather(*(task() for _ in range(_TASKS)))
    await asyncio.gather(*(world.bare_leave(socket) for socket in sockets))
    return {"seconds": time.perf_counter() - begun}


# Many clusters


async def fan_out(world: World) -> AsyncIterator[Figure]:
    """100 clusters, one command on each, all at once."""
    rounds = world.plan.rounds_of_seconds()
    turns: dict[str, Contender] = {
        OURS: partial(_fan_out, world),
        BARE: partial(_bare_fan_out, world),
    }
    found = await world.race(turns, rounds=rounds, warm_up=0)
    ours = found[OURS]
    yield Figure(
        "clusters",
        f"{_CLUSTERS} clusters at once, one command each (one sshd plays them all)",
        "s",
        column(found, "seconds"),
        facts={
            "every command ran": ours["failed"].high == 0,
            "no log-in was tried twice": ours["repeated"].high == 0,
        },
        note=f"the peer: {_AT_A_TIME} log-ins at a time; the end of the masters is not included",
    )
    yield Figure("clusters.dials", "log-ins under way at once, the most", "", {OURS: ours["peak"]})
    async with open_world(world.plan, max_startups=_STARTUPS) as narrow:
        turns = {OURS: partial(_fan_out, narrow)}
        found = await world.race(turns, rounds=rounds, warm_up=0)
    ours = found[OURS]
    yield Figure(
        "clusters.startups",
        f"the same, behind one sshd with the usual MaxStartups {_STARTUPS}",
        "s",
        {OURS: ours["seconds"]},
        facts={"every command ran": ours["failed"].high == 0},
        note="as with clusters behind one jump host",
    )
    for key, title in (
        ("repeated", "log-ins that sshd dropped, tried again"),
        ("failed", "clusters that could not be reached in the end"),
    ):
        yield Figure(f"clusters.{key}", title, "", {OURS: ours[key]})


async def _fan_out(world: World) -> dict[str, float]:
    dials = _Dials()
    STARTS.watch()
    STARTS.on_start = dials.started
    async with world.manager(pool_size=1) as manager:
        manager.subscribe(dials)
        for number in range(_CLUSTERS):
            world.server.register(manager, number)

        async def task(number: int) -> bool:
            try:
                async with manager.get_connection(number) as conn:
                    await conn.run("true", check=True)
            except DisconnectError:
                return False
            return True

        try:
            begun = time.perf_counter()
            ran = await asyncio.gather(*(task(number) for number in range(_CLUSTERS)))
            seconds = time.perf_counter() - begun
        finally:
            STARTS.on_start = None
    repeated = dials.total - _CLUSTERS
    failed = ran.count(False)
    return {"seconds": seconds, "peak": dials.most, "repeated": repeated, "failed": failed}


class _Dials:
    """Counts log-ins from the start of their ssh to the event that the connection is there."""

    def __init__(self) -> None:
        self.now = self.most = self.total = 0

    def started(self, line: Sequence[str]) -> None:
        if "-M" in line:
            self.total += 1
            self.now += 1
            self.most = max(self.most, self.now)

    def __call__(self, event: Event) -> None:
        if event.new is State.CREATED:
            self.now -= 1


async def _bare_fan_out(world: World) -> dict[str, float]:
    places = asyncio.Semaphore(_AT_A_TIME)

    async def task(number: int) -> Path:
        async with places:
            socket = await world.bare_dial(f"fan{number}")
        await world.bare_run(socket, "true")
        return socket

    begun = time.perf_counter()
    sockets = await asyncio.gather(*(task(number) for number in range(_CLUSTERS)))
    seconds = time.perf_counter() - begun
    for socket in sockets:
        await world.bare_leave(socket)
    return {"seconds": seconds}
