"""Files with holes: what is not on one disk is not sent, and not on the other."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import sshmux
from sshmux import Connection
from sshmux.testing import PrivateServer

from ..security.lying import lying
from ..support import managed
from .test_transfer import lent
from .test_transfer_selection import OTHERS

MB = 1024 * 1024
# Where there is data (offset and bytes), and the size.
SHAPES: dict[str, tuple[list[tuple[int, bytes]], int]] = {
    "in the middle": ([(0, b"a" * 5000), (40 * MB, b"b" * 5000)], 40 * MB + 5000),
    "at the start": ([(40 * MB, b"b" * 70_000)], 40 * MB + 70_000),
    "at the end": ([(0, b"a" * 70_000)], 40 * MB + 3),
    "nothing else": ([], 40 * MB + 1),
    "many": ([(number * 8 * 65536, b"c") for number in range(80)], 40 * MB),
}


def holed(path: Path, shape: str) -> Path:
    pieces, size = SHAPES[shape]
    with path.open("wb") as file:
        for at, data in pieces:
            file.seek(at)
            file.write(data)
        file.truncate(size)
    if path.stat().st_blocks * 512 > 4 * MB:
        pytest.skip("this file system has no holes")
    return path


def has_its_holes(path: Path, shape: str) -> bool:
    pieces, size = SHAPES[shape]
    with path.open("rb") as file:
        for at, data in pieces:
            file.seek(at)
            assert file.read(len(data)) == data
    found = path.stat()
    assert found.st_size == size
    assert found.st_blocks * 512 < size  # of zeros, however they are kept, nothing was written
    return found.st_blocks * 512 < 4 * MB


def same(one: Path, other: Path) -> bool:
    with one.open("rb") as first, other.open("rb") as second:
        while data := first.read(MB):
            if data != second.read(MB):
                return False
        return not second.read(1)


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    async with lent() as lent_one:
        yield lent_one


def carried(connection: Connection) -> int:
    """The bytes that its master has read and written so far."""
    counters = psutil.Process(connection.get_extra_info("master_pid")).io_counters()
    return int(counters.read_chars + counters.write_chars)


@pytest.mark.parametrize("way", ["put", "get"])
@pytest.mark.parametrize("how", [{}, {"verify": "sha256"}, {"preserve": True}])
async def test_one_file(
    connection: Connection, way: str, how: dict[str, Any], tmp_path: Path
) -> None:
    move = getattr(connection, way)
    for shape in SHAPES:
        source, target = holed(tmp_path / "a file", shape), tmp_path / "to"
        source.chmod(0o750)
        os.utime(source, (10**9, 10**9))
        before = carried(connection)
        result = await move(source, target, **how)
        assert carried(connection) - before < 8 * MB, shape
        assert (result.files, result.bytes) == (1, source.stat().st_size)
        assert has_its_holes(target, shape)
        assert same(source, target)
        mode = 0o750 if way == "put" or how.get("preserve") else 0o644
        assert target.stat().st_mode & 0o777 == mode
        assert (target.stat().st_mtime == 10**9) is bool(how.get("preserve"))
        assert sorted(os.listdir(tmp_path)) == ["a file", "to"]
        source.unlink()
        target.unlink()


@pytest.mark.parametrize("way", ["put", "get", "copy"])
@pytest.mark.parametrize("how", [{}, {"exclude": "none"}])
async def test_trees(connection: Connection, way: str, how: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for shape in SHAPES:
        holed(tmp_path / "d" / shape, shape)
    (tmp_path / "d" / "full").write_bytes(os.urandom(100_000))
    before = carried(connection)
    if way == "copy":
        await sshmux.copy(
            connection, tmp_path / "d", connection, tmp_path / "to", recurse=True, **how
        )
    else:
        await getattr(connection, way)(tmp_path / "d", tmp_path / "to", recurse=True, **how)
        assert carried(connection) - before < 8 * MB
    for path in (tmp_path / "d").iterdir():
        assert same(path, tmp_path / "to" / path.name)
        if path.name in SHAPES and way != "copy":
            assert has_its_holes(tmp_path / "to" / path.name, path.name)


@pytest.mark.parametrize("way", ["put", "get"])
@pytest.mark.parametrize("how", [{"resume": True}, {"atomic": False}])
async def test_where_holes_are_filled(
    connection: Connection, way: str, how: dict[str, Any], tmp_path: Path
) -> None:
    source = holed(tmp_path / "f", "in the middle")
    await getattr(connection, way)(source, tmp_path / "to", **how)
    assert same(source, tmp_path / "to")
    assert sorted(os.listdir(tmp_path)) == ["f", "to"]


@pytest.mark.parametrize("way", ["put", "get"])
async def test_targets(connection: Connection, way: str, tmp_path: Path) -> None:
    """As of any file: a link stays, a device is written to, a directory is gone into."""
    source, move = holed(tmp_path / "f", "at the end"), getattr(connection, way)
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "to").mkdir()
    (tmp_path / "named").symlink_to("f")
    await move(source, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert has_its_holes(tmp_path / "real", "at the end")
    await move(tmp_path / "named", tmp_path / "to")
    assert has_its_holes(tmp_path / "to" / "named", "at the end")
    assert not (tmp_path / "to" / "named").is_symlink()
    await move(source, "/dev/null")
    assert not Path("/dev/null").is_file()
    with pytest.raises(sshmux.TransferError):
        await move(source, tmp_path / "missing" / "f")


@pytest.mark.parametrize("other", OTHERS)
async def test_other_programs_on_the_remote(tmp_path: Path, other: str) -> None:
    if shutil.which(other) is None:
        pytest.skip(f"needs {other} (packages busybox, libarchive-tools)")
    path = f"{OTHERS[other](tmp_path)}:{os.environ['PATH']}"
    (tmp_path / "d").mkdir()
    source = holed(tmp_path / "d" / "f", "in the middle")
    async with PrivateServer(options={"SetEnv": f"PATH={path}"}) as server:
        async with managed(server) as manager, manager.get_connection(1) as connection:
            for way in ("put", "get"):
                move = getattr(connection, way)
                await move(source, tmp_path / f"one-{way}")
                await move(source, tmp_path / f"sure-{way}", verify="sha256")
                await move(tmp_path / "d", tmp_path / f"tree-{way}", recurse=True)
                for name in (f"one-{way}", f"sure-{way}", f"tree-{way}/f"):
                    assert same(source, tmp_path / name)
                if other == "bsdtar" and way == "put":
                    assert has_its_holes(tmp_path / f"one-{way}", "in the middle")
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".sshmux")]


async def test_cancelled(connection: Connection, tmp_path: Path) -> None:
    source = tmp_path / "f"
    with source.open("wb") as file:
        for number in range(400):
            file.seek(number * 2 * MB)
            file.write(os.urandom(MB))
    for way in ("put", "get"):
        moving = asyncio.ensure_future(getattr(connection, way)(source, tmp_path / "to"))
        while not [name for name in os.listdir(tmp_path) if name.startswith(".sshmux")]:
            await asyncio.sleep(0.01)
        moving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await moving
        assert os.listdir(tmp_path) == ["f"], way


# What a remote may send in place of a file with holes.
LIES = {
    "another name": "('./other', b'evil', {})",
    "two": "('./f', b'evil', {}), ('./other', b'evil', {})",
    "up": "('../f', b'evil', {})",
    "a link": "('./f', b'', dict(type=tarfile.SYMTYPE, linkname='VICTIM'))",
    "a hard link": "('./f', b'', dict(type=tarfile.LNKTYPE, linkname='VICTIM'))",
    "a directory": "('./f', b'', dict(type=tarfile.DIRTYPE, mode=0o755))",
    "a FIFO": "('./f', b'', dict(type=tarfile.FIFOTYPE))",
    "nothing": "",
    "another size": "('./f', b'evil, evil', {})",
    "a size beyond all": (
        "('./f', b'1\\n0\\n1\\n' + bytes(507), dict(pax_headers={'GNU.sparse.major': '1', "
        "'GNU.sparse.minor': '0', 'GNU.sparse.name': './f', "
        "'GNU.sparse.realsize': str(2**62)}))"
    ),
}


async def test_what_a_remote_sends_instead(tmp_path: Path) -> None:
    victim, home = tmp_path / "victim", tmp_path / "home"
    victim.write_text("mine")
    home.mkdir()
    async with lying() as liar:
        for case, members in LIES.items():
            liar.runs(f"""
                if "exec cat" in command:
                    report("size 4 - - -")
                    report("holes")
                    command = "c=-cf " + command
                    archive([{members.replace("VICTIM", str(victim))}], tarfile.PAX_FORMAT)
            """)
            with pytest.raises(sshmux.TransferError):
                await liar.connection.get("f", home / "f")
            assert os.listdir(home) == [], case
            assert sorted(os.listdir(tmp_path)) == ["home", "victim"], case
            assert victim.read_text() == "mine"
            assert victim.stat().st_nlink == 1
        liar.runs("""
            if "exec cat" in command:
                announce()
                report("size 4 - - -")
                report("holes")
                out.write(b"evil")
                sys.exit(0)
        """)
        with pytest.raises(sshmux.TransferError):
            await liar.connection.get("f", home / "f")
        assert os.listdir(home) == []
