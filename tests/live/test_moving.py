"""docs/moving-from-asyncssh.md: each row of its table is a test, and each name is looked for."""

from __future__ import annotations

import asyncio
import inspect
import io
import os
import re
import shlex
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

import sshmux
from sshmux import Connection
from sshmux.openssh.version import ssh_version
from sshmux.testing import PrivateServer

from ..support import managed

PAGE = (Path(__file__).parents[2] / "docs" / "moving-from-asyncssh.md").read_text()
Case = Callable[[PrivateServer, Connection], Awaitable[None]]
CASES: dict[str, Case] = {}


def case(what: str) -> Callable[[Case], Case]:
    """Registers the test of a row, by the row's first cell."""

    def register(test: Case) -> Case:
        CASES[what] = test
        return test

    return register


def rows() -> list[str]:
    """The first cell of each row: a list, whose cells are between middle dots."""
    section = PAGE.split("## Where asyncssh's own tests find a difference")[1].split("\n## ")[0]
    items = re.findall(r"^- (.*\n(?:  .*\n)*)", section + "\n", re.MULTILINE)
    return [" ".join(item.split()).partition(" · ")[0] for item in items]


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateServer]:
    with PrivateServer(login_shell="/bin/sh") as server:
        yield server


@asynccontextmanager
async def connected(server: PrivateServer) -> AsyncIterator[Connection]:
    async with managed(server) as manager, await manager.connect(1) as connection:
        yield connection


def test_each_row_has_a_test_and_each_test_a_row() -> None:
    assert rows() == list(CASES)


# The rows


@case("a port below 1, or above 65535; a host that is empty, or bytes")
async def _ports(server: PrivateServer, conn: Connection) -> None:
    odd: Any
    for odd in (("", 7), ("localhost", 0), ("localhost", 65536), (b"\xff", 7)):
        with pytest.raises(sshmux.ConfigError):
            await conn.open_connection(*odd)
        with pytest.raises(sshmux.ConfigError):
            await conn.forward_local_port("localhost", 0, *odd)
    for odd in (65536, -1):
        with pytest.raises(sshmux.ConfigError):
            await conn.forward_remote_port("localhost", odd, "localhost", 7)


@case("an empty path of a Unix socket")
async def _paths(server: PrivateServer, conn: Connection) -> None:
    with pytest.raises(sshmux.ConfigError):
        await conn.open_unix_connection("")
    with pytest.raises(sshmux.ConfigError):
        await conn.forward_local_port_to_path("localhost", 0, "")


@case("the same forward twice on one connection")
async def _twice(server: PrivateServer, conn: Connection) -> None:
    target = "127.0.0.1", server.port
    first = await conn.forward_local_port("127.0.0.1", 0, *target)
    async with conn.forward_local_port("127.0.0.1", first.get_port(), *target) as second:
        await first.end()
        reader, writer = await asyncio.open_connection("127.0.0.1", second.get_port())
        assert (await reader.readline()).startswith(b"SSH-2.0")
        writer.close()
    # What leads elsewhere is another one, and that port is taken.
    async with conn.forward_local_port("127.0.0.1", 0, *target) as first:
        with pytest.raises(sshmux.ChannelListenError):
            await conn.forward_local_port("127.0.0.1", first.get_port(), "127.0.0.1", 1)


@case("the link is lost while `open_connection()` opens")
async def _lost(server: PrivateServer, conn: Connection) -> None:
    pid = conn.get_extra_info("master_pid")
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(sshmux.ConnectionLost):
        await conn.open_connection("127.0.0.1", server.port)


@case("`open_unix_connection()` is refused, with an ssh before 9.4")
async def _unix(server: PrivateServer, conn: Connection) -> None:
    if await ssh_version("ssh") >= (9, 4):
        with pytest.raises(sshmux.ChannelOpenError):
            await conn.open_unix_connection("/nowhere/socket")
        return
    reader, writer = await conn.open_unix_connection("/nowhere/socket")
    assert await reader.read() == b""
    writer.close()


