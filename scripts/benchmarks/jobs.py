"""Jobs of RemoteRunner on a plain host: what submitting, waiting and following cost."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

from sshmux import ClusterOptions, Job, RemoteRunner

from .figures import BARE, OURS, Figure, Goal
from .measure import Contender, Samples, column
from .world import World

_ONE_BY_ONE = "submit(), one by one"


async def jobs(world: World) -> AsyncIterator[Figure]:
    """Submitting many at once and one by one; from the end of a job to that of `wait()`."""
    many = 100 if world.plan.thorough else 40
    few = many // 10
    rounds = world.plan.rounds_of_seconds()
    async with _runner(world) as runner, world.bare_masters(1) as sockets:
        line = "nohup sh -c true </dev/null >/dev/null 2>&1 & echo $!"
        found = await world.race(
            {
                OURS: partial(_each, many, partial(_submit, runner, many)),
                _ONE_BY_ONE: partial(_each, few, partial(_submit_each, runner, few)),
                BARE: partial(_each, few, partial(_detached, world, sockets[0], line, few)),
            },
            rounds=rounds,
        )
        yield Figure(
            "jobs.submit",
            f"a job of {many} that are submitted in one go (one by one: of {few})",
            "ms",
            column(found, "seconds"),
            (Goal(0.25, _ONE_BY_ONE),),
            note=f"{BARE}: a detached process each, without directory, lock or files",
        )
        # Somebody waits for another job all the time, as a program does that follows its jobs.
        long = await runner.submit("jobs", _job("sleep 1000"))
        following = asyncio.ensure_future(runner.wait(long))
        waits: dict[str, Contender] = {OURS: partial(_wait, runner, few)}
        found = await world.race(waits, rounds=rounds)
        await runner.cancel(long, grace=0)
        await following
        yield Figure(
            "jobs.wait",
            "from the end of a job to that of wait()",
            "ms",
            column(found, "p50"),
            (Goal(20),),
            note="the job's journal is followed: nothing is asked",
        )
        followed = 200 if world.plan.thorough else 100
        bytes_each = await _memory(runner, followed)
    yield Figure(
        "jobs.memory",
        f"Python's memory of a job that is waited for, of {followed}",
        "KiB",
        {OURS: Samples((bytes_each,))},
        (Goal(4),),
    )


@contextlib.asynccontextmanager
async def _runner(world: World) -> AsyncIterator[RemoteRunner]:
    with tempfile.TemporaryDirectory(prefix="jobs", dir=world.directory) as place:
        options = ClusterOptions(scheduler="shell", directory=f"{place}/jobs")
        async with world.manager(OURS, pool_size=2) as manager:
            world.server.register(manager, "jobs")
            store = Path(place, "store")
            runner = RemoteRunner(manager, store=store, clusters={"jobs": options})
            async with runner:
                await runner.wait(await runner.submit("jobs", _job("true")), 60)
                yield runner


def _job(script: str) -> Job:
    return Job(script=script, login_shell=False)


async def _each(count: int, work: Callable[[], Awaitable[object]]) -> dict[str, float]:
    """Seconds for one of so many."""
    begun = time.perf_counter()
    await work()
    return {"seconds": (time.perf_counter() - begun) / count}


async def _submit(runner: RemoteRunner, count: int) -> None:
    await runner.submit_many("jobs", [_job("true") for _ in range(count)])


async def _submit_each(runner: RemoteRunner, count: int) -> None:
    for _ in range(count):
        await runner.submit("jobs", _job("true"))


async def _detached(world: World, socket: Path, line: str, count: int) -> None:
    for _ in range(count):
        await world.bare_run(socket, line)


async def _wait(runner: RemoteRunner, count: int) -> dict[str, float]:
    """Each job says when it ends, by the clock that is ours, too."""
    took = []
    for _ in range(count):
        handle = await runner.submit("jobs", _job("sleep 0.2; date +%s%N"))
        status = await runner.wait(handle, 60)
        back = time.time()
        if not status.ok:
            raise RuntimeError(f"a job ended otherwise than well: {status}")
        (line,) = [line.text async for line in runner.output(handle)]
        took.append(back - int(line) / 1e9)
    return {"p50": statistics.median(took)}


async def _memory(runner: RemoteRunner, count: int) -> float:
    """Bytes of Python's objects that each of so many waits takes."""
    script = "while [ ! -e ../../go ]; do sleep 0.2; done"
    handles = await runner.submit_many("jobs", [_job(script) for _ in range(count)])
    first = asyncio.ensure_future(runner.wait(handles[0], 120))
    await asyncio.sleep(1)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    waits = [asyncio.ensure_future(runner.wait(handle, 120)) for handle in handles[1:]]
    await asyncio.sleep(2)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await asyncio.to_thread(Path(Path(handles[0].directory).parent, "go").touch)
    ended = await asyncio.gather(first, *waits)
    if not all(status.ok for status in ended):
        raise RuntimeError("a job ended otherwise than well")
    return (after - before) / (count - 1)
