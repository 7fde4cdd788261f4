"""Forwards that listen, and connections to what the remote can reach."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import ChannelListenError, ChannelOpenError, Connection, Listener
from sshmux.openssh.version import ssh_version
from sshmux.testing import PrivateServer

from ..support import control_directory, managed, until

DATA = os.urandom(1024 * 1024)


@contextlib.asynccontextmanager
async def lent(**options: str) -> AsyncIterator[Connection]:
    async with PrivateServer(login_shell="/bin/sh", options=options) as server:
        async with managed(server) as manager, manager.get_connection(1) as connection:
            yield connection


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says what it heard, once it has heard it all: so both half-closes are needed."""
    with contextlib.suppress(ConnectionError):
        writer.write(await reader.read())
        await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def echoing(path: Path | None = None) -> AsyncIterator[int]:
    """A service on a port, or on a Unix socket."""
    if path is None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
    else:
        server, port = await asyncio.start_unix_server(echo, path), 0
    try:
        yield port
    finally:
        server.close()
        await server.wait_closed()


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(DATA)
    writer.write_eof()
    async with asyncio.timeout(20):
        assert await reader.read() == DATA
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def through_port(port: int) -> None:
    await exchange(*await asyncio.open_connection("127.0.0.1", port))


async def through_path(path: str | Path) -> None:
    await exchange(*await asyncio.open_unix_connection(path))


async def nobody_listens(port: int) -> None:
    """Waits until a port is free: the master does not wait for the server's word."""

    def free() -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED

    await until(free)


# Every form, with real data


@pytest.mark.both_engines
async def test_a_local_port() -> None:
    async with lent() as connection, echoing() as port:
        async with connection.forward_local_port("127.0.0.1", 0, "127.0.0.1", port) as listener:
            assert isinstance(listener, Listener)
            assert not listener.is_closed()
            assert listener.get_port() > 0
            assert listener.get_path() == ""
            assert str(listener.get_port()) in repr(listener)
            await asyncio.gather(*(through_port(listener.get_port()) for _ in range(3)))
        assert listener.is_closed()
        await nobody_listens(listener.get_port())


async def test_awaited_and_the_same_port_again() -> None:
    async with lent() as connection, echoing() as port:
        listener = await connection.forward_local_port("", 0, "127.0.0.1", port)
        chosen = listener.get_port()
        for _ in range(3):
            await through_port(chosen)
            listener.close()
            await listener.wait_closed()
            listener.close()
            listener = await connection.forward_local_port(None, chosen, "127.0.0.1", port)
            assert listener.get_port() == chosen


@pytest.mark.both_engines
async def test_unix_sockets_here(tmp_path: Path) -> None:
    there, here = tmp_path / "service", tmp_path / "here"
    async with lent() as connection, echoing() as port, echoing(there):
        async with connection.forward_local_path(here, there) as listener:
            assert (listener.get_path(), listener.get_port()) == (str(here), 0)
            await through_path(here)
        assert not here.exists()
        async with connection.forward_local_path_to_port(here, "127.0.0.1", port):
            await through_path(here)
        assert not here.exists()
        async with connection.forward_local_port_to_path("localhost", 0, there) as listener:
            await through_port(listener.get_port())


@pytest.mark.both_engines
async def test_a_remote_port() -> None:
    async with lent() as connection, echoing() as port:
        async with connection.forward_remote_port("127.0.0.1", 0, "127.0.0.1", port) as listener:
            await through_port(listener.get_port())
            other = await connection.forward_remote_port("localhost", 0, "127.0.0.1", port)
            assert other.get_port() != listener.get_port()
            same = await connection.forward_remote_port("localhost", 0, "127.0.0.1", port)
            assert same.get_port() == other.get_port()  # a master has each once
            await same.end()
        await nobody_listens(listener.get_port())
        await through_port(other.get_port())


@pytest.mark.both_engines
async def test_unix_sockets_over_there(tmp_path: Path) -> None:
    here, there = tmp_path / "service", tmp_path / "there"
    async with lent() as connection, echoing() as port, echoing(here):
        async with connection.forward_remote_path(there, here) as listener:
            assert listener.get_path() == str(there)
            await through_path(there)
        there.unlink(missing_ok=True)  # sshd leaves it
        async with connection.forward_remote_path_to_port(there, "127.0.0.1", port):
            await through_path(there)
        async with connection.forward_remote_port_to_path("localhost", 0, here) as listener:
            await through_port(listener.get_port())


