"""The table of faults: what may happen, while what is done, and what is right then.

A cell is a fault in a situation on an engine, really done: see `test_table.py`. `scripts/faults`
runs all of them and writes the table of docs/reliability.md from what it saw.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from sshmux import Connection, ConnectionManager, Prompt
from sshmux.testing import PrivateServer

from ..support import masters, until
from .namespace import Link
from .relay import Relay

SIZE = 12_000_000  # bytes that are moved: more than fits into the buffers on the way
RATE = 8_000_000
PASSWORD = "open sesame"

Outcome = Literal["lost", "goes on"]


@dataclass
class World:
    """What a fault can be done to."""

    server: PrivateServer
    relay: Relay
    local: Path
    remote: Path
    directory: Path
    link: Link | None = None  # the relay's, where it is in a namespace of its own
    manager: ConnectionManager | None = None
    asked: Callable[[], Awaitable[None]] | None = None  # what happens while a user is asked
    master: int = 0
    socket: Path = Path()

    async def answer(self, _: Prompt) -> str:
        """The user's answer to a prompt."""
        if (asked := self.asked) is not None:
            self.asked = None
            await asked()
        return PASSWORD

    def use_dialling(self) -> None:
        """The log-in that is under way is meant."""
        for process in masters(self.directory):
            line = process.info["cmdline"]
            self.master = process.pid
            self.socket = Path(line[line.index("-S") + 1])

    def use(self, connection: Connection) -> None:
        """This is the connection that is meant."""
        self.master = connection.get_extra_info("master_pid")
        self.socket = Path(connection.get_extra_info("control_path"))


@dataclass(frozen=True)
class Fault:
    """Something that happens.

    Attributes:
        words: what it is, for the table.
        apply: does it.
        outcome: what becomes of that which is under way.
        bound: seconds until whoever waits knows, at the most.
        heal: undoes what would be in the way of a new connection.
        linked: it happens to a link between network namespaces.
    """

    words: str
    apply: Callable[[World], Awaitable[None]]
    outcome: Outcome
    bound: float = 4.0
    heal: Callable[[World], None] = lambda _: None
    linked: bool = False


def signalled(number: int) -> Callable[[World], Awaitable[None]]:
    async def apply(world: World) -> None:
        os.kill(world.master, number)

    return apply


async def _drop(world: World) -> None:
    world.server.drop_connections()


async def _restart(world: World) -> None:
    await world.server.stop()
    await world.server.start()


async def _freeze(world: World) -> None:
    world.server.freeze()


async def _hole(world: World) -> None:
    world.relay.hole()


async def _reset(world: World) -> None:
    world.relay.reset()


