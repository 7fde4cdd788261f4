"""What ssh says of itself, and what the server sent before its version, taken from one log."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux.openssh.askpass.own_log import OwnLog

TAG = "kex.c:kex_exchange_identification():1383 (pid=4711): "
NEWER = "kex.c:kex_exchange_identification():1383 (bin=ssh, pid=4711): "
DEBUG1 = "kex_exchange_identification: "


def read(*lines: str, limit: int = 10_000) -> OwnLog:
    log = OwnLog(limit)
    log.feed("".join(f"{line}\r\n" for line in lines).encode())
    return log


@pytest.mark.parametrize("tag", [TAG, NEWER, DEBUG1])
def test_the_greeting_is_told_apart(tag: str) -> None:
    log = read(
        f"debug1: {tag}Local version string SSH-2.0-OpenSSH_9.2p1",
        f"debug1: {tag}banner line 0: Exceeded MaxStartups",
        f"{tag}Connection closed by remote host",
        "Connection closed by 192.0.2.7 port 22",
    )
    assert log.greeting == ["Exceeded MaxStartups"]
    assert log.text.splitlines() == [
        "kex_exchange_identification: Connection closed by remote host",
        "Connection closed by 192.0.2.7 port 22",
    ]


def test_lines_without_a_name_have_none() -> None:
    assert read(f"{TAG}Protocol major versions differ: 2 vs. 1").text == (
        "Protocol major versions differ: 2 vs. 1\r\n"
    )


def test_endless_banners_leave_room_for_the_verdict() -> None:
    banner = [f"debug1: {TAG}banner line {number}: {'x' * 900}" for number in range(1024)]
    log = read(*banner, f"{TAG}No SSH version received in first 1024 lines from server")
    assert log.text.startswith("kex_exchange_identification: No SSH version received")
    assert len(log.greeting) == 3
    assert max(map(len, log.greeting)) <= 120


def test_strangers_words_are_cleaned() -> None:
    assert read(f"debug1: {TAG}banner line 0: \x1b[2Jhello\u202e").greeting == [
        "\\x1b[2Jhello\\u202e"
    ]


def test_no_greeting_is_made_of_a_banner_or_a_question() -> None:
    log = read(f"x debug1: {TAG}banner line 0: y", f"debug1: x {TAG}banner line 0: y")
    assert log.greeting == []


def test_it_is_bounded() -> None:
    log = read(*["x" * 1000] * 1000, limit=5000)
    log.feed(b"y" * 1_000_000)
    assert len(log.text) <= 5000 + 8 * 1024 + 10


@given(st.binary(max_size=3000), st.lists(st.integers(0, 3000), max_size=10))
def test_pieces_make_no_difference(data: bytes, cuts: list[int]) -> None:
    whole, pieces = OwnLog(10_000), OwnLog(10_000)
    whole.feed(data)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for begin, end in itertools.pairwise(edges):
        pieces.feed(data[begin:end])
    assert (pieces.text, pieces.greeting) == (whole.text, whole.greeting)
