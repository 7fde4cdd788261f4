"""What a real master does when it is asked over its socket, besides sessions."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import sshmux
from sshmux.openssh.mux import operations
from sshmux.openssh.mux.operations import Forward
from sshmux.openssh.mux.protocol import DYNAMIC, LOCAL, REMOTE, UNIX
from sshmux.testing import PrivateServer

from ..support import managed, processes, until

PATIENCE = 5.0  # seconds
GREETING = b"SSH-2.0-"  # what sshd says first: a service that is there anyway


@asynccontextmanager
async def master(**options: str) -> AsyncIterator[tuple[sshmux.Connection, Path, PrivateServer]]:
    async with PrivateServer(login_shell="/bin/sh", options=options) as server:
        async with managed(server, engine="mux") as manager:
            async with await manager.connect(1) as connection:
                path = connection.get_extra_info("control_path")
                yield connection, path, server


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def greeting(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await reader.readexactly(len(GREETING))
    finally:
        writer.close()
        await writer.wait_closed()


async def refused(port: int) -> None:
    """Waits until nobody listens: the master does not wait for the server's word."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await greeting(port)
            except ConnectionRefusedError:
                return
            except (asyncio.IncompleteReadError, ConnectionResetError):
                await asyncio.sleep(0.02)


async def test_a_sign_of_life() -> None:
    async with master() as (connection, path, _):
        pid = connection.get_extra_info("master_pid")
        assert await operations.alive(path, PATIENCE) == pid
        os.kill(pid, signal.SIGSTOP)
        assert await operations.alive(path, 0.1) is None
        os.kill(pid, signal.SIGCONT)
        assert await operations.alive(path.parent / "nothing", PATIENCE) is None


async def test_a_local_forward_opens_leads_there_and_closes() -> None:
    async with master() as (_, path, server):
        forward = Forward(LOCAL, "127.0.0.1", free_port(), "127.0.0.1", server.port)
        assert await operations.open_forward(path, forward, PATIENCE) == forward.listen_port
        assert await greeting(forward.listen_port) == GREETING
        await operations.close_forward(path, forward, PATIENCE)
        with pytest.raises(ConnectionRefusedError):
            await greeting(forward.listen_port)
        with pytest.raises(sshmux.ChannelOpenError, match="port not forwarded"):
            await operations.close_forward(path, forward, PATIENCE)


async def test_a_remote_forward_whose_port_the_server_chooses() -> None:
    async with master() as (_, path, server):
        forward = Forward(REMOTE, "127.0.0.1", 0, "127.0.0.1", server.port)
        port = await operations.open_forward(path, forward, PATIENCE)
        assert port > 0
        assert await greeting(port) == GREETING
        await operations.close_forward(path, forward, PATIENCE)
        await refused(port)


async def test_a_dynamic_forward_speaks_socks() -> None:
    async with master() as (_, path, server):
        forward = Forward(DYNAMIC, "127.0.0.1", free_port())
        await operations.open_forward(path, forward, PATIENCE)
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.listen_port)
        writer.write(b"\5\1\0")
        assert await reader.readexactly(2) == b"\5\0"
        writer.write(b"\5\1\0\1\x7f\0\0\1" + server.port.to_bytes(2, "big"))
        assert (await reader.readexactly(10))[:2] == b"\5\0"
        assert await reader.readexactly(len(GREETING)) == GREETING
        writer.close()
        await writer.wait_closed()
        await operations.close_forward(path, forward, PATIENCE)


async def test_a_forward_from_a_unix_socket() -> None:
    async with master() as (_, path, server):
        listening = path.parent / "fwd"
        forward = Forward(LOCAL, str(listening), UNIX, "127.0.0.1", server.port)
        await operations.open_forward(path, forward, PATIENCE)
        reader, writer = await asyncio.open_unix_connection(listening)
        assert await reader.readexactly(len(GREETING)) == GREETING
        writer.close()
        await writer.wait_closed()
        await operations.close_forward(path, forward, PATIENCE)
        listening.unlink(missing_ok=True)


@pytest.mark.parametrize("kind", [LOCAL, REMOTE])
async def test_a_busy_port_is_refused(kind: int) -> None:
    async with master() as (_, path, server):
        forward = Forward(kind, "127.0.0.1", server.port, "127.0.0.1", 1)
        with pytest.raises(
            sshmux.ChannelOpenError, match=r"forward from 127\.0\.0\.1:\d+ .*was refused"
        ):
            await operations.open_forward(path, forward, PATIENCE)


async def test_a_forbidden_forward_is_refused() -> None:
    async with master(AllowTcpForwarding="no") as (_, path, server):
        forward = Forward(REMOTE, "127.0.0.1", 0, "127.0.0.1", server.port)
        with pytest.raises(sshmux.ChannelOpenError, match="refused"):
            await operations.open_forward(path, forward, PATIENCE)
        null = os.open(os.devnull, os.O_RDWR)
        try:
            with pytest.raises(sshmux.ChannelOpenError, match=r"connection to 127\.0\.0\.1"):
                await operations.stdio_forward(
                    path, "127.0.0.1", server.port, stdin=null, stdout=null, timeout=PATIENCE
                )
        finally:
            os.close(null)


async def test_a_stdio_forward() -> None:
    async with master() as (_, path, server):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            there = theirs.fileno()
            forward = await operations.stdio_forward(
                path, "127.0.0.1", server.port, stdin=there, stdout=there, timeout=PATIENCE
            )
            theirs.close()
            ours.setblocking(False)
            said = await asyncio.get_running_loop().sock_recv(ours, len(GREETING))
            assert said == GREETING
            forward.close()
            await asyncio.get_running_loop().sock_recv(ours, 1000)
            while await asyncio.get_running_loop().sock_recv(ours, 1000):
                pass


async def test_a_master_that_does_not_answer_or_is_gone() -> None:
    async with master() as (connection, path, server):
        pid = connection.get_extra_info("master_pid")
        forward = Forward(LOCAL, "127.0.0.1", free_port(), "127.0.0.1", server.port)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(sshmux.TimeoutError, match="did not answer within"):
            await operations.open_forward(path, forward, 0.1)
        null = os.open(os.devnull, os.O_RDWR)
        with pytest.raises(sshmux.TimeoutError, match="no answer"):
            await operations.stdio_forward(
                path, "127.0.0.1", server.port, stdin=null, stdout=null, timeout=0.1
            )
        assert await operations.ask(path, "stop", 0.1) is False
        os.kill(pid, signal.SIGKILL)
        os.kill(pid, signal.SIGCONT)
        await until(lambda: connection.is_closed())
        with pytest.raises(sshmux.ConnectionLost, match="gone"):
            await operations.open_forward(path, forward, PATIENCE)
        with pytest.raises(sshmux.ConnectionLost, match="gone"):
            await operations.stdio_forward(
                path, "127.0.0.1", server.port, stdin=null, stdout=null, timeout=PATIENCE
            )
        os.close(null)
        assert await operations.ask(path, "exit", PATIENCE) is False


async def test_to_stop_is_to_take_no_new_clients_and_to_let_the_others_end() -> None:
    async with master() as (connection, path, _):
        running = asyncio.ensure_future(connection.run("sleep 0.5; echo done"))
        await asyncio.sleep(0.2)
        assert await operations.ask(path, "stop", PATIENCE) is True
        assert not path.exists()
        assert (await running).stdout == "done\n"


async def test_to_exit_is_to_end_at_once() -> None:
    async with master() as (connection, path, _):
        assert await operations.ask(path, "exit", PATIENCE) is True
        await until(lambda: connection.is_closed())
        assert processes(str(path)) == []