@case("a jump to a host and port by way of the same")
async def _jump(server: PrivateServer, conn: Connection) -> None:
    with tempfile.TemporaryDirectory() as place:
        config = Path(place) / "config"
        config.write_text(
            "Host target\n HostName localhost\n Port 2222\n ProxyJump localhost:2222\n"
        )
        manager = sshmux.ConnectionManager(control_dir=Path(place) / "m")
        try:
            manager.register_cluster("t", "target", config_file=config)
            with pytest.raises(sshmux.ConfigError, match="loop"):
                await manager.connect("t")
        finally:
            await manager.stop()


@case("`reason` of `ProcessError`")
async def _reason(server: PrivateServer, conn: Connection) -> None:
    with pytest.raises(sshmux.ProcessError) as caught:
        await conn.run("echo oh dear >&2; exit 7", check=True)
    assert "exit 7" in caught.value.reason
    assert "oh dear" in caught.value.reason
    assert caught.value.exit_status == 7


@case("`reason` of `TimeoutError` of `run()`")
async def _timeout(server: PrivateServer, conn: Connection) -> None:
    with pytest.raises(sshmux.TimeoutError) as caught:
        await conn.run("echo begun; exec sleep 3600", timeout=1)
    assert isinstance(caught.value, sshmux.ProcessError)
    assert "timeout=1 s" in caught.value.reason
    assert "it was ended" in caught.value.reason


@case('undecodable output with `errors="strict"`')
async def _undecodable(server: PrivateServer, conn: Connection) -> None:
    with pytest.raises(UnicodeDecodeError):
        await conn.run(r"printf '\377'", errors="strict")
    async with conn.create_process(r"printf '\377'") as process:
        with pytest.raises(UnicodeDecodeError):
            await process.stdout.read()


@case("`readuntil()` where no separator comes")
async def _readuntil(server: PrivateServer, conn: Connection) -> None:
    many = 5 * 1024 * 1024
    async with conn.create_process(f"head -c {many} /dev/zero; echo") as process:
        assert len(await process.stdout.readuntil("\n")) == many + 1


@case("a `BytesIO` or `StringIO` given as `stdout`")
async def _memory(server: PrivateServer, conn: Connection) -> None:
    for memory, encoding in ((io.BytesIO(), None), (io.StringIO(), "utf-8")):
        async with conn.create_process("echo x", stdout=memory, encoding=encoding) as process:
            await process.wait()
        assert memory.getvalue() in ("x\n", b"x\n")


@case("`process.command` of a login shell")
async def _login_shell(server: PrivateServer, conn: Connection) -> None:
    async with conn.create_process(stdin=sshmux.DEVNULL) as process:
        assert process.command == ""
        assert (await process.wait()).command == ""


@case("`reason` of `SFTPError`")
async def _sftp_reason(server: PrivateServer, conn: Connection) -> None:
    async with conn.start_sftp_client() as sftp:
        with pytest.raises(sshmux.SFTPNoSuchFile) as caught:
            await sftp.stat("/nowhere/file")
        assert "/nowhere/file" in caught.value.reason
        with pytest.raises(sshmux.SFTPNoSuchFile) as caught:
            await sftp.glob("/nowhere/*")
        assert "/nowhere/*" in caught.value.reason
        with pytest.raises(sshmux.SFTPFailure, match="recurse=True"):
            await sftp.get("/etc", tempfile.gettempdir())


@case("a server that does not speak SFTP")
async def _no_sftp(server: PrivateServer, conn: Connection) -> None:
    spoken = shlex.join(["printf", r"\000\000\000\005\145\000\000\000\003"])
    for command in ("true", "echo hello", spoken):
        with pytest.raises(sshmux.ChannelOpenError):
            await conn.start_sftp_client(server=command)


@pytest.mark.parametrize("what", list(CASES))
async def test_of_a_row(what: str, server: PrivateServer) -> None:
    async with connected(server) as conn:
        await CASES[what](server, conn)


