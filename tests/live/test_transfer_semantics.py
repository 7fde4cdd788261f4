"""What is moved, and to where: each line of the list in docs/files.md, for put, get and copy."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import Connection

from .test_transfer import lent, tree

Move = Callable[..., Awaitable[Any]]


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    async with lent() as lent_one:
        yield lent_one


@pytest.fixture(params=["put", "get", "copy"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def move(way: str, connection: Connection) -> Move:
    """Moves a tree or file; both sides are this machine."""
    if way == "copy":

        async def copied(source: Any, target: Path, **how: Any) -> Any:
            return await sshmux.copy(connection, source, connection, target, **how)

        return copied
    return getattr(connection, way)  # type: ignore[no-any-return]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "f").write_text("F")
    (tmp_path / "d" / "sub" / "g").write_text("G")
    (tmp_path / "to").mkdir()
    return tmp_path


async def test_named_links(move: Move, way: str, top: Path) -> None:
    (top / "l1").symlink_to("d/f")
    (top / "l2").symlink_to("d/sub/g")
    (top / "dl").symlink_to("d")
    (top / "d" / "inside").symlink_to("f")
    await move(top / "l1", top / "to")
    assert not (top / "to" / "l1").is_symlink()
    assert (top / "to" / "l1").read_text() == "F"
    await move(top / "dl", top / "to", recurse=True)
    assert not (top / "to" / "dl").is_symlink()
    assert tree(top / "to" / "dl") == tree(top / "d")
    assert (top / "to" / "dl" / "inside").is_symlink()
    if way == "copy":
        return
    await move([top / "l1", top / "l2", top / "dl"], top / "to", recurse=True)
    await move(str(top / "l?"), top / "to")
    assert [(top / "to" / name).read_text() for name in ("l1", "l2")] == ["F", "G"]
    await move(top / "dl", top / "to" / "all", recurse=True, follow_symlinks=True)
    assert not (top / "to" / "all" / "inside").is_symlink()
    await move(top / "l1", top / "d", follow_symlinks=False)
    assert os.readlink(top / "d" / "l1") == "d/f"


async def test_what_is_in_a_directory(move: Move, top: Path) -> None:
    (top / "to" / "old").write_text("O")
    await move(f"{top}/d/.", top / "to", recurse=True)
    assert sorted(os.listdir(top / "to")) == ["f", "old", "sub"]
    await move(f"{top}/d/.", top / "new", recurse=True)
    assert tree(top / "new") == tree(top / "d")
    with pytest.raises(sshmux.ConfigError, match="own name"):
        await move(f"{top}/d/..", top / "to", recurse=True)


@pytest.mark.parametrize("way", ["put", "get"], indirect=True)
async def test_two_of_one_name(move: Move, top: Path) -> None:
    (top / "d" / "sub" / "f").write_text("another")
    with pytest.raises(sshmux.TransferError, match="2 sources") as failed:
        await move([top / "d" / "f", top / "d" / "sub" / "f"], top / "to")
    assert failed.value.moved == ()
    assert os.listdir(top / "to") == []


async def test_what_is_no_file(move: Move, top: Path) -> None:
    os.mkfifo(top / "fifo")
    with pytest.raises(sshmux.TransferError, match="neither a file nor"):
        await move(top / "fifo", top / "to")
    os.mkfifo(top / "d" / "fifo")
    await move(top / "d", top / "to", recurse=True)
    assert sorted(os.listdir(top / "to" / "d")) == ["f", "sub"]


async def test_targets_that_are_links(move: Move, top: Path) -> None:
    (top / "real").write_text("old")
    (top / "to" / "link").symlink_to("../real")
    await move(top / "d" / "f", top / "to" / "link")
    assert (top / "to" / "link").is_symlink()
    assert (top / "real").read_text() == "F"
    (top / "elsewhere").mkdir()
    (top / "to" / "d").symlink_to("../elsewhere")
    with pytest.raises(sshmux.TransferError):
        await move(top / "d", top / "to", recurse=True)
    assert os.listdir(top / "elsewhere") == []


async def test_targets_that_are_no_files(move: Move, top: Path) -> None:
    await move(top / "d" / "f", "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    os.mkfifo(top / "to" / "fifo")
    with pytest.raises(sshmux.TransferError):
        await asyncio.wait_for(move(top / "d" / "f", top / "to" / "fifo"), 10)
    assert stat.S_ISFIFO((top / "to" / "fifo").stat().st_mode)


@pytest.mark.parametrize("turned", [False, True])
async def test_something_in_the_way(move: Move, top: Path, turned: bool) -> None:
    there = top / "to" / "d"
    there.mkdir()
    if turned:
        (there / "f").mkdir()
    else:
        (there / "sub").write_text("a file")
    before = tree(top / "to")
    with pytest.raises(sshmux.TransferError):
        await move(top / "d", top / "to", recurse=True)
    assert tree(top / "to") == before


async def test_read_only_directories(move: Move, top: Path) -> None:
    """(As root they are like any others: CI runs this as an ordinary user, too.)"""
    (top / "d" / "sub").chmod(0o555)
    (top / "d").chmod(0o555)
    for _ in range(2):
        await move(top / "d", top / "to", recurse=True, preserve=True)
        assert tree(top / "to" / "d") == tree(top / "d")
        for path in (top / "to" / "d", top / "to" / "d" / "sub"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o555
    assert os.listdir(top / "to") == ["d"]
    for path in (top / "d", top / "to" / "d"):
        path.chmod(0o755)


@pytest.mark.parametrize("preserve", [False, True])
async def test_permissions(move: Move, top: Path, preserve: bool) -> None:
    modes = {"suid": 0o4755, "sgid": 0o2755, "all": 0o666, "private": 0o600}
    for name, mode in modes.items():
        (top / "d" / name).touch()
        (top / "d" / name).chmod(mode)
        os.utime(top / "d" / name, (10**9, 10**9))
    await move(top / "d", top / "to", recurse=True, preserve=preserve)
    for name, mode in modes.items():
        found = (top / "to" / "d" / name).stat()
        assert stat.S_IMODE(found.st_mode) == mode & (0o777 if preserve else 0o755), name
        assert (found.st_mtime == 10**9) is preserve
    await move(top / "d" / "suid", top / "to", preserve=preserve)
    assert not stat.S_IMODE((top / "to" / "suid").stat().st_mode) & 0o7022


async def test_too_deep(move: Move, top: Path) -> None:
    at = top / "d"
    for _ in range(70):
        at /= "x"
    at.mkdir(parents=True)
    with pytest.raises(sshmux.TransferError, match="64 directories"):
        await move(top / "d", top / "to", recurse=True)
    assert os.listdir(top / "to") == []


@pytest.mark.parametrize("way", ["put", "get"], indirect=True)
async def test_a_file_that_grows(move: Move, top: Path) -> None:
    growing = top / "d" / "log"
    growing.write_bytes(bytes(3_000_000))
    script = f"while :; do head -c 100000 /dev/zero >>{growing}; done"
    process = await asyncio.create_subprocess_exec("sh", "-c", script)

    async def move_often() -> None:
        for _ in range(50):
            await move(growing, top / "to")

    try:
        with pytest.raises(sshmux.SourceChanged):
            await move_often()
        await move(growing, top / "to", on_change="accept")
        await move(top / "d", top / "to", recurse=True, on_change="accept")
    finally:
        process.kill()
        await process.wait()
    assert (top / "to" / "log").stat().st_size >= 3_000_000
    assert sorted(os.listdir(top / "to")) == ["d", "log"]


@pytest.mark.parametrize("way", ["put", "get"], indirect=True)
async def test_a_file_without_a_size(move: Move, top: Path) -> None:
    await move("/proc/version", top / "to" / "version")
    assert (top / "to" / "version").read_bytes() == Path("/proc/version").read_bytes()


@pytest.mark.parametrize("way", ["put", "get"], indirect=True)
async def test_thousands_of_names(move: Move, top: Path) -> None:
    names = [top / "d" / f"{'n' * 60}{number}" for number in range(3000)]
    for name in names:
        name.touch()
    result = await move(names, top / "to")
    assert result.files == len(os.listdir(top / "to")) == 3000


@pytest.mark.parametrize("leads_to", ["new", "../new", "no/new", "loop"])
async def test_targets_that_are_links_to_nothing(move: Move, top: Path, leads_to: str) -> None:
    link = top / "to" / "loop"
    link.symlink_to(leads_to)
    if leads_to.rpartition("/")[2] == "new" and "no" not in leads_to.split("/"):
        await move(top / "d" / "f", link)
        assert (top / "to" / leads_to).read_text() == "F"
    else:
        with pytest.raises(sshmux.TransferError):
            await move(top / "d" / "f", link)
    assert os.readlink(link) == leads_to
    assert not list(top.rglob(".sshmux*"))


def below_a_file(top: Path) -> tuple[Any, Path]:
    return top / "d" / "f", top / "d" / "sub" / "g" / "x"


def a_tree_below_a_file(top: Path) -> tuple[Any, Path]:
    return top / "d", top / "d" / "f" / "x"


def a_tree_onto_a_file(top: Path) -> tuple[Any, Path]:
    return top / "d", top / "d" / "f"


def contents_onto_a_file(top: Path) -> tuple[Any, Path]:
    return f"{top}/d/.", top / "d" / "f"


def a_directory_of_the_name(top: Path) -> tuple[Any, Path]:
    (top / "to" / "f").mkdir()
    return top / "d" / "f", top / "to"


def a_name_too_long(top: Path) -> tuple[Any, Path]:
    return top / "d" / "f", top / "to" / ("n" * 256)


def a_tree_of_a_name_too_long(top: Path) -> tuple[Any, Path]:
    return top / "d", top / "to" / ("n" * 256)


def a_path_too_long(top: Path) -> tuple[Any, Path]:
    return str(top) + "/x" * 3000, top / "to"


def a_link_to_itself(top: Path) -> tuple[Any, Path]:
    (top / "l").symlink_to("l")
    return top / "l", top / "to"


@pytest.mark.parametrize(
    "wrong",
    [
        *(below_a_file, a_tree_below_a_file, a_tree_onto_a_file, contents_onto_a_file),
        *(a_directory_of_the_name, a_name_too_long, a_tree_of_a_name_too_long),
        *(a_path_too_long, a_link_to_itself),
    ],
)
async def test_what_cannot_be(
    move: Move, top: Path, wrong: Callable[[Path], tuple[Any, Path]]
) -> None:
    """The same kind of error in whatever direction, and nothing is changed."""
    source, target = wrong(top)
    before = tree(top)
    with pytest.raises(sshmux.TransferError):
        await move(source, target, recurse=Path(source).is_dir() if len(str(source)) < 999 else 0)
    assert tree(top) == before


@pytest.mark.parametrize("way", ["put", "get"], indirect=True)
async def test_a_link_in_a_tree_that_leads_up(move: Move, top: Path) -> None:
    (top / "d" / "up").symlink_to(".")
    with pytest.raises(sshmux.TransferError):
        await move(top / "d", top / "to", recurse=True, follow_symlinks=True)
    assert os.listdir(top / "to") == []


async def test_sftp_waits_for_no_fifo(connection: Connection, top: Path) -> None:
    (top / "to" / "d").mkdir()
    os.mkfifo(top / "to" / "d" / "f")
    async with connection.start_sftp_client() as sftp:
        for place in (top / "to", top / "to" / "d" / "f"):
            for way in (sftp.put, sftp.copy):
                source = top / "d" if place.is_dir() else top / "d" / "f"
                with pytest.raises(sshmux.SFTPFailure, match="not written to"):
                    await asyncio.wait_for(way(source, place, recurse=True), 30)
    assert stat.S_ISFIFO((top / "to" / "d" / "f").stat().st_mode)
