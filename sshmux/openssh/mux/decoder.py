"""The multiplexing protocol's stream: bytes in, messages out, whatever the pieces. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator

from .fields import MAX_FRAME, U32, Body, ProtocolError
from .protocol import (
    CLIENTS,
    MASTERS,
    Alive,
    ExitMessage,
    Hello,
    Message,
    RemotePort,
    SessionOpened,
)


class UnknownMessage(ProtocolError):
    """A message of an unknown type."""


_READERS: dict[int, Callable[[Body], Message]] = {
    message.kind: message.read for message in (*CLIENTS, *MASTERS)
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
    body = Body(memoryview(frame))
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
    (length,) = U32.unpack_from(data, at)
    if not 4 <= length <= MAX_FRAME:
        raise ProtocolError(f"a message of {length} bytes")
    end = at + 4 + int(length)
    return end if end <= len(data) else -1
