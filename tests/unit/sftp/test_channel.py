"""Requests and answers, with a peer in memory that answers as it likes."""

from __future__ import annotations

import asyncio
import itertools
import random
import stat
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux import SFTPBadMessage, SFTPConnectionLost, SFTPFailure, SFTPNoConnection, SFTPNoSuchFile
from sshmux.sftp.attrs import SFTPAttrs
from sshmux.sftp.fields import string, u64
from sshmux.sftp.listing import entries, scan
from sshmux.sftp.messages import EXTENDED_REPLY, LSTAT, STAT, SYMLINK, extensions, packet
from sshmux.sftp.operations import LIMITS, STATVFS, Operations

from .peer import Peer, Request, attrs, caught, data, handle, hello, names, status, turns


async def test_answers_in_any_order_find_their_requests() -> None:
    peer = Peer()
    tasks = [asyncio.ensure_future(peer.server.stat(b"%d" % size)) for size in range(200)]
    await turns()
    replies = [
        attrs(request.number, SFTPAttrs(size=int(request.body.string())))
        for request in peer.requests
    ]
    random.Random(1).shuffle(replies)
    stream = b"".join(replies)
    for at in range(0, len(stream), 7):
        peer.say(stream[at : at + 7])
    assert [told.size for told in await asyncio.gather(*tasks)] == list(range(200))


async def test_what_is_asked_in_one_turn_keeps_its_order_whatever_its_size() -> None:
    peer = Peer()
    for size in (1, 20_000, 3, 100_000, 5):
        peer.server.write(b"h", size, bytes(size))
    await turns()
    assert [len(request.body._data) for request in peer.requests] == [
        len(string(b"h") + u64(0)) + 4 + size for size in (1, 20_000, 3, 100_000, 5)
    ]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(lambda number: status(number + 7), id="unknown number"),
        pytest.param(lambda number: status(number) * 2, id="answered twice"),
        pytest.param(lambda number: hello() * 2, id="two greetings"),
        pytest.param(lambda number: hello(2), id="an old version"),
        pytest.param(lambda number: b"\xff" * 9, id="no message"),
        pytest.param(lambda number: bytes(4), id="an empty message"),
    ],
)
async def test_what_makes_no_sense_ends_it_all(words: object) -> None:
    peer = Peer()
    first, second = (asyncio.ensure_future(peer.server.remove(b"f")) for _ in range(2))
    await turns()
    peer.say(words(peer.number(0)))  # type: ignore[operator]
    peer.say(status(peer.number(1)))  # not heard any more
    await turns()
    assert isinstance(caught(second), SFTPBadMessage)
    assert caught(first) is None or isinstance(caught(first), SFTPBadMessage)
    assert (peer.odd, peer.closed) == (1, True)
    with pytest.raises(SFTPBadMessage):
        await peer.server.stat(b"f")


async def test_the_end_in_the_middle() -> None:
    peer = Peer()
    tasks = [asyncio.ensure_future(peer.server.remove(b"f")) for _ in range(3)]
    await turns()
    peer.say(status(peer.number(0)) + status(peer.number(1))[:7])
    peer.channel.fail(SFTPConnectionLost("gone"))
    await turns()
    assert [type(caught(task)) for task in tasks] == [
        type(None),
        SFTPConnectionLost,
        SFTPConnectionLost,
    ]
    assert caught(tasks[1]) is not caught(tasks[2])  # each has a traceback of its own
    with pytest.raises(SFTPConnectionLost):
        peer.server.read(b"h", 0, 1)


async def test_before_its_end_the_server_may_answer_what_it_was_asked() -> None:
    peer = Peer()
    tasks = [asyncio.ensure_future(peer.server.remove(b"f")) for _ in range(2)]
    await turns()
    peer.channel.end(SFTPNoConnection("closed"))
    with pytest.raises(SFTPNoConnection):
        await peer.server.stat(b"f")
    assert not peer.ended
    peer.say(status(peer.number(0)))
    assert not peer.ended
    peer.say(status(peer.number(1)))
    assert peer.ended
    await asyncio.gather(*tasks)


async def test_with_nothing_under_way_it_ends_at_once() -> None:
    peer = Peer()
    peer.channel.end(SFTPNoConnection("closed"))
    assert peer.ended


async def test_cancelled_callers_leave_answers_that_nobody_minds() -> None:
    peer = Peer()
    task = asyncio.ensure_future(peer.server.remove(b"f"))
    other = asyncio.ensure_future(peer.server.remove(b"g"))
    await turns()
    task.cancel()
    await asyncio.wait((task,))
    peer.say(status(peer.number(0)) + status(peer.number(1)))
    await other
    assert peer.channel._pending == {}


async def test_the_greeting_comes_in_pieces() -> None:
    peer = Peer()
    for byte in hello(3, [(b"a", b"1")]):
        peer.say(bytes((byte,)))
    assert extensions(await peer.channel.hello) == {b"a": b"1"}


async def test_errors_name_their_paths() -> None:
    peer = Peer(lambda request: status(request.number, 2, b"No such file"))
    with pytest.raises(SFTPNoSuchFile, match=r"No such file: \\xff -> b"):
        await peer.server.rename(b"\xff", b"b")


async def test_an_answer_of_the_wrong_kind() -> None:
    peer = Peer(lambda request: data(request.number, b"x"))
    for asking in (peer.server.stat(b"f"), peer.server.remove(b"f"), peer.server.realpath(b"f")):
        with pytest.raises(SFTPBadMessage, match="103"):
            await asking


async def test_no_name_where_one_belongs() -> None:
    peer = Peer(lambda request: names(request.number, []))
    with pytest.raises(SFTPBadMessage):
        await peer.server.readlink(b"f")


