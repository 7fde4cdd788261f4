"""`exclude=` and `include=`: put, get, copy and SFTP take what the rule says, and nothing else."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import Connection
from sshmux.system.selection import Selection
from sshmux.testing import PrivateServer

from ..support import managed
from .test_transfer import lent, tree

WAYS = ("put", "get", "copy", "sftp put", "sftp get", "sftp copy")
NAMES = ["a", "b", "a.o", "b.o", ".o", "-rf", "a b", "a\nb", "ü", os.fsdecode(b"\xff.o"), "*", "]"]
PATTERNS = ["a", "*.o", "?", "*", "a/", "/d/a", "a/b", "d/**/a.o", "**/a", "a/**", "[!a]*", "-*"]
PATTERNS += ["*\n*", "ü", os.fsdecode(b"\xff*"), b"\xff*", "/d/*/*/", "\\*", "[]]", ".*", "d/*.o"]


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    async with lent() as lent_one:
        yield lent_one


async def moved(connection: Connection, way: str, source: Any, target: Path, **how: Any) -> Any:
    """Moves it in that way; both sides are this machine."""
    if way == "copy":
        return await sshmux.copy(connection, source, connection, target, **how)
    if way.startswith("sftp"):
        async with connection.start_sftp_client() as sftp:
            return await getattr(sftp, way[5:])(source, target, **how)
    return await getattr(connection, way)(source, target, **how)


def plant(chance: random.Random, top: Path, deep: int = 3) -> None:
    top.mkdir()
    for name in chance.sample(NAMES, 4 if deep else 2):
        if deep and chance.random() < 0.5:
            plant(chance, top / name, deep - 1)
        elif chance.random() < 0.2:
            (top / name).symlink_to(chance.choice(NAMES))
        else:
            (top / name).write_bytes(os.urandom(chance.randrange(2000)))


def rule(top: Path, called: str, exclude: Any, include: Any) -> dict[str, tuple[str, bytes]]:
    selection = Selection.of(exclude, include)
    assert selection is not None
    found = {}
    for path, what in tree(top).items():
        parts = os.fsencode(os.path.join(called, path)).split(b"/")
        ways = [b"/".join(parts[:end]) for end in range(1, len(parts))]
        above = all(selection.takes(way, directory=True) for way in ways)
        if above and selection.takes(b"/".join(parts), directory=what[0] == "directory"):
            found[path] = what
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(3))
async def test_random_trees(connection: Connection, tmp_path: Path, way: str, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(8):
        top = tmp_path / str(number)
        top.mkdir()
        plant(chance, top / "d")
        exclude = chance.sample(PATTERNS, chance.randrange(3))
        include = chance.sample(PATTERNS, chance.randrange(not exclude, 3))
        exclude = [pattern for pattern in exclude if pattern != "*"]
        if not exclude and not include:
            continue
        called, source = chance.choice([("d", top / "d"), ("", f"{top}/d/.")])
        wanted = rule(top / "d", called, exclude, include)
        how = {"exclude": exclude, "include": include, "recurse": True, "preserve": True}
        result = await moved(connection, way, source, top / "to", **how)
        assert tree(top / "to") == wanted, (exclude, include)
        if not way.startswith("sftp"):
            assert result.files == len([kind for kind, _ in wanted.values() if kind != "directory"])
            assert result.bytes == sum(
                len(data) for kind, data in wanted.values() if kind == "file"
            )
        assert sorted(os.listdir(top)) == ["d", "to"]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    for path in ("d/src/a.c", "d/src/a.o", "d/build/x", "d/build/deep/y", "d/.git/config", "d/n"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    (tmp_path / "to").mkdir()
    return tmp_path


@pytest.mark.parametrize("way", WAYS)
async def test_named_sources(connection: Connection, top: Path, way: str) -> None:
    """A source that is excluded itself does not go; an error if none is left."""
    for exclude in ("n", "/n", "[m-o]"):
        with pytest.raises((sshmux.TransferError, sshmux.SFTPError), match="leave none"):
            await moved(connection, way, top / "d" / "n", top / "to", exclude=exclude)
    with pytest.raises((sshmux.TransferError, sshmux.SFTPError), match="leave none"):
        await moved(connection, way, top / "d", top / "to", exclude="d/", recurse=True)
    assert os.listdir(top / "to") == []
    await moved(connection, way, top / "d" / "n", top / "to", exclude="n/", include="n")
    assert os.listdir(top / "to") == ["n"]


@pytest.mark.parametrize("way", [way for way in WAYS if way != "copy"])
async def test_several_sources(connection: Connection, top: Path, way: str) -> None:
    sources = [top / "d" / "n", top / "d" / "src", top / "d" / "build", top / "d" / "src" / "a.c"]
    await moved(connection, way, sources[:3], top / "to", exclude=["*.o", "build"], recurse=True)
    assert sorted(tree(top / "to")) == ["n", "src", "src/a.c"]
    await moved(connection, way, sources, top / "to", include="/build/deep/", recurse=True)
    assert sorted(tree(top / "to")) == [
        *["build", "build/deep", "build/deep/y", "n", "src", "src/a.c"]
    ]
    with pytest.raises((sshmux.TransferError, sshmux.SFTPError)):  # never a file of that name
        await moved(connection, way, sources[:2], top / "new", exclude="src", recurse=True)
    assert not (top / "new").exists()


@pytest.mark.parametrize("way", WAYS)
async def test_links_to_directories(connection: Connection, top: Path, way: str) -> None:
    (top / "link").symlink_to("d")
    (top / "d" / "inside").symlink_to("build")
    await moved(
        *(connection, way, top / "link", top / "to"),
        recurse=True,
        exclude=["/link/build", "inside/", "*.o", "/d/n"],
    )
    assert sorted(tree(top / "to" / "link")) == [
        *[".git", ".git/config", "inside", "n", "src", "src/a.c"]
    ]
    if way == "copy":
        return
    await moved(
        *(connection, way, top / "link", top / "all"),
        recurse=True,
        follow_symlinks=True,
        exclude=["inside/deep/", "/link/build/"],
    )
    assert (top / "all" / "inside" / "x").is_file()
    assert not (top / "all" / "inside" / "deep").exists()
    assert not (top / "all" / "build").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("way", WAYS)
async def test_what_is_excluded_is_not_looked_at(
    connection: Connection, top: Path, way: str
) -> None:
    (top / "d" / "build").chmod(0)
    try:
        with pytest.raises((sshmux.Error, OSError)):
            await moved(connection, way, top / "d", top / "to", recurse=True, exclude="none")
        for left in (top / "to").iterdir():  # SFTP leaves what it had copied
            shutil.rmtree(left)
        await moved(connection, way, top / "d", top / "to", recurse=True, exclude="build")
    finally:
        (top / "d" / "build").chmod(0o755)
    assert sorted(os.listdir(top / "to" / "d")) == [".git", "n", "src"]


@pytest.mark.parametrize("way", WAYS)
async def test_no_pattern_at_all(connection: Connection, top: Path, way: str) -> None:
    before = len(os.listdir(top / "to"))
    for wrong in ({"exclude": ""}, {"include": ["a", "b//c"]}, {"exclude": 5}, {"include": "a\\"}):
        with pytest.raises(sshmux.ConfigError):
            await moved(connection, way, top / "d", top / "to", recurse=True, **wrong)
    assert len(os.listdir(top / "to")) == before


async def test_progress_counts_what_goes(connection: Connection, top: Path) -> None:
    told: list[tuple[str, str, int, int]] = []
    (top / "d" / "build" / "large").write_bytes(bytes(5_000_000))
    result = await connection.put(
        *(top / "d", top / "to"),
        recurse=True,
        exclude="build",
        progress=lambda *words: told.append(words),
    )
    assert told[-1][2:] == (result.bytes, result.bytes)
    assert result.bytes == sum(len(data) for _, data in tree(top / "to").values())


def programs(directory: Path, tar: list[str], find: list[str]) -> Path:
    """A directory with those in place of tar and find."""
    directory.mkdir()
    for name, words in (("tar", tar), ("find", find)):
        (directory / name).write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
        (directory / name).chmod(0o755)
    return directory


OTHERS: dict[str, Callable[[Path], Path]] = {
    "busybox": lambda top: programs(top / "bin", ["busybox tar"], ["busybox find"]),
    "bsdtar": lambda top: programs(top / "bin", ["bsdtar"], ["/usr/bin/find"]),
}


@pytest.mark.parametrize("other", OTHERS)
async def test_other_programs_on_the_remote(top: Path, other: str) -> None:
    if shutil.which(other) is None:
        pytest.skip(f"needs {other} (packages busybox, libarchive-tools)")
    many = {f"{'n' * 200}{number}" for number in range(700)}  # more than one command line has
    for name in many:
        (top / "d" / "src" / name).write_text(name)
    (top / "d" / "src" / "a\nb").write_text("a line")
    path = f"{OTHERS[other](top)}:{os.environ['PATH']}"
    (top / "empty").mkdir()
    async with PrivateServer(options={"SetEnv": f"PATH={path}"}) as server:
        async with managed(server) as manager, manager.get_connection(1) as connection:
            assert str(top) in (await connection.run("command -v tar")).stdout
            how: dict[str, Any] = {"recurse": True, "exclude": ["*.o", "build/"]}
            for way in ("put", "get", "copy"):
                result = await moved(connection, way, top / "d", top / "to" / way, **how)
                assert tree(top / "to" / way) == rule(top / "d", "d", how["exclude"], ())
                assert result.files == len(many) + 4
                (top / "d" / "build" / "deep").chmod(0)
                with pytest.raises(sshmux.TransferError, match="none of it"):
                    await moved(
                        connection, way, top / "d", top / "empty", recurse=True, exclude="d"
                    )
                (top / "d" / "build" / "deep").chmod(0o755)
    assert os.listdir(top / "empty") == []


async def test_a_file_that_grows_is_told(connection: Connection, top: Path) -> None:
    growing = top / "d" / "log"
    growing.write_bytes(bytes(3_000_000))
    script = f"while :; do head -c 100000 /dev/zero >>{growing}; done"
    process = await asyncio.create_subprocess_exec("sh", "-c", script)

    async def move_often() -> None:
        for _ in range(50):
            await connection.get(top / "d", top / "to", recurse=True, exclude="build")

    try:
        with pytest.raises(sshmux.SourceChanged):
            await move_often()
        await connection.get(
            top / "d", top / "to", recurse=True, exclude="build", on_change="accept"
        )
    finally:
        process.kill()
        await process.wait()
    assert sorted(os.listdir(top / "to" / "d")) == [".git", "log", "n", "src"]
