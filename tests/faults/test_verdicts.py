"""What is said of a command was seen: that it ran, that it ended, that its input was its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import sshmux
from sshmux import Connection
from sshmux.testing import PrivateServer

from ..support import managed, nap, sleepers, until

pytestmark = pytest.mark.both_engines


# A status is a command's only if the command began


def _file(path: Path) -> None:
    path.write_text("not a socket")


def _dead(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))


def _deaf(path: Path) -> None:
    other = socket.socket(socket.AF_UNIX)
    other.bind(str(path))
    other.listen()
    asyncio.get_running_loop().call_later(1, other.close)


def _nothing(path: Path) -> None:
    """Removed, and that is all."""


@pytest.mark.parametrize("replace", [_file, _dead, _nothing, _deaf])
async def test_a_control_socket_that_is_anothers(
    replace: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sshmux.session.watch._SOON", 0.3)
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server, pool_size=1) as manager:
            async with manager.get_connection(1) as connection:
                await connection.run("true")
                path = Path(connection.get_extra_info("control_path"))
                path.unlink()
                replace(path)
                with pytest.raises(sshmux.ConnectionLost) as lost:
                    async with asyncio.timeout(15):
                        await connection.run("echo never")
                assert lost.value.started is not True
            async with manager.get_connection(1) as connection:
                assert (await connection.run("echo well")).stdout == "well\n"


def _shell(directory: Path, start_up: str) -> Path:
    path = directory / "shell"
    path.write_text(f"#!/bin/sh\n{start_up}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("start_up", ["exec sh", "exec sleep 20", "exec cat >/dev/null"])
async def test_input_is_read_by_nothing_but_the_command(start_up: str, tmp_path: Path) -> None:
    script = f"touch {tmp_path}/executed\n"
    (tmp_path / "job.sh").write_text(script)
    # As bash does it with a .bashrc that ends so.
    async with PrivateServer(login_shell=_shell(tmp_path, start_up)) as server:

        async def run(connection: Connection) -> None:
            await connection.run("cat", input=script)

        async def from_file(connection: Connection) -> None:
            async with connection.create_process("cat", stdin=tmp_path / "job.sh") as process:
                await process.wait()

        async def by_hand(connection: Connection) -> None:
            async with connection.create_process("cat") as process:
                process.stdin.write(script)
                process.stdin.write_eof()
                await process.wait()

        async def relayed(connection: Connection) -> None:
            with (tmp_path / "job.sh").open("rb") as file:
                await connection.relay("cat", stdin=file.fileno(), stdout=print, stderr=print)

        async def put(connection: Connection) -> None:
            await connection.put(tmp_path / "job.sh", tmp_path / "put")

        async with managed(server, register={"timeout": 2}, pool_size=5) as manager:

            async def refused(use: Callable[[Connection], Awaitable[None]]) -> None:
                async with manager.get_connection(1) as connection:
                    with pytest.raises(sshmux.Error):
                        async with asyncio.timeout(20):
                            await use(connection)

            uses = [run, from_file, by_hand, relayed, put]
            if "sleep" in start_up:
                uses.remove(put)  # it asks before it sends, and that takes as long as the answer
            await asyncio.gather(*map(refused, uses))
        assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("size", [0, 1, 70_000, 5_000_000])
async def test_input_from_every_kind_of_descriptor_arrives_whole(size: int, tmp_path: Path) -> None:
    data = os.urandom(size)
    path = tmp_path / "data"
    path.write_bytes(data)
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            got = await connection.run("cat", input=data, encoding=None)
            assert got.stdout == data
            async with connection.create_process("cat", stdin=path, encoding=None) as process:
                assert (await process.wait()).stdout == data
            with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as source:
                assert source.stdout is not None
                async with connection.create_process(
                    "cat", stdin=source.stdout, encoding=None
                ) as process:
                    assert (await process.wait()).stdout == data


async def test_a_command_that_was_not_run_is_no_success(tmp_path: Path) -> None:
    async with PrivateServer(login_shell=_shell(tmp_path, "exec sh")) as server:
        async with managed(server) as manager, manager.get_connection(1) as connection:
            with pytest.raises(sshmux.ChannelOpenError, match="nothing tells"):
                await connection.run("touch never")
    async with PrivateServer(login_shell="/bin/sh", options={"ForceCommand": "true"}) as server:
        async with managed(server, register={"remote_shell": "none"}) as manager:
            async with manager.get_connection(1) as connection:
                assert (await connection.run("ignored")).exit_status == 0


# What became of a command whose time ran out


async def test_time_that_runs_out_while_the_link_is_lost() -> None:
    long = nap()
    async with PrivateServer(login_shell="/bin/sh") as server:
        keywords = {"keepalive_interval": 1}
        async with managed(server, register=keywords) as manager:
            async with manager.get_connection(1) as connection:
                running = asyncio.ensure_future(connection.run(f"sleep {long}", timeout=2))
                await until(lambda: sleepers(long))
                server.freeze()
                try:
                    with pytest.raises(sshmux.ProcessTimeout, match="may still run"):
                        await running
                    assert sleepers(long)
                finally:
                    server.thaw()
        for process in sleepers(long):
            process.kill()


async def test_time_that_runs_out_before_it_is_sent() -> None:
    async with PrivateServer(login_shell="/bin/sh", max_sessions=2) as server:
        async with managed(server, register={"max_sessions": 2}) as manager:
            async with manager.get_connection(1) as connection:
                first = asyncio.ensure_future(connection.run("sleep 2"))
                await asyncio.sleep(0.3)
                with pytest.raises(sshmux.ProcessTimeout, match="was not sent"):
                    await connection.run("echo x", timeout=0.5)
                await first


async def test_time_that_runs_out_and_the_end_is_seen() -> None:
    long = nap()
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            with pytest.raises(sshmux.ProcessTimeout, match="ended on the remote as well"):
                await connection.run(f"sleep {long}", timeout=1)
            assert not sleepers(long)


async def test_a_forced_command_that_waits_for_the_shell_that_it_starts() -> None:
    """The shell leads no process group then: its `$$` is no group's number."""
    long = nap()
    forced = 'sh -c "$SSH_ORIGINAL_COMMAND"; exit $?'
    async with PrivateServer(login_shell="/bin/sh", options={"ForceCommand": forced}) as server:
        async with managed(server) as manager, manager.get_connection(1) as connection:
            with pytest.raises(sshmux.ProcessTimeout, match="ended on the remote as well"):
                await connection.run(f"sleep {long}; true", timeout=1)
            assert not sleepers(long)
            async with connection.create_process(f"sleep {long}; true") as process:
                await until(lambda: sleepers(long))
                process.send_signal("TERM")
                await until(lambda: not sleepers(long))


