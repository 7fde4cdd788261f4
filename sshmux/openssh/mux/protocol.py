"""OpenSSH's multiplexing protocol: its messages. Pure.

Sources: PROTOCOL.mux and mux.c of portable OpenSSH (4.4 … 10.x speak version 4; where the two
differ, mux.c is what is on the wire).

Two messages are followed by descriptors: right after the frame, one `sendmsg` for each, with one
NUL byte and one descriptor. `descriptors` says how many a message needs. A master that does not
get them waits for them and does nothing else (mux.c: mm_receive_fd).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar, Self

from .fields import U32, Body, Unsendable, frame, number, string

VERSION = 4
NO_ESCAPE = 0xFFFFFFFF
UNIX = 0xFFFFFFFE  # in place of a port: the host is the path of a Unix socket (PORT_STREAMLOCAL)

LOCAL, REMOTE, DYNAMIC = 1, 2, 3

_SEVEN = struct.Struct(">7I")


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
    def read(cls, body: Body) -> Self:
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
        parts = [number(self.version)]
        for name, value in self.extensions:
            parts += [string(name), U32.pack(len(value)), value]
        return frame(self.kind, *parts)

    @classmethod
    def read(cls, body: Body) -> Self:
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
        return frame(self.kind, number(self.request))

    @classmethod
    def read(cls, body: Body) -> Self:
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
        strings = map(string, (self.term, self.command, *self.env))
        return frame(self.kind, head, *strings)

    @classmethod
    def read(cls, body: Body) -> Self:
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
        return frame(
            self.kind,
            number(self.request),
            number(self.forward),
            string(self.listen_host),
            number(self.listen_port),
            string(self.connect_host),
            number(self.connect_port),
        )

    @classmethod
    def read(cls, body: Body) -> Self:
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
        head = number(self.request) + string("")
        return frame(self.kind, head, string(self.host), number(self.port))

    @classmethod
    def read(cls, body: Body) -> Self:
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
        return frame(self.kind, number(self.request), string(self.reason))

    @classmethod
    def read(cls, body: Body) -> Self:
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
        return frame(self.kind, number(self.request), number(self.value))

    @classmethod
    def read(cls, body: Body) -> Self:
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


CLIENTS: tuple[type[Message], ...] = (
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
MASTERS: tuple[type[Message], ...] = (
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
