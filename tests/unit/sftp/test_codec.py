"""Fields, records and messages: there and back, in any pieces, and whatever a server may send."""

from __future__ import annotations

import contextlib
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux import SFTPBadMessage, SFTPError
from sshmux.sftp import messages
from sshmux.sftp.attrs import SFTPAttrs, SFTPLimits, SFTPName, SFTPVFSAttrs, decode_names
from sshmux.sftp.channel import answer, expect
from sshmux.sftp.fields import Malformed, Unpacker, string, u32, u64
from sshmux.sftp.messages import (
    DATA,
    HANDLE,
    MAX_PACKET,
    NAME,
    STATUS,
    Frames,
    error_of,
    extensions,
    packet,
)
from sshmux.sftp.operations import _decoded, _one_name, data_of, names_of
from sshmux.sftp.paths import shown

from .peer import hello, names_body

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
SIZE = st.integers(0, 2**63 - 1)
WORDS = st.binary(max_size=60)


def maybe(strategy: st.SearchStrategy[int]) -> st.SearchStrategy[int | None]:
    return st.none() | strategy


@st.composite
def some_attrs(draw: st.DrawFn) -> SFTPAttrs:
    owners = draw(st.none() | st.tuples(U32, U32)) or (None, None)
    times = draw(st.none() | st.tuples(U32, U32)) or (None, None)
    mode = draw(maybe(U32))
    attrs = SFTPAttrs(
        size=draw(maybe(SIZE)),
        uid=owners[0],
        gid=owners[1],
        permissions=mode,
        atime=times[0],
        mtime=times[1],
        extended=tuple(draw(st.lists(st.tuples(WORDS, WORDS), max_size=3))),
    )
    # The kind of file follows from the permissions, as in the decoder.
    attrs.type = SFTPAttrs.decode(Unpacker(attrs.encode())).type
    return attrs


ENTRIES = st.lists(st.tuples(WORDS, WORDS, some_attrs()), max_size=5)


# There and back


@given(U32, U64, WORDS)
def test_fields(small: int, large: int, word: bytes) -> None:
    data = Unpacker(u32(small) + string(word) + u64(large) + string(word))
    assert data.peek_u32() == small
    assert (data.u32(), data.string(), data.u64()) == (small, word, large)
    assert bytes(data.view()) == word
    assert data.left == 0
    with pytest.raises(Malformed):
        data.peek_u32()


@pytest.mark.parametrize("number", [-1, 2**64, 2.5])
def test_numbers_that_are_none(number: int) -> None:
    for pack in u32, u64:
        with pytest.raises(ValueError, match=str(number)):
            pack(number)


@given(some_attrs())
def test_attributes(attrs: SFTPAttrs) -> None:
    data = Unpacker(attrs.encode() + b"rest")
    assert SFTPAttrs.decode(data) == attrs
    assert data.left == 4


@pytest.mark.parametrize(
    "attrs",
    [
        SFTPAttrs(uid=1),
        SFTPAttrs(gid=1),
        SFTPAttrs(atime=1),
        SFTPAttrs(mtime=1.5),
        SFTPAttrs(size=-1),
        SFTPAttrs(size=2**64),
        SFTPAttrs(permissions=-1),
        SFTPAttrs(uid=2**32, gid=0),
        SFTPAttrs(uid=0, gid=-1),
        SFTPAttrs(atime=-1, mtime=0),
        SFTPAttrs(atime=0, mtime=2**32),
    ],
)
def test_attributes_that_cannot_be_sent(attrs: SFTPAttrs) -> None:
    """An owner of 2**32 is not root, and a time before 1970 not one in 2106."""
    with pytest.raises(ValueError):
        attrs.encode()


def test_attributes_of_a_file_here_round_down_as_they_are_sent() -> None:
    attrs = SFTPAttrs(atime=1.9, mtime=2.1)
    assert (attrs.atime_ns, attrs.mtime_ns) == (1_900_000_000, 2_100_000_000)
    sent = SFTPAttrs.decode(Unpacker(attrs.encode()))
    assert (sent.atime, sent.mtime) == (1, 2)
    assert SFTPAttrs().atime_ns is SFTPAttrs().mtime_ns is None
    here = os.stat(__file__)
    told = SFTPAttrs.from_local(here)
    assert (told.type, told.size, told.mtime) == (1, here.st_size, here.st_mtime)


@given(ENTRIES)
def test_names(entries: list[tuple[bytes, bytes, SFTPAttrs]]) -> None:
    data = Unpacker(names_body(entries))
    assert decode_names(data) == [SFTPName(*entry) for entry in entries]
    assert data.left == 0


@given(st.lists(U64, min_size=11, max_size=11))
def test_file_systems_and_limits(numbers: list[int]) -> None:
    packed = b"".join(map(u64, numbers))
    told = SFTPVFSAttrs.decode(Unpacker(packed))
    assert [getattr(told, name) for name in SFTPVFSAttrs.__slots__] == numbers
    limits = SFTPLimits.decode(Unpacker(packed))
    assert [getattr(limits, name) for name in SFTPLimits.__slots__] == numbers[:4]


