"""A stand-in for an SFTP server, in memory: for what no real server does.

It is talked to in whole messages; what it answers is up to the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, cast

from sshmux.sftp.attrs import SFTPAttrs
from sshmux.sftp.channel import Channel
from sshmux.sftp.fields import Unpacker, string, u32
from sshmux.sftp.messages import ATTRS, DATA, HANDLE, HELLO, NAME, STATUS, Frames, packet
from sshmux.sftp.operations import Operations
from sshmux.system.pipes import Writer

Names = Iterable[tuple[bytes, bytes, SFTPAttrs]]


# What a server says


def hello(version: int = 3, extensions: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    return packet(HELLO, version, b"".join(string(word) for pair in extensions for word in pair))


def status(number: int, code: int = 0, reason: bytes = b"", lang: bytes = b"") -> bytes:
    return packet(STATUS, number, u32(code) + string(reason) + string(lang))


def handle(number: int, name: bytes) -> bytes:
    return packet(HANDLE, number, string(name))


def data(number: int, content: bytes) -> bytes:
    return packet(DATA, number, string(content))


def names_body(entries: Names) -> bytes:
    body = [string(name) + string(long) + attrs.encode() for name, long, attrs in entries]
    return u32(len(body)) + b"".join(body)


def names(number: int, entries: Names) -> bytes:
    return packet(NAME, number, names_body(entries))


def attrs(number: int, told: SFTPAttrs) -> bytes:
    return packet(ATTRS, number, told.encode())


class Request:
    """What was asked."""

    def __init__(self, kind: int, number: int, body: memoryview) -> None:
        self.kind = kind
        self.number = number
        self.body = Unpacker(bytes(body))

    def __repr__(self) -> str:
        return f"<Request {self.number} of kind {self.kind}>"


class Peer:
    """A server whose answers are the test's: at once by `answers`, or later by `say`.

    Parameters:
        answers: what to say to a request; None or nothing to say it later, or never.
    """

    def __init__(
        self,
        answers: Callable[[Request], bytes | None] = lambda _: None,
        extensions: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        self.requests: list[Request] = []
        self.ended = self.closed = False
        self.odd = 0  # how often the channel found it odd
        self._answers = answers
        self._frames = Frames()
        self._loop = asyncio.get_running_loop()
        self.channel = Channel(self._on_odd)
        self.channel.connect(cast("Writer", self))
        self.server = Operations(self.channel, dict(extensions))

    def _on_odd(self) -> None:
        self.odd += 1

    def say(self, words: bytes) -> None:
        self.channel.feed(words)

    def number(self, index: int) -> int:
        """That of a request, by the order in which they came."""
        return self.requests[index].number

    def of(self, kind: int) -> list[Request]:
        return [request for request in self.requests if request.kind == kind]

    # In the shape of `Writer`

    def write(self, words: bytes | memoryview) -> None:
        for kind, number, body in self._frames.feed(bytes(words)):
            request = Request(kind, number, body)
            self.requests.append(request)
            answer = self._answers(request)
            if answer:
                self._loop.call_soon(self.say, answer)

    async def drained(self) -> None:
        pass

    def end(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True


async def turns(count: int = 5) -> None:
    """Lets everything that is ready happen."""
    for _ in range(count):
        await asyncio.sleep(0)


def caught(task: asyncio.Future[Any]) -> BaseException | None:
    """What a finished task raised; None if nothing."""
    assert task.done()
    return asyncio.CancelledError() if task.cancelled() else task.exception()
