"""What a real master does with the messages on its control socket, one by one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from sshmux.openssh.mux.conversation import Conversation
from sshmux.openssh.mux.protocol import (
    DYNAMIC,
    LOCAL,
    REMOTE,
    UNIX,
    VERSION,
    Alive,
    AliveCheck,
    CloseForward,
    ExitMessage,
    Failure,
    Hello,
    Message,
    NewSession,
    Ok,
    OpenForward,
    RemotePort,
    SessionOpened,
    StdioForward,
    StopListening,
    TerminalRefused,
    Terminate,
)
from sshmux.openssh.version import ssh_version
from sshmux.testing import PrivateServer

from ..support import managed, until

LOOPBACK = "127.0.0.1"


class Talk:
    """A conversation whose messages are waited for."""

    def __init__(self, path: Path) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.conversation = Conversation(path, self.messages.put_nowait, self.ended.set_result)
        self.conversation.watch()

    async def next(self) -> Message:
        async with asyncio.timeout(10):
            message = await self.messages.get()
            return await self.next() if isinstance(message, Hello) else message

    async def ask(self, message: Message, *descriptors: int) -> Message:
        self.conversation.send(message, descriptors)
        return await self.next()

    async def end(self) -> list[Message]:
        """What was still said before the master ended it."""
        async with asyncio.timeout(10):
            assert await self.ended is None
        return [self.messages.get_nowait() for _ in range(self.messages.qsize())]


@dataclass
class Subject:
    """The master that is talked to."""

    server: PrivateServer
    path: Path
    pid: int
    talks: list[Talk]

    def talk(self) -> Talk:
        self.talks.append(Talk(self.path))
        return self.talks[-1]

    async def answers(self) -> bool:
        talk = self.talk()
        return await talk.ask(AliveCheck(9)) == Alive(9, self.pid)


@pytest.fixture
async def master() -> AsyncIterator[Subject]:
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with await manager.connect(1) as connection:
            path = connection.get_extra_info("control_path")
            subject = Subject(server, path, connection.get_extra_info("master_pid"), [])
            try:
                yield subject
            finally:
                for talk in subject.talks:
                    talk.conversation.close()


@pytest.fixture
async def talk(master: Subject) -> Talk:
    return master.talk()


class Stdio:
    """Three pipes. What is sent is closed here, so that their ends are seen."""

    def __init__(self) -> None:
        (theirs_in, self.input), (self.output, theirs_out) = os.pipe(), os.pipe()
        self.errors, theirs_errors = os.pipe()
        self.theirs = [theirs_in, theirs_out, theirs_errors]

    def send(self, talk: Talk, message: Message) -> None:
        talk.conversation.send(message, self.theirs[: message.descriptors])
        while self.theirs:
            os.close(self.theirs.pop())

    def write(self, data: bytes) -> None:
        os.write(self.input, data)

    def end_input(self) -> None:
        os.close(self.input)
        self.input = -1

    async def read(self) -> tuple[bytes, bytes]:
        return (
            await asyncio.to_thread(read_all, self.output),
            await asyncio.to_thread(read_all, self.errors),
        )

    def close(self) -> None:
        for descriptor in (self.input, self.output, self.errors, *self.theirs):
            if descriptor != -1:
                os.close(descriptor)


def read_all(descriptor: int) -> bytes:
    data = bytearray()
    while piece := os.read(descriptor, 65536):
        data += piece
    return bytes(data)


@pytest.fixture
def stdio() -> Iterator[Stdio]:
    made = Stdio()
    yield made
    made.close()


async def run(master: Subject, command: str, given: bytes = b"") -> tuple[int | None, bytes, bytes]:
    """A session from its beginning to its end: exit status, if it has one, and output."""
    talk, stdio = master.talk(), Stdio()
    try:
        stdio.send(talk, NewSession(5, command))
        opened = await talk.next()
        assert isinstance(opened, SessionOpened)
        assert opened.request == 5
        stdio.write(given)
        stdio.end_input()
        out, errors = await stdio.read()
        rest = await talk.end()
    finally:
        stdio.close()
    if not rest:
        return None, out, errors
    (exited,) = rest
    assert isinstance(exited, ExitMessage)
    assert exited.request == opened.value
    return exited.value, out, errors


# Signs of life


async def test_it_says_hello_and_its_process_id(master: Subject) -> None:
    talk = master.talk()
    hello = await asyncio.wait_for(talk.messages.get(), 10)
    assert isinstance(hello, Hello)
    assert hello.version == VERSION
    for request in (0, 1, 0xFFFFFFFF):
        assert await talk.ask(AliveCheck(request)) == Alive(request, master.pid)
    assert "ssh" in psutil.Process(master.pid).name()


async def test_a_stopped_master_answers_when_it_goes_on(master: Subject, talk: Talk) -> None:
    assert await talk.ask(AliveCheck(1)) == Alive(1, master.pid)
    os.kill(master.pid, signal.SIGSTOP)
    try:
        late = master.talk()
        talk.conversation.send(AliveCheck(2))
        late.conversation.send(AliveCheck(3))
        await asyncio.sleep(0.1)
        assert (talk.messages.empty(), late.messages.empty()) == (True, True)
        assert talk.conversation.standing
        assert late.conversation.standing
    finally:
        os.kill(master.pid, signal.SIGCONT)
    assert await talk.next() == Alive(2, master.pid)
    assert await late.next() == Alive(3, master.pid)


# Sessions


async def test_a_command_its_output_and_its_status(master: Subject) -> None:
    assert await run(master, "echo out; echo err >&2; exit 3") == (3, b"out\n", b"err\n")


async def test_its_input_reaches_a_command(master: Subject) -> None:
    text = b"x\0\xff" * 10_000
    assert await run(master, "cat", text) == (0, text, b"")


async def test_a_subsystem(talk: Talk, stdio: Stdio) -> None:
    stdio.send(talk, NewSession(1, "sftp", subsystem=True))
    assert isinstance(await talk.next(), SessionOpened)
    stdio.write(b"\0\0\0\x05\x01\0\0\0\x03")
    version = await asyncio.to_thread(os.read, stdio.output, 1000)
    assert version[4:9] == b"\x02\0\0\0\x03"
    stdio.end_input()
    (exited,) = await talk.end()
    assert isinstance(exited, ExitMessage)
    assert exited.value == 0


async def test_every_exit_status(master: Subject) -> None:
    statuses = iter(range(256))
    exited = []

    async def worker() -> None:
        for status in statuses:
            exited.append((status, await run(master, f"exit {status}")))

    # Of ten sessions: sshd may see a new one before it is done with the one that has just ended.
    await asyncio.gather(*(worker() for _ in range(5)))
    assert sorted(exited) == [(status, (status, b"", b"")) for status in range(256)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_signal_is_no_status(master: Subject, number: int) -> None:
    assert await run(master, f"echo begun; kill -{int(number)} $$") == (None, b"begun\n", b"")


async def test_a_second_session_in_a_conversation_is_refused(talk: Talk, stdio: Stdio) -> None:
    stdio.send(talk, NewSession(1, "cat"))
    assert isinstance(await talk.next(), SessionOpened)
    with open(os.devnull, "r+b") as null:
        failed = await talk.ask(NewSession(2, "true"), *3 * [null.fileno()])
    assert isinstance(failed, Failure)
    assert failed.request == 2
    stdio.end_input()
    assert [type(message) for message in await talk.end()] == [ExitMessage]


async def test_a_session_too_many_is_refused_by_the_server() -> None:
    async with PrivateServer(login_shell="/bin/sh", max_sessions=1) as server:
        async with managed(server) as manager, await manager.connect(1) as connection:
            path, pid = (connection.get_extra_info(key) for key in ("control_path", "master_pid"))
            master, first, second = Subject(server, path, pid, []), Stdio(), Stdio()
            one, two = master.talk(), master.talk()
            first.send(one, NewSession(1, "cat"))
            assert isinstance(await one.next(), SessionOpened)
            second.send(two, NewSession(2, "true"))
            refused = await two.next()
            assert isinstance(refused, Failure)
            assert "refused" in refused.reason
            assert await two.end() == []
            first.end_input()
            assert [type(message) for message in await one.end()] == [ExitMessage]
            first.close()
            second.close()


async def test_a_terminal_that_is_refused() -> None:
    options = {"PermitTTY": False}
    async with PrivateServer(login_shell="/bin/sh", options=options) as server:
        async with managed(server) as manager, await manager.connect(1) as connection:
            talk, stdio = Talk(connection.get_extra_info("control_path")), Stdio()
            stdio.send(talk, NewSession(1, "echo on", tty=True, term="vt100"))
            opened = await talk.next()
            assert isinstance(opened, SessionOpened)
            stdio.end_input()
            assert await talk.next() == TerminalRefused(opened.value)
            assert await talk.next() == ExitMessage(opened.value, 0)
            assert await stdio.read() == (b"on\n", b"PTY allocation request failed\r\n")
            stdio.close()
            talk.conversation.close()


async def test_the_end_of_our_side_ends_a_session(master: Subject, stdio: Stdio) -> None:
    talk = master.talk()
    stdio.send(talk, NewSession(1, "cat"))
    assert isinstance(await talk.next(), SessionOpened)
    talk.conversation.close()
    assert await stdio.read() == (b"", b"")
    assert await master.answers()


@pytest.mark.parametrize("size", [100_000, 200_000])
async def test_a_long_command_line_holds_nobody_up(
    master: Subject, stdio: Stdio, size: int
) -> None:
    """It starts, or does not, as the server's system has it; the others go on meanwhile."""
    talk, other = master.talk(), master.talk()
    assert isinstance(await other.ask(AliveCheck(1)), Alive)
    stdio.send(talk, NewSession(1, ": " + "x" * (size - 2)))
    for request in range(5):
        async with asyncio.timeout(1):
            assert await other.ask(AliveCheck(request)) == Alive(request, master.pid)
    opened = await talk.next()
    assert isinstance(opened, SessionOpened)
    _, errors = await stdio.read()
    (exited,) = await talk.end()
    started = exited == ExitMessage(opened.value, 0)
    assert started or b"too long" in errors
    assert started or size > 128 * 1024 - 10  # Linux: MAX_ARG_STRLEN


