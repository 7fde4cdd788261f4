"""What other users of this machine can do to the control directory: nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import sshmux
from sshmux import ConnectionManager
from sshmux.openssh.control.directory import ControlDir
from sshmux.openssh.control.entry import Entry
from sshmux.openssh.control.foreign import hold_foreign
from sshmux.openssh.control.lease import Lease
from sshmux.testing import PrivateServer

from ..support import control_directory
from .planting import CONFIG, NAME, OTHER, a_record, as_root, fake_master, plant, sleeper

OLD = time.time() - 3600


@pytest.fixture
def entry(short_dir: Path) -> Entry:
    return Entry(short_dir, NAME)


# Sockets and records of others


@as_root
@pytest.mark.parametrize("socket_owner", ["theirs", "ours"])
async def test_whoever_listens_has_to_be_the_same_user(short_dir: Path, socket_owner: str) -> None:
    """The file may be ours and the listener theirs: the kernel knows who called listen()."""
    short_dir.chmod(0o777)
    path = short_dir / "s"
    with fake_master(path, os.getpid(), uid=OTHER, socket_owner=socket_owner) as fake:
        with pytest.raises(PermissionError, match=f"is user {OTHER}, and not you"):
            await Lease.take(path, lambda: None, 5)
        await asyncio.sleep(0.1)
        assert fake.heard == []


@as_root
@pytest.mark.both_engines
@pytest.mark.parametrize("record_owner", [OTHER, None])
@pytest.mark.parametrize("socket_owner", ["theirs", "ours"])
async def test_what_was_planted_in_a_directory_that_was_open_is_not_used(
    entry: Entry, record_owner: int | None, socket_owner: str
) -> None:
    """The directory was closed since, as a careless user would do."""
    entry.directory.chmod(0o777)
    with fake_master(entry.socket, 1, uid=OTHER, socket_owner=socket_owner) as fake:
        plant(entry, await a_record(fake.process.pid), record_owner)
        entry.directory.chmod(0o700)
        async with ConnectionManager(control_dir=entry.directory) as manager:
            manager.register_cluster("hpc", config=CONFIG)
            with pytest.raises(sshmux.NotLoggedIn):
                async with manager.get_connection("hpc"):
                    pass
        assert fake.heard == []
        assert fake.process.poll() is None
        if socket_owner == "theirs":
            assert entry.socket.exists(), "only what is ours is swept"


async def test_a_master_of_ones_own_is_adopted_from_the_same_record() -> None:
    """The counterpart of the test above: it is refused for what it is, not for its record."""
    with control_directory() as directory:
        async with PrivateServer() as server:
            config = server.connection_config()
            async with ConnectionManager(control_dir=directory, persist=60) as manager:
                manager.register_cluster("hpc", config=config)
                assert await manager.test_connection("hpc")
            (entry,) = ControlDir(directory).entries()
            record = entry.read()
            assert record is not None
            assert record.master_pid is not None
            plant(entry, await a_record(record.master_pid, config, name=entry.name))
            async with ConnectionManager(control_dir=directory) as manager:
                manager.register_cluster("hpc", config=replace(config, dial="never"))
                assert await manager.test_connection("hpc")
                await manager.disconnect("hpc")


@as_root
@pytest.mark.parametrize("socket_owner", ["theirs", "ours"])
async def test_control_path_of_another_user_is_not_used(short_dir: Path, socket_owner: str) -> None:
    short_dir.chmod(0o1777)
    path = short_dir / "own"
    with fake_master(path, 1, uid=OTHER, socket_owner=socket_owner) as fake:
        if socket_owner == "theirs":
            with pytest.raises(sshmux.ControlDirError, match=f"belongs to user {OTHER}"):
                await hold_foreign(CONFIG, path)
        else:
            assert await hold_foreign(CONFIG, path) is None
        assert fake.heard == []


@pytest.mark.parametrize("link", [False, True])
async def test_control_path_below_a_directory_that_others_can_change_is_not_used(
    short_dir: Path, link: bool
) -> None:
    wide = short_dir / "wide"
    wide.mkdir()
    with fake_master(wide / "own", os.getpid()) as fake:
        wide.chmod(0o777)
        path = wide / "own"
        if link:
            path = short_dir / "link"
            path.symlink_to(wide / "own")
        with pytest.raises(sshmux.ControlDirError, match="where others can write"):
            await hold_foreign(CONFIG, path)
        assert fake.heard == []


@pytest.mark.parametrize(
    "kind", ["fifo", "link", "directory", "socket", "device", "large", "other"]
)
async def test_only_a_file_of_ones_own_is_read_as_a_record(entry: Entry, kind: str) -> None:
    path = entry.record_path
    text = (await a_record(os.getpid())).to_json()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        (entry.directory / "elsewhere").write_text(text)
        path.symlink_to(entry.directory / "elsewhere")
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.fspath(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "large":
        path.write_text(text + " " * 65536)
    else:
        if os.geteuid() != 0:
            pytest.skip("only root can act as another user")
        path.write_text(text)
        os.chown(path, OTHER, -1)
    os.utime(path, (OLD, OLD), follow_symlinks=False)
    assert entry.read() is None
    async with ConnectionManager(control_dir=entry.directory):
        pass
    assert os.path.lexists(path)


# The way to the directory


@as_root
@pytest.mark.both_engines
async def test_the_runtime_directory_of_another_user_is_not_used(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `su`: its owner could rename ours, and put one with a socket of his in its place."""
    os.chown(short_dir, OTHER, OTHER)
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(short_dir))
    async with PrivateServer() as server, ConnectionManager() as manager:
        server.register(manager, 1)
        assert await manager.test_connection(1)
        assert short_dir not in manager.control_dir.path.parents
    assert os.listdir(short_dir) == []


