"""How many round trips things cost: through a relay on loopback that makes every byte late."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from .figures import ASYNCSSH, MUX, OURS, Figure, Goal
from .files import SCP, race_of_copies, scp_line
from .measure import Contender, column
from .peers import asyncssh
from .world import World

_ROOT = Path(__file__).parents[2]
_TRIPS = (0.1,)  # seconds for a round trip
_THOROUGH = (0.02, 0.1, 0.3)
_SIZE = 4096  # bytes of a small file
_ONE = "one stream"

Work = Callable[[], Awaitable[object]]
Works = dict[str, Work]


async def long_way(world: World) -> AsyncIterator[Figure]:
    """Round trips of a command, an SFTP client's start, and small files."""
    source, target = world.directory / "small", world.directory / "copy"
    source.write_bytes(bytes(_SIZE))
    for trip in _THOROUGH if world.plan.thorough else _TRIPS:
        async with _relay(world.server.port, trip / 2) as port, _clients(world, port) as clients:
            for name, limit in _LIMITS.items():
                works = {
                    who: works[name](source, target)
                    for who, works in clients.items()
                    if name in works
                }
                turns: dict[str, Contender] = {
                    who: partial(_trips, work, trip) for who, work in works.items()
                }
                found = await world.race(turns, rounds=3)
                yield Figure(
                    f"wan.{name}.{trip * 1000:.0f}",
                    f"{name}, {trip * 1000:.0f} ms away",
                    "round trips",
                    column(found, "trips"),
                    tuple(Goal(limit, None, who) for who in (OURS, MUX)),
                )
            async for figure in _large_files(world, port, f"{trip * 1000:.0f} ms away", 3):
                yield figure
    async for figure in _large_files(world, world.server.port, "on loopback", 0.97):
        yield figure


async def _large_files(world: World, port: int, where: str, goal: float) -> AsyncIterator[Figure]:
    """One large file over four sessions at once, against one, and against scp."""
    megabytes = {"quick": 64, "default": 128}.get(world.plan.name, 256)
    source, target = world.directory / "large", world.directory / "copy"
    with source.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1024 * 1024))
    for name in ("get", "put"):
        works: Works = {}
        async with contextlib.AsyncExitStack() as stack:
            for who in world.engines:
                manager = await stack.enter_async_context(world.manager(who, pool_size=1))
                keys = _keys(world, port)
                world.server.register(manager, "far", port=port, known_hosts_file=keys)
                conn = await stack.enter_async_context(manager.get_connection("far"))
                move = partial(getattr(conn, name), source, target)
                works[who] = partial(move, streams=4)
                if who == OURS:
                    works[_ONE] = move
                    works[SCP] = scp_line(conn, source, target, put=name == "put")
            found = await race_of_copies(world, works, target)
        goals = [Goal(goal, _ONE, who) for who in (OURS, MUX)]
        goals += [Goal(goal, SCP, who) for who in (OURS, MUX) if goal > 1]
        yield Figure(
            f"wan.{name}.{where.partition(' ')[0]}",
            f"{name} of {megabytes} MiB, streams=4, {where}",
            "MiB/s",
            column(found, "seconds"),
            tuple(goals),
            amount=megabytes,
        )
    source.unlink()


# The most round trips that each may take, local work included. A session takes two, to be opened
# and to be told what runs; sshd takes no input before that (its window is 0 until then:
# server_request_session in serverloop.c), so an answer to input takes a third. A file of SFTP's
# takes one to look at it (to open a FIFO would hang), one to open it and one for what is in it.
_LIMITS = {
    "shell.run": 1.3,
    "run": 2.4,
    "SFTP start": 3.4,
    "SFTP stat": 1.2,
    "SFTP put": 3.4,
    "SFTP get": 3.4,
    "put": 3.4,
    "get": 2.4,
}


async def _trips(work: Work, trip: float) -> dict[str, float]:
    begun = time.perf_counter()
    await work()
    return {"trips": (time.perf_counter() - begun) / trip}


@contextlib.asynccontextmanager
async def _relay(port: int, delay: float) -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.benchmarks.delay", str(port), str(delay)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=_ROOT,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


@contextlib.asynccontextmanager
async def _clients(world: World, port: int) -> AsyncIterator[dict[str, dict[str, Any]]]:
    async with contextlib.AsyncExitStack() as stack:
        clients: dict[str, dict[str, Any]] = {}
        for who in world.engines:
            manager = await stack.enter_async_context(world.manager(who, pool_size=1))
            world.server.register(manager, "far", port=port, known_hosts_file=_keys(world, port))
            conn = await stack.enter_async_context(manager.get_connection("far"))
            shell = await stack.enter_async_context(conn.create_shell())
            clients[who] = {
                **_common(conn, await stack.enter_async_context(conn.start_sftp_client())),
                "shell.run": lambda *_, shell=shell: partial(shell.run, "true"),
                "put": lambda source, target, conn=conn: partial(conn.put, source, target),
                "get": lambda source, target, conn=conn: partial(conn.get, source, target),
            }
        if world.has_asyncssh:
            account = {**world.account, "port": port, "known_hosts": str(_keys(world, port))}
            other = await stack.enter_async_context(asyncssh.connect(account))
            clients[ASYNCSSH] = _common(
                other, await stack.enter_async_context(other.start_sftp_client())
            )
        yield clients


def _common(conn: Any, sftp: Any) -> dict[str, Any]:
    """What asyncssh has as well."""
    return {
        "run": lambda *_: partial(conn.run, "true"),
        "SFTP start": lambda *_: partial(_start, conn),
        "SFTP stat": lambda source, _: partial(sftp.stat, str(source)),
        "SFTP put": lambda source, target: partial(sftp.put, str(source), str(target)),
        "SFTP get": lambda source, target: partial(sftp.get, str(source), str(target)),
    }


async def _start(conn: Any) -> None:
    client = await conn.start_sftp_client()
    client.exit()  # its end is nobody's to wait for


def _keys(world: World, port: int) -> Path:
    """The server's host key, known under the relay's port."""
    known = world.directory / f"known.{port}"
    text = world.server.known_hosts_file.read_text("utf-8")
    known.write_text(text.replace(f":{world.server.port} ", f":{port} "), "utf-8")
    return known
