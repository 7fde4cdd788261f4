"""Jobs of RemoteRunner on a plain host: what submitting, waiting and following cost."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import statistics
import tempfile
import time
import tracemalloc
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from sshmux import ClusterOptions, Job, JobHandle, RemoteRunner

from .figures import BARE, OURS, Figure, Goal
from .measure import Contender, Samples, Stopwatch, column, each
from .slurm import slurm
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
                OURS: partial(each, many, partial(_submit, runner, many)),
                _ONE_BY_ONE: partial(each, few, partial(_submit_each, runner, few)),
                BARE: partial(each, few, partial(_detached, world, sockets[0], line, few)),
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
    yield await _followed(world)
    async for figure in slurm(world):
        yield figure


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


# Output that is followed

_LINES = 2_000_000
_NO_LOSS = "without a loss"


async def _followed(world: World) -> Figure:
    """What is there already is followed, as fast as it comes, while connections are killed."""
    async with _runner(world) as runner:
        script = f"seq 1 {_LINES}; touch ../../there; while [ ! -e ../../go ]; do sleep 0.2; done"
        handle = await runner.submit("jobs", _job(script))
        place = Path(handle.directory).parent
        while not (place / "there").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.1)
        found = await world.race(
            {
                OURS: partial(_follow, world, runner, handle, 3),
                _NO_LOSS: partial(_follow, world, runner, handle, 0),
                BARE: partial(_tail, world, f"tail -c +1 -f {handle.directory}/out"),
            },
            rounds=world.plan.rounds_of_seconds(),
        )
        (place / "go").touch()
        await runner.wait(handle, 60)
    return Figure(
        "jobs.follow",
        f"{_LINES:,} lines of output that are followed, while the connection is lost three times",
        "s",
        column(found, "seconds"),
        (Goal(1.5, BARE),),
        note=f"{BARE}: tail -f, no connection lost, its lines as asyncio gives them",
    )


async def _follow(
    world: World, runner: RemoteRunner, handle: JobHandle, losses: int
) -> dict[str, float]:
    killed = {_LINES * number // (losses + 1) for number in range(1, losses + 1)}
    number, last = 0, ""
    with Stopwatch() as watch:
        async for line in runner.output(handle, follow=True):
            number, last = number + 1, line.text
            if number in killed:
                await asyncio.to_thread(world.server.drop_connections)
            if number == _LINES:
                break
    if last != str(_LINES):
        raise RuntimeError(f"line {number} is {last}")
    return {"seconds": watch.cost.seconds}


async def _tail(world: World, command: str) -> dict[str, float]:
    socket = await world.bare_dial("tail")
    try:
        number, last = 0, b""
        with Stopwatch() as watch:
            process = await asyncio.create_subprocess_exec(
                *world.session_line(socket, command), stdin=DEVNULL, stdout=PIPE
            )
            assert process.stdout is not None
            async for line in process.stdout:
                number, last = number + 1, line
                if number == _LINES:
                    break
        if int(last) != _LINES:
            raise RuntimeError(f"line {number} is {last!r}")
        process.kill()
        await process.wait()
    finally:
        await world.bare_leave(socket)
    return {"seconds": watch.cost.seconds}