async def test_a_directory_below_one_that_others_can_change_is_refused(short_dir: Path) -> None:
    wide = short_dir / "wide"
    wide.mkdir()
    wide.chmod(0o777)
    with pytest.raises(sshmux.ControlDirError, match="where others can write"):
        async with ConnectionManager(control_dir=wide / "a" / "b"):
            pass
    assert os.listdir(wide) == []


# Sweeping


def bind(path: Path, kind: int = socket.SOCK_STREAM, *, listen: bool = True) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, kind)
    made.bind(os.fspath(path))
    if listen:
        made.listen()
    return made


async def test_only_what_sshmux_made_is_swept(short_dir: Path) -> None:
    """In a home, say: other programs' files stay, whatever they are called."""
    letters = "a1B2c3D4e5F6g7H8"
    files = {
        *(".bashrc", ".netrc", ".Xauthority", ".probe.rc", ".hpc.1.abcdef.swp", "idle.json"),
        *("notes.json", "hpc.json", f"x.sock.{letters}", "hpc.1.abcdef.json.bak"),
        "hpc.1.abcdeg.json",  # by chance, a name of our form: but no record is in it
    }
    for name in files:
        (short_dir / name).write_text('{"mine": 1}')
    kept = [
        bind(short_dir / "notify.1.abcdef.sock", socket.SOCK_DGRAM, listen=False),
        bind(short_dir / "idle.sock", listen=False),
        bind(short_dir / f"hpc.1.abcdeh.sock.{letters}"),
        bind(short_dir / "hpc.1.abcdei.sock"),  # somebody listens there
    ]
    strangers = set(os.listdir(short_dir))
    bind(short_dir / "hpc.1.abcdej.sock", listen=False).close()
    bind(short_dir / f"hpc.1.abcdek.sock.{letters}", listen=False).close()
    (short_dir / ".hpc.1.abcdel.01234567").touch()
    (short_dir / ".probe.01234567").touch()
    for path in short_dir.iterdir():
        os.utime(path, (OLD, OLD))
    async with ConnectionManager(control_dir=short_dir):
        pass
    assert set(os.listdir(short_dir)) == strangers
    for each in kept:
        each.close()