@pytest.mark.parametrize("size", [207_800, 212_000, 262_000])
async def test_a_long_command_line_to_a_stopped_master(
    master: Subject, stdio: Stdio, size: int
) -> None:
    """The kernel takes it, or all but the descriptors, or a part: they come when it goes on."""
    talk = master.talk()
    assert await talk.ask(AliveCheck(1)) == Alive(1, master.pid)
    os.kill(master.pid, signal.SIGSTOP)
    try:
        stdio.send(talk, NewSession(1, ": " + "x" * size))
        await asyncio.sleep(0.02)
    finally:
        os.kill(master.pid, signal.SIGCONT)
    answer = await talk.next()
    assert isinstance(answer, SessionOpened | Failure)
    assert await master.answers()


async def test_a_master_waits_for_descriptors_and_for_nothing_else(master: Subject) -> None:
    """The hazard: a client that stops between its message and its descriptors stops everybody."""
    guilty, other = master.talk(), master.talk()
    assert isinstance(await other.ask(AliveCheck(1)), Alive)
    guilty.conversation.send(NewSession(1, "true"))
    await asyncio.sleep(0.05)
    other.conversation.send(AliveCheck(2))
    await asyncio.sleep(0.2)
    assert other.messages.empty()
    guilty.conversation.close()
    assert await other.next() == Alive(2, master.pid)


