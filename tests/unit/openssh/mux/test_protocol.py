"""The multiplexing protocol on the wire: what is written, what is read, and what is refused."""

from __future__ import annotations

import dataclasses
import os
import random
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sshmux.openssh.mux import protocol
from sshmux.openssh.mux.decoder import Decoder, UnknownMessage, decode, ordinary_exit
from sshmux.openssh.mux.fields import MAX_FRAME, ProtocolError, Unsendable
from sshmux.openssh.mux.protocol import (
    DYNAMIC,
    LOCAL,
    NO_ESCAPE,
    REMOTE,
    UNIX,
    Alive,
    AliveCheck,
    CloseForward,
    Denied,
    ExitMessage,
    Failure,
    Hello,
    Message,
    NewSession,
    Ok,
    OpenForward,
    Proxy,
    ProxyOk,
    RemotePort,
    SessionOpened,
    StdioForward,
    StopListening,
    TerminalRefused,
    Terminate,
)

PIECE = 64 * 1024
REQUEST_ONLY = [AliveCheck, Terminate, StopListening, Proxy, Ok, ProxyOk, TerminalRefused]
PAIRS = [ExitMessage, Alive, SessionOpened, RemotePort]
REFUSALS = [Denied, Failure]
FORWARDS = [OpenForward, CloseForward]

numbers = st.integers(0, 0xFFFFFFFF) | st.sampled_from([0, 1, 0x7FFFFFFF, UNIX, NO_ESCAPE])
# Of bytes, as what is not UTF-8 has to survive, too.
texts = st.binary(max_size=40).map(
    lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape")
) | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
STRATEGIES: dict[type[Message], st.SearchStrategy[Message]] = {
    **{cls: st.builds(cls, numbers) for cls in REQUEST_ONLY},
    **{cls: st.builds(cls, numbers, numbers) for cls in PAIRS},
    **{cls: st.builds(cls, numbers, texts) for cls in REFUSALS},
    **{cls: st.builds(cls, numbers, numbers, texts, numbers, texts, numbers) for cls in FORWARDS},
    StdioForward: st.builds(StdioForward, numbers, texts, numbers),
    NewSession: st.builds(
        NewSession,
        *[numbers, texts, st.booleans(), st.booleans(), st.booleans(), st.booleans()],
        *[numbers, texts, st.lists(texts, max_size=4).map(tuple)],
    ),
    Hello: st.builds(
        Hello,
        numbers,
        st.lists(st.tuples(texts, st.binary(max_size=20)), max_size=3).map(tuple),
    ),
}
CLASSES = sorted(STRATEGIES, key=lambda cls: cls.kind)
messages = st.one_of(*STRATEGIES.values())


def names(value: object) -> str:
    return value.__name__ if isinstance(value, type) else repr(value)[:40]


def stream(sent: Iterable[Message]) -> bytes:
    return b"".join(message.encode() for message in sent)


def split(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    ends = [0, *sorted(cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(ends)]


def held(decoder: Decoder) -> int:
    return len(decoder._rest)


def hear(decoder: Decoder, pieces: Iterable[bytes]) -> tuple[list[Message], ProtocolError | None]:
    """What is heard until the first error; any other exception is the test's failure."""
    heard: list[Message] = []
    for piece in pieces:
        try:
            for message in decoder.feed(piece):
                heard.append(message)
        except ProtocolError as error:
            return heard, error
        assert held(decoder) < MAX_FRAME + 4
    return heard, None


def concrete(cls: type[Message] = Message) -> Iterator[type[Message]]:
    if hasattr(cls, "kind"):
        yield cls
    for each in cls.__subclasses__():
        yield from concrete(each)


# There and back


def test_no_message_is_left_out_here() -> None:
    # A dataclass with slots leaves a double of itself behind.
    assert {cls.kind for cls in concrete()} == {cls.kind for cls in CLASSES}
    assert len({cls.kind for cls in CLASSES}) == len(CLASSES) == 18


@pytest.mark.parametrize("cls", CLASSES, ids=names)
@given(data=st.data())
@settings(max_examples=40)
def test_there_and_back(cls: type[Message], data: st.DataObject) -> None:
    message = data.draw(STRATEGIES[cls])
    frame = message.encode()
    assert int.from_bytes(frame[:4]) == len(frame) - 4
    assert int.from_bytes(frame[4:8]) == cls.kind
    assert decode(frame[4:]) == message
    assert decode(memoryview(frame)[4:]) == message


@given(sent=st.lists(messages, max_size=6), data=st.data())
def test_any_split_gives_the_same_messages(sent: list[Message], data: st.DataObject) -> None:
    wire = stream(sent)
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=12))
    decoder = Decoder()
    assert hear(decoder, split(wire, cuts)) == (sent, None)
    assert (decoder.within, held(decoder)) == (False, 0)


