"""One conversation on a control socket, from the first byte to the last descriptor.

The masters here are sockets of the test's own. They stand in for masters that cannot be had from
ssh: that read slowly or not at all, that end in the middle, that say nonsense. What a real one
does is in tests/live/test_control_socket.py.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import importlib.util
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from sshmux.openssh.mux.conversation import Conversation
from sshmux.openssh.mux.decoder import UnknownMessage, decode
from sshmux.openssh.mux.fields import ProtocolError, Unsendable
from sshmux.openssh.mux.protocol import (
    Alive,
    AliveCheck,
    Failure,
    Hello,
    Message,
    NewSession,
    Ok,
    StdioForward,
)

LOOPS = ["asyncio", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]
# There is a hook instead, but not in every pytest-asyncio that is good for the rest.
pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy")
RIGHTS = socket.CMSG_SPACE(8 * array.array("i").itemsize)


@pytest.fixture(params=LOOPS)
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    if request.param == "asyncio":
        return asyncio.DefaultEventLoopPolicy()
    import uvloop

    policy: asyncio.AbstractEventLoopPolicy = uvloop.EventLoopPolicy()
    return policy


def descriptors() -> int:
    """How many there are. (uvloop has new ones in each run of the loop, as many as before.)"""
    return len(os.listdir("/dev/fd"))


@pytest.fixture(autouse=True)
async def nothing_leaks() -> AsyncIterator[None]:
    await asyncio.sleep(0)
    before = descriptors()
    yield
    await asyncio.sleep(0)
    assert descriptors() == before


async def soon(true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.001)


async def a_while() -> None:
    """For what must not happen: some turns of the loop, and some milliseconds."""
    for _ in range(20):
        await asyncio.sleep(0.002)


class Ear:
    """What was heard, and how it ended."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.ended: list[Exception | None] = []

    def hear(self, message: Message) -> None:
        self.heard.append(message)

    def end(self, error: Exception | None) -> None:
        self.ended.append(error)

    async def has_heard(self, *messages: Message) -> None:
        await soon(lambda: len(self.heard) >= len(messages))
        assert self.heard == list(messages)

    async def has_ended(self) -> Exception | None:
        """How it ended, once."""
        await soon(lambda: self.ended)
        await a_while()
        (error,) = self.ended
        return error


