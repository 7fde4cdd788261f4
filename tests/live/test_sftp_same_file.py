"""A file that is copied onto itself, seen from two machines, as in a home that both share."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from sshmux import SFTPError, SFTPOpUnsupported
from sshmux.sftp.operations import Operations

from .test_sftp import client

CONTENT = os.urandom(300_000) + bytes(200_000) + b"end"

# What leads to the file `data/f`, from the directory that it is in.
NAMES = {"its name": "data/f", "a hard link": "hard", "a link": "link", "by another path": "too/f"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "f").write_bytes(CONTENT)
    (tmp_path / "data" / "g").write_bytes(b"small")
    os.link(tmp_path / "data" / "f", tmp_path / "hard")
    (tmp_path / "link").symlink_to("data/f")
    (tmp_path / "too").symlink_to("data")
    return tmp_path


def whole(home: Path) -> None:
    assert (home / "data" / "f").read_bytes() == CONTENT
    assert (home / "data" / "g").read_bytes() == b"small"
    assert (home / "hard").read_bytes() == CONTENT
    assert sorted(os.listdir(home / "data")) == ["f", "g"]


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("way", ["put", "get"])
async def test_a_file(way: str, name: str, sparse: bool, home: Path) -> None:
    async with client() as sftp:
        move = getattr(sftp, way)
        await move(home / "data" / "f", home / name, sparse=sparse)
        whole(home)
        await move(home / name, home / "data", sparse=sparse, follow_symlinks=True)
    assert (home / "data" / Path(name).name).read_bytes() == CONTENT
    assert (home / "data" / "f").read_bytes() == CONTENT


async def test_a_copy_on_the_remote(home: Path) -> None:
    """Whether the server does it or refuses it (copy-data of overlapping parts): the file stays."""
    async with client() as sftp:
        for name in NAMES.values():
            with contextlib.suppress(SFTPError):
                await sftp.copy(home / "data" / "f", home / name)
            whole(home)


@pytest.mark.parametrize("way", ["put", "get"])
async def test_a_tree(way: str, home: Path) -> None:
    async with client() as sftp:
        await getattr(sftp, way)(home / "data", home, recurse=True)
    whole(home)


@pytest.mark.parametrize("way", ["put", "get", "copy"])
@pytest.mark.parametrize("old", [0, 5, len(CONTENT), len(CONTENT) + 9])
@pytest.mark.parametrize("alike", [True, False])
async def test_another_file_is_written_over(way: str, old: int, alike: bool, home: Path) -> None:
    """Also one that looks the same, whose holes are where this one has data, and the reverse."""
    into = home / "into"
    with into.open("wb") as file:
        file.write(b"x" * min(old, 400_000))
        file.truncate(old)
    if alike:
        now = (home / "data" / "f").stat().st_mtime
        os.utime(into, (now, now))
    async with client() as sftp:
        await getattr(sftp, way)(home / "data" / "f", into)
    assert into.read_bytes() == CONTENT
    whole(home)


async def test_a_server_that_sets_no_sizes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise SFTPOpUnsupported("no sizes")

    monkeypatch.setattr(Operations, "fsetstat", refuse)
    (home / "into").write_bytes(b"y" * 600_000)
    async with client() as sftp:
        await sftp.put(home / "data" / "f", home / "into", sparse=False)
    assert (home / "into").read_bytes() == CONTENT
