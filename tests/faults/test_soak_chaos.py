"""A long run with everything going wrong at random: nothing hangs, nothing is done twice or left.

Each command writes a token of its own on the remote. Afterwards what callers were told of it is
compared with what is there: none twice, none claimed that is not there, none there that "was not
started". Five clusters on two servers, a manager for each engine, fifty tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

import sshmux
from sshmux import Connection, ConnectionManager
from sshmux.testing import PrivateServer

from ..support import control_directory, masters, nap, nothing_left, sleepers, together

SECONDS = float(os.environ.get("SSHMUX_SOAK_SECONDS", "20"))
SEED = int(os.environ.get("SSHMUX_SOAK_SEED", str(random.SystemRandom().randrange(10**9))))
ENGINES = ("ssh", "mux")
CLUSTERS = 5
WORKERS = 25  # of each engine
POOL_SIZE = 3
LONG = SECONDS >= 240  # long enough for a slope

# What may be told on a bad day. Whatever else is raised ends the run.
TROUBLE = (
    *(sshmux.ConnectionLost, sshmux.ConnectTimeout, sshmux.AcquireTimeout, sshmux.ServerHungUp),
    *(sshmux.ConnectionRefused, sshmux.ChannelOpenError, sshmux.ProcessTimeout, sshmux.ShellLost),
)


@dataclass
class World:
    """Everything that is going on.

    Attributes:
        remote: where commands write their tokens.
        claims: a line each: the token and what its caller was told. A file: memory is measured.
    """

    servers: list[PrivateServer]
    managers: dict[str, ConnectionManager]
    directories: dict[str, Path]
    remote: Path
    local: Path
    nap: str
    end: float
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))
    told: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.claims = (self.local / "claims").open("w", encoding="utf-8")

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.end

    @property
    def written(self) -> Path:
        """The file of tokens."""
        return self.remote / "tokens"

    def claim(self, token: str, what: str) -> None:
        self.claims.write(f"{token} {what}\n")


# What is done. Each gets a token, and returns only if the token has been written.


async def plain(world: World, connection: Connection, token: str) -> None:
    result = await connection.run(f"echo {token} >>{world.written}; echo {token}", timeout=30)
    assert (result.stdout, result.exit_status) == (f"{token}\n", 0), result


async def with_input(world: World, connection: Connection, token: str) -> None:
    command = f"cat >>{world.written}; echo {token}"
    result = await connection.run(command, input=f"{token}\n", timeout=30)
    assert (result.stdout, result.exit_status) == (f"{token}\n", 0), result


async def much(world: World, connection: Connection, token: str) -> None:
    command = f"echo {token} >>{world.written}; head -c 1000000 /dev/zero"
    result = await connection.run(command, timeout=30)
    assert (len(result.stdout), result.exit_status) == (1_000_000, 0)


async def streamed(world: World, connection: Connection, token: str) -> None:
    command = f"echo {token} >>{world.written}; for i in 1 2 3; do echo $i; sleep 0.1; done"
    async with connection.create_process(command) as process:
        lines = [line async for line in process.stdout]
        await process.wait(check=True, timeout=30)
    assert lines == ["1\n", "2\n", "3\n"]


async def timed_out(world: World, connection: Connection, token: str) -> None:
    own = world.remote / "pids" / token
    command = f"echo $$ >{own}; echo {token} >>{world.written}; exec sleep {world.nap}"
    try:
        with pytest.raises(sshmux.ProcessTimeout) as caught:
            await connection.run(command, timeout=0.3)
        if "ended on the remote as well" in str(caught.value) and own.exists():
            with contextlib.suppress(FileNotFoundError):
                line = Path(f"/proc/{own.read_text().strip()}/cmdline").read_bytes()
                assert world.nap.encode() not in line, f"{token} goes on: {caught.value}"
    finally:
        own.unlink(missing_ok=True)
    raise caught.value


class GivenUp(Exception):
    """It was cancelled, as it was to be."""


async def cancelled(world: World, connection: Connection, token: str) -> None:
    command = f"echo {token} >>{world.written}; exec sleep {world.nap}"
    task = asyncio.ensure_future(connection.run(command))
    await asyncio.wait((task,), timeout=world.chance.random() / 4)
    task.cancel()
    await asyncio.wait((task,))
    if task.cancelled():
        raise GivenUp
    raise AssertionError(task.result()) if task.exception() is None else task.exception()


async def moved(world: World, connection: Connection, token: str) -> None:
    source, target = world.local / token, world.remote / "files" / token
    back = world.local / f"{token}-back"
    source.write_text(token * 5000)
    try:
        await connection.put(source, target)
        await connection.get(target, back)
        assert back.read_text() == token * 5000
        await plain(world, connection, token)
    finally:
        for path in (source, target, back):
            path.unlink(missing_ok=True)


async def over_sftp(world: World, connection: Connection, token: str) -> None:
    target = world.remote / "files" / token
    try:
        async with connection.start_sftp_client() as client:
            async with client.open(target, "w") as file:
                await file.write(token)
            assert await client.getsize(target) == len(token)
        await plain(world, connection, token)
    finally:
        target.unlink(missing_ok=True)


WORK: list[Callable[[World, Connection, str], Awaitable[None]]] = [
    *(plain, plain, plain, plain, with_input, much, streamed, timed_out, cancelled),
    *(moved, over_sftp),
]


async def work(world: World, engine: str) -> None:
    manager = world.managers[engine]
    while not world.over:
        kind = world.chance.choice(WORK)
        cluster = world.chance.randrange(CLUSTERS)
        token = f"{engine}-{next(world.numbers)}"
        what = await _once(world, manager, cluster, kind, token)
        world.told[what] += 1


async def _once(
    world: World,
    manager: ConnectionManager,
    cluster: int,
    kind: Callable[[World, Connection, str], Awaitable[None]],
    token: str,
) -> str:
    """Does it once, and writes down what that means for the token."""
    began = False
    try:
        async with manager.get_connection(cluster, timeout=30) as connection:
            began = True
            await kind(world, connection, token)
    except GivenUp:
        world.claim(token, "unknown")
        return "cancelled"
    except (*TROUBLE, sshmux.TransferError, sshmux.SFTPError) as error:
        started = getattr(error, "started", None) if began else False
        # With files, the token is written by the last of several commands.
        single = kind not in (moved, over_sftp)
        world.claim(token, "no" if started is False and (single or not began) else "unknown")
        return type(error).__name__
    world.claim(token, "yes")
    return "done"


# What happens to it


def kill(world: World, victim: psutil.Process) -> None:
    victim.kill()


def end(world: World, victim: psutil.Process) -> None:
    victim.terminate()


def remove_socket(world: World, victim: psutil.Process) -> None:
    line = victim.cmdline()
    Path(line[line.index("-S") + 1]).unlink()


def replace_socket(world: World, victim: psutil.Process) -> None:
    line = victim.cmdline()
    path = Path(line[line.index("-S") + 1])
    path.unlink()
    path.write_text("")


def starve(world: World, victim: psutil.Process) -> None:
    line = victim.cmdline()
    if not Path(line[line.index("-S") + 1]).exists():
        return  # it logs in still: without descriptors it cannot read its key
    used = max(int(each) for each in os.listdir(f"/proc/{victim.pid}/fd"))
    hard = resource.prlimit(victim.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, (used + 1, hard))


def stop_for_good(world: World, victim: psutil.Process) -> None:
    victim.send_signal(signal.SIGSTOP)


TO_MASTERS = [kill, end, remove_socket, replace_socket, starve, stop_for_good]


async def disturb(world: World) -> None:
    """One thing after the other."""
    while not world.over:
        await asyncio.sleep(world.chance.uniform(0.2, 1.0))  # the pace of trouble, not a wait
        server = world.chance.choice(world.servers)
        kind = world.chance.choice(("drop", "freeze", "restart", "pause", *TO_MASTERS))
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            if callable(kind):
                directory = world.directories[world.chance.choice(ENGINES)]
                if not (living := masters(directory)):
                    continue
                kind(world, world.chance.choice(living))
                world.faults[kind.__name__] += 1
                continue
            if kind == "drop":
                server.drop_connections()
            elif kind == "freeze":
                server.freeze()
                await asyncio.sleep(0.5)
                server.thaw()
            elif kind == "restart":
                await server.stop()
                await server.start()
            elif living := masters(world.directories[world.chance.choice(ENGINES)]):
                victim = world.chance.choice(living)
                victim.send_signal(signal.SIGSTOP)
                await asyncio.sleep(0.5)
                victim.send_signal(signal.SIGCONT)
            world.faults[kind] += 1


@dataclass
class Figures:
    """What the program took, once a second."""

    memory: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    most_masters: int = 0

    async def watch(self, world: World) -> None:
        own = psutil.Process()
        while not world.over:
            self.memory.append(own.memory_info().rss)
            self.descriptors.append(own.num_fds())
            self.threads.append(own.num_threads())
            for directory in world.directories.values():
                by_cluster = Counter(
                    Path(line[line.index("-S") + 1]).name.split(".")[0]
                    for line in (process.info["cmdline"] for process in together(directory))
                )
                self.most_masters = max(self.most_masters, *by_cluster.values(), 0)
            await asyncio.sleep(1)

    def grown(self, figures: list[int]) -> float:
        """By how much it grew in the second half, by the straight line through it."""
        half = figures[len(figures) // 2 :]
        count, middle = len(half), (len(half) - 1) / 2
        mean = sum(half) / count
        above = sum((at - middle) * (each - mean) for at, each in enumerate(half))
        return above / sum((at - middle) ** 2 for at in range(count)) * count


def judge(world: World) -> None:
    """What was told, against what is there."""
    world.claims.close()
    there = Counter(world.written.read_text("utf-8").split())
    twice = [token for token, times in there.items() if times > 1]
    assert not twice, f"done twice: {twice[:5]}"
    lines = (world.local / "claims").read_text("utf-8").splitlines()
    told = dict(line.split(" ") for line in lines)
    missing = [token for token, what in told.items() if what == "yes" and token not in there]
    assert not missing, f"claimed, and not done: {missing[:5]}"
    denied = [token for token, what in told.items() if what == "no" and token in there]
    assert not denied, f"said not to have run, and done: {denied[:5]}"


@pytest.mark.soak
@pytest.mark.timeout(int(SECONDS) + 240)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sets limits of others")
async def test_chaos(tmp_path: Path) -> None:
    print(f"SSHMUX_SOAK_SEED={SEED}")
    local, remote = tmp_path / "here", tmp_path / "there"
    for path in (local, remote / "files", remote / "pids"):
        path.mkdir(parents=True)
    (remote / "tokens").touch()
    figures = Figures()
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(PrivateServer(login_shell="/bin/sh")) for _ in range(2)
        ]
        await stack.enter_async_context(nothing_left())
        directories = {each: stack.enter_context(control_directory()) for each in ENGINES}
        managers = {
            engine: await stack.enter_async_context(
                ConnectionManager(
                    *(POOL_SIZE,),
                    engine=engine,
                    control_dir=directories[engine],
                    health_interval=2,
                    drain_timeout=0.5,
                )
            )
            for engine in ENGINES
        }
        for manager in managers.values():
            for cluster in range(CLUSTERS):
                servers[cluster % 2].register(manager, cluster, keepalive_interval=2, timeout=15)
        end = time.monotonic() + SECONDS
        world = World(servers, managers, directories, remote, local, nap(), end)
        try:
            async with asyncio.TaskGroup() as group:
                for engine in ENGINES * WORKERS:
                    group.create_task(work(world, engine))
                group.create_task(disturb(world))
                group.create_task(figures.watch(world))
            for manager in managers.values():  # however bad it was, it works again
                for cluster in range(CLUSTERS):
                    async with manager.get_connection(cluster, timeout=30) as connection:
                        assert (await connection.run("echo well")).stdout == "well\n"
        finally:
            print(_report(world, figures))
    for left in sleepers(world.nap):  # the rule, when a link is lost: nobody can end them
        left.kill()
    judge(world)
    assert not list((remote / "files").iterdir())
    assert {path.name for path in local.iterdir()} == {"claims"}
    assert world.told["done"] > WORKERS
    assert figures.most_masters <= POOL_SIZE
    if LONG:
        logs = sum(len(server.log) for server in servers)  # kept in this process, too
        assert figures.grown(figures.memory) < 8_000_000 + 2 * logs
        assert figures.grown(figures.descriptors) < 40
        assert figures.grown(figures.threads) < 5


def _report(world: World, figures: Figures) -> str:
    lines = [
        f"{SECONDS:g} s, {sum(world.told.values())} commands, {sum(world.faults.values())} faults",
        ", ".join(f"{what} {times}" for what, times in world.told.most_common()),
        ", ".join(f"{what} {times}" for what, times in world.faults.most_common()),
        f"most masters of a cluster: {figures.most_masters}",
    ]
    for name in ("memory", "descriptors", "threads"):
        seen = getattr(figures, name)
        if len(seen) > 3:
            lines.append(f"{name}: {min(seen)} to {max(seen)}, grew by {figures.grown(seen):.0f}")
    return "\n".join(lines)
