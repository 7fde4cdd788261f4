"""What goes wrong with SFTP, provoked for real: servers that end, lie or are missing; callers that
go away; full disks. Nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import sshmux
from sshmux import Connection
from sshmux.sftp.client import SFTPClient
from sshmux.testing import PrivateServer

from ..support import managed, masters, nap, processes, until
from .test_sftp import PROGRAM, client, lent
from .test_transfer import small

pytestmark = pytest.mark.both_engines

needs_program = pytest.mark.skipif(
    not PROGRAM, reason="no sftp-server program: Debian openssh-sftp-server"
)


def servers(directory: Path) -> list[psutil.Process]:
    """The sftp-servers that were started in this directory."""
    found = processes(PROGRAM)
    return [
        process
        for process in found
        if process.info["cmdline"][0] == PROGRAM and str(directory) in process.info["cmdline"]
    ]


@contextlib.asynccontextmanager
async def own_server(directory: Path) -> AsyncIterator[tuple[Connection, SFTPClient]]:
    """A client of an sftp-server that can be found."""
    async with lent() as connection:
        command = [PROGRAM, "-d", str(directory)]
        async with connection.start_sftp_client(server=command) as sftp:
            yield connection, sftp
    assert servers(directory) == []


# Servers that end


@needs_program
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_the_server_is_killed(how: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(8_000_000))
    async with own_server(tmp_path) as (connection, sftp):
        file = await sftp.open("big", "rb")
        (server,) = servers(tmp_path)
        server.suspend()
        work = [asyncio.ensure_future(each) for each in (file.read(), sftp.stat("big"))]
        work.append(asyncio.ensure_future(sftp.get("big", tmp_path / "copy")))
        await asyncio.sleep(0)
        server.send_signal(how)
        with contextlib.suppress(psutil.NoSuchProcess):
            server.resume()
        for error in await asyncio.gather(*work, return_exceptions=True):
            assert isinstance(error, sshmux.SFTPConnectionLost)
        with pytest.raises(sshmux.SFTPConnectionLost):
            await sftp.listdir(".")
        # The connection is as good as before.
        assert (await connection.run("echo well")).stdout == "well\n"
        async with connection.start_sftp_client() as another:
            assert await another.isfile(tmp_path / "big")


@needs_program
async def test_the_master_is_killed(tmp_path: Path) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            async with connection.start_sftp_client(server=[PROGRAM, "-d", str(tmp_path)]) as sftp:
                (over_there,) = servers(tmp_path)
                over_there.suspend()
                work = asyncio.ensure_future(sftp.listdir())
                await asyncio.sleep(0)
                (master,) = masters(manager.control_dir.path)
                master.kill()
                with pytest.raises(sshmux.SFTPConnectionLost):
                    await work
                over_there.resume()
        async with manager.get_connection(1) as connection:
            async with connection.start_sftp_client() as sftp:
                assert await sftp.isdir(tmp_path)
        await until(lambda: not servers(tmp_path))


async def test_the_manager_stops(tmp_path: Path) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            sftp = await connection.start_sftp_client()
            file = await sftp.open(tmp_path / "f", "w")
            await manager.stop()
            with pytest.raises(sshmux.SFTPConnectionLost):
                await file.write("text")
            await sftp.wait_closed()


async def test_it_ends_with_its_connection(tmp_path: Path) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with manager.get_connection(1) as connection:
            sftp = await connection.start_sftp_client()
            assert await sftp.isdir(tmp_path)
        with pytest.raises(sshmux.SFTPError):
            await sftp.isdir(tmp_path)
        await sftp.wait_closed()
        with pytest.raises(sshmux.Error):
            await connection.start_sftp_client()


# Callers that go away


@needs_program
async def test_a_dropped_client_does_not_live_on(tmp_path: Path) -> None:
    async with lent() as connection:
        sftp = await connection.start_sftp_client(server=[PROGRAM, "-d", str(tmp_path)])
        assert sorted(await sftp.listdir()) == [".", ".."]
        assert len(servers(tmp_path)) == 1
        del sftp
        gc.collect()
        await until(lambda: not servers(tmp_path))
        assert (await connection.run("echo well")).stdout == "well\n"


@needs_program
async def test_a_file_keeps_its_client(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("text")
    async with lent() as connection:
        sftp = await connection.start_sftp_client(server=[PROGRAM, "-d", str(tmp_path)])
        file = await sftp.open("f")
        del sftp
        gc.collect()
        assert await file.read() == "text"
        del file
        gc.collect()
        await until(lambda: not servers(tmp_path))


@needs_program
@pytest.mark.parametrize("way", ["get", "put", "read", "glob", "listdir"])
async def test_cancelled_requests(way: str, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(30_000_000))
    async with own_server(tmp_path) as (_, sftp):
        (server,) = servers(tmp_path)
        file = await sftp.open("big", "rb")
        begun = {
            "get": lambda: sftp.get("big", tmp_path / "copy"),
            "put": lambda: sftp.put(tmp_path / "big", "copy"),
            "read": lambda: file.read(),
            "glob": lambda: sftp.glob("**"),
            "listdir": lambda: sftp.listdir(),
        }[way]
        for laps in (0, 1, 3, 9, 40):
            server.suspend()
            task = asyncio.ensure_future(begun())
            for _ in range(laps):
                await asyncio.sleep(0)
            task.cancel()
            # What it opened is closed, which takes an answer.
            server.resume()
            with pytest.raises(asyncio.CancelledError):
                await task
        await file.close()
        assert await sftp.getsize("big") == 30_000_000
        if os.geteuid() == 0:  # sftp-server lets nobody else look
            await until(lambda: not _opened(server, tmp_path))


def _opened(server: psutil.Process, directory: Path) -> list[str]:
    """What the server has open in a directory."""
    found = []
    for name in os.listdir(f"/proc/{server.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            target = os.readlink(f"/proc/{server.pid}/fd/{name}")
            if target.startswith(str(directory)):
                found.append(target)
    return found


@needs_program
async def test_a_start_that_is_cancelled(tmp_path: Path) -> None:
    async with lent() as connection:
        for laps in (0, 1, 3, 10, 30, 3000):
            task = asyncio.ensure_future(
                _start(connection, ["sh", "-c", f"exec {PROGRAM} -d {tmp_path}"])
            )
            for _ in range(laps):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                # On a busy machine thirty turns of the loop may be enough for it to start.
                async with await task:
                    pass
        with pytest.raises(TimeoutError):
            # A server that says nothing.
            await asyncio.wait_for(_start(connection, ["sleep", nap()]), 0.5)
        await until(lambda: not servers(tmp_path))
        assert (await connection.run("echo well")).stdout == "well\n"


async def _start(connection: Connection, server: list[str]) -> SFTPClient:
    return await connection.start_sftp_client(server=server)


# Servers that are missing, or full


async def test_no_subsystem() -> None:
    async with lent(options={"Subsystem": []}) as connection:
        with pytest.raises(sshmux.ChannelOpenError, match="has no working subsystem `sftp`"):
            await connection.start_sftp_client()
        assert (await connection.run("echo well")).stdout == "well\n"


async def test_a_subsystem_whose_program_is_missing() -> None:
    async with lent(options={"Subsystem": "sftp /nowhere/sftp-server"}) as connection:
        with pytest.raises(sshmux.ChannelOpenError, match="status 127"):
            await connection.start_sftp_client()
        with pytest.raises(sshmux.ChannelOpenError, match=r"status 3 .*because"):
            await connection.start_sftp_client(server="echo because >&2; exit 3")


async def test_no_place_left() -> None:
    async with lent(max_sessions=1) as connection:
        async with connection.start_sftp_client() as sftp:
            second = asyncio.ensure_future(_asked(connection))
            await sftp.getcwd()
        # It waited for its turn, or was told that there is none.
        (answer,) = await asyncio.gather(second, return_exceptions=True)
        assert answer in os.listdir("/") or isinstance(answer, sshmux.ChannelOpenError)
        async with connection.start_sftp_client() as sftp:
            await sftp.getcwd()


async def _asked(connection: Connection) -> str:
    async with connection.start_sftp_client() as sftp:
        return (await sftp.glob("/*"))[0].removeprefix("/")


@needs_program
async def test_a_login_shell_that_talks(tmp_path: Path) -> None:
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\necho "Welcome to the cluster"\nexec /bin/sh "$@"\n')
    shell.chmod(0o755)
    options = {"Subsystem": f"sftp {PROGRAM}"}
    async with lent(login_shell=shell, options=options) as connection:
        with pytest.raises(sshmux.ChannelOpenError, match="start-up file") as caught:
            await connection.start_sftp_client()
        assert "put() and get() need none" in str(caught.value)


# Servers that lie


HELLO = r"\0\0\0\5\2\0\0\0\3"  # version 3, no extensions
LIES = {
    "nothing": "sleep 0",
    "half a message": rf"printf '{HELLO}\0\0'",
    "a huge message": r"printf '\377\377\377\377\2'; sleep @",
    "an empty message": rf"printf '{HELLO}\0\0\0\0'; sleep @",
    "another version": r"printf '\0\0\0\5\2\0\0\0\1'; sleep @",
    "an answer that nobody asked for": rf"printf '{HELLO}\0\0\0\5\145\0\0\0\143'; sleep @",
    "text": "yes @",
    "an answer cut short": rf"printf '{HELLO}'; head -c 20 >/dev/null; "
    r"printf '\0\0\0\11\145\0\0\0\0\0\0\0\4'; sleep @",
}


@pytest.mark.parametrize("lie", LIES)
async def test_lies(lie: str) -> None:
    seconds = nap()
    async with lent() as connection:
        with pytest.raises((sshmux.ChannelOpenError, sshmux.SFTPError)):
            await asyncio.wait_for(_looked(connection, LIES[lie].replace("@", seconds)), 20)
        assert (await connection.run("echo well")).stdout == "well\n"
        await until(lambda: not processes(seconds))


async def _looked(connection: Connection, server: str) -> None:
    async with connection.start_sftp_client(server=server) as sftp:
        await sftp.stat("x")


async def test_a_server_that_does_not_read(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(50_000_000))
    hello = f"printf '{HELLO}'; exec sleep {nap()}"
    async with lent() as connection:
        before = psutil.Process().memory_info().rss
        async with connection.start_sftp_client(server=hello) as sftp:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await sftp.put(tmp_path / "big", "x")
            assert psutil.Process().memory_info().rss - before < 30_000_000


# What may not be, and full disks


async def test_what_may_not_be(tmp_path: Path) -> None:
    async with client() as sftp:
        with pytest.raises(sshmux.SFTPPermissionDenied) as caught:
            await sftp.remove("/proc/version")
        assert isinstance(caught.value, PermissionError)
        assert caught.value.code == 3
        assert "/proc/version" in str(caught.value)
        with pytest.raises(FileNotFoundError):
            await sftp.stat(tmp_path / "nothing")
        with pytest.raises(sshmux.SFTPBadMessage):
            await sftp.stat("x" * 300_000)
        with pytest.raises(ValueError, match="NUL"):
            await sftp.stat("a\0b")
        with pytest.raises(TypeError):
            await sftp.stat(5)  # type: ignore[arg-type]
        assert await sftp.isdir(tmp_path)


async def test_a_full_disk_over_there(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(3_000_000))
    (tmp_path / "small").mkdir()
    with small(tmp_path / "small") as full:
        async with client() as sftp:
            with pytest.raises(sshmux.SFTPNoSpaceOnFilesystem, match="big") as caught:
                await sftp.put(tmp_path / "big", full / "big")
            assert isinstance(caught.value, OSError)
            async with sftp.open(full / "more", "wb") as file:
                with pytest.raises(sshmux.SFTPNoSpaceOnFilesystem):
                    await file.write(bytes(2_000_000))
            await sftp.remove(full / "big")
            await sftp.remove(full / "more")
            async with sftp.open(full / "more", "wb") as file:
                await file.write(b"room again")
            assert (full / "more").read_bytes() == b"room again"


async def test_a_full_disk_here(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(3_000_000))
    (tmp_path / "small").mkdir()
    with small(tmp_path / "small") as full:
        async with client() as sftp:
            with pytest.raises(OSError, match="No space left"):
                await sftp.get(tmp_path / "big", full / "big")
            assert await sftp.getsize(tmp_path / "big") == 3_000_000


async def test_a_size_limit_over_there(tmp_path: Path) -> None:
    """As a quota: RLIMIT_FSIZE of the server's process."""
    if not PROGRAM:
        pytest.skip("no sftp-server program: Debian openssh-sftp-server")
    limited = "import os,resource,signal,sys;signal.signal(signal.SIGXFSZ,signal.SIG_IGN);"
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE,(100000,100000));"
    limited += "os.execv(sys.argv[1],sys.argv[1:])"
    command = shlex.join([sys.executable, "-c", limited, PROGRAM])
    (tmp_path / "big").write_bytes(os.urandom(300_000))
    async with lent() as connection, connection.start_sftp_client(server=command) as sftp:
        with pytest.raises(sshmux.SFTPFailure, match="out"):
            await sftp.put(tmp_path / "big", tmp_path / "out")
        await sftp.put(tmp_path / "big", tmp_path / "out", error_handler=_ignore)
        assert await sftp.getsize(tmp_path / "out") == 100_000