@given(sent=st.lists(messages, max_size=3))
@settings(max_examples=40)
def test_single_bytes_give_the_same_messages(sent: list[Message]) -> None:
    wire = stream(sent)
    decoder = Decoder()
    assert hear(decoder, split(wire, range(1, len(wire)))) == (sent, None)


@given(sent=messages, missing=st.integers(1, 1000))
def test_the_beginning_of_a_message_is_none(sent: Message, missing: int) -> None:
    frame = sent.encode()
    begun = frame[: max(0, len(frame) - missing)]
    decoder = Decoder()
    assert list(decoder.feed(begun)) == []
    assert (decoder.within, held(decoder)) == (bool(begun), len(begun))
    assert list(decoder.feed(frame[len(begun) :])) == [sent]


@given(sent=messages)
def test_an_empty_piece_changes_nothing(sent: Message) -> None:
    frame = sent.encode()
    decoder = Decoder()
    assert hear(decoder, [b"", frame[:5], b"", frame[5:], b""]) == ([sent], None)


# Golden frames: from the order in which mux.c puts and gets the fields, not from our encoder

GOLDEN: list[tuple[Message, str]] = [
    (Hello(), "00000008 00000001 00000004"),
    (
        Hello(4, (("info", b"0"),)),
        "00000015 00000001 00000004 00000004 696e666f 00000001 30",
    ),
    (
        NewSession(7, "id"),
        "0000002a 10000002 00000007 00000000 00000000 00000000 00000000 00000000 ffffffff"
        "00000000 00000002 6964",
    ),
    (
        NewSession(1, "sftp", subsystem=True),
        "0000002c 10000002 00000001 00000000 00000000 00000000 00000000 00000001 ffffffff"
        "00000000 00000004 73667470",
    ),
    (
        NewSession(
            0x01020304,
            "",
            tty=True,
            x11=True,
            agent=True,
            escape=0x7E,
            term="vt100",
            env=("A=1", "LANG=C"),
        ),
        "0000003e 10000002 01020304 00000000 00000001 00000001 00000001 00000000 0000007e"
        "00000005 7674313030 00000000 00000003 413d31 00000006 4c414e473d43",
    ),
    (
        NewSession(0, "", tty=True),
        "00000028 10000002 00000000 00000000 00000001"
        + 3 * "00000000"
        + "ffffffff 00000000 00000000",
    ),
    (
        NewSession(0, "", x11=True),
        "00000028 10000002 00000000 00000000 00000000 00000001"
        + 2 * "00000000"
        + "ffffffff 00000000 00000000",
    ),
    (
        NewSession(0, "", agent=True),
        "00000028 10000002 00000000 00000000"
        + 2 * "00000000"
        + "00000001 00000000 ffffffff 00000000 00000000",
    ),
    (AliveCheck(1), "00000008 10000004 00000001"),
    (Terminate(2), "00000008 10000005 00000002"),
    (
        OpenForward(3, LOCAL, "127.0.0.1", 8080, "db", 5432),
        "00000027 10000006 00000003 00000001 00000009 3132372e302e302e31 00001f90"
        "00000002 6462 00001538",
    ),
    (
        OpenForward(3, REMOTE, "", 0, "/s", UNIX),
        "0000001e 10000006 00000003 00000002 00000000 00000000 00000002 2f73 fffffffe",
    ),
    (
        OpenForward(3, DYNAMIC, "::1", 1080),
        "0000001f 10000006 00000003 00000003 00000003 3a3a31 00000438 00000000 00000000",
    ),
    (
        CloseForward(4, LOCAL, "/l", UNIX, "h", 22),
        "0000001f 10000007 00000004 00000001 00000002 2f6c fffffffe 00000001 68 00000016",
    ),
    (StdioForward(5, "gw", 22), "00000016 10000008 00000005 00000000 00000002 6777 00000016"),
    (StopListening(6), "00000008 10000009 00000006"),
    (Proxy(8), "00000008 1000000f 00000008"),
    (Ok(0xFFFFFFFF), "00000008 80000001 ffffffff"),
    (Denied(9, "no"), "0000000e 80000002 00000009 00000002 6e6f"),
    (Failure(9, "nö"), "0000000f 80000003 00000009 00000003 6ec3b6"),
    (Failure(9, "\udcff"), "0000000d 80000003 00000009 00000001 ff"),
    (ExitMessage(3, 255), "0000000c 80000004 00000003 000000ff"),
    (Alive(1, 4711), "0000000c 80000005 00000001 00001267"),
    (SessionOpened(1, 3), "0000000c 80000006 00000001 00000003"),
    (RemotePort(1, 40000), "0000000c 80000007 00000001 00009c40"),
    (TerminalRefused(3), "00000008 80000008 00000003"),
    (ProxyOk(8), "00000008 8000000f 00000008"),
]