async def _no_descriptors(world: World) -> None:
    used = max(int(each) for each in os.listdir(f"/proc/{world.master}/fd"))
    hard = resource.prlimit(world.master, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(world.master, resource.RLIMIT_NOFILE, (used + 1, hard))


async def _socket_removed(world: World) -> None:
    world.socket.unlink(missing_ok=True)


async def _socket_replaced(world: World) -> None:
    world.socket.unlink(missing_ok=True)
    world.socket.write_text("")


async def _directory_removed(world: World) -> None:
    shutil.rmtree(world.socket.parent)


def _directory_again(world: World) -> None:
    world.socket.parent.mkdir(mode=0o700, exist_ok=True)


def _link(world: World) -> Link:
    assert world.link is not None
    return world.link


async def _link_down(world: World) -> None:
    _link(world).down()


async def _link_blinks(world: World) -> None:
    _link(world).down()
    asyncio.get_running_loop().call_later(1, _link(world).up)


async def _one_way(world: World) -> None:
    if (problem := _link(world).swallow()) is not None:
        pytest.skip(problem)


async def _loss(world: World) -> None:
    if (problem := _link(world).lose(0.1)) is not None:
        pytest.skip(problem)


FAULTS = {
    "server-killed": Fault("the server's processes are killed", _drop, "lost"),
    "server-restarted": Fault("the server is restarted", _restart, "lost"),
    "server-frozen": Fault(
        "the server is frozen (SIGSTOP)", _freeze, "lost", 9, lambda world: world.server.thaw()
    ),
    "network-gone": Fault(
        "the network swallows everything", _hole, "lost", 9, lambda world: world.relay.flow()
    ),
    "network-reset": Fault("the connection is reset", _reset, "lost"),
    "link-down": Fault(
        *("the link goes down", _link_down, "lost", 9, lambda world: _link(world).up(), True)
    ),
    "link-blinks": Fault(
        *("the link is down for a second", _link_blinks, "goes on", 6),
        linked=True,
    ),
    "one-way": Fault(
        *("the network swallows what comes from the server", _one_way, "lost", 9),
        *(lambda world: _link(world).lose_nothing(), True),
    ),
    "packets-lost": Fault(
        *("a tenth of all packets is lost", _loss, "goes on", 15),
        *(lambda world: _link(world).lose_nothing(), True),
    ),
    "master-killed": Fault("the master is killed", signalled(signal.SIGKILL), "lost"),
    "master-ended": Fault("the master gets SIGTERM", signalled(signal.SIGTERM), "lost"),
    "master-stopped": Fault("the master is stopped", signalled(signal.SIGSTOP), "lost", 9),
    "master-full": Fault("the master has no descriptors left", _no_descriptors, "goes on", 6),
    "socket-removed": Fault("the control socket is removed", _socket_removed, "goes on"),
    "socket-replaced": Fault("the control socket is replaced", _socket_replaced, "goes on"),
    "directory-removed": Fault(
        "the control directory is removed", _directory_removed, "goes on", 4, _directory_again
    ),
}

Situation = Callable[[Connection, World, Callable[[], object], asyncio.Event], Awaitable[object]]


async def lent(
    connection: Connection, world: World, ready: Callable[[], object], done: asyncio.Event
) -> object:
    """A connection is held, and used after it. Nothing was under way."""
    ready()
    await done.wait()
    return (await connection.run("echo done")).stdout


async def running(
    connection: Connection, world: World, ready: Callable[[], object], done: asyncio.Event
) -> object:
    """A command runs."""
    asyncio.get_running_loop().call_later(0.3, ready)
    return (await connection.run("sleep 1.5; echo done")).stdout


async def timed(
    connection: Connection, world: World, ready: Callable[[], object], done: asyncio.Event
) -> object:
    """A command runs that is to be ended by its timeout."""
    asyncio.get_running_loop().call_later(0.3, ready)
    return (await connection.run("sleep 30; echo done", timeout=1.5)).stdout


async def streaming(
    connection: Connection, world: World, ready: Callable[[], object], done: asyncio.Event
) -> object:
    """A process is read line by line."""
    lines = 0
    command = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.2; done"
    async with connection.create_process(command) as process:
        async for _ in process.stdout:
            lines += 1
            if lines == 2:
                ready()
        await process.wait(check=True)
    assert lines == 8, f"a clean end after {lines} lines of 8"
    return "done\n"


async def putting(
    connection: Connection, world: World, ready: Callable[[], object], done: asyncio.Event
) -> object:
    """A file is sent."""
    (world.local / "source").write_bytes(os.urandom(SIZE))
    world.relay.rate = RATE
    asyncio.get_running_loop().call_later(0.3, ready)
    await connection.put(world.local / "source", world.remote / "target")
    assert (world.remote / "target").stat().st_size == SIZE
    return "done\n"


async def getting(
    connection: Connection, world: World, ready: Callable[[], object], done: asyncio.Event
) -> object:
    """A file is fetched."""
    (world.remote / "source").write_bytes(os.urandom(SIZE))
    world.relay.rate = RATE
    asyncio.get_running_loop().call_later(0.3, ready)
    await connection.get(world.remote / "source", world.local / "target")
    assert (world.local / "target").stat().st_size == SIZE
    return "done\n"


async def sftp(
    connection: Connection, world: World, ready: Callable[[], object], done: asyncio.Event
) -> object:
    """A file is sent over SFTP."""
    (world.local / "source").write_bytes(os.urandom(SIZE))
    world.relay.rate = RATE
    async with connection.start_sftp_client() as client:
        asyncio.get_running_loop().call_later(0.3, ready)
        await client.put(world.local / "source", world.remote / "target")
    assert (world.remote / "target").stat().st_size == SIZE
    return "done\n"


async def forwarding(
    connection: Connection, world: World, ready: Callable[[], object], done: asyncio.Event
) -> object:
    """A stream goes through the connection."""

    serving: list[asyncio.Task[None] | None] = []

    async def later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        writer.write(b"a")
        await asyncio.sleep(1.5)
        writer.write(b"b")
        writer.close()

    server = await asyncio.start_server(later, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await connection.open_connection("127.0.0.1", port)
        try:
            assert await reader.readexactly(1) == b"a"
            ready()
            assert await reader.read() == b"b", "a clean end before the end"
        finally:
            writer.close()
    finally:
        server.close()
        for task in serving:
            if task is not None:
                task.cancel()
        await asyncio.gather(*filter(None, serving), return_exceptions=True)
    return "done\n"


async def dialling(
    connection: Connection | None, world: World, ready: Callable[[], object], done: asyncio.Event
) -> object:
    """A log-in is under way."""
    assert world.manager is not None
    world.relay.delay = 0.15

    async def under_way() -> None:
        await until(lambda: masters(world.directory))
        await asyncio.sleep(0.3)
        world.use_dialling()
        ready()

    task = asyncio.ensure_future(under_way())
    try:
        async with world.manager.get_connection("it") as made:
            world.relay.delay = 0
            return (await made.run("echo done")).stdout
    finally:
        world.relay.delay = 0
        await task


async def asked(
    connection: Connection | None, world: World, ready: Callable[[], object], done: asyncio.Event
) -> object:
    """A user is asked for a password."""

    async def waiting() -> None:
        world.use_dialling()
        ready()
        await done.wait()
        await asyncio.sleep(0.3)

    assert world.manager is not None
    world.asked = waiting
    async with world.manager.get_connection("it") as made:
        return (await made.run("echo done")).stdout


SITUATIONS: dict[str, Situation] = {
    each.__name__: each
    for each in (lent, running, timed, streaming, putting, getting, sftp, forwarding)
}
LOG_INS = {each.__name__: each for each in (dialling, asked)}