@pytest.mark.parametrize("extension", [b"x@openssh.com", b"x"])
async def test_links_are_made_in_openssh_order_whatever_the_server_is(extension: bytes) -> None:
    peer = Peer(lambda request: status(request.number), [(extension, b"1")])
    await peer.server.symlink(b"to", b"at")
    (request,) = peer.of(SYMLINK)
    assert [request.body.string(), request.body.string()] == [b"to", b"at"]


async def names_in(server: Operations, path: bytes) -> list[object]:
    return [name.filename async for name in scan(server, path)]


async def test_extensions_in_another_version_are_not_used() -> None:
    peer = Peer(extensions=[(STATVFS[0], b"7")])
    with pytest.raises(Exception, match=r"statvfs@openssh\.com"):
        await peer.server.statvfs(b"/")
    assert peer.requests == []
    assert peer.server.limits.max_read_len == 32768


@pytest.mark.parametrize(
    ("told", "used"),
    [
        ((0, 0, 0, 0), (32768, 32768)),
        ((0, 2**63, 2**63, 0), (261120, 261120)),
        ((34000, 1, 65536, 5), (1, 65536)),
    ],
)
async def test_limits(told: tuple[int, ...], used: tuple[int, int]) -> None:
    """What a server says of itself can be more than fits into a message."""
    body = b"".join(map(u64, told))
    peer = Peer(lambda request: packet(EXTENDED_REPLY, request.number, body), [LIMITS])
    peer.server.ask_limits()
    await peer.server.channel.ask(17, b"")  # what is asked later is answered later
    assert (peer.server.limits.max_read_len, peer.server.limits.max_write_len) == used


def listing(name: Callable[[int], bytes], at_once: int = 100) -> Peer:
    """A server with a directory that never ends; each name is made from its number."""
    numbers = itertools.count()

    def answers(request: Request) -> bytes:
        if request.kind == 11:
            return handle(request.number, b"h")
        if request.kind == 12:
            found = [(name(next(numbers)), b"", SFTPAttrs()) for _ in range(at_once)]
            return names(request.number, found)
        return status(request.number)

    return Peer(answers)


async def test_a_directory_without_end_is_read_as_far_as_it_is_looked_at() -> None:
    peer = listing(lambda number: b"%d" % number)
    found = scan(peer.server, b"d")
    assert [(await anext(found)).filename for _ in range(1000)] == [
        b"%d" % number for number in range(1000)
    ]
    await found.aclose()
    await turns()
    assert len(peer.requests) < 20
    assert peer.requests[-1].kind == 4


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (lambda _: b"x", "does not end: 1 entries"),
        (lambda _: b"../x", "as none can be"),
        (lambda _: b"/etc/passwd", "as none can be"),
        (lambda _: b"x\0y", "as none can be"),
        (lambda _: b"", "as none can be"),
        (lambda number: b"%d" % number, "does not end: 1200 entries"),
    ],
)
@pytest.mark.parametrize("how", [entries, names_in])
async def test_what_a_directory_cannot_hold(
    name: Callable[[int], bytes], why: str, how: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sshmux.sftp.listing.MOST_ENTRIES", 1100)
    with pytest.raises(SFTPBadMessage, match=why):
        await asyncio.wait_for(how(listing(name).server, b"d"), 5)


async def test_a_name_that_comes_twice() -> None:
    """File systems do that; but what was a link is never a directory, to be gone into."""
    kinds = [0o040755, 0o100644, 0o040755, 0o120777]

    def answers(request: Request) -> bytes:
        if request.kind == 11:
            return handle(request.number, b"h")
        if request.kind == 12 and kinds:
            mode = kinds.pop(0)
            name = b"f" if stat.S_ISREG(mode) else b"d"
            return names(request.number, [(name, b"", SFTPAttrs(permissions=mode))])
        return status(request.number)

    found = []

    async def look() -> None:
        async for name in scan(Peer(answers).server, b"d"):
            found.append(name.filename)

    with pytest.raises(SFTPBadMessage, match="as two kinds"):
        await look()
    assert found == [b"d", b"f"]


async def test_answers_without_a_name_for_ever() -> None:
    with pytest.raises(SFTPBadMessage, match="does not end"):
        await asyncio.wait_for(entries(listing(lambda _: b"", at_once=0).server, b"d"), 5)


async def test_a_directory_that_fails_half_way() -> None:
    replies = iter([1, 1, 4])

    def answers(request: Request) -> bytes:
        if request.kind == 11:
            return handle(request.number, b"h")
        if request.kind == 12 and (code := next(replies, 4)) != 1:
            return status(request.number, code, b"Failure")
        return names(request.number, [(b"%d" % request.number, b"", SFTPAttrs())])

    found = []

    async def look() -> None:
        async for name in scan(Peer(answers).server, b"d"):
            found.append(name)

    with pytest.raises(SFTPFailure):
        await look()
    assert len(found) == 2


@given(st.binary(max_size=200), st.integers(1, 50))
def test_whatever_comes_every_request_has_an_end(words: bytes, size: int) -> None:
    async def run() -> None:
        peer = Peer()
        tasks = [
            asyncio.ensure_future(asking)
            for asking in (peer.server.stat(b"f"), peer.server.opendir(b"d"))
        ]
        await turns()
        for at in range(0, len(words), size):
            peer.say(words[at : at + size])
        peer.channel.fail(SFTPConnectionLost("gone"))
        await asyncio.wait(tasks)

    asyncio.run(run())


async def test_kinds_of_requests() -> None:
    peer = Peer(lambda request: attrs(request.number, SFTPAttrs(size=1)))
    await peer.server.stat(b"f")
    await peer.server.stat(b"f", follow_symlinks=False)
    assert [request.kind for request in peer.requests] == [STAT, LSTAT]
