"""Whatever the other side sends, a reader takes it, or refuses it with its own error.

Only pure code is tried. Each target is fed with noise, and with sound input that was damaged, which
gets further. What it gives back has to keep the promise that the rest of the code counts on.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux import ConnectionConfig, Error
from sshmux.openssh import diagnostics, jump, remote_shell, resolve
from sshmux.openssh.askpass import prompts
from sshmux.openssh.control.record import Record
from sshmux.openssh.mux.decoder import Decoder, ordinary_exit
from sshmux.openssh.mux.fields import MAX_FRAME, ProtocolError
from sshmux.openssh.mux.protocol import (
    Alive,
    Denied,
    ExitMessage,
    Failure,
    Hello,
    RemotePort,
    SessionOpened,
)
from sshmux.openssh.remote import Preamble
from sshmux.openssh.trace import Trace
from sshmux.sftp import attrs, messages
from sshmux.sftp.fields import Malformed, Unpacker, string, u32
from sshmux.transfer import patterns, scripts
from sshmux.transfer import reports as transfer_reports
from sshmux.transfer.arrival import Arrival

from .fuzzing import fuzzed

pytestmark = pytest.mark.fuzz

# Control characters that are to reach no message: terminals act upon them.
DANGEROUS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
CONFIG = ConnectionConfig("hpc", username="ada")

pieces = st.lists(st.binary(max_size=200), max_size=6)
texts = st.text(max_size=200) | st.binary(max_size=200).map(
    lambda data: data.decode("utf-8", "surrogateescape")
)


@st.composite
def damaged(draw: st.DrawFn, sound: st.SearchStrategy[bytes]) -> bytes:
    """Sound input of which some bytes were changed, left out, doubled or put in."""
    data = bytearray(draw(sound))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        edit = draw(st.sampled_from(("change", "drop", "insert", "double", "cut")))
        if edit == "change" and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif edit == "drop":
            del data[at : at + draw(st.integers(1, 8))]
        elif edit == "insert":
            data[at:at] = draw(st.binary(max_size=8))
        elif edit == "double":
            data[at:at] = data[at : at + 20]
        elif edit == "cut":
            del data[at:]
    return bytes(data)


def split(data: bytes, at: int) -> list[bytes]:
    at %= len(data) + 1
    return [data[:at], data[at:]]


# Frames of the multiplexing protocol

replies = st.lists(
    st.sampled_from(
        [
            Hello(),
            Hello(4, (("info", b"0"),)),
            Alive(1, 77),
            SessionOpened(1, 0),
            ExitMessage(0, 255),
            RemotePort(1, 80),
            Denied(1, "no"),
            Failure(1, "x" * 300),
        ]
    ),
    max_size=5,
).map(lambda found: b"".join(message.encode() for message in found))


@given(data=damaged(replies) | st.binary(max_size=300), at=st.integers(0, 1000))
@fuzzed
def test_mux_frames(data: bytes, at: int) -> None:
    decoder = Decoder()
    with contextlib.suppress(ProtocolError):
        for piece in split(data, at):
            for message in decoder.feed(piece):
                assert len(message.encode()) <= MAX_FRAME + 4
    assert len(decoder._rest) <= len(data)
    status = ordinary_exit(data)
    assert status is None or 0 <= status < 2**32


# SFTP


def sftp_packet(kind: int, number: int, body: bytes) -> bytes:
    return messages.packet(kind, number, body)


names = st.lists(
    st.tuples(st.binary(max_size=12), st.binary(max_size=12), st.integers(0, 2**32 - 1)), max_size=4
).map(
    lambda entries: (
        u32(len(entries))
        + b"".join(
            string(name) + string(long) + attrs.SFTPAttrs(permissions=mode).encode()
            for name, long, mode in entries
        )
    )
)
sftp_stream = st.lists(
    st.builds(sftp_packet, st.integers(0, 255), st.integers(0, 2**32 - 1), names), max_size=4
).map(b"".join)
READERS: list[Callable[[Unpacker], object]] = [
    attrs.SFTPAttrs.decode,
    attrs.SFTPVFSAttrs.decode,
    attrs.SFTPLimits.decode,
    attrs.decode_names,
    Unpacker.string,
    Unpacker.u64,
]


@given(data=damaged(sftp_stream) | st.binary(max_size=200), at=st.integers(0, 1000))
@fuzzed
def test_sftp_frames(data: bytes, at: int) -> None:
    frames = messages.Frames()
    with contextlib.suppress(Malformed):
        for piece in split(data, at):
            for kind, number, body in frames.feed(piece):
                assert 0 <= kind < 256
                assert 0 <= number < 2**32
                assert len(body) <= len(data)


@given(data=damaged(names) | st.binary(max_size=200))
@fuzzed
def test_sftp_bodies(data: bytes) -> None:
    for read in READERS:
        with contextlib.suppress(Malformed):
            read(Unpacker(memoryview(data)))
    with contextlib.suppress(Malformed):
        messages.extensions(memoryview(data))
    with contextlib.suppress(Malformed):
        error = messages.error_of(memoryview(data))
        assert error is None or not DANGEROUS.search(str(error))


# What the scripts of transfers report, and the names that they are given

WORDS = ["missing", "denied", "nodir", "isdir", "special", "short", "write", "size", "sum", "kept"]
reports = st.lists(
    st.builds(lambda word, text: f"{scripts.MARK} {word} {text}", st.sampled_from(WORDS), texts)
    | texts,
    max_size=6,
).map("\n".join)


@given(stderr=reports, status=st.integers(-1, 255))
@fuzzed
def test_replies_of_transfers(stderr: str, status: int) -> None:
    said, rest = transfer_reports.report(stderr)
    assert all(isinstance(word, str) for word in (*said, *said.values(), rest))
    assert isinstance(transfer_reports.failure(stderr, status, "from", "to"), Error)


PARTS = [*"ab*?[]/.", "[ab]", "[!a]", "\\", "**", "..", "\n", "é", "\udcff"]
words = st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=6).map("".join)


@given(name=words, patterns_=st.lists(words, max_size=3))
@fuzzed
def test_patterns_that_are_matched_here(name: str, patterns_: list[str]) -> None:
    for pattern in patterns_:
        if patterns.fits(name, pattern):
            odd = "//" in name + pattern or "**" in pattern
            assert odd or name.count("/") == pattern.count("/")
    last = patterns.last_name(name)
    assert "/" not in last


# Trees that arrive: what a tar of a server's may hold, unpacked into a directory of ours

steps = st.sampled_from(["a", "b", "l", "..", ".", "...", "é"])
ways = st.lists(steps, min_size=1, max_size=4).map("/".join)
leads = ways | ways.map(lambda way: f"/{way}") | st.sampled_from(["/", "/etc/passwd", "../data/l"])
members = st.lists(
    st.tuples(ways, st.sampled_from(["file", "link", "directory", "fifo", "setuid"]), leads),
    max_size=8,
)


@given(tree=members, mask=st.sampled_from([0, 0o22, 0o77]), preserve=st.booleans())
@fuzzed
def test_trees_that_arrive(tree: list[tuple[str, str, str]], mask: int, preserve: bool) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(os.path.realpath(place))
        part, target, mine = root / "part", root / "target", root / "mine"
        for directory in (part / "data", target / "data"):
            directory.mkdir(parents=True)
        mine.write_text("mine")
        mine.chmod(0o640)
        for way, kind, lead in tree:
            make(part / "data", way, kind, lead)
        arrival = Arrival("x to y", preserve=preserve, mask=mask, links=False, directories=True)
        with contextlib.suppress(Error):
            arrival.check(str(part), ["data"])
            arrival.move(str(part), str(target))
        assert sorted(os.listdir(root)) == ["mine", "part", "target"]
        assert (mine.read_text(), stat.S_IMODE(mine.stat().st_mode)) == ("mine", 0o640)
        assert os.listdir(target) == ["data"]
        for path in (target / "data").rglob("*"):
            status = path.lstat()
            assert not stat.S_ISFIFO(status.st_mode)
            if path.is_symlink():
                assert Path(os.path.realpath(path)).is_relative_to(target / "data"), path
            else:
                assert not status.st_mode & (stat.S_ISUID | (0 if preserve else mask))


def make(below: Path, way: str, kind: str, lead: str) -> None:
    """A member, where a tar would put it that lets nothing out of its directory."""
    path = Path(os.path.normpath(below / way))
    if not path.is_relative_to(below) or path == below:
        return
    with contextlib.suppress(OSError):
        for parent in (*reversed(path.relative_to(below).parents),):
            if (below / parent).is_symlink():
                return
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "link":
            path.symlink_to(lead)
        elif kind == "directory":
            path.mkdir(mode=0o777)
        elif kind == "fifo":
            os.mkfifo(path)
        elif not path.exists():
            path.write_text("evil")
            path.chmod(0o6777 if kind == "setuid" else 0o666)


# Records in the control directory

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
SOUND = Record("n", "c", "1", "u@h", "d", "node", 1.0, 0, 5, "b/2", 6, "b/3")


@given(
    changes=st.dictionaries(st.sampled_from([*json.loads(SOUND.to_json()), "other"]), values),
    dropped=st.sets(st.sampled_from([*json.loads(SOUND.to_json())]), max_size=2),
)
@fuzzed
def test_records(changes: dict[str, Any], dropped: set[str]) -> None:
    fields = {**json.loads(SOUND.to_json()), **changes}
    text = json.dumps({name: value for name, value in fields.items() if name not in dropped})
    check_record(Record.from_json(text))


@given(data=damaged(st.just(SOUND.to_json().encode())) | st.binary(max_size=100))
@fuzzed
def test_records_that_are_no_json(data: bytes) -> None:
    check_record(Record.from_json(data.decode("utf-8", "replace")))


def check_record(record: Record | None) -> None:
    if record is not None:
        for process in (record.owner, record.master):
            assert process is None or 0 < process.pid < 2**31
        assert Record.from_json(record.to_json()) is not None or record.created_at != 0
        assert isinstance(record.here, bool)


# Prompts

ASKED = [
    "ada@hpc's password: ",
    "(ada@hpc) Password: ",
    "(ada@hpc) Verification code: ",
    "Enter passphrase for key '/home/ada/.ssh/id': ",
    "Enter PIN for ED25519-SK key /k: ",
    "Are you sure you want to continue connecting (yes/no/[fingerprint])? ",
    "(ada@hpc) 1. Duo Push\n2. Phone\nPasscode or option (1-2): ",
]


@given(
    data=damaged(st.sampled_from(ASKED).map(str.encode)) | st.binary(max_size=200),
    named=st.booleans(),
)
@fuzzed
def test_prompts(data: bytes, named: bool) -> None:
    text = data.decode("utf-8", "surrogateescape")
    prompt = prompts.classify(text, named=named)
    assert not DANGEROUS.search(prompt.text)
    assert not DANGEROUS.search(prompt.who)
    if named and isinstance(prompt, prompts.PasswordPrompt):
        # A server can put words of its own only behind its name, and never become another's.
        assert prompt.text.lstrip("\r\n").startswith((f"{prompt.who}'s", f"({prompt.who}) "))


# What ssh says


@given(stderr=texts | damaged(st.sampled_from(ASKED).map(str.encode)).map(os.fsdecode))
@fuzzed
def test_diagnoses(stderr: str) -> None:
    error = diagnostics.diagnose(CONFIG, 255, stderr)
    assert isinstance(error, Error)
    assert not DANGEROUS.search(str(error))


SAID = [
    b"debug1: Remote protocol version 2.0, remote software version OpenSSH_9.2\r\n",
    b"debug1: kex: algorithm: curve25519-sha256\r\n",
    b"debug1: Authentications that can continue: publickey,password\r\n",
    b'Authenticated to hpc ([192.0.2.1]:22) using "publickey".\r\n',
]


@given(found=st.lists(damaged(st.sampled_from(SAID)), max_size=5))
@fuzzed
def test_what_ssh_tells_of_a_log_in(found: list[bytes]) -> None:
    trace = Trace(0.0)
    for at, piece in enumerate(found):
        trace.feed(piece, float(at))
    for seconds in trace.stages().values():
        assert seconds is None or seconds >= 0


@given(data=damaged(st.just(b"host hpc\nuser ada\nport 22\nhostname 192.0.2.1\nsendenv LANG\n")))
@fuzzed
def test_what_ssh_makes_of_a_configuration(data: bytes) -> None:
    with contextlib.suppress(Error):
        resolve.parse(data.decode("utf-8", "surrogateescape"))


@given(text=texts)
@fuzzed
def test_jump_hosts(text: str) -> None:
    hop = jump.nearest_hop(CONFIG, text)
    assert hop is None or not hop.host.startswith("-")


# Streams of commands


@given(found=pieces, ours=st.booleans())
@fuzzed
def test_announcements(found: list[bytes], ours: bool) -> None:
    """All output arrives, whatever it looks like, and nothing but the announcement is taken out."""
    preamble = Preamble("posix")
    line = preamble.wrap("true")
    token = re.search(r"sshmux-[0-9a-f]{12}", line)
    assert token
    announcement = f"{token[0]} 4711\n".encode() if ours else b""
    sent = [*found[:1], announcement, *found[1:]]
    heard = b"".join([preamble.feed(piece) for piece in sent if piece] + [preamble.flush()])
    assert heard == b"".join(found)


@given(found=st.lists(st.binary(max_size=60).filter(lambda data: b"token" not in data), max_size=4))
@fuzzed
def test_the_output_of_a_shell(found: list[bytes]) -> None:
    splitter, ended = remote_shell.OutputSplitter(), []
    outputs = [io.BytesIO() for _ in found]
    for number, output in enumerate(outputs):
        splitter.expect(f"token{number:06}", output.write, ended.append, with_status=False)
    wire = b"".join(data + f"token{number:06}\n".encode() for number, data in enumerate(found))
    for at in range(0, len(wire), 7):
        splitter.feed(wire[at : at + 7])
    splitter.flush()
    assert [output.getvalue() for output in outputs] == found
    assert len(ended) == len(found)
