"""The streams of a process, without any process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux.session.streams import LIMIT, StreamReader, StreamWriter


class PausableSource:
    def __init__(self) -> None:
        self.said: list[str] = []

    def pause(self) -> None:
        self.said.append("pause")

    def resume(self) -> None:
        self.said.append("resume")

    def close(self) -> None:
        self.said.append("close")


class ByteSink:
    def __init__(self) -> None:
        self.data = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.data += data

    async def drained(self) -> None:
        """There is always room."""

    def end(self) -> None:
        self.closed = True

    async def ended(self) -> None:
        """At once."""


def of_bytes() -> StreamReader[bytes]:
    return StreamReader(b"", None, "strict")


def of_text(errors: str = "strict") -> StreamReader[str]:
    return StreamReader("", "utf-8", errors)


def fed(*pieces: bytes, end: bool = True) -> StreamReader[bytes]:
    stream = of_bytes()
    for piece in pieces:
        stream.feed_data(piece)
    if end:
        stream.feed_eof()
    return stream


def now(awaitable: Awaitable[Any]) -> Any:
    """What is there must not be waited for."""
    return asyncio.run(_now(awaitable))


async def _now(awaitable: Awaitable[Any]) -> Any:
    async with asyncio.timeout(5):
        return await awaitable


TEXTS = st.text(alphabet="ab\né😀", max_size=60)
CALLS = st.lists(
    st.sampled_from(["line", "next", "read", "exactly", "until", "two"]), min_size=1, max_size=30
)


@given(TEXTS, st.lists(st.integers(0, 200)), CALLS, st.booleans())
def test_whatever_the_pieces_and_the_calls_the_text_is_the_same(
    text: str, cuts: list[int], calls: list[str], as_text: bool
) -> None:
    data = text.encode()
    whole: Any = text if as_text else data
    newline: Any = "\n" if as_text else b"\n"
    stream: Any = of_text() if as_text else of_bytes()
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[a:b] for a, b in pairwise(edges)]

    async def feed() -> None:
        for piece in pieces:
            stream.feed_data(piece)
            await asyncio.sleep(0)
        stream.feed_eof()

    async def call(name: str) -> Any:
        if name == "line":
            line = await stream.readline()
            assert line.count(newline) <= 1
            return line
        if name == "next":
            return await anext(stream, whole[:0])
        if name == "read":
            return await stream.read(3)
        try:
            if name == "exactly":
                found = await stream.readexactly(4)
                assert len(found) == 4
                return found
            separators = ["b", "😀"] if as_text else [b"b", "😀".encode()]
            return await stream.readuntil(separators[0] if name == "until" else separators)
        except asyncio.IncompleteReadError as error:
            assert stream.at_eof()
            return error.partial

    async def run() -> Any:
        feeding = asyncio.ensure_future(feed())
        found = whole[:0]
        for name in calls:
            found += await call(name)
        found += await stream.read()
        await feeding
        return found

    assert asyncio.run(run()) == whole
    assert stream.at_eof()


def test_lines_of_any_length_and_a_last_one_without_an_end() -> None:
    stream = fed(b"x" * 3_000_000, b"\ny", b"z")
    assert len(now(stream.readline())) == 3_000_001
    assert now(stream.readline()) == b"yz"
    assert now(stream.readline()) == b""
    assert now(stream.read(5)) == b""


def test_reading_nothing_is_nothing_and_no_separator_is_an_error() -> None:
    stream = fed(b"abc", end=False)
    assert now(stream.read(0)) == b""
    for separator in (b"", [], [b"a", b""]):
        with pytest.raises(ValueError, match="separator"):
            now(stream.readuntil(separator))
    assert now(stream.read(10)) == b"abc"


def test_the_error_comes_after_what_was_written_and_once() -> None:
    stream = of_bytes()
    stream.feed_data(b"last words\n")
    stream.feed_eof(ConnectionError("gone"))
    stream.feed_eof(ConnectionError("gone again"))
    stream.feed_data(b"too late")
    assert now(stream.readline()) == b"last words\n"
    with pytest.raises(ConnectionError, match=r"gone$"):
        now(stream.readline())
    assert now(stream.readline()) == b""


@pytest.mark.parametrize("data", [b"good\n\xff bad\n", b"good\n\xc3"])
def test_what_cannot_be_decoded_is_an_error_after_what_could(data: bytes) -> None:
    stream = of_text()
    for byte in data:
        stream.feed_data(bytes([byte]))
    stream.feed_eof()
    assert now(stream.readline()) == "good\n"
    with pytest.raises(UnicodeDecodeError):
        now(stream.readline())
    lenient = of_text("replace")
    lenient.feed_data(data)
    lenient.feed_eof()
    assert "\ufffd" in now(lenient.read())


async def test_one_reader_at_a_time() -> None:
    stream = of_bytes()
    first = asyncio.ensure_future(stream.readline())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another task"):
        await stream.readline()
    first.cancel()
    await asyncio.wait((first,))
    stream.feed_data(b"after\n")
    assert await stream.readline() == b"after\n"


async def test_a_cancelled_read_loses_nothing() -> None:
    stream = of_bytes()
    for call in (lambda: stream.readexactly(6), stream.readline, lambda: stream.readuntil(b"x")):
        reading = asyncio.ensure_future(call())
        await asyncio.sleep(0)
        stream.feed_data(b"ab")
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait((reading,))
    assert await stream.readexactly(6) == b"ababab"


async def test_what_nobody_reads_is_stopped_and_goes_on_when_it_is_read() -> None:
    stream, tap = of_bytes(), PausableSource()
    stream.feed_from(tap)
    while "pause" not in tap.said:
        stream.feed_data(b"x" * 65536)
        assert stream._size <= LIMIT + 65536
    assert len(await stream.read(65536)) == 65536
    assert tap.said == ["pause"]  # there is plenty
    await stream.readexactly(LIMIT - 65536)
    assert tap.said == ["pause", "resume"]


async def test_who_waits_for_a_long_line_is_never_stopped() -> None:
    stream, tap = of_bytes(), PausableSource()
    stream.feed_from(tap)
    reading = asyncio.ensure_future(stream.readline())
    await asyncio.sleep(0)
    for _ in range(40):
        stream.feed_data(b"x" * 65536)
    assert tap.said == []
    stream.feed_data(b"\n")
    assert len(await reading) == 40 * 65536 + 1


def test_text_becomes_bytes_again_without_a_loss() -> None:
    data = "é😀\nz".encode()
    for cut in range(len(data) + 1):
        stream: Any = of_text()
        stream.feed_data(data[:cut])
        stream.become_bytes()
        stream.become_bytes()
        stream.feed_data(data[cut:])
        stream.feed_eof()
        assert now(stream.read()) == data


@pytest.mark.parametrize(
    ("encoding", "good", "bad", "written"),
    [("utf-8", "é", b"x", "é".encode()), (None, b"\xff", "x", b"\xff")],
)
async def test_a_writer_takes_what_it_was_made_for(
    encoding: str | None, good: Any, bad: Any, written: bytes
) -> None:
    drain = ByteSink()
    writer: StreamWriter[Any] = StreamWriter(drain, encoding, "strict")
    writer.writelines([good, good])
    await writer.drain()
    assert drain.data == 2 * written
    with pytest.raises(TypeError, match="this stream takes"):
        writer.write(bad)
    assert (writer.is_closing(), writer.can_write_eof()) == (False, True)
    writer.write_eof()
    writer.close()
    assert (writer.is_closing(), drain.closed) == (True, True)
    await writer.wait_closed()
    late: list[Callable[[], None]] = [lambda: writer.write(good), lambda: writer.write_bytes(b"x")]
    for write in late:
        with pytest.raises(BrokenPipeError):
            write()


def test_whoever_leaves_before_it_is_known_what_to_stop_stops_it_then() -> None:
    stream, tap = StreamReader(b"", None, "strict"), PausableSource()
    stream.close()
    stream.feed_from(tap)
    assert tap.said == ["close"]
