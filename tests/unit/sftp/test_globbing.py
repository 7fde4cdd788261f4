"""Patterns, compared with Python's own `glob` on the same real tree."""

from __future__ import annotations

import asyncio
import glob
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux import FILEXFER_TYPE_DIRECTORY, SFTPAttrs, SFTPFailure, SFTPName
from sshmux.sftp.filesystems import LocalFiles
from sshmux.sftp.globbing import has_magic, matches, search

DIRECTORY = SFTPAttrs(type=FILEXFER_TYPE_DIRECTORY, permissions=0o40755)
FILES = (
    *("a", "b", "ab", "a.txt", ".hidden", "[x]", "a b", "-n", "new\nline"),
    *("d/a", "d/.h", "d/e/a", "d/e/b.txt", "d/e/f/a", ".dot/a", "ä/a", "z*/a"),
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tree")
    for name in FILES:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).touch()
    (path / b"\xff".decode("utf-8", "surrogateescape")).touch()
    (path / "link").symlink_to("d")
    (path / "broken").symlink_to("nowhere")
    (path / "d" / "up").symlink_to("../.dot")
    (path / "empty").mkdir()
    return path


async def found(pattern: bytes) -> list[bytes]:
    return [bytes(name.filename) async for name in search(LocalFiles(), pattern)]  # type: ignore[arg-type]


def told(tree: Path, pattern: str) -> list[bytes]:
    """What Python finds; it shows a directory's slash, and does not keep an order."""
    names = glob.glob(f"{glob.escape(str(tree))}/{pattern}", recursive=True)
    return sorted({os.fsencode(os.path.normpath(name)) for name in names})


def ours(tree: Path, pattern: str) -> list[bytes]:
    return asyncio.run(found(os.fsencode(f"{glob.escape(str(tree))}/{pattern}")))


@pytest.mark.parametrize(
    "pattern",
    [
        *("*", "?", "a*", "*.txt", ".*", "[ab]", "[!ab]", "[a-b]*", "[", "[]x]", "[[]x]", "*]*"),
        *("*/", "d/", "a/", "*/a", "d/*", "*/*", "*/*/", "*/e/*", "link/*", "l*/*", "broken"),
        *("broken/*", "b*/*", "empty/*", "nothing", "nothing/*", "a/*", "a/b", ".dot/*", ".*/a"),
        *("**/a", "**/*.txt", "d/**/a", "**/e/**/a", "d/e/../e/*", "./*", "d//a", "*\n*", "-*"),
        *(
            "[z]\\*/*",
            "z[*]/*",
            "ä/*",
            "\udcff",
            "?" * 3,
            "**/f",
            "*/**/a",
            "d/[eu]/*",
            "d/up/[ab]",
        ),
    ],
)
def test_the_same_as_python(tree: Path, pattern: str) -> None:
    names = ours(tree, pattern)
    assert sorted({os.path.normpath(name) for name in names}) == [
        name for name in told(tree, pattern) if not _through_a_link(tree, name, pattern)
    ]


def _through_a_link(tree: Path, name: bytes, pattern: str) -> bool:
    """Python's `**` follows links to directories; this one does not: they may lead up again."""
    if "**" not in pattern:
        return False
    parts = Path(os.fsdecode(name)).relative_to(tree).parts
    first = pattern.split("/").index("**")
    return bool({"link", "up"} & set(parts[first:-1]))


LETTERS = st.sampled_from(["a", "b", "d", "e", "*", "?", "[ab]", "[!a]", ".", "z", "[", "]", "-"])
PARTS = st.lists(LETTERS, min_size=1, max_size=3).map("".join).filter(lambda part: part != "**")


@given(st.lists(PARTS, min_size=1, max_size=3).map("/".join))
def test_any_pattern_is_the_same_as_pythons(tree: Path, pattern: str) -> None:
    names = [os.path.normpath(name) for name in ours(tree, pattern) if "**" not in pattern]
    if "**" not in pattern:
        assert sorted(set(names)) == told(tree, pattern)


async def test_links_that_lead_up_are_not_gone_into(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").touch()
    (tmp_path / "d" / "up").symlink_to("..")
    assert await found(os.fsencode(tmp_path) + b"/**/a") == [os.fsencode(tmp_path / "d" / "a")]


async def test_order_and_what_comes_twice(tree: Path) -> None:
    names = await found(os.fsencode(tree) + b"/*")
    assert names == sorted(names)
    names = await found(os.fsencode(tree) + b"/**/**/a")
    assert len(names) == len(set(names))


async def test_nothing_is_asked_for() -> None:
    assert await found(b"") == []
    assert await found(b"/") == [b"/"]
    assert await found(b".") == [b"."]


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_any_bytes_are_a_pattern(name: bytes, pattern: bytes) -> None:
    matches(name, pattern)
    if not has_magic(pattern):
        assert matches(name, pattern) == (name == pattern)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("d/**", ["d", "d/a", "d/e", "d/e/a", "d/e/b.txt", "d/e/f", "d/e/f/a", "d/up"]),
        ("**/e*/", ["d/e/", "empty/"]),
        ("d/", ["d/"]),
        ("a/", []),
        ("a/**", []),
    ],
)
async def test_ends_of_a_pattern(
    tree: Path, pattern: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slash fits directories, and stays; `**` includes the directory itself."""
    monkeypatch.chdir(tree)
    assert sorted(map(os.fsdecode, await found(pattern.encode()))) == expected


class Endless:
    """A server whose every directory has a directory in it."""

    async def entries(self, path: bytes) -> list[SFTPName]:
        return [SFTPName(b"d", attrs=DIRECTORY)]

    async def stat(self, path: bytes, *, follow_symlinks: bool = True) -> SFTPAttrs:
        return DIRECTORY


async def test_a_tree_without_an_end_is_refused() -> None:
    with pytest.raises(SFTPFailure, match="64 directories deep"):
        _ = [name async for name in search(Endless(), b"**")]