@pytest.mark.both_engines
async def test_socks() -> None:
    async with lent() as connection, echoing() as port:
        async with connection.forward_socks("127.0.0.1", 0) as listener:
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())
            writer.write(b"\5\1\0" + b"\5\1\0\1\x7f\0\0\1" + port.to_bytes(2, "big"))
            assert (await reader.readexactly(2 + 10))[:4] == b"\5\0\5\0"
            await exchange(reader, writer)
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())
            writer.write(b"\4\1" + port.to_bytes(2, "big") + b"\x7f\0\0\1me\0")
            assert (await reader.readexactly(8))[:2] == b"\0\x5a"
            await exchange(reader, writer)


@pytest.mark.both_engines
async def test_open_connection(tmp_path: Path) -> None:
    there = tmp_path / "service"
    async with lent() as connection, echoing() as port, echoing(there):

        async def one() -> None:
            await exchange(*await connection.open_connection("127.0.0.1", port))

        await asyncio.gather(one(), one(), one())
        await exchange(*await connection.open_unix_connection(there))
        reader, writer = await connection.open_connection("localhost", port)
        assert writer.get_extra_info("peername") == ("localhost", port)
        writer.writelines([b"one\n", b"two\n"])
        await writer.drain()
        assert writer.can_write_eof()
        writer.write_eof()
        assert [line async for line in reader] == [b"one\n", b"two\n"]
        writer.close()
        assert writer.is_closing()
        await writer.wait_closed()


async def test_the_other_side_ends_first() -> None:
    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye\n")
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    async with lent() as connection:
        reader, writer = await connection.open_connection(
            "127.0.0.1", server.sockets[0].getsockname()[1]
        )
        assert await reader.read() == b"bye\n"
        writer.close()
    server.close()


# What is refused


@pytest.mark.both_engines
async def test_a_busy_port(tmp_path: Path) -> None:
    async with lent() as connection, echoing() as port:
        with pytest.raises(ChannelListenError, match="already in use") as failed:
            await connection.forward_local_port("127.0.0.1", port, "127.0.0.1", 1)
        assert failed.value.errno == errno.EADDRINUSE
        with pytest.raises(ChannelListenError, match=r"busy on the remote, or .* forbids"):
            await connection.forward_remote_port("127.0.0.1", port, "127.0.0.1", 1)
        taken = tmp_path / "taken"
        taken.write_text("interactive_login")
        with pytest.raises(ChannelListenError, match="remove it first"):
            await connection.forward_local_path(taken, "/x")
        assert taken.read_text() == "interactive_login"
        with pytest.raises(ChannelListenError, match="directory is missing"):
            await connection.forward_local_path(tmp_path / "no" / "such", "/x")
        with pytest.raises(ChannelListenError):
            await connection.forward_local_port("no.such.host.invalid", 0, "127.0.0.1", 1)
        await connection.run("true", check=True)


async def test_a_connection_that_is_refused(tmp_path: Path) -> None:
    async with lent() as connection, echoing() as port:
        pass
    async with lent() as connection:
        for opening in (
            connection.open_connection("127.0.0.1", port),
            connection.open_connection("no.such.host.invalid", 80),
        ):
            with pytest.raises(ChannelOpenError, match="Nothing listens there, or"):
                await opening
        if await ssh_version("ssh") >= (9, 4):
            with pytest.raises(ChannelOpenError, match="Nothing listens there, or"):
                await connection.open_unix_connection(tmp_path / "nothing")
        else:
            reader, writer = await connection.open_unix_connection(tmp_path / "nothing")
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()


@pytest.mark.both_engines
async def test_forbidden() -> None:
    async with lent(AllowTcpForwarding="no", AllowStreamLocalForwarding="no") as connection:
        async with echoing() as port:
            with pytest.raises(ChannelListenError, match="AllowTcpForwarding"):
                await connection.forward_remote_port("localhost", 0, "127.0.0.1", port)
            with pytest.raises(ChannelOpenError, match="AllowTcpForwarding"):
                await connection.open_connection("127.0.0.1", port)
            # ssh opens a local one all the same: it fails when it is used.
            async with connection.forward_local_port("localhost", 0, "127.0.0.1", port) as here:
                reader, writer = await asyncio.open_connection("127.0.0.1", here.get_port())
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
                writer.close()


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("forward_local_port", ("", -1, "h", 1)),
        ("forward_local_port", ("", 65536, "h", 1)),
        ("forward_local_port", ("", "80", "h", 1)),
        ("forward_local_port", ("", 1, "h", 0)),
        ("forward_local_port", ("", 1, "", 1)),
        ("forward_socks", (b"x", 1)),
        ("forward_local_path", ("", "/x")),
        ("forward_local_path", ("/x\0", "/x")),
        ("forward_remote_path", ("/" + "x" * 200, "/x")),
        ("forward_remote_path", (7, "/x")),
    ],
)
async def test_bad_input(method: str, arguments: tuple[Any, ...]) -> None:
    async with lent() as connection:
        with pytest.raises(sshmux.ConfigError, match=r"give|at most"):
            await getattr(connection, method)(*arguments)


