"""Much output of one command, into memory and into a file, and much input."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from sshmux import Connection

from .contestants import Contestant, Coroutines
from .figures import ASYNCSSH, BARE, FLOOR, MUX, OURS, Figure, Goal
from .floor import Floor
from .measure import Contender, column
from .peers import NET_OPENSSH, PARALLEL, PARAMIKO
from .sessions import control_path, run_on
from .world import World

_SHELL = "ssh -S … > file"
_PEERS = (ASYNCSSH, PARAMIKO, PARALLEL, NET_OPENSSH)  # fabric is paramiko, with text only
_CIPHERS = "each with its own first choice: chacha20-poly1305, but paramiko aes128-ctr"


def _peers(world: World) -> tuple[str, ...]:
    """Without the slowest, where it would have everybody wait."""
    return tuple(name for name in _PEERS if name != PARALLEL or not world.plan.thorough)


async def into_memory(world: World) -> AsyncIterator[Figure]:
    """stdout as one bytes object."""
    size = world.plan.megabytes * 1024 * 1024
    command = f"head -c {size} /dev/zero"
    async with world.lent() as lent, world.peers(_peers(world), 1) as peers:
        floor = Floor(control_path(lent.get(MUX, lent[OURS])))
        turns: dict[str, Contender] = {
            who: partial(each.crowd, 1, 1, command, output=size)
            for who, each in _contestants(world, lent, peers).items()
        }
        turns[FLOOR] = partial(floor.bulk, command, size)
        found = await world.race(turns, rounds=world.plan.rounds_of_seconds(), warm_up=0)
    yield Figure(
        "bulk.time",
        f"{world.plan.megabytes} MiB of stdout into memory",
        "MiB/s",
        column(found, "seconds"),
        (Goal(2.3, ASYNCSSH, MUX), Goal(1.5, BARE)),
        amount=world.plan.megabytes,
        note=f"{BARE}: asyncio's own subprocess pipes; {_CIPHERS}\n"
        f"the {FLOOR} reads plain pipes in small pieces: it is none here",
    )
    title = "the program's own processor time for it"
    yield Figure("bulk.cpu", title, "ms", column(found, "own_cpu"))


async def from_memory(world: World) -> AsyncIterator[Figure]:
    """stdin from one bytes object."""
    size = world.plan.megabytes * 1024 * 1024
    async with world.lent() as lent, world.peers(_peers(world), 1) as peers:
        turns: dict[str, Contender] = {
            who: partial(each.crowd, 1, 1, "cat >/dev/null", input=size)
            for who, each in _contestants(world, lent, peers).items()
        }
        found = await world.race(turns, rounds=world.plan.rounds_of_seconds(), warm_up=0)
    yield Figure(
        "upload.time",
        f"{world.plan.megabytes} MiB from memory into stdin",
        "MiB/s",
        column(found, "seconds"),
        amount=world.plan.megabytes,
        note=_CIPHERS,
    )
    title = "the program's own processor time for it"
    yield Figure("upload.cpu", title, "ms", column(found, "own_cpu"))


def _contestants(
    world: World, lent: dict[str, Connection], peers: dict[str, Contestant]
) -> dict[str, Contestant]:
    ours = {who: Coroutines(partial(run_on, conn)) for who, conn in lent.items()}
    return {**ours, BARE: world.bare([control_path(lent[OURS])]), **peers}


# Into a file


async def into_file(world: World) -> AsyncIterator[Figure]:
    """stdout to a file, against the shell's own way to do it."""
    size = world.plan.megabytes * 1024 * 1024
    command = f"head -c {size} /dev/zero"
    target = world.directory / "output"
    others = 1 if world.has_asyncssh else 0
    async with world.lent() as lent, world.asyncssh_connections(others) as opened:
        work: dict[str, Callable[[], Awaitable[object]]] = {
            who: partial(_to_file, conn, command, target) for who, conn in lent.items()
        }
        socket = control_path(lent[OURS])
        work[_SHELL] = partial(_by_shell, world.session_line(socket, command), target)
        for conn in opened:
            work[ASYNCSSH] = partial(_by_asyncssh, conn, command, target)
        turns: dict[str, Contender] = {
            who: partial(_timed, each, target, size) for who, each in work.items()
        }
        found = await world.race(turns, rounds=world.plan.rounds_of_seconds(), warm_up=0)
    yield Figure(
        "file.time",
        f"{world.plan.megabytes} MiB of stdout into a file",
        "MiB/s",
        column(found, "seconds"),
        (Goal(0.97, _SHELL), Goal(0.97, _SHELL, MUX)),
        amount=world.plan.megabytes,
        note="the shell line is run by subprocess.run",
    )
    title = "the program's own processor time for it"
    yield Figure("file.cpu", title, "ms", column(found, "own_cpu"))


async def _to_file(conn: Connection, command: str, target: Path) -> None:
    await conn.run(command, check=True, stdout=target)


async def _by_shell(line: list[str], target: Path) -> None:
    script = f"{shlex.join(line)} > {shlex.quote(str(target))}"
    run: Any = partial(subprocess.run, ["/bin/sh", "-c", script], stdin=subprocess.DEVNULL)
    await asyncio.to_thread(run, check=True)


async def _by_asyncssh(conn: Any, command: str, target: Path) -> None:
    await conn.run(command, check=True, encoding=None, stdout=str(target))


async def _timed(
    work: Callable[[], Awaitable[object]], target: Path, size: int
) -> dict[str, float]:
    begun, cpu = time.perf_counter(), time.process_time()
    await work()
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    _take_away(target, size)
    return {"seconds": seconds, "own_cpu": cpu}


def _take_away(target: Path, size: int) -> None:
    """Nobody pays for emptying another's file."""
    written = target.stat().st_size
    target.unlink()
    if written != size:
        raise RuntimeError(f"{written} bytes were written, not {size}")
