"""Bulk transfers: files and trees, on both engines; and what goes wrong, provoked for real."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import sshmux
from sshmux import Connection
from sshmux.testing import PrivateServer

from ..support import managed, processes, until, zeros

NAMES = [
    *["plain", "with space", 'it\'s "quoted"', "line\nbreak", "-dash", "$HOME;`id`", "a*b?[c]"],
    *["ünï", os.fsdecode(b"not-utf8-\xff\xfe"), ".hidden", "back\\slash", "!bang"],
]
ROOT = os.geteuid() == 0


@contextlib.asynccontextmanager
async def lent(shell: str = "/bin/sh") -> AsyncIterator[Connection]:
    async with PrivateServer(login_shell=shell) as server:
        async with managed(server) as manager, manager.get_connection(1) as connection:
            yield connection


@pytest.fixture
def here(tmp_path: Path) -> Path:
    found = tmp_path / "here"
    found.mkdir()
    return found


@pytest.fixture
def there(tmp_path: Path) -> Path:
    found = tmp_path / "there"
    found.mkdir()
    return found


@contextlib.contextmanager
def small(path: Path, size: str = "1m") -> Iterator[Path]:
    """A file system of that size."""
    if not ROOT:
        pytest.skip("mounts a file system: needs root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def tree(top: Path) -> dict[str, tuple[str, bytes]]:
    """All that is in a directory: links, files with their contents, directories."""
    found = {}
    for path in top.rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(top))] = ("link", os.fsencode(os.readlink(path)))
        elif path.is_dir():
            found[str(path.relative_to(top))] = ("directory", b"")
        else:
            found[str(path.relative_to(top))] = ("file", path.read_bytes())
    return found


def plant(top: Path) -> None:
    for number, name in enumerate(NAMES):
        (top / f"d{number % 3}" / "deep").mkdir(parents=True, exist_ok=True)
        (top / f"d{number % 3}" / name).write_bytes(os.urandom(number * 1000))
    (top / "empty").mkdir()
    (top / "link").symlink_to("d0")
    (top / "run").write_text("#!/bin/sh\n")
    (top / "run").chmod(0o750)


# One file


@pytest.mark.parametrize(
    "shell", ["/bin/bash", "/bin/dash", "/bin/tcsh", "/usr/bin/fish", "/bin/zsh"]
)
async def test_every_name_on_every_shell(shell: str, here: Path, there: Path) -> None:
    async with lent(shell) as connection:
        for number, name in enumerate(NAMES):
            data = os.urandom(number * 7001)
            (here / name).write_bytes(data)
            result = await connection.put(here / name, there / name)
            assert (result.files, result.bytes, result.moved) == (1, len(data), (str(here / name),))
            assert (there / name).read_bytes() == data
            await connection.get(there / name, here / "back")
            assert (here / "back").read_bytes() == data
        assert sorted(os.listdir(there)) == sorted(NAMES)


@pytest.mark.parametrize("size", [0, 1, 65536, 10_000_001])
async def test_sizes(size: int, here: Path, there: Path) -> None:
    (here / "a").write_bytes(os.urandom(size))
    told: list[tuple[str, str, int, int]] = []
    for how in ({}, {"verify": "sha256"}, {"resume": True}, {"atomic": False}):
        told.clear()
        async with lent() as connection:
            for _ in range(2):
                await connection.put(
                    str(here / "a"),
                    os.fsencode(there / "b"),
                    progress=lambda *word: told.append(word),
                    **how,  # type: ignore[arg-type]
                )
                await connection.get(there / "b", here / "c", **how)  # type: ignore[arg-type]
            assert (here / "c").read_bytes() == (here / "a").read_bytes()
            assert told[-1] == (str(here / "a"), str(there / "b"), size, size)
            assert os.listdir(there) == ["b"]
            assert sorted(os.listdir(here)) == ["a", "c"]
            (here / "c").unlink()
            (there / "b").unlink()


async def test_a_new_file_has_the_permissions_of_any_new_file(here: Path, there: Path) -> None:
    (there / "a").write_text("A")
    (there / "a").chmod(0o600)
    before = os.umask(0o027)
    try:
        async with lent() as connection:
            await connection.get(there / "a", here / "a")
            assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert stat.S_IMODE((here / "a").stat().st_mode) == 0o640


async def test_places(here: Path, there: Path) -> None:
    (here / "a").write_text("A")
    async with lent() as connection:
        await connection.put(here / "a", there)
        await connection.put(here / "a", f"{there}/")
        assert os.listdir(there) == ["a"]
        await connection.get(there / "a", str(here / "sub") + "/x", parents=True)
        assert (here / "sub" / "x").read_text() == "A"
        await connection.get(there / "a", here / "sub")
        assert (here / "sub" / "a").read_text() == "A"
        await connection.put(here / "a", there / "p" / "q" / "r", parents=True)
        assert (there / "p" / "q" / "r").read_text() == "A"
        (there / "link").symlink_to("a")
        (here / "a").write_text("new")
        await connection.put(here / "a", there / "link")
        assert (there / "link").is_symlink()
        assert (there / "a").read_text() == "new"
        name = f".sshmux-test-{os.getpid()}"
        try:
            await connection.put(here / "a", f"~/{name}")
            await connection.get(name, here / "home")
            assert (here / "home").read_text() == "new"
        finally:
            await connection.run(["rm", "-f", name])


async def test_permissions_and_times(here: Path, there: Path) -> None:
    (here / "a").write_text("A")
    (here / "a").chmod(0o751)
    os.utime(here / "a", (1_000_000_000, 1_000_000_001))
    async with lent() as connection:
        await connection.put(here / "a", there / "kept", preserve=True)
        await connection.put(here / "a", there / "usual")
        await connection.get(there / "kept", here / "back", preserve=True)
    for kept in (there / "kept", here / "back"):
        assert stat.S_IMODE(kept.stat().st_mode) == 0o751
        assert int(kept.stat().st_mtime) == 1_000_000_001
    assert int((there / "usual").stat().st_mtime) > 1_000_000_001
    assert (there / "usual").stat().st_mode & 0o700 == 0o700


async def test_an_interrupted_one_goes_on(here: Path, there: Path) -> None:
    data = os.urandom(3_000_000)
    (here / "a").write_bytes(data)
    (there / ".a.sshmux-part").write_bytes(data[:1_000_000])
    async with lent() as connection:
        seen: list[int] = []
        await connection.put(
            here / "a", there, resume=True, progress=lambda *word: seen.append(word[2])
        )
        assert seen[0] >= 1_000_000
        assert (there / "a").read_bytes() == data
        (here / ".b.sshmux-part").write_bytes(data[:2_000_000])
        await connection.get(there / "a", here / "b", resume=True)
        assert (here / "b").read_bytes() == data
        # What is there is of another file: it begins anew.
        (there / ".a.sshmux-part").write_bytes(b"x" * 1_000_000)
        (here / ".b.sshmux-part").write_bytes(b"x" * 4_000_000)
        await connection.put(here / "a", there, resume=True)
        await connection.get(there / "a", here / "b", resume=True)
        assert (there / "a").read_bytes() == (here / "b").read_bytes() == data
    assert os.listdir(there) == ["a"]


# Trees


@pytest.mark.both_engines
@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/tcsh", "/usr/bin/fish", "/bin/zsh"])
async def test_a_tree_there_and_back(shell: str, here: Path, there: Path) -> None:
    (here / "top").mkdir()
    plant(here / "top")
    async with lent(shell) as connection:
        result = await connection.put(here / "top", there / "new", recurse=True, preserve=True)
        assert result.files == len(NAMES) + 2
        assert tree(there / "new") == tree(here / "top")
        assert stat.S_IMODE((there / "new" / "run").stat().st_mode) == 0o750
        await connection.put(here / "top", there, recurse=True)
        (there / "top" / "theirs").write_text("stays")
        (there / "top" / "run").write_text("old")
        await connection.put(here / "top", there, recurse=True)
        assert (there / "top" / "theirs").read_text() == "stays"
        (there / "top" / "theirs").unlink()
        assert tree(there / "top") == tree(here / "top")
        back = await connection.get(there / "top", here / "back", recurse=True, preserve=True)
        assert back.files == len(NAMES) + 2
        assert tree(here / "back") == tree(here / "top")
        await connection.get(there / "top", here / "back", recurse=True)
        assert tree(here / "back" / "top") == tree(here / "top")
        assert sorted(os.listdir(there)) == ["new", "top"]
        assert sorted(os.listdir(here)) == ["back", "top"]


async def test_several_and_patterns(here: Path, there: Path) -> None:
    for name in ("a.csv", "b.csv", "c d.csv", "e.txt"):
        (here / name).write_text(name)
    async with lent() as connection:
        await connection.put(here / "*.csv", there)
        await connection.put([here / "e.txt", str(here / "a.csv")], there)
        assert {name: (there / name).read_text() for name in os.listdir(there)} == {
            name: name for name in ("a.csv", "b.csv", "c d.csv", "e.txt")
        }
        (here / "got").mkdir()
        result = await connection.get(there / "*.csv", here / "got")
        assert sorted(os.listdir(here / "got")) == ["a.csv", "b.csv", "c d.csv"]
        assert (result.files, result.bytes) == (3, 17)
        await connection.get([there / "e.txt", there / "a.csv"], here / "got")
        assert (here / "got" / "e.txt").read_text() == "e.txt"


# What goes wrong


async def test_a_machine_without_tar(
    here: Path, there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "d").mkdir()
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").symlink_to(shutil.which("ssh") or "")
    async with lent() as connection:
        await connection.put(here / "d", there / "d", recurse=True)
        before = psutil.Process().num_fds()
        with monkeypatch.context() as patched:
            patched.setenv("PATH", str(programs))
            with pytest.raises(sshmux.ConfigError, match="tar was not found"):
                await connection.put(here / "d", there / "e", recurse=True)
            with pytest.raises(sshmux.ConfigError, match="tar was not found"):
                await connection.get(there / "d", here / "e", recurse=True)
            with pytest.raises(sshmux.ConfigError, match="rsync was not found"):
                await connection.rsync(here / "d", f":{there}/e")
        assert psutil.Process().num_fds() == before
        assert [*here.iterdir(), *there.iterdir()] == [here / "d", there / "d"]


async def test_what_is_not_there(here: Path, there: Path) -> None:
    (here / "a").write_text("A")
    async with lent() as connection:
        with pytest.raises(sshmux.SourceNotFound, match="no such file here") as failed:
            await connection.put(here / "nothing", there)
        assert failed.value.not_moved == (str(here / "nothing"),)
        assert isinstance(failed.value, FileNotFoundError)
        for missing in (there / "nothing", there / "*.nothing"):
            with pytest.raises(sshmux.SourceNotFound, match="no such file"):
                await connection.get(missing, here / "b")
        with pytest.raises(sshmux.SourceNotFound, match="parents=True"):
            await connection.put(here / "a", there / "no" / "such")
        with pytest.raises(sshmux.SourceNotFound):
            await connection.get(there / "nothing", here / "no" / "such")
        (there / "d").mkdir()
        with pytest.raises(sshmux.TransferError, match="recurse=True"):
            await connection.get(there / "d", here / "b")
        with pytest.raises(sshmux.TransferError, match="recurse=True"):
            await connection.put(here, there)
        os.mkfifo(here / "fifo")
        os.mkfifo(there / "fifo")
        with pytest.raises(sshmux.TransferError, match="neither a file nor"):
            await connection.put(here / "fifo", there / "b")
        with pytest.raises(sshmux.TransferError, match="neither a file nor"):
            await connection.get(there / "fifo", here / "b")
        for bad in ("", [], b"", "a\0b"):
            with pytest.raises(sshmux.ConfigError, match="give the name"):
                await connection.put(bad, there)
        with pytest.raises(sshmux.ConfigError, match="sha256"):
            await connection.put(here / "a", there, verify="md5")
    assert sorted(os.listdir(here)) == ["a", "fifo"]
    assert sorted(os.listdir(there)) == ["d", "fifo"]


async def test_a_full_disk(here: Path, there: Path) -> None:
    (here / "big").write_bytes(os.urandom(3_000_000))
    (here / "t").mkdir()
    (here / "t" / "big").write_bytes(os.urandom(3_000_000))
    async with lent() as connection:
        with small(there):
            (there / "big").write_text("old")
            with pytest.raises(sshmux.NoSpaceLeft, match="No space left") as failed:
                await connection.put(here / "big", there / "big")
            assert (failed.value.errno, failed.value.not_moved) == (28, (str(here / "big"),))
            with pytest.raises(sshmux.NoSpaceLeft):
                await connection.put(here / "t", there, recurse=True)
            assert (there / "big").read_text() == "old"
            assert os.listdir(there) == ["big"]
        await connection.put([here / "big", here / "t"], there, recurse=True)
        (here / "small").mkdir()
        with small(here / "small"):
            (here / "small" / "big").write_text("old")
            with pytest.raises(sshmux.NoSpaceLeft):
                await connection.get(there / "big", here / "small" / "big")
            with pytest.raises(sshmux.NoSpaceLeft):
                await connection.get(there / "t", here / "small", recurse=True)
            assert (here / "small" / "big").read_text() == "old"
            assert os.listdir(here / "small") == ["big"]
        await connection.run("true", check=True)


async def test_a_read_only_place(here: Path, there: Path) -> None:
    (here / "a").write_text("A")
    async with lent() as connection:
        with small(there):
            (there / "b").write_text("B")
            subprocess.run(["mount", "-o", "remount,ro", there], check=True)
            with pytest.raises(sshmux.TransferDenied, match="Read-only") as failed:
                await connection.put(here / "a", there)
            assert isinstance(failed.value, PermissionError)
            with pytest.raises(sshmux.TransferDenied):
                await connection.get(there / "b", there / "c")
            with pytest.raises(sshmux.TransferDenied):
                await connection.put([here / "a", here / "a"], there)


def hose(path: Path, size: int = 400_000_000) -> Path:
    """A file that takes a moment to move: all of it is on the disk."""
    zeros(path, size)
    return path


async def begun(top: Path, name: str = ".sshmux*") -> None:
    """Waits until something arrives there."""

    def some() -> bool:
        return any(path.is_file() and path.stat().st_size > 0 for path in top.rglob(name))

    await until(some)


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("trouble", ["cancel", "master", "server"])
async def test_half_way(up: bool, trouble: str, here: Path, there: Path) -> None:
    source, into = (here, there) if up else (there, here)
    hose(source / "hose")
    (into / "hose").write_text("old")
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        async with await manager.connect(1) as connection:
            move = connection.put if up else connection.get
            moving = asyncio.ensure_future(move(source / "hose", into / "hose"))
            await begun(into)
            if trouble == "cancel":
                moving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await moving
                await connection.run("true", check=True)
            else:
                if trouble == "master":
                    os.kill(connection.get_extra_info("master_pid"), signal.SIGKILL)
                else:
                    server.drop_connections()
                with pytest.raises(sshmux.TransferInterrupted) as failed:
                    await moving
                assert isinstance(failed.value, sshmux.ConnectionLost)
                assert failed.value.not_moved == (str(source / "hose"),)
        await until(lambda: os.listdir(into) == ["hose"])
        assert (into / "hose").read_text() == "old"


async def test_a_tree_that_is_cancelled(here: Path, there: Path) -> None:
    (here / "t").mkdir()
    hose(here / "t" / "a")
    hose(here / "t" / "b")
    async with lent() as connection:
        moving = asyncio.ensure_future(connection.put(here / "t", there / "x", recurse=True))
        await begun(there, "[ab]")
        moving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await moving
        await until(lambda: os.listdir(there) == [])
        moving = asyncio.ensure_future(connection.get(here / "t", there / "x", recurse=True))
        await begun(there, "[ab]")
        moving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await moving
        assert os.listdir(there) == []
        assert not processes(str(there))


async def test_a_file_that_changes_on_the_way(here: Path, there: Path) -> None:
    hose(here / "hose")
    async with lent() as connection:
        moving = asyncio.ensure_future(connection.put(here / "hose", there))
        await begun(there)
        os.truncate(here / "hose", 500_000_000)
        with pytest.raises(sshmux.SourceChanged, match="changed while it was sent"):
            await moving
    assert os.listdir(there) == []


async def test_memory(here: Path, there: Path) -> None:
    hose(here / "hose", 100_000_000)
    async with lent() as connection:
        before = psutil.Process().memory_info().rss
        await connection.put(here / "hose", there)
        await connection.get(there / "hose", here / "back")
        grown = psutil.Process().memory_info().rss - before
    assert (here / "back").stat().st_size == 100_000_000
    assert grown < 20_000_000, sys.platform


# Between two hosts, and rsync


@pytest.mark.parametrize("how", [{}, {"verify": "sha256"}, {"preserve": True}])
async def test_between_two_hosts(how: dict[str, Any], here: Path, there: Path) -> None:
    data = os.urandom(3_000_000)
    (here / "a").write_bytes(data)
    (here / "a").chmod(0o640)
    (here / "top").mkdir()
    plant(here / "top")
    async with lent("/bin/bash") as one, lent("/bin/tcsh") as two:
        result = await sshmux.copy(one, here / "a", two, there / "b", **how)
        assert result.bytes == len(data)
        assert (there / "b").read_bytes() == data
        if "preserve" in how:
            assert stat.S_IMODE((there / "b").stat().st_mode) == 0o640
        await sshmux.copy(one, here / "top", two, there, recurse=True)
        await sshmux.copy(one, here / "top", two, there / "new", recurse=True)
        assert tree(there / "top") == tree(there / "new") == tree(here / "top")
        with pytest.raises(sshmux.SourceNotFound):
            await sshmux.copy(one, here / "nothing", two, there / "c")
        with pytest.raises(sshmux.SourceNotFound, match="parents"):
            await sshmux.copy(one, here / "a", two, there / "no" / "such")
        with small(there / "top"):
            with pytest.raises(sshmux.NoSpaceLeft):
                await sshmux.copy(one, here / "a", two, there / "top")
            assert os.listdir(there / "top") == []
        assert sorted(os.listdir(there)) == ["b", "new", "top"]


async def test_one_of_two_hosts_goes_down(here: Path, there: Path) -> None:
    hose(here / "hose")
    for victim in (0, 1):
        async with lent() as lasting, PrivateServer(login_shell="/bin/sh") as server:
            async with managed(server) as manager, await manager.connect(1) as going:
                pair = [lasting, lasting]
                pair[victim] = going
                moving = asyncio.ensure_future(
                    sshmux.copy(pair[0], here / "hose", pair[1], there / "x")
                )
                await begun(there)
                os.kill(going.get_extra_info("master_pid"), signal.SIGKILL)
                with pytest.raises(sshmux.TransferInterrupted):
                    await moving
                await lasting.run("true", check=True)
        await until(lambda: os.listdir(there) == [])


@pytest.mark.skipif(shutil.which("rsync") is None, reason="needs rsync")
async def test_rsync(here: Path, there: Path) -> None:
    (here / "top").mkdir()
    plant(here / "top")
    async with lent() as connection:
        await connection.rsync(here / "top", f":{there}/", "-a")
        assert tree(there / "top") == tree(here / "top")
        (there / "top" / "extra").write_text("x")
        done = await connection.rsync(f"{here}/top/", f":{there}/top/", "-av", "--delete")
        assert "deleting extra" in str(done.stdout)
        await connection.rsync(f":{there}/top", here / "back", "-a")
        assert tree(here / "back" / "top") == tree(here / "top")
        for pair in ((here, there), (f":{here}", f":{there}")):
            with pytest.raises(sshmux.ConfigError, match="exactly one side"):
                await connection.rsync(*pair)
        with pytest.raises(sshmux.TransferError, match="No such file"):
            await connection.rsync(here / "nothing", f":{there}")


# Limits of size, as a quota


@pytest.mark.parametrize("ignored", [True, False])
async def test_a_limit_of_size_over_there(ignored: bool, here: Path, there: Path) -> None:
    """The program is told (EFBIG), or ended by SIGXFSZ."""
    shell = here / "shell"
    trap = "trap '' XFSZ; " if ignored else ""
    shell.write_text(f'#!/bin/bash\n{trap}ulimit -f 100\nexec /bin/sh "$@"\n')
    shell.chmod(0o755)
    (here / "tree").mkdir()
    for name in ("a", "tree/a"):
        (here / name).write_bytes(os.urandom(1_000_000))
    (there / "a").write_text("old")
    async with lent(str(shell)) as connection:
        with pytest.raises(sshmux.NoSpaceLeft, match="a to "):
            await connection.put(here / "a", there / "a")
        with pytest.raises(sshmux.NoSpaceLeft, match="tree to "):
            await connection.put(here / "tree", there / "x", recurse=True)
        assert [(path.name, path.read_text()) for path in there.iterdir()] == [("a", "old")]
        (here / "a").write_bytes(b"small")
        await connection.put(here / "a", there / "a")
        assert (there / "a").read_bytes() == b"small"


async def test_a_limit_of_size_here(here: Path, there: Path) -> None:
    """tar has the limit of this program; Python is told, and its children are ended."""
    (there / "tree").mkdir()
    (there / "tree" / "a").write_bytes(os.urandom(1_000_000))
    async with lent() as connection:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            with pytest.raises(sshmux.NoSpaceLeft, match="SIGXFSZ"):
                await connection.get(there / "tree", here / "x", recurse=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert os.listdir(here) == []
        await connection.get(there / "tree", here / "x", recurse=True)
    assert tree(here / "x") == tree(there / "tree")
