"""Files: in bulk, by SFTP, many small ones, looked at; and a long text, line by line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sshmux import Connection

from .figures import ASYNCSSH, MUX, OURS, Figure, Goal
from .measure import Contender, column
from .sessions import control_path
from .world import World

SCP, _SFTP = "scp over the socket", "sftp -b over the socket"
_FILES, _SIZE = 2000, 4096
_GUARD = ("-q", "-F", "none", "-o", "ControlMaster=no", "-o", "ProxyCommand=false")

Work = Callable[[], Awaitable[object]]


async def in_bulk(world: World) -> AsyncIterator[Figure]:
    """One large file, to a name that is not there yet."""
    source, target = world.directory / "large", world.directory / "copy"
    with source.open("wb") as file:
        for _ in range(world.plan.megabytes):
            file.write(os.urandom(1024 * 1024))
    async with world.lent() as lent, _asyncssh_sftp(world) as theirs:
        put: dict[str, Work] = {who: partial(c.put, source, target) for who, c in lent.items()}
        get: dict[str, Work] = {who: partial(c.get, source, target) for who, c in lent.items()}
        put[SCP] = scp_line(lent[OURS], source, target, put=True)
        get[SCP] = scp_line(lent[OURS], source, target, put=False)
        for client in theirs:
            put[ASYNCSSH] = partial(client.put, str(source), str(target))
            get[ASYNCSSH] = partial(client.get, str(source), str(target))
        goals = tuple(
            Goal(limit, peer, who)
            for who in (OURS, MUX)
            for limit, peer in ((1.0, SCP), (1.4, ASYNCSSH))
        )
        for name, works in (("put", put), ("get", get)):
            found = await race_of_copies(world, works, target)
            title = f"{name} of a file of {world.plan.megabytes} MiB"
            note = "asyncssh: its SFTP client"
            yield Figure(
                *(f"{name}.time", title, "MiB/s", column(found, "seconds"), goals),
                amount=world.plan.megabytes,
                note=note,
            )
    source.unlink()


async def by_sftp(world: World) -> AsyncIterator[Figure]:
    """The same by SFTP, here and there."""
    source, target = world.directory / "large", world.directory / "copy"
    with source.open("wb") as file:
        for _ in range(world.plan.megabytes):
            file.write(os.urandom(1024 * 1024))
    async with _clients(world) as clients:
        for name in ("get", "put"):
            works: dict[str, Work] = {
                who: partial(getattr(client, name), str(source), str(target))
                for who, client in clients.items()
            }
            found = await race_of_copies(world, works, target)
            yield Figure(
                f"sftp.{name}",
                f"SFTP {name} of {world.plan.megabytes} MiB",
                "MiB/s",
                column(found, "seconds"),
                (Goal(1.2, ASYNCSSH), Goal(1.2, ASYNCSSH, MUX)),
                amount=world.plan.megabytes,
            )
        for name, many in (("one after the other", False), ("all at once", True)):
            count = 10_000 if world.plan.thorough else 1000
            looks: dict[str, Contender] = {
                who: partial(_stats, client, str(source), count, many)
                for who, client in clients.items()
            }
            found = await world.race(looks, rounds=world.plan.rounds_of_seconds())
            yield Figure(
                f"stat.{'many' if many else 'one'}",
                f"{count} stats by SFTP, {name}",
                "/s",
                column(found, "seconds"),
                (Goal(1.3, ASYNCSSH), Goal(1.3, ASYNCSSH, MUX)),
                amount=count,
            )
    source.unlink()


async def many_small(world: World) -> AsyncIterator[Figure]:
    """A directory with many small files, to a name that is not there yet."""
    source, target = world.directory / "many", world.directory / "copies"
    source.mkdir()
    for number in range(_FILES):
        (source / f"file-{number}").write_bytes(os.urandom(_SIZE))
    batch = world.directory / "batch"
    batch.write_text(f"put -r {source} {target}\n")
    async with world.lent() as lent, _asyncssh_sftp(world) as theirs:
        socket = control_path(lent[OURS])
        works: dict[str, Work] = {
            who: partial(c.put, source, target, recurse=True) for who, c in lent.items()
        }
        works[_SFTP] = partial(
            _program, ["sftp", *_GUARD, "-o", f"ControlPath={socket}", "-b", str(batch), "x"]
        )
        for client in theirs:
            works[ASYNCSSH] = partial(client.put, str(source), str(target), recurse=True)
        found = await race_of_copies(world, works, target)
    yield Figure(
        "many.time",
        f"put of {_FILES} files of {_SIZE // 1024} KiB",
        "files/s",
        column(found, "seconds"),
        tuple(Goal(5, peer, who) for who in (OURS, MUX) for peer in (ASYNCSSH, _SFTP)),
        amount=_FILES,
    )
    shutil.rmtree(source)


async def lines(world: World) -> AsyncIterator[Figure]:
    """A long text that a process writes, line by line."""
    count = 5_000_000 if world.plan.thorough else 500_000
    async with world.lent() as lent, world.asyncssh_connections(int(world.has_asyncssh)) as others:
        connections: dict[str, Any] = {**lent, **dict(zip([ASYNCSSH], others, strict=False))}
        turns: dict[str, Contender] = {
            who: partial(_read_lines, each, count) for who, each in connections.items()
        }
        found = await world.race(turns, rounds=3, warm_up=0)
    yield Figure(
        "lines.time",
        f"{count:,} lines of a process's stdout",
        "lines/s",
        column(found, "seconds"),
        (Goal(2, ASYNCSSH), Goal(2, ASYNCSSH, MUX)),
        amount=count,
    )


async def _read_lines(connection: Connection | Any, count: int) -> dict[str, float]:
    begun, read = time.perf_counter(), 0
    async with connection.create_process(f"seq {count}") as process:
        async for _ in process.stdout:
            read += 1
    if read != count:
        raise RuntimeError(f"{read} lines came, not {count}")
    return {"seconds": time.perf_counter() - begun}


async def _stats(client: Any, path: str, count: int, many: bool) -> dict[str, float]:
    begun = time.perf_counter()
    if many:
        await asyncio.gather(*(client.stat(path) for _ in range(count)))
    else:
        for _ in range(count):
            await client.stat(path)
    return {"seconds": time.perf_counter() - begun}


@contextlib.asynccontextmanager
async def _asyncssh_sftp(world: World) -> AsyncIterator[list[Any]]:
    """asyncssh's SFTP client, if it is here."""
    async with contextlib.AsyncExitStack() as stack:
        others = await stack.enter_async_context(
            world.asyncssh_connections(int(world.has_asyncssh))
        )
        yield [await stack.enter_async_context(other.start_sftp_client()) for other in others]