class Peer:
    """The master's side of one conversation. Like a real one it reads no byte too many."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.socket.setblocking(False)

    async def receive(self, size: int, *, piece: int = 1 << 20) -> bytes:
        """Exactly so many bytes, and no descriptor with any of them."""
        data = bytearray()
        while len(data) < size:
            wanted = min(piece, size - len(data))
            more, rights = await self.receive_message(wanted)
            assert more, "it ended early"
            assert rights == []
            data += more
        return bytes(data)

    async def receive_message(self, size: int = 100) -> tuple[bytes, list[int]]:
        """What one recvmsg gives: bytes and descriptors."""
        async with asyncio.timeout(5):
            while True:
                with contextlib.suppress(BlockingIOError):
                    data, ancillary, flags, _ = self.socket.recvmsg(size, RIGHTS)
                    break
                await asyncio.sleep(0.001)
        assert not flags & socket.MSG_CTRUNC
        rights = array.array("i")
        for level, kind, value in ancillary:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            rights.frombytes(value)
        return data, list(rights)

    async def message(self, *, piece: int = 1 << 20) -> Message:
        length = int.from_bytes(await self.receive(4))
        return decode(await self.receive(length, piece=piece))

    async def write_through(self, *texts: bytes) -> None:
        """Receives as many descriptors, as a master does, and writes to them."""
        for text in texts:
            data, rights = await self.receive_message()
            assert data == b"\0"
            (descriptor,) = rights
            os.write(descriptor, text)
            os.close(descriptor)

    def say(self, *messages: Message) -> None:
        self.socket.sendall(b"".join(message.encode() for message in messages))

    def has_nothing_more(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            return not self.socket.recv(1, socket.MSG_PEEK)
        return True

    def close(self) -> None:
        self.socket.close()


class Master:
    """Listens. Nobody is accepted before `accept`."""

    def __init__(self, path: Path, backlog: int = 8) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(backlog)
        self.listener.setblocking(False)
        self.peers: list[Peer] = []

    async def accept(self) -> Peer:
        async with asyncio.timeout(5):
            while True:
                with contextlib.suppress(BlockingIOError):
                    self.peers.append(Peer(self.listener.accept()[0]))
                    return self.peers[-1]
                await asyncio.sleep(0.001)

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
        self.listener.close()


@pytest.fixture
async def master(short_dir: Path, nothing_leaks: None) -> AsyncIterator[Master]:
    made = Master(short_dir / "m")
    yield made
    made.close()


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
async def conversation(master: Master, ear: Ear) -> AsyncIterator[Conversation]:
    made = Conversation(master.path, ear.hear, ear.end)
    yield made
    made.close()
    made.close()


@pytest.fixture
async def peer(master: Master, conversation: Conversation) -> Peer:
    """The other side, after our HELLO."""
    accepted = await master.accept()
    assert await accepted.message() == Hello()
    return accepted


class Pipes:
    """Ours to read; the write ends are what is sent."""

    def __init__(self, count: int) -> None:
        ends = [os.pipe() for _ in range(count)]
        self.reads = [read for read, _ in ends]
        self.writes = [write for _, write in ends]

    def close_writes(self) -> None:
        while self.writes:
            os.close(self.writes.pop())

    def written(self) -> list[bytes]:
        """Everything, to the end: nobody else holds a write end any more."""
        return [self._read(read) for read in self.reads]

    def _read(self, descriptor: int) -> bytes:
        os.set_blocking(descriptor, False)
        data = b""
        while piece := os.read(descriptor, 100):  # BlockingIOError if somebody does hold one
            data += piece
        return data

    def close(self) -> None:
        self.close_writes()
        for read in self.reads:
            os.close(read)


@pytest.fixture
def pipes(nothing_leaks: None) -> Iterator[Pipes]:
    made = Pipes(3)
    yield made
    made.close()


def large(size: int, request: int = 1) -> NewSession:
    """A session request whose frame has `size` bytes."""
    return NewSession(request, "x" * (size - 44))


# In


async def test_our_hello_comes_first(master: Master, conversation: Conversation) -> None:
    conversation.send(AliveCheck(1))
    peer = await master.accept()
    assert [await peer.message(), await peer.message()] == [Hello(), AliveCheck(1)]
    assert "open" in repr(conversation)


async def test_nothing_is_heard_before_it_is_watched(
    conversation: Conversation, peer: Peer, ear: Ear
) -> None:
    peer.say(Hello(), Alive(1, 2))
    await a_while()
    assert ear.heard == []
    conversation.watch()
    conversation.watch()
    await ear.has_heard(Hello(), Alive(1, 2))
    peer.say(Ok(3))
    await ear.has_heard(Hello(), Alive(1, 2), Ok(3))


async def test_it_can_be_read_without_being_watched(
    conversation: Conversation, peer: Peer, ear: Ear
) -> None:
    conversation.read()
    assert ear.heard == []
    peer.say(Hello())
    conversation.read()
    assert ear.heard == [Hello()]
    conversation.read()
    assert (ear.heard, ear.ended) == ([Hello()], [])


async def test_a_message_in_single_bytes(conversation: Conversation, peer: Peer, ear: Ear) -> None:
    conversation.watch()
    for byte in Failure(1, "no").encode():
        assert ear.heard == []
        peer.socket.send(bytes([byte]))
        await asyncio.sleep(0.001)
    await ear.has_heard(Failure(1, "no"))


async def test_more_than_one_read_takes(conversation: Conversation, peer: Peer, ear: Ear) -> None:
    conversation.watch()
    said = [Failure(number, "x" * 30_000) for number in range(5)]
    for message in said:
        peer.say(message)
    await ear.has_heard(*said)


async def test_somebody_else_takes_it_over(
    conversation: Conversation, peer: Peer, ear: Ear
) -> None:
    other = Ear()
    conversation.listen(lambda _: conversation.listen(other.hear, other.end), ear.end)
    conversation.watch()
    peer.say(Hello(), Ok(1), Ok(2))
    await other.has_heard(Ok(1), Ok(2))
    peer.close()
    assert await other.has_ended() is None
    assert ear.ended == []


async def test_close_while_it_hears_stops_what_is_left(
    conversation: Conversation, peer: Peer, ear: Ear
) -> None:
    def hear(message: Message) -> None:
        ear.hear(message)
        if message == Ok(2):
            conversation.close()

    conversation.listen(hear, ear.end)
    conversation.watch()
    peer.socket.sendall(Ok(1).encode() + Ok(2).encode() + Ok(3).encode() + b"garbage")
    await soon(lambda: conversation.closed)
    await a_while()
    assert (ear.heard, ear.ended) == ([Ok(1), Ok(2)], [])


GARBAGE = {
    "no length": (bytes(4), ProtocolError),
    "too long": (b"HTTP/1.1 400 Bad Request\r\n", ProtocolError),
    "unknown": (b"\0\0\0\x08\0\0\0\x77\0\0\0\0", UnknownMessage),
    "too short": (b"\0\0\0\x04\x80\0\0\x01", ProtocolError),
}


@pytest.mark.parametrize("what", GARBAGE)
async def test_garbage_ends_it(conversation: Conversation, peer: Peer, ear: Ear, what: str) -> None:
    data, error = GARBAGE[what]
    conversation.watch()
    peer.socket.sendall(Ok(1).encode() + data + Ok(2).encode())
    assert type(await ear.has_ended()) is error
    assert ear.heard == [Ok(1)]
    assert (conversation.closed, conversation.standing) == (True, False)


async def test_what_the_caller_cannot_send_while_it_hears_is_the_callers_error(
    conversation: Conversation, peer: Peer, ear: Ear
) -> None:
    caught = []

    def hear(message: Message) -> None:
        ear.hear(message)
        if message == Ok(1):
            conversation.send(Failure(1, "\0"))

    asyncio.get_running_loop().set_exception_handler(lambda _, what: caught.append(what))
    conversation.listen(hear, ear.end)
    conversation.watch()
    peer.say(Ok(1))
    await soon(lambda: caught or ear.ended)
    assert isinstance(caught[0]["exception"], Unsendable)
    assert ear.ended == []


async def test_a_callback_that_fails_costs_no_message(
    conversation: Conversation, peer: Peer, ear: Ear
) -> None:
    def hear(message: Message) -> None:
        ear.hear(message)
        if message == Ok(1):
            raise RuntimeError

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    conversation.listen(hear, ear.end)
    conversation.watch()
    peer.socket.sendall(Ok(1).encode() + Ok(2).encode() + Ok(3).encode()[:5])
    await soon(lambda: ear.heard)
    peer.socket.sendall(Ok(3).encode()[5:])
    await ear.has_heard(Ok(1), Ok(2), Ok(3))


# Out: descriptors


@pytest.mark.parametrize("message", [NewSession(1, "id"), StdioForward(1, "h", 22)], ids=["3", "2"])
async def test_descriptors_come_after_the_message_one_at_a_time(
    conversation: Conversation, peer: Peer, pipes: Pipes, message: Message
) -> None:
    count = message.descriptors
    conversation.send(message, pipes.writes[:count])
    conversation.send(AliveCheck(2))
    assert await peer.message() == message
    await peer.write_through(*[b"in", b"out", b"err"][:count])
    assert await peer.message() == AliveCheck(2)
    assert peer.has_nothing_more()
    pipes.close_writes()  # they were the caller's all the time
    assert pipes.written()[:count] == [b"in", b"out", b"err"][:count]


async def test_the_same_descriptor_may_be_sent_thrice(
    conversation: Conversation, peer: Peer, pipes: Pipes
) -> None:
    conversation.send(NewSession(1, "id"), 3 * pipes.writes[:1])
    await peer.message()
    await peer.write_through(b"a", b"b", b"c")
    pipes.close_writes()
    assert pipes.written() == [b"abc", b"", b""]


async def test_what_cannot_be_sent_changes_nothing(
    conversation: Conversation, peer: Peer, pipes: Pipes
) -> None:
    for message in (NewSession(1, "a\0b"), NewSession(1, "x" * 300_000)):
        with pytest.raises(Unsendable):
            conversation.send(message, pipes.writes)
    conversation.send(AliveCheck(2))
    assert await peer.message() == AliveCheck(2)
    assert peer.has_nothing_more()


async def test_a_descriptor_that_is_none_leaves_no_master_waiting_for_it(
    conversation: Conversation, peer: Peer, pipes: Pipes
) -> None:
    """Either nothing of the message is sent, or the conversation is over."""
    with pytest.raises(OSError, match="Bad file descriptor"):
        conversation.send(NewSession(1, "id"), [pipes.writes[0], 99_999, pipes.writes[1]])
    assert conversation.closed or peer.has_nothing_more()


# Out: masters that read slowly

SIZES = [1_000, 60_000, 107_000, 180_000, 205_000, 208_000, 210_000, 212_000, 214_000, 262_148]


@pytest.mark.parametrize("size", SIZES)
async def test_a_message_that_nobody_reads_yet(
    conversation: Conversation, peer: Peer, pipes: Pipes, size: int
) -> None:
    """More or less than the socket's buffer: it is sent whole, then its descriptors."""
    conversation.send(large(size), pipes.writes)
    pipes.close_writes()
    await a_while()
    assert await peer.message(piece=7001) == large(size)
    await peer.write_through(b"in", b"out", b"err")
    assert pipes.written() == [b"in", b"out", b"err"]
    assert peer.has_nothing_more()
    conversation.send(AliveCheck(2))
    assert await peer.message() == AliveCheck(2)


@pytest.mark.parametrize("filled", range(212_000, 213_400, 200))
async def test_a_small_message_when_the_socket_is_all_but_full(
    conversation: Conversation, peer: Peer, pipes: Pipes, filled: int
) -> None:
    """Wherever the room ends: within the message, before or between its descriptors."""
    conversation.send(large(110_000))
    conversation.send(large(filled - 110_000))
    for request in range(20):
        conversation.send(NewSession(request, "id"), pipes.writes)
    pipes.close_writes()
    assert await peer.message() == large(110_000)
    assert await peer.message() == large(filled - 110_000)
    for request in range(20):
        assert await peer.message() == NewSession(request, "id")
        await peer.write_through(b"i", b"o", b"e")
    assert pipes.written() == [20 * b"i", 20 * b"o", 20 * b"e"]


async def test_several_large_messages_keep_their_order(
    conversation: Conversation, peer: Peer, pipes: Pipes
) -> None:
    for request in range(6):
        conversation.send(large(150_000, request), pipes.writes)
        conversation.send(AliveCheck(request))
    pipes.close_writes()
    for request in range(6):
        assert await peer.message(piece=50_000) == large(150_000, request)
        await peer.write_through(*(f"{name}{request}".encode() for name in "ioe"))
        assert await peer.message() == AliveCheck(request)
    assert pipes.written() == [b"i0i1i2i3i4i5", b"o0o1o2o3o4o5", b"e0e1e2e3e4e5"]
    await a_while()
    assert not conversation._writing


async def test_the_last_byte_and_the_descriptors_stay_together(
    conversation: Conversation, peer: Peer, pipes: Pipes
) -> None:
    """A master that has read the message waits for them, and for nothing else."""
    conversation.send(large(250_000), pipes.writes)
    body = await peer.receive(249_999)
    last, _ = await peer.receive_message(1)
    peer.socket.setblocking(False)
    for _ in range(3):
        data, _, _, _ = peer.socket.recvmsg(1)  # BlockingIOError if it is not there already
        assert data == b"\0"
    assert decode((body + last)[4:]) == large(250_000)


async def test_a_send_in_the_same_turn_in_which_there_is_room_again(
    conversation: Conversation, peer: Peer, pipes: Pipes
) -> None:
    """What the loop was told of the room is out of date by then."""
    for size in range(190_000, 230_000, 1_000):
        conversation.send(large(211_000))
        conversation.send(large(size, 2), pipes.writes)
        assert await peer.message() == large(211_000)
        conversation.send(AliveCheck(3))
        conversation._room()
        assert await peer.message() == large(size, 2)
        await peer.write_through(b"i", b"o", b"e")
        assert await peer.message() == AliveCheck(3)


async def test_it_hears_while_a_message_waits(
    conversation: Conversation, peer: Peer, ear: Ear, pipes: Pipes
) -> None:
    conversation.watch()
    conversation.send(large(262_148), pipes.writes)
    peer.say(Ok(1))
    await ear.has_heard(Ok(1))
    conversation.close()
    pipes.close_writes()
    assert pipes.written() == 3 * [b""]
    assert ear.ended == []