@contextlib.contextmanager
def taken(address: str, port: int = 0) -> Iterator[int]:
    """A port that another program has."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as one:
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address, port))
        one.listen()
        yield one.getsockname()[1]


@pytest.mark.parametrize("host", ["localhost", None, "", "127.0.0.1", "::1"])
@pytest.mark.parametrize("theirs", ["127.0.0.1", "::1", "0.0.0.0", "::"])
async def test_a_port_that_is_busy_on_one_of_the_addresses(host: str | None, theirs: str) -> None:
    """Whoever connects to the others must not talk to another program."""
    apart = {("127.0.0.1", "::1"), ("127.0.0.1", "::"), ("::1", "127.0.0.1"), ("::1", "0.0.0.0")}
    async with lent() as connection, echoing() as there:
        with taken(theirs) as port:
            for forward, leads in (
                (connection.forward_local_port, ("127.0.0.1", there)),
                (connection.forward_socks, ()),
            ):
                if (host, theirs) in apart:
                    async with forward(host, port, *leads):  # type: ignore[operator]
                        continue
                with pytest.raises(ChannelListenError, match="already in use") as failed:
                    await forward(host, port, *leads)  # type: ignore[operator]
                assert failed.value.errno == errno.EADDRINUSE
        # Nothing of it is left on the other addresses.
        async with connection.forward_local_port(host, port, "127.0.0.1", there):
            pass
        async with connection.forward_local_port(host, 0, "127.0.0.1", there) as listener:
            for address in {None: ("127.0.0.1", "::1"), "": ("127.0.0.1", "::1")}.get(host, ()):
                await exchange(*await asyncio.open_connection(address, listener.get_port()))


async def test_paths_in_bytes(tmp_path: Path) -> None:
    here, there = (os.fsencode(tmp_path / os.fsdecode(name)) for name in (b"h\xff", b"t\xff"))
    async with lent() as connection, echoing(Path(os.fsdecode(there))):
        async with connection.forward_local_path(here, there) as listener:
            assert os.fsencode(listener.get_path()) == here
            await through_path(os.fsdecode(here))
        await exchange(*await connection.open_unix_connection(there))


# Ends


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A service that says something, and then nothing."""
    writer.write(b"line\nhalf of a")
    HALVES.add(writer)
    with contextlib.suppress(ConnectionError):
        await reader.read()
    writer.close()
    HALVES.discard(writer)


HALVES: set[asyncio.StreamWriter] = set()


@pytest.mark.parametrize("how", ["killed", "dropped", "released", "whole"])
@pytest.mark.parametrize("reading", ["read", "some", "readexactly", "readline", "readuntil"])
@pytest.mark.parametrize("unix", [False, True])
async def test_an_end_of_the_connection_is_no_end_of_a_stream(
    tmp_path: Path, how: str, reading: str, unix: bool
) -> None:
    async def read(reader: asyncio.StreamReader) -> bytes:
        if reading == "some":
            found = await reader.read(100)
            while more := await reader.read(100):
                found += more
            return found
        if reading == "readline":
            return b"".join([line async for line in reader])
        arguments = {"read": (), "readexactly": (100,), "readuntil": (b"!",)}[reading]
        found = await getattr(reader, reading)(*arguments)
        assert isinstance(found, bytes)
        return found

    service = await asyncio.start_server(half, "127.0.0.1", 0)
    path = await asyncio.start_unix_server(half, tmp_path / "s")
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with await manager.connect(1) as connection:
            if unix:
                reader, writer = await connection.open_unix_connection(tmp_path / "s")
            else:
                port = service.sockets[0].getsockname()[1]
                reader, writer = await connection.open_connection("127.0.0.1", port)
            assert await reader.readline() == b"line\n"
            if how == "killed":
                os.kill(connection.get_extra_info("master_pid"), signal.SIGKILL)
            elif how == "dropped":
                server.drop_connections()
            elif how == "released":
                connection.close()
            else:
                writer.write_eof()
            async with asyncio.timeout(10):
                if how != "whole":
                    with pytest.raises((sshmux.ConnectionLost, sshmux.ConnectionReleased)):
                        await read(reader)
                elif reading in ("readexactly", "readuntil"):
                    with pytest.raises(asyncio.IncompleteReadError):
                        await read(reader)
                else:
                    assert await read(reader) == b"half of a"
            writer.close()
            await until(lambda: not HALVES)  # they run in this loop
    service.close()
    path.close()