# What a callback of the caller's raises


async def test_an_exception_in_a_sink_is_the_callers() -> None:
    class Mine(Exception):
        pass

    def sink(data: bytes) -> None:
        raise Mine

    long = nap()
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            for command in (f"echo x; sleep {long}", "echo x"):
                with pytest.raises(Mine):
                    async with asyncio.timeout(10):
                        await connection.relay(command, stdout=sink, stderr=print)
            with pytest.raises(Mine):
                async with asyncio.timeout(10):
                    await connection.relay(f"echo x >&2; sleep {long}", stdout=print, stderr=sink)
            assert not sleepers(long)
            assert (await connection.run("echo well")).stdout == "well\n"


async def test_a_signal_to_a_process_that_is_over_is_nothing() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            async with connection.create_process("true") as process:
                await process.wait()
                process.send_signal(signal.SIGTERM)


# The control socket goes while commands run


@pytest.mark.parametrize("how", ["removed", "replaced", "directory"])
async def test_what_runs_can_be_ended_without_the_control_socket(how: str) -> None:
    one, other = nap(), nap()
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server, pool_size=1) as manager:
            async with manager.get_connection(1) as connection:
                running = asyncio.ensure_future(connection.run(f"sleep {one}"))
                timed = asyncio.ensure_future(connection.run(f"sleep {other}", timeout=1))
                await until(lambda: sleepers(one) and sleepers(other))
                path = Path(connection.get_extra_info("control_path"))
                if how == "directory":
                    shutil.rmtree(path.parent)
                else:
                    path.unlink()
                    if how == "replaced":
                        path.write_text("")
                with pytest.raises(sshmux.ProcessTimeout, match="ended on the remote as well"):
                    await timed
                assert not sleepers(other)
                assert sleepers(one)  # its sibling goes on
                for process in sleepers(one):
                    process.kill()
                assert (await running).exit_status == 137
            if how == "directory":
                path.parent.mkdir(mode=0o700)
            async with manager.get_connection(1) as connection:
                assert (await connection.run("echo well")).stdout == "well\n"
