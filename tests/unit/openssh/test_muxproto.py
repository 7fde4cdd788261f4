"""The frames of the multiplexing protocol: any pieces, any nonsense."""

from __future__ import annotations

import contextlib
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux.openssh import muxproto
from sshmux.openssh.muxproto import Frames, ProtocolError


def raw(kind: int, body: bytes) -> bytes:
    return struct.pack(">II", 4 + len(body), kind) + body


FRAMES = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=40)), max_size=8)


def pieces(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(marks)]


@given(FRAMES, st.lists(st.integers(0, 400), max_size=40))
def test_any_split_gives_the_same_frames(sent: list[tuple[int, bytes]], places: list[int]) -> None:
    frames = Frames()
    data = b"".join(raw(kind, body) for kind, body in sent)
    assert [found for piece in pieces(data, places) for found in frames.feed(piece)] == sent


@given(FRAMES.filter(bool), st.data())
def test_any_mutation_gives_frames_or_a_protocol_error(
    sent: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    good = bytearray(b"".join(raw(kind, body) for kind, body in sent))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    frames = Frames()
    with contextlib.suppress(ProtocolError):
        for kind, body in frames.feed(bytes(good)):
            assert 0 <= kind < 2**32
            assert len(body) <= muxproto.MAX_FRAME - 4


@given(st.binary(max_size=200), st.integers(0, 5))
def test_numbers_of_any_body(body: bytes, count: int) -> None:
    if len(body) < 4 * count:
        with pytest.raises(ProtocolError, match=f"too short for {count} numbers"):
            muxproto.numbers(body, count)
    else:
        assert struct.pack(f">{count}I", *muxproto.numbers(body, count)) == body[: 4 * count]


@pytest.mark.parametrize("length", [0, 1, 3, muxproto.MAX_FRAME + 1, 2**32 - 1])
def test_a_length_that_cannot_be_is_refused_before_anything_is_stored(length: int) -> None:
    with pytest.raises(ProtocolError, match=f"a frame of {length} bytes"):
        list(Frames().feed(struct.pack(">I", length)))


def test_the_longest_frame_passes() -> None:
    body = bytes(muxproto.MAX_FRAME - 4)
    assert list(Frames().feed(raw(7, body))) == [(7, body)]


def test_after_nonsense_a_stream_stays_refused() -> None:
    frames = Frames()
    for _ in range(2):
        with pytest.raises(ProtocolError):
            list(frames.feed(b"\0\0\0\0"))


def test_frames_before_nonsense_are_still_given() -> None:
    found = Frames().feed(raw(1, b"x") + b"\xff" * 4)
    assert next(found) == (1, b"x")
    with pytest.raises(ProtocolError):
        next(found)


def test_what_is_sent_is_what_the_protocol_says() -> None:
    assert muxproto.hello() == bytes.fromhex("00000008 00000001 00000004")
    assert muxproto.alive_check(3) == bytes.fromhex("00000008 10000004 00000003")
    assert list(Frames().feed(muxproto.frame(muxproto.IS_ALIVE, 3, 4711))) == [
        (muxproto.IS_ALIVE, struct.pack(">II", 3, 4711))
    ]
