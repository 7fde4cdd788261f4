"""What masters and sessions cost in memory: here, and in the masters.

`python -m scripts.benchmarks.memory WHO masters|sessions traced|resident PLAN` measures in an
interpreter of its own, where no other subject has left anything, and prints JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
import tracemalloc
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from statistics import fmean
from typing import Any

import psutil

from sshmux import Connection, ConnectionManager

from .figures import ASYNCSSH, MUX, Figure, Goal
from .limits import raise_descriptor_limit
from .measure import Samples
from .world import MAX_SESSIONS, PLANS, World, open_world

_CONNECTIONS = 50
_SESSIONS = 200
_MASTERS_OF_SESSIONS = 4
_WHATS = {"masters": "open connection", "sessions": "running session"}
_LIMIT = 40  # KiB
_PATIENCE = 60.0  # seconds


async def memory(world: World) -> AsyncIterator[Figure]:
    """Per connection, over 50 that have run one command each; per session, over 200 sleeps."""
    who_there_is = [*world.engines, *([ASYNCSSH] if world.has_asyncssh else [])]
    rounds = max(1, world.plan.rounds // 6)
    for what, title in _WHATS.items():
        found: dict[str, dict[str, list[float]]] = {}
        for _ in range(rounds):
            for who in who_there_is:
                for how in ("traced", "resident"):  # tracing takes memory itself
                    try:
                        values = await _measured(who, what, how, world.plan.name)
                    except RuntimeError as error:
                        world.on_failure(who, error)
                        continue
                    for key, value in values.items():
                        found.setdefault(key, {}).setdefault(who, []).append(value)
        samples = {
            key: {who: Samples(tuple(values)) for who, values in by_who.items()}
            for key, by_who in found.items()
        }
        goals = (Goal(_LIMIT), Goal(_LIMIT, who=MUX))
        title = f"Python's memory per {title}"
        yield Figure(f"memory.{what}", f"{title}, its objects", "KiB", samples["traced"], goals)
        yield Figure(f"memory.{what}.rss", f"{title}, resident", "KiB", samples["resident"], goals)
        for key, said in (("master_rss", "resident"), ("master_own", "its own pages")):
            if key in samples:
                yield Figure(f"memory.{key}", f"a master, {said}", "MiB", samples[key])


async def _measured(who: str, what: str, how: str, plan: str) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, who, what, how, plan, stdin=DEVNULL, stdout=PIPE
    )
    stdout, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"measuring the memory of its {what} ended with {process.returncode}")
    values: dict[str, float] = json.loads(stdout)
    return values


# In the interpreter of its own


async def _measure(who: str, what: str, plan: str) -> dict[str, float]:
    async with open_world(PLANS[plan]) as world:
        if what == "masters":
            return await (_their_connections(world) if who == ASYNCSSH else _masters(world, who))
        return await (_their_sessions(world) if who == ASYNCSSH else _sessions(world, who))


async def _masters(world: World, who: str) -> dict[str, float]:
    async with world.manager(who, pool_size=_CONNECTIONS) as manager:
        for name in ("first", "many"):
            world.server.register(manager, name)
        await _use(manager, "first", 1)  # what is loaded with the first one
        before = _used()
        await _use(manager, "many", _CONNECTIONS)
        found = _each(before, _CONNECTIONS)
        if "resident" in found:
            metrics = await manager.get_connection_metrics("many")
            found |= _of_masters([each["master_pid"] for each in metrics["connections"]])
        return found


async def _use(manager: ConnectionManager, cluster: str, connections: int) -> None:
    everybody = asyncio.Barrier(connections)

    async def hold() -> None:
        async with manager.get_connection(cluster) as conn:
            await conn.run("true", check=True)
            await everybody.wait()

    await asyncio.gather(*(hold() for _ in range(connections)))


async def _their_connections(world: World) -> dict[str, float]:
    async with AsyncExitStack() as stack:

        async def use(number: int) -> None:
            for conn in await stack.enter_async_context(world.asyncssh_connections(number)):
                await conn.run("true", check=True)

        await use(1)
        before = _used()
        await use(_CONNECTIONS)
        return _each(before, _CONNECTIONS)


async def _sessions(world: World, who: str) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        manager = await stack.enter_async_context(world.manager(who))
        world.server.register(manager, "many", max_sessions=MAX_SESSIONS)
        connections: list[Connection] = [
            await stack.enter_async_context(await manager.connect("many"))
            for _ in range(_MASTERS_OF_SESSIONS)
        ]
        return await _running(world, lambda n, line: connections[n].run(line))


async def _their_sessions(world: World) -> dict[str, float]:
    async with world.asyncssh_connections(_MASTERS_OF_SESSIONS) as connections:
        return await _running(world, lambda n, line: connections[n].run(line))


async def _running(
    world: World, run: Callable[[int, str], Coroutine[Any, Any, object]]
) -> dict[str, float]:
    """What so many commands take while they run. They say to a file that they do."""
    started = world.directory / "started"

    async def begin(count: int) -> list[asyncio.Task[object]]:
        started.write_bytes(b"")
        line = f"echo >>{started}; exec sleep 1000"
        tasks = [
            asyncio.create_task(run(number % _MASTERS_OF_SESSIONS, line)) for number in range(count)
        ]
        async with asyncio.timeout(_PATIENCE):
            while started.stat().st_size < count:
                for task in tasks:
                    if task.done():
                        task.result()
                        raise RuntimeError("a command ended too early")
                await asyncio.sleep(0.05)
        return tasks

    first = await begin(_MASTERS_OF_SESSIONS)
    before = _used()
    tasks = await begin(_SESSIONS)
    found = _each(before, _SESSIONS)
    for task in (*first, *tasks):
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*first, *tasks, return_exceptions=True)
    return found


def _of_masters(pids: Sequence[int]) -> dict[str, float]:
    if len(pids) != _CONNECTIONS:
        raise RuntimeError(f"{len(pids)} masters, not {_CONNECTIONS}")
    masters = [psutil.Process(pid) for pid in pids]
    found = {"master_rss": fmean(master.memory_info().rss for master in masters)}
    if hasattr(psutil.Process, "memory_full_info"):
        found["master_own"] = fmean(master.memory_full_info().uss for master in masters)
    return found


def _used() -> int:
    gc.collect()
    if tracemalloc.is_tracing():
        return tracemalloc.get_traced_memory()[0]
    return psutil.Process().memory_info().rss


def _each(before: int, number: int) -> dict[str, float]:
    key = "traced" if tracemalloc.is_tracing() else "resident"
    return {key: max(1, _used() - before) / number}


def main() -> None:
    who, what, how, plan = sys.argv[1:]
    raise_descriptor_limit()
    if how == "traced":
        tracemalloc.start()
    print(json.dumps(asyncio.run(_measure(who, what, plan))))


if __name__ == "__main__":
    main()
