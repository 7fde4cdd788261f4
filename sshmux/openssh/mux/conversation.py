"""One control connection to a master: messages out, messages in.

No stream object and no task: a raw socket, and two callbacks. A conversation that is not watched
costs the event loop nothing; what the master says meanwhile waits in the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...system.forking import forget_in_child
from ...system.peer import check_peer
from ...system.watcher import watcher
from .decoder import HELLO, Decoder
from .fields import ProtocolError
from .protocol import Message

_PIECE = 64 * 1024
_PIECES = 16  # at once; others have something to do, too
_SMALL = 16 * 1024  # a message that fits with its descriptors whenever a socket is writable
_HUNG_UP = select.POLLHUP | select.POLLERR | select.POLLNVAL
_RETRY = 0.002, 0.1  # seconds: the first pause, and the longest, while the master's backlog is full
_HELLO = HELLO.encode()
_NON_BLOCKING = getattr(socket, "SOCK_NONBLOCK", 0)
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)  # SIGPIPE may end this program
_NATIVE = sys.byteorder

Heard = Callable[[Message], object]
Ended = Callable[[Exception | None], object]


@dataclass
class _PendingMessage:
    """What is left to be sent of a message. The descriptors are ours, and follow the last byte."""

    data: memoryview
    descriptors: list[int]

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = []


class Conversation:
    """A connection to a control socket. Our HELLO is sent as soon as it is made.

    Parameters:
        path: the control socket.
        heard: called with each message, in the event loop.
        ended: called once when the master ends it: with None, or with the `OSError` or
            `ProtocolError` that ended it. Not called after `close()`.

    Raises `OSError` when nothing listens there, or another user does.
    """

    __slots__ = (
        *("_closed", "_decoder", "_ended", "_heard", "_loop", "_outbox", "_path", "_pause"),
        *("_retry", "_sent", "_socket", "_watched", "_writing", "__weakref__"),
    )

    def __init__(self, path: os.PathLike[str] | str, heard: Heard, ended: Ended) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = os.fspath(path)
        self._heard = heard
        self._ended = ended
        self._decoder: Decoder | None = None
        self._outbox: deque[_PendingMessage] = deque()
        self._watched = self._writing = self._closed = False
        self._retry: asyncio.TimerHandle | None = None
        self._pause = _RETRY[0]
        self._sent = 0  # bytes of messages
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | _NON_BLOCKING)
        forget_in_child(self)
        try:
            if not _NON_BLOCKING:
                self._socket.setblocking(False)
            self._connect()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        state = "closed" if self._closed else "connecting" if self._retry else "open"
        return f"<Conversation {self._path} {state}>"

    def listen(self, heard: Heard, ended: Ended) -> None:
        """Somebody else takes it over."""
        self._heard, self._ended = heard, ended

    @property
    def closed(self) -> bool:
        """Whether either side has ended it, as far as was noticed."""
        return self._closed

    @property
    def standing(self) -> bool:
        """Whether it is not hung up at this moment: asks the kernel, ahead of the event loop."""
        if self._closed:
            return False
        if self._retry is not None:
            return True  # a socket that is not connected yet looks hung up
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        return not any(event & _HUNG_UP for _, event in poll.poll(0))

    def _connect(self) -> None:
        self._retry = None
        try:
            self._socket.connect(self._path)
        except BlockingIOError:
            # The backlog is full (64 in mux.c). There is no event for its end (man 2 connect).
            self._retry = self._loop.call_later(self._pause, self._connect_again)
            self._pause = min(2 * self._pause, _RETRY[1])
            return
        check_peer(self._socket, self._path)
        if self._watched:
            watcher(self._loop).add(self._socket.fileno(), self.read)
        self._socket.send(_HELLO, _NO_SIGNAL)
        self._flush()

    def _connect_again(self) -> None:
        try:
            self._connect()
        except OSError as error:
            self._over(error)

    # Out

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Sends a message with its descriptors, which stay the caller's.

        All of it at once, as a master that has read the message does nothing until it has them.
        What the socket does not take yet is sent when it does.

        Raises:
            Unsendable: the message cannot be put into a frame.
            OSError: the master has ended the conversation.
        """
        frame = message.encode()
        self._sent += len(frame)
        if self._sent <= _SMALL and self._retry is None and not self._outbox:
            self._socket.send(frame, _NO_SIGNAL)  # it fits, whether or not anybody reads
            try:
                for descriptor in descriptors:
                    self._pass_on(descriptor)
            except BaseException:
                self.close()  # a master that waits for the rest hears the end instead
                raise
            return
        parcel = _PendingMessage(memoryview(frame), [])
        try:
            # First of all: when a part of the message is sent it is too late to fail.
            for descriptor in descriptors:
                parcel.descriptors.append(os.dup(descriptor))
        except BaseException:
            parcel.close()
            raise
        alone = not self._outbox
        self._outbox.append(parcel)
        try:
            self._flush(roomy=alone)
        except OSError:
            self._drop_outbox()
            self._await_room(False)
            raise

    def _flush(self, *, roomy: bool = False) -> None:
        """Sends what waits, as far as the socket takes it.

        The last byte of a message with descriptors is kept until the socket is writable again
        (`roomy`), which a Unix socket only is when most of its buffer is free: then the byte and
        the descriptors all go at once, and the master need not wait for them.
        """
        while self._outbox and self._retry is None:
            parcel = self._outbox[0]
            try:
                if not self._send_parcel(parcel, whole=roomy and len(parcel.data) <= _SMALL):
                    break
            except BlockingIOError:
                break
            self._outbox.popleft()
            roomy = False
        self._await_room(bool(self._outbox) and self._retry is None)

    def _send_parcel(self, parcel: _PendingMessage, *, whole: bool) -> bool:
        """Sends it, or all but a byte. What was sent is off the parcel, whatever is raised."""
        kept = 1 if parcel.descriptors and not whole else 0
        while len(parcel.data) > kept:
            piece = parcel.data[: len(parcel.data) - kept]
            parcel.data = parcel.data[self._socket.send(piece, _NO_SIGNAL) :]
        if parcel.data:
            return False
        while parcel.descriptors:
            self._pass_on(parcel.descriptors[0])
            os.close(parcel.descriptors.pop(0))
        return True

    def _pass_on(self, descriptor: int) -> None:
        rights = descriptor.to_bytes(4, _NATIVE)
        ancillary = ((socket.SOL_SOCKET, socket.SCM_RIGHTS, rights),)
        self._socket.sendmsg((b"\0",), ancillary, _NO_SIGNAL)

    def _drop_outbox(self) -> None:
        while self._outbox:
            self._outbox.popleft().close()

    def _await_room(self, wanted: bool) -> None:
        if wanted and not self._writing:
            self._loop.add_writer(self._socket.fileno(), self._room)
        elif self._writing and not wanted:
            self._loop.remove_writer(self._socket.fileno())
        self._writing = wanted

    def _room(self) -> None:
        try:
            self._flush(roomy=True)
        except OSError as error:
            self._over(error)

    # In

    def watch(self) -> None:
        """From now on what the master says is heard when it says it."""
        if not self._watched and not self._closed:
            self._watched = True
            if self._retry is None:
                watcher(self._loop).add(self._socket.fileno(), self.read)

    def read(self) -> None:
        """Hears what the master has said until now."""
        # To the end, if there is one: when the master has left something unread uvloop says so
        # once, and then no more.
        for _ in range(_PIECES):
            data = self.receive()
            if not data:
                return
            self.hear(data)

    def receive(self) -> bytes:
        """What the master has said until now, as bytes, for `hear`. Empty if nothing."""
        if self._closed or self._retry is not None:
            return b""
        try:
            data = self._socket.recv(_PIECE)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            self._over(error)
            return b""
        if not data:
            self._over(None)
        return data

    def hear(self, data: bytes) -> None:
        """Makes messages of what was received."""
        if self._decoder is None:
            self._decoder = Decoder()
        with contextlib.closing(self._decoder.feed(data)) as messages:
            while not self._closed:
                try:
                    message = next(messages, None)
                except ProtocolError as error:
                    self._over(error)
                    return
                if message is None:
                    return
                self._heard(message)  # its errors are not the master's

    def _over(self, error: Exception | None) -> None:
        ended = self._ended
        self.close()
        ended(error)

    def forget(self) -> None:
        """In a forked child: closes its copy, or the master would not see our end."""
        self._closed = True
        self._watched = self._writing = False
        self._socket.close()
        self._drop_outbox()

    def close(self) -> None:
        """Ends it. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._heard, self._ended = _nothing, _nothing
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._watched:
            watcher(self._loop).remove(self._socket.fileno())
        if self._writing and not self._loop.is_closed():
            self._loop.remove_writer(self._socket.fileno())
        self._watched = self._writing = False
        self._socket.close()
        self._drop_outbox()


def _nothing(_: object) -> None:
    """In place of a callback that is not wanted any more."""