# The names

KINDS: dict[str, tuple[type, type]] = {
    "asyncssh's connection": (asyncssh.SSHClientConnection, sshmux.Connection),
    "asyncssh's `SFTPClient`": (asyncssh.SFTPClient, sshmux.SFTPClient),
    "asyncssh's `SFTPClientFile`": (asyncssh.SFTPClientFile, sshmux.SFTPClientFile),
    "asyncssh's `SSHClientProcess`": (asyncssh.SSHClientProcess, sshmux.RemoteProcess),
    "asyncssh's `SSHReader`": (asyncssh.SSHReader, sshmux.StreamReader),
    "asyncssh's `SSHWriter`": (asyncssh.SSHWriter, sshmux.StreamWriter),
    "asyncssh's `SSHListener`": (asyncssh.SSHListener, sshmux.Listener),
}
COMPLETE = asyncssh.SFTPClient, asyncssh.SFTPClientFile  # each public name of them is told of
NEWER = {"get_addresses"}  # than the oldest asyncssh that the tests take
ATTRIBUTES = {"exit_signal", "command", "env", "stdin", "stdout", "stderr"}


def lists() -> dict[str, list[tuple[str, str]]]:
    """What each list tells: names (with keywords in brackets), and the verdict."""
    found: dict[str, list[tuple[str, str]]] = {}
    parts = re.split(r"^\*of (.+): here.*\*$", PAGE.split("## Names")[1], flags=re.MULTILINE)
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        items = re.findall(r"^- ((?:.|\n  )+)", text, re.MULTILINE)
        told = [" ".join(item.split()) for item in items]
        found[title] = [
            (match[1], match[2])
            for item in told
            if (match := re.match(r"((?:`[^`]+`(?:, )?)+): (.*)", item))
        ]
    return found


@pytest.mark.parametrize("title", list(KINDS))
def test_names(title: str) -> None:
    theirs, ours = KINDS[title]
    told = lists()[title]
    assert told
    seen = set()
    for names, verdict in told:
        for name, brackets in re.findall(r"`([a-z_0-9]+)(?:\(([^)`]*)\))?`", names):
            seen.add(name)
            keywords = re.findall(r"(\w+)=", brackets)
            if verdict.startswith("no") and keywords:
                taken = inspect.signature(getattr(ours, name)).parameters
                assert not taken.keys() & set(keywords), name
            elif verdict.startswith("no"):
                assert not hasattr(ours, name), name
                assert hasattr(theirs, name) or name in NEWER, name
            elif verdict.startswith(("yes", "[yes]", "the same")):
                assert hasattr(ours, name) or name in ATTRIBUTES, name
                if keywords:
                    taken = inspect.signature(getattr(ours, name)).parameters
                    assert taken.keys() >= set(keywords), name
                _takes_the_same(name, theirs, ours)
    if theirs in COMPLETE:
        public = {name for name in dir(theirs) if not name.startswith("_")}
        assert not public - seen


# Parameters of asyncssh's that are not taken, and are told of on the page.
WITHOUT = {
    "accept_handler",  # of forwards
    "check",  # of realpath
    "flags",  # of stat and lstat
    *("env", "send_env", "sftp_version"),  # of start_sftp_client
}


def _takes_the_same(name: str, theirs: type, ours: type) -> None:
    """By the same names, in the same order where both take them by position."""
    there, here = getattr(theirs, name, None), getattr(ours, name, None)
    if not callable(there) or not callable(here):
        return
    wanted = inspect.signature(there).parameters.values()
    taken = inspect.signature(here).parameters
    if any(each.kind == each.VAR_KEYWORD for each in taken.values()):
        return
    named = [
        each.name
        for each in wanted
        if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL) and each.name not in WITHOUT
    ]
    assert taken.keys() >= set(named), name
    by_position = [
        each for each in taken if taken[each].kind != taken[each].KEYWORD_ONLY and each in named
    ]
    assert by_position == [each for each in named if each in by_position], name