@given(st.dictionaries(WORDS, WORDS))
def test_extensions(known: dict[bytes, bytes]) -> None:
    ((kind, version, body),) = Frames().feed(hello(3, known.items()))
    assert (kind, version, extensions(body)) == (messages.HELLO, 3, known)


@given(U32, st.text(max_size=20), st.text(st.characters(max_codepoint=127), max_size=5))
def test_statuses(code: int, reason: str, lang: str) -> None:
    body = memoryview(u32(code) + string(reason.encode()) + string(lang.encode()))
    error = error_of(body)
    if code == 0:
        assert error is None
    else:
        assert error is not None
        assert (error.code, error.lang) == (code, shown(lang.encode()))
        assert error.reason == (shown(reason.encode()) or f"status {code}")
        assert error.reason.isprintable()


def test_a_status_of_an_old_server_has_no_words() -> None:
    error = error_of(memoryview(u32(2)))
    assert isinstance(error, FileNotFoundError)
    assert str(error) == "status 2"
    error = error_of(memoryview(u32(3) + string(b"\xff")))
    assert isinstance(error, PermissionError)
    assert str(error) == "\\xff"


# In any pieces


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(
    st.lists(st.tuples(st.integers(0, 255), U32, st.binary(max_size=200)), max_size=8), st.data()
)
def test_any_split_of_the_stream(sent: list[tuple[int, int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(packet(*each) for each in sent)
    frames = Frames()
    came = [frame for piece in data.draw(cut(stream)) for frame in frames.feed(piece)]
    assert [(kind, number, bytes(body)) for kind, number, body in came] == sent


def test_the_largest_message_in_small_pieces_and_nothing_larger() -> None:
    whole = packet(DATA, 1, bytes(MAX_PACKET - 5))
    frames = Frames()
    came = [frames.feed(whole[at : at + 1000]) for at in range(0, len(whole), 1000)]
    assert [len(frame) for frame in came if frame] == [1]
    with pytest.raises(Malformed):
        frames.feed(packet(DATA, 1, bytes(MAX_PACKET - 4))[:4])


@pytest.mark.parametrize("size", [0, 1, 4, MAX_PACKET + 1, 2**32 - 1])
def test_lengths_that_no_message_has(size: int) -> None:
    with pytest.raises(Malformed):
        Frames().feed(u32(size))


def test_what_is_no_sftp_is_shown() -> None:
    with pytest.raises(Malformed, match="Welcome to the cluster"):
        Frames().feed(b"Welcome to the cluster\r\n")
    frames = Frames()
    frames.feed(hello())
    with pytest.raises(Malformed) as odd:
        frames.feed(b"secret text of a file")
    assert "secret text" not in str(odd.value)


# Whatever a server may send

DECODERS = {
    "attrs": SFTPAttrs.decode,
    "names": decode_names,
    "vfs": SFTPVFSAttrs.decode,
    "limits": SFTPLimits.decode,
    "string": Unpacker.string,
    "view": Unpacker.view,
}


@pytest.mark.parametrize("kind", DECODERS)
@given(data=st.binary(max_size=120))
def test_any_bytes_are_decoded_or_malformed(kind: str, data: bytes) -> None:
    with contextlib.suppress(Malformed):
        DECODERS[kind](Unpacker(memoryview(data)))


@given(ENTRIES, st.data())
def test_names_that_are_cut_or_changed(
    entries: list[tuple[bytes, bytes, SFTPAttrs]], data: st.DataObject
) -> None:
    body = bytearray(names_body(entries))
    for _ in range(data.draw(st.integers(0, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(0, len(body)))]
    try:
        found = decode_names(Unpacker(memoryview(bytes(body))))
    except Malformed:
        return
    assert sum(len(name.filename) for name in found) <= len(body)


@given(st.sampled_from([STATUS, HANDLE, DATA, NAME]) | st.integers(0, 255), st.binary(max_size=80))
def test_any_answer_is_understood_or_an_error_of_ours(kind: int, body: bytes) -> None:
    reply = kind, memoryview(body)
    for reading in (
        answer,
        data_of,
        names_of,
        lambda reply: _one_name(expect(reply, (NAME,))),
        lambda reply: _decoded(Unpacker.string, expect(reply, (HANDLE,))),
    ):
        with contextlib.suppress(SFTPError if kind == STATUS else SFTPBadMessage):
            reading(reply)


@given(st.binary(max_size=400), st.data())
def test_any_stream_is_messages_or_malformed(stream: bytes, data: st.DataObject) -> None:
    frames = Frames()
    try:
        came = [frame for piece in data.draw(cut(stream)) for frame in frames.feed(piece)]
    except Malformed:
        return
    assert sum(9 + len(body) for _, _, body in came) <= len(stream)


@given(st.binary(max_size=60))
def test_any_greeting(body: bytes) -> None:
    with contextlib.suppress(Malformed):
        extensions(memoryview(body))


@pytest.mark.parametrize("least", [8, 12])
def test_counts_that_cannot_be(least: int) -> None:
    """So that a few bytes do not make billions of records."""
    with pytest.raises(Malformed):
        Unpacker(u32(2**32 - 1) + bytes(100)).count(least=least)
    huge = struct.pack(">II", 0x80000000, 2**31)
    with pytest.raises(Malformed):
        SFTPAttrs.decode(Unpacker(huge))
