"""A master that hangs (SIGSTOP), or has no descriptors left: said soon, survived, and replaced."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import sshmux
from sshmux import Connection, ConnectionManager
from sshmux.openssh.control.lease import Lease
from sshmux.testing import PrivateServer

from ..support import managed, masters, nap, sleepers, until

pytestmark = pytest.mark.both_engines

Use = Callable[[Connection, asyncio.Event], Awaitable[object]]


async def command(connection: Connection, ready: asyncio.Event) -> None:
    asyncio.get_running_loop().call_later(0.5, ready.set)
    await connection.run(f"sleep {nap()}")


async def next_command(connection: Connection, ready: asyncio.Event) -> None:
    ready.set()
    await asyncio.sleep(0.2)
    await connection.run("echo never")


async def stream(connection: Connection, ready: asyncio.Event) -> None:
    async with connection.create_process("cat") as process:
        process.stdin.write("x\n")
        await process.stdout.readline()
        ready.set()
        assert await process.stdout.readline()


async def sftp(connection: Connection, ready: asyncio.Event) -> None:
    async with connection.start_sftp_client() as client:
        ready.set()
        await asyncio.sleep(0.2)
        await client.listdir("/")


async def through(connection: Connection, ready: asyncio.Event) -> None:
    port = connection.get_extra_info("port")
    reader, writer = await connection.open_connection("127.0.0.1", port)
    await reader.readline()  # the server's own greeting
    ready.set()
    try:
        assert await reader.read()
    finally:
        writer.close()


async def remote_forward(connection: Connection, ready: asyncio.Event) -> None:
    ready.set()
    await asyncio.sleep(0.2)
    await connection.forward_remote_port("localhost", 0, "127.0.0.1", 1)


USES: tuple[Use, ...] = (command, next_command, stream, sftp, through, remote_forward)


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
async def test_a_stopped_master_is_told_and_replaced(
    use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sshmux.session.watch._SOON", 0.3)
    monkeypatch.setattr("sshmux.session.watch._PING", 0.5)
    async with PrivateServer(login_shell="/bin/sh") as server:
        keywords = {"keepalive_interval": 1, "timeout": 3}
        async with managed(server, register=keywords, pool_size=1) as manager:
            pid, took, error = await _stopped_under(manager, use)
            assert isinstance(error, sshmux.Error), error
            assert took < 8
            async with manager.get_connection(1, timeout=20) as connection:
                assert (await connection.run("echo well")).stdout == "well\n"
                assert connection.get_extra_info("master_pid") != pid


async def _stopped_under(manager: ConnectionManager, use: Use) -> tuple[int, float, object]:
    ready = asyncio.Event()
    pids: list[int] = []

    async def work() -> None:
        async with manager.get_connection(1) as connection:
            await connection.run("true")
            pids.append(connection.get_extra_info("master_pid"))
            await use(connection, ready)

    task = asyncio.ensure_future(work())
    await asyncio.wait_for(ready.wait(), 10)
    os.kill(pids[0], signal.SIGSTOP)
    started = time.monotonic()
    await asyncio.wait((task,), timeout=30)
    return pids[0], time.monotonic() - started, task.exception()


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
async def test_a_cancellation_is_back_within_six_seconds(use: Use) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server, pool_size=1) as manager:
            ready = asyncio.Event()
            pids: list[int] = []

            async def work() -> None:
                async with manager.get_connection(1) as connection:
                    await connection.run("true")
                    pids.append(connection.get_extra_info("master_pid"))
                    await use(connection, ready)

            task = asyncio.ensure_future(work())
            await asyncio.wait_for(ready.wait(), 10)
            os.kill(pids[0], signal.SIGSTOP)
            await asyncio.sleep(0.6)
            started = time.monotonic()
            task.cancel()
            done, _ = await asyncio.wait((task,), timeout=20)
            took = time.monotonic() - started
            os.kill(pids[0], signal.SIGKILL)
            assert done
            assert task.cancelled()
            assert took < 6


async def test_a_program_that_was_stopped_for_longer_than_a_ping_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop finds the answer and the end of its patience in one turn: the answer counts."""
    monkeypatch.setattr("sshmux.session.watch._SOON", 0.2)
    monkeypatch.setattr("sshmux.session.watch._PING", 0.2)
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            running = asyncio.ensure_future(connection.run("sleep 2; echo on"))
            for _ in range(4):
                await asyncio.sleep(0.21)
                time.sleep(0.3)
            assert (await running).stdout == "on\n"


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux: prlimit")
@pytest.mark.parametrize("room", [0, 1, 2, 3])
async def test_a_master_without_descriptors_runs_nothing_and_is_replaced(
    room: int, tmp_path: Path
) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server, pool_size=1) as manager:
            long = nap()
            async with manager.get_connection(1) as connection:
                running = asyncio.ensure_future(connection.run(f"sleep {long}; echo on"))
                await until(lambda: sleepers(long))
                pid = connection.get_extra_info("master_pid")
                limit = _leave_room(pid, room)
                with pytest.raises(sshmux.ConnectionLost, match="no descriptors left") as lost:
                    async with asyncio.timeout(10):
                        await connection.run(f"touch {tmp_path}/ran; echo x")
                assert lost.value.started is not True
                assert not running.done()  # what runs, runs on
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
                for process in sleepers(long):
                    process.kill()
                assert (await running).stdout == "on\n"
            assert not (tmp_path / "ran").exists()
            async with manager.get_connection(1) as connection:
                assert connection.get_extra_info("master_pid") != pid


def _leave_room(pid: int, room: int) -> tuple[int, int]:
    """Lets a process open so many more descriptors. Returns the limits that it had."""
    used = {int(each) for each in os.listdir(f"/proc/{pid}/fd")}
    limit = 0
    while limit - len([each for each in used if each < limit]) < room or limit in used:
        limit += 1
    limit = max(limit, max(used) + 1 if room == 0 else 0)
    had = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, had[1]))
    return had


@pytest.mark.parametrize("taken", [False, True], ids=["its socket is there", "its socket is gone"])
async def test_a_master_that_hangs_as_soon_as_it_is_there_is_not_left(
    taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can ask for its pid then: it is found all the same, or it would stay for ever."""
    take, stopped = Lease.take, list[psutil.Process]()

    async def stopping(path: Path, *words: Any) -> Any:
        if not stopped:
            for each in masters(path.parent):
                each.suspend()
                stopped.append(each)
            if taken:
                path.unlink()
            words = (words[0], 0.5)
        return await take(path, *words)

    monkeypatch.setattr(Lease, "take", stopping)
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server, pool_size=1, dial_attempts=1) as manager:
            with pytest.raises(sshmux.DisconnectError):
                async with manager.get_connection(1):
                    pass
            assert len(stopped) == 1
            left = stopped[0]
            assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE
