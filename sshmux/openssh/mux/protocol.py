"""OpenSSH's multiplexing protocol: bytes in, messages out, and back. Pure.

Sources: PROTOCOL.mux and mux.c of portable OpenSSH (4.4 … 10.x speak version 4; where the two
differ, mux.c is what is on the wire). A frame is `u32 length | u32 type | body`, a string is
`u32 length | bytes`, and what the document calls a bool is a u32.

Two messages are followed by descriptors: right after the frame, one `sendmsg` for each, with one
NUL byte and one descriptor. `descriptors` says how many a message needs. A master that does not
get them waits for them and does nothing else (mux.c: mm_receive_fd).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import ClassVar, Self

VERSION = 4
MAX_FRAME = 256 * 1024  # neither side reads a longer one (channels.c: read_mux, mux.c)
NO_ESCAPE = 0xFFFFFFFF
UNIX = 0xFFFFFFFE  # in place of a port: the host is the path of a Unix socket (PORT_STREAMLOCAL)

LOCAL, REMOTE, DYNAMIC = 1, 2, 3

_U32 = struct.Struct(">I")
_HEAD = struct.Struct(">II")
_SEVEN = struct.Struct(">7I")


class ProtocolError(Exception):
    """The other side of the control socket does not speak the protocol as documented."""


class UnknownMessage(ProtocolError):
    """A message of a type that nobody knows here."""


class Unsendable(ProtocolError):
    """A message that cannot be put into a frame.

    Too long, or with a NUL or half a character in a string, or a number of more than 32 bits.
    """


class _Body:
    """Reads the fields of a body, one after the other. What comes after them is ignored."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def number(self) -> int:
        at = self._at
        if at + 4 > len(self._data):
            raise ProtocolError("a message ends within a number")
        self._at = at + 4
        return int(_U32.unpack_from(self._data, at)[0])

    def raw(self) -> bytes:
        length = self.number()
        end = self._at + length
        if end > len(self._data):
            raise ProtocolError("a message ends within a string")
        value = bytes(self._data[self._at : end])
        self._at = end
        return value

    def text(self) -> str:
        """A string; what is not UTF-8 survives (surrogateescape)."""
        return self.raw().decode("utf-8", "surrogateescape")

    @property
    def more(self) -> bool:
        return self._at < len(self._data)


def _number(value: int) -> bytes:
    if not 0 <= value <= 0xFFFFFFFF:
        raise Unsendable(f"{value} is no 32-bit number")
    return _U32.pack(value)


def _string(value: str) -> bytes:
    # Both read C strings (sshbuf_get_cstring): a NUL inside makes the message malformed.
    try:
        data = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise Unsendable("a string with half a character in it") from error
    if b"\0" in data:
        raise Unsendable("a string with a NUL character in it")
    return _U32.pack(len(data)) + data


def _frame(kind: int, *parts: bytes) -> bytes:
    length = 4 + sum(map(len, parts))
    if length > MAX_FRAME:
        raise Unsendable(f"a message of {length} bytes; a master reads {MAX_FRAME} at most")
    return b"".join((_HEAD.pack(length, kind), *parts))


class Message:
    """What every message has.

    Attributes:
        kind: its type on the wire.
        descriptors: how many follow it.
    """

    __slots__ = ()
    kind: ClassVar[int]
    descriptors: ClassVar[int] = 0

    def encode(self) -> bytes:
        """The frame. Raises `Unsendable`."""
        raise NotImplementedError

    @classmethod
    def read(cls, body: _Body) -> Self:
        """From a frame's body. Raises `ProtocolError`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """The first message of either side. Extensions that nobody knows are kept, and mean nothing.

    Masters since OpenSSH 10.3 announce `info`.
    """

    kind: ClassVar[int] = 0x00000001
    version: int = VERSION
    extensions: tuple[tuple[str, bytes], ...] = ()

    def encode(self) -> bytes:
        """The frame."""
        parts = [_number(self.version)]
        for name, value in self.extensions:
            parts += [_string(name), _U32.pack(len(value)), value]
        return _frame(self.kind, *parts)

    @classmethod
    def read(cls, body: _Body) -> Self:
        """From a frame's body."""
        version = body.number()
        extensions = []
        while body.more:
            extensions.append((body.text(), body.raw()))
        return cls(version, tuple(extensions))


@dataclass(frozen=True, slots=True)
class _Request(Message):
    """A message of the client's that has nothing but a request id."""

    request: int

    def encode(self) -> bytes:
        """The frame."""
        return _frame(self.kind, _number(self.request))

    @classmethod
    def read(cls, body: _Body) -> Self:
        """From a frame's body."""
        return cls(body.number())


@dataclass(frozen=True, slots=True)
class AliveCheck(_Request):
    """Asks for a sign of life, and the master's process id. Answer: `Alive`."""

    kind: ClassVar[int] = 0x10000004


@dataclass(frozen=True, slots=True)
class Terminate(_Request):
    """Asks the master to exit. The answer `Ok` mostly never comes: the end is the answer."""

    kind: ClassVar[int] = 0x10000005


@dataclass(frozen=True, slots=True)
class StopListening(_Request):
    """Asks the master to remove its socket and to exit after its last client. Answer: `Ok`."""

    kind: ClassVar[int] = 0x10000009


@dataclass(frozen=True, slots=True)
class Proxy(_Request):
    """Asks to be a downstream of the connection itself. Answer: `ProxyOk`, then raw packets."""

    kind: ClassVar[int] = 0x1000000F


@dataclass(slots=True)  # not frozen: one is made for each command, and freezing takes time
class NewSession(Message):
    """Asks for a session. Answer: `SessionOpened`, later `ExitMessage`. Descriptors: stdio.

    Attributes:
        subsystem: `command` is the name of a subsystem (`sftp`).
        env: `NAME=value`; the master passes on what its own SendEnv names.
    """

    kind: ClassVar[int] = 0x10000002
    descriptors: ClassVar[int] = 3
    request: int
    command: str
    tty: bool = False
    x11: bool = False
    agent: bool = False
    subsystem: bool = False
    escape: int = NO_ESCAPE
    term: str = ""
    env: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """The frame."""
        reserved = 0  # the length of a string
        flags = (self.tty, self.x11, self.agent, self.subsystem)
        try:
            head = _SEVEN.pack(self.request, reserved, *flags, self.escape)
        except struct.error as error:
            raise Unsendable("a number that has no 32 bits") from error
        strings = map(_string, (self.term, self.command, *self.env))
        return _frame(self.kind, head, *strings)

    @classmethod
    def read(cls, body: _Body) -> Self:
        """From a frame's body."""
        request, _ = body.number(), body.raw()
        tty, x11, agent, subsystem = (body.number() != 0 for _ in range(4))
        escape, term, command = body.number(), body.text(), body.text()
        env = []
        while body.more:
            env.append(body.text())
        return cls(request, command, tty, x11, agent, subsystem, escape, term, tuple(env))


@dataclass(frozen=True, slots=True)
class _Forward(Message):
    """A forward: what listens, and where it leads.

    Attributes:
        forward: LOCAL, REMOTE or DYNAMIC.
        listen_port, connect_port: a port, 0 for any (REMOTE), or UNIX: then the host is a path.
        connect_host: for DYNAMIC something that is not empty, or masters refuse it. ssh says
            `socks`.
    """

    request: int
    forward: int
    listen_host: str
    listen_port: int
    connect_host: str = ""
    connect_port: int = 0

    def encode(self) -> bytes:
        """The frame."""
        return _frame(
            self.kind,
            _number(self.request),
            _number(self.forward),
            _string(self.listen_host),
            _number(self.listen_port),
            _string(self.connect_host),
            _number(self.connect_port),
        )

    @classmethod
    def read(cls, body: _Body) -> Self:
        """From a frame's body."""
        return cls(
            body.number(),
            body.number(),
            body.text(),
            body.number(),
            body.text(),
            body.number(),
        )


@dataclass(frozen=True, slots=True)
class OpenForward(_Forward):
    """Asks for a forward. Answer: `Ok`, or `RemotePort` for REMOTE with port 0."""

    kind: ClassVar[int] = 0x10000006


@dataclass(frozen=True, slots=True)
class CloseForward(_Forward):
    """Ends a forward, named exactly as it was opened. Answer: `Ok`."""

    kind: ClassVar[int] = 0x10000007


@dataclass(frozen=True, slots=True)
class StdioForward(Message):
    """Asks for a connection to a host and port from the remote. Descriptors: to read and write.

    Answer: `SessionOpened`. The document says that the port is a string; mux.c reads a number.
    Since OpenSSH 9.4 it may be UNIX: then the host is a path.
    """

    kind: ClassVar[int] = 0x10000008
    descriptors: ClassVar[int] = 2
    request: int
    host: str
    port: int

    def encode(self) -> bytes:
        """The frame."""
        head = _number(self.request) + _string("")
        return _frame(self.kind, head, _string(self.host), _number(self.port))

    @classmethod
    def read(cls, body: _Body) -> Self:
        """From a frame's body."""
        request, _ = body.number(), body.raw()
        return cls(request, body.text(), body.number())


@dataclass(frozen=True, slots=True)
class Ok(_Request):
    """It was done."""

    kind: ClassVar[int] = 0x80000001


@dataclass(frozen=True, slots=True)
class ProxyOk(_Request):
    """From here on it is no multiplexing protocol any more."""

    kind: ClassVar[int] = 0x8000000F


@dataclass(frozen=True, slots=True)
class _Refusal(Message):
    """It was not done."""

    request: int
    reason: str

    def encode(self) -> bytes:
        """The frame."""
        return _frame(self.kind, _number(self.request), _string(self.reason))

    @classmethod
    def read(cls, body: _Body) -> Self:
        """From a frame's body."""
        return cls(body.number(), body.text())


@dataclass(frozen=True, slots=True)
class Denied(_Refusal):
    """Somebody was asked (ControlMaster=ask), and said no."""

    kind: ClassVar[int] = 0x80000002


@dataclass(frozen=True, slots=True)
class Failure(_Refusal):
    """The master, or the server, could not or would not."""

    kind: ClassVar[int] = 0x80000003


@dataclass(frozen=True, slots=True)
class _Pair(Message):
    """An id, and a number that belongs to it."""

    request: int
    value: int

    def encode(self) -> bytes:
        """The frame."""
        return _frame(self.kind, _number(self.request), _number(self.value))

    @classmethod
    def read(cls, body: _Body) -> Self:
        """From a frame's body."""
        return cls(body.number(), body.number())


@dataclass(frozen=True, slots=True)
class ExitMessage(_Pair):
    """A session's exit status is `value`. `request` is the session's id here. Output may follow."""

    kind: ClassVar[int] = 0x80000004


@dataclass(frozen=True, slots=True)
class Alive(_Pair):
    """A sign of life: `value` is the master's process id."""

    kind: ClassVar[int] = 0x80000005


@dataclass(frozen=True, slots=True)
class SessionOpened(_Pair):
    """The server has opened the session whose id is `value`."""

    kind: ClassVar[int] = 0x80000006


@dataclass(frozen=True, slots=True)
class RemotePort(_Pair):
    """The forward is open, and the server has chosen the port `value`."""

    kind: ClassVar[int] = 0x80000007


@dataclass(frozen=True, slots=True)
class TerminalRefused(_Request):
    """The server gave the session no terminal. `request` is the session's id here."""

    kind: ClassVar[int] = 0x80000008


_CLIENTS: tuple[type[Message], ...] = (
    Hello,
    NewSession,
    AliveCheck,
    Terminate,
    OpenForward,
    CloseForward,
    StdioForward,
    StopListening,
    Proxy,
)
_MASTERS: tuple[type[Message], ...] = (
    Hello,
    Ok,
    Denied,
    Failure,
    ExitMessage,
    Alive,
    SessionOpened,
    RemotePort,
    TerminalRefused,
    ProxyOk,
)
_READERS: dict[int, Callable[[_Body], Message]] = {
    message.kind: message.read for message in (*_CLIENTS, *_MASTERS)
}
_PAIRS: dict[int, Callable[[int, int], Message]] = {
    message.kind: message for message in (ExitMessage, Alive, SessionOpened, RemotePort)
}
_THREE = struct.Struct(">III")
HELLO = Hello()
_FRAMED_HELLO = HELLO.encode()
_HELLO = _FRAMED_HELLO[4:]


def decode(frame: bytes | memoryview) -> Message:
    """The message of one frame, without its length.

    Raises `UnknownMessage` and `ProtocolError`.
    """
    if len(frame) == 12:  # nearly all that a master says
        kind, request, value = _THREE.unpack(frame)
        if (pair := _PAIRS.get(kind)) is not None:
            return pair(request, value)
    elif frame == _HELLO:  # and what it says first
        return HELLO
    body = _Body(memoryview(frame))
    kind = body.number()
    read = _READERS.get(kind)
    if read is None:
        raise UnknownMessage(f"a message of the unknown type 0x{kind:08x}")
    return read(body)


_ORDINARY = struct.Struct(f">{len(_HELLO) + 4}s IIII IIII")


def ordinary_exit(data: bytes) -> int | None:
    """The exit status, if `data` is all that a master says in an ordinary session.

    That is its greeting, that the session is open, and the exit status. None for anything else, to
    be read by a `Decoder`.
    """
    if len(data) != _ORDINARY.size:
        return None
    hello, size, opened, _, session, size2, exited, ended, status = _ORDINARY.unpack(data)
    ordinary = (_FRAMED_HELLO, 12, SessionOpened.kind, 12, ExitMessage.kind, session)
    found = (hello, size, opened, size2, exited, ended)
    return int(status) if found == ordinary else None


class Decoder:
    """Makes messages of a byte stream, whatever the pieces it arrives in.

    After a `ProtocolError` the stream makes no sense any more: every further `feed` raises it.
    """

    __slots__ = ("_broken", "_rest")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._broken: ProtocolError | None = None

    def feed(self, data: bytes) -> Generator[Message, None, None]:
        """Yields each message that `data` completes. Whole frames are read where they are."""
        if self._broken is not None:
            raise self._broken
        try:
            view, at = memoryview(self._with_rest(data)), 0
            try:
                while (end := _frame_end(view, at)) >= 0:
                    begun, at = at, end
                    yield decode(view[begun + 4 : end])
            finally:  # also when the caller stops listening
                self._rest += view[at:]
        except ProtocolError as error:
            self._broken = error
            raise

    def _with_rest(self, data: bytes) -> bytes:
        """What can be read by now: with what was left over, if that makes a frame."""
        if not self._rest:
            return data
        self._rest += data
        if _frame_end(self._rest, 0) < 0:
            return b""
        data = bytes(self._rest)
        self._rest.clear()
        return data

    @property
    def within(self) -> bool:
        """Whether the stream so far ends within a message."""
        return bool(self._rest)


def _frame_end(data: memoryview | bytearray, at: int) -> int:
    """Where the frame that begins at `at` ends, or -1 when it is not all there yet."""
    if len(data) - at < 4:
        return -1
    (length,) = _U32.unpack_from(data, at)
    if not 4 <= length <= MAX_FRAME:
        raise ProtocolError(f"a message of {length} bytes")
    end = at + 4 + int(length)
    return end if end <= len(data) else -1