@pytest.mark.parametrize(("message", "wire"), GOLDEN, ids=names)
def test_golden_frames(message: Message, wire: str) -> None:
    frame = bytes.fromhex(wire)
    assert message.encode().hex(" ", -4) == frame.hex(" ", -4)
    assert decode(frame[4:]) == message


def test_there_is_a_golden_frame_of_each_message() -> None:
    assert {type(message) for message, _ in GOLDEN} == set(CLASSES)


@pytest.mark.parametrize("cls", CLASSES, ids=names)
def test_two_messages_are_followed_by_descriptors(cls: type[Message]) -> None:
    assert cls.descriptors == {NewSession: 3, StdioForward: 2}.get(cls, 0)


def test_a_reserved_string_that_is_not_empty_is_skipped() -> None:
    """Both masters and we have to: the document reserves it, and says nothing of its content."""
    session = bytes.fromhex(
        "10000002 00000007 00000003 616263 00000000 00000000 00000000 00000000 ffffffff"
        "00000000 00000002 6964"
    )
    assert decode(session) == NewSession(7, "id")
    stdio = bytes.fromhex("10000008 00000005 00000001 00 00000002 6777 00000016")
    assert decode(stdio) == StdioForward(5, "gw", 22)


def test_a_flag_is_any_number_but_zero() -> None:
    frame = bytearray(NewSession(7, "id", tty=True).encode()[4:])
    frame[12:16] = b"\x80\0\0\0"
    assert decode(bytes(frame)) == NewSession(7, "id", tty=True)


# What the other side may add


@given(st.lists(st.tuples(texts, st.binary(max_size=20)), max_size=5))
def test_unknown_extensions_do_not_matter(extensions: list[tuple[str, bytes]]) -> None:
    wire = Hello(4, tuple(extensions)).encode() + Ok(1).encode()
    (hello, ok), error = hear(Decoder(), [wire])
    assert isinstance(hello, Hello)
    assert (hello.version, ok, error) == (4, Ok(1), None)


@given(kind=st.integers(0, 0xFFFFFFFF), body=st.binary(max_size=40))
def test_an_unknown_type_is_an_error_of_its_own(kind: int, body: bytes) -> None:
    if kind in {cls.kind for cls in CLASSES}:
        return
    frame = kind.to_bytes(4) + body
    with pytest.raises(UnknownMessage, match=f"0x{kind:08x}"):
        decode(frame)
    wire = Ok(1).encode() + len(frame).to_bytes(4) + frame + Ok(2).encode()
    heard, error = hear(Decoder(), [wire])
    assert heard == [Ok(1)]
    assert isinstance(error, UnknownMessage)


@pytest.mark.parametrize("kind", [0x20000001, 0x90000001], ids=hex)
def test_the_messages_of_the_info_extension_are_unknown(kind: int) -> None:
    """OpenSSH 10.3 has them; a master sends one only when it is asked to."""
    with pytest.raises(UnknownMessage):
        decode(kind.to_bytes(4) + bytes(12))