@contextlib.asynccontextmanager
async def _clients(world: World) -> AsyncIterator[dict[str, Any]]:
    async with contextlib.AsyncExitStack() as stack:
        lent = await stack.enter_async_context(world.lent())
        theirs = await stack.enter_async_context(_asyncssh_sftp(world))
        ours = {
            who: await stack.enter_async_context(each.start_sftp_client())
            for who, each in lent.items()
        }
        yield {**ours, **dict(zip([ASYNCSSH], theirs, strict=False))}


async def race_of_copies(world: World, works: Mapping[str, Work], target: Path) -> Any:
    turns: dict[str, Contender] = {
        who: partial(_timed, work, target) for who, work in works.items()
    }
    return await world.race(turns, rounds=world.plan.rounds_of_seconds(), warm_up=0)


async def _timed(work: Work, target: Path) -> dict[str, float]:
    begun = time.perf_counter()
    await work()
    seconds = time.perf_counter() - begun
    _take_away(target)
    return {"seconds": seconds}


def _take_away(target: Path) -> None:
    """Nobody pays for taking away another's."""
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink()


def scp_line(conn: Connection, source: Path, target: Path, *, put: bool) -> Work:
    """scp over a connection's own master."""
    names = [str(source), f"x:{target}"] if put else [f"x:{source}", str(target)]
    return partial(_program, ["scp", *_GUARD, "-o", f"ControlPath={control_path(conn)}", *names])


async def _program(words: list[str]) -> None:
    run: Any = partial(subprocess.run, words, stdin=subprocess.DEVNULL, capture_output=True)
    await asyncio.to_thread(run, check=True)