def _ignore(error: Any) -> None:
    assert isinstance(error, sshmux.SFTPFailure)


# Servers that say nothing


@pytest.mark.parametrize("start_up", ["exec sh", "exec sleep {nap}", "cat >/dev/null"])
async def test_a_start_up_file_that_keeps_the_session(tmp_path: Path, start_up: str) -> None:
    """The account's shell runs it before the subsystem; nothing of ours may be a command there."""
    seconds = nap()
    shell = tmp_path / "shell"
    shell.write_text(f'#!/bin/sh\n{start_up.format(nap=seconds)}\nexec /bin/sh "$@"\n')
    shell.chmod(0o755)
    server = PrivateServer(login_shell=shell, options={"Subsystem": f"sftp {PROGRAM}"})
    async with server as private, managed(private, register={"timeout": 1.5}) as manager:
        async with manager.get_connection(1) as connection:
            for how in (None, [PROGRAM]):
                with pytest.raises(sshmux.TimeoutError, match="start-up file"):
                    await asyncio.wait_for(connection.start_sftp_client(server=how), 10)
            for left in processes(seconds):
                left.kill()  # nothing tells the server's shell to go while it starts up


async def test_a_server_command_that_says_nothing() -> None:
    seconds = nap()
    async with PrivateServer(login_shell="/bin/sh") as private:
        async with managed(private, register={"timeout": 1}) as manager:
            async with manager.get_connection(1) as connection:
                with pytest.raises(sshmux.TimeoutError):
                    await connection.start_sftp_client(server=["sleep", seconds])
                assert (await connection.run("echo well")).stdout == "well\n"
            await until(lambda: not processes(seconds))