async def test_they_end_with_the_borrow() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with echoing() as port:
            async with manager.get_connection(1) as connection:
                here = await connection.forward_local_port("localhost", 0, "127.0.0.1", port)
                there = await connection.forward_remote_port("localhost", 0, "127.0.0.1", port)
                reader, _ = await connection.open_connection("127.0.0.1", port)
            assert here.is_closed()
            await nobody_listens(here.get_port())
            await nobody_listens(there.get_port())
            with pytest.raises(sshmux.ConnectionReleased, match="cut off"):
                await reader.read()
            with pytest.raises(sshmux.ConnectionReleased):
                await connection.forward_socks("", 0)
            with pytest.raises(sshmux.ConnectionReleased):
                await connection.open_connection("127.0.0.1", port)


async def test_they_end_with_a_connection_of_ones_own(tmp_path: Path) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with echoing() as port, await manager.connect(1) as connection:
            here = await connection.forward_local_port("localhost", 0, "127.0.0.1", port)
            path = await connection.forward_local_path_to_port(tmp_path / "s", "127.0.0.1", port)
        await asyncio.gather(here.wait_closed(), path.wait_closed())
        await nobody_listens(here.get_port())
        assert not (tmp_path / "s").exists()


@pytest.mark.both_engines
async def test_the_master_is_killed(tmp_path: Path) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with echoing() as port, await manager.connect(1) as connection:
            here = await connection.forward_local_port("localhost", 0, "127.0.0.1", port)
            await connection.forward_local_path_to_port(tmp_path / "s", "127.0.0.1", port)
            reader, writer = await connection.open_connection("127.0.0.1", port)
            os.kill(connection.get_extra_info("master_pid"), signal.SIGKILL)
            with pytest.raises(sshmux.ConnectionLost, match="cut off"):
                await reader.read()
            await here.wait_closed()
            assert here.is_closed()
            writer.close()
            with pytest.raises(sshmux.ConnectionLost):
                await connection.forward_socks("", 0)
            with pytest.raises(sshmux.ConnectionLost):
                await connection.open_connection("127.0.0.1", port)
        assert not (tmp_path / "s").exists()


@pytest.mark.both_engines
async def test_a_master_that_stays_keeps_no_forward() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server, echoing() as port:
        with control_directory() as directory:
            first = sshmux.ConnectionManager(control_dir=directory, persist=60)
            async with first as manager:
                server.register(manager, 1)
                async with manager.get_connection(1) as connection:
                    pid = connection.get_extra_info("master_pid")
                    here = await connection.forward_local_port("localhost", 0, "127.0.0.1", port)
                    await manager.stop()
                    await nobody_listens(here.get_port())
            async with sshmux.ConnectionManager(control_dir=directory, persist=60) as other:
                server.register(other, 1)
                async with other.get_connection(1) as fresh_copy:
                    assert fresh_copy.get_extra_info("master_pid") == pid
                    await fresh_copy.run("true", check=True)
                await other.disconnect(1)


@pytest.mark.both_engines
@pytest.mark.parametrize("remote", [False, True])
async def test_cancelled_as_it_opens(remote: bool) -> None:
    async with lent() as connection, echoing() as port:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            chosen = found.getsockname()[1]
        forward = connection.forward_remote_port if remote else connection.forward_local_port
        for turns in range(6):
            opening = asyncio.ensure_future(
                forward("127.0.0.1", chosen, "127.0.0.1", port).__aenter__()
            )
            for _ in range(turns):
                await asyncio.sleep(0)
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await opening).end()
            await nobody_listens(chosen)
        for turns in range(6):
            connecting = asyncio.ensure_future(connection.open_connection("127.0.0.1", port))
            for _ in range(turns):
                await asyncio.sleep(0)
            connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                (await connecting)[1].close()
        await connection.run("true", check=True)


@pytest.mark.both_engines
async def test_a_frozen_master_is_not_waited_for_for_ever() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server, register={"timeout": 5}) as manager:
            async with await manager.connect(1) as connection:
                pid = connection.get_extra_info("master_pid")
                os.kill(pid, signal.SIGSTOP)
                try:
                    with pytest.raises(sshmux.TimeoutError, match="did not answer"):
                        await connection.forward_remote_port("localhost", 0, "127.0.0.1", 1)
                finally:
                    os.kill(pid, signal.SIGCONT)