@given(
    sent=messages.filter(lambda message: not isinstance(message, Hello | NewSession)),
    more=st.binary(max_size=40),
)
def test_what_comes_after_the_last_field_is_ignored(sent: Message, more: bytes) -> None:
    assert decode(sent.encode()[4:] + more) == sent


# Broken streams

EDITS: list[Callable[[bytes, int, bytes], bytes]] = [
    lambda wire, at, noise: wire[:at] + noise + wire[at + len(noise) :],
    lambda wire, at, noise: wire[:at] + noise + wire[at:],
    lambda wire, at, noise: wire[:at] + wire[at + len(noise) :],
    lambda wire, at, noise: wire[:at],
    lambda wire, at, noise: wire[:at] + noise,
    lambda wire, at, noise: noise,
]


def check_broken(wire: bytes, cuts: Iterable[int]) -> None:
    """Whatever it is: messages or a `ProtocolError`, the same however it is split."""
    decoder = Decoder()
    heard, error = hear(decoder, split(wire, cuts))
    assert all(type(message) in STRATEGIES for message in heard)
    assert hear(Decoder(), [wire])[0] == heard
    if error is None:
        assert decoder.within == bool(held(decoder))
    else:
        check_broken_for_good(decoder, error)


def check_broken_for_good(decoder: Decoder, error: ProtocolError) -> None:
    for piece in (b"", Ok(1).encode(), b"x"):
        with pytest.raises(ProtocolError) as caught:
            list(decoder.feed(piece))
        assert caught.value is error


@given(
    sent=st.lists(messages, min_size=1, max_size=4),
    edits=st.lists(
        st.tuples(st.sampled_from(EDITS), st.integers(0, 400), st.binary(min_size=1, max_size=9)),
        min_size=1,
        max_size=4,
    ),
    cuts=st.lists(st.integers(0, 400), max_size=4),
)
@settings(max_examples=400)
def test_a_changed_stream_is_messages_or_a_protocol_error(
    sent: list[Message], edits: list[tuple[Any, int, bytes]], cuts: list[int]
) -> None:
    wire = stream(sent)
    for edit, at, noise in edits:
        wire = edit(wire, min(at, len(wire)), noise)
    check_broken(wire, [min(cut, len(wire)) for cut in cuts])


@given(
    kind=st.sampled_from([cls.kind for cls in CLASSES]),
    body=st.binary(max_size=60),
)
@settings(max_examples=300)
def test_a_body_of_random_bytes_is_a_message_or_a_protocol_error(kind: int, body: bytes) -> None:
    frame = kind.to_bytes(4) + body
    check_broken(len(frame).to_bytes(4) + frame + Ok(1).encode(), [])


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_random_bytes_are_messages_or_a_protocol_error(pieces: list[bytes]) -> None:
    heard, error = hear(decoder := Decoder(), pieces)
    assert heard == [] or error is None or isinstance(error, ProtocolError)
    if error is not None:
        check_broken_for_good(decoder, error)


@pytest.mark.parametrize("cls", CLASSES, ids=names)
def test_a_message_that_ends_early_is_an_error_at_every_place(cls: type[Message]) -> None:
    for message, _ in GOLDEN:
        if type(message) is not cls:
            continue
        body = message.encode()[4:]
        whole = {len(body)} if cls not in (Hello, NewSession) else optional_ends(message)
        for end in set(range(len(body))) - whole:
            with pytest.raises(ProtocolError):
                decode(body[:end])


def optional_ends(message: Message) -> set[int]:
    """Where a message may end: before each extension or variable."""
    if isinstance(message, Hello):
        ends = range(len(message.extensions) + 1)
        cut: list[Message] = [Hello(message.version, message.extensions[:end]) for end in ends]
    else:
        assert isinstance(message, NewSession)
        ends = range(len(message.env) + 1)
        cut = [dataclasses.replace(message, env=message.env[:end]) for end in ends]
    return {len(each.encode()) - 4 for each in cut}