@as_root
async def test_files_of_others_are_not_swept(short_dir: Path) -> None:
    letters = "a1B2c3D4e5F6g7H8"
    for name in ("hpc.1.abcdef.sock", f"hpc.1.abcdef.sock.{letters}"):
        bind(short_dir / name, listen=False).close()
    (short_dir / ".hpc.1.abcdef.01234567").touch()
    for path in short_dir.iterdir():
        os.utime(path, (OLD, OLD))
        os.chown(path, OTHER, -1)
    before = set(os.listdir(short_dir))
    async with ConnectionManager(control_dir=short_dir):
        pass
    assert set(os.listdir(short_dir)) == before


# Signals


@pytest.mark.both_engines
async def test_a_pid_that_a_socket_names_is_not_signalled(entry: Entry) -> None:
    """By whatever ends connections: disconnect(), and the end of the program."""
    with sleeper() as victim, fake_master(entry.socket, victim.pid):
        plant(entry, await a_record(victim.pid))
        async with ConnectionManager(control_dir=entry.directory) as manager:
            manager.register_cluster("hpc", config=CONFIG)
            with pytest.raises(sshmux.NotLoggedIn):
                async with manager.get_connection("hpc"):
                    pass
            await manager.disconnect("hpc")


@pytest.mark.parametrize("listens", [False, True])
async def test_a_pid_that_a_record_names_is_not_signalled(entry: Entry, listens: bool) -> None:
    """By the sweep, of a record whose owner is gone."""
    with sleeper() as victim:
        plant(entry, await a_record(victim.pid, persist=0))
        if listens:
            with fake_master(entry.socket, victim.pid) as fake:
                async with ConnectionManager(control_dir=entry.directory):
                    pass
                assert fake.heard == []
        else:
            async with ConnectionManager(control_dir=entry.directory):
                pass
        assert not entry.record_path.exists()


async def test_a_pid_that_a_record_names_is_not_signalled_by_the_command(entry: Entry) -> None:
    with sleeper() as victim:
        plant(entry, await a_record(victim.pid))
        done = subprocess.run(
            [sys.executable, "-m", "sshmux", "--dir", entry.directory, "stop", "--all", "-y"],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert not entry.record_path.exists()


async def test_a_record_that_names_another_process_than_its_socket_is_not_adopted() -> None:
    with control_directory() as directory:
        async with PrivateServer() as server:
            config = server.connection_config()
            async with ConnectionManager(control_dir=directory, persist=60) as manager:
                manager.register_cluster("hpc", config=config)
                assert await manager.test_connection("hpc")
            (entry,) = ControlDir(directory).entries()
            honest = entry.read()
            assert honest is not None
            with sleeper() as victim:
                plant(entry, await a_record(victim.pid, config, name=entry.name))
                async with ConnectionManager(control_dir=directory) as manager:
                    manager.register_cluster("hpc", config=replace(config, dial="never"))
                    with pytest.raises(sshmux.NotLoggedIn):
                        await manager.connect("hpc")
            plant(entry, honest)
            subprocess.run(
                [sys.executable, "-m", "sshmux", "--dir", directory, "stop", "--all", "-y"],
                check=True,
                capture_output=True,
            )


async def test_what_is_made_is_for_our_eyes_only() -> None:
    with control_directory() as directory:
        async with PrivateServer() as server:
            before = os.umask(0)
            try:
                async with ConnectionManager(control_dir=directory) as manager:
                    server.register(manager, 1)
                    assert await manager.test_connection(1)
                    names = list(directory.iterdir())
                    assert len(names) == 2
                    assert all(stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0 for path in names)
            finally:
                os.umask(before)