async def test_out_of_descriptors_in_the_middle_of_a_message(
    conversation: Conversation, peer: Peer, pipes: Pipes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of it is sent, and the rest never can be: a next message would be taken for it."""
    calls = []

    def dup(descriptor: int) -> int:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(24, "Too many open files")
        return real(descriptor)

    real = os.dup
    monkeypatch.setattr(os, "dup", dup)
    with pytest.raises(OSError, match="Too many"):
        conversation.send(large(250_000), pipes.writes)
    monkeypatch.undo()
    with contextlib.suppress(OSError):
        conversation.send(AliveCheck(2))
    assert conversation.closed or await peer.message() == AliveCheck(2)


# Masters that are too busy to accept


@contextlib.contextmanager
def full_backlog(path: Path, backlog: int) -> Iterator[Master]:
    master = Master(path, backlog)
    with contextlib.ExitStack() as stack:
        stack.callback(master.close)
        while True:
            filler = stack.enter_context(socket.socket(socket.AF_UNIX))
            filler.setblocking(False)
            try:
                filler.connect(str(path))
            except BlockingIOError:
                break
        yield master


async def drain(master: Master, backlog: int) -> None:
    for _ in range(backlog + 1):
        (await master.accept()).close()


@pytest.mark.parametrize("backlog", [0, 1])
@pytest.mark.parametrize("watched", [False, True])
async def test_a_full_backlog_is_waited_for(
    short_dir: Path, ear: Ear, pipes: Pipes, backlog: int, watched: bool
) -> None:
    with full_backlog(short_dir / "m", backlog) as master:
        conversation = Conversation(master.path, ear.hear, ear.end)
        if watched:
            conversation.watch()
        conversation.send(NewSession(1, "id"), pipes.writes)
        conversation.send(large(250_000, 2), pipes.writes)
        conversation.send(AliveCheck(3))
        pipes.close_writes()
        await a_while()
        assert ("connecting" in repr(conversation), ear.ended) == (True, [])
        await drain(master, backlog)
        peer = await master.accept()
        assert await peer.message() == Hello()
        assert await peer.message() == NewSession(1, "id")
        await peer.write_through(b"1", b"1", b"1")
        assert await peer.message() == large(250_000, 2)
        await peer.write_through(b"2", b"2", b"2")
        assert await peer.message() == AliveCheck(3)
        assert pipes.written() == 3 * [b"12"]
        peer.say(Hello(), Ok(1))
        conversation.watch()
        await ear.has_heard(Hello(), Ok(1))
        conversation.close()


async def test_while_it_waits_it_is_neither_heard_nor_over(short_dir: Path, ear: Ear) -> None:
    with full_backlog(short_dir / "m", 0) as master:
        conversation = Conversation(master.path, ear.hear, ear.end)
        conversation.read()
        conversation.watch()
        conversation.read()
        await a_while()
        assert (conversation.closed, conversation.standing, ear.ended) == (False, True, [])
        conversation.close()


async def test_close_while_it_waits(short_dir: Path, ear: Ear, pipes: Pipes) -> None:
    with full_backlog(short_dir / "m", 0) as master:
        conversation = Conversation(master.path, ear.hear, ear.end)
        conversation.send(NewSession(1, "id"), pipes.writes)
        conversation.close()
        conversation.close()
        pipes.close_writes()
        assert pipes.written() == 3 * [b""]
        await drain(master, 0)
        await asyncio.sleep(0.15)
        with pytest.raises(BlockingIOError):
            master.listener.accept()
    assert ear.ended == []


@pytest.mark.parametrize("watched", [False, True])
async def test_the_master_ends_while_it_waits(
    short_dir: Path, ear: Ear, pipes: Pipes, watched: bool
) -> None:
    with full_backlog(short_dir / "m", 0) as master:
        conversation = Conversation(master.path, ear.hear, ear.end)
        if watched:
            conversation.watch()
        conversation.send(NewSession(1, "id"), pipes.writes)
        pipes.close_writes()
        await a_while()
        master.close()
    assert isinstance(await ear.has_ended(), ConnectionRefusedError)
    assert pipes.written() == 3 * [b""]
    with pytest.raises(OSError, match="Bad file descriptor"):
        conversation.send(AliveCheck(1))


# Ends


async def test_nobody_listens(short_dir: Path, ear: Ear) -> None:
    with pytest.raises(FileNotFoundError):
        Conversation(short_dir / "m", ear.hear, ear.end)
    Master(short_dir / "m").close()
    with pytest.raises(ConnectionRefusedError):
        Conversation(short_dir / "m", ear.hear, ear.end)
    with pytest.raises(OSError, match="too long"):
        Conversation(short_dir / ("m" * 200), ear.hear, ear.end)
    assert ear.ended == []


async def test_the_master_ends_it(conversation: Conversation, peer: Peer, ear: Ear) -> None:
    conversation.watch()
    peer.say(Hello(), Failure(1, "no"))
    peer.close()
    assert await ear.has_ended() is None
    assert ear.heard == [Hello(), Failure(1, "no")]
    assert (conversation.closed, conversation.standing) == (True, False)
    assert "closed" in repr(conversation)
    with pytest.raises(OSError, match="Bad file descriptor"):
        conversation.send(AliveCheck(1))


async def test_the_kernel_knows_the_end_before_the_loop_does(
    conversation: Conversation, peer: Peer, ear: Ear
) -> None:
    conversation.watch()
    assert conversation.standing
    peer.close()
    assert (conversation.standing, conversation.closed) == (False, False)
    assert await ear.has_ended() is None


async def test_the_end_of_one_that_is_not_watched(
    conversation: Conversation, peer: Peer, ear: Ear, pipes: Pipes
) -> None:
    peer.say(Ok(1))
    peer.close()
    for _ in range(2):
        with pytest.raises(BrokenPipeError):
            conversation.send(NewSession(1, "id"), pipes.writes)
    await a_while()
    assert (ear.heard, ear.ended) == ([], [])
    conversation.watch()
    assert await ear.has_ended() is None
    assert ear.heard == [Ok(1)]


async def test_a_master_that_has_not_read_everything(
    conversation: Conversation, peer: Peer, ear: Ear
) -> None:
    conversation.watch()
    conversation.send(AliveCheck(1))
    peer.say(Ok(1))
    peer.close()
    error = await ear.has_ended()
    assert error is None or isinstance(error, ConnectionResetError)
    assert ear.heard == [Ok(1)]


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("read", [0, 1, 100_000])
async def test_the_end_in_the_middle_of_a_message(
    conversation: Conversation, peer: Peer, ear: Ear, pipes: Pipes, watched: bool, read: int
) -> None:
    if watched:
        conversation.watch()
    for request in range(3):
        conversation.send(large(250_000, request), pipes.writes)
    pipes.close_writes()
    await peer.receive(read)
    peer.close()
    error = await ear.has_ended()
    assert error is None or isinstance(error, BrokenPipeError | ConnectionResetError)
    assert pipes.written() == 3 * [b""]


async def test_what_was_said_before_the_end_is_heard_though_a_message_waits(
    conversation: Conversation, peer: Peer, ear: Ear
) -> None:
    conversation.watch()
    conversation.send(large(262_148))
    peer.say(Failure(1, "no more of you"))
    peer.close()
    await ear.has_ended()
    assert ear.heard == [Failure(1, "no more of you")]


async def test_close_before_anything(master: Master, ear: Ear) -> None:
    conversation = Conversation(master.path, ear.hear, ear.end)
    conversation.close()
    conversation.close()
    conversation.watch()
    conversation.read()
    assert (conversation.closed, conversation.standing) == (True, False)
    with pytest.raises(OSError, match="Bad file descriptor"):
        conversation.send(AliveCheck(1))
    peer = await master.accept()
    assert await peer.message() == Hello()
    assert await peer.receive_message() == (b"", [])
    assert (ear.heard, ear.ended) == ([], [])


async def test_close_when_it_has_ended(conversation: Conversation, peer: Peer, ear: Ear) -> None:
    conversation.listen(ear.hear, lambda error: (ear.end(error), conversation.close()))
    conversation.watch()
    peer.close()
    assert await ear.has_ended() is None
    conversation.close()


def make_in_a_loop_that_is_closed(
    policy: asyncio.AbstractEventLoopPolicy, path: Path, act: Callable[[Conversation], object]
) -> tuple[Conversation, Ear]:
    ear = Ear()

    async def make() -> Conversation:
        conversation = Conversation(path, ear.hear, ear.end)
        act(conversation)
        await asyncio.sleep(0.01)
        return conversation

    loop = policy.new_event_loop()
    try:
        return loop.run_until_complete(make()), ear
    finally:
        loop.close()


def test_the_loop_is_closed_before_it(
    event_loop_policy: asyncio.AbstractEventLoopPolicy, short_dir: Path
) -> None:
    before = descriptors()
    pipes = Pipes(3)

    def act(conversation: Conversation) -> None:
        conversation.watch()
        conversation.send(large(250_000), pipes.writes)

    master = Master(short_dir / "m")
    conversation, ear = make_in_a_loop_that_is_closed(event_loop_policy, master.path, act)
    pipes.close_writes()
    conversation.close()
    conversation.close()
    assert pipes.written() == 3 * [b""]
    assert (conversation.closed, ear.heard, ear.ended) == (True, [], [])
    pipes.close()
    master.close()
    assert descriptors() == before


def test_the_loop_is_closed_while_it_waits(
    event_loop_policy: asyncio.AbstractEventLoopPolicy, short_dir: Path
) -> None:
    before = descriptors()
    with full_backlog(short_dir / "m", 0) as master:
        conversation, ear = make_in_a_loop_that_is_closed(
            event_loop_policy, master.path, lambda made: made.send(AliveCheck(1))
        )
        conversation.close()
    assert (conversation.closed, ear.ended) == (True, [])
    assert descriptors() == before
