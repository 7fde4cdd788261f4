"""A program that dies with masters and running commands, in every way a program can die."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from sshmux import ConnectionManager
from sshmux.testing import PrivateServer

from ..support import control_directory, masters, nap, processes, sleepers, until

GRACE = 1  # seconds

PROGRAM = textwrap.dedent(
    """
    import asyncio, sys
    from sshmux import ConnectionManager

    host, port, user, key, known, config, seconds = sys.argv[1:]

    async def main():
        manager = ConnectionManager(pool_size=5, grace=1)
        await manager.start()
        manager.register_cluster(
            "c", host, int(port), user, key, known_hosts_file=known, config_file=config
        )

        async def job():
            async with manager.get_connection("c") as connection:
                await connection.run(f"sleep {seconds}")

        await asyncio.gather(*(job() for _ in range(5)))

    asyncio.run(main())
    """
)


@pytest.fixture
def directory() -> Iterator[Path]:
    with control_directory() as made:
        yield made


def start(server: PrivateServer, directory: Path, seconds: str) -> subprocess.Popen[bytes]:
    words = (server.host, server.port, server.username, server.key_file)
    files = (server.known_hosts_file, server.config_file)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, (*words, *files, seconds))],
        env={**os.environ, "SSHMUX_DIR": str(directory)},
        stderr=subprocess.PIPE,
    )


def end(program: subprocess.Popen[bytes]) -> bytes:
    program.wait()
    assert program.stderr is not None
    with program.stderr:
        return program.stderr.read()


async def test_killed_it_leaves_nothing_once_its_commands_have_ended(directory: Path) -> None:
    seconds = nap()
    async with PrivateServer(login_shell="/bin/sh", max_startups="100") as server:
        program = start(server, directory, seconds)
        await until(lambda: len(sleepers(seconds)) == 5)
        assert len(masters(directory)) == 5
        program.kill()
        end(program)
        await asyncio.sleep(GRACE + 1)  # what has to be seen is that nothing happens
        assert len(masters(directory)) == 5, "the commands go on, and so do their masters"
        for sleeper in sleepers(seconds):
            sleeper.kill()
        await until(lambda: not processes(str(directory)) and not os.listdir(directory))
        assert server.logins == 5


async def test_killed_and_swept_by_the_next_start_commands_included(directory: Path) -> None:
    seconds = nap()
    async with PrivateServer(login_shell="/bin/sh", max_startups="100") as server:
        # Somebody else's living master in the same directory: nobody may touch it.
        async with ConnectionManager(control_dir=directory) as neighbour:
            server.register(neighbour, "n")
            async with neighbour.get_connection("n") as connection:
                program = start(server, directory, seconds)
                await until(lambda: len(sleepers(seconds)) == 5)
                program.kill()
                end(program)
                async with ConnectionManager(control_dir=directory):
                    assert sleepers(seconds) == []
                    assert len(masters(directory)) == 1
                assert (await connection.run("echo untouched")).stdout == "untouched\n"


async def test_two_starts_at_once_sweep_without_harm(directory: Path) -> None:
    seconds = nap()
    async with PrivateServer(login_shell="/bin/sh", max_startups="100") as server:
        program = start(server, directory, seconds)
        await until(lambda: len(sleepers(seconds)) == 5)
        program.kill()
        end(program)
        managers = [ConnectionManager(control_dir=directory) for _ in range(4)]
        await asyncio.gather(*(manager.start() for manager in managers))
        assert sleepers(seconds) == []
        assert masters(directory) == []
        await asyncio.gather(*(manager.stop() for manager in managers))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_ended_by_a_signal_without_stop(directory: Path, number: int) -> None:
    seconds = nap()
    async with PrivateServer(login_shell="/bin/sh", max_startups="100") as server:
        program = start(server, directory, seconds)
        await until(lambda: len(sleepers(seconds)) == 5)
        program.send_signal(number)
        errors = end(program)
        if number == signal.SIGINT:  # asyncio.run cancels: the commands end on the remote
            assert sleepers(seconds) == []
            assert b"KeyboardInterrupt" in errors
        for sleeper in sleepers(seconds):
            sleeper.kill()
        await until(lambda: not processes(str(directory)) and not os.listdir(directory))


async def test_a_forgotten_stop_warns_and_leaves_nothing(directory: Path) -> None:
    program = """
import asyncio, sys
from sshmux import ConnectionManager
host, port, user, key, known, config, seconds = sys.argv[1:]
async def main():
    manager = ConnectionManager(grace=1)
    await manager.start()
    manager.register_cluster(
        "c", host, int(port), user, key, known_hosts_file=known, config_file=config
    )
    assert await manager.test_connection("c")
asyncio.run(main())
"""
    async with PrivateServer(login_shell="/bin/sh") as server:
        words = (server.host, server.port, server.username, server.key_file)
        files = (server.known_hosts_file, server.config_file)
        done = subprocess.run(
            [sys.executable, "-W", "default", "-c", program, *map(str, (*words, *files, "1"))],
            env={**os.environ, "SSHMUX_DIR": str(directory)},
            capture_output=True,
            timeout=60,
            check=True,
        )
        assert b"ResourceWarning" in done.stderr
        assert b"never stopped" in done.stderr
        await until(lambda: not processes(str(directory)) and not os.listdir(directory))


def test_one_manager_in_two_event_loops(directory: Path) -> None:
    with PrivateServer(login_shell="/bin/sh") as server:
        manager = ConnectionManager(control_dir=directory)
        server.register(manager, 1)
        for _ in range(2):
            assert asyncio.run(manager.test_connection(1)) is True
            asyncio.run(until(lambda: len(masters(directory)) == 1))  # the first loop's leaves
        asyncio.run(manager.stop())
        asyncio.run(until(lambda: not masters(directory)))  # so does the second one's
    assert os.listdir(directory) == []
