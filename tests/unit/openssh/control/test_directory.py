"""The directory of the control sockets: safe or refused, and one winner for every claim."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sshmux.errors import ControlDirError
from sshmux.openssh.control import directory as directory_module
from sshmux.openssh.control.directory import (
    ControlDir,
    Entry,
    Record,
    default_path,
    node,
    own_identity,
    readable,
    shorten,
    with_owner,
)
from sshmux.system.identity import ProcessId


@pytest.fixture
def directory(short_dir: Path) -> ControlDir:
    return ControlDir(short_dir)


def reserve(directory: ControlDir, cluster: str = "hpc", slot: str = "1") -> tuple[Entry, Record]:
    return directory.reserve(cluster, slot, address="ada@hpc", digest="d", persist=0)


def refused(path: Path) -> str:
    with pytest.raises(ControlDirError) as caught:
        ControlDir(path).open()
    assert isinstance(caught.value, OSError)
    message = str(caught.value)
    assert message.startswith(f"the control directory {path} ")
    assert "$SSHMUX_DIR" in message
    return message


# The directory


def test_it_is_made_private_with_its_parents(short_dir: Path) -> None:
    path = short_dir / "a" / "b"
    ControlDir(path).prove()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert list(path.iterdir()) == []  # the proof leaves nothing


def test_it_is_made_private_whatever_the_umask(short_dir: Path) -> None:
    before = os.umask(0)
    try:
        ControlDir(short_dir / "a").open()
    finally:
        os.umask(before)
    assert stat.S_IMODE((short_dir / "a").stat().st_mode) == 0o700


def test_a_symbolic_link_is_refused(short_dir: Path) -> None:
    (short_dir / "real").mkdir(mode=0o700)
    (short_dir / "link").symlink_to(short_dir / "real")
    assert "is a symbolic link" in refused(short_dir / "link")


def test_a_dangling_link_is_refused(short_dir: Path) -> None:
    (short_dir / "link").symlink_to(short_dir / "nowhere")
    assert "is a symbolic link" in refused(short_dir / "link")
    assert not (short_dir / "nowhere").exists()


def test_a_file_is_refused(short_dir: Path) -> None:
    (short_dir / "file").touch()
    assert "is not a directory" in refused(short_dir / "file")


def test_below_a_file_is_refused(short_dir: Path) -> None:
    (short_dir / "file").touch()
    assert "cannot be made: Not a directory" in refused(short_dir / "file" / "x")


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701, 0o720, 0o777])
def test_a_directory_open_to_others_is_refused(short_dir: Path, mode: int) -> None:
    path = short_dir / "open"
    path.mkdir()
    path.chmod(mode)
    message = refused(path)
    assert f"mode {mode:o}" in message
    assert "chmod 700" in message


def test_somebody_elses_directory_is_refused(short_dir: Path) -> None:
    path = short_dir / "foreign"
    if os.getuid() == 0:
        path.mkdir(mode=0o700)
        os.chown(path, 12345, -1)
    else:
        path = Path("/")
    owner = path.stat().st_uid
    assert f"belongs to user {owner}, not to you" in refused(path)


@pytest.mark.skipif(os.getuid() == 0, reason="root can write everywhere")
def test_a_directory_that_cannot_be_written_to_is_refused(short_dir: Path) -> None:
    path = short_dir / "ro"
    path.mkdir(mode=0o500)
    assert "cannot be written to" in refused(path)


@pytest.mark.parametrize("limit", [86, 90])
def test_the_longest_directory_still_has_room_for_a_name_one_can_read(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(directory_module, "MAX_PATH", limit)
    for length in range(limit - 40, limit):
        path = short_dir / ("d" * (length - len(os.fsencode(short_dir)) - 1))
        if length > limit - 24:  # "/", 8 of the label, ".10.", 6 of chance, ".sock"
            assert f"too long a path for control sockets (at most {limit} bytes" in refused(path)
            continue
        entry, _ = reserve(ControlDir(path), "a-long-name-of-a-cluster", "10")
        assert len(os.fsencode(entry.socket)) <= limit
        label = entry.name.split(".")[0]
        assert label.startswith("a-l")
        assert len(label) >= 8


@pytest.mark.parametrize("limit", [86, 90])
def test_a_name_that_is_cut_uses_all_the_room(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(directory_module, "MAX_PATH", limit)
    entry, _ = reserve(ControlDir(short_dir), "x" * 300, "7")
    assert len(os.fsencode(entry.socket)) == limit


def test_ssh_can_bind_the_longest_name_we_make(directory: ControlDir) -> None:
    """It binds PATH, a dot and 16 characters, and links that to PATH."""
    entry, _ = reserve(directory, "x" * 300)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{entry.socket}.{'r' * 16}")
    with socket.socket(socket.AF_UNIX) as listener, pytest.raises(OSError, match="too long"):
        listener.bind(f"{entry.socket}x.{'r' * 16}")


@pytest.mark.parametrize("slot", ["7", "c10", "c1234", "c12345", "123456"])
def test_the_numbers_of_slots_may_grow_even_in_the_longest_directory(
    short_dir: Path, slot: str
) -> None:
    length = directory_module.MAX_PATH - 24
    path = short_dir / ("d" * (length - len(os.fsencode(short_dir)) - 1))
    entry, _ = reserve(ControlDir(path), "x" * 300, slot)
    assert len(os.fsencode(entry.socket)) == directory_module.MAX_PATH


def test_repr_tells_the_path(short_dir: Path) -> None:
    assert repr(ControlDir(short_dir)) == f"<ControlDir {short_dir}>"


# Where it is


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("SSHMUX_DIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_the_chosen_directory_comes_first(
    no_environment: pytest.MonkeyPatch, short_dir: Path
) -> None:
    no_environment.setenv("SSHMUX_DIR", "/chosen")
    no_environment.setenv("XDG_RUNTIME_DIR", os.fspath(short_dir))
    assert default_path() == Path("/chosen")
    assert ControlDir().path == Path("/chosen")
    assert ControlDir("/argument").path == Path("/argument")


def test_then_the_runtime_directory_if_it_is_there(
    no_environment: pytest.MonkeyPatch, short_dir: Path
) -> None:
    no_environment.setenv("XDG_RUNTIME_DIR", os.fspath(short_dir))
    assert default_path() == short_dir / "sshmux"
    no_environment.setenv("SSHMUX_DIR", "")
    assert default_path() == short_dir / "sshmux"
    no_environment.setenv("XDG_RUNTIME_DIR", os.fspath(short_dir / "missing"))
    assert default_path().parent == Path(tempfile.gettempdir())


def test_then_one_of_our_own_below_the_temporary_one(no_environment: pytest.MonkeyPatch) -> None:
    assert default_path() == Path(tempfile.gettempdir()) / f"sshmux-{os.getuid()}"


def test_tilde_and_relative_paths(no_environment: pytest.MonkeyPatch, short_dir: Path) -> None:
    no_environment.setenv("HOME", os.fspath(short_dir))
    no_environment.chdir(short_dir)
    no_environment.setenv("SSHMUX_DIR", "~/s")
    assert default_path() == short_dir / "s"
    no_environment.setenv("SSHMUX_DIR", "s")
    assert default_path() == short_dir / "s"
    assert ControlDir("~/t").path == short_dir / "t"


# Names


@pytest.mark.parametrize(
    ("cluster", "name"),
    [("hpc", "hpc"), ("ada@hpc", "ada@hpc"), ("hpc-1.example.org", "hpc-1.example.org")],
)
def test_plain_names_stay_as_they_are(cluster: str, name: str) -> None:
    assert readable(cluster) == name


@pytest.mark.parametrize(
    "cluster", ["", ".", "..", "../x", "a/b", "-rf", ".hidden", "a b", "a~b", "ü", "%h", "\0", "\n"]
)
def test_other_names_become_safe_and_stay_apart(cluster: str) -> None:
    name = readable(cluster)
    assert name[0] not in ".-"
    assert not set(name) & set("/ %\0\n'\"$*?")
    assert name != cluster
    assert name != readable(cluster + "x")


def test_names_that_look_the_same_stay_apart() -> None:
    names = ["a/b", "a b", "a\tb", "a_b", "a:b", "a%b", "a~b", "äb", "a*b", "a?b"]
    assert len({readable(name) for name in names}) == len(names)
    assert len({shorten(readable("x" * 60 + name), 20) for name in names}) == len(names)


@settings(derandomize=True)  # a hash of 16 bits: by chance, two names may meet after all
@given(st.text(), st.text(), st.integers(8, 60))
def test_two_names_never_become_one(one: str, two: str, room: int) -> None:
    short_one, short_two = shorten(readable(one), room), shorten(readable(two), room)
    assert len(short_one) <= room
    assert short_one.isascii()
    assert "/" not in short_one
    assert (short_one == short_two) is (one == two)


def test_a_shortened_name_keeps_its_beginning() -> None:
    assert shorten("cluster.example.org", 19) == "cluster.example.org"
    cut = shorten("cluster.example.org", 12)
    assert cut.startswith("cluster~")
    assert len(cut) == 12


def test_reserved_names_never_come_twice(directory: ControlDir) -> None:
    entries = [reserve(directory)[0] for _ in range(200)]
    assert len({entry.name for entry in entries}) == 200
    assert {entry.name for entry in directory.entries()} == {entry.name for entry in entries}
    assert all(entry.name.startswith("hpc.1.") for entry in entries)


# Records


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
    record = replace(record, master_pid=4711, master_created=1.5)
    entry.write(record)
    assert entry.read() == record
    assert stat.S_IMODE(entry.record_path.stat().st_mode) == 0o600
    assert [path.name for path in directory.path.iterdir()] == [entry.record_path.name]


def test_the_masters_pid_stands_on_a_line_of_its_own_for_the_guardian(
    directory: ControlDir,
) -> None:
    _, record = reserve(directory)
    lines = replace(record, master_pid=4711, master_created=1.5).to_json().splitlines()
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
    assert not with_owner(record, ProcessId(os.getpid(), 1.0)).owned


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
    "owner_created": 1.0,
    "master_pid": 4712,
    "master_created": 1.0,
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
        directory_module._identity(2**22 + 1)
    assert str(caught.value).startswith("this process cannot be found")


# Claims


def test_a_claim_has_one_winner(directory: ControlDir) -> None:
    claimants = 8
    for _ in range(20):
        entry, record = reserve(directory)
        barrier = threading.Barrier(claimants)
        claimed: list[Record] = []

        def claim(
            entry: Entry = entry,
            barrier: threading.Barrier = barrier,
            claimed: list[Record] = claimed,
        ) -> None:
            barrier.wait()
            if (found := entry.claim()) is not None:
                claimed.append(found)

        threads = [threading.Thread(target=claim) for _ in range(claimants)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert claimed == [record]
        assert not entry.record_path.exists()
    assert list(directory.path.iterdir()) == []


def test_readers_never_see_half_a_record(directory: ControlDir) -> None:
    entry, record = reserve(directory)
    done = threading.Event()
    seen: list[Record | None] = []

    def read() -> None:
        while not done.is_set():
            seen.append(entry.read())

    reader = threading.Thread(target=read)
    reader.start()
    for pid in range(2, 300):
        entry.write(replace(record, master_pid=pid, master_created=1.0))
    done.set()
    reader.join()
    assert seen
    assert None not in seen


# Listing


def test_entries_are_sockets_and_records_and_nothing_else(directory: ControlDir) -> None:
    for name in ("b.1.x.sock", "a.1.x.json", "a.1.x.sock", ".hidden.json", "note.txt", "c.sock.X"):
        (directory.path / name).touch()
    assert [entry.name for entry in directory.entries()] == ["a.1.x", "b.1.x"]


def test_debris_is_what_a_crash_left(directory: ControlDir) -> None:
    ours = {".hpc.1.x.abcd", ".probe.1", f"a.1.x.sock.{'Ab3' * 5}x"}
    for name in (*ours, "a.1.x.sock", "a.1.x.json", "note.txt", "a.sock.short"):
        (directory.path / name).touch()
    assert {path.name for path in directory.debris()} == ours


def test_a_missing_directory_lists_as_empty(short_dir: Path) -> None:
    directory = ControlDir(short_dir / "missing")
    assert list(directory.entries()) == []
    assert list(directory.debris()) == []


def test_touch_notes_the_last_use(directory: ControlDir) -> None:
    entry, _ = reserve(directory)
    os.utime(entry.record_path, (1, 1))
    entry.touch()
    assert entry.record_path.stat().st_mtime > 1_000_000


def test_remove_takes_socket_and_record(directory: ControlDir) -> None:
    entry, _ = reserve(directory)
    entry.socket.touch()
    entry.remove()
    entry.remove()
    assert list(directory.path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="pid namespaces are Linux's")
def test_the_node_names_machine_and_pid_namespace() -> None:
    host, _, namespace = node().rpartition("/")
    assert host == socket.gethostname()
    assert int(namespace) == os.stat("/proc/self/ns/pid").st_ino
