"""What a process's streams may be led from and to, as asyncssh has it; on both engines."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import re
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import DEVNULL, PIPE, STDOUT, Connection
from sshmux.testing import PrivateServer

from ..support import managed, nap, sleepers, until

DATA = bytes(range(256)) * 1024  # more than a pipe holds


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateServer]:
    with PrivateServer(login_shell="/bin/sh") as server:
        yield server


@asynccontextmanager
async def connected(server: PrivateServer) -> AsyncIterator[Connection]:
    async with managed(server) as manager, manager.get_connection(1) as connection:
        yield connection


class Taker:
    """An object with a `write` that has to be awaited, and a `close`."""

    def __init__(self) -> None:
        self.data = b""
        self.closed = False

    async def write(self, data: bytes) -> None:
        await asyncio.sleep(0)
        self.data += data

    async def close(self) -> None:
        self.closed = True


async def read_by(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


async def words() -> AsyncIterator[Any]:
    yield "text, "
    await asyncio.sleep(0)
    yield b"bytes, "
    yield bytearray(b"an array")


# What it reads


@pytest.mark.both_engines
async def test_objects_as_stdin(server: PrivateServer, tmp_path: Path) -> None:
    plain, packed = tmp_path / "plain", tmp_path / "packed.gz"
    plain.write_bytes(DATA)
    packed.write_bytes(gzip.compress(DATA))
    skipped = plain.open("rb")
    assert skipped.read(5) == DATA[:5]
    half = io.BytesIO(DATA)
    half.seek(1000)
    async with connected(server) as connection:
        sources: list[tuple[Any, bytes]] = [
            (io.BytesIO(DATA), DATA),
            (half, DATA[1000:]),
            (await read_by(DATA), DATA),
            (plain, DATA),
            (skipped, DATA[5:]),
            (plain.open("rb", buffering=0), DATA),
            (gzip.GzipFile(packed), DATA),
        ]
        for source, expected in sources:
            process = await connection.create_process("cat", stdin=source, encoding=None)
            assert process.stdin is None
            assert await process.communicate() == (expected, b"")
            if callable(end := getattr(source, "close", None)):
                end()
        text = "grüße\n" * 3
        inlets: list[tuple[Any, str]] = [
            (io.StringIO(text), text),
            (words(), "text, bytes, an array"),
        ]
        for inlet, said in inlets:
            process = await connection.create_process("cat", stdin=inlet)
            assert (await process.communicate())[0] == said
        async with connection.start_sftp_client() as sftp, sftp.open(str(plain), "rb") as remote:
            process = await connection.create_process("cat", stdin=remote, encoding=None)
            assert (await process.communicate())[0] == DATA


async def test_pipes_and_sockets_as_stdin(server: PrivateServer) -> None:
    async with connected(server) as connection:
        reading, writing = os.pipe()
        with open(reading, "rb", buffering=0) as pipe:
            process = await connection.create_process("cat", stdin=pipe)
            os.write(writing, b"through a pipe")
            os.close(writing)
            assert (await process.communicate())[0] == "through a pipe"
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = await connection.create_process("cat", stdin=theirs)
            ours.sendall(b"through a socket")
            ours.shutdown(socket.SHUT_WR)
            assert (await process.communicate())[0] == "through a socket"


async def test_input_is_all_that_it_reads(server: PrivateServer) -> None:
    async with connected(server) as connection:
        for data, encoding in (("word", "utf-8"), (DATA, None), ("", "utf-8")):
            process = await connection.create_process("cat", input=data, encoding=encoding)
            assert process.stdin is not None
            assert process.stdin.is_closing()
            assert (await process.communicate())[0] == data
        result = await (await connection.create_process("true", input="x" * 500_000)).wait()
        assert result.exit_status == 0
        for wrong in ({"input": "x", "stdin": DEVNULL}, {"input": 5}, {"bufsize": -1}):
            with pytest.raises(sshmux.ConfigError):
                await connection.create_process("cat", **wrong)  # type: ignore[call-overload]


async def test_without_send_eof_its_input_goes_on(server: PrivateServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("one\n")
    async with connected(server) as connection:
        sources: list[Any] = [tmp_path / "file", io.StringIO("one\n"), await read_by(b"one\n")]
        for source in sources:
            process = await connection.create_process("cat", stdin=source, send_eof=False)
            assert await process.stdout.readline() == "one\n"
            process.stdin.write("two\n")
            process.stdin.write_eof()
            assert (await process.communicate())[0] == "two\n"
        process = await connection.create_process("cat", stdin=DEVNULL, send_eof=False)
        process.stdin.write("by hand")
        assert not process.is_closing()
        process.stdin.write_eof()
        assert process.stdin.is_closing()
        assert process.is_closing()
        assert (await process.communicate())[0] == "by hand"


# What it writes to


@pytest.mark.both_engines
async def test_objects_as_stdout_and_stderr(server: PrivateServer, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(DATA)
    command = f"cat {tmp_path}/data; cat {tmp_path}/data >&2"
    async with connected(server) as connection:
        memory, taker = io.BytesIO(), Taker()
        process = await connection.create_process(
            command, stdout=memory, stderr=taker, encoding=None
        )
        assert (await process.wait(check=True)).exit_status == 0
        assert (memory.getvalue(), taker.data) == (DATA, DATA)
        assert (memory.closed, taker.closed) == (False, True)

        both, kept = io.StringIO(), Taker()
        process = await connection.create_process("echo ü; echo ö >&2", stdout=both, stderr=STDOUT)
        await process.wait(check=True)
        assert both.getvalue() == "ü\nö\n"
        process = await connection.create_process("echo on", stdout=kept, recv_eof=False)
        await process.wait(check=True)
        assert (kept.data, kept.closed) == (b"on\n", False)

        with gzip.open(tmp_path / "packed.gz", "wb") as packed:
            process = await connection.create_process(
                command, stdout=packed, stderr=DEVNULL, encoding=None, recv_eof=False
            )
            await process.wait(check=True)
        assert gzip.decompress((tmp_path / "packed.gz").read_bytes()) == DATA

        async with connection.start_sftp_client() as sftp:
            remote = await sftp.open(str(tmp_path / "copy"), "wb")
            process = await connection.create_process(
                command, stdout=remote, stderr=DEVNULL, encoding=None
            )
            await process.wait(check=True)
        assert (tmp_path / "copy").read_bytes() == DATA


@pytest.mark.both_engines
async def test_a_given_pipe_or_socket_is_closed_at_the_end(server: PrivateServer) -> None:
    async with connected(server) as connection:
        for recv_eof in (True, False):
            reading, writing = os.pipe()
            process = await connection.create_process(
                "echo word", stdout=writing, recv_eof=recv_eof
            )
            await process.wait(check=True)
            if not recv_eof:
                os.close(writing)  # still the caller's
            with open(reading, "rb") as pipe:
                assert pipe.read() == b"word\n"
        ours, theirs = socket.socketpair()
        with ours:
            ours.settimeout(20)
            process = await connection.create_process(
                "echo word >&2", stdout=DEVNULL, stderr=theirs
            )
            await process.wait(check=True)
            assert ours.recv(100) == b"word\n"
            assert ours.recv(100) == b""
            assert theirs.fileno() == -1


async def test_streams_of_asyncio_as_stdout(server: PrivateServer) -> None:
    async with connected(server) as connection:
        ours, theirs = socket.socketpair()
        reader, closing = await asyncio.open_connection(sock=ours)
        _, writer = await asyncio.open_connection(sock=theirs)
        try:
            process = await connection.create_process(
                "head -c 300000 /dev/zero", stdout=writer, encoding=None
            )
            assert await reader.read() == bytes(300_000)  # to its end
            await process.wait(check=True)
        finally:
            for each in (closing, writer):
                each.close()
                with suppress(OSError):
                    await each.wait_closed()


async def test_one_process_after_the_other_into_one_input(server: PrivateServer) -> None:
    async with connected(server) as connection:
        target = await connection.create_process("cat")
        for number in (1, 2):
            source = await connection.create_process(
                f"echo {number}", stdout=target.stdin, recv_eof=False
            )
            await source.wait(check=True)
            assert await target.stdout.readline() == f"{number}\n"
        target.stdin.write_eof()
        assert (await target.communicate())[0] == ""


# When an object fails


class Failing(io.RawIOBase):
    def read(self, size: int = -1, /) -> bytes:
        raise RuntimeError("nothing to read")

    def write(self, data: object, /) -> int:
        raise RuntimeError("nowhere to write")


@pytest.mark.parametrize("which", ["stdin", "stdout", "stderr"])
async def test_an_object_that_fails_ends_the_process(server: PrivateServer, which: str) -> None:
    seconds = nap()
    where: dict[str, Any] = {which: Failing()}
    async with connected(server) as connection:
        process = await connection.create_process(
            f"echo out; echo err >&2; exec sleep {seconds}", encoding=None, **where
        )
        with pytest.raises(RuntimeError, match=r"nothing to read|nowhere to write"):
            await process.wait(timeout=20)
        await process.wait_closed()
        await until(lambda: not sleepers(seconds))
        assert (await connection.run("echo on")).stdout == "on\n"


async def test_what_is_of_no_use_is_refused(server: PrivateServer) -> None:
    closed = io.BytesIO()
    closed.close()
    wrong: list[dict[str, Any]] = [
        {"stdin": object()},
        {"stdout": object()},
        {"stdin": closed},
        {"stderr": closed},
        {"stdin": io.StringIO("x"), "encoding": None},
        {"stdout": io.StringIO(), "encoding": None},
        {"stdin": words},  # not called
    ]
    async with connected(server) as connection:
        for keywords in wrong:
            with pytest.raises(sshmux.ConfigError):
                await connection.create_process("cat", **keywords)


async def test_an_endless_source_does_not_outlive_its_reader(server: PrivateServer) -> None:
    over = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(100_000)
        finally:
            over.set()

    async with connected(server) as connection:
        process = await connection.create_process("head -c 10", stdin=endless(), encoding=None)
        assert (await process.communicate())[0] == bytes(10)
        async with asyncio.timeout(20):
            await over.wait()


async def test_an_object_that_takes_nothing_keeps_no_connection(server: PrivateServer) -> None:
    class Stuck:
        async def write(self, data: bytes) -> None:
            await asyncio.Event().wait()

    async with connected(server) as connection:  # which looks for tasks that are left
        process = await connection.create_process("echo word", stdout=Stuck(), encoding=None)
        await until(lambda: process.exit_status == 0)
        memory = io.BytesIO()
        await connection.create_process("sleep 0.2; echo word", stdout=memory, encoding=None)
        await until(lambda: memory.getvalue() == b"word\n")  # it runs on with nobody to hold it


# How it ended


@pytest.mark.both_engines
@pytest.mark.parametrize("name", ["TERM", "KILL", "INT", "USR1"])
async def test_the_signal_that_ended_it_has_its_name(server: PrivateServer, name: str) -> None:
    seconds = nap()
    async with connected(server) as connection:
        process = await connection.create_process(f"exec sleep {seconds}")
        await until(lambda: bool(sleepers(seconds)))
        process.send_signal(name)
        result = await process.wait(timeout=20)
        assert result.exit_signal is not None
        assert process.exit_signal is not None
        assert (result.exit_signal[0], process.exit_signal[0]) == (name, name)
        assert (result.exit_status, process.exit_status) == (-1, -1)
        assert result.returncode == process.returncode == -signal.Signals[f"SIG{name}"]
        with pytest.raises(sshmux.ProcessError, match=f"ended by SIG{name} on the remote"):
            result.check_returncode()


async def test_a_signal_that_was_caught_is_no_end(server: PrivateServer) -> None:
    async with connected(server) as connection:
        process = await connection.create_process("trap 'exit 7' TERM; echo set; sleep 60 & wait")
        assert await process.stdout.readline() == "set\n"
        process.terminate()
        result = await process.wait(timeout=20)
        assert (result.exit_status, result.exit_signal, result.returncode) == (7, None, 7)


# Reading


async def test_readuntil_takes_patterns(server: PrivateServer) -> None:
    async with connected(server) as connection:
        process = await connection.create_process("printf 'one1two22th'; sleep 0.1; echo ree333x")
        assert await process.stdout.readuntil(re.compile("[0-9]")) == "one1"
        assert await process.stdout.readuntil(re.compile("2+t"), max_separator_len=4) == "two22t"
        assert await process.stdout.readuntil(re.compile("3+x")) == "hree333x"
        with pytest.raises(asyncio.IncompleteReadError):
            await process.stdout.readuntil(re.compile("never"))


async def test_what_is_wrapped_is_seen_for_what_it_is(server: PrivateServer) -> None:
    async with connected(server) as connection:
        with tempfile.NamedTemporaryFile("w+") as named, tempfile.TemporaryFile("w+b") as file:
            named.write("in its buffer\n")
            process = await connection.create_process("echo behind", stdout=named)
            await process.wait(check=True)
            named.seek(0)
            assert named.read() == "in its buffer\nbehind\n"
            file.write(b"to be read")
            file.seek(6)
            process = await connection.create_process("cat", stdin=file, stderr=PIPE)
            assert await process.communicate() == ("read", "")
        with tempfile.SpooledTemporaryFile(max_size=100) as spooled:
            process = await connection.create_process(
                "head -c 1000 /dev/zero", stdout=spooled, encoding=None, recv_eof=False
            )
            await process.wait(check=True)
            spooled.seek(0)
            assert spooled.read() == bytes(1000)


async def test_what_leads_elsewhere_is_empty_in_the_stream_s_own_kind(
    server: PrivateServer, tmp_path: Path
) -> None:
    async with connected(server) as connection:
        empty: Any
        for encoding, empty in ((None, b""), ("utf-8", "")):
            async with connection.create_process(
                "echo out; echo err >&2; exec sleep 3600",
                stdout=tmp_path / "out",
                stderr=tmp_path / "err",
                encoding=encoding,
            ) as process:
                with pytest.raises(sshmux.ProcessTimeout) as caught:
                    await process.wait(timeout=0.01)
                assert (caught.value.stdout, caught.value.stderr) == (empty, empty)
            async with connection.create_process(
                "echo out", stdout=tmp_path / "out", stderr=DEVNULL, encoding=encoding
            ) as process:
                result = await process.wait()
            assert (result.stdout, result.stderr) == (empty, empty)
            result = await connection.run("echo", stdout=tmp_path / "out", encoding=encoding)
            assert result.stdout == empty


async def test_input_that_leads_nowhere_is_an_error(server: PrivateServer) -> None:
    async with connected(server) as connection:
        async with connection.create_process("cat", stdin=DEVNULL) as process:
            with pytest.raises(sshmux.ConfigError, match="leads elsewhere"):
                await process.communicate("lost")
            assert await process.communicate() == ("", "")


async def test_a_descriptor_that_is_not_open_harms_nobody(server: PrivateServer) -> None:
    """A master that is told of one, and is not given it, is of no use to anybody any more."""
    async with connected(server) as connection:
        for number in (987_654, 10**30):
            with pytest.raises(sshmux.ConfigError, match="no open descriptor"):
                await connection.run("true", stdout=number)
            with pytest.raises(sshmux.ConfigError, match="no open descriptor"):
                await connection.relay("true", stdin=number, stdout=len, stderr=len)
            for name in ("stdin", "stdout", "stderr"):
                with pytest.raises(sshmux.ConfigError, match="no open descriptor"):
                    await connection.create_process("true", **{name: number})
        assert (await connection.run("echo alive")).stdout == "alive\n"
