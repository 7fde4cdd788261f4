"""The record beside a socket: what it says, and what is none."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux.errors import ControlDirError
from sshmux.openssh.control import record as record_module
from sshmux.openssh.control.directory import ControlDir
from sshmux.openssh.control.record import Record, node, own_identity, with_owner
from sshmux.system.identity import ProcessId

from .reserving import reserve


def test_a_reservation_is_on_record_before_the_log_in(directory: ControlDir) -> None:
    entry, record = directory.reserve("hpc", "3", address="ada@hpc", digest="abc", persist=9)
    assert entry.read() == record
    assert record.name == entry.name
    assert (record.cluster, record.slot, record.address) == ("hpc", "3", "ada@hpc")
    assert (record.digest, record.persist, record.node) == ("abc", 9, node())
    assert record.owner == own_identity()
    assert record.owned
    assert record.here
    assert record.master is None
    assert not record.alive
    assert stat.S_IMODE(entry.record_path.stat().st_mode) == 0o600
    assert not entry.socket.exists()


def test_a_record_comes_back_as_it_was_written(directory: ControlDir) -> None:
    entry, record = reserve(directory, "Grüße \ud800")
    record = replace(record, master_pid=4711, master_started="b/1")
    entry.write(record)
    assert entry.read() == record
    assert stat.S_IMODE(entry.record_path.stat().st_mode) == 0o600
    assert [path.name for path in directory.path.iterdir()] == [entry.record_path.name]


def test_the_masters_pid_stands_on_a_line_of_its_own_for_the_guardian(
    directory: ControlDir,
) -> None:
    _, record = reserve(directory)
    lines = replace(record, master_pid=4711, master_started="b/1").to_json().splitlines()
    assert ' "master_pid": 4711,' in lines
    assert f' "owner_pid": {os.getpid()},' in lines


def test_ownership_can_be_given_up(directory: ControlDir) -> None:
    _, record = reserve(directory)
    free = with_owner(record, None)
    assert free.owner is None
    assert not free.owned
    assert with_owner(free, own_identity()) == record


def test_another_process_of_the_same_pid_owns_nothing(directory: ControlDir) -> None:
    _, record = reserve(directory)
    assert not with_owner(record, ProcessId(os.getpid(), "b/1")).owned


def test_a_record_of_another_machine_is_told_apart(directory: ControlDir) -> None:
    _, record = reserve(directory)
    assert not replace(record, node="elsewhere/1").here


GOOD = {
    "name": "hpc.1.abcdef",
    "cluster": "hpc",
    "slot": "1",
    "address": "hpc",
    "digest": "d",
    "node": "n",
    "created_at": 1.0,
    "persist": 0,
    "owner_pid": 4711,
    "owner_started": "b/1",
    "master_pid": 4712,
    "master_started": "b/1",
}


@pytest.mark.parametrize(
    "junk",
    [
        *["", "{", "null", "5", '"x"', "[]", "{}", "\0", '{"name": "x"}', '{"unknown": 1}', "NaN"],
        *[json.dumps(GOOD)[:-2], json.dumps({**GOOD, "newer": 1}), "[" * 100_000],
    ],
)
def test_junk_is_no_record(junk: str, directory: ControlDir) -> None:
    assert Record.from_json(junk) is None
    entry = directory.entry("hpc.1.abcdef")
    entry.record_path.write_text(junk)
    assert entry.read() is None
    assert entry.claim() is None


def test_bytes_that_are_no_text_are_no_record(directory: ControlDir) -> None:
    entry = directory.entry("hpc.1.abcdef")
    entry.record_path.write_bytes(b"\xff\xfe")
    assert entry.read() is None


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON |= st.lists(st.integers(), max_size=2) | st.just({"a": 1})


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), JSON, max_size=3))
def test_a_record_with_odd_values_is_none_or_can_be_asked(odd: dict[str, object]) -> None:
    """What another version, or a user with an editor, left must not stop every start()."""
    record = Record.from_json(json.dumps({**GOOD, **odd}))
    if record is not None:
        assert record.here in (True, False)
        assert record.owned in (True, False)
        assert record.alive in (True, False)
        assert record.persist >= 0 or record.persist < 0


def test_a_missing_record_reads_as_none_and_is_claimed_by_nobody(directory: ControlDir) -> None:
    entry = directory.entry("nothing")
    assert entry.read() is None
    assert entry.claim() is None
    entry.touch()
    entry.remove()


def test_a_record_that_cannot_be_written_says_where(short_dir: Path) -> None:
    directory = ControlDir(short_dir / "a")
    entry, record = reserve(directory)
    entry.remove()
    directory.path.rmdir()
    with pytest.raises(ControlDirError, match="cannot write") as caught:
        entry.write(record)
    assert str(entry.record_path) in str(caught.value)


def test_a_process_that_cannot_be_found_says_so() -> None:
    with pytest.raises(ControlDirError) as caught:
        record_module._identity(2**22 + 1)
    assert str(caught.value).startswith("this process cannot be found")


@pytest.mark.skipif(sys.platform != "linux", reason="pid namespaces are Linux's")
def test_the_node_names_machine_and_pid_namespace() -> None:
    host, _, namespace = node().rpartition("/")
    assert host == socket.gethostname()
    assert int(namespace) == os.stat("/proc/self/ns/pid").st_ino
