"""The directory of the control sockets: safe or refused, and one winner for every claim."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from sshmux.errors import ControlDirError
from sshmux.openssh.control import naming
from sshmux.openssh.control.directory import ControlDir

from .reserving import reserve


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
    assert "chmod" not in message, "what others have put there would be taken for ours"
    assert "name a new one" in message


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
    monkeypatch.setattr(naming, "MAX_PATH", limit)
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
    monkeypatch.setattr(naming, "MAX_PATH", limit)
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
    length = naming.MAX_PATH - 24
    path = short_dir / ("d" * (length - len(os.fsencode(short_dir)) - 1))
    entry, _ = reserve(ControlDir(path), "x" * 300, slot)
    assert len(os.fsencode(entry.socket)) == naming.MAX_PATH


def test_repr_tells_the_path(short_dir: Path) -> None:
    assert repr(ControlDir(short_dir)) == f"<ControlDir {short_dir}>"


# Reserving


def test_reserved_names_never_come_twice(directory: ControlDir) -> None:
    entries = [reserve(directory)[0] for _ in range(200)]
    assert len({entry.name for entry in entries}) == 200
    assert {entry.name for entry in directory.entries()} == {entry.name for entry in entries}
    assert all(entry.name.startswith("hpc.1.") for entry in entries)


# Listing


OURS = "a.1.abcdef", "b.c12.k3f7a2", "jump-x.example.7.zzzzzz", "x~01ab.1.234567"


def test_entries_are_names_of_our_own_form_and_nothing_else(directory: ControlDir) -> None:
    for name in OURS:
        (directory.path / f"{name}.sock").touch()
        (directory.path / f"{name}.json").touch()
    for name in (".hidden.json", "note.txt", "notify.sock", "a.1.x.json", "a.1.abcdef8.sock"):
        (directory.path / name).touch()
    assert [entry.name for entry in directory.entries()] == sorted(OURS)


def test_debris_is_what_a_crash_left(directory: ControlDir) -> None:
    letters = "Ab3" * 5
    ours = {
        *(".a.1.abcdef.0123abcd", ".probe.0123abcd", ".probe.0123abcd.link"),
        f"a.1.abcdef.sock.{letters}x",
    }
    strangers = {
        *(".bashrc", ".netrc", ".a.1.abcdef.0123abcg", ".probe.rc", "a.1.abcdef.sock", "note.txt"),
        *(f"master.sock.{letters}x", f"a.1.abcdef.sock.{letters}", f".x.{letters}x"),
    }
    for name in ours | strangers:
        (directory.path / name).touch()
    assert {path.name for path in directory.debris()} == ours


def test_every_name_that_is_made_is_known_again(directory: ControlDir) -> None:
    for cluster in ("hpc", "../x", "ada@hpc", "~", "ü", "a.b.c", "x" * 300, "-", "jump-a@b,c"):
        for slot in ("1", "c12", "c1234567890"):
            entry, _ = reserve(directory, cluster, slot)
            assert entry in list(directory.entries())
            assert naming.is_half_made(naming.half_made(entry.name))


def test_a_missing_directory_lists_as_empty(short_dir: Path) -> None:
    directory = ControlDir(short_dir / "missing")
    assert list(directory.entries()) == []
    assert list(directory.debris()) == []
