"""What a connection costs in memory: here, and in its master.

`python -m scripts.benchmarks.memory sshmux|asyncssh traced|resident PLAN` measures in an
interpreter of its own, where no other subject has left anything, and prints JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tracemalloc
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from statistics import fmean

import psutil

from .figures import ASYNCSSH, OURS, Figure
from .measure import Samples
from .world import PLANS, World, open_world

_CONNECTIONS = 20


async def memory(world: World) -> AsyncIterator[Figure]:
    """Per connection, over 20 that are open at once and have run one command each."""
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(max(3, world.plan.rounds // 3)):
        for who in (OURS, ASYNCSSH) if world.has_asyncssh else (OURS,):
            for what in ("traced", "resident"):  # tracing takes memory itself
                for key, value in (await _measured(who, what, world.plan.name)).items():
                    found.setdefault(key, {}).setdefault(who, []).append(value)
    samples = {
        key: {who: Samples(tuple(values)) for who, values in by_who.items()}
        for key, by_who in found.items()
    }
    title = "Python's memory per open connection"
    yield Figure("memory.traced", f"{title}, its objects", "KiB", samples["traced"])
    yield Figure("memory.rss", f"{title}, resident", "KiB", samples["resident"])
    yield Figure("memory.master", "a master, resident", "MiB", samples["master_rss"])
    if "master_own" in samples:
        note = "the rest is shared with every other ssh"
        yield Figure("memory.own", "a master's own pages", "MiB", samples["master_own"], note=note)


async def _measured(who: str, what: str, plan: str) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, who, what, plan, stdin=DEVNULL, stdout=PIPE
    )
    stdout, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"measuring the memory of {who} failed")
    values: dict[str, float] = json.loads(stdout)
    return values


async def _measure(who: str, plan: str) -> dict[str, float]:
    async with open_world(PLANS[plan]) as world, AsyncExitStack() as stack:
        if who == ASYNCSSH:
            await _asyncssh_connections(world, stack, 1)  # what is loaded with the first one
            before = _used()
            await _asyncssh_connections(world, stack, _CONNECTIONS)
            return _per_connection(before)
        manager = await stack.enter_async_context(world.manager(pool_size=_CONNECTIONS))
        world.server.register(manager, "first")
        world.server.register(manager, "many")
        async with manager.get_connection("first") as conn:
            await conn.run("true", check=True)
        before = _used()
        everybody = asyncio.Barrier(_CONNECTIONS)

        async def hold() -> None:
            async with manager.get_connection("many") as conn:
                await conn.run("true", check=True)
                await everybody.wait()

        await asyncio.gather(*(hold() for _ in range(_CONNECTIONS)))
        found = _per_connection(before)
        if "resident" in found:
            metrics = await manager.get_connection_metrics("many")
            found |= _masters([each["master_pid"] for each in metrics["connections"]])
        return found


def _masters(pids: Sequence[int]) -> dict[str, float]:
    if len(pids) != _CONNECTIONS:
        raise RuntimeError(f"{len(pids)} masters, not {_CONNECTIONS}")
    masters = [psutil.Process(pid) for pid in pids]
    found = {"master_rss": fmean(master.memory_info().rss for master in masters)}
    if hasattr(psutil.Process, "memory_full_info"):
        found["master_own"] = fmean(master.memory_full_info().uss for master in masters)
    return found


async def _asyncssh_connections(world: World, stack: AsyncExitStack, number: int) -> None:
    for conn in await stack.enter_async_context(world.asyncssh_connections(number)):
        await conn.run("true", check=True)


def _used() -> int:
    gc.collect()
    if tracemalloc.is_tracing():
        return tracemalloc.get_traced_memory()[0]
    return psutil.Process().memory_info().rss


def _per_connection(before: int) -> dict[str, float]:
    key = "traced" if tracemalloc.is_tracing() else "resident"
    return {key: max(1, _used() - before) / _CONNECTIONS}


def main() -> None:
    who, what, plan = sys.argv[1:]
    if what == "traced":
        tracemalloc.start()
    print(json.dumps(asyncio.run(_measure(who, plan))))


if __name__ == "__main__":
    main()