@pytest.mark.parametrize("length", [0, 1, 3, MAX_FRAME + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_an_impossible_length_is_an_error_before_the_body_comes(length: int) -> None:
    decoder = Decoder()
    wire = Ok(1).encode() + length.to_bytes(4)
    heard, error = hear(decoder, split(wire, [13, 14]))
    assert heard == [Ok(1)]
    assert type(error) is ProtocolError
    assert str(length) in str(error)
    check_broken_for_good(decoder, error)


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0xFFFFFFFF])
def test_a_string_longer_than_its_message_takes_no_memory(length: int) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="within a string"):
            decode(Failure.kind.to_bytes(4) + bytes(4) + length.to_bytes(4) + b"x" * 9)
        assert tracemalloc.get_traced_memory()[1] < PIECE
    finally:
        tracemalloc.stop()


def test_the_messages_before_an_error_are_heard() -> None:
    wire = Ok(1).encode() + Alive(2, 3).encode() + bytes(4) + Ok(4).encode()
    for cuts in ([], [5], [12], range(len(wire))):
        heard, error = hear(Decoder(), split(wire, cuts))
        assert heard == [Ok(1), Alive(2, 3)]
        assert error is not None


# Limits

LONGEST: list[Callable[[int], Message]] = [
    lambda more: Hello(4, (("x", b"v" * (MAX_FRAME - 17 + more)),)),
    lambda more: NewSession(1, "c" * (MAX_FRAME - 40 + more)),
    lambda more: NewSession(1, "c", term="t" * (MAX_FRAME - 41 + more)),
    lambda more: NewSession(1, "c", env=("A=" + "e" * (MAX_FRAME - 47 + more),)),
    lambda more: OpenForward(1, LOCAL, "h" * (MAX_FRAME - 28 + more), 1),
    lambda more: CloseForward(1, LOCAL, "", 1, "h" * (MAX_FRAME - 28 + more), 1),
    lambda more: StdioForward(1, "h" * (MAX_FRAME - 20 + more), 1),
    lambda more: Denied(1, "r" * (MAX_FRAME - 12 + more)),
    lambda more: Failure(1, "ö" * ((MAX_FRAME - 12) // 2) + "x" * more),
]


@pytest.mark.parametrize("make", LONGEST)
def test_the_longest_frame_passes_and_the_next_is_refused(make: Callable[[int], Message]) -> None:
    frame = make(0).encode()
    assert len(frame) == MAX_FRAME + 4
    assert list(Decoder().feed(frame)) == [make(0)]
    with pytest.raises(Unsendable, match=str(MAX_FRAME)):
        make(1).encode()
    longer = (MAX_FRAME + 1).to_bytes(4) + frame[4:] + b"x"
    assert isinstance(hear(Decoder(), [longer])[1], ProtocolError)


def with_text(cls: type[Message], text: str) -> list[Message]:
    """The message with `text` in each of its strings, one at a time."""
    made: dict[type[Message], list[Message]] = {
        Hello: [Hello(4, ((text, b""),))],
        NewSession: [
            NewSession(1, text),
            NewSession(1, "c", term=text),
            NewSession(1, "c", env=("A=1", text)),
        ],
        StdioForward: [StdioForward(1, text, 1)],
    }
    for forward in FORWARDS:
        made[forward] = [forward(1, 1, text, 1), forward(1, 1, "", 1, text, 1)]
    for refusal in REFUSALS:
        made[refusal] = [refusal(1, text)]
    return made[cls]


WITH_TEXT = [Hello, NewSession, StdioForward, *FORWARDS, *REFUSALS]


@pytest.mark.parametrize("text", ["\0", "a\0", "\0a", "a\0b"], ids=repr)
@pytest.mark.parametrize("cls", WITH_TEXT, ids=names)
def test_a_nul_in_a_string_is_refused(cls: type[Message], text: str) -> None:
    for message in with_text(cls, text):
        with pytest.raises(Unsendable, match="NUL"):
            message.encode()


def test_a_nul_in_an_extensions_value_is_no_matter() -> None:
    hello = Hello(4, (("x", b"\0"),))
    assert decode(hello.encode()[4:]) == hello


@pytest.mark.parametrize("cls", WITH_TEXT, ids=names)
def test_half_a_character_is_refused(cls: type[Message]) -> None:
    """A lone surrogate that stands for no byte: no bytes can be made of it."""
    for message in with_text(cls, "\ud800"):
        with pytest.raises(Unsendable):
            message.encode()


def with_number(number: int) -> Iterator[Message]:
    """Each message with `number` in each of its numbers, one at a time."""
    for cls in REQUEST_ONLY:
        yield cls(number)
    for cls in PAIRS:
        yield from (cls(number, 1), cls(1, number))
    for cls in REFUSALS:
        yield cls(number, "")
    for cls in FORWARDS:
        yield from (cls(number, 1, "", 1), cls(1, number, "", 1), cls(1, 1, "", number))
        yield cls(1, 1, "", 1, "", number)
    yield from (StdioForward(number, "", 1), StdioForward(1, "", number))
    yield from (NewSession(number, ""), NewSession(1, "", escape=number))
    yield Hello(number)


@pytest.mark.parametrize("number", [-1, -(2**31), 2**32, 2**64])
def test_a_number_of_more_than_32_bits_is_refused(number: int) -> None:
    for message in with_number(number):
        with pytest.raises(Unsendable):
            message.encode()


@pytest.mark.parametrize("number", [0, 2**31 - 1, 2**31, 2**32 - 1])
def test_every_number_of_32_bits_passes(number: int) -> None:
    for message in with_number(number):
        assert decode(message.encode()[4:]) == message


# Work


def test_a_whole_frame_is_read_where_it_is() -> None:
    message = Failure(1, "x" * (MAX_FRAME - 12))
    wire = 8 * message.encode()
    decoder = Decoder()
    tracemalloc.start()
    try:
        for heard in decoder.feed(wire):
            assert heard == message
            assert held(decoder) == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (decoder.within, held(decoder)) == (False, 0)
    assert peak < 4 * MAX_FRAME  # the last reason, and this one as bytes and as text


class Counted(bytearray):
    """Counts the bytes that are copied."""

    copied = 0

    def _count(self, number: int) -> None:
        type(self).copied += number

    def __iadd__(self, more: Any) -> Counted:
        self._count(len(more))
        super().__iadd__(more)
        return self

    def __add__(self, more: Any) -> Counted:
        self._count(len(self) + len(more))
        return Counted(super().__add__(more))

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        if not isinstance(key, slice):
            return value
        self._count(len(value))
        return Counted(value)


@pytest.mark.parametrize("size", [1, 1000])
def test_small_pieces_of_a_large_frame_are_copied_once_or_twice(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(Counted, "copied", 0)
    message = NewSession(1, "x" * (MAX_FRAME - 40))
    frame = message.encode()
    decoder = Decoder()
    decoder._rest = Counted()
    heard = []
    for at in range(0, len(frame), size):
        heard += decoder.feed(frame[at : at + size])
    assert heard == [message]
    assert len(frame) <= Counted.copied <= 3 * len(frame)


def test_many_small_frames_behind_a_part_of_one_are_not_moved_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Counted, "copied", 0)
    wire = 10_000 * Ok(1).encode()
    decoder = Decoder()
    decoder._rest = Counted()
    assert list(decoder.feed(wire[:5])) == []
    assert sum(1 for _ in decoder.feed(wire[5:])) == 10_000
    assert len(wire) <= Counted.copied <= 3 * len(wire)


def test_a_frame_never_completed_takes_no_more_than_itself() -> None:
    decoder = Decoder()
    head = MAX_FRAME.to_bytes(4) + Failure.kind.to_bytes(4)
    wire = head + bytes(MAX_FRAME - 5)
    for at in range(0, len(wire), PIECE):
        assert list(decoder.feed(wire[at : at + PIECE])) == []
    assert held(decoder) == MAX_FRAME + 3


# The long run


def fast_messages(chance: random.Random) -> Callable[[], Message]:
    """A generator much quicker than hypothesis's."""

    def number() -> int:
        return chance.getrandbits(chance.choice((1, 8, 16, 31, 32)))

    def text() -> str:
        data = chance.randbytes(chance.choice((0, 0, 1, 5, 20, 200)))
        return data.replace(b"\0", b"").decode("utf-8", "surrogateescape")

    def flag() -> bool:
        return chance.random() < 0.5

    def several() -> range:
        return range(chance.choice((0, 0, 1, 3)))

    made: list[Callable[[], Message]] = [
        *(lambda cls=cls: cls(number()) for cls in REQUEST_ONLY),
        *(lambda cls=cls: cls(number(), number()) for cls in PAIRS),
        *(lambda cls=cls: cls(number(), text()) for cls in REFUSALS),
        *(
            lambda cls=cls: cls(number(), number(), text(), number(), text(), number())
            for cls in FORWARDS
        ),
        lambda: StdioForward(number(), text(), number()),
        lambda: NewSession(
            *(number(), text(), flag(), flag(), flag(), flag(), number(), text()),
            env=tuple(text() for _ in several()),
        ),
        lambda: Hello(number(), tuple((text(), chance.randbytes(3)) for _ in several())),
    ]
    return lambda: chance.choice(made)()


def run_frames(frames: int, seed: int, end: float) -> int:
    """Runs whole and broken streams of about 50 frames. Returns how many frames it were."""
    chance = random.Random(seed)
    make = fast_messages(chance)
    done = 0
    while done < frames and time.monotonic() < end:
        sent = [make() for _ in range(min(50, frames - done))]
        done += len(sent)
        wire = stream(sent)
        cuts = [chance.randrange(len(wire)) for _ in range(chance.choice((0, 1, 5, 50)))]
        assert hear(Decoder(), split(wire, cuts)) == (sent, None)
        for _ in range(chance.choice((1, 1, 3))):
            noise = chance.randbytes(chance.choice((1, 1, 4, 9)))
            wire = chance.choice(EDITS)(wire, chance.randrange(len(wire) + 1), noise)
        check_broken(wire, [min(cut, len(wire)) for cut in cuts])
    return done


def test_frames_for_a_moment() -> None:
    assert run_frames(2000, 1, time.monotonic() + 60) == 2000


@pytest.mark.soak
def test_a_million_frames() -> None:
    """Each once in a clean stream and once in a broken one; fewer if the time is up before."""
    frames = int(os.environ.get("SSHMUX_SOAK_FRAMES", "1_000_000"))
    seconds = float(os.environ.get("SSHMUX_SOAK_SECONDS", "100"))
    seed = int(os.environ.get("SSHMUX_SOAK_SEED", random.randrange(2**32)))
    print(f"SSHMUX_SOAK_SEED={seed}")
    begun = time.monotonic()
    done = run_frames(frames, seed, begun + seconds)
    taken = time.monotonic() - begun
    print(f"{done} frames in {taken:.1f} s")
    assert done == frames or taken >= seconds


def test_the_module_says_what_it_is_tested_for() -> None:
    assert (protocol.VERSION, MAX_FRAME, NO_ESCAPE, UNIX) == (4, 262144, 2**32 - 1, 2**32 - 2)
    assert (LOCAL, REMOTE, DYNAMIC) == (1, 2, 3)


# The whole of an ordinary session, in one look


def test_an_ordinary_session_is_what_the_decoder_reads() -> None:
    opened, exited = SessionOpened(1, 7), ExitMessage(7, 3)
    said = Hello().encode() + opened.encode() + exited.encode()
    assert list(Decoder().feed(said)) == [Hello(), opened, exited]
    assert ordinary_exit(said) == 3


ORDINARY = (Hello(), SessionOpened(1, 7), ExitMessage(7, 3))


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """An ordinary session, but for a byte or its length."""
    said = bytearray(b"".join(message.encode() for message in ORDINARY))
    said[draw(st.integers(0, len(said) - 1))] = draw(st.integers(0, 255))
    return bytes(said[: draw(st.sampled_from([*[44] * 5, 43, 28, 12]))])


@given(st.binary(max_size=60) | changed())
def test_anything_else_is_left_to_the_decoder(said: bytes) -> None:
    status = ordinary_exit(said)
    if status is not None:
        hello, opened, exited = Decoder().feed(said)
        assert hello == Hello()
        assert isinstance(opened, SessionOpened)
        assert isinstance(exited, ExitMessage)
        assert (exited.request, exited.value) == (opened.value, status)