# Forwards


@asynccontextmanager
async def echo(path: Path | None = None) -> AsyncIterator[int]:
    """A service that says everything again; its port, or 0."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                writer.write(b"echo " + data)
        writer.close()

    if path is None:
        server = await asyncio.start_server(serve, LOOPBACK, 0)
    else:
        server = await asyncio.start_unix_server(serve, path)
    async with server:
        yield 0 if path is not None else server.sockets[0].getsockname()[1]


def free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as taken:
        return int(taken.getsockname()[1])


async def say(port: int | Path, text: bytes = b"hello", size: int = 10) -> bytes:
    """The answer at a port or a path."""
    async with asyncio.timeout(10):
        if isinstance(port, Path):
            reader, writer = await asyncio.open_unix_connection(port)
        else:
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(text)
        answer = await reader.read(1000) if size == 0 else await reader.readexactly(size)
        writer.close()
        await writer.wait_closed()
        return answer


async def test_a_local_forward(talk: Talk) -> None:
    async with echo() as service:
        port = free_port()
        forward = LOCAL, LOOPBACK, port, LOOPBACK, service
        assert await talk.ask(OpenForward(1, *forward)) == Ok(1)
        assert await say(port) == b"echo hello"
        assert await talk.ask(OpenForward(2, *forward)) == Ok(2)  # it is there already
        assert await talk.ask(CloseForward(3, *forward)) == Ok(3)
        with pytest.raises(ConnectionRefusedError):
            await say(port)
        failed = await talk.ask(CloseForward(4, *forward))
        assert failed == Failure(4, "port not forwarded")


async def test_a_local_port_that_is_taken(talk: Talk) -> None:
    async with echo() as service:
        failed = await talk.ask(OpenForward(1, LOCAL, LOOPBACK, service, LOOPBACK, service))
        assert failed == Failure(1, "Port forwarding failed")


async def test_a_forward_outlives_the_conversation_that_opened_it(master: Subject) -> None:
    talk = master.talk()
    async with echo() as service:
        port = free_port()
        forward = LOCAL, LOOPBACK, port, LOOPBACK, service
        assert await talk.ask(OpenForward(1, *forward)) == Ok(1)
        talk.conversation.close()
        assert await master.answers()
        assert await say(port) == b"echo hello"
        assert await master.talk().ask(CloseForward(1, *forward)) == Ok(1)


async def test_a_remote_forward_at_a_port_of_the_servers_choice(talk: Talk) -> None:
    async with echo() as service:
        forward = REMOTE, LOOPBACK, 0, LOOPBACK, service
        opened = await talk.ask(OpenForward(1, *forward))
        assert isinstance(opened, RemotePort)
        assert opened.request == 1
        assert await say(opened.value) == b"echo hello"
        assert await talk.ask(CloseForward(2, *forward)) == Ok(2)
        await until(lambda: refused(opened.value))


def refused(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((LOOPBACK, port)) != 0


async def test_a_remote_port_that_is_taken(talk: Talk) -> None:
    async with echo() as service:
        failed = await talk.ask(OpenForward(1, REMOTE, LOOPBACK, service, LOOPBACK, service))
        assert isinstance(failed, Failure)
        assert "listen port" in failed.reason


async def test_a_dynamic_forward_speaks_socks(talk: Talk) -> None:
    async with echo() as service:
        port = free_port()
        forward = DYNAMIC, LOOPBACK, port, "socks"
        assert await talk.ask(OpenForward(1, *forward)) == Ok(1)
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.write(b"\x05\x01\x00")
            assert await reader.readexactly(2) == b"\x05\x00"
            writer.write(b"\x05\x01\x00\x01" + socket.inet_aton(LOOPBACK) + service.to_bytes(2))
            assert (await reader.readexactly(10))[:2] == b"\x05\x00"
            writer.write(b"hello")
            assert await reader.readexactly(10) == b"echo hello"
            writer.close()
            await writer.wait_closed()
        assert await talk.ask(CloseForward(2, *forward)) == Ok(2)
        with pytest.raises(ConnectionRefusedError):
            await say(port)


async def test_a_dynamic_forward_has_to_lead_somewhere_by_name(talk: Talk) -> None:
    """Masters refuse it without a connect host, which means nothing: ssh itself says "socks"."""
    failed = await talk.ask(OpenForward(1, DYNAMIC, LOOPBACK, free_port()))
    assert failed == Failure(1, "Port forwarding failed")


@pytest.mark.parametrize("kind", [LOCAL, REMOTE], ids=["local", "remote"])
async def test_a_forward_between_paths(master: Subject, talk: Talk, kind: int) -> None:
    service, entrance = (master.server.directory / name for name in ("service", "entrance"))
    async with echo(service):
        forward = kind, str(entrance), UNIX, str(service), UNIX
        assert await talk.ask(OpenForward(1, *forward)) == Ok(1)
        assert await say(entrance) == b"echo hello"
        assert await talk.ask(CloseForward(2, *forward)) == Ok(2)
        await until(lambda: nobody_at(entrance))


def nobody_at(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) != 0


async def test_stdio_to_the_servers_own_port(master: Subject, talk: Talk, stdio: Stdio) -> None:
    stdio.send(talk, StdioForward(1, LOOPBACK, master.server.port))
    opened = await talk.next()
    assert isinstance(opened, SessionOpened)
    stdio.write(b"SSH-2.0-nobody\r\n")
    assert (await asyncio.to_thread(os.read, stdio.output, 8)) == b"SSH-2.0-"
    stdio.end_input()
    await stdio.read()
    assert await talk.end() == []


async def test_stdio_to_a_path(master: Subject, talk: Talk, stdio: Stdio) -> None:
    if await ssh_version("ssh") < (9, 4):
        pytest.skip("OpenSSH connects stdio to paths since 9.4")
    async with echo(master.server.directory / "service"):
        stdio.send(talk, StdioForward(1, str(master.server.directory / "service"), UNIX))
        assert isinstance(await talk.next(), SessionOpened)
        stdio.write(b"hello")
        assert (await asyncio.to_thread(os.read, stdio.output, 100)) == b"echo hello"


async def test_stdio_to_a_port_where_nobody_listens(talk: Talk, stdio: Stdio) -> None:
    stdio.send(talk, StdioForward(1, LOOPBACK, free_port()))
    failed = await talk.next()
    assert isinstance(failed, Failure)
    assert failed.request == 1


# The end


async def test_a_master_that_listens_no_more_keeps_its_sessions(
    master: Subject, talk: Talk, stdio: Stdio
) -> None:
    running = master.talk()
    stdio.send(running, NewSession(1, "cat; exit 7"))
    assert isinstance(await running.next(), SessionOpened)
    assert await talk.ask(StopListening(2)) == Ok(2)
    assert not master.path.exists()
    with pytest.raises(FileNotFoundError):
        master.talk()
    assert await talk.ask(AliveCheck(3)) == Alive(3, master.pid)
    stdio.write(b"still here")
    stdio.end_input()
    assert await stdio.read() == (b"still here", b"")
    (exited,) = await running.end()
    assert isinstance(exited, ExitMessage)
    assert exited.value == 7


async def test_terminate(master: Subject, talk: Talk) -> None:
    process = psutil.Process(master.pid)
    running, stdio = master.talk(), Stdio()
    stdio.send(running, NewSession(1, "cat"))
    assert isinstance(await running.next(), SessionOpened)
    talk.conversation.send(Terminate(2))
    said = [each for each in await talk.end() if not isinstance(each, Hello)]
    assert said in ([], [Ok(2)])
    assert await running.end() == []
    assert await stdio.read() == (b"", b"")
    stdio.close()
    await until(lambda: gone(process))
    assert not master.path.exists()


def gone(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True
